"""Networks of videos: what they share with those of pictures and sequences, and models of them."""

import keras
import numpy as np
import pytest
import zoo

import keras_ae
from keras_ae import networks

pytestmark = pytest.mark.formula

SHAPE = (4, 6, 5, 2)
OPTIONS = {"filters": (2, 3), "units": (6, 4)}


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def randomize(model):
    generator = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(generator.normal(scale=0.5, size=weight.shape))
    return model


def copy_weights(source, target):
    """Copy weights by name. The kernels of pictures have no axis of time."""
    values = {weight.path: keras.ops.convert_to_numpy(weight.value) for weight in source.weights}
    for weight in target.weights:
        value = values[weight.path]
        weight.assign(value[0] if value.ndim == 5 else value)


@pytest.mark.every_backend
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_encoder_is_that_of_pictures_then_that_of_sequences(cell):
    video = randomize(networks.encoder(SHAPE, "conv_recurrent", cell=cell, **OPTIONS))
    frame = networks.encoder(SHAPE[1:], "conv", activation="silu", filters=(2, 3), units=())
    series = networks.encoder((4, 2 * 2 * 3), "recurrent", cell=cell, units=(6, 4))
    copy_weights(video, frame)
    copy_weights(video, series)
    x = normal(3, *SHAPE)
    features = zoo.compute(frame, x.reshape(-1, *SHAPE[1:])).reshape(3, 4, -1)
    expected = zoo.compute(series, features)
    np.testing.assert_allclose(zoo.compute(video, x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.every_backend
def test_the_decoder_makes_every_frame_of_its_own_state():
    """The layers after the states are those of the decoder of pictures, for each frame."""
    video = randomize(networks.decoder(3, SHAPE, "conv_recurrent", **OPTIONS))
    frame = networks.decoder(6, SHAPE[1:], "conv", activation="silu", filters=(2, 3), units=())
    copy_weights(video, frame)
    states = keras.Model(video.input, video.get_layer("decoder_recurrent_2").output)
    z = normal(3, 3)
    expected = zoo.compute(frame, zoo.compute(states, z).reshape(-1, 6)).reshape(3, *SHAPE)
    np.testing.assert_allclose(zoo.compute(video, z), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell, pieces", [("gru", 3), ("lstm", 4)])
def test_parameters_are_counted(cell, pieces):
    def recurrent(inputs, units):
        return pieces * units * (inputs + units + (2 if cell == "gru" else 1))

    encoder = networks.encoder(SHAPE, "conv_recurrent", cell=cell, **OPTIONS)
    convolutions = (16 * 2 * 2 + 2) + (16 * 2 * 3 + 3)
    assert encoder.count_params() == convolutions + recurrent(2 * 2 * 3, 6) + recurrent(6, 4)
    decoder = networks.decoder(3, SHAPE, "conv_recurrent", cell=cell, **OPTIONS)
    dense = (3 * 4 + 4) + (6 * 12 + 12)
    transposed = (16 * 3 * 2 + 2) + (16 * 2 * 2 + 2)
    assert decoder.count_params() == dense + recurrent(4, 4) + recurrent(4, 6) + transposed


def test_a_state_sees_the_frames_up_to_its_own():
    encoder = randomize(networks.encoder(SHAPE, "conv_recurrent", grid=True, **OPTIONS))
    x = normal(1, *SHAPE)
    changed = x.copy()
    changed[:, 2] += 1.0
    difference = np.abs(zoo.compute(encoder, changed) - zoo.compute(encoder, x)).max(axis=(0, 2))
    assert np.all(difference[:2] == 0) and np.all(difference[2:] > 0)


def test_the_depth_follows_the_size_of_a_frame():
    encoder = networks.encoder((3, 64, 64, 1), "conv_recurrent")
    sides = [layer.output.shape[1:-1] for layer in encoder.layers if "conv" in layer.name]
    assert sides == [(3, 32, 32), (3, 16, 16), (3, 8, 8)]
    assert networks.encoder((90, 8, 8, 1), "conv_recurrent").get_layer(
        "encoder_frames"
    ).output.shape == (None, 90, 2 * 2 * 64)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"mask_value": 0.0}, "mask_value=0.0 is not an option of kind='conv_recurrent'"),
        ({"spectral_normalization": True}, "is not an option of kind='conv_recurrent'"),
        ({"units": ()}, r"units=\(\) must be a tuple"),
        ({"cell": "gro"}, "Did you mean 'gru'"),
        ({"activation": "maxout"}, "'maxout' is not possible for kind='conv_recurrent'"),
    ],
)
def test_options_that_it_does_not_have(options, message):
    with pytest.raises(ValueError, match=message):
        networks.encoder(SHAPE, "conv_recurrent", **options)


