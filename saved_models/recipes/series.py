"""Recipes of models of series, sound, video and text."""

import figures
import numpy as np
import sources
from pictures import build
from recipe import Recipe

import keras_ae


def perplexity(model, data):
    """Return the perplexity of a letter by the bound, and that of frequent letters alone."""
    test, train = data["test"]["x"], data["train"]["x"]
    logs = model.evaluate(test, batch_size=500, return_dict=True, verbose=0)
    letters = np.mean(np.count_nonzero(test, axis=1))
    count = np.bincount(train[train > 0], minlength=28)[1:]
    share = count / count.sum()
    return {
        "negative_bound": logs["reconstruction_loss"] + logs["kl_loss"],
        "kl": logs["kl_loss"],
        "perplexity": np.exp((logs["reconstruction_loss"] + logs["kl_loss"]) / letters),
        "perplexity_of_frequencies": np.exp(-np.sum(share * np.log(share))),
    }


RECIPES = {
    "time_vae_mnist1d": Recipe(
        "A VAE of series of 40 steps, decoded as a trend and a residual.",
        "Series of one length, their parts, and new ones.",
        "The digits in this set are stretched and shifted at random, so that there is no season.",
        sources.MNIST1D,
        build(
            keras_ae.TimeVAE,
            12,
            epochs=60,
            examples=4000,
            batch_size=64,
            network_options={"filters": (16, 32), "units": (48,)},
        ),
        (figures.losses, figures.reconstructions),
        60,
        64,
    ),
    "recurrent_vae_mnist1d": Recipe(
        "A VAE of series of 40 steps with recurrent networks.",
        "Sequences, also of different lengths.",
        "Long sequences are reconstructed less sharply than by TimeVAE.",
        sources.MNIST1D,
        build(
            keras_ae.RecurrentVAE,
            12,
            epochs=40,
            examples=4000,
            batch_size=64,
            network_options={"units": (64,)},
        ),
        (figures.losses, figures.reconstructions),
        40,
        64,
    ),
    "vae_formant_words": Recipe(
        "A VAE of short words as pictures of 40 bands of frequencies.",
        "Codes of sounds, and new sounds through keras_ae.datasets.invert_log_mel.",
        "The words are synthetic: vowels of a model of the voice, and no recorded speech.",
        sources.WORDS,
        build(
            keras_ae.VAE,
            16,
            likelihood="gaussian_learned_scale",
            standardize=True,
            epochs=15,
            examples=4000,
            batch_size=32,
            network_options={"filters": (8, 16, 32), "units": ()},
        ),
        (figures.losses, figures.reconstructions, figures.neighbors),
        15,
        32,
    ),
    "vae_moving_digits": Recipe(
        "A VAE of videos of two digits that move.",
        "Videos as examples: one code for eight frames.",
        "The frames are 24 pixels high and wide.",
        sources.MOVING_DIGITS,
        build(
            keras_ae.VAE,
            24,
            epochs=10,
            examples=6000,
            batch_size=32,
            encoder="conv",
            decoder="conv",
            network_options={"filters": (8, 16, 24), "units": ()},
        ),
        (figures.losses, figures.reconstructions),
        10,
        32,
    ),
    "sentence_vae_names": Recipe(
        "A VAE of first names, which writes them letter by letter.",
        "Text of short sequences: samples, interpolations, and beam search.",
        "Letters are tokens: 0 is padding, 1 the end, and 2 to 27 are a to z.",
        sources.NAMES,
        build(
            keras_ae.SentenceVAE,
            16,
            vocabulary_size=28,
            embedding_dim=16,
            hidden_units=96,
            end_token=1,
            epochs=15,
            examples=28_830,
            rate=3e-3,
        ),
        (perplexity,),
        15,
    ),
}
