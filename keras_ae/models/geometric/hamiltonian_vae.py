"""Hamiltonian Variational Auto-Encoder: Caterini, Doucet and Sejdinovic 2018, arXiv:1805.11328."""

import math
from typing import Any

import keras
from keras import ops

from keras_ae.core import arguments, backend, memory
from keras_ae.core.configuration import refuse_unused
from keras_ae.core.types import Tensor
from keras_ae.hamiltonian import FlatMetric
from keras_ae.models.variational.vae import VAE


class HamiltonianVAE(VAE):
    """A VAE whose draws move num_steps leapfrog steps towards p(z | x) before they are decoded.

    The model minimizes the negative of algorithm 1's bound with fixed tempering. A path starts at a
    code z0 from the encoder's Gaussian with the momentum r0 = g / sqrt(beta0), where g is standard
    normal, and the momentum cools after every step. The map preserves volume except for the
    tempering, whose factor cancels with that of r0's density. The bound is therefore
    log p(x, zK) + log N(rK) - log q(z0 | x) - log N(g). `reconstruction_loss` is -log p(x | zK),
    and `kl_loss` is the rest of the negative bound: the divergence of z0 in closed form, plus the
    contribution of the path, estimated by one draw. `encode` returns the mean of q(z0 | x), before
    the path.

    A step whose error in energy exceeds 10 nats is too long for the density there. It is not taken,
    and the momentum is reversed instead. This also preserves volume, so that the bound holds and
    stays finite for any step size.

    Args:
        latent_dim: Dimensions of the code. Defaults to 16.
        num_steps: Number of leapfrog steps K, an integer of at least 0. Defaults to 3.
        step_size: Initial value of the learned step sizes, one for each dimension, in
            (0, max_step_size). Defaults to 0.05.
        max_step_size: Upper limit of the step sizes, a positive number. Defaults to 0.5.
        tempering: Initial value of the learned inverse temperature beta0, in (0, 1). Defaults to
            0.9.
        encoder, decoder, likelihood, kl_weight, network_options, seed: See `keras_ae.VAE`.
        free_bits: Nats of the whole code that are exempt from the penalty. Defaults to 0.

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
        self,
        latent_dim: int = 16,
        num_steps: int = 3,
        step_size: float = 0.05,
        max_step_size: float = 0.5,
        tempering: float = 0.9,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        self.num_steps = arguments.layers(self, "num_steps", num_steps, least=0)
        self.max_step_size = arguments.number(
            self, "max_step_size", max_step_size, positive=True, fixed=True
        )
        # Both arguments are only initial values of what is learned.
        share = arguments.number(self, "step_size", step_size, positive=True, fixed=True)
        share /= max_step_size
        arguments.number(self, "step_size / max_step_size", share, positive=True, below=1)
        arguments.number(self, "tempering", tempering, positive=True, below=1, fixed=True)
        if not num_steps:  # Keras would warn of weights without a gradient.
            return
        self._step_logits = self._add_logit("step_logits", (self.latent_dim,), share)
        self._tempering_logit = self._add_logit("tempering_logit", (), tempering)

    def _check_given(self):
        super()._check_given()
        if not self.num_steps:
            for name in ("step_size", "max_step_size", "tempering"):
                refuse_unused(self, name, "num_steps=0 moves no code")

    def _add_logit(self, name, shape, share):
        """Add a weight whose sigmoid is initially this share."""
        logit = keras.initializers.Constant(math.log(share / (1.0 - share)))
        return self.add_weight(shape=shape, initializer=logit, dtype="float32", name=name)

    def _step_numbers(self, batch_size):
        # A step of a path runs the decoder forwards and backwards, and training keeps the results
        # for its own gradient.
        outputs = memory.numbers_of_layers(self.decoder)[1]
        return 6 * batch_size * self.num_steps * outputs

    def _temperatures(self):
        """Compute sqrt(beta_k) for k from 0 to K by the paper's quadratic scheme.

        beta_0 is learned, and beta_K is 1.
        """
        if not self.num_steps:
            return [1.0]
        start = ops.rsqrt(ops.sigmoid(self._tempering_logit))  # 1 / sqrt(beta_0)
        parts = [(k / self.num_steps) ** 2 for k in range(self.num_steps + 1)]
        return [1.0 / ((1.0 - start) * part + start) for part in parts]

    def _follow_path(self, z, momentum, y, metric=None, training=False):
        """Follow the path from z with a momentum to its end: algorithm 1, lines 5 to 10."""

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
        """Return the space in which the codes of a batch move."""
        return FlatMetric()

    def _path_terms(self, start, y, seed, training):
        """Compute the terms of the bound for paths that start at these codes.

        Returns:
            log p(y | zK), and the divergence without log q(z0 | x), which depends on how the codes
            were drawn: both of shape (batch,).
        """
        noise = keras.random.normal(ops.shape(start), dtype="float32", seed=seed)
        metric = self._metric(training)
        first = metric.momentum(start, noise)
        z, last = self._follow_path(start, first / self._temperatures()[0], y, metric, training)
        gained = metric.momentum_log_prob(start, first) - metric.momentum_log_prob(z, last)
        return self.conditional(z, training).log_prob(y), gained - self.prior(z).log_prob(z)

    def _importance_terms(self, q, y, num_samples, seed, training=False):
        start, log_posterior = q.repeat(num_samples).sample_with_log_prob(seed)
        targets = ops.repeat(y, num_samples, axis=0)
        log_likelihood, gained = self._path_terms(start, targets, seed, training)
        terms = (log_likelihood, log_posterior + gained)
        return tuple(ops.reshape(v, (-1, num_samples)) for v in terms)

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        seed, q = self.step_seed(training), self.posterior(x, training)
        start = q.sample(seed)
        log_likelihood, gained = self._path_terms(start, y, seed, training)
        # The divergence of the start is computed in closed form, because an estimate from the draw
        # would vary more.
        divergence = q.kl() + self.prior(start).log_prob(start) + gained
        return self._bound_terms(log_likelihood, divergence[:, None])
