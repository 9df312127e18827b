"""Checks of `encode`, `decode`, `reconstruct`, `sample` and their kin."""

import inspect
import pathlib
import tempfile
import unittest
import unittest.mock

import keras
import numpy as np
from keras import ops

from keras_ae.core import ranges
from keras_ae.core.examples import (
    join,
    leaves,
    length,
    map_leaves,
    required_by,
    split,
    taken_by,
    taken_by_sample,
)
from keras_ae.saving.load import load
from keras_ae.testing.parts import (
    CODE_DTYPES,
    are_data,
    as_floats,
    can_sample,
    check,
    cut,
    gradient,
    is_equal,
    numpy_of,
    require,
    require_close,
    require_error,
    shapes_of,
    to_tensors,
    with_rows,
)


@check
def arrays(subject):
    """Arrays give arrays of the stated shapes, however they are cut into batches."""
    model, number = subject.trained, min(length(subject.x), 37)
    x, codes = cut(subject.x, number), subject.codes(number)
    code_shape, shape = (number, *model.code_shape), shapes_of(subject.data(x))
    calls = {
        "encode": (model.encode, x, code_shape, CODE_DTYPES),
        "decode": (subject.decode, codes, shape, ["float32"]),
        "reconstruct": (model.reconstruct, x, shape, ["float32"]),
    }
    for method, (call, argument, shape, dtypes) in calls.items():
        whole = call(argument)
        for value in leaves(whole):
            kind = f"{type(value).__name__} of {getattr(value, 'dtype', None)}"
            right = isinstance(value, np.ndarray) and value.dtype in dtypes
            require(right, f"{method} gives a {kind}, instead of an array of {dtypes}.")
        found = shapes_of(whole)
        require(found == shape, f"{method} gives the shape {found} instead of {shape}.")
        require(is_equal(call(argument), whole), f"{method} gives other numbers again.")
        what = f"{method} depends on the batches."
        require_close(call(argument, batch_size=8), whole, what)
        lists = map_leaves(lambda value: value.tolist(), argument)
        require_close(call(lists), whole, f"{method} of a list differs.")


@check
def round_trip(subject):
    """`reconstruct` is `decode` of `encode`, or comes nearer because it also reads the data."""
    model, x = subject.trained, subject.x
    decoded, reconstructed = subject.decode(model.encode(x)), model.reconstruct(x)
    if not _reads_data(model, x):
        require_close(decoded, reconstructed, "It differs, and reads nothing but codes.")
    of_codes, of_both = (_squared_error(each, subject.data(x)) for each in (decoded, reconstructed))
    what = f"Its squared error is {of_both:.5g}, and that of the decoded codes {of_codes:.5g}."
    require(of_both <= 1.001 * of_codes, what)


def _squared_error(found, wanted):
    if isinstance(wanted, dict):
        return sum(_squared_error(found[name], wanted[name]) for name in wanted)
    return np.nanmean(np.square(found - wanted))


def _reads_data(model, x):
    """Whether `reconstruct` tells examples apart when all codes are decoded alike."""

    if model._modalities:
        return False

    def decode(z, **options):
        return ops.zeros((ops.shape(z)[0], *model._target_shape))

    with unittest.mock.patch.object(model, "decode", decode):
        found = numpy_of(model.reconstruct(to_tensors(as_floats(model, x))))
    return not np.allclose(found, found[0])


@check
def tensors(subject):
    """Tensors give tensors, of the numbers that arrays give."""
    model, x = subject.trained, as_floats(subject.trained, cut(subject.x, 5))
    codes = model.encode(to_tensors(x))
    decoded = subject.decode(codes)
    are_tensors = map(ops.is_tensor, [codes, *leaves(decoded)])
    require(all(are_tensors), "They give no tensors.")
    found = numpy_of(model.reconstruct(to_tensors(x)))
    require_close(found, model.reconstruct(x), "The numbers are others.")


@check
def gradients(subject):
    """The gradient of a reconstruction is its slope, and through integer codes is not zero."""
    model = subject.trained
    if ranges.are_tokens(model._support):
        raise unittest.SkipTest("its data has no gradient")
    first, inputs = split(model, cut(subject.x, 5))
    names = list(first) if model._modalities else [None]
    for name in names:
        _check_gradient(subject, first, inputs, name)


def _check_gradient(subject, first, inputs, name):
    """Compare the gradient in one array of the data with the slope along its largest number."""
    model = subject.trained
    whole = subject.data(subject.x) if name is None else subject.data(subject.x)[name]
    x = first if name is None else first[name]
    x = (0.5 * x + 0.5 * np.nanmean(whole)).astype("float32")

    def reconstruct(values):
        batch = values if name is None else {**first, name: values}
        batch = map_leaves(lambda v: ops.cast(v, "float32"), batch)
        return leaves(model.reconstruct(join(model, batch, to_tensors(inputs))))

    def total(values):
        return sum(ops.sum(ops.square(each)) for each in reconstruct(values))

    found = gradient(total, x)
    norm = np.linalg.norm(found)
    require(np.isfinite(norm) and norm > 0, f"The gradient's length is {norm}.")
    if subject.has_integer_codes:
        return
    step = np.zeros_like(x)
    largest = np.unravel_index(np.argmax(np.abs(found)), found.shape)
    step[largest] = 1e-3 * max(1.0, float(np.nanstd(whole)))
    above, below = (
        sum(np.sum(numpy_of(v).astype("float64") ** 2) for v in reconstruct(x + sign * step))
        for sign in (1, -1)
    )
    slope = (above - below) / (2 * step[largest])
    what = "The gradient is not the slope."
    require_close(found[largest], slope, what, rtol=0.05, atol=5e-3)


