"""Priors to draw from, for models that need no density of them.

Each takes (num_samples, latent_dim, seed) and gives a float32 tensor (num_samples, latent_dim).
"""

import math
import numbers

import keras
import numpy as np
from keras import ops

from keras_ae.core import memory
from keras_ae.core.arguments import did_you_mean
from keras_ae.core.seeds import RunSeed


def gaussian(num_samples, latent_dim, seed=None):
    """Draws of the standard normal.

    Args:
        num_samples: Number of draws, an integer or scalar tensor.
        latent_dim: Dimensions of each, a positive integer.
        seed: Integer or `keras.random.SeedGenerator`. Defaults to None, a fresh draw.

    Returns:
        Float32 tensor of shape (num_samples, latent_dim).

    Example:
        >>> from keras_ae import samplers
        >>> samplers.gaussian(100, 3, seed=0).shape == (100, 3)
        True
    """
    _refuse_draws(num_samples, latent_dim)
    return keras.random.normal((num_samples, latent_dim), dtype="float32", seed=seed)


def gaussian_mixture(num_samples, latent_dim, seed=None):
    """Draws of ten narrow Gaussians around a circle, in every two dimensions.

    The petals of arXiv:1511.05644, figure 2: each is long in the direction from the centre, with a
    standard deviation of 0.5 around the radius 2, and 0.1 wide. The numbers are ours.

    Args:
        num_samples, seed: See `gaussian`.
        latent_dim: Dimensions of each, an even integer.

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
    shape, seed = (num_samples, _pairs("gaussian_mixture", latent_dim)), _generator(seed)
    draw = keras.random.uniform(shape, 0.0, 10.0, dtype="float32", seed=seed)
    angle = ops.floor(draw) * (2.0 * math.pi / 10.0)
    along = 2.0 + 0.5 * keras.random.normal(shape, dtype="float32", seed=seed)
    across = 0.1 * keras.random.normal(shape, dtype="float32", seed=seed)
    cosine, sine = ops.cos(angle), ops.sin(angle)
    return _interleaved(along * cosine - across * sine, along * sine + across * cosine)


def swiss_roll(num_samples, latent_dim, seed=None):
    """Draws of a spiral of two turns, in every two dimensions.

    As in arXiv:1511.05644, figure 2: the angle a is uniform in area from pi to 5 pi, the radius
    a / 5, with a standard deviation of 0.05 around it. The numbers are ours.

    Args:
        num_samples, seed: See `gaussian`.
        latent_dim: Dimensions of each, an even integer.

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
    shape, seed = (num_samples, _pairs("swiss_roll", latent_dim)), _generator(seed)
    # The spiral's length grows with the angle squared: equally many draws on equal lengths.
    draw = keras.random.uniform(shape, 1.0, 25.0, dtype="float32", seed=seed)
    angle = math.pi * ops.sqrt(draw)
    width = 0.05 * keras.random.normal(shape, dtype="float32", seed=seed)
    radius = angle / 5.0 + width
    return _interleaved(radius * ops.cos(angle), radius * ops.sin(angle))


_BY_NAME = {"gaussian": gaussian, "gaussian_mixture": gaussian_mixture, "swiss_roll": swiss_roll}


def get(identifier):
    """The prior of a name, or the function itself.

    Args:
        identifier: "gaussian", "gaussian_mixture", "swiss_roll", or a function of (num_samples,
            latent_dim, seed) that gives a float32 tensor of shape (num_samples, latent_dim). To be
            saved it must be registered with Keras.

    Raises:
        ValueError: If it is neither.

    Example:
        >>> from keras_ae import samplers
        >>> samplers.get("swiss_roll").__name__
        'swiss_roll'
    """
    if isinstance(identifier, str) and identifier in _BY_NAME:
        return _BY_NAME[identifier]
    if callable(identifier):
        return identifier
    hint = did_you_mean(identifier, _BY_NAME)
    raise ValueError(
        f"prior={identifier!r} is neither {', '.join(map(repr, _BY_NAME))} nor a function of "
        f"(num_samples, latent_dim, seed).{hint}"
    )


def _refuse_draws(num_samples, latent_dim, copies=1):
    """Raise if draws, of which so many copies are made, do not fit into memory."""
    if isinstance(num_samples, numbers.Integral):
        memory.refuse_beyond(
            4.0 * copies * num_samples * latent_dim,
            f"num_samples={num_samples} draws of latent_dim={latent_dim} dimensions",
            memory.FEWER_DRAWS,
        )


def _pairs(name, latent_dim):
    if latent_dim % 2:
        raise ValueError(
            f"prior={name!r} lies in pairs of dimensions, and latent_dim={latent_dim} is odd. Take "
            f"latent_dim={latent_dim + 1}."
        )
    return latent_dim // 2


def _generator(seed):
    """A seed for several draws: an integer alone would repeat the first one's numbers."""
    return RunSeed(np.array([seed, 0])) if isinstance(seed, numbers.Integral) else seed


def _interleaved(first, second):
    pairs = ops.stack([first, second], axis=-1)  # (num_samples, pairs, 2)
    return ops.reshape(pairs, (-1, 2 * first.shape[-1]))
