"""Likelihoods, which turn a decoder's output into the distribution of the data given a code.

A likelihood is a small Keras layer, so that a learned scale is a weight like any other, which is
saved and loaded with the model. `get` finds a likelihood by its name.
"""

from keras_ae.likelihoods.base import Likelihood as Likelihood
from keras_ae.likelihoods.by_modality import ByModality as ByModality
from keras_ae.likelihoods.by_name import BY_NAME as BY_NAME
from keras_ae.likelihoods.by_name import get as get
from keras_ae.likelihoods.columns import Columns as Columns
from keras_ae.likelihoods.counts import NegativeBinomial as NegativeBinomial
from keras_ae.likelihoods.counts import Poisson as Poisson
from keras_ae.likelihoods.counts import ZeroInflatedNegativeBinomial as ZeroInflatedNegativeBinomial
from keras_ae.likelihoods.elementary import Bernoulli as Bernoulli
from keras_ae.likelihoods.elementary import Categorical as Categorical
from keras_ae.likelihoods.elementary import ContinuousBernoulli as ContinuousBernoulli
from keras_ae.likelihoods.elementary import Gaussian as Gaussian
from keras_ae.likelihoods.elementary import Laplace as Laplace
from keras_ae.likelihoods.elementary import OptimalGaussian as OptimalGaussian
from keras_ae.likelihoods.levels import DiscretizedLogisticMixture as DiscretizedLogisticMixture
from keras_ae.likelihoods.levels import Ordinal as Ordinal
from keras_ae.likelihoods.multinomial import Multinomial as Multinomial
from keras_ae.likelihoods.real import Beta as Beta
from keras_ae.likelihoods.real import HeteroscedasticGaussian as HeteroscedasticGaussian
from keras_ae.likelihoods.real import HeteroscedasticLaplace as HeteroscedasticLaplace
from keras_ae.likelihoods.real import LogNormal as LogNormal
from keras_ae.likelihoods.real import StudentT as StudentT
