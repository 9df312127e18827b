"""Kinds of bad input, and what is right for each of them.

What is right for a kind is one of these:

- a list of words: an error of this package that contains them. "a|b" stands for one of two words.
- SAME: the kind is odd but means the same as the clean data, and so is the result.
- EITHER: an error of this package, or a result that is finite.
- OWN: the error that the user's own code raised comes through as it is.
- a function of a `judge.Case` that returns one of these.
"""

import array
import collections
import itertools
import pathlib
import tempfile
import types

import keras
import numpy as np
import scipy.sparse
from keras import ops

from keras_ae.core import ranges
from keras_ae.models.tabular.base import TableVAE

SAME, EITHER, OWN = "the same", "an error or a finite result", "the user's own error"
OWN_TEXT = "the disk is gone"
SIZE = 16

# JAX warns if it is asked for float64.
OTHER_FLOATS = "float16" if keras.config.backend() == "jax" else "float64"


def pandas():
    import pandas

    return pandas


def tf():
    import tensorflow

    return tensorflow


# ------------------------------------------------------------------ what is right for some models


def where_fitted(*words, counts=EITHER):
    """Return what is right for values out of range: an error where a model is fitted to them.

    `counts` is right for models of counts, in every call.
    """

    def expect(case):
        if ranges.are_counts(case.model._support):
            return counts
        if ranges.are_tokens(case.model._support):
            return ["tokens are"] if case.fits else EITHER
        return list(words) if case.fits and case.is_bounded else EITHER

    return expect


def unless_sparse_is_taken(*words):
    """Return what is right for sparse matrices: an error, but for models of counts."""

    def expect(case):
        return EITHER if case.model._takes_sparse else list(words)

    return expect


def unless_nan_is_missing(*words):
    """Return what is right for NaN: an error unless it stands for a missing value."""

    def expect(case):
        return EITHER if case.model._allow_nan else list(words)

    return expect


def for_known_shapes(*words):
    """Return what is right for another shape: an error if the model was built already."""

    def expect(case):
        return list(words) if case.model.built else EITHER

    return expect


def unless_frames_have_types(*words):
    """Return what is right for columns without numbers: an error, but for models of tables."""

    def expect(case):
        reads = isinstance(case.model, TableVAE) and not case.model.built
        return EITHER if reads else list(words)

    return expect


NEGATIVE, BETWEEN = ["from 0 on"], ["counts"]  # What is said of counts.


# ------------------------------------------------------------------ x, y and validation data


def with_value(x, value, dtype="float32"):
    x = x.astype(dtype)
    x[3, 2] = value
    return x


def frame(x):
    return pandas().DataFrame(x, columns=list("abcdef")[: x.shape[1]])


def with_missing(x):
    found = frame(x).astype("Float32")
    found.iloc[2, 1] = pandas().NA
    return found


def in_file(x):
    with tempfile.NamedTemporaryFile() as file:
        found = np.memmap(file.name, "float32", "w+", shape=x.shape)
        found[:] = x
        return found


def structured(x):
    return np.zeros((len(x), 1), [("a", "f4"), ("b", "f4")])


def cast(x, dtype):
    return ops.convert_to_numpy(ops.cast(x, dtype))


def small_float(x):
    import ml_dtypes

    return x.astype(ml_dtypes.float8_e4m3fn)


def read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


