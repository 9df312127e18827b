"""Anomalies in series: the water circuit SKAB, and the spacecraft SMAP and MSL.

python -m benchmarks.reproduce skab --data skab.tar.gz
python -m benchmarks.reproduce spacecraft --data smap_msl.npz  # next to labeled_anomalies.csv

Every run of SKAB has eight sensors. As in its leaderboard, the first 400 rows of a run are normal
and train a detector, and F1 is that of all later rows of all runs together. Every channel of SMAP
and MSL has a training series and a test series with labels.
"""

import ast
import csv
import io
import pathlib
import tarfile
import time

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

import keras_ae
from keras_ae import datasets, evaluation
from keras_ae.estimators import AnomalyDetector

SKAB_TRAINING, SKAB_WINDOW = 400, 60
CHANNELS_WINDOW, BUFFER = 32, 100


def _read_skab(path):
    """Yield the name, the sensors (steps, 8) and the labels of every run."""
    with tarfile.open(path) as archive:
        for name in sorted(archive.getnames()):
            if name.endswith(".csv") and "anomaly-free" not in name:
                text = archive.extractfile(name).read().decode()
                table = pd.read_csv(io.StringIO(text), sep=";")
                sensors = table.drop(columns=["datetime", "anomaly", "changepoint"])
                yield name, sensors.to_numpy("float32"), table["anomaly"].to_numpy() > 0


def _make_autoencoder(kind, seed):
    if kind == "lstm":
        return keras_ae.RecurrentAE(16, seed=seed)
    return keras_ae.AE(16, encoder="conv", decoder="conv", seed=seed)


def _score_windows(model, train, series, length, epochs, seed, **given):
    """Return a fitted detector, and the scores of all steps of a series."""
    detector = AnomalyDetector(
        model, epochs=epochs, batch_size=32, random_state=seed, threshold="extreme_values", **given
    )
    detector.fit(datasets.cut_windows(train, length))
    scores = -detector.score_samples(datasets.cut_windows(series, length))
    return detector, datasets.score_steps(scores, len(series), length)


def skab(data, epochs=20, seed=0, models=("conv", "lstm", "pca")):
    """Yield F1, and the shares of false and of missed alarms, of each kind of detector."""
    for kind in models:
        start, truth, flags, areas = time.perf_counter(), [], [], []
        for _, series, labels in _read_skab(data):
            train = series[:SKAB_TRAINING]
            if kind == "pca":
                scores, threshold = _score_by_components(train, series, SKAB_TRAINING)
            else:
                model = _make_autoencoder(kind, seed)
                given = (model, train, series, SKAB_WINDOW, epochs, seed)
                detector, scores = _score_windows(*given, false_positive_rate=1e-3)
                threshold = detector.threshold_
            truth.append(labels[SKAB_TRAINING:])
            flags.append(scores[SKAB_TRAINING:] > threshold)
            found = evaluation.anomaly_scores(labels[SKAB_TRAINING:], scores[SKAB_TRAINING:])
            areas.append(found["roc_auc"])
        truth, flags = np.concatenate(truth), np.concatenate(flags)
        hits = np.sum(truth & flags)
        yield {
            "detector": kind,
            "f1": round(float(2 * hits / (truth.sum() + flags.sum())), 3),
            "false_alarm_rate": round(float(np.mean(flags[~truth])), 4),
            "missed_alarm_rate": round(float(np.mean(~flags[truth])), 4),
            "mean_roc_auc": round(float(np.mean(areas)), 3),
            "in_the_leaderboard": {"conv": 0.78, "lstm": 0.74}.get(kind),
            "seconds": round(time.perf_counter() - start, 1),
        }


def _score_by_components(train, series, calibration):
    """Return the squared error of principal components of each step, and a threshold."""
    scaler = StandardScaler().fit(train)
    components = PCA(0.9).fit(scaler.transform(train))
    scaled = scaler.transform(series)
    error = np.sum((scaled - components.inverse_transform(components.transform(scaled))) ** 2, 1)
    return error, float(np.quantile(error[:calibration], 0.999))


def _read_channels(path):
    """Yield the spacecraft, the name, both series and the labels of every channel."""
    with open(pathlib.Path(path).with_name("labeled_anomalies.csv"), newline="") as file:
        rows = list(csv.DictReader(file))
    with np.load(path) as arrays:
        for row in rows:
            name = row["chan_id"]
            if name == "P-2":  # It is listed for both spacecraft, and is usually left out.
                continue
            test = arrays[f"test_{name}"]
            labels = np.zeros(len(test), bool)
            for first, last in ast.literal_eval(row["anomaly_sequences"]):
                labels[first : last + 1] = True
            yield row["spacecraft"], name, arrays[f"train_{name}"], test, labels


def spacecraft(data, epochs=5, seed=0, models=("conv", "usad", "pca")):
    """Yield the volume under the PR surface, and F1 without adjustment, for each spacecraft.

    F1 of steps is that of the best threshold of each channel. A detector cannot know it: the number
    is for comparison with those published.
    """
    for kind in models:
        start, found = time.perf_counter(), {}
        for craft, _, train, test, labels in _read_channels(data):
            # The first column is telemetry. The others are commands, which the models read, too.
            if kind == "pca":
                scores = _score_pca_windows(train[:, :1], test[:, :1])
            else:
                scores = _score_channel(kind, train[:, :1], test[:, :1], epochs, seed)
            figures = {
                "vus_pr": evaluation.vus_pr(labels, scores, BUFFER),
                "f1": _find_best_f1(labels, scores),
                **evaluation.anomaly_scores(labels, scores),
            }
            found.setdefault(craft, []).append(figures)
        for craft, runs in found.items():
            means = {k: round(float(np.mean([run[k] for run in runs])), 3) for k in runs[0]}
            seconds = round(time.perf_counter() - start, 1)
            yield {"detector": kind, "data": craft, "channels": len(runs), **means, "s": seconds}


def _score_channel(kind, train, test, epochs, seed):
    windows = datasets.cut_windows(train, CHANNELS_WINDOW, stride=4)
    if kind == "usad":
        low, high = train.min(), train.max()
        windows = np.clip((windows - low) / max(high - low, 1e-6), 0, 1)
        test = np.clip((test - low) / max(high - low, 1e-6), 0, 1)
        model = keras_ae.USAD(8, encoder="mlp", decoder="mlp", seed=seed)
        given = {"standardize": False}
    else:
        model = keras_ae.AE(8, encoder="conv", decoder="conv", seed=seed)
        given = {}
    detector = AnomalyDetector(model, epochs=epochs, random_state=seed, **given).fit(windows)
    scores = -detector.score_samples(datasets.cut_windows(test, CHANNELS_WINDOW))
    return datasets.score_steps(scores, len(test), CHANNELS_WINDOW)


def _score_pca_windows(train, test):
    """Return the error of principal components of windows, which is the usual strong baseline."""
    windows = datasets.cut_windows(train, CHANNELS_WINDOW, stride=4)[..., 0]
    components = PCA(8).fit(windows)
    x = datasets.cut_windows(test, CHANNELS_WINDOW)[..., 0]
    error = np.sum((x - components.inverse_transform(components.transform(x))) ** 2, axis=1)
    return datasets.score_steps(error, len(test), CHANNELS_WINDOW)


def _find_best_f1(labels, scores):
    order = np.argsort(-scores)
    hits = np.cumsum(labels[order])
    flagged = np.arange(1, len(scores) + 1)
    return float(np.max(2 * hits / (labels.sum() + flagged)))
