"""Artifacts go to the Hugging Face Hub and come back, tried with a stand-in of its API."""

import base64
import hashlib
import http.server
import json
import os
import pathlib
import subprocess
import sys
import threading

import numpy as np
import pytest
import zoo

import keras_ae
from keras_ae.saving import upload

pytest.importorskip("huggingface_hub", reason="the Hub is reached through huggingface_hub")
COMMIT = "1" * 40


class StandIn(http.server.BaseHTTPRequestHandler):
    """The parts of the Hub's API that uploads and downloads use, for one branch."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        files = self.server.files
        if self.path == "/api/repos/create":
            self.answer({"url": f"http://{self.headers['Host']}/user/model"})
        elif self.path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif self.path.endswith("/preupload/main"):
            names = [file["path"] for file in json.loads(body)["files"]]
            mode = {"uploadMode": "regular", "shouldIgnore": False}
            self.answer({"files": [{"path": name, **mode} for name in names]})
        elif self.path.endswith("/commit/main"):
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            url = f"http://{self.headers['Host']}/user/model/commit/{COMMIT}"
            self.answer({"commitUrl": url, "commitOid": COMMIT, "success": True})
        else:
            self.answer({"error": f"unknown {self.path}"}, 404)

    def do_GET(self):
        files, name = self.server.files, self.path.partition(f"/resolve/{COMMIT}/")[2]
        if self.path.startswith("/api/models/user/model/revision/"):
            siblings = [{"rfilename": name} for name in files]
            self.answer({"id": "user/model", "sha": COMMIT, "siblings": siblings})
        elif self.path.startswith("/api/models/user/model/tree/"):
            tree = [
                {"type": "file", "path": n, "size": len(v), "oid": hashlib.sha1(v).hexdigest()}
                for n, v in files.items()
            ]
            self.answer(tree)
        elif name in files:
            self.send(200, files[name], "application/octet-stream")
        else:
            self.answer({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def answer(self, value, status=200, headers=()):
        self.send(status, json.dumps(value).encode(), "application/json", headers)

    def send(self, status, content, kind, headers=()):
        self.send_response(status)
        found = {"Content-Type": kind, "Content-Length": str(len(content)), "X-Repo-Commit": COMMIT}
        found |= {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', **dict(headers)}
        for name, value in found.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub(tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    server.files = {}
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def run(hub, home, code, *arguments):
    """Run code in a process of its own, because huggingface_hub reads its address at the import."""
    root = str(pathlib.Path(keras_ae.__file__).parents[1])
    address = f"http://127.0.0.1:{hub.server_address[1]}"
    variables = {"HF_ENDPOINT": address, "HF_HOME": str(home), "PYTHONPATH": root}
    variables |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "HF_TOKEN": "none"}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=300,
    )
    return done.stdout.strip().splitlines()[-1:], done.stderr


UPLOAD = """
import sys, keras_ae
print(keras_ae.upload_preset("hf://user/model", sys.argv[1]))
"""
LOAD = """
import sys, numpy as np, keras_ae
from keras_ae import saving
for address in ("hf://user/model", "hf://user/model@main"):
    codes = keras_ae.load(address).encode(np.load(sys.argv[1]), verbose=0)
np.save(sys.argv[2], codes)
try:
    keras_ae.load("hf://user/nothing@main")
except FileNotFoundError as error:
    refused = str(error).startswith("load: hf://user/nothing@main cannot be downloaded")
print(saving.read_card(address)["data"], len(saving.verify(address)), refused)
"""


@pytest.mark.costly
def test_an_artifact_goes_up_and_comes_back(hub, tmp_path, exports):
    model, x = zoo.trained("VAE"), zoo.data(4)
    model.export(tmp_path / "model", card={"data": "tiny", "license": "MIT"})
    printed, errors = run(hub, tmp_path / "home", UPLOAD, tmp_path / "model")
    assert printed and printed[0].endswith(f"/user/model/commit/{COMMIT}"), errors
    sent = {p.relative_to(tmp_path / "model").as_posix() for p in (tmp_path / "model").rglob("*")}
    assert hub.files.keys() - {"README.md"} <= sent and "manifest.json" in hub.files
    page = hub.files["README.md"].decode()
    assert page.startswith('---\nlibrary_name: "keras"') and 'license: "mit"' in page
    assert "keras_ae.load('hf://user/model')" in page and "| data | tiny |" in page
    np.save(tmp_path / "x.npy", x)
    printed, errors = run(hub, tmp_path / "other", LOAD, tmp_path / "x.npy", tmp_path / "codes.npy")
    assert printed == [f"tiny {len(hub.files) - 2} True"], errors
    np.testing.assert_allclose(np.load(tmp_path / "codes.npy"), model.encode(x), rtol=1e-5)


@pytest.mark.parametrize("address", ["hf://", "hf://user", "hf://user/a/b", "hf://user/name@"])
def test_wrong_addresses_are_refused(address, tmp_path):
    with pytest.raises(ValueError, match="is no address of a repository"):
        keras_ae.load(address)
    with pytest.raises(ValueError, match="is no address of a repository"):
        keras_ae.upload_preset(address, tmp_path)


def test_only_artifacts_are_uploaded(tmp_path):
    with pytest.raises(ValueError, match="names a revision"):
        keras_ae.upload_preset("hf://user/name@main", tmp_path)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        keras_ae.upload_preset("hf://user/name", tmp_path / "none")
    with pytest.raises(ValueError, match="no artifact of keras_ae"):
        keras_ae.upload_preset("hf://user/name", tmp_path)


def test_a_page_shows_odd_cards_in_one_line_each():
    card = {"model": "VAE", "data": "a|b\nc", "figures": {"loss": 1.23456789}, "license": None}
    lines = upload.render_page("hf://user/name", card).splitlines()
    assert r"| data | a\|b c |" in lines and "| loss | 1.23457 |" in lines
    assert not any(line.startswith("license") for line in lines)
