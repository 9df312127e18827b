"""Encoders, decoders and discriminators: plain Keras models that fit the shape of the data.

Every layer is named after its network, because optimisers and saved files find weights by path
and Keras' automatic numbers differ between processes.
"""

import difflib
import math
import numbers
import random
from collections.abc import Iterable
from types import SimpleNamespace

import keras
from keras import layers

_COMMON = {
    "activation": "relu",
    "kernel_initializer": "glorot_uniform",
    "kernel_regularizer": None,
    "activity_regularizer": None,
    "dropout": 0.0,
    "batch_normalization": False,
}
_OPTIONS = {
    "mlp": {**_COMMON, "units": (512, 256)},
    "conv": {**_COMMON, "filters": (32, 64), "units": (256,)},
    # tanh is the cells' own activation, and the only one that the fused GPU kernels have.
    "recurrent": {
        **_COMMON,
        "activation": "tanh",
        "units": (128,),
        "cell": "gru",
        "mask_value": None,
    },
}
KINDS = tuple(_OPTIONS)
_KIND_BY_RANK = {2: "recurrent", 3: "conv"}
_AXES = {"conv": ("height", "width", "channels"), "recurrent": ("time steps", "features")}
_CELLS = {"gru": layers.GRU, "lstm": layers.LSTM}
_KERAS_OPTIONS = {
    "activation": keras.activations,
    "kernel_initializer": keras.initializers,
    "kernel_regularizer": keras.regularizers,
    "activity_regularizer": keras.regularizers,
}
# The shape of an image is (height, width, channels) whatever the user's Keras configuration says.
_IMAGE = {"data_format": "channels_last"}
_STRIDED = {"kernel_size": 4, "strides": 2, "padding": "same", **_IMAGE}


def encoder(shape, kind=None, name="encoder", dtype=None, **options):
    """A network from one example to a flat vector of features.

    Three kinds, chosen by the rank of `shape` or by name:

    - `"mlp"`: the data flattened, then dense layers;
    - `"conv"`: 4x4 convolutions of stride 2, then dense layers, as in arXiv:1804.03599, appendix A;
    - `"recurrent"`: a stack of GRU or LSTM layers, whose last state is the summary of the
      sequence, as in arXiv:1406.1078, section 2.2.

    Args:
        shape: Tuple of positive integers, the shape of one example without the batch axis:
            (height, width, channels) for `"conv"`, (time steps, features) for `"recurrent"`.
        kind: `"mlp"`, `"conv"`, `"recurrent"`, or None for `"conv"` at rank 3, `"recurrent"` at
            rank 2 and `"mlp"` otherwise.
        name: String, the model's name and the prefix of its layers' names.
        dtype: A dtype or dtype policy for every layer; None for Keras' global policy.
        **options: What the layers are like; `decoder` takes the same ones:

            - `activation`: Keras name or callable, after every layer. Default `"relu"`; for
              `"recurrent"` the activation of the cells, default `"tanh"`.
            - `kernel_initializer`: Keras name or object. Default `"glorot_uniform"`.
            - `kernel_regularizer`: `"l1"`, `"l2"`, `"l1_l2"` (0.01 each) or an object, on every
              kernel that meets a layer's input. Default None.
            - `activity_regularizer`: the same, on the encoder's features, divided by the batch
              size. Default None.
            - `dropout`: share of the values dropped after every activation, in [0, 1).
              Default 0.0.
            - `batch_normalization`: whether to normalise before every activation; for
              `"recurrent"`, what every recurrent layer gives. Default False.
            - `units`: sizes of the dense or recurrent layers, first to last in the encoder.
              Default (512, 256) for `"mlp"`, (256,) for `"conv"`, (128,) for `"recurrent"`; () for
              no dense layers, which leaves an `"mlp"` linear.
            - `filters`: channels of the convolutions, `"conv"` only. Default (32, 64).
            - `cell`: `"gru"` or `"lstm"`, `"recurrent"` only. Default `"gru"`.
            - `mask_value`: `"recurrent"` only: the encoder skips the time steps whose features all
              equal this number. Default None: every step counts.

    Returns:
        A `keras.Model` from (batch, *shape) to (batch, features).

    Raises:
        ValueError: If the shape, the kind or an option is unknown, or they do not fit together.

    Example:
        >>> from keras_ae import networks
        >>> networks.encoder((28, 28, 1), filters=(16, 32), units=(64,)).output_shape
        (None, 64)
    """
    where = "networks.encoder"
    shape = _checked_sizes(where, "shape", shape, "(28, 28, 1), without the batch axis")
    kind = _checked_kind(where, kind, shape)
    make = _LayerMaker(name, dtype, _checked_options(where, kind, options))
    x = make.input(shape)
    features = _ENCODERS[kind](make, x)
    if make.options.activity_regularizer is not None:
        # In float16 the sum over a batch overflows.
        features = make.layer(
            layers.Identity,
            "features",
            activity_regularizer=make.options.activity_regularizer,
            dtype=make.full_dtype,
        )(features)
    return keras.Model(x, features, name=name)


