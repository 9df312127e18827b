"""Categorical codes with Gumbel-softmax: Jang, Gu and Poole 2016, arXiv:1611.01144."""

import math
from typing import Any

from keras import ops

from keras_ae.core import arguments
from keras_ae.core.types import Tensor, Weight
from keras_ae.distributions import Categorical, GumbelSoftmax
from keras_ae.models.variational.vae import VAE
from keras_ae.schedules import LinearWarmUp

# The paper's temperature falls from 1 to 0.5, as max(0.5, exp(-r t)) with an r of 1e-5 or 1e-4.
_TEMPERATURE = LinearWarmUp(5000, start=1.0, end=0.5)
# The initial kernel of the layer that computes the logits is this times an ordinary one.
_FIRST_SCALE = 3.0


class CategoricalVAE(VAE):
    """A VAE whose code consists of choices, each among the same number of categories.

    The posterior consists of independent categorical distributions, and the prior of uniform ones.
    `kl_loss` is the exact divergence between them: log(num_categories) minus the entropy, summed
    over the choices. `encode` returns the probabilities, whose `argmax(axis=-1)` are integers. With
    `sample=True` it returns one-hot vectors, and `sample` decodes such vectors.

    In training, the decoder reads relaxed draws, eq. 2, through which gradients flow. The
    divergence is that of the categorical distributions there, too, as in the paper's experiments,
    and not that of the densities of the relaxed draws. The loss in training is therefore not a
    bound of log p(x). In `evaluate` and `log_likelihood` all draws are one-hot, so that the sum of
    `reconstruction_loss` and `kl_loss` is a negative lower bound.

    Args:
        latent_dim: Number of choices. Defaults to 16.
        num_categories: Number of categories K of each choice, an integer of at least 2. Defaults to
            10.
        temperature: Temperature of the relaxed draws, a positive number or a schedule of the
            training step. Low ones are close to one-hot, but their gradients vary more. Defaults to
            None, a fall from 1 to 0.5 in 5,000 steps, both as in the paper.
        straight_through: Whether the decoder reads one-hot draws in training, too, with the
            gradients of the relaxed ones (section 2.2). Defaults to False.
        encoder, decoder, likelihood, kl_weight, network_options, seed, standardize: See
            `keras_ae.VAE`. A decoder of your own reads vectors of latent_dim * num_categories
            numbers.
        free_bits: Nats of each choice that are exempt from the penalty, on average over the batch.
            Defaults to 0.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ae import CategoricalVAE
    >>> model = CategoricalVAE(latent_dim=3, num_categories=4, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> model.encode(x).shape, model.encode(x).argmax(axis=-1).shape, model.sample(3, seed=0).shape
    ((64, 3, 4), (64, 3), (3, 8))
    """

    def __init__(
        self,
        latent_dim: int = 16,
        num_categories: int = 10,
        temperature: Weight | None = None,
        straight_through: bool = False,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        remedy = "A choice among one category would carry nothing."
        self.num_categories = arguments.integer(
            self, "num_categories", num_categories, least=2, remedy=remedy
        )
        self.temperature = check_temperature(self, temperature)
        self.straight_through = arguments.flag(self, "straight_through", straight_through)

    @property
    def code_shape(self) -> tuple[int, ...]:
        return (self.latent_dim, self.num_categories)

    def _code_width(self):
        return math.prod(self.code_shape)

    def _decoder_input_shape(self):
        return (math.prod(self.code_shape),)

    def _build_networks(self, shape, target_shape):
        super()._build_networks(shape, target_shape)
        # Draws of nearly uniform posteriors tell little about an example, so that learning would
        # begin slowly.
        kernel = self.features_to_code.layers[-1].kernel
        kernel.assign(_FIRST_SCALE * ops.convert_to_tensor(kernel))

    def posterior(self, x: Tensor, training: bool = False) -> Categorical:
        """Make q(z | x), a `keras_ae.distributions.Categorical` over (batch, *code_shape).

        Args:
            x: Tensor of shape (batch, ...).
            training: Whether layers such as dropout are active. Defaults to False.
        """
        features = self.encoder(x, training=training)
        logits = self.features_to_code(features, training=training)
        return Categorical(ops.reshape(logits, (-1, *self.code_shape)))

    def prior(self, like: Tensor) -> Categorical:
        """Make p(z), uniform choices with the shape of a tensor of codes."""
        return Categorical(ops.zeros_like(like))

    def conditional(self, z: Tensor, training: bool = False) -> Any:
        return super().conditional(ops.reshape(z, (-1, math.prod(self.code_shape))), training)

    def _draw_prior(self, num_samples, seed):
        return self.prior(ops.zeros((num_samples, *self.code_shape))).sample(seed)

    def _draw(self, q, training):
        """Draw codes for the decoder, shape (batch, *code_shape)."""
        seed = self.step_seed(training)
        if not training:
            return q.sample(seed)
        given = _TEMPERATURE if self.temperature is None else self.temperature
        relaxed = GumbelSoftmax(q.logits, arguments.value_at(given, self._step))
        return (
            relaxed.sample_straight_through(seed) if self.straight_through else relaxed.sample(seed)
        )

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        q = self.posterior(x, training)
        return self.elbo_terms(y, self._draw(q, training), q.kl_per_variable(), training)


def check_temperature(model, value):
    """Return the argument `temperature`, once it is known to be positive, a schedule or None."""
    if arguments.is_number(value):
        return arguments.number(model, "temperature", value, positive=True)
    return arguments.number_or_schedule(model, "temperature", value, optional=True)
