"""Training runs. Each run has a folder for its model, its metrics, its plots and a backup."""

import contextlib
import csv
import importlib.util
import json
import math
import pathlib
import re
import shlex
import shutil
import sys

import keras
import numpy as np

from keras_ae import callbacks, datasets, models, plots
from keras_ae.callbacks.pictures import can_draw
from keras_ae.cli import quality
from keras_ae.cli.settings import Settings as Settings
from keras_ae.cli.settings import make_resume_command, read_rows, read_settings, to_json
from keras_ae.cli.settings import parse as parse
from keras_ae.cli.settings import read_figures as read_figures
from keras_ae.core import arguments, configuration, inputs, storage, workers
from keras_ae.core import examples as batch
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

IN_MEMORY = 2**30  # A dataset of up to this many bytes, as float32, is loaded as an array.
SHUFFLED = 2**28  # A larger dataset is shuffled with a buffer of this many bytes.
PRIOR_EXAMPLES = 100_000  # A prior over codes is trained on at most this many examples.
PICTURED = 500  # So many examples tell which dimensions of the code come first in a picture.
TEST_EXAMPLES = 2000  # More examples would make plots crowded and estimates slow.
IMPORTANCE_SAMPLES = 100


# ---------------------------------------------------------------------- models


def model_classes():
    """Return a dictionary from the name of each model to its class."""
    return {name: getattr(models, name) for name in models.FILES}


def make_model(settings):
    """Make and compile the model of a run, without building it.

    Raises:
        ValueError: If the model or an argument is unknown, or an argument is out of range.
        TypeError: If an argument is of the wrong type.
    """
    classes = model_classes()
    if settings.model not in classes:
        raise ValueError(
            f"the model {settings.model!r} is unknown."
            f"{arguments.did_you_mean(settings.model, classes)} The models are "
            f"{', '.join(classes)}."
        )
    cls = classes[settings.model]
    known = [*configuration.constructor_parameters(cls), "name", "dtype"]
    for name in settings.arguments:
        if name not in known:
            raise ValueError(
                f"{settings.model} has no argument {name!r}."
                f"{arguments.did_you_mean(name, known)} Its arguments are {', '.join(known)}."
            )
    # If the global seed is 0, TensorFlow does not accept a tensor as the seed of a shuffle. The
    # global seed is therefore larger by 1.
    keras.utils.set_random_seed(settings.seed + 1)
    given = {name: _make_value(name, value) for name, value in settings.arguments.items()}
    model = cls(**{"seed": settings.seed, **given})
    model.compile(keras.optimizers.Adam(settings.learning_rate))
    return model


def _make_value(name, value):
    """Make the Keras object that a dictionary describes. Other values are returned as they are."""
    if not isinstance(value, dict) or "class_name" not in value:
        return value
    try:
        return keras.saving.deserialize_keras_object(value)
    except (AttributeError, ImportError, LookupError, RecursionError, TypeError, ValueError) as no:
        raise ValueError(
            f"{name}={value!r} is not the configuration of a Keras object: {type(no).__name__}: "
            f"{no} Pass what keras.saving.serialize_keras_object returns."
        ) from None


# ---------------------------------------------------------------------- data


