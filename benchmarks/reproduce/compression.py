"""How many bits integer codes of MNIST take, and what they lose.

TFDS_DATA_DIR=... python -m benchmarks.reproduce compression --models VQVAE
"""

import gzip
import math
import time

import keras
import numpy as np

import keras_ae
from keras_ae import datasets

# Each of 49 positions has 8 bits: one of 256 codes, or twice one of 16. The paper of finite scalar
# quantization advises against fewer than 5 levels, so FSQVAE has the 240 codes of its table 1.
COMPRESSING_MODELS = {
    "VQVAE": {"latent_dim": 16, "num_codes": 256},
    "ResidualVQVAE": {"latent_dim": 16, "num_codes": 16, "depth": 2},
    "FSQVAE": {"latent_dim": 3, "levels": (8, 6, 5)},
    "LFQVAE": {"latent_dim": 8, "entropy_weight": 1.0},
}
PRIOR_UNITS = {"GridPrior": 32, "SequencePrior": 64}


def lossless_bits(pictures):
    """Return the bits per uint8 picture of PNG, of gzip, and of gzip of all in one stream."""
    import tensorflow as tf

    pngs = [len(tf.io.encode_png(picture, compression=9).numpy()) for picture in pictures]
    alone = [len(gzip.compress(picture.tobytes(), 9)) for picture in pictures]
    together = len(gzip.compress(pictures.tobytes(), 9)) / len(pictures)
    return {
        "png_bits": 8 * float(np.mean(pngs)),
        "gzip_bits": 8 * float(np.mean(alone)),
        "gzip_bits_in_one_stream": 8 * together,
    }


def compression(epochs=5, seed=0, models=tuple(COMPRESSING_MODELS)):
    """Quantizers at 387 to 392 bits per image, and what the codes take under a learned prior.

    They are compared with PNG and gzip of the same test images, which are lossless. The limit is
    that at least 90 percent of the codes are in use.
    """
    train, test = (datasets.as_array("mnist", split) for split in ("train", "test"))
    others = lossless_bits(np.round(test * 255).astype("uint8"))
    for name in models:
        sequence = name == "ResidualVQVAE"
        units = PRIOR_UNITS["SequencePrior" if sequence else "GridPrior"]
        given = {"prior_options": {"units": units}, "seed": seed} | COMPRESSING_MODELS[name]
        model = getattr(keras_ae, name)(**given)
        rate = keras.optimizers.schedules.CosineDecay(2e-3, epochs * math.ceil(len(train) / 128))
        model.compile(keras.optimizers.Adam(rate))
        start = time.perf_counter()
        model.fit(train, batch_size=128, epochs=epochs, verbose=0)
        trained = time.perf_counter()
        rate = keras.optimizers.schedules.CosineDecay(3e-3, epochs * math.ceil(len(train) / 128))
        model.fit_prior(
            train, epochs=epochs, batch_size=128, optimizer=keras.optimizers.Adam(rate), verbose=0
        )
        fitted = time.perf_counter()
        error = np.mean((model.reconstruct(test, verbose=0) - test) ** 2)
        bits = -model.prior_log_likelihood(test, verbose=0) / math.log(2)
        yield {
            "model": name,
            **COMPRESSING_MODELS[name],
            "bits_of_the_codes": math.prod(model.code_shape) * math.log2(model.num_codes),
            "bits_under_the_prior": float(bits.mean()),
            "standard_error": float(bits.std() / math.sqrt(len(bits))),
            **others,
            "mean_squared_error": float(error),
            "psnr": float(-10 * math.log10(error)),
            **model.codebook_statistics(test, verbose=0),
            "training_seconds": round(trained - start, 1),
            "prior_seconds": round(fitted - trained, 1),
        }
