"""Relaxed choices among classes, through which gradients flow."""

import dataclasses
import math

from keras import ops

from keras_ae.core import backend
from keras_ae.core.types import Seed, Tensor
from keras_ae.distributions.elementary import Distribution, _draw_open_uniform, event_sum


@dataclasses.dataclass(frozen=True, eq=False)
class GumbelSoftmax(Distribution):
    """Independent choices, each relaxed to a vector of positive numbers whose sum is 1.

    A draw is softmax((logits + g) / temperature) with Gumbel noise g. Its largest number is that of
    a draw from `Categorical(logits)`, to which it tends as the temperature falls to 0. This is also
    the Concrete distribution of arXiv:1611.00712.

    Source: Jang, Gu and Poole, Categorical Reparameterization with Gumbel-Softmax, eq. 2 (the
    draw), appendix B (the density) and section 2.2 (straight-through), arXiv:1611.01144.

    Args:
        logits: Tensor of shape (batch, ..., classes): log-probabilities up to a constant.
        temperature: Positive number, or a scalar tensor.

    Example:
        >>> import numpy as np
        >>> relaxed = GumbelSoftmax(np.zeros((4, 7, 3)), 0.5).sample(seed=0)
        >>> bool(np.allclose(ops.convert_to_numpy(ops.sum(relaxed, axis=-1)), 1.0))
        True
    """

    logits: Tensor
    temperature: float | Tensor

    def sample(self, seed: Seed) -> Tensor:
        """Draw samples that are differentiable with respect to both parameters.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensor of the logits' shape.
        """
        gumbel = -ops.log(-ops.log(_draw_open_uniform(ops.shape(self.logits), seed)))
        return ops.softmax((self.logits + gumbel) / self.temperature, axis=-1)

    def sample_straight_through(self, seed: Seed) -> Tensor:
        """Draw one-hot vectors, whose gradient is that of the relaxed draws.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensor of the logits' shape.
        """
        relaxed = self.sample(seed)
        chosen = backend.argmax(relaxed)
        one_hot = ops.one_hot(chosen, self.logits.shape[-1], dtype="float32")
        # The difference comes first, because one_hot + relaxed would lose digits of one_hot.
        return one_hot + (relaxed - ops.stop_gradient(relaxed))

    def log_prob(self, x: Tensor) -> Tensor:
        """Compute the log-density in nats, with respect to all but the last number of each vector.

        Args:
            x: Tensor of the logits' shape, positive numbers whose sum along the last axis is 1.

        Returns:
            Float32 tensor of shape (batch,).

        Raises:
            ValueError: If the shapes of x and the logits differ beyond the batch axis.
        """
        log_x, count = ops.log(self._event(x, self.logits)), self.logits.shape[-1]
        log_p = ops.log_softmax(self.logits, axis=-1)
        total = ops.logsumexp(log_p - self.temperature * log_x, axis=-1)
        each = ops.sum(log_p - (self.temperature + 1.0) * log_x, axis=-1)
        constant = math.lgamma(count) + (count - 1.0) * ops.log(self.temperature)
        return event_sum(each - count * total + constant)
