"""Disentangled inferred priors: Kumar, Sattigeri and Balakrishnan 2017, arXiv:1711.00848."""

from typing import Any

from keras import ops

from keras_ae.core import arguments
from keras_ae.core.objective import skip_single_example
from keras_ae.core.types import Tensor
from keras_ae.divergences import covariance
from keras_ae.models.variational.vae import VAE


class DIPVAE(VAE):
    """Minimizes the negative bound plus the distance of the codes' covariance from the identity.

    `off_diagonal_loss` is the sum of the squared covariances of different dimensions.
    `diagonal_loss` is the sum of the squared distances of the variances from 1. The covariance is
    that of the posterior means in eq. 6 (DIP-VAE-I), and that of the codes themselves in eq. 7
    (DIP-VAE-II).

    Args:
        latent_dim: Dimensions of the code. Defaults to 16.
        variant: "i" or "ii". Defaults to "i".
        off_diagonal_weight: Factor of `off_diagonal_loss`, a number of at least 0. Defaults to 10.
        diagonal_weight: Factor of `diagonal_loss`, a number of at least 0. Defaults to None, which
            takes ten times off_diagonal_weight for variant "i" and the same for "ii", as in the
            paper's section 4.
        encoder, decoder, likelihood, kl_weight, free_bits, network_options, seed: See
            `keras_ae.VAE`.

    Example:

    >>> import numpy as np
    >>> from keras_ae import DIPVAE
    >>> model = DIPVAE(latent_dim=2, variant="ii", seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> sorted(history.history)
    ['diagonal_loss', 'kl_loss', 'loss', 'off_diagonal_loss', 'reconstruction_loss']
    """

    objective = (*VAE.objective, "off_diagonal_loss", "diagonal_loss")

    def __init__(
        self,
        latent_dim: int = 16,
        variant: str = "i",
        off_diagonal_weight: float = 10.0,
        diagonal_weight: float | None = None,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        self.variant = arguments.choice(self, "variant", variant, ("i", "ii"))
        self.off_diagonal_weight = arguments.number(
            self, "off_diagonal_weight", off_diagonal_weight
        )
        self.diagonal_weight = arguments.number(
            self, "diagonal_weight", diagonal_weight, optional=True
        )

    def _step_numbers(self, batch_size):
        return 3 * self.latent_dim**2  # These are the covariance, its square and the gradient.

    def loss_weights(self) -> dict[str, Any]:
        weight, diagonal = self.off_diagonal_weight, self.diagonal_weight
        if diagonal is None:
            diagonal = (10.0 if self.variant == "i" else 1.0) * weight
        return {
            **super().loss_weights(),
            "off_diagonal_loss": weight,
            "diagonal_loss": diagonal,
        }

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        q = self.posterior(x, training)
        z = q.sample(self.step_seed(training))
        matrix = covariance(q.mean)  # (latent_dim, latent_dim)
        variances = ops.diagonal(matrix)
        off_diagonal = ops.sum(ops.square(matrix)) - ops.sum(ops.square(variances))
        # The law of total covariance: the codes' covariance is that of the means plus the mean of
        # the posteriors' covariances, which are diagonal.
        if self.variant == "ii":
            variances = variances + ops.mean(ops.exp(q.log_variance), axis=0)
        distances = {
            "off_diagonal_loss": off_diagonal,
            "diagonal_loss": ops.sum(ops.square(variances - 1.0)),
        }
        return {
            **self.elbo_terms(y, z, q.kl_per_dimension(), training),
            **{
                name: skip_single_example(self, name, value, z) for name, value in distances.items()
            },
        }
