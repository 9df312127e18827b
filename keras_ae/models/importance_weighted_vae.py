"""What models of several importance samples share: arXiv:1509.00519."""

import math

from keras import ops

from keras_ae.models.vae import VAE

INFERENCE_NETWORKS = ("encoder", "features_to_code")


class ImportanceWeightedVAE(VAE):
    """What the models of several importance samples share: draws, weights, and their warm-up.

    In the logs, `reconstruction_loss` + `kl_loss` is the bound of one sample, estimated from the
    same draws. With a `kl_weight` other than 1 what is minimised has a name that begins with
    `weighted_`, and the bound stays in the logs.
    """

    diagnostics = ("reconstruction_loss", "kl_loss")

    def __init__(self, latent_dim=16, **kwargs):
        if kwargs.get("kl_weight", 1.0) != 1.0:
            names = [*self.objective, *sum(self.players.values(), ())]
            self._minimise_instead({name: f"weighted_{name}" for name in names})
        super().__init__(latent_dim, **kwargs)

    def num_draws(self):
        """Importance samples of each example in a step."""
        raise NotImplementedError

    def bound_losses(self, log_likelihood, divergence):
        """The negative bounds by name, shape (batch,), of parts of shape (batch, num_draws)."""
        raise NotImplementedError

    def loss_terms(self, x, y, training):
        q = self.posterior(x, training)
        seed = self.step_seed(training)
        log_likelihood, divergence = self.importance_terms(q, y, self.num_draws(), seed, training)
        terms = {
            "reconstruction_loss": -ops.mean(log_likelihood, axis=1),
            "kl_loss": ops.mean(divergence, axis=1),
            **self.bound_losses(log_likelihood, divergence),
        }
        weighted = self.bound_losses(log_likelihood, self.current_kl_weight() * divergence)
        terms |= {f"weighted_{name}": loss for name, loss in weighted.items()}
        return {name: loss for name, loss in terms.items() if name in self.trackers}


def log_mean_exp(values):
    """log of the mean of exp over the last axis."""
    return ops.logsumexp(values, axis=-1) - math.log(values.shape[-1])
