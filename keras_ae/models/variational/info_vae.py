"""InfoVAE: Zhao, Song and Ermon 2017, arXiv:1706.02262."""

from typing import Any

import keras
from keras import ops

from keras_ae.core import arguments
from keras_ae.core.objective import skip_single_example
from keras_ae.core.types import Tensor
from keras_ae.divergences import BANDWIDTHS, count_pair_numbers, mmd
from keras_ae.models.variational.vae import VAE


class InfoVAE(VAE):
    """Minimizes eq. 6: reconstruction + (1 - alpha) KL + (alpha + scale - 1) MMD(q(z), p(z)).

    The discrepancy between codes and draws from the prior is the unbiased estimate of
    `keras_ae.divergences.mmd`.

    Args:
        latent_dim: Dimensions of the code. Defaults to None, see `keras_ae.Autoencoder`.
        alpha: Weight of the mutual information, a number of at most 1. Defaults to 0.
        scale: The paper's lambda, a number. alpha + scale must not be below 1, because the model
            would then maximize the discrepancy. Defaults to 10. With 1,000, the noise of the
            estimate from a batch of 64 outweighs the reconstruction, and the code carries little
            information.
        kernel: "imq" or "rbf", see `keras_ae.divergences.mmd`. Defaults to "imq". Models from files
            of before 27 November 2026 have the sum over seven scales instead of the mean.
        encoder, decoder, likelihood, kl_weight, free_bits, network_options, seed: See
            `keras_ae.VAE`.

    Example:

    >>> import numpy as np
    >>> from keras_ae import InfoVAE
    >>> model = InfoVAE(latent_dim=2, scale=10.0, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> sorted(history.history)
    ['kl_loss', 'loss', 'mmd_loss', 'reconstruction_loss']
    """

    objective = (*VAE.objective, "mmd_loss")
    # In files of before, the kernel was the sum over all scales.
    _kept = {"kernel_factor": len(BANDWIDTHS)}
    _kernel_factor = 1

    def __init__(
        self,
        latent_dim: int | None = None,
        alpha: float = 0.0,
        scale: float = 10.0,
        kernel: str = "imq",
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        _check(alpha, scale)
        arguments.record(self, "alpha", alpha, lambda value: _check(value, self.scale)[0])
        arguments.record(self, "scale", scale, lambda value: _check(self.alpha, value)[1])
        self.alpha, self.scale = alpha, scale
        self.kernel = arguments.choice(self, "kernel", kernel, ("imq", "rbf"))

    def _step_numbers(self, batch_size):
        return super()._step_numbers(batch_size) + count_pair_numbers(batch_size, self.latent_dim)

    def loss_weights(self) -> dict[str, Any]:
        weights = {name: (1.0 - self.alpha) * w for name, w in super().loss_weights().items()}
        return {**weights, "mmd_loss": self.alpha + self.scale - 1.0}

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        seed = self.step_seed(training)
        q = self.posterior(x, training)
        z = q.sample(seed)
        prior = keras.random.normal(ops.shape(z), dtype="float32", seed=seed)
        discrepancy = self._kernel_factor * mmd(z, prior, self.kernel)
        return {
            **self.elbo_terms(y, z, q.kl_per_dimension(), training),
            "mmd_loss": skip_single_example(self, "mmd_loss", discrepancy, z),
        }


def _check(alpha, scale):
    """Return both arguments, after checking that no factor of a loss is negative."""
    for name, value in (("alpha", alpha), ("scale", scale)):
        arguments.number("InfoVAE", name, value, least=None)
    if alpha > 1 or not alpha + scale >= 1:
        raise ValueError(
            f"InfoVAE: alpha={alpha!r} and scale={scale!r} give the divergence the factor "
            f"{1 - alpha:g} and the discrepancy the factor {alpha + scale - 1:g}, but neither may "
            "be negative. Choose alpha of at most 1 and scale of at least 1 - alpha."
        )
    return alpha, scale
