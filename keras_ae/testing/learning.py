"""The check of what a model learns with its default arguments."""

import math
import unittest

import keras
import numpy as np

from keras_ae.core.examples import leaves, length, map_leaves, split, taken_by
from keras_ae.testing.parts import check, cut, require

STEPS, BATCH_SIZE, RATE = 300, 64, 1e-3


@check
def learning(subject):
    """With its default arguments a model learns in 300 steps what tells examples apart.

    Errors are those of held-out examples, decoded from their codes. What should be sparse is
    sparse, and a good part of a codebook is in use. If the encoder does not learn to reconstruct,
    but to score anomalies, scores tell examples from those with shuffled elements.
    """
    if subject.defaults is None:
        raise unittest.SkipTest("nobody passed defaults=")
    make, data = subject.defaults
    train = map_leaves(lambda value: value[: -(len(value) // 5)], data)
    held_out = map_leaves(lambda value: value[-(len(value) // 5) :], data)
    model = make()
    _train(model, train)
    if hasattr(model, "anomaly_score") and "one_class_loss" in model.objective:
        _check_scores(model, held_out)
        return
    codes, (wanted, inputs) = model.encode(held_out), split(model, held_out)
    taken = taken_by(model, model.decode)
    inputs = {name: value for name, value in inputs.items() if name in taken}
    # The decoder of a model that also reads the data knows little of it from the code alone.
    own = model.reconstruct(held_out) if model._reads_data else model.decode(codes, **inputs)
    others = model.decode(np.roll(codes, 1, axis=0), **inputs)
    mean = map_leaves(lambda value: np.nanmean(value, axis=0), split(model, train)[0])
    parts = zip(*map(leaves, (wanted, own, others, mean)), strict=True)
    for wanted, *found in parts:
        own, others, mean = (np.nanmean((each - wanted) ** 2) for each in found)
        compared = f"The squared error is {own:.4g}, and with %s it is %.4g."
        require(own <= 0.9 * mean, compared % ("the mean example instead", mean))
        if not model._reads_data:
            require(own <= 0.9 * others, compared % ("the codes of other examples", others))
    _check_use_of_codes(model, codes, train)


def _check_scores(model, held_out):
    flat = held_out.reshape(len(held_out), -1)
    shuffled = np.random.default_rng(0).permuted(flat, axis=1).reshape(held_out.shape)
    own, others = (model.anomaly_score(values, verbose=0) for values in (held_out, shuffled))
    share = np.mean(others[:, None] > own)
    require(share >= 0.9, f"Only {share:.0%} of the scores of shuffled examples are higher.")


def _train(model, x):
    """Train a model on as many copies of the data as the steps need, in one epoch."""
    model.compile(keras.optimizers.Adam(RATE))
    copies = math.ceil(STEPS * BATCH_SIZE / length(x))
    x = map_leaves(lambda value: np.concatenate([value] * copies), x)
    model.fit(cut(x, STEPS * BATCH_SIZE), batch_size=BATCH_SIZE, verbose=0)


def _check_use_of_codes(model, codes, train):
    """Check what kinds of codes promise: that units are in use, and that few are active at once."""
    if np.issubdtype(codes.dtype, np.integer):
        used = model.codebook_statistics(train, verbose=0)["usage"]
        require(used >= 0.25, f"Only {used:.0%} of the codebook occurs.")
    elif hasattr(model, "log_likelihood"):
        active = int(np.sum(np.var(codes, axis=0) > 0.01))
        least = min(3, codes.shape[-1])
        require(active >= least, f"Only {active} units of {codes.shape[-1]} are active.")
    if "l0" in model.diagnostics:
        number, width = np.count_nonzero(codes, axis=1).mean(), codes.shape[-1]
        require(number <= width / 8, f"{number:.0f} of {width} features are active on average.")
        dead = 1.0 - np.mean(np.any(model.encode(cut(train, 1000), verbose=0) != 0, axis=0))
        require(dead <= 0.5, f"{dead:.0%} of the features are never active.")
