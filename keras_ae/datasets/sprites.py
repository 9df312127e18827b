"""Generated pictures of one shape each, whose factors of variation are all known.

The factors are those of dSprites (Matthey et al. 2017,
https://github.com/google-deepmind/dsprites-dataset), but the pictures are drawn here. Nothing is
downloaded or stored, and an index draws any of the 737,280 combinations.
"""

import functools
import math

import numpy as np

from keras_ae.core import memory
from keras_ae.core.types import Array

SPRITES_FACTORS = {"shape": 3, "scale": 6, "orientation": 40, "x": 32, "y": 32}
"""The number of values of every factor, in the order of an index's digits."""

SPRITES_COUNT = math.prod(SPRITES_FACTORS.values())

_SIZES = tuple(SPRITES_FACTORS.values())
_WIDTH = 64
# A position is a shift by whole pixels. A pose is therefore drawn once, on a canvas with room for
# the largest shift in each direction, from which the picture at any position is cut out.
_LARGEST_SHIFT = SPRITES_FACTORS["x"] - 1
_CANVAS = _WIDTH + _LARGEST_SHIFT


def sprites_images(indices: Array) -> np.ndarray:
    """Draw the pictures of these indices.

    Each picture shows one white square, ellipse or heart (shape 0, 1, 2), completely inside a black
    frame. The scale rises from 0.5 to 1 of the full size (32 pixels across) in 6 steps. The
    orientation turns counterclockwise in 40 steps of 9 degrees. x and y are shifts to the right and
    downwards in pixels. Pixels are 0 or 1, as in dSprites, so that a Bernoulli likelihood fits them
    exactly. A square looks the same after 10 steps of orientation, and an ellipse after 20.

    Args:
        indices: Integer or integer array of any shape, from 0 to 737,279.

    Returns:
        Float32 array of 0 and 1, shape (*indices.shape, 64, 64, 1).

    Raises:
        ValueError: If an index is not an integer or is out of range.

    Example:

        >>> from keras_ae import datasets
        >>> datasets.sprites_images([0, 737_279]).shape
        (2, 64, 64, 1)
    """
    memory.refuse_beyond(
        5.0 * np.size(indices) * _WIDTH**2,
        f"sprites_images: {np.size(indices)} pictures",
        "Pass fewer indices at a time.",
    )
    shape, scale, orientation, x, y = np.moveaxis(sprites_factors(indices), -1, 0)
    windows = np.lib.stride_tricks.sliding_window_view(_draw_poses(), (_WIDTH, _WIDTH), axis=(3, 4))
    pictures = windows[shape, scale, orientation, _LARGEST_SHIFT - y, _LARGEST_SHIFT - x]
    return pictures[..., None].astype("float32")


def sprites_factors(indices: Array) -> np.ndarray:
    """Compute the factors of these indices. The last factor, y, varies fastest.

    Args:
        indices: Integer or integer array of any shape, from 0 to 737,279.

    Returns:
        Int32 array of shape (*indices.shape, 5): shape, scale, orientation, x, y, each from 0 to
        one less than its number of values in `SPRITES_FACTORS`.

    Raises:
        ValueError: If an index is not an integer or is out of range.

    Example:

        >>> from keras_ae import datasets
        >>> datasets.sprites_factors(737_279).tolist()
        [2, 5, 39, 31, 31]
    """
    indices = _check_integers("sprites_factors", "indices", indices)
    memory.refuse_beyond(
        100.0 * indices.size, f"sprites_factors: {indices.size} indices", "Pass fewer at a time."
    )
    _check_range("sprites_factors", "indices", indices, SPRITES_COUNT)
    return np.stack(np.unravel_index(indices, _SIZES), axis=-1).astype("int32")


def sprites_index(factors: Array) -> np.ndarray:
    """Compute the index of each combination of factors: the inverse of `sprites_factors`.

    Args:
        factors: Integer array of shape (..., 5): shape, scale, orientation, x, y.

    Returns:
        Int64 array of shape (...), from 0 to 737,279.

    Raises:
        ValueError: If a factor is not an integer or is out of range, or the last axis is not 5.

    Example:

        >>> from keras_ae import datasets
        >>> int(datasets.sprites_index([2, 5, 39, 31, 31]))
        737279
    """
    factors = _check_integers("sprites_index", "factors", factors)
    memory.refuse_beyond(
        10.0 * factors.size, f"sprites_index: {factors.size} factors", "Pass fewer at a time."
    )
    if factors.ndim == 0 or factors.shape[-1] != len(_SIZES):
        raise ValueError(
            f"sprites_index: factors has shape {factors.shape}, but its last axis must hold the 5 "
            f"factors {', '.join(SPRITES_FACTORS)}."
        )
    for column, (factor, size) in enumerate(SPRITES_FACTORS.items()):
        _check_range("sprites_index", f"factors, {factor},", factors[..., column], size)
    return np.asarray(np.ravel_multi_index(np.moveaxis(factors, -1, 0), _SIZES), dtype="int64")


@functools.cache
def _draw_poses():
    """Draw each shape, centered, at each scale and orientation.

    Returns:
        Uint8 array of shape (3, 6, 40, canvas, canvas).
    """
    offset = np.arange(_CANVAS) - _CANVAS // 2
    angle = np.linspace(0, 2 * np.pi, _SIZES[2], endpoint=False)
    cosine, sine = (f(angle)[:, None, None] for f in (np.cos, np.sin))
    right, up = offset[None, None, :], -offset[None, :, None]
    # u and v are coordinates along the shape's own axes: a picture turned counterclockwise is read
    # at points turned clockwise.
    u = cosine * right + sine * up  # (40, canvas, canvas)
    v = cosine * up - sine * right
    poses = np.empty((*_SIZES[:3], _CANVAS, _CANVAS), "uint8")
    for shape, inside in enumerate((_in_square, _in_ellipse, _in_heart)):
        for step, scale in enumerate(np.linspace(0.5, 1.0, _SIZES[1])):
            poses[shape, step] = inside(u / scale, v / scale)
    poses.flags.writeable = False  # All callers share the array.
    return poses


# Each shape reaches at most 16 pixels from its center, so that no position cuts it off. No edge
# runs through the centers of pixels, where rounding would make symmetric orientations differ.


def _in_square(u, v):
    return np.maximum(abs(u), abs(v)) <= 11.3


def _in_ellipse(u, v):
    return (u / 16.2) ** 2 + (v / 8.1) ** 2 <= 1


def _in_heart(u, v):
    # This is the curve (u^2 + v^2 - 1)^3 = u^2 v^3, moved so that it turns about the middle of its
    # height.
    u, v = u / 12.7, v / 12.7 + 0.12
    return (u**2 + v**2 - 1) ** 3 <= u**2 * v**3


def _check_integers(function, name, values):
    values = np.asarray(values)
    if values.dtype.kind not in "iu":
        raise ValueError(f"{function}: {name} has dtype {values.dtype}. Pass integers.")
    return values


def _check_range(function, name, values, size):
    wrong = values[(values < 0) | (values >= size)]
    if wrong.size:
        raise ValueError(
            f"{function}: {name} must lie between 0 and {size - 1}, but {wrong.flat[0]} is out of "
            "this range."
        )
