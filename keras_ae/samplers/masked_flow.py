"""Masked autoregressive flow: a density of codes that is learned by maximum likelihood."""

from typing import Any

import keras
from keras import ops

from keras_ae.core import arguments
from keras_ae.core.draws import draw_normal
from keras_ae.core.types import Tensor
from keras_ae.distributions import DiagonalGaussian
from keras_ae.layers import InverseAutoregressiveFlow
from keras_ae.samplers.fitted import TrainedSampler


@keras.saving.register_keras_serializable("keras_ae")
class MaskedFlow(TrainedSampler):
    """Maps codes to noise by maps whose every dimension depends on those before it.

    The density of a code takes one pass through the networks. A draw takes one pass for each
    dimension, so that this sampler is slow for wide codes.

    Source: Papamakarios, Pavlakou and Murray, Masked Autoregressive Flow for Density Estimation,
    eq. 2 to 5, arXiv:1705.07057. Scales are bounded: the logarithm of a map's scale stays between
    -3 and 3.

    Args:
        flows: Number of maps, a positive integer. The order of the dimensions is reversed between
            them. Defaults to 5.
        units: Hidden units of each map's network, a positive integer. Defaults to 128.
        epochs: Number of passes over the codes, a positive integer. Defaults to 50.
        batch_size, learning_rate, temperature: See `TrainedSampler`.
        **kwargs: `name`.

    Example:
        >>> import numpy as np
        >>> from keras_ae.samplers import MaskedFlow
        >>> codes = np.random.default_rng(0).normal(size=(200, 3))
        >>> MaskedFlow(epochs=1).fit(codes).draw(5, seed=0).shape
        (5, 3)
    """

    def __init__(self, flows: int = 5, units: int = 128, epochs: int = 50, **kwargs: Any):
        super().__init__(epochs, **kwargs)
        self.flows = arguments.integer(self, "flows", flows)
        self.units = arguments.integer(self, "units", units)

    def _make(self, width):
        self.maps = [
            _AffineMap(self.units, reverse=number % 2 == 1, name=f"map_{number}")
            for number in range(self.flows)
        ]
        for each in self.maps:
            each.build((None, width))

    def log_prob(self, codes: Tensor) -> Tensor:
        """Compute the log-density, in nats, of standardized codes.

        Args:
            codes: Float32 tensor of shape (batch, width), whose dimensions have mean 0 and
                variance 1.

        Returns:
            Tensor of shape (batch,).
        """
        total = 0.0
        for each in self.maps:
            codes, log_determinant = each(codes)
            total = total + log_determinant
        return total + DiagonalGaussian.standard(codes).log_prob(codes)

    def _losses_of(self, codes, seed):
        return -self.log_prob(codes)

    def _draw(self, num_samples, seed, temperature):
        width = self.center.shape[0]
        codes = temperature * draw_normal((num_samples, width), seed)
        for each in reversed(self.maps):
            codes = each.inverse(codes)
        return codes

    def get_config(self):
        return {**super().get_config(), "flows": self.flows, "units": self.units}


class _AffineMap(InverseAutoregressiveFlow):
    """f(z) = (z - m) / s, where m and s of a dimension depend only on earlier dimensions."""

    GATE_BIAS = 0.0

    def call(self, z):
        shift, log_scale = self._compute_shift_and_scale(z)
        return (z - shift) * ops.exp(-log_scale), -ops.sum(log_scale, axis=-1)

    def inverse(self, y):
        z = ops.zeros_like(y)
        for _ in range(y.shape[-1]):  # Each turn makes one more dimension correct.
            shift, log_scale = self._compute_shift_and_scale(z)
            z = y * ops.exp(log_scale) + shift
        return z

    def _compute_shift_and_scale(self, z):
        shift, logit = self._compute_shift_and_gate(z, None)
        return shift, 3.0 * ops.tanh(logit / 3.0)
