"""The base class of models of tables, which read and return `pandas.DataFrame`s."""

import contextlib
import functools
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from keras_ae import likelihoods
from keras_ae.core import inputs, memory
from keras_ae.core.conversion import EMPTY
from keras_ae.core.types import Data, Function
from keras_ae.datasets import decode_columns, encode_columns
from keras_ae.datasets.columns import DISCRETE, check_columns, describe, is_frame
from keras_ae.models.variational.vae import VAE

if TYPE_CHECKING:
    import pandas as pd

_BYTES_OF_COLUMN = 1000.0  # A dictionary of five entries, and what other parts keep of it.


def reads_frames(method: Function, returns_data: bool = False) -> Function:
    """Let a method whose first argument is an array also take a `pandas.DataFrame`.

    Args:
        method: The method.
        returns_data: Whether it returns data, which then becomes a DataFrame like the argument.

    Returns:
        The method that takes both.
    """

    @functools.wraps(method)
    def run(self, x=None, *args, **kwargs):
        if not is_frame(x):
            return method(self, x, *args, **kwargs)
        with self._forgetting():
            found = method(self, self._encode_frame(x), *args, **kwargs)
        if not returns_data or self.columns is None:
            return found
        return decode_columns(found, self.columns).set_index(x.index)

    return run


