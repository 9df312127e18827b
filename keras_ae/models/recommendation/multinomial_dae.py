"""Denoising autoencoders for collaborative filtering: Liang et al. 2018, arXiv:1802.05814."""

from typing import Any

from keras_ae import likelihoods
from keras_ae.core import arguments
from keras_ae.core.batching import batched
from keras_ae.core.types import Array, ArrayOrTensor, Network, Tensor
from keras_ae.models.deterministic.ae import AE
from keras_ae.models.recommendation.base import Recommender, fill_options
from keras_ae.models.variational.base import check_likelihood


class MultinomialDAE(Recommender, AE):
    """A denoising autoencoder of the items that users chose; the paper's Mult-DAE.

    It minimizes minus the multinomial log-likelihood of a user's items, in nats, given a code that
    it computes from a part of them. The encoder reads a user's row at unit length, of which half of
    the items are dropped in training. `recommend` ranks the items that a user does not have yet.
    The paper adds a weight decay of 0.01, which is left out here: the optimizer
    `keras.optimizers.AdamW` has one. The data are counts, such as 1 for each item that a user
    chose, as an array or a `scipy.sparse` matrix, which is never made dense as a whole.

    Args:
        latent_dim: Dimensions of the code, which is a tanh. Defaults to 200.
        dropout: Share of a user's values that training drops, in [0, 1). Defaults to 0.5.
        encoder, decoder, network_options, seed: See `keras_ae.AE`. A decoder of your own returns
            logits. The networks that the model makes have no hidden layers, so that all layers
            together have the paper's sizes items-200-items; `network_options={"units": (600,)}`
            adds one to each.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ae import MultinomialDAE
    >>> model = MultinomialDAE(latent_dim=2, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 30))
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> model.encode(x).shape, model.recommend(x[:5], k=1).shape
    ((64, 2), (5, 1))
    """

    _without = ("reconstruction_loss", "standardize")
    _takes_sparse = True
    _code_activation = "tanh"
    _encodes_corrupted = True

    def __init__(
        self,
        latent_dim: int = 200,
        dropout: float = 0.5,
        encoder: Network | None = None,
        decoder: Network | None = None,
        network_options: dict[str, Any] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        options = fill_options(encoder, decoder, network_options, units=(), activation="tanh")
        super().__init__(latent_dim, encoder, decoder, network_options=options, seed=seed, **kwargs)
        self.dropout = arguments.number(self, "dropout", dropout, below=1)
        self.likelihood = likelihoods.Multinomial()
        self._support = self.likelihood.support
        self._outputs_are_data = False

    def _build_networks(self, shape, target_shape):
        super()._build_networks(shape, target_shape)
        self.likelihood.build()

    def _check_given(self):
        super()._check_given()
        decoder, shape = self.arguments["decoder"], self._decoder_input_shape()
        name = "the multinomial likelihood"
        check_likelihood(self, self.likelihood, name, self._target_shape, decoder, shape)

    def _decoder_shape(self, target_shape):
        return self.likelihood.parameter_shape(target_shape)

    def _code(self, x, training=False):
        return super()._code(self._prepare(x, training), training)

    @batched("code")
    def decode(self, z: Array | Tensor, training: bool = False) -> ArrayOrTensor:
        return self.likelihood.distribution(self.decoder(z, training=training)).mean

    def _reconstruction_terms(self, y, z, training, x=None):
        if training:
            self._update_density(z, x)
        logits = self.decoder(z, training=training)
        return {"reconstruction_loss": -self.likelihood.log_prob(y, logits, training)}
