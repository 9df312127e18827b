"""Bad input to every method of every model: a clear error of this package, and nothing is lost."""

import os
import pathlib
import shutil
import traceback
import types
import zipfile

import keras
import numpy as np
import pytest
import zoo

import keras_ae
from keras_ae import datasets

PACKAGE = str(pathlib.Path(keras_ae.__file__).parent)
X = zoo.data()
NAN, INFINITE = X.copy(), X.copy()
NAN[3, 2], INFINITE[3, 2] = np.nan, np.inf
PICTURES = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1)).astype("uint8")
LABELS = np.arange(48) % 10


def dense(inputs, outputs):
    return keras.Sequential([keras.Input((inputs,)), keras.layers.Dense(outputs)])


def batches(*arrays):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(arrays if len(arrays) > 1 else arrays[0]).batch(16)


def generator_of(*items):
    yield from items


# Name -> (what is done to a trained model, the type of the error, words in its message).
TO_A_MODEL = {
    "fit rank 0": (lambda m: m.fit(3.0), TypeError, ["x", "3.0", "array"]),
    "fit rank 1": (lambda m: m.fit(X[:, 0]), ValueError, ["(48,)", "x[:, None]"]),
    "fit shape": (lambda m: m.fit(X[:, :5]), ValueError, ["(5,)", "(6,)"]),
    "fit rank 3": (lambda m: m.fit(X[:, :, None]), ValueError, ["(6, 1)", "(6,)"]),
    "fit empty": (lambda m: m.fit(X[:0]), ValueError, ["empty", "(0, 6)"]),
    "fit NaN": (lambda m: m.fit(NAN), ValueError, ["NaN", "x", "nan_to_num"]),
    "fit infinity": (lambda m: m.fit(INFINITE), ValueError, ["inf", "x"]),
    "fit objects": (lambda m: m.fit(X.astype(object)), TypeError, ["object", "float32"]),
    "fit text": (lambda m: m.fit(X.astype(str)), TypeError, ["<U", "numbers"]),
    "fit ragged": (lambda m: m.fit([[1.0, 2.0], [3.0]]), ValueError, ["different lengths"]),
    "fit nothing": (lambda m: m.fit(None), TypeError, ["x", "None", "array"]),
    "fit a string": (lambda m: m.fit("mnist"), TypeError, ["'mnist'", "array"]),
    "fit labels": (lambda m: m.fit(X, LABELS), ValueError, ["labels", "fit(x)"]),
    "fit label column": (lambda m: m.fit(X, LABELS[:, None]), ValueError, ["labels", "fit(x)"]),
    "fit one-hot": (lambda m: m.fit(X, np.eye(10)[LABELS]), ValueError, ["one-hot", "fit(x)"]),
    "fit target length": (lambda m: m.fit(X, X[:9]), ValueError, ["9 examples", "48"]),
    "fit target NaN": (lambda m: m.fit(X, NAN), ValueError, ["NaN", "y"]),
    "fit dataset with labels": (
        lambda m: m.fit(batches(X, LABELS)),
        ValueError,
        ["labels", "dataset.map"],
    ),
    "fit dataset of a shape": (lambda m: m.fit(batches(X[:, :5])), ValueError, ["(5,)", "(6,)"]),
    "fit dataset of NaN": (lambda m: m.fit(batches(NAN)), ValueError, ["NaN"]),
    "fit empty dataset": (lambda m: m.fit(batches(X).take(0)), ValueError, ["no batches"]),
    "fit dataset twice batched": (
        lambda m: m.fit(batches(X), batch_size=8),
        ValueError,
        ["batch_size=8", "unbatch"],
    ),
    "fit dataset and y": (lambda m: m.fit(batches(X), X), ValueError, ["its own targets"]),
    "fit dataset of text": (
        lambda m: m.fit(batches(X.astype(str))),
        TypeError,
        ["tensors of numbers"],
    ),
    "fit dataset of dictionaries": (
        lambda m: m.fit(batches({"pixels": X})),
        TypeError,
        ["'pixels'", "image"],
    ),
    "fit empty generator": (lambda m: m.fit(generator_of()), ValueError, ["no batches"]),
    "fit generator of NaN": (lambda m: m.fit(generator_of(NAN)), ValueError, ["NaN"]),
    "fit weights length": (
        lambda m: m.fit(X, sample_weight=np.ones(3)),
        ValueError,
        ["sample_weight", "(3,)", "48"],
    ),
    "fit weights negative": (
        lambda m: m.fit(X, sample_weight=-np.ones(48)),
        ValueError,
        ["sample_weight", "-1"],
    ),
    "fit class weights": (
        lambda m: m.fit(X, class_weight={0: 1.0}),
        ValueError,
        ["class_weight", "sample_weight"],
    ),
    "fit batch size 0": (lambda m: m.fit(X, batch_size=0), ValueError, ["batch_size=0"]),
    "fit split": (lambda m: m.fit(X, validation_split=1.5), ValueError, ["validation_split=1.5"]),
    "fit split of a dataset": (
        lambda m: m.fit(batches(X), validation_split=0.5),
        ValueError,
        ["validation_split", "validation_data"],
    ),
    "fit validation NaN": (lambda m: m.fit(X, validation_data=NAN), ValueError, ["NaN"]),
    "fit validation labels": (
        lambda m: m.fit(X, validation_data=(X, LABELS)),
        ValueError,
        ["labels", "validation_data"],
    ),
    "evaluate NaN": (lambda m: m.evaluate(NAN), ValueError, ["NaN", "x"]),
    "evaluate shape": (lambda m: m.evaluate(X[:, :5]), ValueError, ["(5,)", "(6,)"]),
    "encode shape": (lambda m: m.encode(X[:, :5]), ValueError, ["(5,)", "(6,)"]),
    "encode one example": (lambda m: m.encode(X[0]), ValueError, ["(6,)", "x[None]"]),
    "encode empty": (lambda m: m.encode(X[:0]), ValueError, ["empty"]),
    "encode NaN": (lambda m: m.encode(NAN), ValueError, ["NaN"]),
    "encode objects": (lambda m: m.encode(X.astype(object)), TypeError, ["object"]),
    "encode nothing": (lambda m: m.encode(None), TypeError, ["None", "array"]),
    "encode batch size": (lambda m: m.encode(X, batch_size=-1), ValueError, ["batch_size=-1"]),
    "reconstruct NaN": (lambda m: m.reconstruct(NAN), ValueError, ["NaN"]),
    "decode width": (lambda m: m.decode(np.zeros((3, 5))), ValueError, ["(3, 5)", "(batch, "]),
    "decode rank": (lambda m: m.decode(np.zeros(2)), ValueError, ["z", "(2,)", "z[None]"]),
    "decode NaN": (lambda m: m.decode(np.full((1, 2), np.nan)), ValueError, ["NaN", "z"]),
    "sample -1": (lambda m: m.sample(-1), ValueError, ["num_samples=-1", "positive"]),
    "sample 0": (lambda m: m.sample(0), ValueError, ["num_samples=0"]),
    "sample text": (lambda m: m.sample("ten"), ValueError, ["num_samples='ten'"]),
    "sample seed": (lambda m: m.sample(2, seed="a"), TypeError, ["seed='a'", "integer"]),
    "compile with a loss": (
        lambda m: m.compile("adam", loss="mse"),
        ValueError,
        ["loss='mse'", "Leave loss out"],
    ),
    "compile with weights": (
        lambda m: m.compile("adam", loss_weights={"kl_loss": 2.0}),
        ValueError,
        ["loss_weights={'kl_loss': 2.0}", "Leave loss_weights out"],
    ),
    "build again": (lambda m: m.build((None, 9)), ValueError, ["(6,)", "(9,)", "new model"]),
}


