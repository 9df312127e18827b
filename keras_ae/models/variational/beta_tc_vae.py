"""Isolating Sources of Disentanglement in VAEs: Chen et al. 2018, arXiv:1802.04942."""

import contextlib
import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae.core import arguments, backend, examples, inputs, streams
from keras_ae.core.array_batches import ArrayBatches
from keras_ae.core.batching import batched
from keras_ae.core.types import Tensor
from keras_ae.distributions import DiagonalGaussian, pairwise_log_prob
from keras_ae.divergences import (
    aggregate_log_densities,
    count_pair_numbers,
    stratified_from_weighted,
)
from keras_ae.models.variational.vae import VAE


class BetaTCVAE(VAE):
    """Minimizes eq. 4: the divergence split into three terms, with factor beta for one of them.

    The terms are those of eq. 2, which sum to `kl_loss`. `mi_loss` is the mutual information of
    code and example, `tc_loss` is the total correlation of the code's dimensions, which has the
    factor beta, and `dimension_kl_loss` is the divergence of the dimensions from the prior.

    The paper's estimators of q(z), the average of all posteriors, are used only for the gradient,
    because their values depend on the batch size by hundreds of nats. The reported values do not.
    `evaluate` averages over the posteriors of all examples that it gets. In training, and for
    batches from a generator, the reported values are the stratified estimates with the number of
    training examples. They are too high if a batch is small and its examples' codes are far apart.

    Args:
        latent_dim: Dimensions of the code. Defaults to 16.
        beta: Factor of the total correlation, a number of at least 0. Defaults to 6.
        alpha: Factor of the mutual information, a number of at least 0. Defaults to 1.
        gamma: Factor of the dimension-wise divergence, a number of at least 0. Defaults to 1.
        estimator: The estimator of q(z) from a batch for the gradient, `"weighted"` or
            `"stratified"`: see `keras_ae.divergences.aggregate_log_densities`. Defaults to
            "weighted".
        dataset_size: Number N of training examples, a positive integer. Defaults to None, which
            takes the number of the examples that `fit` gets, or the batch size if this number is
            unknown. The gradient of "weighted" does not depend on it.
        encoder, decoder, likelihood, kl_weight, network_options, seed: See `keras_ae.VAE`. There
            are no `free_bits`, because `kl_loss` is not minimized as a whole.

    Example:

    >>> import numpy as np
    >>> from keras_ae import BetaTCVAE
    >>> model = BetaTCVAE(latent_dim=2, beta=4.0, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8)).astype("float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> sorted(history.history)
    ['dimension_kl_loss', 'kl_loss', 'loss', 'mi_loss', 'reconstruction_loss', 'tc_loss']
    """

    objective = ("reconstruction_loss", "mi_loss", "tc_loss", "dimension_kl_loss")
    diagnostics = ("kl_loss",)

    def __init__(
        self,
        latent_dim: int = 16,
        beta: float = 6.0,
        alpha: float = 1.0,
        gamma: float = 1.0,
        estimator: str = "weighted",
        dataset_size: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        self.beta = arguments.number(self, "beta", beta)
        self.alpha = arguments.number(self, "alpha", alpha)
        self.gamma = arguments.number(self, "gamma", gamma)
        self.estimator = arguments.choice(self, "estimator", estimator, ("weighted", "stratified"))
        if dataset_size is not None:
            arguments.integer(self, "dataset_size", dataset_size)
        self.dataset_size = dataset_size

    def _build_networks(self, shape, target_shape):
        super()._build_networks(shape, target_shape)
        self.known = WholeDataSet(name="whole_data_set")

    def _step_numbers(self, batch_size):
        return super()._step_numbers(batch_size) + count_pair_numbers(batch_size, self.latent_dim)

    def loss_weights(self) -> dict[str, Any]:
        weight = self._current_kl_weight()
        factors = {
            "mi_loss": self.alpha,
            "tc_loss": self.beta,
            "dimension_kl_loss": self.gamma,
        }
        return {name: factor * weight for name, factor in factors.items()}

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        q = self.posterior(x, training)
        z = q.sample(self.step_seed(training))
        count = ops.cast(ops.shape(z)[0], "float32")
        size = ops.maximum(self.known.num_examples, count)
        if self.dataset_size is not None:
            size = ops.maximum(float(self.dataset_size), count)
        joint, each = aggregate_log_densities(z, q, size, self.estimator)
        terms = self.elbo_terms(y, z, q.kl_per_dimension(), training)
        reported = self._estimate_parts(q, z, joint, each, count, size)
        known, *parts = ops.split(self.known.parts, 4)
        for name, value, part in zip(PARTS, reported, parts, strict=True):
            terms[name] = value if training else ops.where(known > 0.0, part, value)
        if training:
            product = ops.sum(each, axis=-1)  # (batch,)
            gradients = (
                q.log_prob(z) - joint,
                joint - product,
                product - self.prior(z).log_prob(z),
            )
            for name, part in zip(PARTS, gradients, strict=True):
                # The term has the value of one estimate and the gradient of the other.
                terms[name] = ops.stop_gradient(terms[name] - part) + part
        return terms

    def _estimate_parts(self, q, z, joint, each, count, size):
        """Compute each example's three parts from the results of `aggregate_log_densities`."""
        if self.estimator == "weighted":
            log_scale = 0.5 * (q.log_variance + math.log(2.0 * math.pi))
            own = -0.5 * ops.square((z - q.mean) * ops.exp(-0.5 * q.log_variance)) - log_scale
            whole = ops.sum(own, axis=-1)
            joint = stratified_from_weighted(joint + ops.log(size), whole, count, size)
            each = stratified_from_weighted(each + ops.log(size), own, count, size)
        return decompose_divergence(
            q.kl(), joint, ops.sum(each, axis=-1), self.prior(z).log_prob(z)
        )

    # ------------------------------------------------------------------ the data set as a whole

    def _prepare_training(self, batches, steps):
        self.known.num_examples.assign(inputs.num_examples(batches, steps) or 0)

    @contextlib.contextmanager
    def _evaluation_scope(self, batches, steps):
        found = self._collect_posteriors(batches, steps)
        if found is not None:
            self.known.parts.assign([1.0, *self._decompose_over_dataset(*found)])
        try:
            yield
        finally:
            if found is not None:
                self.known.parts.assign(np.zeros(4))

    @batched("data")
    def _posterior_parameters(self, x):
        """Compute mean and log-variance of every example's posterior: (batch, 2 * latent_dim)."""
        q = self.posterior(x)
        return ops.concatenate([q.mean, q.log_variance], axis=-1)

    def _collect_posteriors(self, batches, steps):
        """Compute the posterior parameters of all examples, and return their weights, too.

        Return None if the data can be read only once.
        """
        if isinstance(batches, ArrayBatches):
            number = min(batches.num_examples, batches.batch_size * batches.num_batches)
            parts = [tuple(array[:number] for array in batches.arrays)]
        else:
            parts = streams.iterate_batches(batches, steps)
        if parts is None:
            return None
        found = []
        for data, *others in parts:
            x = ops.convert_to_numpy(examples.split(self, data)[0])
            weights = ops.convert_to_numpy(others[1]) if len(others) > 1 else np.ones(len(x))
            found.append((self._posterior_parameters(x, verbose=0), weights))
        parameters, weights = (np.concatenate(values) for values in zip(*found, strict=True))
        return parameters, np.reshape(weights, -1).astype("float64")

    def _decompose_over_dataset(self, parameters, weights):
        """Compute the three parts over a whole dataset, in nats.

        log q(z), which sums over all posteriors, is averaged over draws. The number of draws is
        chosen so that the pairs of draws and posteriors take a few seconds at most. There may be
        several draws from each posterior, or draws from only some of the posteriors.
        """
        parameters, weights = parameters[weights > 0.0], weights[weights > 0.0]
        if not len(weights):
            return 0.0, 0.0, 0.0
        mean, log_variance = np.split(parameters, 2, axis=1)
        number = int(np.clip(_PAIRS // parameters.size, _LEAST_DRAWS, _MOST_DRAWS))
        rows = np.arange(number) * len(mean) // number
        noise = np.random.RandomState(0).normal(size=(number, self.latent_dim))
        z = (mean[rows] + np.exp(0.5 * log_variance[rows]) * noise).astype("float32")
        shares = (weights / weights.sum()).astype("float32")
        programs = self._notes.programs.current()
        program = programs.get("log_aggregate")
        if program is None:
            program = programs["log_aggregate"] = backend.compile_function(self, log_aggregate)
        size = max(1, _AT_ONCE // parameters.size)
        size = -(-number // -(-number // size))
        z = np.concatenate([z, np.repeat(z[-1:], -number % size, axis=0)])
        found = [
            ops.convert_to_numpy(program(z[start : start + size], mean, log_variance, shares))
            for start in range(0, len(z), size)
        ]
        found = np.concatenate(found)[:number].astype("float64")
        q, p = DiagonalGaussian(mean, log_variance), DiagonalGaussian.standard(z)
        divergence = np.average(ops.convert_to_numpy(q.kl()), weights=weights)
        prior = ops.convert_to_numpy(p.log_prob(z))[:number]
        joint, product, prior = np.average(
            np.column_stack([found, prior]), axis=0, weights=weights[rows]
        )
        return decompose_divergence(divergence, joint, product, prior)


PARTS = ("mi_loss", "tc_loss", "dimension_kl_loss")
# In an evaluation, these are the number of pairs of a draw and a posterior's dimension, the limits
# of the number of draws, and the largest number of elements in a tensor.
_PAIRS, _LEAST_DRAWS, _MOST_DRAWS, _AT_ONCE = 2**26, 256, 2048, 2**22


def decompose_divergence(divergence, joint, product, prior):
    """Compute the three parts of eq. 2, whose sum is the divergence.

    Args:
        divergence: KL(q(z | x) || p(z)) in closed form.
        joint, product, prior: log q(z), the sum of log q(z_j), and log p(z) of draws z.

    Returns:
        The mutual information, the total correlation and the dimension-wise divergence. The mutual
        information is computed as the divergence minus log q(z) - log p(z), which has little
        variance if q(z) is near the prior. The alternative, log q(z | x) - log q(z), would have
        little variance if all posteriors were similar.
    """
    return divergence - (joint - prior), joint - product, product - prior


def log_aggregate(z, mean, log_variance, shares):
    """Compute log q(z) and the sum of log q(z_j), (batch, 2), of a mixture with these shares."""
    densities = pairwise_log_prob(z, mean, log_variance)  # (batch, components, latent_dim)
    weights = ops.log(shares)
    joint = ops.logsumexp(ops.sum(densities, axis=-1) + weights, axis=1)
    each = ops.logsumexp(densities + weights[:, None], axis=1)
    return ops.stack([joint, ops.sum(each, axis=-1)], axis=1)


class WholeDataSet(keras.layers.Layer):
    """Holds what the model knows about the whole dataset.

    `num_examples` is the number of training examples, or 0 if it is unknown. The first number of
    `parts` is 1 during an evaluation for which the three parts over the whole dataset are known,
    and these are the other numbers.
    """

    def __init__(self, **kwargs):
        super().__init__(trainable=False, dtype="float32", **kwargs)
        options = {
            "initializer": "zeros",
            "trainable": False,
            "aggregation": "only_first_replica",
            "autocast": False,
        }
        self.num_examples = self.add_weight(shape=(), name="num_examples", **options)
        self.parts = self.add_weight(shape=(4,), name="parts", **options)
        self.built = True

    def load_own_variables(self, store):
        if len(store.keys()):  # Old files do not have this layer's weights.
            super().load_own_variables(store)
