"""Mixtures of Gaussians whose components have labels."""

import dataclasses
import numbers

from keras import ops

from keras_ae.core import backend
from keras_ae.core.seeds import SeedGenerator
from keras_ae.core.types import Seed, Tensor
from keras_ae.distributions.columns import Coded
from keras_ae.distributions.elementary import DiagonalGaussian, Distribution


@dataclasses.dataclass(frozen=True, eq=False)
class LabeledGaussians(Distribution):
    """For each label its probability and a Gaussian, such as q(y | x) q(z | x, y).

    Source: Kingma et al., Semi-supervised Learning with Deep Generative Models, eq. 4,
    arXiv:1406.5298.

    Args:
        log_probabilities: Tensor of shape (batch, labels), the logarithms of probabilities that add
            up to 1.
        means: Tensor of shape (batch, labels, dimensions).
        log_variances: Tensor of the same shape.

    Example:
        >>> import numpy as np
        >>> q = LabeledGaussians(np.log([[0.25, 0.75]]), np.array([[[0.0], [4.0]]]),
        ...                      np.zeros((1, 2, 1)))
        >>> round(float(q.mean[0, 0]), 4)
        3.0
        >>> label, z, log_density = q.sample_with_label(seed=0)
        >>> label.shape == (1,), z.shape == (1, 1), log_density.shape == (1,)
        (True, True, True)
    """

    log_probabilities: Tensor
    means: Tensor
    log_variances: Tensor

    @property
    def mean(self) -> Tensor:
        """The expectation of z, shape (batch, dimensions)."""
        return ops.sum(ops.exp(self.log_probabilities)[..., None] * self.means, axis=1)

    def sample(self, seed: Seed) -> Tensor:
        """Draw z, shape (batch, dimensions): a label, then from its Gaussian.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.
        """
        return self.sample_with_label(seed)[1]

    def sample_with_label(self, seed: Seed) -> tuple[Tensor, Tensor, Tensor]:
        """Draw a label and z.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            The labels, int32 of shape (batch,); z, float32 of shape (batch, dimensions); and the
            logarithm of the density of both, float32 of shape (batch,).
        """
        # The same integer for both draws would make the noise depend on the label.
        if isinstance(seed, numbers.Integral):
            seed = SeedGenerator(int(seed))
        label = Coded(self.log_probabilities[:, None]).sample(seed)[:, 0]
        label = ops.cast(label, "int32")
        chosen = ops.one_hot(label, self.log_probabilities.shape[-1], dtype="float32")
        mean, log_variance = (
            ops.sum(chosen[..., None] * each, axis=1) for each in (self.means, self.log_variances)
        )
        z, log_density = DiagonalGaussian(mean, log_variance).sample_with_log_prob(seed)
        return label, z, log_density + ops.sum(chosen * self.log_probabilities, axis=-1)


@dataclasses.dataclass(frozen=True, eq=False)
class LabeledCodes(LabeledGaussians):
    """The same distribution, over vectors of z and the label, of which all but one number is 0.

    Args:
        log_probabilities, means, log_variances: See `LabeledGaussians`.

    Example:
        >>> import numpy as np
        >>> q = LabeledCodes(np.log([[0.25, 0.75]]), np.array([[[0.0], [4.0]]]),
        ...                  np.zeros((1, 2, 1)))
        >>> [float(number) for number in q.mean[0]]
        [4.0, 0.0, 1.0]
    """

    @property
    def mean(self) -> Tensor:
        """The most probable label with the mean of its Gaussian: (batch, dimensions + labels)."""
        chosen = ops.one_hot(
            backend.argmax(self.log_probabilities),
            self.log_probabilities.shape[-1],
            dtype="float32",
        )
        return ops.concatenate([ops.sum(chosen[..., None] * self.means, axis=1), chosen], axis=-1)

    def sample(self, seed: Seed) -> Tensor:
        """Draw a label and z: a tensor (batch, dimensions + labels).

        Args:
            seed: Integer or `keras.random.SeedGenerator`.
        """
        return self.sample_with_log_prob(seed)[0]

    def sample_with_log_prob(self, seed: Seed) -> tuple[Tensor, Tensor]:
        label, z, log_density = self.sample_with_label(seed)
        label = ops.one_hot(label, self.log_probabilities.shape[-1], dtype="float32")
        return ops.concatenate([z, label], axis=-1), log_density

    def log_prob(self, x: Tensor) -> Tensor:
        """Compute the logarithm of the density of z times the probability of the label.

        Args:
            x: Tensor of shape (batch, dimensions + labels).

        Returns:
            Float32 tensor of shape (batch,).
        """
        width = self.means.shape[-1]
        x = ops.cast(x, "float32")
        z, label = x[:, :width], x[:, width:]
        mean, log_variance = (
            ops.sum(label[..., None] * each, axis=1) for each in (self.means, self.log_variances)
        )
        density = DiagonalGaussian(mean, log_variance).log_prob(z)
        return density + ops.sum(label * self.log_probabilities, axis=-1)
