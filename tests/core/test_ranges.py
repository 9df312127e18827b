"""The range of data: what training refuses, what else is computed, and which remedy works."""

import keras
import numpy as np
import pytest
import zoo

import keras_ae

X = np.random.default_rng(0).random((32, 6), "float32")
OPTIONS = {"network_options": {"units": (8,)}, "seed": 0}


def compiled(cls=keras_ae.VAE, **given):
    model = cls(2, **{**OPTIONS, **given})
    model.compile(keras.optimizers.Adam(0.01), run_eagerly=keras.config.backend() != "jax")
    return model


@pytest.fixture(scope="module")
def trained():
    model = compiled()
    model.fit(X, verbose=0)
    return model


def with_value(value, dtype="float64"):
    x = X.astype(dtype)
    x[3, 2] = value
    return x


def message(call, *given, error=ValueError, **options):
    with pytest.raises(error) as caught:
        call(*given, **options)
    text = str(caught.value)
    assert len(text) < 500, text
    return text


# ------------------------------------------------------------------ float32


@pytest.mark.parametrize("value", [1.0 + 2e-16, 1.0 + 1e-9, -1e-12])
def test_rounding_errors_of_wider_floats_are_no_values_out_of_range(value):
    compiled().fit(with_value(value), verbose=0)


def test_rounding_errors_of_scalers_in_float32_pass():
    compiled().fit(with_value(np.nextafter(np.float32(1), np.float32(2)), "float32"), verbose=0)


def test_scaled_columns_of_any_data_set_pass():
    rng = np.random.default_rng(0)
    for dtype in ("float32", "float64"):
        x = (rng.normal(size=(64, 5)) * [1e-3, 1, 7, 1e3, 1e6]).astype(dtype)
        scale = 1 / (x.max(axis=0) - x.min(axis=0))  # MinMaxScaler computes it like this.
        compiled().fit(x * scale + (0 - x.min(axis=0) * scale), verbose=0)


@pytest.mark.parametrize("value", [1e300, -1e39, 1e39])
@pytest.mark.parametrize("cls", [keras_ae.AE, keras_ae.VAE])
def test_numbers_that_float32_cannot_hold_are_refused(cls, value):
    model = compiled(cls)
    for call in (model.fit, model.encode, model.reconstruct, model.predict, model.evaluate):
        assert "float32 cannot hold" in message(call, with_value(value))
    assert "float32 cannot hold" in message(model.fit, X, with_value(value))


def test_named_inputs_are_checked_in_their_own_dtype():
    model, condition = (
        compiled(keras_ae.ConditionalVAE, num_classes=None),
        X[:, :2].astype("float64"),
    )
    condition[1, 1] = 1e300
    assert "float32 cannot hold" in message(model.fit, X, condition=condition)
    model = compiled(keras_ae.ConditionalVAE, num_classes=3)
    labels = np.zeros(32, "int64")
    labels[0] = 2**32
    assert "label" in message(model.fit, X, label=labels)


def test_sample_weights_are_checked_in_float32():
    message(compiled().fit, X, sample_weight=np.full(32, 1e300))


def test_bfloat16_is_a_dtype_of_numbers():
    x = keras.ops.convert_to_numpy(keras.ops.cast(X, "bfloat16"))
    compiled().fit(x, verbose=0)
    assert compiled().encode(x).shape == (32, 2)


# ------------------------------------------------------------------ remedies


@pytest.mark.parametrize("value", [1.02, 7.9, 16.0, 126.0, 200.5, 256.0, 1000.0, -0.01, -255.0])
def test_what_are_no_bytes_is_not_divided_by_255(value):
    assert "255:" not in message(compiled().fit, with_value(value))


@pytest.mark.parametrize(
    "x",
    [
        (X * 255).astype("uint8"),
        (X * 100).astype("uint8"),
        np.round(X * 255),
        np.round(X * 255).astype("int64"),
        (X * 255)[:, :, None, None] * np.ones((1, 1, 4, 1), "float32"),
    ],
    ids=["bytes", "dark bytes", "whole floats", "integers", "a resized picture"],
)
def test_bytes_are_divided_by_255(x):
    model = compiled(encoder="mlp", decoder="mlp")
    for call in (model.fit, model.encode, model.evaluate, model.log_likelihood):
        assert "x.astype('float32') / 255" in message(call, x)
    model.fit(x.astype("float32") / 255, verbose=0)


def test_values_a_little_out_of_range_may_be_clipped():
    x = with_value(1.02, "float32")
    assert "np.clip(x, 0, 1)" in message(compiled().fit, x)
    assert "np.clip" not in message(compiled().fit, with_value(7.9))
    compiled().fit(np.clip(x, 0, 1), verbose=0)


