"""Convert what users pass as data to NumPy arrays of numbers, or say why it cannot be one."""

import keras
import numpy as np

from keras_ae.core.sparse_rows import is_sparse

_MOST_NAMED = 5  # At most so many columns are named in an error.
# A list of at most so many arrays probably holds inputs and targets, and not examples.
_MOST_PARTS = 3

EMPTY = "{name} is empty: its shape is {shape}. Pass at least one example."


def is_array(data):
    """Tell whether data is at hand as a whole: an array, a list, a data frame, a tensor.

    A matrix of `scipy.sparse` is one, too, although NumPy cannot read it, and few models take it.
    """
    return hasattr(data, "__array__") or isinstance(data, list) or is_sparse(data)


def holds_arrays(data):
    """Tell whether the data is an array, as `is_array` defines it, or a dictionary of arrays."""
    return is_array(data) or isinstance(data, dict)


def describe(value):
    """Return what an error calls a value: its type, and the value itself if it is short.

    Example:
        >>> from keras_ae.core import conversion
        >>> conversion.describe(3.0), conversion.describe(range(3))
        ('3.0, a float', 'range(0, 3), a range')
        >>> import numpy as np
        >>> conversion.describe((np.zeros(400), np.zeros(400)))
        'a tuple'
    """
    kind = type(value).__name__
    article = "an" if kind[0] in "aeiouAEIOU" else "a"
    # What has a length may hold many numbers.
    if hasattr(value, "__len__") and not isinstance(value, (str, bytes, range)):
        return f"{article} {kind}"
    text = repr(value)
    is_short = len(text) <= 50 and "\n" not in text and not text.startswith("<")
    return f"{text}, {article} {kind}" if is_short else f"{article} {kind}"


def to_numpy(data, name, allow_nan=False, shape=None):
    """Return data as a NumPy array of numbers, whose shape and values are not checked.

    Args:
        data: Anything that NumPy can convert to an array of numbers. A memory-mapped array stays
            one. Columns of a data frame may be nullable.
        name: Name of the argument in errors.
        allow_nan: Whether NaN may stand for the masked values of a masked array. Defaults to False.
        shape: Shape of one example, if it is known. Defaults to None.

    Raises:
        TypeError: If the data is no array, or does not hold numbers.
        ValueError: If its rows have different lengths, or some of its values are masked.
    """
    if type(data) in (np.ndarray, np.memmap) and data.dtype.kind in "biuf":
        # torch reads the byte order of this machine alone. Files are converted when they are read.
        is_native = data.dtype.isnative or isinstance(data, np.memmap)
        return data if is_native else data.astype(data.dtype.newbyteorder("="))
    refuse_no_array(data, name)
    if keras.ops.is_tensor(data):
        data = keras.ops.convert_to_numpy(data)
    elif _is_of(data, "torch"):
        data = _read_torch(data)
    elif _is_of(data, "pandas") and hasattr(data, "columns"):
        data = _read_columns(data, name)
    elif isinstance(data, np.ma.MaskedArray):
        data = _fill(data, name, allow_nan)
    elif isinstance(data, list):
        _refuse_parts(data, name, shape)
    try:
        array = data if isinstance(data, np.memmap) else np.asarray(data)
    except ValueError as error:
        if not isinstance(data, list):
            raise
        raise ValueError(_explain_lengths(data, name)) from error
    if array.dtype.name == "bfloat16":  # NumPy does not know that this dtype holds numbers.
        array = array.astype("float32")
    if array.dtype.kind not in "biuf":
        _refuse_dtype(array, name)
    return array


def to_labels(data, name):
    """Return named inputs as a NumPy array of any dtype.

    Raises:
        ValueError: If rows have different lengths, or values are masked.
    """
    if keras.ops.is_tensor(data):
        return keras.ops.convert_to_numpy(data)
    if _is_of(data, "torch"):
        return _read_torch(data)
    if isinstance(data, np.ma.MaskedArray):
        data = _fill(data, name, False)
    try:
        return np.asarray(data)
    except ValueError as error:
        raise ValueError(
            f"{name} is not an array, because its rows have different lengths."
        ) from error


def _is_of(data, package):
    """Return whether the class of data is one of a package, which need not be imported for this."""
    return type(data).__module__.partition(".")[0] == package


def _read_torch(data):
    """Return a tensor of torch as an array where another backend runs.

    NumPy itself reads no tensor that has gradients, lies on a GPU or is bfloat16.
    """
    data = data.detach().cpu()
    return (data.float() if str(data.dtype) == "torch.bfloat16" else data).numpy()


