"""`"mlp"`: dense layers on the data flattened."""

import math

from keras import layers

from keras_ae.networks.maker import IMAGE


def dense_blocks(make, h, units):
    for number, size in enumerate(units, start=1):
        h = make.block(h, layers.Dense, f"dense_{number}", size)
    return h


def map_of(shape, options):
    return None  # Any will do.


def encoder(make, x, grid=False):
    return dense_blocks(make, make.layer(layers.Flatten, "flatten", **IMAGE)(x), make.options.units)


def decoder(make, z, shape):
    h = z if len(z.shape) == 2 else make.layer(layers.Flatten, "flatten", **IMAGE)(z)
    h = dense_blocks(make, h, reversed(make.options.units))
    h = make.weighted(layers.Dense, "output", math.prod(shape))(h)
    return h if len(shape) == 1 else make.layer(layers.Reshape, "reshape", shape)(h)
