"""Damaged and crafted files are refused in one line, and take little memory and time.

Each attack changes a small file, and either the file still loads and computes the same, or `load`
and `verify` raise an error of one line.
"""

import collections
import copy
import io
import json
import os
import pathlib
import shutil
import sys
import warnings
import zipfile

import h5py
import keras
import numpy as np
import pytest

import keras_ae
from keras_ae import saving
from keras_ae.saving import archive, manifest

FILES = pathlib.Path(__file__).parent / "files_of_before"
X = np.load(FILES / "computed.npz")["x"][:4]
GOOD = (FILES / "AE.keras").read_bytes()
CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"


def parts_of(data):
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


PARTS = parts_of(GOOD)


def packed(parts, method=zipfile.ZIP_STORED):
    """Return a ZIP archive of parts, a dictionary or a list of pairs, as bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as opened:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Duplicate name")
            for name, content in parts.items() if isinstance(parts, dict) else parts:
                opened.writestr(name, content)
    return buffer.getvalue()


def assert_one_line(error):
    text = str(error)
    assert text and "\n" not in text and len(text) < 1500, text
    assert text.startswith("load: "), text


def outcome(path, codes=None):
    """Load a file and return how that ended: "loads", or "refused"."""
    try:
        model = keras_ae.load(path)
    except (ValueError, FileNotFoundError) as error:
        assert_one_line(error)
        return "refused"
    assert codes is None or np.array_equal(model.encode(X), codes)
    return "loads"


@pytest.fixture(autouse=True)
def little_memory(codes):
    """No test takes more memory than `load` allows for a small file."""
    if sys.platform != "linux":
        yield
        return
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # Kilobytes.


@pytest.fixture(scope="module")
def codes():
    return keras_ae.load(FILES / "AE.keras").encode(X)


def flips(data, number, rng):
    for place in rng.choice(len(data), number, replace=False):
        changed = bytearray(data)
        changed[place] ^= 1 << rng.integers(8)
        yield bytes(changed)


def truncations(data, number, rng):
    for length in [0, 1, len(data) - 1, *rng.integers(0, len(data), number - 3)]:
        yield data[:length]


def swaps(data, number, rng):
    """Exchange two blocks of 16 bytes that differ."""
    blocks = 16 * np.arange(len(data) // 16)
    blocks = [start for start in blocks if any(data[start : start + 16])]
    for _ in range(number):
        first, second = rng.choice(blocks, 2, replace=False)
        changed = bytearray(data)
        changed[first : first + 16] = data[second : second + 16]
        changed[second : second + 16] = data[first : first + 16]
        yield bytes(changed)


def inserted(data, number, rng):
    for place in rng.integers(0, len(data), number):
        yield data[:place] + rng.bytes(rng.integers(1, 9)) + data[place:]


ATTACKS = {flips: 250, truncations: 80, swaps: 120, inserted: 60}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_changed_bytes_are_found(attack, tmp_path, codes):
    counts, path = collections.Counter(), tmp_path / "model.keras"
    for data in attack(GOOD, ATTACKS[attack], np.random.default_rng(0)):
        path.write_bytes(data)
        counts[outcome(path, codes)] += 1
    print(f"{attack.__name__}: {dict(counts)}")
    assert counts.total() == ATTACKS[attack]
    # The dates in an archive and the like have no checksum, and no effect.
    assert counts["refused"] >= 0.9 * counts.total()


# ---------------------------------------------------------------------- crafted configurations


def function(module, name):
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def instance(module, cls, registered=None, /, **config):
    entry = {"module": module, "class_name": cls, "config": config}
    return {**entry, "registered_name": registered}


def with_argument(name, value):
    config = json.loads(PARTS[CONFIG])
    config["config"][name] = value
    return config


# What a file may not call, as functions, as classes, and by registered names.
IMPURE = [
    ("keras.config", "set_epsilon"),
    ("keras.config", "set_floatx"),
    ("keras.config", "set_backend"),
    ("keras.config", "enable_unsafe_deserialization"),
    ("keras.utils", "set_random_seed"),
    ("keras.utils", "get_file"),
    ("keras.utils", "clear_session"),
    ("keras.backend", "clear_session"),
    ("keras.saving", "load_model"),
    ("keras.losses", "deserialize"),
    ("keras.activations", "get"),
    ("keras.ops", "get"),
    ("keras.src.utils.io_utils", "print_msg"),
    ("builtins", "eval"),
    ("builtins", "set_epsilon"),
    ("os", "system"),
    ("subprocess", "Popen"),
]
PLACES = [
    "reconstruction_loss",
    "latent_dim",
    "seed",
    "name",
    "encoder",
    "network_options",
    "dtype",
]


def named_functions():
    for module, name in IMPURE:
        for place in PLACES[: 3 if module == "os" else None]:
            yield with_argument(place, function(module, name))
        yield with_argument("reconstruction_loss", instance(module, name))
        yield with_argument("network_options", {"activation": function(module, name)})
        yield with_argument("reconstruction_loss", instance(module, name, name))
        config = json.loads(PARTS[CONFIG])
        config["compile_config"]["metrics"] = [function(module, name)]
        yield config
        config = json.loads(PARTS[CONFIG])
        config["compile_config"]["optimizer"]["config"]["learning_rate"] = function(module, name)
        yield config


def changed_values():
    """Replace each value in the configuration by values of other kinds."""
    config = json.loads(PARTS[CONFIG])

    def places(value, path=()):
        yield path
        pairs = value.items() if isinstance(value, dict) else ()
        pairs = enumerate(value) if isinstance(value, list) else pairs
        for key, inner in pairs:
            yield from places(inner, (*path, key))

    odd = [None, -1, 10**30, "\x1b[2J", [], {}, [[]], {"class_name": 1, "config": []}, True, 1e308]
    odd += [{"class_name": "function", "config": None}, {"class_name": "AE", "config": {}}]
    for number, path in enumerate(places(config)):
        for value in (odd[number % len(odd)], odd[(5 * number + 1) % len(odd)]):
            if not path:
                yield value
                continue
            changed = copy.deepcopy(config)
            inner = changed
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = value
            yield changed


def enormous():
    """Small files whose models would take gigabytes."""
    options = json.loads(PARTS[CONFIG])["config"]["network_options"]
    yield with_argument("latent_dim", 10**9)
    yield with_argument("network_options", {**options, "units": [50_000, 50_000]})
    yield with_argument("network_options", {**options, "units": [10**6] * 20})
    for shape in ([None, 10**9], [None, 10**5, 10**5, 1], [None, 10**18], [None, 10**6, 10**4]):
        config = json.loads(PARTS[CONFIG])
        config["build_config"]["input_shape"] = shape
        config["build_config"]["target_shape"] = shape
        yield config


def test_draws_of_a_constructor_take_little_memory(tmp_path):
    parts = parts_of((FILES / "AdversarialAE.keras").read_bytes())
    config = json.loads(parts[CONFIG])
    config["config"]["latent_dim"] = 10**9
    (tmp_path / "model.keras").write_bytes(packed({**parts, CONFIG: json.dumps(config)}))
    with pytest.raises(ValueError, match="8.0 GB of memory, more than .*pass a larger max_bytes"):
        keras_ae.load(tmp_path / "model.keras")


def models_of_others():
    yield instance("keras", "Sequential", name="a", layers=[])
    yield instance("keras.layers", "Dense", units=3)
    yield instance("keras_ae.layers", "VectorQuantizer", "keras_ae>VectorQuantizer", num_codes=4)
    yield instance("mine", "Model", "mine>Model")
    yield function("keras.losses", "mean_squared_error")
    yield {"class_name": "__lambda__", "config": {"value": "AAAA"}}
    yield with_argument(
        "reconstruction_loss", {"class_name": "__lambda__", "config": {"value": ""}}
    )
    yield with_argument(
        "seed", {"class_name": "__numpy__", "config": {"value": [""], "dtype": "S9"}}
    )


CRAFTED = {named_functions: 100, changed_values: 100, enormous: 7, models_of_others: 8}


@pytest.mark.parametrize("attack", CRAFTED, ids=lambda attack: attack.__name__)
def test_crafted_configurations_are_refused(attack, tmp_path):
    counts, path = collections.Counter(), tmp_path / "model.keras"
    epsilon = keras.config.epsilon()
    for config in attack():
        path.write_bytes(packed({**PARTS, CONFIG: json.dumps(config)}))
        counts[outcome(path)] += 1
        assert keras.config.epsilon() == epsilon
    print(f"{attack.__name__}: {dict(counts)}")
    assert counts.total() >= CRAFTED[attack]
    if attack is not changed_values:  # Some values have other values that make sense.
        assert counts["loads"] == 0


def test_a_function_may_stand_where_it_makes_sense(tmp_path):
    path = tmp_path / "model.keras"
    config = with_argument("reconstruction_loss", function("builtins", "mean_absolute_error"))
    path.write_bytes(packed({**PARTS, CONFIG: json.dumps(config)}))
    assert outcome(path) == "loads"
    config = with_argument("latent_dim", function("builtins", "mean_absolute_error"))
    path.write_bytes(packed({**PARTS, CONFIG: json.dumps(config)}))
    with pytest.raises(ValueError, match="'mean_absolute_error'.*as 'latent_dim'.*makes no sense"):
        keras_ae.load(path)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "1",
        "NaN",
        '"AE"',
        "{",
        "\xff\xfe",
        "[" * 10**6,
        '{"a":' * 10**5 + "1" + "}" * 10**5,
        '{"class_name": "AE", "config": ' + "[" * 400 + "]" * 400 + "}",
        "1" + "0" * 10**5,
        '{"class_name": "AE", "class_name": 3, "config": {}}',
    ],
    ids=range(13),
)
def test_odd_json_is_refused(text, tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(packed({**PARTS, CONFIG: text.encode("latin-1")}))
    assert outcome(path) == "refused"


# ---------------------------------------------------------------------- archives and weights


def weights_of(make):
    """Return the weights of the file, changed by a function of the open HDF5 file."""
    buffer = io.BytesIO(PARTS[WEIGHTS])
    with h5py.File(buffer, "r+") as opened:
        make(opened)
    return buffer.getvalue()


def add_zeros(opened):
    opened.create_dataset("zeros", (9 * 2**28,), "float32", chunks=(2**20,), compression="gzip")


def replace_by_link(link):
    def make(opened):
        name = next(iter(opened["encoder"]))
        del opened["encoder"][name]
        opened["encoder"][name] = link

    return make


def drop(opened):
    del opened["encoder"]


def encrypted(data):
    changed = bytearray(data)
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = changed.find(signature)
        while start >= 0:
            changed[start + place] |= 1
            start = changed.find(signature, start + 1)
    return bytes(changed)


ARCHIVES = {
    "not an archive": lambda: b"no archive",
    "an empty archive": lambda: packed({}),
    "no configuration": lambda: packed({WEIGHTS: PARTS[WEIGHTS]}),
    "no weights": lambda: packed({CONFIG: PARTS[CONFIG], METADATA: PARTS[METADATA]}),
    "two configurations": lambda: packed([(CONFIG, b"{}"), *PARTS.items()]),
    "two weights": lambda: packed([*PARTS.items(), (WEIGHTS, PARTS[WEIGHTS])]),
    "encrypted": lambda: encrypted(GOOD),
    "HDF5 before the archive": lambda: PARTS[WEIGHTS] + GOOD,
    "a byte before the archive": lambda: b"a" + GOOD,
    "much configuration": lambda: packed_spaces(CONFIG, 2**25),
    "much weights": lambda: packed_spaces(WEIGHTS, 2**29),
    "much of something else": lambda: packed_spaces("assets/a", 2**29),
    "text as weights": lambda: packed({**PARTS, WEIGHTS: b"text"}),
    "half of the weights": lambda: packed({**PARTS, WEIGHTS: PARTS[WEIGHTS][:-999]}),
    "9 GB of zeros": lambda: packed({**PARTS, WEIGHTS: weights_of(add_zeros)}),
    "other weights": lambda: packed({**PARTS, WEIGHTS: weights_of(drop)}),
    "a soft link": lambda: packed(
        {**PARTS, WEIGHTS: weights_of(replace_by_link(h5py.SoftLink("/optimizer")))}
    ),
    "an external link": lambda: packed(
        {**PARTS, WEIGHTS: weights_of(replace_by_link(h5py.ExternalLink("a.h5", "/")))}
    ),
}


def packed_spaces(name, size):
    """Return an archive in which one part is spaces, and takes a thousandth of its size."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        for each in PARTS:
            if each != name:
                opened.writestr(each, PARTS[each])
        with opened.open(name, "w") as part:
            for _ in range(size // 2**24):
                part.write(b" " * 2**24)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ARCHIVES)
