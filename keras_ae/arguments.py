"""Checks of what models are given, each with one wording: argument, value, remedy."""

import math


def integer(model, name, value, least=1):
    """The value, once it is known to be an integer of at least `least`."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= least:
        return value
    wanted = "a positive integer" if least == 1 else f"an integer of at least {least}"
    raise ValueError(f"{type(model).__name__}: {name}={value!r} must be {wanted}.")


def number(model, name, value, positive=False):
    """The value, once it is known to be a finite number of at least 0, or a positive one."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if (0 < value if positive else 0 <= value) and value < math.inf:
            return value
    wanted = "a positive number" if positive else "a number of at least 0"
    raise ValueError(f"{type(model).__name__}: {name}={value!r} must be {wanted}.")


def choice(model, name, value, choices):
    """The value, once it is known to be one of the choices."""
    if value in choices:
        return value
    wanted = " or ".join(f'"{one}"' for one in choices)
    raise ValueError(f"{type(model).__name__}: {name}={value!r} must be {wanted}.")
