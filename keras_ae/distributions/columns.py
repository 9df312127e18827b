"""Tables whose columns have distributions of different kinds."""

import dataclasses
import math
from typing import Any

import numpy as np
from keras import ops

from keras_ae.core import backend
from keras_ae.core.draws import draw_normal, draw_uniform
from keras_ae.core.types import Seed, Tensor
from keras_ae.distributions.counts import as_generator
from keras_ae.distributions.elementary import LOG_TWO_PI, Bernoulli, Distribution, event_sum


@dataclasses.dataclass(frozen=True, eq=False)
class Coded(Distribution):
    """Independent choices among classes, each of which is given as the number of its class.

    Args:
        log_probabilities: Tensor of shape (batch, columns, classes), the logarithms of
            probabilities that add up to 1. Classes that a column does not have are -1e9.

    Example:
        >>> import numpy as np
        >>> p = Coded(np.log([[[0.25, 0.75]]]))
        >>> round(float(p.log_prob(np.array([[1.0]]))[0]), 4)
        -0.2877
    """

    log_probabilities: Tensor

    @property
    def mean(self) -> Tensor:
        """The number of the most probable class: float32 tensor of shape (batch, columns)."""
        return ops.cast(backend.argmax(self.log_probabilities), "float32")

    def sample(self, seed: Seed) -> Tensor:
        """Draw numbers of classes, a float32 tensor of shape (batch, columns)."""
        uniform = draw_uniform(ops.shape(self.log_probabilities)[:2], seed)
        # The first class at which the cumulative probability exceeds a uniform number is a draw.
        below = ops.cumsum(ops.exp(self.log_probabilities), axis=-1) <= uniform[..., None]
        number = ops.sum(ops.cast(below, "float32"), axis=-1)
        # Rounding may leave the sum of all probabilities below the uniform number. The last class
        # that a column has is the limit then, because those that it lacks may be in the middle.
        has_class = ops.cast(self.log_probabilities > -1e8, "float32")
        numbers = ops.arange(self.log_probabilities.shape[-1], dtype="float32")
        return ops.minimum(number, ops.max(has_class * numbers, axis=-1))

    def log_prob_per_element(self, x: Tensor) -> Tensor:
        """Compute the log-probability of every column in nats, shape (batch, columns).

        It is minus infinity where x is the number of no class.

        Args:
            x: Tensor of shape (batch, columns), the numbers of the classes.
        """
        classes = ops.arange(self.log_probabilities.shape[-1], dtype="float32")
        chosen = ops.abs(ops.cast(x, "float32")[..., None] - classes) < 0.5
        found = ops.sum(ops.where(chosen, self.log_probabilities, 0.0), axis=-1)
        return ops.where(ops.any(chosen, axis=-1), found, -math.inf)


@dataclasses.dataclass(frozen=True, eq=False)
class Modes(Distribution):
    """Independent mixtures of Gaussians, one for each column.

    Args:
        log_weights: Tensor of shape (batch, columns, modes), the logarithms of weights that add up
            to 1. Modes that a column does not have are -1e9.
        mean_of_mode: Tensor of the same shape.
        scale: Standard deviations, a tensor that broadcasts to this shape.
        low, high: Limits of draws, which are moved to them from beyond; tensors of shape
            (columns,), or numbers. The density has no limits. Defaults to none.

    Example:
        >>> import numpy as np
        >>> p = Modes(np.log([[[0.5, 0.5]]]), np.array([[[-1.0, 3.0]]]), np.ones((1, 1, 2)))
        >>> float(p.mean[0, 0])
        1.0
    """

    _shared = ("scale", "low", "high")

    log_weights: Tensor
    mean_of_mode: Tensor
    scale: Tensor
    low: float | Tensor = -math.inf
    high: float | Tensor = math.inf

    @property
    def mean(self) -> Tensor:
        """The expected value: float32 tensor of shape (batch, columns)."""
        return ops.sum(ops.exp(self.log_weights) * self.mean_of_mode, axis=-1)

    def sample(self, seed: Seed) -> Tensor:
        """Draw a mode for each column, then a number: a tensor of shape (batch, columns)."""
        seed = as_generator(seed)
        mode = Coded(self.log_weights).sample(seed)
        modes = ops.arange(self.log_weights.shape[-1], dtype="float32")
        chosen = ops.cast(ops.abs(mode[..., None] - modes) < 0.5, "float32")
        noise = draw_normal(ops.shape(mode), seed)
        scale = ops.broadcast_to(self.scale, ops.shape(self.mean_of_mode))
        drawn = ops.sum(chosen * (self.mean_of_mode + scale * noise[..., None]), axis=-1)
        return ops.minimum(ops.maximum(drawn, self.low), self.high)

    def log_prob_per_element(self, x: Tensor) -> Tensor:
        """Compute the log-density of every column in nats, shape (batch, columns).

        Args:
            x: Tensor of shape (batch, columns).
        """
        distance = (ops.cast(x, "float32")[..., None] - self.mean_of_mode) / self.scale
        each = -0.5 * (ops.square(distance) + LOG_TWO_PI) - ops.log(self.scale)
        return ops.logsumexp(self.log_weights + each, axis=-1)


