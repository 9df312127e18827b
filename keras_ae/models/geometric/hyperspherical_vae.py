"""Hyperspherical VAE: Davidson et al. 2018, arXiv:1804.00891."""

import math

from keras import ops

from keras_ae.core import arguments
from keras_ae.distributions import UniformSphere, VonMisesFisher
from keras_ae.distributions.von_mises_fisher import PROPOSALS
from keras_ae.models.variational.vae import VAE


class HypersphericalVAE(VAE):
    """A VAE whose codes are unit vectors: von Mises-Fisher posteriors and a uniform prior.

    `encode` gives the mean direction, and `kl_loss` is the paper's closed form. The
    concentration is at least 1, as in the authors' code, and the encoder gives it in units of
    latent_dim. The decoder reads codes times the root of latent_dim, numbers of unit variance.

    Args:
        latent_dim: Numbers of a code, m of at least 2: the sphere has m - 1 dimensions. Defaults
            to 16. The paper finds the model better than a VAE below about 20.
        encoder, decoder, likelihood, kl_weight, network_options, seed: See `keras_ae.VAE`.
        free_bits: Nats of the whole code that are not penalised. Defaults to 0.

    Example:

    >>> import numpy as np
    >>> from keras_ae import HypersphericalVAE
    >>> model = HypersphericalVAE(latent_dim=3, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> bool(np.allclose((model.encode(x) ** 2).sum(axis=1), 1.0))
    True
    """

    def __init__(self, latent_dim=16, **kwargs):
        super().__init__(latent_dim, **kwargs)
        remedy = "The sphere in one dimension is two points. Take 2 for the circle."
        arguments.integer(self, "latent_dim", latent_dim, least=2, remedy=remedy)

    def _code_width(self):
        return self.latent_dim + 1

    def posterior(self, x, training=False):
        """q(z | x): a `keras_ae.distributions.VonMisesFisher` over (batch, latent_dim).

        Args:
            x: Tensor of shape (batch, ...).
            training: Whether layers such as dropout are active. Defaults to False.
        """
        features = self.encoder(x, training=training)
        parameters = ops.cast(self.features_to_code(features, training=training), "float32")
        direction, concentration = parameters[:, :-1], parameters[:, -1:]
        square = ops.sum(ops.square(direction), axis=-1, keepdims=True)
        # Blank data gives 0 before the first step, which has no direction: the first axis is one.
        first_axis = ops.one_hot(ops.zeros_like(square[:, 0], dtype="int32"), self.latent_dim)
        direction = ops.where(
            square > 1e-12, direction * ops.rsqrt(ops.maximum(square, 1e-12)), first_axis
        )
        # What a concentration means grows with the dimensions.
        concentration = 1.0 + self.latent_dim * ops.softplus(concentration)
        return VonMisesFisher(direction, concentration)

    def conditional(self, z, training=False):
        # Numbers of about unit variance, which the initialisers of networks are meant for.
        return super().conditional(math.sqrt(self.latent_dim) * z, training)

    def prior(self, like):
        """p(z), uniform on the sphere, over codes shaped as a given tensor."""
        return UniformSphere(like)

    def _step_numbers(self, batch_size):
        return 18 * PROPOSALS * batch_size  # Of each example's concentration, and their gradients.

    def loss_terms(self, x, y, training):
        q = self.posterior(x, training)
        z = q.sample(self.step_seed(training))
        return self.elbo_terms(y, z, q.kl()[:, None], training)
