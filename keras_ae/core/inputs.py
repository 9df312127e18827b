"""Check the data that `fit`, `evaluate` and other methods accept, and convert it to one form.

Arrays become `ArrayBatches`, whose order depends only on the seed and the epoch. Datasets, Keras
`PyDataset`s, data loaders and generators keep their own order. Their first batch is checked before
a loop begins, and the others when the loop reads them. `conversion` makes arrays of what users
pass, `ranges` checks values, and `streams` reads batches.
"""

import inspect
import math
import types

import keras
import numpy as np

from keras_ae.core import (
    arguments,
    building,
    conversion,
    examples,
    memory,
    ranges,
    seeds,
    streams,
)
from keras_ae.core.array_batches import ArrayBatches
from keras_ae.core.sparse_rows import SparseRows, is_sparse, to_dense


def num_examples(data, steps=None):
    """Return the number of examples in an epoch, or None if only reading all of them would tell.

    If only the number of batches is known, the last batch counts as a full one.

    Args:
        data: The data that Keras' loops iterate over.
        steps: Number of batches in an epoch. Defaults to None, which means all batches.
    """
    if isinstance(data, ArrayBatches):
        return data.num_examples
    if hasattr(data, "dataset") and hasattr(data.dataset, "__len__"):  # This is a torch DataLoader.
        return len(data.dataset)
    count = (
        data.cardinality().numpy()
        if streams.is_tf_dataset(data)
        else getattr(data, "num_batches", -1)
    )
    # If there is no count, or a negative one, the data is endless or has an unknown length.
    count = steps if count is None or count < 0 else count
    first = next(iter(streams.iterate_batches(data, 1) or ()), None)
    return None if count is None or first is None else int(count) * examples.length(first[0])


def batch_shape(data):
    """Return the shape of a batch of inputs, or None if it is unknown before a batch is read.

    If an example has several arrays, the shape is (batch size, number of values in all of them).
    """
    if not isinstance(data, ArrayBatches):
        return None
    if isinstance(data.parts[0], dict):
        return data.batch_size, memory.numbers_in(examples.shapes(data.parts[0]))
    return (data.batch_size, *data.arrays[0].shape[1:])


def as_array(data, name):
    """Return data as an array of numbers with a batch axis and at least one feature axis.

    Floats that are wider than float32 become float32. All other dtypes stay.

    Args:
        data: Anything that NumPy can convert to an array of numbers. A memory-mapped array stays
            one unless its dtype changes.
        name: Name of the argument in errors.

    Raises:
        TypeError: If the data is not an array, or contains objects or text.
        ValueError: If it is empty or ragged, has rank 0 or 1, or contains NaN or infinity.
    """
    return array_and_extent(data, name)[0]


def array_and_extent(data, name, allow_nan=False, shape=None, sparse=False):
    """Return the array of `as_array`, and its smallest and largest value.

    With allow_nan=True the array may contain NaN, which the two values ignore. `shape` is that of
    one example, if it is known. With sparse=True, a matrix of `scipy.sparse` becomes `SparseRows`.
    """
    if sparse and is_sparse(data) and len(data.shape) == 2:
        array = SparseRows(data)
    else:
        array = conversion.to_numpy(data, name, allow_nan, shape)
    conversion.require_rows(array, data, name)
    # The models compute in float32, so what counts is what the values are there.
    given, array = array, ranges.as_float32(array)
    low, high = ranges.extent(array, allow_nan)
    if np.isinf([low, high]).any() or (np.isnan([low, high]).any() and not allow_nan):
        found = ranges.extent(given, allow_nan)
        if np.isfinite(found).all():
            raise ValueError(
                f"{name} has values between {found[0]:g} and {found[1]:g}, which float32 cannot "
                f"hold: its largest number is {arguments.LARGEST:.3g}. Rescale {name}."
            )
        raise ValueError(
            f"{name} contains NaN or infinite values (its smallest value is {low}, its largest "
            f"{high}). Remove or replace them first, for example with np.nan_to_num."
        )
    if max(abs(float(low)), abs(float(high))) > arguments.LARGEST_DATA:
        raise ValueError(
            f"{name} has values between {low:g} and {high:g}, whose squares float32 cannot hold. "
            f"Its largest number is {arguments.LARGEST:.3g}. Rescale {name}."
        )
    return array, (low, high)


