"""Every public function says the types of its arguments and of its result."""

import ast
import functools
import importlib
import inspect
import os
import pathlib
import subprocess
import sys
import types
import typing

import keras
import pytest

import keras_ae

pytestmark = pytest.mark.backend_free

PACKAGE = pathlib.Path(keras_ae.__file__).resolve().parent
# Modules that are imported by their names, although `keras_ae` itself does not list them.
FURTHER_MODULES = ("optimizers",)
# Folders whose functions have no hints yet.
NOT_DONE = ("cli",)
# Methods of Keras that the documentation of this package explains. Those that Keras alone explains,
# such as `call` and `get_config`, are no part of the public API.
EXPLAINED_HERE = frozenset(
    "compile fit evaluate predict train_on_batch test_on_batch predict_on_batch save save_weights "
    "load_weights export".split()
)


def is_ours(thing):
    return getattr(thing, "__module__", "").startswith("keras_ae.")


def exported_names(module):
    """Return the names that a module exports, as type checkers see them."""
    if hasattr(module, "__all__"):
        return module.__all__
    tree = ast.parse(pathlib.Path(module.__file__).read_text())
    aliases = [a for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names]
    defined = [n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)]
    again = [alias.asname for alias in aliases if alias.asname == alias.name]
    return [name for name in (*defined, *again) if not name.startswith("_")]


def public_things():
    """Yield the name and the value of everything that is public."""
    modules = [importlib.import_module(f"keras_ae.{name}") for name in FURTHER_MODULES]
    for name in dir(keras_ae):
        value = getattr(keras_ae, name)
        if isinstance(value, types.ModuleType):
            modules.append(value)
        elif is_ours(value):
            yield name, value
    for module in modules:
        if module is not keras_ae.models:
            for name in exported_names(module):
                if is_ours(getattr(module, name)):
                    yield f"{module.__name__}.{name}", getattr(module, name)


def function_of(member):
    """Return the function behind a member of a class, or None. A lambda cannot have hints."""
    if isinstance(member, property):
        member = member.fget
    member = getattr(member, "__func__", getattr(member, "func", member))
    named = inspect.isfunction(member) and member.__name__ != "<lambda>"
    return inspect.unwrap(member) if named else None


def methods_of(cls):
    """Yield the constructor, the public methods and the properties that this package defines."""
    of_keras = {name for c in cls.__mro__ if c.__module__.startswith("keras.") for name in vars(c)}
    for base in filter(is_ours, cls.__mro__):
        for name, member in vars(base).items():
            function = function_of(member)
            ours = name not in of_keras - EXPLAINED_HERE
            public = not name.startswith("_") or name == "__call__"
            if function and (name == "__init__" or ours and public):
                yield function


def public_functions():
    """Return all public functions and methods: where they are -> function."""
    found = {}
    for _, thing in public_things():
        functions = methods_of(thing) if inspect.isclass(thing) else [function_of(thing)]
        for function in filter(None, functions):
            file = function.__code__.co_filename
            if file.startswith(str(PACKAGE)):  # `dataclasses` writes functions without files.
                place = pathlib.Path(file).relative_to(PACKAGE).as_posix()
                if place.split("/")[0] not in NOT_DONE:
                    found[f"{place}:{function.__qualname__}"] = function
    return found


@functools.cache
def names_for_hints(module):
    """Import what a module imports for type checkers alone: name -> value."""
    tree = ast.parse(inspect.getsource(module))
    blocks = [n for n in tree.body if isinstance(n, ast.If)]
    body = [n for b in blocks if ast.unparse(b.test) == "TYPE_CHECKING" for n in b.body]
    names = {}
    exec(compile(ast.Module(body, []), module.__file__, "exec"), names)
    return names


def find_gaps(function):
    """Return the parameters without a hint, and "return" if the result has none."""
    module = sys.modules[function.__module__]
    hints = typing.get_type_hints(function, localns=names_for_hints(module))
    needed = [
        name for name in inspect.signature(function).parameters if name not in ("self", "cls")
    ]
    if function.__name__ != "__init__":
        needed.append("return")
    return [name for name in needed if name not in hints]


def test_every_public_function_has_hints():
    functions = public_functions()
    gaps = {place: find_gaps(function) for place, function in functions.items()}
    assert {place: names for place, names in gaps.items() if names} == {}


def test_the_public_functions_are_found():
    functions = public_functions()
    expected = {
        "autoencoder.py:Autoencoder.__init__",
        "autoencoder.py:Autoencoder.sample",
        "core/interpolation.py:interpolate",
        "core/training.py:Loops.fit",
        "datasets/catalog.py:load",
        "distributions/elementary.py:DiagonalGaussian.kl",
        "estimators/detector.py:AnomalyDetector.load",
        "evaluation/features.py:DigitFeatures.__call__",
        "models/variational/base.py:VariationalAE.log_likelihood",
        "models/variational/sigma_vae.py:SigmaVAE.scale",
        "optimizers.py:optimizers_for",
        "samplers/fitted.py:fit_sampler",
        "saving/load.py:load",
        "saving/saved.py:Saved.from_preset",
        "sparsity.py:top_k",
        "testing/__init__.py:check_model",
    }
    assert expected <= functions.keys() and len(functions) > 750
    assert not any(place.endswith(".call") for place in functions)


