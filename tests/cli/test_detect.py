"""`keras-ae detect`."""

import keras
import numpy as np
import pandas as pd
import pytest
from command_line import assert_one_line, command
from sklearn.metrics import roc_auc_score

SMALL = ("--set", 'network_options={"units": [8]}', "--epochs", "3", "--contamination", "0.05")


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A .csv file of 120 rows, in the last column of which the first six are far from the rest."""
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(120, 3))
    x[:6, 2] += 20
    np.savetxt("table.csv", x, delimiter=",", header="a,b,c", comments="")
    return x


def test_a_table_is_scored(table, capsys):
    assert command("detect", "table.csv", *SMALL, "--output", "scores.csv") == 0
    found = pd.read_csv("scores.csv")
    assert list(found) == ["example", "anomaly_score", "is_anomaly", "column"]
    assert found.example.tolist() == list(range(120))
    assert found.is_anomaly.sum() == 6
    assert set(found.column) <= {"a", "b", "c"}
    assert roc_auc_score(np.arange(120) < 6, found.anomaly_score) > 0.9
    assert "scores.csv: 6 of 120 examples are anomalies" in capsys.readouterr().out


def test_a_detector_that_was_exported_scores_other_data(table, capsys):
    if keras.config.backend() == "torch":
        pytest.skip("the torch backend exports no SavedModel")
    words = ("--output", "first.csv", "--export", "detector", "--threshold", "extreme_values")
    assert command("detect", "table.csv", *SMALL, *words) == 0
    words = ("--model", "detector", "--output", "second.csv")
    assert command("detect", "table.csv", *words) == 0
    first, second = pd.read_csv("first.csv"), pd.read_csv("second.csv")
    numbers = ["anomaly_score", "is_anomaly"]
    np.testing.assert_allclose(first[numbers], second[numbers], rtol=1e-4, atol=1e-4)
    assert list(first.column) == list(second.column)
    np.savetxt("moved.csv", table[:, [2, 0, 1]], delimiter=",", header="c,a,b", comments="")
    capsys.readouterr()
    assert command("detect", "moved.csv", "--model", "detector", "--output", "moved_out.csv") == 2
    assert_one_line(capsys.readouterr(), "feature names")
    capsys.readouterr()
    words = ("--model", "detector", "--output", "third.csv", "--trim", "0.1", "--seed", "1")
    assert command("detect", "table.csv", *words) == 2
    assert_one_line(capsys.readouterr(), "--trim, --seed: the detector in detector")


def test_mistakes_are_one_line(table, capsys):
    for words, message in (
        (("nowhere.csv",), "does not exist"),
        (("table.csv", "--model", "VEA"), "'VEA'"),
        (("table.csv", "--contamination", "2"), "contamination=2.0"),
        (("table.csv", "--threshold", "high"), "threshold='high'"),
        (("table.csv", "--output", "table.csv"), "table.csv exists"),
        (("table.csv", "--output", "scores.txt"), "must end in .csv"),
        (("table.csv", "--set", "units"), "write the setting as name=value"),
        (("table.csv", "--set", "laten_dim=3"), "latent_dim"),
    ):
        assert command("detect", *words) == 2
        assert_one_line(capsys.readouterr(), message)
