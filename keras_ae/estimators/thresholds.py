"""Thresholds of anomaly scores, and the probability of an anomaly given its score."""

import math

import numpy as np
from scipy import optimize, stats
from sklearn.preprocessing import PowerTransformer

_LEAST_EXCESSES = 20
LEAST_SCORES = 2 * _LEAST_EXCESSES
# With shapes below this one, likelihoods have no maximum in general, and the tail would end at the
# largest score that was seen.
_LEAST_SHAPE = -0.5


def find_extreme_threshold(scores, rate):
    """Find what normal scores exceed with a small probability, by the theory of extreme values.

    The excesses over a high quantile follow a generalized Pareto distribution, which reaches beyond
    the largest score that was seen.

    Source: Siffer, Fouque, Termier and Largouet, Anomaly Detection in Streams with Extreme Value
    Theory, KDD 2017, equation 1.

    Args:
        scores: Array (examples,) of the scores of normal data.
        rate: The probability, a number above 0 and below 1.

    Returns:
        A float.

    Raises:
        ValueError: If there are too few scores.
    """
    if len(scores) < LEAST_SCORES:
        raise ValueError(
            f"AnomalyDetector: threshold='extreme_values' needs the scores of at least "
            f"{LEAST_SCORES} examples, and there are {len(scores)}. Pass more, or "
            "threshold='contamination'."
        )
    level = min(0.98, 1.0 - _LEAST_EXCESSES / len(scores))
    start = np.quantile(scores, level)
    excesses = scores[scores > start] - start
    share = len(excesses) / len(scores)
    if rate >= share:
        return float(np.quantile(scores, 1.0 - rate))
    unit = excesses.mean()  # The fit is stable if the numbers are about 1.
    shape, _, scale = stats.genpareto.fit(excesses / unit, floc=0.0)
    if shape < _LEAST_SHAPE:
        shape, _, scale = stats.genpareto.fit(excesses / unit, floc=0.0, fc=_LEAST_SHAPE)
    found = float(start + unit * stats.genpareto.isf(rate / share, shape, scale=scale))
    # A rate that no score can show lies beyond all of them.
    return max(found, float(scores.max())) if rate < 1.0 / len(scores) else found


class Calibration:
    """The probability that an example is an anomaly, given its score.

    A Yeo-Johnson transform makes the scores of normal data Gaussian. Those of anomalies are a
    Gaussian of the same deviation with a higher mean, and their share is known: the contamination.
    The mean and the deviation maximize the likelihood of all scores, by expectation maximization.
    The probability then rises with the score. It is shifted such that its mean over the scores is
    the contamination. If the scores hold fewer anomalies than that, the highest normal scores have
    the probabilities that the anomalies would have.

    Args:
        state: Dictionary of five numbers, what `fit` found. Defaults to None.
    """

    def __init__(self, state=None):
        self.state = state

    def fit(self, scores, contamination):
        """Fit to the scores of data of which this share is anomalous. Return self."""
        threshold = np.quantile(scores, 1.0 - contamination)
        normal = scores[scores <= threshold]
        center, spread = np.median(normal), max(float(np.std(normal)), 1e-12)
        power = PowerTransformer(standardize=False)
        power.fit(((normal - center) / spread)[:, None])
        self.state = {
            "center": float(center),
            "spread": spread,
            "power": float(power.lambdas_[0]),
        }
        values = self._transform(scores)
        low, high = values[scores <= threshold].mean(), values.max()
        above = values[scores > threshold]
        high = float(above.mean()) if len(above) else float(high)
        variance = float(np.var(values[scores <= threshold])) + 1e-12
        prior = math.log(contamination / (1.0 - contamination))
        for _ in range(200):
            slope = (high - low) / variance
            weight = _sigmoid(slope * (values - 0.5 * (high + low)) + prior)
            low_now = np.average(values, weights=1.0 - weight + 1e-12)
            high_now = max(np.average(values, weights=weight + 1e-12), low_now)
            squares = (1.0 - weight) * (values - low_now) ** 2 + weight * (values - high_now) ** 2
            moved = abs(low_now - low) + abs(high_now - high)
            low, high, variance = low_now, high_now, float(squares.mean()) + 1e-12
            if moved < 1e-9:
                break
        slope = (high - low) / variance
        shift = _find_shift(slope * values, contamination)
        self.state |= {"slope": float(slope), "shift": shift}
        return self

    def _transform(self, scores):
        state = self.state
        values = (np.asarray(scores, "float64") - state["center"]) / state["spread"]
        # Powers of larger numbers could overflow. Their probability is 0 or 1 in any case.
        return stats.yeojohnson(np.clip(values, -1e6, 1e6), state["power"])

    def __call__(self, scores):
        """Return the probability of an anomaly for each score."""
        return _sigmoid(self.state["slope"] * self._transform(scores) + self.state["shift"])


def _find_shift(values, mean):
    """Find the number that, added to all values, gives their sigmoids this mean."""
    low, high = -float(values.max()) - 50.0, -float(values.min()) + 50.0
    return float(optimize.brentq(lambda shift: _sigmoid(values + shift).mean() - mean, low, high))


def _sigmoid(values):
    return 0.5 * (1.0 + np.tanh(0.5 * values))
