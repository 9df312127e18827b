"""Importance Weighted Autoencoders: Burda, Grosse and Salakhutdinov 2015, arXiv:1509.00519."""

from typing import Any

from keras import ops

from keras_ae.core import arguments
from keras_ae.core.types import Tensor
from keras_ae.distributions import DiagonalGaussian
from keras_ae.models.importance_weighted.base import (
    INFERENCE_NETWORKS,
    ImportanceWeightedVAE,
    log_mean_exp,
)


class IWAE(ImportanceWeightedVAE):
    """Minimizes the negative of eq. 8: -log of the mean of num_samples importance weights.

    `iwae_loss` is this bound in nats, whatever the estimator of its gradient. The encoder's
    gradient with `"dreg"` is that of another term, `dreg_loss`, which has the same value.

    Args:
        latent_dim: Dimensions of the code. Defaults to None, see `keras_ae.Autoencoder`.
        num_samples: Number of importance samples k, a positive integer. Defaults to 5.
        estimator: Estimator of the encoder's gradient. `"iwae"` is the bound's own gradient.
            `"stl"` leaves out the score of the posterior (arXiv:1703.09194), which is biased for
            more than one sample. `"dreg"` is doubly reparameterized (arXiv:1810.04152, eq. 8),
            unbiased, and its signal does not vanish as k grows. Defaults to "iwae".
        encoder, decoder, likelihood, kl_weight, network_options, seed: See `keras_ae.VAE`. The
            model minimizes `weighted_iwae_loss`, the bound with the divergence times kl_weight.
            There are no `free_bits`, because the divergence is not a term of this bound.

    Example:

    >>> import numpy as np
    >>> from keras_ae import IWAE
    >>> model = IWAE(latent_dim=2, num_samples=5, estimator="dreg", seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> sorted(name for name in history.history if "dreg" not in name)
    ['iwae_loss', 'kl_loss', 'loss', 'reconstruction_loss', 'weighted_iwae_loss']
    """

    objective = ("iwae_loss",)

    def __init__(
        self,
        latent_dim: int | None = None,
        num_samples: int = 5,
        estimator: str = "iwae",
        **kwargs: Any,
    ):
        arguments.choice(self, "estimator", estimator, ("iwae", "stl", "dreg"))
        super().__init__(latent_dim, **kwargs)
        if estimator == "dreg":
            self.players = {INFERENCE_NETWORKS: ("dreg_loss",)}
            self._replace_minimized_terms({"dreg_loss": "weighted_dreg_loss"})
        self.num_samples = arguments.integer(self, "num_samples", num_samples)
        self.estimator = estimator

    def _num_draws(self):
        return self.num_samples

    def posterior(self, x: Tensor, training: bool = False) -> DiagonalGaussian:
        q = super().posterior(x, training)
        if training and self.estimator != "iwae":
            return _PathwiseGaussian(q.mean, q.log_variance)
        return q

    def _bound_losses(self, log_likelihood, divergence, weight):
        log_weights = log_likelihood - weight * divergence
        losses = {"iwae_loss": -log_mean_exp(log_weights)}
        if self.estimator == "dreg":
            # The coefficient of the pathwise term is a share s. The score term, reparameterized
            # once more, subtracts s - s^2 from it. It is multiplied by the weight, because it comes
            # from the divergence. Only the gradient is changed; the value remains the bound's.
            shares = ops.exp(log_weights - ops.logsumexp(log_weights, axis=1, keepdims=True))
            coefficients = (1.0 - weight) * shares + weight * ops.square(shares)
            surrogate = -ops.sum(ops.stop_gradient(coefficients) * log_weights, axis=1)
            change = surrogate - ops.stop_gradient(surrogate)
            losses["dreg_loss"] = ops.stop_gradient(losses["iwae_loss"]) + change
        return losses


class _PathwiseGaussian(DiagonalGaussian):
    """A Gaussian whose log-density is differentiated only with respect to the point."""

    def log_prob(self, x):
        fixed = (ops.stop_gradient(v) for v in (self.mean, self.log_variance))
        return DiagonalGaussian(*fixed).log_prob(x)
