"""`"mlp"`: dense layers on the flattened data."""

import math
from collections.abc import Sequence

import keras
from keras import layers

from keras_ae.core import arguments, memory
from keras_ae.core.types import DType
from keras_ae.networks.maker import IMAGE, SMALLER, LayerMaker
from keras_ae.networks.options import check_options


def dense_blocks(make, h, units):
    for number, size in enumerate(units, start=1):
        h = make.block(h, layers.Dense, f"dense_{number}", size)
    return h


def map_shape(shape, options):
    return None  # The decoder flattens maps of any shape.


def encoder(make, x, grid=False):
    return dense_blocks(make, make.layer(layers.Flatten, "flatten", **IMAGE)(x), make.options.units)


def decoder(make, z, shape):
    h = z if len(z.shape) == 2 else make.layer(layers.Flatten, "flatten", **IMAGE)(z)
    h = dense_blocks(make, h, reversed(make.options.units))
    h = make.kernel_layer(layers.Dense, "output", math.prod(shape))(h)
    return h if len(shape) == 1 else make.layer(layers.Reshape, "reshape", shape)(h)


@memory.explains(SMALLER)
def discriminator(
    width: int,
    outputs: int = 1,
    units: Sequence[int] = (256, 256, 256),
    name: str = "discriminator",
    dtype: DType | None = None,
) -> keras.Model:
    """Make an MLP with leaky ReLUs (slope 0.2) that tells two kinds of vectors apart.

    The adversary of arXiv:1802.05983 (appendix A: six layers of 1,000 units and two logits) is
    `discriminator(latent_dim, outputs=2, units=(1000,) * 6)`.

    Args:
        width: Positive integer, the width of the vectors.
        outputs: Positive integer, the number of logits. Default 1.
        units: Tuple of positive integers, the sizes of the hidden layers. Default (256, 256, 256).
        name: String, the model's name and the prefix of its layers' names.
        dtype: A dtype or dtype policy for every layer; None for Keras' global policy.

    Returns:
        A `keras.Model` from (batch, width) to (batch, outputs), linear at the end.

    Raises:
        ValueError: If a size is not a positive integer.

    Example:
        >>> from keras_ae import networks
        >>> networks.discriminator(8, outputs=2, units=(64, 64)).output_shape
        (None, 2)
    """
    where = "networks.discriminator"
    width = arguments.integer(where, "width", width)
    outputs = arguments.integer(where, "outputs", outputs)
    options = check_options(where, "mlp", {"units": units, "activation": "leaky_relu"})
    make = LayerMaker(name, dtype, options)
    x = make.input((width,))
    hidden = dense_blocks(make, x, options.units)
    return make.network(x, make.kernel_layer(layers.Dense, "output", outputs)(hidden))
