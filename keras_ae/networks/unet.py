"""`"unet"`: convolutions at several sizes, with connections that skip the smaller ones."""

import keras
from keras import layers

from keras_ae.core import arguments, memory
from keras_ae.layers import Conv2DTranspose
from keras_ae.networks import conv
from keras_ae.networks.maker import IMAGE, SMALLER, LayerMaker
from keras_ae.networks.options import checked_kind, checked_options

_SAME = {"padding": "same", **IMAGE}

map_of = conv.map_of


def encoder(make, x, grid):
    return conv.encoder(make, body(make, x), grid)


def decoder(make, z, shape):
    return with_output(make, body(make, conv.grown(make, z, shape)), shape[-1])


def with_output(make, h, channels):
    return make.weighted(layers.Conv2D, "output", channels, kernel_size=1, **IMAGE)(h)


def body(make, x):
    """Down to the smallest size and up again, each time beside what was there on the way down.

    As arXiv:1505.04597, figure 1, but that the borders are padded, so that height and width stay.
    """
    filters, kept = make.options.filters, []
    for number, size in enumerate(filters, start=1):
        if kept:
            pooled = {"pool_size": 2, **_SAME}
            x = make.layer(layers.MaxPooling2D, f"down_{number}_pool", **pooled)(x)
        x = _twice(make, x, f"down_{number}", size)
        kept.append(x)
    for number in range(len(filters) - 1, 0, -1):
        size, beside = filters[number - 1], kept[number - 1]
        given = {"kernel_size": 2, "strides": 2, **IMAGE}
        x = make.weighted(Conv2DTranspose, f"up_{number}_larger", size, **given)(x)
        x = conv.cropped(make, x, beside.shape[1:3], f"up_{number}_crop")
        x = make.layer(layers.Concatenate, f"up_{number}_beside")([beside, x])
        x = _twice(make, x, f"up_{number}", size)
    return x


def _twice(make, x, role, size):
    for number in (1, 2):
        x = make.block(x, layers.Conv2D, f"{role}_{number}", size, kernel_size=3, **_SAME)
    return x


@memory.explains(SMALLER)
def unet(shape, channels=None, name="unet", dtype=None, **options):
    """A network from pictures to pictures, with connections that skip its smaller sizes.

    Two 3x3 convolutions at every size, halved by pooling and doubled by transposed convolutions,
    where the map is joined to the one of its size on the way down; then one of 1x1, linear.

    Source: Ronneberger et al., U-Net, figure 1, arXiv:1505.04597; borders are padded here.

    Args:
        shape: (height, width, channels) of a picture, of any height and width.
        channels: Positive integer, the channels of the output. Default None, the input's.
        name: String, the model's name and the prefix of its layers' names.
        dtype: A dtype or dtype policy for every layer; None for Keras' global policy.
        **options: Those of `encoder` for `"unet"`, but for `units` and `activity_regularizer`.
            `filters` are the channels at the whole size, at half of it and so on.

    Returns:
        A `keras.Model` from (batch, height, width, channels) to the same height and width.

    Raises:
        ValueError: If the shape, channels or an option is unknown or out of range.

    Example:
        >>> from keras_ae import networks
        >>> networks.unet((13, 17, 2), channels=1, filters=(4, 8)).output_shape
        (None, 13, 17, 1)
    """
    where = "networks.unet"
    shape = arguments.sizes(where, "shape", shape, "(28, 28, 1), without the batch axis")
    checked_kind(where, "unet", shape)
    channels = arguments.integer(where, "channels", shape[-1] if channels is None else channels)
    options = checked_options(where, "unet", options, without=("units", "activity_regularizer"))
    make = LayerMaker(name, dtype, options)
    x = make.input(shape)
    return keras.Model(x, with_output(make, body(make, x), channels), name=name)
