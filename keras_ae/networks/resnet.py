"""`"resnet"`: residual blocks with strided convolutions, then dense layers."""

import math

from keras import layers

from keras_ae.networks import conv, mlp
from keras_ae.networks.maker import IMAGE

_CONVOLUTION = {"kernel_size": 3, "padding": "same", **IMAGE}

map_of = conv.map_of


def encoder(make, x, grid):
    filters = make.options.filters
    h = make.weighted(layers.Conv2D, "stem", filters[0], **_CONVOLUTION)(x)
    for stage, size in enumerate(filters, start=1):
        for number in range(1, make.options.blocks + 1):
            strides = 2 if number == 1 else 1
            h = _residual(make, h, f"block_{stage}_{number}", size, strides=strides)
    h = make.dropped(_activated(make, h, "last"), "last")
    return h if grid else mlp.encoder(make, h)


def decoder(make, z, shape):
    filters = make.options.filters
    h = _first_map(make, z, (*map_of(shape, make.options), filters[-1]))
    for stage, size in enumerate([*filters[-2::-1], filters[0]], start=1):
        for number in range(1, make.options.blocks + 1):
            last = number == make.options.blocks
            name = f"block_{stage}_{number}"
            h = _residual(make, h, name, size if last else h.shape[-1], larger=last)
    h = make.dropped(_activated(make, h, "last"), "last")
    h = make.weighted(layers.Conv2D, "output", shape[-1], **_CONVOLUTION)(h)
    return conv.cropped(make, h, shape)


def _first_map(make, z, shape):
    """The smallest map of the decoder, linear: a block begins with the activation."""
    if len(z.shape) > 2:
        return make.weighted(layers.Conv2D, "grid", shape[-1], kernel_size=1, **IMAGE)(z)
    h = mlp.dense_blocks(make, z, reversed(make.options.units))
    h = make.weighted(layers.Dense, "grid", math.prod(shape))(h)
    return make.layer(layers.Reshape, "reshape", shape)(h)


def _residual(make, x, role, size, strides=1, larger=False):
    """x + convolutions of x, at half the height and width or twice of them: arXiv:1603.05027.

    Where the shape changes a convolution of one place takes x along (arXiv:1512.03385).
    """

    def resized(h, role):
        return make.layer(layers.UpSampling2D, role, **IMAGE)(h) if larger else h

    h = resized(_activated(make, x, f"{role}_1"), f"{role}_1_larger")
    h = make.weighted(layers.Conv2D, f"{role}_1", size, strides=strides, **_CONVOLUTION)(h)
    h = make.dropped(_activated(make, h, f"{role}_2"), f"{role}_2")
    h = make.weighted(layers.Conv2D, f"{role}_2", size, **_CONVOLUTION)(h)
    x = resized(x, f"{role}_larger")
    if strides > 1 or x.shape[-1] != size:
        given = {"kernel_size": 1, "strides": strides, "padding": "same", **IMAGE}
        x = make.weighted(layers.Conv2D, f"{role}_shortcut", size, **given)(x)
    return make.layer(layers.Add, f"{role}_sum")([x, h])


def _activated(make, h, role):
    """The map normalised in groups of channels, as it suits a batch of any size, and activated."""
    if make.options.batch_normalization:
        h = make.normalized(h, role)
    else:
        channels = h.shape[-1]
        # At least eight channels a group: one alone, of a map of one place, would always be zero.
        groups = math.gcd(channels, max(1, channels // 8))
        h = make.layer(layers.GroupNormalization, f"{role}_normalization", groups)(h)
    return make.layer(layers.Activation, f"{role}_activation", make.options.activation)(h)
