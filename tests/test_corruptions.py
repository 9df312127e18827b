"""Corruptions: what they change and how often, their seeds, dtypes, configuration and errors."""

import io

import keras
import numpy as np
import pytest
import zoo
from PIL import Image
from scipy import ndimage, stats

from keras_ae import DenoisingAE, StackedDenoisingAE, UNetAE, corruptions
from keras_ae.corruptions import (
    JPEG,
    AdditiveGaussian,
    Affine,
    Blocks,
    Downsampling,
    Gray,
    Masking,
    Rectangle,
    SaltAndPepper,
    Speckle,
    Text,
)

OF_VALUES = [AdditiveGaussian(0.2), Masking(0.4), SaltAndPepper(0.4), Speckle(0.2)]
DRAWN = [*OF_VALUES, Blocks(3, 2), Rectangle(), Affine(), Text(8, 0.9)]
ALL = [*DRAWN, Gray(), Downsampling(2), JPEG(10)]
IMAGES = np.random.default_rng(0).uniform(0.1, 0.9, (6, 12, 10, 3)).astype("float32")


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def name_of(value):
    return type(value).__name__


def compiled(corruption, shape):
    """Compile: to a graph of unknown sizes on TensorFlow, to a jitted call on JAX."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        signature = [tf.TensorSpec(shape, "float32")]
        return tf.function(lambda x: corruption(x, 7), input_signature=signature)
    import jax

    return jax.jit(lambda x: corruption(x, 7))


@pytest.mark.parametrize("corruption", ALL, ids=name_of)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_shape_and_dtype_are_kept(corruption, dtype):
    x = keras.ops.cast(IMAGES, dtype)
    noisy = corruption(x, seed=0)
    assert tuple(noisy.shape) == IMAGES.shape
    assert keras.backend.standardize_dtype(noisy.dtype) == dtype
    assert bool(keras.ops.any(noisy != x))
    assert bool(keras.ops.all(keras.ops.isfinite(noisy)))


@pytest.mark.parametrize("corruption", DRAWN, ids=name_of)
def test_seeds_repeat_and_seed_generators_advance(corruption):
    first = numpy(corruption(IMAGES, 5))
    assert np.array_equal(first, numpy(corruption(IMAGES, 5)))
    assert not np.array_equal(first, numpy(corruption(IMAGES, 6)))
    generator = keras.random.SeedGenerator(5)
    draws = [numpy(corruption(IMAGES, generator)) for _ in range(2)]
    assert not np.array_equal(*draws)


@pytest.mark.parametrize("corruption", DRAWN, ids=name_of)
def test_examples_of_a_batch_are_corrupted_differently(corruption):
    x = np.repeat(IMAGES[:1], 6, axis=0)
    noisy = numpy(corruption(x, 0))
    assert len(np.unique(noisy.reshape(6, -1), axis=0)) > 1


@pytest.mark.parametrize("corruption", ALL, ids=name_of)
@pytest.mark.parametrize("shape", [(None, 12, 10, 3), (None, None, None, 3)])
def test_graphs_give_the_same_values(corruption, shape):
    if keras.backend.backend() == "torch" or (
        keras.backend.backend() == "jax" and shape[1] is None
    ):
        pytest.skip("torch runs without a graph, and JAX knows every shape")
    x = keras.ops.convert_to_tensor(IMAGES)
    close = np.isclose(numpy(compiled(corruption, shape)(x)), numpy(corruption(x, 7)), atol=1e-6)
    # JPEG rounds, and a number in the middle may be rounded up in one and down in the other.
    assert np.mean(close) > 0.9 if isinstance(corruption, JPEG) else np.all(close)


@pytest.mark.parametrize("corruption", OF_VALUES, ids=name_of)
def test_any_rank_is_taken(corruption):
    for x in (IMAGES[0, 0, 0], IMAGES[0]):
        assert tuple(corruption(x, 0).shape) == x.shape


@pytest.mark.parametrize("corruption", ALL, ids=name_of)
def test_config_round_trip(corruption):
    config = keras.saving.serialize_keras_object(corruption)
    assert config["registered_name"] == f"keras_ae>{name_of(corruption)}"
    revived = keras.saving.deserialize_keras_object(config)
    assert revived == corruption
    assert revived is not corruption
    assert np.array_equal(numpy(revived(IMAGES, 3)), numpy(corruption(IMAGES, 3)))


def test_additive_gaussian_adds_noise_of_its_scale():
    x = np.full((50, 80), 0.5, "float32")
    noise = (numpy(AdditiveGaussian(scale=0.25)(x, seed=1)) - x).ravel()
    assert stats.kstest(noise, stats.norm(0, 0.25).cdf).pvalue > 1e-3


def test_speckle_multiplies():
    x = np.tile(np.array([0.0, 0.5, 2.0], "float32"), (2000, 1))
    ratio = numpy(Speckle(scale=0.25)(x, seed=1))[:, 1:] / x[:, 1:] - 1
    assert stats.kstest(ratio.ravel(), stats.norm(0, 0.25).cdf).pvalue > 1e-3
    assert not numpy(Speckle(scale=0.25)(x, seed=1))[:, 0].any()


@pytest.mark.parametrize(
    "corruption",
    [AdditiveGaussian(0.0), Speckle(0), Masking(0), SaltAndPepper(0), Affine(0, 0, 0, 0)],
)
def test_nothing_changes_at_zero(corruption):
    assert np.array_equal(numpy(corruption(IMAGES, 0)), IMAGES)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_masking_zeroes_at_its_rate_and_leaves_the_rest(rate):
    x = np.random.default_rng(0).uniform(0.1, 0.9, (100, 80)).astype("float32")
    masked = numpy(Masking(rate)(x, seed=2))
    zeroed = masked == 0
    assert stats.binomtest(int(zeroed.sum()), x.size, rate).pvalue > 1e-3
    assert np.array_equal(masked[~zeroed], x[~zeroed])


def test_masking_everything():
    assert not numpy(Masking(rate=1.0)(IMAGES, seed=0)).any()


def test_masking_keeps_integers():
    masked = numpy(Masking(0.5)(np.ones((10, 10), "int32"), seed=0))
    assert masked.dtype == "int32"
    assert 0 < masked.sum() < 100


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0])
def test_salt_and_pepper_sets_halves_at_its_rate_and_leaves_the_rest(rate):
    x = np.random.default_rng(0).uniform(0.1, 0.9, (100, 80)).astype("float32")
    noisy = numpy(SaltAndPepper(rate)(x, seed=2))
    pepper, salt = noisy == 0, noisy == 1
    assert stats.binomtest(int(pepper.sum()), x.size, rate / 2).pvalue > 1e-3
    assert stats.binomtest(int(salt.sum()), x.size, rate / 2).pvalue > 1e-3
    untouched = ~(pepper | salt)
    assert np.array_equal(noisy[untouched], x[untouched])
    assert untouched.any() == (rate < 1)


def test_a_block_is_a_square_inside_the_image_through_all_channels():
    masked = numpy(Blocks(size=4)(np.ones((200, 9, 7, 2), "float32"), seed=0)) == 0
    assert np.array_equal(masked[..., 0], masked[..., 1])
    rows, columns = masked[..., 0].any(2), masked[..., 0].any(1)
    for lines in (rows, columns):
        assert (lines.sum(1) == 4).all()
        # A contiguous block rises once and falls once between padded zeros.
        assert (np.abs(np.diff(np.pad(lines.astype(int), ((0, 0), (1, 1))))).sum(1) == 2).all()
    assert (masked[..., 0].sum((1, 2)) == 16).all()


def test_blocks_lie_anywhere_with_equal_chances():
    masked = numpy(Blocks(size=4)(np.ones((4000, 9, 7, 1), "float32"), seed=0))[..., 0] == 0
    tops, lefts = np.argmax(masked.any(2), 1), np.argmax(masked.any(1), 1)
    places = np.bincount(tops * 4 + lefts, minlength=24)
    # There are 6 first rows and 4 first columns; equal counts of all pairs show that they are
    # independent, too.
    assert len(places) == 24
    assert stats.chisquare(places).pvalue > 1e-3


def test_several_blocks_have_places_of_their_own():
    masked = numpy(Blocks(size=2, num_blocks=3)(np.ones((300, 16, 16, 1), "float32"), 0)) == 0
    covered = masked.sum((1, 2, 3))
    assert covered.max() == 12
    assert covered.min() >= 4
    assert covered.mean() > 11


def test_a_block_may_fill_the_image():
    assert not numpy(Blocks(size=5)(np.ones((2, 5, 5, 1), "float32"), 0)).any()


@pytest.mark.parametrize(
    "make",
    [Blocks, Rectangle, Affine, Gray, Downsampling, JPEG, Text],
    ids=lambda make: make.__name__,
)
@pytest.mark.parametrize("shape", [(4, 9), (4, 9, 9), (4, 9, 9, 9, 1)])
def test_corruptions_of_images_refuse_other_data(make, shape):
    with pytest.raises(ValueError, match=rf"{make.__name__}: x has shape \(4, 9.* use Masking"):
        make()(np.ones(shape, "float32"), 0)


def sides_of(masked):
    """Return the first row, the height, the first column and the width of what is hidden."""
    rows, columns = masked.any(2), masked.any(1)
    assert np.array_equal(masked, rows[:, :, None] & columns[:, None, :])
    for lines in (rows, columns):
        assert (np.abs(np.diff(np.pad(lines.astype(int), ((0, 0), (1, 1))))).sum(1) == 2).all()
    return rows.argmax(1), rows.sum(1), columns.argmax(1), columns.sum(1)


def test_rectangles_have_their_share_and_drawn_sides():
    x = np.ones((3000, 60, 40, 2), "float32")
    masked = numpy(Rectangle(share=0.25)(x, seed=0)) == 0
    assert np.array_equal(masked[..., 0], masked[..., 1])
    top, height, left, width = sides_of(masked[..., 0])
    assert masked.mean() == pytest.approx(0.25, abs=2e-3)
    assert np.abs(height * width / 2400 - 0.25).max() < 0.02  # Sides are whole pixels.
    ratio = np.log((height / 60) / (width / 40)) / np.log(2)
    assert stats.kstest(ratio, stats.uniform(-1, 2).cdf).statistic < 0.06  # In steps of a pixel.
    for start, side, length in ((top, height, 60), (left, width, 40)):
        places = (start + 0.5) / (length - side + 1)
        assert stats.kstest(places, stats.uniform(0, 1).cdf).statistic < 0.05


@pytest.mark.parametrize("share", [1e-9, 0.7, 1.0])
def test_rectangles_of_any_share_lie_inside(share):
    masked = numpy(Rectangle(share)(np.ones((500, 9, 7, 1), "float32"), 0))[..., 0] == 0
    sides_of(masked)
    assert masked.mean() == pytest.approx(max(share, 1 / 63), abs=0.03)


@pytest.mark.parametrize("share", [0, -0.1, 1.1, float("nan"), "0.3", None, True])
def test_shares_that_hide_nothing_are_refused(share):
    with pytest.raises(ValueError, match=f"Rectangle: share={share!r} must be"):
        Rectangle(share)


def test_gray_is_that_of_pillow():
    pixels = np.random.default_rng(0).integers(0, 256, (1, 20, 30, 3), "uint8")
    wanted = np.asarray(Image.fromarray(pixels[0]).convert("L"), float)
    gray = numpy(Gray()(pixels.astype("float32") / 255, 0))
    assert np.array_equal(gray[..., 0], gray[..., 2])
    assert np.abs(255 * gray[0, ..., 0] - wanted).max() < 0.51


def test_gray_pictures_have_no_color_to_lose():
    with pytest.raises(ValueError, match=r"Gray: x has shape \(2, 4, 4, 1\), but only"):
        Gray()(np.ones((2, 4, 4, 1), "float32"), 0)


@pytest.mark.parametrize("factor", [2, 4])
def test_downsampling_takes_means_of_blocks(factor):
    x = np.random.default_rng(0).random((3, 12, 8, 2), "float32")
    found = numpy(Downsampling(factor)(x, 0))
    for row, column in ((0, 0), (1, 1), (2, 0)):
        rows = slice(factor * row, factor * (row + 1))
        columns = slice(factor * column, factor * (column + 1))
        mean = x[:, rows, columns].mean((1, 2), keepdims=True)
        assert np.abs(found[:, rows, columns] - mean).max() < 1e-6


def test_factors_must_divide_the_sides():
    with pytest.raises(
        ValueError, match=r"factor=4 does not divide the sides of x of shape \(2, 8"
    ):
        Downsampling(4)(np.ones((2, 8, 6, 1), "float32"), 0)


def photograph():
    """A smooth picture with edges and texture, with sides that no block divides: bytes."""
    rows, columns = np.mgrid[:61, :83] / 20.0
    colors = [np.sin(rows * columns + phase) + (rows > columns) for phase in (0, 1, 2)]
    colors = np.stack(colors, -1) + 0.2 * np.random.default_rng(0).normal(size=(61, 83, 3))
    return np.clip(255 * (0.3 + 0.25 * colors), 0, 255).astype("uint8")


@pytest.mark.parametrize("quality", [1, 10, 50, 90, 100])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg_loses_what_a_file_loses(quality, mode):
    """Pillow's libjpeg rounds in integers, so that a wave between two steps may go either way."""
    picture, file = Image.fromarray(photograph()).convert(mode), io.BytesIO()
    picture.save(file, "JPEG", quality=quality, subsampling=2)
    given, wanted = np.asarray(picture, float), np.asarray(Image.open(file), float)
    x = given.reshape(1, *given.shape[:2], -1) / 255
    found = 255 * numpy(JPEG(quality)(x.astype("float32"), 0)).reshape(wanted.shape)
    assert np.abs(found - wanted).mean() < 0.1 * np.abs(given - wanted).mean() + 0.8