class Supplied:
    """A model with labels, whose methods get one for each example or sample that they are given."""

    def __init__(self, model):
        self.model = model

    def __getattr__(self, name):
        method = getattr(self.model, name)

        def call(first, *others, validation_data=None, **options):
            if name in ("decode", "sample"):
                label = 0 if name == "sample" else np.zeros(len(first), "int32")
                return method(first, *others, label=label, **options)
            if validation_data is not None:
                options["validation_data"] = self.join(validation_data)
            return method(self.join(first), *others, **options)

        return call if name not in ("build", "compile") else method

    def join(self, x):
        if isinstance(x, tuple):
            return (self.join(x[0]), *x[1:])
        if isinstance(x, (list, np.ndarray)):
            return {"x": x, "label": np.zeros(len(x), "int32")}
        if hasattr(x, "element_spec") and not isinstance(x.element_spec, dict):
            return x.map(lambda x, *y: (self.join_tensor(x), *y) if y else self.join_tensor(x))
        # Generators are told by their exact type.
        return generator_of(*map(self.join, x)) if isinstance(x, types.GeneratorType) else x

    def join_tensor(self, x):
        import tensorflow as tf

        return {"x": x, "label": tf.zeros(tf.shape(x)[:1], "int32")}


TO_A_BOUNDED_MODEL = {
    "fit 0-255": (lambda m: m.fit(X * 255), ValueError, ["255", "/ 255"]),
    "fit negative": (lambda m: m.fit(X - 0.5), ValueError, ["-0.5", "between 0 and 1"]),
    "fit 0-255 dataset": (lambda m: m.fit(batches(X * 255)), ValueError, ["255", "/ 255"]),
    "encode 0-255": (lambda m: m.encode(X * 255), ValueError, ["255", "/ 255"]),
    "validation 0-255": (lambda m: m.fit(X, validation_data=X * 255), ValueError, ["255"]),
    "likelihood samples": (
        lambda m: m.log_likelihood(X, num_samples=0),
        ValueError,
        ["num_samples=0"],
    ),
}

