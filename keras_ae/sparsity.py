"""Pure functions of sparse codes: which numbers are kept, and metrics of a dictionary."""

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae.core import memory
from keras_ae.core.types import Array, Tensor

_HALVINGS = 24  # After so many halvings of the range, float32 cannot tell the bounds apart.


@memory.explains("Pass fewer examples.")
def top_k(z: Tensor, k: int) -> Tensor:
    """Keep the k largest numbers of every row, and set the others to zero.

    Only the numbers that are kept receive a gradient. Numbers that differ from the k-th largest by
    less than 1e-7 of the row's range are kept, too.

    Source: Makhzani and Frey, k-Sparse Autoencoders, arXiv:1312.5663.

    Args:
        z: Tensor of shape (batch, width).
        k: Integer from 1 to width.

    Returns:
        Float32 tensor of z's shape.

    Example:
        >>> import numpy as np
        >>> kept = top_k(np.array([[3.0, -1.0, 2.0], [-3.0, -2.0, -1.0]]), 2)
        >>> ops.convert_to_numpy(kept).tolist()
        [[3.0, 0.0, 2.0], [0.0, -2.0, -1.0]]
    """
    z = ops.cast(z, "float32")
    return ops.where(z >= _Bound(-1)(z, k), z, ops.zeros_like(z))


@memory.explains("Pass fewer examples.")
def batch_top_k(z: Tensor, k: int) -> Tensor:
    """Keep the k * batch largest numbers of the whole batch, and set the others to zero.

    Only the numbers that are kept receive a gradient. Numbers that differ from the smallest of them
    by less than 1e-7 of the batch's range are kept, too.

    Source: Bussmann, Leask and Nanda, BatchTopK Sparse Autoencoders, arXiv:2412.06410.

    Args:
        z: Tensor of shape (batch, width).
        k: Integer from 1 to width: how many numbers of a row are kept on average.

    Returns:
        Float32 tensor of z's shape.

    Example:
        >>> import numpy as np
        >>> kept = batch_top_k(np.array([[3.0, 1.0, 2.0], [0.5, -2.0, 0.0]]), 1)
        >>> ops.convert_to_numpy(kept).tolist()
        [[3.0, 0.0, 2.0], [0.0, 0.0, 0.0]]
    """
    z = ops.cast(z, "float32")
    wanted = ops.cast(k * ops.shape(z)[0], "float32")
    return ops.where(z >= _Bound(None)(z, wanted), z, ops.zeros_like(z))


class _Bound(keras.Operation):
    """Finds, by bisection, the largest bound that at least `wanted` numbers reach.

    Sorting would take longer than the rest of a training step. JAX's top_k exports an operation
    that TensorFlow does not know. TensorFlow's top_k cannot take a k that depends on the batch size
    under XLA. This is a Keras operation, because the loop cannot read a symbolic tensor.
    """

    def __init__(self, axis):
        super().__init__()
        self.axis = axis

    def compute_output_spec(self, z, wanted):
        return ops.sum(z, axis=self.axis, keepdims=True)

    def call(self, z, wanted):
        def halve(_, state):
            low, high, z = state
            middle = 0.5 * (low + high)
            enough = self._count(z >= middle) >= wanted
            return ops.where(enough, middle, low), ops.where(enough, high, middle), z

        z = ops.stop_gradient(z)
        # A replica without examples has an empty batch, for which an initial value is needed.
        options = {"axis": self.axis, "keepdims": True, "initial": 0.0}
        ends = [ops.min(z, **options), ops.max(z, **options)]
        # The converter from JAX to ONNX takes no loop that reads a tensor besides its state.
        return ops.fori_loop(0, _HALVINGS, halve, (*ends, z))[0]

    def _count(self, condition):
        return ops.sum(ops.cast(condition, "float32"), axis=self.axis, keepdims=True)


