"""The density of codes from which models without a prior sample: arXiv:1903.12436, section 5."""

import math

import keras
import numpy as np
from keras import ops

from keras_ae.core.running_means import (
    batch_mean,
    mix_variances,
    move,
    num_examples,
    rate_by_size,
)
from keras_ae.samplers.base import Sampler, find_old_weights, read_value


class CodeDensity(Sampler, keras.layers.Layer):
    """A Gaussian with running estimates of the codes' mean and covariance during training.

    The first 100 batches are averaged. From then on, the weight of old codes falls by 1 % with each
    batch. A batch that is smaller than the largest one has a proportionally smaller weight. For
    codes of more than 2,048 numbers only the variances are kept, because the covariances would be
    more numbers than all other weights.

    Args:
        shape: Shape of a code, or the number of its dimensions.
    """

    MOST = 2048

    def __init__(self, shape, **kwargs):
        super().__init__(trainable=False, dtype="float32", **kwargs)
        self.code_shape = (shape,) if isinstance(shape, int) else tuple(shape)
        size = math.prod(self.code_shape)
        self.whole = size <= self.MOST
        spread = {
            "shape": (size, size) if self.whole else (size,),
            "initializer": "identity" if self.whole else "ones",
        }
        options = {"trainable": False, "aggregation": "mean"}
        self.mean = self.add_weight(shape=(size,), initializer="zeros", name="mean", **options)
        self.covariance = self.add_weight(name="covariance", **spread, **options)
        self.factor = self.add_weight(name="factor", **spread, **options)
        # The number of updates counts batches of the largest size.
        self.num_updates, self.batch_size = (
            self.add_weight(shape=(), initializer="zeros", name=name, **options)
            for name in ("num_updates", "batch_size")
        )
        self.built = True

    def load_own_variables(self, store):
        store = find_old_weights(store, "code_density")
        values = {key: store[key] for key in store.keys()}
        values.setdefault("4", np.zeros(()))  # Old files do not hold the batch size.
        super().load_own_variables(values)

    def ready(self):
        return read_value(self.num_updates) > 0

    def update(self, z):
        z = ops.reshape(ops.stop_gradient(z), (-1, self.mean.shape[0]))
        # If a file of before does not tell the size of its batches, `batch_size` is 0.
        rate, updates, largest = rate_by_size(self.num_updates, self.batch_size, z)
        mean = batch_mean(z)
        centered = z - mean
        if self.whole:
            # The last batch of an epoch may leave a replica without a single example.
            size = ops.maximum(num_examples(z), 1.0)
            covariance = ops.matmul(ops.transpose(centered), centered) / size
        else:
            covariance = batch_mean(ops.square(centered))
        shift = mean - self.mean
        # The earlier codes and this batch form a mixture, whose covariance has a part between their
        # means.
        product = ops.outer(shift, shift) if self.whole else ops.square(shift)
        self.covariance.assign(mix_variances(self.covariance, covariance, product, rate))
        self.mean.assign(move(self.mean, mean, rate))
        self.num_updates.assign(updates)
        self.batch_size.assign(largest)

    def prepare(self):
        """Update the factor, whose product with its transpose is the covariance.

        `sample` does not compute the factor itself, because a function exported from JAX cannot
        call the library that factorizes matrices.
        """
        covariance = read_value(self.covariance).astype("float64")
        if not self.whole:
            self.factor.assign(np.sqrt(covariance))
            return
        # The covariance of codes that lie in a plane is singular. A small variance in every
        # direction makes its Cholesky factor exist.
        width = 1e-6 * np.trace(covariance) / len(covariance) + 1e-12
        try:
            factor = np.linalg.cholesky(covariance + width * np.eye(len(covariance)))
        except np.linalg.LinAlgError:
            # Rounding in float32 made the covariance negative in some direction by more than that.
            values, vectors = np.linalg.eigh(covariance)
            factor = vectors * np.sqrt(np.maximum(values, 0.0))
        self.factor.assign(factor)

    def sample(self, num_samples, seed):
        shape = (num_samples, self.mean.shape[0])
        noise = keras.random.normal(shape, dtype="float32", seed=seed)
        if self.whole:
            noise = ops.matmul(noise, ops.transpose(self.factor))
        else:
            noise = noise * self.factor
        return ops.reshape(self.mean + noise, (-1, *self.code_shape))
