"""Flows: log-determinants compared with Jacobians by automatic differentiation, and inverses."""

import keras
import numpy as np
import pytest
import zoo
from keras import ops
from scipy import optimize
from scipy.stats import norm

from keras_ae import flows
from keras_ae.core import backend
from keras_ae.distributions import DiagonalGaussian, TransformedGaussian
from keras_ae.layers import InverseAutoregressiveFlow

pytestmark = pytest.mark.formula

BATCH, SIZE = 6, 3


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def draw(seed, *shape, scale=1.5):
    values = np.random.default_rng(seed).normal(size=(BATCH, *shape)) * scale
    return ops.convert_to_tensor(values.astype("float32"))


def iaf(reverse):
    keras.utils.set_random_seed(0)
    flow = InverseAutoregressiveFlow(units=16, reverse=reverse)
    context = draw(9, 2)
    flow(draw(0, SIZE), context)
    flow.last.assign(4 * flow.last)  # The initial flow is close to the identity.
    return lambda z: flow(z, context), lambda y: flow.inverse(y, context)


PARAMETERS = {
    "planar": [(SIZE,), (SIZE,), (1,)],
    "radial": [(SIZE,), (1,), (1,)],
    "sylvester": [(2, SIZE), (SIZE, SIZE), (SIZE, SIZE), (SIZE,)],
}
FLOWS = [*PARAMETERS, "iaf", "iaf reversed"]


def parameters_of(name):
    return [draw(seed, *shape) for seed, shape in enumerate(PARAMETERS[name], 1)]


def flow_of(name):
    if name.startswith("iaf"):
        return iaf(reverse=name != "iaf")[0]
    parameters = parameters_of(name)
    return lambda z: getattr(flows, name)(z, *parameters)


def jacobians_of(flow, z):
    """Return the flow's Jacobians of shape (batch, output, input)."""
    moved, pull = backend.pullback(lambda z: flow(z)[0], z)
    units = ops.eye(SIZE, dtype="float32")
    rows = [pull(ops.ones_like(moved) * units[i]) for i in range(SIZE)]
    return ops.stack(rows, axis=1)


@pytest.mark.parametrize("name", FLOWS)
def test_the_log_determinant_is_that_of_the_jacobian(name):
    flow, z = flow_of(name), draw(0, SIZE)
    jacobians, found = zoo.compute(lambda z: (jacobians_of(flow, z), flow(z)[1]), z)
    sign, expected = np.linalg.slogdet(jacobians.astype("float64"))
    assert np.all(sign == 1) and np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize("name", FLOWS)
def test_a_flow_moves_the_density(name):
    """In one dimension, the density of the moved draws integrates to 1."""
    if name.startswith("iaf"):
        keras.utils.set_random_seed(0)
        layer = InverseAutoregressiveFlow(units=4)

        def flow(z):
            return layer(z, 0.0 * z)
    else:
        rng = np.random.default_rng(5)
        # The shapes are the same, with one dimension instead of three.
        shapes = [tuple(min(n, 1) if n == SIZE else n for n in s) for s in PARAMETERS[name]]
        values = [rng.normal(size=(1, *shape)).astype("float32") for shape in shapes]

        def flow(z):
            return getattr(flows, name)(z, *(ops.repeat(v, len(z), axis=0) for v in values))

    z = np.linspace(-9, 9, 4001, dtype="float32")[:, None]
    moved, log_determinant = zoo.compute(flow, z)
    density = norm.pdf(z[:, 0]) * np.exp(-log_determinant)
    assert np.all(np.diff(moved[:, 0]) > 0)  # The flow is monotone, so it has an inverse.
    assert np.trapezoid(density, moved[:, 0]) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("reverse", [False, True])
def test_the_autoregressive_flow_has_an_inverse(reverse):
    flow, inverse = iaf(reverse)
    z = draw(0, SIZE)
    moved, _ = flow(z)
    np.testing.assert_allclose(numpy(inverse(moved)), numpy(z), atol=1e-3)
    np.testing.assert_allclose(numpy(flow(inverse(z))[0]), numpy(z), atol=1e-3)
    assert np.abs(numpy(moved) - numpy(z)).max() > 0.1


