"""Sliced-Wasserstein autoencoders: Kolouri et al. 2018, arXiv:1804.01947."""

from typing import Any

from keras import ops

from keras_ae import samplers
from keras_ae.core import arguments
from keras_ae.core.objective import skip_single_example
from keras_ae.core.types import Tensor
from keras_ae.divergences import sliced_wasserstein
from keras_ae.models.deterministic.base import DeterministicAE


class SlicedWAE(DeterministicAE):
    """An autoencoder whose codes are close to a standard normal in sliced Wasserstein distance.

    The model minimizes the reconstruction loss plus weight times the squared sliced 2-Wasserstein
    distance between the codes of a batch and equally many draws of a standard normal, from which
    `sample` draws. This distance is the mean, over random directions, of the distance in one
    dimension, which is computed by sorting.

    Args:
        latent_dim: Dimensions of the code. Defaults to None, see `keras_ae.Autoencoder`.
        weight: Factor of the distance, a number of at least 0. Defaults to 100.
        num_projections: Number of random directions in a step, a positive integer. Defaults to 50.
        encoder, decoder, reconstruction_loss, network_options, seed: See `keras_ae.AE`.

    Example:

    >>> import numpy as np
    >>> from keras_ae import SlicedWAE
    >>> model = SlicedWAE(latent_dim=2, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).random((64, 8), "float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> sorted(history.history)
    ['loss', 'reconstruction_loss', 'sliced_wasserstein_loss']
    """

    objective = (*DeterministicAE.objective, "sliced_wasserstein_loss")

    def __init__(
        self,
        latent_dim: int | None = None,
        weight: float = 100.0,
        num_projections: int = 50,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        self.sampler = samplers.Prior(self._draw_prior)
        self.weight = arguments.number(self, "weight", weight)
        self.num_projections = arguments.integer(self, "num_projections", num_projections)

    def _step_numbers(self, batch_size):
        # These are the directions, and the projections of codes and draws, unsorted and sorted.
        return self.num_projections * (2 * self.latent_dim + 4 * batch_size)

    def _draw_prior(self, num_samples, seed):
        """Draw codes from the prior, the standard normal."""
        return samplers.gaussian(num_samples, self.latent_dim, seed)

    def loss_weights(self) -> dict[str, Any]:
        return {"sliced_wasserstein_loss": self.weight}

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        seed = self.step_seed(training)
        z = self._code(x, training)
        draws = self.sampler.sample(ops.shape(z)[0], seed)
        distance = sliced_wasserstein(z, draws, self.num_projections, seed)
        distance = skip_single_example(self, "sliced_wasserstein_loss", distance, z)
        terms = self._reconstruction_terms(y, z, training)
        return {**terms, "sliced_wasserstein_loss": distance}
