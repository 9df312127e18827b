"""The Poincaré ball against closed forms, and its distributions against numerical integrals."""

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
from keras_ae.core import seeds
from keras_ae.distributions import (
    DiagonalGaussian,
    RiemannianNormal,
    WrappedNormal,
    hyperbolic,
)

pytestmark = pytest.mark.formula

CURVATURES = [0.0, 1e-8, 0.3, 1.0, 4.0]
curvatures = pytest.mark.parametrize("c", CURVATURES)


def points(c, rows=200, d=3, seed=0, reach=4.0):
    """Return points at distances of up to `reach` / sqrt(c) from the origin."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(rows, d))
    x /= np.linalg.norm(x, axis=1)[:, None]
    root = math.sqrt(max(c, 1e-2))
    radius = np.tanh(0.5 * generator.uniform(0, reach, (rows, 1))) / root
    return (x * radius).astype("float32")


def exact_add(x, y, c):
    x, y = x.astype("float64"), y.astype("float64")
    xy, xx, yy = ((a * b).sum(1)[:, None] for a, b in ((x, y), (x, x), (y, y)))
    return ((1 + 2 * c * xy + c * yy) * x + (1 - c * xx) * y) / (1 + 2 * c * xy + c * c * xx * yy)


def exact_distance(x, y, c):
    x, y = x.astype("float64"), y.astype("float64")
    square = ((x - y) ** 2).sum(1)
    gaps = (1 - c * (x**2).sum(1)) * (1 - c * (y**2).sum(1))
    return np.arccosh(1 + 2 * c * square / gaps) / math.sqrt(c) if c else 2 * np.sqrt(square)


# ------------------------------------------------------------------ geometry


@curvatures
def test_addition(c):
    x, y = points(c), points(c, seed=1)
    origin = np.zeros_like(x)
    np.testing.assert_allclose(numpy(hyperbolic.mobius_add(x, y, c)), exact_add(x, y, c), atol=3e-5)
    np.testing.assert_allclose(numpy(hyperbolic.mobius_add(origin, y, c)), y, rtol=1e-5)
    np.testing.assert_allclose(numpy(hyperbolic.mobius_add(x, origin, c)), x, rtol=1e-5)
    np.testing.assert_allclose(numpy(hyperbolic.mobius_add(-x, x, c)), origin, atol=1e-7)
    # Adding y to x and then subtracting x on the left gives y back.
    back = hyperbolic.mobius_add(-x, hyperbolic.mobius_add(x, y, c), c)
    np.testing.assert_allclose(numpy(back), y, atol=3e-3 if c else 1e-5)


@curvatures
def test_distance(c):
    x, y = points(c), points(c, seed=1)
    d = numpy(hyperbolic.distance(x, y, c))[:, 0]
    if c != 1e-8:  # At 1e-8 the reference itself has no correct digits.
        np.testing.assert_allclose(d, exact_distance(x, y, c), rtol=2e-4)
    np.testing.assert_allclose(d, numpy(hyperbolic.distance(y, x, c))[:, 0], rtol=1e-6)
    assert numpy(hyperbolic.distance(x, x, c)).max() < 1e-10
    moved = hyperbolic.distance(x, hyperbolic.mobius_add(x, y, c), c)
    origin = np.zeros_like(x)
    np.testing.assert_allclose(
        numpy(moved), numpy(hyperbolic.distance(origin, y, c)), rtol=1e-3, atol=1e-5
    )


def test_distance_from_the_origin_is_the_closed_form():
    y = np.array([[0.6, 0.0]], "float32")
    for c in (1.0, 0.25):
        root = math.sqrt(c)
        exact = 2 / root * math.atanh(root * 0.6)
        d = hyperbolic.distance(np.zeros_like(y), y, c)
        assert float(d[0, 0]) == pytest.approx(exact, rel=1e-6)


@curvatures
def test_maps_are_each_others_inverse(c):
    x, y = points(c, reach=3.0), points(c, seed=1, reach=3.0)
    v = hyperbolic.logarithmic_map(x, y, c)
    np.testing.assert_allclose(numpy(hyperbolic.exponential_map(x, v, c)), y, atol=1e-5)
    length = numpy(hyperbolic.conformal_factor(x, c) * ops.norm(v, axis=-1, keepdims=True))
    np.testing.assert_allclose(length, numpy(hyperbolic.distance(x, y, c)), rtol=1e-5)
    u = 0.3 * np.random.default_rng(3).normal(size=x.shape).astype("float32")
    u /= numpy(hyperbolic.conformal_factor(x, c))
    back = hyperbolic.logarithmic_map(x, hyperbolic.exponential_map(x, u, c), c)
    np.testing.assert_allclose(numpy(back), u, atol=1e-5)


@pytest.mark.parametrize("c", [0.3, 1.0, 4.0])
def test_maps_at_the_origin_are_the_closed_forms(c):
    v = np.random.default_rng(0).normal(size=(50, 3)).astype("float32")
    norm, root = np.linalg.norm(v, axis=1)[:, None], math.sqrt(c)
    y = np.tanh(root * norm) * v / (root * norm)
    inside = norm[:, 0] * root < 3
    np.testing.assert_allclose(
        numpy(hyperbolic.exponential_map_at_origin(v, c))[inside], y[inside], rtol=1e-5
    )
    np.testing.assert_allclose(
        numpy(hyperbolic.logarithmic_map_at_origin(y, c))[inside], v[inside], rtol=1e-3
    )


def test_without_curvature_everything_is_flat():
    x, y = points(0.0), points(0.0, seed=1)
    for c in (0.0, 1e-8, 1e-12):
        np.testing.assert_allclose(numpy(hyperbolic.mobius_add(x, y, c)), x + y, atol=1e-4)
        np.testing.assert_allclose(numpy(hyperbolic.exponential_map(x, y, c)), x + y, atol=1e-4)
        np.testing.assert_allclose(numpy(hyperbolic.logarithmic_map(x, y, c)), y - x, atol=1e-4)
        flat = 2 * np.linalg.norm(x - y, axis=1)
        np.testing.assert_allclose(numpy(hyperbolic.distance(x, y, c))[:, 0], flat, rtol=1e-5)


@curvatures
def test_maps_are_smooth_everywhere(c):
    """Values and gradients are finite at the origin, at equal points, and at and beyond the rim."""
    rim = 1 / math.sqrt(max(c, 1e-4))
    x = np.array([[0, 0], [0.3, 0.1], [rim, 0], [-3 * rim, rim], [1e-20, 0]], "float32")
    others = np.concatenate([np.zeros_like(x), x, -x, np.full_like(x, 0.9 * rim)])
    x = np.tile(x, (4, 1))
    for function in (
        hyperbolic.mobius_add,
        hyperbolic.exponential_map,
        hyperbolic.logarithmic_map,
        hyperbolic.distance,
    ):
        for call in (
            lambda x, f=function: f(x, others, c),
            lambda x, f=function: f(others, x, c),
        ):
            assert np.isfinite(compute(call, x)).all(), function
            assert np.isfinite(gradient(call, x)).all(), function
    # At 0 the exponential map has the derivative 1.
    zero = np.zeros((1, 2), "float32")
    at = np.array([[0.3, 0.1]], "float32") if c != 4.0 else zero
    slope = gradient(lambda v: hyperbolic.exponential_map(at, v, c)[:, 0], zero)
    np.testing.assert_allclose(slope, [[1.0, 0.0]], atol=1e-6)


# ------------------------------------------------------------------ distributions

MEAN = np.array([[0.3, -0.2]], "float32")


def scales_of(family, mean, scale):
    """Return every example's scales: one for all dimensions, if the family has only one."""
    scale = np.broadcast_to(np.asarray(scale, "float32"), mean.shape)
    return scale[:, :1] if family is RiemannianNormal else scale


