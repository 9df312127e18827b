"""How much memory is left, and an error before a call takes more than that.

The system may kill a process that asks for too much memory without a message, or the process
crashes inside a backend. The functions here compare what a call is going to take with what is left,
before it takes any.
"""

import contextlib
import contextvars
import dataclasses
import functools
import inspect
import math
import numbers
import os
import pathlib
import re

import keras
import numpy as np

from keras_ae.core import backend

try:
    import resource
except ImportError:  # Windows has no limits of this kind.
    resource = None

_PROC, _CGROUP = pathlib.Path("/proc"), pathlib.Path("/sys/fs/cgroup")
# Fewer bytes than this are never compared, because the comparison would take longer than the call.
_SMALL = 2**27
# While an initializer makes a weight, the weight exists at least twice.
_COPIES_WHILE_MADE = 2
# More layers than this, or more turns of an unrolled loop, take hours to compile.
_MOST_LAYERS = 1000


def available():
    """Return the bytes that this process can still take; infinity if the system does not say.

    That is the least of three: the machine's available memory, what the process' control group
    leaves, and what the limit of its address space leaves.

    Example:
        >>> from keras_ae.core import memory
        >>> memory.available() > 0
        True
    """
    return max(0, min(_of_machine(), _of_group(), address_space()))


def refuse_beyond(size, what, remedy, left=None):
    """Raise if something takes more memory than is left.

    Args:
        size: Bytes that it takes, or a product of sizes as a float. what: What takes them, with the
        sizes that matter. It is the subject of the error's sentence. remedy: A sentence that says
        what to do instead. left: Bytes that are left. Defaults to None, which asks `available`.

    Raises:
        ValueError: If fewer bytes are left.

    Example:
        >>> from keras_ae.core import memory
        >>> memory.refuse_beyond(10**6, "A megabyte", "Take less.")
    """
    # While a program is exported for any number of examples, a size is symbolic and not a number.
    if not isinstance(size, numbers.Real) or size <= _SMALL:
        return
    left = available() if left is None else left
    if size > left:
        raise ValueError(
            f"{what} would take {size / 1e9:,.1f} GB of memory, and {left / 1e9:,.1f} GB are left "
            f"to this process. {remedy}"
        )


def refuse_layers(owner, name, number):
    """Raise if an argument asks for more layers than can be made and compiled.

    A compiled program lists every layer by itself. With so many of them, it takes hours to make and
    gigabytes to hold.

    Args:
        owner: Name of the model, layer or function that was called.
        name: Name of the argument that asks for them.
        number: How many layers it asks for.

    Raises:
        ValueError: If it asks for more than 1,000.

    Example:
        >>> from keras_ae.core import memory
        >>> memory.refuse_layers("AE", "blocks", 12)
    """
    if number > _MOST_LAYERS:
        raise ValueError(
            f"{owner}: {name}={number} asks for {number:,} layers or turns one after the other, "
            f"and more than {_MOST_LAYERS:,} would take hours and gigabytes to compile. Take fewer."
        )


# ------------------------------------------------------------------ what was not foreseen


class _Explained(MemoryError):
    """The error of a backend, with the call that it came from and what to do."""


# Backends without an error type of their own for missing memory say it in these words.
_SAYS_SO = re.compile(
    r"RESOURCE_EXHAUSTED|\bOOM\b|out of memory|can't allocate|bad_alloc|storage size", re.I
)


@contextlib.contextmanager
def explained(name, arguments, remedy):
    """A context in which a failed allocation raises the same error on every backend.

    Args:
        name: The call, such as "VAE.fit".
        arguments: Function that returns a dictionary of the call's arguments. The error names the
            numbers and shapes in it.
        remedy: A sentence that says what to do instead.

    Raises:
        MemoryError: If there was not enough memory. Of nested contexts, the innermost one raises.
    """
    _avoid_pool()
    try:
        yield
    except _Explained:
        raise
    except backend.MEMORY_ERRORS as error:
        if not (isinstance(error, MemoryError) or _SAYS_SO.search(str(error))):
            raise  # Backends use the same type for errors that are not about memory.
        sizes = "".join(f", {key}{size}" for key, size in _sizes(arguments()))
        lines = str(error).splitlines() or [type(error).__name__]
        reason = next(filter(_SAYS_SO.search, lines), lines[0])
        raise _Explained(
            f"{name}{sizes}: there was not enough memory; {available() / 1e9:,.1f} GB are left to "
            f"this process. {remedy} What failed: {reason[:200]}"
        ) from error


