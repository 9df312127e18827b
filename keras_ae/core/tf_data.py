"""`tf.data` pipelines: batches of arrays, and batches of floats from datasets of any form.

This module is imported only when a dataset or the TensorFlow backend is in use.
"""

import math

import numpy as np
import tensorflow as tf

from keras_ae.core import examples, memory
from keras_ae.core.sparse_rows import SparseRows

_BATCHES_AT_ONCE = 256  # One call of Python gives the indices of so many batches.


def dataset_of_batches(batches):
    """Return a `tf.data.Dataset` of one epoch of `ArrayBatches`, gathered outside Python.

    NumPy gives the order, for many batches at a time, so that it is the same on every backend.
    TensorFlow's own threads gather the rows, so that no step calls Python.
    """
    length = batches.num_examples
    partial = length % batches.batch_size
    size = min(batches.batch_size, length)  # A batch size beyond the data must not take memory.
    in_memory = not any(isinstance(array, (np.memmap, SparseRows)) for array in batches.arrays)
    if in_memory:
        with tf.device("CPU:0"):
            # tf.constant would copy them twice, and to the accelerator if there is one.
            tensors = tuple(tf.raw_ops.Identity(input=array) for array in batches.arrays)

    def gather(indices, count):
        if partial:
            indices = indices[:count]
        if in_memory:
            rows = tuple(tf.gather(tensor, indices) for tensor in tensors)
        else:
            rows = tf.numpy_function(batches.take, [indices], batches.dtypes)
        for row, array in zip(rows, batches.arrays, strict=True):
            row.set_shape((None if partial else size, *array.shape[1:]))
        return batches.pack(map(tf.cast, rows, batches.dtypes))

    def order_from(number):
        """Return a row of indices for each batch from this number on, and how many are valid."""
        parts = list(batches.index_batches(number, number + _BATCHES_AT_ONCE))
        counts = [len(part) for part in parts]
        rows = np.zeros((len(parts), size), batches.index_dtype)
        rows[np.arange(size) < np.reshape(counts, (-1, 1))] = np.concatenate(parts)
        return rows, np.array(counts, "int32")

    def read_order(number):
        rows, counts = tf.numpy_function(order_from, [number], [batches.index_dtype, "int32"])
        return tf.ensure_shape(rows, (None, size)), tf.ensure_shape(counts, (None,))

    options = tf.data.Options()
    options.deterministic = True
    # There is nothing to tune, and the destruction of a tuned iterator takes up to some seconds.
    options.autotune.enabled = False
    # To optimize a graph, tf.data first serializes it, with all of its data in it.
    options.experimental_optimization.apply_default_optimizations = False
    return (
        tf.data.Dataset.range(0, batches.steps_per_epoch, _BATCHES_AT_ONCE)
        .map(read_order)
        .unbatch()
        .map(gather)
        .apply(tf.data.experimental.assert_cardinality(batches.steps_per_epoch))
        .with_options(options)
        .prefetch(4)
    )


