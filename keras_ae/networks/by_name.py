"""The functions that make an encoder or a decoder of a kind given by its name."""

import importlib
from typing import Any

import keras
from keras import layers

from keras_ae.core import arguments, memory
from keras_ae.core.types import DType, Network
from keras_ae.networks.maker import SMALLER, LayerMaker
from keras_ae.networks.options import (
    KINDS,
    check_grid,
    check_kind,
    check_map,
    check_mask_value,
    check_options,
)

# Each kind has a file of its name.
_MODULES = {kind: importlib.import_module(f"keras_ae.networks.{kind}") for kind in KINDS}


@memory.explains(SMALLER)
def encoder(
    shape: tuple[int, ...],
    kind: str | None = None,
    name: str = "encoder",
    dtype: DType | None = None,
    grid: bool = False,
    **options: Any,
) -> keras.Model:
    """Make a network from one example to a flat vector of features, or to a map of features.

    The kind of network is given by name or chosen by the rank of `shape`. `"conv"`, `"resnet"` and
    `"unet"` have convolutions over all axes but the last: over one axis for series, two for
    pictures, and three for volumes and for videos (time steps, height, width, channels). Unless you
    choose `filters`, their depth follows the size of the data, so that the dense layers are about
    as large for any size.

    - `"mlp"` flattens the data and has dense layers.
    - `"conv"` has convolutions of stride 2 with kernels of 4 positions along every axis, then dense
      layers, as in arXiv:1804.03599, appendix A. If the size of pictures leads to more than two
      `filters`, the network begins by subtracting 0.5, the middle of the range from 0 to 1, and the
      outputs of the decoder begin at 0.5, or at the logit 0 in models whose decoder returns
      logits. Brightness would otherwise hide the colors.
    - `"resnet"` has residual blocks of convolutions with kernels of 3 positions along every axis,
      then dense layers. The first block of each size has stride 2. As in arXiv:1603.05027,
      normalization and activation come before each convolution; the normalization is over groups of
      channels.
    - `"unet"` has a U-Net (arXiv:1505.04597), which leads down to smaller sizes and up again, with
      skip connections, and then the layers of `"conv"`. No skip connection leads past the code,
      because `decode` and `sample` have nothing but codes. `keras_ae.UNetAE` has a U-Net that
      also reads the data.
    - `"recurrent"` has a stack of GRU or LSTM layers. The last state summarizes the sequence, as in
      arXiv:1406.1078, section 2.2.
    - `"conv_recurrent"` is for videos. It has the convolutions of `"conv"` on every frame, with the
      same weights for all frames, then a stack of GRU or LSTM layers over the features of the
      frames, as in arXiv:1411.4389, section 3. The last state summarizes the video.
    - `"transformer"` has blocks of attention over the steps of a sequence or the patches of a
      picture (arXiv:2010.11929), with normalization before each part of a block, then dense layers
      on all tokens together. The embeddings of positions are learned.

    Args:
        shape: Tuple of positive integers, the shape of one example without the batch axis. For
            `"conv"`, `"resnet"` and `"unet"` it is (height, width, channels), (time steps,
            features), (depth, height, width, channels) or (time steps, height, width, channels).
            It is one of the first two for `"transformer"`, (time steps, features) for
            `"recurrent"`, and the last one for `"conv_recurrent"`.
        kind: One of `networks.KINDS`, or None for `"conv"` for pictures, volumes and videos,
            `"recurrent"` for (time steps, features) and `"mlp"` otherwise.
        name: String, the model's name and the prefix of its layers' names.
        dtype: A dtype or dtype policy for every layer; None for Keras' global policy.
        grid: Whether to end in a map of features, one vector for each position, before any dense
            layers. The map has the shape (batch, ..., features) for `"conv"`, `"resnet"` and
            `"unet"`, where every entry of `filters` halves all sides of the data, rounded up;
            (batch, time steps, features) for `"recurrent"` and `"conv_recurrent"`; and (batch, time
            steps or patches, features) for `"transformer"`. The defaults are then `filters=(32,
            64)` and `patch_size=4` for any size, so that larger data has a larger map. Default
            False.
        **options: Options of the layers, which `decoder` takes, too:

            - `activation`: Keras name or callable, after every layer. For `"recurrent"`, it is the
              activation of the cells. The cells of `"conv_recurrent"` always have `"tanh"`. Default
              `"tanh"` for `"recurrent"`, `"gelu"` for `"transformer"`, `"silu"` for
              `"conv_recurrent"`, for `"conv"` of volumes and videos, and for `"conv"` if the size
              of pictures leads to more than two `filters`, and `"relu"` otherwise. `"maxout"`
              (arXiv:1302.4389) is possible for `"mlp"`, `"conv"` and `"unet"`: each unit is the
              maximum of two linear pieces, so that the layer before it has twice as many units or
              channels.
            - `kernel_initializer`: Keras name or object. Default `"glorot_uniform"`, but
              `"he_uniform"` if the size of the data leads to more than two `filters`, for
              convolutions of volumes and videos, and for `"conv_recurrent"`, because these networks
              would otherwise begin to learn late. The last layer of a decoder is linear
              and has `"glorot_uniform"` in either case.
            - `kernel_regularizer`: `"l1"`, `"l2"`, `"l1_l2"` (0.01 each) or an object. It applies
              to every kernel that multiplies a layer's input. Default None.
            - `activity_regularizer`: the same, for the encoder's features. Its loss is divided by
              the batch size. Default None.
            - `dropout`: fraction of the values dropped after every activation, in [0, 1).
              Default 0.0.
            - `batch_normalization`: whether to have batch normalization before every activation.
              `"recurrent"` and `"conv_recurrent"` have it after every recurrent layer, and in
              `"resnet"` it replaces the normalization over groups of channels. `"transformer"` does
              not have this option, because it has layer normalization. Default False.
            - `spectral_normalization`: whether to divide every kernel by its largest singular
              value, as `keras_ae.layers.SpectralNormalization` does (arXiv:1802.05957). Only for
              `"mlp"`, `"conv"`, `"resnet"` and `"unet"`. Default False.
            - `units`: sizes of the dense or recurrent layers, first to last in the encoder. () is
              for no dense layers, which leaves an `"mlp"` linear. `"conv_recurrent"` has recurrent
              layers of these sizes. Default (512, 256) for `"mlp"`, (128,) for `"recurrent"`, ()
              for `"transformer"`, and (256,) otherwise.
            - `filters`: channels of the convolutions at half the size, at a quarter and so on, for
              `"conv"`, `"resnet"`, `"unet"` and `"conv_recurrent"`. In `"resnet"` and `"unet"`, the
              first number is also that of the channels at the whole size. Default (32, 64),
              followed by as many times 64 as it takes until the smallest size has at most 64
              positions: (32, 64, 64) for 64x64 pictures, and (32, 64, 64, 64) for 128x128.
              `"conv_recurrent"` goes by the size of a frame, which keeps the number of frames.
            - `blocks`: number of residual blocks at each size of `"resnet"`, or of blocks of
              `"transformer"`. Default 2.
            - `width`, `heads`, `patch_size`: for `"transformer"`, the dimensions of each token, the
              number of attention heads, and the side of a patch in pixels. A picture whose sides
              are no multiples of it is padded with zeros at its end. Default 64, 4, and for
              `patch_size` the least power of two from 4 up that leads to at most 64 patches: 4 for
              pictures of 32x32, 8 for 64x64.
            - `cell`: `"gru"` or `"lstm"`, for `"recurrent"` and `"conv_recurrent"` only. Default
              `"gru"`.
            - `mask_value`: `"recurrent"` only: the encoder skips the time steps whose features all
              equal this number. A model with such an encoder leaves them out of its reconstruction
              loss and likelihood, too, and what it decodes at these steps has no meaning. Default
              None: every step counts.

    Returns:
        A `keras.Model` from (batch, *shape) to (batch, features), or to the map.

    Raises:
        ValueError: If the shape, the kind or an option is unknown, or if they do not fit together.

    Example:
        >>> from keras_ae import networks
        >>> networks.encoder((28, 28, 1), filters=(16, 32), units=(64,)).output_shape
        (None, 64)
        >>> [networks.encoder((n, n, 3)).count_params() for n in (32, 64, 256)]
        [1083232, 1148832, 1280032]
    """
    where = "networks.encoder"
    shape = arguments.sizes(where, "shape", shape, "(28, 28, 1), without the batch axis")
    kind = check_kind(where, kind, shape)
    check_map(where, kind, grid)
    sides = None if grid else shape[:-1]
    make = LayerMaker(name, dtype, check_options(where, kind, options, sides=sides))
    x = make.input(shape)
    features = _MODULES[kind].encoder(make, x, grid)
    if make.options.activity_regularizer is not None:
        # The layer computes in float32, because the sum over a batch would overflow in float16.
        features = make.layer(
            layers.Identity,
            "features",
            activity_regularizer=make.options.activity_regularizer,
            dtype=make.full_dtype,
        )(features)
    return make.network(x, features)


