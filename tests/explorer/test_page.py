"""The page in Chromium, with real clicks, on the server and as a static folder."""

import functools
import http.server
import io
import re
import shutil
import threading

import keras
import numpy as np
import pytest
import zoo
from PIL import Image

import keras_ae
from keras_ae.explorer import static
from keras_ae.explorer.views import Views

playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
pytest.importorskip("uvicorn", reason="the page needs uvicorn")

from keras_ae.explorer.server import Page  # noqa: E402

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs the program chromium"),
    pytest.mark.xdist_group("chromium"),
]


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Return a function that opens an address. No error may have been logged at the end."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    errors, expected = [], []

    def open_address(url):
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.expected_errors = expected
        page.goto(url)
        page.wait_for_selector("#decoded[data-revision]:not([data-revision='0'])")
        page.wait_for_selector("body[aria-busy='false']")
        return page

    yield open_address
    context.close()
    assert [e for e in errors if not any(word in e for word in expected)] == []


@functools.cache
def picture_views():
    x = zoo.digits()[0][:40]
    model = keras_ae.VAE(3, network_options={"filters": (4, 4), "units": (8,)}, seed=0)
    model.compile(keras.optimizers.Adam(0.01))
    model.fit(x, epochs=30, batch_size=8, verbose=0)
    return Views(model, x, labels=zoo.digits()[1][:40], card={"note": "<b id='bold'>a card</b>"})


@pytest.fixture(scope="module")
def url():
    with Page(picture_views(), "127.0.0.1", 0) as page:
        yield page.url


def read_pixels(page, selector):
    """Return the bytes of all pictures within an element."""
    return page.eval_on_selector_all(
        f"{selector} canvas.picture",
        "all => all.map(c => c.toDataURL()).join()",
    )


def revision(page):
    return int(page.get_attribute("#decoded", "data-revision"))


def wait_for_change(page, before):
    page.wait_for_function(
        "before => Number(document.getElementById('decoded').dataset.revision) > before", arg=before
    )
    page.wait_for_selector("body[aria-busy='false']")


def change(page, work):
    """Do something that changes the code. Return what was decoded before and after."""
    pixels, number = read_pixels(page, "#decoded"), revision(page)
    work()
    wait_for_change(page, number)
    return pixels, read_pixels(page, "#decoded")


def choose(page, tab):
    page.get_by_role("tab", name=tab, exact=True).click()


def test_a_slider_changes_the_picture(open_page, url):
    page = open_page(url)
    slider = page.locator("#code input[type=range]").first
    slider.focus()
    before, after = change(page, lambda: [slider.press("End"), page.wait_for_timeout(300)])
    assert before != after
    assert page.locator("#message").is_hidden()
    # The picture is what the model decodes, in shades of gray.
    dimension = picture_views().dimensions[0]
    z = np.array([picture_views().start], "float32")
    z[0, dimension["index"]] = dimension["high"]
    shades = np.round(255.0 * picture_views().model.decode(z)).ravel()
    shown = page.eval_on_selector(
        "#decoded canvas",
        "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]",
    )
    np.testing.assert_allclose(shown[::4], shades, atol=4)


def test_a_click_on_the_plane_decodes(open_page, url):
    page = open_page(url)
    plane = page.locator("#plane")
    before, after = change(page, lambda: plane.click(position={"x": 30, "y": 40}))
    assert before != after
    page.get_by_label("axes").select_option(index=1)
    before, after = change(page, lambda: plane.click(position={"x": 200, "y": 40}))
    assert before != after
    before, after = change(page, lambda: plane.press("ArrowLeft"))
    assert before != after


def test_a_drawn_digit_is_encoded(open_page, url):
    page = open_page(url)
    choose(page, "Your own")
    box = page.locator("#pad").bounding_box()

    def draw():
        page.mouse.move(box["x"] + 98, box["y"] + 30)
        page.mouse.down()
        page.mouse.move(box["x"] + 98, box["y"] + 170, steps=5)
        page.mouse.up()

    before, after = change(page, draw)
    assert before != after
    assert page.locator("#own-detail canvas.picture").count() == 2