TO_A_CONSTRUCTOR = {
    "latent_dim 0": ({"latent_dim": 0}, ValueError, ["latent_dim=0", "positive"]),
    "latent_dim -2": ({"latent_dim": -2}, ValueError, ["latent_dim=-2"]),
    "latent_dim text": ({"latent_dim": "two"}, ValueError, ["latent_dim='two'"]),
    "latent_dim True": ({"latent_dim": True}, ValueError, ["latent_dim=True"]),
    "unknown argument": ({"latent_dims": 2}, TypeError, ["'latent_dims'", "latent_dim"]),
    "encoder name": ({"encoder": "convv"}, ValueError, ["'convv'", "'conv'"]),
    "encoder type": ({"encoder": 3}, TypeError, ["encoder=3", "Keras model"]),
    "seed": ({"seed": "now"}, TypeError, ["seed='now'", "integer"]),
    "network_options": ({"network_options": [8]}, TypeError, ["network_options=[8]"]),
}

# These cases pass networks or their options, which not all models take.
OF_NETWORKS = ("encoder name", "encoder type", "network_options")


def to_build(name):
    """Return cases in which building a model fails."""
    option, _ = next(iter(zoo.settings(name)["network_options"].items()))
    misspelt = option[:-2] + option[:-3:-1]
    fitting = zoo.own_networks(name)
    data, code = fitting["encoder"].input_shape[1:], zoo.shapes(name)[1]
    if data[0] is None:  # It takes any number of tokens, as wide as it says.
        data = (*code[:-1], 11)
    output = fitting["decoder"].compute_output_shape((None, *code))[1:]
    wide = keras.Sequential([keras.Input(code), keras.layers.Dense(9)])
    return {
        "unknown option": ({"network_options": {misspelt: (8,)}}, [misspelt, option]),
        "option value": ({"network_options": {"dropout": 2}}, ["dropout=2", "below 1"]),
        "encoder takes another shape": ({"encoder": dense(11, 4)}, ["encoder", "(11,)", str(data)]),
        "decoder takes another code": ({"decoder": dense(7, 6)}, ["decoder", "(7,)", str(code)]),
        "decoder gives another shape": (
            {"decoder": wide},
            ["decoder", str((*code[:-1], 9)), str(output)],
        ),
    }


