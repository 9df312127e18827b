"""Where `sample` gets its codes."""

from keras_ae.samplers.priors import gaussian as gaussian
from keras_ae.samplers.priors import gaussian_mixture as gaussian_mixture
from keras_ae.samplers.priors import get as get
from keras_ae.samplers.priors import swiss_roll as swiss_roll
