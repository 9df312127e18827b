"""Methods of tensors that also take whole arrays: compiled batches in, NumPy out."""

import collections
import concurrent.futures
import contextlib
import functools
import inspect
import time

import keras
import numpy as np
from keras import ops

from keras_ae.core import arguments, backend, inputs, memory, seeds
from keras_ae.core.programs import guard_programs

_EXTRA = [
    inspect.Parameter("batch_size", inspect.Parameter.KEYWORD_ONLY, default=None),
    inspect.Parameter("verbose", inspect.Parameter.KEYWORD_ONLY, default="auto"),
]


# The most examples of a batch by default, and the batches that are under way at a time.
_BATCH_SIZE = 1024
_AT_ONCE = 4


def batched(kind):
    """Let a method of a batch take arrays of any length, tensors, or symbolic tensors.

    Tensors go straight to the method, so that gradients flow. Arrays, and a `tf.data.Dataset` of
    them, are checked, cut into batches of one compiled program, and come back as NumPy.

    Args:
        kind: `"data"`, `"code"` or `"draws"`: what the method's first argument holds, for the
            checks. Codes keep the type that `inputs.check_codes` gives them; all else becomes
            float32.

    Returns:
        A decorator. The method gains `batch_size` (default: as many examples as hold a million
        numbers of data, up to 1,024) and `verbose` ("auto" shows a progress bar after two seconds,
        0 never, 1 always). A `seed` reaches the method as a `keras.random.SeedGenerator`.
    """

    def decorate(method):
        signature = inspect.signature(method)
        has_seed = "seed" in signature.parameters
        parameters = [*signature.parameters.values(), *_EXTRA]

        @functools.wraps(method)
        def call(self, *args, batch_size=None, verbose="auto", **kwargs):
            bound = signature.bind(self, *args, **kwargs)
            bound.apply_defaults()
            given = dict(list(bound.arguments.items())[1:])
            first = next(iter(given))
            values = given[first]
            if ops.is_tensor(values) or isinstance(values, keras.KerasTensor):
                if has_seed:
                    given["seed"] = seeds.draw(self, given["seed"])
                with guard_programs(self):
                    return method(self, **given)
            data = [name for name in ("y",) if given.get(name) is not None]
            arrays = _check_arrays(self, kind, {n: given.pop(n) for n in (first, *data)})
            seed = given.pop("seed", None)
            dtype = "float32" if kind == "data" else None
            if batch_size is None:
                shapes = [array.shape[1:] for array in arrays.values()]
                batch_size = default_batch_size(*shapes, self.data_shape)
            name = f"{type(self).__name__}.{method.__name__.removeprefix('_')}"
            sizes = {**arrays, "batch_size": batch_size, **given}
            kept = _preserve_state(self) if given.get("training") else contextlib.nullcontext()
            with kept, memory.explained(name, lambda: sizes, memory.SMALLER_BATCH):
                first_seed = seeds.seed_pair(self, seed) if has_seed else None
                batches = _Batches(self, arrays, batch_size, dtype, first_seed)
                # Draws of an example that are decoded together take as much as other batches.
                batches.refuse_too_large(given.get("draws_at_once", 1))
                program = _program(self, method, tuple(arrays), given, has_seed)
                return batches.run(program, verbose)

        call.__signature__ = signature.replace(parameters=parameters)
        return call

    return decorate


@contextlib.contextmanager
def _preserve_state(model):
    """Restore the state of layers after a call with training=True, which must not change it."""
    before = [(v, ops.convert_to_numpy(v)) for v in model.non_trainable_variables]
    try:
        yield
    finally:
        for variable, value in before:
            variable.assign(value)


def _check_arrays(model, kind, arrays):
    """Return the checked arrays: name -> array. A dataset is read batch by batch."""
    if kind == "draws":
        return arrays
    if kind == "code":
        return {name: inputs.check_codes(model, value) for name, value in arrays.items()}
    (first, values), *others = arrays.items()
    checked = {first: inputs.check_data(model, values, first)}
    for name, target in others:
        checked[name] = inputs.check_target(model, checked[first], target, name)
    return checked


