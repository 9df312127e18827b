"""Networks of the kind "conv", with strided convolutions and dense layers."""

import math

from keras import layers
from keras.initializers import Constant

from keras_ae.networks import mlp
from keras_ae.networks.options import MIDDLE
from keras_ae.networks.spatial import layers_for

_STRIDED = {"kernel_size": 4, "strides": 2, "padding": "same"}


def map_shape(shape, options):
    """Compute the sides of the smallest feature map, such as its height and width."""
    scale = 2 ** len(options.filters)
    return tuple(math.ceil(side / scale) for side in shape[:-1])


def encoder(make, x, grid):
    x = halve(make, x)
    return x if grid else mlp.encoder(make, x)


def halve(make, x, strided=_STRIDED):
    """Halve the sides of data once for each of `filters`.

    Args:
        make: `LayerMaker`.
        x: Data (batch, ..., channels).
        strided: Dictionary of the kernels, strides and padding of the convolutions.
    """
    convolution = layers_for(x.shape).convolution
    if make.options.centered:
        x = make.layer(layers.Rescaling, "center", 1.0, -MIDDLE)(x)
    for number, size in enumerate(make.options.filters, start=1):
        x = make.block(x, convolution, f"conv_{number}", size, **strided)
    return x


def decoder(make, z, shape):
    h = _enlarge(make, z, shape, make.options.filters[-2::-1])
    return output(make, h, shape)


def output(make, h, shape, strided=_STRIDED):
    """Double the sides of a feature map a last time, to data of the shape."""
    start = make.options.output_start
    given = {**strided, "bias_initializer": Constant(start) if start else "zeros"}
    h = make.kernel_layer(layers_for(h.shape).transposed, "output", shape[-1], **given)(h)
    return crop(make, h, shape)


def grow(make, z, shape):
    """Turn a code, or a map of codes, into a feature map with the sides of the data."""
    filters = make.options.filters
    return crop(make, _enlarge(make, z, shape, [*filters[-2::-1], filters[0]]), shape)


def _enlarge(make, z, shape, sizes):
    """Make the smallest feature map, and double its sides once for each of `sizes`.

    Args:
        make: `LayerMaker`.
        z: A code or a map of codes.
        shape: Shape of an example.
        sizes: Numbers of filters, one for each transposed convolution.
    """
    filters = make.options.filters
    places = map_shape(shape, make.options)

    if len(z.shape) == 2:
        h = mlp.dense_blocks(make, z, reversed(make.options.units))
        h = make.block(h, layers.Dense, "grid", math.prod(places) * filters[-1])
        h = make.layer(layers.Reshape, "reshape", (*places, filters[-1]))(h)
    else:
        h = make.block(z, layers_for(z.shape).convolution, "grid", filters[-1], kernel_size=1)
    return double(make, h, sizes)


def double(make, h, sizes, strided=_STRIDED):
    """Double the sides of a feature map once for each number of filters in `sizes`."""
    for number, size in enumerate(sizes, start=1):
        h = make.block(h, layers_for(h.shape).transposed, f"conv_{number}", size, **strided)
    return h


def crop(make, h, shape, role="crop"):
    """Crop the last rows and columns of a feature map to the sides of a shape.

    If a side is odd, halving and doubling it makes it too large.
    """
    # The surplus is at the end, because the "same" padding of the encoder adds an extra zero at the
    # end.
    surplus = tuple((0, side - wanted) for side, wanted in zip(h.shape[1:-1], shape, strict=False))
    if not any(extra for _, extra in surplus):
        return h
    if len(surplus) == 1:
        (surplus,) = surplus
    return make.layer(layers_for(h.shape).cropping, role, surplus)(h)
