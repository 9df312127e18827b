"""What a model learns from the data before its first step, and `standardize=True`."""

import keras
import numpy as np
import pytest
from keras import ops

import keras_ae
from keras_ae import likelihoods
from keras_ae.core.adaptation import Passes

MEAN, DEVIATION = np.array([0.0, 1e3, -7.0, 3.0]), np.array([1.0, 100.0, 5.0, 1e-3])


def table(count=120, seed=0):
    """Return columns in very different units, of which two depend on each other."""
    u = np.random.default_rng(seed).normal(size=(count, 4))
    u[:, 1] = 0.8 * u[:, 0] + 0.6 * u[:, 1]
    return (u * DEVIATION + MEAN).astype("float32")


def make(cls=keras_ae.VAE, **given):
    if cls is keras_ae.VAE:
        given = {"likelihood": likelihoods.Gaussian(0.5), **given}
    model = cls(2, network_options={"units": (8,)}, seed=0, **given)
    model.compile(keras.optimizers.Adam(0.01), run_eagerly=keras.config.backend() != "jax")
    return model


def learned(model, name="x"):
    return [ops.convert_to_numpy(v) for v in model._units[name]]


@pytest.fixture(scope="module")
def pair():
    """Return a model that standardizes, and one that was given standardized data."""
    x = table()
    model, by_hand = make(standardize=True), make()
    model.fit(x, batch_size=40, epochs=3, verbose=0)
    mean, deviation = learned(model)
    by_hand.fit((x - mean) / deviation, batch_size=40, epochs=3, verbose=0)
    return model, by_hand


def test_mean_and_deviation_are_those_of_the_data(pair):
    x = table().astype("float64")
    mean, deviation = learned(pair[0])
    np.testing.assert_allclose(mean, x.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(deviation, x.std(axis=0), rtol=1e-4)


def test_it_trains_as_on_data_that_was_standardized_before(pair):
    model, by_hand = pair
    x = table()
    mean, deviation = learned(model)
    u = (x - mean) / deviation
    np.testing.assert_allclose(model.encode(x), by_hand.encode(u), atol=1e-4)
    found = model.reconstruct(x)
    np.testing.assert_allclose(found, by_hand.reconstruct(u) * deviation + mean, rtol=1e-3)
    np.testing.assert_allclose(
        model.sample(5, seed=0), by_hand.sample(5, seed=0) * deviation + mean, rtol=1e-3
    )
    z = model.encode(x)
    np.testing.assert_allclose(model.decode(z), found, rtol=1e-5)
    np.testing.assert_allclose(model.predict(x, verbose=0), found, rtol=1e-5)
    tensor = ops.convert_to_numpy(model.reconstruct(ops.convert_to_tensor(x)))
    np.testing.assert_allclose(tensor, found, rtol=1e-4)


def test_densities_are_of_the_data_itself(pair):
    """By the change of variables: the logarithms of the deviations are subtracted."""
    model, by_hand = pair
    x = table()
    mean, deviation = learned(model)
    u = (x - mean) / deviation
    volume = np.sum(np.log(deviation))
    found = model.log_likelihood(x, num_samples=20, seed=0)
    wanted = by_hand.log_likelihood(u, num_samples=20, seed=0)
    np.testing.assert_allclose(found, wanted - volume, atol=2e-3)
    loss = model.evaluate(x, verbose=0, return_dict=True)["loss"]
    wanted = by_hand.evaluate(u, verbose=0, return_dict=True)["loss"]
    np.testing.assert_allclose(loss, wanted + volume, atol=2e-3)


def test_metrics_are_in_the_units_of_the_data(pair):
    model, x = pair[0], table()
    copy = keras.models.clone_model(model)
    copy.build((None, 4))
    copy.set_weights(model.get_weights())
    copy.compile("adam", metrics=["mae"])
    found = copy.evaluate(x, verbose=0, return_dict=True)["mae"]
    np.testing.assert_allclose(found, np.abs(x - model.reconstruct(x)).mean(), rtol=1e-3)


@pytest.mark.parametrize("cls", [keras_ae.AE, keras_ae.DenoisingAE, keras_ae.VQVAE, keras_ae.IWAE])
def test_other_families_work_in_units_of_their_own(cls):
    given = {"likelihood": "gaussian"} if cls is keras_ae.IWAE else {}
    model, x = make(cls, standardize=True, **given), table()
    model.fit(x, batch_size=40, epochs=2, verbose=0)
    error = np.abs(model.reconstruct(x) - x).mean(axis=0) / x.std(axis=0)
    assert np.all(error < 3)
    assert np.isfinite(model.evaluate(x, verbose=0)).all()


def test_saved_exported_and_not_learned_again(pair, tmp_path):
    model, x = pair[0], table()
    model.save(tmp_path / "model.keras")
    loaded = keras_ae.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.reconstruct(x), model.reconstruct(x))
    before = learned(loaded)
    loaded.fit(10.0 * x, batch_size=40, verbose=0)
    np.testing.assert_array_equal(learned(loaded), before)
    loaded.adapt(10.0 * x)
    np.testing.assert_allclose(learned(loaded)[1], 10.0 * before[1], rtol=1e-5)


