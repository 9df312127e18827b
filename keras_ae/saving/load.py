"""The function that loads a model from an artifact or a `.keras` file."""

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
    """Load a model, ready for `fit`, from a folder, a `.keras` file or the pretrained collection.

    Loading never runs code from the artifact.

    Args:
        path: A folder that `export` wrote, a `.keras` file, or the name of a pretrained model.
            `load` searches for pretrained models in the directories that the environment variable
            KERAS_AE_SAVED_MODELS names, and in `saved_models/` if this package runs from a
            checkout.
        custom_objects: Dictionary of name -> class of your own layers that are not registered.
            Defaults to None.

    Returns:
        The `keras_ae.Autoencoder`, with weights, optimizer and seeds.

    Raises:
        FileNotFoundError: If the artifact does not exist. The message lists the places that were
            searched.
        ValueError: If the artifact is damaged, was changed, or was not written by this package.

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
    file = _find_trainable_file(found)
    config = _check_archive(file, custom_objects or {})
    with _explain_damage(found):
        trained = _was_trained(file)
        model = keras.saving.load_model(
            file, custom_objects=custom_objects, safe_mode=True, compile=trained
        )
    if not isinstance(model, Loops):
        raise ValueError(
            f"load: {found} holds a {type(model).__name__}, which is not a keras_ae model. Load it "
            "with keras.saving.load_model."
        )
    # A model that was saved before its training has no optimizer state. `load_model` would warn of
    # this if it compiled the model, so the model is compiled here.
    if not trained and config.get("compile_config"):
        with _explain_damage(found), keras.saving.custom_object_scope(custom_objects or {}):
            model.compile_from_config(config["compile_config"])
    return model


def _find_trainable_file(found):
    if not found.is_dir():
        return found
    file = found / TRAINABLE
    if not file.is_file():
        if (found / "metadata.json").is_file():
            raise ValueError(
                f"load: {found} is a folder that save(zipped=False) wrote. Load it with "
                "keras.saving.load_model."
            )
        kind = "a SavedModel" if (found / "saved_model.pb").is_file() else "a folder"
        raise ValueError(
            f"load: {found} is {kind} without {TRAINABLE}. Either it was not written by export of "
            "keras_ae, or a part is missing. Load other SavedModels with tf.saved_model.load."
        )
    expected = read_card(found).get("sha256", {}).get(str(TRAINABLE))
    if expected and hashlib.sha256(file.read_bytes()).hexdigest() != expected:
        raise ValueError(
            f"load: {file} does not have the checksum that card.json records. The file was damaged "
            "or changed after the export. Get a fresh copy."
        )
    return file


def _check_archive(file, custom_objects):
    """Check that a `.keras` file is complete and its classes are known. Return its configuration.

    Raises:
        ValueError: If the file is damaged, or a class is not known.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            damaged = archive.testzip()
            config = json.loads(archive.read("config.json")) if damaged is None else None
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
        raise ValueError(
            f"load: {file} is not a complete .keras file ({error}). A part is missing, or it is "
            "another kind of file. Get a fresh copy."
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
                "registered here. Import the module that defines it first, or pass the class in "
                "custom_objects. For safety, load imports nothing that a file names."
            )
    return config


def _was_trained(file):
    """Tell whether a `.keras` file holds the optimizer's state of a trained model.

    Before training, the state of an optimizer consists of scalars.
    """
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
def _explain_damage(found):
    try:
        with warnings.catch_warnings():
            # If weights do not fit, Keras only warns and leaves the initial weights.
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
            f"load: {found} cannot be read ({type(error).__name__}: {first_line}). The file was "
            "damaged or changed, or another version wrote it. The card.json of an artifact names "
            "the versions."
        ) from error