def devices_of_a_batch():
    """Return how many devices share a batch of this process under `keras.distribution`."""
    distribution = keras.distribution.distribution()
    if distribution is None:
        return 1
    devices = distribution.num_model_replicas
    return devices if distribution.auto_shard_dataset else devices // distribution.num_processes


def check_shape(array, shape, name, model):
    """Raise unless the examples have the shape for which the model was built."""
    for key, each in array.items() if isinstance(array, dict) else ():
        check_shape(each, shape[key], f"{name}[{key!r}]", model)
    if not isinstance(array, dict) and tuple(array.shape[1:]) != tuple(shape):
        given = tuple(array.shape[1:])
        remedy = f"Reshape {name} to {('batch', *shape)}, or make a new model."
        if len(shape) == 2 and given[1:] == tuple(shape[1:]):
            remedy = streams.PAD_ALIKE
        raise ValueError(
            f"{name} has examples of shape {given}, but this {type(model).__name__} was built for "
            f"{tuple(shape)}. {remedy}"
        )


def as_target(x, y, name="y", allow_nan=False, sparse=False):
    """Return a checked array of targets, and its smallest and largest value.

    Raise if the targets are labels, because an autoencoder does not reconstruct labels.
    """
    if not (sparse and is_sparse(y)):
        conversion.refuse_no_array(y, name, "an array with a row for each x")
    given = y if hasattr(y, "shape") else conversion.to_numpy(y, name, allow_nan)
    if len(given.shape) <= 1:
        reason = f"{name} of shape {tuple(given.shape)} contains labels"
    else:
        y, bounds = array_and_extent(y, name, allow_nan, sparse=sparse)
        reason = _label_like(x, y, name)
    if reason:
        raise ValueError(
            f"{reason}, but this model reconstructs its input and uses no labels. Call fit(x), or "
            "fit(x, target) with targets that are like x. If a dataset yields pairs, keep only "
            "their inputs: dataset.map(lambda x, label: x)."
        )
    if len(x) != len(y):
        raise ValueError(
            f"{name} has {len(y)} examples, but x has {len(x)}. Pass one target for each input."
        )
    return y, bounds


def _label_like(x, y, name):
    """Return why the targets look like labels, or None if they do not."""
    if y.dtype.kind in "iu" and y.ndim == 2 and y.shape[1] == 1 != x.shape[-1]:
        return f"{name} contains {y.dtype} labels of shape {y.shape}"
    if y.shape != x.shape and y.ndim == 2 and _one_hot(y):
        return f"{name} of shape {y.shape} contains one-hot labels"
    return None


def _one_hot(y):
    sample = y[:1000]
    return bool(np.all((sample == 0) | (sample == 1)) and np.all(sample.sum(axis=1) == 1))


def check_sample_weight(sample_weight, num_examples):
    """Return checked sample weights as a float32 vector with one weight for each example."""
    given = conversion.to_numpy(sample_weight, "sample_weight")
    weights = np.asarray(ranges.as_float32(given), "float32").squeeze()
    if weights.shape != (num_examples,):
        raise ValueError(
            f"sample_weight has shape {given.shape}, but must have one weight for each "
            f"of the {num_examples} examples, that is, the shape ({num_examples},)."
        )
    if not np.all(np.isfinite(weights)) or weights.min() < 0:
        raise ValueError(
            "sample_weight must be finite and not negative, but its smallest value is "
            f"{weights.min()} and its largest is {weights.max()}."
        )
    return weights


def split_tail(arrays, fraction):
    """Split off the last `fraction` of every array, as Keras does, and return both parts."""
    if not arguments.is_number(fraction) or not 0 < fraction < 1:
        raise arguments.refusal(None, "validation_split", fraction, "a number between 0 and 1")
    # SciPy has no length of matrices.
    length = arrays[0].shape[0] if is_sparse(arrays[0]) else len(arrays[0])
    cut = int(math.floor(length * (1 - fraction)))
    if cut in (0, length):
        raise ValueError(
            f"validation_split={fraction!r} of {length} examples leaves one part empty. Pass "
            "validation_data, or more examples."
        )
    # A single number has no rows to split. The checks of each part refuse it by its name.
    first, last = (
        tuple(a[rows] if np.ndim(a) else a for a in arrays)
        for rows in (slice(cut), slice(cut, None))
    )
    return first, last


