"""The base class of models with several stochastic layers."""

import dataclasses

from keras import ops

from keras_ae import networks
from keras_ae.core import arguments
from keras_ae.models.variational.vae import VAE

# The networks between two layers have these options of the default networks, too.
_SHARED = (
    "activation",
    "kernel_initializer",
    "kernel_regularizer",
    "dropout",
    "batch_normalization",
)


@dataclasses.dataclass(frozen=True, eq=False)
class HierarchicalPosterior:
    """q(z | x) of several layers, each of which depends on the draws of the layers above it."""

    model: object
    evidence: tuple  # One tensor for each layer, which the encoder computed from the data.
    training: bool

    @property
    def mean(self):
        """The code if every layer takes its mean."""
        return self.sample(None)

    def sample(self, seed):
        """Draw a code, or take the mean of every layer if the seed is None."""
        return self.model._code(self.model._infer(self.evidence, seed, self.training)[0])

    def repeat(self, num_copies):
        """Repeat the posterior of every example num_copies times, one copy after the other."""
        evidence = tuple(ops.repeat(e, num_copies, axis=0) for e in self.evidence)
        return HierarchicalPosterior(self.model, evidence, self.training)


class HierarchicalVAE(VAE):
    """Base class of models with several stochastic layers.

    `kl_loss` is the sum of the layers' divergences, `kl_loss_1`, `kl_loss_2`, ..., which are also
    in the logs. A model's constructor calls `_make_layers` with the layers' sizes.
    """

    def _make_layers(self, dims, layer_weights):
        """Store the sizes of the layers and the factors of their divergences."""
        self._layer_dims, self._num_layers = tuple(dims), len(dims)
        if layer_weights is not None and "kl_loss" in self.objective:
            self._replace_minimized_terms({"kl_loss": "weighted_kl_loss"})
        names = (f"kl_loss_{number}" for number in range(1, self._num_layers + 1))
        self.diagnostics = (*names, *self.diagnostics)
        self.layer_weights = layer_weights

    def __setattr__(self, name, value):
        if name == "layer_weights" and value is not None:
            value = self._check_layer_weights(value)
        super().__setattr__(name, value)

    def _check_layer_weights(self, weights):
        if not isinstance(weights, (list, tuple)) or len(weights) != self._num_layers:
            raise ValueError(
                f"{type(self).__name__}: layer_weights={arguments.show(weights)} must be a list of "
                f"{self._num_layers} numbers or schedules, one for each layer."
            )
        if not {"weighted_kl_loss", "free_bits_loss"} & {*self.objective}:
            raise ValueError(
                f"{type(self).__name__}: layer_weights={arguments.show(weights)} would have no "
                "effect, because the model was made without them. Make a new model with "
                "layer_weights, such as a list of ones."
            )
        return [arguments.number_or_schedule(self, "layer_weights", w) for w in weights]

    def posterior(self, x, training=False):
        """Compute q(z | x), whose `mean` and draws are codes of shape (batch, latent_dim).

        Args:
            x: Tensor of shape (batch, ...).
            training: Whether layers such as dropout are active. Defaults to False.
        """
        return HierarchicalPosterior(self, tuple(self._evidence(x, training)), training)

    def prior(self, like):
        raise NotImplementedError(
            f"{type(self).__name__}: the prior of each layer depends on the draws of the layers "
            "above it, so that there is no p(z) in one piece. Call `sample` to draw from all "
            "priors."
        )

    def _evidence(self, x, training):
        """Compute from x the statistics of every layer: a list of tensors (batch, ...)."""
        raise NotImplementedError

    def _infer(self, evidence, seed, training, estimate=False):
        """Draw from every layer's posterior, or take its mean if the seed is None.

        Returns:
            The draws, a list in the layers' order; the decoder's input, (batch, latent_dim); and
            the layers' divergences or their estimates, (batch, num_layers): see
            `keras_ae.layers.draw_with_divergence`.
        """
        raise NotImplementedError

    def _code(self, draws):
        """Make the code from the layers' draws, which this class concatenates."""
        return ops.concatenate(draws, axis=-1)

    def _current_layer_weights(self):
        """Compute the factors of the layers' divergences at this step, shape (num_layers,)."""
        weights = self.layer_weights or [1.0] * self._num_layers
        values = (arguments.value_at(weight, self._step) for weight in weights)
        return ops.stack([ops.cast(value, "float32") for value in values])

    def loss_weights(self):
        return {**super().loss_weights(), "weighted_kl_loss": self._current_kl_weight()}

    def loss_terms(self, x, y, training):
        evidence, seed = self._evidence(x, training), self.step_seed(training)
        _, state, divergence = self._infer(evidence, seed, training)
        weights = self._current_layer_weights()
        terms = {
            "reconstruction_loss": -VAE.conditional(self, state, training).log_prob(y),
            "kl_loss": ops.sum(divergence, axis=1),
            "weighted_kl_loss": ops.sum(weights * divergence, axis=1),
        }
        enough = ops.maximum(ops.mean(divergence, axis=0), self.free_bits)  # (num_layers,)
        terms["free_bits_loss"] = ops.sum(weights * enough)
        by_layer = {f"kl_loss_{i + 1}": divergence[:, i] for i in range(self._num_layers)}
        return {k: v for k, v in {**terms, **by_layer}.items() if k in self._trackers}

    def _importance_terms(self, q, y, num_samples, seed, training=False):
        evidence = q.repeat(num_samples).evidence
        _, state, divergence = self._infer(evidence, seed, training, estimate=True)
        targets = ops.repeat(y, num_samples, axis=0)  # (batch * num_samples, ...)
        log_likelihood = VAE.conditional(self, state, training).log_prob(targets)
        terms = (log_likelihood, ops.sum(divergence, axis=1))
        return tuple(ops.reshape(v, (-1, num_samples)) for v in terms)

    def _draw_prior(self, num_samples, seed, temperature=1.0):
        raise NotImplementedError

    def sample(self, num_samples, seed=None, temperature=1.0, *, batch_size=None, verbose="auto"):
        """Draw new data from the model.

        Args:
            num_samples: Number of examples, a positive integer.
            seed: Integer that makes the draw repeatable. Defaults to None, a new draw in each call.
            temperature: Factor of every prior's standard deviation, a number of at least 0.
                Defaults to 1.
            batch_size: Number of examples decoded at once. Defaults to a number that fits in
                memory.
            verbose: 0, 1 or "auto" (a progress bar after two seconds). Defaults to "auto".

        Returns:
            Array of shape (num_samples, ...), float32.

        Raises:
            ValueError: If num_samples is not a positive integer, or temperature is negative.
        """
        remedy = "1 is the model's own spread."
        temperature = arguments.number("sample", "temperature", temperature, remedy=remedy)
        return self._sample(num_samples, seed, batch_size, verbose, temperature=temperature)

    def _options_in_use(self):
        return super()._options_in_use() | set(_SHARED)

    def _make_mlp(self, name, width, units):
        """Make a network from (batch, width) with these units and with the model's options."""
        shared = {k: v for k, v in self.network_options.items() if k in _SHARED}
        return networks.encoder(
            (width,), "mlp", name, dtype=self.dtype_policy, units=units, **shared
        )
