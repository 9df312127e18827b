"""How far reconstructions are from data.

Of the mean squared error less is better, and of the other figures more.
"""

import numpy as np
from scipy import ndimage

from keras_ae.core.arguments import number
from keras_ae.core.types import Array

# The exponents of the five scales, from fine to coarse (table in section 3.2 of the paper).
_SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
_WINDOW, _DEVIATION = 11, 1.5


def mean_squared_error(x: Array, reconstruction: Array) -> np.ndarray:
    """Compute the mean squared error of every example.

    Args:
        x: Array of shape (examples, ...).
        reconstruction: Array of x's shape.

    Returns:
        Float64 array of shape (examples,), numbers of at least 0 in squared units of the data.

    Raises:
        ValueError: If the shapes differ.

    Example:

    >>> import numpy as np
    >>> from keras_ae import evaluation
    >>> evaluation.mean_squared_error(np.zeros((2, 4)), np.ones((2, 4))).tolist()
    [1.0, 1.0]
    """
    x, y = _check("mean_squared_error", x, reconstruction)
    return np.mean((x - y).reshape(len(x), -1) ** 2, axis=1)


def peak_signal_to_noise_ratio(
    x: Array, reconstruction: Array, data_range: float = 1.0
) -> np.ndarray:
    """Compute the peak signal-to-noise ratio of every example, in decibels.

    It is 10 log10(data_range^2 / mean squared error).

    Args:
        x: Array of shape (examples, ...).
        reconstruction: Array of x's shape.
        data_range: Largest minus smallest possible value of the data, a positive number: 255 for
            bytes. Defaults to 1.

    Returns:
        Float64 array of shape (examples,), infinite where the reconstruction is exact.

    Raises:
        ValueError: If the shapes differ, or the data exceeds its range.

    Example:

    >>> import numpy as np
    >>> from keras_ae import evaluation
    >>> x = np.zeros((1, 8, 8, 1))
    >>> evaluation.peak_signal_to_noise_ratio(x, x + 0.1).round(6).tolist()
    [20.0]
    """
    owner = "peak_signal_to_noise_ratio"
    x, y = _check(owner, x, reconstruction)
    data_range = _check_range(owner, x, data_range)
    error = np.mean((x - y).reshape(len(x), -1) ** 2, axis=1)
    with np.errstate(divide="ignore"):
        return 10.0 * np.log10(data_range**2 / error)


def structural_similarity(x: Array, reconstruction: Array, data_range: float = 1.0) -> np.ndarray:
    """Compute the structural similarity (SSIM) of every picture with its reconstruction.

    Local means, variances and covariances have a Gaussian window of 11 x 11 pixels with the
    deviation 1.5. Windows beyond the border are left out. The similarity is averaged over places
    and channels. It compares brightness by ratios, and so has a meaning only if black is 0.

    Source: Wang et al., Image Quality Assessment, IEEE Transactions on Image Processing 13 (2004),
    doi:10.1109/TIP.2003.819861.

    Args:
        x: Array of shape (examples, height, width, channels), at least 11 pixels high and wide, of
            numbers from 0 to data_range.
        reconstruction: Array of x's shape.
        data_range: Largest possible value of the data, a positive number: 255 for bytes. Defaults
            to 1.

    Returns:
        Float64 array of shape (examples,) of numbers from -1 to 1, which exact reconstructions
        have.

    Raises:
        ValueError: If the arrays hold no such pictures, or the data exceeds its range.

    Example:

    >>> import numpy as np
    >>> from keras_ae import evaluation
    >>> x = np.random.default_rng(0).random((2, 16, 16, 1))
    >>> evaluation.structural_similarity(x, x).tolist()
    [1.0, 1.0]
    """
    owner = "structural_similarity"
    x, y = _check_pictures(owner, x, reconstruction, _WINDOW)
    return _compare(x, y, _check_range(owner, x, data_range, from_0=True))[0].mean(axis=-1)


