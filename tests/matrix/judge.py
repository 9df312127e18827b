"""Judge what happens when a call is made with bad input."""

import contextlib
import dataclasses
import pathlib
import re
import signal
import traceback
import typing
import warnings

import keras
import numpy as np
import zoo

import keras_ae
from matrix import kinds
from matrix.kinds import EITHER, OWN, SAME

PACKAGE = str(pathlib.Path(keras_ae.__file__).parent)
FITS = ("fit", "train_on_batch", "adapt", "fit y", "train_on_batch y")
GOOD = ("refused", "accepted", "the user's own error", "left out")
SECONDS = 60


@dataclasses.dataclass
class Cell:
    """One thing that is tried.

    Args:
        entry: Name of the entry point, such as "fit" or "fit sample_weight".
        kind: Name of the kind of input.
        call: Function that makes the input and the call, and returns the result.
        expected: What is right: see `kinds`.
        argument: Word that names the argument in an error, or None if any will do.
        clean: Function that returns the right result if `expected` is SAME.
        may_change: Whether the weights may have changed when an error comes.
        model: The model whose weights must not change, or None.
    """

    entry: str
    kind: str
    call: typing.Callable
    expected: object
    argument: str | None = None
    clean: typing.Callable | None = None
    may_change: bool = False
    model: object = None


@dataclasses.dataclass
class Case:
    """What a kind may ask: the model, and the entry point."""

    model: object
    entry: str

    @property
    def fits(self):
        return self.entry.removesuffix(", not built") in FITS

    @property
    def is_bounded(self):
        """Whether values that lie beyond two limits may be encoded, but not fitted."""
        support = self.model._support
        support = support["bits"] if isinstance(support, dict) else support
        return support is not None and np.isfinite(tuple(support)).all()


class NotMade(Exception):
    """An input that could not be made, which says nothing about the model."""


def prepare(make, *given):
    """Return the input of a cell."""
    try:
        return make(*given)
    except Exception as error:
        raise NotMade(f"{type(error).__name__}: {error}") from error


# ------------------------------------------------------------------ judgement


def is_finite(result):
    if isinstance(result, keras.callbacks.History):
        result = result.history
    leaves = [value for value in keras.tree.flatten(result) if not isinstance(value, keras.Model)]
    arrays = [np.asarray(keras.ops.convert_to_numpy(v)) for v in leaves if is_numeric(v)]
    return all(np.all(np.isfinite(array)) for array in arrays if array.dtype.kind == "f")


def is_numeric(value):
    return isinstance(value, (int, float, np.ndarray, np.generic)) or keras.ops.is_tensor(value)


def is_alike(result, wanted):
    if isinstance(result, keras.callbacks.History):
        return np.allclose(result.history["loss"], wanted.history["loss"], rtol=0.02)
    first, second = (keras.tree.flatten(each) for each in (result, wanted))
    if len(first) != len(second):
        return False
    pairs = [
        tuple(np.asarray(keras.ops.convert_to_numpy(v)) for v in pair)
        for pair in zip(first, second, strict=True)
        if is_numeric(pair[0])
    ]
    return all(a.shape == b.shape and np.allclose(a, b, rtol=1e-2, atol=1e-3) for a, b in pairs)


def says(word, text):
    """Whether a text has a word, or one of several that "|" separates."""
    return any(each in text for each in word.split("|"))


def judge_message(error, words, argument):
    """Return what is wrong with the words of an error, or None."""
    text = str(error)
    if len(text) > 600 or len(text.splitlines()) > 3:
        return f"{len(text)} characters in {len(text.splitlines())} lines"
    if re.search(r"(?<!to)(?<!np[.])array\(", text) or re.search(
        r"(?:[-+]?\d[\d.e+-]*[,\s]+){9}", text
    ):
        return "it prints an array"
    is_loss = isinstance(error, FloatingPointError)  # It names the losses.
    if (
        argument
        and not is_loss
        and not any(re.search(rf"(?<!\w){a}(?!\w)", text) for a in argument.split("|"))
    ):
        return f"it does not name {argument}"
    missing = [word for word in words if not says(word, text)]
    return f"it lacks {', '.join(missing)}" if missing else None


