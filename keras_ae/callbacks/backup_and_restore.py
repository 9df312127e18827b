"""A backup of a training in one file, which is complete whenever it exists."""

import atexit
import contextlib
import json
import pathlib
import threading
import zipfile
import zlib
from typing import Any

import keras
import numpy as np

from keras_ae.core import arguments, backend, changes, storage
from keras_ae.core.adjustable import Adjustable, adopt_numbers
from keras_ae.core.types import Path

# Each folder into which this process trains -> the thread, and the stack that releases the lock.
_locks = {}
_DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class BackupAndRestore(keras.callbacks.Callback):
    """Resumes a training that was killed, with the same result, bit for bit, as without the kill.

    `keras.callbacks.BackupAndRestore` writes the weights and the number of the epoch into two
    files. After a kill between the two writes, it resumes with other weights, without an error.
    After a kill during a write, it cannot read the files. This callback takes the same arguments,
    but writes a single file, which is complete whenever it exists. It holds the weights, the
    optimizer's state, the seeds, the running means, the epoch and the batch. After a kill at any
    moment, call `fit` with the same arguments and a model made in the same way: it goes on from the
    last backup.

    It also goes on within an epoch, which Keras' callback would repeat, by skipping the batches
    that had been trained on. The result is the same, bit for bit, if each epoch reads the batches
    that it would have read without the kill. This holds for arrays, in all models of this package,
    and for data that has the same batches in every epoch. It does not hold for data that starts
    from its beginning in a new process. Pass a generator, or a `tf.data.Dataset` with `repeat` and
    steps_per_epoch, from where the epoch begins. A `tf.data.Dataset` with `shuffle` repeats the
    orders of the first epochs.

    Like Keras' callback, this one does not save the state of other callbacks, such as the patience
    of `EarlyStopping` and `ReduceLROnPlateau`. Put it after the callbacks that change the model. On
    torch, `keras.layers.Dropout` without a seed draws from torch's global generator, which is not
    in a backup: give a seed to such layers in your own networks.

    Several processes that train one model share a folder, and one of them writes it.

    Args:
        backup_dir: Path of the folder, which is made if necessary. No other training may use it.
        save_freq: `"epoch"` for a backup at the end of each epoch, or a positive integer for a
            backup after this many batches. Defaults to "epoch".
        double_checkpoint: Whether the second last backup is kept, too, in case the last one gets
            damaged. Defaults to False.
        delete_checkpoint: Whether backups are deleted at the end of the training. If not, the next
            `fit` with this folder has nothing left to do. Defaults to True.

    Raises:
        ValueError: If an argument is out of range; in `fit`, if the backup is damaged, or belongs
            to another model, optimizer or backend.
        BlockingIOError: In `fit`, if another process or thread trains into the folder.

    Example:

    >>> import numpy as np, tempfile, keras_ae
    >>> x, folder = np.zeros((64, 8), "float32"), tempfile.mkdtemp() + "/backup"
    >>> model = keras_ae.VAE(latent_dim=2, seed=0)
    >>> model.compile("adam")
    >>> backup = keras_ae.callbacks.BackupAndRestore(folder)
    >>> history = model.fit(x, epochs=2, callbacks=[backup], verbose=0)
    """

    def __init__(
        self,
        backup_dir: Path,
        save_freq: str | int = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ):
        super().__init__()
        if not str(backup_dir):
            raise ValueError("backup_dir='' must be the path of a folder.")
        if save_freq != "epoch":
            remedy = "Or pass 'epoch'."
            arguments.integer("BackupAndRestore", "save_freq", save_freq, remedy=remedy)
        self.backup_dir = pathlib.Path(backup_dir)
        self.save_freq = save_freq
        self.double_checkpoint = double_checkpoint
        self.delete_checkpoint = delete_checkpoint
        self.latest = self.backup_dir / "latest.npz"
        self.previous = self.backup_dir / "previous.npz"
        self._epoch = self._batch = self._since_saved = self._skipped = 0
        self._found = None

    # ------------------------------------------------------------------ what Keras calls

    def on_train_begin(self, logs=None):
        with contextlib.ExitStack() as refused:
            if backend.writes(self.model):
                self._lock()
                refused.callback(self.release)
            self._found, self._since_saved = None, 0
            self._begin_at(self.restore(self.model))
            refused.pop_all()

    def _begin_at(self, found):
        """Make `fit` begin at the epoch and batch of a backup, if there is one."""
        if found and found["batch"]:
            if (
                self.save_freq == "epoch"
                or found["batch"] % self.model.steps_per_execution
                or found["steps"] != self.params["steps"]
            ):
                raise ValueError(
                    f"{self.latest} was written within an epoch, after {found['batch']} of "
                    f"{found['steps']} batches, and this training cannot resume from it: save_freq "
                    f"is {self.save_freq!r}, steps_per_execution "
                    f"{self.model.steps_per_execution}, and an epoch has {self.params['steps']} "
                    "batches. Pass the arguments and data with which the backup was made."
                )
            self._found = found
        self.model._initial_epoch = found and found["epoch"]

    def on_epoch_begin(self, epoch, logs=None):
        # Keras has read the initial epoch. If it stayed, every later `fit` of this model would
        # begin there, too.
        self.model._initial_epoch = None
        self._epoch = epoch
        self._batch = self._skipped = 0

    def on_train_batch_begin(self, batch, logs=None):
        if self._found:
            self._skip_step(self.model)

    def on_train_batch_end(self, batch, logs=None):
        if self.save_freq == "epoch" or self._skipped > batch:
            return
        self._since_saved += batch + 1 - self._batch
        self._batch = batch + 1
        if self._since_saved >= self.save_freq:
            self._since_saved = 0
            self._save(self._epoch, self._batch)

    def on_epoch_end(self, epoch, logs=None):
        if self._found:
            raise ValueError(
                f"{self.latest} was written after {self._found['batch']} batches of an epoch, but "
                "this epoch has fewer. Pass the data with which the backup was made."
            )
        if self.save_freq == "epoch":
            self._save(epoch + 1, 0)

    def on_train_end(self, logs=None):
        self.model._initial_epoch = None
        if self.delete_checkpoint and backend.writes(self.model):
            # The latest backup is deleted last, so that after a kill in between the training is
            # still known to be complete.
            for path in (self.previous, self.latest):
                path.unlink(missing_ok=True)
        self.release()
        if self.delete_checkpoint and backend.writes(self.model):
            # The folder stays if it holds anything else.
            with contextlib.suppress(OSError):
                self.backup_dir.rmdir()

    # ------------------------------------------------------------------ writing and reading

    def _save(self, epoch, batch):
        model = self.model
        arrays = [
            keras.ops.convert_to_numpy(v) for v in _get_state(model) + _get_metric_variables(model)
        ]
        if not backend.writes(model):
            # Every process must convert the weights above, because this sums some of them over all
            # processes. Only one process writes.
            return
        if self.double_checkpoint and self.latest.exists():
            self.latest.replace(self.previous)
        position = {"epoch": epoch, "batch": batch, "steps": self.params["steps"]}
        facts = {**position, **_describe(model)}
        if isinstance(model, Adjustable):
            facts["changed_numbers"] = changes.changed_numbers(model)
        with storage.whole_file(self.latest) as partial, open(partial, "wb") as file:
            np.savez(file, *(_as_plain_bytes(array) for array in arrays), facts=json.dumps(facts))

    def restore(self, model: keras.Model) -> dict[str, Any] | None:
        """Restore a built and compiled model from the last backup.

        Args:
            model: The model.

        Returns:
            None if there is no backup, or else a dictionary: "epoch" and "batch" are the numbers of
            the next epoch and batch, "steps" is the number of batches in an epoch, if it is known,
            and "means" are the values of running means.

        Raises:
            ValueError: If the backup is damaged, or belongs to another model.
        """
        if not model.built:
            raise ValueError(
                f"BackupAndRestore: this {type(model).__name__} has no weights yet. Call it on a "
                "batch of data, or its `build`, before `fit`."
            )
        for name in ("latest.weights.h5", "training_metadata.json"):
            if any(self.backup_dir.glob(f"{name}*")):
                raise ValueError(
                    f"{self.backup_dir} holds {name} of keras.callbacks.BackupAndRestore. Resume "
                    "with that callback, or pass another backup_dir."
                )
        paths = [path for path in (self.latest, self.previous) if path.exists()]
        if not paths:
            return None
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        for path in paths:
            try:
                # The file is opened here, because np.load would leave the file of a broken archive
                # open.
                with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
                    facts = json.loads(str(file["facts"]))
                    arrays = [file[f"arr_{i}"] for i in range(len(file.files) - 1)]
                break
            except _DAMAGE as error:
                if path is paths[-1]:
                    raise ValueError(
                        f"{path} is not a complete backup ({type(error).__name__}: {error}). It "
                        "was damaged: get a copy of it, or remove it to train from the start."
                    ) from None
        here = json.loads(json.dumps(_describe(model)))
        different = [name for name in here if facts.get(name) != here[name]]
        if different:
            name = different[0]
            raise ValueError(
                f"{path} is a backup of another training: its {name} "
                + (f"is {facts.get(name)}, not {here[name]}" if name != "weights" else "differ")
                + ". Make the model as it was made before, or pass another backup_dir."
            )
        variables = _get_state(model)
        for variable, array in zip(variables, arrays, strict=False):
            _assign(variable, array)
        if isinstance(model, Adjustable):
            adopt_numbers(model)
            changes.assign_numbers(model, facts.get("changed_numbers", {}))
        return {**facts, "means": arrays[len(variables) :]}

    # ------------------------------------------------------------------ within an epoch

    def _skip_step(self, model):
        """Make the next step, or the next steps of one execution, read its data and do nothing."""
        step, at_once = model.train_function, model.steps_per_execution

        def put_means():
            for variable, array in zip(
                _get_metric_variables(model), self._found["means"], strict=True
            ):
                _assign(variable, array)
            return model.get_metrics_result()

        # The means are put before the step if possible, because JAX holds the values elsewhere
        # while a step runs. But TensorFlow makes the metrics of `compile` within the first step.
        there = len(_get_metric_variables(model)) == len(self._found["means"])
        logs = put_means() if there else None

        def skip_step(*arguments):
            nonlocal logs
            model.train_function = step
            if hasattr(arguments[-1], "__next__"):  # On torch, the batch has already been read.
                batches = [next(arguments[-1], None) for _ in range(at_once)]
                if not there:
                    model._symbolic_build(data_batch=batches[0])
                    logs = put_means()
            self._skipped += at_once
            if self._skipped >= self._found["batch"]:
                self._batch, self._found = self._found["batch"], None
            return (logs, arguments[0]) if len(arguments) == 2 else logs

        model.train_function = skip_step

    # ------------------------------------------------------------------ the lock

    def _lock(self):
        folder, here = storage.real(self.backup_dir), threading.current_thread()
        thread, _ = _locks.get(folder, (here, None))
        if thread is here or not thread.is_alive():
            self.release()  # An interrupted `fit` still holds the lock.
        with contextlib.ExitStack() as stack:
            # The lock is inside the folder, because the user may not be allowed to write above it.
            stack.enter_context(storage.exclusive(folder / "training"))
            storage.remove_leftovers(folder)
            _locks[folder] = here, stack.pop_all()

    def release(self) -> None:
        """Release the folder, so that other processes may use it. `fit` calls this at its end."""
        _, stack = _locks.pop(storage.real(self.backup_dir), (None, contextlib.ExitStack()))
        stack.close()


@atexit.register
def _release_all():
    while _locks:
        _, (_, stack) = _locks.popitem()
        stack.close()


def _get_state(model):
    """List all variables that determine later steps."""
    return [
        *model.trainable_variables,
        *model.non_trainable_variables,
        *model.optimizer.variables,
    ]


def _get_metric_variables(model):
    """List the variables from which an epoch's metrics are computed."""
    return model.metrics_variables


def _describe(model):
    """Describe what a model and its backup must have in common."""
    return {
        "model": type(model).__name__,
        "optimizer": type(model.optimizer).__name__,
        "backend": keras.config.backend(),
        "weights": [[v.dtype, list(v.shape)] for v in _get_state(model)],
    }


def _as_plain_bytes(array):
    """View an array as integers if NumPy's files do not know its dtype, such as bfloat16."""
    return array if array.dtype.kind in "biufc" else array.view(f"u{array.dtype.itemsize}")


def _assign(variable, array):
    if array.dtype.kind == "u" and array.dtype.name != variable.dtype:
        array = array.view(keras.ops.convert_to_numpy(variable).dtype)
    variable.assign(array)
