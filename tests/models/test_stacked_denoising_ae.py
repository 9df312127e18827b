"""StackedDenoisingAE: each phase against models of one layer, what moves in it, and resumption."""

import keras
import numpy as np
import pytest
import zoo
from keras import ops

import keras_ae
from keras_ae import DenoisingAE, StackedDenoisingAE, corruptions
from keras_ae.core import backend

pytestmark = pytest.mark.formula

BATCH = {"batch_size": 16, "verbose": 0}
UNITS = (5, 4)


def numpy(tensor):
    return np.array(ops.convert_to_numpy(ops.convert_to_tensor(tensor)))


def made(optimizer=None, options=None, compile_options=None, **given):
    options = {"units": UNITS, "activation": "tanh"} | (options or {})
    model = StackedDenoisingAE(**{"latent_dim": 3, "seed": 0} | given, network_options=options)
    compile_options = zoo.OP_BY_OP if compile_options is None else compile_options
    model.compile(optimizer or keras.optimizers.Adam(0.01), **compile_options)
    return model


def pairs_of(model):
    """Return the weights of each pair of layers, from the data to the code."""
    below = [model.encoder.get_layer(f"encoder_dense_{i}") for i in (1, 2)]
    above = [model.decoder.get_layer(f"decoder_dense_{i}") for i in (1, 2)]
    below.append(model.features_to_code.layers[-1])
    above.append(model.decoder.get_layer("decoder_output"))
    pairs = zip(below, reversed(above), strict=True)
    return [[numpy(v) for layer in pair for v in layer.weights] for pair in pairs]


def moved(before, after):
    """Tell for each pair whether any of its weights has moved."""
    pairs = zip(before, after, strict=True)
    return [not all(map(np.array_equal, one, other)) for one, other in pairs]


# ---------------------------------------------------------------------- the phases


@pytest.mark.every_backend
@pytest.mark.parametrize("optimizer", ["Adam", "SGD", "AdamW"])
def test_only_the_layers_of_the_phase_move(optimizer):
    """Neither moments of earlier steps nor penalties of weights move the other layers."""
    optimizer = getattr(keras.optimizers, optimizer)(0.01)
    model = made(optimizer, {"kernel_regularizer": "l2"}, pretraining_steps=3)
    x, found = zoo.data(), []
    model.build(x.shape)
    for epoch in range(4):  # Three steps each.
        before = pairs_of(model)
        model.fit(x, initial_epoch=epoch, epochs=epoch + 1, **BATCH)
        found.append(moved(before, pairs_of(model)))
    assert found[:3] == [[i == epoch for i in range(3)] for epoch in range(3)]
    assert found[3] == [True, True, True]


