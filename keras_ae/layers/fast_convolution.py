"""The base class of convolutions that are computed in the fastest way that a backend has."""

from keras_ae.core import backend, memory
from keras_ae.core.types import Tensor


class FastConvolution(memory.GuardedLayer):
    """Base class of convolutions whose `call` chooses between Keras' own code and faster ones.

    These are `products`, and what `keras_ae.core.backend.convolve` computes.

    A subclass derives from this class and then from Keras' layer, and defines
    `has_products(input_shape)` and `products(x)`.
    """

    def call(self, inputs):
        if backend.transposes_slowly() and self.has_products(inputs.shape):
            outputs = self.products(inputs)
            if self.use_bias:
                outputs = outputs + self.bias
        else:
            outputs = backend.convolve(self, inputs)
            if outputs is None:
                return super().call(inputs)
        return outputs if self.activation is None else self.activation(outputs)

    def has_products(self, input_shape: tuple[int | None, ...]) -> bool:
        """Tell whether `products` can compute this layer for inputs of this shape."""
        raise NotImplementedError

    def products(self, x: Tensor) -> Tensor:
        """Compute the layer without its bias and its activation."""
        raise NotImplementedError
