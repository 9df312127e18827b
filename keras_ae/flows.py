"""Normalizing flows: invertible maps of codes with the logarithm of their Jacobian's determinant.

The flows are pure functions of codes and of the map's parameters, of which every example has its
own. A flow that has weights is a layer: `keras_ae.layers.InverseAutoregressiveFlow`.
"""

import math

from keras import ops

from keras_ae.core import memory
from keras_ae.core.old_names import accept_old_argument
from keras_ae.core.types import Tensor

_TINY = 1e-6


@memory.explains("Pass fewer examples.")
def planar(
    z: Tensor, direction: Tensor, normal: Tensor, bias: Tensor, shortest: float = 0.05
) -> tuple[Tensor, Tensor]:
    """Compute f(z) = z + u tanh(w.z + b), where u is changed so that the map has an inverse.

    For a long w, the change is the paper's. The paper's change grows without bound as w vanishes,
    although an inverse then needs no change. For a short w, a change that vanishes with w therefore
    replaces it.

    Source: Rezende and Mohamed, Variational Inference with Normalizing Flows, eq. 10 to 12 and
    appendix A.1, arXiv:1505.05770.

    Args:
        z: Tensor of shape (batch, dimensions).
        direction: The paper's u before the change, of z's shape.
        normal: The paper's w, of z's shape.
        bias: The paper's b, of shape (batch, 1).
        shortest: Length of w below which the other change replaces the paper's, smoothly. 0 always
            takes the paper's. Defaults to 0.05.

    Returns:
        Tensors of shape (batch, dimensions) and (batch,): f(z) and log |det df/dz|.

    Example:
        >>> import numpy as np
        >>> z = np.zeros((4, 2), "float32")
        >>> moved, log_determinant = planar(z, z, z + 1.0, z[:, :1])
        >>> moved.shape == (4, 2) and log_determinant.shape == (4,)
        True
    """
    z, direction, normal, bias = _to_float32(z, direction, normal, bias)
    product = ops.sum(normal * direction, axis=-1, keepdims=True)
    # Both are candidates for 1 + w.u after the change. A positive number makes the map monotone.
    of_paper = ops.softplus(product)
    of_small = ops.where(product > 0.0, product + 1.0, ops.exp(ops.minimum(product, 0.0)))
    squared_length = ops.sum(ops.square(normal), axis=-1, keepdims=True)
    if shortest:
        ratio = ops.square(ops.square(ops.minimum(squared_length / shortest**2, 1e8)))
        share = ratio / (1.0 + ratio)
        change = share * (of_paper - 1.0 - product) + (1.0 - share) * (of_small - 1.0 - product)
        wanted = share * of_paper + (1.0 - share) * of_small
        # Derivatives square the reciprocal of the divisor, which must not overflow.
        divisor = squared_length + 1e-18
    else:
        change, divisor = of_paper - 1.0 - product, squared_length + _TINY
        wanted = 1.0 + product + change * squared_length / divisor
    direction = direction + change * normal / divisor
    bent = ops.tanh(ops.sum(normal * z, axis=-1, keepdims=True) + bias)  # (batch, 1)
    return z + direction * bent, _log_slope(bent, wanted)[:, 0]


@accept_old_argument("centre", "center")
@memory.explains("Pass fewer examples.")
def radial(z: Tensor, center: Tensor, width: Tensor, strength: Tensor) -> tuple[Tensor, Tensor]:
    """Compute f(z) = z + beta (z - c) / (alpha + |z - c|), with alpha > 0 and beta > -alpha.

    Source: Rezende and Mohamed, Variational Inference with Normalizing Flows, eq. 14 and appendix
    A.2, arXiv:1505.05770.

    Args:
        z: Tensor of shape (batch, dimensions).
        center: The paper's reference point c, of z's shape.
        width: Tensor of shape (batch, 1). alpha is its softplus.
        strength: Tensor of shape (batch, 1). beta is its softplus minus alpha.

    Returns:
        Tensors of shape (batch, dimensions) and (batch,): f(z) and log |det df/dz|.

    Example:
        >>> import numpy as np
        >>> z = np.ones((4, 2), "float32")
        >>> moved, log_determinant = radial(z, 0 * z, z[:, :1], z[:, :1])
        >>> bool(np.allclose(moved, z, atol=1e-6))  # Equal width and strength: beta is 0.
        True
    """
    z, center, width, strength = _to_float32(z, center, width, strength)
    alpha = ops.softplus(width)
    beta = ops.softplus(strength) - alpha
    difference = z - center
    distance = ops.sqrt(ops.sum(ops.square(difference), axis=-1, keepdims=True) + _TINY**2)
    moved = z + beta / (alpha + distance) * difference
    # Both eigenvalues of the Jacobian are quotients of sums of positive numbers. `across` belongs
    # to the directions orthogonal to z - c, and `along` to that of z - c.
    sum_of_both = ops.softplus(strength)  # alpha + beta
    rest = _TINY**2 / distance
    across = sum_of_both + distance
    along = ops.square(distance) + alpha * (2.0 * distance - rest) + sum_of_both * (alpha + rest)
    dimensions = z.shape[-1]
    log_determinant = (dimensions - 1) * ops.log(across) + ops.log(along)
    return moved, (log_determinant - (dimensions + 1) * ops.log(alpha + distance))[:, 0]