# Name -> (function of the clean array, what is right). For a model of several inputs, this is the
# array at the place of the data in a dictionary.
ARRAYS = {
    # Rank, width and emptiness.
    "rank 0": (lambda x: np.float32(3), ["single number"]),
    "rank 1": (lambda x: x[0], ["(6,)", "batch axis"]),
    "a column": (lambda x: x[:, 0], ["(48,)|(16,)", "batch axis"]),
    "rank 3": (lambda x: x[:, :, None], for_known_shapes("(6, 1)", "(6,)")),
    "rank 5": (lambda x: np.zeros((4, 2, 2, 2, 2)), for_known_shapes("(2, 2, 2, 2)", "(6,)")),
    "narrower": (lambda x: x[:, :5], for_known_shapes("(5,)", "(6,)")),
    "wider": (lambda x: np.hstack([x, x]), for_known_shapes("(12,)", "(6,)")),
    "one column": (lambda x: x[:, :1], for_known_shapes("(1,)", "(6,)")),
    "transposed": (lambda x: x.T, for_known_shapes("(6,)")),
    "no rows": (lambda x: x[:0], ["empty"]),
    "no columns": (lambda x: x[:, :0], ["empty"]),
    "no values in rank 3": (lambda x: x[:, :, None][:, :, :0], ["empty"]),
    "an empty list": (lambda x: [], ["empty"]),
    "a list of empty lists": (lambda x: [[] for _ in x], ["empty"]),
    # Values.
    "NaN": (lambda x: with_value(x, np.nan), unless_nan_is_missing("NaN")),
    "infinity": (lambda x: with_value(x, np.inf), ["infinite"]),
    "minus infinity": (lambda x: with_value(x, -np.inf), ["infinite"]),
    "nothing but NaN": (lambda x: x * np.nan, unless_nan_is_missing("NaN")),
    "beyond float32": (lambda x: with_value(x, 1e300, "float64"), ["1e+300", "float32"]),
    "integers beyond float32": (lambda x: with_value(x, 10**300, object), ["object|float32"]),
    "as large as float32": (lambda x: x * np.float32(3e38), EITHER),
    "1e38": (lambda x: with_value(x, 1e38), EITHER),
    "-1e38": (lambda x: with_value(x, -1e38), EITHER),
    "1e30": (lambda x: with_value(x, 1e30), EITHER),
    "1e20": (lambda x: with_value(x, 1e20), EITHER),
    "1e15": (lambda x: with_value(x, 1e15), EITHER),
    "-1e6": (
        lambda x: with_value(x, -1e6),
        where_fitted("-1000000|-1e+06", "between 0 and 1", counts=NEGATIVE),
    ),
    "negative": (lambda x: x - 0.5, where_fitted("-0.5", "between 0 and 1", counts=NEGATIVE)),
    "bytes": (lambda x: (x * 255).astype("uint8"), where_fitted("255", "/ 255")),
    "0 to 255": (lambda x: x * 255, where_fitted("255", "/ 255")),
    "percent": (lambda x: x * 100, where_fitted("100", "between 0 and 1")),
    "7.9": (lambda x: x * 7.9, where_fitted("7.9", "rescale|Rescale", counts=BETWEEN)),
    "1.02": (lambda x: x * 1.02, where_fitted("1.02", "clip", counts=BETWEEN)),
    "denormal": (lambda x: x * np.float32(1e-40), EITHER),
    "rounding errors": (lambda x: x.astype("float64") * (1 + 2e-16), SAME),
    "all equal": (lambda x: np.ones_like(x), EITHER),
    "one example": (lambda x: x[:1], EITHER),
    # Dtypes.
    "objects": (lambda x: x.astype(object), ["object", "numbers"]),
    "rows as objects": (lambda x: rows_as_objects(x), ["object", "numbers"]),
    "None among objects": (lambda x: with_value(x, None, object), ["object", "None|numbers"]),
    "numbers as text": (lambda x: x.astype(str), ["<U", "numbers"]),
    "words": (lambda x: np.full(x.shape, "red"), ["<U", "numbers", "red"]),
    "text as bytes": (lambda x: x.astype("S3"), ["S3", "numbers"]),
    "complex": (lambda x: x.astype("complex64"), ["complex64", "real"]),
    "times": (lambda x: x.astype("M8[s]"), ["datetime64", "numbers"]),
    "spans of time": (lambda x: x.astype("m8[s]"), ["timedelta64", "numbers"]),
    "structured": (structured, ["structured_to_unstructured"]),
    "float8": (small_float, EITHER),
    "bool": (lambda x: x.astype(bool), SAME),
    "bfloat16": (lambda x: cast(x, "bfloat16"), SAME),
    "float16": (lambda x: x.astype("float16"), SAME),
    "float64": (lambda x: x.astype("float64"), SAME),
    "long double": (lambda x: x.astype(np.longdouble), SAME),
    "int64": (lambda x: x.astype("int64"), SAME),
    "uint64": (lambda x: x.astype("uint64"), SAME),
    "int8": (lambda x: x.astype("int8"), SAME),
    "another byte order": (lambda x: x.astype(">f4"), SAME),
    "another byte order of integers": (lambda x: x.astype(">i8"), SAME),
    # Layouts.
    "columns first": (np.asfortranarray, SAME),
    "reversed rows": (lambda x: x[::-1][::-1], SAME),
    "every second column": (lambda x: np.repeat(x, 2, axis=1)[:, ::2], SAME),
    "read only": (read_only, SAME),
    "in a file": (in_file, SAME),
    "a broadcast row": (lambda x: np.broadcast_to(x[0], x.shape), EITHER),
    # Containers.
    "lists": (lambda x: x.tolist(), SAME),
    "a list of rows": (list, SAME),
    "lists with None": (lambda x: [[None] * 6, *x[1:].tolist()], ["object|NaN|numbers"]),
    "lists with text": (lambda x: [["a"] * 6, *x[1:].tolist()], ["numbers"]),
    "ragged lists": (lambda x: [[1.0], [1.0, 2.0]], ["different lengths"]),
    "ragged objects": (lambda x: ragged_objects(), ["different lengths"]),
    "a list of dictionaries": (lambda x: [{"a": 1.0}] * 4, ["dictionaries"]),
    "a list of two arrays": (lambda x: [x, x], ["list of 2 arrays"]),
    "a list of one array": (lambda x: [x], ["list of 1 array"]),
    "a pair": (lambda x: (x, x), ["tuple|target"]),
    "a tuple of one": (lambda x: (x,), ["tuple"]),
    "an empty tuple": (lambda x: (), ["tuple"]),
    "a tuple of rows": (tuple, ["tuple"]),
    "scipy sparse": (scipy.sparse.csr_matrix, unless_sparse_is_taken("csr_matrix", "toarray()")),
    "sparse array": (scipy.sparse.coo_array, unless_sparse_is_taken("coo_array", "toarray()")),
    "masked": (lambda x: np.ma.masked_less(x, 0.5), unless_nan_is_missing("masked", "filled")),
    "masked without a mask": (np.ma.array, SAME),
    "data frame": (frame, SAME),
    "frame of integers": (lambda x: frame(x.astype("int64")), SAME),
    "frame of truth values": (lambda x: frame(x.astype(bool)), SAME),
    "nullable frame": (lambda x: frame(x).astype("Float32"), SAME),
    "frame with NA": (with_missing, unless_nan_is_missing("NaN")),
    "frame with text": (
        lambda x: frame(x).assign(b="x"),
        unless_frames_have_types("'b'", "numbers"),
    ),
    "frame with categories": (
        lambda x: frame(x).assign(b=pandas().Categorical(["u"] * len(x))),
        unless_frames_have_types("'b'", "numbers"),
    ),
    "frame with times": (
        lambda x: frame(x).assign(b=pandas().Timestamp("2026-01-01")),
        ["'b'", "numbers"],
    ),
    "frame without rows": (lambda x: frame(x).iloc[:0], ["empty"]),
    "frame without columns": (lambda x: frame(x)[[]], ["empty"]),
    "series": (lambda x: frame(x)["a"], ["batch axis", "to_frame"]),
    "deque": (collections.deque, ["deque", "array"]),
    "array of the module array": (lambda x: array.array("f", x[0].tolist()), ["array"]),
    "a view of memory": (lambda x: memoryview(x.copy()), ["memoryview", "array"]),
    "an iterator": (lambda x: iter([x]), ["list_iterator"]),
    "a map": (lambda x: map(np.asarray, [x]), ["map"]),
    "a zip": (lambda x: zip(x, x, strict=True), ["zip"]),
    "a cycle": (lambda x: itertools.cycle([x]), ["cycle"]),
    "values of a dictionary": (lambda x: {"a": x}.values(), ["dict_values"]),
    # Tensors.
    "a tensor": (ops.convert_to_tensor, SAME),
    "a variable": (lambda x: keras.Variable(x), SAME),
    "a tensor of other floats": (lambda x: ops.cast(x, OTHER_FLOATS), SAME),
    "an int32 tensor": (lambda x: ops.cast(x, "int32"), SAME),
    "a uint8 tensor": (lambda x: ops.cast(x, "uint8"), SAME),
    "a tensor of truth values": (lambda x: ops.cast(x, "bool"), SAME),
    "a float16 tensor": (lambda x: ops.cast(x, "float16"), SAME),
    "a narrower tensor": (
        lambda x: ops.convert_to_tensor(x[:, :5]),
        for_known_shapes("(5,)|5)", "(6,)|6)"),
    ),
    "a tensor of rank 1": (lambda x: ops.convert_to_tensor(x[0]), ["(6,)"]),
    "a tensor of rank 0": (lambda x: ops.convert_to_tensor(1.0), ["x"]),
    "a tensor of rank 3": (
        lambda x: ops.convert_to_tensor(x[..., None]),
        for_known_shapes("(6,)|6)"),
    ),
    "a tensor without rows": (lambda x: ops.convert_to_tensor(x[:0]), ["empty"]),
    "a complex tensor": (lambda x: ops.convert_to_tensor(x.astype("complex64")), ["complex"]),
    "a symbolic tensor": (lambda x: keras.KerasTensor((None, 6)), EITHER),
}


