"""What all topic models share."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from keras_ae.core import arguments, inputs
from keras_ae.core.batching import batched
from keras_ae.core.types import ArrayOrTensor, Data
from keras_ae.models.variational.vae import VAE


class TopicModel(VAE):
    """Base class of VAEs of counts of words, whose code has a number for each topic.

    The softmax of a code is the shares of the topics.

    Args:
        latent_dim: Number of topics, an integer of at least 2.
        network_options: Dictionary of options of the encoder. Defaults to None.
        defaults: Dictionary of the model's own defaults of these options.
        **kwargs: See `keras_ae.VAE`.
    """

    explorer_views = {"Topics": "_list_topics", "Topics of an example": "doc_topics"}
    _without = ("encoder", "decoder", "likelihood", "standardize", "defaults")

    def __init__(
        self,
        latent_dim: int,
        network_options: dict[str, Any] | None,
        defaults: dict[str, Any],
        **kwargs: Any,
    ):
        options = network_options
        if options is None or isinstance(options, dict):
            options = {**defaults, **(options or {})}
        super().__init__(latent_dim, likelihood="multinomial", network_options=options, **kwargs)
        arguments.integer(self, "latent_dim", latent_dim, least=2)

    def _check_given(self):
        """Check nothing, because the model makes all of its networks."""

    def _build_networks(self, shape, target_shape):
        self.likelihood.parameter_shape(shape)
        self.decoder = self._make_decoder(self._decoder_shape(target_shape))
        super()._build_networks(shape, target_shape)

    def _make_decoder(self, shape):
        """Make the network from codes to the logits of words.

        Args:
            shape: Shape of the logits, (words,).
        """
        raise NotImplementedError

    def word_weights(self) -> np.ndarray:
        """Return how much each topic is about each word: float32 array of shape (topics, words).

        The model must be built.
        """
        raise NotImplementedError

    @batched("data")
    def doc_topics(self, x: Data) -> ArrayOrTensor:
        """Compute the shares of the topics in each document: the softmax of the posterior's mean.

        Args:
            x: Array or tensor of counts, shape (documents, words), a `scipy.sparse` matrix, or a
                stream of them as in `fit`.

        Returns:
            Array or tensor of shape (documents, topics), float32. Rows have the sum 1.
        """
        return ops.softmax(self.posterior(x).mean, axis=-1)

    def topics(self, vocabulary: Sequence[Any], k: int = 10) -> list[list[Any]]:
        """List the words that each topic is most about.

        Args:
            vocabulary: Sequence of the words, in the order of the data's columns. `range(words)`
                gives the numbers of the columns, which `keras_ae.evaluation.topic_coherence` takes.
            k: Number of words of a topic, a positive integer. Defaults to 10.

        Returns:
            List of a list of k words for each topic, the most important ones first.

        Raises:
            TypeError: If the vocabulary is a dictionary or a set.
            ValueError: If the model is not built, the vocabulary has another length than the data,
                or k is not from 1 to this length.
        """
        inputs.require_built(self, "topics")
        if isinstance(vocabulary, (dict, set, frozenset)):
            raise TypeError(
                f"topics: vocabulary is a {type(vocabulary).__name__}, which has no order of "
                "columns. Pass a list of the words, such as get_feature_names_out() of "
                "scikit-learn's CountVectorizer."
            )
        vocabulary, weights = list(vocabulary), self.word_weights()
        if len(vocabulary) != weights.shape[1]:
            raise ValueError(
                f"topics: vocabulary has {len(vocabulary)} words, but the data has "
                f"{weights.shape[1]}. Pass the words in the order of the data's columns."
            )
        k = arguments.integer("topics", "k", k, most=weights.shape[1])
        best = np.argsort(-weights, axis=1, kind="stable")[:, :k]
        return [[vocabulary[int(word)] for word in row] for row in best]

    def _list_topics(self, vocabulary):
        """List the words of each topic as `topics` does, also if there are few."""
        return self.topics(vocabulary, k=min(10, len(vocabulary)))
