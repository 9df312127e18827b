"""`"unet"`: convolutions at several sizes, with connections that skip the smaller ones."""

from typing import Any

import keras
from keras import layers

from keras_ae.core import arguments, memory
from keras_ae.core.types import DType
from keras_ae.networks import conv
from keras_ae.networks.maker import SMALLER, LayerMaker
from keras_ae.networks.options import check_kind, check_options
from keras_ae.networks.spatial import layers_for

map_shape = conv.map_shape


def encoder(make, x, grid):
    return conv.encoder(make, body(make, x), grid)


def decoder(make, z, shape):
    return add_output(make, body(make, conv.grow(make, z, shape)), shape[-1])


def add_output(make, h, channels):
    convolution = layers_for(h.shape).convolution
    return make.kernel_layer(convolution, "output", channels, kernel_size=1)(h)


def body(make, x):
    """Apply the U-Net of arXiv:1505.04597, figure 1, to maps of features.

    The maps are halved down to the smallest size and doubled again. After each doubling they are
    concatenated with the maps of the same size from the way down. Unlike in the paper, borders are
    padded, so that the sides stay the same.
    """
    filters, kept, known = make.options.filters, [], layers_for(x.shape)
    for number, size in enumerate(filters, start=1):
        if kept:
            pooled = {"pool_size": 2, "padding": "same"}
            x = make.layer(known.pooling, f"down_{number}_pool", **pooled)(x)
        x = _two_convolutions(make, x, f"down_{number}", size)
        kept.append(x)
    for number in range(len(filters) - 1, 0, -1):
        size, skip = filters[number - 1], kept[number - 1]
        given = {"kernel_size": 2, "strides": 2}
        x = make.kernel_layer(known.transposed, f"up_{number}_larger", size, **given)(x)
        x = conv.crop(make, x, skip.shape[1:], f"up_{number}_crop")
        x = make.layer(layers.Concatenate, f"up_{number}_beside")([skip, x])
        x = _two_convolutions(make, x, f"up_{number}", size)
    return x


def _two_convolutions(make, x, role, size):
    given = {"kernel_size": 3, "padding": "same"}
    for number in (1, 2):
        x = make.block(x, layers_for(x.shape).convolution, f"{role}_{number}", size, **given)
    return x


@memory.explains(SMALLER)
def unet(
    shape: tuple[int, ...],
    channels: int | None = None,
    name: str = "unet",
    dtype: DType | None = None,
    **options: Any,
) -> keras.Model:
    """Make a network from pictures to pictures, with connections that skip its smaller sizes.

    There are two convolutions at every size, with kernels of 3 positions along every axis. Pooling
    halves the sides, and transposed convolutions double them. After each doubling, the map is
    concatenated with the map of the same size from the way down. The last layer is a linear
    convolution whose kernel is one position. Series and volumes are possible, too.

    Source: Ronneberger et al., U-Net, figure 1, arXiv:1505.04597. Unlike there, borders are padded.

    Args:
        shape: (height, width, channels) of a picture, or the shape of a series or of a volume as
            in `encoder`, with sides of any size.
        channels: Positive integer, the channels of the output. Default None, the input's.
        name: String, the model's name and the prefix of its layers' names.
        dtype: A dtype or dtype policy for every layer; None for Keras' global policy.
        **options: Options of `encoder` for `"unet"`, except `units` and `activity_regularizer`.
            `filters` are the channels at the whole size, at half the size and so on. Default
            (32, 64) for any size.

    Returns:
        A `keras.Model` from (batch, *shape) to data with the same sides.

    Raises:
        ValueError: If the shape, channels or an option is unknown or out of range.

    Example:
        >>> from keras_ae import networks
        >>> networks.unet((13, 17, 2), channels=1, filters=(4, 8)).output_shape
        (None, 13, 17, 1)
    """
    where = "networks.unet"
    shape = arguments.sizes(where, "shape", shape, "(28, 28, 1), without the batch axis")
    check_kind(where, "unet", shape)
    channels = arguments.integer(where, "channels", shape[-1] if channels is None else channels)
    options = check_options(where, "unet", options, without=("units", "activity_regularizer"))
    make = LayerMaker(name, dtype, options)
    x = make.input(shape)
    return make.network(x, add_output(make, body(make, x), channels))
