"""The `card.json` of an artifact, which describes it to people and programs."""

import hashlib
import importlib.metadata
import pathlib
from typing import Any

import keras

from keras_ae.core import examples
from keras_ae.core.types import Path
from keras_ae.saving.archive import read_json
from keras_ae.saving.collection import find

# These are the files in an artifact's folder that `load` reads.
TRAINABLE = pathlib.PurePosixPath("assets.extra/model.keras")
MANIFEST = "manifest.json"


def facts(model, trainable, endpoints):
    """Collect what the card of an exported model says without the user's entries.

    Args:
        model: The model.
        trainable: Path of the file that `load` reads.
        endpoints: List of the names of the served functions.

    Returns:
        Dictionary.
    """
    packages = ("keras-ae", "keras", "tensorflow", "numpy")
    return {
        "model": type(model).__name__,
        "configuration": _make_readable(keras.saving.serialize_keras_object(model)["config"]),
        **describe_shapes(model),
        "latent_dim": model.latent_dim,
        "parameters": model.count_params(),
        "endpoints": endpoints,
        "sampler": type(examples.sampler_of(model)).__name__ if "sample" in endpoints else None,
        "backend": keras.config.backend(),
        "versions": {name: _find_version(name) for name in packages},
        "sha256": {str(TRAINABLE): hashlib.sha256(trainable.read_bytes()).hexdigest()},
        "manifest": MANIFEST,
    }


def describe_shapes(model):
    """Describe the shapes of the data, the targets and the named inputs of a model."""
    shapes = {"data_shape": model._data_shape, "target_shape": model._target_shape}
    if model._extra_shapes:
        shapes["inputs"] = model._extra_shapes
    return {name: examples.map_leaves(list, shape) for name, shape in shapes.items()}


def _find_version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None  # The package runs from a checkout and is not installed.


def _make_readable(config):
    """Simplify a Keras configuration for people, with the names of classes and functions."""
    if isinstance(config, (list, tuple)):
        return [_make_readable(value) for value in config]
    if not isinstance(config, dict):
        return config
    if "class_name" in config:
        if config["class_name"] == "DTypePolicy":
            return config["config"]["name"]
        return config["config"] if config["class_name"] == "function" else config["class_name"]
    return {name: _make_readable(value) for name, value in config.items()}


def rename_old_keys(card):
    """Rename "licence" in a card to "license". Cards from before 27 November 2026 say the former.

    Args:
        card: Dictionary, which is not changed.

    Returns:
        Dictionary.
    """
    return {"license" if name == "licence" else name: value for name, value in card.items()}


def read_card(path: Path) -> dict[str, Any]:
    """Read the `card.json` of an exported folder.

    Args:
        path: Folder, or the name of a pretrained model.

    Returns:
        Dictionary, which is empty if there is no card.

    Raises:
        ValueError: If the card is not JSON, not a dictionary, or larger than 16 MB.
    """
    file = find(path) / "card.json"
    if not file.is_file():
        return {}
    return rename_old_keys(read_json(file))