def small(name, **given):
    options = {"filters": (8, 16), "units": (64,)}
    kind = "conv_recurrent"
    return getattr(keras_ae, name)(
        8, encoder=kind, decoder=kind, network_options=options, seed=0, **given
    )


@pytest.mark.costly
@pytest.mark.every_backend
def test_an_autoencoder_learns_where_a_square_moves():
    """Its copies are much closer to the videos than the mean video, which a bad model returns."""
    x = np.zeros((64, 5, 8, 8, 1), "float32")
    start, step = np.divmod(np.arange(64) % 8, 4)
    for frame in range(5):
        for video in range(64):
            row, column = 3 * start[video], frame * (step[video] % 2) + 1
            x[video, frame, row : row + 3, column : column + 2] = 1.0
    model = small("AE", reconstruction_loss="binary_crossentropy")
    model.compile(keras.optimizers.Adam(1e-2))
    model.fit(x, batch_size=16, epochs=30, verbose=0)
    error = np.mean((model.reconstruct(x) - x) ** 2)
    assert error < 0.2 * np.mean((x.mean(axis=0) - x) ** 2)


@pytest.mark.parametrize("name", ["AE", "VAE"])
def test_models_of_videos_are_saved_and_exported(name, tmp_path):
    model = small(name)
    model.compile("adam")
    x = np.random.default_rng(0).random((8, 3, 8, 8, 1), "float32")
    model.fit(x, epochs=1, verbose=0)
    z = model.encode(x)
    model.save(tmp_path / "video.keras")
    copy = keras.saving.load_model(tmp_path / "video.keras")
    np.testing.assert_allclose(copy.encode(x), z, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(copy.decode(z), model.decode(z), rtol=1e-5, atol=1e-6)
    if keras.backend.backend() == "tensorflow":
        model.export(tmp_path / "video")
        loaded = keras_ae.load(tmp_path / "video")
        np.testing.assert_allclose(loaded.encode(x), z, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind, places", [("conv", (2, 3, 3)), ("conv_recurrent", (5,))])
def test_a_vqvae_of_videos_has_a_prior(kind, places):
    options = {"filters": (4, 8), **({"units": (8,)} if kind == "conv_recurrent" else {})}
    model = keras_ae.VQVAE(
        4, num_codes=8, encoder=kind, decoder=kind, network_options=options, seed=0
    )
    model.compile("adam")
    x = np.random.default_rng(0).random((16, 5, 9, 9, 1), "float32")
    model.fit(x, epochs=1, verbose=0)
    codes = model.encode(x)
    assert codes.shape == (16, *places) == (16, *model.code_shape)
    history = model.fit_prior(x, epochs=15, optimizer=keras.optimizers.Adam(1e-2), verbose=0)
    losses = history.history["loss"]
    assert losses[-1] < losses[0]
    np.testing.assert_allclose(
        -np.mean(model.prior_log_likelihood(x)), losses[-1], rtol=0.1, atol=0.5
    )
    assert model.sample(3, seed=0).shape == (3, 5, 9, 9, 1)
