"""Sparse dictionaries of the hidden layer of a classifier of digits.

TFDS_DATA_DIR=... python -m benchmarks.reproduce sparse_activations --models TopKSAE
"""

import keras

import keras_ae
from benchmarks.reproduce.common import train_dictionary
from keras_ae import datasets

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