def check_stream(model, data, batch_size, name, function, fits):
    """Check the first batch of a dataset, `PyDataset`, data loader or generator.

    The model is built for that batch. The returned data yields all batches, including the first,
    and checks each of them.

    Raises:
        TypeError: If the data is of an unknown kind.
        ValueError: If it yields no batches, or the model does not accept the first one.
    """

    if getattr(data, "is_checked", False):  # Keras' `fit` passes it to `evaluate` in every epoch.
        return data
    streams.refuse_no_stream(data, name)
    compare = streams.compare_parts(name)

    def check(batch):
        """Raise if the model does not accept a batch; return it as a tuple."""
        parts = streams.as_tuple(batch)
        if model._takes_sparse:
            parts = tuple(examples.map_leaves(to_dense, part) for part in parts)
        try:
            compare(parts)
            checked = check_batch(
                model, *streams.unpack(parts, f"A batch of {name}"), name, function, fits
            )
            check_step(model, examples.length(checked[0]), function)
        except (TypeError, ValueError) as error:
            model._notes.stream_errors.found.append(error)
            raise
        # Keras reads arrays and tensors, but no data frames or lists.
        leaves = sum(map(examples.leaves, parts), [])
        return parts if all(map(streams.is_plain, leaves)) else checked

    def check_first(batch):
        if batch is streams.END:
            raise ValueError(streams.NO_BATCHES.format(name))
        return check(batch)

    if streams.is_tf_dataset(data):
        from keras_ae.core import tf_data

        data = tf_data.canonical(model, data, batch_size, function or model.loss_terms)
        first = next(iter(data.as_numpy_iterator()), streams.END)
        check_first(first)
        data = tf_data.check_batches(data, check, first)
        data.is_checked = True
        return data
    if batch_size is not None:
        argument = "validation_batch_size" if name == "validation_data" else "batch_size"
        raise ValueError(
            f"{argument}={batch_size} was passed with a {type(data).__name__}, which makes its own "
            f"batches. Leave {argument} out."
        )
    if isinstance(data, keras.utils.PyDataset):
        check_first(data[0] if data.num_batches != 0 else streams.END)
        return streams.CheckedPyDataset(data, check, model._notes.stream_errors)
    if isinstance(data, types.GeneratorType):
        first = check_first(next(data, streams.END))
        return streams.prepend(first, data, check, model._notes.stream_errors)
    check_first(next(iter(data), streams.END))
    return streams.checked_loader(data, check)


# ------------------------------------------------------------------ the data of a model


def require_built(model, wanted):
    """Raise unless the model knows the shape of its data.

    Args:
        model: The model.
        wanted: Name of the called method in the error.
    """
    if not model.built:
        raise ValueError(
            f"{type(model).__name__}.{wanted} needs the data's shape, but the model has seen no "
            "data yet. Call fit(x), encode(x) or build((None, ...)) first."
        )


def check_data(model, x, name="x"):
    """Return a checked array of inputs. If the model is not built, build it for their shape."""
    return check_call(model, "encode", lambda x: x, x, {}, name)[0]


def check_call(model, call, function, x, given, name="x", is_target=False):
    """Return checked arrays of x and of the named inputs of a call.

    If the model is not built, build it for their shapes.

    Args:
        model: The model.
        call: Name of the called method in errors.
        function: The method. Its signature determines which named inputs it takes.
        x: Arrays or a stream, as `fit` takes them.
        given: Dictionary of the named inputs that were passed as keyword arguments.
        name: Name of the argument x in errors.
        is_target: Whether the call compares its result with x. Defaults to False.

    Returns:
        x, and a dictionary of the named inputs.
    """
    if not conversion.holds_arrays(x):
        x, _ = streams.read_stream(model, x, name, function)
    x, found = take_apart(model, x, name)
    passed = {key: value for key, value in given.items() if value is not None}
    given = {**examples.select(model, function, found), **passed}
    x, bounds = _check_x(model, x, name)
    given = check_named(model, call, function, given, examples.length(x))
    building.build_once(model, examples.shapes(examples.join(model, x, given)))
    check_shape(x, model._data_shape, name, model)
    if is_target:
        _require_target(model, call)
    if is_target or ranges.reads_data(model):
        ranges.check_support(model, x, name, bounds, fits=False)
    return x, given


