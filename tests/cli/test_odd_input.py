"""Odd files, numbers, variables and streams: each mistake prints one line."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from command_line import assert_one_line, command, make_place, train

import keras_ae
from keras_ae.cli import runs

DEEP = "[" * 100_000 + "]" * 100_000
RED = "\x1b[31m"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return make_place(tmp_path_factory.mktemp("odd"))


# ---------------------------------------------------------------------- arguments

TRAIN = ("train", "VAE", "--data", "PLACE/pairs.npz", "--output", "PLACE/new")
SAMPLE = ("sample", "PLACE/run", "--output", "PLACE/s.npy")


@pytest.mark.parametrize(
    "words, message",
    [
        ((*SAMPLE, "--seed", 2**63), "seed=9223372036854775808"),
        ((*SAMPLE, "--seed", -(2**70)), "64 bits"),
        ((*SAMPLE, "--seed", 10**400), "64 bits"),
        ((*SAMPLE, "--seed", "9" * 5000), "--seed"),
        ((*SAMPLE, "--num-samples", 10**400), "num_samples="),
        ((*SAMPLE, "--input", "self=3"), "has no input 'self'"),
        ((*SAMPLE, "--input", "label=[[1], [1, 2]]"), "different lengths"),
        ((*TRAIN, "--seed", 2**70), "seed="),
        ((*TRAIN, "--batch-size", 10**30), "batch_size="),
        ((*TRAIN, "--latent-dim", 10**400), "latent_dim="),
        ((*TRAIN, "--set", "likelihood={}"), "likelihood={} is unknown"),
        ((*TRAIN, "--set", f"network_options={DEEP}"), "network_options"),
        ((*TRAIN, "--set", f"likelihood={RED}"), r"\x1b[31m"),
        ((*TRAIN, "--set", "likelihood=\udcff"), r"\udcff"),
        ((*TRAIN, "--set", 'encoder={"class_name": "__numpy__", "config": {}}'), "encoder="),
        ((*TRAIN, "--set", 'encoder={"class_name": "__slice__", "config": {}}'), "encoder="),
        (("train", f"{RED}VAE"), r"\x1b[31m"),
        (("train", "V\nAE"), r"V\nAE"),
        (("train", "x" * 5000), "is unknown"),
        (("train", "VAE", f"--{RED}"), r"--\x1b[31m"),
        (("info", f"PLACE/{RED}\u202e"), r"\x1b[31m\u202e"),
        (("info", "x" * 5000), "File name too long"),
    ],
)
def test_odd_arguments(words, message, place, capsys):
    assert command(*(str(word).replace("PLACE", str(place)) for word in words)) == 2
    assert_one_line(capsys.readouterr(), message)


# ---------------------------------------------------------------------- the files of a run


def odd_runs(good):
    yield from ("", "[]", "null", "3", '"a"', "{}", DEEP, b"\xff", '{"model": "VAE"}')
    yield '{"seed": ' + "9" * 5000 + "}"
    changes = {
        "data": (5, None, "a\0b", RED),
        "model": (5, "\ud800", RED),
        "arguments": ([], {RED: 3}),
        "epochs": ("many", True, 2**70),
        "seed": (2**70,),
        "workers": (None,),
        "backend": (3, None),
        "early_stopping": (0, "x"),
        RED: (1,),
    }
    for name, values in changes.items():
        for value in values:
            yield json.dumps({**good, name: value})


@pytest.mark.costly
def test_odd_settings_of_a_run(place, capsys):
    good = json.loads((place / "run" / "run.json").read_text())
    folder = place / "odd"
    folder.mkdir()
    for text in odd_runs(good):
        written = text if isinstance(text, bytes) else text.encode()
        (folder / "run.json").write_bytes(written)
        commands = (
            ("info", folder),
            ("evaluate", folder),
            ("encode", folder, "--output", place / "codes.npy"),
            ("train", "VAE", "--data", place / "pairs.npz", "--output", folder, "--resume"),
        )
        for words in commands:
            assert command(*words) == 2, text
            assert_one_line(capsys.readouterr(), "--output")


def test_a_folder_in_the_place_of_run_json(place, capsys):
    (place / "nested" / "run.json").mkdir(parents=True)
    assert command("info", place / "nested") == 2
    assert_one_line(capsys.readouterr(), "not a regular file")


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", DEEP, '{"data": "x", "split": "test", "loss": "1"}']
)
def test_odd_metrics_of_a_run(text, place, capsys):
    shutil.copytree(place / "run", place / "scored", dirs_exist_ok=True)
    (place / "scored" / "metrics.json").write_text(text)
    assert train(place, "scored", "--resume") == 2
    assert_one_line(capsys.readouterr(), "metrics.json")


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "epoch,loss\n1\n2,3\n", "epoch,loss\n1,x\n"])
def test_an_odd_history_of_a_run(text, tmp_path):
    (tmp_path / "history.csv").write_text(text)
    with pytest.raises(ValueError, match=r"history\.csv is not what"):
        runs.read_history(tmp_path)


# ---------------------------------------------------------------------- cards of others

GOOD = {"model": "VAE", "data": "mnist", "figures": {"loss": 99.5}}
ODD_CARDS = [
    "",
    "[]",
    "{}",
    DEEP,
    b"\xff",
    '{"a":' * 900 + "1" + "}" * 900,
    '{"model": ' + "9" * 5000 + "}",
    *(
        json.dumps({**GOOD, **change})
        for change in (
            {"model": None},
            {"model": f"{RED}EVIL\n  vae_mnist  VAE"},
            {"figures": []},
            {"figures": {RED: 1.5, "loss": "9"}},
            {"data": ["\x9b31m", "\ud800", "\u202e"]},
        )
    ),
]


@pytest.fixture
def collection(tmp_path, monkeypatch):
    """A collection of odd cards, a good one, and one in a folder that cannot be listed."""
    for number, text in enumerate([*ODD_CARDS, json.dumps(GOOD)]):
        folder = tmp_path / f"card_{number:02}"
        folder.mkdir()
        (folder / "card.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    (tmp_path / "empty" / "card.json").mkdir(parents=True)
    (tmp_path / f"named{RED}").mkdir()
    (tmp_path / f"named{RED}" / "card.json").write_text(json.dumps(GOOD))
    monkeypatch.setenv("KERAS_AE_SAVED_MODELS", str(tmp_path))
    return tmp_path


def test_odd_cards_hide_no_good_one(collection, capsys):
    assert command("list") == 0
    printed = capsys.readouterr().out
    lines = printed[printed.index("Pretrained:") :].splitlines()[1:]
    assert all(line.isprintable() and line.startswith("  ") for line in lines)
    by_name = {line.split()[0]: line for line in lines}
    assert by_name[f"card_{len(ODD_CARDS):02}"].endswith("VAE on mnist: loss 99.5")
    assert r"named\x1b[31m" in by_name and r"EVIL\n" in printed
    assert by_name.keys() >= {f"card_{i:02}" for i in range(len(ODD_CARDS))} | {"empty"}
    assert "cannot be listed" in by_name["card_00"] and "names no model" in by_name["card_02"]
    assert command("list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)["pretrained"]
    assert {"name": f"card_{len(ODD_CARDS):02}", **GOOD} in listed


def test_an_unreadable_card_hides_no_good_one(collection, capsys, monkeypatch):
    read = pathlib.Path.read_bytes

    def read_bytes(path):
        if path.parent.name == "card_02":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(pathlib.Path, "read_bytes", read_bytes)
    assert command("list") == 0
    printed = capsys.readouterr().out
    assert "Permission denied" in printed and "VAE on mnist: loss 99.5" in printed


def test_a_file_here_does_not_hide_a_pretrained_model(collection, capsys, monkeypatch):
    name = f"card_{len(ODD_CARDS):02}"
    (collection / "empty" / name).write_text("a file of the same name")
    monkeypatch.chdir(collection / "empty")
    assert command("list") == 0
    assert "VAE on mnist: loss 99.5" in capsys.readouterr().out


def test_info_prints_what_a_card_says_without_its_escapes(collection, capsys):
    for number in range(len(ODD_CARDS)):
        status = command("info", f"card_{number:02}")
        captured = capsys.readouterr()
        if status:
            assert_one_line(captured, "")
        assert all(line.isprintable() for line in captured.out.splitlines())
        assert "EVIL\n" not in captured.out


# ---------------------------------------------------------------------- streams


def run(code, **options):
    """Run a line of Python in another process, which does not import Keras by itself."""
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(keras_ae.__file__).parents[1])}
    environment |= options.pop("env", {})
    return subprocess.run([sys.executable, "-c", code], env=environment, **options)


HELP = "from keras_ae.cli.main import main; main(['--help'])"
MISTAKE = "from keras_ae.cli.main import main; main(['train', 'V\\xe9', '--\\u2028'])"


@pytest.mark.backend_free
@pytest.mark.skipif(os.name != "posix", reason="pipes and devices of Unix")
def test_streams_that_cannot_be_written():
    reader, writer = os.pipe()
    os.close(reader)
    ended = run(HELP, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (1, b"")
    if os.path.exists("/dev/full"):
        with open("/dev/full", "w") as full:
            ended = run(HELP, stdout=full, stderr=subprocess.PIPE)
            assert ended.returncode == 2 and ended.stderr.count(b"\n") == 1
            assert b"No space left" in ended.stderr
            assert run(MISTAKE, stderr=full).returncode == 2
    for closed in ("1", "2", "0, 1, 2"):
        code = f"import os, sys; [os.close(n) for n in ({closed},)]; "
        code += f"os.execv(sys.executable, [sys.executable, '-c', {MISTAKE!r}])"
        ended = run(code, capture_output=True)
        assert ended.returncode == 2 and ended.stdout == b""
        assert ended.stderr.count(b"\n") == (closed == "1")


@pytest.mark.backend_free
def test_characters_that_the_encoding_does_not_have():
    ended = run(MISTAKE, capture_output=True, env={"PYTHONIOENCODING": "ascii"})
    assert ended.returncode == 2 and ended.stderr.count(b"\n") == 1
    code = "from keras_ae.cli import terminal\n"
    code += "with terminal.prepare_streams(): terminal.show('Poincar\\xe9', '\\u03a9', 'a\\nb')"
    ended = run(code, capture_output=True, env={"PYTHONIOENCODING": "latin-1"})
    assert ended.stdout.split() == [b"Poincar\xe9", b"\\u03a9", b"a\\nb"]


def test_a_warning_is_one_line(place, capsys, monkeypatch):
    import warnings

    def warn(*_):
        with warnings.catch_warnings(action="always"):
            warnings.warn(f"first\nsecond {RED}", stacklevel=1)
        raise ValueError("what was wrong")

    monkeypatch.setattr(runs, "splits", warn)
    assert command("evaluate", place / "run") == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        r"keras-ae: warning: first second \x1b[31m",
        "keras-ae: error: what was wrong",
    ]