def _avoid_pool():
    """Have TensorFlow allocate each tensor by itself if the address space has a limit.

    TensorFlow allocates almost all that a limit leaves at once. If the table of it then finds no
    room, the process crashes, because C++'s error reaches Python without Python's lock. TensorFlow
    looks at the variable when it makes its first tensor, on every backend that reads a
    `tf.data.Dataset`. Without a limit its own way stays, because it is faster.
    """
    if _limit_of_address_space() < math.inf:
        os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")


def _sizes(arguments):
    for key, value in arguments.items():
        if dataclasses.is_dataclass(value):
            yield from _sizes(vars(value))
        shape = getattr(value, "shape", None)
        if shape is not None:
            yield key, f" of shape {tuple(shape)}"
        elif isinstance(value, int) and value > 1:  # 0 and 1 may be switches; they are not sizes.
            yield key, f"={value}"


def _refuse_copies(name, values, remedy):
    """Raise if the tensors of NumPy arrays among the values do not fit into memory.

    TensorFlow copies an array without a look at whether the copy was allocated, and crashes.
    """
    arrays = list(_arrays_of(values))
    size = sum(array.nbytes for array in arrays)
    if size > _SMALL:
        shapes = ", ".join(str(array.shape) for array in arrays)
        # Threads that start meanwhile take memory, too.
        taken = 1.1 * backend.COPIES_OF_ARRAYS * size
        refuse_beyond(taken, f"{name}: tensors of the arrays of shape {shapes}", remedy)


def _arrays_of(values):
    for value in values:
        if isinstance(value, np.ndarray):
            yield value
        elif dataclasses.is_dataclass(value):
            yield from _arrays_of(vars(value).values())


def explains(remedy, converts=True):
    """A decorator that runs a function in the contexts of `explained` and `checked_weights`.

    Args:
        remedy: A sentence that says what to do instead.
        converts: Whether the function makes tensors of the NumPy arrays that it is given, for which
            there must be room. Defaults to True.

    Example:
        >>> import numpy as np
        >>> from keras_ae.core import memory
        >>> @memory.explains("Take fewer.")
        ... def zeros(number):
        ...     return np.zeros(number)
        >>> zeros(2).tolist()
        [0.0, 0.0]
    """

    def decorate(function):
        signature = inspect.signature(function)
        is_method = next(iter(signature.parameters), None) == "self"
        special = r".*<locals>\.|\.__(call|init|post_init)__$"
        of_function = re.sub(special, "", function.__qualname__)
        of_method = of_function.removeprefix(of_function.split(".")[0])

        @functools.wraps(function)
        def call(*args, **kwargs):
            def given():
                return signature.bind(*args, **kwargs).arguments

            # A method is called of the class of its object, which may be a subclass.
            name = type(args[0]).__name__ + of_method if is_method else of_function
            if converts:
                _refuse_copies(name, (*args, *kwargs.values()), remedy)
            with checked_weights(name, remedy), explained(name, given, remedy):
                return function(*args, **kwargs)

        call.__signature__ = signature  # Keras reads this without looking at `__wrapped__`.
        return call

    return decorate


def explains_methods(remedy):
    """A class decorator: `explains` for every public method and property that the class defines.

    Args:
        remedy: A sentence that says what to do instead.

    Example:
        >>> import numpy as np
        >>> from keras_ae.core import memory
        >>> @memory.explains_methods("Take fewer.")
        ... class Maker:
        ...     def zeros(self, number):
        ...         return np.zeros(number)
        >>> Maker().zeros(2).tolist()
        [0.0, 0.0]
    """
    explain = explains(remedy)

    def decorate(cls):
        for name, member in list(vars(cls).items()):
            if inspect.isfunction(member) and not name.startswith("_"):
                setattr(cls, name, explain(member))
            elif isinstance(member, property):
                setattr(cls, name, property(explain(member.fget), doc=member.__doc__))
        return cls

    return decorate


_SMALLER_LAYER = "Pass fewer examples, or take a smaller layer."


class GuardedLayer(keras.layers.Layer):
    """A layer that names itself and its inputs' sizes if a call finds too little memory."""

    def __call__(self, *args, **kwargs):
        name = type(self).__name__

        def given():
            return dict(zip(inspect.signature(self.call).parameters, args, strict=False)) | kwargs

        _refuse_copies(name, (*args, *kwargs.values()), _SMALLER_LAYER)
        with (
            checked_weights(name, "Take a smaller layer."),
            explained(name, given, _SMALLER_LAYER),
        ):
            return super().__call__(*args, **kwargs)


