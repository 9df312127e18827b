"""Maxout units: Goodfellow et al. 2013, arXiv:1302.4389."""

from typing import Any

import keras
from keras import ops

from keras_ae.core import arguments, memory


@keras.saving.register_keras_serializable("keras_ae")
class Maxout(memory.GuardedLayer):
    """The maximum of every few neighboring numbers of the last axis, which are pieces of one unit.

    After a linear layer, each unit is a convex function that is linear in pieces, and that the
    layer learns. The layer before has `pieces` times as many units or channels as are wanted.

    Source: Goodfellow et al., Maxout Networks, section 3, arXiv:1302.4389.

    Args:
        pieces: Number k of the pieces of a unit, an integer of at least 2. Defaults to 2.
        **kwargs: `name` and `dtype`, as in every Keras layer.

    Raises:
        ValueError: If pieces is out of range, or does not divide the last axis of the input.

    Example:
        >>> import numpy as np
        >>> from keras_ae.layers import Maxout
        >>> [float(v) for v in Maxout()(np.array([[3.0, -1.0, -5.0, -2.0]]))[0]]
        [3.0, -2.0]
    """

    def __init__(self, pieces: int = 2, **kwargs: Any):
        super().__init__(**kwargs)
        self.pieces = arguments.integer("Maxout", "pieces", pieces, least=2)

    def call(self, x):
        """Compute the maxima, (batch, ..., units), of numbers (batch, ..., units * pieces)."""
        *places, units = self.compute_output_shape(tuple(x.shape))[1:]
        return ops.max(ops.reshape(x, (-1, *places, units, self.pieces)), axis=-1)

    def compute_output_shape(self, input_shape):
        width = input_shape[-1]
        if width % self.pieces:
            raise ValueError(
                f"Maxout: the last axis of shape={tuple(input_shape)} is no multiple of "
                f"pieces={self.pieces}. Give the layer before {self.pieces} times as many units as "
                "you want."
            )
        return (*input_shape[:-1], width // self.pieces)

    def get_config(self):
        return {**super().get_config(), "pieces": self.pieces}
