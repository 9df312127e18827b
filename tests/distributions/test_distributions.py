"""Distributions against SciPy, torch.distributions, numerical integrals and their own samples."""

import keras
import numpy as np
import pytest
from scipy import integrate, special, stats
from zoo import compute, gradient

from keras_ae import distributions
from keras_ae.distributions import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiagonalGaussian,
    Distribution,
    GaussianMixture,
    Laplace,
    Normal,
    event_sum,
)

pytestmark = pytest.mark.formula

SHAPE = (4, 3, 2)
# Logits on both sides of 1, where the series changes to the closed form, near 0, and far away.
LOGITS = [-30.0, -12.0, -3.0, -1.001, -0.999, -0.2, -1e-3, -1e-6, 0.0]
LOGITS = np.array(LOGITS + [-logit for logit in reversed(LOGITS[:-1])], "float32")


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def compiled(function):
    """Compile: to a graph with a free batch size on TensorFlow, to a jitted function on JAX."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        signature = [tf.TensorSpec((None, *SHAPE[1:]), "float32")]
        return tf.function(function, input_signature=signature)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    return function


def parameters(seed=0):
    generator = np.random.default_rng(seed)
    mean = generator.normal(size=SHAPE).astype("float32")
    scale = generator.uniform(0.3, 2.0, size=SHAPE).astype("float32")
    return mean, scale


def build_all():
    mean, scale = parameters()
    return [
        DiagonalGaussian(mean, 2 * np.log(scale)),
        Normal(mean, scale),
        Laplace(mean, scale),
        Bernoulli(mean),
        ContinuousBernoulli(mean),
        Categorical(mean),
    ]


def name_of(distribution):
    return type(distribution).__name__


def moment(logit, power):
    """Return E[x ** power] of a continuous Bernoulli by quadrature, and the log of its norm."""
    logit = float(logit)
    # The shift makes the largest exponent 0. It is at one end of the interval, where the integrand
    # needs most points.
    shift = max(logit, 0.0)
    points = [0.01, 0.1, 0.9, 0.99]

    def integral(exponent):
        value, _ = integrate.quad(
            lambda x: x**exponent * np.exp(logit * x - shift), 0, 1, points=points, epsabs=1e-13
        )
        return value

    return integral(power) / integral(0), np.log(integral(0)) + shift


def test_event_sum_keeps_the_first_axis_and_float32():
    values = np.arange(24.0).reshape(SHAPE)
    assert np.allclose(numpy(event_sum(values)), values.reshape(4, -1).sum(1))
    assert np.allclose(numpy(event_sum(np.array([1.0, 2.0]))), [1.0, 2.0])
    # The sum of 70,000 is larger than the largest float16.
    assert numpy(event_sum(np.ones((1, 70_000), "float16"))) == [70_000]


@pytest.mark.parametrize(
    "make, reference",
    [
        (lambda m, s: DiagonalGaussian(m, 2 * np.log(s)), stats.norm),
        (Normal, stats.norm),
        (Laplace, stats.laplace),
    ],
    ids=["DiagonalGaussian", "Normal", "Laplace"],
)
def test_location_scale_densities_equal_scipy(make, reference):
    mean, scale = parameters()
    x, _ = parameters(seed=1)
    expected = reference(mean, scale).logpdf(x).sum((1, 2))
    distribution = make(mean, scale)
    assert np.allclose(numpy(distribution.log_prob(x)), expected, rtol=1e-5)
    assert np.allclose(numpy(distribution.mean), mean)


@pytest.mark.parametrize("make, reference", [(Normal, stats.norm), (Laplace, stats.laplace)])
@pytest.mark.parametrize("scale", [0.7, np.array([0.5, 2.0], "float32")], ids=["number", "last"])
def test_scale_broadcasts_to_the_mean(make, reference, scale):
    mean, _ = parameters()
    x, _ = parameters(seed=1)
    distribution = make(mean, scale)
    expected = reference(mean, scale).logpdf(x).sum((1, 2))
    assert np.allclose(numpy(distribution.log_prob(x)), expected, rtol=1e-5)
    assert tuple(distribution.sample(0).shape) == SHAPE


def test_bernoulli_equals_scipy():
    logits, _ = parameters()
    x = np.random.default_rng(1).integers(0, 2, SHAPE)
    probabilities = 1 / (1 + np.exp(-logits.astype("float64")))
    expected = stats.bernoulli(probabilities).logpmf(x).sum((1, 2))
    assert np.allclose(numpy(Bernoulli(logits).log_prob(x)), expected, rtol=1e-5)
    assert np.allclose(numpy(Bernoulli(logits).mean), probabilities, rtol=1e-5)


def test_bernoulli_of_extreme_logits_is_finite():
    logits = np.array([[-1e4], [1e4]], "float32")
    assert np.allclose(numpy(Bernoulli(logits).log_prob(np.array([[0.0], [1.0]]))), 0.0)
    assert np.allclose(numpy(Bernoulli(logits).log_prob(np.array([[1.0], [0.0]]))), -1e4)


def test_bernoulli_has_its_gradient_at_logit_zero():
    x = np.array([[0.0, 0.25, 1.0]], "float32")
    slope = gradient(lambda logits: Bernoulli(logits).log_prob(x), np.zeros((1, 3)))
    assert np.allclose(slope, x - 0.5)


# The sizes have many divisors, none, only large ones, and several axes.
@pytest.mark.parametrize("shape", [(5, 784), (3, 131), (2, 2 * 127), (4, 6, 5, 3)])
def test_bernoulli_keeps_its_digits_at_any_size(shape):
    rng = np.random.default_rng(0)
    logits = (rng.normal(size=shape) * rng.choice([0, 1, 30, 300], shape)).astype("float32")
    x = rng.random(shape).astype("float32")
    exact = logits.astype("float64")
    expected = (x * exact - np.logaddexp(0, exact)).reshape(len(x), -1).sum(axis=1)
    assert np.allclose(numpy(Bernoulli(logits).log_prob(x)), expected, rtol=1e-6)
    slope = gradient(lambda logits: Bernoulli(logits).log_prob(x), logits)
    assert np.allclose(slope, x - special.expit(exact), atol=1e-6)
    by_data = gradient(lambda x: Bernoulli(logits).log_prob(x), x)
    assert np.allclose(by_data, logits)


def test_bernoulli_has_its_second_derivative():
    logits = np.array([[-3.0, 0.0, 0.5, 2.0]], "float32")
    x = np.array([[0.0, 0.25, 1.0, 1.0]], "float32")
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        def slope(logits):
            with tf.GradientTape() as tape:
                tape.watch(logits)
                value = Bernoulli(logits).log_prob(x)
            return tape.gradient(value, logits)
    elif keras.config.backend() == "jax":
        import jax

        slope = jax.grad(lambda logits: Bernoulli(logits).log_prob(x).sum())
    else:
        import torch

        def slope(logits):
            value = Bernoulli(logits).log_prob(torch.tensor(x)).sum()
            return torch.autograd.grad(value, logits, create_graph=True)[0]

    probabilities = special.expit(logits)
    assert np.allclose(gradient(slope, logits), -probabilities * (1 - probabilities), atol=1e-6)


def test_bernoulli_with_one_row_of_logits_has_the_gradient_of_all_data():
    logits, x = np.array([[0.0, 2.0]], "float32"), np.array([[0, 1], [1, 1], [1, 0]], "float32")
    slope = gradient(lambda logits: Bernoulli(logits).log_prob(x), logits)
    assert np.allclose(slope, x.sum(axis=0) - 3 * special.expit(logits))


@pytest.mark.usefixtures("on_tensorflow")  # The other backends know all shapes.
@pytest.mark.parametrize("rows", [(1, 3), (3, 1), (3, 3)])
def test_bernoulli_of_unknown_batches_has_the_gradient_of_all_data(rows):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, 2))] * 2)
    def slopes(logits, x):
        with tf.GradientTape() as tape:
            tape.watch((logits, x))
            value = Bernoulli(logits).log_prob(x)
        return tape.gradient(value, (logits, x))

    rng = np.random.default_rng(0)
    logits, x = (rng.random((count, 2), "float32") for count in rows)
    by_logits, by_data = x - special.expit(logits), np.broadcast_to(logits, (3, 2))
    if rows[0] == 1:
        by_logits = by_logits.sum(axis=0, keepdims=True)
    if rows[1] == 1:
        by_data = by_data.sum(axis=0, keepdims=True)
    for found, expected in zip(slopes(logits, x), (by_logits, by_data), strict=True):
        assert np.allclose(found, expected, atol=1e-6)


def test_categorical_equals_scipy():
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(4, 5, 3)).astype("float32")
    x = np.eye(3)[generator.integers(0, 3, (4, 5))]
    probabilities = np.exp(logits.astype("float64"))
    probabilities /= probabilities.sum(-1, keepdims=True)
    expected = [
        sum(stats.multinomial(1, p).logpmf(choice) for p, choice in zip(row_p, row_x, strict=True))
        for row_p, row_x in zip(probabilities, x, strict=True)
    ]
    assert np.allclose(numpy(Categorical(logits).log_prob(x)), expected, rtol=1e-5)
    assert np.allclose(numpy(Categorical(logits).mean), probabilities, rtol=1e-5)


@pytest.mark.parametrize("x", [0.0, 0.3, 1.0])
def test_continuous_bernoulli_density_equals_quadrature(x):
    expected = [logit * x - moment(logit, 0)[1] for logit in LOGITS]
    density = ContinuousBernoulli(LOGITS[:, None]).log_prob(np.full((len(LOGITS), 1), x))
    assert np.allclose(numpy(density), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("x", [0.0, 0.3, 1.0])
def test_continuous_bernoulli_density_has_its_gradient(x):
    # The derivative of an exponential family's log-density is the statistic minus its mean.
    expected = [x - moment(logit, 1)[0] for logit in LOGITS]
    slope = gradient(
        lambda logits: ContinuousBernoulli(logits[:, None]).log_prob(
            np.full((len(LOGITS), 1), x, "float32")
        ),
        LOGITS,
    )
    assert np.allclose(slope, expected, rtol=0, atol=3e-7)


def test_continuous_bernoulli_mean_equals_quadrature():
    expected = [moment(logit, 1)[0] for logit in LOGITS]
    mean = numpy(ContinuousBernoulli(LOGITS[:, None]).mean)[:, 0]
    assert np.allclose(mean, expected, rtol=1e-6, atol=1e-7)
    assert mean[LOGITS == 0.0] == [0.5]


def test_continuous_bernoulli_mean_has_its_gradient():
    # The derivative of an exponential family's mean is its variance.
    variance = [moment(logit, 2)[0] - moment(logit, 1)[0] ** 2 for logit in LOGITS]
    slope = gradient(lambda logits: ContinuousBernoulli(logits).mean, LOGITS)
    assert np.allclose(slope, variance, rtol=1e-5, atol=1e-6)


def test_continuous_bernoulli_equals_torch_distributions():
    torch = pytest.importorskip("torch")
    logits = np.linspace(-30, 30, 241)[:, None]
    x = np.random.default_rng(0).uniform(size=logits.shape)
    # torch's Taylor series around 0 has fewer digits, so narrower limits make it use it less.
    reference = torch.distributions.ContinuousBernoulli(
        logits=torch.tensor(logits), lims=(0.4999, 0.5001)
    )
    ours = ContinuousBernoulli(logits)
    expected = reference.log_prob(torch.tensor(x))[:, 0].numpy()
    assert np.allclose(numpy(ours.log_prob(x)), expected, rtol=1e-5, atol=1e-5)
    assert np.allclose(numpy(ours.mean), reference.mean.numpy(), atol=1e-6)


def test_continuous_bernoulli_of_extreme_logits_is_finite():
    logits = np.array([[-1e4], [1e4], [-1e20], [1e20]], "float32")
    x = (logits > 0).astype("float32")
    assert np.isfinite(numpy(ContinuousBernoulli(logits).log_prob(x))).all()
    assert np.allclose(numpy(ContinuousBernoulli(logits).mean), x, atol=2e-4)
    assert np.allclose(numpy(ContinuousBernoulli(logits).sample(0)), x, atol=2e-3)
    for function in (
        lambda logits: ContinuousBernoulli(logits).log_prob(x),
        lambda logits: ContinuousBernoulli(logits).mean,
        lambda logits: ContinuousBernoulli(logits).sample(0),
    ):
        assert np.isfinite(gradient(function, logits)).all()


def test_kl_equals_quadrature():
    mean = np.array([[0.0, 1.5, -3.0, 0.1]], "float32")
    log_variance = np.array([[0.0, -2.0, 1.0, 1e-3]], "float32")

    def divergence(mean, log_variance):
        q = stats.norm(mean, np.exp(0.5 * log_variance))
        reach = 12 * q.std()
        return integrate.quad(
            lambda z: q.pdf(z) * (q.logpdf(z) - stats.norm.logpdf(z)), mean - reach, mean + reach
        )[0]

    pairs = zip(mean[0].tolist(), log_variance[0].tolist(), strict=True)
    expected = np.array([[divergence(*pair) for pair in pairs]])
    q = DiagonalGaussian(mean, log_variance)
    assert np.allclose(numpy(q.kl_per_dimension()), expected, rtol=1e-5, atol=1e-7)
    assert np.allclose(numpy(q.kl()), expected.sum(1), rtol=1e-5)


def test_kl_equals_the_mean_log_ratio_of_its_samples():
    q = DiagonalGaussian(np.full((20_000, 2), 0.7), np.full((20_000, 2), -0.5))
    z = q.sample(seed=1)
    ratios = numpy(q.log_prob(z)) - numpy(DiagonalGaussian.standard(z).log_prob(z))
    error = ratios.std() / np.sqrt(len(ratios))
    assert abs(ratios.mean() - numpy(q.kl())[0]) < 4 * error


def test_kl_keeps_its_digits_near_the_standard_normal():
    # For a log-variance v the divergence is v**2 / 4 to leading order, which is 2.5e-7 here.
    q = DiagonalGaussian(np.zeros((1, 1)), np.full((1, 1), 1e-3))
    assert np.allclose(numpy(q.kl()), 1e-6 / 4, rtol=1e-3)


def test_kl_of_the_standard_normal_is_zero_and_flat():
    like = np.ones(SHAPE, "float16")
    assert np.array_equal(numpy(DiagonalGaussian.standard(like).kl()), np.zeros(4))
    zeros = np.zeros((2, 3), "float32")
    by_mean = gradient(lambda mean: DiagonalGaussian(mean, zeros).kl(), zeros)
    by_variance = gradient(lambda log_variance: DiagonalGaussian(zeros, log_variance).kl(), zeros)
    assert not by_mean.any()
    assert not by_variance.any()


def continuous_bernoulli_cdf(logit):
    return lambda x: np.expm1(logit * x) / np.expm1(logit) if logit else x


@pytest.mark.parametrize(
    "make, cdf",
    [
        (lambda ones: DiagonalGaussian(2 * ones, -ones), stats.norm(2, np.exp(-0.5)).cdf),
        (lambda ones: Normal(-ones, 3.0), stats.norm(-1, 3).cdf),
        (lambda ones: Laplace(-ones, 3.0), stats.laplace(-1, 3).cdf),
        *(
            (lambda ones, logit=logit: ContinuousBernoulli(logit * ones), cdf)
            for logit in (-8.0, 0.0, 5e-4, 1.0, 20.0)
            for cdf in [continuous_bernoulli_cdf(logit)]
        ),
    ],
)
def test_samples_follow_their_distribution(make, cdf):
    samples = numpy(make(np.ones((100, 40), "float32")).sample(seed=3)).ravel()
    assert stats.kstest(samples, cdf).pvalue > 1e-3


def test_continuous_bernoulli_samples_are_quantiles():
    # With a logit of 0 the distribution is uniform, so the same seed gives the quantiles.
    logits = np.repeat(LOGITS[None], 100, axis=0)
    uniform = numpy(ContinuousBernoulli(np.zeros_like(logits)).sample(0)).astype("float64")
    exponents = np.where(LOGITS == 0, 1e-12, LOGITS).astype("float64")
    expected = np.log1p(uniform * np.expm1(exponents)) / exponents
    samples = numpy(ContinuousBernoulli(logits).sample(0))
    # In the tail of a large logit, the last digit of a uniform number moves a draw by this much.
    assert np.allclose(samples, expected, rtol=0, atol=1e-5)


def test_bernoulli_samples_are_ones_as_often_as_they_should():
    samples = numpy(Bernoulli(np.full((100, 100), -1.0)).sample(seed=0))
    assert set(np.unique(samples)) == {0.0, 1.0}
    assert stats.binomtest(int(samples.sum()), samples.size, 1 / (1 + np.e)).pvalue > 1e-3


def test_categorical_samples_are_one_hot_at_their_rates():
    rates = np.array([0.1, 0.2, 0.7])
    samples = numpy(Categorical(np.log(np.tile(rates, (500, 10, 1)))).sample(seed=0))
    assert np.array_equal(samples.sum(-1), np.ones((500, 10)))
    assert set(np.unique(samples)) == {0.0, 1.0}
    counts = samples.sum((0, 1))
    assert stats.chisquare(counts, rates * 5000).pvalue > 1e-3
    # Different positions have different draws.
    assert (samples[:, 0] != samples[:, 1]).any()


@pytest.mark.every_backend
@pytest.mark.parametrize("distribution", build_all(), ids=name_of)
def test_seeds_repeat_and_seed_generators_advance(distribution):
    assert np.array_equal(numpy(distribution.sample(5)), numpy(distribution.sample(5)))
    assert not np.array_equal(numpy(distribution.sample(5)), numpy(distribution.sample(6)))
    generator = keras.random.SeedGenerator(5)
    first, second = numpy(distribution.sample(generator)), numpy(distribution.sample(generator))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("distribution", build_all(), ids=name_of)
def test_everything_is_float32_and_of_the_right_shape(distribution):
    x = distribution.sample(0)
    for tensor, shape in [(x, SHAPE), (distribution.mean, SHAPE)]:
        assert tuple(tensor.shape) == shape
        assert keras.backend.standardize_dtype(tensor.dtype) == "float32"
    for dtype in ("float16", "float64", "float32"):
        density = distribution.log_prob(numpy(x).astype(dtype))
        assert tuple(density.shape) == SHAPE[:1]
        assert keras.backend.standardize_dtype(density.dtype) == "float32"


@pytest.mark.parametrize("make", [Bernoulli, ContinuousBernoulli, Categorical])
def test_half_precision_parameters_become_float32(make):
    # The sum of 70,000 terms of this size is larger than the largest float16.
    logits = np.full((1, 10_000, 7), 4.0, "float16")
    x = np.zeros_like(logits)
    expected = numpy(make(logits.astype("float32")).log_prob(x))
    assert np.array_equal(numpy(make(logits).log_prob(x)), expected)
    assert np.isfinite(expected).all()


@pytest.mark.every_backend
@pytest.mark.parametrize("index", range(6), ids=[name_of(d) for d in build_all()])
def test_graphs_with_a_free_batch_size_give_the_same_densities(index):
    def density(x):
        return build_with(x)[index].log_prob(keras.ops.sigmoid(x))

    def build_with(x):
        return [
            DiagonalGaussian(x, x),
            Normal(x, keras.ops.exp(x)),
            Laplace(x, keras.ops.exp(x)),
            Bernoulli(x),
            ContinuousBernoulli(x),
            Categorical(x),
        ]

    x, _ = parameters()
    tensor = keras.ops.convert_to_tensor(x)
    assert np.allclose(numpy(compiled(density)(tensor)), numpy(density(tensor)), rtol=1e-5)
    samples = compiled(lambda x: build_with(x)[index].sample(0))(tensor)
    assert tuple(samples.shape) == SHAPE


def test_gaussian_samples_carry_gradients():
    mean, scale = parameters()
    log_variance = 2 * np.log(scale)
    z = numpy(DiagonalGaussian(mean, log_variance).sample(0))
    by_mean = gradient(lambda mean: DiagonalGaussian(mean, log_variance).sample(0), mean)
    by_variance = gradient(lambda v: DiagonalGaussian(mean, v).sample(0), log_variance)
    assert np.allclose(by_mean, 1.0)
    assert np.allclose(by_variance, 0.5 * (z - mean), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("make", [Normal, Laplace])
def test_location_scale_samples_carry_gradients(make):
    mean, scale = parameters()
    x = numpy(make(mean, scale).sample(0))
    assert np.allclose(gradient(lambda mean: make(mean, scale).sample(0), mean), 1.0)
    by_scale = gradient(lambda scale: make(mean, scale).sample(0), scale)
    assert np.allclose(by_scale, (x - mean) / scale, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("logit", [-8.0, -1.0, -5e-4, 0.0, 5e-4, 1.0, 8.0])
def test_continuous_bernoulli_samples_carry_gradients(logit):
    logits = np.full((1, 50), logit, "float32")
    x = numpy(ContinuousBernoulli(logits).sample(0)).astype("float64")
    # At a fixed quantile, dx/dl is minus the derivative of the distribution function by l,
    # over the density; that derivative is the integral of (t - mean) p(t) up to x.
    mean, log_norm = moment(logit, 1)

    def density(t):
        return np.exp(logit * t - log_norm)

    expected = [
        -integrate.quad(lambda t: (t - mean) * density(t), 0, end)[0] / density(end) for end in x[0]
    ]
    slope = gradient(lambda logits: ContinuousBernoulli(logits).sample(0), logits)
    assert np.allclose(slope[0], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("distribution", build_all(), ids=name_of)
@pytest.mark.parametrize("shape", [(4, 3), (4, 3, 1), (4, 3, 2, 1)])
def test_a_value_that_would_broadcast_is_refused(distribution, shape):
    with pytest.raises(ValueError, match=rf"{name_of(distribution)}.log_prob: x has shape \(4, 3"):
        distribution.log_prob(np.zeros(shape))


def test_a_batch_of_one_broadcasts():
    prior = DiagonalGaussian(np.zeros((1, 2)), np.zeros((1, 2)))
    expected = stats.norm.logpdf(np.ones((5, 2))).sum(1)
    assert np.allclose(numpy(prior.log_prob(np.ones((5, 2)))), expected)


def test_parameters_cannot_be_replaced():
    with pytest.raises(AttributeError):
        Bernoulli(np.zeros((1, 2))).logits = np.ones((1, 2))


# ------------------------------------------------------------------ at the ends of float32


def pair(value):
    return np.full((1, 1), value, "float32")


# Each has a density of one number, its parameter, the point, and the exact log-density in float64.
EXTREMES = [
    *(
        (f"{kind} {log_variance} {x}", density, log_variance, x, exact)
        for log_variance in (-500.0, -200.0, -100.0, -88.8, 88.0, 200.0, 1e5)
        for x in (0.0, 1e-20, 1.0, 1e25)
        for exact in [-0.5 * (x**2 * np.exp(-np.float128(log_variance)) + log_variance)]
        for kind, density in (
            ("gaussian", lambda v, x: DiagonalGaussian(keras.ops.zeros_like(x), v).log_prob(x)),
            ("mixture", lambda v, x: GaussianMixture(keras.ops.zeros_like(x), v).log_prob(x)),
        )
        if kind == "gaussian" or x in (0.0, 1.0)
    ),
    *(
        (
            f"normal {s} {x}",
            lambda v, x: Normal(keras.ops.zeros_like(x), v).log_prob(x),
            s,
            x,
            exact,
        )
        for s in (2e-38, 1e-25, 1e-10, 1e20, 1e38)
        for x in (0.0, 1e-25, 1.0, 1e25)
        for exact in [-0.5 * (np.float128(x) / np.float128(s)) ** 2 - np.log(s)]
    ),
]


@pytest.mark.parametrize(
    ("density", "parameter", "x", "exact"),
    [case[1:] for case in EXTREMES],
    ids=[case[0] for case in EXTREMES],
)
def test_extreme_gaussians_have_their_density(density, parameter, x, exact):
    found = numpy(density(pair(parameter), pair(x)))[0]
    exact = float(exact) - 0.5 * np.log(2 * np.pi)
    if abs(exact) < 1e38:
        assert found == pytest.approx(exact, rel=1e-4)
    else:
        assert found < -1e37
    assert not np.isnan(gradient(lambda v: density(v, pair(x)), pair(parameter))).any()
    assert not np.isnan(gradient(lambda x: density(pair(parameter), x), pair(x))).any()


@pytest.mark.parametrize("scale", [2e-38, 1e-25, 1e-10, 1e20, 1e38])
@pytest.mark.parametrize("x", [0.0, 1e-30, 1.0])
def test_extreme_laplace_scales(scale, x):
    found = numpy(Laplace(pair(0.0), pair(scale)).log_prob(pair(x)))[0]
    assert found == pytest.approx(-x / scale - np.log(2 * scale), rel=1e-4)
    for function, at in (
        (lambda v: Laplace(pair(0.0), v).log_prob(pair(x)), scale),
        (lambda v: Laplace(v, pair(scale)).log_prob(pair(x)), 0.0),
    ):
        assert not np.isnan(gradient(function, pair(at))).any()


@pytest.mark.parametrize("logit", [1e4, 1e8, 1e20, 1e38])
def test_extreme_continuous_bernoullis_keep_their_digits(logit):
    """A positive logit l has log p = log l - l (1 - x) - log(1 - exp(-l)); -l mirrors it."""
    for x in (0.0, 0.5, 1.0):
        expected = np.log(logit) - logit * (1.0 - x)
        for sign, at in ((1.0, x), (-1.0, 1.0 - x)):
            density = ContinuousBernoulli(pair(sign * logit)).log_prob(pair(at))
            assert numpy(density)[0] == pytest.approx(expected, rel=1e-5)


def test_impossible_classes():
    logits = np.array([[-np.inf, 0.0, 0.0]], "float32")
    for chosen, expected in enumerate([-np.inf, np.log(0.5), np.log(0.5)]):
        x = np.eye(3, dtype="float32")[chosen : chosen + 1]
        density = numpy(Categorical(logits).log_prob(x))
        np.testing.assert_allclose(density, [expected], rtol=1e-6)
        slope = gradient(lambda v, x=x: Categorical(v).log_prob(x), logits)
        assert not np.isnan(slope).any()


def test_components_far_away_change_no_gradient():
    """Squared distances exceed float32 for a component that hardly varies, as a posterior may."""
    means, log_variances = np.array([[0.0], [5.0]]), np.array([[0.0], [-120.0]])
    x = np.array([[0.5]], "float32")
    mixture = GaussianMixture(means, log_variances)
    assert numpy(mixture.log_prob(x))[0] == pytest.approx(stats.norm.logpdf(0.5) - np.log(2))
    assert gradient(lambda x: mixture.log_prob(x), x)[0, 0] == pytest.approx(-0.5, rel=1e-5)
    slopes = gradient(lambda v: GaussianMixture(means, v).log_prob(x), log_variances)
    np.testing.assert_allclose(slopes[:, 0], [0.5 * (0.25 - 1.0), 0.0], atol=1e-6)


def test_divergences_at_the_ends_of_float32():
    for log_variance, expected in ((-1e4, 4999.5), (-200.0, 99.5), (88.0, 0.5 * np.exp(88.0))):
        q = DiagonalGaussian(pair(0.0), pair(log_variance))
        assert numpy(q.kl())[0] == pytest.approx(expected, rel=1e-5)
    slope = gradient(lambda v: DiagonalGaussian(pair(0.0), v).kl(), pair(200.0))
    assert not np.isnan(slope).any()


PUBLIC = [
    name
    for name, value in vars(distributions).items()
    if isinstance(value, type) and issubclass(value, Distribution) and value is not Distribution
]
PUBLIC.remove("LabeledGaussians")  # It draws labels, too: see test_conditional.py.


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("name", PUBLIC)
def test_draws_come_with_the_densities_of_what_is_returned(name, scale):
    wide, halves = np.full((20, 3), scale, "float32"), np.full((20, 3, 2), 0.5, "float32")
    given = {
        "DiagonalGaussian": (wide, 2 * np.log(wide)),
        "GaussianMixture": (wide, 2 * np.log(wide)),
        "VonMisesFisher": (np.eye(3)[np.arange(20) % 3], scale * np.ones((20, 1))),
        "UniformSphere": (wide,),
        "RiemannianNormal": (0.3 * np.ones((20, 3)), wide[:, :1]),
        "WrappedNormal": (0.3 * np.ones((20, 3)), wide),
        "Normal": (wide, wide),
        "Laplace": (wide, wide),
        "StudentT": (wide, wide, 5.0),
        "LogNormal": (np.log(wide), 0.5),
        "Beta": (np.zeros((20, 3)), np.log(wide)),
        "Poisson": (np.log(wide),),
        "NegativeBinomial": (np.log(wide), np.log(wide)),
        "ZeroInflatedNegativeBinomial": (np.log(wide), np.log(wide), np.zeros((20, 3))),
        "DiscretizedLogisticMixture": (halves, halves, np.log(halves) - 1.0),
        "Coded": (np.log(halves),),
        "Modes": (np.log(halves), scale * halves, wide[0, :, None]),
        "WeightedGaussians": (
            np.log(wide[0]),
            np.diag(wide[0]),
            2 * np.log(np.diag(wide[0]) + scale),
        ),
        "GumbelSoftmax": (np.zeros((20, 3)), 1.0),
        "MixedCode": (wide, 2 * np.log(wide), np.zeros((20, 4))),
        "LabeledCodes": (
            np.log(halves[:, 0]),
            np.swapaxes(scale * halves, 1, 2),
            np.zeros((20, 2, 3)),
        ),
    }
    q = getattr(distributions, name)(*given.get(name, (wide,)))
    count = (20,) if name in ("GaussianMixture", "WeightedGaussians") else ()

    def draws():
        z, density = q.sample_with_log_prob(*count, 0)
        return density, q.log_prob(z)

    density, exact = compute(draws)
    assert density.shape == (20,) and np.isfinite(density).all()
    np.testing.assert_allclose(density, exact, rtol=2e-3, atol=5e-2)