def guard_network(network):
    """Have a functional network explain itself if a call finds too little memory.

    The network stays a plain Keras model, because its file shall need no class of this package. A
    network that is loaded from a file has no guard.

    Args:
        network: A functional `keras.Model` of one input, which is returned.
    """
    call, name = network.call, f"The network {network.name!r}"

    @functools.wraps(call)
    def guarded(inputs, *args, **kwargs):
        _refuse_copies(name, (inputs,), _SMALLER_LAYER)
        with explained(name, lambda: {"inputs": inputs}, _SMALLER_LAYER):
            return call(inputs, *args, **kwargs)

    network.call = guarded
    return network


# ------------------------------------------------------------------ weights

_building = contextvars.ContextVar("building", default=None)


@contextlib.contextmanager
def checked_weights(owner, remedy, others=0):
    """A context in which weights are compared with the memory that is left before they are made.

    All weights of the context are added up and compared with what was left when it began. What is
    left later does not count them all, because the system takes pages that nobody has written to,
    such as an optimizer's zeros, only when they are written.

    Args:
        owner: Name of the model, layer or function that makes the weights.
        remedy: A sentence that says what to do instead.
        others: Bytes that will be taken besides the weights. Defaults to 0.

    Raises:
        ValueError: If the weights that are made in the context take more than is left.
    """
    if _building.get() is not None:  # A layer's context is within its model's, which counts.
        yield
        return
    token = _building.set({"owner": owner, "remedy": remedy, "bytes": others, "left": None})
    try:
        yield
    finally:
        _building.reset(token)


def _check_weight(variable):
    state = _building.get()
    if state is None:
        return
    size = size_of([variable])
    before = state["bytes"]
    state["bytes"] += size
    while_made = size * _COPIES_WHILE_MADE
    if before + while_made <= _SMALL:
        return
    if state["left"] is None:
        state["left"] = available()
    what = (
        f"{state['owner']}: making the weight {variable.path!r} of shape {tuple(variable.shape)}, "
        f"with the {before / 1e9:,.1f} GB of others,"
    )
    refuse_beyond(before + while_made, what, state["remedy"], state["left"])
    # Other processes may have taken memory since the context began.
    refuse_beyond(while_made, what, state["remedy"])


def _watch_variables():
    """Have Keras' variables checked when they are made in the context of `checked_weights`.

    Layers, also those of users, make their weights themselves, and Keras has no hook for that.
    """
    name = "_initialize_with_initializer"
    original = keras.Variable._initialize_with_initializer

    @functools.wraps(original)
    def initialize(self, initializer):
        _check_weight(self)
        return original(self, initializer)

    setattr(keras.Variable, name, initialize)


_watch_variables()


def size_of(variables):
    """Return the bytes that variables take."""
    return sum(math.prod(v.shape) * _bytes_of(v.dtype) for v in variables)


