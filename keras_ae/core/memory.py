"""Errors for calls that need more memory than is left.

A process that needs too much memory may be killed without a message, or crash inside a backend. The
functions here estimate how much memory a call needs, and raise an error before the call allocates
more than is left.
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
from collections.abc import Callable

import keras
import numpy as np

from keras_ae.core import backend
from keras_ae.core.types import Function

try:
    import resource
except ImportError:  # Windows does not have this module.
    resource = None

_PROC, _CGROUP = pathlib.Path("/proc"), pathlib.Path("/sys/fs/cgroup")
# A size of at most this many bytes is not checked, because the check would take longer than the
# call.
_SMALL = 2**27
# While an initializer makes a weight, memory holds two copies of it, and on torch three.
_COPIES_WHILE_MADE = 3
# More layers than this, or more iterations of an unrolled loop, would take hours to compile.
_MOST_LAYERS = 1000


def available():
    """Return how many bytes this process can still allocate, or infinity if that is unknown.

    Three limits apply: the machine's available memory, the limit of the process' control group, and
    the limit of its address space. The function returns what the strictest of them leaves.

    Example:
        >>> from keras_ae.core import memory
        >>> memory.available() > 0
        True
    """
    return max(0, min(_of_machine(), _of_group(), address_space()))


def refuse_beyond(size, what, remedy, left=None):
    """Raise an error if an allocation is larger than the memory that is left.

    Args:
        size: Number of bytes to allocate, an integer or a float.
        what: What needs the memory, with the sizes that matter. This is the subject of the
            message's first sentence.
        remedy: A sentence that says what to do instead.
        left: Number of bytes that are left. Defaults to None, for the result of `available`.

    Raises:
        ValueError: If `size` is larger than what is left.

    Example:
        >>> from keras_ae.core import memory
        >>> memory.refuse_beyond(10**6, "A megabyte", "Take less.")
    """
    # If a function is exported for batches of any size, `size` is symbolic and not a number.
    if not isinstance(size, numbers.Real) or size <= _SMALL:
        return
    state = _building.get()
    if state is not None:
        _refuse_beyond_limit(state, size + state["bytes"], what)
    _refuse_beyond_memory(size, what, remedy, left)


def _refuse_beyond_memory(size, what, remedy, left=None):
    left = available() if left is None else left
    if size > left:
        raise ValueError(
            f"{what} would take {size / 1e9:,.1f} GB of memory, and {left / 1e9:,.1f} GB are left "
            f"to this process. {remedy}"
        )


def refuse_layers(owner, name, number):
    """Raise an error if an argument asks for more than 1,000 layers.

    A compiled function contains every layer separately. With so many layers, it would take hours
    and gigabytes to compile.

    Args:
        owner: Name of the model, layer or function that was called.
        name: Name of the argument.
        number: Number of layers that the argument asks for.

    Raises:
        ValueError: If `number` is larger than 1,000.

    Example:
        >>> from keras_ae.core import memory
        >>> memory.refuse_layers("AE", "blocks", 12)
    """
    if number > _MOST_LAYERS:
        raise ValueError(
            f"{owner}: {name}={number} asks for {number:,} layers or iterations in sequence, but "
            f"more than {_MOST_LAYERS:,} would take hours and gigabytes to compile. Take fewer."
        )


# ------------------------------------------------------------------ errors of failed allocations


class _Explained(MemoryError):
    """An error that adds to a backend's message which call failed and what to do."""


# Some backends have no error type for failed allocations. Their messages contain these words.
_SAYS_SO = re.compile(
    r"RESOURCE_EXHAUSTED|\bOOM\b|out of memory|can't allocate|bad_alloc|storage size", re.I
)