def _require_target(model, call):
    """Raise if the model compares what it computes with targets that x cannot be."""
    if model._target_shape != model._data_shape:
        raise ValueError(
            f"This {type(model).__name__} turns inputs of shape {model._data_shape} into "
            f"targets of shape {model._target_shape}, but no target was passed. Call "
            f"{call}(x, target)."
        )


def take_apart(model, x, name):
    """Separate x from the named inputs in it. If x is a dictionary, check its keys."""
    if isinstance(x, dict):
        examples.check_keys(model, x, name)
    return examples.split(model, x)


def _check_x(model, x, name):
    """Return the checked x and its extent. For several modalities, both are dictionaries."""
    if not model._modalities:
        _compare_columns(model, conversion.column_names(x), name)
        shape = model._data_shape if model.built else None
        array, bounds = array_and_extent(x, name, model._allow_nan, shape, model._takes_sparse)
        return model._check_values(name, array, "fit"), bounds
    if not isinstance(x, dict):
        raise TypeError(
            f"{name} is {conversion.describe(x)}, but {type(model).__name__} takes a dictionary of "
            f"its modalities: {', '.join(model._modalities)}."
        )
    found = {
        key: array_and_extent(x[key], f"{name}[{key!r}]", model._allow_nan)
        for key in model._modalities
        if key in x
    }
    arrays = {key: array for key, (array, _) in found.items()}
    count = examples.length(arrays)
    for key in model._modalities:
        if key not in arrays:
            if not model.built:
                raise ValueError(
                    f"{name} has no {key!r}, and {type(model).__name__} does not know its shape "
                    "yet. Pass an array of NaN in the right shape, or call build first."
                )
            missing = np.float32("nan")
            arrays[key] = np.broadcast_to(missing, (count, *model._data_shape[key]))
        elif len(arrays[key]) != count:
            lengths = {key: len(array) for key, array in arrays.items()}
            raise ValueError(
                f"{name} has modalities of different lengths: {lengths}. Pass one row for each "
                "example, and NaN if an example lacks a modality."
            )
    arrays = {
        key: model._check_values(f"{name}[{key!r}]", arrays[key], "fit")
        for key in model._modalities
    }
    return arrays, {key: found[key][1] for key in found}


def _compare_columns(model, names, name):
    """Raise if a data frame has other columns than the one for which the model was built."""
    notes = model._notes
    if not model.built:
        notes.columns = names
    for place, (found, known) in enumerate(zip(names or (), notes.columns or (), strict=False)):
        if found != known:
            raise ValueError(
                f"{name} has the column {found!r} where the data for which this "
                f"{type(model).__name__} was built has {known!r}: number {place}, counted from 0. "
                "Pass the same columns in the same order."
            )


def check_named(model, call, function, given, count):
    """Return checked arrays of a call's named inputs with `count` rows each: see `check_call`."""
    if not given and not model.extra_inputs:
        return given
    taken = examples.taken_by(model, function)
    given = examples.check_names(model, call, taken, given, inspect.signature(function))
    return check_rows(model, call, given, count)


def check_rows(model, call, given, count):
    """Return checked arrays of named inputs with `count` rows each."""
    return {name: _check_input(model, call, name, value, count) for name, value in given.items()}


def check_arrays_with_tensors(model, call, tensors, given):
    """Check those named inputs that are arrays, although the data consists of tensors."""
    count = examples.leaves(tensors)[0].shape[0]
    arrays = {
        name: value
        for name, value in given.items()
        if not keras.ops.is_tensor(value) and not isinstance(value, keras.KerasTensor)
    }
    # A symbolic batch has no length yet.
    return given if count is None else {**given, **check_rows(model, call, arrays, count)}


