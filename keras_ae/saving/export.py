"""Functions that write artifacts, folders that TensorFlow serves and `load` reads.

vae_mnist/
  saved_model.pb, variables/     TensorFlow Serving reads these
  assets.extra/model.keras       `load` reads this: configuration, weights, optimizer
  manifest.json                  the sizes and hashes of all other files
  card.json                      people read this: model, data, figures, versions, license, command
"""

import contextlib
import inspect
import json
import os
import pathlib
import re
import stat

from keras import ops

from keras_ae.core import adaptation, backend, examples, storage
from keras_ae.core.arguments import choice, show
from keras_ae.core.draws import GivenNumbers, decode_draws
from keras_ae.core.seeds import RunSeed
from keras_ae.saving import formats, manifest, objects
from keras_ae.saving.card import TRAINABLE, facts, rename_old_keys
from keras_ae.saving.served_checks import make_check


def write(model, path, card, overwrite=False, more=None, **unknown):
    """Export a model as a folder, which appears at its path only when it is complete.

    Args:
        model: A built `keras_ae.Autoencoder`.
        path: Path of the folder.
        card: Dictionary of the user's own entries for `card.json`.
        overwrite: Whether an artifact at the path may be replaced.
        more: Dictionary of endpoints besides the model's own: name -> (function, {argument:
            shape}). Defaults to None.
        **unknown: Options of other formats, which are refused.

    Raises:
        TypeError: If there are options of other formats.
        FileExistsError: If the path exists and overwrite is False, or if it holds anything that
            `export` did not write.
        BlockingIOError: If another export to this path is running.
        NotImplementedError: On the torch backend.
        ValueError: If the model holds what `load` would refuse, if the path begins with ~, or if
            it is the name of a file of another format.
        OSError: If the folder cannot be written. What was at the path before is then unchanged.
    """
    if unknown:
        raise TypeError(f"export: format='tf_saved_model' does not take {', '.join(unknown)}.")
    import tensorflow as tf

    storage.refuse_home_sign(path, "export")
    format = _FORMAT_OF.get(pathlib.Path(path).suffix)
    if format is not None:
        raise ValueError(
            f"export: {os.fspath(path)!r} is the name of a file, and format='tf_saved_model' "
            f"writes a folder. Choose format={format!r}, or another name."
        )
    objects.refuse_unloadable(model, "export")

    def check(place):
        _check_replaceable(place, overwrite, _describe_other_than_artifact)

    with _raise_os_error(path), storage.whole_folder(path, check) as partial:
        served = _make_served(model, more or {})
        endpoints = [*_list_endpoints(model), *(more or {})]
        signatures = {name: _name_output(name, getattr(served, name)) for name in endpoints}
        signatures["serving_default"] = signatures["serve"]
        tf.saved_model.save(served, str(partial), signatures)
        (partial / TRAINABLE).parent.mkdir()
        model.save(partial / TRAINABLE)
        card = {**facts(model, partial / TRAINABLE, endpoints), **rename_old_keys(card)}
        (partial / "card.json").write_text(json.dumps(card, indent=2) + "\n")
        manifest.write(partial)


ENDPOINTS = ("reconstruct", "encode", "decode", "sample")


def check_arguments(path, card):
    """Raise unless `export` got a path, and a dictionary or nothing as its card."""
    storage.check_path(path, "export")
    if card is not None and not isinstance(card, dict):
        raise TypeError(f"export: card={show(card)} must be a dictionary of facts.")


def refuse_endpoint(endpoint):
    """Raise an error if a single endpoint was asked of the format that has all of them."""
    if endpoint is not None:
        raise ValueError(
            f"export: endpoint={endpoint!r} is for other formats. The folder of "
            "format='tf_saved_model' has all endpoints."
        )


