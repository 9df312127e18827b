"""Hyperspherical VAE: Davidson et al. 2018, arXiv:1804.00891."""

import math
from typing import Any

from keras import ops

from keras_ae.core import arguments, interpolation
from keras_ae.core.batching import batched
from keras_ae.core.types import Tensor
from keras_ae.distributions import UniformSphere, VonMisesFisher
from keras_ae.distributions.von_mises_fisher import PROPOSALS
from keras_ae.models.variational.vae import VAE

_FIRST_BIAS = 3.0  # The concentration begins at about this number times latent_dim.


class HypersphericalVAE(VAE):
    """A VAE whose codes are unit vectors, with von Mises-Fisher posteriors and a uniform prior.

    `encode` returns the mean direction, and `kl_loss` is the paper's closed form. The concentration
    is at least 1, as in the authors' code, and the encoder returns it in units of latent_dim. The
    decoder reads the codes times sqrt(latent_dim), so that their numbers have about unit variance.

    Args:
        latent_dim: Length m of the unit vectors, an integer of at least 2. The sphere has m - 1
            dimensions. The paper finds the model better than a VAE below about 20. Defaults to 16.
        encoder, decoder, likelihood, kl_weight, network_options, seed: See `keras_ae.VAE`.
        free_bits: Nats of the whole code that are exempt from the penalty. Defaults to 0.

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

    _space = interpolation.Sphere()

    def __init__(self, latent_dim: int = 16, **kwargs: Any):
        super().__init__(latent_dim, **kwargs)
        remedy = "The sphere in one dimension is two points. Take 2 for the circle."
        arguments.integer(self, "latent_dim", latent_dim, least=2, remedy=remedy)

    def _code_width(self):
        return self.latent_dim + 1

    def _build_networks(self, shape, target_shape):
        super()._build_networks(shape, target_shape)
        # The concentration begins high enough for draws to tell examples apart. With a start at a
        # bias of 0, the code sometimes carried nothing after hundreds of steps.
        bias = self.features_to_code.layers[-1].bias
        start = ops.arange(self._code_width()) >= self.latent_dim
        bias.assign(ops.where(start, _FIRST_BIAS, 0.0))

    def posterior(self, x: Tensor, training: bool = False) -> VonMisesFisher:
        """q(z | x): a `keras_ae.distributions.VonMisesFisher` over (batch, latent_dim).

        Args:
            x: Tensor of shape (batch, ...).
            training: Whether layers such as dropout are active. Defaults to False.
        """
        features = self.encoder(x, training=training)
        parameters = ops.cast(self.features_to_code(features, training=training), "float32")
        direction, concentration = parameters[:, :-1], parameters[:, -1:]
        square = ops.sum(ops.square(direction), axis=-1, keepdims=True)
        # Before the first step, data of zeros leads to a vector of 0, which has no direction. The
        # first axis takes its place.
        first_axis = ops.one_hot(ops.zeros_like(square[:, 0], dtype="int32"), self.latent_dim)
        direction = ops.where(
            square > 1e-12, direction * ops.rsqrt(ops.maximum(square, 1e-12)), first_axis
        )
        # For the same spread, the concentration must grow with the number of dimensions.
        concentration = 1.0 + self.latent_dim * ops.softplus(concentration)
        return VonMisesFisher(direction, concentration)

    def conditional(self, z: Tensor, training: bool = False) -> Any:
        # The initializers of networks are meant for inputs of about unit variance.
        return super().conditional(math.sqrt(self.latent_dim) * z, training)

    @batched("code")
    def _decode_draws(self, draws):
        # A fitted sampler may draw points that are not on the sphere.
        return self.decode(self._space.project(draws))

    def prior(self, like: Tensor) -> UniformSphere:
        """Make p(z), uniform on the sphere, for codes of a given tensor's shape."""
        return UniformSphere(like)

    def _step_numbers(self, batch_size):
        # Each example has proposals for its concentration, and these have gradients.
        return 18 * PROPOSALS * batch_size

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        q = self.posterior(x, training)
        z = q.sample(self.step_seed(training))
        return self.elbo_terms(y, z, q.kl()[:, None], training)
