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


def compute_all(layer, function, x):
    """Compute a layer by a function of its inputs, and gradients by inputs and by the kernel."""

    def apply(x, kernel):
        with keras.StatelessScope([(layer.kernel, kernel)]):
            return function(x)

    def compute(x, kernel):
        y, pull = backend.pullback(lambda x: apply(x, kernel), x)
        _, pull_kernel = backend.pullback(lambda kernel: apply(x, kernel), kernel)
        return y, pull(ops.cos(y)), pull_kernel(ops.cos(y))

    return zoo.compute(compute, x, numpy(layer.kernel))


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

    products = compute_all(layer, layer.products, x)
    for found, expected in zip(products, compute_all(plain, plain, x), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.every_backend
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("layer_class", "kernel", "strides", "padding", "in_one_call"),
    [
        (Conv2DTranspose, 4, 2, "same", True),
        (Conv2DTranspose, (4, 5), (2, 3), "same", True),
        (Conv2DTranspose, 3, 1, "same", True),
        (Conv2DTranspose, 3, 2, "valid", True),
        (Conv2DTranspose, 3, 2, "same", False),
        (Conv2DTranspose, 1, 2, "same", False),
        (Conv2DTranspose, 1, 2, "valid", False),
        (Conv3DTranspose, 4, 2, "same", True),
        (Conv3D, (3, 4, 2), 1, "valid", True),
        (Conv3D, 3, 1, "same", True),
        (Conv3D, (3, 3, 4), (2, 2, 1), "same", False),
    ],
)
def test_one_call_of_torch_is_the_convolution(
    layer_class, kernel, strides, padding, in_one_call, bias
):
    given = {"strides": strides, "padding": padding, "use_bias": bias, "activation": "tanh"}
    layer = layer_class(3, kernel, **given)
    shape = (2, 5, 4, 7, 2) if "3D" in layer_class.__name__ else (2, 5, 4, 2)
    layer.build(shape)
    x = np.random.default_rng(0).normal(size=shape).astype("float32")
    found = backend.convolve(layer, ops.convert_to_tensor(x))
    assert (found is not None) == (in_one_call and keras.config.backend() == "torch")
    plain = getattr(keras.layers, layer_class.__name__)(3, kernel, **given)
    plain.build(shape)
    plain.set_weights([w + 0.1 for w in layer.get_weights()])
    layer.set_weights(plain.get_weights())

    for found, expected in zip(
        compute_all(layer, layer, x), compute_all(plain, plain, x), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.every_backend
@pytest.mark.parametrize(
    "given",
    [{"data_format": "channels_first"}, {"dilation_rate": 2}, {"strides": 2, "output_padding": 1}],
)
def test_what_torch_has_no_one_call_for_is_left_to_keras(given):
    layer = Conv2DTranspose(3, 4, padding="same", **given)
    layer.build((None, 2, 5, 2))
    assert backend.convolve(layer, np.zeros((1, 2, 5, 2), "float32")) is None


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