def splits(data):
    """Return the names of the training and test splits.

    If the data have no split "test", the last tenth of "train" is the test split.
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


def examples(data, split, model=None):
    """Load the examples of a split.

    Args:
        data: Name or path of the data.
        split: Name of the split.
        model: Model that reads the examples. If it takes the input "label", the examples are
            dictionaries of "x" and "label". Defaults to None: the examples have no labels.

    Returns:
        Arrays if the examples take at most 1 GiB, and otherwise a `tf.data.Dataset` of examples.

    Raises:
        ValueError: If the model needs other inputs, or labels that the data does not have.
    """
    labels = _takes_labels(model)
    dataset = datasets.load(data, split, labels=labels)
    numbers = _example_shape(dataset).num_elements()
    # If pictures differ in size, `numbers` is None. The error of `as_array` then says what to do.
    if numbers is not None and 4 * numbers * int(dataset.cardinality()) > IN_MEMORY:
        return dataset.map(_name_parts) if labels else dataset
    arrays = datasets.as_array(data, split, labels=labels)
    return _name_parts(*arrays) if labels else arrays


def _takes_labels(model):
    """Tell whether a model is trained with the labels of the data."""
    if model is None:
        return False
    taken = batch.taken_by(model, model.loss_terms)
    for name, required in taken.items():
        if required and name != "label":
            raise ValueError(
                f"{type(model).__name__} needs the input {name!r}, and the command line can only "
                "pass the labels of the data. Train the model in Python."
            )
    return "label" in taken


def _name_parts(x, label):
    return {"x": x, "label": label}


def _example_shape(dataset):
    """Return the shape of one example of a dataset, without its label."""
    spec = dataset.element_spec
    spec = spec["x"] if isinstance(spec, dict) else spec
    return (spec[0] if isinstance(spec, tuple) else spec).shape


def are_arrays(x):
    """Tell whether `examples` returned arrays, and not a dataset."""
    return isinstance(x, (np.ndarray, dict))


def take_first(x, count):
    """Return the first examples as arrays.

    Args:
        x: What `examples` returned.
        count: Number of examples.
    """
    if are_arrays(x):
        return batch.map_leaves(lambda array: array[:count], x)
    return next(x.batch(count).as_numpy_iterator())


def write_over_all(function, data, path, verbose=0, model=None):
    """Write the results of a function for all examples to an .npy file, batch by batch.

    Args:
        function: Function that takes a batch of examples, an array, and returns an array.
        data: Name or path of the data.
        path: The file.
        verbose: 1 shows a progress bar, and 0 shows nothing. Defaults to 0.
        model: See `examples`. Defaults to None.

    Returns:
        The shape of the array in the file.
    """
    labels = _takes_labels(model)
    dataset = datasets.load(data, "all", labels=labels)
    dataset = dataset.map(_name_parts) if labels else dataset
    if _example_shape(dataset).num_elements() is None:
        # If pictures differ in size, this raises an error that says what to do.
        datasets.as_array(data, "all")
    count, size = int(dataset.cardinality()), 1024
    bar = keras.utils.Progbar(-(-count // size), verbose=verbose)
    batches = dataset.batch(size).prefetch(1).as_numpy_iterator()

    def parts():
        for number, part in enumerate(batches, 1):
            yield function(part)
            bar.update(number)

    return write_npy(path, parts(), count)


def write_npy(path, parts, count):
    """Concatenate the arrays of an iterable in an .npy file.

    Args:
        path: The file.
        parts: Iterable of arrays of shape (examples, ...).
        count: Number of examples in all arrays together.

    Returns:
        The shape of the array in the file.
    """
    shape = None
    # A memory map is not used, because writing to one kills the process if the disk is full.
    with open(path, "wb") as file:
        for values in map(np.ascontiguousarray, parts):
            if shape is None:
                shape = (count, *values.shape[1:])
                header = np.lib.format.header_data_from_array_1_0(values)
                np.lib.format.write_array_header_1_0(file, {**header, "shape": shape})
            file.write(values.data)
    return shape


def take_first_labels(data, split, count):
    """Return the labels of a split's first examples, or None if the data have no labels.

    If the labels are vectors, the function returns the first number of each.
    """
    labels = _read_labels(data, split, count)
    return None if labels is None else labels.reshape(len(labels), -1)[:, 0]


def take_first_factors(data, split, count):
    """Return the labels of a split's first examples if they are vectors, and None otherwise."""
    labels = _read_labels(data, split, count)
    return labels if labels is not None and labels.ndim == 2 and labels.shape[1] > 1 else None


def _read_labels(data, split, count):
    try:
        dataset = datasets.load(data, split, labels=True)
    except ValueError:
        return None
    return take_first(dataset.map(lambda x, label: label), count)


