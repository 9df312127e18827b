"""Tables with columns of different kinds as arrays of numbers, and back."""

import datetime
import decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_ae.core import arguments
from keras_ae.core.ranges import loses_digits
from keras_ae.core.types import Array

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("numeric", "positive", "count", "ordinal", "categorical", "binary")
DISCRETE = ("ordinal", "categorical", "binary")
_SHOWN = 5  # At most so many names or values are shown in an error.


def describe_columns(
    frame: "pd.DataFrame", kinds: dict[str, str] | None = None
) -> list[dict[str, Any]]:
    """Describe the columns of a table, as models of tables need it.

    The kind of a column follows from its type: columns of two truth values, texts or integers are
    "binary"; text and unordered categories "categorical"; ordered categories "ordinal";
    unsigned integers "count"; all other numbers "numeric". Missing cells do not count, and a column
    of integers that has any, which pandas makes floats, is binary if it holds 0 and 1. Categories
    that are neither numbers nor text, such as intervals, become their text.

    Args:
        frame: `pandas.DataFrame` with at least one row.
        kinds: Dictionary of the name of a column -> its kind, for columns whose type does not tell
            it: "numeric", "positive" (numbers above 0), "count" (integers of at least 0),
            "ordinal" (numbers or ordered categories), "categorical" or "binary". Defaults to None.

    Returns:
        List with a dictionary for each column, which JSON can hold: "name", "kind" and "dtype"; the
        "categories" of a discrete column, in their order; and of others the "center" and "scale",
        the mean and the deviation of the numbers (of their logarithms, if they are positive), and
        whether they are all "integer".

    Raises:
        TypeError: If frame is no DataFrame, or a column holds times.
        ValueError: If a column is empty, or does not fit the kind given for it.

    Example:

        >>> import pandas as pd
        >>> from keras_ae import datasets
        >>> frame = pd.DataFrame({"age": [31.5, 40.0, None], "city": ["Rome", "Bern", "Rome"]})
        >>> columns = datasets.describe_columns(frame, kinds={"city": "categorical"})
        >>> [column["kind"] for column in columns], columns[1]["categories"]
        (['numeric', 'categorical'], ['Bern', 'Rome'])
    """
    require_frame(frame, "describe_columns", "frame")
    return describe(frame, kinds or {}, "describe_columns: frame")


def describe(frame, kinds, owner):
    """Describe the columns of a DataFrame, which errors call `owner`: see `describe_columns`."""
    repeated = frame.columns[frame.columns.duplicated()]
    if len(repeated):
        raise ValueError(f"{owner} has several columns named {repeated[0]!r}. Rename them.")
    unusual = [name for name in frame.columns if _plain(name) != name]
    if unusual:
        raise ValueError(
            f"{owner}: a column is named {unusual[0]!r}, and a description can hold names "
            "that are texts or numbers. Rename it, such as by frame.set_axis(frame.columns.map(str)"
            ", axis=1)."
        )
    unknown = [name for name in kinds if name not in frame.columns]
    if unknown:
        hint = arguments.did_you_mean(unknown[0], list(frame.columns))
        raise ValueError(f"describe_columns: kinds names {unknown[0]!r}, which is no column.{hint}")
    return [_describe_column(frame[name], name, kinds.get(name), owner) for name in frame.columns]


