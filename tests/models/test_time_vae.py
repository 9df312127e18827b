"""TimeVAE: its parts in closed form, and a generated series whose parts it finds."""

import keras
import numpy as np
import pytest

import keras_ae

SMALL = {"network_options": {"filters": (4, 4), "units": (8,)}, "seed": 0}
STEPS = 24


def build(shape=(STEPS, 2), **options):
    model = keras_ae.TimeVAE(3, **SMALL | {"trend_degree": 2, "seasonalities": ((4, 3),)} | options)
    model.compile(keras.optimizers.Adam(0.01))
    model.build((None, *shape))
    return model


def series(examples=16, shape=(STEPS, 2), seed=0):
    return np.random.default_rng(seed).normal(size=(examples, *shape)).astype("float32")


@pytest.mark.parametrize("shape", [(STEPS, 2), (STEPS,)])
@pytest.mark.parametrize("standardize", [False, True])
def test_the_parts_add_up_to_the_reconstruction(shape, standardize):
    model, x = build(shape, standardize=standardize), 5.0 + 3.0 * series(shape=shape)
    model.fit(x, epochs=1, verbose=0)
    parts = model.components(x)
    assert list(parts) == ["trend", "seasonality", "residual"]
    assert all(part.shape == x.shape for part in parts.values())
    np.testing.assert_allclose(sum(parts.values()), model.reconstruct(x), rtol=1e-4, atol=1e-4)
    of_tensors = model.components(keras.ops.convert_to_tensor(x))
    for name, part in of_tensors.items():
        part = keras.ops.convert_to_numpy(part)
        np.testing.assert_allclose(part, parts[name], rtol=1e-4, atol=1e-4)


