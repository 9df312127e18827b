"""Stochastic layers of hierarchies: a draw, and beside it its divergence from the layer's prior."""

import keras
from keras import ops

from keras_ae.core import memory
from keras_ae.distributions import DiagonalGaussian

# Beyond these log-variances float32 overflows, or a prior's gradient freezes Adam.
_HIGHEST, _LOWEST_OF_PRIOR, _LOWEST = 20.0, -20.0, -60.0


@memory.explains("Pass fewer examples.")
def gaussian(statistics, lowest=_LOWEST):
    """The Gaussian of a network's output, its log-variances kept between `lowest` and 20.

    The ends are smooth, so that a gradient leads back from beyond them; within, it changes nothing.

    Args:
        statistics: Tensor of shape (batch, 2 * width): means, then log-variances.
        lowest: Number, the least log-variance. Defaults to -60.

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
def gaussian_product(first, second):
    """The Gaussian proportional to the product of two: precisions add, and weigh the means.

    Source: the posterior of Sønderby et al., Ladder Variational Autoencoders, arXiv:1602.02282,
    of a bottom-up and a top-down estimate. By log-variances alone, so that nothing overflows.

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
def gaussian_kl(q, p):
    """KL(q || p) of two diagonal Gaussians for every dimension, in nats.

    Args:
        q, p: `keras_ae.distributions.DiagonalGaussian` over (batch, width).

    Returns:
        Float32 tensor of shape (batch, width), non-negative but for rounding.

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
def draw_with_divergence(q, p, seed=None, estimate=False):
    """A draw from q, and for every dimension the divergence of q from p.

    Args:
        q, p: `keras_ae.distributions.DiagonalGaussian` over (batch, width).
        seed: Integer or `keras.random.SeedGenerator`. Defaults to None, q's mean in place of a
            draw.
        estimate: Whether the divergence is log q(z) - log p(z) at the draw, which importance
            weights need, and not its expectation KL(q || p). Defaults to False.

    Returns:
        Float32 tensors, both of shape (batch, width).

    Example:
        >>> import numpy as np
        >>> q = DiagonalGaussian.standard(np.zeros((8, 2)))
        >>> z, divergence = draw_with_divergence(q, q, seed=0)
        >>> float(divergence[0, 0])
        0.0
    """
    z = q.mean if seed is None else q.sample(seed)
    if estimate:
        return z, 0.5 * (_surprise(p, z) - _surprise(q, z))
    return z, gaussian_kl(q, p)


def _surprise(p, z):
    """-2 log p(z) for every dimension, but for a constant."""
    return ops.square(z - p.mean) * ops.exp(-p.log_variance) + p.log_variance


@keras.saving.register_keras_serializable("keras_ae")
class StochasticLayer(memory.GuardedLayer):
    """One level of a hierarchy: z given what is above, and its divergence from p(z | above).

    A dense layer gives the prior's mean and log-variance. The posterior is the Gaussian of the
    statistics that are passed. It computes in float32.

    Args:
        width: Dimensions of z, a positive integer.
        kernel_initializer: Of the prior's dense layer; "zeros" begins at the standard normal.
            Defaults to "glorot_uniform".
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

    def __init__(self, width, kernel_initializer="glorot_uniform", **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        if not isinstance(width, int) or isinstance(width, bool) or width < 1:
            raise ValueError(f"{type(self).__name__}: width={width!r} must be a positive integer.")
        self.width = width
        self.prior_statistics = keras.layers.Dense(
            2 * width, kernel_initializer=kernel_initializer, dtype="float32", name="prior"
        )

    def build(self, above_shape):
        self.prior_statistics.build(above_shape)
        self.built = True

    def prior(self, above):
        """p(z | above): a `keras_ae.distributions.DiagonalGaussian` over (batch, width)."""
        return gaussian(self.prior_statistics(above), _LOWEST_OF_PRIOR)

    def posterior(self, prior, statistics):
        """q(z | x, above), of that prior and the statistics of shape (batch, 2 * width)."""
        return gaussian(statistics)

    def call(self, above, statistics=None, seed=None, temperature=1.0, estimate=False):
        """Draw z.

        Args:
            above: Features of what is above, shape (batch, features).
            statistics: What the data says about z, means and then log-variances, shape
                (batch, 2 * width). Defaults to None: z is drawn from the prior.
            seed: Integer or `keras.random.SeedGenerator`. Defaults to None: the mean is taken.
            temperature: Factor of the prior's standard deviation, where z is drawn from it.
                Defaults to 1.
            estimate: See `draw_with_divergence`. Defaults to False.

        Returns:
            z and its divergence, zero where z is drawn from the prior: both (batch, width).
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
    """A stochastic layer whose posterior is the prior times the Gaussian of the statistics.

    Source: Sønderby et al., Ladder Variational Autoencoders, arXiv:1602.02282; see
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

    def posterior(self, prior, statistics):
        return gaussian_product(gaussian(statistics), prior)
