"""The function that finds a corruption by its name."""

from keras_ae.core import arguments
from keras_ae.corruptions.noise import AdditiveGaussian, Masking, SaltAndPepper, Speckle
from keras_ae.corruptions.pictures import Affine, Blocks

_BY_NAME = {
    "gaussian": AdditiveGaussian,
    "masking": Masking,
    "salt_and_pepper": SaltAndPepper,
    "speckle": Speckle,
    "blocks": Blocks,
    "affine": Affine,
}


def get(identifier):
    """Find a corruption by its name. A callable is returned as it is.

    Args:
        identifier: "gaussian", "masking", "salt_and_pepper", "speckle", "blocks" or "affine",
            which have the defaults of their classes; an object of this module; or any callable of
            (x, seed) that returns a tensor of x's shape and dtype.

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
    # A class is callable, too, but a call with (x, seed) would make an instance of it.
    if not callable(identifier) or isinstance(identifier, type):
        raise ValueError(
            f"corruptions.get: identifier={arguments.show(identifier)} is not a corruption. "
            f"Pass one of {names}, "
            "an object such as corruptions.Masking(rate=0.5), or a function of (x, seed)."
        )
    return identifier
