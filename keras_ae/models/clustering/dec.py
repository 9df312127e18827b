"""Deep embedded clustering: Xie, Girshick and Farhadi 2016, arXiv:1511.06335."""

from typing import Any

from keras import ops

from keras_ae.core.types import Tensor
from keras_ae.models.clustering.base import SoftClusteringAE


class DEC(SoftClusteringAE):
    """Deep embedded clustering: the encoder learns codes that form clusters.

    The first `pretraining_steps` steps train an autoencoder. Then k-means with 20 starts, on the
    codes of all data, finds the centers of the clusters, and from then on the encoder and the
    centers minimize `cluster_loss` alone: the divergence KL(P || Q) of memberships Q from targets P
    that are surer of themselves, eq. 2. P is computed from all data, anew after each
    `update_interval` steps (section 3.3). All of this is part of `fit`, and the weights hold where
    the training is: several calls of `fit` train like one, and a training that was killed resumes.
    If `fit` ends before the pre-training does, the clusters are those of k-means.

    From the start of the clusters on, the decoder goes on learning to reconstruct the data from the
    codes, but has no influence on the encoder. The paper drops the decoder. It also pre-trains
    layer by layer with dropout, and here all layers are trained at once.

    Args:
        latent_dim: Dimensions of the code. Defaults to 10, as in the paper.
        num_clusters: Number of clusters, a positive integer. Defaults to 10.
        pretraining_steps: Number of training steps before the clusters start, an integer of at
            least 0. With 0, the clusters start from the weights as they are, such as those of an
            encoder that you have trained. The code is then a linear layer of its features, which is
            new, so take a few hundred steps for this layer. Defaults to 2,000. The paper has
            100,000 of batch 256.
        update_interval: Number of training steps between two updates of the targets P. Each update
            reads all data once. Defaults to 140, about half a pass over MNIST at batch 256.
        encoder, decoder, reconstruction_loss, network_options, seed, standardize: See
            `keras_ae.AE`. The paper's networks are those of `encoder="mlp", decoder="mlp",
            network_options={"units": (500, 500, 2000)}`.

    Raises:
        ValueError: If an argument is out of range; in `fit`, if there are fewer examples than
            clusters, or the data is a generator, which cannot be read again.

    Example:

    >>> import numpy as np
    >>> from keras_ae import DEC
    >>> x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    >>> x[:32] += 4.0
    >>> model = DEC(latent_dim=2, num_clusters=2, pretraining_steps=20, seed=0)
    >>> model.compile("adam")
    >>> history = model.fit(x, epochs=20, verbose=0)
    >>> model.cluster(x).shape, model.cluster_probabilities(x).shape, model.centers.shape
    ((64,), (64, 2), (2, 2))
    """

    def loss_weights(self) -> dict[str, Any]:
        return {"cluster_loss": ops.cast(self._is_clustering(), "float32")}

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        z = self._code(x, training)
        read = ops.where(self._is_clustering(), ops.stop_gradient(z), z)
        terms = self._reconstruction_terms(y, read, training, x)
        return {**terms, "cluster_loss": self._cluster_loss(x, z)}
