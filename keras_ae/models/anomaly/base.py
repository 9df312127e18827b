"""What several models of anomalies share."""

import keras
import numpy as np


def make_statistic(model, name, value):
    """Make a weight that training computes from the data, and that no gradient moves.

    Args:
        model: The model.
        name: Name of the weight.
        value: Number or array with which it begins.
    """
    return model.add_weight(
        shape=np.shape(value),
        initializer=keras.initializers.Constant(value),
        dtype="float32",
        trainable=False,
        autocast=False,
        aggregation="mean",
        name=name,
    )


def refuse_other_targets(model, shape, target_shape):
    """Raise if targets differ from the data in shape, because scores compare data with outputs.

    Args:
        model: The model.
        shape: Shape of one input.
        target_shape: Shape of one target.
    """
    if shape != target_shape:
        raise ValueError(
            f"{type(model).__name__}: targets have shape {target_shape}, but anomaly_score "
            f"compares reconstructions with inputs, of shape {shape}. Call fit(x) without a target."
        )
