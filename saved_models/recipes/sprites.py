"""Recipes of models that disentangle the factors of generated pictures."""

import figures
import sources
from pictures import build
from recipe import Recipe

import keras_ae
from keras_ae import networks

# These are the networks of the row `disentanglement`, but with 48 units instead of 64, because the
# file would be too large.
NETWORKS = {"filters": (16, 16, 32, 32), "units": (48,)}
LIMITS = "The score depends more on the seed than on the model: see the spread over seeds."


def make_factor_vae(seed):
    """Make a model with a smaller discriminator than by default, for the size of the file."""
    discriminator = networks.discriminator(10, 2, units=(100,) * 3)
    given = {"gamma": 20.0, "discriminator": discriminator, "network_options": NETWORKS}
    return build(keras_ae.FactorVAE, 10, rate=1e-3, **given)(seed)


def disentangle(sentence, make):
    return Recipe(
        sentence,
        "To see which dimension of a code holds which factor: shape, scale, orientation, place.",
        LIMITS,
        sources.SPRITES,
        make,
        (figures.losses, figures.disentanglement),
        5,
        64,
    )


RECIPES = {
    "factor_vae_sprites": disentangle(
        "A VAE of shapes that penalizes the total correlation by a discriminator.",
        make_factor_vae,
    ),
    "beta_tc_vae_sprites": disentangle(
        "A VAE of shapes that penalizes the total correlation by weighted sampling.",
        build(keras_ae.BetaTCVAE, 10, beta=6.0, rate=1e-3, network_options=NETWORKS),
    ),
    "dip_vae_sprites": disentangle(
        "A VAE of shapes whose codes are pulled toward no correlation.",
        build(keras_ae.DIPVAE, 10, variant="ii", rate=1e-3, network_options=NETWORKS),
    ),
}
