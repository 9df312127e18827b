"""Streams of batches: data sets, `PyDataset`s, data loaders and generators."""

import copy
import inspect
import itertools
import types

import keras
import numpy as np

from keras_ae.core import arguments, conversion, examples, memory
from keras_ae.core.sparse_rows import to_dense

PAD_ALIKE = (
    "If they are sequences, pad all batches to one length, for example with padded_shapes= of "
    "tf.data.Dataset.padded_batch."
)
END = object()  # It stands for the batch after the last one.
NO_BATCHES = "{} yields no batches. Pass data with at least one example."


def iterate_batches(data, steps=None):
    """Return a second iterator over the batches of a stream, besides that of Keras' loop.

    Each batch is a tuple. For a generator, return None, because it can be read only once, and this
    is left to Keras' loop.
    """
    if is_tf_dataset(data):
        batches = data.as_numpy_iterator()
    elif isinstance(data, keras.utils.PyDataset):
        count = data.num_batches
        numbers = itertools.count() if count is None else range(count)
        batches = (data[number] for number in numbers)
    elif isinstance(data, types.GeneratorType):
        return None
    else:
        batches = iter(data)
    return (as_tuple(batch) for batch in itertools.islice(batches, steps))


def is_tf_dataset(data):
    return any(
        base.__module__.startswith("tensorflow.") and base.__name__ == "DatasetV2"
        for base in type(data).__mro__
    )


def unpack(data, name="A batch"):
    """Return x, target and sample weight of a batch or a pair. A missing part is None.

    Args:
        data: The batch or the pair. If it is no tuple or list, it is x.
        name: Name of the data in errors.
    """
    if not isinstance(data, (tuple, list)):
        return data, None, None
    if not 0 < len(data) <= 3:
        raise ValueError(
            f"{name} has {len(data) or 'no'} parts, but takes up to 3: x, target, sample_weight."
        )
    return (*data, None, None)[:3]


def unpack_pair(data):
    """Return x, target and sample weight of validation data, in which a list may hold rows."""
    return (data, None, None) if _holds_rows(data) else unpack(data, "validation_data")


def check_steps(data, name, argument, steps):
    """Raise unless a number of steps is a positive integer, or None and the data has an end.

    Args:
        data: The data that the steps read.
        name: Name of the data in errors.
        argument: Name of the number of steps in errors.
        steps: The number of steps, or None.
    """
    if steps is not None:
        arguments.integer(None, argument, steps)
    elif _is_endless(data, name):
        raise ValueError(
            f"{name} is a {type(data).__name__} without an end, and {argument} was not passed. "
            f"Pass {argument}, the number of batches to read, or data that ends."
        )


def refuse_endless(data, name):
    """Raise if data that is read as a whole is known to have no end."""
    if _is_endless(data, name):
        raise ValueError(
            f"{name} is a {type(data).__name__} without an end. Pass one that ends, such as "
            f"{name}.take(100) of a tf.data.Dataset."
        )


def _is_endless(data, name):
    if is_tf_dataset(data):
        return int(data.cardinality()) == -1  # The value of tf.data.INFINITE_CARDINALITY.
    if not isinstance(data, keras.utils.PyDataset):
        return False
    who = f"{name} is a {type(data).__name__}, whose"
    wanted = "Its class needs a method `__len__` that returns the number of batches, an integer"
    try:
        number = data.num_batches
    except NotImplementedError:
        raise TypeError(f"{name} is a {type(data).__name__} of no length. {wanted}.") from None
    except ValueError as error:  # Python raises it for negative lengths.
        raise ValueError(f"{who} length is wrong: {error}. {wanted}.") from None
    if number is not None and not (arguments.is_integer(number) and number >= 0):
        raise ValueError(f"{who} length is {arguments.show(number)}. {wanted}.")
    return number is None


def refuse_no_stream(data, name):
    """Raise unless data is a dataset, `PyDataset`, data loader or generator."""
    is_loader = hasattr(data, "dataset") and hasattr(data, "__iter__")  # It is one of torch.
    known = (keras.utils.PyDataset, types.GeneratorType)
    if is_loader or is_tf_dataset(data) or isinstance(data, known):
        return
    wanted = (
        "an array, a tf.data.Dataset, a keras.utils.PyDataset, a torch DataLoader or a generator "
        "of batches"
    )
    if inspect.isgeneratorfunction(data):
        wanted = f"the generator that it returns, {data.__name__}(),"
    elif hasattr(data, "__next__"):
        wanted = f"a generator, (batch for batch in {name}),"
    conversion.refuse_no_array(data, name, wanted)


