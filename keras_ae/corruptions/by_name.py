"""The functions that find a corruption by its name and apply it to arrays."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae.core import arguments
from keras_ae.core.types import Array
from keras_ae.corruptions.base import apply, check_range
from keras_ae.corruptions.noise import AdditiveGaussian, Masking, SaltAndPepper, Speckle
from keras_ae.corruptions.pictures import Affine, Blocks, Rectangle
from keras_ae.corruptions.quality import JPEG, Downsampling, Gray
from keras_ae.corruptions.text import Text

_AT_ONCE = 256  # Examples of which `pairs` corrupts that many at a time.
_BY_NAME = {
    "gaussian": AdditiveGaussian,
    "masking": Masking,
    "salt_and_pepper": SaltAndPepper,
    "speckle": Speckle,
    "blocks": Blocks,
    "rectangle": Rectangle,
    "affine": Affine,
    "gray": Gray,
    "downsampling": Downsampling,
    "jpeg": JPEG,
    "text": Text,
}


def get(identifier: str | Callable[..., Any] | None) -> Callable[..., Any]:
    """Find a corruption by its name. A callable is returned as it is.

    Args:
        identifier: "gaussian", "masking", "salt_and_pepper", "speckle", "blocks", "rectangle",
            "affine", "gray", "downsampling", "jpeg" or "text", which have the defaults of their
            classes; an object of this module; any callable of (x, seed) that returns a tensor of
            x's shape and dtype; or None, which changes nothing.

    Returns:
        A callable of (x, seed).

    Raises:
        ValueError: If the name is unknown, or the identifier is neither a name nor such a callable.

    Example:
        >>> get("masking")
        Masking(rate=0.5)
    """
    names = ", ".join(repr(name) for name in _BY_NAME)
    if isinstance(identifier, str):
        if identifier in _BY_NAME:
            return _BY_NAME[identifier]()
        hint = arguments.did_you_mean(identifier, _BY_NAME)
        raise ValueError(
            f"corruptions.get: identifier={arguments.show(identifier)} is unknown.{hint} "
            f"Pass one of {names}."
        )
    if identifier is None:
        return _leave_unchanged
    # A class is callable, too, but a call with (x, seed) would make an instance of it.
    if not callable(identifier) or isinstance(identifier, type):
        raise ValueError(
            f"corruptions.get: identifier={arguments.show(identifier)} is not a corruption. "
            f"Pass one of {names}, "
            "an object such as corruptions.Masking(rate=0.5), a function of (x, seed), or None."
        )
    return identifier


def _leave_unchanged(x, seed):
    return ops.convert_to_tensor(x)


def pairs(
    x: Array, corruption: str | Callable[..., Any] | None, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Corrupt data once, for models that `fit` pairs of corrupted and clean data.

    `DenoisingAE` and `UNetAE` can draw a corruption in each step, too. Pairs are for other models,
    and for comparisons in which all see the same.

    Args:
        x: Array of floats, shape (examples, ...).
        corruption: See `get`.
        seed: Integer from 0 to 2**31 - 1. Defaults to 0.

    Returns:
        The corrupted array, and x.

    Raises:
        TypeError: If x is no array of floats.
        ValueError: If the seed is out of range, if the corruption returns anything but floats of
            x's shape, or if JPEG or Text is to corrupt values outside of [0, 1].

    Example:
        >>> from keras_ae import AE, corruptions
        >>> x = np.random.default_rng(0).random((64, 8, 8, 3), "float32")
        >>> small, target = corruptions.pairs(x, corruptions.Downsampling(factor=2))
        >>> model = AE(latent_dim=2, network_options={"filters": (4,), "units": (8,)}, seed=0)
        >>> model.compile("adam")
        >>> history = model.fit(small, target, epochs=1, verbose=0)
        >>> model.reconstruct(small).shape
        (64, 8, 8, 3)
    """
    corrupt = get(corruption)
    if not isinstance(x, np.ndarray) or x.dtype.kind != "f" or not x.ndim:
        kind = f"{x.dtype} of shape {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
        raise TypeError(
            f"corruptions.pairs: x is {kind}, but must be an array of floats. Pass "
            "np.asarray(x, 'float32'), and divide pictures of bytes by 255."
        )
    seed = arguments.integer("corruptions.pairs", "seed", seed, least=0, most=2**31 - 1)
    if x.size:
        check_range(corrupt, "corruptions.pairs", "x", (x.min(), x.max()))
    generator = keras.random.SeedGenerator(seed)
    corrupted = np.empty_like(x)
    for start in range(0, len(x), _AT_ONCE):
        batch = ops.convert_to_tensor(x[start : start + _AT_ONCE])
        batch = apply(corrupt, batch, generator, "corruptions.pairs")
        corrupted[start : start + _AT_ONCE] = ops.convert_to_numpy(batch)
    return corrupted, x
