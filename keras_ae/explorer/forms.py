"""How data is drawn, and how arrays travel to the page and back.

An array travels as the base64 text of its bytes, with its dtype and shape. A part of a picture is
one byte, and everything else float32.
"""

import base64

import numpy as np

from keras_ae.core import arguments
from keras_ae.datasets.columns import decode_columns, is_frame

_MOST_LINES = 8  # A series of more features is drawn as a picture.
_MOST_CELLS = 64  # Columns of a table, or words of a topic.
_CHANNELS = (1, 3, 4)
_BYTES = ("picture", "frames")


class Form:
    """How an array of examples is drawn.

    Args:
        shape: Shape of one example.
        x: Array of some examples, from which the lowest and the highest drawn value are found.
            Defaults to None: 0 and 1.
        support: The lowest and the highest value that the data can have, or None.
        rate: Samples per second of sound. Defaults to None: the data is no sound.
        names: List of one text for each feature, word or token. Defaults to None.
        has_tokens: Whether the data are sentences of integers. Defaults to False.
        has_counts: Whether the data are counts, most of which are 0. Defaults to False.
        columns: What `keras_ae.datasets.describe_columns` returns for a table. Defaults to None.

    Attributes:
        kind: "picture", "frames", "series", "wave", "vector", "counts", "tokens" or "table".
    """

    def __init__(
        self,
        shape,
        x=None,
        support=None,
        *,
        rate=None,
        names=None,
        has_tokens=False,
        has_counts=False,
        columns=None,
    ):
        self.shape, self.rate, self.columns = tuple(shape), rate, columns
        if columns is not None:
            names = [column["name"] for column in columns]
        self.names = None if names is None else list(map(str, names))
        self.kind = self._find_kind(has_tokens, has_counts)
        self.low, self.high = _find_limits(x, support, self.kind)

    def _find_kind(self, has_tokens, has_counts):
        shape = self.shape
        if self.columns is not None:
            return "table"
        if has_tokens:
            return "tokens"
        if self.rate is not None and (len(shape) == 1 or shape[1:] == (1,)):
            return "wave"
        if len(shape) == 1:
            return "counts" if has_counts else "vector"
        if len(shape) == 2:
            return "series" if shape[1] <= _MOST_LINES else "picture"
        if shape[-1] in _CHANNELS and len(shape) in (3, 4):
            return "picture" if len(shape) == 3 else "frames"
        return "vector"

    def describe(self):
        """Return what the page must know, as JSON values."""
        return {
            "kind": self.kind,
            "shape": [int(size) for size in self.shape if size is not None],
            "low": self.low,
            "high": self.high,
            "rate": self.rate,
            "names": self.names,
        }

    def pack(self, values):
        """Return an array, or a DataFrame, of examples as JSON values."""
        if self.columns is not None and not is_frame(values):
            values = decode_columns(np.asarray(values), self.columns)
        if is_frame(values):
            rows = values.astype(object).where(values.notna(), None).to_numpy().tolist()
            return {"cells": [[_show_cell(cell) for cell in row] for row in rows]}
        values = np.asarray(values, "float32")
        if self.kind in _BYTES:
            scaled = (values - self.low) / max(self.high - self.low, 1e-12)
            values = np.round(255.0 * np.clip(np.nan_to_num(scaled), 0.0, 1.0)).astype("uint8")
        return pack(values)

    def unpack(self, values, name="values"):
        """Return the numbers of one example, which the page sent, as an array with a batch axis.

        Raises:
            TypeError: If they are no list of numbers.
            ValueError: If there are too few or too many of them.
        """
        array = read_numbers(values, name).astype("float32")
        free = self.shape.count(None)
        wanted = int(np.prod([size or 1 for size in self.shape]))
        if (array.size != wanted and not free) or array.size % wanted or free > 1:
            raise ValueError(
                f"{name} has {array.size} numbers, and an example has {wanted}. Pass all numbers "
                "of one example in one list."
            )
        return array.reshape(1, *(-1 if size is None else size for size in self.shape))


def take(x, stop, start=0):
    """Return some examples of an array, a sparse matrix, a DataFrame, or a dictionary of arrays."""
    if isinstance(x, dict):
        return {name: take(value, stop, start) for name, value in x.items()}
    if is_frame(x):
        return x.iloc[start:stop]
    part = x[start:stop]
    return np.asarray(part.toarray() if hasattr(part, "toarray") else part)


def to_array(model, x):
    """Return examples as an array, in which tables have a number for each cell."""
    if not is_frame(x):
        return x
    x = model._encode_frame(x) if hasattr(model, "_encode_frame") else x
    return np.asarray(x, "float32")


