"""Other formats: a file appears only if it computes what the model computes."""

import datetime
import importlib.util
import os
import pathlib
import zlib

import keras
import numpy as np
import pytest
import zoo

from keras_ae.core import examples
from keras_ae.core.draws import draw_normal
from keras_ae.saving import export, formats

# The runtimes warn about their own future.
pytestmark = pytest.mark.filterwarnings("ignore")

BACKEND = keras.config.backend()
# What can be written and run here. TensorFlow and torch each have one format of their own.
HERE = [
    format
    for format, backends in formats.FORMATS.items()
    if all(importlib.util.find_spec(name) for name in backends.get(BACKEND, ["missing_package"]))
]
here = pytest.mark.skipif(not HERE, reason="the formats of JAX need packages that the tests do not")


def place(folder, format):
    return folder / f"model{formats.SUFFIXES.get(format, '.onnx')}"


def record_draws(monkeypatch):
    """Record the numbers that are drawn from now on: name of a file's input -> list of arrays."""
    numbers = {}

    def recording(kind, draw):
        def call(shape, *limits, **options):
            drawn = draw(shape, *limits, **options)
            low, high = limits or (0.0, 1.0)
            array = (keras.ops.convert_to_numpy(drawn) - low) / (high - low)
            numbers.setdefault(f"{kind}_noise", []).append(array.reshape(shape[0], -1))
            return drawn

        return call

    for kind in ("normal", "uniform"):
        monkeypatch.setattr(keras.random, kind, recording(kind, getattr(keras.random, kind)))
    return numbers


def inputs_and_result(model, endpoint, monkeypatch):
    """Return the arrays that a file takes for five examples, and what it must return."""
    x, inputs = examples.split(model, zoo.data_for(type(model).__name__, 5, seed=1))
    if endpoint == "sample":
        taken = examples.taken_by_sample(model)
        inputs = {name: inputs[name] for name, required in taken.items() if required}
        with monkeypatch.context() as patch:
            numbers = record_draws(patch)
            wanted = model.sample(5, seed=7, **inputs)
        given = {kind: np.concatenate(numbers[kind], axis=1) for kind in sorted(numbers)}
    else:
        method = getattr(model, endpoint)
        if endpoint == "decode":
            encoding = {name: inputs[name] for name in examples.required_by(model, model.encode)}
            x = model.encode(x, **encoding)
        inputs = {name: inputs[name] for name in examples.required_by(model, method)}
        wanted = method(x, **inputs)
        name = "z" if endpoint == "decode" else "x"
        given = x if isinstance(x, dict) else {name: x}
    dtypes = {"z": model._code_dtype, **model._input_dtypes}
    given = {**given, **inputs}
    given = {k: np.asarray(v, dtypes.get(k, "float32")) for k, v in given.items()}
    return given, wanted if isinstance(wanted, dict) else {"output": wanted}


def endpoints_of_today(name):
    """Return the endpoints that a run tries: one of each model, and another one tomorrow."""
    if os.environ.get("WHOLE_ZOO") == "1":
        return export.ENDPOINTS
    turn = zlib.crc32(name.encode()) + datetime.date.today().toordinal()
    return export.ENDPOINTS[turn % 4 : turn % 4 + 1]


@here
@pytest.mark.parametrize("name", zoo.MODELS)
def test_a_file_is_right_or_does_not_appear(name, tmp_path, monkeypatch):
    model = zoo.trained(name)
    for endpoint in endpoints_of_today(name):
        for format in HERE:
            path = place(tmp_path / endpoint, format)
            path.parent.mkdir(exist_ok=True)
            try:
                model.export(path, format=format, endpoint=endpoint)
            except NotImplementedError as error:
                assert not list(path.parent.iterdir())
                assert str(error).startswith("export: ") and len(str(error).splitlines()) == 1
                continue
            given, wanted = inputs_and_result(model, endpoint, monkeypatch)
            found = formats._RUN[format](str(path), given)
            if not wanted.keys() <= found.keys():  # OpenVINO's converter adds other outputs.
                found = dict(zip(wanted, found.values(), strict=False))
            for key, array in wanted.items():
                np.testing.assert_allclose(found[key], array, rtol=1e-4, atol=1e-4)


@here
@pytest.mark.parametrize("name", ["AE", "VampVAE", "TopKSAE", "ConditionalVAE"])
def test_samples_are_those_of_the_model(name, tmp_path, monkeypatch):
    """The samplers draw normal numbers, uniform ones, and both; one model takes a label."""
    model = zoo.trained(name)
    given, wanted = inputs_and_result(model, "sample", monkeypatch)
    for format in HERE:
        path = place(tmp_path, format)
        model.export(path, format=format, endpoint="sample")
        found = next(iter(formats._RUN[format](str(path), given).values()))
        np.testing.assert_allclose(found, wanted["output"], atol=1e-4)


