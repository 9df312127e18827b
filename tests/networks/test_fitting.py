"""Pictures that a default network would misread, and networks that do not fit, are refused."""

import keras
import numpy as np
import pytest

import keras_ae
from keras_ae.networks import fitting


def compiled(name, **given):
    model = getattr(keras_ae, name)(latent_dim=4, seed=0, **given)
    model.compile("adam")
    return model


def random(*shape):
    return np.random.default_rng(0).random((8, *shape), "float32")


SMALL = {"units": (4,)}
MODELS = ("AE", "VAE", "VQVAE", "LadderVAE", "VAEGAN")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (28, 20), (62, 47), (96, 160)])
def test_pictures_without_channels_are_refused(name, shape):
    for call in (
        lambda model: model.fit(random(*shape)),
        lambda model: model.encode(random(*shape)),
        lambda model: model.build((None, *shape)),
    ):
        with pytest.raises(ValueError, match=r'x\[\.\.\., None\].*, 1\).*encoder="recurrent"'):
            call(compiled(name))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (4, 16, 24)])
def test_pictures_with_channels_first_are_refused(name, shape):
    for _ in range(2):
        wanted = (*shape[1:], shape[0])
        with pytest.raises(ValueError, match=r'transpose\(x, \(0, 2, 3, 1\)\).*"conv"') as caught:
            compiled(name).fit(random(*shape))
        assert str(wanted) in str(caught.value)


def test_a_refused_model_can_still_be_trained():
    model = compiled("VAE", network_options=SMALL)
    x = random(8, 8)
    with pytest.raises(ValueError, match="pictures"):
        model.fit(x)
    model.fit(x[..., None], verbose=0)
    x = random(3, 8, 8)
    model = compiled("VAE", network_options=SMALL)
    with pytest.raises(ValueError, match="pictures"):
        model.fit(x)
    model.fit(keras.ops.transpose(x, (0, 2, 3, 1)), verbose=0)
    assert model._data_shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("shape", "given"),
    [
        ((28, 28), {"encoder": "recurrent"}),
        ((28, 28), {"encoder": "mlp", "decoder": "mlp"}),
        ((28, 28), {"network_options": {"cell": "lstm", **SMALL}}),
        ((3, 16, 16), {"encoder": "conv"}),
        ((24, 7), {}),
        ((100, 12), {}),
        ((12, 9), {}),
        ((16, 16, 3), {}),
        ((4, 4, 64), {}),
        ((16, 3, 2), {}),
    ],
)
def test_series_and_chosen_networks_are_taken(shape, given):
    model = compiled("AE", **{"network_options": SMALL, **given})
    model.build((None, *shape))
    assert model._data_shape == shape


def test_classes_over_time_are_no_picture():
    model = compiled("VAE", likelihood="categorical", network_options=SMALL)
    model.build((None, 16, 16))
    assert model.built


def test_a_target_is_no_misread_picture_either():
    with pytest.raises(ValueError, match=r'y\[\.\.\., None\].*decoder="recurrent"'):
        compiled("AE").build((None, 64), (None, 8, 8))
    model = compiled("AE", network_options=SMALL, decoder="mlp")
    model.build((None, 64), (None, 8, 8))
    assert model._target_shape == (8, 8)


def test_a_condition_is_no_misread_picture_either():
    model = compiled("ConditionalVAE", num_classes=None, network_options=SMALL)
    with pytest.raises(ValueError, match=r"condition\[\.\.\., None\].*condition_encoder="):
        model.fit(random(6), condition=random(8, 8))


def test_each_modality_is_told_by_its_name():
    model = keras_ae.MultimodalVAE(2, modalities={"image": "bernoulli", "label": "categorical"})
    model.compile("adam")
    with pytest.raises(ValueError, match=r"x\['image'\]\[\.\.\., None\].*encoders\['image'\]"):
        model.fit({"image": random(28, 28), "label": np.eye(8, dtype="float32")})


def test_a_model_of_before_loads(tmp_path, monkeypatch):
    with monkeypatch.context() as before:
        before.setattr(fitting, "refuse_misread_pictures", lambda *given: None)
        model, x = compiled("AE", network_options=SMALL), random(8, 8)
        model.fit(x, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again.encode(x), model.encode(x), atol=1e-6)


def test_an_encoder_of_a_mean_and_a_variance_is_explained():
    layers = keras.layers
    inputs = keras.Input((6,))
    features = layers.Dense(5, activation="relu")(inputs)
    outputs = [
        layers.Dense(2, name="z_mean")(features),
        layers.Dense(2, name="z_log_var")(features),
    ]
    encoder = keras.Model(inputs, outputs)
    with pytest.raises(ValueError, match="get_layer.'z_mean'..input") as caught:
        compiled("VAE", encoder=encoder).fit(random(6))
    assert "by a layer of its own" in str(caught.value)
    network = keras.Model(encoder.inputs, encoder.get_layer("z_mean").input)
    compiled("VAE", encoder=network).fit(random(6), verbose=0)
    other = keras.Model(inputs, [features, inputs])
    with pytest.raises(ValueError, match="network.outputs.0.|Concatenate"):
        compiled("VAE", encoder=other).fit(random(6))


class Returns(keras.layers.Layer):
    """A layer that returns what a function makes of its input."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x):
        return self.function(x)


ODD_NETWORKS = {
    "nothing": lambda x: None,
    "text": lambda x: "code",
    "a number": lambda x: 1.0,
    "an array": lambda x: np.ones((8, 4), "float32"),
    "one number for a batch": lambda x: keras.ops.sum(x),
    "one row for a batch": lambda x: keras.ops.mean(x, axis=0, keepdims=True),
    "two rows for each example": lambda x: keras.ops.concatenate([x, x]),
}


@pytest.mark.parametrize("part", ["encoder", "decoder"])
@pytest.mark.parametrize("case", ODD_NETWORKS)
def test_networks_that_return_no_row_for_each_example_are_refused(part, case):
    network = Returns(ODD_NETWORKS[case])
    with pytest.raises(ValueError, match=f"the {part} 'returns.*' ") as caught:
        compiled("AE", **{part: network}).fit(random(6), verbose=0)
    text = str(caught.value)
    assert len(text) < 500 and "\n" not in text and "\x1b" not in text, text


@pytest.mark.parametrize("network", [np.ones((6, 4)), np.ones(100), [3], 3, {"units": 3}, len])
def test_what_is_no_network_is_refused(network):
    with pytest.raises(TypeError, match="encoder=.* is neither a Keras model") as caught:
        keras_ae.AE(2, encoder=network)
    assert "array(" not in str(caught.value)


class Signs(keras.layers.Layer):
    def call(self, x):
        return keras.ops.cast(x > 0, self.kind)


@pytest.mark.parametrize("dtype", ["int32", "bool"])
@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_networks_that_no_gradient_passes_are_refused(part, dtype):
    signs = Signs()
    signs.kind = dtype
    network = keras.Sequential([keras.layers.Dense(4), signs])
    with pytest.raises(ValueError, match=f"the {part} .* returns numbers of dtype {dtype}"):
        compiled("ContractiveAE", **{part: network}).build((None, 4))


def test_an_error_of_a_network_comes_through():
    def stop(x):
        raise RuntimeError("no such table")

    with pytest.raises(RuntimeError, match="no such table"):
        compiled("AE", encoder=Returns(stop)).fit(random(6))
