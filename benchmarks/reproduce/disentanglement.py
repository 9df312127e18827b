"""Models of sprites with known factors, and the total correlation of their codes.

python -m benchmarks.reproduce disentanglement
"""

import math
import time

import keras
import numpy as np
import scipy.special

import keras_ae
from benchmarks.reproduce.common import shares
from keras_ae import datasets, evaluation

# The models have ten dimensions for the five factors, as in arXiv:1802.05983 and 1802.04942.
DISENTANGLED_MODELS = {
    "VAE": {},
    "BetaTCVAE": {"beta": 6.0},
    "FactorVAE": {"gamma": 40.0},
}
SPRITES = {"train": 40_000, "test": 10_000}


def total_correlations(model, x, seed):
    """Return the total correlation of the code over these examples in nats, computed in two ways.

    The first is KL(q(z) || prod_j q(z_j)), where q(z) is the average of the posteriors of x. The
    densities are exact; the outer expectation is an average over one draw of each posterior. A code
    can tell no more than log(len(x)) nats about which of finitely many examples it belongs to, so
    this is never less than KL - log(len(x)) - sum_j KL(q(z_j) || p(z_j)).

    The second is that of the Gaussian with the draws' covariance, which sees only linear
    dependence.
    """
    q = model.posterior(keras.ops.convert_to_tensor(x))
    z = keras.ops.convert_to_numpy(q.sample(keras.random.SeedGenerator(seed)))
    mean, log_variance = (keras.ops.convert_to_numpy(v) for v in (q.mean, q.log_variance))
    gaussian = -0.5 * np.linalg.slogdet(np.corrcoef(z, rowvar=False))[1]
    parts = []
    for start in range(0, len(z), 250):
        difference = z[start : start + 250, None] - mean[None]
        densities = -0.5 * (difference**2 * np.exp(-log_variance) + log_variance)
        joint = scipy.special.logsumexp(densities.sum(axis=-1), axis=1)
        each = scipy.special.logsumexp(densities, axis=1).sum(axis=-1)
        # The average of len(x) posteriors subtracts log(len(x)): once from the joint density, and
        # once per dimension from the product.
        parts.append(joint - each + (z.shape[1] - 1) * math.log(len(x)))
    return {
        "total_correlation": float(np.mean(np.concatenate(parts))),
        "gaussian_total_correlation": float(gaussian),
    }


def disentanglement(epochs=25, seed=0, models=tuple(DISENTANGLED_MODELS)):
    """Sprites with known factors: at least half the VAE's total correlation, and what it costs."""
    indices = np.random.default_rng(seed).permutation(math.prod(datasets.SPRITES_FACTORS.values()))
    train, test = np.split(indices[: sum(SPRITES.values())], [SPRITES["train"]])
    train, test = (datasets.sprites_images(part).reshape(-1, 64 * 64) for part in (train, test))
    for name in models:
        options = {"network_options": {"units": (400, 400)}, "seed": seed}
        model = getattr(keras_ae, name)(10, **options, **DISENTANGLED_MODELS[name])
        model.compile(keras.optimizers.Adam(1e-3))
        start = time.perf_counter()
        model.fit(train, batch_size=128, epochs=epochs, verbose=0)
        seconds = round(time.perf_counter() - start, 1)
        logs = model.evaluate(test, batch_size=500, verbose=0, return_dict=True)
        yield {
            "model": name,
            **DISENTANGLED_MODELS[name],
            **total_correlations(model, test, seed),
            "reconstruction": logs["reconstruction_loss"],
            "kl": logs["kl_loss"],
            "active_units": evaluation.active_units(model.encode(test)),
            **shares(model, test[:2000]),
            "training_seconds": seconds,
        }
