"""Likelihoods by the names that users type."""

from keras_ae.core import arguments
from keras_ae.likelihoods.base import Likelihood
from keras_ae.likelihoods.counts import NegativeBinomial, Poisson, ZeroInflatedNegativeBinomial
from keras_ae.likelihoods.elementary import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    Gaussian,
    Laplace,
    OptimalGaussian,
)
from keras_ae.likelihoods.levels import DiscretizedLogisticMixture, Ordinal
from keras_ae.likelihoods.multinomial import Multinomial
from keras_ae.likelihoods.real import (
    Beta,
    HeteroscedasticGaussian,
    HeteroscedasticLaplace,
    LogNormal,
    StudentT,
)

BY_NAME = {
    "bernoulli": Bernoulli,
    "continuous_bernoulli": ContinuousBernoulli,
    "gaussian": Gaussian,
    "gaussian_learned_scale": lambda: Gaussian("learned"),
    "gaussian_optimal_scale": OptimalGaussian,
    "laplace": Laplace,
    "laplace_learned_scale": lambda: Laplace("learned"),
    "gaussian_feature_scale": lambda: Gaussian("feature"),
    "gaussian_heteroscedastic": HeteroscedasticGaussian,
    "laplace_feature_scale": lambda: Laplace("feature"),
    "laplace_heteroscedastic": HeteroscedasticLaplace,
    "student_t": StudentT,
    "student_t_learned_scale": lambda: StudentT("learned"),
    "log_normal": LogNormal,
    "log_normal_learned_scale": lambda: LogNormal("learned"),
    "beta": Beta,
    "poisson": Poisson,
    "negative_binomial": NegativeBinomial,
    "zero_inflated_negative_binomial": ZeroInflatedNegativeBinomial,
    "multinomial": Multinomial,
    "categorical": Categorical,
    "ordinal": Ordinal,
    "discretized_logistic_mixture": DiscretizedLogisticMixture,
}


def get(identifier: str | Likelihood) -> Likelihood:
    """Find a likelihood by its name. A likelihood is returned as it is.

    Args:
        identifier: A `Likelihood`, or one of these names. For data in [0, 1]: `"bernoulli"`,
            `"continuous_bernoulli"`, `"beta"` (without the ends), `"discretized_logistic_mixture"`
            (8-bit data divided by 255). For real data: `"gaussian"`, `"laplace"`, `"student_t"`,
            each also with `"_learned_scale"` at its end, `"gaussian_optimal_scale"`,
            `"gaussian_feature_scale"`, `"laplace_feature_scale"`, `"gaussian_heteroscedastic"`,
            `"laplace_heteroscedastic"`. For positive data: `"log_normal"`,
            `"log_normal_learned_scale"`. For counts: `"poisson"`, `"negative_binomial"`,
            `"zero_inflated_negative_binomial"`, `"multinomial"` (of vectors). For one-hot data:
            `"categorical"`, `"ordinal"`.

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
