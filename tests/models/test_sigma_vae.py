"""SigmaVAE: the scale that is stored, and what evaluation and files make of it."""

import keras
import numpy as np
import pytest
import zoo
from keras import ops

import keras_ae
from keras_ae import SigmaVAE, likelihoods
from keras_ae.core import backend
from keras_ae.core.seeds import RunSeed

pytestmark = pytest.mark.formula

BATCH = {"batch_size": 16, "verbose": 0}


def made(rate=0.0, **given):
    model = SigmaVAE(2, **{"network_options": {"units": (8,)}, "seed": 0} | given)
    model.compile(keras.optimizers.SGD(rate), **zoo.OP_BY_OP)
    return model


def data(width=6):
    return np.random.default_rng(0).normal(scale=3.0, size=(48, width)).astype("float32")


def test_the_scale_is_the_root_of_the_mean_squared_error():
    """At a rate of 0, and with an encoder that knows the code, nothing but the scale changes."""
    model, x = made(), data()
    model.build((None, 6))
    head = model.features_to_code.layers[-1]
    head.kernel.assign(0.0 * head.kernel)
    head.bias.assign([0.3, -0.7, -60.0, -60.0])  # The posterior is a point.
    model.fit(x, epochs=1, **BATCH)
    error = np.square(model.reconstruct(x) - x)
    assert model.scale == pytest.approx(np.sqrt(error.mean()), rel=0.1)
    model.fit(x, epochs=150, **BATCH)
    assert model.scale == pytest.approx(np.sqrt(error.mean()), rel=0.02)


def test_each_step_keeps_a_part_of_the_running_mean():
    likelihood = likelihoods.OptimalGaussian(decay=0.8)
    likelihood.build()
    zeros = ops.zeros((4, 3))
    likelihood.log_prob(2.0 * ops.ones((4, 3)), zeros, training=True)
    assert float(likelihood.noise_scale()) == pytest.approx(2.0, rel=1e-5)
    fitted = likelihood.log_prob(ops.ones((4, 3)), zeros, training=True)
    variance = 0.8 * 4.0 + 0.2 * 1.0
    assert float(likelihood.variance) == pytest.approx(variance, rel=1e-5)
    wanted = keras_ae.distributions.Normal(zeros, 1.0).log_prob(ops.ones((4, 3)))
    np.testing.assert_allclose(ops.convert_to_numpy(fitted), wanted, rtol=1e-5)
    stored = likelihood.log_prob(ops.ones((4, 3)), zeros)
    wanted = keras_ae.distributions.Normal(zeros, variance**0.5).log_prob(ops.ones((4, 3)))
    np.testing.assert_allclose(ops.convert_to_numpy(stored), wanted, rtol=1e-5)
    assert float(likelihood.variance) == pytest.approx(variance, rel=1e-5)


def test_a_perfect_reconstruction_has_a_finite_density():
    likelihood = likelihoods.OptimalGaussian()
    likelihood.build()
    x = ops.ones((4, 3))
    for training in (True, False):
        assert np.all(np.isfinite(ops.convert_to_numpy(likelihood.log_prob(x, x, training))))


def test_evaluation_uses_the_stored_scale_and_leaves_it():
    """The scale of data that is scored would be no density of it."""
    model, x = made(0.001), data()
    model.fit(x, epochs=5, **BATCH)
    before, logs = model.scale, model.evaluate(x, return_dict=True, **BATCH)
    model.evaluate(100.0 * x, **BATCH), model.log_likelihood(100.0 * x, num_samples=4)
    model.reconstruct(x, training=True)
    assert model.scale == before
    fixed = keras_ae.VAE(
        2, likelihood=likelihoods.Gaussian(before), network_options={"units": (8,)}, seed=0
    )
    fixed.compile("sgd", **zoo.OP_BY_OP)
    fixed.build((None, 6))
    pairs = zip(fixed.trainable_variables, model.trainable_variables, strict=True)
    for variable, trained in pairs:
        variable.assign(trained)
    again = fixed.evaluate(x, return_dict=True, **BATCH)
    assert again == pytest.approx(logs, rel=1e-4)
    found, wanted = (m.log_likelihood(x, num_samples=64, seed=0) for m in (model, fixed))
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_the_density_of_all_numbers_integrates_to_one():
    model = made(0.001)
    model.fit(data(1), epochs=3, **BATCH)
    head = model.features_to_code.layers[-1]
    head.kernel.assign(0.1 * head.kernel)
    x = np.linspace(-60.0, 60.0, 401, dtype="float32")[:, None]

    def logarithms(x, pair):
        parts = model._importance_terms(model.posterior(x), x, 500, RunSeed(pair))
        return parts[0] - parts[1]

    seed = np.array([5, 0]).astype(backend.SEED_DTYPE)
    weights = np.exp(zoo.compute(logarithms, x, seed).astype("float64"))
    totals = 120.0 / 400 * weights.sum(axis=0)
    error = totals.std() / np.sqrt(len(totals))
    assert error < 0.1
    assert totals.mean() == pytest.approx(1.0, abs=4 * error + 2e-3)


def test_a_scale_needs_a_built_model():
    with pytest.raises(ValueError, match="SigmaVAE.scale needs the data's shape"):
        made().scale  # noqa: B018
    with pytest.raises(TypeError, match="unknown argument 'likelihood'"):
        made(likelihood="laplace")


def test_padding_is_refused():
    """The variance would count it, or never be fitted at all."""
    kind = {"encoder": "recurrent", "decoder": "recurrent", "network_options": {"mask_value": 0.0}}
    masking = keras.Sequential([keras.Input((4, 2)), keras.layers.Masking(), keras.layers.LSTM(3)])
    for given in (kind, {"encoder": masking}):
        with pytest.raises(ValueError, match=r"mask_value=0\.0 .*gaussian_learned_scale"):
            made(**given).build((None, 4, 2))
    model = keras_ae.VAE(2, likelihood="gaussian_optimal_scale", **kind)
    with pytest.raises(ValueError, match="likelihood='gaussian_optimal_scale' fits itself"):
        model.build((None, 4, 2))


def test_files_and_served_functions_hold_the_scale(tmp_path):
    model, x = made(0.001), data()
    model.fit(x, epochs=2, **BATCH)
    model.save(tmp_path / "model.keras")
    loaded = keras_ae.load(tmp_path / "model.keras")
    assert loaded.scale == model.scale != 1.0
    if keras.config.backend() != "torch":
        import tensorflow as tf

        model.export(tmp_path / "model")
        served = tf.saved_model.load(str(tmp_path / "model"))
        wanted = model.log_likelihood(x, num_samples=model._SERVED_SAMPLES, seed=3)
        np.testing.assert_allclose(served.log_likelihood(x, 3).numpy(), wanted, atol=0.3)
        assert keras_ae.load(tmp_path / "model").scale == model.scale
    for each in (model, loaded):
        each.fit(x, **BATCH)
    assert loaded.scale == model.scale
