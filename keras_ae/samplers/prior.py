"""A model's own prior."""

from collections.abc import Callable
from typing import Any

import keras

from keras_ae.core import examples
from keras_ae.core.types import Seed, Tensor
from keras_ae.samplers.base import Sampler


class Prior(Sampler):
    """Draws codes by a function, such as a method of the model, that needs no training.

    Args:
        function: Function of num_samples and seed that returns a tensor (num_samples, ...).
    """

    def __init__(self, function: Callable[..., Tensor]):
        self.function = function

    def inputs_taken(self, model: keras.Model) -> dict[str, bool]:
        return examples.taken_by(model, self.function)

    def sample(self, num_samples: int | Tensor, seed: Seed, **options: Any) -> Tensor:
        return self.function(num_samples, seed, **options)