@pytest.mark.parametrize("reverse", [False, True])
def test_a_dimension_depends_on_those_before_it(reverse):
    flow, _ = iaf(reverse)
    z = draw(0, SIZE)
    jacobians = zoo.compute(lambda z: jacobians_of(flow, z), z)
    triangle = np.tril(jacobians) if not reverse else np.triu(jacobians)
    np.testing.assert_array_equal(jacobians, triangle)
    below = jacobians[:, 2, 0] if not reverse else jacobians[:, 0, 2]
    assert np.all(below != 0)


@pytest.mark.parametrize("name", ["planar", "radial"])
def test_the_classic_flows_have_an_inverse(name):
    """A root finder finds it: each flow moves codes along one line, on which it is monotone."""
    parameters = parameters_of(name)
    flow = getattr(flows, name)
    z = numpy(draw(0, SIZE))
    moved = numpy(flow(ops.convert_to_tensor(z), *parameters)[0])
    pieces = [numpy(p) for p in parameters]
    for row in range(BATCH):
        given = [ops.convert_to_tensor(p[row : row + 1]) for p in pieces]
        direction = moved[row] - z[row]

        def miss(t, row=row, given=given, direction=direction):
            w = (moved[row] - t * direction).astype("float32")[None]
            f = numpy(flow(ops.convert_to_tensor(w), *given)[0])[0]
            return float((f - moved[row]) @ direction)

        root = optimize.brentq(miss, -3.0, 5.0, xtol=1e-6)
        np.testing.assert_allclose(moved[row] - root * direction, z[row], atol=2e-3)


def test_reflections_are_orthogonal():
    """With R and S multiples of the identity and no bias, the effect of Q is known."""
    z = draw(0, SIZE)
    eye = np.broadcast_to(np.eye(SIZE, dtype="float32"), (BATCH, SIZE, SIZE))
    zeros = np.zeros((BATCH, SIZE), "float32")
    reflections = draw(1, 2, SIZE)
    moved, log_determinant = flows.sylvester(z, reflections, eye, eye, zeros)
    # NumPy computes the same from Q, which is the product of the reflections.
    for row in range(BATCH):
        q = np.eye(SIZE)
        for normal in numpy(reflections)[row]:
            q = q @ (np.eye(SIZE) - 2 * np.outer(normal, normal) / (normal @ normal))
        np.testing.assert_allclose(q @ q.T, np.eye(SIZE), atol=1e-6)
        t = np.tanh(1.0)
        bent = np.tanh(t * q.T @ numpy(z)[row])
        np.testing.assert_allclose(numpy(moved)[row], numpy(z)[row] + q @ (t * bent), atol=1e-4)
        expected = np.log(1 + (1 - bent**2) * t**2).sum()
        assert numpy(log_determinant)[row] == pytest.approx(expected, abs=1e-4)


def test_a_transformed_gaussian_knows_the_density_of_its_draws():
    """An affine map of a Gaussian is a Gaussian, whose density is known."""
    base = DiagonalGaussian(numpy(draw(0, SIZE)), numpy(draw(1, SIZE)))
    scale, shift = 2.0, 0.5

    def affine(z, offset):
        return scale * z + offset, 0.0 * z[:, 0] + SIZE * np.log(scale)

    offset = ops.full((BATCH, SIZE), shift)
    q = TransformedGaussian(base, affine, (offset,)).repeat(4)
    z, log_density = (numpy(v) for v in q.sample_with_log_prob(0))
    mean = np.repeat(scale * numpy(base.mean) + shift, 4, axis=0)
    deviation = np.repeat(scale * np.exp(0.5 * numpy(base.log_variance)), 4, axis=0)
    np.testing.assert_allclose(log_density, norm.logpdf(z, mean, deviation).sum(axis=1), rtol=1e-4)
    np.testing.assert_allclose(numpy(q.mean), mean, rtol=1e-5)
    assert len(np.unique(z.round(5), axis=0)) == 4 * BATCH


