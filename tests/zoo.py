"""One tiny constructor a model, and the data they are tried on."""

import functools

import keras
import numpy as np

import keras_ae

OPTIONS = {"network_options": {"units": (8,), "activation": "tanh"}, "seed": 1}

MODELS = {
    "AE": lambda **given: keras_ae.AE(2, **OPTIONS | given),
    "DenoisingAE": lambda **given: keras_ae.DenoisingAE(2, **OPTIONS | given),
    "VAE": lambda **given: keras_ae.VAE(2, **OPTIONS | given),
    "BetaVAE": lambda **given: keras_ae.BetaVAE(2, beta=2.0, **OPTIONS | given),
    "FactorVAE": lambda **given: keras_ae.FactorVAE(
        2,
        **{"discriminator": keras_ae.networks.discriminator(2, 2, units=(8,))} | OPTIONS | given,
    ),
}
VARIATIONAL = [name for name in MODELS if name.endswith("VAE")]


def data(num_examples=48, width=6, seed=0):
    """Binary vectors with structure: pairs of equal columns."""
    half = np.random.default_rng(seed).integers(0, 2, (num_examples, width // 2))
    return np.repeat(half, 2, axis=1).astype("float32")


def compiled(name, optimizer=None, compile_options=None, **given):
    model = MODELS[name](**given)
    model.compile(optimizer or keras.optimizers.Adam(0.01), **compile_options or {})
    return model


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
