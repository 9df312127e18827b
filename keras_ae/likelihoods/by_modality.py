"""The likelihood of several modalities."""

from typing import Any

import keras

from keras_ae import distributions
from keras_ae.core.types import Tensor
from keras_ae.likelihoods.base import Likelihood
from keras_ae.likelihoods.by_name import get


class ByModality(Likelihood):
    """The likelihood of several modalities, each of which has its own.

    Data, decoders' outputs and shapes are dictionaries of the names of the modalities.

    Args:
        parts: Dictionary of name -> likelihood, its name or an object.

    Example:

    >>> from keras_ae import likelihoods
    >>> likelihoods.ByModality({"image": "bernoulli", "label": "categorical"}).takes_classes
    {'image': False, 'label': True}
    """

    def __init__(self, parts: dict[str, str | Likelihood], **kwargs: Any):
        super().__init__(**kwargs)
        self.parts = {name: get(each) for name, each in parts.items()}

    support = property(lambda self: {name: p.support for name, p in self.parts.items()})
    takes_classes = property(lambda self: {n: p.takes_classes for n, p in self.parts.items()})

    def build(self, input_shape=None):
        for name, part in self.parts.items():
            part.build(input_shape[name])

    def parameter_shape(self, shape: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        return {name: self.parts[name].parameter_shape(each) for name, each in shape.items()}

    def distribution(self, parameters: dict[str, Tensor]) -> distributions.Joint:
        return self.condition(parameters)

    def condition(
        self, parameters: dict[str, Tensor], training: bool = False
    ) -> distributions.Joint:
        given = {name: self.parts[name].condition(p, training) for name, p in parameters.items()}
        return distributions.Joint(given)

    def get_config(self):
        parts = {k: keras.saving.serialize_keras_object(p) for k, p in self.parts.items()}
        return {**super().get_config(), "parts": parts}

    @classmethod
    def from_config(cls, config):
        parts = {k: keras.saving.deserialize_keras_object(p) for k, p in config["parts"].items()}
        return cls(**{**config, "parts": parts})
