"""How well single dimensions of a code stand for the factors behind data.

Most scores take an array of codes, such as posterior means, and a table of the factors of the same
examples. A factor with few values is taken for discrete, and one with many for continuous.
`beta_vae_score` and `factor_vae_score` need data with chosen factors, and take functions.

Of all scores, more is better, and of `gaussian_total_correlation` less. No score depends on the
scale of the codes, except for `unsupervised_disentanglement_ranking`, which says so.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import stats
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import mutual_info_score, r2_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from keras_ae.core import arguments
from keras_ae.core.types import Array
from keras_ae.evaluation.arrays import check_rows, check_same_length, make_generator

MOST_CLASSES = 50  # A factor with more values than this is continuous.
_DEAD = 1e-6  # A dimension with less than this share of the largest variance is constant.
_ROUNDING = 1e-6  # So is one whose deviation is a smaller share of its mean, as float32 rounds it.


def mutual_information_gap(codes: Array, factors: Array, bins: int = 20) -> float:
    """Compute the mutual information gap (MIG).

    For each factor, it is the difference between the largest and the second largest mutual
    information with a dimension of the code, divided by the factor's entropy. The score is the mean
    over the factors, between 0 and 1. A factor that two dimensions share scores 0.

    Codes, and continuous factors, are divided into bins that hold equally many examples. (The
    paper's code has bins of equal width, whose edges a single outlier moves.) The estimate of a
    mutual information is too high by about (bins - 1)(values - 1) / (2 examples) nats, for all
    dimensions alike.

    Source: Chen et al., Isolating Sources of Disentanglement, arXiv:1802.04942.

    Args:
        codes: Array of shape (examples, dimensions).
        factors: Array of shape (examples, factors).
        bins: Number of bins, an integer of at least 2. Defaults to 20.

    Returns:
        A float.

    Example:

    >>> import numpy as np
    >>> from keras_ae import evaluation
    >>> factors = np.random.default_rng(0).integers(0, 4, (1000, 2))
    >>> evaluation.mutual_information_gap(factors, factors) > 0.98
    True
    """
    codes, factors = _check("mutual_information_gap", codes, factors)
    bins = arguments.integer("mutual_information_gap", "bins", bins, least=2)
    information, entropies = _compute_information(codes, factors, bins)
    ordered = np.sort(information, axis=0)[::-1]
    second = ordered[1] if len(ordered) > 1 else 0.0
    return float(np.mean((ordered[0] - second) / np.maximum(entropies, 1e-12)))


def disentanglement_completeness(codes: Array, factors: Array, seed: int = 0) -> dict[str, float]:
    """Compute DCI: disentanglement, completeness, and how well codes predict factors.

    A random forest predicts each factor from all dimensions of the code. A dimension is
    disentangled if it is important for one factor alone, and a factor is complete if one dimension
    alone is important for it: 1 minus the entropy of the importances, in units of its maximum.
    Dimensions and factors are weighted by their importance. With a single factor, every dimension
    is disentangled, and with a single dimension every factor is complete.

    Every split of a tree may use any dimension. If it had to do with some that are drawn, as is
    usual in forests, dimensions that tell nothing would seem important.

    Source: Eastwood and Williams, A Framework for the Quantitative Evaluation of Disentangled
    Representations, 2018, https://openreview.net/forum?id=By-7dz-AZ.

    Args:
        codes: Array of shape (examples, dimensions).
        factors: Array of shape (examples, factors).
        seed: Integer that makes the forests and the division of the data repeatable. Defaults to 0.

    Returns:
        Dictionary of "disentanglement" and "completeness", between 0 and 1, and "accuracy", the
        mean over the factors of the accuracy on a held-out quarter of the examples. (The paper
        calls its counterpart informativeness.) For a continuous factor, the accuracy is the
        fraction of its variance that is explained, at least 0.

    Example:

    >>> import numpy as np
    >>> from keras_ae import evaluation
    >>> factors = np.random.default_rng(0).integers(0, 4, (1000, 2))
    >>> found = evaluation.disentanglement_completeness(factors, factors)
    >>> round(found["disentanglement"], 1), round(found["accuracy"], 1)
    (1.0, 1.0)
    """
    codes, factors = _check("disentanglement_completeness", codes, factors)
    importances, accuracies = [], []
    for factor in factors.T:
        kind = RandomForestClassifier if _is_discrete(factor) else RandomForestRegressor
        forest = kind(n_estimators=100, min_samples_leaf=5, max_features=None, random_state=seed)
        accuracies.append(_score_held_out(forest, codes, factor, seed))
        importances.append(forest.feature_importances_)
    importances = np.array(importances).T  # (dimensions, factors)
    return {
        "disentanglement": _weigh_certainty(importances),
        "completeness": _weigh_certainty(importances.T),
        "accuracy": float(np.mean(accuracies)),
    }


def _weigh_certainty(importances):
    """Average 1 minus the relative entropy of the rows, weighted by the rows' sums."""
    totals = importances.sum(axis=1)
    if not np.any(totals > 0) or importances.shape[1] == 1:
        return float(np.any(totals > 0))
    entropies = stats.entropy(importances[totals > 0], axis=1) / np.log(importances.shape[1])
    return float(np.average(1.0 - entropies, weights=totals[totals > 0]))


def separated_attribute_predictability(codes: Array, factors: Array, seed: int = 0) -> float:
    """Compute the SAP score.

    Every factor is predicted from every single dimension of the code. The score is the mean over
    the factors of the difference between the best and the second best dimension. For a discrete
    factor, a logistic regression of the dimension and its square is scored by its balanced
    accuracy on a held-out quarter; for a continuous one, the squared correlation.

    Source: Kumar, Sattigeri and Balakrishnan, section 3, arXiv:1711.00848.

    Args:
        codes: Array of shape (examples, dimensions).
        factors: Array of shape (examples, factors).
        seed: Integer that makes the division of the data repeatable. Defaults to 0.

    Returns:
        A float. For discrete factors it is at most 1 minus the accuracy of guessing.

    Example:

    >>> import numpy as np
    >>> from keras_ae import evaluation
    >>> factors = np.random.default_rng(0).integers(0, 2, (1000, 2))
    >>> round(evaluation.separated_attribute_predictability(factors, factors), 1)
    0.5
    """
    codes, factors = _check("separated_attribute_predictability", codes, factors)
    gaps, alive = [], _find_alive(codes)
    # The square of a dimension that is far from 0 would be almost a linear function of it.
    codes = (codes - codes.mean(axis=0)) / np.where(alive, codes.std(axis=0), 1.0)
    for factor in factors.T:
        scores = [
            _predict_from_one(z, factor, seed) if varies else _guess(factor)
            for z, varies in zip(codes.T, alive, strict=True)
        ]
        scores.sort(reverse=True)
        gaps.append(scores[0] - (scores[1] if len(scores) > 1 else 0.0))
    return float(np.mean(gaps))


def _guess(factor):
    """Return the score of a dimension that tells nothing."""
    return 1.0 / len(np.unique(factor)) if _is_discrete(factor) else 0.0


def _predict_from_one(z, factor, seed):
    if _is_discrete(factor):
        regression = make_pipeline(
            StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000)
        )
        return _score_held_out(regression, np.stack([z, z**2], axis=1), factor, seed, balanced=True)
    return float(np.corrcoef(z, factor)[0, 1] ** 2)


