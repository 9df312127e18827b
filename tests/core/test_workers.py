"""One model trained by two processes, started here as `keras-ae train --workers 2` starts them."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import threading
import time
from unittest import mock

import keras
import numpy as np
import pytest
import zoo

import keras_ae
from keras_ae.cli import runs
from keras_ae.core import workers
from keras_ae.core.array_batches import ArrayBatches

BACKEND = keras.config.backend()
HERE = pathlib.Path(__file__).resolve().parent
PATHS = os.pathsep.join(map(str, (HERE.parents[1], HERE.parent, HERE)))
OPTIONS = {"batch_size": 16, "verbose": 0}
MODELS = {
    "AE": {},
    "ConditionalVAE": {},
    "FactorVAE": {},
    # k-means and restarts draw other vectors on two replicas, so they are switched off.
    "VQVAE": {"k_means_start": False, "restart_below": 0.0, "decay": 0.8},
}
pytestmark = [pytest.mark.xdist_group("workers"), pytest.mark.costly]
several = pytest.mark.skipif(BACKEND == "torch", reason="Keras cannot divide a batch on torch")


# ------------------------------------------------------------------ one model, two processes


def measured(name):
    """Train a model, alone or with another process, and return what this process sees of it."""
    keras.utils.set_random_seed(0)
    model = zoo.compiled(name, keras.optimizers.SGD(0.1), **MODELS[name])
    x, held_out = zoo.data_for(name, 50), zoo.data_for(name)
    history = model.fit(x, epochs=2, validation_data=held_out, **OPTIONS).history
    evaluation = model.evaluate(held_out, return_dict=True, **OPTIONS)
    return {
        "history": history,
        "evaluation": evaluation,
        "weights": [v.numpy().tolist() for v in model.trainable_variables],
        "noise": noise(model),
    }


def noise(model):
    """Return a draw on this process' replica, on the backend where replicas draw differently."""
    if BACKEND != "tensorflow":
        return None
    import tensorflow as tf

    def draw():
        return keras.random.normal((3,), seed=model._seed_generator)

    return tf.distribute.get_strategy().run(draw).numpy().tolist()


