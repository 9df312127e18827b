"""PIWAE, of Tighter Variational Bounds: Rainforth et al. 2018, arXiv:1802.04537."""

from keras_ae.models.importance_weighted.base import INFERENCE_NETWORKS, log_mean_exp
from keras_ae.models.importance_weighted.miwae import MIWAE


class PIWAE(MIWAE):
    """Minimizes two bounds of the same draws, one for the decoder and one for the encoder.

    The decoder minimizes the negative of the importance-weighted bound of all
    num_bounds * num_samples draws, because it needs a tight bound. The encoder minimizes MIWAE's
    loss, eq. 17, because it needs a clear gradient.

    Args:
        latent_dim: Dimensions of the code. Defaults to None, see `keras_ae.Autoencoder`.
        num_bounds: Number of bounds M that the encoder's loss averages, a positive integer.
            Defaults to 4.
        num_samples: Number of importance samples K of each bound, a positive integer. Defaults
            to 5.
        encoder, decoder, likelihood, kl_weight, network_options, seed: See `keras_ae.VAE`. The
            model minimizes `weighted_iwae_loss` and `weighted_miwae_loss`, the bounds with the
            divergence times kl_weight. There are no `free_bits`, because the divergence is not a
            term of these bounds.

    Example:

    >>> import numpy as np
    >>> from keras_ae import PIWAE
    >>> model = PIWAE(latent_dim=2, num_bounds=2, num_samples=3, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> sorted(name for name in history.history if name.startswith("weighted"))
    ['weighted_iwae_loss', 'weighted_miwae_loss']
    """

    objective = ("iwae_loss",)
    players = {INFERENCE_NETWORKS: ("miwae_loss",)}

    def _bound_losses(self, log_likelihood, divergence, weight):
        losses = super()._bound_losses(log_likelihood, divergence, weight)
        return {**losses, "iwae_loss": -log_mean_exp(log_likelihood - weight * divergence)}
