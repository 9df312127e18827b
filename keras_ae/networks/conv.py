"""Networks of the kind "conv", with strided convolutions and dense layers."""

import math

from keras import layers

from keras_ae.layers import Conv2DTranspose
from keras_ae.networks import mlp
from keras_ae.networks.maker import IMAGE

_STRIDED = {"kernel_size": 4, "strides": 2, "padding": "same", **IMAGE}


def map_shape(shape, options):
    """Compute the height and width of the smallest feature map."""
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
    """Turn a code, or a map of codes, into a feature map with the data's height and width."""
    filters = make.options.filters
    return crop(make, _enlarge(make, z, shape, [*filters[-2::-1], filters[0]]), shape)


def _enlarge(make, z, shape, sizes):
    """Make the smallest feature map, and double its height and width once for each of `sizes`.

    Args:
        make: `LayerMaker`.
        z: A code or a map of codes.
        shape: Shape of an example.
        sizes: Numbers of filters, one for each transposed convolution.
    """
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
    """Crop the last rows and columns of a feature map to the height and width of a shape.

    If a height or width is odd, halving and doubling it makes it too large.
    """
    # The surplus is at the end, because the "same" padding of the encoder adds an extra zero at the
    # end.
    surplus = tuple((0, side - wanted) for side, wanted in zip(h.shape[1:3], shape, strict=False))
    if surplus == ((0, 0), (0, 0)):
        return h
    return make.layer(layers.Cropping2D, role, surplus, **IMAGE)(h)
