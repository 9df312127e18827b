"""What a model chooses when it is built for the shape of its data."""

import inspect

import keras
import numpy as np
import pytest
import zoo

import keras_ae

SMALL = {"network_options": {"units": (4,)}, "encoder": "mlp", "decoder": "mlp"}


@pytest.mark.parametrize("name", ["AE", "VAE", "IWAE", "WAE"])
@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((7,), 16),
        ((20_000,), 16),  # A table, however wide, is no picture.
        ((100, 200), 16),
        ((28, 28, 1), 16),
        ((28, 28, 3), 16),
        ((32, 32, 3), 32),
        ((64, 64, 1), 32),
        ((64, 64, 3), 128),
        ((256, 256, 3), 128),
        ((8, 16, 16, 3), 16),
    ],
)
def test_the_code_grows_with_the_picture(name, shape, expected):
    model = getattr(keras_ae, name)(**SMALL)
    assert model.latent_dim is None
    model.build((None, *shape))
    assert model.latent_dim == expected
    assert model.code_shape == (expected,)


def test_a_given_latent_dim_stays():
    for given in (3, 200):
        model = keras_ae.VAE(given, **SMALL)
        model.build((None, 64, 64, 3))
        assert model.latent_dim == model.get_config()["latent_dim"] == given


def test_a_chosen_latent_dim_is_saved_and_cannot_be_changed(tmp_path):
    model = keras_ae.VAE(seed=0, **SMALL)
    x = np.random.default_rng(0).random((2, 32, 32, 3), "float32")
    model.build(x.shape)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert again.get_config()["latent_dim"] == 32
    np.testing.assert_allclose(again.encode(x), model.encode(x), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="latent_dim=32 cannot be changed to 16"):
        model.latent_dim = 16


@pytest.mark.parametrize("value", [0, -1, 2.5, "16", True])
def test_a_wrong_latent_dim_is_refused(value):
    with pytest.raises(ValueError, match="must be a positive integer"):
        keras_ae.VAE(value)
    model = keras_ae.VAE(**SMALL)
    model.latent_dim = value
    with pytest.raises(ValueError, match="must be a positive integer"):
        model.build((None, 8))


@pytest.mark.parametrize("name", zoo.MODELS)
def test_only_models_with_this_default_choose_the_number(name):
    parameter = zoo.parameters_of(name) & {"latent_dim"}
    cls = getattr(keras_ae, name)
    if not parameter or inspect.signature(cls).parameters["latent_dim"].default is None:
        pytest.skip("this model has no such number, or chooses it")
    with pytest.raises(ValueError, match="latent_dim=None must be"):
        cls(latent_dim=None)


@pytest.mark.parametrize("name", zoo.MODELS)
def test_a_refused_shape_leaves_nothing_behind(name, monkeypatch):
    def refuse(self):
        raise ValueError("no")

    model, expected = zoo.make(name, seed=0), zoo.make(name, seed=0)
    zoo.build(expected)
    before = [id(w) for w in model.weights]
    with monkeypatch.context() as patch, pytest.raises(ValueError, match="^no$"):
        patch.setattr(type(model), "_check_given", refuse)
        zoo.build(model)
    assert not model.built and [id(w) for w in model.weights] == before
    zoo.build(model)
    for found, wanted in zip(model.weights, expected.weights, strict=True):
        assert (found.name, found.shape) == (wanted.name, wanted.shape)
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (found, wanted)))


@pytest.mark.parametrize("name", zoo.MODELS)
def test_every_layer_of_a_built_model_is_built(name):
    """Otherwise Keras calls the model once more before the first step."""
    model = zoo.make(name)
    zoo.build(model)
    assert not [layer for layer in model._flatten_layers(include_self=False) if not layer.built]


def test_a_model_that_refused_a_shape_can_be_built_for_another():
    model = keras_ae.UNetAE(2)
    with pytest.raises(ValueError, match="which are no pictures"):
        model.build((None, 2, 2, 2, 2))
    model.build((None, 6))
    assert model.decode(np.zeros((1, 2), "float32")).shape == (1, 6)
