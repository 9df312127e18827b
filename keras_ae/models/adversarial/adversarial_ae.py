"""Adversarial autoencoders: Makhzani et al. 2015, arXiv:1511.05644."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_ae import networks, samplers
from keras_ae.core import arguments, backend
from keras_ae.core.types import Tensor
from keras_ae.models.deterministic.base import DeterministicAE
from keras_ae.networks.fitting import symbolic_call


class AdversarialAE(DeterministicAE):
    """An autoencoder whose codes a discriminator cannot tell from draws of a prior.

    This is the model of section 2 with a deterministic encoder. There are two players. The
    autoencoder minimizes the reconstruction loss plus weight times `generator_loss`, which is small
    if the discriminator takes its codes for draws of the prior. The discriminator minimizes
    `discriminator_loss`, the cross-entropy of telling the two apart, plus gradient_penalty times
    `penalty_loss`: half the squared norm of the gradient of its log odds at draws of the prior.
    This is the regularizer R1 of Mescheder, Geiger and Nowozin 2018, eq. 9, arXiv:1801.04406. It
    is not part of the paper. Without it, the discriminator soon tells all codes from draws, and
    the autoencoder learns nothing from it about the prior.

    Args:
        latent_dim: Dimensions of the code. Defaults to 16.
        prior: "gaussian", "gaussian_mixture", "swiss_roll" or a function, see
            `keras_ae.samplers.get`. Defaults to "gaussian".
        weight: Factor of the generator's loss, a number of at least 0. Defaults to 10.
        discriminator: Keras model from a code (batch, latent_dim) to one logit. Defaults to None,
            `keras_ae.networks.discriminator(latent_dim)`.
        gradient_penalty: Factor of the discriminator's gradient penalty, a number of at least 0.
            Defaults to 1. The paper has no penalty: pass 0. Models from files without this argument
            have 0.
        encoder, decoder, reconstruction_loss, network_options, seed: See `keras_ae.AE`.

    Raises:
        ValueError: If an argument is out of range, or latent_dim does not suit the prior.

    Example:

    >>> import numpy as np
    >>> from keras_ae import AdversarialAE
    >>> model = AdversarialAE(latent_dim=2, prior="swiss_roll", seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).random((64, 8), "float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> sorted(history.history)
    ['discriminator_loss', 'generator_loss', 'loss', 'penalty_loss', 'reconstruction_loss']
    """

    objective = (*DeterministicAE.objective, "generator_loss")
    players = {"discriminator": ("discriminator_loss", "penalty_loss")}

    def __init__(
        self,
        latent_dim: int = 16,
        prior: str | Callable[..., Any] = "gaussian",
        weight: float = 10.0,
        discriminator: keras.Model | None = None,
        gradient_penalty: float = 1.0,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        self.prior = samplers.get(prior)
        drawn = self.prior(2, self.latent_dim, 0)
        if tuple(drawn.shape) != (2, self.latent_dim):
            raise ValueError(
                f"AdversarialAE: prior={prior!r} returns codes of shape {tuple(drawn.shape)} "
                f"for num_samples=2. Pass a function that returns {(2, self.latent_dim)}, or set "
                "latent_dim."
            )
        self.sampler = samplers.Prior(self._draw_prior)
        self.weight = arguments.number(self, "weight", weight)
        self.discriminator = discriminator
        has_penalty = not (arguments.is_number(gradient_penalty) and gradient_penalty == 0)
        self.gradient_penalty = arguments.number(
            self, "gradient_penalty", gradient_penalty, fixed=not has_penalty
        )
        if not has_penalty:
            self.players = {"discriminator": ("discriminator_loss",)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return super().from_config({"gradient_penalty": 0.0, **config}, custom_objects)

    def _build_networks(self, shape, target_shape):
        super()._build_networks(shape, target_shape)
        if self.discriminator is None:
            self.discriminator = networks.discriminator(self.latent_dim, dtype=self.dtype_policy)
        symbolic_call(self, "discriminator", self.discriminator, (None, self.latent_dim))

    def _draw_prior(self, num_samples, seed):
        """Draw codes from the prior."""
        return self.prior(num_samples, self.latent_dim, seed)

    def loss_weights(self) -> dict[str, Any]:
        return {"generator_loss": self.weight, "penalty_loss": self.gradient_penalty}

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        z = self._code(x, training)
        draws = self._draw_prior(ops.shape(z)[0], self.step_seed(training))
        made, terms = self._logit(z, training), {}
        if "penalty_loss" in self._trackers:
            drawn, pull = backend.pullback(lambda draws: self._logit(draws, training), draws)
            slope = pull(ops.ones_like(drawn))
            terms["penalty_loss"] = 0.5 * ops.sum(ops.square(slope), axis=-1)
        else:
            drawn = self._logit(draws, training)
        return {
            **self._reconstruction_terms(y, z, training),
            "generator_loss": ops.softplus(-made),
            "discriminator_loss": ops.softplus(-drawn) + ops.softplus(made),
            **terms,
        }

    def _logit(self, z, training):
        """Compute the log odds that codes are draws of the prior, shape (batch,)."""
        return ops.cast(self.discriminator(z, training=training)[:, 0], "float32")
