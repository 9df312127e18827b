"""Training runs. Each has one folder with the model, its metrics and pictures, and a backup."""

import contextlib
import csv
import dataclasses
import json
import math
import os
import pathlib
import re
import shlex
import shutil
import sys

import keras
import numpy as np

from keras_ae import callbacks, datasets, models, plots
from keras_ae.core import arguments, configuration, inputs, storage, workers
from keras_ae.core.storage import whole_file

CONTENTS = {
    "model": "the SavedModel, for keras_ae.load and TensorFlow Serving",
    "model.keras": "the model, for keras_ae.load",
    "history.csv": "the losses of every epoch",
    "metrics.json": "the metrics on the test split",
    "reconstructions.png": "originals above their reconstructions",
    "samples.png": "new data from the model",
    "latent_plane.png": "the codes of the test split, colored by class",
    "loss_curves.png": "the losses over the epochs",
}

IN_MEMORY = 2**30  # A dataset of up to this many bytes of float32 is held as an array.
SHUFFLED = 2**28  # Examples of a larger dataset are drawn from a buffer of this many bytes.
PRIOR_EXAMPLES = 100_000  # A prior over codes is trained on the codes of this many examples.
TEST_EXAMPLES = 2000  # More examples would make plots crowded and estimates slow.
IMPORTANCE_SAMPLES = 100


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything that determines the weights of a run.

    Args:
        model: Name of a model's class, such as "VAE".
        data: Name or path, see `keras_ae.datasets.load`. Defaults to "digits".
        epochs: Passes over the training split. Defaults to 60.
        batch_size: Examples in a step. Defaults to 32.
        learning_rate: Learning rate of Adam. Defaults to 0.001.
        seed: Integer that determines initial weights, noise and order. Defaults to 0.
        arguments: Dictionary of the constructor's arguments as JSON values. A Keras object is a
            dictionary with its "class_name" and "config". Defaults to an empty dictionary.
        workers: Processes that share every step. Defaults to 1.

    Raises:
        ValueError: If a number is out of range.
    """

    model: str
    data: str = "digits"
    epochs: int = 60
    batch_size: int = 32
    learning_rate: float = 1e-3
    seed: int = 0
    arguments: dict = dataclasses.field(default_factory=dict)
    workers: int = 1

    def __post_init__(self):
        for name in ("epochs", "batch_size", "workers"):
            arguments.integer(None, name, getattr(self, name))
        arguments.number(None, "learning_rate", self.learning_rate, positive=True)
        arguments.integer(None, "seed", self.seed, least=0, most=2**31 - 1)

    def command(self, folder=None):
        """Write the command line that starts this run, in its default folder or in another."""
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
        if folder not in (None, self.folder()):
            words += ["--output", str(folder)]
        return shlex.join(words)

    def folder(self):
        """Return the default folder of the run: runs/<model>_<data>."""
        data = pathlib.Path(self.data).stem if os.path.exists(self.data) else self.data
        name = f"{_to_snake_case(self.model)}_{re.sub(r'[^a-z0-9]+', '_', data.lower()).strip('_')}"
        return pathlib.Path("runs") / name


def _is_plain(value):
    """Tell whether a string after `--set name=` is read as it is, and not as JSON."""
    return isinstance(value, str) and parse(value) == value


def parse(text):
    """Parse a text as JSON. A text that is not JSON is returned as it is."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _to_snake_case(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


# ---------------------------------------------------------------------- models


def model_classes():
    """Return a dictionary of name -> class of all models."""
    return {name: getattr(models, name) for name in models.FILES}