def test_odd_archives_are_refused(name, tmp_path):
    path = tmp_path / "model.keras"
    path.write_bytes(ARCHIVES[name]())
    assert outcome(path) == "refused"
    if name not in ("other weights", "a soft link", "an external link"):  # These are no damage.
        with pytest.raises(ValueError, match="load: ") as caught:
            saving.verify(path)
        assert_one_line(caught.value)


def test_other_names_are_refused(tmp_path):
    """A file that is both HDF5 and an archive would be read as HDF5 because of its name."""
    for name in ("model.h5", "model.hdf5", "model.zip", "model"):
        (tmp_path / name).write_bytes(GOOD)
        with pytest.raises(ValueError, match="nor a file whose name ends in .keras"):
            keras_ae.load(tmp_path / name)
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.keras")  # Reading it would never end.
        assert outcome(tmp_path / "pipe.keras") == "refused"


def test_the_limit_can_be_raised(tmp_path, codes):
    path = tmp_path / "model.keras"
    path.write_bytes(GOOD)
    with pytest.raises(ValueError, match="would take .* GB.*pass a larger max_bytes"):
        keras_ae.load(path, max_bytes=1000)
    assert np.array_equal(keras_ae.load(path, max_bytes=10**9).encode(X), codes)
    with pytest.raises(ValueError, match="max_bytes=-1"):
        keras_ae.load(path, max_bytes=-1)
    assert archive.limit_of(path) > 2**28


