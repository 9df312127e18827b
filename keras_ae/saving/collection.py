"""The collection of pretrained models, which are found by their names."""

import fnmatch
import functools
import json
import os
import pathlib
import re

from keras_ae.core import arguments, storage
from keras_ae.saving import archive, hub

DIRECTORY_VARIABLE = "KERAS_AE_SAVED_MODELS"
ADDRESS_VARIABLE = "KERAS_AE_COLLECTION"
INDEX = pathlib.Path(__file__).with_name("collection.json")
_VERSIONED = re.compile(r"([^/\\]+)/([0-9]+)")


def directories():
    """List the folders in which pretrained models are looked for, in order."""
    named = os.environ.get(DIRECTORY_VARIABLE, "").split(os.pathsep)
    here = pathlib.Path(__file__).resolve()
    # A wheel has some models in the package, and a checkout has all of them next to it.
    own = [here.with_name("pretrained"), here.parents[2] / "saved_models"]
    return [*(pathlib.Path(name) for name in named if name), *own]


def find(path):
    """Find an artifact: return the path itself if it exists, or that of a pretrained model.

    A model of the Hugging Face Hub is downloaded, and one that is in no directory here, if the
    index has it.
    """
    if not isinstance(path, (str, os.PathLike)):
        kind = type(path).__name__
        shown = repr(path) if isinstance(path, (int, float, bytes, type(None))) else f"a {kind}"
        raise TypeError(
            f"load: path={shown[:100]} must be a path or the name of a pretrained model."
        )
    if str(path).startswith(hub.PREFIX):
        return hub.download(str(path))
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
    versioned = _VERSIONED.fullmatch(str(path))
    if versioned:
        folder = _find_by_name(versioned[1], int(versioned[2]))
    else:
        folder = _find_by_name(str(found), None) if len(found.parts) == 1 else None
    if folder is None:
        raise _not_found(path)
    return folder


def _find_by_name(name, version):
    """Return the folder of a pretrained model, of any version if that is None.

    It is None if there is no model of this name.
    """
    others = []
    for directory in directories():
        folder = directory / name
        if not os.path.isdir(folder):  # This is False if the directory is unreadable.
            continue
        # An odd card hides no model whose version nobody asks for.
        if version is None or version == _version_of(folder):
            return folder
        others.append(_version_of(folder))
    entry = read_index().get(name)
    if entry is not None and version in (None, entry["version"]):
        return _download(name, entry)
    if others or entry:
        known = sorted({str(each) for each in others + ([entry["version"]] if entry else [])})
        raise FileNotFoundError(
            f"load: there is no version {version} of the pretrained model {name!r}, but version "
            f"{', '.join(known)}. Leave the number out to take what there is."
        )
    return None


def _version_of(folder):
    """Return the version that a card names. Cards without one are of the first version."""
    file = folder / "card.json"
    return archive.read_json(file).get("version", 1) if file.is_file() else 1


def _not_found(path):
    places = ", ".join(str(place) for place in directories() if place.is_dir()) or "any folder"
    hint = arguments.did_you_mean(str(path), list_pretrained())
    return FileNotFoundError(
        f"load: there is no file or folder {str(path)!r}, and no pretrained model of that name in "
        f"{places}.{hint} keras_ae.list_pretrained() lists them. Set {DIRECTORY_VARIABLE} to a "
        "directory that holds it."
    )


# ---------------------------------------------------------------------- models that are elsewhere


@functools.cache
def read_index():
    """Return what the package knows of the collection: name -> dictionary."""
    return json.loads(INDEX.read_text())


def archive_name(name, version):
    """Return the name of the file that holds a version of a model."""
    return f"{name}_{version}.zip"


def _download(name, entry):
    """Download a model of the index, or take it from the cache. Return its folder."""
    address, file = os.environ.get(ADDRESS_VARIABLE, ""), archive_name(name, entry["version"])
    if not address:
        raise FileNotFoundError(
            f"load: the pretrained model {name!r} is not on this machine, and the collection has "
            f"no public address yet. Set {ADDRESS_VARIABLE} to the address of a folder that has "
            f"{file}, such as https://example.com/models or file:///mirror, or set "
            f"{DIRECTORY_VARIABLE} to a directory that holds {name}."
        )
    import keras

    folder = keras.utils.get_file(
        file,
        origin=f"{address.rstrip('/')}/{file}",
        file_hash=entry["sha256"],
        cache_subdir="keras_ae",
        extract=True,
    )
    return pathlib.Path(folder) / name


# ---------------------------------------------------------------------- what there is


def folders():
    """Return the folders of the pretrained models here: name -> folder. The first of a name counts.

    A folder counts if it has a `card.json`.
    """
    found = {}
    for place in directories():
        for card in sorted(place.glob("*/card.json")):
            found.setdefault(card.parent.name, card.parent)
    return dict(sorted(found.items()))


def describe():
    """Return what is known of each pretrained model, here or in the index: name -> dictionary.

    It has at least "model", which is None if the card cannot be read.
    """
    found = dict(read_index())
    for name, folder in folders().items():
        try:
            card = archive.read_json(folder / "card.json")
        except (OSError, ValueError):
            card = {}
        kind = card.get("model")
        found[name] = {**card, "model": kind if isinstance(kind, str) else None}
    return dict(sorted(found.items()))


def list_pretrained(pattern: str = "*", model: str | type | None = None) -> list[str]:
    """List the names of pretrained models, which `keras_ae.load` takes.

    Args:
        pattern: Text with `*` and `?` that a name must match. Defaults to all names.
        model: Name or class of a model. Defaults to None, all models.

    Returns:
        Sorted list of strings.

    Raises:
        TypeError: If pattern is no text, or model no class and no name.

    Example:

    >>> import keras_ae
    >>> keras_ae.list_pretrained("*mnist", model="VAE")
    ['vae_mnist']
    """
    if not isinstance(pattern, str):
        shown = arguments.show(pattern)
        raise TypeError(f'list_pretrained: pattern={shown} must be a text, such as "*mnist*".')
    if not isinstance(model, (str, type, type(None))):
        shown = arguments.show(model)
        raise TypeError(f'list_pretrained: model={shown} must be a class or its name, as "VAE".')
    wanted = model.__name__ if isinstance(model, type) else model
    known = describe()
    return [n for n in fnmatch.filter(known, pattern) if wanted in (None, known[n]["model"])]


class Presets:
    """An attribute of a class of models: the pretrained models of that class, by their names."""

    def __get__(self, model, cls):
        name = cls.__name__
        return {key: facts for key, facts in describe().items() if facts["model"] == name}