def modularity_explicitness(
    codes: Array, factors: Array, bins: int = 20, seed: int = 0
) -> dict[str, float]:
    """Compute modularity and explicitness.

    A dimension of the code is modular if it has mutual information with one factor alone: 1 minus
    the sum of the squared informations about other factors, divided by the best one's square times
    the number of other factors. Constant dimensions are left out. A factor is explicit if a
    logistic regression tells each of its values from the others: twice the area under the ROC curve
    minus 1, on a held-out quarter.

    Modularity says nothing of how much a dimension tells. Even noise has some by chance, often more
    than 0.5, so that it has no meaning where explicitness is near 0.

    Source: Ridgeway and Mozer, Learning Deep Disentangled Embeddings, arXiv:1802.05312.

    Args:
        codes: Array of shape (examples, dimensions).
        factors: Array of shape (examples, factors). Continuous ones are divided into bins.
        bins: See `mutual_information_gap`. Defaults to 20.
        seed: Integer that makes the division of the data repeatable. Defaults to 0.

    Returns:
        Dictionary of "modularity" and "explicitness", between 0 and 1.

    Example:

    >>> import numpy as np
    >>> from keras_ae import evaluation
    >>> factors = np.random.default_rng(0).integers(0, 4, (1000, 2))
    >>> found = evaluation.modularity_explicitness(factors, factors)
    >>> found["modularity"] > 0.99, found["explicitness"] > 0.8
    (True, True)
    """
    codes, factors = _check("modularity_explicitness", codes, factors)
    bins = arguments.integer("modularity_explicitness", "bins", bins, least=2)
    information, _ = _compute_information(codes, factors, bins)
    squares = information[_find_alive(codes)] ** 2
    modularity = 0.0
    if len(squares):
        best = np.maximum(squares.max(axis=1), 1e-30)
        others = squares.sum(axis=1) - squares.max(axis=1)
        modularity = np.mean(1.0 - others / (best * max(1, factors.shape[1] - 1)))
    areas = []
    for factor in factors.T:
        regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        train, test, train_factor, test_factor = _split(codes, _number(factor, bins), seed)
        chances = regression.fit(train, train_factor).predict_proba(test)
        for value, chance in zip(regression.classes_, chances.T, strict=True):
            if 0 < np.sum(test_factor == value) < len(test_factor):
                areas.append(2.0 * roc_auc_score(test_factor == value, chance) - 1.0)
    return {
        "modularity": float(modularity),
        "explicitness": max(0.0, float(np.mean(areas))) if areas else 0.0,
    }