@memory.explains("Pass fewer examples.")
def sylvester(
    z: Tensor, reflections: Tensor, upper: Tensor, lower: Tensor, bias: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute f(z) = z + Q R tanh(S Q'z + b).

    Q is a product of reflections, and R and S are upper triangular.

    Source: van den Berg et al., Sylvester Normalizing Flows for Variational Inference, eq. 13 and
    section 4.2 (Householder), arXiv:1803.05649.

    Args:
        z: Tensor of shape (batch, dimensions).
        reflections: Normals of the Householder reflections, (batch, count, dimensions).
        upper: Tensor of shape (batch, dimensions, dimensions), from which R is made: its diagonal
            is brought into (-1, 1) by a tanh, and entries below the diagonal are ignored.
        lower: Tensor of the same shape, from which S is made in the same way.
        bias: The paper's b, of z's shape.

    Returns:
        Tensors of shape (batch, dimensions) and (batch,): f(z) and log |det df/dz|.

    Example:
        >>> import numpy as np
        >>> z = np.ones((4, 2), "float32")
        >>> square = np.zeros((4, 2, 2), "float32")
        >>> moved, log_determinant = sylvester(z, square[:, :1] + 1.0, square, square, z)
        >>> bool(np.allclose(moved, z))  # R = 0 leaves everything in place.
        True
    """
    z, reflections, upper, lower, bias = _to_float32(z, reflections, upper, lower, bias)
    outer, inner = _make_triangular(upper), _make_triangular(lower)
    turned = _reflect(z, reflections, reverse=True)
    bent = ops.tanh(_multiply(inner, turned) + bias)
    # 1 + tanh(a) tanh(b) = cosh(a + b) / (cosh(a) cosh(b)), which never falls to zero.
    a, b = (ops.diagonal(matrices, axis1=1, axis2=2) for matrices in (upper, lower))
    wanted = ops.exp(_log_cosh(a + b) - _log_cosh(a) - _log_cosh(b))
    moved = z + _reflect(_multiply(outer, bent), reflections)
    return moved, ops.sum(_log_slope(bent, wanted), axis=-1)


def _to_float32(*values):
    return (ops.cast(value, "float32") for value in values)


def _make_triangular(matrices):
    """Make upper triangular matrices with diagonals in (-1, 1).

    The product of two such diagonal entries is more than -1, which makes the map invertible.
    """
    size = matrices.shape[-1]
    eye = ops.eye(size, dtype="float32")
    return ops.triu(matrices, k=1) + eye * ops.tanh(matrices)


def _multiply(matrices, vectors):
    return ops.sum(matrices * vectors[:, None, :], axis=-1)


def _reflect(z, reflections, reverse=False):
    """Compute Q z, or Q'z, its inverse, which applies the reflections in the opposite order."""
    count = reflections.shape[1]
    units = _scale_to_unit_length(reflections)
    for index in range(count) if reverse else reversed(range(count)):
        unit = units[:, index]
        z = z - 2.0 * unit * ops.sum(unit * z, axis=-1, keepdims=True)
    return z


def _scale_to_unit_length(vectors):
    """Scale vectors to length 1. A vector too close to 0 becomes 0, whose reflection is none."""
    largest = ops.stop_gradient(ops.max(ops.abs(vectors), axis=-1, keepdims=True))
    told = largest > 1e-30
    # Dividing by the largest entry does not change the direction. Without it, the squares of small
    # numbers would be 0.
    scaled = ops.where(told, vectors / ops.where(told, largest, 1.0), 0.0)
    squares = ops.sum(ops.square(scaled), axis=-1, keepdims=True)
    return scaled * ops.rsqrt(ops.where(told, squares, 1.0))


def _log_slope(bent, wanted):
    """Compute log(1 + (1 - t^2) p) from t, a tanh, and from p + 1, which is positive.

    `bent` is t, and `wanted` is p + 1. The function takes p + 1, because the sum with 1 may round
    to 0 if it is computed from p.
    """
    square = ops.square(bent)
    return ops.log(ops.maximum(square + (1.0 - square) * wanted, 1e-37))


def _log_cosh(x):
    x = ops.abs(x)
    return x + ops.log1p(ops.exp(-2.0 * x)) - math.log(2.0)
