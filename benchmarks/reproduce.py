"""Published figures, reproduced: one row a model, each trained and measured by this script.

    TFDS_DATA_DIR=... python benchmarks/reproduce.py vae_mnist

MNIST comes through tensorflow-datasets, which downloads it unless TFDS_DATA_DIR has it. A row
prints its figures as JSON; `benchmarks/RESULTS.md` keeps what was printed, with the command.
"""

import argparse
import json
import os
import platform
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

import keras_ae
from keras_ae import datasets

# The networks of arXiv:1509.00519, section 5: 784-200-200-50, tanh.
TANH_NETWORKS = {"units": (200, 200), "activation": "tanh"}
LATENT_DIM = 50
BATCH_SIZE = 128


def binary_mnist(seed):
    """Training batches binarised anew at every pass, and the test set binarised once."""
    import tensorflow as tf

    train = datasets.as_array("mnist", "train").reshape(-1, 784)
    test = datasets.as_array("mnist", "test").reshape(-1, 784)
    batches = (
        tf.data.Dataset.from_tensor_slices(train)
        .shuffle(len(train), seed=seed)
        .batch(BATCH_SIZE)
        .apply(datasets.dynamic_binarization(seed))
    )
    draws = np.random.default_rng(seed).random(test.shape, "float32")
    return batches, (draws < test).astype("float32")


def active_units(model, x):
    """Dimensions of the code whose posterior mean varies over the data by more than 0.01."""
    return int(np.sum(np.var(model.encode(x), axis=0) > 0.01))


def vae_mnist(epochs=100, seed=0):
    """VAE, dynamically binarised MNIST: test negative log-likelihood of at most 91.5 nats."""
    batches, test = binary_mnist(seed)
    model = keras_ae.VAE(LATENT_DIM, network_options=TANH_NETWORKS, seed=seed)
    model.compile("adam")
    start = time.perf_counter()
    model.fit(batches, epochs=epochs, verbose=2)
    seconds = time.perf_counter() - start
    bound = model.evaluate(test, batch_size=500, verbose=0, return_dict=True)
    likelihood = model.log_likelihood(test, num_samples=1000, seed=seed)
    return {
        "negative_log_likelihood": float(-np.mean(likelihood)),
        "standard_error": float(np.std(likelihood) / np.sqrt(len(test))),
        "negative_elbo": bound["loss"],
        "kl": bound["kl_loss"],
        "active_units": active_units(model, test),
        "limit": 91.5,
        "training_seconds": round(seconds, 1),
    }


ROWS = {"vae_mnist": vae_mnist}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", choices=[*ROWS, []], help="default: all rows")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for name in arguments.rows or ROWS:
        figures = ROWS[name](arguments.epochs, arguments.seed)
        settings = {
            "row": name,
            "epochs": arguments.epochs,
            "seed": arguments.seed,
            "backend": keras.config.backend(),
            "keras": keras.__version__,
            "python": platform.python_version(),
        }
        print(json.dumps({**settings, **figures}, indent=2))


if __name__ == "__main__":
    main()
