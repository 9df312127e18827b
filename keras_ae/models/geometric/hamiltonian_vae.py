"""Hamiltonian Variational Auto-Encoder: Caterini, Doucet and Sejdinovic 2018, arXiv:1805.11328."""

import math

import keras
from keras import ops

from keras_ae.core import arguments, backend, memory
from keras_ae.core.configuration import refuse_unused
from keras_ae.hamiltonian import FlatMetric
from keras_ae.models.variational.vae import VAE


class HamiltonianVAE(VAE):
    """A VAE whose draws move num_steps leapfrog steps towards p(z | x) before they are decoded.

    Minimises the negative of algorithm 1's bound with fixed tempering: codes z and momenta r begin
    as z0 from the encoder's Gaussian and r0 = g / sqrt(beta0), g standard normal; the momenta cool
    after every step. As the map preserves volume but for the tempering, whose factor is that of
    r0's density, the bound is log p(x, zK) + log N(rK) - log q(z0 | x) - log N(g). `kl_loss` is
    what remains of it beside log p(x | zK): the divergence of z0 in closed form, and what the path
    adds estimated by the step's draw. `encode` gives the mean of q(z0 | x), before the path.

    A step whose error in energy exceeds 10 nats, because it is too long for the density that it
    meets, is not taken, and the momentum turns around: that preserves volume as well, so that the
    bound holds and stays finite whatever the steps' sizes.

    Args:
        latent_dim: Dimensions of the code. Defaults to 16.
        num_steps: Leapfrog steps K, an integer of at least 0. Defaults to 3.
        step_size: Where the learned step sizes, one a dimension, begin: in (0, max_step_size).
            Defaults to 0.05.
        max_step_size: Their upper limit, a positive number. Defaults to 0.5.
        tempering: Where the learned inverse temperature beta0 begins, in (0, 1). Defaults to 0.9.
        encoder, decoder, likelihood, kl_weight, network_options, seed: See `keras_ae.VAE`.
        free_bits: Nats of the whole code that are not penalised. Defaults to 0.

    Example:

    >>> import numpy as np
    >>> from keras_ae import HamiltonianVAE
    >>> model = HamiltonianVAE(latent_dim=2, num_steps=2, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> model.encode(x).shape, model.log_likelihood(x, num_samples=10, seed=0).shape
    ((64, 2), (64,))
    """

    def __init__(
        self, latent_dim=16, num_steps=3, step_size=0.05, max_step_size=0.5, tempering=0.9, **kwargs
    ):
        super().__init__(latent_dim, **kwargs)
        self.num_steps = arguments.layers(self, "num_steps", num_steps, least=0)
        self.max_step_size = arguments.number(
            self, "max_step_size", max_step_size, positive=True, fixed=True
        )
        # Both are where learning starts.
        share = arguments.number(self, "step_size", step_size, positive=True, fixed=True)
        share /= max_step_size
        arguments.number(self, "step_size / max_step_size", share, positive=True, below=1)
        arguments.number(self, "tempering", tempering, positive=True, below=1, fixed=True)
        if not num_steps:  # Weights without a gradient would be warned of.
            return
        self._step_logits = self._start("step_logits", (self.latent_dim,), share)
        self._tempering_logit = self._start("tempering_logit", (), tempering)

    def _check_given(self):
        super()._check_given()
        if not self.num_steps:
            for name in ("step_size", "max_step_size", "tempering"):
                refuse_unused(self, name, "num_steps=0 moves no code")

    def _start(self, name, shape, share):
        logit = keras.initializers.Constant(math.log(share / (1.0 - share)))
        return self.add_weight(shape=shape, initializer=logit, dtype="float32", name=name)

    def _step_numbers(self, batch_size):
        # A step of a path decodes forwards and backwards, and training keeps that for its own way
        # back.
        outputs = memory.numbers_of_layers(self.decoder)[1]
        return 6 * batch_size * self.num_steps * outputs

    def _temperatures(self):
        """sqrt(beta_k) for k from 0 to K: the paper's quadratic scheme, from learned to 1."""
        if not self.num_steps:
            return [1.0]
        start = ops.rsqrt(ops.sigmoid(self._tempering_logit))  # 1 / sqrt(beta_0)
        parts = [(k / self.num_steps) ** 2 for k in range(self.num_steps + 1)]
        return [1.0 / ((1.0 - start) * part + start) for part in parts]

    def _flow(self, z, momentum, y, metric=None, training=False):
        """The end of the path that begins at z with the momentum: algorithm 1, lines 5 to 10."""

        def log_joint(z):
            return self.conditional(z, training).log_prob(y) + self.prior(z).log_prob(z)

        def density(z):
            values, pull = backend.pullback(log_joint, z)
            return values, pull(ops.ones_like(values))

        if not self.num_steps:
            return z, momentum
        metric, roots = metric or self._metric(training), self._temperatures()
        step = self.max_step_size * ops.sigmoid(self._step_logits)
        here = metric.surroundings(z, density)
        for k in range(self.num_steps):
            z, momentum, here = metric.leapfrog(z, momentum, here, density, step)
            momentum = momentum * roots[k] / roots[k + 1]
        return z, momentum

    def _metric(self, training=False):
        """The space that the codes of a batch move in."""
        return FlatMetric()

    def _travel(self, start, y, seed, training):
        """The terms of the bound of paths from these codes: log p(y | zK), and the divergence's.

        The latter lacks log q(z0 | x), which depends on where the codes come from.
        """
        noise = keras.random.normal(ops.shape(start), dtype="float32", seed=seed)
        metric = self._metric(training)
        first = metric.momentum(start, noise)
        z, last = self._flow(start, first / self._temperatures()[0], y, metric, training)
        gained = metric.momentum_log_prob(start, first) - metric.momentum_log_prob(z, last)
        return self.conditional(z, training).log_prob(y), gained - self.prior(z).log_prob(z)

    def _importance_terms(self, q, y, num_samples, seed, training=False):
        start, log_posterior = q.repeat(num_samples).sample_with_log_prob(seed)
        targets = ops.repeat(y, num_samples, axis=0)
        log_likelihood, gained = self._travel(start, targets, seed, training)
        terms = (log_likelihood, log_posterior + gained)
        return tuple(ops.reshape(v, (-1, num_samples)) for v in terms)

    def loss_terms(self, x, y, training):
        seed, q = self.step_seed(training), self.posterior(x, training)
        start = q.sample(seed)
        log_likelihood, gained = self._travel(start, y, seed, training)
        # The divergence of the start in closed form, which varies less than its estimate.
        divergence = q.kl() + self.prior(start).log_prob(start) + gained
        return self._terms_of(log_likelihood, divergence[:, None])
