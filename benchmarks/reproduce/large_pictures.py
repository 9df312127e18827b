"""Default networks on pictures of 64x64 and 128x128, compared with the mean picture and with PCA.

python -m benchmarks.reproduce large_pictures --data photos/ --sides 64 --pictures reconstructions
"""

import io
import pathlib
import time

import keras
import numpy as np
from PIL import Image

import keras_ae
from keras_ae import plots

NUM_TRAIN, NUM_TEST = 4_000, 400


def read_archive(path, side, seed, num_train=NUM_TRAIN, num_test=NUM_TEST):
    """Return training and test pictures of an archive of JPEG files, enlarged or reduced.

    The arrays of the archive are "jpeg", all files in a row, their "length"s in bytes, and
    "is_test".
    """
    archive = np.load(path)
    data, is_test = archive["jpeg"], archive["is_test"]
    ends = np.cumsum(archive["length"])
    starts = ends - archive["length"]
    rng = np.random.default_rng(seed)

    def read(index):
        picture = Image.open(io.BytesIO(data[starts[index] : ends[index]].tobytes()))
        return np.asarray(picture.convert("RGB").resize((side, side), Image.Resampling.BICUBIC))

    def read_part(part, number):
        chosen = rng.permutation(np.flatnonzero(is_test == part))[:number]
        return np.stack([read(index) for index in chosen]) / np.float32(255)

    return read_part(False, num_train), read_part(True, num_test)


def read_crops(folder, side, seed, num_train=NUM_TRAIN, num_test=NUM_TEST):
    """Return random crops of the photographs in a folder; those of every fourth are for testing."""
    files = sorted(path for path in pathlib.Path(folder).iterdir() if path.is_file())
    photos = [np.asarray(Image.open(path).convert("RGB")) for path in files]
    rng = np.random.default_rng(seed)

    def crop(photo):
        row, column = (rng.integers(n - side + 1) for n in photo.shape[:2])
        return photo[row : row + side, column : column + side]

    def read_part(chosen, number):
        crops = [crop(chosen[n % len(chosen)]) for n in range(number)]
        return np.stack(crops) / np.float32(255) if crops else None

    train = [photo for n, photo in enumerate(photos) if n % 4 != 3]
    return read_part(train, num_train), read_part(photos[3::4], num_test)


def mean_squared_error(x, reconstructed):
    return float(np.mean((x - np.clip(reconstructed, 0.0, 1.0)) ** 2))


def project(train, test, latent_dim):
    """Return the test pictures on as many principal components as a code has dimensions."""
    from sklearn.decomposition import PCA

    pca = PCA(latent_dim, svd_solver="randomized", random_state=0)
    pca.fit(train[:1_000].reshape(1_000, -1))
    codes = pca.transform(test.reshape(len(test), -1))
    return pca.inverse_transform(codes).reshape(test.shape)


def large_pictures(
    epochs=12,
    seed=0,
    models=("AE", "SigmaVAE", "VAE"),
    data=None,
    sides=(64, 128),
    latent_dims=(None, 16),
    pictures=None,
):
    """Errors of reconstructed test pictures, as shares of that of the mean training picture.

    Each model has its default arguments, and for comparison 16 dimensions. It is trained by Adam at
    1e-3 with batches of 32.
    """
    if data is None:
        raise SystemExit("large_pictures needs --data PATH, photographs or an archive of pictures.")
    read = read_crops if pathlib.Path(data).is_dir() else read_archive
    for side in sides:
        train, test = read(data, side, seed)
        error_of_mean = mean_squared_error(test, train.mean(axis=0))
        for latent_dim in latent_dims:
            for name in models:
                model = getattr(keras_ae, name)(latent_dim, seed=seed)
                model.compile(keras.optimizers.Adam(1e-3))
                start = time.perf_counter()
                model.fit(train, batch_size=32, epochs=epochs, verbose=0)
                seconds = round(time.perf_counter() - start, 1)
                reconstructed = model.reconstruct(test, verbose=0)
                components = project(train, test, model.latent_dim)
                if pictures:
                    pictures.mkdir(exist_ok=True)
                    file = f"{name}_{pathlib.Path(data).stem}_{side}_{model.latent_dim}.png"
                    shown = np.clip(reconstructed[:10], 0.0, 1.0)
                    plots.reconstructions(test[:10], shown, pictures / file)
                yield {
                    "model": name,
                    "side": side,
                    "latent_dim": model.latent_dim,
                    "parameters": model.encoder.count_params() + model.decoder.count_params(),
                    "steps": int(model.optimizer.iterations),
                    "error_of_mean": error_of_mean,
                    "share_of_mean": mean_squared_error(test, reconstructed) / error_of_mean,
                    "share_of_mean_of_pca": mean_squared_error(test, components) / error_of_mean,
                    "training_seconds": seconds,
                }
