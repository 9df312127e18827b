"""Clusters of digits, compared with their classes, and the categories of JointVAE.

TFDS_DATA_DIR=... python -m benchmarks.reproduce clustering
python -m benchmarks.reproduce clustering --data usps.npz
TFDS_DATA_DIR=... python -m benchmarks.reproduce joint_codes
"""

import time

import keras
import numpy as np
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

import keras_ae
from keras_ae import datasets, evaluation
from keras_ae.schedules import LinearWarmUp

BATCH_SIZE = 256
# The same for all models: steps of the pre-training, and of the training with clusters.
STEPS = 1500
UNITS = (256, 256, 512)
MODELS = ("DEC", "IDEC", "VaDE")
MEASURES = {
    "accuracy": evaluation.clustering_accuracy,
    "normalized_mutual_information": lambda c, y: float(normalized_mutual_info_score(y, c)),
    "adjusted_rand_index": lambda c, y: float(adjusted_rand_score(y, c)),
}


def _load(data):
    """Return all digits, which are training and test data together, as vectors, and the labels."""
    if data is None:
        parts = [datasets.as_array("mnist", part, labels=True) for part in ("train", "test")]
    else:
        with np.load(data) as file:
            parts = [(file[f"x_{part}"], file[f"y_{part}"]) for part in ("train", "test")]
    x, labels = (np.concatenate(part) for part in zip(*parts, strict=True))
    return x.reshape(len(x), -1).astype("float32"), labels


def _measure(name, x, labels, seed):
    """Yield the name of a method and its figures, for k-means on codes and for the model."""
    steps = -(-len(x) // BATCH_SIZE)
    epochs = -(-STEPS // steps)
    model = getattr(keras_ae, name)(
        pretraining_steps=epochs * steps,
        encoder="mlp",
        decoder="mlp",
        network_options={"units": UNITS},
        seed=seed,
    )
    model.compile(keras.optimizers.Adam(1e-3))
    began = time.perf_counter()
    for first in (0, epochs):
        options = {"batch_size": BATCH_SIZE, "verbose": 0}
        model.fit(x, initial_epoch=first, epochs=first + epochs, **options)
        found = model.cluster(x, verbose=0)
        figures = {key: measure(found, labels) for key, measure in MEASURES.items()}
        figures["seconds"] = time.perf_counter() - began
        if first:
            yield name, figures
        elif name == "DEC":  # The end of a `fit` within the pre-training is k-means on its codes.
            yield "AE and k-means", figures


def clustering(data=None, seed=0, seeds=None, models=("pixels", *MODELS)):
    """Clusters of MNIST or USPS: the mean and standard deviation over three seeds, never the best.

    All digits are clustered, and the labels serve for the figures alone.
    """
    x, labels = _load(data)
    seeds = seeds or [seed, seed + 1, seed + 2]
    shared = {"digits": len(x), "over_seeds": len(seeds)}
    for name in models:
        if name == "pixels":
            found = evaluation.cluster_codes(x, labels, 10, seeds)
            yield {"method": "k-means on pixels", **shared, **_round(found)}
            continue
        results = {}
        for each in seeds:
            for method, figures in _measure(name, x, labels, each):
                results.setdefault(method, []).append(figures)
        for method, runs in results.items():
            pairs = {k: [run[k] for run in runs] for k in runs[0]}
            found = {k: (np.mean(v), np.std(v)) for k, v in pairs.items()}
            single = [round(run["accuracy"], 3) for run in runs]
            yield {"method": method, **shared, **_round(found), "accuracies": single}


def _round(found):
    return {key: [round(float(value), 3) for value in pair] for key, pair in found.items()}


def joint_codes(epochs=8, seed=0, seeds=None):
    """The category of JointVAE as a cluster of digits: accuracy on the test digits of MNIST.

    The capacity of the choice rises ten times as fast as that of the numbers, so that the choice
    learns before they could do without it.
    """
    train = datasets.as_array("mnist", "train").reshape(-1, 784)
    test, labels = datasets.as_array("mnist", "test", labels=True)
    test, steps = test.reshape(-1, 784), epochs * -(-len(train) // 128)
    seeds = seeds or [seed, seed + 1, seed + 2]
    found = []
    for each in seeds:
        model = keras_ae.JointVAE(
            continuous_capacity=LinearWarmUp(steps, end=5.0),
            discrete_capacity=LinearWarmUp(steps // 10, end=float(np.log(10))),
            encoder="mlp",
            decoder="mlp",
            network_options={"units": UNITS[:2]},
            seed=each,
        )
        model.compile(keras.optimizers.Adam(1e-3))
        began = time.perf_counter()
        model.fit(train, batch_size=128, epochs=epochs, verbose=0)
        seconds = round(time.perf_counter() - began, 1)
        logs = model.evaluate(test, batch_size=500, verbose=0, return_dict=True)
        clusters = model.cluster(test, verbose=0)
        found.append(evaluation.clustering_accuracy(clusters, labels))
        yield {
            "seed_of_the_model": each,
            "accuracy": found[-1],
            "categories_in_use": len(np.unique(clusters)),
            "negative_elbo": logs["reconstruction_loss"] + logs["kl_loss"],
            "continuous_kl": logs["continuous_kl_loss"],
            "discrete_kl": logs["discrete_kl_loss"],
            "training_seconds": seconds,
        }
    yield {"mean_accuracy": float(np.mean(found)), "standard_deviation": float(np.std(found))}
