"""Separate optimizers for the players of an adversarial model."""

import keras

from keras_ae.core import inputs
from keras_ae.core.types import Optimizer


def optimizers_for(
    model: keras.Model, default: Optimizer, **players: Optimizer
) -> keras.optimizers.Optimizer:
    """Make an optimizer that updates the named networks of a built model by other rules.

    Args:
        model: A built `keras_ae` model.
        default: Optimizer of all other weights, an object or a name.
        **players: Optimizers by the name of the model's attribute that holds the network.

    Returns:
        A Keras optimizer for `compile`.

    Raises:
        ValueError: If the model is not built or has no such network, or if two weights share a
            path.

    Example:

    >>> import keras, keras_ae
    >>> model = keras_ae.FactorVAE(latent_dim=2)
    >>> model.build((None, 8))
    >>> slow = keras.optimizers.Adam(1e-5, beta_1=0.5)
    >>> model.compile(keras_ae.optimizers_for(model, "adam", discriminator=slow))
    """
    inputs.require_built(model, "optimizers_for")
    by_path = {}
    paths = [variable.path for variable in model.trainable_variables]
    for name, optimizer in players.items():
        network = getattr(model, name, None)
        if not isinstance(network, keras.layers.Layer):
            raise ValueError(
                f"optimizers_for: {type(model).__name__} has no network {name!r}. Name its "
                "encoder, its decoder or one of its players, which are "
                f"{', '.join(map(str, model.players)) or 'none'}."
            )
        for variable in network.trainable_variables:
            if paths.count(variable.path) > 1:
                raise ValueError(
                    f"optimizers_for: two weights have the path {variable.path}, but optimizers "
                    "find weights by path. Give your networks different names."
                )
            by_path[variable.path] = keras.optimizers.get(optimizer)
    return keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(keras.optimizers.get(default), by_path)
    )
