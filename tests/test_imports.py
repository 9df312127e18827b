"""Which file imports which. Sources are parsed, so that imports in functions count, too."""

import ast
import importlib
import pathlib
import re
import subprocess
import sys

import pytest

import keras_ae
from keras_ae.core import registration

pytestmark = pytest.mark.backend_free

PACKAGE = pathlib.Path(keras_ae.__file__).resolve().parent
FILES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
every_file = pytest.mark.parametrize("file", FILES)

# The folders and files ("rooms") from the lowest floor up. A file imports from its own room and
# from lower floors.
FLOORS = [
    {"core"},
    {
        "corruptions",
        "datasets",
        "distributions",
        "evaluation",
        "flows",
        "hamiltonian",
        "optimizers",
        "saving",
        "schedules",
        "sparsity",
    },
    {"divergences", "layers", "likelihoods", "losses"},
    {"networks", "samplers"},
    {"autoencoder", "plots"},
    {"callbacks", "models"},
    {"estimators", "testing"},
    {"explorer"},
    {"cli"},
    {"__main__"},
]
# The same for the families of models.
FAMILIES = [
    {"deterministic", "variational"},
    {"structured"},
    {
        "adversarial",
        "anomaly",
        "clustering",
        "conditional",
        "counts",
        "discrete",
        "geometric",
        "hierarchical",
        "importance_weighted",
        "multimodal",
        "recommendation",
        "series",
        "sparse",
        "tabular",
        "topics",
    },
]
# Framework -> the only files or folders that may import it. Only TensorFlow writes a SavedModel.
SAVED_MODEL = {
    "saving/export.py",
    "saving/formats.py",
    "saving/served_checks.py",
    "core/backend/jax.py",
}
FRAMEWORKS = {
    "tensorflow": {"core/backend/tensorflow.py", "core/tf_data.py", "datasets", "testing"}
    | SAVED_MODEL,
    "tensorflow_datasets": {"datasets"},
    "jax": {"core/backend/jax.py"},
    "torch": {"core/backend/torch.py", "saving/formats.py"},
}
# Rooms that import no framework before it is needed.
LAZY = {"datasets", "saving"}
MOST_LINES = 800


def room_of(file):
    return file.split("/")[0].removesuffix(".py")


def imports(tree):
    """Yield every (module, name) that a file imports; name is None for `import module`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import hides where it leads"
            yield from ((node.module, alias.name) for alias in node.names)


def parse(file):
    """Return the code of a file without what only type checkers read, which never runs."""
    tree = ast.parse(FILES[file].read_text())
    tree.body = [n for n in tree.body if not (isinstance(n, ast.If) and is_for_hints(n))]
    return tree


def is_for_hints(node):
    return ast.unparse(node.test) == "TYPE_CHECKING"


def files_imported(tree):
    """Yield the files of this package that a file imports."""
    for module, name in imports(tree):
        package, *inside = module.split(".")
        if package == "keras_ae":
            for path in ([*inside, name], inside):
                stem = "/".join(map(str, path))
                found = {f"{stem}.py", f"{stem}/__init__.py".lstrip("/")} & FILES.keys()
                if found:
                    yield found.pop()
                    break


def height_of(room, floors):
    return next(number for number, floor in enumerate(floors) if room in floor)


def leads_down(file, other):
    """Whether the import of `other` in `file` stays in the room or goes to a lower floor."""
    if "__init__.py" in (file, other):
        return file == "__init__.py"
    rooms = [room_of(file), room_of(other)]
    if rooms[0] != rooms[1]:
        here, there = (height_of(room, FLOORS) for room in rooms)
        return there < here
    families = [name.split("/")[1] for name in (file, other) if name.startswith("models/")]
    if len(set(families) - {"__init__.py"}) == 2:
        here, there = (height_of(family, FAMILIES) for family in families)
        return there < here
    return True


def test_every_room_is_on_one_floor():
    rooms = sorted({room_of(file) for file in FILES} - {"__init__"})
    assert rooms == sorted(room for floor in FLOORS for room in floor)
    families = sorted(
        {file.split("/")[1] for file in FILES if file.count("/") == 2}
        & {path.name for path in (PACKAGE / "models").iterdir() if path.is_dir()}
    )
    assert families == sorted(family for floor in FAMILIES for family in floor)


@every_file
def test_imports_lead_down(file):
    for other in files_imported(parse(file)):
        assert leads_down(file, other), f"{file} may not import {other}"


def test_an_import_upward_is_found():
    tree = ast.parse(
        "def f():\n    from keras_ae.models.variational.vae import VAE\n    import torch"
    )
    assert list(files_imported(tree)) == ["models/variational/vae.py"]
    assert {module for module, _ in imports(tree)} == {
        "keras_ae.models.variational.vae",
        "torch",
    }
    assert list(files_imported(ast.parse("from keras_ae import losses, core"))) == [
        "losses.py",
        "core/__init__.py",
    ]
    assert leads_down("autoencoder.py", "core/inputs.py")
    assert not leads_down("core/inputs.py", "autoencoder.py")
    assert not leads_down("layers/patches.py", "losses.py")
    assert not leads_down("models/deterministic/ae.py", "models/variational/vae.py")
    assert not leads_down("models/deterministic/ae.py", "__init__.py")


def test_there_is_no_circle():
    """No file imports itself through others; a folder's `__init__.py` counts as its files."""
    graph = {file: set(files_imported(parse(file))) - {file} for file in FILES}
    done = set()
    while graph.keys() - done:
        free = {file for file in graph.keys() - done if graph[file] <= done}
        assert free, f"a circle of imports among {sorted(graph.keys() - done)}"
        done |= free


