"""The base class of models with several stochastic layers."""

from typing import Any

from keras import ops

from keras_ae import networks
from keras_ae.core import arguments
from keras_ae.core.types import Tensor
from keras_ae.models.structured.base import StructuredVAE

# The networks between two layers have these options of the default networks, too.
_SHARED = (
    "activation",
    "kernel_initializer",
    "kernel_regularizer",
    "dropout",
    "batch_normalization",
)


class HierarchicalVAE(StructuredVAE):
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

    def _code(self, draws):
        return ops.concatenate(draws, axis=-1)

    def _current_layer_weights(self):
        """Compute the factors of the layers' divergences at this step, shape (num_layers,)."""
        weights = self.layer_weights or [1.0] * self._num_layers
        values = (arguments.value_at(weight, self._step) for weight in weights)
        return ops.stack([ops.cast(value, "float32") for value in values])

    def loss_weights(self) -> dict[str, Any]:
        return {**super().loss_weights(), "weighted_kl_loss": self._current_kl_weight()}

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        evidence, seed = self._evidence(x, training), self.step_seed(training)
        _, state, divergence = self._infer(evidence, seed, training)
        weights = self._current_layer_weights()
        terms = {
            "reconstruction_loss": -self._condition_on(state, training).log_prob(y),
            "kl_loss": ops.sum(divergence, axis=1),
            "weighted_kl_loss": ops.sum(weights * divergence, axis=1),
        }
        enough = ops.maximum(ops.mean(divergence, axis=0), self.free_bits)  # (num_layers,)
        terms["free_bits_loss"] = ops.sum(weights * enough)
        by_layer = {f"kl_loss_{i + 1}": divergence[:, i] for i in range(self._num_layers)}
        return {k: v for k, v in {**terms, **by_layer}.items() if k in self._trackers}

    def _options_in_use(self):
        return super()._options_in_use() | set(_SHARED)

    def _make_mlp(self, name, width, units):
        """Make a network from (batch, width) with these units and with the model's options."""
        shared = {k: v for k, v in self.network_options.items() if k in _SHARED}
        return networks.encoder(
            (width,), "mlp", name, dtype=self.dtype_policy, units=units, **shared
        )
