"""What numbers a network can give, and whether they are those that a loss takes."""

import keras
import numpy as np
from keras import layers, ops

_DRAWS = 8
_TOLERANCE = 1e-3
# Nothing of interest is modeled by logits that stay nearer to 0: probabilities of 0.12 to 0.88.
_LEAST_LOGIT = 2.0

# What a loss or a likelihood takes -> what is said of it, and what to do about other numbers.
_WANTED = {
    "logits": (
        "logits, any real numbers",
        "Drop the activation at its end (activation=None)",
    ),
    "class logits": (
        "logits, any real numbers, along the last axis",
        "Drop the activation at its end (activation=None)",
    ),
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


def check_output(model, network, shape, wanted, asker):
    """Raise unless a decoder of the user's own can give what a loss or a likelihood takes.

    Args:
        model: Whose decoder it is, for the error.
        network: Built Keras model or layer.
        shape: Shape of one code.
        wanted: `"logits"`, `"class logits"`, `"probabilities"`, `"class probabilities"`, `"rates"`,
            or None for whatever it gives.
        asker: Who takes it, for the error, such as "likelihood='bernoulli'".

    Raises:
        ValueError: If no weights would make it right. What cannot be told is let through.
    """
    if wanted is None:
        return
    found = []
    for output in reached(network, shape):
        found.append(output)
        if wanted in ("logits", "class logits") and np.ptp(output) and _fits(output, wanted):
            return
    values = np.array(found)
    if _fits(values, wanted):
        return
    takes, remedy = _WANTED[wanted]
    end = _last_activation(network)
    raise ValueError(
        f"{type(model).__name__}: {asker} takes {takes}, and the decoder {network.name!r}{end} "
        f"gives numbers between {values.min():.3g} and {values.max():.3g}, whatever the code and "
        f"the biases. {remedy}."
    )


def refuse_linear(model, wanted, asker):
    """Raise if a default decoder, which is linear at its end, gives what a loss cannot take."""
    if wanted in ("probabilities", "class probabilities", "rates"):
        takes, remedy = _WANTED[wanted]
        raise ValueError(
            f"{type(model).__name__}: {asker} takes {takes}, and the model's own decoder gives any "
            f"real numbers. Pass a decoder of your own. {remedy}."
        )


def reached(network, shape):
    """What a network gives for codes near and far, with many biases in place of its own.

    A look at the last layer would not see into a model of the user's own class, nor tell a
    sigmoid that is scaled to logits from one that is not. The network stays as it is.

    Args:
        network: Built Keras model or layer.
        shape: Shape of one input.

    Yields:
        Float64 arrays of shape (batch, ...), of the draws that stayed finite.
    """
    rng = np.random.default_rng(0)
    variables = network.trainable_variables
    fixed = [v.value for v in network.non_trainable_variables]
    for number in range(_DRAWS):
        z = rng.normal(size=(4, *shape), scale=10.0 ** (number % 3))
        noise = [10.0 * rng.normal(size=v.shape) if len(v.shape) < 2 else None for v in variables]
        # Small kernels after a bounded layer give small numbers, which says nothing of the end.
        factor = (1.0, 1e2, 1.0, 1e6)[number % 4]
        for sign in (1.0, -1.0):
            values = [
                factor * v.value if n is None else ops.convert_to_tensor(sign * n, dtype=v.dtype)
                for v, n in zip(variables, noise, strict=True)
            ]
            z_tensor = ops.convert_to_tensor(sign * z, dtype="float32")
            output, _ = network.stateless_call(values, fixed, z_tensor, training=False)
            output = ops.convert_to_numpy(ops.cast(output, "float32")).astype("float64")
            if np.all(np.isfinite(output)):
                yield output


def _fits(values, wanted):
    if not values.size or np.ptp(values) == 0:  # Kernels of zeros tell nothing.
        return True
    low, high = values.min(), values.max()
    if wanted == "logits":
        return low < -_LEAST_LOGIT and high > _LEAST_LOGIT
    if wanted == "class logits":  # What is added to all of them changes nothing.
        return np.max(np.ptp(values, axis=-1)) > 2 * _LEAST_LOGIT
    if wanted == "probabilities":
        return low >= -_TOLERANCE and high <= 1 + _TOLERANCE
    return low >= -_TOLERANCE  # Keras divides class probabilities by their sum.


def _last_activation(network):
    """Words about the last layer that has an activation, as far as it can be seen."""
    for layer in reversed(_flat(network)):
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


def _flat(network):
    """The layers of a network in their order, those of models inside it among them."""
    if isinstance(network, layers.Wrapper):
        return _flat(network.layer)
    inner = getattr(network, "layers", None)
    return sum(map(_flat, inner), []) if inner else [network]