@memory.explains("Pass fewer examples.")
def heaviside(z: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """Return 1 where z exceeds its threshold, else 0, with a gradient for the threshold.

    The step function has no useful derivative. The derivative with respect to the threshold is
    replaced by -K((z - threshold) / bandwidth) / bandwidth, where K is the rectangle of width and
    height 1 around zero. Its average over the data estimates minus the density of z at the
    threshold. The derivative with respect to z is zero.

    Source: Rajamanoharan et al., Jumping Ahead, arXiv:2407.14435.

    Args:
        z: Tensor of shape (batch, width).
        threshold: Tensor of shape (width,), positive.
        bandwidth: Positive number.

    Returns:
        Float32 tensor of z's shape, of zeros and ones.

    Example:
        >>> import numpy as np
        >>> open_ = heaviside(np.array([[0.4, 0.6]]), np.array([0.5, 0.5]), 0.1)
        >>> ops.convert_to_numpy(open_).tolist()
        [[0.0, 1.0]]
    """
    z, threshold = ops.cast(z, "float32"), ops.cast(threshold, "float32")
    open_, window = _find_open_and_window(z, threshold, bandwidth)
    return open_ - window * (threshold - ops.stop_gradient(threshold))


@memory.explains("Pass fewer examples.")
def jump_relu(z: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """Return z where it exceeds its threshold, else zero.

    The derivative with respect to z is 1 or 0. The derivative with respect to the threshold is
    replaced by -threshold K((z - threshold) / bandwidth) / bandwidth: see `heaviside`.

    Source: Rajamanoharan et al., Jumping Ahead, arXiv:2407.14435.

    Args:
        z, threshold, bandwidth: See `heaviside`.

    Returns:
        Float32 tensor of z's shape.

    Example:
        >>> import numpy as np
        >>> kept = jump_relu(np.array([[0.25, 0.75]]), np.array([0.5, 0.5]), 0.1)
        >>> ops.convert_to_numpy(kept).tolist()
        [[0.0, 0.75]]
    """
    z, threshold = ops.cast(z, "float32"), ops.cast(threshold, "float32")
    open_, window = _find_open_and_window(z, threshold, bandwidth)
    fixed = ops.stop_gradient(threshold)
    kept = ops.where(open_ > 0.0, z, ops.zeros_like(z))
    return kept - window * fixed * (threshold - fixed)


def _find_open_and_window(z, threshold, bandwidth):
    """Compute where z exceeds the threshold, and K / bandwidth, both without gradients."""
    distance = ops.stop_gradient(z - threshold)
    window = ops.cast(ops.abs(distance) <= 0.5 * bandwidth, "float32") / bandwidth
    return ops.cast(distance > 0.0, "float32"), window


@memory.explains("Pass fewer examples.")
def dictionary_metrics(x: Array, codes: Array, reconstructions: Array) -> dict[str, Any]:
    """Measure how sparse codes are, and how much of the data they explain.

    - `l0`: the average number of nonzero numbers in a code.
    - `unexplained_variance`: the squared error as a fraction of the variance, both summed over all
      examples.
    - `dead_fraction`: the fraction of the features that are zero in every code.
    - `shrinkage`: the relative reconstruction bias of Rajamanoharan et al., arXiv:2404.16014. It is
      less than 1 if reconstructions are too close to the data's mean. Their deviations from the
      mean, divided by this number, come closest to the data's deviations. It is 0 if they do not
      deviate.
    - `feature_density`: array (features,), the fraction of the codes in which each feature is not
      zero.

    Args:
        x: Array of shape (examples, ...).
        codes: Array of shape (examples, features).
        reconstructions: Array of x's shape.

    Returns:
        Dictionary of floats and one array.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(100, 4))
        >>> figures = dictionary_metrics(x, x, 0.5 * x)
        >>> figures["l0"], round(figures["unexplained_variance"], 2)
        (4.0, 0.25)
    """
    x = np.asarray(x)
    return metrics_of_parts([(x, codes, reconstructions)], x.mean(axis=0, dtype="float64"))


def metrics_of_parts(parts: Iterable[tuple[Array, Array, Array]], mean: Array) -> dict[str, Any]:
    """Compute `dictionary_metrics` of data that comes in parts, and keep only sums in memory.

    Args:
        parts: Iterable of (x, codes, reconstructions).
        mean: Array, the mean of x over all parts.

    Returns:
        The dictionary of `dictionary_metrics`.
    """
    examples = error = variance = square = product = active = 0
    for x, codes, reconstructions in parts:
        x, output = (np.asarray(v, "float64") - mean for v in (x, reconstructions))
        examples += len(x)
        error += np.sum((x - output) ** 2)
        variance += np.sum(x**2)
        square += np.sum(output**2)
        product += np.sum(x * output)
        active = active + np.count_nonzero(codes, axis=0)
    return {
        "l0": float(np.sum(active) / examples),
        "unexplained_variance": float(error / variance) if variance > 0 else 0.0,
        "dead_fraction": float(np.mean(active == 0)),
        "shrinkage": float(square / product) if product != 0 else 0.0,
        "feature_density": active / examples,
    }
