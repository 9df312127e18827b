"""The settings of a training run, and the files of its folder that a later command reads."""

import csv
import dataclasses
import json
import os
import pathlib
import re
import shlex

import keras

from keras_ae.core import arguments
from keras_ae.samplers.fitted import BY_NAME


@dataclasses.dataclass(frozen=True)
class Settings:
    """The settings of a run, which determine the weights of the trained model.

    Args:
        model: Name of a model's class, such as "VAE".
        data: Name or path of the data: see `keras_ae.datasets.load`. Defaults to "small_mnist".
        epochs: Number of passes over the training split. Defaults to 15.
        batch_size: Number of examples in a training step. Defaults to 64.
        learning_rate: Learning rate of Adam. Defaults to 0.001.
        seed: Integer that determines the initial weights, the noise and the order of the examples.
            Defaults to 0.
        arguments: Dictionary of the arguments of the model's constructor as JSON values. A Keras
            object is a dictionary with its "class_name" and "config". Defaults to an empty
            dictionary.
        workers: Number of processes. Each of them computes a part of every batch. Defaults to 1.
        early_stopping: The run stops when the loss on the test split has not fallen for this number
            of epochs, and the model is that of the epoch with the lowest loss. Defaults to None:
            the run trains for all epochs, and the model is that of the last one.
        sampler: Name of a sampler that is fitted to the codes of the training split after the
            training: see `keras_ae.Autoencoder.fit_sampler`. Defaults to None: the model samples as
            it does by itself.

    Raises:
        TypeError: If the name of the model or the data is not a string, or the arguments are no
            dictionary.
        ValueError: If a number is out of range.
    """

    model: str
    data: str = "small_mnist"
    epochs: int = 15
    batch_size: int = 64
    learning_rate: float = 1e-3
    seed: int = 0
    arguments: dict = dataclasses.field(default_factory=dict)
    workers: int = 1
    early_stopping: int | None = None
    sampler: str | None = None

    def __post_init__(self):
        for name, kind in {"model": str, "data": str, "arguments": dict}.items():
            value = getattr(self, name)
            if not isinstance(value, (kind, os.PathLike) if name == "data" else kind):
                wanted = "a dictionary" if kind is dict else "a string"
                raise arguments.refusal(None, name, value, wanted, error=TypeError)
        for name in ("epochs", "batch_size", "workers"):
            arguments.integer(None, name, getattr(self, name), most=2**31 - 1)
        if self.early_stopping is not None:
            arguments.integer(None, "early_stopping", self.early_stopping, most=2**31 - 1)
        if self.sampler is not None:
            arguments.choice(None, "sampler", self.sampler, BY_NAME)
        arguments.number(None, "learning_rate", self.learning_rate, positive=True)
        arguments.integer(None, "seed", self.seed, least=0, most=2**31 - 1)

    def command(self, folder=None):
        """Return the command line that starts this run.

        Args:
            folder: Folder of the run. Defaults to `folder()`.
        """
        words = ["keras-ae", "train", self.model, "--data", self.data]
        for name in ("epochs", "batch_size", "learning_rate", "seed"):
            words += [f"--{name.replace('_', '-')}", str(getattr(self, name))]
        for name, value in self.arguments.items():
            if name == "latent_dim":
                words += ["--latent-dim", str(value)]
                continue
            words += ["--set", f"{name}={value if _is_plain(value) else json.dumps(value)}"]
        if self.workers > 1:
            words += ["--workers", str(self.workers)]
        if self.early_stopping is not None:
            words += ["--early-stopping", str(self.early_stopping)]
        if self.sampler is not None:
            words += ["--sampler", self.sampler]
        if folder not in (None, self.folder()):
            words += ["--output", str(folder)]
        return shlex.join(words)

    def folder(self):
        """Return the default folder of the run: runs/<model>_<data>."""
        data = pathlib.Path(self.data).stem if os.path.exists(self.data) else self.data
        name = f"{to_snake_case(self.model)}_{re.sub(r'[^a-z0-9]+', '_', data.lower()).strip('_')}"
        return pathlib.Path("runs") / name


def _is_plain(value):
    """Tell whether a value is a string that `parse` returns unchanged."""
    return isinstance(value, str) and parse(value) == value


def parse(text):
    """Parse a text as JSON. If it is not JSON, return it unchanged."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def to_snake_case(name):
    """Turn the name of a class into that of a folder: BetaVAE -> beta_vae."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


# ---------------------------------------------------------------------- files of a run


def make_resume_command(folder):
    """Return the command line that resumes the run in a folder."""
    return f"{read_settings(folder)[0].command(folder)} --resume"


def find_artifact(path):
    """Return the path of a run folder's model. Other paths and names are returned as they are.

    Raises:
        FileNotFoundError: If the run has not written its model yet.
    """
    folder = pathlib.Path(path)
    if not os.path.lexists(folder / "run.json"):
        return path
    for name in ("model", "model.keras"):
        if (folder / name).exists():
            return folder / name
    raise FileNotFoundError(
        f"the run in {path} has no model yet. Go on with it: {make_resume_command(folder)}"
    )


def read_settings(folder):
    """Read the settings of the run in a folder, and the name of the backend that it uses.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is not what `train` writes.
    """
    stored = read_json(folder / "run.json")
    known = {field.name for field in dataclasses.fields(Settings)}
    try:
        unknown = sorted(stored.keys() - known - {"backend"})
        if unknown:
            raise ValueError(f"it has the unknown entry {unknown[0]!r}")
        if not isinstance(stored.get("backend"), str):
            raise ValueError("it does not name the backend")
        return Settings(**{k: v for k, v in stored.items() if k != "backend"}), stored["backend"]
    except (TypeError, ValueError) as error:
        raise _refuse(folder / "run.json", error) from None


def read_figures(folder):
    """Read the metrics of a complete run.

    Raises:
        OSError: If the file cannot be read.
        ValueError: If it is not what `train` writes.
    """
    figures = read_json(folder / "metrics.json")
    for name, kind in {"data": str, "split": str, "loss": float}.items():
        if not isinstance(figures.get(name), kind):
            raise _refuse(folder / "metrics.json", f"{name}={figures.get(name)!r}")
    return figures


def read_json(file):
    """Read a file with a JSON dictionary."""
    if file.exists() and not file.is_file():
        raise _refuse(file, "it is not a regular file")
    try:
        values = json.loads(file.read_text())
    except (ValueError, RecursionError) as error:
        raise _refuse(file, error) from None
    if not isinstance(values, dict):
        raise _refuse(file, f"it holds a JSON {type(values).__name__} and no dictionary")
    return values


def _refuse(file, reason):
    """Return the error of a file in a run folder that was changed after the run wrote it."""
    return ValueError(
        f"{file} is not what `keras-ae train` wrote ({reason}). Restore the file, or start a new "
        "run with another --output."
    )


def to_json(settings, backend=None):
    """Return the settings and the backend as the values of run.json.

    The backend is included, because the same settings lead to different weights on different
    backends.
    """
    stored = {**dataclasses.asdict(settings), "backend": backend or keras.config.backend()}
    return json.loads(json.dumps(stored))


def read_rows(file):
    """Read the rows of history.csv, each of which has the same losses."""
    try:
        with file.open(newline="") as opened:
            rows = list(csv.DictReader(opened))
        if not rows or "epoch" not in rows[0]:
            raise ValueError("it has no epochs")
        for row in rows:
            for name, text in row.items():
                if name is None or text is None:
                    raise ValueError(f"the row {list(row.values())} is not as long as the others")
                float(text)
    except (ValueError, csv.Error) as error:
        raise _refuse(file, error) from None
    return rows