def decoder(latent_dim, shape, kind=None, name="decoder", dtype=None, **options):
    """A network from a code to an array of exactly `shape`: the mirror image of `encoder`.

    Its sizes are the encoder's in reverse order. The last layer is linear: what it gives are the
    parameters of a likelihood, such as logits. `"conv"` goes back up by 4x4 transposed
    convolutions of stride 2 (arXiv:1804.03599, appendix A) and crops what an odd height or width
    gets too much; `"recurrent"` reads the code at every time step (arXiv:1406.1078, section 2.2,
    without the feedback of the previous output).

    Args:
        latent_dim: Positive integer, the width of a code.
        shape: Tuple of positive integers, the shape of one output without the batch axis.
        kind: As for `encoder`.
        name: String, the model's name and the prefix of its layers' names.
        dtype: A dtype or dtype policy for every layer; None for Keras' global policy.
        **options: The options of `encoder`, so that one set describes a pair. Two of them,
            `activity_regularizer` and `mask_value`, concern the encoder alone and change
            nothing here.

    Returns:
        A `keras.Model` from (batch, latent_dim) to (batch, *shape).

    Raises:
        ValueError: If latent_dim, the shape, the kind or an option is unknown, or they do not fit
            together.

    Example:
        >>> from keras_ae import networks
        >>> networks.decoder(8, (13, 17, 2), filters=(16, 32), units=(64,)).output_shape
        (None, 13, 17, 2)
    """
    where = "networks.decoder"
    latent_dim = _checked_size(where, "latent_dim", latent_dim)
    shape = _checked_sizes(where, "shape", shape, "(28, 28, 1), without the batch axis")
    kind = _checked_kind(where, kind, shape)
    make = _LayerMaker(name, dtype, _checked_options(where, kind, options))
    z = make.input((latent_dim,))
    return keras.Model(z, _DECODERS[kind](make, z, shape), name=name)


def discriminator(width, outputs=1, units=(256, 256, 256), name="discriminator", dtype=None):
    """An MLP with leaky ReLUs (slope 0.2) that tells two kinds of vectors apart.

    The adversary of arXiv:1802.05983 (appendix A: six layers of 1,000 units and two logits) is
    `discriminator(latent_dim, outputs=2, units=(1000,) * 6)`.

    Args:
        width: Positive integer, the width of the vectors.
        outputs: Positive integer, the number of logits. Default 1.
        units: Tuple of positive integers, the sizes of the hidden layers. Default (256, 256, 256).
        name: String, the model's name and the prefix of its layers' names.
        dtype: A dtype or dtype policy for every layer; None for Keras' global policy.

    Returns:
        A `keras.Model` from (batch, width) to (batch, outputs), linear at the end.

    Raises:
        ValueError: If a size is not a positive integer.

    Example:
        >>> from keras_ae import networks
        >>> networks.discriminator(8, outputs=2, units=(64, 64)).output_shape
        (None, 2)
    """
    where = "networks.discriminator"
    width = _checked_size(where, "width", width)
    outputs = _checked_size(where, "outputs", outputs)
    options = _checked_options(where, "mlp", {"units": units, "activation": "leaky_relu"})
    make = _LayerMaker(name, dtype, options)
    x = make.input((width,))
    hidden = _dense_blocks(make, x, options.units)
    return keras.Model(x, make.weighted(layers.Dense, "output", outputs)(hidden), name=name)


