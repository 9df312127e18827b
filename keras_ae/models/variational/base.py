"""The base class of models with a posterior, a prior, a likelihood, and importance sampling."""

import math
from typing import Any

import keras
from keras import ops

from keras_ae import likelihoods, networks, samplers
from keras_ae.autoencoder import Autoencoder
from keras_ae.core import adaptation, arguments, examples, ranges
from keras_ae.core.batching import batched
from keras_ae.core.draws import GivenNumbers, draw_normal
from keras_ae.core.examples import call, takes_inputs_of
from keras_ae.core.seeds import RunSeed
from keras_ae.core.types import Array, ArrayOrTensor, Data, Network, Tensor, Verbose
from keras_ae.distributions import DiagonalGaussian, Rescaled, WithoutPadding
from keras_ae.layers import gaussian
from keras_ae.saving import export


class VariationalAE(Autoencoder):
    """Base class of models whose encoder returns a distribution of codes for every example.

    Args:
        latent_dim, encoder, decoder, network_options, seed: See `keras_ae.Autoencoder`.
        likelihood: Name of a likelihood, or an object of `keras_ae.likelihoods`. Defaults to
            "bernoulli".
    """

    _code_parameters = 2

    def __init__(
        self,
        latent_dim: int | None = None,
        encoder: Network | None = None,
        decoder: Network | None = None,
        likelihood: str | likelihoods.Likelihood = "bernoulli",
        network_options: dict[str, Any] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, encoder, decoder, network_options, seed, **kwargs)
        self.sampler = samplers.Prior(self._draw_prior)
        self.likelihood = likelihoods.get(likelihood)
        self._support = self.likelihood.support
        self._takes_sparse = ranges.are_counts(self._support)
        self._takes_classes = self.likelihood.takes_classes
        self._outputs_are_data = self.likelihood.wanted_output is None

    def _build_networks(self, shape, target_shape):
        super()._build_networks(shape, target_shape)
        self._build_likelihood(target_shape)

    def _build_likelihood(self, target_shape):
        self.likelihood.build(target_shape)

    _trains_likelihood = True  # Subclasses that never minimize -log p(x | z) set this to False.

    def _check_given(self):
        super()._check_given()
        name = self._likelihood_name()
        decoder, shape = self.arguments.get("decoder"), self._decoder_input_shape()
        check_likelihood(self, self.likelihood, name, self._target_shape, decoder, shape)
        sees_targets = type(self.likelihood).log_prob is not likelihoods.Likelihood.log_prob
        if sees_targets and self._leaves_out_padding():
            raise ValueError(
                f"{type(self).__name__}: {name} fits itself to all steps of a batch, padding "
                f"included, and mask_value={self._mask_value!r} was set. Use keras_ae.VAE with "
                "likelihood='gaussian_learned_scale'."
            )
        if self.likelihood.trainable_variables and not self._trains_likelihood:
            weights = ", ".join(v.name for v in self.likelihood.trainable_variables)
            raise ValueError(
                f"{type(self).__name__}: {name} has weights ({weights}) that nothing trains, "
                "because this model does not minimize the likelihood of the data. Pass a fixed "
                "scale, such as keras_ae.likelihoods.Gaussian(0.1)."
            )

    def _likelihood_name(self):
        given = self.arguments.get("likelihood", self.likelihood)
        return f"likelihood={given!r}" if isinstance(given, str) else type(given).__name__

    def _decoder_shape(self, target_shape):
        return self.likelihood.parameter_shape(target_shape)

    def posterior(self, x: Tensor, training: bool = False) -> DiagonalGaussian:
        """Make q(z | x), a `keras_ae.distributions.DiagonalGaussian` of shape (batch, latent_dim).

        Args:
            x: Tensor of shape (batch, ...).
            training: Whether layers such as dropout are active. Defaults to False.
        """
        features = self.encoder(x, training=training)
        parameters = self.features_to_code(features, training=training)
        return gaussian(parameters)

    def prior(self, like: Tensor) -> DiagonalGaussian:
        """Make p(z), a standard normal distribution with the shape of a tensor of codes."""
        return DiagonalGaussian.standard(like)

    def conditional(self, z: Tensor, training: bool = False) -> Any:
        """Make p(x | z), the distribution of data of shape (batch, ...) given its codes.

        Args:
            z: Tensor of shape (batch, latent_dim).
            training: Whether layers such as dropout are active. Defaults to False.
        """
        return self._condition(self.decoder(z, training=training), training)

    def _leaves_out_padding(self):
        """Whether the likelihood counts only the steps that are not padding."""
        return self._mask_value is not None and len(self._target_shape) > 1

    def _condition(self, parameters, training=False):
        """Make p(x | z) from the parameters of the likelihood, shape (batch, ...)."""
        if not self._leaves_out_padding():
            p = self.likelihood.condition(parameters, training)
            return Rescaled(p, adaptation.log_volume(self)) if self.standardize else p
        return WithoutPadding(self.likelihood.distribution, parameters, self._mask_value)

    @batched("data")
    @takes_inputs_of("posterior")
    def encode(
        self,
        x: Data,
        training: bool = False,
        sample: bool = False,
        seed: int | None = None,
        **inputs: Any,
    ) -> ArrayOrTensor:
        """Compute the posterior's mean of every example, or draw from the posterior.

        Args:
            x: Array or tensor of shape (batch, ...), or a stream of them as in `fit`.
            training: Whether layers such as dropout are active. Defaults to False.
            sample: Whether to draw instead of taking the mean. Defaults to False.
            seed: Integer that makes the draw repeatable. Defaults to None, a new draw in each call.
            **inputs: The model's named inputs, one row for each example.

        Returns:
            Array or tensor of shape (batch, latent_dim), float32.
        """
        q = call(self, self.posterior, x, training, inputs=inputs)
        return q.sample(seed) if sample else q.mean

    @batched("code")
    @takes_inputs_of("conditional")
    def decode(
        self,
        z: Array | Tensor,
        training: bool = False,
        sample: bool = False,
        seed: int | None = None,
        **inputs: Any,
    ) -> ArrayOrTensor:
        """Compute the mean of p(x | z) for every code, or draw from p(x | z).

        Args:
            z: Array or tensor of shape (batch, latent_dim).
            training: Whether layers such as dropout are active. Defaults to False.
            sample: Whether to draw instead of taking the mean. Defaults to False.
            seed: Integer that makes the draw repeatable. Defaults to None, a new draw in each call.
            **inputs: The model's named inputs, one row for each code.

        Returns:
            Array or tensor of shape (batch, ...), float32.
        """
        p = call(self, self.conditional, z, training, inputs=inputs)
        return p.sample(seed) if sample else p.mean

    @takes_inputs_of("prior")
    def _draw_prior(self, num_samples, seed, **inputs):
        """Draw codes from p(z): a tensor of shape (num_samples, latent_dim).

        Args:
            num_samples: Integer, or scalar tensor.
            seed: `keras.random.SeedGenerator`.
            **inputs: Tensors of the named inputs that `prior` takes.
        """
        shape = (num_samples, self.latent_dim)
        if type(self).prior is VariationalAE.prior:
            # This shortcut saves a seventh of the time of `sample`.
            return draw_normal(shape, seed)
        return call(self, self.prior, ops.zeros(shape), inputs=inputs).sample(seed)

    def _noise_widths(self):
        """Return how many normal and uniform numbers one draw from p(x | z) takes."""
        counted = GivenNumbers(rows=3)
        z = ops.zeros((3, *self.code_shape))
        inputs = {
            name: ops.zeros((3, *shape), examples.dtype_of(self, name))
            for name, shape in self._extra_shapes.items()
        }
        call(self, self.conditional, z, inputs=inputs).sample(counted)
        return [counted.widths.get(kind, 0) for kind in ("normal_noise", "uniform_noise")]

    def _decode_draws(self, draws, **options):
        # Codes without random numbers are decoded to their mean.
        has_numbers = self._draws_data and draws.shape[-1] > self.code_shape[0]
        return (self._draw_data if has_numbers else self.decode)(draws, **options)

    @batched("draws", "sample")
    @takes_inputs_of("conditional")
    def _draw_data(self, draws, **inputs):
        """Draw from p(x | z) of every row, a code and the random numbers for a draw."""
        normal, _ = self._noise_widths()
        width = self.code_shape[0]
        z, noise = draws[:, :width], draws[:, width:]
        numbers = {"normal_noise": noise[:, :normal], "uniform_noise": noise[:, normal:]}
        p = call(self, self.conditional, z, inputs=inputs)
        return p.sample(GivenNumbers(ops.shape(draws)[0], numbers))

    @takes_inputs_of("conditional", "prior")
    def _importance_terms(self, q, y, num_samples, seed, training=False, **inputs):
        """Compute the two parts of log(p(y, z) / q(z | x)) for several draws z per example.

        Args:
            q: Posterior of the inputs.
            y: Targets, shape (batch, ...).
            num_samples: Number of draws for each example.
            seed: `keras.random.SeedGenerator`.
            training: Whether weights are being updated. Defaults to False.
            **inputs: Tensors of the named inputs, one row for each target.

        Returns:
            log p(y | z) and log q(z | x) - log p(z), each of shape (batch, num_samples). The first
            minus the second is the logarithm of the importance weight.
        """
        z, log_posterior = q.repeat(num_samples).sample_with_log_prob(seed)

        def repeat(values):  # (batch * num_samples, ...)
            return examples.map_leaves(lambda v: ops.repeat(v, num_samples, axis=0), values)

        targets, inputs = repeat(y), repeat(inputs)
        p = call(self, self.conditional, z, training, inputs=inputs)
        prior = call(self, self.prior, z, inputs=inputs)
        log_likelihood, divergence = p.log_prob(targets), log_posterior - prior.log_prob(z)
        return tuple(ops.reshape(v, (-1, num_samples)) for v in (log_likelihood, divergence))

    @takes_inputs_of("posterior", "conditional", "prior")
    def log_likelihood(
        self,
        x: Data,
        y: Data = None,
        num_samples: int = 1000,
        seed: int | None = None,
        *,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
        **inputs: Any,
    ) -> ArrayOrTensor:
        """Estimate log p(x) of every example, in nats, by importance sampling from the posterior.

        The expected estimate is a lower bound of log p(x). It approaches log p(x) as num_samples
        grows (arXiv:1509.00519, theorem 1). An example beyond the range in which the likelihood is
        defined is encoded as it is, and scored as the nearest one in this range.

        Args:
            x: Array or tensor of shape (batch, ...), or a stream of them as in `fit`.
            y: Targets, if the model learned from pairs of inputs and targets. Defaults to None: the
                targets are x.
            num_samples: Number of importance samples for each example. Defaults to 1,000.
            seed: Integer that makes the estimate repeatable. Defaults to None, a new draw in each
                call.
            batch_size: Number of examples in a batch: see `sample`.
            verbose: 0, 1 or "auto" (a progress bar after two seconds). Defaults to "auto".
            **inputs: The model's named inputs, one row for each example.

        Returns:
            Array or tensor of shape (batch,), float32.

        Raises:
            ValueError: If num_samples is not a positive integer.
        """
        num_samples = arguments.integer("log_likelihood", "num_samples", num_samples)
        draws_at_once = _find_largest_divisor(
            num_samples, _choose_samples_at_once(x, num_samples, batch_size)
        )
        if num_samples // draws_at_once > RunSeed.TURNS:
            raise ValueError(
                f"log_likelihood: num_samples={num_samples} would repeat noise and take hours in "
                f"one call. Pass a multiple of 8 of at most {8 * RunSeed.TURNS}, and average the "
                "likelihoods of several calls with different seeds."
            )
        options = {"batch_size": batch_size, "verbose": verbose}
        return self._importance_estimate(
            x, y, num_samples, draws_at_once, seed, **options, **inputs
        )

    @batched("data", "log_likelihood")
    @takes_inputs_of("posterior", "conditional", "prior")
    def _importance_estimate(self, x, y, num_samples, draws_at_once, seed, **inputs):
        q = call(self, self.posterior, x, inputs=inputs)
        return self._average_weights(
            q, x if y is None else y, num_samples, draws_at_once, seed, **inputs
        )

    @takes_inputs_of("conditional", "prior")
    def _average_weights(self, q, y, num_samples, draws_at_once, seed, **inputs):
        """Compute the logarithm of the mean importance weight of every target, shape (batch,).

        Args:
            q, y: See `_importance_terms`.
            num_samples: Number of samples for each example.
            draws_at_once: Number of samples in each turn of a loop, a divisor of num_samples.
            seed: `keras.random.SeedGenerator`.
            **inputs: Tensors of the named inputs, one row for each target.
        """
        if not isinstance(seed, RunSeed):
            # Only a RunSeed can give each turn of the loop a seed of its own.
            seed = RunSeed(seed.next())

        y = examples.clip_to_support(self, y)

        # The loop takes a few samples at a time, because a thousand copies of a batch would not fit
        # in memory.
        def turn(number, total):
            log_likelihood, divergence = self._importance_terms(
                q, y, draws_at_once, seed.at(number), **inputs
            )
            return ops.logaddexp(total, ops.logsumexp(log_likelihood - divergence, axis=-1))

        first = examples.leaves(y)[0]
        first_values = ops.reshape(first, (-1, math.prod(first.shape[1:])))[:, 0]
        start = ops.full_like(ops.cast(first_values, "float32"), -math.inf)
        total = ops.fori_loop(0, num_samples // draws_at_once, turn, start)
        return total - math.log(num_samples)

    _SERVED_SAMPLES = 100  # The exported endpoint draws this many importance samples.

    def _endpoints(self):
        if self._target_shape != self._data_shape:
            return super()._endpoints()

        def log_likelihood(x, seed, **inputs):
            return self.log_likelihood(x, num_samples=self._SERVED_SAMPLES, seed=seed, **inputs)

        shapes = {**export.shapes_of_x(self), "seed": ()}
        shapes |= export.shapes_of_inputs(self, self.log_likelihood)
        endpoint = (export.gather_x(self, log_likelihood), shapes)
        return {**super()._endpoints(), "log_likelihood": endpoint}


def check_likelihood(model, likelihood, name, shape, decoder, decoder_shape):
    """Raise if a likelihood does not fit the data, or what a decoder that was given returns.

    Args:
        model: The model.
        likelihood: The likelihood.
        name: What errors call it.
        shape: Shape of its data.
        decoder: The constructor's argument, which may be a network.
        decoder_shape: Shape of what the decoder takes.
    """
    if likelihood.takes_classes and shape[-1] == 1:
        raise ValueError(
            f"{type(model).__name__}: {name} needs two or more classes, but data of shape {shape} "
            "has one class. Make labels one-hot with keras.utils.to_categorical, or choose "
            '"bernoulli" for a binary value.'
        )
    if isinstance(decoder, keras.layers.Layer):
        networks.check_output(model, decoder, decoder_shape, likelihood.wanted_output, name)


def _choose_samples_at_once(x, num_samples, batch_size):
    """Choose how many samples per example the decoder may read at once.

    For a large batch this is one, because several copies would not fit in the processor's cache.
    """
    examples = [*(getattr(x, "shape", None) or ()), None][0]
    # The number of examples is unknown for symbolic tensors and datasets. If num_samples is very
    # large, single samples would take more turns of the loop than there are seeds.
    if not isinstance(examples, int) or num_samples > RunSeed.TURNS:
        return 8
    if arguments.is_integer(batch_size):
        examples = min(examples, batch_size)
    return 8 if examples <= 256 else 1


def _find_largest_divisor(number, limit):
    return next(d for d in range(min(limit, number), 0, -1) if number % d == 0)
