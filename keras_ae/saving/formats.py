"""Endpoints of a model in the other formats of Keras. What was written is run before it appears."""

import contextlib
import functools
import importlib.util
import io
import logging
import re
import sys
import warnings

import keras
import numpy as np

from keras_ae.core import examples
from keras_ae.core.backend import ERRORS
from keras_ae.core.silence import silence_libraries

# Format -> backend -> the packages, besides the backend, that write a file and run it. Where a
# backend is missing, Keras has no converter for it, or the converter's package is not maintained.
FORMATS = {
    "onnx": {
        "tensorflow": ("tf2onnx", "onnxruntime"),
        "jax": ("jax2onnx", "onnxruntime"),
        "torch": ("onnxscript", "onnxruntime"),
    },
    "litert": {"tensorflow": ()},
    "openvino": {"tensorflow": ("openvino",), "torch": ("openvino",)},
    "torch": {"torch": ()},
}
SUFFIXES = {"litert": ".tflite", "openvino": ".xml", "torch": ".pt2"}
_NAMES_OUTPUTS = ("litert", "torch")
_ROWS = (3, 1)  # A file takes batches of any size, so two sizes are tried.
_COLORS = re.compile(r"\x1b\[[0-9;]*m")  # Keras writes some errors in bold.


class _Endpoint(keras.Model):
    """One function of a model, as a Keras model that Keras can export.

    Args:
        model: The model, whose weights are written.
        function: Function of named tensors.
        names: The names in the order of the arguments of a call.
        ordered: Whether several outputs have an order instead of names.
    """

    def __init__(self, model, function, names, ordered):
        super().__init__(name="endpoint")
        self.model, self.function, self.names, self.ordered = model, function, names, ordered

    def build(self, *shapes):
        self.built = True

    def call(self, *tensors):
        found = self.function(**dict(zip(self.names, tensors, strict=True)))
        return tuple(found.values()) if self.ordered and isinstance(found, dict) else found


def check_format(format, path):
    """Raise unless the backend can write a format, and what writes and runs it is installed.

    Args:
        format: Name of the format.
        path: Path of the file.

    Raises:
        ValueError: If the format is unknown, or the file has a name that its readers do not take.
        NotImplementedError: If the backend cannot write it.
        ImportError: If a package is missing.
    """
    known = ("tf_saved_model", *FORMATS)
    if format not in FORMATS:
        raise ValueError(f"export: format={format!r} must be one of {', '.join(known)}.")
    backend = keras.config.backend()
    if backend not in FORMATS[format]:
        raise NotImplementedError(
            f"export: format={format!r} cannot be written with {backend}. Save a .keras file, and "
            f"export the model that is loaded with KERAS_BACKEND={' or '.join(FORMATS[format])}."
        )
    suffix = SUFFIXES.get(format, "")
    if not str(path).endswith(suffix):
        raise ValueError(f"export: {str(path)!r} must end in {suffix} for format={format!r}.")
    missing = [name for name in FORMATS[format][backend] if not importlib.util.find_spec(name)]
    if missing:
        raise ImportError(
            f"export: format={format!r} needs {' and '.join(missing)}: "
            f"pip install {' '.join(missing)}"
        )


def write_endpoint(model, endpoint, function, arguments, path, format, write, **options):
    """Write one function of a model, and compare what the file computes with what it computes.

    Args:
        model: A built `keras_ae.Autoencoder`.
        endpoint: Name of the function in errors.
        function: Function of named tensors.
        arguments: Dictionary of argument name -> shape, in which None is the number of rows.
        path: Path of the file, a string.
        format: Name of the format.
        write: `keras.Model.export`.
        **options: Options of the format.

    Raises:
        NotImplementedError: If the format cannot express the function, or computes something else.
    """
    dtypes = {"z": model._code_dtype, **examples.dtypes_of(model)}
    dtypes = {name: dtypes.get(name, "float32") for name in arguments}
    signature = [
        keras.InputSpec(dtype=dtypes[name], shape=shape, name=name)
        for name, shape in arguments.items()
    ]
    options = {"input_signature": signature, "verbose": False, **options}
    if format == "torch" and "dynamic_shapes" not in options:
        options["dynamic_shapes"] = _free_batch(signature)
    part = _Endpoint(model, function, list(arguments), format not in _NAMES_OUTPUTS)
    cases = [_make_inputs(model, arguments, dtypes, rows) for rows in _find_rows(options)]
    try:
        with _quiet():
            wanted = [_call(part, given) for given in cases]
            if format == "onnx":
                _ADD_OPERATIONS.get(keras.config.backend(), lambda: None)()
            with contextlib.nullcontext() if format == "onnx" else _unroll_loops(model):
                write(part, path, format=format, **options)
            for given, expected in zip(cases, wanted, strict=True):
                _compare(_RUN[format](path, given), expected)
    except _list_failures() as error:
        reason = _COLORS.sub("", " ".join(f"{type(error).__name__}: {error}".split()))[:300]
        remedy = "Choose another format or endpoint"
        if keras.config.backend() != "torch":  # It cannot write the following format.
            remedy += "; 'tf_saved_model' has every endpoint"
        raise NotImplementedError(
            f"export: format={format!r} cannot express {type(model).__name__}.{endpoint} as "
            f"{keras.config.backend()} computes it, so nothing was written ({reason}). {remedy}."
        ) from error


