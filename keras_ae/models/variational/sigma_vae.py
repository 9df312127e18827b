"""Simple and effective VAE training with calibrated decoders: Rybkin et al., arXiv:2006.13202."""

from typing import Any

from keras_ae.core import inputs
from keras_ae.models.variational.vae import VAE


class SigmaVAE(VAE):
    """A VAE whose Gaussian noise has the variance that fits the data best, eq. 6.

    The noise needs no tuning, and balances reconstruction and divergence. In training its variance
    is the mean squared error of the batch. `evaluate`, `log_likelihood` and draws use the running
    mean of this variance: see `keras_ae.likelihoods.OptimalGaussian`. `model.scale` is its square
    root.

    Args:
        latent_dim: Dimensions of the code. Defaults to None, see `keras_ae.Autoencoder`.
        encoder, decoder, kl_weight, free_bits, network_options, seed, standardize: See
            `keras_ae.VAE`. A decoder of your own returns the mean. Sequences may not be padded.

    Example:

    >>> import numpy as np
    >>> from keras_ae import SigmaVAE
    >>> model = SigmaVAE(latent_dim=2, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> model.scale > 0
    True
    """

    _without = ("likelihood",)

    def __init__(self, latent_dim: int | None = None, **kwargs: Any):
        super().__init__(latent_dim, likelihood="gaussian_optimal_scale", **kwargs)

    @property
    def scale(self) -> float:
        """The standard deviation of the noise; with standardize=True, that of standardized data."""
        inputs.require_built(self, "scale")
        return float(self.likelihood.noise_scale())
