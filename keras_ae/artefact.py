"""The artefact: one folder that TensorFlow serves and that `load` gives back as a model.

vae_mnist/
  saved_model.pb, variables/     what TensorFlow Serving reads
  assets.extra/model.keras       what `load` reads: configuration, weights, optimiser
  card.json                      what it is: model, data, figures, versions, licence, command
"""

import contextlib
import hashlib
import importlib.metadata
import inspect
import json
import os
import pathlib
import re
import stat
import warnings
import zipfile

import h5py
import keras
from keras import ops

from keras_ae.core import backend, storage
from keras_ae.core.seeds import RunSeed

LICENCE = "Apache-2.0"
DIRECTORY_VARIABLE = "KERAS_AE_SAVED_MODELS"
_TRAINABLE = pathlib.Path("assets.extra") / "model.keras"


def write(model, path, card, overwrite=False):
    """Write a model's folder beside its path, and move it there when it is whole.

    Args:
        model: A built `keras_ae.Autoencoder`.
        path: Path of the folder.
        card: Dictionary of facts that `card.json` adds to its own.
        overwrite: Whether an artifact that is there may be replaced.

    Raises:
        FileExistsError: If path exists and overwrite is False, or if it is not an artifact with
            nothing else in it.
        BlockingIOError: If another export to this path is under way.
        NotImplementedError: On the torch backend.
        ValueError: If the model holds code that cannot be saved as data, or the path begins with ~.
        OSError: If the disk refuses; what was there before is unharmed.
    """
    import tensorflow as tf

    _refuse_home_sign(path)
    _refuse_code(model)

    def check(place):
        _check_replaceable(place, overwrite, _not_an_artifact)

    with _as_os_error(path), storage.whole_folder(path, check) as partial:
        served = _served(model)
        signatures = {name: getattr(served, name) for name in _names(model)}
        signatures["serving_default"] = served.serve
        tf.saved_model.save(served, str(partial), signatures)
        (partial / _TRAINABLE).parent.mkdir()
        model.save(partial / _TRAINABLE)
        text = json.dumps({**_facts(model, partial / _TRAINABLE), **card}, indent=2)
        (partial / "card.json").write_text(text + "\n")


@contextlib.contextmanager
def whole_files(path, overwrite=False):
    """A place for the file of another format, and for those that its writer puts beside it.

    Args:
        path: The file.
        overwrite: Whether files that are there may be replaced.

    Yields:
        A string, the path to write to. What is written appears at `path` and beside it afterwards.

    Raises:
        FileExistsError: If a file exists and overwrite is False, or if it is not a file.
        BlockingIOError: If another export to this path is under way.
        ValueError: If the path begins with ~.
    """
    _refuse_home_sign(path)
    path = storage.real(path)
    _check_replaceable(path, overwrite, _not_a_file)
    with storage.exclusive(path) as workspace:
        new = workspace / "new"
        new.mkdir()
        yield str(new / path.name)
        written = {file: path.with_name(file.name) for file in sorted(new.iterdir())}
        for place in written.values():
            _check_replaceable(place, overwrite, _not_a_file)
        for file, place in written.items():
            os.replace(file, place)


@contextlib.contextmanager
def _as_os_error(path):
    import tensorflow as tf

    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        if isinstance(error, OSError) and error.errno is None:
            raise  # It is our own, and says all that there is to say.
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0][:200]
        raise OSError(
            f"export: {path} could not be written ({reason}); what was there before is unharmed. "
            "Free some space, or choose a place that can be written."
        ) from error


# ---------------------------------------------------------------------- what may be replaced

# All that `write` writes. TensorFlow makes `assets`, and puts nothing into it.
_FOLDERS = {"variables", "assets", "assets.extra"}
_FILES = re.compile(
    r"card\.json|saved_model\.pb|fingerprint\.pb|assets\.extra/model\.keras|"
    r"variables/variables\.(index|data-[0-9]{5}-of-[0-9]{5})"
)
_KEYS = {"model", "configuration", "data_shape", "endpoints", "versions", "sha256"}


