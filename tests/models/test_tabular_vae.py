"""TabularVAE: tables in and out, and what its density and its draws mean."""

import json

import keras
import numpy as np
import pandas as pd
import pytest
from keras import ops
from scipy import stats

import keras_ae
from keras_ae import TabularVAE, datasets
from keras_ae.models.tabular import tabular_vae

OPTIONS = {"latent_dim": 2, "network_options": {"units": (32,)}, "seed": 0}


def table(rows=600, seed=0):
    """Return a table whose columns depend on each other, and of which some cells are missing."""
    rng = np.random.default_rng(seed)
    city = rng.choice(["Bern", "Oslo", "Rome"], rows, p=[0.2, 0.5, 0.3])
    price = np.select([city == "Bern", city == "Oslo"], [50.0, 200.0], 1000.0)
    age = rng.integers(18, 80, rows)
    frame = pd.DataFrame(
        {
            "city": city,
            "price": price * np.exp(0.05 * rng.normal(size=rows)),
            "age": age,
            "retired": age > 60,
        }
    )
    frame.loc[rng.random(rows) < 0.3, "price"] = np.nan
    return frame


@pytest.fixture(scope="module")
def model():
    model = TabularVAE(**OPTIONS)
    model.compile(keras.optimizers.Adam(5e-3))
    model.fit(table(), batch_size=100, epochs=60, verbose=0)
    return model


@pytest.mark.every_backend
def test_samples_are_like_the_table(model):
    given, found = table(), model.sample(2000, seed=0)
    assert list(found.columns) == list(given.columns)
    assert (found.dtypes == given.dtypes).all()
    assert found["price"].isna().mean() == pytest.approx(0.3, abs=0.07)
    for city, share in {"Bern": 0.2, "Oslo": 0.5, "Rome": 0.3}.items():
        assert (found["city"] == city).mean() == pytest.approx(share, abs=0.08)
    assert found["age"].between(18, 79).all()
    medians = found.groupby("city")["price"].median()
    np.testing.assert_allclose(medians[["Bern", "Oslo", "Rome"]], [50.0, 200.0, 1000.0], rtol=0.4)
    is_right = (found["age"] > 60) == found["retired"]
    assert is_right.mean() > 0.85


@pytest.mark.every_backend
def test_given_cells_change_the_others(model):
    found = model.sample(300, seed=1, conditions={"city": "Bern", "retired": True})
    assert set(found["city"]) == {"Bern"} and found["retired"].all()
    assert found["price"].median() < 100
    assert found["age"].median() > 55
    cities = ["Rome", "Oslo"] * 50
    mixed = model.sample(100, seed=1, conditions={"city": cities})
    assert mixed["city"].tolist() == cities
    pd.testing.assert_frame_equal(
        model.sample(100, seed=1, conditions={"city": pd.Series(cities, index=range(5, 105))}),
        mixed,
    )
    assert mixed["price"][1::2].median() < 300 < mixed["price"][::2].median()
    pd.testing.assert_frame_equal(
        model.sample(9, seed=4, conditions={"city": "Oslo"}),
        model.sample(9, seed=4, conditions={"city": "Oslo"}),
    )


def test_a_given_cell_is_not_missing():
    """Rows of the group whose city is never known are not those of a known city."""
    rng = np.random.default_rng(0)
    group = rng.choice(["known", "unknown"], 1000)
    city = np.where(group == "known", rng.choice(["Bern", "Oslo"], 1000), None)
    model = TabularVAE(**OPTIONS)
    model.compile(keras.optimizers.Adam(1e-2))
    model.fit(pd.DataFrame({"group": group, "city": city}), batch_size=50, epochs=15, verbose=0)
    found = model.sample(500, seed=0, conditions={"city": "Oslo"})
    assert (found["group"] == "known").mean() > 0.8


@pytest.mark.every_backend
def test_tables_of_text_alone_train_without_warnings():
    model = TabularVAE(**OPTIONS)
    model.compile("adam")
    model.fit(table()[["city"]], batch_size=100, verbose=0)
    assert model.sample(3, seed=0).shape == (3, 1)


