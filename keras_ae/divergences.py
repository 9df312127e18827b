"""Pure functions behind the terms that compare two distributions through their samples."""

import math

import keras
from keras import ops

from keras_ae.core import memory
from keras_ae.distributions import pairwise_log_prob


@memory.explains("Pass fewer examples.")
def permute_dims(z, seed):
    """Shuffle every latent dimension across the batch, independently of the others.

    Turns draws of an aggregate posterior q(z) into draws of the product of its marginals.

    Source: Kim and Mnih, Disentangling by Factorising, algorithm 1, arXiv:1802.05983.

    Args:
        z: Tensor of shape (batch, latent_dim).
        seed: Integer or `keras.random.SeedGenerator`.

    Returns:
        Tensor of z's shape and dtype; every column holds the same values as z's, reordered.

    Example:
        >>> import numpy as np
        >>> permute_dims(np.arange(20.0).reshape(10, 2), seed=0).shape == (10, 2)
        True
    """
    # The ranks of independent uniform numbers are a uniformly drawn permutation.
    uniform = keras.random.uniform(ops.shape(z), dtype="float32", seed=seed)
    return ops.take_along_axis(z, ops.argsort(uniform, axis=0), axis=0)


@memory.explains("Pass fewer examples.")
def softmax_loss(logits, label):
    """Cross-entropy of one class that all examples share, in nats.

    A discriminator's loss in the density-ratio trick: label 0 for draws of one distribution,
    label 1 for those of the other.

    Source: Kim and Mnih, Disentangling by Factorising, section 3, arXiv:1802.05983.

    Args:
        logits: Tensor of shape (batch, 2).
        label: 0 or 1, the class that every row belongs to.

    Returns:
        Float32 tensor of shape (batch,), non-negative.

    Example:
        >>> import numpy as np
        >>> round(float(softmax_loss(np.zeros((4, 2)), 0)[0]), 4)
        0.6931
    """
    return -ops.log_softmax(ops.cast(logits, "float32"), axis=-1)[:, label]


@memory.explains("Pass fewer examples.")
def aggregate_log_densities(z, posterior, dataset_size=None, estimator="weighted"):
    """Estimates of log q(z) and of log q(z_j), with q(z) the average posterior over a data set.

    The batch is taken for a draw of the data set. `"weighted"` is minibatch-weighted sampling,
    eq. 5 of arXiv:1802.04942: every posterior of the batch counts alike, and the sum is divided by
    batch size times data set size. `"stratified"` knows that an example's own posterior is one of
    the data set's, appendix C.2: it counts 1 / N, and the others of the batch share the rest
    equally. (The paper gives one of the others a weight of its own; averaged over which one, that
    is the same estimator with less variance.) Where the batch is the whole data set, the latter is
    exact.

    Args:
        z: Tensor of shape (batch, latent_dim), one draw of every posterior.
        posterior: `keras_ae.distributions.DiagonalGaussian` over (batch, latent_dim).
        dataset_size: Number N of examples in the data set, an integer or scalar tensor of at least
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

    def densities_of(z, rows, mean, log_variance, size):
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
    found = _in_parts(densities_of, (z, numbers), others, posterior.mean.shape)
    return found[:, 0], found[:, 1:]


@memory.explains("Pass fewer examples.")
def stratified_from_weighted(weighted, own, batch_size, dataset_size):
    """The stratified estimate of `aggregate_log_densities`, of the weighted one with N = 1.

    Without the pairs of the batch: the sum over its posteriors is known, and so is what the
    example's own contributes. In float32 it is good to about a hundredth of a nat.

    Args:
        weighted: The weighted estimate, log q(z) or log q(z_j), for a dataset_size of 1.
        own: Log-density of each draw under its own posterior, of the same shape.
        batch_size: Number of examples in the batch, a float32 scalar.
        dataset_size: Number N of examples in the data set, a float32 scalar.

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
    # An example alone says nothing of the others: it is its own data set.
    size = ops.where(batch_size > 1.0, size, 1.0)
    total = weighted + ops.log(batch_size)
    share = ops.exp(ops.minimum(own - total, 0.0))
    others = (1.0 - share) * (size - 1.0) / ops.maximum(batch_size - 1.0, 1.0)
    return total + ops.log(share + others) - ops.log(size)


