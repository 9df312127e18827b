"""What checks are made of: how they fail, and what they ask of a model."""

import functools
import math

import keras
import numpy as np
from keras import ops

from keras_ae.core import backend
from keras_ae.core.examples import dtype_of, join, leaves, map_leaves, split

CODE_DTYPES = ["float32", "int32"]
CHECKS = {}  # Name -> function of a `Subject`.


def check(function):
    CHECKS[function.__name__] = function
    return function


def require(condition, found):
    if not condition:
        raise AssertionError(found)


def require_close(found, wanted, what, atol=1e-6, rtol=1e-5):
    """Raise unless two arrays, or two dictionaries of arrays, are close."""
    if isinstance(wanted, dict):
        require(found.keys() == wanted.keys(), f"{what} It has {list(found)}.")
        for name, value in wanted.items():
            require_close(found[name], value, f"{what} That is {name!r}.", atol, rtol)
        return
    np.testing.assert_allclose(found, wanted, rtol, atol, err_msg=what)


def shapes_of(values):
    """Return the shape of an array, or a dictionary of the shapes of several."""
    return map_leaves(lambda value: tuple(value.shape), values)


def cut(values, number):
    """Return the first rows of an array, or of each array in a dictionary."""
    return map_leaves(lambda value: value[:number], values)


def with_rows(shape, number):
    """Return a shape, or a dictionary of shapes, with so many examples."""
    return map_leaves(lambda each: (number, *each), shape)


def to_tensors(values):
    return map_leaves(ops.convert_to_tensor, values)


def as_floats(model, values):
    """Return the arrays of a batch in the types in which the model reads them."""
    if not isinstance(values, dict):
        return np.asarray(values, "float32")
    return {name: np.asarray(value, dtype_of(model, name)) for name, value in values.items()}


def is_finite(values):
    return all(np.all(np.isfinite(value)) for value in leaves(values))


def are_data(model, values):
    """Tell whether samples are finite, or NaN where a model draws data that is missing."""
    may_miss = model._allow_nan and model._draws_data
    return not any(np.any(np.isinf(v) | (np.isnan(v) & (not may_miss))) for v in leaves(values))


def is_equal(first, second):
    equal = functools.partial(np.array_equal, equal_nan=True)
    return all(map(equal, leaves(first), leaves(second)))


def change_data(model, values, function):
    """Apply a function to the data in a batch, and leave its named inputs as they are."""
    x, inputs = split(model, values)
    return join(model, map_leaves(function, x), inputs)


def require_error(action, errors, what, words=()):
    try:
        action()
    except errors as error:
        for word in words:
            require(word in str(error), f"The error of {what} does not say {word!r}: {error}")
        return
    names = " or ".join(error.__name__ for error in errors)
    raise AssertionError(f"{what} raised no {names}.")


def numpy_of(values):
    """Return a tensor, or each tensor in a dictionary, as an array."""
    return map_leaves(lambda v: np.array(ops.convert_to_numpy(ops.convert_to_tensor(v))), values)


def assign(variables, values):
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def weights(model):
    """Return the values of a model's variables, among them its seeds.

    The seed of calls without one is left out. It is new in every model and in no file.
    """
    skipped = model._program_seeds.state
    return [numpy_of(variable) for variable in model.variables if variable is not skipped]


def same(first, second):
    """Whether two lists of arrays are equal bit by bit."""
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def groups(model):
    """The trainable weights that each player moves; first those that no player claims."""
    claimed = []
    for names in model.players:
        networks = [
            getattr(model, name) for name in ((names,) if isinstance(names, str) else names)
        ]
        claimed.append(sum((network.trainable_variables for network in networks), []))
    ids = {id(variable) for group in claimed for variable in group}
    return [[v for v in model.trainable_variables if id(v) not in ids], *claimed]


def term_names(model):
    """The names of everything that a model tracks."""
    return [*model.objective, *sum(model.players.values(), ()), *model.diagnostics]


def takes_networks(model):
    """Whether the model's constructor takes an encoder and a decoder."""
    return {"encoder", "decoder"} <= model.arguments.keys()


def networks_for(model):
    """An encoder and a decoder such as a user may bring, that fit a built model in its own's place.

    Returns:
        Dictionary of arguments of the model's constructor; an empty one where it takes none.
    """
    if not takes_networks(model):
        return {}
    inputs = getattr(model.encoder, "input_shape", (None, *model._data_shape))[1:]
    codes = getattr(model.decoder, "input_shape", (None, *model._decoder_input_shape()))[1:]
    outputs = getattr(model.decoder, "output_shape", None)
    outputs = outputs[1:] if outputs else tuple(model._decoder_shape(model._target_shape))
    if outputs == (*model._target_shape, 1):  # The model's own decoder reads vectors as sequences.
        outputs = model._target_shape
    layers = [keras.layers.Dense(outputs[-1])]
    if codes[:-1] != outputs[:-1]:
        width = math.prod(outputs)
        layers = [
            keras.layers.Flatten(),
            keras.layers.Dense(width),
            keras.layers.Reshape(outputs),
        ]
    # A model that makes its encoder without biases may refuse others.
    use_bias = any(v.name == "bias" for v in model.encoder.weights)
    dense = keras.layers.Dense(4, "relu", use_bias=use_bias)
    given = {
        "encoder": keras.Sequential([keras.Input(inputs), dense]),
        "decoder": keras.Sequential([keras.Input(codes), *layers]),
    }
    # Options of networks that the model does not make are refused.
    return {**given, "network_options": None}


def gradient(function, x):
    """The derivative of the sum of function's values, as an array."""
    values, pull = backend.pullback(function, ops.convert_to_tensor(x))
    return numpy_of(pull(ops.ones_like(values)))


def can_sample(model):
    return model.sampler is not None and model.sampler.ready()


def layers_of(model):
    for layer in getattr(model, "layers", []):
        yield layer
        yield from layers_of(layer)
