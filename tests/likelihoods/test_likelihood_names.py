"""Every likelihood has a name with which a variational model is made, and its data is checked."""

import keras
import numpy as np
import pytest
import zoo
from keras import ops
from scipy import special, stats
from zoo import compute, gradient

import keras_ae
from keras_ae import likelihoods
from keras_ae.core import ranges
from keras_ae.likelihoods.bounds import bound

OF_BYTES = "discretized_logistic_mixture"


def data_for(name, count=48):
    """Return data of a kind that a likelihood of this name takes, shape (count, 6) or more."""
    rng = np.random.default_rng(0)
    if name in ("categorical", "ordinal"):
        return np.eye(5, dtype="float32")[rng.integers(0, 5, (count, 3))]
    draws = {
        "poisson": lambda: rng.poisson(2.0, (count, 6)),
        "multinomial": lambda: rng.poisson(2.0, (count, 6)),
        "negative_binomial": lambda: rng.poisson(2.0, (count, 6)),
        "zero_inflated_negative_binomial": lambda: rng.poisson(0.5, (count, 6)),
        "log_normal": lambda: np.exp(rng.normal(size=(count, 6))),
        "log_normal_learned_scale": lambda: np.exp(rng.normal(size=(count, 6))),
        "beta": lambda: rng.beta(2.0, 3.0, (count, 6)),
        OF_BYTES: lambda: rng.integers(0, 256, (count, 6)) / 255,
        "bernoulli": lambda: rng.integers(0, 2, (count, 6)),
        "continuous_bernoulli": lambda: rng.random((count, 6)),
    }
    return draws.get(name, lambda: rng.normal(size=(count, 6)))().astype("float32")


def vae(name, **given):
    options = {"units": (8,), "activation": "tanh"}
    given = {"encoder": "mlp", "decoder": "mlp", "network_options": options, "seed": 0, **given}
    model = keras_ae.VAE(2, likelihood=name, **given)
    model.compile(keras.optimizers.Adam(0.01), **zoo.OP_BY_OP)
    return model


@pytest.mark.parametrize("name", likelihoods.BY_NAME)
def test_a_vae_of_every_name_trains_draws_data_and_loads(name, tmp_path):
    x = data_for(name)
    model = vae(name)
    model.build((None, *x.shape[1:]))
    before = [v.numpy() for v in model.likelihood.trainable_variables]
    history = model.fit(x, batch_size=16, epochs=4, verbose=0).history["loss"]
    assert history[-1] < history[0]
    for variable, start in zip(model.likelihood.trainable_variables, before, strict=True):
        assert np.all(variable.numpy() != start)
    draws = model.decode(model.encode(x), sample=True, seed=0)
    assert draws.shape == x.shape and draws.dtype == "float32"
    model.fit(draws, verbose=0)  # They are data of the kind that the model takes.
    wanted = model.log_likelihood(x, num_samples=8, seed=0)
    assert np.isfinite(wanted).all()
    model.save(tmp_path / "model.keras")
    loaded = keras_ae.load(tmp_path / "model.keras")
    assert np.array_equal(loaded.log_likelihood(x, num_samples=8, seed=0), wanted)


@pytest.mark.parametrize("name", zoo.WITH_LIKELIHOOD)
def test_every_variational_model_can_be_made_of_counts(name):
    trains = keras_ae.__getattr__(name)._trains_likelihood
    model = zoo.make(name, likelihood="negative_binomial" if trains else "poisson")
    if model._allow_nan and trains:  # An entry alone has no dispersion of its feature.
        with pytest.raises(ValueError, match="no density of each entry|sum over its entries"):
            zoo.build(model)
        model = zoo.make(name, likelihood="poisson")
    model.compile("adam", **zoo.OP_BY_OP)
    x = zoo.data(32) * np.float32(3.0)
    history = model.fit(zoo.joined(name, x), batch_size=16, verbose=0).history
    assert all(np.isfinite(values).all() for values in history.values())


