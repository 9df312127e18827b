"""Calls of a model with bad data, targets, weights, named inputs and codes."""

import functools
import inspect
import itertools
import zlib

import keras
import numpy as np
import zoo

from keras_ae.core import conversion, examples
from matrix import kinds
from matrix.judge import Case, Cell, prepare
from matrix.kinds import EITHER, SAME

LOOPS = ("fit", "evaluate", "predict", "adapt")
ON_BATCH = ("train_on_batch", "test_on_batch", "predict_on_batch")
ROWS = 48  # Arrays make one batch, and streams three, because arrays take most of the time.
ON_TENSORFLOW = keras.config.backend() == "tensorflow"

# ------------------------------------------------------------------ x and validation data


def wrap(model, x, value):
    """Put a value at the place of the data of a batch."""
    if not isinstance(x, dict):
        return value
    length = len(value) if hasattr(value, "__len__") and np.ndim(value) else None
    if length is None or length > len(kinds.data_of(x)):
        return {**x, kinds.place_of(x): value}
    if not 0 < length:
        length = len(kinds.data_of(x))
    return {k: v[:length] for k, v in x.items()} | {kinds.place_of(x): value}


def wrap_safely(model, x, value):
    try:
        return wrap(model, x, value)
    except (TypeError, ValueError):
        return {**x, kinds.place_of(x): value}


def parts_of(x):
    """Return three batches of clean data."""
    rows = [slice(n, n + kinds.SIZE) for n in (0, kinds.SIZE, 2 * kinds.SIZE)]
    return [examples.map_leaves(lambda v, r=r: v[r], x) for r in rows]


def data_kinds(model, x):
    """Yield the kinds of x: name, function that makes it, what is right, whether steps precede."""
    data = kinds.data_of(x)
    arrays = kinds.ARRAYS | (kinds.of_tensorflow(x) if ON_TENSORFLOW else {})
    for kind, (make, expected) in arrays.items():
        yield kind, lambda make=make: wrap_safely(model, x, make(data)), expected, False
    for kind, (make, expected) in kinds.WHOLES.items():
        yield kind, lambda make=make: make(x), expected, False
    for container, contain in kinds.CONTAINERS.items():
        for kind, (make, expected) in kinds.BATCHES.items():

            def stream(make=make, contain=contain):
                whole = parts_of(x)
                items = make(*(kinds.data_of(part) for part in whole))
                owners = itertools.chain(whole, itertools.repeat(whole[0]))
                return contain([item_of(model, *pair) for pair in zip(owners, items)])  # noqa: B905

            late = any(word in kind for word in ("midway", "change"))
            yield f"{container}: {kind}", stream, expected, late
    for kind, (make, expected) in kinds.STREAMS.items():
        yield kind, lambda make=make: make(parts_of(x)), expected, True
    for kind, (make, expected) in kinds.DATASETS.items():
        yield kind, lambda make=make: make(x), expected, False


def item_of(model, part, item):
    """Return an item of a stream as the model takes it."""
    if isinstance(item, Exception):
        return item
    if isinstance(item, kinds.As):
        return item.value
    return wrap_safely(model, part, item)


def takes_x(method):
    """Whether a method of a model takes data as x."""
    names = list(inspect.signature(method).parameters)
    return names[:1] == ["x"] and ("batch_size" in names or method.__name__ in LOOPS + ON_BATCH)


def methods_of(model):
    """Return the public methods of a model that take data: name -> method."""
    found = {}
    for name in dir(type(model)):
        if not name.startswith("_") and inspect.isfunction(getattr(type(model), name)):
            method = getattr(model, name)
            is_ours = getattr(type(model), name).__module__.startswith("keras_ae")
            if is_ours and callable(method) and takes_x(method):
                found[name] = method
    if not (model._needs_data or model.standardize):
        found.pop("adapt", None)  # It is refused for any data.
    return found


def options_of(method, **given):
    """Return the options that make a call of a method quick and repeatable."""
    names = inspect.signature(method).parameters
    options = {"verbose": 0, "seed": 0, "num_samples": 4, "epochs": 1, "shuffle": False}
    options["num_steps"] = 3
    if method.__name__ in ON_BATCH:
        options = {}
    return {k: v for k, v in {**options, **given}.items() if k in names}


def call_with(method, x):
    options = options_of(method)
    if "batch_size" in inspect.signature(method).parameters and conversion.holds_arrays(x):
        options["batch_size"] = ROWS
    if method.__name__ in ON_BATCH and is_stream(x):
        options = {}
    return method(x, **options)


def is_stream(x):
    return not conversion.holds_arrays(x)


