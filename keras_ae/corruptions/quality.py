"""Pictures with less in them: fewer colors, fewer pixels, fewer frequencies."""

import dataclasses

import keras
import numpy as np
from keras import ops

from keras_ae.core import memory
from keras_ae.core.types import Seed, Tensor
from keras_ae.corruptions.base import OfPictures, OfUnitRange, check_integer, read_images

# Weights of red, green and blue in brightness: ITU-R BT.601-7, section 2.5.1.
BRIGHTNESS = (0.299, 0.587, 0.114)

# The tables of ITU-T T.81, annex K.1: how coarsely each frequency of a block is rounded at quality
# 50, for brightness and for color.
_BRIGHTNESS_STEPS = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
_COLOR_STEPS = np.full((8, 8), 99)
_COLOR_STEPS[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]


@keras.saving.register_keras_serializable("keras_ae")
@dataclasses.dataclass(frozen=True)
class Gray(OfPictures):
    """Replaces the colors of every pixel by its brightness, in all three channels.

    A model that undoes this colors pictures. The weights of red, green and blue are 0.299, 0.587
    and 0.114, as in ITU-R BT.601.

    Example:
        >>> import numpy as np
        >>> red = np.zeros((1, 2, 2, 3), "float32") + np.array([1, 0, 0], "float32")
        >>> [round(float(v), 3) for v in Gray()(red, seed=0)[0, 0, 0]]
        [0.299, 0.299, 0.299]
    """

    @memory.explains("Pass fewer examples.")
    def __call__(self, x: Tensor, seed: Seed) -> Tensor:
        """Corrupt a batch.

        Args:
            x: Floating-point tensor of shape (batch, height, width, 3).
            seed: Integer or `keras.random.SeedGenerator`, which has no effect.

        Returns:
            Tensor of x's shape and dtype.

        Raises:
            ValueError: If x is not a batch of images in color, or not floating-point.
        """
        x, dtype = read_images(self, x)
        if x.shape[-1] != 3:
            raise ValueError(
                f"Gray: x has shape {tuple(x.shape)}, but only pictures of three channels have "
                "colors. Pass pictures of shape (batch, height, width, 3)."
            )
        gray = _find_brightness(ops.cast(x, "float32"))[..., None]
        return ops.cast(ops.repeat(gray, 3, axis=-1), dtype)


@keras.saving.register_keras_serializable("keras_ae")
@dataclasses.dataclass(frozen=True)
class Downsampling(OfPictures):
    """Replaces all pixels of each square block by their mean.

    A model that undoes this enlarges pictures. The small picture is
    `y[:, ::factor, ::factor]` of a corrupted picture y.

    Args:
        factor: Height and width of a block in pixels, an integer of 2 or more. Defaults to 2.

    Raises:
        ValueError: If the factor is out of range.

    Example:
        >>> import numpy as np
        >>> x = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
        >>> keras.ops.convert_to_numpy(Downsampling(factor=2)(x, seed=0)[0, ..., 0])[::2, ::2]
        array([[ 2.5,  4.5],
               [10.5, 12.5]], dtype=float32)
    """

    factor: int = 2

    def __post_init__(self):
        check_integer(self, "factor", least=2)

    @memory.explains("Pass fewer examples.")
    def __call__(self, x: Tensor, seed: Seed) -> Tensor:
        """Corrupt a batch.

        Args:
            x: Floating-point tensor of shape (batch, height, width, channels). Height and width
                are multiples of `factor`.
            seed: Integer or `keras.random.SeedGenerator`, which has no effect.

        Returns:
            Tensor of x's shape and dtype.

        Raises:
            ValueError: If x is not a batch of images of such sides, or not floating-point.
        """
        x, dtype = read_images(self, x)
        if any(side is not None and side % self.factor for side in x.shape[1:3]):
            raise ValueError(
                f"Downsampling: factor={self.factor} does not divide the sides of x of shape "
                f"{tuple(x.shape)}. Pass a factor that divides both, or crop the pictures."
            )
        small = _shrink(ops.cast(x, "float32"), self.factor)
        large = ops.repeat(ops.repeat(small, self.factor, axis=1), self.factor, axis=2)
        return ops.cast(large, dtype)