def test_phases_begin_at_their_steps_within_an_epoch():
    model, x, seen = made(pretraining_steps=2), zoo.data(), []
    model.build(x.shape)

    class Watch(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.before = pairs_of(model)

        def on_train_batch_end(self, batch, logs=None):
            backend.settle(model)
            seen.append(moved(self.before, pairs_of(model)))

    model.fit(np.tile(x, (3, 1))[:112], callbacks=[Watch()], **BATCH)
    assert seen == [[i == step // 2 or step == 6 for i in range(3)] for step in range(7)]


def test_single_steps_go_through_the_phases_too():
    model, x = made(pretraining_steps=1), zoo.data(16)
    model.build(x.shape)
    found = []
    for _ in range(4):
        before = pairs_of(model)
        model.train_on_batch(x)
        found.append(moved(before, pairs_of(model)))
    assert found == [[i == step or step == 3 for i in range(3)] for step in range(4)]


def test_the_first_layer_is_trained_as_a_denoising_autoencoder_of_one_layer():
    x = np.random.default_rng(0).random((48, 6), "float32")
    model = made(options={"activation": "linear"}, pretraining_steps=9)
    single = DenoisingAE(5, encoder="mlp", decoder="mlp", network_options={"units": ()}, seed=0)
    single.compile(keras.optimizers.Adam(0.01), **zoo.OP_BY_OP)
    for each in (model, single):
        each.build(x.shape)
    layers = single.features_to_code.layers[-1], single.decoder.get_layer("decoder_output")
    start = pairs_of(model)[0]
    layers[0].set_weights(start[:2])
    layers[1].set_weights(start[2:])
    histories = [each.fit(x, epochs=3, **BATCH).history["loss"] for each in (model, single)]
    np.testing.assert_allclose(*histories, rtol=1e-5)
    wanted = [numpy(v) for layer in layers for v in layer.weights]
    for one, other in zip(pairs_of(model)[0], wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert moved([start], [pairs_of(model)[0]]) == [True]


def test_a_higher_layer_reconstructs_what_the_trained_layers_below_return():
    model, x = made(keras.optimizers.SGD(0.0), pretraining_steps=3), zoo.data(48)
    model.hidden_corruption = corruptions.Masking(0.0)
    losses = [model.fit(x, **BATCH).history["loss"][0] for _ in range(3)]

    def layer(h, weights):
        return np.tanh(h @ weights[0] + weights[1])

    first, second, code = pairs_of(model)
    h = layer(x, first[:2])
    copy = layer(layer(h, second[:2]), second[2:])
    assert losses[1] == pytest.approx(np.square(copy - h).sum(axis=1).mean(), rel=1e-4)
    h = layer(h, second[:2])
    copy = layer(h @ code[0] + code[1], code[2:])
    assert losses[2] == pytest.approx(np.square(copy - h).sum(axis=1).mean(), rel=1e-4)
    # Unrolled, the layers are the encoder and the decoder.
    z = h @ code[0] + code[1]
    np.testing.assert_allclose(model.encode(x), z, rtol=1e-4, atol=1e-5)
    copy = layer(layer(z, code[2:]), second[2:]) @ first[2] + first[3]
    np.testing.assert_allclose(model.reconstruct(x), copy, rtol=1e-4, atol=1e-5)


def test_without_pretraining_it_is_a_denoising_autoencoder():
    x, found = zoo.data(), []
    options = {"units": UNITS, "activation": "tanh"}
    single = DenoisingAE(3, encoder="mlp", decoder="mlp", network_options=options, seed=0)
    single.compile(keras.optimizers.Adam(0.01), **zoo.OP_BY_OP)
    for model in (made(pretraining_steps=0), single):
        model.fit(x, epochs=2, **BATCH)
        found.append(model.reconstruct(x))
    np.testing.assert_allclose(*found, rtol=1e-4, atol=1e-6)


@pytest.mark.costly
def test_pretraining_lowers_the_loss_of_each_layer():
    rng = np.random.default_rng(0)
    x = np.tanh(rng.normal(size=(192, 3)) @ rng.normal(size=(3, 6))).astype("float32")
    model = made(pretraining_steps=120)
    losses = model.fit(x, epochs=40, **BATCH).history["loss"]
    for first in (0, 10, 20):
        assert losses[first + 9] < 0.8 * losses[first]
    assert losses[-1] < losses[30]


def test_options_of_networks_stay_with_their_layers():
    options = {"batch_normalization": True, "dropout": 0.3, "activation": "relu"}
    model = made(options=options, pretraining_steps=3)
    x = np.random.default_rng(0).random((48, 6), "float32")
    model.build(x.shape)
    below = [v for v in model.encoder.weights if "moving" in v.name]
    above = [v for v in model.decoder.weights if "moving" in v.name]
    values = [numpy(v) for v in [*below, *above]]
    model.fit(x, **BATCH)
    changed = [
        not np.array_equal(v, numpy(w)) for v, w in zip(values, [*below, *above], strict=True)
    ]
    # The first pair's layer is normalized in the encoder, and linear in the decoder.
    assert changed == [True] * 2 + [False] * 6
    model.fit(x, epochs=5, **BATCH)
    assert np.all(np.isfinite(model.reconstruct(x)))


# ---------------------------------------------------------------------- steps and resumption


def test_half_of_the_first_fit_is_pretraining():
    model, x = made(), zoo.data()
    model.fit(x, epochs=8, **BATCH)  # 24 steps are 12 of pre-training, four for each layer.
    assert model._count_pretraining_steps() == 4 and model._phase == 3
    model.fit(x, epochs=90, **BATCH)
    assert model._count_pretraining_steps() == 4
    model = made()
    model.train_on_batch(x)
    assert model._count_pretraining_steps() == 1000 and model._phase == 0


@pytest.mark.costly
@pytest.mark.parametrize("compile_options", [None, {}])
def test_several_calls_of_fit_train_like_one(compile_options):
    found, x = [], zoo.data()
    for parts in ([(0, 5)], [(0, 1), (1, 3), (3, 5)]):
        model = made(pretraining_steps=4, compile_options=compile_options)
        for first, last in parts:
            model.fit(x, initial_epoch=first, epochs=last, **BATCH)
        found.append(zoo.weights(model))
    assert all(map(np.array_equal, *found))


@pytest.mark.every_backend
@pytest.mark.costly
@pytest.mark.parametrize("given", [None, 4])
@pytest.mark.parametrize("last", [2, 7, 10, 14])
def test_a_training_that_was_killed_resumes_in_its_phase(given, last, tmp_path):
    class Kill(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if int(ops.convert_to_numpy(self.model.optimizer.iterations)) == last:
                raise KeyboardInterrupt

    x, found = zoo.data(), []
    for is_killed in (False, True):
        backup = keras_ae.callbacks.BackupAndRestore(tmp_path / str(is_killed), save_freq=3)
        if is_killed:
            model = made(pretraining_steps=given)
            model.build(x.shape)
            with pytest.raises(KeyboardInterrupt):
                model.fit(x, epochs=6, callbacks=[Kill(), backup], **BATCH)
            backup.release()
        model = made(pretraining_steps=given)
        model.build(x.shape)
        model.fit(x, epochs=6, callbacks=[backup], **BATCH)
        found.append(zoo.weights(model))
    assert all(map(np.array_equal, *found))


def test_a_loaded_model_goes_on_in_its_phase(tmp_path):
    model, x = made(pretraining_steps=3), zoo.data()
    model.fit(x, epochs=2, **BATCH)
    model.save(tmp_path / "model.keras")
    for train in (lambda m: m.fit(x, **BATCH), lambda m: m.train_on_batch(x[:16])):
        loaded = keras_ae.load(tmp_path / "model.keras")
        before = pairs_of(loaded)
        train(loaded)
        assert moved(before, pairs_of(loaded)) == [False, False, True]


# ---------------------------------------------------------------------- refusals


def test_what_cannot_work_is_refused():
    with pytest.raises(ValueError, match="pretraining_steps=-1 must be an integer of at least 0"):
        StackedDenoisingAE(pretraining_steps=-1)
    for corruption in ("blocks", "affine"):
        with pytest.raises(ValueError, match=f"hidden_corruption='{corruption}' is for pictures"):
            StackedDenoisingAE(hidden_corruption=corruption)
    with pytest.raises(TypeError, match="unknown argument 'encoder'"):
        StackedDenoisingAE(encoder="conv")


def test_corruptions_of_pictures_corrupt_the_data():
    model = made(corruption=corruptions.Blocks(2), pretraining_steps=2)
    x = np.random.default_rng(0).random((48, 4, 4, 1), "float32")
    model.fit(x, epochs=3, **BATCH)
    assert model.reconstruct(x).shape == x.shape
