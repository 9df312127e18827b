"""Check a `.keras` file before Keras reads it.

Keras' own file is a ZIP archive of `config.json`, `metadata.json` and `model.weights.h5`. Checksums
in the archive show whether bytes changed. What the archive declares, such as sizes, may be false.
"""

import json
import lzma
import struct
import zipfile
import zlib

import h5py

from keras_ae.core import memory

WEIGHTS = "model.weights.h5"
_FRESH = "Get a fresh copy."
# A model takes more memory than its file: the optimizer keeps several numbers for each weight, and
# quantized weights are made before they are quantized.
_TIMES, _AT_LEAST = 16, 2**28
# Python takes this many times as many bytes for JSON as its text has.
_TIMES_OF_TEXT = 16
_LONGEST_TEXT = 2**24


def limit_of(file):
    """Return how many bytes of memory a model may take by default, for the size of its file."""
    return _AT_LEAST + _TIMES * file.stat().st_size


def read(file, max_bytes):
    """Check a `.keras` file, and return its configuration.

    Args:
        file: `pathlib.Path` of the file.
        max_bytes: Most bytes of memory that its parts may take.

    Returns:
        The configuration, a dictionary, and whether the file holds the state of an optimizer.

    Raises:
        ValueError: If the file is damaged, is no `.keras` file, or would take more memory.
    """
    # Keras would read a file of another name in another way than the checks below.
    if file.suffix != ".keras" or not file.is_file():
        raise Refusal(
            f"load: {file} is neither a folder that export wrote, nor a file whose name ends in "
            ".keras. Rename it if save wrote it."
        )
    with open(file, "rb") as opened:
        try:
            with zipfile.ZipFile(opened) as archive:
                _check_parts(archive, file, max_bytes)
                damaged = archive.testzip()
                if damaged is not None:
                    raise zipfile.BadZipFile(f"{damaged[:100]!r} in it is damaged")
                config = parse(archive.read("config.json"), f"the configuration in {file}")
                return config, _check_weights(archive, file, max_bytes)
        except Refusal:
            raise
        except _UNREADABLE as error:
            reason = str(error).partition("\n")[0][:200] or type(error).__name__
            raise Refusal(
                f"load: {file} is not a complete .keras file ({reason}). A part is missing or "
                f"damaged, or it is another kind of file. {_FRESH}"
            ) from None


class Refusal(ValueError):
    """An error that says in one line why a file is not loaded."""


# These are the errors of the packages `zipfile` and `h5py` about archives and weights.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def parse(text, what):
    """Return the dictionary in a JSON text.

    Args:
        text: Bytes or a string.
        what: What the text is, for errors.

    Raises:
        ValueError: If it is not JSON, too deeply nested, or not a dictionary.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = str(error)[:200]
        raise Refusal(f"load: {what} is not valid JSON ({reason}). {_FRESH}") from None
    if not isinstance(found, dict):
        raise Refusal(
            f"load: {what} is a JSON {type(found).__name__} and not a dictionary. {_FRESH}"
        )
    return found


def read_json(file):
    """Return the dictionary in a small JSON file, such as a card.

    Raises:
        ValueError: If it is not JSON, not a dictionary, or larger than 16 MB.
    """
    if file.stat().st_size > _LONGEST_TEXT:
        raise Refusal(f"load: {file} is larger than {_LONGEST_TEXT / 1e6:.0f} MB. {_FRESH}")
    return parse(file.read_bytes(), str(file))


def _check_parts(archive, file, max_bytes):
    """Raise an error if the archive is not one that Keras writes, or declares too large parts."""
    parts = archive.infolist()
    names = [part.filename for part in parts]
    for name in ("config.json", WEIGHTS):
        if names.count(name) != 1:
            raise zipfile.BadZipFile(f"it holds {names.count(name) or 'no'} {name}")
    if min(part.header_offset for part in parts) != 0:
        raise zipfile.BadZipFile("other data comes before the archive")
    size = sum(part.file_size for part in parts)
    size += (_TIMES_OF_TEXT - 1) * archive.getinfo("config.json").file_size
    refuse_beyond(size, f"the parts of {file}", max_bytes)


def _check_weights(archive, file, max_bytes):
    """Check the sizes of the weights. Return whether an optimizer's state is among them.

    Before training, the state of an optimizer consists of scalars.
    """
    size, trained = 0, False

    def visit(name, item):
        nonlocal size, trained
        if isinstance(item, h5py.Dataset):
            size += item.size * item.dtype.itemsize if item.size else 0
            trained |= bool(item.shape) and name.startswith("optimizer/")

    with archive.open(WEIGHTS) as opened, h5py.File(opened) as weights:
        weights.visititems(visit)
    refuse_beyond(size, f"the weights in {file}", max_bytes)
    return trained


def refuse_beyond(size, what, max_bytes):
    """Raise an error if something takes more than the bytes that `load` allows."""
    if size > max_bytes:
        raise Refusal(
            f"load: {what} would take {size / 1e9:,.1f} GB of memory, more than the "
            f"{max_bytes / 1e9:,.1f} GB that are allowed for a file of this size. If you trust the "
            "file, pass a larger max_bytes."
        )


def checked_weights(file, max_bytes):
    """The context in which weights may take as many bytes as `load` allows."""
    remedy = "If you trust the file, pass a larger max_bytes to load."
    return memory.checked_weights(f"load: {file}", remedy, most=max_bytes)
