"""The base class of convolutions that are computed as matrix products where these are faster."""

from keras_ae.core import backend, memory


class ByProducts(memory.GuardedLayer):
    """Base class of convolutions whose `call` chooses between Keras' own code and `products`.

    A subclass derives from this class and then from Keras' layer, and defines
    `has_products(input_shape)` and `products(x)`.
    """

    def call(self, inputs):
        if not backend.transposes_slowly() or not self.has_products(inputs.shape):
            return super().call(inputs)
        outputs = self.products(inputs)
        if self.use_bias:
            outputs = outputs + self.bias
        return outputs if self.activation is None else self.activation(outputs)

    def has_products(self, input_shape):
        """Tell whether `products` can compute this layer for inputs of this shape."""
        raise NotImplementedError

    def products(self, x):
        """Compute the layer without its bias and its activation."""
        raise NotImplementedError
