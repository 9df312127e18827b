"""Likelihoods by the names that users type."""

from keras_ae.core import arguments
from keras_ae.likelihoods.base import Likelihood
from keras_ae.likelihoods.elementary import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    Gaussian,
    Laplace,
    OptimalGaussian,
)

BY_NAME = {
    "bernoulli": Bernoulli,
    "continuous_bernoulli": ContinuousBernoulli,
    "gaussian": Gaussian,
    "gaussian_learned_scale": lambda: Gaussian("learned"),
    "gaussian_optimal_scale": OptimalGaussian,
    "laplace": Laplace,
    "laplace_learned_scale": lambda: Laplace("learned"),
    "categorical": Categorical,
}


def get(identifier):
    """Find a likelihood by its name. A likelihood is returned as it is.

    Args:
        identifier: One of `"bernoulli"`, `"continuous_bernoulli"`, `"gaussian"`,
            `"gaussian_learned_scale"`, `"gaussian_optimal_scale"`, `"laplace"`,
            `"laplace_learned_scale"`, `"categorical"`, or a `Likelihood`.

    Raises:
        ValueError: If the identifier is neither such a name nor a `Likelihood`.

    Example:

    >>> from keras_ae import likelihoods
    >>> likelihoods.get("laplace").scale
    1.0
    """
    if isinstance(identifier, Likelihood):
        return identifier
    if isinstance(identifier, str) and identifier in BY_NAME:
        return BY_NAME[identifier]()
    hint = arguments.did_you_mean(identifier, BY_NAME)
    raise ValueError(
        f"likelihood={arguments.show(identifier)} is unknown.{hint} Pass one of "
        f"{', '.join(BY_NAME)}, or a keras_ae.likelihoods object."
    )
