"""The artefact: one folder that TensorFlow serves and that `load` gives back as a model.

vae_mnist/
  saved_model.pb, variables/     what TensorFlow Serving reads
  assets.extra/model.keras       what `load` reads: configuration, weights, optimiser
  card.json                      what it is: model, data, figures, versions, licence, command
"""

import contextlib
import inspect
import json
import os
import pathlib
import re
import stat
import warnings

import keras
from keras import ops

from keras_ae.core import backend, storage
from keras_ae.core.seeds import RunSeed
from keras_ae.saving.card import TRAINABLE, facts, objects


def write(model, path, card, overwrite=False, **unknown):
    """Write a model's folder beside its path, and move it there when it is whole.

    Args:
        model: A built `keras_ae.Autoencoder`.
        path: Path of the folder.
        card: Dictionary of facts that `card.json` adds to its own.
        overwrite: Whether an artifact that is there may be replaced.
        **unknown: Options of other formats, which are refused.

    Raises:
        TypeError: If there are options of other formats.
        FileExistsError: If path exists and overwrite is False, or if it is not an artifact with
            nothing else in it.
        BlockingIOError: If another export to this path is under way.
        NotImplementedError: On the torch backend.
        ValueError: If the model holds code that cannot be saved as data, or the path begins with ~.
        OSError: If the disk refuses; what was there before is unharmed.
    """
    if unknown:
        raise TypeError(f"export: unknown arguments {', '.join(unknown)} for 'tf_saved_model'.")
    import tensorflow as tf

    _refuse_home_sign(path)
    _refuse_code(model)

    def check(place):
        _check_replaceable(place, overwrite, _not_an_artifact)

    with _as_os_error(path), storage.whole_folder(path, check) as partial:
        served = _served(model)
        endpoints = _names(model)
        signatures = {name: getattr(served, name) for name in endpoints}
        signatures["serving_default"] = served.serve
        tf.saved_model.save(served, str(partial), signatures)
        (partial / TRAINABLE).parent.mkdir()
        model.save(partial / TRAINABLE)
        card = {**facts(model, partial / TRAINABLE, endpoints), **card}
        (partial / "card.json").write_text(json.dumps(card, indent=2) + "\n")


def write_other(model, write, path, format, overwrite=False, **options):
    """Write a model in another format than the artifact's.

    Args:
        model: A built `keras_ae.Autoencoder`.
        write: Keras' `export` of it.
        path: Path of the file.
        format: Name of the format.
        overwrite: Whether files that are there may be replaced.
        **options: For the format.
    """
    # Keras would take `build`'s two shapes for two inputs.
    one_input = keras.InputSpec(dtype="float32", shape=(None, *model.data_shape), name="x")
    options = {"input_signature": [one_input], "verbose": False, **options}
    with whole_files(path, overwrite) as partial:
        model(keras.KerasTensor(one_input.shape))
        return write(partial, format=format, **options)


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
    return isinstance(card["sha256"], dict) and str(TRAINABLE) in card["sha256"]


def _raise(error):
    raise error


# ---------------------------------------------------------------------- writing


def _served(model):
    """A module of what TensorFlow serves, whose endpoints are traced once, while it is written.

    Keras' `ExportArchive` traces them twice.
    """
    import tensorflow as tf

    if model.sampler.ready():
        model.sampler.prepare()
    module = tf.Module()
    module.weights, in_tensorflow = backend.servable(model)
    dtypes = {"seed": "int32", "z": model._code_dtype}
    for name, (function, arguments) in model._endpoints().items():
        setattr(module, name, _endpoint(in_tensorflow, function, arguments, dtypes))
    if not model.sampler.ready():
        return module

    # The number of samples travels as a batch axis, which JAX leaves unknown.
    def sample_like(rows, seed):
        return model._decode_drawn(model.sampler.sample(ops.shape(rows)[0], seed))

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


def endpoints_of(model):
    """What every exported model serves: name -> (function, {argument: shape})."""
    x, z = (None, *model.data_shape), (None, *model.code_shape)
    return {
        "serve": (lambda x: model.reconstruct(x), {"x": x}),
        "encode": (lambda x: model.encode(x), {"x": x}),
        "decode": (lambda z: model.decode(z), {"z": z}),
    }


def _names(model):
    return [*model._endpoints(), *(["sample"] if model.sampler.ready() else [])]


def _refuse_code(model):
    """Raise if the model holds Python code, or a function that is found only by its name."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        config = keras.saving.serialize_keras_object(model)
    # The bytes of a lambda take several forms in a configuration; Keras warns of each.
    held = ["a lambda"] if any("lambda" in str(w.message) for w in caught) else []
    for found in objects(config):
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
