"""Distributions of counts: 0, 1, 2 and so on, with independent elements.

Means are given by their logarithms, so that no density overflows where a mean would. The densities
are arranged as by Loader, Fast and accurate computation of binomial probabilities (2000): the large
terms that cancel are never computed.
"""

import dataclasses
import numbers

import keras
from keras import ops

from keras_ae.core.draws import draw_poisson, draw_uniform
from keras_ae.core.seeds import SeedGenerator
from keras_ae.core.types import Seed, Tensor
from keras_ae.distributions.elementary import LOG_TWO_PI, Distribution
from keras_ae.distributions.gamma_function import stirling_error


@dataclasses.dataclass(frozen=True, eq=False)
class Poisson(Distribution):
    """Counts whose variance is their mean.

    Args:
        log_mean: Tensor of shape (batch, ...): the natural logarithm of the mean, at most 80.

    Example:
        >>> import numpy as np
        >>> p = Poisson(np.log([[2.0, 0.5]]))
        >>> round(float(p.log_prob(np.array([[1.0, 0.0]]))[0]), 4)  # log(2 e^-2) - 0.5
        -1.8069
    """

    log_mean: Tensor

    @property
    def mean(self) -> Tensor:
        """The expected count: float32 tensor of the logarithm's shape."""
        return ops.exp(self.log_mean)

    def sample(self, seed: Seed) -> Tensor:
        """Draw counts. No gradient flows through them.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensor of the logarithm's shape. A mean above 1e9 counts as 1e9.
        """
        return draw_poisson(self.mean, seed)

    def log_prob_per_element(self, x: Tensor) -> Tensor:
        """Compute the log-probability of every element in nats: see `log_prob`.

        Args:
            x: Tensor of the logarithm's shape, integers of at least 0.

        Returns:
            Float32 tensor of the same shape.
        """
        x = self._event(x, self.log_mean)
        is_zero, count = _split_at_zero(x)
        log_count = ops.log(count)
        ratio = self.log_mean - log_count
        peak = 0.5 * (log_count + LOG_TWO_PI) + stirling_error(count)
        return ops.where(is_zero, -self.mean, count * (ratio - ops.expm1(ratio)) - peak)


@dataclasses.dataclass(frozen=True, eq=False)
class NegativeBinomial(Distribution):
    """Counts whose variance is larger than their mean m, namely m + m^2 / theta.

    It is a Poisson distribution whose mean is drawn from a gamma distribution of mean m and shape
    theta, the inverse dispersion. As theta grows, it becomes a Poisson distribution.

    Args:
        log_mean: Tensor of shape (batch, ...): log m, at most 80.
        log_inverse_dispersion: log theta, from -20 to 20; a number, or a tensor that broadcasts to
            the mean.

    Example:
        >>> import numpy as np
        >>> p = NegativeBinomial(np.log([[2.0]]), np.log([1.0]))  # geometric, with mean 2
        >>> round(float(p.log_prob(np.array([[1.0]]))[0]), 4)  # log(1/3 * 2/3)
        -1.5041
    """

    _shared = ("log_inverse_dispersion",)

    log_mean: Tensor
    log_inverse_dispersion: float | Tensor

    @property
    def mean(self) -> Tensor:
        """The expected count: float32 tensor of the shape of its logarithm."""
        return ops.exp(self.log_mean)

    def sample(self, seed: Seed) -> Tensor:
        """Draw counts. No gradient flows through them.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensor of the mean's shape.
        """
        seed = as_generator(seed)
        shape = ops.shape(self.log_mean)
        theta = ops.exp(self.log_inverse_dispersion) + ops.zeros_like(self.log_mean)
        draws = keras.random.gamma(shape, theta, dtype="float32", seed=seed)
        return draw_poisson(draws * ops.exp(self.log_mean) / theta, seed)

    def log_prob_of_zero(self) -> Tensor:
        """Compute the log-probability of the count 0: float32 tensor of the mean's shape."""
        log_ratio = self.log_mean - self.log_inverse_dispersion
        return -ops.exp(self.log_inverse_dispersion) * ops.softplus(log_ratio)

    def log_prob_per_element(self, x: Tensor) -> Tensor:
        """Compute the log-probability of every element in nats: see `log_prob`.

        Args:
            x: Tensor of the mean's shape, integers of at least 0.

        Returns:
            Float32 tensor of the same shape.
        """
        x = self._event(x, self.log_mean)
        is_zero, count = _split_at_zero(x)
        log_theta = self.log_inverse_dispersion
        theta, log_count = ops.exp(log_theta), ops.log(count)
        total, log_total = theta + count, ops.log(theta + count)
        log_expected = _log_add(self.log_mean, log_theta)
        # The logarithm of (theta + x) / (theta + m), which has its digits where that is near 1.
        difference = self.log_mean - log_count
        relative = -count * ops.expm1(difference) * ops.exp(-log_expected)
        is_near = ops.abs(relative) < 0.5
        near = ops.log1p(ops.where(is_near, relative, 0.0))
        log_ratio = ops.where(is_near, near, log_total - log_expected)
        # Two ways to write one number. In the first, large terms cancel where theta is large, and
        # in the second where it is small.
        of_small = ops.log1p(theta / count) - ops.softplus(log_theta - self.log_mean)
        of_small = theta * log_ratio + count * of_small
        of_large = total * log_ratio + count * difference
        distance = ops.where(theta < count, of_small, of_large)
        peak = 0.5 * (log_theta - log_total - log_count - LOG_TWO_PI)
        peak = peak + stirling_error(total) - stirling_error(theta) - stirling_error(count)
        return ops.where(is_zero, self.log_prob_of_zero(), distance + peak)


