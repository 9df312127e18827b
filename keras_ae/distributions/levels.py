"""Distributions of numbers that have a few levels, with independent elements."""

import dataclasses

from keras import ops

from keras_ae.core import backend
from keras_ae.core.draws import draw_uniform
from keras_ae.core.types import Seed, Tensor
from keras_ae.distributions.counts import as_generator
from keras_ae.distributions.elementary import Distribution

_LEVELS = 256
_HALF = 0.5 / (_LEVELS - 1)  # Half the distance of two levels.


@dataclasses.dataclass(frozen=True, eq=False)
class DiscretizedLogisticMixture(Distribution):
    """The 256 values k / 255 of 8-bit data, with the probability of a mixture of logistics.

    A value has the probability of the numbers that are nearest to it. Those below 0 count as 0, and
    those above 1 as 1, so that the probabilities of the 256 values add up to 1. Each element has a
    mixture of its own; channels of a pixel are independent.

    Source: Salimans et al., PixelCNN++, section 2.1, arXiv:1701.05517.

    Args:
        logits: Tensor of shape (batch, ..., components): log-probabilities of the components, up to
            a constant.
        means: Tensor of the same shape, in the units of the data.
        log_scales: Tensor of the same shape: natural logarithms of the logistics' scales, in the
            units of the data, from -10 to 10.

    Example:
        >>> import numpy as np
        >>> one = np.zeros((1, 1, 1))
        >>> p = DiscretizedLogisticMixture(one, one + 0.5, one + 9.0)  # wide: only the ends occur
        >>> round(float(p.log_prob(np.ones((1, 1)))[0]), 3)
        -0.693
    """

    logits: Tensor
    means: Tensor
    log_scales: Tensor

    @property
    def mean(self) -> Tensor:
        """The mean of the mixture, clipped to [0, 1]: float32 tensor of shape (batch, ...).

        The mean of the 256 values is nearer to it than half the distance of two values.
        """
        scales = ops.exp(self.log_scales)
        below, above = (ops.softplus((self.means - end) / scales) for end in (0.0, 1.0))
        return ops.sum(ops.softmax(self.logits, axis=-1) * scales * (below - above), axis=-1)

    def sample(self, seed: Seed) -> Tensor:
        """Draw values k / 255. No gradient flows through them.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensor of shape (batch, ...).
        """
        seed, smallest = as_generator(seed), 2.0**-24
        shape = ops.shape(self.logits)
        uniform = draw_uniform(shape, seed, smallest, 1.0 - smallest)
        chosen = backend.argmax(self.logits - ops.log(-ops.log(uniform)))
        chosen = ops.one_hot(chosen, self.logits.shape[-1], dtype="float32")
        mean, log_scale = (ops.sum(chosen * v, axis=-1) for v in (self.means, self.log_scales))
        uniform = draw_uniform(shape[:-1], seed, smallest, 1.0 - smallest)
        noise = ops.log(uniform) - ops.log1p(-uniform)
        draws = ops.clip(mean + ops.exp(log_scale) * noise, 0.0, 1.0)
        return ops.stop_gradient(ops.round(draws * (_LEVELS - 1)) / (_LEVELS - 1))

    def log_prob_per_element(self, x: Tensor) -> Tensor:
        """Compute the log-probability of every element in nats: see `log_prob`.

        Args:
            x: Tensor of shape (batch, ...), values k / 255.

        Returns:
            Float32 tensor of the same shape.
        """
        x = self._event(x, self.logits[..., 0])[..., None]
        reciprocal = ops.exp(-self.log_scales)
        # With s for the logistic function, s(a) - s(b) = s(a) s(-b) (1 - e^(b - a)), in which no
        # digits cancel.
        log_below = -ops.softplus((self.means - x - _HALF) * reciprocal)
        log_above = -ops.softplus((x - _HALF - self.means) * reciprocal)
        log_width = ops.log(-ops.expm1(-2.0 * _HALF * reciprocal))
        found = ops.where(x < _HALF, log_below, log_below + log_above + log_width)
        found = ops.where(x > 1.0 - _HALF, log_above, found)
        return ops.logsumexp(ops.log_softmax(self.logits, axis=-1) + found, axis=-1)
