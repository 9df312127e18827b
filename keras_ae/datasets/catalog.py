"""`load` and `as_array`: which source a name means."""

import math
import os

import numpy as np

from keras_ae.core import memory
from keras_ae.core.arguments import did_you_mean
from keras_ae.datasets.files import ARRAY_SUFFIXES, IN_PARTS, as_path, path_dataset
from keras_ae.datasets.prepared import is_tfds_name, tfds_dataset, tfds_names
from keras_ae.datasets.sprites import SPRITES_COUNT, sprites_factors, sprites_images
from keras_ae.datasets.streams import check_seed, dynamic_binarization, split_rows, stream_rows


def load(name, split="train", *, labels=False, binarize=False, seed=None, data_dir=None):
    """A `tf.data.Dataset` of single float32 examples in [0, 1], streamed, of known cardinality.

    Pictures have shape (height, width, channels), rows of a table (columns,). `name` is one of:

    - `"digits"`: scikit-learn's 1,797 handwritten digits, 8x8x1, labels 0 to 9 (int64); a fixed
      1,437 train, 360 test. Needs no download.
    - `"sprites"`: generated 64x64x1 shapes; the label is the int32 vector (shape, scale,
      orientation, x, y). 700,416 train, 36,864 test, scattered over the combinations; the order is
      shuffled by `seed` (None: the order of 0) and the same at every pass. See `sprites_images`.
    - the TFDS name of a set of pictures: `"mnist"`, `"fashion_mnist"`, `"binarized_mnist"`,
      `"omniglot"`, `"cifar10"`, `"dsprites"`, `"shapes3d"`, `"celeb_a"`... with its own splits,
      also sliced ("train[:90%]"). The label is its `label`, or the vector of all its `label_*` in
      alphabetical order. Downloaded where it is not there. Where pictures differ in size the shape
      is (None, None, channels): `load(...).map(lambda x: tf.image.resize(x, (64, 64)))`. Sets that
      store 0 and 1 in place of 0 and 255 (dsprites, binarized_mnist) are recognised by their
      first 64 pictures.
    - a folder of PNG or JPEG pictures of one size, grey (one channel) if all are grey, else RGB;
      transparency is dropped. Sub-folders are classes, numbered in alphabetical order; where
      "train" and "test" are among them they are splits, with the classes inside.
    - an `.npy` file (memory-mapped), an `.npz` file (key "x" or the only one, labels "y") or a
      `.csv` file of numbers in UTF-8, separated by commas. A first row without any number is its
      header, and a column that it calls "label" is the label; a first row of numbers alone, such
      as the years "2019,2020", is data. Empty lines are passed over, and anything else that is not
      a number is an error that names its line and column.
      uint8 is divided by 255, unless nothing exceeds 1; uint8 and bool arrays (N, H, W) are
      pictures and get a channel. Other values are passed as they are, also outside [0, 1],
      since tables may be standardised on purpose. Whole labels are int64, others float32.

    A name of TFDS goes before a folder of that name in the working directory; write "./mnist" for
    the folder. Files, and folders without splits of their own, are divided for good: "test" is a
    tenth of the examples, scattered, the same on every machine as long as their number is the same;
    "train" is the rest and "all" everything.

    Args:
        name: string or path, as above.
        split: "train", "test" or "all", or what TFDS or the folder has.
        labels: give pairs (x, label) in place of x.
        binarize: draw every value as 0 or 1 at every pass: `dynamic_binarization(seed)`.
        seed: integer from 0 to 2**31 - 1, for the draws of `binarize` and the order of "sprites".
        data_dir: where TFDS sets lie and are put; default the environment variable TFDS_DATA_DIR,
            else ~/tensorflow_datasets.

    Returns:
        A `tf.data.Dataset` of x or (x, label), not batched.

    Raises:
        TypeError: the name is neither string nor path, or the split no string.
        ValueError: an unknown name or split (with the close match); labels where there are none;
            NaN, infinity, objects, no examples or pictures of different sizes in a file or folder.
        FileNotFoundError: no such file, or a TFDS set that is neither prepared nor downloadable.

    Example:

        >>> from keras_ae import datasets
        >>> x, label = next(iter(datasets.load("digits", labels=True)))
        >>> x.shape.as_list()
        [8, 8, 1]
    """
    check_seed("datasets.load", seed)
    dataset = _source(name, split, labels, binarize, seed, data_dir)
    return dataset.apply(dynamic_binarization(seed)) if binarize else dataset


