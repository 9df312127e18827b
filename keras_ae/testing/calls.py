"""Checks of `encode`, `decode`, `reconstruct`, `sample` and their kin."""

import inspect
import pathlib
import tempfile
import unittest
import unittest.mock

import keras
import numpy as np
from keras import ops

from keras_ae.saving.load import load
from keras_ae.testing.parts import (
    CODE_DTYPES,
    can_sample,
    check,
    gradient,
    numpy_of,
    require,
    require_close,
    require_error,
)


@check
def arrays(subject):
    """Arrays give arrays of the stated shapes, however they are cut into batches."""
    model, number = subject.trained, min(len(subject.x), 37)
    x, codes = subject.x[:number], subject.codes(number)
    code_shape = (number, *model.code_shape)
    calls = {
        "encode": (x, code_shape, CODE_DTYPES),
        "decode": (codes, x.shape, ["float32"]),
        "reconstruct": (x, x.shape, ["float32"]),
    }
    for method, (argument, shape, dtypes) in calls.items():
        call = getattr(model, method)
        whole = call(argument)
        kind = f"{type(whole).__name__} of {getattr(whole, 'dtype', None)}, {np.shape(whole)}"
        right = isinstance(whole, np.ndarray) and whole.dtype in dtypes and whole.shape == shape
        require(right, f"{method} gives a {kind}, instead of an array of {dtypes}, {shape}.")
        require(np.array_equal(call(argument), whole), f"{method} gives other numbers again.")
        what = f"{method} depends on the batches."
        require_close(call(argument, batch_size=8), whole, what)
        require_close(call(argument.tolist()), whole, f"{method} of a list differs.")


@check
def round_trip(subject):
    """`reconstruct` is `decode` of `encode`, or comes nearer because it also reads the data."""
    model, x = subject.trained, subject.x
    decoded, reconstructed = model.decode(model.encode(x)), model.reconstruct(x)
    if not _reads_data(model, x):
        require_close(decoded, reconstructed, "It differs, and reads nothing but codes.")
    of_codes, of_both = (np.mean(np.square(each - x)) for each in (decoded, reconstructed))
    what = f"Its squared error is {of_both:.5g}, and that of the decoded codes {of_codes:.5g}."
    require(of_both <= 1.001 * of_codes, what)


def _reads_data(model, x):
    """Whether `reconstruct` tells examples apart when all codes are decoded alike."""

    def decode(z, **options):
        return ops.zeros((ops.shape(z)[0], *model.target_shape))

    with unittest.mock.patch.object(model, "decode", decode):
        found = numpy_of(model.reconstruct(ops.convert_to_tensor(x.astype("float32"))))
    return not np.allclose(found, found[0])


@check
def tensors(subject):
    """Tensors give tensors, of the numbers that arrays give."""
    model, x = subject.trained, subject.x[:5].astype("float32")
    codes = model.encode(ops.convert_to_tensor(x))
    decoded = model.decode(codes)
    require(ops.is_tensor(codes) and ops.is_tensor(decoded), "They give no tensors.")
    found = numpy_of(model.reconstruct(ops.convert_to_tensor(x)))
    require_close(found, model.reconstruct(x), "The numbers are others.")


@check
def gradients(subject):
    """The gradient of a reconstruction is its slope, and through integer codes is not zero."""
    model = subject.trained
    x = (0.5 * subject.x[:5] + 0.5 * np.mean(subject.x)).astype("float32")

    def total(values):
        return ops.sum(ops.square(model.reconstruct(values)))

    found = gradient(total, x)
    norm = np.linalg.norm(found)
    require(np.isfinite(norm) and norm > 0, f"The gradient's length is {norm}.")
    if subject.has_integer_codes:
        return
    step = np.zeros_like(x)
    largest = np.unravel_index(np.argmax(np.abs(found)), found.shape)
    step[largest] = 1e-3 * max(1.0, float(np.std(subject.x)))
    above, below = (
        np.sum(model.reconstruct(x + sign * step).astype("float64") ** 2) for sign in (1, -1)
    )
    slope = (above - below) / (2 * step[largest])
    what = "The gradient is not the slope."
    require_close(found[largest], slope, what, rtol=0.05, atol=5e-3)


@check
def symbols(subject):
    """`encode` and `decode` of `keras.Input` make Keras models."""
    model, x = subject.trained, subject.x[:5]
    inputs = keras.Input(x.shape[1:])
    features = keras.Model(inputs, model.encode(inputs))
    codes = model.encode(x)
    found = features.predict(x, verbose=0)
    require_close(found, codes, "A model of encode gives other codes.")
    code = keras.Input(model.code_shape)
    generator = keras.Model(code, model.decode(code))
    found = generator.predict(codes, verbose=0)
    require_close(found, model.decode(codes), "A model of decode gives other data.")