def _refuse_home_sign(path):
    if os.path.expanduser(path) != os.fspath(path):
        raise ValueError(
            f"export: {os.fspath(path)!r} begins with ~, which is a shell's word for a home folder "
            "and a common name for Python. Pass os.path.expanduser(...) of it."
        )


def _check_replaceable(path, overwrite, obstacle):
    """Raise unless nothing is at a path, or what `obstacle` says nothing against may go."""
    if not os.path.lexists(path):
        return
    found = obstacle(path)
    if found:
        raise FileExistsError(
            f"export: {path} {found}. No export replaces that. Choose another path, or move away "
            "what is there."
        )
    if not overwrite:
        raise FileExistsError(
            f"export: {path} exists. Pass overwrite=True to replace it, or another path."
        )


def _not_a_file(path):
    """What is at a path, unless it is a file."""
    if path.is_symlink():
        return f"is a link to {os.readlink(path)}"
    return None if path.is_file() else "is a folder" if path.is_dir() else "is not a file"


def _not_an_artifact(path):
    """What is at a path, unless it is a folder that `write` wrote and nobody has added to."""
    if path.is_symlink():
        return f"is a link to {os.readlink(path)}"
    if not path.is_dir():
        return "is a file and not a folder"
    for name, place in {"working directory": os.curdir, "home folder": "~"}.items():
        with contextlib.suppress(FileNotFoundError):
            place = pathlib.Path(os.path.expanduser(place)).resolve()
            if any(os.path.samefile(path, folder) for folder in (place, *place.parents)):
                return f"is the {name} or above it"
    if os.path.ismount(path):
        return "is a mount point"
    if not _has_our_card(path):
        return "is a folder without the card.json of an artifact of keras_ae"
    for folder, folders, files in os.walk(path, onerror=_raise):
        for name in sorted(folders + files):
            entry = pathlib.Path(folder) / name
            known = entry.relative_to(path).as_posix()
            mode = entry.lstat().st_mode
            if not (
                (stat.S_ISDIR(mode) and known in _FOLDERS)
                or (stat.S_ISREG(mode) and _FILES.fullmatch(known))
            ):
                return f"holds {known}, which no export has written"
    return None


def _has_our_card(path):
    file = path / "card.json"
    if file.is_symlink() or not file.is_file():
        return False
    try:
        card = json.loads(file.read_text())
    except (ValueError, RecursionError):
        return False
    if not isinstance(card, dict) or not card.keys() >= _KEYS:
        return False
    return isinstance(card["sha256"], dict) and str(_TRAINABLE) in card["sha256"]


def _raise(error):
    raise error


# ---------------------------------------------------------------------- writing


def _served(model):
    """A module of what TensorFlow serves, whose endpoints are traced once, while it is written.

    Keras' `ExportArchive` traces them twice.
    """
    import tensorflow as tf

    model.prepare_sampling()
    module = tf.Module()
    module.weights, in_tensorflow = backend.servable(model)
    dtypes = {"seed": "int32", "z": model.code_dtype}
    for name, (function, arguments) in model.endpoints().items():
        setattr(module, name, _endpoint(in_tensorflow, function, arguments, dtypes))
    if not model.can_sample():
        return module

    # The number of samples travels as a batch axis, which JAX leaves unknown.
    def sample_like(rows, seed):
        return model.decode_draws(model.draws(ops.shape(rows)[0], seed))

    drawn = _endpoint(in_tensorflow, sample_like, {"rows": (None,), "seed": ()}, dtypes)

    def sample(num_samples, seed):
        return drawn(tf.zeros([num_samples]), seed)

    specs = [tf.TensorSpec((), tf.int32, name=name) for name in ("num_samples", "seed")]
    module.sample = tf.function(sample, input_signature=specs, autograph=False)
    return module


def _endpoint(in_tensorflow, function, arguments, dtypes):
    """A `tf.function` of a model's function; arguments: name -> shape; dtypes: if not float32."""
    import tensorflow as tf

    specs = [
        tf.TensorSpec(shape, dtypes.get(name, "float32"), name=name)
        for name, shape in arguments.items()
    ]

    def with_seed(first, seed):
        return function(first, RunSeed(ops.stack([seed, 0])))

    converted = in_tensorflow(with_seed if "seed" in arguments else function, specs)
    # TensorFlow names the inputs after the parameters.
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    converted.__signature__ = inspect.Signature([inspect.Parameter(n, kind) for n in arguments])
    return tf.function(converted, input_signature=specs, autograph=False)


