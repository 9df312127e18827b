"""Pure functions for loss terms that compare two distributions by their samples."""

import math
from collections.abc import Sequence

import keras
from keras import ops

from keras_ae.core import backend, memory
from keras_ae.core.types import Seed, Tensor
from keras_ae.distributions import DiagonalGaussian, pairwise_log_prob


@memory.explains("Pass fewer examples.")
def permute_dims(z: Tensor, seed: Seed) -> Tensor:
    """Shuffle every latent dimension across the batch, independently of the others.

    This turns draws of an aggregate posterior q(z) into draws of the product of its marginals.

    Source: Kim and Mnih, Disentangling by Factorising, algorithm 1, arXiv:1802.05983.

    Args:
        z: Tensor of shape (batch, latent_dim).
        seed: Integer or `keras.random.SeedGenerator`.

    Returns:
        Tensor of z's shape and dtype, whose every column holds the values of z's column in another
        order.

    Example:
        >>> import numpy as np
        >>> permute_dims(np.arange(20.0).reshape(10, 2), seed=0).shape == (10, 2)
        True
    """
    # Sorting independent uniform numbers gives a uniformly drawn permutation.
    uniform = keras.random.uniform(ops.shape(z), dtype="float32", seed=seed)
    return ops.take_along_axis(z, ops.argsort(uniform, axis=0), axis=0)


@memory.explains("Pass fewer examples.")
def softmax_loss(logits: Tensor, label: int) -> Tensor:
    """Compute the cross-entropy, in nats, of one class to which all examples belong.

    This is a discriminator's loss in the density-ratio trick, with label 0 for draws of one
    distribution and label 1 for draws of the other.

    Source: Kim and Mnih, Disentangling by Factorising, section 3, arXiv:1802.05983.

    Args:
        logits: Tensor of shape (batch, 2).
        label: 0 or 1, the class to which all rows belong.

    Returns:
        Float32 tensor of shape (batch,), non-negative.

    Example:
        >>> import numpy as np
        >>> round(float(softmax_loss(np.zeros((4, 2)), 0)[0]), 4)
        0.6931
    """
    return -ops.log_softmax(ops.cast(logits, "float32"), axis=-1)[:, label]


@memory.explains("Pass fewer examples.")
def aggregate_log_densities(
    z: Tensor,
    posterior: DiagonalGaussian,
    dataset_size: int | Tensor | None = None,
    estimator: str = "weighted",
) -> tuple[Tensor, Tensor]:
    """Estimate log q(z) and log q(z_j), where q(z) is the average posterior over a dataset.

    The batch is a random subset of the dataset. `"weighted"` is minibatch-weighted sampling, eq. 5
    of arXiv:1802.04942: every posterior of the batch has the same weight, and the sum is divided by
    the product of batch size and dataset size. `"stratified"`, appendix C.2, uses the fact that an
    example's own posterior is one of the dataset's: it has the weight 1 / N, and the other
    posteriors of the batch share the remaining weight equally. (The paper gives one of the others a
    different weight. Our estimator is the paper's, averaged over the choice of this one, and has
    less variance.) It is exact if the batch is the whole dataset.

    Args:
        z: Tensor of shape (batch, latent_dim), one draw of every posterior.
        posterior: `keras_ae.distributions.DiagonalGaussian` over (batch, latent_dim).
        dataset_size: Number N of examples in the dataset, an integer or scalar tensor of at least
            the batch size. Defaults to None, the batch size.
        estimator: "weighted" or "stratified". Defaults to "weighted".

    Returns:
        Float32 tensors, log q(z) of shape (batch,) and log q(z_j) of shape (batch, latent_dim).

    Example:
        >>> import numpy as np
        >>> from keras_ae.distributions import DiagonalGaussian
        >>> posterior = DiagonalGaussian(np.zeros((4, 2)), np.zeros((4, 2)))
        >>> joint, each = aggregate_log_densities(np.zeros((4, 2)), posterior, 4, "stratified")
        >>> round(float(joint[0]), 4)  # Every posterior is the standard normal.
        -1.8379
    """
    count = ops.cast(ops.shape(z)[0], "float32")
    size = count if dataset_size is None else ops.maximum(ops.cast(dataset_size, "float32"), count)
    numbers = ops.arange(ops.shape(z)[0])

    def compute_densities(z, rows, mean, log_variance, size):
        densities = pairwise_log_prob(z, mean, log_variance)  # (rows, batch, latent_dim)
        if estimator == "stratified":
            another = ops.log((size - 1.0) / size) - ops.log(ops.maximum(count - 1.0, 1.0))
            weights = ops.where(rows[:, None] == numbers[None], -ops.log(size), another)
        else:
            weights = ops.full_like(densities[:, :, 0], -ops.log(count) - ops.log(size))
        joint = ops.logsumexp(ops.sum(densities, axis=-1) + weights, axis=1)
        each = ops.logsumexp(densities + weights[:, :, None], axis=1)
        return ops.concatenate([joint[:, None], each], axis=1)

    others = (posterior.mean, posterior.log_variance, size)
    found = _map_in_parts(compute_densities, (z, numbers), others, posterior.mean.shape)
    return found[:, 0], found[:, 1:]


