"""Improved deep embedded clustering: Guo et al. 2017, doi:10.24963/ijcai.2017/243."""

import math
from typing import Any

from keras import ops

from keras_ae.core import arguments
from keras_ae.core.types import Tensor
from keras_ae.models.clustering.base import SoftClusteringAE

# The authors' factor, which belongs to the mean squared error of an example's elements.
_WEIGHT = 0.1


class IDEC(SoftClusteringAE):
    """Deep embedded clustering that goes on reconstructing, so that codes keep what data is like.

    Training is that of `keras_ae.DEC`: a pre-training, k-means, and targets from all data that are
    renewed after each `update_interval` steps. Unlike there, the encoder minimizes both losses once
    the clusters have started: the reconstruction loss plus cluster_weight times `cluster_loss`,
    KL(P || Q).

    Args:
        latent_dim: Dimensions of the code. Defaults to 10, as in the paper.
        num_clusters: Number of clusters, a positive integer. Defaults to 10.
        cluster_weight: Factor gamma of the divergence, a number of at least 0. Defaults to None,
            which is 0.1 times the number of elements of an example. The paper's 0.1 is the factor
            beside an error that the authors' code averages over the elements, and here the error is
            their sum.
        pretraining_steps: Number of training steps before the clusters start, an integer of at
            least 0. Defaults to 2,000.
        update_interval: Number of training steps between two updates of the targets P. Each update
            reads all data once. Defaults to 140, the paper's for MNIST at batch 256.
        encoder, decoder, reconstruction_loss, network_options, seed, standardize: See
            `keras_ae.AE`. The paper's networks are those of `encoder="mlp", decoder="mlp",
            network_options={"units": (500, 500, 2000)}`.

    Raises:
        ValueError: If an argument is out of range; in `fit`, if there are fewer examples than
            clusters, or the data is a generator, which cannot be read again.

    Example:

    >>> import numpy as np
    >>> from keras_ae import IDEC
    >>> x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    >>> x[:32] += 4.0
    >>> model = IDEC(latent_dim=2, num_clusters=2, pretraining_steps=20, seed=0)
    >>> model.compile("adam")
    >>> history = model.fit(x, epochs=20, verbose=0)
    >>> sorted(history.history)
    ['cluster_loss', 'loss', 'reconstruction_loss']
    """

    def __init__(
        self,
        latent_dim: int = 10,
        num_clusters: int = 10,
        cluster_weight: float | None = None,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, num_clusters, **kwargs)
        self.cluster_weight = arguments.number(
            self, "cluster_weight", cluster_weight, optional=True
        )

    def loss_weights(self) -> dict[str, Any]:
        weight = self.cluster_weight
        if weight is None:
            weight = _WEIGHT * math.prod(self._target_shape)
        return {"cluster_loss": weight * ops.cast(self._is_clustering(), "float32")}

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        z = self._code(x, training)
        terms = self._reconstruction_terms(y, z, training, x)
        return {**terms, "cluster_loss": self._cluster_loss(x, z)}
