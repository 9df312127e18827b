"""Distributions of counts, of reals with heavy tails or limits, and of levels, against SciPy."""

import keras
import numpy as np
import pytest
from scipy import integrate, special, stats
from zoo import compute, gradient

from keras_ae.core.draws import GivenNumbers
from keras_ae.distributions import (
    Beta,
    DiscretizedLogisticMixture,
    LogNormal,
    NegativeBinomial,
    Normal,
    Poisson,
    StudentT,
    ZeroInflatedNegativeBinomial,
)
from keras_ae.distributions.gamma_function import log_gamma, stirling_error

pytestmark = pytest.mark.formula

COUNTS = np.array([0, 1, 2, 5, 17, 100, 1003, 1e5, 1e7])
MEANS = np.array([1e-6, 0.03, 1.0, 4.7, 95.0, 1e3, 1.003e5, 1e8])
THETAS = np.array([1e-4, 0.1, 1.0, 7.9, 8.1, 300.0, 1e6])


def per_element(make, x, *parameters):
    """Return the log-densities of a row of values, each with parameters of its own."""
    rows = [np.asarray(v, "float32")[None] for v in np.broadcast_arrays(x, *parameters)]
    return compute(lambda x, *p: make(*p).log_prob_per_element(x), *rows)[0]


def grid(*values):
    return [each.ravel() for each in np.meshgrid(*values)]


def in_float32(values):
    """Return numbers as the float32 ones that a distribution is given, with the digits of 64."""
    return np.asarray(values, "float32").astype("float64")


# ------------------------------------------------------------------ the gamma function


def test_the_gamma_function_equals_scipy():
    z = in_float32(np.concatenate([np.geomspace(1e-30, 1e20, 400), np.linspace(0.5, 12, 400)]))
    found = compute(log_gamma, z.astype("float32"))
    np.testing.assert_allclose(found, special.gammaln(z), rtol=2e-6, atol=4e-6)
    slope = gradient(log_gamma, z[(z > 1e-15) & (z < 1e10)])
    exact = special.digamma(z[(z > 1e-15) & (z < 1e10)])
    np.testing.assert_allclose(slope, exact, rtol=2e-6, atol=4e-6)


def test_the_error_of_stirling_s_formula_keeps_its_digits_where_it_is_small():
    z = in_float32(np.geomspace(8.0, 1e6, 50))
    found = compute(stirling_error, z.astype("float32"))
    np.testing.assert_allclose(
        found, 1 / (12 * z) - 1 / (360 * z**3) + 1 / (1260 * z**5), rtol=2e-6
    )


# ------------------------------------------------------------------ counts


def test_poisson_equals_scipy():
    x, mean = grid(COUNTS, MEANS)
    log_mean = in_float32(np.log(mean))
    exact = stats.poisson.logpmf(x, np.exp(log_mean))
    found = per_element(Poisson, x, log_mean)
    np.testing.assert_allclose(found, exact, rtol=5e-5, atol=1e-5)


def test_negative_binomial_equals_scipy():
    x, mean, theta = grid(COUNTS, MEANS, THETAS)
    log_mean, log_theta = in_float32(np.log(mean)), in_float32(np.log(theta))
    mean, theta = np.exp(log_mean), np.exp(log_theta)
    # SciPy's own gamma functions cancel where counts and theta are large.
    exact = x * (log_mean - np.log(mean + theta)) - theta * np.log1p(mean / theta)
    exact += np.where(x > 0, -np.log(np.maximum(x, 1)) - special.betaln(theta, np.maximum(x, 1)), 0)
    usual = (x < 1e4) & (theta < 1e3)
    of_scipy = stats.nbinom.logpmf(x, theta, theta / (theta + mean))
    np.testing.assert_allclose(exact[usual], of_scipy[usual], rtol=1e-7, atol=1e-7)
    found = per_element(NegativeBinomial, x, log_mean, log_theta)
    np.testing.assert_allclose(found, exact, rtol=5e-5, atol=2e-5)


