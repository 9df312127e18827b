"""Tables as arrays of numbers, and back."""

import datetime
import decimal

import numpy as np
import pandas as pd
import pytest

from keras_ae import datasets

pytestmark = pytest.mark.backend_free


def frame():
    """Return a table with every type of column, and with missing cells."""
    return pd.DataFrame(
        {
            "age": [31.5, np.nan, 40.25, 18.0],
            "rooms": [1, 2, 3, 2],
            "pets": np.array([0, 1, 5, 2], "uint8"),
            "children": pd.array([1, None, 5, 0], dtype="Int64"),
            "city": ["Bern", "Oslo", "Rome", None],
            "size": pd.Categorical(["S", "L", None, "S"], ["S", "M", "L"], ordered=True),
            "color": pd.Categorical(["red", "blue", "red", "green"]),
            "member": [True, False, True, True],
            "owner": pd.array([True, None, False, True], dtype="boolean"),
        }
    )


def test_kinds_follow_from_types():
    columns = datasets.describe_columns(frame())
    kinds = {column["name"]: column["kind"] for column in columns}
    assert kinds == {
        "age": "numeric",
        "rooms": "numeric",
        "pets": "count",
        "children": "numeric",
        "city": "categorical",
        "size": "ordinal",
        "color": "categorical",
        "member": "binary",
        "owner": "binary",
    }
    assert columns[5]["categories"] == ["S", "M", "L"]
    assert columns[0]["center"] == pytest.approx(np.mean([31.5, 40.25, 18.0]))
    assert columns[0]["integer"] is False and columns[3]["integer"] is True


@pytest.mark.parametrize("dtype", ["bool", "boolean"])
def test_truth_values_that_are_all_equal_have_one_category(dtype):
    flags = pd.DataFrame({"flag": pd.array([True, True, True], dtype=dtype)})
    (column,) = columns = datasets.describe_columns(flags)
    assert column["kind"] == "categorical" and column["categories"] == [True]
    array = datasets.encode_columns(flags, columns)
    pd.testing.assert_frame_equal(datasets.decode_columns(array, columns), flags)


def test_a_table_comes_back_as_it_was():
    table = frame()
    columns = datasets.describe_columns(table)
    array = datasets.encode_columns(table[table.columns[::-1]], columns)
    assert array.dtype == "float32" and array[2, 5].item() != array[2, 5].item()  # It is NaN.
    pd.testing.assert_frame_equal(datasets.decode_columns(array, columns), table)


def test_missing_cells_where_there_were_none():
    """They make nullable columns of integers and of truth values."""
    table = frame()
    columns = datasets.describe_columns(table)
    array = datasets.encode_columns(table, columns)
    array[0] = np.nan
    found = datasets.decode_columns(array, columns)
    assert found.iloc[0].isna().all() and found["rooms"].dtype == "Int64"
    assert found["member"].dtype == "boolean" and found["pets"].dtype == "UInt8"
    assert found["city"].tolist()[1:3] == ["Oslo", "Rome"]


@pytest.mark.parametrize("value", [0.1, 0.3, 99.9, 0.0])
def test_a_column_that_never_varies_has_the_scale_1(value):
    """The deviation of equal numbers in float64 is a rounding error, not always 0."""
    (column,) = datasets.describe_columns(pd.DataFrame({"fixed": np.full(777, value)}))
    assert column["scale"] == 1.0


@pytest.mark.parametrize("dtype", ["int8", "uint8", "UInt8", "int64", "uint64"])
def test_numbers_beyond_a_type_become_its_limits(dtype):
    """An average count of 300 in a column of bytes would else become 44."""
    frame = pd.DataFrame({"n": pd.array([1, 2, 5], dtype=dtype)})
    columns = datasets.describe_columns(frame)
    found = datasets.decode_columns(np.array([[-1e20], [3.0], [1e20]]), columns)["n"]
    limits = np.iinfo(dtype.lower())
    assert found.dtype == frame["n"].dtype and found[1] == 3 and found[0] == limits.min
    assert found[2] == pytest.approx(limits.max, rel=1e-12)
    assert pd.isna(datasets.decode_columns(np.array([[np.nan]]), columns)["n"][0])


def test_centers_of_positive_numbers_and_counts():
    table = pd.DataFrame({"price": [1.0, np.e, np.e**2], "n": [1, 2, 6]})
    kinds = {"price": "positive", "n": "count"}
    price, number = datasets.describe_columns(table, kinds)
    assert price["center"] == pytest.approx(1.0)
    assert price["scale"] == pytest.approx(np.sqrt(2 / 3))
    assert number["center"] == pytest.approx(np.log(3.0))


