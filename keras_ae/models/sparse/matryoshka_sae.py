"""Matryoshka sparse autoencoders: Bussmann et al. 2025, arXiv:2503.17547."""

import math
from collections.abc import Sequence
from typing import Any

from keras import ops

from keras_ae.core import arguments
from keras_ae.models.sparse.batch_top_k_sae import BatchTopKSAE


class MatryoshkaSAE(BatchTopKSAE):
    """A batch top-k autoencoder whose first features must reconstruct the data without the others.

    The model minimizes `nested_loss` + auxiliary_weight * `auxiliary_loss`. `nested_loss` is the
    sum of the squared errors of several reconstructions. Each uses only the first features, in a
    growing number, and the last one uses all. The first features are therefore general, and later
    ones refine them.

    Args:
        latent_dim: Number of features. Defaults to 512.
        k: See `keras_ae.BatchTopKSAE`. Defaults to 32.
        prefixes: Tuple of rising numbers of features that ends in latent_dim. Defaults to None: a
            sixteenth, an eighth, a quarter, a half and all of the features.
        auxiliary_k, auxiliary_weight, dead_after, seed: See `keras_ae.TopKSAE`.

    Raises:
        ValueError: If the prefixes do not rise to latent_dim.

    Example:

    >>> import numpy as np
    >>> from keras_ae import MatryoshkaSAE
    >>> model = MatryoshkaSAE(latent_dim=16, k=2, prefixes=(4, 16), seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0).history
    >>> history["nested_loss"] > history["reconstruction_loss"]
    True
    """

    objective = ("nested_loss", "auxiliary_loss")
    diagnostics = ("reconstruction_loss", *BatchTopKSAE.diagnostics)

    def __init__(
        self,
        latent_dim: int = 512,
        k: int = 32,
        prefixes: Sequence[int] | None = None,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, k, **kwargs)
        if prefixes is None:
            self.prefixes = sorted({math.ceil(self.latent_dim / 2**n) for n in range(5)})
            return
        self.prefixes = list(arguments.sizes(self, "prefixes", prefixes, "(64, 512)"))
        if self.prefixes != sorted({*self.prefixes, self.latent_dim}):
            raise ValueError(
                f"{type(self).__name__}: prefixes={prefixes!r} must rise and end in "
                f"latent_dim={self.latent_dim}."
            )

    def _sparsity_terms(self, y, a, z, output, training):
        rows = self.dictionary.rows()
        nested, partial, start = 0.0, self.dictionary.bias, 0
        for end in self.prefixes:
            partial = partial + ops.matmul(z[:, start:end], rows[start:end])
            nested = nested + ops.sum(ops.square(y - partial), axis=-1)
            start = end
        return {
            "nested_loss": nested,
            **super()._sparsity_terms(y, a, z, output, training),
        }