def _free_batch(signature):
    """Return what `torch.export` takes as dynamic_shapes, so that batches may have any size."""
    import torch

    rows = torch.export.Dim("batch")
    return tuple({0: rows} for spec in signature)


def _find_rows(options):
    """Return the numbers of rows to try, which the user's signature may have fixed."""
    for spec in keras.tree.flatten(options["input_signature"]):
        if spec.shape[0] is not None:
            return (spec.shape[0],)
    return _ROWS


@contextlib.contextmanager
def _unroll_loops(model):
    """Let recurrent layers compute one step after the other, for formats without their loops."""
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.RNN)]
    before = [layer.unroll for layer in layers]
    try:
        for layer in layers:
            layer.unroll = True
        yield
    finally:
        for layer, value in zip(layers, before, strict=True):
            layer.unroll = value


@contextlib.contextmanager
def _quiet():
    """Silence what converters print, such as whole graphs. Their failures are raised as errors."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with (
            silence_libraries(),
            warnings.catch_warnings(action="ignore"),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            yield
    finally:
        logging.disable(before)


@functools.cache
def _add_operations_to_tf2onnx():
    """Teach tf2onnx operations that it lacks: that of GELU, log(1 + x) and exp(x) - 1."""
    from tf2onnx.handler import tf_op

    def put(graph, node, make):
        """Put what a function makes of the node's input and the constant 1 in the node's place."""
        shapes, dtypes = [graph.get_shape(node.output[0])], [graph.get_dtype(node.output[0])]
        graph.remove_node(node.name)
        one = graph.make_const(f"{node.name}_one", np.float32(1)).output[0]
        kind, inputs = make(node.input[0], one, lambda *step: graph.make_node(*step).output[0])
        graph.make_node(kind, inputs, outputs=node.output, shapes=shapes, dtypes=dtypes)

    @tf_op("Erfc")
    class _Erfc:
        @classmethod
        def version_9(cls, graph, node, **_):
            put(graph, node, lambda x, one, do: ("Sub", [one, do("Erf", [x])]))

    @tf_op("Log1p")
    class _Log1p:
        @classmethod
        def version_9(cls, graph, node, **_):
            put(graph, node, lambda x, one, do: ("Log", [do("Add", [one, x])]))

    @tf_op("Expm1")
    class _Expm1:
        @classmethod
        def version_9(cls, graph, node, **_):
            put(graph, node, lambda x, one, do: ("Sub", [do("Exp", [x]), one]))


@functools.cache
def _add_operations_to_torch():
    """Teach torch's converter operations of Keras that it lacks, such as those of transformers."""
    import torch
    from torch.onnx import symbolic_helper

    def flatten(graph, x):
        return graph.op("Reshape", x, graph.op("Constant", value_t=torch.tensor([-1])))

    @symbolic_helper.parse_args("v", "v", "v", "v", "f", "b")
    def normalize(graph, x, shape, scale, offset, epsilon, _):
        # The shape is computed by the graph. Only the number of its axes must be known.
        axis = -len(list(shape.node().inputs()))
        inputs = (x, scale, offset)
        return graph.op("LayerNormalization", *inputs, axis_i=axis, epsilon_f=epsilon)

    def expm1(graph, x):
        return graph.op("Sub", graph.op("Exp", x), graph.op("Constant", value_t=torch.tensor(1.0)))

    torch.onnx.register_custom_op_symbolic("aten::expm1", expm1, 17)
    torch.onnx.register_custom_op_symbolic("aten::ravel", flatten, 17)
    torch.onnx.register_custom_op_symbolic("aten::layer_norm", normalize, 17)


_ADD_OPERATIONS = {"tensorflow": _add_operations_to_tf2onnx, "torch": _add_operations_to_torch}


# ---------------------------------------------------------------------- what is compared


