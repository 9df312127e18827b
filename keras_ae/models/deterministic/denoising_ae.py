"""Denoising autoencoders: Vincent et al. 2008, doi:10.1145/1390156.1390294."""

from collections.abc import Callable
from typing import Any

from keras import ops

from keras_ae import corruptions
from keras_ae.core.types import Loss, Network, Tensor
from keras_ae.corruptions.base import OfUnitRange, apply, check_range
from keras_ae.distributions import counted
from keras_ae.models.deterministic.ae import AE


class DenoisingAE(AE):
    """An autoencoder that reconstructs clean data from a corrupted copy, as in section 2.3.

    The corruption is new in every training step and the same in every evaluation. `encode` and
    `reconstruct` do not corrupt the data, which may be clean or noisy.

    Args:
        latent_dim: Dimensions of the code. Defaults to None, see `keras_ae.Autoencoder`.
        corruption: `"gaussian"`, `"masking"`, `"salt_and_pepper"` or another name that
            `keras_ae.corruptions.get` knows, an object of `keras_ae.corruptions`, or any function
            of (x, seed). None is for data that `fit` gets with clean targets. With
            `standardize=True`, what is corrupted has mean 0 and deviation 1. Defaults to
            "gaussian".
        encoder, decoder, reconstruction_loss, network_options, seed: See `keras_ae.AE`.

    Example:

    >>> import numpy as np
    >>> from keras_ae import DenoisingAE, corruptions
    >>> model = DenoisingAE(latent_dim=2, corruption=corruptions.Masking(rate=0.5), seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).random((64, 8), "float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> model.reconstruct(x).shape
    (64, 8)
    """

    def __init__(
        self,
        latent_dim: int | None = None,
        corruption: str | Callable[..., Any] | None = "gaussian",
        encoder: Network | None = None,
        decoder: Network | None = None,
        reconstruction_loss: Loss = "mean_squared_error",
        network_options: dict[str, Any] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(
            latent_dim, encoder, decoder, reconstruction_loss, network_options, seed, **kwargs
        )
        self.corruption = corruptions.get(corruption)
        if self.standardize and isinstance(self.corruption, OfUnitRange):
            raise ValueError(
                f"{type(self).__name__}: standardize=True gives the data mean 0 and deviation 1, "
                f"and corruption={corruption!r} is for values from 0 to 1. Leave standardize out."
            )

    _encodes_corrupted = True
    _inputs_are_targets = False  # Noise leaves the range in which clean data lies.

    def _check_fit(self, name, bounds):
        check_range(self.corruption, type(self).__name__, name, bounds)

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        noisy = self._corrupt(x, training)
        return self._reconstruction_terms(y, self._code(noisy, training), training, x)

    def _corrupt(self, x, training):
        """Corrupt data (batch, ...), and leave padding unchanged."""
        noisy = apply(self.corruption, x, self.step_seed(training), self)
        if self._mask_value is None or len(x.shape) < 3:
            return noisy
        return ops.where(counted(x, self._mask_value)[..., None], noisy, x)
