"""One loop at a time over a model, whichever threads ask for one."""

import contextlib
import functools
import inspect
import threading

from keras_ae.core import backend, memory


class Turns:
    """Whose turn it is to run a loop over a model.

    The loops of `fit`, `evaluate` and `predict` share running means, and on JAX take the weights
    out of the model. Threads that evaluate wait for each other; while one trains, which may take
    days, the others are told so.

    Args:
        model: The model.
    """

    PATIENCE = 0.05  # seconds between two looks at who trains.

    def __init__(self, model):
        self.model = model
        self.lock, self.trainer = threading.RLock(), None

    @contextlib.contextmanager
    def taken(self, name, training=False):
        """The context of a loop of that name.

        Raises:
            RuntimeError: If another thread trains the model.
        """
        thread = threading.get_ident()
        while not self.lock.acquire(timeout=self.PATIENCE):
            if self.trainer not in (None, thread):
                raise RuntimeError(
                    f"{name}: another thread trains this {type(self.model).__name__}. Wait until "
                    "it has done so, or use a copy: keras.models.clone_model, then set_weights."
                )
        before = self.trainer
        try:
            self.trainer = thread if training else before
            yield
        finally:
            self.trainer = before
            self.lock.release()


def one_at_a_time(training=False):
    """A decorator of methods of a model that are loops."""

    def decorate(method):
        signature = inspect.signature(method)

        @functools.wraps(method)
        def call(self, *args, **kwargs):
            with (
                self.turns.taken(method.__name__, training),
                memory.explained(
                    f"{type(self).__name__}.{method.__name__}",
                    lambda: signature.bind(self, *args, **kwargs).arguments,
                    memory.SMALLER_BATCH,
                ),
            ):
                backend.settle(self)  # A callback may begin this loop within another one.
                return method(self, *args, **kwargs)

        return call

    return decorate
