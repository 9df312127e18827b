"""One line that says that a code carries little or nothing, and what to try."""

import keras
import numpy as np
from keras import ops

from keras_ae.core import arguments, conversion, examples
from keras_ae.core.codes import describe_codes
from keras_ae.core.inputs import take_apart
from keras_ae.core.types import Data

_LOOKED_AT = 1000  # So many examples are looked at.
_FEW = 0.1  # Less than this share of the dimensions or codes is few.
_ACTIVE = 0.01  # Share of a dimension's variance that its posterior means have if it is active.
_NATS = 0.1  # A code with a smaller divergence tells almost nothing.
_STEPS = 500  # Many codes carry nothing in the first hundreds of steps, and recover.
_DEAD = 0.5  # More than this share of dead features is many.


class Diagnosis(keras.callbacks.Callback):
    """Prints one line if the code has collapsed, with what to try, and nothing otherwise.

    - Variational models: the divergence from the prior is below 0.1 nats, or at most a tenth of the
      dimensions are active. The variance of an active dimension's posterior means is above 0.01,
      compared with that of its draws (arXiv:1509.00519, section 5.2).
    - Other models whose codes are vectors: the codes of all examples are equal, or at most a tenth
      of the dimensions vary.
    - Models whose codes are integers: less than a tenth of the codes occurs that could occur, or
      the perplexity is below 2.
    - Sparse autoencoders: more than half of the features are dead, that is, inactive for
      `dead_after` steps.

    The line is printed if the code is collapsed after `patience` epochs in a row and 500 training
    steps, or at the end of the training. It is printed again only if the code has recovered before.

    Args:
        x: Some hundred examples, as `encode` takes them, such as validation data. The first 1,000
            are looked at. With named inputs this is a dictionary, such as `{"x": x, "label": y}`.
        patience: Number of epochs, a positive integer. Defaults to 2.

    Attributes:
        lines: List of the lines that were printed.

    Raises:
        TypeError: If x is no array and no dictionary of arrays.
        ValueError: If patience is not a positive integer.

    Example:

    >>> import keras, numpy as np, keras_ae
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> model = keras_ae.VAE(latent_dim=2, kl_weight=1000.0, seed=0)
    >>> model.compile(keras.optimizers.Adam(0.01))
    >>> diagnosis = keras_ae.callbacks.Diagnosis(x)
    >>> history = model.fit(x, epochs=20, callbacks=[diagnosis], verbose=0)
    VAE, epoch ...: the code has collapsed: ... Try kl_weight below 1000, ...
    """

    def __init__(self, x: Data, patience: int = 2):
        super().__init__()
        if not conversion.holds_arrays(x):
            wanted = "an array of some examples, or a dictionary of arrays"
            raise arguments.refusal("Diagnosis", "x", x, wanted, error=TypeError)
        self.x = x
        self.patience = arguments.integer("Diagnosis", "patience", patience)
        self.lines = []
        self._epochs, self._told, self._latest = 0, False, None

    def on_train_begin(self, logs=None):
        self._epochs, self._told, self._latest = 0, False, None

    def on_epoch_end(self, epoch, logs=None):
        found = find_collapse(self.model, self.x, logs or {})
        self._latest = found and f"{type(self.model).__name__}, epoch {epoch + 1}: {found}"
        self._epochs = self._epochs + 1 if found else 0
        if not found:
            self._told = False
        elif self._epochs >= self.patience:
            steps = int(ops.convert_to_numpy(self.model.optimizer.iterations))
            if steps >= _STEPS:
                self._tell()

    def on_train_end(self, logs=None):
        if self._latest:
            self._tell()

    def _tell(self):
        if not self._told:
            self._told = True
            self.lines.append(self._latest)
            print(self._latest, flush=True)


def find_collapse(model, x, logs):
    """Return one sentence on how the code has collapsed and what to try, or None if it has not.

    Args:
        model: The model.
        x: Examples, of which the first are looked at.
        logs: Dictionary of the losses of an epoch.
    """
    x = examples.join(model, *take_apart(model, x, "x"))
    x = examples.map_leaves(lambda v: conversion.to_labels(v, "x")[:_LOOKED_AT], x)
    distinct = _count_distinct(examples.leaves(examples.split(model, x)[0]))
    if distinct == 1:
        return None  # Equal examples have equal codes.
    if model._code_dtype == "int32":
        found = _judge_codebook(model, x, distinct)
    elif hasattr(model, "resample_dead"):
        found = _judge_features(model)
    else:
        found = _judge_dimensions(model, x, logs)
    if found is None:
        return None
    fact, remedies = found
    *others, last = remedies
    return f"{fact}. Try {', '.join(others)}{' or ' if others else ''}{last}."


