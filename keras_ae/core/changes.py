"""Changes of a built model's layers, recorded in its file and repeated when the file is loaded.

Layers can be frozen, adapted (LoRA) or quantized after they were built. Keras saves these changes
for networks that the user passed. Networks that a model makes for itself are made again from the
model's arguments, which do not tell of later changes.
"""

import json

import keras
import numpy as np

from keras_ae.core.arguments import is_number

_ADAPTED = "adapted_"


def record(model):
    """Return which layers of a model are frozen, adapted or quantized, as plain data.

    Args:
        model: A built model.

    Returns:
        Dictionary with "frozen", a list of the layers' numbers, "untrained", a list of the keys of
        weights that are not trained, and "altered", a list of dictionaries of other changes.
    """
    frozen, altered = [], []
    untrained = [key for key, weight in _weights_by_key(model).items() if not weight.trainable]
    for number, layer in enumerate(_all_layers(model)):
        if not layer.trainable:
            frozen.append(number)
        rank, mode = getattr(layer, "lora_rank", None), _mode(layer)
        if not (rank or mode):
            continue
        change = {"layer": number}
        if mode:
            given = getattr(layer, "quantization_config", None)
            config = keras.saving.serialize_keras_object(given)
            change["quantized"] = {"mode": mode, "config": config}
        if rank:
            change["lora"] = {"rank": rank, "lora_alpha": getattr(layer, "lora_alpha", rank)}
        altered.append(change)
    return {"frozen": frozen, "untrained": untrained, "altered": altered}


def repeat(model, changes):
    """Repeat the changes that `record` returned on a model that was made in the same way."""
    layers = _all_layers(model)
    for change in changes["altered"]:
        layer = layers[change["layer"]]
        if "quantized" in change and not _mode(layer):
            config = keras.saving.deserialize_keras_object(change["quantized"]["config"])
            layer.quantize(change["quantized"]["mode"], config=config)
        if "lora" in change and not layer.lora_enabled:
            layer.enable_lora(**change["lora"])
    frozen = set(changes["frozen"])
    for number, layer in enumerate(layers):
        if layer.trainable != (number not in frozen):
            # This also changes the layers within, but these come later in the loop.
            layer.trainable = number not in frozen
    if "untrained" in changes:  # Files of before 27 November 2026 do not hold these.
        untrained = set(changes["untrained"])
        for key, weight in _weights_by_key(model).items():
            if weight.trainable != (key not in untrained):
                weight.trainable = key not in untrained


def save_in_weights(model, store):
    """Write the changes that belong to the weights of a model: its adapters, and its numbers."""
    save_adapted(model, store)
    if changed := changed_numbers(model):
        store["changed_numbers"] = np.frombuffer(json.dumps(changed).encode(), "uint8")


def load_from_weights(model, kept):
    """Repeat the changes that `save_in_weights` wrote, and take their entries out of `kept`."""
    load_adapted(model, kept)
    if "changed_numbers" in kept:
        changed = bytes(np.array(kept.pop("changed_numbers"), "uint8"))
        assign_numbers(model, json.loads(changed))


def save_adapted(model, store):
    """Write the weights of layers with LoRA into the store of a model's own weights.

    Keras merges the adapters into the kernels that it writes. On loading it sets both matrices of
    each adapter to zeros, where no gradient moves them.
    """
    for number, layer in enumerate(_all_layers(model)):
        if getattr(layer, "lora_enabled", False):
            for position, variable in enumerate(layer.weights):
                store[f"{_ADAPTED}{number}_{position}"] = variable


def load_adapted(model, kept):
    """Let layers with LoRA get the weights that `save_adapted` wrote after Keras loaded them.

    Args:
        model: The model.
        kept: Dictionary of the model's own weights, from which these weights are removed.
    """
    found = {name: kept.pop(name) for name in list(kept) if name.startswith(_ADAPTED)}
    for number, layer in enumerate(_all_layers(model) if found else ()):
        names = [f"{_ADAPTED}{number}_{position}" for position in range(len(layer.weights))]
        if getattr(layer, "lora_enabled", False) and found.keys() >= set(names):
            _load_after(layer, [found[name] for name in names])


