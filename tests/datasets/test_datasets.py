import doctest
import os
import random
import time
import urllib.error
import urllib.request
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_ae import datasets
from keras_ae.datasets import catalog, files, sprites, streams

pytestmark = pytest.mark.backend_free


def elements(dataset):
    return list(dataset.as_numpy_iterator())


def assert_partition(load):
    """Check that train and test are disjoint and together are everything; return their sizes."""
    train, test, everything = (load(split) for split in ("train", "test", "all"))
    rows = [{x.tobytes() for x in part} for part in (train, test, everything)]
    assert rows[0].isdisjoint(rows[1])
    assert rows[0] | rows[1] == rows[2]
    return len(train), len(test)


@pytest.mark.parametrize("module", [catalog, sprites, streams])
def test_examples_in_docstrings(module):
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0


# Digits


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    x, label = datasets.as_array("digits", "all", labels=True)
    assert x.dtype == np.float32 and label.dtype == np.int64
    np.testing.assert_array_equal(x[..., 0] * 16, load_digits().images)
    np.testing.assert_array_equal(label, load_digits().target)


def test_digits_split_is_fixed():
    x, label = datasets.as_array("digits", "test", labels=True)
    counts = assert_partition(lambda split: datasets.as_array("digits", split))
    assert counts == (1437, 360)
    # The pretrained models were measured on these rows, so the split must never change.
    assert label[:10].tolist() == [2, 4, 6, 5, 5, 4, 1, 7, 0, 7]
    assert x.sum() * 16 == 112241


def test_small_mnist_is_the_beginning_of_mnist():
    x, label = datasets.as_array("small_mnist", "all", labels=True)
    assert x.dtype == np.float32 and label.dtype == np.int64
    sizes = assert_partition(lambda split: datasets.as_array("small_mnist", split))
    assert sizes == (10_000, 2_000)
    # Figures are measured on these digits, so they must never change.
    assert label[:10].tolist() == [4, 1, 0, 7, 8, 1, 2, 7, 1, 6]
    assert zlib.crc32(np.round(255 * x).astype("uint8").tobytes()) == 1_756_304_338
    assert_error(ValueError, lambda: datasets.load("small_mnist", "tests"), "'tests'", "'test'")


def test_elements_are_single_float32_examples_of_known_number():
    dataset = datasets.load("digits", labels=True)
    assert dataset.element_spec[0] == tf.TensorSpec((8, 8, 1), tf.float32)
    assert dataset.cardinality() == 1437


# Sprites


def test_sprites_index_and_factors_are_inverse():
    indices = np.arange(0, sprites.SPRITES_COUNT, 1009).reshape(17, -1)
    factors = datasets.sprites_factors(indices)
    assert factors.shape == (*indices.shape, 5) and factors.dtype == np.int32
    np.testing.assert_array_equal(datasets.sprites_index(factors), indices)
    assert sprites.SPRITES_COUNT == 3 * 6 * 40 * 32 * 32 == 737_280


def test_sprites_differ_in_every_factor_but_symmetry():
    factors = np.stack(np.meshgrid(*map(np.arange, (3, 6, 40)), indexing="ij"), -1).reshape(-1, 3)
    factors = np.concatenate([factors, np.full_like(factors[:, :2], 15)], axis=1)
    images = datasets.sprites_images(datasets.sprites_index(factors))
    assert images.dtype == np.float32 and images.shape == (720, 64, 64, 1)
    assert set(np.unique(images)) == {0.0, 1.0}
    # A square looks the same after a quarter turn, an ellipse after half a turn, a heart never.
    assert len(np.unique(images, axis=0)) == 6 * (10 + 20 + 40)


@pytest.mark.parametrize("shape", range(3))
def test_sprites_position_moves_the_whole_picture(shape):
    def image(x, y):
        return datasets.sprites_images(datasets.sprites_index([shape, 5, 7, x, y]))

    corner = image(0, 0)
    for x, y in ((31, 0), (0, 31), (31, 31), (3, 20)):
        # `np.roll` wraps nothing around, because even the largest sprite never leaves the frame.
        np.testing.assert_array_equal(image(x, y), np.roll(corner, (y, x), axis=(0, 1)))
    assert image(31, 31).sum() == corner.sum() > 300


def test_sprites_scale_is_length():
    area = datasets.sprites_images(datasets.sprites_index([[0, s, 0, 9, 9] for s in range(6)]))
    area = area.sum(axis=(1, 2, 3))
    assert np.all(np.diff(area) > 0)
    # Twice the length is four times the area.
    assert area[5] / area[0] == pytest.approx(4, rel=0.1)


