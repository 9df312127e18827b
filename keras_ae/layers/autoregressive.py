"""Inverse autoregressive flow: a map with its own weights that is fast to sample from."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae.core import arguments, memory
from keras_ae.core.types import Tensor


@keras.saving.register_keras_serializable("keras_ae")
class InverseAutoregressiveFlow(memory.GuardedLayer):
    """f(z) = s * z + (1 - s) * m, where s and m of a dimension depend only on earlier dimensions.

    A network of masked dense layers (arXiv:1502.03509) computes m and the logits of the gate s in
    (0, 1) from z and from a context that every unit sees.

    Source: Kingma et al., Improving Variational Inference with Inverse Autoregressive Flow, eq. 13
    and 14, arXiv:1606.04934.

    Args:
        units: Number of hidden units, a positive integer. If there are fewer units than
            dimensions, a masked linear layer from z adds the dependences that the units cannot
            carry. Defaults to 128.
        reverse: Whether the dimensions are ordered from the last to the first. Defaults to False.
        **kwargs: `name` and `dtype`. The flow computes in float32.

    Example:
        >>> from keras import ops
        >>> flow, z, context = InverseAutoregressiveFlow(8), ops.ones((4, 3)), ops.ones((4, 2))
        >>> moved, log_determinant = flow(z, context)
        >>> again = ops.convert_to_numpy(flow.inverse(moved, context))
        >>> bool(abs(again - 1).max() < 1e-4)
        True
    """

    GATE_BIAS = 2.0  # The gates begin nearly open, so that the map begins near the identity.

    def __init__(self, units: int = 128, reverse: bool = False, **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.units = arguments.integer(self, "units", units)
        self.reverse = reverse

    def build(self, z_shape, context_shape=None):
        size = z_shape[-1]
        numbers = 3 * size * (self.units + (size if self.units < size else 0))
        memory.refuse_beyond(
            8.0 * numbers,  # The kernels and their masks take 4 bytes a number each.
            f"{type(self).__name__}: {self.units} units on {size} dimensions",
            "Take fewer units, or a smaller latent_dim.",
        )
        # A hidden unit of degree k sees the first k dimensions, and an output sees the dimensions
        # before its own.
        degrees = np.arange(self.units) % size
        places = np.arange(size)[:: -1 if self.reverse else 1]
        self.first_mask = (places[:, None] < degrees[None]).astype("float32")
        self.last_mask = np.tile(degrees[:, None] <= places[None], (1, 2)).astype("float32")
        self.first = self._add_kernel("first", (size, self.units))
        self.last = self._add_kernel("last", (self.units, 2 * size), scale=0.1)
        self.bias = self.add_weight(shape=(self.units,), initializer="zeros", name="bias")
        self.last_bias = self.add_weight(shape=(2 * size,), initializer="zeros", name="last_bias")
        if context_shape is not None:
            self.context = self._add_kernel("context", (context_shape[-1], self.units))
        # If there are too few units for all dimensions, an output also sees the dimensions before
        # its own directly.
        self.direct = None
        if self.units < size:
            self.direct_mask = np.tile(places[:, None] < places[None], (1, 2)).astype("float32")
            self.direct = self._add_kernel("direct", (size, 2 * size), scale=0.1)
        self.built = True

    def load_own_variables(self, store):
        values = {key: store[key] for key in store.keys()}
        if self.direct is not None and len(values) == len(self.weights) - 1:
            # The file was written before direct connections existed.
            values[str(len(values))] = np.zeros(self.direct.shape)
        super().load_own_variables(values)

    def _add_kernel(self, name, shape, scale=1.0):
        initializer = keras.initializers.VarianceScaling(scale, "fan_avg", "uniform")
        return self.add_weight(shape=shape, initializer=initializer, name=name)

    def _compute_shift_and_gate(self, z, context):
        h = ops.matmul(z, self.first * self.first_mask) + self.bias
        if context is not None:
            h = h + ops.matmul(ops.cast(context, "float32"), self.context)
        outputs = ops.matmul(ops.elu(h), self.last * self.last_mask) + self.last_bias
        if self.direct is not None:
            outputs = outputs + ops.matmul(z, self.direct * self.direct_mask)
        shift, logit = ops.split(outputs, 2, axis=-1)
        return shift, logit + self.GATE_BIAS

    def call(self, z, context=None):
        """Map codes.

        Args:
            z: Tensor of shape (batch, dimensions).
            context: Tensor of shape (batch, ...) on which the map depends, or None.

        Returns:
            Tensors of shape (batch, dimensions) and (batch,): f(z) and log |det df/dz|.
        """
        z = ops.cast(z, "float32")
        shift, logit = self._compute_shift_and_gate(z, context)
        gate = ops.sigmoid(logit)
        return gate * z + (1.0 - gate) * shift, ops.sum(ops.log_sigmoid(logit), axis=-1)

    def inverse(self, y: Tensor, context: Tensor | None = None) -> Tensor:
        """Compute the codes that are mapped to y, one dimension after the other.

        Args:
            y: Tensor of shape (batch, dimensions).
            context: The context with which `call` computed y.

        Returns:
            Tensor of y's shape.
        """
        y = ops.cast(y, "float32")
        z = ops.zeros_like(y)
        for _ in range(y.shape[-1]):  # Each turn makes one more dimension correct.
            shift, logit = self._compute_shift_and_gate(z, context)
            z = (y - ops.sigmoid(-logit) * shift) / ops.sigmoid(logit)
        return z

    def get_config(self):
        config = super().get_config()
        return {**config, "units": self.units, "reverse": self.reverse}
