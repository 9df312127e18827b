"""Distributions of the rows of tables, against SciPy and integrals."""

import numpy as np
import pytest
import zoo
from keras import ops
from scipy import integrate, stats

from keras_ae import distributions

pytestmark = pytest.mark.formula


def modes():
    """Return a mixture for one example of two columns, the second of which has two modes."""
    log_weights = np.log([[[0.2, 0.5, 0.3], [0.6, 0.4, 1e-30]]])
    means, scales = np.array([[[-2.0, 0.5, 3.0], [1.0, 4.0, 0.0]]]), np.array([[[0.5, 1, 0.1]]])
    return distributions.Modes(log_weights, means, scales), np.exp(log_weights)[0], means[0]


def test_modes_are_a_mixture_of_gaussians():
    p, weights, means = modes()
    x = np.array([[0.7, 3.5]])
    found = zoo.compute(lambda x: p.log_prob_per_element(x), x)
    scale = np.array([0.5, 1.0, 0.1])
    expected = [
        np.log(np.sum(weights[n] * stats.norm.pdf(x[0, n], means[n], scale))) for n in (0, 1)
    ]
    np.testing.assert_allclose(found[0], expected, rtol=1e-5)
    np.testing.assert_allclose(ops.convert_to_numpy(p.mean)[0], (weights * means).sum(1), rtol=1e-5)


def test_draws_of_modes_follow_the_mixture():
    p, weights, means = modes()
    many = distributions.Modes(
        *(
            np.repeat(ops.convert_to_numpy(v), 20_000, axis=0)
            for v in (p.log_weights, p.mean_of_mode)
        ),
        ops.convert_to_numpy(p.scale),
    )
    drawn = ops.convert_to_numpy(many.sample(seed=3))
    scale = np.array([0.5, 1.0, 0.1])

    def cumulative(x):
        return np.sum(weights[0] * stats.norm.cdf(x[:, None], means[0], scale), axis=1)

    assert stats.kstest(drawn[:, 0], cumulative).pvalue > 1e-3
    assert not np.any(np.abs(drawn[:, 1]) < 0.05 * np.abs(means[1, 0] - 1.0))


def test_draws_of_modes_stop_at_their_limits():
    p, *_ = modes()
    limited = distributions.Modes(
        p.log_weights, p.mean_of_mode, p.scale, low=np.array([0.0, 1.5]), high=np.array([0.6, 2.0])
    )
    drawn = np.concatenate([ops.convert_to_numpy(limited.sample(seed=s)) for s in range(50)])
    assert drawn[:, 0].min() >= 0.0 and drawn[:, 0].max() <= np.float32(0.6)
    assert drawn[:, 1].min() >= 1.5 and drawn[:, 1].max() <= 2.0


def test_codes_are_drawn_with_their_probabilities():
    probabilities = np.array([[0.1, 0.6, 0.3], [0.25, 0.75, 0.0]])
    log_probabilities = np.where(probabilities > 0, np.log(np.maximum(probabilities, 1e-9)), -1e9)
    p = distributions.Coded(np.broadcast_to(log_probabilities, (20_000, 2, 3)))
    drawn = ops.convert_to_numpy(p.sample(seed=1))
    for column in (0, 1):
        counts = np.bincount(drawn[:, column].astype(int), minlength=3)
        has_class = probabilities[column] > 0
        assert counts[~has_class].sum() == 0
        expected = 20_000 * probabilities[column][has_class]
        assert stats.chisquare(counts[has_class], expected).pvalue > 1e-3
    np.testing.assert_array_equal(ops.convert_to_numpy(p.mean)[0], [1.0, 1.0])
    found = ops.convert_to_numpy(p.log_prob_per_element(np.broadcast_to([[2.0, 0.0]], (20_000, 2))))
    np.testing.assert_allclose(found[0], np.log([0.3, 0.25]), rtol=1e-5)


