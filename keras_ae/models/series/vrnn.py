"""A recurrent latent variable model for sequential data: Chung et al. 2015, arXiv:1506.02216."""

from typing import Any

import keras
from keras import ops

from keras_ae import networks
from keras_ae.core.batching import batched
from keras_ae.core.draws import draw_normal
from keras_ae.core.types import ArrayOrTensor, Data, Tensor
from keras_ae.distributions import DiagonalGaussian
from keras_ae.layers import compute_divergence, gaussian
from keras_ae.models.series.base import SequentialVAE, most_probable, scan_steps, take_last
from keras_ae.networks.sequences import steps_shape


class VRNN(SequentialVAE):
    """A recurrent network with a VAE at every step, whose prior follows from the steps before.

    The state h_(t-1) of a GRU has seen x and z of the steps before t. The prior of z_t, its
    posterior given x_t, and the distribution of x_t given z_t depend on this state (eq. 5, 6 and
    9). x_t and z_t reach the GRU as features, which networks of their own compute.

    `encode` returns the posterior's means, one code for each step. `decode` and `sample` let the
    network run by itself: it then reads its own most probable step, 0 or 1 for a Bernoulli
    likelihood, one class for a categorical one, and otherwise the mean. All chance in the samples
    is therefore that of the codes. `reconstruct` reads the steps of the data, as in training.
    `forecast` continues sequences.

    Args:
        latent_dim: Dimensions of the code of a step. Defaults to 16.
        hidden_units: Units of the GRU. Defaults to 64.
        mask_value, likelihood, kl_weight, free_bits, network_options, seed: See `SequentialVAE`.
            The networks also learn from a missing step that it is missing.

    Raises:
        ValueError: If an argument is out of range, or the data is not a sequence.

    Example:

    >>> import numpy as np
    >>> from keras_ae import VRNN
    >>> model = VRNN(latent_dim=2, hidden_units=8, network_options={"units": (8,)}, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (16, 5, 3)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> model.encode(x).shape, model.sample(4, seed=0).shape
    ((16, 5, 2), (4, 5, 3))
    >>> model.forecast(x, num_steps=4, num_samples=10, seed=0).shape
    (16, 10, 4, 3)
    """

    _reads_data = True

    def _build_networks(self, shape, target_shape):
        if steps_shape(self, shape) != steps_shape(self, target_shape):
            raise ValueError(
                f"VRNN: the targets have shape {tuple(target_shape)} and the data {tuple(shape)}, "
                "but the network reads its own steps as if they were data. Pass targets of the "
                "data's shape, or use keras_ae.DeepMarkovModel."
            )
        super()._build_networks(shape, target_shape)

    def _build_step_networks(self):
        features, units = self._steps[1], self.hidden_units
        self.encoder = self._make_network("encoder", features + 1)
        width = self.encoder.output_shape[-1]
        self.code_features = self._make_network("code_features", self.latent_dim)
        widths = {"prior": units, "posterior": width + units}
        self.inference = {name: self._make_network(name, size) for name, size in widths.items()}
        self.statistics = {
            name: keras.layers.Dense(2 * self.latent_dim, dtype="float32", name=f"{name}_code")
            for name in widths
        }
        for name, layer in self.statistics.items():
            layer.build(self.inference[name].output_shape)
        self._code_features_width = self.code_features.output_shape[-1]
        self.decoder = networks.decoder(
            self._code_features_width + units,
            (self._step_parameters,),
            "mlp",
            dtype=self.dtype_policy,
            **self.network_options,
        )
        self.cell = keras.layers.GRUCell(units, dtype=self.dtype_policy, name="cell")
        self.cell.build((None, width + self._code_features_width))

    def _make_network(self, name, width):
        return networks.encoder(
            (width,), "mlp", name, dtype=self.dtype_policy, **self.network_options
        )

    # ------------------------------------------------------------------ one step

    def _distribution_of_code(self, name, *values):
        """Make the prior or the posterior of a step's code from tensors (batch, width)."""
        joined = values[0] if len(values) == 1 else ops.concatenate(values, axis=-1)
        return gaussian(self.statistics[name](self.inference[name](joined)), lowest=-20.0)

    def _advance(self, h, x_features, z_features):
        """Compute the state of the GRU after a step."""
        h, _ = self.cell(ops.concatenate([x_features, z_features], axis=-1), [h])
        return ops.cast(h, "float32")

    def _read_own(self, h, z):
        """Emit the step of a code, and read it: its parameters and the next state."""
        z_features = ops.cast(self.code_features(z), "float32")
        parameters = self.decoder(ops.concatenate([z_features, h], axis=-1))
        parameters = ops.cast(parameters, "float32")
        step = most_probable(self.likelihood, parameters)
        seen = ops.concatenate([step, ops.ones_like(step[:, :1])], axis=-1)
        x_features = ops.cast(self.encoder(seen), "float32")
        return parameters, self._advance(h, x_features, z_features)

    # ------------------------------------------------------------------ all steps

    def _start(self, like):
        return ops.repeat(ops.zeros_like(like[:, :1]), self.hidden_units, axis=1)

    def _evidence(self, x, training):
        steps, counts = self._read_steps(x)
        return self._at_each_step(self.encoder, steps, training), counts

    def _trace(self, evidence, seed):
        """Draw the codes from their posteriors, or take the means if the seed is None.

        Returns:
            Draws, means and log-variances of the posteriors, the states before and after each step,
            and the features of the draws: tensors (batch, steps, width).
        """
        features, counts = evidence
        noise = ops.repeat(ops.zeros_like(features[:, :, :1]), self.latent_dim, axis=2)
        noise = noise if seed is None else draw_normal(ops.shape(noise), seed)

        def take_step(h, x_features, noise):
            q = self._distribution_of_code("posterior", x_features, h)
            z = q.mean + ops.exp(0.5 * q.log_variance) * noise
            z_features = ops.cast(self.code_features(z), "float32")
            following = self._advance(h, x_features, z_features)
            return following, (z, q.mean, q.log_variance, h, following, z_features)

        widths = [*3 * [self.latent_dim], *2 * [self.hidden_units], self._code_features_width]
        return scan_steps(take_step, self._start(counts), [features, noise], widths)

    def _infer(self, evidence, seed, training, estimate=False):
        z, mean, log_variance, h, _, z_features = self._trace(evidence, seed)
        p = gaussian(self._at_each_step(self._prior_statistics, h), lowest=-20.0)
        parts = compute_divergence(DiagonalGaussian(mean, log_variance), p, z, estimate)
        state = ops.concatenate([z_features, h], axis=-1)
        return z, state, evidence[1] * ops.sum(parts, axis=-1)

    def _prior_statistics(self, h, training=False):
        return self.statistics["prior"](self.inference["prior"](h))

    def _condition_on(self, state, training=False):
        return self._condition(self._at_each_step(self.decoder, state, training), training)

    @batched("data", returns_data=True)
    def reconstruct(self, x: Data, training: bool = False) -> ArrayOrTensor:
        """Compute the expected value of each step, given its code and the steps before it in x.

        Args:
            x: Array or tensor of shape (batch, steps, features), or a stream of them as in `fit`.
            training: Whether layers such as dropout are active. Defaults to False.

        Returns:
            Array or tensor of x's shape, float32.
        """
        _, state, _ = self._infer(self._evidence(x, training), None, training)
        return self._condition_on(state, training).mean

    def conditional(self, z: Tensor, training: bool = False) -> Any:
        """Make the distribution of sequences if the network reads its own steps.

        Args:
            z: Tensor of shape (batch, steps, latent_dim).
            training: Whether layers such as dropout are active. Defaults to False.
        """

        def take_step(h, z):
            parameters, following = self._read_own(h, z)
            return following, (parameters,)

        widths = [self._step_parameters]
        (parameters,) = scan_steps(take_step, self._start(z[:, 0]), [z], widths)
        return self._condition(parameters, training)

    def _draw_prior(self, num_samples, seed, temperature=1.0):
        noise = temperature * draw_normal((num_samples, *self.code_shape), seed)
        return self._run_freely(self._start(noise[:, 0]), noise)[0]

    def _run_freely(self, h, noise):
        """Draw codes from the priors after a state, with noise (batch, steps, width).

        Returns:
            The codes and the parameters of the steps, each of shape (batch, steps, width).
        """

        def take_step(h, noise):
            p = self._distribution_of_code("prior", h)
            z = p.mean + ops.exp(0.5 * p.log_variance) * noise
            parameters, following = self._read_own(h, z)
            return following, (z, parameters)

        return scan_steps(take_step, h, [noise], [self.latent_dim, self._step_parameters])

    def _continue(self, evidence, num_steps, seed):
        following = self._trace(evidence, seed)[4]
        h = take_last(self._start(evidence[1]), following, evidence[1])
        noise = draw_normal((ops.shape(h)[0], num_steps, self.latent_dim), seed)
        return self._run_freely(h, noise)[1]
