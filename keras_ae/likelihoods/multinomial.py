"""The likelihood of counts given their total."""

from typing import Any

from keras import ops

from keras_ae import distributions
from keras_ae.core import arguments
from keras_ae.core.ranges import Support
from keras_ae.core.running_means import fading_rate, move
from keras_ae.core.types import Tensor
from keras_ae.likelihoods.base import Likelihood


class Multinomial(Likelihood):
    """A likelihood for vectors of counts, such as the words of a document, given their total.

    The decoder returns logits. An example may have any total, and the likelihood is that of its
    counts given this total, with the multinomial coefficient. The mean of p(x | z), which `decode`
    returns, is probabilities times a total that all codes share, and draws have this total, too.

    Args:
        total: Number of counts of a decoded or drawn example, a positive integer. `total=1` makes
            the mean the probabilities themselves. Defaults to None: the mean total of the training
            data, rounded, of which training keeps a running mean. Examples without counts are left
            out of it.

    Raises:
        ValueError: If total is neither a positive integer nor None.

    Example:

    >>> import numpy as np
    >>> from keras_ae import VAE
    >>> x = np.random.default_rng(0).multinomial(20, np.full(8, 1 / 8), size=64)
    >>> model = VAE(latent_dim=2, likelihood="multinomial", seed=0)
    >>> model.compile("adam")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> float(model.decode(model.encode(x))[0].sum().round(3))
    20.0
    """

    wanted_output = "logits"
    support = Support(0.0, float("inf"), step=1.0)

    def __init__(self, total: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        if total is not None:
            total = arguments.integer(self, "total", total)
        self.total = total

    def build(self, input_shape=None):
        self._refuse_second_owner()
        if self.total is None:
            options = {"trainable": False, "dtype": "float32", "aggregation": "mean"}
            self.mean_total = self.add_weight(
                shape=(), initializer="ones", name="mean_total", **options
            )
            self.seen = self.add_weight(shape=(), initializer="zeros", name="seen", **options)

    def parameter_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) != 1 or shape[0] < 2:
            raise ValueError(
                f"Multinomial: x has examples of shape {tuple(shape)}, but the likelihood is one "
                "of vectors of counts of two or more kinds. Reshape x to (batch, kinds)."
            )
        return tuple(shape)

    def distribution(self, parameters: Tensor) -> Any:
        total = self.total
        if total is None:
            total = ops.maximum(ops.round(ops.convert_to_tensor(self.mean_total)), 1.0)
        return distributions.Multinomial(parameters, total)

    def log_prob(self, y: Tensor, parameters: Tensor, training: bool = False) -> Tensor:
        if training and self.total is None:
            totals = ops.sum(ops.cast(y, "float32"), axis=-1)
            # A modality that is absent has no counts, or NaN.
            counts = ops.cast(totals > 0.0, "float32")
            number = ops.sum(counts)
            mean = ops.sum(ops.where(totals > 0.0, totals, 0.0)) / ops.maximum(number, 1.0)
            seen, before = map(ops.convert_to_tensor, (self.seen, self.mean_total))
            rate = fading_rate(seen, totals) * ops.minimum(number, 1.0)
            self.mean_total.assign(move(before, mean, rate))
            self.seen.assign(seen + ops.minimum(number, 1.0))
        return super().log_prob(y, parameters)

    def get_config(self):
        return {**super().get_config(), "total": self.total}
