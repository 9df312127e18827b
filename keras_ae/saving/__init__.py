"""The artifact: a folder that TensorFlow serves and from which `keras_ae.load` makes a model."""

from keras_ae.saving.card import read_card as read_card
from keras_ae.saving.collection import list_pretrained as list_pretrained
from keras_ae.saving.manifest import verify as verify