def _check_input(model, call, name, value, count):
    array, who = conversion.to_labels(value, name), type(model).__name__
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{who}: the input {name!r} has dtype {array.dtype}, but must contain numbers. Convert "
            "it first. np.unique(labels, return_inverse=True) converts labels to integers."
        )
    if array.ndim == 0 or len(array) != count:
        raise ValueError(
            f"{who}: the input {name!r} has shape {array.shape}, but there are {count} examples. "
            "Pass one row for each example."
        )
    array = ranges.as_float32(array)
    if not np.all(np.isfinite(array)):
        raise ValueError(
            f"{who}: the input {name!r} contains NaN or infinite values, or values that float32 "
            "cannot hold. Remove or replace them first."
        )
    if examples.dtype_of(model, name) == "int32":
        if array.ndim == 2 and array.shape[1] == 1:
            array = array[:, 0]
        too_large = np.any(np.abs(array.astype("float64")) >= 2**31)
        if array.ndim != 1 or too_large or np.any(array != np.floor(array)):
            raise ValueError(
                f"{who}: the input {name!r} of shape {array.shape} must be a vector of integer "
                "labels, one for each example. np.argmax(vectors, axis=1) converts one-hot vectors."
            )
    array = model._check_values(name, array, call)
    known = array.shape[1:]
    if model.built:
        known = model._extra_shapes.setdefault(name, known)
    if array.shape[1:] != known:
        raise ValueError(
            f"{who}: the input {name!r} has rows of shape {array.shape[1:]}, but this model was "
            f"built for {known}. Reshape it, or make a new model."
        )
    return np.asarray(array, examples.dtype_of(model, name))


def _is_empty(x):
    """Tell whether a tensor is known to have no rows."""
    # While torch exports a program, a length may be a symbol, which is no integer.
    length = x.shape[0] if len(x.shape) else None
    return isinstance(length, int) and length == 0


def check_tensors(model, call, kind, x, name):
    """Check the shapes and dtypes of tensors, whose values are unknown within a program.

    A model that is not built is built for their shapes.

    Args:
        model: The model.
        call: Name of the called method in errors.
        kind: "data" or "code".
        x: Tensor, or a dictionary of tensors.
        name: Name of the argument in errors.

    Returns:
        The tensors, in float32 unless they are integer codes.
    """
    known = _known_shapes(model, kind) if model.built else []
    # Every step of training calls methods with tensors, so usual ones must pass quickly.
    is_usual = not isinstance(x, dict) and "float32" in str(x.dtype)
    if is_usual and tuple(x.shape[1:]) in known and not _is_empty(x):
        return x
    for key, each in x.items() if isinstance(x, dict) else [(None, x)]:
        who, dtype = name if key is None else f"{name}[{key!r}]", str(each.dtype)
        if "complex" in dtype or "string" in dtype:
            raise TypeError(f"{who} is a tensor of {dtype}, but must contain numbers.")
        if len(each.shape) < 2:
            raise ValueError(
                f"{who} is a tensor of shape {tuple(each.shape)}, and needs a batch axis and at "
                "least one feature axis."
            )
        if _is_empty(each):
            raise ValueError(conversion.EMPTY.format(name=who, shape=tuple(each.shape)))
    lengths = {n for n in (each.shape[0] for each in examples.leaves(x)) if isinstance(n, int)}
    if len(lengths) > 1:
        raise ValueError(f"{name} has tensors of different lengths: {sorted(lengths)}.")
    if len({isinstance(each, keras.KerasTensor) for each in examples.leaves(x)}) > 1:
        raise TypeError(
            f"{name} has symbolic tensors of Keras, and others with values. Make all of them "
            "symbolic, or none."
        )
    if not model.built:
        shapes = examples.shapes(x)
        is_known = None not in sum(examples.leaves(shapes), ())
        if kind == "code" or model.extra_inputs or model._modalities or not is_known:
            require_built(model, call)
        building.build_once(model, shapes)
    for key, each in x.items() if isinstance(x, dict) else [(None, x)]:
        if key is None and known:
            _check_static_shape(model, each, known, name)
        elif known:
            _check_static_shape(model, each, [known[0][key]], f"{name}[{key!r}]")
    if kind == "code" and model._code_dtype == "int32":
        return x
    return examples.map_leaves(lambda each: keras.ops.cast(each, "float32"), x)


def _known_shapes(model, kind):
    if kind == "data":
        return [model._data_shape]
    if model._code_dtype == "int32":
        return [model.code_shape, model._vector_shape]
    return [model.code_shape]


