"""beta-VAE: Higgins et al. 2017, openreview.net/forum?id=Sy2fzU9gl."""

from typing import Any

from keras_ae.core import arguments
from keras_ae.models.variational.vae import VAE


class BetaVAE(VAE):
    """Minimizes eq. 4: the negative bound with the divergence multiplied by beta.

    Args:
        latent_dim: Dimensions of the code. Defaults to 16.
        beta: Factor of the KL divergence, a number of at least 0. Above 1 it favors independent
            dimensions over reconstruction. `kl_weight` multiplies it, for warm-up. Defaults to 4.
        encoder, decoder, likelihood, kl_weight, free_bits, network_options, seed: See
            `keras_ae.VAE`.

    Example:

    >>> import numpy as np
    >>> from keras_ae import BetaVAE
    >>> model = BetaVAE(latent_dim=2, beta=8.0, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> sorted(history.history)
    ['kl_loss', 'loss', 'reconstruction_loss']
    """

    def __init__(self, latent_dim: int = 16, beta: float = 4.0, **kwargs: Any):
        super().__init__(latent_dim, **kwargs)
        self.beta = arguments.number(self, "beta", beta)

    def loss_weights(self) -> dict[str, Any]:
        return {name: self.beta * weight for name, weight in super().loss_weights().items()}
