"""Models that keep former weights, whose layers are frozen or get adapters after the first fit."""

import keras
import numpy as np
import pytest
import zoo
from keras import ops

import keras_ae

pytestmark = pytest.mark.every_backend

BATCH = {"batch_size": 16, "verbose": 0}


def made(name):
    given = {"latent_dim": 2, "network_options": {"units": (8, 8)}, "seed": 0}
    if name != "RecVAE":
        given |= {"num_clusters": 2, "pretraining_steps": 2, "update_interval": 2}
    model = getattr(keras_ae, name)(**given)
    model.compile(keras.optimizers.Adam(0.01), **zoo.OP_BY_OP)
    return model


def data():
    return np.random.default_rng(0).integers(0, 3, (32, 6)).astype("float32")


def first_dense(model):
    return next(d for d in model.encoder._flatten_layers() if isinstance(d, keras.layers.Dense))


def freeze(model):
    model.encoder.trainable = False


def freeze_one(model):
    first_dense(model).trainable = False


def adapt(model):
    first_dense(model).enable_lora(2)


@pytest.mark.parametrize("name", ["RecVAE", "DEC"])
@pytest.mark.parametrize("change", [freeze, freeze_one, adapt])
def test_training_goes_on_after_a_change_of_layers(name, change):
    model, x = made(name), data()
    model.fit(x, epochs=2, **BATCH)
    change(model)
    model.compile(keras.optimizers.Adam(0.01), **zoo.OP_BY_OP)
    history = model.fit(x, epochs=2, **BATCH).history
    assert np.all(np.isfinite(history["loss"]))


def test_former_posteriors_have_what_adapters_have_learned():
    model, x = made("RecVAE"), data()
    model.fit(x, **BATCH)
    adapt(model)
    codes, formers = [], []

    class Watch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            codes.append(model.encode(x))

        def on_epoch_end(self, epoch, logs=None):
            former = model._former_posterior(ops.convert_to_tensor(x)).mean
            formers.append(ops.convert_to_numpy(former))

    model.compile(keras.optimizers.Adam(0.05), **zoo.OP_BY_OP)
    model.fit(x, epochs=3, callbacks=[Watch()], **BATCH)
    for code, former in zip(codes, formers, strict=True):
        np.testing.assert_allclose(former, code, atol=1e-5)
    assert np.abs(codes[2] - codes[1]).max() > 1e-3
