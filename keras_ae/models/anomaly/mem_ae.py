"""Memorizing normality to detect anomaly: Gong et al. 2019, arXiv:1904.02639."""

from typing import Any

import numpy as np
from keras import ops

from keras_ae import losses
from keras_ae.core import arguments
from keras_ae.core.batching import batched
from keras_ae.core.examples import call, takes_inputs_of
from keras_ae.core.types import Array, ArrayOrTensor, Data, Tensor
from keras_ae.models.anomaly.base import refuse_other_targets
from keras_ae.models.deterministic.ae import AE

# This keeps the quotient of eq. 7 finite, as in the paper.
_EPSILON = 1e-12


class MemAE(AE):
    """An autoencoder that decodes nothing but mixtures of a few memory items.

    The decoder gets a mean of memory items, eq. 3, weighted by how similar they are to the code:
    a softmax of cosine similarities, eq. 4 and 5. Weights up to a threshold become zero, eq. 7, and
    the others are divided by their sum. Items that mix to normal data reconstruct anomalies badly,
    so `anomaly_score` is the reconstruction loss. The model minimizes this loss, summed over an
    example's elements, plus entropy_weight times the entropy of the weights, eq. 9 and 10.

    If no weight of an example exceeds the threshold, 1 / num_items takes its place, because the
    example would otherwise have no memory items, and no gradient.

    Args:
        latent_dim: Dimensions of the code and of each memory item. Defaults to 16.
        num_items: Number N of memory items, an integer of at least 2. Defaults to 100.
        threshold: The threshold lambda of eq. 7, a number from 1 / N to 3 / N. Defaults to None,
            1 / N.
        entropy_weight: Factor alpha of the entropy, a number of at least 0. Defaults to 0.0002.
        encoder, decoder, reconstruction_loss, network_options, seed, standardize: See
            `keras_ae.AE`. The paper has the squared error, the default. The decoder gets mixtures
            of memory items, of shape (batch, latent_dim).

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ae import MemAE
    >>> model = MemAE(latent_dim=4, num_items=10, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).random((64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> model.anomaly_score(x).shape, model.address(model.encode(x)).shape
    ((64,), (64, 10))
    """

    objective = (*AE.objective, "entropy_loss")
    explorer_views = {"Items of the memory": "address"}
    _may_compare_examples = False

    def __init__(
        self,
        latent_dim: int = 16,
        num_items: int = 100,
        threshold: float | None = None,
        entropy_weight: float = 2e-4,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        self.num_items = arguments.integer(self, "num_items", num_items, least=2)
        threshold = 1.0 / self.num_items if threshold is None else threshold
        limits = {"least": 1.0 / self.num_items, "most": 3.0 / self.num_items}
        remedy = f"These limits are 1 and 3 divided by num_items={self.num_items}."
        self.threshold = arguments.number(self, "threshold", threshold, **limits, remedy=remedy)
        self.entropy_weight = arguments.number(self, "entropy_weight", entropy_weight)

    def _build_networks(self, shape, target_shape):
        refuse_other_targets(self, shape, target_shape)
        super()._build_networks(shape, target_shape)
        self._memory = self.add_weight(
            shape=(self.num_items, self.latent_dim),
            initializer="glorot_uniform",
            dtype="float32",
            autocast=False,
            name="memory",
        )

    @property
    def memory(self) -> np.ndarray:
        """The memory items, an array of shape (num_items, latent_dim). The model must be built."""
        return ops.convert_to_numpy(self._memory.value)

    @batched("code", returns_data=False)
    def address(self, z: Array | Tensor) -> ArrayOrTensor:
        """Compute how much every memory item contributes to what a code is decoded from.

        Args:
            z: Array or tensor of shape (batch, latent_dim).

        Returns:
            Array or tensor of shape (batch, num_items), float32. Each row has the sum 1.
        """
        items = ops.convert_to_tensor(self._memory)
        cosines = ops.matmul(_normalize(ops.cast(z, "float32")), ops.transpose(_normalize(items)))
        weights = ops.softmax(cosines, axis=-1)
        largest = ops.max(weights, axis=-1, keepdims=True)
        threshold = ops.where(largest > self.threshold, self.threshold, 1.0 / self.num_items)
        above = weights - threshold
        weights = ops.relu(above) * weights / (ops.abs(above) + _EPSILON)
        total = ops.sum(weights, axis=-1, keepdims=True)
        # All weights are equal if a code is zero. Then none exceeds the threshold.
        equal = ops.ones_like(weights) / self.num_items
        return ops.where(total > 0, weights / ops.maximum(total, _EPSILON), equal)

    @batched("code")
    def decode(self, z: Array | Tensor, training: bool = False) -> ArrayOrTensor:
        return self._decode_mixture(self.address(z), training)

    def _decode_mixture(self, weights, training=False):
        mixture = ops.matmul(weights, ops.convert_to_tensor(self._memory))
        return super().decode(mixture, training)

    def loss_weights(self) -> dict[str, Any]:
        return {"entropy_loss": self.entropy_weight}

    @takes_inputs_of("_code", "decode")
    def loss_terms(self, x: Tensor, y: Tensor, training: bool, **inputs: Any) -> dict[str, Tensor]:
        z = call(self, self._code, x, training, inputs=inputs)
        weights = self.address(z)
        entropy = -ops.sum(weights * ops.log(ops.maximum(weights, _EPSILON)), axis=-1)
        if training:
            self._update_density(z, x, **inputs)
        output = self._decode_mixture(weights, training)
        loss = losses.per_example(self.reconstruction_loss, y, output, self._mask_value)
        return {"reconstruction_loss": loss, "entropy_loss": entropy}

    @batched("data")
    @takes_inputs_of("_code", "decode")
    def anomaly_score(self, x: Data, **inputs: Any) -> ArrayOrTensor:
        """Compute the reconstruction loss of every example; high is anomalous.

        Args:
            x: Array or tensor of shape (batch, ...), or a stream of them as in `fit`.
            **inputs: The model's named inputs, one row for each example.

        Returns:
            Array or tensor of shape (batch,), float32.
        """
        output = self._decode_mixture(self.address(call(self, self._code, x, inputs=inputs)))
        return losses.per_example(self.reconstruction_loss, x, output, self._mask_value)


def _normalize(vectors):
    """Divide vectors by their lengths. A vector of zeros stays as it is."""
    squares = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    return vectors * ops.rsqrt(ops.maximum(squares, 1e-20))