@pytest.mark.parametrize("name", [n for n in likelihoods.BY_NAME if "optimal" not in n])
def test_whatever_the_decoder_returns_densities_and_gradients_are_finite(name):
    likelihood, x = likelihoods.get(name), data_for(name, 8)
    shape = likelihood.parameter_shape(x.shape[1:])
    likelihood.build(x.shape[1:])
    rng = np.random.default_rng(1)
    parameters = rng.choice([-1e4, -30.0, 0.0, 30.0, 1e4], (8, *shape)).astype("float32")

    def density(parameters):
        return likelihood.log_prob(ops.convert_to_tensor(x), parameters)

    assert np.isfinite(compute(density, parameters)).all()
    assert np.isfinite(gradient(density, parameters)).all()


def test_bounds_leave_what_is_inside():
    values = np.linspace(-50, 50, 101).astype("float32")
    found = ops.convert_to_numpy(bound(values, -20.0, 30.0))
    inside = (values > -8) & (values < 18)
    np.testing.assert_allclose(found[inside], values[inside], rtol=1e-5, atol=1e-5)
    assert np.all(np.diff(found) >= 0) and found.min() >= -20.0 and found.max() <= 30.0


# ------------------------------------------------------------------ what decoders return


def test_means_of_counts_are_softpluses_or_shares_of_a_library():
    parameters = np.random.default_rng(0).normal(size=(4, 6)).astype("float32") * 5
    mean = ops.convert_to_numpy(likelihoods.Poisson().distribution(parameters).mean)
    np.testing.assert_allclose(mean, np.logaddexp(0, parameters), rtol=1e-5)
    library = np.array([10.0, 2e5, 1.0, 0.0], "float32")
    p = likelihoods.Poisson().distribution(parameters, library=library)
    exact = library[:, None] * special.softmax(parameters, axis=1)
    np.testing.assert_allclose(ops.convert_to_numpy(p.mean), exact, rtol=1e-5, atol=1e-20)
    zeros = np.zeros((4, 6), "float32")
    assert abs(float(p.log_prob(zeros)[3])) < 1e-6  # Nothing is what an empty library gives.


def test_shares_add_up_over_the_whole_example():
    parameters = np.random.default_rng(0).normal(size=(2, 4, 3)).astype("float32")
    p = likelihoods.Poisson().distribution(parameters, library=np.array([7.0, 9.0]))
    np.testing.assert_allclose(ops.convert_to_numpy(p.mean).sum((1, 2)), [7.0, 9.0], rtol=1e-5)


def test_the_inverse_dispersion_belongs_to_a_feature():
    likelihood = likelihoods.NegativeBinomial()
    likelihood.build((3,))
    likelihood.log_inverse_dispersion.assign(np.log([0.5, 2.0, 9.0]))
    np.testing.assert_allclose(
        ops.convert_to_numpy(likelihood.inverse_dispersion), [0.5, 2.0, 9.0], rtol=1e-5
    )
    theta, mean = np.array([0.5, 2.0, 9.0]), np.log1p(np.exp(1.5))
    x = np.array([[0.0, 3.0, 1.0], [2.0, 2.0, 2.0]])
    exact = stats.nbinom.logpmf(x, theta, theta / (theta + mean)).sum(axis=1)
    found = likelihood.log_prob(x.astype("float32"), np.full((2, 3), 1.5, "float32"))
    np.testing.assert_allclose(ops.convert_to_numpy(found), exact, rtol=1e-5)


