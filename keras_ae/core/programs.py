"""Programs compiled from a model, and the check that the model has not changed since."""

import contextlib
import itertools
import operator
import sys
import traceback

import keras

from keras_ae.core import backend

# Attributes that change while a model is used, or that `compile` replaces. No program depends on
# them.
_NOTED = frozenset(
    "_called _compile_config _compile_loss _compile_metrics _compiled_trainable_state "
    "_eval_epoch_iterator _initial_epoch _jax_state _jax_state_synced _jit_compile _loss_tracker "
    "_notes _run_eagerly compiled history loss optimizer predict_function steps_per_execution "
    "stop_evaluating stop_predicting stop_training test_function train_function".split()
)
# Objects whose attributes are not looked into: no computation depends on them.
_APART = (
    keras.Variable,
    keras.KerasTensor,
    keras.initializers.Initializer,
    keras.dtype_policies.DTypePolicy,
    keras.Metric,
    keras.random.SeedGenerator,
    keras.callbacks.Callback,
    keras.InputSpec,
    type,
)
_CONTAINERS = (list, tuple, set, frozenset)
_LIBRARIES = {"tensorflow", "jax", "jaxlib", "torch", "numpy", "scipy", "pandas", "sklearn"}


class Programs:
    """Programs compiled from a model, which are forgotten as soon as the model changes.

    Besides the values of variables, a program depends on attributes: of the model, of the layers
    within, and of objects that these hold. A check compares each attribute with what it was when
    the program was compiled, and asks whether it is still the same object. That takes a microsecond
    per layer.

    Args:
        model: The model.
        training: Whether the programs train it, so that they depend on its optimizer and on which
            weights are frozen.
    """

    def __init__(self, model, training=False):
        self.model, self.training = model, training
        self.kept = {}
        self.parts, self.flags = None, None
        self.stale = False

    def current(self):
        """Return the dictionary of programs that are still valid; callers add new ones to it."""
        if not backend.KEEPS_PROGRAMS:
            return self.kept
        with self.model._notes.making:
            if self.stale or not self.hold():
                self.forget()
                self.remember()
            return self.kept

    def forget(self):
        """Forget all programs. For those of training, also have Keras make its functions again."""
        self.kept, self.stale = {}, False
        if self.training:
            for name in ("train", "test", "predict"):
                # Keras' loop needs a function while it runs, so a new one is made at once. It is
                # traced when it is called next.
                if getattr(self.model, f"{name}_function") is not None:
                    getattr(self.model, f"make_{name}_function")(force=True)

    def hold(self):
        """Whether the model is the same as when `remember` was last called."""
        if self.parts is None:
            return False
        for attributes, names, values in self.parts:
            if names is None:
                now = attributes.values() if isinstance(attributes, dict) else attributes
                added = itertools.islice(now, len(values), None)
                # Keras' `load_weights` adds attributes that are False, and they change nothing.
                if len(now) < len(values) or any(value is not False for value in added):
                    return False
            else:
                if len(attributes.keys() - _NOTED) != len(names):
                    return False
                now = map(attributes.get, names)
            if not all(map(operator.is_, now, values)):
                return False
        return self.flags == self._flags()

    def remember(self):
        """Remember the model as it is now: the programs are compiled from this state."""
        parts, seen = [], set()
        self._visit(self.model, parts, seen)
        self._visit([number.kind() for number in self.model._notes.numbers.values()], parts, seen)
        if self.training:
            self._visit(self.model.optimizer, parts, seen)
        self.parts, self.flags = parts, self._flags()

    def _flags(self):
        model = self.model
        kinds = [number.kind() for number in model._notes.numbers.values()]
        if not self.training:
            return kinds
        # How training treats a variable depends on these attributes of the variable.
        variables = [(v.trainable, v.regularizer, v.constraint) for v in model.variables]
        return [kinds, model.optimizer, model.run_eagerly, *variables]

    def _visit(self, value, parts, seen):
        """Add what the value holds to `parts`, and then what its parts hold."""
        if id(value) in seen or isinstance(value, _APART):
            return
        seen.add(id(value))
        if isinstance(value, dict):
            parts.append((value, None, list(value.values())))
            held = value.values()
        elif isinstance(value, _CONTAINERS):
            if not isinstance(value, tuple):
                parts.append((value, None, list(value)))
            held = value
        elif isinstance(getattr(value, "__dict__", None), dict) and _is_part(value):
            attributes = value.__dict__
            if isinstance(value, keras.Model):
                names = [name for name in attributes if name not in _NOTED]
                values = [attributes[name] for name in names]
            else:
                names, values = None, list(attributes.values())
            parts.append((attributes, names, values))
            held = [attributes[name] for name in attributes if _is_followed(value, name)]
            if isinstance(value, keras.layers.Layer):
                held += value._layers
        else:
            return
        for each in held:
            self._visit(each, parts, seen)


@contextlib.contextmanager
def guard_programs(model):
    """Watch the model while it computes, directly or while a program is traced.

    If the model has changed since its programs were compiled, they are marked as stale. If Python
    code asks a traced number for its value, the error says which number.
    """
    both = model._notes.programs, model._notes.step_programs
    kinds = [kind for kind in both if kind.parts is not None]
    for kind in kinds:
        if not kind.hold():
            kind.stale = True  # The model has changed since its programs were made.
    try:
        yield
    except backend.NO_NUMBER_ERRORS as error:
        _explain(model, error)
        raise
    for kind in kinds:
        kind.remember()  # Attributes that layers set during a call are not changes of the model.


def _explain(model, error):
    """Raise a clear error if Python code asked a traced number of the model for its value."""
    words = ("ymbolic", "eager execution", "trace")  # TensorFlow's and JAX's errors say these.
    if not (backend.is_tracing() and any(word in str(error) for word in words)):
        return
    found = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        code, package = frame.f_code, frame.f_globals.get("__name__", "").partition(".")[0]
        asked = [name for name in model._notes.numbers if name in code.co_names]
        if asked and package not in {"keras", "keras_ae", *_LIBRARIES}:
            found = code, line, f"self.{asked[0]}"
    if found is None:
        return
    code, line, name = found
    raise TypeError(
        f"{type(model).__name__}.{code.co_name}, line {line} of {code.co_filename}: {name} may be "
        "assigned at any time, so that it is a tensor where a program is made of this, and "
        f"Python's `if`, `float` and the like find no value in it. Choose by "
        f"keras.ops.where({name} > 1, a, b), or assign {name} between two calls of `fit` or in a "
        "callback."
    ) from error


def _is_part(value):
    """Whether a computation may depend on attributes of this object."""
    package = type(value).__module__.partition(".")[0]
    return package not in _LIBRARIES and package not in sys.stdlib_module_names


def _is_followed(owner, name):
    """Whether to look into the attribute of this name; Keras' own records are left out."""
    if not isinstance(owner, keras.layers.Layer):
        return True
    if name in _NOTED or name in _records() or name.startswith("_self_"):
        return False
    return not (name.startswith("_") and _is_of_keras(owner))


def _is_of_keras(value):
    return type(value).__module__.startswith("keras.")


_RECORDS = set()


def _records():
    """Return the names of attributes that every layer and model has, and that Keras manages."""
    if not _RECORDS:
        # Keras counts up the names that it gives by itself, so these two get a name.
        _RECORDS.update(*(vars(cls(name="a")) for cls in (keras.layers.Layer, keras.Model)))
        _RECORDS.discard("activity_regularizer")
    return _RECORDS