@memory.explains("Pass fewer examples.")
def mmd(x, y, kernel="imq", bandwidths=(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)):
    """Unbiased estimate of the squared maximum mean discrepancy between two samples.

    The U-statistic of Gretton et al. 2012 (jmlr.org/papers/v13/gretton12a.html), eq. 3: its
    expectation is 0 for draws of one distribution, so that single values may be negative. The
    kernel is summed over the bandwidths s, with C = 2 dimensions s: inverse multiquadric
    C / (C + |x - y|^2), as in arXiv:1711.01558, or Gaussian exp(-|x - y|^2 / C).

    Args:
        x: Tensor of shape (n, dimensions). Of one example there is no estimate: the value is 0.
        y: Tensor of shape (m, dimensions), the same.
        kernel: "imq" or "rbf". Defaults to "imq".
        bandwidths: Positive numbers, each s the variance of a standard normal's scale. Defaults to
            seven from 0.1 to 10.

    Returns:
        Float32 scalar.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(100, 2))
        >>> bool(mmd(x[:50], x[50:]) < 0.05) and bool(mmd(x[:50], x[50:] + 3.0) > 1.0)
        True
    """
    x, y = ops.cast(x, "float32"), ops.cast(y, "float32")

    def sums(x, y):
        """Of the kernel of every row of x with all of y."""
        distances = ops.sum(ops.square(x[:, None] - y[None]), axis=-1)
        total = ops.zeros_like(distances)
        for bandwidth in bandwidths:
            scale = 2.0 * x.shape[-1] * bandwidth
            if kernel == "imq":
                total = total + scale / (scale + distances)
            else:
                total = total + ops.exp(-distances / scale)
        return ops.sum(total, axis=1)

    def mean_of_pairs(x):
        count = ops.cast(ops.shape(x)[0], "float32")
        # Without that of each with itself, which is 1 for every bandwidth.
        others = _in_parts(sums, (x,), (x,), x.shape) - len(bandwidths)
        return ops.sum(others) / ops.maximum(count * (count - 1.0), 1.0)

    n, m = (ops.cast(ops.shape(v)[0], "float32") for v in (x, y))
    between = ops.sum(_in_parts(sums, (x,), (y,), y.shape)) / ops.maximum(n * m, 1.0)
    estimate = mean_of_pairs(x) + mean_of_pairs(y) - 2.0 * between
    return ops.where(ops.minimum(n, m) > 1.0, estimate, 0.0)


# Numbers of one tensor above which the pairs of two samples are not made all at once: 64 MiB.
_AT_ONCE = 2**24


def _in_parts(function, rows, others, shape):
    """A function of pairs, one row of its result for each of `rows`, a part of these at a time.

    Where the shapes are known and the pairs of so many rows with `others` are too many. What a part
    made is not kept for the gradient, which makes it again.

    Args:
        function: Of the tensors in `rows`, or a part of each, and then those in `others`.
        rows: Tuple of tensors of as many rows.
        others: Tuple of tensors.
        shape: Shape of what every row forms pairs with.
    """
    count = rows[0].shape[0]
    if count is None or None in shape or count * math.prod(shape) <= _AT_ONCE:
        return function(*rows, *others)
    parts = -(-count // max(1, _AT_ONCE // math.prod(shape)))
    size = -(-count // parts)
    # The last part is filled up with rows whose results are dropped.
    filled = [ops.take(r, ops.minimum(ops.arange(parts * size), count - 1), axis=0) for r in rows]
    again = keras.remat(function)
    found = ops.map(
        lambda part: again(*part, *others),
        tuple(ops.reshape(r, (parts, size, *r.shape[1:])) for r in filled),
    )
    return ops.reshape(found, (parts * size, *found.shape[2:]))[:count]


@memory.explains("Pass fewer examples.")
def covariance(z):
    """Covariance of the columns over the batch, divided by the batch size.

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
    centred = z - ops.mean(z, axis=0, keepdims=True)
    count = ops.cast(ops.shape(z)[0], "float32")
    return ops.matmul(ops.transpose(centred), centred) / count


@memory.explains("Pass fewer examples.")
def sliced_wasserstein(x, y, num_projections=50, seed=None):
    """The squared sliced 2-Wasserstein distance between two samples of one size, estimated.

    The mean, over directions drawn uniformly, of the squared distance between the projections,
    which in one dimension is the mean squared difference of the sorted values.

    Source: Kolouri et al., Sliced-Wasserstein Autoencoder, section 3, arXiv:1804.01947.

    Args:
        x: Tensor of shape (n, dimensions).
        y: Tensor of x's shape.
        num_projections: Directions, a positive integer. Defaults to 50.
        seed: Integer or `keras.random.SeedGenerator`. Defaults to None, a fresh draw.

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
def bernoulli_kl(p, q):
    """KL(Bernoulli(p) || Bernoulli(q)) in nats.

    The penalty on the mean activity of a hidden unit in Ng, Sparse autoencoder, section 3.

    Args:
        p: Tensor of probabilities; those nearer to 0 or 1 than 1e-7 count as that near.
        q: The same.

    Returns:
        Float32 tensor, non-negative.

    Example:
        >>> round(float(bernoulli_kl(0.05, 0.5)), 4)
        0.4946
    """
    p, q = (ops.clip(ops.cast(v, "float32"), 1e-7, 1.0 - 1e-7) for v in (p, q))
    return p * (ops.log(p) - ops.log(q)) + (1.0 - p) * (ops.log(1.0 - p) - ops.log(1.0 - q))
