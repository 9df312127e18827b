"""The transposed convolution made of matrix products equals Keras' own."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ae.core import backend
from keras_ae.layers import Conv2DTranspose

pytestmark = pytest.mark.formula


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def made(kernel, strides, padding="same", **given):
    layer = Conv2DTranspose(3, kernel, strides=strides, padding=padding, **given)
    layer.build((None, 5, 4, 2))
    layer.bias.assign([0.5, -1.0, 2.0])
    return layer


@pytest.mark.every_backend
@pytest.mark.parametrize(
    ("kernel", "strides", "padding"),
    [
        (4, 2, "same"),
        (3, 2, "same"),
        (5, 2, "same"),
        (2, 2, "same"),
        (5, 3, "same"),
        (3, 1, "same"),
        ((4, 3), (2, 3), "same"),
        (3, 3, "valid"),
    ],
)
def test_the_products_are_the_convolution_and_so_are_their_gradients(kernel, strides, padding):
    layer, x = made(kernel, strides, padding), np.random.default_rng(0).normal(size=(6, 5, 4, 2))
    x = ops.convert_to_tensor(x.astype("float32"))
    assert layer.has_products(x.shape)
    plain = keras.layers.Conv2DTranspose(3, kernel, strides=strides, padding=padding)
    plain.build(x.shape)
    plain.set_weights(layer.get_weights())
    found, pull = backend.pullback(lambda x: layer.products(x) + layer.bias, x)
    expected, plain_pull = backend.pullback(plain, x)
    np.testing.assert_allclose(numpy(found), numpy(expected), atol=1e-5)
    cotangent = ops.cos(expected)
    np.testing.assert_allclose(numpy(pull(cotangent)), numpy(plain_pull(cotangent)), atol=1e-4)


@pytest.mark.every_backend
def test_a_layer_of_products_has_its_bias_and_activation(monkeypatch):
    layer, x = made(4, 2, activation="tanh"), np.ones((2, 5, 4, 2), "float32")
    monkeypatch.setattr(backend, "transposes_slowly", lambda: False)
    expected = numpy(layer(x))
    monkeypatch.setattr(backend, "transposes_slowly", lambda: True)
    calls = []
    products = layer.products
    monkeypatch.setattr(layer, "products", lambda x: calls.append(x) or products(x))
    np.testing.assert_allclose(numpy(layer(x)), expected, atol=1e-6)
    assert calls


@pytest.mark.parametrize(
    ("given", "shape"),
    [
        ({"kernel": 2, "strides": 3}, (5, 4)),
        ({"kernel": 4, "strides": 2, "padding": "valid"}, (5, 4)),
        ({"kernel": 3, "strides": 2, "output_padding": 1}, (5, 4)),
        ({"kernel": 3, "strides": 1, "dilation_rate": 2}, (5, 4)),
        ({"kernel": 4, "strides": 2}, (None, 4)),
    ],
)
def test_other_kinds_are_left_to_keras(given, shape):
    assert not made(**given).has_products((None, *shape, 2))


def test_a_layer_is_restored_from_its_configuration():
    layer = made(4, 2, activation="relu", name="larger")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is Conv2DTranspose and again.get_config() == layer.get_config()
