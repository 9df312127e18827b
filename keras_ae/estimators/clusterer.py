"""Clusters of codes: any model as a clusterer of scikit-learn."""

from typing import Any, Self

import keras
import numpy as np
from sklearn.base import ClusterMixin
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture

from keras_ae.core import arguments
from keras_ae.core.types import Array
from keras_ae.estimators.base import AutoencoderEstimator


class AutoencoderClusterer(ClusterMixin, AutoencoderEstimator):
    """Clusters the codes of a model that is trained without knowing of clusters.

    Args:
        model: See `keras_ae.estimators.AutoencoderEstimator`.
        n_clusters: Number of clusters, a positive integer. Defaults to 8.
        method: "k_means", or "gaussian_mixture", whose clusters may differ in size and shape. Both
            are those of scikit-learn, with ten starts. Defaults to "k_means".
        model_options, epochs, batch_size, learning_rate, validation_fraction, patience,
            standardize, random_state, verbose: See `keras_ae.estimators.AutoencoderEstimator`.

    Attributes:
        labels_: The cluster of each example that `fit` was given: integers from 0.
        clusters_: The `sklearn.cluster.KMeans` or `sklearn.mixture.GaussianMixture` of the codes.
        model_, history_, n_features_in_, feature_names_in_: See
            `keras_ae.estimators.AutoencoderEstimator`.

    Example:

    >>> import numpy as np
    >>> from keras_ae.estimators import AutoencoderClusterer
    >>> x = np.random.default_rng(0).normal(size=(64, 8))
    >>> x[:32] += 5
    >>> clusters = AutoencoderClusterer("AE", n_clusters=2, epochs=2, random_state=0).fit(x)
    >>> clusters.labels_.shape, clusters.predict(x[:3]).shape
    ((64,), (3,))
    """

    def __init__(
        self,
        model: str | keras.Model = "VAE",
        n_clusters: int = 8,
        *,
        method: str = "k_means",
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
        self.n_clusters = n_clusters
        self.method = method

    def fit(self, X: Array, y: Array | None = None) -> Self:
        """Train the model, and find clusters of its codes.

        Args:
            X: Array or DataFrame of shape (examples, ...).
            y: Ignored.

        Returns:
            self.
        """
        count = arguments.integer(self, "n_clusters", self.n_clusters)
        method = arguments.choice(self, "method", self.method, ("k_means", "gaussian_mixture"))
        X = self._check_data(X, reset=True, ensure_min_samples=count)
        self._train(X)
        if self.model_._code_dtype != "float32":
            raise ValueError(
                f"AutoencoderClusterer: model={arguments.show(self.model)} has integer codes, "
                "whose differences mean nothing. Choose a model with continuous codes, such as "
                "'VAE'."
            )
        kind = {"k_means": KMeans, "gaussian_mixture": GaussianMixture}[method]
        codes = self._codes(X)
        self.clusters_ = kind(count, n_init=10, random_state=self._seed).fit(codes)
        self.labels_ = self.clusters_.predict(codes)
        return self

    def predict(self, X: Array) -> np.ndarray:
        """Find the cluster of every example: an array of integers of shape (examples,).

        Args:
            X: Array or DataFrame of shape (examples, ...).
        """
        X = self._check_data(X)
        return self.clusters_.predict(self._codes(X))

    def _codes(self, X):
        # Covariances of codes that hardly vary are too small for float32.
        return self._encode(X).astype("float64")
