"""One tiny constructor a model, and the data they are tried on."""

import functools
import os

import keras
import numpy as np

import keras_ae

OPTIONS = {"network_options": {"units": (8,), "activation": "tanh"}, "seed": 1}

# What a tiny model of a class takes beside `OPTIONS`.
SMALL = {
    "AE": dict,
    "DenoisingAE": dict,
    "VAE": dict,
    "BetaVAE": lambda: {"beta": 2.0},
    "FactorVAE": lambda: {"discriminator": keras_ae.networks.discriminator(2, 2, units=(8,))},
    "AnnealedVAE": lambda: {"gamma": 2.0, "capacity": 0.5},
    "BetaTCVAE": lambda: {"beta": 2.0},
    "DIPVAE": lambda: {"off_diagonal_weight": 0.5},
    "InfoVAE": lambda: {"alpha": 0.5, "scale": 3.0},
    "IWAE": lambda: {"num_samples": 3},
    "MIWAE": lambda: {"num_bounds": 2, "num_samples": 2},
    "PIWAE": lambda: {"num_bounds": 2, "num_samples": 2},
    "CIWAE": lambda: {"num_samples": 3},
    "VampVAE": lambda: {"num_components": 4},
    "LadderVAE": lambda: {"upper_dims": (2,)},
    "TopDownVAE": lambda: {"width": 8, "layer_weights": [0.5, 0.5]},
    "FlowVAE": lambda: {"num_flows": 2},
    "IAFVAE": lambda: {"num_flows": 2, "flow_units": 8},
    "HamiltonianVAE": lambda: {"num_steps": 2},
    "HypersphericalVAE": dict,
    "PoincareVAE": lambda: {"curvature": 0.7},
    "VAEGAN": lambda: {"gamma": 50.0},
    "PerceptualVAE": lambda: {"weight": 200.0},
    "RiemannianHamiltonianVAE": lambda: {"num_steps": 1, "num_anchors": 10, "walk_steps": 4},
}


def make(name, **given):
    return getattr(keras_ae, name)(2, **SMALL[name]() | OPTIONS | given)


MODELS = {name: functools.partial(make, name) for name in SMALL}
# They use every part of the mechanism between them. What no model's own code bears on is tried with
# these alone: with all of them a run would take an hour.
FOUNDATION = ["AE", "DenoisingAE", "VAE", "BetaVAE", "FactorVAE"]
if os.environ.get("WHOLE_ZOO") == "1":
    FOUNDATION = list(MODELS)
VARIATIONAL = [name for name in MODELS if issubclass(getattr(keras_ae, name), keras_ae.VAE)]


def data(num_examples=48, width=6, seed=0):
    """Binary vectors with structure: pairs of equal columns."""
    half = np.random.default_rng(seed).integers(0, 2, (num_examples, width // 2))
    return np.repeat(half, 2, axis=1).astype("float32")


def compiled(name, optimizer=None, compile_options=None, **given):
    model = MODELS[name](**given)
    model.compile(optimizer or keras.optimizers.Adam(0.01), **compile_options or {})
    return model


def eager(name, optimizer=None, **given):
    """A model that runs op by op: for a few steps sooner done than a graph is traced."""
    # But JAX takes longer op by op.
    return compiled(name, optimizer, {"run_eagerly": keras.config.backend() != "jax"}, **given)


def weights(model):
    return [v.numpy() for v in model.variables]


def fitted(name, epochs=1, **given):
    model = compiled(name, **given)
    model.fit(data(), epochs=epochs, batch_size=16, verbose=0)
    return model


@functools.cache
def trained(name):
    """A model shared by the tests that only look at it."""
    return fitted(name, epochs=3)
