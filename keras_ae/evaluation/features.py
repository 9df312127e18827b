"""Features in which distances of samples are computed. Each has a `name` to print with figures."""

import hashlib
import os
import pathlib
import urllib.request

import keras
import numpy as np
from sklearn.decomposition import PCA

from keras_ae.core import arguments
from keras_ae.core.types import Array, Path
from keras_ae.evaluation.arrays import check_rows

_LARGEST = 32.0  # No model of digits in [0, 1] exceeds them by so much, but bytes do.
_DARKEST = -0.25  # The mean of pictures from -1 to 1, which are mostly black, is lower.
_AT_ONCE = 1000  # The classifier of digits takes so many pictures at a time.
_CONNECT_SECONDS = 10
_INCEPTION = "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"
_INCEPTION_FOLDER = "https://storage.googleapis.com/tensorflow/keras-applications/inception_v3/"


class DigitFeatures:
    """Features of a small classifier of 28x28 digits, which ships with the package.

    They are the 64 numbers from which the classifier computes its logits, after three convolutions
    and a dense layer. The classifier was trained on the training digits of MNIST by
    `benchmarks/digit_classifier.py`, and is right on 99.3 % of the test digits. NumPy computes it,
    so that the features are the same with every backend. Distances in these features say nothing
    about pictures of other things.

    Figures of two versions of the classifier cannot be compared. `name` therefore ends in the first
    twelve digits of the SHA-256 hash of the file with its weights, and belongs next to every
    figure.

    Attributes:
        name: "digits-" and the twelve digits.
        width: 64, the number of features.

    Example:

    >>> from keras_ae import datasets, evaluation
    >>> features = evaluation.DigitFeatures()
    >>> x = datasets.as_array("small_mnist", "test")[:500]
    >>> features(x).shape
    (500, 64)
    >>> evaluation.frechet_distance(features(x[:250]), features(1.0 - x[250:])) > 100
    True
    """

    width = 64

    def __init__(self):
        path = pathlib.Path(__file__).with_name("digit_classifier.npz")
        self.name = f"digits-{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
        with np.load(path) as file:
            weights = {name: file[name].astype("float32") for name in file.files}
        self._weights = [(weights[f"kernel_{i}"], weights[f"bias_{i}"]) for i in range(1, 6)]

    def __call__(self, x: Array) -> np.ndarray:
        """Compute the features of pictures.

        Args:
            x: Array of shape (examples, 28, 28, 1) or (examples, 28, 28) with values in [0, 1].
                Values beyond are clipped, because a model may exceed the range a little.

        Returns:
            Float32 array of shape (examples, 64).

        Raises:
            TypeError: If x does not hold numbers.
            ValueError: If x has another shape or range, or holds NaN or infinity.
        """
        rows = check_rows("DigitFeatures", "x", x)
        if np.shape(x)[1:] not in ((28, 28, 1), (28, 28)):
            raise ValueError(
                f"DigitFeatures: x has the shape {np.shape(x)}, but the classifier takes pictures "
                "of the shape (examples, 28, 28, 1). Use keras_ae.evaluation.DataFeatures for "
                "other data."
            )
        if rows.max() > _LARGEST:
            raise ValueError(
                f"DigitFeatures: x holds values up to {rows.max():g}, but black is 0 and white is "
                "1. Pass x / 255 for bytes."
            )
        if rows.mean() < _DARKEST:
            raise ValueError(
                f"DigitFeatures: x has the mean {rows.mean():.3g}, but black is 0 and white is 1. "
                "Pass (x + 1) / 2 for pictures from -1 to 1."
            )
        pictures = np.clip(rows, 0.0, 1.0).astype("float32").reshape(-1, 28, 28, 1)
        starts = range(0, len(pictures), _AT_ONCE)
        return np.concatenate([self._compute(pictures[i : i + _AT_ONCE]) for i in starts])

    def classify(self, x: Array) -> np.ndarray:
        """Return the digit that the classifier sees in every picture.

        Args:
            x: See `__call__`.

        Returns:
            Int64 array of shape (examples,) with values from 0 to 9.
        """
        kernel, bias = self._weights[4]
        return np.argmax(self(x) @ kernel + bias, axis=1)

    def _compute(self, x):
        for padding, (kernel, bias) in zip((2, 1, 1), self._weights, strict=False):
            x = _convolve(x, kernel, padding) + bias
            x = np.maximum(x, 0.0)
        kernel, bias = self._weights[3]
        x = x.reshape(len(x), -1) @ kernel + bias
        return np.maximum(x, 0.2 * x)


def _convolve(x, kernel, padding):
    """Convolve pictures with stride 2 after padding each side with zeros."""
    side = kernel.shape[0]
    padded = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(1, 2))
    # The windows have the shape (examples, height, width, channels, side, side).
    return np.tensordot(windows[:, ::2, ::2], kernel, axes=((4, 5, 3), (0, 1, 2)))