def test_zero_inflation_reads_the_second_half():
    likelihood = likelihoods.ZeroInflatedNegativeBinomial()
    likelihood.build((2,))
    parameters = np.array([[1.0, 2.0, -50.0, 50.0]], "float32")
    p = likelihood.distribution(parameters)
    mean = ops.convert_to_numpy(p.mean)[0]
    np.testing.assert_allclose(mean, [np.log1p(np.e), 0.0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "reference"), [("gaussian", stats.norm), ("laplace", stats.laplace)]
)
def test_scales_of_features_and_of_examples(kind, reference):
    rng = np.random.default_rng(0)
    x, mean = (rng.normal(size=(5, 3)).astype("float32") for _ in range(2))
    likelihood = likelihoods.get(f"{kind}_feature_scale")
    likelihood.build((3,))
    likelihood.log_scale.assign([-1.0, 0.0, 1.0])
    exact = reference(mean, np.exp([-1.0, 0.0, 1.0])).logpdf(x).sum(axis=1)
    found = ops.convert_to_numpy(likelihood.log_prob(x, mean))
    np.testing.assert_allclose(found, exact, rtol=3e-2)  # The bound at e^-6 is smooth.
    log_scale = rng.normal(size=(5, 3)).astype("float32")
    likelihood = likelihoods.get(f"{kind}_heteroscedastic")
    found = likelihood.log_prob(x, np.concatenate([mean, log_scale], axis=1))
    exact = reference(mean, np.exp(log_scale)).logpdf(x).sum(axis=1)
    np.testing.assert_allclose(ops.convert_to_numpy(found), exact, rtol=3e-2)


def test_a_scale_of_features_replaces_no_other_scale_of_a_built_model():
    model = vae("gaussian_feature_scale")
    model.build((None, 6))
    with pytest.raises(ValueError, match="cannot replace scale='feature'"):
        model.likelihood.scale = "learned"
    with pytest.raises(ValueError, match="scale='each'"):
        likelihoods.Gaussian("each")


def test_ordinal_levels_are_differences_of_sigmoids():
    likelihood = likelihoods.Ordinal()
    likelihood.build((7, 5))
    likelihood.log_distances.assign([-3.0, 0.0, 1.0])
    thresholds = ops.convert_to_numpy(likelihood.thresholds)
    np.testing.assert_allclose(np.diff(thresholds), np.exp([-3.0, 0.0, 1.0]), rtol=1e-2)
    location = np.linspace(-4, 4, 14).reshape(2, 7, 1).astype("float32")
    found = ops.convert_to_numpy(likelihood.distribution(location).mean)
    below = special.expit(thresholds.astype("float64") - location)
    below = np.concatenate([np.zeros((2, 7, 1)), below, np.ones((2, 7, 1))], axis=-1)
    np.testing.assert_allclose(found, np.diff(below, axis=-1), rtol=1e-4, atol=1e-7)
    # A larger number of the decoder means higher levels.
    assert np.all(np.diff((found * np.arange(5)).sum(-1).ravel()) > 0)


def test_two_levels_are_a_bernoulli():
    likelihood = likelihoods.Ordinal()
    likelihood.build((2,))
    assert not likelihood.weights
    logit = np.array([[-1.0], [2.0]], "float32")
    found = ops.convert_to_numpy(likelihood.log_prob(np.array([[0.0, 1.0]] * 2, "float32"), logit))
    np.testing.assert_allclose(found, -np.logaddexp(0, -logit[:, 0]), rtol=1e-5)


def test_channels_of_the_mixture_of_logistics_have_their_own_parameters():
    likelihood = likelihoods.DiscretizedLogisticMixture(2)
    assert likelihood.parameter_shape((4, 4, 3)) == (4, 4, 18)
    parameters = np.zeros((1, 4, 4, 18), "float32")
    parameters[..., 2:4], parameters[..., 8:10] = -0.5, 0.5  # The means of two channels.
    parameters[..., 4:6] = parameters[..., 10:12] = parameters[..., 16:18] = -9.0
    mean = ops.convert_to_numpy(likelihood.distribution(parameters).mean)
    expected = np.broadcast_to([0.25, 0.75, 0.5], (1, 4, 4, 3))
    np.testing.assert_allclose(mean, expected, atol=1e-3)


