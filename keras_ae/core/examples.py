"""Split and join the parts of an example: x, or several modalities, and named inputs.

A model lists its named inputs in `extra_inputs`, such as `("label",)`. If it has several
modalities, it lists them in `_modalities`. A batch without named inputs or modalities is an array
or a tensor. Any other batch is a dictionary: {"x": x, "label": label}, or {"image": image, "text":
text}.

A method takes the named inputs that its signature contains, such as `posterior(x, training=False,
*, label)`, and those with a default are optional. If the signature contains `**inputs`,
`takes_inputs_of` says to which methods these go. Without it, they are all other named inputs.
"""

import functools
import inspect
from collections.abc import Callable

import keras
import numpy as np

from keras_ae.core import conversion, ranges
from keras_ae.core.arguments import did_you_mean
from keras_ae.core.types import Function

_RESERVED = frozenset(
    "x y z seed to training batch_size verbose sample sample_weight num_samples epochs callbacks "
    "validation_split validation_data shuffle class_weight initial_epoch steps steps_per_epoch "
    "validation_steps validation_batch_size validation_freq return_dict temperature".split()
)


def check_declared(cls):
    """Raise if a model class declares an input whose name is reserved or is not an identifier."""
    check_free(cls, "extra_inputs", cls.extra_inputs)


def check_free(cls, argument, names):
    """Raise if one of the names is reserved or is not an identifier."""
    for name in names:
        if name in _RESERVED or not name.isidentifier():
            raise TypeError(
                f"{cls.__name__}: {argument}={names!r} contains {name!r}, which is no "
                "identifier, or is an argument of a method of every model. Choose another name."
            )


def takes_inputs_of(*names: str) -> Callable[[Function], Function]:
    """Return a decorator for a method that hands `**inputs` on to the methods of these names."""

    def decorate(method):
        method.inputs_go_to = names
        return method

    return decorate


def taken_by(model, function):
    """Return the named inputs that a method of the model takes: name -> whether it is required."""
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


def sampler_of(model):
    """Return what draws the codes of `sample`: the fitted sampler, or else the model's own."""
    return model.sampler if model._fitted_sampler is None else model._fitted_sampler


def taken_by_sample(model):
    """Return the named inputs that `sample` of a model takes: name -> whether it is required."""
    taken, sampler = taken_by(model, model.decode), sampler_of(model)
    for name, required in sampler.inputs_taken(model).items() if sampler else ():
        taken[name] = required or taken.get(name, False)
    return taken


def required_by(model, function):
    """Return the names of the named inputs that a method of the model requires."""
    return [name for name, required in taken_by(model, function).items() if required]


def call(model, method, *arguments, inputs, **options):
    """Call a method of the model with those of the named inputs that it takes."""
    return method(*arguments, **options, **select(model, method, inputs))


@functools.lru_cache(maxsize=4096)
def _parameters(function):
    """Return the parameters, name -> whether it is required, and whether there is `**inputs`."""
    parameters = inspect.signature(function).parameters.values()
    names = {p.name: p.default is p.empty for p in parameters}
    return names, any(p.kind is p.VAR_KEYWORD and p.name == "inputs" for p in parameters)


def select(model, function, inputs):
    """Select the named inputs that a method of the model takes."""
    if not inputs:
        return inputs
    taken = taken_by(model, function)
    return {name: value for name, value in inputs.items() if name in taken}


def check_names(model, call, taken, given, signature=None):
    """Check the names of the given inputs, and return those inputs that are not None.

    Args:
        model: The model.
        call: Name of the called method in errors.
        taken: Result of `taken_by` for this method.
        given: Dictionary of the inputs that the caller passed.
        signature: The method's signature. If a name is unknown, the error suggests a similar
            argument from it. Defaults to None.

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
                f"{call}: the input {name!r} is missing. Pass {name}=... with one row for each "
                f'example, or pass data that is a dictionary with the keys "x" and "{name}".'
            )
    return given


# ------------------------------------------------------------------ batches


def join(model, x, inputs):
    """Return the batch that consists of x and the named inputs."""
    if model._modalities:
        return {**x, **inputs}
    return {"x": x, **inputs} if inputs else x


def split(model, batch):
    """Split a batch into x, which is an array or a dictionary of modalities, and its named inputs.

    The key of x may also be "image", as in TensorFlow Datasets.
    """
    if not isinstance(batch, dict):
        return batch, {}
    inputs = {name: batch[name] for name in model.extra_inputs if name in batch}
    if model._modalities:
        return {name: batch[name] for name in model._modalities if name in batch}, inputs
    return batch["x" if "x" in batch else "image"], inputs


def check_keys(model, keys, name, others=False):
    """Raise if a dictionary of data lacks x, or has keys that are not inputs of the model.

    Args:
        model: The model.
        keys: The dictionary's keys.
        name: Name of the argument in the error.
        others: Whether a dictionary with the key "image" may have any other keys, as in TensorFlow
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
    or_array = "" if model._modalities else ", or pass the array alone"
    with_keys = f"with the keys {', '.join(map(repr, keys))}" if keys else "without keys"
    raise TypeError(
        f"{name} is a dictionary {with_keys}, but "
        f"{type(model).__name__} takes {wanted}.{hint} Use these keys{or_array}."
    )