def encode_columns(frame: "pd.DataFrame", columns: list[dict[str, Any]]) -> np.ndarray:
    """Turn a table into an array with one number for each cell.

    A category is the number of its place among the categories, and a missing cell is NaN.

    Args:
        frame: `pandas.DataFrame` with these columns, in any order.
        columns: What `describe_columns` returned.

    Returns:
        Float32 array of shape (rows, columns).

    Raises:
        TypeError: If frame is no DataFrame.
        ValueError: If a column is missing, superfluous, or has a value that is no category.

    Example:

        >>> import pandas as pd
        >>> from keras_ae import datasets
        >>> frame = pd.DataFrame({"age": [31.5, None], "city": ["Rome", "Bern"]})
        >>> datasets.encode_columns(frame, datasets.describe_columns(frame)).tolist()
        [[31.5, 1.0], [nan, 0.0]]
    """
    require_frame(frame, "encode_columns", "frame")
    names = [column["name"] for column in columns]
    missing = [name for name in names if name not in frame.columns]
    if missing:
        raise ValueError(
            f"frame lacks the column{'s' * (len(missing) > 1)} {_show(missing)}. Its columns are "
            f"{_show(list(frame.columns))}."
        )
    more = [name for name in frame.columns if name not in names]
    if more:
        raise ValueError(
            f"frame has columns that the model does not know: {_show(more)}. Leave them out: "
            f"frame[{_show(names)}]."
        )
    encoded = [_encode(frame[column["name"]], column) for column in columns]
    return np.stack(encoded, axis=1).astype("float32")


def decode_columns(array: Array, columns: list[dict[str, Any]]) -> "pd.DataFrame":
    """Turn an array as `encode_columns` makes it into a table with names, types and categories.

    Args:
        array: Array of shape (rows, columns). NaN becomes a missing cell.
        columns: What `describe_columns` returned.

    Returns:
        `pandas.DataFrame`. A column of integers with missing cells has pandas' nullable type.

    Example:

        >>> import numpy as np
        >>> import pandas as pd
        >>> from keras_ae import datasets
        >>> columns = datasets.describe_columns(pd.DataFrame({"city": ["Rome", "Bern", "Oslo"]}))
        >>> datasets.decode_columns(np.array([[2.0], [np.nan]]), columns)["city"].tolist()
        ['Rome', nan]
    """
    import pandas as pd

    decoded = {
        column["name"]: _decode(np.asarray(array[:, number], "float64"), column)
        for number, column in enumerate(columns)
    }
    return pd.DataFrame(decoded)


def fill_cells(frame, found):
    """Return a table whose missing cells have the values of another one, and else as it was.

    Args:
        frame: `pandas.DataFrame`.
        found: What `decode_columns` returned for the rows of frame, with its index.
    """
    filled = frame.copy()
    for name in frame.columns:
        cells, others = frame[name], found[name]
        if hasattr(cells, "cat") and hasattr(others, "cat"):
            # A part of a table may lack categories, and intervals are texts in descriptions.
            own = {_plain(value): value for value in cells.cat.categories}
            if all(value in own for value in others[cells.isna()]):
                others = others.map(own)
            else:
                cells = cells.cat.rename_categories(list(own)).astype(others.dtype)
        filled[name] = cells.where(cells.notna(), others)
    return filled


def is_frame(data):
    """Tell whether data is a `pandas.DataFrame`, without importing pandas."""
    return type(data).__module__.partition(".")[0] == "pandas" and hasattr(data, "columns")


def require_frame(data, owner, name):
    """Raise unless data is a `pandas.DataFrame` with rows."""
    if not is_frame(data):
        raise TypeError(
            f"{owner}: {name} is a {type(data).__name__}, but must be a pandas.DataFrame. Pass "
            f"pandas.DataFrame({name})."
        )
    if 0 in data.shape:
        raise ValueError(f"{owner}: {name} is empty: its shape is {data.shape}.")


def check_columns(owner, columns):
    """Return a description of columns, and raise if it cannot be one."""
    wanted = "Pass what keras_ae.datasets.describe_columns(frame) returns."
    if not isinstance(columns, (list, tuple)) or not columns:
        raise TypeError(
            f"{owner}: columns={arguments.show(columns)} is no list of columns. {wanted}"
        )
    for column in columns:
        is_known = isinstance(column, dict) and column.get("kind") in KINDS
        needed = {"name", "kind", "dtype"}
        if is_known:
            needed |= {"categories"} if column["kind"] in DISCRETE else {"center", "scale"}
        if not is_known or not needed <= column.keys():
            raise ValueError(f"{owner}: columns holds {column!r:.60}, which is no column. {wanted}")
    return [dict(column) for column in columns]


