"""The options of networks, and the checks of what users pass for them."""

import contextlib
import contextvars
import math
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import keras
from keras import layers

from keras_ae.core import arguments, memory

_COMMON = {
    "activation": "relu",
    "kernel_initializer": "glorot_uniform",
    "kernel_regularizer": None,
    "activity_regularizer": None,
    "dropout": 0.0,
    "batch_normalization": False,
}
_LINEAR = {**_COMMON, "spectral_normalization": False}
_CONVOLUTIONAL = {**_LINEAR, "kernel_initializer": None, "filters": None, "units": (256,)}
_OPTIONS = {
    "mlp": {**_LINEAR, "units": (512, 256)},
    "conv": _CONVOLUTIONAL,
    "resnet": {**_CONVOLUTIONAL, "blocks": 2},
    "unet": _CONVOLUTIONAL,
    # tanh is the cells' usual activation, and the only one that the fused GPU kernels support.
    "recurrent": {
        **_COMMON,
        "activation": "tanh",
        "units": (128,),
        "cell": "gru",
        "mask_value": None,
    },
    "conv_recurrent": {
        **_COMMON,
        # Frames are mostly of one brightness. While a decoder learns that, units that are zero
        # below a limit may die, and small kernels delay all else.
        "activation": "silu",
        "kernel_initializer": "he_uniform",
        "filters": None,
        "units": (256,),
        "cell": "gru",
    },
    "transformer": {
        **{name: value for name, value in _COMMON.items() if name != "batch_normalization"},
        "activation": "gelu",
        "units": (),
        "width": 64,
        "heads": 4,
        "blocks": 2,
        "patch_size": None,
    },
}
# Default networks halve the sides of the data until a map has at most so many positions. The dense
# layers, which have most of the weights, are then about as large for any size of the data.
_MOST_POSITIONS = 64
_LEAST_HALVINGS = 2
_defaults = contextvars.ContextVar("defaults", default=2)
_outputs_are_data = contextvars.ContextVar("outputs_are_data", default=True)
# The middle of the range of pictures, where deep networks of pictures are centered.
MIDDLE = 0.5
# These values stand for options that a kind of network does not have.
_ABSENT = {
    "activity_regularizer": None,
    "batch_normalization": False,
    "spectral_normalization": False,
    "units": (),
    "mask_value": None,
}
KINDS = tuple(_OPTIONS)
_KIND_BY_RANK = {2: "recurrent", 3: "conv", 4: "conv"}
_AXES_BY_RANK = {
    2: "(time steps, features)",
    3: "(height, width, channels)",
    4: "(depth or time steps, height, width, channels)",
}
# Kind of network -> the ranks of the shapes that it takes. Others take any shape.
_RANKS = {
    "conv": (2, 3, 4),
    "resnet": (2, 3, 4),
    "unet": (2, 3, 4),
    "recurrent": (2,),
    "conv_recurrent": (4,),
    "transformer": (2, 3),
}
# Kinds whose activations follow a linear layer, which can compute several pieces of each unit.
_WITH_PIECES = ("mlp", "conv", "unet")
MAXOUT = "maxout"
CELLS = {"gru": layers.GRU, "lstm": layers.LSTM}
_KERAS_OPTIONS = {
    "activation": keras.activations,
    "kernel_initializer": keras.initializers,
    "kernel_regularizer": keras.regularizers,
    "activity_regularizer": keras.regularizers,
}


@contextlib.contextmanager
def defaults_of(model: keras.Model) -> Iterator[None]:
    """Make networks with the defaults of a model in a `with` block.

    Two attributes of the model decide. In older files, `_default_networks` is less than 2. With 1,
    `"conv"` has `"relu"` for volumes, too. With 0, the defaults do not depend on the size of the
    data, either: `filters` are (32, 64), `patch_size` is 4 and volumes are flattened. If
    `_outputs_are_data` is False, because the decoder returns logits, the outputs of deep decoders
    of pictures begin at 0, the logit of 0.5.
    """
    tokens = (
        _defaults.set(model._default_networks),
        _outputs_are_data.set(model._outputs_are_data),
    )
    try:
        yield
    finally:
        _defaults.reset(tokens[0])
        _outputs_are_data.reset(tokens[1])


