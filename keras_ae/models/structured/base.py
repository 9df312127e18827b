"""The base class of VAEs whose latent variables depend on each other, in layers or in steps."""

import dataclasses

import keras
import numpy as np
from keras import ops

from keras_ae import distributions
from keras_ae.core import arguments
from keras_ae.core.types import Tensor, Verbose
from keras_ae.models.variational.vae import VAE


@dataclasses.dataclass(frozen=True, eq=False)
class StructuredPosterior:
    """q(z | x) of latent variables, each of which depends on the draws of those before it."""

    model: keras.Model
    evidence: tuple[Tensor, ...]  # Tensors (batch, ...) that were computed from the data alone.
    training: bool

    @property
    def mean(self):
        """The code if every variable takes its mean."""
        return self.sample(None)

    def sample(self, seed):
        """Draw a code, or take the mean of every variable if the seed is None."""
        return self.model._code(self.model._infer(self.evidence, seed, self.training)[0])

    def repeat(self, num_copies):
        """Repeat the posterior of every example num_copies times, one copy after the other."""
        evidence = tuple(ops.repeat(e, num_copies, axis=0) for e in self.evidence)
        return StructuredPosterior(self.model, evidence, self.training)


class StructuredVAE(VAE):
    """Base class of VAEs whose latent variables have priors that depend on each other's draws."""

    def posterior(self, x: Tensor, training: bool = False) -> StructuredPosterior:
        """Compute q(z | x), whose `mean` and draws are codes of shape (batch, *code_shape).

        Args:
            x: Tensor of shape (batch, ...).
            training: Whether layers such as dropout are active. Defaults to False.
        """
        return StructuredPosterior(self, tuple(self._evidence(x, training)), training)

    def prior(self, like: Tensor) -> distributions.DiagonalGaussian:
        raise NotImplementedError(
            f"{type(self).__name__}: each prior depends on draws of other latent variables, so "
            "that there is no p(z) in one piece. Call `sample` to draw from all priors."
        )

    def _evidence(self, x, training):
        """Compute from x what the posterior needs of it: a list of tensors (batch, ...)."""
        raise NotImplementedError

    def _infer(self, evidence, seed, training, estimate=False):
        """Draw every latent variable from its posterior, or take its mean if the seed is None.

        Returns:
            The draws; what `_condition_on` takes; and the divergences of the variables or their
            estimates, (batch, parts): see `keras_ae.layers.draw_with_divergence`.
        """
        raise NotImplementedError

    def _code(self, draws):
        """Make the code from the draws."""
        return draws

    def _condition_on(self, state, training=False):
        """Make p(x | z) from what `_infer` returned for the draws z."""
        return VAE.conditional(self, state, training)

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        evidence, seed = self._evidence(x, training), self.step_seed(training)
        _, state, divergence = self._infer(evidence, seed, training)
        return self._bound_terms(self._condition_on(state, training).log_prob(y), divergence)

    def _importance_terms(self, q, y, num_samples, seed, training=False):
        evidence = q.repeat(num_samples).evidence
        _, state, divergence = self._infer(evidence, seed, training, estimate=True)
        targets = ops.repeat(y, num_samples, axis=0)  # (batch * num_samples, ...)
        log_likelihood = self._condition_on(state, training).log_prob(targets)
        terms = (log_likelihood, ops.sum(divergence, axis=1))
        return tuple(ops.reshape(v, (-1, num_samples)) for v in terms)

    def _draw_prior(self, num_samples, seed, temperature=1.0):
        raise NotImplementedError

    def sample(
        self,
        num_samples: int,
        seed: int | None = None,
        temperature: float = 1.0,
        *,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
    ) -> np.ndarray:
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
