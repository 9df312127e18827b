"""One-class MNIST: a DeepSVDD of each digit, as in table 1 of Ruff et al. 2018, PMLR 80:4393.

TFDS_DATA_DIR=... python -m benchmarks.reproduce one_class
"""

import time

import keras
import numpy as np

import keras_ae
from keras_ae import datasets, evaluation

BATCH_SIZE = 200
# The areas under the curve in percent of "one-class Deep SVDD" in table 1, by digit.
PAPER = (98.0, 99.7, 91.7, 91.9, 94.9, 88.5, 98.3, 94.6, 93.9, 96.5)


def one_class(epochs=8, seed=0, models=tuple("0123456789")):
    """One-class MNIST: the mean area under the curve of ten digits is at least 0.93.

    `models` are digits. Each model is trained on the training digits of one class. Scores of the
    whole test set then tell this class from the nine others.
    """
    (train, labels), (test, test_labels) = (
        datasets.as_array("mnist", part, labels=True) for part in ("train", "test")
    )
    areas, start = [], time.perf_counter()
    for name in models:
        x = train[labels == int(name)]
        model = keras_ae.DeepSVDD(seed=seed)
        steps = epochs * -(-len(x) // BATCH_SIZE)
        model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, steps)))
        began = time.perf_counter()
        model.fit(x, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
        seconds = round(time.perf_counter() - began, 1)
        scores, is_normal = model.anomaly_score(test, verbose=0), test_labels == int(name)
        areas.append(evaluation.anomaly_scores(~is_normal, scores)["roc_auc"])
        yield {
            "digit": int(name),
            "area_under_curve": areas[-1],
            "in_the_paper": PAPER[int(name)] / 100,
            "distinct_scores": len(np.unique(scores)),
            "training_seconds": seconds,
        }
    yield {
        "mean_area_under_curve": float(np.mean(areas)),
        "in_the_paper": float(np.mean([PAPER[int(name)] for name in models])) / 100,
        "limit": 0.93,
        "seconds": round(time.perf_counter() - start, 1),
    }
