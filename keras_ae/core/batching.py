"""Let methods that take a batch of tensors also take arrays of any length."""

import collections
import concurrent.futures
import contextlib
import functools
import inspect
import time
from collections.abc import Callable
from typing import Any, Concatenate

import keras
import numpy as np
from keras import ops

from keras_ae.core import (
    adaptation,
    arguments,
    backend,
    conversion,
    examples,
    inputs,
    memory,
    seeds,
    streams,
)
from keras_ae.core.programs import guard_programs
from keras_ae.core.types import BatchedMethod, Parameters, Result, Verbose

_BY_KEYWORD = inspect.Parameter.KEYWORD_ONLY
_EXTRA = [
    inspect.Parameter("batch_size", _BY_KEYWORD, default=None, annotation=int | None),
    inspect.Parameter("verbose", _BY_KEYWORD, default="auto", annotation=Verbose),
]


_BATCH_SIZE = 1024  # The default batch size is at most this.
_AT_ONCE = 4  # At most this many batches are computed at the same time.


def batched(
    kind: str, call: str | None = None, returns_data: bool | None = None
) -> Callable[[Callable[Concatenate[Any, Parameters], Result]], BatchedMethod[Parameters, Result]]:
    """Let a method that takes a batch accept arrays of any length, tensors, or symbolic tensors.

    Tensors are passed directly to the method, so that gradients flow through it. Arrays, and a
    `tf.data.Dataset` of them, are checked and split into batches. A compiled function then computes
    the batches, and the result is a NumPy array. Named inputs that the method takes are treated in
    the same way: see `keras_ae.core.examples`.

    Args:
        kind: What the method's first argument contains, which determines its checks: `"data"`,
            `"code"` or `"draws"`. Data becomes float32, codes get the dtype that
            `inputs.check_codes` returns, and draws keep their dtype.
        call: Name of the method in errors. Defaults to None, which means the method's own name.
        returns_data: Whether the method returns data, which is then converted to the user's units.
            Defaults to None, which means that it does unless kind is `"data"`.

    Returns:
        A decorator. The decorated method has two more arguments. `batch_size` is the number of
        examples in a batch. By default, a batch has at most 1,024 examples and about a million
        values. `verbose` determines whether there is a progress bar: "auto" shows it after two
        seconds, 0 never, and 1 always. If the method has an argument `seed`, it gets a
        `keras.random.SeedGenerator`.
    """

    returns_data = kind != "data" if returns_data is None else returns_data

    def decorate(method):
        signature = inspect.signature(method)
        has_seed = "seed" in signature.parameters
        takes_targets = "y" in signature.parameters
        label = call or method.__name__
        parameters = sorted([*signature.parameters.values(), *_EXTRA], key=lambda p: p.kind)

        @functools.wraps(method)
        def run(self, *args, batch_size=None, verbose="auto", **kwargs):
            taken = examples.taken_by(self, method)
            for name, required in taken.items():
                if required:  # A dictionary or a dataset may contain this input.
                    kwargs.setdefault(name, None)
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            given = dict(list(bound.arguments.items())[1:])
            named = given.pop("inputs", {})
            named |= {name: given.pop(name) for name in taken if name in given}
            first = next(iter(given))
            if _holds_tensors(given[first]):
                if has_seed:
                    given["seed"] = seeds.draw(self, given["seed"])
                given[first], found = inputs.take_apart(self, given[first], first)
                if kind != "draws":
                    given[first] = inputs.check_tensors(self, label, kind, given[first], first)
                named = {**examples.select(self, method, found), **_drop_missing(named)}
                named = examples.check_names(self, label, taken, named, signature)
                named = inputs.check_arrays_with_tensors(self, label, given[first], named)
                named = examples.as_tensors(self, named)
                return _compute(self, method, kind, returns_data, {**given, **named})
            targets = [name for name in ("y",) if given.get(name) is not None]
            data = {name: given.pop(name) for name in (first, *targets)}
            seed = given.pop("seed", None)
            data, named = _check(self, kind, method, label, data, named, takes_targets)
            given = {name: value for name, value in given.items() if name not in data}
            arrays = _Arrays(data, named, "float32" if kind == "data" else None)
            if batch_size is None:
                shapes = [array.shape[1:] for array in arrays.values]
                batch_size = default_batch_size(*shapes, self._data_shape)
            name = f"{type(self).__name__}.{label}"
            sizes = {**data, **named, "batch_size": batch_size, **given}
            kept = _preserve_state(self) if given.get("training") else contextlib.nullcontext()
            with kept, memory.explained(name, lambda: sizes, memory.SMALLER_BATCH):
                first_seed = seeds.seed_pair(self, seed) if has_seed else None
                batches = _Batches(self, arrays, batch_size, first_seed)
                # If several draws of each example are decoded together, a batch takes more memory.
                batches.refuse_too_large(given.get("draws_at_once", 1))
                run_once = functools.partial(_compute, self, method, kind, returns_data)
                program = _program(self, method, run_once, arrays.places, given, has_seed)
                return batches.run(program, verbose)

        run.__signature__ = signature.replace(parameters=parameters)
        return run

    return decorate


