"""The layers of one network, named after it."""

import keras
from keras import layers

from keras_ae.core.seeds import default_seed
from keras_ae.layers import SpectralNormalization
from keras_ae.networks.options import CELLS

# What to do where a network does not fit into memory.
SMALLER = "Take smaller layers, or smaller examples."
# The shape of an image is (height, width, channels) whatever the user's Keras configuration says.
IMAGE = {"data_format": "channels_last"}


class LayerMaker:
    """Makes the layers of one network: named after it, in its dtype, as its options say."""

    def __init__(self, name, dtype, options):
        self.name = name
        self.dtype = dtype
        self.options = options
        # float32 under mixed precision.
        self.full_dtype = keras.dtype_policies.get(dtype).variable_dtype

    def input(self, shape):
        return keras.Input(shape, name=f"{self.name}_input", dtype=self.full_dtype)

    def layer(self, layer_class, role, *arguments, **keywords):
        keywords = {"dtype": self.dtype, **keywords}
        return layer_class(*arguments, name=f"{self.name}_{role}", **keywords)

    def weighted(self, layer_class, role, *arguments, **keywords):
        """A layer whose kernel is initialised, regularised and normalised as the options say."""
        initializer = self.options.kernel_initializer
        if isinstance(initializer, keras.initializers.Initializer):
            # One object without a seed gives all kernels of one shape the same values.
            initializer = initializer.clone()
        layer = self.layer(
            layer_class,
            role,
            *arguments,
            kernel_initializer=initializer,
            kernel_regularizer=self.options.kernel_regularizer,
            **keywords,
        )
        # Of the kinds that have the option.
        return SpectralNormalization(layer) if self.options.spectral_normalization else layer

    def block(self, h, layer_class, role, size, **keywords):
        """A linear layer, normalisation if asked for, the activation, dropout if asked for."""
        activation = self.options.activation
        if self.options.batch_normalization:
            h = self.weighted(layer_class, role, size, use_bias=False, **keywords)(h)
            h = self.normalized(h, role)
            h = self.layer(layers.Activation, f"{role}_activation", activation)(h)
        else:
            h = self.weighted(layer_class, role, size, activation=activation, **keywords)(h)
        return self.dropped(h, role)

    def recurrent_block(self, h, role, size, **keywords):
        """A recurrent layer, which has its activation inside, then what the options ask for."""
        keywords = {"activation": self.options.activation, **keywords}
        h = self.weighted(CELLS[self.options.cell], role, size, **keywords)(h)
        if self.options.batch_normalization:
            h = self.normalized(h, role)
        return self.dropped(h, role)

    def normalized(self, h, role):
        return self.layer(layers.BatchNormalization, f"{role}_normalization")(h)

    def dropped(self, h, role):
        if self.options.dropout == 0:
            return h
        # Without a seed of its own torch draws from its global state, which no checkpoint holds.
        seed = default_seed()
        return self.layer(layers.Dropout, f"{role}_dropout", self.options.dropout, seed=seed)(h)
