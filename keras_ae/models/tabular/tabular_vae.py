"""A VAE of tables, from TVAE: Xu et al. 2019, Modeling Tabular Data, arXiv:1907.00503."""

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from keras import ops
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import BayesianGaussianMixture

from keras_ae import distributions, samplers
from keras_ae.core import arguments
from keras_ae.core.draws import decode_draws
from keras_ae.core.seeds import RunSeed
from keras_ae.core.types import Tensor, Verbose, Weight
from keras_ae.datasets import decode_columns, encode_columns
from keras_ae.datasets.columns import DISCRETE
from keras_ae.distributions import Coded, Columns, Modes, PartlyMissing
from keras_ae.models.tabular.base import TableVAE, require_columns

if TYPE_CHECKING:
    import pandas as pd

MODES = 10  # Most modes of a numeric column, as in the paper.
_CANDIDATES = 4096  # Codes that are drawn from the prior at a time, of which a few are chosen.
_MOST_ROUNDS = 32
_ROWS = 10_000  # Modes are found in so many rows, because their number hardly changes them.
_NEVER = -1e9  # The logarithm of the probability of what a column does not have.
# A mode has at least this deviation, in deviations of its column, because the density of numbers
# that are all equal would be infinite.
_LEAST_SCALE = 1e-3
# The noise has at least this deviation, in units of four times that of its mode. The paper's code
# has the same limit.
_LEAST_NOISE = 0.01