def test_negative_binomial_becomes_poisson_as_the_inverse_dispersion_grows():
    x, mean = grid(COUNTS[:6], MEANS[:6])
    found = [
        np.abs(per_element(NegativeBinomial, x, np.log(mean), np.log(theta)) - poisson).max()
        for poisson in [per_element(Poisson, x, np.log(mean))]
        for theta in (1e4, 1e6, 1e8)
    ]
    assert found[0] > 10 * found[1] > 20 * found[2] and found[2] < 0.02
    small = x < 20
    found = per_element(NegativeBinomial, x[small], np.log(mean[small]), np.log(1e8))
    exact = stats.poisson.logpmf(x[small], mean[small])
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("gate", [-40.0, -1.0, 0.0, 3.0])
def test_zero_inflation_is_a_mixture_with_zero(gate):
    x, mean, theta = grid(COUNTS[:7], MEANS[:6], THETAS[:6])
    share = special.expit(gate)
    base = stats.nbinom.logpmf(x, theta, theta / (theta + mean))
    exact = np.logaddexp(base + np.log1p(-share), np.where(x == 0, np.log(share), -np.inf))
    found = per_element(ZeroInflatedNegativeBinomial, x, np.log(mean), np.log(theta), gate)
    np.testing.assert_allclose(found, exact, rtol=2e-5, atol=2e-5)


def all_counts():
    mean = np.array([0.01, 0.7, 3.0, 6.0])
    return {
        "Poisson": (Poisson, [np.log(mean)]),
        "NegativeBinomial": (NegativeBinomial, [np.log(mean), np.log(2.0 + 0 * mean)]),
        "ZeroInflatedNegativeBinomial": (
            ZeroInflatedNegativeBinomial,
            [np.log(mean), np.log(2.0 + 0 * mean), 0.5 + 0 * mean],
        ),
    }


@pytest.mark.parametrize("name", all_counts())
def test_probabilities_of_counts_add_up_to_one_and_have_the_mean(name):
    make, parameters = all_counts()[name]
    x = np.repeat(np.arange(400.0)[:, None], 4, axis=1)
    tiled = [np.tile(np.asarray(p, "float32"), (400, 1)) for p in parameters]
    log_p = compute(lambda x, *p: make(*p).log_prob_per_element(x), x.astype("float32"), *tiled)
    probabilities = np.exp(log_p.astype("float64"))
    np.testing.assert_allclose(probabilities.sum(0), 1.0, rtol=1e-5)
    mean = compute(lambda *p: make(*p).mean, *[t[:1] for t in tiled])[0]
    np.testing.assert_allclose((x * probabilities).sum(0), mean, rtol=1e-5)


@pytest.mark.every_backend
@pytest.mark.parametrize("name", all_counts())
def test_drawn_counts_occur_as_often_as_they_should(name):
    make, parameters = all_counts()[name]
    number = 20_000
    tiled = [np.tile(np.asarray(p, "float32"), (number, 1)) for p in parameters]
    draws = keras.ops.convert_to_numpy(make(*tiled).sample(seed=0))
    assert draws.dtype == "float32" and np.all(draws == np.round(draws)) and draws.min() == 0
    assert not np.array_equal(draws, keras.ops.convert_to_numpy(make(*tiled).sample(seed=1)))
    assert np.array_equal(draws, keras.ops.convert_to_numpy(make(*tiled).sample(seed=0)))
    for column in range(1, 4):
        values = np.arange(40.0)
        log_p = per_element(make, values, *[np.asarray(p)[column] for p in parameters])
        expected = number * np.exp(log_p.astype("float64"))
        found = np.array([np.sum(draws[:, column] == v) for v in values])
        often = expected >= 10
        expected, found = (np.append(v[often], number - v[often].sum()) for v in (expected, found))
        expected = np.maximum(expected, 1e-9)
        statistic = np.sum((found - expected) ** 2 / np.maximum(expected, 1.0))
        assert stats.chi2.sf(statistic, often.sum()) > 1e-4


def test_gradients_of_counts_are_those_of_the_formulas():
    x, mean, theta = grid(COUNTS[:7], MEANS[:7], THETAS)
    x, mean, theta = (in_float32(v) for v in (x, mean, theta))
    log_mean, log_theta = in_float32(np.log(mean)), in_float32(np.log(theta))
    mean, theta = np.exp(log_mean), np.exp(log_theta)

    def of(function, at):
        return gradient(lambda v: function(v[None]).log_prob_per_element(x[None])[0], at)

    found = of(Poisson, log_mean)
    np.testing.assert_allclose(found, x - mean, rtol=1e-4, atol=2e-5 * (1 + x).max())
    found = of(lambda v: NegativeBinomial(v, log_theta[None]), log_mean)
    exact = (x - mean) * theta / (mean + theta)
    np.testing.assert_allclose(found, exact, rtol=2e-4, atol=1e-3)
    found = of(lambda v: NegativeBinomial(log_mean[None], v), log_theta)
    exact = special.digamma(theta + x) - special.digamma(theta)
    exact = theta * (exact - np.log1p(mean / theta) + (mean - x) / (mean + theta))
    moderate = theta < 1e5
    np.testing.assert_allclose(found[moderate], exact[moderate], rtol=2e-3, atol=2e-2)


