"""The command `keras-ae explore`."""

import json
import signal
import subprocess
import sys
import urllib.request

import keras
import pytest
from command_line import MODEL, assert_one_line, command, make_place

from keras_ae.explorer import static

pytest.importorskip("uvicorn", reason="the page needs uvicorn")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return make_place(tmp_path_factory.mktemp("explore"))


def start(*words):
    """Start the command in a process of its own, and return it and the address of the page."""
    program = [sys.executable, "-m", "keras_ae", "explore", *map(str, words), "--no-browser"]
    process = subprocess.Popen(
        program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/"
    )
    line = process.stdout.readline()
    assert line.startswith("http://127.0.0.1:") and line.endswith("Press Ctrl-C to stop.\n"), line
    return process, line.split()[0]


def test_the_page_of_a_run_is_served_until_ctrl_c(place):
    process, url = start(place / "run")
    try:
        with urllib.request.urlopen(f"{url}api/state") as answer:
            state = json.load(answer)
        assert state["examples"]["source"] == "data" and state["examples"]["labels"]
    finally:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")


def test_odd_words(place, capsys):
    assert command("explore", place / "nothing") == 2
    assert_one_line(capsys.readouterr(), "nothing")
    model = place / "run" / MODEL
    assert command("explore", model, "--data", "no_such_data") == 2
    assert_one_line(capsys.readouterr(), "no_such_data")
    assert command("explore", model, "--data", place / "reals.npy") == 2
    assert_one_line(capsys.readouterr(), "examples have the shape (5,)")
    assert command("explore", model, "--static", place / "run") == 2
    assert_one_line(capsys.readouterr(), "Pass another name")
    assert command("explore", model, "--port", "70000", "--no-browser") == 2
    assert_one_line(capsys.readouterr(), "70000")
    assert command("explore", model, "--host", "no.such.host.invalid", "--no-browser") == 2
    assert_one_line(capsys.readouterr(), "no.such.host.invalid")


def test_a_static_page_is_written(place, tmp_path, capsys, monkeypatch):
    if keras.config.backend() != "tensorflow":
        pytest.skip("tests of ONNX say what other backends write")
    pytest.importorskip("tf2onnx", reason="a static page needs tf2onnx")
    pytest.importorskip("onnxruntime", reason="a static page needs onnxruntime")
    monkeypatch.setattr(static, "download_runtime", lambda: {"runtime.wasm": b"program"})
    assert command("explore", place / "run", "--static", tmp_path / "page") == 0
    assert f"{tmp_path / 'page'}: a page" in capsys.readouterr().out
    names = {path.name for path in (tmp_path / "page").iterdir()}
    assert {"index.html", "backend.js", "decode.onnx", "encode.onnx", "runtime.wasm"} <= names
    state = json.loads((tmp_path / "page" / "state.json").read_text())
    assert len(state["draws"]) == 20 and state["views"] == [] and state["encodes"]
    script = (tmp_path / "page" / "backend.js").read_text()
    assert "onnx" in script or "ort" in script


def test_a_runtime_that_cannot_be_downloaded_is_named(place, tmp_path, capsys, monkeypatch):
    if keras.config.backend() != "tensorflow":
        pytest.skip("tests of ONNX say what other backends write")
    pytest.importorskip("tf2onnx", reason="a static page needs tf2onnx")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "empty"))
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    assert command("explore", place / "run", "--static", tmp_path / "page") == 2
    error = capsys.readouterr().err
    assert "onnxruntime-web" in error and "npm_config_registry" in error
    assert not (tmp_path / "page").exists()