@check
def symbols(subject):
    """`encode` and `decode` of `keras.Input` make Keras models."""
    model, x = subject.trained, as_floats(subject.trained, cut(subject.x, 5))
    x, named = split(model, x)
    encode, decode = ({k: named[k] for k in taken_by(model, m) if k in named}
                      for m in (model.encode, model.decode))  # fmt: skip
    inputs = _symbols(x)
    extra = _symbols(encode)
    features = keras.Model([inputs, extra], model.encode(inputs, **extra))
    codes = model.encode(x, **encode)
    found = features.predict([x, encode], verbose=0)
    require_close(found, codes, "A model of encode gives other codes.")
    code, extra = keras.Input(model.code_shape), _symbols(decode)
    generator = keras.Model([code, extra], model.decode(code, **extra))
    found = generator.predict([codes, decode], verbose=0)
    require_close(found, model.decode(codes, **decode), "A model of decode gives other data.")


def _symbols(values):
    return map_leaves(lambda value: keras.Input(value.shape[1:], dtype=value.dtype), values)


@check
def samples(subject):
    """Samples follow their seed, are new without one, and do not depend on the batches."""
    model = subject.trained
    if model.sampler is None:
        raise unittest.SkipTest("it has no sampler")
    first, shape = subject.sample(37, seed=3), with_rows(model._data_shape, 37)
    require(shapes_of(first) == shape, f"They have shape {shapes_of(first)} instead of {shape}.")
    require(are_data(model, first), "They are not finite.")
    require(is_equal(subject.sample(37, seed=3), first), "Seed 3 gives others again.")
    require(not is_equal(subject.sample(37, seed=4), first), "Seed 4 gives those of seed 3.")
    fresh = subject.sample(37)
    require(not is_equal(subject.sample(37), fresh), "Without a seed they repeat.")
    found = subject.sample(37, seed=3, batch_size=8)
    require_close(found, first, "They depend on batch_size.")


@check
def untrained_samples(subject):
    """An untrained model samples if its sampler is ready, and else says what to call."""
    model = subject.compiled()
    errors = (RuntimeError, ValueError)
    require_error(lambda: subject.sample(3, model=model), errors, "sample before build")
    subject.build(model)
    if can_sample(model):
        found = shapes_of(subject.sample(3, seed=0, model=model))
        require(found == with_rows(model._data_shape, 3), f"Samples have shape {found}.")
    else:
        what = "sample before training"
        require_error(lambda: subject.sample(3, model=model), (RuntimeError,), what, ["Call "])


@check
def fitted_samples(subject):
    """`fit_sampler` decides what `sample` draws, until the model is trained further."""
    model = subject.built()
    model.fit(subject.x, **subject.batches)
    if hasattr(model, "fit_prior"):
        raise unittest.SkipTest("its codes are integers, which `fit_prior` fits")
    own = subject.sample(9, seed=3, model=model)
    model.fit_sampler(subject.x, "kernel_density", seed=0, verbose=0)
    drawn = subject.sample(9, seed=3, model=model)
    require(are_data(model, drawn), "The samples are not finite.")
    require(not is_equal(drawn, own), "The samples are those of before.")
    with tempfile.TemporaryDirectory() as folder:
        model.save(pathlib.Path(folder) / "model.keras")
        loaded = load(pathlib.Path(folder) / "model.keras")
    found = subject.sample(9, seed=3, model=loaded)
    require_close(found, drawn, "The loaded model draws others.")
    loaded.fit(subject.x, **subject.batches)
    require_error(
        lambda: subject.sample(3, model=loaded),
        (RuntimeError,),
        "sample after further training",
        ["Call fit_sampler"],
    )
    model.fit_sampler(sampler="own")
    require(is_equal(subject.sample(9, seed=3, model=model), own), "The own samples are lost.")


@check
def draws(subject):
    """Draws from the posterior and from the likelihood follow their seeds."""
    model, x = subject.trained, cut(subject.x, 8)
    calls = {"encode": (model.encode, x), "decode": (subject.decode, subject.codes(8))}
    for method, (call, argument) in calls.items():
        if "sample" not in inspect.signature(getattr(model, method)).parameters:
            raise unittest.SkipTest(f"its {method} takes no sample=")
        drawn, shape = call(argument, sample=True, seed=1), shapes_of(call(argument))
        found = shapes_of(drawn)
        require(found == shape, f"{method} draws shape {found} instead of {shape}.")
        again, other = (call(argument, sample=True, seed=seed) for seed in (1, 2))
        require(is_equal(again, drawn), f"{method}: seed 1 gives another draw again.")
        require(not is_equal(other, drawn), f"{method}: seed 2 gives the draw of seed 1.")
    first, second = (model.encode(x, sample=True) for _ in range(2))
    require(not np.array_equal(first, second), "encode: without a seed draws repeat.")


