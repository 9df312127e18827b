"""Data by name: embedded, generated, from TensorFlow Datasets or from your own files.

`load` returns a `tf.data.Dataset` of single float32 examples. `as_array` returns NumPy arrays, for
data that fits in memory. Both work on every Keras backend. `cut_windows` makes examples of a time
series, and `score_steps` turns scores of windows into scores of steps. `describe_columns`,
`encode_columns` and `decode_columns` make arrays of numbers of tables with text and categories.
`gather_interactions` makes a sparse matrix of users and items, and `split_users` and
`hide_interactions` split it. `load_audio` reads WAV files, `add_noise` makes waves noisy, and
`log_mel` and `invert_log_mel` turn them into spectrograms and back. `formant_words` makes synthetic
words, and `moving_digits` generates videos.
"""

from keras_ae.datasets.audio import (
    add_noise,
    griffin_lim,
    invert_log_mel,
    istft,
    load_audio,
    log_mel,
    stft,
)
from keras_ae.datasets.catalog import as_array, load
from keras_ae.datasets.columns import decode_columns, describe_columns, encode_columns
from keras_ae.datasets.interactions import gather_interactions, hide_interactions, split_users
from keras_ae.datasets.moving_digits import moving_digits
from keras_ae.datasets.spoken_words import WORDS, formant_words
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
    "WORDS",
    "add_noise",
    "as_array",
    "cut_windows",
    "decode_columns",
    "describe_columns",
    "dynamic_binarization",
    "encode_columns",
    "formant_words",
    "gather_interactions",
    "griffin_lim",
    "hide_interactions",
    "invert_log_mel",
    "istft",
    "load",
    "load_audio",
    "log_mel",
    "moving_digits",
    "score_steps",
    "split_users",
    "sprites_factors",
    "sprites_images",
    "sprites_index",
    "stft",
]
