"""Options: --version, completion, --json, --config, --early-stopping and --logdir."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from command_line import MODEL, NETWORK, SMALL, assert_one_line, command, make_place, train

import keras_ae
from keras_ae import callbacks, saving
from keras_ae.cli import runs
from keras_ae.saving import formats


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return make_place(tmp_path_factory.mktemp("options"))


def run(*words, **variables):
    """Run `python -m keras_ae` in another process."""
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(keras_ae.__file__).parents[1])}
    return subprocess.run(
        [sys.executable, *words], env=environment | variables, capture_output=True, text=True
    )


def test_version(capsys):
    assert command("--version") == 0
    assert capsys.readouterr().out == f"keras-ae {keras_ae.__version__}\n"


@pytest.mark.backend_free
def test_help_and_completion_import_nothing_heavy():
    code = (
        "import sys; from keras_ae.cli.main import main\n"
        "try: main({words!r})\n"
        "finally: print(sorted({{'keras', 'numpy', 'tensorflow', 'rich'}} & set(sys.modules)))"
    )
    for words in (["--help"], ["train", "--help"], ["--version"], ["--show-completion"]):
        assert run("-c", code.format(words=words)).stdout.endswith("[]\n"), words
    variables = {"_KERAS_AE_COMPLETE": "complete_bash"}
    variables |= {"COMP_WORDS": "keras-ae train VA", "COMP_CWORD": "2"}
    completed = run("-m", "keras_ae", **variables).stdout.split()
    assert completed == ["VAE", "VAEGAN"]
    variables |= {"COMP_WORDS": "keras-ae train VAE --ear", "COMP_CWORD": "3"}
    assert run("-m", "keras_ae", **variables).stdout.split() == ["--early-stopping"]


# ---------------------------------------------------------------------- --json


def test_info_and_list_as_json(place, capsys):
    assert command("info", place / "run", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["model"] == "VAE" and printed["path"] == str(place / "run" / MODEL)
    assert command("list", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in printed["models"]] == list(runs.model_classes())
    assert all(each["description"] and each["paper"] for each in printed["models"])


def test_train_and_encode_as_json(place, tmp_path, capsys):
    assert train(place, "json", "--json") == 0
    captured = capsys.readouterr()
    printed = json.loads(captured.out)
    assert printed["folder"] == str(place / "json")
    assert printed["metrics"] == json.loads((place / "json" / "metrics.json").read_text())
    assert keras_ae.load(printed["model"]).latent_dim == 2
    output = tmp_path / "codes.npy"
    assert command("encode", printed["model"], "--data", place / "pairs.npz", "--output", output,
                   "--json") == 0  # fmt: skip
    printed = json.loads(capsys.readouterr().out)
    assert printed == {"output": str(output), "shape": [60, 2], "dtype": "float32"}
    assert np.load(output).shape == (60, 2)


# ---------------------------------------------------------------------- --config


@pytest.mark.costly
def test_every_option_of_every_command_can_be_in_a_file(place, tmp_path, capsys):
    file = tmp_path / "train.toml"
    file.write_text(
        f"""
        model = "BetaVAE"
        data = '{place / "pairs.npz"}'
        latent-dim = 2
        epochs = 1
        batch_size = 16
        learning-rate = 2e-3
        seed = 5
        output = '{tmp_path / "run"}'
        early-stopping = 3
        workers = 1
        resume = false
        json = true
        logdir = '{tmp_path / "logs"}'
        [set]
        beta = 3
        name = "7"
        likelihood = "bernoulli"
        network_options = {{units = [8], activation = "tanh"}}
        """
    )
    assert command("train", "--config", file) == 0
    assert json.loads(capsys.readouterr().out)["folder"] == str(tmp_path / "run")
    settings = runs.read_settings(tmp_path / "run")[0]
    assert settings == runs.Settings(
        "BetaVAE",
        str(place / "pairs.npz"),
        1,
        16,
        2e-3,
        5,
        {
            "latent_dim": 2,
            "beta": 3,
            "name": "7",
            "likelihood": "bernoulli",
            "network_options": {"units": [8], "activation": "tanh"},
        },
        early_stopping=3,
    )
    # The command line takes precedence, for each entry of the table, too.
    words = ("--set", "beta=4", "--seed", 6, "--output", tmp_path / "other")
    assert command("train", "VAE", "--config", file, "--set", "beta=4") == 2  # VAE has no beta.
    capsys.readouterr()
    assert command("train", "--config", file, *words) == 0
    changed = runs.read_settings(tmp_path / "other")[0]
    assert changed.seed == 6 and changed.arguments == {**settings.arguments, "beta": 4}
    for name, text in {
        "encode": f"path = '{tmp_path / 'run' / MODEL}'\ndata = '{place / 'pairs.npz'}'",
        "sample": f"path = '{tmp_path / 'run'}'\nnum-samples = 3\ninput = {{}}",
    }.items():
        file.write_text(f"{text}\noutput = '{tmp_path / name}.npy'")
        assert command(name, "--config", file) == 0
    assert np.load(tmp_path / "sample.npy").shape == (3, 6)


@pytest.mark.parametrize(
    "text, message",
    [
        ("epochs = ", "is not a TOML file"),
        (b"\xff\xfe", "is not a TOML file"),
        ("a = " + "[" * 100_000, "is not a TOML file"),
        ("epohcs = 3", "no option 'epohcs'. Its options are model, data,"),
        ('config = "other.toml"', "no option 'config'"),
        ('"\\u001b[31m" = 3', r"\x1b[31m"),
        ("epochs = true", "epochs = True must be a number or a string"),
        ("epochs = 2.5", "--epochs"),
        ("epochs = [1]", "epochs = [1] must be"),
        ("epochs = 1979-05-27", "epochs = datetime.date"),
        ("batch-size = 3\nbatch_size = 4", "batch_size is given twice"),
        ("resume = 1", "resume = 1 must be true or false"),
        ('set = ["beta=3"]', "such as set = {name = 3}"),
        ("set = {beta = 1979-05-27}", "cannot be written as JSON"),
        ('data = "a\\u0000b"', "a"),
        ("early-stopping = 0", "early_stopping=0"),
    ],
)
def test_odd_config_files(text, message, tmp_path, capsys):
    file = tmp_path / "odd.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert command("train", "VAE", "--output", tmp_path / "run", "--config", file) == 2
    assert_one_line(capsys.readouterr(), message)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["odd.toml"]


def test_a_config_file_that_is_missing_or_a_folder(tmp_path, capsys):
    for path in (tmp_path / "none.toml", tmp_path):
        assert command("train", "VAE", "--config", path) == 2
        assert_one_line(capsys.readouterr(), path.name)


# ---------------------------------------------------------------------- --early-stopping


class Stopped(BaseException):
    pass


@pytest.fixture
def falling(monkeypatch):
    """A loss on the test split that is lowest after the third epoch."""
    before = runs._History.on_epoch_end

    def on_epoch_end(history, epoch, logs=None):
        return before(history, epoch, {**logs, "val_loss": [5.0, 4.0, 3.0, 3.0, 3.5, 2.0][epoch]})

    monkeypatch.setattr(runs._History, "on_epoch_end", on_epoch_end)


def stop_after(monkeypatch, last):
    """Stop the next run when it has saved the backup of its last epoch."""
    save = callbacks.BackupAndRestore._save

    def stopping(backup, epoch, batch):
        save(backup, epoch, batch)
        if epoch == last and backup.backup_dir.name == "checkpoint":
            raise Stopped

    monkeypatch.setattr(callbacks.BackupAndRestore, "_save", stopping)


@pytest.mark.costly
def test_early_stopping_takes_the_best_epoch_also_after_a_kill(place, falling, monkeypatch):
    words = ("--epochs", 6, "--early-stopping", 2)
    assert train(place, "three") == 0  # Three epochs, the last of which is the best one.
    assert train(place, "early", *words) == 0
    assert len((place / "early" / "history.csv").read_text().splitlines()) == 1 + 5
    best, early = (keras_ae.load(place / name / MODEL) for name in ("three", "early"))
    for value, other in zip(best.variables, early.variables, strict=True):
        np.testing.assert_array_equal(value.numpy(), other.numpy())
    assert json.loads((place / "early" / "run.json").read_text())["early_stopping"] == 2
    for last in (2, 3, 4, 5):
        with monkeypatch.context() as patch, pytest.raises(Stopped):
            stop_after(patch, last)
            train(place, "killed", *words)
        assert train(place, "killed", *words, "--resume") == 0
        for name in ("history.csv", "metrics.json"):
            text = (place / "early" / name).read_text()
            assert (place / "killed" / name).read_text() == text
        killed = keras_ae.load(place / "killed" / MODEL)
        for value, other in zip(best.variables, killed.variables, strict=True):
            np.testing.assert_array_equal(value.numpy(), other.numpy())
        assert not (place / "killed" / "checkpoint").exists()
        shutil.rmtree(place / "killed")


def test_a_resume_with_another_patience_is_refused(place, capsys):
    assert train(place, "run", "--early-stopping", 4, "--resume") == 2
    assert "early_stopping=None, not 4" in capsys.readouterr().err
    command_line = runs.Settings("VAE", early_stopping=4).command()
    assert command_line.endswith("--early-stopping 4")


# ---------------------------------------------------------------------- --logdir


def test_logs_for_tensorboard(place, capsys):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    assert train(place, "logged", "--logdir", place / "logs") == 0
    events = EventAccumulator(str(place / "logs" / "validation"))
    events.Reload()
    history = runs.read_history(place / "logged")
    values = [float(make_ndarray(each.tensor_proto)) for each in events.Tensors("epoch_loss")]
    np.testing.assert_allclose(values, history["val_loss"], rtol=1e-6)
    pictures = EventAccumulator(str(place / "logs" / "pictures"))
    pictures.Reload()
    assert sorted(pictures.Tags()["images"]) == ["reconstructions", "samples", "traversal"]
    # The logs change nothing about the run.
    for name in ("history.csv", "metrics.json", "run.json"):
        assert (place / "logged" / name).read_text() == (place / "run" / name).read_text()


def test_logs_that_cannot_be_written(place, tmp_path, capsys, monkeypatch):
    words = ("train", "VAE", "--data", place / "pairs.npz", "--output", tmp_path / "run")
    assert command(*words, *SMALL, *NETWORK, "--logdir", place / "pairs.npz") == 2
    assert_one_line(capsys.readouterr(), "pairs.npz")
    monkeypatch.setattr(runs.importlib.util, "find_spec", lambda name: None)
    assert command(*words, *SMALL, *NETWORK, "--logdir", tmp_path / "logs") == 2
    assert_one_line(capsys.readouterr(), "pip install tensorboard")
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------------- export


def test_export_writes_a_folder_with_the_facts_of_the_run(place, tmp_path, exports, capsys):
    assert command("export", place / "run", "--output", tmp_path / "copy") == 0
    assert capsys.readouterr().out == f"{tmp_path / 'copy'}: all endpoints as tf_saved_model\n"
    cards = [saving.read_card(folder) for folder in (place / "run" / "model", tmp_path / "copy")]
    assert cards[1]["command"] == cards[0]["command"]
    assert cards[1]["figures"] == cards[0]["figures"]


def test_export_in_other_formats(place, tmp_path, capsys, monkeypatch):
    format, name = {
        "tensorflow": ("litert", "encoder.tflite"),
        "torch": ("torch", "encoder.pt2"),
        "jax": (None, None),
    }[keras.config.backend()]
    if format is None:
        pytest.skip("the other formats of JAX need packages that the tests do not")
    words = ("export", place / "run", "--format", format, "--endpoint", "encode")
    assert command(*words, "--output", tmp_path / name) == 0
    assert capsys.readouterr().out == f"{tmp_path / name}: encode as {format}\n"
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert command(*words, "--output", tmp_path / name) == 2
    assert_one_line(capsys.readouterr(), "exists")


@pytest.mark.parametrize(
    "words, message",
    [
        (("--format", "tflite"), "format='tflite' must be one of tf_saved_model, onnx, litert"),
        (("--format", "openvino"), "must end in .xml"),
        (("--format", "torch"), "must end in .pt2"),
        (("--endpoint", "encode"), "has all endpoints"),
    ],
)
def test_exports_that_are_refused(words, message, place, tmp_path, capsys, monkeypatch):
    backends = formats.FORMATS.get(words[1], [keras.config.backend()])
    if keras.config.backend() not in backends:
        message = "KERAS_BACKEND="
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert command("export", place / "run", *words, "--output", tmp_path / "x") == 2
    assert_one_line(capsys.readouterr(), message)
    assert not list(tmp_path.iterdir())