def test_text_covers_lines_in_one_color():
    x = np.full((400, 33, 47, 3), 0.5, "float32")
    written = numpy(Text(size=9, rate=0.5)(x, 0))
    assert written.min() < 0.05
    assert written.max() > 0.95
    assert np.array_equal(written[..., 0], written[..., 2])
    dark, light = (written < 0.5).any((1, 2, 3)), (written > 0.5).any((1, 2, 3))
    assert not (dark & light).any()
    assert stats.binomtest(int(dark.sum()), int((dark | light).sum()), 0.5).pvalue > 1e-3
    full = np.mean(numpy(Text(size=9, rate=1.0)(x, 0)) != 0.5)
    assert np.mean(written != 0.5) == pytest.approx(full / 2, rel=0.1)
    assert np.array_equal(numpy(Text(size=9, rate=0.0)(x, 0)), x)


@pytest.mark.parametrize("rate", [0.2, 0.9, 1.0])
def test_text_is_black_as_often_as_white_at_every_rate(rate):
    x = np.full((4000, 16, 16, 1), 0.5, "float32")
    written = numpy(Text(size=8, rate=rate)(x, 1))
    dark, light = (np.sum((written - 0.5) * sign > 0, axis=(1, 2, 3)) > 0 for sign in (-1, 1))
    assert stats.binomtest(int(dark.sum()), int((dark | light).sum()), 0.5).pvalue > 1e-3


