"""The contract of a model: short enough to be read, and shown whole by Python's own means."""

import inspect
import pathlib

import keras
import pytest
import zoo

import keras_ae

MOST_LINES, MOST_LINES_OF_THE_FILE = 760, 300


def test_the_contract_can_be_read():
    """The base class with everything that it inherits from this package."""
    parts = [c for c in keras_ae.Autoencoder.__mro__ if c.__module__.startswith("keras_ae.")]
    assert len(parts) > 3
    assert sum(len(inspect.getsource(part).splitlines()) for part in parts) <= MOST_LINES
    file = pathlib.Path(inspect.getsourcefile(keras_ae.Autoencoder))
    assert len(file.read_text().splitlines()) <= MOST_LINES_OF_THE_FILE


@pytest.mark.parametrize("name", zoo.MODELS)
def test_a_signature_shows_every_argument(name):
    """Those of base classes, too, with their defaults, which `help` and completion read."""
    cls = getattr(keras_ae, name)
    shown = inspect.signature(cls).parameters
    model = zoo.MODELS[name]()
    assert set(shown) == {*model.arguments, "name", "dtype"}
    assert not any(p.kind is p.VAR_KEYWORD for p in shown.values())
    for argument, parameter in shown.items():
        assert parameter.default is not parameter.empty, argument


def test_arguments_of_base_classes_are_checked_by_position_and_name():
    model = keras_ae.BetaVAE(3, 2.0, likelihood="laplace")
    assert model.latent_dim == 3 and model.beta == 2.0
    assert isinstance(model.likelihood, keras_ae.likelihoods.Laplace)
    with pytest.raises(TypeError):
        keras_ae.BetaVAE(3, 2.0, "laplace")
    with pytest.raises(TypeError, match="unknown argument 'bet'"):
        keras_ae.BetaVAE(bet=2.0)


def test_arguments_by_keyword_alone_are_arguments():
    class Mine(keras_ae.AE):
        def __init__(self, latent_dim=2, *, strength=1.0, **kwargs):
            super().__init__(latent_dim, **kwargs)
            self.strength = strength

    assert list(inspect.signature(Mine).parameters)[:2] == ["latent_dim", "strength"]
    assert Mine(strength=3.0).get_config()["strength"] == 3.0
    assert issubclass(Mine, keras.Model)


@pytest.mark.parametrize("name", zoo.MODELS)
def test_a_model_has_few_public_names(name):
    """Those of Keras' models and the model's own arguments are known from elsewhere."""
    model = zoo.MODELS[name]()
    zoo.build(model)
    names = {name for name in dir(model) if not name.startswith("_")}
    keras_own = {*dir(keras.Model), *dir(keras.Sequential([keras.layers.Dense(2)]))}
    assert len(names - keras_own - set(model.arguments)) <= 33
    if name == "VAE":
        assert len(names - keras_own) <= 33
    for method in names - keras_own:
        value = getattr(type(model), method, None)
        if callable(value) or isinstance(value, property):
            assert inspect.getdoc(value), f"{method} says nothing of itself"
