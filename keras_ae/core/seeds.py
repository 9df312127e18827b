"""Seeds known only while a program runs, and noise that differs between replicas."""

import contextlib
import random
import threading

import keras
import numpy as np
from keras import ops
from keras.src.random import seed_generator

from keras_ae.core import backend

# Successive draws are this far apart in the first number of a seed, which people count up.
_STRIDE = 7_368_787


class _RandomOfTheThread(threading.local):
    """Python's `random` to Keras, or in a thread that builds a model a generator of its own."""

    own = None

    def __getattr__(self, name):
        return getattr(self.own or random, name)


# Initializers and dropout ask Python's generator for seeds where they have none, and it is shared
# by all threads: what one of them sets it to, others draw from.
seed_generator.python_random = _RandomOfTheThread()


@contextlib.contextmanager
def following(seed):
    """The context in which what Keras makes without a seed follows from this one."""
    of_the_thread = seed_generator.python_random
    before, of_the_thread.own = of_the_thread.own, random.Random(seed)
    try:
        yield
    finally:
        of_the_thread.own = before


def default_seed(below=2**31):
    """An integer where nobody gave a seed, which in a build follows from the model's own."""
    return seed_generator.python_random.randrange(below)


class SeedGenerator(keras.random.SeedGenerator):
    """A seed generator whose draws meet those of no other seed, on torch neither."""

    def next(self, ordered=True):
        return backend.mixed(super().next(ordered))


class ReplicaSeedGenerator(SeedGenerator):
    """A seed generator whose draws differ between the replicas of a `tf.distribute` strategy.

    Keras' own gives every replica the same numbers, so that a batch split over two devices would
    see the same noise twice.
    """

    def next(self, ordered=True):
        seed = super().next(ordered)
        index = backend.replica_index()
        if index is None:
            return seed
        return seed + ops.cast(ops.stack([index * _STRIDE, 0]), seed.dtype)


class FreshSeeds:
    """Seeds for draws of which nobody wants to know them, in any thread.

    Those of training have a state that is saved, and that no look at the model may move.

    Args:
        seed: Integer from which they follow.
    """

    def __init__(self, seed):
        # With a second number, so that no order of data follows from the same one.
        self.generator = np.random.default_rng((abs(seed), 2**31))

    def next(self):
        """Two integers of 31 bits."""
        return self.generator.integers(2**31, size=2)  # NumPy's generators lock themselves.


class RunSeed(keras.random.SeedGenerator):
    """A seed that is a tensor of two integers, such as the argument of a served function.

    Args:
        pair: Tensor or array of shape (2,): the seed, and a number that tells batches apart.
            Batches lie `TURNS` apart, so that the turns of a loop within one meet no other's.
    """

    TURNS = 65_536

    def __init__(self, pair):
        # No state variable: the draws are counted while the program is traced.
        self.pair = ops.cast(pair, backend.SEED_DTYPE)
        self.draws = 0

    def next(self, ordered=True):
        offset = np.array([self.draws * _STRIDE % 2**31, 0])
        self.draws += 1
        return backend.mixed(self.pair + ops.cast(offset, self.pair.dtype))

    def at(self, index):
        """The seed of one turn of a loop, whose draws meet no other turn's."""
        return RunSeed(self.pair + ops.cast(ops.stack([0, index]), self.pair.dtype))
