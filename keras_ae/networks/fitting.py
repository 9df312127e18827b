"""Networks of a model, built by passing symbolic data, and whether they fit each other."""

import re

import keras

from keras_ae.core import arguments
from keras_ae.networks.by_name import decoder, encoder


def make_networks(model, shape, target_shape):
    """Make the encoder and the decoder that were not given, and the layer from features to code."""
    dtype, options = model.dtype_policy, model.network_options
    # If a likelihood refuses the shape, no network is left that was made for it.
    shape_of_output = model._decoder_shape(target_shape)
    if model.encoder is None:
        refuse_misread_pictures(model, shape)
        if model.decoder is None:
            refuse_misread_pictures(model, target_shape, "y", "decoder")
    if model.encoder is None or isinstance(model.encoder, str):
        wanted = model._encoder_input_shape(shape)
        model.encoder = encoder(wanted, model.encoder, dtype=dtype, **options)
    if model.decoder is None or isinstance(model.decoder, str):
        (width,) = model._decoder_input_shape()
        model.decoder = decoder(width, shape_of_output, model.decoder, dtype=dtype, **options)
    model.features_to_code = keras.Sequential(
        [
            keras.layers.Flatten(dtype=dtype, name="flatten"),
            keras.layers.Dense(model._code_width(), dtype=dtype, name="code"),
        ],
        name="features_to_code",
    )


# Pictures have sides of at least this many pixels, if they are square, or else of twice as many.
_LEAST_SIDE = 8
_MOST_CHANNELS = 4


def refuse_misread_pictures(model, shape, name="x", argument="encoder", are_classes=None):
    """Raise if the shape of an example is that of a picture whose axes its network would misread.

    Without a channel axis, a picture would be read as a series of rows. With channels first, it
    would be convolved over its channels and rows.

    Args:
        model: The model. If it comes from a file, nothing is checked.
        shape: Shape of one example, whose rank decides the kind of the network.
        name: Name of the data in the error. Defaults to "x".
        argument: The argument that chooses a kind of network. Defaults to "encoder".
        are_classes: Whether the last axis holds the probabilities of classes. Defaults to None, for
            what the model's likelihood says.
    """
    are_classes = model._takes_classes if are_classes is None else are_classes
    is_series = are_classes or {"cell", "mask_value"} & model.network_options.keys()
    if model._restored or len(shape) not in (2, 3) or (len(shape) == 2 and is_series):
        return
    short, long = sorted(shape[-2:])
    if short < _LEAST_SIDE * (1 if short == long else 2) or long > 2 * short:
        return
    who = f"{type(model).__name__}: examples of shape {shape} look like pictures"
    if len(shape) == 2:
        raise ValueError(
            f"{who} without a channel axis. Pass {name}[..., None], with examples of shape "
            f'{(*shape, 1)}, or choose {argument}="recurrent" if each example is a series of '
            f"{shape[0]} time steps."
        )
    if shape[0] <= _MOST_CHANNELS < shape[2]:
        raise ValueError(
            f"{who} with channels first. Pass keras.ops.transpose({name}, (0, 2, 3, 1)), with "
            f'examples of shape {(*shape[1:], shape[0])}, or choose {argument}="conv" if the last '
            f"axis holds {shape[2]} channels."
        )


def symbolic_call(model, name, network, shape):
    """The network's output for symbolic data, with an error that says who asked for what."""
    if not isinstance(network, keras.layers.Layer):
        raise arguments.refusal(model, name, network, "a Keras model", error=TypeError)
    given = getattr(network, "input_shape", None) if network.built else None
    if isinstance(given, (list, dict)) and len(given) > 1:
        raise ValueError(
            f"{type(model).__name__}: the {name} {network.name!r} has {len(given)} inputs, of "
            f"shapes {given}, and gets one, of shape {shape[1:]}. Make a model of one input."
        )
    if isinstance(given, tuple) and not _compatible(given, shape):
        raise ValueError(
            f"{type(model).__name__}: the {name} takes inputs of shape {given[1:]}, and gets "
            f"{shape[1:]}. "
            f"Make its first layer keras.Input({shape[1:]}), or "
            + ("set latent_dim to what it takes." if name == "decoder" else "reshape the data.")
        )
    output = _call(model, name, network, shape)
    if not isinstance(output, keras.KerasTensor):
        found = keras.tree.map_structure(lambda each: getattr(each, "shape", (None,))[1:], output)
        raise ValueError(
            f"{type(model).__name__}: the {name} {network.name!r} has to return one tensor, and it "
            f"returns a {type(output).__name__} of outputs of shapes {found}. "
            + _explain_outputs(model, name, network)
        )
    if 0 in output.shape[1:]:  # TensorFlow's products end the process if there is nothing to add.
        raise ValueError(
            f"{type(model).__name__}: the {name} {network.name!r} returns no numbers: its output "
            f"has the shape {output.shape[1:]}. Make its last layer wider."
        )
    if not (model._restored or keras.backend.is_float_dtype(output.dtype)):
        raise ValueError(
            f"{type(model).__name__}: the {name} {network.name!r} returns numbers of dtype "
            f"{output.dtype}, through which no gradient reaches its weights. End it with a layer "
            "that returns real numbers."
        )
    return output


