"""Whatever ends a loop, the model keeps its weights and can be used and trained further."""

import os
import signal
import threading

import keras
import numpy as np
import pytest
import zoo

BATCH = {"batch_size": 16, "verbose": 0}


class Stop(Exception):
    pass


def stop(*_, **__):
    raise Stop


def model_and_weights():
    model = zoo.compiled("VAE")
    model.fit(zoo.data(), **BATCH)
    return model, model.get_weights()


def assert_usable(model):
    x = zoo.data()
    assert all(np.all(np.isfinite(w)) for w in model.get_weights())
    model.encode(x), model.evaluate(x, **BATCH), model.predict(x, **BATCH)
    model.fit(x, **BATCH)


def broken(batches):
    """Yield batches, of which the first is checked before the loop begins, and then raise."""
    for _ in range(batches):
        yield (zoo.data(16),)
    raise Stop


@pytest.mark.parametrize("hook", ["begin", "batch_begin", "batch_end", "end"])
@pytest.mark.parametrize("method", ["evaluate", "predict"])
def test_callbacks_that_raise(method, hook):
    model, before = model_and_weights()
    kind = {"evaluate": "test", "predict": "predict"}[method]
    callback = keras.callbacks.LambdaCallback()
    setattr(callback, f"on_{kind}_{hook}", stop)
    with pytest.raises(Stop):
        getattr(model, method)(zoo.data(), callbacks=[callback], **BATCH)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    model.set_weights(before)
    assert_usable(model)


@pytest.mark.parametrize("batches", [1, 2])
@pytest.mark.parametrize("method", ["evaluate", "predict", "fit"])
def test_data_that_raises(method, batches):
    model, before = model_and_weights()
    with pytest.raises(Exception) as caught:  # noqa: B017, PT011 - TensorFlow's own.
        getattr(model, method)(broken(batches), verbose=0)
    assert "Stop" in repr(caught.value) + str(caught.value)
    if method != "fit":
        for a, b in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    assert_usable(model)


def test_a_fit_that_ends_early_keeps_its_steps():
    model, before = model_and_weights()

    def end(batch, logs):
        if batch == 1:
            stop()

    callback = keras.callbacks.LambdaCallback(on_train_batch_end=end)
    step = int(model._step)
    with pytest.raises(Stop):
        model.fit(zoo.data(), callbacks=[callback], validation_data=zoo.data(), **BATCH)
    assert int(model._step) == step + 2
    assert not np.array_equal(before[0], model.get_weights()[0])
    assert_usable(model)


@pytest.fixture
def interruptible():
    """Shells start background processes so that they ignore interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


# Python ignores an interrupt that arrives in a destructor, such as that of a TensorFlow graph, and
# pytest warns about it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
def test_interrupts_at_any_moment(method, interruptible):
    """The interrupt comes in the middle of a step, as from Ctrl-C."""
    model, _ = model_and_weights()
    x = np.tile(zoo.data(), (40, 1))

    getattr(model, method)(x, batch_size=16, verbose=0)
    for delay in (0.02, 0.05, 0.09, 0.13):
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012
            for _ in range(5):
                press = threading.Timer(delay, os.kill, (os.getpid(), signal.SIGINT))
                press.start()
                try:
                    while press.is_alive():
                        getattr(model, method)(x, batch_size=16, verbose=0)
                finally:
                    press.join()
        assert all(np.all(np.isfinite(w)) for w in model.get_weights())
    assert_usable(model)
