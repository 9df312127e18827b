"""Networks as they were at an earlier step, whose weights a model keeps in weights of its own.

Layers may be frozen, or get adapters (LoRA), after the model was built. A frozen weight is still
one of these weights. An adapter is not, but its product is a part of the kernel that is kept.
"""

import keras
from keras import ops


def list_weights(parts):
    """Return the weights of layers, without those of adapters, in an order that never changes."""
    return [w for part in parts for w in part.weights if not _is_of_adapter(w)]


def read_values(parts):
    """Return the values of `list_weights` as they are now, with what adapters add to kernels."""
    merged = {}
    for layer in (layer for part in parts for layer in part._flatten_layers()):
        if getattr(layer, "lora_enabled", False):
            name = "kernel" if hasattr(layer, "_kernel") else "embeddings"
            merged[id(getattr(layer, f"_{name}"))] = getattr(layer, name)
    return [ops.convert_to_tensor(merged.get(id(w), w)) for w in list_weights(parts)]


def replacing(parts, values, others=()):
    """Make a context in which layers have other values of `list_weights`, and no adapters.

    Args:
        parts: The layers.
        values: List of tensors, as `read_values` returned them.
        others: List of pairs of another weight and its value.
    """
    adapters = [w for part in parts for w in part.weights if _is_of_adapter(w)]
    pairs = list(zip(list_weights(parts), values, strict=True))
    zeros = [(w, ops.zeros(w.shape, w.dtype)) for w in adapters]
    return keras.StatelessScope([*pairs, *zeros, *others])


def _is_of_adapter(weight):
    return weight.name.startswith("lora_")