@memory.explains("Pass fewer examples.")
def stratified_from_weighted(
    weighted: Tensor, own: Tensor, batch_size: float | Tensor, dataset_size: float | Tensor
) -> Tensor:
    """Turn the weighted estimate of `aggregate_log_densities` into the stratified one.

    This does not need the pairs of the batch, because the sum over its posteriors is known, and so
    is the contribution of the example's own posterior. In float32 the result is accurate to about
    0.01 nats.

    Args:
        weighted: The weighted estimate, log q(z) or log q(z_j), for a dataset_size of 1.
        own: Log-density of each draw under its own posterior, of the same shape.
        batch_size: Number of examples in the batch, a float32 scalar.
        dataset_size: Number N of examples in the dataset, a float32 scalar.

    Returns:
        Float32 tensor of that shape.

    Example:
        >>> import numpy as np
        >>> own = np.log(0.2)
        >>> found = stratified_from_weighted(np.log(0.3 / 2), own, 2.0, 10.0)
        >>> round(float(np.exp(float(found))), 4)  # (0.2 + 9 * 0.1) / 10
        0.11
    """
    size = ops.maximum(ops.cast(dataset_size, "float32"), batch_size)
    # A single example tells nothing about others, so that it counts as the whole dataset.
    size = ops.where(batch_size > 1.0, size, 1.0)
    total = weighted + ops.log(batch_size)
    share = ops.exp(ops.minimum(own - total, 0.0))
    others = (1.0 - share) * (size - 1.0) / ops.maximum(batch_size - 1.0, 1.0)
    return total + ops.log(share + others) - ops.log(size)


# The scales of the kernels of arXiv:1711.01558, in its authors' code.
BANDWIDTHS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


@memory.explains("Pass fewer examples.")
def mmd(
    x: Tensor, y: Tensor, kernel: str = "imq", bandwidths: Sequence[float] = BANDWIDTHS
) -> Tensor:
    """Estimate the squared maximum mean discrepancy between two samples, without bias.

    This is the U-statistic of Gretton et al. 2012 (jmlr.org/papers/v13/gretton12a.html), eq. 3. Its
    expectation is 0 if both samples have the same distribution, so that single values may be
    negative. The kernel is a mean over the bandwidths s, which is 1 if x = y. With
    C = 2 * dimensions * s, it averages the inverse multiquadric C / (C + |x - y|^2), as in
    arXiv:1711.01558, or the Gaussian exp(-|x - y|^2 / C).

    Args:
        x: Tensor of shape (n, dimensions).
        y: Tensor of shape (m, dimensions). If n or m is 1, there is no estimate, and the value is
            0.
        kernel: "imq" or "rbf". Defaults to "imq".
        bandwidths: Positive numbers s, in units of the variance of the distributions. 1 suits
            standard normals. Defaults to seven numbers from 0.1 to 10.

    Returns:
        Float32 scalar.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(100, 2))
        >>> bool(mmd(x[:50], x[50:]) < 0.01) and bool(mmd(x[:50], x[50:] + 3.0) > 0.5)
        True
    """
    x, y = ops.cast(x, "float32"), ops.cast(y, "float32")

    def sum_kernels(x, y):
        """Sum the kernel of every row of x over all rows of y."""
        distances = ops.sum(ops.square(x[:, None] - y[None]), axis=-1)
        total = ops.zeros_like(distances)
        for bandwidth in bandwidths:
            scale = 2.0 * x.shape[-1] * bandwidth
            if kernel == "imq":
                total = total + scale / (scale + distances)
            else:
                total = total + ops.exp(-distances / scale)
        return ops.sum(total, axis=1) / len(bandwidths)

    def mean_of_pairs(x):
        count = ops.cast(ops.shape(x)[0], "float32")
        # The kernel of a row with itself, which is 1, does not count.
        others = _map_in_parts(sum_kernels, (x,), (x,), x.shape) - 1.0
        return ops.sum(others) / ops.maximum(count * (count - 1.0), 1.0)

    n, m = (ops.cast(ops.shape(v)[0], "float32") for v in (x, y))
    between = ops.sum(_map_in_parts(sum_kernels, (x,), (y,), y.shape)) / ops.maximum(n * m, 1.0)
    estimate = mean_of_pairs(x) + mean_of_pairs(y) - 2.0 * between
    return ops.where(ops.minimum(n, m) > 1.0, estimate, 0.0)


# If a tensor over the pairs of two samples has more numbers than this, which take 64 MiB, the pairs
# are computed in parts.
_AT_ONCE = 2**24


def count_pair_numbers(batch_size: int, dimensions: int) -> int:
    """Count the numbers of the largest tensors over the pairs of a batch, with their gradients.

    Args:
        batch_size: Number of examples.
        dimensions: Number of dimensions of each.

    Returns:
        Integer. TensorFlow's programs do not know the length of a batch, and compute all pairs at
        once; the other backends compute at most so many that they take 64 MiB.

    Example:
        >>> count_pair_numbers(100, 2)
        40000
    """
    pairs = batch_size * batch_size * dimensions
    at_once = pairs if backend.KEEPS_PROGRAMS and not backend.COMPILES_EACH_SHAPE else _AT_ONCE
    return 2 * min(pairs, at_once)