def _bytes_of(dtype):
    digits = "".join(c for c in str(dtype) if c.isdigit())
    return max(1, int(digits or 8) // 8)


# ------------------------------------------------------------------ batches and results

SMALLER_MODEL = (
    "Take a smaller latent_dim, smaller network_options, or less of what else the model's "
    "arguments count (codes, components, features), or smaller examples."
)
SMALLER_BATCH = "Pass a smaller batch_size."
FEWER_DRAWS = "Draw fewer at a time, each time with another seed."


def numbers_in(shape):
    """Return how many numbers an example of a shape has; a dictionary holds several shapes."""
    shapes = shape.values() if isinstance(shape, dict) else [shape]
    return sum(map(math.prod, shapes))


def refuse_samples(model, num_samples):
    """Raise if so many samples of a built model, with their codes, do not fit into memory."""
    numbers = numbers_in(model.target_shape) + math.prod(model.code_shape)
    refuse_beyond(
        4.0 * num_samples * numbers,
        f"{type(model).__name__}.sample: num_samples={num_samples} of shape {model.target_shape}",
        FEWER_DRAWS,
    )


def refuse_results(model, length, parts):
    """Raise if the results of an array call do not fit into memory.

    Args:
        model: The model.
        length: Number of examples in all batches.
        parts: The results for one batch, a list of tensors.
    """
    shapes = [tuple(part.shape[1:]) for part in parts]
    sizes = [math.prod(part.shape[1:]) * _bytes_of(part.dtype) for part in parts]
    refuse_beyond(
        float(length) * sum(sizes),
        f"{type(model).__name__}: the results for {length} examples, "
        f"{' and '.join(map(str, shapes))} each,",
        "Call it with fewer examples at a time.",
    )


def refuse_batch(model, size, arrays, at_once=1):
    """Raise if a batch of an array call does not fit into memory with its largest layer's output.

    Args:
        model: The model.
        size: Number of examples in a batch.
        arrays: The arrays that batches are cut from.
        at_once: How many batches are computed at the same time. Defaults to 1.
    """
    numbers = sum(math.prod(array.shape[1:]) for array in arrays)
    largest, _ = numbers_of_layers(model)
    _refuse_examples(model, size, numbers + largest, model._batch_numbers(size), at_once)


def refuse_step(model, size):
    """Raise if a step of training or evaluation does not fit into memory."""
    _, outputs = numbers_of_layers(model)
    numbers = numbers_in(model.data_shape) + outputs
    _refuse_examples(model, size, numbers, model._step_numbers(size), margin=_MARGIN_OF_A_STEP)


# The peaks of steps that were measured are up to 1.44 times what their layers and losses hold.
_MARGIN_OF_A_STEP = 1.5


def _refuse_examples(model, size, numbers, others=0, at_once=1, margin=1.0):
    refuse_beyond(
        4.0 * margin * at_once * (size * numbers + others),
        f"{type(model).__name__}: a batch of {size} examples, {numbers:,} numbers of layers each"
        + (f" and {others:,.0f} in what compares them with others," if others else ",")
        + (f" {at_once} such batches at a time," if at_once > 1 else ""),
        SMALLER_BATCH,
    )


def numbers_of_layers(model):
    """Return how many numbers the layers of a model put out for one example: the largest, the sum.

    Attention also has a number for each pair of positions, and a recurrent layer has some for each
    step. A layer that does not tell the shape of its output, such as one with several outputs,
    counts as 0. A built model keeps its layers, so they are counted once.
    """
    known = vars(model).get("_numbers_of_layers")
    if known:
        return known
    found = [0]
    for layer in model._flatten_layers(include_self=False, recursive=True):
        shape = _output_shape(layer)
        found.append(math.prod(n or 1 for n in shape[1:]))
        if isinstance(layer, keras.layers.MultiHeadAttention) and len(shape) == 3:
            found.append(layer.num_heads * (shape[1] or 1) ** 2)
        if isinstance(layer, keras.layers.RNN):
            found.append(_numbers_of_steps(layer, model))
    known = max(found), sum(found)
    if model.built:
        object.__setattr__(model, "_numbers_of_layers", known)
    return known


def _numbers_of_steps(layer, model):
    """Return how many numbers a recurrent layer keeps: states, gates and their inputs, twice."""
    try:
        steps = layer.input.shape[1]
    # A layer that was not called by itself has no input; such a layer makes the target's steps.
    except (AttributeError, ValueError):
        steps = getattr(model, "target_shape", (1,))[0]
    return 10 * (steps or 1) * sum(keras.tree.flatten(layer.state_size))


def _output_shape(layer):
    try:
        output = layer.output
    except (AttributeError, ValueError):  # Keras raises these for a layer not called by itself.
        return ()
    return tuple(output.shape) if hasattr(output, "shape") else ()


# ------------------------------------------------------------------ what there is


def _of_machine():
    lines = _read(_PROC / "meminfo").splitlines()
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return math.inf


def _of_group():
    """Return the bytes that the limits of the process' control groups (version 1 or 2) leave."""
    left = math.inf
    for line in _read(_PROC / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        root = _CGROUP / controllers
        names = {
            "": ("memory.max", "memory.current", "inactive_file"),
            "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        }[controllers]
        group = root / path.lstrip("/")
        # A container often sees its own group as the root, and not under the path that it reads.
        for folder in {root, group, *(p for p in group.parents if root in p.parents)}:
            left = min(left, _of_folder(folder, *names))
    return left


def _of_folder(folder, limit, used, reclaimed):
    limit, used = _read(folder / limit).strip(), _read(folder / used).strip()
    if not (limit.isdigit() and used.isdigit()):
        return math.inf  # The word "max" stands for no limit.
    cache = 0
    for line in _read(folder / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name == reclaimed:
            cache = int(value)
    return int(limit) - int(used) + cache


def address_space():
    """Return the bytes that the limit of the process' address space leaves, as for mapping a file.

    Example:
        >>> from keras_ae.core import memory
        >>> memory.address_space() > 0
        True
    """
    limit = _limit_of_address_space()
    if limit == math.inf:
        return math.inf
    pages = _read(_PROC / "self" / "statm").split()
    return limit - int(pages[0]) * resource.getpagesize() if pages else math.inf


def _limit_of_address_space():
    if resource is None:
        return math.inf
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return math.inf if limit == resource.RLIM_INFINITY else limit


def _read(path):
    try:
        return path.read_text()
    except OSError:
        return ""


_avoid_pool()
