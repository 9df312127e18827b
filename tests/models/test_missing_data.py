"""MissingDataIWAE, compared with the closed forms of a linear model with Gaussian noise."""

import itertools

import keras
import numpy as np
import pytest
import zoo
from keras import ops
from scipy import stats

import keras_ae
from keras_ae import MissingDataIWAE, likelihoods
from keras_ae.core import backend
from keras_ae.core.seeds import RunSeed

pytestmark = pytest.mark.formula

SCALE = 1.0
BATCH = {"batch_size": 16, "verbose": 0}


def numpy(tensor):
    return np.array(ops.convert_to_numpy(ops.convert_to_tensor(tensor)))


def with_holes(x, share=0.3, seed=0):
    """Return a copy of which a share is NaN; row 0 is complete, row 1 is empty."""
    x = np.array(x, "float32")
    x[np.random.default_rng(seed).random(x.shape) < share] = np.nan
    x[0] = np.nan_to_num(x[0])
    x[1] = np.nan
    return x


def linear(latent_dim=2, width=5, **given):
    """Return a model x = W z + b + noise, with its W and b; only its encoder is not exact."""
    decoder = keras.Sequential([keras.Input((latent_dim,)), keras.layers.Dense(width)])
    rng = np.random.default_rng(3)
    weights, bias = 0.7 * rng.normal(size=(latent_dim, width)), rng.normal(size=width)
    decoder.set_weights([weights, bias])
    likelihood = likelihoods.Gaussian(SCALE)
    model = MissingDataIWAE(latent_dim, decoder=decoder, likelihood=likelihood, seed=0, **given)
    model.compile("adam", **zoo.OP_BY_OP)
    return model, weights, bias


def holes_of_linear(weights, bias, number=12):
    rng = np.random.default_rng(5)
    z = rng.normal(size=(number, len(weights)))
    return with_holes(z @ weights + bias + SCALE * rng.normal(size=(number, len(bias))))


def conditional_moments(row, weights, bias):
    """Return the mean and the covariance of the missing entries given the observed ones."""
    covariance = weights.T @ weights + SCALE**2 * np.eye(len(bias))
    m, o = np.isnan(row), ~np.isnan(row)
    gain = covariance[np.ix_(m, o)] @ np.linalg.inv(covariance[np.ix_(o, o)])
    mean = bias[m] + gain @ (row[o] - bias[o])
    return mean, covariance[np.ix_(m, m)] - gain @ covariance[np.ix_(o, m)]


def test_the_likelihood_is_that_of_the_observed_entries():
    """That of probabilistic principal components, in closed form."""
    model, weights, bias = linear()
    x = holes_of_linear(weights, bias)
    found = model.log_likelihood(x, num_samples=40_000, seed=0)
    covariance = weights.T @ weights + SCALE**2 * np.eye(len(bias))
    for row, value in zip(x, found, strict=True):
        o = ~np.isnan(row)
        if not o.any():
            assert value == pytest.approx(0.0, abs=0.05)
            continue
        wanted = stats.multivariate_normal(bias[o], covariance[np.ix_(o, o)]).logpdf(row[o])
        assert value == pytest.approx(wanted, rel=0.01, abs=0.05)


def test_the_bound_rises_to_the_likelihood():
    model, weights, bias = linear(num_samples=500)
    x = holes_of_linear(weights, bias)
    bound = -model.evaluate(x, verbose=0, return_dict=True)["iwae_loss"]
    exact = np.mean(model.log_likelihood(x, num_samples=8000, seed=0))
    assert bound == pytest.approx(exact, rel=0.02)
    single = linear(num_samples=1)[0].evaluate(x, verbose=0, return_dict=True)
    assert single["iwae_loss"] > -exact + 0.1


def test_imputation_is_the_conditional_mean():
    model, weights, bias = linear()
    x = holes_of_linear(weights, bias)
    found = model.impute(x, num_samples=20_000, seed=0)
    assert found.dtype == "float32" and found.shape == x.shape
    assert np.array_equal(found[~np.isnan(x)], x[~np.isnan(x)])
    for row, filled in zip(x, found, strict=True):
        mean, _ = conditional_moments(row, weights, bias)
        np.testing.assert_allclose(filled[np.isnan(row)], mean, atol=0.08)


def test_multiple_imputation_draws_from_the_conditional():
    model, weights, bias = linear()
    x = holes_of_linear(weights, bias)
    found = model.impute(x, num_samples=4000, multiple=800, seed=0)
    assert found.shape == (800, *x.shape)
    assert np.all(found[:, ~np.isnan(x)] == x[~np.isnan(x)])
    for number, row in enumerate(x[1:], start=1):
        mean, covariance = conditional_moments(row, weights, bias)
        if not len(mean):
            continue
        draws = found[:, number, np.isnan(row)].astype("float64")
        np.testing.assert_allclose(draws.mean(axis=0), mean, atol=0.2 * covariance.max() ** 0.5)
        np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.2 * covariance.max())


