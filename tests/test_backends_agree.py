"""The same weights mean the same model on TensorFlow, JAX and torch.

Each process reads the `.keras` files that the running backend wrote, and answers with arrays. All
noise is off: posteriors without width, no corruption, one example a batch (which nothing shuffles).
"""

import importlib.util
import os
import pathlib
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
import zoo
from keras import ops

import keras_ae

HERE = pathlib.Path(__file__).resolve().parent
BACKEND = keras.config.backend()
INSTALLED = [name for name in ("tensorflow", "jax", "torch") if importlib.util.find_spec(name)]
# TensorFlow against both others, and both against TensorFlow.
OTHERS = [n for n in INSTALLED if n != BACKEND and "tensorflow" in (n, BACKEND)]


def write_models(folder):
    for name in zoo.MODELS:
        quiet = {}
        if name == "DenoisingAE":
            quiet["corruption"] = keras_ae.corruptions.Masking(rate=0.0)
        model = zoo.compiled(name, keras.optimizers.SGD(0.1), **quiet)
        model.fit(zoo.data(), epochs=3, batch_size=16, verbose=0)
        if name in zoo.VARIATIONAL:
            kernel, bias = model.features_to_code.trainable_variables
            mean, width = ops.split(kernel, 2, axis=1)
            kernel.assign(ops.concatenate([mean, 0.0 * width], axis=1))
            bias.assign(ops.concatenate([ops.split(bias, 2)[0], ops.full((2,), -40.0)]))
        model.save(folder / f"{name}.keras")


def write_answers(folder):
    """What the models in a folder say on this process's backend: `answers_<backend>.npz`."""
    answers = {}
    for name in zoo.MODELS:
        model = keras_ae.load(folder / f"{name}.keras")
        for call, value in answers_of(model).items():
            answers[f"{name}.{call}"] = value
    np.savez(folder / f"answers_{keras.config.backend()}.npz", **answers)


def answers_of(model):
    x = zoo.data(6, seed=1)
    z = np.random.default_rng(2).normal(size=(5, 2)).astype("float32")
    answers = {
        "encode": model.encode(x),
        "decode": model.decode(z),
        "reconstruct": model.reconstruct(x),
    }
    options = {"batch_size": 1, "verbose": 0}
    for name, value in model.evaluate(x, return_dict=True, **options).items():
        answers[f"evaluate.{name}"] = value
    for name, values in model.fit(x, **options).history.items():
        answers[f"fit.{name}"] = values[0]
    for number, variable in enumerate(model.trainable_variables):
        answers[f"trained.{number}"] = variable.numpy()
    return answers


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One process per backend answers for all models, side by side with the others."""
    folder = tmp_path_factory.mktemp("backends")
    keras.utils.set_random_seed(0)
    write_models(folder)
    command = (
        "import pathlib, sys, test_backends_agree as t; t.write_answers(pathlib.Path(sys.argv[1]))"
    )
    processes = {
        backend: subprocess.Popen(
            [sys.executable, "-c", command, str(folder)],
            env={
                **os.environ,
                "KERAS_BACKEND": backend,
                "PYTHONPATH": os.pathsep.join([str(HERE.parent), str(HERE)]),
                "OMP_NUM_THREADS": "1",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for backend in OTHERS
    }
    write_answers(folder)
    for backend, process in processes.items():
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0, f"{backend}: {output[-3000:]}"
    return folder


def answers(folder, backend, name):
    with np.load(folder / f"answers_{backend}.npz") as archive:
        return {key: archive[key] for key in archive.files if key.startswith(f"{name}.")}


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "two"])
def test_a_file_does_not_say_where_it_was_written(optimizer, tmp_path):
    """On torch Keras makes optimisers of its own, which no other backend can load."""
    model = zoo.compiled("FactorVAE")
    model.build((None, 6))
    if optimizer == "two":
        optimizer = keras_ae.optimizers_for(model, "adam", discriminator="sgd")
    model.compile(optimizer)
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        config = archive.read("config.json").decode()
    assert "keras.src.backend" not in config


@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize("name", zoo.MODELS)
def test_a_file_means_the_same_on(backend, name, folder):
    ours, theirs = answers(folder, BACKEND, name), answers(folder, backend, name)
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        np.testing.assert_allclose(theirs[key], value, rtol=1e-5, atol=1e-5, err_msg=key)


@pytest.mark.parametrize("name", zoo.MODELS)
def test_the_comparison_is_not_of_constants(name, folder):
    """The inputs differ, the losses are no zeros, and the weights moved."""
    ours = answers(folder, BACKEND, name)
    assert np.ptp(ours[f"{name}.encode"], axis=0).min() > 1e-3
    assert np.ptp(ours[f"{name}.decode"], axis=0).max() > 1e-3
    assert ours[f"{name}.evaluate.loss"] > 0.1
    before = keras_ae.load(folder / f"{name}.keras").trainable_variables
    moved = [not np.allclose(v.numpy(), ours[f"{name}.trained.{i}"]) for i, v in enumerate(before)]
    assert np.mean(moved) > 0.7
