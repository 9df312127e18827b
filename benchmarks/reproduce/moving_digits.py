"""Videos of moving digits: reconstructed, continued, and frames that do not belong to them.

python -m benchmarks.reproduce moving_digits --output videos/
"""

import pathlib
import time

import keras
import numpy as np
from sklearn.decomposition import PCA

import keras_ae
from keras_ae import datasets, evaluation, plots

FRAMES, SIDE, LATENT_DIM, BATCH_SIZE = 8, 24, 24, 32
GIVEN = FRAMES // 2  # The frames after these are predicted.
TRAINED_ON, TESTED_ON = 6000, 300
OPTIONS = {"filters": (16, 32), "units": (128,)}
MODELS = {
    "AE conv": ("AE", "conv", {"reconstruction_loss": "binary_crossentropy"}),
    "AE conv_recurrent": ("AE", "conv_recurrent", {"reconstruction_loss": "binary_crossentropy"}),
    "VAE conv": ("VAE", "conv", {}),
    "AE conv, predicts": ("AE", "conv", {"reconstruction_loss": "binary_crossentropy"}),
}


def train(name, x, y, epochs, seed):
    kind, network, given = MODELS[name]
    model = getattr(keras_ae, kind)(
        LATENT_DIM, encoder=network, decoder=network, network_options=OPTIONS, seed=seed, **given
    )
    steps = epochs * -(-len(x) // BATCH_SIZE)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(2e-3, steps)))
    start = time.perf_counter()
    # Without a target, a VAE is trained on the data itself.
    model.fit(x, y, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
    return model, round(time.perf_counter() - start, 1)


def compare(x, found):
    """Return the mean squared error of videos, and the structural similarity of their frames."""
    found = np.clip(found, 0.0, 1.0)
    frames = (-1, *x.shape[2:])
    similarity = evaluation.structural_similarity(x.reshape(frames), found.reshape(frames))
    return {
        "mse": float(evaluation.mean_squared_error(x, found).mean()),
        "ssim": float(similarity.mean()),
    }


def spoil(x, kind, seed):
    """Replace one frame, or a patch of it, in every video. Return the videos and the labels."""
    random = np.random.default_rng(seed)
    videos, rows = x.copy(), np.arange(len(x))
    which = random.integers(1, x.shape[1] - 1, len(x))
    if kind == "frame of another video":
        videos[rows, which] = np.roll(x, 1, axis=0)[rows, which]
    else:
        side = SIDE // 4
        for row, (top, left) in enumerate(random.integers(0, SIDE - side, (len(x), 2))):
            patch = random.random((side, side, 1))
            videos[row, which[row], top : top + side, left : left + side] = patch
    return videos, np.arange(x.shape[1]) == which[:, None]


def score_frames(x, found):
    return np.mean((x - found) ** 2, axis=(2, 3, 4))


def frame_differences(x):
    """Return the mean squared difference of every frame from the frames before and after it."""
    steps = np.mean(np.diff(x, axis=1) ** 2, axis=(2, 3, 4))
    before, after = steps[:, :1], steps[:, -1:]
    return np.concatenate([before, steps], axis=1) + np.concatenate([steps, after], axis=1)


def moving_digits(epochs=8, seed=0, models=tuple(MODELS), output=None):
    """Reconstruction, prediction and the AUC of spoiled frames, beside plain baselines."""
    options = {"frames": FRAMES, "side": SIDE, "seed": seed}
    x = datasets.moving_digits(TRAINED_ON, **options)
    test = datasets.moving_digits(TESTED_ON, "test", **options)
    future, truth = x[:, GIVEN:], test[:, GIVEN:]
    pca = PCA(LATENT_DIM, random_state=seed).fit(x.reshape(len(x), -1))

    def project(videos):
        flat = pca.inverse_transform(pca.transform(videos.reshape(len(videos), -1)))
        return flat.reshape(videos.shape)

    kinds = ("frame of another video", "patch of noise")
    spoiled = {kind: spoil(test, kind, seed) for kind in kinds}

    def judge(score):
        found = {}
        for kind, (videos, labels) in spoiled.items():
            areas = evaluation.anomaly_scores(labels.ravel(), score(videos).ravel())
            found[f"auc, {kind}"] = areas["roc_auc"]
        return found

    mean = np.broadcast_to(x.mean(axis=0), test.shape)
    yield {"model": "mean video", **compare(test, mean)}
    residual = judge(lambda videos: score_frames(videos, project(videos)))
    yield {"model": "PCA", **compare(test, project(test)), **residual}
    yield {"model": "difference of frames", **judge(frame_differences)}
    last = np.repeat(test[:, GIVEN - 1 : GIVEN], FRAMES - GIVEN, axis=1)
    yield {"model": "last frame, predicts", **compare(truth, last)}
    mean = np.broadcast_to(future.mean(axis=0), truth.shape)
    yield {"model": "mean video, predicts", **compare(truth, mean)}
    strips = [test[:3]]
    for name in models:
        predicts = name.endswith("predicts")
        data = (x[:, :GIVEN], future) if predicts else (x, None)
        model, seconds = train(name, *data, epochs, seed)
        if predicts:
            found = model.reconstruct(test[:, :GIVEN], verbose=0)
            figures = compare(truth, found)
            found = np.concatenate([test[:, :GIVEN], found], axis=1)
        else:
            found = model.reconstruct(test, verbose=0)

            def score(videos, model=model):
                return score_frames(videos, model.reconstruct(videos, verbose=0))

            figures = {**compare(test, found), **judge(score)}
        strips.append(found[:3])
        yield {"model": name, **figures, "training_seconds": seconds}
    if output:
        path = pathlib.Path(output)
        path.mkdir(parents=True, exist_ok=True)
        pictures = np.clip(np.stack(strips, axis=1), 0.0, 1.0).reshape(-1, SIDE, SIDE, 1)
        plots.image_grid(pictures, path / "moving_digits.png", columns=FRAMES)
