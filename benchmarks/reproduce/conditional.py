"""A conditional VAE that completes digits of MNIST, compared with a plain network.

TFDS_DATA_DIR=... python -m benchmarks.reproduce conditional
"""

import time

import keras
import numpy as np

import keras_ae
from benchmarks.reproduce.common import BATCH_SIZE
from keras_ae import datasets

UNITS, LATENT_DIM = (500, 500), 50
# Quadrants that are given -> by how many nats the model has to be better than the network.
LIMITS = {1: 25.0, 2: 9.0, 3: 1.0}


def split_quadrants(images, given):
    """Return the given quadrants of pictures and the rest, as vectors.

    The first is the lower left one, the second the upper left one, the third the upper right one.
    """
    low, high = slice(0, 14), slice(14, 28)
    places = [(high, low), (low, low), (low, high), (high, high)]
    parts = [images[:, rows, columns, 0].reshape(len(images), -1) for rows, columns in places]
    return np.concatenate(parts[:given], axis=1), np.concatenate(parts[given:], axis=1)


def conditional(epochs=20, seed=0, models=tuple(LIMITS)):
    """Negative bound of the pixels that are not given, in nats; `models` are numbers of quadrants.

    Pixels are gray. The network has as many layers and units as the model's decoder, and minimizes
    the cross-entropy. Of both, the epoch is kept that is best on the last 10,000 training pictures.
    """
    train, test = datasets.as_array("mnist", "train"), datasets.as_array("mnist", "test")
    for given in map(int, models):
        (c, x), (test_c, test_x) = (split_quadrants(each, given) for each in (train, test))
        fitted, held_out = slice(0, -10_000), slice(-10_000, None)
        options = {"batch_size": BATCH_SIZE, "epochs": epochs, "verbose": 0}

        def stop():
            return keras.callbacks.EarlyStopping("val_loss", patience=3, restore_best_weights=True)

        keras.utils.set_random_seed(seed)
        hidden = [keras.layers.Dense(units, "relu") for units in UNITS]
        network = keras.Sequential([*hidden, keras.layers.Dense(x.shape[1], "sigmoid")])
        network.compile("adam", "binary_crossentropy")
        start = time.perf_counter()
        history = network.fit(
            c[fitted],
            x[fitted],
            validation_data=(c[held_out], x[held_out]),
            callbacks=[stop()],
            **options,
        )
        seconds = [round(time.perf_counter() - start, 1)]
        baseline = network.evaluate(test_c, test_x, batch_size=500, verbose=0) * x.shape[1]

        model = keras_ae.ConditionalVAE(
            LATENT_DIM, num_classes=None, network_options={"units": UNITS}, seed=seed
        )
        model.compile("adam")
        start = time.perf_counter()
        figures = model.fit(
            x[fitted],
            condition=c[fitted],
            validation_data={"x": x[held_out], "condition": c[held_out]},
            callbacks=[stop()],
            **options,
        )
        seconds.append(round(time.perf_counter() - start, 1))
        logs = model.evaluate(test_x, condition=test_c, batch_size=500, verbose=0, return_dict=True)
        yield {
            "quadrants_given": given,
            "network": baseline,
            "negative_bound": logs["loss"],
            "kl": logs["kl_loss"],
            "nats_better": baseline - logs["loss"],
            "limit": LIMITS[given],
            "epochs_of_network_and_model": [len(h.epoch) for h in (history, figures)],
            "training_seconds": seconds,
        }
