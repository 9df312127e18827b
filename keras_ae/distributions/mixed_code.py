"""Codes of which a part is continuous, and the rest is a choice among classes."""

import dataclasses
import numbers

from keras import ops

from keras_ae.core.seeds import SeedGenerator
from keras_ae.core.types import Seed, Tensor
from keras_ae.distributions.elementary import Categorical, DiagonalGaussian, Distribution


@dataclasses.dataclass(frozen=True, eq=False)
class MixedCode(Distribution):
    """Vectors that are joined from independent Gaussian numbers and a one-hot choice.

    Source: Dupont, Learning Disentangled Joint Continuous and Discrete Representations, section 3,
    arXiv:1804.00104.

    Args:
        means: Tensor of shape (batch, dimensions), those of the Gaussian numbers.
        log_variances: Tensor of the same shape.
        logits: Tensor of shape (batch, classes): log-probabilities up to a constant.

    Example:
        >>> import numpy as np
        >>> q = MixedCode(np.zeros((4, 2)), np.zeros((4, 2)), np.zeros((4, 3)))
        >>> q.sample(seed=0).shape == (4, 5), float(ops.sum(q.mean[0, 2:])) > 0.999
        (True, True)
    """

    means: Tensor
    log_variances: Tensor
    logits: Tensor

    @property
    def continuous(self) -> DiagonalGaussian:
        """The Gaussian part, a `DiagonalGaussian` over (batch, dimensions)."""
        return DiagonalGaussian(self.means, self.log_variances)

    @property
    def discrete(self) -> Categorical:
        """The choice, a `Categorical` over (batch, classes)."""
        return Categorical(self.logits)

    @property
    def mean(self) -> Tensor:
        """The means, and then the probabilities: tensor (batch, dimensions + classes)."""
        return ops.concatenate([self.means, self.discrete.mean], axis=-1)

    def sample(self, seed: Seed) -> Tensor:
        """Draw codes. Gradients flow through the Gaussian part alone.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensor of shape (batch, dimensions + classes).
        """
        # The same integer for both draws would make one depend on the other.
        if isinstance(seed, numbers.Integral):
            seed = SeedGenerator(int(seed))
        z = self.continuous.sample(seed)
        return ops.concatenate([z, self.discrete.sample(seed)], axis=-1)

    def log_prob(self, x: Tensor) -> Tensor:
        """Compute the sum of the log-density of the numbers and the log-probability of the choice.

        Args:
            x: Tensor of shape (batch, dimensions + classes), which is one-hot in the last classes.

        Returns:
            Float32 tensor of shape (batch,), in nats.
        """
        width = self.means.shape[-1]
        x = ops.cast(x, "float32")
        return self.continuous.log_prob(x[:, :width]) + self.discrete.log_prob(x[:, width:])