def interventional_robustness(codes: Array, factors: Array, bins: int = 20) -> float:
    """Compute the interventional robustness score (IRS).

    A dimension of the code is robust if other factors do not move it while the factor that it
    stands for has a certain value: 1 minus the 0.99 quantile of its deviation from its mean for
    that value, divided by its largest deviation of all. Each dimension counts with its largest
    deviation, so that constant ones do not count.

    Codes that tell nothing have more than 0, about 0.3 if they are normally distributed, because
    their largest deviation of all is larger than their 0.99 quantile. With few examples of each
    value of a factor, the score is too high: a hundred or more are advised.

    Source: Suter et al., Robustly Disentangled Causal Mechanisms, arXiv:1811.00007.

    Args:
        codes: Array of shape (examples, dimensions).
        factors: Array of shape (examples, factors). Continuous ones are divided into bins.
        bins: See `mutual_information_gap`. Defaults to 20.

    Returns:
        A float between 0 and 1; 0 for a constant code.

    Example:

    >>> import numpy as np
    >>> from keras_ae import evaluation
    >>> factors = np.random.default_rng(0).integers(0, 4, (1000, 2))
    >>> evaluation.interventional_robustness(factors, factors)
    1.0
    """
    codes, factors = _check("interventional_robustness", codes, factors)
    bins = arguments.integer("interventional_robustness", "bins", bins, least=2)
    largest = np.max(np.abs(codes - codes.mean(axis=0)), axis=0)
    moved = _find_alive(codes)
    if not np.any(moved):
        return 0.0
    codes, largest = codes[:, moved], largest[moved]
    robust = []
    for factor in factors.T:
        factor = _number(factor, bins)
        values, counts = np.unique(factor, return_counts=True)
        deviations = []
        for value in values:
            part = codes[factor == value]
            deviations.append(np.quantile(np.abs(part - part.mean(axis=0)), 0.99, axis=0))
        robust.append(1.0 - np.average(deviations, axis=0, weights=counts) / largest)
    return float(np.average(np.clip(np.max(robust, axis=0), 0.0, 1.0), weights=largest))