def rows_as_objects(x):
    found = np.empty(len(x), object)
    found[:] = list(x)
    return found


def ragged_objects():
    found = np.empty(2, object)
    found[:] = [np.ones(2), np.ones(3)]
    return found


def of_tensorflow(x):
    """Return kinds that only the tensors of TensorFlow have."""
    t = tf()
    return {
        "ragged tensor": (
            lambda x: t.ragged.constant([[1.0], [1.0, 2.0]]),
            ["RaggedTensor", "to_tensor"],
        ),
        "sparse tensor": (lambda x: t.sparse.from_dense(x), ["SparseTensor", "to_dense"]),
        "a tensor of text": (lambda x: t.constant(x.astype(str)), ["string|numbers|object"]),
    }


# Name -> (function of the clean data, which may be a dictionary, and what is right).
WHOLES = {
    "nothing": (lambda x: None, ["None"]),
    "a number": (lambda x: 3.0, ["3.0"]),
    "True": (lambda x: True, ["True"]),
    "a name": (lambda x: "mnist", ["'mnist'"]),
    "bytes of a file": (lambda x: b"mnist", ["mnist"]),
    "a set": (lambda x: {1, 2}, ["set"]),
    "a range": (lambda x: range(6), ["range"]),
    "a path": (lambda x: pathlib.Path("x.npy"), ["Path"]),
    "a module": (lambda x: types.ModuleType("data"), ["module"]),
    "a class": (lambda x: keras.Model, ["type"]),
    "a model": (lambda x: keras.Sequential(), ["Sequential"]),
    "a generator function": (lambda x: generate, ["generate()|function"]),
    "a lambda": (lambda x: lambda: x, ["function"]),
    "a slice": (lambda x: slice(3), ["slice"]),
    "ellipsis": (lambda x: ..., ["ellipsis|Ellipsis"]),
    "a namespace": (lambda x: types.SimpleNamespace(x=x), ["SimpleNamespace"]),
    "no keys": (lambda x: {}, ["without keys"]),
    "unknown keys": (lambda x: {"pixels": x}, ["'pixels'"]),
    "a number as key": (lambda x: {0: x}, ["0"]),
    "None as key": (lambda x: {None: x}, ["None"]),
    "x and image": (lambda x: {"x": data_of(x), "image": data_of(x)}, ["'image'"]),
    "None as value": (lambda x: replaced(x, None), ["None"]),
    "a generator as value": (lambda x: replaced(x, (row for row in "ab")), ["generator"]),
    "text as value": (lambda x: replaced(x, "mnist"), ["'mnist'"]),
    "a dictionary as value": (lambda x: replaced(x, {"x": data_of(x)}), ["dict"]),
    "a pair as value": (lambda x: replaced(x, (data_of(x),) * 2), ["tuple"]),
    "an ordered dictionary": (lambda x: collections.OrderedDict(as_dictionary(x)), SAME),
    "a dictionary": (lambda x: as_dictionary(x), SAME),
    "a mapping": (lambda x: types.MappingProxyType(as_dictionary(x)), ["mappingproxy"]),
}


