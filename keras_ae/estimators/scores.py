"""How anomalous an example is for a model, and how much each of its features adds to that.

A score is an object that is called with tensors, so that one formula serves arrays, TensorFlow
Serving and the gradient. High is always anomalous.
"""

import numpy as np
from keras import ops
from scipy import stats

from keras_ae.core import arguments, backend
from keras_ae.core.batching import batched
from keras_ae.core.draws import GivenNumbers
from keras_ae.distributions.elementary import event_sum

NUM_DRAWS = 32  # Draws from the posterior of each example, a power of two.


@batched("data", "score_samples")
def compute(model, x, score):
    """Compute the score of every example: array or tensor (batch,)."""
    return score(model, x)


@batched("data", "explain")
def explain(model, x, score):
    """Compute the share of every feature in the score, which sum to 1: an array like x."""
    return score.shares(model, x)


@batched("data", "fit")
def _compute_parts(model, x, score):
    return score.parts(model, x)


class Score:
    """Base class of scores.

    Subclasses define `__call__(model, x)`, tensors in the model's own units -> (batch,), and
    `learn(model, X)` if they need anything of the data.

    Attributes:
        state: Dictionary of name -> float32 array, what the score learned. The constructor takes
            it to make the score of a saved detector.
    """

    has_parts = False  # If True, `parts(model, x)` returns a tensor like x.

    def __init__(self, state=None):
        self.state = state or {}

    def find_parts(self, model):
        """Find out whether the score of this model is a sum over the features."""

    def learn(self, model, X):
        """Learn from the training data, an array in the user's units."""
        self.find_parts(model)
        if self.has_parts:
            parts = _compute_parts(model, X, self, verbose=0)
            self.state["usual"] = np.median(parts, axis=0).astype("float32")
        else:
            mean = X.mean(axis=0, dtype="float64").astype("float32")
            # In the model's own units, this is the mean of standardized data.
            self.state["usual"] = np.zeros_like(mean) if model.standardize else mean

    def shares(self, model, x):
        """Compute the share of every feature in the score: a tensor like x.

        What a feature adds is the part of the score that exceeds its median over the training data.
        If a score has no parts, it is |gradient * (x - mean)|, the first-order change of the score
        if the feature were as it is on average.
        """
        usual = ops.convert_to_tensor(self.state["usual"])[None]
        if self.has_parts:
            added = ops.relu(self.parts(model, x) - usual)
        else:
            scores, pull = backend.pullback(lambda each: self(model, each), x)
            added = ops.abs(pull(ops.ones_like(scores)) * (x - usual))
        axes = tuple(range(1, len(x.shape)))
        total = ops.sum(added, axis=axes, keepdims=True)
        # If no feature exceeds its usual part, all have the same share.
        equal = ops.ones_like(added)
        return ops.where(
            total > 0, added / ops.where(total > 0, total, 1.0), equal / ops.sum(equal[:1])
        )


class ReconstructionError(Score):
    """The squared error of the reconstruction, summed over the features."""

    has_parts = True

    def parts(self, model, x):
        return ops.square(model.reconstruct(x) - x)

    def __call__(self, model, x):
        return event_sum(self.parts(model, x))


