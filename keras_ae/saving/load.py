"""The function that loads a model from an artifact or a `.keras` file."""

import contextlib
import warnings
from typing import TYPE_CHECKING, Any

import keras

from keras_ae.core import arguments, backend
from keras_ae.core.training import Loops
from keras_ae.core.types import Path
from keras_ae.saving import archive, manifest, objects
from keras_ae.saving.card import TRAINABLE
from keras_ae.saving.collection import find, list_pretrained

if TYPE_CHECKING:
    from keras_ae.autoencoder import Autoencoder


def load(
    path: Path, custom_objects: dict[str, Any] | None = None, max_bytes: int | None = None
) -> "Autoencoder":
    """Load a model, ready for `fit`, from a folder, a `.keras` file or the pretrained collection.

    Loading never runs code from the artifact.

    Args:
        path: A folder that `export` wrote, a `.keras` file, "hf://user/name@revision" of the
            Hugging Face Hub, or the name of a pretrained model, such as "vae_mnist". `load`
            searches for pretrained models in the directories that the environment variable
            KERAS_AE_SAVED_MODELS names, in `saved_models/` if this package runs from a checkout,
            and at the address in KERAS_AE_COLLECTION.
        custom_objects: Dictionary of name -> class or function of your own that is not registered.
            Defaults to None.
        max_bytes: Most bytes of memory that the parts of the file, and the weights of the model
            with those of its optimizer, may take. This limits what a small file can ask for.
            Defaults to None: 256 MB and 16 times the size of the file.

    Returns:
        The `keras_ae.Autoencoder`, with weights, optimizer and seeds.

    Raises:
        FileNotFoundError: If the artifact does not exist. The message lists the places that were
            searched.
        ValueError: If the artifact is damaged, was changed, or was not written by this package; if
            it names a class or function that is not registered, or makes no sense where it stands;
            or if it takes more memory than max_bytes.

    Example:

    >>> import numpy as np, tempfile, keras_ae
    >>> model = keras_ae.VAE(latent_dim=2)
    >>> codes = model.encode(np.zeros((4, 8), "float32"))
    >>> folder = tempfile.mkdtemp() + "/vae"
    >>> model.export(folder)
    >>> bool(np.all(keras_ae.load(folder).encode(np.zeros((4, 8), "float32")) == codes))
    True
    """
    if not isinstance(custom_objects, (dict, type(None))):
        raise TypeError(
            f"load: custom_objects={arguments.show(custom_objects)} must be a dictionary of names "
            "and your own classes and functions."
        )
    found = find(path)
    file = _find_trainable_file(found)
    if max_bytes is None:
        max_bytes = archive.limit_of(file)
    max_bytes = arguments.integer(None, "max_bytes", max_bytes)
    config, trained = archive.read(file, max_bytes)
    _check_objects(file, config, custom_objects or {})
    with _explain(found), archive.checked_weights(file, max_bytes):
        model = keras.saving.load_model(
            str(file), custom_objects=custom_objects, safe_mode=True, compile=trained
        )
        if not isinstance(model, Loops):
            raise archive.Refusal(
                f"load: {found} holds a {type(model).__name__}, which is not a keras_ae model. "
                "Load it with keras.saving.load_model."
            )
        # A model that was saved before its training has no optimizer state. `load_model` would warn
        # of this if it compiled the model, so the model is compiled here.
        if not trained and config.get("compile_config"):
            with keras.saving.custom_object_scope(custom_objects or {}):
                model.compile_from_config(config["compile_config"])
    return model


def load_as(cls, name, **kwargs):
    """Load a pretrained model, and raise if it is not of this class: see `Saved.from_preset`."""
    model = load(name, **kwargs)
    if not isinstance(model, cls):
        known = list_pretrained(model=cls)
        hint = f" {cls.__name__}.presets has {', '.join(known)}." if known else ""
        raise ValueError(
            f"{cls.__name__}.from_preset: {name!r} is a {type(model).__name__}. Load it with "
            f"keras_ae.load({name!r}).{hint}"
        )
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
    manifest.check(found)
    return file


def _check_objects(file, config, custom_objects):
    """Check that the classes and functions that a configuration names are known.

    Raises:
        ValueError: If one of them is not known, or makes no sense where it stands.
    """
    try:
        objects.check(config, custom_objects)
    except objects.Misplaced as error:
        raise archive.Refusal(
            f"load: {file} names {error} A file may not call it, because it does more than compute "
            "with tensors. Get the file from a source that you trust."
        ) from None
    except objects.Unregistered as error:
        raise archive.Refusal(
            f"load: {file} needs {error} Import the module that defines it first, or pass it in "
            "custom_objects. For safety, load imports nothing that a file names."
        ) from None
    except (TypeError, ValueError) as error:
        raise archive.Refusal(
            f"load: the configuration in {file} is not one that save wrote: "
            f"{_make_printable(str(error)[:200])}."
        ) from None
    name = config.get("registered_name")
    if keras.saving.get_registered_object(name, custom_objects) is None:
        found = str(config.get("class_name"))[:100]
        raise archive.Refusal(
            f"load: {file} holds a {found!r}, which is not a keras_ae model. Load it with "
            "keras.saving.load_model."
        )


# Keras and the backends raise these errors if a configuration or weights do not fit a model.
_MISFITS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    UserWarning,
    ValueError,
    *backend.ERRORS,
)


@contextlib.contextmanager
def _explain(found):
    """Say in one line that a file without damage holds no model that this version can make."""
    try:
        with warnings.catch_warnings():
            # If weights do not fit, Keras only warns and leaves the initial weights.
            warnings.simplefilter("error", UserWarning)
            yield
    except archive.Refusal:
        raise
    except _MISFITS as error:
        if str(error).startswith("load: "):  # There is too little memory, and the message says so.
            raise archive.Refusal(str(error)) from None
        raise archive.Refusal(
            f"load: {found} is complete, but it does not make a model here ({_reason(error)}). "
            "Another version of keras_ae or Keras wrote it, its own classes have changed, or it "
            "was edited. The card.json of an artifact names the versions."
        ) from error


def _reason(error):
    """Return the first line of what went wrong at first, which Keras wraps in errors of its own."""
    text, kind = str(error), type(error).__name__
    for introduction in ("Exception encountered: ", "Example error message for object "):
        _, found, rest = text.rpartition(introduction)
        if found:
            text = rest.partition("\n\n")[2] if introduction.startswith("Example") else rest
    lines = text.strip().splitlines()
    return f"{kind}: {_make_printable(lines[0][:300])}" if lines else kind


def _make_printable(text):
    """Replace characters that would control a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)
