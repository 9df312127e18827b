"""Changes of layers after they were built (frozen, adapted, quantized) are in the file."""

import copy

import keras
import numpy as np
import pytest
import zoo

import keras_ae


def freeze(model):
    model.encoder.trainable = False


def freeze_one(model):
    dense_of(model).trainable = False


def freeze_one_weight(model):
    dense_of(model).kernel.trainable = False


def freeze_all(model):
    model.trainable = False


def adapt(model):
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.Dense):
            layer.enable_lora(2)


def quantize(model):
    dense_of(model).quantize("int8")


def dense_of(model):
    return next(layer for layer in model.encoder.layers if isinstance(layer, keras.layers.Dense))


def saved_and_loaded(model, folder):
    model.save(folder / "model.keras")
    return keras_ae.load(folder / "model.keras")


@pytest.mark.parametrize("compiled_again", [True, False])
@pytest.mark.parametrize(
    "change", [freeze, freeze_one, freeze_one_weight, freeze_all, adapt, quantize]
)
def test_files_hold_what_was_done_to_layers(change, compiled_again, tmp_path):
    model = zoo.fitted("VAE")
    change(model)
    if compiled_again:
        model.compile(keras.optimizers.Adam(0.01), **zoo.OP_BY_OP)
    codes = model.encode(zoo.data())
    loaded = saved_and_loaded(model, tmp_path)
    assert np.array_equal(loaded.encode(zoo.data()), codes)
    trained = [variable.path for variable in model.trainable_variables]
    assert [variable.path for variable in loaded.trainable_variables] == trained


@pytest.mark.parametrize("change", [freeze, freeze_one])
def test_frozen_layers_stay_as_they_are_when_training_goes_on(change, tmp_path):
    model = zoo.eager("VAE")
    model.build((None, *zoo.data().shape[1:]))
    change(model)
    model.fit(zoo.data(), batch_size=16, verbose=0)
    loaded = saved_and_loaded(model, tmp_path)
    frozen = zoo.weights(dense_of(loaded))
    for each in (model, loaded):
        each.fit(zoo.data(), batch_size=16, verbose=0)
    for one, other in zip(zoo.weights(model), zoo.weights(loaded), strict=True):
        assert np.array_equal(one, other)
    for before, after in zip(frozen, zoo.weights(dense_of(loaded)), strict=True):
        assert np.array_equal(before, after)


def own_network():
    dense = keras.layers.Dense
    return keras.Sequential([keras.Input((6,)), dense(8, activation="tanh"), dense(4)])


@pytest.mark.parametrize(
    ("mode", "trained_after"), [("int8", True), ("int8", False), ("float8", False)]
)
def test_quantized_networks_of_the_user_load(mode, trained_after, tmp_path):
    """Keras makes the weights of such a layer in another order than `quantize` does."""
    model = zoo.fitted("VAE", encoder=own_network())
    dense_of(model).quantize(mode)
    if trained_after:
        model.compile(keras.optimizers.Adam(0.01), **zoo.OP_BY_OP)
        model.fit(zoo.data(), batch_size=16, verbose=0)
    loaded = saved_and_loaded(model, tmp_path)
    assert np.array_equal(loaded.encode(zoo.data()), model.encode(zoo.data()))
    if trained_after:
        for each in (model, loaded):
            each.fit(zoo.data(), batch_size=16, verbose=0)
        assert np.allclose(loaded.encode(zoo.data()), model.encode(zoo.data()), atol=1e-6)


def quantize_and_adapt(model):
    quantize(model)
    dense_of(model).enable_lora(2)


@pytest.mark.parametrize("change", [adapt, quantize_and_adapt])
def test_adapters_go_on_learning_after_they_were_loaded(change, tmp_path):
    model = zoo.fitted("VAE")
    change(model)
    model.compile(keras.optimizers.Adam(0.01), **zoo.OP_BY_OP)
    model.fit(zoo.data(), batch_size=16, verbose=0)
    loaded = saved_and_loaded(model, tmp_path)
    model.save_weights(tmp_path / "model.weights.h5")
    before = zoo.weights(loaded)
    for one, other in zip(zoo.weights(model), before, strict=True):
        assert np.array_equal(one, other)
    for each in (model, loaded):
        each.fit(zoo.data(), batch_size=16, verbose=0)
    for one, other in zip(zoo.weights(model), zoo.weights(loaded), strict=True):
        assert np.array_equal(one, other)
    layer = dense_of(loaded)
    loaded.load_weights(tmp_path / "model.weights.h5")
    for one, other in zip(before, zoo.weights(loaded), strict=True):
        assert np.array_equal(one, other)
    assert np.any(layer.lora_kernel_a) and np.any(layer.lora_kernel_b)
    # Keras loads the merged kernels into a model without adapters.
    plain = zoo.make("VAE")
    plain.build((None, 6))
    if change is adapt:
        plain.load_weights(tmp_path / "model.weights.h5")
        codes = loaded.encode(zoo.data())
        np.testing.assert_allclose(plain.encode(zoo.data()), codes, atol=1e-5)


@pytest.mark.parametrize("name", zoo.MODELS)
def test_a_loaded_model_has_the_same_frozen_layers(name, tmp_path):
    model = zoo.eager(name)
    zoo.build(model)
    for layer in list(model._flatten_layers())[2::3]:
        layer.trainable = not layer.trainable
    loaded = saved_and_loaded(model, tmp_path)
    flags = [layer.trainable for layer in model._flatten_layers()]
    assert [layer.trainable for layer in loaded._flatten_layers()] == flags
    trained = [variable.shape for variable in model.trainable_variables]
    assert [variable.shape for variable in loaded.trainable_variables] == trained


def test_a_copy_of_a_frozen_model_is_frozen():
    model = zoo.fitted("VAE")
    freeze(model)
    assert not copy.deepcopy(model).encoder.trainable_variables
