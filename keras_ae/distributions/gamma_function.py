"""The logarithm of the gamma function, which Keras lacks, in the digits that float32 has."""

import math

from keras import ops

# Three terms of Stirling's series have all digits of float32 for arguments of at least this size.
_FROM = 8.0


def stirling_error(z):
    """Compute log Gamma(z) - ((z - 1/2) log z - z + log(2 pi) / 2), which vanishes as z grows.

    Densities that are written with it lose no digits where their gamma functions are large and
    almost cancel (Loader, Fast and accurate computation of binomial probabilities, 2000).

    Args:
        z: Float32 tensor of positive numbers.

    Returns:
        Float32 tensor of the same shape.

    Example:
        >>> import numpy as np
        >>> round(float(stirling_error(np.array([1.0], "float32"))[0]), 4)
        0.0811
    """
    z = ops.cast(z, "float32")
    is_small = z < _FROM
    small = ops.where(is_small, z, 1.0)
    # Gamma(z) = Gamma(z + 8) / (z (z + 1) ... (z + 7)) leads from small numbers to large ones.
    product, moved = small, small + _FROM
    for number in range(1, int(_FROM)):
        product = product * (small + number)
    difference = (moved - 0.5) * ops.log(moved) - (small - 0.5) * ops.log(small)
    difference = ops.where(is_small, difference - ops.log(product) - _FROM, 0.0)
    reciprocal = 1.0 / ops.where(is_small, moved, z)
    square = ops.square(reciprocal)
    series = reciprocal * (1 / 12 - square * (1 / 360 - square / 1260))
    return series + difference


def log_gamma(z):
    """Compute log Gamma(z).

    Args:
        z: Float32 tensor of positive numbers.

    Returns:
        Float32 tensor of the same shape.

    Example:
        >>> import numpy as np
        >>> round(float(log_gamma(np.array([5.0], "float32"))[0]), 4)  # log(4!)
        3.1781
    """
    z = ops.cast(z, "float32")
    return (z - 0.5) * ops.log(z) - z + 0.5 * math.log(2.0 * math.pi) + stirling_error(z)