def as_array(name, split="train", *, labels=False, binarize=False, seed=None, data_dir=None):
    """What `load` gives, as NumPy arrays, for sets that fit in memory.

    MNIST takes 188 MB, "sprites" 11 GB: where in doubt, `load(...).cardinality()` and
    `.element_spec` tell the size beforehand.

    Args:
        name, split, labels, binarize, seed, data_dir: as for `load`; one pass is taken, so
            `binarize` draws once.

    Returns:
        float32 array of shape (examples, ...), or the pair (x, label) of arrays with labels.

    Raises:
        ValueError: pictures of different sizes; otherwise as `load`.
        TypeError, FileNotFoundError: as `load`.

    Example:

        >>> from keras_ae import datasets
        >>> datasets.as_array("digits", "test").shape
        (360, 8, 8, 1)
    """
    check_seed("datasets.as_array", seed)
    dataset = _source(name, split, labels, binarize, seed, data_dir, whole=True)
    dataset = dataset.apply(dynamic_binarization(seed)) if binarize else dataset
    specs = dataset.element_spec if labels else (dataset.element_spec,)
    if not all(spec.shape.is_fully_defined() for spec in specs):
        raise ValueError(
            f"datasets.as_array: the pictures of name={name!r} differ in size (shape "
            f"{specs[0].shape}); use load(...).map(lambda x: tf.image.resize(x, (64, 64)))."
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


def _source(name, split, labels, binarize, seed, data_dir, whole=False):
    """The dataset of a name; `whole` if all of it is wanted in memory."""
    if not isinstance(name, str | os.PathLike):
        raise TypeError(f"datasets.load: name must be a string or a path; received {name!r}.")
    if not isinstance(split, str):
        raise TypeError(
            f'datasets.load: split must be a string such as "train"; received {split!r}.'
        )
    if name in _EMBEDDED:
        return _EMBEDDED[name](split, labels, seed)
    if _is_surely_path(name):
        return path_dataset(as_path(name), split, labels, binarize, whole)
    if is_tfds_name(name, data_dir):
        return tfds_dataset(name, split, labels, data_dir)
    if name and as_path(name).exists():
        return path_dataset(as_path(name), split, labels, binarize, whole)
    raise ValueError(_unknown_name(name))


def _is_surely_path(name):
    """Whether `name` can mean nothing but a file or folder; "mnist/x" may be a configuration."""
    if isinstance(name, os.PathLike) or name.lower().endswith(ARRAY_SUFFIXES):
        return True
    starts_like_path = name.startswith((".", "~")) or os.path.isabs(name)
    return starts_like_path or (name != os.path.basename(name) and os.path.exists(name))


def _unknown_name(name):
    hint = did_you_mean(name, [*_EMBEDDED, *tfds_names()], cutoff=0.7)
    return (
        f"datasets.load: name={name!r} is unknown.{hint} Give {', '.join(map(repr, _EMBEDDED))}, "
        "the TFDS name of a set of pictures, or the path of a folder of pictures or of an "
        f"{', '.join(ARRAY_SUFFIXES)} file."
    )


def _digits(split, labels, seed):
    import tensorflow as tf
    from sklearn.datasets import load_digits

    digits = load_digits()
    rows = split_rows(len(digits.images), 360, split, "name='digits'")
    x = (digits.images[rows, :, :, None] / 16).astype("float32")
    parts = (x, digits.target[rows].astype("int64")) if labels else x
    return tf.data.Dataset.from_tensor_slices(parts)


def _sprites(split, labels, seed):
    import tensorflow as tf

    rows = split_rows(SPRITES_COUNT, SPRITES_COUNT // 20, split, "name='sprites'")
    # RandomState, since NumPy promises its stream for ever.
    rows = np.random.RandomState(seed or 0).permutation(rows)
    specs = [tf.TensorSpec((64, 64, 1), tf.float32)]
    if not labels:
        return stream_rows(rows, lambda block: (sprites_images(block),), *specs)
    specs.append(tf.TensorSpec((5,), tf.int32))
    return stream_rows(rows, lambda block: (sprites_images(block), sprites_factors(block)), *specs)


_EMBEDDED = {"digits": _digits, "sprites": _sprites}
