"""Synthetic words: a U-Net and a Wiener filter against noise, and what a code says of the word.

python -m benchmarks.reproduce speech

The words are those of `keras_ae.datasets.formant_words`, which are no recordings. Speakers of the
test words are not among those of the training words.
"""

import time

import keras
import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import keras_ae
from keras_ae import corruptions, datasets

RATE, LENGTH = 8000, 256
NUM_SPEAKERS, NUM_TEST_SPEAKERS = 30, 10
LEVELS = (0, 5)
FLOOR = 1e-3
# Frames that hold no speech, because words begin after 90 ms.
LEADING = slice(3, 9)


def make_words(number, seed):
    """Return (waves, labels) of training speakers and of held-out speakers."""
    waves, labels, speakers = datasets.formant_words(number, seed, RATE, speakers=NUM_SPEAKERS)
    held_out = speakers < NUM_TEST_SPEAKERS
    return (waves[~held_out], labels[~held_out]), (waves[held_out], labels[held_out])


def make_noise(kind, words, number, seed):
    """Return recordings of white noise or babble, which is the sum of six shifted words."""
    rng = np.random.default_rng(seed)
    samples = words.shape[1]
    if kind == "white":
        return rng.standard_normal((number, samples)).astype("float32")
    chosen = rng.integers(len(words), size=(number, 6))
    shifts = rng.integers(samples, size=(number, 6, 1))
    return words[chosen[..., None], (np.arange(samples) - shifts) % samples].sum(axis=1)


def signal_to_noise(clean, found):
    """Return the signal-to-noise ratio in decibels of each wave."""
    return 10 * np.log10(np.sum(clean**2, axis=1) / np.sum((found - clean) ** 2, axis=1))


def filter_wiener(spectra):
    """Apply the spectral Wiener gain, whose noise has the mean spectrum of the leading frames."""
    power = np.abs(spectra) ** 2
    noise = power[:, LEADING].mean(axis=1, keepdims=True)
    return np.maximum(1 - noise / np.maximum(power, 1e-12), 0.05) * spectra


def log_bands(spectra):
    """Return logarithms of the mean magnitudes of 43 bands of three bins each."""
    bands = np.abs(spectra).reshape(*spectra.shape[:2], -1, 3).mean(axis=3)
    return np.log(np.maximum(bands, FLOOR))[..., None]


def speech(epochs=10, seed=0, words=400):
    """Noisy words of new speakers, and a linear probe of the ten words from codes."""
    (train, train_labels), (test, test_labels) = make_words(words, seed)
    yield from _denoise(train, test, epochs, seed)
    yield from _probe(train, train_labels, test, test_labels, epochs, seed)


def _denoise(train, test, epochs, seed):
    noisy, clean = [], []
    for number, (kind, level) in enumerate([(k, s) for k in ("white", "babble") for s in LEVELS]):
        noise = make_noise(kind, train, len(train), [seed, number])
        noisy.append(datasets.add_noise(train, level, noise, seed + number))
        clean.append(train)
    x, target = (
        log_bands(datasets.stft(np.concatenate(waves), LENGTH)) for waves in (noisy, clean)
    )
    model = keras_ae.UNetAE(
        16,
        corruption=corruptions.AdditiveGaussian(0.1),
        network_options={"filters": (8, 16)},
        unet_options={"filters": (8, 16, 32)},
        standardize=True,
        seed=seed,
    )
    steps = epochs * -(-len(x) // 16)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, steps)))
    start = time.perf_counter()
    model.fit(x, target, batch_size=16, epochs=epochs, verbose=0)
    seconds = round(time.perf_counter() - start, 1)
    samples = test.shape[1]
    for kind in ("white", "babble"):
        for level in LEVELS:
            noise = make_noise(kind, test, len(test), [seed, 99])
            waves = datasets.add_noise(test, level, noise, seed + 99)
            spectra = datasets.stft(waves, LENGTH)
            estimate = model.reconstruct(log_bands(spectra), verbose=0)
            mask = np.exp(np.minimum(estimate - log_bands(spectra), 0))[..., 0]
            mask = np.repeat(mask, 3, axis=2)
            found = {
                "unet": datasets.istft(mask * spectra, samples),
                "wiener": datasets.istft(filter_wiener(spectra), samples),
            }
            before = signal_to_noise(test, waves)
            gains = {
                f"gain_of_{name}_db": round(float(np.mean(signal_to_noise(test, w) - before)), 2)
                for name, w in found.items()
            }
            yield {
                "noise": kind,
                "snr_db": level,
                "test_words": len(test),
                **gains,
                "training_seconds": seconds,
            }


def _probe(train, labels, test, test_labels, epochs, seed):
    x, x_test = (datasets.log_mel(waves, RATE, 40, LENGTH) for waves in (train, test))
    model = keras_ae.VAE(32, likelihood="gaussian_learned_scale", standardize=True, seed=seed)
    model.compile(keras.optimizers.Adam(1e-3))
    start = time.perf_counter()
    model.fit(x, batch_size=16, epochs=epochs, verbose=0)
    seconds = round(time.perf_counter() - start, 1)
    flat, flat_test = (values.reshape(len(values), -1) for values in (x, x_test))
    pca = PCA(32, random_state=seed).fit(flat)
    features = {
        "raw_log_mel": (flat, flat_test),
        "pca_32": (pca.transform(flat), pca.transform(flat_test)),
        "vae_32": (model.encode(x, verbose=0), model.encode(x_test, verbose=0)),
    }
    draws = [np.random.default_rng(draw).permutation(len(train))[:50] for draw in range(5)]
    for name, (given, given_test) in features.items():
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
        scores = [
            probe.fit(given[rows], labels[rows]).score(given_test, test_labels)
            for rows in (slice(None), *draws)
        ]
        yield {
            "features": name,
            "accuracy": round(float(scores[0]), 4),
            "accuracy_with_50_labels": round(float(np.mean(scores[1:])), 4),
            **({"training_seconds": seconds} if name == "vae_32" else {}),
        }
