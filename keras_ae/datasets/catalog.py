"""`load` and `as_array`, which find the source that a name stands for."""

import math
import os
from typing import Any

import numpy as np

from keras_ae.core import memory
from keras_ae.core.arguments import did_you_mean
from keras_ae.core.types import Path
from keras_ae.datasets.embedded import SMALL_MNIST_PARTS, read_small_mnist
from keras_ae.datasets.files import (
    ARRAY_SUFFIXES,
    IN_PARTS,
    as_path,
    make_path_dataset,
)
from keras_ae.datasets.prepared import (
    is_tfds_name,
    list_tfds_names,
    make_tfds_dataset,
)
from keras_ae.datasets.sprites import SPRITES_COUNT, sprites_factors, sprites_images
from keras_ae.datasets.streams import (
    check_seed,
    check_split,
    dynamic_binarization,
    split_rows,
    stream_rows,
)


def load(
    name: Path,
    split: str = "train",
    *,
    labels: bool = False,
    binarize: bool = False,
    seed: int | None = None,
    data_dir: Path | None = None,
) -> Any:
    """Load data as a streamed `tf.data.Dataset` of single float32 examples.

    The dataset has a known cardinality. Pictures have the shape (height, width, channels) and
    values in [0, 1], rows of a table have the shape (columns,). `name` is one of the following:

    - `"digits"`: scikit-learn's 1,797 handwritten digits of shape (8, 8, 1), with the labels 0 to 9
      (int64). The splits are fixed: 1,437 train, 360 test. It needs no download.
    - `"small_mnist"`: 10,000 training digits and 2,000 test digits of MNIST, of shape (28, 28, 1),
      with the labels 0 to 9 (int64). It needs no download. MNIST is by LeCun, Cortes and Burges
      (1998), under the license CC BY-SA 3.0.
    - `"sprites"`: generated pictures of shapes, (64, 64, 1). The label is the int32 vector (shape,
      scale, orientation, x, y). There are 700,416 train and 36,864 test examples, scattered over
      the combinations. `seed` shuffles the order (None stands for 0), which is the same in every
      pass. See `sprites_images`.
    - The TFDS name of a set of pictures, such as `"mnist"`, `"fashion_mnist"`, `"binarized_mnist"`,
      `"omniglot"`, `"cifar10"`, `"dsprites"`, `"shapes3d"` or `"celeb_a"`. It has its own splits,
      which may be sliced ("train[:90%]"). The label is its `label`, or the vector of all its
      `label_*` in alphabetical order. The set is downloaded if necessary. If pictures differ in
      size, the shape is (None, None, channels), and they can be resized:
      `load(...).map(lambda x: tf.image.resize(x, (64, 64)))`. Sets that store 0 and 1 instead of 0
      and 255 (dsprites, binarized_mnist) are recognized by their first 64 pictures.
    - A folder of PNG or JPEG pictures of one size. They have one channel if all of them are gray,
      and three (RGB) otherwise; transparency is dropped. Subfolders are classes, numbered in
      alphabetical order. If "train" and "test" are among the subfolders, these are splits, which
      contain the classes.
    - An `.npy` file, which is memory-mapped; an `.npz` file, with the examples as key "x", or as
      its only key, and labels as "y"; or a `.csv` file of numbers in UTF-8, separated by commas.
      In a `.csv` file, a first row without any number is the header, and a column called "label"
      is the label. A first row of only numbers, such as the years "2019,2020", is data. Empty lines
      are skipped. Anything else that is not a number is an error that names its line and column.
      In all three kinds of file, uint8 is divided by 255, unless no value exceeds 1. uint8 and
      bool arrays of shape (N, H, W) are pictures and get a channel axis. Other values are not
      changed, even outside [0, 1], because tables may be standardized on purpose. Labels are int64
      if all are whole numbers, and float32 otherwise.

    A TFDS name takes precedence over a folder of that name in the working directory; write
    "./mnist" for the folder. Files, and folders without splits, have a fixed division: "test" is a
    tenth of the examples, scattered over the data, "train" is the rest, and "all" is everything.
    The division depends only on the number of examples and is the same on every machine.

    Args:
        name: String or path, as above.
        split: "train", "test" or "all", or a split of the TFDS set or folder. Defaults to "train".
        labels: Whether examples are pairs (x, label) instead of x. Defaults to False.
        binarize: Whether every value is drawn as 0 or 1 in every pass, by
            `dynamic_binarization(seed)`. Defaults to False.
        seed: Integer from 0 to 2**31 - 1, for the draws of `binarize` and the order of "sprites".
            Defaults to None.
        data_dir: Folder in which TFDS sets are stored. Defaults to the environment variable
            TFDS_DATA_DIR, or else to ~/tensorflow_datasets.

    Returns:
        A `tf.data.Dataset` of x or (x, label), not batched.

    Raises:
        TypeError: If the name is neither a string nor a path, or the split is not a string.
        ValueError: If the name or split is unknown (the error says what is close to it); if labels
            are requested and there are none; or if a file or folder holds NaN, infinity, objects,
            pictures of different sizes or no examples.
        FileNotFoundError: If a file does not exist, or a TFDS set can neither be found nor
            downloaded.

    Example:

        >>> from keras_ae import datasets
        >>> x, label = next(iter(datasets.load("digits", labels=True)))
        >>> x.shape.as_list()
        [8, 8, 1]
    """
    check_seed("datasets.load", seed)
    dataset = _find_source(name, split, labels, binarize, seed, data_dir)
    return dataset.apply(dynamic_binarization(seed)) if binarize else dataset