def require_rows(array, data, name):
    """Raise unless an array has rows, which are its examples, and at least one number in each.

    Args:
        array: The NumPy array.
        data: What the user passed, of which the array was made.
        name: Name of the argument in errors.
    """
    if array.size == 0:
        raise ValueError(EMPTY.format(name=name, shape=array.shape))
    if array.ndim < 2:
        if array.ndim == 0:
            raise ValueError(
                f"{name} is a single number. Pass an array with a row for each example."
            )
        one, column = f"{name}[None]", f"{name}[:, None]"
        if hasattr(data, "to_frame"):  # This is a column of a data frame.
            one, column = f"{name}.to_frame().T", f"{name}.to_frame()"
        elif isinstance(data, list):
            one, column = f"[{name}]", f"np.reshape({name}, (-1, 1))"
        raise ValueError(
            f"{name} of shape {array.shape} needs a batch axis and at least one feature axis. Pass "
            f"{one} if this is one example, or {column} if it is one feature."
        )


def refuse_no_array(data, name, wanted="an array"):
    """Raise if data is neither an array nor anything that NumPy converts to an array of numbers.

    Args:
        data: What the user passed.
        name: Name of the argument in errors.
        wanted: What else the user may pass. Defaults to "an array".
    """
    remedy, kind = None, type(data).__name__
    if isinstance(data, keras.KerasTensor):
        remedy = "It is symbolic and has no values. Pass an array"
    elif "Ragged" in kind:
        remedy = f"Pad its rows to one length: {name}.to_tensor()"
    elif kind in ("SparseTensor", "IndexedSlices"):
        remedy = f"Make it dense: tf.sparse.to_dense({name})"
    elif hasattr(data, "toarray"):
        remedy = f"Make it dense: {name}.toarray()"
    elif str(getattr(data, "layout", "")).startswith("torch.sparse"):
        remedy = f"Make it dense: {name}.to_dense()"
    elif kind in ("BCOO", "BCSR"):
        remedy = f"Make it dense: {name}.todense()"
    elif isinstance(data, tuple):
        shapes = ", ".join(_describe_part(part) for part in data[:_MOST_NAMED])
        parts = f"{len(data)} part{'s' * (len(data) != 1)} ({shapes})"
        remedy = (
            f"It has {parts}. Pass inputs and targets as two arguments, as in fit(x, target), or "
            f"np.stack({name}) if each part is an example"
        )
    elif not is_array(data):
        remedy = f"Pass {wanted} instead"
    if remedy:
        raise TypeError(f"{name} is {describe(data)}. {remedy}.")


def refuse_symbols(data, name):
    """Raise if data, or a value of a dictionary, is a symbolic tensor of Keras."""
    for each in data.values() if isinstance(data, dict) else (data,):
        if isinstance(each, keras.KerasTensor):
            refuse_no_array(each, name)


def _describe_part(part):
    shape = getattr(part, "shape", None)
    return type(part).__name__ if shape is None else f"shape {tuple(shape)}"


def _refuse_parts(data, name, shape):
    """Raise if a list holds dictionaries, or a few arrays that are no examples of this shape."""
    if data and isinstance(data[0], dict):
        raise TypeError(
            f"{name} is a list of {len(data)} dictionaries. Pass one array with a row for each of "
            f"them, such as pandas.DataFrame({name})."
        )
    ranks = [len(getattr(part, "shape", ())) for part in data[: _MOST_PARTS + 1]]
    if not 0 < len(data) <= _MOST_PARTS or min(ranks) < 2:
        return
    if all(tuple(part.shape) == shape for part in data):
        return
    shapes = ", ".join(str(tuple(part.shape)) for part in data)
    raise TypeError(
        f"{name} is a list of {len(data)} array{'s' * (len(data) > 1)}, of shape {shapes}. Pass "
        f"the array of the inputs alone, as in fit(x) or fit(x, target), or np.stack({name}) if "
        "each of them is one example."
    )


def _explain_lengths(data, name):
    """Return why a list is no array, which is that its parts have different shapes."""
    shapes = [np.shape(part) if hasattr(part, "shape") else None for part in data]
    same = None not in shapes and len({shape[1:] for shape in shapes}) == 1
    if same and len(shapes[0]) > 1:
        lengths = sorted({shape[0] for shape in shapes})
        return (
            f"{name} is a list of {len(data)} arrays of different lengths, from {lengths[0]} to "
            f"{lengths[-1]}. If they are sequences, pad them to one length, for example with "
            f"keras.utils.pad_sequences({name}, dtype='float32'). If they are batches, join them: "
            f"np.concatenate({name})."
        )
    return (
        f"{name} is not an array, because its rows have different lengths. Pad them to one length, "
        f"for example with keras.utils.pad_sequences({name}, dtype='float32'), or train a model on "
        "each length."
    )


