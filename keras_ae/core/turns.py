"""Only one loop at a time over a model, even if several threads start one, and its errors."""

import contextlib
import functools
import inspect
import threading

from keras_ae.core import backend, conversion, memory


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

    @contextlib.contextmanager
    def noted(self):
        """A context that notes the error of a stream, which then comes through as it is."""
        try:
            yield
        except Exception as error:
            self.found.append(error)
            raise


def one_at_a_time(training=False):
    """A decorator for methods of a model that run a loop."""

    def decorate(method):
        signature = inspect.signature(method)

        def is_foreign(args, kwargs):
            """Whether the loop runs callbacks, or code that produces its data."""
            given = signature.bind(*args, **kwargs).arguments
            return bool(given.get("callbacks")) or not conversion.holds_arrays(given.get("x"))

        @functools.wraps(method)
        def call(self, *args, **kwargs):
            foreign = not training and is_foreign((self, *args), kwargs)
            with (
                self._notes.turns.take(method.__name__, training, foreign),
                memory.explained(
                    f"{type(self).__name__}.{method.__name__}",
                    lambda: signature.bind(self, *args, **kwargs).arguments,
                    memory.SMALLER_BATCH,
                ),
                self._notes.stream_errors,
                backend.loop(self),
            ):
                return method(self, *args, **kwargs)

        return call

    return decorate