EXTREMES = np.array([-80.0, -30.0, 0.0, 30.0, 40.0])


@pytest.mark.parametrize("part", range(3))
def test_counts_of_extreme_parameters_have_finite_densities_and_gradients(part):
    x, *parameters = grid([0.0, 1.0, 1e6], EXTREMES, [-20.0, 0.0, 20.0], [-1e4, 0.0, 1e4])
    parameters = [p[None].astype("float32") for p in parameters]
    x = x[None].astype("float32")

    def density(value):
        given = [value if number == part else p for number, p in enumerate(parameters)]
        return ZeroInflatedNegativeBinomial(*given).log_prob(x)

    assert np.isfinite(compute(density, parameters[part])).all()
    assert np.isfinite(gradient(density, parameters[part])).all()


# ------------------------------------------------------------------ reals


def some(seed=0, count=200):
    rng = np.random.default_rng(seed)
    return in_float32(rng.normal(size=count)), in_float32(rng.uniform(0.1, 3.0, count))


@pytest.mark.parametrize("nu", [0.5, 1.0, 4.0, 30.0, 1e5])
def test_student_t_equals_scipy(nu):
    location, scale = some()
    x = in_float32(np.random.default_rng(1).standard_cauchy(200) * 10)
    found = per_element(StudentT, x, location, scale, nu)
    np.testing.assert_allclose(found, stats.t(nu, location, scale).logpdf(x), rtol=1e-5, atol=1e-5)


def test_student_t_is_finite_far_away():
    x = np.array([[0.0, 1e17, -1e17, 1e17]], "float32")
    scale = np.array([[1e-6, 1e-6, 1.0, 1e6]], "float32")
    value = compute(lambda m, s: StudentT(m, s, 4.0).log_prob(x), np.zeros_like(x), scale)
    assert np.isfinite(value).all()
    for function in (
        lambda m: StudentT(m, scale, 4.0).log_prob(x),
        lambda s: StudentT(np.zeros_like(x), s, 4.0).log_prob(x),
    ):
        assert np.isfinite(gradient(function, scale)).all()


def test_log_normal_equals_scipy():
    location, scale = some()
    x = in_float32(np.exp(np.random.default_rng(1).normal(size=200)))
    reference = stats.lognorm(scale, scale=np.exp(location))
    found = per_element(LogNormal, x, location, scale)
    np.testing.assert_allclose(found, reference.logpdf(x), rtol=1e-5, atol=2e-5)
    mean = keras.ops.convert_to_numpy(LogNormal(location, scale).mean)
    np.testing.assert_allclose(mean, reference.mean(), rtol=1e-5)


def test_log_normal_beyond_its_limits():
    zeros = np.zeros((1, 3), "float32")
    x = np.array([[0.0, -1.0, 1.0]], "float32")
    found = per_element(LogNormal, x[0], 0.0, 1.0)
    assert np.array_equal(found[:2], [-np.inf, -np.inf]) and np.isfinite(found[2])
    slope = gradient(lambda m: LogNormal(m, 1.0).log_prob_per_element(x), zeros)
    assert np.isfinite(slope).all()
    huge = LogNormal(zeros + 500.0, 1.0)
    assert np.isfinite(keras.ops.convert_to_numpy(huge.mean)).all()
    assert np.isfinite(keras.ops.convert_to_numpy(huge.sample(0))).all()


@pytest.mark.parametrize("concentration", [0.01, 0.5, 2.0, 20.0, 1e4, 1e6])
def test_beta_equals_scipy(concentration):
    logits = in_float32(np.linspace(-6, 6, 61))
    mean, c = special.expit(logits), in_float32(np.log(concentration))
    reference = stats.beta(mean * np.exp(c), special.expit(-logits) * np.exp(c))
    x = in_float32(np.clip(reference.ppf(np.linspace(0.05, 0.95, 61)), 1e-30, 1 - 1e-6))
    found = per_element(Beta, x, logits, c)
    scale = concentration * 3e-7
    np.testing.assert_allclose(found, reference.logpdf(x), rtol=1e-5, atol=2e-5 + scale)


