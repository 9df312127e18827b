"""How well scores find anomalies: of examples, and of the steps of a series.

Everywhere label 1 is an anomaly, and a high score says that something is one.
"""

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from keras_ae.core import arguments
from keras_ae.core.types import Array
from keras_ae.evaluation.arrays import check_same_length


def anomaly_scores(labels: Array, scores: Array) -> dict[str, float]:
    """Compute how well scores rank anomalies above everything else.

    Equal scores are one threshold, so that their order in the array does not matter. The area under
    the precision-recall curve is the average precision, which does not interpolate between
    thresholds. Random scores have a ROC AUC of 0.5, and a PR AUC that is the share of anomalies.

    Source: Davis and Goadrich 2006, doi:10.1145/1143844.1143874, on why straight lines between
    points of precision and recall are too optimistic.

    Args:
        labels: Array of shape (examples,), with 1 for anomalies and 0 for all else, or bool.
        scores: Array of shape (examples,), finite numbers. A high score says that an example is an
            anomaly.

    Returns:
        Dictionary of "roc_auc" and "pr_auc", floats from 0 to 1.

    Raises:
        TypeError: If an array does not hold numbers.
        ValueError: If the arrays do not fit each other, a score is not finite, or labels do not
            hold both 0 and 1.

    Example:

    >>> from keras_ae import evaluation
    >>> evaluation.anomaly_scores([0, 0, 1, 1], [0.1, 0.4, 0.4, 0.9])
    {'roc_auc': 0.875, 'pr_auc': 0.8333333333333333}
    """
    labels, scores = _check_scores("anomaly_scores", labels, scores)
    return {
        "roc_auc": float(roc_auc_score(labels, scores)),
        "pr_auc": float(average_precision_score(labels, scores)),
    }


def event_f1(labels: Array, flags: Array) -> dict[str, float]:
    """Compute precision, recall and F1 of events, which are runs of anomalous steps.

    An event is found if at least one of its steps is flagged. It then counts once, however many
    runs of flagged steps touch it. A run of flagged steps that touches no event is a false alarm.
    With these numbers, precision is found / (found + false alarms), and recall is found / events.

    Source: Hundman et al., Detecting Spacecraft Anomalies Using LSTMs and Nonparametric Dynamic
    Thresholding, section 4, arXiv:1802.04431.

    Args:
        labels: Array of shape (steps,), in the order of time, with 1 for anomalies and 0 for all
            else, or bool.
        flags: Array of shape (steps,), 1 where an anomaly is reported, such as scores > threshold.

    Returns:
        Dictionary of "precision", "recall" and "f1", floats from 0 to 1. Precision is 0 if no step
        is flagged.

    Raises:
        TypeError: If an array does not hold numbers.
        ValueError: If the arrays do not fit each other, hold anything but 0 and 1, or if labels do
            not hold both.

    Example:

    >>> from keras_ae import evaluation
    >>> evaluation.event_f1([0, 1, 1, 0, 0, 1, 0, 0], [0, 0, 1, 0, 0, 0, 0, 1])
    {'precision': 0.5, 'recall': 0.5, 'f1': 0.5}
    """
    labels, flags = _check_flags("event_f1", labels, flags)
    found = sum(flags[start:stop].any() for start, stop in zip(*_find_runs(labels), strict=True))
    false = sum(
        not labels[start:stop].any() for start, stop in zip(*_find_runs(flags), strict=True)
    )
    return _count_scores(found, false, len(_find_runs(labels)[0]) - found)


def point_adjusted_f1(labels: Array, flags: Array) -> dict[str, float]:
    """Compute F1 of steps after point adjustment. Do not compare models by this number.

    Warning: a single flagged step of an event makes all its steps count as found. Therefore random
    flags get a high value if events are long, and may beat every model. Use this function only to
    reproduce a published figure, and `event_f1` or `vus_pr` to compare models.

    Source: Xu et al. 2018, arXiv:1802.03903; the high value of random scores: Kim et
    al. 2021, Towards a Rigorous Evaluation of Time-series Anomaly Detection, arXiv:2109.05257.

    Args:
        labels, flags: See `event_f1`.

    Returns:
        Dictionary of "precision", "recall" and "f1" of steps, floats from 0 to 1. Precision is 0 if
        no step is flagged.

    Raises:
        TypeError, ValueError: See `event_f1`.

    Example:

    >>> from keras_ae import evaluation
    >>> labels = [0, 1, 1, 1, 1, 1, 0, 0]
    >>> evaluation.point_adjusted_f1(labels, [0, 0, 1, 0, 0, 0, 0, 0])["f1"]
    1.0
    """
    labels, flags = _check_flags("point_adjusted_f1", labels, flags)
    adjusted = flags.copy()
    for start, stop in zip(*_find_runs(labels), strict=True):
        adjusted[start:stop] = flags[start:stop].any()
    return _count_scores(
        np.sum(labels & adjusted), np.sum(~labels & adjusted), np.sum(labels & ~adjusted)
    )


