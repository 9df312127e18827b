"""Files that the version of 22 November 2026 wrote load, and compute the same as then.

`files_of_before` has a `.keras` file of a tiny model of each class, trained for an epoch, and three
artifacts. `computed.npz` has the inputs "x", and what that version computed from them on
TensorFlow, as "NAME/method". For BetaTCVAE it has only the one loss that still means the same. The
files are never written again.
"""

import json
import pathlib
import shutil

import keras
import numpy as np
import pytest

import keras_ae

FILES = pathlib.Path(__file__).parent / "files_of_before"
COMPUTED = dict(np.load(FILES / "computed.npz"))
X = COMPUTED["x"]
NAMES = sorted(path.stem for path in FILES.glob("*.keras"))
ARTIFACTS = sorted(path.name for path in FILES.iterdir() if path.is_dir())
ON_TENSORFLOW = keras.config.backend() == "tensorflow"


def compare(name, method, value):
    expected = COMPUTED[f"{name}/{method}"]
    np.testing.assert_allclose(value, expected, rtol=1e-4, atol=1e-4, err_msg=method)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_computes_what_it_computed(name):
    model = keras_ae.load(FILES / f"{name}.keras")
    assert type(model).__name__ == name
    assert int(model.optimizer.iterations) == 3
    compare(name, "encode", model.encode(X))
    compare(name, "reconstruct", model.reconstruct(X))
    if not ON_TENSORFLOW:  # Noise is drawn differently on each backend.
        return
    compare(name, "sample", model.sample(5, seed=3))
    if f"{name}/log_likelihood" in COMPUTED:
        compare(name, "log_likelihood", model.log_likelihood(X[:8], num_samples=20, seed=1))
    if f"{name}/prior_log_likelihood" in COMPUTED:
        compare(name, "prior_log_likelihood", model.prior_log_likelihood(X[:8]))
    losses = model.evaluate(X, batch_size=16, verbose=0, return_dict=True)
    for loss, value in losses.items():
        if f"{name}/evaluate/{loss}" in COMPUTED:
            compare(name, f"evaluate/{loss}", value)
    assert f"{name}/evaluate/reconstruction_loss" in COMPUTED


@pytest.mark.parametrize("name", ARTIFACTS)
def test_an_artifact_is_loaded_and_served(name):
    model = keras_ae.load(FILES / name)
    x = X[:8]
    compare(name, "encode", model.encode(x))
    compare(name, "serve", model.reconstruct(x))
    if ON_TENSORFLOW:
        import tensorflow as tf

        served = tf.saved_model.load(str(FILES / name))
        compare(name, "encode", served.encode(x))
        compare(name, "sample", served.sample(3, 5))


def test_an_artifact_of_before_is_replaced(tmp_path):
    """`export` knows by the old keys in the card that it may replace the folder."""
    if keras.config.backend() == "torch":
        pytest.skip("torch exports no SavedModel")
    path = tmp_path / "model"
    shutil.copytree(FILES / "artifact_VAE", path)
    model = keras_ae.load(path)
    model.export(path, overwrite=True, card={"data": "other"})
    assert json.loads((path / "card.json").read_text())["data"] == "other"


def test_every_model_of_before_has_a_file():
    assert len(NAMES) == 43 and len(ARTIFACTS) == 3
