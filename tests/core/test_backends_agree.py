"""The same weights mean the same model on TensorFlow, JAX and torch.

One process per backend reads the `.keras` files that the running backend wrote, and writes what it
computes. Backends have different random numbers, so all noise comes from NumPy there.
"""

import contextlib
import importlib.util
import itertools
import os
import pathlib
import subprocess
import sys
import zipfile
from unittest import mock

import keras
import numpy as np
import pytest
import zoo
from keras import ops

import keras_ae

pytestmark = [pytest.mark.xdist_group("backends"), pytest.mark.divided]
HERE = pathlib.Path(__file__).resolve().parent
PATHS = os.pathsep.join(map(str, (HERE.parents[1], HERE.parent, HERE)))
BACKEND = keras.config.backend()
INSTALLED = [name for name in ("tensorflow", "jax", "torch") if importlib.util.find_spec(name)]
OTHERS = [name for name in INSTALLED if name != BACKEND]
# A process of each other backend writes files of all these models at once.
NAMES = [name for name in zoo.MODELS if zoo.in_turn(name, costly=True)]


@contextlib.contextmanager
def numpy_s_noise():
    """Replace Keras' random numbers by NumPy's, which are the same on every backend."""
    count = itertools.count()

    def normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
        draws = np.random.default_rng(next(count)).normal(mean, stddev, shape)
        return ops.convert_to_tensor(draws.astype("float32"))

    def uniform(shape, minval=0.0, maxval=1.0, dtype=None, seed=None):
        draws = np.random.default_rng(next(count)).uniform(minval, maxval, shape)
        return ops.convert_to_tensor(draws.astype("float32"))

    def categorical(logits, num_samples, dtype="int32", seed=None):
        """Draw by Gumbel's rule: the largest of logits with noise."""
        shape = (logits.shape[0], num_samples, logits.shape[1])
        noise = np.random.default_rng(next(count)).gumbel(size=shape).astype("float32")
        noisy = logits[:, None] + ops.convert_to_tensor(noise)
        return ops.cast(ops.argmax(noisy, axis=-1), dtype)

    random = {"normal": normal, "uniform": uniform, "categorical": categorical}
    with mock.patch.multiple(keras.random, **random):
        yield


def write_models(folder):
    for name in NAMES:
        # The model runs eagerly, because a traced program would contain one draw as a constant.
        model = zoo.compiled(name, keras.optimizers.SGD(0.02), {"run_eagerly": True}, seed=5)
        zoo.build(model)
        rng = np.random.default_rng(0)
        for variable in model.trainable_variables:  # Biases would be 0 without this.
            variable.assign(variable.numpy() + rng.normal(0.0, 0.1, variable.shape))
        model.save(folder / f"{name}.keras")


def write_answers(folder):
    """Write what the models in a folder compute on this backend to `answers_<backend>.npz`."""
    answers = {}
    for path in sorted(folder.glob("*.keras")):
        name, model = path.stem, keras_ae.load(path)
        if keras.config.backend() == "jax":  # JAX is slow when eager, and traces a step only once.
            model.run_eagerly, model.jit_compile = False, True
        for call, value in answers_of(model).items():
            answers[f"{name}.{call}"] = value
    np.savez(folder / f"answers_{keras.config.backend()}.npz", **answers)


def answers_of(model):
    name = type(model).__name__
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0  # What it drops is not drawn by NumPy.
    x, z = zoo.data_for(name, 6, seed=1), zoo.code_of(name, 5, seed=2)
    decoded = model.decode(z, **zoo.inputs(model, "decode", 5))
    answers = {"encode": model.encode(x)}
    parts = decoded if isinstance(decoded, dict) else {"x": decoded}
    answers |= {f"decode.{name}": value for name, value in parts.items()}
    with numpy_s_noise():
        for name, value in model.test_on_batch(x, return_dict=True).items():
            answers[f"evaluate.{name}"] = value
    if hasattr(model, "log_likelihood"):
        with numpy_s_noise():
            answers["log_likelihood"] = zoo.compute(
                lambda x: model.log_likelihood(x, num_samples=4, seed=0), x
            )
    with numpy_s_noise():
        for name, value in model.train_on_batch(x, return_dict=True).items():
            answers[f"fit.{name}"] = value
    for number, variable in enumerate(model.trainable_variables):
        answers[f"trained.{number}"] = variable.numpy()
    return answers


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the files and the answers of all backends, whose processes run in parallel."""
    folder = tmp_path_factory.mktemp("backends")
    keras.utils.set_random_seed(0)
    write_models(folder)
    command = (
        "import conftest, pathlib, sys; import test_backends_agree as t;"
        "t.write_answers(pathlib.Path(sys.argv[1]))"
    )
    processes = {
        backend: subprocess.Popen(
            [sys.executable, "-c", command, str(folder)],
            env={
                **os.environ,
                "KERAS_BACKEND": backend,
                "PYTHONPATH": PATHS,
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
    """On torch, Keras makes subclasses of its optimizers, which no other backend can load."""
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
@pytest.mark.parametrize("name", NAMES)
def test_a_file_means_the_same_on(backend, name, folder):
    ours, theirs = answers(folder, BACKEND, name), answers(folder, backend, name)
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        # The gradients of a step add rounding errors.
        tolerance = 1e-4 if "trained" in key else 2e-5
        np.testing.assert_allclose(theirs[key], value, rtol=tolerance, atol=tolerance, err_msg=key)


@pytest.mark.parametrize("name", NAMES)
def test_the_comparison_is_not_of_constants(name, folder):
    """Answers differ between inputs, losses are not 0, and training changed the weights."""
    ours = answers(folder, BACKEND, name)
    assert np.ptp(ours[f"{name}.encode"], axis=0).mean() > 1e-3
    decoded = [value for key, value in ours.items() if key.startswith(f"{name}.decode.")]
    assert all(np.ptp(value, axis=0).max() > 1e-3 for value in decoded)
    assert abs(ours[f"{name}.evaluate.loss"]) > 0.1
    before = keras_ae.load(folder / f"{name}.keras").trainable_variables
    moved = [not np.allclose(v.numpy(), ours[f"{name}.trained.{i}"]) for i, v in enumerate(before)]
    # The first step of a greedy training moves the outermost pair of layers alone.
    assert np.mean(moved) > (0.4 if name == "StackedDenoisingAE" else 0.7)