# ------------------------------------------------------------------ which data is taken


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("poisson", 0.5, "values such as 0.5, but .* models counts, the whole numbers from 0"),
        ("poisson", -1.0, "values between -1 and .* models values from 0 on. Pass x itself"),
        ("negative_binomial", 1.25, "the counts themselves"),
        ("log_normal", 0.0, "has values of 0, but .* models values above 0"),
        ("log_normal", -2.0, "models values from 0 on"),
        ("beta", 0.0, "values of 0, but .* without the ends"),
        ("beta", 1.0, "values of 1, but .* without the ends"),
        ("beta", 1.5, "models values between 0 and 1"),
        (OF_BYTES, 0.3335, r"the 256 values k / 255. Pass bytes divided by 255"),
        ("ordinal", 0.5, "add up to"),
    ],
)
def test_data_beyond_the_support_is_refused_with_a_remedy(name, value, match):
    x = data_for(name)
    model = vae(name)
    model.fit(x, verbose=0)
    before = zoo.weights(model)
    x[-1, -1] = value
    with pytest.raises(ValueError, match=match):
        model.fit(x, verbose=0)
    assert all(map(np.array_equal, zoo.weights(model), before))


def test_bytes_of_float16_and_integers_are_counts_or_levels():
    vae("poisson").fit(data_for("poisson").astype("uint8"), verbose=0)
    vae("poisson").fit(data_for("poisson").astype("int64"), verbose=0)
    vae("poisson").fit(data_for("poisson").astype("float16"), verbose=0)
    vae(OF_BYTES).fit(data_for(OF_BYTES).astype("float64"), verbose=0)


def test_what_is_scored_may_lie_beyond_two_limits_but_not_beyond_one():
    model = vae("beta")
    model.fit(data_for("beta"), verbose=0)
    x = np.array([[0.0, 1.0, 0.5, 0.5, 0.5, 1.2]], "float32")
    assert np.isfinite(model.log_likelihood(x, num_samples=4, seed=0)).all()
    model = vae(OF_BYTES)
    model.fit(data_for(OF_BYTES), verbose=0)
    assert np.isfinite(model.evaluate(np.full((2, 6), 0.5), verbose=0)).all()
    model = vae("poisson")
    model.fit(data_for("poisson"), verbose=0)
    for call in (model.evaluate, model.encode, model.log_likelihood):
        with pytest.raises(ValueError, match="models values from 0 on"):
            call(np.full((2, 6), -1.0))
        with pytest.raises(ValueError, match="models counts"):
            call(np.full((2, 6), 0.25))


def test_what_is_scored_becomes_the_nearest_data():
    values = np.array([-1.0, 0.0, 0.4, 0.6, 1.0, 2.0], "float32")

    def nearest(name):
        return ops.convert_to_numpy(ranges.clip(values, likelihoods.get(name).support))

    np.testing.assert_array_equal(nearest("poisson"), [0, 0, 0, 1, 1, 2])
    np.testing.assert_allclose(nearest(OF_BYTES) * 255, [0, 0, 102, 153, 255, 255], rtol=1e-6)
    found = nearest("beta")
    assert 0 < found[0] == found[1] < 1e-37 and 1 - 1e-7 < found[4] == found[5] < 1
    assert nearest("log_normal")[0] > 0 and nearest("log_normal")[5] == 2
    np.testing.assert_array_equal(nearest("bernoulli"), np.clip(values, 0, 1))


def test_counts_are_not_standardized():
    model = vae("poisson", standardize=True)
    with pytest.raises(ValueError, match="takes values from 0 on. Leave it out"):
        model.fit(data_for("poisson"), verbose=0)


def test_a_decoder_that_returns_no_negative_numbers_is_refused():
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(6, "softplus")])
    with pytest.raises(ValueError, match="takes any real numbers, and the decoder"):
        vae("poisson", decoder=decoder).build((None, 6))


def test_padded_counts():
    model = keras_ae.VAE(
        2, likelihood="negative_binomial", network_options={"units": (4,), "mask_value": -1.0}
    )
    model.compile("adam", **zoo.OP_BY_OP)
    x = np.random.default_rng(0).poisson(2.0, (16, 5, 3)).astype("float32")
    x[:8, 3:] = -1.0
    model.fit(x, verbose=0)
    found = model.evaluate(x[:8], batch_size=8, verbose=0, return_dict=True)["reconstruction_loss"]
    assert np.isfinite(found)
