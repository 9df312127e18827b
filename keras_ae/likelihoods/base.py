"""The base class of likelihoods."""

import dataclasses
from typing import Any

import keras

from keras_ae.core.types import Tensor


class Likelihood(keras.layers.Layer):
    """Base class of likelihoods.

    Attributes:
        support: Lowest and highest value that the data may take, or None. A
            `keras_ae.core.ranges.Support` also says whether data has steps, as counts have, and
            whether the ends are excluded.
        wanted_output: What a user's own decoder must return, `"logits"`, `"class logits"` or
            `"real numbers"`, which `keras_ae.networks.check_output` checks. Defaults to None, no
            check.
        takes_classes: Whether the data's last axis holds the probabilities of classes.
        knows_units: Whether the likelihood has units of the data, which then is not standardized.
    """

    support: Any = None
    wanted_output: str | None = None
    takes_classes = False
    knows_units = False

    def build(self, input_shape=None):
        """Make the weights, if the likelihood has any, for targets of this shape, without batch."""

    def build_from_config(self, config):
        """Leave it to the model that is made with the likelihood to build it."""

    def _refuse_second_owner(self):
        """Raise if the weights belong to a model or modality already."""
        if self.weights:
            raise ValueError(
                f"This {type(self).__name__} has weights, and is already the likelihood of a model "
                "or modality. Make one object for each."
            )

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        if cls.__module__.startswith("keras_ae."):
            keras.saving.register_keras_serializable("keras_ae")(cls)

    def parameter_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the decoder's output for data of this shape, without the batch."""
        return tuple(shape)

    def distribution(self, parameters: Tensor) -> Any:
        """Make the distribution whose parameters, of shape (batch, ...), the decoder returned."""
        raise NotImplementedError

    def log_prob(self, y: Tensor, parameters: Tensor, training: bool = False) -> Tensor:
        """Compute log p(y | z) of every example, in nats.

        Args:
            y: Targets, a tensor of shape (batch, ...).
            parameters: What the decoder returned for the codes z.
            training: Whether weights are being updated. A likelihood may then fit itself to y,
                which is no density of y. Defaults to False.

        Returns:
            Float32 tensor of shape (batch,).
        """
        return self.distribution(parameters).log_prob(y)

    def condition(self, parameters: Tensor, training: bool = False) -> Any:
        """Make p(x | z), whose log-density is `log_prob`.

        Args:
            parameters: What the decoder returned for the codes z.
            training: Whether weights are being updated. Defaults to False.

        Returns:
            A distribution, with `mean`, `sample(seed)` and `log_prob(y)`.
        """
        p = self.distribution(parameters)
        if type(self).log_prob is Likelihood.log_prob:
            return p
        return _Conditional(p, self, parameters, training)


@dataclasses.dataclass(frozen=True, eq=False)
class _Conditional:
    """p(x | z) of a likelihood that sees the target."""

    base: object
    likelihood: object
    parameters: object
    training: bool

    @property
    def mean(self):
        return self.base.mean

    def sample(self, seed):
        return self.base.sample(seed)

    def log_prob(self, y):
        return self.likelihood.log_prob(y, self.parameters, self.training)

    def log_prob_per_element(self, y):
        return self.base.log_prob_per_element(y)