def _check_static_shape(model, tensor, shapes, name):
    """Raise unless a tensor may have one of the shapes. Sizes that are None are unknown."""
    given = tuple(tensor.shape[1:])
    for shape in shapes:
        if len(given) == len(shape) and all(
            None in pair or pair[0] == pair[1] for pair in zip(given, shape, strict=True)
        ):
            return
    wanted = " or ".join(f"({', '.join(map(str, ('batch', *shape)))})" for shape in shapes)
    raise ValueError(
        f"{name} is a tensor of shape {tuple(tensor.shape)}, but this {type(model).__name__} "
        f"takes the shape {wanted}."
    )


def check_codes(model, z, name="z"):
    """Return a checked array of codes in the dtype that `decode` takes."""
    require_built(model, "decode")
    given, z = z, as_array(z, name)
    if model._code_dtype == "int32":
        return _check_integer_codes(model, z, given, name)
    if z.shape[1:] != model.code_shape:
        raise ValueError(
            f"decode: {name} has shape {z.shape}, but codes of this {type(model).__name__} have "
            f"shape (batch, {', '.join(map(str, model.code_shape))})."
        )
    return np.asarray(z, "float32")


def _check_integer_codes(model, z, given, name):
    """Return a checked array of integer codes as int32, or of code vectors as float32."""
    if z.shape[1:] == model._vector_shape:
        return np.asarray(z, "float32")
    if z.shape[1:] != model.code_shape:
        shapes = [", ".join(map(str, shape)) for shape in (model.code_shape, model._vector_shape)]
        raise ValueError(
            f"decode: {name} has shape {z.shape}, but codes of this {type(model).__name__} have "
            f"shape (batch, {shapes[0]}), and their vectors have shape (batch, {shapes[1]})."
        )
    z = np.asarray(given)  # float32 skips integers above 2**24, and there may be more codes.
    if np.any(z != np.floor(z)) or z.min() < 0 or z.max() >= model.num_codes:
        raise ValueError(
            f"decode: {name} of shape {z.shape} must contain codes, which are integers from 0 to "
            f"{model.num_codes - 1}, but its smallest value is {z.min()} and its largest {z.max()}."
        )
    return np.asarray(z, "int32")


def check_target(model, x, y, name="y", fits=False):
    """Return a checked array of targets for the inputs x: see `ranges.check_support` for `fits`."""
    if model._modalities:
        raise ValueError(
            f"{name} was passed, but {type(model).__name__} reconstructs its modalities and takes "
            f"no targets. Leave {name} out."
        )
    y, bounds = as_target(x, y, name, model._allow_nan, model._takes_sparse)
    y = model._check_values(name, y, "fit")
    if model.built:
        check_shape(y, model._target_shape, name, model)
    ranges.check_support(model, y, name, bounds, fits)
    return y


def check_batch(model, x, y, sample_weight, name="x", function=None, fits=False):
    """Return the checked x, target and sample weights as a tuple.

    The tuple ends after the last part that was passed. Its first part is a dictionary if there are
    named inputs or several modalities. The signature of `function`, by default `model.loss_terms`,
    determines which named inputs are required. `ranges.check_support` explains `fits`.
    """
    if y is x:
        y = None
    x, given = take_apart(model, x, name)
    x, bounds = _check_x(model, x, name)
    wanted = function or model.loss_terms
    given = examples.select(model, wanted, given)
    given = check_named(model, "fit", wanted, given, examples.length(x))
    if y is not None:
        y = check_target(model, x, y, "y" if name == "x" else f"{name}[1]", fits)
    batch = examples.join(model, x, given)
    building.build_once(model, examples.shapes(batch), None if y is None else y.shape[1:])
    check_shape(x, model._data_shape, name, model)
    if fits and model._check_fit is not None:
        model._check_fit(name, bounds)
    if y is None:
        is_target = function is None
        if is_target:
            _require_target(model, "fit")
        if is_target or ranges.reads_data(model):
            ranges.check_support(model, x, name, bounds, fits)
    if sample_weight is None:
        return (batch,) if y is None else (batch, y)
    weights = check_sample_weight(sample_weight, examples.length(x))
    return (batch, x if y is None else y, weights)


