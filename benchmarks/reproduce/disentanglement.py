"""Models of sprites with known factors, and all scores of disentanglement.

python -m benchmarks.reproduce disentanglement --output disentanglement/
"""

import json
import math
import pathlib
import time

import keras
import numpy as np
import scipy.special

import keras_ae
from benchmarks.reproduce.common import shares
from keras_ae import datasets, evaluation, schedules

# All have ten dimensions for the five factors, as in arXiv:1802.05983 and 1802.04942.
DISENTANGLED_MODELS = {
    "VAE": {},
    "BetaVAE": {"beta": 4.0},
    "FactorVAE": {"gamma": 20.0},
    "BetaTCVAE": {"beta": 6.0},
    "DIPVAE": {"variant": "ii", "off_diagonal_weight": 10.0},
    "AnnealedVAE": {"gamma": 8.0},
}
LATENT_DIM = 10
# The networks of the saved model `factor_vae_sprites`.
NETWORKS = {"filters": (16, 16, 32, 32), "units": (64,)}
SPRITES = {"train": 40_000, "test": 10_000}
# Classifiers and densities of all pairs take long. Scores that need a classifier have these many
# examples of the test set, and a total correlation is the average of these many draws.
CLASSIFIED, DRAWS = 3000, 2000


def draw_sprites(factors):
    """Draw the sprites with these factors, an array of shape (examples, 5)."""
    return datasets.sprites_images(datasets.sprites_index(factors))


def total_correlations(model, x, seed):
    """Return the total correlation of the code over these examples in nats, computed in two ways.

    The first is KL(q(z) || prod_j q(z_j)), where q(z) is the average of the posteriors of x. The
    densities are exact; the outer expectation is an average over draws of the first examples. A
    code can tell no more than log(len(x)) nats about which of finitely many examples it belongs to,
    so this is never less than KL - log(len(x)) - sum_j KL(q(z_j) || p(z_j)).

    The second is that of the Gaussian with the draws' covariance, which sees only linear
    dependence.
    """
    q = model.posterior(keras.ops.convert_to_tensor(x))
    z = keras.ops.convert_to_numpy(q.sample(keras.random.SeedGenerator(seed)))
    mean, log_variance = (keras.ops.convert_to_numpy(v) for v in (q.mean, q.log_variance))
    gaussian = -0.5 * np.linalg.slogdet(np.corrcoef(z, rowvar=False))[1]
    parts = []
    for start in range(0, DRAWS, 250):
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


def train(name, seed, x, epochs):
    """Return the trained model and the seconds of training."""
    steps = epochs * math.ceil(len(x) / 64)
    given = {"seed": seed, **DISENTANGLED_MODELS[name], "network_options": NETWORKS}
    if name == "AnnealedVAE":
        given["capacity"] = schedules.LinearWarmUp(steps, end=25.0)
    keras.utils.set_random_seed(seed)
    model = getattr(keras_ae, name)(LATENT_DIM, **given)
    model.compile(keras.optimizers.Adam(1e-3))
    start = time.perf_counter()
    model.fit(x, batch_size=64, epochs=epochs, verbose=0)
    return model, round(time.perf_counter() - start, 1)


def compute_scores(model, codes, factors):
    """Return all scores of one model."""
    some = codes[:CLASSIFIED], factors[:CLASSIFIED]

    def represent(x):
        return model.encode(x, batch_size=len(x), verbose=0)

    drawn = represent, draw_sprites, tuple(datasets.SPRITES_FACTORS.values())
    accuracies = evaluation.predict_factors(*some)
    return {
        "factor_vae_score": evaluation.factor_vae_score(*drawn),
        "beta_vae_score": evaluation.beta_vae_score(*drawn, num_train=300, num_test=150),
        "mutual_information_gap": evaluation.mutual_information_gap(codes, factors),
        **evaluation.disentanglement_completeness(*some),
        "separated_attribute_predictability": evaluation.separated_attribute_predictability(*some),
        **evaluation.modularity_explicitness(*some),
        "interventional_robustness": evaluation.interventional_robustness(codes, factors),
        "downstream_accuracy": float(np.mean(accuracies)),
        "downstream_accuracies": dict(zip(datasets.SPRITES_FACTORS, accuracies, strict=True)),
    }


def disentanglement(epochs=7, seed=0, models=tuple(DISENTANGLED_MODELS), seeds=None, output=None):
    """Sprites with known factors: all scores of each model, mean and deviation over the seeds.

    A folder `output` gets the figures and the codes of each run as soon as they are there. Runs
    that it has are not repeated, so that training can go on after an interruption.
    """
    seeds = (seed, seed + 1, seed + 2) if seeds is None else seeds
    count = math.prod(datasets.SPRITES_FACTORS.values())
    indices = np.random.default_rng(0).permutation(count)[: sum(SPRITES.values())]
    x, test = (
        draw_sprites(datasets.sprites_factors(part))
        for part in np.split(indices, [SPRITES["train"]])
    )
    factors = datasets.sprites_factors(indices[SPRITES["train"] :])
    for name in models:
        found, codes = [], []
        for seed in seeds:
            file = output and pathlib.Path(output) / f"{name}_{seed}_{epochs}.json"
            if file and file.exists():
                found.append(json.loads(file.read_text()))
                codes.append(np.load(file.with_suffix(".npy")))
                continue
            model, seconds = train(name, seed, x, epochs)
            logs = model.evaluate(test, batch_size=500, verbose=0, return_dict=True)
            codes.append(model.encode(test, batch_size=500, verbose=0))
            found.append(
                {
                    **compute_scores(model, codes[-1], factors),
                    **total_correlations(model, test, seed),
                    "gaussian_total_correlation_of_means": evaluation.gaussian_total_correlation(
                        codes[-1]
                    ),
                    "reconstruction": logs["reconstruction_loss"],
                    "kl": logs["kl_loss"],
                    "active_units": evaluation.active_units(codes[-1]),
                    **shares(model, test[:2000]),
                    "training_seconds": seconds,
                }
            )
            if file:
                file.parent.mkdir(parents=True, exist_ok=True)
                np.save(file.with_suffix(".npy"), codes[-1])
                file.write_text(json.dumps(found[-1], default=float))
        if len(codes) > 1:
            ranking = evaluation.unsupervised_disentanglement_ranking(codes)
            for figures, value in zip(found, ranking, strict=True):
                figures["unsupervised_disentanglement_ranking"] = value
        for seed, figures in zip(seeds, found, strict=True):
            yield {"model": name, **DISENTANGLED_MODELS[name], "model_seed": seed, **figures}
        yield {"model": name, "seeds": len(seeds), **summarize(found)}


def summarize(found):
    """Return mean and standard deviation, over the seeds, of every figure that is a number."""
    numbers = [name for name, value in found[0].items() if isinstance(value, (int, float))]
    columns = {name: [figures[name] for figures in found] for name in numbers}
    return {name: [float(np.mean(v)), float(np.std(v))] for name, v in columns.items()}