@pytest.mark.parametrize("make", [Downsampling, JPEG, Text])
@pytest.mark.parametrize("value", [0, -1, 2.5, "3", None, True])
def test_bad_integers_are_refused(make, value):
    name = {Downsampling: "factor", JPEG: "quality", Text: "size"}[make]
    with pytest.raises(ValueError, match=f"{make.__name__}: {name}={value!r} must be an integer"):
        make(value)


def test_pairs_are_of_the_corruption_and_repeat():
    x = np.random.default_rng(0).random((600, 4, 4, 3))
    damaged, target = corruptions.pairs(x, "masking", seed=1)
    assert target is x
    assert damaged.dtype == x.dtype
    assert np.array_equal(damaged, corruptions.pairs(x, Masking(0.5), seed=1)[0])
    assert not np.array_equal(damaged, corruptions.pairs(x, "masking", seed=2)[0])
    hidden = damaged == 0
    assert np.mean(hidden) == pytest.approx(0.5, abs=0.02)
    assert np.allclose(damaged[~hidden], x[~hidden], atol=1e-7)
    assert not np.array_equal(hidden[:256], hidden[256:512])
    assert corruptions.pairs(x[:0], "masking")[0].shape == (0, 4, 4, 3)


@pytest.mark.parametrize("seed", [-1, 2**31, 1.5, None, True])
def test_seeds_of_pairs_are_checked(seed):
    with pytest.raises(ValueError, match=rf"pairs: seed={seed} must be an integer from 0 to 214"):
        corruptions.pairs(IMAGES, "masking", seed=seed)
    wanted = corruptions.pairs(IMAGES, "masking", seed=3)[0]
    assert np.array_equal(corruptions.pairs(IMAGES, "masking", seed=np.int64(3))[0], wanted)


