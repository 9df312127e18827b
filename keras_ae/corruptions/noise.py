"""Noise in each value by itself."""

import dataclasses

import keras
from keras import ops

from keras_ae.core import memory
from keras_ae.core.types import Seed, Tensor
from keras_ae.corruptions.base import Corruption, check_number, draw_noise, draw_uniform


@keras.saving.register_keras_serializable("keras_ae")
@dataclasses.dataclass(frozen=True)
class AdditiveGaussian(Corruption):
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
        check_number(self, "scale")

    @memory.explains("Pass fewer examples.")
    def __call__(self, x: Tensor, seed: Seed) -> Tensor:
        """Corrupt a batch.

        Args:
            x: Floating-point tensor of shape (batch, ...).
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Tensor of x's shape and dtype.

        Raises:
            ValueError: If x is not floating-point.
        """
        values, noise, dtype = draw_noise(self, x, seed)
        return ops.cast(values + self.scale * noise, dtype)


@keras.saving.register_keras_serializable("keras_ae")
@dataclasses.dataclass(frozen=True)
class Masking(Corruption):
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
        check_number(self, "rate", most=1)

    @memory.explains("Pass fewer examples.")
    def __call__(self, x: Tensor, seed: Seed) -> Tensor:
        """Corrupt a batch.

        Args:
            x: Tensor of shape (batch, ...).
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Tensor of x's shape and dtype.
        """
        x = ops.convert_to_tensor(x)
        return ops.where(draw_uniform(x, seed) < self.rate, ops.zeros_like(x), x)


@keras.saving.register_keras_serializable("keras_ae")
@dataclasses.dataclass(frozen=True)
class SaltAndPepper(Corruption):
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
        check_number(self, "rate", most=1)

    @memory.explains("Pass fewer examples.")
    def __call__(self, x: Tensor, seed: Seed) -> Tensor:
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
        uniform = draw_uniform(x, seed)
        set_to_one = ops.where(uniform < self.rate, ops.ones_like(x), x)
        return ops.where(uniform < 0.5 * self.rate, ops.zeros_like(x), set_to_one)


@keras.saving.register_keras_serializable("keras_ae")
@dataclasses.dataclass(frozen=True)
class Speckle(Corruption):
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
        check_number(self, "scale")

    @memory.explains("Pass fewer examples.")
    def __call__(self, x: Tensor, seed: Seed) -> Tensor:
        """Corrupt a batch.

        Args:
            x: Floating-point tensor of shape (batch, ...).
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Tensor of x's shape and dtype.

        Raises:
            ValueError: If x is not floating-point.
        """
        values, noise, dtype = draw_noise(self, x, seed)
        return ops.cast(values + values * self.scale * noise, dtype)
