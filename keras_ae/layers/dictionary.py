"""The parts of sparse autoencoders: the dictionary's two maps, and the scale of the data."""

import keras
import numpy as np
from keras import ops

from keras_ae.core import memory
from keras_ae.core.running_means import batch_mean, fading_rate, mix_variances, move
from keras_ae.core.seeds import default_seed

_STATE = {"trainable": False, "aggregation": "mean", "autocast": False}
_FIRST = 100  # The scale of the data is estimated from this many batches.


def geometric_median(x, start, num_steps=8):
    """Approximate the point with the least sum of distances to the examples by Weiszfeld's steps.

    Args:
        x: Tensor of shape (batch, width).
        start: Tensor of shape (width,).
        num_steps: Number of steps, an integer. Defaults to 8.

    Returns:
        Tensor of shape (width,); `start` for an empty batch.
    """
    point = start
    for _ in range(num_steps):
        squares = ops.sum(ops.square(x - point), axis=-1, keepdims=True)
        # The squares are smoothed, because an example at the point itself would hold it there.
        closeness = ops.rsqrt(squares + 1e-6 * batch_mean(squares) + 1e-30)
        total = ops.sum(closeness)
        found = ops.sum(closeness * x, axis=0) / ops.maximum(total, 1e-30)
        point = ops.where(total > 0.0, found, point)
    return point


class DataScale(keras.layers.Layer):
    """The data's geometric median and spread, estimated from the first 100 batches of training.

    `normalize` moves the median to zero and makes the mean squared norm equal to the dimension.
    After the first 100 batches both statistics are fixed, so that what was learned keeps its
    meaning. They are estimated during training and not before, because this works with every form
    of data, a resumed run has them, and replicas and processes agree on them.

    Args:
        width: Numbers in an example.
    """

    def __init__(self, width, **kwargs):
        super().__init__(trainable=False, dtype="float32", **kwargs)
        self.width = width
        self.center = self.add_weight(shape=(width,), initializer="zeros", name="center", **_STATE)
        self.mean, self.latest = (
            self.add_weight(shape=(width,), initializer="zeros", name=name, **_STATE)
            for name in ("mean", "latest")
        )
        # The variance is summed over the dimensions. It starts at the width, so that data is not
        # scaled before the first batch.
        start = keras.initializers.Constant(float(width))
        self.variance = self.add_weight(shape=(), initializer=start, name="variance", **_STATE)
        self.num_updates = self.add_weight(
            shape=(), initializer="zeros", name="num_updates", **_STATE
        )
        self.built = True

    def update(self, x):
        """Update the statistics with a batch of shape (batch, width)."""
        x = ops.stop_gradient(x)
        known, center = (ops.convert_to_tensor(v) for v in (self.num_updates, self.center))
        rate = fading_rate(known, x) * ops.cast(known < _FIRST, "float32")
        # The batch's mean goes through a weight, whose value is averaged over the replicas. Each
        # replica then measures the variance around the mean of all of them.
        self.latest.assign(
            ops.where(ops.shape(x)[0] > 0, batch_mean(x), ops.convert_to_tensor(self.mean))
        )
        mean = ops.convert_to_tensor(self.latest)
        median = geometric_median(x, ops.where(known > 0.0, center, mean))
        variance = ops.sum(batch_mean(ops.square(x - mean)))
        shift = mean - self.mean
        square = ops.sum(ops.square(shift))
        self.variance.assign(mix_variances(self.variance, variance, square, rate))
        self.mean.assign(move(self.mean, mean, rate))
        self.center.assign(move(center, median, rate))
        self.num_updates.assign(known + 1.0)

    def scale(self):
        """Compute the root mean square of the numbers in x - center.

        The scale is 1 if the data does not vary.
        """
        square = self.variance + ops.sum(ops.square(self.mean - self.center))
        return ops.sqrt(ops.where(self._varies(), square / self.width, 1.0))

    def _varies(self):
        """Tell whether the variance is more than a rounding error."""
        return self.variance > 1e-10 * ops.sum(ops.square(self.mean))

    def normalize(self, x):
        """Center and scale data of shape (batch, width), as the dictionary sees it."""
        return (x - self.center) / self.scale()

    def restore(self, x):
        """Undo `normalize`."""
        return x * self.scale() + self.center

    def total_variance(self):
        """Compute the variance of normalized data, summed over the dimensions."""
        return ops.where(self._varies(), self.variance / ops.square(self.scale()), 1.0)


class Dictionary(keras.layers.Layer):
    """An affine encoder and a decoder whose output is a weighted sum of unit-length rows.

    The decoder's rows are normalized whenever they are used, so that no gradient points along them,
    whatever the optimizer. The encoder starts as the decoder's transpose.

    Args:
        width: Numbers in an example.
        num_features: Number of features, which is the number of the decoder's rows.
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
        """Compute the features' directions, shape (num_features, width), each of length 1."""
        squares = ops.sum(ops.square(self.decoder_kernel), axis=1, keepdims=True)
        return self.decoder_kernel * ops.rsqrt(ops.maximum(squares, 1e-24))

    def encode(self, x):
        """Compute pre-activations, (batch, num_features), from data (batch, width)."""
        return ops.matmul(x - self.bias, self.encoder_kernel) + self.encoder_bias

    def decode(self, z):
        """Compute data (batch, width) from codes (batch, num_features)."""
        return ops.matmul(z, self.rows()) + self.bias

    def replace(self, features, directions):
        """Replace some features by new ones. Call this outside compiled functions.

        Args:
            features: Integer array of the features' positions.
            directions: Array of shape (len(features), width), each row of length 1.
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