def _map_in_parts(function, rows, others, shape):
    """Apply a function of pairs to a part of the rows at a time, if there are too many pairs.

    The rows are divided only if all shapes are known. To save memory, the gradient computes each
    part again instead of keeping what it made.

    Args:
        function: Function of the tensors in `rows`, or of the same part of each, followed by the
            tensors in `others`. It returns a row for each of these rows.
        rows: Tuple of tensors with equally many rows.
        others: Tuple of tensors.
        shape: Shape of the tensor with which every row forms pairs.
    """
    count = rows[0].shape[0]
    if count is None or None in shape or count * math.prod(shape) <= _AT_ONCE:
        return function(*rows, *others)
    parts = -(-count // max(1, _AT_ONCE // math.prod(shape)))
    size = -(-count // parts)
    # The last part is filled up by repeating the last row. The surplus results are dropped.
    filled = [ops.take(r, ops.minimum(ops.arange(parts * size), count - 1), axis=0) for r in rows]
    again = keras.remat(function)
    found = ops.map(
        lambda part: again(*part, *others),
        tuple(ops.reshape(r, (parts, size, *r.shape[1:])) for r in filled),
    )
    return ops.reshape(found, (parts * size, *found.shape[2:]))[:count]


@memory.explains("Pass fewer examples.")
def covariance(z: Tensor) -> Tensor:
    """Compute the covariance of the columns over the batch, with the batch size as divisor.

    Args:
        z: Tensor of shape (batch, dimensions).

    Returns:
        Float32 tensor of shape (dimensions, dimensions).

    Example:
        >>> import numpy as np
        >>> float(covariance(np.array([[1.0, 0.0], [-1.0, 0.0]]))[0, 0])
        1.0
    """
    z = ops.cast(z, "float32")
    memory.refuse_beyond(
        4.0 * z.shape[-1] ** 2,
        f"covariance: that of {z.shape[-1]} columns",
        "Pass fewer columns.",
    )
    centered = z - ops.mean(z, axis=0, keepdims=True)
    count = ops.cast(ops.shape(z)[0], "float32")
    return ops.matmul(ops.transpose(centered), centered) / count


@memory.explains("Pass fewer examples.")
def sliced_wasserstein(
    x: Tensor, y: Tensor, num_projections: int = 50, seed: Seed | None = None
) -> Tensor:
    """Estimate the squared sliced 2-Wasserstein distance between two samples of the same size.

    This is the mean, over uniformly drawn directions, of the squared distance between the
    projections of the samples. In one dimension, this distance is the mean squared difference of
    the sorted values.

    Source: Kolouri et al., Sliced-Wasserstein Autoencoder, section 3, arXiv:1804.01947.

    Args:
        x: Tensor of shape (n, dimensions).
        y: Tensor of x's shape.
        num_projections: Number of directions, a positive integer. Defaults to 50.
        seed: Integer or `keras.random.SeedGenerator`. Defaults to None, for new directions in each
            call.

    Returns:
        Float32 scalar, non-negative.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(100, 1))
        >>> round(float(sliced_wasserstein(x, x[::-1] + 3.0, seed=0)), 3)
        9.0
    """
    x, y = ops.cast(x, "float32"), ops.cast(y, "float32")
    memory.refuse_beyond(
        4.0 * num_projections * (2 * x.shape[-1] + 4 * (x.shape[0] or 1)),
        f"sliced_wasserstein: num_projections={num_projections} of x of shape {tuple(x.shape)}",
        "Take fewer projections, or pass fewer examples.",
    )
    directions = keras.random.normal((x.shape[-1], num_projections), dtype="float32", seed=seed)
    directions = directions / ops.norm(directions, axis=0, keepdims=True)
    sorted_x, sorted_y = (ops.sort(ops.matmul(v, directions), axis=0) for v in (x, y))
    return ops.mean(ops.square(sorted_x - sorted_y))


@memory.explains("Pass fewer examples.")
def bernoulli_kl(p: Tensor, q: Tensor) -> Tensor:
    """Compute KL(Bernoulli(p) || Bernoulli(q)) in nats.

    This is the penalty on the mean activity of a hidden unit in Ng, Sparse autoencoder, section 3.

    Args:
        p: Tensor of probabilities, which are clipped to between 1e-7 and 1 - 1e-7.
        q: Tensor of probabilities, which are clipped likewise.

    Returns:
        Float32 tensor, non-negative.

    Example:
        >>> round(float(bernoulli_kl(0.05, 0.5)), 4)
        0.4946
    """
    p, q = (ops.clip(ops.cast(v, "float32"), 1e-7, 1.0 - 1e-7) for v in (p, q))
    return p * (ops.log(p) - ops.log(q)) + (1.0 - p) * (ops.log(1.0 - p) - ops.log(1.0 - q))
