"""Calls with bad numbers, networks, arguments of constructors and paths, and calls too early."""

import functools
import inspect
import os
import pathlib
import tempfile

import keras
import numpy as np
import zoo

import keras_ae
from matrix import kinds
from matrix.data_calls import methods_of, options_of, parts_of
from matrix.judge import Cell
from matrix.kinds import EITHER, OWN, SAME

# ------------------------------------------------------------------ numbers

COUNTS = (
    "batch_size epochs initial_epoch steps_per_epoch validation_steps validation_batch_size "
    "validation_freq steps num_samples multiple"
).split()
MAY_BE_ZERO = ("epochs", "initial_epoch")
CALLBACKS = {
    "a name": "early_stopping",
    "a number": 3,
    "a class": keras.callbacks.EarlyStopping,
    "a function": print,
    "None in a list": [None],
    "a name in a list": ["early_stopping"],
    "a dictionary": {"a": 3},
}


def number_cells(bench):
    model, x = bench.model, bench.x
    methods = methods_of(model) | {"decode": model.decode, "sample": model.sample}
    for name, method in methods.items():
        parameters = inspect.signature(method).parameters
        for argument in parameters:
            given, word = {}, argument
            if argument in COUNTS:
                values = dict(kinds.NO_COUNTS)
                if argument in MAY_BE_ZERO:
                    del values["0"]
                if argument == "validation_freq":
                    del values["a list"], values["a tuple"]
                if argument.startswith("validation"):
                    given = {"validation_data": x}
                if argument == "batch_size":
                    values["10**9"] = 10**9
                if argument == "num_samples" and name == "sample":
                    values["10**15"] = 10**15
            elif argument == "seed":
                values = kinds.NO_SEEDS
            elif argument == "validation_split":
                values = kinds.NO_FRACTIONS
            elif argument == "temperature":
                values = {"text": "hot", "-1": -1, "NaN": float("nan"), "a list": [1.0]}
            elif argument == "callbacks" and name in ("fit", "evaluate", "predict"):
                values = CALLBACKS
            elif argument == "class_weight":
                values = {"a dictionary": {0: 1.0}, "a name": "balanced"}
            else:
                continue
            for kind, value in values.items():
                expected = SAME if kind == "10**9" else [argument]

                def call(value=value, argument=argument, method=method, name=name, given=given):
                    return call_number(bench, name, method, {argument: value, **given})

                yield Cell(f"{name} {argument}", kind, call, expected, word, None, False, model)


def call_number(bench, name, method, given):
    model, x = bench.model, bench.x
    options = options_of(method) | given
    if name == "decode":
        first = zoo.code_of(bench.name, 8)
        options |= zoo.inputs(model, "decode", 8)
    elif name == "sample":
        first = options.pop("num_samples", 4)
        inputs = zoo.inputs(model, "sample", 4)
        if "num_samples" in given and inputs:
            inputs = {key: value[0] for key, value in inputs.items()}
        options |= inputs
    else:
        first = x
    return method(first, **options)


# ------------------------------------------------------------------ constructors and networks

NOT_TRIED = {"name", "kwargs", "args", "self", "encoder", "decoder", "modalities", "dtype"}


def constructor_cells(bench):
    """Yield bad values of each argument. What is accepted must be built and compute numbers."""
    name, cls = bench.name, getattr(keras_ae, bench.name)
    tiny = zoo.settings(name)
    for argument, parameter in inspect.signature(cls).parameters.items():
        if argument in NOT_TRIED or parameter.kind in (parameter.VAR_KEYWORD,):
            continue
        usual = tiny.get(argument, parameter.default)
        is_number = isinstance(usual, (int, float)) and not isinstance(usual, bool)
        values = {kind: (value, EITHER) for kind, value in kinds.ODD_VALUES.items()}
        if is_number:
            values |= {kind: (value, [argument]) for kind, value in kinds.NO_NUMBERS.items()}
        for kind, (value, expected) in values.items():
            if argument == "seed" and kind in ("0", "-1", "10**9"):
                continue

            def call(argument=argument, value=value):
                model = cls(**zoo.settings(name, **{argument: value}))
                if value is len:  # It may be a schedule.
                    return None
                model.compile("adam", **zoo.OP_BY_OP)
                return model.evaluate(parts_of(bench.x)[0], verbose=0)

            if is_number and kind == "a function":
                expected = EITHER
            options = argument.endswith("options")
            word = f"{argument}|units" if options else f"{argument}|memory|keys|identifier"
            yield Cell(f"{name}({argument}=)", kind, call, expected, word)


