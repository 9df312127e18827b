"""Silence libraries that print what no user needs."""

import contextlib
import os
import sys


@contextlib.contextmanager
def silence_libraries():
    """Send what is written to standard output and error in the `with` block nowhere.

    This also holds for libraries in C++, which do not write through Python.
    """
    with contextlib.ExitStack() as stack, open(os.devnull, "w") as nowhere:
        for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
            stream.flush()
            before = os.dup(number)
            stack.callback(os.close, before)
            stack.callback(os.dup2, before, number)
            stack.callback(stream.flush)
            os.dup2(nowhere.fileno(), number)
        yield
