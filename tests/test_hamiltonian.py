"""Hamiltonian dynamics keep volume, can be reversed, and raise the bound to the likelihood."""

import keras
import numpy as np
import pytest
import zoo
from keras import ops
from scipy.stats import kstest, multivariate_normal, norm

import keras_ae
from keras_ae import likelihoods
from keras_ae.core import backend, seeds
from keras_ae.core.seeds import RunSeed
from keras_ae.hamiltonian import LearnedMetric, inverse_root

pytestmark = pytest.mark.formula

SIZE, WIDTH = 2, 6
SEED = np.array([3, 0]).astype(backend.SEED_DTYPE)


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def built(**given):
    model = zoo.eager("HamiltonianVAE", keras.optimizers.SGD(0.0), **given)
    model.build((None, WIDTH))
    return model


def state(batch, seed=0):
    rng = np.random.default_rng(seed)
    z, momentum = rng.normal(size=(2, batch, SIZE)).astype("float32")
    return ops.convert_to_tensor(z), ops.convert_to_tensor(momentum)


def untempered(model):
    model._tempering_logit.assign(100.0)  # This means beta_0 = 1.
    return model


def test_the_leapfrog_is_reversible():
    model = untempered(built(num_steps=5, step_size=0.2))
    y = ops.convert_to_tensor(zoo.data(8))
    z, momentum = map(numpy, state(8))
    end, turned = zoo.compute(lambda *given: model._follow_path(*given, y), z, momentum)
    assert np.abs(end - z).max() > 0.5
    back, returned = zoo.compute(lambda *given: model._follow_path(*given, y), end, -turned)
    np.testing.assert_allclose(back, z, atol=1e-4)
    np.testing.assert_allclose(-returned, momentum, atol=1e-4)


def jacobian_of(flow, point, step=1e-2):
    """Return the Jacobian of `flow` by differences; all points are computed in one batch."""
    ends = np.concatenate([point + step * np.eye(4), point - step * np.eye(4)])
    above, below = np.split(zoo.compute(flow, ends.astype("float32")).astype("float64"), 2)
    return (above - below).T / (2 * step)


@pytest.mark.parametrize("num_steps", [1, 4])
@pytest.mark.parametrize("tempering", [0.3, 1.0])
def test_the_log_determinant_comes_only_from_tempering(num_steps, tempering):
    """log |det| = (d / 2) log beta_0, which cancels against the density of g / sqrt(beta_0)."""
    model = built(num_steps=num_steps, step_size=0.2, tempering=min(tempering, 0.9))
    if tempering == 1.0:
        untempered(model)
    y = ops.convert_to_tensor(zoo.data(1))
    z, momentum = (numpy(v)[0] for v in state(1))
    base = np.concatenate([z, momentum])

    def flow(values):
        z, momentum = ops.split(values, 2, axis=1)
        return ops.concatenate(model._follow_path(z, momentum, ops.repeat(y, 8, axis=0)), axis=1)

    sign, log_determinant = np.linalg.slogdet(jacobian_of(flow, base))
    assert sign == 1
    assert log_determinant == pytest.approx(0.5 * SIZE * np.log(tempering), abs=2e-3)


