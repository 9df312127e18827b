"""Train models as papers do and print their figures, one row per model.

    TFDS_DATA_DIR=... python benchmarks/reproduce.py vae_mnist
    TFDS_DATA_DIR=... python benchmarks/reproduce.py likelihood --models VAE IWAE
    python benchmarks/reproduce.py disentanglement
    TFDS_DATA_DIR=... python benchmarks/reproduce.py samples --pictures gallery
    TFDS_DATA_DIR=... python benchmarks/reproduce.py codes --models AE VAE
    TFDS_DATA_DIR=... python benchmarks/reproduce.py compression
    python benchmarks/reproduce.py sparse_features
    TFDS_DATA_DIR=... python benchmarks/reproduce.py sparse_activations --models TopKSAE
    TFDS_DATA_DIR=... python benchmarks/reproduce.py denoising  # needs scikit-image

MNIST comes from tensorflow-datasets, which downloads it unless TFDS_DATA_DIR has it. A row prints
its figures as JSON. `benchmarks/RESULTS.md` has what was printed, with the command.
"""

import argparse
import json
import math
import os
import pathlib
import platform
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import scipy.special
from rows_codes import codes
from rows_denoising import denoising
from rows_discrete import compression
from rows_sparse import sparse_activations, sparse_features

import keras_ae
from keras_ae import datasets, plots

# The networks of arXiv:1509.00519, section 5: 784-200-200-50, tanh.
TANH_NETWORKS = {"units": (200, 200), "activation": "tanh"}
LATENT_DIM = 50
BATCH_SIZE = 128


def binary_mnist(seed):
    """Return training batches, binarized again in every pass, and the test set, binarized once."""
    import tensorflow as tf

    train = datasets.as_array("mnist", "train").reshape(-1, 784)
    test = datasets.as_array("mnist", "test").reshape(-1, 784)
    batches = (
        tf.data.Dataset.from_tensor_slices(train)
        .shuffle(len(train), seed=seed)
        .batch(BATCH_SIZE)
        .apply(datasets.dynamic_binarization(seed))
    )
    draws = np.random.default_rng(seed).random(test.shape, "float32")
    return batches, (draws < test).astype("float32")


def active_units(model, x):
    """Count the dimensions of the code whose posterior mean has a variance above 0.01 over x."""
    return int(np.sum(np.var(model.encode(x), axis=0) > 0.01))


def shares(model, x):
    """Return the share that each latent dimension carries, largest first.

    A posterior with independent dimensions has a divergence from the standard normal in each, and
    shares are shares of their sum. For any other posterior they are shares of the information about
    x. That in dimension j is computed as for a Gaussian: half the logarithm of the variance of z_j
    over all draws, divided by the mean of its variance given x.
    """
    q = model.posterior(keras.ops.convert_to_tensor(x))
    if isinstance(q, keras_ae.distributions.DiagonalGaussian):
        name, parts = "divergence", keras.ops.convert_to_numpy(q.kl_per_dimension()).mean(axis=0)
    else:
        draws = np.stack([model.encode(x, sample=True, seed=s, verbose=0) for s in range(32)])
        total = draws.reshape(-1, draws.shape[-1]).var(axis=0)
        name, parts = "information", 0.5 * np.log(total / draws.var(axis=0).mean(axis=0))
    found = np.sort(parts / parts.sum())[::-1]
    return {f"shares_of_the_{name}": [round(float(s), 3) for s in found if s >= 0.001]}


def likelihood_figures(model, test, seed):
    """Return the figures on the test set that every row of a variational model has."""
    logs = model.evaluate(test, batch_size=500, verbose=0, return_dict=True)
    likelihood = model.log_likelihood(test, num_samples=1000, seed=seed, verbose=0)
    by_layer = [round(value, 2) for name, value in logs.items() if name.startswith("kl_loss_")]
    return {
        "negative_log_likelihood": float(-np.mean(likelihood)),
        "standard_error": float(np.std(likelihood) / np.sqrt(len(test))),
        "negative_elbo": logs["reconstruction_loss"] + logs["kl_loss"],
        "kl": logs["kl_loss"],
        "active_units": active_units(model, test),
        **({"kl_by_layer": by_layer} if by_layer else {}),
        **shares(model, test[:2000]),
    }


def vae_mnist(epochs=100, seed=0):
    """VAE on dynamically binarized MNIST: test negative log-likelihood of at most 91.5 nats."""
    batches, test = binary_mnist(seed)
    model = keras_ae.VAE(LATENT_DIM, network_options=TANH_NETWORKS, seed=seed)
    model.compile("adam")
    start = time.perf_counter()
    model.fit(batches, epochs=epochs, verbose=2)
    seconds = round(time.perf_counter() - start, 1)
    return {**likelihood_figures(model, test, seed), "limit": 91.5, "training_seconds": seconds}


