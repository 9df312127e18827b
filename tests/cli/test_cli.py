"""The command line. Most tests run it in this process; those that kill it start another."""

import json
import math
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from command_line import MODEL, NETWORK, SMALL, assert_one_line, command, make_place, train

import keras_ae
from keras_ae import callbacks
from keras_ae.cli import main as cli
from keras_ae.cli import runs


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with labeled data, data without labels, and a finished run."""
    return make_place(tmp_path_factory.mktemp("cli"))


def states(model):
    return [v.numpy() for v in (*model.variables, *model.optimizer.variables)]


def assert_same_state(folder, other):
    state, other_state = (states(keras_ae.load(f / MODEL)) for f in (folder, other))
    assert len(state) == len(other_state)
    for value, other_value in zip(state, other_state, strict=True):
        np.testing.assert_array_equal(value, other_value)


# ---------------------------------------------------------------------- help


def test_the_bare_command_prints_help(capsys):
    assert command() == 0
    assert "keras-ae train VAE" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name",
    "train compare evaluate sample encode reconstruct export verify info list".split(),
)
def test_help_shows_an_example(name, capsys):
    assert command(name, "--help") == 0
    assert f"Example: keras-ae {name}" in capsys.readouterr().out


# ---------------------------------------------------------------------- training


def test_a_run_leaves_everything_it_promises(place):
    run = place / "run"
    pictures = ("reconstructions", "samples", "latent_plane", "loss_curves")
    expected = {MODEL, "run.json", "history.csv", "metrics.json", *(f"{p}.png" for p in pictures)}
    assert {p.name for p in run.iterdir()} == expected
    rows = (run / "history.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "1", "2", "3"]
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["split"] == "test" and metrics["examples"] == 6
    assert metrics["loss"] == pytest.approx(metrics["reconstruction_loss"] + metrics["kl_loss"])
    assert metrics["log_likelihood"] < 0


def test_training_ends_with_lines_of_python_that_work(place, capsys):
    # The run has ended already, so this command trains nothing and prints the lines again.
    assert train(place, "run", "--resume") == 0
    printed = capsys.readouterr().out
    lines = [line.strip() for line in printed[printed.index("Use it:") :].splitlines()[1:]]
    assert len(lines) == 3
    names = {}
    exec("\n".join(lines), names)
    assert names["samples"].shape == (64, 6)
    assert all(name in printed for name in ("history.csv", "metrics.json", "latent_plane.png"))


def test_the_card_says_how_the_model_was_made(place, exports, tmp_path, monkeypatch):
    card = json.loads((place / "run" / "model" / "card.json").read_text())
    assert card["data"] == str(place / "pairs.npz") and card["seed"] == 0
    assert card["figures"] == json.loads((place / "run" / "metrics.json").read_text())
    name, *words = shlex.split(card["command"])
    assert name == "keras-ae"
    monkeypatch.chdir(tmp_path)
    assert command(*words) == 0
    assert_same_state(place / "run", tmp_path / "runs" / "vae_pairs")


def test_any_argument_of_the_constructor_can_be_set(place):
    schedule = {"class_name": "keras_ae>LinearWarmUp", "config": {"num_steps": 7}}
    settings = runs.Settings(
        "BetaVAE", arguments={"beta": 3, "likelihood": "laplace", "kl_weight": schedule}
    )
    model = runs.make_model(settings)
    assert model.beta == 3 and model.kl_weight.num_steps == 7
    assert type(model.likelihood) is keras_ae.likelihoods.Laplace


def test_the_command_of_a_run_keeps_strings_that_look_like_numbers():
    settings = runs.Settings("VAE", arguments={"name": "7", "latent_dim": 3})
    words = shlex.split(settings.command())
    assert words[words.index("--set") + 1] == 'name="7"'
    assert runs.parse('"7"') == "7" and runs.parse("7") == 7 and runs.parse("a") == "a"


def test_runs_have_a_folder_of_their_own():
    assert runs.Settings("FactorVAE", "sprites").folder() == pathlib.Path("runs/factor_vae_sprites")
    assert runs.Settings("AE", "c/My set.npy").folder() == pathlib.Path("runs/ae_c_my_set_npy")


def test_examples_that_cannot_be_drawn_leave_the_other_pictures(place, capsys):
    output = place / "tall"
    words = ("--data", place / "tall.npy", "--output", output, "--epochs", "1")
    assert command("train", "AE", *words, "--set", "encoder=mlp", "--set", "decoder=mlp") == 0
    assert {p.name for p in output.glob("*.png")} == {"latent_plane.png", "loss_curves.png"}
    assert "no samples.png" in capsys.readouterr().out


def test_a_run_of_integer_codes_has_a_prior_to_sample_from(place):
    small = ["--set", "num_codes=8", "--set", 'prior_options={"units": 8, "num_layers": 1}']
    networks = ["--set", 'network_options={"filters": [2, 2], "units": [4]}']
    np.save(place / "pictures.npy", np.random.default_rng(0).random((40, 8, 8, 1), "float32"))
    data = ["--data", place / "pictures.npy", "--epochs", "1", "--output", place / "codes"]
    assert command("train", "VQVAE", *data, *small, *networks) == 0
    made = {path.name for path in (place / "codes").glob("*.png")}
    assert made == {"loss_curves.png", "reconstructions.png", "samples.png"}  # no latent plane


def test_labels_of_the_data_are_a_named_input(place, tmp_path, capsys):
    words = ("--data", place / "pairs.npz", "--output", tmp_path / "run", *SMALL, *NETWORK)
    assert command("train", "ConditionalVAE", "--set", "num_classes=3", *words) == 0
    model = keras_ae.load(tmp_path / "run" / MODEL)
    stored = np.load(place / "pairs.npz")
    x, label = stored["x"], stored["y"]
    assert command("encode", tmp_path / "run", "--output", tmp_path / "z.npy") == 0
    codes = model.encode(x, label=label)
    np.testing.assert_allclose(np.load(tmp_path / "z.npy"), codes, atol=1e-6)
    for value, wanted in (("2", [2, 2, 2]), ("[0,1,2]", [0, 1, 2])):
        output = tmp_path / f"x{len(value)}.npy"
        options = ("--num-samples", 3, "--input", f"label={value}", "--output", output)
        assert command("sample", tmp_path / "run", *options) == 0
        samples = model.sample(3, seed=0, label=wanted)
        np.testing.assert_allclose(np.load(output), samples, atol=1e-6)
    capsys.readouterr()
    assert command("info", tmp_path / "run") == 0
    assert "label: []" in capsys.readouterr().out
    for mistake, message in (
        (("sample", tmp_path / "run"), "the input 'label' is missing"),
        (("sample", tmp_path / "run", "--input", "lable=2"), "Did you mean 'label'"),
        (("sample", tmp_path / "run", "--input", "label"), "name=value"),
        (("sample", tmp_path / "run", "--input", "label=7"), "integers from 0 to 2"),
        (
            ("train", "ConditionalVAE", "--data", place / "reals.npy", "--output", tmp_path / "r"),
            "label",
        ),
        (
            ("train", "ConditionalVAE", "--set", "num_classes=null", *words[:2], "--output",
             tmp_path / "s"),
            "Train the model in Python",
        ),
    ):  # fmt: skip
        output = () if mistake[0] == "train" else ("--output", tmp_path / "none.npy")
        assert command(*mistake, *output) == 2
        assert message in capsys.readouterr().err


def test_a_loss_that_is_no_number_ends_the_run(place, capsys):
    data = ("--data", place / "reals.npy", "--output", place / "nan")
    assert command("train", "AE", *data, "--learning-rate", "1e30") == 2
    assert "--learning-rate" in capsys.readouterr().err
    assert not (place / "nan" / MODEL).exists()


# ---------------------------------------------------------------------- resuming


@pytest.mark.costly
def test_a_killed_run_ends_as_if_it_had_not_been(place):
    words = ["train", "VAE", "--data", place / "pairs.npz", "--output", place / "killed"]
    words = [str(word) for word in (*words, *SMALL, *NETWORK)]
    code = f"from keras_ae.cli.main import main; main({words!r})"
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(runs.__file__).parents[2])}
    process = subprocess.Popen(
        [sys.executable, "-c", _WAIT_AFTER_TWO_EPOCHS + code],
        env=environment,
        stdout=subprocess.DEVNULL,
    )
    history = place / "killed" / "history.csv"
    while process.poll() is None and not (
        (place / "killed" / "checkpoint" / "latest.npz").exists()
        and len(history.read_text().splitlines()) == 3
    ):
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (place / "killed" / MODEL).exists()
    assert train(place, "killed", "--resume") == 0
    assert_same_state(place / "run", place / "killed")
    for name in ("history.csv", "metrics.json"):
        assert (place / "killed" / name).read_text() == (place / "run" / name).read_text()
    assert not (place / "killed" / "checkpoint").exists()


# An epoch takes a few milliseconds, too few for a signal to arrive, so the run waits.
_WAIT_AFTER_TWO_EPOCHS = """
import time
from keras_ae import callbacks
from keras_ae.cli import runs
on_epoch_end = callbacks.BackupAndRestore.on_epoch_end
callbacks.BackupAndRestore.on_epoch_end = lambda self, epoch, logs: (
    on_epoch_end(self, epoch, logs), time.sleep(60 * epoch))
