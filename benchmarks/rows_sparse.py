"""The rows of sparse dictionaries: features that are known, and those of a classifier."""

import time

import keras
import numpy as np

import keras_ae
from keras_ae import datasets

NUM_FEATURES, WIDTH, ACTIVE = 512, 64, 5
BATCH_SIZE = 512
# What each model is given besides the number of features and the seed.
SPARSE_MODELS = {
    "TopKSAE": {"k": ACTIVE},
    "BatchTopKSAE": {"k": ACTIVE},
    "JumpReLUSAE": {"sparsity_weight": 4.0},
    "GatedSAE": {"sparsity_weight": 5.0},
    "MatryoshkaSAE": {"k": ACTIVE},
}
# What each model is given for every point of its curve.
CURVES = {
    "TopKSAE": [{"k": k} for k in (4, 8, 16, 32)],
    "BatchTopKSAE": [{"k": k} for k in (4, 8, 16, 32)],
    "JumpReLUSAE": [
        {"sparsity_weight": w, "initial_threshold": w**0.5} for w in (2.0, 1.0, 0.4, 0.1)
    ],
    "GatedSAE": [{"sparsity_weight": w} for w in (8.0, 4.0, 2.0, 1.0)],
    "MatryoshkaSAE": [{"k": k} for k in (4, 8, 16, 32)],
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


def train_dictionary(name, x, epochs, rate, seed, given):
    """Return a trained dictionary and the seconds of training.

    In the first half of the epochs, dead features are restarted after each epoch.
    """
    model = getattr(keras_ae, name)(NUM_FEATURES, seed=seed, **given)
    schedule = keras.optimizers.schedules.CosineDecay(rate, epochs * -(-len(x) // BATCH_SIZE))
    model.compile(keras.optimizers.Adam(schedule))

    def resample(epoch, logs):
        if 2 * (epoch + 1) <= epochs:
            model.resample_dead(x[:10_000])

    callbacks = [keras.callbacks.LambdaCallback(on_epoch_end=resample)]
    start = time.perf_counter()
    model.fit(x, batch_size=BATCH_SIZE, epochs=epochs, callbacks=callbacks, verbose=0)
    return model, round(time.perf_counter() - start, 1)


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


def digit_classifier(x, labels, seed):
    """Train a classifier of digits; the dictionaries learn from its second hidden layer."""
    keras.utils.set_random_seed(seed)
    network = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dense(128, activation="relu", name="hidden"),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile("adam", loss, metrics=["accuracy"])
    network.fit(x, labels, batch_size=128, epochs=3, verbose=0)
    return network


def sparse_activations(epochs=15, seed=0, models=tuple(CURVES), rate=1e-3):
    """A classifier's hidden layer: the variance unexplained, by the number of active features."""
    train, labels = datasets.as_array("mnist", "train", labels=True)
    test, test_labels = datasets.as_array("mnist", "test", labels=True)
    network = digit_classifier(train, labels, seed)
    accuracy = network.evaluate(test, test_labels, verbose=0, return_dict=True)["accuracy"]
    inner, held_out = (
        keras_ae.activations(network, "hidden", x, batch_size=500).array() for x in (train, test)
    )
    for name in models:
        points, total = [], 0.0
        for given in CURVES[name]:
            model, seconds = train_dictionary(name, inner, epochs, rate, seed, given)
            figures = model.dictionary_metrics(held_out)
            del figures["feature_density"]
            points.append({**given, **{k: round(v, 4) for k, v in figures.items()}})
            total += seconds
        yield {
            "model": name,
            "accuracy_of_the_classifier": accuracy,
            "curve": points,
            "training_seconds": round(total, 1),
        }