def build(family, mean, scale, c):
    mean = np.asarray(mean, "float32")
    return family(mean, scales_of(family, mean, scale), c)


families = pytest.mark.parametrize("family", [WrappedNormal, RiemannianNormal])


@families
@pytest.mark.parametrize("c", [0.0, 1e-6, 0.5, 1.5])
@pytest.mark.parametrize("scale", [0.1, (0.3, 0.7), 0.8])
def test_density_integrates_to_one_over_the_disk(family, c, scale):
    # In polar coordinates around the mean, points are ends of the exponential map, and the volume
    # element is sinh(sqrt(c) r) / sqrt(c) in hyperbolic lengths.
    root = math.sqrt(c)
    nodes, weights = np.polynomial.legendre.leggauss(150)
    widest = np.max(scale)
    reach = 8 * widest + root * widest**2
    radius, weights = 0.5 * reach * (1 + nodes), 0.5 * reach * weights
    angles = np.linspace(0, 2 * math.pi, 120, endpoint=False)
    r, a = (v.ravel() for v in np.meshgrid(radius, angles))
    factor = float(numpy(hyperbolic.conformal_factor(MEAN, c))[0, 0])
    v = (np.stack([r * np.cos(a), r * np.sin(a)], 1) / factor).astype("float32")
    mean = np.tile(MEAN, (len(v), 1))
    scales = scales_of(family, mean, scale)

    def log_density(mean, scales, v):
        return family(mean, scales, c).log_prob(hyperbolic.exponential_map(mean, v, c))

    density = compute(log_density, mean, scales, v).astype("float64")
    volume = np.sinh(root * r) / root if c else r
    total = np.exp(density) * volume * np.tile(weights, 120) * 2 * math.pi / 120
    assert total.sum() == pytest.approx(1, rel=2e-3)


