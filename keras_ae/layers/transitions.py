"""The Gaussian of the next latent state, given the last one."""

from typing import Any

import keras
from keras import ops

from keras_ae.core import arguments, memory
from keras_ae.core.types import Tensor
from keras_ae.distributions import DiagonalGaussian
from keras_ae.layers.stochastic import gaussian


@keras.saving.register_keras_serializable("keras_ae")
class GatedTransition(memory.GuardedLayer):
    """The Gaussian p(z_t | z_(t-1)), whose mean is a gated mixture of a linear map and a network.

    The linear map begins as the identity, so that a state at first stays where it is. The layer
    computes in float32.

    Source: Krishnan, Shalit and Sontag, Structured Inference Networks for Nonlinear State Space
    Models, section 5, arXiv:1609.09869.

    Args:
        width: Dimensions of a state, a positive integer.
        hidden_units: Units of the hidden layers of the gate and of the network. Defaults to 64.
        **kwargs: `name`.

    Raises:
        ValueError: If a size is not a positive integer.

    Example:
        >>> import numpy as np
        >>> layer = GatedTransition(2, hidden_units=4)
        >>> p = layer.follow(np.zeros((3, 5, 2)))  # three sequences of five states
        >>> tuple(p.mean.shape), tuple(p.log_variance.shape)
        ((3, 5, 2), (3, 5, 2))
    """

    def __init__(self, width: int, hidden_units: int = 64, **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.width = arguments.integer(self, "width", width)
        self.hidden_units = arguments.integer(self, "hidden_units", hidden_units)

        def dense(size, name, activation=None, **options):
            return keras.layers.Dense(size, activation, dtype="float32", name=name, **options)

        self.gate = [dense(hidden_units, "gate_hidden", "relu"), dense(width, "gate", "sigmoid")]
        self.proposal = [dense(hidden_units, "proposal_hidden", "relu"), dense(width, "proposal")]
        self.linear = dense(width, "linear", kernel_initializer="identity")
        self.log_variance = dense(width, "log_variance")

    def build(self, shape):
        for first, second in (self.gate, self.proposal):
            first.build(shape)
            second.build((*shape[:-1], self.hidden_units))
        for layer in (self.linear, self.log_variance):
            layer.build(shape)
        self.built = True

    def follow(self, z: Tensor) -> DiagonalGaussian:
        """Compute the distribution of the states that follow.

        Args:
            z: Tensor of shape (..., width).

        Returns:
            `keras_ae.distributions.DiagonalGaussian` over (..., width).
        """
        return gaussian(self(z), lowest=-20.0)

    def call(self, z):
        """Compute the means, then the log-variances, of the states that follow."""
        gate = self.gate[1](self.gate[0](z))
        proposal = self.proposal[1](self.proposal[0](z))
        mean = (1.0 - gate) * self.linear(z) + gate * proposal
        log_variance = self.log_variance(ops.relu(proposal))
        return ops.concatenate([mean, log_variance], axis=-1)

    def get_config(self):
        config = super().get_config()
        return {**config, "width": self.width, "hidden_units": self.hidden_units}
