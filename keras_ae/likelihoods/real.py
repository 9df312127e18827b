"""Likelihoods of real numbers with heavy tails, with limits, or with a scale for every example."""

from typing import Any

from keras import ops

from keras_ae import distributions
from keras_ae.core import arguments
from keras_ae.core.ranges import Support
from keras_ae.core.types import Tensor
from keras_ae.likelihoods.base import Likelihood
from keras_ae.likelihoods.bounds import bound
from keras_ae.likelihoods.elementary import LEAST_LOG_SCALE, MOST_LOG_SCALE, Gaussian


class HeteroscedasticGaussian(Likelihood):
    """A likelihood for real data with Gaussian noise, whose scale depends on the code.

    The decoder returns twice as many features as the data has: first the means, then the
    logarithms of the standard deviations, which are kept above e^-6.

    Example:

    >>> from keras_ae import VAE
    >>> model = VAE(latent_dim=2, likelihood="gaussian_heteroscedastic")
    """

    _noise = distributions.Normal

    def parameter_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:-1], 2 * shape[-1])

    def distribution(self, parameters: Tensor) -> Any:
        mean, log_scale = ops.split(ops.cast(parameters, "float32"), 2, axis=-1)
        scale = ops.exp(bound(log_scale, LEAST_LOG_SCALE, MOST_LOG_SCALE))
        return type(self)._noise(mean, scale)


class HeteroscedasticLaplace(HeteroscedasticGaussian):
    """A likelihood for real data with Laplace noise, whose scale depends on the code.

    The decoder returns twice as many features as the data has: first the means, then the
    logarithms of the mean absolute deviations, which are kept above e^-6.

    Example:

    >>> from keras_ae import VAE
    >>> model = VAE(latent_dim=2, likelihood="laplace_heteroscedastic")
    """

    _noise = distributions.Laplace


class StudentT(Gaussian):
    """A likelihood for real data with Student's t noise, in which outliers cost little.

    The decoder returns the location, which is the median.

    Args:
        scale: Scale of the noise, in the data's units: see `Gaussian`. With nu > 2 degrees of
            freedom, the standard deviation is sqrt(nu / (nu - 2)) times it. Defaults to 1.
        degrees_of_freedom: Positive number. The smaller, the heavier the tails. Defaults to 4.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> from keras_ae import VAE, likelihoods
    >>> model = VAE(latent_dim=2, likelihood=likelihoods.StudentT("learned", 3.0))
    """

    def __init__(self, scale: float | str = 1.0, degrees_of_freedom: float = 4.0, **kwargs: Any):
        super().__init__(scale, **kwargs)
        self.degrees_of_freedom = arguments.number(
            self, "degrees_of_freedom", degrees_of_freedom, positive=True
        )

    def distribution(self, parameters: Tensor) -> Any:
        return distributions.StudentT(parameters, self.noise_scale(), self.degrees_of_freedom)

    def get_config(self):
        return {**super().get_config(), "degrees_of_freedom": self.degrees_of_freedom}


# The mean of the logarithm stays below this bound, because data is below 1e18, whose logarithm is
# 41.4.
_MOST_LOCATION = 40.0


class LogNormal(Gaussian):
    """A likelihood for positive data, whose natural logarithm has Gaussian noise.

    The decoder returns the mean of the logarithm.

    Args:
        scale: Standard deviation of the logarithm, which has no units: see `Gaussian`. Defaults
            to 1.

    Example:

    >>> from keras_ae import VAE, likelihoods
    >>> model = VAE(latent_dim=2, likelihood=likelihoods.LogNormal(scale=0.5))
    """

    support = Support(0.0, float("inf"), is_open=True)
    wanted_output = "real numbers"

    def distribution(self, parameters: Tensor) -> Any:
        location = bound(parameters, -_MOST_LOCATION, _MOST_LOCATION)
        return distributions.LogNormal(location, self.noise_scale())


_MOST_LOGIT, _LEAST_LOG_CONCENTRATION, _MOST_LOG_CONCENTRATION = 12.0, -4.0, 12.0


class Beta(Likelihood):
    """A likelihood for data between 0 and 1, without the ends, with a beta distribution.

    The decoder returns twice as many features as the data has: first the logits of the mean m, then
    the logarithms of the concentration c. The variance is m (1 - m) / (1 + c).

    Example:

    >>> from keras_ae import VAE
    >>> model = VAE(latent_dim=2, likelihood="beta")
    """

    support = Support(0.0, 1.0, is_open=True)
    wanted_output = "real numbers"

    def parameter_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:-1], 2 * shape[-1])

    def distribution(self, parameters: Tensor) -> Any:
        logits, log_concentration = ops.split(ops.cast(parameters, "float32"), 2, axis=-1)
        return distributions.Beta(
            bound(logits, -_MOST_LOGIT, _MOST_LOGIT),
            bound(log_concentration, _LEAST_LOG_CONCENTRATION, _MOST_LOG_CONCENTRATION),
        )
