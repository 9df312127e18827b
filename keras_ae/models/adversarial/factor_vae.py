"""Disentangling by Factorising: Kim and Mnih 2018, arXiv:1802.05983."""

from typing import Any

import keras
from keras import ops

from keras_ae import networks
from keras_ae.core import arguments
from keras_ae.core.types import Tensor
from keras_ae.divergences import permute_dims, softmax_loss
from keras_ae.models.variational.vae import VAE
from keras_ae.networks.fitting import symbolic_call


class FactorVAE(VAE):
    """Minimizes eq. 2: the negative bound plus gamma times an estimate of the total correlation.

    A discriminator tells codes of the posterior from codes whose dimensions were shuffled across
    the batch. Its log odds estimate the total correlation, eq. 3. It minimizes its own loss in the
    same step.

    Args:
        latent_dim: Dimensions of the code. Defaults to 16.
        gamma: Factor of the total correlation, a number of at least 0. Defaults to 10.
        discriminator: Keras model from a code (batch, latent_dim) to two logits, the first for
            codes of the posterior and the second for shuffled codes. Defaults to None, three layers
            of 256 units. The paper has six layers of 1,000 units:
            `keras_ae.networks.discriminator(latent_dim, 2, units=(1000,) * 6)`.
        encoder, decoder, likelihood, kl_weight, free_bits, network_options, seed: See
            `keras_ae.VAE`.

    Example:

    >>> import numpy as np
    >>> from keras_ae import FactorVAE
    >>> model = FactorVAE(latent_dim=2, gamma=5.0, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> sorted(history.history)
    ['discriminator_loss', 'kl_loss', 'loss', 'reconstruction_loss', 'tc_loss']
    """

    objective = (*VAE.objective, "tc_loss")
    players = {"discriminator": ("discriminator_loss",)}

    def __init__(
        self,
        latent_dim: int = 16,
        gamma: float = 10.0,
        discriminator: keras.Model | None = None,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        self.gamma = arguments.number(self, "gamma", gamma)
        self.discriminator = discriminator

    def _build_networks(self, shape, target_shape):
        super()._build_networks(shape, target_shape)
        if self.discriminator is None:
            self.discriminator = networks.discriminator(self.latent_dim, 2, dtype=self.dtype_policy)
        symbolic_call(self, "discriminator", self.discriminator, (None, self.latent_dim))

    def loss_weights(self) -> dict[str, Any]:
        return {**super().loss_weights(), "tc_loss": self.gamma}

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        seed = self.step_seed(training)
        q = self.posterior(x, training)
        z = q.sample(seed)
        joint = ops.cast(self.discriminator(z, training=training), "float32")  # (batch, 2)
        shuffled = permute_dims(z, seed)
        product = ops.cast(self.discriminator(shuffled, training=training), "float32")
        return {
            **self.elbo_terms(y, z, q.kl_per_dimension(), training),
            "tc_loss": joint[:, 0] - joint[:, 1],
            "discriminator_loss": 0.5 * (softmax_loss(joint, 0) + softmax_loss(product, 1)),
        }
