"""The networks by name: exact shapes, stable names, options, masks and error messages."""

import json
import math

import keras
import numpy as np
import pytest
import zoo

import keras_ae
from keras_ae import networks

pytestmark = pytest.mark.formula

SHAPES = [
    (784,),
    (28, 28, 1),
    (8, 8, 1),
    (64, 64, 3),
    (13, 17, 2),
    (4, 4, 1),
    (5, 6, 1),
    (12, 5),
    (65, 37, 3),
    (3, 200, 1),
    (3, 4, 5, 2),
    (2, 3, 2, 3, 1),
]
KIND_OF = {1: "mlp", 2: "recurrent", 3: "conv", 4: "conv", 5: "mlp"}
CALM = keras.initializers.Constant(0.03)
SMALL = {
    "mlp": {"units": (6, 4)},
    "conv": {"filters": (2, 3), "units": (4,)},
    # In half precision, activations of many blocks would overflow with a larger constant.
    "resnet": {"filters": (2, 3), "units": (4,), "blocks": 2, "kernel_initializer": CALM},
    "unet": {"filters": (2, 3), "units": (4,), "kernel_initializer": CALM},
    "recurrent": {"units": (6, 4)},
    "conv_recurrent": {"filters": (2, 3), "units": (6, 4)},
    "transformer": {"width": 6, "heads": 2, "blocks": 1, "units": (4,), "patch_size": 3},
}
SHAPE_OF = {
    "mlp": (7,),
    "conv": (13, 17, 2),
    "resnet": (7, 10, 2),
    "unet": (7, 10, 2),
    "recurrent": (5, 3),
    "conv_recurrent": (3, 6, 5, 2),
    "transformer": (5, 7, 2),
}
PLACES_OF = {
    "conv": (4, 5),
    "resnet": (2, 3),
    "unet": (2, 3),
    "recurrent": (5,),
    "conv_recurrent": (3,),
    "transformer": (6,),
}
KINDS, MAPPED = list(SMALL), list(PLACES_OF)
NORMALIZED = ("mlp", "conv", "resnet", "unet")
BLOCKS = {kind: {"dropout": 0.2, "batch_normalization": True} for kind in KINDS}
BLOCKS["transformer"] = {"dropout": 0.2}  # It has only layer normalization.


# XLA compiles a random generator for every shape, which takes half a second. A constant saves that.
CONSTANT = {"kernel_initializer": keras.initializers.Constant(0.3)}


def small(shape):
    return {**CONSTANT, **SMALL[KIND_OF[len(shape)]]}


def pair(kind, **options):
    """Return a small encoder and decoder of one kind, by default with constant kernels."""
    options = {**CONSTANT, **SMALL[kind], **options}
    shape = SHAPE_OF[kind]
    return networks.encoder(shape, kind, **options), networks.decoder(2, shape, kind, **options)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def array(tensor):
    return keras.ops.convert_to_numpy(tensor)


def kernels(model):
    return [array(weight.value) for weight in model.weights if weight.name == "kernel"]


def numbers(losses):
    return [array(loss).item() for loss in losses]


def randomize(model):
    generator = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(generator.normal(scale=0.5, size=weight.shape))
    return model


def copy_weights(source, target):
    for weight, copied in zip(source.weights, target.weights, strict=True):
        copied.assign(weight.value)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_batch_keeps_its_shape_through_encoder_and_decoder(shape):
    encoder = networks.encoder(shape, **small(shape))
    decoder = networks.decoder(3, shape, **small(shape))
    assert encoder.output_shape == (None, 4)
    assert decoder.output_shape == (None, *shape)
    assert zoo.compute(encoder, normal(2, *shape)).shape == (2, 4)
    assert zoo.compute(decoder, normal(2, 3)).shape == (2, *shape)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_an_mlp_takes_any_shape(shape):
    options = {**CONSTANT, "units": (4,)}
    encoder = networks.encoder(shape, "mlp", **options)
    assert zoo.compute(encoder, normal(2, *shape)).shape == (2, 4)
    decoder = networks.decoder(3, shape, "mlp", **options)
    assert zoo.compute(decoder, normal(2, 3)).shape == (2, *shape)


@pytest.mark.parametrize(
    "shape, layer_class",
    [
        ((7,), keras.layers.Dense),
        ((12, 5), keras.layers.GRU),
        ((8, 8, 1), keras.layers.Conv2D),
        ((3, 4, 5, 2), keras.layers.Conv3D),
        ((2, 3, 2, 3, 1), keras.layers.Dense),
    ],
)
def test_the_rank_of_the_shape_chooses_the_kind(shape, layer_class):
    weighted = [layer for layer in networks.encoder(shape, **small(shape)).layers if layer.weights]
    assert isinstance(weighted[0], layer_class)


@pytest.mark.parametrize("shape", [(4, 4, 1), (8, 12, 3)])
def test_only_odd_sizes_are_cropped(shape):
    def cropping_layers(shape):
        decoder = networks.decoder(3, shape, **small(shape))
        return [layer for layer in decoder.layers if type(layer) is keras.layers.Cropping2D]

    assert cropping_layers(shape) == []
    assert len(cropping_layers((shape[0], shape[1] + 1, shape[2]))) == 1


def test_sizes_too_small_for_the_strides_still_come_out_exact():
    decoder = networks.decoder(3, (1, 2, 5), filters=(2, 2, 2), units=(), **CONSTANT)
    assert decoder(normal(2, 3)).shape == (2, 1, 2, 5)


