"""Distributions of real numbers with heavy tails, or with limits; all with independent elements."""

import dataclasses
import math

import keras
from keras import ops

from keras_ae.core.draws import draw_normal, draw_uniform
from keras_ae.core.types import Seed, Tensor
from keras_ae.distributions.counts import as_generator
from keras_ae.distributions.elementary import (
    LOG_TWO_PI,
    SMALLEST,
    Distribution,
    Normal,
    reciprocal_and_log,
)
from keras_ae.distributions.gamma_function import stirling_error

_LARGEST_BELOW_ONE = 1.0 - 2.0**-24  # In float32.
_MOST_EXPONENT = 80.0  # Its exponential is a float32.
_MOST_DISTANCE = 1e18  # Its square is a float32.


@dataclasses.dataclass(frozen=True, eq=False)
class StudentT(Distribution):
    """Student's t distribution, whose tails are so heavy that outliers cost little.

    Args:
        location: Tensor of shape (batch, ...): the median, and with more than one degree of freedom
            the mean.
        scale: Positive; a number, or a tensor that broadcasts to the location. With nu > 2 degrees
            of freedom, the standard deviation is sqrt(nu / (nu - 2)) times it.
        degrees_of_freedom: Positive; a number, or a tensor that broadcasts to the location.

    Example:
        >>> import numpy as np
        >>> p = StudentT(np.zeros((1, 1)), 1.0, 1.0)  # the Cauchy distribution
        >>> round(float(p.log_prob(np.zeros((1, 1)))[0]), 4)  # -log(pi)
        -1.1447
    """

    _shared = ("scale", "degrees_of_freedom")

    location: Tensor
    scale: float | Tensor
    degrees_of_freedom: float | Tensor

    @property
    def mean(self) -> Tensor:
        """The location: float32 tensor."""
        return self.location

    def sample(self, seed: Seed) -> Tensor:
        """Draw samples that are differentiable with respect to location and scale.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensor of the location's shape.
        """
        seed, shape = as_generator(seed), ops.shape(self.location)
        half = 0.5 * self.degrees_of_freedom + ops.zeros_like(self.location)
        noise = draw_normal(shape, seed)
        gamma = keras.random.gamma(shape, half, dtype="float32", seed=seed)
        gamma = ops.stop_gradient(ops.maximum(gamma, SMALLEST))
        return self.location + self.scale * noise * ops.sqrt(half / gamma)

    def log_prob_per_element(self, x: Tensor) -> Tensor:
        """Compute the log-density of every element in nats: see `log_prob`.

        Args:
            x: Tensor of the location's shape.

        Returns:
            Float32 tensor of the same shape.
        """
        reciprocal, log_scale = reciprocal_and_log(self.scale)
        distance = (self._event(x, self.location) - self.location) * reciprocal
        square = ops.square(ops.clip(distance, -_MOST_DISTANCE, _MOST_DISTANCE))
        nu = self.degrees_of_freedom
        half = 0.5 * nu
        # This is log Gamma(half + 1/2) - log Gamma(half) - log(nu pi) / 2.
        constant = half * ops.log1p(0.5 / half) - 0.5 - 0.5 * LOG_TWO_PI
        constant = constant + stirling_error(half + 0.5) - stirling_error(half)
        return constant - log_scale - 0.5 * (nu + 1.0) * ops.log1p(square / nu)


