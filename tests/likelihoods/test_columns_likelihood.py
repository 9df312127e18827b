"""The likelihood of columns of different kinds, against SciPy."""

import numpy as np
import pandas as pd
import pytest
import zoo
from keras import ops
from scipy import special, stats

from keras_ae import VAE, datasets, likelihoods
from keras_ae.likelihoods.bounds import bound

pytestmark = pytest.mark.formula

KINDS = {"price": "positive", "n": "count"}


def table(rows=40):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": rng.normal(40, 10, rows),
            "price": np.exp(rng.normal(2, 1, rows)),
            "n": rng.poisson(3, rows),
            "city": rng.choice(["Bern", "Oslo", "Rome"], rows),
            "size": pd.Categorical(
                rng.choice(["S", "M", "L", "XL"], rows), list("SML") + ["XL"], True
            ),
            "member": rng.random(rows) < 0.3,
        }
    )


def made():
    """Return the likelihood of the table, its columns, and parameters for three rows."""
    columns = datasets.describe_columns(table(), KINDS)
    likelihood = likelihoods.Columns(columns)
    shape = likelihood.parameter_shape((6,))
    parameters = np.random.default_rng(1).normal(size=(3, *shape)).astype("float32")
    return likelihood, columns, parameters


def test_every_kind_has_the_density_of_scipy():
    likelihood, columns, p = made()
    x = datasets.encode_columns(table(), columns)[:3]
    found = zoo.compute(lambda p, x: likelihood.distribution(p).log_prob_per_element(x), p, x)
    age, price, number = columns[:3]
    log_scales = ops.convert_to_numpy(bound(p[:, [1, 3]], -5.0, 3.0))
    scale = [age["scale"] * np.exp(log_scales[:, 0]), price["scale"] * np.exp(log_scales[:, 1])]
    np.testing.assert_allclose(
        found[:, 0],
        stats.norm.logpdf(x[:, 0], age["center"] + age["scale"] * p[:, 0], scale[0]),
        rtol=1e-4,
    )
    location = price["center"] + price["scale"] * p[:, 2]
    expected = stats.norm.logpdf(np.log(x[:, 1]), location, scale[1]) - np.log(x[:, 1])
    np.testing.assert_allclose(found[:, 1], expected, rtol=1e-4)
    mean = np.exp(number["center"] + p[:, 4])
    np.testing.assert_allclose(found[:, 2], stats.poisson.logpmf(x[:, 2], mean), rtol=1e-3)
    city = special.log_softmax(p[:, 5:8], axis=1)[np.arange(3), x[:, 3].astype(int)]
    np.testing.assert_allclose(found[:, 3], city, rtol=1e-4)
    distances = 1e-3 + np.logaddexp(0, p[:, 9:11])
    above = np.cumsum(np.concatenate([p[:, 8:9], distances], axis=1), axis=1)
    cumulative = np.concatenate([np.zeros((3, 1)), special.expit(above), np.ones((3, 1))], axis=1)
    size = np.log(np.diff(cumulative, axis=1))[np.arange(3), x[:, 4].astype(int)]
    np.testing.assert_allclose(found[:, 4], size, rtol=1e-4)
    member = special.log_softmax(p[:, 11:13], axis=1)[np.arange(3), x[:, 5].astype(int)]
    np.testing.assert_allclose(found[:, 5], member, rtol=1e-4)


def test_missing_cells_count_nothing():
    likelihood, columns, p = made()
    x = datasets.encode_columns(table(), columns)[:3]
    gaps = x.copy()
    gaps[0, [0, 3]] = gaps[1] = np.nan
    whole, found = (
        zoo.compute(lambda p, x: likelihood.distribution(p).log_prob_per_element(x), p, each)
        for each in (x, gaps)
    )
    np.testing.assert_array_equal(found, np.where(np.isnan(gaps), 0.0, whole))


def test_draws_are_cells_of_their_columns():
    likelihood, columns, p = made()
    many = likelihood.distribution(np.repeat(p[:1], 4000, axis=0))
    drawn = ops.convert_to_numpy(many.sample(seed=0))
    assert np.all(drawn[:, 1] > 0) and np.all(drawn[:, 2] % 1 == 0) and drawn[:, 2].min() >= 0
    for number in (3, 4, 5):
        count = len(columns[number]["categories"])
        shares = np.bincount(drawn[:, number].astype(int), minlength=count) / 4000
        codes = np.full((count, 6), np.nan, "float32")
        codes[:, number] = np.arange(count)
        expected = np.exp(
            ops.convert_to_numpy(
                likelihood.distribution(np.repeat(p[:1], count, axis=0)).log_prob(codes)
            )
        )
        assert expected.sum() == pytest.approx(1.0, abs=1e-5)
        np.testing.assert_allclose(shares, expected, atol=0.03)


@pytest.mark.every_backend
def test_a_vae_of_a_table_learns():
    columns = datasets.describe_columns(table(400), KINDS)
    x = datasets.encode_columns(table(400), columns)
    x[:, :2] = (x[:, :2] - x[:, :2].mean(axis=0)) / 10.0
    columns = [
        {**c, **({"center": 0.0, "scale": 1.0} if n < 1 else {})} for n, c in enumerate(columns)
    ]
    columns[1] = {**columns[0], "name": "price"}
    options = {"network_options": {"units": (16,)}, "seed": 0}
    model = VAE(2, likelihood=likelihoods.Columns(columns), **options)
    model.compile("adam")
    history = model.fit(x, epochs=12, verbose=0).history["loss"]
    assert history[-1] < history[0] - 0.5
    assert model.sample(5, seed=0).shape == (5, 6)
    again = VAE.from_config(model.get_config())
    assert again.likelihood.columns == model.likelihood.columns


def test_other_tables_are_refused():
    likelihood, *_ = made()
    with pytest.raises(ValueError, match="shape \\(5,\\), and columns= describes 6"):
        likelihood.parameter_shape((5,))
    with pytest.raises(TypeError, match="no list of columns"):
        likelihoods.Columns("age")


def test_columns_are_not_standardized():
    """The model would learn standardized numbers with the centers and scales of the table."""
    frame = pd.DataFrame({"age": [31.5, 40.0, 22.0]})
    columns = datasets.describe_columns(frame)
    model = VAE(latent_dim=2, likelihood=likelihoods.Columns(columns), standardize=True)
    model.compile("adam")
    with pytest.raises(ValueError, match="itself. Leave it out"):
        model.fit(datasets.encode_columns(frame, columns), verbose=0)
