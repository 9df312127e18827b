"""Checks of what models are given, each with one wording: argument, value, remedy."""

import math
import numbers


def integer(model, name, value, least=1):
    """The value, once it is known to be an integer of at least `least`."""
    if isinstance(value, numbers.Integral) and not isinstance(value, bool) and value >= least:
        return int(value)
    wanted = "a positive integer" if least == 1 else f"an integer of at least {least}"
    raise ValueError(f"{type(model).__name__}: {name}={value!r} must be {wanted}.")


def number(model, name, value, positive=False, below=math.inf):
    """The value, once it is known to be a number of at least 0, or a positive one, and below."""
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        if (0 < value if positive else 0 <= value) and value < below:
            return value if isinstance(value, int) else float(value)
    wanted = "a positive number" if positive else "a number of at least 0"
    wanted += f" below {below}" if below < math.inf else ""
    raise ValueError(f"{type(model).__name__}: {name}={value!r} must be {wanted}.")


def sizes(model, name, value, example):
    """The value, once it is known to be a tuple or list of positive integers, or empty."""
    if isinstance(value, (list, tuple)) and all(
        isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in value
    ):
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