@pytest.mark.parametrize(
    ("change", "kinds", "message"),
    [
        (lambda t: t.to_numpy(), None, "must be a pandas.DataFrame"),
        (lambda t: t.iloc[:0], None, "is empty"),
        (lambda t: t.assign(city=None), None, "all cells of 'city' are missing"),
        (lambda t: t.assign(day=pd.Timestamp("2020")), None, "has times"),
        (lambda t: t, {"agee": "count"}, "names 'agee', which is no column. Did you mean 'age'"),
        (lambda t: t, {"age": "reel"}, "kinds['age']='reel'"),
        (lambda t: t, {"city": "numeric"}, "which is no number. Choose 'categorical'"),
        (lambda t: t, {"age": "count"}, "'age' is a count, but has values that are"),
        (lambda t: t, {"pets": "positive"}, "values down to 0"),
        (lambda t: t, {"city": "binary"}, "has 3 values, and kind 'binary' needs two"),
        (lambda t: t.assign(age=np.inf), None, "has infinite values"),
        (lambda t: pd.concat([t, t[["age"]]], axis=1), None, "several columns named 'age'"),
        (lambda t: pd.concat({"a": t}, axis=1), None, "named ('a', 'age')"),
    ],
)
def test_tables_that_cannot_be_described(change, kinds, message):
    with pytest.raises((TypeError, ValueError)) as error:
        datasets.describe_columns(change(frame()), kinds)
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="age"), "lacks the column ['age']"),
        (lambda t: t.assign(more=1), "does not know: ['more']"),
        (lambda t: t.assign(city="Paris"), "'city' holds 'Paris', which was not among"),
        (lambda t: t.assign(age="old"), "'age' is numeric, but holds values that are no numbers"),
        (lambda t: t.assign(age=-np.inf), "'age' has infinite values"),
    ],
)
def test_tables_that_do_not_fit_the_description(change, message):
    table = frame()
    with pytest.raises(ValueError) as error:
        datasets.encode_columns(change(table), datasets.describe_columns(table))
    assert message in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", ["float32", "float64", "Float64", "Int64", "boolean", "object"])
@pytest.mark.parametrize("kind", ["binary", "categorical", "ordinal", "numeric"])
def test_missing_cells_of_every_type_and_kind_come_back(dtype, kind):
    values = [True, False, None] if dtype == "boolean" else [0, 1, None]
    if dtype == "object":
        values = ["a", "b", None]
    table = pd.DataFrame({"x": pd.Series(values * 4, dtype=dtype)})
    if kind == "numeric" and dtype in ("object", "boolean"):
        pytest.skip("these are no numbers")
    columns = datasets.describe_columns(table, {"x": kind})
    found = datasets.decode_columns(datasets.encode_columns(table, columns), columns)
    pd.testing.assert_frame_equal(found, table)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("kind", ["ordinal", "categorical"])
def test_categories_keep_their_order(ordered, kind):
    cells = pd.Categorical(["low", "high", None], ["low", "high"], ordered=ordered)
    table = pd.DataFrame({"x": cells})
    columns = datasets.describe_columns(table, {"x": kind})
    found = datasets.decode_columns(datasets.encode_columns(table, columns), columns)
    pd.testing.assert_frame_equal(found, table)


def test_integers_above_0_stay_above_0():
    table = pd.DataFrame({"x": [1, 2, 300]})
    columns = datasets.describe_columns(table, {"x": "positive"})
    found = datasets.decode_columns(np.array([[0.2], [1.4], [2.6]]), columns)
    assert found["x"].tolist() == [1, 1, 3]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (1_700_000_000 + np.arange(100), "'x' has numbers about 1.7e.09 that differ by 28.8"),
        ([datetime.date(2026, 1, day) for day in (1, 2, 3)], "'x' has times, such as"),
        ([decimal.Decimal("1.5"), decimal.Decimal(2)], r"'x' holds Decimal\('1.5'\)"),
        ([[1, 2], [3]], "'x' holds a list in a cell"),
    ],
)
def test_cells_that_would_lose_their_meaning_are_refused(cells, message):
    with pytest.raises((TypeError, ValueError), match=message):
        datasets.describe_columns(pd.DataFrame({"x": cells}))
