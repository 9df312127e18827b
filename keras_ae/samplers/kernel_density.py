"""A kernel density over codes, whose bandwidth maximizes the likelihood of held-out codes."""

from typing import Any

import keras
import numpy as np

from keras_ae.core import arguments
from keras_ae.samplers.stored_codes import StoredCodes


@keras.saving.register_keras_serializable("keras_ae")
class KernelDensity(StoredCodes):
    """Draws a stored code and adds Gaussian noise, the same everywhere.

    Source: Parzen, On estimation of a probability density function and mode, Annals of Mathematical
    Statistics 33 (1962). The bandwidth is chosen as in Duin, On the choice of smoothing parameters
    for Parzen estimators of probability density functions, IEEE Transactions on Computers C-25
    (1976): a code's likelihood is computed without itself.

    Args:
        bandwidth: Standard deviation of the noise, as a fraction of that of a dimension of the
            codes, a positive number. Defaults to None: the one of 40 between 0.01 and 2 with the
            highest likelihood of up to 500 codes.
        num_codes, temperature: See `StoredCodes`.
        **kwargs: `name`.

    Example:
        >>> import numpy as np
        >>> from keras_ae.samplers import KernelDensity
        >>> codes = np.random.default_rng(0).normal(size=(200, 3))
        >>> KernelDensity().fit(codes).draw(5, seed=0).shape
        (5, 3)
    """

    def __init__(
        self,
        bandwidth: float | None = None,
        num_codes: int = 10_000,
        temperature: float = 1.0,
        **kwargs: Any,
    ):
        super().__init__(num_codes, temperature, **kwargs)
        self.bandwidth = arguments.number(
            self, "bandwidth", bandwidth, positive=True, optional=True
        )

    def _find_widths(self, stored):
        return self.bandwidth or find_bandwidth(stored)

    def get_config(self):
        return {**super().get_config(), "bandwidth": self.bandwidth}


def find_bandwidth(codes, most=500):
    """Find the standard deviation of Gaussian kernels under which codes are likeliest.

    Args:
        codes: Array of shape (codes, width).
        most: The likelihoods of this many codes are computed, each without its own kernel. Defaults
            to 500.

    Returns:
        The best of 40 numbers between 0.01 and 2, whose ratios are equal.
    """
    from scipy.spatial.distance import cdist
    from scipy.special import logsumexp

    candidates = np.geomspace(0.01, 2.0, 40)
    # A dimension without variance would be likelier the narrower the kernels are.
    codes = codes[:, np.ptp(codes, axis=0) > 0.0]
    total = np.zeros(len(candidates))
    for start in range(0, min(most, len(codes)), 100):
        squares = cdist(codes[start : start + 100], codes, "sqeuclidean")
        own = np.arange(len(squares))
        squares[own, start + own] = np.inf
        for i, width in enumerate(candidates):
            log_kernels = -0.5 * squares / width**2 - codes.shape[1] * np.log(width)
            total[i] += logsumexp(log_kernels, axis=1).sum()
    return float(candidates[total.argmax()])