@dataclasses.dataclass(frozen=True, eq=False)
class ZeroInflatedNegativeBinomial(Distribution):
    """Counts that are 0 with some probability, and else have a negative binomial distribution.

    Source: Lopez et al., Deep generative modeling for single-cell transcriptomics, Nature Methods
    2018, doi:10.1038/s41592-018-0229-2.

    Args:
        log_mean, log_inverse_dispersion: As of `NegativeBinomial`, for the counts that are not set
            to 0.
        zero_logits: Tensor of the shape of log_mean: log(p / (1 - p)) of the probability p that a
            count is set to 0.

    Example:
        >>> import numpy as np
        >>> p = ZeroInflatedNegativeBinomial(np.log([[2.0]]), 0.0, np.zeros((1, 1)))
        >>> round(float(p.log_prob(np.zeros((1, 1)))[0]), 4)  # log(1/2 + 1/2 * 1/3)
        -0.4055
        >>> round(float(p.mean[0, 0]), 4)
        1.0
    """

    _shared = ("log_inverse_dispersion",)

    log_mean: Tensor
    log_inverse_dispersion: float | Tensor
    zero_logits: Tensor

    @property
    def mean(self) -> Tensor:
        """The expected count, zeros included: float32 tensor of the shape of its logarithm."""
        return ops.sigmoid(-self.zero_logits) * ops.exp(self.log_mean)

    def sample(self, seed: Seed) -> Tensor:
        """Draw counts. No gradient flows through them.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensor of the mean's shape.
        """
        seed = as_generator(seed)
        counts = self._inflated().sample(seed)
        uniform = draw_uniform(ops.shape(self.zero_logits), seed)
        return ops.where(uniform < ops.sigmoid(self.zero_logits), 0.0, counts)

    def log_prob_per_element(self, x: Tensor) -> Tensor:
        """Compute the log-probability of every element in nats: see `log_prob`.

        Args:
            x: Tensor of the mean's shape, integers of at least 0.

        Returns:
            Float32 tensor of the same shape.
        """
        x, base = self._event(x, self.log_mean), self._inflated()
        is_zero, count = _split_at_zero(x)
        of_zero = _log_add(self.zero_logits, base.log_prob_of_zero())
        found = ops.where(is_zero, of_zero, base.log_prob_per_element(count))
        return found - ops.softplus(self.zero_logits)

    def _inflated(self):
        return NegativeBinomial(self.log_mean, self.log_inverse_dispersion)


def as_generator(seed):
    """Return a generator for a seed from which more than one draw is made.

    The same integer for two draws would make one depend on the other.
    """
    return SeedGenerator(int(seed)) if isinstance(seed, numbers.Integral) else seed


def _split_at_zero(x):
    """Tell which counts are 0, and return the counts with 1 in the place of 0.

    Through `where`, the branch that is not taken contributes 0 times its gradient, which must not
    be infinite.
    """
    is_zero = x < 0.5
    return is_zero, ops.where(is_zero, 1.0, x)


def _log_add(a, b):
    """Compute log(e^a + e^b). Where a equals b, Keras' own has a wrong gradient on TensorFlow."""
    return ops.where(a > b, a + ops.softplus(b - a), b + ops.softplus(a - b))
