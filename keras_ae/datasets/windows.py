"""Windows of a time series as examples, and what is known of windows as values of steps."""

import numpy as np

from keras_ae.core import arguments, conversion
from keras_ae.core.types import Array


def cut_windows(
    series: Array, length: int, stride: int = 1, mask_value: float | None = None
) -> np.ndarray:
    """Cut a series into windows of equal length, which are examples for any model.

    The windows are views of the series and take no memory of their own. They begin at the steps 0,
    stride, 2 stride and so on, as long as a whole window fits. Up to stride - 1 steps at the end
    are in no window.

    Args:
        series: Array of shape (steps,) or (steps, channels), or a `pandas.DataFrame` with a column
            for each channel, in the order of time.
        length: Number of steps of a window, an integer from 1 to the number of steps.
        stride: Number of steps from one window to the next, a positive integer. Defaults to 1.
        mask_value: What stands for missing values, which are NaN in the series. Defaults to None:
            missing values are an error. A number replaces all channels of a step of which any is
            missing, and a model with this mask_value, such as `RecurrentAE(mask_value=-1.0)`,
            skips these steps. NaN leaves missing values as they are, for models such as
            `MissingDataIWAE`. In both cases, each window must have at least one step, or one value,
            that is not missing.

    Returns:
        Array of shape (windows, length, channels), with the dtype of the series. It is read-only.

    Raises:
        TypeError: If the series does not hold numbers.
        ValueError: If the series is too short or has another shape, if a value is infinite or
            missing, if a window is missing altogether, or if the data itself has steps that equal
            mask_value.

    Example:

        >>> import numpy as np
        >>> from keras_ae import datasets
        >>> windows = datasets.cut_windows(np.arange(7.0), length=3, stride=2)
        >>> windows.shape, windows[1, :, 0].tolist()
        ((3, 3, 1), [2.0, 3.0, 4.0])
    """
    series = conversion.to_numpy(series, "series", allow_nan=True)
    if series.ndim not in (1, 2) or 0 in series.shape:
        raise ValueError(
            f"cut_windows: series has the shape {series.shape}, but must have the shape (steps,) "
            "or (steps, channels)."
        )
    series = series[:, None] if series.ndim == 1 else series
    length = arguments.integer("cut_windows", "length", length, most=len(series))
    stride = arguments.integer("cut_windows", "stride", stride)
    series, missing = _treat_missing(series, mask_value)
    windows = np.lib.stride_tricks.sliding_window_view(series, length, axis=0)
    windows = windows.transpose(0, 2, 1)[::stride]
    absent = np.lib.stride_tricks.sliding_window_view(missing, length)[::stride].all(axis=1)
    if absent.any():
        start = stride * int(np.argmax(absent))
        raise ValueError(
            f"cut_windows: all {length} steps from step {start} are missing, so that this window "
            "says nothing. Cut the series at the gap, or take longer windows."
        )
    return windows


def _treat_missing(series, mask_value):
    """Return the series as windows should hold it, and which steps are missing."""
    if mask_value is not None and not arguments.is_number(mask_value):
        raise arguments.refusal("cut_windows", "mask_value", mask_value, "a number, NaN or None")
    if np.isinf(series).any():
        step = int(np.argmax(np.isinf(series).any(axis=1)))
        raise ValueError(
            f"cut_windows: series is infinite at step {step}. Replace the value, by NaN if it is "
            "unknown."
        )
    absent = np.isnan(series)
    missing = absent.any(axis=1)
    if mask_value is None and missing.any():
        raise ValueError(
            f"cut_windows: {missing.sum()} steps have missing values, the first at step "
            f"{np.argmax(missing)}. Fill them in, or pass mask_value: a number for models that "
            "skip such steps, or NaN for models that take missing values."
        )
    if mask_value is None or np.isnan(mask_value):
        return series, absent.all(axis=1)
    # Models compare in float32.
    taken = (series.astype("float32") == np.float32(mask_value)).all(axis=1)
    if taken.any():
        raise ValueError(
            f"cut_windows: mask_value={mask_value!r} is what the series holds at step "
            f"{np.argmax(taken)}. Choose a number that it does not hold."
        )
    if missing.any():
        series = np.where(missing[:, None], series.dtype.type(mask_value), series)
    return series, missing


def score_steps(scores: Array, num_steps: int, length: int, stride: int = 1) -> np.ndarray:
    """Turn the scores of windows into scores of steps: the mean over the windows that hold a step.

    Args:
        scores: Array of shape (windows,), one number for each window of `cut_windows`, such as
            `model.anomaly_score(windows)`; or of shape (windows, length), one number for each step
            of each window.
        num_steps: Number of steps of the series, a positive integer.
        length, stride: As in `cut_windows`.

    Returns:
        Float64 array of shape (num_steps,). Steps that are in no window are NaN. The measures of
        `keras_ae.evaluation` refuse them: leave these steps out of scores and labels.

    Raises:
        TypeError: If scores does not hold numbers.
        ValueError: If a score is not finite, or their number is not that of the windows.

    Example:

        >>> from keras_ae import datasets
        >>> datasets.score_steps([0.0, 4.0], num_steps=6, length=3, stride=2).tolist()
        [0.0, 0.0, 2.0, 4.0, 4.0, nan]
    """
    scores = conversion.to_numpy(scores, "scores").astype("float64")
    num_steps = arguments.integer("score_steps", "num_steps", num_steps)
    length = arguments.integer("score_steps", "length", length, most=num_steps)
    stride = arguments.integer("score_steps", "stride", stride)
    count = (num_steps - length) // stride + 1
    if scores.shape not in ((count,), (count, length)):
        raise ValueError(
            f"score_steps: scores has the shape {scores.shape}, but {num_steps} steps have {count} "
            f"windows of length={length} at stride={stride}. Pass an array of shape ({count},) or "
            f"({count}, {length}), and the arguments of cut_windows."
        )
    if not np.all(np.isfinite(scores)):
        window = int(np.argmax(~np.isfinite(scores.reshape(count, -1)).all(axis=1)))
        raise ValueError(f"score_steps: the score of window {window} is NaN or infinite.")
    totals, numbers = np.zeros(num_steps), np.zeros(num_steps)
    for position in range(length):
        steps = slice(position, position + (count - 1) * stride + 1, stride)
        totals[steps] += scores if scores.ndim == 1 else scores[:, position]
        numbers[steps] += 1
    return np.where(numbers > 0, totals / np.maximum(numbers, 1), np.nan)
