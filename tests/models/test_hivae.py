"""HIVAE: its bound, and what it fills in."""

import keras
import numpy as np
import pandas as pd
import pytest
from keras import ops

from keras_ae import HIVAE, datasets

OPTIONS = {
    "latent_dim": 2,
    "num_components": 3,
    "column_dim": 3,
    "network_options": {"units": (16,)},
    "seed": 0,
}


def table(rows=500, seed=0):
    """Return a table of two groups of rows, which all columns tell apart."""
    rng = np.random.default_rng(seed)
    group = rng.random(rows) < 0.5
    return pd.DataFrame(
        {
            "age": np.where(group, 20.0, 60.0) + rng.normal(size=rows),
            "city": np.where(group, "Bern", "Rome"),
            "n": rng.poisson(np.where(group, 1.0, 12.0)),
            "size": pd.Categorical(np.where(group, "S", "L"), ["S", "M", "L"], ordered=True),
        }
    )


@pytest.fixture(scope="module")
def model():
    columns = datasets.describe_columns(table(), {"n": "count", "city": "categorical"})
    model = HIVAE(columns=columns, **OPTIONS)
    model.compile(keras.optimizers.Adam(5e-3))
    model.fit(_with_gaps(table())[0], batch_size=50, epochs=40, verbose=0)
    return model


def _with_gaps(frame, share=0.25):
    """Return a table in which cells are missing, at most three of a row, and which they are."""
    gaps = np.random.default_rng(1).random(frame.shape) < share
    gaps[gaps.all(axis=1), 0] = False
    return frame.mask(gaps), gaps


@pytest.mark.every_backend
def test_missing_cells_are_found_from_the_others(model):
    whole = table(seed=3)
    given, gaps = _with_gaps(whole)
    found = model.impute(given)
    assert not found.isna().any().any()
    pd.testing.assert_frame_equal(found.mask(gaps), given, check_dtype=False)
    age = gaps[:, 0]
    assert np.abs(found["age"] - whole["age"])[age].mean() < 4.0  # The mean is wrong by 20.
    assert (found["city"] == whole["city"])[gaps[:, 1]].mean() > 0.9
    assert (found["size"].astype(str) == whole["size"].astype(str))[gaps[:, 3]].mean() > 0.9


def test_the_loss_is_the_sum_over_all_components(model):
    """Computed component by component, with draws of the same noise left out by averaging."""
    x = datasets.encode_columns(table(50, seed=4), model.columns)
    q = model.posterior(ops.convert_to_tensor(x))
    shares = np.exp(ops.convert_to_numpy(q.log_probabilities))
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-5)
    of_s = (shares * (np.log(np.maximum(shares, 1e-30)) + np.log(3))).sum(axis=1)
    mean, log_variance = (ops.convert_to_numpy(v) for v in (q.means, q.log_variances))
    prior = ops.convert_to_numpy(model.prior(ops.zeros((1, 5))).means)
    of_z = 0.5 * (np.exp(log_variance) + (mean - prior) ** 2 - 1.0 - log_variance).sum(axis=2)
    expected = (of_s + (shares * of_z).sum(axis=1)).mean()
    found = model.evaluate(x, batch_size=50, verbose=0, return_dict=True)["kl_loss"]
    assert found == pytest.approx(expected, rel=1e-3)


def test_the_bound_is_below_the_likelihood(model):
    given = _with_gaps(table(300, seed=5))[0]
    bound = -model.evaluate(given, verbose=0, return_dict=True)["loss"]
    estimate = model.log_likelihood(given, num_samples=200, seed=0)
    spread = estimate.std() / np.sqrt(len(estimate))
    assert bound < estimate.mean() + 2 * spread
    assert bound > estimate.mean() - 3.0


def test_a_code_is_a_point_and_a_component(model):
    codes = model.encode(table(20))
    assert codes.shape == (20, 5)
    np.testing.assert_array_equal(np.sort(codes[:, 2:], axis=1), [[0.0, 0.0, 1.0]] * 20)
    drawn = model.encode(table(20), sample=True, seed=0)
    np.testing.assert_array_equal(drawn[:, 2:].sum(axis=1), 1.0)


