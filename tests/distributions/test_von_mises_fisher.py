"""The sphere's distributions against SciPy's Bessel functions and numerical integrals."""

import math

import keras
import numpy as np
import pytest
import zoo
from keras import ops
from scipy import integrate, special, stats
from test_distributions import numpy
from zoo import compute, gradient

import keras_ae
from keras_ae.distributions import UniformSphere, VonMisesFisher
from keras_ae.distributions.von_mises_fisher import log_bessel, log_sphere_area

pytestmark = pytest.mark.formula

DIMENSIONS = [2, 3, 4, 7, 20, 27, 50]
CONCENTRATIONS = np.logspace(-3, 3, 25).astype("float32")


def first_axis(rows, m):
    return np.tile(np.eye(1, m, dtype="float32"), (rows, 1))


def draws(direction, concentration, seed):
    return compute(lambda d, k: VonMisesFisher(d, k).sample(seed), direction, concentration)


def ratio(m, k):
    return special.ive(m / 2, k) / special.ive(m / 2 - 1, k)


def marginal(m, k):
    """Return the density of the angle to the mean, its log norm, and points for quadrature."""

    def unnormalized(t):
        return np.exp(-2 * k * np.sin(t / 2) ** 2) * np.sin(t) ** (m - 2)

    mode = math.acos(max(ratio(m, k), -1.0)) if k else math.pi / 2
    points = sorted({min(math.pi, mode * f) for f in (0.25, 0.5, 0.8, 1.0, 1.25, 2.0, 4.0)})
    norm = integrate.quad(unnormalized, 0, math.pi, points=points, limit=200)[0]
    return lambda t: unnormalized(t) / norm, math.log(norm), points


def expected(m, k, function):
    density, _, points = marginal(m, k)
    return integrate.quad(
        lambda t: function(np.cos(t)) * density(t), 0, math.pi, points=points, limit=200
    )[0]


@pytest.mark.parametrize("m", [*DIMENSIONS, 120])
def test_bessel_functions_equal_scipy(m):
    order, k = m / 2 - 1, CONCENTRATIONS.astype("float64")
    if m == 120:
        k = k[k > 1]  # Below that, SciPy's function underflows.
    value, rest = compute(lambda: log_bessel(order, k.astype("float32")))
    exact = np.log(special.ive(order, k)) - order * np.log(k / 2) + special.gammaln(order + 1)
    np.testing.assert_allclose(value, exact, rtol=2e-6, atol=2e-5)
    np.testing.assert_allclose(rest, 1 - ratio(m, k), rtol=1e-5)


