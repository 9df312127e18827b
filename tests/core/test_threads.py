"""Several threads that use models get right results, or a clear error."""

import concurrent.futures
import random
import threading

import keras
import numpy as np
import pytest
import zoo

import keras_ae

BACKEND = keras.config.backend()
BATCH = {"batch_size": 16, "verbose": 0}
THREADS = 8


def at_once(*functions):
    """Run functions at the same time, each in its own thread, and return their results."""
    begin = threading.Barrier(len(functions))

    def run(function):
        begin.wait(timeout=60)
        return function()

    with concurrent.futures.ThreadPoolExecutor(len(functions)) as pool:
        under_way = [pool.submit(run, function) for function in functions]
        return [one.result(timeout=120) for one in under_way]


def test_samples_of_threads_differ():
    model = zoo.trained("VAE")
    draws = at_once(*[lambda: [model.sample(2).tobytes() for _ in range(10)]] * THREADS)
    assert len({one for many in draws for one in many}) == 10 * THREADS


@pytest.mark.parametrize("warm", [True, False])
@pytest.mark.parametrize("name", ["AE", "VAE"])
def test_array_calls_of_threads(name, warm):
    parts = [zoo.data(20 + 5 * i, seed=i) for i in range(THREADS)]
    model, alone = zoo.make(name), zoo.make(name)
    if warm:
        model.encode(parts[0])
    expected = [alone.reconstruct(part, batch_size=8) for part in parts]
    found = at_once(*[lambda x=x: model.reconstruct(x, batch_size=8) for x in parts])
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_evaluations_of_threads():
    model = zoo.compiled("VAE")
    parts = [zoo.data(32, seed=i) for i in range(4)]
    model.build((None, 6))
    expected = [model.evaluate(x, **BATCH) for x in parts]
    found = at_once(*[lambda x=x: model.evaluate(x, **BATCH) for x in parts * 2])
    np.testing.assert_allclose(found, expected * 2, rtol=1e-6)
    shown = at_once(*[lambda x=x: model.predict(x, **BATCH) for x in parts])
    for x, y in zip(parts, shown, strict=True):
        np.testing.assert_allclose(y, model.reconstruct(x), atol=1e-5)


def test_loops_are_refused_while_another_thread_trains():
    model, x = zoo.compiled("VAE"), zoo.data()
    before, middle, go_on = model.encode(x), threading.Event(), threading.Event()

    def wait(epoch, logs):
        middle.set()
        assert go_on.wait(timeout=60)

    callback = keras.callbacks.LambdaCallback(on_epoch_end=wait)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        training = pool.submit(model.fit, x, callbacks=[callback], **BATCH)
        try:
            assert middle.wait(timeout=60)
            for method in (model.fit, model.evaluate, model.predict):
                with pytest.raises(RuntimeError, match=f"{method.__name__}: another thread trains"):
                    method(x, **BATCH)
            if BACKEND == "jax":  # Keras' loop has taken the weights out of the model.
                with pytest.raises(RuntimeError, match="another thread trains this VAE"):
                    model.encode(x)
            else:
                assert not np.array_equal(model.encode(x), before)
        finally:
            go_on.set()
        training.result(timeout=60)
    model.fit(x, **BATCH)
    model.encode(x)


@pytest.mark.parametrize("loop", ["evaluate", "predict"])
@pytest.mark.parametrize("source", ["callback", "data"])
def test_a_loop_that_waits_for_another_thread(loop, source):
    """If both waited, they would wait forever, so the other thread gets an error."""
    model, x, found = zoo.compiled("VAE"), zoo.data(32), []
    model.build((None, 6))

    def look():
        for call in (model.evaluate, model.predict, model.encode, model.fit):
            try:
                call(x, **BATCH)
            except RuntimeError as error:
                found.append(str(error))

    def wait(*_, **__):
        if not found:
            other = threading.Thread(target=look)
            other.start()
            other.join(timeout=60)
            assert not other.is_alive()

    class Waiting(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            if index:
                wait()
            return (x[:16],)

    if source == "data":
        getattr(model, loop)(Waiting(), verbose=0)
    else:
        kind = {"evaluate": "test", "predict": "predict"}[loop]
        callback = keras.callbacks.LambdaCallback()
        setattr(callback, f"on_{kind}_batch_end", wait)
        getattr(model, loop)(x, callbacks=[callback], **BATCH)
    assert len(found) == (4 if BACKEND == "jax" else 3)
    assert all(f"another thread runs {loop} of this VAE" in message for message in found)
    assert model.evaluate(x, **BATCH) == model.evaluate(x, **BATCH)


def test_models_trained_in_threads_end_with_the_same_bits_as_one_by_one():
    def train(seed):
        options = {"units": (8,), "dropout": 0.2}
        model = keras_ae.VAE(2, network_options=options, seed=seed)
        model.compile(keras.optimizers.Adam(0.01))
        x = zoo.data(seed=seed)
        model.fit(x, epochs=3, validation_data=x, **BATCH)
        return model.get_weights() + [model.encode(x), model.sample(3, seed=1)]

    expected = [train(seed) for seed in range(2)]
    for _ in range(2):
        found = at_once(*[lambda s=s: train(s) for s in range(2)])
        for first, second in zip(found, expected, strict=True):
            for a, b in zip(first, second, strict=True):
                np.testing.assert_array_equal(a, b)


def test_a_callback_can_use_the_model_with_arrays():
    """The callback runs in the thread that trains."""
    model, x, seen = zoo.compiled("VAE"), zoo.data(), []
    callback = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(model.encode(x))
    )
    model.fit(x, callbacks=[callback], **BATCH)
    assert not np.array_equal(seen[0], seen[-1])
    np.testing.assert_allclose(seen[-1], model.encode(x), atol=1e-6)


@pytest.mark.parametrize("look", ["evaluate", "predict"])
def test_a_callback_runs_a_loop_between_batches(look):
    """The loop changes nothing in the steps of training."""
    x, found = zoo.data(), []
    for looks in (False, True):
        model = zoo.compiled("VAE")

        def end(batch, logs, model=model, looks=looks):
            if looks:
                getattr(model, look)(x, **BATCH)

        callback = keras.callbacks.LambdaCallback(on_train_batch_end=end)
        model.fit(x, callbacks=[callback], **BATCH)
        found.append(model.get_weights())
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_models_built_in_threads_start_alike():
    def weights(seed):
        model = keras_ae.VAE(2, network_options={"units": (8, 8)}, seed=seed)
        model.build((None, 6))
        return [v.numpy() for v in model.trainable_variables]

    def others():
        return [random.random() for _ in range(2000)]

    expected = [weights(seed) for seed in range(THREADS)]
    random.seed(5)
    numbers = others()
    random.seed(5)
    *found, drawn = at_once(*[lambda s=s: weights(s) for s in range(THREADS)], others)
    for first, second in zip(found, expected, strict=True):
        for a, b in zip(first, second, strict=True):
            np.testing.assert_array_equal(a, b)
    assert drawn == numbers
