"""Data by name: embedded, generated, from TensorFlow Datasets or from your own files.

`load` returns a `tf.data.Dataset` of single float32 examples. `as_array` returns NumPy arrays, for
data that fits in memory. Both work on every Keras backend. `cut_windows` makes examples of a time
series, and `score_steps` turns scores of windows into scores of steps. `describe_columns`,
`encode_columns` and `decode_columns` make arrays of numbers of tables with text and categories.
`gather_interactions` makes a sparse matrix of users and items, and `split_users` and
`hide_interactions` split it. `moving_digits` generates videos.
"""

from keras_ae.datasets.catalog import as_array, load
from keras_ae.datasets.columns import decode_columns, describe_columns, encode_columns
from keras_ae.datasets.interactions import gather_interactions, hide_interactions, split_users
from keras_ae.datasets.moving_digits import moving_digits
from keras_ae.datasets.sprites import (
    SPRITES_FACTORS,
    sprites_factors,
    sprites_images,
    sprites_index,
)
from keras_ae.datasets.streams import dynamic_binarization
from keras_ae.datasets.windows import cut_windows, score_steps

__all__ = [
    "SPRITES_FACTORS",
    "as_array",
    "cut_windows",
    "decode_columns",
    "describe_columns",
    "dynamic_binarization",
    "encode_columns",
    "gather_interactions",
    "hide_interactions",
    "load",
    "moving_digits",
    "score_steps",
    "split_users",
    "sprites_factors",
    "sprites_images",
    "sprites_index",
]