def check_kind(where, kind, shape):
    if kind is None:
        if len(shape) == 4 and _defaults.get() < 1:
            return "mlp"
        return _KIND_BY_RANK.get(len(shape), "mlp")
    if kind not in tuple(_OPTIONS):
        raise ValueError(
            f"{where}: kind={kind!r} is unknown.{arguments.did_you_mean(kind, _OPTIONS)} "
            f"Give one of {', '.join(map(repr, _OPTIONS))}, or None to choose by the shape."
        )
    if kind in _RANKS and len(shape) not in _RANKS[kind]:
        raise ValueError(
            f"{where}: kind={kind!r} needs shape="
            f"{' or '.join(_AXES_BY_RANK[rank] for rank in _RANKS[kind])}, but shape={shape}. "
            "Reshape the data, or use kind='mlp', which takes any shape."
        )
    return kind


def check_map(where, kind, grid):
    """Raise an error unless an encoder of this kind can end in a map of features."""
    if arguments.flag(where, "grid", grid) and kind == "mlp":
        others = [name for name in _OPTIONS if name != "mlp"]
        raise ValueError(
            f"{where}: grid=True needs a kind that keeps positions apart, but kind='mlp' flattens "
            f"the data. Give one of {', '.join(map(repr, others))}, or grid=False."
        )


def check_grid(where, kind, grid, shape, places):
    """Check the sides of a decoder's map of codes, and return () for a single code.

    `places` are the sides that lead to `shape`, or None if all do.
    """
    if grid is None:
        return ()
    grid = arguments.sizes(where, "grid", grid, "(7, 7)")
    if places not in (None, grid):
        raise ValueError(
            f"{where}: grid={grid} does not lead to shape={shape}, but with these options of "
            f"kind={kind!r} grid={places} does. Give that, or other options; kind='mlp' takes any "
            "grid."
        )
    return grid


def check_options(where, kind, options, without=(), sides=None):
    """Check the options of a network, and complete them by defaults.

    Args:
        where: Name of the function whose arguments they are, for errors.
        kind: Kind of the network.
        options: Dictionary of options.
        without: Names of options of this kind that this network does not have.
        sides: Sides of the data, such as (height, width), if the defaults depend on them. Default
            None.

    Returns:
        A namespace of the values of all options.
    """
    known = {name: value for name, value in _OPTIONS[kind].items() if name not in without}
    for name, value in options.items():
        if name not in known:
            raise ValueError(
                f"{where}: {name}={value!r} is not an option of kind={kind!r}."
                f"{arguments.did_you_mean(name, known)} The options are {', '.join(known)}."
            )
    checked = SimpleNamespace(**{**_ABSENT, **known, **options})
    checked.output_initializer, checked.centered, checked.output_start = None, False, 0.0
    if kind == "conv_recurrent" and sides is not None:
        sides = sides[1:]  # No layer halves the number of time steps.
    deeper = _choose_by_size(checked, known, sides if _defaults.get() >= 1 else None)
    if deeper and kind in ("conv", "conv_recurrent") and len(sides) == 2:
        # A picture of many pixels from 0 to 1 is mostly brightness. Units that are zero below a
        # limit, and outputs that begin far from the mean picture, would learn its colors late.
        checked.centered = True
        checked.output_start = MIDDLE if _outputs_are_data.get() else 0.0
        checked.activation = options.get("activation", "silu")
    if kind == "conv" and sides is not None and len(sides) == 3 and _defaults.get() >= 2:
        # Volumes and videos are mostly background. While a decoder learns that, units that are zero
        # below a limit may all die, and a VAE then never learns anything else.
        checked.activation = options.get("activation", "silu")
    _check_common_options(where, kind, checked)
    checked.units = arguments.sizes(where, "units", checked.units, "(256, 128)", may_be_empty=True)
    if "filters" in known:
        checked.filters = arguments.sizes(where, "filters", checked.filters, "(32, 64)")
    for name in {"blocks", "width", "heads", "patch_size"} & set(known):
        setattr(checked, name, arguments.integer(where, name, getattr(checked, name)))
    memory.refuse_layers(where, "blocks", getattr(checked, "blocks", 0))
    if kind in ("recurrent", "conv_recurrent"):
        arguments.sizes(where, "units", checked.units, "(128,)")
        arguments.choice(where, "cell", checked.cell, CELLS)
    check_mask_value(where, checked.mask_value)
    return checked