@pytest.mark.every_backend
def test_samples_vary_as_the_table_does(model):
    """Means of the likelihoods would have one age and one number in each of the two groups."""
    drawn, real = model.sample(2_000, seed=0), table(2_000)
    assert list(drawn.columns) == list(real.columns) and not drawn.isna().any().any()
    for city in ("Bern", "Rome"):
        of_drawn, of_real = (frame[frame["city"] == city] for frame in (drawn, real))
        assert 0.3 < len(of_drawn) / len(drawn) < 0.7
        assert of_drawn["age"].mean() == pytest.approx(of_real["age"].mean(), abs=10.0)
        assert of_drawn["age"].std() > 0.5 * of_real["age"].std()
        assert of_drawn["n"].mean() == pytest.approx(of_real["n"].mean(), rel=0.6)
        assert of_drawn["n"].var() > 0.5 * of_real["n"].var()
    assert np.all(drawn["n"] == np.round(drawn["n"])) and drawn["n"].min() >= 0
    again = model.sample(2_000, seed=0, batch_size=7)
    pd.testing.assert_frame_equal(drawn, again, check_exact=False, atol=1e-3)


def test_a_table_that_is_refused_leaves_nothing_behind():
    model = HIVAE(latent_dim=2, num_components=2)
    model.compile("adam")
    with pytest.raises(ValueError, match="x is empty: its shape is .48, 0."):
        model.fit(pd.DataFrame(index=range(48)))
    model.fit(table(48), verbose=0)


def test_arrays_have_numeric_columns():
    x = np.random.default_rng(0).normal(100.0, 30.0, size=(64, 3)).astype("float32")
    x[::4, 0] = np.nan
    model = HIVAE(**OPTIONS)
    model.compile("adam")
    model.fit(x, epochs=2, verbose=0)
    found = model.impute(x)
    assert np.isfinite(found).all() and np.all(found[1] == x[1])
    centers = ops.convert_to_numpy(model._units[0])
    np.testing.assert_allclose(centers, np.nanmean(x, axis=0), rtol=1e-4)


def test_a_column_that_never_varies_has_the_scale_1():
    """The deviation of equal numbers in float64 is a rounding error, not always 0."""
    frame = pd.DataFrame({"age": table(777)["age"], "fixed": 0.3})
    model = HIVAE(**OPTIONS)
    model.compile("adam")
    model.fit(frame, batch_size=50, verbose=0)
    assert ops.convert_to_numpy(model._units[1].value)[1] == 1.0
    assert model.evaluate(frame.assign(fixed=0.4), verbose=0, return_dict=True)["loss"] < 100.0


@pytest.mark.parametrize(("column", "value"), [("n", -1), ("n", 1.5), ("size", 0.0)])
def test_numbers_without_a_density_are_refused(column, value):
    frame = pd.DataFrame({"n": [0, 3, 1, 2], "size": [0.1, 2.0, 3.0, 1.0]})
    columns = datasets.describe_columns(frame, {"n": "count", "size": "positive"})
    model = HIVAE(columns=columns, **OPTIONS)
    model.compile("adam")
    wrong = frame.astype("float64")
    wrong.loc[2, column] = value
    for call in (model.fit, model.evaluate, model.impute):
        with pytest.raises(ValueError, match=f"column '{column}' .* but holds {value:g}. Replace"):
            call(wrong, verbose=0)
    wrong.loc[2, column] = np.nan
    model.fit(wrong, verbose=0)


def test_missing_categories_are_filled_in_where_types_differ():
    """A part of a table may lack categories, and the model knows intervals by their text."""
    rng = np.random.default_rng(0)
    bands = pd.Categorical(pd.cut(rng.normal(size=90), 3))
    frame = pd.DataFrame({"size": pd.Categorical(rng.choice(list("SML"), 90)), "band": bands})
    model = HIVAE(**OPTIONS)
    model.adapt(frame)
    part = frame[frame["size"] == "S"].assign(band=bands.categories[0])
    part["size"] = part["size"].cat.remove_unused_categories()
    given = part.astype({"band": bands.dtype})
    given.iloc[::2] = None
    for table in (given, given[["band", "size"]]):
        found = model.impute(table)
        assert list(found.columns) == list(table.columns) and not found.isna().any().any()
        assert found["band"].dtype == bands.dtype
        assert (found["size"].iloc[1::2] == "S").all()


def test_a_model_of_an_array_fills_in_a_table():
    x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    model = HIVAE(2, num_components=2, network_options={"units": (4,)}, seed=0)
    model.compile("adam")
    model.fit(x, epochs=1, verbose=0)
    holes = np.where(np.eye(40, 3) > 0, np.nan, x)
    found = model.impute(pd.DataFrame(holes, columns=["a", "b", "c"]))
    np.testing.assert_allclose(found.to_numpy(), model.impute(holes), rtol=1e-6)
