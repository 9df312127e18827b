"""`"conv"`: strided convolutions, then dense layers."""

import math

from keras import layers

from keras_ae.layers import Conv2DTranspose
from keras_ae.networks import mlp
from keras_ae.networks.maker import IMAGE

_STRIDED = {"kernel_size": 4, "strides": 2, "padding": "same", **IMAGE}


def map_shape(shape, options):
    """Compute the height and width of the smallest map of features."""
    scale = 2 ** len(options.filters)
    return tuple(math.ceil(side / scale) for side in shape[:2])


def encoder(make, x, grid):
    for number, size in enumerate(make.options.filters, start=1):
        x = make.block(x, layers.Conv2D, f"conv_{number}", size, **_STRIDED)
    return x if grid else mlp.encoder(make, x)


def decoder(make, z, shape):
    h = _enlarge(make, z, shape, make.options.filters[-2::-1])
    h = make.kernel_layer(Conv2DTranspose, "output", shape[-1], **_STRIDED)(h)
    return crop(make, h, shape)


def grow(make, z, shape):
    """Turn a code, or a map of codes, into a map of features of the data's height and width."""
    filters = make.options.filters
    return crop(make, _enlarge(make, z, shape, [*filters[-2::-1], filters[0]]), shape)


def _enlarge(make, z, shape, sizes):
    """Make the smallest map of features, and double its height and width once for each size."""
    filters = make.options.filters
    rows, columns = map_shape(shape, make.options)

    if len(z.shape) == 2:
        h = mlp.dense_blocks(make, z, reversed(make.options.units))
        h = make.block(h, layers.Dense, "grid", rows * columns * filters[-1])
        h = make.layer(layers.Reshape, "reshape", (rows, columns, filters[-1]))(h)
    else:
        h = make.block(z, layers.Conv2D, "grid", filters[-1], kernel_size=1, **IMAGE)
    for number, size in enumerate(sizes, start=1):
        h = make.block(h, Conv2DTranspose, f"conv_{number}", size, **_STRIDED)
    return h


def crop(make, h, shape, role="crop"):
    """Crop the surplus that an odd height or width got by doubling."""
    # The encoder's "same" padding puts the extra zero of an odd side at its end, so that the
    # surplus is at the end, too.
    surplus = tuple((0, side - wanted) for side, wanted in zip(h.shape[1:3], shape, strict=False))
    if surplus == ((0, 0), (0, 0)):
        return h
    return make.layer(layers.Cropping2D, role, surplus, **IMAGE)(h)