def test_the_remedy_names_an_argument_of_the_model():
    text = message(compiled().fit, with_value(40.0))
    assert "likelihood='gaussian' with standardize=True" in text
    compiled(likelihood="gaussian", standardize=True).fit(with_value(40.0), verbose=0)
    model = compiled(keras_ae.AE, reconstruction_loss="binary_crossentropy")
    text = message(model.fit, with_value(3.0))
    assert "reconstruction_loss='mean_squared_error'" in text and "likelihood" not in text
    model = keras_ae.MultimodalVAE(2, modalities={"a": "bernoulli"}, **OPTIONS)
    model.compile("adam")
    text = message(model.fit, {"a": with_value(3.0)})
    assert "x['a']" in text and "'gaussian' as its likelihood in modalities" in text


def test_labels_that_are_not_one_hot_are_named():
    labels = np.random.default_rng(0).integers(0, 5, (16, 4))
    model = compiled(likelihood="categorical")
    for call in (model.fit, model.encode, model.evaluate):
        assert "to_categorical" in message(call, labels)


# ------------------------------------------------------------------ examples that were not fitted


@pytest.mark.parametrize("value", [1.02, 7.9, -0.5, -5.0, 20.5])
def test_examples_beyond_the_range_are_encoded_and_scored(trained, value):
    x = with_value(value, "float32")
    codes = trained.encode(x)
    assert np.isfinite(codes).all() and not np.array_equal(codes[3], trained.encode(X)[3])
    assert np.isfinite(trained.reconstruct(x)).all() and np.isfinite(trained.predict(x)).all()
    assert np.isfinite(trained.evaluate(x, verbose=0)).all()
    assert np.isfinite(trained.test_on_batch(x)).all()
    scores = trained.log_likelihood(x, seed=0)
    assert np.isfinite(scores).all() and (scores < 0).all()
    compiled().fit(X, validation_data=x, verbose=0)
    message(compiled().fit, x)
    message(trained.train_on_batch, x)


def test_they_are_scored_as_the_nearest_value(trained):
    x, nearest = with_value(9.0, "float32"), with_value(1.0, "float32")
    for scored in (X, nearest):  # The code is that of x itself, the target the nearest value.
        difference = trained.log_likelihood(x, scored, seed=0) - trained.log_likelihood(x, seed=0)
        assert (np.abs(difference) < 1e-4).all() == (scored is nearest)
    assert trained.evaluate(x, verbose=0) == trained.evaluate(x, nearest, verbose=0)


def test_a_stream_beyond_the_range_is_scored(trained):
    def batches(x):
        yield x[:16]
        yield x[16:]

    x = with_value(1.5, "float32")
    x[20, 1] = -2.0
    wanted = trained.evaluate(x, batch_size=16, verbose=0)
    np.testing.assert_allclose(trained.evaluate(batches(x), steps=2, verbose=0), wanted, rtol=1e-5)
    assert "clip" not in message(trained.fit, batches(x), verbose=0)


def test_served_functions_take_what_the_methods_take(tmp_path, exports):
    tf = pytest.importorskip("tensorflow")
    layers, bytes_ = keras.layers, np.round(X * 255)
    plain = compiled()
    plain.fit(X, verbose=0)
    encoder = keras.Sequential([keras.Input((6,)), layers.Rescaling(1 / 255), layers.Dense(4)])
    rescaling = compiled(encoder=encoder)
    rescaling.fit(bytes_, X, verbose=0)
    for name, model, x in (("a", plain, with_value(7.5, "float32")), ("b", rescaling, bytes_)):
        model.export(tmp_path / name)
        served = tf.saved_model.load(tmp_path / name)
        x = x.astype("float32")
        np.testing.assert_allclose(served.encode(x), model.encode(x), rtol=1e-3, atol=1e-4)
        with pytest.raises(tf.errors.InvalidArgumentError, match="255"):
            served.log_likelihood(bytes_.astype("float32"), 0)


def test_pseudo_inputs_lie_in_the_range():
    model = compiled(keras_ae.VampVAE, num_components=4)
    assert "Rescale x" in message(model.set_pseudo_inputs, with_value(1.5)[:4])


def test_padding_is_not_moved_into_the_range():
    x = np.random.default_rng(0).random((16, 5, 2), "float32")
    x[:, 3:] = -1.0
    options = {"network_options": {"units": (4,), "mask_value": -1.0}}
    model = compiled(**options)
    model.fit(x, verbose=0)
    before = model.evaluate(x, verbose=0)
    other = x.copy()
    other[:, 0] = 3.0
    np.testing.assert_allclose(model.evaluate(x, verbose=0), before)
    assert np.isfinite(model.log_likelihood(other)).all()
    nearest = np.where(other == 3.0, np.float32(1.0), other)
    assert model.evaluate(other, verbose=0) == model.evaluate(other, nearest, verbose=0)


@pytest.mark.parametrize("name", zoo.WITH_LIKELIHOOD)
def test_every_model_with_a_likelihood_scores_them(name):
    model = zoo.trained(name)
    x = zoo.data()
    strange = x.copy()
    strange[3, 2] = 1.5
    given = zoo.joined(name, strange)
    assert np.isfinite(model.evaluate(given, verbose=0)).all()
    assert np.isfinite(model.encode(given)).all()
    assert np.isfinite(model.log_likelihood(given, num_samples=8)).all()
