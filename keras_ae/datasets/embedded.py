"""The handwritten digits that ship with the package."""

import pathlib

import numpy as np

# The test digits come last.
SMALL_MNIST_PARTS = {"train": slice(10_000), "test": slice(10_000, None), "all": slice(None)}


def read_small_mnist(split):
    """Read the digits of `"small_mnist"`.

    Args:
        split: "train", "test" or "all".

    Returns:
        Uint8 array of shape (examples, 28, 28), and int64 classes of shape (examples,).
    """
    with np.load(pathlib.Path(__file__).with_name("small_mnist.npz")) as file:
        x, y = file["x"], file["y"]
    return x[SMALL_MNIST_PARTS[split]], y[SMALL_MNIST_PARTS[split]].astype("int64")
