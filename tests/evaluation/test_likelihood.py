"""Parts of the bound, compared with closed forms and with integrals."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from keras_ae import evaluation

pytestmark = pytest.mark.backend_free


def test_active_units():
    z = np.random.default_rng(0).normal(size=(1000, 4)) * [1.0, 0.2, 0.05, 0.0]
    assert evaluation.active_units(z) == 2
    assert evaluation.active_units(z, threshold=1e-3) == 3


def test_the_parts_of_separate_posteriors():
    """Narrow posteriors far apart tell all about the example, and depend on each other wholly."""
    n = 50
    means = np.arange(n)[:, None] * [100.0, 100.0]
    log_variances = np.full((n, 2), -2.0)
    found = evaluation.decompose_divergence(means, log_variances)
    assert found["mutual_information"] == pytest.approx(math.log(n))
    assert found["total_correlation"] == pytest.approx(math.log(n))
    variance = math.exp(-2.0)
    closed = np.mean(np.sum(0.5 * (means**2 + variance - 1 + 2.0), axis=1))
    assert found["divergence"] == pytest.approx(closed)


def test_the_parts_agree_with_integrals():
    """One dimension: the mixture of the posteriors is integrated numerically."""
    rng = np.random.default_rng(0)
    means, log_variances = rng.normal(size=(2, 40, 1)) * [[[1.0]], [[0.5]]]
    deviations = np.exp(0.5 * log_variances[:, 0])

    def mixture(z):
        return np.mean(stats.norm.pdf(z, means[:, 0], deviations))

    def integrand(z):
        q = mixture(z)
        return q * (math.log(q) - stats.norm.logpdf(z)) if q > 0 else 0.0

    wanted, _ = integrate.quad(integrand, -12, 12, limit=200)
    found = [evaluation.decompose_divergence(means, log_variances, seed) for seed in range(300)]
    for name, value in (
        ("dimension_wise", wanted),
        ("total_correlation", 0.0),
        ("mutual_information", found[0]["divergence"] - wanted),
    ):
        draws = [each[name] for each in found]
        error = np.std(draws) / math.sqrt(len(draws)) + 1e-9
        assert abs(np.mean(draws) - value) < 4 * error


def test_the_parts_add_up_to_the_divergence():
    rng = np.random.default_rng(0)
    means, log_variances = rng.normal(size=(2, 400, 3))
    found = [evaluation.decompose_divergence(means, log_variances, seed) for seed in range(30)]
    names = ("mutual_information", "total_correlation", "dimension_wise")
    sums = [sum(each[name] for name in names) for each in found]
    error = np.std(sums) / math.sqrt(len(sums))
    assert abs(np.mean(sums) - found[0]["divergence"]) < 4 * error < 0.2


def test_noise_is_not_that_of_the_user_s_own_generator():
    """Means that were drawn with the same seed would otherwise be the noise itself."""
    z = np.random.default_rng(0).normal(size=(500, 2))
    found = evaluation.decompose_divergence(z, np.zeros_like(z), seed=0)
    # The aggregated posterior is about N(0, 2 I): each dimension tells half of log 2.
    assert found["mutual_information"] == pytest.approx(math.log(2.0), abs=0.1)


def test_bits_per_dimension():
    # The density of uniform noise on [0, 1] for one of 4 values is 1, and it takes two bits.
    assert evaluation.bits_per_dimension(0.0, (3,), levels=4) == pytest.approx(2.0)
    # A discrete likelihood of 1/2 in each dimension takes one bit.
    assert evaluation.bits_per_dimension(-5 * math.log(2), (5,), levels=1) == pytest.approx(1.0)
    np.testing.assert_allclose(evaluation.bits_per_dimension([0.0, 0.0], (2, 2)), [8.0, 8.0])


def test_posteriors_of_different_numbers():
    with pytest.raises(ValueError, match="log_variances 4"):
        evaluation.decompose_divergence(np.zeros((5, 2)), np.zeros((4, 2)))
