"""Who imports whom. Read from the source, so that imports inside functions count as well."""

import ast
import pathlib
import subprocess
import sys

import pytest

import keras_ae

pytestmark = pytest.mark.backend_free

PACKAGE = pathlib.Path(keras_ae.__file__).resolve().parent
FILES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
every_file = pytest.mark.parametrize("file", FILES)

ANYTHING = None
# Part of the package (a file or a folder) -> the other parts that it may import.
ARROWS = {
    "__init__": ANYTHING,
    "core": set(),
    "runs": {
        "saving",
        "autoencoder",
        "callbacks",
        "core",
        "datasets",
        "models",
        "plots",
        "schedules",
    },
    "callbacks": {"core"},
    "models": {
        "autoencoder",
        "core",
        "corruptions",
        "distributions",
        "divergences",
        "flows",
        "layers",
        "likelihoods",
        "losses",
        "hamiltonian",
        "networks",
        "priors",
        "schedules",
        "sparsity",
    },
    "autoencoder": {"core", "networks", "saving"},
    "saving": {"core"},
    "likelihoods": {"distributions"},
    "losses": {"distributions"},
    "layers": {"core", "distributions"},
    "distributions": {"core"},
    "divergences": {"core", "distributions"},
    "flows": set(),
    "hamiltonian": set(),
    "sparsity": set(),
    "schedules": set(),
    "corruptions": {"core"},
    "networks": {"core", "layers"},
    "optimizers": set(),
    "priors": {"core"},
    "datasets": {"core"},
    "plots": {"core"},
}
# Framework -> the only files or folders that may import it.
SAVED_MODEL = {"saving/export.py", "core/backend/jax.py"}  # Which TensorFlow alone writes.
FRAMEWORKS = {
    "tensorflow": {"core/backend/tensorflow.py", "core/tf_data.py", "datasets"} | SAVED_MODEL,
    "tensorflow_datasets": {"datasets"},
    "jax": {"core/backend/jax.py"},
    "torch": {"core/backend/torch.py"},
}
# Parts that load none of them before they are used.
LAZY = {"datasets", "saving"}
MOST_LINES = 800


def part_of(file):
    return file.split("/")[0].removesuffix(".py")


def imports(tree):
    """Every (module, name) that a file imports; name is None for `import module`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import hides where it leads"
            yield from ((node.module, alias.name) for alias in node.names)


def parse(file):
    return ast.parse(FILES[file].read_text())


def parts_imported(tree):
    """The parts of this package that a file imports."""
    for module, name in imports(tree):
        if module.split(".")[0] == "keras_ae":
            inside = module.split(".")[1:] or [name]
            yield "__init__" if inside == [None] else inside[0]


def test_every_part_has_its_arrows():
    parts = {part_of(file) for file in FILES}
    assert parts <= set(ARROWS), f"say in ARROWS what {parts - set(ARROWS)} may import"


@every_file
def test_no_other_arrow(file):
    part = part_of(file)
    if ARROWS[part] is ANYTHING:
        return
    others = set(parts_imported(parse(file))) - {part}
    assert others <= ARROWS[part], f"{file} may not import {others - ARROWS[part]}"


@every_file
def test_frameworks_stay_in_their_files(file):
    found = {module.split(".")[0] for module, _ in imports(parse(file))}
    for framework, allowed in FRAMEWORKS.items():
        here = {file, file.split("/")[0]}
        assert framework not in found or here & allowed, f"{file} imports {framework}"


def top_of(file):
    """The file without the bodies of its functions and classes: what runs on import."""
    body = [n for n in parse(file).body if not isinstance(n, (ast.FunctionDef, ast.ClassDef))]
    return ast.Module(body, [])


@pytest.mark.parametrize("file", [file for file in FILES if part_of(file) in LAZY])
def test_no_framework_is_loaded_before_it_is_needed(file):
    found = {module.split(".")[0] for module, _ in imports(top_of(file))}
    assert not found & FRAMEWORKS.keys()


@pytest.mark.parametrize(
    ("before", "code", "unwanted"),
    [
        ("import keras", "import keras_ae", {"matplotlib", "tensorflow_datasets", "typer"}),
        ("", "import keras_ae_cli; keras_ae_cli.main(['train', '--help'])", {"keras", "numpy"}),
    ],
)
def test_what_is_not_used_is_not_loaded(before, code, unwanted):
    report = "atexit.register(lambda: print('loaded:', *set(sys.modules) - before))"
    code = f"import atexit, sys\n{before}\nbefore = set(sys.modules)\n{report}\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.rpartition("loaded:")[2].split())
    assert loaded & {"keras_ae", "keras_ae_cli"} and not loaded & unwanted


def test_no_part_waits_for_itself():
    """Among the imports at the top of files there is no circle."""
    graph = {}
    for file in FILES:
        if part_of(file) != "__init__":
            graph.setdefault(part_of(file), set()).update(parts_imported(top_of(file)))
    for part in graph:
        graph[part].discard(part)
    done = set()
    while graph.keys() - done:
        free = {part for part in graph.keys() - done if graph[part] & graph.keys() <= done}
        assert free, f"a circle of imports among {sorted(graph.keys() - done)}"
        done |= free


@every_file
def test_no_star_imports(file):
    assert "*" not in {name for _, name in imports(parse(file))}


@every_file
def test_files_stay_readable(file):
    assert len(FILES[file].read_text().splitlines()) <= MOST_LINES


def test_one_public_model_a_file():
    """`models/adversarial/factor_vae.py` holds FactorVAE, and a family's `base.py` none."""
    homes = {name: module for module, name in imports(parse("models/__init__.py"))}
    assert homes
    files = list(homes.values())
    assert len(set(files)) == len(files)
    for name, module in homes.items():
        assert module.split(".")[-1].replace("_", "") == name.lower()
    found = [pathlib.PurePath(file) for file in FILES if file.startswith("models/")]
    rest = {file for file in found if file.name not in ("__init__.py", "base.py")}
    assert {"keras_ae." + ".".join(file.with_suffix("").parts) for file in rest} == set(files)


def test_the_table_catches_an_arrow_that_is_not_in_it():
    tree = ast.parse(
        "def f():\n    from keras_ae.models.variational.vae import VAE\n    import torch.nn\n"
    )
    assert set(parts_imported(tree)) == {"models"}
    assert {module.split(".")[0] for module, _ in imports(tree)} == {"keras_ae", "torch"}
    assert set(parts_imported(ast.parse("from keras_ae import losses, runs"))) == {"losses", "runs"}
