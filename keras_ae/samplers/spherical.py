"""Uniform directions, with the lengths of codes."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae.core.draws import draw_normal, draw_uniform
from keras_ae.samplers.fitted import FittedSampler

_QUANTILES = 256


@keras.saving.register_keras_serializable("keras_ae")
class SphericalUniform(FittedSampler):
    """Draws codes whose direction is uniform, and whose length has the distribution of the data's.

    If all codes have the same length, as those of `keras_ae.HypersphericalVAE`, the draws are
    uniform on their sphere.

    Source: Muller, A note on a method for generating points uniformly on n-dimensional spheres,
    Communications of the ACM 2 (1959).

    Args:
        **kwargs: `name`.

    Example:
        >>> import numpy as np
        >>> from keras_ae.samplers import SphericalUniform
        >>> codes = np.random.default_rng(0).normal(size=(200, 3))
        >>> SphericalUniform().fit(codes).draw(5, seed=0).shape
        (5, 3)
    """

    _standardizes = _has_noise = False

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)

    def _make(self, width):
        self.width = width
        self.lengths = self._make_state((_QUANTILES,), "lengths")

    def _learn(self, codes, labels, seed, verbose):
        lengths = np.linalg.norm(codes, axis=1)
        self.lengths.assign(np.quantile(lengths, np.linspace(0.0, 1.0, _QUANTILES)))

    def _draw(self, num_samples, seed, temperature):
        direction = draw_normal((num_samples, self.width), seed)
        chance = draw_uniform((num_samples,), seed, 0.0, _QUANTILES - 1.0)
        length = interpolate(self.lengths, chance)[:, None]
        return length * direction / ops.maximum(ops.norm(direction, axis=1, keepdims=True), 1e-12)


def interpolate(values, places):
    """Look up a table between its entries.

    Args:
        values: Tensor of shape (entries,).
        places: Tensor of shape (batch,): 0 is the first entry, 0.5 is halfway to the second.

    Returns:
        Tensor of shape (batch,).
    """
    low = ops.minimum(ops.cast(ops.floor(places), "int32"), values.shape[0] - 2)
    first, second = ops.take(values, low), ops.take(values, low + 1)
    return first + (places - ops.cast(low, "float32")) * (second - first)
