"""Checks of what models are given, each with one wording: argument, value, remedy.

A check of an argument of a model's constructor is recorded with the model:
`keras_ae.core.adjustable` applies it to what is assigned later, or refuses that where the argument
shapes the model.
"""

import difflib
import functools
import numbers

import numpy as np

from keras_ae.core import memory

# Numbers reach programs as float32.
LARGEST = float(np.finfo("float32").max)


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


def record(model, name, value, rule):
    """Note how a new value of an argument is checked: a function of it, or None to refuse any."""
    notes = getattr(model, "_notes", None)  # A layer has none.
    given = notes.arguments if notes else {}
    # Not a part of an argument, or what is computed from several.
    if name in given and (given[name] is None or given[name] is value):
        notes.rules[name] = rule


def integer(model, name, value, least=1):
    """The value, once it is known to be an integer of at least `least`."""
    if isinstance(value, numbers.Integral) and not isinstance(value, bool) and value >= least:
        record(model, name, value, None)
        return int(value)
    wanted = "a positive integer" if least == 1 else f"an integer of at least {least}"
    raise ValueError(f"{type(model).__name__}: {name}={value!r} must be {wanted}.")


def layers(model, name, value, least=1):
    """The value, once it is known to be an integer, and not of more layers than can be made.

    Also where turns of a loop are written out in the program of a step.
    """
    value = integer(model, name, value, least)
    memory.refuse_layers(type(model).__name__, name, value)
    return value


def number(model, name, value, positive=False, below=None, most=None, optional=False, fixed=False):
    """The value, once it is known to be a number of at least 0, or a positive one, and below.

    It may also be None if it is optional. A fixed one shapes the model, and is never changed.
    """
    rule = functools.partial(
        number, model, name, positive=positive, below=below, most=most, optional=optional
    )
    if optional and value is None:
        record(model, name, value, rule)
        return None
    if is_number(value) and (0 < value if positive else 0 <= value) and value <= LARGEST:
        if (below is None or value < below) and (most is None or value <= most):
            record(model, name, value, None if fixed else rule)
            return value if isinstance(value, int) else float(value)
    wanted = "a positive number" if positive else "a number of at least 0"
    wanted += "" if below is None else f" below {below}"
    wanted += "" if most is None else f" and at most {most}"
    raise ValueError(f"{type(model).__name__}: {name}={value!r} must be {wanted}.")


def sizes(model, name, value, example):
    """The value, once it is known to be a tuple or list of positive integers, or empty."""
    if isinstance(value, (list, tuple)) and all(
        isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in value
    ):
        memory.refuse_layers(type(model).__name__, f"the length of {name}", len(value))
        return value
    raise ValueError(
        f"{type(model).__name__}: {name}={value!r} must be a tuple of positive integers, such as "
        f"{example}."
    )


def choice(model, name, value, choices):
    """The value, once it is known to be one of the choices."""
    if value in choices:
        return value
    wanted = " or ".join(f'"{one}"' for one in choices)
    raise ValueError(f"{type(model).__name__}: {name}={value!r} must be {wanted}.")
