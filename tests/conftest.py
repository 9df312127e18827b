"""What all tests share: a quiet backend, a fixed seed, and the order in which they run."""

import collections
import datetime
import gc
import os
import random
import tempfile

import numpy as np
import pytest

# Keras is imported inside the functions that need it, because the process that only distributes the
# tests does not need it.

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# If each of two processes ran torch's threads on every core, they would wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# JAX compiles every program again for every model, and most of them are the same. A cache of files
# avoids that.
_programs = tempfile.TemporaryDirectory()
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", _programs.name)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
# Small programs need not be fast, and XLA compiles them in half the time without optimizations, for
# TensorFlow as for JAX. oneDNN speeds up large products, but small programs take longer to make
# with it.
WITHOUT_OPTIMIZATIONS = {
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "XLA_FLAGS": "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0",
    "TF_ENABLE_ONEDNN_OPTS": "0",
}
for _name, _value in WITHOUT_OPTIMIZATIONS.items():
    os.environ.setdefault(_name, _value)


# ------------------------------------------------------------------ options


# How many runs together try all tests, and all costly ones. A run of everything stays below half an
# hour on two cores, so that it ends within an hour where they are half as fast.
PARTS = {"tensorflow": (4, 20), "jax": (20, 20), "torch": (20, 20)}


def pytest_addoption(parser):
    parser.addoption(
        "--turn",
        type=int,
        default=None,
        help="whose turn it is: a twentieth of all tests on JAX and torch, on TensorFlow a quarter "
        "and a twentieth of the contract, of the costly tests and of those of every model "
        "(default: the day of the year); WHOLE_ZOO=1 in the environment tries all",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Two processes, where pytest-xdist is there and nobody asked for another number.

    Most of the time goes into compiling, which uses one core. Tests that share an expensive fixture
    form a group, which one process runs.
    """
    alone = "PYTEST_XDIST_WORKER" in os.environ or config.getoption("usepdb")
    if config.pluginmanager.hasplugin("xdist") and not alone:
        if config.option.numprocesses is None and not config.option.tx:
            config.option.numprocesses = 2
        if config.option.dist == "no" and config.option.numprocesses:
            config.option.dist = "loadgroup"


def pytest_configure(config):
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    if "PYTEST_XDIST_WORKER" not in os.environ and os.environ.get("WHOLE_ZOO") != "1":
        turn = config.getoption("turn")
        turn = datetime.date.today().timetuple().tm_yday if turn is None else turn
        for name, parts in zip(("TURN", "COSTLY_TURN"), PARTS[backend], strict=True):
            os.environ[f"KERAS_AE_{name}"] = f"{turn % parts}/{parts}"


def pytest_report_header():
    turns = [os.environ.get(f"KERAS_AE_{name}", "all") for name in ("TURN", "COSTLY_TURN")]
    return "part of the tests, and of the costly ones, counted from 0: {}, {}".format(*turns)


@pytest.fixture(autouse=True)
def fixed_seed():
    """Seed Python and NumPy. `keras.utils.set_random_seed` would also empty TensorFlow's cache."""
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
    """Return the group of a test: tests of one group share expensive objects."""
    marker = item.get_closest_marker("xdist_group")
    return marker.args[0] if marker else item.nodeid.split("::")[0]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Let one process run all tests of a model, so that only one trains and compiles it."""
    import keras
    import zoo

    models = collections.defaultdict(set)
    for item in items:
        name = model_of(item)
        if name is not None:
            models[property_of(item)].add(name)
            if not item.get_closest_marker("xdist_group"):
                item.add_marker(pytest.mark.xdist_group(name))
    if os.environ.get("WHOLE_ZOO") == "1":
        return
    for item in items:
        reason = not_tried(item, keras.config.backend())
        if reason is None and not item.get_closest_marker("divided"):
            # A test of a few models tries a mechanism on them.
            of_many = len(models[property_of(item)]) > FEW_MODELS
            costly = of_many or item.get_closest_marker("costly") is not None
            if not zoo.in_turn(*parts_of(item), costly=costly):
                reason = "another run has the turn of this test: see --turn"
        if reason:
            item.add_marker(pytest.mark.skip(reason=reason))


FEW_MODELS = 5


def model_of(item):
    """The name of the model that a test is about, if it is about one."""
    import zoo

    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    name = parameters.get("name", parameters.get("kind"))
    return name if isinstance(name, str) and name in zoo.MODELS else None


def parts_of(item):
    """Return what decides whose turn a test is, where all checks of a model's contract are one."""
    name, test = model_of(item), item.nodeid.split("::")[-1]
    if name is None:
        # The costly part of a group is what its tests share, so that all of them have one turn.
        shares = item.get_closest_marker("costly") and item.get_closest_marker("xdist_group")
        return (neighbors(item) if shares else test,)
    in_contract = item.nodeid.startswith("tests/test_contract.py")
    return (name,) if in_contract else (name, test.replace(name, ""))


def property_of(item):
    return item.nodeid.split("[")[0]


def not_tried(item, backend):
    """Return the reason why a test does not run on a backend, or None if it runs."""
    if backend != "tensorflow" and item.get_closest_marker("backend_free"):
        return "no backend takes part in it: TensorFlow's suite tries it"
    # JAX compiles each operation for each shape, so tests of formulas take long there.
    formula = item.get_closest_marker("formula") and not item.get_closest_marker("every_backend")
    if backend == "jax" and formula:
        return "tried on TensorFlow and torch, with which test_backends_agree.py compares JAX"
    return None


def pytest_collection_finish():
    """Exempt the million objects of the imports from garbage collection, because they all stay."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """Remove a group's graphs before the next group; after every test it would triple the time."""
    import keras

    if nextitem is None or neighbors(item) != neighbors(nextitem):
        keras.utils.clear_session()
        gc.freeze()
