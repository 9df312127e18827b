"""The arguments of a model: kept, saved, and some of them assigned at any time."""

import contextlib
import json

import keras
import numpy as np
from keras import ops

from keras_ae.core import backend, changes, configuration, examples, memory, seeds
from keras_ae.core.arguments import is_number
from keras_ae.core.notes import Notes
from keras_ae.core.old_names import accept_old_argument


class Adjustable:
    """The part of `keras_ae.Autoencoder` that lets arguments change after the model was made.

    A number that the constructor checked with `arguments.number`, or with another rule that is
    recorded, stays one to whoever reads it, and is a variable to the programs compiled from the
    model: assigning it takes effect at the next step, and nothing is compiled anew. It is checked
    as in the constructor, and saved with the configuration and with the weights. What shapes the
    model is refused. Within a program the number is a tensor, of which Python's `if` finds no
    value: that is `keras.ops.where`.
    """

    _notes = None  # `keras_ae.core.notes.Notes`, as soon as the model is made.
    _old_arguments = {}  # Name of an argument in earlier versions -> its name now.

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
    def arguments(self):
        """What the constructor was given, or its defaults: name -> value."""
        # Files hold the weights of networks that were given under this name.
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
        elif not assign_number(self, name, value):
            with note_change(self, name, value):
                super().__setattr__(name, value)

    @property
    def variables(self):
        # Not among the weights, which `set_weights` carries from one model to another.
        return [*super().variables, *(number.variable for number in self._notes.numbers.values())]

    def get_config(self):
        return {**super().get_config(), **configuration.arguments_config(self)}

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**configuration.read_arguments(config, custom_objects))

    def get_build_config(self):
        return configuration.build_config(self) if self.built else None

    def build_from_config(self, config):
        # Keras' own swallows what goes wrong here, and the weights would then be left unread.
        if config:
            configuration.build(self, config)

    def get_compile_config(self):
        return configuration.compile_config(self, super().get_compile_config())

    def save_own_variables(self, store):
        super().save_own_variables(store)
        seeds.save(self, store)
        save_numbers(self, store)
        if changed := changes.changed_numbers(self):
            store["changed_numbers"] = np.frombuffer(json.dumps(changed).encode(), "uint8")

    def load_own_variables(self, store):
        kept = seeds.load(self, store)
        if "changed_numbers" in kept:
            changed = bytes(np.array(kept.pop("changed_numbers"), "uint8"))
            changes.assign_numbers(self, json.loads(changed))
        assigned = {key: kept.pop(key) for key in list(kept) if key.startswith("assigned_")}
        super().load_own_variables(kept)
        load_numbers(self, assigned)


def assign_number(model, name, value):
    """Whether an argument is a number that may be assigned; if so, it is assigned."""
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
        notes.numbers[name] = _Number(name, value)  # The constructor assigns it.
        return True
    return False


@contextlib.contextmanager
def note_change(model, name, value):
    """Record the assignment, inside a `with` block, of an attribute that `assign_number` left."""
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
        # The constructor assigns it. Networks that `build` makes are saved with their weights.
        if getattr(model, "data_shape", None) is None:
            notes.named.setdefault(name, (type(value), value.get_config()))


def _renew(model):
    """Have Keras' loop go on with a step of the model as it is."""
    if model._notes.step_programs.parts is not None and not backend.is_tracing():
        model._notes.step_programs.current()


def _refuse_another(model, name, value):
    """Raise where the model depends on the argument by more than the attribute."""
    now = vars(model).get(name, model._notes.arguments[name])
    # What has no attribute is held by others; but a user's constructor may compute its own.
    made = model.built or type(model).__module__.startswith("keras_ae.")
    elsewhere = name not in vars(model) and is_number(now) and is_number(value) and made
    if (elsewhere or name in model._notes.rules) and now != value:
        raise ValueError(
            f"{type(model).__name__}: {name}={value!r} cannot take the place of {name}={now!r}, "
            f"which the model was made with. Make a new model with {name}={value!r}."
        )


def save_numbers(model, store):
    """Put the numbers that were assigned into a file."""
    for name, number in model._notes.numbers.items():
        if number.assigned and is_number(number.value):
            store[f"assigned_{name}"] = number.variable


def load_numbers(model, assigned):
    """Assign the numbers of a file."""
    for key, value in assigned.items():
        # What the configuration says has more digits.
        name, value = key.removeprefix("assigned_"), float(value[()])
        name = model._old_arguments.get(name, name)
        known = model._notes.numbers[name]
        if not is_number(known.value) or ops.convert_to_numpy(known.variable) != value:
            setattr(model, name, value)
        known.assigned = True


def adopt_numbers(model):
    """Take over the numbers whose variables hold others, as after a backup was restored."""
    for name, number in model._notes.numbers.items():
        value = ops.convert_to_numpy(number.variable)
        if is_number(number.value) and np.float32(number.value) != value:
            setattr(model, name, float(value))


class _Number:
    """A number, a schedule or None; and the variable of that number in programs."""

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
        """Whether what was compiled holds no longer: a schedule is no number."""
        if is_number(value):
            self.variable.assign(value)
        before, self.value, self.assigned = self.value, value, True
        return not (is_number(before) and is_number(value))

    def kind(self):
        """What programs depend on."""
        return None if is_number(self.value) else (self.value,)
