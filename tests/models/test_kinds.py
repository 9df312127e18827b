"""Networks by name in whole models, which are trained, saved, exported and sampled from."""

import keras
import numpy as np
import pytest
import zoo

import keras_ae

OPTIONS = {
    "resnet": {"filters": (4, 4), "units": (6,), "blocks": 1},
    "unet": {"filters": (4, 4), "units": (6,)},
    "transformer": {"width": 8, "heads": 2, "blocks": 1, "patch_size": 3},
}


@pytest.mark.costly
@pytest.mark.parametrize("kind", OPTIONS)
def test_a_kind_is_trained_saved_and_sampled_from(kind, tmp_path):
    if keras.config.backend() == "jax" and kind != "transformer":
        pytest.skip("its convolutions are those of the default networks, and JAX takes long")
    x = np.random.default_rng(0).integers(0, 2, (16, 5, 7, 1)).astype("float32")
    options = {**OPTIONS[kind], "dropout": 0.1, "kernel_regularizer": "l2"}
    model = keras_ae.VAE(2, kind, kind, network_options=options, seed=0)
    model.compile(keras.optimizers.Adam(0.01), **zoo.OP_BY_OP)
    history = model.fit(x, epochs=3, batch_size=16, verbose=0).history["loss"]
    assert history[-1] < history[0]
    model.save(tmp_path / "model.keras")
    loaded = keras_ae.load(tmp_path / "model.keras")
    assert loaded.get_config()["encoder"] == kind
    np.testing.assert_allclose(loaded.reconstruct(x), model.reconstruct(x), atol=1e-6)
    losses = [m.fit(x, verbose=0).history["loss"][0] for m in (model, loaded)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)  # The state of dropout is restored, too.
    assert model.sample(3, seed=0).shape == (3, 5, 7, 1)


@pytest.mark.costly
@pytest.mark.parametrize("kind", OPTIONS)
def test_a_kind_is_exported(kind, tmp_path, exports):
    import tensorflow as tf

    if keras.config.backend() == "jax" and kind != "transformer":
        pytest.skip("convolutions are exported with the default networks")
    x = np.random.default_rng(0).random((4, 5, 7, 1), "float32")
    model = keras_ae.VAE(2, kind, kind, network_options=OPTIONS[kind], seed=0)
    expected = model.reconstruct(x)
    model.export(tmp_path / "model")
    served = tf.saved_model.load(str(tmp_path / "model"))
    np.testing.assert_allclose(served.serve(tf.constant(x)), expected, atol=1e-5)