def _show(names):
    shown = ", ".join(repr(name) for name in names[:_SHOWN])
    return f"[{shown}{', ...' * (len(names) > _SHOWN)}]"


def _describe_column(series, name, kind, owner):
    import pandas as pd

    present, dtype = series.dropna(), series.dtype
    if not len(present):
        raise ValueError(f"{owner}: all cells of {name!r} are missing. Leave it out.")
    if getattr(dtype, "kind", "O") in "mM":
        raise TypeError(
            f"{owner}: {name!r} has times ({dtype}). Make numbers of them, such as the "
            "days since a date, or leave the column out."
        )
    _refuse_objects(present.iloc[0], name, owner)
    if kind is None:
        kind = _guess_kind(series, present)
    else:
        kind = arguments.choice("describe_columns", f"kinds[{name!r}]", kind, KINDS)
    column = {"name": _plain(name), "kind": kind, "dtype": str(dtype)}
    if kind in DISCRETE:
        if isinstance(dtype, pd.CategoricalDtype):
            categories = dtype.categories
        else:
            categories = pd.Index(_sort(present.unique()))
        if kind == "binary" and len(categories) != 2:
            raise ValueError(
                f"{owner}: {name!r} has {len(categories)} values, and kind 'binary' needs "
                "two. Choose 'categorical'."
            )
        column["categories"] = [_plain(value) for value in categories]
        if isinstance(dtype, pd.CategoricalDtype):
            column["ordered"] = bool(dtype.ordered)
        return column
    values = _to_numbers(present, name, kind, owner)
    if kind == "count":
        values = np.log(np.maximum(values.mean(), 1e-3)) * np.ones(1)
    elif kind == "positive":
        values = np.log(values)
    center, spread = float(values.mean()), float(values.std())
    # Numbers that are all equal have a deviation of rounding errors.
    varies = spread > 1e-12 * max(abs(center), 1e-30)
    if kind == "numeric" and varies and loses_digits(values, spread):
        raise ValueError(
            f"{owner}: {name!r} has numbers about {center:g} that differ by {spread:g}, which "
            "float32 cannot tell apart. Subtract a number near to them, such as the first."
        )
    column |= {"center": center, "scale": spread if varies else 1.0}
    column["integer"] = kind == "count" or bool(np.all(np.mod(present.astype("float64"), 1) == 0))
    return column


def _refuse_objects(value, name, owner):
    """Raise if the cells of a column are objects whose order or distance means something."""
    if isinstance(value, (datetime.date, datetime.time, datetime.timedelta)):
        raise TypeError(
            f"{owner}: {name!r} has times, such as {value!r}. Make numbers of them, such as the "
            "days since a date, or leave the column out."
        )
    if isinstance(value, decimal.Decimal):
        raise TypeError(f"{owner}: {name!r} holds {value!r}. Convert it by .astype(float).")
    if isinstance(value, (list, dict, set, np.ndarray)):
        raise TypeError(
            f"{owner}: {name!r} holds a {type(value).__name__} in a cell. Make columns of its "
            "parts, or leave the column out."
        )


def _guess_kind(series, present):
    import pandas as pd

    kind = getattr(series.dtype, "kind", "O")
    if isinstance(series.dtype, pd.CategoricalDtype):
        if series.dtype.ordered:
            return "ordinal"
        return "binary" if len(series.dtype.categories) == 2 else "categorical"
    if present.nunique() == 2 and (kind != "f" or present.isin([0, 1]).all()):
        return "binary"
    return {"u": "count", "i": "numeric", "f": "numeric"}.get(kind, "categorical")