def test_served_in_the_units_of_the_data(pair, tmp_path, exports):
    import tensorflow as tf

    model, x = pair[0], table()
    model.export(tmp_path / "model")
    served = tf.saved_model.load(str(tmp_path / "model"))
    np.testing.assert_allclose(served.serve(x), model.reconstruct(x), rtol=1e-4)
    wanted = model.log_likelihood(x, num_samples=100, seed=0)
    np.testing.assert_allclose(served.log_likelihood(x, 0), wanted, atol=0.1)


def test_a_condition_has_units_of_its_own(tmp_path, exports):
    import tensorflow as tf

    x, c = table(), 1e4 + 50.0 * table(seed=1)[:, [0, 2]]
    given = {"likelihood": likelihoods.Gaussian(0.5), "num_classes": None}
    model, by_hand = (
        make(keras_ae.ConditionalVAE, standardize=own, **given) for own in (True, False)
    )
    options = {"batch_size": 40, "epochs": 2, "verbose": 0}
    model.fit(x, condition=c, **options)
    (mean, deviation), (shift, scale) = learned(model), learned(model, "condition")
    np.testing.assert_allclose(shift, c.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(scale, c.std(axis=0), rtol=1e-3)
    u, d = (x - mean) / deviation, (c - shift) / scale
    by_hand.fit(u, condition=d, **options)
    z = model.encode(x, condition=c)
    np.testing.assert_allclose(z, by_hand.encode(u, condition=d), atol=1e-3)
    np.testing.assert_allclose(
        model.decode(z, condition=c),
        by_hand.decode(z, condition=d) * deviation + mean,
        rtol=1e-3,
        atol=1e-2,
    )
    drawn = model.sample(len(c), seed=0, condition=c)
    wanted = by_hand.sample(len(c), seed=0, condition=d) * deviation + mean
    np.testing.assert_allclose(drawn, wanted, rtol=1e-3, atol=1e-2)
    one = model.sample(3, seed=0, condition=c[0])
    np.testing.assert_array_equal(one, model.sample(3, seed=0, condition=np.repeat(c[:1], 3, 0)))
    found = model.log_likelihood(x, num_samples=20, seed=0, condition=c)
    wanted = by_hand.log_likelihood(u, num_samples=20, seed=0, condition=d)
    np.testing.assert_allclose(found, wanted - np.sum(np.log(deviation)), atol=1e-2)
    model.export(tmp_path / "model")
    served = tf.saved_model.load(str(tmp_path / "model"))
    np.testing.assert_allclose(served.encode(x, c), z, atol=1e-3)
    away = np.abs(np.asarray(served.sample(0, c)) - drawn.mean(axis=0)) / deviation
    assert np.median(away) < 5


def test_a_resumed_run_does_not_learn_again(tmp_path, monkeypatch):
    x, count = table(), []
    monkeypatch.setattr(
        keras_ae.core.adaptation, "_learn_units", lambda model, passes: count.append(model)
    )
    for epochs in (1, 2):
        model = make(standardize=True)
        backup = keras_ae.callbacks.BackupAndRestore(tmp_path / "b", delete_checkpoint=False)
        model.fit(x, epochs=epochs, callbacks=[backup], verbose=0)
    assert len(count) == 1


def test_streams_and_one_generator():
    import tensorflow as tf

    x = table()
    model = make(standardize=True)
    model.fit(tf.data.Dataset.from_tensor_slices(x).batch(40), verbose=0)
    np.testing.assert_allclose(learned(model)[0], x.mean(axis=0), rtol=1e-4)
    with pytest.raises(ValueError, match="a generator can be read only once"):
        make(standardize=True).fit((batch for batch in [x]), steps_per_epoch=1, verbose=0)


def test_a_feature_that_never_varies_keeps_its_unit():
    x = table()
    x[:, 2] = 5.0
    model = make(standardize=True)
    model.fit(x, verbose=0)
    assert learned(model)[1][2] == 1.0
    assert np.isfinite(model.reconstruct(x)).all()


def test_what_makes_no_sense_is_refused():
    x = np.zeros((8, 4), "float32")
    cases = {
        "mean 0 and deviation 1": lambda: keras_ae.VAE(2, standardize=True).build((None, 4)),
        "padded steps": lambda: keras_ae.AE(
            2, standardize=True, network_options={"mask_value": -1.0}
        ).build((None, 3, 2)),
        "targets of the data's shape": lambda: keras_ae.AE(2, standardize=True).build(
            (None, 4), (None, 5)
        ),
        "True or False": lambda: keras_ae.AE(2, standardize="yes"),
        "learns nothing from the data": lambda: keras_ae.AE(2).adapt(x),
    }
    for words, call in cases.items():
        with pytest.raises((ValueError, RuntimeError), match=words):
            model = call()
            model.compile("adam")


@pytest.mark.filterwarnings("ignore:.* has values from")
def test_a_hook_sees_all_data_in_several_passes():
    seen = []

    class Counting(keras_ae.AE):
        _needs_data = True

        def _adapt(self, passes):
            assert isinstance(passes, Passes)
            for _ in range(2):
                seen.append(np.concatenate([x for x, inputs in passes]))

    x = table()
    model = make(Counting)
    for _ in range(2):
        model.fit(x, batch_size=50, verbose=0)
    assert len(seen) == 2
    np.testing.assert_array_equal(seen[0], x)
