"""What corruptions share."""

import dataclasses
from typing import Any, Self

import keras
from keras import ops

from keras_ae.core import arguments


class Corruption:
    """Base class that gives a frozen dataclass the methods of Keras' configurations."""

    def get_config(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        return cls(**config)


class OfPictures(Corruption):
    """Base class of what only pictures (batch, height, width, channels) can have."""


class OfUnitRange(OfPictures):
    """Base class of what has no meaning for values that are not from 0, black, to 1, white."""


def check_range(corruption, owner, name, bounds):
    """Raise if data with this smallest and this largest value cannot be corrupted."""
    low, high = bounds
    # Scalers exceed the range by rounding errors.
    if isinstance(corruption, OfUnitRange) and (low < -1e-6 or high > 1.0 + 1e-6):
        raise ValueError(
            f"{owner}: {name} has values between {low:.7g} and {high:.7g}, and "
            f"{type(corruption).__name__} corrupts values from 0 to 1. Rescale {name}, such as by "
            f"{name}.astype('float32') / 255 if it holds bytes."
        )


def apply(corruption, x, seed, owner, name="corruption"):
    """Corrupt a tensor of floats with a function that users may have written.

    Args:
        corruption: Callable of (x, seed).
        x: Tensor of shape (batch, ...).
        seed: Integer or `keras.random.SeedGenerator`.
        owner, name: The owner and the name of the argument, for the error.

    Returns:
        Tensor of x's shape and dtype.

    Raises:
        ValueError: If the function returns anything but floats of x's shape.
    """
    noisy = corruption(x, seed)
    shape, found = tuple(x.shape), getattr(noisy, "shape", None)
    fits = found is not None and len(found) == len(shape)
    # In a graph, a size may be unknown.
    fits = fits and all(a is None or b is None or a == b for a, b in zip(found, shape, strict=True))
    dtype = keras.backend.standardize_dtype(noisy.dtype) if fits else None
    if not fits or not keras.backend.is_float_dtype(dtype):
        kind = type(noisy).__name__ if found is None else f"shape {tuple(found)}"
        raise arguments.refusal(
            owner,
            name,
            corruption,
            f"a function that returns floats of x's shape {shape}",
            f"It returned {kind if dtype is None else dtype}.",
        )
    return ops.cast(noisy, x.dtype)


def draw_uniform(x, seed):
    return keras.random.uniform(ops.shape(x), dtype="float32", seed=seed)


def draw_noise(corruption, x, seed):
    """Return x and standard normal noise of its shape, both in float32, and the dtype of x."""
    x = ops.convert_to_tensor(x)
    dtype = check_float_dtype(corruption, x)
    noise = keras.random.normal(ops.shape(x), dtype="float32", seed=seed)
    return ops.cast(x, "float32"), noise, dtype


def check_float_dtype(corruption, x):
    dtype = keras.backend.standardize_dtype(x.dtype)
    if not keras.backend.is_float_dtype(dtype):
        raise ValueError(
            f"{type(corruption).__name__}: x has dtype {dtype}, which cannot hold the result. "
            "Pass floating-point data, such as x.astype('float32') / 255 for images."
        )
    return dtype


def check_images(corruption, shape):
    if len(shape) != 4:
        raise ValueError(
            f"{type(corruption).__name__}: x has shape {shape}, but must be images of shape "
            "(batch, height, width, channels). Pass such a tensor, or use Masking."
        )


def read_images(corruption, x):
    """Return x as a tensor, and its dtype, if it is a batch of images of floats."""
    x = ops.convert_to_tensor(x)
    dtype = check_float_dtype(corruption, x)
    check_images(corruption, tuple(x.shape))
    return x, dtype


def check_number(corruption, name, **limits):
    value = arguments.number(corruption, name, getattr(corruption, name), **limits)
    object.__setattr__(corruption, name, float(value))  # The dataclass is frozen.


def check_integer(corruption, name, least=1, most=None):
    value = arguments.integer(corruption, name, getattr(corruption, name), least, most)
    object.__setattr__(corruption, name, value)
