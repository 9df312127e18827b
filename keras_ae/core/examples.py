"""What an example is: x, which may be several modalities, and named inputs.

A model lists its named inputs in `extra_inputs`, such as `("label",)`, and its modalities, if it
has several, in `_modalities`. A batch without either is an array or tensor. A batch with them is a
dictionary: {"x": x, "label": label}, or {"image": image, "text": text}.

A method takes the named inputs of its own signature, such as `posterior(x, training=False, *,
label)`. An input with a default may be left out. If a signature has `**inputs`, `takes_inputs_of`
says to which other methods these go; without it they are all inputs of the model.
"""

import functools
import inspect

import keras
import numpy as np

from keras_ae.core.arguments import did_you_mean

_RESERVED = frozenset(
    "x y z seed to training batch_size verbose sample sample_weight num_samples epochs callbacks "
    "validation_split validation_data shuffle class_weight initial_epoch steps steps_per_epoch "
    "validation_steps validation_batch_size validation_freq return_dict temperature".split()
)


def check_declared(cls):
    """Raise if a class of models declares an input whose name methods use for something else."""
    for name in cls.extra_inputs:
        if name in _RESERVED or not name.isidentifier():
            raise TypeError(
                f"{cls.__name__}: extra_inputs={cls.extra_inputs!r} has the name {name!r}, which "
                "is an argument of the methods of every model, or no name. Choose another name."
            )


def takes_inputs_of(*names):
    """Return a decorator for a method that hands `**inputs` on to the methods of these names."""

    def decorate(method):
        method.inputs_go_to = names
        return method

    return decorate


def taken_by(model, function):
    """Return which named inputs a method of the model takes: name -> whether it is required."""
    if not model.extra_inputs:
        return {}
    function = getattr(function, "__func__", function)
    names, has_others = _parameters(function)
    if has_others:
        goals = getattr(function, "inputs_go_to", None)
        others = dict.fromkeys(model.extra_inputs, True)
        if goals is not None:
            others = {}
            for goal in goals:
                for name, required in taken_by(model, getattr(model, goal)).items():
                    others[name] = required or others.get(name, False)
        names = others | names
    return {name: names[name] for name in model.extra_inputs if name in names}


def call(model, method, *arguments, inputs, **options):
    """Call a method of the model with those of the named inputs that it takes."""
    return method(*arguments, **options, **select(model, method, inputs))


@functools.lru_cache(maxsize=4096)
def _parameters(function):
    """Return name -> whether it has no default, and whether there is a `**inputs`."""
    parameters = inspect.signature(function).parameters.values()
    names = {p.name: p.default is p.empty for p in parameters}
    return names, any(p.kind is p.VAR_KEYWORD and p.name == "inputs" for p in parameters)


def select(model, function, inputs):
    """Return those of the named inputs that a method of the model takes."""
    if not inputs:
        return inputs
    taken = taken_by(model, function)
    return {name: value for name, value in inputs.items() if name in taken}


def check_names(model, call, taken, given, signature=None):
    """Return the named inputs that were given, without those that are None.

    Args:
        model: The model.
        call: Name of the method that was called.
        taken: What `taken_by` returned for it.
        given: Dictionary of what the caller passed.
        signature: The method's signature, of which an unknown name may be another argument.

    Raises:
        TypeError: If a name is unknown, or a required input is missing.
    """
    call = f"{type(model).__name__}.{call}"
    takes = ", ".join(taken) or "no named inputs"
    for name in given:
        if name not in taken:
            hint = did_you_mean(name, [*taken, *(signature.parameters if signature else ())])
            raise TypeError(f"{call}: unknown input {name!r}. It takes {takes}.{hint}")
    given = {name: value for name, value in given.items() if value is not None}
    for name, required in taken.items():
        if required and name not in given:
            raise TypeError(
                f"{call}: the input {name!r} is missing. Pass {name}=..., with one row for each "
                f'example, or a dictionary with the keys "x" and "{name}" as data.'
            )
    return given


# ------------------------------------------------------------------ batches


