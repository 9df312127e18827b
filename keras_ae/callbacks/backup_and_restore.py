"""A backup of a training in one file that appears whole."""

import atexit
import contextlib
import json
import pathlib
import threading
import zipfile
import zlib

import keras
import numpy as np

from keras_ae.core import arguments, backend, storage
from keras_ae.core.adjustable import Adjustable, adopt_numbers

_held = {}  # Folders that this process trains into -> the thread, and what releases the lock.
_DAMAGE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class BackupAndRestore(keras.callbacks.Callback):
    """Let a training that was killed go on, to the same bits as if it had not been.

    `keras.callbacks.BackupAndRestore` writes weights and epoch number in place, into two files: a
    kill between them resumes to other weights without a word, and one within them leaves what
    cannot be read. This one, with the same arguments, writes one file that appears whole: weights,
    state of the optimizer, seeds, running means, epoch and batch. After a kill at any moment, `fit`
    with a model made in the same way and the same arguments goes on from the last whole backup.

    It also goes on within an epoch, which Keras' would repeat: it passes over as many batches as
    had been seen. The result is the same to the bit where each epoch reads what it would have read
    without the kill: it does of arrays in all models of this package, and of anything that gives
    every epoch the same batches. What begins anew does not: a generator, or a `tf.data.Dataset`
    with `repeat` and steps_per_epoch, has to be passed from where the epoch begins, and one with
    `shuffle` repeats the orders of the first epochs. What other callbacks hold, such as the
    patience of `EarlyStopping` and `ReduceLROnPlateau`, is not in a backup, as it is not in Keras'.
    Put this callback behind those that change the model.
    On torch, `keras.layers.Dropout` without a seed draws from torch's own generator, which is not
    in a backup: give a seed to those of your networks.

    Several processes that train one model share a folder: one of them writes it.

    Args:
        backup_dir: Path of the folder, which no other training may use. It is made.
        save_freq: `"epoch"` for a backup at the end of each epoch, or a positive integer for one
            after so many batches. Defaults to "epoch".
        double_checkpoint: Whether the backup before the last is kept, to go on from where the last
            one is found damaged. Defaults to False.
        delete_checkpoint: Whether backups are deleted when the training has ended. If not, the
            next `fit` into the folder finds it done. Defaults to True.

    Raises:
        ValueError: If an argument is out of range; in `fit`, if the backup that is found is
            damaged, or of another model, optimizer or backend.
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
        self, backup_dir, save_freq="epoch", double_checkpoint=False, delete_checkpoint=True
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
        self._epoch = self._batch = self._since_saved = self._passed_over = 0
        self._found = None

    # ------------------------------------------------------------------ what Keras calls

    def on_train_begin(self, logs=None):
        with contextlib.ExitStack() as refused:
            if backend.writes(self.model):
                self._hold()
                refused.callback(self.release)
            self._found, self._since_saved = None, 0
            self._begin_where(self.restore(self.model))
            refused.pop_all()

    def _begin_where(self, found):
        """Have `fit` begin at the epoch and batch of a backup, if there is one."""
        if found and found["batch"]:
            if (
                self.save_freq == "epoch"
                or found["batch"] % self.model.steps_per_execution
                or found["steps"] != self.params["steps"]
            ):
                raise ValueError(
                    f"{self.latest} was written within an epoch, after {found['batch']} of "
                    f"{found['steps']} batches, and cannot be gone on with here: save_freq is "
                    f"{self.save_freq!r}, steps_per_execution {self.model.steps_per_execution}, "
                    f"and an epoch has {self.params['steps']} batches. Pass what it was made with."
                )
            self._found = found
        self.model._initial_epoch = found and found["epoch"]

    def on_epoch_begin(self, epoch, logs=None):
        # Keras has read it, and would begin every later `fit` of this model there, too.
        self.model._initial_epoch = None
        self._epoch = epoch
        self._batch = self._passed_over = 0

    def on_train_batch_begin(self, batch, logs=None):
        if self._found:
            self._pass_over(self.model)

    def on_train_batch_end(self, batch, logs=None):
        if self.save_freq == "epoch" or self._passed_over > batch:
            return
        self._since_saved += batch + 1 - self._batch
        self._batch = batch + 1
        if self._since_saved >= self.save_freq:
            self._since_saved = 0
            self._save(self._epoch, self._batch)

    def on_epoch_end(self, epoch, logs=None):
        if self._found:
            raise ValueError(
                f"{self.latest} was written after {self._found['batch']} batches of an epoch, and "
                f"this one ended before. Pass the data that it was made with."
            )
        if self.save_freq == "epoch":
            self._save(epoch + 1, 0)

    def on_train_end(self, logs=None):
        self.model._initial_epoch = None
        if self.delete_checkpoint and backend.writes(self.model):
            # The latest goes last: after a kill in between, the training is found to be done.
            for path in (self.previous, self.latest):
                path.unlink(missing_ok=True)
        self.release()
        if self.delete_checkpoint and backend.writes(self.model):
            with contextlib.suppress(OSError):  # If there is something else in it.
                self.backup_dir.rmdir()

    # ------------------------------------------------------------------ writing and reading

    def _save(self, epoch, batch):
        model = self.model
        arrays = [keras.ops.convert_to_numpy(v) for v in _state(model) + _means(model)]
        if not backend.writes(model):
            return  # But it has read: some weights are summed over all processes by that.
        if self.double_checkpoint and self.latest.exists():
            self.latest.replace(self.previous)
        position = {"epoch": epoch, "batch": batch, "steps": self.params["steps"]}
        facts = {**position, **_kind(model)}
        with storage.whole_file(self.latest) as partial, open(partial, "wb") as file:
            np.savez(file, *(_plain(array) for array in arrays), facts=json.dumps(facts))

    def restore(self, model):
        """Bring a built and compiled model to the last backup.

        Args:
            model: The model.

        Returns:
            None if there is no backup, else a dictionary: "epoch" and "batch", the numbers of those
            that come next, "steps", the batches of an epoch where they are known, and "means", the
            values of running means.

        Raises:
            ValueError: If the backup is damaged, or not of this model.
        """
        if not model.built:
            raise ValueError(
                f"BackupAndRestore: this {type(model).__name__} has no weights yet. Call it on a "
                "batch of data, or its `build`, before `fit`."
            )
        for name in ("latest.weights.h5", "training_metadata.json"):
            if any(self.backup_dir.glob(f"{name}*")):
                raise ValueError(
                    f"{self.backup_dir} holds {name} of keras.callbacks.BackupAndRestore. Go on "
                    "with that one, or pass another backup_dir."
                )
        paths = [path for path in (self.latest, self.previous) if path.exists()]
        if not paths:
            return None
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        for path in paths:
            try:
                # np.load itself would leave the file of a broken archive open.
                with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
                    facts = json.loads(str(file["facts"]))
                    arrays = [file[f"arr_{i}"] for i in range(len(file.files) - 1)]
                break
            except _DAMAGE as error:
                if path is paths[-1]:
                    raise ValueError(
                        f"{path} is no whole backup ({type(error).__name__}: {error}). Something "
                        "has damaged it: get a copy of it, or remove it to train from the start."
                    ) from None
        here = json.loads(json.dumps(_kind(model)))
        different = [name for name in here if facts.get(name) != here[name]]
        if different:
            name = different[0]
            raise ValueError(
                f"{path} is a backup of another training: its {name} "
                + (f"is {facts.get(name)}, not {here[name]}" if name != "weights" else "differ")
                + ". Make the model as it was made before, or pass another backup_dir."
            )
        variables = _state(model)
        for variable, array in zip(variables, arrays, strict=False):
            _assign(variable, array)
        if isinstance(model, Adjustable):
            adopt_numbers(model)
        return {**facts, "means": arrays[len(variables) :]}

    # ------------------------------------------------------------------ within an epoch

    def _pass_over(self, model):
        """Have the next step, or the next few that run at once, read its data and do nothing."""
        step, at_once = model.train_function, model.steps_per_execution

        def put_means():
            for variable, array in zip(_means(model), self._found["means"], strict=True):
                _assign(variable, array)
            return model.get_metrics_result()

        # Before a step if possible: on JAX the values are elsewhere while it runs. TensorFlow makes
        # the metrics of `compile` within the first one.
        there = len(_means(model)) == len(self._found["means"])
        logs = put_means() if there else None

        def pass_over(*arguments):
            nonlocal logs
            model.train_function = step
            if hasattr(arguments[-1], "__next__"):  # With torch it has been read already.
                batches = [next(arguments[-1], None) for _ in range(at_once)]
                if not there:
                    model._symbolic_build(data_batch=batches[0])
                    logs = put_means()
            self._passed_over += at_once
            if self._passed_over >= self._found["batch"]:
                self._batch, self._found = self._found["batch"], None
            return (logs, arguments[0]) if len(arguments) == 2 else logs

        model.train_function = pass_over

    # ------------------------------------------------------------------ the lock

    def _hold(self):
        folder, here = storage.real(self.backup_dir), threading.current_thread()
        thread, _ = _held.get(folder, (here, None))
        if thread is here or not thread.is_alive():
            self.release()  # A `fit` that was interrupted holds it, with this callback or another.
        with contextlib.ExitStack() as stack:
            # In the folder, because the one above may be closed to the user.
            stack.enter_context(storage.exclusive(folder / "training"))
            storage.remove_leftovers(folder)
            _held[folder] = here, stack.pop_all()

    def release(self):
        """Let other processes use the folder, as the end of a training does."""
        _, stack = _held.pop(storage.real(self.backup_dir), (None, contextlib.ExitStack()))
        stack.close()


@atexit.register
def _release_all():
    while _held:
        _, (_, stack) = _held.popitem()
        stack.close()


def _state(model):
    """All variables that later steps follow from."""
    return [
        *model.trainable_variables,
        *model.non_trainable_variables,
        *model.optimizer.variables,
    ]


def _means(model):
    """The variables that an epoch's figures follow from."""
    return model.metrics_variables


def _kind(model):
    """What must be the same for a backup to be of a model."""
    return {
        "model": type(model).__name__,
        "optimizer": type(model.optimizer).__name__,
        "backend": keras.config.backend(),
        "weights": [[v.dtype, list(v.shape)] for v in _state(model)],
    }


def _plain(array):
    """Bytes of an array whose type NumPy's files do not know, such as bfloat16."""
    return array if array.dtype.kind in "biufc" else array.view(f"u{array.dtype.itemsize}")


def _assign(variable, array):
    if array.dtype.kind == "u" and array.dtype.name != variable.dtype:
        array = array.view(keras.ops.convert_to_numpy(variable).dtype)
    variable.assign(array)
