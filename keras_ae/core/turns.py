"""One loop at a time over a model, whichever threads ask for one."""

import contextlib
import functools
import inspect
import threading

from keras_ae.core import backend, inputs, memory


class Turns:
    """Whose turn it is to run a loop over a model.

    The loops of `fit`, `evaluate` and `predict` share running means, and on JAX take the weights
    out of the model. Threads that evaluate arrays wait for each other. While one trains, which may
    take days, or runs code of the user's, which may itself wait for the others, these are told so.

    Args:
        model: The model.
    """

    PATIENCE = 0.05  # seconds between two looks at who holds it.

    def __init__(self, model):
        self.model = model
        self.lock, self.holder = threading.RLock(), None  # Its thread, and what is said of it.

    @contextlib.contextmanager
    def taken(self, name, training=False, foreign=False):
        """The context of a loop of that name.

        Args:
            name: The loop's name, for errors.
            training: Whether it trains.
            foreign: Whether it runs code of the user's, such as callbacks.

        Raises:
            RuntimeError: If another thread trains the model, or runs code of the user's in a loop.
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


def one_at_a_time(training=False):
    """A decorator of methods of a model that are loops."""

    def decorate(method):
        signature = inspect.signature(method)

        def is_foreign(args, kwargs):
            """Whether a loop runs callbacks, or code that yields its data."""
            given = signature.bind(*args, **kwargs).arguments
            return bool(given.get("callbacks")) or not inputs.is_array(given.get("x"))

        @functools.wraps(method)
        def call(self, *args, **kwargs):
            foreign = not training and is_foreign((self, *args), kwargs)
            with (
                self._notes.turns.taken(method.__name__, training, foreign),
                memory.explained(
                    f"{type(self).__name__}.{method.__name__}",
                    lambda: signature.bind(self, *args, **kwargs).arguments,
                    memory.SMALLER_BATCH,
                ),
                backend.loop(self),
            ):
                return method(self, *args, **kwargs)

        return call

    return decorate
