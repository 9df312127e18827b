"""Gaussians and the likelihoods of data, all with independent elements."""

import dataclasses
import math
import numbers
from typing import Self

from keras import ops

from keras_ae.core import backend, memory
from keras_ae.core.draws import draw_normal, draw_uniform
from keras_ae.core.seeds import SeedGenerator
from keras_ae.core.types import Seed, Tensor

LOG_TWO_PI = math.log(2.0 * math.pi)


@memory.explains("Pass fewer examples.")
def event_sum(values: Tensor) -> Tensor:
    """Sum over all axes but the first, in float32.

    Args:
        values: Tensor of shape (batch, ...), any numeric dtype.

    Returns:
        Float32 tensor of shape (batch,).

    Example:
        >>> import numpy as np
        >>> event_sum(np.ones((2, 28, 28))).shape == (2,)
        True
    """
    values = ops.cast(values, "float32")
    if len(values.shape) == 1:  # Given an empty tuple of axes, torch would sum over the batch.
        return values
    return ops.sum(values, axis=tuple(range(1, len(values.shape))))


_FEWER = "Pass fewer examples."


@dataclasses.dataclass(frozen=True, eq=False)
class Distribution:
    """Base class of distributions. The fields of a subclass are its parameters: float32 tensors.

    All of them have one row for each example, but those that `_shared` names may be shared: then
    they have fewer axes, and broadcast.
    """

    _shared = ()

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        # The methods of a subclass report the sizes involved when memory runs out.
        memory.explains_methods(_FEWER)(cls)

    @memory.explains(_FEWER)
    def __post_init__(self):
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, ops.cast(getattr(self, field.name), "float32"))

    @memory.explains(_FEWER)
    def log_prob(self, x: Tensor) -> Tensor:
        """Compute the log-density, or of discrete values the log-probability, in nats.

        Args:
            x: Tensor of shape (batch, ...), the shape of the parameters.

        Returns:
            Float32 tensor of shape (batch,): the sum over the elements of each example, which are
            independent.

        Raises:
            ValueError: If the shapes of x and the parameters differ beyond the batch axis.
        """
        return event_sum(self.log_prob_per_element(x))

    def sample_with_log_prob(self, seed: Seed) -> tuple[Tensor, Tensor]:
        """Draw samples and compute their log-densities: the pair that importance weights need.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensors: the draws, (batch, ...), and their log-densities, (batch,).
        """
        z = self.sample(seed)
        return z, self.log_prob(z)

    @memory.explains(_FEWER)
    def repeat(self, num_copies: int) -> Self:
        """Repeat the distribution of every example num_copies times in a row.

        Args:
            num_copies: Positive integer.

        Returns:
            Distribution of the same class over a batch that is num_copies times as long.
        """
        values = [getattr(self, field.name) for field in dataclasses.fields(self)]
        numbers = sum(math.prod(n or 1 for n in v.shape) for v in values if v.shape)
        memory.refuse_beyond(
            4.0 * num_copies * numbers, f"{type(self).__name__}: num_copies={num_copies}", _FEWER
        )
        rank, repeated = max(len(v.shape) for v in values), []
        for field, value in zip(dataclasses.fields(self), values, strict=True):
            # What all examples share, such as one scale, has no batch axis to repeat.
            is_shared = field.name in self._shared and len(value.shape) < rank
            is_shared = is_shared or not value.shape
            repeated.append(value if is_shared else ops.repeat(value, num_copies, axis=0))
        return type(self)(*repeated)

    def _event(self, x, parameter):
        """Cast x, and refuse one that would silently broadcast against the parameter."""
        x = ops.cast(x, "float32")
        given, expected = tuple(x.shape), tuple(parameter.shape)
        fits = len(given) == len(expected) and all(
            None in sizes or sizes[0] == sizes[1]
            for sizes in zip(given[1:], expected[1:], strict=True)
        )
        if not fits:
            raise ValueError(
                f"{type(self).__name__}.log_prob: x has shape {given}, but the distribution's "
                f"parameters have shape {expected}; all axes but the first must be equal. "
                "Reshape x, or let the network that makes the parameters return x's shape."
            )
        return x