def _call(model, name, network, shape):
    """Call a network with symbolic data, and return its output.

    For a network of the user's own, also check that its output has a row for each example.
    """
    if not isinstance(model.arguments.get(name), keras.layers.Layer):
        return network(keras.KerasTensor(shape, dtype="float32"), training=False)
    who = f"{type(model).__name__}: the {name} {network.name!r}"
    try:
        output = network(keras.KerasTensor(shape, dtype="float32"), training=False)
        two = network.compute_output_spec(keras.KerasTensor((2, *shape[1:]), dtype="float32"))
    except (AttributeError, TypeError, ValueError) as error:
        lines = re.sub(r"\x1b\[\d*m", "", str(error)).splitlines()
        lines = [line for line in lines if line and not line.startswith("Exception encountered")]
        reason = lines[0][:200].rstrip(".") if lines else type(error).__name__
        raise ValueError(
            f"{who} cannot compute with examples of shape {shape[1:]}, one by one: {reason}. "
            "Pass a Keras model that returns one tensor, with a row for each example."
        ) from error
    for rows in {getattr(each, "shape", None) for each in keras.tree.flatten(two)}:
        if rows is not None and rows[:1] not in ((2,), (None,)):
            raise ValueError(
                f"{who} returns the shape {tuple(rows)} for a batch of 2 examples. It has to "
                "return a row for each example."
            )
    return output


def _explain_outputs(model, name, network):
    """Return how to make a network of one output, if it has several."""
    outputs = getattr(network, "outputs", None) or []
    inner = [getattr(output, "_keras_history", (None,))[0] for output in outputs[:2]]
    features = [
        layer.input for layer in inner if layer is not None and len(layer.output.shape) == 2
    ]
    if name != "encoder" or len(features) < 2 or features[0] is not features[1]:
        return (
            "Choose one, such as keras.Model(network.inputs, network.outputs[0]), or join them by "
            "keras.layers.Concatenate."
        )
    # In the example of keras.io, two layers compute a mean and a variance of the same features.
    return (
        f"A {type(model).__name__} computes its code from features by a layer of its own. End the "
        f"network before {inner[0].name!r}: keras.Model(network.inputs, "
        f"network.get_layer({inner[0].name!r}).input)."
    )


def _compatible(given, shape):
    return len(given) == len(shape) and all(
        None in pair or pair[0] == pair[1] for pair in zip(given, shape, strict=True)
    )


def fit_networks(model, shape, target_shape):
    """Build the networks by passing symbolic data, and check that they fit each other."""
    shape = (None, *model._encoder_input_shape(shape))
    features = symbolic_call(model, "encoder", model.encoder, shape)
    model.features_to_code(features)
    fit_decoder(model, target_shape)


def fit_decoder(model, target_shape):
    """Build the decoder by passing symbolic data, and check what it returns."""
    width = model._decoder_input_shape()
    output = symbolic_call(model, "decoder", model.decoder, (None, *width))
    expected = model._decoder_shape(target_shape)
    if tuple(output.shape[1:]) != tuple(expected):
        raise ValueError(
            f"{type(model).__name__}: the decoder returns {tuple(output.shape[1:])} for "
            f"inputs of shape {width}, and {tuple(expected)} is needed. Give it an output of "
            "that shape."
        )


def refuse_unused_options(model):
    """Raise for options of networks that the model does not make, because both were given."""
    given = [model.arguments.get(name) for name in ("encoder", "decoder")]
    if all(isinstance(network, keras.layers.Layer) for network in given):
        for name in model.network_options.keys() - model._options_in_use():
            raise ValueError(
                f"{type(model).__name__}: network_options={model.network_options!r} has no effect "
                f"in {name!r}, because encoder and decoder were given. Leave it out."
            )