class TabularVAE(TableVAE):
    """A VAE of tables with numeric, discrete and missing cells, after TVAE (section 4.4).

    `fit` takes a DataFrame, and `reconstruct` and `sample` return DataFrames with its names, types
    and categories. Rows that `sample` draws have missing cells as often as the table, and
    `reconstruct` fills in every cell. A numeric column is a mixture of the modes that
    scikit-learn's `BayesianGaussianMixture` finds in it (section 4.2): the decoder returns the
    weights of the modes and how far the number lies from their centers. Unlike TVAE, which draws
    the mode of every number, the likelihood is that of the mixture, so that its sum with the
    divergence is a bound of the data's log-density. Whether a cell is missing is modeled, too, in
    columns that have missing cells.

    The kinds "positive" and "count" are numeric here, and "ordinal" is discrete: see
    `keras_ae.datasets.describe_columns`. `decode` returns expected numbers and the most likely
    categories; `sample` draws them, within the range seen in training.

    Args:
        latent_dim: Number of dimensions of the code. Defaults to 16.
        columns, encoder, decoder, free_bits, network_options, seed: See `TableVAE`.
        kl_weight: See `keras_ae.VAE`. Defaults to 0.5, because the paper's code weights the
            reconstruction by 2. With 1, the loss is the negative bound.

    Example:

    >>> import numpy as np
    >>> import pandas as pd
    >>> from keras_ae import TabularVAE
    >>> rng = np.random.default_rng(0)
    >>> city = rng.choice(["Bern", "Oslo", "Rome"], 200)
    >>> table = pd.DataFrame({"age": rng.integers(18, 80, 200), "city": city})
    >>> model = TabularVAE(latent_dim=2, seed=0)
    >>> model.compile("adam")
    >>> history = model.fit(table, epochs=1, verbose=0)
    >>> new = model.sample(5, seed=0, conditions={"city": "Oslo"})
    >>> new.shape, set(new["city"]), str(new["age"].dtype)
    ((5, 2), {'Oslo'}, 'int64')
    """

    _needs_data = True

    def __init__(
        self,
        latent_dim: int = 16,
        columns: list[dict[str, Any]] | None = None,
        kl_weight: Weight = 0.5,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, columns, kl_weight=kl_weight, **kwargs)

    # ------------------------------------------------------------------ the parts

    def _build_networks(self, shape, target_shape):
        self._find_places(shape)
        shape_of_modes = (len(self._numeric), MODES)
        self._mode_means = self._make_state("mode_means", shape_of_modes, "zeros")
        self._mode_scales = self._make_state("mode_scales", shape_of_modes, "ones")
        self._mode_weights = self._make_state("mode_log_weights", shape_of_modes, "zeros")
        self._bounds = self._make_state("bounds", (2, len(self._numeric)), "zeros")
        self._has_missing = self._make_state("has_missing", shape, "zeros")
        if self._numeric:  # Optimizers warn of a weight that is not used.
            self._noise = self.add_weight(
                shape=(len(self._numeric), 1), initializer="zeros", dtype="float32", name="noise"
            )
        super()._build_networks(shape, target_shape)

    def _make_state(self, name, shape, initializer):
        options = {"trainable": False, "dtype": "float32", "aggregation": "only_first_replica"}
        return self.add_weight(shape=shape, initializer=initializer, name=name, **options)

    def _find_places(self, shape):
        """Find which columns are numeric and discrete, and where the decoder returns their parts.

        The decoder's output begins with a logit of every column, whether the cell is missing. Then
        come, for each numeric column, the logits of its modes and the place within them, and then
        the logits of the categories of each discrete column.
        """
        kinds = self._columns_of(shape)
        self._numeric = tuple(n for n, c in enumerate(kinds) if c["kind"] not in DISCRETE)
        self._discrete = tuple(n for n, c in enumerate(kinds) if c["kind"] in DISCRETE)
        self._sizes = tuple(len(kinds[n]["categories"]) for n in self._discrete)
        self._first_category = len(kinds) + len(self._numeric) * (MODES + 1)

    def _encoder_input_shape(self, shape):
        self._find_places(shape)
        return (shape[0] + len(self._numeric) * (MODES + 2) + sum(self._sizes),)

    def _decoder_shape(self, target_shape):
        self._find_places(target_shape)
        return (self._first_category + sum(self._sizes),)

    def _adapt(self, passes):
        """Find the modes of every numeric column, and which columns have missing cells."""
        rows, share, has_missing = [], 1.0, 0
        low, high = (np.full(self._data_shape, end, "float32") for end in (np.inf, -np.inf))
        generator = np.random.default_rng(0)
        for x, _ in passes:
            has_missing = np.maximum(has_missing, np.isnan(x).any(axis=0))
            # Unlike `min`, `fmin` leaves out missing cells.
            low = np.minimum(low, np.fmin.reduce(x, axis=0, initial=np.inf))
            high = np.maximum(high, np.fmax.reduce(x, axis=0, initial=-np.inf))
            # Every row of the table is kept with the same probability, however late it comes.
            rows.append(x[generator.random(len(x)) < share])
            if sum(map(len, rows)) > 2 * _ROWS:
                rows = [part[generator.random(len(part)) < 0.5] for part in rows]
                share *= 0.5
        table = np.concatenate(rows)
        self._has_missing.assign(has_missing.astype("float32"))
        if self._numeric:
            found = [_find_modes(table[:, number]) for number in self._numeric]
            means, scales, weights = (np.stack(parts) for parts in zip(*found, strict=True))
            self._mode_means.assign(means)
            self._mode_scales.assign(scales)
            self._mode_weights.assign(weights)
            bounds = np.stack([low, high])[:, self._numeric]
            self._bounds.assign(np.where(np.isfinite(bounds), bounds, 0.0))

    # ------------------------------------------------------------------ the distributions

    def _modes(self):
        """Return the means, scales and log-weights of the modes, tensors (columns, modes)."""
        weights = (self._mode_means, self._mode_scales, self._mode_weights)
        return [ops.convert_to_tensor(weight) for weight in weights]

    def posterior(self, x: Tensor, training: bool = False) -> distributions.DiagonalGaussian:
        return super().posterior(self._describe_cells(x), training)

    def _describe_cells(self, x):
        """Compute what the encoder reads of rows: a tensor (batch, features)."""
        missing = ops.cast(ops.isnan(x), "float32")
        parts = [missing]
        if self._numeric:
            values = ops.take(x, np.array(self._numeric, "int32"), axis=1)
            means, scales, log_weights = self._modes()
            present = ops.cast(~ops.isnan(values), "float32")
            weights = ops.exp(log_weights)
            mean = ops.sum(weights * means, axis=1)
            squares = ops.square(scales) + ops.square(means)
            variance = ops.sum(weights * squares, axis=1) - ops.square(mean)
            values = ops.where(ops.isnan(values), mean, values)
            distance = (values[..., None] - means) / scales
            # A symbolic tensor must come first, because TensorFlow's tensors do not know it.
            logits = -0.5 * ops.square(distance) + (log_weights - ops.log(scales))
            shares = ops.softmax(logits, axis=-1)
            place = ops.sum(shares * ops.clip(0.25 * distance, -1.0, 1.0), axis=-1)
            scaled = (values - mean) * ops.rsqrt(ops.maximum(variance, 1e-12))
            shares = ops.reshape(shares * present[..., None], (-1, len(self._numeric) * MODES))
            # Numbers far beyond the training data would drive the encoder anywhere.
            parts += [shares, place * present, ops.clip(scaled, -10.0, 10.0) * present]
        for number, size in zip(self._discrete, self._sizes, strict=True):
            # A missing cell is NaN, which equals no category.
            parts.append(ops.cast(ops.equal(x[:, number : number + 1], np.arange(size)), "float32"))
        return ops.concatenate(parts, axis=-1)

    def conditional(self, z: Tensor, training: bool = False) -> Any:
        """Make p(x | z), the distribution of the rows of a table given their codes.

        Args:
            z: Tensor of shape (batch, latent_dim).
            training: Whether layers such as dropout are active. Defaults to False.
        """
        outputs = ops.cast(self.decoder(z, training=training), "float32")
        count, numeric = self._data_shape[0], len(self._numeric)
        parts = []
        if numeric:
            own = outputs[:, count : self._first_category]
            means, scales, log_weights = self._modes()
            own = ops.reshape(own, (-1, numeric, MODES + 1))
            weights = ops.log_softmax(own[..., :MODES] + log_weights, axis=-1)
            # The paper's code limits the number to four deviations around its mode, and so the
            # noise that is left.
            place = 4.0 * ops.tanh(own[..., MODES:]) * scales
            noise = ops.sigmoid(ops.convert_to_tensor(self._noise) - 1.0)
            noise = 4.0 * (_LEAST_NOISE + (1.0 - _LEAST_NOISE) * noise) * scales
            # The limits of what was seen keep ages and prices that are drawn from being negative.
            bounds = ops.convert_to_tensor(self._bounds)
            modes = Modes(weights, place + means, noise, bounds[0], bounds[1])
            parts.append((self._numeric, modes))
        if self._discrete:
            parts.append((self._discrete, Coded(self._log_probabilities(outputs))))
        may_miss = ops.convert_to_tensor(self._has_missing)
        return PartlyMissing(Columns(parts), outputs[:, :count], may_miss)

    def _log_probabilities(self, outputs):
        """Return the log-probabilities of all categories: (batch, columns, most categories)."""
        most, first, found = max(self._sizes), self._first_category, []
        for size in self._sizes:
            logits = ops.log_softmax(outputs[:, first : first + size], axis=-1)
            found.append(ops.pad(logits, ((0, 0), (0, most - size)), constant_values=_NEVER))
            first += size
        return ops.stack(found, axis=1)

    # ------------------------------------------------------------------ new rows

    def sample(
        self,
        num_samples: int,
        seed: int | None = None,
        conditions: dict[str, Any] | None = None,
        *,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
    ) -> "pd.DataFrame | np.ndarray":
        """Draw new rows, all of them or those with given cells.

        With conditions, codes are drawn from p(z | cells) by sampling importance resampling: of
        many codes from the prior, those are chosen under which the cells are likely.

        Args:
            num_samples, seed, batch_size, verbose: See `keras_ae.Autoencoder.sample`.
            conditions: Dictionary of the name of a column -> its value, or a list, array or
                `pandas.Series` of num_samples values. Defaults to None.

        Returns:
            DataFrame, or float32 array of shape (num_samples, columns) if the columns have no
            names.

        Raises:
            TypeError: If conditions is no dictionary.
            ValueError: If a condition names no column or no category, or no code makes it likely.

        Example: see the class.
        """
        options = {"batch_size": batch_size, "verbose": verbose}
        if not (conditions is None or isinstance(conditions, dict)):
            raise TypeError(
                f"sample: conditions={arguments.show(conditions)} must be a dictionary of the name "
                "of a column -> its value."
            )
        if not conditions:
            return super().sample(num_samples, seed, **options)
        require_columns(self, "sample")
        num_samples = arguments.integer("sample", "num_samples", num_samples)
        given = self._encode_conditions(conditions, num_samples)
        generator = np.random.default_rng(None if seed is None else abs(int(seed)))
        found = np.empty_like(given)
        known = ~np.isnan(given)
        groups, group_of = np.unique(np.nan_to_num(given), axis=0, return_inverse=True)
        for number in range(len(groups)):
            members = np.flatnonzero(group_of.ravel() == number)
            codes = self._find_codes(given[members[0]], len(members), generator)
            noise = RunSeed(generator.integers(2**31, size=2))
            drawn = decode_draws(self, codes, noise, **options)
            found[members] = np.where(known[members], given[members], drawn)
        return decode_columns(found, self.columns)

    def _encode_conditions(self, conditions, num_samples):
        """Return rows that hold the given cells, and NaN elsewhere: (num_samples, columns)."""
        import pandas as pd

        places = {column["name"]: n for n, column in enumerate(self.columns)}
        rows = np.full((num_samples, len(places)), np.nan, "float32")
        for name, values in conditions.items():
            if name not in places:
                hint = arguments.did_you_mean(name, list(places))
                raise ValueError(f"sample: conditions names {name!r}, which is no column.{hint}")
            values = list(values) if pd.api.types.is_list_like(values) else [values]
            if len(values) not in (1, num_samples):
                raise ValueError(
                    f"sample: conditions[{name!r}] has {len(values)} values. Pass one, or "
                    f"num_samples={num_samples}."
                )
            column = self.columns[places[name]]
            cells = encode_columns(pd.DataFrame({name: pd.Series(values)}), [column])
            if np.isnan(cells).any():
                raise ValueError(
                    f"sample: conditions[{name!r}] has missing values. Pass values, or leave it "
                    "out."
                )
            self._check_condition(places[name], values)
            rows[:, places[name]] = cells[:, 0]
        return rows

    def _check_condition(self, place, values):
        """Raise if a column cannot have given numbers, or they are far from those of training."""
        column = self.columns[place]
        if place not in self._numeric:
            return
        values = np.asarray(values, "float64")
        if column["integer"] and np.any(values % 1):
            raise ValueError(
                f"sample: conditions[{column['name']!r}] holds {values[values % 1 > 0][0]:g}, but "
                "the column holds integers. Round it."
            )
        low, high = ops.convert_to_numpy(self._bounds)[:, list(self._numeric).index(place)]
        far = (values < low - (high - low)) | (values > high + (high - low))
        if np.any(far):
            raise ValueError(
                f"sample: conditions[{column['name']!r}] holds {values[far][0]:g}, far from the "
                f"numbers of training, which run from {low:g} to {high:g}. Pass values like them."
            )

    def _find_codes(self, row, number, generator):
        """Draw codes from p(z | the cells of a row that are not NaN): (number, latent_dim)."""
        codes, log_weights = [], []
        for _ in range(_MOST_ROUNDS):
            seed = RunSeed(generator.integers(2**31, size=2))
            codes.append(samplers.draw(self, _CANDIDATES, seed)[0])
            rows = np.broadcast_to(row, (_CANDIDATES, len(row)))
            p = self.conditional(ops.convert_to_tensor(codes[-1]))
            cells = ops.convert_to_numpy(p.log_prob_per_element(ops.convert_to_tensor(rows)))
            # That a given cell is not missing counts, too. The other cells may be missing or not.
            log_weights.append(cells[:, ~np.isnan(row)].sum(axis=1))
            weights = np.concatenate(log_weights).astype("float64")
            if not np.isfinite(weights.max()):
                raise ValueError(
                    "sample: conditions has cells so far from all that the model has seen that "
                    "their density is 0. Pass values like those of training."
                )
            weights = np.exp(weights - weights.max())
            if weights.sum() ** 2 / np.square(weights).sum() > number:
                break
        chosen = generator.choice(len(weights), number, p=weights / weights.sum())
        return np.concatenate(codes)[chosen]


