"""The command `keras-ae detect`, which scores how anomalous examples are."""

import pathlib

import keras
import numpy as np
import pandas as pd

from keras_ae import datasets, models
from keras_ae.cli import runs
from keras_ae.cli.settings import find_artifact
from keras_ae.core import storage
from keras_ae.datasets.files import read_column_names
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
    names = _find_names(data, x)
    table = x if names is None else pd.DataFrame(x, columns=names)
    if model in models.FILES:
        if folder is not None and keras.config.backend() == "torch":
            raise NotImplementedError(
                "--export: the torch backend cannot write what TensorFlow serves. Set the variable "
                "KERAS_BACKEND=tensorflow, and repeat the command."
            )
        given = {"random_state": 0, **given}
        if "standardize" in model_options:  # The detector determines it.
            value = model_options["standardize"]
            model_options = {k: v for k, v in model_options.items() if k != "standardize"}
            given["standardize"] = {"true": True, "false": False}.get(str(value).lower(), value)
        detector = AnomalyDetector(model, model_options=model_options, **given).fit(table)
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
        if not hasattr(detector, "feature_names_in_"):
            table = x
        found = -detector.score_samples(table)
    columns = {"anomaly_score": found, "is_anomaly": (found > detector.threshold_).astype(int)}
    if x.ndim == 2:
        places = np.argmax(detector.explain(table), axis=1)
        columns["column"] = places if names is None else np.array(names)[places]
    with storage.whole_file(output, storage.refuse_existing) as partial:
        pd.DataFrame(columns).to_csv(partial, index_label="example")
    yield (
        f"{output}: {int(columns['is_anomaly'].sum())} of {len(x)} examples are anomalies, whose "
        f"{detector.anomaly_score_} score is above {detector.threshold_:.4g}"
    )
    if folder is not None:
        detector.export(folder, card={"data": data})
        yield f"{folder}: the detector, for AnomalyDetector.load and TensorFlow Serving"


def _find_names(data, x):
    """Return the names of the columns of a table from a .csv file, or None."""
    path = pathlib.Path(data)
    if path.suffix.lower() != ".csv" or not path.is_file():
        return None
    names = read_column_names(path)
    return names if names and len(set(names)) == x.shape[1] else None
