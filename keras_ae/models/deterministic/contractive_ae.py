"""Contractive autoencoders: Rifai et al. 2011, https://icml.cc/2011/papers/455_icmlpaper.pdf."""

import math
from typing import Any

import keras
from keras import layers, ops

from keras_ae.core import arguments, backend, memory
from keras_ae.core.types import Tensor
from keras_ae.models.deterministic.ae import AE


class ContractiveAE(AE):
    """An autoencoder whose code changes little if the data changes.

    The model minimizes the reconstruction loss plus weight times the squared Frobenius norm of the
    Jacobian of the code with respect to the data. The code ends in a sigmoid. If there is no layer
    between the data and the code (`encoder="mlp", network_options={"units": ()}`), the norm has a
    closed form, section 5.3. Otherwise it takes one vector-Jacobian product for each dimension of
    the code. With `num_probes`, the norm is estimated from this number of vectors of random signs
    (Hutchinson 1990, doi:10.1080/03610919008812866).

    Args:
        latent_dim: Dimensions of the code. Defaults to 16.
        weight: Factor of the norm, a number of at least 0. Defaults to 0.1.
        num_probes: Number of random vectors that estimate the norm, a positive integer. Defaults to
            None, which computes the norm exactly.
        encoder, decoder, reconstruction_loss, network_options, seed: See `keras_ae.AE`.

    Example:

    >>> import numpy as np
    >>> from keras_ae import ContractiveAE
    >>> model = ContractiveAE(latent_dim=2, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).random((64, 8), "float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> sorted(history.history)
    ['contractive_loss', 'loss', 'reconstruction_loss']
    """

    objective = (*AE.objective, "contractive_loss")
    _code_activation = "sigmoid"

    def __init__(
        self,
        latent_dim: int = 16,
        weight: float = 0.1,
        num_probes: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        self.weight = arguments.number(self, "weight", weight)
        if num_probes is not None:
            num_probes = arguments.layers(self, "num_probes", num_probes)
        self.num_probes = num_probes

    def _build_networks(self, shape, target_shape):
        super()._build_networks(shape, target_shape)
        if self.num_probes is None and not self._has_one_layer():
            name = "ContractiveAE, whose num_probes=None takes a gradient of each dimension"
            memory.refuse_layers(name, "latent_dim", self.latent_dim)

    def _step_numbers(self, batch_size):
        if self.num_probes is None and self._has_one_layer():
            return 0
        _, outputs = memory.numbers_of_layers(self.encoder)
        numbers = self.latent_dim + math.prod(self._data_shape) + outputs
        return batch_size * (self.num_probes or self.latent_dim) * numbers

    def loss_weights(self) -> dict[str, Any]:
        return {"contractive_loss": self.weight}

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        terms = self._reconstruction_terms(y, self._code(x, training), training, x)
        return {**terms, "contractive_loss": self._squared_jacobian(x, self.step_seed(training))}

    def _squared_jacobian(self, x, seed=None):
        """Compute or estimate the squared Frobenius norm of the Jacobian of `encode`.

        Args:
            x: Float32 tensor of shape (batch, ...).
            seed: Seed of the random signs, which `num_probes` needs. Defaults to None.

        Returns:
            Float32 tensor of shape (batch,), non-negative.
        """
        if self.num_probes is None and self._has_one_layer():
            z = self._code(x)
            slope = ops.square(z * (1.0 - z))  # The square of the sigmoid's derivative.
            kernel = ops.cast(self.features_to_code.layers[-1].kernel, "float32")
            return ops.matmul(slope, ops.sum(ops.square(kernel), axis=0))
        # The Jacobian is that of `encode`, so that layers such as dropout are not active.
        z, pull = backend.pullback(self._code, x)
        if self.num_probes is None:
            units = ops.eye(self.latent_dim, dtype="float32")
            vectors = [ops.zeros_like(z) + units[i] for i in range(self.latent_dim)]
        else:
            shape = (self.num_probes, ops.shape(z)[0], self.latent_dim)
            noise = keras.random.uniform(shape, -1.0, 1.0, dtype="float32", seed=seed)
            signs = ops.where(noise < 0, -1.0, 1.0)
            vectors = [signs[i] for i in range(self.num_probes)]
        axes = tuple(range(1, len(x.shape)))
        total = sum(ops.sum(ops.square(pull(vector)), axis=axes) for vector in vectors)
        return total / (self.num_probes or 1)

    def _has_one_layer(self):
        """Tell whether the encoder only reshapes, so that the code's layer is the only layer."""
        kinds = (layers.InputLayer, layers.Flatten, layers.Reshape)
        return all(isinstance(layer, kinds) for layer in getattr(self.encoder, "layers", [None]))
