"""`"conv_recurrent"`: convolutions on every frame of a video, and GRU or LSTM layers over time."""

import math

from keras import layers

from keras_ae.networks import conv, recurrent

# With kernels of one frame, a convolution of volumes applies the same weights to every frame. It is
# as fast as a convolution of pictures that takes all frames as one batch.
_FRAMEWISE = {"kernel_size": (1, 4, 4), "strides": (1, 2, 2), "padding": "same"}
# Only with this activation do the cells have a fused GPU kernel.
_CELL = {"activation": "tanh"}


def map_shape(shape, options):
    return shape[:1]


def encoder(make, x, grid):
    h = conv.halve(make, x, _FRAMEWISE)
    h = make.layer(layers.Reshape, "frames", (h.shape[1], math.prod(h.shape[2:])))(h)
    return recurrent.summarize(make, h, grid, **_CELL)


def decoder(make, z, shape):
    frames, filters = shape[0], make.options.filters
    places = conv.map_shape(shape[1:], make.options)
    h = recurrent.unroll(make, z, frames, **_CELL)
    h = make.block(h, layers.Dense, "grid", math.prod(places) * filters[-1])
    h = make.layer(layers.Reshape, "frames", (frames, *places, filters[-1]))(h)
    h = conv.double(make, h, filters[-2::-1], _FRAMEWISE)
    return conv.output(make, h, shape, _FRAMEWISE)
