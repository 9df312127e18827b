"""Files that the version of 22 November 2026 wrote load, and compute the same as then.

`files_of_before` has a `.keras` file of a tiny model of each class, trained for an epoch, and three
artifacts. `computed.npz` has the inputs "x", and what that version computed from them on
TensorFlow, as "NAME/method". For BetaTCVAE it has only the one loss that still means the same. The
files are never written again.
"""

import json
import pathlib
import shutil
import zipfile

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


@pytest.mark.every_backend
@pytest.mark.parametrize(
    ("name", "shape", "options", "chosen"),
    [
        ("VAE", (40, 44, 1), {}, {"network_options": {"filters": [32, 64]}}),
        ("PerceptualVAE", (40, 44, 1), {}, {"network_options": {"filters": [32, 64]}}),
        (
            "AE",
            (40, 44, 1),
            {"encoder": "transformer", "decoder": "transformer"},
            {"network_options": {"patch_size": 4}},
        ),
        ("AE", (5, 6, 7, 1), {}, {"encoder": "mlp", "decoder": "mlp"}),
        ("AE", (5, 6, 7, 1), {}, {"network_options": {"activation": "relu"}}),
    ],
    ids=["conv", "a network besides", "transformer", "volumes", "convolutions of volumes"],
)
def test_default_networks_of_before_were_others(tmp_path, name, shape, options, chosen):
    """A file of before does not say so. Here the same networks are chosen, and then the choice is
    removed from the file."""
    follows_size = "activation" in chosen.get("network_options", {})
    units = {"units": [2]}
    options = {"network_options": units, **options}
    given = {**options, **chosen, "network_options": units | chosen.get("network_options", {})}
    model = getattr(keras_ae, name)(2, seed=0, **given)
    model.build((None, *shape))
    model.save(tmp_path / "new.keras")
    with (
        zipfile.ZipFile(tmp_path / "new.keras") as new,
        zipfile.ZipFile(tmp_path / "old.keras", "w") as old,
    ):
        for part in new.namelist():
            text = new.read(part)
            if part == "config.json":
                config = json.loads(text)
                assert config["build_config"].pop("default_networks") == 2
                if follows_size:
                    config["build_config"]["networks_follow_size"] = True
                config["config"] |= {"encoder": None, "decoder": None, **options}
                text = json.dumps(config).encode()
            old.writestr(part, text)
    x = np.random.default_rng(0).random((3, *shape), "float32")
    expected = model.reconstruct(x)
    loaded = keras_ae.load(tmp_path / "old.keras")
    np.testing.assert_allclose(loaded.reconstruct(x), expected, rtol=1e-5, atol=1e-6)
    loaded.save(tmp_path / "again.keras")
    again = keras_ae.load(tmp_path / "again.keras")
    np.testing.assert_allclose(again.reconstruct(x), expected, rtol=1e-5, atol=1e-6)
    fresh = getattr(keras_ae, name)(2, seed=0, **options)
    fresh.build((None, *shape))
    if follows_size:  # Only the activation differs.
        fresh.set_weights(model.get_weights())
        assert not np.allclose(fresh.reconstruct(x), expected, atol=1e-3)
    else:
        assert fresh.count_params() != model.count_params()


# Model -> what its file of before means, although the same arguments, or none, mean another now.
MEANT = {
    "WAE": lambda model: model._kernel_factor == 7,
    "InfoVAE": lambda model: model._kernel_factor == 7,
    "AdversarialAE": lambda model: model.gradient_penalty == 0.0,
    "PerceptualVAE": lambda model: not model._compares_maps,
}


@pytest.mark.every_backend
@pytest.mark.parametrize("name", MEANT)
def test_a_file_means_what_it_meant(tmp_path, name):
    """It also does after it is loaded, trained and saved once more; a new model's file does not."""
    model = keras_ae.load(FILES / f"{name}.keras")
    assert MEANT[name](model)
    model.fit(X, batch_size=16, verbose=0)
    model.save(tmp_path / "again.keras")
    assert MEANT[name](keras_ae.load(tmp_path / "again.keras"))
    given = {name: value for name, value in model.arguments.items() if name != "gradient_penalty"}
    new = type(model)(**given)
    new.build((None, *X.shape[1:]))
    assert not MEANT[name](new)
    new.save(tmp_path / "new.keras")
    assert not MEANT[name](keras_ae.load(tmp_path / "new.keras"))


@pytest.mark.every_backend
@pytest.mark.parametrize("name", ["WAE", "InfoVAE"])
def test_a_discrepancy_of_before_is_that_of_the_sum_of_kernels(name):
    old = keras_ae.load(FILES / f"{name}.keras")
    new = type(old)(**old.arguments)
    new.build((None, *X.shape[1:]))
    new.set_weights(old.get_weights())
    terms = []
    for model in (old, new):
        model.step_seed = lambda training: 7
        values = model.loss_terms(keras.ops.convert_to_tensor(X), X, False)
        terms.append(float(keras.ops.convert_to_numpy(values["mmd_loss"])))
    assert terms[0] == pytest.approx(7.0 * terms[1], rel=1e-4)


def test_no_capacity_was_the_paper_s():
    model = keras_ae.AnnealedVAE(2)
    assert model.capacity.num_steps == 1000
    again = keras_ae.AnnealedVAE.from_config(model.get_config())
    assert again.capacity.get_config() == model.capacity.get_config()
    before = {**model.get_config(), "capacity": None}
    assert keras_ae.AnnealedVAE.from_config(before).capacity.num_steps == 100_000


def test_every_model_of_before_has_a_file():
    assert len(NAMES) == 43 and len(ARTIFACTS) == 3