def check(action, error, words):
    with pytest.raises(error) as caught:
        action()
    # A subclass of a library, such as UnicodeDecodeError, is an error that nobody explained.
    errors = error if isinstance(error, tuple) else (error,)
    assert caught.type in errors or caught.type.__module__.startswith("keras_ae."), caught.type
    message = str(caught.value)
    assert len(message.splitlines()) <= 3 and len(message) < 600, message
    for word in words:
        assert word in message, message
    last = traceback.extract_tb(caught.tb)[-1]
    assert last.filename.startswith(PACKAGE), f"raised in {last.filename}:{last.lineno}"


def check_all(cases, after=lambda case: None):
    """Check every case, and report all failures together."""
    failures = []
    for case, (action, error, words) in cases.items():
        try:
            check(action, error, words)
            after(case)
        except BaseException as failure:
            failures.append(f"{case}: {type(failure).__name__}: {failure}")
    assert not failures, "\n".join(failures)


def state(model):
    return [w.copy() for w in zoo.weights(model)]


def unharmed(model, before):
    return all(np.array_equal(a, b) for a, b in zip(before, state(model), strict=True))


@pytest.mark.costly
@pytest.mark.parametrize("name", zoo.OF_ARRAYS)
def test_every_misuse_of_a_model(name):
    model = zoo.trained(name)
    supplied = Supplied(model) if model.extra_inputs else model
    before, optimizer = state(model), model.optimizer
    cases = TO_A_MODEL | (TO_A_BOUNDED_MODEL if name in zoo.WITH_LIKELIHOOD else {})
    if model._allow_nan:
        cases = {k: v for k, v in cases.items() if "NaN" not in k or k.startswith("decode")}

    options = {"batch_size": 16, "verbose": 0, "return_dict": True}
    figures = supplied.evaluate(X, **options)

    def after(case):
        assert unharmed(model, before), f"{case} changed the model"
        assert model.optimizer is optimizer, f"{case} changed its optimizer"

    check_all(
        {
            case: (lambda action=action: action(supplied), error, words)
            for case, (action, error, words) in cases.items()
        },
        after,
    )
    assert supplied.evaluate(X, **options) == figures


@pytest.mark.parametrize("name", zoo.MODELS)
def test_every_misuse_of_a_constructor(name):
    check_all(
        {
            case: (lambda given=given: getattr(keras_ae, name)(**given), error, words)
            for case, (given, error, words) in TO_A_CONSTRUCTOR.items()
            if name in zoo.WITH_NETWORKS or case not in OF_NETWORKS
        }
    )


@pytest.mark.parametrize("name", zoo.WITH_NETWORKS)
def test_networks_that_do_not_fit(name):
    check_all(
        {
            case: (
                lambda given=given: zoo.compiled(name, **given).fit(zoo.joined(name, X)),
                ValueError,
                words,
            )
            for case, (given, words) in to_build(name).items()
        }
    )


