"""The denoiser with a code and a U-Net: what its two outputs depend on."""

import keras
import numpy as np
import pytest
import zoo
from keras import ops

import keras_ae
from keras_ae import corruptions

SHAPE = (5, 6, 1)
PAIRS = [((6,), (6,)), ((4, 3), (4, 2)), ((4, 6, 1), (4, 6, 3))]  # Shapes of data and of targets.
SMALL = {"network_options": {"filters": (3,), "units": (4,)}, "unet_options": {"filters": (3, 4)}}


def made(shape=SHAPE, target_shape=None, **given):
    model = keras_ae.UNetAE(2, **{**SMALL, "seed": 0, **given})
    model.compile(keras.optimizers.Adam(0.01), **zoo.OP_BY_OP)
    model.build((None, *shape), target_shape and (None, *target_shape))
    return model


def pictures(number=4, shape=SHAPE, seed=0):
    return np.random.default_rng(seed).random((number, *shape), "float32")


def test_the_two_losses_are_those_of_reconstruct_and_of_decode():
    model, x, y = made(corruption=corruptions.Masking(rate=0.0)), pictures(), pictures(seed=1)
    found = zoo.compute(lambda x, y: model.loss_terms(x, y, False), x, y)
    outputs = {
        "reconstruction_loss": model.reconstruct(x),
        "code_loss": model.decode(model.encode(x)),
    }
    for name, output in outputs.items():
        expected = ((output - y) ** 2).sum(axis=(1, 2, 3))
        np.testing.assert_allclose(found[name], expected, rtol=1e-4)


def test_the_u_net_sees_the_data_and_the_decoded_code():
    model, x, z = made(), pictures(), np.random.default_rng(0).normal(size=(4, 2))
    decoded = model.decode(z.astype("float32"))
    both = np.concatenate([x, decoded], axis=-1)
    expected = x + ops.convert_to_numpy(model.unet(both))
    found = model._refine(ops.convert_to_tensor(x), ops.convert_to_tensor(decoded), False)
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, rtol=1e-4, atol=1e-5)
    # A pixel changes the reconstruction even if the decoded code stays the same.
    changed = x.copy()
    changed[:, 0, 0] += 1
    moved = model._refine(ops.convert_to_tensor(changed), ops.convert_to_tensor(decoded), False)
    assert np.abs(ops.convert_to_numpy(moved) - expected).max() > 1e-4


def test_what_is_undamaged_needs_no_learning():
    model, x = made(), pictures()
    for weight in model.unet.trainable_weights:
        weight.assign(0 * weight)
    assert np.array_equal(model.reconstruct(x), x)
    bounded = made(reconstruction_loss="binary_crossentropy")
    for weight in bounded.unet.trainable_weights:
        weight.assign(0 * weight)
    assert np.all(bounded.reconstruct(x) == 0.5)


def test_older_configurations_compute_the_whole_picture(tmp_path):
    model, x = made(), pictures()
    config = model.get_config()
    assert config.pop("adds_data")
    older = keras_ae.UNetAE.from_config(config)
    older.build((None, *SHAPE))
    older.set_weights(model.get_weights())
    expected = model.reconstruct(x) - x
    np.testing.assert_allclose(older.reconstruct(x), expected, atol=1e-5)
    older.save(tmp_path / "older.keras")
    again = keras_ae.load(tmp_path / "older.keras")
    np.testing.assert_allclose(again.reconstruct(x), expected, atol=1e-5)


def test_the_loss_is_that_of_the_corrupted_input():
    clean = made(corruption=corruptions.Masking(rate=0.0))
    blank = made(corruption=corruptions.Masking(rate=1.0))
    x = pictures()
    found = zoo.compute(lambda x: blank.loss_terms(x, x, False), x)
    expected = zoo.compute(lambda z, x: clean.loss_terms(z, x, False), np.zeros_like(x), x)
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-4)


@pytest.mark.parametrize("shape, target_shape", PAIRS)
def test_vectors_sequences_and_other_channels(shape, target_shape):
    options = {"network_options": {"units": (4,)}}
    if len(shape) == 3:
        options["network_options"]["filters"] = (3,)
    model = made(shape, target_shape, **options)
    x = pictures(shape=shape)
    assert model.reconstruct(x).shape == (4, *target_shape)
    assert model.decode(model.encode(x)).shape == (4, *target_shape)


CORRUPTING = [name for name in zoo.MODELS if "corruption" in zoo.parameters_of(name)]


@pytest.mark.parametrize("name", CORRUPTING)
def test_noise_may_leave_the_range_of_the_data(name):
    model = zoo.compiled(name, reconstruction_loss="binary_crossentropy")
    x = zoo.data()
    noisy = x + np.random.default_rng(0).normal(size=x.shape).astype("float32")
    assert model.encode(noisy).shape == (48, 2)
    assert model.reconstruct(noisy).min() >= 0
    with pytest.raises(ValueError, match="models values between 0 and 1"):
        model.fit(noisy, verbose=0)  # Here the noisy data is the target, which must be within.
    model.fit(noisy, x, verbose=0)


@pytest.mark.parametrize("name", ["shape", "channels", "name", "dtype"])
def test_options_that_follow_from_the_model_are_refused(name):
    with pytest.raises(ValueError, match=f"UNetAE: unet_options has '{name}'"):
        keras_ae.UNetAE(2, unet_options={name: "float16"})


@pytest.mark.parametrize("corruption", ["jpeg", "text"])
def test_values_that_a_corruption_of_pictures_cannot_have_are_refused(corruption):
    """JPEG would make white of every pixel of bytes, and the model would learn from white."""
    x = 255.0 * np.random.default_rng(0).random((4, 8, 8, 1), "float32")
    model = keras_ae.UNetAE(2, corruption=corruption, **SMALL)
    model.compile("adam")
    words = "UNetAE: x has values between .* corrupts values from 0 to 1. Rescale x"
    with pytest.raises(ValueError, match=words):
        model.fit(x, verbose=0)
    with pytest.raises(ValueError, match="corruptions.pairs: x has values between"):
        corruptions.pairs(x, corruption)
    with pytest.raises(ValueError, match="standardize=True gives the data mean 0"):
        keras_ae.UNetAE(2, corruption=corruption, standardize=True)
    model.fit(x / 255, verbose=0)
    assert model.reconstruct(x / 200).shape == x.shape  # Nothing is corrupted here.


def test_what_does_not_fit_is_refused():
    with pytest.raises(TypeError, match="unet_options=3 must be a dictionary"):
        made(unet_options=3)
    with pytest.raises(ValueError, match="differ in height or width. Resize them"):
        made((4, 4, 1), (8, 8, 1))
    with pytest.raises(ValueError, match=r"units=\(3,\) is not an option of kind='unet'"):
        made(unet_options={"units": (3,)})
    with pytest.raises(ValueError, match=r"\(2, 2, 2, 1\), which are no pictures"):
        made((2, 2, 2, 1), network_options={"units": (3,)})
