"""A user's own data: a folder of pictures, or an .npy, .npz or .csv file."""

import collections
import csv
import math
import os
import re
import struct
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

from keras_ae.core import memory
from keras_ae.datasets.streams import check_split, split_rows, stream_rows

ARRAY_SUFFIXES = (".npy", ".npz", ".csv")
_PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
IN_PARTS = "Pass what `datasets.load` gives to `fit`, which reads it in parts."
_TEST_SHARE = 10  # One row in ten is a test row, and at least one if there are two rows or more.
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_SIGNATURE = b"\xff\xd8\xff"
_ZIP_SIGNATURE = b"PK"
# What NumPy and the zip and csv modules raise. The header of an .npy file is a Python literal, so
# one that was cut off is an error of Python's tokenizer.
_UNREADABLE = (
    ValueError,
    EOFError,
    OverflowError,
    csv.Error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
_LARGEST = float(np.finfo("float32").max)
_NO_NAMES = ("", "na", "nan", "nat", "null", "nil", "none", "missing", "true", "false")
_NUMBER_WITH_SIGNS = re.compile(r"[\W_]*\d")


def make_path_dataset(path, split, labels, binarize, whole=False):
    """Make the dataset of a folder or file. `load` documents how each is read.

    `whole` says that the caller will hold the whole split in memory. A split of an array that does
    not fit is then refused before it is read.
    """
    if path.is_dir():
        return _make_picture_dataset(path, split, labels)
    if not path.exists():
        raise FileNotFoundError(
            f"datasets.load: name={str(path)!r} does not exist: there is no {path.absolute()}. "
            "Pass the path of a folder or file."
        )
    if path.suffix.lower() not in ARRAY_SUFFIXES:
        raise ValueError(
            f"datasets.load: name={str(path)!r} cannot be read. Pass a folder of PNG or JPEG "
            f"pictures or a file that ends in {', '.join(ARRAY_SUFFIXES)}."
        )
    return _make_array_dataset(path, split, labels, binarize, whole)


# Arrays


def _make_array_dataset(path, split, labels, binarize, whole):
    import tensorflow as tf

    argument = f"name={str(path)!r}"
    x, y = _read_arrays(path, argument)
    _check_examples(x, argument)
    num_test = _count_test(len(x))
    if whole:
        rows = {"train": len(x) - num_test, "test": num_test}.get(split, len(x))
        memory.refuse_beyond(
            4.0 * rows * math.prod(x.shape[1:]),
            f"datasets.as_array: {rows} examples of {argument}, {x.shape[1:]} each,",
            IN_PARTS,
        )
    rows = split_rows(len(x), num_test, split, argument)
    low, high = _find_finite_range(x, argument)
    if binarize and x.dtype != np.uint8 and not 0 <= low <= high <= 1:
        raise ValueError(
            f"datasets.load: binarize=True takes values as probabilities, but those of {argument} "
            f"run from {low:g} to {high:g}. Scale them to [0, 1], or leave binarize out."
        )
    # Binary pictures are often stored as 0 and 1 in uint8. Divided by 255 they would be black.
    scale = np.float32(255 if x.dtype == np.uint8 and high > 1 else 1)
    # Data of these types is pictures, and a picture needs a channel axis.
    add_channel = x.dtype in (np.uint8, np.bool_) and x.ndim == 3
    shape = (*x.shape[1:], 1) if add_channel else x.shape[1:]
    specs = [tf.TensorSpec(shape, tf.float32)]
    if labels:
        y = _check_labels(y, len(x), path, argument)
        specs.append(tf.TensorSpec(y.shape[1:], tf.as_dtype(y.dtype)))

    def read(block):
        examples = (x[block].astype("float32") / scale).reshape(-1, *shape)
        return (examples, y[block]) if labels else (examples,)

    return stream_rows(rows, read, *specs)


def _read_arrays(path, argument):
    """Read examples and labels, which are None if the file has none."""
    read = {".npy": _read_npy, ".npz": _read_npz, ".csv": _read_csv}[path.suffix.lower()]
    try:
        return read(path)
    except _UNREADABLE as error:
        raise ValueError(f"datasets.load: {argument} cannot be read: {error}") from error


def _read_npy(path):
    _check_signature(path, np.lib.format.MAGIC_PREFIX)
    memory.refuse_beyond(
        path.stat().st_size,
        "its array, which is mapped into the process' address space,",
        "Raise the limit of the address space (`ulimit -v`), or split the file.",
        memory.address_space(),
    )
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    rest = path.stat().st_size - array.offset - array.nbytes
    if rest:
        raise ValueError(
            f"{rest} bytes follow its array; save one array in a file, or several as keys of an "
            ".npz"
        )
    return array, None


def _read_npz(path):
    _check_signature(path, _ZIP_SIGNATURE)
    # The file is opened here, because np.load would leave the file of a broken archive open.
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
        keys = [key for key in archive.files if key != "y"]
        key = "x" if "x" in keys else keys[0] if len(keys) == 1 else None
        if key is None:
            raise ValueError(
                f"it has the keys {', '.join(archive.files) or '(none)'}; save the examples as 'x' "
                "(and labels as 'y'): numpy.savez(path, x=x, y=y)"
            )
        sizes = {
            info.filename.removesuffix(".npy"): info.file_size for info in archive.zip.infolist()
        }
        memory.refuse_beyond(
            float(sizes[key]),
            f"its array {key!r}, which is compressed or one of several,",
            "Save it by itself as an .npy file, which is read in parts.",
        )
        x, y = archive[key], archive["y"] if "y" in archive.files else None
        for name, array in {key: x, "y": y}.items():
            if isinstance(array, bytes):  # NumPy returns members that are no .npy files as bytes.
                raise ValueError(
                    f"its member {name!r} is not an array; save it with numpy.savez(path, x=x, y=y)"
                )
        return x, y


def _check_signature(path, signature):
    # np.load tells .npy from .npz by the content, whatever the suffix, and advises to unpickle
    # anything else.
    with open(path, "rb") as file:
        if file.read(len(signature)) != signature:
            raise ValueError(f"its content is not that of an {path.suffix.lower()} file")


def _read_csv(path):
    try:
        names, skipped = _read_header(path)
        width, label = len(names), _find_label(names)
        try:
            table = np.loadtxt(
                path,
                delimiter=",",
                quotechar='"',
                comments=None,
                skiprows=skipped,
                encoding="utf-8-sig",
                ndmin=2,
            )
        except UnicodeDecodeError:
            raise
        except ValueError as error:
            raise ValueError(_describe_bad_line(path, skipped, width, label) or error) from None
        x = table if label is None else np.delete(table, label, axis=1)
        right = width in (0, table.shape[1])
        if x.size:  # If x holds NaN, its minimum is NaN, and the comparison is False.
            right = right and -_LARGEST <= x.min() and x.max() <= _LARGEST
        if not right:
            raise ValueError(_describe_bad_line(path, skipped, width, label))
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 text ({error}); save it as UTF-8") from None
    return x, None if label is None else table[:, label]


def _find_label(names):
    """Return the place of the column of labels, or None if there is none."""
    lower = [name.lower() for name in names]
    return lower.index("label") if "label" in lower else None


def read_column_names(path):
    """Return the names of the columns of a .csv file but its labels, or None without a header."""
    names, _ = _read_header(path)
    label = _find_label(names)
    return [name for place, name in enumerate(names) if place != label] or None


def _read_header(path):
    """Read the names of the columns, and count the lines of the header.

    Without a header, the names are () and the count is 0. The first row is a header if none of its
    cells is empty or a number. There are two exceptions. A row in which every cell has a digit
    before any letter is not a header, because such cells are numbers with a unit, quotes or
    separators. A row of only marks of missing numbers, such as "NaN", is not a header, either.
    """
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        first = next((row for row in reader if row), ())
        cells = [cell.strip() for cell in first]
        if (
            any(not cell or _parse_number(cell) is not None for cell in cells)
            or all(re.sub(r"[\W_]", "", cell).lower() in _NO_NAMES for cell in cells)
            or all(_NUMBER_WITH_SIGNS.match(cell) for cell in cells)
        ):
            names, skipped = (), 0
        else:
            names, skipped = tuple(cells), reader.line_num
        if not first or (names and not any(line.strip() for line in file)):
            raise ValueError("it holds no rows of numbers")
    if [name.lower() for name in names].count("label") > 1:
        raise ValueError("its header names more than one column 'label'; rename all but one")
    return names, skipped


def _describe_bad_line(path, skipped, width, label):
    """Describe the first line that does not hold numbers. Return None if all of them do."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        for row in reader:
            line = reader.line_num
            if line <= skipped or not row:
                continue
            first, width = not width, width or len(row)
            cells = list(enumerate(row, 1))
            if first:  # An empty cell is reported first, because it may be missing in a header.
                cells.sort(key=lambda cell: bool(cell[1].strip()))
            for column, cell in cells:
                number = _parse_number(cell)
                if number is not None and (column - 1 == label or abs(number) <= _LARGEST):
                    continue
                kind = "number" if number is None else "finite float32 number"
                problem = f"holds {cell!r}, which is not a {kind}" if cell.strip() else "is empty"
                return (
                    f"line {line}, column {column} {problem}; {_suggest_remedy(row, cell, first)}"
                )
            if len(row) != width:
                return (
                    f"line {line} has {len(row)} cell(s), but the first row has {width}; write the "
                    "same number of columns in every line"
                )
    return None


def _suggest_remedy(row, cell, first):
    if any(separator in cell for separator in ";\t"):
        return "separate cells by commas, and write numbers with a decimal point"
    if first and len(row) > 1:
        return (
            "fill it or remove the row; or, if this row is the header, give every column a name "
            "that is not a number"
        )
    if first:
        return "write a plain number, such as 1234.5; or, if it is a name, choose a word"
    return "write a plain number, such as 1234.5, or remove the line"


def _parse_number(cell):
    """Parse the number in a cell, or return None.

    Python's `float` accepts 1_000 and ٣, but `numpy.loadtxt` does not.
    """
    try:
        return float(cell) if cell.isascii() and "_" not in cell else None
    except ValueError:
        return None


def _check_examples(x, argument):
    if x.dtype.kind not in "biuf":
        raise ValueError(
            f"datasets.load: {argument} holds dtype {x.dtype}. Save real numbers, such as float32."
        )
    if x.ndim < 2 or 0 in x.shape:
        raise ValueError(
            f"datasets.load: {argument} holds an array of shape {x.shape}. Save an array of shape "
            "(examples, ...) with at least two axes, none of them empty."
        )


def _find_finite_range(x, argument):
    """Find the smallest and largest value, reading a few megabytes at a time.

    Raises:
        ValueError: If there is NaN, infinity or a number beyond float32.
    """
    low, high = np.inf, -np.inf
    step = max(2**20 // max(x[0].size, 1), 1)
    for start in range(0, len(x), step):
        with np.errstate(over="ignore"):
            block = x[start : start + step].astype("float32")
        finite = np.isfinite(block).reshape(len(block), -1).all(axis=1)
        if not finite.all():
            raise ValueError(
                f"datasets.load: {argument} holds NaN, infinity or a number beyond float32, first "
                f"in row {start + int(np.argmin(finite))} (counted from 0). Remove or fill it."
            )
        low, high = min(low, block.min()), max(high, block.max())
    return low, high


def _check_labels(y, count, path, argument):
    if y is None:
        remedy = {
            ".npy": "an .npy holds none; use numpy.savez(path, x=x, y=y)",
            ".npz": "it has no key 'y'; use numpy.savez(path, x=x, y=y)",
            ".csv": "no column of its header row is called 'label'",
        }[path.suffix.lower()]
        raise ValueError(f"datasets.load: labels=True, but {argument} has no labels: {remedy}.")
    if y.dtype.kind not in "biuf" or y.ndim == 0 or len(y) != count:
        raise ValueError(
            f"datasets.load: the labels of {argument} have dtype {y.dtype} and shape {y.shape}. "
            f"Save numbers, one for each of the {count} examples."
        )
    if not np.isfinite(y).all():
        raise ValueError(
            f"datasets.load: the labels of {argument} hold NaN or infinity. Remove or fill them."
        )
    with np.errstate(invalid="ignore", over="ignore"):
        whole, real = y.astype("int64"), y.astype("float32")
    return whole if np.array_equal(whole, y) else real


# Pictures


def _make_picture_dataset(folder, split, labels):
    import tensorflow as tf

    argument = f"name={str(folder)!r}"
    files, classes = _select_pictures(folder, split, argument)
    if labels and None in classes:
        raise ValueError(
            f"datasets.load: labels=True, but {files[classes.index(None)]} belongs to no class. "
            "Put the pictures of each class into a subfolder of its own."
        )
    height, width, channels = _read_common_size(files)

    def decode(path):
        # The content tells the format, because many a .jpg file is a PNG.
        picture = tf.io.decode_image(tf.io.read_file(path), channels, expand_animations=False)
        picture = tf.ensure_shape(picture, (height, width, channels))
        return tf.cast(picture, tf.float32) / 255

    paths = tf.data.Dataset.from_tensor_slices([str(file) for file in files])
    pictures = paths.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    if not labels:
        return pictures
    numbers = {name: number for number, name in enumerate(sorted(set(classes)))}
    numbers = np.array([numbers[name] for name in classes], "int64")
    return tf.data.Dataset.zip((pictures, tf.data.Dataset.from_tensor_slices(numbers)))


def _select_pictures(folder, split, argument):
    """List the paths of the split's pictures and their classes, None outside any subfolder."""
    files = sorted(
        path
        for path in list_files(folder)
        if path.suffix.lower() in _PICTURE_SUFFIXES and path.is_file()
    )
    if not files:
        raise ValueError(
            f"datasets.load: {argument} holds no pictures. Put files that are called "
            f"{', '.join('*' + suffix for suffix in _PICTURE_SUFFIXES)} into {folder.absolute()}."
        )
    places = [file.relative_to(folder).parts[:-1] for file in files]
    top = {place[0] for place in places if place}
    if {"train", "test"} <= top:
        check_split(split, (*sorted(top), "all"), argument)
        chosen = [i for i, place in enumerate(places) if place and split in (place[0], "all")]
        places = [place[1:] for place in places]
    else:
        chosen = split_rows(len(files), _count_test(len(files)), split, argument)
    return [files[i] for i in chosen], [places[i][0] if places[i] else None for i in chosen]


def list_files(folder):
    """Iterate over the paths of all files in a folder and its subfolders, except hidden ones.

    A subfolder that cannot be read is an error. `Path.rglob` would leave its files out.
    """

    def fail(error):
        raise error

    for place, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(place, name) for name in names if not name.startswith("."))