class ReconstructionProbability(Score):
    """-E[log p(x | z)] over draws z from the posterior, in nats (An and Cho 2015, algorithm 4)."""

    name = "reconstruction_probability"

    def learn(self, model, X):
        probe = GivenNumbers(rows=2)
        x = ops.convert_to_tensor(X[:2])
        try:
            model.posterior(x).sample(probe)
        except NotImplementedError:
            raise ValueError(
                f"AnomalyDetector: anomaly_score={self.name!r} needs draws that are the same for "
                f"every example, and the posterior of {type(model).__name__} has none. Pass "
                "anomaly_score='reconstruction_error'."
            ) from None
        for kind, width in probe.widths.items():
            points = stats.qmc.Sobol(width, seed=0).random(NUM_DRAWS)
            noise = stats.norm.ppf(points) if kind == "normal_noise" else points
            self.state[kind] = noise.astype("float32")
        super().learn(model, X)

    def find_parts(self, model):
        z = ops.zeros((1, *model.code_shape))
        self.has_parts = hasattr(model.conditional(z), "log_prob_per_element")

    def _draws(self, x):
        """Return the numbers of all draws of every example, in place of a seed.

        They are the same for every example, so that its score does not depend on the others, and
        spread evenly, so that their mean is close to the expectation.
        """
        kinds = [kind for kind in ("normal_noise", "uniform_noise") if kind in self.state]
        rows = ops.shape(x)[0]
        numbers = {k: ops.tile(ops.convert_to_tensor(self.state[k]), (rows, 1)) for k in kinds}
        return GivenNumbers(rows * NUM_DRAWS, numbers)

    def parts(self, model, x):
        z = model.posterior(x).repeat(NUM_DRAWS).sample(self._draws(x))
        targets = ops.repeat(x, NUM_DRAWS, axis=0)
        each = -model.conditional(z).log_prob_per_element(targets)
        return ops.mean(ops.reshape(each, (-1, NUM_DRAWS, *x.shape[1:])), axis=1)

    def __call__(self, model, x):
        log_likelihood, _ = model._importance_terms(
            model.posterior(x), x, NUM_DRAWS, self._draws(x)
        )
        return -ops.mean(log_likelihood, axis=1)


class Likelihood(ReconstructionProbability):
    """-log p(x), estimated by importance sampling from the posterior, in nats.

    Its shares are those of the reconstruction probability, the part that features add to.
    """

    name = "likelihood"

    def __call__(self, model, x):
        terms = model._importance_terms(model.posterior(x), x, NUM_DRAWS, self._draws(x))
        log_weights = terms[0] - terms[1]
        return float(np.log(NUM_DRAWS)) - ops.logsumexp(log_weights, axis=1)


class CodeDistance(Score):
    """The squared Mahalanobis distance of the code from the mean of the training codes."""

    def learn(self, model, X):
        super().learn(model, X)
        codes = model.encode(X, verbose=0).reshape(len(X), -1).astype("float64")
        self.state["mean"] = codes.mean(axis=0).astype("float32")
        values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(codes, rowvar=False)))
        # Directions in which codes do not differ would make every distance infinite.
        values = np.maximum(values, 1e-6 * max(values.max(), 1e-12))
        self.state["whitening"] = (vectors / np.sqrt(values)).astype("float32")

    def __call__(self, model, x):
        mean, whitening = map(ops.convert_to_tensor, (self.state["mean"], self.state["whitening"]))
        z = ops.reshape(ops.cast(model.encode(x), "float32"), (-1, len(self.state["mean"])))
        return event_sum(ops.square(ops.matmul(z - mean, whitening)))


class OwnScore(Score):
    """The method `anomaly_score` of a model that has one."""

    def __call__(self, model, x):
        return model.anomaly_score(x)


BY_NAME = {
    "reconstruction_error": ReconstructionError,
    "reconstruction_probability": ReconstructionProbability,
    "likelihood": Likelihood,
    "code_distance": CodeDistance,
    "model": OwnScore,
}


def choose(model, name):
    """Return the class of a score of this name, or of the one that suits a model.

    Args:
        model: The built model.
        name: A key of `BY_NAME`, or "auto".

    Raises:
        ValueError: If there is no such score, or the model does not have it.
    """
    has_likelihood = hasattr(model, "_importance_terms") and not model._modalities
    has_likelihood = has_likelihood and model._target_shape == model._data_shape
    if name == "auto":
        own = "model" if hasattr(model, "anomaly_score") else "likelihood"
        return own if own == "model" or has_likelihood else "reconstruction_error"
    arguments.choice("AnomalyDetector", "anomaly_score", name, ["auto", *BY_NAME])
    kind = type(model).__name__
    if name == "model" and not hasattr(model, "anomaly_score"):
        raise ValueError(
            "AnomalyDetector: anomaly_score='model' needs a model with a method anomaly_score, and "
            f"{kind} has none. Pass anomaly_score='auto'."
        )
    if name in ("likelihood", "reconstruction_probability") and not has_likelihood:
        raise ValueError(
            f"AnomalyDetector: anomaly_score={name!r} needs a model with a likelihood, and {kind} "
            "has none. Pass anomaly_score='reconstruction_error'."
        )
    return name
