"""What the bound of a variational model consists of, and what its code carries."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import logsumexp

from keras_ae.core import arguments
from keras_ae.core.types import Array
from keras_ae.evaluation.arrays import check_pair, check_rows, make_generator, rows_at_once


def active_units(means: Array, threshold: float = 0.01) -> int:
    """Count the dimensions of a code whose posterior mean depends on the data.

    A dimension is active if the variance of its posterior mean over the data exceeds the
    threshold. The figure depends on the scale of the code, which a standard normal prior fixes.

    Source: Burda, Grosse and Salakhutdinov, section 5.2, arXiv:1509.00519.

    Args:
        means: Array of shape (examples, dimensions), the posterior means.
        threshold: Least variance, a positive number. Defaults to 0.01.

    Returns:
        An integer from 0 to the number of dimensions. Neither more nor less is better.

    Example:

    >>> import numpy as np
    >>> from keras_ae import evaluation
    >>> evaluation.active_units(np.array([[1.0, 0.0], [-1.0, 0.0]]))
    1
    """
    means = check_rows("active_units", "means", means)
    threshold = arguments.number("active_units", "threshold", threshold, positive=True)
    return int(np.sum(np.var(means, axis=0) > threshold))


def decompose_divergence(means: Array, log_variances: Array, seed: int = 0) -> dict[str, float]:
    """Split the average divergence from a standard normal prior into its three parts, in nats.

    With the aggregated posterior q(z), the average of the posteriors of the examples that are
    passed, the mean of KL(q(z | x) || N(0, I)) is the sum of

    - `mutual_information`: KL(q(x, z) || q(x) q(z)), what a code tells about which of these
      examples it belongs to, at most log(examples);
    - `total_correlation`: KL(q(z) || prod_j q(z_j)), the dependence between the dimensions;
    - `dimension_wise`: sum_j KL(q(z_j) || N(0, 1)).

    The posteriors are diagonal Gaussians. q(z) is exact, and one draw from each posterior stands
    for it.

    Source: Chen et al., eq. 2, arXiv:1802.04942.

    Args:
        means: Array of shape (examples, dimensions).
        log_variances: Array of the same shape.
        seed: Integer that makes the draws repeatable. Defaults to 0.

    Returns:
        Dictionary of the three floats, and of their sum, `divergence`, which is computed in closed
        form from the same posteriors, and differs from the sum of the estimates by their noise.

    Raises:
        ValueError: If the shapes differ.

    Example:

    >>> import numpy as np
    >>> from keras_ae import evaluation
    >>> found = evaluation.decompose_divergence(np.zeros((100, 2)), np.zeros((100, 2)))
    >>> [round(abs(value), 6) for value in found.values()]
    [0.0, 0.0, 0.0, 0.0]
    """
    owner = "decompose_divergence"
    means, log_variances = check_pair(owner, means, log_variances, names=("means", "log_variances"))
    if len(means) != len(log_variances):
        raise ValueError(
            f"{owner}: means has {len(means)} examples, and log_variances {len(log_variances)}."
        )
    deviations = np.exp(0.5 * log_variances)
    noise = make_generator(owner, seed).standard_normal(means.shape)
    z = means + deviations * noise
    conditional = _log_normal(noise) - 0.5 * log_variances  # (examples, dimensions)
    joint, marginals = np.empty(len(z)), np.empty(z.shape)
    for rows in rows_at_once(len(z), z.size):
        distances = (z[rows, None] - means) / deviations
        log_densities = _log_normal(distances) - 0.5 * log_variances
        joint[rows] = logsumexp(log_densities.sum(axis=-1), axis=1) - math.log(len(z))
        marginals[rows] = logsumexp(log_densities, axis=1) - math.log(len(z))
    closed = 0.5 * (means**2 + deviations**2 - 1.0 - log_variances)
    return {
        "mutual_information": float(np.mean(conditional.sum(axis=1) - joint)),
        "total_correlation": float(np.mean(joint - marginals.sum(axis=1))),
        "dimension_wise": float(np.mean((marginals - _log_normal(z)).sum(axis=1))),
        "divergence": float(np.mean(closed.sum(axis=1))),
    }


def bits_per_dimension(
    log_likelihood: float | Array, shape: Sequence[int], levels: int = 256
) -> float | np.ndarray:
    """Convert a log-likelihood of dequantized data in nats into bits per dimension.

    Data with `levels` values that noise makes continuous, and that is scaled to [0, 1], has a
    density that is levels^dimensions times as high as that of the unscaled data.

    Source: Theis, van den Oord and Bethge, A note on the evaluation of generative models,
    arXiv:1511.01844.

    Args:
        log_likelihood: Number or array, nats per example, of data in [0, 1].
        shape: Tuple of integers: the shape of one example.
        levels: Number of values that data can have, a positive integer. 1 is for discrete data,
            whose likelihood is a probability. Defaults to 256.

    Returns:
        Float or array of log_likelihood's shape, in bits. Less is better. It is negative where a
        density is higher than that of any data with so many levels can be.

    Example:

    >>> from keras_ae import evaluation
    >>> evaluation.bits_per_dimension(0.0, (28, 28, 1))  # The uniform density on [0, 1].
    8.0
    """
    dimensions = math.prod(arguments.sizes("bits_per_dimension", "shape", shape, "(28, 28, 1)"))
    levels = arguments.integer("bits_per_dimension", "levels", levels)
    nats = np.asarray(log_likelihood, "float64") / dimensions - math.log(levels)
    bits = -nats / math.log(2.0)
    return float(bits) if bits.ndim == 0 else bits


def _log_normal(x):
    return -0.5 * (x**2 + math.log(2.0 * math.pi))
