"""Recurrent autoencoders: Cho et al. 2014, arXiv:1406.1078; Srivastava et al., arXiv:1502.04681."""

import keras
from keras import ops

from keras_ae import losses
from keras_ae.core.batching import batched
from keras_ae.core.types import Array, ArrayOrTensor, Tensor
from keras_ae.models.deterministic.ae import AE
from keras_ae.networks.sequences import RecurrentNetworks


class RecurrentAE(RecurrentNetworks, AE):
    """A recurrent network encodes a sequence as one code, and another one decodes the code.

    `reconstruction_loss` is summed over the steps that are not padding. The encoder skips padding,
    wherever it is, so that it does not change the code. Pad sequences of several lengths to the
    same number of steps, such as with `keras.utils.pad_sequences`. `decode` returns this number of
    steps and needs no mask.

    The decoder reads the code at every step. With teacher forcing it also reads the previous step.
    In training this is the target's step. In evaluations, in `decode` and where the target's step
    is padding, it is the decoder's own output. Padding should then come last in the order in which
    the decoder writes.

    Args:
        latent_dim: Dimensions of the code. Defaults to 16.
        cell: "gru" or "lstm". Defaults to "gru".
        reverse: Whether the decoder writes the last step first, as in arXiv:1502.04681, so that its
            first steps are those that the encoder read last. Defaults to False.
        teacher_forcing: Whether the decoder reads the previous step. Defaults to False.
        mask_value: Number that all features of a padded step equal. Defaults to None, no padding.
        encoder: Keras model from the data to features. A model of your own must skip padding
            itself. Defaults to None, a stack of recurrent layers.
        decoder: Keras model from a code to the data, with steps in the order in which the decoder
            writes. Defaults to None, a stack of recurrent layers.
        network_options: Dictionary of options of the `"recurrent"` networks of `keras_ae.networks`,
            except cell and mask_value, such as `{"units": (128, 64)}`. Defaults to None.
        reconstruction_loss, seed: See `keras_ae.AE`. The loss is applied to each step. Data of
            shape (steps,) counts as steps with one feature.

    Raises:
        ValueError: If an argument is out of range, or the data is not a sequence.

    Example:

    >>> import numpy as np
    >>> from keras_ae import RecurrentAE
    >>> model = RecurrentAE(latent_dim=2, mask_value=-1.0, network_options={"units": (8,)}, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).random((16, 5, 3), "float32")
    >>> x[:8, 3:] = -1  # These sequences have three steps.
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> model.encode(x).shape, model.reconstruct(x).shape
    ((16, 2), (16, 5, 3))
    """

    _may_compare_examples = False

    def _step_to_read(self):
        return self._decoder_activation

    def _vector_width(self):
        return self._steps[-1]

    def _output_to_data(self, steps):
        """Turn outputs of shape (batch, steps, features) into data of shape (batch, ...)."""
        data = ops.reshape(steps, (-1, *self._target_shape))
        return keras.activations.get(self._decoder_activation)(data)

    @batched("code")
    def decode(self, z: Array | Tensor, training: bool = False) -> ArrayOrTensor:
        return self._output_to_data(self._output_to_steps(self.decoder(z, training=training)))

    def _reconstruction_terms(self, y, z, training, x=None):
        steps = ops.reshape(y, (-1, *self._steps))
        if training:
            self._update_density(z, x)
        if training and self.teacher_forcing:
            output = self._output_to_data(self._decode_taught(z, steps, training))
        else:
            output = self.decode(z, training=training)
        output = ops.reshape(output, (-1, *self._steps))
        loss = losses.per_example(self.reconstruction_loss, steps, output, self._mask_value)
        return {"reconstruction_loss": loss}
