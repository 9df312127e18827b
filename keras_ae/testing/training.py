"""Checks of training, and of what is kept of it."""

import functools
import pathlib
import tempfile
import unittest

import keras
import numpy as np

from keras_ae.core.examples import leaves, length, split, taken_by
from keras_ae.saving.load import load
from keras_ae.testing.parts import (
    CODE_DTYPES,
    can_sample,
    check,
    cut,
    groups,
    layers_of,
    networks_for,
    numpy_of,
    require,
    require_close,
    same,
    shapes_of,
    term_names,
    weights,
)
from keras_ae.testing.subject import lowered


@check
def history(subject):
    """The history holds every term that the model names, and the loss is their weighted sum."""
    model = subject.trained
    names = {"loss", *term_names(model)}
    wanted = names | {f"val_{name}" for name in names}
    found = set(subject.history)
    require(found == wanted, f"It holds {sorted(found)}, and {sorted(wanted)} was expected.")
    for name, values in subject.history.items():
        require(np.all(np.isfinite(values)), f"{name} is {values}.")
    if any(layer.losses for layer in model.layers):
        return  # The total holds these losses of layers, too, and they have no name.
    factors = {name: float(numpy_of(value)) for name, value in model.loss_weights().items()}
    logs = model.evaluate(subject.x, return_dict=True, **subject.batches)
    total = sum(factors.get(name, 1.0) * logs[name] for name in model.objective)
    require_close(logs["loss"], total, "The loss is not the sum of its weighted terms.", rtol=1e-4)


@check
def training(subject):
    """Trained, a model beats its untrained self: on its objective, and on reconstruction.

    On held-out data, against the same opponents if it plays against some.
    """
    subject.trained  # noqa: B018
    for name, lower in lowered(subject).items():
        require(
            lower,
            f"The {name} of held-out data is {subject.after[name]:.5g}, and "
            f"{subject.before[name]:.5g} with the weights of the start.",
        )


@check
def players(subject):
    """A player whose losses are zero moves no weight, and every other one moves some of its own."""
    networks = networks_for(subject.trained)
    networks = networks if subject.takes(*networks) else {}
    for silenced in [None, *subject.trained.players]:
        model = subject.built(keras.optimizers.SGD(0.1), **networks)
        names = model.objective if silenced is None else model.players[silenced]
        _silence(model, names)
        before = [[numpy_of(v) for v in group] for group in groups(model)]
        model.fit(subject.x, batch_size=length(subject.x), verbose=0)
        players = [None, *model.players]
        for player, group, old in zip(players, groups(model), before, strict=True):
            moved = not same([numpy_of(v) for v in group], old)
            who = "the model itself" if player is None else f"player {player!r}"
            if player == silenced:
                require(not moved, f"Weights of {who} moved, whose losses were zero.")
            else:
                require(moved, f"No weight of {who} moved, whose losses were not zero.")


def _silence(model, names):
    """Make losses of these names zero."""
    loss_terms = model.loss_terms

    @functools.wraps(loss_terms)  # Which named inputs it takes depends on its signature.
    def silenced(x, y, training, **inputs):
        terms = loss_terms(x, y, training, **inputs)
        return {name: 0.0 * v if name in names else v for name, v in terms.items()}

    model.loss_terms = silenced


@check
def mixed_precision(subject):
    """With mixed precision a model learns, has weights of float32, and computes much the same."""
    attends = any(isinstance(one, keras.layers.MultiHeadAttention) for one in
                  layers_of(subject.trained))  # fmt: skip
    if attends and keras.config.backend() == "jax":
        raise unittest.SkipTest("JAX's attention takes no float16 on a CPU")
    model = subject.built(dtype="mixed_float16")
    history = model.fit(subject.x, **subject.batches).history
    require(np.all(np.isfinite(history["loss"])), f"The loss is {history['loss']}.")
    dtypes = {v.dtype for v in model.trainable_variables}
    require(dtypes == {"float32"}, f"Trainable weights are {sorted(dtypes)}.")
    codes, data = model.encode(subject.x), model.reconstruct(subject.x)
    require(codes.dtype in CODE_DTYPES, f"Codes are {codes.dtype}.")
    dtypes = {str(value.dtype) for value in leaves(data)}
    require(dtypes == {"float32"}, f"Reconstructions are {sorted(dtypes)}.")
    exact = subject.built()
    exact.set_weights(model.get_weights())
    wanted = exact.encode(subject.x)
    if subject.has_integer_codes:  # Between two codes rounding may decide.
        agree = np.mean(codes == wanted)
        require(agree > 0.9, f"Only {100 * agree:.0f} % of the codes are those of float32.")
    else:
        require_close(codes, wanted, "Codes differ from those of float32.", atol=0.05)


@check
def evaluation(subject):
    """Evaluating twice gives the same numbers, whatever was drawn in between."""
    model = subject.trained
    first = model.evaluate(subject.x, return_dict=True, **subject.batches)
    if can_sample(model):
        subject.sample(5)
    again = model.evaluate(subject.x, return_dict=True, **subject.batches)
    require(first == again, f"First {first}, then {again}.")


@check
def batches(subject):
    """Single steps, predictions and samples work on a model that was never in `fit`."""
    model, x = subject.compiled(), cut(subject.x, subject.batch_size)
    names = {"loss", *term_names(model)}
    for method in (model.test_on_batch, model.train_on_batch):
        found = set(method(x, return_dict=True))
        names = {"loss", *term_names(model)}
        require(found == names, f"{method.__name__} tells {sorted(found)}.")
    require_close(
        model.predict(x, verbose=0),
        model.reconstruct(x),
        "predict differs from reconstruct.",
    )
    given = subject.inputs(taken_by(model, model.decode), subject.batch_size)
    found = shapes_of(model.decode(model.encode(x), **given))
    require(found == shapes_of(split(model, x)[0]), "decode gives another shape.")


@check
def saving(subject):
    """A saved model goes on as if it had never been saved, to the same bits."""
    model, x = subject.built(), subject.x
    options = {"batch_size": length(x) // 2, "verbose": 0}
    model.fit(x, **options)
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "model.keras"
        model.save(file)
        loaded = load(file)
    require(same(weights(model), weights(loaded)), "The loaded weights are others.")
    for each in (model, loaded):
        each.fit(x, initial_epoch=1, epochs=2, **options)
    require(same(weights(model), weights(loaded)), "Trained further, the weights are others.")


@check
def clone(subject):
    """`keras.models.clone_model` makes a model with weights and seeds of its own."""
    model = subject.trained
    clone = keras.models.clone_model(model)
    shared = {id(v) for v in clone.variables} & {id(v) for v in model.variables}
    require(not shared, f"{len(shared)} variables are shared.")
    if not clone.built:
        subject.build(clone)
    clone.set_weights(model.get_weights())
    what = "With equal weights it gives other codes."
    require_close(clone.encode(subject.x), model.encode(subject.x), what)