def measure(folder):
    worker, scope = workers.join()
    with scope():
        facts = {name: measured(name) for name in MODELS}
    (pathlib.Path(folder) / f"{worker}.json").write_text(json.dumps(facts))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What two processes saw of a training that they shared, and this one of the same alone."""
    folder = tmp_path_factory.mktemp("workers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", PATHS)
        code = f"import {__name__} as t; t.measure({str(folder)!r})"
        workers.launch([sys.executable, "-c", code], 2)
    facts = [json.loads((folder / f"{worker}.json").read_text()) for worker in range(2)]
    return [*facts, {name: measured(name) for name in MODELS}]


@several
@pytest.mark.parametrize("name", MODELS)
def test_two_processes_train_one_model(name, found):
    first, second = (facts[name] for facts in found[:2])
    assert first["weights"] == second["weights"]
    assert first["history"] == second["history"] and first["evaluation"] == second["evaluation"]
    assert np.all(np.isfinite(list(first["history"].values())))
    assert name != "AE" or first["history"]["loss"][1] < first["history"]["loss"][0]


@several
@pytest.mark.parametrize("name", MODELS)
def test_they_learn_what_one_learns(name, found):
    if name in zoo.VARIATIONAL and BACKEND == "tensorflow":
        pytest.skip("TensorFlow's replicas draw noise of their own")
    shared, alone = found[0][name], found[2][name]
    for here, there in zip(shared["weights"], alone["weights"], strict=True):
        np.testing.assert_allclose(here, there, atol=1e-5)
    # Figures of the codebook's use are not compared: each replica counts its part of a batch.
    losses = [loss for loss in alone["evaluation"] if loss.endswith("loss")]
    assert "reconstruction_loss" in losses
    for loss in losses:
        assert shared["evaluation"][loss] == pytest.approx(alone["evaluation"][loss], abs=1e-5)
        for when in (loss, f"val_{loss}"):
            there = pytest.approx(alone["history"][when], abs=1e-5)
            assert shared["history"][when] == there


@several
def test_they_draw_different_noise(found):
    if BACKEND == "jax":
        pytest.skip("JAX's processes run one program, whose draws are those of one process")
    first, second = (facts["AE"]["noise"] for facts in found[:2])
    assert np.min(np.abs(np.subtract(first, second))) > 1e-6


# ------------------------------------------------------------------ how a batch is divided


def under(processes, worker, devices, auto_shard_dataset=True):
    """A context in which `keras.distribution` seems to have so many processes and devices."""
    distribution = mock.Mock(
        num_processes=processes,
        num_model_replicas=devices,
        data_shard_id=worker,
        auto_shard_dataset=auto_shard_dataset,
    )
    return mock.patch("keras.distribution.distribution", return_value=distribution)


@pytest.mark.parametrize("shuffle", [False, True])
def test_parts_of_a_batch_make_the_batch(shuffle):
    x = np.arange(50.0, dtype="float32")[:, None]
    batches = ArrayBatches((x,), 16, shuffle, seed=0, divisor=4)
    whole = [batch for (batch,) in batches.get_numpy_iterator()]
    assert [len(batch) for batch in whole] == [16, 16, 16]  # The last two examples are left out.
    parts = []
    for worker in range(2):
        with under(2, worker, 4):
            parts.append([part for (part,) in batches.get_jax_iterator()])
    for batch, *of_it in zip(whole, *parts, strict=True):
        np.testing.assert_array_equal(batch, np.concatenate(of_it))
    with under(2, 0, 4, auto_shard_dataset=False):  # Each process has its own part of the data.
        assert [len(part) for (part,) in batches.get_jax_iterator()] == [16, 16, 16]


def test_other_examples_are_left_out_in_every_pass():
    x = np.arange(50.0, dtype="float32")[:, None]
    batches = ArrayBatches((x,), 16, shuffle=True, seed=0, divisor=4)
    orders = [batches.order_of_pass(number) for number in range(20)]
    assert {len(order) for order in orders} == {48}
    assert len({i for order in orders for i in set(range(50)) - set(order)}) > 10


@pytest.mark.parametrize(("batch_size", "examples"), [(15, 48), (16, 3)])
def test_a_batch_that_devices_cannot_share_is_refused(batch_size, examples):
    with under(1, 0, 4), pytest.raises(ValueError, match="4 devices share a batch of batch_size"):
        zoo.compiled("AE").fit(zoo.data(examples), batch_size=batch_size, verbose=0)


# ------------------------------------------------------------------ a run, and its end


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """Settings of a short run of a model with noise, which trains on 54 examples."""
    data = tmp_path_factory.mktemp("data") / "pairs.npy"
    np.save(data, zoo.data(60))
    arguments = {"latent_dim": 2, "network_options": {"units": [4]}}
    return runs.Settings("VAE", str(data), 3, 16, arguments=arguments, workers=2)


@pytest.fixture(scope="module")
def whole(settings, tmp_path_factory):
    """The folder of a run that was not killed."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    runs.launch(settings, folder)
    return folder


def assert_same_run(folder, whole):
    for name in ("history.csv", "metrics.json"):
        assert (folder / name).read_text() == (whole / name).read_text()
    first, second = (zoo.weights(keras_ae.load(f / "model")) for f in (whole, folder))
    for here, there in zip(first, second, strict=True):
        np.testing.assert_array_equal(here, there)
    assert {path.name for path in folder.iterdir()} == {path.name for path in whole.iterdir()}