@contextlib.contextmanager
def _preserve_state(model):
    """Restore the state of the layers after a call with training=True in a `with` block."""
    before = [(v, ops.convert_to_numpy(v)) for v in model.non_trainable_variables]
    try:
        yield
    finally:
        for variable, value in before:
            variable.assign(value)


def _drop_missing(named):
    return {name: value for name, value in named.items() if value is not None}


def _holds_tensors(values):
    first = next(iter(values.values()), None) if isinstance(values, dict) else values
    if ops.is_tensor(first):
        conversion.refuse_no_array(first, "x")  # A sparse or ragged tensor is one for Keras.
    return ops.is_tensor(first) or isinstance(first, keras.KerasTensor)


def _check(model, kind, method, label, data, named, takes_targets):
    """Check the arrays of a call. Return its data, name -> array, and its named inputs."""
    (first, values), *others = data.items()
    if kind == "data":
        if not conversion.holds_arrays(values):
            values, found = streams.read_stream(model, values, first, method)
            if takes_targets and found is not None and not others:
                others = [("y", found)]
        is_target = takes_targets and not others
        values, named = inputs.check_call(model, label, method, values, named, first, is_target)
    elif kind == "code":
        values = inputs.check_codes(model, values, first)
    if kind != "data":
        named = inputs.check_named(model, label, method, named, len(values))
    checked = {first: values}
    for name, target in others:
        checked[name] = inputs.check_target(model, values, target, name)
    return checked, named


class _Arrays:
    """List of all arrays that a method is called with.

    Args:
        data: Dictionary of the data: name of the argument -> array or dictionary of arrays.
        named: Dictionary of the named inputs: name -> array.
        dtype: Dtype to which the data is converted, or None if it keeps its own.

    Attributes:
        values: List of the arrays.
        places: The argument that each array belongs to. This is (name, None), or (name, key) if the
            argument is a dictionary.
        dtypes: Dtype to which each array is converted, or None if it keeps its own.
    """

    def __init__(self, data, named, dtype):
        self.values, places, self.dtypes = [], [], []
        for name, value in {**data, **named}.items():
            parts = value.items() if isinstance(value, dict) else [(None, value)]
            for key, array in parts:
                self.values.append(array)
                places.append((name, key))
                self.dtypes.append(dtype if name in data else None)
        self.places = tuple(places)


def _arguments_of(places, tensors):
    """Put tensors into a dictionary of arguments: see `_Arrays` for `places`."""
    given = {}
    for (name, key), tensor in zip(places, tensors, strict=False):
        if key is None:
            given[name] = tensor
        else:
            given.setdefault(name, {})[key] = tensor
    return given


