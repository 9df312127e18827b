"""Schedules: weights of loss terms that change during training as functions of the step.

They are ordinary Keras schedules, so that any of `keras.optimizers.schedules` will do as well.
"""

import keras
from keras import ops

from keras_ae.core import arguments
from keras_ae.core.types import Tensor


@keras.saving.register_keras_serializable("keras_ae")
class LinearWarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """Moves on a straight line from `start` to `end`, and stays there.

    With the defaults, it is the warm-up of the KL term that keeps a variational autoencoder from
    ignoring its code at first.

    The value at step t is start + (end - start) min(t / num_steps, 1).

    Source: Bowman et al., Generating Sentences from a Continuous Space, section 3.1 (annealing
    of the KL term), arXiv:1511.06349; as a straight line in Sønderby et al., Ladder Variational
    Autoencoders, arXiv:1602.02282.

    Args:
        num_steps: Training steps until `end` is reached, a positive integer.
        start: Value at step 0. Defaults to 0.
        end: Value from step `num_steps` on. Defaults to 1.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> schedule = LinearWarmUp(num_steps=100)
        >>> [float(schedule(step)) for step in (0, 25, 100, 1000)]
        [0.0, 0.25, 1.0, 1.0]
    """

    def __init__(self, num_steps: int, start: float = 0.0, end: float = 1.0):
        self.num_steps = _check_steps(self, "num_steps", num_steps)
        self.start = _check_finite(self, "start", start)
        self.end = _check_finite(self, "end", end)

    def __call__(self, step: int | Tensor) -> Tensor:
        """Compute the value at a step.

        Args:
            step: Integer, or scalar integer tensor: the number of steps already taken.

        Returns:
            Float32 scalar tensor.
        """
        return _ramp(step, self.num_steps, self.start, self.end)

    def get_config(self):
        return {"num_steps": self.num_steps, "start": self.start, "end": self.end}


@keras.saving.register_keras_serializable("keras_ae")
class Cyclical(keras.optimizers.schedules.LearningRateSchedule):
    """Repeats a warm-up in each period: a straight line from `start` to `end`, and then `end`.

    With tau = (t mod period) / period, the value at step t is
    start + (end - start) min(tau / ramp, 1).

    Source: Fu et al., Cyclical Annealing Schedule: A Simple Approach to Mitigating KL Vanishing,
    the linear function of its cyclical schedule, arXiv:1903.10145. The paper counts steps from 1
    and divides a run of known length into M periods. Here steps count from 0, and the period is an
    argument.

    Args:
        period: Training steps from one start to the next, a positive integer.
        ramp: Fraction of the period after which `end` is reached (the paper's R), in (0, 1].
            Defaults to 0.5.
        start: Value at the beginning of every period. Defaults to 0.
        end: Value in the rest of every period. Defaults to 1.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> schedule = Cyclical(period=100)
        >>> [float(schedule(step)) for step in (0, 25, 50, 99, 100, 125)]
        [0.0, 0.5, 1.0, 1.0, 0.0, 0.5]
    """

    def __init__(self, period: int, ramp: float = 0.5, start: float = 0.0, end: float = 1.0):
        self.period = _check_steps(self, "period", period)
        remedy = "It is a share of the period: use 0.5 to rise during its first half."
        share = arguments.number(self, "ramp", ramp, positive=True, most=1, remedy=remedy)
        self.ramp = float(share)
        self.start = _check_finite(self, "start", start)
        self.end = _check_finite(self, "end", end)

    def __call__(self, step: int | Tensor) -> Tensor:
        """Compute the value at a step.

        Args:
            step: Integer, or scalar integer tensor: the number of steps already taken.

        Returns:
            Float32 scalar tensor.
        """
        # The remainder is computed in integers, because a float32 step is not exact beyond 2**24.
        step = ops.mod(ops.cast(step, "int32"), self.period)
        return _ramp(step, self.ramp * self.period, self.start, self.end)

    def get_config(self):
        return {"period": self.period, "ramp": self.ramp, "start": self.start, "end": self.end}


def _ramp(step, num_steps, start, end):
    progress = ops.minimum(ops.cast(step, "float32") / num_steps, 1.0)
    # The mixture is exact at both ends, unlike start plus a difference.
    return start * (1.0 - progress) + end * progress


def _check_steps(schedule, name, value):
    remedy = "It counts training steps, which are epochs times batches per epoch."
    return arguments.integer(schedule, name, value, remedy=remedy)


def _check_finite(schedule, name, value):
    return float(arguments.number(schedule, name, value, least=None))
