"""Masked autoencoders: He et al. 2021, arXiv:2111.06377."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae import networks
from keras_ae.core import arguments, memory
from keras_ae.core.batching import batched
from keras_ae.core.configuration import refuse_unused
from keras_ae.core.types import Array, ArrayOrTensor, Tensor
from keras_ae.layers import from_patches, patch_places, sine_cosine_positions, to_patches
from keras_ae.models.deterministic.ae import AE
from keras_ae.networks.fitting import symbolic_call
from keras_ae.samplers import CodeDensity


class MaskedAE(AE):
    """A small vision transformer that predicts patches which its encoder did not see.

    In every step the encoder reads a random selection of each example's patches, with their
    positions. The decoder reads the codes of these patches. The other patches are masked: the
    decoder reads the same learned token at all of their positions. `reconstruction_loss` is summed
    only over the masked patches.

    `encode` masks nothing, so that a code has one token for each patch. `decode` predicts every
    patch from the codes of other patches, because the decoder has learned only this. Therefore
    `decode` divides the patches into fixed groups and runs the decoder once for each group. In each
    run, the decoder sees the codes of one group. If most patches are visible in training, it sees
    the codes of all other groups instead. The prediction of a patch is the mean over all runs that
    hide its code.

    Args:
        latent_dim: Number of dimensions of each token that the decoder reads. Defaults to 32.
        patch_size: Side of a patch in pixels. In a vector or a sequence, it is the number of
            elements or steps in a patch. It must divide the height and the width of the data, or
            its length. Defaults to 4.
        mask_ratio: Fraction of the patches that are masked, a number between 0 and 1. At least one
            patch is masked and one is visible. Defaults to 0.75.
        normalized_targets: Whether the model predicts each patch minus its mean, divided by its
            standard deviation. In the paper, this gives better features. `decode` then returns
            patches that are normalized in this way. Defaults to False.
        decoder_blocks: Number of transformer blocks in the decoder, a positive integer. Defaults to
            1.
        encoder: Keras model that computes features of shape (batch, tokens, features) from tokens
            of shape (batch, tokens, width). It must take any number of tokens. Defaults to None, a
            transformer.
        decoder: Keras model that computes the values of each patch from tokens of shape
            (batch, patches, latent_dim). Defaults to None, a transformer with a linear layer.
        network_options: Dictionary of options of `keras_ae.networks.transformer_blocks`, such as
            `{"width": 128, "blocks": 4}`. Defaults to None.
        reconstruction_loss, seed: See `keras_ae.AE`. The loss is applied to each patch.

    Raises:
        ValueError: If an argument is out of range, or patches do not fill the data exactly.

    Example:

    >>> import numpy as np
    >>> from keras_ae import MaskedAE
    >>> model = MaskedAE(latent_dim=4, network_options={"width": 8, "blocks": 1}, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).random((16, 8, 8, 1), "float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> model.encode(x).shape, model.reconstruct(x).shape
    ((16, 4, 4), (16, 8, 8, 1))
    """

    _encodes_corrupted = True
    _may_compare_examples = False
    _old_arguments = {"normalised_targets": "normalized_targets"}

    def __init__(
        self,
        latent_dim: int = 32,
        patch_size: int = 4,
        mask_ratio: float = 0.75,
        normalized_targets: bool = False,
        decoder_blocks: int = 1,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        for name in ("encoder", "decoder"):
            kind = getattr(self, name)
            if isinstance(kind, str) and kind != "transformer":
                raise ValueError(
                    f"MaskedAE: {name}={kind!r} cannot leave patches out. Pass 'transformer', or a "
                    "Keras model of tokens."
                )
        self.patch_size = arguments.integer(self, "patch_size", patch_size)
        self.mask_ratio = arguments.number(
            self, "mask_ratio", mask_ratio, positive=True, below=1, fixed=True
        )
        self.decoder_blocks = arguments.layers(self, "decoder_blocks", decoder_blocks)
        self.normalized_targets = arguments.flag(self, "normalized_targets", normalized_targets)
        if normalized_targets and self._decoder_activation != "linear":
            raise ValueError(
                f"MaskedAE: normalized_targets={normalized_targets!r} makes some targets negative, "
                f"but {self._loss_name()} needs a decoder that ends in a "
                f"{self._decoder_activation}. Choose 'mean_squared_error'."
            )

    @property
    def code_shape(self) -> tuple[int, ...]:
        return (self._num_patches, self.latent_dim)

    def _build_networks(self, shape, target_shape):
        self._check_shapes(shape, target_shape)
        places = patch_places(shape, self.patch_size)
        self._num_patches = len(places)
        masked = round(self.mask_ratio * self._num_patches)
        self._num_visible = self._num_patches - min(max(masked, 1), self._num_patches - 1)
        self._shown = _choose_groups(self._num_patches, self._num_visible)
        dtype, options = self.dtype_policy, {"dtype": self.dtype_policy, **self.network_options}
        values = math.prod(shape) // self._num_patches
        if self.encoder is None or isinstance(self.encoder, str):
            self.encoder = networks.transformer_blocks(name="encoder", **options)
        if self.decoder is None or isinstance(self.decoder, str):
            own = {"width": self.latent_dim, "blocks": self.decoder_blocks, "outputs": values}
            self.decoder = networks.transformer_blocks(name="decoder", **{**options, **own})
        width = getattr(self.encoder, "input_shape", (None,))[-1]
        if not isinstance(width, int):  # If there are several inputs, this is a shape.
            raise ValueError(
                "MaskedAE: the width of the encoder's tokens is unknown. Begin the encoder with "
                "one keras.Input((None, width))."
            )
        self.patch_to_token = keras.layers.Dense(width, dtype=dtype, name="patch_to_token")
        self.patch_to_token.build((None, self._num_patches, values))
        self.features_to_code = keras.layers.Dense(self.latent_dim, dtype=dtype, name="code")
        self._mask_token = self.add_weight(
            shape=(self.latent_dim,),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            dtype="float32",
            name="mask_token",
        )
        self._fit_networks(shape, target_shape)
        self._positions = sine_cosine_positions(places, width)
        self._code_positions = sine_cosine_positions(places, self.latent_dim)
        self.sampler = CodeDensity(self.code_shape, name="sampler")

    def _check_given(self):
        super()._check_given()
        width = self._vector_width()
        if self._takes_classes and width != self._target_shape[-1]:
            raise ValueError(
                f"MaskedAE: {self._loss_name()} needs the probabilities of "
                f"{self._target_shape[-1]} classes, but a patch of data of shape "
                f"{self._target_shape} has {width} numbers. "
                "Set patch_size=1, or choose 'binary_crossentropy'."
            )
        if isinstance(self.arguments["decoder"], keras.layers.Layer):
            refuse_unused(self, "decoder_blocks", "the decoder was given")

    def _vector_width(self):
        return math.prod(self._target_shape) // self._num_patches

    def _batch_numbers(self, batch_size):
        # The networks accept any number of tokens, so their layers' shapes do not include it.
        per_token = sum(memory.numbers_of_layers(n)[1] for n in (self.encoder, self.decoder))
        num_heads = sum(
            layer.num_heads
            for network in (self.encoder, self.decoder)
            for layer in network._flatten_layers(include_self=False)
            if isinstance(layer, keras.layers.MultiHeadAttention)
        )
        return batch_size * self._num_patches * (per_token + num_heads * self._num_patches)

    def _decoder_input_shape(self):
        return self.code_shape

    def _check_shapes(self, shape, target_shape):
        if tuple(target_shape) != tuple(shape):
            raise ValueError(
                f"MaskedAE: the target has shape {target_shape}, but the model predicts patches "
                f"of data of shape {shape}. Call fit(x) without a target, or pass a target of x's "
                "shape."
            )
        sides = shape[:2] if len(shape) == 3 else shape[:1]
        filled = len(shape) <= 3 and all(side % self.patch_size == 0 for side in sides)
        if not filled or math.prod(sides) == self.patch_size ** len(sides):
            raise ValueError(
                f"MaskedAE: patch_size={self.patch_size} must divide the sides {sides} of x, whose "
                f"examples have the shape {shape}, into at least two patches. Choose another size, "
                "or pad x."
            )

    def _fit_networks(self, shape, target_shape):
        tokens = (None, self._num_patches, self.encoder.input_shape[-1])
        self.features_to_code(symbolic_call(self, "encoder", self.encoder, tokens))
        output = symbolic_call(self, "decoder", self.decoder, (None, *self.code_shape))
        expected = (self._num_patches, math.prod(shape) // self._num_patches)
        if tuple(output.shape[1:]) != expected:
            raise ValueError(
                f"MaskedAE: the decoder returns {tuple(output.shape[1:])} for tokens of shape "
                f"{self.code_shape}. Pass a decoder that returns {expected}."
            )

    def _targets(self, y):
        """Compute the target of every patch, shape (batch, patches, values)."""
        patches = to_patches(y, self.patch_size)
        if not self.normalized_targets:
            return patches
        centered = patches - ops.mean(patches, axis=-1, keepdims=True)
        return centered * ops.rsqrt(ops.mean(ops.square(centered), axis=-1, keepdims=True) + 1e-6)

    def _draw_order(self, num_examples, seed):
        """Draw an order of each example's patches. The first `_num_visible` of them are visible."""
        shape = (num_examples, self._num_patches)
        return ops.argsort(keras.random.uniform(shape, dtype="float32", seed=seed), axis=-1)

    def _embed_patches(self, x):
        """Embed the patches of x and add their positions, shape (batch, patches, width)."""
        return ops.add(self.patch_to_token(to_patches(x, self.patch_size)), self._positions)

    def _encode_tokens(self, tokens, training):
        """Compute the codes of tokens, shape (batch, tokens, latent_dim)."""
        features = self.encoder(tokens, training=training)
        return ops.cast(self.features_to_code(features), "float32")

    def _code(self, x, training=False):
        return self._encode_tokens(self._embed_patches(x), training)

    def _predict_patches(self, z, training):
        """Predict all patches from codes and mask tokens z, shape (batch, patches, latent_dim)."""
        output = self.decoder(ops.add(z, self._code_positions), training=training)
        return keras.activations.get(self._decoder_activation)(ops.cast(output, "float32"))

    @batched("code")
    def decode(self, z: Array | Tensor, training: bool = False) -> ArrayOrTensor:
        shown = self._shown[:, :, None]  # (groups, patches, 1)
        tokens = ops.where(shown, z[:, None], ops.cast(self._mask_token, "float32"))
        output = self._predict_patches(ops.reshape(tokens, (-1, *self.code_shape)), training)
        output = ops.reshape(output, (-1, len(shown), self._num_patches, output.shape[-1]))
        # A run has no weight at the patches that it shows.
        weights = (~shown / np.sum(~shown, axis=0)).astype("float32")
        patches = ops.sum(ops.multiply(output, weights), axis=1)
        return from_patches(patches, self._data_shape, self.patch_size)

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        order = self._draw_order(ops.shape(x)[0], self.step_seed(training))
        rank = ops.argsort(order, axis=-1)  # This is the position of each patch in the order.
        visible = order[:, : self._num_visible, None]
        seen = self._encode_tokens(
            ops.take_along_axis(self._embed_patches(x), visible, axis=1), training
        )
        token = ops.cast(self._mask_token, "float32")
        hidden = ops.zeros_like(order[:, self._num_visible :, None], dtype="float32") + token
        z = ops.take_along_axis(ops.concatenate([seen, hidden], axis=1), rank[:, :, None], axis=1)
        masked = ops.cast(rank >= self._num_visible, "float32")
        if training:
            self._update_density(seen, x)
        losses = self._loss_per_part(self._targets(y), self._predict_patches(z, training))
        return {"reconstruction_loss": ops.sum(losses * masked, axis=-1)}


def _choose_groups(num_patches, num_visible):
    """Choose which patches each run of the decoder in `decode` shows.

    Returns:
        Boolean array of shape (runs, patches). Every patch is hidden in at least one run.
    """
    show_one_group = 2 * num_visible <= num_patches
    group_size = num_visible if show_one_group else num_patches - num_visible
    # NumPy guarantees that this old generator never changes its numbers, so that a saved model has
    # the same groups with every version of NumPy.
    order = np.random.RandomState(0).permutation(num_patches)
    groups = np.zeros((max(2, round(num_patches / group_size)), num_patches), bool)
    for group, members in zip(groups, np.array_split(order, len(groups)), strict=True):
        group[members] = True
    return groups if show_one_group else ~groups
