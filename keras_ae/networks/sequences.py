"""What models of sequences share: the shape of a sequence, whatever the shape of an example."""


def steps_shape(model, shape):
    """Return (steps, features) for examples of this shape, whose features may be one.

    Args:
        model: The model, which the error names.
        shape: Shape of an example, without the batch axis.

    Raises:
        ValueError: If the examples are no sequences.
    """
    if len(shape) not in (1, 2):
        raise ValueError(
            f"{type(model).__name__}: x has examples of shape {tuple(shape)}, which are no "
            "sequences. Reshape them to (steps, features), or use keras_ae.AE or keras_ae.VAE."
        )
    return (*shape, 1)[:2]
