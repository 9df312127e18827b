"""Running means over the batches of training; a replica may get a part of a batch, or nothing."""

from keras import ops

# After a hundred batches, each new batch takes this share, and the old ones lose it.
FADING = 0.01


def num_examples(x):
    """The length of a batch, a float32 tensor."""
    return ops.cast(ops.shape(x)[0], "float32")


def batch_mean(x):
    """The mean over the batch; zero of an empty one, such as a replica may get."""
    return ops.sum(x, axis=0) / ops.maximum(num_examples(x), 1.0)


def fading_rate(num_updates, x, least=FADING):
    """Return the share of a batch in a running mean. At first all batches have equal shares.

    Args:
        num_updates: Number of batches seen before.
        x: The batch. A batch without examples gets no share.
        least: The share falls to this as batches come, and stays there. Defaults to 0.01.
    """
    share = ops.maximum(least, 1.0 / (num_updates + 1.0))
    return share * ops.minimum(num_examples(x), 1.0)


def decay_rate(decay, x):
    """The share of a batch in an exponential moving average (EMA): 1 - decay, 0 of an empty one."""
    return (1.0 - decay) * ops.minimum(num_examples(x), 1.0)


def rate_by_size(num_updates, largest, x, least=FADING):
    """The share of a batch where a batch smaller than the largest weighs as much less.

    Args:
        num_updates: What was seen before, counted in batches of the largest size.
        largest: Examples of the largest batch before, or 0 where that is unknown: what was seen
            then counts as if it had been of the largest size.
        x: The batch.
        least: What the share of a largest batch falls to as batches come. Defaults to 0.01.

    Returns:
        The share, and what `num_updates` and `largest` are from now on.
    """
    size = num_examples(x)
    now_largest = ops.maximum(largest, ops.maximum(size, 1.0))
    before = num_updates * ops.where(largest > 0.0, largest / now_largest, 1.0)
    share = size / now_largest
    rate = ops.maximum(least * share, share / ops.maximum(before + share, 1e-9))
    return rate, before + share, now_largest


def move(mean, value, rate):
    """A running mean that takes a value of a batch into account, with a share of rate."""
    return mean + rate * (value - mean)


def mix_variances(before, now, square_of_shift, rate):
    """The variance of what was known together with a batch that has a share of rate.

    Args:
        before, now: Variances or covariances of both, each around its own mean.
        square_of_shift: The square, or outer product, of the difference of the means.
        rate: The share of the batch.
    """
    between = rate * (1.0 - rate) * square_of_shift
    return (1.0 - rate) * before + rate * now + between