@check
def likelihood(subject):
    """`log_likelihood` gives one number for each example, follows its seed, and has a gradient."""
    model, x = subject.trained, as_floats(subject.trained, cut(subject.x, 8))
    if not hasattr(model, "log_likelihood"):
        raise unittest.SkipTest("it has no log_likelihood")
    first, again, other = (model.log_likelihood(x, num_samples=12, seed=seed) for seed in (0, 0, 1))
    require(first.shape == (length(x),), f"It has shape {first.shape}.")
    require(np.all(np.isfinite(first)), f"It is {first}.")
    require(np.array_equal(again, first), "Seed 0 gives another estimate again.")
    require(not np.array_equal(other, first), "Seed 1 gives the estimate of seed 0.")
    if ranges.are_tokens(model._support):
        return
    data, inputs = split(model, cut(x, 3))
    name, start = next(iter(data.items())) if model._modalities else (None, data)
    start = (0.5 * start + 0.5 * np.nanmean(start)).astype("float32")

    def total(values):
        values = values if name is None else {**to_tensors(data), name: values}
        batch = join(model, values, to_tensors(inputs))
        return ops.sum(model.log_likelihood(batch, num_samples=4, seed=0))

    found = gradient(total, start)
    require(np.all(np.isfinite(found)) and np.any(found), "Its gradient is zero or not finite.")


@check
def anomaly_scores(subject):
    """`anomaly_score` gives one number for each example, which no other example changes."""
    model, x = subject.trained, as_floats(subject.trained, subject.x)
    if not hasattr(model, "anomaly_score"):
        raise unittest.SkipTest("it has no anomaly_score")
    scores = model.anomaly_score(x)
    require(scores.shape == (length(x),), f"It has shape {scores.shape}.")
    require(np.all(np.isfinite(scores)), f"It is {scores}.")
    require(np.ptp(scores) > 1e-4 * np.abs(scores).max(), "It is the same for all examples.")
    of_batches = model.anomaly_score(x, batch_size=3)
    require_close(of_batches, scores, "batch_size=3 gives other scores.", atol=1e-5)
    of_tensor = numpy_of(model.anomaly_score(map_leaves(ops.convert_to_tensor, x)))
    require_close(of_tensor, scores, "A tensor has other scores.", atol=1e-5)


@check
def export(subject):
    """TensorFlow serves an exported model, which gives the numbers that the model gives."""
    if keras.config.backend() == "torch":
        raise unittest.SkipTest("torch writes no SavedModel")
    import tensorflow as tf

    model, x = subject.trained, as_floats(subject.trained, subject.x)
    with tempfile.TemporaryDirectory() as folder:
        model.export(pathlib.Path(folder) / "model")
        served = tf.saved_model.load(str(pathlib.Path(folder) / "model"))
        loaded = load(pathlib.Path(folder) / "model")
    x, named = split(model, x)

    def inputs_of(method):
        """Return the named inputs that the method requires, because no other is served."""
        return {name: named[name] for name in required_by(model, method)}

    def serve(name, method, **first):
        served_values = getattr(served, name)(**first, **inputs_of(method))
        return map_leaves(lambda v: v.numpy(), served_values)

    data = x if model._modalities else {"x": x}
    codes = model.encode(x, **inputs_of(model.encode))
    calls = {
        "encode": (serve("encode", model.encode, **data), codes),
        "serve": (
            serve("serve", model.reconstruct, **data),
            model.reconstruct(x, **inputs_of(model.reconstruct)),
        ),
        "decode": (
            serve("decode", model.decode, z=codes),
            model.decode(codes, **inputs_of(model.decode)),
        ),
    }
    if hasattr(model, "anomaly_score"):
        found = serve("anomaly_score", model.anomaly_score, **data)
        calls["anomaly_score"] = (found, model.anomaly_score(x, **inputs_of(model.anomaly_score)))
    if can_sample(model):
        required = [name for name, is_required in taken_by_sample(model).items() if is_required]
        given = subject.inputs(required, 7)
        found = served.sample(seed=0, **(as_floats(model, given) if given else {"num_samples": 7}))
        calls["sample"] = (found, model.sample(7, seed=0, **given))
    for name, (found, wanted) in calls.items():
        require_close(found, wanted, f"The served {name} gives other numbers.", atol=1e-5)
    if "log_likelihood" in model._endpoints():
        found = serve("log_likelihood", model.log_likelihood, **data, seed=3)
        given = inputs_of(model.log_likelihood)
        number = model._SERVED_SAMPLES
        wanted = model.log_likelihood(x, num_samples=number, seed=3, **given)
        what = "The served log_likelihood gives other numbers."
        require_close(found, wanted, what, atol=0.2, rtol=0.02)
    found = loaded.encode(x, **inputs_of(model.encode))
    require_close(found, codes, "The loaded model gives other codes.")
