"""Several modalities of an example, of which some may be absent."""

import dataclasses
import math
from typing import Any

from keras import ops

from keras_ae.core import memory
from keras_ae.core.types import Seed, Tensor


@memory.explains("Pass fewer examples.")
def is_absent(x: Tensor) -> Tensor:
    """Tell in which rows every number is NaN, or any: a modality is absent as a whole.

    Args:
        x: Tensor of shape (batch, ...).

    Returns:
        Boolean tensor of shape (batch,).

    Example:
        >>> import numpy as np
        >>> [bool(v) for v in is_absent(np.array([[1.0, 2.0], [np.nan, np.nan]]))]
        [False, True]
    """
    return ops.any(ops.reshape(ops.isnan(x), (-1, math.prod(x.shape[1:]))), axis=1)


@dataclasses.dataclass(frozen=True, eq=False)
class Joint:
    """A distribution of independent modalities. The log-density counts those that are present.

    Args:
        parts: Dictionary of name -> distribution over (batch, ...).

    Example:
        >>> import numpy as np
        >>> from keras_ae.distributions import Bernoulli
        >>> p = Joint({"image": Bernoulli(np.zeros((1, 4))), "text": Bernoulli(np.zeros((1, 9)))})
        >>> x = {"image": np.ones((1, 4)), "text": np.full((1, 9), np.nan)}
        >>> round(float(p.log_prob(x)[0]), 4)
        -2.7726
    """

    parts: dict[str, Any]

    @property
    def mean(self) -> dict[str, Tensor]:
        """The mean of every modality, a dictionary."""
        return {name: p.mean for name, p in self.parts.items()}

    def sample(self, seed: Seed) -> dict[str, Tensor]:
        """Draw every modality, a dictionary."""
        return {name: p.sample(seed) for name, p in self.parts.items()}

    def log_probs(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        """Compute the log-density of each modality in x, in nats.

        Args:
            x: Dictionary of name -> tensor of shape (batch, ...), in which a row of NaN is absent.

        Returns:
            Dictionary of name -> float32 tensor of shape (batch,), which is 0 where the modality is
            absent.
        """
        found = {}
        for name, value in x.items():
            value = ops.cast(value, "float32")
            absent = is_absent(value)
            # 0 is valid data for all likelihoods.
            value = ops.where(ops.isnan(value), 0.0, value)
            found[name] = ops.where(absent, 0.0, self.parts[name].log_prob(value))
        return found

    def log_prob(self, x: dict[str, Tensor]) -> Tensor:
        """Compute the log-density of the modalities that are present, in nats.

        Args:
            x: As in `log_probs`.

        Returns:
            Float32 tensor of shape (batch,).
        """
        return sum(self.log_probs(x).values())
