"""Auto-Encoding Variational Bayes: Kingma and Welling 2013, arXiv:1312.6114."""

import math

import keras
from keras import ops

from keras_ae import likelihoods, networks, samplers
from keras_ae.autoencoder import Autoencoder
from keras_ae.core import arguments
from keras_ae.core.batching import batched
from keras_ae.core.seeds import RunSeed
from keras_ae.distributions import DiagonalGaussian, WithoutPadding


class VAE(Autoencoder):
    """Minimizes the negative evidence lower bound, eq. 3, with one reparameterized sample.

    `reconstruction_loss` + `kl_loss` is the bound in nats per example, whatever `kl_weight` is.

    Args:
        latent_dim: Dimensions of the code. Defaults to 16.
        encoder, decoder, network_options, seed: See `keras_ae.Autoencoder`. A decoder of your own
            returns the parameters of the likelihood: logits, without a sigmoid or softmax, for a
            Bernoulli or categorical likelihood, and means for a Gaussian. With the option
            `mask_value`, or with an encoder of your own that begins with a `keras.layers.Masking`,
            sequences may be padded. The steps whose features all equal that number are padding:
            they change neither the code nor the likelihood, and what is decoded at these steps has
            no meaning.
        likelihood: `"bernoulli"`, `"continuous_bernoulli"`, `"gaussian"`,
            `"gaussian_learned_scale"`, `"laplace"`, `"categorical"`, or an object of
            `keras_ae.likelihoods`. Defaults to "bernoulli".
        kl_weight: Factor of the KL divergence in training: a number of at least 0, or a schedule of
            the training step, such as `keras_ae.schedules.LinearWarmUp(5000)`. Defaults to 1.
        free_bits: Nats that each dimension of the code may carry, on average over the batch, before
            its divergence is penalized (arXiv:1606.04934, appendix C.8). Defaults to 0.

    Raises:
        ValueError: If an argument is out of range, or a name is unknown.

    Example:

    >>> import numpy as np
    >>> from keras_ae import VAE
    >>> model = VAE(latent_dim=2, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> model.sample(3, seed=0).shape, model.log_likelihood(x, num_samples=10, seed=0).shape
    ((3, 8), (64,))
    """

    objective = ("reconstruction_loss", "kl_loss")
    _code_parameters = 2

    def __init__(
        self,
        latent_dim=16,
        encoder=None,
        decoder=None,
        likelihood="bernoulli",
        kl_weight=1.0,
        free_bits=0.0,
        network_options=None,
        seed=None,
        **kwargs,
    ):
        super().__init__(latent_dim, encoder, decoder, network_options, seed, **kwargs)
        if free_bits:
            minimized = [*self.objective, *sum(self.players.values(), ())]
            if "kl_loss" not in minimized:
                raise ValueError(
                    f"{type(self).__name__}: free_bits={free_bits!r} has no effect, because this "
                    f"model minimizes {', '.join(minimized)}. Leave it out."
                )
            self._minimize_instead({"kl_loss": "free_bits_loss"})
        self.sampler = samplers.Prior(self._draw_prior)
        self.likelihood = likelihoods.get(likelihood)
        self._support = self.likelihood.support
        self._takes_classes = self.likelihood.takes_classes
        self.kl_weight = arguments.number_or_schedule(self, "kl_weight", kl_weight)
        self.free_bits = arguments.number(self, "free_bits", free_bits, fixed=not free_bits)

    def _minimize_instead(self, others):
        """Minimize other terms instead of those named, which stay in the logs."""

        def renamed(names):
            return tuple(others.get(name, name) for name in names)

        minimized = [*self.objective, *sum(self.players.values(), ())]
        self.objective = renamed(self.objective)
        self.players = {player: renamed(names) for player, names in self.players.items()}
        self.diagnostics = (*self.diagnostics, *(name for name in minimized if name in others))

    def build_networks(self, shape, target_shape):
        super().build_networks(shape, target_shape)
        self.likelihood.build()

    _trains_likelihood = True  # Subclasses set this to False if no minimized loss has log p(x | z).

    def _check_given(self):
        super()._check_given()
        name = self._likelihood_name()
        if self._takes_classes and self.target_shape[-1] == 1:
            raise ValueError(
                f"{type(self).__name__}: {name} of data of shape {self.target_shape} has one "
                "class, which is certain whatever the code is. Make labels one-hot with "
                'keras.utils.to_categorical, or choose "bernoulli" for a binary value.'
            )
        if self.likelihood.trainable_variables and not self._trains_likelihood:
            weights = ", ".join(v.name for v in self.likelihood.trainable_variables)
            raise ValueError(
                f"{type(self).__name__}: {name} has weights ({weights}) that nothing trains, "
                "because the likelihood of the data is no part of what this model minimizes. Set "
                "the scale, such as keras_ae.likelihoods.Gaussian(0.1)."
            )
        if isinstance(self.arguments["decoder"], keras.layers.Layer):
            networks.check_output(
                self, self.decoder, self.decoder_input_shape(), self.likelihood.wanted_output, name
            )

    def _likelihood_name(self):
        given = self.arguments["likelihood"]
        return f"likelihood={given!r}" if isinstance(given, str) else type(given).__name__

    def decoder_shape(self, target_shape):
        return self.likelihood.parameter_shape(target_shape)

    def posterior(self, x, training=False):
        """Make q(z | x): a `keras_ae.distributions.DiagonalGaussian` over (batch, latent_dim).

        Args:
            x: Tensor of shape (batch, ...).
            training: Whether layers such as dropout are active. Defaults to False.
        """
        features = self.encoder(x, training=training)
        parameters = self.features_to_code(features, training=training)
        return DiagonalGaussian(*ops.split(parameters, 2, axis=-1))

    def prior(self, like):
        """Make p(z), the standard normal, for codes of a given tensor's shape."""
        return DiagonalGaussian.standard(like)

    def conditional(self, z, training=False):
        """Make p(x | z), the likelihood's distribution over (batch, ...).

        Args:
            z: Tensor of shape (batch, latent_dim).
            training: Whether layers such as dropout are active. Defaults to False.
        """
        parameters = self.decoder(z, training=training)
        if self._mask_value is None or len(self.target_shape) < 2:
            return self.likelihood.distribution(parameters)
        return WithoutPadding(self.likelihood.distribution, parameters, self._mask_value)

    @batched("data")
    def encode(self, x, training=False, sample=False, seed=None):
        """Compute the posterior's mean of every example, or draw from the posterior.

        Args:
            x: Array or tensor of shape (batch, ...), or a `tf.data.Dataset` of such examples.
            training: Whether layers such as dropout are active. Defaults to False.
            sample: Whether to draw instead of taking the mean. Defaults to False.
            seed: Integer that makes the draw repeatable. Defaults to None, a new draw in each call.

        Returns:
            Array or tensor of shape (batch, latent_dim), float32.
        """
        q = self.posterior(x, training)
        return q.sample(seed) if sample else q.mean

    @batched("code")
    def decode(self, z, training=False, sample=False, seed=None):
        """Compute the mean of p(x | z) for every code, or draw from p(x | z).

        Args:
            z: Array or tensor of shape (batch, latent_dim).
            training: Whether layers such as dropout are active. Defaults to False.
            sample: Whether to draw instead of taking the mean. Defaults to False.
            seed: Integer that makes the draw repeatable. Defaults to None, a new draw in each call.

        Returns:
            Array or tensor of shape (batch, ...), float32.
        """
        p = self.conditional(z, training)
        return p.sample(seed) if sample else p.mean

    def _draw_prior(self, num_samples, seed):
        """Draw codes from p(z): a tensor of shape (num_samples, latent_dim).

        Args:
            num_samples: Integer, or scalar tensor.
            seed: `keras.random.SeedGenerator`.
        """
        return self.prior(ops.zeros((num_samples, self.latent_dim))).sample(seed)

    def _current_kl_weight(self):
        """The factor of the divergence at this step."""
        return arguments.value_at(self.kl_weight, self._step)

    def loss_weights(self):
        weight = self._current_kl_weight()
        return {"kl_loss": weight, "free_bits_loss": weight}

    def loss_terms(self, x, y, training):
        q = self.posterior(x, training)
        z = q.sample(self.step_seed(training))
        return self.elbo_terms(y, z, q.kl_per_dimension(), training)

    def elbo_terms(self, y, z, divergence, training):
        """Compute the two terms of the negative bound.

        Args:
            y: Targets, shape (batch, ...).
            z: Codes drawn from the posterior, shape (batch, latent_dim).
            divergence: KL(q(z | x) || p(z)) or an estimate of it, as parts that add up to it, such
                as one for each dimension of the code: shape (batch, parts). Free bits apply to each
                part.
            training: Whether weights are being updated.

        Returns:
            Dictionary of name -> tensor.
        """
        return self._terms_of(self.conditional(z, training).log_prob(y), divergence)

    def _terms_of(self, log_likelihood, divergence):
        """Compute the terms of the negative bound from log p(y | z) and the divergence's parts.

        Args:
            log_likelihood: log p(y | z), shape (batch,).
            divergence: See `elbo_terms`.

        Returns:
            Dictionary of name -> tensor.
        """
        terms = {
            "reconstruction_loss": -log_likelihood,
            "kl_loss": ops.sum(divergence, axis=-1),
        }
        if "free_bits_loss" in self._trackers:
            enough = ops.maximum(ops.mean(divergence, axis=0), self.free_bits)  # (parts,)
            terms["free_bits_loss"] = ops.sum(enough)
        return terms

    def _estimated_terms(self, y, q, training):
        """Compute `elbo_terms` with the divergence estimated from a draw.

        This is for a posterior or prior without a closed form of the divergence.
        """
        z, log_posterior = q.sample_with_log_prob(self.step_seed(training))
        divergence = log_posterior - self.prior(z).log_prob(z)
        return self.elbo_terms(y, z, divergence[:, None], training)

    def _importance_terms(self, q, y, num_samples, seed, training=False):
        """Compute the two parts of log p(y, z) / q(z | x) for several draws z of every example.

        Args:
            q: Posterior of the inputs.
            y: Targets, shape (batch, ...).
            num_samples: Number of draws for each example.
            seed: `keras.random.SeedGenerator`.
            training: Whether weights are being updated. Defaults to False.

        Returns:
            log p(y | z) and log q(z | x) - log p(z), each of shape (batch, num_samples). The first
            minus the second is the logarithm of the importance weight.
        """
        z, log_posterior = q.repeat(num_samples).sample_with_log_prob(seed)
        targets = ops.repeat(y, num_samples, axis=0)  # (batch * num_samples, ...)
        log_likelihood = self.conditional(z, training).log_prob(targets)
        divergence = log_posterior - self.prior(z).log_prob(z)
        return tuple(ops.reshape(v, (-1, num_samples)) for v in (log_likelihood, divergence))

    def log_likelihood(
        self, x, y=None, num_samples=1000, seed=None, *, batch_size=None, verbose="auto"
    ):
        """Estimate log p(x) of every example, in nats, by importance sampling from the posterior.

        In expectation, the estimate is a lower bound, which rises to log p(x) with the number of
        samples (arXiv:1509.00519, theorem 1).

        Args:
            x: Array or tensor of shape (batch, ...), or a `tf.data.Dataset` of such examples.
            y: Targets, for a model of paired data. Defaults to None, x itself.
            num_samples: Number of importance samples for each example. Defaults to 1,000.
            seed: Integer that makes the estimate repeatable. Defaults to None, a new draw in each
                call.
            batch_size: Number of examples in a batch: see `sample`.
            verbose: 0, 1 or "auto" (a progress bar after two seconds). Defaults to "auto".

        Returns:
            Array or tensor of shape (batch,), float32.

        Raises:
            ValueError: If num_samples is not a positive integer.
        """
        num_samples = arguments.integer("log_likelihood", "num_samples", num_samples)
        draws_at_once = _largest_divisor(num_samples, _samples_at_once(x, num_samples, batch_size))
        if num_samples // draws_at_once > RunSeed.TURNS:
            raise ValueError(
                f"log_likelihood: num_samples={num_samples} would take hours in one call, and "
                f"repeat noise. Take a multiple of 8 of at most {8 * RunSeed.TURNS}, and average "
                "the likelihoods of several calls with other seeds."
            )
        return self._importance_estimate(
            x, y, num_samples, draws_at_once, seed, batch_size=batch_size, verbose=verbose
        )

    @batched("data")
    def _importance_estimate(self, x, y, num_samples, draws_at_once, seed):
        if not isinstance(seed, RunSeed):
            # The seeds of all turns follow from one draw of the generator.
            seed = RunSeed(seed.next())
        target = x if y is None else y
        q = self.posterior(x)

        # The loop takes a few samples at a time, because a thousand copies of a batch would not fit
        # in memory.
        def turn(number, total):
            log_likelihood, divergence = self._importance_terms(
                q, target, draws_at_once, seed.at(number)
            )
            return ops.logaddexp(total, ops.logsumexp(log_likelihood - divergence, axis=-1))

        first_values = ops.reshape(x, (ops.shape(x)[0], -1))[:, 0]
        start = ops.full_like(ops.cast(first_values, "float32"), -math.inf)
        total = ops.fori_loop(0, num_samples // draws_at_once, turn, start)
        return total - math.log(num_samples)

    _SERVED_SAMPLES = 100  # The exported endpoint takes this number of importance samples.

    def _endpoints(self):
        x = (None, *self.data_shape)
        if self.target_shape != self.data_shape:
            return super()._endpoints()

        def log_likelihood(x, seed):
            return self.log_likelihood(x, num_samples=self._SERVED_SAMPLES, seed=seed)

        return {**super()._endpoints(), "log_likelihood": (log_likelihood, {"x": x, "seed": ()})}


def _samples_at_once(x, num_samples, batch_size):
    """Choose the largest number of samples of each example that the decoder reads at once.

    For a large batch it is one, because several copies would not fit in the processor's cache.
    """
    examples = (getattr(x, "shape", None) or (None,))[0]
    # The number of examples is unknown for symbolic tensors and datasets.
    if not isinstance(examples, int) or num_samples > RunSeed.TURNS:
        return 8
    if isinstance(batch_size, int):
        examples = min(examples, batch_size)
    return 8 if examples <= 256 else 1


def _largest_divisor(number, limit):
    return next(d for d in range(min(limit, number), 0, -1) if number % d == 0)
