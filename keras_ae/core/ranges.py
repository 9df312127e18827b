"""The values of data: their extent, and the range that a model is defined on."""

import dataclasses
import math
import warnings

import keras
import numpy as np

from keras_ae.core.sparse_rows import SparseRows

_NUMBERS_IN_CACHE = 2**18  # These take one megabyte in float32.
_SCALES = 1e-3, 100.0
_MOST_BEYOND = 100


def loses_digits(values, deviation):
    """Tell whether float32 cannot hold a hundredth of the deviation of some numbers.

    Args:
        values: Array of numbers.
        deviation: Their standard deviation.
    """
    return bool(np.spacing(np.float32(np.abs(values).max())) > 0.01 * deviation)


@dataclasses.dataclass(frozen=True)
class Support:
    """The lowest and the highest value of data, and which values between them it may have.

    It unpacks to the two values, as the pair does that also is a support.

    Args:
        low: The lowest value.
        high: The highest value, which may be infinite.
        step: Data has only the values low, low + step, low + 2 step and so on. Defaults to None,
            all values.
        is_open: Whether data has all values but low and high themselves. Defaults to False.
    """

    low: float
    high: float
    step: float | None = None
    is_open: bool = False

    def __iter__(self):
        return iter((self.low, self.high))


def as_support(pair):
    """Return a `Support` for the lowest and highest value, or the one that was passed."""
    return pair if isinstance(pair, Support) else Support(*pair)


def are_counts(support):
    """Tell whether the support of data, or None, is that of counts."""
    if not isinstance(support, Support):  # Several modalities have a dictionary.
        return False
    return support.low == 0.0 and support.step == 1.0 and math.isinf(support.high)


def are_tokens(support):
    """Tell whether the support of data, or None, is that of tokens, which have no gradient."""
    if not isinstance(support, Support):
        return False
    return support.low == 0.0 and support.step == 1.0 and math.isfinite(support.high)


def as_float32(array):
    """Convert an array of wider floats to float32. A number that is too large becomes infinite."""
    if isinstance(array, SparseRows):
        return array.map_values(as_float32)
    if array.dtype.kind != "f" or array.dtype.itemsize <= 4:
        return array
    with np.errstate(over="ignore"):
        return array.astype("float32")


