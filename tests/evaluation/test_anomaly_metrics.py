"""Measures of anomaly scores, compared with definitions, other packages and what is known."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from keras_ae import evaluation

pytestmark = pytest.mark.backend_free


def series(events, number=250):
    """Return labels of a series with these events, and scores that know something of them."""
    labels, steps = np.zeros(number, int), np.arange(number)
    for start, stop in events:
        labels[start:stop] = 1
    return labels, np.sin(1.7 * steps) + np.sin(0.31 * steps**1.3) + np.roll(labels, 3)


CASES = {
    "one": ([(100, 120)], 11),
    "touching buffers": ([(40, 45), (52, 60), (63, 64), (200, 230)], 20),
    "at the ends": ([(0, 7), (120, 130), (247, 250)], 15),
}


# ------------------------------------------------------------------ examples


def test_the_areas_are_those_of_all_pairs():
    """The ROC AUC is the probability that an anomaly has the higher score, and 1/2 for a tie."""
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 2, 80), rng.integers(0, 6, 80)
    found = evaluation.anomaly_scores(labels, scores)
    pairs = scores[labels == 1][:, None] - scores[labels == 0][None]
    assert found["roc_auc"] == pytest.approx(np.mean(np.where(pairs == 0, 0.5, pairs > 0)))
    order = rng.permutation(80)
    assert evaluation.anomaly_scores(labels[order], scores[order]) == pytest.approx(found)
    # The definition of average precision, with one threshold for each distinct score.
    precision, recall = [], [0.0]
    for threshold in np.unique(scores)[::-1]:
        flags = scores >= threshold
        precision.append(labels[flags].mean())
        recall.append(labels[flags].sum() / labels.sum())
    assert found["pr_auc"] == pytest.approx(np.sum(np.diff(recall) * precision))


def test_high_scores_are_anomalous_and_constant_scores_say_nothing():
    labels = np.array([False, True, False, True])
    assert evaluation.anomaly_scores(labels, [0, 2, 1, 3]) == {"roc_auc": 1.0, "pr_auc": 1.0}
    assert evaluation.anomaly_scores(labels, [3, 1, 2, 0])["roc_auc"] == 0.0
    assert evaluation.anomaly_scores(labels, np.ones(4)) == {"roc_auc": 0.5, "pr_auc": 0.5}


# ------------------------------------------------------------------ events


def test_events_are_counted_once_and_false_alarms_by_runs():
    labels = [1, 1, 1, 0, 0, 0, 1, 0, 0, 1, 1, 0]
    flags = [1, 0, 1, 0, 1, 1, 0, 0, 1, 1, 0, 0]
    # Events 1 and 3 are found, the second one is missed, and steps 4 and 5 are one false alarm.
    found = evaluation.event_f1(labels, flags)
    assert found == {
        "precision": pytest.approx(2 / 3),
        "recall": pytest.approx(2 / 3),
        "f1": pytest.approx(2 / 3),
    }
    assert evaluation.event_f1(labels, labels) == {"precision": 1.0, "recall": 1.0, "f1": 1.0}
    nothing = {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    assert evaluation.event_f1(labels, np.zeros(12)) == nothing
    assert evaluation.point_adjusted_f1(labels, np.zeros(12)) == nothing


def test_point_adjustment_rewards_chance():
    """Random flags look excellent after point adjustment, and not by events or steps."""
    labels = np.zeros(5000, int)
    labels[1000:1500] = labels[3000:3400] = 1
    scores = np.random.default_rng(0).random(5000)
    flags = scores > 0.99
    assert evaluation.point_adjusted_f1(labels, flags)["f1"] > 0.9
    assert evaluation.event_f1(labels, flags)["f1"] < 0.2
    assert abs(evaluation.vus_roc(labels, scores, 50) - 0.5) < 0.1
    adjusted = flags.copy()
    adjusted[labels == 1] = True
    hits, false = labels.sum(), np.sum(adjusted & (labels == 0))
    assert evaluation.point_adjusted_f1(labels, flags) == {
        "precision": pytest.approx(hits / (hits + false)),
        "recall": 1.0,
        "f1": pytest.approx(2 * hits / (2 * hits + false)),
    }


# ------------------------------------------------------------------ volumes


def volumes(labels, scores, buffer):
    """Compute both volumes step by step and threshold by threshold, as their definition reads."""
    number, rocs, prs = len(labels), [], []
    runs = np.flatnonzero(np.diff(np.r_[0, labels, 0])).reshape(-1, 2)
    for length in range(buffer + 1):
        soft = np.zeros(number)
        for start, stop in runs:
            soft[start:stop] += 1
            for d in range(1, length // 2 + 1):
                for place in (start - d, stop - 1 + d):
                    if 0 <= place < number:
                        soft[place] += np.sqrt(1 - d / length)
        soft = np.minimum(soft, 1.0)
        positives = (labels.sum() + soft.sum()) / 2
        events = np.flatnonzero(np.diff(np.r_[0, soft > 0, 0])).reshape(-1, 2)
        recall, alarms, precision = [0.0], [0.0], []
        for threshold in np.unique(scores)[::-1]:
            flags = scores >= threshold
            hit = np.mean([flags[start:stop].any() for start, stop in events])
            recall.append(min(soft[flags].sum() / positives, 1.0) * hit)
            alarms.append((1 - soft[flags]).sum() / (number - positives))
            precision.append(soft[flags].mean())
        prs.append(np.sum(np.diff(recall) * precision))
        recall, alarms = np.array([*recall, 1.0]), np.array([*alarms, 1.0])
        rocs.append(np.sum(np.diff(alarms) * (recall[1:] + recall[:-1]) / 2))
    return np.mean(rocs), np.mean(prs)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_volumes_are_those_of_their_definition(case, ties):
    events, buffer = CASES[case]
    labels, scores = series(events)
    scores = np.round(scores) if ties else scores
    roc, pr = volumes(labels, scores, buffer)
    assert evaluation.vus_roc(labels, scores, buffer) == pytest.approx(roc)
    assert evaluation.vus_pr(labels, scores, buffer) == pytest.approx(pr)


@pytest.mark.parametrize(
    ("case", "roc", "pr"),
    [
        ("one", 0.784928072212, 0.178260321556),
        ("touching buffers", 0.753486662246, 0.510398870218),
        ("at the ends", 0.786016612449, 0.264210886194),
    ],
)
def test_volumes_are_those_of_the_authors(case, roc, pr):
    """The means over all buffers of what `RangeAUC` of their package vus 0.0.6 computes.

    Its curves have 250 points, which are all thresholds of a series of 250 steps.
    """
    events, buffer = CASES[case]
    labels, scores = series(events)
    assert evaluation.vus_roc(labels, scores, buffer) == pytest.approx(roc, abs=1e-9)
    assert evaluation.vus_pr(labels, scores, buffer) == pytest.approx(pr, abs=1e-9)


def test_without_buffer_volumes_are_areas():
    labels, scores = series([(100, 120)])
    assert evaluation.vus_roc(labels, scores, 0) == pytest.approx(roc_auc_score(labels, scores))
    wanted = average_precision_score(labels, scores)
    assert evaluation.vus_pr(labels, scores, 0) == pytest.approx(wanted)


def test_buffers_forgive_what_is_a_little_late():
    labels, _ = series([(100, 120), (180, 190)])
    late, far = np.roll(labels, 4), np.roll(labels, 40)
    for volume in (evaluation.vus_roc, evaluation.vus_pr):
        assert volume(labels, labels, 0) == 1.0
        assert volume(labels, late, 20) > volume(labels, late, 0)
        assert volume(labels, late, 20) > volume(labels, far, 20) + 0.2
    # A constant score flags all steps at once, and has no more than the share of anomalies.
    assert evaluation.vus_pr(labels, np.zeros(250), 0) == pytest.approx(labels.mean())


# ------------------------------------------------------------------ refusals

SCORED = [evaluation.anomaly_scores] + [
    lambda labels, scores, name=name: getattr(evaluation, name)(labels, scores, 4)
    for name in ("vus_roc", "vus_pr")
]
FLAGGED = [evaluation.event_f1, evaluation.point_adjusted_f1]


@pytest.mark.parametrize("measure", SCORED + FLAGGED)
def test_wrong_arrays_are_refused(measure):
    with pytest.raises(ValueError, match="labels holds 2, but must hold 0 and 1"):
        measure([0, 2, 1], [0, 0, 1])
    with pytest.raises(ValueError, match="labels are all 0, but both classes"):
        measure([0, 0, 0], [0, 0, 1])
    with pytest.raises(ValueError, match="labels are all 1, but both classes"):
        measure([True, True], [0, 1])
    with pytest.raises(ValueError, match="labels has 3, (scores|flags) has 2"):
        measure([0, 1, 0], [0, 1])
    with pytest.raises(ValueError, match=r"(scores|flags) holds NaN"):
        measure([0, 1, 0], [0, np.nan, 1])
    with pytest.raises(ValueError, match=r"shape \(3, 1\)"):
        measure([[0], [1], [0]], [0, 0, 1])
    with pytest.raises(TypeError, match="must hold numbers"):
        measure(["a", "b"], [0, 1])
    with pytest.raises(ValueError, match=r"shape \(0,\)"):
        measure([], [])


@pytest.mark.parametrize("measure", FLAGGED)
def test_scores_are_no_flags(measure):
    with pytest.raises(ValueError, match=r"flags holds 0.3.*threshold"):
        measure([0, 1], [0.3, 0.9])


def test_a_buffer_is_a_number_of_steps():
    with pytest.raises(ValueError, match=r"buffer=-1 must be an integer of at least 0"):
        evaluation.vus_roc([0, 1], [0, 1], -1)
    with pytest.raises(ValueError, match=r"buffer=2.5"):
        evaluation.vus_pr([0, 1], [0, 1], 2.5)
