"""Train the classifier of digits whose features `keras_ae.evaluation.DigitFeatures` computes.

    TFDS_DATA_DIR=... python -m benchmarks.digit_classifier keras_ae/evaluation/digit_classifier.npz

The command trains for a few minutes on the 60,000 training digits of MNIST, moved by up to two
pixels, writes the weights as float16, and prints the test accuracy of these weights and the hash of
the file. Another machine or version may write other weights. Figures of different files cannot be
compared, which is why they carry the hash.
"""

import argparse
import hashlib
import json
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from keras_ae import datasets


def make_network():
    """Make the network: three convolutions, a layer of 64 features, and the logits."""
    layers = [keras.Input((28, 28, 1))]
    for padding, filters, size in ((2, 24, 5), (1, 48, 3), (1, 64, 3)):
        layers += [
            keras.layers.ZeroPadding2D(padding),
            keras.layers.Conv2D(filters, size, strides=2, activation="relu"),
        ]
    layers += [
        keras.layers.Flatten(),
        # With ReLU, some of the features would always be 0.
        keras.layers.Dense(64, activation="leaky_relu"),
        keras.layers.Dropout(0.3),
        keras.layers.Dense(10),
    ]
    return keras.Sequential(layers)


def move(x, rng, most=2):
    """Move every picture by up to `most` pixels along each axis."""
    padded = np.pad(x, ((0, 0), (most, most), (most, most), (0, 0)))
    moved = np.empty_like(x)
    places = rng.integers(0, 2 * most + 1, (len(x), 2))
    for place in np.unique(places, axis=0):
        here = np.all(places == place, axis=1)
        moved[here] = padded[here, place[0] : place[0] + 28, place[1] : place[1] + 28]
    return moved


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=pathlib.Path, help="the .npz file to write")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    keras.utils.set_random_seed(options.seed)
    rng = np.random.default_rng(options.seed)
    x, labels = datasets.as_array("mnist", "train", labels=True)
    test, test_labels = datasets.as_array("mnist", "test", labels=True)
    network = make_network()
    steps = options.epochs * -(-len(x) // 128)
    network.compile(
        keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(2e-3, steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    for _ in range(options.epochs):
        network.fit(move(x, rng), labels, batch_size=128, verbose=0)
    weights = [np.asarray(value).astype("float16") for value in network.get_weights()]
    network.set_weights([value.astype("float32") for value in weights])
    guesses = np.argmax(network.predict(test, batch_size=500, verbose=0), axis=1)
    names = [f"{kind}_{layer}" for layer in range(1, 6) for kind in ("kernel", "bias")]
    np.savez(options.path, **dict(zip(names, weights, strict=True)))
    content = options.path.read_bytes()
    figures = {
        "test_accuracy": float(np.mean(guesses == test_labels)),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
