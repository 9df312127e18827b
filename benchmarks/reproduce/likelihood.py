"""The variational models on dynamically binarized MNIST, with one schedule for all.

TFDS_DATA_DIR=... python -m benchmarks.reproduce likelihood --models VAE IWAE
"""

import math
import time

import keras
import numpy as np

import keras_ae
from benchmarks.reproduce.common import BATCH_SIZE, LATENT_DIM, binary_mnist, likelihood_figures
from keras_ae import datasets


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
