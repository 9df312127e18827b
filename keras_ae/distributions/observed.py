"""Data with missing entries, which are NaN and do not count in the density."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from keras import ops

from keras_ae.core.types import Seed, Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Observed:
    """A distribution of independent elements, whose log-density counts those that are not NaN.

    The mean and the draws cover all elements.

    Args:
        make: Function from parameters, a tensor with one number for each element, to a
            distribution.
        parameters: Tensor of the data's shape, (batch, ...).
        log_scale: Subtracted from the log-density of every observed element: a number, or a tensor
            that broadcasts to the data, such as the logarithms of the deviations of standardized
            features. Defaults to 0.

    Example:
        >>> import numpy as np
        >>> from keras_ae.distributions import Bernoulli
        >>> p = Observed(Bernoulli, np.zeros((1, 3), "float32"))
        >>> round(float(p.log_prob(np.array([[1.0, 0.0, np.nan]]))[0]), 4)
        -1.3863
    """

    make: Callable[..., Any]
    parameters: Tensor
    log_scale: float | Tensor = 0.0

    @property
    def mean(self) -> Tensor:
        """The mean of every element, observed or not."""
        return self.make(self.parameters).mean

    def sample(self, seed: Seed) -> Tensor:
        """Draw a sample of every element, observed or not."""
        return self.make(self.parameters).sample(seed)

    def log_prob(self, x: Tensor) -> Tensor:
        """Compute the log-density, in nats, of the elements of x that are not NaN.

        Args:
            x: Tensor of the parameters' shape.

        Returns:
            Float32 tensor of shape (batch,).
        """
        x = ops.cast(x, "float32")
        missing = ops.isnan(x)
        # 0 is valid data for all likelihoods. Each element is an example of its own here.
        filled = ops.reshape(ops.where(missing, 0.0, x), (-1, 1))
        values = self.make(ops.reshape(self.parameters, (-1, 1))).log_prob(filled)
        values = ops.reshape(values, (-1, *x.shape[1:])) - self.log_scale
        values = ops.where(missing, 0.0, values)
        return ops.sum(ops.reshape(values, (-1, math.prod(x.shape[1:]))), axis=1)