@contextlib.contextmanager
def explained(name, arguments, remedy):
    """Raise the same error on every backend if an allocation in the `with` block fails.

    Args:
        name: Name of the call, such as "VAE.fit".
        arguments: Function that returns a dictionary of the call's arguments. The message contains
            their numbers and shapes.
        remedy: A sentence that says what to do instead.

    Raises:
        MemoryError: If there was not enough memory. If blocks are nested, the message describes the
            call of the innermost one.
    """
    _avoid_pool()
    try:
        yield
    except _Explained:
        raise
    except backend.MEMORY_ERRORS as error:
        if not (isinstance(error, MemoryError) or _SAYS_SO.search(str(error))):
            raise  # Backends use the same types for errors that have nothing to do with memory.
        sizes = "".join(f", {key}{size}" for key, size in _sizes(arguments()))
        lines = str(error).splitlines() or [type(error).__name__]
        reason = next(filter(_SAYS_SO.search, lines), lines[0])
        raise _Explained(
            f"{name}{sizes}: there was not enough memory; {available() / 1e9:,.1f} GB are left to "
            f"this process. {remedy} What failed: {reason[:200]}"
        ) from error


def _avoid_pool():
    """Make TensorFlow allocate each tensor separately if the address space is limited.

    By default, TensorFlow allocates a pool of almost all the memory that the limit leaves.
    If there is then no memory for the table of this pool, the process crashes, because the C++
    exception reaches Python while the thread does not hold Python's lock (the GIL). TensorFlow
    reads the environment variable when it makes its first tensor. This also concerns JAX and torch,
    because TensorFlow reads their `tf.data.Dataset`s. If there is no limit, the pool is used,
    because it is faster.
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
        elif isinstance(value, int) and value > 1:  # 0 and 1 are often flags and not sizes.
            yield key, f"={value}"


def _refuse_copies(name, values, remedy):
    """Raise an error if the NumPy arrays among the values do not fit into memory as tensors.

    TensorFlow does not check whether it could allocate the copy of an array, and crashes if it
    could not.
    """
    arrays = list(_arrays_of(values))
    size = sum(array.nbytes for array in arrays)
    if size > _SMALL:
        shapes = ", ".join(str(array.shape) for array in arrays)
        # The factor 1.1 leaves memory for threads that start in the meantime.
        needed = 1.1 * backend.COPIES_OF_ARRAYS * size
        refuse_beyond(needed, f"{name}: the conversion of arrays of shape {shapes}", remedy)


def _arrays_of(values):
    for value in values:
        if isinstance(value, np.ndarray):
            yield value
        elif dataclasses.is_dataclass(value):
            yield from _arrays_of(vars(value).values())


def explains(remedy: str, converts: bool = True) -> Callable[[Function], Function]:
    """Return a decorator that runs a function within `explained` and `checked_weights`.

    Args:
        remedy: A sentence that says what to do instead.
        converts: Whether the function converts NumPy arrays among its arguments to tensors. Each
            call then checks first that there is memory for these tensors. Defaults to True.

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
        # The message calls `__init__` and `__call__` by the name of their class.
        function_name = re.sub(special, "", function.__qualname__)
        method_suffix = function_name.removeprefix(function_name.split(".")[0])

        @functools.wraps(function)
        def call(*args, **kwargs):
            def given():
                return signature.bind(*args, **kwargs).arguments

            # The message names the class of the object, which may be a subclass of the class that
            # defines the method.
            name = type(args[0]).__name__ + method_suffix if is_method else function_name
            if converts:
                _refuse_copies(name, (*args, *kwargs.values()), remedy)
            with checked_weights(name, remedy), explained(name, given, remedy):
                return function(*args, **kwargs)

        call.__signature__ = signature  # Keras reads this attribute, and ignores `__wrapped__`.
        return call

    return decorate


