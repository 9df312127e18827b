"""Counts of several kinds, given their total."""

import dataclasses

import numpy as np
from keras import ops

from keras_ae.core.draws import draw_uniform
from keras_ae.core.seeds import RunSeed
from keras_ae.core.types import Seed, Tensor
from keras_ae.distributions.elementary import Distribution, event_sum
from keras_ae.distributions.gamma_function import log_gamma


@dataclasses.dataclass(frozen=True, eq=False)
class Multinomial(Distribution):
    """How often each of several kinds occurs among a number of independent choices.

    `log_prob` is that of counts given their own total, whatever it is: the words of a document
    given its length, for example. It has the multinomial coefficient, so that it is the logarithm
    of a probability.

    Args:
        logits: Tensor of shape (batch, kinds): log-probabilities of the kinds up to a constant.
        total: Number of choices that `mean` and `sample` have, a number of at least 0. Defaults to
            1, for which the mean is the probabilities, and a draw a one-hot vector.

    Example:
        >>> import numpy as np
        >>> counts = Multinomial(np.zeros((4, 5)), total=10)
        >>> round(float(counts.mean[0, 0]), 4), sum(map(float, counts.sample(seed=0)[0]))
        (2.0, 10.0)
    """

    logits: Tensor
    total: float | Tensor = 1.0

    @property
    def mean(self) -> Tensor:
        """The expected counts: float32 tensor of the logits' shape."""
        return ops.multiply(self.total, ops.softmax(self.logits, axis=-1))

    def sample(self, seed: Seed) -> Tensor:
        """Draw counts, whose sum is `total`. No gradient flows through them.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensor of the logits' shape.
        """
        if not isinstance(seed, RunSeed):
            # Only a RunSeed can give each turn of the loop a seed of its own.
            is_integer = isinstance(seed, (int, np.integer))
            seed = RunSeed(np.array([seed, 0]) if is_integer else seed.next())
        ends = ops.cumsum(ops.softmax(ops.stop_gradient(self.logits), axis=-1), axis=-1)
        ends = ends / ends[:, -1:]
        number, kinds = ops.shape(self.logits)[0], self.logits.shape[-1]

        # A tensor of all choices of all examples would be large, and their number may be a weight.
        def choose(turn, counts):
            uniform = draw_uniform((number, 1), seed.at(turn))
            kind = ops.sum(ops.cast(ends <= uniform, "int32"), axis=-1)
            return counts + ops.one_hot(kind, kinds, dtype="float32")

        turns = ops.cast(ops.round(self.total), "int32")
        return ops.fori_loop(0, turns, choose, ops.zeros_like(ends))

    def log_prob(self, x: Tensor) -> Tensor:
        """Compute the log-probability of counts given their total, in nats.

        Args:
            x: Tensor of the logits' shape, integers of at least 0.

        Returns:
            Float32 tensor of shape (batch,).

        Raises:
            ValueError: If the shapes of x and the logits differ beyond the batch axis.
        """
        x = self._event(x, self.logits)
        # A kind that does not occur contributes 0, even if its log-probability is minus infinity.
        occurs = ops.not_equal(x, 0.0)
        logs = ops.where(occurs, ops.log_softmax(self.logits, axis=-1), 0.0)
        # Errors of 5e-7 at log(0!) would add up, because it may occur fifty thousand times.
        factorials = event_sum(ops.where(occurs, log_gamma(x + 1.0), 0.0))
        return log_gamma(event_sum(x) + 1.0) - factorials + event_sum(x * logs)