def pack(array):
    """Return an array as JSON values, which `unpackArray` of the page reads."""
    array = np.ascontiguousarray(array)
    if array.dtype != np.uint8:
        array = array.astype("int32" if array.dtype.kind in "iu" else "float32")
    return {
        "dtype": str(array.dtype),
        "shape": list(array.shape),
        "data": base64.b64encode(array.tobytes()).decode(),
    }


def read_numbers(values, name):
    """Return a list of finite numbers from JSON, nested or not, as an array."""
    if not isinstance(values, list) or not values:
        raise TypeError(f"{name} must be a list of numbers.")
    try:
        array = np.array(values)
    except ValueError:
        raise ValueError(
            f"{name} has lists of different lengths. Make them equally long."
        ) from None
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name} must hold numbers only.")
    if not np.abs(array).max() <= arguments.LARGEST:
        raise ValueError(f"{name} has numbers that float32 cannot hold. Pass smaller ones.")
    return array


def _find_limits(x, support, kind):
    """Return the values that are drawn as black and as white, or at the edges of a curve."""
    if support is not None:
        low, high = support
        if np.isfinite(low) and np.isfinite(high):
            return float(low), float(high)
    if x is None:
        return 0.0, 1.0
    x = np.asarray(x, "float32")
    x = x[np.isfinite(x)]
    if not x.size:
        return 0.0, 1.0
    low, high = float(x.min()), float(x.max())
    if kind in _BYTES and low >= 0.0 and high <= 1.0:
        return 0.0, 1.0
    if kind not in _BYTES:  # A few outliers would make all curves flat. Theirs are drawn higher.
        low, high = map(float, np.percentile(x, (2, 98)))
    return low, high if high > low else low + 1.0


def _show_cell(cell):
    if cell is None or isinstance(cell, (bool, int, str)):
        return cell
    if isinstance(cell, float):
        return float(f"{cell:.4g}") if np.isfinite(cell) else None
    return str(cell)


def draw(name, found, form):
    """Return what a method of `explorer_views` returned as a list of figures in JSON.

    Args:
        name: Text above the figure.
        found: Text; an array of one row; a list of lists of texts, the rows of a table; or a
            dictionary of these.
        form: `Form` of the data.
    """
    if isinstance(found, dict):
        return [figure for key, value in found.items() for figure in draw(str(key), value, form)]
    if isinstance(found, str):
        return [{"kind": "text", "name": name, "text": found}]
    if is_frame(found):
        rows = [list(map(str, found.columns)), *found.astype(object).to_numpy().tolist()]
        return [{"kind": "table", "name": name, "rows": [[str(c) for c in row] for row in rows]}]
    if isinstance(found, list):
        return [{"kind": "table", "name": name, "rows": [[str(c) for c in row] for row in found]}]
    found = np.asarray(found, "float32")
    shape = found.shape[1:]
    if shape == form.shape and form.kind != "vector":
        return [{"kind": "data", "name": name, "form": form.describe(), "values": form.pack(found)}]
    own = Form(shape or (1,), found)
    if own.kind == "vector":
        names = form.names if form.names and shape == form.shape else None
        return [_draw_bars(name, found.ravel(), names)]
    return [{"kind": "data", "name": name, "form": own.describe(), "values": own.pack(found)}]


def draw_shares(shares, form):
    """Return the shares of the features of one example in its score as figures in JSON.

    Args:
        shares: Array of shape (1, ...), of numbers that add up to 1.
        form: `Form` of the data.
    """
    name = "share in the score"
    if form.kind != "picture" or form.shape[2:] not in ((1,), (3,), (4,)):
        own = Form(form.shape, shares, names=form.names)
        return draw(name, shares, own)
    heat = shares.sum(axis=-1, keepdims=True)
    own = Form(heat.shape[1:], support=(0.0, max(float(heat.max()), 1e-12)))
    figure = {"form": {**own.describe(), "heat": True}, "values": own.pack(heat)}
    return [{"kind": "data", "name": name, **figure}]


def _draw_bars(name, values, names):
    """Return the bars of the largest values, in their own order."""
    values = np.nan_to_num(values.astype("float64"))
    kept = np.sort(np.argsort(-np.abs(values), kind="stable")[:_MOST_CELLS])
    return {
        "kind": "bars",
        "name": name,
        "names": [names[i] if names else str(i) for i in kept],
        "values": [float(f"{values[i]:.6g}") for i in kept],
    }
