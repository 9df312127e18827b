"""Draw random numbers with a seed, or take given ones.

Whatever a model's `sample` draws, it draws here, because a file of another format cannot draw
numbers itself. It takes them as inputs instead.
"""

import math

import keras
import numpy as np
from keras import ops
from keras.src.random import seed_generator

from keras_ae.core import backend


def draw_normal(shape, seed):
    """Draw standard normal numbers: a float32 tensor.

    Args:
        shape: Tuple of integers and scalar tensors.
        seed: Integer, None, or `keras.random.SeedGenerator`. If it is `GivenNumbers`, the next ones
            of them are taken.
    """
    if isinstance(seed, GivenNumbers):
        return seed.take("normal_noise", shape)
    return keras.random.normal(shape, dtype="float32", seed=seed)


def draw_uniform(shape, seed, low=0.0, high=1.0):
    """Draw uniform numbers from [low, high), as `draw_normal` does."""
    if isinstance(seed, GivenNumbers):
        return low + (high - low) * seed.take("uniform_noise", shape)
    return keras.random.uniform(shape, low, high, dtype="float32", seed=seed)


_MOST_MEAN = 1e9  # JAX draws 32-bit integers.
# Up to this mean, the probabilities of the first counts are summed. All others together have less
# than 1e-20.
_SUMMED_MEAN, _SUMMED = 40.0, 128
_LOG_FACTORIALS = np.array([math.lgamma(k + 1.0) for k in range(_SUMMED)], "float32")


def draw_poisson(mean, seed):
    """Draw counts with the Poisson distributions of these means: a float32 tensor.

    Args:
        mean: Float32 tensor of numbers of at least 0. Larger ones than 1e9 count as 1e9.
        seed: Integer, None, or `keras.random.SeedGenerator`. If it is `GivenNumbers`, the counts
            are quantiles: exact ones for means of at most 40. Others are those of an expansion,
            which differ from the exact ones by 1 at the most, and seldom.

    Source of the expansion: Giles, Algorithm 955: approximation of the inverse Poisson cumulative
    distribution function, ACM Transactions on Mathematical Software 42, 2016.
    """
    mean = ops.stop_gradient(ops.minimum(mean, _MOST_MEAN))
    if not isinstance(seed, GivenNumbers):
        return backend.draw_poisson(mean, seed_generator.draw_seed(seed))
    shape = ops.shape(mean)
    uniform, normal = draw_uniform(shape, seed), draw_normal(shape, seed)
    low = ops.clip(mean, 1e-30, _SUMMED_MEAN)[..., None]
    counts = ops.arange(_SUMMED, dtype="float32")
    terms = ops.exp(counts * ops.log(low) - low - ops.convert_to_tensor(_LOG_FACTORIALS))
    sums = ops.cumsum(terms, axis=-1)
    # Rounding may leave the last sum below 1.
    below = sums < uniform[..., None] * sums[..., -1:]
    exact = ops.sum(ops.cast(below, "float32"), axis=-1)
    root = ops.sqrt(ops.maximum(mean, _SUMMED_MEAN))
    square = ops.square(normal)
    curved = (2.0 + square) / 6.0 - normal * (2.0 + square) / (72.0 * root)
    expanded = ops.floor(mean + root * normal + curved)
    return ops.where(mean <= _SUMMED_MEAN, exact, ops.maximum(expanded, 0.0))


class GivenNumbers(keras.random.SeedGenerator):
    """Numbers for a function that takes a seed, which gets them in the order of its draws.

    Args:
        rows: Number of samples that the function draws, an integer or scalar tensor.
        numbers: Dictionary of "normal_noise" and "uniform_noise" -> tensor of shape (rows, width).
            Defaults to None: all numbers are 0.5, and the function is called only to find the
            `widths` that it needs.
    """

    def __init__(self, rows, numbers=None):
        # There is no state variable. Python counts the numbers while the function is traced.
        self.rows, self.numbers, self.widths = rows, numbers, {}

    def next(self, ordered=True):
        raise NotImplementedError("draws numbers that cannot be given to it")

    def take(self, kind, shape):
        """Return the next numbers of a kind, a tensor of shape (rows, ...)."""
        start = self.widths.get(kind, 0)
        end = self.widths[kind] = start + math.prod(shape[1:])
        if self.numbers is not None:
            return ops.reshape(self.numbers[kind][:, start:end], (-1, *shape[1:]))
        if shape[0] != self.rows:
            raise NotImplementedError("draws numbers that all samples share")
        return ops.full(shape, 0.5, dtype="float32")


def decode_draws(model, draws, seed, **options):
    """Decode what a sampler drew, an array or a tensor (num_samples, ...).

    If the model draws data, and not codes alone, the random numbers for it are drawn here, for all
    samples at once, so that they do not depend on the batches.
    """
    if model._draws_data:
        numbers = [draw_normal, draw_uniform]
        shapes = [(ops.shape(draws)[0], width) for width in model._noise_widths()]
        # Some backends cannot make arrays without numbers of an unknown length.
        noise = [each(s, seed) for each, s in zip(numbers, shapes, strict=True) if s[1]]
        if ops.is_tensor(draws):
            draws = ops.concatenate([draws, *noise], axis=1)
        else:
            draws = np.concatenate([draws, *map(ops.convert_to_numpy, noise)], axis=1)
    return model._decode_draws(draws, **options)
