"""The likelihood of tables whose columns are of different kinds."""

from typing import Any

import numpy as np
from keras import ops

from keras_ae import distributions
from keras_ae.core.types import Tensor
from keras_ae.datasets.columns import check_columns
from keras_ae.likelihoods.base import Likelihood
from keras_ae.likelihoods.bounds import bound

_NEVER = -1e9  # The logarithm of the probability of a category that a column does not have.
_LEAST_DISTANCE = 1e-3  # Between two thresholds of an ordinal column.


class Columns(Likelihood):
    """A likelihood of the rows of a table, each column of which has a kind of its own.

    A numeric column is Gaussian, a positive one log-normal, a count Poisson, a categorical or
    binary one a choice among its categories, and an ordinal one a choice by cumulative logits
    (section 2.1 of Nazabal et al., arXiv:1807.03653). The decoder returns all parameters, in units
    of each column's own center and scale. Cells that are NaN do not count.

    Args:
        columns: List that `keras_ae.datasets.describe_columns` returned.

    Raises:
        TypeError, ValueError: If columns is no such list.

    Example:

    >>> import pandas as pd
    >>> from keras_ae import VAE, datasets, likelihoods
    >>> table = pd.DataFrame({"age": [31.5, 40.0, 22.0], "city": ["Rome", "Bern", "Rome"]})
    >>> columns = datasets.describe_columns(table, {"city": "categorical"})
    >>> model = VAE(latent_dim=2, likelihood=likelihoods.Columns(columns))
    >>> model.build((None, 2))
    >>> model.sample(3, seed=0).shape
    (3, 2)
    """

    knows_units = True

    def __init__(self, columns: list[dict[str, Any]], **kwargs: Any):
        super().__init__(**kwargs)
        self.columns = check_columns(type(self).__name__, columns)

    def parameter_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if tuple(shape) != (len(self.columns),):
            raise ValueError(
                f"{type(self).__name__}: x has examples of shape {tuple(shape)}, and columns= "
                f"describes {len(self.columns)} columns. Describe those of this table."
            )
        return (sum(self.sizes()),)

    def sizes(self) -> list[int]:
        """Return how many parameters each column has, a list."""
        return [_count_parameters(column) for column in self.columns]

    def _find(self, *kinds):
        """Return the numbers of columns of these kinds, and where their parameters begin."""
        starts = np.cumsum(self.sizes()) - self.sizes()
        numbers = [n for n, column in enumerate(self.columns) if column["kind"] in kinds]
        return numbers, starts[numbers].astype("int32")

    def _take(self, parameters, numbers, starts, units):
        """Return the first and the second parameter of columns in the units of their numbers."""
        center, scale = (ops.take(unit, np.array(numbers, "int32")) for unit in units)
        # A symbolic tensor must come first, because those of JAX do not know it.
        location = ops.take(parameters, starts, axis=1) * scale + center
        log_scale = bound(ops.take(parameters, starts + 1, axis=1), -5.0, 3.0)
        return location, ops.exp(log_scale) * scale

    def units(self) -> tuple[Tensor, Tensor]:
        """Return tensors of the centers and scales of all columns, 0 and 1 if they are discrete."""
        return tuple(
            ops.convert_to_tensor([float(c.get(key, default)) for c in self.columns], "float32")
            for key, default in (("center", 0.0), ("scale", 1.0))
        )

    def distribution(
        self, parameters: Tensor, units: tuple[Tensor, Tensor] | None = None
    ) -> distributions.Columns:
        """Make the distribution of rows.

        Args:
            parameters: What the decoder returned, a tensor (batch, numbers).
            units: Centers and scales to use instead of those of the columns. Defaults to None.
        """
        parameters, parts = ops.cast(parameters, "float32"), []
        units = self.units() if units is None else units
        for kind, make in (
            ("numeric", distributions.Normal),
            ("positive", distributions.LogNormal),
        ):
            numbers, starts = self._find(kind)
            if numbers:
                parts.append((numbers, make(*self._take(parameters, numbers, starts, units))))
        numbers, starts = self._find("count")
        if numbers:
            center = ops.take(units[0], np.array(numbers, "int32"))
            log_mean = bound(ops.take(parameters, starts, axis=1), -20.0, 10.0) + center
            parts.append((numbers, distributions.Poisson(log_mean)))
        numbers, starts = self._find("categorical", "binary", "ordinal")
        if numbers:
            most, found = max(len(self.columns[n]["categories"]) for n in numbers), []
            for number, start in zip(numbers, starts, strict=True):
                column = self.columns[number]
                own = parameters[:, start : start + _count_parameters(column)]
                log_probs = (
                    _ordinal_log_probs(own)
                    if column["kind"] == "ordinal"
                    else ops.log_softmax(own, axis=-1)
                )
                missing = most - len(column["categories"])
                found.append(ops.pad(log_probs, ((0, 0), (0, missing)), constant_values=_NEVER))
            parts.append((numbers, distributions.Coded(ops.stack(found, axis=1))))
        return distributions.Columns(parts)

    def get_config(self):
        return {**super().get_config(), "columns": self.columns}


def _count_parameters(column):
    if column["kind"] in ("numeric", "positive"):
        return 2
    if column["kind"] == "count":
        return 1
    return len(column["categories"]) - (column["kind"] == "ordinal")


def _ordinal_log_probs(parameters):
    """Compute the log-probabilities of ordered categories: (batch, categories).

    The first parameter is a threshold, and the others determine the distances to the next ones. The
    probability of the first k categories is the sigmoid of the k-th threshold.

    Args:
        parameters: Tensor (batch, categories - 1).
    """
    if parameters.shape[-1] == 0:  # There is one category.
        return ops.zeros_like(ops.sum(parameters, axis=-1, keepdims=True))
    distances = _LEAST_DISTANCE + ops.softplus(parameters[:, 1:])
    first = parameters[:, :1]
    thresholds = ops.concatenate([first, first + ops.cumsum(distances, axis=-1)], axis=-1)
    lowest, highest = -ops.softplus(-first), -ops.softplus(thresholds[:, -1:])
    # With s for the sigmoid, s(a) - s(b) = s(a) s(-b) (1 - e^(b - a)), in which no digits cancel.
    between = -ops.softplus(-thresholds[:, 1:]) - ops.softplus(thresholds[:, :-1])
    between = between + ops.log(-ops.expm1(-distances))
    return ops.concatenate([lowest, between, highest], axis=-1)
