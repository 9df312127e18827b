"""Stochastic layers of hierarchies: a draw, and its divergence from the layer's prior."""

from typing import Any

import keras
from keras import ops

from keras_ae.core import arguments, memory
from keras_ae.core.types import Seed, Tensor
from keras_ae.distributions import DiagonalGaussian

# Beyond these log-variances float32 overflows, or the gradient of a prior is so large that Adam's
# later steps vanish.
_HIGHEST, _LOWEST_OF_PRIOR, _LOWEST = 20.0, -20.0, -60.0


@memory.explains("Pass fewer examples.")
def gaussian(statistics: Tensor, lowest: float = _LOWEST) -> DiagonalGaussian:
    """Make a Gaussian from a network's output, with log-variances between `lowest` and 20.

    The limits are smooth, so that the gradient leads back from beyond them. Far within the limits,
    log-variances are unchanged.

    Args:
        statistics: Tensor of shape (batch, 2 * width): means, then log-variances.
        lowest: Number, the smallest log-variance. Defaults to -60.

    Returns:
        `keras_ae.distributions.DiagonalGaussian` over (batch, width).

    Example:
        >>> import numpy as np
        >>> float(gaussian(np.array([[3.0, 1000.0]])).log_variance[0, 0])
        20.0
    """
    mean, log_variance = ops.split(ops.cast(statistics, "float32"), 2, axis=-1)
    log_variance = log_variance - ops.softplus(log_variance - _HIGHEST)
    return DiagonalGaussian(mean, log_variance + ops.softplus(lowest - log_variance))


@memory.explains("Pass fewer examples.")
def gaussian_product(first: DiagonalGaussian, second: DiagonalGaussian) -> DiagonalGaussian:
    """Compute the Gaussian that is proportional to the product of two Gaussians.

    Its precision is the sum of theirs, and its mean is their mean weighted by precision. The
    computation uses log-variances only, so that nothing overflows.

    Source: Sønderby et al., Ladder Variational Autoencoders, arXiv:1602.02282, which merges a
    bottom-up and a top-down estimate in this way.

    Args:
        first, second: `keras_ae.distributions.DiagonalGaussian` over (batch, width).

    Returns:
        `DiagonalGaussian` over (batch, width).

    Example:
        >>> import numpy as np
        >>> one = DiagonalGaussian(np.full((1, 1), 2.0), np.zeros((1, 1)))
        >>> merged = gaussian_product(one, DiagonalGaussian.standard(one.mean))
        >>> float(merged.mean[0, 0]), round(float(merged.log_variance[0, 0]), 4)
        (1.0, -0.6931)
    """
    gain = second.log_variance - first.log_variance
    mean = ops.sigmoid(gain) * first.mean + ops.sigmoid(-gain) * second.mean
    return DiagonalGaussian(mean, second.log_variance - ops.softplus(gain))


@memory.explains("Pass fewer examples.")
def gaussian_kl(q: DiagonalGaussian, p: DiagonalGaussian) -> Tensor:
    """Compute KL(q || p) of two diagonal Gaussians for every dimension, in nats.

    Args:
        q, p: `keras_ae.distributions.DiagonalGaussian` over (batch, width).

    Returns:
        Float32 tensor of shape (batch, width), non-negative up to rounding.

    Example:
        >>> import numpy as np
        >>> q = DiagonalGaussian(np.full((1, 1), 2.0), np.zeros((1, 1)))
        >>> float(gaussian_kl(q, DiagonalGaussian.standard(q.mean))[0, 0])
        2.0
    """
    gain = q.log_variance - p.log_variance
    squares = ops.square(q.mean - p.mean) * ops.exp(-p.log_variance)
    return 0.5 * (squares + ops.expm1(gain) - gain)


@memory.explains("Pass fewer examples.")
def draw_with_divergence(
    q: DiagonalGaussian, p: DiagonalGaussian, seed: Seed | None = None, estimate: bool = False
) -> tuple[Tensor, Tensor]:
    """Draw from q, and compute the divergence of q from p for every dimension.

    Args:
        q, p: `keras_ae.distributions.DiagonalGaussian` over (batch, width).
        seed: Integer or `keras.random.SeedGenerator`. Defaults to None, which takes q's mean
            instead of a draw.
        estimate: Whether the divergence is log q(z) - log p(z) at the draw z, which importance
            weights need, instead of its expectation KL(q || p). Defaults to False.

    Returns:
        Float32 tensors: the draw and the divergence, both of shape (batch, width).

    Example:
        >>> import numpy as np
        >>> q = DiagonalGaussian.standard(np.zeros((8, 2)))
        >>> z, divergence = draw_with_divergence(q, q, seed=0)
        >>> float(divergence[0, 0])
        0.0
    """
    z = q.mean if seed is None else q.sample(seed)
    return z, compute_divergence(q, p, z, estimate)