@dataclasses.dataclass(frozen=True, eq=False)
class DiagonalGaussian(Distribution):
    """Gaussian with independent dimensions, the usual posterior of a variational autoencoder.

    Source: Kingma and Welling, Auto-Encoding Variational Bayes, section 2.4 (the sample) and
    appendix B (the divergence), arXiv:1312.6114.

    Args:
        mean: Tensor of shape (batch, ...).
        log_variance: Tensor of the same shape: the natural logarithm of the variance.

    Example:
        >>> import numpy as np
        >>> posterior = DiagonalGaussian(np.zeros((8, 2)), np.zeros((8, 2)))
        >>> posterior.sample(seed=0).shape == (8, 2)
        True
        >>> float(posterior.kl()[0])
        0.0
    """

    mean: Tensor
    log_variance: Tensor

    @classmethod
    def standard(cls, like: Tensor) -> "DiagonalGaussian":
        """Make the standard normal distribution over tensors of a given tensor's shape.

        Args:
            like: Tensor of shape (batch, ...); only its shape is used.

        Returns:
            `DiagonalGaussian` of mean 0 and variance 1.

        Example:
            >>> import numpy as np
            >>> float(DiagonalGaussian.standard(np.ones((8, 2))).log_variance[0, 0])
            0.0
        """
        zeros = ops.zeros_like(ops.cast(like, "float32"))
        return StandardGaussian(zeros, zeros)

    def sample(self, seed: Seed) -> Tensor:
        """Draw samples that are differentiable with respect to both parameters.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensor of the mean's shape.
        """
        return self._place(self._draw_noise(seed))

    def sample_with_log_prob(self, seed: Seed) -> tuple[Tensor, Tensor]:
        if type(self).log_prob is not DiagonalGaussian.log_prob:
            return super().sample_with_log_prob(seed)
        # The log-density of a draw is that of its noise, which needs no division by the deviation.
        noise = self._draw_noise(seed)
        squares = ops.square(noise)
        return self._place(noise), -0.5 * event_sum(squares + self.log_variance + LOG_TWO_PI)

    def _draw_noise(self, seed):
        return draw_normal(ops.shape(self.mean), seed)

    def _place(self, noise):
        return self.mean + ops.exp(0.5 * self.log_variance) * noise

    def log_prob(self, x: Tensor) -> Tensor:
        """Compute the log-density in nats.

        Args:
            x: Tensor of the mean's shape.

        Returns:
            Float32 tensor of shape (batch,).

        Raises:
            ValueError: the shapes of x and the mean differ beyond the batch axis.
        """
        x = self._event(x, self.mean)
        squares = ops.square(_standardize(x - self.mean, self.log_variance))
        return -0.5 * event_sum(squares + self.log_variance + LOG_TWO_PI)

    def kl_per_dimension(self) -> Tensor:
        """Compute every dimension's Kullback-Leibler divergence to the standard normal, in nats.

        Returns:
            Float32 tensor of the mean's shape, non-negative up to rounding.
        """
        # expm1 keeps the digits of small divergences, which exp(v) - 1 would lose.
        variance_part = ops.expm1(self.log_variance) - self.log_variance
        return 0.5 * (ops.square(self.mean) + variance_part)

    def kl(self) -> Tensor:
        """Compute the Kullback-Leibler divergence to the standard normal, in nats.

        Returns:
            Float32 tensor of shape (batch,).
        """
        return event_sum(self.kl_per_dimension())


class StandardGaussian(DiagonalGaussian):
    """`DiagonalGaussian` of mean 0 and variance 1, whose log-density needs no parameters."""

    def log_prob(self, x):
        return -0.5 * event_sum(ops.square(self._event(x, self.mean)) + LOG_TWO_PI)


