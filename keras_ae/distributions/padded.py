"""Sequences of several lengths in one array, whose padded steps do not count in the density."""

import dataclasses
from collections.abc import Callable
from typing import Any

from keras import ops

from keras_ae.core import memory
from keras_ae.core.types import Seed, Tensor


@memory.explains("Pass fewer examples.")
def counted(values: Tensor, mask_value: float) -> Tensor:
    """Tell which steps are not padding.

    Args:
        values: Tensor of shape (..., features).
        mask_value: Number that all features of a padded step equal.

    Returns:
        Boolean tensor of shape (...,).

    Example:
        >>> import numpy as np
        >>> [bool(v) for v in counted(np.array([[0.0, -1.0], [-1.0, -1.0]]), -1.0)]
        [True, False]
    """
    return ops.any(ops.not_equal(values, mask_value), axis=-1)


@memory.explains("Pass fewer examples.")
def without_padding(
    function: Callable[..., Tensor], target: Tensor, other: Tensor, mask_value: float
) -> Tensor:
    """Sum a function of two batches over the steps at which the first one is not padding.

    Args:
        function: Takes two tensors (steps, ...) and returns a number for each step, (steps,).
        target: Float32 tensor of shape (batch, ..., features).
        other: Tensor whose axes before the last one are the target's.
        mask_value: Number that all features of a padded step equal.

    Returns:
        Float32 tensor of shape (batch,).

    Example:
        >>> import numpy as np
        >>> x = np.array([[[1.0], [2.0], [-1.0]]], "float32")
        >>> float(without_padding(lambda x, y: x[:, 0] + y[:, 0], x, x + 1.0, -1.0)[0])
        8.0
    """
    number = 1
    for size in target.shape[1:-1]:
        number *= size
    steps = ops.reshape(target, (-1, target.shape[-1]))
    given = counted(steps, mask_value)
    # The padding value may lie outside the function's domain. 0 is valid data for all likelihoods
    # and losses.
    steps = ops.where(given[:, None], steps, 0.0)
    values = function(steps, ops.reshape(other, (-1, other.shape[-1])))
    values = ops.where(given, ops.cast(values, "float32"), 0.0)
    return ops.sum(ops.reshape(values, (-1, number)), axis=1)


@dataclasses.dataclass(frozen=True, eq=False)
class WithoutPadding:
    """A distribution of independent steps, whose log-density counts the steps that are not padding.

    The mean and the draws cover all steps, including padding.

    Args:
        make: Function from parameters (batch, ...) to a distribution.
        parameters: Tensor of shape (batch, ..., parameters of a step).
        mask_value: Number that all features of a padded step equal.

    Example:
        >>> import numpy as np
        >>> from keras_ae.distributions import Bernoulli
        >>> p = WithoutPadding(Bernoulli, np.zeros((1, 3, 1), "float32"), -1.0)
        >>> round(float(p.log_prob(np.array([[[1.0], [0.0], [-1.0]]]))[0]), 4)
        -1.3863
    """

    make: Callable[..., Any]
    parameters: Tensor
    mask_value: float

    @property
    def mean(self) -> Tensor:
        """The mean of every step, including padding."""
        return self.make(self.parameters).mean

    def sample(self, seed: Seed) -> Tensor:
        """Draw a sample of every step, including padding."""
        return self.make(self.parameters).sample(seed)

    def log_prob(self, x: Tensor) -> Tensor:
        """Compute the log-density, in nats, of the steps of x that are not padding.

        Args:
            x: Tensor of shape (batch, ..., features).

        Returns:
            Float32 tensor of shape (batch,).
        """

        def log_density(steps, parameters):
            return self.make(parameters).log_prob(steps)

        x = ops.cast(x, "float32")
        return without_padding(log_density, x, self.parameters, self.mask_value)
