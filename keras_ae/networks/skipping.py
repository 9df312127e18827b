"""`"unet"`: convolutions at several sizes, with connections that skip the smaller ones."""

from keras import layers

from keras_ae.layers import Conv2DTranspose
from keras_ae.networks import convolutional
from keras_ae.networks.maker import IMAGE

_SAME = {"padding": "same", **IMAGE}

map_of = convolutional.map_of


def encoder(make, x, grid):
    return convolutional.encoder(make, body(make, x), grid)


def decoder(make, z, shape):
    return with_output(make, body(make, convolutional.grown(make, z, shape)), shape[-1])


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
        x = convolutional.cropped(make, x, beside.shape[1:3], f"up_{number}_crop")
        x = make.layer(layers.Concatenate, f"up_{number}_beside")([beside, x])
        x = _twice(make, x, f"up_{number}", size)
    return x


def _twice(make, x, role, size):
    for number in (1, 2):
        x = make.block(x, layers.Conv2D, f"{role}_{number}", size, kernel_size=3, **_SAME)
    return x