@dataclasses.dataclass(frozen=True, eq=False)
class GaussianMixture(Distribution):
    """Equally weighted mixture of diagonal Gaussians over vectors, such as a learned prior.

    Source: Tomczak and Welling, VAE with a VampPrior, eq. 9, arXiv:1705.07120.

    Args:
        mean: Tensor of shape (components, dimensions).
        log_variance: Tensor of the same shape.

    Example:
        >>> import numpy as np
        >>> prior = GaussianMixture(np.array([[-1.0], [1.0]]), np.zeros((2, 1)))
        >>> prior.log_prob(np.zeros((5, 1))).shape == (5,)
        True
    """

    mean: Tensor
    log_variance: Tensor

    def sample(self, num_samples: int, seed: Seed) -> Tensor:
        """Draw a component for each sample, then the sample from that component.

        Args:
            num_samples: Positive integer.
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensor of shape (num_samples, dimensions).
        """
        count, dimensions = self.mean.shape
        # The same integer for both draws would make the noise depend on the component.
        if isinstance(seed, numbers.Integral):
            seed = SeedGenerator(int(seed))
        uniform = draw_uniform((num_samples,), seed)
        component = ops.minimum(ops.cast(uniform * count, "int32"), count - 1)
        noise = draw_normal((num_samples, dimensions), seed)
        scale = ops.exp(0.5 * ops.take(self.log_variance, component, axis=0))
        return ops.take(self.mean, component, axis=0) + scale * noise

    def sample_with_log_prob(self, num_samples: int, seed: Seed) -> tuple[Tensor, Tensor]:
        """Draw samples and compute their log-densities.

        Args:
            num_samples: Positive integer.
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensors: the draws, (num_samples, dimensions), and their log-densities,
            (num_samples,).
        """
        z = self.sample(num_samples, seed)
        return z, self.log_prob(z)

    def log_prob(self, x: Tensor) -> Tensor:
        """Compute the log-density in nats.

        Args:
            x: Tensor of shape (batch, dimensions).

        Returns:
            Float32 tensor of shape (batch,).
        """
        densities = pairwise_log_prob(x, self.mean, self.log_variance)  # (batch, components, d)
        weight = math.log(self.mean.shape[0])
        return ops.logsumexp(ops.sum(densities, axis=-1), axis=1) - weight


