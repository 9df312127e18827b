"""Anomalies in tables: AnomalyDetector compared with the detectors of PyOD.

python -m benchmarks.reproduce anomaly --data adbench/ --output anomaly/  # needs pyod

The tables are those of ADBench (arXiv:2206.09426), each an .npz file with X and y, where 1 is an
anomaly. 34_smtp is left out. Of larger tables, 10,000 rows are taken, stratified. 70 % of the rows
are for training and 30 % for the test, stratified. A contaminated training has the anomalies of its
rows, a clean one leaves them out. The defaults of AnomalyDetector were chosen on the first ten
tables by name, with contaminated training, and the other nine judge them.
"""

import json
import pathlib
import time

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from keras_ae.estimators import AnomalyDetector

CHOSEN_ON = 10  # The defaults were chosen on so many tables.
MOST_ROWS = 10_000


def _ours(seed, **given):
    return AnomalyDetector(random_state=seed, **given)


def _pyod(module, name, **given):
    def make(seed, columns):
        cls = getattr(__import__(f"pyod.models.{module}", fromlist=[name]), name)
        more = {"n_features": columns} if name == "DeepSVDD" else {}
        seeded = {} if name in ("KNN", "ECOD") else {"random_state": seed}
        return cls(**given, **more, **seeded)

    return make


DETECTORS = {
    "keras_ae": lambda seed, columns: _ours(seed),
    # The rate is so small that the weights stay the initial ones.
    "keras_ae untrained": lambda seed, columns: _ours(seed, epochs=1, learning_rate=1e-30),
    "PyOD AutoEncoder": _pyod("auto_encoder", "AutoEncoder", verbose=0),
    "PyOD VAE": _pyod("vae", "VAE", verbose=0),
    "PyOD DeepSVDD": _pyod("deep_svdd", "DeepSVDD", verbose=0),
    "PyOD IForest": _pyod("iforest", "IForest"),
    "PyOD PCA": _pyod("pca", "PCA"),
    "PyOD ECOD": _pyod("ecod", "ECOD"),
    "PyOD KNN": _pyod("knn", "KNN"),
}


def _split(path, seed, is_clean):
    """Return training rows, test rows, and the labels of the test rows."""
    with np.load(path) as file:
        x, y = file["X"].astype("float64"), file["y"].astype(int)
    options = {"random_state": seed}
    if len(x) > MOST_ROWS:
        x, _, y, _ = train_test_split(x, y, train_size=MOST_ROWS, stratify=y, **options)
    train, test, of_train, of_test = train_test_split(x, y, test_size=0.3, stratify=y, **options)
    return (train[of_train == 0] if is_clean else train), test, of_test


def _measure(name, path, seed, is_clean):
    train, test, labels = _split(path, seed, is_clean)
    start = time.perf_counter()
    detector = DETECTORS[name](seed, train.shape[1])
    if name.startswith("keras_ae"):
        found = -detector.fit(train).score_samples(test)
    else:
        # PyOD's forest, ECOD and neighbors do not scale columns themselves.
        scaler = StandardScaler().fit(train)
        detector.fit(scaler.transform(train))
        found = detector.decision_function(scaler.transform(test))
    found = np.nan_to_num(found, nan=0.0)
    return {
        "roc_auc": float(roc_auc_score(labels, found)),
        "pr_auc": float(average_precision_score(labels, found)),
        "seconds": round(time.perf_counter() - start, 2),
    }


def anomaly(data, seed=0, seeds=None, models=None, output=None):
    """Yield the means of each detector over the tables and seeds, for both kinds of training."""
    paths = [path for path in sorted(pathlib.Path(data).glob("*.npz")) if "smtp" not in path.name]
    seeds = seeds or [seed, seed + 1, seed + 2]
    kept = pathlib.Path(output) if output else None
    if kept:
        kept.mkdir(parents=True, exist_ok=True)
    for kind in ("contaminated", "clean"):
        for name in models or DETECTORS:
            results = {}
            for path in paths:
                for each in seeds:
                    file = kept and kept / f"{kind}_{name}_{path.stem}_{each}.json"
                    if file and file.exists():
                        figures = json.loads(file.read_text())
                    else:
                        figures = _measure(name, path, each, kind == "clean")
                        if file:
                            file.write_text(json.dumps(figures))
                    results.setdefault(path.stem, []).append(figures)
            yield _summarize(kind, name, results)


def _summarize(kind, name, results):
    tables = list(results)
    groups = {"first_ten": tables[:CHOSEN_ON], "other_nine": tables[CHOSEN_ON:], "all": tables}
    found = {"training": kind, "detector": name}
    for group, members in groups.items():
        for measure in ("roc_auc", "pr_auc"):
            values = [[run[measure] for run in results[table]] for table in members]
            found[f"{measure}_{group}"] = round(float(np.mean(values)), 4)
        by_seed = np.mean([[run["roc_auc"] for run in results[table]] for table in members], axis=0)
        found[f"spread_{group}"] = round(float(np.std(by_seed)), 4)
    found["tables"] = {
        t: round(float(np.mean([r["roc_auc"] for r in runs])), 3) for t, runs in results.items()
    }
    found["seconds"] = round(sum(run["seconds"] for runs in results.values() for run in runs), 1)
    return found
