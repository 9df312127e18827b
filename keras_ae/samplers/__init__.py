"""Samplers, from which a model's `sample` gets its codes."""

from keras_ae.samplers.autoregressive import Autoregressive as Autoregressive
from keras_ae.samplers.base import Sampler as Sampler
from keras_ae.samplers.base import draw as draw
from keras_ae.samplers.code_density import CodeDensity as CodeDensity
from keras_ae.samplers.feature_density import FeatureDensity as FeatureDensity
from keras_ae.samplers.prior import Prior as Prior
from keras_ae.samplers.priors import gaussian as gaussian
from keras_ae.samplers.priors import gaussian_mixture as gaussian_mixture
from keras_ae.samplers.priors import get as get
from keras_ae.samplers.priors import swiss_roll as swiss_roll