def _find_modes(values):
    """Find the modes of a column of numbers, some of which may be NaN.

    Returns:
        The means, deviations and log-weights of `MODES` modes, arrays of this length.
    """
    values = values[~np.isnan(values)].astype("float64")
    if not len(values):
        values = np.zeros(1)
    center, spread = values.mean(), values.std()
    spread = spread if spread > 0 else 1.0
    scaled = ((values - center) / spread)[:, None]
    count = min(MODES, len(np.unique(scaled)))
    means, scales, weights = np.zeros(MODES), np.ones(MODES), np.full(MODES, _NEVER)
    if len(values) > 1 and count > 1:
        # The paper's code chooses this prior, under which superfluous modes get weights near 0.
        mixture = BayesianGaussianMixture(
            n_components=count,
            weight_concentration_prior_type="dirichlet_process",
            weight_concentration_prior=0.001,
            random_state=0,
        )
        with warnings.catch_warnings():
            # Modes that are still moving a little are good enough.
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(scaled)
        is_used = mixture.weights_ > 0.005
        means[:count] = mixture.means_[:, 0]
        scales[:count] = np.sqrt(mixture.covariances_[:, 0, 0])
        weights[:count] = np.where(is_used, np.log(np.maximum(mixture.weights_, 1e-9)), _NEVER)
        weights -= np.log(np.exp(weights).sum())
    else:
        means[0], weights[0] = scaled.mean(), 0.0
    scales = np.maximum(scales, _LEAST_SCALE)
    return center + spread * means, spread * scales, weights
