"""Finite Scalar Quantization: VQ-VAE Made Simple: Mentzer et al. 2023, arXiv:2309.15505."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_ae.core import arguments
from keras_ae.layers import FiniteScalarQuantizer
from keras_ae.layers.scalar_quantizers import MOST_LEVELS, TOO_MANY_LEVELS, check_num_codes
from keras_ae.models.discrete.base import DiscreteAE


class FSQVAE(DiscreteAE):
    """An autoencoder whose vectors are bounded and rounded, so that the codebook is a fixed grid.

    The model minimizes only the reconstruction loss. `encode` returns code indices. `sample`
    decodes codes from a prior, which `fit_prior(x)` trains after `fit`.

    Args:
        latent_dim: Dimensions of each vector. Defaults to 4.
        levels: Number of values of each dimension, an integer from 2 to 2 ** 20, or a tuple of
            latent_dim such integers, such as (8, 6, 5). Their product is the number of codes.
            Defaults to 5. `keras_ae.layers.FiniteScalarQuantizer` explains where 2 levels, and more
            than 1,000, differ from the paper.
        code_length, prior_options: See `keras_ae.VQVAE`.
        encoder, decoder, reconstruction_loss, network_options, seed: See `keras_ae.VQVAE`.

    Raises:
        ValueError: If there is not one level for each dimension.

    Example:

    >>> import numpy as np
    >>> from keras_ae import FSQVAE
    >>> model = FSQVAE(latent_dim=2, levels=(4, 3), code_length=3, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).random((64, 8), "float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> model.encode(x).shape, model.num_codes, sorted(history.history)
    ((64, 3), 12, ['codebook_usage', 'loss', 'perplexity', 'reconstruction_loss'])
    """

    def __init__(self, latent_dim: int = 4, levels: int | Sequence[int] = 5, **kwargs: Any):
        super().__init__(latent_dim, **kwargs)
        if isinstance(levels, (list, tuple)):
            arguments.sizes(self, "levels", levels, "(8, 6, 5)")
            if len(levels) != self.latent_dim:
                raise ValueError(
                    f"FSQVAE: levels={levels!r} must hold one integer for each of the "
                    f"latent_dim={latent_dim} dimensions."
                )
            FiniteScalarQuantizer(levels)  # The constructor checks the levels.
        else:
            arguments.integer(self, "levels", levels, 2, MOST_LEVELS, remedy=TOO_MANY_LEVELS)
            levels = int(levels)
            check_num_codes(self, (levels,), self.latent_dim)
        self.levels = levels

    def _make_head(self, name):
        network = super()._make_head(name)
        # The bias spreads the vectors over the grid at the start. Without it, small features would
        # all be rounded to zero.
        network.layers[0].bias_initializer = keras.initializers.RandomUniform(-1.0, 1.0)
        return network

    def _make_quantizer(self):
        levels = self.levels
        if not isinstance(levels, (list, tuple)):
            levels = [levels] * self.latent_dim
        return FiniteScalarQuantizer(tuple(levels), name="quantizer")
