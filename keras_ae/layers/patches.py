"""Patches of data and their positions: squares of pictures, pieces of vectors and sequences."""

import math

import numpy as np
from keras import ops

from keras_ae.core import memory
from keras_ae.core.types import Array, Tensor


def patch_places(shape: tuple[int, ...], size: int) -> np.ndarray:
    """Return the row and column of every patch of a picture, or the position of every piece.

    Args:
        shape: Shape of one example: (height, width, channels), (steps, features) or (width,).
        size: Side of a patch in pixels, or length of a piece. It divides the height and width, or
            the length.

    Returns:
        Integer array of shape (patches, 2) for pictures, (patches, 1) otherwise.

    Example:
        >>> patch_places((4, 6, 3), 2).tolist()
        [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    """
    sides = shape[:2] if len(shape) == 3 else shape[:1]
    memory.refuse_beyond(
        32.0 * math.prod(side // size for side in sides),
        f"patch_places: the places of patches of size={size} in shape={tuple(shape)}",
        "Take larger patches, or smaller examples.",
    )
    grid = np.meshgrid(*(np.arange(side // size) for side in sides), indexing="ij")
    return np.stack(grid, axis=-1).reshape(-1, len(sides))


@memory.explains("Pass fewer examples.")
def to_patches(x: Tensor, size: int) -> Tensor:
    """Cut data into patches, in the order of `patch_places`.

    Args:
        x: Tensor of shape (batch, ...), with one to three axes besides the batch.
        size: See `patch_places`.

    Returns:
        Tensor of shape (batch, patches, values).

    Example:
        >>> import numpy as np
        >>> ops.convert_to_numpy(to_patches(np.arange(6.0)[None], 2)).tolist()
        [[[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]]
    """
    shape = tuple(x.shape[1:])
    if len(shape) == 3:
        height, width, channels = shape
        x = ops.reshape(x, (-1, height // size, size, width // size, size, channels))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    number = len(patch_places(shape, size))
    return ops.reshape(x, (-1, number, math.prod(shape) // number))


@memory.explains("Pass fewer examples.")
def from_patches(patches: Tensor, shape: tuple[int, ...], size: int) -> Tensor:
    """Put patches together: the inverse of `to_patches`.

    Args:
        patches: Tensor of shape (batch, patches, values).
        shape: Shape of one example.
        size: See `patch_places`.

    Returns:
        Tensor of shape (batch, *shape).

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).random((2, 4, 6, 3)).astype("float32")
        >>> again = from_patches(to_patches(x, 2), (4, 6, 3), 2)
        >>> bool(np.all(ops.convert_to_numpy(again) == x))
        True
    """
    if len(shape) == 3:
        height, width, channels = shape
        patches = ops.reshape(patches, (-1, height // size, width // size, size, size, channels))
        patches = ops.transpose(patches, (0, 1, 3, 2, 4, 5))
    return ops.reshape(patches, (-1, *shape))


@memory.explains("Pass fewer examples.")
def sine_cosine_positions(places: Array, width: int) -> np.ndarray:
    """Compute fixed embeddings of positions: sines and cosines of falling frequency.

    Source: Vaswani et al., Attention Is All You Need, section 3.5, arXiv:1706.03762. Here each axis
    of the positions has its share of an embedding's dimensions, in which all sines come before all
    cosines.

    Args:
        places: Array of shape (tokens, axes), the positions.
        width: Dimensions of each embedding, a positive integer.

    Returns:
        Float32 array of shape (tokens, width).

    Example:
        >>> sine_cosine_positions(np.array([[0], [1]]), 2).round(3).tolist()
        [[0.0, 1.0], [0.8410000205039978, 0.5400000214576721]]
    """
    parts = []
    for axis, share in enumerate(np.array_split(np.arange(width), places.shape[1])):
        half = -(-len(share) // 2)
        angles = places[:, axis, None] * 10_000.0 ** (-np.arange(half) / max(half, 1))
        parts.append(np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[:, : len(share)])
    return np.concatenate(parts, axis=1).astype("float32")