def _order_epochs(dataset, settings, first_epoch):
    """Make one dataset of the batches of all remaining epochs.

    The seed and the number of the epoch determine the order of its examples, so that a resumed run
    sees the same batches.
    """
    example_bytes = 4 * _example_shape(dataset).num_elements()
    buffer = max(1, min(SHUFFLED // example_bytes, int(dataset.cardinality())))
    first_seed = settings.seed * 2**31
    return dataset.range(first_seed + first_epoch, first_seed + settings.epochs).flat_map(
        lambda seed: dataset.shuffle(buffer, seed=seed).batch(settings.batch_size)
    )


# ---------------------------------------------------------------------- training


def needs_launch(settings):
    """Tell whether the run has several workers that neither `launch` nor a cluster has started."""
    return settings.workers > 1 and workers.count() == 1


def launch(settings, folder=None, resume=False, logdir=None, more=()):
    """Start the workers of a run as processes on this machine, and wait until they end.

    Each process runs `train`. Only the output of the first one is shown.

    Args:
        settings, folder, resume, logdir: See `train`.
        more: Further words of the command line of each process.

    Raises:
        BlockingIOError, FileExistsError, FileNotFoundError, ValueError: See `train`.
        RuntimeError: If a process was killed or failed. The run can be resumed.
    """
    folder = pathlib.Path(folder or settings.folder())
    make_model(settings)
    with _lock_folder(folder, settings, resume):
        pass  # If the folder is wrong, one error is raised here, and not one in each process.
    words = [*shlex.split(settings.command(folder))[1:], *(["--resume"] if resume else []), *more]
    if logdir is not None:
        words += ["--logdir", str(logdir)]
    try:
        workers.launch([sys.executable, "-m", "keras_ae", *words], settings.workers)
    except RuntimeError as error:
        if not (folder / "run.json").exists():
            raise
        raise RuntimeError(f"{error} Go on with: {make_resume_command(folder)}") from None


def train(settings, folder=None, resume=False, verbose=1, logdir=None):
    """Train a model and fill a run folder.

    Args:
        settings: `Settings`.
        folder: Folder of the run. A new run needs a folder that is empty or does not exist.
            Defaults to `settings.folder()`.
        resume: Whether to resume a run that was started in the folder with the same settings. The
            final weights are bit for bit those of a run that was never stopped. Defaults to False.
        verbose: 0 shows nothing, 1 a progress bar, and 2 one line for each epoch. Defaults to 1.
        logdir: Folder in which TensorBoard finds the losses of each epoch, and pictures of about
            ten epochs if there is one worker. Defaults to None: no such logs are written.

    Returns:
        `pathlib.Path` of the folder. If there are several workers, only the first one writes to the
        folder, and the others return None.

    Raises:
        BlockingIOError: If another process trains in the folder. The message says which.
        FileExistsError: If the folder is not empty and `resume` is False.
        FileNotFoundError: If `resume` is True and there is no run in the folder.
        ImportError: If logs are wanted, and the package tensorboard is not installed.
        ValueError: If a setting is out of range, or differs from that of the run to resume.

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
            f"{workers.count()} workers. Pass --workers {workers.count()}."
        )
    logs = [] if logdir is None else [_make_logs(logdir)]
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
                    _write_json(folder / "run.json", to_json(settings))
                more = [] if worker else logs
                if logs and settings.workers == 1:
                    more = [*logs, *_make_pictures(model, data, settings, logdir)]
                _fit(model, data, settings, folder, worker, 0 if worker else verbose, more)
        if worker:
            return None
        if data:
            if settings.workers > 1:
                # The model is shared by all workers. The first worker finishes the run alone, so it
                # needs a model of its own.
                model = make_model(settings)
                data.check(model)
                _restore(model, folder)
            if settings.early_stopping is not None:
                _make_best(folder).restore(model)
            if hasattr(model, "fit_prior"):
                model.fit_prior(take_first(data.x, PRIOR_EXAMPLES), verbose=verbose)
            elif settings.sampler is not None:
                x = take_first(data.x, PRIOR_EXAMPLES)
                model.fit_sampler(x, settings.sampler, seed=settings.seed, verbose=verbose)
            _finish(model, data, settings, folder)
        shutil.rmtree(folder / "checkpoint", ignore_errors=True)
    return folder


def is_complete(folder):
    """Tell whether the run in a folder is complete. If it is not, it can be resumed."""
    return (folder / "metrics.json").exists()


class _Data:
    """The training split and the test split of a run."""

    def __init__(self, settings, model):
        train_split, self.test_split = splits(settings.data)
        self.x = examples(settings.data, train_split, model)
        self.x_test = examples(settings.data, self.test_split, model)
        self.check(model, settings.sampler)

    def check(self, model, sampler=None):
        """Build the model for the data, or raise an error if it cannot take the data."""
        x = self.x if are_arrays(self.x) else take_first(self.x, 1)
        inputs.check_batch(model, x, None, None, fits=True)
        if sampler is not None and not quality.takes_sampler(model):
            raise ValueError(
                f"--sampler {sampler}: {type(model).__name__} has no codes of vectors that a "
                "sampler can draw without other inputs. Leave the option out."
            )


@contextlib.contextmanager
def _lock_folder(folder, settings, resume):
    """Check the folder of a run, and lock it in the `with` block against other processes."""
    if resume:
        _check_folder(folder, settings, resume)
    with storage.exclusive(folder):
        storage.remove_leftovers(folder)
        if not resume:
            _check_folder(folder, settings, resume)
        yield


def _check_folder(folder, settings, resume):
    storage.refuse_home_sign(folder, "--output")
    if not resume:
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise FileExistsError(
                f"{folder} exists and is not an empty folder. Pass another --output, or --resume "
                "to resume the run in this folder."
            )
        return
    if not (folder / "run.json").is_file():
        raise FileNotFoundError(
            f"--resume: there is no run in {folder}. Leave --resume out to start a run, or pass "
            "the --output of the run that you want to resume."
        )
    stored, stored_backend = read_settings(folder)
    before, now = to_json(stored, stored_backend), to_json(settings)
    different = [
        f"{name}={before[name]!r}, not {now[name]!r}" for name in now if before[name] != now[name]
    ]
    if different:
        raise ValueError(
            f"--resume: the run in {folder} was started with {' and '.join(different)}. Pass "
            f"another --output, or resume that run with: {make_resume_command(folder)}"
        )


def _fit(model, data, settings, folder, worker, verbose, logs):
    x, x_test = data.x, data.x_test
    backup, first_epoch = _make_backup(folder), _restore(model, folder)
    history = _History(folder, first_epoch, worker == 0)
    # Each epoch writes its row of history.csv before its backup. If the run stops between the two,
    # the resumed run drops the row and trains the epoch again.
    called = [*logs, history, backup]
    if settings.early_stopping is not None:
        stopping = _EarlyStopping(history, settings.early_stopping, _make_best(folder))
        called.insert(-1, stopping)
        if stopping.has_waited():
            return
    if first_epoch == settings.epochs:
        return
    if are_arrays(x):
        options = {"x": x, "batch_size": settings.batch_size}
    else:
        steps = math.ceil(int(x.cardinality()) / settings.batch_size)
        options = {"x": _order_epochs(x, settings, first_epoch), "steps_per_epoch": steps}
    if not are_arrays(x_test):
        x_test = x_test.batch(settings.batch_size)
    try:
        model.fit(
            **options,
            epochs=settings.epochs,
            initial_epoch=first_epoch,
            validation_data=x_test,
            callbacks=called,
            verbose=verbose,
        )
    except FloatingPointError as error:
        raise ValueError(
            f"{error} Start a new run with a lower --learning-rate and another --output."
        ) from error
    finally:
        backup.release()


def _make_backup(folder):
    return callbacks.BackupAndRestore(folder / "checkpoint", delete_checkpoint=False)


def _make_best(folder):
    """Make the backup of the best epoch of a run that may stop early."""
    return callbacks.BackupAndRestore(folder / "checkpoint" / "best", delete_checkpoint=False)


def _make_logs(logdir):
    """Make the callback that writes logs for TensorBoard."""
    if importlib.util.find_spec("tensorboard") is None:
        raise ImportError(f"--logdir {logdir}: logs need TensorBoard: pip install tensorboard")
    pathlib.Path(logdir).mkdir(parents=True, exist_ok=True)
    return keras.callbacks.TensorBoard(str(logdir), write_graph=False)


def _make_pictures(model, data, settings, logdir):
    """Make the callback that draws pictures for TensorBoard, if the data can be drawn."""
    if not can_draw(model):
        return []
    x, every = take_first(data.x_test, PICTURED), -(-settings.epochs // 10)
    return [callbacks.Pictures(x, logdir=logdir, every=every, seed=settings.seed)]


def _restore(model, folder):
    """Restore a built model from the last backup of a run.

    Returns:
        Number of epochs that the restored model was trained for, or 0 if there is no backup.
    """
    found = _make_backup(folder).restore(model)
    if found:
        return found["epoch"]
    # Earlier versions wrote checkpoints as .keras files.
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
            self.rows = read_rows(self.path)[:first_epoch]

    def on_epoch_end(self, epoch, logs=None):
        self.rows.append({"epoch": epoch + 1, **{k: float(v) for k, v in logs.items()}})
        if self.writes:
            with whole_file(self.path) as path, path.open("w", newline="") as file:
                writer = csv.DictWriter(file, self.rows[-1])
                writer.writeheader()
                writer.writerows(self.rows)


class _EarlyStopping(keras.callbacks.Callback):
    """Stops a training whose loss on the test split has not fallen for a number of epochs.

    The callback of Keras forgets the epochs before a resumption. This one reads them from
    history.csv.
    """

    def __init__(self, history, patience, best):
        super().__init__()
        self.history, self.patience, self.best = history, patience, best

    def set_model(self, model):
        super().set_model(model)
        self.best.set_model(model)

    def set_params(self, params):
        super().set_params(params)
        self.best.set_params(params)

    def on_epoch_end(self, epoch, logs=None):
        if self._find_best() == epoch:
            self.best._save(epoch + 1, 0)
        self.model.stop_training = self.has_waited()

    def has_waited(self):
        """Tell whether the training has gone on for long enough after its best epoch."""
        return len(self.history.rows) - 1 - self._find_best() >= self.patience

    def _find_best(self):
        """Return the index of the first epoch with the lowest loss, or of the next epoch."""
        losses = [float(row["val_loss"]) for row in self.history.rows]
        return min(range(len(losses)), key=losses.__getitem__, default=len(losses))


def read_history(folder):
    """Read the losses of a run, and return the dictionary that `plots.loss_curves` takes."""
    rows = read_rows(folder / "history.csv")
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
        Dictionary with the data, the split, the number of examples and the mean of every loss. If
        the model has the method `log_likelihood`, the dictionary also has the log-likelihood in
        nats per example, estimated from the first examples of the split, its standard error over
        these examples, their number, and the number of importance samples.
    """
    x = examples(data, split, model) if x is None else x
    count = batch.length(x) if are_arrays(x) else int(x.cardinality())
    figures = {"data": data, "split": split, "examples": count}
    figures |= model.evaluate(x, batch_size=100, return_dict=True, verbose=0)
    if hasattr(model, "log_likelihood"):
        first = take_first(x, TEST_EXAMPLES)
        values = model.log_likelihood(first, num_samples=IMPORTANCE_SAMPLES, seed=0, verbose=0)
        figures["log_likelihood"] = float(values.mean())
        error = float(values.std() / math.sqrt(len(values)))
        figures["log_likelihood_standard_error"] = error
        figures["log_likelihood_samples"] = IMPORTANCE_SAMPLES
        figures["log_likelihood_examples"] = batch.length(first)
    return figures


def _finish(model, data, settings, folder):
    figures = measure(model, settings.data, data.test_split, data.x_test)
    labels = take_first_labels(settings.data, data.test_split, TEST_EXAMPLES)
    pictures = _draw_pictures(model, take_first(data.x_test, TEST_EXAMPLES), labels, settings.seed)
    pictures["loss_curves.png"] = plots.loss_curves(read_history(folder))
    for name, picture in pictures.items():
        with whole_file(folder / name) as partial:
            picture.savefig(partial)
    if keras.config.backend() == "torch":  # Keras cannot write a SavedModel with torch.
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
    x = take_first(data.x_test, TEST_EXAMPLES)
    found = quality.judge(model, x, read_history(folder), settings)
    # This file is written last, because it marks the run as complete.
    _write_json(folder / "metrics.json", {**figures, "quality": found})


def _draw_pictures(model, x, labels, seed):
    """Draw the plots that the model and the data allow.

    Returns:
        Dictionary from the name of each file to its figure.
    """
    pictures = {}
    if model._code_dtype == "float32" and len(model.code_shape) == 1:
        pictures["latent_plane.png"] = plots.latent_plane(model.encode(x), labels)
    images, given = batch.split(model, x)
    if not isinstance(images, dict) and plots.can_draw(images):
        copies = model.reconstruct(take_first(x, 20))
        pictures["reconstructions.png"] = plots.reconstructions(images[:20], copies)
        taken = batch.taken_by_sample(model)
        given = {name: np.resize(given[name], 64) for name in taken if name in given}
        pictures["samples.png"] = plots.image_grid(model.sample(64, seed=seed, **given))
    return pictures
