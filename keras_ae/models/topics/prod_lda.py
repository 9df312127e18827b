"""Autoencoding variational inference for topic models: Srivastava and Sutton, arXiv:1703.01488."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae.core import arguments
from keras_ae.core.seeds import default_seed
from keras_ae.core.types import Tensor
from keras_ae.distributions import DiagonalGaussian, approximate_dirichlet
from keras_ae.models.topics.base import TopicModel

_MOMENTUM = 0.9  # Moving means follow the weights, which learn fast, within tens of steps.


class ProdLDA(TopicModel):
    """A topic model in which the words of a document come from a product of experts.

    The distribution of words is the softmax of a sum of the topics' weights of words, weighted by
    the shares of the topics in the document. The prior of the shares is the logistic normal that
    approximates a symmetric Dirichlet distribution, eq. 6: see
    `keras_ae.distributions.approximate_dirichlet`.

    Without care all topics become equal early in training (section 3.4). What prevents this is
    batch normalization, of the posterior's parameters and of the logits of words, dropout, and an
    optimizer with a high rate and a high momentum: compile the model with
    `keras.optimizers.Adam(0.002, beta_1=0.99)`, and use batches of 200 or so.

    Args:
        latent_dim: Number of topics, an integer of at least 2. Defaults to 50.
        concentration: Concentration of the Dirichlet prior, a positive number. Defaults to 1.
        dropout: Share of the encoder's features, and of the topics of a document, that training
            drops, in [0, 1). Defaults to 0.2.
        network_options: Dictionary of options of the encoder: see `keras_ae.networks`. Defaults to
            None, two layers of 100 units with "softplus".
        kl_weight, free_bits, seed: See `keras_ae.VAE`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ae import ProdLDA
    >>> model = ProdLDA(latent_dim=3, seed=0)
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
        concentration: float = 1.0,
        dropout: float = 0.2,
        network_options: dict[str, Any] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        defaults = {"units": (100, 100), "activation": "softplus", "dropout": dropout}
        super().__init__(latent_dim, network_options, defaults, seed=seed, **kwargs)
        self.dropout = arguments.number(self, "dropout", dropout, below=1, fixed=True)
        self.concentration = arguments.number(
            self, "concentration", concentration, positive=True, fixed=True
        )

    def _make_decoder(self, shape):
        dtype = self.dtype_policy
        layers = [
            keras.Input((self.latent_dim,)),
            keras.layers.Softmax(dtype=dtype, name="shares"),
            keras.layers.Dropout(self.dropout, seed=default_seed(), dtype=dtype, name="dropout"),
            keras.layers.Dense(shape[0], use_bias=False, dtype=dtype, name="topics"),
            self._make_normalization("words_normalization"),
        ]
        return keras.Sequential(layers, name="decoder")

    def _make_normalization(self, name):
        return keras.layers.BatchNormalization(
            momentum=_MOMENTUM, scale=False, dtype=self.dtype_policy, name=name
        )

    def _fit_networks(self, shape, target_shape):
        # The normalization subtracts a bias, and has one of its own.
        self.features_to_code.layers[-1].use_bias = False
        self.features_to_code.add(self._make_normalization("code_normalization"))
        super()._fit_networks(shape, target_shape)

    def prior(self, like: Tensor) -> DiagonalGaussian:
        """Make p(z), the Gaussian whose softmax approximates the Dirichlet prior."""
        variance = approximate_dirichlet(self.concentration, self.latent_dim)
        zeros = ops.zeros_like(ops.cast(like, "float32"))
        return DiagonalGaussian(zeros, zeros + math.log(variance))

    def word_weights(self) -> np.ndarray:
        return ops.convert_to_numpy(self.decoder.get_layer("topics").kernel)
