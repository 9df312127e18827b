"""Convolutions made of matrix products equal Keras' own."""

import keras
import numpy as np
import pytest
import zoo
from keras import ops

from keras_ae.core import backend
from keras_ae.layers import Conv2DTranspose, Conv3D, Conv3DTranspose

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
@pytest.mark.parametrize(
    ("kernel", "strides"), [(4, 2), (3, 2), (1, 2), (2, 2), (5, 3), ((4, 3, 1), (1, 2, 3))]
)
@pytest.mark.parametrize("layer_class", [Conv3D, Conv3DTranspose])
def test_products_for_volumes_are_the_convolution_and_so_are_their_gradients(
    layer_class, kernel, strides
):
    given = {"strides": strides, "padding": "same"}
    layer, shape = layer_class(3, kernel, **given), (2, 5, 4, 7, 2)
    layer.build(shape)
    if not layer.has_products(shape):
        assert layer_class is Conv3DTranspose and kernel in (1, (4, 3, 1))
        return
    plain = getattr(keras.layers, layer_class.__name__)(3, kernel, **given)
    plain.build(shape)
    plain.set_weights(layer.get_weights())
    x = np.random.default_rng(0).normal(size=shape).astype("float32")

    def compute_all(layer):
        function = layer.products if isinstance(layer, layer_class) else layer

        def apply(x, kernel):
            with keras.StatelessScope([(layer.kernel, kernel)]):
                return function(x)

        def compute(x, kernel):
            y, pull = backend.pullback(lambda x: apply(x, kernel), x)
            _, pull_kernel = backend.pullback(lambda kernel: apply(x, kernel), kernel)
            return y, pull(ops.cos(y)), pull_kernel(ops.cos(y))

        return zoo.compute(compute, x, numpy(layer.kernel))

    for found, expected in zip(compute_all(layer), compute_all(plain), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)


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


@pytest.mark.parametrize(
    "given",
    [
        {"padding": "valid"},
        {"strides": 1},
        {"dilation_rate": 2, "strides": 1},
        {"groups": 2},
        {"data_format": "channels_first"},
    ],
)
def test_other_kinds_of_volumes_are_left_to_keras(given):
    layer = Conv3D(2, 4, **{"strides": 2, "padding": "same", **given})
    assert not layer.has_products((None, 5, 4, 4, 2))
    assert not Conv3D(2, 4, strides=2, padding="same").has_products((None, None, 4, 4, 2))


@pytest.mark.parametrize("layer_class", [Conv2DTranspose, Conv3D, Conv3DTranspose])
def test_a_layer_is_restored_from_its_configuration(layer_class):
    layer = layer_class(2, 4, strides=2, padding="same", activation="relu", name="resized")
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(again) is layer_class and again.get_config() == layer.get_config()