def explains_methods(remedy: str) -> Callable[[Function], Function]:
    """Return a class decorator that applies `explains` to public methods and to properties.

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
    """A layer whose errors about missing memory contain its name and the sizes of its inputs."""

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
    """Add the network's name and its input's size to errors about missing memory.

    The network remains a plain Keras model, so that a file of it can be loaded without this
    package. A network that was loaded from a file raises the backend's own errors.

    Args:
        network: A functional `keras.Model` with one input.

    Returns:
        The same network.
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
def checked_weights(owner, remedy, others=0, most=math.inf):
    """Raise an error before the weights made in the `with` block take more memory than is left.

    The total size of the weights is compared with the memory that was left at the first check. A
    later measurement would be misleading, because the system provides a page of memory only when a
    program first writes to it. Weights of zeros, such as those of an optimizer, may therefore take
    no memory until they change.

    Args:
        owner: Name of the model, layer or function that makes the weights.
        remedy: A sentence that says what to do instead.
        others: Number of bytes that are needed in addition to the weights. Defaults to 0.
        most: Number of bytes that all weights may take together, and with them each allocation
            that `refuse_beyond` checks. Defaults to infinity.

    Raises:
        ValueError: If there is not enough memory for the weights, or if they take more than `most`.
    """
    if _building.get() is not None:  # The outer block counts these weights.
        yield
        return
    state = {"owner": owner, "remedy": remedy, "bytes": others, "left": None, "most": most}
    token = _building.set(state)
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
    shape = tuple(variable.shape)
    what = f"the weights, with {variable.path!r} of shape {shape},"
    _refuse_beyond_limit(state, state["bytes"], what)
    while_made = size * _COPIES_WHILE_MADE
    if before + while_made <= _SMALL:
        return
    if state["left"] is None:
        state["left"] = available()
    what = (
        f"{state['owner']}: making the weight {variable.path!r} of shape {tuple(variable.shape)}, "
        f"in addition to {before / 1e9:,.1f} GB of others,"
    )
    _refuse_beyond_memory(before + while_made, what, state["remedy"], state["left"])
    # Other processes may have allocated memory since `state["left"]` was found.
    if while_made > _SMALL:
        _refuse_beyond_memory(while_made, what, state["remedy"])


def _refuse_beyond_limit(state, size, what):
    if size > state["most"]:
        raise ValueError(
            f"{state['owner']}: {what} would take {size / 1e9:,.1f} GB of memory, more than the "
            f"{state['most'] / 1e9:,.1f} GB that are allowed. {state['remedy']}"
        )


