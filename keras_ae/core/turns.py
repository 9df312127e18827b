"""Only one loop at a time over a model, even if several threads start one, and its errors."""

import contextlib
import functools
import inspect
import threading
from collections.abc import Callable

import keras

from keras_ae.core import arguments, backend, conversion, memory, storage
from keras_ae.core.types import Function


class Turns:
    """Says whose turn it is to run a loop over a model.

    The loops of `fit`, `evaluate` and `predict` share running means, and on JAX they take the
    weights out of the model. Threads that evaluate arrays wait for each other. A thread does not
    wait, but raises an error, while another thread trains, because that may take days, or runs code
    of the user in a loop, because that code may itself wait for this thread.

    Args:
        model: The model.
    """

    PATIENCE = 0.05  # Seconds between two checks of who holds the model.

    def __init__(self, model):
        self.model = model
        # `holder` is what an error says of the thread that has the lock; None while others wait.
        self.lock, self.holder = threading.RLock(), None

    @contextlib.contextmanager
    def take(self, name, training=False, foreign=False):
        """Take the turn of a loop of this name, inside a `with` block.

        Args:
            name: The loop's name, for errors.
            training: Whether it trains.
            foreign: Whether it runs code of the user, such as callbacks.

        Raises:
            RuntimeError: If another thread trains the model, or runs code of the user in a loop.
        """
        while not self.lock.acquire(timeout=self.PATIENCE):
            holder = self.holder
            if holder is not None:
                raise RuntimeError(
                    f"{name}: another thread {holder}. Wait until it has done so, or use a copy: "
                    "keras.models.clone_model, then set_weights."
                )
        before, kind = self.holder, type(self.model).__name__
        try:
            if training:
                self.holder = f"trains this {kind}"
            elif foreign and before is None:
                self.holder = f"runs {name} of this {kind}, whose callbacks or data may need this"
            yield
        finally:
            self.holder = before
            self.lock.release()


class StreamErrors:
    """A context in which a wrong batch raises its own error instead of one that TensorFlow makes.

    Loops may begin within others. `found` holds the errors that were found in the streams that the
    outermost one reads.
    """

    def __init__(self):
        self.found, self.depth = [], 0

    def __enter__(self):
        self.depth += 1

    def __exit__(self, kind, error, traceback):
        found, self.depth = self.found, self.depth - 1
        if self.depth == 0:
            self.found = []
        if error is not None and found and error not in found:
            raise found[0] from None

    def noted(self):
        """A context that notes the error of a stream, which then comes through as it is."""
        stack = contextlib.ExitStack()
        stack.push(self._note)
        return stack

    def _note(self, kind, error, traceback):
        if isinstance(error, Exception):
            self.found.append(error)


def one_at_a_time(training: bool = False) -> Callable[[Function], Function]:
    """A decorator for methods of a model that run a loop."""

    def decorate(method):
        signature = inspect.signature(method)

        @functools.wraps(method)
        def call(self, *args, **kwargs):
            given = signature.bind(self, *args, **kwargs).arguments
            callbacks = given.get("callbacks")
            check_callbacks(callbacks)
            # Callbacks are code of the user, and so is what produces data that is no array.
            foreign = bool(callbacks) or not conversion.holds_arrays(given.get("x"))
            with (
                self._notes.turns.take(method.__name__, training, foreign and not training),
                memory.explained(
                    f"{type(self).__name__}.{method.__name__}",
                    lambda: given,
                    memory.SMALLER_BATCH,
                ),
                self._notes.stream_errors,
                backend.loop(self),
            ):
                return method(self, *args, **kwargs)

        return call

    return decorate


def check_callbacks(callbacks):
    """Raise if something is no callback, or would write whole models that cannot be loaded."""
    callbacks = getattr(callbacks, "callbacks", callbacks)  # A CallbackList has this attribute.
    for callback in keras.tree.flatten([] if callbacks is None else callbacks):
        if not isinstance(callback, keras.callbacks.Callback):
            wanted = "a keras.callbacks.Callback, or a list of them"
            remedy = "Pass an object, such as keras.callbacks.EarlyStopping(patience=3)."
            raise arguments.refusal(None, "callbacks", callback, wanted, remedy, TypeError)
        if isinstance(callback, keras.callbacks.ModelCheckpoint):
            if not callback.save_weights_only:
                storage.check_suffix(callback.filepath, "ModelCheckpoint")