@pytest.mark.parametrize(
    ("function", "found"),
    [
        (lambda x, seed: x[..., :1], "shape"),
        (lambda x, seed: x[0], "shape"),
        (lambda x, seed: keras.ops.cast(255.0 * x, "int32"), "int32"),
        (lambda x, seed: None, "NoneType"),
    ],
)
def test_functions_return_floats_of_the_shape(function, found):
    """NumPy would repeat one channel for all, and take None for NaN."""
    words = r"corruption=<function .* must be a function that returns floats of x's shape .* It "
    with pytest.raises(ValueError, match=f"{words}returned {found}"):
        corruptions.pairs(IMAGES, function)
    for make in (UNetAE, DenoisingAE):
        model = make(2, corruption=function, **zoo.OPTIONS)
        model.compile("adam")
        with pytest.raises(ValueError, match=f"{make.__name__}: {words}returned {found}"):
            model.fit(IMAGES, verbose=0)
    stacked = StackedDenoisingAE(2, hidden_corruption=function, pretraining_steps=2)
    stacked.compile("adam")
    with pytest.raises(ValueError, match="StackedDenoisingAE: hidden_corruption=<function"):
        stacked.fit(IMAGES, epochs=5, verbose=0)


@pytest.mark.parametrize("x", [[[0.5]], np.ones((2, 4, 4, 3), "uint8"), None, np.array(0.5)])
def test_pairs_of_other_things_are_refused(x):
    with pytest.raises(
        TypeError, match="corruptions.pairs: x is .*, but must be an array of floats"
    ):
        corruptions.pairs(x, "masking")


