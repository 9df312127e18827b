"""Keras layers that the models use, and that are useful by themselves."""

from keras_ae.layers.autoregressive import InverseAutoregressiveFlow as InverseAutoregressiveFlow
from keras_ae.layers.code_priors import GridPrior as GridPrior
from keras_ae.layers.code_priors import SequencePrior as SequencePrior
from keras_ae.layers.gradient_estimators import rotated as rotated
from keras_ae.layers.gradient_estimators import straight_through as straight_through
from keras_ae.layers.patches import from_patches as from_patches
from keras_ae.layers.patches import patch_places as patch_places
from keras_ae.layers.patches import sine_cosine_positions as sine_cosine_positions
from keras_ae.layers.patches import to_patches as to_patches
from keras_ae.layers.residual_quantizer import ResidualQuantizer as ResidualQuantizer
from keras_ae.layers.scalar_quantizers import FiniteScalarQuantizer as FiniteScalarQuantizer
from keras_ae.layers.scalar_quantizers import LookupFreeQuantizer as LookupFreeQuantizer
from keras_ae.layers.spectral import SpectralNormalization as SpectralNormalization
from keras_ae.layers.spectral import power_iteration as power_iteration
from keras_ae.layers.stochastic import LadderLayer as LadderLayer
from keras_ae.layers.stochastic import StochasticLayer as StochasticLayer
from keras_ae.layers.stochastic import draw_with_divergence as draw_with_divergence
from keras_ae.layers.stochastic import gaussian as gaussian
from keras_ae.layers.stochastic import gaussian_kl as gaussian_kl
from keras_ae.layers.stochastic import gaussian_product as gaussian_product
from keras_ae.layers.transposed import Conv2DTranspose as Conv2DTranspose
from keras_ae.layers.vector_quantizer import Quantized as Quantized
from keras_ae.layers.vector_quantizer import VectorQuantizer as VectorQuantizer
from keras_ae.layers.vector_quantizer import code_statistics as code_statistics
from keras_ae.layers.vector_quantizer import k_means as k_means
