"""Shuffled codes, the discriminator's loss, discrepancies and the aggregate posterior."""

import keras
import numpy as np
import pytest
import zoo
from scipy import special, stats
from zoo import gradient

from keras_ae import divergences
from keras_ae.core import backend
from keras_ae.distributions import DiagonalGaussian
from keras_ae.divergences import permute_dims, softmax_loss

pytestmark = pytest.mark.formula


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def test_permuting_keeps_every_column_and_shuffles_each_in_its_own_way():
    z = np.arange(600, dtype="float32").reshape(200, 3)
    permuted = numpy(permute_dims(z, seed=0))
    assert np.array_equal(np.sort(permuted, axis=0), z)
    orders = [permuted[:, column] // 3 for column in range(3)]
    for order in orders:
        assert not np.array_equal(order, np.arange(200))
    assert not np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[1], orders[2])


def test_permuting_makes_dependent_columns_independent():
    column = np.random.default_rng(0).normal(size=(5000, 1)).astype("float32")
    z = np.concatenate([column, column], axis=1)
    permuted = numpy(permute_dims(z, seed=0))
    assert stats.pearsonr(permuted[:, 0], permuted[:, 1]).pvalue > 1e-3


def test_every_place_is_equally_likely():
    # In each of 4,000 independent columns, the first of 4 examples goes to some position.
    z = np.repeat(np.arange(4.0)[:, None], 4000, axis=1)
    places = np.argmin(numpy(permute_dims(z, seed=0)), axis=0)
    assert stats.chisquare(np.bincount(places, minlength=4)).pvalue > 1e-3


def test_permuting_follows_its_seed():
    z = np.arange(100, dtype="float32").reshape(50, 2)
    assert np.array_equal(numpy(permute_dims(z, seed=1)), numpy(permute_dims(z, seed=1)))
    assert not np.array_equal(numpy(permute_dims(z, seed=1)), numpy(permute_dims(z, seed=2)))
    generator = keras.random.SeedGenerator(1)
    first, second = numpy(permute_dims(z, generator)), numpy(permute_dims(z, generator))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_permuting_keeps_the_dtype(dtype):
    permuted = permute_dims(np.zeros((4, 2), dtype), seed=0)
    assert keras.backend.standardize_dtype(permuted.dtype) == dtype


def test_permuting_works_in_a_graph_with_a_free_batch_size():
    z = keras.ops.convert_to_tensor(np.arange(20, dtype="float32").reshape(10, 2))
    permute = permute_dims
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        permute = tf.function(
            lambda z: permute_dims(z, 0), input_signature=[tf.TensorSpec((None, 2))]
        )
    elif keras.backend.backend() == "jax":
        import jax

        permute = jax.jit(lambda z: permute_dims(z, 0))
    else:
        pytest.skip("torch runs without a graph")
    assert np.array_equal(numpy(permute(z)), numpy(permute_dims(z, 0)))


@pytest.mark.parametrize("label", [0, 1])
def test_softmax_loss_equals_scipy(label):
    logits = np.random.default_rng(0).normal(scale=5, size=(20, 2)).astype("float32")
    expected = -special.log_softmax(logits.astype("float64"), axis=1)[:, label]
    assert np.allclose(numpy(softmax_loss(logits, label)), expected, rtol=1e-5, atol=1e-6)


def test_softmax_loss_is_finite_and_float32_for_extreme_half_precision_logits():
    loss = softmax_loss(np.array([[60_000.0, -60_000.0]], "float16"), 1)
    assert np.allclose(numpy(loss), 120_000, rtol=1e-3)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"


# ------------------------------------------------------------------ discrepancy of two samples


def draws(shift, seed, count=300, dimensions=3):
    z = np.random.default_rng(seed).normal(size=(count, dimensions))
    return (z + shift).astype("float32")


@pytest.mark.parametrize("kernel", ["rbf", "imq"])
def test_the_discrepancy_of_equal_distributions_has_mean_zero(kernel):
    values = [
        float(divergences.mmd(draws(0, 2 * i, 30), draws(0, 2 * i + 1, 20), kernel))
        for i in range(300)
    ]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(300)
    assert np.min(values) < 0  # An unbiased estimate is not always positive.