def networks_of(train, latent_dim):
    """Return an encoder 784-200-200 and its mirror image, with tanh.

    The inputs are centered, and the output's bias starts at the data's mean, as in the code of the
    authors of arXiv:1509.00519. Without this, models reconstruct every picture as the mean in the
    first epochs.
    """
    mean = np.mean(train, axis=0).clip(0.002, 0.998)
    hidden = [keras.layers.Dense(200, "tanh") for _ in range(4)]
    center = keras.layers.Normalization(mean=mean, variance=np.ones_like(mean))
    logits = keras.layers.Dense(
        len(mean), bias_initializer=keras.initializers.Constant(np.log(mean / (1.0 - mean)))
    )
    encoder = keras.Sequential([keras.Input((len(mean),)), center, *hidden[:2]])
    return encoder, keras.Sequential([keras.Input((latent_dim,)), *hidden[2:], logits])


# What each model is given besides the networks, the seed and the number of dimensions.
LIKELIHOOD_MODELS = {
    "VAE": ("VAE", {}),
    "VAE-10": ("VAE", {"latent_dim": 10}),
    "IWAE": ("IWAE", {"num_samples": 5}),
    "IWAE-DReG": ("IWAE", {"num_samples": 5, "estimator": "dreg"}),
    "MIWAE": ("MIWAE", {"num_bounds": 2, "num_samples": 5}),
    "PIWAE": ("PIWAE", {"num_bounds": 2, "num_samples": 5}),
    "CIWAE": ("CIWAE", {"beta": 0.05, "num_samples": 5}),
    "VampVAE": ("VampVAE", {"num_components": 500}),
    "FlowVAE-planar": ("FlowVAE", {"flow": "planar", "num_flows": 8}),
    "FlowVAE-sylvester": ("FlowVAE", {"flow": "sylvester", "num_flows": 2}),
    "IAFVAE": ("IAFVAE", {"num_flows": 2, "flow_units": 200}),
    "HamiltonianVAE": ("HamiltonianVAE", {"num_steps": 2}),
    "RiemannianHamiltonianVAE": ("RiemannianHamiltonianVAE", {"latent_dim": 10, "num_steps": 1}),
    # Unit vectors of 11 numbers have ten free dimensions.
    "HypersphericalVAE": ("HypersphericalVAE", {"latent_dim": 11}),
    "PoincareVAE": ("PoincareVAE", {"latent_dim": 10}),
    # The layers are those of arXiv:1602.02282, section 3, on the networks that all rows share.
    "LadderVAE": (
        "LadderVAE",
        {
            "latent_dim": 64,
            "upper_dims": (32, 16, 8, 4),
            "units": (200,),
            "kl_weight": keras_ae.schedules.LinearWarmUp(2_345),  # 2,345 steps are five epochs.
        },
    ),
}


def likelihood(epochs=20, seed=0, models=tuple(LIKELIHOOD_MODELS)):
    """The variational models on dynamically binarized MNIST: equal networks, epochs, rate, seeds.

    The rate rises to 3e-3 in two epochs and falls as a cosine. Long gradients are clipped, because
    flows diverge at a high rate otherwise.
    """
    train = datasets.as_array("mnist", "train").reshape(-1, 784)
    epoch = math.ceil(len(train) / BATCH_SIZE)
    for name in models:
        class_name, given = LIKELIHOOD_MODELS[name]
        batches, test = binary_mnist(seed)
        options = {"latent_dim": LATENT_DIM, "seed": seed} | given
        # These two have more networks than an encoder and a decoder.
        if class_name in ("LadderVAE", "TopDownVAE"):
            options["network_options"] = {"activation": "tanh"}
        keras.utils.set_random_seed(seed)
        encoder, decoder = networks_of(train, options["latent_dim"])
        model = getattr(keras_ae, class_name)(encoder=encoder, decoder=decoder, **options)
        if class_name == "VampVAE":
            model.set_pseudo_inputs(next(batches.unbatch().batch(500).as_numpy_iterator()))
        rate = keras.optimizers.schedules.CosineDecay(
            0.0, (epochs - 2) * epoch, warmup_target=3e-3, warmup_steps=2 * epoch
        )
        model.compile(keras.optimizers.Adam(rate, global_clipnorm=20.0))
        start = time.perf_counter()
        model.fit(batches, epochs=epochs, verbose=0)
        seconds = round(time.perf_counter() - start, 1)
        figures = likelihood_figures(model, test, seed)
        yield {"model": name, **given, **figures, "training_seconds": seconds}


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
            "active_units": active_units(model, test),
            **shares(model, test[:2000]),
            "training_seconds": seconds,
        }