@pytest.mark.every_backend
@pytest.mark.parametrize("shape", [(13, 2), (13, 17, 2), (5, 9, 8, 2)], ids=str)
def test_transposed_convolutions_are_aligned_with_the_convolutions(shape):
    """With the same kernels and no activation, the decoder is the transpose of the encoder."""
    grid = 3 * math.prod(-(-side // 4) for side in shape[:-1])
    options = {"filters": (4, 3), "units": (), "activation": "linear", **CONSTANT}
    encoder = networks.encoder(shape, "conv", **options)
    decoder = networks.decoder(grid, shape, "conv", **options)
    first, second = kernels(randomize(encoder))
    zeros = np.zeros
    decoder.set_weights([np.eye(grid), zeros(grid), second, zeros(4), first, zeros(2)])
    x, z = normal(1, *shape), normal(1, grid)
    for weight in encoder.weights:
        if weight.name == "bias":
            weight.assign(np.zeros(weight.shape))
    np.testing.assert_allclose(
        np.sum(zoo.compute(encoder, x) * z), np.sum(zoo.compute(decoder, z) * x), rtol=1e-4
    )


@pytest.mark.parametrize("batch_normalization", [False, True])
def test_an_mlp_without_hidden_layers_is_linear(batch_normalization):
    options = {**CONSTANT, "units": (), "batch_normalization": batch_normalization}
    x = normal(2, 7)
    np.testing.assert_array_equal(array(networks.encoder((7,), **options)(x)), x)
    decoder = networks.decoder(3, (7,), **options)
    z, (kernel, bias) = normal(2, 3), [array(w.value) for w in randomize(decoder).weights]
    np.testing.assert_allclose(array(decoder(z)), z @ kernel + bias, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_every_layer_is_named_after_its_network(kind):
    options = {**SMALL[kind], **BLOCKS[kind], **CONSTANT, "activity_regularizer": "l1"}
    models = {
        "left": networks.encoder(SHAPE_OF[kind], kind, name="left", **options),
        "right": networks.decoder(2, SHAPE_OF[kind], kind, name="right", **options),
        "judge": networks.discriminator(2, units=(3,), name="judge"),
    }
    for name, model in models.items():
        assert model.name == name
        assert all(layer.name.startswith(f"{name}_") for layer in model.layers)
    names = [layer.name for model in models.values() for layer in model.layers]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_have_the_same_paths_in_every_build(kind):
    def paths():
        return [weight.path for model in pair(kind, **BLOCKS[kind]) for weight in model.weights]

    first = paths()
    assert paths() == first
    assert len(set(first)) == len(first)


def test_mlp_parameters_are_counted():
    encoder = networks.encoder((784,), **CONSTANT)
    decoder = networks.decoder(16, (784,), **CONSTANT)
    assert encoder.count_params() == 784 * 512 + 512 + 512 * 256 + 256
    assert decoder.count_params() == 16 * 256 + 256 + 256 * 512 + 512 + 512 * 784 + 784


def test_conv_parameters_are_counted():
    encoder = networks.encoder((28, 28, 1), **CONSTANT)
    decoder = networks.decoder(16, (28, 28, 1), **CONSTANT)
    grid = 7 * 7 * 64
    assert encoder.count_params() == (16 * 32 + 32) + (16 * 32 * 64 + 64) + (grid * 256 + 256)
    assert decoder.count_params() == (
        (16 * 256 + 256) + (256 * grid + grid) + (16 * 64 * 32 + 32) + (16 * 32 + 1)
    )


@pytest.mark.parametrize("kind", ["conv", "resnet", "unet", "transformer"])
def test_pictures_of_any_size_have_about_as_many_parameters(kind):
    sizes = [(28, 28, 1), (32, 32, 3), (64, 64, 3), (65, 37, 3), (3, 200, 1), (128, 128, 3)]
    sizes += [(256, 256, 3), (300, 512, 3)]
    for shape in sizes:
        encoder = networks.encoder(shape, kind, **CONSTANT)
        decoder = networks.decoder(16, shape, kind, **CONSTANT)
        assert decoder.output_shape == (None, *shape)
        assert encoder.count_params() + decoder.count_params() < 4_200_000, shape
        positions = {"transformer": encoder.output_shape[-1] // 64}.get(kind) or math.prod(
            encoder.get_layer("encoder_flatten").input.shape[1:-1]
        )
        assert positions <= 64


@pytest.mark.parametrize("kind", ["conv", "resnet", "unet"])
@pytest.mark.parametrize("shape", [(64, 3), (5000, 2), (16, 16, 16, 1), (96, 20, 64, 2)], ids=str)
def test_series_and_volumes_of_any_size_have_about_as_many_parameters(kind, shape):
    encoder = networks.encoder(shape, kind, **CONSTANT)
    decoder = networks.decoder(16, shape, kind, **CONSTANT)
    assert decoder.output_shape == (None, *shape)
    assert encoder.count_params() + decoder.count_params() < 8_400_000
    assert math.prod(encoder.get_layer("encoder_flatten").input.shape[1:-1]) <= 64


def test_the_depth_follows_the_size_unless_filters_are_given():
    def sizes(kernels):
        return [kernel.shape[-1] for kernel in kernels if kernel.ndim == 4]

    for side, expected in {
        8: [32, 64],
        32: [32, 64],
        33: [32, 64, 64],
        65: [32, 64, 64, 64],
    }.items():
        assert sizes(kernels(networks.encoder((side, side, 1), **CONSTANT))) == expected
    chosen = networks.encoder((64, 64, 1), filters=(2, 3), units=(), **CONSTANT)
    assert sizes(kernels(chosen)) == [2, 3] and chosen.output_shape == (None, 16 * 16 * 3)


@pytest.mark.parametrize("side, name", [(32, "GlorotUniform"), (64, "HeUniform")])
def test_the_initializer_follows_the_depth_unless_it_is_given(side, name):
    def initializers(**options):
        pair = networks.encoder((side, side, 1), **options), networks.decoder(2, (side, side, 1))
        return {
            type(layer.kernel_initializer).__name__
            for model in pair[: 1 if options else 2]
            for layer in model.layers
            if layer.weights
        }

    assert initializers() == {name, "GlorotUniform"}
    output = networks.decoder(2, (side, side, 1)).get_layer("decoder_output")
    assert type(output.kernel_initializer).__name__ == "GlorotUniform"
    assert initializers(filters=(2, 2, 2, 2)) == {"GlorotUniform"}
    assert initializers(kernel_initializer="zeros") == {"Zeros"}


def test_convolutions_of_volumes_are_smooth_and_have_large_kernels():
    """With ReLU, all units of a VAE of dark videos died before it learned more than the mean."""
    for made in (networks.encoder((4, 8, 8, 1)), networks.decoder(2, (4, 8, 8, 1))):
        hidden = [layer for layer in made.layers if layer.weights and "output" not in layer.name]
        names = {(layer.activation.__name__, type(layer.kernel_initializer)) for layer in hidden}
        assert names == {("silu", keras.initializers.HeUniform)}
    chosen = networks.encoder((4, 8, 8, 1), activation="tanh", kernel_initializer="zeros")
    assert {layer.activation.__name__ for layer in chosen.layers if layer.weights} == {"tanh"}


def test_deep_networks_of_pictures_are_centered_and_smooth():
    """A gray picture has no features, and the decoder begins at a gray picture."""
    shape = (40, 44, 3)
    gray, zero = np.full((2, *shape), 0.5, "float32"), np.zeros((2, 5), "float32")
    for options in ({}, {"activation": "tanh"}, {"spectral_normalization": True}):
        encoder, decoder = networks.encoder(shape, **options), networks.decoder(5, shape, **options)
        np.testing.assert_array_equal(zoo.compute(encoder, gray), 0.0)
        assert np.any(zoo.compute(encoder, gray + 0.1))
        np.testing.assert_array_equal(zoo.compute(decoder, zero), 0.5)
        names = {
            layer.activation.__name__
            for layer in (*encoder.layers, *decoder.layers)
            if hasattr(layer, "activation")
        }
        expected = options.get("activation", "silu")
        assert "spectral_normalization" in options or names == {expected, "linear"}


@pytest.mark.parametrize(
    ("make", "start"),
    [
        (lambda: keras_ae.AE(5), 0.5),
        (lambda: keras_ae.AE(5, reconstruction_loss="binary_crossentropy"), 0.5),
        (lambda: keras_ae.AE(5, reconstruction_loss="mean_absolute_error"), 0.5),
        (lambda: keras_ae.VAE(5), 0.5),
        (lambda: keras_ae.VAE(5, likelihood="gaussian"), 0.5),
    ],
)
def test_models_of_larger_pictures_begin_at_a_gray_picture(make, start):
    """Logits are 0 there."""
    model = make()
    model.build((None, 40, 44, 3))
    np.testing.assert_array_equal(model.decode(np.zeros((2, 5), "float32")), start)


@pytest.mark.parametrize(
    "shape, options",
    [
        ((32, 32, 3), {}),
        ((40, 44, 3), {"filters": (3, 3, 3)}),
        ((40, 44, 3), {"kind": "unet"}),
        ((40, 44, 3), {"kind": "resnet"}),
        ((200, 3), {"kind": "conv"}),
    ],
    ids=str,
)
def test_other_networks_are_not_centered(shape, options):
    encoder = networks.encoder(shape, **options)
    assert not any(isinstance(layer, keras.layers.Rescaling) for layer in encoder.layers)
    assert not np.any(zoo.compute(encoder, np.zeros((1, *shape), "float32")))
    decoder = networks.decoder(5, shape, **options)
    assert not np.any(zoo.compute(decoder, np.zeros((1, 5), "float32")))
    silu = keras.activations.silu
    assert all(
        getattr(layer, "activation", None) is not silu
        for layer in (*encoder.layers, *decoder.layers)
    )


@pytest.mark.parametrize("kind", MAPPED)
def test_a_map_follows_the_size_of_the_data(kind):
    """Models with a code for each position keep the positions of a fixed depth."""
    by_kind = {"recurrent": (90, 3), "conv_recurrent": (90, 9, 7, 3)}
    shape = by_kind.get(kind, (90, 70, 3))
    places = {"transformer": (23 * 18,)}.get(kind, (90,) if kind in by_kind else (23, 18))
    encoder = networks.encoder(shape, kind, grid=True, **CONSTANT)
    assert encoder.output_shape[1:-1] == places
    decoder = networks.decoder(2, shape, kind, grid=places, **CONSTANT)
    assert decoder.output_shape == (None, *shape)


@pytest.mark.parametrize("kind", ["conv", "resnet", "unet"])
@pytest.mark.parametrize("shape", [(1, 1), (13, 2), (1, 1, 1, 1), (5, 6, 7, 2)], ids=str)
def test_series_and_volumes_come_out_exact(kind, shape):
    options = {**CONSTANT, **SMALL[kind]}
    encoder = networks.encoder(shape, kind, **options)
    decoder = networks.decoder(3, shape, kind, **options)
    assert zoo.compute(encoder, normal(2, *shape)).shape == (2, 4)
    assert zoo.compute(decoder, normal(2, 3)).shape == (2, *shape)
    mapped = networks.encoder(shape, kind, grid=True, **options)
    places = mapped.output_shape[1:-1]
    assert places == tuple(-(-side // 4) for side in shape[:-1])
    decoder = networks.decoder(2, shape, kind, grid=places, **options)
    assert zoo.compute(decoder, normal(2, *places, 2)).shape == (2, *shape)


def test_a_picture_of_one_column_has_the_networks_of_a_series():
    """A convolution over a side of 1 sees one column of its kernel, the others see zeros."""
    options = {"filters": (3, 2), "activation": "tanh", **CONSTANT}
    picture = randomize(networks.encoder((9, 1, 2), "conv", grid=True, **options))
    series = networks.encoder((9, 2), "conv", grid=True, **options)
    for weight, wide in zip(series.weights, picture.weights, strict=True):
        weight.assign(array(wide)[:, 1] if wide.shape[1:2] == (4,) else array(wide))
    x = normal(2, 9, 2)
    expected = zoo.compute(picture, x[:, :, None])[:, :, 0]
    np.testing.assert_allclose(zoo.compute(series, x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "cell, count",
    [
        ("gru", lambda inputs, units: 3 * units * (inputs + units + 2)),
        ("lstm", lambda inputs, units: 4 * units * (inputs + units + 1)),
    ],
)
def test_recurrent_parameters_are_counted(cell, count):
    encoder, decoder = pair("recurrent", cell=cell)
    assert encoder.count_params() == count(3, 6) + count(6, 4)
    dense, output = 2 * 4 + 4, 6 * 3 + 3
    assert decoder.count_params() == dense + count(4, 4) + count(4, 6) + output


@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_the_decoder_mirrors_the_encoder(kind):
    encoder, decoder = pair(kind)
    mirrored = [
        kernel.T.shape if kernel.ndim == 2 else kernel.shape for kernel in kernels(decoder)[:0:-1]
    ]
    assert [kernel.shape for kernel in kernels(encoder)] == mirrored


def test_batch_normalization_makes_biases_superfluous():
    encoder, decoder = pair("conv", batch_normalization=True)
    assert not any(weight.name == "bias" for weight in encoder.weights)
    assert [weight.path for weight in decoder.weights if weight.name == "bias"] == [
        "decoder_output/bias"
    ]
    features = array(
        pair("mlp", batch_normalization=True, activation="linear")[0](
            5 + 3 * normal(64, 7), training=True
        )
    )
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-5)
    # Batch normalization adds 1e-3 to the variance, so the result is not exactly 1.
    np.testing.assert_allclose(features.std(axis=0), 1, atol=0.02)


@pytest.mark.parametrize("kind", NORMALIZED)
def test_every_kernel_can_be_divided_by_its_spectral_norm(kind):
    """Kernels times ten then give the same output: all kernels are divided, and no bias is."""
    for model in pair(kind, spectral_normalization=True, kernel_initializer="glorot_uniform"):
        x = normal(2, *model.input_shape[1:])
        biases = [weight for weight in model.weights if weight.name == "bias"]
        for number, bias in enumerate(biases):
            bias.assign(normal(*bias.shape, seed=number))
        expected = zoo.compute(model, x)
        assert len([w for w in model.weights if w.name == "right"]) == len(kernels(model)) > 1
        for weight in model.weights:
            if weight.name == "kernel":
                weight.assign(10 * array(weight.value))
        # A new function is needed, because JAX caches the model's program with the old weights.
        found = zoo.compute(lambda x: model(x), x)  # noqa: B023
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_acts_in_training_only(kind):
    plain = randomize(pair(kind, activation="tanh")[0])
    dropped, decoder = pair(kind, activation="tanh", dropout=0.5)
    copy_weights(plain, dropped)
    x = normal(16, *SHAPE_OF[kind])
    expected = zoo.compute(plain, x)
    np.testing.assert_allclose(zoo.compute(dropped, x), expected, rtol=1e-5, atol=1e-6)
    assert not np.any(expected == 0)
    # Half of 64 values are dropped, and four standard deviations of the share are 0.25.
    assert abs(np.mean(array(dropped(x, training=True)) == 0) - 0.5) < 0.25
    assert sum(type(layer) is keras.layers.Dropout for layer in decoder.layers) >= 2


@pytest.mark.parametrize(
    "activation, expected",
    [("relu", lambda a: np.maximum(a, 0)), ("tanh", np.tanh), (keras.ops.square, np.square)],
    ids=["relu", "tanh", "callable"],
)
def test_the_activation_follows_every_layer(activation, expected):
    encoder = randomize(networks.encoder((7,), units=(5,), activation=activation, **CONSTANT))
    x, (kernel, bias) = normal(3, 7), [array(weight.value) for weight in encoder.weights]
    np.testing.assert_allclose(array(encoder(x)), expected(x @ kernel + bias), rtol=1e-4, atol=1e-5)


def test_recurrent_cells_take_the_activation():
    encoder = randomize(pair("recurrent")[0])
    unbounded, _ = pair("recurrent", activation="linear")
    copy_weights(encoder, unbounded)
    x = 100 * normal(4, 5, 3)
    assert np.abs(zoo.compute(encoder, x)).max() <= 1 < np.abs(zoo.compute(unbounded, x)).max()


@pytest.mark.parametrize("kind", KINDS)
def test_the_initializer_is_used_for_every_kernel(kind):
    for model in pair(kind, kernel_initializer="ones"):
        assert all(np.all(kernel == 1) for kernel in kernels(model))


def test_an_initializer_object_gives_every_layer_its_own_weights():
    initializer = keras.initializers.RandomNormal()
    first, second = kernels(networks.encoder((4,), units=(4, 4), kernel_initializer=initializer))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize(
    "regularizer, penalty",
    [
        ("l1", lambda values: 0.01 * np.abs(values).sum()),
        ("l2", lambda values: 0.01 * np.square(values).sum()),
        ("l1_l2", lambda values: 0.01 * (np.abs(values) + np.square(values)).sum()),
        (keras.regularizers.L2(0.5), lambda values: 0.5 * np.square(values).sum()),
    ],
    ids=["l1", "l2", "l1_l2", "object"],
)
@pytest.mark.parametrize("kind", KINDS)
def test_regularizers_appear_in_the_losses(kind, regularizer, penalty):
    for model in pair(kind, kernel_regularizer=regularizer):
        np.testing.assert_allclose(
            numbers(model.losses),
            [penalty(kernel) for kernel in kernels(model)],
            rtol=1e-4,
        )
    encoder, _ = pair(kind, activity_regularizer=regularizer)
    features = array(encoder(normal(4, *SHAPE_OF[kind])))
    np.testing.assert_allclose(numbers(encoder.losses), [penalty(features) / 4], rtol=1e-4)


def test_options_of_the_encoder_alone_leave_the_decoder_as_it_is():
    _, plain = pair("recurrent")
    _, decoder = pair("recurrent", activity_regularizer="l1", mask_value=0.0)
    assert decoder.get_config() == plain.get_config()


@pytest.mark.parametrize("name", ["l1_l2", "l1l2", "L1L2"])
def test_an_elastic_net_by_name_is_never_zero(name):
    (penalty,) = numbers(
        networks.encoder((4,), units=(3,), kernel_regularizer=name, **CONSTANT).losses
    )
    assert penalty > 0


def padded_case(cell, **options):
    """Return encoders of 3 steps and of 7 with padding, with equal weights, and their data."""
    options = {**CONSTANT, "units": (6, 4), "cell": cell, **options}
    short = randomize(networks.encoder((3, 2), **options))
    masked = networks.encoder((7, 2), mask_value=-0.1, **options)
    copy_weights(short, masked)
    x = normal(4, 3, 2)
    # A step is not padding if only one of its features equals the mask value.
    x[:, 1, 0] = -0.1
    return short, masked, x, np.pad(x, ((0, 0), (0, 4), (0, 0)), constant_values=-0.1)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_padding_does_not_change_the_features(cell):
    short, masked, x, padded = padded_case(cell)
    expected = zoo.compute(short, x)
    np.testing.assert_allclose(zoo.compute(masked, padded), expected, rtol=1e-5, atol=1e-6)
    blind = networks.encoder((7, 2), units=(6, 4), cell=cell, **CONSTANT)
    copy_weights(short, blind)
    assert np.abs(zoo.compute(blind, padded) - expected).max() > 1e-2


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_padding_does_not_enter_the_batch_statistics(cell):
    short, masked, x, padded = padded_case(cell, batch_normalization=True)
    expected = array(short(x, training=True))
    features = array(masked(padded, training=True))
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)
    for weight, masked_weight in zip(short.weights, masked.weights, strict=True):
        np.testing.assert_allclose(array(masked_weight.value), array(weight.value), atol=1e-5)


@pytest.mark.every_backend
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_masks_hold_in_compiled_graphs_and_inside_another_model(cell):
    short, masked, x, padded = padded_case(cell)
    inputs = keras.Input((7, 2))
    outer = keras.Model(inputs, keras.layers.Identity()(masked(inputs)))
    expected = zoo.compute(short, x)
    for model in (masked, outer):
        features = model.predict(padded, verbose=0)
        np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-6)


def test_each_sequence_has_its_own_length():
    masked = randomize(networks.encoder((5, 2), units=(4,), mask_value=0.0, **CONSTANT))
    x = normal(4, 5, 2)
    x[0, :] = 0
    x[1, 2:] = 0
    x[2, 1:3] = 0
    features = zoo.compute(masked, x)
    without_gap = np.concatenate([x[2, :1], x[2, 3:], np.zeros((2, 2), "float32")])
    # The state of a sequence with nothing but padding stays the initial one.
    np.testing.assert_array_equal(features[0], 0)
    np.testing.assert_allclose(features[2], zoo.compute(masked, without_gap[None])[0], rtol=1e-5)
    np.testing.assert_allclose(features[3], zoo.compute(masked, x[3:])[0], rtol=1e-5)


def test_half_precision_does_not_blur_the_mask():
    """float16 rounds 1e-9 to the mask value 0, so the mask must be computed before the cast."""
    options = {**CONSTANT, "mask_value": 0.0, "dtype": "mixed_float16"}
    masked = randomize(networks.encoder((2, 1), units=(4,), **options))
    first = array(masked(np.array([[[1.0], [1e-9]]], "float32")))
    second = array(masked(np.array([[[1.0], [0.0]]], "float32")))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("kind", KINDS)
def test_mixed_precision(kind):
    dtype = "mixed_float16"
    encoder, decoder = pair(kind, dtype=dtype, **BLOCKS[kind])
    judge = networks.discriminator(2, units=(3,), dtype=dtype)
    for model, x in (
        (encoder, normal(4, *SHAPE_OF[kind])),
        (decoder, normal(4, 2)),
        (judge, normal(4, 2)),
    ):
        output = model(x)
        assert keras.backend.standardize_dtype(output.dtype) == "float16"
        assert np.all(np.isfinite(array(output)))
        assert {keras.backend.standardize_dtype(weight.dtype) for weight in model.weights} == {
            "float32"
        }


def test_the_global_policy_is_used_when_no_dtype_is_given():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        encoder = networks.encoder((7,), units=(4,), **CONSTANT)
    finally:
        keras.config.set_dtype_policy(before)
    assert keras.backend.standardize_dtype(encoder(normal(2, 7)).dtype) == "bfloat16"


def test_the_activity_penalty_does_not_overflow_in_half_precision():
    encoder = networks.encoder(
        (4,),
        units=(64,),
        kernel_initializer="ones",
        activity_regularizer="l1",
        dtype="mixed_float16",
    )
    encoder(np.full((64, 4), 1000.0, "float32"))
    np.testing.assert_allclose(numbers(encoder.losses), [0.01 * 64 * 4000], rtol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_models_are_rebuilt_from_their_configuration(kind):
    options = {**BLOCKS[kind], "kernel_regularizer": "l1_l2", "activity_regularizer": "l1"}
    if kind == "recurrent":
        options["mask_value"] = 0.0
    judge = networks.discriminator(2, units=(3,))
    for model in (*pair(kind, **options), judge):
        copy = keras.Model.from_config(json.loads(json.dumps(model.get_config())))
        assert [weight.path for weight in copy.weights] == [w.path for w in model.weights]
        copy_weights(randomize(model), copy)
        x = normal(3, *model.input_shape[1:])
        np.testing.assert_array_equal(array(copy(x)), array(model(x)))
        np.testing.assert_allclose(numbers(copy.losses), numbers(model.losses))


def test_sizes_of_numpy_and_lists_are_as_good_as_tuples_of_integers():
    model = networks.encoder(np.array([8, 8, 1]), filters=[np.int64(2)], units=[4], **CONSTANT)
    assert model.output_shape == (None, 4)
    json.dumps(model.get_config())


def test_images_are_channels_last_whatever_the_users_configuration_says():
    before = keras.config.image_data_format()
    keras.config.set_image_data_format("channels_first")
    try:
        encoder, decoder = pair("conv")
    finally:
        keras.config.set_image_data_format(before)
    assert encoder.count_params() == pair("conv")[0].count_params()
    assert decoder.output_shape == (None, 13, 17, 2)


def test_the_discriminator_is_an_mlp_of_leaky_relus():
    model = networks.discriminator(6, outputs=2, units=(5, 4))
    x, (first, second, last) = normal(3, 6), kernels(model)

    def leaky_relu(a):
        return np.where(a > 0, a, 0.2 * a)

    expected = leaky_relu(leaky_relu(x @ first) @ second) @ last
    np.testing.assert_allclose(array(model(x)), expected, rtol=1e-4, atol=1e-5)


def test_discriminator_parameters_are_counted():
    assert networks.discriminator(6).count_params() == 7 * 256 + 2 * 257 * 256 + 257


@pytest.mark.parametrize(
    "shape, arguments, message",
    [
        (
            (7,),
            {"units_": (3,)},
            r"units_=\(3,\) is not an option of kind='mlp'. Did you mean 'uni",
        ),
        ((7,), {"filters": (3,)}, "The options are activation, kernel_initializer, kernel_regul"),
        ((7,), {"cell": "gru"}, "cell='gru' is not an option of kind='mlp'"),
        ((7,), {"kind": "convv"}, "kind='convv' is unknown. Did you mean 'conv'?"),
        (
            (7,),
            {"kind": []},
            r"kind=\[\] is unknown. Give one of 'mlp', 'conv', 'resnet', ",
        ),
        (
            (7,),
            {"kind": "conv"},
            r"\(time steps, features\) or \(height, width, channels\) or \(depth or time steps, "
            r"height, width, channels\), but shape=\(7,\). Reshape",
        ),
        (
            (8, 8, 1),
            {"kind": "conv_recurrent"},
            r"shape=\(depth or time steps, height, width, channels\), but shape=\(8, 8, 1\)",
        ),
        ((2, 3, 4, 5), {"kind": "transformer"}, r"channels\), but shape=\(2, 3, 4, 5\). Reshape"),
        ((8, 8, 1), {"kind": "recurrent"}, r"shape=\(time steps, features\), but shape=\(8, 8, 1"),
        ((), {}, r"shape=\(\) must be a tuple of positive integers"),
        (7, {}, "shape=7 must be a tuple of positive integers"),
        ("7", {}, "shape='7' must be a tuple"),
        ((None, 3), {}, r"shape=\(None, 3\) must be a tuple"),
        ((7, 0), {}, r"shape=\(7, 0\) must be a tuple"),
        ((7,), {"units": 3}, "units=3 must be a tuple of positive integers"),
        ((7,), {"units": (3.0,)}, r"units=\(3.0,\) must be a tuple"),
        ((7,), {"units": (True,)}, r"units=\(True,\) must be a tuple"),
        ((8, 8, 1), {"filters": ()}, r"filters=\(\) must be a tuple"),
        ((5, 3), {"units": ()}, r"units=\(\) must be a tuple"),
        ((5, 3), {"cell": "gro"}, "cell='gro' must be \"gru\" or \"lstm\". Did you mean 'gru'?"),
        ((5, 3), {"mask_value": "0"}, "mask_value='0' must be a finite number"),
        ((5, 3), {"mask_value": math.nan}, "mask_value=nan must be a finite number"),
        ((7,), {"activation": "relo"}, "activation='relo' is unknown to Keras. Did you mean 'relu"),
        ((7,), {"kernel_initializer": 3}, "kernel_initializer=3 is unknown to Keras"),
        (
            (7,),
            {"kernel_regularizer": "l1l3"},
            "kernel_regularizer='l1l3' is unknown to Keras. Did",
        ),
        ((7,), {"activity_regularizer": 0.1}, "activity_regularizer=0.1 is unknown to Keras"),
        ((7,), {"dropout": 1.0}, "dropout=1.0 must be a number of at least 0 and below 1"),
        ((7,), {"dropout": "0.1"}, "dropout='0.1' must be a number of at least 0 and"),
        ((7,), {"batch_normalization": "no"}, "batch_normalization='no' must be True or False"),
        ((7,), {"spectral_normalization": 1}, "spectral_normalization=1 must be True or False"),
        ((5, 3), {"spectral_normalization": True}, "is not an option of kind='recurrent'"),
        ((7,), {"kind": "transformer"}, r"shape=\(time steps, features\) or \(height, width, cha"),
        ((5, 3), {"kind": "transformer", "heads": 0}, "heads=0 must be a positive integer"),
        ((8, 8, 1), {"kind": "resnet", "blocks": 1.5}, "blocks=1.5 must be a positive integer"),
    ],
)
def test_errors_name_the_argument_the_value_and_the_remedy(shape, arguments, message):
    with pytest.raises(ValueError, match=f"^networks.encoder: .*{message}"):
        networks.encoder(shape, **arguments)
    with pytest.raises(ValueError, match=f"^networks.decoder: .*{message}"):
        networks.decoder(2, shape, **arguments)


@pytest.mark.parametrize("value", [0, -1, 2.0, "2", None, True])
def test_widths_are_positive_integers(value):
    with pytest.raises(ValueError, match=f"networks.decoder: latent_dim={value!r} must be a posi"):
        networks.decoder(value, (7,))
    with pytest.raises(ValueError, match=f"networks.discriminator: width={value!r} must be a pos"):
        networks.discriminator(value)
    with pytest.raises(ValueError, match=f"networks.discriminator: outputs={value!r} must be a p"):
        networks.discriminator(2, value)
    with pytest.raises(ValueError, match="networks.discriminator: units="):
        networks.discriminator(2, units=(value,))


# ------------------------------------------------------------------ maps of codes


def map_case(kind, **options):
    """Return a network to a map, one from a map, both without dense layers, and the map's shape."""
    shape = SHAPE_OF[kind]
    options = {**CONSTANT, **SMALL[kind], **options}
    encoder = networks.encoder(shape, kind, grid=True, **options)
    places = encoder.output_shape[1:-1]
    decoder = networks.decoder(2, shape, kind, grid=places, **options)
    return encoder, decoder, places


@pytest.mark.parametrize("kind", MAPPED)
def test_a_decoder_from_a_map_gives_the_data_s_shape(kind):
    encoder, decoder, places = map_case(kind)
    assert places == PLACES_OF[kind]
    assert zoo.compute(encoder, normal(2, *SHAPE_OF[kind])).shape == (2, *encoder.output_shape[1:])
    assert zoo.compute(decoder, normal(2, *places, 2)).shape == (2, *SHAPE_OF[kind])
    names = [layer.name for layer in (*encoder.layers, *decoder.layers)]
    assert not any("flatten" in name or "repeat" in name for name in names)


@pytest.mark.parametrize("kind", MAPPED)
def test_the_encoder_to_a_vector_ends_in_the_flattened_map(kind):
    """With equal weights they agree; for a recurrent encoder the vector is the map's last step."""
    is_recurrent = kind in ("recurrent", "conv_recurrent")
    options = {} if is_recurrent else {"units": ()}
    mapped, _, _ = map_case(kind, **options)
    randomize(mapped)
    vector = networks.encoder(SHAPE_OF[kind], kind, **{**CONSTANT, **SMALL[kind], **options})
    copy_weights(mapped, vector)
    x = normal(2, *SHAPE_OF[kind])
    features = zoo.compute(mapped, x)
    expected = features[:, -1] if is_recurrent else features.reshape(2, -1)
    np.testing.assert_allclose(zoo.compute(vector, x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(7,), (4, 6, 2)])
def test_an_mlp_flattens_a_map_of_codes(shape):
    options = {**CONSTANT, "units": (5,), "activation": "tanh"}
    plain = randomize(networks.decoder(6, shape, "mlp", **options))
    mapped = networks.decoder(2, shape, "mlp", grid=(3,), **options)
    copy_weights(plain, mapped)
    z = normal(4, 3, 2)
    expected = zoo.compute(plain, z.reshape(4, 6))
    np.testing.assert_allclose(zoo.compute(mapped, z), expected, rtol=1e-5, atol=1e-6)


def test_a_position_of_a_map_sees_and_makes_its_own_part_of_the_picture():
    options = {"filters": (2, 3), "activation": "tanh"}
    encoder = randomize(networks.encoder((16, 16, 1), grid=True, **CONSTANT, **options))
    decoder = networks.decoder(2, (16, 16, 1), grid=(4, 4), **CONSTANT, **options)
    randomize(decoder)
    x, z = np.zeros((2, 16, 16, 1), "float32"), np.zeros((2, 4, 4, 2), "float32")
    x[1, 15, 15], z[1, 3, 3] = 1, 1
    moved = np.abs(np.subtract(*zoo.compute(encoder, x))).max(axis=-1) > 0
    assert moved[3, 3] and not moved[:2, :].any() and not moved[:, :2].any()
    moved = np.abs(np.subtract(*zoo.compute(decoder, z))).max(axis=-1) > 0
    assert moved[12:, 12:].any() and not moved[:8, :].any() and not moved[:, :8].any()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"grid": (7, 6)}, r"grid=\(7, 6\) does not lead to shape=\(28, 28, 1\), but .* grid=\(7,"),
        ({"grid": (14, 14)}, r"grid=\(14, 14\) does not lead to .* kind='conv' grid=\(7, 7\) does"),
        ({"grid": (7,)}, r"grid=\(7,\) does not lead to"),
        ({"grid": 7}, "grid=7 must be a tuple of positive integers"),
        ({"grid": ()}, r"grid=\(\) must be a tuple of positive integers"),
        ({"grid": True}, "grid=True must be a tuple of positive integers"),
        ({"kind": "mlp", "grid": (0,)}, r"grid=\(0,\) must be a tuple of positive integers"),
    ],
)
def test_a_map_that_does_not_fit_says_which_does(arguments, message):
    with pytest.raises(ValueError, match=f"^networks.decoder: {message}"):
        networks.decoder(2, (28, 28, 1), **arguments)


