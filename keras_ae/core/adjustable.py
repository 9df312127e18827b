"""Numbers of a model that may be assigned at any time, such as weights of its losses."""

import keras
import numpy as np
from keras import ops

from keras_ae.core import backend
from keras_ae.core.arguments import is_number


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

    def __getattr__(self, name):
        if self._notes is not None and name in self._notes.numbers:
            return self._notes.numbers[name].read()
        inherited = getattr(super(), "__getattr__", None)  # torch's modules have one.
        if inherited is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return inherited(name)

    def __setattr__(self, name, value):
        notes = self._notes
        if notes is None or name not in notes.arguments:
            self._set_plain(name, value)
        elif name in self._notes.numbers:
            self._adjust(name, self._notes.rules[name](value))
        elif self._notes.rules.get(name) is not None and self._is_first(name, value):
            self._notes.numbers[name] = _Number(name, value)
        else:
            self._refuse_another(name, value)
            changes = self.built or (name in self.__dict__ and is_number(value))
            super().__setattr__(name, value)
            if changes:
                notes.arguments[name] = value
                self._renew()
            elif isinstance(notes.arguments[name], str) and hasattr(value, "get_config"):
                # By the constructor: networks, which `build` makes, are saved with their weights.
                if getattr(self, "data_shape", None) is None:
                    self._notes.named.setdefault(name, (type(value), value.get_config()))

    def argument_now(self, name):
        """What the constructor takes to make the model as it is.

        That is an object instead of its name, where a number of the object was assigned since.
        """
        given, now = self.arguments[name], getattr(self, name, None)
        if isinstance(given, str) and name in self._notes.named and hasattr(now, "get_config"):
            if (type(now), now.get_config()) != self._notes.named[name]:
                return now
        return given

    def _set_plain(self, name, value):
        """Set what is no argument of the constructor."""
        before = self.__dict__.get(name)
        super().__setattr__(name, value)
        if is_number(before) and is_number(value) and before != value:
            self._renew()

    def _adjust(self, name, value):
        backend.settle(self)
        renew = self._notes.numbers[name].assign(value)
        self._notes.arguments[name] = value
        if renew:
            self._renew()

    def _renew(self):
        """Have Keras' loop go on with a step of the model as it is."""
        if self._notes.step_programs.parts is not None and not backend.tracing():
            self._notes.step_programs.current()

    def _is_first(self, name, value):
        """Whether it is the constructor that assigns, and not someone after it."""
        given = self._notes.arguments[name]
        return given is None or callable(given) or given == value

    def _refuse_another(self, name, value):
        """Raise where the model depends on the argument by more than the attribute."""
        now = self.__dict__.get(name, self._notes.arguments[name])
        # What has no attribute is held by others; but a user's constructor may compute its own.
        made = self.built or type(self).__module__.startswith("keras_ae.")
        elsewhere = name not in self.__dict__ and is_number(now) and is_number(value) and made
        if (elsewhere or name in self._notes.rules) and now != value:
            raise ValueError(
                f"{type(self).__name__}: {name}={value!r} cannot take the place of {name}={now!r}, "
                f"which the model was made with. Make a new model with {name}={value!r}."
            )

    @property
    def variables(self):
        # Not among the weights, which `set_weights` carries from one model to another.
        return [*super().variables, *(number.variable for number in self._notes.numbers.values())]

    def save_own_variables(self, store):
        super().save_own_variables(store)
        for name, number in self._notes.numbers.items():
            if number.assigned and is_number(number.value):
                store[f"assigned_{name}"] = number.variable

    def load_own_variables(self, store):
        kept = {key: store[key] for key in store.keys()}
        assigned = {key: kept.pop(key) for key in list(kept) if key.startswith("assigned_")}
        super().load_own_variables(kept)
        for key, value in assigned.items():
            # What the configuration says has more digits.
            name, value = key.removeprefix("assigned_"), float(value[()])
            known = self._notes.numbers[name]
            if not is_number(known.value) or ops.convert_to_numpy(known.variable) != value:
                setattr(self, name, value)
            known.assigned = True

    def adopt_numbers(self):
        """Take over the numbers whose variables hold others, as after a backup was restored."""
        for name, number in self._notes.numbers.items():
            value = ops.convert_to_numpy(number.variable)
            if is_number(number.value) and np.float32(number.value) != value:
                setattr(self, name, float(value))


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
        if is_number(self.value) and backend.tracing():
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
