"""The server of the page: what it answers, and what it refuses."""

import json
import socket
import urllib.request

import numpy as np
import pytest
import zoo

import keras_ae
from keras_ae.explorer.page_files import FILES, read_page
from keras_ae.explorer.views import Views

testclient = pytest.importorskip("starlette.testclient", reason="the page needs starlette")
pytest.importorskip("uvicorn", reason="the page needs uvicorn")

from keras_ae.explorer.server import ACTIONS, MOST_BYTES, Page, make_app  # noqa: E402


@pytest.fixture(scope="module")
def views():
    return Views(zoo.trained("VAE"), zoo.data_for("VAE", 16))


@pytest.fixture(scope="module")
def client(views):
    return testclient.TestClient(make_app(views), base_url="http://127.0.0.1:8000")


def assert_refuses(answer, status):
    """Check that an answer is one line of JSON that says what is wrong."""
    assert answer.status_code == status
    found = answer.json()
    assert list(found) == ["error"] and found["error"] and "\n" not in found["error"]


# ---------------------------------------------------------------------- answers


def test_the_files_of_the_page(client):
    assert client.get("/").content == read_page("index.html")
    for name, kind in FILES.items():
        answer = client.get(f"/{name}")
        assert answer.status_code == 200 and answer.headers["content-type"] == kind
        assert "'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_page_loads_nothing_from_elsewhere():
    allowed = ("http://www.w3.org/2000/svg",)
    for name in [*FILES, "static.js"]:
        text = read_page(name).decode()
        for address in allowed:
            text = text.replace(address, "")
        assert "http://" not in text and "https://" not in text
        assert "innerHTML" not in text and "insertAdjacentHTML" not in text


def test_the_answers_are_those_of_the_views(client, views):
    assert client.get("/api/state").json() == json.loads(json.dumps(views.state()))
    given = {"codes": [views.start]}
    assert client.post("/api/decode", json=given).json() == views.decode(given)
    given = {"count": 2, "seed": 1}
    assert client.post("/api/sample", json=given).json() == views.sample(given)


def test_a_view_is_called(views):
    model = zoo.trained("ProdLDA")
    client = testclient.TestClient(
        make_app(Views(model, zoo.data_for("ProdLDA", 16))), base_url="http://localhost"
    )
    answer = client.post("/api/view", json={"title": "Topics"})
    assert answer.status_code == 200 and answer.json()["figures"][0]["kind"] == "table"


def test_nan_becomes_null(views):
    odd = Views(zoo.trained("VAE"), zoo.data_for("VAE", 16))
    odd.dimensions[0]["mean"] = np.nan
    client = testclient.TestClient(make_app(odd), base_url="http://127.0.0.1")
    assert client.get("/api/state").json()["code"]["dimensions"][0]["mean"] is None


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"1", b"null", b'{"codes": NaN}', b'{"codes": [[Infinity, 0]]}', b"\xff"],
)
def test_bodies_that_are_no_dictionary_of_json(client, body):
    answer = client.post("/api/decode", content=body, headers={"Content-Type": "application/json"})
    assert_refuses(answer, 400)


def test_deeply_nested_json(client):
    body = b'{"codes": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    answer = client.post("/api/decode", content=body, headers={"Content-Type": "application/json"})
    assert_refuses(answer, 400)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_other_types_of_bodies(client, kind):
    answer = client.post("/api/decode", content=b"{}", headers={"Content-Type": kind})
    assert_refuses(answer, 415)


def test_huge_bodies(client):
    body = b'{"codes": "' + b"a" * MOST_BYTES + b'"}'
    answer = client.post("/api/decode", content=body, headers={"Content-Type": "application/json"})
    assert_refuses(answer, 413)


@pytest.mark.parametrize(
    ("action", "given"),
    [
        ("decode", {"codes": [[0.0]]}),
        ("decode", {"codes": "x"}),
        ("look", {"example": 10**9}),
        ("interpolate", {"a": {}, "b": 1}),
        ("sample", {"count": 10**9}),
        ("view", {"title": "__class__"}),
    ],
)
def test_requests_that_do_not_fit_the_model(client, action, given):
    assert_refuses(client.post(f"/api/{action}", json=given), 400)


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/api",
        "/api/",
        "/api/fit",
        "/api/__init__",
        "/page/index.html",
        "/static.js",
        "/../../etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%5c..%5cetc%5cpasswd",
        "/index.html/../../views.py",
        "//etc/passwd",
        "/style.css%00.js",
        "/style.css/",
    ],
)
def test_unknown_paths(client, path):
    assert_refuses(client.get(path), 404)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "POST"])
def test_other_methods(client, method):
    assert_refuses(client.request(method, "/index.html"), 405)
    if method != "POST":
        assert_refuses(client.request(method, "/api/decode"), 405)


@pytest.mark.parametrize("action", ACTIONS)
def test_actions_are_posted(client, action):
    assert_refuses(client.get(f"/api/{action}"), 405)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil", "", "["],
)
def test_other_hosts(client, host):
    assert_refuses(client.get("/", headers={"Host": host}), 403)
    assert_refuses(client.get("/api/state", headers={"Host": host}), 403)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:1", "localhost", "LOCALHOST:80", "[::1]:80", "10.0.0.7"]
)
def test_names_of_this_machine(client, host):
    assert client.get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:8000"])
def test_other_origins(client, views, origin):
    given = {"codes": [views.start]}
    assert_refuses(client.post("/api/decode", json=given, headers={"Origin": origin}), 403)
    same = {"Origin": "http://127.0.0.1:8000"}
    assert client.post("/api/decode", json=given, headers=same).status_code == 200


def test_a_failure_is_not_shown(views, monkeypatch):
    def fail(given):
        raise OSError("/root/secret")

    monkeypatch.setattr(views, "decode", fail)
    client = testclient.TestClient(
        make_app(views), base_url="http://127.0.0.1", raise_server_exceptions=False
    )
    answer = client.post("/api/decode", json={})
    assert_refuses(answer, 500)
    assert "secret" not in answer.text


# ---------------------------------------------------------------------- the running server


def test_the_page_is_served_until_it_is_closed():
    with keras_ae.explore(zoo.trained("VAE"), open_browser=False) as page:
        assert page.url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(page.url) as answer:
            assert answer.read() == read_page("index.html")
        assert page.url in page._repr_html_() and "<iframe" in page._repr_html_()
    with pytest.raises(OSError):
        urllib.request.urlopen(page.url, timeout=2)


def test_only_loopback_is_bound(views):
    with Page(views, "127.0.0.1", 0) as page:
        assert page._socket.getsockname()[0] == "127.0.0.1"


def test_a_taken_port(views):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=f"port={port} cannot be bound.*port=0"):
            Page(views, "127.0.0.1", port)


def test_the_browser_is_opened(views, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    with keras_ae.explore(zoo.trained("VAE")) as page:
        assert opened == [page.url]


def test_a_missing_package_is_named(monkeypatch):
    find = __import__("importlib.util").util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "uvicorn" else find(name)
    )
    with pytest.raises(ImportError, match=r"uvicorn: pip install keras-ae\[explore\]"):
        keras_ae.explore(zoo.trained("VAE"))
