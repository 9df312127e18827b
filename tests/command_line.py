"""What the tests of the command line share."""

import keras
import numpy as np
import pytest

from keras_ae.cli import main as cli

SMALL = ("--latent-dim", "2", "--epochs", "3", "--batch-size", "16")
NETWORK = ("--set", 'network_options={"units": [8], "activation": "tanh"}')
MODEL = "model.keras" if keras.config.backend() == "torch" else "model"


def command(*words):
    """Run `keras-ae` with these words, and return its exit status."""
    with pytest.raises(SystemExit) as ended:
        cli.main([str(word) for word in words])
    return ended.value.code or 0


def train(folder, output, *words):
    data = ("--data", folder / "pairs.npz", "--output", folder / output)
    return command("train", "VAE", *data, *SMALL, *NETWORK, *words)


def make_place(folder):
    """Fill a folder with labeled data, data without labels, and a finished run."""
    rng = np.random.default_rng(0)
    x = np.repeat(rng.integers(0, 2, (60, 3)), 2, axis=1).astype("float32")
    np.savez(folder / "pairs.npz", x=x, y=np.arange(60) % 3)
    np.save(folder / "reals.npy", rng.normal(size=(40, 5)).astype("float32"))
    np.save(folder / "tall.npy", rng.random((40, 4, 4, 2), dtype="float32"))
    assert train(folder, "run") == 0
    return folder


def assert_one_line(captured, message):
    """Check that a mistake printed one line with this message, and nothing else."""
    assert captured.out == ""
    assert captured.err.startswith("keras-ae: error: ")
    assert captured.err.count("\n") == 1 and captured.err[:-1].isprintable()
    assert len(captured.err) < 1600
    assert message in captured.err
