"""Artifacts in repositories of the Hugging Face Hub, which `hf://user/name@revision` names."""

import pathlib
import re

PREFIX = "hf://"
_ADDRESS = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
# A repository may hold other files, which are not downloaded.
_FILES = ("*.json", "*.pb", "variables/*", "assets/*", "assets.extra/*")


def parse(call, address):
    """Return the repository and the revision, or None, that an address names."""
    found = _ADDRESS.fullmatch(address)
    if not found:
        raise ValueError(
            f"{call}: {address[:200]!r} is no address of a repository. Write hf://user/name, or "
            "hf://user/name@revision for a branch, a tag or a commit."
        )
    return found.groups()


def import_hub(call):
    """Return the package huggingface_hub, or raise an error that says how to install it."""
    try:
        import huggingface_hub
    except ImportError:
        raise ImportError(
            f"{call}: addresses that begin with {PREFIX} need the package huggingface_hub. Install "
            "it with pip install keras-ae[hub]."
        ) from None
    return huggingface_hub


def download(address):
    """Download an artifact from the Hub, or take it from the cache. Return its folder.

    Args:
        address: "hf://user/name" or "hf://user/name@revision".

    Raises:
        ValueError: If the address is wrong.
        FileNotFoundError: If the Hub cannot be reached, or has no such repository or revision.
        ImportError: If huggingface_hub is not installed.
    """
    repository, revision = parse("load", address)
    hub = import_hub("load")
    try:
        folder = hub.snapshot_download(repository, revision=revision, allow_patterns=_FILES)
    except (hub.errors.HfHubHTTPError, hub.errors.LocalEntryNotFoundError) as error:
        lines = str(error).strip().splitlines()
        raise FileNotFoundError(
            f"load: {address} cannot be downloaded: {lines[0][:300] if lines else error!r}"
        ) from error
    return pathlib.Path(folder)
