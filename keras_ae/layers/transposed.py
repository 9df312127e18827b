"""The transposed convolution as matrix products, where those are faster."""

import keras
from keras import ops

from keras_ae.core import backend, memory


@keras.saving.register_keras_serializable("keras_ae")
class Conv2DTranspose(memory.GuardedLayer, keras.layers.Conv2DTranspose):
    """`keras.layers.Conv2DTranspose`, several times as fast with JAX on a CPU.

    There XLA spreads the input out among zeros and convolves it with them. Here every place of the
    input gives its whole block of the output in one matrix product, and overlapping blocks are
    added up, with channels last, `padding="same"` and a kernel of at least the strides, or of just
    the strides; all else, and every other backend, is Keras' own. The weights are the same.

    Args: As of `keras.layers.Conv2DTranspose`.

    Example:

    >>> import numpy as np
    >>> from keras_ae.layers import Conv2DTranspose
    >>> layer = Conv2DTranspose(2, 4, strides=2, padding="same")
    >>> layer(np.zeros((1, 7, 7, 3), "float32")).shape == (1, 14, 14, 2)
    True
    """

    def call(self, inputs):
        if not backend.transposes_slowly() or not self.has_products(inputs.shape):
            return super().call(inputs)
        outputs = self.products(inputs)
        if self.use_bias:
            outputs = outputs + self.bias
        return outputs if self.activation is None else self.activation(outputs)

    def has_products(self, input_shape):
        """Whether the layer is of the kind that `products` computes, for inputs of this shape."""
        return (
            (self.padding == "same" or self.kernel_size == self.strides)
            and self.data_format == "channels_last"
            and self.output_padding is None
            and tuple(self.dilation_rate) == (1, 1)
            and all(k >= s for k, s in zip(self.kernel_size, self.strides, strict=True))
            and None not in input_shape[1:3]
        )

    def products(self, x):
        """The transposed convolution without bias: a tensor (batch, rows, columns, filters).

        Args:
            x: Tensor of shape (batch, height, width, channels).
        """
        (height, width, channels), filters = x.shape[1:], self.filters
        strides, kernel = self.strides, self.kernel
        # A kernel in blocks of one stride: each block falls onto a neighbour's place.
        blocks = [-(-k // s) for k, s in zip(self.kernel_size, strides, strict=True)]
        missing = [b * s - k for b, s, k in zip(blocks, strides, self.kernel_size, strict=True)]
        kernel = ops.pad(kernel, ((0, missing[0]), (0, missing[1]), (0, 0), (0, 0)))
        kernel = ops.reshape(kernel, (blocks[0], strides[0], blocks[1], strides[1], filters, -1))
        kernel = ops.reshape(ops.transpose(kernel, (5, 0, 2, 1, 3, 4)), (channels, -1))
        made = ops.matmul(ops.reshape(x, (-1, channels)), kernel)
        size = strides[0] * strides[1] * filters
        made = ops.reshape(made, (-1, height, width, *blocks, size))
        total = 0.0
        for row in range(blocks[0]):
            for column in range(blocks[1]):
                around = ((0, 0), (row, blocks[0] - 1 - row), (column, blocks[1] - 1 - column))
                total = total + ops.pad(made[:, :, :, row, column], (*around, (0, 0)))
        rows, columns = height + blocks[0] - 1, width + blocks[1] - 1
        total = ops.reshape(total, (-1, rows, columns, *strides, filters))
        total = ops.transpose(total, (0, 1, 3, 2, 4, 5))
        total = ops.reshape(total, (-1, rows * strides[0], columns * strides[1], filters))
        # "same" drops what the kernel has beyond the strides, the odd one at the end.
        top, left = ((k - s) // 2 for k, s in zip(self.kernel_size, strides, strict=True))
        return total[:, top : top + height * strides[0], left : left + width * strides[1]]
