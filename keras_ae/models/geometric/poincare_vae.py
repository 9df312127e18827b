"""Poincaré VAE: Mathieu et al. 2019, arXiv:1901.06033."""

import math
from typing import Any

from keras import ops

from keras_ae import samplers
from keras_ae.core import arguments, interpolation
from keras_ae.core.batching import batched
from keras_ae.core.types import Tensor
from keras_ae.distributions import RiemannianNormal, WrappedNormal, hyperbolic
from keras_ae.distributions.von_mises_fisher import PROPOSALS
from keras_ae.models.variational.vae import VAE


class PoincareVAE(VAE):
    """A VAE whose codes are points of the Poincaré ball, which suits hierarchical data.

    The exponential map at the origin takes the encoder's mean to the ball, and its inverse takes a
    code back before the decoder. Instead of the inverse, the paper also has a gyroplane layer.
    `kl_loss` is the divergence from the prior, estimated by one draw. With curvature=0 this is a
    `keras_ae.VAE` with halved codes. The model computes with tangent vectors at the origin. A draw
    so far out that float32 has no coordinates for it is therefore still decoded and weighted
    correctly.

    Args:
        latent_dim: Dimensions of the code. Defaults to 16.
        curvature: Number of at least 0, the c of a curvature of -c. Defaults to 1.
        posterior: `"wrapped"`, a Gaussian of tangent vectors mapped to the ball, or
            `"riemannian"`, the Riemannian normal, which has one scale for all dimensions. The prior
            is of the same family. Defaults to "wrapped".
        prior_scale: Standard deviation of the prior, a positive number. Defaults to None: 1, or the
            largest scale that float32 can hold, if this is less. For Riemannian normals it is 1 or
            half the largest scale, which is 0.44 in 16 dimensions with a curvature of 1.
        encoder, decoder, likelihood, kl_weight, network_options, seed: See `keras_ae.VAE`.
        free_bits: Nats of the whole code that are exempt from the penalty. Defaults to 0.

    Example:

    >>> import numpy as np
    >>> from keras_ae import PoincareVAE
    >>> model = PoincareVAE(latent_dim=2, curvature=1.0, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> bool((model.encode(x) ** 2).sum(axis=1).max() < 1)
    True
    """

    def __init__(
        self,
        latent_dim: int = 16,
        curvature: float = 1.0,
        posterior: str = "wrapped",
        prior_scale: float | None = None,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        self.curvature = arguments.number(self, "curvature", curvature, fixed=True)
        self._space = _Ball(self.curvature)
        self._family = arguments.choice(self, "posterior", posterior, ("wrapped", "riemannian"))
        # With a larger scale, most draws would lie where float32 cannot tell points apart.
        radius = hyperbolic.MAX_RADIUS
        reach = radius if posterior == "wrapped" else math.sqrt(radius)
        self.sampler = samplers.Prior(self._draw_tangents)
        flat = reach / math.sqrt(self.latent_dim)
        self._largest_scale = flat / math.sqrt(curvature) if curvature else math.inf
        if prior_scale is None:
            share = 1.0 if posterior == "wrapped" else 0.5
            prior_scale = min(1.0, share * self._largest_scale)
        self.prior_scale = arguments.number(
            self, "prior_scale", prior_scale, positive=True, fixed=True
        )
        if prior_scale > self._largest_scale:
            raise ValueError(
                f"PoincareVAE: prior_scale={prior_scale!r} in {self.latent_dim} dimensions with "
                f"curvature={curvature!r} reaches beyond what float32 can hold. Pass a prior_scale "
                f"of at most {self._largest_scale:.3g}, or a curvature of at most "
                f"{(flat / prior_scale) ** 2:.3g}."
            )

    def _code_width(self):
        return self.latent_dim + (self.latent_dim if self._family == "wrapped" else 1)

    def _build_networks(self, shape, target_shape):
        super()._build_networks(shape, target_shape)
        # The posterior begins about as wide as the prior, because importance weights of a narrower
        # one would not have a finite variance.
        bias = self.features_to_code.layers[-1].bias
        start = ops.arange(self._code_width()) >= self.latent_dim
        bias.assign(ops.where(start, 2.0 * math.log(self.prior_scale), 0.0))

    def posterior(self, x: Tensor, training: bool = False) -> WrappedNormal | RiemannianNormal:
        """q(z | x): a `WrappedNormal` or `RiemannianNormal` of `keras_ae.distributions`.

        Args:
            x: Tensor of shape (batch, ...).
            training: Whether layers such as dropout are active. Defaults to False.
        """
        features = self.encoder(x, training=training)
        parameters = ops.cast(self.features_to_code(features, training=training), "float32")
        # The factor is 0.5 because lengths in the ball, at the origin, are twice the Euclidean
        # ones.
        mean = hyperbolic.exponential_map_at_origin(
            0.5 * parameters[:, : self.latent_dim], self.curvature
        )
        log_variance = ops.maximum(parameters[:, self.latent_dim :], -40.0)
        scale = ops.minimum(ops.exp(0.5 * log_variance), self._largest_scale)
        return self._make_normal(mean, scale)

    def prior(self, like: Tensor) -> WrappedNormal | RiemannianNormal:
        """Make p(z), of the posterior's family at the origin, for codes of a tensor's shape."""
        origin = ops.zeros_like(ops.cast(like, "float32"))
        scale = ops.full_like(origin, self.prior_scale)
        return self._make_normal(origin, scale if self._family == "wrapped" else scale[:, :1])

    def _make_normal(self, mean, scale):
        """Make a distribution of the model's family over the ball."""
        family = WrappedNormal if self._family == "wrapped" else RiemannianNormal
        return family(mean, scale, self.curvature)

    def conditional(self, z: Tensor, training: bool = False) -> Any:
        """Make p(x | z), the likelihood's distribution over (batch, ...).

        Args:
            z: Tensor of shape (batch, latent_dim), points of the ball.
            training: Whether layers such as dropout are active. Defaults to False.
        """
        z = hyperbolic.project(z, self.curvature)
        tangent = 2.0 * hyperbolic.logarithmic_map_at_origin(z, self.curvature)
        return self._conditional_of_tangent(tangent, training)

    # The methods below represent a code by its tangent vector at the origin, because float32 cannot
    # hold the coordinates of every draw.

    def _conditional_of_tangent(self, tangent, training=False):
        """Make p(x | z) for codes given by their tangent vectors, shape (batch, latent_dim)."""
        return super().conditional(tangent, training)

    def _divergence(self, tangent, log_posterior):
        """Estimate the divergence, shape (batch,), as log q(z | x) - log p(z)."""
        return log_posterior - self.prior(tangent).log_prob_of_ways(tangent)

    def _step_numbers(self, batch_size):
        # Each example has proposals for its radius, and these have gradients.
        return 10 * PROPOSALS * batch_size

    def _draw_tangents(self, num_samples, seed):
        """Draw tangent vectors whose codes have the prior's distribution."""
        return self.prior(ops.zeros((num_samples, self.latent_dim))).sample_ways(seed)[0]

    @batched("code")
    def _decode_draws(self, tangent):
        return self._conditional_of_tangent(tangent).mean

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        tangent, log_posterior = self.posterior(x, training).sample_ways(self.step_seed(training))
        log_likelihood = self._conditional_of_tangent(tangent, training).log_prob(y)
        divergence = self._divergence(tangent, log_posterior)
        return self._bound_terms(log_likelihood, divergence[:, None])

    def _importance_terms(self, q, y, num_samples, seed, training=False):
        tangent, log_posterior = q.repeat(num_samples).sample_ways(seed)
        targets = ops.repeat(y, num_samples, axis=0)
        terms = (
            self._conditional_of_tangent(tangent, training).log_prob(targets),
            self._divergence(tangent, log_posterior),
        )
        return tuple(ops.reshape(v, (-1, num_samples)) for v in terms)


class _Ball(interpolation.Vectors):
    """The Poincaré ball, in which the shortest ways are arcs that meet the rim at right angles."""

    def __init__(self, curvature):
        self.curvature = curvature

    def go_between(self, a, b, shares, spherical):
        if spherical:
            raise ValueError(
                "PoincareVAE.interpolate: spherical=True would leave the geodesics of the ball. "
                "Leave spherical out."
            )
        shape = (-1, len(shares), a.shape[-1])
        velocity = hyperbolic.logarithmic_map(a, b, self.curvature)[:, None] * shares[:, None]
        start = ops.broadcast_to(a[:, None], ops.shape(velocity))
        flat = [ops.reshape(v, (-1, a.shape[-1])) for v in (start, velocity)]
        return ops.reshape(hyperbolic.exponential_map(*flat, self.curvature), shape)

    def project(self, z):
        return hyperbolic.project(z, self.curvature)

    def to_vectors(self, z):
        return hyperbolic.logarithmic_map_at_origin(z, self.curvature)