@pytest.mark.parametrize(
    ("action", "error", "words"),
    [
        (lambda: keras_ae.VAE(2, likelihood="bernouli"), ValueError, ["'bernouli'", "'bernoulli'"]),
        (lambda: keras_ae.VAE(2, kl_weight=-1.0), ValueError, ["kl_weight=-1.0", "at least 0"]),
        (lambda: keras_ae.VAE(2, free_bits="1"), ValueError, ["free_bits='1'"]),
        (lambda: keras_ae.BetaVAE(2, beta=-1), ValueError, ["beta=-1"]),
        (lambda: keras_ae.FactorVAE(2, gamma=None), ValueError, ["gamma=None"]),
        (lambda: keras_ae.AE(2, reconstruction_loss="msee"), ValueError, ["'msee'", "'mse'"]),
        (lambda: keras_ae.AE(2, reconstruction_loss=7), ValueError, ["reconstruction_loss=7"]),
        (lambda: keras_ae.DenoisingAE(2, corruption="masked"), ValueError, ["'masking'"]),
        (lambda: keras_ae.likelihoods.Gaussian(0), ValueError, ["scale=0", "positive"]),
        (lambda: datasets.load("mnst"), ValueError, ["'mnst'", "'mnist'"]),
        (lambda: keras_ae.load(3), TypeError, ["path=3"]),
        (lambda: keras_ae.VAE(2).sample(3), ValueError, ["data's shape", "fit(x)"]),
        (lambda: keras_ae.VAE(2).decode(np.zeros((1, 2))), ValueError, ["data's shape"]),
        (lambda: keras_ae.VAE(2).export("/nowhere"), ValueError, ["data's shape"]),
        (lambda: keras_ae.VAE(2).fit(X), ValueError, ["compile"]),
    ],
)
def test_other_misuses(action, error, words):
    if words == ["compile"]:  # The error of Keras is clear enough.
        with pytest.raises(error, match="compile"):
            action()
    else:
        check(action, error, words)


def test_pictures_of_bytes_are_refused_before_training():
    model = keras_ae.VAE(2, network_options={"filters": (2, 2), "units": (4,)})
    model.compile("adam")
    check(lambda: model.fit(PICTURES), ValueError, ["0", "255", "/ 255"])


# ------------------------------------------------------------------ artifacts


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "model.keras"
    zoo.trained("VAE").save(path)
    return path


