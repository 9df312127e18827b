"""Corruptions for denoising autoencoders: noise that is added to the input but not to the target.

The idea, masking noise and salt-and-pepper noise are from Vincent et al., Stacked Denoising
Autoencoders, JMLR 11 (2010), section 3.3, https://jmlr.org/papers/v11/vincent10a.html.
"""

import dataclasses
import math

import keras
from keras import ops

from keras_ae.core import arguments, memory


class _Corruption:
    """Base class that gives a frozen dataclass the methods of Keras' configurations."""

    def get_config(self):
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@keras.saving.register_keras_serializable("keras_ae")
@dataclasses.dataclass(frozen=True)
class AdditiveGaussian(_Corruption):
    """Adds independent Gaussian noise. Values may leave their range.

    Args:
        scale: Standard deviation of the noise, in the units of x; at least 0. Defaults to 0.3.

    Raises:
        ValueError: If `scale` is out of range.

    Example:
        >>> import numpy as np
        >>> AdditiveGaussian(scale=0.1)(np.zeros((4, 8), "float32"), seed=0).shape == (4, 8)
        True
    """

    scale: float = 0.3

    def __post_init__(self):
        _check_number(self, "scale")

    @memory.explains("Pass fewer examples.")
    def __call__(self, x, seed):
        """Corrupt a batch.

        Args:
            x: Floating-point tensor of shape (batch, ...).
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Tensor of x's shape and dtype.

        Raises:
            ValueError: If x is not floating-point.
        """
        values, noise, dtype = _draw_noise(self, x, seed)
        return ops.cast(values + self.scale * noise, dtype)


@keras.saving.register_keras_serializable("keras_ae")
@dataclasses.dataclass(frozen=True)
class Masking(_Corruption):
    """Sets each value to 0 with a given probability, independently of the others.

    Args:
        rate: Probability of being set to 0, in [0, 1]. Defaults to 0.5.

    Raises:
        ValueError: If `rate` is out of range.

    Example:
        >>> import numpy as np
        >>> float(Masking(rate=1.0)(np.ones((4, 8), "float32"), seed=0)[0, 0])
        0.0
    """

    rate: float = 0.5

    def __post_init__(self):
        _check_number(self, "rate", most=1)

    @memory.explains("Pass fewer examples.")
    def __call__(self, x, seed):
        """Corrupt a batch.

        Args:
            x: Tensor of shape (batch, ...).
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Tensor of x's shape and dtype.
        """
        x = ops.convert_to_tensor(x)
        return ops.where(_draw_uniform(x, seed) < self.rate, ops.zeros_like(x), x)


@keras.saving.register_keras_serializable("keras_ae")
@dataclasses.dataclass(frozen=True)
class SaltAndPepper(_Corruption):
    """Replaces each value with a given probability by 0 or 1, which are equally likely.

    Args:
        rate: Probability of being replaced, in [0, 1]. Defaults to 0.3.

    Raises:
        ValueError: If `rate` is out of range.

    Example:
        >>> import numpy as np
        >>> noisy = SaltAndPepper(rate=1.0)(np.full((4, 8), 0.5, "float32"), seed=0)
        >>> float(noisy[0, 0]) in (0.0, 1.0)
        True
    """

    rate: float = 0.3

    def __post_init__(self):
        _check_number(self, "rate", most=1)

    @memory.explains("Pass fewer examples.")
    def __call__(self, x, seed):
        """Corrupt a batch.

        Args:
            x: Tensor of shape (batch, ...), values in [0, 1].
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Tensor of x's shape and dtype.
        """
        x = ops.convert_to_tensor(x)
        # One draw decides both questions: a value becomes 0 if the draw is below half the rate, and
        # 1 if it is between half the rate and the rate.
        uniform = _draw_uniform(x, seed)
        set_to_one = ops.where(uniform < self.rate, ops.ones_like(x), x)
        return ops.where(uniform < 0.5 * self.rate, ops.zeros_like(x), set_to_one)


