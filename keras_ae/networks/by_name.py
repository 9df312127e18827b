"""The encoder and the decoder of every kind that has a name."""

import importlib

import keras
from keras import layers

from keras_ae.core import arguments, memory
from keras_ae.networks.maker import SMALLER, LayerMaker
from keras_ae.networks.options import (
    KINDS,
    check_map,
    check_mask_value,
    checked_grid,
    checked_kind,
    checked_options,
)

# Each kind is a file of its name.
_MODULES = {kind: importlib.import_module(f"keras_ae.networks.{kind}") for kind in KINDS}


@memory.explains(SMALLER)
def encoder(shape, kind=None, name="encoder", dtype=None, grid=False, **options):
    """A network from one example to a flat vector of features, or to a map of them.

    Of a kind that is chosen by the rank of `shape` or by name:

    - `"mlp"`: the data flattened, then dense layers;
    - `"conv"`: 4x4 convolutions of stride 2, then dense layers, as in arXiv:1804.03599, appendix A;
    - `"resnet"`: residual blocks of 3x3 convolutions, the first of each size with stride 2, each
      normalised in groups of channels and activated before it, as in arXiv:1603.05027; then dense
      layers;
    - `"unet"`: a U-Net (arXiv:1505.04597), down to smaller sizes and up again with connections that
      skip these, and then what `"conv"` has. No connection leads past the code, for `decode` and
      `sample` have nothing but codes; `keras_ae.UNetAE` has a U-Net that sees the data as well;
    - `"recurrent"`: a stack of GRU or LSTM layers, whose last state is the summary of the
      sequence, as in arXiv:1406.1078, section 2.2;
    - `"transformer"`: blocks of attention over the steps of a sequence or the patches of a picture
      (arXiv:2010.11929), each normalised before it, then dense layers on all of them. Positions are
      learned.

    Args:
        shape: Tuple of positive integers, the shape of one example without the batch axis:
            (height, width, channels) for `"conv"`, `"resnet"` and `"unet"`, (time steps, features)
            for `"recurrent"`, one of both for `"transformer"`.
        kind: One of `networks.KINDS`, or None for `"conv"` at rank 3, `"recurrent"` at rank 2 and
            `"mlp"` otherwise.
        name: String, the model's name and the prefix of its layers' names.
        dtype: A dtype or dtype policy for every layer; None for Keras' global policy.
        grid: Whether to end in a map of features, one vector for each place, before any dense
            layers: (batch, rows, columns, features) for `"conv"`, `"resnet"` and `"unet"`, whose
            every entry of `filters` halves height and width, rounded up; (batch, time steps,
            features) for `"recurrent"`; (batch, time steps or patches, features) for
            `"transformer"`. Default False.
        **options: What the layers are like; `decoder` takes the same ones:

            - `activation`: Keras name or callable, after every layer. Default `"relu"`; for
              `"recurrent"` the activation of the cells, default `"tanh"`; for `"transformer"`
              `"gelu"`.
            - `kernel_initializer`: Keras name or object. Default `"glorot_uniform"`.
            - `kernel_regularizer`: `"l1"`, `"l2"`, `"l1_l2"` (0.01 each) or an object, on every
              kernel that meets a layer's input. Default None.
            - `activity_regularizer`: the same, on the encoder's features, divided by the batch
              size. Default None.
            - `dropout`: share of the values dropped after every activation, in [0, 1).
              Default 0.0.
            - `batch_normalization`: whether to normalise before every activation; for
              `"recurrent"`, what every recurrent layer gives; for the maps of `"resnet"`, in place
              of the groups of channels. `"transformer"` has layer normalisation alone. Default
              False.
            - `spectral_normalization`: whether to divide every kernel by its largest singular
              value, as `keras_ae.layers.SpectralNormalization` does (arXiv:1802.05957); of
              `"mlp"`, `"conv"`, `"resnet"` and `"unet"`. Default False.
            - `units`: sizes of the dense or recurrent layers, first to last in the encoder.
              Default (512, 256) for `"mlp"`, (128,) for `"recurrent"`, () for `"transformer"`, else
              (256,); () for no dense layers, which leaves an `"mlp"` linear.
            - `filters`: channels of the convolutions at half the size, a quarter and so on; of
              `"conv"`, `"resnet"` and `"unet"`, where the first are also those at the whole size.
              Default (32, 64).
            - `blocks`: residual blocks at each size of `"resnet"`, or blocks of `"transformer"`.
              Default 2.
            - `width`, `heads`, `patch_size`: of `"transformer"`: numbers for each token, heads of
              the attention, and the side of a patch in pixels. A picture that patches do not fill
              has zeros at its end. Default 64, 4, 4.
            - `cell`: `"gru"` or `"lstm"`, `"recurrent"` only. Default `"gru"`.
            - `mask_value`: `"recurrent"` only: the encoder skips the time steps whose features all
              equal this number. A model of such an encoder leaves them out of its reconstruction
              loss and likelihood, too; what it decodes at their places means nothing. Default
              None: every step counts.

    Returns:
        A `keras.Model` from (batch, *shape) to (batch, features), or to the map.

    Raises:
        ValueError: If the shape, the kind or an option is unknown, or they do not fit together.

    Example:
        >>> from keras_ae import networks
        >>> networks.encoder((28, 28, 1), filters=(16, 32), units=(64,)).output_shape
        (None, 64)
    """
    where = "networks.encoder"
    shape = arguments.sizes(where, "shape", shape, "(28, 28, 1), without the batch axis")
    kind = checked_kind(where, kind, shape)
    check_map(where, kind, grid)
    make = LayerMaker(name, dtype, checked_options(where, kind, options))
    x = make.input(shape)
    features = _MODULES[kind].encoder(make, x, grid)
    if make.options.activity_regularizer is not None:
        # In float16 the sum over a batch overflows.
        features = make.layer(
            layers.Identity,
            "features",
            activity_regularizer=make.options.activity_regularizer,
            dtype=make.full_dtype,
        )(features)
    return keras.Model(x, features, name=name)


