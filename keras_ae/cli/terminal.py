"""What the command line prints, and how its mistakes end."""

import contextlib
import errno
import json
import math
import os
import sys
import warnings

import typer

_LONGEST_WORD = 300
_LONGEST = 1500


def escape(text):
    r"""Escape what a terminal obeys instead of showing, such as the sequences that start with \x1b.

    Args:
        text: One line of text, which may come from a file of somebody else.

    Returns:
        The line, in which each such character is an escape of Python, such as \x1b or \n.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def show(*lines):
    """Print lines to standard output, each of which stays one line."""
    typer.echo("\n".join(map(escape, lines)))


def show_json(values):
    """Print a value as JSON. NaN and infinity, which JSON does not have, become null."""
    try:
        text = json.dumps(_without_nan(values), indent=2, allow_nan=False)
    except RecursionError:
        raise ValueError("the values are nested too deeply to be printed as JSON.") from None
    typer.echo(text)  # In JSON, the characters that a terminal would obey are escaped.


def _without_nan(values):
    if isinstance(values, dict):
        return {key: _without_nan(value) for key, value in values.items()}
    if isinstance(values, (list, tuple)):
        return [_without_nan(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def complain(kind, message):
    """Print one line to standard error.

    Args:
        kind: "error" or "warning".
        message: The text. White space within it, such as line breaks, becomes single spaces. Long
            words lose their middle. So does a long text: the argument is at its beginning, and the
            remedy at its end.
    """
    words = (_shorten(word, _LONGEST_WORD) for word in str(message).split())
    message = _shorten(escape(" ".join(words)), _LONGEST)
    # The reader of standard error may have gone, and there is nobody else to tell.
    with contextlib.suppress(OSError):
        typer.echo(f"keras-ae: {kind}: {message}", err=True)


def _shorten(text, longest):
    if len(text) <= longest:
        return text
    return f"{text[: longest * 2 // 3]}[...]{text[-longest // 3 :]}"


@contextlib.contextmanager
def prepare_streams():
    """Make standard input, output and error usable for what a command prints in the `with` block.

    - A stream that was closed before the start leads nowhere. Otherwise, the next file that is
      opened would have its number, and the messages of libraries would be written into that file.
    - A character that the encoding of a stream does not have is escaped.
    - A warning of a library is one line.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # A test may have replaced the stream.
            stream.reconfigure(errors="backslashreplace")
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_, **__: complain("warning", message)
        yield


def flush():
    """Write what is left to standard output.

    Python would do this at its exit, too, but would print a traceback if it fails.

    Returns:
        None, or the error if the output could not be written.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer goes nowhere, so that it does not fail once more at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return error
    return None


def lacks_reader(error):
    """Tell whether an error says that the program which reads the output has ended."""
    return isinstance(error, OSError) and error.errno == errno.EPIPE
