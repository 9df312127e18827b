"""Waves, their spectrograms, and the way back."""

import keras
import numpy as np
import pytest
from scipy import signal
from scipy.io import wavfile

import keras_ae
from keras_ae import datasets

pytestmark = pytest.mark.every_backend

RATE = 8000


def tone(frequency, samples=4000, amplitude=0.5):
    return amplitude * np.sin(2 * np.pi * frequency / RATE * np.arange(samples))[None]


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.mark.parametrize(("samples", "length"), [(1000, 256), (1001, 64), (37, 16), (5, 512)])
def test_the_transform_has_an_inverse(samples, length):
    """Also at the edges, where the backends' own inverses differ."""
    waves = noise(3, samples)
    spectra = datasets.stft(waves, length)
    assert spectra.shape == (3, -(-samples // (length // 4)) + 3, length // 2 + 1)
    np.testing.assert_allclose(datasets.istft(spectra, samples), waves, atol=1e-4)


def test_the_transform_is_scipys():
    waves, length = noise(2, 1024), 256
    padded = np.pad(waves, ((0, 0), (192, 192)))
    _, _, wanted = signal.stft(padded, nperseg=length, noverlap=192, boundary=None, padded=False)
    found = datasets.stft(waves, length)
    np.testing.assert_allclose(found, 2 * np.moveaxis(wanted, 1, 2), atol=1e-4)


@pytest.mark.parametrize("frequency", [300, 1000, 3000])
def test_a_tone_is_at_its_place_on_the_mel_scale(frequency):
    x = datasets.log_mel(tone(frequency), RATE, mels=40, length=256)
    assert x.shape == (1, 66, 40, 1)
    # The centers of the triangles are equally spaced in mel.
    mel = 2595 * np.log10(1 + frequency / 700)
    place = mel / (2595 * np.log10(1 + RATE / 2 / 700)) * 41 - 1
    assert abs(np.argmax(x[0, 30, :, 0]) - place) <= 1
    np.testing.assert_allclose(x.min(), np.log(1e-4), rtol=1e-6)


def test_the_inverse_is_the_nearest_wave():
    """A linear least-squares problem, in which negative frequencies count as positive ones do."""
    samples, length = 23, 16
    spectra = noise(1, 9, 9) + 1j * noise(1, 9, 9, seed=1)
    basis = datasets.stft(np.eye(samples, dtype="float32"), length).reshape(samples, -1).T
    counts = np.tile(np.sqrt([1, *7 * [2], 1]), 9)
    basis, wanted = counts[:, None] * basis, counts * spectra.ravel()
    basis, wanted = (np.concatenate([v.real, v.imag]) for v in (basis, wanted))
    nearest = np.linalg.lstsq(basis, wanted)[0]
    np.testing.assert_allclose(datasets.istft(spectra, samples)[0], nearest, atol=1e-5)


def test_floats_of_16_bits_are_waves():
    waves = noise(2, 100).astype("float16")
    found, wanted = (datasets.stft(v, 16) for v in (waves, waves.astype("float32")))
    np.testing.assert_array_equal(found, wanted)
    magnitudes = abs(wanted).astype("float16")
    assert np.isfinite(datasets.griffin_lim(magnitudes, 100, steps=2)).all()


def test_griffin_lim_comes_nearer():
    waves = tone(440) + tone(1234)
    wanted = abs(datasets.stft(waves, 256))
    errors = []
    for steps in (0, 2, 8, 32):
        found = datasets.griffin_lim(wanted, 4000, steps, seed=1)
        errors.append(np.sum((abs(datasets.stft(found, 256)) - wanted) ** 2))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.1 * errors[0]
    again = datasets.griffin_lim(wanted, 4000, 32, seed=1)
    np.testing.assert_array_equal(found, again)


def test_a_tone_comes_back_from_its_log_mel_spectrogram():
    x = datasets.log_mel(tone(1000), RATE, mels=48, length=256)
    wave = datasets.invert_log_mel(x, RATE, 4000, length=256, steps=16)
    power = np.abs(np.fft.rfft(wave[0]))
    assert abs(np.argmax(power) * RATE / 4000 - 1000) <= RATE / 256
    np.testing.assert_allclose(np.std(wave[0, 500:-500]), 0.5 / np.sqrt(2), rtol=0.2)


def ratio(waves, noisy):
    power = np.sum(waves.astype("float64") ** 2, axis=1)
    return 10 * np.log10(power / np.sum((noisy - waves.astype("float64")) ** 2, axis=1))


@pytest.mark.parametrize("snr", [-10, 0, 7.5, [20, -3, 5]])
def test_noise_has_the_level(snr):
    waves = noise(3, 500) * np.array([[0.01], [1], [10]], "float32")
    recordings = noise(2, 700, seed=1)
    for given in (None, recordings):
        noisy = datasets.add_noise(waves, snr, given, seed=2)
        np.testing.assert_allclose(ratio(waves, noisy), np.broadcast_to(snr, 3), atol=1e-3)
    part = (noisy - waves)[0]
    cuts = np.lib.stride_tricks.sliding_window_view(recordings, 500, axis=1).reshape(-1, 500)
    likeness = cuts @ part / np.linalg.norm(cuts, axis=1) / np.linalg.norm(part)
    assert likeness.max() > 0.999


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32"])
@pytest.mark.parametrize("channels", [1, 2])
def test_files_come_back(dtype, channels, tmp_path):
    wave = np.clip(0.3 * noise(300, channels), -0.99, 0.99)
    if dtype == "uint8":
        stored = np.round(128 + 128 * wave).clip(0, 255).astype(dtype)
    elif dtype == "float32":
        stored = wave.astype(dtype)
    else:
        stored = np.round(wave.astype("float64") * 2.0 ** (8 * np.dtype(dtype).itemsize - 1))
        stored = stored.astype(dtype)
    wavfile.write(tmp_path / "a.wav", RATE, stored if channels > 1 else stored[:, 0])
    found, labels = datasets.load_audio(tmp_path / "a.wav", RATE)
    assert found.dtype == "float32" and labels.tolist() == [-1]
    step = {"uint8": 1 / 255, "int16": 1 / 65535}.get(dtype, 1e-6)
    np.testing.assert_allclose(found[0], wave.mean(axis=1), atol=step)


def test_a_folder(tmp_path):
    for name, samples in {"yes/a.WAV": 400, "no/b.wav": 100, "c.wav": 200}.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        wavfile.write(tmp_path / name, RATE, tone(500, samples)[0].astype("float32"))
    (tmp_path / "no" / ".hidden.wav").write_text("none")
    waves, labels = datasets.load_audio(tmp_path, RATE, seconds=0.025)
    assert waves.shape == (3, 200) and labels.tolist() == [-1, 0, 1]
    np.testing.assert_allclose(waves[0], waves[2])
    np.testing.assert_array_equal(waves[1, 100:], 0)
    with pytest.raises(ValueError, match="Pass seconds"):
        datasets.load_audio(tmp_path, RATE)
    # At twice the rate, a tone has the same frequency.
    waves, _ = datasets.load_audio(tmp_path / "c.wav", 2 * RATE)
    assert waves.shape == (1, 400) and np.argmax(np.abs(np.fft.rfft(waves[0]))) in (12, 13)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        datasets.load_audio(tmp_path / "none", RATE)
    with pytest.raises(ValueError, match="holds no sounds"):
        datasets.load_audio(tmp_path, RATE)
    file = tmp_path / "a.wav"
    wavfile.write(file, RATE, np.zeros(0, "int16"))
    with pytest.raises(ValueError, match="a.wav holds no sound"):
        datasets.load_audio(tmp_path, RATE)
    wavfile.write(file, RATE, np.full(9, np.nan, "float32"))
    with pytest.raises(ValueError, match="a.wav holds NaN"):
        datasets.load_audio(tmp_path, RATE)
    wavfile.write(file, RATE, np.full(9, 1e300))
    with pytest.raises(ValueError, match="a.wav holds .* numbers beyond 1e.15"):
        datasets.load_audio(tmp_path, RATE)
    wavfile.write(file, RATE, np.zeros(300, "int16"))
    good = file.read_bytes()
    for content in (b"", b"no sound", good[:30], good[:44], good[:300]):
        file.write_bytes(content)
        with pytest.raises(ValueError, match="a.wav is damaged"):
            datasets.load_audio(tmp_path, RATE)
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
        (tmp_path / part / "a.wav").write_bytes(good)
    file.unlink()
    with pytest.raises(ValueError, match="by itself"):
        datasets.load_audio(tmp_path, RATE)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: datasets.load_audio("x", 0), "rate=0 must be an integer"),
        (lambda: datasets.load_audio("x", RATE, 0), "seconds=0 must be a positive number"),
        (lambda: datasets.load_audio("x", RATE, 1e-9), "at least one sample"),
        (lambda: datasets.stft(noise(9)), r"Pass waves\[None\]"),
        (lambda: datasets.stft(np.ones((2, 9), "int16")), "Divide integers"),
        (lambda: datasets.stft(noise(2, 9) * np.nan), "holds NaN"),
        (lambda: datasets.stft(noise(2, 9) * 1e30), "numbers beyond 1e.15. Rescale it"),
        (lambda: datasets.griffin_lim(abs(noise(2, 6, 9)) * 1e30, 9), "numbers beyond 1e.15"),
        (lambda: datasets.griffin_lim(np.full((2, 6, 9), 2e39), 9), "numbers beyond 1e.15"),
        (lambda: datasets.istft(noise(2, 6, 9) * 1e30j, 9), "numbers beyond 1e.15"),
        (lambda: datasets.add_noise(noise(2, 9) * 1e37, -100), "numbers beyond 1e.15"),
        (lambda: datasets.invert_log_mel(np.full((2, 6, 4, 1), 31.0), RATE, 9), "beyond 30"),
        (lambda: datasets.stft(noise(2, 9), 18), "length=18 must be a multiple of 4"),
        (lambda: datasets.istft(noise(2, 9, 9), 9), "must be complex"),
        (lambda: datasets.istft(noise(2, 9, 9) * 1j, 9), "has 9 frames, but samples=9 have 6"),
        (lambda: datasets.griffin_lim(-abs(noise(2, 6, 9)), 9), "negative"),
        (lambda: datasets.log_mel(noise(2, 99), RATE, mels=200), "each triangle has a bin"),
        (lambda: datasets.invert_log_mel(noise(2, 6, 9), RATE, 9), "of what log_mel returns"),
        (lambda: datasets.add_noise(noise(2, 9), np.nan), "a number of decibels"),
        (lambda: datasets.add_noise(noise(2, 9), [1, 2, 3]), "each of the 2 waves"),
        (lambda: datasets.add_noise(np.zeros((2, 9)), 0), "the wave 0 is silent"),
        (lambda: datasets.add_noise(noise(2, 9), 0, np.zeros((2, 9))), "noise of wave 0"),
        (lambda: datasets.add_noise(noise(2, 9), 0, noise(2, 8)), "longer recordings"),
        (lambda: datasets.formant_words(0), "number=0"),
        (lambda: datasets.formant_words(2, rate=100), "rate=100"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_words():
    waves, labels, speakers = datasets.formant_words(60, seed=3, speakers=7)
    again = datasets.formant_words(60, seed=3, speakers=7)
    for found, wanted in zip(again, (waves, labels, speakers), strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert (
        waves.shape == (60, 6000)
        and set(labels) == set(range(10))
        and set(speakers) <= set(range(7))
    )
    assert not np.array_equal(waves, datasets.formant_words(60, seed=4)[0])
    peaks = np.abs(waves).max(axis=1)
    assert 0.29 < peaks.min() and peaks.max() < 0.91
    # Only the silence before each word is quiet enough to learn noise from.
    assert np.abs(waves[:, :600]).max() < 0.01
    # Words begin at 0.09 s or later, and their first sounds rise from 48 ms before that.
    assert not waves[:, : round(0.04 * RATE)].any()
    # "six" begins with a hiss, which crosses zero far more often than "nine", a voice alone.
    crossings = np.mean(np.diff(np.signbit(waves[:, 1200:2000]), axis=1), axis=1)
    assert crossings[labels == 6].min() > crossings[labels == 9].max()


@pytest.mark.parametrize("name", ["AE", "UNetAE"])
@pytest.mark.parametrize("kind", ["spectrograms", "waves"])
def test_models_learn_from_sound(name, kind):
    """From spectrograms as pictures, and from waves as series of one feature."""
    waves, _, _ = datasets.formant_words(12, seed=0)
    if kind == "waves":
        given, small = 10.0 * waves[:, 2048:2560, None], {"encoder": "conv", "decoder": "conv"}
    else:
        given, small = datasets.log_mel(waves[:, :4096], RATE, 16), {}
    given = given - given.mean()
    model = getattr(keras_ae, name)(
        8, network_options={"filters": (4, 4), "units": (16,)}, seed=0, **small
    )
    model.compile(keras.optimizers.Adam(1e-2))
    losses = model.fit(given, epochs=25, batch_size=6, verbose=0).history["reconstruction_loss"]
    assert losses[-1] < 0.8 * losses[0]
    assert model.reconstruct(given, verbose=0).shape == given.shape
