"""What was done to the layers of a built model, to be done again to one made from its file.

A network that the user passed is saved with all of this by Keras. Those that a model makes for
itself are made anew from its arguments, which know nothing of what came later.
"""

import keras


def record(model):
    """Frozen, adapted and quantized layers of a model, as plain data for a configuration.

    Args:
        model: A built model.

    Returns:
        Dictionary: "frozen", the numbers of layers, and "altered", dictionaries of other changes.
    """
    frozen, altered = [], []
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
    return {"frozen": frozen, "altered": altered}


def repeat(model, changes):
    """Do to a model, made in the same way, what was done to the one that `record` saw."""
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
            layer.trainable = number not in frozen  # And those within, which come later.


def numbers_of_trained(model):
    """Which weights the optimizer was made for, if not those that are trained now.

    Some may have been frozen since, and the optimizer still holds what it knows of them.

    Returns:
        Dictionary with the weights' numbers in `model.weights` as "trained", empty if they are
        those that are trained now or none yet; None if there are others that the model has no more.
    """
    optimizer = getattr(model, "optimizer", None)  # There is none before `compile`.
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    known = getattr(optimizer, "_trainable_variables", [])
    if not known or [id(v) for v in known] == [id(v) for v in model.trainable_variables]:
        return {}
    numbers = {id(weight): number for number, weight in enumerate(model.weights)}
    trained = [numbers.get(id(variable)) for variable in known]
    return None if None in trained else {"trained": trained}


def _all_layers(model):
    return list(model._flatten_layers())


def _mode(layer):
    """How a layer is quantized, or None; one that holds others says nothing of itself."""
    return getattr(layer, "quantization_mode", None)