def test_an_uploaded_picture_is_encoded(open_page, url):
    page = open_page(url)
    choose(page, "Your own")
    x = zoo.digits()[0][7]
    buffer = io.BytesIO()
    Image.fromarray((255 * x[..., 0]).astype("uint8")).save(buffer, "PNG")
    file = {"name": "seven.png", "mimeType": "image/png", "buffer": buffer.getvalue()}
    before, after = change(page, lambda: page.set_input_files("#upload", [file]))
    assert before != after
    code = page.evaluate("""[...document.querySelectorAll('#code input')].map(i => +i.value)""")
    order = [each["index"] for each in picture_views().dimensions]
    expected = picture_views().model.encode(x[None])[0][order]
    np.testing.assert_allclose(code, expected, atol=0.1)
    odd = {"name": "odd.png", "mimeType": "image/png", "buffer": b"no picture"}
    page.set_input_files("#upload", [odd])
    page.wait_for_selector("#message:not([hidden])")
    assert "cannot read this file" in page.inner_text("#message")


def test_two_examples_are_interpolated(open_page, url):
    page = open_page(url)
    choose(page, "Interpolate")
    page.wait_for_selector("#way canvas")
    page.fill("#end-0", "2")
    page.fill("#end-1", "30")
    page.fill("#steps", "5")
    page.get_by_role("button", name="Interpolate").click()
    page.wait_for_function("() => document.querySelectorAll('#way canvas').length === 5")
    before, after = change(page, lambda: page.get_by_label("step 4 of the way").click())
    assert before != after
    page.fill("#end-1", "4000")
    page.get_by_role("button", name="Interpolate").click()
    page.wait_for_selector("#message:not([hidden])")
    assert "numbers from 0 to 39" in page.inner_text("#message")


def test_an_example_is_shown_with_its_reconstruction(open_page, url):
    page = open_page(url)
    before, after = change(page, lambda: page.get_by_label("example 5, label").first.click())
    assert before != after
    assert page.locator("#example-detail canvas.picture").count() == 2
    page.get_by_role("button", name="Estimate log p(x)").click()
    page.wait_for_selector("text=log p(x) is about")


def test_a_seed_gives_the_same_samples(open_page, url):
    page = open_page(url)
    choose(page, "Samples")

    def sample(seed):
        page.fill("#seed", str(seed))
        page.fill("#count", "6")
        before = page.locator("#samples .things").element_handle()
        page.get_by_role("button", name="Sample", exact=True).click()
        page.wait_for_function("old => !old.isConnected", arg=before)
        return read_pixels(page, "#samples")

    page.wait_for_selector("#samples canvas")
    first, other, again = sample(3), sample(4), sample(3)
    assert first == again and first != other
    page.fill("#temperature", "0")
    assert len(set(re.findall(r"base64,([^,]+)", sample(3)))) == 1


def test_dimensions_are_traversed(open_page, url):
    page = open_page(url)
    choose(page, "Traverse")
    page.wait_for_selector("#traversal canvas")
    assert page.locator("#traversal canvas").count() == 3 * 7
    before, after = change(page, lambda: page.locator("#traversal button").last.click())
    assert before != after


def test_facts_are_text(open_page, url):
    page = open_page(url)
    choose(page, "About")
    assert "<b id='bold'>a card</b>" in page.inner_text("#facts")
    assert page.locator("#bold").count() == 0


def test_tabs_and_controls_work_with_the_keyboard(open_page, url):
    page = open_page(url)
    page.get_by_role("tab", name="Examples").focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("tab", name="Your own").get_attribute("aria-selected") == "true"
    unlabeled = page.evaluate(
        """[...document.querySelectorAll('input, select, textarea, button')].filter(each =>
            !each.labels?.length && !each.getAttribute('aria-label')
            && !each.textContent.trim()).map(each => each.outerHTML)"""
    )
    assert unlabeled == []


def test_a_stopped_server_is_reported(open_page):
    with Page(picture_views(), "127.0.0.1", 0) as server:
        page = open_page(server.url)
        page.expected_errors.append("ERR_CONNECTION_REFUSED")
    page.locator("#code input[type=range]").first.press("Home")
    page.wait_for_selector("#message:not([hidden])")
    assert "Is it still running?" in page.inner_text("#message")


