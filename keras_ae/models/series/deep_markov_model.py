"""Structured inference for nonlinear state space models: Krishnan et al. 2016, arXiv:1609.09869."""

import math
from typing import Any

import keras
from keras import ops

from keras_ae import networks
from keras_ae.core import arguments
from keras_ae.core.batching import batched
from keras_ae.core.draws import draw_normal, draw_uniform
from keras_ae.core.types import ArrayOrTensor, Data, Tensor, Verbose
from keras_ae.distributions import DiagonalGaussian
from keras_ae.layers import GatedTransition, compute_divergence, gaussian
from keras_ae.layers.top_down import LearnedStart
from keras_ae.models.series.base import (
    SequentialVAE,
    choose_batch_size,
    refuse_symbol,
    scan_steps,
    take_last,
)


class DeepMarkovModel(SequentialVAE):
    """A state space model: a hidden state moves by a learned transition and emits each step.

    The generative model is p(z_1) prod_t p(z_t | z_(t-1)) prod_t p(x_t | z_t). The transition is a
    `keras_ae.layers.GatedTransition`, also for the first state, which follows a learned one. The
    posterior has the structure of the true one, q(z_t | z_(t-1), x_t, ..., x_T): a recurrent layer
    reads the data from the last step to the first, and a small network joins its state with the
    last draw (section 4, "DKS").

    `encode` returns the posterior's means, one code for each step. `filter` and `smooth` compute
    the means of the hidden states given the steps so far, and given all steps; `forecast` draws
    what comes next.

    Args:
        latent_dim: Dimensions of the hidden state. Defaults to 16.
        hidden_units: Units of the recurrent layer and of the transition's networks. Defaults to 64.
        mask_value, likelihood, kl_weight, free_bits, network_options, seed: See `SequentialVAE`.

    Raises:
        ValueError: If an argument is out of range, or the data is not a sequence.

    Example:

    >>> import numpy as np
    >>> from keras_ae import DeepMarkovModel
    >>> model = DeepMarkovModel(latent_dim=2, hidden_units=8, mask_value=-1.0, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (16, 5, 3)).astype("float32")
    >>> x[:8, 3:] = -1.0  # These sequences have three steps.
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> model.encode(x).shape, model.filter(x, num_particles=10, seed=0).shape
    ((16, 5, 2), (16, 5, 2))
    >>> model.forecast(x, num_steps=4, num_samples=10, seed=0).shape
    (16, 10, 4, 3)
    """

    def _build_step_networks(self):
        options = self.network_options
        dtype = self.dtype_policy
        self.encoder = self._make_reader(self._steps[1])
        self.combiner = _Combiner(self.latent_dim, self.hidden_units, name="combiner")
        self.transition = GatedTransition(self.latent_dim, self.hidden_units, name="transition")
        self.decoder = networks.decoder(
            self.latent_dim, (self._step_parameters,), "mlp", dtype=dtype, **options
        )
        self._starts = [
            LearnedStart(self.latent_dim, dtype="float32", name=f"start_of_{name}")
            for name in ("prior", "posterior")
        ]
        for layer in (*self._starts, self.transition):
            layer.build((None, self.latent_dim))
        self.combiner.build((None, self.latent_dim))

    def _make_reader(self, features):
        """Make the network that reads the data from the last step to the first."""
        full = keras.dtype_policies.get(self.dtype_policy).variable_dtype
        x = keras.Input((None, features + 1), name="encoder_steps", dtype=full)
        # A step without data leaves the state as it is.
        h = keras.layers.Masking(0.0, dtype=full, name="encoder_mask")(x)
        h = keras.layers.GRU(
            self.hidden_units,
            return_sequences=True,
            go_backwards=True,
            use_cudnn=False,
            dtype=self.dtype_policy,
            name="encoder_backwards",
        )(h)
        return keras.Model(x, h, name="encoder")

    def _evidence(self, x, training):
        steps, counts = self._read_steps(x)
        h = ops.flip(self.encoder(steps, training=training), axis=1)
        return ops.cast(h, "float32"), counts

    def _infer(self, evidence, seed, training, estimate=False):
        h, counts = evidence
        noise = ops.repeat(ops.zeros_like(h[:, :, :1]), self.latent_dim, axis=2)
        noise = noise if seed is None else draw_normal(ops.shape(noise), seed)

        def take_step(z, h, noise):
            q = gaussian(self.combiner(z, h))
            z = q.mean + ops.exp(0.5 * q.log_variance) * noise
            return z, (z, q.mean, q.log_variance)

        before, start = (layer(counts) for layer in self._starts)
        z, mean, log_variance = scan_steps(take_step, start, [h, noise], 3 * [self.latent_dim])
        p = self.transition.follow(ops.concatenate([before[:, None], z[:, :-1]], axis=1))
        parts = compute_divergence(DiagonalGaussian(mean, log_variance), p, z, estimate)
        return z, z, counts * ops.sum(parts, axis=-1)

    def conditional(self, z: Tensor, training: bool = False) -> Any:
        return self._condition(self._at_each_step(self.decoder, z, training), training)

    def _condition_on(self, state, training=False):
        return self.conditional(state, training)

    def _draw_prior(self, num_samples, seed, temperature=1.0):
        noise = temperature * draw_normal((num_samples, *self.code_shape), seed)
        return self._follow(self._starts[0](noise[:, 0]), noise)

    def _follow(self, z, noise):
        """Draw the states that follow z, (batch, width), with noise (batch, steps, width)."""

        def take_step(z, noise):
            p = self.transition.follow(z)
            z = p.mean + ops.exp(0.5 * p.log_variance) * noise
            return z, (z,)

        return scan_steps(take_step, z, [noise], [self.latent_dim])[0]

    # ------------------------------------------------------------------ hidden states

    def filter(
        self,
        x: Data,
        num_particles: int = 1000,
        seed: int | None = None,
        *,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
    ) -> ArrayOrTensor:
        """Compute the mean of each hidden state given the steps up to it.

        A particle filter follows the learned transition, weighs its particles by the likelihood of
        each step, and draws them anew by these weights. It needs no posterior, and is exact in the
        limit of many particles.

        Args:
            x: Array or tensor of shape (batch, steps, features), or a stream of them as in `fit`.
            num_particles: Number of particles, a positive integer. Defaults to 1,000.
            seed: Integer that makes the estimate repeatable. Defaults to None, a new draw in each
                call.
            batch_size: Number of sequences in a batch. Defaults to a number that fits in memory.
            verbose: 0, 1 or "auto" (a progress bar after two seconds). Defaults to "auto".

        Returns:
            Array or tensor of shape (batch, steps, latent_dim), float32.

        Raises:
            ValueError: If num_particles is not a positive integer.
        """
        refuse_symbol("filter", x)
        number = arguments.integer("filter", "num_particles", num_particles)
        batch_size = choose_batch_size(batch_size, number)
        return self._filter(x, number, seed, batch_size=batch_size, verbose=verbose)

    @batched("data", "filter")
    def _filter(self, x, num_particles, seed):
        steps = ops.reshape(x, (-1, *self._steps))
        rows, shape = ops.shape(steps)[0], (num_particles, self.latent_dim)
        noise = draw_normal((rows, self._steps[0], math.prod(shape)), seed)
        offsets = draw_uniform((rows, self._steps[0], 1), seed)
        # This is systematic resampling, at evenly spaced places of the cumulative weights.
        places = ops.arange(num_particles, dtype="float32")

        def take_step(z, x, noise, offset):
            p = self.transition.follow(ops.reshape(z, (-1, *shape)))
            z = p.mean + ops.exp(0.5 * p.log_variance) * ops.reshape(noise, (-1, *shape))
            weights = ops.softmax(self._weigh(z, x), axis=1)  # (rows, particles)
            mean = ops.sum(weights[..., None] * z, axis=1)
            chosen = _count_below(ops.cumsum(weights, axis=1), (places + offset) / num_particles)
            chosen = ops.minimum(chosen, num_particles - 1)
            z = ops.take_along_axis(z, chosen[..., None], axis=1)
            return ops.reshape(z, (-1, math.prod(shape))), (mean,)

        start = ops.tile(self._starts[0](noise[:, 0]), (1, num_particles))
        return scan_steps(take_step, start, [steps, noise, offsets], [self.latent_dim])[0]

    def _weigh(self, z, x):
        """Compute log p(x | z) of one step, (rows, features), for (rows, particles, width)."""
        number = z.shape[1]
        parameters = ops.reshape(self._at_each_step(self.decoder, z), (-1, self._step_parameters))
        targets = ops.repeat(x, number, axis=0)
        log_prob = self._step_log_prob(targets, parameters)
        return ops.reshape(log_prob, (-1, number))

    def smooth(
        self,
        x: Data,
        num_samples: int = 100,
        seed: int | None = None,
        *,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
    ) -> ArrayOrTensor:
        """Compute the mean of each hidden state given all steps.

        Draws from the posterior are weighted by importance, so that the means approach those of
        p(z | x) as the number of draws grows. `encode` returns the means of the posterior itself.

        Args:
            x, seed, batch_size, verbose: See `filter`.
            num_samples: Number of draws for each sequence, a positive integer. Defaults to 100.

        Returns:
            Array or tensor of shape (batch, steps, latent_dim), float32.

        Raises:
            ValueError: If num_samples is not a positive integer.
        """
        refuse_symbol("smooth", x)
        number = arguments.integer("smooth", "num_samples", num_samples)
        batch_size = choose_batch_size(batch_size, number)
        return self._smooth(x, number, seed, batch_size=batch_size, verbose=verbose)

    @batched("data", "smooth")
    def _smooth(self, x, num_samples, seed):
        evidence = self.posterior(x).repeat(num_samples).evidence
        z, _, divergence = self._infer(evidence, seed, False, estimate=True)
        log_prob = self.conditional(z).log_prob(ops.repeat(x, num_samples, axis=0))
        weights = ops.reshape(log_prob - ops.sum(divergence, axis=1), (-1, num_samples))
        weights = ops.softmax(weights, axis=1)[..., None, None]
        return ops.sum(weights * ops.reshape(z, (-1, num_samples, *self.code_shape)), axis=1)

    def _continue(self, evidence, num_steps, seed):
        z, _, _ = self._infer(evidence, seed, False)
        first = self._starts[0](evidence[1])
        z = take_last(first, z, evidence[1])
        noise = draw_normal((ops.shape(z)[0], num_steps, self.latent_dim), seed)
        return self._at_each_step(self.decoder, self._follow(z, noise))


class _Combiner(keras.layers.Layer):
    """The parameters of q(z_t | z_(t-1), h_t), from the last draw and the reader's state."""

    def __init__(self, width, hidden_units, **kwargs):
        super().__init__(dtype="float32", **kwargs)
        self.hidden = keras.layers.Dense(hidden_units, "tanh", dtype="float32", name="hidden")
        self.statistics = keras.layers.Dense(2 * width, dtype="float32", name="statistics")

    def build(self, z_shape):
        self.hidden.build(z_shape)
        self.statistics.build((None, self.hidden.units))
        self.built = True

    def call(self, z, h):
        return self.statistics(0.5 * (self.hidden(z) + h))


def _count_below(levels, values):
    """Count for each value how many levels are below it.

    Args:
        levels, values: Tensors of shape (rows, number), which increase along each row.

    Returns:
        Int32 tensor of the values' shape.
    """
    number = levels.shape[1]
    order = ops.argsort(ops.concatenate([values, levels], axis=1), axis=1)
    # Values come first, so that a level that equals one is not below it if the sort is stable.
    ranks = ops.argsort(order, axis=1)[:, :number]
    return ops.cast(ranks, "int32") - ops.arange(number, dtype="int32")
