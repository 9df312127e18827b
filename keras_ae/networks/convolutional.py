"""`"conv"`: strided convolutions, then dense layers."""

import math

from keras import layers

from keras_ae.networks import dense
from keras_ae.networks.maker import IMAGE

_STRIDED = {"kernel_size": 4, "strides": 2, "padding": "same", **IMAGE}


def encoder(make, x):
    for number, size in enumerate(make.options.filters, start=1):
        x = make.block(x, layers.Conv2D, f"conv_{number}", size, **_STRIDED)
    return dense.encoder(make, x)


def decoder(make, z, shape):
    filters = make.options.filters
    height, width, channels = shape
    scale = 2 ** len(filters)
    rows, columns = math.ceil(height / scale), math.ceil(width / scale)

    h = dense.dense_blocks(make, z, reversed(make.options.units))
    h = make.block(h, layers.Dense, "grid", rows * columns * filters[-1])
    h = make.layer(layers.Reshape, "reshape", (rows, columns, filters[-1]))(h)
    for number, size in enumerate(reversed(filters[:-1]), start=1):
        h = make.block(h, layers.Conv2DTranspose, f"conv_{number}", size, **_STRIDED)
    h = make.weighted(layers.Conv2DTranspose, "output", channels, **_STRIDED)(h)

    # "same" pads an odd side with its extra zero at the end, so the surplus is there too.
    surplus = (0, rows * scale - height), (0, columns * scale - width)
    if surplus == ((0, 0), (0, 0)):
        return h
    return make.layer(layers.Cropping2D, "crop", surplus, **IMAGE)(h)