@memory.explains("Pass fewer examples.")
def pairwise_log_prob(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Compute the log-densities of every vector under each of several Gaussians, by dimension.

    Args:
        x: Tensor of shape (batch, dimensions).
        mean: Tensor of shape (components, dimensions).
        log_variance: Tensor of the same shape.

    Returns:
        Float32 tensor of shape (batch, components, dimensions), in nats.

    Example:
        >>> import numpy as np
        >>> components = np.zeros((3, 2))
        >>> pairwise_log_prob(np.zeros((4, 2)), components, components).shape == (4, 3, 2)
        True
    """
    x, mean, log_variance = (ops.cast(v, "float32") for v in (x, mean, log_variance))
    memory.refuse_beyond(
        8.0 * (x.shape[0] or 1) * math.prod(n or 1 for n in mean.shape),
        f"pairwise_log_prob: x of shape {tuple(x.shape)} with mean of {tuple(mean.shape)}",
        "Pass fewer rows at a time.",
    )
    # The bound keeps the scale finite in float32, because at x = mean, 0 times infinity would be
    # NaN.
    scale = ops.exp(-0.5 * ops.where(log_variance > -174.0, log_variance, -174.0))
    # The bound keeps the sum of squares over the dimensions finite. Otherwise the gradient of a
    # component whose share of a mixture's density is 0 would be 0 times infinity.
    most = 1e19 / math.sqrt(max(1, x.shape[-1]))
    distance = ops.clip((x[:, None] - mean[None]) * scale[None], -most, most)
    return -0.5 * ops.square(distance) - 0.5 * (log_variance + LOG_TWO_PI)[None]


def _standardize(difference, log_variance):
    """Divide a difference by the standard deviation, whose logarithm is half of log_variance.

    The division takes two steps, because the reciprocal of a small standard deviation overflows
    where the root of that reciprocal does not, and 0 times infinity would be NaN. Below the bound
    on log_variance, the quotient is 0 or overflows itself.
    """
    bounded = ops.where(log_variance > -350.0, log_variance, -350.0)
    root = ops.exp(-0.25 * bounded)
    return difference * root * root


SMALLEST = 1.1754944e-38  # The smallest normal number: processors may treat smaller ones as 0.


def reciprocal_and_log(scale):
    """Compute 1 / scale and log(scale) of a positive scale, with gradients that are never NaN."""
    log_scale = ops.log(ops.where(scale > SMALLEST, scale, SMALLEST))
    # The derivative of 1 / scale is minus its square, which overflows for a scale below 1e-19.
    return ops.exp(-log_scale), log_scale


@dataclasses.dataclass(frozen=True, eq=False)
class Normal(Distribution):
    """Gaussian with a given standard deviation, the likelihood behind the squared error.

    Args:
        mean: Tensor of shape (batch, ...).
        scale: Standard deviation, positive; a number, or a tensor that broadcasts to the mean.

    Example:
        >>> import numpy as np
        >>> likelihood = Normal(np.zeros((4, 3)), 0.1)
        >>> likelihood.log_prob(np.zeros((4, 3))).shape == (4,)
        True
    """

    _shared = ("scale",)

    mean: Tensor
    scale: float | Tensor

    def sample(self, seed: Seed) -> Tensor:
        """Draw samples that are differentiable with respect to both parameters.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensor of the mean's shape.
        """
        noise = draw_normal(ops.shape(self.mean), seed)
        return self.mean + self.scale * noise

    def log_prob_per_element(self, x: Tensor) -> Tensor:
        """Compute the log-density of every element in nats: see `log_prob`.

        Args:
            x: Tensor of the mean's shape.

        Returns:
            Float32 tensor of the same shape.
        """
        reciprocal, log_scale = reciprocal_and_log(self.scale)
        standardized = (self._event(x, self.mean) - self.mean) * reciprocal
        return -(0.5 * ops.square(standardized) + log_scale + 0.5 * LOG_TWO_PI)


@dataclasses.dataclass(frozen=True, eq=False)
class Laplace(Distribution):
    """Two-sided exponential distribution, the likelihood behind the absolute error.

    Args:
        mean: Tensor of shape (batch, ...).
        scale: Mean absolute deviation, positive; a number, or a tensor that broadcasts to the
            mean. The standard deviation is sqrt(2) times it.

    Example:
        >>> import numpy as np
        >>> likelihood = Laplace(np.zeros((4, 3)), 0.1)
        >>> likelihood.log_prob(np.zeros((4, 3))).shape == (4,)
        True
    """

    _shared = ("scale",)

    mean: Tensor
    scale: float | Tensor

    def sample(self, seed: Seed) -> Tensor:
        """Draw samples that are differentiable with respect to both parameters.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensor of the mean's shape.
        """
        # This evaluates the inverse of the cumulative distribution function at uniform numbers.
        centered = 2.0 * _draw_open_uniform(ops.shape(self.mean), seed) - 1.0
        noise = -ops.sign(centered) * ops.log1p(-ops.abs(centered))
        return self.mean + self.scale * noise

    def log_prob_per_element(self, x: Tensor) -> Tensor:
        """Compute the log-density of every element in nats: see `log_prob`.

        Args:
            x: Tensor of the mean's shape.

        Returns:
            Float32 tensor of the same shape.
        """
        reciprocal, log_scale = reciprocal_and_log(self.scale)
        distance = ops.abs(self._event(x, self.mean) - self.mean) * reciprocal
        return -(distance + log_scale + math.log(2.0))


@dataclasses.dataclass(frozen=True, eq=False)
class Bernoulli(Distribution):
    """Independent binary values.

    For values between 0 and 1, `log_prob` is minus the binary cross-entropy.

    Args:
        logits: Tensor of shape (batch, ...): log(p / (1 - p)) of the probability p of a 1.

    Example:
        >>> import numpy as np
        >>> float(Bernoulli(np.zeros((4, 3))).mean[0, 0])
        0.5
    """

    logits: Tensor

    @property
    def mean(self) -> Tensor:
        """The probability of a 1: float32 tensor of the logits' shape."""
        return ops.sigmoid(self.logits)

    def sample(self, seed: Seed) -> Tensor:
        """Draw zeros and ones. No gradient flows through them.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensor of the logits' shape.
        """
        uniform = draw_uniform(ops.shape(self.logits), seed)
        return ops.cast(uniform < self.mean, "float32")

    def log_prob(self, x: Tensor) -> Tensor:
        """Compute the log-probability in nats.

        Args:
            x: Tensor of the logits' shape, values in [0, 1].

        Returns:
            Float32 tensor of shape (batch,).

        Raises:
            ValueError: the shapes of x and the logits differ beyond the batch axis.
        """
        x = self._event(x, self.logits)
        if len(x.shape) == 1:  # Given an empty tuple of axes, torch would sum over the batch.
            return self.log_prob_per_element(x)
        return backend.log_bernoulli(x, self.logits)  # This is faster than the sum of the elements.

    def log_prob_per_element(self, x: Tensor) -> Tensor:
        """Compute the log-probability of every element in nats: see `log_prob`.

        Args:
            x: Tensor of the logits' shape, values in [0, 1].

        Returns:
            Float32 tensor of the same shape.
        """
        return self._event(x, self.logits) * self.logits - ops.softplus(self.logits)


@dataclasses.dataclass(frozen=True, eq=False)
class ContinuousBernoulli(Distribution):
    """The distribution on [0, 1] with a Bernoulli's p^x (1 - p)^(1 - x), normalized, as density.

    Source: Loaiza-Ganem and Cunningham, The continuous Bernoulli: fixing a pervasive error in
    variational autoencoders, section 3 (density, mean and inverse distribution function),
    arXiv:1907.06845. With the logit l instead of the paper's lambda = sigmoid(l), it reads

        log p(x) = (x - 1/2) l - log(sinh(l / 2) / (l / 2)),

    and the mean is 1/2 + (coth(l / 2) - 2 / l) / 2. Around l = 0, where both are 0/0 in floating
    point, their Taylor series take over.

    Args:
        logits: Tensor of shape (batch, ...). The mean is not their sigmoid, but nearer to 1/2.

    Example:
        >>> import numpy as np
        >>> uniform = ContinuousBernoulli(np.zeros((4, 3)))
        >>> float(uniform.mean[0, 0]), float(uniform.log_prob(np.full((4, 3), 0.2))[0])
        (0.5, 0.0)
    """

    logits: Tensor

    @property
    def mean(self) -> Tensor:
        """The expected value: float32 tensor of the logits' shape."""
        return 0.5 + 0.5 * _langevin(0.5 * self.logits)

    def sample(self, seed: Seed) -> Tensor:
        """Draw samples that are differentiable with respect to the logits.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensor of the logits' shape, values in [0, 1].
        """
        uniform = _draw_open_uniform(ops.shape(self.logits), seed)
        # This evaluates the inverse of the cumulative distribution function at uniform numbers. A
        # positive logit uses the mirror image of the negative logit's inverse, because the
        # exponential of a negative number cannot overflow.
        positive = self.logits > 0.0
        mirrored = ops.where(positive, 1.0 - uniform, uniform)
        near_zero = ops.abs(self.logits) < 1e-3
        logits = ops.where(near_zero, -1.0, -ops.abs(self.logits))
        draw = ops.log1p(mirrored * ops.expm1(logits)) / logits
        draw = ops.where(positive, 1.0 - draw, draw)
        first_order = uniform + 0.5 * self.logits * uniform * (1.0 - uniform)
        return ops.clip(ops.where(near_zero, first_order, draw), 0.0, 1.0)

    def log_prob_per_element(self, x: Tensor) -> Tensor:
        """Compute the log-density of every element in nats: see `log_prob`.

        Args:
            x: Tensor of the logits' shape, values in [0, 1].

        Returns:
            Float32 tensor of the same shape.
        """
        x = self._event(x, self.logits)
        near_zero, small, large = _split_at_zero(0.5 * self.logits)
        series = 2.0 * (x - 0.5) * small - _log_sinhc_series(small)
        # The terms that are linear in the logit are computed as one product, because a difference
        # of two products would lose its digits.
        from_mode = ops.where(large > 0.0, 1.0 - x, x)
        twice = 2.0 * ops.abs(large)
        closed_form = ops.log(twice) - ops.log(-ops.expm1(-twice)) - twice * from_mode
        return ops.where(near_zero, series, closed_form)


@dataclasses.dataclass(frozen=True, eq=False)
class Categorical(Distribution):
    """Independent choices, each among the classes along the last axis.

    Args:
        logits: Tensor of shape (batch, ..., classes): log-probabilities up to a constant.

    Example:
        >>> import numpy as np
        >>> round(float(Categorical(np.zeros((4, 7, 2))).mean[0, 0, 0]), 4)
        0.5
    """

    logits: Tensor

    @property
    def mean(self) -> Tensor:
        """The probabilities of the classes: float32 tensor of the logits' shape."""
        return ops.softmax(self.logits, axis=-1)

    def sample(self, seed: Seed) -> Tensor:
        """Draw one-hot vectors. No gradient flows through them.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensor of the logits' shape.
        """
        # The class whose logit plus Gumbel noise is largest is a draw from the distribution. Unlike
        # a categorical sampler, this works for tensors of any rank.
        gumbel = -ops.log(-ops.log(_draw_open_uniform(ops.shape(self.logits), seed)))
        chosen = backend.argmax(self.logits + gumbel)
        return ops.one_hot(chosen, self.logits.shape[-1], dtype="float32")

    def log_prob_per_element(self, x: Tensor) -> Tensor:
        """Compute the log-probability of every element in nats: see `log_prob`.

        Args:
            x: Tensor of the logits' shape, one-hot along the last axis.

        Returns:
            Float32 tensor of the same shape.
        """
        x = self._event(x, self.logits)
        # A class that is not chosen contributes 0, even where its log-probability is minus
        # infinity.
        chosen = ops.not_equal(x, 0.0)
        return x * ops.where(chosen, ops.log_softmax(self.logits, axis=-1), 0.0)

    def kl_per_variable(self) -> Tensor:
        """Compute the divergence of every choice from the uniform distribution, in nats.

        It is log K minus the entropy, and therefore from 0 to log K with K classes.

        Returns:
            Float32 tensor of shape (batch, ...), the logits' shape without the classes.
        """
        log_p = ops.log_softmax(self.logits, axis=-1)
        # A class that never occurs contributes 0, though its log-probability may be infinite.
        occurs = ops.exp(log_p) > 0.0
        negative_entropy = ops.sum(ops.exp(log_p) * ops.where(occurs, log_p, 0.0), axis=-1)
        return math.log(self.logits.shape[-1]) + negative_entropy

    def kl(self) -> Tensor:
        """Compute the divergence from uniform choices, in nats.

        Returns:
            Float32 tensor of shape (batch,).
        """
        return event_sum(self.kl_per_variable())


def _draw_open_uniform(shape, seed):
    """Draw uniform numbers in (0, 1), without the ends, where inverse distribution functions
    are infinite.
    """
    smallest = 2.0**-24
    return draw_uniform(shape, seed, smallest, 1.0 - smallest)


def _split_at_zero(u):
    """Split u into arguments for the series around 0 and for the closed form far from 0.

    Through `where`, the branch not taken contributes 0 times its gradient, which is NaN if that
    branch overflows. Each branch therefore gets a harmless argument where it is not taken.
    """
    near_zero = ops.abs(u) < 0.5
    return near_zero, ops.where(near_zero, u, 0.0), ops.where(near_zero, 1.0, u)


def _log_sinhc(u):
    """Compute log(sinh(u) / u), an even function, with exact gradients at and around 0."""
    near_zero, small, large = _split_at_zero(u)
    large = ops.abs(large)
    closed_form = large - ops.log(2.0 * large) + ops.log(-ops.expm1(-2.0 * large))
    return ops.where(near_zero, _log_sinhc_series(small), closed_form)


def _log_sinhc_series(small):
    square = ops.square(small)
    return square * (1 / 6 - square * (1 / 180 - square * (1 / 2835 - square / 37800)))


def _langevin(u):
    """Compute coth(u) - 1 / u, the derivative of `_log_sinhc`."""
    near_zero, small, large = _split_at_zero(u)
    square = ops.square(small)
    series = small * (1 / 3 - square * (1 / 45 - square * (2 / 945 - square / 4725)))
    return ops.where(near_zero, series, 1.0 / ops.tanh(large) - 1.0 / large)