def _read_common_size(files):
    """Read height, width and channels (1 if all are gray, else 3) from the headers alone."""
    sizes = [_read_picture_size(file) for file in files]
    common, _ = collections.Counter(size[:2] for size in sizes).most_common(1)[0]
    for file, (height, width, _) in zip(files, sizes, strict=True):
        if (height, width) != common:
            raise ValueError(
                f"datasets.load: pictures must have one size, but {file} is {height} high and "
                f"{width} wide, and most are {common[0]} high and {common[1]} wide. Resize or "
                "remove it."
            )
    return *common, 1 if all(gray for *_, gray in sizes) else 3


def _read_picture_size(file):
    """Read height, width and whether the picture is gray."""
    import tensorflow as tf

    with open(file, "rb") as stream:
        head = stream.read(26)
    if head.startswith(_PNG_SIGNATURE) and len(head) == 26:
        # The header chunk comes first: width, height, bit depth, color type (0 and 4 are gray).
        width, height, _, color = struct.unpack(">IIBB", head[16:26])
        return height, width, color in (0, 4)
    if head.startswith(_JPEG_SIGNATURE):
        try:
            shape = tf.io.extract_jpeg_shape(tf.io.read_file(os.fspath(file)))
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(f"datasets.load: {file} is a damaged JPEG file. Remove it.") from error
        height, width, channels = map(int, shape)
        return height, width, channels == 1
    raise ValueError(f"datasets.load: {file} is neither a PNG nor a JPEG file. Remove it.")


def _count_test(count):
    return max(count // _TEST_SHARE, 1) if count > 1 else 0


def as_path(name):
    """Make a path of `name`, with ~ expanded."""
    return Path(name).expanduser()
