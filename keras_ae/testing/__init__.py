"""What every model of this package does, as checks of a model of yours.

>>> import functools
>>> import numpy as np
>>> from keras_ae import VAE, testing
>>> x = np.random.default_rng(0).integers(0, 2, (64, 6)).astype("float32")
>>> make = functools.partial(VAE, latent_dim=2, network_options={"units": (8,)})
>>> skipped = testing.check_model(make, x)  # doctest: +SKIP

With pytest each check is a test of its own:

>>> import pytest
>>> names_and_checks = testing.checks(make, x)
>>> @pytest.mark.parametrize(("name", "check"), names_and_checks)
... def test_my_model(name, check):
...     check()
"""

import functools
import unittest
from collections.abc import Callable
from typing import Any

from keras_ae.core.types import Data
from keras_ae.testing import arguments, calls, data, learning, training  # noqa: F401
from keras_ae.testing.parts import CHECKS as CHECKS
from keras_ae.testing.subject import Subject


def check_model(
    make: Callable[..., Any],
    inputs: Data,
    *,
    learning_rate: float | None = None,
    defaults: tuple[Callable[..., Any], Data] | None = None,
) -> dict[str, str]:
    """Run every check on a model.

    Args:
        make: Function that returns a new model, built and compiled by nobody, as small as possible:
            a class of models, or `functools.partial` of one and arguments. It is called as
            `make()`, and as `make(seed=3)` or with other arguments of the constructor, where it
            takes them.
        inputs: Array of at least 16 examples, shape (examples, ...), on which such a model learns
            something within a few hundred steps. The last quarter is held out. If the model has
            named inputs, a dictionary such as `{"x": x, "label": label}`; if it has several
            modalities, a dictionary of these.
        learning_rate: Of Adam, which trains the model. Defaults to 0.02, and in a game of more than
            two players, who swing at that rate, to 0.005.
        defaults: Pair of a function that returns a new model with its default arguments, such as
            its class, and of data like `inputs` that such a model must learn in 300 steps. The last
            fifth is held out. For pictures, `keras_ae.datasets.as_array("small_mnist")[:2500]` will
            do. Defaults to None: default arguments are not tried.

    Returns:
        Dictionary of the checks that do not concern the model: name -> why.

    Raises:
        AssertionError: If a check fails. The message names the check and what was expected.
    """
    skipped = {}
    for name, check in checks(make, inputs, learning_rate=learning_rate, defaults=defaults):
        try:
            check()
        except unittest.SkipTest as reason:
            skipped[name] = str(reason)
    return skipped


def checks(
    make: Callable[..., Any],
    inputs: Data,
    *,
    learning_rate: float | None = None,
    defaults: tuple[Callable[..., Any], Data] | None = None,
) -> list[tuple[str, Callable[[], None]]]:
    """Every check of a model, which share one trained model among them.

    Args:
        make, inputs, learning_rate, defaults: See `check_model`.

    Returns:
        List of (name, function) pairs. A function takes nothing, raises an AssertionError if the
        check fails, and `unittest.SkipTest`, which pytest knows, if it does not concern the model.
    """
    subject = Subject(make, inputs, learning_rate, defaults)
    return [(name, functools.partial(subject.run, name)) for name in CHECKS]