@pytest.mark.parametrize("lacking", [0, 1, 3])
def test_classes_that_a_column_lacks_may_be_anywhere(lacking):
    """Such as a mode between others, to which the mixture of a column gave no weight."""
    probabilities = np.insert([0.3, 0.3, 0.4], lacking, 0.0)
    log_probabilities = np.where(probabilities > 0, np.log(np.maximum(probabilities, 1e-9)), -1e9)
    log_probabilities = np.broadcast_to(log_probabilities, (20_000, 1, 4))
    drawn = ops.convert_to_numpy(distributions.Coded(log_probabilities).sample(seed=1))
    counts = np.bincount(drawn[:, 0].astype(int), minlength=4)
    assert counts[lacking] == 0
    present = probabilities > 0
    assert stats.chisquare(counts[present], 20_000 * probabilities[present]).pvalue > 1e-3
    means = np.broadcast_to([-10.0, 0.0, 5.0, 20.0], (20_000, 1, 4))
    p = distributions.Modes(log_probabilities, means, np.ones((1, 1, 4)))
    drawn = ops.convert_to_numpy(p.sample(seed=1))
    mean = float(ops.convert_to_numpy(p.mean)[0, 0])
    assert abs(drawn.mean() - mean) < 5.0 * drawn.std() / np.sqrt(len(drawn))


def made(may_miss=(1.0, 1.0)):
    """Return a distribution of a number that may be missing, and of one of three classes."""
    number = distributions.Normal(np.array([[1.0]]), 2.0)
    choice = distributions.Coded(np.log([[[0.2, 0.3, 0.5]]]))
    columns = distributions.Columns([([1], choice), ([0], number)])
    return distributions.PartlyMissing(columns, np.array([[-1.0, 0.5]]), np.array(may_miss))


def test_all_values_and_gaps_have_probability_one():
    p = made()

    def density(value, code):
        x = np.array([[value, code]], "float32")
        return float(np.exp(ops.convert_to_numpy(p.log_prob(x))[0]))

    codes = [0.0, 1.0, 2.0, np.nan]
    present = sum(integrate.quad(density, -30, 30, args=(code,), points=[1.0])[0] for code in codes)
    missing = sum(density(np.nan, code) for code in codes)
    assert present + missing == pytest.approx(1.0, abs=1e-4)
    assert missing == pytest.approx(1.0 / (1.0 + np.exp(1.0)), rel=1e-4)


def test_gaps_where_there_are_none_count_nothing():
    p = made(may_miss=(0.0, 1.0))
    gap = ops.convert_to_numpy(p.log_prob_per_element(np.array([[np.nan, 1.0]])))[0]
    assert gap[0] == 0.0
    value = ops.convert_to_numpy(p.log_prob_per_element(np.array([[2.0, 1.0]])))[0]
    assert value[0] == pytest.approx(stats.norm.logpdf(2.0, 1.0, 2.0), rel=1e-5)
    drawn = np.concatenate([ops.convert_to_numpy(p.sample(seed=s)) for s in range(40)])
    assert not np.isnan(drawn[:, 0]).any() and 0 < np.isnan(drawn[:, 1]).mean() < 1


def test_gaps_leave_gradients_finite():
    x = np.array([[np.nan, 1.0], [0.5, np.nan]], "float32")

    def total(mean):
        number = distributions.Normal(mean, 2.0)
        return distributions.Columns([([0, 1], number)]).log_prob(ops.convert_to_tensor(x))

    found = zoo.gradient(total, np.zeros((2, 2)))
    np.testing.assert_allclose(found, [[0.0, 0.25], [0.125, 0.0]], rtol=1e-5)


def test_what_is_no_class_has_the_probability_0():
    p = distributions.Coded(np.log([[[0.25, 0.75]]]).repeat(3, axis=0))
    found = ops.convert_to_numpy(p.log_prob(np.array([[2.0], [-1.0], [0.5]])))
    assert np.all(found == -np.inf)