def test_trend_and_seasons_are_those_of_the_paper():
    model, z = build(seasonalities=((4, 3), (5, 1))), series(7, (3,))
    decoder = model.decoder
    for layer in (*decoder.trend.layers, *decoder.seasons):
        layer.bias.assign(np.random.default_rng(1).normal(size=layer.bias.shape))
    found = [keras.ops.convert_to_numpy(part) for part in decoder.parts(z)[:2]]

    def dense(layer, values):
        return values @ layer.kernel.numpy() + layer.bias.numpy()

    first, second = decoder.trend.layers
    theta = dense(second, np.maximum(dense(first, z), 0)).reshape(7, 3, 2)
    t = np.arange(STEPS)
    wanted = sum(theta[:, [p]] * ((t / STEPS) ** p)[:, None] for p in range(3))
    np.testing.assert_allclose(found[0], wanted, rtol=1e-4, atol=1e-5)
    wanted = 0.0
    for layer, (count, length) in zip(decoder.seasons, ((4, 3), (5, 1)), strict=True):
        values = dense(layer, z).reshape(7, count, 2)
        wanted = wanted + np.stack([values[:, (i // length) % count] for i in t], axis=1)
    np.testing.assert_allclose(found[1], wanted, rtol=1e-4, atol=1e-5)


def test_a_forecast_goes_on_where_the_series_ends():
    """The polynomial and the seasons at the later steps are those of the same code."""
    model = build((STEPS, 1), residual=False)
    x = series(8, (STEPS, 1))
    parts, found = model.components(x), model.forecast(x, 30)
    t = np.arange(STEPS + 30) / STEPS
    for trend, season, later in zip(*parts.values(), found, strict=True):
        trend = np.polyval(np.polyfit(t[:STEPS], trend[:, 0], 2), t[STEPS:])
        period = season[np.arange(STEPS, STEPS + 30) % 12, 0]
        np.testing.assert_allclose(later[:, 0], trend + period, rtol=1e-3, atol=1e-3)


def generate(examples, steps, seed):
    """Return trends with random slopes and seasons with random amplitudes, (examples, steps)."""
    rng, t = np.random.default_rng(seed), np.arange(steps)
    slope, amplitude = rng.normal(size=(2, examples, 1))
    return 2.0 * slope * t / STEPS, amplitude * np.sin(2.0 * np.pi * t / 6.0)


def test_trend_and_season_are_told_apart():
    trend, season = generate(640, STEPS + 6, seed=0)
    noise = 0.1 * np.random.default_rng(1).normal(size=trend.shape)
    x = (trend + season + noise).astype("float32")[..., None]
    past, future = x[:, :STEPS], x[:, STEPS:]
    model = build((STEPS, 1), trend_degree=1, seasonalities=((6, 1),), residual=False)
    model.fit(past[:512], epochs=40, verbose=0)
    parts = model.components(past[512:])

    def correlation(found, wanted):
        found, wanted = (v - v.mean(axis=1, keepdims=True) for v in (found, wanted))
        return np.corrcoef(found.ravel(), wanted.ravel())[0, 1]

    assert correlation(parts["trend"][..., 0], trend[512:, :STEPS]) > 0.95
    assert correlation(parts["seasonality"][..., 0], season[512:, :STEPS]) > 0.95
    found = model.forecast(past[512:], 6)
    error = np.mean((found - future[512:]) ** 2)
    of_last_value = np.mean((past[512:, -1:] - future[512:]) ** 2)
    assert error < 0.25 * of_last_value


def test_parts_can_be_left_out():
    x = series()
    assert list(build(trend_degree=None).components(x)) == ["seasonality", "residual"]
    assert list(build(seasonalities=(), residual=False).components(x)) == ["trend"]
    only = build(trend_degree=None, seasonalities=())
    assert list(only.components(x)) == ["residual"]
    with pytest.raises(ValueError, match="forecast: this TimeVAE has only a residual"):
        only.forecast(x, 3)
    with pytest.raises(ValueError, match="leave nothing"):
        build(trend_degree=None, seasonalities=(), residual=False)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"trend_degree": -1}, "trend_degree=-1"),
        ({"seasonalities": (4, 3)}, r"seasonalities=\(4, 3\)"),
        ({"seasonalities": ((1, 3),)}, r"seasonalities=\(\(1, 3\),\)"),
        ({"seasonalities": ((2, 2**70),)}, r"seasonalities=\(\(2, 1180"),
        ({"likelihood": "bernoulli"}, "likelihood='bernoulli'"),
        ({"likelihood": "log_normal"}, "likelihood='log_normal'"),
        ({"likelihood": "gaussian_heteroscedastic"}, "likelihood='gaussian_heteroscedastic'"),
    ],
)
def test_wrong_arguments_are_explained(options, words):
    with pytest.raises(ValueError, match=words):
        build(**options)


def test_a_forecast_does_not_reach_seasons_that_the_data_has_not():
    """The 12 steps contain four of the seven seasons of three steps."""
    model, x = build((12, 1), seasonalities=((7, 3),)), series(shape=(12, 1))
    words = r"reaches seasons of \(7, 3\) that the 12 .* Take at most 0 .* or train on 21 steps"
    with pytest.raises(ValueError, match=words):
        model.forecast(x, 1)
    partly = build((11, 1), seasonalities=((7, 3),))
    assert partly.forecast(x[:, :11], 1).shape == (len(x), 1, 1)
    with pytest.raises(ValueError, match="Take at most 1 steps"):
        partly.forecast(x[:, :11], 2)
    assert build((21, 1), seasonalities=((7, 3),)).forecast(np.zeros((2, 21, 1)), 50).shape[1] == 50


def test_wrong_data_and_steps_are_explained():
    with pytest.raises(ValueError, match="no sequences"):
        build((4, 4, 4))
    with pytest.raises(ValueError, match="num_steps=0"):
        build().forecast(series(), 0)
    with pytest.raises(ValueError, match="powers up to trend_degree=100 overflow"):
        build(trend_degree=100).forecast(series(), 10**6)
    with pytest.raises(ValueError, match=r"num_steps=1000000000000 would take .* GB of memory"):
        build().forecast(series(), 10**12)
    model, x = build((STEPS,), standardize=True), series(shape=(STEPS,))
    model.fit(x, epochs=1, verbose=0)
    with pytest.raises(ValueError, match=r"Pass x\[..., None\]"):
        model.forecast(x, 3)
