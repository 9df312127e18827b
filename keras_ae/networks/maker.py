"""The maker of the layers of one network."""

import keras
from keras import layers

from keras_ae.core import memory
from keras_ae.core.seeds import default_seed
from keras_ae.layers import Maxout, SpectralNormalization
from keras_ae.networks.options import CELLS, MAXOUT

_PIECES = 2  # Each unit is the maximum of so many linear pieces if the activation is "maxout".

# This is the advice if a network does not fit into memory.
SMALLER = "Take smaller layers, or smaller examples."
# An image has the shape (height, width, channels), whatever the user's Keras configuration says.
IMAGE = {"data_format": "channels_last"}


class LayerMaker:
    """Makes the layers of one network, with its name as a prefix, its dtype and its options."""

    def __init__(self, name, dtype, options):
        self.name = name
        self.dtype = dtype
        self.options = options
        # Under mixed precision this is float32.
        self.full_dtype = keras.dtype_policies.get(dtype).variable_dtype

    def network(self, inputs, outputs):
        return memory.guard_network(keras.Model(inputs, outputs, name=self.name))

    def input(self, shape):
        return keras.Input(shape, name=f"{self.name}_input", dtype=self.full_dtype)

    def layer(self, layer_class, role, *arguments, **keywords):
        keywords = {"dtype": self.dtype, **keywords}
        return layer_class(*arguments, name=f"{self.name}_{role}", **keywords)

    def kernel_layer(self, layer_class, role, *arguments, **keywords):
        """Make a layer that has a kernel, with the options of kernels."""
        initializer = self.options.kernel_initializer
        if role == "output" and self.options.output_initializer is not None:
            initializer = self.options.output_initializer
        if isinstance(initializer, keras.initializers.Initializer):
            # An initializer without a seed gives all kernels of one shape the same values if one
            # object serves them all.
            initializer = initializer.clone()
        layer = self.layer(
            layer_class,
            role,
            *arguments,
            kernel_initializer=initializer,
            kernel_regularizer=self.options.kernel_regularizer,
            **keywords,
        )
        return SpectralNormalization(layer) if self.options.spectral_normalization else layer

    def block(self, h, layer_class, role, size, **keywords):
        """Apply a linear layer and the activation, with normalization and dropout as optional."""
        activation, is_maxout = self.options.activation, self.options.activation == MAXOUT
        if is_maxout:
            size, activation = _PIECES * size, None
        if self.options.batch_normalization:
            h = self.kernel_layer(layer_class, role, size, use_bias=False, **keywords)(h)
            h = self.batch_normalization(h, role)
            if not is_maxout:
                h = self.layer(layers.Activation, f"{role}_activation", activation)(h)
        else:
            h = self.kernel_layer(layer_class, role, size, activation=activation, **keywords)(h)
        if is_maxout:
            h = self.layer(Maxout, f"{role}_activation", _PIECES)(h)
        return self.dropout(h, role)

    def recurrent_block(self, h, role, size, **keywords):
        """Apply a recurrent layer, whose cells have the activation, then optional layers."""
        keywords = {"activation": self.options.activation, **keywords}
        h = self.kernel_layer(CELLS[self.options.cell], role, size, **keywords)(h)
        if self.options.batch_normalization:
            h = self.batch_normalization(h, role)
        return self.dropout(h, role)

    def batch_normalization(self, h, role):
        return self.layer(layers.BatchNormalization, f"{role}_normalization")(h)

    def dropout(self, h, role):
        if self.options.dropout == 0:
            return h
        # Without a seed, torch would draw from its global state, which no checkpoint contains.
        seed = default_seed()
        return self.layer(layers.Dropout, f"{role}_dropout", self.options.dropout, seed=seed)(h)
