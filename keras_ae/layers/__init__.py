"""Keras layers of the models, useful alone."""

from keras_ae.layers.autoregressive import InverseAutoregressiveFlow as InverseAutoregressiveFlow
from keras_ae.layers.spectral import SpectralNormalization as SpectralNormalization
from keras_ae.layers.spectral import power_iteration as power_iteration
from keras_ae.layers.stochastic import LadderLayer as LadderLayer
from keras_ae.layers.stochastic import StochasticLayer as StochasticLayer
from keras_ae.layers.stochastic import draw_with_divergence as draw_with_divergence
from keras_ae.layers.stochastic import gaussian as gaussian
from keras_ae.layers.stochastic import gaussian_kl as gaussian_kl
from keras_ae.layers.stochastic import gaussian_product as gaussian_product
