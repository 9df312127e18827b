"""Variational autoencoders for collaborative filtering: Liang et al. 2018, arXiv:1802.05814."""

from typing import Any

from keras_ae import distributions
from keras_ae.core import arguments
from keras_ae.core.types import Network, Tensor, Weight
from keras_ae.models.recommendation.base import Recommender, fill_options
from keras_ae.models.variational.vae import VAE
from keras_ae.schedules import LinearWarmUp


class MultinomialVAE(Recommender, VAE):
    """A VAE of the items that users chose, with a multinomial likelihood; the paper's Mult-VAE.

    The encoder reads a user's row at unit length, of which half of the items are dropped in
    training. `recommend` ranks the items that a user does not have yet. The data are counts, such
    as 1 for each item that a user chose, as an array or a `scipy.sparse` matrix, which is never
    made dense as a whole. The loss has the multinomial coefficient, a constant that the paper
    leaves out.

    Args:
        latent_dim: Dimensions of the code. Defaults to 200.
        dropout: Share of a user's values that training drops, in [0, 1). Defaults to 0.5.
        kl_weight: The paper's beta, a number of at least 0 or a schedule. Defaults to None: it
            rises on a line from 0 to 0.2 within 40,000 steps; the paper has 200,000. It should
            reach its end within the training, and how large it should be there depends on the data:
            see section 2.2.2.
        encoder, decoder, network_options, seed: See `keras_ae.VAE`. The networks that the model
            makes have one hidden layer of 600 tanh units, so that all layers together have the
            paper's sizes items-600-200-600-items.
        free_bits: See `keras_ae.VAE`.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ae import MultinomialVAE
    >>> model = MultinomialVAE(latent_dim=2, network_options={"units": (8,)}, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 30))
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> model.encode(x).shape, model.recommend(x[:5], k=1).shape
    ((64, 2), (5, 1))
    """

    _without = ("likelihood", "standardize")

    def __init__(
        self,
        latent_dim: int = 200,
        dropout: float = 0.5,
        kl_weight: Weight | None = None,
        encoder: Network | None = None,
        decoder: Network | None = None,
        network_options: dict[str, Any] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        options = fill_options(encoder, decoder, network_options, units=(600,), activation="tanh")
        super().__init__(
            latent_dim,
            encoder,
            decoder,
            likelihood="multinomial",
            kl_weight=LinearWarmUp(40_000, end=0.2) if kl_weight is None else kl_weight,
            network_options=options,
            seed=seed,
            **kwargs,
        )
        self.dropout = arguments.number(self, "dropout", dropout, below=1)

    def posterior(self, x: Tensor, training: bool = False) -> distributions.DiagonalGaussian:
        return super().posterior(self._prepare(x, training), training)
