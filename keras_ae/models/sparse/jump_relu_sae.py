"""JumpReLU sparse autoencoders: Rajamanoharan et al. 2024, arXiv:2407.14435."""

import math
from typing import Any

import keras
from keras import ops

from keras_ae import sparsity
from keras_ae.core import arguments
from keras_ae.core.types import Weight
from keras_ae.models.sparse.base import DictionaryAE, set_entries


class JumpReLUSAE(DictionaryAE):
    """A sparse autoencoder in which every feature has a learned threshold.

    The model minimizes `reconstruction_loss` + sparsity_weight * `sparsity_loss`. The latter is the
    number of active features. The thresholds learn from both losses by pseudo-derivatives: see
    `keras_ae.sparsity.jump_relu`. An active feature pays off if it reduces the squared error by
    more than sparsity_weight dimensions of the data have on average.

    Args:
        latent_dim: Number of features. Defaults to 512.
        sparsity_weight: The paper's lambda: a number of at least 0, or a schedule of the training
            step. The paper raises it from 0 in 10,000 steps, as
            `keras_ae.schedules.LinearWarmUp(10_000, end=4.0)` does. Defaults to None: 1/200 of the
            data's dimensions. On pictures of digits, about 20 features are then active.
        initial_threshold: Initial value of the thresholds, a positive number. Defaults to None:
            the square root of sparsity_weight, towards which thresholds move slowly. A schedule or
            0 counts as the default weight here. The paper begins with 0.001 times the square root
            of the dimensions. In a short training, most features then stay active.
        bandwidth: Width of the window around a threshold in which numbers contribute to its
            derivative, a positive number. Defaults to 0.3.
        dead_after, seed: See `keras_ae.TopKSAE`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ae import JumpReLUSAE
    >>> model = JumpReLUSAE(latent_dim=16, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> model.encode(x).shape, model.sample(3, seed=0).shape
    ((64, 16), (3, 8))
    """

    objective = (*DictionaryAE.objective, "sparsity_loss")

    def __init__(
        self,
        latent_dim: int = 512,
        sparsity_weight: Weight | None = None,
        initial_threshold: float | None = None,
        bandwidth: float = 0.3,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        self.sparsity_weight = arguments.number_or_schedule(
            self, "sparsity_weight", sparsity_weight, optional=True
        )
        self.initial_threshold = arguments.number(
            self, "initial_threshold", initial_threshold, positive=True, fixed=True, optional=True
        )
        self.bandwidth = arguments.number(self, "bandwidth", bandwidth, positive=True)
        self._log_threshold = None

    def _build_networks(self, shape, target_shape):
        super()._build_networks(shape, target_shape)
        # The logarithm of a threshold is learned, so that the threshold stays positive.
        self._log_threshold = self.add_weight(
            shape=(self.latent_dim,),
            initializer=keras.initializers.Constant(self._start_of_log_threshold()),
            dtype="float32",
            autocast=False,
            name="log_threshold",
        )

    def _default_weight(self):
        return self.data_scale.width / 200

    def _start_of_log_threshold(self):
        if self.initial_threshold is not None:
            return math.log(self.initial_threshold)
        weight = self.arguments["sparsity_weight"]
        is_positive = arguments.is_number(weight) and weight > 0
        return 0.5 * math.log(weight if is_positive else self._default_weight())

    def loss_weights(self) -> dict[str, Any]:
        if self.sparsity_weight is None:
            return {"sparsity_loss": self._default_weight()}
        return {"sparsity_loss": arguments.value_at(self.sparsity_weight, self._step)}

    def _select(self, a, training):
        return sparsity.jump_relu(a, ops.exp(self._log_threshold), self.bandwidth)

    def _sparsity_terms(self, y, a, z, output, training):
        active = sparsity.heaviside(a, ops.exp(self._log_threshold), self.bandwidth)
        return {"sparsity_loss": ops.sum(active, axis=-1)}

    def _restart(self, features):
        super()._restart(features)
        set_entries(self._log_threshold, features, self._start_of_log_threshold())