"""


class Stopped(BaseException):
    """Stops a run in this process, where a test sends no signal."""


def stop_after(monkeypatch, epochs, before_weights=False):
    """Stop the next run after so many epochs, or just before the last of them was saved."""
    save = callbacks.BackupAndRestore._save

    def stopping(backup, epoch, batch):
        if epoch == epochs + (not before_weights):
            raise Stopped
        save(backup, epoch, batch)

    monkeypatch.setattr(callbacks.BackupAndRestore, "_save", stopping)


@pytest.mark.costly
def test_a_kill_between_history_and_weights_does_not_write_an_epoch_twice(place, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(patch, 2, before_weights=True)
        with pytest.raises(Stopped):
            cli.main(
                [str(w) for w in ("train", "VAE", "--data", place / "pairs.npz", *SMALL, *NETWORK)]
                + ["--output", str(place / "row")]
            )
    assert len((place / "row" / "history.csv").read_text().splitlines()) == 3
    assert train(place, "row", "--resume") == 0
    assert_same_state(place / "run", place / "row")
    assert (place / "row" / "history.csv").read_text() == (
        place / "run" / "history.csv"
    ).read_text()


@pytest.mark.costly
def test_a_streamed_run_resumes_to_the_same_bits(place, monkeypatch):
    monkeypatch.setattr(runs, "IN_MEMORY", 0)
    assert train(place, "streamed") == 0
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        with pytest.raises(Stopped):
            train(place, "stopped")
    assert train(place, "stopped", "--resume") == 0
    assert_same_state(place / "streamed", place / "stopped")


def test_streamed_epochs_differ_and_hold_every_example(place):
    keras.utils.set_random_seed(1)
    settings = runs.Settings("VAE", epochs=3, batch_size=100)
    dataset = runs.datasets.load(place / "pairs.npz")
    epochs = list(runs._order_epochs(dataset, settings, 0).as_numpy_iterator())
    assert len(epochs) == 3 and not np.array_equal(epochs[0], epochs[1])
    whole = runs.datasets.as_array(place / "pairs.npz")
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch, axis=0), np.sort(whole, axis=0))
    later = list(runs._order_epochs(dataset, settings, 1).as_numpy_iterator())
    np.testing.assert_array_equal(later, epochs[1:])


def test_a_finished_run_is_left_as_it_is(place):
    before = {p: p.stat().st_mtime_ns for p in (place / "run").rglob("*")}
    assert train(place, "run", "--resume") == 0
    assert {p: p.stat().st_mtime_ns for p in (place / "run").rglob("*")} == before


def test_a_run_killed_during_its_cleanup_is_not_trained_again(place):
    (place / "run" / "checkpoint").mkdir()
    before = (place / "run" / "metrics.json").stat().st_mtime_ns
    assert train(place, "run", "--resume") == 0
    assert not (place / "run" / "checkpoint").exists()
    assert (place / "run" / "metrics.json").stat().st_mtime_ns == before


def test_a_run_killed_before_it_wrote_its_settings_can_be_started_again(place):
    leftover = place / "early" / ".run.json.keras_ae"
    (leftover / "new").mkdir(parents=True)
    (leftover / "owner").write_text("keras_ae 1 nowhere\n")
    assert train(place, "early") == 0
    assert not [path for path in (place / "early").glob(".*")]


def test_a_run_of_the_version_before_resumes(place, monkeypatch):
    """That version's checkpoint is a model, and the file's name has the epoch."""
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(Stopped):
            train(place, "older")
    checkpoint = place / "older" / "checkpoint"
    stored = json.loads((place / "older" / "run.json").read_text())
    settings = runs.Settings(**{k: v for k, v in stored.items() if k != "backend"})
    model = runs.make_model(settings)
    runs._Data(settings, model)
    assert runs._restore(model, place / "older") == 2
    (checkpoint / "latest.npz").unlink()
    model.save(checkpoint / "epoch_000002.keras")
    assert train(place, "older", "--resume") == 0
    assert_same_state(place / "run", place / "older")
    assert not checkpoint.exists()


@pytest.mark.costly
@pytest.mark.parametrize("resume", [False, True])
def test_a_second_training_into_a_folder_is_told_of_the_first(resume, place, capsys, monkeypatch):
    """A second process trains into the folder while the first one is at its third epoch."""
    output = place / f"shared{resume}"
    words = ["train", "VAE", "--data", place / "pairs.npz", "--output", output, *SMALL, *NETWORK]
    code = f"from keras_ae.cli.main import main; main({[str(word) for word in words]!r})"
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(runs.__file__).parents[2])}
    save, refused = callbacks.BackupAndRestore._save, []

    def second(backup, epoch, batch):
        save(backup, epoch, batch)
        if epoch == 2:
            more = code[:-2] + ", '--resume'])" if resume else code
            refused.append(
                subprocess.run(
                    [sys.executable, "-c", more], env=environment, capture_output=True, text=True
                )
            )

    monkeypatch.setattr(callbacks.BackupAndRestore, "_save", second)
    assert train(place, f"shared{resume}") == 0
    assert refused[0].returncode == 2 and refused[0].stderr.count("\n") == 1
    assert f"is being written by process {os.getpid()}" in refused[0].stderr
    assert_same_state(place / "run", output)
    assert not [path for path in place.rglob(".*")]


def test_a_resume_with_other_arguments_is_refused(place, capsys):
    assert train(place, "run", "--resume", "--seed", "4", "--set", "free_bits=0.5") == 2
    error = capsys.readouterr().err
    assert "seed=0, not 4" in error and "free_bits" in error
    assert "epochs=" not in error.split("Pass another")[0]
    assert "keras-ae train VAE" in error and "--resume" in error


def test_ctrl_c_says_how_to_resume(place, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "train", interrupted)
    assert train(place, "run") == 130
    assert f"--output {place / 'run'} --resume" in capsys.readouterr().err


# ---------------------------------------------------------------------- using a model


def test_evaluate_prints_the_figures_of_the_run(place, capsys):
    assert command("evaluate", place / "run") == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures == json.loads((place / "run" / "metrics.json").read_text())


def test_sample_encode_and_reconstruct_write_what_the_model_gives(place, tmp_path):
    model = keras_ae.load(place / "run" / MODEL)
    x = np.load(place / "pairs.npz")["x"]
    wanted = {
        "sample": (("--num-samples", 5, "--seed", 3), model.sample(5, seed=3)),
        "encode": ((), model.encode(x)),
        "reconstruct": (("--data", place / "pairs.npz"), model.reconstruct(x)),
    }
    for name, (words, array) in wanted.items():
        output = tmp_path / f"{name}.npy"
        assert command(name, place / "run", *words, "--output", output) == 0
        np.testing.assert_array_equal(np.load(output), array)


def test_large_data_is_read_in_parts(place, monkeypatch):
    x = np.load(place / "pairs.npz")["x"]
    monkeypatch.setattr(runs, "IN_MEMORY", 0)
    streamed = runs.examples(place / "pairs.npz", "all")
    np.testing.assert_array_equal(np.stack(list(streamed.as_numpy_iterator())), x)


def test_results_are_written_in_parts(tmp_path):
    x = np.random.default_rng(0).random((2500, 3), "float32")
    np.save(tmp_path / "x.npy", x)
    sizes = []

    def function(batch):
        sizes.append(len(batch))
        return batch[:, :2] + 1

    shape = runs.write_over_all(function, tmp_path / "x.npy", tmp_path / "y.npy")
    assert shape == (2500, 2) and sizes == [1024, 1024, 452]
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), x[:, :2] + 1)


def test_labels_are_found_where_there_are_any(place):
    pairs, reals = place / "pairs.npz", place / "reals.npy"
    assert runs.take_first_labels(pairs, "all", 5).tolist() == [0, 1, 2, 0, 1]
    assert runs.take_first_labels(reals, "all", 5) is None
    x, factors = next(iter(runs.datasets.load("sprites", "test", labels=True).batch(4)))
    assert runs.take_first_labels("sprites", "test", 4).tolist() == factors[:, 0].numpy().tolist()


def test_a_set_without_a_test_split_gives_a_tenth_of_the_training_split(monkeypatch):
    def load(name, split="train", **_):
        if not split.startswith("train"):
            raise ValueError(f"split={split!r} is unknown")

    monkeypatch.setattr(runs.datasets, "load", load)
    assert runs.splits("dsprites") == ("train[:90%]", "train[90%:]")
    monkeypatch.undo()
    assert runs.splits("digits") == ("train", "test")


@pytest.mark.parametrize("name", ["sample", "reconstruct"])
def test_sample_and_reconstruct_draw_pictures(name, place, tmp_path):
    output = tmp_path / "picture.png"
    assert command(name, place / "run", "--output", output) == 0
    assert output.read_bytes().startswith(b"\x89PNG")


def test_info_prints_the_card(place, capsys):
    assert command("info", place / "run") == 0
    printed = capsys.readouterr().out
    assert "model: VAE" in printed and "latent_dim: 2" in printed
    assert MODEL == "model.keras" or "command: keras-ae train VAE" in printed


def test_verify_names_a_file_that_changed(place, exports, tmp_path, capsys):
    folder = tmp_path / "model"
    shutil.copytree(place / "run" / "model", folder)
    assert command("verify", folder) == 0
    assert "variables/variables.index" in capsys.readouterr().out
    (folder / "saved_model.pb").write_bytes(b"")
    assert command("verify", folder) == 2
    error = capsys.readouterr().err
    assert "saved_model.pb does not have the size" in error and error.count("\n") == 1


def test_info_reads_a_keras_file(place, tmp_path, capsys):
    keras_ae.load(place / "run" / MODEL).save(tmp_path / "vae.keras")
    assert command("info", tmp_path / "vae.keras") == 0
    assert "model: VAE" in capsys.readouterr().out


def test_list_prints_models_with_papers_and_pretrained_ones_with_figures(
    tmp_path, capsys, monkeypatch
):
    card = {"model": "VAE", "data": "mnist", "figures": {"loss": 99.5, "examples": 7}}
    (tmp_path / "vae_of_mine").mkdir()
    (tmp_path / "vae_of_mine" / "card.json").write_text(json.dumps(card))
    monkeypatch.setenv("KERAS_AE_SAVED_MODELS", str(tmp_path))
    assert command("list") == 0
    printed = capsys.readouterr().out
    for name in runs.model_classes():
        assert f"  {name} " in printed
    assert "arXiv:1312.6114" in printed and "arXiv:1802.05983" in printed
    assert "VAE on mnist: loss 99.5\n" in printed


def test_json_has_null_where_a_figure_is_no_number(tmp_path, capsys, monkeypatch):
    card = {"model": "VAE", "figures": {"loss": math.nan, "all": [1.0, math.inf, -math.inf]}}
    (tmp_path / "vae_of_mine").mkdir()
    (tmp_path / "vae_of_mine" / "card.json").write_text(json.dumps(card))
    monkeypatch.setenv("KERAS_AE_SAVED_MODELS", str(tmp_path))
    assert command("list", "--json") == 0

    def refuse(word):
        raise ValueError(word)

    printed = json.loads(capsys.readouterr().out, parse_constant=refuse)
    (mine,) = [each for each in printed["pretrained"] if each["name"] == "vae_of_mine"]
    assert mine["figures"] == {"loss": None, "all": [1.0, None, None]}


# ---------------------------------------------------------------------- mistakes

TRAIN = ("train", "VAE", "--data", "{}/pairs.npz", "--output", "{}/new")
RUN = "{}/run"


@pytest.mark.parametrize(
    "words, message",
    [
        (("trian",), "Did you mean 'train'?"),
        (("train",), "Missing argument 'MODEL'"),
        (("train", "VAE", "--epcohs", "3"), "--epochs"),
        (("train", "VEA"), "Did you mean 'VAE'?"),
        (("train", "VAE", "--data", "mnits"), "Did you mean 'mnist'?"),
        (("train", "VAE", "--data", "none.npy"), "none.npy"),
        ((*TRAIN, "--epochs", "0"), "epochs=0"),
        ((*TRAIN, "--batch-size", "-1"), "batch_size=-1"),
        ((*TRAIN, "--learning-rate", "nan"), "learning_rate=nan"),
        ((*TRAIN, "--seed", "-1"), "seed=-1"),
        ((*TRAIN, "--latent-dim", "0"), "latent_dim=0"),
        ((*TRAIN, "--latent-dim", "two"), "--latent-dim"),
        ((*TRAIN, "--latent-dim", "2", "--set", "latent_dim=3"), "given twice"),
        ((*TRAIN, "--set", "seed=3"), "--seed 3"),
        ((*TRAIN, "--set", "free_bits"), "name=value"),
        ((*TRAIN, "--set", "fre_bits=1"), "Did you mean 'free_bits'?"),
        ((*TRAIN, "--set", "likelihood=gausian"), "Did you mean 'gaussian'?"),
        ((*TRAIN, "--set", 'network_options={"unit": 3}'), "Did you mean 'units'?"),
        (("train", "VAE", "--data", "{}/reals.npy", "--output", "{}/new"), "between 0 and 1"),
        (("train", "VAE", "--data", "{}/pairs.npz", "--output", RUN), "--resume"),
        (("train", "VAE", "--output", "{}/pairs.npz"), "not an empty folder"),
        (("train", "VAE", "--output", "{}/pairs.npz/run"), "pairs.npz"),
        (("train", "VAE", "--output", "~/new"), "--output: '~/new' begins with ~"),
        (("train", "VAE", "--output", "{}/new", "--resume"), "no run in"),
        (("info", "{}/nothing"), "no file or folder"),
        (("info", "{}/pairs.npz"), "pairs.npz"),
        (("evaluate", RUN, "--data", "{}/reals.npy"), "(5,)"),
        (("sample", RUN, "--num-samples", "-1", "--output", "{}/s.npy"), "num_samples=-1"),
        (("sample", RUN, "--output", "{}/s.txt"), ".png or .npy"),
        (("sample", RUN, "--output", "{}/reals.npy"), "exists"),
        (("sample", RUN, "--output", "{}/nowhere/s.npy"), "no folder"),
        (("encode", RUN, "--data", "{}/reals.npy", "--output", "{}/c.npy"), "(5,)"),
    ],
)
def test_a_mistake_prints_one_line_and_exits_with_status_2(words, message, place, capsys):
    before = sorted(place.rglob("*"))
    assert command(*(word.replace("{}", str(place)) for word in words)) == 2
    assert_one_line(capsys.readouterr(), message)
    assert sorted(place.rglob("*")) == before


def test_a_run_without_a_model_says_how_to_resume(place, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        with pytest.raises(Stopped):
            train(place, "half")
    capsys.readouterr()
    assert command("info", place / "half") == 2
    assert f"--output {place / 'half'} --resume" in capsys.readouterr().err


@pytest.fixture
def full(place):
    """A limit stands for a full disk: no file can grow beyond 1,000 bytes."""
    if not (place / "many.npy").exists():
        np.save(place / "many.npy", np.zeros((500, 6), "uint8"))
    resource = pytest.importorskip("resource", reason="no such limits on Windows")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


# JAX also writes compiled programs to files, and warns when the limit stops it.
@pytest.mark.filterwarnings("ignore:Error writing persistent compilation cache:UserWarning")
@pytest.mark.parametrize(
    "words",
    [
        ("sample", RUN, "--num-samples", "200", "--output", "{}/full.npy"),
        ("sample", RUN, "--num-samples", "200", "--output", "{}/full.png"),
        ("encode", RUN, "--data", "{}/many.npy", "--output", "{}/full.npy"),
        ("reconstruct", RUN, "--data", "{}/many.npy", "--output", "{}/full.npy"),
    ],
)
def test_a_full_disk_prints_one_line_and_leaves_no_part(words, place, full, capsys):
    before = sorted(place.rglob("*"))
    words = [word.replace("{}", str(place)) for word in words]
    assert command(*words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("keras-ae: error: ")
    assert words[-1] in error
    assert sorted(place.rglob("*")) == before


@pytest.mark.costly
def test_a_full_disk_does_not_crash_the_process(place):
    """Writing through a memory map on a full file system would crash it without a message."""
    disk = place / "disk"
    disk.mkdir(exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("only the superuser mounts a small file system")
    try:
        np.save(place / "rows.npy", np.zeros((20000, 6), "uint8"))
        words = ("encode", str(place / "run"), "--data", str(place / "rows.npy"))
        code = (
            f"from keras_ae.cli.main import main; main({[*words, '--output', f'{disk}/c.npy']!r})"
        )
        environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(runs.__file__).parents[2])}
        ended = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True
        )
        assert ended.returncode == 2
        assert f"No space left on device: '{disk}/c.npy'" in ended.stderr
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)
        disk.rmdir()
        (place / "rows.npy").unlink()
