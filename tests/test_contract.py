"""The contract, `keras_ae.testing`, for every model that the package lists."""

import inspect
import os
import pathlib
import subprocess
import sys

import conftest
import pytest
import zoo

import keras_ae
from keras_ae import testing

every_model = pytest.mark.parametrize("name", zoo.MODELS)


def marked(check):
    """Return the check as a parameter; one check is enough for `-m smoke`."""
    return pytest.param(check, marks=pytest.mark.smoke) if check == "batches" else check


@pytest.mark.parametrize("check", [marked(c) for c in testing.CHECKS if c != "learning"])
@every_model
def test_the_contract(name, check):
    zoo.subject(name).run(check)


@pytest.mark.costly
@every_model
def test_with_its_defaults_a_model_learns(name):
    """Networks of ordinary size train slowly without the optimizations that `conftest` disables."""
    environment = {k: v for k, v in os.environ.items() if k not in conftest.WITHOUT_OPTIMIZATIONS}
    code = f"import zoo; zoo.subject({name!r}).run('learning')"
    here = pathlib.Path(__file__).parent
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr.strip().splitlines()[-1]


@every_model
def test_every_model_says_what_it_is(name):
    cls = getattr(keras_ae, name)
    module = inspect.getmodule(cls).__doc__
    assert any(key in module for key in ("arXiv:", "doi:", "https://", "openreview.net")), module
    for section in ("Args:", "Example:"):
        assert section in cls.__doc__


# ------------------------------------------------------------------ how the zoo is made and divided


def test_the_table_of_tiny_arguments_has_no_name_that_nothing_takes():
    taken = set().union(*map(zoo.parameters_of, zoo.MODELS))
    assert {*zoo.TINY, *zoo.TINY_WITH_PATCHES, *zoo.WITH_OWN_DECODER_ONLY} <= taken


def test_eight_runs_try_every_model_once(monkeypatch):
    runs = []
    for turn in range(8):
        monkeypatch.setenv("KERAS_AE_TURN", f"{turn}/8")
        runs.append([name for name in zoo.MODELS if zoo.in_turn(name)])
    assert sorted(sum(runs, [])) == sorted(zoo.MODELS)
    assert max(map(len, runs)) - min(map(len, runs)) <= 1
