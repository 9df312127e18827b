"""The exported folder: plain TensorFlow serves it, and a new process loads and trains it."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
import zoo
from keras import layers

import keras_ae
from keras_ae import saving
from keras_ae.cli import runs
from keras_ae.core import storage
from keras_ae.saving import collection, export, formats

# This program, without Keras, serves one folder after the other.
SERVED = """
import sys
for name in ("keras", "keras_ae", "jax", "torch"):
    sys.modules[name] = None  # An import of it fails.
import json
import numpy as np
import tensorflow as tf

def answers(folder, x):
    # What a folder serves, and what its endpoints take.
    served = tf.saved_model.load(folder)
    results, inputs = {}, {}
    for name, signature in served.signatures.items():
        inputs[name] = {k: (v.dtype.name, v.shape.as_list()) for k, v in
                        signature.structured_input_signature[1].items()}
    for rows in (1, len(x)):
        results[f"encode{rows}"] = served.encode(x[:rows])
    results["serve"] = served.serve(x)
    results["decode"] = served.decode(results[f"encode{len(x)}"])
    sample = served.signatures["sample"]
    for seed in (0, 1):
        drawn = sample(num_samples=tf.constant(7), seed=tf.constant(seed))
        (results[f"sample{seed}"],) = drawn.values()
    (again,) = sample(num_samples=tf.constant(7), seed=tf.constant(0)).values()
    assert np.array_equal(again, results["sample0"])
    if "log_likelihood" in served.signatures:
        results["log_likelihood"] = served.log_likelihood(x, tf.constant(3))
    for name in ("encode", "serve"):
        try:
            served.signatures[name](x=tf.constant(x * float("nan")))
        except tf.errors.InvalidArgumentError as error:
            assert f"{name}: x must" in str(error)
        else:
            raise AssertionError(f"{name} takes NaN")
    (default,) = served.signatures["serving_default"](x=tf.constant(x)).values()
    assert np.array_equal(default, results["serve"])
    return {k: np.asarray(v) for k, v in results.items()}, inputs

for line in sys.stdin:
    folder, data = json.loads(line)
    results, inputs = answers(folder, np.load(data))
    np.savez(folder + ".npz", **results)
    print(json.dumps(inputs), flush=True)