@several
def test_a_killed_worker_ends_the_run_which_resumes_to_the_same_bits(
    settings, whole, tmp_path, monkeypatch
):
    killed = tmp_path / "killed"
    processes, raised = [], []

    class Recorded(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            processes.append(self)

    def run():
        try:
            runs.launch(settings, killed)
        except RuntimeError as error:
            raised.append(error)

    with monkeypatch.context() as patch:
        patch.setattr(workers.subprocess, "Popen", Recorded)
        thread = threading.Thread(target=run)
        thread.start()
        while thread.is_alive() and not list(killed.glob("checkpoint/latest.npz")):
            time.sleep(0.01)
        processes[1].kill()
        thread.join(30)
    assert not thread.is_alive()
    (error,) = raised
    assert "worker 1 of 2 was killed by signal 9" in str(error)
    assert f"--workers 2 --output {killed} --resume" in str(error)
    assert all(process.poll() is not None for process in processes)
    assert not runs.is_complete(killed)
    runs.launch(settings, killed, resume=True)
    assert_same_run(killed, whole)


@several
@pytest.mark.skipif(not pathlib.Path("/proc").is_dir(), reason="this system has no /proc")
def test_workers_end_with_a_killed_launcher_and_the_run_resumes(settings, whole, tmp_path):
    killed = tmp_path / "killed"
    code = "from keras_ae.cli import runs; " + (
        f"runs.launch(runs.Settings(**{dataclasses.asdict(settings)!r}), {str(killed)!r})"
    )
    environment = {**os.environ, "PYTHONPATH": PATHS}
    launcher = subprocess.Popen([sys.executable, "-c", code], env=environment)
    children = pathlib.Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children")
    while launcher.poll() is None and not list(killed.glob("checkpoint/latest.npz")):
        time.sleep(0.01)
    numbers = children.read_text().split()
    launcher.kill()
    launcher.wait()
    assert len(numbers) == 2
    deadline = time.monotonic() + 20
    while any(pathlib.Path("/proc", number).exists() for number in numbers):
        assert time.monotonic() < deadline, "a worker goes on without its launcher"
        time.sleep(0.05)
    assert not runs.is_complete(killed)
    runs.launch(settings, killed, resume=True)
    assert_same_run(killed, whole)


@several
def test_workers_end_with_a_pipe_where_the_kernel_does_not_end_them(tmp_path):
    code = "from keras_ae.core import workers; import time; workers.join(); print(1, flush=True); "
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1]), workers._LAUNCHED: "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    words = [sys.executable, "-c", code + "time.sleep(60)"]
    with subprocess.Popen(words, env=environment, **pipes) as worker:
        assert worker.stdout.readline() == b"1\n"
        worker.stdin.close()
        assert worker.wait(10) != 0


@several
def test_the_last_line_of_a_failed_worker_is_in_the_error(monkeypatch):
    code = "import os, sys, time; index = os.environ['INDEX'] == '1'; " + (
        "time.sleep(0 if index else 60); sys.exit('no room left' if index else 0)"
    )
    monkeypatch.setattr(
        workers.backend, "worker_environment", lambda _, index: {"INDEX": str(index)}
    )
    with pytest.raises(RuntimeError, match="worker 1 of 2 ended with status 1. no room left"):
        workers.launch([sys.executable, "-c", code], 2)


def test_a_single_process_refuses_settings_of_two_workers(settings, tmp_path):
    with pytest.raises(ValueError, match="workers=2, but this process was started as one of 1"):
        runs.train(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(BACKEND != "torch", reason="only torch has no workers")
def test_torch_says_that_it_has_no_workers(settings, tmp_path):
    with pytest.raises(NotImplementedError, match="Set KERAS_BACKEND=tensorflow"):
        runs.launch(settings, tmp_path / "run")
    assert not (tmp_path / "run").exists()


# ------------------------------------------------------------------ variables of a cluster


def words_for_tensorflow():
    pair = {"worker": ["a:1", "b:2"]}
    yield from ("x", "[]", "3", "null", "[" * 100_000, "\x1b[31m")
    for cluster in (None, [], {"worker": 5}, {"worker": "abc"}, {"chief": {}, "worker": [None, 1]}):
        yield json.dumps({"cluster": cluster})
    tasks = (5, {}, {"type": "worker", "index": 7}, {"type": "worker", "index": "x"})
    for task in (*tasks, {"type": "ps", "index": 0}, {"type": [], "index": -1}):
        yield json.dumps({"cluster": pair, "task": task})
    yield json.dumps({"cluster": pair})


ODD_VARIABLES = {
    "tensorflow": [("TF_CONFIG", text) for text in words_for_tensorflow()],
    "jax": [
        *(("KERAS_DISTRIBUTION_NUM_PROCESSES", t) for t in ("x", "-1", "0", "1e3", "9" * 5000)),
        *(("KERAS_DISTRIBUTION_PROCESS_ID", text) for text in ("x", "-1", "1")),
    ],
}


def test_odd_variables_of_a_cluster(monkeypatch):
    for name, value in ODD_VARIABLES.get(keras.config.backend(), []):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with pytest.raises(ValueError, match=f"variable {name}=") as raised:
                workers.count()
            assert len(str(raised.value)) < 1000
