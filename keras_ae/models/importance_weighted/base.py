"""The base class of models with several importance samples: arXiv:1509.00519."""

import math
from typing import Any

from keras import ops

from keras_ae.core import memory
from keras_ae.core.examples import call, takes_inputs_of
from keras_ae.core.types import Tensor
from keras_ae.models.variational.vae import VAE

INFERENCE_NETWORKS = ("encoder", "features_to_code")


class ImportanceWeightedVAE(VAE):
    """Base class of models with several importance samples.

    The names of minimized losses begin with `weighted_`. They are the bound with its divergence
    times `kl_weight`, which is the bound itself for a weight of 1. The bound stays in the logs. The
    logs also have `reconstruction_loss` and `kl_loss`, whose sum is the bound of a single sample,
    estimated from the same draws.
    """

    diagnostics = ("reconstruction_loss", "kl_loss")

    def __init__(self, latent_dim: int | None = None, **kwargs: Any):
        super().__init__(latent_dim, **kwargs)
        # The losses are renamed even for a weight of 1, because a callback may assign another
        # weight later.
        names = [*self.objective, *sum(self.players.values(), ())]
        self._replace_minimized_terms({name: f"weighted_{name}" for name in names})

    def _num_draws(self):
        """Return the number of importance samples for each example in a step."""
        raise NotImplementedError

    def _step_numbers(self, batch_size):
        # A draw has a posterior, a code, a target, the decoder's outputs, and all densities.
        # The decoder's largest output also has a gradient.
        outputs = sum(memory.numbers_of_layers(self.decoder))
        numbers = outputs + 2 * math.prod(self._target_shape) + 3 * self.latent_dim
        return batch_size * self._num_draws() * numbers

    def _bound_losses(self, log_likelihood, divergence, weight):
        """Compute the negative bounds.

        Args:
            log_likelihood, divergence: See `_importance_terms`, shape (batch, num_draws).
            weight: Factor of the divergence.

        Returns:
            Dictionary of name -> tensor of shape (batch,).
        """
        raise NotImplementedError

    @takes_inputs_of("posterior", "conditional", "prior")
    def loss_terms(self, x: Tensor, y: Tensor, training: bool, **inputs: Any) -> dict[str, Tensor]:
        q, seed = call(self, self.posterior, x, training, inputs=inputs), self.step_seed(training)
        log_likelihood, divergence = self._importance_terms(
            q, y, self._num_draws(), seed, training, **inputs
        )
        terms = {
            "reconstruction_loss": -ops.mean(log_likelihood, axis=1),
            "kl_loss": ops.mean(divergence, axis=1),
            **self._bound_losses(log_likelihood, divergence, 1.0),
        }
        weighted = self._bound_losses(log_likelihood, divergence, self._current_kl_weight())
        return terms | {f"weighted_{name}": loss for name, loss in weighted.items()}


def log_mean_exp(values):
    """Compute the logarithm of the mean of exp(values) over the last axis."""
    return ops.logsumexp(values, axis=-1) - math.log(values.shape[-1])
