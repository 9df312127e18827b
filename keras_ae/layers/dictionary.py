"""What sparse dictionaries are made of: their maps, the data's scale, the features' frequencies."""

import keras
import numpy as np
from keras import ops

from keras_ae.core import memory
from keras_ae.core.running_means import batch_mean, fading_rate
from keras_ae.core.seeds import default_seed

_STATE = {"trainable": False, "aggregation": "mean", "autocast": False}
_FIRST = 100  # Batches that are looked at.


def geometric_median(x, start, num_steps=8):
    """Weiszfeld's steps towards the point with the least sum of distances to the examples.

    Args:
        x: Tensor of shape (batch, width).
        start: Tensor of shape (width,).
        num_steps: Integer.

    Returns:
        Tensor of shape (width,); `start` for an empty batch.
    """
    point = start
    for _ in range(num_steps):
        squares = ops.sum(ops.square(x - point), axis=-1, keepdims=True)
        # Smoothed, for an example at the point itself would hold it there.
        closeness = ops.rsqrt(squares + 1e-6 * batch_mean(squares) + 1e-30)
        total = ops.sum(closeness)
        found = ops.sum(closeness * x, axis=0) / ops.maximum(total, 1e-30)
        point = ops.where(total > 0.0, found, point)
    return point


class DataScale(keras.layers.Layer):
    """The data's geometric median and spread, from the first hundred batches of training.

    `normalise` moves the median to zero and makes the mean squared norm the dimension. Afterwards
    both stand still, so that what was learned keeps its meaning. They are taken while training
    goes on, and not before it, because every form of data then serves, a resumed run has them, and
    replicas and processes agree on them.

    Args:
        width: Numbers in an example.
    """

    def __init__(self, width, **kwargs):
        super().__init__(trainable=False, dtype="float32", **kwargs)
        self.width = width
        self.centre = self.add_weight(shape=(width,), initializer="zeros", name="centre", **_STATE)
        self.mean, self.latest = (
            self.add_weight(shape=(width,), initializer="zeros", name=name, **_STATE)
            for name in ("mean", "latest")
        )
        # Summed over the dimensions. So that at first nothing is scaled.
        start = keras.initializers.Constant(float(width))
        self.variance = self.add_weight(shape=(), initializer=start, name="variance", **_STATE)
        self.num_updates = self.add_weight(
            shape=(), initializer="zeros", name="num_updates", **_STATE
        )
        self.built = True

    def update(self, x):
        """Take a batch into account, shape (batch, width)."""
        x = ops.stop_gradient(x)
        known, centre = (ops.convert_to_tensor(v) for v in (self.num_updates, self.centre))
        rate = fading_rate(known, x) * ops.cast(known < _FIRST, "float32")
        # By a weight, so that replicas measure the variance around the mean of them all.
        self.latest.assign(
            ops.where(ops.shape(x)[0] > 0, batch_mean(x), ops.convert_to_tensor(self.mean))
        )
        mean = ops.convert_to_tensor(self.latest)
        median = geometric_median(x, ops.where(known > 0.0, centre, mean))
        variance = ops.sum(batch_mean(ops.square(x - mean)))
        shift = mean - self.mean
        # The variance of the mixture of what was known and what came.
        between = rate * (1.0 - rate) * ops.sum(ops.square(shift))
        self.variance.assign((1.0 - rate) * self.variance + rate * variance + between)
        self.mean.assign(self.mean + rate * shift)
        self.centre.assign(centre + rate * (median - centre))
        self.num_updates.assign(known + 1.0)

    def scale(self):
        """The root of the mean square of a number of x - centre; 1 where the data never varies."""
        square = self.variance + ops.sum(ops.square(self.mean - self.centre))
        return ops.sqrt(ops.where(self._varies(), square / self.width, 1.0))

    def _varies(self):
        """Whether the variance is more than rounding makes it."""
        return self.variance > 1e-10 * ops.sum(ops.square(self.mean))

    def normalise(self, x):
        """Data as the dictionary sees it, shape (batch, width)."""
        return (x - self.centre) / self.scale()

    def restore(self, x):
        """The inverse of `normalise`."""
        return x * self.scale() + self.centre

    def total_variance(self):
        """The variance of normalised data, summed over the dimensions."""
        return ops.where(self._varies(), self.variance / ops.square(self.scale()), 1.0)


class Dictionary(keras.layers.Layer):
    """An affine encoder, and a decoder that adds up rows of length one.

    The rows are normalised where they are used, so that no gradient points along them, whatever
    the optimiser. The encoder begins as the decoder's transpose.

    Args:
        width: Numbers in an example.
        num_features: Rows of the decoder.
    """

    def __init__(self, width, num_features, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        memory.refuse_beyond(
            32.0 * num_features * width,
            f"Dictionary: {num_features} features of {width} numbers",
            "Take fewer features (latent_dim), or smaller examples.",
        )
        rng = np.random.default_rng(default_seed(2**32))
        rows = rng.normal(size=(num_features, width))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        options = {"autocast": False}

        def weight(name, values):
            return self.add_weight(
                shape=values.shape,
                initializer=lambda shape, dtype: ops.convert_to_tensor(values, dtype),
                name=name,
                **options,
            )

        self.encoder_kernel = weight("encoder_kernel", rows.T)
        self.encoder_bias = weight("encoder_bias", np.zeros(num_features))
        self.decoder_kernel = weight("decoder_kernel", rows)
        self.bias = weight("bias", np.zeros(width))
        self.built = True

    def rows(self):
        """The features' directions, shape (num_features, width), each of length one."""
        squares = ops.sum(ops.square(self.decoder_kernel), axis=1, keepdims=True)
        return self.decoder_kernel * ops.rsqrt(ops.maximum(squares, 1e-24))

    def encode(self, x):
        """Numbers before any selection: (batch, width) gives (batch, num_features)."""
        return ops.matmul(x - self.bias, self.encoder_kernel) + self.encoder_bias

    def decode(self, z):
        """Codes (batch, num_features) give data (batch, width)."""
        return ops.matmul(z, self.rows()) + self.bias

    def replace(self, features, directions):
        """Begin some features anew, outside any program.

        Args:
            features: Array of their numbers.
            directions: Array of shape (len(features), width), each row of length one.
        """
        kernel, bias, rows = (
            np.array(ops.convert_to_numpy(ops.convert_to_tensor(v)))
            for v in (self.encoder_kernel, self.encoder_bias, self.decoder_kernel)
        )
        others = np.delete(kernel, features, axis=1)
        length = np.linalg.norm(others, axis=0).mean() if others.size else 1.0
        kernel[:, features], bias[features] = length * directions.T, 0.0
        rows[features] = directions
        self.encoder_kernel.assign(kernel)
        self.encoder_bias.assign(bias)
        self.decoder_kernel.assign(rows)