def judge_error(error, expected, argument):
    """Return the outcome of a cell that raised an error."""
    last = traceback.extract_tb(error.__traceback__)[-1].filename
    is_own = type(error) is RuntimeError and kinds.OWN_TEXT in str(error)
    if is_own or last == kinds.__file__:
        return "the user's own error" if expected in (OWN, EITHER) else "wrong error"
    kind = type(error)
    if isinstance(error, TimeoutError) and "tried" in str(error):
        return "hangs"
    own = kind.__module__ in ("builtins", "abc") or kind.__module__.startswith("keras_ae")
    known = (ValueError, TypeError, OSError, RuntimeError, ArithmeticError)
    is_ours = last.startswith(PACKAGE) or "You must call `compile()`" in str(error)
    if not is_ours or not own or not isinstance(error, known):
        return "raw error"
    if expected is SAME:
        return "refuses what is right"
    if judge_message(error, expected if isinstance(expected, list) else [], argument):
        return "wrong words"
    return "wrong error" if expected is OWN else "refused"


@contextlib.contextmanager
def limited():
    """Raise TimeoutError in a cell that does not end."""

    def stop(*_):
        raise TimeoutError(f"tried for {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


EXPECTED_WARNINGS = (
    "unit scale",  # The data of some kinds is.
    "ran out of data",  # Keras warns if a generator ends.
    "interrupting training",
    "sharding",
    "__array__ implementation",
    "has not yet been built",
)


def run(cell):
    """Return the outcome of a cell, and what an error or a warning said."""
    try:
        with warnings.catch_warnings(record=True) as caught, limited():
            warnings.simplefilter("always")
            result = cell.call()
    except NotMade as error:
        missing = isinstance(error.__cause__, ImportError)
        return ("left out" if missing else "not made"), str(error)
    except Exception as error:  # Whatever comes is judged.
        text = f"{type(error).__name__}: {error}"
        outcome = judge_error(error, cell.expected, cell.argument)
        if outcome == "wrong words":
            words = cell.expected if isinstance(cell.expected, list) else []
            text = f"({judge_message(error, words, cell.argument)}) {text}"
        if outcome == "raw error":
            frame = traceback.extract_tb(error.__traceback__)[-1]
            text = f"(at {frame.filename[-60:]}:{frame.lineno}) {text}"
        return outcome, text
    unwanted = [w for w in caught if not says("|".join(EXPECTED_WARNINGS), str(w.message))]
    if unwanted and unwanted[0].category not in (DeprecationWarning, PendingDeprecationWarning):
        return "warning", f"{unwanted[0].category.__name__}: {unwanted[0].message}"
    if isinstance(cell.expected, list) or cell.expected is OWN:
        return "silent", f"it returned a {type(result).__name__}, and {cell.expected} is right"
    if not is_finite(result):
        return "not finite", str(getattr(result, "history", ""))
    if cell.expected is SAME and cell.clean is not None and not is_alike(result, cell.clean()):
        return "differs", ""
    return "accepted", ""


class Bench:
    """A trained model, whose state is put back after each cell.

    Args:
        name: Name of the model's class.
    """

    def __init__(self, name):
        self.name = name
        self.model = zoo.eager(name)
        self.x = clean(name)
        self.model.fit(self.x, batch_size=kinds.SIZE, verbose=0)
        if hasattr(self.model, "fit_prior"):
            self.model.fit_prior(self.x, epochs=1, verbose=0)
        if self.model.sampler is not None and self.model.sampler.ready():
            self.model.sample(1, seed=0, **zoo.inputs(self.model, "sample", 1))
        model = self.model
        self.variables = [*model.variables, *model.optimizer.variables]
        self.values = [np.array(v.numpy()) for v in self.variables]
        self.results = {}

    def restore(self):
        """Put the state back, and return whether it had changed."""
        changed = False
        for variable, value in zip(self.variables, self.values, strict=True):
            if not np.array_equal(variable.numpy(), value):
                variable.assign(value)
                changed = True
        return changed

    def clean_result(self, entry, call):
        """Return the result of an entry point for clean data, which is computed once."""
        if entry not in self.results:
            self.restore()
            self.results[entry] = call()
            self.restore()
        return self.results[entry]

    def run(self, cell):
        outcome, text = run(cell)
        changed = cell.model is self.model and self.restore()
        if changed and outcome == "refused" and not cell.may_change:
            return "changed weights", text
        return outcome, text


def clean(name):
    """Return clean data without NaN of the form that a model takes."""
    x = zoo.data(48)
    if name in zoo.OF_MODALITIES:
        number = (x[:, ::2] @ [1, 2, 4]).astype("int32")
        return {"bits": x, "numbers": x.copy(), "kind": np.eye(8, dtype="float32")[number]}
    return zoo.joined(name, x)
