"""The model that is checked, and what its checks share."""

import functools
import inspect
import math
import unittest

import keras
import numpy as np

from keras_ae.testing.parts import CHECKS, assign, groups, numpy_of

LEAST_EXAMPLES = 16
_STEPS = 72  # The steps of one round of training; there are at most five rounds.
_ROUNDS = 5
# A few steps run sooner one operation at a time than a graph is traced, except on JAX.
_EAGERLY = {"run_eagerly": keras.config.backend() != "jax"}


class Subject:
    """A model under test: how one is made, its data, and the trained one that checks share.

    Args:
        make, inputs, learning_rate: See `check_model`.
    """

    def __init__(self, make, inputs, learning_rate=None):
        data = np.asarray(inputs)
        if data.ndim < 2 or len(data) < LEAST_EXAMPLES:
            raise ValueError(
                f"inputs of shape {data.shape} must be an array of at least {LEAST_EXAMPLES} "
                "examples, of shape (examples, ...)."
            )
        held_out = len(data) // 4
        self.x, self.held_out = data[:-held_out], data[-held_out:]
        self.batch_size = len(self.x) // 3
        self.batches = {"batch_size": self.batch_size, "verbose": 0}
        self.make, self.learning_rate = make, learning_rate

    def run(self, name):
        """Run the check of this name."""
        check = CHECKS[name]
        with _Named(name, check):
            check(self)

    def takes(self, *names):
        """Whether `make` may be called with arguments of these names."""
        if not inspect.isfunction(self.make):
            return True  # A class, or a partial of one.
        parameters = inspect.signature(self.make).parameters
        any_name = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        return any_name or set(names) <= parameters.keys()

    def made(self, **given):
        """A new model with other arguments, where `make` takes them."""
        if not self.takes(*given):
            names = ", ".join(f"{name}=" for name in given)
            raise unittest.SkipTest(f"make() does not take {names}")
        return self.make(**given)

    def built(self, optimizer=None, **given):
        """A new model that is built and compiled, and runs one operation at a time."""
        model = self.compiled(optimizer, **given)
        model.build((None, *self.x.shape[1:]))
        return model

    def compiled(self, optimizer=None, options=_EAGERLY, **given):
        """A new model that is compiled."""
        model = self.made(**given)
        model.compile(optimizer or keras.optimizers.Adam(0.01), **options)
        return model

    @functools.cached_property
    def trained(self):
        """A model that checks may look at, and must leave as it is."""
        model = self.made()
        rate = self.learning_rate or (0.005 if len(model.players) > 1 else 0.02)
        model.compile(keras.optimizers.Adam(rate))
        model.build((None, *self.x.shape[1:]))
        self.start = [numpy_of(v) for v in groups(model)[0]]
        x = np.concatenate([self.x] * math.ceil(_STEPS * self.batch_size / len(self.x)))
        for _ in range(_ROUNDS):
            # Long epochs, because each begins with a pause.
            self.history = model.fit(x, validation_data=self.held_out, **self.batches).history
            self.before, self.after = self.compare(model)
            if all(lowered(self).values()):
                break
        if hasattr(model, "fit_prior"):
            model.fit_prior(self.x, epochs=2, **self.batches)
        return model

    def compare(self, model):
        """Loss and squared error of held-out data: (of the weights of the start, as trained).

        What is no trainable weight of the model's own objective stays as it is: its opponents in a
        game, and what it keeps of the data.
        """
        found = self._figures(model)
        variables = groups(model)[0]
        ends = [numpy_of(v) for v in variables]
        assign(variables, self.start)
        try:
            return self._figures(model), found
        finally:
            assign(variables, ends)

    def _figures(self, model):
        loss = model.evaluate(self.held_out, return_dict=True, **self.batches)["loss"]
        error = np.mean(np.square(model.reconstruct(self.held_out, verbose=0) - self.held_out))
        return {"loss": loss, "squared error": float(error)}

    @functools.cached_property
    def has_integer_codes(self):
        """Whether a code is a list of integers, such as the numbers of a codebook's vectors."""
        return np.issubdtype(self.trained.encode(self.held_out).dtype, np.integer)

    def codes(self, number):
        """Codes of examples of the data."""
        return np.resize(self.trained.encode(self.x), (number, *self.trained.code_shape))


class _Named:
    """A context in which an error becomes an AssertionError that says what was checked."""

    def __init__(self, name, check):
        self.name, self.expected = name, inspect.getdoc(check).split("\n\n")[0]

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if not isinstance(error, Exception) or isinstance(error, unittest.SkipTest):
            return
        found = str(error)
        if not isinstance(error, AssertionError):
            found = f"{type(error).__name__}: {found}"
        raise AssertionError(f"check {self.name!r}: {self.expected} {found}") from error


def lowered(subject):
    after, before = subject.after, subject.before
    return {
        "loss": after["loss"] < before["loss"],
        "squared error": after["squared error"] < 0.97 * before["squared error"],
    }