def write_other(model, write, path, format, endpoint=None, overwrite=False, **options):
    """Write one endpoint of a model in another format of Keras, such as LiteRT or ONNX.

    Args:
        model: A built `keras_ae.Autoencoder`.
        write: `keras.Model.export`.
        path: Path of the file.
        format: Name of the format.
        endpoint: One of `ENDPOINTS`. Defaults to None, for "reconstruct".
        overwrite: Whether existing files may be replaced.
        **options: Options of the format.

    Raises:
        FileExistsError: See `whole_files`.
        ImportError: If a package that writes or runs the format is not installed.
        NotImplementedError: If the backend or the format cannot have the endpoint.
        ValueError: If the format or the endpoint is unknown, or the model cannot sample yet.
    """
    endpoint = choice("export", "endpoint", endpoint or "reconstruct", ENDPOINTS)
    formats.check_format(format, path)
    if endpoint == "sample":
        if not examples.sampler_of(model).ready():
            raise ValueError(
                f"export: endpoint='sample': {type(model).__name__} cannot sample yet. Train it, "
                "or call fit_prior."
            )
        function, shapes = _sample_from_numbers(model)
    else:
        name = "serve" if endpoint == "reconstruct" else endpoint
        function, shapes = model._endpoints()[name]
    with whole_files(path, overwrite) as partial:
        formats.write_endpoint(model, endpoint, function, shapes, partial, format, write, **options)


@contextlib.contextmanager
def whole_files(path, overwrite=False):
    """Write a file so that it appears at its path only when it is complete.

    The writer may put other files next to it, which appear in the same way.

    Args:
        path: Path of the file.
        overwrite: Whether existing files may be replaced.

    Yields:
        The temporary path to write to, a string. Afterwards, all files that were written in its
        folder are moved to the folder of `path`.

    Raises:
        FileExistsError: If one of the files exists and overwrite is False, or if there is a folder
            or a link at its path.
        BlockingIOError: If another export to this path is running.
        ValueError: If the path begins with ~.
    """
    storage.refuse_home_sign(path, "export")
    path = storage.real(path)
    _check_replaceable(path, overwrite, _describe_other_than_file)
    with storage.exclusive(path) as workspace:
        new = workspace / "new"
        new.mkdir()
        yield str(new / path.name)
        written = {file: path.with_name(file.name) for file in sorted(new.iterdir())}
        for place in written.values():
            _check_replaceable(place, overwrite, _describe_other_than_file)
        for file, place in written.items():
            os.replace(file, place)


@contextlib.contextmanager
def _raise_os_error(path):
    import tensorflow as tf

    try:
        yield
    except (OSError, tf.errors.OpError) as error:
        if isinstance(error, OSError) and error.errno is None:
            raise  # Errors of this package have no errno. Their messages need no addition.
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0][:200]
        raise OSError(
            f"export: {path} could not be written ({reason}). What was there before is unchanged. "
            "Free some space, or choose a folder that you may write to."
        ) from error


# ---------------------------------------------------------------------- what may be replaced

# These are all folders and files that `write` makes. TensorFlow makes `assets` but leaves it empty.
_FOLDERS = {"variables", "assets", "assets.extra"}
_FILES = re.compile(
    r"card\.json|manifest\.json|saved_model\.pb|fingerprint\.pb|assets\.extra/model\.keras|"
    r"variables/variables\.(index|data-[0-9]{5}-of-[0-9]{5})"
)
_FORMAT_OF = {".onnx": "onnx", **{suffix: name for name, suffix in formats.SUFFIXES.items()}}
_KEYS = {"model", "configuration", "data_shape", "endpoints", "versions", "sha256"}


def _check_replaceable(path, overwrite, describe_obstacle):
    """Raise an error if something is at a path and may not be replaced.

    Args:
        path: The path.
        overwrite: Whether anything may be replaced.
        describe_obstacle: Function of the path that describes what is there if it may never be
            replaced, and returns None otherwise.
    """
    if not os.path.lexists(path):
        return
    obstacle = describe_obstacle(path)
    if obstacle:
        raise FileExistsError(
            f"export: {path} {obstacle}, and export replaces only its own files. Choose another "
            "path, or move away what is there."
        )
    if not overwrite:
        raise FileExistsError(
            f"export: {path} exists. Pass overwrite=True to replace it, or another path."
        )


def _describe_other_than_file(path):
    """Describe what is at a path, or return None if it is a file."""
    if path.is_symlink():
        return f"is a link to {os.readlink(path)}"
    return None if path.is_file() else "is a folder" if path.is_dir() else "is not a file"


