"""A model's constructor, read from its code: its arguments, its signature, its configuration."""

import inspect
import itertools

import keras

from keras_ae.core import arguments, backend, building, changes, examples


def constructor_parameters(cls):
    """Return the constructor's parameters, with those of base classes: name -> default."""
    return {name: parameter.default for name, parameter in _find_parameters(cls).items()}


def _find_parameters(cls):
    """Find the constructor's parameters, following **kwargs up to Keras' own: name -> parameter."""
    found = {}
    for base in itertools.takewhile(lambda base: base is not keras.Model, cls.__mro__):
        for p in inspect.signature(vars(base).get("__init__", object.__init__)).parameters.values():
            named = p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
            if named and p.name not in ("self", *cls._without):
                found.setdefault(p.name, p)
    return found


def refuse_unknown(cls, names):
    """Raise for names that are no arguments of the constructor."""
    unknown = [name for name in names if name not in ("name", "dtype", "trainable")]
    if unknown:
        raise TypeError(
            f"{cls.__name__}: unknown argument {unknown[0]!r}. It takes "
            f"{', '.join(constructor_parameters(cls))}, name and dtype."
        )


def make_signature(cls):
    """Make the constructor's signature with every argument, those of base classes by keyword."""
    own = inspect.signature(cls.__init__).parameters.values()
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    given = [p for p in own if p.kind in kinds and p.name not in ("self", *cls._without)]
    names = {p.name for p in given}
    kind = inspect.Parameter.KEYWORD_ONLY
    found = {k: p for k, p in _find_parameters(cls).items() if k not in names}
    found |= {name: inspect.Parameter(name, kind, default=None) for name in ("name", "dtype")}
    return inspect.Signature([*given, *(p.replace(kind=kind) for p in found.values())])


def bind_arguments(cls, args, kwargs):
    """Return the values of all arguments of a constructor call: name -> value, or the default."""
    passed = {**dict(zip(make_signature(cls).parameters, args, strict=False)), **kwargs}
    refuse_unknown(cls, [name for name in passed if name in cls._without])
    return {k: passed.get(k, default) for k, default in constructor_parameters(cls).items()}


def refuse_unused(model, name, reason):
    """Raise if an argument without effect has another value than its default."""
    value = model.arguments[name]
    if value != constructor_parameters(type(model))[name]:
        raise ValueError(
            f"{type(model).__name__}: {name}={value!r} has no effect, because {reason}. Leave "
            "it out."
        )


def model_config(model):
    """Return the constructor's arguments, and what else `make_model` needs, as plain data.

    `_kept` of a class holds the names of attributes, without their underscore, which a
    configuration holds besides the arguments -> their values in models from files of before, which
    do not hold them.
    """
    return {
        name: keras.saving.serialize_keras_object(_current_argument(model, name))
        for name in model.arguments
    } | {name: getattr(model, f"_{name}") for name in model._kept}


def _current_argument(model, name):
    """Return the value with which the constructor makes the model as it is now.

    If a number of an object that was made from its name was assigned since, this is the object.
    """
    given, now, named = model.arguments[name], getattr(model, name, None), model._notes.named
    if isinstance(given, str) and name in named and hasattr(now, "get_config"):
        if describe(now) != named[name]:
            return now
    return given


def describe(value):
    """Return the type and the numbers of an object that was made from its name.

    The object's own configuration would hold more, but Keras imports TensorFlow to write that of a
    layer, on every backend.
    """
    return type(value), {k: v for k, v in vars(value).items() if arguments.is_number(v)}


def make_model(cls, config, custom_objects):
    """Make a model from the result of `model_config`."""
    kept = {name: config.get(name, before) for name, before in cls._kept.items()}
    given = {
        name: keras.saving.deserialize_keras_object(value, custom_objects)
        for name, value in config.items()
        if name not in kept
    }
    model = cls(**given)
    for name, value in kept.items():
        setattr(model, f"_{name}", value)
    return model


def build_config(model):
    """Return what `build` needs to build a model again, as plain data."""
    sampler = model._fitted_sampler
    return {
        "sampler": None if sampler is None else keras.saving.serialize_keras_object(sampler),
        "input_shape": _as_lists(examples.join(model, model._data_shape, model._extra_shapes)),
        "target_shape": None if model._modalities else [None, *model._target_shape],
        "default_networks": model._default_networks,
        "columns": model._notes.columns,
        "changes": changes.record(model),
    }


def _as_lists(shape):
    return examples.map_leaves(lambda each: [None, *each], shape)


def build(model, config):
    """Build a model from the result of `build_config`."""
    model._restored = True
    older = int(config.get("networks_follow_size", False))
    model._default_networks = config.get("default_networks", older)
    columns = config.get("columns")  # Files of old have none.
    model._notes.columns = None if columns is None else list(map(str, columns))
    shape, target_shape = config["input_shape"], config["target_shape"]
    shape = examples.map_leaves(tuple, shape)
    model.build(shape, None if target_shape is None else tuple(target_shape))
    if config.get("sampler"):
        with backend.building_scope(model):
            building.install_sampler(
                model, keras.saving.deserialize_keras_object(config["sampler"])
            )
    if "changes" in config:  # Files of old do not hold them.
        with backend.building_scope(model):
            changes.repeat(model, config["changes"])


def compile_config(model, config):
    """Return Keras' configuration of `compile` for every backend, or None if it is lost."""
    trained = changes.record_trained(model)
    if config is None or trained is None:  # What it knows of weights that are gone is lost.
        return None
    return {**_make_portable(config), **trained}


def _make_portable(config):
    """Rename torch's optimizers in a configuration to the names that every backend knows."""
    if isinstance(config, (list, tuple)):
        return [_make_portable(value) for value in config]
    if not isinstance(config, dict):
        return config
    config = {name: _make_portable(value) for name, value in config.items()}
    if str(config.get("module")).startswith("keras.src.backend.torch.optimizers"):
        config |= {"module": "keras.optimizers", "registered_name": None}
    return config
