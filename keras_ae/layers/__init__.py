"""Keras layers of the models, useful alone."""

from keras_ae.layers.autoregressive import InverseAutoregressiveFlow as InverseAutoregressiveFlow
