"""Make seeds of random draws for training, replicas, exported functions and other calls."""

import contextlib
import random
import reprlib
import threading

import keras
import numpy as np
from keras import ops
from keras.src.random import seed_generator

from keras_ae.core import arguments, backend
from keras_ae.core.types import Tensor

# The first number of a seed grows by this in each draw. Users choose seeds such as 0, 1 and 2, so a
# small stride would make the draws of different seeds coincide.
_STRIDE = 7_368_787


class _RandomOfTheThread(threading.local):
    """Replacement for Python's `random` in Keras. A thread may set a generator of its own."""

    own = None

    def __getattr__(self, name):
        return getattr(self.own or random, name)


# Initializers and dropout without a seed draw one from Python's `random`. All threads share its
# state, so one thread that sets it would change the draws of the others.
seed_generator.python_random = _RandomOfTheThread()


@contextlib.contextmanager
def follow_seed(seed):
    """Derive all seeds that Keras chooses by itself in a `with` block from this seed."""
    of_the_thread = seed_generator.python_random
    before, of_the_thread.own = of_the_thread.own, random.Random(seed)
    try:
        yield
    finally:
        of_the_thread.own = before


def default_seed(below=2**31):
    """Return a random integer. While a model is built, it is derived from the model's seed."""
    return seed_generator.python_random.randrange(below)


class SeedGenerator(keras.random.SeedGenerator):
    """Seed generator whose draws never coincide with those of another seed, even on torch."""

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
    """Seeds for draws outside of training that need not be repeatable. All threads may use them.

    The seed generator of training has a state that is saved. Other calls, such as `sample` without
    a seed, must not change that state, so they take their seeds from here.

    Args:
        seed: Integer from which the seeds are derived.
    """

    def __init__(self, seed):
        # The order of the data is derived from the seed alone. Because of the second number, these
        # seeds differ from it.
        self.generator = np.random.default_rng((abs(seed), 2**31))

    def next(self):
        """Return two integers of 31 bits."""
        return self.generator.integers(2**31, size=2)  # NumPy's generators are thread-safe.


class RunSeed(keras.random.SeedGenerator):
    """Seed that is a tensor of two integers, such as the argument of an exported function.

    Args:
        pair: Tensor or array of shape (2,): the seed, and a number that is different in each batch.
            The numbers of successive batches differ by `TURNS`, because a loop within a batch adds
            1 to the number in each turn. An array remains one until a draw needs it, because each
            operation of a backend takes longer than one of NumPy.
    """

    TURNS = 65_536

    def __init__(self, pair):
        # There is no state variable. Python counts the draws while the function is traced.
        is_array = isinstance(pair, np.ndarray)
        dtype = backend.SEED_DTYPE
        self.pair = pair.astype(dtype) if is_array else ops.cast(pair, dtype)
        self.draws = 0

    def next(self, ordered=True):
        offset = np.array([self.draws * _STRIDE % 2**31, 0]).astype(backend.SEED_DTYPE)
        self.draws += 1
        if isinstance(self.pair, np.ndarray):
            return backend.mix_seed(ops.convert_to_tensor(self.pair + offset))
        return backend.mix_seed(self.pair + ops.convert_to_tensor(offset))

    def at(self, index):
        """Return the seed of one turn of a loop. The draws of two turns never coincide."""
        pair = ops.convert_to_tensor(self.pair)
        return RunSeed(pair + ops.cast(ops.stack([0, index]), pair.dtype))


def make_generators(model, seed):
    """Make the seed generators of a model.

    Returns:
        The seed generator of training, and one for functions that users compile from the model.
        Draws in such functions must not change the state of the first.
    """
    generator = ReplicaSeedGenerator(
        None if seed is None else check_seed(seed), name="seed_generator"
    )
    order = _order_seed(generator)
    model._notes.fresh_seeds = FreshSeeds(order)
    return generator, ReplicaSeedGenerator(order, name="program_seeds")


def draw(model, seed):
    """Return a seed generator for an integer or None. A given seed generator is returned itself.

    Without a seed, draws within a step use the seed generator of that step, so that a resumed run
    repeats them. All other draws use fresh seeds.
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
    """Return the two integers of a seed. They are fresh if the seed is None."""
    if seed is None:
        return model._notes.fresh_seeds.next()
    if isinstance(seed, keras.random.SeedGenerator):
        return ops.convert_to_numpy(seed.next()).astype("int64")
    return np.array([check_seed(seed), 0])


@contextlib.contextmanager
def follow_pair(model, pair):
    """Derive the draws of a step from two integers in a `with` block.

    The state of a seed generator must not change in a branch of a program.

    Args:
        model: The model.
        pair: Tensor of shape (2,), which a seed generator returned outside the branch.
    """
    model._notes.in_step.branch = RunSeed(pair)
    try:
        yield
    finally:
        model._notes.in_step.branch = None


def step_seed(model: keras.Model, training: bool) -> Tensor:
    """Return the seed of one step's draws: new in training, the same in every evaluation.

    In evaluation it depends on the number of examples so far, so that batches share no noise.
    """
    of_branch = getattr(model._notes.in_step, "branch", None)
    if of_branch is not None:
        return of_branch
    if training:
        return model._seed_generator
    if getattr(model._notes.in_step, "seed", None) is not None:
        return model._notes.in_step.seed
    seen = ops.cast(model._trackers[model.objective[0]].seen, backend.SEED_DTYPE)
    index = backend.replica_index()
    zero = ops.zeros_like(seen) if index is None else ops.cast(index, backend.SEED_DTYPE)
    return RunSeed(ops.stack([zero, seen]))


def order_seed(model):
    """Return the integer that determines the order of arrays. A resumed run has the same one."""
    return _order_seed(model._seed_generator)


def _order_seed(generator):
    return int(ops.convert_to_numpy(ops.convert_to_tensor(generator.state))[0])


def states(model):
    """Return the state variables of a model's seed generators. Keras does not save them."""
    return [
        variable
        for variable in model.non_trainable_variables
        if variable.name == "seed_generator_state" and variable is not model._program_seeds.state
    ]


def save(model, store):
    """Save the states of the seed generators, so that a resumed run does not repeat its noise."""
    for number, state in enumerate(states(model)):
        store[f"seed_{number}"] = state


def load(model, store):
    """Load the states of the seed generators, and return all other entries of the store."""
    for number, state in enumerate(states(model)):
        if f"seed_{number}" in store.keys():
            state.assign(store[f"seed_{number}"])
    return {key: store[key] for key in store.keys() if not key.startswith("seed_")}


def check_seed(seed):
    """Return the seed as an int.

    Raises:
        TypeError: If it is not an integer.
        ValueError: If it needs more than 64 bits.
    """
    if not isinstance(seed, (int, np.integer)) or isinstance(seed, bool):
        wanted = "an integer, or None for a fresh draw"
        raise arguments.refusal(None, "seed", seed, wanted, error=TypeError)
    if not -(2**63) <= seed < 2**63:
        raise ValueError(
            f"seed={reprlib.repr(seed)} must be an integer from {-(2**63)} to {2**63 - 1}, which "
            "64 bits hold."
        )
    return int(seed)
