"""Joint continuous and discrete codes: Dupont 2018, arXiv:1804.00104."""

import math
from typing import Any

from keras import ops

from keras_ae.core import arguments, backend
from keras_ae.core.batching import batched
from keras_ae.core.types import ArrayOrTensor, Data, Tensor, Weight
from keras_ae.distributions import GumbelSoftmax, MixedCode
from keras_ae.layers import gaussian
from keras_ae.models.variational.vae import VAE
from keras_ae.schedules import LinearWarmUp

# These are the paper's, but for the number of steps, which is 25,000 there.
_STEPS, _CONTINUOUS_NATS = 500, 5.0


class JointVAE(VAE):
    """A VAE whose code is a vector of continuous numbers and one choice among categories.

    The choice tends to become the kind of thing that the data shows, such as the digit, and the
    numbers how it looks. The model minimizes eq. 7: `reconstruction_loss` plus gamma times
    `capacity_loss`, which is |KL_z - C_z| + |KL_c - C_c|. KL_z, `continuous_kl_loss`, is the
    divergence of the numbers from a standard normal, and KL_c, `discrete_kl_loss`, that of the
    choice from a uniform one: log(num_categories) minus its entropy. The capacities C_z and C_c
    rise in training. KL_c is at most log(num_categories), and so is C_c: a larger number is
    refused, and the values of a schedule are cut at it. The distances are those of each example, as
    in the equation; the authors' code takes the distances of a batch's mean divergences.

    The choice may end with fewer categories in use than there are, and what it stands for depends
    on the seed.

    `encode` returns the means of the numbers and then the probabilities of the categories.
    `cluster(x)` returns the most probable category.

    In training, the decoder reads relaxed draws of the choice (`keras_ae.distributions.
    GumbelSoftmax`), while KL_c is that of the categorical distribution, as in the paper, so that
    losses in training are no bound of log p(x). In `evaluate` and `log_likelihood` the choice is
    one-hot, so that the sum of `reconstruction_loss` and `kl_loss`, which is KL_z + KL_c, is a
    negative lower bound.

    Args:
        latent_dim: Number of continuous dimensions. Defaults to 10, as in the paper.
        num_categories: Number of categories K, an integer of at least 2. Defaults to 10.
        gamma: Factor of the distances from the capacities, a number of at least 0. `kl_weight`
            multiplies it. Defaults to 5. The paper has 30 for MNIST, with which the code reaches
            the capacities before it carries information, unless they rise as slowly as there.
        continuous_capacity: C_z in nats: a number of at least 0, or a schedule of the training
            step. Defaults to None, a rise from 0 to 5 nats in 500 steps. The paper has 25,000
            steps.
        discrete_capacity: C_c in nats: a number from 0 to log(num_categories), or a schedule of the
            training step. Defaults to None, a rise from 0 to log(num_categories) in 500 steps.
        temperature: Temperature of the relaxed draws, a positive number. Defaults to 0.67, as in
            the paper.
        encoder, decoder, likelihood, kl_weight, network_options, seed, standardize: See
            `keras_ae.VAE`. A decoder of your own reads vectors of latent_dim + num_categories
            numbers. There are no `free_bits`, because the capacities replace them.

    Raises:
        ValueError: If an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ae import JointVAE
    >>> model = JointVAE(latent_dim=2, num_categories=3, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> model.encode(x).shape, model.cluster(x).shape, model.cluster_probabilities(x).shape
    ((64, 5), (64,), (64, 3))
    """

    objective = ("reconstruction_loss", "capacity_loss")
    diagnostics = ("kl_loss", "continuous_kl_loss", "discrete_kl_loss")
    explorer_views = {"Cluster probabilities": "cluster_probabilities"}

    def __init__(
        self,
        latent_dim: int = 10,
        num_categories: int = 10,
        gamma: float = 5.0,
        continuous_capacity: Weight | None = None,
        discrete_capacity: Weight | None = None,
        temperature: float = 0.67,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        remedy = "A choice among one category would carry nothing."
        self.num_categories = arguments.integer(
            self, "num_categories", num_categories, least=2, remedy=remedy
        )
        self.gamma = arguments.number(self, "gamma", gamma)
        self.continuous_capacity = arguments.number_or_schedule(
            self, "continuous_capacity", continuous_capacity, optional=True
        )
        if arguments.is_number(discrete_capacity):
            remedy = (
                f"A choice among {num_categories} categories holds at most log(num_categories)."
            )
            most = math.log(num_categories)
            self.discrete_capacity = arguments.number(
                self, "discrete_capacity", discrete_capacity, most=most, remedy=remedy
            )
        else:
            self.discrete_capacity = arguments.number_or_schedule(
                self, "discrete_capacity", discrete_capacity, optional=True
            )
        self.temperature = arguments.number(self, "temperature", temperature, positive=True)

    @property
    def code_shape(self) -> tuple[int, ...]:
        return (self.latent_dim + self.num_categories,)

    def _code_width(self):
        return 2 * self.latent_dim + self.num_categories

    def _decoder_input_shape(self):
        return self.code_shape

    # ------------------------------------------------------------------ distributions

    def posterior(self, x: Tensor, training: bool = False) -> MixedCode:
        """Make q(z, c | x), a `keras_ae.distributions.MixedCode` over (batch, *code_shape).

        Args:
            x: Tensor of shape (batch, ...).
            training: Whether layers such as dropout are active. Defaults to False.
        """
        features = self.encoder(x, training=training)
        parameters = ops.cast(self.features_to_code(features, training=training), "float32")
        width = 2 * self.latent_dim
        q = gaussian(parameters[:, :width])
        return MixedCode(q.mean, q.log_variance, parameters[:, width:])

    def prior(self, like: Tensor) -> MixedCode:
        """Make p(z, c): standard normals and a uniform choice, for codes of a tensor's shape."""
        zeros = ops.zeros_like(like)
        numbers, choice = zeros[:, : self.latent_dim], zeros[:, self.latent_dim :]
        return MixedCode(numbers, numbers, choice)

    def _draw_prior(self, num_samples, seed):
        return self.prior(ops.zeros((num_samples, *self.code_shape))).sample(seed)

    # ------------------------------------------------------------------ training

    def _capacities(self):
        """Compute C_z and C_c at the current training step."""
        most = math.log(self.num_categories)
        given = (self.continuous_capacity, self.discrete_capacity)
        ends = (_CONTINUOUS_NATS, most)
        continuous, discrete = (
            arguments.value_at(LinearWarmUp(_STEPS, end=end) if one is None else one, self._step)
            for one, end in zip(given, ends, strict=True)
        )
        return continuous, ops.minimum(discrete, most)

    def loss_weights(self) -> dict[str, Any]:
        return {"capacity_loss": self.gamma * self._current_kl_weight()}

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        q, seed = self.posterior(x, training), self.step_seed(training)
        choice = GumbelSoftmax(q.logits, self.temperature) if training else q.discrete
        z = ops.concatenate([q.continuous.sample(seed), choice.sample(seed)], axis=-1)
        continuous, discrete = q.continuous.kl(), q.discrete.kl()
        at_continuous, at_discrete = self._capacities()
        terms = self.elbo_terms(y, z, ops.stack([continuous, discrete], axis=-1), training)
        distance = ops.abs(continuous - at_continuous) + ops.abs(discrete - at_discrete)
        return {
            **terms,
            "capacity_loss": distance,
            "continuous_kl_loss": continuous,
            "discrete_kl_loss": discrete,
        }

    # ------------------------------------------------------------------ calls

    @batched("data")
    def cluster_probabilities(self, x: Data) -> ArrayOrTensor:
        """Compute q(c | x): the probability of every category, shape (batch, num_categories).

        Args:
            x: Array or tensor of shape (batch, ...), or a stream of them as in `fit`.
        """
        return self.posterior(x).discrete.mean

    @batched("data")
    def cluster(self, x: Data) -> ArrayOrTensor:
        """Find the most probable category of every example: int32 of shape (batch,).

        Args:
            x: Array or tensor of shape (batch, ...), or a stream of them as in `fit`.
        """
        return backend.argmax(self.posterior(x).logits)

    def _endpoints(self):
        found = (self.cluster_probabilities, {"x": (None, *self._data_shape)})
        return {**super()._endpoints(), "cluster_probabilities": found}