@pytest.mark.parametrize("m", DIMENSIONS)
def test_bessel_functions_have_their_gradients(m):
    k = CONCENTRATIONS.astype("float64")
    slope = gradient(lambda k: log_bessel(m / 2 - 1, k)[0], CONCENTRATIONS)
    np.testing.assert_allclose(slope, ratio(m, k) - 1, rtol=3e-5)
    bend = gradient(lambda k: log_bessel(m / 2 - 1, k)[1], CONCENTRATIONS)
    a = ratio(m, k)
    exact = np.square(a) + (m - 1) / k * a - 1
    # The exact terms nearly cancel, so that their difference has fewer digits.
    np.testing.assert_allclose(bend, exact, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("m", DIMENSIONS)
@pytest.mark.parametrize("k", [0.01, 1.0, 10.0, 300.0])
def test_divergence_equals_quadrature(m, k):
    # The powers of the sine cancel in the ratio of the two densities.
    _, log_norm, _ = marginal(m, k)
    _, log_uniform, _ = marginal(m, 0.0)
    exact = expected(m, k, lambda w: k * (w - 1) - log_norm + log_uniform)
    q = VonMisesFisher(first_axis(1, m), [[k]])
    assert float(compute(q.kl)[0]) == pytest.approx(exact, rel=1e-4, abs=2e-6)


def test_divergence_is_flat_and_zero_at_the_uniform():
    k = np.array([[0.0], [1e-3]], "float32")
    q = VonMisesFisher(first_axis(2, 5), k)
    at_zero, above = compute(q.kl)
    assert abs(at_zero) < 1e-8
    np.testing.assert_allclose(above, 1e-6 / 10, rtol=0.02)
    slope = gradient(lambda k: VonMisesFisher(first_axis(2, 5), k).kl(), k)
    np.testing.assert_allclose(slope[:, 0], [0.0, 1e-3 / 5], rtol=1e-2, atol=1e-7)


@pytest.mark.parametrize("m", [2, 3, 10, 50])
@pytest.mark.parametrize("k", [0.0, 0.7, 10.0, 500.0])
def test_density_integrates_to_one(m, k):
    t = np.linspace(0, math.pi, 20_001)
    x = np.zeros((len(t), m))
    x[:, 0], x[:, 1] = np.cos(t), np.sin(t)
    q = VonMisesFisher(first_axis(1, m), [[k]])
    density = compute(q.log_prob, x).astype("float64")
    rings = np.exp(density + log_sphere_area(m - 1)) * np.sin(t) ** (m - 2)
    assert integrate.simpson(rings, x=t) == pytest.approx(1, rel=1e-4)


def test_density_equals_scipy():
    generator = np.random.default_rng(0)
    x, mean = (v / np.linalg.norm(v, axis=1)[:, None] for v in generator.normal(size=(2, 9, 5)))
    exact = [stats.vonmises_fisher(m, 7.0).logpdf(v) for m, v in zip(mean, x, strict=True)]
    q = VonMisesFisher(mean, np.full(9, 7.0))
    np.testing.assert_allclose(compute(q.log_prob, x), exact, rtol=1e-5, atol=1e-5)
    uniform = numpy(UniformSphere(x).log_prob(x))
    np.testing.assert_allclose(uniform, math.lgamma(2.5) - math.log(2 * math.pi**2.5), rtol=1e-6)


@pytest.mark.parametrize("m", [2, 3, 8, 50])
@pytest.mark.parametrize("k", [0.0, 0.5, 5.0, 100.0, 1e4])
def test_samples_have_the_moments_of_the_bessel_ratio(m, k):
    direction = np.random.default_rng(m).normal(size=m)
    direction /= np.linalg.norm(direction)
    rows = 20_000
    z = draws(np.tile(direction, (rows, 1)), np.full(rows, k), seed=1).astype("float64")
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 1, atol=1e-5)
    cosine = z @ direction
    mean = ratio(m, k) if k else 0.0
    variance = 1 - mean**2 - (m - 1) * (mean / k if k else 1 / m)
    assert abs(cosine.mean() - mean) < 4 * math.sqrt(variance / rows) + 1e-7
    if k < 1e3:
        assert cosine.var() == pytest.approx(variance, rel=0.06)
    # Around the mean, no direction is preferred.
    around = z - cosine[:, None] * direction
    error = np.abs(around.mean(axis=0)) / np.maximum(around.std(axis=0), 1e-9)
    assert error.max() < 4.5 / math.sqrt(rows)


@pytest.mark.parametrize("m, k", [(2, 0.3), (2, 40.0), (3, 2.0), (10, 5.0)])
def test_angles_follow_their_distribution(m, k):
    z = draws(first_axis(5000, m), np.full(5000, k), seed=3)
    density, _, _ = marginal(m, k)
    grid = np.linspace(0, math.pi, 20_001)
    cumulative = integrate.cumulative_trapezoid(density(grid), grid, initial=0)
    angles = np.arccos(np.clip(z[:, 0].astype("float64"), -1, 1))
    assert stats.kstest(angles, lambda t: np.interp(t, grid, cumulative)).pvalue > 1e-3


@pytest.mark.parametrize("m", [2, 3, 10, 50])
@pytest.mark.parametrize("k", [0.01, 1.0, 8.0, 200.0])
def test_sampler_has_the_gradient_of_its_expectations(m, k):
    """Implicit reparameterization, row by row, gives the derivative of an integral."""
    rows = 20_000
    concentration = np.full((rows, 1), k, "float32")

    def sampled(k):
        direction = ops.repeat(np.eye(1, m, dtype="float32"), rows, axis=0)
        w = VonMisesFisher(direction, k).sample(seed=2)[:, 0]
        return w + w * w

    slopes = gradient(sampled, concentration)[:, 0].astype("float64")
    step = 1e-3 * max(k, 0.1)
    above, below = (expected(m, k + s * step, lambda w: w + w * w) for s in (1, -1))
    error = slopes.std() / math.sqrt(rows)
    assert abs(slopes.mean() - (above - below) / (2 * step)) < 4 * error + 1e-6 / step * 1e-3


