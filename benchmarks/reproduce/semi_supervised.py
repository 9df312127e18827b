"""Digits of MNIST that are classified after training with few labels.

TFDS_DATA_DIR=... python -m benchmarks.reproduce semi_supervised
"""

import time

import keras
import numpy as np

import keras_ae
from keras_ae import datasets

# Labels -> percent of the test set that are to be classified correctly.
LIMITS = {100: 92.5, 1000: 94.5}
BATCH_SIZE, LABELS_IN_BATCH, SEEDS = 200, 20, 3
UNITS, LATENT_DIM = (256,), 30
RATE = 1e-3


def read(split):
    """Return gray pictures as vectors, and their digits."""
    x, digits = datasets.as_array("mnist", split, labels=True)
    return x.reshape(len(x), -1), digits


def make_classifier():
    """Return the network from pixels to features that both classifiers have."""
    hidden = [keras.layers.Dense(500, "relu"), keras.layers.Dropout(0.2)]
    return keras.Sequential([keras.Input((784,)), keras.layers.Dropout(0.2), *hidden])


def choose_labeled(digits, count, seed):
    """Return the indices of as many examples of every digit, chosen at random."""
    rng = np.random.default_rng(seed)
    each = [rng.choice(np.flatnonzero(digits == d), count // 10, replace=False) for d in range(10)]
    return np.concatenate(each)


def classify_alone(x, digits, test, seed):
    """Return the accuracy of a classifier that is trained with the labeled examples alone."""
    keras.utils.set_random_seed(seed)
    network = keras.Sequential([make_classifier(), keras.layers.Dense(10, "softmax")])
    network.compile(keras.optimizers.Adam(RATE), "sparse_categorical_crossentropy")
    epochs = 2000 * 50 // len(x)  # 2,000 steps.
    network.fit(x, digits, batch_size=50, epochs=epochs, verbose=0)
    found = network.predict(test[0], batch_size=500, verbose=0).argmax(axis=1)
    return 100 * float(np.mean(found == test[1]))


def train(x, digits, labeled, epochs, seed):
    """Return a trained model. Labeled examples are repeated, so that each batch has some."""
    label = np.full(len(x), -1, "int32")
    label[labeled] = digits[labeled]
    copies = np.resize(labeled, LABELS_IN_BATCH * (len(x) // (BATCH_SIZE - LABELS_IN_BATCH)))
    order = np.concatenate([np.arange(len(x)), copies])
    keras.utils.set_random_seed(seed)
    model = keras_ae.SemiSupervisedVAE(
        LATENT_DIM, classifier=make_classifier(), network_options={"units": UNITS}, seed=seed
    )
    steps = epochs * -(-len(order) // BATCH_SIZE)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(RATE, steps)))
    model.fit(x[order], label=label[order], batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
    return model


def semi_supervised(epochs=5, seed=0, models=tuple(LIMITS)):
    """Accuracy on the test set in percent, of three seeds; `models` are the numbers of labels."""
    x, digits = read("train")
    test = read("test")
    for count in map(int, models):
        found, alone, start = [], [], time.perf_counter()
        for number in range(seed, seed + SEEDS):
            labeled = choose_labeled(digits, count, number)
            alone.append(classify_alone(x[labeled], digits[labeled], test, number))
            model = train(x, digits, labeled, epochs, number)
            found.append(100 * float(np.mean(model.classify(test[0]) == test[1])))
        yield {
            "labels": count,
            "accuracy": float(np.mean(found)),
            "spread": float(np.std(found, ddof=1)),
            "of_each_seed": found,
            "classifier_alone": float(np.mean(alone)),
            "spread_alone": float(np.std(alone, ddof=1)),
            "limit": LIMITS[count],
            "seconds": round(time.perf_counter() - start, 1),
        }