def test_the_temperatures_follow_the_quadratic_scheme():
    model = built(num_steps=4, tempering=0.25)
    found = [float(ops.convert_to_numpy(v)) for v in model._temperatures()]
    expected = [1 / ((1 - 2.0) * (k / 4) ** 2 + 2.0) for k in range(5)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found[0] == pytest.approx(0.5) and found[-1] == pytest.approx(1.0)


def test_small_steps_keep_the_energy():
    model = untempered(built(num_steps=20, step_size=0.02, max_step_size=0.1))
    x = zoo.data(8)
    z, momentum = state(8)

    def energy(z, momentum):
        density = model.conditional(z).log_prob(ops.convert_to_tensor(x))
        return numpy(density) + norm.logpdf(numpy(z)).sum(1) + norm.logpdf(numpy(momentum)).sum(1)

    end = model._follow_path(z, momentum, ops.convert_to_tensor(x))
    assert np.abs(numpy(end[0]) - numpy(z)).max() > 0.2
    np.testing.assert_allclose(energy(*end), energy(z, momentum), atol=5e-3)


def linear_model(num_steps):
    """Return a model with p(x | z) = N(z, 1), so that p(x) is exactly N(0, 2)."""
    model = keras_ae.HamiltonianVAE(
        SIZE,
        num_steps=num_steps,
        step_size=0.3 if num_steps else 0.05,
        likelihood=likelihoods.Gaussian(1.0),
        network_options={"units": ()},
        seed=0,
    )
    model.compile(keras.optimizers.SGD(0.0))
    model.build((None, SIZE))
    kernel, bias = model.decoder.trainable_variables
    kernel.assign(np.eye(SIZE))
    bias.assign(np.zeros(SIZE))
    head, offset = model.features_to_code.trainable_variables
    head.assign(np.zeros(head.shape))  # q(z0 | x) becomes the prior, far from the posterior.
    offset.assign(np.zeros(offset.shape))
    return model


def test_the_bound_rises_with_the_steps_and_stays_below_the_likelihood():
    x = np.random.default_rng(0).normal(size=(400, SIZE), scale=2**0.5).astype("float32") + 1.0
    exact = multivariate_normal(np.zeros(SIZE), 2 * np.eye(SIZE)).logpdf(x).mean()
    bounds = []
    for num_steps in (0, 1, 4):
        model = linear_model(num_steps)
        logs = model.evaluate(np.tile(x, (20, 1)), batch_size=400, verbose=0, return_dict=True)
        bounds.append(-logs["loss"])
        estimate = model.log_likelihood(x, num_samples=500, seed=0).mean()
        assert estimate == pytest.approx(exact, abs=0.03)
    assert bounds[0] + 0.02 < bounds[1] and bounds[1] + 0.1 < bounds[2] < exact, bounds


def test_the_step_sizes_and_the_temperature_are_learned():
    model = zoo.compiled("HamiltonianVAE")
    model.build((None, WIDTH))
    before = [v.numpy().copy() for v in (model._step_logits, model._tempering_logit)]
    model.fit(zoo.data(), epochs=2, batch_size=16, verbose=0)
    for variable, value in zip((model._step_logits, model._tempering_logit), before, strict=True):
        assert np.all(variable.numpy() != value)


# ------------------------------------------------------------------ on a manifold


def riemannian(**given):
    options = {"num_steps": 2, "num_anchors": 6, "step_size": 0.1} | given
    model = zoo.eager("RiemannianHamiltonianVAE", keras.optimizers.SGD(0.0), **options)
    model.build((None, WIDTH))
    model.anchors.assign(zoo.data(options["num_anchors"], seed=3))
    return model


def metric_by_numpy(model, z):
    """Compute eq. 7 of arXiv:2105.00026 from the anchors' codes and matrices."""
    metric = model._metric()
    codes, matrices = numpy(metric.codes), numpy(metric.matrices)
    weights = np.exp(-((z[:, None] - codes) ** 2).sum(axis=2) / model.temperature**2)
    inverse = np.einsum("bn,nij->bij", weights, matrices)
    return inverse + model.regularization * np.eye(SIZE)


def test_the_metric_by_hand_and_positive_definite():
    model = riemannian()
    z = np.random.default_rng(0).normal(size=(50, SIZE)).astype("float32") * 3
    found = numpy(model._metric().inverse(ops.convert_to_tensor(z)))
    np.testing.assert_allclose(found, metric_by_numpy(model, z), rtol=1e-4, atol=1e-6)
    # The matrices are positive semi-definite, so the multiple of the identity is a lower bound.
    assert np.linalg.eigvalsh(found).min() > 0.999 * model.regularization


def test_the_metrics_root_is_the_inverse_of_the_cholesky_factor():
    rng = np.random.default_rng(0)
    square = rng.normal(size=(7, 5, 5))
    matrices = (square @ square.transpose(0, 2, 1) + 0.1 * np.eye(5)).astype("float32")
    root = numpy(inverse_root(ops.convert_to_tensor(matrices)))
    np.testing.assert_allclose(root, np.linalg.inv(np.linalg.cholesky(matrices)), atol=2e-3)
    np.testing.assert_allclose(
        root @ matrices @ root.transpose(0, 2, 1), np.tile(np.eye(5), (7, 1, 1)), atol=1e-3
    )


def test_the_covariance_of_momenta_is_the_metric():
    model = riemannian()
    point = np.random.default_rng(1).normal(size=(1, SIZE)).astype("float32")
    z = np.repeat(point, 20_000, axis=0)
    noise = np.random.default_rng(2).normal(size=z.shape).astype("float32")
    tensors = [ops.convert_to_tensor(v) for v in (z, noise)]
    momentum = numpy(model._metric().momentum(*tensors))
    covariance = np.linalg.inv(metric_by_numpy(model, point)[0])
    np.testing.assert_allclose(np.cov(momentum.T), covariance, rtol=0.05, atol=0.05)
    drawn = ops.convert_to_tensor(momentum)
    found = numpy(model._metric().momentum_log_prob(tensors[0], drawn))
    expected = multivariate_normal(np.zeros(SIZE), covariance).logpdf(momentum)
    np.testing.assert_allclose(found, expected, atol=1e-2)


def test_the_generalized_leapfrog_is_reversible_and_keeps_volume():
    model = untempered(riemannian(num_steps=3, step_size=0.05))
    y = ops.convert_to_tensor(zoo.data(1))
    z, momentum = map(numpy, state(1))

    def flow(values):
        z, momentum = ops.split(values, 2, axis=1)
        given = ops.repeat(y, len(values), axis=0)
        return ops.concatenate(model._follow_path(z, momentum, given), axis=1)

    base = np.concatenate([z[0], momentum[0]])
    (end,) = zoo.compute(flow, base[None])
    assert np.abs(end - base)[:SIZE].max() > 0.05
    turn = np.repeat([1, -1], SIZE).astype("float32")
    (back,) = zoo.compute(flow, turn * end[None])
    np.testing.assert_allclose(turn * back, base, atol=1e-4)
    sign, log_determinant = np.linalg.slogdet(jacobian_of(flow, base))
    assert sign == 1 and log_determinant == pytest.approx(0.0, abs=3e-3)


def test_a_flat_metric_is_the_hamiltonian_vae():
    """With G = 1, and anchors too far away to matter, the two bounds are the same."""
    flat = riemannian(temperature=1e-3, regularization=1.0)
    plain = built(num_steps=2, step_size=0.1)
    for part in ("encoder", "features_to_code", "decoder"):
        getattr(plain, part).set_weights(getattr(flat, part).get_weights())
    x = ops.convert_to_tensor(zoo.data(8))
    parts = [
        m._importance_terms(m.posterior(x), x, 1, keras.random.SeedGenerator(5))
        for m in (plain, flat)
    ]
    for ours, theirs in zip(*parts, strict=True):
        np.testing.assert_allclose(numpy(theirs), numpy(ours), atol=1e-4)


@pytest.mark.every_backend
def test_anchors_are_the_latest_examples():
    model = riemannian(num_steps=1)
    x = zoo.data(12, seed=7)
    model.train_on_batch(x[:4])
    np.testing.assert_array_equal(model.anchors.numpy()[:4], x[:4])
    np.testing.assert_array_equal(model.anchors.numpy()[4:], zoo.data(6, seed=3)[:2])
    model.train_on_batch(x[4:8])
    np.testing.assert_array_equal(model.anchors.numpy(), np.concatenate([x[4:8], x[:2]]))
    model.test_on_batch(x[8:])
    np.testing.assert_array_equal(model.anchors.numpy()[:4], x[4:8])


@pytest.mark.every_backend
def test_a_batch_of_more_examples_than_anchors():
    # It has ten anchors, and trained on batches of 16.
    model = zoo.trained("RiemannianHamiltonianVAE")
    anchors = {tuple(row) for row in model.anchors.numpy()}
    assert len(anchors) > 1 and anchors <= {tuple(row) for row in zoo.data()}


STEPS = [
    {"step_size": 0.05},
    {"step_size": 0.49},
    {"step_size": 90.0, "max_step_size": 100.0},
    {"step_size": 0.3, "temperature": 0.3},
    {"step_size": 0.3, "regularization": 1e-3},
]


@pytest.mark.parametrize("name", ["HamiltonianVAE", "RiemannianHamiltonianVAE"])
@pytest.mark.parametrize("given", STEPS, ids=str)
def test_every_path_is_reversible_and_keeps_volume_at_any_step_size(name, given):
    """This includes steps that are refused: without a solution, or with an exploding energy."""
    if name == "HamiltonianVAE":
        if not given.keys() <= {"step_size", "max_step_size"}:
            pytest.skip("this model has no metric")
        model = untempered(built(num_steps=3, **given))
    else:
        model = untempered(riemannian(num_steps=3, **given))
    y = ops.convert_to_tensor(zoo.data(1))
    starts = np.concatenate(state(2_000, seed=4), axis=1)

    def flow(values):
        z, momentum = ops.split(values, 2, axis=1)
        return ops.concatenate(
            model._follow_path(z, momentum, ops.repeat(y, len(values), axis=0)), axis=1
        )

    turn = np.repeat([1, -1], SIZE).astype("float32")
    ends = zoo.compute(flow, starts)
    assert np.isfinite(ends).all()
    errors = np.abs(turn * zoo.compute(flow, turn * ends) - starts).max(axis=1)
    # Rounding decides whether a step at the limits is taken: of 20,000 paths, at most nine had one.
    assert np.mean(errors > 2e-3) <= 2e-3
    ends, starts = ends[:20], starts[:20]
    if given["step_size"] < 1:
        assert np.mean(np.abs(ends - starts)[:, :SIZE].max(axis=1) > 0.02) > 0.2
    shifts = 5e-4 * np.concatenate([np.eye(4), -np.eye(4)])
    moved = (starts[:, None] + shifts).reshape(-1, 4).astype("float32")
    above, below = np.split(zoo.compute(flow, moved).astype("float64").reshape(-1, 8, 4), 2, axis=1)
    determinants = np.abs(np.linalg.det((above - below) / 1e-3))
    np.testing.assert_allclose(np.sort(determinants)[1:-1], 1.0, atol=1e-2)


def test_the_gradient_of_a_path_is_that_of_its_end():
    model = untempered(riemannian(num_steps=2, step_size=0.2))
    y, (z, momentum) = ops.convert_to_tensor(zoo.data(12)), map(numpy, state(12, seed=1))
    momentum = 0.3 * momentum

    def end(z):
        moved, last = model._follow_path(z, ops.convert_to_tensor(momentum), y)
        return ops.sum(ops.sin(moved) + 0.1 * last, axis=-1)

    slope = zoo.gradient(end, z)
    for k, unit in enumerate(np.eye(SIZE, dtype="float32")):
        above, below = (zoo.compute(end, z + s * unit) for s in (2e-3, -2e-3))
        np.testing.assert_allclose(slope[:, k], (above - below) / 4e-3, rtol=0.02, atol=2e-2)


def walls(model, z):
    """Return which codes lie within three temperatures of an anchor's code."""
    centers = numpy(model._metric().codes)
    distance = np.linalg.norm(z[:, None] - centers, axis=2).min(axis=1)
    return distance <= 3.0 * model.temperature


def test_the_walk_samples_the_manifold_s_density():
    """The walk's codes follow the density on a grid, the root of det of the inverse metric."""
    model = riemannian(walk_steps=60, temperature=0.8, regularization=1e-3)
    codes = numpy(model.sampler.sample(3000, seeds.draw(model, 0)))
    line = np.linspace(-6, 6, 161)
    grid = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
    density = np.sqrt(np.linalg.det(metric_by_numpy(model, grid)))
    density *= walls(model, grid)
    assert walls(model, codes).all() and np.abs(codes).max() < 6
    density /= density.sum()
    mean = density @ grid
    spread = np.sqrt(density @ (grid - mean) ** 2)
    np.testing.assert_allclose(codes.mean(axis=0), mean, atol=0.1 * spread.max())
    np.testing.assert_allclose(codes.std(axis=0), spread, rtol=0.1)


@pytest.mark.costly
@pytest.mark.parametrize("regularization", [0.01, 1.0])
def test_the_walk_stays_in_its_region_and_has_the_right_density_there(regularization):
    """In one dimension, quantiles of the walk's ends equal those of the integrated density."""
    codes = np.array([[-0.5], [0.0], [0.8]], "float32")
    matrices = np.array([1.0, 0.5, 4.0], "float32")[:, None, None]
    metric = LearnedMetric(codes, matrices, 0.6, regularization)
    start = np.repeat(codes, 700, axis=0)
    ends = zoo.compute(lambda start, pair: metric.walk(start, 400, RunSeed(pair)), start, SEED)
    grid = np.linspace(-4, 6, 20_001)
    squares = (grid[:, None] - codes[:, 0]) ** 2
    density = np.sqrt(np.exp(-squares / 0.36) @ matrices[:, 0, 0] + regularization)
    density *= np.sqrt(squares.min(axis=1)) <= 1.8
    cumulative = np.cumsum(density) / density.sum()
    assert np.abs(ends - codes[:, 0]).min(axis=1).max() <= 1.801
    assert kstest(ends[:, 0], lambda z: np.interp(z, grid, cumulative)).pvalue > 1e-3