def test_the_divergence_is_estimated_with_little_variance():
    """The estimate has the mean of log q - log p, and is exact if the map is the identity."""
    rows = 40_000
    mean = np.tile(draw(0, SIZE)[:1], (rows, 1))
    base = DiagonalGaussian(mean, np.full_like(mean, -1.0))
    still = TransformedGaussian(base, lambda z: (z, 0 * z[:, 0]), ())
    np.testing.assert_allclose(numpy(still.sample_with_kl(0)[1]), numpy(base.kl()), rtol=1e-5)
    parameters = [
        np.tile(p[:1], (rows, *[1] * (len(p.shape) - 1))) for p in parameters_of("planar")
    ]
    q = TransformedGaussian(base, flows.planar, parameters)
    z, log_density = q.sample_with_log_prob(seed=1)
    plain = numpy(log_density - DiagonalGaussian.standard(z).log_prob(z))
    found = numpy(q.sample_with_kl(seed=2)[1])
    assert abs(found.mean() - plain.mean()) < 4 * np.hypot(found.std(), plain.std()) / rows**0.5
    assert found.std() < 0.7 * plain.std()


# ------------------------------------------------------------------ extreme parameters

# Pairs of a flow's name and the scale of each of its parameters.
EXTREMES = [
    *(("planar", (1.0, w, 1.0)) for w in (0.0, 1e-30, 1e-19, 1e-10, 1e-3, 0.03, 0.06, 0.2, 30.0)),
    *(("planar", (u, 1e-2, 1.0)) for u in (1e3, 1e6)),
    *(("radial", (1.0, width, 1.0)) for width in (-100.0, -30.0, 30.0)),
    *(("radial", (1.0, 1.0, strength)) for strength in (-100.0, -30.0, 30.0)),
    *(("sylvester", (q, 1.0, 1.0, 1.0)) for q in (0.0, 1e-38, 1e-20, 1e-10, 1e-4, 1e-2, 1e18)),
]


def extreme(name, scales):
    """Return the flow's parameters; widths and strengths of a radial flow equal their scales."""
    found = [
        draw(seed, *shape, scale=scale)
        for seed, (shape, scale) in enumerate(zip(PARAMETERS[name], scales, strict=True), 1)
    ]
    if name == "radial":
        found[1:] = [ops.zeros_like(p) + s for p, s in zip(found[1:], scales[1:], strict=True)]
    return found


@pytest.mark.parametrize(("name", "scales"), EXTREMES, ids=str)
def test_extreme_flows_have_their_determinant_and_gradients(name, scales):
    parameters, z = extreme(name, scales), draw(0, SIZE)

    def flow(z):
        return getattr(flows, name)(z, *parameters)

    jacobians, moved, found = zoo.compute(lambda z: (jacobians_of(flow, z), *flow(z)), z)
    sign, expected = np.linalg.slogdet(jacobians.astype("float64"))
    # The comparison leaves out Jacobians that are nearly singular or have large entries, because
    # float32 keeps too few digits of them.
    told = (np.abs(expected) < 8) & (np.abs(jacobians).max(axis=(1, 2)) < 100)
    np.testing.assert_allclose(found[told], expected[told], atol=1e-3)
    assert np.all(sign[told] == 1) and np.all(np.isfinite(found)) and np.all(np.isfinite(moved))
    for place in range(len(parameters) + 1):
        given = [z, *parameters]

        def total(value, place=place, given=given):
            moved, determinant = getattr(flows, name)(*given[:place], value, *given[place + 1 :])
            return ops.sum(moved) + ops.sum(determinant)

        assert np.all(np.isfinite(zoo.gradient(total, numpy(given[place])))), place


@pytest.mark.every_backend
@pytest.mark.parametrize("length", [0.0, 1e-30, 1e-15, 1e-10, 1e-8, 1e-4])
def test_a_short_normal_has_a_gradient_where_all_parameters_are_variables(length):
    """With variables the compiler folds no constants, so the squared reciprocal could overflow."""
    shapes = (SIZE, SIZE, SIZE, 1)
    ends = np.cumsum(shapes)[:-1].tolist()

    def total(packed):
        moved, determinant = flows.planar(*ops.split(packed, ends, axis=1))
        return ops.sum(moved, axis=1) + determinant

    scales = (1.0, 1.0, length, 1.0)
    pairs = enumerate(zip(shapes, scales, strict=True))
    pieces = [numpy(draw(seed, size, scale=scale)) for seed, (size, scale) in pairs]
    assert np.all(np.isfinite(zoo.gradient(total, np.concatenate(pieces, axis=1))))


