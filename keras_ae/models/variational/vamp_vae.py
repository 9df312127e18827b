"""VAE with a VampPrior: Tomczak and Welling 2017, arXiv:1705.07120."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae.core import arguments, inputs, memory, ranges
from keras_ae.core.types import Array, Tensor
from keras_ae.distributions import GaussianMixture, counted
from keras_ae.models.variational.vae import VAE


class VampVAE(VAE):
    """A VAE whose prior is the mixture of its posteriors at learned pseudo-inputs, eq. 9.

    `kl_loss` is the divergence from this prior, estimated by one draw.

    Args:
        latent_dim: Dimensions of the code. Defaults to None, see `keras_ae.Autoencoder`.
        num_components: Number of pseudo-inputs K, a positive integer. Defaults to 500.
        encoder, decoder, likelihood, kl_weight, network_options, seed: See `keras_ae.VAE`.
        free_bits: Nats of the whole code that are exempt from the penalty. Defaults to 0.

    The pseudo-inputs start as noise in the middle of the data's range.
    `model.set_pseudo_inputs(x[:500])` starts them at data instead.

    Example:

    >>> import numpy as np
    >>> from keras_ae import VampVAE
    >>> model = VampVAE(latent_dim=2, num_components=10, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> model.set_pseudo_inputs(x[:10])
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> model.sample(3, seed=0).shape
    (3, 8)
    """

    def __init__(self, latent_dim: int | None = None, num_components: int = 500, **kwargs: Any):
        super().__init__(latent_dim, **kwargs)
        self.num_components = arguments.integer(self, "num_components", num_components)
        self.pseudo_inputs = None

    def _build_networks(self, shape, target_shape):
        super()._build_networks(shape, target_shape)
        low, high = self._support or (-1.0, 1.0)
        high = high if math.isfinite(high) else low + 2.0
        self.pseudo_inputs = self.add_weight(
            shape=(self.num_components, *shape),
            initializer=keras.initializers.RandomNormal(0.5 * (low + high), 0.01 * (high - low)),
            dtype="float32",
            name="pseudo_inputs",
        )

    def _step_numbers(self, batch_size):
        # Each draw is paired with each component, and the encoder reads the pseudo-inputs.
        numbers = memory.numbers_of_layers(self.encoder)[1] + math.prod(self._data_shape)
        return self.num_components * (batch_size * self.latent_dim + numbers)

    def set_pseudo_inputs(self, x: Array) -> None:
        """Set the pseudo-inputs to data. This builds the model if it is not built.

        Args:
            x: Array of shape (num_components, ...).

        Raises:
            ValueError: If the number of examples is not num_components.
        """
        x = inputs.check_data(self, x)
        ranges.check_support(self, x, "x", ranges.extent(x))
        if len(x) != self.num_components:
            raise ValueError(
                f"set_pseudo_inputs: x has {len(x)} examples, but num_components is "
                f"{self.num_components}. Pass {self.num_components} examples, or make a model with "
                f"num_components={len(x)}."
            )
        self.pseudo_inputs.assign(np.asarray(x, "float32"))

    def prior(self, like: Tensor) -> GaussianMixture:
        points = ops.convert_to_tensor(self.pseudo_inputs)
        if self._support:
            inside = ops.clip(points, *self._support)
            if self._mask_value is not None and len(self._data_shape) > 1:
                # Padded steps are not clipped, so that they stay padding. No gradient moves them.
                given = counted(points, self._mask_value)[..., None]
                inside = ops.where(given, inside, points)
            points = inside
        components = self.posterior(points)
        return GaussianMixture(components.mean, components.log_variance)

    def _draw_prior(self, num_samples, seed):
        return self.prior(None).sample(num_samples, seed)

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        return self._estimate_bound_terms(y, self.posterior(x, training), training)
