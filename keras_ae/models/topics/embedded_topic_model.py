"""Topic modeling in embedding spaces: Dieng, Ruiz and Blei 2019, arXiv:1907.04907."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae import distributions
from keras_ae.core import arguments
from keras_ae.core.types import Tensor
from keras_ae.layers import TopicMixture
from keras_ae.models.topics.base import TopicModel


class EmbeddedTopicModel(TopicModel):
    """A topic model in which words and topics are vectors of one space; the paper's ETM.

    A topic is a distribution over words, the softmax of the products of its vector with those of
    the words. The words of a document come from the mixture of its topics. The prior of the shares
    of topics is the softmax of a standard normal. The encoder reads the shares of the words in a
    document. All vectors are learned.

    Args:
        latent_dim: Number of topics, an integer of at least 2. Defaults to 50.
        embedding_dim: Dimensions of the vectors, a positive integer. Defaults to 300.
        network_options: Dictionary of options of the encoder: see `keras_ae.networks`. Defaults to
            None, two layers of 800 units with "relu" and a dropout of 0.5.
        kl_weight, free_bits, seed: See `keras_ae.VAE`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ae import EmbeddedTopicModel
    >>> options = {"units": (8,)}
    >>> model = EmbeddedTopicModel(3, embedding_dim=4, network_options=options, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).poisson(0.5, (64, 5))
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> words = model.topics(["ape", "bee", "cat", "dog", "emu"], k=2)
    >>> len(words), model.doc_topics(x).shape
    (3, (64, 3))
    """

    def __init__(
        self,
        latent_dim: int = 50,
        embedding_dim: int = 300,
        network_options: dict[str, Any] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        defaults = {"units": (800, 800), "activation": "relu", "dropout": 0.5}
        super().__init__(latent_dim, network_options, defaults, seed=seed, **kwargs)
        self.embedding_dim = arguments.integer(self, "embedding_dim", embedding_dim)

    def _make_decoder(self, shape):
        mixture = TopicMixture(shape[0], self.embedding_dim, name="topics")
        return keras.Sequential([keras.Input((self.latent_dim,)), mixture], name="decoder")

    def posterior(self, x: Tensor, training: bool = False) -> distributions.DiagonalGaussian:
        # A document without words stays a row of zeros.
        totals = ops.maximum(ops.sum(x, axis=-1, keepdims=True), 1e-6)
        return super().posterior(x / totals, training)

    def word_weights(self) -> np.ndarray:
        """Return the distribution of words in each topic: float32 array, shape (topics, words)."""
        return ops.convert_to_numpy(self.decoder.get_layer("topics").distributions())
