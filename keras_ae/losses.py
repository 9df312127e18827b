"""Reconstruction losses of plain autoencoders: any Keras loss, summed over each example."""

import difflib

import keras
from keras import ops

from keras_ae.distributions import event_sum

# Keras averages these over the last axis, whose entries are independent; the others read the last
# axis as one vector, such as the classes of a one-hot code.
_ELEMENTWISE = (
    keras.losses.MeanSquaredError,
    keras.losses.MeanAbsoluteError,
    keras.losses.MeanAbsolutePercentageError,
    keras.losses.MeanSquaredLogarithmicError,
    keras.losses.BinaryCrossentropy,
    keras.losses.BinaryFocalCrossentropy,
    keras.losses.Huber,
    keras.losses.LogCosh,
    keras.losses.Poisson,
    keras.losses.Hinge,
    keras.losses.SquaredHinge,
)


def get(identifier):
    """The Keras loss of a name, or the loss itself.

    Args:
        identifier: Name as in `compile`, such as `"mean_squared_error"` or `"mse"`; a
            `keras.losses.Loss`; or a function of (y_true, y_pred) that Keras can save.

    Raises:
        ValueError: If the name is unknown.

    Example:

    >>> from keras_ae import losses
    >>> losses.get("mse").name
    'mean_squared_error'
    """
    if isinstance(identifier, str):
        return _by_name(identifier)
    if not callable(identifier):
        raise ValueError(
            f"reconstruction_loss={identifier!r} is neither the name of a Keras loss nor a "
            "function of (y_true, y_pred)."
        )
    return identifier


def _by_name(name):
    known = {n: v for n, v in vars(keras.losses).items() if isinstance(v, type)}
    classes = {_snake(n): v for n, v in known.items() if n != "Loss"} | {
        "mse": keras.losses.MeanSquaredError,
        "mae": keras.losses.MeanAbsoluteError,
        "mape": keras.losses.MeanAbsolutePercentageError,
        "msle": keras.losses.MeanSquaredLogarithmicError,
    }
    key = name if name in classes else _snake(name)
    if key not in classes:
        close = difflib.get_close_matches(name, classes, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"reconstruction_loss={name!r} is not a Keras loss.{hint} See keras.losses for all."
        )
    return classes[key]()


def _snake(name):
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def per_example(loss, target, output):
    """The loss of every example: the sum over everything but the first axis.

    Keras averages "mean" losses over the last axis, so that a picture twice as wide would weigh
    the same; here every element counts once, as in a log-likelihood.

    Args:
        loss: A Keras loss, or a function of (y_true, y_pred).
        target: Tensor of shape (batch, ...).
        output: Tensor of the same shape.

    Returns:
        Tensor of shape (batch,), float32.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ae import losses
    >>> ones, zeros = np.ones((2, 3)), np.zeros((2, 3))
    >>> values = losses.per_example(keras.losses.MeanSquaredError(), ones, zeros)
    >>> [float(v) for v in values]
    [3.0, 3.0]
    """
    target, output = ops.cast(target, "float32"), ops.cast(output, "float32")
    function = loss.call if isinstance(loss, keras.losses.Loss) else loss
    if isinstance(loss, _ELEMENTWISE):
        # A last axis of one element, so that the mean over it is the element itself.
        return event_sum(function(target[..., None], output[..., None]))
    return event_sum(function(target, output))


def output_activation(loss):
    """The activation that makes a decoder's output what the loss expects."""
    if getattr(loss, "_fn_kwargs", {}).get("from_logits"):
        return "linear"
    if isinstance(loss, (keras.losses.BinaryCrossentropy, keras.losses.BinaryFocalCrossentropy)):
        return "sigmoid"
    if isinstance(
        loss, (keras.losses.CategoricalCrossentropy, keras.losses.CategoricalFocalCrossentropy)
    ):
        return "softmax"
    return "linear"