def test_an_encoder_without_a_map_says_which_kinds_have_one():
    with pytest.raises(ValueError, match="kind='mlp' flattens the data. Give one of 'conv'"):
        networks.encoder((7,), grid=True)
    with pytest.raises(ValueError, match=r"grid=\(7, 7\) must be True or False"):
        networks.encoder((28, 28, 1), grid=(7, 7))


# ------------------------------------------------------------------ residual blocks


def test_a_residual_block_of_zeros_changes_nothing():
    """With zeros, networks of two blocks per size equal those of one, encoder and decoder."""
    shallow, deep = pair("resnet", blocks=1), pair("resnet", blocks=2)
    # The first of the decoder's two blocks of a size keeps the size, so that one is extra.
    for one, two, added in zip(shallow, deep, ("2", "1"), strict=True):
        known = {weight.path: weight for weight in randomize(one).weights}
        for weight in two.weights:
            parts = weight.path.split("_")
            if "block" in parts:
                place = parts.index("block") + 2
                if parts[place] == added:
                    weight.assign(np.zeros(weight.shape))
                    continue
                parts[place] = "1"
            weight.assign(known["_".join(parts)].value)
        x = normal(2, *one.input_shape[1:])
        np.testing.assert_allclose(zoo.compute(two, x), zoo.compute(one, x), rtol=1e-4, atol=1e-5)


