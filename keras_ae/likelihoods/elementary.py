"""Likelihoods of data whose elements are independent given the code."""

import math
from typing import Any

from keras import ops

from keras_ae import distributions
from keras_ae.core import arguments
from keras_ae.core.types import Tensor
from keras_ae.likelihoods.base import Likelihood
from keras_ae.likelihoods.bounds import bound

_LEARNED = ("learned", "feature")
# A feature that is predicted perfectly would have no finite density.
LEAST_LOG_SCALE, MOST_LOG_SCALE = -6.0, 40.0


class Bernoulli(Likelihood):
    """A likelihood for data in [0, 1], where each value is the probability of a 1.

    The decoder returns logits.

    For data that is not binary, this is the cross-entropy of arXiv:1312.6114, appendix C.1.
    `ContinuousBernoulli` has the normalized density of such data.

    Example:

    >>> from keras_ae import VAE, likelihoods
    >>> model = VAE(latent_dim=2, likelihood=likelihoods.Bernoulli())
    """

    support = (0.0, 1.0)
    wanted_output = "logits"

    def distribution(self, parameters: Tensor) -> Any:
        return distributions.Bernoulli(parameters)


class ContinuousBernoulli(Likelihood):
    """A likelihood with a normalized density for data in [0, 1] (arXiv:1907.06845).

    The decoder returns logits.

    Example:

    >>> from keras_ae import VAE
    >>> model = VAE(latent_dim=2, likelihood="continuous_bernoulli")
    """

    support = (0.0, 1.0)
    wanted_output = "logits"

    def distribution(self, parameters: Tensor) -> Any:
        return distributions.ContinuousBernoulli(parameters)


class Gaussian(Likelihood):
    """A likelihood for real data with Gaussian noise. The decoder returns the mean.

    Args:
        scale: Standard deviation of the noise, in the data's units: a positive number, or
            `"learned"` for a trained weight that all features share (the shared variance of
            arXiv:2006.13202), or `"feature"` for a trained weight for each feature, the last axis,
            which is kept above e^-6. Defaults to 1, for which the reconstruction loss is half the
            squared error plus a constant.

    Raises:
        ValueError: If scale is neither a positive number nor one of these names.

    Example:

    >>> from keras_ae import VAE, likelihoods
    >>> model = VAE(latent_dim=2, likelihood=likelihoods.Gaussian(scale=0.1))
    """

    def __init__(self, scale: float | str = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.scale = scale

    @property
    def scale(self) -> float | str:
        """The constructor's argument. Another number may be assigned, and is saved."""
        return self._scale

    @scale.setter
    def scale(self, scale: float | str) -> None:
        kind = type(self).__name__
        if not isinstance(scale, str) or scale not in _LEARNED:
            remedy = (
                'It has the data\'s units. "learned" leaves it to training, and "feature" does so '
                "for each feature."
            )
            scale = arguments.number(self, "scale", scale, positive=True, remedy=remedy)
        learned = [s if isinstance(s, str) else None for s in (scale, getattr(self, "_scale", 0))]
        if self.built and learned[0] != learned[1]:
            raise ValueError(
                f"{kind}: scale={scale!r} cannot replace scale={self._scale!r} in a model that is "
                f"built. Make a new model with {kind}({scale!r})."
            )
        self._scale = scale

    def build(self, input_shape=None):
        self._refuse_second_owner()
        if self.scale in _LEARNED:
            shape = () if self.scale == "learned" else tuple(input_shape)[-1:]
            self.log_scale = self.add_weight(
                shape=shape, initializer="zeros", dtype="float32", name="log_scale"
            )

    def noise_scale(self) -> Tensor:
        if self.scale == "learned":
            return ops.exp(self.log_scale)
        if self.scale == "feature":
            log_scale = ops.convert_to_tensor(self.log_scale)
            return ops.exp(bound(log_scale, LEAST_LOG_SCALE, MOST_LOG_SCALE))
        return ops.convert_to_tensor(float(self.scale), "float32")

    def distribution(self, parameters: Tensor) -> Any:
        return distributions.Normal(parameters, self.noise_scale())

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


class Laplace(Gaussian):
    """A likelihood for real data with Laplace noise, which is robust to outliers.

    The decoder returns the mean.

    Args:
        scale: Mean absolute deviation of the noise, a positive number, "learned" or "feature": see
            `Gaussian`.

    Example:

    >>> from keras_ae import VAE
    >>> model = VAE(latent_dim=2, likelihood="laplace")
    """

    def distribution(self, parameters: Tensor) -> Any:
        return distributions.Laplace(parameters, self.noise_scale())


class OptimalGaussian(Likelihood):
    """A likelihood for real data with the Gaussian noise that fits the data best.

    In training, the variance of a batch is the mean squared error of its decoded means, in closed
    form. A running mean of it is a weight, which all else uses: evaluation, `log_likelihood`,
    draws. A variance fitted to the data that is scored would be no density of it. The decoder
    returns the mean.

    Source: Rybkin, Daniilidis and Levine, eq. 6, arXiv:2006.13202.

    Args:
        decay: How much of the running mean each training step keeps, a number from 0 to 1. Defaults
            to 0.99.

    Example:

    >>> from keras_ae import VAE
    >>> model = VAE(latent_dim=2, likelihood="gaussian_optimal_scale")
    """

    def __init__(self, decay: float = 0.99, **kwargs: Any):
        super().__init__(**kwargs)
        self.decay = arguments.number(self, "decay", decay, most=1)

    def build(self, input_shape=None):
        self._refuse_second_owner()
        options = {"trainable": False, "dtype": "float32", "aggregation": "mean"}
        self.variance = self.add_weight(shape=(), initializer="ones", name="variance", **options)
        self.seen = self.add_weight(shape=(), initializer="zeros", name="seen", **options)

    def noise_scale(self) -> Tensor:
        """Return the standard deviation of the noise, the square root of the running mean."""
        return ops.sqrt(ops.convert_to_tensor(self.variance))

    def distribution(self, parameters: Tensor) -> Any:
        return distributions.Normal(parameters, self.noise_scale())

    def log_prob(self, y: Tensor, parameters: Tensor, training: bool = False) -> Tensor:
        if not training:
            return super().log_prob(y, parameters)
        error = ops.square(ops.cast(parameters, "float32") - y)
        variance = ops.maximum(ops.stop_gradient(ops.mean(error)), _LEAST_VARIANCE)
        # The first batch replaces the start, of which nothing is known.
        kept = self.decay * ops.convert_to_tensor(self.seen)
        before = ops.convert_to_tensor(self.variance)
        self.variance.assign(kept * before + (1.0 - kept) * variance)
        self.seen.assign(ops.ones((), "float32"))
        return distributions.Normal(parameters, ops.sqrt(variance)).log_prob(y)

    def get_config(self):
        return {**super().get_config(), "decay": self.decay}


# A model that reconstructs perfectly would have no finite density. The paper's code stops at e^-6
# for the deviation.
_LEAST_VARIANCE = math.exp(-12.0)


class Categorical(Likelihood):
    """A likelihood for one-hot data, whose last axis is two or more classes.

    The decoder returns logits.

    Instead of a one-hot vector, the last axis may hold probabilities that add up to 1, or only
    zeros, which count as not observed.

    Example:

    >>> from keras_ae import VAE
    >>> model = VAE(latent_dim=2, likelihood="categorical")
    """

    support = (0.0, 1.0)
    wanted_output = "class logits"
    takes_classes = True

    def distribution(self, parameters: Tensor) -> Any:
        return distributions.Categorical(parameters)
