"""The base class of samplers that store codes and draw near them."""

from typing import Any

import numpy as np
from keras import ops

from keras_ae.core import arguments
from keras_ae.core.draws import draw_normal, draw_uniform
from keras_ae.samplers.fitted import FittedSampler


class StoredCodes(FittedSampler):
    """Base class of samplers that choose one of the stored codes and add Gaussian noise to it.

    Args:
        num_codes: Number of codes that are stored, a positive integer. They are chosen at random.
            Defaults to 10,000.
        temperature: Factor of the noise, a number of at least 0. Defaults to 1.
        **kwargs: `name`.
    """

    def __init__(self, num_codes: int = 10_000, temperature: float = 1.0, **kwargs: Any):
        super().__init__(temperature, **kwargs)
        self.num_codes = arguments.integer(self, "num_codes", num_codes, least=2)

    def _find_widths(self, stored):
        """Return the standard deviation of each stored code's noise, a number or an array.

        Args:
            stored: Array of the stored codes, shape (codes, width).
        """
        raise NotImplementedError

    def _find_sizes(self, codes, labels):
        return {"stored": min(self.num_codes, len(codes))}

    def _make(self, width, stored):
        self.codes = self._make_state((stored, width), "codes")
        self.widths = self._make_state((stored,), "widths")

    def _learn(self, codes, labels, seed, verbose):
        order = np.random.default_rng(seed).permutation(len(codes))
        number = self.codes.shape[0]
        stored = codes[order[:number]]
        self.codes.assign(stored)
        self.widths.assign(np.broadcast_to(self._find_widths(stored), (number,)))

    def _draw(self, num_samples, seed, temperature):
        number, width = self.codes.shape
        chance = draw_uniform((num_samples,), seed, 0.0, float(number))
        noise = temperature * draw_normal((num_samples, width), seed)
        # A uniform number in float32 may round up to the limit.
        index = ops.minimum(ops.cast(ops.floor(chance), "int32"), number - 1)
        return ops.take(self.codes, index, axis=0) + ops.take(self.widths, index)[:, None] * noise

    def get_config(self):
        return {**super().get_config(), "num_codes": self.num_codes}