def test_sprites_turn_counterclockwise():
    # The ellipse lies flat at first; after an eighth of a turn it rises to the right.
    flat, rising = datasets.sprites_images(
        datasets.sprites_index([[1, 5, step, 16, 16] for step in (0, 5)])
    )[..., 0]
    rows, columns = np.nonzero(flat)
    assert np.ptp(columns) > 1.5 * np.ptp(rows)
    rows, columns = np.nonzero(rising)
    assert np.corrcoef(columns, -rows)[0, 1] > 0.3


def test_sprites_stream_agrees_with_its_factors():
    for image, factors in elements(datasets.load("sprites", labels=True, seed=3).take(300)):
        index = datasets.sprites_index(factors)
        np.testing.assert_array_equal(image, datasets.sprites_images(index))


def test_sprites_order_is_a_function_of_the_seed():
    def first(seed):
        stream = datasets.load("sprites", labels=True, seed=seed)
        return [factors.tolist() for _, factors in elements(stream.take(20))]

    assert first(1) == first(1) != first(2)
    assert first(None) == first(0)
    assert {shape for shape, *_ in first(0)} == {0, 1, 2}


def test_sprites_split():
    train = streams.split_rows(sprites.SPRITES_COUNT, 36_864, "train", "")
    test = streams.split_rows(sprites.SPRITES_COUNT, 36_864, "test", "")
    assert datasets.load("sprites").cardinality() == len(train) == 700_416
    assert datasets.load("sprites", "test").cardinality() == len(test) == 36_864
    assert not set(train) & set(test)
    # The test split is scattered: every value of every factor has its share in it.
    for column, size in enumerate(datasets.SPRITES_FACTORS.values()):
        share = np.bincount(datasets.sprites_factors(test)[:, column]) / len(test) * size
        np.testing.assert_allclose(share, 1, atol=0.15)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: datasets.sprites_images([-1]), ["sprites_factors", "-1", "737279"]),
        (lambda: datasets.sprites_factors(737_280), ["indices", "737280"]),
        (lambda: datasets.sprites_images([0.5]), ["integers", "float64"]),
        (lambda: datasets.sprites_index([0, 6, 0, 0, 0]), ["scale", "5", "6"]),
        (lambda: datasets.sprites_index([0, 0]), ["(2,)", "5"]),
    ],
)
def test_sprites_errors(call, words):
    assert_error(ValueError, call, *words)


# Dynamic binarization


def probabilities(*shape):
    return np.random.RandomState(0).rand(*shape).astype("float32")


def test_binarization_has_the_right_mean():
    x = np.float32([0, 0.1, 0.5, 0.9, 1])
    many = tf.data.Dataset.from_tensors(x).repeat(4000)
    draws = np.stack(elements(many.apply(datasets.dynamic_binarization(seed=0))))
    assert set(np.unique(draws)) == {0.0, 1.0}
    np.testing.assert_allclose(draws.mean(0), x, atol=0.03)  # This is 3.8 standard errors.
    np.testing.assert_array_equal(draws.mean(0)[[0, 4]], [0, 1])
    # Draws of different examples, and of different positions in one, are independent.
    covariance = np.cov(np.concatenate([draws[:-1, 1:4], draws[1:, 1:4]], axis=1).T)
    np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0, atol=0.016)


def test_binarization_differs_in_every_pass_and_repeats_with_the_seed():
    source = tf.data.Dataset.from_tensor_slices(probabilities(50, 20))

    def three_passes(seed):
        dataset = source.apply(datasets.dynamic_binarization(seed))
        return [np.stack(elements(dataset)) for _ in range(3)]

    first, second, third = three_passes(5)
    assert 0.2 < np.mean(first != second) < 0.5
    assert not np.array_equal(second, third)
    tf.random.set_seed(7)  # TensorFlow's global seed must change nothing.
    np.testing.assert_array_equal(three_passes(5), [first, second, third])
    assert not np.array_equal(three_passes(6)[0], first)
    repeated = elements(source.apply(datasets.dynamic_binarization(5)).repeat(3))
    np.testing.assert_array_equal(np.concatenate([first, second, third]), repeated)


def test_binarization_without_seed_follows_python():
    def draw():
        return datasets.as_array("digits", "test", binarize=True)

    random.seed(1)
    first = draw()
    assert not np.array_equal(first, draw())
    random.seed(1)
    np.testing.assert_array_equal(first, draw())


