"""Samples of models of MNIST, and how far they are from its digits.

TFDS_DATA_DIR=... python -m benchmarks.reproduce samples --pictures gallery
"""

import time

import keras

import keras_ae
from benchmarks.reproduce.common import CROSS_ENTROPY, shares
from keras_ae import datasets, evaluation, plots

# What each model is given besides its 16 dimensions and the seed.
SAMPLED_MODELS = {
    "VAE": {},
    "PerceptualVAE": {},
    "VAEGAN": {"gamma": 1.0, "network_options": {"kernel_initializer": "glorot_uniform"}},
    "AE": CROSS_ENTROPY,
    "RegularizedAE": CROSS_ENTROPY,
    "WAE": CROSS_ENTROPY | {"weight": 700.0},
    "AdversarialAE": CROSS_ENTROPY,
    "VQVAE": CROSS_ENTROPY,
}


def classifier_features(x, labels, seed, layers):
    """Train a small convolutional classifier of digits; return a model of its layers' outputs."""
    keras.utils.set_random_seed(seed)
    conv = {"strides": 2, "padding": "same", "activation": "relu"}
    network = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(16, 5, **conv, name="first"),
            keras.layers.Conv2D(32, 5, **conv, name="second"),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu", name="last"),
            keras.layers.Dense(10, name="logits"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile("adam", loss)
    network.fit(x, labels, batch_size=128, epochs=2, verbose=0)
    return keras.Model(network.inputs, [network.get_layer(name).output for name in layers])


def samples(epochs=10, seed=0, models=tuple(SAMPLED_MODELS), pictures=None):
    """Samples compared with test digits, in the features of the packaged classifier of digits.

    Codes come from the prior for the variational models, from the Gaussian of the data's codes for
    AE and RegularizedAE, from the prior that training pulled the codes to for WAE and
    AdversarialAE, and from the learned prior for VQVAE.
    """
    train, labels = datasets.as_array("mnist", "train", labels=True)
    test = datasets.as_array("mnist", "test")
    features = evaluation.DigitFeatures()

    def distance(pictures):
        return evaluation.frechet_distance(features(pictures), features(test))

    for name in models:
        given = dict(SAMPLED_MODELS[name])
        if name == "PerceptualVAE":  # Its features come from another classifier than the judge.
            given["features"] = classifier_features(train, labels, seed, ["first", "second"])
        model = getattr(keras_ae, name)(16, seed=seed, **given)
        model.compile(keras.optimizers.Adam(1e-3))
        start = time.perf_counter()
        model.fit(train, batch_size=128, epochs=epochs, verbose=0)
        if hasattr(model, "fit_prior"):
            # The prior gets half as many epochs, because one takes five times as long.
            model.fit_prior(train, epochs=epochs // 2, verbose=0)
        seconds = round(time.perf_counter() - start, 1)
        drawn = model.sample(10_000, seed=seed, verbose=0)
        if pictures:
            pictures.mkdir(exist_ok=True)
            plots.image_grid(drawn[:16], pictures / f"{name}.png", columns=16)
        logs = model.evaluate(test, batch_size=500, verbose=0, return_dict=True)
        figures = {
            "model": name,
            "frechet_distance_of_samples": distance(drawn),
            "frechet_distance_of_reconstructions": distance(model.reconstruct(test, verbose=0)),
            "frechet_distance_of_training_digits": distance(train[:10_000]),
            "reconstruction": logs["reconstruction_loss"],
        }
        if isinstance(model, keras_ae.VAE):
            figures |= {
                "kl": logs["kl_loss"],
                "active_units": evaluation.active_units(model.encode(test)),
            }
            figures |= shares(model, test[:2000])
        yield {**figures, "training_seconds": seconds}
