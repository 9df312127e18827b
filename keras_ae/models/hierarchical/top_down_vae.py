"""Very Deep VAEs: Child 2020, arXiv:2011.10650, here with small blocks of vectors."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae.core import arguments
from keras_ae.core.types import Tensor, Weight
from keras_ae.layers.top_down import LearnedStart, Residual, TopDownBlock
from keras_ae.models.hierarchical.base import HierarchicalVAE


class TopDownVAE(HierarchicalVAE):
    """A VAE whose blocks, one after the other, add latent variables to a residual stream.

    A learned vector h starts the stream. Every block draws z from p(z | h), or from q(z | h, a)
    with an activation a of the data, then adds project(z) to h and applies a residual block. The
    activations are those of a residual network on the encoder's features, and the first block reads
    the deepest of them. The priors start as standard normals, and the weights that add to a stream
    start 1 / sqrt(num_blocks) times as large. The paper skips steps with large gradients. If
    `kl_loss` leaps, the learning rate is too high, and
    `keras.optimizers.Adam(global_clipnorm=...)` helps.

    The latent variables are vectors, as at the paper's lowest resolution, and none are spatial. For
    pictures, this leaves the spatial structure to the encoder and the decoder. The code
    concatenates the blocks' z. The decoder reads `latent_dim` linear functions of the last h.

    Args:
        latent_dim: Dimensions of the code, which the blocks share evenly. Defaults to 16.
        num_blocks: Number of blocks, a positive integer of at most latent_dim. Defaults to None,
            the smaller of 4 and latent_dim.
        width: Width of the streams and of the networks in the blocks. Defaults to 128.
        layer_weights: List of factors of the blocks' divergences in training, the first block's
            first: see `keras_ae.LadderVAE`. Defaults to None, all 1.
        encoder, decoder, likelihood, kl_weight, network_options, seed: See `keras_ae.VAE`.
        free_bits: Nats of each block that are exempt from the penalty. Defaults to 0.

    Example:

    >>> import numpy as np
    >>> from keras_ae import TopDownVAE
    >>> model = TopDownVAE(latent_dim=4, num_blocks=2, width=8, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> sorted(history.history)
    ['kl_loss', 'kl_loss_1', 'kl_loss_2', 'loss', 'reconstruction_loss']
    >>> model.encode(x).shape, model.sample(3, seed=0, temperature=0.7).shape
    ((64, 4), (3, 8))
    """

    def __init__(
        self,
        latent_dim: int = 16,
        num_blocks: int | None = None,
        width: int = 128,
        layer_weights: Sequence[Weight] | None = None,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        number = min(4, self.latent_dim) if num_blocks is None else num_blocks
        arguments.layers(self, "num_blocks", number)
        if number > self.latent_dim:
            raise ValueError(
                f"TopDownVAE: num_blocks={number} is more than latent_dim={latent_dim}, which the "
                "blocks share. Lower the former or raise the latter."
            )
        least, larger = divmod(self.latent_dim, number)
        dims = (least + 1,) * larger + (least,) * (number - larger)
        self._make_layers(dims, layer_weights)
        self.width = arguments.integer(self, "width", width)
        self.upward, self.blocks = [], []

    def _code_width(self):
        return self.width  # The encoder returns the start of the data's stream, not yet a code.

    def _build_networks(self, shape, target_shape):
        super()._build_networks(shape, target_shape)
        dtype, width = self.dtype_policy, self.width
        self.start = LearnedStart(width, dtype=dtype, name="start")
        h = stream = self.start(keras.KerasTensor((None, width)))
        for number, size in enumerate(self._layer_dims, start=1):
            up = Residual(
                self._make_mlp, width, self._stream_initializer, dtype=dtype, name=f"up_{number}"
            )
            block = TopDownBlock(
                self._make_mlp,
                size,
                width,
                self._stream_initializer,
                dtype=dtype,
                name=f"block_{number}",
            )
            stream = up(stream)
            h, _, _ = block(h, stream)
            self.upward.append(up)
            self.blocks.append(block)
        self.read_out = keras.layers.Dense(
            self.latent_dim, kernel_initializer="lecun_uniform", dtype=dtype, name="read_out"
        )
        self.read_out(h)

    def _stream_initializer(self):
        """Make the initializer of the weights whose output is added to a stream."""
        # The scale depends only on the number of inputs. If it also depended on the stream's width,
        # a narrow z would move the stream little.
        return keras.initializers.VarianceScaling(1.0 / self._num_layers, "fan_in", "uniform")

    def _evidence(self, x, training):
        features = self.encoder(x, training=training)
        stream, evidence = self.features_to_code(features, training=training), []
        for residual in self.upward:
            stream = residual(stream, training=training)
            evidence.insert(0, stream)
        return evidence

    def _infer(self, evidence, seed, training, estimate=False):
        h, draws, parts = self.start(evidence[0]), [], []
        for block, a in zip(self.blocks, evidence, strict=True):
            h, z, divergence = block(h, a, seed=seed, estimate=estimate, training=training)
            draws.append(z)
            parts.append(ops.sum(divergence, axis=-1))
        return draws, self.read_out(h), ops.stack(parts, axis=1)

    def conditional(self, z: Tensor, training: bool = False) -> Any:
        h = self.start(z)
        places = np.cumsum(self._layer_dims)[:-1].tolist()
        for block, part in zip(self.blocks, ops.split(z, places, axis=-1), strict=True):
            h = block.advance(h, part, training)
        return super().conditional(self.read_out(h), training)

    def _draw_prior(self, num_samples, seed, temperature=1.0):
        h, draws = self.start(ops.zeros((num_samples, 1))), []
        for block in self.blocks:
            h, z, _ = block(h, seed=seed, temperature=temperature)
            draws.append(z)
        return self._code(draws)