def place_of(x):
    """Return the key of the data in a dictionary."""
    return next((key for key in ("x", "bits") if isinstance(x, dict) and key in x), "x")


def data_of(x):
    return x[place_of(x)] if isinstance(x, dict) else x


def as_dictionary(x):
    return dict(x) if isinstance(x, dict) else {"x": x}


def replaced(x, value):
    """Return a dictionary with another value at the place of the data."""
    return {**as_dictionary(x), place_of(x): value}


# ------------------------------------------------------------------ streams


class Stored(keras.utils.PyDataset):
    """A `PyDataset` of given batches. An exception among them is raised."""

    def __init__(self, batches):
        super().__init__()
        self.batches = list(batches)

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, number):
        return raised(self.batches[number])


class Lying(Stored):
    def __len__(self):
        return 9


class Negative(Stored):
    def __len__(self):
        return -1


class Fractional(Stored):
    num_batches = 2.5


class WithoutLength(keras.utils.PyDataset):
    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def __getitem__(self, number):
        return self.batches[number]


class Endless(Stored):
    num_batches = None

    def __getitem__(self, number):
        return self.batches[number % len(self.batches)]


def raised(item):
    if isinstance(item, Exception):
        raise item
    return item


def generate(batches):
    yield from map(raised, batches)


def gone():
    return RuntimeError(OWN_TEXT)


class As:
    """A batch that is passed as it is, and not put into a dictionary.

    Args:
        value: The batch.
    """

    def __init__(self, value):
        self.value = value