@dataclasses.dataclass(frozen=True, eq=False)
class LogNormal(Distribution):
    """Positive numbers whose natural logarithm has a Gaussian distribution.

    Args:
        location: Tensor of shape (batch, ...): the mean of the logarithm.
        scale: Standard deviation of the logarithm, positive; a number, or a tensor that broadcasts
            to the location.

    Example:
        >>> import numpy as np
        >>> p = LogNormal(np.zeros((1, 1)), 1.0)
        >>> round(float(p.mean[0, 0]), 4), round(float(p.log_prob(np.ones((1, 1)))[0]), 4)
        (1.6487, -0.9189)
    """

    _shared = ("scale",)

    location: Tensor
    scale: float | Tensor

    @property
    def mean(self) -> Tensor:
        """The expected value, e^(location + scale^2 / 2), and e^80 where it is larger."""
        exponent = self.location + 0.5 * ops.square(self.scale)
        return ops.exp(ops.minimum(exponent, _MOST_EXPONENT))

    def sample(self, seed: Seed) -> Tensor:
        """Draw samples that are differentiable with respect to both parameters.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensor of the location's shape.
        """
        draws = self._of_logarithm().sample(seed)
        return ops.exp(ops.clip(draws, -_MOST_EXPONENT, _MOST_EXPONENT))

    def log_prob_per_element(self, x: Tensor) -> Tensor:
        """Compute the log-density of every element in nats: see `log_prob`.

        Args:
            x: Tensor of the location's shape.

        Returns:
            Float32 tensor of the same shape, minus infinity where x is not positive.
        """
        x = self._event(x, self.location)
        is_positive = x > 0.0
        log_x = ops.log(ops.maximum(ops.where(is_positive, x, 1.0), SMALLEST))
        density = self._of_logarithm().log_prob_per_element(log_x) - log_x
        return ops.where(is_positive, density, -math.inf)

    def _of_logarithm(self):
        return Normal(self.location, self.scale)


@dataclasses.dataclass(frozen=True, eq=False)
class Beta(Distribution):
    """The beta distribution of numbers between 0 and 1, by its mean m and its concentration c.

    The usual parameters are alpha = m c and beta = (1 - m) c, and the variance is
    m (1 - m) / (1 + c).

    Args:
        logits: Tensor of shape (batch, ...): log(m / (1 - m)), from -15 to 15.
        log_concentration: log c, from -5 to 15; a number, or a tensor that broadcasts to the
            logits.

    Example:
        >>> import numpy as np
        >>> uniform = Beta(np.zeros((1, 1)), np.log(2.0))
        >>> abs(round(float(uniform.log_prob(np.full((1, 1), 0.3))[0]), 4))
        0.0
    """

    _shared = ("log_concentration",)

    logits: Tensor
    log_concentration: float | Tensor

    @property
    def mean(self) -> Tensor:
        """The expected value m: float32 tensor of the logits' shape."""
        return ops.sigmoid(self.logits)

    def _log_means(self):
        return -ops.softplus(-self.logits), -ops.softplus(self.logits)

    def sample(self, seed: Seed) -> Tensor:
        """Draw numbers between 0 and 1. No gradient flows through them.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensor of the logits' shape.
        """
        seed, shape = as_generator(seed), ops.shape(self.logits)
        # If G is a gamma variable of shape a + 1 and U is uniform, G U^(1 / a) is one of shape a.
        # Its logarithm does not underflow where a is small.
        logs = []
        for log_mean in self._log_means():
            a = ops.exp(log_mean + self.log_concentration)
            gamma = keras.random.gamma(shape, a + 1.0, dtype="float32", seed=seed)
            uniform = draw_uniform(shape, seed, 2.0**-24, 1.0)
            logs.append(ops.log(ops.maximum(gamma, SMALLEST)) + ops.log(uniform) / a)
        draws = ops.sigmoid(logs[0] - logs[1])
        return ops.stop_gradient(ops.clip(draws, SMALLEST, _LARGEST_BELOW_ONE))

    def log_prob_per_element(self, x: Tensor) -> Tensor:
        """Compute the log-density of every element in nats: see `log_prob`.

        Args:
            x: Tensor of the logits' shape.

        Returns:
            Float32 tensor of the same shape, minus infinity where x is not between 0 and 1.
        """
        x = self._event(x, self.logits)
        is_inside = (x > 0.0) & (x < 1.0)
        x = ops.maximum(ops.where(is_inside, x, 0.5), SMALLEST)
        # The gamma functions of large numbers almost cancel. What is left of them is arranged as a
        # divergence of x from the mean, and the errors of the series of Stirling.
        concentration = ops.exp(self.log_concentration)
        found = stirling_error(concentration) - 0.5 * (self.log_concentration + LOG_TWO_PI)
        for log_x, log_mean in zip((ops.log(x), ops.log1p(-x)), self._log_means(), strict=True):
            log_a = log_mean + self.log_concentration
            a = ops.exp(log_a)
            found = found + a * (log_x - log_mean) - log_x + 0.5 * log_a - stirling_error(a)
        return ops.where(is_inside, found, -math.inf)
