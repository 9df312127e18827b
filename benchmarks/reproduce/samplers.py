"""Samples of MNIST by every sampler, and how far they are from its digits.

TFDS_DATA_DIR=... python -m benchmarks.reproduce samplers --pictures gallery
"""

import time

import keras

import keras_ae
from benchmarks.reproduce.common import CROSS_ENTROPY
from keras_ae import datasets, evaluation, plots
from keras_ae.samplers.fitted import BY_NAME

MODELS = {"VAE": {}, "AE": CROSS_ENTROPY, "RegularizedAE": CROSS_ENTROPY}
# No code of these models lies in hyperbolic space.
SAMPLERS = ("own", *(name for name in BY_NAME if name != "hyperbolic_uniform"))


def samplers(epochs=10, seed=0, models=tuple(MODELS), samplers=SAMPLERS, pictures=None):
    """Samples compared with test digits, in the features of the packaged classifier of digits.

    "own" is the prior of the VAE, and the Gaussian of the data's codes of the other two.
    """
    train, test = (datasets.as_array("mnist", split) for split in ("train", "test"))
    features = evaluation.DigitFeatures()

    def distance(digits):
        return evaluation.frechet_distance(features(digits), features(test))

    for name in models:
        model = getattr(keras_ae, name)(16, seed=seed, **MODELS[name])
        model.compile(keras.optimizers.Adam(1e-3))
        model.fit(train, batch_size=128, epochs=epochs, verbose=0)
        reconstructions = distance(model.reconstruct(test, verbose=0))
        for sampler in samplers:
            start = time.perf_counter()
            model.fit_sampler(train, sampler, verbose=0)
            seconds = round(time.perf_counter() - start, 1)
            drawn = model.sample(10_000, seed=seed, verbose=0)
            if pictures:
                pictures.mkdir(exist_ok=True)
                plots.image_grid(drawn[:16], pictures / f"{name}_{sampler}.png", columns=16)
            yield {
                "model": name,
                "sampler": sampler,
                "frechet_distance_of_samples": distance(drawn),
                "frechet_distance_of_reconstructions": reconstructions,
                "seconds_to_fit_the_sampler": seconds,
            }
