"""Keep and save the arguments of a model, and let users assign some of them at any time."""

import contextlib
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae.core import backend, changes, configuration, examples, memory, seeds
from keras_ae.core.arguments import is_number
from keras_ae.core.notes import Notes
from keras_ae.core.old_names import accept_old_argument


class Adjustable:
    """Base class of `keras_ae.Autoencoder` that lets users assign arguments after it is made.

    Users can assign any number that the constructor checks with a recorded rule, such as
    `arguments.number`. The next step then uses the new number without another compilation, because
    compiled functions read it from a variable. It is checked as in the constructor, and saved with
    the configuration and with the weights. Arguments that determine the networks cannot change. In
    a compiled function the number is a tensor, so that `keras.ops.where` must replace Python's
    `if`.
    """

    _notes = None  # `__new__` sets this to a `keras_ae.core.notes.Notes`.
    _old_arguments = {}  # Name of an argument in earlier versions -> its name now.
    _restored = False  # It is True after the model was built from a file.
    _kept = {}  # See `keras_ae.core.configuration.model_config`.

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        examples.check_declared(cls)
        if "__init__" in vars(cls):
            for old, new in cls._old_arguments.items():
                cls.__init__ = accept_old_argument(old, new)(cls.__init__)
            cls.__init__ = memory.explains(memory.SMALLER_MODEL)(cls.__init__)
        cls.__signature__ = configuration.make_signature(cls)
        if cls.__module__.startswith("keras_ae.models."):
            keras.saving.register_keras_serializable("keras_ae")(cls)

    def __new__(cls, *args, **kwargs):
        model = super().__new__(cls, *args, **kwargs)
        kwargs = {cls._old_arguments.get(name, name): value for name, value in kwargs.items()}
        notes = Notes(model, configuration.bind_arguments(cls, args, kwargs))
        object.__setattr__(model, "_notes", notes)  # Hidden from Keras' tracking.
        return model

    @property
    def arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments: name -> given or default value."""
        # This name must stay, because files contain the weights of given networks under it.
        return self._notes.arguments

    def __getattr__(self, name):
        if self._notes is not None and name in self._notes.numbers:
            return self._notes.numbers[name].read()
        inherited = getattr(super(), "__getattr__", None)  # torch's modules have one.
        if inherited is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return inherited(name)

    def __setattr__(self, name, value):
        if self._notes is None:
            super().__setattr__(name, value)
        elif name in backend.STATE_OF_LOOPS:
            object.__setattr__(self, name, value)  # Keras would search it for weights in each step.
        elif not assign_number(self, name, value):
            with note_change(self, name, value):
                super().__setattr__(name, value)

    @property
    def variables(self):
        # `weights` must not contain these variables, because `set_weights` would copy them.
        return [*super().variables, *(number.variable for number in self._notes.numbers.values())]

    def get_config(self):
        return {**super().get_config(), **configuration.model_config(self)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return configuration.make_model(cls, config, custom_objects)

    def get_build_config(self):
        return configuration.build_config(self) if self.built else None

    def build_from_config(self, config):
        # Keras' own method ignores errors, so that the weights would silently not be loaded.
        if config:
            configuration.build(self, config)

    def get_compile_config(self):
        return configuration.compile_config(self, super().get_compile_config())

    def save_own_variables(self, store):
        super().save_own_variables(store)
        seeds.save(self, store)
        save_numbers(self, store)
        changes.save_in_weights(self, store)

    def load_own_variables(self, store):
        kept = seeds.load(self, store)
        changes.load_from_weights(self, kept)
        assigned = {key: kept.pop(key) for key in list(kept) if key.startswith("assigned_")}
        super().load_own_variables(kept)
        load_numbers(self, assigned)


def assign_number(model, name, value):
    """Assign an argument if it is a number that may be assigned. Return whether it is one."""
    notes = model._notes
    if name not in notes.arguments:
        return False
    if name in notes.numbers:
        backend.settle(model)
        value = notes.rules[name](value)
        another_kind = notes.numbers[name].assign(value)
        notes.arguments[name] = value
        if another_kind:
            _renew(model)
        return True
    given = notes.arguments[name]
    if notes.rules.get(name) is not None and (given is None or callable(given) or given == value):
        notes.numbers[name] = _Number(name, value)  # This assignment is the constructor's.
        return True
    return False


@contextlib.contextmanager
def note_change(model, name, value):
    """Record that a `with` block assigns an attribute that `assign_number` did not assign."""
    notes = model._notes
    if name not in notes.arguments:
        before = vars(model).get(name)
        yield
        if is_number(before) and is_number(value) and before != value:
            _renew(model)
        return
    _refuse_another(model, name, value)
    is_change = model.built or (name in vars(model) and is_number(value))
    yield
    if is_change:
        notes.arguments[name] = value
        _renew(model)
    elif isinstance(notes.arguments[name], str) and hasattr(value, "get_config"):
        # Only objects that the constructor makes are recorded. The networks that `build` makes are
        # saved with their weights.
        if getattr(model, "_data_shape", None) is None:
            notes.named.setdefault(name, configuration.describe(value))


def _renew(model):
    """Have a running loop of Keras compile its step again, because the model has changed."""
    if model._notes.step_programs.parts is not None and not backend.is_tracing():
        model._notes.step_programs.current()


def _refuse_another(model, name, value):
    """Raise if a new value would not reach every place where the argument is used."""
    given = model._notes.arguments[name]
    if given is None and name not in vars(model) and not model.built:
        return  # The constructor chooses a value where none was given.
    now = vars(model).get(name, given)
    # If the model has no attribute of this name, other objects use the number. The constructor of a
    # user's class is an exception, because it may still assign a number of its own.
    made = model.built or type(model).__module__.startswith("keras_ae.")
    elsewhere = name not in vars(model) and is_number(now) and is_number(value) and made
    if (elsewhere or name in model._notes.rules) and now != value:
        raise ValueError(
            f"{type(model).__name__}: {name}={now!r} cannot be changed to {value!r} after the "
            f"model is made. Make a new model with {name}={value!r}."
        )


def save_numbers(model, store):
    """Save the numbers that users have assigned."""
    for name, number in model._notes.numbers.items():
        if number.assigned and is_number(number.value):
            store[f"assigned_{name}"] = number.variable


def load_numbers(model, assigned):
    """Load the numbers that `save_numbers` saved."""
    for key, value in assigned.items():
        # If both are equal as float32, the number from the configuration stays: it has more digits.
        name, value = key.removeprefix("assigned_"), float(value[()])
        name = model._old_arguments.get(name, name)
        known = model._notes.numbers[name]
        if not is_number(known.value) or ops.convert_to_numpy(known.variable) != value:
            setattr(model, name, value)
        known.assigned = True


def adopt_numbers(model):
    """Update the numbers whose variables have changed, for example by a restored backup."""
    for name, number in model._notes.numbers.items():
        value = ops.convert_to_numpy(number.variable)
        if is_number(number.value) and np.float32(number.value) != value:
            setattr(model, name, float(value))


class _Number:
    """Number, schedule or None, and the variable from which compiled functions read a number."""

    def __init__(self, name, value):
        self.value, self.assigned = value, False
        self.variable = keras.Variable(
            value if is_number(value) else 0.0,
            dtype="float32",
            trainable=False,
            aggregation="only_first_replica",
            name=name,
        )

    def read(self):
        if is_number(self.value) and backend.is_tracing():
            return ops.convert_to_tensor(self.variable)
        return self.value

    def assign(self, value):
        """Assign a value. Return whether functions must be compiled again, as for a schedule."""
        if is_number(value):
            self.variable.assign(value)
        before, self.value, self.assigned = self.value, value, True
        return not (is_number(before) and is_number(value))

    def kind(self):
        """Return what compiled functions depend on: None for any number, or the other value."""
        return None if is_number(self.value) else (self.value,)
