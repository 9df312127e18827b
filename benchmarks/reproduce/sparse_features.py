"""Sparse dictionaries of features that are known.

python -m benchmarks.reproduce sparse_features
"""

import numpy as np

from benchmarks.reproduce.common import NUM_FEATURES, train_dictionary
from keras_ae import schedules

WIDTH, ACTIVE, NUM_EXAMPLES = 64, 5, 100_000
# Every parent of `nested_features` has 15 children, so that they are as many as the features of a
# dictionary, and the parents are as many as the features of MatryoshkaSAE's first prefix.
PARENTS = 32
MODELS = ("TopKSAE", "BatchTopKSAE", "JumpReLUSAE", "GatedSAE", "MatryoshkaSAE")
# Adam has no momentum, as in the papers of JumpReLUSAE and GatedSAE.
TRAINING = {"beta_1": 0.0, "restarts": 0.9}
# An epoch has 196 steps, and features that were inactive in its second half are restarted.
DEAD = {"dead_after": 100}


def known_features(num_examples, seed):
    """Return uniformly drawn directions, and examples that are sums of a few of them.

    Each direction is in an example with the same probability, independently of the others, and with
    a weight between one half and three halves.
    """
    rng = np.random.default_rng(seed)
    directions = draw_directions(rng)
    x = np.empty((num_examples, WIDTH), "float32")
    for start in range(0, num_examples, 10_000):
        shape = (min(10_000, num_examples - start), NUM_FEATURES)
        active = rng.random(shape, "float32") < ACTIVE / NUM_FEATURES
        weights = 0.5 + rng.random(shape, "float32")
        x[start : start + 10_000] = np.where(active, weights, 0.0) @ directions
    return directions, x


def nested_features(num_examples, seed):
    """Return directions of parents and then of their children, examples, and who is in them.

    Each of 32 parents is in an example with a probability of 8 %. In 95 % of such examples, one of
    its 15 children is there, too, with the parent's weight.

    Returns:
        Directions, examples, and an array (examples, parents) that is true where a parent is there.
    """
    rng = np.random.default_rng(seed)
    directions = draw_directions(rng)
    parents, children = directions[:PARENTS], directions[PARENTS:]
    children = children.reshape(PARENTS, -1, WIDTH)
    shape = (num_examples, PARENTS)
    there = rng.random(shape) < 0.08
    weights = np.where(there, 0.5 + rng.random(shape), 0.0).astype("float32")
    child = rng.integers(children.shape[1], size=shape)
    with_child = np.where(rng.random(shape) < 0.95, weights, 0.0).astype("float32")
    x = weights @ parents
    for parent in range(PARENTS):
        x += with_child[:, parent, None] * children[parent, child[:, parent]]
    return directions, x, there


def draw_directions(rng):
    """Return random directions, each of length 1."""
    directions = rng.normal(size=(NUM_FEATURES, WIDTH)).astype("float32")
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def sparse_features(epochs=20, seed=0, models=MODELS):
    """Known features: the cosine of each direction with the nearest one of the dictionary.

    MatryoshkaSAE is compared with others on parents and children: see `compare_on_nested_features`.
    """
    directions, x = known_features(NUM_EXAMPLES + 20_000, seed)
    x, test = x[:NUM_EXAMPLES], x[NUM_EXAMPLES:]
    for name in models:
        if name != "MatryoshkaSAE":
            model, seconds = TRAIN[name](x, epochs, seed)
            nearest = np.max(directions @ model.directions.T, axis=1)
            yield {
                "model": name,
                "mean_best_cosine": float(np.mean(nearest)),
                "share_above_0.9": float(np.mean(nearest > 0.9)),
                **measure(model, test),
                "training_seconds": seconds,
            }
    if "MatryoshkaSAE" in models:
        yield from compare_on_nested_features(epochs, seed)


def train_top_k(x, epochs, seed):
    return train_dictionary("TopKSAE", x, epochs, 1e-2, seed, {"k": ACTIVE, **DEAD}, **TRAINING)


def train_batch_top_k(x, epochs, seed):
    """Train TopKSAE for three tenths of the epochs, and BatchTopKSAE from there for the rest.

    They have half as many epochs again. While features are new, the examples that consist of many
    features get nearly all of the numbers that are kept of a batch. Those of one or two features,
    which show their directions best, get hardly any.
    """
    epochs = 3 * epochs // 2
    first = 3 * epochs // 10
    start, before = train_top_k(x, first, seed)
    given = {"k": ACTIVE, **DEAD}
    model, seconds = train_dictionary(
        "BatchTopKSAE", x, epochs - first, 1e-2, seed, given, start=start, **TRAINING
    )
    return model, round(before + seconds, 1)


def train_jump_relu(x, epochs, seed):
    """Train for twice as many epochs, because a step takes half the time of a top-k step."""
    epochs = 2 * epochs
    given = {
        "sparsity_weight": warm_up(x, epochs, 4.0),
        "initial_threshold": 1.0,
        "bandwidth": 2.0,
        **DEAD,
    }
    return train_dictionary("JumpReLUSAE", x, epochs, 5e-3, seed, given, **TRAINING)


def train_gated(x, epochs, seed):
    """Train for half as many epochs again: a step takes half the time of a top-k step."""
    epochs = 3 * epochs // 2
    given = {"sparsity_weight": warm_up(x, epochs, 5.0), **DEAD}
    return train_dictionary("GatedSAE", x, epochs, 1e-2, seed, given, **TRAINING)


TRAIN = {
    "TopKSAE": train_top_k,
    "BatchTopKSAE": train_batch_top_k,
    "JumpReLUSAE": train_jump_relu,
    "GatedSAE": train_gated,
}


def warm_up(x, epochs, end):
    """Return a weight that rises from 1 in the first half of the training."""
    return schedules.LinearWarmUp(epochs * len(x) // 512 // 2, start=1.0, end=end)


def measure(model, test):
    """Return the figures of `dictionary_metrics` that are numbers."""
    figures = model.dictionary_metrics(test)
    del figures["feature_density"]
    return figures


def compare_on_nested_features(epochs, seed):
    """Train on parents and children, and measure how well a feature tells that a parent is there.

    A parent's F1 is the harmonic mean of precision and recall with which the best feature for it,
    in MatryoshkaSAE the best of the first prefix, is active where the parent is there. It is low if
    the parent is absorbed: if each of its children has a feature for both, and no feature is active
    with all of them.
    """
    directions, x, there = nested_features(NUM_EXAMPLES + 20_000, seed)
    x, test, there = x[:NUM_EXAMPLES], x[NUM_EXAMPLES:], there[NUM_EXAMPLES:].astype("float32")
    epochs = 3 * epochs // 4
    for name in ("TopKSAE", "BatchTopKSAE", "MatryoshkaSAE"):
        given = {"k": 3, **DEAD}
        model, seconds = train_dictionary(name, x, epochs, 1e-2, seed, given, **TRAINING)
        first = PARENTS if name == "MatryoshkaSAE" else NUM_FEATURES
        active = (model.encode(test, verbose=0)[:, :first] != 0).astype("float32")
        together = there.T @ active
        f1 = 2 * together / (there.sum(axis=0)[:, None] + active.sum(axis=0))
        nearest = np.max(directions @ model.directions.T, axis=1)
        yield {
            "model": f"{name} on parents and children",
            "parents_f1": float(np.mean(np.max(f1, axis=1))),
            "parents_best_cosine": float(np.mean(nearest[:PARENTS])),
            "children_best_cosine": float(np.mean(nearest[PARENTS:])),
            **measure(model, test),
            "training_seconds": seconds,
        }
