"""Mixtures of topics, which are distributions over words."""

from typing import Any

import keras
from keras import ops

from keras_ae.core import arguments, memory
from keras_ae.core.types import Tensor

_LEAST = 1e-30  # Below this, float32 would round products of probabilities to 0.


@keras.saving.register_keras_serializable("keras_ae")
class TopicMixture(memory.GuardedLayer):
    """Computes the log-probabilities of words in documents from the logits of their topics.

    Each word and each topic is a vector of an embedding space. A topic's distribution over words is
    the softmax of the products of its vector with those of the words.

    Source: Dieng, Ruiz and Blei, Topic Modeling in Embedding Spaces, section 4, arXiv:1907.04907.

    Args:
        num_words: Number of words, a positive integer.
        embedding_dim: Dimensions of the vectors, a positive integer.

    Example:
        >>> import numpy as np
        >>> from keras_ae.layers import TopicMixture
        >>> TopicMixture(num_words=7, embedding_dim=4)(np.zeros((2, 3))).shape == (2, 7)
        True
    """

    def __init__(self, num_words: int, embedding_dim: int, **kwargs: Any):
        # Probabilities of thousands of words do not fit into 16 bits.
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.num_words = arguments.integer(self, "num_words", num_words)
        self.embedding_dim = arguments.integer(self, "embedding_dim", embedding_dim)

    def build(self, input_shape):
        # The products of vectors then have the variance 1, so that topics differ from the start.
        deviation = self.embedding_dim**-0.25
        self.words, self.topics = (
            self.add_weight(
                shape=(number, self.embedding_dim),
                initializer=keras.initializers.RandomNormal(stddev=deviation),
                name=name,
            )
            for name, number in {"words": self.num_words, "topics": input_shape[-1]}.items()
        )

    def distributions(self) -> Tensor:
        """Compute the distribution of words in each topic: tensor of shape (topics, words)."""
        words, topics = map(ops.convert_to_tensor, (self.words, self.topics))
        return ops.softmax(ops.matmul(topics, ops.transpose(words)), axis=-1)

    def call(self, logits):
        """Compute the log-probabilities of words.

        Args:
            logits: Tensor of shape (batch, topics). Its softmax is the shares of the topics.

        Returns:
            Float32 tensor of shape (batch, num_words).
        """
        shares = ops.softmax(ops.cast(logits, "float32"), axis=-1)
        return ops.log(ops.maximum(ops.matmul(shares, self.distributions()), _LEAST))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.num_words)

    def get_config(self):
        config = {"num_words": self.num_words, "embedding_dim": self.embedding_dim}
        return {**super().get_config(), **config}