# What each model is given besides its 16 dimensions and the seed.
CROSS_ENTROPY = {"reconstruction_loss": "binary_crossentropy"}
SAMPLED_MODELS = {
    "VAE": {},
    "PerceptualVAE": {},
    "VAEGAN": {"gamma": 1.0},
    "AE": CROSS_ENTROPY,
    "RegularizedAE": CROSS_ENTROPY,
    "WAE": CROSS_ENTROPY | {"weight": 100.0},
    "AdversarialAE": CROSS_ENTROPY,
    "VQVAE": CROSS_ENTROPY,
}


def classifier_features(x, labels, seed, layers):
    """Train a small convolutional classifier of digits; return a model of its layers' outputs."""
    keras.utils.set_random_seed(seed)
    conv = {"strides": 2, "padding": "same", "activation": "relu"}
    network = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(16, 5, **conv, name="first"),
            keras.layers.Conv2D(32, 5, **conv, name="second"),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu", name="last"),
            keras.layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile("adam", loss)
    network.fit(x, labels, batch_size=128, epochs=2, verbose=0)
    return keras.Model(network.inputs, [network.get_layer(name).output for name in layers])


def frechet_distance(features, others):
    """Return the Frechet distance between Gaussians with the features' means and covariances."""
    means = [np.mean(f, axis=0) for f in (features, others)]
    first, second = (np.cov(f, rowvar=False) for f in (features, others))
    # The trace of (AB)^(1/2) is the sum of the roots of AB's eigenvalues, which are real and at
    # least 0.
    roots = np.sqrt(np.maximum(np.linalg.eigvals(first @ second).real, 0.0))
    apart = np.sum((means[0] - means[1]) ** 2)
    return float(apart + np.trace(first) + np.trace(second) - 2.0 * np.sum(roots))


def samples(epochs=10, seed=0, models=tuple(SAMPLED_MODELS), pictures=None):
    """Samples compared with test digits, in the features of a classifier that no model saw.

    Codes come from the prior for the variational models, from the Gaussian of the data's codes for
    AE and RegularizedAE, from the prior that training pulled the codes to for WAE and
    AdversarialAE, and from the learned prior for VQVAE.
    """
    train, labels = datasets.as_array("mnist", "train", labels=True)
    test = datasets.as_array("mnist", "test")
    judge = classifier_features(train, labels, seed, ["last"])

    def distance(pictures):
        return frechet_distance(*(judge.predict(p, verbose=0) for p in (pictures, test)))

    for name in models:
        given = dict(SAMPLED_MODELS[name])
        if name == "PerceptualVAE":  # Its features come from another classifier than the judge.
            given["features"] = classifier_features(train, labels, seed + 1, ["first", "second"])
        model = getattr(keras_ae, name)(16, seed=seed, **given)
        model.compile(keras.optimizers.Adam(1e-3))
        start = time.perf_counter()
        model.fit(train, batch_size=128, epochs=epochs, verbose=0)
        if hasattr(model, "fit_prior"):
            # The prior gets half as many epochs, because one takes five times as long.
            model.fit_prior(train, epochs=epochs // 2, verbose=0)
        seconds = round(time.perf_counter() - start, 1)
        drawn = model.sample(10_000, seed=seed, verbose=0)
        if pictures:
            pictures.mkdir(exist_ok=True)
            plots.image_grid(drawn[:16], pictures / f"{name}.png", columns=16)
        logs = model.evaluate(test, batch_size=500, verbose=0, return_dict=True)
        figures = {
            "model": name,
            "frechet_distance_of_samples": distance(drawn),
            "frechet_distance_of_reconstructions": distance(model.reconstruct(test, verbose=0)),
            "frechet_distance_of_training_digits": distance(train[:10_000]),
            "reconstruction": logs["reconstruction_loss"],
        }
        if isinstance(model, keras_ae.VAE):
            figures |= {"kl": logs["kl_loss"], "active_units": active_units(model, test)}
            figures |= shares(model, test[:2000])
        yield {**figures, "training_seconds": seconds}


ROWS = {
    row.__name__: row
    for row in (
        vae_mnist,
        likelihood,
        disentanglement,
        samples,
        codes,
        compression,
        denoising,
        sparse_features,
        sparse_activations,
    )
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("row", choices=ROWS)
    parser.add_argument("--epochs", type=int, help="default: as many as RESULTS.md says")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--models", nargs="+", help="default: all models of the row")
    parser.add_argument("--pictures", type=pathlib.Path, help="folder for pictures of `samples`")
    arguments = parser.parse_args()
    given = {name: value for name, value in vars(arguments).items() if value is not None}
    settings = {
        "row": given.pop("row"),
        "backend": keras.config.backend(),
        "keras": keras.__version__,
        "python": platform.python_version(),
    }
    found = ROWS[settings["row"]](**given)
    for figures in [found] if isinstance(found, dict) else found:
        print(json.dumps({**settings, **given, **figures}, default=str), flush=True)


if __name__ == "__main__":
    main()