def test_beta_beyond_its_limits_and_with_extreme_parameters():
    found = per_element(Beta, [-0.5, 0.0, 1.0, 1.5], 0.0, 1.0)
    assert np.array_equal(found, np.full(4, -np.inf))
    x, logits, c = (v[None] for v in grid([0.0, 1e-37, 0.5, 1 - 1e-7, 1.0], [-15, 0, 15], [-5, 15]))
    for function in (
        lambda v: Beta(v, c).log_prob_per_element(x),
        lambda v: Beta(logits, v).log_prob_per_element(x),
    ):
        assert np.isfinite(gradient(function, logits + 0 * c)).all()


def test_densities_of_reals_integrate_to_one():
    for make, given, ends in (
        (StudentT, (0.3, 0.7, 3.0), (-np.inf, np.inf)),
        (LogNormal, (0.3, 0.7), (0.0, np.inf)),
        (Beta, (0.3, 1.7), (0.0, 1.0)),
    ):
        points = np.linspace(1e-4, 1.0 - 1e-4, 4001)
        if np.isfinite(ends[1]):
            x, weight = points, 1.0
        else:  # The substitutions map the unit interval to the half-line and to the line.
            x = points / (1 - points) if ends[0] == 0 else np.log(points / (1 - points)) * 8
            slope = 1 / (1 - points) ** 2 if ends[0] == 0 else 8 / (points * (1 - points))
            weight = slope
        values = np.exp(per_element(make, x, *given)) * weight
        assert abs(integrate.simpson(values, x=points) - 1.0) < 2e-3


def beta(logit, concentration):
    return stats.beta(concentration * special.expit(logit), concentration * special.expit(-logit))


@pytest.mark.parametrize(
    ("make", "cdf"),
    [
        (lambda ones: StudentT(ones, 2.0, 3.0), stats.t(3.0, 1.0, 2.0).cdf),
        (lambda ones: LogNormal(ones, 0.5), stats.lognorm(0.5, scale=np.e).cdf),
        (lambda ones: Beta(ones, np.log(3.0)), beta(1, 3.0).cdf),
        (lambda ones: Beta(-ones, np.log(0.1)), beta(-1, 0.1).cdf),
    ],
    ids=["StudentT", "LogNormal", "Beta", "Beta of two ends"],
)
def test_draws_of_reals_follow_their_distribution(make, cdf):
    draws = keras.ops.convert_to_numpy(make(np.ones((100, 40), "float32")).sample(seed=3)).ravel()
    if draws.max() <= 1.0 and draws.min() < 1e-30:  # Some are rounded to the ends.
        inner = np.linspace(0.05, 0.95, 10)
        found = np.array([np.mean(draws <= v) for v in inner])
        assert np.abs(found - cdf(inner)).max() < 4 * 0.5 / np.sqrt(draws.size)
        return
    assert stats.kstest(draws, cdf).pvalue > 1e-3


# ------------------------------------------------------------------ levels


def mixture(seed=0, shape=(6, 5)):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(*shape, 3))
    means, log_scales = rng.normal(0.5, 0.5, (*shape, 3)), rng.uniform(-6.0, 1.0, (*shape, 3))
    return [v.astype("float32") for v in (logits, means, log_scales)]


def probabilities_of_levels(parameters):
    levels = (np.arange(256) / 255).astype("float32")
    repeated = [np.repeat(p[None], 256, axis=0) for p in parameters]
    x = np.broadcast_to(levels[:, None, None], repeated[0].shape[:-1])
    log_p = compute(
        lambda x, *p: DiscretizedLogisticMixture(*p).log_prob_per_element(x), x, *repeated
    )
    return np.exp(log_p.astype("float64"))


