"""Priors from which one can draw, for models that do not need the prior's density.

Each takes (num_samples, latent_dim, seed) and returns a float32 tensor (num_samples, latent_dim).
"""

import inspect
import math
import numbers
from collections.abc import Callable

import numpy as np
from keras import ops

from keras_ae.core import memory
from keras_ae.core.arguments import did_you_mean, show
from keras_ae.core.draws import draw_normal, draw_uniform
from keras_ae.core.seeds import RunSeed
from keras_ae.core.types import Seed, Tensor


def gaussian(num_samples: int | Tensor, latent_dim: int, seed: Seed | None = None) -> Tensor:
    """Draw from the standard normal.

    Args:
        num_samples: Number of draws, an integer or scalar tensor.
        latent_dim: Dimensions of each draw, a positive integer.
        seed: Integer or `keras.random.SeedGenerator`. Defaults to None, for new draws in each call.

    Returns:
        Float32 tensor of shape (num_samples, latent_dim).

    Example:
        >>> from keras_ae import samplers
        >>> samplers.gaussian(100, 3, seed=0).shape == (100, 3)
        True
    """
    _refuse_draws(num_samples, latent_dim)
    return draw_normal((num_samples, latent_dim), seed)


def gaussian_mixture(
    num_samples: int | Tensor, latent_dim: int, seed: Seed | None = None
) -> Tensor:
    """Draw from ten narrow Gaussians on a circle, in every pair of dimensions.

    These are the petals of arXiv:1511.05644, figure 2. Each petal points away from the center: its
    standard deviation is 0.5 in that direction, around the radius 2, and 0.1 across it. These
    numbers are our choice.

    Args:
        num_samples, seed: See `gaussian`.
        latent_dim: Dimensions of each draw, an even integer.

    Returns:
        Float32 tensor of shape (num_samples, latent_dim).

    Raises:
        ValueError: If latent_dim is odd.

    Example:
        >>> from keras_ae import samplers
        >>> samplers.gaussian_mixture(100, 2, seed=0).shape == (100, 2)
        True
    """
    _refuse_draws(num_samples, latent_dim, 4)
    shape, seed = (num_samples, _count_pairs("gaussian_mixture", latent_dim)), _make_generator(seed)
    draw = draw_uniform(shape, seed, 0.0, 10.0)
    angle = ops.floor(draw) * (2.0 * math.pi / 10.0)
    along = 2.0 + 0.5 * draw_normal(shape, seed)
    across = 0.1 * draw_normal(shape, seed)
    cosine, sine = ops.cos(angle), ops.sin(angle)
    return _interleave(along * cosine - across * sine, along * sine + across * cosine)


def swiss_roll(num_samples: int | Tensor, latent_dim: int, seed: Seed | None = None) -> Tensor:
    """Draw from a spiral of two turns, in every pair of dimensions.

    This is the spiral of arXiv:1511.05644, figure 2. The angle a runs from pi to 5 pi, and its
    square is uniform. The radius is a / 5, with a standard deviation of 0.05 around it. These
    numbers are our choice.

    Args:
        num_samples, seed: See `gaussian`.
        latent_dim: Dimensions of each draw, an even integer.

    Returns:
        Float32 tensor of shape (num_samples, latent_dim).

    Raises:
        ValueError: If latent_dim is odd.

    Example:
        >>> from keras_ae import samplers
        >>> samplers.swiss_roll(100, 2, seed=0).shape == (100, 2)
        True
    """
    _refuse_draws(num_samples, latent_dim, 4)
    shape, seed = (num_samples, _count_pairs("swiss_roll", latent_dim)), _make_generator(seed)
    # The length of the spiral grows with the square of the angle. The square is drawn uniformly, so
    # that equal lengths get equally many draws.
    draw = draw_uniform(shape, seed, 1.0, 25.0)
    angle = math.pi * ops.sqrt(draw)
    width = 0.05 * draw_normal(shape, seed)
    radius = angle / 5.0 + width
    return _interleave(radius * ops.cos(angle), radius * ops.sin(angle))


_BY_NAME = {"gaussian": gaussian, "gaussian_mixture": gaussian_mixture, "swiss_roll": swiss_roll}


def get(identifier: str | Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Find a prior by its name. A function is returned as it is.

    Args:
        identifier: "gaussian", "gaussian_mixture", "swiss_roll", or a function of (num_samples,
            latent_dim, seed) that returns a float32 tensor of shape (num_samples, latent_dim). A
            function must be registered with Keras if the model is to be saved.

    Raises:
        ValueError: If the identifier is neither such a name nor callable.

    Example:
        >>> from keras_ae import samplers
        >>> samplers.get("swiss_roll").__name__
        'swiss_roll'
    """
    if isinstance(identifier, str) and identifier in _BY_NAME:
        return _BY_NAME[identifier]
    if callable(identifier) and not isinstance(identifier, type) and _takes_three(identifier):
        return identifier
    hint = did_you_mean(identifier, _BY_NAME)
    raise ValueError(
        f"prior={show(identifier)} is neither {', '.join(map(repr, _BY_NAME))} nor a function of "
        f"(num_samples, latent_dim, seed).{hint}"
    )


def _takes_three(function):
    """Tell whether a function can be called with three arguments, as far as Python knows."""
    try:
        signature = inspect.signature(function)
    except ValueError:  # Some functions that are written in C do not tell.
        return True
    try:
        signature.bind(1, 1, None)
    except TypeError:
        return False
    return True


def _refuse_draws(num_samples, latent_dim, copies=1):
    """Raise an error if `copies` copies of the draws do not fit into memory."""
    if isinstance(num_samples, numbers.Integral):
        memory.refuse_beyond(
            4.0 * copies * num_samples * latent_dim,
            f"num_samples={num_samples} draws of latent_dim={latent_dim} dimensions",
            memory.FEWER_DRAWS,
        )


def _count_pairs(name, latent_dim):
    if latent_dim % 2:
        raise ValueError(
            f"prior={name!r} needs an even number of dimensions, but latent_dim={latent_dim} is "
            f"odd. Take latent_dim={latent_dim + 1}."
        )
    return latent_dim // 2


def _make_generator(seed):
    """Make a seed for several draws. With an integer, every draw would have the same numbers."""
    return RunSeed(np.array([seed, 0])) if isinstance(seed, numbers.Integral) else seed


def _interleave(first, second):
    pairs = ops.stack([first, second], axis=-1)  # (num_samples, pairs, 2)
    return ops.reshape(pairs, (-1, 2 * first.shape[-1]))
