"""Stop training at the first step whose loss or gradient is not finite.

Such a step changes no weight, and neither does any later step of the epoch. The running mean of the
loss remains NaN until the epoch ends, so the losses are read only now and then, because reading
them makes the process wait for the step.
"""

import keras
import numpy as np
from keras import ops

from keras_ae.core import backend
from keras_ae.core.backend.gradients import NOT_FINITE

_CALLS_BETWEEN_CHECKS = 50


def watch(model, train_function):
    """Return the function of Keras' loop that trains, with a check after every 50th call."""
    calls = 0

    def run(*args):
        nonlocal calls
        try:
            result = train_function(*args)
        except backend.ERRORS as error:
            if NOT_FINITE not in str(error):
                raise
            model._step.assign(model._step - 1)  # The step has counted itself.
            stop(model)
        calls += 1
        if calls % _CALLS_BETWEEN_CHECKS == 0:
            logs = result[0] if isinstance(result, tuple) else result  # JAX adds the state.
            check(model, logs)
        return result

    return run


class EpochCheck(keras.callbacks.Callback):
    """Callback that raises an error if a loss was not finite in the epoch, or the model failed."""

    async_safe = True

    def on_epoch_end(self, epoch, logs=None):
        check(self.model, logs)
        # A model may raise an error if the mean losses of an epoch show that training has failed.
        if hasattr(self.model, "_check_epoch"):
            self.model._check_epoch(logs)


def check(model, logs):
    """Raise an error if the mean loss of an epoch is not finite.

    Args:
        model: The model that is trained.
        logs: Dictionary of means, among them "loss".

    Raises:
        FloatingPointError: If the loss is not finite. The message names the terms and the step.
    """
    if not _is_finite_mean(logs["loss"]):
        stop(model)


def stop(model):
    """Raise the error about a loss that is not finite, and forget that loss.

    Raises:
        FloatingPointError: Always. The message names the terms and the step.
    """
    backend.settle(model)
    minimized = (*model.objective, *sum(model.players.values(), ()))
    found = [name for name in minimized if not _is_finite_mean(model._trackers[name].result())]
    what = ", ".join(found) or "a gradient"
    step = int(ops.convert_to_numpy(ops.convert_to_tensor(model._step))) + 1
    model.reset_metrics()
    raise FloatingPointError(
        f"{type(model).__name__}: {what} became NaN or infinite in training step {step}. The "
        "weights are those of before this step. If the data is far from unit scale, make the model "
        "with standardize=True, or scale the data yourself. Otherwise try a smaller learning rate, "
        "or an optimizer with clipnorm=1.0."
    )


def _is_finite_mean(value):
    return bool(np.all(np.isfinite(ops.convert_to_numpy(value))))