class TableVAE(VAE):
    """Base class of variational autoencoders of tables.

    An example is one row with a number for each cell: that of its category if the column is
    discrete, and NaN if it is missing. DataFrames are turned into such rows, and back.

    Args:
        latent_dim: Number of dimensions of the code. Defaults to 16.
        columns: What `keras_ae.datasets.describe_columns` returns for the table, possibly with
            kinds that its types do not tell. Defaults to None: the first `fit` describes the
            columns of a DataFrame, and all columns of an array are numeric.
        encoder, decoder, kl_weight, free_bits, network_options, seed: See `keras_ae.VAE`. An
            encoder of your own reads what the model makes of a row, as many numbers as
            `encoder.input_shape` of the default one says.
    """

    _allow_nan = True
    _draws_data = True
    _scales_data = True
    _without = ("likelihood", "standardize")
    _kept = {"described": None}

    def __init__(
        self, latent_dim: int = 16, columns: list[dict[str, Any]] | None = None, **kwargs: Any
    ):
        # `conditional` of a subclass makes the distribution itself.
        super().__init__(latent_dim, likelihood=likelihoods.Likelihood(), **kwargs)
        self._outputs_are_data = False
        self._described = None
        self._given = None if columns is None else check_columns(type(self).__name__, columns)

    @property
    def columns(self) -> list[dict[str, Any]] | None:
        """The description of the columns, or None if they were never told or seen."""
        return self._described if self._given is None else self._given

    def _columns_of(self, shape):
        """Return the description of the columns of data of this shape."""
        if len(shape) != 1:
            raise ValueError(
                f"{type(self).__name__} models the rows of a table, of shape (rows, columns), and "
                f"x has examples of shape {shape}. Reshape them to (rows, {int(np.prod(shape))})."
            )
        if self.columns is None:
            what = f"{type(self).__name__}: the descriptions of {shape[0]} columns"
            memory.refuse_beyond(_BYTES_OF_COLUMN * shape[0], what, memory.SMALLER_MODEL)
            plain = {"kind": "numeric", "dtype": "float32", "integer": False}
            return [{**plain, "center": 0.0, "scale": 1.0} for _ in range(shape[0])]
        if len(self.columns) != shape[0]:
            raise ValueError(
                f"{type(self).__name__}: the data has {shape[0]} columns, and columns= describes "
                f"{len(self.columns)}."
            )
        return self.columns

    def _build_networks(self, shape, target_shape):
        if shape != target_shape:
            raise ValueError(
                f"{type(self).__name__}: targets have shape {target_shape}, but a model of tables "
                f"learns the columns of x, of shape {shape}. Call fit(x) without a target."
            )
        super()._build_networks(shape, target_shape)

    def _encode_frame(self, x):
        """Return a DataFrame as an array. Describe its columns if nothing is known of them.

        A model that was built for arrays reads the numbers of a DataFrame as every model does.
        """
        if self.columns is None and self.built:
            return x
        if 0 in x.shape:
            raise ValueError(EMPTY.format(name="x", shape=x.shape))
        columns = describe(x, {}, "x") if self.columns is None else self.columns
        array = encode_columns(x, columns)
        if self.columns is None:
            self._described = columns
        return array

    def _check_values(self, name, values, call):
        values = super()._check_values(name, values, call)
        for number, column in enumerate(self.columns or []):
            if values.ndim != 2 or number >= values.shape[1]:
                continue
            codes = values[:, number]
            codes = codes[~np.isnan(codes.astype("float32"))]
            if column["kind"] not in DISCRETE:
                self._check_numbers(name, codes, column)
                continue
            count = len(column["categories"])
            wrong = codes[(codes < 0) | (codes >= count) | (codes != np.floor(codes))]
            if len(wrong):
                raise ValueError(
                    f"{name}: column {number} ({column['name']!r}) holds {wrong[0]:g}, but the "
                    f"numbers of its categories are integers from 0 to {count - 1}. Pass a "
                    "DataFrame, or what keras_ae.datasets.encode_columns makes of it."
                )
        return values

    def _check_numbers(self, name, numbers, column):
        """Raise if the likelihood of a column has no density at some of its cells.

        Args:
            name: What errors call the data.
            numbers: Array of the cells that are present.
            column: Description of the column.
        """

    # ------------------------------------------------------------------ DataFrames in and out

    def fit(
        self, x: Data = None, *args: Any, validation_data: Data = None, **kwargs: Any
    ) -> keras.callbacks.History:
        """Train the model: see `keras_ae.Autoencoder.fit`.

        Args:
            x: DataFrame, or what `fit` of every model takes.
            validation_data: The same.
            *args, **kwargs: As of every model.

        Returns:
            `keras.callbacks.History`.
        """
        with self._forgetting():
            if is_frame(x):
                x = self._encode_frame(x)
            if is_frame(validation_data):
                validation_data = (validation_data,)
            given = validation_data if isinstance(validation_data, tuple) else ()
            if given and is_frame(given[0]):
                frame, *others = validation_data
                validation_data = (self._encode_frame(frame), *others)
            return super().fit(x, *args, validation_data=validation_data, **kwargs)

    @contextlib.contextmanager
    def _forgetting(self):
        """Forget the columns of a table with which a `with` block could not build the model."""
        try:
            yield
        finally:
            if not self.built:
                self._described = None

    train_on_batch = reads_frames(VAE.train_on_batch)
    test_on_batch = reads_frames(VAE.test_on_batch)
    adapt, evaluate = reads_frames(VAE.adapt), reads_frames(VAE.evaluate)
    encode, log_likelihood = reads_frames(VAE.encode), reads_frames(VAE.log_likelihood)
    predict = reads_frames(VAE.predict, returns_data=True)
    reconstruct = reads_frames(VAE.reconstruct, returns_data=True)

    def sample(
        self, num_samples: int, seed: int | None = None, **options: Any
    ) -> "pd.DataFrame | np.ndarray":
        """Draw new rows: a DataFrame if the columns are known, or else an array.

        Args:
            num_samples, seed, **options: See `keras_ae.Autoencoder.sample`.

        Returns:
            DataFrame, or float32 array of shape (num_samples, columns).
        """
        found = super().sample(num_samples, seed, **options)
        return found if self.columns is None else decode_columns(found, self.columns)


def require_columns(model, call):
    """Raise unless a model was built, and knows the names of its columns."""
    inputs.require_built(model, call)
    if model.columns is None:
        raise ValueError(
            f"{type(model).__name__}.{call} needs the names of columns, and this model was fitted "
            "to an array. Fit it to a DataFrame."
        )