@memory.explains(SMALLER)
def decoder(
    latent_dim: int,
    shape: tuple[int, ...],
    kind: str | None = None,
    name: str = "decoder",
    dtype: DType | None = None,
    grid: tuple[int, ...] | None = None,
    **options: Any,
) -> keras.Model:
    """Make a network from a code to an array of exactly `shape`: the mirror image of `encoder`.

    Its sizes are the encoder's in reverse order. The last layer is linear, because its outputs are
    the parameters of a likelihood, such as logits.

    - `"conv"` doubles all sides by transposed convolutions of stride 2 (arXiv:1804.03599, appendix
      A) and crops the surplus of odd sides.
    - `"resnet"` has residual blocks. The last block of each size repeats every position along
      every axis before its convolutions.
    - `"unet"` has the layers of `"conv"`, then a U-Net.
    - `"recurrent"` reads the code at every time step, as in arXiv:1406.1078, section 2.2, but
      without the previous output, which `feedback_decoder` reads.
    - `"conv_recurrent"` has the layers of `"recurrent"`, whose states are turned into frames by the
      transposed convolutions of `"conv"`, with the same weights for all frames.

    Args:
        latent_dim: Positive integer, the width of a code.
        shape: Tuple of positive integers, the shape of one output without the batch axis.
        kind: See `encoder`.
        name: String, the model's name and the prefix of its layers' names.
        dtype: A dtype or dtype policy for every layer; None for Keras' global policy.
        grid: Tuple of positive integers, the sides of a map of codes, such as (rows, columns) for
            `"conv"`. They are those of the map of `encoder(shape, grid=True)` with the same
            options. `"mlp"` takes any sides, and flattens the map. Default None, one code for each
            example.
        **options: The options of `encoder`, so that the same options describe a pair.
            `activity_regularizer` and `mask_value` concern only the encoder and change nothing
            here.

    Returns:
        A `keras.Model` from (batch, latent_dim), or (batch, *grid, latent_dim), to
        (batch, *shape).

    Raises:
        ValueError: If latent_dim, the shape, the kind, the grid or an option is unknown, or if they
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
    kind = check_kind(where, kind, shape)
    options = check_options(where, kind, options, sides=shape[:-1] if grid is None else None)
    places = _MODULES[kind].map_shape(shape, options)
    grid = check_grid(where, kind, grid, shape, places)
    make = LayerMaker(name, dtype, options)
    z = make.input((*grid, latent_dim))
    return make.network(z, _MODULES[kind].decoder(make, z, shape))


def has_places(shape: tuple[int, ...], kind: str | None = None) -> bool:
    """Tell whether an encoder of this kind can end in a map of features: see `encoder`'s `grid`.

    Args:
        shape, kind: See `encoder`.

    Example:
        >>> from keras_ae import networks
        >>> networks.has_places((28, 28, 1)), networks.has_places((784,))
        (True, False)
    """
    return check_kind("networks.has_places", kind, shape) != "mlp"


def mask_value(encoder: Network | None, options: dict[str, Any] | None) -> float | None:
    """Find the number that all features of a padded time step equal, according to an encoder.

    Args:
        encoder: A user's own Keras model, whose first layer may be a `keras.layers.Masking`; or
            None or the name of a kind.
        options: Dictionary of options of `networks.encoder`.

    Returns:
        A number, or None if every step counts.

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


def given_or_none(model: keras.Model, name: str, network: Network | None) -> Any:
    """Check a model's argument, which is a network, the name of a kind of network, or None.

    Args:
        model: The model whose constructor was called, for the error.
        name: The argument's name, for the error.
        network: The argument's value, which is returned.

    Raises:
        ValueError: If it is a string, but no kind of network has this name.
        TypeError: If it is neither a string nor a Keras layer.
    """
    if network is None or isinstance(network, layers.Layer):
        return network
    if isinstance(network, str) and network in KINDS:
        return network
    raise (ValueError if isinstance(network, str) else TypeError)(
        f"{type(model).__name__}: {name}={arguments.show(network)} is neither a Keras model nor "
        f"the name of a kind of network ({', '.join(KINDS)})."
        f"{arguments.did_you_mean(network, KINDS)}"
    )


def options_or_none(model: keras.Model, options: dict[str, Any] | None) -> dict[str, Any] | None:
    """A model's `network_options`, a dictionary or None, as a dictionary of its own."""
    return arguments.dictionary(model, "network_options", options, "{'units': (200, 200)}")
