"""Where and when the weights of a model are made."""

import contextlib

from keras_ae.core import backend, changes, memory, seeds


def is_built_for(model, shape, target_shape):
    """Whether a model is built for these shapes of an example and of its target.

    Raises:
        ValueError: If it is built for others.
    """
    if model.built and (shape, target_shape) != (model.data_shape, model.target_shape):
        raise ValueError(
            f"This {type(model).__name__} was built for {model.data_shape} -> "
            f"{model.target_shape}, and cannot be built again for {shape} -> {target_shape}. Make "
            "a new model."
        )
    return model.built


def build_once(model, shape, target_shape=None):
    """Build a model for an example of this shape, if it is not built, in one thread."""
    with model._notes.making:
        if not model.built:
            model.build((None, *shape), (None, *(target_shape or shape)))


@contextlib.contextmanager
def scope(model):
    """The context in which a model makes its weights: they follow from its seed."""
    name, remedy = type(model).__name__, memory.SMALLER_MODEL
    with (
        seeds.follow_seed(seeds.order_seed(model)),
        backend.building_scope(model),
        memory.checked_weights(name, remedy),
        memory.explained(f"{name}.build", lambda: {"data_shape": model.data_shape}, remedy),
    ):
        yield
        changes.note_numbers(model)


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