@pytest.mark.parametrize("family", [WrappedNormal, RiemannianNormal])
def test_density_integrates_to_one_over_coordinates(family):
    """In the ball's coordinates the volume element is the conformal factor squared."""
    c, scale = 0.8, 0.4
    nodes, weights = np.polynomial.legendre.leggauss(160)
    rim = 0.97 / math.sqrt(c)
    x, y = (v.ravel() for v in np.meshgrid(rim * nodes, rim * nodes))
    weights = rim**2 * np.outer(weights, weights).ravel()
    inside = x**2 + y**2 < rim**2
    z = np.stack([x, y], 1)[inside].astype("float32")
    mean = np.tile(MEAN, (len(z), 1))
    scales = scales_of(family, mean, scale)
    density = compute(lambda mean, scales, z: family(mean, scales, c).log_prob(z), mean, scales, z)
    factor = numpy(hyperbolic.conformal_factor(z, c))[:, 0]
    assert (np.exp(density) * factor**2 * weights[inside]).sum() == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("d", [1, 2, 3, 5, 8, 20])
@pytest.mark.parametrize("c, scale", [(1.0, 1.0), (1.0, 0.05), (0.2, 2.0), (4.0, 0.3)])
def test_normalizer_equals_quadrature(d, c, scale):
    root = math.sqrt(c)

    def log_density(r):
        return (d - 1) * np.log(np.sinh(root * r) / root) - 0.5 * (r / scale) ** 2

    mode = max((d - 1) * root * scale**2, math.sqrt(d - 1) * scale)
    top = log_density(mode) if mode else 0.0
    reach = [max(0.0, mode - 12 * scale), mode, mode + 12 * scale]
    total = sum(
        integrate.quad(lambda r: np.exp(log_density(r) - top), *ends, limit=200)[0]
        for ends in zip(reach, reach[1:], strict=False)
        if ends[0] < ends[1]
    )
    area = math.log(2) + d / 2 * math.log(math.pi) - math.lgamma(d / 2)
    exact = math.log(total) + top + area
    origin = np.zeros((1, d), "float32")
    log_prob = build(RiemannianNormal, origin, scale, c).log_prob(origin)
    assert -float(log_prob[0]) == pytest.approx(exact, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("d, scale", [(2, 1.0), (3, 0.7), (5, 1.2)])
def test_normalizer_is_the_papers_sum_of_error_functions(d, scale):
    k = np.arange(d)
    slopes = (d - 1 - 2 * k) * scale
    terms = (-1.0) ** k * special.binom(d - 1, k) * np.exp(0.5 * slopes**2)
    total = (terms * (1 + special.erf(slopes / math.sqrt(2)))).sum()
    radial = math.log(math.sqrt(math.pi / 2) * scale * 2.0 ** (1 - d) * total)
    exact = radial + math.log(2) + d / 2 * math.log(math.pi) - math.lgamma(d / 2)
    origin = np.zeros((1, d), "float32")
    log_prob = build(RiemannianNormal, origin, scale, 1.0).log_prob(origin)
    assert -float(log_prob[0]) == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize("d", [1, 2, 5, 12])
@pytest.mark.parametrize("c, scale", [(0.0, 0.7), (1.0, 0.05), (1.0, 0.7), (0.3, 1.5)])
def test_riemannian_radii_follow_their_distribution(d, c, scale):
    rows, root = 5000, math.sqrt(c)
    mean = np.tile(np.eye(1, d, dtype="float32") * 0.2, (rows, 1))

    def radii(mean, scales):
        z = RiemannianNormal(mean, scales, c).sample(seed=1)
        return hyperbolic.distance(mean, z, c)[:, 0]

    grid = np.linspace(1e-6, 8 * scale + (d - 1) * root * scale**2 + math.sqrt(d) * scale, 20_001)
    volume = np.sinh(root * grid) / root if c else grid
    log_density = (d - 1) * np.log(volume) - 0.5 * (grid / scale) ** 2
    cumulative = integrate.cumulative_trapezoid(
        np.exp(log_density - log_density.max()), grid, initial=0
    )
    cumulative /= cumulative[-1]
    radius = compute(radii, mean, scales_of(RiemannianNormal, mean, scale))
    assert stats.kstest(radius, lambda r: np.interp(r, grid, cumulative)).pvalue > 1e-3


@pytest.mark.parametrize("c", [0.0, 0.5, 2.0])
def test_wrapped_samples_are_gaussian_in_the_tangent_space(c):
    rows = 5000
    mean = np.tile(MEAN, (rows, 1))
    scale = np.tile(np.array([[0.2, 0.9]], "float32"), (rows, 1))

    def standardized(mean, scale):
        z = WrappedNormal(mean, scale, c).sample(seed=1)
        way = hyperbolic.logarithmic_map(mean, z, c)
        return hyperbolic.conformal_factor(mean, c) * way / scale

    v = compute(standardized, mean, scale)
    for column in v.T:
        assert stats.kstest(column, stats.norm.cdf).pvalue > 1e-3
    assert abs(np.corrcoef(v.T)[0, 1]) < 0.06


@families
@curvatures
def test_draws_come_with_their_densities(family, c):
    q = build(family, points(c, 100, reach=2.0), 0.5, c)
    # The examples are few enough to be constants of a compiled program.
    z, density = compute(lambda: q.sample_with_log_prob(0))
    assert np.array_equal(z, compute(lambda: q.sample(0)))
    exact = compute(q.log_prob, z)
    np.testing.assert_allclose(density, exact, rtol=1e-3, atol=5e-3)
    copies = q.repeat(3)
    assert copies.curvature == q.curvature and copies.mean.shape == (300, 3)
    assert np.array_equal(numpy(copies.mean)[:3], np.tile(numpy(q.mean)[:1], (3, 1)))


@pytest.mark.parametrize("d", [1, 2, 3, 10])
@pytest.mark.parametrize("c, scale", [(0.0, 1.0), (1.0, 0.1), (1.0, 0.8), (0.3, 1.5)])
def test_riemannian_sampler_has_the_gradient_of_its_expectations(d, c, scale):
    """The derivative of E[r^2] by the scale, from draws, equals that of an integral."""
    rows, root = 20_000, math.sqrt(c)
    origin = np.zeros((rows, d), "float32")

    def sampled(scale):
        z = RiemannianNormal(origin, scale, c).sample(seed=2)
        return hyperbolic.distance(origin, z, c) ** 2

    slopes = gradient(sampled, np.full((rows, 1), scale, "float32"))[:, 0].astype("float64")

    def mean_square(scale):
        top = 9 * scale + (d - 1) * root * scale**2 + math.sqrt(d) * scale
        r = np.linspace(1e-7, top, 100_001)
        volume = np.sinh(root * r) / root if c else r
        log_density = (d - 1) * np.log(volume) - 0.5 * (r / scale) ** 2
        density = np.exp(log_density - log_density.max())
        return (density * r**2).sum() / density.sum()

    exact = (mean_square(scale * 1.001) - mean_square(scale * 0.999)) / (0.002 * scale)
    assert abs(slopes.mean() - exact) < 4 * slopes.std() / math.sqrt(rows)


@families
def test_the_density_of_a_draw_has_the_right_gradients(family):
    """Gradients through the noise, and through the point and the parameters, must agree."""
    c, mean = 1.0, np.tile(MEAN, (200, 1))
    scale = np.full((200, 1 if family is RiemannianNormal else 2), 0.5, "float32")

    def by_mean(mean):
        q = family(mean, scale, c)
        return q.log_prob(q.sample(3))  # It depends only on the noise, not on the mean.

    np.testing.assert_allclose(gradient(by_mean, mean), np.zeros_like(mean), atol=1e-3)

    def by_scale(scale, drawn):
        q = family(mean, scale, c)
        z, density = q.sample_with_log_prob(3)
        return density if drawn else q.log_prob(z)

    ways = [gradient(lambda scale, d=d: by_scale(scale, d), scale) for d in (False, True)]
    np.testing.assert_allclose(*ways, rtol=1e-3, atol=1e-3)


@families
def test_without_curvature_the_distributions_are_gaussian(family):
    mean = np.random.default_rng(0).normal(size=(50, 3)).astype("float32")
    x = mean + 0.3 * np.random.default_rng(1).normal(size=(50, 3)).astype("float32")
    # Hyperbolic distances near the origin are twice the Euclidean ones.
    exact = numpy(DiagonalGaussian(2 * mean, np.full((50, 3), 2 * math.log(0.7))).log_prob(2 * x))
    for c in (0.0, 1e-8):
        density = compute(build(family, mean, 0.7, c).log_prob, x)
        np.testing.assert_allclose(density, exact, rtol=1e-4, atol=1e-4)


@families
@pytest.mark.parametrize("scale", [1e-9, 1e-4, 3.0, 1e4])
@pytest.mark.parametrize("c", [0.0, 1e-8, 1.0])
def test_extreme_scales_stay_finite(family, scale, c):
    mean = np.concatenate([np.zeros((4, 3), "float32"), points(c, 4, reach=30.0)])
    scales = numpy(build(family, mean, scale, c).scale)

    def draws(mean, scales):
        z, density = family(mean, scales, c).sample_with_log_prob(0)
        return ops.concatenate([z, density[:, None]], axis=1)

    assert np.isfinite(compute(draws, mean, scales)).all()
    assert np.isfinite(gradient(lambda m: draws(m, scales), mean)).all()
    assert np.isfinite(gradient(lambda s: draws(mean, s), scales)).all()


def ways_by_hyperbolic_functions(x, v, c):
    """Return the tangent vector at the origin that leads where v leads from x."""
    root = math.sqrt(c)
    x, v = x.astype("float64"), v.astype("float64")
    near, far = (np.linalg.norm(a, axis=1, keepdims=True) for a in (x, v))
    u, e, near = x / near, v / far, 2 * np.arctanh(root * near)
    cosine, far = (u * e).sum(1, keepdims=True), root * far
    along = np.cosh(far) * np.sinh(near) + np.sinh(far) * np.cosh(near) * cosine
    y = along * u + np.sinh(far) * (e - cosine * u)
    size = np.linalg.norm(y, axis=1, keepdims=True)
    return np.arcsinh(size) / root * y / size


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("c", [1e-8, 0.3, 1.0, 100.0])
def test_ways_go_beyond_the_rim_and_back(c, d):
    x, generator = points(c, d=d, reach=7.0), np.random.default_rng(1)
    v = generator.normal(size=x.shape)
    v *= generator.uniform(0.1, 40, (len(x), 1)) / np.linalg.norm(v, axis=1, keepdims=True)
    v = (v / math.sqrt(max(c, 1e-2))).astype("float32")
    v[:20] = -v[:20] / np.linalg.norm(v[:20], axis=1, keepdims=True)
    far = hyperbolic.distance(np.zeros_like(x[:20]), x[:20], c)
    v[:20] = -numpy(far) * 1.01 * x[:20] / np.linalg.norm(x[:20], axis=1, keepdims=True)
    found = compute(lambda x, v: hyperbolic._way_there(x, v, c), x, v)
    unit = 1 / math.sqrt(max(c, 1e-2))
    if c == 1e-8:  # At 1e-8 the reference itself has no correct digits.
        np.testing.assert_allclose(found, 2 * x + v, atol=1e-2)
        return
    expected = ways_by_hyperbolic_functions(x, v, c)
    # The direction of the first 20 changes with the last digit.
    rest = slice(None) if d == 1 else slice(20, None)
    np.testing.assert_allclose(found[rest], expected[rest], rtol=2e-3, atol=5e-3 * unit)


RIM = math.tanh(0.5 * 11.5)


@families
@pytest.mark.parametrize("at", [0.0, 0.9, RIM])
@pytest.mark.parametrize("c, scale", [(1.0, 1.0), (1.0, 3.4), (100.0, 0.2), (1e-4, 200.0)])
@pytest.mark.parametrize("d", [1, 2, 4])
def test_draws_follow_the_density_wherever_they_lie(family, d, c, scale, at):
    """Draws have the right distances from the mean, even beyond what float32 coordinates hold."""
    rows, root = 4000, math.sqrt(c)
    mean = np.tile(np.eye(1, d, dtype="float32") * at / root, (rows, 1))
    scales = scales_of(family, mean, scale)
    reach = 9 * scale + (d - 1) * root * scale**2 + math.sqrt(d) * scale
    grid = np.linspace(1e-6, reach, 20_001)
    # This is log(sinh(a)) for arguments at which sinh overflows.
    log_volume = (d - 1) * (root * grid + np.log(-np.expm1(-2 * root * grid)) - math.log(2 * root))
    logs = (d - 1) * np.log(grid) if family is WrappedNormal else log_volume
    density = np.exp(logs - 0.5 * (grid / scale) ** 2 - np.max(logs - 0.5 * (grid / scale) ** 2))
    cumulative = integrate.cumulative_trapezoid(density, grid, initial=0)
    cumulative /= cumulative[-1]

    def draws(mean, scales):
        q = family(mean, scales, c)
        way, log_density = q._draw(1)
        there, again = q.sample_ways(1)
        return there, log_density, again, ops.norm(way, axis=-1), q.log_prob_of_ways(way)

    there, log_density, again, radius, exact = compute(draws, mean, scales)
    assert stats.kstest(radius, lambda r: np.interp(r, grid, cumulative)).pvalue > 1e-3
    np.testing.assert_array_equal(log_density, again)
    np.testing.assert_allclose(log_density, exact, rtol=1e-3, atol=5e-3)
    # The density of the radius integrates to 1.
    inside = np.interp(radius, grid, density / np.trapezoid(density, grid))
    area = math.log(2) + d / 2 * math.log(math.pi) - math.lgamma(d / 2)
    volume = np.interp(radius, grid, log_volume) + area
    thick = inside > 1e-6
    np.testing.assert_allclose(
        (log_density + volume)[thick], np.log(inside[thick]), rtol=1e-3, atol=2e-2
    )
    # Distances from the origin satisfy the triangle inequality in both directions.
    to_mean = 2 * math.atanh(at) / root
    length = np.linalg.norm(there, axis=1)
    slack = 0.02 / root + 1e-5 * (radius + to_mean)
    assert (length <= radius + to_mean + slack).all()
    assert (length >= np.abs(radius - to_mean) - slack).all()


@families
@pytest.mark.parametrize("at", [0.0, 0.9, RIM])
@pytest.mark.parametrize("c, scale", [(1.0, 3.4), (1.0, 30.0), (100.0, 0.8), (1e-4, 1e4), (0.0, 9)])
@pytest.mark.parametrize("d", [1, 2, 5])
def test_draws_beyond_float32_coordinates_come_with_densities(family, d, c, scale, at):
    directions = np.random.default_rng(0).normal(size=(500, d))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    mean = (at / math.sqrt(c or 1.0) * directions).astype("float32")

    def draws(mean, scales):
        q = family(mean, scales, c)
        z, density = q.sample_with_log_prob(0)
        return z, density, q.log_prob(z), q.sample(0)

    z, density, exact, alone = compute(draws, mean, scales_of(family, mean, scale))
    np.testing.assert_array_equal(z, alone)
    np.testing.assert_allclose(density, exact, rtol=2e-3, atol=0.1)


@families
def test_points_beyond_the_rim_have_densities(family):
    for c, at in ((1.0, RIM), (100.0, RIM), (1.0, 0.0)):
        mean = np.tile(np.eye(1, 2, dtype="float32") * at / math.sqrt(c), (500, 1))
        scales = scales_of(family, mean, 3.0 / math.sqrt(c))

        def density(mean, scales, c=c):
            q = family(mean, scales, c)
            return q.log_prob(q.sample(0)), q.sample_with_log_prob(0)[1]

        assert all(np.isfinite(value).all() for value in compute(density, mean, scales))


@families
def test_a_value_that_would_broadcast_is_refused(family):
    with pytest.raises(ValueError, match="x has shape"):
        build(family, np.zeros((3, 2)), 1.0, 1.0).log_prob(np.zeros((3, 1)))


# ------------------------------------------------------------------ the model


def poincare(**given):
    model = keras_ae.PoincareVAE(2, **zoo.OPTIONS | given)
    model.compile(keras.optimizers.Adam(0.1))
    return model


@pytest.mark.parametrize("c, tolerance", [(0.0, 1e-5), (1e-8, 1e-3)])
def test_without_curvature_the_model_is_a_vae(c, tolerance):
    x = zoo.data()
    flat = keras_ae.VAE(2, **zoo.OPTIONS)
    flat.build((None, 6))
    curved = poincare(curvature=c)
    curved.build((None, 6))
    curved.set_weights(flat.get_weights())
    q = flat.posterior(x)
    z = q.sample(7)
    reconstruction = -numpy(flat.conditional(z).log_prob(x))
    divergence = numpy(q.log_prob(z) - flat.prior(z).log_prob(z))

    curved.step_seed = lambda training: 7
    terms = {k: numpy(v) for k, v in curved.loss_terms(x, x, training=False).items()}
    np.testing.assert_allclose(terms["reconstruction_loss"], reconstruction, atol=tolerance)
    np.testing.assert_allclose(terms["kl_loss"], divergence, atol=tolerance)
    np.testing.assert_allclose(curved.encode(x), 0.5 * flat.encode(x), atol=tolerance)


@pytest.mark.parametrize("posterior", ["wrapped", "riemannian"])
def test_the_divergence_of_the_model_by_hand(posterior):
    """The divergence is the mean of log q - log p over many draws, which all lie in the ball."""
    model = poincare(curvature=1.3, posterior=posterior, prior_scale=0.7)
    x = zoo.data(16)
    model.fit(x, epochs=3, verbose=0)

    def draws(x):
        z, log_posterior = model.posterior(x).repeat(500).sample_with_log_prob(0)
        by_distance = hyperbolic.distance(ops.zeros_like(z), z, 1.3)[:, 0]
        return z, log_posterior, model.prior(z).log_prob(z), by_distance

    z, log_posterior, log_prior, by_distance = compute(draws, x)
    assert (1.3 * np.square(z).sum(1)).max() < 1
    if posterior == "riemannian":
        free = log_prior + 0.5 * (by_distance / 0.7) ** 2
        np.testing.assert_allclose(free, free[0], atol=1e-4)
    ratios = (log_posterior - log_prior).reshape(16, 500)
    error = ratios.std(axis=1) / np.sqrt(500)
    assert (ratios.mean(axis=1) > -4 * error).all()
    codes = compute(lambda: model._draw_prior(1000, seed=0))
    assert (1.3 * np.square(codes).sum(1)).max() < 1


@pytest.mark.parametrize(
    "given, expected",
    [
        ({"latent_dim": 16}, 1.0),
        ({"latent_dim": 16, "posterior": "riemannian"}, 0.5 * np.sqrt(hyperbolic.MAX_RADIUS / 16)),
        ({"latent_dim": 2, "posterior": "riemannian"}, 1.0),
        ({"latent_dim": 400}, hyperbolic.MAX_RADIUS / 20),
        ({"latent_dim": 16, "curvature": 100.0}, hyperbolic.MAX_RADIUS / 40),
        ({"latent_dim": 400, "curvature": 0.0, "posterior": "riemannian"}, 1.0),
    ],
)
def test_the_default_scale_suits_every_number_of_dimensions(given, expected):
    model = keras_ae.PoincareVAE(**given)
    assert model.prior_scale == pytest.approx(expected)
    assert keras_ae.PoincareVAE.from_config(model.get_config()).prior_scale == model.prior_scale
    with pytest.raises(ValueError, match="cannot be changed to 0.1.*Make a new model"):
        model.prior_scale = 0.1


def test_blank_pictures_and_a_large_rate_give_numbers():
    """This tests the other posterior; `test_variational_zoo.py` tests the default one."""
    model = poincare(posterior="riemannian")
    model.compile(keras.optimizers.Adam(0.01))
    zoo.assert_trains_on_blank_pictures(model)
    blank = np.zeros((4, 6), "float32")
    assert np.all(np.isfinite(model.log_likelihood(blank, num_samples=16, seed=0)))
    assert np.all(np.isfinite(model.sample(4, seed=0)))


def test_data_is_decoded_from_where_draws_lie():
    """With a wide prior, a third of the draws lie beyond what the ball's coordinates can hold."""
    model = poincare(prior_scale=8.0)
    model.build((None, 6))
    way = numpy(model.sampler.sample(500, seeds.draw(model, 3)))
    far = np.linalg.norm(way, axis=1) > hyperbolic.MAX_RADIUS
    assert 0.1 < far.mean() < 0.6
    found = model.sample(500, seed=3)
    np.testing.assert_allclose(found, numpy(ops.sigmoid(model.decoder(way))), atol=1e-5)
    near = model.decode(numpy(model._draw_prior(500, seeds.draw(model, 3))))
    np.testing.assert_allclose(found[~far], near[~far], atol=1e-2)
    assert np.abs(found[far] - near[far]).max() > 1e-2


def test_any_code_is_decoded():
    model = zoo.trained("PoincareVAE")
    codes = np.array([[0, 0], [1, 1], [-1e6, 3], [1e-20, 0]], "float32")
    assert np.isfinite(model.decode(codes)).all()


@pytest.mark.parametrize(
    "given, message",
    [
        ({"curvature": -1.0}, "curvature=-1.0 must be a number of at least 0"),
        ({"posterior": "flat"}, "posterior='flat' must be"),
        ({"prior_scale": 0.0}, "prior_scale=0.0 must be a positive number"),
        ({"prior_scale": 20.0}, "Pass a prior_scale of at most 8.63, or a curvature"),
    ],
)
def test_wrong_arguments_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        poincare(**given)