def unsupervised_disentanglement_ranking(codes: Sequence[Array]) -> np.ndarray:
    """Rank models by how alike their codes are to those of others (UDR), without any factors.

    Disentangled codes of the same data are alike up to the order and the sign of the dimensions.
    The similarity of two models is computed from the absolute rank correlations of their
    dimensions: for each dimension of either code, the squared largest one divided by the sum,
    averaged over the dimensions that are in use in both directions. The score of a model is the
    median over the other models. At least five models with different seeds are advised.

    Source: Duan et al., Unsupervised Model Selection for Variational Disentangled Representation
    Learning, arXiv:1905.12614, with rank correlations.

    Args:
        codes: List of arrays of shape (examples, dimensions), one for each model, of the same
            examples. A dimension whose variance is below 0.01 counts as not in use.

    Returns:
        Float64 array of shape (models,), between 0 and 1.

    Raises:
        ValueError: If there are fewer than two models.

    Example:

    >>> import numpy as np
    >>> from keras_ae import evaluation
    >>> z = np.random.default_rng(0).normal(size=(5000, 2))
    >>> evaluation.unsupervised_disentanglement_ranking([z, -z[:, ::-1]]).round(1).tolist()
    [1.0, 1.0]
    """
    owner = "unsupervised_disentanglement_ranking"
    codes = [check_rows(owner, f"codes[{number}]", z) for number, z in enumerate(codes)]
    if len(codes) < 2:
        raise ValueError(f"{owner}: codes holds {len(codes)} model, but a model is compared.")
    check_same_length(owner, **{f"codes[{number}]": z for number, z in enumerate(codes)})
    ranks = [stats.rankdata(z[:, np.var(z, axis=0) > 0.01], axis=0) for z in codes]
    found = np.full((len(codes), len(codes)), np.nan)
    for i, first in enumerate(ranks):
        for j, second in enumerate(ranks):
            if i != j:
                found[i, j] = _compare_ranks(first, second)
    return np.nanmedian(found, axis=1)


def _compare_ranks(first, second):
    if not first.shape[1] or not second.shape[1]:
        return 0.0
    both = np.corrcoef(first, second, rowvar=False)
    similar = np.abs(both[: first.shape[1], first.shape[1] :])
    parts = [
        table.max(axis=1) ** 2 / np.maximum(table.sum(axis=1), 1e-12)
        for table in (similar, similar.T)
    ]
    return float(np.mean(np.concatenate(parts)))


def gaussian_total_correlation(codes: Array) -> float:
    """Compute the total correlation of the Gaussian with the codes' covariance, in nats.

    It is half of the sum of the logarithms of the variances minus that of the determinant, and sees
    only linear dependence. Constant dimensions are left out. The estimate is too high, by about
    dimensions (dimensions - 1) / (4 examples) nats for independent dimensions.

    Source: Locatello et al., Challenging Common Assumptions, section 5.3, arXiv:1811.12359.

    Args:
        codes: Array of shape (examples, dimensions), with more examples than dimensions.

    Returns:
        A float of at least 0, infinite if a dimension is a linear function of others.

    Example:

    >>> import numpy as np
    >>> from keras_ae import evaluation
    >>> z = np.random.default_rng(0).normal(size=(1000, 2))
    >>> evaluation.gaussian_total_correlation(z) < 0.01
    True
    """
    codes = check_rows("gaussian_total_correlation", "codes", codes)
    codes = codes[:, _find_alive(codes)]
    if codes.shape[1] < 2:
        return 0.0
    if len(codes) <= codes.shape[1]:
        raise ValueError(
            f"gaussian_total_correlation: the covariance of {len(codes)} examples of "
            f"{codes.shape[1]} dimensions is singular. Pass more examples."
        )
    values = np.linalg.eigvalsh(np.corrcoef(codes, rowvar=False))
    # The smallest eigenvalue of a singular matrix is rounded to a tiny number of either sign.
    if values[0] <= 8 * len(values) * np.finfo(float).eps * values[-1]:
        return float("inf")
    return float(max(0.0, -0.5 * np.sum(np.log(values))))


def predict_factors(codes: Array, factors: Array, seed: int = 0) -> np.ndarray:
    """Compute how well a logistic regression predicts each factor from the whole code.

    Args:
        codes: Array of shape (examples, dimensions).
        factors: Array of shape (examples, factors). Continuous ones are divided into 20 bins.
        seed: Integer that makes the division of the data repeatable. Defaults to 0.

    Returns:
        Float64 array of shape (factors,), accuracies on a held-out quarter of the examples.

    Example:

    >>> import numpy as np
    >>> from keras_ae import evaluation
    >>> factors = np.random.default_rng(0).integers(0, 2, (1000, 2))
    >>> evaluation.predict_factors(factors, factors).tolist()
    [1.0, 1.0]
    """
    codes, factors = _check("predict_factors", codes, factors)
    found = []
    for factor in factors.T:
        regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        found.append(_score_held_out(regression, codes, _number(factor, 20), seed))
    return np.array(found)


# ------------------------------------------------------------------ scores with chosen factors


