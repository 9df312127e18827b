"""The model that is checked, and what its checks share."""

import functools
import inspect
import math
import unittest

import keras
import numpy as np

from keras_ae.core.examples import length, map_leaves, shapes, split, taken_by, taken_by_sample
from keras_ae.testing.parts import CHECKS, assign, groups, numpy_of, shapes_of, with_rows

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
        data = map_leaves(np.asarray, inputs)
        if length(data) < LEAST_EXAMPLES or not isinstance(data, dict) and data.ndim < 2:
            raise ValueError(
                f"inputs of shape {shapes_of(data)} must be an array of at least {LEAST_EXAMPLES} "
                "examples, of shape (examples, ...), or a dictionary of arrays."
            )
        held_out = length(data) // 4
        # What `fit` takes: an array, or a dictionary of x, or the modalities, and named inputs.
        self.x = map_leaves(lambda value: value[:-held_out], data)
        self.held_out = map_leaves(lambda value: value[-held_out:], data)
        self.batch_size = length(self.x) // 3
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
        self.build(model)
        return model

    def build(self, model):
        """Build a model for the data."""
        model.build(with_rows(shapes(self.x), None))

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
        self.build(model)
        self.start = [numpy_of(v) for v in groups(model)[0]]
        copies = math.ceil(_STEPS * self.batch_size / length(self.x))
        x = map_leaves(lambda value: np.concatenate([value] * copies), self.x)
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
        wanted = split(model, self.held_out)[0]
        found = model.reconstruct(self.held_out, verbose=0)
        errors = [found[k] - wanted[k] for k in found] if model._modalities else [found - wanted]
        return {"loss": loss, "squared error": float(sum(np.nanmean(e**2) for e in errors))}

    @functools.cached_property
    def has_integer_codes(self):
        """Whether a code is a list of integers, such as the numbers of a codebook's vectors."""
        return np.issubdtype(self.trained.encode(self.held_out).dtype, np.integer)

    def data(self, values):
        """Return the data in a batch, without its named inputs."""
        return split(self.trained, values)[0]

    def codes(self, number):
        """Return codes of examples of the data."""
        return np.resize(self.trained.encode(self.x), (number, *self.trained.code_shape))

    def decode(self, codes, **options):
        """Decode codes, with the named inputs of the first examples if there are any."""
        method = self.trained.decode
        return method(codes, **self.inputs(taken_by(self.trained, method), len(codes)), **options)

    def sample(self, number, seed=None, model=None, **options):
        """Sample, with the named inputs of the first examples if there are any."""
        model = model or self.trained
        inputs = self.inputs(taken_by_sample(model), number)
        return model.sample(number, seed=seed, **inputs, **options)

    def inputs(self, taken, number):
        """Return those of the named inputs that a method takes, with so many rows."""
        if not isinstance(self.x, dict):
            return {}
        found = {name: self.x[name] for name in taken if name in self.x}
        return {k: np.resize(value, (number, *value.shape[1:])) for k, value in found.items()}


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