def make_model(settings):
    """Make the compiled model of a run, which is not yet built.

    Raises:
        ValueError: If the model or an argument is unknown, or an argument is out of range.
        TypeError: If an argument is of the wrong type.
    """
    classes = model_classes()
    if settings.model not in classes:
        raise ValueError(
            f"the model {settings.model!r} is unknown."
            f"{arguments.did_you_mean(settings.model, classes)} There are {', '.join(classes)}."
        )
    cls = classes[settings.model]
    known = [*configuration.constructor_parameters(cls), "name", "dtype"]
    for name in settings.arguments:
        if name not in known:
            raise ValueError(
                f"{settings.model} has no argument {name!r}."
                f"{arguments.did_you_mean(name, known)} It takes {', '.join(known)}."
            )
    # 1 is added, because with a global seed of 0 TensorFlow does not accept a tensor as the seed of
    # a shuffle.
    keras.utils.set_random_seed(settings.seed + 1)
    given = {
        name: keras.saving.deserialize_keras_object(value)
        if isinstance(value, dict) and "class_name" in value
        else value
        for name, value in settings.arguments.items()
    }
    model = cls(**{"seed": settings.seed, **given})
    model.compile(keras.optimizers.Adam(settings.learning_rate))
    return model


# ---------------------------------------------------------------------- data


def splits(data):
    """Return the names of the training and test splits.

    Without a split "test", the last tenth of "train" is the test split.
    """
    try:
        datasets.load(data, "test")
    except ValueError as no_test:
        try:
            datasets.load(data, "train[90%:]")
        except ValueError:
            raise no_test from None
        return "train[:90%]", "train[90%:]"
    return "train", "test"


def examples(data, split):
    """Load the examples of a split: an array if it fits in memory, or a dataset of examples."""
    dataset = datasets.load(data, split)
    numbers = dataset.element_spec.shape.num_elements()
    # The number is None if pictures differ in size. The error of `as_array` then says what to do.
    if numbers is not None and 4 * numbers * int(dataset.cardinality()) > IN_MEMORY:
        return dataset
    return datasets.as_array(data, split)


def take_first(x, count):
    """Return the first examples, as an array, of what `examples` returns."""
    if isinstance(x, np.ndarray):
        return x[:count]
    return next(x.batch(count).as_numpy_iterator())


