"""Tables made by a model: a classifier trained on them is tested on real rows.

python -m benchmarks.reproduce tables --data tabular/  # TVAE needs ctgan

The folder holds Adult (adult-train.csv.gz and adult-test.csv.gz, UCI), penguins.csv and
titanic.csv. A gradient-boosted classifier of scikit-learn learns the income from 32,561 rows, real
or made by a model that was trained on the real ones, and is tested on the 16,281 rows of the test
set. Of penguins and titanic, the table shows whether types and shares of missing cells come back.
"""

import pathlib
import time

import keras
import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import OrdinalEncoder

import keras_ae

ADULT = (
    "age workclass fnlwgt education education_num marital_status occupation relationship race sex "
    "capital_gain capital_loss hours_per_week native_country income"
).split()
BATCH_SIZE = 500
STEPS = 20_000  # The paper's code trains for 300 epochs, which have about as many steps.


def _read_adult(folder, part):
    path = pathlib.Path(folder) / f"adult-{part}.csv.gz"
    table = pd.read_csv(path, names=ADULT, na_values="?", skipinitialspace=True, comment="|")
    table["income"] = table["income"].str.rstrip(".")
    return table


def _train(table, steps, seed):
    model = keras_ae.TabularVAE(32, network_options={"units": (256, 256)}, seed=seed)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, steps)))
    batch_size = min(BATCH_SIZE, max(32, len(table) // 10))
    model.fit(table, batch_size=batch_size, epochs=steps // -(-len(table) // batch_size), verbose=0)
    return model


def _make(name, table, epochs, seed):
    """Return a table of as many rows, made by a model of this name."""
    if name == "real":
        return table
    if name == "TabularVAE":
        steps = STEPS if epochs is None else epochs * -(-len(table) // BATCH_SIZE)
        return _train(table, steps, seed).sample(len(table), seed=seed)
    import ctgan
    import torch

    torch.manual_seed(seed)
    np.random.seed(seed)
    discrete = [column for column in table if not pd.api.types.is_numeric_dtype(table[column])]
    model = ctgan.TVAE(epochs=epochs or 300, enable_gpu=False)
    filled = table.fillna({column: "?" for column in discrete})
    model.fit(filled, discrete)
    return model.sample(len(table)).replace("?", None)


def _score(train, test):
    """Return the ROC AUC, on real rows, of a classifier that learned from a table."""
    inputs, target = ADULT[:-1], ADULT[-1]
    text = [name for name in inputs if not pd.api.types.is_numeric_dtype(test[name])]
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    encoder.fit(pd.concat([train, test])[text].astype(object))

    def encode(table):
        x = table[inputs].copy()
        x[text] = encoder.transform(table[text].astype(object))
        return x.astype("float64")

    is_text = [name in text for name in inputs]
    classifier = HistGradientBoostingClassifier(categorical_features=is_text, random_state=0)
    classifier.fit(encode(train), train[target] == ">50K")
    found = classifier.predict_proba(encode(test))[:, 1]
    return float(roc_auc_score(test[target] == ">50K", found))


def tables(data, epochs=None, seed=0, seeds=None, models=("real", "TabularVAE", "TVAE")):
    """Yield the ROC AUC of a classifier trained on each model's rows, and what comes back."""
    train, test = (_read_adult(data, part) for part in ("train", "test"))
    real = _score(train, test)
    for name in models:
        start, areas = time.perf_counter(), []
        for each in [seed] if name == "real" else seeds or [seed, seed + 1, seed + 2]:
            areas.append(_score(_make(name, train, epochs, each), test))
        yield {
            "table": "adult",
            "trained_on": name,
            "roc_auc": round(float(np.mean(areas)), 4),
            "spread": round(float(np.std(areas)), 4),
            "share_of_real": round(float(np.mean(areas)) / real, 4),
            "seconds": round(time.perf_counter() - start, 1),
        }
    for name in ("penguins", "titanic"):
        table = pd.read_csv(pathlib.Path(data) / f"{name}.csv")
        found = _train(table, 2000, seed).sample(2000, seed=seed)
        gaps = (found.isna().mean() - table.isna().mean()).abs()
        yield {
            "table": name,
            "types_come_back": bool((found.dtypes == table.dtypes).all()),
            "largest_difference_of_missing_cells": round(float(gaps.max()), 3),
        }