def test_an_integer_code_is_edited(open_page):
    model = keras_ae.VQVAE(4, num_codes=16, network_options={"filters": (4, 4)}, seed=0)
    x = zoo.digits()[0][:40]
    model.compile("adam")
    model.fit(x, epochs=1, verbose=0)
    with Page(Views(model, x), "127.0.0.1", 0) as server:
        page = open_page(server.url)
        cells = page.get_by_role("gridcell")
        assert cells.count() == np.prod(model.code_shape)
        cells.nth(9).click()
        old = int(cells.nth(9).inner_text())
        code = str((old + 7) % 16)
        before, after = change(page, lambda: page.fill("#code-index", code))
        assert before != after and cells.nth(9).inner_text() == code
        page.fill("#code-index", "99")
        page.wait_for_selector("#message:not([hidden])")
        assert "from 0 to 15" in page.inner_text("#message")
        cells.nth(9).press("ArrowRight")
        assert cells.nth(10).get_attribute("aria-selected") == "true"


def test_a_label_changes_the_picture(open_page):
    x, label = (values[:40] for values in zoo.digits())
    model = keras_ae.ConditionalVAE(2, network_options={"filters": (4, 4)}, seed=0)
    model.compile(keras.optimizers.Adam(0.01))
    model.fit(x, label=label, epochs=2, batch_size=8, verbose=0)
    with Page(Views(model, x, inputs={"label": label}), "127.0.0.1", 0) as server:
        page = open_page(server.url)
        digit = str((int(label[0]) + 3) % 10)
        before, after = change(page, lambda: page.fill("#input-label", digit))
        assert before != after


def test_sound_is_played(open_page):
    model = keras_ae.VAE(2, likelihood="gaussian", network_options={"units": (8,)}, seed=0)
    x = np.sin(np.arange(4000) * np.linspace(0.1, 0.4, 6)[:, None]).astype("float32")
    model.build((None, 4000))
    with Page(Views(model, x, rate=8000), "127.0.0.1", 0) as server:
        page = open_page(server.url)
        page.wait_for_function("() => document.querySelector('#decoded audio').readyState > 0")
        assert page.eval_on_selector("#decoded audio", "a => a.duration") == pytest.approx(0.5)


# ---------------------------------------------------------------------- the static page


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def static_url(tmp_path_factory, on_tensorflow_module):
    """Write the static page, and serve it as `python -m http.server` does."""
    for package in ("tf2onnx", "onnxruntime"):
        pytest.importorskip(package, reason=f"a static page needs {package}")
    try:
        runtime = static.download_runtime()
    except OSError as error:
        pytest.skip(f"onnxruntime-web cannot be downloaded: {error}")
    folder = tmp_path_factory.mktemp("static") / "page"
    static.write(picture_views(), folder, lambda: runtime)
    handler = functools.partial(_Handler, directory=folder)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def on_tensorflow_module():
    if keras.config.backend() != "tensorflow":
        pytest.skip("tests of ONNX say what other backends write")


def test_the_static_page_runs_without_the_model(open_page, static_url):
    page = open_page(static_url)
    slider = page.locator("#code input[type=range]").first
    before, after = change(page, lambda: [slider.press("End"), page.wait_for_timeout(300)])
    assert before != after
    dimension = picture_views().dimensions[0]
    z = np.array([picture_views().start], "float32")
    z[0, dimension["index"]] = dimension["high"]
    shades = np.round(255.0 * picture_views().model.decode(z)).ravel()
    shown = page.eval_on_selector(
        "#decoded canvas",
        "c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]",
    )
    np.testing.assert_allclose(shown[::4], shades, atol=4)
    before, after = change(page, lambda: page.locator("#plane").click(position={"x": 30, "y": 40}))
    assert before != after
    choose(page, "Interpolate")
    page.wait_for_selector("#way canvas")
    page.get_by_label("along a great circle").check()
    page.get_by_role("button", name="Interpolate").click()
    choose(page, "Traverse")
    page.wait_for_selector("#traversal canvas")
    choose(page, "Samples")
    page.wait_for_selector("#samples canvas")
    assert page.locator("#samples canvas").count() == 24
    choose(page, "Your own")
    box = page.locator("#pad").bounding_box()
    page.mouse.move(box["x"] + 98, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + 98, box["y"] + 170, steps=5)
    page.mouse.up()
    page.wait_for_selector("#own-detail canvas")
    assert page.locator("#message").is_hidden()