def default_batch_size(*shapes):
    """How many examples to take at once of which each has arrays of these shapes."""
    numbers = max(int(np.prod(shape)) for shape in shapes)
    return max(1, min(_BATCH_SIZE, 2**20 // numbers))


class _Batches:
    """The batches of arrays, which one compiled program goes through.

    Args:
        model: The model.
        arrays: Name -> array, of one length.
        batch_size: Examples of a batch, a positive integer.
        dtype: What the arrays are read in; None for their own.
        seed: The two integers of the first batch's seed, or None for a program without one.
    """

    def __init__(self, model, arrays, batch_size, dtype, seed):
        batch_size = arguments.integer(None, "batch_size", batch_size)
        self.model, self.arrays, self.dtype, self.seed = model, arrays, dtype, seed
        self.length = len(next(iter(arrays.values())))
        # A few lengths serve all arrays where each would be a program of its own.
        least = 2 ** (self.length - 1).bit_length() if backend.COMPILES_EACH_SHAPE else self.length
        self.size = min(batch_size, least)
        self.count = -(-self.length // self.size)

    def refuse_too_large(self, draws):
        """Raise if the batches under way do not fit into memory, with so many draws an example."""
        at_once = min(_AT_ONCE if backend.RUNS_IN_ANY_THREAD else 1, self.count)
        arrays = tuple(self.arrays.values())
        memory.refuse_batch(self.model, self.size, arrays, at_once * draws)

    def run(self, program, verbose):
        """What the program makes of all batches, in one array."""
        first = self._compute(program, 0)
        if self.count == 1:
            return ops.convert_to_numpy(first)[: self.length]
        memory.refuse_results(self.model, self.length, first)
        results = np.empty((self.length, *first.shape[1:]), backend.view(first).dtype)
        bar = _Progress(self.count, verbose)
        # Where threads run the program, two batches stand in line, so that no thread waits for one.
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
        """What the program makes of a batch, perhaps of a few examples too many."""
        start = number * self.size
        values = [a[start : start + self.size] for a in self.arrays.values()]
        batch = [np.asarray(value, self.dtype) for value in values]
        missing = self.size - len(batch[0])
        if missing and backend.COMPILES_EACH_SHAPE:
            batch = [np.concatenate([b, np.repeat(b[-1:], missing, axis=0)]) for b in batch]
        if self.seed is not None:
            pair = [self.seed[0], self.seed[1] + number * seeds.RunSeed.TURNS]
            batch.append(np.array(pair).astype(backend.SEED_DTYPE))
        return program(*batch)

    def _begin(self, pool, program, results, number):
        """Compute a batch and write it, of which threads do as much as the backend lets them.

        A batch that is read or written, or waits for one core, leaves the others to the next ones.
        """
        if not backend.RUNS_IN_ANY_THREAD:
            return pool.submit(self._write, results, number, self._compute(program, number))
        return pool.submit(lambda: self._write(results, number, self._compute(program, number)))

    def _write(self, results, number, part):
        rows = results[number * self.size : (number + 1) * self.size]
        rows[...] = backend.view(part)[: len(rows)]


def _program(model, method, names, options, has_seed):
    """The method as a compiled function of arrays, kept with the model."""
    key = (method.__qualname__, names, *sorted(options.items()))
    kept = model._notes.programs.current()
    if key not in kept:

        def function(*tensors):
            given = dict(zip(names, tensors, strict=False))
            if has_seed:
                given["seed"] = seeds.RunSeed(ops.reshape(tensors[-1], (2,)))
            with guard_programs(model):
                return method(model, **given, **options)

        kept[key] = backend.compile_function(model, function)
    return kept[key]


class _Progress:
    """A Keras progress bar that appears when the work turns out to be long."""

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
