"""Reconstruction losses of plain autoencoders: any Keras loss, summed over each example."""

import difflib

import keras
from keras import ops

from keras_ae.distributions import event_sum

# Keras averages these over the last axis, whose entries are independent; the others read the last
# axis as one vector, such as the classes of a one-hot code.
_ELEMENTWISE = {
    keras.losses.MeanSquaredError: keras.losses.mean_squared_error,
    keras.losses.MeanAbsoluteError: keras.losses.mean_absolute_error,
    keras.losses.MeanAbsolutePercentageError: keras.losses.mean_absolute_percentage_error,
    keras.losses.MeanSquaredLogarithmicError: keras.losses.mean_squared_logarithmic_error,
    keras.losses.BinaryCrossentropy: keras.losses.binary_crossentropy,
    keras.losses.BinaryFocalCrossentropy: keras.losses.binary_focal_crossentropy,
    keras.losses.Huber: keras.losses.huber,
    keras.losses.LogCosh: keras.losses.log_cosh,
    keras.losses.Poisson: keras.losses.poisson,
    keras.losses.Hinge: keras.losses.hinge,
    keras.losses.SquaredHinge: keras.losses.squared_hinge,
}
_FUNCTIONS = _ELEMENTWISE | {
    keras.losses.CategoricalCrossentropy: keras.losses.categorical_crossentropy,
    keras.losses.CategoricalFocalCrossentropy: keras.losses.categorical_focal_crossentropy,
}
_BINARY = (keras.losses.BinaryCrossentropy, keras.losses.BinaryFocalCrossentropy)
_CATEGORICAL = (keras.losses.CategoricalCrossentropy, keras.losses.CategoricalFocalCrossentropy)


def get(identifier):
    """The Keras loss of a name, or the loss itself.

    Args:
        identifier: Name as in `compile`, such as `"mean_squared_error"` or `"mse"`; a
            `keras.losses.Loss`; or a function of (y_true, y_pred) that Keras can save.

    Raises:
        ValueError: If the name is unknown.

    Example:

    >>> from keras_ae import losses
    >>> losses.get("mse").__name__
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
    try:
        found = keras.losses.get(name)
    except ValueError:
        found = None
    if found is None:
        names = [n for n, v in vars(keras.losses).items() if callable(v)] + ["mse", "mae", "bce"]
        close = difflib.get_close_matches(name, names, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ValueError(
            f"reconstruction_loss={name!r} is not a Keras loss.{hint} See keras.losses for all."
        )
    return found() if isinstance(found, type) else found


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
    if _is_one_of(loss, _ELEMENTWISE):
        # A last axis of one element, so that the mean over it is the element itself.
        return event_sum(function(target[..., None], output[..., None]))
    return event_sum(function(target, output))


def _is_one_of(loss, classes):
    """Whether a loss is an object of one of the classes, or the function of one."""
    functions = [_FUNCTIONS[cls] for cls in classes]
    return isinstance(loss, tuple(classes)) or any(loss is function for function in functions)


def output_activation(loss):
    """The activation that makes a decoder's output what the loss expects."""
    if getattr(loss, "_fn_kwargs", {}).get("from_logits"):
        return "linear"
    if _is_one_of(loss, _BINARY):
        return "sigmoid"
    if _is_one_of(loss, _CATEGORICAL):
        return "softmax"
    return "linear"
