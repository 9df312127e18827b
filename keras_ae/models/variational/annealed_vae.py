"""Understanding disentangling in beta-VAE: Burgess et al. 2018, arXiv:1804.03599."""

from typing import Any

import keras
from keras import ops

from keras_ae import schedules
from keras_ae.core import arguments
from keras_ae.core.types import Weight
from keras_ae.models.variational.vae import VAE


class AnnealedVAE(VAE):
    """Minimizes eq. 8: the reconstruction loss plus gamma |KL - C|, with a capacity C that rises.

    Args:
        latent_dim: Dimensions of the code. Defaults to 16.
        gamma: Factor of the distance from the capacity, a number of at least 0. `kl_weight`
            multiplies it. Defaults to 2. The paper has 1,000, with which the code reaches the
            capacity before it carries information, unless the capacity rises as slowly as in the
            paper.
        capacity: Nats that the code should carry: a number of at least 0, or a schedule of the
            training step. Defaults to None, a rise from 0 to 25 nats in 1,000 steps. The paper has
            100,000 steps, `keras_ae.schedules.LinearWarmUp(100_000, end=25.0)`, with which a
            training of ordinary length ends before the code carries much.
        encoder, decoder, likelihood, kl_weight, network_options, seed: See `keras_ae.VAE`. There
            are no `free_bits`, because the capacity replaces them.

    Example:

    >>> import numpy as np
    >>> from keras_ae import AnnealedVAE
    >>> model = AnnealedVAE(latent_dim=2, gamma=10.0, capacity=3.0, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> sorted(history.history)
    ['capacity_loss', 'kl_loss', 'loss', 'reconstruction_loss']
    """

    objective = ("reconstruction_loss", "capacity_loss")
    diagnostics = ("kl_loss",)

    def __init__(
        self,
        latent_dim: int = 16,
        gamma: float = 2.0,
        capacity: Weight | None = None,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        self.gamma = arguments.number(self, "gamma", gamma)
        if capacity is None:
            capacity = schedules.LinearWarmUp(1000, end=25.0)
            # Files hold the schedule, because None stands for another one in files of before.
            self.arguments["capacity"] = capacity
        self.capacity = arguments.number_or_schedule(self, "capacity", capacity)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        if config.get("capacity") is None:
            before = schedules.LinearWarmUp(100_000, end=25.0)
            config = {**config, "capacity": keras.saving.serialize_keras_object(before)}
        return super().from_config(config, custom_objects)

    def loss_weights(self) -> dict[str, Any]:
        return {"capacity_loss": self.gamma * self._current_kl_weight()}

    def _bound_terms(self, log_likelihood, divergence):
        terms = super()._bound_terms(log_likelihood, divergence)
        capacity = arguments.value_at(self.capacity, self._step)
        return {**terms, "capacity_loss": ops.abs(terms["kl_loss"] - capacity)}
