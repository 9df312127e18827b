"""BatchTopK sparse autoencoders: Bussmann, Leask and Nanda 2024, arXiv:2412.06410."""

import keras
from keras import ops

from keras_ae import sparsity
from keras_ae.core.running_means import fading_rate, move
from keras_ae.models.sparse.top_k_sae import TopKSAE


class BatchTopKSAE(TopKSAE):
    """A sparse autoencoder in which k features are active per example on average over a batch.

    In training, the k * batch largest of a batch's positive pre-activations are kept. The model
    keeps a running mean of the smallest number that is kept. In evaluation, a feature is active if
    it exceeds this mean, so that no example depends on the others. The losses are those of
    `keras_ae.TopKSAE`.

    While features are new, examples of large norm get most of the numbers that are kept. Where
    norms differ much, features are therefore learned sooner from the weights of a `TopKSAE` that
    was trained for some epochs: `model.dictionary.set_weights(top_k.dictionary.get_weights())`.

    Args:
        latent_dim: Number of features. Defaults to 512.
        k: Average number of active features in an example, an integer from 1 to latent_dim.
            Defaults to 32.
        auxiliary_k, auxiliary_weight, dead_after, seed: See `keras_ae.TopKSAE`.

    Example:

    >>> import numpy as np
    >>> from keras_ae import BatchTopKSAE
    >>> model = BatchTopKSAE(latent_dim=16, k=2, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    >>> history = model.fit(x, batch_size=64, epochs=1, verbose=0)
    >>> history.history["l0"]
    [2.0]
    """

    def _build_networks(self, shape, target_shape):
        super()._build_networks(shape, target_shape)
        self.threshold = RunningThreshold(name="threshold")

    def _select(self, a, training):
        if training:
            return sparsity.batch_top_k(ops.relu(a), self.k)
        return ops.where(a > self.threshold.mean, a, 0.0)

    def _sparsity_terms(self, y, a, z, output, training):
        if training:
            self.threshold.update(z)
        return super()._sparsity_terms(y, a, z, output, training)


class RunningThreshold(keras.layers.Layer):
    """The running mean of the smallest positive number in a batch's codes.

    The weight of a batch falls by 5 % with every later batch. Thresholds of long ago belong to
    other weights of the model, and would select too many or too few features.
    """

    FADING = 0.05

    def __init__(self, **kwargs):
        super().__init__(trainable=False, dtype="float32", **kwargs)
        self.mean, self.num_updates = (
            self.add_weight(
                shape=(),
                initializer="zeros",
                trainable=False,
                aggregation="mean",
                autocast=False,
                name=name,
            )
            for name in ("mean", "num_updates")
        )
        self.built = True

    def update(self, z):
        """Update the mean with the codes of a batch, shape (batch, num_features)."""
        z = ops.stop_gradient(z)
        nothing = 1e30
        least = ops.min(ops.where(z > 0.0, z, nothing), initial=nothing)
        known = ops.cast(least < nothing, "float32")
        rate = known * fading_rate(self.num_updates, z, self.FADING)
        self.mean.assign(move(self.mean, ops.where(known > 0.0, least, 0.0), rate))
        self.num_updates.assign(self.num_updates + known)
