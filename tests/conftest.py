"""What every test needs: a quiet backend, a fixed seed, and temporary places."""

import os
import tempfile

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

import keras  # noqa: E402
import pytest  # noqa: E402


@pytest.fixture(autouse=True)
def fixed_seed():
    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True, scope="module")
def fresh_start():
    """No file's graphs left behind for the next; once a test would triple the time."""
    yield
    keras.utils.clear_session()


@pytest.fixture
def on_tensorflow():
    if keras.config.backend() != "tensorflow":
        pytest.skip("concerns the TensorFlow backend")


@pytest.fixture
def exports():
    if keras.config.backend() == "torch":
        pytest.skip("a SavedModel cannot be written from torch, which test_artefact.py shows")