@memory.explains("Pass fewer examples.")
def compute_divergence(
    q: DiagonalGaussian, p: DiagonalGaussian, z: Tensor, estimate: bool = False
) -> Tensor:
    """Compute the divergence of q from p for every dimension, or its estimate at a draw of q.

    Args:
        q, p, estimate: See `draw_with_divergence`.
        z: The draw, a tensor of q's shape.

    Returns:
        Float32 tensor of q's shape.

    Example:
        >>> import numpy as np
        >>> q = DiagonalGaussian.standard(np.zeros((8, 2)))
        >>> float(compute_divergence(q, q, q.mean, estimate=True)[0, 0])
        0.0
    """
    if estimate:
        return 0.5 * (_compute_surprise(p, z) - _compute_surprise(q, z))
    return gaussian_kl(q, p)


def _compute_surprise(p, z):
    """Compute -2 log p(z) for every dimension, up to a constant."""
    return ops.square(z - p.mean) * ops.exp(-p.log_variance) + p.log_variance


@keras.saving.register_keras_serializable("keras_ae")
class StochasticLayer(memory.GuardedLayer):
    """One level of a hierarchy: z given the levels above, and its divergence from p(z | above).

    A dense layer computes the prior's mean and log-variance. The posterior is a Gaussian with the
    given statistics. The layer computes in float32.

    Args:
        width: Dimensions of z, a positive integer.
        kernel_initializer: Initializer of the prior's dense layer. With "zeros", the prior starts
            as the standard normal. Defaults to "glorot_uniform".
        **kwargs: `name`.

    Raises:
        ValueError: If width is not a positive integer.

    Example:
        >>> import numpy as np
        >>> layer, above = StochasticLayer(2), np.ones((8, 5), "float32")
        >>> z, divergence = layer(above, statistics=np.zeros((8, 4), "float32"), seed=0)
        >>> z.shape == divergence.shape == (8, 2)
        True
        >>> drawn, _ = layer(above, seed=0, temperature=0.7)
    """

    def __init__(
        self,
        width: int,
        kernel_initializer: str | keras.Initializer = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.width = arguments.integer(self, "width", width)
        self.prior_statistics = keras.layers.Dense(
            2 * width, kernel_initializer=kernel_initializer, dtype="float32", name="prior"
        )

    def build(self, above_shape):
        self.prior_statistics.build(above_shape)
        self.built = True

    def prior(self, above: Tensor) -> DiagonalGaussian:
        """Compute p(z | above): a `DiagonalGaussian` over (batch, width)."""
        return gaussian(self.prior_statistics(above), _LOWEST_OF_PRIOR)

    def posterior(self, prior: DiagonalGaussian, statistics: Tensor) -> DiagonalGaussian:
        """Compute q(z | x, above): a `DiagonalGaussian` over (batch, width).

        Args:
            prior: p(z | above), which this class ignores and a subclass may use.
            statistics: Tensor of shape (batch, 2 * width): means, then log-variances.
        """
        return gaussian(statistics)

    def call(self, above, statistics=None, seed=None, temperature=1.0, estimate=False):
        """Draw z.

        Args:
            above: Features of the levels above, shape (batch, features).
            statistics: Means, then log-variances, that the encoder computed from the data, shape
                (batch, 2 * width). Defaults to None, which draws z from the prior.
            seed: Integer or `keras.random.SeedGenerator`. Defaults to None, which takes the mean.
            temperature: Factor of the prior's standard deviation if z is drawn from the prior.
                Defaults to 1.
            estimate: See `draw_with_divergence`. Defaults to False.

        Returns:
            z and its divergence, both of shape (batch, width). The divergence is 0 if z is drawn
            from the prior.
        """
        p = self.prior(above)
        if statistics is not None:
            return draw_with_divergence(self.posterior(p, statistics), p, seed, estimate)
        zeros = ops.zeros_like(p.mean)
        if seed is None:
            return p.mean, zeros
        noise = DiagonalGaussian(zeros, p.log_variance).sample(seed)
        return p.mean + temperature * noise, zeros

    def get_config(self):
        initializer = keras.initializers.serialize(self.prior_statistics.kernel_initializer)
        config = super().get_config()
        return {**config, "width": self.width, "kernel_initializer": initializer}


@keras.saving.register_keras_serializable("keras_ae")
class LadderLayer(StochasticLayer):
    """A stochastic layer whose posterior is the product of the prior and the statistics' Gaussian.

    Source: Sønderby et al., Ladder Variational Autoencoders, arXiv:1602.02282. See
    `gaussian_product`.

    Args:
        width, kernel_initializer, **kwargs: See `StochasticLayer`.

    Example:
        >>> import numpy as np
        >>> layer, above = LadderLayer(1, "zeros"), np.ones((1, 5), "float32")
        >>> z, _ = layer(above, statistics=np.array([[2.0, 0.0]]))
        >>> ops.convert_to_numpy(z).tolist()
        [[1.0]]
    """

    def posterior(self, prior: DiagonalGaussian, statistics: Tensor) -> DiagonalGaussian:
        return gaussian_product(gaussian(statistics), prior)