# For these kinds, other things are right for some entry points.
FOR_VALIDATION = {
    "an empty list": ["no parts|empty"],
    "nothing": SAME,
    "a pair": SAME,
    "a list of two arrays": SAME,
    "a tuple of one": EITHER,
    "an empty tuple": EITHER,
    "a list of one array": EITHER,
    "a tuple of rows": ["48 parts"],
}
NOT_FOR_UNBUILT = ("transposed", "one column", "wider")
# What is right is tried here on every model, and elsewhere on every fourth one.
MAIN_ENTRIES = ("fit", "encode")


def is_tried(bench, entry, kind, right):
    """Whether a cell belongs to the matrix."""
    if entry in MAIN_ENTRIES:
        return True
    if kind.startswith("PyDataset") and entry != "fit validation_data":
        return False
    parts = "/".join((bench.name, entry, kind))
    return right is not SAME or zlib.crc32(parts.encode()) % 4 == 0


def right_for(entry, kind, expected, case, is_data_stream):
    """Return what is right for a kind at an entry point."""
    method = entry.partition(",")[0]
    if entry == "fit validation_data":
        is_array = not (case.model.extra_inputs or case.model._modalities)
        if kind in FOR_VALIDATION and (is_array or kind == "nothing"):
            return FOR_VALIDATION[kind]
    if callable(expected):
        expected = expected(case)
    reads_again = case.model._needs_data or hasattr(case.model, "pretraining_steps")
    if reads_again and method in ("fit", "adapt") and kind.startswith("generator"):
        return EITHER  # It reads the data first, and a generator can be read only once.
    reads_twice = expected is SAME and hasattr(case.model, "_collect_posteriors")
    if reads_twice and method == "evaluate" and kind.startswith("generator"):
        return EITHER  # The aggregate posterior is estimated from each batch alone.
    if method in ON_BATCH and is_data_stream:
        return EITHER
    if case.model._modalities and isinstance(expected, list) and is_data_stream:
        return EITHER if expected in (["tuple"], ["None"]) else expected
    return expected


def data_cells(bench):
    model, x = bench.model, bench.x
    entries = {name: functools.partial(call_with, m) for name, m in methods_of(model).items()}

    def validate(given):
        return model.fit(x, batch_size=ROWS, validation_data=given, verbose=0, shuffle=False)

    entries["fit validation_data"] = validate
    for entry, call in entries.items():
        case = Case(model, entry)
        for kind, make, expected, late in data_kinds(model, x):
            stream = kind in kinds.STREAMS or kind in kinds.DATASETS or ":" in kind
            right = right_for(entry, kind, expected, case, stream)
            if not is_tried(bench, entry, kind, right):
                continue
            argument = "validation_data" if "validation" in entry else "x"
            argument = "|".join((argument, *model.extra_inputs))
            if stream:
                argument += "|dataset|batch"
            yield Cell(
                entry,
                kind,
                lambda call=call, make=make: call(prepare(make)),
                right,
                argument,
                functools.partial(clean_result, bench, entry, call, stream),
                late or (entry == "fit validation_data" and ":" in kind),
                model,
            )


def clean_result(bench, entry, call, is_stream):
    """Return what an entry point gives for clean data, which has other batches in a stream."""
    if not is_stream:
        return bench.clean_result(entry, lambda: call(bench.x))
    stream = functools.partial(kinds.Stored, parts_of(bench.x))
    return bench.clean_result(f"{entry} of a stream", lambda: call(stream()))


def unbuilt_cells(bench):
    """Yield the same for models that are not built. What is right for data is left out."""
    fresh = {}

    def model_of(entry):
        if entry not in fresh or fresh[entry].built:
            fresh[entry] = zoo.eager(bench.name)
        return fresh[entry]

    for entry in MAIN_ENTRIES:
        label = f"{entry}, not built"
        for kind, make, expected, _ in data_kinds(bench.model, bench.x):
            if expected is SAME or kind in NOT_FOR_UNBUILT or kind.startswith("PyDataset"):
                continue
            stream = kind in kinds.STREAMS or kind in kinds.DATASETS or ":" in kind

            def call(entry=entry, make=make):
                return call_with(getattr(model_of(entry), entry), prepare(make))

            right = right_for(label, kind, expected, Case(model_of(entry), label), stream)
            yield Cell(label, kind, call, right, "x|dataset|batch" if stream else "x")


# ------------------------------------------------------------------ targets, weights, inputs

RANK_OF_LABELS = ("rank 0", "rank 1", "a column", "series", "a tensor of rank 1")
RANK_OF_OBJECTS = ("rows as objects", "ragged objects")
RANK_OF_LABELS += ("a tensor of rank 0", "an empty list", "array of the module array")


