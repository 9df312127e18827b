"""Features of a sparse code that are active independently of each other."""

import keras
from keras import ops

from keras_ae.core.running_means import batch_mean, fading_rate, move
from keras_ae.samplers.base import Sampler, of_before, value_of

_STATE = {"trainable": False, "aggregation": "mean", "autocast": False}


class FeatureDensity(Sampler, keras.layers.Layer):
    """How often each feature is active, how strongly, and how many steps ago it last was.

    The first hundred batches are averaged; from then on old codes fade by one percent a batch.

    Args:
        num_features: Width of a code.
    """

    def __init__(self, num_features, **kwargs):
        super().__init__(trainable=False, dtype="float32", **kwargs)
        self.active, self.magnitude, self.signed, self.square, self.latest, self.idle = (
            self.add_weight(shape=(num_features,), initializer="zeros", name=name, **_STATE)
            for name in ("active", "magnitude", "signed", "square", "latest", "idle")
        )
        self.num_updates = self.add_weight(
            shape=(), initializer="zeros", name="num_updates", **_STATE
        )
        self.built = True

    def update(self, z):
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
        # By a weight, whose replicas are averaged: one on which it was active is enough.
        self.latest.assign(batch_mean(active))
        self.idle.assign(ops.where(self.latest > 0.0, 0.0, self.idle + 1.0))
        self.num_updates.assign(self.num_updates + 1.0)

    def ready(self):
        return value_of(self.num_updates) > 0

    def load_own_variables(self, store):
        super().load_own_variables(of_before(store, "feature_density"))

    def dead(self, after):
        """1.0 for features that were not active in the last `after` steps, (num_features,)."""
        return ops.cast(self.idle >= after, "float32")

    def sample(self, num_samples, seed):
        """Codes whose features are active independently of each other: (num_samples, features).

        Each with its frequency; its magnitude then follows the log-normal distribution of the
        mean and mean square that were seen, its sign the share of positive ones that the means
        of magnitude and value imply.
        """
        shape = (num_samples, self.active.shape[0])
        chance = keras.random.uniform(shape, dtype="float32", seed=seed)
        noise = keras.random.normal(shape, dtype="float32", seed=seed)
        known = ops.maximum(self.active, 1e-30)
        mean = self.magnitude / known
        width = ops.log(
            ops.maximum(self.square / known / ops.maximum(ops.square(mean), 1e-30), 1.0)
        )
        magnitude = mean * ops.exp(ops.sqrt(width) * noise - 0.5 * width)
        positive = 0.5 * (1.0 + self.signed / ops.maximum(self.magnitude, 1e-30))
        sign = ops.where(chance < self.active * positive, 1.0, -1.0)
        return ops.where(chance < self.active, sign * magnitude, 0.0)