def default_batch_size(*shapes):
    """Return the default batch size for examples whose arrays have these shapes."""
    numbers = max(map(memory.numbers_in, shapes))
    return max(1, min(_BATCH_SIZE, 2**20 // numbers))


class _Batches:
    """Arrays that are split into batches for a compiled function.

    Args:
        model: The model.
        arrays: `_Arrays` that all have the same length.
        batch_size: Positive integer, the number of examples in a batch.
        seed: The two integers of the first batch's seed, or None if the function takes no seed.
    """

    def __init__(self, model, arrays, batch_size, seed):
        batch_size = arguments.integer(None, "batch_size", batch_size)
        self.model, self.arrays, self.seed = model, arrays, seed
        self.length = len(arrays.values[0])
        # If every batch length must be compiled, arrays are padded to a few powers of two.
        least = 2 ** (self.length - 1).bit_length() if backend.COMPILES_EACH_SHAPE else self.length
        self.size = min(batch_size, least)
        self.count = -(-self.length // self.size)

    def refuse_too_large(self, draws):
        """Raise if the batches that are computed at the same time do not fit into memory.

        Args:
            draws: Number of draws of each example that are decoded together.
        """
        at_once = min(_AT_ONCE if backend.RUNS_IN_ANY_THREAD else 1, self.count)
        memory.refuse_batch(self.model, self.size, self.arrays.values, at_once * draws)

    def run(self, program, verbose):
        """Call the function on all batches, and return an array, or a dictionary of arrays."""
        first = self._compute(program, 0)
        if isinstance(first, dict):  # JAX sorts the keys.
            first = {name: first[name] for name in self.model._modalities if name in first}
        if self.count == 1:
            return examples.map_leaves(lambda v: ops.convert_to_numpy(v)[: self.length], first)
        memory.refuse_results(self.model, self.length, examples.leaves(first))
        results = examples.map_leaves(
            lambda v: np.empty((self.length, *v.shape[1:]), backend.view(v).dtype), first
        )
        bar = _Progress(self.count, verbose)
        # If threads call the function, two batches wait in the queue, so that no thread is idle.
        most = _AT_ONCE + (2 if backend.RUNS_IN_ANY_THREAD else 0)
        with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
            under_way = collections.deque([pool.submit(self._write, results, 0, first)])
            for number in range(1, self.count):
                under_way.append(self._begin(pool, program, results, number))
                if len(under_way) == most:
                    under_way.popleft().result()
                    bar.advance()
            for writing in under_way:
                writing.result()
                bar.advance()
        return results

    def _compute(self, program, number):
        """Call the function on a batch. If that was padded, the result has additional rows."""
        start = number * self.size
        values = [array[start : start + self.size] for array in self.arrays.values]
        batch = list(map(np.asarray, values, self.arrays.dtypes))
        missing = self.size - len(batch[0])
        if missing and backend.COMPILES_EACH_SHAPE:
            batch = [np.concatenate([b, np.repeat(b[-1:], missing, axis=0)]) for b in batch]
        if self.seed is not None:
            pair = [self.seed[0], self.seed[1] + number * seeds.RunSeed.TURNS]
            batch.append(np.array(pair).astype(backend.SEED_DTYPE))
        return program(*batch)

    def _begin(self, pool, program, results, number):
        """Start to compute a batch and to write its result, and return the future of this work.

        Several threads do this, because one batch does not use all cores, especially while it is
        read or written.
        """
        if not backend.RUNS_IN_ANY_THREAD:  # Other threads may then only write.
            return pool.submit(self._write, results, number, self._compute(program, number))
        return pool.submit(lambda: self._write(results, number, self._compute(program, number)))

    def _write(self, results, number, part):
        for name in results if isinstance(results, dict) else [None]:
            whole, values = (results, part) if name is None else (results[name], part[name])
            rows = whole[number * self.size : (number + 1) * self.size]
            rows[...] = backend.view(values)[: len(rows)]


def _compute(model, method, kind, returns_data, given):
    """Call a method with tensors in the user's units, but compute in the model's own units."""
    with guard_programs(model), adaptation.own_units(model) as outside:
        if outside and model.standardize:
            names = {name: name for name in model.extra_inputs}
            if kind == "data":
                names |= {next(iter(given)): "x", "y": "x"}
            changed = {
                name: adaptation.standardize(model, given[name], of)
                for name, of in names.items()
                if given.get(name) is not None
            }
            given = {**given, **changed}
        result = method(model, **given)
        return adaptation.restore(model, result) if outside and returns_data else result


def _program(model, method, run_once, places, options, has_seed):
    """Return the method as a compiled function of tensors. The model keeps it for later calls."""
    key = (method.__qualname__, places, *sorted(options.items()))
    kept = model._notes.programs.current()
    if key not in kept:

        def function(*tensors):
            given = _arguments_of(places, tensors)
            if has_seed:
                given["seed"] = seeds.RunSeed(ops.reshape(tensors[-1], (2,)))
            return run_once({**given, **options})

        kept[key] = backend.compile_function(model, function)
    return kept[key]


class _Progress:
    """Keras progress bar that appears at once if verbose is 1, or else if the work takes long."""

    PATIENCE = 2.0  # seconds

    def __init__(self, num_batches, verbose):
        self.num_batches, self.verbose, self.done = num_batches, verbose, 0
        self.start, self.bar = time.perf_counter(), None

    def advance(self):
        self.done += 1
        if not self.verbose or self.num_batches == 1:
            return
        late = time.perf_counter() - self.start > self.PATIENCE and self.done < self.num_batches
        if self.bar is None and (self.verbose == 1 or late):
            self.bar = keras.utils.Progbar(self.num_batches)
        if self.bar is not None:
            self.bar.update(self.done)
