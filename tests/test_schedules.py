"""Schedules at their turning points, eager and in graphs, and their configuration."""

import keras
import numpy as np
import pytest

from keras_ae.schedules import Cyclical, LinearWarmUp


def compiled(schedule):
    """Compile one graph for all steps; on TensorFlow and JAX the step is a traced tensor."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(schedule, input_signature=[tf.TensorSpec((), "int32")])
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(schedule)
    return schedule


def values(schedule, steps):
    return [float(schedule(keras.ops.convert_to_tensor(step, dtype="int32"))) for step in steps]


@pytest.mark.parametrize("wrap", [lambda schedule: schedule, compiled], ids=["eager", "compiled"])
@pytest.mark.parametrize(
    "schedule, points",
    [
        (LinearWarmUp(10), {0: 0.0, 1: 0.1, 5: 0.5, 9: 0.9, 10: 1.0, 11: 1.0, 2**31 - 1: 1.0}),
        (LinearWarmUp(1), {0: 0.0, 1: 1.0, 2: 1.0}),
        (LinearWarmUp(4, start=0.1, end=0.3), {0: 0.1, 2: 0.2, 4: 0.3, 9: 0.3}),
        (LinearWarmUp(4, start=5.0, end=1.0), {0: 5.0, 1: 4.0, 4: 1.0}),
        (Cyclical(10), {0: 0.0, 1: 0.2, 5: 1.0, 9: 1.0, 10: 0.0, 11: 0.2, 25: 1.0}),
        (Cyclical(4, ramp=1.0), {0: 0.0, 1: 0.25, 3: 0.75, 4: 0.0}),
        (Cyclical(4, ramp=0.25, start=0.1, end=2.0), {0: 0.1, 1: 2.0, 3: 2.0, 4: 0.1}),
        # float32 cannot hold 2**24 + 1, so a remainder in floating point would be 1 too small.
        (Cyclical(2), {2**24: 0.0, 2**24 + 1: 1.0}),
    ],
)
def test_values(schedule, points, wrap):
    expected = np.array(list(points.values()), "float32")
    assert np.allclose(values(wrap(schedule), points), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("schedule", [LinearWarmUp(3, 0.1, 0.7), Cyclical(3, 0.5, 0.1, 0.7)])
def test_the_end_is_met_exactly(schedule):
    start, end = values(schedule, [0, 3 if isinstance(schedule, LinearWarmUp) else 2])
    assert (start, end) == (np.float32(0.1), np.float32(0.7))


@pytest.mark.parametrize("schedule", [LinearWarmUp(3), Cyclical(3)])
def test_results_are_float32_scalars(schedule):
    for step in (
        2,
        keras.ops.convert_to_tensor(2, dtype="int32"),
        keras.Variable(2, dtype="int32", trainable=False),
    ):
        value = keras.ops.convert_to_tensor(schedule(step))
        assert tuple(value.shape) == ()
        assert keras.backend.standardize_dtype(value.dtype) == "float32"


@pytest.mark.parametrize(
    "schedule",
    [LinearWarmUp(7), LinearWarmUp(np.int64(7), 0.5, np.float32(2.0)), Cyclical(8, 0.25, 0.1, 4)],
)
def test_config_round_trip(schedule):
    config = keras.saving.serialize_keras_object(schedule)
    assert config["registered_name"] == f"keras_ae>{type(schedule).__name__}"
    revived = keras.saving.deserialize_keras_object(config)
    assert type(revived) is type(schedule)
    assert revived.get_config() == schedule.get_config()
    assert values(revived, range(20)) == values(schedule, range(20))


def test_a_schedule_drives_a_keras_optimizer():
    optimizer = keras.optimizers.SGD(learning_rate=LinearWarmUp(10, end=0.5))
    assert float(optimizer.learning_rate) == 0.0
    revived = keras.optimizers.SGD.from_config(optimizer.get_config())
    assert float(revived._learning_rate(10)) == 0.5


@pytest.mark.parametrize("steps", [0, -1, 1.5, 10.0, "10", None, True])
@pytest.mark.parametrize(
    "make, name", [(LinearWarmUp, "LinearWarmUp: num_steps"), (Cyclical, "Cyclical: period")]
)
def test_bad_lengths_are_refused(make, name, steps):
    with pytest.raises(ValueError, match=f"{name}={steps!r} must be a positive integer"):
        make(steps)


@pytest.mark.parametrize("name", ["start", "end"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", None, True])
@pytest.mark.parametrize("make", [LinearWarmUp, Cyclical])
def test_bad_values_are_refused(make, name, value):
    with pytest.raises(ValueError, match=f"{make.__name__}: {name}={value!r} must be a finite"):
        make(10, **{name: value})


@pytest.mark.parametrize("ramp", [0.0, -0.5, 1.5])
def test_bad_ramps_are_refused(ramp):
    with pytest.raises(ValueError, match=f"Cyclical: ramp={ramp!r} must be a positive number"):
        Cyclical(10, ramp=ramp)