# Name -> (function of three clean batches that returns the batches, what is right). An array is
# put into a dictionary for models of several inputs.
BATCHES = {
    "good batches": (lambda a, b, c: [a, b, c], SAME),
    "no batches": (lambda a, b, c: [], ["no batches"]),
    "raises at once": (lambda a, b, c: [gone()], OWN),
    "raises midway": (lambda a, b, c: [a, b, gone()], OWN),
    "width changes": (lambda a, b, c: [a, b, c[:, :5]], ["(5,)", "(6,)"]),
    "rank changes": (lambda a, b, c: [a, b, c[:, :, None]], ["(6, 1)"]),
    "text midway": (lambda a, b, c: [a, b, As("text")], ["'text'|parts|keys"]),
    "nothing midway": (lambda a, b, c: [a, b, As(None)], ["None|parts|keys"]),
    "dtype changes to text": (lambda a, b, c: [a, b, c.astype(str)], ["numbers"]),
    "NaN midway": (lambda a, b, c: [a, b, with_value(c, np.nan)], unless_nan_is_missing("NaN")),
    "infinity midway": (lambda a, b, c: [a, b, with_value(c, np.inf)], ["infinite"]),
    "bytes midway": (lambda a, b, c: [a, b, c * 255], where_fitted("255", "/ 255")),
    "an empty batch midway": (lambda a, b, c: [a, b, c[:0]], ["empty"]),
    "shorter last batch": (lambda a, b, c: [a, b, c[:3]], EITHER),
    "a batch of one": (lambda a, b, c: [a[:1]], EITHER),
    "batches of nothing": (lambda a, b, c: [As(None)] * 3, ["None"]),
    "batches of text": (lambda a, b, c: [As("text")] * 3, ["'text'"]),
    "batches of numbers": (lambda a, b, c: [As(1.0)] * 3, ["1.0"]),
    "batches of NaN": (lambda a, b, c: [a * np.nan] * 3, unless_nan_is_missing("NaN")),
    "single examples": (lambda a, b, c: [*a], ["(6,)", "batch axis"]),
    "another width": (lambda a, b, c: [a[:, :5]] * 3, for_known_shapes("(5,)", "(6,)")),
    "four parts": (lambda a, b, c: [As((a, b, c, a))] * 3, ["parts"]),
    "no parts": (lambda a, b, c: [As(())] * 3, ["no parts"]),
    "unknown keys": (lambda a, b, c: [As({"pixels": a})] * 3, ["'pixels'"]),
    "no keys": (lambda a, b, c: [As({})] * 3, ["without keys"]),
    "keys change": (lambda a, b, c: [As({"x": a}), As({"y": b})], EITHER),
    "nested pairs": (lambda a, b, c: [As(((a, a), a))] * 3, ["tuple"]),
    "sparse batches": (
        lambda a, b, c: [scipy.sparse.csr_matrix(a)] * 3,
        unless_sparse_is_taken("toarray()"),
    ),
    "masked batches": (
        lambda a, b, c: [np.ma.masked_less(a, 0.5)] * 3,
        unless_nan_is_missing("masked"),
    ),
    "ragged batches": (lambda a, b, c: [As([[1.0], [1.0, 2.0]])] * 3, EITHER),
    "complex batches": (lambda a, b, c: [a.astype("complex64")] * 3, ["complex64"]),
    "object batches": (lambda a, b, c: [a.astype(object)] * 3, ["object"]),
    "truth values": (lambda a, b, c: [a.astype(bool), b.astype(bool), c.astype(bool)], SAME),
    "batches of float64": (lambda a, b, c: [v.astype("float64") for v in (a, b, c)], SAME),
    "batches of bfloat16": (lambda a, b, c: [cast(v, "bfloat16") for v in (a, b, c)], SAME),
    "batches of another byte order": (lambda a, b, c: [v.astype(">f4") for v in (a, b, c)], SAME),
    "batches of lists": (lambda a, b, c: [v.tolist() for v in (a, b, c)], SAME),
    "batches of frames": (lambda a, b, c: [frame(v) for v in (a, b, c)], SAME),
    "batches of tensors": (lambda a, b, c: [ops.convert_to_tensor(v) for v in (a, b, c)], SAME),
    "beyond float32 midway": (
        lambda a, b, c: [a, b, with_value(c, 1e300, "float64")],
        ["float32|infinite"],
    ),
}
CONTAINERS = {"generator": generate, "PyDataset": Stored}

# Kinds of streams that are wrong whatever they yield: name -> (function of batches, what is right).
STREAMS = {
    "a length that lies": (Lying, EITHER),
    "a negative length": (Negative, EITHER),
    "a fractional length": (Fractional, EITHER),
    "no length": (WithoutLength, ["no length", "__len__"]),
    "no end": (Endless, ["without an end"]),
}


def dataset(x, batched=True):
    found = tf().data.Dataset.from_tensor_slices(x)
    return found.batch(SIZE) if batched else found