def with_inputs(model, call, x, inputs, function=None):
    """Return x and the named inputs that were passed in addition to it, as one batch.

    Args:
        model: The model.
        call: Name of the called method in errors.
        x: Data of any form.
        inputs: Dictionary of the named inputs that were passed as keyword arguments.
        function: The method whose signature determines which named inputs it takes. Defaults to
            `model.loss_terms`.

    Raises:
        TypeError: If there are inputs and x is a stream of batches, which must yield them itself.
    """
    if not inputs:
        return x
    if not conversion.holds_arrays(x):
        streams.refuse_no_stream(x, "x")
        raise TypeError(
            f"{type(model).__name__}.{call}: {next(iter(inputs))}= was passed with a "
            f"{type(x).__name__}, which must yield its own inputs: dictionaries with the "
            f"keys {', '.join(map(repr, ('x', *inputs)))}."
        )
    taken = examples.taken_by(model, function or model.loss_terms)
    x, found = take_apart(model, x, "x")
    given = examples.check_names(model, call, taken, {**found, **inputs})
    return examples.join(model, x, given)


def make_batches(
    model, parts, batch_size, shuffle, steps, name="x", divided=True, function=None, fits=False
):
    """Return checked data that Keras' loops can iterate over, and build the model for it.

    If several devices share a batch of arrays, each of them gets the same number of examples.
    Unless `divided` is False, a pass therefore leaves out the last few examples. `check_batch`
    explains `function` and `fits`.
    """
    x, y, sample_weight = parts
    if isinstance(x, ArrayBatches):
        return x
    if conversion.holds_arrays(x):
        parts = check_batch(model, x, y, sample_weight, name, function, fits)
        count = examples.length(parts[0])
        size = arguments.integer(None, "batch_size", 32 if batch_size is None else batch_size)
        devices = devices_of_a_batch() if divided else 1
        if size % devices or count < devices:
            raise ValueError(
                f"{devices} devices share a batch of batch_size={size}, and {name} has {count} "
                f"examples. Pass a batch_size that is a multiple of {devices}, and at least "
                f"{devices} examples."
            )
        check_step(model, min(size, count), function)
        order = seeds.order_seed(model)
        labels = [key for key, dtype in model._input_dtypes.items() if dtype == "int32"]
        counts = shuffle and hasattr(model, "_count_lengths")
        lengths = model._count_lengths(parts[0]) if counts else None
        return ArrayBatches(parts, int(size), shuffle, order, steps, devices, labels, lengths)
    streams.refuse_no_stream(x, name)
    if y is not None or sample_weight is not None:
        raise ValueError(
            f"{name} is a {type(x).__name__}, which must yield its own targets and weights. Make "
            f"it yield (x, target, sample_weight), and pass only {name}."
        )
    return check_stream(model, x, batch_size, name, function, fits)


def check_step(model, size, function=None):
    """Raise an error if a step on a batch is not possible because of the number of its examples.

    Args:
        model: The model.
        size: Number of examples in the batch.
        function: What computes the batch if this is not the model's losses. Defaults to None.
    """
    memory.refuse_step(model, size)
    if function is None and size == 1 and model._compares_examples:
        raise ValueError(
            f"{type(model).__name__}: the loss tells an example from the others of its batch, and "
            "a batch has one example. Pass a larger batch_size, or batches of two or more examples."
        )


def split(parts, fraction):
    """Split arrays for training and validation. The last `fraction` is for validation."""
    named = zip(parts, ("x", "y", "sample_weight"), strict=True)
    arrays = [
        # The checks of each part refuse a number, and what is no array, by its name.
        _to_rows(leaf, name) if conversion.is_array(leaf) else leaf
        for part, name in named
        if part is not None
        for leaf in examples.leaves(part)
    ]
    halves = split_tail(arrays, fraction)
    return tuple(_pack_like(parts, half) for half in halves)


def _to_rows(data, name):
    """Return an array, or a sparse matrix of which rows can be taken."""
    return data.tocsr() if is_sparse(data) else conversion.to_numpy(data, name, True)


def count_steps(batches, steps):
    """Return the number of steps in an epoch, or None if it is unknown."""
    # If Keras knows the number, it does not make another iterator in every epoch.
    return batches.num_batches if isinstance(batches, ArrayBatches) else steps


def _pack_like(parts, arrays):
    """Return arrays in the structure of the parts, some of which are None."""
    arrays = iter(arrays)
    return tuple(
        None if part is None else examples.map_leaves(lambda _: next(arrays), part)
        for part in parts
    )