def _load_after(layer, values):
    """Assign values to the weights of a layer when Keras loads it, which it does once."""

    def load_own_variables(store):
        del vars(layer)["load_own_variables"]
        layer.load_own_variables(store)
        for variable, value in zip(layer.weights, values, strict=True):
            variable.assign(value)

    vars(layer)["load_own_variables"] = load_own_variables


def record_trained(model):
    """Record which weights the optimizer was made for, if not for those that are trained now.

    Weights may have been frozen since, and the optimizer still has state for them.

    Returns:
        Dictionary with the weights' keys as "trained". It is empty if the optimizer was made for
        the weights that are trained now, in the order in which a new model has them, or for none
        yet. None, if the optimizer was made for a weight that the model no longer has.
    """
    optimizer = getattr(model, "optimizer", None)  # There is none before `compile`.
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    known = getattr(optimizer, "_trainable_variables", [])
    # Networks of the user's own are made as quantized ones, with their weights in another order.
    in_order = not any(map(_mode, _all_layers(model)))
    same = [id(v) for v in known] == [id(v) for v in model.trainable_variables]
    if not known or (in_order and same):
        return {}
    keys = {id(weight): key for key, weight in _weights_by_key(model).items()}
    trained = [keys.get(id(variable)) for variable in known]
    return None if None in trained else {"trained": trained}


def find_trained(model, trained):
    """Return the weights that `record_trained` recorded, or those that are trained now.

    Args:
        model: The model.
        trained: List of keys. In files of before 27 November 2026, these are the weights' numbers.
            None if nothing was recorded.
    """
    if trained is None:
        return model.trainable_variables
    weights = {**dict(enumerate(model.weights)), **_weights_by_key(model)}
    return [weights[key] for key in trained]


def _weights_by_key(model):
    """Return the weights of a model by keys that do not depend on the order of a layer's weights.

    A key has the number of the layer that made the weight, and the weight's name in the layer.
    """
    found, seen = {}, set()
    # Layers come after those that hold them, and every layer lists the weights within it, too.
    for number, layer in reversed(list(enumerate(_all_layers(model)))):
        for position, weight in enumerate(layer.weights):
            if id(weight) not in seen:
                seen.add(id(weight))
                key = f"{number} {weight.name}"
                found[f"{key} {position}" if key in found else key] = weight
    return found


def note_numbers(model):
    """Note the numbers that a model's parts are made with, of which `changed_numbers` tells."""
    model._notes.made_with = {part: _numbers_of(part) for part in _parts(model).values()}


def changed_numbers(model):
    """Return the numbers of a built model's parts that were assigned since, as plain data.

    Parts are the layers, such as a quantizer, and what the model made from the name of a loss or
    a likelihood.

    Returns:
        Dictionary of a part's key -> dictionary of the number's name -> the number.
    """
    found = {}
    for key, part in _parts(model).items():
        made_with, now = model._notes.made_with.get(part, {}), _numbers_of(part)
        changed = {name: value for name, value in now.items() if made_with.get(name) != value}
        changed = {name: value for name, value in changed.items() if name in made_with}
        if changed:
            found[key] = changed
    return found


def assign_numbers(model, numbers):
    """Assign the numbers that `changed_numbers` returned to a model that was made the same way."""
    parts = _parts(model)
    for key, changed in numbers.items():
        for name, value in changed.items():
            if key in parts and vars(parts[key]).get(name) != value:
                setattr(parts[key], name, value)


def _parts(model):
    layers = {f"layer {n}": layer for n, layer in enumerate(model._flatten_layers(False))}
    return layers | {name: getattr(model, name) for name in model._notes.named}


def _numbers_of(part):
    return {
        name: float(value)
        for name, value in vars(part).items()
        if not name.startswith("_") and is_number(value)
    }


def _all_layers(model):
    return list(model._flatten_layers())


def _mode(layer):
    """Return how a layer is quantized, or None. A layer that only holds others has no mode."""
    return getattr(layer, "quantization_mode", None)