# ---------------------------------------------------------------------- folders


def artifact(folder):
    """Return a copy of an artifact of before, with a manifest as `export` writes it."""
    path = folder / "model"
    shutil.copytree(FILES / "artifact_VAE", path)
    card = json.loads((path / "card.json").read_text())
    (path / "card.json").write_text(json.dumps({**card, "manifest": "manifest.json"}))
    manifest.write(path)
    return path


def names_in(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_every_file_of_an_artifact_is_checked(tmp_path):
    good = artifact(tmp_path)
    names, counts = names_in(good), collections.Counter()
    assert {"saved_model.pb", "variables/variables.index", "card.json"} <= set(names)
    assert saving.verify(good) == [name for name in names if name != "manifest.json"]
    assert keras_ae.load(good).built
    rng = np.random.default_rng(0)
    for name in names:
        file = good / name
        data = file.read_bytes()
        other = next(each for each in names if each != name)
        attacks = [
            None,
            b"",
            *truncations(data, 4, rng),
            *flips(data, 8, rng),
            (good / other).read_bytes(),
            data + b"\0",
        ]
        for changed in attacks:
            file.unlink() if changed is None else file.write_bytes(changed)
            for check in (saving.verify, keras_ae.load):
                try:
                    check(good)
                    counts["accepted"] += 1
                    assert name == "manifest.json"
                except ValueError as error:
                    assert_one_line(error)
                    counts["refused"] += 1
        file.write_bytes(data)
    print(f"files of an artifact: {dict(counts)}")
    assert counts.total() == 32 * len(names) and counts["accepted"] < 20
    assert keras_ae.load(good).built


def test_other_files_are_named(tmp_path):
    path = artifact(tmp_path)
    (path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds notes.txt, which its manifest does not list"):
        saving.verify(path)
    assert keras_ae.load(path).built


@pytest.mark.parametrize("name", ["../model.keras", "/etc/hostname", "a/../../b", "/dev/zero", ""])
def test_a_manifest_names_no_files_elsewhere(name, tmp_path):
    path = artifact(tmp_path)
    files = json.loads((path / "manifest.json").read_text())["files"]
    for changed in ({**files, name: files["card.json"]}, files | {name: 3}, [], None, {}):
        (path / "manifest.json").write_text(json.dumps({"files": changed}))
        for check in (saving.verify, keras_ae.load):
            with pytest.raises(ValueError, match="load: ") as caught:
                check(path)
            assert_one_line(caught.value)


def test_artifacts_of_before_have_the_hash_of_one_file(tmp_path):
    shutil.copytree(FILES / "artifact_VAE", tmp_path / "model")
    path = tmp_path / "model"
    assert saving.verify(path) == ["assets.extra/model.keras"]
    (path / "card.json").unlink()
    assert keras_ae.load(path).built
    with pytest.raises(ValueError, match="records no checksums"):
        saving.verify(path)
    (path / "card.json").write_text(" " * 2**25)
    with pytest.raises(ValueError, match="card.json is larger than 17 MB"):
        keras_ae.load(path)
