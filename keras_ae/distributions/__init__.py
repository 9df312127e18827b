"""Probability distributions over a batch of examples: frozen parameters, float32 densities.

One event comprises all axes but the first, so that `log_prob` returns one number per example for
vectors, images and sequences alike. Parameters, samples and densities are float32 whatever the
precision of the networks, because a sum over thousands of pixels does not fit in 16 bits.
"""

from keras_ae.distributions.columns import Coded as Coded
from keras_ae.distributions.columns import Columns as Columns
from keras_ae.distributions.columns import Modes as Modes
from keras_ae.distributions.columns import PartlyMissing as PartlyMissing
from keras_ae.distributions.counts import NegativeBinomial as NegativeBinomial
from keras_ae.distributions.counts import Poisson as Poisson
from keras_ae.distributions.counts import (
    ZeroInflatedNegativeBinomial as ZeroInflatedNegativeBinomial,
)
from keras_ae.distributions.elementary import Bernoulli as Bernoulli
from keras_ae.distributions.elementary import Categorical as Categorical
from keras_ae.distributions.elementary import ContinuousBernoulli as ContinuousBernoulli
from keras_ae.distributions.elementary import DiagonalGaussian as DiagonalGaussian
from keras_ae.distributions.elementary import Distribution as Distribution
from keras_ae.distributions.elementary import GaussianMixture as GaussianMixture
from keras_ae.distributions.elementary import Laplace as Laplace
from keras_ae.distributions.elementary import Normal as Normal
from keras_ae.distributions.elementary import event_sum as event_sum
from keras_ae.distributions.elementary import pairwise_log_prob as pairwise_log_prob
from keras_ae.distributions.gumbel_softmax import GumbelSoftmax as GumbelSoftmax
from keras_ae.distributions.hyperbolic import RiemannianNormal as RiemannianNormal
from keras_ae.distributions.hyperbolic import WrappedNormal as WrappedNormal
from keras_ae.distributions.joint import Joint as Joint
from keras_ae.distributions.joint import is_absent as is_absent
from keras_ae.distributions.labeled import LabeledCodes as LabeledCodes
from keras_ae.distributions.labeled import LabeledGaussians as LabeledGaussians
from keras_ae.distributions.levels import DiscretizedLogisticMixture as DiscretizedLogisticMixture
from keras_ae.distributions.logistic_normal import approximate_dirichlet as approximate_dirichlet
from keras_ae.distributions.mixed_code import MixedCode as MixedCode
from keras_ae.distributions.multinomial import Multinomial as Multinomial
from keras_ae.distributions.observed import Observed as Observed
from keras_ae.distributions.padded import WithoutPadding as WithoutPadding
from keras_ae.distributions.padded import counted as counted
from keras_ae.distributions.padded import without_padding as without_padding
from keras_ae.distributions.real import Beta as Beta
from keras_ae.distributions.real import LogNormal as LogNormal
from keras_ae.distributions.real import StudentT as StudentT
from keras_ae.distributions.rescaled import Rescaled as Rescaled
from keras_ae.distributions.transformed import TransformedGaussian as TransformedGaussian
from keras_ae.distributions.von_mises_fisher import UniformSphere as UniformSphere
from keras_ae.distributions.von_mises_fisher import VonMisesFisher as VonMisesFisher
from keras_ae.distributions.weighted_mixture import WeightedGaussians as WeightedGaussians