def vus_roc(labels: Array, scores: Array, buffer: int) -> float:
    """Compute the volume under the surface of ROC curves, which tolerates inexact boundaries.

    For each buffer length l from 0 to `buffer`, labels become numbers from 0 to 1. A step at a
    distance d <= l / 2 from an event gets the label sqrt(1 - d / l), and 1 if it is so close to
    several events. With these labels y, the sum P of (labels + y) / 2, and the n steps, a threshold
    that flags the steps F has

    - the true positive rate min(sum(y[F]) / P, 1), multiplied by the share of events that have a
      flagged step in them or in their buffers. Events whose buffers touch are one event.
    - the false positive rate sum(1 - y[F]) / (n - P).

    The curve passes through all thresholds from (0, 0) to (1, 1) on straight lines. The result is
    the mean of the areas under the curves of all l. With `buffer=0` and a single event it is the
    usual ROC AUC.

    Source: Paparrizos et al., Volume Under the Surface, PVLDB 15(11), 2022,
    doi:10.14778/3551793.3551830. The paper's thresholds are given numbers. Here each distinct score
    is one. The authors' package computes the same in its `RangeAUC`. Its faster volume counts in P
    only the part of the buffers that is flagged, which makes published figures somewhat higher.

    Args:
        labels: Array of shape (steps,), in the order of time, with 1 for anomalies and 0 for all
            else, or bool.
        scores: Array of shape (steps,), finite numbers. A high score says that a step is an
            anomaly.
        buffer: Longest buffer in steps, an integer of at least 0. Half of it lies on either side of
            an event. The paper takes the period of the series, or the mean length of an event.

    Returns:
        A float from 0 to 1.

    Raises:
        TypeError: If an array does not hold numbers.
        ValueError: If the arrays do not fit each other, a score is not finite, labels do not hold
            both 0 and 1, or the buffer is no such integer.

    Example:

    >>> from keras_ae import evaluation
    >>> labels, late = [0, 0, 0, 1, 1, 0, 0, 0], [0, 0, 0, 0, 1, 1, 0, 0]
    >>> round(evaluation.vus_roc(labels, late, 0), 3), round(evaluation.vus_roc(labels, late, 4), 3)
    (0.667, 0.762)
    """
    roc, _ = _compute_volumes("vus_roc", labels, scores, buffer)
    return roc


def vus_pr(labels: Array, scores: Array, buffer: int) -> float:
    """Compute the volume under the surface of precision-recall curves: see `vus_roc`.

    Recall is the true positive rate of `vus_roc`. Precision is the mean of y[F], with the labels y
    of `vus_roc` and the flagged steps F. The area under a curve is the average precision: the sum
    over all thresholds of precision times the increase of recall. The paper's formula draws
    straight lines instead, which is too optimistic if scores are equal. The authors' package sums
    as here. With `buffer=0` and a single event, the result is the "pr_auc" of `anomaly_scores`.

    Args:
        labels, scores, buffer: See `vus_roc`.

    Returns:
        A float from 0 to 1.

    Raises:
        TypeError, ValueError: See `vus_roc`.

    Example:

    >>> from keras_ae import evaluation
    >>> labels, late = [0, 0, 0, 1, 1, 0, 0, 0], [0, 0, 0, 0, 1, 1, 0, 0]
    >>> round(evaluation.vus_pr(labels, late, 0), 3), round(evaluation.vus_pr(labels, late, 4), 3)
    (0.375, 0.598)
    """
    _, pr = _compute_volumes("vus_pr", labels, scores, buffer)
    return pr