@pytest.mark.parametrize("m, k", [(2, 3.0), (3, 10.0), (16, 40.0)])
def test_sampler_has_the_gradient_of_its_direction(m, k):
    """The gradient is that of E[z_2 + z_2^2] by the direction's angle in the first two axes."""
    rows, turn = 20_000, 0.6
    plane = np.zeros(rows, "float32") + np.float32(turn)

    def sampled(turn):
        rest = ops.zeros((rows, m - 2), dtype="float32")
        columns = [ops.cos(turn)[:, None], ops.sin(turn)[:, None], rest]
        q = VonMisesFisher(ops.concatenate(columns, axis=1), np.full((rows, 1), k, "float32"))
        inner = q.sample(seed=4)[:, 1]
        return inner + ops.square(inner)

    slopes = gradient(sampled, plane).astype("float64")
    a = ratio(m, k)
    # E[z z'] has the cosine's second moment along the mean, and equal ones in all other directions.
    along = 1 - (m - 1) * a / k
    across = (1 - along) / (m - 1)
    exact = a * math.cos(turn) + (along - across) * 2 * math.sin(turn) * math.cos(turn)
    assert abs(slopes.mean() - exact) < 4 * slopes.std() / math.sqrt(rows)


@pytest.mark.parametrize("m", [2, 3, 50])
def test_extreme_parameters_stay_finite(m):
    k = np.tile(np.array([[0.0], [1e-6], [1e6], [1e9]], "float32"), (2, 1))
    direction = np.concatenate([first_axis(4, m), -first_axis(4, m)])
    for function in (
        lambda k: VonMisesFisher(direction, k).sample(seed=0),
        lambda k: VonMisesFisher(direction, k).kl(),
        lambda k: VonMisesFisher(direction, k).log_prob(-direction),
    ):
        assert np.isfinite(compute(function, k)).all()
        assert np.isfinite(gradient(function, k)).all()
    slope = gradient(lambda d: VonMisesFisher(d, k).sample(seed=0), direction)
    assert np.isfinite(slope).all()


def test_seeds_and_copies():
    q = VonMisesFisher(first_axis(3, 4), np.array([1.0, 5.0, 1e4]))
    for distribution in (q, UniformSphere(first_axis(3, 4))):
        drawn, again, other = (
            compute(lambda d=distribution, seed=seed: d.sample(seed)) for seed in (5, 5, 6)
        )
        assert np.array_equal(drawn, again) and not np.array_equal(drawn, other)
        copies = distribution.repeat(2)
        z, density = compute(lambda copies=copies: copies.sample_with_log_prob(0))
        assert z.shape == (6, 4) and density.shape == (6,)
    assert np.array_equal(numpy(q.repeat(2).concentration)[:, 0], [1, 1, 5, 5, 1e4, 1e4])
    with pytest.raises(ValueError, match="x has shape"):
        q.log_prob(np.ones((3, 5)))


# ------------------------------------------------------------------ the model


def test_the_divergence_of_the_model_by_hand():
    model = zoo.trained("HypersphericalVAE")
    x = zoo.data()
    head = model.features_to_code(model.encoder(x))
    parameters = numpy(head).astype("float64")
    direction = parameters[:, :2] / np.linalg.norm(parameters[:, :2], axis=1)[:, None]
    np.testing.assert_allclose(model.encode(x), direction, atol=1e-5)
    k = 1 + 2 * np.log1p(np.exp(parameters[:, 2]))
    exact = k * special.i1e(k) / special.i0e(k) - np.log(special.i0e(k)) - k
    logs = model.evaluate(x, batch_size=48, verbose=0, return_dict=True)
    assert logs["kl_loss"] == pytest.approx(exact.mean(), rel=1e-4)


def test_codes_and_samples_lie_on_the_sphere():
    model = zoo.trained("HypersphericalVAE")
    for codes in (
        model.encode(zoo.data()),
        model.encode(zoo.data(), sample=True, seed=0),
        numpy(model.sampler.sample(100, seed=0)),
    ):
        np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 1, atol=1e-5)


def test_a_sphere_of_one_dimension_is_refused():
    with pytest.raises(ValueError, match="latent_dim=1 must be an integer of at least 2"):
        keras_ae.HypersphericalVAE(latent_dim=1)


def test_blank_pictures_and_a_large_rate_give_numbers():
    """The sphere has more dimensions here than in `test_variational_zoo.py`."""
    model = keras_ae.HypersphericalVAE(9, **zoo.OPTIONS)
    model.compile(keras.optimizers.Adam(0.1))
    zoo.assert_trains_on_blank_pictures(model)
    blank = np.zeros((4, 6), "float32")
    assert np.all(np.isfinite(model.log_likelihood(blank, num_samples=16, seed=0)))
    assert np.all(np.isfinite(model.sample(4, seed=0)))
