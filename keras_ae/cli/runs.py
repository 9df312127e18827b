"""A training run: one folder with the model, its figures and pictures, and what to resume from."""

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
    "metrics.json": "the figures on the test split",
    "reconstructions.png": "originals above their reconstructions",
    "samples.png": "new data from the model",
    "latent_plane.png": "the codes of the test split, coloured by class",
    "loss_curves.png": "the losses over the epochs",
}

IN_MEMORY = 2**30  # Bytes of float32 up to which a data set is held as an array.
SHUFFLED = 2**28  # Bytes of the buffer from which the examples of a larger one are drawn.
PRIOR_EXAMPLES = 100_000  # Whose codes a prior learns, where a model needs one to sample from.
TEST_EXAMPLES = 2000  # For what is too slow or too crowded with a whole test split.
IMPORTANCE_SAMPLES = 100


@dataclasses.dataclass(frozen=True)
class Settings:
    """Everything that a run's weights follow from.

    Args:
        model: Name of a model's class, such as "VAE".
        data: Name or path, see `keras_ae.datasets.load`. Defaults to "digits".
        epochs: Passes over the training split. Defaults to 60.
        batch_size: Examples of a step. Defaults to 32.
        learning_rate: Of Adam. Defaults to 0.001.
        seed: Integer from which weights, noise and order follow. Defaults to 0.
        arguments: Dictionary of the constructor's arguments as JSON holds them: a Keras object is
            a dictionary with its "class_name" and "config". Defaults to none.
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
        """The command line that starts this run, in its default folder or in another."""
        words = ["keras-ae", "train", self.model, "--data", self.data]
        for name in ("epochs", "batch_size", "learning_rate", "seed"):
            words += [f"--{name.replace('_', '-')}", str(getattr(self, name))]
        for name, value in self.arguments.items():
            if name == "latent_dim":
                words += ["--latent-dim", str(value)]
                continue
            words += ["--set", f"{name}={value if _plain(value) else json.dumps(value)}"]
        if self.workers > 1:
            words += ["--workers", str(self.workers)]
        if folder not in (None, self.folder()):
            words += ["--output", str(folder)]
        return shlex.join(words)

    def folder(self):
        """The default place of the run: runs/<model>_<data>."""
        data = pathlib.Path(self.data).stem if os.path.exists(self.data) else self.data
        name = f"{_snake(self.model)}_{re.sub(r'[^a-z0-9]+', '_', data.lower()).strip('_')}"
        return pathlib.Path("runs") / name


def _plain(value):
    """Whether a string reads as itself after `--set name=`, and not as JSON."""
    return isinstance(value, str) and parsed(value) == value


def parsed(text):
    """The JSON value of a text, or the text itself where it is not JSON."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _snake(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


# ---------------------------------------------------------------------- models


def model_classes():
    """Name -> class of every model."""
    return {name: getattr(models, name) for name in models.FILES}


def make_model(settings):
    """The compiled model of a run's settings, not yet built.

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
    # Not 0: under that global seed TensorFlow takes no tensor as the seed of a shuffle.
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
    """The names of the training and the test split: a tenth of "train" where there is no "test"."""
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
    """The examples of a split: an array where they fit in memory, else a dataset of single ones."""
    dataset = datasets.load(data, split)
    numbers = dataset.element_spec.shape.num_elements()
    # None for pictures of different sizes: the error of `as_array` says what to do with them.
    if numbers is not None and 4 * numbers * int(dataset.cardinality()) > IN_MEMORY:
        return dataset
    return datasets.as_array(data, split)


def first_of(x, count):
    """The first examples of what `examples` returns, an array."""
    if isinstance(x, np.ndarray):
        return x[:count]
    return next(x.batch(count).as_numpy_iterator())


def write_over_all(function, data, path, verbose=0):
    """`function` of all examples in an .npy file, of which a batch at a time is in memory.

    Args:
        function: Takes and returns an array of a batch of examples.
        data: Name or path of the data.
        path: The file.
        verbose: 1 for a progress bar. Defaults to 0.

    Returns:
        The shape of the array in the file.
    """
    dataset = datasets.load(data, "all")
    if dataset.element_spec.shape.num_elements() is None:
        datasets.as_array(data, "all")  # Whose error says what to do with pictures of many sizes.
    count, size = int(dataset.cardinality()), 1024
    bar = keras.utils.Progbar(-(-count // size), verbose=verbose)
    batches = dataset.batch(size).prefetch(1).as_numpy_iterator()

    def parts():
        for number, batch in enumerate(batches, 1):
            yield function(batch)
            bar.update(number)

    return write_npy(path, parts(), count)


def write_npy(path, parts, count):
    """An .npy file of the arrays of an iterable, one behind the other.

    Args:
        path: The file.
        parts: Arrays of shape (examples, ...).
        count: The examples of all of them.

    Returns:
        The shape of the array in the file.
    """
    shape = None
    # Bytes in order, not a memory map: where the disk is full, that would end the process.
    with open(path, "wb") as file:
        for values in map(np.ascontiguousarray, parts):
            if shape is None:
                shape = (count, *values.shape[1:])
                header = np.lib.format.header_data_from_array_1_0(values)
                np.lib.format.write_array_header_1_0(file, {**header, "shape": shape})
            file.write(values.data)
    return shape


def first_labels(data, split, count):
    """The labels of a split's first examples, their first numbers if vectors; None without any."""
    try:
        dataset = datasets.load(data, split, labels=True)
    except ValueError:
        return None
    labels = first_of(dataset.map(lambda x, label: label), count)
    return labels.reshape(len(labels), -1)[:, 0]