"""


@pytest.fixture(scope="session")
def plain_tensorflow(tmp_path_factory):
    """Function of (folder, x) that returns what the folder serves, and its endpoints' arguments."""
    errors = tmp_path_factory.mktemp("served") / "errors.txt"
    with open(errors, "w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", SERVED],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    def ask(folder, x):
        np.save(f"{folder}.npy", x)
        process.stdin.write(json.dumps([str(folder), f"{folder}.npy"]) + "\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        assert answer, errors.read_text()[-3000:]
        return np.load(f"{folder}.npz"), json.loads(answer)

    yield ask
    process.stdin.close()
    process.stdout.close()
    process.wait()


def run(code, *arguments, **environment):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


# One model of each kind of sampler. The contract serves every model, in the process of the tests.
@pytest.mark.parametrize("name", ["AE", "VAE", "VQVAE", "TopKSAE"])
def test_the_endpoints_equal_the_model(name, tmp_path, exports, request):
    model, x = zoo.trained(name), zoo.data(37)
    model.export(tmp_path / name)
    served, inputs = request.getfixturevalue("plain_tensorflow")(tmp_path / name, x)
    assert inputs["encode"] == {"x": ["float32", [None, 6]]}
    assert inputs["serve"] == inputs["serving_default"] == {"x": ["float32", [None, 6]]}
    shape = [None, *zoo.code_shape(name)]
    assert inputs["decode"] == {"z": [model._code_dtype, shape]}
    assert inputs["sample"] == {"num_samples": ["int32", []], "seed": ["int32", []]}
    z = model.encode(x)
    for rows in (1, 37):
        np.testing.assert_allclose(served[f"encode{rows}"], z[:rows], atol=1e-5)
    np.testing.assert_allclose(served["serve"], model.reconstruct(x), atol=1e-5)
    np.testing.assert_allclose(served["decode"], model.decode(z), atol=1e-5)
    np.testing.assert_allclose(served["sample0"], model.sample(7, seed=0), atol=1e-5)
    assert not np.array_equal(served["sample0"], served["sample1"])
    if name in zoo.VARIATIONAL:
        estimate = model.log_likelihood(x, num_samples=model._SERVED_SAMPLES, seed=3)
        assert served["log_likelihood"].shape == (37,)
        np.testing.assert_allclose(served["log_likelihood"], estimate, atol=0.2)
        assert inputs["log_likelihood"]["seed"] == ["int32", []]


LOADED = """
import sys, warnings
warnings.filterwarnings("ignore", "__array__")
import numpy as np
import keras_ae

for place in sys.argv[1:]:
    model = keras_ae.load(place)
    name = place.split("/")[-1].removesuffix(".keras")
    assert type(model).__name__ == name
    x = dict(np.load(f"{place}.npz"))
    x = x if len(x) > 1 else x["x"]
    np.save(f"{place}.codes.npy", model.encode(x))
    if getattr(model, "optimizer", None):
        assert model.optimizer.iterations.numpy() == 3
        history = model.fit(x, epochs=1, batch_size=16, verbose=0)
        np.save(f"{place}.loss.npy", history.history["loss"])
"""


FITTED = ["AE", "VAE", "FactorVAE"]  # The other models are saved untrained.


def test_every_artifact_loads_in_a_new_process(tmp_path):
    """Each class is found; training continues with the same optimizer, noise and order of data."""
    models, places = {}, {}
    for name in zoo.MODELS:
        model = zoo.fitted(name) if name in FITTED else zoo.MODELS[name]()
        zoo.build(model)
        models[name], places[name] = model, [tmp_path / f"{name}.keras"]
        model.save(places[name][0])
        if name in FITTED and keras.config.backend() != "torch":
            places[name].append(tmp_path / name)
            model.export(tmp_path / name)
        x = zoo.data_for(name)
        for place in places[name]:
            np.savez(f"{place}.npz", **(x if isinstance(x, dict) else {"x": x}))
    run(LOADED, *sum(places.values(), []))
    for name, model in models.items():
        x = zoo.data_for(name)
        codes = model.encode(x)
        for place in places[name]:
            found = np.load(f"{place}.codes.npy")
            np.testing.assert_allclose(found, codes, atol=1e-6, err_msg=name)
        if name in FITTED:
            loss = model.fit(x, epochs=1, batch_size=16, verbose=0).history["loss"]
            for place in places[name]:
                np.testing.assert_allclose(np.load(f"{place}.loss.npy"), loss, rtol=1e-6)


def test_your_own_layers_load_once_they_are_registered(tmp_path, exports):
    @keras.saving.register_keras_serializable("mine")
    class Doubled(layers.Layer):
        def call(self, x):
            return 2 * x

    encoder = keras.Sequential([keras.Input((6,)), Doubled(), layers.Dense(4)])
    model = zoo.fitted("VAE", encoder=encoder)
    model.export(tmp_path / "model")
    assert np.array_equal(
        keras_ae.load(tmp_path / "model").encode(zoo.data()), model.encode(zoo.data())
    )
    code = "import sys, keras_ae\ntry:\n    keras_ae.load(sys.argv[1])\nexcept ValueError as e:\n"
    printed = run(code + "    print(e)", tmp_path / "model")
    assert "mine>Doubled" in printed and "Import the module" in printed


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_is_served_in_float32(policy, tmp_path, exports):
    import tensorflow as tf

    model = zoo.fitted("VAE", dtype=policy)
    model.export(tmp_path / "model")
    served = tf.saved_model.load(str(tmp_path / "model"))
    x = zoo.data()
    assert served.encode(tf.constant(x)).dtype == tf.float32
    np.testing.assert_allclose(served.encode(tf.constant(x)), model.encode(x), atol=1e-2)


def test_the_card_describes_the_model(tmp_path, exports):
    model = zoo.trained("VAE")
    model.export(tmp_path / "model", card={"data": "pairs of bits", "command": "pytest"})
    card = saving.read_card(tmp_path / "model")
    assert card["model"] == "VAE" and "license" not in card  # It is the user's to choose.
    assert card["data"] == "pairs of bits" and card["command"] == "pytest"
    assert card["configuration"] == {
        "network_options": {"units": [8], "activation": "tanh"},
        "latent_dim": 2,
        "encoder": None,
        "decoder": None,
        "likelihood": "bernoulli",
        "kl_weight": 1.0,
        "free_bits": 0.0,
        "standardize": False,
        "seed": 1,
        "name": model.name,
        "trainable": True,
        "dtype": "float32",
    }
    assert card["versions"]["keras"] == keras.__version__
    assert card["parameters"] == model.count_params()
    assert card["endpoints"] == ["serve", "encode", "decode", "log_likelihood", "sample"]


def test_no_code_is_stored(tmp_path, exports):
    for encoder in (
        keras.Sequential([keras.Input((6,)), layers.Lambda(lambda x: x), layers.Dense(4)]),
        keras.Sequential([keras.Input((6,)), layers.Dense(4, activation=lambda x: x)]),
    ):
        model = zoo.fitted("VAE", encoder=encoder)
        with pytest.raises(ValueError, match="stored as code"):
            model.export(tmp_path / "model")
        assert list(tmp_path.iterdir()) == []
    model = zoo.trained("VAE")
    model.export(tmp_path / "model")
    with zipfile.ZipFile(tmp_path / "model/assets.extra/model.keras") as archive:
        names = archive.namelist()
    assert sorted(names) == ["config.json", "metadata.json", "model.weights.h5"]


def test_a_failed_export_leaves_everything_as_it_was(tmp_path, exports, monkeypatch):
    model = zoo.trained("VAE")
    place = tmp_path / "model"
    with monkeypatch.context() as patch:
        patch.setattr(export, "facts", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model.export(place)
    assert list(tmp_path.iterdir()) == []
    model.export(place)
    before = contents(place)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        model.export(place)
    with monkeypatch.context() as patch:
        patch.setattr(export, "facts", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            model.export(place, overwrite=True)
    with monkeypatch.context() as patch:

        def refuse(*_):
            raise OSError(28, "No space left on device")

        patch.setattr(storage, "_put", refuse)
        with pytest.raises(OSError, match="No space.*What was there before is unchanged"):
            model.export(place, overwrite=True)
    assert contents(place) == before
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    model.export(place, card={"data": "new"}, overwrite=True)
    assert keras_ae.load(place).built and saving.read_card(place)["data"] == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


# ------------------------------------------------------------------ what an export may replace


def contents(folder):
    """Return every path in a folder, with the file's content or the link's target."""
    return {
        path.relative_to(folder).as_posix(): os.readlink(path)
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else None
        for path in sorted(folder.rglob("*"))
    }


def with_artifact(folder, name="model"):
    """Copy an artifact that the version of 22 November wrote into a folder."""
    shutil.copytree(
        pathlib.Path(__file__).with_name("files_of_before") / "artifact_VAE", folder / name
    )
    return folder / name


def with_file(name):
    def make(folder):
        file = with_artifact(folder) / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("mine")
        return folder / "model", f"holds {name.partition('/')[0]}"

    return make


def with_card(text):
    def make(folder):
        (with_artifact(folder) / "card.json").write_bytes(text.encode("latin-1"))
        return folder / "model", "without the card.json of an artifact of keras_ae"

    return make


def with_link_in_it(folder):
    inside = with_artifact(folder) / "variables" / "variables.index"
    inside.rename(folder / "elsewhere")
    inside.symlink_to(folder / "elsewhere")
    return folder / "model", "holds variables/variables.index"


def link(target):
    def make(folder):
        with_artifact(folder, "artifact")
        (folder / "model").symlink_to(folder / target)
        return folder / "model", "is a link to .*" + target

    return make


def folder_of_the_user(folder):
    (folder / "model").mkdir()
    (folder / "model" / "notes.txt").write_text("mine")
    return folder / "model", "is a folder without the card.json"


def other_saved_model(folder):
    (with_artifact(folder) / "card.json").unlink()
    return folder / "model", "is a folder without the card.json"


def file(folder):
    (folder / "model").write_text("mine")
    return folder / "model", "is a file and not a folder"


def of_working_directory(path):
    def make(folder):
        os.chdir(with_artifact(folder))
        return path, "is or contains the working directory"

    return make


def inside_of_it(folder):
    os.chdir(with_artifact(folder) / "variables")
    return "..", "is or contains the working directory"


def home(folder):
    os.environ["HOME"] = str(with_artifact(folder))
    return folder / "model", "is or contains the home folder"


CARD = {name: {} for name in ("model", "configuration", "data_shape", "endpoints", "versions")}
PLACES = [
    *(with_file(name) for name in ("notes.txt", ".hidden", "variables/mine.txt", "assets/mine")),
    *(with_file(name) for name in ("mine/a.txt", "variables/variables.data-00000-of-0000x")),
    *(with_card(text) for text in ("", "{", "[" * 10**5, "[]", "1", '{"model": "BERT"}', "\xff")),
    *(with_card(json.dumps({**CARD, "sha256": value})) for value in ("abc", {"a": "b"})),
    with_link_in_it,
    link("artifact"),
    link("nowhere"),
    folder_of_the_user,
    other_saved_model,
    file,
    *(of_working_directory(path) for path in (".", "./", "x/..", "../model", "../model/")),
    *(of_working_directory(path) for path in ("..", "../..", "./.")),
    inside_of_it,
    home,
]


@pytest.mark.parametrize("make", PLACES, ids=range(len(PLACES)))
@pytest.mark.parametrize("overwrite", [True, False])
def test_only_artifacts_are_replaced(make, overwrite, tmp_path, monkeypatch):
    """Which is looked at before a model is traced, on every backend."""
    monkeypatch.setattr(export, "_make_served", lambda *_: 1 / 0)
    monkeypatch.setenv("HOME", os.environ.get("HOME", ""))  # Restored afterwards, as the folder is.
    monkeypatch.chdir(tmp_path)
    path, found = make(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match=found) as caught:
        zoo.trained("VAE").export(path, overwrite=overwrite)
    assert "Choose another path, or move away" in str(caught.value)
    assert contents(tmp_path) == before


def test_an_empty_path_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="export: the path '' is empty"):
        zoo.trained("VAE").export("", overwrite=True)


@pytest.mark.parametrize("name", ["a.onnx", "a.tflite", "a.xml", "a.pt2"])
def test_a_folder_has_no_name_of_another_format(name, tmp_path):
    with pytest.raises(ValueError, match="is the name of a file.*Choose format='"):
        zoo.trained("VAE").export(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_the_root_and_tildes_are_refused_as_paths(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path / "folder")
    with monkeypatch.context() as patch:
        patch.setattr(os.path, "ismount", with_artifact(tmp_path).__eq__)
        with pytest.raises(FileExistsError, match="model is a mount point"):
            zoo.trained("VAE").export(tmp_path / "model", overwrite=True)
    with pytest.raises(FileExistsError, match="root of the file system"):
        zoo.trained("VAE").export("/", overwrite=True)
    for path in ("~", "~/models/vae"):
        with pytest.raises(ValueError, match="begins with ~.* Pass .*/"):
            zoo.trained("VAE").export(path, overwrite=True)
    assert list((tmp_path / "folder").iterdir()) == []


def scaled_adam():
    return keras.optimizers.LossScaleOptimizer(keras.optimizers.Adam())


def before_training(*methods):
    """Return a function that makes a model and calls these methods on it in this order."""

    def make(optimizer):
        model = zoo.make("VAE")
        methods_of_all = {
            "build": lambda: model.build((None, 6)),
            "compile": lambda: model.compile(optimizer(), metrics=["mse"], **zoo.OP_BY_OP),
            "encode": lambda: model.encode(zoo.data()),
            "fit": lambda: model.fit(zoo.data(), verbose=0),
        }
        for method in methods:
            methods_of_all[method]()
        return model

    return make


@pytest.mark.parametrize(
    ("make", "optimizer"),
    [
        (before_training("build", "compile"), keras.optimizers.Adam),
        (before_training("compile", "encode"), scaled_adam),
        (before_training("compile", "fit", "compile"), keras.optimizers.Adam),
        (before_training("build"), None),
    ],
)
def test_a_model_that_is_saved_before_it_is_trained_loads(make, optimizer, tmp_path):
    """Keras writes no state for an optimizer that has not taken a step."""
    model = make(optimizer)
    model.save(tmp_path / "model.keras")
    loaded = keras_ae.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.encode(zoo.data()), model.encode(zoo.data()))
    assert loaded.compiled == model.compiled
    if model.compiled:
        for each in (model, loaded):
            each.fit(zoo.data(), epochs=1, verbose=0)
        for variable, expected in zip(loaded.weights, model.weights, strict=True):
            np.testing.assert_array_equal(variable, expected)


def test_artifacts_of_the_version_before_are_replaced(tmp_path, exports, monkeypatch):
    """The path leads through a link, and is relative to a later working directory."""
    model = zoo.trained("VAE")
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "link").symlink_to(folder)
    assert saving.read_card(with_artifact(folder))["license"] == "Apache-2.0"
    with pytest.raises(FileExistsError, match="Pass overwrite=True to replace it"):
        model.export(tmp_path / "link" / "model")
    monkeypatch.chdir(tmp_path / "link")
    model.export("./model/", overwrite=True)
    model.export(folder / "model", overwrite=True)
    assert keras_ae.load("model")._data_shape == (6,)
    assert [path.name for path in folder.iterdir()] == ["model"]


def test_a_run_stopped_after_its_export_resumes(tmp_path, exports, monkeypatch):
    np.save(tmp_path / "x.npy", zoo.data())
    settings = runs.Settings("AE", str(tmp_path / "x.npy"), 1, arguments={"latent_dim": 2})
    with monkeypatch.context() as patch:
        patch.setattr(runs, "whole_file", lambda path: stopped_at("metrics.json", path))
        with pytest.raises(KeyboardInterrupt):
            runs.train(settings, tmp_path / "run", verbose=0)
    before = contents(tmp_path / "run" / "model")
    assert before and not (tmp_path / "run" / "metrics.json").exists()
    assert runs.train(settings, tmp_path / "run", resume=True, verbose=0)
    assert contents(tmp_path / "run" / "model").keys() == before.keys()
    assert (tmp_path / "run" / "metrics.json").exists()
    assert not [path for path in tmp_path.rglob(".*")]


def stopped_at(name, path):
    if path.name == name:
        raise KeyboardInterrupt
    return storage.whole_file(path)


def test_a_second_export_is_refused(tmp_path, exports, monkeypatch):
    """While the first one is under way, whether it may overwrite or not."""
    model, served, refused = zoo.trained("VAE"), export._make_served, []

    def meanwhile(model, more):
        for overwrite in (False, True):
            with pytest.raises(BlockingIOError, match="another thread of this process.*Wait"):
                thread = ThreadPoolExecutor(1)
                thread.submit(model.export, tmp_path / "model", overwrite=overwrite).result()
            refused.append(overwrite)
        return served(model, more)

    monkeypatch.setattr(export, "_make_served", meanwhile)
    model.export(tmp_path / "model")
    assert refused == [False, True] and keras_ae.load(tmp_path / "model").built
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_stepped_aside_is_found(tmp_path, monkeypatch):
    """After a kill between two renames, where the system cannot exchange folders in one step."""
    monkeypatch.setattr(export, "_make_served", lambda *_: 1 / 0)
    workspace = tmp_path / ".model.keras_ae"
    (workspace / "new").mkdir(parents=True)
    (workspace / "owner").write_text("keras_ae 1 elsewhere\n")
    rescue = with_artifact(workspace, "old")
    with pytest.raises(FileNotFoundError, match=f"complete in {rescue}: move it to .*model"):
        keras_ae.load(tmp_path / "model")
    assert keras_ae.load(rescue).built
    with pytest.raises(ZeroDivisionError):
        zoo.trained("VAE").export(tmp_path / "model", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert keras_ae.load(tmp_path / "model").built


def test_files_of_other_formats_are_kept(tmp_path, monkeypatch):
    def export(self, filepath, format, **options):
        assert not options["verbose"] and format == "onnx"
        for name in (filepath, filepath + ".data"):
            pathlib.Path(name).write_text("new")

    monkeypatch.setattr(keras.Model, "export", export)
    # This test is about the files alone.
    monkeypatch.setattr(formats, "check_format", lambda format, path: None)
    monkeypatch.setattr(formats, "_ADD_OPERATIONS", {})
    monkeypatch.setattr(formats, "_compare", lambda found, expected: None)
    monkeypatch.setitem(formats._RUN, "onnx", lambda path, given: None)
    model, path = zoo.trained("VAE"), tmp_path / "model.onnx"
    model.export(path, format="onnx")
    written = {"model.onnx": b"new", "model.onnx.data": b"new"}
    assert contents(tmp_path) == written
    with pytest.raises(FileExistsError, match="model.onnx exists. Pass overwrite=True"):
        model.export(path, format="onnx")
    for name in written:
        (tmp_path / name).write_text("old")
    model.export(str(path), format="onnx", overwrite=True)
    assert contents(tmp_path) == written
    path.unlink()
    with pytest.raises(FileExistsError, match="model.onnx.data exists"):
        model.export(path, format="onnx")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "model.onnx.data")
    (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
    before = contents(tmp_path)
    for name, found in {"folder": "is a folder", "link": "link to", "nowhere": "link to"}.items():
        with pytest.raises(FileExistsError, match=found):
            model.export(tmp_path / name, format="onnx", overwrite=True)
    assert contents(tmp_path) == before


def test_pretrained_models_are_found_by_name(tmp_path, exports, monkeypatch):
    zoo.trained("VAE").export(tmp_path / "models" / "my_vae")
    with pytest.raises(FileNotFoundError, match="no pretrained model of that name in .*saved"):
        keras_ae.load("my_vae")
    monkeypatch.setenv(collection.DIRECTORY_VARIABLE, str(tmp_path / "models"))
    assert type(keras_ae.load("my_vae")).__name__ == "VAE"
    assert "my_vae" in saving.list_pretrained()


def test_torch_says_how_to_export(tmp_path):
    if keras.config.backend() != "torch":
        pytest.skip("concerns the torch backend")
    with pytest.raises(NotImplementedError, match="KERAS_BACKEND=tensorflow"):
        zoo.trained("VAE").export(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore")  # The converters warn about many things.
def test_other_formats_take_one_input(tmp_path):
    model, x = zoo.trained("VAE"), zoo.data(1)
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        model.export(tmp_path / "model.tflite", format="litert", verbose=False)
        served = tf.lite.Interpreter(str(tmp_path / "model.tflite")).get_signature_runner()
        (found,) = served(x=x).values()
    elif keras.config.backend() == "torch":
        import torch

        model.export(tmp_path / "model.pt2", format="torch", verbose=False)
        found = torch.export.load(tmp_path / "model.pt2").module()(torch.tensor(x))
        found = found.detach().numpy()
    else:
        pytest.skip("the other formats of JAX need packages that the tests do not")
    np.testing.assert_allclose(found, model.reconstruct(x), atol=1e-5)