@pytest.mark.every_backend
def test_rows_are_reconstructed_as_rows(model):
    given = table(seed=1).set_index(np.arange(600) + 7)
    found = model.reconstruct(given)
    assert (found.index == given.index).all()
    assert (found["city"] == given["city"]).mean() > 0.9
    assert not found["price"].isna().any()  # It is the price as if it were not missing.
    codes = model.encode(given)
    np.testing.assert_array_equal(
        codes, model.encode(datasets.encode_columns(given, model.columns))
    )


@pytest.mark.every_backend
def test_files_hold_the_columns(model, tmp_path):
    model.save(tmp_path / "model.keras")
    loaded = keras_ae.load(tmp_path / "model.keras")
    assert loaded.columns == model.columns
    pd.testing.assert_frame_equal(loaded.sample(20, seed=3), model.sample(20, seed=3))
    json.dumps(loaded.columns)


def test_the_modes_are_those_of_a_mixture(model):
    """What the decoder can say of a column at one code is a density, which integrates to 1."""
    z = ops.zeros((1, 2))
    p = model.conditional(z)
    grid = np.linspace(-500.0, 3000.0, 20_001)
    rows = np.full((len(grid), 4), np.nan, "float32")
    rows[:, 1] = grid
    many = model.conditional(ops.zeros((len(grid), 2)))
    values = ops.convert_to_numpy(many.base.log_prob_per_element(rows))[:, 1]
    assert np.trapezoid(np.exp(values), grid) == pytest.approx(1.0, abs=0.01)
    assert p.mean.shape == (1, 4)


def test_the_bound_is_below_the_likelihood():
    model = TabularVAE(**OPTIONS, kl_weight=1.0)
    model.compile(keras.optimizers.Adam(5e-3))
    model.fit(table(), batch_size=100, epochs=20, verbose=0)
    bound = -model.evaluate(table(seed=2), verbose=0, return_dict=True)["loss"]
    estimate = model.log_likelihood(table(seed=2), num_samples=200, seed=0)
    spread = estimate.std() / np.sqrt(len(estimate))
    assert bound < estimate.mean() + 2 * spread
    assert bound > estimate.mean() - 3.0


def test_modes_of_known_mixtures_are_found():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(-5, 0.5, 3000), rng.normal(10, 2.0, 1000), [np.nan] * 50])
    means, scales, log_weights = tabular_vae._find_modes(values)
    weights = np.exp(log_weights)
    assert weights.sum() == pytest.approx(1.0)
    near = [np.abs(means - center) < 3 * scale for center, scale in ((-5, 0.5), (10, 2.0))]
    assert weights[near[0]].sum() == pytest.approx(0.75, abs=0.02)
    assert weights[near[1]].sum() == pytest.approx(0.25, abs=0.02)
    grid = np.linspace(-8, 18, 500)[:, None]
    found = (weights * stats.norm.pdf(grid, means, scales)).sum(axis=1)
    expected = 0.75 * stats.norm.pdf(grid[:, 0], -5, 0.5) + 0.25 * stats.norm.pdf(grid[:, 0], 10, 2)
    assert np.trapezoid(np.abs(found - expected), grid[:, 0]) < 0.1


@pytest.mark.parametrize("values", [[3.0, 3.0, 3.0], [np.nan, 1.0], [0.0, 1.0, 0.0, 1.0]])
def test_columns_with_few_numbers_have_modes(values):
    means, scales, log_weights = tabular_vae._find_modes(np.array(values))
    assert np.all(np.isfinite(means)) and np.all(scales > 0)
    assert np.exp(log_weights).sum() == pytest.approx(1.0)


def test_modes_of_long_tables_do_not_depend_on_the_order_of_rows(monkeypatch):
    monkeypatch.setattr(tabular_vae, "_ROWS", 500)
    values = np.repeat([-9.0, 9.0], 8000) + np.random.default_rng(0).normal(size=16000)
    values[7] = -99.0  # The range has a number that few samples of the rows have.
    model = TabularVAE(**OPTIONS)
    model.build((None, 1))
    batches = np.split(values[:, None].astype("float32"), 160)
    model._adapt([(batch, {}) for batch in batches])
    weights = np.exp(ops.convert_to_numpy(model._mode_weights.value)[0])
    is_high = ops.convert_to_numpy(model._mode_means.value)[0] > 0.0
    assert weights[is_high].sum() == pytest.approx(0.5, abs=0.1)
    low, high = ops.convert_to_numpy(model._bounds.value)[:, 0]
    assert low == -99.0 and high == values.max().astype("float32")