def extent(array, skip_nan=False):
    """Return the smallest and the largest value of an array, or NaN if the array contains one.

    With skip_nan=True, NaN is ignored unless there are no other values.
    """
    least, largest = (np.fmin, np.fmax) if skip_nan else (np.minimum, np.maximum)
    if isinstance(array, SparseRows):  # All values that are not stored are 0.
        stored = array.matrix.data
        return least.reduce(stored, initial=0), largest.reduce(stored, initial=0)
    # The array is reduced in parts that fit into the processor's cache, so that memory, or a file,
    # is read only once for both reductions.
    step = max(1, _NUMBERS_IN_CACHE // array[0].size)
    parts = (array[start : start + step] for start in range(0, len(array), step))
    lows, highs = zip(
        *((least.reduce(part, None), largest.reduce(part, None)) for part in parts), strict=True
    )
    return least.reduce(lows), largest.reduce(highs)


def without_padding(array, mask_value):
    """Return the steps of sequences without the padded ones, which contain only mask_value."""
    steps = array.reshape(-1, array.shape[-1])
    return steps[np.any(steps != np.float32(mask_value), axis=-1)]


def check_classes(array, name, model):
    """Raise unless the last axis of targets contains class probabilities, or only zeros."""
    # Like `extent`, this reads the array in parts that fit into the processor's cache.
    width = array.shape[-1]
    rows, ones = array.reshape(-1, width), np.ones(width, "float32")
    step = max(1, _NUMBERS_IN_CACHE // width)
    for start in range(0, len(rows), step):
        sums = np.asarray(rows[start : start + step], "float32") @ ones
        wrong = (np.abs(sums - 1.0) > 1e-2) & (sums != 0.0)
        if np.any(wrong):
            raise ValueError(
                f"{name} of shape {array.shape} has a last axis that adds up to "
                f"{sums[np.argmax(wrong)]:g}, but this {type(model).__name__} reads it as class "
                "probabilities, which must add up to 1. Make labels one-hot with "
                "keras.utils.to_categorical, or choose 'bernoulli' or 'binary_crossentropy' if "
                "each value lies between 0 and 1 by itself."
            )


def reads_data(model):
    """Tell whether what the encoder reads is data like that which the model computes.

    An encoder of the user's own may rescale bytes.
    """
    has_limits = model._inputs_are_targets and not has_own_encoder(model)
    return has_limits and model._target_shape == model._data_shape


def has_own_encoder(model):
    """Tell whether the user passed a network as the encoder."""
    return isinstance(model.arguments.get("encoder"), keras.layers.Layer)


def check_support(model, array, name, bounds, fits=True):
    """Raise if data is outside the range on which the model's likelihood is defined.

    Args:
        model: The model.
        array: The data, or a dictionary of the modalities.
        name: Name of the argument in errors.
        bounds: The smallest and the largest value of the data, or a dictionary of such pairs.
        fits: Whether the model is fitted to the data. If not, examples may leave the range of what
            it was fitted to, and only bytes are refused. `examples.clip_to_support` then makes them
            comparable. Defaults to True.
    """
    if isinstance(array, dict):
        for key, each in bounds.items():
            support = model._support[key]
            are_classes = model._takes_classes[key]
            _check_range(model, f"{name}[{key!r}]", array[key], each, support, are_classes, fits)
            if are_classes:
                check_classes(array[key], f"{name}[{key!r}]", model)
        return
    if model._support is None:
        if fits:
            _warn_of_scale(model, name, bounds)
        return
    sequences = None if model._mask_value is None else model._to_sequences(array)
    if sequences is not None:
        array = without_padding(sequences, model._mask_value)
        if not array.size:
            return
        bounds = extent(array, model._allow_nan)
    _check_range(model, name, array, bounds, model._support, model._takes_classes, fits)
    if model._takes_classes:
        check_classes(array, name, model)


def clip(values, support):
    """Return a tensor of data as the nearest values that a likelihood with this support takes."""
    support = as_support(support)
    low, high, step = support.low, support.high, support.step
    if support.is_open:
        low, high = _nearest_inside(low, high), _nearest_inside(high, low)
    values = keras.ops.maximum(values, low)
    if math.isfinite(high):
        values = keras.ops.minimum(values, high)
    if step is None:
        return values
    return low + step * keras.ops.round((values - low) / step)


def _nearest_inside(end, other):
    """Return the normal float32 between two numbers that is nearest to the first of them."""
    if math.isinf(end):
        return end
    return float(np.nextafter(np.float32(end), np.float32(other))) if end else _SMALLEST


_SMALLEST = 1.1754944e-38  # The smallest normal float32: processors may treat smaller ones as 0.


def _check_inside(model, name, array, bounds, support, fits):
    """Raise unless data has the steps of its support, and leaves out its ends if they are open.

    Data with limits on both sides may have other values where no model is fitted to it.
    """
    low, high = support
    if not (fits or math.isinf(high)):
        return
    who = f"this {type(model).__name__} models"
    support = as_support(support)
    if support.is_open:
        for end, value in zip(support, bounds, strict=True):
            if value == end and math.isinf(high):
                raise ValueError(
                    f"{name} has values of {end:g}, but {who} values above {low:g}. Leave them "
                    "out, or add a small number to all values."
                )
            if value == end:
                raise ValueError(
                    f"{name} has values of {end:g}, but {who} values between {low:g} and "
                    f"{high:g}, without the ends. Move them inside, for example with 0.01 + 0.98 * "
                    f"{name}, or choose likelihood='continuous_bernoulli'."
                )
    step = support.step
    if step is None or (step == 1.0 and array.dtype.kind in "iub"):
        return
    found = _find_between_steps(array, low, step)
    if found is None:
        return
    if step == 1.0:
        kind = f"counts, the whole numbers from {low:g}"
        remedy = "Pass the counts themselves, neither rescaled nor their logarithms."
    else:
        kind = f"the {round((high - low) / step) + 1} values k / {round(1 / step)}"
        remedy = f"Pass bytes divided by {round(1 / step)}, or choose another likelihood."
    raise ValueError(f"{name} has values such as {found:.7g}, but {who} {kind}. {remedy}")


def _find_between_steps(array, low, step):
    """Return a value of data that is no multiple of the step above low, or None."""
    if isinstance(array, SparseRows):  # Counts have a step at 0, which is what is not stored.
        array = array.matrix.data[:, None]
        if not len(array):
            return None
    # Like `extent`, this reads the array in parts that fit into the processor's cache.
    rows = max(1, _NUMBERS_IN_CACHE // max(1, array[0].size))
    for start in range(0, len(array), rows):
        part = np.asarray(array[start : start + rows], "float64").ravel()
        steps = (part - low) / step
        # NaN is missing data. Scalers err by rounding.
        wrong = np.abs(steps - np.round(steps)) > (0.0 if step == 1.0 else 1e-2)
        if np.any(wrong):
            return part[np.argmax(wrong)]
    return None


def _warn_of_scale(model, name, bounds):
    """Warn once if numbers that a model is fitted to are far from unit scale."""
    smallest, largest = bounds
    size = max(abs(smallest), abs(largest))
    is_usual = (
        size <= 0.0 or _SCALES[0] <= size <= _SCALES[1]
    )  # The size is infinite if all are NaN.
    if (
        is_usual
        or model.standardize
        or model._scales_data
        or model._notes.has_warned_of_scale
        or not np.isfinite(size)
    ):
        return
    model._notes.has_warned_of_scale = True
    warnings.warn(
        f"{type(model).__name__}: {name} has values from {smallest:.6g} to {largest:.6g}. Networks "
        "learn slowly, or not at all, from data so far from unit scale. Make the model with "
        "standardize=True, or scale the data yourself.",
        stacklevel=2,
    )


def widen(support):
    """Return the range of what a model encodes and scores, which it need not have been fitted to.

    Examples may lie beyond the range of the training data by 100 times its width. Data that has
    only one limit may not lie beyond it.
    """
    low, high = support
    if math.isinf(high):
        return low, high
    most = _MOST_BEYOND * (high - low)
    return low - most, high + most


def _check_range(model, name, array, bounds, support, are_classes, fits):
    if support is None:
        return
    (low, high), (smallest, largest) = support, bounds
    # Scalers exceed the range by rounding errors.
    margin = 1e-6 * (high - low) if math.isfinite(high) else 0.0
    if not (smallest < low - margin or largest > high + margin):  # All values may be NaN.
        _check_inside(model, name, array, bounds, support, fits)
        return
    is_bytes = not are_classes and high < largest and _look_like_bytes(array, bounds)
    least, most = widen(support)
    is_far = smallest < least or largest > most
    if not (fits or are_classes or is_bytes or is_far):
        return
    if are_classes:
        remedy = "Make labels one-hot with keras.utils.to_categorical."
    elif is_bytes and (low, high) == (0.0, 1.0):
        scaled = f"{name}.astype('float32') / 255"
        remedy = f"Divide by 255: {scaled}."
        if has_own_encoder(model):
            remedy += f" If the encoder does so, pass targets: fit({name}, {scaled})."
    else:
        remedy = _explain_rescaling(model, name, bounds, support)
    raise ValueError(
        f"{name} has values between {smallest:.7g} and {largest:.7g}, but this "
        f"{type(model).__name__} models {describe(support)}. {remedy}"
    )


def describe(support):
    """Say which values data may have."""
    low, high = support
    return f"values from {low:g} on" if math.isinf(high) else f"values between {low:g} and {high:g}"


def _look_like_bytes(array, bounds):
    """Tell whether values are probably pixels from 0 to 255, and not a few that are too large."""
    smallest, largest = bounds
    if smallest < 0 or largest > 255:
        return False
    if array.dtype == "uint8":
        return largest > 16  # The digits of scikit-learn have up to 16 levels of gray.
    return largest > 127 and (array.ndim > 3 or bool(np.all(array == np.floor(array))))


def _explain_rescaling(model, name, bounds, support):
    """Return how to bring data into the range that a model takes, or how to take other data."""
    (low, high), (smallest, largest) = support, bounds
    width = high - low
    remedies = [f"rescale {name} to that range"]
    if math.isinf(high):
        remedies = [f"pass {name} itself, neither standardized nor its logarithm"]
    elif smallest >= low - 0.1 * width and largest <= high + 0.1 * width:
        remedies.insert(0, f"clip it with np.clip({name}, {low:g}, {high:g})")
    other = {"likelihood": "gaussian", "reconstruction_loss": "mean_squared_error"}
    for argument in other.keys() & model.arguments.keys():
        remedies.append(f"choose {argument}={other[argument]!r}")
        if max(-smallest, largest) > 10 and "standardize" in model.arguments:
            remedies[-1] += " with standardize=True"
    if model._modalities:
        remedies.append("choose 'gaussian' as its likelihood in modalities")
    sentence = ", or ".join(remedies)
    return f"{sentence[0].upper()}{sentence[1:]}."