def test_the_levels_have_the_probabilities_of_their_bins():
    parameters = mixture()
    found = probabilities_of_levels(parameters)
    logits, means, log_scales = (p.astype("float64") for p in parameters)
    edges = (np.arange(1, 256) - 0.5) / 255
    below = special.expit((edges[:, None, None, None] - means) / np.exp(log_scales))
    below = np.sum(special.softmax(logits, axis=-1) * below, axis=-1)
    below = np.concatenate([np.zeros((1, 6, 5)), below, np.ones((1, 6, 5))])
    np.testing.assert_allclose(found, np.diff(below, axis=0), rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(found.sum(0), 1.0, rtol=1e-5)


def test_the_mean_of_levels_is_within_half_a_level():
    parameters = mixture()
    exact = np.sum(probabilities_of_levels(parameters) * np.arange(256)[:, None, None] / 255, 0)
    found = keras.ops.convert_to_numpy(DiscretizedLogisticMixture(*parameters).mean)
    assert np.abs(found - exact).max() < 0.5 / 255
    wide = [parameters[0], parameters[1], np.full_like(parameters[2], -3.0)]
    exact = np.sum(probabilities_of_levels(wide) * np.arange(256)[:, None, None] / 255, 0)
    found = keras.ops.convert_to_numpy(DiscretizedLogisticMixture(*wide).mean)
    np.testing.assert_allclose(found, exact, atol=1e-5)


def test_drawn_levels_occur_as_often_as_they_should():
    parameters = [np.repeat(p, 8000, axis=0) for p in mixture(shape=(1, 2))]
    draws = keras.ops.convert_to_numpy(DiscretizedLogisticMixture(*parameters).sample(seed=0))
    numbers = np.round(draws * 255)
    np.testing.assert_allclose(numbers, draws * 255, atol=1e-4)
    expected = probabilities_of_levels([p[:1] for p in parameters])[:, 0]
    for column in range(2):
        found = np.array([np.mean(numbers[:, column] <= v) for v in range(255)])
        error = np.abs(found - np.cumsum(expected[:, column])[:-1]).max()
        assert error < 1.95 / np.sqrt(8000)  # The test of Kolmogorov and Smirnov, at 0.1 %.


def test_levels_with_extreme_parameters_have_finite_gradients():
    x, means, log_scales = (v[None] for v in grid([0.0, 0.5, 1.0], [-1e4, 0.5, 1e4], [-10, 10]))
    logits = np.zeros((*x.shape, 1), "float32")
    parts = [logits, means[..., None].astype("float32"), log_scales[..., None].astype("float32")]
    for part in range(3):

        def density(value, part=part):
            given = [value if number == part else p for number, p in enumerate(parts)]
            return DiscretizedLogisticMixture(*given).log_prob(x)

        assert np.isfinite(compute(density, parts[part])).all()
        assert np.isfinite(gradient(density, parts[part])).all()


# ------------------------------------------------------------------ all of them


def test_what_all_examples_share_is_not_repeated():
    p = Normal(np.zeros((2, 3)), np.array([1.0, 2.0, 3.0])).repeat(4)
    assert p.mean.shape == (8, 3) and p.scale.shape == (3,)
    q = NegativeBinomial(np.zeros((2, 3)), np.zeros(3)).repeat(2)
    assert tuple(q.log_prob(np.zeros((4, 3))).shape) == (4,)


def test_shapes_that_do_not_fit_are_refused():
    zeros = np.zeros((2, 3))
    for p in (
        Poisson(zeros),
        NegativeBinomial(zeros, np.zeros(3)),
        ZeroInflatedNegativeBinomial(zeros, 0.0, zeros),
        StudentT(zeros, 1.0, 3.0),
        LogNormal(zeros, 1.0),
        Beta(zeros, zeros),
        DiscretizedLogisticMixture(*[np.zeros((2, 3, 4))] * 3),
    ):
        assert tuple(p.log_prob(np.full((2, 3), 0.5)).shape) == (2,)
        with pytest.raises(ValueError, match="x has shape"):
            p.log_prob(np.zeros((2, 1)))


def test_counts_from_given_numbers_are_quantiles():
    mean = np.float32([1e-9, 0.01, 0.7, 5.0, 39.9, 40.1, 120.0, 3e4, 1e6])
    uniform = np.linspace(1e-5, 1.0 - 1e-5, 5_000, dtype="float32")
    normal = stats.norm.ppf(uniform.astype("float64")).astype("float32")

    def draw(uniform, normal):
        widths = {"uniform_noise": uniform, "normal_noise": normal}
        log_mean = np.log(mean)[None] + 0.0 * uniform
        return Poisson(log_mean).sample(GivenNumbers(len(uniform), widths))

    both = [np.repeat(each[:, None], len(mean), axis=1) for each in (uniform, normal)]
    expected = stats.poisson.ppf(uniform.astype("float64")[:, None], np.exp(np.log(mean)))
    found = compute(draw, *both)
    near = np.maximum(1.0, 2e-6 * mean)  # Seven digits of float32 are not exact.
    assert np.all(np.abs(found - expected) <= near)
    assert np.all(np.mean(found != expected, axis=0)[:-2] < 5e-3)
    limits = np.float32([0.0, 1.0 - 2.0**-24])
    ends = compute(draw, *[np.repeat(v[:, None], len(mean), 1) for v in (limits, 0.0 * limits)])
    assert np.all(ends[0, :5] == 0.0)
    np.testing.assert_allclose(ends[1, :5], stats.poisson.ppf(1 - 6e-8, mean[:5]), atol=5)
