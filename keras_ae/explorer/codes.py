"""What the page knows of codes: their kind, the order and the range of dimensions, and a plane."""

import numpy as np

from keras_ae.core.codes import Codes, describe_codes

_MOST_DIMENSIONS = 64  # So many have a slider.
_ACTIVE = 0.01  # The least variance of an active dimension, as in `evaluation.active_units`.
_REACH = 3.0  # How many standard deviations a slider goes to either side.


def find_kind(model):
    """Return "integers" or "vector", which a code of several axes is, too, once it is flat."""
    return "integers" if model._code_dtype == "int32" else "vector"


def find_shape(model, codes=None):
    """Return the shape of one code. Series of any length have the codes' own length."""
    return tuple(model.code_shape) if codes is None else codes.shape[1:]


def encode(model, x, inputs):
    """Encode data.

    Returns:
        The codes, an array, and flat `Codes` of them, or None if the codes are integers.
    """
    if find_kind(model) == "integers":
        return model.encode(x, verbose=0, **inputs), None
    found = describe_codes(model, x, inputs)
    codes = np.asarray(found.means, "float32")
    parts = [part.reshape(len(part), -1) for part in found if part is not None]
    same = [part for part in parts if part.shape == parts[0].shape]
    return codes, Codes(*same)


def describe_dimensions(shape, found=None):
    """List the dimensions of codes that have a slider, the most informative first.

    Args:
        shape: Shape of one code.
        found: Flat `Codes` of some data. Defaults to None: nothing is known of them.

    Returns:
        List of dictionaries of "index", the place in the flat code, "name", "mean", "spread",
        "low", "high", "divergence" in nats or None, and "active".
    """
    width = int(np.prod(shape))
    if found is None:
        found = Codes(np.zeros((1, width)), np.ones((1, width)))
        order, active = np.arange(width), np.ones(width, bool)
    else:
        order, active = found.rank(), found.means.var(axis=0) > _ACTIVE
        if found.divergences is None:  # The scale of the codes of an AE is arbitrary.
            variance = found.means.var(axis=0)
            active = variance > _ACTIVE * max(variance.max(), 1e-12)
    mean, spread = found.means.mean(axis=0), found.spread()
    spread = np.where(spread > 1e-6, spread, 1.0)
    low = np.minimum(mean - _REACH * spread, found.means.min(axis=0))
    high = np.maximum(mean + _REACH * spread, found.means.max(axis=0))
    divergence = None if found.divergences is None else found.divergences.mean(axis=0)
    places = [np.unravel_index(index, shape) for index in order[:_MOST_DIMENSIONS]]
    return [
        {
            "index": int(index),
            "name": ", ".join(map(str, map(int, place))),
            "mean": float(mean[index]),
            "spread": float(spread[index]),
            "low": float(low[index]),
            "high": float(high[index]),
            "divergence": None if divergence is None else float(divergence[index]),
            "active": bool(active[index]),
        }
        for index, place in zip(order, places, strict=False)
    ]


def find_plane(found):
    """Compute the two main axes of codes by PCA.

    Args:
        found: Flat `Codes`.

    Returns:
        Dictionary of "center" and two "axes" of length 1, or None if there are fewer than three
        dimensions, or codes.
    """
    if found is None or min(found.means.shape) < 3:
        return None
    center = found.means.mean(axis=0)
    axes = np.linalg.svd(found.means - center, full_matrices=False)[2][:2]
    # The sign of an axis is arbitrary. The largest part of each is positive.
    signs = np.sign(axes[np.arange(2), np.abs(axes).argmax(axis=1)])
    return {"center": center.tolist(), "axes": (axes * signs[:, None]).tolist()}
