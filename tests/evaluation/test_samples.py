"""Distances of samples, compared with closed forms and other implementations."""

import numpy as np
import pytest
from scipy import linalg
from scipy.spatial.distance import cdist

from keras_ae import evaluation

pytestmark = pytest.mark.backend_free


def with_moments(mean, covariance, number, rng):
    """Draw a sample that has exactly this mean and covariance."""
    x = rng.normal(size=(number, len(mean)))
    x = (x - x.mean(axis=0)) @ linalg.inv(linalg.cholesky(np.cov(x, rowvar=False)))
    return mean + x @ linalg.cholesky(covariance)


def test_the_frechet_distance_of_gaussians():
    rng = np.random.default_rng(0)
    roots = rng.normal(size=(2, 5, 5))
    first, second = (root @ root.T + 0.1 * np.eye(5) for root in roots)
    means = rng.normal(size=(2, 5))
    samples = [with_moments(m, c, 50, rng) for m, c in zip(means, (first, second), strict=True)]
    root = linalg.sqrtm(first @ second).real
    wanted = np.sum((means[0] - means[1]) ** 2) + np.trace(first + second - 2.0 * root)
    assert evaluation.frechet_distance(*samples) == pytest.approx(wanted, rel=1e-8)
    assert evaluation.frechet_distance(samples[0], samples[0]) == pytest.approx(0.0, abs=1e-8)
    one = with_moments(np.zeros(1), np.eye(1), 9, rng)
    assert evaluation.frechet_distance(one, 3.0 * one + 1.0) == pytest.approx(1.0 + 4.0)


def test_too_few_examples_have_no_frechet_distance():
    x = np.random.default_rng(0).normal(size=(20, 4, 5))
    with pytest.raises(ValueError, match="y has 20 examples of 20 features"):
        evaluation.frechet_distance(np.tile(x, (2, 1, 1)), x)


def test_the_kernel_distance_is_unbiased():
    rng = np.random.default_rng(0)
    found = [
        evaluation.kernel_distance(*rng.normal(size=(2, 100, 4)), subset_size=50, num_subsets=4)
        for _ in range(200)
    ]
    means = [each["mean"] for each in found]
    assert min(means) < 0
    assert abs(np.mean(means)) < 4 * np.std(means) / np.sqrt(len(means))
    # For x and y of mean 0 and mu, E k(x, x') = E (x . x' / d + 1)^3 has a closed form.
    a, b = rng.normal(size=(2, 2000, 4))
    b = b + 1.0
    kernel = {name: (p @ q.T / 4 + 1) ** 3 for name, p, q in
              (("aa", a, a), ("bb", b, b), ("ab", a, b))}  # fmt: skip
    off = ~np.eye(2000, dtype=bool)
    wanted = kernel["aa"][off].mean() + kernel["bb"][off].mean() - 2 * kernel["ab"].mean()
    whole = evaluation.kernel_distance(a, b, subset_size=2000, num_subsets=1)
    assert whole["mean"] == pytest.approx(wanted, rel=1e-9)
    assert np.isnan(whole["standard_deviation"])  # One subset says nothing of the spread.


def test_precision_and_recall_by_all_distances():
    """The definitions of arXiv:2002.09797, with one matrix of distances."""
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(300, 6)), 0.8 * rng.normal(size=(200, 6)) + 0.3
    k = 3
    radii = [np.sort(cdist(x, x))[:, k] for x in (real, fake)]
    across = cdist(real, fake)
    wanted = {
        "precision": np.mean((across < radii[0][:, None]).any(axis=0)),
        "recall": np.mean((across < radii[1][None]).any(axis=1)),
        "density": (across < radii[0][:, None]).sum(axis=0).mean() / k,
        "coverage": np.mean(across.min(axis=1) < radii[0]),
    }
    assert evaluation.precision_recall(real, fake, k) == pytest.approx(wanted)


def test_blocks_change_nothing(monkeypatch):
    from keras_ae.evaluation import arrays

    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(2, 60, 4))
    whole = evaluation.precision_recall(real, fake)
    monkeypatch.setattr(arrays, "_NUMBERS_AT_ONCE", 500)
    assert evaluation.precision_recall(real, fake) == whole


def test_the_place_of_features_does_not_matter():
    """The norms of features around 1e8 leave no digits for distances of 1."""
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(2, 80, 4))
    for measure in (evaluation.precision_recall, evaluation.frechet_distance):
        assert measure(real + 1e8, fake + 1e8) == pytest.approx(measure(real, fake), rel=1e-6)


def test_data_that_is_sorted_has_the_same_distances():
    """Of the longer arrays, those examples count that lie at even distances."""
    rng = np.random.default_rng(0)
    x = np.sort(rng.normal(size=4000))[:, None] * [1.0, -1.0] + rng.normal(size=(4000, 2))
    samples = rng.permutation(x)[:500]
    found = evaluation.score_samples(samples, x, x[1::2], evaluation.DataFeatures(x))
    assert found["examples"] == 500
    assert max(found["frechet_distance"], found["frechet_distance_of_real"]) < 0.1
    assert found["coverage"] > 0.9


@pytest.mark.costly
def test_two_samples_of_one_distribution():
    """The authors print 0.48, 0.47, 1.06 and 0.97 for 10,000 examples in 1,000 dimensions.

    With these draws their program gives the figures below.
    """
    real, fake = np.random.default_rng(0).normal(size=(2, 10_000, 1000))
    found = evaluation.precision_recall(real, fake)
    assert found["precision"] == pytest.approx(0.4563)
    assert found["recall"] == pytest.approx(0.4858)
    assert found["density"] == pytest.approx(0.91246)
    assert found["coverage"] == pytest.approx(0.9563)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: evaluation.frechet_distance(x, x[:, :2]), "y has 2"),
        (lambda x: evaluation.frechet_distance(x, x * np.nan), "y holds NaN"),
        (lambda x: evaluation.frechet_distance(x, x[:0]), r"y has the shape \(0, 3\)"),
        (lambda x: evaluation.kernel_distance(x, x), "subset_size=1000 is larger"),
        (lambda x: evaluation.precision_recall(x, x, k=50), "no 50-th nearest"),
        (lambda x: evaluation.precision_recall(x, x, k=0), "k=0"),
    ],
)
def test_what_has_no_distance(call, words):
    with pytest.raises(ValueError, match=words):
        call(np.random.default_rng(0).normal(size=(50, 3)))


def test_text_has_no_distance():
    with pytest.raises(TypeError, match="x has the dtype <U1"):
        evaluation.frechet_distance(np.full((9, 2), "a"), np.zeros((9, 2)))
