"""Pure functions of sparse codes: which of their numbers stay, and figures of a dictionary."""

import keras
import numpy as np
from keras import ops

from keras_ae.core import memory

_HALVINGS = 24  # Of the range of the values: what float32 tells apart.


@memory.explains("Pass fewer examples.")
def top_k(z, k):
    """The k largest numbers of every row; the others become zero.

    The gradient goes to the numbers that stay, and to no other. Numbers that differ from the k-th
    largest by less than 1e-7 of the row's range stay as well.

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
def batch_top_k(z, k):
    """The k * batch largest numbers of a whole batch; the others become zero.

    The gradient goes to the numbers that stay, and to no other. Numbers that differ from the
    least of them by less than 1e-7 of the batch's range stay as well.

    Source: Bussmann, Leask and Nanda, BatchTopK Sparse Autoencoders, arXiv:2412.06410.

    Args:
        z: Tensor of shape (batch, width).
        k: Integer from 1 to width: how many stay of a row, on average.

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
    """The largest bound that so many numbers reach, by bisection.

    Sorting takes longer than the step around it; JAX's top_k exports an operation that TensorFlow
    does not know, and TensorFlow's takes no number that follows from the batch's under XLA. As an
    operation, for a symbolic tensor cannot be read from within a loop.
    """

    def __init__(self, axis):
        super().__init__()
        self.axis = axis

    def compute_output_spec(self, z, wanted):
        return ops.sum(z, axis=self.axis, keepdims=True)

    def call(self, z, wanted):
        def halve(_, bounds):
            middle = 0.5 * (bounds[0] + bounds[1])
            enough = self._count(z >= middle) >= wanted
            low, high = ops.where(enough, middle, bounds[0]), ops.where(enough, bounds[1], middle)
            return ops.stack([low, high])

        z = ops.stop_gradient(z)
        # With an initial value, for a replica without an example has an empty batch.
        ends = [f(z, axis=self.axis, keepdims=True, initial=0.0) for f in (ops.min, ops.max)]
        return ops.fori_loop(0, _HALVINGS, halve, ops.stack(ends))[0]

    def _count(self, condition):
        return ops.sum(ops.cast(condition, "float32"), axis=self.axis, keepdims=True)


@memory.explains("Pass fewer examples.")
def heaviside(z, threshold, bandwidth):
    """1 where z exceeds its threshold, and a gradient that a threshold can learn from.

    The step has no derivative. That with respect to the threshold is taken for
    -K((z - threshold) / bandwidth) / bandwidth, with K the rectangle of width and height 1 around
    zero: an estimate of the density at the threshold when averaged over data. That with respect to
    z is zero.

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
    open_, window = _open_and_window(z, threshold, bandwidth)
    return open_ - window * (threshold - ops.stop_gradient(threshold))


@memory.explains("Pass fewer examples.")
def jump_relu(z, threshold, bandwidth):
    """z where it exceeds its threshold, else zero.

    The derivative with respect to z is 1 or 0; that with respect to the threshold is taken for
    -threshold K((z - threshold) / bandwidth) / bandwidth: see `heaviside`.

    Source: Rajamanoharan et al., Jumping Ahead, arXiv:2407.14435.

    Args:
        z, threshold, bandwidth: As of `heaviside`.

    Returns:
        Float32 tensor of z's shape.

    Example:
        >>> import numpy as np
        >>> kept = jump_relu(np.array([[0.25, 0.75]]), np.array([0.5, 0.5]), 0.1)
        >>> ops.convert_to_numpy(kept).tolist()
        [[0.0, 0.75]]
    """
    z, threshold = ops.cast(z, "float32"), ops.cast(threshold, "float32")
    open_, window = _open_and_window(z, threshold, bandwidth)
    fixed = ops.stop_gradient(threshold)
    kept = ops.where(open_ > 0.0, z, ops.zeros_like(z))
    return kept - window * fixed * (threshold - fixed)


def _open_and_window(z, threshold, bandwidth):
    """Where z exceeds the threshold, and K / bandwidth of the distance to it: both constants."""
    distance = ops.stop_gradient(z - threshold)
    window = ops.cast(ops.abs(distance) <= 0.5 * bandwidth, "float32") / bandwidth
    return ops.cast(distance > 0.0, "float32"), window


@memory.explains("Pass fewer examples.")
def dictionary_metrics(x, codes, reconstructions):
    """How sparse codes are, and how much of the data they explain.

    - `l0`: numbers of a code that are not zero, on average;
    - `unexplained_variance`: squared error as a fraction of the variance, both summed over all;
    - `dead_fraction`: share of the features that are zero in every code;
    - `shrinkage`: the factor by which reconstructions are too short, less than 1 if they are: the
      one by which their deviations from the data's mean are divided to come closest to the data's,
      the relative reconstruction bias of Rajamanoharan et al., arXiv:2404.16014; 0 if they do not
      deviate;
    - `feature_density`: array (features,), the share of the codes in which each is not zero.

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


def metrics_of_parts(parts, mean):
    """`dictionary_metrics` of data that comes in parts, of which only sums are kept.

    Args:
        parts: Iterable of (x, codes, reconstructions).
        mean: Array, the mean of x over all parts.

    Returns:
        Dictionary, as of `dictionary_metrics`.
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
