"""Served functions refuse what the methods of a model refuse, and name what they return."""

import keras
import numpy as np
import pytest
import zoo

import keras_ae

MODELS = ["AE", "VAE", "VQVAE", "ConditionalVAE", "MissingDataIWAE", "MultimodalVAE", "CountVAE"]
OUTPUTS = {"serve": "reconstruction", "encode": "z", "decode": "x", "sample": "x"}


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Function that returns an exported model as TensorFlow loads it, and the model."""
    known = {}

    def load(name):
        import tensorflow as tf

        if name not in known:
            model = zoo.make(name)
            zoo.build(model)
            folder = tmp_path_factory.mktemp(name) / "model"
            model.export(folder)
            known[name] = tf.saved_model.load(str(folder)), model
        return known[name]

    return load


def arguments_of(name, signature, rows=5):
    """Return arguments that a served function takes: name -> array."""
    given, data = {}, zoo.data_for(name, rows)
    for key, spec in signature.structured_input_signature[1].items():
        if key in ("seed", "num_samples"):
            value = np.array(3)
        elif key == "z":
            value = zoo.code_of(name, rows)
        else:
            value = data[key] if isinstance(data, dict) else data
        given[key] = np.asarray(value, spec.dtype.as_numpy_dtype)
    return given


def call(signature, given):
    import tensorflow as tf

    return signature(**{key: tf.constant(value) for key, value in given.items()})


def assert_refused(signature, given, words):
    import tensorflow as tf

    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        call(signature, given)
    text = str(caught.value)
    assert all(word in text for word in words), text


@pytest.mark.parametrize("name", MODELS)
def test_what_is_not_finite_or_no_code_is_refused(name, exports, served):
    loaded, model = served(name)
    for endpoint, signature in loaded.signatures.items():
        good = arguments_of(name, signature)
        call(signature, good)
        endpoint = "serve" if endpoint == "serving_default" else endpoint
        for key, value in good.items():
            if key == "seed":
                continue
            floats = value.dtype.kind == "f"
            wrong = [np.inf, -np.inf, np.nan] if floats else [999, -999]
            wrong = wrong[:2] if model._allow_nan and key != "z" else wrong
            for each in wrong[1:] if key == "num_samples" else wrong:
                changed = value.copy()
                changed[(-1,) * value.ndim] = each
                assert_refused(signature, {**good, key: changed}, [f"{endpoint}: {key} must"])


@pytest.mark.parametrize("name", ["VAE", "ConditionalVAE", "MissingDataIWAE", "MultimodalVAE"])
def test_bytes_are_refused_where_the_model_takes_unit_values(name, exports, served):
    loaded, _ = served(name)
    for endpoint in ("serve", "encode", "log_likelihood"):
        signature = loaded.signatures[endpoint]
        good = arguments_of(name, signature)
        key = "bits" if name == "MultimodalVAE" else "x"
        assert_refused(signature, {**good, key: good[key] * 255}, ["Divide bytes by 255.", "[255]"])
    decoded = arguments_of(name, loaded.signatures["decode"])
    call(loaded.signatures["decode"], {**decoded, "z": decoded["z"] * 255})


def test_counts_are_whole_numbers_of_at_least_0(exports, served):
    loaded, _ = served("CountVAE")
    for endpoint in ("serve", "encode", "log_likelihood"):
        signature = loaded.signatures[endpoint]
        good = arguments_of("CountVAE", signature)
        call(signature, {**good, "x": good["x"] * 1e6})
        assert_refused(signature, {**good, "x": good["x"] - 1}, [f"{endpoint}: x must hold values"])
        assert_refused(signature, {**good, "x": good["x"] / 2}, [f"{endpoint}: x must hold counts"])


def test_tokens_are_whole_numbers_of_the_vocabulary(exports, served):
    loaded, model = served("SentenceVAE")
    for endpoint in ("serve", "encode", "log_likelihood"):
        signature = loaded.signatures[endpoint]
        good = arguments_of("SentenceVAE", signature)
        call(signature, good)
        for wrong in (-1.0, model.vocabulary_size):
            assert_refused(
                signature, {**good, "x": np.full_like(good["x"], wrong)}, ["x must hold"]
            )
        assert_refused(
            signature, {**good, "x": np.full_like(good["x"], 0.5)}, ["x must hold tokens"]
        )


def test_padding_comes_after_the_end_of_a_sentence(exports, tmp_path):
    import tensorflow as tf

    model = keras_ae.SentenceVAE(2, 5, embedding_dim=3, hidden_units=4, end_token=4, seed=0)
    model.build((None, 3))
    model.export(tmp_path / "model")
    encode = tf.saved_model.load(tmp_path / "model").signatures["encode"]
    call(encode, {"x": np.float32([[1, 4, 0], [1, 2, 3]])})
    assert_refused(encode, {"x": np.float32([[0, 1, 4]])}, ["x holds padding, the token 0, before"])
    assert_refused(encode, {"x": np.float32([[4, 1, 0]])}, ["x holds tokens after 4"])


@pytest.mark.parametrize("name", ["AE", "VAE"])
def test_numbers_whose_squares_are_infinite_are_refused(name, exports, served):
    loaded, model = served(name)
    for endpoint in ("encode", "decode"):
        signature = loaded.signatures[endpoint]
        given = {key: value + 1e30 for key, value in arguments_of(name, signature).items()}
        assert_refused(signature, given, ["must"])
        with pytest.raises(ValueError, match="e\\+30"):
            getattr(model, endpoint)(*given.values())


def test_every_place_is_checked(exports, served):
    """Also where the processor compares several numbers at a time."""
    signature = served("VAE")[0].signatures["encode"]
    for rows in (1, 3, 1000):
        x = np.zeros((rows, 6), "float32")
        for place in {*range(min(x.size, 18)), x.size // 2, x.size - 1}:
            for wrong in (np.nan, 150.0, -150.0):
                x.flat[place] = wrong
                assert_refused(
                    signature, {"x": x}, ["encode: x must hold values from -100 to 101."]
                )
                x.flat[place] = 0
        assert call(signature, {"x": x})["z"].shape == (rows, 2)
    if keras.config.backend() == "tensorflow":  # Functions from JAX take no empty batches.
        assert call(signature, {"x": x[:0]})["z"].shape == (0, 2)


def test_classes_and_absent_modalities_are_checked(exports, served):
    signature = served("MultimodalVAE")[0].signatures["encode"]
    good = arguments_of("MultimodalVAE", signature)
    for row in (0, 4):
        changed = {key: value.copy() for key, value in good.items()}
        changed["kind"][row] = 0.5
        assert_refused(signature, changed, ["kind must hold class probabilities", "one-hot"])
        changed["kind"][row] = np.nan
        changed["numbers"][row] = np.nan
        call(signature, changed)
        changed["numbers"][row, 0] = 0
        assert_refused(signature, changed, ["numbers has rows that are NaN in part"])


def test_padding_is_not_checked(exports, tmp_path):
    import tensorflow as tf

    options = {"units": (4,), "mask_value": -1.0}
    x = np.random.default_rng(0).random((4, 5, 2)).astype("float32")
    x[0, 3:] = -1
    model = keras_ae.VAE(2, encoder="recurrent", decoder="recurrent", network_options=options)
    model.build((None, 5, 2))
    model.export(tmp_path / "model")
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    np.testing.assert_allclose(loaded.encode(x), model.encode(x), atol=1e-5)
    x[0, 3] = [-1, 500]
    assert_refused(
        loaded.signatures["encode"], {"x": x}, ["encode: x must hold values from -100 to 101"]
    )
    with pytest.raises(ValueError, match="values between -1 and 500"):
        model.encode(x)


@pytest.mark.parametrize("name", MODELS)
def test_outputs_have_names(name, exports, served):
    loaded, model = served(name)
    for endpoint, signature in loaded.signatures.items():
        found = call(signature, arguments_of(name, signature))
        endpoint = "serve" if endpoint == "serving_default" else endpoint
        several = model._modalities and endpoint in ("serve", "decode", "sample")
        expected = set(model._modalities) if several else {OUTPUTS.get(endpoint, endpoint)}
        assert set(found) == expected
    if not model.extra_inputs and not model._modalities:
        codes = loaded.encode(zoo.data_for(name))  # Without a signature, it is the tensor itself.
        np.testing.assert_allclose(codes, model.encode(zoo.data_for(name)), atol=1e-5)