def map_values(function, x):
    """Apply a function to the data, which may stand in a dictionary."""
    return {**x, place_of(x): function(data_of(x))} if isinstance(x, dict) else function(x)


# Name -> (function of the clean data, what is right).
DATASETS = {
    "a dataset": (dataset, SAME),
    "a dataset of examples": (lambda x: dataset(x, batched=False), EITHER),
    "a dataset without an end": (lambda x: dataset(x).repeat(), ["without an end"]),
    "an empty dataset": (lambda x: dataset(x).take(0), ["no batches"]),
    "a dataset of NaN": (
        lambda x: dataset(map_values(lambda v: with_value(v, np.nan), x)),
        unless_nan_is_missing("NaN"),
    ),
    "a dataset of bytes": (
        lambda x: dataset(map_values(lambda v: (255 * v).astype("float32"), x)),
        where_fitted("255", "/ 255"),
    ),
    "a dataset of text": (lambda x: dataset(map_values(lambda v: v.astype(str), x)), ["numbers"]),
    "a complex dataset": (
        lambda x: dataset(map_values(lambda v: v.astype("complex64"), x)),
        ["complex64", "numbers"],
    ),
    "a dataset of another width": (
        lambda x: dataset(map_values(lambda v: v[:, :5], x)),
        for_known_shapes("(5,)", "(6,)"),
    ),
    "a dataset of numbers": (lambda x: dataset(map_values(lambda v: v[:, 0], x)), EITHER),
    "a dataset of four parts": (lambda x: dataset((x, x, x, x)), ["4|parts"]),
    "a dataset of nested pairs": (lambda x: dataset(((x, x), x)), ["tuple"]),
    "a dataset of unknown keys": (lambda x: dataset({"pixels": data_of(x)}), ["'pixels'"]),
    "a dataset beyond float32": (
        lambda x: dataset(map_values(lambda v: with_value(v, 1e300, "float64"), x)),
        ["infinite|float32"],
    ),
    "a dataset of truth values": (
        lambda x: dataset(map_values(lambda v: v.astype(bool), x)),
        SAME,
    ),
    "a ragged dataset": (
        lambda x: dataset(map_values(lambda v: tf().RaggedTensor.from_tensor(v), x)),
        ["Ragged", "to_tensor"],
    ),
    "a sparse dataset": (
        lambda x: dataset(map_values(lambda v: tf().sparse.from_dense(v), x)),
        ["Sparse", "to_dense"],
    ),
    "a dataset of datasets": (
        lambda x: dataset(data_of(x), batched=False).window(4),
        ["Dataset"],
    ),
}

# ------------------------------------------------------------------ targets and sample weights

# Name -> (function of the clean data, what is right). Besides these, targets can be any of ARRAYS.
TARGETS = {
    "labels": (lambda x: np.arange(len(x)) % 10, ["labels"]),
    "a column of labels": (lambda x: np.arange(len(x))[:, None] % 10, ["labels"]),
    "one-hot labels": (lambda x: np.eye(10)[np.arange(len(x)) % 10], ["one-hot"]),
    "too few targets": (lambda x: x[:9], ["9 examples", "48|16"]),
    "a dictionary of targets": (lambda x: {"x": x}, ["dict"]),
    "a generator of targets": (lambda x: generate([x]), ["generator"]),
    "a dataset of targets": (dataset, ["Dataset"]),
    "a name of targets": (lambda x: "labels", ["'labels'"]),
    "a number as target": (lambda x: 3, ["3"]),
}
WEIGHTS = {
    "too few": (lambda n: np.ones(3), ["(3,)"]),
    "too many": (lambda n: np.ones(n + 1), [f"({49},)|(17,)"]),
    "a single weight": (lambda n: 1.0, ["1.0"]),
    "a matrix": (lambda n: np.ones((n, 2)), ["2)"]),
    "negative": (lambda n: -np.ones(n), ["-1"]),
    "NaN": (lambda n: np.full(n, np.nan), ["finite"]),
    "infinite": (lambda n: np.full(n, np.inf), ["finite"]),
    "text": (lambda n: np.full(n, "heavy"), ["numbers|number"]),
    "numbers as text": (lambda n: np.full(n, "1"), EITHER),
    "objects": (lambda n: np.full(n, None), ["numbers|number|finite"]),
    "complex": (lambda n: np.ones(n, "complex64"), ["complex|numbers"]),
    "a dictionary": (lambda n: {"x": np.ones(n)}, ["dict"]),
    "a name": (lambda n: "balanced", ["balanced"]),
    "a generator": (lambda n: (1.0 for _ in range(n)), ["generator"]),
    "a tuple of two": (lambda n: (np.ones(n), np.ones(n)), ["sample_weight"]),
    "ragged": (lambda n: [[1.0], [1.0, 2.0]], ["sample_weight"]),
    "all zero": (lambda n: np.zeros(n), EITHER),
    "beyond float32": (lambda n: np.full(n, 1e300), ["finite"]),
    "truth values": (lambda n: np.ones(n, bool), SAME),
    "a list": (lambda n: [1.0] * n, SAME),
    "a column": (lambda n: np.ones((n, 1)), SAME),
    "integers": (lambda n: np.ones(n, "int64"), SAME),
    "a tensor": (lambda n: ops.ones((n,)), SAME),
    "masked": (lambda n: np.ma.masked_less(np.arange(n, dtype="float32"), 2), EITHER),
    "a series": (lambda n: pandas().Series(np.ones(n)), SAME),
}