def _describe_other_than_artifact(path):
    """Describe what is at a path, or return None if it is an artifact without other files."""
    if path.is_symlink():
        return f"is a link to {os.readlink(path)}"
    if not path.is_dir():
        return "is a file and not a folder"
    for name, place in {"working directory": os.curdir, "home folder": "~"}.items():
        with contextlib.suppress(FileNotFoundError):
            place = pathlib.Path(os.path.expanduser(place)).resolve()
            if any(os.path.samefile(path, folder) for folder in (place, *place.parents)):
                return f"is or contains the {name}"
    if os.path.ismount(path):
        return "is a mount point"
    if not _has_our_card(path):
        return "is a folder without the card.json of an artifact of keras_ae"
    for folder, folders, files in os.walk(path, onerror=_raise_error):
        for name in sorted(folders + files):
            entry = pathlib.Path(folder) / name
            known = entry.relative_to(path).as_posix()
            mode = entry.lstat().st_mode
            if not (
                (stat.S_ISDIR(mode) and known in _FOLDERS)
                or (stat.S_ISREG(mode) and _FILES.fullmatch(known))
            ):
                return f"holds {known}, which export did not write"
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


def _raise_error(error):
    raise error


# ---------------------------------------------------------------------- writing


def _make_served(model, more):
    """Make a `tf.Module` of the functions that TensorFlow serves, the model's own and more.

    Keras' `ExportArchive` would trace the functions twice. They are traced only once here, when the
    module is saved.
    """
    import tensorflow as tf

    if examples.sampler_of(model).ready():
        examples.sampler_of(model).prepare()
    module = tf.Module()
    module.weights, in_tensorflow = backend.servable(model)
    dtypes = {"seed": "int32", "z": model._code_dtype, **examples.dtypes_of(model)}
    for name, (function, arguments) in {**model._endpoints(), **more}.items():
        endpoint = _make_endpoint(model, name, in_tensorflow, function, arguments, dtypes)
        setattr(module, name, endpoint)
    if not examples.sampler_of(model).ready():
        return module

    module.sample = _make_sample(model, in_tensorflow, dtypes)
    return module


def _make_sample(model, in_tensorflow, dtypes):
    """Make the served function `sample`.

    It takes num_samples and seed. If it needs named inputs, it takes seed and these inputs.
    """
    import tensorflow as tf

    sample_like, shapes = _sample_like(model)
    drawn = _make_endpoint(model, "sample", in_tensorflow, sample_like, shapes, dtypes)
    shapes = {name: shape for name, shape in shapes.items() if name not in ("rows", "seed")}
    if shapes:
        specs = {"seed": (), **shapes}

        def sample(seed, *inputs):  # The inputs have one row for each sample.
            return drawn(tf.zeros([tf.shape(inputs[0])[0]]), seed, *inputs)

    else:
        specs = {"num_samples": (), "seed": ()}
        dtypes = {**dtypes, "num_samples": "int32"}

        def sample(num_samples, seed):
            checked = make_check(model, "sample")({"num_samples": num_samples})
            return drawn(tf.zeros([checked["num_samples"]]), seed)

    return _named_function(sample, specs, dtypes)


def _sample_like(model):
    """Return a function that draws one sample for each row of a batch, and its arguments.

    The number of samples is passed as the length of a batch axis, because the batch size is the
    only size that a function exported from JAX leaves open.
    """
    required = [
        name for name, is_required in examples.taken_by_sample(model).items() if is_required
    ]
    shapes = {name: (None, *model._extra_shapes.get(name, ())) for name in required}
    own = examples.sampler_of(model).inputs_taken(model)

    def sample_like(rows, seed, **inputs):
        given = {name: value for name, value in inputs.items() if name in own}
        given = adaptation.standardize_inputs(model, given)
        draws = examples.sampler_of(model).sample(ops.shape(rows)[0], seed, **given)
        return decode_draws(model, draws, seed, **examples.select(model, model.decode, inputs))

    return sample_like, {"rows": (None,), "seed": (), **shapes}


