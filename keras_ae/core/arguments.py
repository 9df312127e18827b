"""Checks of what models, layers and functions are given, with one wording: argument, value, remedy.

Every check takes the owner of the argument, for the error: a model, a layer or any other object, of
which the class is named; the name of a function; or None.

A check of an argument of a model's constructor is recorded with the model:
`keras_ae.core.adjustable` applies it to what is assigned later, or refuses that where the argument
shapes the model.
"""

import difflib
import functools
import numbers
from collections.abc import Iterable, Sized

import keras
import numpy as np

from keras_ae.core import memory

# Numbers reach programs as float32.
LARGEST = float(np.finfo("float32").max)
# Losses add up the squares of data.
LARGEST_DATA = 1e18
# Python's integers have no limit, but those of arrays have 64 bits.
_LARGEST_COUNT = 2**63 - 1


def did_you_mean(word, known, cutoff=0.6):
    """A question that ends an error about an unknown word, " Did you mean 'x'?", or nothing.

    Args:
        word: What was given, of any type.
        known: Names that would have been right. Upper and lower case count alike.
        cutoff: How alike a name must be, from 0 to 1. Defaults to 0.6.

    Example:
        >>> did_you_mean("Gausian", ["gaussian", "laplace"])
        " Did you mean 'gaussian'?"
        >>> did_you_mean(3, ["gaussian", "laplace"])
        ''
    """
    by_lower = {name.lower(): name for name in known}
    close = difflib.get_close_matches(str(word).lower(), by_lower, n=1, cutoff=cutoff)
    return f" Did you mean {by_lower[close[0]]!r}?" if close else ""


def is_number(value):
    """Whether the value is a number, of Python or NumPy, and no truth value."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_integer(value):
    """Whether the value is an integer, of Python or NumPy, and no truth value."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def record(model, name, value, rule):
    """Note how a new value of an argument is checked: a function of it, or None to refuse any."""
    notes = getattr(model, "_notes", None)  # A layer or a function has none.
    given = notes.arguments if notes else {}
    # Not a part of an argument, or what is computed from several.
    if name in given and (given[name] is None or given[name] is value):
        notes.rules[name] = rule


def fix(model, *names):
    """Note that these arguments shape the model, so that nobody assigns them after it is made."""
    for name in names:
        record(model, name, model.arguments.get(name), None)


def name_of(owner):
    """What an error calls the owner of an argument."""
    return owner if isinstance(owner, str) else type(owner).__name__


def show(value):
    """What an error prints of a value: no array, and no long text.

    Example:
        >>> show(0), show(np.zeros((2, 3)))
        ('0', 'ndarray of shape (2, 3)')
    """
    if getattr(value, "shape", ()):
        return f"{type(value).__name__} of shape {tuple(value.shape)}"
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


def refusal(owner, name, value, wanted, remedy="", error=ValueError):
    """The error of a wrong argument.

    Args:
        owner: See above.
        name: The argument's name.
        value: What was given.
        wanted: What it must be.
        remedy: A sentence on what the argument is, or what else to do. Defaults to none.
        error: Class of the error. Defaults to ValueError.

    Example:
        >>> str(refusal("plots.samples", "columns", 0, "a positive integer"))
        'plots.samples: columns=0 must be a positive integer.'
    """
    prefix = "" if owner is None else f"{name_of(owner)}: "
    return error(f"{prefix}{name}={show(value)} must be {wanted}. {remedy}".rstrip())


def integer(owner, name, value, least=1, most=None, remedy=""):
    """The value, once it is known to be an integer from `least` to `most`."""
    largest = _LARGEST_COUNT if most is None else most
    if is_integer(value) and least <= value <= largest:
        record(owner, name, value, None)
        return int(value)
    if most is not None:
        wanted = f"an integer from {least} to {most}"
    elif is_integer(value) and value > largest:
        wanted = f"an integer of at most {largest}"
    else:
        wanted = "a positive integer" if least == 1 else f"an integer of at least {least}"
    raise refusal(owner, name, value, wanted, remedy)