def test_residual_networks_normalize_every_example_by_itself():
    encoder = randomize(pair("resnet", filters=(16, 16))[0])
    x = normal(2, 7, 10, 2)
    batches = x, np.stack([x[0], 10 * x[1]])
    first, second = (zoo.compute(lambda x: encoder(x, training=True), b) for b in batches)
    np.testing.assert_allclose(first[0], second[0], rtol=1e-4, atol=1e-5)
    assert np.abs(first[1] - second[1]).max() > 1e-2
    normalizations = (keras.layers.GroupNormalization, keras.layers.BatchNormalization)
    found = [layer for layer in encoder.layers if isinstance(layer, normalizations)]
    assert {type(layer) for layer in found} == {keras.layers.GroupNormalization}
    # Each of two groups of eight channels has mean 0 and variance 1 over channels and positions.
    layer = keras.layers.GroupNormalization.from_config(found[0].get_config())
    layer.build((2, 4, 3, 16))
    groups = zoo.compute(layer, 5 + 3 * normal(2, 4, 3, 16)).reshape(2, 12, 2, 8)
    np.testing.assert_allclose(groups.mean(axis=(1, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(groups.std(axis=(1, 3)), 1, atol=1e-2)


@pytest.mark.parametrize("kind", ["resnet", "unet", "transformer"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 6, 1), (8, 8, 3)], ids=str)
def test_pictures_of_any_size_come_out_exact(kind, shape):
    options = {**CONSTANT, **SMALL[kind]}
    encoder = networks.encoder(shape, kind, **options)
    decoder = networks.decoder(3, shape, kind, **options)
    assert zoo.compute(encoder, normal(2, *shape)).shape == (2, 4)
    assert zoo.compute(decoder, normal(2, 3)).shape == (2, *shape)


# ------------------------------------------------------------------ U-Nets


def test_details_skip_the_smaller_sizes_of_a_unet():
    """Without the smaller sizes, a pixel still reaches its own neighborhood, and only that."""
    model = randomize(networks.unet((9, 12, 2), channels=3, filters=(4, 4), activation="tanh"))
    assert model.output_shape == (None, 9, 12, 3)
    x = np.zeros((2, 9, 12, 2), "float32")
    x[1, 4, 6] = 1

    def reached():
        return np.abs(np.subtract(*zoo.compute(lambda x: model(x), x))).max(axis=-1) > 1e-6

    everything = reached()
    for weight in model.weights:
        if "_larger" in weight.path:
            weight.assign(np.zeros(weight.shape))
    rows, columns = np.nonzero(reached())
    # Four convolutions of 3 x 3, one after the other, reach four pixels in every direction.
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (0, 8, 2, 10)
    assert everything[:, 1].any() or everything[:, 11].any()


def test_a_unet_can_be_the_identity():
    """Each convolution passes its middle pixel on, and the last one reads only the skip."""
    model = networks.unet((5, 6, 1), filters=(1, 1), activation="linear")
    for weight in model.weights:
        value = np.zeros(weight.shape)
        if weight.name == "kernel" and "_larger" not in weight.path:
            value[weight.shape[0] // 2, weight.shape[1] // 2, 0, 0] = 1
        weight.assign(value)
    x = normal(2, 5, 6, 1)
    np.testing.assert_allclose(zoo.compute(model, x), x, rtol=1e-5, atol=1e-6)


def test_a_unet_says_what_it_needs():
    with pytest.raises(ValueError, match=r"networks.unet: kind='unet' needs shape=\(time steps"):
        networks.unet((7,))
    with pytest.raises(ValueError, match=r"networks.unet: units=\(3,\) is not an option"):
        networks.unet((7, 3, 1), units=(3,))
    with pytest.raises(ValueError, match="networks.unet: channels=0 must be a positive integer"):
        networks.unet((7, 3, 1), channels=0)


# ------------------------------------------------------------------ transformers


def transformer(shape=(5, 3), **options):
    """Return an encoder to a map and a decoder from one, with random weights."""
    options = {**CONSTANT, **SMALL["transformer"], **options}
    encoder = networks.encoder(shape, "transformer", grid=True, **options)
    places = encoder.output_shape[1:-1]
    decoder = networks.decoder(2, shape, "transformer", grid=places, **options)
    return randomize(encoder), randomize(decoder)


def weights_of(model, role):
    return [array(w.value) for w in model.weights if w.path.startswith(f"{model.name}_{role}/")]


def test_a_transformer_s_block_is_attention_and_dense_layers_each_after_normalization():
    model, _ = transformer(activation="tanh")

    def normalized(h, role):
        scale, shift = weights_of(model, role)
        centered = h - h.mean(axis=-1, keepdims=True)
        return centered / np.sqrt((centered**2).mean(axis=-1, keepdims=True) + 1e-3) * scale + shift

    x = normal(2, 5, 3)
    kernel, bias = weights_of(model, "tokens")
    h = x @ kernel + bias + weights_of(model, "positions")[0]
    a = normalized(h, "block_1_normalization_1")
    *inner, last, last_bias = weights_of(model, "block_1_attention")
    pairs = zip(inner[::2], inner[1::2], strict=True)
    q, k, v = (np.einsum("btw,whd->bhtd", a, m) + b[:, None] for m, b in pairs)
    scores = np.exp(q @ k.transpose(0, 1, 3, 2) / np.sqrt(q.shape[-1]))
    mixed = scores / scores.sum(axis=-1, keepdims=True) @ v
    h = h + np.einsum("bhtd,hdw->btw", mixed, last) + last_bias
    a = normalized(h, "block_1_normalization_2")
    (first, first_bias), (second, second_bias) = (
        weights_of(model, f"block_1_dense_{number}") for number in (1, 2)
    )
    assert first.shape == (6, 24)
    h = h + np.tanh(a @ first + first_bias) @ second + second_bias
    expected = normalized(h, "normalization")
    np.testing.assert_allclose(zoo.compute(model, x), expected, rtol=1e-3, atol=1e-4)


def test_only_the_positions_tell_tokens_apart():
    model, _ = transformer()
    x, order = normal(2, 5, 3), [3, 0, 4, 1, 2]
    assert np.abs(zoo.compute(model, x[:, order]) - zoo.compute(model, x)[:, order]).max() > 1e-2
    model.get_layer("encoder_positions").positions.assign(np.zeros((5, 6)))
    # New functions are needed, because JAX caches the model's program with the old weights.
    expected = zoo.compute(lambda x: model(x), x)[:, order]
    found = zoo.compute(lambda x: model(x), x[:, order])
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_without_attention_a_token_depends_only_on_its_patch():
    encoder, decoder = transformer((5, 7, 2))
    for model in (encoder, decoder):
        for weight in model.weights:
            if "attention_output/kernel" in weight.path:
                weight.assign(np.zeros(weight.shape))
    x, z = np.zeros((2, 5, 7, 2), "float32"), np.zeros((2, 6, 2), "float32")
    x[1, 4, 5], z[1, 4] = 1, 1  # They are in the second row and second column of patches of 3 x 3.
    moved = np.abs(np.subtract(*zoo.compute(encoder, x))).max(axis=-1) > 1e-4
    assert moved.tolist() == [False, False, False, False, True, False]
    moved = np.abs(np.subtract(*zoo.compute(decoder, z))).max(axis=-1) > 1e-4
    assert moved[3:, 3:6].all() and moved.sum() == 2 * 3


def test_transformers_take_sequences_to_vectors_and_back():
    options = {**CONSTANT, **SMALL["transformer"]}
    encoder = networks.encoder((5, 3), "transformer", **options)
    decoder = networks.decoder(2, (5, 3), "transformer", **options)
    assert zoo.compute(encoder, normal(2, 5, 3)).shape == (2, 4)
    assert zoo.compute(decoder, normal(2, 2)).shape == (2, 5, 3)
