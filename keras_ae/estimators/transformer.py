"""Codes as features: any model as a step of a scikit-learn pipeline."""

import math
from typing import Self

import numpy as np
from keras import ops
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_array, check_is_fitted

from keras_ae.core import adaptation
from keras_ae.core.types import Array
from keras_ae.estimators.base import AutoencoderEstimator


class AutoencoderTransformer(
    ClassNamePrefixFeaturesOutMixin, TransformerMixin, AutoencoderEstimator
):
    """Replaces data by its codes, as PCA replaces it by principal components.

    `fit` trains the model, `transform` is its `encode`, and `inverse_transform` its `decode`.

    Args:
        model, model_options, epochs, batch_size, learning_rate, validation_fraction, patience,
            standardize, random_state, verbose: See `keras_ae.estimators.AutoencoderEstimator`.

    Attributes:
        model_, history_, n_features_in_, feature_names_in_: See
            `keras_ae.estimators.AutoencoderEstimator`.

    Example:

    >>> import numpy as np
    >>> from keras_ae.estimators import AutoencoderTransformer
    >>> x = np.random.default_rng(0).normal(size=(64, 8))
    >>> codes = AutoencoderTransformer("AE", epochs=2, random_state=0).fit(x)
    >>> codes.transform(x).shape, codes.inverse_transform(codes.transform(x)).shape
    ((64, 4), (64, 8))
    >>> list(codes.get_feature_names_out()[:2])
    ['autoencodertransformer0', 'autoencodertransformer1']
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def fit(self, X: Array, y: Array | None = None) -> Self:
        """Train the model.

        Args:
            X: Array or DataFrame of shape (examples, ...).
            y: Ignored.

        Returns:
            self.
        """
        self._train(self._check_data(X, reset=True))
        return self

    def transform(self, X: Array) -> np.ndarray:
        """Compute the code of every example.

        Args:
            X: Array or DataFrame of shape (examples, ...).

        Returns:
            Array of shape (examples, dimensions), float32, or int32 where codes are integers. Codes
            of several axes, such as those of `VQVAE`, are flattened.
        """
        return self._encode(self._check_data(X))

    def inverse_transform(self, Z: Array) -> np.ndarray:
        """Compute the data that each code represents, in the units of the data.

        Args:
            Z: Array of shape (examples, dimensions), as `transform` returns it.

        Returns:
            Array of shape (examples, ...), float32.
        """
        check_is_fitted(self)
        Z = check_array(Z, dtype=np.float32, input_name="Z")
        shape = self.model_.code_shape
        if Z.shape[1] != math.prod(shape):
            raise ValueError(
                f"inverse_transform: Z has {Z.shape[1]} columns, and codes have "
                f"{math.prod(shape)} dimensions. Pass what transform returned."
            )
        Z = Z.reshape(-1, *shape).astype(self.model_._code_dtype)
        return self._apply(self.model_.decode, Z)

    def score(self, X: Array, y: Array | None = None) -> float:
        """Compute minus the mean squared error of the reconstructions of X.

        It is that of standardized features if `standardize` is True, so that it does not depend on
        units. Every model has this score; `model_.log_likelihood` is another for variational ones.

        Args:
            X: Array or DataFrame of shape (examples, ...).
            y: Ignored.

        Returns:
            A float of at most 0.
        """
        X = self._check_data(X)
        both = X, self._apply(self.model_.reconstruct, X)
        x, copies = (ops.convert_to_numpy(adaptation.standardize(self.model_, v)) for v in both)
        return -float(np.mean(np.square(x.astype("float64") - copies)))

    @property
    def _n_features_out(self):
        return math.prod(self.model_.code_shape)
