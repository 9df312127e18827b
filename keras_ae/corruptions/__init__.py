"""Corruptions for denoising autoencoders: noise that is added to the input but not to the target.

The idea, masking noise and salt-and-pepper noise are from Vincent et al., Stacked Denoising
Autoencoders, JMLR 11 (2010), section 3.3, https://jmlr.org/papers/v11/vincent10a.html.
"""

from keras_ae.corruptions.by_name import get as get
from keras_ae.corruptions.noise import AdditiveGaussian as AdditiveGaussian
from keras_ae.corruptions.noise import Masking as Masking
from keras_ae.corruptions.noise import SaltAndPepper as SaltAndPepper
from keras_ae.corruptions.noise import Speckle as Speckle
from keras_ae.corruptions.pictures import Affine as Affine
from keras_ae.corruptions.pictures import Blocks as Blocks