def beta_vae_score(
    represent: Callable[..., Any],
    draw: Callable[..., Any],
    sizes: Sequence[int],
    num_train: int = 5000,
    num_test: int = 1000,
    pairs: int = 64,
    seed: int = 0,
) -> float:
    """Compute the score of beta-VAE: which factor do pairs of examples share?

    Each training point is the mean absolute difference of the codes of `pairs` pairs of examples,
    in which one factor is equal. A logistic regression finds out which factor it is.

    Source: Higgins et al., beta-VAE, section 3, https://openreview.net/forum?id=Sy2fzU9gl.

    Args:
        represent: Function of an array of examples that returns codes (examples, dimensions), such
            as `model.encode`.
        draw: Function of an int array of factor values, (examples, factors), that returns examples.
        sizes: Tuple of at least two integers, the number of values of each factor, at least 2.
        num_train, num_test: Number of points. Defaults to 5,000 and 1,000.
        pairs: Number of pairs of a point. Defaults to 64.
        seed: Integer that makes the draws repeatable. Defaults to 0.

    Returns:
        The accuracy on the test points, a float from 0 to 1. Guessing has 1 / factors.

    Raises:
        ValueError: If a number is out of range. A factor with one value cannot be told from others.

    Example:

    >>> from keras_ae import evaluation
    >>> options = {"num_train": 200, "num_test": 50}
    >>> evaluation.beta_vae_score(lambda x: x, lambda f: f * 1.0, (8, 8, 8), **options)
    1.0
    """
    sizes = _check_draws(
        "beta_vae_score", sizes, num_train=num_train, num_test=num_test, pairs=pairs
    )
    rng = make_generator("beta_vae_score", seed)
    points, labels = [], rng.integers(0, len(sizes), num_train + num_test)
    for label in labels:
        first, second = (_draw_factors(rng, sizes, pairs) for _ in range(2))
        second[:, label] = first[:, label]
        codes = [_encode("beta_vae_score", represent, draw(f)) for f in (first, second)]
        points.append(np.mean(np.abs(codes[0] - codes[1]), axis=0))
    points = np.array(points)
    regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    regression.fit(points[:num_train], labels[:num_train])
    return float(regression.score(points[num_train:], labels[num_train:]))


def factor_vae_score(
    represent: Callable[..., Any],
    draw: Callable[..., Any],
    sizes: Sequence[int],
    num_train: int = 800,
    num_test: int = 400,
    batch: int = 64,
    scale_batch: int = 10_000,
    seed: int = 0,
) -> float:
    """Compute the score of FactorVAE: which dimension does not vary while a factor is fixed?

    For each point, one factor is fixed, and the dimension of the code whose variance is smallest,
    compared with its variance over all data, votes for this factor. The score is the accuracy with
    which the majority of a dimension's votes predicts the factor. Dimensions with less than a
    twentieth of the largest variance are left out, because they vary least whatever is fixed.

    Source: Kim and Mnih, Disentangling by Factorising, section 4, arXiv:1802.05983.

    Args:
        represent, draw, sizes, seed: See `beta_vae_score`.
        num_train: Number of points that vote. Defaults to 800.
        num_test: Number of points on which the majority is scored. Defaults to 400.
        batch: Number of examples of a point. Defaults to 64.
        scale_batch: Number of examples whose codes give the variances. Defaults to 10,000.

    Returns:
        The accuracy, a float from 0 to 1. A constant code has 0, and guessing 1 / factors.

    Raises:
        ValueError: See `beta_vae_score`.

    Example:

    >>> from keras_ae import evaluation
    >>> evaluation.factor_vae_score(lambda x: x, lambda f: f * 1.0, (8, 8, 8))
    1.0
    """
    sizes = _check_draws(
        "factor_vae_score",
        sizes,
        num_train=num_train,
        num_test=num_test,
        batch=batch,
        scale_batch=scale_batch,
    )
    rng = make_generator("factor_vae_score", seed)

    def encode(factors):
        return _encode("factor_vae_score", represent, draw(factors))

    codes = encode(_draw_factors(rng, sizes, scale_batch))
    variances = np.var(codes, axis=0)
    alive = np.flatnonzero(_find_alive(codes) & (variances >= 0.05 * variances.max()))
    if not len(alive):
        return 0.0
    votes = np.zeros((2, len(alive), len(sizes)), int)
    for number in range(num_train + num_test):
        label = rng.integers(len(sizes))
        factors = _draw_factors(rng, sizes, batch)
        factors[:, label] = factors[0, label]
        least = np.argmin(np.var(encode(factors)[:, alive], axis=0) / variances[alive])
        votes[int(number >= num_train), least, label] += 1
    majority = votes[0].argmax(axis=1)
    return float(votes[1][np.arange(len(alive)), majority].sum() / votes[1].sum())


