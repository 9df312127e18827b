"""The functions that all sources of data share: fixed splits, streamed rows, binarization."""

import itertools
import random
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_ae.core import arguments, memory

_BLOCK_BYTES = 2**22


def split_rows(count, num_test, split, argument):
    """Select the rows of "train", "test" or "all" in a set that has no division of its own.

    The test rows are those `num_test` rows whose numbers have the lowest hash. They are scattered
    over the set, and they are the same on every machine and in every release, which a random
    generator would not guarantee.

    Args:
        count: Number of rows.
        num_test: Number of rows in the test split.
        split: "train", "test" or "all".
        argument: The name of the set in errors, such as "name='digits'".

    Returns:
        The row numbers in ascending order: a range for all rows, and an int64 array otherwise.

    Raises:
        ValueError: If the split is unknown or has no rows.
    """
    check_split(split, ("train", "test", "all"), argument)
    rows = range(count)
    if split != "all":
        memory.refuse_beyond(
            48.0 * count,
            f"datasets.load: dividing the {count} rows of {argument}",
            'Take split="all", or divide them into files of their own.',
        )
        in_test = np.zeros(count, bool)
        in_test[np.argsort(_hash(np.arange(count)), kind="stable")[:num_test]] = True
        rows = np.flatnonzero(in_test == (split == "test"))
    if not len(rows):
        raise ValueError(
            f"datasets.load: split={split!r} of {argument} is empty, because the set has only "
            f'{count} example(s). Use split="all".'
        )
    return rows


def check_split(split, allowed, argument):
    """Raise a ValueError, with the closest match, unless `split` is one of `allowed`."""
    if split not in allowed:
        raise ValueError(
            f"datasets.load: split={split!r} is unknown for {argument}."
            f"{arguments.did_you_mean(split, allowed)} There are {', '.join(map(repr, allowed))}."
        )


def _hash(rows):
    """Hash row numbers by the mixing function of SplitMix64.

    Source: Steele, Lea and Flood 2014, doi:10.1145/2714064.2660195.
    """
    mixed = (rows.astype("uint64") + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def stream_rows(rows, read, *specs):
    """Make a dataset of single examples that are read or generated a few megabytes at a time.

    Args:
        rows: Range or int64 array: the rows in the desired order.
        read: Function of a part of these rows. It returns one array for each of `specs`, whose
            first axis is the rows.
        *specs: `tf.TensorSpec` of each part of an example.

    Returns:
        A `tf.data.Dataset` of known cardinality, of tensors for one spec or else of tuples.
    """
    import tensorflow as tf

    row_bytes = sum(spec.shape.num_elements() * spec.dtype.size for spec in specs)
    block = min(max(_BLOCK_BYTES // row_bytes, 1), 4096)

    def read_block(start):
        return list(read(rows[start : start + block]))

    def read_tensors(start):
        parts = tf.numpy_function(
            read_block, [start], [spec.dtype for spec in specs], stateful=False
        )
        parts = [
            tf.ensure_shape(part, [None, *spec.shape])
            for part, spec in zip(parts, specs, strict=True)
        ]
        return parts[0] if len(parts) == 1 else tuple(parts)

    dataset = tf.data.Dataset.range(0, len(rows), block).map(read_tensors)
    dataset = dataset.prefetch(1).unbatch()
    return dataset.apply(tf.data.experimental.assert_cardinality(len(rows)))


def dynamic_binarization(seed: int | None = None) -> Callable[..., Any]:
    """Replace every value by a draw of 0 or 1, where the value is the probability of 1.

    This is the usual treatment of MNIST for Bernoulli likelihoods (Burda et al. 2016,
    arXiv:1509.00519, section 5, after Salakhutdinov and Murray 2008). Every pass over the data
    makes new draws, and a new iterator begins a new pass. The draws depend only on the seed, the
    number of the pass and the number of the element, so that two datasets with the same seed agree
    in every pass.

    Args:
        seed: Integer from 0 to 2**31 - 1. None takes one from Python's `random`, so that
            `keras.utils.set_random_seed` makes it repeatable. Defaults to None.

    Returns:
        A function for `tf.data.Dataset.apply`. The dataset, batched or not, holds floating-point
        tensors in [0, 1], or tuples that begin with one. The rest of a tuple, such as a label, is
        passed on.

    Raises:
        ValueError: If the seed is not such an integer, or the dataset does not hold floating-point
            tensors.
        tf.errors.InvalidArgumentError: While iterating, if a value lies outside [0, 1].

    Example:

        >>> from keras_ae import datasets
        >>> digits = datasets.load("digits").apply(datasets.dynamic_binarization(seed=0))
        >>> sorted(set(next(digits.as_numpy_iterator()).flatten().tolist()))
        [0.0, 1.0]
    """
    check_seed("dynamic_binarization", seed)
    seed = random.randrange(2**31) if seed is None else seed

    def transform(dataset):
        import tensorflow as tf

        _check_binarizable(dataset.element_spec)
        passes = itertools.count()

        def begin_pass():
            return np.int64(next(passes))

        # This counts the iterators. A flat_map over the data itself would work, too, but it would
        # hide the cardinality and keep tf.data from optimizing the dataset.
        pass_numbers = (
            tf.data.Dataset.range(1)
            .map(lambda _: tf.ensure_shape(tf.numpy_function(begin_pass, [], tf.int64), ()))
            .flat_map(lambda number: tf.data.Dataset.from_tensors(number).repeat())
        )

        def draw(numbered, pass_number):
            element_number, element = numbered
            key = tf.random.fold_in(tf.stack([np.int64(seed), pass_number]), element_number)
            if isinstance(element, tuple):
                return _draw_bernoulli(element[0], key), *element[1:]
            return _draw_bernoulli(element, key)

        binarized = tf.data.Dataset.zip((dataset.enumerate(), pass_numbers)).map(
            draw, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        cardinality = dataset.cardinality()
        if cardinality == tf.data.UNKNOWN_CARDINALITY:
            return binarized
        return binarized.apply(tf.data.experimental.assert_cardinality(cardinality))

    return transform


def check_seed(function, seed):
    """Raise a ValueError unless `seed` is None or an integer from 0 to 2**31 - 1."""
    if seed is not None:
        remedy = "None takes a fresh seed."
        arguments.integer(function, "seed", seed, least=0, most=2**31 - 1, remedy=remedy)


def _check_binarizable(element_spec):
    x = element_spec[0] if isinstance(element_spec, tuple) and element_spec else element_spec
    if not getattr(getattr(x, "dtype", None), "is_floating", False):
        raise ValueError(
            "dynamic_binarization: the dataset must hold floating-point tensors in [0, 1], or "
            f"tuples that begin with one, but its elements are {element_spec}. Divide pictures "
            "with values from 0 to 255 by 255 first."
        )


def _draw_bernoulli(x, key):
    import tensorflow as tf

    valid = tf.debugging.Assert(
        # This form of the condition is False for NaN, which is neither greater nor less than
        # anything.
        tf.reduce_all((x >= 0) & (x <= 1)),
        [
            "dynamic_binarization: values must lie in [0, 1], but they run from",
            tf.reduce_min(x),
            "to",
            tf.reduce_max(x),
        ],
    )
    with tf.control_dependencies([valid]):
        noise = tf.random.stateless_uniform(tf.shape(x), key, alg="philox")
    return tf.cast(noise < tf.cast(x, tf.float32), x.dtype)
