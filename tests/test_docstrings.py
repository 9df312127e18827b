"""The examples in docstrings print what they say."""

import doctest
import importlib
import pkgutil

import keras
import pytest

import keras_ae

MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(keras_ae.__path__, "keras_ae.")
    if not name.startswith("keras_ae.core.backend.") and not name.endswith("__main__")
]
EXPORTING = ("keras_ae.saving.load", "keras_ae.cli.runs")


def examples(name):
    module = importlib.import_module(name)
    return [test for test in doctest.DocTestFinder().find(module) if test.examples]


def run_op_by_op(monkeypatch):
    """Train eagerly, because TensorFlow takes longer to trace a few steps than to run them."""
    compile_ = keras_ae.Autoencoder.compile

    def compile_eagerly(self, *arguments, **options):
        compile_(self, *arguments, **{"run_eagerly": True} | options)

    monkeypatch.setattr(keras_ae.Autoencoder, "compile", compile_eagerly)


@pytest.mark.costly
@pytest.mark.parametrize("name", MODULES)
def test_the_examples_run(name, tmp_path, monkeypatch):
    tests = examples(name)
    if not tests:
        pytest.skip("no examples here")
    if keras.config.backend() == "jax":
        pytest.skip("no example depends on the backend, and JAX takes long")
    if name in EXPORTING and keras.config.backend() == "torch":
        pytest.skip("torch exports no SavedModel")
    monkeypatch.chdir(tmp_path)
    if keras.config.backend() == "tensorflow" and name not in EXPORTING:
        run_op_by_op(monkeypatch)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    report = []
    for test in tests:
        runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)