def read_stream(model, data, name, function):
    """Read all batches of a dataset, `PyDataset`, data loader or generator into arrays.

    Args:
        model: The model.
        data: The stream.
        name: Name of the argument in errors.
        function: The method. Its signature determines which named inputs it takes.

    Returns:
        x, which is a dictionary if the batches are, and the targets. The targets are None if the
        stream yields none, or others than the model learned to compute.
    """
    refuse_no_stream(data, name)
    refuse_endless(data, name)
    if is_tf_dataset(data):
        from keras_ae.core import tf_data

        data = tf_data.canonical(model, data, None, function)
    batches = iterate_batches(data)
    found, size, compare = [], 0, compare_parts(name)
    for batch in map(as_tuple, data) if batches is None else batches:
        x, y, _ = unpack(compare(batch), f"A batch of {name}")
        x = _to_arrays(model, x, name)
        if found and examples.shapes(x) != examples.shapes(found[0][0]):
            raise ValueError(
                f"{name} yields examples of shape {examples.shapes(x)} after examples of shape "
                f"{examples.shapes(found[0][0])}. {PAD_ALIKE}"
            )
        if y is not None:
            y = np.asarray(y) if hasattr(y, "__array__") else None
        lengths = [len(array) for array in examples.leaves(x)]
        if len(set(lengths)) > 1:
            raise ValueError(
                f"{name} yields a batch of arrays of the lengths {lengths}. Yield one row of each "
                "for every example."
            )
        found.append((x, y))
        size += sum(array.nbytes for array in examples.leaves(x))
        remedy = f"Pass fewer batches, if {name} ends at all."
        memory.refuse_beyond(
            2.0 * size, f"{name}, of which {len(found)} batches were read,", remedy
        )
    if not found:
        raise ValueError(NO_BATCHES.format(name))
    targets = [y for _, y in found]
    first = found[0][0]
    if isinstance(first, dict):
        x = {key: np.concatenate([each[key] for each, _ in found]) for key in first}
    else:
        x = np.concatenate([each for each, _ in found])
    is_target = model.built and all(
        y is not None and y.shape[1:] == model._target_shape for y in targets
    )
    return x, np.concatenate(targets) if is_target else None


def compare_parts(name):
    """Return a function that raises if a batch has other parts than the first one it was given."""
    first = []

    def compare(parts):
        found = [sorted(map(str, part)) if isinstance(part, dict) else None for part in parts]
        if first and found != first[0]:
            raise ValueError(
                f"{name} yields a batch of {_describe_parts(found)} after one of "
                f"{_describe_parts(first[0])}. Make all batches alike."
            )
        first.append(found)
        del first[1:]
        return parts

    return compare


def _describe_parts(parts):
    number = f"{len(parts)} part{'s' * (len(parts) != 1)}"
    keys = "; ".join(", ".join(map(repr, part)) for part in parts if part is not None)
    return f"{number} with the keys {keys}" if keys else number


def _to_arrays(model, x, name):
    """Convert a batch of a stream to an array, or a dictionary of arrays."""
    if not isinstance(x, dict):
        x = to_dense(x) if model._takes_sparse else x
        array = conversion.to_numpy(x, name, model._allow_nan)
        conversion.require_rows(array, x, name)
        return array
    arrays = {}
    for key, value in x.items():
        who = f"{name}[{key!r}]"
        arrays[key] = conversion.to_numpy(value, who, model._allow_nan)
        if key not in model.extra_inputs:  # Labels have one number for each example.
            conversion.require_rows(arrays[key], value, who)
    return arrays


def is_plain(value):
    """Tell whether a value is an array or a tensor, and not a list, data frame or masked array."""
    is_frame = hasattr(value, "iloc")
    is_native = getattr(getattr(value, "dtype", None), "isnative", True)
    is_masked = isinstance(value, np.ma.MaskedArray)
    return hasattr(value, "shape") and not (is_frame or is_masked) and is_native


class CheckedPyDataset(keras.utils.PyDataset):
    """A `PyDataset` that checks the batches of another one.

    Args:
        given: The other `PyDataset`.
        check: Function that raises if a batch is wrong, and returns it.
        errors: `turns.StreamErrors`, which learn of the errors that the other one raises.
    """

    is_checked = True

    def __init__(self, given, check, errors):
        super().__init__(given.workers, given.use_multiprocessing, given.max_queue_size)
        self._given, self._check, self._errors = given, check, errors

    @property
    def num_batches(self):
        return self._given.num_batches

    def __getitem__(self, number):
        with self._errors.noted():
            batch = self._given[number]
        return self._check(batch)

    def on_epoch_begin(self):
        self._given.on_epoch_begin()

    def on_epoch_end(self):
        self._given.on_epoch_end()


def checked_loader(loader, check):
    """Return a copy of a torch DataLoader that checks its batches. Keras asks for its type."""
    kind, checked = type(loader), copy.copy(loader)

    def read(self):
        return map(check, kind.__iter__(self))

    checked.__class__ = type(kind.__name__, (kind,), {"__iter__": read, "is_checked": True})
    return checked


def prepend(first, rest, check, errors):
    # Keras recognizes generators by their exact type, which `itertools.chain` does not have.
    yield first
    while True:
        with errors.noted():
            batch = next(rest, END)
        if batch is END:
            return
        yield check(batch)


def as_tuple(batch):
    is_tuple = isinstance(batch, (tuple, list)) and not _holds_rows(batch)
    return tuple(batch) if is_tuple else (batch,)


def _holds_rows(data):
    """Tell whether a list holds rows of numbers, and not x, targets and sample weights."""
    if not isinstance(data, list) or not data:
        return False
    return len(data) > 3 or not all(hasattr(part, "shape") for part in data)
