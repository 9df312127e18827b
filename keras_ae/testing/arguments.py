"""Checks of what the constructor takes."""

import json
import unittest

import keras
from keras import ops

from keras_ae.testing.parts import (
    check,
    networks_for,
    require,
    require_close,
    require_error,
    same,
    takes_networks,
    weights,
)


@check
def configuration(subject):
    """The configuration is what the constructor was given, survives JSON, and makes it again."""
    model = subject.trained
    config = json.loads(json.dumps(model.get_config()))
    for name, given in model.arguments.items():
        require(name in config, f"get_config() lacks {name}.")
        if isinstance(given, (int, float, str, type(None))):
            found = config[name]
            require(found == given, f"get_config() says {name}={found!r} instead of {given!r}.")
    again = type(model).from_config(config).get_config()
    require(
        json.dumps(again) == json.dumps(model.get_config()),
        f"from_config() of it makes a model of another one: {again}.",
    )


@check
def seed(subject):
    """The seed decides everything: weights, noise and order of a training."""
    found = []
    for seed in (3, 3, 4):
        model = subject.built(seed=seed)
        model.fit(subject.x, **subject.batches)
        found.append(weights(model))
    require(same(*found[:2]), "Two trainings from seed=3 differ.")
    require(not same(*found[1:]), "Trainings from seed=3 and seed=4 are equal.")


@check
def own_networks(subject):
    """A model takes networks of the user's own, whose weights are its own, or refuses them."""
    if not takes_networks(subject.trained):
        dense = keras.Sequential([keras.layers.Dense(4)])
        for name in {"encoder", "decoder"} - subject.trained.arguments.keys():
            require_error(
                lambda name=name: subject.made(**{name: dense}), (TypeError,), f"{name}=", [name]
            )
        return
    networks = networks_for(subject.trained)
    model = subject.built(**networks)
    again = type(model).from_config(model.get_config())
    subject.build(again)
    for name in ("encoder", "decoder"):
        require(getattr(model, name) is networks[name], f"The model's {name} is another one.")
        require(getattr(again, name) is not networks[name], f"from_config shares the {name}.")
    again.set_weights(model.get_weights())
    what = "A copy of equal weights gives other codes."
    require_close(again.encode(subject.x), model.encode(subject.x), what)


@check
def odd_networks(subject):
    """Networks of several inputs or outputs are refused by an error that names the part."""
    if not takes_networks(subject.trained):
        raise unittest.SkipTest("its constructor takes no networks")
    networks = networks_for(subject.trained)
    for part in ("encoder", "decoder"):
        network = networks[part]
        first, second = (keras.Input(network.input_shape[1:]) for _ in range(2))
        cases = {
            "two outputs": keras.Model(network.inputs, network.outputs * 2),
            "a dictionary": keras.Model(network.inputs, {"a": network.outputs[0]}),
            "two inputs": keras.Model([first, second], network(ops.add(first, second))),
        }
        for case, odd in cases.items():
            given = networks | {part: odd}
            require_error(
                lambda given=given: subject.built(**given),
                (ValueError,),
                f"{part} of {case}",
                [part],
            )
