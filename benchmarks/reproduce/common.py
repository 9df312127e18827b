"""What several rows need."""

import time

import keras
import numpy as np

import keras_ae
from keras_ae import datasets, evaluation

# The batches of `binary_mnist`, and the dimensions of a code as in arXiv:1509.00519, section 5.
BATCH_SIZE = 128
LATENT_DIM = 50
# The directions of a sparse dictionary.
NUM_FEATURES = 512
CROSS_ENTROPY = {"reconstruction_loss": "binary_crossentropy"}


def binary_mnist(seed):
    """Return training batches, binarized again in every pass, and the test set, binarized once."""
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


def shares(model, x):
    """Return the share that each latent dimension carries, largest first.

    A posterior with independent dimensions has a divergence from the standard normal in each, and
    shares are shares of their sum. For any other posterior they are shares of the information about
    x. That in dimension j is computed as for a Gaussian: half the logarithm of the variance of z_j
    over all draws, divided by the mean of its variance given x.
    """
    q = model.posterior(keras.ops.convert_to_tensor(x))
    if isinstance(q, keras_ae.distributions.DiagonalGaussian):
        name, parts = "divergence", keras.ops.convert_to_numpy(q.kl_per_dimension()).mean(axis=0)
    else:
        draws = np.stack([model.encode(x, sample=True, seed=s, verbose=0) for s in range(32)])
        total = draws.reshape(-1, draws.shape[-1]).var(axis=0)
        name, parts = "information", 0.5 * np.log(total / draws.var(axis=0).mean(axis=0))
    found = np.sort(parts / parts.sum())[::-1]
    return {f"shares_of_the_{name}": [round(float(s), 3) for s in found if s >= 0.001]}


def likelihood_figures(model, test, seed):
    """Return the figures on the test set that every row of a variational model has."""
    logs = model.evaluate(test, batch_size=500, verbose=0, return_dict=True)
    likelihood = model.log_likelihood(test, num_samples=1000, seed=seed, verbose=0)
    by_layer = [round(value, 2) for name, value in logs.items() if name.startswith("kl_loss_")]
    return {
        "negative_log_likelihood": float(-np.mean(likelihood)),
        "standard_error": float(np.std(likelihood) / np.sqrt(len(test))),
        "negative_elbo": logs["reconstruction_loss"] + logs["kl_loss"],
        "kl": logs["kl_loss"],
        "active_units": evaluation.active_units(model.encode(test)),
        **({"kl_by_layer": by_layer} if by_layer else {}),
        **shares(model, test[:2000]),
    }


def train_dictionary(name, x, epochs, rate, seed, given, beta_1=0.9, restarts=0.5, start=None):
    """Return a trained dictionary and the seconds of training.

    In a first part of the epochs, dead features are restarted after each epoch.

    Args:
        name: The model's class.
        x: Array of training examples.
        epochs: Passes over the examples.
        rate: Learning rate of Adam at first. It falls to 0 with a cosine.
        seed: The model's seed.
        given: Dictionary of further arguments of the model.
        beta_1: Of Adam.
        restarts: The first part of the epochs, as a fraction.
        start: Dictionary model whose directions and encoder the model begins with, or None.
    """
    batch_size = 512
    model = getattr(keras_ae, name)(NUM_FEATURES, seed=seed, **given)
    schedule = keras.optimizers.schedules.CosineDecay(rate, epochs * -(-len(x) // batch_size))
    model.compile(keras.optimizers.Adam(schedule, beta_1=beta_1))
    if start is not None:
        model.build((None, *x.shape[1:]))
        model.dictionary.set_weights(start.dictionary.get_weights())

    def resample(epoch, logs):
        if epoch + 1 <= restarts * epochs:
            model.resample_dead(x[:10_000])

    callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=resample)]
    began = time.perf_counter()
    model.fit(x, batch_size=batch_size, epochs=epochs, callbacks=callbacks, verbose=0)
    return model, round(time.perf_counter() - began, 1)