def is_named(model):
    """Tell whether batches of the model are dictionaries, unless optional inputs are left out."""
    return bool(model.extra_inputs or model._modalities)


def join(model, x, inputs):
    """Make the batch that holds x and the named inputs."""
    if model._modalities:
        return {**x, **inputs}
    return {"x": x, **inputs} if inputs else x


def split(model, batch):
    """Take a batch apart into x, an array or a dictionary of modalities, and its named inputs.

    The data may also be called "image", as in the data sets of TensorFlow Datasets.
    """
    if not isinstance(batch, dict):
        return batch, {}
    inputs = {name: batch[name] for name in model.extra_inputs if name in batch}
    if model._modalities:
        return {name: batch[name] for name in model._modalities if name in batch}, inputs
    return batch["x" if "x" in batch else "image"], inputs


def check_keys(model, keys, name, others=False):
    """Raise if a dictionary of data lacks x, or has keys that are no inputs of the model.

    Args:
        model: The model.
        keys: The dictionary's keys.
        name: The argument's name, for the error.
        others: Whether other keys beside "image" are left alone, as in data sets of TensorFlow
            Datasets. Defaults to False.
    """
    keys, data = list(keys), model._modalities or ("x", "image")
    found = [key for key in keys if key in data]
    unknown = [key for key in keys if key not in data and key not in model.extra_inputs]
    if others and not model._modalities and "image" in found:
        unknown = []
    if not unknown and (len(found) == 1 or (found and model._modalities)):
        return
    wanted = (
        f"its modalities {', '.join(model._modalities)}" if model._modalities else '"x" or "image"'
    )
    if model.extra_inputs:
        wanted += f" and its inputs {', '.join(model.extra_inputs)}"
    hint = did_you_mean(unknown[0], [*data, *model.extra_inputs]) if unknown else ""
    raise TypeError(
        f"{name} is a dictionary with the keys {', '.join(map(repr, keys))}, and "
        f"{type(model).__name__} takes {wanted}.{hint} Use these keys, or pass the array alone."
    )


def leaves(x):
    """Return the arrays or tensors that a batch consists of."""
    return list(x.values()) if isinstance(x, dict) else [x]


def length(batch):
    """Return the number of examples in a batch."""
    return len(leaves(batch)[0])


def map_leaves(function, batch):
    """Apply a function to each array of a batch."""
    if isinstance(batch, dict):
        return {name: function(value) for name, value in batch.items()}
    return function(batch)


def shapes(batch):
    """Return the shapes of an example, of the batch's own structure."""
    return map_leaves(lambda value: tuple(value.shape[1:]), batch)


def with_batch_axis(shape):
    """Return the shape of a batch of any length, of the shape's own structure."""
    if isinstance(shape, dict):
        return {name: (None, *each) for name, each in shape.items()}
    return (None, *shape)


def dtype_of(model, name):
    """Return the type of a named input: "int32" for a label, otherwise "float32"."""
    return model._input_dtypes.get(name, "float32")


def cast(model, x, inputs):
    """Cast the tensors of a batch to the types that the model computes with."""
    x = map_leaves(lambda value: keras.ops.cast(value, "float32"), x)
    return x, {name: keras.ops.cast(v, dtype_of(model, name)) for name, v in inputs.items()}


def as_tensors(model, inputs):
    """Return the named inputs of a call with tensors as tensors, symbolic ones as they are."""
    return {
        name: value
        if isinstance(value, keras.KerasTensor)
        else keras.ops.convert_to_tensor(value, dtype_of(model, name))
        for name, value in inputs.items()
    }


def rows(model, inputs, number):
    """Return named inputs with one row for each of so many samples.

    A value of the shape of one example stands for all samples.
    """
    found = {}
    for name, value in inputs.items():
        value = np.asarray(
            keras.ops.convert_to_numpy(value) if keras.ops.is_tensor(value) else value
        )
        shape = model._extra_shapes.get(name, ())
        if value.shape == shape:
            value = np.broadcast_to(value, (number, *shape))
        found[name] = value
    return found
