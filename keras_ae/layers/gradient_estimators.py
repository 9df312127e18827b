"""Estimators of the gradient through a quantizer, which has no gradient of its own."""

from keras import ops

from keras_ae.core import memory
from keras_ae.core.types import Tensor

TINY = 1e-12


def squared_norms(v):
    """Compute the squared lengths of vectors (..., dim), a tensor (..., 1)."""
    return ops.sum(ops.square(v), axis=-1, keepdims=True)


@memory.explains("Pass fewer examples.")
def straight_through(z: Tensor, quantized: Tensor) -> Tensor:
    """Return the quantized vectors, and pass their gradient to z unchanged.

    Source: van den Oord et al., Neural Discrete Representation Learning, section 3.2,
    arXiv:1711.00937.

    Args:
        z: Tensor of any shape.
        quantized: Tensor of z's shape, through which no gradient goes.

    Returns:
        Tensor of z's shape.

    Example:
        >>> import numpy as np
        >>> from keras import ops
        >>> ops.convert_to_numpy(straight_through(np.ones(1), np.zeros(1))).tolist()
        [0.0]
    """
    z, quantized = map(ops.convert_to_tensor, (z, quantized))
    return ops.stop_gradient(quantized) + (z - ops.stop_gradient(z))


@memory.explains("Pass fewer examples.")
def rotated(z: Tensor, quantized: Tensor) -> Tensor:
    """Return the quantized vectors, and rotate and scale their gradient as z is.

    z becomes the quantized vector by a rotation in the plane of both vectors and by a factor, the
    ratio of their lengths. Both count as constants. The angle between the gradient that z receives
    and z is therefore the angle between the gradient and the quantized vector.

    Source: Fifty et al., Restructuring Vector Quantization with the Rotation Trick,
    arXiv:2410.06424.

    Args:
        z: Tensor of shape (..., dim).
        quantized: Tensor of z's shape, through which no gradient goes.

    Returns:
        Tensor of z's shape.

    Example:
        >>> import numpy as np
        >>> from keras import ops
        >>> moved = rotated(np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]]))
        >>> ops.convert_to_numpy(moved).tolist()
        [[0.0, 2.0]]
    """
    z, quantized = map(ops.convert_to_tensor, (z, quantized))
    quantized, constant = ops.stop_gradient(quantized), ops.stop_gradient(z)
    lengths = [ops.sqrt(squared_norms(v)) for v in (constant, quantized)]
    first, second = constant / (lengths[0] + TINY), quantized / (lengths[1] + TINY)
    # I - 2 r r' reflects, and 2 second first' turns the reflection into a rotation.
    middle = first + second
    middle = middle / (ops.sqrt(squared_norms(middle)) + TINY)
    along = ops.sum(z * first, axis=-1, keepdims=True)
    turned = z - 2.0 * ops.sum(z * middle, axis=-1, keepdims=True) * middle + 2.0 * along * second
    moved = turned * (lengths[1] / (lengths[0] + TINY))
    return quantized + (moved - ops.stop_gradient(moved))


ESTIMATORS = {"straight_through": straight_through, "rotation": rotated}