def _check_draws(owner, sizes, **counts):
    """Return the numbers of values of all factors, after checking them and the counts."""
    for name, count in counts.items():
        arguments.integer(owner, name, count, least=2 if "batch" in name else 1)
    sizes = arguments.sizes(owner, "sizes", sizes, "(3, 6, 40)", least=2)
    if len(sizes) < 2:
        raise ValueError(
            f"{owner}: sizes={sizes} is of one factor, which needs no telling from others. Pass "
            "the sizes of at least two factors."
        )
    return sizes


def _draw_factors(rng, sizes, number):
    return np.stack([rng.integers(0, size, number) for size in sizes], axis=1)


def _encode(owner, represent, x):
    return check_rows(owner, "represent(x)", represent(x))


# ------------------------------------------------------------------ what several scores share


def _check(owner, codes, factors):
    codes, factors = check_rows(owner, "codes", codes), check_rows(owner, "factors", factors)
    check_same_length(owner, codes=codes, factors=factors)
    constant = np.flatnonzero(np.ptp(factors, axis=0) == 0)
    if len(constant):
        raise ValueError(
            f"{owner}: column {constant[0]} of factors has one value, {factors[0, constant[0]]:g}, "
            "which every code predicts. Leave this column out."
        )
    return codes, factors


def _find_alive(codes):
    """Tell which dimensions are not constant, apart from rounding."""
    variances, means = np.var(codes, axis=0), np.mean(codes, axis=0)
    return (variances > _DEAD * variances.max()) & (variances > (_ROUNDING * means) ** 2)


def _is_discrete(factor):
    return len(np.unique(factor)) <= MOST_CLASSES


def _number(factor, bins):
    """Number the values of a discrete factor, or the bins of a continuous one."""
    if _is_discrete(factor):
        return np.unique(factor, return_inverse=True)[1]
    return _divide(factor, bins)


def _divide(values, bins):
    """Number the bins of equally many examples into which values fall; few values stay as they are.

    Equal values share a bin.
    """
    distinct, numbers = np.unique(values, return_inverse=True)
    if len(distinct) <= bins:
        return numbers
    edges = np.quantile(values, np.arange(1, bins) / bins)
    return np.searchsorted(np.unique(edges), values, side="right")


def _compute_information(codes, factors, bins):
    """Compute the mutual informations (dimensions, factors) and the factors' entropies, in nats."""
    codes = [_divide(z, bins) for z in codes.T]
    factors = [_number(factor, bins) for factor in factors.T]
    information = np.array([[mutual_info_score(z, f) for f in factors] for z in codes])
    entropies = np.array([mutual_info_score(f, f) for f in factors])
    return np.maximum(information, 0.0), entropies


def _score_held_out(predictor, codes, factor, seed, balanced=False):
    """Fit a predictor on three quarters of the examples, and score it on the others."""
    discrete = _is_discrete(factor)
    target = np.unique(factor, return_inverse=True)[1] if discrete else factor
    train, test, train_target, test_target = _split(codes, target, seed)
    found = predictor.fit(train, train_target).predict(test)
    if not discrete:
        return max(0.0, float(r2_score(test_target, found)))
    right = found == test_target
    if balanced:
        return float(np.mean([right[test_target == value].mean() for value in set(test_target)]))
    return float(np.mean(right))


def _split(codes, target, seed):
    """Divide codes and their targets into three quarters for training, and a quarter for tests."""
    train, test, train_target, test_target = train_test_split(
        codes, target, test_size=0.25, random_state=seed
    )
    if len(np.unique(train_target)) < 2:
        raise ValueError(
            f"a factor has only one value in the {len(train)} examples from which it is learned. "
            "Pass more examples, or leave out the column of factors whose other values are so rare."
        )
    return train, test, train_target, test_target
