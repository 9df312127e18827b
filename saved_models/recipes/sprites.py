"""Recipes of models that disentangle the factors of generated pictures."""

import figures
import sources
from pictures import build
from recipe import Recipe

import keras_ae

SMALL = {"filters": (16, 16, 32, 32), "units": ()}
LIMITS = "The score depends more on the seed than on the model: see the spread over seeds."


def disentangle(sentence, cls, **given):
    return Recipe(
        sentence,
        "To see which dimension of a code holds which factor: shape, scale, orientation, place.",
        LIMITS,
        sources.SPRITES,
        build(cls, 10, epochs=8, network_options=SMALL, **given),
        (figures.losses, figures.disentanglement),
        8,
    )


RECIPES = {
    "factor_vae_sprites": disentangle(
        "A VAE of shapes that penalizes the total correlation by a discriminator.",
        keras_ae.FactorVAE,
        gamma=20.0,
        rate=1e-3,
    ),
    "beta_tc_vae_sprites": disentangle(
        "A VAE of shapes that penalizes the total correlation by weighted sampling.",
        keras_ae.BetaTCVAE,
        beta=6.0,
    ),
    "dip_vae_sprites": disentangle(
        "A VAE of shapes whose codes are pulled toward no correlation.",
        keras_ae.DIPVAE,
        variant="ii",
    ),
}