@memory.explains(SMALLER)
def decoder(latent_dim, shape, kind=None, name="decoder", dtype=None, grid=None, **options):
    """A network from a code to an array of exactly `shape`: the mirror image of `encoder`.

    Its sizes are the encoder's in reverse order. The last layer is linear: what it gives are the
    parameters of a likelihood, such as logits.

    - `"conv"` goes back up by 4x4 transposed convolutions of stride 2 (arXiv:1804.03599, appendix
      A) and crops what an odd height or width gets too much;
    - `"resnet"` goes up by residual blocks, whose last of each size repeats every row and column
      before it convolves;
    - `"unet"` goes up as `"conv"` does, and then through a U-Net;
    - `"recurrent"` reads the code at every time step (arXiv:1406.1078, section 2.2, without the
      feedback of the previous output, which `feedback_decoder` has).

    Args:
        latent_dim: Positive integer, the width of a code.
        shape: Tuple of positive integers, the shape of one output without the batch axis.
        kind: As for `encoder`.
        name: String, the model's name and the prefix of its layers' names.
        dtype: A dtype or dtype policy for every layer; None for Keras' global policy.
        grid: Tuple of positive integers, the places of a map of codes: those of
            `encoder(shape, grid=True)` with the same options, such as (rows, columns) for `"conv"`.
            `"mlp"` takes any, and flattens the map. Default None, one code an example.
        **options: The options of `encoder`, so that one set describes a pair. Two of them,
            `activity_regularizer` and `mask_value`, concern the encoder alone and change
            nothing here.

    Returns:
        A `keras.Model` from (batch, latent_dim), or (batch, *grid, latent_dim), to
        (batch, *shape).

    Raises:
        ValueError: If latent_dim, the shape, the kind, the grid or an option is unknown, or they
            do not fit together.

    Example:
        >>> from keras_ae import networks
        >>> networks.decoder(8, (13, 17, 2), filters=(16, 32), units=(64,)).output_shape
        (None, 13, 17, 2)
        >>> networks.decoder(8, (28, 28, 1), grid=(7, 7)).input_shape
        (None, 7, 7, 8)
    """
    where = "networks.decoder"
    latent_dim = arguments.integer(where, "latent_dim", latent_dim)
    shape = arguments.sizes(where, "shape", shape, "(28, 28, 1), without the batch axis")
    kind = checked_kind(where, kind, shape)
    options = checked_options(where, kind, options)
    places = _MODULES[kind].map_of(shape, options)
    grid = checked_grid(where, kind, grid, shape, places)
    make = LayerMaker(name, dtype, options)
    z = make.input((*grid, latent_dim))
    return keras.Model(z, _MODULES[kind].decoder(make, z, shape), name=name)


def has_places(shape, kind=None):
    """Whether an encoder of this kind can end in a map of features: see `grid` of `encoder`.

    Args:
        shape, kind: As for `encoder`.

    Example:
        >>> from keras_ae import networks
        >>> networks.has_places((28, 28, 1)), networks.has_places((784,))
        (True, False)
    """
    return checked_kind("networks.has_places", kind, shape) != "mlp"


def mask_value(encoder, options):
    """What all features of a padded time step equal, as an encoder's networks were told.

    Args:
        encoder: Keras model of the user's own, whose first layer may be a `keras.layers.Masking`;
            or None or the name of a kind.
        options: Dictionary of options as for `encoder`.

    Returns:
        A number, or None where every step counts.

    Example:
        >>> from keras_ae import networks
        >>> networks.mask_value(None, {"mask_value": -1.0})
        -1.0
    """
    if options.get("mask_value") is not None:
        return check_mask_value("network_options", options["mask_value"])
    inner = getattr(encoder, "layers", [])
    first = next((layer for layer in inner if not isinstance(layer, layers.InputLayer)), None)
    return first.mask_value if isinstance(first, layers.Masking) else None


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
    raise (ValueError if isinstance(network, str) else TypeError)(
        f"{type(model).__name__}: {name}={network!r} is neither a Keras model nor the name of a "
        f"kind of network ({', '.join(KINDS)}).{arguments.did_you_mean(network, KINDS)}"
    )


def options_or_none(model, options):
    """A model's `network_options`, a dictionary or None, as a dictionary of its own."""
    if not isinstance(options, (dict, type(None))):
        raise TypeError(
            f"{type(model).__name__}: network_options={options!r} must be a dictionary, such as "
            "{'units': (200, 200)}."
        )
    return dict(options or {})