def given_or_none(model, name, network):
    """A model's argument that is a network, the name of a kind of network, or None.

    Args:
        model: The model whose constructor was called, for the error.
        name: The argument's name.
        network: What was given.

    Raises:
        ValueError: If it is the name of nothing.
        TypeError: If it is neither a string nor a Keras layer.
    """
    if network is None or isinstance(network, layers.Layer) or network in KINDS:
        return network
    close = difflib.get_close_matches(str(network), KINDS, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise (ValueError if isinstance(network, str) else TypeError)(
        f"{type(model).__name__}: {name}={network!r} is neither a Keras model nor the name of a "
        f"kind of network ({', '.join(KINDS)}).{hint}"
    )


class _LayerMaker:
    """Makes the layers of one network: named after it, in its dtype, as its options say."""

    def __init__(self, name, dtype, options):
        self.name = name
        self.dtype = dtype
        self.options = options
        # float32 under mixed precision.
        self.full_dtype = keras.dtype_policies.get(dtype).variable_dtype

    def input(self, shape):
        return keras.Input(shape, name=f"{self.name}_input", dtype=self.full_dtype)

    def layer(self, layer_class, role, *arguments, **keywords):
        keywords = {"dtype": self.dtype, **keywords}
        return layer_class(*arguments, name=f"{self.name}_{role}", **keywords)

    def weighted(self, layer_class, role, *arguments, **keywords):
        """A layer whose kernel is initialised and regularised as the options say."""
        initializer = self.options.kernel_initializer
        if isinstance(initializer, keras.initializers.Initializer):
            # One object without a seed gives all kernels of one shape the same values.
            initializer = initializer.clone()
        return self.layer(
            layer_class,
            role,
            *arguments,
            kernel_initializer=initializer,
            kernel_regularizer=self.options.kernel_regularizer,
            **keywords,
        )

    def block(self, h, layer_class, role, size, **keywords):
        """A linear layer, normalisation if asked for, the activation, dropout if asked for."""
        activation = self.options.activation
        if self.options.batch_normalization:
            h = self.weighted(layer_class, role, size, use_bias=False, **keywords)(h)
            h = self.normalized(h, role)
            h = self.layer(layers.Activation, f"{role}_activation", activation)(h)
        else:
            h = self.weighted(layer_class, role, size, activation=activation, **keywords)(h)
        return self.dropped(h, role)

    def recurrent_block(self, h, role, size, **keywords):
        """A recurrent layer, which has its activation inside, then what the options ask for."""
        keywords = {"activation": self.options.activation, **keywords}
        h = self.weighted(_CELLS[self.options.cell], role, size, **keywords)(h)
        if self.options.batch_normalization:
            h = self.normalized(h, role)
        return self.dropped(h, role)

    def normalized(self, h, role):
        return self.layer(layers.BatchNormalization, f"{role}_normalization")(h)

    def dropped(self, h, role):
        if self.options.dropout == 0:
            return h
        # Without a seed of its own torch draws from its global state, which no checkpoint holds.
        seed = random.randrange(2**31)
        return self.layer(layers.Dropout, f"{role}_dropout", self.options.dropout, seed=seed)(h)


def _dense_blocks(make, h, units):
    for number, size in enumerate(units, start=1):
        h = make.block(h, layers.Dense, f"dense_{number}", size)
    return h


def _mlp_encoder(make, x):
    return _dense_blocks(
        make, make.layer(layers.Flatten, "flatten", **_IMAGE)(x), make.options.units
    )


def _mlp_decoder(make, z, shape):
    h = _dense_blocks(make, z, reversed(make.options.units))
    h = make.weighted(layers.Dense, "output", math.prod(shape))(h)
    return h if len(shape) == 1 else make.layer(layers.Reshape, "reshape", shape)(h)


def _conv_encoder(make, x):
    for number, size in enumerate(make.options.filters, start=1):
        x = make.block(x, layers.Conv2D, f"conv_{number}", size, **_STRIDED)
    return _mlp_encoder(make, x)


def _conv_decoder(make, z, shape):
    filters = make.options.filters
    height, width, channels = shape
    scale = 2 ** len(filters)
    rows, columns = math.ceil(height / scale), math.ceil(width / scale)

    h = _dense_blocks(make, z, reversed(make.options.units))
    h = make.block(h, layers.Dense, "grid", rows * columns * filters[-1])
    h = make.layer(layers.Reshape, "reshape", (rows, columns, filters[-1]))(h)
    for number, size in enumerate(reversed(filters[:-1]), start=1):
        h = make.block(h, layers.Conv2DTranspose, f"conv_{number}", size, **_STRIDED)
    h = make.weighted(layers.Conv2DTranspose, "output", channels, **_STRIDED)(h)

    # "same" pads an odd side with its extra zero at the end, so the surplus is there too.
    surplus = (0, rows * scale - height), (0, columns * scale - width)
    if surplus == ((0, 0), (0, 0)):
        return h
    return make.layer(layers.Cropping2D, "crop", surplus, **_IMAGE)(h)


def _recurrent_encoder(make, x):
    options = make.options
    keywords = {}
    if options.mask_value is not None:
        # In float16 small features would round to a mask value of 0.
        masking = make.layer(layers.Masking, "mask", options.mask_value, dtype=make.full_dtype)
        x = masking(x)
        # cuDNN stops at a sequence that is padded throughout or not at its end.
        keywords = {"use_cudnn": False}
    for number, size in enumerate(options.units, start=1):
        last = number == len(options.units)
        x = make.recurrent_block(
            x, f"recurrent_{number}", size, return_sequences=not last, **keywords
        )
    return x


def _recurrent_decoder(make, z, shape):
    steps, width = shape
    units = make.options.units[::-1]
    h = make.block(z, layers.Dense, "dense_1", units[0])
    h = make.layer(layers.RepeatVector, "repeat", steps)(h)
    for number, size in enumerate(units, start=1):
        h = make.recurrent_block(h, f"recurrent_{number}", size, return_sequences=True)
    return make.weighted(layers.Dense, "output", width)(h)


_ENCODERS = {"mlp": _mlp_encoder, "conv": _conv_encoder, "recurrent": _recurrent_encoder}
_DECODERS = {"mlp": _mlp_decoder, "conv": _conv_decoder, "recurrent": _recurrent_decoder}


def _checked_kind(where, kind, shape):
    if kind is None:
        return _KIND_BY_RANK.get(len(shape), "mlp")
    if kind not in tuple(_OPTIONS):
        raise ValueError(
            f"{where}: kind={kind!r} is unknown{_did_you_mean(kind, _OPTIONS)} "
            f"Give one of {', '.join(map(repr, _OPTIONS))}, or None to choose by the shape."
        )
    if kind in _AXES and len(shape) != len(_AXES[kind]):
        raise ValueError(
            f"{where}: kind={kind!r} needs shape=({', '.join(_AXES[kind])}), but shape={shape}. "
            "Reshape the data, or use kind='mlp', which takes any shape."
        )
    return kind


def _checked_options(where, kind, options):
    known = _OPTIONS[kind]
    for name, value in options.items():
        if name not in known:
            raise ValueError(
                f"{where}: {name}={value!r} is not an option of kind={kind!r}"
                f"{_did_you_mean(name, known)} The options are {', '.join(known)}."
            )
    checked = SimpleNamespace(**{**known, **options})
    _check_common_options(where, checked)
    checked.units = _checked_sizes(where, "units", checked.units, "(256, 128)", may_be_empty=True)
    if kind == "conv":
        checked.filters = _checked_sizes(where, "filters", checked.filters, "(32, 64)")
    if kind == "recurrent":
        _check_recurrent_options(where, checked)
    return checked


def _check_common_options(where, options):
    for name, module in _KERAS_OPTIONS.items():
        if module is keras.regularizers:
            setattr(options, name, _named_elastic_net(getattr(options, name)))
        _check_keras_name(where, name, module, getattr(options, name))
    if not _is_number(options.dropout) or not 0 <= options.dropout < 1:
        raise ValueError(
            f"{where}: dropout={options.dropout!r} must be a number in [0, 1), the share of the "
            "values to drop; 0 for none."
        )
    if not isinstance(options.batch_normalization, bool):
        raise ValueError(
            f"{where}: batch_normalization={options.batch_normalization!r} must be True or False."
        )


def _check_recurrent_options(where, options):
    _checked_sizes(where, "units", options.units, "(128,)")
    if options.cell not in tuple(_CELLS):
        raise ValueError(
            f"{where}: cell={options.cell!r} is unknown{_did_you_mean(options.cell, _CELLS)} "
            f"Give one of {', '.join(map(repr, _CELLS))}."
        )
    if options.mask_value is not None and not _is_number(options.mask_value):
        raise ValueError(
            f"{where}: mask_value={options.mask_value!r} must be a finite number, the value of "
            "every feature of a padded time step; None for sequences without padding."
        )


def _named_elastic_net(regularizer):
    # Keras knows no "l1_l2", against its documentation, and gives "L1L2" a weight of zero.
    if regularizer in ("l1_l2", "l1l2", "L1L2"):
        return keras.regularizers.L1L2(l1=0.01, l2=0.01)
    return regularizer


def _check_keras_name(where, name, module, value):
    try:
        module.get(value)
    except ValueError as error:
        known = [known for known in dir(module) if not known.startswith("_")]
        raise ValueError(
            f"{where}: {name}={value!r} is unknown to Keras{_did_you_mean(value, known)} "
            f"Give a name or an object of {module.__name__}."
        ) from error


def _checked_size(where, name, value):
    if not _is_size(value):
        raise ValueError(f"{where}: {name}={value!r} must be a positive integer, such as 16.")
    return int(value)


def _checked_sizes(where, name, values, example, may_be_empty=False):
    sizes = tuple(values) if isinstance(values, Iterable) else (values,)
    empty = not sizes and not may_be_empty
    if empty or not isinstance(values, Iterable) or not all(map(_is_size, sizes)):
        raise ValueError(
            f"{where}: {name}={values!r} must be a tuple of positive integers, such as {example}."
        )
    return tuple(map(int, sizes))


def _is_size(value):
    return isinstance(value, numbers.Integral) and not isinstance(value, bool) and value > 0


def _is_number(value):
    return isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value)


def _did_you_mean(value, known):
    matches = difflib.get_close_matches(str(value), list(known), n=1)
    return f"; did you mean {matches[0]!r}?" if matches else "."
