"""`"transformer"`: attention between the steps of a sequence or the patches of a picture."""

import math
from typing import Any

import keras
from keras import layers

from keras_ae.core import arguments, memory
from keras_ae.core.types import DType
from keras_ae.layers import Conv2DTranspose
from keras_ae.networks import conv, mlp
from keras_ae.networks.maker import IMAGE, SMALLER, LayerMaker
from keras_ae.networks.options import check_options

_NETWORK_OPTIONS = ("units", "patch_size", "activity_regularizer")


def map_shape(shape, options):
    """Compute the number of tokens: time steps or patches."""
    return shape[:1] if len(shape) == 2 else (math.prod(_count_patches(shape, options)),)


def encoder(make, x, grid):
    width = make.options.width
    if len(x.shape) == 4:
        size = make.options.patch_size
        missing = tuple((0, -side % size) for side in x.shape[1:3])
        if missing != ((0, 0), (0, 0)):
            x = make.layer(layers.ZeroPadding2D, "padding", missing, **IMAGE)(x)
        given = {"kernel_size": size, "strides": size, **IMAGE}
        h = make.kernel_layer(layers.Conv2D, "patches", width, **given)(x)
        h = make.layer(layers.Reshape, "tokens", (math.prod(h.shape[1:3]), width))(h)
    else:
        h = make.kernel_layer(layers.Dense, "tokens", width)(x)
    h = blocks(make, make.layer(LearnedPositions, "positions")(h))
    return h if grid else mlp.encoder(make, h)


def decoder(make, z, shape):
    width, (tokens,) = make.options.width, map_shape(shape, make.options)
    if len(z.shape) == 3:
        h = make.kernel_layer(layers.Dense, "grid", width)(z)
    else:
        h = mlp.dense_blocks(make, z, reversed(make.options.units))
        h = make.kernel_layer(layers.Dense, "grid", tokens * width)(h)
        h = make.layer(layers.Reshape, "reshape", (tokens, width))(h)
    h = blocks(make, make.layer(LearnedPositions, "positions")(h))
    if len(shape) == 2:
        return make.kernel_layer(layers.Dense, "output", shape[-1])(h)
    size = make.options.patch_size
    h = make.layer(layers.Reshape, "places", (*_count_patches(shape, make.options), width))(h)
    given = {"kernel_size": size, "strides": size, **IMAGE}
    h = make.kernel_layer(Conv2DTranspose, "output", shape[-1], **given)(h)
    return conv.crop(make, h, shape)


def blocks(make, h):
    """Apply blocks of attention and dense layers, with normalization before each of them.

    h and the result have the shape (batch, tokens, width).
    """
    width, heads = h.shape[-1], make.options.heads
    for number in range(1, make.options.blocks + 1):
        role = f"block_{number}"
        a = make.layer(layers.LayerNormalization, f"{role}_normalization_1")(h)
        a = make.kernel_layer(
            layers.MultiHeadAttention, f"{role}_attention", heads, max(1, width // heads)
        )(a, a)
        h = make.layer(layers.Add, f"{role}_sum_1")([h, make.dropout(a, f"{role}_attention")])
        a = make.layer(layers.LayerNormalization, f"{role}_normalization_2")(h)
        a = make.block(a, layers.Dense, f"{role}_dense_1", 4 * width)
        a = make.dropout(
            make.kernel_layer(layers.Dense, f"{role}_dense_2", width)(a), f"{role}_dense_2"
        )
        h = make.layer(layers.Add, f"{role}_sum_2")([h, a])
    return make.layer(layers.LayerNormalization, "normalization")(h)


def _count_patches(shape, options):
    return tuple(math.ceil(side / options.patch_size) for side in shape[:2])


@keras.saving.register_keras_serializable("keras_ae")
class LearnedPositions(layers.Layer):
    """Adds a learned vector for each position to tokens (batch, tokens, width)."""

    def build(self, tokens_shape):
        self.positions = self.add_weight(
            shape=tuple(tokens_shape[1:]),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            name="positions",
        )

    def call(self, tokens):
        return tokens + self.positions


@memory.explains(SMALLER)
def transformer_blocks(
    name: str = "blocks", dtype: DType | None = None, outputs: int | None = None, **options: Any
) -> keras.Model:
    """Make blocks of attention and dense layers for tokens that already include their positions.

    Args:
        name: String, the model's name and the prefix of its layers' names.
        dtype: A dtype or dtype policy for every layer; None for Keras' global policy.
        outputs: Positive integer, the width of a last linear layer. Default None, no such layer.
        **options: Options of `encoder` for `"transformer"`, except `units`, `patch_size` and
            `activity_regularizer`.

    Returns:
        A `keras.Model` from (batch, tokens, width), for any number of tokens, to
        (batch, tokens, outputs), or to (batch, tokens, width) without outputs.

    Raises:
        ValueError: If an option is unknown or out of range.

    Example:
        >>> from keras_ae import networks
        >>> networks.transformer_blocks(width=8, outputs=3).output_shape
        (None, None, 3)
    """
    where = "networks.transformer_blocks"
    options = check_options(where, "transformer", options, without=_NETWORK_OPTIONS)
    make = LayerMaker(name, dtype, options)
    tokens = make.input((None, options.width))
    h = blocks(make, tokens)
    if outputs is not None:
        h = make.kernel_layer(layers.Dense, "output", arguments.integer(where, "outputs", outputs))(
            h
        )
    return make.network(tokens, h)
