"""A model from an artifact or a `.keras` file, without running any code in it."""

import contextlib
import hashlib
import json
import warnings
import zipfile

import h5py
import keras

from keras_ae.core.training import Loops
from keras_ae.saving.card import TRAINABLE, objects, read_card
from keras_ae.saving.collection import find


def load(path, custom_objects=None):
    """A model, ready for `fit`, from an exported folder, a `.keras` file or a pretrained name.

    No code in the artefact is ever run.

    Args:
        path: Folder that `export` wrote, `.keras` file, or the name of a folder in
            `saved_models/`, looked for in the directories of the environment variable
            KERAS_AE_SAVED_MODELS and in the checkout that this package runs from.
        custom_objects: Dictionary of name -> class for layers of your own that are not registered.

    Returns:
        The `keras_ae.Autoencoder`, with weights, optimiser and seeds.

    Raises:
        FileNotFoundError: If there is no such artefact; the message says where was looked.
        ValueError: If it is damaged, was changed, or is not one of this package's.

    Example:

    >>> import numpy as np, tempfile, keras_ae
    >>> model = keras_ae.VAE(latent_dim=2)
    >>> codes = model.encode(np.zeros((4, 8), "float32"))
    >>> folder = tempfile.mkdtemp() + "/vae"
    >>> model.export(folder)
    >>> bool(np.all(keras_ae.load(folder).encode(np.zeros((4, 8), "float32")) == codes))
    True
    """
    found = find(path)
    file = _trainable_file(found)
    config = _check_archive(file, custom_objects or {})
    with _explained(found):
        trained = _was_trained(file)
        model = keras.saving.load_model(
            file, custom_objects=custom_objects, safe_mode=True, compile=trained
        )
    if not isinstance(model, Loops):
        raise ValueError(
            f"load: {found} holds a {type(model).__name__}, which is not a keras_ae model. "
            "keras.saving.load_model reads it."
        )
    # Keras would miss the state of an optimizer that had none when the file was written.
    if not trained and config.get("compile_config"):
        with _explained(found), keras.saving.custom_object_scope(custom_objects or {}):
            model.compile_from_config(config["compile_config"])
    return model


def _trainable_file(found):
    if not found.is_dir():
        return found
    file = found / TRAINABLE
    if not file.is_file():
        if (found / "metadata.json").is_file():
            raise ValueError(
                f"load: {found} is a folder as save(zipped=False) writes it. "
                "keras.saving.load_model reads it."
            )
        kind = "a SavedModel" if (found / "saved_model.pb").is_file() else "a folder"
        raise ValueError(
            f"load: {found} is {kind} without {TRAINABLE}, so that it was not written by "
            "keras_ae's export, or not wholly. tf.saved_model.load reads any SavedModel."
        )
    expected = read_card(found).get("sha256", {}).get(str(TRAINABLE))
    if expected and hashlib.sha256(file.read_bytes()).hexdigest() != expected:
        raise ValueError(
            f"load: {file} is not the file that card.json describes: its checksum differs. It was "
            "damaged or changed after the export; get a fresh copy."
        )
    return file


def _check_archive(file, custom_objects):
    """The configuration of a whole Keras archive whose classes are known here; else it raises."""
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
            config = json.loads(archive.read("config.json")) if damaged is None else None
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
        raise ValueError(
            f"load: {file} is not a whole .keras archive ({error}). It was cut short, or is "
            "another kind of file; get a fresh copy."
        ) from None
    if damaged is not None:
        raise ValueError(f"load: {damaged} in {file} is damaged. Get a fresh copy.")
    for found in objects(config):
        module = str(found.get("module") or "builtins")
        registered = found.get("registered_name") or found["class_name"]
        known = (
            module.split(".")[0] in ("keras", "builtins")
            or keras.saving.get_registered_object(registered, custom_objects) is not None
        )
        if not known:
            raise ValueError(
                f"load: {file} needs the class {registered!r} of {module!r}, which is not "
                "registered here. Import the module that defines it first, or pass it in "
                "custom_objects; nothing is imported on an artefact's word."
            )
    return config


def _was_trained(file):
    """Whether an archive holds the state of an optimizer, which is more than single numbers."""
    shapes = []
    with (
        zipfile.ZipFile(file) as archive,
        archive.open("model.weights.h5") as opened,
        h5py.File(opened) as weights,
    ):
        if "optimizer" in weights:
            weights["optimizer"].visititems(
                lambda _, item: shapes.append(getattr(item, "shape", ()))
            )
    return any(shapes)


@contextlib.contextmanager
def _explained(found):
    try:
        with warnings.catch_warnings():
            # Keras only warns of weights that it could not place, and goes on with random ones.
            warnings.simplefilter("error", UserWarning)
            yield
    except (
        ValueError,
        TypeError,
        KeyError,
        OSError,
        AttributeError,
        IndexError,
        ImportError,
        UserWarning,
    ) as error:
        first_line = str(error).strip().splitlines()[0][:300] if str(error).strip() else ""
        raise ValueError(
            f"load: {found} cannot be read ({type(error).__name__}: {first_line}). It was damaged "
            "or changed, or written by another version; its card.json names the versions."
        ) from error
