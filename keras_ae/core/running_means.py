"""Means over the batches of training, of which each replica may get a part, or none."""

from keras import ops

FADING = 0.01  # What an old batch loses with each new one, once a hundred have been averaged.


def fading_rate(num_updates, x, least=FADING):
    """The share that a batch takes in a running mean: at first all batches count alike.

    Args:
        num_updates: Batches seen before.
        x: The batch. One without an example takes no share.
        least: What the share falls to as batches come. Defaults to 0.01.
    """
    share = ops.maximum(least, 1.0 / (num_updates + 1.0))
    return share * ops.minimum(ops.cast(ops.shape(x)[0], "float32"), 1.0)


def batch_mean(x):
    """The mean over the batch; zero of an empty one, such as a replica may get."""
    return ops.sum(x, axis=0) / ops.maximum(ops.cast(ops.shape(x)[0], "float32"), 1.0)