def test_the_discrepancy_of_shifted_gaussians_has_its_closed_form():
    """x - y is Gaussian, so the mean of its Gaussian kernel has a closed form."""
    shift, dimensions, bandwidths = 0.8, 3, (0.5, 2.0)
    expected = 0.0
    for bandwidth in bandwidths:
        scale = 2 * dimensions * bandwidth
        alike = (scale / (scale + 4)) ** (dimensions / 2)
        difference = 2 * alike * (1 - np.exp(-dimensions * shift**2 / (scale + 4)))
        expected += difference / len(bandwidths)
    values = [
        float(divergences.mmd(draws(0, 2 * i), draws(shift, 2 * i + 1), "rbf", bandwidths))
        for i in range(40)
    ]
    assert np.mean(values) == pytest.approx(expected, abs=4 * np.std(values) / np.sqrt(40))
    assert np.std(values) / np.sqrt(40) < 0.02 * expected


def test_the_inverse_multiquadric_kernel_by_hand():
    x, y = draws(0, 0, 4), draws(1, 1, 5)

    def kernel(a, b):
        squares = ((a[:, None] - b[None]) ** 2).sum(axis=2)
        return np.mean([6 * s / (6 * s + squares) for s in (0.5, 3.0)], axis=0)

    within = [
        (k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in (kernel(x, x), kernel(y, y))
    ]
    expected = sum(within) - 2 * kernel(x, y).mean()
    assert float(divergences.mmd(x, y, "imq", (0.5, 3.0))) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kernel", ["rbf", "imq"])
@pytest.mark.parametrize("bandwidths", [(1.0,), divergences.BANDWIDTHS])
def test_the_kernel_is_1_at_a_distance_of_0(kernel, bandwidths):
    """Two far points have the largest discrepancy, 1 + 1 - 2 * 0, with any number of bandwidths."""
    x, y = np.zeros((4, 3), "float32"), np.full((5, 3), 1e6, "float32")
    assert float(divergences.mmd(x, y, kernel, bandwidths)) == pytest.approx(2.0, abs=1e-4)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (1, 5), (5, 1)])
def test_one_example_alone_has_no_discrepancy(n, m):
    x, y = draws(0, 0, n), draws(0, 1, m)
    assert float(divergences.mmd(x, y)) == 0.0
    assert not np.any(gradient(lambda x: divergences.mmd(x, keras.ops.convert_to_tensor(y)), x))


def test_two_examples_have_one_without_bias():
    values = [
        float(divergences.mmd(draws(0, 2 * i, 2), draws(0, 2 * i + 1, 2))) for i in range(600)
    ]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(600)


# Model -> its losses that compare the examples of a batch with each other.
COMPARED = {
    "WAE": ["mmd_loss"],
    "InfoVAE": ["mmd_loss"],
    "SlicedWAE": ["sliced_wasserstein_loss"],
    "DIPVAE": ["off_diagonal_loss", "diagonal_loss"],
}


@pytest.mark.every_backend
@pytest.mark.parametrize("name", COMPARED)
def test_a_last_batch_of_one_example_changes_no_mean(name):
    x, model = zoo.data(33), zoo.eager(name, keras.optimizers.SGD(0.0))
    model.build((None, 6))
    options = {"batch_size": 32, "verbose": 0, "return_dict": True}
    whole, odd = model.evaluate(x[:32], **options), model.evaluate(x, **options)
    weighted = model.evaluate(x, sample_weight=np.arange(33) % 7 + 1.0, **options)
    for term in COMPARED[name]:
        assert odd[term] == pytest.approx(whole[term], rel=1e-5)
        assert weighted[term] == pytest.approx(whole[term], rel=1e-5)
    alone = model.evaluate(x[:1], **options)
    assert all(alone[term] == 0.0 for term in COMPARED[name])
    assert np.isfinite(model.fit(x[:1], verbose=0).history["loss"][0])


