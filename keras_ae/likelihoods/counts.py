"""Likelihoods of counts: 0, 1, 2 and so on, of purchases, words or molecules."""

import math
from typing import Any

from keras import ops

from keras_ae import distributions
from keras_ae.core.ranges import Support
from keras_ae.core.types import Tensor
from keras_ae.likelihoods.base import Likelihood
from keras_ae.likelihoods.bounds import bound

# The logarithm of the inverse dispersion stays between these bounds. At the lower one, the variance
# is about a million times the squared mean. At the upper one, it is the mean, unless the mean is
# more than a million.
_LEAST_LOG, _MOST_LOG = -15.0, 15.0


class Poisson(Likelihood):
    """A likelihood for counts, whose variance is their mean.

    The mean is the softplus of what the decoder returns. Where something is known that scales all
    counts of an example, such as the number of words of a document, `distribution` takes this
    library size, too: the mean is the library size times the softmax, over the example, of what the
    decoder returns. `keras_ae.CountVAE` does so.

    Example:

    >>> from keras_ae import VAE
    >>> model = VAE(latent_dim=2, likelihood="poisson")
    """

    support = Support(0.0, float("inf"), step=1.0)
    wanted_output = "real numbers"

    def distribution(self, parameters: Tensor, library: Tensor | None = None) -> Any:
        """Make the distribution of counts.

        Args:
            parameters: What the decoder returned, shape (batch, ...).
            library: Sum of the means of each example, a tensor of shape (batch,) of numbers of at
                least 0. Defaults to None, no library size.
        """
        return distributions.Poisson(_find_log_mean(parameters, library))


class NegativeBinomial(Poisson):
    """A likelihood for counts with a larger variance than their mean m, namely m + m^2 / theta.

    The decoder returns what it does for `Poisson`. The inverse dispersion theta of each feature,
    the last axis, is a weight that is trained. As it grows, the likelihood becomes that of
    `Poisson`.

    Example:

    >>> from keras_ae import VAE
    >>> model = VAE(latent_dim=2, likelihood="negative_binomial")
    """

    def build(self, input_shape=None):
        self._refuse_second_owner()
        self.log_inverse_dispersion = self.add_weight(
            shape=tuple(input_shape)[-1:],
            initializer="zeros",
            dtype="float32",
            name="log_inverse_dispersion",
        )

    def _bound_log_inverse_dispersion(self):
        value = ops.convert_to_tensor(self.log_inverse_dispersion)
        return bound(value, _LEAST_LOG, _MOST_LOG)

    @property
    def inverse_dispersion(self) -> Tensor:
        """The inverse dispersion theta of every feature, a float32 tensor of shape (features,)."""
        return ops.exp(self._bound_log_inverse_dispersion())

    def distribution(self, parameters: Tensor, library: Tensor | None = None) -> Any:
        log_mean = _find_log_mean(parameters, library)
        return distributions.NegativeBinomial(log_mean, self._bound_log_inverse_dispersion())


class ZeroInflatedNegativeBinomial(NegativeBinomial):
    """A likelihood for counts, of which more are 0 than a negative binomial distribution has.

    The decoder returns twice as many features as the data has: first what it does for
    `NegativeBinomial`, and then the logit of the probability that a count is set to 0.

    Source: Lopez et al., Nature Methods 2018, doi:10.1038/s41592-018-0229-2.

    Example:

    >>> from keras_ae import VAE
    >>> model = VAE(latent_dim=2, likelihood="zero_inflated_negative_binomial")
    """

    def parameter_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:-1], 2 * shape[-1])

    def distribution(self, parameters: Tensor, library: Tensor | None = None) -> Any:
        parameters, zero_logits = ops.split(ops.cast(parameters, "float32"), 2, axis=-1)
        log_mean = _find_log_mean(parameters, library)
        log_inverse_dispersion = self._bound_log_inverse_dispersion()
        return distributions.ZeroInflatedNegativeBinomial(
            log_mean, log_inverse_dispersion, zero_logits
        )


_MOST_MEAN = 1e30
_LEAST_LIBRARY = 1e-30  # An example without counts has no logarithm of their sum.


def _find_log_mean(parameters, library):
    """Compute the logarithm of the mean from what the decoder returned: see `Poisson`."""
    parameters = ops.cast(parameters, "float32")
    if library is None:
        # The softplus equals the exponential for numbers far below 0. Unlike the exponential, it
        # does not explode where an untrained encoder draws codes far from 0.
        is_small = parameters < -10.0
        others = ops.softplus(ops.clip(parameters, -10.0, _MOST_MEAN))
        return ops.where(is_small, parameters, ops.log(others))
    shape = parameters.shape[1:]
    log_shares = ops.log_softmax(ops.reshape(parameters, (-1, math.prod(shape))), axis=-1)
    library = ops.reshape(ops.cast(library, "float32"), (-1, 1))
    log_library = ops.log(ops.maximum(library, _LEAST_LIBRARY))
    return ops.reshape(log_shares + log_library, (-1, *shape))
