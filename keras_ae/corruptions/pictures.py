"""Hidden parts and moved pictures."""

import dataclasses
import math

import keras
from keras import ops

from keras_ae.core import memory
from keras_ae.core.types import Seed, Tensor
from keras_ae.corruptions.base import (
    OfPictures,
    check_images,
    check_integer,
    check_number,
    read_images,
)


@keras.saving.register_keras_serializable("keras_ae")
@dataclasses.dataclass(frozen=True)
class Blocks(OfPictures):
    """Sets square blocks of every image to 0, at positions drawn for that image.

    The blocks lie completely inside the image, and all positions are equally likely. They may
    overlap.

    Source: the random block masks of Pathak et al., Context Encoders: Feature Learning by
    Inpainting, section 3.3, arXiv:1604.07379.

    Args:
        size: Height and width of a block in pixels, a positive integer. Defaults to 7.
        num_blocks: Number of blocks in each image, a positive integer. Defaults to 1.

    Raises:
        ValueError: If an argument is not a positive integer.

    Example:
        >>> import numpy as np
        >>> masked = Blocks(size=2)(np.ones((4, 8, 8, 1), "float32"), seed=0)
        >>> float(keras.ops.sum(masked[0]))
        60.0
    """

    size: int = 7
    num_blocks: int = 1

    def __post_init__(self):
        check_integer(self, "size")
        check_integer(self, "num_blocks")

    @memory.explains("Pass fewer examples.")
    def __call__(self, x: Tensor, seed: Seed) -> Tensor:
        """Corrupt a batch.

        Args:
            x: Tensor of shape (batch, height, width, channels), height and width at least
                `size`.
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Tensor of x's shape and dtype.

        Raises:
            ValueError: If x is not a batch of images, or the images are smaller than a block.
        """
        x = ops.convert_to_tensor(x)
        self._check_shape(tuple(x.shape))
        batch, height, width, _ = ops.shape(x)
        places = math.prod(n or 1 for n in x.shape[1:3])
        memory.refuse_beyond(
            4.0 * (x.shape[0] or 1) * self.num_blocks * places,
            f"Blocks: num_blocks={self.num_blocks} in x of shape {tuple(x.shape)}",
            "Take fewer blocks, or pass fewer pictures.",
        )
        # Both coordinates come from one draw, because two draws with the same integer seed would be
        # equal.
        uniform = keras.random.uniform((2, batch, self.num_blocks, 1), dtype="float32", seed=seed)
        rows = self._find_covered(height, uniform[0])[:, :, :, None]  # (batch, blocks, height, 1)
        columns = self._find_covered(width, uniform[1])[:, :, None, :]  # (batch, blocks, 1, width)
        covered = ops.any(ops.logical_and(rows, columns), axis=1)[..., None]
        return ops.where(covered, ops.zeros_like(x), x)

    def _check_shape(self, shape):
        check_images(self, shape)
        if any(length is not None and length < self.size for length in shape[1:3]):
            raise ValueError(
                f"Blocks: size={self.size} does not fit into x of shape {shape}. Pass a size of "
                "at most the images' height and width."
            )

    def _find_covered(self, length, uniform):
        """Find which of `length` positions the blocks cover.

        The uniform numbers, which place the blocks, have the shape (batch, blocks, 1).
        """
        positions = ops.arange(length, dtype="float32")
        starts = ops.floor(uniform * ops.cast(length - self.size + 1, "float32"))
        return ops.logical_and(positions >= starts, positions < starts + self.size)


