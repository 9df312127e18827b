"""Train models in stand-ins whose programs are compiled, so that equal fits compile only once."""

import collections
import json
import threading

import keras

from keras_ae.core import memory
from keras_ae.core.training import build_optimizer

_MOST_STAND_INS = 4
_MOST_BYTES = 2**25  # A stand-in that is larger is not kept.
_stand_ins = collections.OrderedDict()  # Key of `_key_of` -> (model, state of a new optimizer)
_lock = threading.Lock()


def train(model, make, compilation, fit):
    """Train a new model, and return the history.

    The programs of a training step belong to one model, and take longer to compile than a small
    model takes to train. Cross-validation, a search of parameters and repeated fits train many
    models that differ in their weights and seeds alone. Therefore the state of the model is copied
    into a stand-in, which is trained, and back. A stand-in is kept for the next such model.

    Args:
        model: A built model, which was not trained. It need not be compiled.
        make: Function that makes another such model, which is compiled.
        compilation: Text that is equal if and only if models are compiled alike.
        fit: Function that trains the model it is called with, and returns its history.

    Returns:
        `keras.callbacks.History`.
    """
    key = _key_of(model, compilation)
    with _lock:
        found = _stand_ins.pop(key, None)
    if found is None:
        stand_in = make()
        build_optimizer(stand_in)
        found = stand_in, [keras.ops.convert_to_numpy(v) for v in stand_in.optimizer.variables]
    stand_in, optimizer_state = found
    _copy_state(model, stand_in)
    for variable, value in zip(stand_in.optimizer.variables, optimizer_state, strict=True):
        variable.assign(value)
    # After an error the stand-in is dropped, because nobody knows what state it is in.
    history = fit(stand_in)
    _copy_state(stand_in, model)
    if memory.size_of([*stand_in.variables, *stand_in.optimizer.variables]) <= _MOST_BYTES:
        with _lock:
            _stand_ins[key] = found
            while len(_stand_ins) > _MOST_STAND_INS:
                _stand_ins.popitem(last=False)
    return history


def _key_of(model, compilation):
    """Return text that is equal for models of which one can be the stand-in of the other."""
    config = {k: v for k, v in model.get_config().items() if k not in ("name", "seed")}
    shapes = model._data_shape, model._target_shape, model._extra_shapes
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    return json.dumps([kind, config, shapes, compilation], sort_keys=True, default=repr)


def _copy_state(source, target):
    """Copy the values of all variables, among them the states of seeds, between equal models."""
    for old, new in zip(source.variables, target.variables, strict=True):
        new.assign(keras.ops.convert_to_numpy(old))
