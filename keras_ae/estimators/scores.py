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
from keras_ae.distributions import counted
from keras_ae.distributions.elementary import event_sum
from keras_ae.models.variational.base import VariationalAE

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

    A score is called with the model and a tensor (batch, ...) in the model's own units, and returns
    a tensor (batch,).

    Args:
        state: Dictionary of name -> float32 array, what the score of a saved detector has learned.
            Defaults to None: `learn` is called next.
    """

    has_parts = False  # If True, `parts(model, x)` returns a tensor like x, whose sum is the score.

    def __init__(self, state=None):
        self.state = state or {}

    def find_obstacle(self, model, X):
        """Say why a model does not have this score, or return None if it does."""

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
    """The squared error of the reconstruction, summed over the features that are no padding."""

    has_parts = True

    def parts(self, model, x):
        errors = ops.square(model.reconstruct(x) - x)
        if model._mask_value is None:
            return errors
        # What is decoded at padded steps has no meaning.
        given = counted(x, model._mask_value)[..., None]
        return ops.where(given, errors, 0.0)

    def __call__(self, model, x):
        return event_sum(self.parts(model, x))


class ReconstructionProbability(Score):
    """-E[log p(x | z)] over draws z from the posterior, in nats (An and Cho 2015, algorithm 4)."""

    def find_obstacle(self, model, X):
        if not hasattr(model, "_importance_terms"):
            return "has no likelihood"
        try:
            self._find_widths(model, X)
        except NotImplementedError:
            return "cannot give the same draws from the posterior to every example"
        return None

    def _find_widths(self, model, X):
        """Return how many numbers of each kind the draws of one example take."""
        probe = GivenNumbers(rows=2)
        x = ops.convert_to_tensor(X[:2])
        model._importance_terms(model.posterior(x), x, 1, probe)
        return probe.widths

    def learn(self, model, X):
        for kind, width in self._find_widths(model, X).items():
            points = stats.qmc.Sobol(width, seed=0).random(NUM_DRAWS)
            noise = stats.norm.ppf(points) if kind == "normal_noise" else points
            self.state[kind] = noise.astype("float32")
        super().learn(model, X)

    def find_parts(self, model):
        # The decoder of several layers of codes does not read the codes themselves.
        if type(model)._importance_terms is VariationalAE._importance_terms:
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

    def __call__(self, model, x):
        terms = model._importance_terms(model.posterior(x), x, NUM_DRAWS, self._draws(x))
        log_weights = terms[0] - terms[1]
        return float(np.log(NUM_DRAWS)) - ops.logsumexp(log_weights, axis=1)


class CodeDistance(Score):
    """The squared Mahalanobis distance of the code from the mean of the training codes."""

    def find_obstacle(self, model, X):
        return None if model._code_dtype == "float32" else "has integer codes, without distances"

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

    def find_obstacle(self, model, X):
        return None if hasattr(model, "anomaly_score") else "has no method anomaly_score"

    def __call__(self, model, x):
        return model.anomaly_score(x)


BY_NAME = {
    "reconstruction_error": ReconstructionError,
    "reconstruction_probability": ReconstructionProbability,
    "likelihood": Likelihood,
    "code_distance": CodeDistance,
    "model": OwnScore,
}


def make(model, name, X):
    """Make a score, and have it learn what it needs.

    Args:
        model: The trained model.
        name: A key of `BY_NAME`, or "auto", which stands for the first of "model", "likelihood" and
            "reconstruction_error" that the model has.
        X: Array of the training data, in the user's units.

    Returns:
        The score's name, and the score.

    Raises:
        ValueError: If there is no such score, or the model does not have it.
    """
    arguments.choice("AnomalyDetector", "anomaly_score", name, ["auto", *BY_NAME])
    names = ["model", "likelihood", "reconstruction_error"] if name == "auto" else [name]
    for each in names:
        score = BY_NAME[each]()
        obstacle = score.find_obstacle(model, X)
        if obstacle is None:
            score.learn(model, X)
            return each, score
    raise ValueError(
        f"AnomalyDetector: anomaly_score={name!r} is not possible, because {type(model).__name__} "
        f"{obstacle}. Pass anomaly_score='reconstruction_error', which every model has."
    )