@keras.saving.register_keras_serializable("keras_ae")
@dataclasses.dataclass(frozen=True)
class Rectangle(OfPictures):
    """Sets one rectangle of every image to 0, of a shape and at a position drawn for that image.

    A model that undoes this fills in what is hidden. The rectangle lies completely inside the
    image, and its sides are rounded to whole pixels. All positions are equally likely, and so are
    all logarithms of the ratio of its sides, from 1:2 to 2:1 of those of the image where the image
    is large enough.

    Args:
        share: Share of the image that is hidden, above 0 and at most 1. Defaults to 0.25.

    Raises:
        ValueError: If the share is out of range.

    Example:
        >>> import numpy as np
        >>> hidden = Rectangle(share=1.0)(np.ones((4, 8, 8, 1), "float32"), seed=0)
        >>> float(keras.ops.sum(hidden))
        0.0
    """

    share: float = 0.25

    def __post_init__(self):
        check_number(self, "share", positive=True, most=1)

    @memory.explains("Pass fewer examples.")
    def __call__(self, x: Tensor, seed: Seed) -> Tensor:
        """Corrupt a batch.

        Args:
            x: Tensor of shape (batch, height, width, channels).
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Tensor of x's shape and dtype.

        Raises:
            ValueError: If x is not a batch of images.
        """
        x = ops.convert_to_tensor(x)
        check_images(self, tuple(x.shape))
        batch, height, width, _ = ops.shape(x)
        uniform = keras.random.uniform((3, batch, 1), dtype="float32", seed=seed)
        widest = math.log(min(2.0, 1.0 / self.share))
        ratio = ops.exp(widest * (2.0 * uniform[0] - 1.0))
        rows = self._find_covered(height, ops.sqrt(self.share * ratio), uniform[1])
        columns = self._find_covered(width, ops.sqrt(self.share / ratio), uniform[2])
        covered = ops.logical_and(rows[:, :, None], columns[:, None, :])[..., None]
        return ops.where(covered, ops.zeros_like(x), x)

    def _find_covered(self, length, share, uniform):
        """Find which of `length` positions the rectangles cover, of which each covers a share."""
        positions, length = ops.arange(length, dtype="float32"), ops.cast(length, "float32")
        side = ops.clip(ops.round(share * length), 1.0, length)
        start = ops.floor(uniform * (length - side + 1.0))
        return ops.logical_and(positions >= start, positions < start + side)


@keras.saving.register_keras_serializable("keras_ae")
@dataclasses.dataclass(frozen=True)
class Affine(OfPictures):
    """Shifts, rotates, scales and shears every image, by amounts drawn for that image.

    A model that undoes this learns codes that say little about an image's position and pose.
    Amounts are uniform between minus and plus the argument. Pixels from outside the image are 0,
    and values between pixels are interpolated bilinearly. On TensorFlow, leave `jit_compile` at
    Keras' default, because XLA cannot compile this operation there.

    Source: Sundermeyer et al., Augmented Autoencoders, section 3.3, arXiv:1902.01275.

    Args:
        shift: Largest shift along each axis as a fraction of the image's height or width, at least
            0. Defaults to 0.1.
        rotation: Largest angle in radians, at least 0. Defaults to 0.3.
        scale: Logarithm of the largest factor of the size, at least 0. The smallest factor is its
            reciprocal. Defaults to 0.2.
        shear: Largest shift of a row, divided by the row's distance from the center, at least 0.
            Defaults to 0.2.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import numpy as np
        >>> Affine(rotation=0.5)(np.ones((4, 8, 8, 1), "float32"), seed=0).shape == (4, 8, 8, 1)
        True
    """

    shift: float = 0.1
    rotation: float = 0.3
    scale: float = 0.2
    shear: float = 0.2

    def __post_init__(self):
        for field in dataclasses.fields(self):
            check_number(self, field.name)

    @memory.explains("Pass fewer examples.")
    def __call__(self, x: Tensor, seed: Seed) -> Tensor:
        """Corrupt a batch.

        Args:
            x: Floating-point tensor of shape (batch, height, width, channels).
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Tensor of x's shape and dtype.

        Raises:
            ValueError: If x is not a batch of images, or not floating-point.
        """
        x, dtype = read_images(self, x)
        batch, height, width, _ = ops.shape(x)
        height, width = ops.cast(height, "float32"), ops.cast(width, "float32")
        # All amounts come from one draw, because several draws with the same integer seed would be
        # equal.
        uniform = keras.random.uniform((5, batch), -1.0, 1.0, dtype="float32", seed=seed)
        angle, factor = self.rotation * uniform[0], ops.exp(self.scale * uniform[1])
        cosine, sine = factor * ops.cos(angle), factor * ops.sin(angle)
        # These coefficients map a pixel of the result to the position from which it is read, both
        # relative to the image's center.
        lean = self.shear * uniform[2]
        columns, rows = (cosine, lean * cosine - sine), (sine, lean * sine + cosine)
        across, down = 0.5 * (width - 1.0), 0.5 * (height - 1.0)
        first_column = across - columns[0] * across - columns[1] * down
        first_row = down - rows[0] * across - rows[1] * down
        first_column = first_column + self.shift * width * uniform[3]
        first_row = first_row + self.shift * height * uniform[4]
        zero = ops.zeros_like(angle)
        transform = ops.stack([*columns, first_column, *rows, first_row, zero, zero], axis=1)
        moved = ops.image.affine_transform(
            ops.cast(x, "float32"), transform, data_format="channels_last"
        )
        return ops.cast(moved, dtype)