def test_a_gap_is_found():
    def hinted(x: int, *, y: "float" = 1.0, **kwargs: str) -> None: ...
    def bare(x: int, y=1.0, **kwargs): ...
    def unknown(x: "Nothing") -> None: ...  # noqa: F821

    assert find_gaps(hinted) == []
    assert find_gaps(bare) == ["y", "kwargs", "return"]
    with pytest.raises(NameError):
        find_gaps(unknown)


@pytest.mark.parametrize("cls", [keras_ae.distributions.Distribution, keras_ae.corruptions.Text])
def test_fields_are_of_a_type(cls):
    """The fields of dataclasses are arguments of constructors."""
    classes = [cls, *cls.__subclasses__()]
    fields = [field for c in classes for field in c.__dataclass_fields__.values()]
    assert fields and not any(field.type in (object, "object") for field in fields)


def test_stubs_list_what_is_loaded_on_first_use():
    """Type checkers read `__init__.pyi`, because they cannot run `__getattr__`."""
    names = set()
    for folder, public in (("", keras_ae), ("models", keras_ae.models)):
        tree = ast.parse((PACKAGE / folder / "__init__.pyi").read_text())
        for node in tree.body:
            if isinstance(node, ast.ImportFrom) and node.names[0].name != "*":
                for alias in node.names:
                    value = getattr(importlib.import_module(node.module), alias.name)
                    assert alias.asname == alias.name and value is getattr(public, alias.name)
                    names.add(alias.name)
    assert names == {name for name in dir(keras_ae) if not name.startswith("__")}


def test_a_signature_keeps_the_hints():
    parameters = inspect.signature(keras_ae.BetaVAE).parameters
    assert parameters["beta"].annotation is float
    assert parameters["seed"].annotation == int | None  # It is the base class's.
    parameters = inspect.signature(keras_ae.VAE(2).encode).parameters
    assert parameters["batch_size"].annotation == int | None
    assert issubclass(keras_ae.VAE, keras.Model)


# ------------------------------------------------------------------ what a type checker says

PROGRAM = """
import numpy as np
import keras_ae
from keras_ae import VAE, datasets, evaluation, plots
from keras_ae.estimators import AnomalyDetector

class Mine(keras_ae.AE):
    objective = ("reconstruction_loss", "size")
    extra_inputs = ("label",)

x = datasets.as_array("small_mnist")[:100]
warm_up = keras_ae.schedules.LinearWarmUp(100)
model = VAE(latent_dim=4, kl_weight=warm_up, network_options={"units": (8,)})
model.compile("adam")
history = model.fit(x, epochs=2, batch_size=32, verbose=0).history
loss = model.evaluate(x, return_dict=True)["loss"]
z = model.encode(x, batch_size=10)
samples = model.sample(16, seed=0)
width: int = z.shape[1] + samples.shape[0]
bound = model.log_likelihood(x[:5], num_samples=10).mean()
steps = model.interpolate(x[0], x[1], steps=5).shape
divergence = model.posterior(x).kl() + model.posterior(x).mean
model.fit_sampler(x, "gaussian_mixture")
model.export("my_vae", overwrite=True)
copies = keras_ae.load("my_vae").reconstruct(x, verbose=0)
codes = keras_ae.VQVAE(latent_dim=4).encode(x, batch_size=10)
digits: VAE = VAE.from_preset("vae_digits")
distance: float = evaluation.frechet_distance(x, samples)
precision = evaluation.score_samples(samples, x, x, evaluation.DataFeatures(x))["precision"]
detector = AnomalyDetector("AE", model_options={"latent_dim": 2}).fit(x.reshape(100, -1))
anomalies: int = np.sum(detector.predict(x.reshape(100, -1)) == -1)
plots.image_grid(samples, "samples.png").savefig("again.png")
"""
MISTAKES = """
import keras_ae
model = keras_ae.VAE(latent_dim="4")
model.sample("16")
model.encode()
keras_ae.VQVAE(4).encode([[0.0]], trainig=True)
keras_ae.evaluation.frechet_distance([0.0])
keras_ae.load(3)
keras_ae.VEA()
"""


@pytest.mark.costly
def test_mypy_passes_a_program_and_finds_mistakes(tmp_path):
    pytest.importorskip("mypy", reason="mypy reads the hints")
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "mistakes.py").write_text(MISTAKES)
    options = ["--ignore-missing-imports", "--follow-imports=silent", "--no-error-summary"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, "program.py", "mistakes.py"],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(PACKAGE.parent)},
        capture_output=True,
        text=True,
    )
    errors = [line for line in done.stdout.splitlines() if ": error: " in line]
    wrong = [number for number, line in enumerate(MISTAKES.splitlines(), 1) if number > 2 and line]
    assert [line.split(": error")[0] for line in errors] == [f"mistakes.py:{n}" for n in wrong]
