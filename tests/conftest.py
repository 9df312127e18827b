"""What every test needs: a quiet backend, a fixed seed, and temporary places."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import pytest


@pytest.fixture(autouse=True)
def fresh_start():
    """The same random state for every test, and none of its graphs left behind."""
    keras.utils.set_random_seed(0)
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