def canonical(model, dataset, batch_size, function):
    """Return batches of x, (x, target) or (x, target, weights) from a dataset of any form.

    Numbers become float32, and labels among the named inputs int32.

    Args:
        model: The model that reads the dataset.
        dataset: `tf.data.Dataset` of batches or single examples. Its elements are x, tuples, or
            dictionaries, such as TFDS features with an "image". Images of uint8 are scaled to
            [0, 1]. Dictionaries of a model with named inputs, or with several modalities, stay
            dictionaries.
        batch_size: Number of examples in a batch, if the dataset yields single examples; or None.
        function: The method of the model whose signature says which named inputs are read.

    Returns:
        `tf.data.Dataset` of tuples.

    Raises:
        TypeError: If the elements are not tensors of numbers.
        ValueError: If a batch size is given for a dataset that is batched already.
    """
    if not isinstance(dataset.element_spec, tuple):
        dataset = dataset.map(lambda x: (x,))
    spec = dataset.element_spec
    if isinstance(spec[0], dict):
        names = _check_features(model, spec[0], function)
        dataset = dataset.map(
            lambda features, *parts: (_select_features(model, features, names), *parts),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        is_image = "image" in spec[0] and not model._modalities
        spec = dataset.element_spec
        main = {**spec[0]} if isinstance(spec[0], dict) else {"x": spec[0]}
        main = {name: main[name] for name in main if name not in model.extra_inputs}
        rank = 3 if is_image else None
    else:
        main, rank = {"x": spec[0]}, None
    if len(spec) > 3:
        raise ValueError(
            f"The dataset yields {len(spec)} parts. It must yield x, (x, target) or (x, target, "
            "sample_weight)."
        )
    for part in tf.nest.flatten(spec):
        _refuse_no_numbers(part)
    for number, part in enumerate(spec):
        if isinstance(part, (tuple, list)) or (number and isinstance(part, dict)):
            kind = type(part).__name__
            raise TypeError(
                f"The dataset yields a {kind} of {len(part)} parts within a tuple. It must yield "
                "x, (x, target) or (x, target, sample_weight), each of which is a tensor."
            )
    name, shape = next((name, part.shape) for name, part in main.items())
    if model.built:
        known = model._data_shape
        rank = len(known[name] if model._modalities else known)
    single = _yields_single_examples(shape, rank)
    if batch_size is not None and single is False:
        raise ValueError(
            f"batch_size={batch_size} was passed with a dataset that yields batches of shape "
            f"{tuple(shape)}. Leave batch_size out, or dataset.unbatch() first."
        )
    if single or batch_size is not None:
        dataset = dataset.batch(batch_size or 32)
    _refuse_batches(dataset)

    def cast(x, *parts):
        return (_cast(model, x), *(tf.cast(part, tf.float32) for part in parts))

    return dataset.map(cast, num_parallel_calls=tf.data.AUTOTUNE)


def _refuse_no_numbers(spec):
    """Raise unless a part of a dataset's elements is a tensor of numbers."""
    remedy = "It must yield tensors of numbers: x, (x, target) or (x, target, sample_weight)"
    if isinstance(spec, tf.RaggedTensorSpec):
        remedy = (
            "Its rows have different lengths. Pad them to one length, for example "
            "dataset.map(lambda x: x.to_tensor(shape=(None, 100)))"
        )
    elif isinstance(spec, tf.SparseTensorSpec):
        remedy = "Make them dense: dataset.map(tf.sparse.to_dense)"
    elif isinstance(spec, tf.TensorSpec):
        if spec.dtype.is_floating or spec.dtype.is_integer or spec.dtype.is_bool:
            return
    shape, dtype = getattr(spec, "shape", None), getattr(spec, "dtype", None)
    found = f"{getattr(dtype, 'name', dtype)} of shape {shape}"
    raise TypeError(f"The dataset yields {type(spec).__name__}, {found}. {remedy}.")


def check_batches(dataset, check, first):
    """Return the dataset, which then raises an error when it reaches a batch that is wrong.

    Its examples have known shapes, also if those of the dataset are unknown, such as after
    `padded_batch`.

    Args:
        dataset: `tf.data.Dataset` of tuples, as `canonical` returns it.
        check: Function of a batch of arrays, a tuple, that raises if the batch is wrong.
        first: The first batch of arrays, a tuple.
    """
    spec = dataset.element_spec
    shapes = [(None, *array.shape[1:]) for array in tf.nest.flatten(first)]

    def check_arrays(*arrays):
        check(tf.nest.pack_sequence_as(spec, arrays))
        return True

    def check_parts(*parts):
        checked = tf.numpy_function(check_arrays, tf.nest.flatten(parts), tf.bool)
        with tf.control_dependencies([checked]):
            flat = map(tf.ensure_shape, tf.nest.flatten(parts), shapes)
            return tf.nest.pack_sequence_as(parts, list(flat))

    return dataset.map(check_parts).prefetch(tf.data.AUTOTUNE)


def _check_features(model, spec, function):
    """Check the keys of a dataset's dictionaries, and return the named inputs to read."""
    examples.check_keys(model, spec, "The dataset's element", others=True)
    taken = examples.taken_by(model, function)
    examples.check_names(
        model, "fit", taken, {name: part for name, part in spec.items() if name in taken}
    )
    return [name for name in taken if name in spec]


def _select_features(model, features, names):
    """Return x, or a dictionary of x or the modalities and of the named inputs."""
    inputs = {name: features[name] for name in names}
    if model._modalities:
        return {name: features[name] for name in model._modalities if name in features} | inputs
    x = features["image" if "image" in features else "x"]
    if "image" in features:
        x = tf.cast(x, tf.float32) / (255.0 if x.dtype == tf.uint8 else 1.0)
    return examples.join(model, x, inputs)


def _cast(model, x):
    if not isinstance(x, dict):
        return tf.cast(x, tf.float32)
    return {name: tf.cast(part, examples.dtype_of(model, name)) for name, part in x.items()}


def _refuse_batches(dataset):
    """Raise if batches that the dataset gathers do not fit into memory, before it gathers any."""
    while dataset is not None:
        size = getattr(dataset, "_batch_size", None)
        source = getattr(dataset, "_input_dataset", None)
        if size is not None and source is not None:
            size, length = int(size), int(source.cardinality())
            # A negative length stands for an endless or unknown one.
            number = min(size, length) if length >= 0 else size
            parts = (getattr(part, "shape", ()) for part in tf.nest.flatten(source.element_spec))
            parts = [tf.TensorShape(shape) for shape in parts]
            numbers = sum(math.prod(n or 1 for n in part) for part in parts if part.rank)
            memory.refuse_beyond(
                4.0 * number * numbers,
                f"A batch of the dataset, which has batch_size={size}, {numbers} numbers each,",
                "Pass a smaller batch_size to its `batch`.",
            )
        dataset = source


def _yields_single_examples(shape, rank):
    """Whether elements of this shape are single examples; None if the shape does not tell."""
    if shape.rank is None:
        return None
    if rank is not None:
        return {rank: True, rank + 1: False}.get(shape.rank)
    if shape.rank == 0 or shape.rank > 3:
        return False
    if shape[0] is None:
        return False
    # All sizes are fixed here, so this is a vector, or a picture with up to four channels.
    if shape.rank == 1 or (shape.rank == 3 and shape[-1] <= 4):
        return True
    return None
