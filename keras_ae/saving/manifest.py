"""The `manifest.json` of an artifact, with the size and the hash of every other file in it.

The manifest shows that files were damaged or exchanged on their way. Whoever changes a file on
purpose can write a new manifest, so it says nothing about who made an artifact.
"""

import hashlib
import json
import pathlib

from keras_ae.core.types import Path
from keras_ae.saving import archive
from keras_ae.saving.card import MANIFEST, TRAINABLE, read_card
from keras_ae.saving.collection import find


def write(folder):
    """Write the manifest of a folder that is otherwise complete."""
    files = {
        file.relative_to(folder).as_posix(): _describe(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    (folder / MANIFEST).write_text(json.dumps({"files": files}, indent=2) + "\n")


def _describe(file):
    with open(file, "rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return {"bytes": file.stat().st_size, "sha256": digest}


def check(folder):
    """Check the files of an artifact against its manifest.

    Artifacts from before 27 November 2026 have no manifest. Their card has the hash of one file.

    Args:
        folder: `pathlib.Path` of the artifact.

    Returns:
        Names of the files that were checked, a list.

    Raises:
        ValueError: If a file is missing, or has another size or hash.
    """
    expected = _read(folder)
    for name, facts in expected.items():
        file = folder / name
        if not file.is_file():
            raise archive.Refusal(
                f"load: {folder} has no {name}, which its manifest lists. Get a fresh copy."
            )
        differs = None
        if file.stat().st_size != facts.get("bytes", file.stat().st_size):
            differs = "size"
        elif _describe(file)["sha256"] != facts["sha256"]:
            differs = "checksum"
        if differs:
            raise archive.Refusal(
                f"load: {file} does not have the {differs} that was recorded when it was written. "
                "The file was damaged or changed after the export. Get a fresh copy."
            )
    return list(expected)


def _read(folder):
    """Return what the manifest or the card records of files: name -> dictionary."""
    file = folder / MANIFEST
    if file.is_file():
        found = archive.read_json(file).get("files")
    else:
        card = read_card(folder)
        if MANIFEST in str(card.get("manifest")):
            raise archive.Refusal(
                f"load: {folder} has no {MANIFEST}, which its card.json names. Get a fresh copy."
            )
        found = card.get("sha256", {})
        if isinstance(found, dict):
            found = {name: {"sha256": value} for name, value in found.items()}
    valid = isinstance(found, dict) and all(
        isinstance(facts, dict) and isinstance(facts.get("sha256"), str) and _is_inside(name)
        for name, facts in found.items()
    )
    if not valid or (file.is_file() and TRAINABLE.as_posix() not in found):
        raise archive.Refusal(
            f"load: the list of files and checksums in {folder} is not one that export wrote. Get "
            "a fresh copy."
        )
    return found


def _is_inside(name):
    path = pathlib.PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in name


def verify(path: Path) -> list[str]:
    """Check that an artifact or a `.keras` file is complete and was not damaged.

    The check finds damage. It does not show who wrote the files, because whoever changes them on
    purpose can write a new manifest.

    Args:
        path: A folder that `export` wrote, a `.keras` file, or the name of a pretrained model.

    Returns:
        Names of the files that were checked, a list.

    Raises:
        FileNotFoundError: If there is nothing at the path.
        ValueError: If a file is missing, damaged, or not listed in the manifest.

    Example:

    >>> import numpy as np, tempfile, keras_ae
    >>> from keras_ae import saving
    >>> model = keras_ae.VAE(latent_dim=2)
    >>> codes = model.encode(np.zeros((4, 8), "float32"))
    >>> path = tempfile.mkdtemp() + "/vae.keras"
    >>> model.save(path)
    >>> saving.verify(path)
    ['vae.keras']
    """
    found = find(path)
    if not found.is_dir():
        archive.read(found, archive.limit_of(found))
        return [found.name]
    checked = check(found)
    if (found / MANIFEST).is_file():
        here = {file.relative_to(found).as_posix() for file in found.rglob("*") if file.is_file()}
        others = sorted(here - {*checked, MANIFEST})
        if others:
            raise archive.Refusal(
                f"load: {found} holds {others[0]}, which its manifest does not list. Remove it, or "
                "get a fresh copy."
            )
    if TRAINABLE.as_posix() not in checked:
        raise archive.Refusal(
            f"load: {found} records no checksums, so it is no artifact of keras_ae, or a part is "
            "missing."
        )
    archive.read(found / TRAINABLE, archive.limit_of(found / TRAINABLE))
    return checked