@pytest.mark.parametrize("length", [0.0, 1e-20, 1e-8, 1e-4, 1e-2, 0.05])
def test_a_short_normal_moves_codes_no_farther_than_its_direction(length):
    z, direction = draw(0, SIZE), draw(1, SIZE)
    moved, _ = flows.planar(z, direction, draw(2, SIZE, scale=length), draw(3, 1))
    distance = np.linalg.norm(numpy(moved) - numpy(z), axis=1)
    assert np.all(distance < np.linalg.norm(numpy(direction), axis=1) + 6)


@pytest.mark.parametrize("scale", [5.0, 30.0])
def test_steep_sylvester_flows_by_numpy(scale):
    """NumPy computes in float64, because such Jacobians look singular in float32."""
    z, reflections, bias = draw(0, SIZE), draw(1, 2, SIZE), draw(4, SIZE)
    upper, lower = draw(2, SIZE, SIZE, scale=scale), draw(3, SIZE, SIZE, scale=scale)
    found = numpy(flows.sylvester(z, reflections, upper, lower, bias)[1])
    arrays = (numpy(v).astype("float64") for v in (z, reflections, upper, lower, bias))
    for row, (point, normals, r, s, b) in enumerate(zip(*arrays, strict=True)):
        q = np.eye(SIZE)
        for normal in normals:
            q = q @ (np.eye(SIZE) - 2 * np.outer(normal, normal) / (normal @ normal))
        r, s = (np.triu(m, 1) + np.diag(np.tanh(np.diag(m))) for m in (r, s))
        slope = np.cosh(np.clip(s @ q.T @ point + b, -300, 300)) ** -2.0
        _, expected = np.linalg.slogdet(np.eye(SIZE) + q @ r @ np.diag(slope) @ s @ q.T)
        assert found[row] == pytest.approx(expected, abs=5e-3)


@pytest.mark.every_backend
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("size", "units"), [(1, 1), (2, 1), (7, 1), (7, 3), (7, 6), (7, 20)])
def test_every_dimension_depends_on_all_before_it(size, units, reverse):
    keras.utils.set_random_seed(0)
    flow = InverseAutoregressiveFlow(units, reverse=reverse)
    z, context = draw(0, size), draw(9, 2)
    flow(z, context)
    for seed, weight in enumerate(flow.trainable_variables):
        weight.assign(weight + 0.3 * np.random.default_rng(seed).normal(size=weight.shape))

    def found_by_rows(z):
        moved, pull = backend.pullback(lambda z: flow(z, context)[0], z)
        eye = ops.eye(size, dtype="float32")
        return ops.stack([pull(ops.ones_like(moved) * eye[i]) for i in range(size)], axis=1)

    jacobians, (moved, found) = zoo.compute(lambda z: (found_by_rows(z), flow(z, context)), z)
    _, expected = np.linalg.slogdet(jacobians.astype("float64"))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    before = np.tril(np.ones((size, size)), -1) > 0
    before = before.T if reverse else before
    depends = np.abs(jacobians).max(axis=0) > 0
    np.testing.assert_array_equal(depends, before | np.eye(size, dtype=bool))
    np.testing.assert_allclose(numpy(flow.inverse(moved, context)), numpy(z), atol=1e-2)


def test_a_flow_of_few_units_from_an_old_file_computes_as_before(tmp_path):
    """Such a file has no direct connections, so they become 0."""
    flow = InverseAutoregressiveFlow(2)
    flow(draw(0, 5))
    store = {str(i): numpy(v) for i, v in enumerate(flow.weights[:-1])}
    flow.load_own_variables(store)
    assert not np.any(numpy(flow.direct))
    assert np.any(numpy(flow.last))
