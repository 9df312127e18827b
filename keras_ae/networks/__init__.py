"""Encoders, decoders and discriminators: plain Keras models that fit the shape of the data.

Every layer is named after its network, because optimizers and saved files find weights by path,
and the numbers in Keras' automatic names differ between processes.
"""

from keras_ae.networks.by_name import decoder as decoder
from keras_ae.networks.by_name import encoder as encoder
from keras_ae.networks.by_name import given_or_none as given_or_none
from keras_ae.networks.by_name import has_places as has_places
from keras_ae.networks.by_name import mask_value as mask_value
from keras_ae.networks.by_name import options_or_none as options_or_none
from keras_ae.networks.mlp import discriminator as discriminator
from keras_ae.networks.options import KINDS as KINDS
from keras_ae.networks.options import defaults_of as defaults_of
from keras_ae.networks.options import options_for as options_for
from keras_ae.networks.reach import check_output as check_output
from keras_ae.networks.reach import refuse_linear as refuse_linear
from keras_ae.networks.recurrent import feedback_decoder as feedback_decoder
from keras_ae.networks.spatial import layers_for as layers_for
from keras_ae.networks.transformer import transformer_blocks as transformer_blocks
from keras_ae.networks.unet import unet as unet