# ------------------------------------------------------------------ codes

NOT_CODES = {"rank 1", "a column", "transposed", "one example", "all equal", "a broadcast row"}


def codes_of(case):
    """Return kinds of codes of a model: name -> (function of good codes, what is right)."""
    shape = str(case.model.code_shape)[1:]
    integer = case.model._code_dtype == "int32"
    kinds = {
        "wider codes": (lambda z: np.concatenate([z, z], axis=-1), ["shape"]),
        "narrower codes": (lambda z: z[..., :0], ["empty"]),
        "codes of rank 1": (lambda z: z[(0,) * (z.ndim - 1)], ["batch axis"]),
        "codes of another rank": (lambda z: z[..., None], ["shape", shape.replace(",)", ")")]),
        "no codes": (lambda z: z[:0], ["empty"]),
        "codes of NaN": (lambda z: np.full(z.shape, np.nan), ["NaN"]),
        "infinite codes": (lambda z: np.full(z.shape, np.inf), ["infinite"]),
        "huge codes": (lambda z: np.full(z.shape, 1e300), ["1e+300"]),
        "codes of 1e38": (lambda z: np.full(z.shape, 1e38), EITHER),
        "codes of 1e20": (lambda z: np.full(z.shape, 1e20), EITHER),
        "a tensor of wider codes": (
            lambda z: ops.convert_to_tensor(np.concatenate([z, z], axis=-1)),
            ["shape"],
        ),
        "a tensor of rank 1": (
            lambda z: ops.convert_to_tensor(z[(0,) * (z.ndim - 1)]),
            ["shape"],
        ),
        "a generator of codes": (lambda z: generate([z]), ["generator"]),
        "a dataset of codes": (lambda z: dataset(z), ["Dataset"]),
        "a PyDataset of codes": (lambda z: Stored([z]), ["Stored"]),
        "a dictionary of codes": (lambda z: {"z": z}, ["dict"]),
        "complex codes": (lambda z: z.astype("complex64"), ["complex64"]),
        "objects": (lambda z: z.astype(object), ["object"]),
        "text": (lambda z: z.astype(str), ["numbers"]),
        "sparse codes": (lambda z: scipy.sparse.csr_matrix(z.reshape(len(z), -1)), ["toarray()"]),
        "masked codes": (lambda z: np.ma.array(z, mask=np.ones(z.shape, bool)), ["masked"]),
        "a pair of codes": (lambda z: (z, z), ["tuple"]),
        "a list of two arrays": (lambda z: [z, z], ["shape|list"]),
        "ragged codes": (lambda z: [[1.0], [1.0, 2.0]], ["different lengths"]),
        "an empty list": (lambda z: [], ["empty"]),
        "lists": (lambda z: z.tolist(), SAME),
        "another byte order": (lambda z: z.astype(z.dtype.newbyteorder(">")), SAME),
        "read only": (read_only, SAME),
        "a tensor": (ops.convert_to_tensor, SAME),
        "float64": (lambda z: z.astype("float64"), SAME),
        "data instead of codes": (lambda z: np.ones((3, 11)), ["shape"]),
    }
    kinds |= {name: kind for name, kind in WHOLES.items() if "key" not in name}
    for name in ("x and image", "an ordered dictionary", "a dictionary", "a mapping"):
        kinds.pop(name)
    for name in [name for name in kinds if name.endswith("as value")]:
        kinds.pop(name)
    if integer:
        kinds |= {
            "negative codes": (lambda z: np.full(z.shape, -1), ["integers from 0", "-1"]),
            "codes out of range": (lambda z: np.full(z.shape, 10**6), ["integers from 0"]),
            "codes beyond 32 bits": (lambda z: np.full(z.shape, 2**40), ["integers from 0"]),
            "fractional codes": (lambda z: np.full(z.shape, 0.5), ["integers from 0"]),
            "codes of truth values": (lambda z: np.ones(z.shape, bool), EITHER),
            "codes of uint64": (lambda z: z.astype("uint64"), SAME),
        }
    else:
        kinds |= {
            "codes of integers": (lambda z: np.zeros(z.shape, "int64"), EITHER),
            "codes far away": (lambda z: np.full(z.shape, 1e4), EITHER),
            "codes of zero": (lambda z: np.zeros(z.shape), EITHER),
        }
    return kinds