def as_array(
    name: Path,
    split: str = "train",
    *,
    labels: bool = False,
    binarize: bool = False,
    seed: int | None = None,
    data_dir: Path | None = None,
) -> np.ndarray | Any:
    """Load data as NumPy arrays, if it fits in memory.

    MNIST takes 188 MB, and "sprites" takes 11 GB. The size of other data follows from
    `load(...).cardinality()` and `load(...).element_spec`.

    Args:
        name, split, labels, binarize, seed, data_dir: See `load`. `binarize` draws once.

    Returns:
        Float32 array of shape (examples, ...), or a pair of arrays (x, label) with labels=True.

    Raises:
        ValueError: If pictures differ in size, or for the reasons of `load`.
        TypeError, FileNotFoundError: See `load`.

    Example:

        >>> from keras_ae import datasets
        >>> datasets.as_array("digits", "test").shape
        (360, 8, 8, 1)
    """
    check_seed("datasets.as_array", seed)
    dataset = _find_source(name, split, labels, binarize, seed, data_dir, whole=True)
    dataset = dataset.apply(dynamic_binarization(seed)) if binarize else dataset
    specs = dataset.element_spec if labels else (dataset.element_spec,)
    if not all(spec.shape.is_fully_defined() for spec in specs):
        raise ValueError(
            f"datasets.as_array: the pictures of name={name!r} differ in size (shape "
            f"{specs[0].shape}). Use load(...).map(lambda x: tf.image.resize(x, (64, 64)))."
        )
    count = int(dataset.cardinality())
    memory.refuse_beyond(
        float(count) * sum(math.prod(spec.shape) * spec.dtype.size for spec in specs),
        f"datasets.as_array: {count} examples of name={str(name)!r}, {specs[0].shape} each,",
        IN_PARTS,
    )
    arrays = tuple(np.empty((count, *spec.shape), spec.dtype.as_numpy_dtype) for spec in specs)
    start = 0
    for batch in dataset.batch(1024).prefetch(1).as_numpy_iterator():
        batch = batch if labels else (batch,)
        stop = start + len(batch[0])
        for array, part in zip(arrays, batch, strict=True):
            array[start:stop] = part
        start = stop
    return arrays if labels else arrays[0]


def _find_source(name, split, labels, binarize, seed, data_dir, whole=False):
    """Make the dataset of a name. `whole` says that all of it will be held in memory."""
    if not isinstance(name, str | os.PathLike):
        raise TypeError(f"datasets.load: name={name!r} must be a string or a path.")
    if not isinstance(split, str):
        raise TypeError(f'datasets.load: split={split!r} must be a string, such as "train".')
    if name in _EMBEDDED:
        return _EMBEDDED[name](split, labels, seed)
    if _is_surely_path(name):
        return make_path_dataset(as_path(name), split, labels, binarize, whole)
    if is_tfds_name(name, data_dir):
        return make_tfds_dataset(name, split, labels, data_dir)
    if name and as_path(name).exists():
        return make_path_dataset(as_path(name), split, labels, binarize, whole)
    raise ValueError(_describe_unknown_name(name))


def _is_surely_path(name):
    """Tell whether `name` can only be a file or folder. "mnist/x" may be a TFDS configuration."""
    if isinstance(name, os.PathLike) or name.lower().endswith(ARRAY_SUFFIXES):
        return True
    starts_like_path = name.startswith((".", "~")) or os.path.isabs(name)
    return starts_like_path or (name != os.path.basename(name) and os.path.exists(name))


def _describe_unknown_name(name):
    hint = did_you_mean(name, [*_EMBEDDED, *list_tfds_names()], cutoff=0.7)
    return (
        f"datasets.load: name={name!r} is unknown.{hint} Pass {', '.join(map(repr, _EMBEDDED))}, "
        "the TFDS name of a set of pictures, or the path of a folder of pictures or of an "
        f"{', '.join(ARRAY_SUFFIXES)} file."
    )


def _load_digits(split, labels, seed):
    import tensorflow as tf
    from sklearn.datasets import load_digits

    digits = load_digits()
    rows = split_rows(len(digits.images), 360, split, "name='digits'")
    x = (digits.images[rows, :, :, None] / 16).astype("float32")
    parts = (x, digits.target[rows].astype("int64")) if labels else x
    return tf.data.Dataset.from_tensor_slices(parts)


def _load_small_mnist(split, labels, seed):
    import tensorflow as tf

    check_split(split, SMALL_MNIST_PARTS, "name='small_mnist'")
    x, y = read_small_mnist(split)
    x = (x[..., None] / 255).astype("float32")
    return tf.data.Dataset.from_tensor_slices((x, y) if labels else x)


def _load_sprites(split, labels, seed):
    import tensorflow as tf

    rows = split_rows(SPRITES_COUNT, SPRITES_COUNT // 20, split, "name='sprites'")
    # NumPy promises that the stream of RandomState never changes.
    rows = np.random.RandomState(seed or 0).permutation(rows)
    specs = [tf.TensorSpec((64, 64, 1), tf.float32)]
    if not labels:
        return stream_rows(rows, lambda block: (sprites_images(block),), *specs)
    specs.append(tf.TensorSpec((5,), tf.int32))
    return stream_rows(rows, lambda block: (sprites_images(block), sprites_factors(block)), *specs)


_EMBEDDED = {
    "digits": _load_digits,
    "small_mnist": _load_small_mnist,
    "sprites": _load_sprites,
}