def test_none_changes_nothing():
    assert np.array_equal(numpy(corruptions.get(None)(IMAGES, 0)), IMAGES)
    model = UNetAE(latent_dim=2, corruption=None, unet_options={"filters": (2,)}, seed=0)
    model.compile("sgd")
    small, target = corruptions.pairs(IMAGES, "downsampling")
    model.fit(small, target, epochs=1, batch_size=6, verbose=0)
    assert UNetAE.from_config(model.get_config()).arguments["corruption"] is None


@pytest.mark.parametrize(
    "affine",
    [Affine(0.3, 0, 0, 0), Affine(0, 2.0, 0, 0), Affine(0, 0, 0.5, 0), Affine(0, 0, 0, 0.5)]
    + [Affine(0.2, 1.0, 0.3, 0.4)],
    ids=["shift", "rotation", "scale", "shear", "all"],
)
def test_affine_moves_pixels_as_scipy_does(affine):
    moved = numpy(affine(IMAGES, 3))
    draws = numpy(keras.random.uniform((5, len(IMAGES)), -1.0, 1.0, seed=3)).astype(float)
    center = 0.5 * (np.array(IMAGES.shape[1:3]) - 1)
    for image, found, (turn, size, lean, right, down) in zip(IMAGES, moved, draws.T, strict=True):
        angle = affine.rotation * turn
        # The matrices are of (row, column), in this order.
        rotation = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
        matrix = (
            np.exp(affine.scale * size) * np.array(rotation) @ [[1, 0], [affine.shear * lean, 1]]
        )
        shift = affine.shift * np.array([down * IMAGES.shape[1], right * IMAGES.shape[2]])
        for channel in range(3):
            expected = ndimage.affine_transform(
                image[..., channel].astype(float),
                matrix,
                center - matrix @ center + shift,
                order=1,
                mode="grid-constant",
            )
            np.testing.assert_allclose(found[..., channel], expected, atol=1e-4)


