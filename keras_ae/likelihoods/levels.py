"""Likelihoods of data with a few ordered levels."""

import math
from typing import Any

from keras import ops

from keras_ae import distributions
from keras_ae.core import arguments
from keras_ae.core.ranges import Support
from keras_ae.core.types import Tensor
from keras_ae.likelihoods.base import Likelihood
from keras_ae.likelihoods.bounds import bound


class Ordinal(Likelihood):
    """A likelihood for one-hot data, whose last axis is two or more levels in their order.

    The decoder returns one number for each choice among the levels, in an axis of one in the place
    of the levels. The probability of a level above the k-th is the sigmoid of this number minus the
    k-th threshold. The distances of the thresholds are trained weights, which all choices share. As
    with `Categorical`, rows of zeros count as not observed.

    Source: the proportional odds of McCullagh, Regression models for ordinal data, 1980,
    doi:10.1111/j.2517-6161.1980.tb01109.x.

    Example:

    >>> from keras_ae import VAE
    >>> model = VAE(latent_dim=2, likelihood="ordinal")
    """

    support = (0.0, 1.0)
    wanted_output = "real numbers"
    takes_classes = True

    def build(self, input_shape=None):
        self._refuse_second_owner()
        self._num_distances = max(tuple(input_shape)[-1] - 2, 0)
        if self._num_distances:
            self.log_distances = self.add_weight(
                shape=(self._num_distances,),
                initializer="zeros",
                dtype="float32",
                name="log_distances",
            )

    def parameter_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:-1], 1)

    @property
    def thresholds(self) -> Tensor:
        """The thresholds between the levels, a float32 tensor of shape (levels - 1,)."""
        # The decoder's bias can move all of them, so that the first is fixed.
        first = ops.full((1,), -0.5 * self._num_distances, dtype="float32")
        return ops.concatenate([first, first + ops.cumsum(self._distances())])

    def _distances(self):
        if not self._num_distances:
            return ops.zeros((0,))
        return ops.exp(bound(ops.convert_to_tensor(self.log_distances), -8.0, 8.0))

    def distribution(self, parameters: Tensor) -> Any:
        """Make the distribution over the levels, a `keras_ae.distributions.Categorical`."""
        offsets = self.thresholds - ops.cast(parameters, "float32")  # (batch, ..., levels - 1)
        log_below, log_above = -ops.softplus(-offsets), -ops.softplus(offsets)
        # With s for the sigmoid, s(b) - s(a) = s(b) s(-a) (1 - e^(a - b)), in which no digits
        # cancel.
        log_gaps = ops.log(-ops.expm1(-self._distances()))
        inner = log_below[..., 1:] + log_above[..., :-1] + log_gaps
        log_probabilities = [log_below[..., :1], inner, log_above[..., -1:]]
        return distributions.Categorical(ops.concatenate(log_probabilities, axis=-1))


class DiscretizedLogisticMixture(Likelihood):
    """A likelihood for 8-bit data scaled to [0, 1], by mixtures of logistic distributions.

    `log_prob` is the log-probability, in nats, of the 256 values k / 255, not a density. The
    channels of a pixel are independent given the code. The decoder returns 3 `num_components`
    numbers for each channel: for each component its logit, its mean and the logarithm of its scale,
    these two in units in which the data reaches from -1 to 1.

    Source: Salimans et al., PixelCNN++, section 2.1, arXiv:1701.05517.

    Args:
        num_components: Number of components of each mixture. Defaults to 10.

    Raises:
        ValueError: If num_components is not a positive integer.

    Example:

    >>> from keras_ae import VAE, likelihoods
    >>> model = VAE(latent_dim=2, likelihood=likelihoods.DiscretizedLogisticMixture(5))
    """

    support = Support(0.0, 1.0, step=1.0 / 255.0)
    wanted_output = "real numbers"

    def __init__(self, num_components: int = 10, **kwargs: Any):
        super().__init__(**kwargs)
        self.num_components = arguments.integer(self, "num_components", num_components)

    def parameter_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:-1], 3 * self.num_components * shape[-1])

    def distribution(self, parameters: Tensor) -> Any:
        parameters = ops.cast(parameters, "float32")
        *places, width = parameters.shape[1:]
        channels = width // (3 * self.num_components)
        shape = (-1, *places, channels, 3 * self.num_components)
        parts = ops.split(ops.reshape(parameters, shape), 3, axis=-1)
        log_scales = bound(parts[2], -7.0, 7.0)  # The paper's lower bound.
        return distributions.DiscretizedLogisticMixture(
            parts[0], 0.5 + 0.5 * parts[1], log_scales - math.log(2.0)
        )

    def get_config(self):
        return {**super().get_config(), "num_components": self.num_components}