@check
def samples(subject):
    """Samples follow their seed, are new without one, and do not depend on the batches."""
    model, shape = subject.trained, (37, *subject.x.shape[1:])
    if model.sampler is None:
        raise unittest.SkipTest("it has no sampler")
    first = model.sample(37, seed=3)
    require(first.shape == shape, f"They have shape {first.shape} instead of {shape}.")
    require(np.all(np.isfinite(first)), "They are not finite.")
    require(np.array_equal(model.sample(37, seed=3), first), "Seed 3 gives others again.")
    require(not np.array_equal(model.sample(37, seed=4), first), "Seed 4 gives those of seed 3.")
    require(not np.array_equal(model.sample(37), model.sample(37)), "Without a seed they repeat.")
    found = model.sample(37, seed=3, batch_size=8)
    require_close(found, first, "They depend on batch_size.")


@check
def untrained_samples(subject):
    """An untrained model samples if its sampler is ready, and else says what to call."""
    model = subject.compiled()
    require_error(lambda: model.sample(3), (RuntimeError, ValueError), "sample before build")
    model.build((None, *subject.x.shape[1:]))
    if can_sample(model):
        found = model.sample(3, seed=0).shape
        require(found == (3, *subject.x.shape[1:]), f"Samples have shape {found}.")
    else:
        what = "sample before training"
        require_error(lambda: model.sample(3), (RuntimeError,), what, ["Call "])


@check
def draws(subject):
    """Draws from the posterior and from the likelihood follow their seeds."""
    model, x = subject.trained, subject.x[:8]
    for method, argument in (("encode", x), ("decode", subject.codes(8))):
        call = getattr(model, method)
        if "sample" not in inspect.signature(call).parameters:
            raise unittest.SkipTest(f"its {method} takes no sample=")
        drawn, shape = call(argument, sample=True, seed=1), call(argument).shape
        require(drawn.shape == shape, f"{method} draws shape {drawn.shape} instead of {shape}.")
        again, other = (call(argument, sample=True, seed=seed) for seed in (1, 2))
        require(np.array_equal(again, drawn), f"{method}: seed 1 gives another draw again.")
        require(not np.array_equal(other, drawn), f"{method}: seed 2 gives the draw of seed 1.")
    first, second = (model.encode(x, sample=True) for _ in range(2))
    require(not np.array_equal(first, second), "encode: without a seed draws repeat.")


@check
def likelihood(subject):
    """`log_likelihood` gives one number for each example, follows its seed, and has a gradient."""
    model, x = subject.trained, subject.x[:8].astype("float32")
    if not hasattr(model, "log_likelihood"):
        raise unittest.SkipTest("it has no log_likelihood")
    first, again, other = (model.log_likelihood(x, num_samples=12, seed=seed) for seed in (0, 0, 1))
    require(first.shape == (len(x),), f"It has shape {first.shape}.")
    require(np.all(np.isfinite(first)), f"It is {first}.")
    require(np.array_equal(again, first), "Seed 0 gives another estimate again.")
    require(not np.array_equal(other, first), "Seed 1 gives the estimate of seed 0.")
    inside = (0.5 * x[:3] + 0.5 * np.mean(subject.x)).astype("float32")
    found = gradient(lambda v: ops.sum(model.log_likelihood(v, num_samples=4, seed=0)), inside)
    require(np.all(np.isfinite(found)) and np.any(found), "Its gradient is zero or not finite.")


@check
def export(subject):
    """TensorFlow serves an exported model, which gives the numbers that the model gives."""
    if keras.config.backend() == "torch":
        raise unittest.SkipTest("torch writes no SavedModel")
    import tensorflow as tf

    model, x = subject.trained, subject.x.astype("float32")
    with tempfile.TemporaryDirectory() as folder:
        model.export(pathlib.Path(folder) / "model")
        served = tf.saved_model.load(str(pathlib.Path(folder) / "model"))
        loaded = load(pathlib.Path(folder) / "model")
    codes = model.encode(x)
    calls = {
        "encode": (served.encode(x), codes),
        "serve": (served.serve(x), model.reconstruct(x)),
        "decode": (served.decode(codes), model.decode(codes)),
    }
    if can_sample(model):
        calls["sample"] = (served.sample(7, 0), model.sample(7, seed=0))
    for name, (found, wanted) in calls.items():
        require_close(found, wanted, f"The served {name} gives other numbers.", atol=1e-5)
    if hasattr(model, "log_likelihood"):
        found = served.log_likelihood(x, 3).numpy()
        number = getattr(model, "SERVED_SAMPLES", 100)
        wanted = model.log_likelihood(x, num_samples=number, seed=3)
        what = "The served log_likelihood gives other numbers."
        require_close(found, wanted, what, atol=0.2, rtol=0.02)
    require_close(loaded.encode(x), codes, "The loaded model gives other codes.")
