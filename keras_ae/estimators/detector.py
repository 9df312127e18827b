"""Anomaly detection with any model."""

import functools
import pathlib
from collections.abc import Callable
from typing import Any, Self

import keras
import numpy as np
from scipy import stats
from sklearn.base import OutlierMixin
from sklearn.utils.validation import check_is_fitted

from keras_ae.core import arguments
from keras_ae.core.types import Array, Path
from keras_ae.estimators import scores
from keras_ae.estimators.base import AutoencoderEstimator
from keras_ae.estimators.thresholds import LEAST_SCORES, Calibration, find_extreme_threshold
from keras_ae.saving import export, read_card
from keras_ae.saving.load import load

_THRESHOLDS = ("contamination", "false_positive_rate", "extreme_values")
_KEY = "detector"  # The entry of card.json.


class AnomalyDetector(OutlierMixin, AutoencoderEstimator):
    """Detect anomalies with a model of this package, in scikit-learn's API.

    Three conventions meet here:

    | what | high means | values |
    |---|---|---|
    | `score_samples`, `decision_function` | normal, as in scikit-learn | real numbers |
    | `predict`, `fit_predict` | | 1 is normal, -1 an anomaly |
    | `decision_scores_`, `threshold_` | anomalous, as in PyOD | minus `score_samples` |
    | `labels_` | | 0 is normal, 1 an anomaly |
    | the endpoint `score`, `keras-ae detect` | anomalous | `anomaly_score`, `is_anomaly` |

    Args:
        model: Name of a model, or a model that is not built. Defaults to "VAE".
        anomaly_score: What makes an example anomalous:

            - "reconstruction_error": the squared error, summed over the features.
            - "reconstruction_probability": the mean of -log p(x | z) over draws from the posterior,
              in nats (An and Cho 2015).
            - "likelihood": -log p(x) in nats, by importance sampling.
            - "code_distance": the squared Mahalanobis distance of the code from the mean code.
            - "model": the method `anomaly_score` of a model that is made to detect anomalies.
            - A function of the fitted model and an array (examples, ...) that returns an array
              (examples,), high where an example is anomalous. It cannot be exported.

            Defaults to "auto": the first that the model has of "model", "likelihood" and
            "reconstruction_error".
        contamination: Share of the training examples that are anomalies, a number above 0 and at
            most 0.5. Defaults to 0.1.
        threshold: How the score is found above which an example is an anomaly:

            - "contamination": so many training examples are above it.
            - "false_positive_rate": so many normal examples are above it. The training data must be
              normal. The threshold is a quantile of the scores of the held-out examples, or of all
              if there are none.
            - "extreme_values": the same, by the theory of extreme values (Siffer et al. 2017),
              which also finds rates below one in the number of examples. It takes the scores of all
              examples if fewer than 40 are held out.
            - A number, in the units of the score.

            Defaults to "contamination".
        false_positive_rate: Share of normal examples that may be taken for anomalies, a number
            above 0 and below 1. Defaults to 0.01.
        trim: Share of the training examples that a second training leaves out, a number from 0 to
            0.5, so that anomalies in the training data are not learned. It leaves out those that
            rank highest in the score and the distance from the mean together, because a model may
            have learned anomalies that lie far from all other data. With 0 the model is trained
            once on all. Defaults to None: 0.2, but 0 if the threshold is one of normal data, whose
            oddest examples must count.
        epochs: Number of passes over the data in each training. Defaults to None: as many as make
            700 training steps, and at least 20.
        batch_size: Number of examples in a batch. Defaults to 128.
        model_options, learning_rate, validation_fraction, patience: See `AutoencoderTransformer`.
            If model is a name, tables get a latent_dim of 2, hidden layers of 64 and 32 units, and
            a Laplace likelihood with a learned scale, which outliers hardly move.
        standardize, random_state, verbose: See `AutoencoderTransformer`.

    Attributes:
        model_: The fitted model.
        anomaly_score_: Name of the score that was chosen, or the function.
        threshold_: Anomaly score above which an example is an anomaly.
        offset_: Minus `threshold_`: `decision_function` is `score_samples` minus this.
        decision_scores_: Anomaly scores of the training data, shape (examples,).
        labels_: 1 where the training data is anomalous and 0 elsewhere, shape (examples,).
        history_, n_features_in_, feature_names_in_: See `AutoencoderTransformer`.

    Example:

    >>> import numpy as np
    >>> from keras_ae.estimators import AnomalyDetector
    >>> x = np.random.default_rng(0).normal(size=(200, 4))
    >>> x[:4] += 20
    >>> detector = AnomalyDetector(contamination=0.02, epochs=20, random_state=0).fit(x)
    >>> detector.predict(x[:6]).tolist()
    [-1, -1, -1, -1, 1, 1]
    """

    _steps = 700

    def __init__(
        self,
        model: str | keras.Model = "VAE",
        *,
        anomaly_score: str | Callable[..., Any] = "auto",
        contamination: float = 0.1,
        threshold: str | float = "contamination",
        false_positive_rate: float = 0.01,
        trim: float | None = None,
        model_options: dict[str, Any] | None = None,
        epochs: int | None = None,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        validation_fraction: float = 0.1,
        patience: int | None = None,
        standardize: bool = True,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ):
        super().__init__(
            model,
            model_options=model_options,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            validation_fraction=validation_fraction,
            patience=patience,
            standardize=standardize,
            random_state=random_state,
            verbose=verbose,
        )
        self.anomaly_score = anomaly_score
        self.contamination = contamination
        self.threshold = threshold
        self.false_positive_rate = false_positive_rate
        self.trim = trim

    def fit(self, X: Array, y: Array | None = None) -> Self:
        """Train the model, and find the threshold.

        Args:
            X: Array or DataFrame of shape (examples, ...).
            y: Ignored.

        Returns:
            self.

        Raises:
            ValueError: If an argument or X is not as described above.
        """
        share = arguments.number(self, "contamination", self.contamination, positive=True, most=0.5)
        rate = arguments.number(
            self, "false_positive_rate", self.false_positive_rate, positive=True, below=1
        )
        if arguments.is_number(self.threshold):
            arguments.number(self, "threshold", self.threshold, least=None)
        else:
            arguments.choice(self, "threshold", self.threshold, _THRESHOLDS)
        trim = self._find_trim()
        X = self._check_data(X, reset=True, ensure_min_samples=2)
        held_out = self._train_and_choose(X)
        found = self._compute(X)
        if trim:
            odd = stats.rankdata(found) + stats.rankdata(self._measure_distances(X))
            count = max(round(len(X) * (1.0 - trim)), 2)
            kept = np.sort(np.argsort(odd, kind="stable")[:count])
            held_out = np.zeros(len(X), bool)
            held_out[kept] = self._train_and_choose(X[kept])
            found = self._compute(X)
        normal = found[held_out] if held_out.any() else found
        if self.threshold == "contamination":
            self.threshold_ = float(np.quantile(found, 1.0 - share))
        elif self.threshold == "false_positive_rate":
            self.threshold_ = float(np.quantile(normal, 1.0 - rate))
        elif self.threshold == "extreme_values":
            enough = len(normal) >= LEAST_SCORES
            self.threshold_ = find_extreme_threshold(normal if enough else found, rate)
        else:
            self.threshold_ = float(self.threshold)
        self.offset_ = -self.threshold_
        self.decision_scores_ = found
        self.labels_ = (found > self.threshold_).astype(int)
        self._calibration = Calibration().fit(found, share)
        return self

    def _find_trim(self):
        """Return the share of the training examples that a second training leaves out."""
        trim = arguments.number(self, "trim", self.trim, most=0.5, optional=True)
        of_normal_data = self.threshold in ("false_positive_rate", "extreme_values")
        if trim and of_normal_data:
            raise ValueError(
                f"AnomalyDetector: trim={self.trim!r} would leave out the oddest normal examples, "
                f"from which threshold={self.threshold!r} is found. Leave trim out, or pass "
                "threshold='contamination'."
            )
        return (0.0 if of_normal_data else 0.2) if trim is None else trim

    def _train_and_choose(self, X):
        """Train the model, and choose its score. Return which examples were held out."""
        defaults = {"likelihood": "laplace_learned_scale"}
        if X.ndim == 2:
            defaults |= {"latent_dim": 2, "network_options": {"units": (64, 32)}}
        held_out = self._train(X, defaults)
        if callable(self.anomaly_score):
            self.anomaly_score_ = self.anomaly_score
        else:
            self.anomaly_score_, self._score = scores.make(self.model_, self.anomaly_score, X)
        return held_out

    def _measure_distances(self, X):
        """Return the squared distance of every example from the mean, in deviations per feature.

        Padding has no distance, and the sum over the other features counts as if there were none.
        """
        x, mask_value = X.astype("float64"), self.model_._mask_value
        if mask_value is not None:
            padded = np.all(x == mask_value, axis=-1, keepdims=True)
            x[np.broadcast_to(padded & ~np.all(padded, axis=1, keepdims=True), x.shape)] = np.nan
        flat = x.reshape(len(x), -1)
        with np.errstate(invalid="ignore"):
            number = np.maximum(np.sum(~np.isnan(flat), axis=0), 1)
            mean = np.nansum(flat, axis=0) / number
            deviation = np.sqrt(np.nansum((flat - mean) ** 2, axis=0) / number)
        squares = ((flat - mean) / np.where(deviation > 0, deviation, 1.0)) ** 2
        return np.nanmean(squares, axis=1) * flat.shape[1]

    def _compute(self, X):
        """Return the anomaly scores of checked data: a float64 array (examples,)."""
        if callable(self.anomaly_score_):
            found = np.asarray(self.anomaly_score_(self.model_, X), "float64")
            if found.shape != (len(X),) or not np.all(np.isfinite(found)):
                raise ValueError(
                    f"AnomalyDetector: anomaly_score={arguments.show(self.anomaly_score_)} must "
                    f"return one finite number for each of the {len(X)} examples, and returned an "
                    f"array of shape {found.shape}."
                )
            return found
        compute = functools.partial(scores.compute, self.model_, score=self._score)
        return self._apply(compute, X).astype("float64")

    def score_samples(self, X: Array) -> np.ndarray:
        """Compute minus the anomaly score of every example, so that high is normal.

        Args:
            X: Array or DataFrame of shape (examples, ...).

        Returns:
            Float64 array of shape (examples,).
        """
        return -self._compute(self._check_data(X))

    def decision_function(self, X: Array) -> np.ndarray:
        """Compute how far every example is on the normal side of the threshold.

        Args:
            X: Array or DataFrame of shape (examples, ...).

        Returns:
            Float64 array of shape (examples,). It is negative for anomalies.
        """
        return self.score_samples(X) - self.offset_

    def predict(self, X: Array) -> np.ndarray:
        """Tell anomalies from normal examples.

        Args:
            X: Array or DataFrame of shape (examples, ...).

        Returns:
            Integer array of shape (examples,): 1 is normal and -1 an anomaly.
        """
        return np.where(self.decision_function(X) < 0, -1, 1)

    def predict_proba(self, X: Array) -> np.ndarray:
        """Compute the probability that an example is normal, and that it is an anomaly.

        The mean over the training data is the contamination, also if it holds fewer anomalies. The
        probabilities hold as far as the scores of normal data and of anomalies, once normal scores
        are transformed to a Gaussian, are two Gaussians of equal deviation.

        Args:
            X: Array or DataFrame of shape (examples, ...).

        Returns:
            Float64 array of shape (examples, 2), whose rows add up to 1.
        """
        found = -self.score_samples(X)
        probability = self._calibration(found)
        return np.stack([1.0 - probability, probability], axis=1)

    def explain(self, X: Array) -> np.ndarray:
        """Compute the share that every feature has in the anomaly score.

        For scores that are sums over features, this is what exceeds the median over the training
        data. For others, it is the gradient times the distance from the feature's mean. For
        "likelihood" the shares are those of the reconstruction probability. The shares of pictures
        are heat maps: see `keras_ae.plots.heat_maps`.

        Args:
            X: Array or DataFrame of shape (examples, ...).

        Returns:
            Float32 array like X. Each example's shares are at least 0 and add up to 1.

        Raises:
            ValueError: If the score is a function of yours.
        """
        X = self._check_data(X)
        self._refuse_function("explain")
        return self._apply(functools.partial(scores.explain, self.model_, score=self._score), X)

    def _refuse_function(self, method):
        if callable(self.anomaly_score_):
            raise ValueError(
                f"AnomalyDetector.{method}: anomaly_score={arguments.show(self.anomaly_score_)} is "
                "a function, of which nothing else is known. Choose one of "
                f"{', '.join(scores.BY_NAME)}."
            )

    # ------------------------------------------------------------------ files

    def export(
        self, path: Path, *, card: dict[str, Any] | None = None, overwrite: bool = False
    ) -> None:
        """Write a folder that TensorFlow serves without this package, and `load` reads.

        It is the folder that `model_.export` writes with one more endpoint: `score` takes x and
        returns `anomaly_score` (batch,), `is_anomaly` (batch,) and `contributions`, the shares of
        `explain`. The scaler and the threshold are part of it.

        Args:
            path: Folder to make.
            card: Dictionary of facts for the folder's `card.json`.
            overwrite: Whether an artifact at the path may be replaced.

        Raises:
            OSError: If the path is taken and may not be replaced, or cannot be written.
            ValueError: If the score is a function, or the model cannot be loaded again.
            NotImplementedError: On the torch backend.
        """
        check_is_fitted(self)
        self._refuse_function("export")
        export.check_arguments(path, card)
        if _KEY in (card or {}):
            raise ValueError(
                f"AnomalyDetector.export: card has the entry {_KEY!r}, which holds the detector. "
                "Choose another name for yours."
            )
        model, score = self.model_, self._score

        def serve_score(x):
            found = scores.compute(model, x, score)
            return {
                "anomaly_score": found,
                "is_anomaly": found > self.threshold_,
                "contributions": scores.explain(model, x, score),
            }

        card = {**(card or {}), _KEY: self._describe()}
        endpoints = {"score": (serve_score, export.shapes_of_x(model))}
        export.write(model, path, card, overwrite, endpoints)

    def _describe(self):
        """Describe in JSON what `load` needs besides the model."""
        state = {name: value.tolist() for name, value in self._score.state.items()}
        names = getattr(self, "feature_names_in_", None)
        # Numbers and names of the constructor, of which the model and its options are others.
        plain = (int, float, str, type(None))
        arguments = {k: v for k, v in self.get_params().items() if type(v) in (*plain, bool)}
        return {
            "arguments": {k: v for k, v in arguments.items() if k != "model"},
            "score": self.anomaly_score_,
            "threshold": self.threshold_,
            "contamination": float(self.contamination),
            "score_state": state,
            "calibration": self._calibration.state,
            "n_features_in": getattr(self, "n_features_in_", None),
            "feature_names_in": None if names is None else names.tolist(),
        }

    @classmethod
    def load(cls, path: Path) -> Self:
        """Load a detector from a folder that `export` wrote. `keras_ae.load` loads its model.

        It has no `decision_scores_` and `labels_`, which are those of the training data.

        Args:
            path: The folder.

        Returns:
            A fitted `AnomalyDetector`.

        Raises:
            FileNotFoundError: If the folder does not exist.
            ValueError: If it is damaged, or has no detector.
        """
        model = load(path)
        found = read_card(path).get(_KEY)
        if not isinstance(found, dict) or found.get("score") not in scores.BY_NAME:
            raise ValueError(
                f"AnomalyDetector.load: {path} has no detector, only a {type(model).__name__}. "
                "Load it with keras_ae.load, or export an AnomalyDetector."
            )
        try:
            detector = cls._restore(model, found)
            detector._compute(np.zeros((2, *model._data_shape), "float32"))
        except (LookupError, TypeError, ValueError) as error:
            reason = str(error).splitlines()[0][:200]
            raise ValueError(
                f"AnomalyDetector.load: the entry {_KEY!r} of {pathlib.Path(path) / 'card.json'} "
                f"is not what export wrote ({reason}). Export the detector again."
            ) from error
        return detector

    @classmethod
    def _restore(cls, model, found):
        fresh = type(model).from_config(model.get_config())
        given = found.get("arguments", {"contamination": found["contamination"]})
        given = {**given, "anomaly_score": found["score"], "standardize": model.standardize}
        detector = cls(fresh, **given)
        state = {k: np.asarray(v, "float32") for k, v in found["score_state"].items()}
        detector.model_, detector.anomaly_score_ = model, found["score"]
        detector._score = scores.BY_NAME[found["score"]](state)
        detector._score.find_parts(model)
        detector.threshold_ = float(found["threshold"])
        detector.offset_ = -detector.threshold_
        keys = ("center", "spread", "power", "slope", "shift")
        detector._calibration = Calibration({k: float(found["calibration"][k]) for k in keys})
        if found["n_features_in"] is not None:
            detector.n_features_in_ = int(found["n_features_in"])
        if found["feature_names_in"] is not None:
            detector.feature_names_in_ = np.array(found["feature_names_in"], dtype=object)
        return detector
