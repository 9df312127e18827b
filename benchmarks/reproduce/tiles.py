"""Defects of magnetic tiles, in pictures and in pixels.

python -m benchmarks.reproduce tiles --data magnetic_tile_64.npz --pictures tiles/

The pictures are those of Huang et al. 2018, reduced to 64x64. Seven in ten of the pictures without
a defect are for training; the others, and all with a defect, are for the test.
"""

import time

import numpy as np
from scipy import ndimage

from keras_ae import evaluation, plots
from keras_ae.estimators import AnomalyDetector

FREE = 4  # The class without a defect.
SMOOTHING = 2.0  # Deviation in pixels of the Gaussian that smooths a map of errors.


def _read(path, seed):
    with np.load(path) as file:
        x = file["x"].astype("float32")[..., None] / 255
        masks = np.unpackbits(file["mask"], axis=1).reshape(-1, 64, 64).astype(bool)
        is_odd = file["y"] != FREE
    order = np.random.default_rng(seed).permutation(np.flatnonzero(~is_odd))
    held_out = np.ones(len(x), bool)
    held_out[order[: int(0.7 * len(order))]] = False
    return x[~held_out], x[held_out], masks[held_out], is_odd[held_out]


def tiles(data, epochs=30, seed=0, models=("AE", "VAE", "DeepSVDD", "untrained AE"), pictures=None):
    """Yield the ROC AUC of pictures and of pixels for each model."""
    train, test, masks, is_odd = _read(data, seed)
    for name in models:
        start = time.perf_counter()
        options = {"latent_dim": 32}
        if name == "VAE":
            options["likelihood"] = "gaussian_learned_scale"
        untrained = name.startswith("untrained")
        detector = AnomalyDetector(
            name.split()[-1],
            model_options=options,
            anomaly_score="model" if name == "DeepSVDD" else "reconstruction_error",
            standardize=False,
            batch_size=64,
            epochs=1 if untrained else epochs,
            learning_rate=1e-30 if untrained else 1e-3,
            random_state=seed,
        ).fit(train)
        figures = {"whole_score": -detector.score_samples(test)}
        if name != "DeepSVDD":
            errors = np.square(detector.model_.reconstruct(test, verbose=0) - test)[..., 0]
            maps = ndimage.gaussian_filter(errors, (0, SMOOTHING, SMOOTHING))
            figures["highest_smoothed_error"] = maps.max(axis=(1, 2))
        found = {"model": name, "test_pictures": len(test), "defects": int(is_odd.sum())}
        for measure, scores in figures.items():
            found[f"picture_roc_auc_{measure}"] = evaluation.anomaly_scores(is_odd, scores)[
                "roc_auc"
            ]
        if name != "DeepSVDD":
            flat = evaluation.anomaly_scores(masks.ravel(), maps.ravel())
            found |= {f"pixel_{measure}": value for measure, value in flat.items()}
            if pictures is not None:
                pictures.mkdir(parents=True, exist_ok=True)
                shown = np.flatnonzero(is_odd)[::40]
                path = pictures / f"{name.replace(' ', '_')}.png"
                plots.heat_maps(test[shown], maps[shown][..., None], path)
        yield {
            **{k: round(v, 3) if isinstance(v, float) else v for k, v in found.items()},
            "seconds": round(time.perf_counter() - start, 1),
        }
