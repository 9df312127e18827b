"""Wasserstein autoencoders: Tolstikhin et al. 2017, arXiv:1711.01558."""

from typing import Any

from keras import ops

from keras_ae import samplers
from keras_ae.core import arguments
from keras_ae.core.objective import skip_single_example
from keras_ae.core.types import Tensor
from keras_ae.divergences import BANDWIDTHS, count_pair_numbers, mmd
from keras_ae.models.deterministic.base import DeterministicAE


class WAE(DeterministicAE):
    """An autoencoder whose codes together have the distribution of the prior.

    The model minimizes eq. 4 with the penalty of algorithm 2, WAE-MMD: the reconstruction loss plus
    weight times the unbiased estimate of the maximum mean discrepancy between the codes of a batch
    and equally many draws of a standard normal, from which `sample` draws. A single estimate may be
    negative.

    Args:
        latent_dim: Dimensions of the code. Defaults to None, see `keras_ae.Autoencoder`.
        weight: The paper's lambda, a number of at least 0. Defaults to 70. This is the paper's 10,
            because its kernel is a sum over seven scales, and ours is their mean.
        kernel: "imq", which is the paper's, or "rbf": see `keras_ae.divergences.mmd`. Defaults to
            "imq". Models from files of before 27 November 2026 still have the sums.
        encoder, decoder, reconstruction_loss, network_options, seed: See `keras_ae.AE`.

    Example:

    >>> import numpy as np
    >>> from keras_ae import WAE
    >>> model = WAE(latent_dim=2, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).random((64, 8), "float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> sorted(history.history), model.sample(3, seed=0).shape
    (['loss', 'mmd_loss', 'reconstruction_loss'], (3, 8))
    """

    objective = (*DeterministicAE.objective, "mmd_loss")
    # In files of before, the kernel was the sum over all scales.
    _kept = {"kernel_factor": len(BANDWIDTHS)}
    _kernel_factor = 1

    def __init__(
        self,
        latent_dim: int | None = None,
        weight: float = 70.0,
        kernel: str = "imq",
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        self.sampler = samplers.Prior(self._draw_prior)
        self.weight = arguments.number(self, "weight", weight)
        self.kernel = arguments.choice(self, "kernel", kernel, ("imq", "rbf"))

    def _draw_prior(self, num_samples, seed):
        """Draw codes from the prior, the standard normal."""
        return samplers.gaussian(num_samples, self.latent_dim, seed)

    def _step_numbers(self, batch_size):
        return super()._step_numbers(batch_size) + count_pair_numbers(batch_size, self.latent_dim)

    def loss_weights(self) -> dict[str, Any]:
        return {"mmd_loss": self.weight}

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        z = self._code(x, training)
        draws = self.sampler.sample(ops.shape(z)[0], self.step_seed(training))
        discrepancy = self._kernel_factor * mmd(z, draws, self.kernel)
        discrepancy = skip_single_example(self, "mmd_loss", discrepancy, z)
        return {**self._reconstruction_terms(y, z, training), "mmd_loss": discrepancy}