class InceptionFeatures:
    """Features of pictures of any size and kind: the pooling layer of Keras' InceptionV3.

    Pictures are resized to 299x299 pixels with bilinear interpolation and antialiasing, and gray
    ones get three equal channels. Keras downloads the weights, 88 MB, on first use. They were
    trained on ImageNet, and differ from those of the original FID. A Fréchet distance in these
    features can therefore be compared with others of this class, but not with FIDs in papers.

    Source: Szegedy et al., arXiv:1512.00567; the use for distances: Heusel et al.,
    arXiv:1706.08500.

    Args:
        weights: "imagenet", the path of a weights file that `keras.applications.InceptionV3` takes,
            or None for random weights, which are of use in tests only. Defaults to "imagenet".

    Attributes:
        name: "inception-" and twelve digits of the SHA-256 hash of the weights.
        width: 2,048, the number of features.

    Raises:
        FileNotFoundError: If the weights are not in Keras' folder and cannot be downloaded.

    Example:

        features = evaluation.InceptionFeatures()
        evaluation.frechet_distance(features(x), features(model.sample(len(x))))
    """

    width = 2048

    def __init__(self, weights: Path | None = "imagenet"):
        if weights == "imagenet":
            _check_reachable()
        self._network = keras.applications.InceptionV3(
            include_top=False, weights=weights, pooling="avg", input_shape=(299, 299, 3)
        )
        found = hashlib.sha256()
        for value in self._network.get_weights():
            found.update(np.ascontiguousarray(value).tobytes())
        self.name = f"inception-{found.hexdigest()[:12]}"

    def __call__(self, x: Array, batch_size: int = 32) -> np.ndarray:
        """Compute the features of pictures.

        Args:
            x: Array of shape (examples, height, width, 1 or 3) with values in [0, 1].
            batch_size: Number of pictures that are resized and computed at a time. Defaults to 32.

        Returns:
            Float32 array of shape (examples, 2048).

        Raises:
            TypeError: If x does not hold numbers.
            ValueError: If x has another shape, or values outside of [0, 1].
        """
        x = np.asarray(x)
        size = arguments.integer("InceptionFeatures", "batch_size", batch_size)
        rows = check_rows("InceptionFeatures", "x", x)
        if x.ndim != 4 or x.shape[-1] not in (1, 3):
            raise ValueError(
                f"InceptionFeatures: x has the shape {x.shape}, but pictures have the shape "
                "(examples, height, width, channels) with 1 or 3 channels. Pass x[..., None] for "
                "gray pictures without a channel axis."
            )
        if rows.min() < -0.01 or rows.max() > 1.01:
            raise ValueError(
                f"InceptionFeatures: x holds values from {rows.min():g} to {rows.max():g}, but "
                "black is 0 and white is 1. Pass x / 255 for bytes."
            )
        return np.concatenate([self._compute(x[i : i + size]) for i in range(0, len(x), size)])

    def _compute(self, x):
        pictures = np.broadcast_to(np.clip(x, 0.0, 1.0), (*x.shape[:-1], 3)).astype("float32")
        large = keras.ops.image.resize(
            pictures, (299, 299), "bilinear", antialias=True, data_format="channels_last"
        )
        return keras.ops.convert_to_numpy(self._network(2.0 * large - 1.0, training=False))


def _check_reachable():
    """Raise unless the weights of InceptionV3 are on this machine or can be downloaded.

    Keras raises a bare `Exception` if the download fails.
    """
    folder = pathlib.Path(os.environ.get("KERAS_HOME") or pathlib.Path.home() / ".keras")
    if (folder / "models" / _INCEPTION).exists():
        return
    try:
        urllib.request.urlopen(_INCEPTION_FOLDER + _INCEPTION, timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise FileNotFoundError(
            f"InceptionFeatures: weights='imagenet' are not in {folder / 'models'} and cannot be "
            f"downloaded from {_INCEPTION_FOLDER}: {error}. Copy {_INCEPTION} there, or pass its "
            "path as weights."
        ) from error


class DataFeatures:
    """Features for data of any kind: its numbers, or the principal components of these.

    Args:
        x: Array of shape (examples, ...), to which the components are fitted, such as the training
            data.
        dimensions: If examples have more numbers than this, the features are so many principal
            components. Otherwise they are the numbers themselves. Defaults to 64.
        seed: Integer that makes the components repeatable. Defaults to 0.

    Attributes:
        name: "identity", or "pca-" and the number of components.
        width: The number of features.

    Raises:
        TypeError, ValueError: If x does not hold numbers, or has fewer examples than components.

    Example:

    >>> import numpy as np
    >>> from keras_ae import evaluation
    >>> x = np.random.default_rng(0).normal(size=(200, 8, 8))
    >>> features = evaluation.DataFeatures(x, dimensions=10)
    >>> features.name, features(x).shape
    ('pca-10', (200, 10))
    """

    def __init__(self, x: Array, dimensions: int = 64, seed: int = 0):
        rows = check_rows("DataFeatures", "x", x)
        number = arguments.integer("DataFeatures", "dimensions", dimensions)
        if rows.shape[1] <= number:
            self.name, self.width, self._components = "identity", rows.shape[1], None
            return
        number = arguments.integer("DataFeatures", "dimensions", dimensions, most=len(rows))
        self._components = PCA(number, random_state=seed).fit(rows)
        self.name, self.width = f"pca-{number}", number

    def __call__(self, x: Array) -> np.ndarray:
        """Compute the features of examples.

        Args:
            x: Array of shape (examples, ...), of as many numbers each as those of the constructor.

        Returns:
            Float64 array of shape (examples, width).

        Raises:
            TypeError, ValueError: If x does not hold finite numbers, or has another width.
        """
        rows = check_rows("DataFeatures", "x", x)
        width = self.width if self._components is None else self._components.n_features_in_
        if rows.shape[1] != width:
            raise ValueError(
                f"DataFeatures: x has {rows.shape[1]} numbers for each example, but the features "
                f"were made from {width}. Pass data of the same shape."
            )
        return rows if self._components is None else self._components.transform(rows)
