"""Smooth bounds of what a network returns, within which no likelihood overflows."""

from keras import ops


def bound(values, low=None, high=None):
    """Return numbers between low and high, which are the given ones where these are well inside.

    Both ends are approached as by a softplus, so that gradients never vanish at once.

    Args:
        values: Tensor.
        low: The lower bound. Defaults to None.
        high: The upper bound. Defaults to None.

    Returns:
        Float32 tensor of the same shape.

    Example:
        >>> import numpy as np
        >>> [round(float(v), 2) for v in bound(np.array([-99.0, 0.5, 99.0]), -8.0, 8.0)]
        [-8.0, 0.5, 8.0]
    """
    values = ops.cast(values, "float32")
    if low is not None:
        values = low + ops.softplus(values - low)
    if high is not None:
        values = high - ops.softplus(high - values)
    return values
