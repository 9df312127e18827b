"""Generators of seeds: for replicas, for served functions, and for draws outside of training."""

import contextlib
import random
import threading

import keras
import numpy as np
from keras import ops
from keras.src.random import seed_generator

from keras_ae.core import backend

# Users choose seeds 0, 1, 2 and so on, so successive draws lie far apart in a seed's first number.
_STRIDE = 7_368_787


class _RandomOfTheThread(threading.local):
    """Stands for Python's `random` in Keras; a thread that builds a model has its own generator."""

    own = None

    def __getattr__(self, name):
        return getattr(self.own or random, name)


# Initializers and dropout without a seed draw one from Python's generator. All threads share it, so
# a seed that one thread sets would change what the others draw.
seed_generator.python_random = _RandomOfTheThread()


@contextlib.contextmanager
def follow_seed(seed):
    """Let the seeds that Keras chooses by itself follow from this seed, inside a `with` block."""
    of_the_thread = seed_generator.python_random
    before, of_the_thread.own = of_the_thread.own, random.Random(seed)
    try:
        yield
    finally:
        of_the_thread.own = before


def default_seed(below=2**31):
    """Return a random integer; while a model is built, it follows from the model's seed."""
    return seed_generator.python_random.randrange(below)


class SeedGenerator(keras.random.SeedGenerator):
    """A seed generator whose draws never coincide with those of another seed, also on torch."""

    def next(self, ordered=True):
        return backend.mix_seed(super().next(ordered))


class ReplicaSeedGenerator(SeedGenerator):
    """A seed generator whose draws differ between the replicas of a `tf.distribute` strategy.

    Keras' own generator gives every replica the same numbers: if a batch is split over two devices,
    both halves would get the same noise.
    """

    def next(self, ordered=True):
        seed = super().next(ordered)
        index = backend.replica_index()
        if index is None:
            return seed
        return seed + ops.cast(ops.stack([index * _STRIDE, 0]), seed.dtype)


class FreshSeeds:
    """Seeds for draws outside of training that need not be repeatable, in any thread.

    The seeds of training have a state that is saved. Looking at the model, as `sample` without a
    seed does, must not change that state.

    Args:
        seed: Integer that the seeds follow from.
    """

    def __init__(self, seed):
        # The order of the data follows from the seed alone; the second number keeps these apart.
        self.generator = np.random.default_rng((abs(seed), 2**31))

    def next(self):
        """Return two integers of 31 bits."""
        return self.generator.integers(2**31, size=2)  # NumPy's generators are safe in threads.


class RunSeed(keras.random.SeedGenerator):
    """A seed that is a tensor of two integers, such as the argument of a served function.

    Args:
        pair: Tensor or array of shape (2,): the seed, and a number that is different in each batch.
            Numbers of successive batches differ by `TURNS`, because a loop within a batch counts
            the number up in each turn.
    """

    TURNS = 65_536

    def __init__(self, pair):
        # There is no state variable: draws are counted in Python while the program is traced.
        self.pair = ops.cast(pair, backend.SEED_DTYPE)
        self.draws = 0

    def next(self, ordered=True):
        offset = np.array([self.draws * _STRIDE % 2**31, 0])
        self.draws += 1
        return backend.mix_seed(self.pair + ops.cast(offset, self.pair.dtype))

    def at(self, index):
        """Return the seed of one turn of a loop; no two turns have the same draws."""
        return RunSeed(self.pair + ops.cast(ops.stack([0, index]), self.pair.dtype))


def make_generators(model, seed):
    """The seed generators of a model.

    Returns:
        That of training, and one for draws of programs that users make of the model, which must
        not move the seeds of training.
    """
    generator = ReplicaSeedGenerator(
        None if seed is None else check_seed(seed), name="seed_generator"
    )
    order = _order_seed(generator)
    model._notes.fresh_seeds = FreshSeeds(order)
    return generator, ReplicaSeedGenerator(order, name="program_seeds")


def draw(model, seed):
    """A seed generator of a seed: an integer's, the given one, or if it is None a fresh one.

    Within a step of training that is the training's own, so that a resumed run repeats it.
    """
    if seed is None:
        if getattr(model._notes.in_step, "seed", None) is not None:
            return model._notes.in_step.seed
        if backend.is_tracing():
            return model._program_seeds
        return RunSeed(model._notes.fresh_seeds.next().astype(backend.SEED_DTYPE))
    if isinstance(seed, keras.random.SeedGenerator):
        return seed
    return RunSeed(np.array([check_seed(seed), 0]).astype(backend.SEED_DTYPE))


def seed_pair(model, seed):
    """Return the two integers of a seed, or fresh ones if it is None."""
    if seed is None:
        return model._notes.fresh_seeds.next()
    if isinstance(seed, keras.random.SeedGenerator):
        return ops.convert_to_numpy(seed.next()).astype("int64")
    return np.array([check_seed(seed), 0])


def step_seed(model, training):
    """Return the seed of one step's draws: see `keras_ae.Autoencoder.step_seed`."""
    if training:
        return model._seed_generator
    if getattr(model._notes.in_step, "seed", None) is not None:
        return model._notes.in_step.seed
    seen = ops.cast(model._trackers[model.objective[0]].seen, backend.SEED_DTYPE)
    index = backend.replica_index()
    zero = ops.zeros_like(seen) if index is None else ops.cast(index, backend.SEED_DTYPE)
    return RunSeed(ops.stack([zero, seen]))


def order_seed(model):
    """Return the integer from which the order of arrays follows. A resumed run has the same."""
    return _order_seed(model._seed_generator)


def _order_seed(generator):
    return int(ops.convert_to_numpy(ops.convert_to_tensor(generator.state))[0])


def states(model):
    """The weights that hold the states of a model's seed generators, which Keras does not save."""
    return [
        variable
        for variable in model.non_trainable_variables
        if variable.name == "seed_generator_state" and variable is not model._program_seeds.state
    ]


def save(model, store):
    """Put the states of the seeds into a file, without which a resumed run repeats its noise."""
    for number, state in enumerate(states(model)):
        store[f"seed_{number}"] = state


def load(model, store):
    """Read the states of the seeds from a file, and return what else is in it."""
    for number, state in enumerate(states(model)):
        if f"seed_{number}" in store.keys():
            state.assign(store[f"seed_{number}"])
    return {key: store[key] for key in store.keys() if not key.startswith("seed_")}


def check_seed(seed):
    """Return the seed as an int, or raise a TypeError if it is not an integer."""
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool):
        raise TypeError(f"seed={seed!r} must be an integer, or None for a fresh draw.")
    return int(seed)
