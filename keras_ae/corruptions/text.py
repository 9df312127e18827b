"""Text over pictures."""

import dataclasses
import functools
import string

import keras
import numpy as np
from keras import ops

from keras_ae.core import memory
from keras_ae.core.types import Seed, Tensor
from keras_ae.corruptions.base import (
    OfUnitRange,
    check_integer,
    check_number,
    read_images,
)


@keras.saving.register_keras_serializable("keras_ae")
@dataclasses.dataclass(frozen=True)
class Text(OfUnitRange):
    """Writes lines of random letters over every image, in black or in white.

    A model that undoes this removes captions and watermarks. The lines, their letters, their
    position and their color, which is black or white, are drawn for that image.

    Args:
        size: Height of a line in pixels, an integer of 8 or more. Defaults to 10.
        rate: Probability that a line is written, in [0, 1]. Defaults to 0.5.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import numpy as np
        >>> x = np.full((4, 32, 32, 3), 0.5, "float32")
        >>> written = keras.ops.convert_to_numpy(Text(rate=1.0)(x, seed=0))
        >>> bool(0.05 < np.mean(written != x) < 0.6)
        True
    """

    size: int = 10
    rate: float = 0.5

    def __post_init__(self):
        check_integer(self, "size", least=8, most=1000)
        check_number(self, "rate", most=1)

    @memory.explains("Pass fewer examples.")
    def __call__(self, x: Tensor, seed: Seed) -> Tensor:
        """Corrupt a batch.

        Args:
            x: Floating-point tensor of shape (batch, height, width, channels), values in [0, 1].
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Tensor of x's shape and dtype.

        Raises:
            ValueError: If x is not a batch of images, or not floating-point.
        """
        x, dtype = read_images(self, x)
        batch, height, width, _ = ops.shape(x)
        letters = _draw_letters(self.size)
        number, tall, wide = letters.shape
        lines, columns = height // tall + 2, width // wide + 2
        # All numbers come from one draw, because several draws with the same integer seed would be
        # equal. A line has three more than its letters.
        uniform = keras.random.uniform((batch, lines, columns + 3), dtype="float32", seed=seed)
        chosen = ops.cast(ops.floor(uniform[:, :, 3:] * number), "int32")
        # The first picture is empty, and is a space.
        chosen = ops.where(uniform[:, :, :1] < self.rate, chosen, 0)
        down = ops.cast(uniform[:, :1, 1] * tall, "int32") + ops.arange(height)
        across = ops.cast(uniform[:, 1:2, 1] * wide, "int32") + ops.arange(width)
        place = (down // tall)[:, :, None] * columns + (across // wide)[:, None, :]
        place = place + ops.arange(batch)[:, None, None] * (lines * columns)
        letter = ops.take(ops.reshape(chosen, (-1,)), place)
        pixel = (down % tall)[:, :, None] * wide + (across % wide)[:, None, :]
        covered = ops.take(letters.reshape(-1), letter * (tall * wide) + pixel)[..., None]
        color = ops.cast(uniform[:, 0, 2] < 0.5, "float32")
        written = covered * color[:, None, None, None] + (1.0 - covered) * ops.cast(x, "float32")
        return ops.cast(written, dtype)


@functools.cache
def _draw_letters(size):
    """Draw a space and the letters of the alphabet: array of shape (53, height, width)."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(0.8 * size)
    wide = max(1, round(0.55 * size))
    pictures = []
    for letter in " " + string.ascii_letters:
        picture = Image.new("L", (wide, size))
        middle = (wide / 2, 0.75 * size)
        ImageDraw.Draw(picture).text(middle, letter, fill=255, font=font, anchor="ms")
        pictures.append(np.asarray(picture, "float32") / 255)
    return np.stack(pictures)
