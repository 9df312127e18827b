"""Fifty pixels of MNIST that `ConcreteAE` selects, compared with other ways to choose pixels.

TFDS_DATA_DIR=... python -m benchmarks.reproduce selected_pixels
"""

import time

import keras
import numpy as np
from sklearn.cluster import KMeans
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.linear_model import LinearRegression

import keras_ae
from keras_ae import datasets

BATCH_SIZE = 256
NUM_PIXELS = 50


def _train(train, epochs, seed):
    """Return a trained model. Its decoder has a hidden layer, as one of the paper's."""
    model = keras_ae.ConcreteAE(
        NUM_PIXELS, decoder="mlp", network_options={"units": (200,)}, seed=seed
    )
    model.compile(keras.optimizers.Adam(1e-3))
    model.fit(train, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
    return model


def _find_loadings(train):
    """Return the loadings of as many principal components as pixels are chosen, (784, 50)."""
    _, vectors = np.linalg.eigh(np.cov(train.T))
    return vectors[:, -NUM_PIXELS:]


def _choose_by_leverage(train):
    """Return the pixels whose loadings have the largest sums of squares."""
    return np.argsort(np.sum(_find_loadings(train) ** 2, axis=1))[-NUM_PIXELS:]


def _choose_principal_features(train, seed):
    """Return a pixel of each cluster of loadings, as in doi:10.1145/1291233.1291297."""
    loadings = _find_loadings(train)
    found = KMeans(NUM_PIXELS, n_init=10, random_state=seed).fit(loadings)
    distances = np.square(loadings[:, None] - found.cluster_centers_).sum(axis=-1)
    return np.unique(distances.argmin(axis=0))


def _measure(pixels, data, seed):
    """Return what other models make of the pixels, on the test split."""
    (train, labels), (test, test_labels) = data
    linear = LinearRegression().fit(train[:, pixels], train)
    trees = ExtraTreesClassifier(50, random_state=seed).fit(train[:, pixels], labels)
    return {
        "pixels": len(set(map(int, pixels))),
        "linear_error": float(np.mean((linear.predict(test[:, pixels]) - test) ** 2)),
        "accuracy": trees.score(test[:, pixels], test_labels),
    }


def selected_pixels(
    epochs=10, seed=0, seeds=None, models=("random", "leverage", "principal_features", "ConcreteAE")
):
    """The error of a linear regression from fifty pixels to all, and a classifier's accuracy.

    Pixels are chosen on the training digits, without their labels. The regression and the
    classifier, extremely randomized trees as in the paper, are fitted to the training digits.
    """
    data = [datasets.as_array("mnist", part, labels=True) for part in ("train", "test")]
    data = [(x.reshape(-1, 784).astype("float32"), labels) for x, labels in data]
    train, test = data[0][0], data[1][0]
    seeds = seeds or [seed, seed + 1, seed + 2]
    for name in models:
        runs = []
        for each in seeds:
            began, more = time.perf_counter(), {}
            if name == "random":
                pixels = np.random.default_rng(each).choice(784, NUM_PIXELS, replace=False)
            elif name == "leverage":
                pixels = _choose_by_leverage(train)
            elif name == "principal_features":
                pixels = _choose_principal_features(train, each)
            else:
                model = _train(train, epochs, each)
                pixels = np.unique(model.selected)
                logs = {k: v[-1] for k, v in model.history.history.items()}
                own = np.mean((model.reconstruct(test, verbose=0) - test) ** 2)
                more = {
                    "own_error": float(own),
                    "selection_probability": logs["selection_probability"],
                }
            more["seconds"] = time.perf_counter() - began
            runs.append({**_measure(pixels, data, each), **more})
        pairs = {key: [run[key] for run in runs] for key in runs[0]}
        found = {k: [round(float(f(v)), 4) for f in (np.mean, np.std)] for k, v in pairs.items()}
        yield {"method": name, "over_seeds": len(seeds), **found}