def _fill(data, name, allow_nan):
    """Return a masked array as a plain one, in which NaN stands for missing values if allowed."""
    if not np.ma.is_masked(data):
        return np.ma.getdata(data)
    if allow_nan:
        return data.astype(np.result_type(data.dtype, "float32")).filled(np.nan)
    raise ValueError(
        f"{name} is a masked array with {np.ma.count_masked(data)} masked values. Replace them, "
        f"for example with {name}.filled(0). To learn from incomplete data, use "
        "keras_ae.MissingDataIWAE."
    )


def column_names(data):
    """Return the names of the columns of a data frame as a list, or None if there are none."""
    names = list(getattr(data, "columns", ()))
    return names if names and all(isinstance(name, str) for name in names) else None


def _read_columns(frame, name):
    """Return a data frame of numbers, some of which may be nullable or truth values, as an array.

    A missing value becomes NaN.
    """
    dtypes = list(frame.dtypes)
    kinds = [getattr(dtype, "kind", "O") for dtype in dtypes]
    wrong = [number for number, kind in enumerate(kinds) if kind not in "biuf"]
    if not wrong:
        # NumPy would make objects of nullable columns, and of truth values together with numbers.
        is_plain = all(isinstance(dtype, np.dtype) for dtype in dtypes)
        if is_plain and ("b" not in kinds or set(kinds) == {"b"}):
            return np.asarray(frame)
        return frame.to_numpy(dtype="float64", na_value=np.nan)
    shown = ", ".join(f"{frame.columns[n]!r} ({dtypes[n]})" for n in wrong[:_MOST_NAMED])
    more = f" and {len(wrong) - _MOST_NAMED} more" if len(wrong) > _MOST_NAMED else ""
    times = [frame.columns[number] for number in wrong if kinds[number] in "mM"]
    try:
        frame.iloc[:, [n for n in wrong if kinds[n] != "c"]].astype("float32")
        remedy = f"Convert them: {name}.astype('float32')"
    except (TypeError, ValueError):
        remedy = (
            f"Make numbers of them, for example with pandas.get_dummies({name}, dtype='float32')"
        )
        if times:
            remedy = (
                f"Leave out the times, {name}.drop(columns={times[:_MOST_NAMED]}), or convert them"
            )
    if "c" in kinds:  # pandas would drop the imaginary parts.
        column = frame.columns[kinds.index("c")]
        parts = f"np.real({name}[{column!r}]) and np.imag({name}[{column!r}])"
        remedy = f"Make two columns of each that is complex: {parts}"
    raise TypeError(f"{name} has columns that do not hold numbers: {shown}{more}. {remedy}.")


def _refuse_dtype(array, name):
    """Raise for an array of a dtype that does not hold numbers, with a remedy that works for it."""
    if array.dtype.kind == "c":
        remedy = f"Pass its parts as two features: np.stack([{name}.real, {name}.imag], axis=-1)"
    elif array.dtype.names:
        remedy = f"Pass numpy.lib.recfunctions.structured_to_unstructured({name})"
    elif array.dtype.kind in "mM":
        remedy = f"Convert the times to numbers, such as {name}.astype('int64'), and rescale them"
    else:
        remedy = _explain_objects(array, name)
    raise TypeError(f"{name} has dtype {array.dtype}, but must contain numbers. {remedy}.")


def _explain_objects(array, name):
    """Return how to make numbers of an array of text or objects."""
    try:
        is_missing = np.isnan(np.stack(list(array)).astype("float32"))
    except (TypeError, ValueError):
        is_missing = None
    if is_missing is not None and not is_missing.any():
        return f"Convert it, for example with np.stack(list({name})).astype('float32')"
    parts = [part for part in array.ravel() if hasattr(part, "__len__")]
    if array.dtype.kind == "O" and parts and not any(isinstance(p, (str, dict)) for p in parts):
        return (
            "Its rows have different lengths. Pad them to one length, for example with "
            f"keras.utils.pad_sequences({name}, dtype='float32')"
        )
    wrong = next((part for part in array.ravel().tolist() if not _is_numeric(part)), None)
    return (
        f"It holds {describe(wrong)}, which is no number. Remove or encode such values, text for "
        "example with keras.layers.TextVectorization or np.unique(text, return_inverse=True)[1]"
    )


def _is_numeric(value):
    try:
        return not np.isnan(float(value))
    except (TypeError, ValueError):
        return False
