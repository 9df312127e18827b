"""What every test needs: a quiet backend, a fixed seed, temporary places, and an order."""

import gc
import os
import random
import tempfile

import numpy as np
import pytest

# Keras is imported where it is used: the process that only hands out the tests goes without.

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# Two processes with torch's threads on every core each would wait for one another.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# JAX compiles every program anew for every model: most of them are the same ones.
_programs = tempfile.TemporaryDirectory()
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", _programs.name)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# Nor need XLA make small programs fast, TensorFlow's no more than JAX's: it compiles them in half
# the time without.
_flags = "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0"
os.environ.setdefault("XLA_FLAGS", _flags)


# oneDNN makes large products fast, and small programs slower to make.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")


@pytest.fixture(autouse=True)
def fixed_seed():
    """What seeds are drawn from. Keras' own function empties TensorFlow's cache of kernels, too."""
    random.seed(0)
    np.random.seed(0)


@pytest.fixture
def on_tensorflow():
    import keras

    if keras.config.backend() != "tensorflow":
        pytest.skip("concerns the TensorFlow backend")


@pytest.fixture
def exports():
    import keras

    if keras.config.backend() == "torch":
        pytest.skip("a SavedModel cannot be written from torch, which test_artifact.py shows")


# ------------------------------------------------------------------ order, and what is left behind


def neighbors(item):
    """What an item belongs with: the tests that share its expensive parts."""
    marker = item.get_closest_marker("xdist_group")
    return marker.args[0] if marker else item.nodeid.split("::")[0]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """One process runs all tests of a model, which is trained and compiled there alone."""
    import keras
    import zoo

    for item in items:
        name = getattr(item, "callspec", None) and item.callspec.params.get("name")
        if name in zoo.MODELS and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(name))
    if zoo.WHOLE_ZOO:
        return
    for item in items:
        reason = not_tried(item, keras.config.backend())
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


def not_tried(item, backend):
    """Why a test is not for a backend, if it is not."""
    if backend != "tensorflow" and item.get_closest_marker("backend_free"):
        return "no backend takes part in it: TensorFlow's suite tries it"
    # JAX compiles each operation for each shape.
    formula = item.get_closest_marker("formula") and not item.get_closest_marker("every_backend")
    if backend == "jax" and formula:
        return "tried on TensorFlow and torch, with which test_backends_agree.py compares JAX"
    return None


def pytest_collection_finish():
    """What is there stays there: no collection of garbage need visit a million objects again."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """No graphs left behind for other tests; after every test it would triple the time."""
    import keras

    if nextitem is None or neighbors(item) != neighbors(nextitem):
        keras.utils.clear_session()
        gc.freeze()
