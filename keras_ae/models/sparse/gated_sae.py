"""Gated sparse autoencoders: Rajamanoharan et al. 2024, arXiv:2404.16014."""

import math
from typing import Any

from keras import ops

from keras_ae.core import arguments
from keras_ae.core.types import Weight
from keras_ae.models.sparse.base import DictionaryAE, set_entries


class GatedSAE(DictionaryAE):
    """A sparse autoencoder that decides separately which features are active, and how strongly.

    A feature is active if its gate, the encoder's pre-activation, is positive. Its magnitude has
    the same weights as the gate, times exp(log_gain), and a bias of its own. The model minimizes
    `reconstruction_loss` + sparsity_weight * `sparsity_loss` + `auxiliary_loss`. `sparsity_loss` is
    the sum of the positive parts of the gates. `auxiliary_loss` is the squared error of what the
    decoder makes of these positive parts, without a gradient for the decoder. In this way the
    penalty does not shrink the magnitudes.

    Args:
        latent_dim: Number of features. Defaults to 512.
        sparsity_weight: The paper's lambda: a number of at least 0, or a schedule of the training
            step, such as `keras_ae.schedules.LinearWarmUp(5000, end=4.0)`. Defaults to None: a
            third of the square root of the data's dimensions. On pictures of digits, about 40
            features are then active. The paper compares several weights and has no default.
        dead_after, seed: See `keras_ae.TopKSAE`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ae import GatedSAE
    >>> model = GatedSAE(latent_dim=16, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> model.encode(x).shape, model.sample(3, seed=0).shape
    ((64, 16), (3, 8))
    """

    objective = (*DictionaryAE.objective, "sparsity_loss", "auxiliary_loss")

    def __init__(self, latent_dim: int = 512, sparsity_weight: Weight | None = None, **kwargs: Any):
        super().__init__(latent_dim, **kwargs)
        self.sparsity_weight = arguments.number_or_schedule(
            self, "sparsity_weight", sparsity_weight, optional=True
        )
        self._log_gain = self._magnitude_bias = None

    def _build_networks(self, shape, target_shape):
        super()._build_networks(shape, target_shape)
        self._log_gain, self._magnitude_bias = (
            self.add_weight(
                shape=(self.latent_dim,),
                initializer="zeros",
                dtype="float32",
                autocast=False,
                name=name,
            )
            for name in ("log_gain", "magnitude_bias")
        )

    def loss_weights(self) -> dict[str, Any]:
        if self.sparsity_weight is None:
            return {"sparsity_loss": math.sqrt(self.data_scale.width) / 3}
        return {"sparsity_loss": arguments.value_at(self.sparsity_weight, self._step)}

    def _select(self, a, training):
        weighted = (a - self.dictionary.encoder_bias) * ops.exp(self._log_gain)
        return ops.where(a > 0.0, ops.relu(weighted + self._magnitude_bias), 0.0)

    def _sparsity_terms(self, y, a, z, output, training):
        gates = ops.relu(a)
        rows, bias = self.dictionary.rows(), self.dictionary.bias + 0.0
        again = ops.matmul(gates, ops.stop_gradient(rows)) + ops.stop_gradient(bias)
        return {
            "sparsity_loss": ops.sum(gates, axis=-1),
            "auxiliary_loss": ops.sum(ops.square(y - again), axis=-1),
        }

    def _restart(self, features):
        super()._restart(features)
        for variable in (self._log_gain, self._magnitude_bias):
            set_entries(variable, features, 0.0)