def truncated(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def emptied(path):
    path.write_bytes(b"")


def foreign(path):
    path.write_text("no archive at all")


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


def rewritten(path, change):
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    change(files)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def without_weights(path):
    rewritten(path, lambda files: files.pop("model.weights.h5"))


def without_configuration(path):
    rewritten(path, lambda files: files.pop("config.json"))


def with_other_class(path):
    def change(files):
        files["config.json"] = files["config.json"].replace(b"keras_ae>VAE", b"os>system")

    rewritten(path, change)


def with_other_width(path):
    def change(files):
        files["config.json"] = files["config.json"].replace(b'"latent_dim": 2', b'"latent_dim": 3')

    rewritten(path, change)


def with_another_model(path):
    model = dense(3, 2)
    path.unlink()
    model.save(path)


@pytest.mark.parametrize(
    "damage",
    [
        truncated,
        emptied,
        foreign,
        flipped,
        without_weights,
        without_configuration,
        with_other_class,
        with_other_width,
        with_another_model,
    ],
)
def test_a_damaged_file(damage, saved):
    damage(saved)
    check(lambda: keras_ae.load(saved), ValueError, [str(saved)])


@pytest.fixture
def exported(tmp_path, exports):
    zoo.trained("VAE").export(tmp_path / "model")
    return tmp_path / "model"


def test_a_damaged_folder(exported, tmp_path):
    file = exported / "assets.extra" / "model.keras"
    whole = file.read_bytes()
    with_other_width(file)
    check(lambda: keras_ae.load(exported), ValueError, ["checksum", "model.keras"])
    file.write_bytes(whole)
    (exported / "card.json").write_text("{")
    check(lambda: keras_ae.load(exported), ValueError, ["card.json", "size"])
    (exported / "manifest.json").write_text("{")
    check(lambda: keras_ae.load(exported), ValueError, ["manifest.json", "JSON"])
    shutil.rmtree(exported / "assets.extra")
    check(lambda: keras_ae.load(exported), ValueError, ["a SavedModel without", "export"])
    check(lambda: keras_ae.load(tmp_path), ValueError, ["a folder without"])
    missing = tmp_path / "missing"
    check(lambda: keras_ae.load(missing), FileNotFoundError, [str(missing), "saved_models"])


def test_a_place_that_cannot_be_written(exported, tmp_path):
    model = zoo.trained("VAE")
    check(lambda: model.export(exported), FileExistsError, ["exists", "overwrite=True"])
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "model"
    check(lambda: model.export(place), OSError, [str(place), "written"])
    assert (tmp_path / "file").read_text() == ""


def test_a_full_disk(exported, monkeypatch):
    """A limit on the size of files stands for a full disk: the system refuses to write more."""
    resource = pytest.importorskip("resource")
    before = {p: p.read_bytes() for p in exported.rglob("*") if p.is_file()}
    model = zoo.trained("VAE")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (100, 20_000):  # Reached in the SavedModel, and in the .keras file.
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            check(
                lambda: model.export(exported, overwrite=True),
                OSError,
                ["could not be written", "unchanged"],
            )
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert {p: p.read_bytes() for p in exported.rglob("*") if p.is_file()} == before
        assert [p.name for p in exported.parent.iterdir()] == ["model"]


# ------------------------------------------------------------------ names of files


def listed(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("name", ["a.h5", "a.hdf5", "a.H5", "a.KERAS", "a.tf", "a", "a.weights.h5"])
def test_no_file_is_written_that_nothing_loads(name, tmp_path):
    model, path = zoo.trained("VAE"), tmp_path / name
    named = [name, ".keras", ".weights.h5"]
    for filepath in (path, str(path)):
        check(lambda: model.save(filepath), ValueError, named)  # noqa: B023
    if name.endswith(("h5", "hdf5")):  # Keras refuses all other names itself.
        path.write_text("mine")
        check(lambda: keras.saving.save_model(model, path), ValueError, named)
        assert path.read_text() == "mine"
        path.unlink()
    if name.endswith("h5"):
        checkpoint = keras.callbacks.ModelCheckpoint(path)
        steps, fresh = model.optimizer.iterations.numpy(), zoo.compiled("VAE")
        for callbacks in (checkpoint, [[checkpoint]]):
            check(
                lambda: model.fit(zoo.data(), verbose=0, callbacks=callbacks),  # noqa: B023
                ValueError,
                ["ModelCheckpoint", *named, "save_weights_only"],
            )
        callbacks = keras.callbacks.CallbackList([checkpoint], model=fresh)
        check(lambda: fresh.fit(zoo.data(), callbacks=callbacks), ValueError, named)
        assert model.optimizer.iterations.numpy() == steps and not fresh.built
    assert listed(tmp_path) == []


def test_plain_keras_models_save_as_before(tmp_path):
    network = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4)])
    keras.saving.save_model(network, tmp_path / "network.h5")
    assert keras.saving.load_model(tmp_path / "network.h5").output_shape == (None, 4)


@pytest.mark.parametrize("name", ["a.h5", "aweights.h5", "a.weights.json.", "a.keras", "a"])
def test_weights_that_nothing_loads_are_not_written(name, tmp_path):
    for size in (None, 1):
        check(
            lambda: zoo.trained("VAE").save_weights(tmp_path / name, max_shard_size=size),  # noqa: B023
            ValueError,
            ["save_weights", name, ".weights.h5", ".weights.json", ".keras"],
        )
    assert listed(tmp_path) == []


def test_weights_in_one_file_and_in_several(tmp_path):
    model, again = zoo.trained("VAE"), zoo.MODELS["VAE"]()
    again.build((None, 6))
    model.save_weights(tmp_path / "a.weights.h5")
    model.save_weights(tmp_path / "b.weights.json", max_shard_size=1)
    for name in ("a.weights.h5", "b.weights.json"):
        again.set_weights([np.zeros_like(value) for value in again.get_weights()])
        again.load_weights(tmp_path / name)
        assert np.array_equal(again.encode(zoo.data()), model.encode(zoo.data()))