def test_probabilities_of_observed_bits_sum_to_one():
    """The sum over all patterns of the observed bits, whichever they are."""
    model = zoo.make("MissingDataIWAE")
    model.build((None, 6))
    patterns = np.array(list(itertools.product([0, 1], repeat=3)), "float32")
    for observed in ([0, 1, 2], [1, 3, 5]):
        x = np.full((8, 6), np.nan, "float32")
        x[:, observed] = patterns

        def logarithms(x, pair):
            parts = model._importance_terms(model.posterior(x), x, 2000, RunSeed(pair))
            return parts[0] - parts[1]

        seed = np.array([5, 0]).astype(backend.SEED_DTYPE)
        totals = np.exp(zoo.compute(logarithms, x, seed).astype("float64")).sum(axis=0)
        error = totals.std() / np.sqrt(len(totals))
        assert totals.mean() == pytest.approx(1.0, abs=4 * error + 2e-3)


@pytest.mark.parametrize("likelihood", ["gaussian", "laplace", "bernoulli", "continuous_bernoulli"])
def test_complete_data_has_the_density_of_an_ordinary_likelihood(likelihood):
    parameters = np.random.default_rng(0).normal(size=(4, 3, 2)).astype("float32")
    x = np.random.default_rng(1).random((4, 3, 2), "float32")
    make = likelihoods.get(likelihood).distribution
    p = keras_ae.distributions.Observed(make, ops.convert_to_tensor(parameters))
    np.testing.assert_allclose(numpy(p.log_prob(x)), numpy(make(parameters).log_prob(x)), rtol=1e-5)
    holed = x.copy()
    holed[:, 1] = np.nan
    wanted = make(parameters[:, ::2]).log_prob(x[:, ::2])
    np.testing.assert_allclose(numpy(p.log_prob(holed)), numpy(wanted), rtol=1e-5)
    assert p.mean.shape == p.sample(0).shape == x.shape


# ------------------------------------------------------------------ units


def fitted(x, **given):
    options = {"network_options": {"units": (8,)}, "likelihood": "gaussian", "seed": 2}
    model = MissingDataIWAE(2, **options | given)
    model.compile(keras.optimizers.Adam(0.02), **zoo.OP_BY_OP)
    model.fit(x, **BATCH)
    return model


def test_standardized_data_has_the_density_of_its_units():
    """Another unit of each feature changes the density by the observed features alone."""
    x = with_holes(np.random.default_rng(0).normal(size=(48, 4)))
    units = np.array([10.0, 0.1, 3.0, 1.0], "float32")
    one, other = (fitted(each, standardize=True) for each in (x, units * x + 7.0))
    change = np.where(np.isnan(x), 0.0, np.log(units)).sum(axis=1)
    first, second = (
        model.log_likelihood(each, num_samples=16, seed=0)
        for model, each in ((one, x), (other, units * x + 7.0))
    )
    np.testing.assert_allclose(second, first - change, atol=2e-3)
    imputed = [one.impute(x, 16, seed=0), other.impute(units * x + 7.0, 16, seed=0)]
    np.testing.assert_allclose(imputed[1], units * imputed[0] + 7.0, atol=0.02)
    given = ~np.isnan(x)
    assert np.array_equal(imputed[0][given], x[given])


# ------------------------------------------------------------------ forms of data, files


def test_every_form_of_data_may_have_holes():
    import tensorflow as tf

    x = with_holes(np.random.default_rng(0).normal(size=(48, 6)))
    model = fitted(x)
    wanted = model.evaluate(x, **BATCH)
    dataset = tf.data.Dataset.from_tensor_slices(x).batch(16)
    forms = [x.astype("float64"), x.tolist(), ops.convert_to_tensor(x)]
    for form in forms:
        assert model.evaluate(form, **BATCH) == pytest.approx(wanted, rel=1e-4)
        filled = numpy(model.impute(form, num_samples=8, seed=0))
        np.testing.assert_allclose(filled, model.impute(x, 8, seed=0), atol=0.5)
        assert np.array_equal(filled[~np.isnan(x)], x[~np.isnan(x)])
    assert model.evaluate(dataset, verbose=0) == pytest.approx(wanted, rel=1e-4)
    assert model.impute(dataset, num_samples=8).shape == x.shape
    model.fit(dataset, validation_data=dataset, verbose=0)
    model.fit((x[i : i + 16] for i in (0, 16, 32)), steps_per_epoch=3, verbose=0)
    for found in (model.reconstruct(x), model.predict(x, verbose=0), model.encode(x)):
        assert np.all(np.isfinite(found))
    assert all(np.all(np.isfinite(w)) for w in zoo.weights(model))
    assert np.array_equal(model.impute(x, 8, seed=1), model.impute(x, 8, seed=1))
    assert not np.array_equal(model.impute(x, 8, seed=1), model.impute(x, 8, seed=2))
    whole = np.nan_to_num(x)
    assert np.array_equal(model.impute(whole, 8), whole)


