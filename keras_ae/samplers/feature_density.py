"""The density of sparse codes whose features are active independently of each other."""

from typing import Any

import keras
from keras import ops

from keras_ae.core.draws import draw_normal, draw_uniform
from keras_ae.core.running_means import batch_mean, fading_rate, move
from keras_ae.core.types import Seed, Tensor
from keras_ae.samplers.base import Sampler, find_old_weights, read_value

_STATE = {"trainable": False, "aggregation": "mean", "autocast": False}


class FeatureDensity(Sampler, keras.layers.Layer):
    """Estimates how often and how strongly each feature is active, and for how long it was not.

    The first 100 batches are averaged. From then on, the weight of old codes falls by 1 % with each
    batch.

    Args:
        num_features: Width of a code.
    """

    def __init__(self, num_features: int, **kwargs: Any):
        super().__init__(trainable=False, dtype="float32", **kwargs)
        self.active, self.magnitude, self.signed, self.square, self.latest, self.idle = (
            self.add_weight(shape=(num_features,), initializer="zeros", name=name, **_STATE)
            for name in ("active", "magnitude", "signed", "square", "latest", "idle")
        )
        self.num_updates = self.add_weight(
            shape=(), initializer="zeros", name="num_updates", **_STATE
        )
        self.built = True

    def update(self, z: Tensor) -> None:
        z = ops.stop_gradient(z)
        rate = fading_rate(self.num_updates, z)
        active = ops.cast(z != 0.0, "float32")
        means = (
            (self.active, active),
            (self.magnitude, ops.abs(z)),
            (self.signed, z),
            (self.square, ops.square(z)),
        )
        for mean, values in means:
            mean.assign(move(mean, batch_mean(values), rate))
        # This goes through a weight, whose value is averaged over replicas, so that a feature
        # counts as active if it was active on any replica.
        self.latest.assign(batch_mean(active))
        self.idle.assign(ops.where(self.latest > 0.0, 0.0, self.idle + 1.0))
        self.num_updates.assign(self.num_updates + 1.0)

    def ready(self) -> bool:
        return bool(read_value(self.num_updates) > 0)

    def load_own_variables(self, store):
        super().load_own_variables(find_old_weights(store, "feature_density"))

    def dead(self, after: int) -> Tensor:
        """Return 1.0 for features that were inactive in the last `after` steps, and else 0.0.

        The tensor has the shape (num_features,).
        """
        return ops.cast(self.idle >= after, "float32")

    def sample(self, num_samples: int | Tensor, seed: Seed) -> Tensor:
        """Draw codes, (num_samples, num_features), whose features are active independently.

        Each feature is active with its frequency in training. The magnitude of an active feature
        then has the log-normal distribution with the mean and mean square seen in training, and its
        sign is positive with the probability that the means of magnitude and value imply.
        """
        shape = (num_samples, self.active.shape[0])
        chance = draw_uniform(shape, seed)
        noise = draw_normal(shape, seed)
        known = ops.maximum(self.active, 1e-30)
        mean = self.magnitude / known
        width = ops.log(
            ops.maximum(self.square / known / ops.maximum(ops.square(mean), 1e-30), 1.0)
        )
        magnitude = mean * ops.exp(ops.sqrt(width) * noise - 0.5 * width)
        positive = 0.5 * (1.0 + self.signed / ops.maximum(self.magnitude, 1e-30))
        sign = ops.where(chance < self.active * positive, 1.0, -1.0)
        return ops.where(chance < self.active, sign * magnitude, 0.0)