@keras.saving.register_keras_serializable("keras_ae")
@dataclasses.dataclass(frozen=True)
class Speckle(_Corruption):
    """Adds Gaussian noise in proportion to the value, x + x * noise, so that 0 stays 0.

    Args:
        scale: Standard deviation of the noise relative to the value, at least 0. Defaults to 0.3.

    Raises:
        ValueError: If `scale` is out of range.

    Example:
        >>> import numpy as np
        >>> float(Speckle(scale=0.5)(np.zeros((4, 8), "float32"), seed=0)[0, 0])
        0.0
    """

    scale: float = 0.3

    def __post_init__(self):
        _check_number(self, "scale")

    @memory.explains("Pass fewer examples.")
    def __call__(self, x, seed):
        """Corrupt a batch.

        Args:
            x: Floating-point tensor of shape (batch, ...).
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Tensor of x's shape and dtype.

        Raises:
            ValueError: If x is not floating-point.
        """
        values, noise, dtype = _draw_noise(self, x, seed)
        return ops.cast(values + values * self.scale * noise, dtype)


@keras.saving.register_keras_serializable("keras_ae")
@dataclasses.dataclass(frozen=True)
class Blocks(_Corruption):
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
        _check_integer(self, "size")
        _check_integer(self, "num_blocks")

    @memory.explains("Pass fewer examples.")
    def __call__(self, x, seed):
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
        _check_images(self, shape)
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
class Affine(_Corruption):
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
            _check_number(self, field.name)

    @memory.explains("Pass fewer examples.")
    def __call__(self, x, seed):
        """Corrupt a batch.

        Args:
            x: Floating-point tensor of shape (batch, height, width, channels).
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Tensor of x's shape and dtype.

        Raises:
            ValueError: If x is not a batch of images, or not floating-point.
        """
        x = ops.convert_to_tensor(x)
        dtype = _check_float_dtype(self, x)
        _check_images(self, tuple(x.shape))
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


_BY_NAME = {
    "gaussian": AdditiveGaussian,
    "masking": Masking,
    "salt_and_pepper": SaltAndPepper,
    "speckle": Speckle,
    "blocks": Blocks,
    "affine": Affine,
}


def get(identifier):
    """Find a corruption by its name. A callable is returned as it is.

    Args:
        identifier: "gaussian", "masking", "salt_and_pepper", "speckle", "blocks" or "affine",
            which have the defaults of their classes; an object of this module; or any callable of
            (x, seed) that returns a tensor of x's shape and dtype.

    Returns:
        A callable of (x, seed).

    Raises:
        ValueError: If the name is unknown, or the identifier is neither a name nor such a callable.

    Example:
        >>> get("masking")
        Masking(rate=0.5)
    """
    names = ", ".join(repr(name) for name in _BY_NAME)
    if isinstance(identifier, str):
        if identifier in _BY_NAME:
            return _BY_NAME[identifier]()
        hint = arguments.did_you_mean(identifier, _BY_NAME)
        raise ValueError(
            f"corruptions.get: identifier={arguments.show(identifier)} is unknown.{hint} "
            f"Pass one of {names}."
        )
    # A class is callable, too, but a call with (x, seed) would make an instance of it.
    if not callable(identifier) or isinstance(identifier, type):
        raise ValueError(
            f"corruptions.get: identifier={arguments.show(identifier)} is not a corruption. "
            f"Pass one of {names}, "
            "an object such as corruptions.Masking(rate=0.5), or a function of (x, seed)."
        )
    return identifier


def _draw_uniform(x, seed):
    return keras.random.uniform(ops.shape(x), dtype="float32", seed=seed)


def _draw_noise(corruption, x, seed):
    """Return x and standard normal noise of its shape, both in float32, and the dtype of x."""
    x = ops.convert_to_tensor(x)
    dtype = _check_float_dtype(corruption, x)
    noise = keras.random.normal(ops.shape(x), dtype="float32", seed=seed)
    return ops.cast(x, "float32"), noise, dtype


def _check_float_dtype(corruption, x):
    dtype = keras.backend.standardize_dtype(x.dtype)
    if not keras.backend.is_float_dtype(dtype):
        raise ValueError(
            f"{type(corruption).__name__}: x has dtype {dtype}, which cannot hold the result. "
            "Pass floating-point data, such as x.astype('float32') / 255 for images."
        )
    return dtype


def _check_images(corruption, shape):
    if len(shape) != 4:
        raise ValueError(
            f"{type(corruption).__name__}: x has shape {shape}, but must be images of shape "
            "(batch, height, width, channels). Pass such a tensor, or use Masking."
        )


def _check_number(corruption, name, most=None):
    value = arguments.number(corruption, name, getattr(corruption, name), most=most)
    object.__setattr__(corruption, name, float(value))  # The dataclass is frozen.


def _check_integer(corruption, name):
    value = arguments.integer(corruption, name, getattr(corruption, name))
    object.__setattr__(corruption, name, value)
