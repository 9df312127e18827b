"""Spectral normalization: Miyato et al. 2018, arXiv:1802.05957."""

from typing import Any

import keras
from keras import ops

from keras_ae.core import memory
from keras_ae.core.types import Tensor
from keras_ae.layers.transposed import Conv2DTranspose
from keras_ae.layers.volumes import Conv3D, Conv3DTranspose

_LINEAR = (
    keras.layers.Dense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    Conv3D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    Conv3DTranspose,
)
_SMALLEST = 1e-12  # Smaller norms are replaced by this number, because they would be divisors.


@memory.explains("Pass a smaller matrix.")
def power_iteration(matrix: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Take one step of the iteration that converges to a matrix's first singular vectors.

    Source: arXiv:1802.05957, algorithm 1, step 1. The paper's u and v are `right` and `left` here.

    Args:
        matrix: Tensor of shape (m, n).
        right: Tensor of shape (n,), the current estimate of the first right singular vector.

    Returns:
        The left vector that belongs to `right`, shape (m,), and the next estimate of the right
        vector, shape (n,), both of length 1.

    Example:
        >>> import numpy as np
        >>> left, right = power_iteration(np.diag([5.0, 1e-3]), np.ones(2))
        >>> round(float(right[0]), 4)
        1.0
    """
    left = _scale_to_unit_length(ops.matmul(matrix, right))
    return left, _scale_to_unit_length(ops.matmul(left, matrix))


def _scale_to_unit_length(vector):
    return vector / ops.maximum(ops.sqrt(ops.sum(ops.square(vector))), _SMALLEST)


@keras.saving.register_keras_serializable("keras_ae")
class SpectralNormalization(memory.GuardedLayer):
    """A linear layer whose kernel is divided by its largest singular value.

    The kernel itself is left unchanged. Because the layer is linear, its output is divided by
    sigma(W) = v^T W u before bias and activation. Every call in training updates the singular
    vectors u and v by one step of the power iteration. No gradient passes through u and v, but the
    gradient of sigma, u v^T, reaches the kernel.

    Once the iteration has converged, a dense layer normalized in this way has the Lipschitz
    constant 1 before its activation. The kernel of a convolution is reshaped to a matrix whose
    columns are the kernel's last axis. This bounds the Lipschitz constant of the convolution only
    by the square root of the number of windows that contain one position. A transposed convolution
    has the same bound as the convolution that it transposes.

    Source: Miyato et al., Spectral Normalization for Generative Adversarial Networks, algorithm 1,
    arXiv:1802.05957.

    Args:
        layer: A new `Dense`, convolution or transposed convolution of Keras. It is copied, and its
            bias and activation are applied after the division.
        **kwargs: `name` and `dtype`. Default to the layer's own.

    Raises:
        TypeError: If the layer is of another class or has already been built.

    Example:
        >>> import keras, numpy as np
        >>> layer = SpectralNormalization(keras.layers.Dense(2, use_bias=False))
        >>> for _ in range(20):
        ...     y = layer(np.eye(2), training=True)
        >>> largest = np.linalg.svd(keras.ops.convert_to_numpy(y), compute_uv=False)[0]
        >>> round(float(largest), 3)
        1.0
    """

    def __init__(self, layer: keras.layers.Layer, **kwargs: Any):
        if type(layer) not in _LINEAR or layer.built:
            names = ", ".join(dict.fromkeys(cls.__name__ for cls in _LINEAR))
            raise TypeError(
                f"SpectralNormalization: layer={layer!r} must be a new layer of Keras' own, one of "
                f"{names}."
            )
        super().__init__(**{"name": layer.name, "dtype": layer.dtype_policy, **kwargs})
        self.given = keras.saving.serialize_keras_object(layer)
        self.use_bias, self.activation = layer.use_bias, layer.activation
        self.bias_options = {
            "initializer": layer.bias_initializer,
            "regularizer": layer.bias_regularizer,
            "constraint": layer.bias_constraint,
        }
        alone = {"use_bias": False, "activation": None, "activity_regularizer": None}
        self.activity_regularizer = layer.activity_regularizer
        config = {**layer.get_config(), **alone, "name": "linear", "dtype": self.dtype_policy}
        self.linear = type(layer).from_config(config)

    def build(self, input_shape):
        self.linear.build(input_shape)
        self.right = self.add_weight(
            shape=(self.linear.kernel.shape[-1],),
            initializer="random_normal",
            trainable=False,
            autocast=False,
            dtype="float32",
            aggregation="mean",
            name="right",
        )
        if self.use_bias:
            channels = getattr(self.linear, "filters", None) or self.linear.units
            self.bias = self.add_weight(shape=(channels,), name="bias", **self.bias_options)
        self.built = True

    def call(self, x, training=False):
        y = self.linear(x)
        y = y / ops.cast(self.sigma(training), y.dtype)
        if self.use_bias:
            first = getattr(self.linear, "data_format", "channels_last") == "channels_first"
            places = (1,) * (len(y.shape) - 2)
            y = y + ops.reshape(self.bias, (1, -1, *places) if first else (1, *places, -1))
        return self.activation(y)

    def sigma(self, training: bool = False) -> Tensor:
        """Estimate the kernel's largest singular value, a float32 scalar.

        Args:
            training: Whether to take one more step of the power iteration. Defaults to False.
        """
        kernel = self.linear.kernel
        # If the layer computes in half precision, Keras rounds the kernel to it here, so that sigma
        # is that of the kernel by which the input is multiplied.
        matrix = ops.cast(ops.reshape(kernel, (-1, kernel.shape[-1])), "float32")
        fixed = ops.stop_gradient(matrix)
        right = ops.convert_to_tensor(self.right)
        left, following = power_iteration(fixed, right)
        if training:
            right = following
            self.right.assign(right)
        else:
            right = _scale_to_unit_length(right)
        left, right = ops.stop_gradient(left), ops.stop_gradient(right)
        return ops.maximum(ops.sum(left * ops.matmul(matrix, right)), _SMALLEST)

    def compute_output_shape(self, input_shape):
        return tuple(self.linear.compute_output_shape(input_shape))

    def get_config(self):
        return {**super().get_config(), "layer": self.given}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        return cls(keras.saving.deserialize_keras_object(config.pop("layer")), **config)