@keras.saving.register_keras_serializable("keras_ae")
@dataclasses.dataclass(frozen=True)
class JPEG(OfUnitRange):
    """Loses what a JPEG file of a given quality loses.

    Blocks of 8x8 pixels are turned into cosine waves, whose amplitudes are rounded. Colors are
    halved in size before that, as most programs do. The steps of rounding are those that libjpeg
    derives from its quality. Nothing else in a file loses anything, so that no file is written.

    Source: ITU-T T.81 (1992), annexes A.3.3, A.3.4 and K.1.

    Args:
        quality: Integer from 1 to 100. Defaults to 10.

    Raises:
        ValueError: If the quality is out of range.

    Example:
        >>> import numpy as np
        >>> from keras_ae import corruptions
        >>> x = np.random.default_rng(0).random((1, 16, 16, 3), "float32")
        >>> poor, good = (corruptions.pairs(x, JPEG(quality=q))[0] for q in (10, 90))
        >>> bool(abs(poor - x).mean() > abs(good - x).mean() > 0)
        True
    """

    quality: int = 10

    def __post_init__(self):
        check_integer(self, "quality", most=100)

    @memory.explains("Pass fewer examples.")
    def __call__(self, x: Tensor, seed: Seed) -> Tensor:
        """Corrupt a batch.

        Args:
            x: Floating-point tensor of shape (batch, height, width, channels), values in [0, 1].
                Three channels are a color, and of any other number each channel is gray.
            seed: Integer or `keras.random.SeedGenerator`, which has no effect.

        Returns:
            Tensor of x's shape and dtype, values in [0, 1].

        Raises:
            ValueError: If x is not a batch of images, or not floating-point.
        """
        x, dtype = read_images(self, x)
        height, width = ops.shape(x)[1:3]
        pixels = ops.round(255.0 * ops.cast(x, "float32"))
        # Sides of multiples of 16 have whole blocks of brightness, and of colors of half the size.
        pixels = ops.take(pixels, _repeat_last(height, 16), axis=1)
        pixels = ops.take(pixels, _repeat_last(width, 16), axis=2)
        if x.shape[-1] == 3:
            pixels = self._round_colors(pixels)
        else:
            steps = self._scale(_BRIGHTNESS_STEPS)
            channels = [_round_waves(gray - 128.0, steps) for gray in ops.unstack(pixels, axis=-1)]
            pixels = ops.stack(channels, axis=-1) + 128.0
        pixels = ops.round(ops.clip(pixels[:, :height, :width], 0.0, 255.0))
        return ops.cast(pixels / 255.0, dtype)

    def _round_colors(self, pixels):
        """Round the waves of brightness, and those of blue and red against it at half the size."""
        gray = _find_brightness(pixels)
        brightness = _round_waves(ops.round(gray) - 128.0, self._scale(_BRIGHTNESS_STEPS)) + 128.0
        colors = []
        for channel in (2, 0):
            # A difference from brightness is at most 255 times this, and is scaled to 127.5.
            most = 1.0 - BRIGHTNESS[channel]
            difference = ops.round((pixels[..., channel] - gray) / (2.0 * most))
            small = _shrink(difference[..., None], 2)[..., 0]
            small = _round_waves(ops.round(small), self._scale(_COLOR_STEPS))
            large = _double(ops.swapaxes(_double(small), 1, 2))
            colors.append(2.0 * most * ops.swapaxes(large, 1, 2))
        blue, red = colors
        # The weighted sum of the three channels is brightness, which leaves this for green.
        green = brightness - (BRIGHTNESS[0] * red + BRIGHTNESS[2] * blue) / BRIGHTNESS[1]
        return ops.stack([brightness + red, green, brightness + blue], axis=-1)

    def _scale(self, steps):
        """Return the steps of rounding at this quality, as libjpeg computes them."""
        percent = 5000 // self.quality if self.quality < 50 else 200 - 2 * self.quality
        return np.clip((steps * percent + 50) // 100, 1, 255).astype("float32")


def _find_brightness(colors):
    return sum(share * colors[..., n] for n, share in enumerate(BRIGHTNESS))


def _shrink(x, factor):
    """Return the means of blocks of pictures (batch, height, width, channels)."""
    _, height, width, channels = ops.shape(x)
    blocks = (-1, height // factor, factor, width // factor, factor, channels)
    return ops.mean(ops.reshape(x, blocks), axis=(2, 4))


def _double(gray):
    """Double the height of pictures (batch, height, width), with interpolation between rows."""
    before = ops.concatenate([gray[:, :1], gray[:, :-1]], axis=1)
    after = ops.concatenate([gray[:, 1:], gray[:, -1:]], axis=1)
    rows = ops.stack([0.75 * gray + 0.25 * before, 0.75 * gray + 0.25 * after], axis=2)
    return ops.reshape(rows, (-1, 2 * ops.shape(gray)[1], ops.shape(gray)[2]))


def _repeat_last(length, divisor):
    """Return the positions 0 to length - 1, and the last again until `divisor` divides them."""
    return ops.minimum(ops.arange(-(-length // divisor) * divisor), length - 1)


def _cosines():
    """Return the orthonormal cosine waves over 8 positions, one in each row: T.81, A.3.3."""
    frequencies, positions = np.mgrid[:8, :8]
    waves = np.cos((2 * positions + 1) * frequencies * np.pi / 16) / 2
    waves[0] /= np.sqrt(2)
    return waves.astype("float32")


def _round_waves(gray, steps):
    """Round the amplitudes of the waves in blocks of 8x8: gray of shape (batch, height, width)."""
    _, height, width = ops.shape(gray)
    waves, steps = ops.convert_to_tensor(_cosines()), ops.convert_to_tensor(steps)
    blocks = ops.reshape(gray, (-1, height // 8, 8, width // 8, 8))
    blocks = ops.transpose(blocks, (0, 1, 3, 2, 4))
    amplitudes = ops.matmul(ops.matmul(waves, blocks), ops.transpose(waves))
    amplitudes = ops.round(amplitudes / steps) * steps
    blocks = ops.matmul(ops.matmul(ops.transpose(waves), amplitudes), waves)
    return ops.reshape(ops.transpose(blocks, (0, 1, 3, 2, 4)), (-1, height, width))
