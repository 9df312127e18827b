"""Published figures, reproduced: one row a model, each trained and measured by this script.

    TFDS_DATA_DIR=... python benchmarks/reproduce.py vae_mnist
    TFDS_DATA_DIR=... python benchmarks/reproduce.py likelihood --models VAE IWAE

MNIST comes through tensorflow-datasets, which downloads it unless TFDS_DATA_DIR has it. A row
prints its figures as JSON; `benchmarks/RESULTS.md` keeps what was printed, with the command.
"""

import argparse
import json
import math
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


def shares_of_the_divergence(model, x):
    """The share of the KL divergence that each dimension carries, largest first, or None.

    Only a posterior with independent dimensions and a standard normal prior has one for each.
    """
    q = model.posterior(keras.ops.convert_to_tensor(x))
    if not isinstance(q, keras_ae.distributions.DiagonalGaussian):
        return None
    divergence = keras.ops.convert_to_numpy(q.kl_per_dimension()).mean(axis=0)
    shares = np.sort(divergence / divergence.sum())[::-1]
    return [round(float(share), 3) for share in shares if share >= 0.001]


def likelihood_figures(model, test, seed):
    """What every row of a variational model states of the test set."""
    logs = model.evaluate(test, batch_size=500, verbose=0, return_dict=True)
    likelihood = model.log_likelihood(test, num_samples=1000, seed=seed, verbose=0)
    return {
        "negative_log_likelihood": float(-np.mean(likelihood)),
        "standard_error": float(np.std(likelihood) / np.sqrt(len(test))),
        "negative_elbo": logs["reconstruction_loss"] + logs["kl_loss"],
        "kl": logs["kl_loss"],
        "active_units": active_units(model, test),
        "shares_of_the_kl": shares_of_the_divergence(model, test[:2000]),
    }


def vae_mnist(epochs=100, seed=0):
    """VAE, dynamically binarised MNIST: test negative log-likelihood of at most 91.5 nats."""
    batches, test = binary_mnist(seed)
    model = keras_ae.VAE(LATENT_DIM, network_options=TANH_NETWORKS, seed=seed)
    model.compile("adam")
    start = time.perf_counter()
    model.fit(batches, epochs=epochs, verbose=2)
    seconds = round(time.perf_counter() - start, 1)
    return {**likelihood_figures(model, test, seed), "limit": 91.5, "training_seconds": seconds}


# What each model is given beside the networks, the seed and the number of dimensions.
LIKELIHOOD_MODELS = {
    "VAE": ("VAE", {}),
    "IWAE": ("IWAE", {"num_samples": 5}),
    "IWAE-DReG": ("IWAE", {"num_samples": 5, "estimator": "dreg"}),
    "MIWAE": ("MIWAE", {"num_bounds": 2, "num_samples": 5}),
    "PIWAE": ("PIWAE", {"num_bounds": 2, "num_samples": 5}),
    "CIWAE": ("CIWAE", {"beta": 0.05, "num_samples": 5}),
    "VampVAE": ("VampVAE", {"num_components": 500}),
    "FlowVAE-planar": ("FlowVAE", {"flow": "planar", "num_flows": 8}),
    "FlowVAE-sylvester": ("FlowVAE", {"flow": "sylvester", "num_flows": 2}),
    "IAFVAE": ("IAFVAE", {"num_flows": 2, "flow_units": 200}),
    "HamiltonianVAE": ("HamiltonianVAE", {"num_steps": 2}),
    "HypersphericalVAE": ("HypersphericalVAE", {"latent_dim": 11}),  # Ten free dimensions.
    "PoincareVAE": ("PoincareVAE", {"latent_dim": 10}),
}


def likelihood(epochs=20, seed=0, models=tuple(LIKELIHOOD_MODELS)):
    """The variational zoo on dynamically binarised MNIST: equal networks, epochs, rate, seeds."""
    for name in models:
        class_name, given = LIKELIHOOD_MODELS[name]
        batches, test = binary_mnist(seed)
        options = {"latent_dim": LATENT_DIM, "network_options": TANH_NETWORKS, "seed": seed}
        model = getattr(keras_ae, class_name)(**options | given)
        if class_name == "VampVAE":
            model.set_pseudo_inputs(next(batches.unbatch().batch(500).as_numpy_iterator()))
        steps = epochs * math.ceil(60_000 / BATCH_SIZE)
        model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, steps)))
        start = time.perf_counter()
        model.fit(batches, epochs=epochs, verbose=0)
        seconds = round(time.perf_counter() - start, 1)
        figures = likelihood_figures(model, test, seed)
        yield {"model": name, **given, **figures, "training_seconds": seconds}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("row", choices=["vae_mnist", "likelihood"])
    parser.add_argument("--epochs", type=int, help="default: 100 for vae_mnist, 20 for likelihood")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", nargs="+", choices=LIKELIHOOD_MODELS, help="default: all")
    arguments = parser.parse_args()
    given = {name: value for name, value in vars(arguments).items() if value is not None}
    settings = {
        "row": given.pop("row"),
        "backend": keras.config.backend(),
        "keras": keras.__version__,
        "python": platform.python_version(),
    }
    found = globals()[settings["row"]](**given)
    for figures in [found] if isinstance(found, dict) else found:
        print(json.dumps({**settings, **given, **figures}), flush=True)


if __name__ == "__main__":
    main()
