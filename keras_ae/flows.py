"""Normalising flows: invertible maps of codes with the logarithm of their Jacobian's determinant.

Pure functions of codes and of the map's parameters, one set of parameters for every example. A flow
with weights of its own is a layer: `keras_ae.layers.InverseAutoregressiveFlow`.
"""

from keras import ops

_TINY = 1e-6


def planar(z, direction, normal, bias):
    """f(z) = z + u tanh(w.z + b), where u is changed so that the map has an inverse.

    Source: Rezende and Mohamed, Variational Inference with Normalizing Flows, eq. 10 to 12 and
    appendix A.1, arXiv:1505.05770.

    Args:
        z: Tensor of shape (batch, dimensions).
        direction: The paper's u before the change, of z's shape.
        normal: The paper's w, of z's shape.
        bias: The paper's b, of shape (batch, 1).

    Returns:
        Tensors of shape (batch, dimensions) and (batch,): f(z) and log |det df/dz|.

    Example:
        >>> import numpy as np
        >>> z = np.zeros((4, 2), "float32")
        >>> moved, log_determinant = planar(z, z, z + 1.0, z[:, :1])
        >>> moved.shape == (4, 2) and log_determinant.shape == (4,)
        True
    """
    z, direction, normal, bias = _float32(z, direction, normal, bias)
    product = ops.sum(normal * direction, axis=-1, keepdims=True)
    wanted = ops.softplus(product) - 1.0  # Of at least -1, for which the map is monotone.
    squared_length = ops.sum(ops.square(normal), axis=-1, keepdims=True)
    direction = direction + (wanted - product) * normal / (squared_length + _TINY)
    bent = ops.tanh(ops.sum(normal * z, axis=-1, keepdims=True) + bias)  # (batch, 1)
    product = ops.sum(normal * direction, axis=-1)
    slope = 1.0 - ops.square(bent[:, 0])
    return z + direction * bent, ops.log(_positive(1.0 + slope * product))


def radial(z, centre, width, strength):
    """f(z) = z + beta (z - c) / (alpha + |z - c|), with alpha > 0 and beta > -alpha.

    Source: Rezende and Mohamed, Variational Inference with Normalizing Flows, eq. 14 and appendix
    A.2, arXiv:1505.05770.

    Args:
        z: Tensor of shape (batch, dimensions).
        centre: The paper's reference point, of z's shape.
        width: Of shape (batch, 1); alpha is its softplus.
        strength: Of shape (batch, 1); beta is its softplus less alpha.

    Returns:
        Tensors of shape (batch, dimensions) and (batch,): f(z) and log |det df/dz|.

    Example:
        >>> import numpy as np
        >>> z = np.ones((4, 2), "float32")
        >>> moved, log_determinant = radial(z, 0 * z, z[:, :1], z[:, :1])
        >>> bool(np.allclose(moved, z, atol=1e-6))  # Equal width and strength: beta is 0.
        True
    """
    z, centre, width, strength = _float32(z, centre, width, strength)
    alpha = ops.softplus(width)
    beta = ops.softplus(strength) - alpha
    difference = z - centre
    distance = ops.sqrt(ops.sum(ops.square(difference), axis=-1, keepdims=True) + _TINY**2)
    factor = beta / (alpha + distance)  # (batch, 1)
    slope = factor - beta * distance / ops.square(alpha + distance)
    dimensions = z.shape[-1]
    log_determinant = (dimensions - 1) * ops.log(_positive(1.0 + factor))
    log_determinant = log_determinant + ops.log(_positive(1.0 + slope))
    return z + factor * difference, log_determinant[:, 0]


def sylvester(z, reflections, upper, lower, bias):
    """f(z) = z + Q R tanh(S Q'z + b): Q a product of reflections, R and S upper triangular.

    Source: van den Berg et al., Sylvester Normalizing Flows for Variational Inference, eq. 13 and
    section 4.2 (Householder), arXiv:1803.05649.

    Args:
        z: Tensor of shape (batch, dimensions).
        reflections: Normals of the Householder reflections, (batch, count, dimensions).
        upper: R before its diagonal is brought into (-1, 1) by a tanh and what lies below it is
            left out, of shape (batch, dimensions, dimensions).
        lower: S in the same form.
        bias: Of z's shape.

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
    z, reflections, upper, lower, bias = _float32(z, reflections, upper, lower, bias)
    outer, inner = _triangular(upper), _triangular(lower)
    turned = _reflect(z, reflections, reverse=True)
    bent = ops.tanh(_times(inner, turned) + bias)
    slope = 1.0 - ops.square(bent)
    diagonals = ops.diagonal(outer, axis1=1, axis2=2) * ops.diagonal(inner, axis1=1, axis2=2)
    moved = z + _reflect(_times(outer, bent), reflections)
    return moved, ops.sum(ops.log(_positive(1.0 + slope * diagonals)), axis=-1)


def _float32(*values):
    return (ops.cast(value, "float32") for value in values)


def _triangular(matrices):
    """The upper triangles, with diagonals in (-1, 1): two of them then multiply to more than -1."""
    size = matrices.shape[-1]
    eye = ops.eye(size, dtype="float32")
    return ops.triu(matrices, k=1) + eye * ops.tanh(matrices)


def _times(matrices, vectors):
    return ops.sum(matrices * vectors[:, None, :], axis=-1)


def _reflect(z, reflections, reverse=False):
    """Q z, or its inverse Q'z: the same reflections in the other order."""
    count = reflections.shape[1]
    for index in range(count) if reverse else reversed(range(count)):
        normal = reflections[:, index]
        length = ops.sum(ops.square(normal), axis=-1, keepdims=True) + _TINY
        z = z - 2.0 * normal * ops.sum(normal * z, axis=-1, keepdims=True) / length
    return z


def _positive(values):
    # Not below zero but for rounding, and then the logarithm must stay a number.
    return ops.maximum(values, 1e-7)