def test_shifts_are_uniform():
    dot = np.zeros((3000, 21, 21, 1), "float32")
    dot[:, 10, 10] = 1.0
    moved = numpy(Affine(0.25, 0, 0, 0)(dot, 0))[..., 0]
    for axis in (1, 2):
        places = (moved.sum(3 - axis) @ np.arange(21) - 10) / 21
        assert stats.kstest(places, stats.uniform(-0.25, 0.5).cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", ["shift", "rotation", "scale", "shear"])
@pytest.mark.parametrize("value", [-0.1, float("nan"), "0.3", None, True])
def test_bad_amounts_are_refused(name, value):
    with pytest.raises(ValueError, match=f"Affine: {name}={value!r} must be a number"):
        Affine(**{name: value})


def test_blocks_larger_than_the_image_are_refused():
    with pytest.raises(ValueError, match=r"Blocks: size=7 does not fit into x of shape \(4, 9, 6"):
        Blocks(7)(np.ones((4, 9, 6, 1), "float32"), 0)


@pytest.mark.parametrize(
    "make", [AdditiveGaussian, Speckle, Affine, Gray, Downsampling, JPEG, Text]
)
def test_noise_on_integers_is_refused(make):
    with pytest.raises(ValueError, match=f"{make.__name__}: x has dtype uint8"):
        make()(np.ones((2, 3, 3, 1), "uint8"), 0)


@pytest.mark.parametrize("make", [AdditiveGaussian, Speckle])
@pytest.mark.parametrize("scale", [-0.1, float("nan"), float("inf"), "0.3", None, True])
def test_bad_scales_are_refused(make, scale):
    with pytest.raises(ValueError, match=f"{make.__name__}: scale={scale!r} must be a number of"):
        make(scale)


@pytest.mark.parametrize("make", [Masking, SaltAndPepper])
@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan"), "0.3", None, True])
def test_bad_rates_are_refused(make, rate):
    with pytest.raises(ValueError, match=f"{make.__name__}: rate={rate!r} must be a number from 0"):
        make(rate)


@pytest.mark.parametrize("name", ["size", "num_blocks"])
@pytest.mark.parametrize("value", [0, -1, 2.0, "3", None, True])
def test_bad_counts_are_refused(name, value):
    with pytest.raises(ValueError, match=f"Blocks: {name}={value!r} must be a positive integer"):
        Blocks(**{name: value})


@pytest.mark.parametrize(
    "name, expected",
    [
        ("gaussian", AdditiveGaussian(scale=0.3)),
        ("masking", Masking(rate=0.5)),
        ("salt_and_pepper", SaltAndPepper(rate=0.3)),
        ("speckle", Speckle(scale=0.3)),
        ("blocks", Blocks(size=7, num_blocks=1)),
        ("rectangle", Rectangle(share=0.25)),
        ("affine", Affine(0.1, 0.3, 0.2, 0.2)),
        ("gray", Gray()),
        ("downsampling", Downsampling(factor=2)),
        ("jpeg", JPEG(quality=10)),
        ("text", Text(size=10, rate=0.5)),
    ],
)
def test_get_by_name(name, expected):
    assert corruptions.get(name) == expected


def test_get_passes_objects_and_functions_on():
    def invert(x, seed):
        return 1.0 - x

    corruption = Masking(0.2)
    assert corruptions.get(corruption) is corruption
    assert corruptions.get(invert) is invert


def test_get_names_the_close_match():
    with pytest.raises(ValueError, match="'gausian' is unknown. Did you mean 'gaussian'"):
        corruptions.get("gausian")


def test_get_lists_the_names_when_nothing_is_close():
    with pytest.raises(ValueError, match="identifier='xyz' is unknown. Pass one of 'gaussian',"):
        corruptions.get("xyz")


@pytest.mark.parametrize("identifier", [3, Masking, ["masking"]])
def test_get_refuses_what_cannot_corrupt(identifier):
    with pytest.raises(ValueError, match="is not a corruption. Pass one of 'gaussian'"):
        corruptions.get(identifier)