# ------------------------------------------------------------------ numbers and other options

NO_COUNTS = {
    "0": 0,
    "-1": -1,
    "text": "8",
    "2.5": 2.5,
    "8.0": 8.0,
    "True": True,
    "NaN": float("nan"),
    "infinity": float("inf"),
    "a list": [8],
    "a tuple": (8,),
    "an array": np.array([8]),
    "a truth value of NumPy": np.True_,
    "a function": len,
    "2**70": 2**70,
    "complex": 8 + 0j,
    "an array of many": np.arange(100),
}
NO_SEEDS = {
    "text": "a",
    "1.5": 1.5,
    "True": True,
    "2**70": 2**70,
    "a list": [1, 2],
    "NaN": float("nan"),
    "an array of many": np.arange(100),
    "a generator of NumPy": np.random.default_rng(0),
}
NO_FRACTIONS = {
    "1": 1,
    "1.5": 1.5,
    "-0.5": -0.5,
    "text": "half",
    "True": True,
    "NaN": float("nan"),
    "a list": [0.5],
}
NO_LABELS = {
    "missing": (lambda label: None, ["missing", "label|condition|batch"]),
    "too few": (lambda label: label[:3], ["examples"]),
    "NaN": (lambda label: np.full(len(label), np.nan), ["NaN"]),
    "text": (lambda label: np.full(len(label), "cat"), ["numbers"]),
    "numbers as text": (lambda label: label.astype(str), ["numbers"]),
    "fractions": (lambda label: label + 0.5, ["integer"]),
    "too large": (lambda label: label + 99, ["99"]),
    "negative": (lambda label: label - 7, ["-7"]),
    "one-hot": (lambda label: np.eye(3)[label % 3], ["argmax"]),
    "objects": (lambda label: label.astype(object), ["object"]),
    "beyond 32 bits": (lambda label: label + 2**40, ["label|batch"]),
    "complex": (lambda label: label.astype("complex64"), ["complex64"]),
    "a dictionary": (lambda label: {"label": label}, ["label|batch"]),
    "a generator": (lambda label: (each for each in label), ["label|batch"]),
    "a name": (lambda label: "label", ["label|batch"]),
    "infinite": (lambda label: np.full(len(label), np.inf), ["infinite"]),
    "ragged": (lambda label: [[0], [0, 1]], ["label|batch"]),
    "a pair": (lambda label: (label, label), ["label|batch"]),
    "empty": (lambda label: label[:0], ["label|batch"]),
    "rank 3": (lambda label: label[:, None, None], ["label|batch"]),
    "masked": (lambda label: np.ma.masked_equal(label, 0), ["label|batch"]),
    "a list": (lambda label: label.tolist(), SAME),
    "floats": (lambda label: label.astype("float64"), SAME),
    "a column": (lambda label: label[:, None], SAME),
    "a series": (lambda label: pandas().Series(label), SAME),
    "another byte order": (lambda label: label.astype(">i8"), SAME),
    "a tensor": (lambda label: ops.convert_to_tensor(label), SAME),
}

# Values of arguments of constructors that are numbers.
NO_NUMBERS = {
    "text": "two",
    "True": True,
    "NaN": float("nan"),
    "infinity": float("inf"),
    "a list": [2],
    "an array": np.arange(100),
    "complex": 1j,
    "a dictionary": {},
    "a function": len,
    "a class": keras.Model,
    "an object": types.SimpleNamespace(),
}
# Values that may be right for some arguments.
ODD_VALUES = {
    "0": 0,
    "-1": -1,
    "10**9": 10**9,
    "2**70": 2**70,
    "1e300": 1e300,
    "2.5": 2.5,
    "None": None,
    "text": "two",
    "empty text": "",
    "True": True,
    "an empty list": [],
    "an empty tuple": (),
    "an empty dictionary": {},
    "a dictionary": {"units": "two"},
    "an array": np.arange(100),
    "a function": len,
    "a class": keras.Model,
    "a class of layers": keras.layers.Dense,
    "NaN": float("nan"),
    "a tuple of text": ("a",),
    "a tuple of 0": (0,),
    "a pair": (3, 4),
}
