"""Weights that change while a model trains, as functions of its step counter.

They are ordinary Keras schedules, so that any of `keras.optimizers.schedules` serves as well.
"""

import keras
from keras import ops

from keras_ae.core import arguments


@keras.saving.register_keras_serializable("keras_ae")
class LinearWarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """A straight line from `start` to `end`, then `end` for ever.

    With the defaults it is the warm-up of the KL term that keeps a variational autoencoder from
    ignoring its code at first.

    The value at step t is start + (end - start) min(t / num_steps, 1).

    Source: Bowman et al., Generating Sentences from a Continuous Space, section 3.1 (annealing
    of the KL term), arXiv:1511.06349; as a straight line in Sønderby et al., Ladder Variational
    Autoencoders, arXiv:1602.02282.

    Args:
        num_steps: Training steps until `end` is reached, a positive integer.
        start: Value at step 0. Default 0.
        end: Value from step `num_steps` on. Default 1.

    Raises:
        ValueError: An argument is not of the kind above.

    Example:
        >>> schedule = LinearWarmUp(num_steps=100)
        >>> [float(schedule(step)) for step in (0, 25, 100, 1000)]
        [0.0, 0.25, 1.0, 1.0]
    """

    def __init__(self, num_steps, start=0.0, end=1.0):
        self.num_steps = _steps(self, "num_steps", num_steps)
        self.start = _finite(self, "start", start)
        self.end = _finite(self, "end", end)

    def __call__(self, step):
        """The value at a step.

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
    """Repeated warm-ups: in each period a straight line to `end`, then `end` until the next.

    With tau = (t mod period) / period, the value at step t is
    start + (end - start) min(tau / ramp, 1).

    Source: Fu et al., Cyclical Annealing Schedule: A Simple Approach to Mitigating KL Vanishing,
    the linear function of its cyclical schedule, arXiv:1903.10145. The paper counts steps from 1
    and divides a fixed run into M periods; here steps count from 0, and the period is given.

    Args:
        period: Training steps from one start to the next, a positive integer.
        ramp: Share of the period after which `end` is reached (the paper's R), in (0, 1].
            Default 0.5.
        start: Value at the beginning of every period. Default 0.
        end: Value in the rest of every period. Default 1.

    Raises:
        ValueError: An argument is not of the kind above.

    Example:
        >>> schedule = Cyclical(period=100)
        >>> [float(schedule(step)) for step in (0, 25, 50, 99, 100, 125)]
        [0.0, 0.5, 1.0, 1.0, 0.0, 0.5]
    """

    def __init__(self, period, ramp=0.5, start=0.0, end=1.0):
        self.period = _steps(self, "period", period)
        remedy = "It is a share of the period: use 0.5 to rise during its first half."
        share = arguments.number(self, "ramp", ramp, positive=True, most=1, remedy=remedy)
        self.ramp = float(share)
        self.start = _finite(self, "start", start)
        self.end = _finite(self, "end", end)

    def __call__(self, step):
        """The value at a step.

        Args:
            step: Integer, or scalar integer tensor: the number of steps already taken.

        Returns:
            Float32 scalar tensor.
        """
        # The remainder in integers: a float32 step loses its last digits after 2**24 of them.
        step = ops.mod(ops.cast(step, "int32"), self.period)
        return _ramp(step, self.ramp * self.period, self.start, self.end)

    def get_config(self):
        return {"period": self.period, "ramp": self.ramp, "start": self.start, "end": self.end}


def _ramp(step, num_steps, start, end):
    progress = ops.minimum(ops.cast(step, "float32") / num_steps, 1.0)
    # Written as a mixture, and not as start plus a difference, to be exact at both ends.
    return start * (1.0 - progress) + end * progress


def _steps(schedule, name, value):
    remedy = "It counts training steps, which are epochs times batches per epoch."
    return arguments.integer(schedule, name, value, remedy=remedy)


def _finite(schedule, name, value):
    return float(arguments.number(schedule, name, value, least=None))
