"""Where models are found by name: the pretrained ones."""

import os
import pathlib

from keras_ae.core import storage

DIRECTORY_VARIABLE = "KERAS_AE_SAVED_MODELS"


def directories():
    """Where pretrained models are looked for, in order."""
    named = os.environ.get(DIRECTORY_VARIABLE, "").split(os.pathsep)
    checkout = pathlib.Path(__file__).resolve().parents[2] / "saved_models"
    return [*(pathlib.Path(name) for name in named if name), checkout]


def find(path):
    """The path of an artefact: the path itself if it exists, else a pretrained model's."""
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"load: path={path!r} must be a path or the name of a pretrained model.")
    found = pathlib.Path(path)
    if found.exists():
        return found
    rescue = storage.rescue(found)
    if rescue:
        raise FileNotFoundError(
            f"load: nothing is at {found}, because an export was killed while it replaced the "
            f"model there. That model is whole in {rescue}: move it to {found}, where the next "
            "export will put it, too."
        )
    if len(found.parts) == 1:
        for directory in directories():
            if (directory / found).is_dir():
                return directory / found
    places = ", ".join(str(directory) for directory in directories())
    raise FileNotFoundError(
        f"load: there is no file or folder {str(path)!r}, and no pretrained model of that name in "
        f"{places}. Pretrained here: {', '.join(pretrained()) or 'none'}. Set {DIRECTORY_VARIABLE} "
        "to a directory that holds it."
    )


def pretrained():
    """The names of the pretrained models that `load` finds, sorted.

    Example:

    >>> from keras_ae import saving
    >>> isinstance(saving.pretrained(), list)
    True
    """
    cards = (card for d in directories() for card in d.glob("*/card.json"))
    return sorted({card.parent.name for card in cards})