def test_a_folder_is_no_place_for_a_file(tmp_path):
    model = zoo.trained("VAE")
    (tmp_path / "a.keras").mkdir()
    for overwrite in (True, False):  # Keras would ask whether to overwrite, and fail then.
        check(
            lambda: model.save(tmp_path / "a.keras", overwrite=overwrite),  # noqa: B023
            FileExistsError,
            ["a.keras is a folder", "another path"],
        )
    (tmp_path / "folder").mkdir()
    model.save(tmp_path / "folder", zipped=False)
    check(lambda: keras_ae.load(tmp_path / "folder"), ValueError, ["keras.saving.load_model"])
    for path, held in {tmp_path: "a.keras", tmp_path / "folder": "assets"}.items():
        check(
            lambda: model.save(path, zipped=False),  # noqa: B023
            FileExistsError,
            [f"{path} is a folder that holds {held}", "another path"],
        )
    again = keras.saving.load_model(tmp_path / "folder")
    assert np.array_equal(again.encode(zoo.data()), model.encode(zoo.data()))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.keras", "folder"]


NO_PATHS = {
    "nothing": None,
    "a number": 3,
    "a list": ["a"],
    "bytes": b"a",
    "an array": np.zeros(100),
    "empty": "",
    "a zero byte": "a\0",
    "a half of a pair": "\udcff",
}


@pytest.mark.parametrize("case", NO_PATHS)
def test_what_is_no_path_is_refused(case):
    model, path = zoo.trained("VAE"), NO_PATHS[case]
    for call in (model.save, model.save_weights, model.load_weights, model.export):
        check(lambda: call(path), (TypeError, ValueError), [f"{call.__name__}: the path "])  # noqa: B023


@pytest.mark.parametrize("name", ["in a file", "in a device", "too long"])
def test_places_that_cannot_be_written_are_named(name, tmp_path):
    (tmp_path / "file").write_text("")
    folder = {"in a file": tmp_path / "file", "in a device": pathlib.Path("/dev/null")}
    stem = "a" * 300 if name == "too long" else "a"
    for method, suffix in {"save": ".keras", "save_weights": ".weights.h5"}.items():
        path = folder.get(name, tmp_path) / f"{stem}{suffix}"
        with pytest.raises(OSError) as caught:
            getattr(zoo.trained("VAE"), method)(path)
        assert str(path) in str(caught.value)
        assert traceback.extract_tb(caught.tb)[-1].filename.startswith(PACKAGE)
    assert listed(tmp_path) == ["file"]


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_files_of_no_weights(tmp_path):
    model, path = zoo.trained("VAE"), tmp_path / "a.weights.h5"
    before = state(model)
    check(lambda: model.load_weights(path), FileNotFoundError, ["load_weights", str(path)])
    path.mkdir()
    check(lambda: model.load_weights(path), OSError, ["load_weights", "is not a file"])
    path.rmdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(path)  # Reading it would never end.
        check(lambda: model.load_weights(path), OSError, ["load_weights", "is not a file"])
        path.unlink()
    for damage in (emptied, foreign):
        damage(path)
        check(lambda: model.load_weights(path), ValueError, ["load_weights", "damaged"])
    path.unlink()
    network = dense(3, 5)
    network.save_weights(path)
    check(lambda: model.load_weights(path), ValueError, ["load_weights", "of this VAE"])
    assert unharmed(model, before)
    fresh = zoo.make("VAE")
    for call in (fresh.load_weights, fresh.save_weights):
        check(lambda: call(path), ValueError, [call.__name__, "data's shape"])  # noqa: B023


@pytest.mark.parametrize(
    "shape",
    [None, 28, "28", (), (None, None), (None, 0), (None, -3), (None, 2.5), {"a": (None, 3)}],
)
def test_shapes_that_a_model_cannot_be_built_for(shape):
    model = zoo.make("VAE")
    check(lambda: model.build(shape), (TypeError, ValueError), ["input_shape"])
    assert not model.built


def test_options_that_are_no_dictionaries(saved):
    for value in (3, ["a"], "VAE"):
        check(
            lambda: keras_ae.load(saved, custom_objects=value),  # noqa: B023
            TypeError,
            ["custom_objects=", "dictionary"],
        )
        check(
            lambda: zoo.trained("VAE").export("model", card=value),  # noqa: B023
            TypeError,
            ["card=", "dictionary"],
        )
