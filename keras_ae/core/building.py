"""Where and when the weights of a model are made."""

import contextlib
import math

from keras_ae.core import arguments, backend, changes, examples, memory, seeds


def is_built_for(model, shape, target_shape, inputs):
    """Whether a model is built for these shapes of an example, its target and its named inputs.

    Raises:
        ValueError: If it is built for others.
    """
    if not model.built:
        return False
    if (shape, target_shape) != (model._data_shape, model._target_shape):
        raise ValueError(
            f"This {type(model).__name__} was built for {model._data_shape} -> "
            f"{model._target_shape}, and cannot be built again for {shape} -> {target_shape}. Make "
            "a new model."
        )
    for name, each in inputs.items():
        if model._extra_shapes.setdefault(name, each) != each:
            raise ValueError(
                f"This {type(model).__name__} was built for rows of shape "
                f"{model._extra_shapes[name]} of the input {name!r}, and cannot be built again for "
                f"{each}. Make a new model."
            )
    return True


def build_once(model, shape, target_shape=None):
    """Build a model for an example of this shape, if it is not built, in one thread.

    Args:
        model: The model.
        shape: Shape of an example, or a dictionary of shapes if there are named inputs or several
            modalities.
        target_shape: Shape of a target. Defaults to that of x.
    """
    with model._notes.making:
        if not model.built:
            target = None if target_shape is None else (None, *target_shape)
            model.build(examples.with_batch_axis(shape), target)


def take_apart(model, shape, target_shape):
    """Return the shapes, without the batch axis, that `build` was called with.

    Args:
        model: The model.
        shape, target_shape: See `keras_ae.Autoencoder.build`.

    Returns:
        The shape of x, that of the targets, and a dictionary of those of the named inputs.
    """
    if isinstance(shape, dict) and not model._modalities:
        examples.check_keys(model, shape, "input_shape")
    _check_shape(model, "input_shape", shape)
    if target_shape is not None:
        _check_shape(model, "target_shape", target_shape)
    missing = [n for n in model._modalities if not isinstance(shape, dict) or n not in shape]
    if missing:
        raise ValueError(
            f"{type(model).__name__} cannot be built for {shape!r}, which has no shape of "
            f"{', '.join(missing)}. Pass a dictionary with the shapes of all of its modalities."
        )
    shape, inputs = examples.split(model, shape)
    inputs = {name: tuple(each[1:]) for name, each in inputs.items()}
    if isinstance(shape, dict):
        shape = {name: tuple(each[1:]) for name, each in shape.items()}
    else:
        shape = tuple(shape[1:])
    for name in model.extra_inputs:
        if examples.dtype_of(model, name) == "int32":  # A label is one number.
            inputs.setdefault(name, ())
    return shape, shape if target_shape is None else tuple(target_shape[1:]), inputs


def _check_shape(model, name, shape):
    """Raise unless this is the shape of a batch, or a dictionary of such shapes.

    Only the number of examples may be unknown.
    """
    for key, each in shape.items() if isinstance(shape, dict) else [(None, shape)]:
        # A label is a single number, which has no axis of its own.
        least = 1 if key in model.extra_inputs else 2
        is_shape = isinstance(each, (tuple, list)) and len(each) >= least
        sizes = each[1:] if is_shape else ()
        if not is_shape or not all(arguments.is_integer(n) and n > 0 for n in sizes):
            wanted = "the shape of a batch, such as (None, 784) or (None, 28, 28, 1)"
            raise arguments.refusal(model, name, shape, wanted)


def latent_dim_or_none(model, value):
    """The `latent_dim` of a model, or None if `set_shapes` is to choose it.

    Classes with another default than None may need the number before they are built.
    """
    parameter = type(model).__signature__.parameters.get("latent_dim")
    if value is None and (parameter is None or parameter.default is None):
        return None
    return arguments.integer(model, "latent_dim", value)


def set_shapes(model, shape, target_shape, inputs):
    """Note the shapes that a model is built for, and choose its `latent_dim` if it has none."""
    model._data_shape, model._target_shape, model._extra_shapes = shape, target_shape, inputs
    if model.latent_dim is None:
        model.latent_dim = _default_latent_dim(shape)
    # The check also records that nobody may change the number from here on.
    arguments.integer(model, "latent_dim", model.latent_dim)


# Measured on photographs of 64x64 pixels: with 16 dimensions an autoencoder leaves 28 % of the
# variance, as do 16 principal components, with 128 it leaves 9 %, and at 128x128 pixels 10 %.
_NUMBERS_FOR_16, _MOST_SIXTEENS = 1536, 8


def _default_latent_dim(shape):
    """Return 16, or for a large picture as many times 16 as it has 1,536 numbers, up to 128."""
    is_picture = isinstance(shape, tuple) and len(shape) == 3
    times = math.prod(shape) // _NUMBERS_FOR_16 if is_picture else 1
    return 16 * min(max(times, 1), _MOST_SIXTEENS)


@contextlib.contextmanager
def scope(model):
    """The context in which a model makes its weights: they follow from its seed.

    After an error the model is as before, so that it can be built for other shapes.
    """
    name, remedy = type(model).__name__, memory.SMALLER_MODEL
    with (
        _undone_after_errors(model),
        seeds.follow_seed(seeds.order_seed(model)),
        backend.building_scope(model),
        memory.checked_weights(name, remedy),
        memory.explained(f"{name}.build", lambda: {"data_shape": model._data_shape}, remedy),
    ):
        yield
        changes.note_numbers(model)


@contextlib.contextmanager
def _undone_after_errors(model):
    """Restore what a model and its layers hold if a `with` block raises an error.

    Keras keeps layers in lists of its own and on torch in a dictionary of the module, where they
    stay if only the attribute is deleted.
    """
    states = [_State(layer) for layer in model._flatten_layers()]
    try:
        yield
    except BaseException:
        for state in states:
            state.restore()
        raise


class _State:
    """The attributes of a layer, and the content of its lists, dictionaries and sets."""

    def __init__(self, layer):
        self.attributes, self.tracker = vars(layer), layer._tracker
        self.before, self.is_locked = dict(self.attributes), self.tracker.locked
        self.ids = {name: set(each) for name, each in self.tracker.stored_ids.items()}
        self.contents = [
            (kind, value, kind(value))
            for value in self.before.values()
            for kind in (list, dict, set)
            if isinstance(value, kind)
        ]

    def restore(self):
        self.attributes.clear()
        self.attributes.update(self.before)
        self.tracker.locked = self.is_locked
        self.tracker.stored_ids.update(self.ids)
        for kind, value, content in self.contents:
            value = getattr(value, "__wrapped__", value)  # TensorFlow wraps dictionaries.
            kind.clear(value)  # Not the method of Keras' own lists, which unlists the layers.
            (list.extend if kind is list else kind.update)(value, content)


def make_counter(model, name):
    """A weight of a model that counts, once for all replicas."""
    return model.add_weight(
        shape=(),
        initializer="zeros",
        dtype="int32",
        trainable=False,
        aggregation="only_first_replica",
        name=name,
    )


def install_sampler(model, sampler):
    """Make a fitted sampler, or None, part of a built model.

    Args:
        model: The model.
        sampler: `keras_ae.samplers.FittedSampler`, whose weights exist.
    """
    model._tracker.unlock()
    if model._fitted_sampler is not None:
        model._layers.remove(model._fitted_sampler)  # Keras goes on tracking replaced layers.
    model._fitted_sampler = sampler
    model._tracker.lock()
    if sampler is not None:
        sampler.follow(model)
    model._notes.programs.forget()
