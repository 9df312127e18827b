"""Robust deep autoencoders: Zhou and Paffenroth 2017, doi:10.1145/3097983.3098052."""

import math
from typing import Any

from keras import ops

from keras_ae.core import arguments, memory
from keras_ae.core.batching import batched
from keras_ae.core.types import ArrayOrTensor, Data, Tensor
from keras_ae.distributions import counted
from keras_ae.models.deterministic.ae import AE

# The default threshold of one element, for data from 0 to 1 or of unit scale.
_THRESHOLD = 0.5


class RobustAE(AE):
    """An autoencoder of what can be explained of the data, so that outliers do not spoil it.

    Data x is split into a part L, which the autoencoder learns to reconstruct, and a sparse rest S:
    x = L + S. The model minimizes ||L - D(E(L))||^2 + 2 threshold ||S||. For a given reconstruction
    r, the best S is the proximal operator of threshold ||S|| at x - r. It moves each element of
    x - r toward zero by the threshold ("l1"), or the norm of all elements of an example together
    ("l21", the paper's l2,1 norm over rows). What was nearer to zero becomes zero.

    The paper keeps the S of each training example, and alternates between training the
    autoencoder on L and one step S = prox(x - D(E(x - S))). Here S is computed anew for each batch,
    by num_steps such steps from S = 0 with the weights as they are, and no gradient flows through
    it. Both have the same fixed points, because the step is the same and depends on nothing but x,
    S and the weights. In this way S needs no storage, any source of batches will do, and new data
    has an S, too. The l2,1 norm over columns is left out: it joins all examples of a feature, which
    no batch holds.

    `encode(x)` is the code of L, and `reconstruct(x)` is r = D(E(L)). `anomaly_score(x)` is the
    squared norm of x - r, which orders examples without S, too. With "l21" the order is that of the
    norms of S, because x - r is then longer than S by the threshold.

    Args:
        latent_dim: Dimensions of the code. Defaults to 16.
        penalty: "l1" if single elements of examples are corrupted, or "l21" if whole examples are
            outliers. Defaults to "l1".
        threshold: The paper's lambda, a positive number in the units of the data, or of the norm of
            an example with "l21". With `standardize=True`, these units are those of standardized
            data, also in scores. Smaller numbers move more into S. Defaults to None: 0.5, or with
            "l21" 0.5 times the square root of the number of elements of an example.
        num_steps: Number of steps that compute S, a positive integer. Defaults to 2.
        encoder, decoder, network_options, seed, standardize: See `keras_ae.AE`.

    Raises:
        ValueError: If an argument is out of range, or targets have another shape than the data.

    Example:

    >>> import numpy as np
    >>> from keras_ae import RobustAE
    >>> model = RobustAE(latent_dim=2, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).random((64, 8), "float32")
    >>> x[0, 3] = 9.0
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> int(model.anomaly_score(x).argmax())
    0
    """

    objective = (*AE.objective, "sparse_loss")
    _without = ("reconstruction_loss",)

    def __init__(
        self,
        latent_dim: int = 16,
        penalty: str = "l1",
        threshold: float | None = None,
        num_steps: int = 2,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        self.penalty = arguments.choice(self, "penalty", penalty, ("l1", "l21"))
        options = {"positive": True, "optional": True}
        self.threshold = arguments.number(self, "threshold", threshold, **options)
        self.num_steps = arguments.layers(self, "num_steps", num_steps)

    def _build_networks(self, shape, target_shape):
        if tuple(target_shape) != tuple(shape):
            raise ValueError(
                f"RobustAE: targets have shape {target_shape}, but the model subtracts S of data "
                f"of shape {shape} from them. Call fit(x) without targets, or pass targets of x's "
                "shape."
            )
        super()._build_networks(shape, target_shape)

    def _step_numbers(self, batch_size):
        outputs = memory.numbers_of_layers(self)[1]
        return super()._step_numbers(batch_size) + batch_size * self.num_steps * outputs

    def loss_weights(self) -> dict[str, Any]:
        return {"sparse_loss": 2.0 * self._find_threshold()}

    def _find_threshold(self):
        if self.threshold is not None:
            return self.threshold
        return _THRESHOLD * (
            1.0 if self.penalty == "l1" else math.sqrt(math.prod(self._data_shape))
        )

    def _norm(self, s):
        """Compute the norm of every example, shape (batch,)."""
        s = ops.reshape(s, (-1, math.prod(self._data_shape)))
        if self.penalty == "l1":
            return ops.sum(ops.abs(s), axis=-1)
        return ops.sqrt(ops.sum(ops.square(s), axis=-1))

    def _shrink(self, residual):
        """Apply the proximal operator of threshold times the norm to residuals (batch, ...)."""
        threshold = self._find_threshold()
        if self.penalty == "l1":
            return residual - ops.clip(residual, -threshold, threshold)
        norm = ops.reshape(self._norm(residual), (-1,) + (1,) * (len(residual.shape) - 1))
        # The greater one of the two divides, because the norm may be zero.
        return residual * (ops.relu(norm - threshold) / ops.maximum(norm, threshold))

    def _find_residual(self, x, s):
        """Compute x - D(E(x - s)), which is zero where x is padding."""
        z = super()._code(x - s)
        residual = x - self.decode(z)
        if self._mask_value is None or len(x.shape) < 3:
            return residual
        return ops.where(counted(x, self._mask_value)[..., None], residual, 0.0)

    def _find_rest(self, x):
        """Compute S of data (batch, ...)."""
        s = ops.zeros_like(x)
        for _ in range(self.num_steps):
            s = ops.stop_gradient(self._shrink(self._find_residual(x, s)))
        return s

    def _code(self, x, training=False):
        return super()._code(x - self._find_rest(x), training)

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        s = self._find_rest(x)
        z = super()._code(x - s, training)
        terms = self._reconstruction_terms(y - s, z, training, x)
        return {**terms, "sparse_loss": self._norm(s)}

    @batched("data")
    def anomaly_score(self, x: Data) -> ArrayOrTensor:
        """Compute the squared norm of x - r, with the reconstruction r. High is anomalous.

        Args:
            x: Array or tensor of shape (batch, ...), or a stream of them as in `fit`.

        Returns:
            Array or tensor of shape (batch,), float32.
        """
        residual = self._find_residual(x, self._find_rest(x))
        return ops.sum(ops.square(residual), axis=tuple(range(1, len(x.shape))))
