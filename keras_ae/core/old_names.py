"""Arguments that were renamed, whose old keywords still work."""

import functools
from collections.abc import Callable

from keras_ae.core.types import Function


def accept_old_argument(old: str, new: str) -> Callable[[Function], Function]:
    """Make a decorator that lets callers pass an argument by its old name, too.

    Args:
        old: The keyword of earlier versions.
        new: The argument's name now.

    Example:
        >>> @accept_old_argument("colour", "color")
        ... def paint(color):
        ...     return color
        >>> paint(colour="blue"), paint(color="red"), paint("green")
        ('blue', 'red', 'green')
    """

    def decorate(function):
        @functools.wraps(function)
        def call(*args, **kwargs):
            if old in kwargs:
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call

    return decorate
