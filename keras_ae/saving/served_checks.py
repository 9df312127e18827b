"""Assertions in served functions, which refuse what the methods of a model refuse.

TensorFlow evaluates them beside the function itself. Each takes the smallest and the largest value
of an argument, which are NaN if the argument contains NaN.
"""

import numpy as np

from keras_ae.core import examples, ranges
from keras_ae.core.arguments import LARGEST_DATA

_FINITE = -LARGEST_DATA, LARGEST_DATA


def make_check(model, endpoint):
    """Return a function that adds assertions to the graph of a served function.

    Args:
        model: The model.
        endpoint: Name of the served function.

    Returns:
        Function of a dictionary of argument name -> tensor. It returns the tensors, those of
        integers so that nothing reads them before they were checked: a look-up with a wrong integer
        would end in an error of its own.
    """
    import tensorflow as tf

    def check(tensors):
        found = {}
        for name, tensor in tensors.items():
            assertion = check_one(name, tensor)
            waits = assertion is not None and tensor.dtype.is_integer
            with tf.control_dependencies([assertion] if waits else []):
                found[name] = tf.identity(tensor) if waits else tensor
        return found

    def check_one(name, tensor):
        if name in ("seed", "rows"):
            return None
        if name == "x" or name in model._modalities:
            return _check_data(model, endpoint, name, tensor)
        limits = None
        if name == "num_samples":
            limits = (1, tensor.dtype.max)
        elif name == "z":
            limits = (0, model.num_codes - 1) if model._code_dtype == "int32" else None
        elif examples.dtype_of(model, name) == "int32":
            limits = examples.label_range(model, endpoint, name)
            if limits is None:
                return None
        return _assert_range(endpoint, name, tensor, *(limits or _FINITE))

    return check


def _check_data(model, endpoint, name, x):
    """Assert that data, or a modality of it, has values that the model takes."""
    import tensorflow as tf

    def of_modality(attribute):
        found = getattr(model, attribute)
        return found[name] if model._modalities else found

    support = None
    is_target = endpoint == "log_likelihood" and model._target_shape == model._data_shape
    if model._modalities or is_target or ranges.reads_data(model):
        support = of_modality("_support")
    low, high = support or _FINITE
    are_tokens = ranges.are_tokens(support)
    if support and not (of_modality("_takes_classes") or are_tokens):
        low, high = ranges.widen(support)
    rows = tf.reshape(x, [-1, x.shape[-1]])
    if model._allow_nan:
        missing = tf.math.is_nan(x)
        if model._modalities:
            each = tf.reshape(missing, [tf.shape(x)[0], -1])
            partly = tf.reduce_any(each, 1) & ~tf.reduce_all(each, 1)
            _assert(
                ~tf.reduce_any(partly),
                f"{endpoint}: {name} has rows that are NaN in part. A modality is absent as a "
                "whole: fill these rows, or make all of them NaN.",
                [],
            )
        x = tf.where(missing, tf.constant(low, x.dtype), x)
    elif support and model._mask_value is not None:
        example = model._to_sequences(np.empty((1, *model._data_shape)))
        if example is not None:  # Padded steps may lie out of range.
            steps = tf.reshape(x, [-1, example.shape[-1]])
            padded = tf.reduce_all(steps == model._mask_value, 1, keepdims=True)
            x = rows = tf.where(padded, tf.constant(low, x.dtype), steps)
    remedy = " Divide bytes by 255." if support and tuple(support) == (0, 1) else ""
    _assert_range(endpoint, name, x, low, min(high, LARGEST_DATA), remedy)
    are_counts = support and np.isinf(high) and ranges.as_support(support).step == 1.0
    if are_counts or are_tokens:
        kind = "tokens" if are_tokens else "counts"
        _assert(
            tf.reduce_all(x == tf.round(x)),
            f"{endpoint}: {name} must hold {kind}, which are whole numbers.",
            [],
        )
    padding, end = (getattr(model, f"{kind}_token", None) for kind in ("mask", "end"))
    if are_tokens and padding is not None:
        given = x != padding
        _assert(
            ~tf.reduce_any(given[:, 1:] & ~given[:, :-1]),
            f"{endpoint}: {name} holds padding, the token {padding}, before other tokens. "
            "Pad sentences at their end.",
            [],
        )
        if end is not None:
            _assert(
                ~tf.reduce_any((x[:, :-1] == end) & given[:, 1:]),
                f"{endpoint}: {name} holds tokens after {end}, which ends a sentence. Replace "
                f"them by {padding}.",
                [],
            )
    if support and of_modality("_takes_classes"):
        sums = tf.reduce_sum(rows, -1)
        sums = tf.where(tf.math.is_nan(sums), 0.0, sums)
        _assert(
            tf.reduce_all((sums == 0) | (tf.abs(sums - 1) <= 1e-2)),
            f"{endpoint}: the last axis of {name} must hold class probabilities, which add up to "
            "1. Make labels one-hot. Their smallest and largest sum:",
            [tf.reduce_min(sums), tf.reduce_max(sums)],
        )


def _assert_range(endpoint, name, tensor, low, high, remedy=""):
    import tensorflow as tf

    smallest, largest = tf.reduce_min(tensor), tf.reduce_max(tensor)
    wanted = f"must hold values from {low:g} to {high:g}"
    if (low, high) == _FINITE:
        wanted = f"must be finite, with values from {low:g} to {high:g}"
    return _assert(
        (smallest >= low) & (largest <= high),
        f"{endpoint}: {name} {wanted}.{remedy} Its smallest and its largest value:",
        [smallest, largest],
    )


def _assert(condition, message, values):
    import tensorflow as tf

    # `tf.debugging.Assert` would add a conditional, which takes longer than the assertion.
    return tf.raw_ops.Assert(condition=condition, data=[message, *values], summarize=3)
