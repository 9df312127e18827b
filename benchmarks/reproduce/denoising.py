"""An autoencoder compared with the classical filters of scikit-image on noisy digits.

TFDS_DATA_DIR=... python -m benchmarks.reproduce denoising
"""

import itertools
import time

import keras
import numpy as np

import keras_ae
from keras_ae import corruptions, datasets

BATCH_SIZE = 128
CORRUPTIONS = {
    "gaussian": corruptions.AdditiveGaussian(scale=0.5),
    "masking": corruptions.Masking(rate=0.5),
    "salt_and_pepper": corruptions.SaltAndPepper(rate=0.3),
}
DENOISER = {
    "latent_dim": 64,
    "network_options": {"units": (256,)},
    "unet_options": {"filters": (16, 32, 64)},
    "reconstruction_loss": "binary_crossentropy",
}


def peak_signal_to_noise(clean, found):
    """Return the peak signal-to-noise ratio in decibels, the mean over the pictures."""
    errors = np.mean((clean - np.clip(found, 0.0, 1.0)) ** 2, axis=(1, 2, 3))
    return float(np.mean(-10.0 * np.log10(np.maximum(errors, 1e-10))))


def classical_filters():
    """Return name -> (function of a picture (height, width), the parameters to choose from)."""
    from skimage import filters, restoration

    def median(picture, side):
        return filters.median(picture, np.ones((side, side)))

    weights = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.3)
    means = {
        "h": (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0),
        "sigma": (0.0, 0.5),
        "patch_size": (3, 5, 7),
        "patch_distance": (5, 10),
    }
    return {
        "median": (median, {"side": (2, 3, 4, 5)}),
        "total_variation": (restoration.denoise_tv_chambolle, {"weight": weights}),
        "non_local_means": (restoration.denoise_nl_means, means),
    }


def apply_filter(function, pictures, **parameters):
    return np.stack([function(p[..., 0], **parameters)[..., None] for p in pictures])


def best_parameters(function, grid, clean, noisy):
    """Return the parameters with the highest peak signal-to-noise ratio."""
    choices = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    return max(
        choices,
        key=lambda chosen: peak_signal_to_noise(clean, apply_filter(function, noisy, **chosen)),
    )


def corrupt(x, corruption, seed):
    return keras.ops.convert_to_numpy(corruption(keras.ops.convert_to_tensor(x), seed))


def denoising(epochs=4, seed=0, models=tuple(CORRUPTIONS), chosen_on=100, tested_on=1000):
    """Noisy digits: a denoising autoencoder at least 4 dB better than the best classical filter.

    `models` are names of corruptions. Each filter has the parameters with the highest ratio on
    training digits. The filters and the autoencoder are tested on the same noisy test digits.
    """
    try:
        filters = classical_filters()
    except ImportError:
        yield {"skipped": "scikit-image is not installed: pip install scikit-image"}
        return
    train, test = (datasets.as_array("mnist", part) for part in ("train", "test"))
    test = test[:tested_on]
    for name in models:
        corruption = CORRUPTIONS[name]
        noisy = corrupt(test, corruption, seed + 1)
        shown = train[:chosen_on], corrupt(train[:chosen_on], corruption, seed + 2)
        by_filter = {}
        for kind, (function, grid) in filters.items():
            chosen = best_parameters(function, grid, *shown)
            ratio = peak_signal_to_noise(test, apply_filter(function, noisy, **chosen))
            by_filter[kind] = {"psnr": ratio, **chosen}
        best = max(figures["psnr"] for figures in by_filter.values())
        model = keras_ae.UNetAE(corruption=corruption, seed=seed, **DENOISER)
        steps = epochs * -(-len(train) // BATCH_SIZE)
        model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps)))
        start = time.perf_counter()
        model.fit(train, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
        seconds = round(time.perf_counter() - start, 1)
        ratio = peak_signal_to_noise(test, model.reconstruct(noisy, verbose=0))
        decoded = model.decode(model.encode(noisy, verbose=0), verbose=0)
        yield {
            "corruption": name,
            "psnr_of_noisy_digits": peak_signal_to_noise(test, noisy),
            "psnr": ratio,
            "psnr_of_the_code_alone": peak_signal_to_noise(test, decoded),
            "above_the_best_filter": ratio - best,
            "limit": 4.0,
            "filters": by_filter,
            "training_seconds": seconds,
        }
