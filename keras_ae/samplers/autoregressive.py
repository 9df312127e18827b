"""A prior over integer codes, which is trained after the model."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_ae.core.draws import draw_uniform
from keras_ae.core.types import Seed, Tensor, Verbose
from keras_ae.samplers.base import Sampler, read_value


class Autoregressive(Sampler):
    """Draws codes one after the other, each given the codes before it.

    Training the model changes its codes. The prior is then stale until it is fitted again.

    Args:
        prior: `keras_ae.layers.SequencePrior` or `GridPrior`.
        fitted: Weight of the model that is 1 as long as the prior fits the model's codes.
        generate: Function from uniform draws to codes: the prior's `generate`, for tensors and for
            NumPy arrays.
    """

    needs = (
        "the prior over the codes, which has not been fitted to what `fit` left. Call "
        "fit_prior(x) first."
    )

    def __init__(
        self, prior: keras.layers.Layer, fitted: keras.Variable, generate: Callable[..., Any]
    ):
        self.prior, self.fitted, self.generate = prior, fitted, generate

    def update(self, z: Tensor) -> None:
        # The step changes the encoder, so that the prior was fitted to other codes.
        self.fitted.assign(keras.ops.zeros(()))

    def ready(self) -> bool:
        return bool(read_value(self.fitted) > 0)

    def _draw_uniform(self, num_samples, seed):
        shape = (num_samples, *self.prior.draws_shape)
        return draw_uniform(shape, seed)

    def sample(self, num_samples: int | Tensor, seed: Seed) -> Tensor:
        return self.generate(self._draw_uniform(num_samples, seed))

    def draw(self, num_samples: int | Tensor, seed: Seed, verbose: Verbose = 0) -> np.ndarray:
        uniform = keras.ops.convert_to_numpy(self._draw_uniform(num_samples, seed))
        return self.generate(uniform, verbose=verbose)