def _to_numbers(present, name, kind, owner):
    """Return the cells that are present as numbers that fit the kind of the column."""
    try:
        values = present.to_numpy("float64")
    except (TypeError, ValueError):
        raise ValueError(
            f"{owner}: {name!r} is {kind}, but holds {present.iloc[0]!r}, which is no "
            "number. Choose 'categorical'."
        ) from None
    if not np.all(np.isfinite(values)):
        raise ValueError(f"{owner}: {name!r} has infinite values. Replace them.")
    remedy = "Choose 'numeric'."
    if kind == "positive" and values.min() <= 0:
        raise ValueError(
            f"{owner}: {name!r} has values down to {values.min():g}, and kind 'positive' "
            f"needs values above 0. {remedy}"
        )
    if kind == "count" and (values.min() < 0 or np.any(values % 1)):
        raise ValueError(
            f"{owner}: {name!r} is a count, but has values that are negative or no "
            f"integers. {remedy}"
        )
    return values


def _sort(values):
    try:
        return sorted(values)
    except TypeError:  # Values of several types have no order.
        return sorted(values, key=lambda value: (type(value).__name__, str(value)))


def _plain(value):
    """Return a name or a category as JSON can hold it."""
    value = value.item() if hasattr(value, "item") else value
    return value if isinstance(value, (str, int, float, bool)) else str(value)


def _encode(series, column):

    if column["kind"] not in DISCRETE:
        try:
            values = series.to_numpy("float64", na_value=np.nan)
        except (TypeError, ValueError):
            raise ValueError(
                f"Column {column['name']!r} is {column['kind']}, but holds values that are no "
                "numbers, such as text. Convert them."
            ) from None
        if np.any(np.isinf(values)):
            raise ValueError(f"Column {column['name']!r} has infinite values. Replace them.")
        return values
    absent = series.isna().to_numpy()
    plain = [None if is_absent else _plain(v) for v, is_absent in zip(series, absent, strict=True)]
    places = {value: number for number, value in enumerate(column["categories"])}
    unknown = [value for value in plain if value is not None and value not in places]
    if unknown:
        raise ValueError(
            f"Column {column['name']!r} holds {unknown[0]!r}, which was not among the categories "
            f"{_show(column['categories'])}. Replace it, or make it missing."
        )
    return np.array([np.nan if value is None else places[value] for value in plain])


def _decode(values, column):
    import pandas as pd

    dtype, absent = column["dtype"], np.isnan(values)
    if column["kind"] in DISCRETE:
        categories = column["categories"]
        codes = np.clip(np.where(absent, 0, values).round().astype(int), 0, len(categories) - 1)
        if dtype == "category":
            codes = np.where(absent, -1, codes)
            # Descriptions of before 28 November 2026 do not say it.
            is_ordered = column.get("ordered", column["kind"] == "ordinal")
            return pd.Categorical.from_codes(codes, categories, ordered=is_ordered)
        found = pd.Series([categories[code] for code in codes], dtype=object)
        if dtype == "object":
            found[absent] = None
        else:
            found[absent] = np.nan if dtype.startswith(("float", "complex")) else pd.NA
    else:
        values = values.round() if column["integer"] else values
        if column["kind"] == "positive" and column["integer"]:
            values = np.maximum(values, 1.0)
        found = pd.Series(_clip_to_type(values, dtype))
    if absent.any():
        dtype = _NULLABLE.get(dtype, dtype)
    return found if dtype == "object" else found.astype(dtype)


def _clip_to_type(values, dtype):
    """Return floats within the range of an integer type, beyond which they would wrap around."""
    try:
        limits = np.iinfo(dtype.lower())  # pandas' nullable types begin with a capital.
    except (TypeError, ValueError):
        return values
    # The largest 64-bit integer is no float, and would be rounded up.
    return np.clip(values, limits.min, np.floor(np.nextafter(limits.max + 1.0, 0.0)))


# NumPy's type of a column -> pandas' type of the same values that has missing cells, too.
_NULLABLE = {"bool": "boolean"} | {
    f"{kind}{bits}": f"{nullable}{bits}"
    for kind, nullable in (("int", "Int"), ("uint", "UInt"))
    for bits in (8, 16, 32, 64)
}