def _ordered_epochs(dataset, settings, first_epoch):
    """All epochs that remain as one dataset: the order of each follows from seed and epoch."""
    example_bytes = 4 * dataset.element_spec.shape.num_elements()
    buffer = max(1, min(SHUFFLED // example_bytes, int(dataset.cardinality())))
    first_seed = settings.seed * 2**31
    return dataset.range(first_seed + first_epoch, first_seed + settings.epochs).flat_map(
        lambda seed: dataset.shuffle(buffer, seed=seed).batch(settings.batch_size)
    )


# ---------------------------------------------------------------------- training


def needs_launch(settings):
    """Whether the run's workers are still to be started: no cluster has started this process."""
    return settings.workers > 1 and workers.count() == 1


def launch(settings, folder=None, resume=False):
    """Train in as many processes on this machine as the settings have workers.

    Each of them runs `train`; what the first one prints is seen.

    Args:
        settings, folder, resume: As of `train`.

    Raises:
        BlockingIOError, FileExistsError, FileNotFoundError, ValueError: As of `train`.
        RuntimeError: If one of them was killed or failed. The run can be resumed.
    """
    folder = pathlib.Path(folder or settings.folder())
    make_model(settings)
    with _owned(folder, settings, resume):
        pass  # Each could be sure of it only for itself; this one says it before they start.
    words = [*shlex.split(settings.command(folder))[1:], *(["--resume"] if resume else [])]
    try:
        workers.launch([sys.executable, "-m", "keras_ae.cli", *words], settings.workers)
    except RuntimeError as error:
        if not (folder / "run.json").exists():
            raise
        raise RuntimeError(f"{error} Go on with: {resume_command(folder)}") from None


def train(settings, folder=None, resume=False, verbose=1):
    """Train a model and fill a run folder.

    Args:
        settings: `Settings`.
        folder: Where to. Defaults to `settings.folder()`. It must not exist or be empty, unless
            the run is resumed.
        resume: Whether to go on with the run that was started there with the same settings. It
            ends with the same weights, to the bit, as if it had not been stopped. Defaults to
            False.
        verbose: As of `fit`: 0 silent, 1 a progress bar, 2 a line for every epoch.

    Returns:
        `pathlib.Path` of the folder; None in all workers but the first, which alone writes to it.

    Raises:
        BlockingIOError: If another process trains into the folder; the message says which.
        FileExistsError: If there is something in the folder, and resume is False.
        FileNotFoundError: If there is no run to resume.
        ValueError: If the settings are not those of the run to resume, or out of range.

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
                stack.enter_context(_owned(folder, settings, resume))
            if not is_complete(folder):
                data = _Data(settings, model)
                if worker == 0 and not resume:
                    folder.mkdir(parents=True, exist_ok=True)
                    _write_json(folder / "run.json", _stored(settings))
                _fit(model, data, settings, folder, worker, 0 if worker else verbose)
        if worker:
            return None
        if data:
            if settings.workers > 1:  # This one goes on alone, and shares no model.
                model = make_model(settings)
                data.check(model)
                _restore(model, folder)
            if hasattr(model, "fit_prior"):
                model.fit_prior(first_of(data.x, PRIOR_EXAMPLES), verbose=verbose)
            _finish(model, data, settings, folder)
        shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    return folder


def is_complete(folder):
    """Whether a run is finished; one that is not can be resumed."""
    return (folder / "metrics.json").exists()


class _Data:
    """The two splits of a run, which its model was built for."""

    def __init__(self, settings, model):
        train_split, self.test_split = splits(settings.data)
        self.x = examples(settings.data, train_split)
        self.x_test = examples(settings.data, self.test_split)
        self.check(model)

    def check(self, model):
        """Raise for whatever is wrong with the data, before anything is written."""
        x = self.x if isinstance(self.x, np.ndarray) else first_of(self.x, 1)
        inputs.check_batch(model, x, None, None)


@contextlib.contextmanager
def _owned(folder, settings, resume):
    """Hold the checked folder of a run, into which no other process trains as long."""
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
    now = _stored(settings)
    different = [
        f"{name}={before.get(name)!r}, not {now.get(name)!r}"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    ]
    if different:
        raise ValueError(
            f"--resume: the run in {folder} was started with {' and '.join(different)}. Pass "
            f"another --output, or go on with it: {resume_command(folder)}"
        )


def resume_command(folder):
    """The command line that goes on with the run in a folder."""
    stored = json.loads((folder / "run.json").read_text())
    del stored["backend"]
    return f"{Settings(**stored).command(folder)} --resume"


def _stored(settings):
    """The settings as run.json holds them; on another backend the same ones give other weights."""
    stored = {**dataclasses.asdict(settings), "backend": keras.config.backend()}
    return json.loads(json.dumps(stored))


def _fit(model, data, settings, folder, worker, verbose):
    x, x_test = data.x, data.x_test
    backup, first_epoch = _backup(folder), _restore(model, folder)
    if first_epoch == settings.epochs:
        return
    if isinstance(x, np.ndarray):
        options = {"x": x, "batch_size": settings.batch_size}
    else:
        steps = math.ceil(int(x.cardinality()) / settings.batch_size)
        options = {"x": _ordered_epochs(x, settings, first_epoch), "steps_per_epoch": steps}
    if not isinstance(x_test, np.ndarray):
        x_test = x_test.batch(settings.batch_size)
    try:
        model.fit(
            **options,
            epochs=settings.epochs,
            initial_epoch=first_epoch,
            validation_data=x_test,
            # A row is written before its backup: one without it is of an epoch to come.
            callbacks=[_History(folder, first_epoch, worker == 0), backup],
            verbose=verbose,
        )
    finally:
        backup.release()


def _backup(folder):
    return callbacks.BackupAndRestore(folder / "checkpoint", delete_checkpoint=False)


def _restore(model, folder):
    """Bring a built model to the last whole epoch of a run, and return how many are done."""
    found = _backup(folder).restore(model)
    if found:
        return found["epoch"]
    # Runs that were begun when a checkpoint was a model.
    saved = sorted((folder / "checkpoint").glob("epoch_*.keras"))
    if not saved:
        return 0
    model.optimizer.build(model.trainable_variables)
    model.load_weights(saved[-1])
    return int(re.search(r"\d+", saved[-1].name).group())


class _History(keras.callbacks.Callback):
    """After every epoch a row of history.csv."""

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
    """The losses of every epoch, name -> list of numbers, as `plots.loss_curves` takes them."""
    with (folder / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in rows[0] if name != "epoch"}


def _write_json(path, values):
    with whole_file(path) as partial:
        partial.write_text(json.dumps(values, indent=2) + "\n")


# ---------------------------------------------------------------------- results


def measure(model, data, split, x=None):
    """The figures of a model on a split.

    Args:
        model: A compiled `keras_ae` model.
        data: Name or path of the data.
        split: Name of the split.
        x: What `examples(data, split)` returned, if it is at hand.

    Returns:
        Dictionary: the data, the split, its number of examples, every mean loss, and for
        variational models the log-likelihood in nats per example, with the number of importance
        samples and of the examples, the split's first ones, that it was estimated from.
    """
    x = examples(data, split) if x is None else x
    count = len(x) if isinstance(x, np.ndarray) else int(x.cardinality())
    figures = {"data": data, "split": split, "examples": count}
    figures |= model.evaluate(x, batch_size=100, return_dict=True, verbose=0)
    if hasattr(model, "log_likelihood"):
        first = first_of(x, TEST_EXAMPLES)
        values = model.log_likelihood(first, num_samples=IMPORTANCE_SAMPLES, seed=0, verbose=0)
        figures["log_likelihood"] = float(values.mean())
        figures["log_likelihood_samples"] = IMPORTANCE_SAMPLES
        figures["log_likelihood_examples"] = len(first)
    return figures


def _finish(model, data, settings, folder):
    figures = measure(model, settings.data, data.test_split, data.x_test)
    labels = first_labels(settings.data, data.test_split, TEST_EXAMPLES)
    pictures = _pictures(model, first_of(data.x_test, TEST_EXAMPLES), labels, settings.seed)
    pictures["loss_curves.png"] = plots.loss_curves(read_history(folder))
    for name, picture in pictures.items():
        with whole_file(folder / name) as partial:
            picture.savefig(partial)
    if keras.config.backend() == "torch":  # Which cannot write a SavedModel.
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
    _write_json(folder / "metrics.json", figures)  # The last: with it the run is complete.


def _pictures(model, x, labels, seed):
    """File name -> figure, of codes and of examples where they can be drawn."""
    pictures = {}
    if model._code_dtype == "float32" and len(model.code_shape) == 1:
        pictures["latent_plane.png"] = plots.latent_plane(model.encode(x), labels)
    if plots.can_draw(x):
        shown = x[:20]
        pictures["reconstructions.png"] = plots.reconstructions(shown, model.reconstruct(shown))
        pictures["samples.png"] = plots.image_grid(model.sample(64, seed=seed))
    return pictures
