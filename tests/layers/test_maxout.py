"""Maxout against NumPy's maximum, and in the default networks."""

import keras
import numpy as np
import pytest
import zoo
from keras import ops

import keras_ae
from keras_ae import networks
from keras_ae.layers import Maxout

PLACES = {"dense": (), "series": (4,), "pictures": (3, 5)}
# Shape of an example -> a kind of network, and options that make it tiny.
NETWORKS = {
    "mlp": ((6,), {"units": (5,)}),
    "conv": ((6, 7, 1), {"filters": (3, 2), "units": (5,)}),
    "conv of series": ((9, 2), {"filters": (3, 2), "units": (5,)}),
    "unet": ((6, 7, 1), {"filters": (3, 2), "units": ()}),
}
REFUSED = {"resnet": (8, 8, 1), "recurrent": (5, 3), "transformer": (5, 3)}


def pictures(*shape):
    return np.random.default_rng(0).random((24, *shape)).astype("float32")


@pytest.mark.parametrize("pieces", [2, 3])
@pytest.mark.parametrize("places", PLACES.values(), ids=PLACES)
def test_it_is_the_maximum_of_neighboring_numbers(places, pieces):
    x = np.random.default_rng(0).normal(size=(2, *places, 4 * pieces)).astype("float32")
    layer = Maxout(pieces)
    found = ops.convert_to_numpy(layer(x))
    wanted = np.max([x[..., first::pieces] for first in range(pieces)], axis=0)
    np.testing.assert_array_equal(found, wanted)
    assert layer.compute_output_shape((None, *places, 4 * pieces)) == (None, *places, 4)
    again = Maxout.from_config(layer.get_config())
    np.testing.assert_array_equal(ops.convert_to_numpy(again(x)), wanted)


def test_numbers_that_are_no_pieces_are_refused():
    with pytest.raises(ValueError, match="Maxout: the last axis .*(2, 5).* pieces=2"):
        Maxout()(np.zeros((2, 5)))
    with pytest.raises(ValueError, match="pieces=1 must be an integer of at least 2"):
        Maxout(1)


@pytest.mark.parametrize("normalized", [False, True])
def test_a_unit_of_a_network_is_the_maximum_of_two_linear_pieces(normalized):
    options = {"units": (5,), "activation": "maxout", "batch_normalization": normalized}
    network = networks.encoder((6,), **options)
    (dense,) = (layer for layer in network.layers if isinstance(layer, keras.layers.Dense))
    assert dense.kernel.shape == (6, 10) and network.output_shape == (None, 5)
    x = np.random.default_rng(0).normal(size=(8, 6)).astype("float32")
    lines = x @ ops.convert_to_numpy(dense.kernel)
    if normalized:  # In inference an untrained normalization divides by sqrt(1 + 0.001).
        lines /= np.sqrt(1.001)
    found = ops.convert_to_numpy(network(x))
    np.testing.assert_allclose(found, lines.reshape(8, 5, 2).max(axis=-1), atol=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_have_the_same_shapes_as_with_other_activations(name):
    shape, options = NETWORKS[name]
    kind = name.split()[0]
    for make, given in ((networks.encoder, (shape,)), (networks.decoder, (3, shape))):
        found, usual = (
            make(*given, kind=kind, activation=activation, **options)
            for activation in ("maxout", "relu")
        )
        assert found.output_shape == usual.output_shape
        assert found.count_params() > usual.count_params()
        assert any(isinstance(layer, Maxout) for layer in found.layers)


@pytest.mark.parametrize("name", ["mlp", "conv"])
def test_models_train_save_load_and_export(name, tmp_path):
    shape, options = NETWORKS[name]
    model = keras_ae.AE(2, name, name, network_options={**options, "activation": "maxout"}, seed=0)
    model.compile(keras.optimizers.Adam(0.01))
    x = pictures(*shape)
    history = model.fit(x, batch_size=12, epochs=30, verbose=0).history["loss"]
    assert history[-1] < 0.8 * history[0]
    wanted = model.reconstruct(x)
    model.save(tmp_path / "model.keras")
    again = keras_ae.load(tmp_path / "model.keras")
    np.testing.assert_allclose(again.reconstruct(x), wanted, atol=1e-6)
    if keras.config.backend() == "torch":
        return  # A SavedModel cannot be written from torch.
    import tensorflow as tf

    model.export(tmp_path / "served")
    served = tf.saved_model.load(str(tmp_path / "served"))
    np.testing.assert_allclose(served.decode(served.encode(x)).numpy(), wanted, atol=1e-5)


def test_a_one_class_model_takes_it():
    """Without biases the maximum of linear pieces is 0 at 0 and unbounded, as the model needs."""
    options = {"units": (5,), "activation": "maxout"}
    model = keras_ae.DeepSVDD(2, network_options=options, seed=0)
    model.compile("adam", **zoo.OP_BY_OP)
    model.fit(zoo.data(), verbose=0)
    np.testing.assert_allclose(ops.convert_to_numpy(model.encoder(np.zeros((1, 6)))), 0.0)


@pytest.mark.parametrize("kind", REFUSED)
def test_networks_without_pieces_refuse_it(kind):
    with pytest.raises(ValueError, match=f"activation='maxout' .* kind='{kind}'.*'mlp', 'conv'"):
        networks.encoder(REFUSED[kind], kind, activation="maxout")
    with pytest.raises(ValueError, match="Did you mean 'maxout'"):
        networks.encoder((6,), activation="maxuot")
    with pytest.raises(ValueError, match="kernel_initializer='maxout' is unknown to Keras"):
        networks.encoder((6,), kernel_initializer="maxout")


def test_rec_vae_s_own_encoder_refuses_it():
    model = keras_ae.RecVAE(2, network_options={"units": (8,), "activation": "maxout"})
    with pytest.raises(ValueError, match="RecVAE: network_options: activation='maxout'"):
        model.build((None, 6))
