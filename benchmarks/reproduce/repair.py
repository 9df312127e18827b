"""A U-Net that repairs pictures, compared with simple methods on the same damaged pictures.

python -m benchmarks.reproduce repair --data images/ --pictures strips/

The folder has the archive cifar10_jpeg_10k.npz and the photographs kodak/*.png.
"""

import pathlib
import time

import keras
import numpy as np
from keras import ops
from scipy import ndimage

import keras_ae
from benchmarks.reproduce.large_pictures import read_archive, read_crops
from keras_ae import corruptions, evaluation

SIDE, NUM_TRAIN, NUM_TEST = 32, 8_000, 1_000
BATCH_SIZE = 32
DAMAGES = {
    "inpainting": corruptions.Rectangle(share=0.25),
    "colorization": corruptions.Gray(),
    "enlargement_2": corruptions.Downsampling(factor=2),
    "enlargement_4": corruptions.Downsampling(factor=4),
    "jpeg": corruptions.JPEG(quality=10),
    "text": corruptions.Text(size=10, rate=0.5),
}
REPAIRER = {
    "latent_dim": 64,
    "network_options": {"filters": (32, 64, 64)},
    "unet_options": {"filters": (16, 32, 64)},
}


def fill_with_mean(damaged):
    """Fill the hidden pixels, which are 0 in all channels, with the mean of the others."""
    hidden = np.all(damaged == 0, axis=-1, keepdims=True)
    mean = damaged.sum((1, 2), keepdims=True) / (~hidden).sum((1, 2), keepdims=True)
    return np.where(hidden, mean, damaged)


def enlarge(damaged, factor):
    """Enlarge the small pictures by cubic interpolation."""
    small, sides = damaged[:, ::factor, ::factor], damaged.shape[1:3]
    return ops.convert_to_numpy(
        ops.image.resize(small, sides, interpolation="bicubic", data_format="channels_last")
    )


BASELINES = {
    "inpainting": {"mean_fill": fill_with_mean},
    "colorization": {},
    "enlargement_2": {"bicubic": lambda damaged: enlarge(damaged, 2)},
    "enlargement_4": {"bicubic": lambda damaged: enlarge(damaged, 4)},
    "jpeg": {},
    "text": {"median": lambda damaged: ndimage.median_filter(damaged, (1, 3, 3, 1))},
}


def rate(clean, found):
    """Return the peak signal-to-noise ratio in decibels and the structural similarity.

    The ratio of a picture that is not damaged at all, which is infinite, counts as 60.
    """
    found = np.clip(found, 0.0, 1.0).astype("float32")
    ratios = np.minimum(evaluation.peak_signal_to_noise_ratio(clean, found), 60.0)
    return {
        "psnr": float(np.mean(ratios)),
        "ssim": float(np.mean(evaluation.structural_similarity(clean, found))),
    }


def repair(epochs=6, seed=0, models=tuple(DAMAGES), data=None, pictures=None):
    """Hidden parts, colors, pixels and frequencies brought back: `models` are names of damages.

    A UNetAE learns on CIFAR, from damage that is drawn anew in every step. It is tested on other
    pictures of CIFAR and on parts of photographs, which are damaged once for all methods.
    """
    if data is None:
        raise SystemExit("repair needs --data FOLDER with cifar10_jpeg_10k.npz and kodak/.")
    folder = pathlib.Path(data)
    numbers = {"num_train": NUM_TRAIN, "num_test": NUM_TEST}
    train, cifar = read_archive(folder / "cifar10_jpeg_10k.npz", SIDE, seed, **numbers)
    _, kodak = read_crops(folder / "kodak", SIDE, seed, num_train=0, num_test=NUM_TEST)
    for name in models:
        model = keras_ae.UNetAE(corruption=DAMAGES[name], seed=seed, **REPAIRER)
        steps = epochs * -(-len(train) // BATCH_SIZE)
        model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps)))
        start = time.perf_counter()
        model.fit(train, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
        seconds = round(time.perf_counter() - start, 1)
        for part, clean in (("cifar", cifar), ("kodak", kodak)):
            damaged, _ = corruptions.pairs(clean, DAMAGES[name], seed=seed + 1)
            repaired = model.reconstruct(damaged, verbose=0)
            simple = {kind: method(damaged) for kind, method in BASELINES[name].items()}
            if pictures:
                pictures.mkdir(exist_ok=True)
                rows = [clean, damaged, *simple.values(), repaired]
                save_strip(rows, pictures / f"{name}_{part}.png")
            yield {
                "damage": name,
                "pictures": part,
                "damaged": rate(clean, damaged),
                **{kind: rate(clean, found) for kind, found in simple.items()},
                "repaired": rate(clean, repaired),
                "training_seconds": seconds,
            }


def save_strip(rows, path, number=12):
    """Save rows of pictures, one below the other."""
    rows = [np.concatenate(np.clip(row[:number], 0.0, 1.0), axis=1) for row in rows]
    keras.utils.save_img(path, 255.0 * np.concatenate(rows), scale=False)
