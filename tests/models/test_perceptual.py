"""Losses in the features of a network, compared with NumPy and TensorFlow's MS-SSIM."""

import keras
import numpy as np
import pytest
import zoo
from keras import layers, ops
from scipy.special import expit

import keras_ae
from keras_ae import likelihoods, losses

pytestmark = pytest.mark.formula

WIDTH = 6


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def built(name, **given):
    model = zoo.eager(name, keras.optimizers.SGD(0.0), **given)
    model.build((None, WIDTH))
    return model


def logs_of(model, x):
    return model.evaluate(x, batch_size=len(x), verbose=0, return_dict=True)


# ------------------------------------------------------------------ structural similarity


def pictures(size, channels=1, seed=0):
    """Return smooth pictures and noisy, paler versions of them."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size] / size
    waves = 0.5 + 0.4 * np.sin(9 * rows + 5 * columns)[..., None] * np.ones(channels)
    x = np.stack([waves, waves[::-1]]).astype("float32")
    y = np.clip(0.8 * x + 0.15 * rng.normal(size=x.shape), 0, 1).astype("float32")
    return x, y


@pytest.mark.parametrize(("size", "channels"), [(180, 1), (192, 3)])
def test_ms_ssim_equals_tensorflow(size, channels):
    import tensorflow as tf

    x, y = pictures(size, channels)
    expected = tf.image.ssim_multiscale(tf.constant(x), tf.constant(y), 1.0).numpy()
    found = 1.0 - zoo.compute(losses.MSSSIM().call, x, y)
    assert expected.max() < 0.95
    np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(("size", "scales"), [(28, 3), (9, 1), (32, 3)])
def test_small_pictures_have_fewer_scales(size, scales):
    import tensorflow as tf

    x, y = pictures(size)
    weights = losses.MSSSIM.WEIGHTS[:scales]
    expected = tf.image.ssim_multiscale(
        tf.constant(x),
        tf.constant(y),
        1.0,
        power_factors=[w / sum(weights) for w in weights],
        filter_size=min(11, (size - 1) // 2 * 2 + 1) if scales == 1 else 7,
    ).numpy()
    loss = losses.MSSSIM(window=11 if scales == 1 else 7)
    found = 1.0 - zoo.compute(loss.call, x, y)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_ms_ssim_is_a_loss_of_every_model():
    x, _ = pictures(16)
    model = keras_ae.AE(2, reconstruction_loss="ms_ssim", network_options={"units": (8,)}, seed=0)
    model.compile(keras.optimizers.Adam(0.01))
    history = model.fit(np.tile(x, (8, 1, 1, 1)), epochs=30, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0] and history[0] < 2.0
    with pytest.raises(ValueError, match="compares pictures"):
        zoo.fitted("AE", reconstruction_loss="ms_ssim")
    with pytest.raises(ValueError, match="Did you mean 'ms_ssim'"):
        losses.get("msssim")


# ------------------------------------------------------------------ perceptual losses


def test_with_the_pixels_as_features_it_is_a_gaussian_vae():
    pixels = keras.Sequential([keras.Input((WIDTH,)), layers.Identity(name="pixels")])
    gaussian = {"likelihood": likelihoods.Gaussian(1.0)}
    plain = built("VAE", **gaussian)
    model = built("PerceptualVAE", features=pixels, weight=None, **gaussian)
    for part in ("encoder", "features_to_code", "decoder"):
        getattr(model, part).set_weights(getattr(plain, part).get_weights())
    x = zoo.data()
    ours, theirs = logs_of(model, x), logs_of(plain, x)
    constant = 0.5 * WIDTH * np.log(2 * np.pi)
    assert ours["loss"] == pytest.approx(theirs["loss"] - constant, rel=1e-5)
    for name in ("reconstruction_loss", "kl_loss"):
        assert ours[name] == pytest.approx(theirs[name], rel=1e-5)


def test_the_features_of_several_layers_by_hand():
    inputs = keras.Input((WIDTH,))
    first = layers.Dense(4, "tanh", name="feature_1")(inputs)
    second = layers.Dense(3, "tanh", name="feature_2")(first)
    network = keras.Model(inputs, [first, second])
    before = network.get_weights()
    model = zoo.compiled("PerceptualVAE", features=network, weight=20.0)
    x = zoo.data()
    y = 0.7 * x + 0.1
    found = numpy(model._perceptual_loss(x, y))
    pairs = zip(network.predict(x, verbose=0), network.predict(y, verbose=0), strict=True)
    expected = sum(0.5 * np.mean((a - b) ** 2, axis=1) for a, b in pairs)
    np.testing.assert_allclose(found, expected, rtol=1e-4)

    history = model.fit(x, epochs=40, batch_size=16, verbose=0).history
    assert history["perceptual_loss"][-1] < 0.9 * history["perceptual_loss"][0]
    assert model.loss_weights()["perceptual_loss"] == 20.0
    assert all(map(np.array_equal, network.get_weights(), before))  # They are not trained.


def test_a_loss_by_name_replaces_the_features():
    model = built("PerceptualVAE", features="log_cosh", weight=None)
    x = zoo.data()
    y = np.full_like(x, 0.3)
    expected = np.log(np.cosh(x - 0.3)).mean(axis=1)
    np.testing.assert_allclose(numpy(model._perceptual_loss(x, y)), expected, rtol=1e-4)
    assert model.loss_weights()["perceptual_loss"] == WIDTH


# ------------------------------------------------------------------ a learned similarity


def test_the_losses_of_three_players_by_hand():
    model = built("VAEGAN", gamma=0.3)
    kernel, bias = model.features_to_code.trainable_variables
    kernel.assign(ops.concatenate([kernel[:, :2], 0 * kernel[:, 2:]], axis=1))
    bias.assign([0.0, 0.0, -40.0, -40.0])  # This makes a draw of the posterior equal its mean.
    x = zoo.data()
    logs = logs_of(model, x)
    z = model.encode(x)
    again = model.decode(z)

    def judged(values):
        features = numpy(model.discriminator(values))
        return features, numpy(model.features_to_logit(features))[:, 0]

    (features, real), (features_again, logit) = judged(x), judged(again)
    squares = 0.5 * np.sum((features - features_again) ** 2, axis=1)
    similarity = squares + 0.5 * features.shape[1] * np.log(2 * np.pi)
    assert logs["similarity_loss"] == pytest.approx(similarity.mean(), rel=1e-4)
    # The term of the samples is in both losses, with opposite signs.
    without_samples = -np.log(expit(real)) + -np.log(expit(-logit))
    sampled = logs["discriminator_loss"] - without_samples.mean()
    assert 0 < sampled < 3
    expected = 0.3 * similarity.mean() - -np.log(expit(-logit)).mean() - sampled
    assert logs["decoder_loss"] == pytest.approx(expected, rel=1e-3)
    assert logs["loss"] == pytest.approx(logs["decoder_loss"], rel=1e-6)
    pixels = -np.sum(x * np.log(again) + (1 - x) * np.log(1 - again), axis=1)
    assert logs["reconstruction_loss"] == pytest.approx(pixels.mean(), rel=1e-4)


def test_who_moves_whom():
    """Each player's weights follow the gradient of this player's losses."""
    model = zoo.eager("VAEGAN", keras.optimizers.SGD(0.1), gamma=0.0)
    model.build((None, WIDTH))
    own, encoder, judge = model._variable_groups()
    parts = (model.encoder, model.features_to_code)
    assert {v.path for v in encoder} == {v.path for p in parts for v in p.trainable_variables}
    parts = (model.discriminator, model.features_to_logit)
    assert {v.path for v in judge} == {v.path for p in parts for v in p.trainable_variables}
    assert {v.path for v in own} == {v.path for v in model.decoder.trainable_variables}


def test_the_discriminator_tells_data_from_noise():
    model = zoo.compiled("VAEGAN", keras.optimizers.Adam(0.01))
    history = model.fit(zoo.data(), epochs=30, batch_size=16, verbose=0).history
    assert history["discriminator_loss"][-1] < history["discriminator_loss"][0]


def test_pictures_are_compared_in_a_map_of_features():
    """Layers after the map keep only what tells real pictures from generated ones."""
    model = keras_ae.VAEGAN(2, network_options={"filters": (2, 3), "units": (4,)}, seed=0)
    model.build((None, 8, 8, 1))
    x = np.random.default_rng(0).integers(0, 2, (5, 8, 8, 1)).astype("float32")
    terms = zoo.compute(lambda x: model.loss_terms(x, x, False), x)
    z = model.posterior(ops.convert_to_tensor(x)).sample(model.step_seed(False))
    made = model.decode(z)
    features = [numpy(model.discriminator(ops.convert_to_tensor(v))) for v in (x, made)]
    assert features[0].shape == (5, 2, 2, 3)
    nats = 0.5 * (np.square(features[0] - features[1]) + np.log(2 * np.pi))
    np.testing.assert_allclose(terms["similarity_loss"], nats.sum(axis=(1, 2, 3)), rtol=1e-4)


def pictures_of_bits(side=16):
    return np.random.default_rng(0).integers(0, 2, (8, side, side, 1)).astype("float32")


@pytest.mark.parametrize("kind", ["conv", "mlp"])
def test_the_features_of_a_new_discriminator_are_as_large_as_the_data(kind):
    """Distances of features would otherwise be too small to be worth any nats of the code."""
    x = pictures_of_bits()
    model = keras_ae.VAEGAN(2, discriminator=kind, seed=0)
    model.build((None, *x.shape[1:]))
    features = numpy(model.discriminator(ops.convert_to_tensor(x)))
    assert 0.3 < np.mean(features**2) / np.mean(x**2) < 3.0
    options = {"kernel_initializer": "zeros"}
    model = keras_ae.VAEGAN(2, discriminator=kind, network_options=options, seed=0)
    model.build((None, *x.shape[1:]))
    assert not np.any(numpy(model.discriminator(ops.convert_to_tensor(x))))


def test_random_features_of_pictures_are_a_map():
    x = pictures_of_bits()
    model = keras_ae.PerceptualVAE(2, seed=0)
    model.build((None, *x.shape[1:]))
    assert model.features.output_shape == (None, 4, 4, 64)
    zeros = ops.zeros(x.shape)
    distance = numpy(model._perceptual_loss(ops.convert_to_tensor(x), zeros))
    assert 0.3 < np.mean(distance) / np.mean(0.5 * x**2) < 3.0
    assert model.loss_weights()["perceptual_loss"] == 16 * x[0].size
    vectors = keras_ae.PerceptualVAE(2, seed=0)
    vectors.build((None, 9))
    assert vectors.features.output_shape == (None, 256)
