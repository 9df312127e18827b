"""Inverse autoregressive flow posteriors: Kingma et al. 2016, arXiv:1606.04934."""

from typing import Any

import keras
from keras import ops

from keras_ae.core import arguments
from keras_ae.core.types import Tensor
from keras_ae.distributions import TransformedGaussian
from keras_ae.layers import InverseAutoregressiveFlow, gaussian
from keras_ae.models.variational.vae import VAE


class IAFVAE(VAE):
    """A VAE whose posterior is a Gaussian moved by inverse autoregressive flows, algorithm 1.

    All examples share the weights of the flows. The encoder computes a context for each example,
    which the flows read. `kl_loss` is the divergence from the prior: that of the Gaussian in closed
    form, plus the contribution of the flows, estimated by one draw.

    Args:
        latent_dim: Dimensions of the code. Defaults to None, see `keras_ae.Autoencoder`.
        num_flows: Number of flows, an integer of at least 0. Every second flow has the dimensions
            in reverse order. Defaults to 2.
        flow_units: Hidden units of each flow, a positive integer. Defaults to 128.
        encoder, decoder, likelihood, kl_weight, network_options, seed: See `keras_ae.VAE`.
        free_bits: Nats of the whole code that are exempt from the penalty. Defaults to 0.

    Example:

    >>> import numpy as np
    >>> from keras_ae import IAFVAE
    >>> model = IAFVAE(latent_dim=2, num_flows=2, flow_units=8, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> model.encode(x).shape, model.log_likelihood(x, num_samples=10, seed=0).shape
    ((64, 2), (64,))
    """

    # The parameters per latent dimension are the mean, the log-variance and the context.
    _code_parameters = 3

    def __init__(
        self,
        latent_dim: int | None = None,
        num_flows: int = 2,
        flow_units: int = 128,
        **kwargs: Any,
    ):
        arguments.integer(self, "flow_units", flow_units)
        super().__init__(latent_dim, **kwargs)
        arguments.layers(self, "num_flows", num_flows, least=0)
        self.flows = [
            InverseAutoregressiveFlow(flow_units, reverse=number % 2 == 0, name=f"flow_{number}")
            for number in range(num_flows)
        ]

    def _build_networks(self, shape, target_shape):
        super()._build_networks(shape, target_shape)
        code = keras.KerasTensor((None, self.latent_dim))
        for flow in self.flows:
            flow(code, code)

    def posterior(self, x: Tensor, training: bool = False) -> TransformedGaussian:
        features = self.encoder(x, training=training)
        parameters = self.features_to_code(features, training=training)
        parameters = ops.cast(parameters, "float32")
        base = gaussian(parameters[..., : 2 * self.latent_dim])
        return TransformedGaussian(base, self._transform, (parameters[..., 2 * self.latent_dim :],))

    def _transform(self, z, context):
        """Apply the flows one after the other, and sum their log-determinants."""
        total = 0.0 * z[:, 0]
        for flow in self.flows:
            z, log_determinant = flow(z, context)
            total = total + log_determinant
        return z, total

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        z, divergence = self.posterior(x, training).sample_with_kl(self.step_seed(training))
        return self.elbo_terms(y, z, divergence[:, None], training)