def write_over_all(function, data, path, verbose=0):
    """Write a function's values for all examples to an .npy file, with one batch in memory.

    Args:
        function: Function from an array of a batch of examples to an array.
        data: Name or path of the data.
        path: The file.
        verbose: 1 for a progress bar. Defaults to 0.

    Returns:
        The shape of the array in the file.
    """
    dataset = datasets.load(data, "all")
    if dataset.element_spec.shape.num_elements() is None:
        # If pictures differ in size, this raises an error that says what to do.
        datasets.as_array(data, "all")
    count, size = int(dataset.cardinality()), 1024
    bar = keras.utils.Progbar(-(-count // size), verbose=verbose)
    batches = dataset.batch(size).prefetch(1).as_numpy_iterator()

    def parts():
        for number, batch in enumerate(batches, 1):
            yield function(batch)
            bar.update(number)

    return write_npy(path, parts(), count)


def write_npy(path, parts, count):
    """Write an .npy file that concatenates the arrays of an iterable.

    Args:
        path: The file.
        parts: Iterable of arrays of shape (examples, ...).
        count: Number of examples in all arrays together.

    Returns:
        The shape of the array in the file.
    """
    shape = None
    # The file is not a memory map, because that would end the process if the disk were full.
    with open(path, "wb") as file:
        for values in map(np.ascontiguousarray, parts):
            if shape is None:
                shape = (count, *values.shape[1:])
                header = np.lib.format.header_data_from_array_1_0(values)
                np.lib.format.write_array_header_1_0(file, {**header, "shape": shape})
            file.write(values.data)
    return shape


def take_first_labels(data, split, count):
    """Return the labels of a split's first examples, or None if it has no labels.

    If a label is a vector, its first number is returned.
    """
    try:
        dataset = datasets.load(data, split, labels=True)
    except ValueError:
        return None
    labels = take_first(dataset.map(lambda x, label: label), count)
    return labels.reshape(len(labels), -1)[:, 0]


def _order_epochs(dataset, settings, first_epoch):
    """Make one dataset of all remaining epochs. Seed and epoch determine the order of each."""
    example_bytes = 4 * dataset.element_spec.shape.num_elements()
    buffer = max(1, min(SHUFFLED // example_bytes, int(dataset.cardinality())))
    first_seed = settings.seed * 2**31
    return dataset.range(first_seed + first_epoch, first_seed + settings.epochs).flat_map(
        lambda seed: dataset.shuffle(buffer, seed=seed).batch(settings.batch_size)
    )


# ---------------------------------------------------------------------- training


def needs_launch(settings):
    """Tell whether the run's workers must still be started, because no cluster started them."""
    return settings.workers > 1 and workers.count() == 1


def launch(settings, folder=None, resume=False):
    """Train in as many processes on this machine as the settings have workers.

    Each process runs `train`. The output of the first one is shown.

    Args:
        settings, folder, resume: See `train`.

    Raises:
        BlockingIOError, FileExistsError, FileNotFoundError, ValueError: See `train`.
        RuntimeError: If a process was killed or failed. The run can be resumed.
    """
    folder = pathlib.Path(folder or settings.folder())
    make_model(settings)
    with _lock_folder(folder, settings, resume):
        pass  # This reports a wrong folder once, before the processes start.
    words = [*shlex.split(settings.command(folder))[1:], *(["--resume"] if resume else [])]
    try:
        workers.launch([sys.executable, "-m", "keras_ae.cli", *words], settings.workers)
    except RuntimeError as error:
        if not (folder / "run.json").exists():
            raise
        raise RuntimeError(f"{error} Go on with: {make_resume_command(folder)}") from None


def train(settings, folder=None, resume=False, verbose=1):
    """Train a model and fill a run folder.

    Args:
        settings: `Settings`.
        folder: Folder of the run. Unless the run is resumed, it must not exist, or be empty.
            Defaults to `settings.folder()`.
        resume: Whether to go on with a run that was started in the folder with the same settings.
            It ends with the same weights, bit for bit, as if it had not been stopped. Defaults to
            False.
        verbose: 0 for no output, 1 for a progress bar, 2 for a line for every epoch. Defaults to 1.

    Returns:
        `pathlib.Path` of the folder. Only the first worker writes to it, and all others return
        None.

    Raises:
        BlockingIOError: If another process trains into the folder. The message says which.
        FileExistsError: If the folder is not empty and resume is False.
        FileNotFoundError: If there is no run to resume.
        ValueError: If the settings differ from those of the run to resume, or are out of range.

    Example:

    >>> import tempfile
    >>> from keras_ae.cli import runs
    >>> settings = runs.Settings("AE", epochs=1, arguments={"latent_dim": 2})
    >>> folder = runs.train(settings, tempfile.mkdtemp(), verbose=0)
    >>> (folder / "model" / "card.json").is_file()
    True
    """
    folder = pathlib.Path(folder or settings.folder())
    if workers.count() != settings.workers:
        raise ValueError(
            f"workers={settings.workers}, but this process was started as one of "
            f"{workers.count()}. Pass --workers {workers.count()}."
        )
    worker, scope = workers.join()
    with contextlib.ExitStack() as stack:
        data = None
        with scope():
            model = make_model(settings)
            if worker == 0:
                stack.enter_context(_lock_folder(folder, settings, resume))
            if not is_complete(folder):
                data = _Data(settings, model)
                if worker == 0 and not resume:
                    folder.mkdir(parents=True, exist_ok=True)
                    _write_json(folder / "run.json", _to_json(settings))
                _fit(model, data, settings, folder, worker, 0 if worker else verbose)
        if worker:
            return None
        if data:
            if settings.workers > 1:  # The first worker goes on with a model of its own.
                model = make_model(settings)
                data.check(model)
                _restore(model, folder)
            if hasattr(model, "fit_prior"):
                model.fit_prior(take_first(data.x, PRIOR_EXAMPLES), verbose=verbose)
            _finish(model, data, settings, folder)
        shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    return folder


def is_complete(folder):
    """Tell whether a run is complete. If it is not, it can be resumed."""
    return (folder / "metrics.json").exists()


class _Data:
    """The two splits of a run."""

    def __init__(self, settings, model):
        train_split, self.test_split = splits(settings.data)
        self.x = examples(settings.data, train_split)
        self.x_test = examples(settings.data, self.test_split)
        self.check(model)

    def check(self, model):
        """Build the model for the data. Raise an error if the model cannot take the data."""
        x = self.x if isinstance(self.x, np.ndarray) else take_first(self.x, 1)
        inputs.check_batch(model, x, None, None)


@contextlib.contextmanager
def _lock_folder(folder, settings, resume):
    """Check and lock the folder of a run, so that no other process trains into it."""
    if resume:
        _check_folder(folder, settings, resume)
    with storage.exclusive(folder):
        storage.remove_leftovers(folder)
        if not resume:
            _check_folder(folder, settings, resume)
        yield


def _check_folder(folder, settings, resume):
    if not resume:
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise FileExistsError(
                f"{folder} exists and is not an empty folder. Pass another --output, or --resume "
                "to go on with the run in it."
            )
        return
    if not (folder / "run.json").is_file():
        raise FileNotFoundError(
            f"--resume: there is no run in {folder}. Leave --resume out to start one, or pass the "
            "--output that it was started with."
        )
    before = {"workers": 1, **json.loads((folder / "run.json").read_text())}
    now = _to_json(settings)
    different = [
        f"{name}={before.get(name)!r}, not {now.get(name)!r}"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    ]
    if different:
        raise ValueError(
            f"--resume: the run in {folder} was started with {' and '.join(different)}. Pass "
            f"another --output, or go on with it: {make_resume_command(folder)}"
        )


def make_resume_command(folder):
    """Write the command line that goes on with the run in a folder."""
    stored = json.loads((folder / "run.json").read_text())
    del stored["backend"]
    return f"{Settings(**stored).command(folder)} --resume"


def _to_json(settings):
    """Turn settings into the values of run.json.

    The backend is among them, because the same settings lead to other weights on another backend.
    """
    stored = {**dataclasses.asdict(settings), "backend": keras.config.backend()}
    return json.loads(json.dumps(stored))


def _fit(model, data, settings, folder, worker, verbose):
    x, x_test = data.x, data.x_test
    backup, first_epoch = _make_backup(folder), _restore(model, folder)
    if first_epoch == settings.epochs:
        return
    if isinstance(x, np.ndarray):
        options = {"x": x, "batch_size": settings.batch_size}
    else:
        steps = math.ceil(int(x.cardinality()) / settings.batch_size)
        options = {"x": _order_epochs(x, settings, first_epoch), "steps_per_epoch": steps}
    if not isinstance(x_test, np.ndarray):
        x_test = x_test.batch(settings.batch_size)
    try:
        model.fit(
            **options,
            epochs=settings.epochs,
            initial_epoch=first_epoch,
            validation_data=x_test,
            # A row of history.csv is written before the backup of its epoch. If a row has no
            # backup, its epoch is trained again, and the row is dropped.
            callbacks=[_History(folder, first_epoch, worker == 0), backup],
            verbose=verbose,
        )
    finally:
        backup.release()


def _make_backup(folder):
    return callbacks.BackupAndRestore(folder / "checkpoint", delete_checkpoint=False)


def _restore(model, folder):
    """Restore a built model from the last backup of a run, and return the number of epochs."""
    found = _make_backup(folder).restore(model)
    if found:
        return found["epoch"]
    # In runs of earlier versions, checkpoints are .keras files.
    saved = sorted((folder / "checkpoint").glob("epoch_*.keras"))
    if not saved:
        return 0
    model.optimizer.build(model.trainable_variables)
    model.load_weights(saved[-1])
    return int(re.search(r"\d+", saved[-1].name).group())


class _History(keras.callbacks.Callback):
    """Writes a row of history.csv after every epoch."""

    def __init__(self, folder, first_epoch, writes):
        super().__init__()
        self.path, self.writes = folder / "history.csv", writes
        self.rows = []
        if first_epoch:
            with self.path.open(newline="") as file:
                self.rows = list(csv.DictReader(file))[:first_epoch]

    def on_epoch_end(self, epoch, logs=None):
        if not math.isfinite(logs["loss"]):
            raise ValueError(
                f"the loss became {logs['loss']} in epoch {epoch + 1}. Start again with a lower "
                "--learning-rate, in another --output."
            )
        self.rows.append({"epoch": epoch + 1, **{k: float(v) for k, v in logs.items()}})
        if self.writes:
            with whole_file(self.path) as path, path.open("w", newline="") as file:
                writer = csv.DictWriter(file, self.rows[-1])
                writer.writeheader()
                writer.writerows(self.rows)


def read_history(folder):
    """Read the losses of every epoch: name -> list of numbers, for `plots.loss_curves`."""
    with (folder / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0] if name != "epoch"}


def _write_json(path, values):
    with whole_file(path) as partial:
        partial.write_text(json.dumps(values, indent=2) + "\n")


# ---------------------------------------------------------------------- results


def measure(model, data, split, x=None):
    """Compute the metrics of a model on a split.

    Args:
        model: A compiled `keras_ae` model.
        data: Name or path of the data.
        split: Name of the split.
        x: What `examples(data, split)` returned. Defaults to None, which loads the examples.

    Returns:
        Dictionary: the data, the split, its number of examples and every mean loss. For variational
        models, it also has the log-likelihood in nats per example, estimated on the split's first
        examples, and the number of these examples and of importance samples.
    """
    x = examples(data, split) if x is None else x
    count = len(x) if isinstance(x, np.ndarray) else int(x.cardinality())
    figures = {"data": data, "split": split, "examples": count}
    figures |= model.evaluate(x, batch_size=100, return_dict=True, verbose=0)
    if hasattr(model, "log_likelihood"):
        first = take_first(x, TEST_EXAMPLES)
        values = model.log_likelihood(first, num_samples=IMPORTANCE_SAMPLES, seed=0, verbose=0)
        figures["log_likelihood"] = float(values.mean())
        figures["log_likelihood_samples"] = IMPORTANCE_SAMPLES
        figures["log_likelihood_examples"] = len(first)
    return figures


def _finish(model, data, settings, folder):
    figures = measure(model, settings.data, data.test_split, data.x_test)
    labels = take_first_labels(settings.data, data.test_split, TEST_EXAMPLES)
    pictures = _draw_pictures(model, take_first(data.x_test, TEST_EXAMPLES), labels, settings.seed)
    pictures["loss_curves.png"] = plots.loss_curves(read_history(folder))
    for name, picture in pictures.items():
        with whole_file(folder / name) as partial:
            picture.savefig(partial)
    if keras.config.backend() == "torch":  # torch cannot write a SavedModel.
        with whole_file(folder / "model.keras") as partial:
            model.save(partial)
    else:
        card = {
            "data": settings.data,
            "figures": figures,
            "seed": settings.seed,
            "command": settings.command(),
        }
        model.export(folder / "model", card=card, overwrite=True)
    # This file is written last, because it marks the run as complete.
    _write_json(folder / "metrics.json", figures)


def _draw_pictures(model, x, labels, seed):
    """Draw codes and examples, if they can be drawn: a dictionary of file name -> figure."""
    pictures = {}
    if model._code_dtype == "float32" and len(model.code_shape) == 1:
        pictures["latent_plane.png"] = plots.latent_plane(model.encode(x), labels)
    if plots.can_draw(x):
        shown = x[:20]
        pictures["reconstructions.png"] = plots.reconstructions(shown, model.reconstruct(shown))
        pictures["samples.png"] = plots.image_grid(model.sample(64, seed=seed))
    return pictures
