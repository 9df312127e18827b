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

from keras_ae.core import backend, inputs, memory, seeds
from keras_ae.core.programs import traced

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
            given = signature.bind(self, *args, **kwargs)
            given.apply_defaults()
            arguments = dict(list(given.arguments.items())[1:])
            first = next(iter(arguments))
            values = arguments[first]
            if ops.is_tensor(values) or isinstance(values, keras.KerasTensor):
                if has_seed:
                    arguments["seed"] = seeds.draw(self, arguments["seed"])
                with traced(self):
                    return method(self, **arguments)
            data = [name for name in ("y",) if arguments.get(name) is not None]
            arrays = _checked(self, kind, {n: arguments.pop(n) for n in (first, *data)})
            seed = arguments.pop("seed", None)
            dtype = "float32" if kind == "data" else None
            if batch_size is None:
                shapes = [array.shape[1:] for array in arrays.values()]
                batch_size = default_batch_size(*shapes, self.data_shape)
            name = f"{type(self).__name__}.{method.__name__.removeprefix('_')}"
            sizes = {**arrays, "batch_size": batch_size, **arguments}
            kept = _put_back(self) if arguments.get("training") else contextlib.nullcontext()
            with kept, memory.explained(name, lambda: sizes, memory.SMALLER_BATCH):
                return _run(
                    self, method, arrays, dtype, arguments, has_seed, seed, batch_size, verbose
                )

        call.__signature__ = signature.replace(parameters=parameters)
        return call

    return decorate


@contextlib.contextmanager
def _put_back(model):
    """The context of a call that acts as training does, and moves no state of it for all that."""
    before = [(v, ops.convert_to_numpy(v)) for v in model.non_trainable_variables]
    try:
        yield
    finally:
        for variable, value in before:
            variable.assign(value)


def _checked(model, kind, arrays):
    """name -> a checked array; a dataset of one argument is read batch by batch."""
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


def _run(model, method, arrays, dtype, options, has_seed, seed, batch_size, verbose):
    """One compiled program over all batches; short ones are padded where that saves a program.

    The arrays are read in dtype, or in their own if it is None.
    """
    names, values = zip(*arrays.items(), strict=True)
    if not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size={batch_size!r} must be a positive integer.")
    length = len(values[0])
    largest = 2 ** (length - 1).bit_length() if backend.COMPILES_EACH_SHAPE else length
    size = min(batch_size, largest)
    at_once = min(_AT_ONCE if backend.RUNS_IN_ANY_THREAD else 1, -(-length // size))
    # Draws of an example that a method decodes together take as much as other batches.
    together = at_once * options.get("draws_at_once", 1)
    memory.refuse_batch(model, size, values, together)
    program = _program(model, method, names, options, has_seed)
    first_seed = seeds.numbers_of(model, seed) if has_seed else None
    bar = _Progress(-(-length // size), verbose)

    def found(number):
        """What the program makes of a batch, perhaps of a few examples too many."""
        start = number * size
        batch = [np.asarray(value[start : start + size], dtype) for value in values]
        missing = size - len(batch[0])
        if missing and backend.COMPILES_EACH_SHAPE:
            batch = [np.concatenate([b, np.repeat(b[-1:], missing, axis=0)]) for b in batch]
        if has_seed:
            pair = [first_seed[0], first_seed[1] + number * seeds.RunSeed.TURNS]
            batch.append(np.array(pair).astype(backend.SEED_DTYPE))
        return program(*batch)

    part = found(0)
    if length <= size:
        return ops.convert_to_numpy(part)[:length]
    memory.refuse_results(model, length, part)
    results = np.empty((length, *part.shape[1:]), backend.view(part).dtype)

    def write(number, part):
        rows = results[number * size : (number + 1) * size]
        rows[...] = backend.view(part)[: len(rows)]

    def find_and_write(number):
        write(number, found(number))

    # Where threads run the program, two numbers stand in line, so that no thread waits for one.
    in_hand = _AT_ONCE + (2 if backend.RUNS_IN_ANY_THREAD else 0)
    # A batch that is read or written, or waits for one core, leaves the others to the next ones.
    with concurrent.futures.ThreadPoolExecutor(_AT_ONCE) as pool:
        under_way = collections.deque([pool.submit(write, 0, part)])
        for number in range(1, bar.num_batches):
            if backend.RUNS_IN_ANY_THREAD:
                under_way.append(pool.submit(find_and_write, number))
            else:
                under_way.append(pool.submit(write, number, found(number)))
            if len(under_way) == in_hand:
                under_way.popleft().result()
                bar.advance()
        for writing in under_way:
            writing.result()
            bar.advance()
    return results


def _program(model, method, names, options, has_seed):
    """The method as a compiled function of arrays, kept with the model."""
    key = (method.__qualname__, names, *sorted(options.items()))
    kept = model._notes.programs.current()
    if key not in kept:

        def function(*tensors):
            given = dict(zip(names, tensors, strict=False))
            if has_seed:
                given["seed"] = seeds.RunSeed(ops.reshape(tensors[-1], (2,)))
            with traced(model):
                return method(model, **given, **options)

        kept[key] = backend.compiled(model, function)
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