def test_covariance_equals_numpy():
    z = draws(2.0, 0)
    np.testing.assert_allclose(numpy(divergences.covariance(z)), np.cov(z.T, bias=True), atol=1e-5)


# ------------------------------------------------------------------ the aggregate posterior


def posterior(count, seed=0):
    rng = np.random.default_rng(seed)
    return DiagonalGaussian(rng.normal(size=(count, 2)), rng.normal(size=(count, 2)) - 1)


def test_the_stratified_estimate_is_unbiased():
    """Its mean is taken over all batches of two from four examples, with the first one fixed."""
    data = posterior(4)
    mean, log_variance = numpy(data.mean), numpy(data.log_variance)
    z = np.array([[0.3, -0.2]], "float32")
    densities = stats.norm.pdf(z[:, None], mean, np.exp(0.5 * log_variance))[0].prod(axis=1)
    estimates = []
    for other in (1, 2, 3):
        rows = [0, other]
        batch = DiagonalGaussian(mean[rows], log_variance[rows])
        both = np.concatenate([z, z])
        joint, _ = divergences.aggregate_log_densities(both, batch, 4, "stratified")
        estimates.append(np.exp(numpy(joint)[0]))
    assert np.mean(estimates) == pytest.approx(densities.mean(), rel=1e-4)


def test_the_weighted_estimate_by_hand():
    batch = posterior(3)
    mean, log_variance = numpy(batch.mean), numpy(batch.log_variance)
    z = mean + 0.1
    pairs = stats.norm.logpdf(z[:, None], mean[None], np.exp(0.5 * log_variance)[None])
    joint, each = divergences.aggregate_log_densities(z, batch, 100)
    np.testing.assert_allclose(
        numpy(joint), special.logsumexp(pairs.sum(axis=2), axis=1) - np.log(300), rtol=1e-4
    )
    np.testing.assert_allclose(
        numpy(each), special.logsumexp(pairs, axis=1) - np.log(300), rtol=1e-4
    )


@pytest.mark.parametrize("estimator", ["weighted", "stratified"])
def test_an_example_alone_is_its_own_data_set(estimator):
    one = posterior(1)
    joint, each = divergences.aggregate_log_densities(one.mean, one, None, estimator)
    np.testing.assert_allclose(numpy(joint), numpy(one.log_prob(one.mean)), rtol=1e-5)
    np.testing.assert_allclose(numpy(each).sum(axis=1), numpy(joint), rtol=1e-5)


@pytest.mark.every_backend
@pytest.mark.parametrize(
    "function",
    [
        lambda z: divergences.mmd(z, keras.ops.flip(z) ** 2),
        lambda z: keras.ops.mean(estimated(z, "weighted")),
        lambda z: keras.ops.mean(estimated(z, "stratified")),
    ],
    ids=["mmd", "weighted", "stratified"],
)
def test_pairs_in_parts_are_the_pairs(function, monkeypatch):
    """Value and gradient are the same with parts of two rows and a last part of one."""
    z = keras.ops.convert_to_tensor(np.random.default_rng(0).normal(size=(7, 3)).astype("float32"))

    def value_and_gradient():
        value, pull = backend.pullback(function, z)
        return numpy(value), numpy(pull(keras.ops.ones_like(value)))

    value, gradient = value_and_gradient()
    monkeypatch.setattr(divergences, "_AT_ONCE", 2 * 7 * 3)
    value_in_parts, gradient_in_parts = value_and_gradient()
    np.testing.assert_allclose(value_in_parts, value, rtol=1e-5)
    np.testing.assert_allclose(gradient_in_parts, gradient, rtol=1e-4, atol=1e-7)
    assert np.any(gradient != 0)


def estimated(z, estimator):
    """Return the joint log-density minus those of the dimensions; the posterior depends on z."""
    posterior = DiagonalGaussian(keras.ops.sin(z), 0.1 * z)
    joint, each = divergences.aggregate_log_densities(z, posterior, 100, estimator)
    return joint - keras.ops.sum(each, axis=1)
