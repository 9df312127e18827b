"""Which classes and functions the configuration of a model may name.

Keras looks up the classes and functions that a configuration names. Its functions of tensors make
sense in a model. Others, such as `keras.config.set_epsilon`, would be called like a loss or a
weight, and would change the program that loads the file.
"""

import warnings

import keras
from keras.src.saving import serialization_lib

# Keras writes these names for values that are neither objects nor functions.
_VALUES = {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__"}
_MODULES_OF_FUNCTIONS = (keras.activations, keras.losses, keras.metrics, keras.ops)
# These functions stand in the same modules and look up other functions.
_LOOK_UPS = {"get", "serialize", "deserialize"}
# Arguments of this package's classes hold functions of Keras only where their names end like this.
_ENDS_OF_FUNCTIONS = ("activation", "loss", "metrics")
_KINDS = {
    "initializer": keras.Initializer,
    "regularizer": keras.regularizers.Regularizer,
    "constraint": keras.constraints.Constraint,
    "optimizer": keras.optimizers.Optimizer,
}
# Keras calls itself several times for each level of a configuration, and Python allows a thousand
# nested calls.
_DEEPEST = 150
REMEDY = "Decorate it with @keras.saving.register_keras_serializable()."


class Unregistered(ValueError):
    """An error about a class or function that is not registered."""


class Misplaced(ValueError):
    """An error about a function of Keras that makes no sense where it stands."""


def refuse_unloadable(model, call):
    """Raise an error if `load` would refuse the configuration of a model.

    Args:
        model: The model.
        call: Name of the called method in errors.

    Raises:
        ValueError: If the model holds a lambda, a class or function that is not registered, or a
            function of Keras that makes no sense where it stands.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        config = keras.saving.serialize_keras_object(model)
    # A configuration can hold a lambda in several forms. Keras warns about all of them.
    code = any("lambda" in str(w.message) for w in caught)
    who = f"{call}: this {type(model).__name__}"
    if code or any(
        entry["class_name"] in ("Lambda", "__lambda__") for _, _, entry in entries(config)
    ):
        raise ValueError(
            f"{who} holds a lambda, which can only be stored as code, but files contain no code. "
            f"Write a class or a function instead. {REMEDY}"
        )
    try:
        check(config)
    except Unregistered as error:
        raise ValueError(f"{who} holds {error} {REMEDY}") from None
    except Misplaced as error:
        raise ValueError(f"{who} holds {error} Take another one.") from None


def check(config, custom_objects=None):
    """Check that each object in a configuration is known and may stand where it does.

    Args:
        config: The configuration of a model, a dictionary.
        custom_objects: Dictionary of name -> class or function. Defaults to None.

    Raises:
        Unregistered: If an object is not registered. The message begins with what it is.
        Misplaced: If an object makes no sense where it stands.
        ValueError: If an entry is not what Keras writes, or if the entries are nested too deeply.
    """
    for key, owner, entry in entries(config):
        name = _read_name(entry)
        if entry["class_name"] in _VALUES:
            if "dtype" in (entry["config"] or {}):
                keras.backend.standardize_dtype(entry["config"]["dtype"])
            continue
        if keras.saving.get_registered_object(name, custom_objects) is not None:
            continue
        kind = "function" if entry["class_name"] == "function" else "class"
        name, module = name or entry["class_name"], entry.get("module")
        of_module = f" of {module[:100]!r}" if module not in (None, "builtins") else ""
        what = f"the {kind} {name[:100]!r}{of_module}"
        where = f" as {key!r}" if key else ""
        found = _find_in_keras(entry, kind)
        if found is None:
            raise Unregistered(f"{what}{where}, which is not registered.")
        if not _may_stand(found, key, owner):
            raise Misplaced(f"{what}{where}, which makes no sense there.")


def entries(config):
    """Iterate over the serialized objects in a configuration.

    Yields:
        The key under which the object stands, the registered name of the object that holds it, and
        the dictionary that Keras wrote.

    Raises:
        ValueError: If they are nested too deeply.
    """
    waiting = [(None, None, config, 0)]
    while waiting:
        key, owner, value, depth = waiting.pop()
        if depth > _DEEPEST:
            raise ValueError(f"it is nested more than {_DEEPEST} levels deep")
        if isinstance(value, dict):
            if "class_name" in value and "config" in value:
                yield key, owner, value
                owner = value.get("registered_name") or value["class_name"]
            waiting += [(each, owner, inner, depth + 1) for each, inner in value.items()]
        elif isinstance(value, (list, tuple)):
            waiting += [(key, owner, inner, depth + 1) for inner in value]


def _read_name(entry):
    """Return the name under which Keras looks for a registered object, or None."""
    kind, module = entry["class_name"], entry.get("module")
    registered, config = entry.get("registered_name", kind), entry["config"]
    for text in (kind, module or "", registered or ""):
        if not isinstance(text, str):
            raise ValueError(f"it names a class as {str(text)[:100]}")
    if kind == "function":
        if not isinstance(config, str):
            raise ValueError(f"it names a function as {str(config)[:100]}")
        return config
    if not isinstance(config, (dict, type(None))):
        raise ValueError(f"the configuration of {kind[:100]!r} is a {type(config).__name__}")
    return registered


def _find_in_keras(entry, kind):
    """Return the class or function of Keras that a configuration names, or None."""
    module = entry.get("module") or ""
    # In some other packages, Keras would import the module that a file names.
    if module.partition(".")[0] not in ("keras", "builtins"):
        return None
    name = entry["config" if kind == "function" else "class_name"]
    try:
        return serialization_lib._retrieve_class_or_fn(
            name, entry.get("registered_name"), module, kind, {**entry, "config": None}, {}
        )
    except (TypeError, ValueError, ImportError):
        return None


def _may_stand(found, key, owner):
    """Tell whether a class or function of Keras makes sense as an argument."""
    if isinstance(found, type):
        kind = _KINDS.get(str(key).rpartition("_")[-1], object)
        return hasattr(found, "from_config") and issubclass(found, kind)
    if str(owner).startswith("keras_ae>") and not str(key).endswith(_ENDS_OF_FUNCTIONS):
        return False
    name = getattr(found, "__name__", "")
    return name not in _LOOK_UPS and any(
        getattr(module, name, None) is found for module in _MODULES_OF_FUNCTIONS
    )
