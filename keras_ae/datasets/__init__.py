"""Data by name: embedded, generated, from TensorFlow Datasets or from your own files.

Everything comes as a `tf.data.Dataset` of single float32 examples (`load`) or, where it fits in
memory, as NumPy arrays (`as_array`), on every Keras backend.
"""

from keras_ae.datasets.catalogue import as_array, load
from keras_ae.datasets.sprites import (
    SPRITES_FACTORS,
    sprites_factors,
    sprites_images,
    sprites_index,
)
from keras_ae.datasets.streams import dynamic_binarization

__all__ = [
    "SPRITES_FACTORS",
    "as_array",
    "dynamic_binarization",
    "load",
    "sprites_factors",
    "sprites_images",
    "sprites_index",
]
