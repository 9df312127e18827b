"""`"transformer"`: attention between the steps of a sequence or the patches of a picture."""

import math

import keras
from keras import layers

from keras_ae.core import arguments, memory
from keras_ae.layers import Conv2DTranspose
from keras_ae.networks import conv, mlp
from keras_ae.networks.maker import IMAGE, SMALLER, LayerMaker
from keras_ae.networks.options import checked_options

_OF_WHOLE_NETWORKS = ("units", "patch_size", "activity_regularizer")


def map_of(shape, options):
    """The number of tokens: time steps, or patches."""
    return shape[:1] if len(shape) == 2 else (math.prod(_patches(shape, options)),)


def encoder(make, x, grid):
    width = make.options.width
    if len(x.shape) == 4:
        size = make.options.patch_size
        missing = tuple((0, -side % size) for side in x.shape[1:3])
        if missing != ((0, 0), (0, 0)):
            x = make.layer(layers.ZeroPadding2D, "padding", missing, **IMAGE)(x)
        given = {"kernel_size": size, "strides": size, **IMAGE}
        h = make.weighted(layers.Conv2D, "patches", width, **given)(x)
        h = make.layer(layers.Reshape, "tokens", (math.prod(h.shape[1:3]), width))(h)
    else:
        h = make.weighted(layers.Dense, "tokens", width)(x)
    h = blocks(make, make.layer(LearnedPositions, "positions")(h))
    return h if grid else mlp.encoder(make, h)


def decoder(make, z, shape):
    width, (tokens,) = make.options.width, map_of(shape, make.options)
    if len(z.shape) == 3:
        h = make.weighted(layers.Dense, "grid", width)(z)
    else:
        h = mlp.dense_blocks(make, z, reversed(make.options.units))
        h = make.weighted(layers.Dense, "grid", tokens * width)(h)
        h = make.layer(layers.Reshape, "reshape", (tokens, width))(h)
    h = blocks(make, make.layer(LearnedPositions, "positions")(h))
    if len(shape) == 2:
        return make.weighted(layers.Dense, "output", shape[-1])(h)
    size = make.options.patch_size
    h = make.layer(layers.Reshape, "places", (*_patches(shape, make.options), width))(h)
    given = {"kernel_size": size, "strides": size, **IMAGE}
    h = make.weighted(Conv2DTranspose, "output", shape[-1], **given)(h)
    return conv.cropped(make, h, shape)


def blocks(make, h):
    """Blocks of attention and dense layers, each normalised before it: (batch, tokens, width)."""
    width, heads = h.shape[-1], make.options.heads
    for number in range(1, make.options.blocks + 1):
        role = f"block_{number}"
        a = make.layer(layers.LayerNormalization, f"{role}_normalization_1")(h)
        a = make.weighted(
            layers.MultiHeadAttention, f"{role}_attention", heads, max(1, width // heads)
        )(a, a)
        h = make.layer(layers.Add, f"{role}_sum_1")([h, make.dropped(a, f"{role}_attention")])
        a = make.layer(layers.LayerNormalization, f"{role}_normalization_2")(h)
        a = make.block(a, layers.Dense, f"{role}_dense_1", 4 * width)
        a = make.dropped(
            make.weighted(layers.Dense, f"{role}_dense_2", width)(a), f"{role}_dense_2"
        )
        h = make.layer(layers.Add, f"{role}_sum_2")([h, a])
    return make.layer(layers.LayerNormalization, "normalization")(h)


def _patches(shape, options):
    return tuple(math.ceil(side / options.patch_size) for side in shape[:2])


@keras.saving.register_keras_serializable("keras_ae")
class LearnedPositions(layers.Layer):
    """Tokens (batch, tokens, width) plus a learned vector for each place."""

    def build(self, tokens_shape):
        self.positions = self.add_weight(
            shape=tuple(tokens_shape[1:]),
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            name="positions",
        )

    def call(self, tokens):
        return tokens + self.positions


@memory.explains(SMALLER)
def transformer_blocks(name="blocks", dtype=None, outputs=None, **options):
    """Blocks of attention and dense layers on tokens, which have their positions already.

    Args:
        name: String, the model's name and the prefix of its layers' names.
        dtype: A dtype or dtype policy for every layer; None for Keras' global policy.
        outputs: Positive integer, the numbers that a last linear layer gives for each token.
            Default None, no such layer.
        **options: Those of `encoder` for `"transformer"`, but for `units`, `patch_size` and
            `activity_regularizer`.

    Returns:
        A `keras.Model` from (batch, tokens, width), for any number of tokens, to as many vectors of
        width or outputs numbers.

    Raises:
        ValueError: If an option is unknown or out of range.

    Example:
        >>> from keras_ae import networks
        >>> networks.transformer_blocks(width=8, outputs=3).output_shape
        (None, None, 3)
    """
    where = "networks.transformer_blocks"
    options = checked_options(where, "transformer", options, without=_OF_WHOLE_NETWORKS)
    make = LayerMaker(name, dtype, options)
    tokens = make.input((None, options.width))
    h = blocks(make, tokens)
    if outputs is not None:
        h = make.weighted(layers.Dense, "output", arguments.integer(where, "outputs", outputs))(h)
    return keras.Model(tokens, h, name=name)