def leaves(x):
    """Return the list of all arrays or tensors in a batch."""
    return list(x.values()) if isinstance(x, dict) else [x]


def length(batch):
    """Return the number of examples in a batch."""
    return len(leaves(batch)[0])


def map_leaves(function, batch):
    """Apply a function to each array of a batch, and return the results in the same structure."""
    if isinstance(batch, dict):
        return {name: function(value) for name, value in batch.items()}
    return function(batch)


def shapes(batch):
    """Return the shape of each array of one example, in the structure of the batch."""
    return map_leaves(lambda value: tuple(value.shape[1:]), batch)


def with_batch_axis(shape):
    """Add a batch axis of any length to a shape, or to each shape in a dictionary."""
    if isinstance(shape, dict):
        return {name: (None, *each) for name, each in shape.items()}
    return (None, *shape)


def dtype_of(model, name):
    """Return the dtype of a named input: "int32" for a label, otherwise "float32"."""
    return dtypes_of(model).get(name, "float32")


def dtypes_of(model):
    """Return the dtypes of those named inputs that are no float32, also of a sampler's label."""
    is_other = "label" in model.extra_inputs or "label" in model._modalities
    of_sampler = {} if is_other else {"label": "int32"}
    return {**of_sampler, **model._input_dtypes}


def label_range(model, call, name="label"):
    """Return the least and the largest label that a method takes, or None if any is taken."""
    if call == "sample" and name not in model.extra_inputs:
        return sampler_of(model).label_range()
    return model._label_range(call)


def cast(model, x, inputs):
    """Cast the tensors of a batch to the dtypes with which the model computes."""
    x = map_leaves(lambda value: keras.ops.cast(value, "float32"), x)
    return x, {
        name: _as_rows(model, name, keras.ops.cast(value, dtype_of(model, name)))
        for name, value in inputs.items()
    }


def as_tensors(model, inputs):
    """Convert named inputs to tensors. Symbolic tensors stay symbolic."""
    return {
        name: value
        if isinstance(value, keras.KerasTensor)
        else _as_rows(model, name, keras.ops.convert_to_tensor(value, dtype_of(model, name)))
        for name, value in inputs.items()
    }


def clip_to_support(model, y):
    """Return targets as the nearest values that the model's likelihood can have.

    Examples that the model was not fitted to may lie beyond that range.
    """
    if isinstance(y, dict):
        return {name: _clip(value, model._support[name]) for name, value in y.items()}
    clipped = _clip(y, model._support)
    if clipped is y or model._mask_value is None:
        return clipped
    return keras.ops.where(keras.ops.equal(y, model._mask_value), y, clipped)


def _clip(values, support):
    return values if support is None else ranges.clip(values, support)


def _as_rows(model, name, tensor):
    """Return labels of shape (batch, 1) as (batch,), and any other tensor as it is."""
    # Checked arrays have this shape already. Tensors and the batches of a stream may not.
    is_column = dtype_of(model, name) == "int32" and len(tensor.shape) == 2
    return tensor[:, 0] if is_column and tensor.shape[1] == 1 else tensor


def rows(model, inputs, number):
    """Return named inputs as arrays with one row for each of `number` samples.

    A value with the shape of a single row is repeated for all samples.
    """
    found = {}
    for name, value in inputs.items():
        value = conversion.to_labels(value, name)
        shape = model._extra_shapes.get(name, ())
        if value.shape == shape:
            value = np.broadcast_to(value, (number, *shape))
        found[name] = value
    return found
