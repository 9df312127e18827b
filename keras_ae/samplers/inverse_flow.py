"""Inverse autoregressive flow: noise becomes codes in one pass."""

from typing import Any

import keras

from keras_ae.core.draws import draw_normal
from keras_ae.core.types import Tensor
from keras_ae.distributions import DiagonalGaussian
from keras_ae.samplers.masked_flow import MaskedFlow


@keras.saving.register_keras_serializable("keras_ae")
class InverseFlow(MaskedFlow):
    """Maps noise to codes by maps whose every dimension depends on those before it.

    A draw takes one pass through the networks. The density of a code takes one pass for each
    dimension, so that this sampler is slow to fit.

    Source: Kingma et al., Improving Variational Inference with Inverse Autoregressive Flow,
    arXiv:1606.04934, as a density of given codes: Papamakarios, Pavlakou and Murray,
    arXiv:1705.07057, section 3.1.

    Args:
        flows: Number of maps, a positive integer. Defaults to 3.
        units: Hidden units of each map's network, a positive integer. Defaults to 128.
        epochs: Number of passes over the codes, a positive integer. Defaults to 20.
        batch_size, learning_rate, temperature: See `TrainedSampler`.
        **kwargs: `name`.

    Example:
        >>> import numpy as np
        >>> from keras_ae.samplers import InverseFlow
        >>> codes = np.random.default_rng(0).normal(size=(200, 3))
        >>> InverseFlow(epochs=1).fit(codes).draw(5, seed=0).shape
        (5, 3)
    """

    def __init__(self, flows: int = 3, units: int = 128, epochs: int = 20, **kwargs: Any):
        super().__init__(flows, units, epochs, **kwargs)

    def log_prob(self, codes: Tensor) -> Tensor:
        """Compute the log-density, in nats, of standardized codes.

        Args:
            codes: Float32 tensor of shape (batch, width), whose dimensions have mean 0 and
                variance 1.

        Returns:
            Tensor of shape (batch,).
        """
        total = 0.0
        for each in reversed(self.maps):
            codes = each.inverse(codes)
            total = total - each(codes)[1]
        return total + DiagonalGaussian.standard(codes).log_prob(codes)

    def _draw(self, num_samples, seed, temperature):
        codes = temperature * draw_normal((num_samples, self.center.shape[0]), seed)
        for each in self.maps:
            codes, _ = each(codes)
        return codes
