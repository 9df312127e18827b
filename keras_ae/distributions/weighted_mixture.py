"""Mixtures of Gaussians whose components have weights of their own."""

import dataclasses
import numbers

from keras import ops

from keras_ae.core.draws import draw_normal, draw_uniform
from keras_ae.core.seeds import SeedGenerator
from keras_ae.core.types import Seed, Tensor
from keras_ae.distributions.elementary import DiagonalGaussian, Distribution, pairwise_log_prob


@dataclasses.dataclass(frozen=True, eq=False)
class WeightedGaussians(Distribution):
    """Mixture of diagonal Gaussians over vectors with weights, such as a prior with clusters.

    Source: Jiang et al., Variational Deep Embedding, eq. 4 to 6 and 16, arXiv:1611.05148.

    Args:
        logits: Tensor of shape (components,): logarithms of the weights up to a constant.
        mean: Tensor of shape (components, dimensions).
        log_variance: Tensor of the same shape.

    Example:
        >>> import numpy as np
        >>> prior = WeightedGaussians(np.log([0.25, 0.75]), [[-9.0], [9.0]], np.zeros((2, 1)))
        >>> round(float(ops.exp(prior.log_memberships(np.zeros((1, 1))))[0, 1]), 4)
        0.75
    """

    logits: Tensor
    mean: Tensor
    log_variance: Tensor

    @property
    def log_weights(self) -> Tensor:
        """The logarithms of the weights, whose sum is 1: float32 tensor of shape (components,)."""
        return ops.log_softmax(self.logits, axis=-1)

    def sample(self, num_samples: int, seed: Seed, component: int | None = None) -> Tensor:
        """Draw a component for each sample, then the sample from that component.

        Args:
            num_samples: Positive integer.
            seed: Integer or `keras.random.SeedGenerator`.
            component: Index of the component from which all samples come. Defaults to None.

        Returns:
            Float32 tensor of shape (num_samples, dimensions).
        """
        count, dimensions = self.mean.shape
        # The same integer for both draws would make the noise depend on the component.
        if isinstance(seed, numbers.Integral):
            seed = SeedGenerator(int(seed))
        uniform = draw_uniform((num_samples, 1), seed)
        noise = draw_normal((num_samples, dimensions), seed)
        # The last limit is left out, because rounding may put it below 1.
        limits = ops.cumsum(ops.exp(self.log_weights))[: count - 1]
        index = ops.sum(ops.cast(uniform >= limits, "int32"), axis=1)
        if component is not None:
            index = ops.full_like(index, component)
        scale = ops.exp(0.5 * ops.take(self.log_variance, index, axis=0))
        return ops.take(self.mean, index, axis=0) + scale * noise

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
        return ops.logsumexp(self._log_joint(x), axis=-1)

    def log_memberships(self, x: Tensor) -> Tensor:
        """Compute the log-probability that a vector comes from each component.

        Args:
            x: Tensor of shape (batch, dimensions).

        Returns:
            Float32 tensor of shape (batch, components), in nats.
        """
        return ops.log_softmax(self._log_joint(x), axis=-1)

    def _log_joint(self, x):
        densities = pairwise_log_prob(x, self.mean, self.log_variance)  # (batch, components, d)
        return ops.sum(densities, axis=-1) + self.log_weights

    def divergence_of(self, q: DiagonalGaussian, log_memberships: Tensor) -> Tensor:
        """Compute KL(q(z) g(c) || p(c) p(z | c)) of a Gaussian q and memberships g, in nats.

        It is the sum of KL(g || p(c)) and of the divergences of q from the components, weighted by
        g: eq. 12 of the paper. The sum over the components is exact.

        Args:
            q: `keras_ae.distributions.DiagonalGaussian` over (batch, dimensions).
            log_memberships: Tensor of shape (batch, components), log g.

        Returns:
            Float32 tensor of shape (batch,), non-negative up to rounding.
        """
        log_memberships = ops.cast(log_memberships, "float32")
        gain = q.log_variance[:, None] - self.log_variance
        squares = ops.square(q.mean[:, None] - self.mean) * ops.exp(-self.log_variance)
        each = 0.5 * ops.sum(squares + ops.expm1(gain) - gain, axis=-1)  # (batch, components)
        each = each + log_memberships - self.log_weights
        return ops.sum(ops.exp(log_memberships) * each, axis=-1)
