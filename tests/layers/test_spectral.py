"""Spectral normalization against NumPy's singular values, difference quotients and norms."""

import json

import keras
import numpy as np
import pytest
import zoo
from keras import ops

import keras_ae
from keras_ae.layers import SpectralNormalization, power_iteration

# Class -> its arguments besides its filters or units.
LAYERS = {
    "Dense": {},
    "Conv2D": {"kernel_size": 3, "strides": 2, "padding": "same"},
    "Conv2DTranspose": {"kernel_size": 3, "strides": 2, "padding": "same"},
}
every_layer = pytest.mark.parametrize("name", LAYERS)


def array(tensor):
    return ops.convert_to_numpy(tensor)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def made(name, size=4, **given):
    """Return a layer with a random kernel and unknown singular vectors, and data for it."""
    inner = getattr(keras.layers, name)(size, **LAYERS[name], **given)
    layer = SpectralNormalization(inner)
    x = normal(3, 5) if name == "Dense" else normal(3, 6, 7, 5)
    layer.build(x.shape)
    layer.linear.kernel.assign(normal(*layer.linear.kernel.shape, seed=1))
    return layer, x


def settle(layer, turns=200):
    """Set the singular vectors to those to which the iteration converges."""
    kernel = array(layer.linear.kernel)
    right = array(layer.right)
    matrix = kernel.reshape(-1, kernel.shape[-1]).astype("float64")
    for _ in range(turns):
        right = matrix.T @ (matrix @ right)
        right /= np.linalg.norm(right)
    layer.right.assign(right)


def largest(layer):
    kernel = array(layer.linear.kernel)
    return np.linalg.svd(kernel.reshape(-1, kernel.shape[-1]), compute_uv=False)[0]


def plain(layer, name, x):
    """Return the output of Keras' own layer with the same kernel."""
    again = getattr(keras.layers, name)(4, **LAYERS[name], use_bias=False)
    again.build(x.shape)
    again.kernel.assign(array(layer.linear.kernel))
    return array(again(x))


@every_layer
def test_sigma_converges_to_the_largest_singular_value(name):
    layer, x = made(name)
    start = float(array(layer.sigma()))

    for _ in range(40):
        layer(x, training=True)
    found = float(array(layer.sigma()))
    assert found == pytest.approx(largest(layer), rel=1e-3)
    assert start < found * (1 - 1e-3)
    before = array(layer.right)
    layer(x, training=False)
    assert np.array_equal(array(layer.right), before)


def test_one_call_is_one_turn_of_the_iteration():
    layer, x = made("Dense")
    kernel, right = array(layer.linear.kernel), array(layer.right)
    left, following = power_iteration(kernel, right)
    for vector, expected in ((left, kernel @ right), (following, kernel.T @ (kernel @ right))):
        np.testing.assert_allclose(array(vector), expected / np.linalg.norm(expected), rtol=1e-4)
    sigma = float(array(layer.sigma(training=True)))
    assert sigma == pytest.approx(array(left) @ kernel @ array(following), rel=1e-4)
    np.testing.assert_allclose(array(layer.right), array(following), rtol=1e-4)


@every_layer
def test_bias_and_activation_come_after_the_division(name):
    layer, x = made(name, activation="tanh")
    settle(layer)
    bias = normal(4, seed=2)
    layer.bias.assign(bias)
    expected = np.tanh(plain(layer, name, x) / largest(layer) + bias)
    np.testing.assert_allclose(array(layer(x)), expected, rtol=1e-3, atol=1e-4)


def test_a_dense_layer_has_the_lipschitz_constant_one():
    layer, _ = made("Dense")
    settle(layer)
    jacobian = array(layer(np.eye(5, dtype="float32"))) - array(layer(np.zeros((1, 5))))
    singular = np.linalg.svd(jacobian, compute_uv=False)
    assert singular[0] == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("name", ["Conv2D", "Conv2DTranspose"])
def test_a_convolutions_slope_is_bounded_by_its_overlapping_windows(name):
    """With kernel 3 and stride 2 a pixel is in at most 2 x 2 windows, so the bound is 2."""
    layer, x = made(name)
    settle(layer)
    basis = np.eye(6 * 7 * 5, dtype="float32").reshape(-1, 6, 7, 5)
    jacobian = array(layer(basis)).reshape(len(basis), -1)
    constant = np.linalg.svd(jacobian, compute_uv=False)[0]
    assert 0.5 < constant <= 2 * (1 + 1e-4)


