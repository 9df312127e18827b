"""What an artifact is, for people and programs: its `card.json`."""

import hashlib
import importlib.metadata
import json
import pathlib

import keras

from keras_ae.saving.collection import find

LICENCE = "Apache-2.0"
# What `load` reads, in an artifact's folder.
TRAINABLE = pathlib.Path("assets.extra") / "model.keras"


def facts(model, trainable, endpoints):
    """What the card of an exported model says by itself.

    Args:
        model: The model.
        trainable: Path of the file that `load` reads.
        endpoints: List of the names of what is served.
    """
    packages = ("keras-ae", "keras", "tensorflow", "numpy")
    return {
        "model": type(model).__name__,
        "configuration": _readable(keras.saving.serialize_keras_object(model)["config"]),
        "data_shape": list(model.data_shape),
        "target_shape": list(model.target_shape),
        "latent_dim": model.latent_dim,
        "parameters": model.count_params(),
        "endpoints": endpoints,
        "backend": keras.config.backend(),
        "versions": {name: _version(name) for name in packages},
        "licence": LICENCE,
        "sha256": {str(TRAINABLE): hashlib.sha256(trainable.read_bytes()).hexdigest()},
    }


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None  # A checkout on the path, not installed.


def _readable(config):
    """A Keras configuration for people: objects by their class's name, functions by their own."""
    if isinstance(config, (list, tuple)):
        return [_readable(value) for value in config]
    if not isinstance(config, dict):
        return config
    if "class_name" in config:
        if config["class_name"] == "DTypePolicy":
            return config["config"]["name"]
        return config["config"] if config["class_name"] == "function" else config["class_name"]
    return {name: _readable(value) for name, value in config.items()}


def objects(config):
    """Every serialised object in a Keras configuration."""
    if isinstance(config, dict):
        if "class_name" in config:
            yield config
        for value in config.values():
            yield from objects(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            yield from objects(value)


def read_card(path):
    """The `card.json` of an exported folder, or an empty dictionary if there is none.

    Args:
        path: Folder, or the name of a pretrained model.

    Raises:
        ValueError: If the card is not JSON.
    """
    file = find(path) / "card.json"
    if not file.is_file():
        return {}
    try:
        card = json.loads(file.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"load: {file} is not valid JSON ({error}). Export it again.") from None
    if not isinstance(card, dict):
        raise ValueError(f"load: {file} is a JSON {type(card).__name__} and not a dictionary.")
    return card
