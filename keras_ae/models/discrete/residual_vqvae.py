"""SoundStream: Zeghidour et al. 2021, arXiv:2107.03312: residual vector quantization."""

import math
from typing import Any

from keras import ops

from keras_ae.core import arguments
from keras_ae.core.types import Tensor
from keras_ae.layers import Quantized, ResidualQuantizer
from keras_ae.models.discrete.base import VectorQuantizedAE


class ResidualVQVAE(VectorQuantizedAE):
    """An autoencoder that replaces every vector by a sum of embeddings from several codebooks.

    Each codebook quantizes the residual of the codebook before it, as in the paper, here between
    networks of this package. The model minimizes the reconstruction loss plus `commitment_weight`
    times the sum of the codebooks' commitment losses. `encode` returns the code indices of all
    positions in a row. Those of one position follow each other, the coarsest first. `sample`
    decodes codes from a prior, which `fit_prior(x)` trains after `fit`.

    Args:
        latent_dim: Dimensions of each vector. Defaults to 16.
        num_codes: Number of embeddings in each codebook. Defaults to 256.
        depth: Number of codebooks, a positive integer. Defaults to 4.
        commitment_weight: Factor of the commitment losses, a number of at least 0. Defaults to
            0.25.
        learning, decay, estimator, k_means_start, restart_below: See
            `keras_ae.layers.ResidualQuantizer`.
        code_length: Number of positions for data whose features have no positions. Each position
            has `depth` code indices. Defaults to 8.
        prior_options: Dictionary of options of `keras_ae.layers.SequencePrior`. Defaults to None.
        encoder, decoder, reconstruction_loss, network_options, seed: See `keras_ae.VQVAE`.

    Example:

    >>> import numpy as np
    >>> from keras_ae import ResidualVQVAE
    >>> model = ResidualVQVAE(latent_dim=4, num_codes=8, depth=2, code_length=3, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).random((64, 8), "float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> codes = model.encode(x)
    >>> codes.shape, model.decode(codes).shape
    ((64, 6), (64, 8))
    """

    _without = (*VectorQuantizedAE._without, "cosine")

    def __init__(
        self,
        latent_dim: int = 16,
        num_codes: int = 256,
        depth: int = 4,
        commitment_weight: float = 0.25,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, num_codes, commitment_weight, **kwargs)
        self.depth = arguments.layers(self, "depth", depth)

    def _make_quantizer(self, name="quantizer"):
        options = {k: v for k, v in self._quantizer_options.items() if k != "cosine"}
        return ResidualQuantizer(depth=self.depth, **options, name=name)

    @property
    def code_shape(self) -> tuple[int, ...]:
        return (math.prod(self._places) * self.depth,)

    def quantized(self, x: Tensor, training: bool = False, follow: bool = False) -> Quantized:
        found = super().quantized(x, training, follow)
        codes = ops.reshape(found.codes, (-1, *self.code_shape))
        return Quantized(found.vectors, codes, found.losses)

    def _vectors(self, codes):
        return super()._vectors(self._unflatten_codes(codes))

    def _statistics(self, codes):
        return super()._statistics(self._unflatten_codes(codes))

    def _unflatten_codes(self, codes):
        """Reshape codes (batch, *code_shape) to (batch, *positions, depth)."""
        return ops.reshape(codes, (-1, *self._places, self.depth))