def _count_distinct(arrays):
    rows = np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1)
    return len(np.unique(np.ascontiguousarray(rows, "float32"), axis=0))


# Each of these functions returns what is wrong and a list of what to try, or None.


def _judge_dimensions(model, x, logs):
    codes = describe_codes(model, x)
    width = codes.means[0].size
    deviations = codes.means.std(axis=0)
    if codes.variances is not None:
        active = np.sum(deviations**2 > _ACTIVE * codes.spread() ** 2)
    else:
        # Codes have no scale here. A deviation that rounding could cause is none.
        noise = 1e-5 * np.abs(codes.means).max(axis=0)
        active = np.sum((deviations > noise) & (deviations > 1e-3 * deviations.max()))
    nats = logs.get("kl_loss")
    tells_little = nats is not None and nats < _NATS
    if active > _FEW * width and not tells_little:
        return None
    state = "has collapsed" if active == 0 or tells_little else "has nearly collapsed"
    facts = [f"{active} of {width} dimensions are active"]
    if nats is not None:
        facts.append(f"its divergence from the prior is {nats:.2g} nats")
    if codes.variances is not None:
        facts.append(f"the mean sigma of its posteriors is {np.sqrt(codes.variances).mean():.2f}")
    *others, last = facts
    fact = f"the code {state}: {', '.join(others)}{' and ' if others else ''}{last}"
    return fact, _suggest_for_dimensions(model, nats is not None)


def _suggest_for_dimensions(model, is_variational):
    given, remedies = model.arguments, []
    names = ("kl_weight", "beta") if is_variational else ("weight", "code_weight")
    if "capacity" in given:
        names, remedies = (), ["a capacity that rises sooner"]
    for name in names:
        if arguments.is_number(given.get(name)) and given[name] > 0:
            remedies.append(f"{name} below {given[name]:g}")
    if not is_variational:
        return [*remedies, "a lower learning rate"]
    if "kl_weight" in names and "kl_weight" in given:
        remedies.append("a warm-up such as kl_weight=keras_ae.schedules.LinearWarmUp(5000)")
    if given.get("free_bits") == 0 and "kl_loss" in model.objective:
        remedies.append("free_bits=0.1")
    return [*remedies, "a decoder with fewer weights"]


def _judge_codebook(model, x, distinct):
    statistics = model.codebook_statistics(x, verbose=0)
    # Each distinct example has a code index at every position.
    positions = int(np.prod(model.code_shape)) // getattr(model, "depth", 1)
    possible = min(model.num_codes, distinct * positions)
    used = statistics["usage"] * model.num_codes
    if possible < 4 or (used >= _FEW * possible and statistics["perplexity"] >= 2.0):
        return None
    given = model.arguments
    remedies = []
    if arguments.is_number(given.get("restart_below")):
        remedies.append(f"restart_below above {given['restart_below']:g}")
    if given.get("k_means_start") is False:
        remedies.append("k_means_start=True")
    if "entropy_weight" in given:
        remedies.append(f"entropy_weight above {given['entropy_weight']:g}")
    if arguments.is_number(given.get("commitment_weight")):
        remedies.append(f"commitment_weight above {given['commitment_weight']:g}")
    smaller = "levels" if "levels" in given else "num_codes" if "num_codes" in given else None
    remedies += [f"fewer {smaller}"] if smaller else []
    fact = (
        f"the codebook is little used: {used:.3g} of {model.num_codes} codes occur, with a "
        f"perplexity of {statistics['perplexity']:.3g}"
    )
    return fact, [*remedies, "a lower learning rate"]


def _judge_features(model):
    dead = np.sum(ops.convert_to_numpy(model.sampler.dead(model.dead_after)) > 0)
    if dead <= _DEAD * model.latent_dim:
        return None
    given, remedies = model.arguments, ["model.resample_dead(x) between epochs"]
    if "auxiliary_weight" in given:
        remedies.append(f"auxiliary_weight above {given['auxiliary_weight']:g}")
    if "sparsity_weight" in given:
        remedies.append("a lower sparsity_weight")
    if "k" in given:
        remedies.append(f"k above {given['k']}")
    fact = (
        f"{dead} of {model.latent_dim} features are dead, inactive for dead_after="
        f"{model.dead_after} steps"
    )
    return fact, [*remedies, f"latent_dim below {model.latent_dim}", "a lower learning rate"]
