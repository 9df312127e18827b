"""Sparse dictionaries of features that are known.

python -m benchmarks.reproduce sparse_features
"""

import numpy as np

from benchmarks.reproduce.common import NUM_FEATURES, train_dictionary

WIDTH, ACTIVE = 64, 5
# What each model is given besides the number of features and the seed.
SPARSE_MODELS = {
    "TopKSAE": {"k": ACTIVE},
    "BatchTopKSAE": {"k": ACTIVE},
    "JumpReLUSAE": {"sparsity_weight": 4.0},
    "GatedSAE": {"sparsity_weight": 5.0},
    "MatryoshkaSAE": {"k": ACTIVE},
}


def known_features(num_examples, seed):
    """Return uniformly drawn directions, and examples that are sums of a few of them.

    Each direction is in an example with the same probability, independently of the others, and with
    a weight between one half and three halves.
    """
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(NUM_FEATURES, WIDTH)).astype("float32")
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    x = np.empty((num_examples, WIDTH), "float32")
    for start in range(0, num_examples, 10_000):
        shape = (min(10_000, num_examples - start), NUM_FEATURES)
        active = rng.random(shape, "float32") < ACTIVE / NUM_FEATURES
        weights = 0.5 + rng.random(shape, "float32")
        x[start : start + 10_000] = np.where(active, weights, 0.0) @ directions
    return directions, x


def sparse_features(epochs=10, seed=0, models=tuple(SPARSE_MODELS), rate=3e-3):
    """Known features: the cosine of each direction with the nearest one of the dictionary."""
    directions, x = known_features(220_000, seed)
    train, test = x[:200_000], x[200_000:]
    for name in models:
        model, seconds = train_dictionary(name, train, epochs, rate, seed, SPARSE_MODELS[name])
        nearest = np.max(directions @ model.directions.T, axis=1)
        figures = model.dictionary_metrics(test)
        del figures["feature_density"]
        yield {
            "model": name,
            **SPARSE_MODELS[name],
            "mean_best_cosine": float(np.mean(nearest)),
            "share_above_0.9": float(np.mean(nearest > 0.9)),
            **figures,
            "training_seconds": seconds,
        }
