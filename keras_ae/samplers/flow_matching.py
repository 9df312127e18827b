"""Flow matching: noise flows to codes along a learned velocity."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae.core import arguments
from keras_ae.core.draws import draw_normal
from keras_ae.core.types import Tensor
from keras_ae.samplers.fitted import TrainedSampler

_FREQUENCIES = np.geomspace(1.0, 100.0, 16).astype("float32")


@keras.saving.register_keras_serializable("keras_ae")
class FlowMatching(TrainedSampler):
    """Integrates a velocity that turns standard normal noise into codes.

    A network learns the velocity z1 - z0 of the straight line from noise z0 to a code z1 at the
    point (1 - t) z0 + t z1, for a uniform time t. A draw follows the mean velocity from t = 0 to 1
    by Heun's method.

    Source: Lipman et al., Flow Matching for Generative Modeling, eq. 22 and 23 with sigma_min = 0,
    arXiv:2210.02747.

    Args:
        units: Units of each of the three hidden layers, a positive integer. Defaults to 256.
        steps: Steps of the integration, a positive integer. Each calls the network twice. Defaults
            to 20.
        epochs: Number of passes over the codes, a positive integer. Defaults to 100.
        batch_size, learning_rate: See `TrainedSampler`.
        temperature: Factor of the noise at t = 0. See `TrainedSampler`.
        **kwargs: `name`.

    Example:
        >>> import numpy as np
        >>> from keras_ae.samplers import FlowMatching
        >>> codes = np.random.default_rng(0).normal(size=(200, 3))
        >>> FlowMatching(epochs=1).fit(codes).draw(5, seed=0).shape
        (5, 3)
    """

    def __init__(self, units: int = 256, steps: int = 20, epochs: int = 100, **kwargs: Any):
        super().__init__(epochs, **kwargs)
        self.units = arguments.integer(self, "units", units)
        self.steps = arguments.integer(self, "steps", steps)

    def _make(self, width):
        given = width + 2 * len(_FREQUENCIES)
        self.network = keras.Sequential(
            [
                keras.Input((given,)),
                *(keras.layers.Dense(self.units, "silu") for _ in range(3)),
                keras.layers.Dense(width, kernel_initializer="zeros"),
            ],
            name="velocity",
        )

    def velocity(self, z: Tensor, t: Tensor) -> Tensor:
        """Compute the velocity at a point and a time.

        Args:
            z: Float32 tensor of shape (batch, width).
            t: Float32 tensor of shape (batch, 1), from 0 to 1.

        Returns:
            Tensor of z's shape.
        """
        angles = t * ops.convert_to_tensor(_FREQUENCIES)
        return self.network(ops.concatenate([z, ops.sin(angles), ops.cos(angles)], axis=1))

    def _losses_of(self, codes, seed):
        noise = keras.random.normal(ops.shape(codes), seed=seed)
        t = keras.random.uniform((ops.shape(codes)[0], 1), seed=seed)
        velocity = self.velocity((1.0 - t) * noise + t * codes, t)
        return ops.sum(ops.square(velocity - (codes - noise)), axis=1)

    def _draw(self, num_samples, seed, temperature):
        z = temperature * draw_normal((num_samples, self.center.shape[0]), seed)
        length = 1.0 / self.steps
        for step in range(self.steps):
            t = ops.full((num_samples, 1), step * length, dtype="float32")
            first = self.velocity(z, t)
            second = self.velocity(z + length * first, t + length)
            z = z + 0.5 * length * (first + second)
        return z

    def get_config(self):
        return {**super().get_config(), "units": self.units, "steps": self.steps}