def test_binarization_works_on_batches_and_keeps_the_rest():
    x, label = probabilities(12, 4, 4, 1), np.arange(12)
    source = tf.data.Dataset.from_tensor_slices((x, label)).batch(5)
    dataset = source.apply(datasets.dynamic_binarization(seed=0))
    assert dataset.element_spec == source.element_spec
    assert dataset.cardinality() == 3
    images, labels = zip(*elements(dataset), strict=True)
    assert set(np.unique(np.concatenate(images))) == {0.0, 1.0}
    np.testing.assert_array_equal(np.concatenate(labels), label)


def test_binarization_of_a_shuffled_dataset_of_unknown_length():
    source = tf.data.Dataset.range(40).shuffle(40).filter(lambda i: i % 2 == 0)
    source = source.map(lambda i: (tf.fill([8], 0.5), i))
    dataset = source.apply(datasets.dynamic_binarization(seed=0))
    orders = [[i for _, i in elements(dataset)] for _ in range(2)]
    assert orders[0] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(0, 40, 2))


@pytest.mark.parametrize("value", [-0.1, 1.1, np.nan])
def test_binarization_refuses_what_is_no_probability(value):
    dataset = tf.data.Dataset.from_tensors(np.float32([0.5, value]))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"must lie in \[0, 1\]"):
        elements(dataset.apply(datasets.dynamic_binarization(seed=0)))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: datasets.dynamic_binarization(-1), ["seed", "-1"]),
        (lambda: datasets.dynamic_binarization("a"), ["seed", "'a'"]),
        (
            lambda: tf.data.Dataset.range(2).apply(datasets.dynamic_binarization()),
            ["floating-point", "int64", "255"],
        ),
        (
            lambda: tf.data.Dataset.from_tensors({"x": 0.5}).apply(datasets.dynamic_binarization()),
            ["floating-point", "'x'"],
        ),
    ],
)
def test_binarization_errors(call, words):
    assert_error(ValueError, call, *words)


# Arrays in files


@pytest.fixture
def save(tmp_path):
    def save_as(filename, *args, **arrays):
        path = tmp_path / filename
        if path.suffix == ".csv":
            path.write_text(*args, encoding="utf-8")
        elif path.suffix == ".npz":
            np.savez(path, **arrays)
        else:
            np.save(path, *args)
        return path

    return save_as


@pytest.mark.parametrize("as_path", [str, Path])
def test_npy_of_floats_is_passed_as_it_is(save, as_path):
    x = np.random.RandomState(0).randn(53, 7) * 30
    path = as_path(save("x.npy", x))
    np.testing.assert_array_equal(datasets.as_array(path, "all"), x.astype("float32"))
    assert assert_partition(lambda split: datasets.as_array(path, split)) == (48, 5)


def test_npy_is_mapped_not_read(save):
    array, _ = files._read_npy(save("x.npy", probabilities(4, 3)))
    assert isinstance(array, np.memmap)


def test_stream_crosses_blocks(save):
    x = probabilities(9000, 2)
    np.testing.assert_array_equal(datasets.as_array(save("x.npy", x), "all"), x)
    assert datasets.load(save("x.npy", x)).cardinality() == 8100


def test_uint8_pictures_become_fractions_with_a_channel(save):
    x = np.random.RandomState(0).randint(0, 256, (20, 5, 6), "uint8")
    loaded = datasets.as_array(save("x.npy", x), "all")
    assert loaded.dtype == np.float32
    np.testing.assert_allclose(loaded, x[..., None] / 255, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "bool"])
def test_binary_pictures_are_not_blackened(save, dtype):
    x = np.random.RandomState(0).randint(0, 2, (20, 5, 6)).astype(dtype)
    np.testing.assert_array_equal(datasets.as_array(save("x.npy", x), "all"), x[..., None])


def test_npz_with_labels(save):
    x, y = probabilities(20, 3), np.arange(20, dtype="int32")
    path = save("a.npz", x=x, y=y, other=x)
    loaded, label = datasets.as_array(path, "all", labels=True)
    np.testing.assert_array_equal(loaded, x)
    np.testing.assert_array_equal(label, y)
    assert label.dtype == np.int64
    fractions = datasets.as_array(save("b.npz", data=x, y=y / 2), labels=True)[1]
    assert fractions.dtype == np.float32