@every_file
def test_frameworks_stay_in_their_files(file):
    found = {module.split(".")[0] for module, _ in imports(parse(file))}
    for framework, allowed in FRAMEWORKS.items():
        here = {file, file.split("/")[0]}
        assert framework not in found or here & allowed, f"{file} imports {framework}"


def top_of(file):
    """Return the code that runs on import: the file without its functions and classes."""
    body = [n for n in parse(file).body if not isinstance(n, (ast.FunctionDef, ast.ClassDef))]
    return ast.Module(body, [])


@pytest.mark.parametrize("file", [file for file in FILES if room_of(file) in LAZY])
def test_no_framework_is_loaded_before_it_is_needed(file):
    found = {module.split(".")[0] for module, _ in imports(top_of(file))}
    assert not found & FRAMEWORKS.keys()


def run(code):
    """Run code in a new Python, and return the last line that it prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("before", "code", "unwanted"),
    [
        ("", "import keras_ae", {"keras", "numpy", "tensorflow"}),
        ("import keras", "import keras_ae", {"numpy", "keras_ae.autoencoder"}),
        ("import keras", "from keras_ae import AE", {"matplotlib", "keras_ae.datasets"}),
        ("", "from keras_ae.cli.main import main; main(['train', '--help'])", {"keras", "numpy"}),
    ],
)
def test_unused_packages_are_not_loaded(before, code, unwanted):
    report = "atexit.register(lambda: print('loaded:', *set(sys.modules) - before))"
    code = f"import atexit, sys\n{before}\nbefore = set(sys.modules)\n{report}\n{code}"
    loaded = set(run(code).partition("loaded:")[2].split())
    assert "keras_ae" in loaded and not loaded & unwanted


# ------------------------------------------------------------------ what `import keras_ae` gives


@pytest.mark.parametrize("code", ["import keras, keras_ae", "import keras_ae, keras"])
def test_keras_finds_the_classes_of_files(code):
    file = pathlib.Path(__file__).parent / "saving" / "files_of_before" / "LFQVAE.keras"
    read = f"print(type(keras.saving.load_model({str(file)!r})).__name__)"
    assert run(f"{code}\n{read}") == "LFQVAE"


def test_the_stand_ins_are_those_of_all_classes():
    import keras

    for file in FILES:
        if not file.startswith(("core/", "cli/")):
            importlib.import_module("keras_ae." + file.removesuffix(".py").replace("/", "."))
    names = keras.saving.get_custom_objects()
    registered = {name for name in names if name.startswith("keras_ae>")}
    listed = {name for names in registration.CLASSES.values() for name in names.split()}
    bases = {f"keras_ae>{name}" for name in registered_bases(names)}
    assert registered - bases == {f"keras_ae>{n}" for n in {*keras_ae.models.FILES, *listed}}
    for module, known in registration.CLASSES.items():
        for name in known.split():
            part = importlib.import_module(f"keras_ae.{module}")
            assert getattr(part, name) is names[f"keras_ae>{name}"]


def registered_bases(names):
    """Return the classes in a family's `base.py`; no saved file contains one of them."""
    return [cls.__name__ for cls in names.values() if cls.__module__.endswith(".base")]


def test_the_public_names():
    names = set(dir(keras_ae))
    assert {"VAE", "load", "plots", "datasets", "layers", "activations"} <= names
    assert not names & {"core", "cli", "importlib", "registration", "autoencoder"}
    for name in names:
        assert getattr(keras_ae, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'VEA'"):
        keras_ae.VEA  # noqa: B018


def test_old_names_of_modules():
    assert keras_ae.metric is keras_ae.hamiltonian and keras_ae.priors is keras_ae.samplers
    with pytest.raises(ModuleNotFoundError, match="is keras_ae.hamiltonian now"):
        importlib.import_module("keras_ae.metric")


# ------------------------------------------------------------------ files


@every_file
def test_no_star_imports(file):
    assert "*" not in {name for _, name in imports(parse(file))}


@every_file
def test_indices_are_those_of_the_backend(file):
    """Files of other formats lack an operation that is a part of Keras' own."""
    assert not re.search(r"\bops\.arg(min|max)\(", FILES[file].read_text())


@every_file
def test_files_stay_readable(file):
    assert len(FILES[file].read_text().splitlines()) <= MOST_LINES


def test_one_public_model_a_file():
    """`models/adversarial/factor_vae.py` has FactorVAE; a `base.py` has no public model."""
    homes = keras_ae.models.FILES
    assert len(set(homes.values())) == len(homes)
    for name, module in homes.items():
        assert module.split(".")[-1].replace("_", "") == name.lower()
    found = [pathlib.PurePath(file) for file in FILES if file.startswith("models/")]
    rest = {file for file in found if file.name not in ("__init__.py", "base.py")}
    assert {".".join(file.with_suffix("").parts[1:]) for file in rest} == set(homes.values())
