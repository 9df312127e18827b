"""The layers of convolutional networks for series, pictures and volumes."""

import functools
from types import SimpleNamespace
from typing import Any

from keras import layers

from keras_ae.layers import Conv2DTranspose, Conv3D, Conv3DTranspose

# Data has the shape (batch, ..., channels), whatever the user's Keras configuration says.
_last = functools.partial(functools.partial, data_format="channels_last")

# Number of axes between the first and the last one -> the layers for such data. Those for series
# that are not wrapped know no other order of the axes.
_LAYERS = {
    1: SimpleNamespace(
        convolution=_last(layers.Conv1D),
        transposed=_last(layers.Conv1DTranspose),
        cropping=layers.Cropping1D,
        pooling=_last(layers.MaxPooling1D),
        upsampling=layers.UpSampling1D,
    ),
    2: SimpleNamespace(
        convolution=_last(layers.Conv2D),
        transposed=_last(Conv2DTranspose),
        cropping=_last(layers.Cropping2D),
        pooling=_last(layers.MaxPooling2D),
        upsampling=_last(layers.UpSampling2D),
    ),
    3: SimpleNamespace(
        convolution=_last(Conv3D),
        transposed=_last(Conv3DTranspose),
        cropping=_last(layers.Cropping3D),
        pooling=_last(layers.MaxPooling3D),
        upsampling=_last(layers.UpSampling3D),
    ),
}


def layers_for(shape: tuple[int | None, ...]) -> Any:
    """Return the layers for data of a shape (batch, ..., channels).

    Args:
        shape: Tuple of 3 to 5 entries: that of series, pictures or volumes.

    Returns:
        A namespace of functions that make layers: `convolution`, `transposed`, `cropping`,
        `pooling` and `upsampling`.
    """
    return _LAYERS[len(shape) - 2]
