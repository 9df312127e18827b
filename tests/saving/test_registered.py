"""Classes and functions that `load` could not find are refused by `save` and `export`."""

import keras
import numpy as np
import pytest
import zoo
from keras import layers

import keras_ae
from keras_ae import likelihoods


class Wide(likelihoods.Gaussian):
    pass


class Doubled(layers.Layer):
    def call(self, x):
        return 2 * x


class Mine(keras_ae.VAE):
    pass


class Slow(keras.optimizers.SGD):
    pass


def distance(y, prediction):
    return keras.ops.mean(keras.ops.square(y - prediction), axis=-1)


def ramp(step):
    return keras.ops.minimum(step / 10, 1)


def network():
    return keras.Sequential([keras.Input((6,)), Doubled(), layers.Dense(4)])


def own_model():
    return Mine(**zoo.settings("VAE"))


# The name in the message -> a function that makes the model, and what `compile` takes.
UNREGISTERED = {
    "class 'Wide' as 'likelihood'": (lambda: zoo.make("VAE", likelihood=Wide()), {}),
    "function 'distance' as 'reconstruction_loss'": (
        lambda: zoo.make("AE", reconstruction_loss=distance),
        {},
    ),
    "class 'Doubled' as 'layers'": (lambda: zoo.make("VAE", encoder=network()), {}),
    "class 'Mine'": (own_model, {}),
    "function 'ramp' as 'kl_weight'": (lambda: zoo.make("VAE", kl_weight=ramp), {}),
    "function 'ramp' as 'activation'": (
        lambda: zoo.make("VAE", network_options={"units": (4,), "activation": ramp}),
        {},
    ),
    "class 'Slow' as 'optimizer'": (lambda: zoo.make("VAE"), {"optimizer": Slow()}),
    "function 'distance' as 'metrics'": (lambda: zoo.make("VAE"), {"metrics": [distance]}),
}
OBJECTS = {o.__name__: o for o in (Wide, Doubled, Mine, Slow, distance, ramp)}


def made(what):
    make, options = UNREGISTERED[what]
    model = make()
    model.compile(**{"optimizer": "sgd", **options})
    model.build((None, 6))
    return model


@pytest.mark.parametrize("what", UNREGISTERED)
def test_what_is_not_registered_is_refused(what, tmp_path):
    model = made(what)
    for call, path in {"save": "model.keras", "export": "model"}.items():
        with pytest.raises(ValueError) as caught:
            getattr(model, call)(tmp_path / path)
        text = str(caught.value).replace(f" of {__name__!r}", "")
        assert text.startswith(f"{call}: this {type(model).__name__} holds the {what}"), text
        assert "@keras.saving.register_keras_serializable()" in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("what", UNREGISTERED)
def test_load_names_what_is_missing(what, tmp_path):
    path = tmp_path / "model.keras"
    with keras.saving.custom_object_scope(OBJECTS):
        model = made(what)
        model.save(path)
    with pytest.raises(ValueError) as caught:
        keras_ae.load(path)
    text = str(caught.value).replace(f" of {__name__!r}", "")
    assert f"needs the {what}, which is not registered" in text and "custom_objects" in text
    assert "damaged" not in text
    loaded = keras_ae.load(path, custom_objects=OBJECTS)
    assert np.array_equal(loaded.encode(zoo.data()), model.encode(zoo.data()))


def test_a_function_of_keras_may_be_a_loss_and_no_weight(tmp_path):
    model = zoo.make("AE", reconstruction_loss=keras.losses.mean_absolute_error)
    model.build((None, 6))
    model.save(tmp_path / "model.keras")
    assert keras_ae.load(tmp_path / "model.keras").built
    model = zoo.make("VAE", kl_weight=keras.losses.mean_absolute_error)
    model.build((None, 6))
    with pytest.raises(ValueError, match="'kl_weight', which makes no sense there"):
        model.save(tmp_path / "other.keras")
    for weight in (layers.Dense(1), keras.losses.MeanSquaredError(), layers.Dense):
        with pytest.raises(ValueError, match="kl_weight=.* must be a number"):
            zoo.make("VAE", kl_weight=weight)


def test_what_does_not_fit_is_not_called_damaged(tmp_path):
    """The class has changed since the file was written."""
    path = tmp_path / "model.keras"
    with keras.saving.custom_object_scope(OBJECTS):
        made("class 'Wide' as 'likelihood'").save(path)

    class Other(likelihoods.Gaussian):
        @classmethod
        def from_config(cls, config):
            raise TypeError("the width is missing")

    with pytest.raises(ValueError, match="does not make a model here.*the width is missing") as e:
        keras_ae.load(path, custom_objects={"Wide": Other})
    assert "damaged" not in str(e.value) and "\n" not in str(e.value)
