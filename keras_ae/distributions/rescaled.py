"""Standardized data whose densities are those of the data before it was standardized."""

import dataclasses
from typing import Any

from keras_ae.core.types import Seed, Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Rescaled:
    """A distribution of standardized data, with densities in the units of the data itself.

    If u = (x - mean) / deviation, then log p(x) is log p(u) minus the sum of log deviation.

    Args:
        base: Distribution of u.
        log_volume: The sum of log deviation over the elements of an example, a number or scalar
            tensor.

    Example:
        >>> import math
        >>> import numpy as np
        >>> from keras_ae.distributions import Normal
        >>> p = Rescaled(Normal(np.zeros((1, 1)), 1.0), math.log(2.0))  # Normal(0, 2) of x
        >>> round(float(p.log_prob(np.ones((1, 1)))[0]), 4)
        -2.1121
    """

    base: Any
    log_volume: float | Tensor

    @property
    def mean(self) -> Tensor:
        """The mean of the standardized data."""
        return self.base.mean

    def sample(self, seed: Seed) -> Tensor:
        """Draw standardized data."""
        return self.base.sample(seed)

    def log_prob(self, u: Tensor) -> Tensor:
        """Compute the log-density, in nats, of the data that standardized data u stands for.

        Args:
            u: Tensor of shape (batch, ...).

        Returns:
            Float32 tensor of shape (batch,).
        """
        return self.base.log_prob(u) - self.log_volume

    def log_prob_per_element(self, u: Tensor) -> Tensor:
        """Compute the log-density of every element of the standardized data, in nats.

        In other units, each would differ by a constant.

        Args:
            u: Tensor of shape (batch, ...).

        Returns:
            Float32 tensor of the same shape.
        """
        return self.base.log_prob_per_element(u)
