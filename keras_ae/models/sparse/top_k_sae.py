"""k-sparse autoencoders (arXiv:1312.5663) with an auxiliary loss (arXiv:2406.04093)."""

from typing import Any

from keras import ops

from keras_ae import sparsity
from keras_ae.core import arguments
from keras_ae.models.sparse.base import DictionaryAE


class TopKSAE(DictionaryAE):
    """A sparse autoencoder in which the k strongest features of every example are active.

    The model minimizes `reconstruction_loss` + auxiliary_weight * `auxiliary_loss`. The latter is
    AuxK of arXiv:2406.04093: the squared error with which the strongest dead features, without the
    decoder's bias, reconstruct the residual of the reconstruction. The residual gets no gradient
    from it, so that it moves only dead features.

    Args:
        latent_dim: Number of features. Defaults to 512.
        k: Number of active features in an example, an integer from 1 to latent_dim. Defaults to 32.
        auxiliary_k: Number of dead features in the auxiliary loss, an integer from 1 to latent_dim.
            Defaults to None, half the data's dimensions.
        auxiliary_weight: Factor of the auxiliary loss, a number of at least 0. Defaults to 1/32.
        dead_after: Number of training steps without activity after which a feature counts as dead.
            Defaults to 200.
        seed: See `keras_ae.Autoencoder`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ae import TopKSAE
    >>> model = TopKSAE(latent_dim=16, k=2, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> int((model.encode(x) != 0).sum(axis=1).max()), model.directions.shape
    (2, (16, 8))
    """

    objective = (*DictionaryAE.objective, "auxiliary_loss")

    def __init__(
        self,
        latent_dim: int = 512,
        k: int = 32,
        auxiliary_k: int | None = None,
        auxiliary_weight: float = 1 / 32,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        self.k = self._check_count("k", k)
        self.auxiliary_k = (
            None if auxiliary_k is None else self._check_count("auxiliary_k", auxiliary_k)
        )
        self.auxiliary_weight = arguments.number(self, "auxiliary_weight", auxiliary_weight)

    def _check_count(self, name, value):
        remedy = f"There are latent_dim={self.latent_dim} features."
        return arguments.integer(self, name, value, most=self.latent_dim, remedy=remedy)

    def loss_weights(self) -> dict[str, Any]:
        return {"auxiliary_loss": self.auxiliary_weight}

    def _select(self, a, training):
        return sparsity.top_k(a, self.k)

    def _sparsity_terms(self, y, a, z, output, training):
        dead = self.sampler.dead(self.dead_after)
        k = self.auxiliary_k or min(max(self.data_scale.width // 2, 1), self.latent_dim)
        # Features that are not dead come last in the selection, and the next line drops them.
        least = ops.min(ops.stop_gradient(a), axis=-1, keepdims=True)
        chosen = sparsity.top_k(ops.where(dead > 0.0, a, least), k)
        chosen = ops.where(dead > 0.0, chosen, 0.0)
        left_over = ops.stop_gradient(y - output)
        again = ops.matmul(chosen, self.dictionary.rows())
        error = ops.sum(ops.square(left_over - again), axis=-1)
        return {"auxiliary_loss": error * ops.max(dead)}