def _compute_volumes(owner, labels, scores, buffer):
    """Return the means of the areas of `vus_roc` and `vus_pr` over all buffer lengths."""
    labels, scores = _check_scores(owner, labels, scores)
    buffer = arguments.integer(owner, "buffer", buffer, least=0)
    order = np.argsort(-scores, kind="stable")
    # Steps of equal scores are flagged together, so that only the last of them ends a threshold.
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    areas = []
    for length in range(buffer + 1):
        soft = _soften_labels(labels, length)
        positives = 0.5 * (labels.sum() + soft.sum())
        hits, flagged = np.cumsum(soft[order])[last], last + 1.0
        starts, stops = _find_runs(soft > 0)
        # Every second of these stretches is an event with its buffers. The last one may end at the
        # end of the series, where `reduceat` needs one more number.
        edges = np.ravel(np.stack([starts, stops], axis=1))
        peaks = np.sort(np.maximum.reduceat(np.append(scores, 0.0), edges)[::2])
        found = len(peaks) - np.searchsorted(peaks, scores[order][last])
        recall = np.minimum(hits / positives, 1.0) * found / len(peaks)
        alarms = (flagged - hits) / (len(labels) - positives)
        alarms, heights = (np.concatenate([[0.0], rate, [1.0]]) for rate in (alarms, recall))
        roc = np.sum(np.diff(alarms) * (heights[1:] + heights[:-1]) / 2)
        pr = np.sum(np.diff(recall, prepend=0.0) * hits / flagged)
        areas.append((roc, pr))
    return tuple(float(area) for area in np.mean(areas, axis=0))


def _soften_labels(labels, length):
    """Return labels from 0 to 1, with a buffer of half this length on both sides of each event."""
    starts, stops = _find_runs(labels)
    steps, half = len(labels), length // 2
    # These count the events in whose reach a step lies.
    changes = np.zeros(steps + 1)
    np.add.at(changes, np.maximum(starts - half, 0), 1)
    np.add.at(changes, np.minimum(stops + half, steps), -1)
    reached = np.cumsum(changes)[:-1]
    positions, (places,) = np.arange(steps), np.nonzero(labels)
    after = np.searchsorted(places, positions).clip(0, len(places) - 1)
    before = (np.searchsorted(places, positions, side="right") - 1).clip(0)
    distance = np.minimum(abs(positions - places[after]), abs(positions - places[before]))
    slope = np.sqrt(np.maximum(1.0 - distance / max(length, 1), 0.0))
    # Two buffers add up to at least 2 sqrt(1 / 2), and a label is at most 1.
    return np.where(labels | (reached > 1), 1.0, np.where(reached > 0, slope, 0.0))


def _find_runs(flags):
    """Return where the runs of True begin, and where each one has ended: two integer arrays."""
    edges = np.diff(np.concatenate([[0], flags.astype("int8"), [0]]))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


def _count_scores(found, false, missed):
    return {
        "precision": float(found / max(found + false, 1)),
        "recall": float(found / (found + missed)),
        "f1": float(2 * found / (2 * found + false + missed)),
    }


def _check_scores(owner, labels, scores):
    labels, scores = _check_labels(owner, labels), _check_vector(owner, "scores", scores)
    check_same_length(owner, labels=labels, scores=scores)
    return labels, scores


def _check_flags(owner, labels, flags):
    labels = _check_labels(owner, labels)
    flags = _check_binary(owner, "flags", flags, "Compare scores with a threshold first.")
    check_same_length(owner, labels=labels, flags=flags)
    return labels, flags


def _check_labels(owner, labels):
    """Return labels as bool, after checking that both classes occur."""
    labels = _check_binary(owner, "labels", labels, "Use 1 for anomalies and 0 for all else.")
    if labels.all() or not labels.any():
        raise ValueError(
            f"{owner}: labels are all {int(labels[0])}, but both classes are needed. Pass data "
            "with anomalies and without."
        )
    return labels


def _check_binary(owner, name, values, remedy):
    values = _check_vector(owner, name, values)
    wrong = values[(values != 0) & (values != 1)]
    if wrong.size:
        raise ValueError(f"{owner}: {name} holds {wrong[0]:g}, but must hold 0 and 1. {remedy}")
    return values.astype(bool)


def _check_vector(owner, name, values):
    values = np.asarray(values)
    if values.dtype.kind not in "buif":
        raise TypeError(f"{owner}: {name} has the dtype {values.dtype}, but must hold numbers.")
    if values.ndim != 1 or not values.size:
        raise ValueError(
            f"{owner}: {name} has the shape {values.shape}, but must have one number for each "
            "example or step, shape (n,)."
        )
    values = values.astype("float64")
    if not np.all(np.isfinite(values)):
        raise ValueError(
            f"{owner}: {name} holds NaN or infinity. Remove what has no score from both arrays."
        )
    return values
