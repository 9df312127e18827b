"""Deep generative modelling of incomplete data sets: Mattei and Frellsen 2019, arXiv:1812.02633."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae import distributions
from keras_ae.core import adaptation, arguments, examples, inputs
from keras_ae.core.batching import batched
from keras_ae.core.types import ArrayOrTensor, Data, Tensor, Verbose
from keras_ae.distributions import Observed
from keras_ae.likelihoods import Likelihood
from keras_ae.models.importance_weighted.iwae import IWAE

_DRAWS_AT_ONCE = 4096  # A batch has at most this many draws unless batch_size is given.


class MissingDataIWAE(IWAE):
    """An IWAE of data in which NaN is a missing entry. Its authors call it MIWAE.

    In this package `MIWAE` is the model of Rainforth et al., which came first. The bound, eq. 4, is
    that of the observed entries alone. The encoder sees the data, with 0 for missing entries, and
    which entries are observed. Entries are assumed to be missing at random: whether one is missing
    depends only on observed ones.

    `impute` fills in missing entries, and `log_likelihood` is that of the observed entries.
    `reconstruct` and `sample` return all entries. `evaluate` and `log_likelihood` of an example
    count nothing where everything is missing.

    Args:
        latent_dim: Dimensions of the code. Defaults to None, see `keras_ae.Autoencoder`.
        num_samples, estimator: See `keras_ae.IWAE`.
        encoder, decoder, kl_weight, network_options, seed, standardize: See `keras_ae.VAE`. An
            encoder of your own takes twice as many features: the data, then 1 for each feature
            that is observed and 0 for each that is missing. With `standardize=True`, missing
            entries count in no mean or deviation.
        likelihood: As of `keras_ae.VAE`, with one number of the decoder for each entry:
            `"bernoulli"`, `"continuous_bernoulli"`, `"gaussian"`, `"gaussian_learned_scale"`,
            `"laplace"` or such an object. Defaults to "bernoulli".

    Example:

    >>> import numpy as np
    >>> from keras_ae import MissingDataIWAE
    >>> model = MissingDataIWAE(latent_dim=2, likelihood="gaussian", seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    >>> x[::2, 0] = np.nan
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> model.impute(x, num_samples=20, seed=0).shape
    (64, 8)
    >>> model.impute(x, num_samples=20, multiple=3, seed=0).shape
    (3, 64, 8)
    """

    _allow_nan = True

    def _encoder_input_shape(self, shape):
        return (*shape[:-1], 2 * shape[-1])

    def _build_networks(self, shape, target_shape):
        name, who = self._likelihood_name(), type(self).__name__
        sees_targets = type(self.likelihood).log_prob is not Likelihood.log_prob
        each_entry = self.likelihood.parameter_shape(target_shape) == tuple(target_shape)
        if sees_targets or self._takes_classes or not each_entry:
            raise ValueError(
                f"{who}: {name} has no density of each entry alone, and entries may be missing. "
                'Choose "gaussian", "gaussian_learned_scale", "laplace" or "bernoulli".'
            )
        if self._mask_value is not None:
            raise ValueError(
                f"{who} takes no mask_value={self._mask_value!r}, because NaN is what is missing. "
                "Make the padded steps NaN."
            )
        super()._build_networks(shape, target_shape)
        self._check_entries(target_shape)

    def _check_entries(self, shape):
        """Raise unless the likelihood gives every entry a density alone, by equal functions."""
        draws = np.random.default_rng(0).random((2, 1, *shape)).astype("float32")
        values, parameters = map(ops.convert_to_tensor, draws)
        make = self.likelihood.distribution
        whole, product = (
            float(ops.convert_to_numpy(p.log_prob(values))[0])
            for p in (make(parameters), Observed(make, parameters))
        )
        if not math.isclose(whole, product, rel_tol=1e-3, abs_tol=1e-3):
            raise ValueError(
                f"{type(self).__name__}: by {self._likelihood_name()}, the log-density of an "
                f"example is {whole:g}, and the sum over its entries alone {product:g}. Where "
                "entries are missing, all need the same likelihood of one parameter each. With "
                "standardize=True, every feature has a scale of its own."
            )

    def posterior(self, x: Tensor, training: bool = False) -> distributions.DiagonalGaussian:
        missing = ops.isnan(x)
        filled = ops.where(missing, 0.0, x)
        observed = ops.where(missing, 0.0, ops.ones_like(x))
        return super().posterior(ops.concatenate([filled, observed], axis=-1), training)

    def conditional(self, z: Tensor, training: bool = False) -> Any:
        parameters = self.decoder(z, training=training)
        return Observed(self.likelihood.distribution, parameters, adaptation.log_scale(self))

    def impute(
        self,
        x: Data,
        num_samples: int = 1000,
        multiple: int | None = None,
        seed: int | None = None,
        *,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
    ) -> ArrayOrTensor:
        """Fill in missing entries, section 3 of the paper, and leave observed ones as they are.

        Args:
            x: Array or tensor of shape (batch, ...), in which NaN is missing, or a
                stream of them as in `fit`.
            num_samples: Number of importance samples of each example. Defaults to 1,000.
            multiple: None for the mean of a missing entry given the observed ones, which
                self-normalized importance weights estimate. A number for so many draws of the
                missing entries, by sampling importance resampling. Defaults to None.
            seed: Integer that makes the result repeatable. Defaults to None, a new draw in each
                call.
            batch_size: Number of examples in a batch. Defaults to as many as have 4,096 importance
                samples together.
            verbose: 0, 1 or "auto" (a progress bar after two seconds). Defaults to "auto".

        Returns:
            Array or tensor of shape (batch, ...), or (multiple, batch, ...), float32.

        Raises:
            ValueError: If num_samples or multiple is not a positive integer.
        """
        num_samples = arguments.integer("impute", "num_samples", num_samples)
        if multiple is not None:
            multiple = arguments.integer("impute", "multiple", multiple)
        if batch_size is None:
            batch_size = max(1, _DRAWS_AT_ONCE // num_samples)
        options = {"batch_size": batch_size, "verbose": verbose}
        library = ops if ops.is_tensor(x) else np
        if library is np:
            x = np.asarray(inputs.check_data(self, x), "float32")
        if self.built and self._target_shape != self._data_shape:
            raise ValueError(
                f"impute needs targets of the data's shape {self._data_shape}, and "
                f"this {type(self).__name__} has targets of shape {self._target_shape}. "
                "Call reconstruct."
            )
        found = self._impute(x, num_samples, multiple, seed, **options)
        if multiple is not None:
            found = library.moveaxis(found, 1, 0)
        if library is ops:
            x = ops.cast(x, "float32")
        return library.where(library.isnan(x), found, x)

    @batched("data", "impute", returns_data=True)
    def _impute(self, x, draws_at_once, multiple, seed):
        """Compute what `impute` fills in, for every entry, with the batch as the first axis."""
        z, log_posterior = self.posterior(x).repeat(draws_at_once).sample_with_log_prob(seed)
        p = self.conditional(z)
        targets = ops.repeat(examples.clip_to_support(self, x), draws_at_once, axis=0)
        log_likelihood = p.log_prob(targets)
        log_weights = log_likelihood + self.prior(z).log_prob(z) - log_posterior
        log_weights = ops.reshape(log_weights, (-1, draws_at_once))
        if multiple is None:
            means = ops.reshape(p.mean, (-1, draws_at_once, *self._target_shape))
            # Keras warns of a softmax over a single sample.
            shares = ops.exp(log_weights - ops.logsumexp(log_weights, axis=1, keepdims=True))
            shares = ops.reshape(shares, (-1, draws_at_once, *[1] * len(self._target_shape)))
            return ops.sum(shares * means, axis=1)
        chosen = keras.random.categorical(log_weights, multiple, seed=seed)  # (batch, multiple)
        first = draws_at_once * ops.arange(ops.shape(chosen)[0], dtype=chosen.dtype)
        return ops.take(p.sample(seed), chosen + first[:, None], axis=0)