def _names(model):
    return [*model.endpoints(), *(["sample"] if model.can_sample() else [])]


def _facts(model, trainable):
    packages = ("keras-ae", "keras", "tensorflow", "numpy")
    return {
        "model": type(model).__name__,
        "configuration": _readable(keras.saving.serialize_keras_object(model)["config"]),
        "data_shape": list(model.data_shape),
        "target_shape": list(model.target_shape),
        "latent_dim": model.latent_dim,
        "parameters": model.count_params(),
        "endpoints": _names(model),
        "backend": keras.config.backend(),
        "versions": {name: _version(name) for name in packages},
        "licence": LICENCE,
        "sha256": {str(_TRAINABLE): hashlib.sha256(trainable.read_bytes()).hexdigest()},
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


def _objects(config):
    """Every serialised object in a Keras configuration."""
    if isinstance(config, dict):
        if "class_name" in config:
            yield config
        for value in config.values():
            yield from _objects(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            yield from _objects(value)


def _refuse_code(model):
    """Raise if the model holds Python code, or a function that is found only by its name."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        config = keras.saving.serialize_keras_object(model)
    # The bytes of a lambda take several forms in a configuration; Keras warns of each.
    held = ["a lambda"] if any("lambda" in str(w.message) for w in caught) else []
    for found in _objects(config):
        name, module = found["class_name"], found.get("module")
        if name in ("Lambda", "__lambda__"):
            held.append("a lambda")
        if name == "function" and module not in (None, "builtins"):
            if keras.saving.get_registered_object(found["config"]) is None:
                held.append(f"the function {found['config']!r}")
    if held:
        raise ValueError(
            f"{type(model).__name__} holds {held[0]}, which can only be stored as code, and "
            "artefacts hold none. Write it as a class or function under "
            "@keras.saving.register_keras_serializable()."
        )


# ---------------------------------------------------------------------- loading


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
    from keras_ae.autoencoder import Autoencoder

    found = find(path)
    file = _trainable_file(found)
    config = _check_archive(file, custom_objects or {})
    with _explained(found):
        trained = _was_trained(file)
        model = keras.saving.load_model(
            file, custom_objects=custom_objects, safe_mode=True, compile=trained
        )
    if not isinstance(model, Autoencoder):
        raise ValueError(
            f"load: {found} holds a {type(model).__name__}, which is not a keras_ae model. "
            "keras.saving.load_model reads it."
        )
    # Keras would miss the state of an optimizer that had none when the file was written.
    if not trained and config.get("compile_config"):
        with _explained(found), keras.saving.custom_object_scope(custom_objects or {}):
            model.compile_from_config(config["compile_config"])
    return model


def directories():
    """Where pretrained models are looked for, in order."""
    named = os.environ.get(DIRECTORY_VARIABLE, "").split(os.pathsep)
    checkout = pathlib.Path(__file__).resolve().parent.parent / "saved_models"
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

    >>> from keras_ae import artefact
    >>> isinstance(artefact.pretrained(), list)
    True
    """
    cards = (card for d in directories() for card in d.glob("*/card.json"))
    return sorted({card.parent.name for card in cards})


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


def _trainable_file(found):
    if not found.is_dir():
        return found
    file = found / _TRAINABLE
    if not file.is_file():
        if (found / "metadata.json").is_file():
            raise ValueError(
                f"load: {found} is a folder as save(zipped=False) writes it. "
                "keras.saving.load_model reads it."
            )
        kind = "a SavedModel" if (found / "saved_model.pb").is_file() else "a folder"
        raise ValueError(
            f"load: {found} is {kind} without {_TRAINABLE}, so that it was not written by "
            "keras_ae's export, or not wholly. tf.saved_model.load reads any SavedModel."
        )
    expected = read_card(found).get("sha256", {}).get(str(_TRAINABLE))
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
    for found in _objects(config):
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