def test_arrays_have_numeric_columns():
    x = np.random.default_rng(0).normal(size=(100, 3)).astype("float32")
    model = TabularVAE(**OPTIONS)
    model.compile("adam")
    model.fit(x, epochs=1, verbose=0)
    assert model.columns is None and model.sample(4, seed=0).shape == (4, 3)
    np.testing.assert_array_equal(model.encode(pd.DataFrame(x)), model.encode(x))
    np.testing.assert_array_equal(model.reconstruct(pd.DataFrame(x)), model.reconstruct(x))
    with pytest.raises(TypeError, match="'b'"):
        model.encode(pd.DataFrame({"a": [1.0], "b": ["text"], "c": [2.0]}))
    with pytest.raises(ValueError, match="fitted to an array. Fit it to a DataFrame"):
        model.sample(4, conditions={"a": 1})


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda m: m.fit(table().drop(columns="age")), "lacks the column ['age']"),
        (lambda m: m.encode(table().assign(city="Paris")), "'city' holds 'Paris'"),
        (lambda m: m.encode(np.full((2, 4), 7.0)), "integers from 0 to 2"),
        (lambda m: m.sample(3, conditions={"cty": "Bern"}), "no column. Did you mean 'city'"),
        (lambda m: m.sample(3, conditions={"city": "Paris"}), "'city' holds 'Paris'"),
        (lambda m: m.sample(3, conditions={"city": ["Bern", "Oslo"]}), "has 2 values"),
        (lambda m: m.sample(3, conditions={"price": np.nan}), "has missing values"),
        (lambda m: m.sample(3, conditions={"price": 1e30}), "far from the numbers of training"),
        (lambda m: m.sample(3, conditions=["price"]), "must be a dictionary"),
        (lambda m: TabularVAE().build((None, 4), (None, 5)), "Call fit(x) without a target"),
        (lambda m: TabularVAE(columns="city"), "is no list of columns"),
        (lambda m: TabularVAE(columns=[{"name": "a"}]), "which is no column"),
    ],
)
def test_mistakes(model, action, message):
    with pytest.raises((TypeError, ValueError)) as error:
        action(model)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_examples_are_rows():
    model = TabularVAE(**OPTIONS)
    model.compile("adam")
    with pytest.raises(ValueError, match=r"Reshape them to \(rows, 16\)"):
        model.fit(np.zeros((8, 4, 4), "float32"), verbose=0)


def test_a_table_that_was_refused_leaves_nothing_behind():
    one, other = pd.DataFrame({"age": [1.5, 2.5]}), pd.DataFrame({"years": [1.5, 2.5]})
    model = keras_ae.TabularVAE(2, network_options={"units": (4,)}, seed=0)
    with pytest.raises(ValueError, match="compile"):
        model.fit(one)
    assert model.columns is None
    model.compile("adam")
    with pytest.raises(ValueError, match="epochs=-1"):
        model.fit(one, epochs=-1)
    model.fit(other, epochs=1, validation_data=(other,), verbose=0)
    assert np.all(np.isfinite(model.train_on_batch(other)))
    assert np.all(np.isfinite(model.test_on_batch(other)))


def test_integers_with_missing_cells_are_sampled():
    table = pd.DataFrame({"flag": [0.0, 1.0, np.nan] * 20, "age": range(60)})
    model = keras_ae.TabularVAE(2, network_options={"units": (4,)}, seed=0)
    model.compile("adam")
    model.fit(table, epochs=1, verbose=0)
    assert model.sample(50, seed=0).dtypes.equals(table.dtypes)
    for value, message in {
        10**6: "far from the numbers",
        -500: "far from",
        30.5: "integers",
    }.items():
        with pytest.raises(ValueError, match=message):
            model.sample(3, conditions={"age": value})
    assert set(model.sample(3, seed=0, conditions={"age": 80})["age"]) == {80}
