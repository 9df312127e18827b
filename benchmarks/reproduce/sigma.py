"""The noise of a SigmaVAE, and its samples compared with those of fixed noise.

TFDS_DATA_DIR=... python -m benchmarks.reproduce sigma --pictures gallery
"""

import time

import keras
import numpy as np

import keras_ae
from benchmarks.reproduce.common import BATCH_SIZE
from keras_ae import datasets, evaluation, likelihoods, plots

# The noise of the second one is that of half the squared error, which many programs minimize.
SIGMA_MODELS = {
    "SigmaVAE": lambda **given: keras_ae.SigmaVAE(**given),
    "VAE, scale 1": lambda **given: keras_ae.VAE(likelihood=likelihoods.Gaussian(1.0), **given),
}


def sigma(epochs=20, seed=0, models=tuple(SIGMA_MODELS), pictures=None):
    """SigmaVAE and a VAE of fixed noise on MNIST: the scale and its closed form, and samples.

    The closed form is the root of the mean squared error of decoded draws from the posterior, over
    the training set. Samples are compared with test digits as in `samples`.
    """
    train, test = (datasets.as_array("mnist", split) for split in ("train", "test"))
    features = evaluation.DigitFeatures()
    for name in models:
        model = SIGMA_MODELS[name](latent_dim=16, seed=seed)
        steps = epochs * -(-len(train) // BATCH_SIZE)
        model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, steps)))
        start = time.perf_counter()
        model.fit(train, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
        seconds = round(time.perf_counter() - start, 1)
        decoded = model.decode(model.encode(train, sample=True, seed=seed, verbose=0), verbose=0)
        closed_form = float(np.sqrt(np.mean(np.square(decoded - train))))
        scale = float(keras.ops.convert_to_numpy(model.likelihood.noise_scale()))
        drawn = model.sample(10_000, seed=seed, verbose=0)
        logs = model.evaluate(test, batch_size=500, verbose=0, return_dict=True)
        if pictures:
            pictures.mkdir(parents=True, exist_ok=True)
            file = f"{name.replace(', ', '_').replace(' ', '_')}.png"
            plots.image_grid(drawn[:100].clip(0.0, 1.0), pictures / file, columns=10)
        yield {
            "model": name,
            "scale": scale,
            "closed_form": closed_form,
            "ratio": scale / closed_form,
            "frechet_distance": evaluation.frechet_distance(features(drawn), features(test)),
            "negative_elbo": logs["reconstruction_loss"] + logs["kl_loss"],
            "kl": logs["kl_loss"],
            "training_seconds": seconds,
        }
