"""Samplers, from which a model's `sample` gets its codes."""

from keras_ae.samplers.aggregated_posterior import AggregatedPosterior as AggregatedPosterior
from keras_ae.samplers.autoregressive import Autoregressive as Autoregressive
from keras_ae.samplers.base import Sampler as Sampler
from keras_ae.samplers.base import draw as draw
from keras_ae.samplers.code_density import CodeDensity as CodeDensity
from keras_ae.samplers.feature_density import FeatureDensity as FeatureDensity
from keras_ae.samplers.fitted import FittedSampler as FittedSampler
from keras_ae.samplers.fitted import fit_sampler as fit_sampler
from keras_ae.samplers.flow_matching import FlowMatching as FlowMatching
from keras_ae.samplers.hyperbolic import HyperbolicUniform as HyperbolicUniform
from keras_ae.samplers.inverse_flow import InverseFlow as InverseFlow
from keras_ae.samplers.kernel_density import KernelDensity as KernelDensity
from keras_ae.samplers.masked_flow import MaskedFlow as MaskedFlow
from keras_ae.samplers.mixture import GaussianMixture as GaussianMixture
from keras_ae.samplers.nearest_codes import NearestCodes as NearestCodes
from keras_ae.samplers.prior import Prior as Prior
from keras_ae.samplers.priors import gaussian as gaussian
from keras_ae.samplers.priors import gaussian_mixture as gaussian_mixture
from keras_ae.samplers.priors import get as get
from keras_ae.samplers.priors import swiss_roll as swiss_roll
from keras_ae.samplers.spherical import SphericalUniform as SphericalUniform
from keras_ae.samplers.two_stage import TwoStage as TwoStage
