"""HI-VAE, of incomplete tables with mixed columns: Nazabal et al. 2018, arXiv:1807.03653."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops

from keras_ae import likelihoods
from keras_ae.core import arguments
from keras_ae.core.adaptation import Moments
from keras_ae.core.examples import map_leaves
from keras_ae.core.types import Data, Tensor
from keras_ae.datasets.columns import fill_cells, is_frame
from keras_ae.distributions import DiagonalGaussian, LabeledCodes
from keras_ae.layers import gaussian_kl
from keras_ae.models.tabular.base import TableVAE

if TYPE_CHECKING:
    import pandas as pd


class HIVAE(TableVAE):
    """A VAE of tables in which every column has a likelihood of its own and cells may be missing.

    The prior of z is a mixture of Gaussians, and the component s is a part of the code. The decoder
    turns z into a vector y for each column, and a linear layer of each column turns its y and s
    into the parameters of its likelihood: see `keras_ae.likelihoods.Columns`. The bound, eq. 9,
    counts the cells that are present. It is a sum over all components, exact in s, where the paper
    draws s by the Gumbel-softmax.

    `impute` fills in missing cells, and `sample` draws rows without missing ones. A code is z, then
    s as a vector of which one number is 1, and `encode` returns the most probable s with the mean
    of its z.

    Args:
        latent_dim: Number of dimensions of z. Defaults to 10.
        num_components: Number of components s, a positive integer. Defaults to 10.
        column_dim: Number of dimensions of y for each column. Defaults to 5.
        columns, encoder, decoder, kl_weight, free_bits, network_options, seed: See `TableVAE`. With
            an array instead of a DataFrame, and without columns, all columns are numeric. A decoder
            of your own turns z into (columns * column_dim) numbers.

    Example:

    >>> import numpy as np
    >>> import pandas as pd
    >>> from keras_ae import HIVAE
    >>> rng = np.random.default_rng(0)
    >>> city = rng.choice(["Bern", "Oslo", None], 200)
    >>> table = pd.DataFrame({"age": rng.normal(40, 9, 200), "city": city})
    >>> model = HIVAE(latent_dim=2, num_components=3, seed=0)
    >>> model.compile("adam")
    >>> history = model.fit(table, epochs=1, verbose=0)
    >>> int(model.impute(table)["city"].isna().sum())
    0
    """

    _needs_data = True

    def __init__(
        self,
        latent_dim: int = 10,
        num_components: int = 10,
        column_dim: int = 5,
        columns: list[dict[str, Any]] | None = None,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, columns, **kwargs)
        self.num_components = arguments.integer(self, "num_components", num_components)
        self.column_dim = arguments.integer(self, "column_dim", column_dim)

    # ------------------------------------------------------------------ the parts

    @property
    def code_shape(self) -> tuple[int, ...]:
        return (self.latent_dim + self.num_components,)

    def _code_width(self):
        return self.num_components * (1 + 2 * self.latent_dim)

    def _encoder_input_shape(self, shape):
        return (sum(map(_count_features, self._columns_of(shape))),)

    def _decoder_shape(self, target_shape):
        return (target_shape[0] * self.column_dim,)

    def _build_networks(self, shape, target_shape):
        self._layers.remove(self.likelihood)  # Keras goes on tracking replaced layers.
        self.likelihood = likelihoods.Columns(
            [{"name": str(n), **c} for n, c in enumerate(self._columns_of(shape))]
        )
        columns, width = len(self.likelihood.columns), self.column_dim + self.num_components
        sizes = self.likelihood.sizes()
        # All columns' layers are computed at once, and the rows of columns with few parameters are
        # cut off.
        self._used = np.flatnonzero(np.arange(max(sizes)) < np.array(sizes)[:, None])
        self._heads = self.add_weight(
            shape=(columns, width, max(sizes)),
            initializer="glorot_uniform",
            dtype="float32",
            name="heads",
        )
        self._biases = self.add_weight(
            shape=(columns, max(sizes)), initializer="zeros", dtype="float32", name="biases"
        )
        self._prior_means = self.add_weight(
            shape=(self.num_components, self.latent_dim),
            initializer="glorot_uniform",
            dtype="float32",
            name="prior_means",
        )
        options = {"trainable": False, "dtype": "float32", "aggregation": "only_first_replica"}
        self._units = [
            self.add_weight(shape=shape, initializer=kind, name=name, **options)
            for name, kind in (("centers", "zeros"), ("scales", "ones"))
        ]
        super()._build_networks(shape, target_shape)

    def _adapt(self, passes):
        """Learn the center and the scale of every column of numbers, or of their logarithms."""
        kinds = [column["kind"] for column in self.likelihood.columns]
        moments = Moments()
        for x, _ in passes:
            moments.update(_transform(x.astype("float64"), kinds))
        is_number = np.isin(kinds, _NUMBERS)
        self._units[0].assign(np.where(is_number, moments.mean, 0.0))
        self._units[1].assign(np.where(is_number, moments.find_deviation(), 1.0))

    def _check_numbers(self, name, numbers, column):
        if column["kind"] == "positive":
            wrong, wanted = numbers[numbers <= 0], "numbers above 0"
        elif column["kind"] == "count":
            wrong = numbers[(numbers < 0) | (numbers != np.floor(numbers))]
            wanted = "integers of at least 0"
        else:
            return
        if len(wrong):
            raise ValueError(
                f"{name}: column {column['name']!r} is of the kind {column['kind']!r}, which are "
                f"{wanted}, but holds {wrong[0]:g}. Replace it, or make it missing."
            )

    # ------------------------------------------------------------------ the distributions

    def _describe_cells(self, x):
        """Compute what the encoder reads of rows, which is 0 where a cell is missing."""
        center, scale = (ops.convert_to_tensor(unit) for unit in self._units)
        parts = []
        for number, column in enumerate(self.likelihood.columns):
            cell = x[:, number : number + 1]
            missing = ops.isnan(cell)
            if column["kind"] in _NUMBERS:
                filled = ops.where(missing, 1.0, cell)
                if column["kind"] == "positive":
                    filled = ops.log(ops.maximum(filled, 1e-30))
                if column["kind"] == "count":
                    filled = ops.log1p(filled)
                found = ops.clip((filled - center[number]) / scale[number], -10.0, 10.0)
            else:
                places = np.arange(len(column["categories"]), dtype="float32")
                compare = ops.greater_equal if column["kind"] == "ordinal" else ops.equal
                found = ops.cast(compare(cell, places), "float32")
            parts.append(ops.where(missing, 0.0, found))
        return ops.concatenate(parts, axis=-1)

    def posterior(self, x: Tensor, training: bool = False) -> LabeledCodes:
        """Make q(s | x) q(z | x, s), a `keras_ae.distributions.LabeledCodes`.

        Args:
            x: Tensor of shape (batch, columns).
            training: Whether layers such as dropout are active. Defaults to False.
        """
        features = self.encoder(self._describe_cells(x), training=training)
        parameters = ops.cast(self.features_to_code(features, training=training), "float32")
        logits, gaussians = (
            parameters[:, : self.num_components],
            parameters[:, self.num_components :],
        )
        gaussians = ops.reshape(gaussians, (-1, self.num_components, 2, self.latent_dim))
        log_variances = ops.clip(gaussians[:, :, 1], -15.0, 15.0)
        return LabeledCodes(ops.log_softmax(logits, axis=-1), gaussians[:, :, 0], log_variances)

    def prior(self, like: Tensor) -> LabeledCodes:
        """Make p(s) p(z | s), with equal probabilities of s, for codes like a given tensor."""
        rows = ops.cast(like, "float32")[:, :1]
        uniform = ops.zeros((1, self.num_components)) - math.log(self.num_components)
        means = ops.convert_to_tensor(self._prior_means)[None] + 0.0 * rows[..., None]
        return LabeledCodes(uniform + 0.0 * rows, means, ops.zeros_like(means))

    def conditional(self, z: Tensor, training: bool = False) -> Any:
        """Make p(x | z, s), the distribution of the rows of a table given their codes.

        Args:
            z: Tensor of shape (batch, latent_dim + num_components).
            training: Whether layers such as dropout are active. Defaults to False.
        """
        z = ops.cast(z, "float32")
        z, component = z[:, : self.latent_dim], z[:, self.latent_dim :]
        y = ops.cast(self.decoder(z, training=training), "float32")
        y = ops.reshape(y, (-1, self._data_shape[0], self.column_dim))
        component = component[:, None] + ops.zeros_like(y[..., :1])
        read = ops.concatenate([y, component], axis=-1)
        found = ops.einsum("bcy,cyp->bcp", read, self._heads) + self._biases
        found = ops.reshape(found, (-1, math.prod(found.shape[1:])))
        units = [ops.convert_to_tensor(unit) for unit in self._units]
        return self.likelihood.distribution(ops.take(found, self._used, axis=1), units)

    def _draw_prior(self, num_samples, seed):
        return self.prior(ops.zeros((num_samples, 1))).sample(seed)

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        q = self.posterior(x, training)
        z = DiagonalGaussian(q.means, q.log_variances).sample(self.step_seed(training))
        components = ops.eye(self.num_components)[None] + ops.zeros_like(z[..., :1])
        codes = ops.concatenate([z, components], axis=-1)  # (batch, components, code)
        codes = ops.reshape(codes, (-1, *self.code_shape))
        targets = map_leaves(lambda v: ops.repeat(v, self.num_components, axis=0), y)
        log_likelihood = self.conditional(codes, training).log_prob(targets)
        log_likelihood = ops.reshape(log_likelihood, (-1, self.num_components))
        shares = ops.exp(q.log_probabilities)
        prior = self.prior(q.log_probabilities)
        of_z = gaussian_kl(
            DiagonalGaussian(q.means, q.log_variances),
            DiagonalGaussian(prior.means, prior.log_variances),
        )
        of_z = ops.sum(shares[..., None] * of_z, axis=1)
        of_s = shares * (q.log_probabilities + math.log(self.num_components))
        divergence = ops.concatenate([of_z, ops.sum(of_s, axis=1, keepdims=True)], axis=1)
        return self._bound_terms(ops.sum(shares * log_likelihood, axis=1), divergence)

    def impute(self, x: Data, **options: Any) -> "pd.DataFrame | np.ndarray":
        """Fill in missing cells by the most probable component, section 4 of the paper.

        A number becomes the mean of its likelihood, and a category the most likely one.

        Args:
            x: DataFrame or array of shape (rows, columns).
            **options: `batch_size` and `verbose`: see `keras_ae.Autoencoder.encode`.

        Returns:
            DataFrame or float32 array like x.
        """
        found = self.reconstruct(x, **options)
        if is_frame(x) and is_frame(found):
            return fill_cells(x, found)
        if is_frame(x):  # The model was fitted to an array.
            return x.where(x.notna(), found)
        return np.where(np.isnan(x), found, x)


_NUMBERS = ("numeric", "positive", "count")


def _count_features(column):
    return 1 if column["kind"] in _NUMBERS else len(column["categories"])


def _transform(x, kinds):
    """Return rows with the logarithms of positive numbers and of counts plus 1."""
    x = x.copy()
    for number, kind in enumerate(kinds):
        if kind == "positive":
            x[:, number] = np.log(np.maximum(x[:, number], 1e-30))
        if kind == "count":
            x[:, number] = np.log1p(x[:, number])
    return x
