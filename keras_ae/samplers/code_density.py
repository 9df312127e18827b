"""A Gaussian over codes, for models without a prior: arXiv:1903.12436, section 5."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae.core.draws import draw_normal
from keras_ae.core.running_means import (
    batch_mean,
    mix_variances,
    move,
    num_examples,
    rate_by_size,
)
from keras_ae.core.types import Seed, Tensor
from keras_ae.samplers.base import Sampler, find_old_weights, read_value


class CodeDensity(Sampler, keras.layers.Layer):
    """A Gaussian whose mean and covariance are estimated from the codes of training batches.

    The first 100 batches have equal weights. Each later batch has a weight of 1 %, and the weights
    of all batches before it fall by 1 %. A batch that is smaller than the largest one has
    a proportionally smaller weight. If a code has more than 2,048 numbers, only their variances are
    estimated, because a covariance matrix would be larger than all other weights of the model.

    Args:
        shape: Shape of a code, or the number of its dimensions.
    """

    MOST = 2048

    def __init__(self, shape: int | tuple[int, ...], **kwargs: Any):
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
        # A batch that is smaller than the largest one counts as a fraction of an update.
        self.num_updates, self.batch_size = (
            self.add_weight(shape=(), initializer="zeros", name=name, **options)
            for name in ("num_updates", "batch_size")
        )
        self.built = True

    def load_own_variables(self, store):
        store = find_old_weights(store, "code_density")
        values = {key: store[key] for key in store.keys()}
        values.setdefault("4", np.zeros(()))  # Old files do not contain `batch_size`.
        super().load_own_variables(values)

    def ready(self) -> bool:
        return bool(read_value(self.num_updates) > 0)

    def update(self, z: Tensor) -> None:
        z = ops.reshape(ops.stop_gradient(z), (-1, self.mean.shape[0]))
        # `batch_size` is 0 if an old file was loaded. Earlier updates then keep their full weight.
        rate, updates, largest = rate_by_size(self.num_updates, self.batch_size, z)
        mean = batch_mean(z)
        centered = z - mean
        if self.whole:
            # In the last batch of an epoch, a replica may have no examples.
            size = ops.maximum(num_examples(z), 1.0)
            covariance = ops.matmul(ops.transpose(centered), centered) / size
        else:
            covariance = batch_mean(ops.square(centered))
        shift = mean - self.mean
        # The earlier codes and this batch form a mixture. Its covariance also depends on the
        # difference of their means.
        product = ops.outer(shift, shift) if self.whole else ops.square(shift)
        self.covariance.assign(mix_variances(self.covariance, covariance, product, rate))
        self.mean.assign(move(self.mean, mean, rate))
        self.num_updates.assign(updates)
        self.batch_size.assign(largest)

    def prepare(self) -> None:
        """Compute the factor F, for which F F' is the covariance.

        `sample` multiplies noise by it. It cannot compute the factor itself, because a function
        that JAX exports cannot call LAPACK, the library that factorizes matrices.
        """
        covariance = read_value(self.covariance).astype("float64")
        if not self.whole:
            self.factor.assign(np.sqrt(covariance))
            return
        # If all codes lie in a plane, their covariance is singular and has no Cholesky factor. A
        # small variance is therefore added in every direction.
        variance = 1e-6 * np.trace(covariance) / len(covariance) + 1e-12
        try:
            factor = np.linalg.cholesky(covariance + variance * np.eye(len(covariance)))
        except np.linalg.LinAlgError:
            # Rounding to float32 gave the covariance an eigenvalue below -variance. All negative
            # eigenvalues are replaced by 0.
            values, vectors = np.linalg.eigh(covariance)
            factor = vectors * np.sqrt(np.maximum(values, 0.0))
        self.factor.assign(factor)

    def sample(self, num_samples: int | Tensor, seed: Seed) -> Tensor:
        shape = (num_samples, self.mean.shape[0])
        noise = draw_normal(shape, seed)
        if self.whole:
            noise = ops.matmul(noise, ops.transpose(self.factor))
        else:
            noise = noise * self.factor
        return ops.reshape(self.mean + noise, (-1, *self.code_shape))