@every_layer
def test_gradients_equal_difference_quotients(name):
    """The gradient of the kernel is taken from a step of SGD, the quotients from NumPy."""
    layer, x = made(name, use_bias=False)
    settle(layer)
    kernel, largest_before = array(layer.linear.kernel), largest(layer)
    weights = normal(*layer(x).shape, seed=3)
    model = keras.Sequential([layer])
    model.compile(keras.optimizers.SGD(1e-3), lambda y, output: ops.sum(y * output))
    model.train_on_batch(x, weights)
    gradient = (kernel - array(layer.linear.kernel)) / 1e-3

    def total(step):
        layer.linear.kernel.assign(kernel + step)
        return np.sum(weights * plain(layer, name, x).astype("float64")) / largest(layer)

    for seed in range(3):
        step = 3e-3 * normal(*kernel.shape, seed=4 + seed)
        expected = (total(step) - total(-step)) / 2
        assert np.sum(gradient * step) == pytest.approx(expected, rel=0.02, abs=1e-3)
    # The gradient is orthogonal to the kernel, because scaling the kernel changes nothing. With a
    # constant divisor it would not be.
    scale = np.linalg.norm(gradient) * np.linalg.norm(kernel)
    assert abs(np.sum(gradient * kernel)) < 1e-2 * scale
    assert largest_before == pytest.approx(float(array(layer.sigma())), rel=0.1)


def test_normalization_works_in_half_precision():
    exact, x = made("Dense")
    settle(exact)
    half = SpectralNormalization(keras.layers.Dense(4, dtype="mixed_float16"))
    half.build(x.shape)
    for weight, given in zip(half.weights, exact.weights, strict=True):
        weight.assign(array(given))
    y = half(x)
    assert keras.backend.standardize_dtype(y.dtype) == "float16"
    np.testing.assert_allclose(array(y), array(exact(x)), atol=5e-3)
    assert {keras.backend.standardize_dtype(weight.dtype) for weight in half.weights} == {"float32"}


def test_a_kernel_of_zeros_gives_zeros():
    layer, x = made("Dense")
    layer.linear.kernel.assign(np.zeros((5, 4)))
    assert not np.any(array(layer(x, training=True))) and np.all(np.isfinite(array(layer.right)))


@every_layer
def test_a_layer_is_restored_from_its_configuration_and_its_file(name, tmp_path):
    layer, x = made(name, activation="relu", bias_initializer="ones", kernel_regularizer="l2")
    again = SpectralNormalization.from_config(json.loads(json.dumps(layer.get_config())))
    again.build(x.shape)
    for weight, copied in zip(layer.weights, again.weights, strict=True):
        copied.assign(array(weight))
    np.testing.assert_array_equal(array(again(x)), array(layer(x)))
    assert len(again.losses) == 1
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(array(loaded(x)), array(model(x)))
    assert layer.compute_output_shape(x.shape) == tuple(layer(x).shape)


def test_layers_that_are_not_linear_are_refused():
    built = keras.layers.Dense(2)
    built.build((None, 3))
    for given in (keras.layers.GRU(2), keras.layers.DepthwiseConv2D(3), built, "dense"):
        with pytest.raises(TypeError, match="must be a new layer of Keras' own, one of Dense, Con"):
            SpectralNormalization(given)


def test_a_model_of_normalized_networks_trains_and_keeps_its_vectors(tmp_path):
    options = {"units": (8,), "spectral_normalization": True}
    model = keras_ae.AE(2, network_options=options, seed=0)
    model.compile(keras.optimizers.Adam(0.01), **zoo.OP_BY_OP)
    history = model.fit(zoo.data(), epochs=2, batch_size=16, verbose=0).history["loss"]
    assert history[1] < history[0]
    vectors = [v for v in model.non_trainable_variables if v.name == "right"]
    assert len(vectors) == 3  # The layer of the code is in no network and is not normalized.
    model.save(tmp_path / "model.keras")
    loaded = keras_ae.load(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded.reconstruct(zoo.data()), model.reconstruct(zoo.data()))