@keras.saving.register_keras_serializable("test_formats")
def draw_alike(num_samples, latent_dim, seed):
    """Draw a code that all samples share."""
    return keras.ops.zeros((num_samples, 1)) + draw_normal((1, latent_dim), seed)


@keras.saving.register_keras_serializable("test_formats")
def draw_by_keras(num_samples, latent_dim, seed):
    return keras.random.normal((num_samples, latent_dim), seed=seed)


@here
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("RiemannianHamiltonianVAE", {}, "draws numbers that cannot be given"),
        ("AdversarialAE", {"prior": draw_by_keras}, "draws numbers that cannot be given"),
        ("AdversarialAE", {"prior": draw_alike}, "draws numbers that all samples share"),
    ],
)
def test_samples_of_numbers_that_cannot_be_given(name, options, message, tmp_path):
    model = zoo.fitted(name, **options)
    for format in HERE:
        with pytest.raises(NotImplementedError, match=f"{name}.sample {message}.*sampler.draw"):
            model.export(place(tmp_path, format), format=format, endpoint="sample")
    assert not list(tmp_path.iterdir())
    # The message names this call.
    assert model.sampler.draw(4, keras.random.SeedGenerator(0)).shape == (4, 2)


# Converters lack recurrent layers, sorting, loops that read tensors besides their state, quotients
# of weights, normalization of computed shapes, batch sizes as numbers, names of outputs, expm1, or
# Keras' index of the largest number.
@here
@pytest.mark.parametrize(
    ("name", "endpoint"),
    [
        ("RecurrentAE", "reconstruct"),
        ("TopKSAE", "encode"),
        ("VQVAE", "reconstruct"),
        ("VQVAE", "sample"),
        ("MaskedAE", "encode"),
        ("LFQVAE", "encode"),
        ("MultimodalVAE", "reconstruct"),
        ("FlowVAE", "encode"),
        ("SemiSupervisedVAE", "encode"),
        ("PoincareVAE", "sample"),
        ("CategoricalVAE", "sample"),
        ("HIVAE", "encode"),
    ],
)
def test_what_converters_lack_is_written_otherwise(name, endpoint, tmp_path):
    model = zoo.trained(name)
    for format in HERE:
        if (format, BACKEND, name, endpoint) == ("openvino", "torch", "VQVAE", "sample"):
            continue  # It lacks the operation with which Keras takes one row.
        model.export(place(tmp_path, format), format=format, endpoint=endpoint)


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
    path = place(tmp_path, format)
    with pytest.raises(NotImplementedError, match=r"VAE\.encode as .* so nothing was written"):
        zoo.trained("VAE").export(path, format=format, endpoint="encode")
    assert not list(tmp_path.iterdir())


@here
def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch):
    def interrupt(path, given):
        raise KeyboardInterrupt

    format = HERE[0]
    monkeypatch.setitem(formats._RUN, format, interrupt)
    path = place(tmp_path, format)
    path.write_text("of before")
    with pytest.raises(KeyboardInterrupt):
        zoo.trained("VAE").export(path, format=format, endpoint="encode", overwrite=True)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["of before"]


@here
@pytest.mark.parametrize("change", ["int8", "int4", "mixed_bfloat16", "mixed_float16"])
def test_other_precisions_are_written_or_refused_quietly(change, tmp_path, capfd):
    if change.startswith("int"):
        model = zoo.fitted("VAE")
        model.quantize(change)
    else:
        model = zoo.fitted("VAE", dtype=change)
    capfd.readouterr()
    for format in HERE:
        path = place(tmp_path / format, format)
        path.parent.mkdir()
        try:
            model.export(path, format=format)
        except NotImplementedError as error:
            assert not list(path.parent.iterdir())
            assert len(str(error).splitlines()) == 1 and "\x1b" not in str(error)
            assert (BACKEND == "torch") != ("tf_saved_model" in str(error))
    assert capfd.readouterr() == ("", "")


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
        path = place(tmp_path, format)
        if format != "onnx":
            with pytest.raises(ValueError, match=f"must end in {formats.SUFFIXES[format]}"):
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


def test_a_file_may_compute_missing_numbers():
    """Cells that a table lacks are NaN; a difference is that of the other numbers."""
    expected = np.array([[np.nan, 2.0], [3.0, -np.inf]], "float32")
    formats._compare({"x": expected.copy()}, expected)
    with pytest.raises(ValueError, match="output 1 differs by up to 1 from"):
        formats._compare({"x": np.array([[np.nan, 2.0], [4.0, -np.inf]], "float32")}, expected)
    with pytest.raises(ValueError, match="output 1 differs"):
        formats._compare({"x": np.zeros((2, 2), "float32")}, expected)
