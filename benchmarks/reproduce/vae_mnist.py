"""A VAE on dynamically binarized MNIST.

TFDS_DATA_DIR=... python -m benchmarks.reproduce vae_mnist
"""

import time

import keras_ae
from benchmarks.reproduce.common import LATENT_DIM, binary_mnist, likelihood_figures

# The networks of arXiv:1509.00519, section 5: 784-200-200-50, tanh.
TANH_NETWORKS = {"units": (200, 200), "activation": "tanh"}


def vae_mnist(epochs=100, seed=0):
    """VAE on dynamically binarized MNIST: test negative log-likelihood of at most 91.5 nats."""
    batches, test = binary_mnist(seed)
    model = keras_ae.VAE(LATENT_DIM, network_options=TANH_NETWORKS, seed=seed)
    model.compile("adam")
    start = time.perf_counter()
    model.fit(batches, epochs=epochs, verbose=2)
    seconds = round(time.perf_counter() - start, 1)
    return {**likelihood_figures(model, test, seed), "limit": 91.5, "training_seconds": seconds}
