"""Generating Diverse High-Fidelity Images with VQ-VAE-2: Razavi et al. 2019, arXiv:1906.00446."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae import networks
from keras_ae.core import arguments
from keras_ae.core.types import Tensor
from keras_ae.layers import Quantized, code_statistics
from keras_ae.models.discrete.base import VectorQuantizedAE


class VQVAE2(VectorQuantizedAE):
    """An autoencoder with two levels of codes, the lower of which depends on the upper one.

    This is algorithm 1. For pictures, the upper level has half the rows and columns, which a
    convolution of stride 2 computes. For sequences it has half the steps, for volumes half of each
    side, and for other data it is as long as the lower level. The decoder reads both levels. The
    model minimizes the reconstruction loss plus `commitment_weight` times the commitment losses of
    both levels. The embeddings are exponential moving averages (EMA) of the vectors. `encode`
    returns the code indices of the upper level, followed by those of the lower one, and
    `split_codes` separates them. `sample` decodes codes from one prior over both levels, a causal
    transformer, which `fit_prior(x)` trains after `fit`.

    Args:
        latent_dim: Dimensions of each vector. Defaults to 16.
        num_codes: Number of embeddings in each codebook. Defaults to 256.
        commitment_weight: The paper's beta, a number of at least 0. Defaults to 0.25.
        hidden_units: Channels between the features and the upper level. Defaults to 64.
        decay, estimator, k_means_start, restart_below: See `keras_ae.layers.VectorQuantizer`.
        code_length: Number of code indices in each level for data whose features have no positions.
            Defaults to 8.
        prior_options: Dictionary of options of `keras_ae.layers.SequencePrior`. Defaults to None.
        encoder, decoder, reconstruction_loss, network_options, seed: See `keras_ae.VQVAE`. A
            decoder of your own reads 2 * latent_dim numbers at every position.

    Example:

    >>> import numpy as np
    >>> from keras_ae import VQVAE2
    >>> model = VQVAE2(latent_dim=4, num_codes=8, code_length=3, hidden_units=8, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).random((64, 8), "float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> codes = model.encode(x)
    >>> upper, lower = model._split_codes(codes)
    >>> codes.shape, upper.shape, lower.shape, model.decode(codes).shape
    ((64, 6), (64, 3), (64, 3), (64, 8))
    """

    _without = (*VectorQuantizedAE._without, "learning", "cosine")

    def __init__(
        self,
        latent_dim: int = 16,
        num_codes: int = 256,
        commitment_weight: float = 0.25,
        hidden_units: int = 64,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, num_codes, commitment_weight, **kwargs)
        self.hidden_units = arguments.integer(self, "hidden_units", hidden_units)
        self.upper_quantizer = self.features_to_upper = self.downward = None

    def _build_codes(self, features):
        dtype, width = self.dtype_policy, self.latent_dim
        if self._flat:
            self._upper_places = self._places
            upward = keras.layers.Dense(self.hidden_units, "relu", dtype=dtype, name="upper_hidden")
            downward = [
                keras.layers.Flatten(dtype=dtype, name="downward_flatten"),
                keras.layers.Dense(math.prod(self._places) * width, dtype=dtype, name="downward"),
            ]
        elif len(self._places) > 3:
            raise ValueError(
                f"VQVAE2: the encoder ends in features of shape {tuple(features.shape[1:])}. Pass "
                "an encoder that returns a vector, or features of a series, a picture or a volume."
            )
        else:
            known = networks.layers_for(features.shape)
            self._upper_places = tuple(math.ceil(n / 2) for n in self._places)
            surplus = tuple((0, n % 2) for n in self._places)
            strided = {"kernel_size": 4, "strides": 2, "padding": "same", "dtype": dtype}
            upward = known.convolution(
                self.hidden_units, activation="relu", name="upper_hidden", **strided
            )
            downward = [
                known.transposed(width, name="downward", **strided),
                known.cropping(
                    surplus if len(surplus) > 1 else surplus[0], name="crop", dtype=dtype
                ),
            ]
        self.features_to_upper = keras.Sequential([upward, self._make_head("upper")], name="upper")
        upper = self.features_to_upper(features)
        self.upper_quantizer = self._make_quantizer("upper_quantizer")
        self.upper_quantizer.build(upper.shape)
        self.downward = keras.Sequential(downward, name="downward")
        self.features_to_code = self._make_head("code")
        self.features_to_code(ops.concatenate([features, self.downward(upper)], axis=-1))
        self.quantizer = self._make_quantizer()
        self.quantizer.build((None, *self._places, width))

    def quantized(self, x: Tensor, training: bool = False, follow: bool = False) -> Quantized:
        features = self.encoder(x, training=training)
        upper = ops.cast(self.features_to_upper(features, training=training), "float32")
        upper = self.upper_quantizer(upper, training=follow)
        below = self.downward(upper.vectors, training=training)
        joined = ops.concatenate([ops.cast(features, below.dtype), below], axis=-1)
        lower = ops.cast(self.features_to_code(joined, training=training), "float32")
        lower = self.quantizer(lower, training=follow)
        losses = {name: loss + lower.losses[name] for name, loss in upper.losses.items()}
        vectors = self._concatenate_levels(upper.vectors, lower.vectors, (self.latent_dim,))
        return Quantized(vectors, self._concatenate_levels(upper.codes, lower.codes), losses)

    def _concatenate_levels(self, upper, lower, rest=()):
        """Concatenate codes or vectors of both levels: (batch, positions, ...)."""
        lengths = (math.prod(self._upper_places), math.prod(self._places))
        parts = zip((upper, lower), lengths, strict=True)
        return ops.concatenate([ops.reshape(v, (-1, n, *rest)) for v, n in parts], axis=1)

    def _split_codes(self, codes):
        """Separate the codes of the upper level from those of the lower level.

        Args:
            codes: Array or tensor of shape (batch, *code_shape).

        Returns:
            Two arrays or tensors, (batch, *upper_places) and (batch, *places).
        """
        reshape = np.reshape if isinstance(codes, np.ndarray) else ops.reshape
        rest, cut = codes.shape[2:], math.prod(self._upper_places)
        upper = reshape(codes[:, :cut], (-1, *self._upper_places, *rest))
        return upper, reshape(codes[:, cut:], (-1, *self._places, *rest))

    def _vectors(self, codes):
        upper, lower = self._split_codes(codes)
        upper, lower = self.upper_quantizer.vectors(upper), self.quantizer.vectors(lower)
        return self._concatenate_levels(upper, lower, (self.latent_dim,))

    def _decoder_input(self, vectors, training=False):
        upper, lower = self._split_codes(vectors)
        below = self.downward(upper, training=training)
        lower = ops.reshape(lower, (-1, *super()._decoder_input_shape()))
        return ops.concatenate([lower, ops.cast(below, lower.dtype)], axis=-1)

    def _decoder_input_shape(self):
        *places, width = super()._decoder_input_shape()
        return (*places, 2 * width)

    @property
    def code_shape(self) -> tuple[int, ...]:
        return (math.prod(self._upper_places) + math.prod(self._places),)

    @property
    def _vector_shape(self):
        return (*self.code_shape, self.latent_dim)

    def _statistics(self, codes):
        found = [code_statistics(part, self.num_codes) for part in self._split_codes(codes)]
        return {name: (found[0][name] + found[1][name]) / 2 for name in found[0]}
