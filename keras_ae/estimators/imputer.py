"""Missing entries filled in, by the model of Mattei and Frellsen 2019, arXiv:1812.02633."""

import warnings
from typing import Any, Self

import keras
import numpy as np
from sklearn.base import TransformerMixin
from sklearn.utils.validation import FLOAT_DTYPES, _check_feature_names_in, check_is_fitted

from keras_ae.core import arguments
from keras_ae.core.types import Array
from keras_ae.estimators.base import AutoencoderEstimator


class AutoencoderImputer(TransformerMixin, AutoencoderEstimator):
    """Fills in what is NaN by its mean given the entries that are observed.

    The model learns the joint distribution of all columns from incomplete data. Entries are assumed
    to be missing at random: whether one is missing depends on observed ones only. A column without
    any observed entry is left out, with a warning, as by the imputers of scikit-learn.

    Args:
        model: "MissingDataIWAE", a model of this class, or of a subclass, that is not built.
            Defaults to "MissingDataIWAE".
        num_samples: Number of importance samples of an example, a positive integer. Defaults to
            1,000.
        sample_posterior: Whether to fill in a draw given the observed entries instead of their
            mean, for multiple imputation: each call of `transform` draws anew. Defaults to False.
        keep_empty_features: Whether columns without any observed entry are kept, filled with 0.
            Defaults to False.
        model_options, epochs, batch_size, learning_rate, validation_fraction, patience,
            standardize, random_state, verbose: See `keras_ae.estimators.AutoencoderEstimator`.

    Attributes:
        model_, history_, n_features_in_, feature_names_in_: See
            `keras_ae.estimators.AutoencoderEstimator`.

    Example:

    >>> import numpy as np
    >>> from keras_ae.estimators import AutoencoderImputer
    >>> x = np.random.default_rng(0).normal(size=(64, 8))
    >>> x[::2, 0] = np.nan
    >>> imputer = AutoencoderImputer(epochs=2, num_samples=20, random_state=0)
    >>> bool(np.isnan(imputer.fit_transform(x)).any())
    False
    """

    _takes_nan = True
    _kind = "MissingDataIWAE"

    def __init__(
        self,
        model: str | keras.Model = "MissingDataIWAE",
        *,
        num_samples: int = 1000,
        sample_posterior: bool = False,
        keep_empty_features: bool = False,
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
        self.num_samples = num_samples
        self.sample_posterior = sample_posterior
        self.keep_empty_features = keep_empty_features

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = False
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _check_table(self, X, reset=False):
        """Return X as an array of floats, in a copy that `transform` may fill in."""
        return self._check_data(X, reset, dtype=FLOAT_DTYPES, allow_nd=False, copy=True)

    def fit(self, X: Array, y: Array | None = None) -> Self:
        """Train the model.

        Args:
            X: Array or DataFrame of shape (examples, columns), in which NaN is missing.
            y: Ignored.

        Returns:
            self.
        """
        arguments.integer(self, "num_samples", self.num_samples)
        arguments.flag(self, "sample_posterior", self.sample_posterior)
        keeps_empty = arguments.flag(self, "keep_empty_features", self.keep_empty_features)
        X = self._check_table(X, reset=True)
        self._observed = ~np.isnan(X).all(axis=0)
        empty = _check_feature_names_in(self)[~self._observed]
        if len(empty) == X.shape[1]:
            raise ValueError(
                f"{type(self).__name__}: X has no observed entry. Pass data in which some are."
            )
        if len(empty) and not keeps_empty:
            warnings.warn(
                f"{type(self).__name__}: no entry of {', '.join(empty)} is observed, so that the "
                "result lacks them. Leave them out, or pass keep_empty_features=True to fill in 0.",
                stacklevel=2,
            )
        self._train(X[:, self._observed].astype("float32"))
        self._generator = np.random.RandomState(self._seed)
        return self

    def transform(self, X: Array) -> np.ndarray:
        """Fill in missing entries.

        Args:
            X: Array or DataFrame of shape (examples, columns), in which NaN is missing.

        Returns:
            Array of shape (examples, columns) without NaN, with the dtype of X if that is float32,
            and float64 otherwise. Observed entries are those of X.
        """
        X = self._check_table(X)
        table = X[:, self._observed]
        missing = np.isnan(table)
        rows = missing.any(axis=1)
        if rows.any():
            options = {"num_samples": self.num_samples, "seed": self._seed, "verbose": 0}
            if self.sample_posterior:
                options |= {"seed": int(self._generator.randint(2**31 - 1)), "multiple": 1}
            filled = self.model_.impute(table[rows].astype("float32"), **options)
            filled = filled[0] if self.sample_posterior else filled
            table[missing] = filled[missing[rows]]
        if not self.keep_empty_features:
            return table
        X[:, self._observed], X[:, ~self._observed] = table, 0.0
        return X

    def get_feature_names_out(self, input_features: Array | None = None) -> np.ndarray:
        """Return the names of the columns of what `transform` returns.

        Args:
            input_features: Names of the columns of X. Defaults to None: those that `fit` was given,
                or x0, x1 and so on.

        Returns:
            Array of strings.
        """
        check_is_fitted(self)
        names = _check_feature_names_in(self, input_features)
        return names if self.keep_empty_features else names[self._observed]
