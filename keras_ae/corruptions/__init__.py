"""Corruptions for denoising autoencoders: damage to the input but not to the target.

The idea, masking noise and salt-and-pepper noise are from Vincent et al., Stacked Denoising
Autoencoders, JMLR 11 (2010), section 3.3, https://jmlr.org/papers/v11/vincent10a.html.
"""

from keras_ae.corruptions.by_name import get as get
from keras_ae.corruptions.by_name import pairs as pairs
from keras_ae.corruptions.noise import AdditiveGaussian as AdditiveGaussian
from keras_ae.corruptions.noise import Masking as Masking
from keras_ae.corruptions.noise import SaltAndPepper as SaltAndPepper
from keras_ae.corruptions.noise import Speckle as Speckle
from keras_ae.corruptions.pictures import Affine as Affine
from keras_ae.corruptions.pictures import Blocks as Blocks
from keras_ae.corruptions.pictures import Rectangle as Rectangle
from keras_ae.corruptions.quality import JPEG as JPEG
from keras_ae.corruptions.quality import Downsampling as Downsampling
from keras_ae.corruptions.quality import Gray as Gray
from keras_ae.corruptions.text import Text as Text
