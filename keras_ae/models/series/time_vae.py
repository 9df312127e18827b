"""TimeVAE, a VAE for the generation of time series: Desai et al. 2021, arXiv:2111.08095."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae import distributions, likelihoods, networks
from keras_ae.core import adaptation, arguments, memory
from keras_ae.core.batching import batched
from keras_ae.core.types import ArrayOrTensor, Data, Tensor, Verbose
from keras_ae.models.series.base import choose_batch_size, refuse_units_of_steps
from keras_ae.models.variational.vae import VAE
from keras_ae.networks.sequences import steps_shape

# Higher powers of t / T differ by less than float32 and noise let a network tell.
_MOST_DEGREE = 100
# Floating-point numbers hold every whole number up to this one.
_LONGEST_SEASON = 2**53


class TimeVAE(VAE):
    """A VAE of series whose decoder adds up a trend, seasonal patterns and a residual.

    With t = 0, 1, ... for the steps and T for their number, the mean of a feature is the sum of

    - the trend, a polynomial of t / T, whose coefficients are computed from the code;
    - for each pair (m, n) of `seasonalities` the value of the season that step t belongs to. There
      are m seasons of n steps each, step t belongs to the season floor(t / n) mod m, and the code
      determines the m values. With hourly data, (24, 1) has a value for each hour, and (7, 24) one
      for each day of the week;
    - the residual, which a network of transposed convolutions computes from the code.

    The constant of the polynomial is also the mean of the seasons and of the residual, so that only
    the sum of the three determines the level of a series. `components` returns the parts. The
    encoder is convolutional.

    The paper minimizes the divergence plus the squared error times a factor from 0.5 to 3.5. This
    is a Gaussian likelihood whose variance is 1 over twice that factor:
    `keras_ae.likelihoods.Gaussian(scale)`. By default, the scale is learned here.

    Args:
        latent_dim: Dimensions of the code. Defaults to 16.
        trend_degree: Degree of the polynomial, an integer from 0 to 100. Defaults to 2. With None
            there is no trend.
        seasonalities: Tuple of pairs (number of seasons, steps in a season). Defaults to (), no
            seasons.
        residual: Whether there is a residual. Defaults to True.
        likelihood: The name of a likelihood whose mean is what the decoder returns, or such an
            object of `keras_ae.likelihoods`: "gaussian", "laplace" or "student_t", and their
            variants with a scale. Defaults to "gaussian_learned_scale".
        network_options: Dictionary of options of the `"conv"` networks of `keras_ae.networks`, such
            as `{"filters": (50, 100)}`. Defaults to None.
        kl_weight, free_bits, seed, standardize: See `keras_ae.VAE`. Data of shape (steps,) counts
            as steps with one feature.

    Raises:
        ValueError: If an argument is out of range, no part is left, or the data is not a series.

    Example:

    >>> import numpy as np
    >>> from keras_ae import TimeVAE
    >>> model = TimeVAE(latent_dim=2, trend_degree=1, seasonalities=((4, 1),), seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).normal(size=(32, 12, 1)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> list(model.components(x)), model.forecast(x, num_steps=5).shape
    (['trend', 'seasonality', 'residual'], (32, 5, 1))
    """

    explorer_views = {"Components": "components"}
    _without = ("encoder", "decoder")

    def __init__(
        self,
        latent_dim: int = 16,
        trend_degree: int | None = 2,
        seasonalities: Sequence[tuple[int, int]] = (),
        residual: bool = True,
        likelihood: str | likelihoods.Likelihood = "gaussian_learned_scale",
        **kwargs: Any,
    ):
        super().__init__(latent_dim, likelihood=likelihood, **kwargs)
        self.trend_degree = trend_degree
        if trend_degree is not None:
            options = {"least": 0, "most": _MOST_DEGREE}
            self.trend_degree = arguments.integer(self, "trend_degree", trend_degree, **options)
        self.seasonalities = _check_seasonalities(self, seasonalities)
        self.residual = arguments.flag(self, "residual", residual)
        arguments.fix(self, "trend_degree", "seasonalities", "residual")
        if self.trend_degree is None and not self.seasonalities and not residual:
            raise ValueError(
                "TimeVAE: trend_degree=None, seasonalities=() and residual=False leave nothing to "
                "decode. Choose at least one of the three."
            )
        kinds = (likelihoods.Gaussian, likelihoods.OptimalGaussian)
        if not isinstance(self.likelihood, kinds) or self._support is not None:
            raise arguments.refusal(
                self,
                "likelihood",
                likelihood,
                "a likelihood of real numbers whose mean the decoder returns",
                'Such likelihoods are "gaussian", "laplace" and "student_t".',
            )

    def _build_networks(self, shape, target_shape):
        self._steps, self._target_steps = (steps_shape(self, s) for s in (shape, target_shape))
        self.encoder = "conv"
        self.decoder = _SumOfBlocks(self)
        super()._build_networks(shape, target_shape)

    def _encoder_input_shape(self, shape):
        return self._steps

    def _decoder_shape(self, target_shape):
        return self._target_steps

    def posterior(self, x: Tensor, training: bool = False) -> distributions.DiagonalGaussian:
        return super().posterior(ops.reshape(x, (-1, *self._steps)), training)

    def conditional(self, z: Tensor, training: bool = False) -> Any:
        mean = ops.cast(self.decoder(z, training=training), "float32")
        return self._condition(ops.reshape(mean, (-1, *self._target_shape)), training)

    # ------------------------------------------------------------------ the parts

    def components(
        self, x: Data, *, batch_size: int | None = None, verbose: Verbose = "auto"
    ) -> dict[str, ArrayOrTensor]:
        """Compute the parts that add up to the reconstruction of each series.

        With `standardize=True`, the mean of the data that the model subtracts belongs to the first
        part, which is the trend if there is one.

        Args:
            x: Array or tensor of shape (batch, steps, features), or a stream of them as in `fit`.
            batch_size: Number of series in a batch. Defaults to a number that fits in memory.
            verbose: 0, 1 or "auto" (a progress bar after two seconds). Defaults to "auto".

        Returns:
            Dictionary with those of the keys "trend", "seasonality" and "residual" that the model
            has. Each value is an array or tensor of the target's shape, float32, in its units.
        """
        parts = self._parts(x, None, batch_size=batch_size, verbose=verbose)
        return {name: parts[:, number] for number, name in enumerate(self._part_names())}

    def forecast(
        self, x: Data, num_steps: int, *, batch_size: int | None = None, verbose: Verbose = "auto"
    ) -> ArrayOrTensor:
        """Extend the trend and the seasons of each series beyond its last step.

        The residual is defined on the steps of the data alone, and is left out. The data must
        contain every season that the forecast reaches.

        Args:
            x: Array or tensor of shape (batch, steps, features), or a stream of them as in `fit`.
            num_steps: Number of steps that follow, a positive integer.
            batch_size, verbose: See `components`.

        Returns:
            Array or tensor of shape (batch, num_steps, features), float32, without the last axis if
            the data has none. It holds the expected values for the mean of the code.

        Raises:
            ValueError: If num_steps is no positive integer, or is too large for float32 or the
                memory, if the model has only a residual, or if a season was never seen.
        """
        num_steps = arguments.integer("forecast", "num_steps", num_steps)
        refuse_units_of_steps(self, "forecast")
        if self.trend_degree is None and not self.seasonalities:
            raise ValueError(
                "forecast: this TimeVAE has only a residual, which is not defined beyond the last "
                "step. Make it with trend_degree= or seasonalities=."
            )
        batch_size = choose_batch_size(batch_size, -(-num_steps // 1024))
        parts = self._parts(x, num_steps, batch_size=batch_size, verbose=verbose)
        return parts.sum(axis=1) if isinstance(parts, np.ndarray) else ops.sum(parts, axis=1)

    def _part_names(self):
        parts = {
            "trend": self.trend_degree is not None,
            "seasonality": bool(self.seasonalities),
            "residual": self.residual,
        }
        return [name for name, has_part in parts.items() if has_part]

    @batched("data", "components")
    def _parts(self, x, num_steps):
        """Compute the parts of a batch in the data's units, (batch, parts, steps, ...).

        Args:
            x: Tensor of shape (batch, ...).
            num_steps: Number of steps after the last one, or None for the steps of the data.
        """
        parts = self.decoder.parts(self.posterior(x).mean, num_steps)
        shape = (*parts[0].shape[1:2], *self._target_shape[1:])
        parts = [ops.reshape(part, (-1, *shape)) for part in parts]
        if self.standardize:
            # All parts get the deviation, and the first one also gets the mean.
            start = adaptation.restore(self, ops.zeros_like(parts[0]))
            parts = [adaptation.restore(self, part) - start for part in parts]
            parts[0] = parts[0] + start
        return ops.stack(parts, axis=1)


def _check_seasonalities(model, value):
    """Return the pairs as a tuple of tuples, once they are known to be pairs of integers."""
    example = "((24, 1), (7, 24))"
    pairs = value if isinstance(value, (tuple, list)) else None
    for pair in pairs or ():
        listed = isinstance(pair, (tuple, list)) and len(pair) == 2
        counts = listed and all(arguments.is_integer(n) and n > 0 for n in pair)
        if not counts or pair[0] < 2 or pair[1] > _LONGEST_SEASON:
            pairs = None
            break
    if pairs is None:
        wanted = "a tuple of pairs (number of seasons, of which there are 2 or more, and steps in a"
        wanted += " season, of which there are at most 2**53)"
        raise arguments.refusal(model, "seasonalities", value, wanted, f"An example is {example}.")
    return tuple(tuple(map(int, pair)) for pair in pairs)


class _SumOfBlocks(memory.GuardedLayer):
    """The decoder: blocks that compute the parts of a series from its code."""

    def __init__(self, model):
        super().__init__(name="decoder", dtype=model.dtype_policy)
        self.steps, self.features = model._target_steps
        self.degree, self.seasonalities = model.trend_degree, model.seasonalities
        options, width = model.network_options, model.latent_dim
        self.trend = self.residual = None
        if self.degree is not None:
            size = self.features * (self.degree + 1)
            layers = [self._dense(size, "trend_1", "relu"), self._dense(size, "trend_2")]
            self.trend = keras.Sequential([keras.Input((width,)), *layers], name="trend")
        self.seasons = []
        for number, (count, _) in enumerate(self.seasonalities, start=1):
            self.seasons.append(self._dense(self.features * count, f"seasons_{number}"))
            self.seasons[-1].build((None, width))
        if model.residual:
            shape = (self.steps, self.features)
            self.residual = networks.decoder(
                width, shape, "conv", "residual", dtype=model.dtype_policy, **options
            )

    def _dense(self, size, name, activation=None):
        return keras.layers.Dense(size, activation, dtype=self.dtype_policy, name=name)

    def build(self, z_shape):
        self.built = True

    def call(self, z, training=False):
        """Compute the sum of the parts, (batch, steps, features)."""
        return sum(self.parts(z, training=training))

    def parts(self, z, num_steps=None, training=False):
        """Compute the parts, tensors of shape (batch, steps, features).

        Args:
            z: Tensor of shape (batch, latent_dim).
            num_steps: Number of steps after the last one of the data, at which there is no
                residual. Defaults to None, the steps of the data.
            training: Whether layers such as dropout are active. Defaults to False.
        """
        if num_steps is None:
            places = np.arange(self.steps)
        else:
            self._refuse_far(num_steps)
            places = self.steps + np.arange(num_steps)
        parts = []
        if self.trend is not None:
            powers = (places[:, None] / self.steps) ** np.arange(self.degree + 1)
            coefficients = ops.cast(self.trend(z, training=training), "float32")
            coefficients = ops.reshape(coefficients, (-1, self.degree + 1, self.features))
            powers = ops.convert_to_tensor(powers.astype("float32"))
            parts.append(ops.einsum("tp,bpf->btf", powers, coefficients))
        if self.seasons:
            values = [
                self._repeat_seasons(layer(z), pair, places)
                for layer, pair in zip(self.seasons, self.seasonalities, strict=True)
            ]
            parts.append(sum(values))
        if self.residual is not None and num_steps is None:
            parts.append(ops.cast(self.residual(z, training=training), "float32"))
        return parts

    def _refuse_far(self, num_steps):
        """Raise if a forecast does not fit in float32 or in memory, or reaches unknown seasons."""
        degree = self.degree or 0
        if degree * math.log1p(num_steps / self.steps) > math.log(arguments.LARGEST):
            raise ValueError(
                f"forecast: num_steps={num_steps} is too far beyond the {self.steps} steps of the "
                f"data, because powers up to trend_degree={degree} overflow. Take fewer steps."
            )
        memory.refuse_beyond(
            16.0 * num_steps * (degree + 2 + self.features),
            f"forecast: num_steps={num_steps}",
            "Take fewer steps.",
        )
        # A season begins anew after a round of all seasons.
        for count, length in self.seasonalities:
            seen = -(-self.steps // length)
            if seen < count and self.steps + num_steps > seen * length:
                raise ValueError(
                    f"forecast: num_steps={num_steps} reaches seasons of {(count, length)} that "
                    f"the {self.steps} steps of the data do not, so that their values are not "
                    f"learned. Take at most {seen * length - self.steps} steps, or train on "
                    f"{count * length} steps."
                )

    def _repeat_seasons(self, values, pair, places):
        """Return the value of the season of each place, (batch, steps, features)."""
        count, length = pair
        values = ops.reshape(ops.cast(values, "float32"), (-1, count, self.features))
        return ops.take(values, places // length % count, axis=1)
