"""The collection of pretrained models, which are found by their names."""

import os
import pathlib

from keras_ae.core import storage

DIRECTORY_VARIABLE = "KERAS_AE_SAVED_MODELS"


def directories():
    """List the folders in which pretrained models are looked for, in order."""
    named = os.environ.get(DIRECTORY_VARIABLE, "").split(os.pathsep)
    checkout = pathlib.Path(__file__).resolve().parents[2] / "saved_models"
    return [*(pathlib.Path(name) for name in named if name), checkout]


def find(path):
    """Find an artifact: return the path itself if it exists, or that of a pretrained model."""
    if not isinstance(path, (str, os.PathLike)):
        kind = type(path).__name__
        shown = repr(path) if isinstance(path, (int, float, bytes, type(None))) else f"a {kind}"
        raise TypeError(
            f"load: path={shown[:100]} must be a path or the name of a pretrained model."
        )
    found = pathlib.Path(path)
    try:
        if found.exists():
            return found
    except OSError as error:  # The name is too long.
        raise OSError(
            f"load: {str(path)[:100]!r}... cannot be a path: {error.strerror}."
        ) from error
    rescue = storage.rescue(found)
    if rescue:
        raise FileNotFoundError(
            f"load: {found} does not exist, because an export was killed while it replaced the "
            f"model there. That model is complete in {rescue}: move it to {found}, as the next "
            "export would do."
        )
    if len(found.parts) == 1:
        for directory in directories():
            if os.path.isdir(directory / found):  # This is False if the directory is unreadable.
                return directory / found
    places = ", ".join(str(directory) for directory in directories())
    raise FileNotFoundError(
        f"load: there is no file or folder {str(path)!r}, and no pretrained model of that name in "
        f"{places}. Pretrained here: {', '.join(pretrained()) or 'none'}. Set {DIRECTORY_VARIABLE} "
        "to a directory that holds it."
    )


def pretrained():
    """List the names of the pretrained models that `load` finds, sorted.

    Example:

    >>> from keras_ae import saving
    >>> isinstance(saving.pretrained(), list)
    True
    """
    cards = (card for d in directories() for card in d.glob("*/card.json"))
    return sorted({card.parent.name for card in cards})
