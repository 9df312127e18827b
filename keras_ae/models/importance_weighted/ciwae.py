"""CIWAE, of Tighter Variational Bounds: Rainforth et al. 2018, arXiv:1802.04537."""

from typing import Any

from keras import ops

from keras_ae.core import arguments
from keras_ae.models.importance_weighted.base import ImportanceWeightedVAE, log_mean_exp


class CIWAE(ImportanceWeightedVAE):
    """Minimizes eq. 16: a mixture of the evidence lower bound and the importance-weighted one.

    Args:
        latent_dim: Dimensions of the code. Defaults to None, see `keras_ae.Autoencoder`.
        beta: Weight of the evidence lower bound in the mixture, in [0, 1]. Defaults to 0.5.
        num_samples: Number of importance samples k, a positive integer. Defaults to 5.
        encoder, decoder, likelihood, kl_weight, network_options, seed: See `keras_ae.VAE`. The
            model minimizes `weighted_ciwae_loss`, the bound with the divergence times kl_weight.
            There are no `free_bits`, because the divergence is not a term of this bound.

    Example:

    >>> import numpy as np
    >>> from keras_ae import CIWAE
    >>> model = CIWAE(latent_dim=2, beta=0.05, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> sorted(history.history)
    ['ciwae_loss', 'kl_loss', 'loss', 'reconstruction_loss', 'weighted_ciwae_loss']
    """

    objective = ("ciwae_loss",)

    def __init__(
        self, latent_dim: int | None = None, beta: float = 0.5, num_samples: int = 5, **kwargs: Any
    ):
        super().__init__(latent_dim, **kwargs)
        self.beta = arguments.number(self, "beta", beta, most=1)
        self.num_samples = arguments.integer(self, "num_samples", num_samples)

    def _num_draws(self):
        return self.num_samples

    def _bound_losses(self, log_likelihood, divergence, weight):
        log_weights = log_likelihood - weight * divergence
        lower = ops.mean(log_weights, axis=1)
        return {"ciwae_loss": -self.beta * lower - (1 - self.beta) * log_mean_exp(log_weights)}