def multiscale_structural_similarity(
    x: Array, reconstruction: Array, data_range: float = 1.0
) -> np.ndarray:
    """Compute the structural similarity of every picture over five scales (MS-SSIM).

    Each scale halves the pictures by means of 2 x 2 pixels. Contrast and structure of all scales
    and the luminance of the coarsest one are multiplied, with the exponents of the paper.

    Source: Wang, Simoncelli and Bovik, Multi-scale structural similarity for image quality
    assessment, 2003, doi:10.1109/ACSSC.2003.1292216.

    Args:
        x: Array of shape (examples, height, width, channels), at least 176 pixels high and wide,
            so that the coarsest scale has 11, of numbers from 0 to data_range.
        reconstruction: Array of x's shape.
        data_range: See `structural_similarity`. Defaults to 1.

    Returns:
        Float64 array of shape (examples,) of numbers from 0 to 1, which exact reconstructions have.
        A negative similarity of one scale counts as 0.

    Raises:
        ValueError: If the arrays hold no such pictures, or the data exceeds its range.

    Example:

    >>> import numpy as np
    >>> from keras_ae import evaluation
    >>> x = np.random.default_rng(0).random((1, 176, 176, 1))
    >>> evaluation.multiscale_structural_similarity(x, x).tolist()
    [1.0]
    """
    owner = "multiscale_structural_similarity"
    least = _WINDOW * 2 ** (len(_SCALE_WEIGHTS) - 1)
    x, y = _check_pictures(owner, x, reconstruction, least)
    data_range = _check_range(owner, x, data_range, from_0=True)
    total = 1.0
    for scale, weight in enumerate(_SCALE_WEIGHTS):
        if scale:
            x, y = _halve(x), _halve(y)
        whole, contrast = _compare(x, y, data_range)
        part = whole if scale == len(_SCALE_WEIGHTS) - 1 else contrast
        # A negative similarity has no real power.
        total = total * np.maximum(part, 0.0) ** weight
    return total.mean(axis=-1)


def _compare(x, y, data_range):
    """Compute the similarity, and that of contrast and structure, (examples, channels) each."""
    first, second = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mean_x, mean_y = _blur(x), _blur(y)
    variances = _blur(x**2) - mean_x**2 + _blur(y**2) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    contrast = (2.0 * covariance + second) / (variances + second)
    luminance = (2.0 * mean_x * mean_y + first) / (mean_x**2 + mean_y**2 + first)
    return tuple(np.mean(value, axis=(1, 2)) for value in (luminance * contrast, contrast))


def _blur(x):
    """Average over Gaussian windows that lie within the pictures."""
    places = np.arange(_WINDOW) - _WINDOW // 2
    window = np.exp(-0.5 * (places / _DEVIATION) ** 2)
    margin = _WINDOW // 2
    for axis in (1, 2):
        x = ndimage.correlate1d(x, window / window.sum(), axis=axis)
    return x[:, margin:-margin, margin:-margin]


def _halve(x):
    """Average over blocks of 2 x 2 pixels. An odd last row or column is left out."""
    n, height, width, channels = x.shape
    x = x[:, : height // 2 * 2, : width // 2 * 2]
    return x.reshape(n, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))


def _check(owner, x, y):
    x, y = np.asarray(x), np.asarray(y)
    for name, value in (("x", x), ("reconstruction", y)):
        if value.dtype.kind not in "buif":
            raise TypeError(f"{owner}: {name} has the dtype {value.dtype}, but must hold numbers.")
    if x.shape != y.shape or x.ndim == 0 or x.size == 0:
        raise ValueError(
            f"{owner}: x has the shape {x.shape} and reconstruction {y.shape}. Pass two arrays of "
            "the same shape (examples, ...)."
        )
    return x.astype("float64"), y.astype("float64")


def _check_pictures(owner, x, y, least):
    x, y = _check(owner, x, y)
    if x.ndim != 4 or min(x.shape[1:3]) < least:
        raise ValueError(
            f"{owner}: x has the shape {x.shape}, but pictures have the shape (examples, height, "
            f"width, channels), and here at least {least} pixels in height and width. Pass "
            "x[..., None] for gray pictures without a channel axis."
        )
    return x, y


def _check_range(owner, x, data_range, from_0=False):
    data_range = number(owner, "data_range", data_range, positive=True)
    low, margin = 0.0 if from_0 else x.min(), 1e-6 * data_range
    if x.min() < low - margin or x.max() > low + data_range + margin:
        raise ValueError(
            f"{owner}: data_range={data_range!r}, but x holds values from {x.min():g} to "
            f"{x.max():g}. Pass the range that the data can have, such as 255 for bytes."
            + " Shift data so that black is 0: x + 1 and 2 for data from -1 to 1."
            * from_0
        )
    return float(data_range)
