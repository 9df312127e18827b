"""Encoders, decoders and discriminators: plain Keras models that fit the shape of the data.

Every layer is named after its network, because optimisers and saved files find weights by path
and Keras' automatic numbers differ between processes.
"""

import difflib

import keras
from keras import layers

from keras_ae.networks import convolutional, dense, recurrent, residual, skipping, transformer
from keras_ae.networks.maker import LayerMaker
from keras_ae.networks.options import KINDS as KINDS
from keras_ae.networks.options import (
    check_map,
    checked_grid,
    checked_kind,
    checked_options,
    checked_size,
    checked_sizes,
    checked_value,
)
from keras_ae.networks.reach import check_output as check_output
from keras_ae.networks.reach import refuse_linear as refuse_linear

_MODULES = {
    "mlp": dense,
    "conv": convolutional,
    "resnet": residual,
    "unet": skipping,
    "recurrent": recurrent,
    "transformer": transformer,
}
_OF_WHOLE_NETWORKS = ("units", "patch_size", "activity_regularizer")


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
    shape = checked_sizes(where, "shape", shape, "(28, 28, 1), without the batch axis")
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
    latent_dim = checked_size(where, "latent_dim", latent_dim)
    shape = checked_sizes(where, "shape", shape, "(28, 28, 1), without the batch axis")
    kind = checked_kind(where, kind, shape)
    options = checked_options(where, kind, options)
    places = _MODULES[kind].map_of(shape, options)
    grid = checked_grid(where, kind, grid, shape, places)
    make = LayerMaker(name, dtype, options)
    z = make.input((*grid, latent_dim))
    return keras.Model(z, _MODULES[kind].decoder(make, z, shape), name=name)


def unet(shape, channels=None, name="unet", dtype=None, **options):
    """A network from pictures to pictures, with connections that skip its smaller sizes.

    Two 3x3 convolutions at every size, halved by pooling and doubled by transposed convolutions,
    where the map is joined to the one of its size on the way down; then one of 1x1, linear.

    Source: Ronneberger et al., U-Net, figure 1, arXiv:1505.04597; borders are padded here.

    Args:
        shape: (height, width, channels) of a picture, of any height and width.
        channels: Positive integer, the channels of the output. Default None, the input's.
        name: String, the model's name and the prefix of its layers' names.
        dtype: A dtype or dtype policy for every layer; None for Keras' global policy.
        **options: Those of `encoder` for `"unet"`, but for `units` and `activity_regularizer`.
            `filters` are the channels at the whole size, at half of it and so on.

    Returns:
        A `keras.Model` from (batch, height, width, channels) to the same height and width.

    Raises:
        ValueError: If the shape, channels or an option is unknown or out of range.

    Example:
        >>> from keras_ae import networks
        >>> networks.unet((13, 17, 2), channels=1, filters=(4, 8)).output_shape
        (None, 13, 17, 1)
    """
    where = "networks.unet"
    shape = checked_sizes(where, "shape", shape, "(28, 28, 1), without the batch axis")
    checked_kind(where, "unet", shape)
    channels = checked_size(where, "channels", shape[-1] if channels is None else channels)
    options = checked_options(where, "unet", options, without=("units", "activity_regularizer"))
    make = LayerMaker(name, dtype, options)
    x = make.input(shape)
    return keras.Model(x, skipping.with_output(make, skipping.body(make, x), channels), name=name)


def feedback_decoder(
    latent_dim,
    shape,
    kind="recurrent",
    name="decoder",
    dtype=None,
    output_activation="linear",
    **options,
):
    """A recurrent decoder that reads the code and the step before, in one loop.

    As arXiv:1406.1078, section 2.2, has it. Called with codes alone it reads its own outputs;
    called with steps as well it reads these: teacher forcing.

    Args:
        latent_dim: Positive integer, the width of a code.
        shape: (time steps, features) of an output.
        kind: `"recurrent"`.
        name: String, the layer's name and the prefix of its layers' names.
        dtype: A dtype or dtype policy for every layer; None for Keras' global policy.
        output_activation: Keras name or callable, from the output to what the next step reads.
            Default `"linear"`.
        **options: Those of `decoder` for `"recurrent"`. Dropout and batch normalisation act on what
            every step reads of the code.

    Returns:
        A Keras layer, called with codes (batch, latent_dim) and, or not, with steps
        (batch, *shape) and with 1 where a step is known and 0 where the own output is read in its
        place, (batch, time steps, 1). It gives (batch, *shape), linear at the end.

    Raises:
        ValueError: As `decoder`.

    Example:
        >>> import numpy as np
        >>> from keras_ae import networks
        >>> layer, steps = networks.feedback_decoder(2, (5, 3), units=(8,)), np.ones((4, 5, 3))
        >>> layer(np.ones((4, 2))).shape == layer(np.ones((4, 2)), steps, steps[:, :, :1]).shape
        True
    """
    where = "networks.feedback_decoder"
    latent_dim = checked_size(where, "latent_dim", latent_dim)
    shape = checked_sizes(where, "shape", shape, "(10, 3), without the batch axis")
    if checked_kind(where, kind, shape) != "recurrent":
        raise ValueError(f"{where}: kind={kind!r} has no step before. Give 'recurrent'.")
    make = LayerMaker(name, dtype, checked_options(where, kind, options))
    return recurrent.FeedbackDecoder(make, latent_dim, shape, output_activation)


def transformer_blocks(name="blocks", dtype=None, outputs=None, **options):
    """Blocks of attention and dense layers on tokens, which have their positions already.

    Args:
        name: String, the model's name and the prefix of its layers' names.
        dtype: A dtype or dtype policy for every layer; None for Keras' global policy.
        outputs: Positive integer, the numbers that a last linear layer gives for each token.
            Default None, no such layer.
        **options: Those of `encoder` for `"transformer"`, but for `units`, `patch_size` and
            `activity_regularizer`.

    Returns:
        A `keras.Model` from (batch, tokens, width), for any number of tokens, to as many vectors of
        width or outputs numbers.

    Raises:
        ValueError: If an option is unknown or out of range.

    Example:
        >>> from keras_ae import networks
        >>> networks.transformer_blocks(width=8, outputs=3).output_shape
        (None, None, 3)
    """
    where = "networks.transformer_blocks"
    options = checked_options(where, "transformer", options, without=_OF_WHOLE_NETWORKS)
    make = LayerMaker(name, dtype, options)
    tokens = make.input((None, options.width))
    h = transformer.blocks(make, tokens)
    if outputs is not None:
        h = make.weighted(layers.Dense, "output", checked_size(where, "outputs", outputs))(h)
    return keras.Model(tokens, h, name=name)


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
    width = checked_size(where, "width", width)
    outputs = checked_size(where, "outputs", outputs)
    options = checked_options(where, "mlp", {"units": units, "activation": "leaky_relu"})
    make = LayerMaker(name, dtype, options)
    x = make.input((width,))
    hidden = dense.dense_blocks(make, x, options.units)
    return keras.Model(x, make.weighted(layers.Dense, "output", outputs)(hidden), name=name)


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
        return checked_value("network_options", options["mask_value"])
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
    close = difflib.get_close_matches(str(network), KINDS, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise (ValueError if isinstance(network, str) else TypeError)(
        f"{type(model).__name__}: {name}={network!r} is neither a Keras model nor the name of a "
        f"kind of network ({', '.join(KINDS)}).{hint}"
    )
