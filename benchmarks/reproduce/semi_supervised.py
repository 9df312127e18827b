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
BATCH_SIZE, LABELS_IN_BATCH, SEEDS = 100, 40, 3
RATE = 2e-3
GIVEN = {
    "latent_dim": 30,
    "network_options": {"units": (256,)},
    "classification_weight": 1.0,
}


def read(split):
    """Return gray pictures as vectors, and their digits."""
    x, digits = datasets.as_array("mnist", split, labels=True)
    return x.reshape(len(x), -1), digits


def make_classifier(seed):
    """Return the network from pixels to the features of the classifier.

    In training it moves every picture by up to two pixels.
    """
    conv = {"strides": 2, "activation": "relu", "padding": "same"}
    return keras.Sequential(
        [
            keras.Input((784,)),
            keras.layers.Reshape((28, 28, 1)),
            keras.layers.RandomTranslation(0.08, 0.08, fill_mode="constant", seed=seed),
            keras.layers.Conv2D(16, 5, **conv),
            keras.layers.Conv2D(32, 5, **conv),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.4),
            keras.layers.Dense(128, "relu"),
            keras.layers.Dropout(0.4),
        ]
    )


def choose_labeled(digits, count, seed):
    """Return the indices of as many examples of every digit, chosen at random."""
    rng = np.random.default_rng(seed)
    each = [rng.choice(np.flatnonzero(digits == d), count // 10, replace=False) for d in range(10)]
    return np.concatenate(each)


def train(x, digits, labeled, epochs, seed):
    """Return a model after each of its two phases: its classifier alone, and all of it.

    The classifier is first trained alone with the labeled examples. In the next epoch it is
    frozen, until the other networks know what a label means. Labeled examples are repeated, so that
    each batch has some.
    """
    keras.utils.set_random_seed(seed)
    model = keras_ae.SemiSupervisedVAE(classifier=make_classifier(seed), seed=seed, **GIVEN)
    model.build({"x": (None, 784), "label": (None,)})
    parts = [model.classifier, model.features_to_logits]
    alone = keras.Sequential(parts)
    smooth = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    alone.compile(keras.optimizers.Adam(1e-3), smooth)
    wanted, passes = np.eye(10)[digits[labeled]], 1000 * 50 // len(labeled)  # 1,000 steps.
    alone.fit(x[labeled], wanted, batch_size=50, epochs=passes, verbose=0)
    yield model

    label = np.full(len(x), -1, "int32")
    label[labeled] = digits[labeled]
    copies = LABELS_IN_BATCH * (len(x) // (BATCH_SIZE - LABELS_IN_BATCH))
    order = np.concatenate([np.arange(len(x)), np.resize(labeled, copies)])
    steps = epochs * -(-len(order) // BATCH_SIZE)
    for rate, rounds, is_frozen in (
        (RATE, 1, True),
        (keras.optimizers.schedules.CosineDecay(RATE, steps), epochs, False),
    ):
        for part in parts:
            part.trainable = not is_frozen
        model.compile(keras.optimizers.Adam(rate))
        options = {"batch_size": BATCH_SIZE, "epochs": rounds, "verbose": 0}
        model.fit(x[order], label=label[order], **options)
    yield model


def semi_supervised(epochs=3, seed=0, models=tuple(LIMITS)):
    """Accuracy on the test set in percent, of three seeds; `models` are the numbers of labels.

    The classifier alone is a convolutional network, trained with the labeled examples, which move
    by up to two pixels. With the model, all examples do.
    """
    x, digits = read("train")
    test = read("test")
    for count in map(int, models):
        found, start = [], time.perf_counter()
        for number in range(seed, seed + SEEDS):
            labeled = choose_labeled(digits, count, number)
            phases = train(x, digits, labeled, epochs, number)
            found.append([100 * float(np.mean(m.classify(test[0]) == test[1])) for m in phases])
        alone, together = np.transpose(found)
        yield {
            "labels": count,
            "accuracy": float(np.mean(together)),
            "spread": float(np.std(together, ddof=1)),
            "of_each_seed": list(together),
            "classifier_alone": float(np.mean(alone)),
            "spread_alone": float(np.std(alone, ddof=1)),
            "limit": LIMITS[count],
            "seconds": round(time.perf_counter() - start, 1),
        }
