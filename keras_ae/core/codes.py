"""The codes of data: where they lie, how wide their posteriors are, and what they cost."""

import typing

import numpy as np
from keras import ops

from keras_ae.core import examples
from keras_ae.core.batching import batched
from keras_ae.core.examples import takes_inputs_of


class Codes(typing.NamedTuple):
    """What is known of the codes of some data.

    Args:
        means: Array of shape (examples, latent_dim), the codes that `encode` returns.
        variances: Array of the same shape, the variances of Gaussian posteriors, or None.
        divergences: Array of the same shape, each dimension's divergence of the posterior from a
            Gaussian prior in nats, or None.
    """

    means: np.ndarray
    variances: np.ndarray | None = None
    divergences: np.ndarray | None = None

    def spread(self):
        """Compute the standard deviation of every dimension over all draws of codes."""
        within = 0.0 if self.variances is None else self.variances.mean(axis=0)
        return np.sqrt(self.means.var(axis=0) + within)

    def rank(self):
        """List the dimensions, the most informative first.

        They are ordered by divergence, or by the variance of the codes if there is none.
        """
        measure = self.means.var(axis=0)
        if self.divergences is not None:
            measure = self.divergences.mean(axis=0)
        return np.argsort(-measure, kind="stable")


def describe_codes(model, x, inputs=None):
    """Encode data, and look at its posteriors if the model has any.

    Args:
        model: The model, whose codes are vectors of real numbers.
        x: Data as `encode` takes it.
        inputs: Dictionary of the named inputs, one row for each example. Defaults to None.

    Returns:
        `Codes` in float64.
    """
    if hasattr(model, "posterior"):
        given = examples.select(model, _describe_posteriors, inputs or {})
        found = _describe_posteriors(model, x, verbose=0, **given)
    else:
        given = examples.select(model, model.encode, inputs or {})
        found = model.encode(x, verbose=0, **given)[:, None]
    means, *more = np.moveaxis(np.asarray(found, "float64"), 1, 0)
    return Codes(means, *more)


@batched("data", "posterior")
@takes_inputs_of("posterior", "prior")
def _describe_posteriors(model, x, **inputs):
    """Compute means, variances and divergences, as far as there are any, in one tensor.

    Its shape is (batch, number of these, latent_dim).
    """
    q = examples.call(model, model.posterior, x, inputs=inputs)
    if not hasattr(q, "log_variance"):
        return q.mean[:, None]
    parts = [q.mean, ops.exp(q.log_variance)]
    prior = examples.call(model, model.prior, q.mean, inputs=inputs)
    if hasattr(prior, "kl_per_dimension"):  # Only Gaussians with independent dimensions have it.
        # expm1 keeps the digits of small divergences.
        difference = q.log_variance - prior.log_variance
        squares = ops.square(q.mean - prior.mean) * ops.exp(-prior.log_variance)
        parts.append(0.5 * (squares + ops.expm1(difference) - difference))
    return ops.stack(parts, axis=1)
