"""The model under test, and what all checks of it share."""

import functools
import inspect
import math
import unittest

import keras
import numpy as np
from keras import ops

from keras_ae.core.examples import length, map_leaves, shapes, split, taken_by, taken_by_sample
from keras_ae.testing.parts import CHECKS, assign, groups, numpy_of, shapes_of, with_rows

LEAST_EXAMPLES = 16
_STEPS = 72  # Each round of training has at least this many steps.
_ROUNDS = 5  # After this many rounds, a model that has not improved fails.
# A few steps take less time eagerly than the tracing of a graph takes, except on JAX.
_EAGERLY = {"run_eagerly": keras.config.backend() != "jax"}


class Subject:
    """A model under test: how to make it, its data, and a trained one that all checks share.

    Args:
        make, inputs, learning_rate, defaults: See `check_model`.
    """

    def __init__(self, make, inputs, learning_rate=None, defaults=None):
        data = map_leaves(np.asarray, inputs)
        if length(data) < LEAST_EXAMPLES or not isinstance(data, dict) and data.ndim < 2:
            raise ValueError(
                f"inputs has the shape {shapes_of(data)}. Pass an array of shape (examples, ...) "
                f"with at least {LEAST_EXAMPLES} examples, or a dictionary of such arrays."
            )
        held_out = length(data) // 4
        # With named inputs or several modalities, `x` and `held_out` are dictionaries of arrays.
        self.x = map_leaves(lambda value: value[:-held_out], data)
        self.held_out = map_leaves(lambda value: value[-held_out:], data)
        self.batch_size = length(self.x) // 3
        self.batches = {"batch_size": self.batch_size, "verbose": 0}
        self.make, self.learning_rate, self.defaults = make, learning_rate, defaults

    def run(self, name):
        """Run the check of this name."""
        check = CHECKS[name]
        with _Named(name, check):
            check(self)

    def takes(self, *names):
        """Tell whether `make` can be called with arguments of these names."""
        if not inspect.isfunction(self.make):
            return True  # A class, or a partial of one, refuses unknown names itself.
        parameters = inspect.signature(self.make).parameters
        any_name = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        return any_name or set(names) <= parameters.keys()

    def made(self, **given):
        """Make a new model with these arguments. Skip the check if `make` does not take them."""
        if not self.takes(*given):
            names = ", ".join(f"{name}=" for name in given)
            raise unittest.SkipTest(f"make() does not take {names}")
        return self.make(**given)

    def built(self, optimizer=None, **given):
        """Make a new model that is compiled and built, and runs eagerly except on JAX."""
        model = self.compiled(optimizer, **given)
        self.build(model)
        return model

    def build(self, model):
        """Build a model for the data."""
        model.build(with_rows(shapes(self.x), None))

    def compiled(self, optimizer=None, options=_EAGERLY, **given):
        """Make a new model that is compiled."""
        model = self.made(**given)
        model.compile(optimizer or keras.optimizers.Adam(0.01), **options)
        return model

    @functools.cached_property
    def trained(self):
        """The trained model, which checks share and must not change."""
        model = self.made()
        rate = self.learning_rate or (0.005 if len(model.players) > 1 else 0.02)
        model.compile(keras.optimizers.Adam(rate))
        self.build(model)
        self.start = [numpy_of(v) for v in groups(model)[0]]
        # Copies of the data make the epochs long, because every epoch starts with a pause.
        copies = math.ceil(_STEPS * self.batch_size / length(self.x))
        x = map_leaves(lambda value: np.concatenate([value] * copies), self.x)
        for _ in range(_ROUNDS):
            self.history = model.fit(x, validation_data=self.held_out, **self.batches).history
            self.before, self.after = self.compare(model)
            if all(lowered(self).values()):
                break
        if hasattr(model, "fit_prior"):
            model.fit_prior(self.x, epochs=2, **self.batches)
        return model

    def compare(self, model):
        """Compute loss and squared error of held-out data with the initial and the trained weights.

        Only the weights that minimize the model's own objective get their initial values. All other
        variables keep their trained values: the networks of the players, and what the model has
        learned about the scale of the data.

        Returns:
            The figures with initial weights, and those with trained weights.
        """
        after = self._figures(model)
        variables = groups(model)[0]
        trained = [numpy_of(v) for v in variables]
        assign(variables, self.start)
        try:
            return self._figures(model), after
        finally:
            assign(variables, trained)

    def _figures(self, model):
        loss = model.evaluate(self.held_out, return_dict=True, **self.batches)["loss"]
        wanted = split(model, self.held_out)[0]
        given = self.held_out
        if hasattr(model, "corruption"):
            # A denoiser may leave clean data unchanged before it has learned anything.
            given = ops.convert_to_numpy(model.corruption(given, 0))
        found = model.reconstruct(given, verbose=0)
        errors = [found[k] - wanted[k] for k in found] if model._modalities else [found - wanted]
        return {"loss": loss, "squared error": float(sum(np.nanmean(e**2) for e in errors))}

    @functools.cached_property
    def has_integer_codes(self):
        """Whether codes are integers, such as indices of a codebook."""
        return np.issubdtype(self.trained.encode(self.held_out).dtype, np.integer)

    def data(self, values):
        """Return the data in a batch, without its named inputs."""
        return split(self.trained, values)[0]

    def codes(self, number):
        """Return this many codes of the training data, repeated if there are fewer examples."""
        return np.resize(self.trained.encode(self.x), (number, *self.trained.code_shape))

    def decode(self, codes, **options):
        """Decode codes, with the first examples' named inputs if the model takes any."""
        method = self.trained.decode
        return method(codes, **self.inputs(taken_by(self.trained, method), len(codes)), **options)

    def sample(self, number, seed=None, model=None, **options):
        """Draw samples, with the first examples' named inputs if the model takes any."""
        model = model or self.trained
        inputs = self.inputs(taken_by_sample(model), number)
        return model.sample(number, seed=seed, **inputs, **options)

    def inputs(self, taken, number):
        """Return the named inputs that a method takes, with this many rows.

        Args:
            taken: The names that the method takes.
            number: Number of rows.
        """
        if not isinstance(self.x, dict):
            return {}
        found = {name: self.x[name] for name in taken if name in self.x}
        return {k: np.resize(value, (number, *value.shape[1:])) for k, value in found.items()}


class _Named:
    """A context that turns errors of a check into an AssertionError that says what was expected."""

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
    """Tell for each figure of the trained model whether training has lowered it: name -> bool."""
    after, before = subject.after, subject.before
    return {
        "loss": after["loss"] < before["loss"],
        "squared error": after["squared error"] < 0.97 * before["squared error"],
    }