def _make_inputs(model, arguments, dtypes, rows):
    """Make arrays for the arguments of an endpoint: name -> array."""
    rng = np.random.default_rng(0)
    given = {}
    for name, shape in arguments.items():
        shape = tuple(rows if i == 0 else size or 4 for i, size in enumerate(shape))
        if name == "z":
            given[name] = _make_codes(model, rows)
        elif name == "normal_noise":
            given[name] = rng.normal(size=shape)
        elif dtypes[name].startswith("int"):
            given[name] = rng.integers(0, 2, shape)
        else:
            given[name] = rng.uniform(size=shape)
            if model._allow_nan and name in ("x", *model._modalities):
                given[name][0, ..., 0] = np.nan
            if name == "x" and getattr(model, "mask_value", None) is not None:
                given[name][0, -1] = model.mask_value
        given[name] = np.asarray(given[name], dtypes[name])
    return given


def _make_codes(model, rows):
    """Return the codes of some data, because not every array is a code."""
    encode, arguments = model._endpoints()["encode"]
    dtypes = {name: examples.dtype_of(model, name) for name in arguments}
    given = _make_inputs(model, arguments, dtypes, rows)
    given = {name: keras.ops.convert_to_tensor(array) for name, array in given.items()}
    return keras.ops.convert_to_numpy(encode(**given))


def _call(part, given):
    outputs = part(*map(keras.ops.convert_to_tensor, given.values()))
    return keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)


def _compare(found, expected):
    """Raise unless a file computes what the model computes.

    Args:
        found: Dictionary of output name -> array.
        expected: An array, a tuple of arrays, or such a dictionary.
    """
    if not isinstance(expected, dict):
        # OpenVINO's converter may add other outputs after those of the function.
        expected = expected if isinstance(expected, tuple) else [expected]
        expected, found = (
            {f"output {number}": array for number, array in enumerate(arrays, 1)}
            for arrays in (expected, found.values())
        )
    for name, array in expected.items():
        other = found[name]
        if other.shape != array.shape:
            raise ValueError(f"{name} has the shape {other.shape} instead of {array.shape}")
        # Codes that are integers must be the same, and other numbers agree as in float32.
        is_float = array.dtype.kind == "f"  # Missing cells are NaN.
        scale = np.abs(array[np.isfinite(array)]).max(initial=1) if is_float else 0
        if not np.allclose(other, array, rtol=0, atol=1e-4 * scale, equal_nan=True):
            with np.errstate(invalid="ignore"):  # Equal infinite numbers have no difference.
                difference = np.nanmax(np.abs(other - array), initial=0.0)
            raise ValueError(f"{name} differs by up to {difference:.2g} from the model's")


# ---------------------------------------------------------------------- running a file


def _match(names, given):
    """Return the inputs under the names that a file has, which are in the same order otherwise."""
    same = set(names) == given.keys()
    return given if same else dict(zip(names, given.values(), strict=True))


def _run_onnx(path, given):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # It prints warnings about graphs past Python's streams.
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    outputs = [each.name for each in session.get_outputs()]
    inputs = _match([each.name for each in session.get_inputs()], given)
    return dict(zip(outputs, session.run(None, inputs), strict=True))


def _run_litert(path, given):
    import tensorflow as tf

    runner = tf.lite.Interpreter(path).get_signature_runner()
    return runner(**_match(list(runner.get_input_details()), given))


def _run_openvino(path, given):
    import openvino

    # On some processors the default is bfloat16, in which a comparison says little.
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", options)
    found = compiled(list(given.values()))
    return {str(number): found[output] for number, output in enumerate(compiled.outputs)}


def _run_torch(path, given):
    import torch

    with torch.no_grad():
        found = torch.export.load(path).module()(*map(torch.tensor, given.values()))
    found = found if isinstance(found, dict) else {"output": found}
    return {name: tensor.numpy() for name, tensor in found.items()}


_RUN = {
    "onnx": _run_onnx,
    "litert": _run_litert,
    "openvino": _run_openvino,
    "torch": _run_torch,
}
# These modules define errors that are no RuntimeErrors.
_HOMES_OF_ERRORS = (
    "jax.errors",
    "onnxruntime.capi.onnxruntime_pybind11_state",
    "onnx.checker",
    "onnx.shape_inference",
    "openvino._pyopenvino",
    "tensorflow.lite.python.convert_phase",
    "torch.jit._trace",
)


def _list_failures():
    """List the errors that converters and their runtimes raise."""
    parts = [vars(sys.modules[name]) for name in _HOMES_OF_ERRORS if name in sys.modules]
    found = [each for names in parts for each in names.values()]
    errors = [each for each in found if isinstance(each, type) and issubclass(each, Exception)]
    return (
        ArithmeticError,
        AssertionError,
        AttributeError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
        *ERRORS,
        *errors,
    )