def _choose_by_size(options, known, sides):
    """Choose the options that are None and whose default depends on the size of the data.

    Returns:
        Whether the size of the data leads to more filters than the least number.
    """
    number = _LEAST_HALVINGS if sides is None else _count_halvings(sides)
    deeper = number > _LEAST_HALVINGS
    if "patch_size" in known and options.patch_size is None:
        options.patch_size = 2**number
    if "filters" in known:
        deeper = deeper and options.filters is None
        if options.filters is None:
            options.filters = (32, *(64,) * (number - 1))
        if options.kernel_initializer in (None, known["kernel_initializer"]):
            options.output_initializer = "glorot_uniform"  # The last layer of a decoder is linear.
        if options.kernel_initializer is None:
            # "glorot_uniform" makes each convolution of stride 2 shrink the signal, and each
            # transposed one even more. The more there are, the longer training takes to begin.
            # Along three axes, two convolutions shrink it as much as three along two axes.
            is_volume = sides is not None and len(sides) == 3
            options.kernel_initializer = "he_uniform" if deeper or is_volume else "glorot_uniform"
    return deeper


def _count_halvings(sides):
    number = _LEAST_HALVINGS
    while math.prod(math.ceil(side / 2**number) for side in sides) > _MOST_POSITIONS:
        number += 1
    return number


def options_for(
    kind: str | None, shape: tuple[int, ...], options: dict[str, Any] | None
) -> dict[str, Any]:
    """Return those of a model's options that a network beside its encoder has, too.

    Args:
        kind: Kind of the network, or None for one that fits the shape.
        shape: Shape of what the network takes, without the batch axis.
        options: Dictionary of options. That for the encoder's features is left out.
    """
    known = _OPTIONS[check_kind("network_options", kind, shape)].keys() - {"activity_regularizer"}
    return {name: value for name, value in options.items() if name in known}


def _check_common_options(where, kind, options):
    for name, module in _KERAS_OPTIONS.items():
        if module is keras.regularizers:
            setattr(options, name, _resolve_elastic_net(getattr(options, name)))
        if name == "activation" and options.activation == MAXOUT:
            _refuse_maxout(where, kind)
        else:
            _check_keras_name(where, name, module, getattr(options, name))
    remedy = "It is the share of the values to drop, 0 for none."
    arguments.number(where, "dropout", options.dropout, below=1, remedy=remedy)
    for name in ("batch_normalization", "spectral_normalization"):
        arguments.flag(where, name, getattr(options, name))


def _refuse_maxout(where, kind):
    if kind not in _WITH_PIECES:
        raise ValueError(
            f"{where}: activation={MAXOUT!r} is not possible for kind={kind!r}, because not all of "
            "its activations follow a linear layer that could compute several pieces of each unit. "
            f"Choose another activation, or one of the kinds {', '.join(map(repr, _WITH_PIECES))}."
        )


def check_mask_value(where, mask_value):
    remedy = (
        "It is the value of every feature of a padded time step; None is for sequences without "
        "padding."
    )
    return arguments.number(
        where, "mask_value", mask_value, least=None, optional=True, remedy=remedy
    )


def _resolve_elastic_net(regularizer):
    # Contrary to its documentation, Keras does not know "l1_l2", and it makes "L1L2" with weights
    # of zero.
    if regularizer in ("l1_l2", "l1l2", "L1L2"):
        return keras.regularizers.L1L2(l1=0.01, l2=0.01)
    return regularizer


def _check_keras_name(where, name, module, value):
    try:
        module.get(value)
    except ValueError as error:
        known = [known for known in dir(module) if not known.startswith("_")]
        known += [MAXOUT] if module is keras.activations else []
        raise ValueError(
            f"{where}: {name}={value!r} is unknown to Keras.{arguments.did_you_mean(value, known)} "
            f"Give a name or an object of {module.__name__}."
        ) from error
