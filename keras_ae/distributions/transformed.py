"""A Gaussian whose draws are moved by an invertible map."""

from collections.abc import Callable

from keras import ops

from keras_ae.core.types import Seed, Tensor
from keras_ae.distributions.elementary import DiagonalGaussian


class TransformedGaussian:
    """The distribution of f(z) for z drawn from a diagonal Gaussian.

    The change of variables says that log q(f(z)) = log q(z) - log |det df/dz|. Only the densities
    of the distribution's own draws are known, because the map's inverse is never computed.

    Source: Rezende and Mohamed, Variational Inference with Normalizing Flows, eq. 5 to 7,
    arXiv:1505.05770.

    Args:
        base: `DiagonalGaussian` over (batch, dimensions).
        transform: Function of codes (batch, dimensions) and of the parameters. It returns the
            moved codes and log |det df/dz|, of shape (batch,).
        parameters: Tuple of tensors whose first axis is the batch.

    Example:
        >>> import math, numpy as np
        >>> from keras_ae.distributions import DiagonalGaussian
        >>> base = DiagonalGaussian(np.zeros((3, 2)), np.zeros((3, 2)))
        >>> q = TransformedGaussian(base, lambda z: (2 * z, 0 * z[:, 0] + 2 * math.log(2)), ())
        >>> z, log_density = q.sample_with_log_prob(seed=0)
        >>> round(float(log_density[0] - base.log_prob(z / 2)[0] + 2 * math.log(2)), 5)
        0.0
    """

    def __init__(
        self,
        base: DiagonalGaussian,
        transform: Callable[..., tuple[Tensor, Tensor]],
        parameters: tuple[Tensor, ...],
    ):
        self.base, self.transform, self.parameters = base, transform, tuple(parameters)

    @property
    def mean(self) -> Tensor:
        """The point to which the base's mean is moved: the code of a deterministic encoder."""
        return self.transform(self.base.mean, *self.parameters)[0]

    def sample(self, seed: Seed) -> Tensor:
        """Draw samples that are differentiable with respect to all parameters.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensor of the base's shape.
        """
        return self.sample_with_log_prob(seed)[0]

    def sample_with_log_prob(self, seed: Seed) -> tuple[Tensor, Tensor]:
        """Draw samples and compute their log-densities.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensors: the draws, of the base's shape, and their log-densities, (batch,).
        """
        z, log_density = self.base.sample_with_log_prob(seed)
        moved, log_determinant = self.transform(z, *self.parameters)
        return moved, log_density - log_determinant

    def sample_with_kl(self, seed: Seed) -> tuple[Tensor, Tensor]:
        """Draw samples and estimate the divergence from the standard normal, in nats.

        The base's own divergence is computed in closed form, and the map's contribution is
        estimated from the draw. This estimate has less variance than the difference of the two
        log-densities, and it is exact where the map moves nothing.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensors: the draws, of the base's shape, and the estimates, (batch,).
        """
        z = self.base.sample(seed)
        moved, log_determinant = self.transform(z, *self.parameters)
        further = 0.5 * ops.sum(ops.square(moved) - ops.square(z), axis=-1)
        return moved, self.base.kl() + further - log_determinant

    def repeat(self, num_copies: int) -> "TransformedGaussian":
        """Repeat the distribution of every example num_copies times in a row."""
        parameters = (ops.repeat(value, num_copies, axis=0) for value in self.parameters)
        return TransformedGaussian(self.base.repeat(num_copies), self.transform, parameters)