def test_pictures_may_have_holes():
    x = with_holes(np.random.default_rng(0).random((16, 8, 8, 1)) < 0.5)
    options = {"network_options": {"filters": (4,), "units": (8,)}}
    model = fitted(x, likelihood="bernoulli", encoder="conv", decoder="conv", **options)
    assert model.impute(x, num_samples=8, multiple=2).shape == (2, *x.shape)
    assert model.log_likelihood(x, num_samples=8)[1] == pytest.approx(0.0, abs=1.0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"likelihood": "categorical"}, "likelihood='categorical' has no density of each entry"),
        ({"likelihood": "gaussian_optimal_scale"}, "Choose .*gaussian_learned_scale"),
        ({"encoder": "recurrent", "network_options": {"mask_value": -1.0}}, "mask_value"),
    ],
)
def test_what_has_no_density_of_an_entry_is_refused(given, words):
    with pytest.raises(ValueError, match=words):
        MissingDataIWAE(2, **given).build((None, 4, 2))


def test_errors_name_what_is_wrong():
    x = with_holes(np.random.default_rng(0).normal(size=(48, 6)))
    model = fitted(x)
    with pytest.raises(ValueError, match="num_samples=0"):
        model.impute(x, num_samples=0)
    with pytest.raises(ValueError, match="multiple=-1"):
        model.impute(x, multiple=-1)
    with pytest.raises(ValueError, match="inf"):
        model.fit(np.where(x > 1, np.inf, x))
    with pytest.raises(ValueError, match=r"\(5,\)"):
        model.impute(x[:, :5])
    with pytest.raises(ValueError, match="between 0 and 1"):
        fitted(2 * x, likelihood="bernoulli")


def test_a_single_sample_imputes():
    x = with_holes(np.random.default_rng(0).normal(size=(48, 6)))
    model = fitted(x)
    assert np.all(np.isfinite(model.impute(x, num_samples=1)))
    assert np.all(np.isfinite(model.impute(x, num_samples=1, multiple=2)))


def test_imputed_tensors_are_float32():
    x = with_holes(np.random.default_rng(0).normal(size=(48, 6)))
    model = fitted(x)
    wide = ops.convert_to_tensor(x.astype("float64"), dtype="float64")
    whole = ops.ones((2, 6), dtype="int32")
    for given in (wide, whole):
        assert keras.backend.standardize_dtype(model.impute(given, 4).dtype) == "float32"


def test_tensors_of_text_are_refused(on_tensorflow):
    import tensorflow as tf

    model = fitted(with_holes(np.random.default_rng(0).normal(size=(48, 6))))
    for method in (model.encode, model.impute):
        with pytest.raises(TypeError, match="x is a tensor of .*, but must contain numbers"):
            method(tf.constant([["a"] * 6] * 4))


def test_targets_of_another_shape_impute_nothing():
    x = with_holes(np.random.default_rng(0).normal(size=(48, 6)))
    model = MissingDataIWAE(2, likelihood="gaussian", network_options={"units": (8,)})
    model.compile("adam", **zoo.OP_BY_OP)
    model.fit(x, np.nan_to_num(x[:, :4]), **BATCH)
    for given in (x, ops.convert_to_tensor(x)):
        with pytest.raises(ValueError, match=r"impute needs targets .*\(6,\).*\(4,\)"):
            model.impute(given, 4)


def test_files_and_served_functions_take_holes(tmp_path):
    x = with_holes(np.random.default_rng(0).normal(size=(48, 6)))
    model = fitted(x, standardize=True)
    model.save(tmp_path / "model.keras")
    loaded = keras_ae.load(tmp_path / "model.keras")
    assert np.array_equal(loaded.impute(x, 8, seed=0), model.impute(x, 8, seed=0))
    for each in (model, loaded):
        each.fit(x, **BATCH)
    for one, other in zip(zoo.weights(model), zoo.weights(loaded), strict=True):
        assert np.array_equal(one, other)
    if keras.config.backend() == "torch":
        return
    import tensorflow as tf

    model.export(tmp_path / "model")
    served = tf.saved_model.load(str(tmp_path / "model"))
    np.testing.assert_allclose(served.encode(x).numpy(), model.encode(x), atol=1e-5)
    found = served.log_likelihood(x, 3).numpy()
    wanted = model.log_likelihood(x, num_samples=model._SERVED_SAMPLES, seed=3)
    np.testing.assert_allclose(found, wanted, atol=0.3)


@keras.saving.register_keras_serializable("test_missing_data")
class GaussianOfColumns(likelihoods.Likelihood):
    """A likelihood of three columns with scales of their own, of which Observed knows nothing."""

    def distribution(self, parameters):
        scales = ops.log(ops.convert_to_tensor([1.0, 4.0, 9.0]))
        return keras_ae.distributions.DiagonalGaussian(parameters, 0.0 * parameters + scales)


def test_a_likelihood_with_a_parameter_of_each_column_is_refused():
    model = keras_ae.MissingDataIWAE(2, likelihood=GaussianOfColumns())
    with pytest.raises(ValueError, match="the sum over its entries alone"):
        model.build((None, 3))