def _watch_variables():
    """Patch Keras so that it checks every new variable within `checked_weights`.

    Layers, including those that users write, make their own weights, and Keras has no hook for
    this.
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
    """Return the total size of variables in bytes."""
    return sum(math.prod(v.shape) * _bytes_of(v.dtype) for v in variables)


def _bytes_of(dtype):
    digits = "".join(c for c in str(dtype) if c.isdigit())
    return max(1, int(digits or 8) // 8)


# ------------------------------------------------------------------ batches and results

SMALLER_MODEL = (
    "Take a smaller latent_dim, smaller network_options, smaller values of the model's other "
    "arguments (such as numbers of codes, components or features), or smaller examples."
)
SMALLER_BATCH = "Pass a smaller batch_size."
FEWER_DRAWS = "Draw fewer at a time, each time with another seed."


def numbers_in(shape):
    """Return how many numbers an example has.

    Args:
        shape: Shape of the example, or a dictionary of the shapes of its parts.
    """
    shapes = shape.values() if isinstance(shape, dict) else [shape]
    return sum(map(math.prod, shapes))


def refuse_samples(model, num_samples):
    """Raise an error if samples of a built model and their codes do not fit into memory."""
    numbers = numbers_in(model._target_shape) + math.prod(model.code_shape)
    refuse_beyond(
        4.0 * num_samples * numbers,
        f"{type(model).__name__}.sample: num_samples={num_samples} of shape {model._target_shape}",
        FEWER_DRAWS,
    )


def refuse_results(model, length, parts):
    """Raise an error if the results of a method for all examples do not fit into memory.

    Args:
        model: The model.
        length: Number of examples in all batches together.
        parts: The results for one batch, a list of tensors.
    """
    shapes = [tuple(part.shape[1:]) for part in parts]
    sizes = [math.prod(part.shape[1:]) * _bytes_of(part.dtype) for part in parts]
    refuse_beyond(
        float(length) * sum(sizes),
        f"{type(model).__name__}: the results for {length} examples, of shape "
        f"{' and '.join(map(str, shapes))} for each example,",
        "Pass fewer examples at a time.",
    )


def refuse_batch(model, size, arrays, at_once=1):
    """Raise an error if batches do not fit into memory together with the largest layer output.

    Methods such as `encode` compute without gradients, so the output of one layer can be freed when
    the next layer is done.

    Args:
        model: The model.
        size: Number of examples in a batch.
        arrays: The arrays that contain the batches.
        at_once: Number of batches that are computed at the same time. Defaults to 1.
    """
    numbers = sum(math.prod(array.shape[1:]) for array in arrays)
    largest, _ = numbers_of_layers(model)
    _refuse_examples(model, size, numbers + largest, model._batch_numbers(size), at_once)


def refuse_step(model, size):
    """Raise an error if a step of training or evaluation does not fit into memory."""
    _, outputs = numbers_of_layers(model)
    numbers = numbers_in(model._data_shape) + outputs
    _refuse_examples(
        model, size, numbers, model._step_numbers(size), margin=backend.MARGIN_OF_A_STEP
    )


def _refuse_examples(model, size, numbers, others=0, at_once=1, margin=1.0):
    refuse_beyond(
        4.0 * margin * at_once * (size * numbers + others),
        f"{type(model).__name__}: a batch of {size} examples, with {numbers:,} numbers in memory "
        "for each"
        + (f" and {others:,.0f} numbers for all of them together," if others else ",")
        + (f" and {at_once} such batches at a time," if at_once > 1 else ""),
        SMALLER_BATCH,
    )


def numbers_of_layers(model):
    """Count the numbers that each layer of a model computes for one example.

    The weights of attention, one for each pair of positions, and the states of recurrent layers
    count as outputs of their own. A layer whose output has no known shape, such as a layer with
    several outputs, counts as one number. The layers of a built model do not change, so the counts
    are stored.

    Returns:
        The largest of these counts, and their sum.
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
    """Estimate how many numbers a recurrent layer computes for one example.

    At each step, an LSTM keeps its states, its gates and the inputs of its gates, all of them
    twice. These are ten times as many numbers as it has states.
    """
    try:
        steps = layer.input.shape[1]
    # A layer that is only called inside other layers has no `input`. It makes the target's steps.
    except (AttributeError, ValueError):
        shape = getattr(model, "_target_shape", (1,))
        shapes = shape.values() if isinstance(shape, dict) else [shape]
        steps = max(each[0] for each in shapes)
    return 10 * (steps or 1) * sum(keras.tree.flatten(layer.state_size))


def _output_shape(layer):
    try:
        output = layer.output
    except (AttributeError, ValueError):  # The layer is only called inside other layers.
        return ()
    return tuple(output.shape) if hasattr(output, "shape") else ()


# ------------------------------------------------------------------ how much memory is left


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
    """Return how many bytes the limits of the process' control groups leave.

    The system may have control groups of version 1 or 2.
    """
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
        # In a container, the files of the container's own group are often in the root folder, and
        # not at the path that /proc contains.
        for folder in {root, group, *(p for p in group.parents if root in p.parents)}:
            left = min(left, _of_folder(folder, *names))
    return left


def _of_folder(folder, limit, used, reclaimed):
    limit, used = _read(folder / limit).strip(), _read(folder / used).strip()
    if not (limit.isdigit() and used.isdigit()):
        return math.inf  # The limit may be the word "max", which means no limit.
    cache = 0
    for line in _read(folder / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name == reclaimed:
            cache = int(value)
    return int(limit) - int(used) + cache


def address_space():
    """Return how many bytes the limit of the address space leaves, for example to map a file.

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
