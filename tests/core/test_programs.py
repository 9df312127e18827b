"""Compiled programs compute what the model computes now, whatever changed it."""

import keras
import numpy as np
import pytest
import zoo
from keras import layers, ops

import keras_ae
from keras_ae.core.batching import batched
from keras_ae.core.examples import map_leaves

BACKEND = keras.config.backend()
BATCH = {"batch_size": 16, "verbose": 0}


def dense_of(model):
    """Return a dense or convolutional layer between the data and the code."""
    networks = [getattr(model, name, None) for name in ("encoder", "unet", "features_to_code")]
    found = [layer for one in networks if one is not None for layer in one._flatten_layers()]
    return next(layer for layer in found if isinstance(layer, (layers.Dense, layers.Conv1D)))


def bend(model):
    dense_of(model).activation = keras.activations.softplus


def adapt(model):
    layer = dense_of(model)
    layer.enable_lora(2)
    layer.lora_kernel_b.assign(np.ones(layer.lora_kernel_b.shape))


def quantize(model):
    dense_of(model).quantize("int8")


def quantize_all(model):
    model.quantize("int8")


def lower_precision(model):
    dense_of(model).dtype_policy = "mixed_bfloat16"


CHANGES = {f.__name__: f for f in (bend, adapt, quantize, quantize_all, lower_precision)}


def assert_programs_are_the_models(model, x, atol=1e-5):
    """Check that compiled calls with arrays give the same numbers as eager calls with tensors."""
    for method in ("encode", "reconstruct"):
        call = getattr(model, method)
        by_tensor = ops.convert_to_numpy(call(map_leaves(ops.convert_to_tensor, x)))
        np.testing.assert_allclose(call(x), by_tensor, atol=atol, rtol=1e-4)
    np.testing.assert_allclose(model.predict(x, **BATCH), model.reconstruct(x), atol=atol)
    found = model.evaluate(x, return_dict=True, **BATCH)
    model.run_eagerly = True
    expected = model.evaluate(x, return_dict=True, **BATCH)
    model.run_eagerly = False
    assert found == pytest.approx(expected, rel=1e-4, abs=atol)


def used(name, **given):
    """Return a model all of whose programs are compiled, and its data."""
    model = zoo.compiled(name, **given)
    x = zoo.data()
    model.fit(x, **BATCH)
    model.encode(x), model.reconstruct(x), model.predict(x, **BATCH), model.evaluate(x, **BATCH)
    return model, x


# Keras warns about layers without weights.
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["AE", "VAE"])
def test_a_changed_model_is_compiled_again(name, change):
    model, x = used(name)
    before = model.encode(x)
    CHANGES[change](model)
    assert np.abs(model.encode(x) - before).max() > 1e-5
    # JAX fuses operations and rounds less often, which shows in lower precision.
    assert_programs_are_the_models(model, x, 0.02 if change == "lower_precision" else 1e-5)
    if change == "adapt":
        model.compile(keras.optimizers.Adam(0.05))  # Keras demands this after new weights.
        model.fit(x, **BATCH)
        assert_programs_are_the_models(model, x)


@pytest.mark.parametrize("name", zoo.WITH_NETWORKS)
def test_every_model_notices_a_changed_layer(name):
    model = zoo.compiled(name)
    x = zoo.data_for(name)
    model.evaluate(x, **BATCH)
    before = model.reconstruct(x)
    bend(model)
    after = model.reconstruct(x)
    tensor = map_leaves(ops.convert_to_tensor, x)
    expected = ops.convert_to_numpy(model.reconstruct(tensor))
    np.testing.assert_allclose(after, expected, atol=1e-5)
    if name not in zoo.DISCRETE:  # Integer codes may stay the same.
        assert np.abs(after - before).max() > 1e-6
    found = model.evaluate(x, return_dict=True, **BATCH)
    model.run_eagerly = True
    expected = model.evaluate(x, return_dict=True, **BATCH)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_training_notices_what_is_frozen():
    model, x = used("VAE")
    layer = dense_of(model)
    for frozen in (True, False):
        layer.trainable = not frozen
        if BACKEND == "jax":
            model.compile(keras.optimizers.Adam(0.01))  # Keras demands this on JAX.
        before, rest = layer.get_weights(), model.features_to_code.get_weights()
        model.fit(x, **BATCH)
        assert np.array_equal(before[0], layer.get_weights()[0]) == frozen
        assert not np.array_equal(rest[0], model.features_to_code.get_weights()[0])