@pytest.mark.parametrize(
    "header",
    ["", "\n", "a,b,c\n", "\ufeffa,b,c\n", '"a, or A",b,c\n', '"a\nb",c,d\n', "# a,b,c\n"]
    + ["Na,NA,Mg\n", "1x1,1x2,x\n", "a,b,c\r\n", "\ufeff"],
)
@pytest.mark.parametrize(
    "rows",
    ["1,2,3\n-4,5e1,.5\n", '1, 2 ,"3"\r\n-4,+50,.5', "1.,2,3\n\n-4,50,0.5\n\n"],
    ids=["plain", "spaced", "with empty lines"],
)
def test_csv(save, header, rows):
    path = save("x.csv", header + rows)
    np.testing.assert_array_equal(datasets.as_array(path, "all"), [[1, 2, 3], [-4, 50, 0.5]])


def test_a_row_of_numbers_is_never_a_header(save):
    x = datasets.as_array(save("x.csv", "2019,2020\n1,2\n"), "all")
    np.testing.assert_array_equal(x, [[2019, 2020], [1, 2]])


def test_csv_label_column(save):
    path = save("x.csv", "a,Label,b\n1,7,2\n3,8,4\n")
    x, label = datasets.as_array(path, "all", labels=True)
    np.testing.assert_array_equal(x, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(label, [7, 8])
    np.testing.assert_array_equal(datasets.as_array(path, "all"), x)


def test_binarized_file(save):
    x = probabilities(200, 3)
    drawn = datasets.as_array(save("x.npy", x), "all", binarize=True, seed=0)
    assert set(np.unique(drawn)) == {0.0, 1.0}
    assert np.corrcoef(drawn.ravel(), x.ravel())[0, 1] > 0.4


BAD_ARRAYS = {
    "nan": (np.float32([[1, 2], [3, np.nan]]), ["NaN", "row 1"]),
    "infinity": (np.float32([[np.inf, 2]]), ["infinity", "row 0"]),
    "overflow": (np.array([[1e300, 2]]), ["beyond float32"]),
    "objects": (np.array([[{}], [1]], object), ["bad.npy", "cannot be read"]),
    "text": (np.array([["a"], ["b"]]), ["dtype <U1", "real numbers"]),
    "complex": (np.ones((3, 2), complex), ["complex128"]),
    "no axis of features": (np.ones(5), ["(5,)", "at least two axes"]),
    "no rows": (np.ones((0, 5)), ["(0, 5)"]),
    "no columns": (np.ones((5, 0)), ["(5, 0)"]),
}


@pytest.mark.parametrize(("array", "words"), BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_bad_arrays(save, array, words):
    path = save("bad.npy", array)
    assert_error(ValueError, lambda: datasets.load(path), *words)


HEADER_OR_NOT = "if this row is the header, give every column a name"
BAD_TABLES = {
    "word": ("1,2\n3,x\n", ["line 2, column 2 holds 'x'"]),
    "word below a header": ("a,b\n1,2\n\n3,x\n", ["line 4, column 2 holds 'x'"]),
    "short row": ("1,2\n3\n", ["line 2 has 1 cell(s), but the first row has 2"]),
    "long row": ("a,b\n1,2\n3,4,5\n", ["line 3 has 3 cell(s), but the first row has 2"]),
    "long header": ("a,b,c\n1,2\n3,4\n", ["line 2 has 2 cell(s), but the first row has 3"]),
    "blank": ("1,2\n3,\n", ["line 2, column 2 is empty"]),
    "spaces": ("1,2\n  \n", ["line 2, column 1 is empty"]),
    "nan": ("1,2\n3,nan\n", ["line 2, column 2 holds 'nan'", "not a finite float32 number"]),
    "infinity": ("a,b\n1,-inf\n", ["line 2, column 2 holds '-inf'"]),
    "overflow": ("1e300,1\n2,3\n", ["line 1, column 1 holds '1e300'"]),
    "empty": ("", ["no rows"]),
    "only a header": ("a,b\n", ["no rows"]),
    "only a header, and lines": ("a,b\n\n \n", ["no rows"]),
    "two columns of labels": ("label,a,Label\n1,2,3\n", ["more than one column 'label'"]),
    "label of text": ("a,label\n1,cat\n", ["line 2, column 2 holds 'cat'"]),
    # In these, the first row is neither numbers nor names.
    "first row with an empty cell": ("1,\n2,3\n", ["line 1, column 2 is empty", HEADER_OR_NOT]),
    "first row with a missing value": ("1,NA\n2,3\n", ["line 1, column 2 holds 'NA'"]),
    "first row of missing values": ("NA,?\n2,3\n", ["line 1, column 1 holds 'NA'"]),
    **{
        f"first row of {cell}": (f"{cell},{cell}\n1,2\n", [f"line 1, column 1 holds {cell!r}"])
        for cell in "n/a #N/A <NA> NaT *** $1 (1) '1' >1 =1+1 ٣ True".split()
    },
    "numerals of another script": ("1,2\n٣,4\n", ["line 2, column 1 holds '٣'"]),
    "first row of nan": ("nan,nan\n2,3\n", ["line 1, column 1 holds 'nan'"]),
    "first row with a unit": ("1.5x,2\n2,3\n", ["line 1, column 1 holds '1.5x'"]),
    "first row of units": ("1.5x,2x\n2,3\n", ["line 1, column 1 holds '1.5x'"]),
    "first cell with a unit": ("1.5x\n2\n", ["line 1, column 1 holds '1.5x'"]),
    "first row of a text and a number": ("cat,1\ndog,2\n", ["line 1, column 1 holds 'cat'"]),
    "first row with a comma too many": ("1,2,\n3,4,\n", ["line 1, column 3 is empty"]),
    "names with a comma too many": ("a,b,\n1,2,\n", ["line 1, column 3 is empty"]),
    "an index that pandas wrote": (",a\n0,1\n", ["line 1, column 1 is empty", HEADER_OR_NOT]),
    # These write numbers or columns as other programs or countries do.
    "separators of thousands": ('"1,234","5,678"\n1,2\n', ["line 1, column 1 holds '1,234'"]),
    "semicolons": ("a;b\n1;2\n", ["line 2, column 1 holds '1;2'", "commas"]),
    "semicolons alone": ("1;2\n3;4\n", ["line 1, column 1 holds '1;2'", "commas"]),
    "decimal commas": ("1,5;2,5\n3,5;4,5\n", ["line 1, column 2 holds '5;2'", "decimal point"]),
    "tabs": ("a\tb\n1\t2\n", ["line 2, column 1 holds '1\\t2'", "commas"]),
    "underscores": ("1,2\n1_000,2\n", ["line 2, column 1 holds '1_000'"]),
    "comments": ("1,2\n# of May\n3,4\n", ["line 2, column 1 holds '# of May'"]),
    "a title": ("# of May\n1,2\n3,4\n", ["line 2 has 2 cell(s), but the first row has 1"]),
    "a quote that never ends": ('"1,2\n3,4\n', ["line 2, column 1 holds '1,2"]),
}


@pytest.mark.parametrize(("text", "words"), BAD_TABLES.values(), ids=BAD_TABLES)
def test_bad_tables(save, text, words):
    path = save("bad.csv", text)
    error = assert_error(ValueError, lambda: datasets.load(path), "bad.csv", *words)
    assert "\n" not in str(error)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
@pytest.mark.parametrize("text", ["é,b\n1,2\n", "a,b\n1,é\n"])
def test_text_in_another_encoding_is_refused(tmp_path, text, encoding):
    path = tmp_path / "bad.csv"
    path.write_bytes(text.encode(encoding))
    assert_error(ValueError, lambda: datasets.load(path), "bad.csv", "save it as UTF-8")


def test_what_follows_an_array_is_not_left_out_silently(save):
    path = save("bad.npy", probabilities(5, 2))
    with open(path, "ab") as file:
        np.save(file, probabilities(5, 2))
    assert_error(ValueError, lambda: datasets.load(path), "bad.npy", "bytes follow its array")


@pytest.mark.parametrize("content", [b"", b"junk", b"\x80\x04K\x01.", b"\x93NUMPY\x01\x00"])
@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_damaged_files(tmp_path, content, suffix):
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(content)
    error = assert_error(ValueError, lambda: datasets.load(path), f"bad{suffix}", "cannot be read")
    assert "pickle" not in str(error)


def test_truncated_files(save):
    for path in (save("a.npy", probabilities(50, 9)), save("a.npz", x=probabilities(50, 9))):
        path.write_bytes(path.read_bytes()[:-40])
        assert_error(ValueError, lambda p=path: datasets.load(p), "cannot be read")


def test_damaged_compression(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=probabilities(200, 9))
    content = bytearray(path.read_bytes())
    content[1000:1400] = bytes(400)
    path.write_bytes(content)
    assert_error(ValueError, lambda: datasets.load(path), "x.npz", "cannot be read")


def test_swapped_suffixes(save, tmp_path):
    path = save("a.npz", x=probabilities(5, 2)).rename(tmp_path / "b.npy")
    assert_error(ValueError, lambda: datasets.load(path), "b.npy", "content")
    path = save("c.npy", probabilities(5, 2)).rename(tmp_path / "d.npz")
    assert_error(ValueError, lambda: datasets.load(path), "d.npz", "content")


def test_file_errors(save, tmp_path):
    x = probabilities(20, 3)
    plain, pair = save("x.npy", x), save("x.npz", x=x, y=np.arange(19))
    cases = [
        (lambda: datasets.load(plain, labels=True), ["labels=True", "numpy.savez"]),
        (lambda: datasets.load(save("x.csv", "1,2\n"), labels=True), ["'label'"]),
        (lambda: datasets.load(pair, labels=True), ["(19,)", "20 examples"]),
        (lambda: datasets.load(save("y.npz", a=x, b=x)), ["a, b", "savez"]),
        (lambda: datasets.load(plain, "tset"), ["split='tset'", "'test'"]),
        (lambda: datasets.load(save("one.npy", x[:1]), "test"), ["empty", "all"]),
        (lambda: datasets.load(save("big.npy", x * 9), binarize=True), ["binarize", "[0, 1]"]),
        (lambda: datasets.load(plain, binarize=True, seed=1.5), ["seed", "1.5"]),
    ]
    for call, words in cases:
        assert_error(ValueError, call, *words)
    assert_error(FileNotFoundError, lambda: datasets.load(tmp_path / "no.npy"), "no.npy")
    (tmp_path / "notes.txt").touch()
    assert_error(ValueError, lambda: datasets.load(tmp_path / "notes.txt"), "notes.txt", ".npz")


# Folders of pictures


def draw_picture(path, height=4, width=6, channels=3, value=None, jpeg=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    random_pixels = np.random.RandomState(len(path.name)).randint(0, 256, (height, width, channels))
    pixels = random_pixels if value is None else np.full_like(random_pixels, value)
    encode = tf.io.encode_jpeg if jpeg else tf.io.encode_png
    tf.io.write_file(str(path), encode(pixels.astype("uint8")))
    return pixels


def test_folder_of_classes(tmp_path):
    for value in range(10):
        draw_picture(tmp_path / "a" / f"{value}.png", value=value)
        draw_picture(tmp_path / "b" / "deeper" / f"{value}.PNG", value=100 + value)
    (tmp_path / "a" / "notes.txt").touch()
    (tmp_path / "a" / "._0.png").touch()  # macOS leaves such files behind.
    (tmp_path / ".thumbnails").mkdir()
    (tmp_path / ".thumbnails" / "0.png").touch()
    x, label = datasets.as_array(tmp_path, "all", labels=True)
    assert x.shape == (20, 4, 6, 3) and x.dtype == np.float32 and label.dtype == np.int64
    np.testing.assert_array_equal(label, np.repeat([0, 1], 10))
    np.testing.assert_allclose(x[:, 0, 0, 0] * 255, [*range(10), *range(100, 110)], rtol=1e-5)
    assert assert_partition(lambda split: datasets.as_array(str(tmp_path), split)) == (18, 2)
    assert datasets.load(tmp_path, labels=True).cardinality() == 18


def test_folder_with_splits(tmp_path):
    for split, value in (("train", 1), ("train", 2), ("test", 3), ("validation", 4)):
        draw_picture(tmp_path / split / f"class{value}" / f"{value}.png", value=value)
    for split, values in (("train", [1, 2]), ("test", [3]), ("validation", [4])):
        x, label = datasets.as_array(tmp_path, split, labels=True)
        np.testing.assert_allclose(x[:, 0, 0, 0] * 255, values, rtol=1e-5)
        assert label.tolist() == list(range(len(values)))
    assert len(datasets.as_array(tmp_path, "all")) == 4
    assert_error(ValueError, lambda: datasets.load(tmp_path, "tes"), "'test'", "'validation'")


@pytest.mark.parametrize(("channels", "expected"), [(1, 1), (2, 1), (3, 3), (4, 3)])
def test_channels_without_transparency(tmp_path, channels, expected):
    pixels = draw_picture(tmp_path / "a.png", channels=channels)
    x = datasets.as_array(tmp_path, "all")[0]
    np.testing.assert_allclose(x, pixels[..., :expected] / 255, rtol=1e-6)


def test_jpeg_and_mixed_colors(tmp_path):
    draw_picture(tmp_path / "a.jpg", channels=1, value=100, jpeg=True)
    assert datasets.as_array(tmp_path, "all").shape == (1, 4, 6, 1)
    draw_picture(tmp_path / "b.jpeg", channels=3, value=100, jpeg=True)
    draw_picture(tmp_path / "c.jpg", channels=3, value=100)  # The content is a PNG.
    x = datasets.as_array(tmp_path, "all")
    np.testing.assert_allclose(x, np.full((3, 4, 6, 3), 100 / 255), atol=0.01)


def test_folder_errors(tmp_path):
    assert_error(ValueError, lambda: datasets.load(tmp_path), "no pictures", "*.png")
    for name in ("a", "c", "d"):
        draw_picture(tmp_path / f"{name}.png")
    assert_error(ValueError, lambda: datasets.load(tmp_path, labels=True), "a.png", "no class")
    draw_picture(tmp_path / "b.png", width=7)
    assert_error(
        ValueError, lambda: datasets.load(tmp_path, "all"), "b.png", "4 high and 7 wide", "6 wide"
    )
    (tmp_path / "b.png").write_bytes(b"no picture")
    assert_error(ValueError, lambda: datasets.load(tmp_path, "all"), "b.png", "neither")
    (tmp_path / "b.png").write_bytes(b"\xff\xd8\xff no picture")
    assert_error(ValueError, lambda: datasets.load(tmp_path, "all"), "b.png", "damaged")


# TensorFlow Datasets


@pytest.fixture(scope="module")
def prepare(tmp_path_factory):
    """A function that prepares a TFDS set with these examples, as `tfds build` would."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import tensorflow_datasets as tfds
    root = tmp_path_factory.mktemp("tfds")

    def prepare_set(name, examples, **features):
        features = tfds.features.FeaturesDict(features)
        stream = tf.data.Dataset.from_generator(
            lambda: iter(examples), output_signature=features.get_tensor_spec()
        )
        tfds.dataset_builders.store_as_tfds_dataset(
            name, "1.0.0", features, {"train": stream}, data_dir=root
        )
        return root

    prepare_set.features = tfds.features
    return prepare_set


def test_tfds_set_with_factors(prepare, monkeypatch):
    pixels = np.random.RandomState(0).randint(0, 256, (5, 4, 4, 3), "uint8")
    root = prepare(
        "factored",
        [{"image": x, "label_size": i, "label_hue": 10 + i} for i, x in enumerate(pixels)],
        image=prepare.features.Image(shape=(4, 4, 3)),
        label_size=prepare.features.ClassLabel(num_classes=5),
        label_hue=prepare.features.ClassLabel(num_classes=15),
    )
    x, label = datasets.as_array("factored", labels=True, data_dir=root)
    order = label[:, 1]  # TFDS shuffles once, when it prepares the set.
    np.testing.assert_allclose(x, pixels[order] / 255, rtol=1e-6)
    np.testing.assert_array_equal(label[:, 0], 10 + order)
    assert sorted(order) == list(range(5)) and label.dtype == np.int64
    assert len(datasets.as_array("factored", "train[:2]", data_dir=str(root))) == 2
    monkeypatch.setenv("TFDS_DATA_DIR", str(root))
    np.testing.assert_array_equal(datasets.as_array("factored"), x)
    for split in ("test", "train[:", "train[5:]"):
        assert_error(ValueError, lambda s=split: datasets.load("factored", s), split, "'train'")


def test_tfds_set_of_binary_pictures_is_not_blackened(prepare):
    pixels = np.random.RandomState(0).randint(0, 2, (6, 4, 4, 1), "uint8")
    image = prepare.features.Image(shape=(4, 4, 1))
    root = prepare("binary", [{"image": x} for x in pixels], image=image)
    x = datasets.as_array("binary", data_dir=root)
    np.testing.assert_array_equal(sorted(map(np.sum, x)), sorted(map(np.sum, pixels)))
    assert x.max() == 1
    assert_error(
        ValueError,
        lambda: datasets.load("binary", labels=True, data_dir=root),
        "labels=True",
        "'binary'",
        "image",
    )


def test_tfds_sizes_that_differ(prepare):
    pictures = [{"image": np.full((size, 4, 1), 255, "uint8"), "label": 1} for size in (3, 5)]
    image = prepare.features.Image(shape=(None, None, 1))
    label = prepare.features.ClassLabel(num_classes=2)
    root = prepare("unequal", pictures, image=image, label=label)
    heights = [
        x.shape[0] for x, _ in elements(datasets.load("unequal", labels=True, data_dir=root))
    ]
    assert sorted(heights) == [3, 5]
    assert_error(
        ValueError, lambda: datasets.as_array("unequal", data_dir=root), "differ", "resize"
    )


def test_tfds_set_without_pictures(prepare):
    root = prepare("words", [{"text": "a"}], text=prepare.features.Text())
    assert_error(ValueError, lambda: datasets.load("words", data_dir=root), "'words'", "text")


@pytest.mark.parametrize("by", ["data_dir", "environment"])
def test_tfds_set_out_of_reach(tmp_path, monkeypatch, by):
    def no_network(request, timeout):
        assert timeout <= 10
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / ("elsewhere" if by == "data_dir" else "")))
    data_dir = tmp_path if by == "data_dir" else None
    start = time.monotonic()
    error = assert_error(
        FileNotFoundError,
        lambda: datasets.load("fashion_mnist", data_dir=data_dir),
        "'fashion_mnist'",
        f"not prepared in {tmp_path} and",
        "Name or service not known",
        "TFDS_DATA_DIR",
        "tfds build",
    )
    assert len(str(error).splitlines()) <= 3
    assert time.monotonic() - start < 5
    assert not list(tmp_path.iterdir())


def test_tfds_set_to_be_fetched_by_hand(tmp_path, monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: open(os.devnull))
    assert_error(
        FileNotFoundError,
        lambda: datasets.load("celeb_a_hq", data_dir=tmp_path),
        "manual",
        "celeb_a_hq",
    )


def test_tfds_configuration_and_version_errors(tmp_path):
    for name in ("mnist/unheard_of", "mnist:9.9.9"):
        assert_error(ValueError, lambda n=name: datasets.load(n, data_dir=tmp_path), name)


def _mnist():
    return Path(os.environ.get("TFDS_DATA_DIR", "")) / "mnist"


@pytest.mark.skipif(
    not os.environ.get("TFDS_DATA_DIR") or not _mnist().is_dir(),
    reason="TFDS_DATA_DIR names no folder that holds a prepared MNIST",
)
def test_real_mnist():
    x, label = datasets.as_array("mnist", "test", labels=True)
    assert x.shape == (10_000, 28, 28, 1) and x.dtype == np.float32
    assert np.bincount(label).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert x.min() == 0 and x.max() == 1
    # Many publications print this mean of MNIST.
    assert x.mean() == pytest.approx(0.1325, abs=1e-4)
    assert datasets.load("mnist").cardinality() == 60_000
    np.testing.assert_array_equal(datasets.as_array("small_mnist", "test"), x[:2000])
    drawn = datasets.as_array("mnist", "test[:1000]", binarize=True, seed=0)
    assert set(np.unique(drawn)) == {0.0, 1.0}
    assert drawn.mean() == pytest.approx(x[:1000].mean(), abs=2e-3)


# Names


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("digit", "'digits'"),
        ("sprite", "'sprites'"),
        ("mnst", "'mnist'"),
        ("MNIST", "'mnist'"),
        ("fashion-mnist", "'fashion_mnist'"),
        ("cifar", "'cifar10'"),
        ("", "''"),
        ("no such thing at all", "is unknown. Pass"),
    ],
)
def test_unknown_names(name, match):
    error = assert_error(ValueError, lambda: datasets.load(name), f"name={name!r}", match, ".npz")
    assert len(str(error)) < 300


def test_names_of_the_wrong_type():
    assert_error(TypeError, lambda: datasets.load(3), "name", "3")
    assert_error(TypeError, lambda: datasets.load("mnist", None), "split", "None")
    assert_error(ValueError, lambda: datasets.load("digits", "tests"), "'tests'", "'test'")


def test_relative_folders_and_tfds_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw_picture(tmp_path / "my_pictures" / "a.png")
    draw_picture(tmp_path / "mnist" / "a.png")
    for name in ("my_pictures", "./mnist", os.path.join("mnist", "")):
        assert datasets.as_array(name, "all").shape == (1, 4, 6, 3)


def assert_error(kind, call, *words):
    with pytest.raises(kind) as caught:
        call()
    assert caught.type is kind
    for word in words:
        assert word in str(caught.value)
    return caught.value