def target_cells(bench):
    model, x = bench.model, bench.x
    if model._modalities:
        return
    data, methods = kinds.data_of(x), methods_of(model)
    for name in ("fit", "evaluate", "train_on_batch", "log_likelihood"):
        if name not in methods or "y" not in inspect.signature(methods[name]).parameters:
            continue
        method, entry = methods[name], f"{name} y"

        def call(y, method=method):
            options = options_of(method)
            if "batch_size" in inspect.signature(method).parameters:
                options["batch_size"] = ROWS
            return method(x, y, **options)

        case = Case(model, entry)
        for kind, (make, expected) in (kinds.ARRAYS | kinds.TARGETS).items():
            if kind in RANK_OF_LABELS:
                expected = ["labels|empty|y"]
            if kind in RANK_OF_OBJECTS:
                expected = ["labels|object|different lengths"]
            if kind == "one example":
                expected = ["1 examples|1 example"]
            if kind in ("transposed", "rank 5"):
                expected = ["examples|(6,)"]
            if callable(expected):
                expected = expected(case)
            if not is_tried(bench, entry, kind, expected):
                continue
            yield Cell(
                entry,
                kind,
                lambda call=call, make=make: call(prepare(make, data)),
                expected,
                "y",
                lambda entry=entry, call=call: bench.clean_result(entry, lambda: call(data.copy())),
                False,
                model,
            )


def weight_cells(bench):
    model, x = bench.model, bench.x
    for name in ("fit", "evaluate", "train_on_batch", "test_on_batch"):
        method, entry = getattr(model, name), f"{name} sample_weight"

        def call(weights, method=method):
            return method(x, sample_weight=weights, **options_of(method, batch_size=ROWS))

        for kind, (make, expected) in kinds.WEIGHTS.items():
            if not is_tried(bench, entry, kind, expected):
                continue
            yield Cell(
                entry,
                kind,
                lambda call=call, make=make: call(prepare(make, 48)),
                expected,
                "sample_weight",
                lambda entry=entry, call=call: bench.clean_result(
                    entry, lambda: call(np.ones(48, "float32"))
                ),
                False,
                model,
            )


def input_cells(bench):
    """Yield bad labels of a model that takes labels."""
    model, x = bench.model, bench.x
    if not model.extra_inputs:
        return
    name = model.extra_inputs[0]
    label = x[name]
    for method_name, method in [*methods_of(model).items(), ("decode", None), ("sample", None)]:
        if method_name == "decode":
            codes, taken = zoo.code_of(bench.name, 48), examples.taken_by(model, model.decode)

            def call(given, codes=codes):
                return model.decode(codes, **{name: given})

        elif method_name == "sample":
            taken = examples.taken_by_sample(model)
            if name in inspect.signature(model.sample).parameters:
                taken = {**taken, name: False}  # The model draws what nobody passes.

            def call(given):
                return model.sample(48, seed=0, **{name: given})

        else:
            computed = {each: model.loss_terms for each in (*LOOPS[:2], *ON_BATCH[:2])}
            computed |= {LOOPS[2]: model.reconstruct, ON_BATCH[2]: model.reconstruct}
            taken = examples.taken_by(model, computed.get(method_name, method))

            def call(given, method=method):
                return method(x["x"], **{name: given}, **options_of(method, batch_size=ROWS))

        if name not in taken:
            continue
        for kind, (make, expected) in kinds.NO_LABELS.items():
            if not is_tried(bench, method_name, kind, expected):
                continue
            if kind == "missing" and not taken[name]:
                expected = EITHER
            yield Cell(
                f"{method_name} {name}",
                kind,
                lambda call=call, make=make: call(prepare(make, label)),
                expected,
                name,
                lambda entry=f"{method_name} {name}", call=call: bench.clean_result(
                    entry, lambda: call(label)
                ),
                False,
                model,
            )


# ------------------------------------------------------------------ codes


def code_cells(bench):
    model = bench.model
    codes = zoo.code_of(bench.name, 48)
    inputs = zoo.inputs(model, "decode", 48)

    def call(z):
        given = zoo.inputs(model, "decode", length_of(z)) if inputs else {}
        return model.decode(z, **given)

    case = Case(model, "decode")
    for kind, (make, expected) in kinds.codes_of(case).items():
        yield Cell(
            "decode",
            kind,
            lambda make=make: call(prepare(make, codes)),
            expected,
            "z",
            lambda: bench.clean_result("decode", lambda: call(codes)),
            False,
            model,
        )


def length_of(z):
    return len(z) if isinstance(z, (np.ndarray, list)) and len(z) else 48
