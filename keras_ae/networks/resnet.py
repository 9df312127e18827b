"""`"resnet"`: residual blocks with strided convolutions, then dense layers."""

import math

from keras import layers

from keras_ae.networks import conv, mlp
from keras_ae.networks.spatial import layers_for

_CONVOLUTION = {"kernel_size": 3, "padding": "same"}

map_shape = conv.map_shape


def encoder(make, x, grid):
    filters = make.options.filters
    h = make.kernel_layer(layers_for(x.shape).convolution, "stem", filters[0], **_CONVOLUTION)(x)
    for stage, size in enumerate(filters, start=1):
        for number in range(1, make.options.blocks + 1):
            strides = 2 if number == 1 else 1
            h = _residual_block(make, h, f"block_{stage}_{number}", size, strides=strides)
    h = make.dropout(_activate(make, h, "last"), "last")
    return h if grid else mlp.encoder(make, h)


def decoder(make, z, shape):
    filters = make.options.filters
    h = _make_first_map(make, z, (*map_shape(shape, make.options), filters[-1]))
    for stage, size in enumerate([*filters[-2::-1], filters[0]], start=1):
        for number in range(1, make.options.blocks + 1):
            last = number == make.options.blocks
            name = f"block_{stage}_{number}"
            h = _residual_block(make, h, name, size if last else h.shape[-1], larger=last)
    h = make.dropout(_activate(make, h, "last"), "last")
    convolution = layers_for(h.shape).convolution
    h = make.kernel_layer(convolution, "output", shape[-1], **_CONVOLUTION)(h)
    return conv.crop(make, h, shape)


def _make_first_map(make, z, shape):
    """Make the decoder's smallest map, without activation, because a block begins with one."""
    if len(z.shape) > 2:
        convolution = layers_for(z.shape).convolution
        return make.kernel_layer(convolution, "grid", shape[-1], kernel_size=1)(z)
    h = mlp.dense_blocks(make, z, reversed(make.options.units))
    h = make.kernel_layer(layers.Dense, "grid", math.prod(shape))(h)
    return make.layer(layers.Reshape, "reshape", shape)(h)


def _residual_block(make, x, role, size, strides=1, larger=False):
    """Add convolutions of x to x (arXiv:1603.05027), and halve or double the sides of the map.

    If the shape changes, x is added after a 1x1 convolution (arXiv:1512.03385).
    """
    known = layers_for(x.shape)

    def resize(h, role):
        return make.layer(known.upsampling, role)(h) if larger else h

    h = resize(_activate(make, x, f"{role}_1"), f"{role}_1_larger")
    h = make.kernel_layer(known.convolution, f"{role}_1", size, strides=strides, **_CONVOLUTION)(h)
    h = make.dropout(_activate(make, h, f"{role}_2"), f"{role}_2")
    h = make.kernel_layer(known.convolution, f"{role}_2", size, **_CONVOLUTION)(h)
    x = resize(x, f"{role}_larger")
    if strides > 1 or x.shape[-1] != size:
        given = {"kernel_size": 1, "strides": strides, "padding": "same"}
        x = make.kernel_layer(known.convolution, f"{role}_shortcut", size, **given)(x)
    return make.layer(layers.Add, f"{role}_sum")([x, h])


def _activate(make, h, role):
    """Apply normalization and the activation.

    The default is normalization over groups of channels, which works for batches of any size.
    """
    if make.options.batch_normalization:
        h = make.batch_normalization(h, role)
    else:
        channels = h.shape[-1]
        # A group has at least eight channels if there are as many: a single channel of a map with
        # one position would always be normalized to zero.
        groups = math.gcd(channels, max(1, channels // 8))
        h = make.layer(layers.GroupNormalization, f"{role}_normalization", groups)(h)
    return make.layer(layers.Activation, f"{role}_activation", make.options.activation)(h)
