"""How far generated samples are from data: distances and coverage in a space of features.

All functions but `score_samples` take arrays of features, such as the outputs of a classifier's
last hidden layer, and flatten each example. Figures are comparable only with the same features and
the same numbers of examples. Of distances less is better, and of precision, recall, density and
coverage more.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy import linalg

from keras_ae.core import arguments
from keras_ae.core.types import Array
from keras_ae.evaluation.arrays import check_pair, make_generator, rows_at_once, scatter


def frechet_distance(x: Array, y: Array) -> float:
    """Compute the Fréchet distance between Gaussians with the means and covariances of two samples.

    The distance is |m - n|^2 + tr(A + B - 2 (A B)^(1/2)). In the features of Inception's pooling
    layer it is known as FID. It is biased: two samples of one distribution have a positive
    distance, which falls with their size. `score_samples` computes the distance of two samples of
    the data next to it.

    Source: Heusel et al., GANs Trained by a Two Time-Scale Update Rule, arXiv:1706.08500; the bias:
    Binkowski et al., arXiv:1801.01401.

    Args:
        x: Array of shape (n, ...), the features of one sample.
        y: Array of shape (m, ...), the features of the other one.

    Returns:
        A float of at least 0, in squared units of the features.

    Raises:
        ValueError: If the widths differ, or a sample has no more examples than features. Its
            covariance would be singular, and the distance meaningless.

    Example:

    >>> import numpy as np
    >>> from keras_ae import evaluation
    >>> x = np.random.default_rng(0).normal(size=(1000, 3))
    >>> round(evaluation.frechet_distance(x, x + 2.0), 6)
    12.0
    """
    x, y = check_pair("frechet_distance", x, y)
    width = x.shape[1]
    for name, part in (("x", x), ("y", y)):
        if len(part) <= width:
            raise ValueError(
                f"frechet_distance: {name} has {len(part)} examples of {width} features, and their "
                f"covariance would be singular. Pass more than {width} examples, or fewer features."
            )
    apart = np.sum((x.mean(axis=0) - y.mean(axis=0)) ** 2)
    first, second = (np.atleast_2d(np.cov(part, rowvar=False)) for part in (x, y))
    # (A B)^(1/2) has the trace of (R B R)^(1/2) for the root R of A, which is symmetric, so that
    # its eigenvalues are real.
    values, vectors = linalg.eigh(first)
    root = vectors * np.sqrt(np.maximum(values, 0.0)) @ vectors.T
    product = linalg.eigvalsh(root @ second @ root)
    total = apart + np.trace(first) + np.trace(second)
    return max(0.0, float(total - 2.0 * np.sum(np.sqrt(np.maximum(product, 0.0)))))


def kernel_distance(
    x: Array, y: Array, subset_size: int = 1000, num_subsets: int = 100, seed: int = 0
) -> dict[str, float]:
    """Estimate the squared maximum mean discrepancy with a cubic kernel, known as KID.

    The kernel is (a . b / width + 1)^3. The estimate is unbiased, so that it may be negative and
    does not depend on the number of examples. It depends on the unit and the origin of features.

    Source: Binkowski et al., Demystifying MMD GANs, arXiv:1801.01401.

    Args:
        x: Array of shape (n, ...), the features of one sample.
        y: Array of shape (m, ...), the features of the other one.
        subset_size: Number of examples in a subset of each sample, an integer of at least 2.
            Defaults to 1,000.
        num_subsets: Number of subsets, a positive integer. Each is drawn from the whole sample,
            without repetition of an example. Defaults to 100.
        seed: Integer that makes the draws repeatable. Defaults to 0.

    Returns:
        Dictionary: "mean" over the subsets, and their "standard_deviation", which is NaN for a
        single one. Subsets overlap, so that the error of the mean lies between this deviation and
        the tenth of it that a hundred independent subsets would have.

    Raises:
        ValueError: If the widths differ, or a sample is smaller than a subset.

    Example:

    >>> import numpy as np
    >>> from keras_ae import evaluation
    >>> x = np.random.default_rng(0).normal(size=(400, 3))
    >>> found = evaluation.kernel_distance(x[:200], x[200:], subset_size=100)
    >>> abs(found["mean"]) < 3 * found["standard_deviation"]
    True
    """
    x, y = check_pair("kernel_distance", x, y)
    size = arguments.integer("kernel_distance", "subset_size", subset_size, least=2)
    number = arguments.integer("kernel_distance", "num_subsets", num_subsets)
    if size > min(len(x), len(y)):
        raise ValueError(
            f"kernel_distance: subset_size={size} is larger than a sample: x has {len(x)} examples "
            f"and y has {len(y)}. Pass a subset_size of at most {min(len(x), len(y))}."
        )
    rng = make_generator("kernel_distance", seed)
    found = []
    for _ in range(number):
        a, b = (part[rng.choice(len(part), size, replace=False)] for part in (x, y))
        within = sum(k.sum() - np.trace(k) for k in (_cubic(a, a), _cubic(b, b)))
        found.append(within / (size * (size - 1)) - 2.0 * _cubic(a, b).mean())
    deviation = float(np.std(found)) if number > 1 else float("nan")
    return {"mean": float(np.mean(found)), "standard_deviation": deviation}


def _cubic(a, b):
    return (a @ b.T / a.shape[1] + 1.0) ** 3


def precision_recall(real: Array, fake: Array, k: int = 5) -> dict[str, float]:
    """Compute precision, recall, density and coverage by balls around nearest neighbors.

    A ball around an example reaches to its k-th nearest neighbor in the same sample.

    - `precision`: the fraction of fake examples in a ball of a real one: do samples look real?
    - `recall`: the fraction of real examples in a ball of a fake one: is everything sampled?
    - `density`: the number of real balls that hold a fake example, on average, divided by k. An
      outlier among the real examples matters less to it than to precision. It may exceed 1.
    - `coverage`: the fraction of real balls that hold a fake example.

    All four depend on k and on the number of examples. For two samples of one distribution, only
    `density` and `coverage` approach 1.

    Source: Kynkäänniemi et al., Improved Precision and Recall Metric, arXiv:1904.06991; Naeem et
    al., Reliable Fidelity and Diversity Metrics, arXiv:2002.09797.

    Args:
        real: Array of shape (n, ...), the features of data.
        fake: Array of shape (m, ...), the features of samples.
        k: Number of neighbors, a positive integer. Defaults to 5.

    Returns:
        Dictionary of four floats of at least 0, of which only `density` may exceed 1. The distances
        are computed in blocks, so that memory grows only with n + m. An example at the very edge of
        a ball is outside, so that copies of an example that occurs more than k times are in no ball
        of these.

    Raises:
        ValueError: If the widths differ, or a sample has no more than k examples.

    Example:

    >>> import numpy as np
    >>> from keras_ae import evaluation
    >>> x = np.random.default_rng(0).normal(size=(400, 3))
    >>> found = evaluation.precision_recall(x, x + 100.0)
    >>> found["precision"], found["coverage"]
    (0.0, 0.0)
    """
    real, fake = check_pair("precision_recall", real, fake, names=("real", "fake"))
    k = arguments.integer("precision_recall", "k", k)
    for name, part in (("real", real), ("fake", fake)):
        if len(part) <= k:
            raise ValueError(
                f"precision_recall: {name} has {len(part)} examples, which have no {k}-th nearest "
                f"neighbor. Pass more than {k} examples, or a smaller k."
            )
    # Squared norms of features far from 0 would leave no digits for the distances. Whole numbers
    # stay whole numbers, whose distances are exact.
    real, fake = real - real[0], fake - real[0]
    real_radius, fake_radius = (_find_radius(part, k) for part in (real, fake))
    in_real, in_fake = np.zeros(len(fake), int), np.zeros(len(real), bool)
    covered = np.zeros(len(real), bool)
    for rows, squares in _find_squares(real, fake):
        inside = squares < real_radius[rows, None]
        in_real += inside.sum(axis=0)
        covered[rows] = inside.any(axis=1)
        in_fake[rows] = np.any(squares < fake_radius[None], axis=1)
    return {
        "precision": float(np.mean(in_real > 0)),
        "recall": float(np.mean(in_fake)),
        "density": float(np.mean(in_real) / k),
        "coverage": float(np.mean(covered)),
    }


def score_samples(
    samples: Array,
    real: Array,
    more_real: Array,
    features: Callable[..., Any],
    k: int = 5,
    seed: int = 0,
) -> dict[str, Any]:
    """Compare samples with data in every way of this module, and the data with more data.

    All figures are computed from as many examples of each kind as the smallest of the three arrays
    has. Those of the longer arrays are taken at even distances, because data may be sorted. The
    distances of the data from more data are those that perfect samples would have.

    Args:
        samples: Array of shape (examples, ...), what a model generated.
        real: Array of shape (examples, ...), data with which the samples are compared, such as the
            test data.
        more_real: Array of shape (examples, ...), other examples of the data, such as the training
            data.
        features: Function of an array that returns an array of shape (examples, width), such as
            `DigitFeatures()`, `InceptionFeatures()` or `DataFeatures(more_real)`.
        k: See `precision_recall`. Defaults to 5.
        seed: See `kernel_distance`. Defaults to 0.

    Returns:
        Dictionary of "features", the name of the features; "examples", the number of each kind;
        "frechet_distance" and "kernel_distance" of the samples, each with one of the same name that
        ends in "_of_real"; "kernel_distance_deviation" over its subsets, which have half of the
        examples, and at most 1,000; "precision", "recall", "density" and "coverage".

    Raises:
        TypeError: If features is not a function.
        ValueError: If there are no more examples than features, or the arrays do not fit each
            other.

    Example:

    >>> import numpy as np
    >>> from keras_ae import evaluation
    >>> x = np.random.default_rng(0).normal(size=(3, 500, 4))
    >>> found = evaluation.score_samples(x[0] + 1.0, x[1], x[2], evaluation.DataFeatures(x[2]))
    >>> found["features"], found["examples"]
    ('identity', 500)
    >>> found["frechet_distance"] > 10 * found["frechet_distance_of_real"]
    True
    """
    if not callable(features):
        raise TypeError(
            f"score_samples: features={arguments.show(features)} must be a function of an array, "
            "such as keras_ae.evaluation.DigitFeatures()."
        )
    number = min(map(len, (samples, real, more_real)))
    fake, real, other = (
        features(np.asarray(x)[scatter(len(x), number)]) for x in (samples, real, more_real)
    )
    # A subset of everything would have no deviation.
    subsets = {"subset_size": max(2, min(number // 2, 1000)), "seed": seed}
    distance = kernel_distance(fake, real, **subsets)
    return {
        "features": getattr(features, "name", getattr(features, "__name__", "unnamed")),
        "examples": number,
        "frechet_distance": frechet_distance(fake, real),
        "frechet_distance_of_real": frechet_distance(other, real),
        "kernel_distance": distance["mean"],
        "kernel_distance_deviation": distance["standard_deviation"],
        "kernel_distance_of_real": kernel_distance(other, real, **subsets)["mean"],
        **precision_recall(real, fake, k),
    }


def _find_radius(x, k):
    """Compute the squared distance of every example to its k-th nearest neighbor."""
    radius = np.empty(len(x))
    for rows, squares in _find_squares(x, x):
        # The example itself comes first.
        radius[rows] = np.partition(squares, k, axis=1)[:, k]
    return radius


def _find_squares(x, y):
    """Yield slices of x's rows with their squared distances to all rows of y."""
    norms = np.sum(y**2, axis=1)
    for rows in rows_at_once(len(x), len(y)):
        part = x[rows]
        squares = np.sum(part**2, axis=1)[:, None] + norms - 2.0 * part @ y.T
        yield rows, np.maximum(squares, 0.0)
