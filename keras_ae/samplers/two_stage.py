"""A second VAE, of the first one's codes."""

import math
from typing import Any

import keras
from keras import ops

from keras_ae.core import arguments
from keras_ae.core.draws import draw_normal
from keras_ae.distributions import DiagonalGaussian
from keras_ae.samplers.fitted import TrainedSampler


@keras.saving.register_keras_serializable("keras_ae")
class TwoStage(TrainedSampler):
    """Draws codes from a second VAE, which learned them.

    The second VAE has as many dimensions as the codes. A VAE of data that lie on a manifold matches
    their distribution only if it has no more dimensions than the manifold, and the codes of the
    first VAE fill their space.

    Source: Dai and Wipf, Diagnosing and Enhancing VAE Models, section 4, arXiv:1903.05789.

    Args:
        units: Units of each of the two hidden layers of both networks, a positive integer. Defaults
            to 512.
        floor: Least standard deviation of the second VAE's noise, a positive number: the noise is
            learned, and would otherwise fall without bound. The codes have standard deviation 1.
            Defaults to 0.01.
        epochs: Number of passes over the codes, a positive integer. Defaults to 50.
        batch_size, learning_rate: See `TrainedSampler`.
        temperature: Factor of the second code's standard deviation. See `TrainedSampler`.
        **kwargs: `name`.

    Example:
        >>> import numpy as np
        >>> from keras_ae.samplers import TwoStage
        >>> codes = np.random.default_rng(0).normal(size=(200, 3))
        >>> TwoStage(epochs=1).fit(codes).draw(5, seed=0).shape
        (5, 3)
    """

    def __init__(self, units: int = 512, floor: float = 0.01, epochs: int = 50, **kwargs: Any):
        super().__init__(epochs, **kwargs)
        self.units = arguments.integer(self, "units", units)
        self.floor = arguments.number(self, "floor", floor, positive=True)

    def _make(self, width):
        self.encoder = self._make_network("encoder", width, 2 * width)
        self.decoder = self._make_network("decoder", width, width)
        self.log_scale = self.add_weight(shape=(), initializer="zeros", name="log_scale")

    def _make_network(self, name, inputs, outputs):
        hidden = [keras.layers.Dense(self.units, "relu") for _ in range(2)]
        layers = [keras.Input((inputs,)), *hidden, keras.layers.Dense(outputs)]
        return keras.Sequential(layers, name=name)

    def _noise_scale(self):
        return ops.maximum(ops.exp(self.log_scale), self.floor)

    def _losses_of(self, codes, seed):
        """Compute the negative evidence lower bound of the second VAE, in nats."""
        mean, log_variance = ops.split(self.encoder(codes), 2, axis=1)
        q = DiagonalGaussian(mean, log_variance)
        u = q.sample(seed)
        scale = self._noise_scale()
        squares = ops.square((codes - self.decoder(u)) / scale)
        nats = 0.5 * squares + ops.log(scale) + 0.5 * math.log(2.0 * math.pi)
        return ops.sum(nats, axis=1) + q.kl()

    def _draw(self, num_samples, seed, temperature):
        shape = (num_samples, self.center.shape[0])
        u = temperature * draw_normal(shape, seed)
        return self.decoder(u) + self._noise_scale() * draw_normal(shape, seed)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "floor": self.floor}
