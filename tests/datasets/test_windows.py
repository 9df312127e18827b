"""Windows of series, and the way back to steps."""

import numpy as np
import pandas as pd
import pytest

from keras_ae import RecurrentAE, datasets, evaluation

pytestmark = pytest.mark.backend_free


def noise(steps, *channels, seed=0):
    return np.random.default_rng(seed).normal(size=(steps, *channels)).astype("float32")


@pytest.mark.parametrize("stride", [1, 2, 3, 7])
def test_windows_are_slices(stride):
    series = noise(20, 3)
    windows = datasets.cut_windows(series, 5, stride)
    starts = range(0, 20 - 5 + 1, stride)
    assert windows.shape == (len(starts), 5, 3)
    assert windows.dtype == series.dtype
    for window, start in zip(windows, starts, strict=True):
        np.testing.assert_array_equal(window, series[start : start + 5])


def test_windows_take_no_memory_of_their_own():
    series = noise(20, 3)
    windows = datasets.cut_windows(series, 5)
    assert np.shares_memory(windows, series)
    assert not windows.flags.writeable


def test_other_forms_of_series():
    one = noise(20)
    np.testing.assert_array_equal(
        datasets.cut_windows(one, 4), datasets.cut_windows(one[:, None], 4)
    )
    frame = pd.DataFrame({"speed": one, "count": np.arange(20)})
    windows = datasets.cut_windows(frame, 4)
    np.testing.assert_allclose(windows[2, :, 0], one[2:6])
    np.testing.assert_allclose(windows[2, :, 1], [2, 3, 4, 5])
    assert datasets.cut_windows(list(range(5)), 5).shape == (1, 5, 1)


def test_missing_steps_are_refused_unless_a_model_skips_them():
    series = noise(20, 2)
    series[6, 1] = series[9] = np.nan
    with pytest.raises(ValueError, match=r"2 steps have missing values, the first at step 6"):
        datasets.cut_windows(series, 4)
    # A step with one missing channel is missing, because only whole steps can be skipped.
    windows = datasets.cut_windows(series, 4, mask_value=-9.0)
    np.testing.assert_array_equal(np.argwhere((windows[6] == -9.0).all(axis=1))[:, 0], [0, 3])
    np.testing.assert_array_equal(windows[7, :2], series[7:9])
    assert np.isnan(series[6, 1])  # The series of the caller is as before.
    kept = datasets.cut_windows(series, 4, mask_value=np.nan)
    np.testing.assert_array_equal(kept[6], series[6:10])
    assert np.shares_memory(kept, series)


def test_what_a_gap_may_not_do():
    series = noise(20, 2)
    series[5:9] = np.nan
    for mask_value in (-9.0, np.nan):
        assert len(datasets.cut_windows(series, 5, mask_value=mask_value)) == 16
        with pytest.raises(ValueError, match=r"all 4 steps from step 5 are missing.*gap"):
            datasets.cut_windows(series, 4, mask_value=mask_value)
    # Windows that begin elsewhere do not lie in the gap.
    assert len(datasets.cut_windows(series, 4, stride=2, mask_value=-9.0)) == 9
    series[0] = -9.0
    with pytest.raises(ValueError, match=r"mask_value=-9.0 is what the series holds at step 0"):
        datasets.cut_windows(series, 5, mask_value=-9.0)


def test_a_model_skips_what_is_missing():
    """What stood at a missing step changes no code, so that it is indeed masked."""
    series = noise(30, 2)
    series[10, 0] = np.nan
    model = RecurrentAE(2, mask_value=-9.0, network_options={"units": (4,)}, seed=0)
    windows = datasets.cut_windows(series, 6, mask_value=-9.0)
    model.compile("adam")
    history = model.fit(windows, verbose=0).history
    assert np.isfinite(history["loss"][0])
    other = series.copy()
    other[10, 1] = 77.0
    codes = model.encode(windows), model.encode(datasets.cut_windows(other, 6, mask_value=-9.0))
    np.testing.assert_array_equal(*codes)


@pytest.mark.parametrize("stride", [1, 2, 3, 7])
@pytest.mark.parametrize("of_steps", [False, True])
def test_the_way_back_is_a_mean(stride, of_steps):
    count = (23 - 5) // stride + 1
    scores = noise(count, 5) if of_steps else noise(count)
    found = datasets.score_steps(scores, 23, 5, stride)
    for step in range(23):
        values = [
            scores[w, step - w * stride] if of_steps else scores[w]
            for w in range(count)
            if 0 <= step - w * stride < 5
        ]
        wanted = np.mean(values) if values else np.nan
        np.testing.assert_allclose(found[step], wanted, rtol=1e-6)
    assert np.isnan(found).any() == (stride in (7,) or (23 - 5) % stride > 0)


def test_the_way_back_returns_a_series():
    series = noise(40)
    windows = datasets.cut_windows(series, 8, 3)
    found = datasets.score_steps(windows[:, :, 0], 40, 8, 3)
    np.testing.assert_allclose(found[:38], series[:38], rtol=1e-6)
    assert np.isnan(found[38:]).all()
    with pytest.raises(ValueError, match="scores holds NaN"):
        evaluation.anomaly_scores(np.arange(40) % 2, found)


def test_wrong_series_are_refused():
    with pytest.raises(ValueError, match=r"shape \(3, 2, 1\)"):
        datasets.cut_windows(np.zeros((3, 2, 1)), 2)
    with pytest.raises(ValueError, match=r"shape \(0, 2\)"):
        datasets.cut_windows(np.zeros((0, 2)), 2)
    with pytest.raises(ValueError, match=r"length=9 must be an integer from 1 to 8"):
        datasets.cut_windows(np.zeros(8), 9)
    with pytest.raises(ValueError, match="stride=0 must be a positive integer"):
        datasets.cut_windows(np.zeros(8), 2, 0)
    with pytest.raises(ValueError, match="mask_value='mean' must be a number, NaN or None"):
        datasets.cut_windows(np.zeros(8), 2, mask_value="mean")
    with pytest.raises(ValueError, match="infinite at step 3"):
        datasets.cut_windows([0, 1, 2, np.inf], 2)
    with pytest.raises(TypeError, match="series"):
        datasets.cut_windows(["a", "b"], 2)


def test_wrong_scores_are_refused():
    with pytest.raises(ValueError, match=r"shape \(5,\), but 8 steps have 6 windows of length=3"):
        datasets.score_steps(np.zeros(5), 8, 3)
    with pytest.raises(ValueError, match=r"shape \(6, 2\)"):
        datasets.score_steps(np.zeros((6, 2)), 8, 3)
    with pytest.raises(ValueError, match="length=9 must be an integer from 1 to 8"):
        datasets.score_steps(np.zeros(6), 8, 9)
    with pytest.raises(ValueError, match="window 2 is NaN"):
        datasets.score_steps([0, 1, np.nan], 5, 3)
