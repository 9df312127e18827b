"""The command `keras-ae detect`, which scores how anomalous examples are."""

import pathlib

import numpy as np
import pandas as pd

from keras_ae import datasets, models
from keras_ae.cli import runs
from keras_ae.cli.settings import find_artifact
from keras_ae.core import storage
from keras_ae.estimators import AnomalyDetector


def run(data, model, given, model_options, output, folder):
    """Train a detector or load one, and write the scores of all examples.

    Args:
        data: Name or path of the data.
        model: Name of a model, or folder of a detector.
        given: Dictionary of arguments of `AnomalyDetector`.
        model_options: Dictionary of arguments of the model.
        output: Path of the .csv file.
        folder: Folder to which the detector is exported, or None.

    Returns:
        Iterator over the lines that say what was written.
    """
    if isinstance(given.get("threshold"), str):
        given = {**given, "threshold": runs.parse(given["threshold"])}
    x = datasets.as_array(data, "all")
    if model in models.FILES:
        given = {"random_state": 0, **given}
        detector = AnomalyDetector(model, model_options=model_options, **given).fit(x)
        found = detector.decision_scores_
    else:
        refused = [*given, *(["set"] if model_options else [])]
        if refused or folder is not None:
            names = {"random_state": "seed"}
            words = [names.get(name, name).replace("_", "-") for name in refused]
            options = ", ".join(f"--{word}" for word in words) or "--export"
            raise ValueError(
                f"{options}: the detector in {model} was trained with its own. Leave this out, or "
                "pass the name of a model."
            )
        detector = AnomalyDetector.load(find_artifact(pathlib.Path(model)))
        found = -detector.score_samples(x)
    table = {"anomaly_score": found, "is_anomaly": (found > detector.threshold_).astype(int)}
    if x.ndim == 2:
        table["column"] = np.argmax(detector.explain(x), axis=1)
    with storage.whole_file(output, storage.refuse_existing) as partial:
        pd.DataFrame(table).to_csv(partial, index_label="example")
    yield (
        f"{output}: {int(table['is_anomaly'].sum())} of {len(x)} examples are anomalies, whose "
        f"{detector.anomaly_score_} score is above {detector.threshold_:.4g}"
    )
    if folder is not None:
        detector.export(folder, card={"data": data})
        yield f"{folder}: the detector, for AnomalyDetector.load and TensorFlow Serving"
