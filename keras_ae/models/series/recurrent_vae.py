"""Variational recurrent autoencoders: Fabius and van Amersfoort 2014, arXiv:1412.6581.

With teacher forcing this is the model of Bowman et al. 2015, arXiv:1511.06349, section 2, for
sequences of numbers.
"""

import dataclasses
import functools
from typing import Any

from keras import ops

from keras_ae import schedules
from keras_ae.core.batching import batched
from keras_ae.core.seeds import RunSeed
from keras_ae.core.types import ArrayOrTensor, Data, Tensor, Weight
from keras_ae.likelihoods.base import Likelihood
from keras_ae.models.series.base import CountedSteps, count_parameters, most_probable
from keras_ae.models.variational.vae import VAE
from keras_ae.networks.sequences import RecurrentNetworks, steps_shape


class RecurrentVAE(RecurrentNetworks, CountedSteps, VAE):
    """A VAE of sequences with one code for each: `keras_ae.RecurrentAE` with a bound.

    Padding leaves the bound: the encoder skips it, and the likelihood counts the other steps. The
    divergence is that of the one code. The logs have the bound of each sequence and, as
    `nats_per_step`, the bound divided by the number of steps, which is `num_steps`.

    The decoder reads the code at every step. With teacher forcing it also reads the previous step,
    so that p(x | z) is the product of p(x_t | z, x_1, ..., x_(t-1)). Training, `evaluate` and
    `log_likelihood` read x, and so does `reconstruct`, which returns the mean of each step given
    the steps before it. What the steps before tell need not be in the code, and a decoder that
    predicts well from them may ignore the code. `kl_weight` and `free_bits` work against this.
    `decode` and `sample` have no data. Their decoder reads its own most probable step: 0 or 1 for a
    Bernoulli likelihood, one class for a categorical one, and otherwise the mean.
    `decode(z, sample=True)` draws each step given the steps that were drawn before it.

    Args:
        latent_dim: Dimensions of the code. Defaults to 16.
        cell: "gru" or "lstm". Defaults to "gru".
        reverse: Whether the decoder writes the last step first. Its previous step is then the later
            one. Defaults to False.
        teacher_forcing: Whether the decoder reads the previous step. Pass no targets then, because
            `reconstruct` reads x in their place. Defaults to False.
        mask_value: Number that all features of a padded step equal. Defaults to None, no padding.
        encoder, decoder, network_options: See `keras_ae.RecurrentAE`. A decoder of your own returns
            the parameters of the likelihood for each step.
        likelihood: See `keras_ae.VAE`. Defaults to "gaussian_learned_scale".
        kl_weight: See `keras_ae.VAE`. Defaults to None, `keras_ae.schedules.LinearWarmUp(5000)`,
            because recurrent networks learn to use the code late (arXiv:1511.06349, section 3.1).
        free_bits, seed, standardize: See `keras_ae.VAE`. Data of shape (steps,) counts as steps
            with one feature.

    Raises:
        ValueError: If an argument is out of range, or the data is not a sequence.

    Example:

    >>> import numpy as np
    >>> from keras_ae import RecurrentVAE
    >>> model = RecurrentVAE(latent_dim=2, mask_value=-1.0, teacher_forcing=True, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (16, 5, 3)).astype("float32")
    >>> x[:8, 3:] = -1.0  # These sequences have three steps.
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> history.history["num_steps"], model.encode(x).shape, model.sample(4, seed=0).shape
    ([4.0], (16, 2), (4, 5, 3))
    """

    def __init__(
        self,
        latent_dim: int = 16,
        cell: str = "gru",
        reverse: bool = False,
        teacher_forcing: bool = False,
        mask_value: float | None = None,
        likelihood: str | Likelihood = "gaussian_learned_scale",
        kl_weight: Weight | None = None,
        **kwargs: Any,
    ):
        kl_weight = schedules.LinearWarmUp(5000) if kl_weight is None else kl_weight
        kwargs |= {"likelihood": likelihood, "kl_weight": kl_weight}
        super().__init__(latent_dim, cell, reverse, teacher_forcing, mask_value, **kwargs)

    @property
    def _reads_data(self):
        return self.teacher_forcing

    def _step_to_read(self):
        return functools.partial(most_probable, self.likelihood)

    def _build_networks(self, shape, target_shape):
        steps = steps_shape(self, target_shape)
        count_parameters(self, steps)
        # A decoder that reads its own steps computes them with the likelihood's weights.
        self.likelihood.build(steps)
        super()._build_networks(shape, target_shape)

    def _build_likelihood(self, target_shape):
        """Leave the likelihood as `_build_networks` has built it."""

    def conditional(self, z: Tensor, training: bool = False) -> Any:
        if self.teacher_forcing:
            return _StepByStep(self, z, training)
        output = self.decoder(z, training=training)
        return self._condition(self._output_to_steps(output), training)

    def _condition_taught(self, z, x, training):
        """Make the distribution of each step given the code and the previous steps in x."""
        steps = ops.reshape(ops.cast(x, "float32"), (-1, *self._steps))
        return self._condition(self._decode_taught(z, steps, training), training)

    @batched("data", returns_data=True)
    def reconstruct(self, x: Data, training: bool = False) -> ArrayOrTensor:
        """Compute the expected value of each step, given the code.

        With teacher forcing, it is the expected value given the code and the previous steps in x.

        Args:
            x: Array or tensor of shape (batch, ...), or a stream of them as in `fit`.
            training: Whether layers such as dropout are active. Defaults to False.

        Returns:
            Array or tensor of the target's shape, float32.
        """
        z = self.posterior(x, training).mean
        # Data of another shape than the targets has no previous steps of theirs.
        if self.teacher_forcing and self._data_shape == self._target_shape:
            return self._condition_taught(z, x, training).mean
        return self.conditional(z, training).mean

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        terms = super().loss_terms(x, y, training)
        steps = ops.reshape(y, (-1, *self._steps))
        return self._with_nats_per_step(terms, ops.sum(self._mask_padding(steps), axis=(1, 2)))


@dataclasses.dataclass(frozen=True, eq=False)
class _StepByStep:
    """p(x | z), the product of the distributions of each step given the steps before it."""

    model: RecurrentVAE
    z: object
    training: bool

    @property
    def mean(self):
        """The mean of each step if the decoder reads its own most probable steps."""
        output = self.model.decoder(self.z, training=self.training)
        return self.model._condition(self.model._output_to_steps(output)).mean

    def log_prob(self, x):
        return self.model._condition_taught(self.z, x, self.training).log_prob(x)

    def sample(self, seed):
        """Draw one step after the other, each given those before it."""
        model = self.model
        if not isinstance(seed, RunSeed):
            seed = RunSeed(seed.next())  # Only a RunSeed gives each turn of the loop its own.
        steps, features = model._steps
        places = ops.reshape(ops.arange(steps), (1, -1, 1))
        places = model._reorder_steps(places)

        def turn(number, drawn):
            output = model._decode_taught(self.z, drawn, self.training)
            p = model.likelihood.distribution(ops.reshape(output, (-1, output.shape[-1])))
            new = ops.reshape(p.sample(seed.at(number)), (-1, steps, features))
            return ops.where(places == number, new, drawn)

        start = ops.repeat(ops.zeros_like(self.z[:, :1, None]), steps, axis=1)
        drawn = ops.fori_loop(0, steps, turn, ops.repeat(start, features, axis=2))
        return ops.reshape(drawn, (-1, *model._target_shape))