@dataclasses.dataclass(frozen=True, eq=False)
class Columns:
    """A distribution of the rows of a table, whose columns are independent.

    The log-density counts the cells that are not NaN, and those alone.

    Args:
        parts: List of pairs: the numbers of columns, and a distribution over (batch, so many
            columns) that has `log_prob_per_element`.

    Example:
        >>> import numpy as np
        >>> from keras_ae.distributions import Bernoulli, Normal
        >>> p = Columns([([1], Bernoulli(np.zeros((1, 1)))), ([0], Normal(np.zeros((1, 1)), 1.0))])
        >>> [round(float(v), 4) for v in p.log_prob_per_element(np.array([[0.0, 1.0]]))[0]]
        [-0.9189, -0.6931]
    """

    parts: list[tuple[int, Any]]

    def _order(self, values):
        """Return values, one tensor (batch, ...) for each part, in the order of the columns."""
        order = np.concatenate([np.asarray(columns, "int32") for columns, _ in self.parts])
        values = ops.concatenate([ops.cast(value, "float32") for value in values], axis=1)
        if np.array_equal(order, np.arange(len(order))):
            return values
        return ops.take(values, np.argsort(order).astype("int32"), axis=1)

    @property
    def mean(self) -> Tensor:
        """The expected number of every cell, or the most probable class: (batch, columns)."""
        return self._order([p.mean for _, p in self.parts])

    def sample(self, seed: Seed) -> Tensor:
        """Draw every cell: a float32 tensor of shape (batch, columns)."""
        seed = as_generator(seed)
        return self._order([p.sample(seed) for _, p in self.parts])

    def log_prob_per_element(self, x: Tensor) -> Tensor:
        """Compute the log-density of every cell in nats, which is 0 for a cell that is NaN.

        Args:
            x: Tensor of shape (batch, columns).

        Returns:
            Float32 tensor of the same shape.
        """
        x = ops.cast(x, "float32")
        found = []
        for columns, p in self.parts:
            values = ops.take(x, np.asarray(columns, "int32"), axis=1)
            missing = ops.isnan(values)
            # A missing cell gets a value that has a density, so that no gradient is NaN.
            filled = ops.where(missing, ops.stop_gradient(ops.cast(p.mean, "float32")), values)
            found.append(ops.where(missing, 0.0, p.log_prob_per_element(filled)))
        return self._order(found)

    def log_prob(self, x: Tensor) -> Tensor:
        """Compute the log-density of every row in nats: see `log_prob_per_element`.

        Args:
            x: Tensor of shape (batch, columns).

        Returns:
            Float32 tensor of shape (batch,).
        """
        return event_sum(self.log_prob_per_element(x))


@dataclasses.dataclass(frozen=True, eq=False)
class PartlyMissing:
    """A distribution of rows some of whose cells are missing, which are NaN.

    Args:
        base: `Columns`, the distribution of the cells that are present.
        logits: Tensor of shape (batch, columns): the logit of the probability that a cell is
            missing.
        may_miss: Tensor of shape (columns,): 1 where cells may be missing. In other columns, draws
            have all cells, and a cell that is missing counts nothing.

    Example:
        >>> import numpy as np
        >>> from keras_ae.distributions import Normal
        >>> base = Columns([([0], Normal(np.zeros((1, 1)), 1.0))])
        >>> p = PartlyMissing(base, np.zeros((1, 1)), np.ones(1))
        >>> round(float(p.log_prob(np.array([[np.nan]]))[0]), 4)  # log(1 / 2)
        -0.6931
    """

    base: Columns
    logits: Tensor
    may_miss: Tensor

    @property
    def mean(self) -> Tensor:
        """The mean of every cell as if none were missing: (batch, columns)."""
        return self.base.mean

    def sample(self, seed: Seed) -> Tensor:
        """Draw every cell, or NaN: a float32 tensor of shape (batch, columns)."""
        seed = as_generator(seed)
        values = self.base.sample(seed)
        is_missing = Bernoulli(self.logits).sample(seed) * ops.cast(self.may_miss, "float32") > 0.5
        return ops.where(is_missing, float("nan"), values)

    def log_prob_per_element(self, x: Tensor) -> Tensor:
        """Compute the log-density of every cell in nats, that it is missing or has its value.

        Args:
            x: Tensor of shape (batch, columns).

        Returns:
            Float32 tensor of the same shape.
        """
        is_missing = ops.cast(ops.isnan(ops.cast(x, "float32")), "float32")
        missing = Bernoulli(self.logits).log_prob_per_element(is_missing)
        may_miss = ops.cast(self.may_miss, "float32")
        return self.base.log_prob_per_element(x) + may_miss * missing

    def log_prob(self, x: Tensor) -> Tensor:
        """Compute the log-density of every row in nats: see `log_prob_per_element`.

        Args:
            x: Tensor of shape (batch, columns).

        Returns:
            Float32 tensor of shape (batch,).
        """
        return event_sum(self.log_prob_per_element(x))