def layers(owner, name, value, least=1):
    """The value, once it is known to be an integer, and not of more layers than can be made.

    Also where turns of a loop are written out in the program of a step.
    """
    value = integer(owner, name, value, least)
    memory.refuse_layers(name_of(owner), name, value)
    return value


def number(
    owner,
    name,
    value,
    least=0,
    positive=False,
    below=None,
    most=None,
    optional=False,
    fixed=False,
    remedy="",
):
    """The value, once it is known to be a number of at least 0, or a positive one, and below.

    If `least` is None any finite number will do. It may also be None if it is optional. A fixed one
    shapes the model, and is never changed.
    """
    rule = functools.partial(
        number,
        owner,
        name,
        least=least,
        positive=positive,
        below=below,
        most=most,
        optional=optional,
        remedy=remedy,
    )
    if optional and value is None:
        record(owner, name, value, None if fixed else rule)
        return None
    least = -LARGEST if least is None else least
    if is_number(value) and (0 < value if positive else least <= value) and value <= LARGEST:
        if (below is None or value < below) and (most is None or value <= most):
            record(owner, name, value, None if fixed else rule)
            # torch holds integers of 64 bits.
            fits = isinstance(value, int) and abs(value) < 2**63
            return value if fits else float(value)
    if positive:
        wanted = "a positive number"
        wanted += "" if most is None else f" of at most {most}"
    elif least == -LARGEST:
        wanted = "a finite number"
    elif most is None:
        wanted = f"a number of at least {least}" + ("" if below is None else " and")
    else:
        wanted = f"a number from {least} to {most}"
    wanted += "" if below is None else f" below {below}"
    raise refusal(owner, name, value, wanted, remedy)


def number_or_schedule(owner, name, value, optional=False):
    """The value, once it is known to be a number of at least 0 or a schedule; see `value_at`.

    It may also be None if it is optional.
    """
    remedy = (
        "It may also be a schedule of the training step, such as "
        "keras_ae.schedules.LinearWarmUp(5000)."
    )
    # Layers, losses and classes can be called, too, but not with a training step.
    others = (keras.Operation, keras.Loss, keras.Metric, type)
    is_schedule = callable(value) and not isinstance(value, others)
    kept = is_schedule or (optional and value is None)
    checked = value if kept else number(owner, name, value, remedy=remedy)
    rule = functools.partial(number_or_schedule, owner, name, optional=optional)
    record(owner, name, value, rule)
    return checked


def value_at(value, step):
    """A number, or what a schedule gives at a step of training."""
    return value(step) if callable(value) else value


def sizes(owner, name, value, example, least=1, may_be_empty=False):
    """A tuple of the integers that the value holds, once they are known to be at least `least`."""
    listed = isinstance(value, Iterable) and isinstance(value, Sized)
    found = tuple(value) if listed else ()
    if listed and (found or may_be_empty) and all(is_integer(v) and v >= least for v in found):
        memory.refuse_layers(name_of(owner), f"the length of {name}", len(found))
        return tuple(map(int, found))
    each = "positive integers" if least == 1 else f"integers of at least {least}"
    raise refusal(owner, name, value, f"a tuple of {each}, such as {example}")


def choice(owner, name, value, choices):
    """The value, once it is known to be one of the choices."""
    choices = tuple(choices)
    # NumPy would compare each number of an array.
    if (isinstance(value, str) or not hasattr(value, "__len__")) and value in choices:
        return value
    *first, last = (f'"{one}"' for one in choices)
    wanted = f"{', '.join(first)} or {last}"
    raise refusal(owner, name, value, wanted, did_you_mean(value, choices).lstrip())


def flag(owner, name, value, fixed=False):
    """The value, once it is known to be True or False. A fixed one shapes the model."""
    if isinstance(value, bool):
        if fixed:
            record(owner, name, value, None)
        return value
    raise refusal(owner, name, value, "True or False")


def dictionary(owner, name, value, example):
    """A copy of the value, once it is known to be a dictionary or None, which is an empty one."""
    if isinstance(value, (dict, type(None))):
        return dict(value or {})
    raise refusal(owner, name, value, f"a dictionary, such as {example}", error=TypeError)
