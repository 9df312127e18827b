"""Pictures of what a pretrained model of pictures does, for its page."""

import math

import keras
import numpy as np

from keras_ae import corruptions
from keras_ae.core import examples

COLUMNS, SCALE, GAP = 16, 2, 4


def can_draw(x):
    """Tell whether test examples are gray pictures, or rows of the pixels of square ones."""
    x = x.get("image") if isinstance(x, dict) else x
    if not isinstance(x, np.ndarray) or x.dtype != "float32" or x.min() < 0 or x.max() > 1:
        return False
    return (x.ndim == 4 and x.shape[-1] == 1) or (x.ndim == 2 and x.shape[1] in (64, 784))


def draw(model, data, path):
    """Draw test pictures, damaged ones if the model repairs, their copies, and 32 samples."""
    test = data["test"]
    x = examples.map_leaves(lambda each: each[:COLUMNS], test["x"])
    inputs = examples.taken_by(model, model.reconstruct)
    given = {n: test[n][:COLUMNS] for n, required in inputs.items() if required}
    rows = [x]
    corruption = getattr(model, "corruption", None)
    if corruption is not None:
        damaged, _ = corruptions.pairs(x, corruption, seed=1)
        rows.append(damaged)
    rows.append(model.reconstruct(rows[-1], verbose=0, **given))
    labels = {"label": np.tile(np.arange(10), 4)[: 2 * COLUMNS]}
    of_label = {n: labels[n] for n in examples.taken_by_sample(model) if n in labels}
    is_sampled = corruption is None and examples.sampler_of(model).ready()
    if is_sampled:
        drawn = model.sample(2 * COLUMNS, seed=0, verbose=0, **of_label)
        halves = (slice(0, COLUMNS), slice(COLUMNS, None))
        rows += [examples.map_leaves(lambda v, half=half: v[half], drawn) for half in halves]
    strips = [_join(row) for row in rows]
    width = strips[0].shape[1]
    if is_sampled:  # A line separates the samples.
        strips.insert(-2, np.ones((GAP, width), "float32"))
    picture = np.concatenate(strips).repeat(SCALE, axis=0).repeat(SCALE, axis=1)
    keras.utils.save_img(path, 255.0 * picture[..., None], scale=False)


def _join(x):
    x = x["image"] if isinstance(x, dict) else x
    side = math.isqrt(x.shape[1]) if x.ndim == 2 else None
    pictures = x.reshape(len(x), side, side) if side else x[..., 0]
    return np.concatenate(list(np.clip(pictures, 0.0, 1.0)), axis=1)
