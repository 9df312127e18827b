"""Noise around codes that is as wide as the distance to their neighbors."""

from typing import Any

import keras
import numpy as np

from keras_ae.core import arguments
from keras_ae.samplers.stored_codes import StoredCodes


@keras.saving.register_keras_serializable("keras_ae")
class NearestCodes(StoredCodes):
    """Draws a stored code and adds noise that is wide where codes are rare.

    The noise's expected squared length is the squared distance to the k-th nearest stored code, if
    the temperature is 1.

    Source: Breiman, Meisel and Purcell, Variable kernel estimates of multivariate densities,
    Technometrics 19 (1977).

    Args:
        k: Which neighbor, a positive integer. Defaults to 1.
        num_codes: See `StoredCodes`.
        temperature: Factor of the noise, a number of at least 0. Defaults to 0.5, because the noise
            points away from the data in most directions.
        **kwargs: `name`.

    Example:
        >>> import numpy as np
        >>> from keras_ae.samplers import NearestCodes
        >>> codes = np.random.default_rng(0).normal(size=(200, 3))
        >>> NearestCodes(k=3).fit(codes).draw(5, seed=0).shape
        (5, 3)
    """

    def __init__(
        self, k: int = 1, num_codes: int = 10_000, temperature: float = 0.5, **kwargs: Any
    ):
        super().__init__(num_codes, temperature, **kwargs)
        self.k = arguments.integer(self, "k", k)

    def _find_widths(self, stored):
        from sklearn.neighbors import NearestNeighbors

        k = min(self.k, len(stored) - 1)
        # Without an argument, a code is no neighbor of itself.
        distances, _ = NearestNeighbors(n_neighbors=k).fit(stored).kneighbors()
        # Noise does not move a dimension without variance.
        return distances[:, -1] / np.sqrt(max(1, np.sum(np.ptp(stored, axis=0) > 0.0)))

    def get_config(self):
        return {**super().get_config(), "k": self.k}