def test_training_notices_changes_of_the_optimizer():
    model, x = used("AE", optimizer=keras.optimizers.SGD(0.1))
    model.optimizer.clipvalue = 1e-9
    before = model.encoder.get_weights()
    model.fit(x, **BATCH)
    for old, new in zip(before, model.encoder.get_weights(), strict=True):
        np.testing.assert_allclose(old, new, atol=1e-7)


def test_what_a_callback_changes_holds_from_the_next_epoch():
    model, x = used("AE", optimizer=keras.optimizers.SGD(0.1))

    def change(epoch, logs):
        if epoch == 1:
            bend(model)
            model.optimizer.clipvalue = 1e-9
            kernels.append(model.encoder.get_weights()[0])

    kernels = []
    callback = keras.callbacks.LambdaCallback(on_epoch_begin=change)
    model.fit(x, epochs=3, callbacks=[callback], validation_data=x, **BATCH)
    np.testing.assert_allclose(kernels[0], model.encoder.get_weights()[0], atol=1e-7)
    assert_programs_are_the_models(model, x)


def test_changes_of_objects_in_layers_are_noticed():
    """An object that a layer or a model holds, such as a regularizer, may change."""
    model = zoo.compiled("DenoisingAE", network_options=PENALIZED)
    x = zoo.data()
    first = model.evaluate(x, return_dict=True, **BATCH)
    dense_of(model).kernel_regularizer.l2 = 1.0
    second = model.evaluate(x, return_dict=True, **BATCH)
    assert second["loss"] > first["loss"] + 0.1
    model.corruption = keras_ae.corruptions.AdditiveGaussian(5.0)
    third = model.evaluate(x, return_dict=True, **BATCH)
    assert third["reconstruction_loss"] > second["reconstruction_loss"]


PENALIZED = {"units": (8,), "kernel_regularizer": keras.regularizers.L2(1e-4)}


def test_use_and_new_weights_compile_nothing_again(tmp_path):
    """Calls of all kinds, and new values of weights, leave the programs as they are."""
    if BACKEND == "torch":
        pytest.skip("torch runs eagerly and compiles nothing")
    model, x = used("VAE", network_options={"units": (8,), "dropout": 0.1})
    model.sample(3), model.log_likelihood(x, num_samples=4)
    model.fit(x, validation_data=x, **BATCH)
    before = model._notes.programs.kept, model._notes.step_programs.kept
    model.set_weights([w * 0.5 for w in model.get_weights()])
    model.save_weights(tmp_path / "a.weights.h5")
    model.load_weights(tmp_path / "a.weights.h5")
    model.save(tmp_path / "a.keras")
    model.optimizer.learning_rate = 0.5
    keras.Model(model.encoder.inputs, model.encode(model.encoder.inputs[0]))
    model.get_config(), model.summary(print_fn=lambda *_, **__: None)
    for _ in range(2):
        model.fit(x, epochs=2, validation_data=x, **BATCH)
        model.encode(x), model.sample(3), model.evaluate(x, **BATCH), model.predict(x, **BATCH)
        model.train_on_batch(x[:16]), model.test_on_batch(x[:16])
    assert model._notes.programs.kept is before[0] and model._notes.step_programs.kept is before[1]


class Counting(layers.Layer):
    """Counts its calls; on a backend that compiles, these are the times it was traced."""

    calls = 0

    def call(self, x):
        self.calls += 1
        return x


def test_layers_that_set_attributes_in_a_call_are_compiled_once():
    if BACKEND == "torch":
        pytest.skip("torch runs eagerly and compiles nothing")
    counting = Counting()
    encoder = keras.Sequential([keras.Input((6,)), counting, layers.Dense(4)])
    model, x = used("VAE", encoder=encoder)
    before = counting.calls
    for _ in range(3):
        model.encode(x), model.evaluate(x, **BATCH), model.fit(x, **BATCH)
    assert counting.calls - before <= 3
    before, tensor = counting.calls, ops.convert_to_tensor(x)
    for _ in range(3):  # Calls with tensors run the layer each time, but must compile nothing.
        model.encode(tensor), model.encode(x), model.evaluate(x, **BATCH), model.fit(x, **BATCH)
    assert counting.calls - before == 3


def test_compile_forgets_what_was_compiled_from_closures():
    factor = [1.0]

    def scale():
        return factor[0]

    class Scaled(keras_ae.AE):
        def encode(self, x, **kwargs):
            return self._encode(x, **kwargs)

        @batched("data")
        def _encode(self, x):
            return scale() * self._code(x)

    model, x = Scaled(2, **zoo.OPTIONS), zoo.data()
    before = model.encode(x)
    factor[0] = 3.0
    model.compile("adam")
    np.testing.assert_allclose(model.encode(x), 3.0 * before, rtol=1e-5)
