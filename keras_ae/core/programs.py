"""Keep the functions compiled from a model, and discard them if the model has changed since."""

import contextlib
import itertools
import operator
import sys
import traceback

import keras

from keras_ae.core import backend

# These attributes change while a model is used, or `compile` replaces them. No compiled function
# depends on them.
_NOTED = frozenset(
    "_called _compile_config _compile_loss _compile_metrics _compiled_trainable_state "
    "_eval_epoch_iterator _initial_epoch _jax_state _jax_state_synced _jit_compile _loss_tracker "
    "_notes _run_eagerly compiled history loss optimizer predict_function steps_per_execution "
    "stop_evaluating stop_predicting stop_training test_function train_function".split()
)
# No computation depends on the attributes of these objects.
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
    """Functions compiled from a model, which are discarded when the model changes.

    A compiled function reads the current values of variables. Everything else is fixed when it is
    compiled: the attributes of the model and its layers, and of other objects in these attributes.
    A check tests whether each attribute is still the same object as at that time. It takes a
    microsecond for each layer.

    Args:
        model: The model.
        training: Whether the functions train the model. They then also depend on the optimizer, and
            on which weights are frozen.
    """

    def __init__(self, model, training=False):
        self.model, self.training = model, training
        self.kept = {}
        self.parts, self.flags = None, None
        self.stale = False

    def current(self):
        """Return the dictionary of valid compiled functions, to which callers add new ones."""
        if not backend.KEEPS_PROGRAMS:
            return self.kept
        with self.model._notes.making:
            if self.stale or not self.hold():
                self.forget()
                self.remember()
            return self.kept

    def forget(self):
        """Discard all compiled functions. If they train, make those of Keras' loops again."""
        self.kept, self.stale = {}, False
        if self.training:
            for name in ("train", "test", "predict"):
                # A running loop needs the function, so a new one is made at once. The next call
                # traces it.
                if getattr(self.model, f"{name}_function") is not None:
                    getattr(self.model, f"make_{name}_function")(force=True)

    def hold(self):
        """Tell whether the model is the same as in the last call of `remember`."""
        if self.parts is None:
            return False
        for attributes, names, values in self.parts:
            if names is None:
                now = attributes.values() if isinstance(attributes, dict) else attributes
                if len(now) != len(values):
                    added = itertools.islice(now, len(values), None)
                    # Keras' `load_weights` adds attributes with the value False, which change
                    # nothing.
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
        """Record the current state of the model, from which functions are compiled next."""
        parts, seen = [], set()
        self._visit(self.model, parts, seen)
        self._visit([number.kind() for number in self.model._notes.numbers.values()], parts, seen)
        if self.training:
            self._visit(getattr(self.model, "optimizer", None), parts, seen)
        self.parts, self.flags = parts, self._flags()

    def _flags(self):
        model = self.model
        kinds = [number.kind() for number in model._notes.numbers.values()]
        if not self.training:
            return kinds
        # Training depends on these attributes of each variable.
        variables = [(v.trainable, v.regularizer, v.constraint) for v in model.variables]
        return [kinds, getattr(model, "optimizer", None), model.run_eagerly, *variables]

    def _visit(self, value, parts, seen):
        """Add the attributes or items of a value to `parts`, and then visit each of them."""
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
    """Check the model in a `with` block that computes with it or traces a function.

    If the model has changed since its functions were compiled, mark them as stale. If Python code
    needs the value of a traced number, raise an error that names the number.
    """
    both = model._notes.programs, model._notes.step_programs
    kinds = [kind for kind in both if kind.parts is not None]
    for kind in kinds:
        if not kind.hold():
            kind.stale = True
    try:
        yield
    except backend.NO_NUMBER_ERRORS as error:
        _explain(model, error)
        raise
    for kind in kinds:
        kind.remember()  # Attributes that layers set during a call are not changes of the model.


def _explain(model, error):
    """Raise a clear error if Python code needed the value of a traced number of the model."""
    words = ("ymbolic", "eager execution", "trace")  # Errors of TensorFlow and JAX contain these.
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
        f"{type(model).__name__}.{code.co_name}, line {line} of {code.co_filename}: {name} can be "
        "assigned at any time, so it is a tensor while this code is compiled. Python's `if`, "
        f"`float` and similar code cannot read its value. Use keras.ops.where({name} > 1, a, b) "
        f"instead, or assign {name} between two calls of `fit` or in a callback."
    ) from error


def _is_part(value):
    """Tell whether a computation may depend on attributes of this object."""
    package = type(value).__module__.partition(".")[0]
    return package not in _LIBRARIES and package not in sys.stdlib_module_names


def _is_followed(owner, name):
    """Tell whether `_visit` continues with this attribute. It skips Keras' own bookkeeping."""
    if not isinstance(owner, keras.layers.Layer):
        return True
    if name in _NOTED or name in _records() or name.startswith("_self_"):
        return False
    return not (name.startswith("_") and _is_of_keras(owner))


def _is_of_keras(value):
    return type(value).__module__.startswith("keras.")


_RECORDS = set()


def _records():
    """Return the names of the attributes that Keras gives to every layer and every model."""
    if not _RECORDS:
        # Keras numbers the layers without a name. These two get one, so the numbers stay.
        _RECORDS.update(*(vars(cls(name="a")) for cls in (keras.layers.Layer, keras.Model)))
        _RECORDS.discard("activity_regularizer")
    return _RECORDS
