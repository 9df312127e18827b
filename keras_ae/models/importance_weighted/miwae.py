"""MIWAE, of Tighter Variational Bounds: Rainforth et al. 2018, arXiv:1802.04537."""

from typing import Any

from keras import ops

from keras_ae.core import arguments
from keras_ae.models.importance_weighted.base import ImportanceWeightedVAE, log_mean_exp


class MIWAE(ImportanceWeightedVAE):
    """Minimizes eq. 15: the mean of num_bounds importance-weighted bounds of num_samples each.

    One bound of many samples is tight, but gives the encoder little signal. Many bounds of few
    samples lie between this bound and the evidence lower bound. Another model of this name, for
    data with missing entries, is `keras_ae.MissingDataIWAE`.

    Args:
        latent_dim: Dimensions of the code. Defaults to None, see `keras_ae.Autoencoder`.
        num_bounds: Number of bounds M that are averaged, a positive integer. Defaults to 4.
        num_samples: Number of importance samples K of each bound, a positive integer. Defaults
            to 5.
        encoder, decoder, likelihood, kl_weight, network_options, seed: See `keras_ae.VAE`. The
            model minimizes `weighted_miwae_loss`, the bound with the divergence times kl_weight.
            There are no `free_bits`, because the divergence is not a term of this bound.

    Example:

    >>> import numpy as np
    >>> from keras_ae import MIWAE
    >>> model = MIWAE(latent_dim=2, num_bounds=2, num_samples=3, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> sorted(history.history)
    ['kl_loss', 'loss', 'miwae_loss', 'reconstruction_loss', 'weighted_miwae_loss']
    """

    objective = ("miwae_loss",)

    def __init__(
        self,
        latent_dim: int | None = None,
        num_bounds: int = 4,
        num_samples: int = 5,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        self.num_bounds = arguments.integer(self, "num_bounds", num_bounds)
        self.num_samples = arguments.integer(self, "num_samples", num_samples)

    def _num_draws(self):
        return self.num_bounds * self.num_samples

    def _bound_losses(self, log_likelihood, divergence, weight):
        shape = (-1, self.num_bounds, self.num_samples)
        log_weights = ops.reshape(log_likelihood - weight * divergence, shape)
        return {"miwae_loss": -ops.mean(log_mean_exp(log_weights), axis=1)}
