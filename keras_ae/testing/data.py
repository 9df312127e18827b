"""Checks of what a model is trained on."""

import unittest

import keras
import numpy as np
from keras import ops

from keras_ae.core.examples import leaves, length, map_leaves, required_by, split
from keras_ae.core.training import Loops
from keras_ae.testing.parts import (
    assign,
    can_sample,
    change_data,
    check,
    cut,
    numpy_of,
    require,
    require_close,
    require_error,
    same,
    takes_networks,
    to_tensors,
    weights,
)


@check
def forms_of_data(subject):
    """Arrays, lists, tensors, datasets, sequences and generators of the same data are the same."""
    import tensorflow as tf

    model, x, size = subject.trained, subject.x, subject.batch_size

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return length(x) // size

        def __getitem__(self, index):
            return (map_leaves(lambda value: value[index * size : (index + 1) * size], x),)

    x = cut(x, length(x) // size * size)
    data = subject.data(x)
    slices = tf.data.Dataset.from_tensor_slices
    forms = {
        "a list": (map_leaves(lambda value: value.tolist(), x), subject.batches),
        "float64": (map_leaves(lambda value: value.astype("float64"), x), subject.batches),
        "a tensor": (to_tensors(x), subject.batches),
        "a batched dataset": (slices(x).batch(size), {"verbose": 0}),
        "a dataset of examples": (slices(x), subject.batches),
        "a dataset of pairs": (slices((x, data)).batch(size), {"verbose": 0}),
        "a PyDataset": (Batches(), {"verbose": 0}),
        "a generator": ((batch for (batch,) in map(Batches().__getitem__, range(3))),)
        + ({"verbose": 0, "steps": 3},),
    }
    if model._modalities:
        del forms["a dataset of pairs"]
    elif not isinstance(x, dict):
        forms["a dataset of dictionaries"] = (slices({"x": x}).batch(size), {"verbose": 0})
    if type(model)._evaluation_scope is not Loops._evaluation_scope:
        del forms["a generator"]  # It is read once, and this model reads data before it evaluates.
    wanted = model.evaluate(x, **subject.batches)
    for form, (data, options) in forms.items():
        found = model.evaluate(data, **options)
        require_close(found, wanted, f"evaluate of {form} differs from an array's.", rtol=1e-4)
    if not subject.takes("seed"):
        return
    found = []
    for data in ((x, subject.batches), (slices(x).batch(size), {"verbose": 0})):
        trained = subject.built(keras.optimizers.SGD(0.01), seed=1)
        trained.fit(data[0], shuffle=False, **data[1])
        found.append(weights(trained))
    for first, second in zip(*found, strict=True):
        require_close(second, first, "fit of a dataset differs from an array's.", 1e-5, 1e-4)


@check
def targets(subject):
    """Targets of another shape are learned, and reconstructed and sampled in their shape."""
    x, size = subject.x, subject.batch_size
    model = subject.compiled()
    y = first = next(iter(leaves(split(model, x)[0])))
    y = np.concatenate([first, first[..., :1]], axis=-1)
    try:
        model.fit(x, y, validation_data=(x, y), **subject.batches)
    except ValueError as error:
        require("target" in str(error), f"The error does not say what is wrong with y: {error}")
        raise unittest.SkipTest(f"it refuses them: {error}") from None
    found = model.reconstruct(x).shape
    require(found == y.shape, f"Reconstructions have shape {found}, and the targets {y.shape}.")
    loss = model.evaluate(x, y, batch_size=size, verbose=0, return_dict=True)["loss"]
    require(np.isfinite(loss), f"The loss is {loss}.")
    if can_sample(model):
        found = subject.sample(3, seed=0, model=model).shape
        require(found == (3, *y.shape[1:]), f"Samples have shape {found}.")
    if hasattr(model, "log_likelihood"):
        found = model.log_likelihood(x, y, num_samples=4, seed=0).shape
        require(found == (length(x),), f"log_likelihood has shape {found}.")
    require_error(lambda: model.fit(x, verbose=0), (ValueError,), "fit(x) without them", ["target"])


@check
def padding(subject):
    """The number that stands for padding in sequences changes nothing else, or is refused."""
    x, real = _sequences(subject)
    found, start = [], None
    for value in (np.nanmin(x) - 1, np.nanmax(x) + 1):
        padded = np.where(real[..., None], x, value)
        model = _model_with_mask(subject, float(value), padded.shape)
        start = start or list(map(numpy_of, model.variables))
        assign(model.variables, start)
        batch, tensor = {"batch_size": len(x), "verbose": 0}, ops.convert_to_tensor(padded)
        results = {
            "Codes": numpy_of(model.encode(tensor)),
            "Reconstructions of other steps": numpy_of(model.reconstruct(tensor))[real],
            "Losses": [*model.evaluate(padded, return_dict=True, **batch).values()],
        }
        if hasattr(model, "log_likelihood"):
            results["Likelihoods"] = numpy_of(model.log_likelihood(tensor, num_samples=4, seed=0))
        model.fit(padded, **batch)
        trained = [numpy_of(variable).ravel() for variable in model.trainable_variables]
        found.append({**results, "Trained weights": np.concatenate(trained)})
    for what, values in found[0].items():
        require_close(found[1][what], values, f"{what} depend on it.", atol=1e-4, rtol=1e-4)


def _sequences(subject):
    """Short sequences of the data, and which of their steps are real, (examples, steps)."""
    model = subject.made()
    if isinstance(subject.x, dict):
        raise unittest.SkipTest("it has named inputs or several modalities")
    x = subject.x[:8].astype("float32")
    if not takes_networks(model):
        raise unittest.SkipTest("its constructor takes no networks")
    if any(isinstance(model.arguments[n], keras.layers.Layer) for n in ("encoder", "decoder")):
        raise unittest.SkipTest("it is made with networks that have masks of their own, or none")
    if x.ndim > 3:
        raise unittest.SkipTest("its data are no sequences")
    x = (x if x.ndim == 3 else x[:, :, None])[:, :4]
    try:
        model.build((None, *x.shape[1:]))
    except ValueError as error:
        raise unittest.SkipTest(f"it takes no sequences: {error}") from None
    steps = x.shape[1]
    return x, np.arange(steps) <= np.arange(len(x))[:, None] % steps


def _model_with_mask(subject, value, shape):
    """A model of sequences for which this number stands for padding."""
    arguments = subject.made().arguments
    given = {"mask_value": value}
    if "mask_value" not in arguments:
        given = {"network_options": {**(arguments["network_options"] or {}), **given}}
    model = subject.compiled(keras.optimizers.SGD(0.01), **given)
    try:
        model.build(shape)
    except ValueError as error:
        require("mask_value" in str(error), f"The error does not name mask_value: {error}")
        raise unittest.SkipTest(f"it refuses padding: {error}") from None
    return model


@check
def sample_weights(subject):
    """An example of weight 0 does not count, and only the ratios of weights matter in means."""
    model, x = subject.trained, cut(subject.x, 2 * subject.batch_size)
    half = np.repeat([1.0, 0.0], subject.batch_size)
    options = {"batch_size": length(x), "verbose": 0, "return_dict": True}
    kept = model.evaluate(x, sample_weight=half, **options)["loss"]
    scaled = model.evaluate(x, sample_weight=3 * half, **options)["loss"]
    require_close(scaled, kept, "Weights three times as large change the mean.", rtol=1e-4)


@check
def bad_data(subject):
    """What is no data of the model is refused by a ValueError or TypeError, and changes nothing."""
    model, x = subject.trained, subject.x
    before, count, codes = weights(model), length(x), subject.codes(3)

    def change(function):
        return change_data(model, x, function)

    def put_nan(value):
        value = value.astype("float32")
        value[0] = np.nan
        return value

    wrong = change(lambda v: v[..., :-1] if v.shape[-1] > 1 else np.tile(v, 2))
    nan, text = change(put_nan), change(lambda v: v.astype(str))
    none, one = cut(x, 0), map_leaves(lambda v: v[0], x)
    cases = {
        "fit(x of another shape)": lambda: model.fit(wrong, verbose=0),
        "fit(no examples)": lambda: model.fit(none, verbose=0),
        "fit(text)": lambda: model.fit(text, verbose=0),
        "fit(x, labels)": lambda: model.fit(x, np.arange(count) % 10, verbose=0),
        "fit(unknown=)": lambda: model.fit(x, unknown_input=np.zeros(count), verbose=0),
        "evaluate(x of another shape)": lambda: model.evaluate(wrong, verbose=0),
        "encode(one example)": lambda: model.encode(one),
        "encode(x of another shape)": lambda: model.encode(wrong),
        "encode(no examples)": lambda: model.encode(none),
        "encode(unknown=)": lambda: model.encode(x, unknown_input=np.zeros(count)),
        "decode(codes of another shape)": lambda: subject.decode(codes[..., None]),
        "sample(0)": lambda: subject.sample(0),
        "sample(2, seed='a')": lambda: subject.sample(2, seed="a"),
        "compile(loss=)": lambda: model.compile("adam", loss="mse"),
        "build for another shape": lambda: model.build(
            map_leaves(lambda v: (None, *v.shape[1:], 9), x)
        ),
    }
    if not model._allow_nan:
        cases["fit(NaN)"] = lambda: model.fit(nan, verbose=0)
        cases["evaluate(NaN)"] = lambda: model.evaluate(nan, verbose=0)
        cases["encode(NaN)"] = lambda: model.encode(nan)
    for name in required_by(model, model.loss_terms):
        inputs = {k: v for k, v in x.items() if k != name}
        cases[f"fit without {name}"] = lambda inputs=inputs: model.fit(inputs, verbose=0)
        short = {**x, name: x[name][:-1]}
        cases[f"fit with a short {name}"] = lambda short=short: model.fit(short, verbose=0)
    for what, action in cases.items():
        require_error(action, (ValueError, TypeError), what)
        require(same(weights(model), before), f"{what} changed the weights.")