def _sample_from_numbers(model):
    """Return a function that turns random numbers into samples, and its arguments.

    It takes "normal_noise" or "uniform_noise" or both, and the named inputs that `sample` requires.

    Raises:
        NotImplementedError: If the sampler draws numbers that are not given to it.
    """
    examples.sampler_of(model).prepare()
    sample_like, shapes = _sample_like(model)
    inputs = {name: shape for name, shape in shapes.items() if name not in ("rows", "seed")}
    counted = GivenNumbers(rows=3)
    examples_of_inputs = {
        name: ops.zeros((3, *shape[1:]), examples.dtype_of(model, name))
        for name, shape in inputs.items()
    }
    try:
        sample_like(ops.zeros(3), counted, **examples_of_inputs)
        if not counted.widths:
            counted.next()
    except NotImplementedError as error:
        raise NotImplementedError(
            f"export: {type(model).__name__}.sample {error}, and a file of another format than "
            "'tf_saved_model' cannot draw numbers. Draw codes with model.sampler.draw(num_samples, "
            "keras.random.SeedGenerator(seed)), and pass them to a file with endpoint='decode'."
        ) from error

    widths = dict(sorted(counted.widths.items()))

    def sample(**given):
        numbers = {kind: given.pop(kind) for kind in widths}
        first, *_ = numbers.values()
        return sample_like(first, GivenNumbers(ops.shape(first)[0], numbers), **given)

    return sample, {**{kind: (None, width) for kind, width in widths.items()}, **inputs}


def _make_endpoint(model, name, in_tensorflow, function, arguments, dtypes):
    """Make a `tf.function` that checks its arguments and calls a function of the model.

    Args:
        model: The model.
        name: Name of the served function.
        in_tensorflow: Function that converts a function of the backend to one of TensorFlow.
        function: The model's function.
        arguments: Dictionary of argument name -> shape.
        dtypes: Dictionary of argument name -> dtype. Other arguments are float32.
    """

    check = make_check(model, name)

    def call_by_name(*tensors):
        given = dict(zip(arguments, tensors, strict=True))
        if "seed" in given:
            given["seed"] = RunSeed(ops.stack([given["seed"], 0]))
        return function(**given)

    converted = in_tensorflow(call_by_name, _make_specs(arguments, dtypes))

    def call(*tensors):
        return converted(*check(dict(zip(arguments, tensors, strict=True))).values())

    return _named_function(call, arguments, dtypes)


# The names of what the served functions return. Others are named like their function.
_OUTPUTS = {"serve": "reconstruction", "encode": "z", "decode": "x", "sample": "x"}


def _name_output(name, endpoint):
    """Make a `tf.function` that returns the result of another one by its name, in a dictionary."""
    import tensorflow as tf

    def call(*tensors, **named):
        found = endpoint(*tensors, **named)
        return found if isinstance(found, dict) else {_OUTPUTS.get(name, name): found}

    call.__signature__ = inspect.signature(endpoint.python_function)
    return tf.function(call, input_signature=endpoint.input_signature, autograph=False)


def _make_specs(arguments, dtypes):
    import tensorflow as tf

    return [
        tf.TensorSpec(shape, dtypes.get(name, "float32"), name=name)
        for name, shape in arguments.items()
    ]


def _named_function(function, arguments, dtypes):
    """Make a `tf.function` whose parameters have these names, which its served inputs get, too."""
    import tensorflow as tf

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    function.__signature__ = inspect.Signature([inspect.Parameter(n, kind) for n in arguments])
    specs = _make_specs(arguments, dtypes)
    return tf.function(function, input_signature=specs, autograph=False)


def endpoints_of(model):
    """Return what an exported model serves: name -> (function, {argument: shape})."""
    x = shapes_of_x(model)
    z = {"z": (None, *model.code_shape)}
    calls = {
        "serve": (model.reconstruct, x),
        "encode": (model.encode, x),
        "decode": (model.decode, z),
    }
    if hasattr(model, "anomaly_score"):
        calls["anomaly_score"] = (model.anomaly_score, x)
    return {
        name: (gather_x(model, call), {**first, **shapes_of_inputs(model, call)})
        for name, (call, first) in calls.items()
    }


def shapes_of_x(model):
    """Return the shapes of batches of x, or of the modalities: name -> shape."""
    x = examples.with_batch_axis(model._data_shape)
    return x if model._modalities else {"x": x}


def shapes_of_inputs(model, method):
    """Return the batch shapes of the named inputs that a method requires: name -> shape.

    Optional inputs are left out, because a served function has no optional arguments.
    """
    required = examples.required_by(model, method)
    return {name: (None, *model._extra_shapes[name]) for name in required}


def gather_x(model, method):
    """Return a function that calls a method but takes each modality of x as its own argument."""

    def function(**given):
        x = {name: given.pop(name) for name in model._modalities if name in given}
        return method(x, **given) if x else method(**given)

    return function


def _list_endpoints(model):
    return [*model._endpoints(), *(["sample"] if examples.sampler_of(model).ready() else [])]
