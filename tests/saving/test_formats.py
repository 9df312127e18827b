"""Other formats: a file appears only if it computes what the model computes."""

import importlib.util
import pathlib

import keras
import numpy as np
import pytest
import zoo

from keras_ae.saving import formats

# The runtimes warn about their own future.
pytestmark = pytest.mark.filterwarnings("ignore")

BACKEND = keras.config.backend()
SUFFIXES = {"onnx": ".onnx", "litert": ".tflite", "openvino": ".xml", "torch": ".pt2"}
# What can be written and run here. TensorFlow and torch each have one format of their own.
HERE = [
    format
    for format, backends in formats.FORMATS.items()
    if all(importlib.util.find_spec(name) for name in backends.get(BACKEND, ["missing_package"]))
]
here = pytest.mark.skipif(not HERE, reason="the formats of JAX need packages that the tests do not")


@here
@pytest.mark.parametrize("name", ["ConditionalVAE", "ResidualVQVAE", "MaskedAE"])
@pytest.mark.parametrize("endpoint", ["reconstruct", "encode", "decode"])
def test_a_file_computes_what_the_model_computes(name, endpoint, tmp_path):
    model = zoo.trained(name)
    method = getattr(model, endpoint)
    x = zoo.code_of(name, 5) if endpoint == "decode" else zoo.data(5, seed=1)
    given = zoo.inputs(model, endpoint, 5)
    wanted = method(x, **given)
    arguments = {"z" if endpoint == "decode" else "x": x, **given}
    dtypes = {"z": model._code_dtype, **model._input_dtypes}
    arguments = {k: np.asarray(v, dtypes.get(k, "float32")) for k, v in arguments.items()}
    for format in HERE:
        path = tmp_path / f"{name}{SUFFIXES[format]}"
        model.export(path, format=format, endpoint=endpoint)
        (found,) = formats._RUN[format](str(path), arguments).values()
        np.testing.assert_allclose(found, wanted, atol=1e-4)


@here
@pytest.mark.parametrize("fault", ["other numbers", "another shape", "a converter that fails"])
def test_a_wrong_file_never_appears(fault, tmp_path, monkeypatch):
    format = HERE[0]
    run = formats._RUN[format]

    def fail(path, given):
        if fault == "a converter that fails":
            raise LookupError("no such operation\nin this format")
        ((name, found),) = run(path, given).items()
        return {name: found + 0.1 if fault == "other numbers" else found[:, :1]}

    monkeypatch.setitem(formats._RUN, format, fail)
    path = tmp_path / f"model{SUFFIXES[format]}"
    with pytest.raises(NotImplementedError, match=r"VAE\.encode as .* so nothing was written"):
        zoo.trained("VAE").export(path, format=format, endpoint="encode")
    assert not list(tmp_path.iterdir())


@here
def test_samples_are_refused_or_those_of_the_model(tmp_path):
    model = zoo.trained("VAE")
    for format in HERE:
        path = tmp_path / f"model{SUFFIXES[format]}"
        try:
            model.export(path, format=format, endpoint="sample")
        except NotImplementedError:
            assert not list(tmp_path.iterdir())
        else:
            given = {"rows": np.zeros(4, "float32"), "seed": np.int32(7)}
            (found,) = formats._RUN[format](str(path), given).values()
            np.testing.assert_allclose(found, model.sample(4, seed=7), atol=1e-4)


def test_formats_and_endpoints_that_are_refused(tmp_path, monkeypatch):
    model = zoo.trained("VAE")
    for error, message, options in (
        (ValueError, "format='tflite' must be one of", {"format": "tflite"}),
        (ValueError, "has all endpoints", {"endpoint": "encode"}),
    ):
        with pytest.raises(error, match=message):
            model.export(tmp_path / "model", **options)
    for format, backends in formats.FORMATS.items():
        if BACKEND not in backends:
            with pytest.raises(NotImplementedError, match="KERAS_BACKEND="):
                model.export(tmp_path / "model", format=format)
            continue
        path = tmp_path / f"model{SUFFIXES[format]}"
        if format != "onnx":
            with pytest.raises(ValueError, match=f"must end in {SUFFIXES[format]}"):
                model.export(tmp_path / "model", format=format)
        with monkeypatch.context() as patch:
            patch.setattr(importlib.util, "find_spec", lambda name: None)
            if backends[BACKEND]:
                with pytest.raises(ImportError, match=f"pip install {backends[BACKEND][0]}"):
                    model.export(path, format=format)
        if format in HERE:
            with pytest.raises(ValueError, match="endpoint='encoder' must be"):
                model.export(path, format=format, endpoint="encoder")
    assert not list(tmp_path.iterdir())


def test_the_documentation_has_every_model():
    text = (pathlib.Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    for name in zoo.MODELS:
        assert f"| `{name}` |" in text