class Returns(keras.layers.Layer):
    """A layer that returns what a function makes of its input."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x):
        return self.function(x)


def give_up(x):
    raise RuntimeError(kinds.OWN_TEXT)


def networks_of(network):
    """Return kinds of networks: name -> (function that makes one, what is right)."""
    ops, layers, shape = keras.ops, keras.layers, network.input_shape[1:]

    def two_inputs():
        first, second = keras.Input(shape), keras.Input(shape)
        return keras.Model([first, second], network(ops.add(first, second)))

    def of(function):
        return lambda: Returns(function)

    part = ["PART"]
    return {
        "a number": (lambda: 3, part),
        "a list of layers": (lambda: [layers.Dense(4)], part),
        "a class": (lambda: layers.Dense, part),
        "a function": (lambda: len, part),
        "a dictionary": (lambda: {"units": 3}, part),
        "an unknown name": (lambda: "convv", part),
        "an empty name": (lambda: "", part),
        "an input": (lambda: keras.Input((6,)), part),
        "an array": (lambda: np.ones((6, 4)), part),
        "two inputs": (two_inputs, part),
        "two outputs": (lambda: keras.Model(network.inputs, network.outputs * 2), part),
        "a dictionary of outputs": (
            lambda: keras.Model(network.inputs, {"a": network.outputs[0]}),
            part,
        ),
        "another width": (
            lambda: keras.Sequential([keras.Input((11,)), layers.Dense(4)]),
            part,
        ),
        "no layers": (lambda: keras.Sequential(), EITHER),
        "an optimizer": (lambda: keras.optimizers.Adam(), part),
        "a loss": (lambda: keras.losses.MeanSquaredError(), part),
        "a metric": (lambda: keras.metrics.Mean(), part),
        "an autoencoder": (lambda: keras_ae.AE(2), EITHER),
        "returns nothing": (of(lambda x: None), part),
        "returns a tuple": (of(lambda x: (x, x)), part),
        "returns a list": (of(lambda x: [x]), part),
        "returns a dictionary": (of(lambda x: {"a": x}), part),
        "returns text": (of(lambda x: "code"), part),
        "returns a number": (of(lambda x: 1.0), part),
        "returns an array": (of(lambda x: np.ones((16, 4), "float32")), part),
        "returns one number for a batch": (of(lambda x: ops.sum(x)), part),
        "returns a number for each": (of(lambda x: ops.sum(x, axis=-1)), EITHER),
        "returns integers": (of(lambda x: ops.cast(x, "int32")), EITHER),
        "returns truth values": (of(lambda x: x > 0), EITHER),
        "returns NaN": (of(lambda x: x * np.nan), EITHER),
        "returns the mean of the batch": (of(lambda x: ops.mean(x, 0, keepdims=True)), EITHER),
        "returns twice as many": (of(lambda x: ops.concatenate([x, x])), EITHER),
        "returns no numbers": (of(lambda x: x[..., :0]), ["no numbers"]),
        "raises": (of(give_up), OWN),
    }


def network_cells(bench):
    name = bench.name
    if name not in zoo.WITH_NETWORKS:
        return
    fitting = zoo.own_networks(name)
    for part in ("encoder", "decoder"):
        for kind, (make, expected) in networks_of(fitting[part]).items():

            def call(part=part, make=make):
                given = zoo.own_networks(name) | {part: make()}
                given = {k: v for k, v in given.items() if v is not None}
                model = zoo.eager(name, **given)
                history = model.fit(bench.x, batch_size=kinds.SIZE, verbose=0)
                return history.history["loss"], model.encode(bench.x)

            expected = [part] if expected == ["PART"] else expected
            if (name, part) == ("MaskedAE", "encoder") and kind in ("raises", "returns no numbers"):
                # MaskedAE asks for the width of the tokens before it calls the encoder.
                expected = ["keras.Input"]
            yield Cell(f"{part}=", kind, call, expected, part)


# ------------------------------------------------------------------ calls before others, and paths


def early_cells(bench):
    """Yield calls of a model that was not built, compiled or trained."""
    name = bench.name
    cls = getattr(keras_ae, name)
    codes, needs_shape = zoo.code_of(name, 4), ["shape|trained|fit"]
    model = bench.model

    def new():
        return zoo.make(name)

    def call(method, *given, **options):
        return getattr(new(), method)(*given, **options)

    calls = {
        "decode": (
            lambda: call("decode", codes, **zoo.inputs(model, "decode", 4)),
            needs_shape,
        ),
        "sample": (lambda: call("sample", 4, **zoo.inputs(model, "sample", 4)), needs_shape),
        "export": (lambda: call("export", place("model")), needs_shape),
        "fit": (lambda: call("fit", bench.x), ["compile"]),
        "evaluate": (lambda: call("evaluate", bench.x), ["compile"]),
        "train_on_batch": (lambda: call("train_on_batch", bench.x), ["compile"]),
        "test_on_batch": (lambda: call("test_on_batch", bench.x), ["compile"]),
        "encode": (lambda: call("encode", bench.x), EITHER),
        "reconstruct": (lambda: call("reconstruct", bench.x), EITHER),
        "predict": (lambda: call("predict", bench.x, verbose=0), EITHER),
        "predict_on_batch": (lambda: call("predict_on_batch", bench.x), EITHER),
        "save": (lambda: call("save", place("a.keras")), EITHER),
        "save_weights": (lambda: call("save_weights", place("a.weights.h5")), EITHER),
        "load_weights": (lambda: call("load_weights", place("a.weights.h5")), ["load_weights"]),
        "build for nothing": (lambda: call("build", None), ["input_shape|shape"]),
        "build for text": (lambda: call("build", "28"), ["input_shape|shape"]),
        "build for a number": (lambda: call("build", 28), ["input_shape|shape"]),
        "build for no axes": (lambda: call("build", ()), ["input_shape|shape"]),
        "build for one axis": (lambda: call("build", (None,)), ["input_shape|shape"]),
        "build for unknown axes": (lambda: call("build", (None, None)), ["input_shape|shape"]),
        "build for an empty axis": (lambda: call("build", (None, 0)), ["input_shape|shape"]),
        "build for a negative axis": (lambda: call("build", (None, -3)), ["input_shape|shape"]),
        "build for a fraction": (lambda: call("build", (None, 2.5)), ["input_shape|shape"]),
        "build for 10**12": (lambda: call("build", (None, 10**12)), ["memory|shape"]),
        "build for a dictionary": (lambda: call("build", {"a": (None, 3)}), ["'a'|shape|x"]),
        "train_on_batch before fit": (lambda: trained_at_once(name, bench.x), EITHER),
    }
    if hasattr(cls, "log_likelihood"):
        calls["log_likelihood"] = (
            lambda: call("log_likelihood", bench.x, num_samples=2),
            EITHER,
        )
    if hasattr(cls, "fit_prior"):
        calls["prior_log_likelihood"] = (
            lambda: call("prior_log_likelihood", bench.x),
            ["fit_prior"],
        )
        calls["fit_prior"] = (lambda: call("fit_prior", bench.x, epochs=1, verbose=0), EITHER)
    for kind, (action, expected) in calls.items():
        yield Cell("calls before others", kind, action, expected)


def trained_at_once(name, x):
    model = zoo.eager(name)
    return model.train_on_batch(x)


def place(name):
    return str(pathlib.Path(tempfile.mkdtemp()) / name)


def made(name, make):
    """Return a path at which something was made."""
    path = pathlib.Path(place(name))
    make(path)
    return path


def in_file(name):
    file = made("file", lambda path: path.write_text(""))
    return file / name


def loop(path):
    path.symlink_to(path)


def paths_of(suffix):
    """Return kinds of paths for a file of this suffix: name -> (path, what is right)."""
    name = f"a{suffix}"
    return {
        "nothing": (lambda: None, EITHER),
        "a number": (lambda: 3, EITHER),
        "a list": (lambda: [name], EITHER),
        "truth value": (lambda: True, EITHER),
        "an array": (lambda: np.zeros(100), EITHER),
        "empty": (lambda: "", EITHER),
        "a zero byte": (lambda: place(f"a\0{suffix}"), EITHER),
        "a half of a pair": (lambda: place(f"\udcff{suffix}"), EITHER),
        "too long": (lambda: place("a" * 300 + suffix), EITHER),
        "a folder": (lambda: made(name, pathlib.Path.mkdir), EITHER),
        "in a file": (lambda: in_file(name), EITHER),
        "in a device": (lambda: f"/dev/null/{name}", EITHER),
        "in a folder of the system": (lambda: f"/proc/{name}", EITHER),
        "the root": (lambda: "/", EITHER),
        "a link to itself": (lambda: made(name, loop), EITHER),
        "a home": (lambda: f"~/nobody/{name}", EITHER),
    }


def path_cells(bench):
    """Yield paths that cannot be written or read. EITHER is an error of ours, or a whole file."""
    model = bench.model
    calls = {
        "save": (model.save, ".keras"),
        "save_weights": (model.save_weights, ".weights.h5"),
        "load_weights": (model.load_weights, ".weights.h5"),
        "export": (model.export, ""),
    }
    for entry, (call, suffix) in calls.items():
        for kind, (make, expected) in paths_of(suffix).items():
            if kind == "a home" and entry != "export":
                continue

            def action(call=call, make=make):
                call(make())

            if entry in ("export", "load_weights"):
                expected = []
            yield Cell(entry, f"path: {kind}", action, expected, None, None, False, model)
    wrong = {
        "a file": lambda: made("a.weights.h5", lambda path: path.write_text("no weights")),
        "an empty file": lambda: made("a.weights.h5", lambda path: path.write_text("")),
        "weights of another model": other_weights,
        "no such file": lambda: place("a.weights.h5"),
        "a pipe": lambda: made("a.weights.h5", os.mkfifo),
    }
    for kind, make in wrong.items():
        yield Cell(
            "load_weights",
            f"path: {kind}",
            lambda make=make: model.load_weights(make()),
            [],
            model=model,
        )
    exports = {
        "a format": {"format": "onx"},
        "a format that is a number": {"format": 3},
        "an endpoint": {"format": "onnx", "endpoint": "encod"},
        "an endpoint that is a number": {"format": "onnx", "endpoint": 3},
        "a card": {"card": 3},
        "a card of a list": {"card": ["a"]},
        "an option": {"overwriting": True},
    }
    for kind, options in exports.items():
        yield Cell(
            "export",
            f"option: {kind}",
            lambda options=options: model.export(place("model"), **options),
            [next(iter(options)) if len(options) == 1 else "endpoint"],
            model=model,
        )


def other_weights():
    path = place("a.weights.h5")
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5)])
    network.save_weights(path)
    return path


def load_cells():
    """Yield calls of `load`, which concern no single model."""
    paths = paths_of(".keras") | {
        "no such file": (lambda: place("a.keras"), []),
        "a pipe": (lambda: made("a.keras", os.mkfifo), []),
        "a device": (lambda: made("a.keras", lambda p: p.symlink_to("/dev/zero")), []),
        "an empty file": (lambda: made("a.keras", lambda p: p.write_text("")), []),
        "text": (lambda: made("a.keras", lambda p: p.write_text("model")), []),
        "another suffix": (lambda: made("a.h5", lambda p: p.write_text("model")), []),
        "an empty folder": (lambda: made("a", pathlib.Path.mkdir), []),
        "bytes": (lambda: b"model", []),
        "a pipe in a folder": (pipe_in_folder, []),
    }
    for kind, (make, _) in paths.items():
        yield Cell("load", f"path: {kind}", lambda make=make: keras_ae.load(make()), [], "load")
    for kind, value in kinds.NO_COUNTS.items():
        call = functools.partial(load_saved, max_bytes=value)
        yield Cell("load max_bytes", kind, call, ["max_bytes"], "max_bytes")
    for kind, value in {"a list": [3], "a number": 3, "a name": "VAE"}.items():
        call = functools.partial(load_saved, custom_objects=value)
        yield Cell("load custom_objects", kind, call, ["custom_objects"], "custom_objects")


def pipe_in_folder():
    folder = made("a", pathlib.Path.mkdir)
    (folder / "assets.extra").mkdir()
    os.mkfifo(folder / "assets.extra" / "model.keras")
    return folder


def load_saved(**options):
    file = pathlib.Path(__file__).parents[1] / "saving" / "files_of_before" / "AE.keras"
    return keras_ae.load(file, **options)
