"""Checks whether the numbers that a network can return are those that a loss takes."""

import keras
import numpy as np
from keras import layers, ops

_DRAWS = 8
_TOLERANCE = 1e-3
# Logits that stay nearer to 0 than this, with probabilities of 0.12 to 0.88, model nothing useful.
_LEAST_LOGIT = 2.0

# A loss or a likelihood takes one of these kinds of numbers. Each kind has a description and a
# remedy for the error.
_WANTED = {
    "logits": (
        "logits, any real numbers",
        "Drop the activation at its end (activation=None)",
    ),
    "class logits": (
        "logits, any real numbers, along the last axis",
        "Drop the activation at its end (activation=None)",
    ),
    "real numbers": ("any real numbers", "Drop the activation at its end (activation=None)"),
    "probabilities": (
        "probabilities between 0 and 1",
        "End it in activation='sigmoid', or pass the loss with from_logits=True",
    ),
    "class probabilities": (
        "probabilities that add up to 1 along the last axis",
        "End it in activation='softmax', or pass a loss with from_logits=True",
    ),
    "rates": ("numbers of at least 0", "End it in activation='softplus'"),
}

_UNLIMITED = ("logits", "class logits", "real numbers")


def check_output(
    model: keras.Model,
    network: keras.layers.Layer,
    shape: tuple[int, ...],
    wanted: str | None,
    asker: str,
) -> None:
    """Raise an error unless a user's decoder can return what a loss or a likelihood takes.

    Args:
        model: The model that has the decoder, for the error.
        network: Built Keras model or layer, the decoder.
        shape: Shape of one code.
        wanted: `"logits"`, `"class logits"`, `"real numbers"`, `"probabilities"`, `"class
            probabilities"`, `"rates"`, or None if any numbers will do.
        asker: The argument that takes the outputs, for the error, such as
            "likelihood='bernoulli'".

    Raises:
        ValueError: If the outputs would be wrong with any weights. A doubtful decoder passes.
    """
    if wanted is None:
        return
    found = []
    for output in sample_outputs(network, shape):
        found.append(output)
        if wanted in _UNLIMITED and np.ptp(output) and _fits(output, wanted):
            return
    values = np.array(found)
    if _fits(values, wanted):
        return
    takes, remedy = _WANTED[wanted]
    end = _describe_last_activation(network)
    raise ValueError(
        f"{type(model).__name__}: {asker} takes {takes}, and the decoder {network.name!r}{end} "
        f"returns numbers between {values.min():.3g} and {values.max():.3g}, whatever the code and "
        f"the biases. {remedy}."
    )


def refuse_linear(model: keras.Model, wanted: str | None, asker: str) -> None:
    """Raise an error if a loss cannot take the outputs of a default decoder, which are linear."""
    if wanted in ("probabilities", "class probabilities", "rates"):
        takes, remedy = _WANTED[wanted]
        raise ValueError(
            f"{type(model).__name__}: {asker} takes {takes}, but the model's own decoder returns "
            f"any real numbers. Pass a decoder of your own. {remedy}."
        )


def sample_outputs(network, shape):
    """Compute a network's outputs for small and large codes, with random biases.

    The type of the last layer would not be enough: it is hidden in a user's own class of models,
    and it does not say whether a sigmoid is then scaled to logits. The network is left unchanged.

    Args:
        network: Built Keras model or layer.
        shape: Shape of one input.

    Yields:
        Float64 arrays of shape (batch, ...): those outputs that are finite.
    """
    rng = np.random.default_rng(0)
    variables = network.trainable_variables
    for number in range(_DRAWS):
        z = rng.normal(size=(4, *shape), scale=10.0 ** (number % 3))
        noise = [10.0 * rng.normal(size=v.shape) if len(v.shape) < 2 else None for v in variables]
        # Kernels are scaled up, because small kernels after a bounded layer would return small
        # numbers, whatever the last activation.
        factor = (1.0, 1e2, 1.0, 1e6)[number % 4]
        for sign in (1.0, -1.0):
            values = [
                factor * v.value if n is None else ops.convert_to_tensor(sign * n, dtype=v.dtype)
                for v, n in zip(variables, noise, strict=True)
            ]
            z_tensor = ops.convert_to_tensor(sign * z, dtype="float32")
            # `stateless_call` of a layer would need its `call` to take `training`.
            with keras.StatelessScope(zip(variables, values, strict=True)):
                output = network(z_tensor, training=False)
            output = ops.convert_to_numpy(ops.cast(output, "float32")).astype("float64")
            if np.all(np.isfinite(output)):
                yield output


def _fits(values, wanted):
    # Constant outputs, such as those of kernels of zeros, prove nothing, so they pass.
    if not values.size or np.ptp(values) == 0:
        return True
    low, high = values.min(), values.max()
    if wanted in ("logits", "real numbers"):
        return low < -_LEAST_LOGIT and high > _LEAST_LOGIT
    if wanted == "class logits":  # Only the differences of class logits matter.
        return np.max(np.ptp(values, axis=-1)) > 2 * _LEAST_LOGIT
    if wanted == "probabilities":
        return low >= -_TOLERANCE and high <= 1 + _TOLERANCE
    return low >= -_TOLERANCE  # Keras divides class probabilities by their sum.


def _describe_last_activation(network):
    """Describe the last layer that has an activation, or return "" if it cannot be seen."""
    for layer in reversed(_list_layers(network)):
        activation = getattr(layer, "activation", None)
        if type(layer).__module__.startswith("keras.src.layers.activations"):
            name = keras.activations.serialize(activation) if activation else type(layer).__name__
            return f", which ends in layer {layer.name!r} ({name}),"
        if activation is not None and activation is not keras.activations.linear:
            name = getattr(activation, "__name__", type(activation).__name__)
            return f", which ends in layer {layer.name!r} (activation={name!r}),"
        if layer.weights:
            return ""
    return ""


def _list_layers(network):
    """List the layers of a network in order, including those of nested models."""
    if isinstance(network, layers.Wrapper):
        return _list_layers(network.layer)
    inner = getattr(network, "layers", None)
    return sum(map(_list_layers, inner), []) if inner else [network]
