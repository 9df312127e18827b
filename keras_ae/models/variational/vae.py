"""Auto-Encoding Variational Bayes: Kingma and Welling 2013, arXiv:1312.6114."""

from typing import Any

from keras import ops

from keras_ae.core import arguments
from keras_ae.core.examples import call, takes_inputs_of
from keras_ae.core.types import Network, Tensor, Weight
from keras_ae.distributions import DiagonalGaussian
from keras_ae.layers import gaussian_kl
from keras_ae.likelihoods.base import Likelihood
from keras_ae.models.variational.base import VariationalAE


class VAE(VariationalAE):
    """A variational autoencoder, which minimizes the negative evidence lower bound (eq. 3).

    The bound is estimated with one reparameterized sample per example. In the logs, the sum of
    `reconstruction_loss` and `kl_loss` is the negative bound in nats per example, because
    `kl_weight` does not change logged losses.

    Args:
        latent_dim: Number of dimensions of the code. Defaults to None: 16, and more for large
            pictures, see `keras_ae.Autoencoder`.
        encoder, decoder, network_options, seed: See `keras_ae.Autoencoder`. Your own decoder must
            return the parameters of the likelihood: the logits of a Bernoulli or categorical
            likelihood, without a sigmoid or softmax, or the mean of a Gaussian. Sequences may be
            padded if the option `mask_value` is set, or if your own encoder begins with a
            `keras.layers.Masking`. A step is padding if all its features equal the mask value.
            Padding changes neither the code nor the likelihood, and the decoded values at these
            steps have no meaning.
        likelihood: A name, such as `"bernoulli"`, `"gaussian_learned_scale"`, `"poisson"` or
            `"categorical"`, or an object of `keras_ae.likelihoods`. `keras_ae.likelihoods.get`
            lists the names by the kind of data. Defaults to "bernoulli".
        kl_weight: Factor of the KL divergence in training: a number of at least 0, or a schedule of
            the training step, such as `keras_ae.schedules.LinearWarmUp(5000)`. Defaults to 1.
        free_bits: Nats that each dimension of the code may carry, on average over the batch, before
            its divergence is penalized (arXiv:1606.04934, appendix C.8). Defaults to 0.

    Raises:
        ValueError: If an argument is out of range, or a name is unknown.

    Example:

    >>> import numpy as np
    >>> from keras_ae import VAE
    >>> model = VAE(latent_dim=2, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> model.sample(3, seed=0).shape, model.log_likelihood(x, num_samples=10, seed=0).shape
    ((3, 8), (64,))
    """

    objective = ("reconstruction_loss", "kl_loss")

    def __init__(
        self,
        latent_dim: int | None = None,
        encoder: Network | None = None,
        decoder: Network | None = None,
        likelihood: str | Likelihood = "bernoulli",
        kl_weight: Weight = 1.0,
        free_bits: float = 0.0,
        network_options: dict[str, Any] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, encoder, decoder, likelihood, network_options, seed, **kwargs)
        has_free_bits = arguments.is_number(free_bits) and free_bits != 0
        if has_free_bits:
            minimized = [*self.objective, *sum(self.players.values(), ())]
            if "kl_loss" not in minimized:
                raise ValueError(
                    f"{type(self).__name__}: free_bits={free_bits!r} has no effect, because this "
                    f"model minimizes {', '.join(minimized)}. Leave it out."
                )
            self._replace_minimized_terms({"kl_loss": "free_bits_loss"})
        self.kl_weight = arguments.number_or_schedule(self, "kl_weight", kl_weight)
        self.free_bits = arguments.number(self, "free_bits", free_bits, fixed=not has_free_bits)

    def _replace_minimized_terms(self, others):
        """Replace minimized losses by others: name -> other name. The logs keep the old ones."""

        def replace_names(names):
            return tuple(others.get(name, name) for name in names)

        minimized = [*self.objective, *sum(self.players.values(), ())]
        self.objective = replace_names(self.objective)
        self.players = {key: replace_names(names) for key, names in self.players.items()}
        self.diagnostics = (*self.diagnostics, *(name for name in minimized if name in others))

    def _current_kl_weight(self):
        """Compute the factor of the KL divergence at the current training step."""
        return arguments.value_at(self.kl_weight, self._step)

    def loss_weights(self) -> dict[str, Any]:
        weight = self._current_kl_weight()
        return {"kl_loss": weight, "free_bits_loss": weight}

    @takes_inputs_of("posterior", "conditional", "prior")
    def loss_terms(self, x: Tensor, y: Tensor, training: bool, **inputs: Any) -> dict[str, Tensor]:
        q = call(self, self.posterior, x, training, inputs=inputs)
        if type(self).prior is VariationalAE.prior:
            divergence = q.kl_per_dimension()
        else:
            prior = call(self, self.prior, q.mean, inputs=inputs)
            if not isinstance(prior, DiagonalGaussian):
                return self._estimate_bound_terms(y, q, training, **inputs)
            divergence = gaussian_kl(q, prior)
        z = q.sample(self.step_seed(training))
        return self.elbo_terms(y, z, divergence, training, **inputs)

    def elbo_terms(
        self, y: Tensor, z: Tensor, divergence: Tensor, training: bool, **inputs: Any
    ) -> dict[str, Tensor]:
        """Compute the terms of the negative evidence lower bound.

        Args:
            y: Targets, shape (batch, ...).
            z: Codes drawn from the posterior, shape (batch, latent_dim).
            divergence: Tensor of shape (batch, parts). The sum of the parts is KL(q(z | x) || p(z))
                or an estimate of it. There may be one part for each dimension of the code, for
                example. `free_bits` applies to each part.
            training: Whether weights are being updated.
            **inputs: Tensors of the named inputs, if the class has any.

        Returns:
            Dictionary of name -> tensor.
        """
        p = call(self, self.conditional, z, training, inputs=inputs)
        return self._bound_terms(p.log_prob(y), divergence)

    def _bound_terms(self, log_likelihood, divergence):
        """Compute the terms of the negative bound from log p(y | z) and the divergence's parts.

        Args:
            log_likelihood: log p(y | z), shape (batch,).
            divergence: See `elbo_terms`.

        Returns:
            Dictionary of name -> tensor.
        """
        terms = {
            "reconstruction_loss": -log_likelihood,
            "kl_loss": ops.sum(divergence, axis=-1),
        }
        if "free_bits_loss" in self._trackers:
            penalized = ops.maximum(ops.mean(divergence, axis=0), self.free_bits)  # (parts,)
            terms["free_bits_loss"] = ops.sum(penalized)
        return terms

    def _estimate_bound_terms(self, y, q, training, **inputs):
        """Compute `elbo_terms` with a divergence that is estimated from one draw per example.

        Models use this method if the divergence has no closed form.
        """
        z, log_posterior = q.sample_with_log_prob(self.step_seed(training))
        prior = call(self, self.prior, z, inputs=inputs)
        divergence = log_posterior - prior.log_prob(z)
        return self.elbo_terms(y, z, divergence[:, None], training, **inputs)
