"""What all measures ask of their arrays."""

import zlib

import numpy as np

_NUMBERS_AT_ONCE = 2**25  # Blocks of distances hold at most this many numbers, 256 MB.


def check_rows(owner, name, x):
    """Return an array as float64 rows, after checking that it holds finite numbers.

    Args:
        owner: Name of the function in errors.
        name: Name of the argument.
        x: Array of shape (examples, ...). One number for each example is a row of width 1.

    Returns:
        Float64 array of shape (examples, width).

    Raises:
        TypeError: If x does not hold numbers.
        ValueError: If x is empty, no array of examples, or not finite.
    """
    x = np.asarray(x)
    if x.dtype.kind not in "buif":
        raise TypeError(f"{owner}: {name} has the dtype {x.dtype}, but must hold numbers.")
    if x.ndim == 0 or x.size == 0:
        raise ValueError(f"{owner}: {name} has the shape {x.shape}, but must hold examples.")
    x = x.reshape(len(x), -1).astype("float64")
    if not np.all(np.isfinite(x)):
        raise ValueError(f"{owner}: {name} holds NaN or infinity. Remove these examples.")
    return x


def check_pair(owner, x, y, names=("x", "y")):
    """Return two arrays as float64 rows of the same width: see `check_rows`."""
    x, y = (check_rows(owner, name, value) for name, value in zip(names, (x, y), strict=True))
    if x.shape[1] != y.shape[1]:
        raise ValueError(
            f"{owner}: {names[0]} has {x.shape[1]} numbers for each example, and {names[1]} has "
            f"{y.shape[1]}. Compute the same features of both."
        )
    return x, y


def check_same_length(owner, **arrays):
    """Raise unless all arrays have the same number of examples."""
    lengths = {name: len(value) for name, value in arrays.items()}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} has {number}" for name, number in lengths.items())
        raise ValueError(f"{owner}: the numbers of examples differ: {found}.")


def rows_at_once(number, width):
    """Yield slices of `number` rows, with as many rows of this width as memory should hold."""
    step = max(1, _NUMBERS_AT_ONCE // max(1, width))
    for start in range(0, number, step):
        yield slice(start, min(start + step, number))


def scatter(length, count):
    """Choose row numbers at even distances, because data may be sorted by class."""
    count = min(length, count)
    return np.arange(count) * length // count


def make_generator(owner, seed):
    """Return a generator of random numbers for a function.

    Its numbers are not those of `np.random.default_rng(seed)`, with which a user may have drawn the
    data: noise that depends on the data would spoil an estimate.
    """
    key = (zlib.crc32(owner.encode()),)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
