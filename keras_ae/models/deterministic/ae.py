"""The autoencoder: Hinton and Salakhutdinov 2006, doi:10.1126/science.1127647."""

import keras
from keras import ops

from keras_ae import losses
from keras_ae.models.deterministic.base import DeterministicAE
from keras_ae.samplers import CodeDensity


class AE(DeterministicAE):
    """A code of latent_dim numbers from which the data is reconstructed.

    Minimises the reconstruction loss, summed over an example's elements and averaged over the
    batch. While it trains it keeps the mean and covariance of its codes, from which `sample` draws:
    the ex-post density estimate of arXiv:1903.12436, section 5, with one Gaussian.

    Args:
        latent_dim: Dimensions of the code. Defaults to 16.
        encoder, decoder, network_options, seed: See `keras_ae.Autoencoder`. A decoder of your own
            returns the reconstruction itself: one for a cross-entropy ends in a sigmoid or softmax,
            unless the loss is given `from_logits=True`. With a `mask_value` among the options, or
            an encoder of your own that begins with a `keras.layers.Masking`, steps of sequences
            whose features all equal that number are padding: they change neither the code nor the
            loss, and what is decoded at their places means nothing.
        reconstruction_loss: Name of a Keras loss, a `keras.losses.Loss`, or a function of
            (y_true, y_pred). A default decoder ends in the activation that it expects: a sigmoid
            for the binary cross-entropy, a softmax for the categorical one. Defaults to
            "mean_squared_error".

    Example:

    >>> import numpy as np
    >>> from keras_ae import AE
    >>> model = AE(latent_dim=2, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).random((64, 8), "float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> model.encode(x).shape, model.sample(3, seed=0).shape
    ((64, 2), (3, 8))
    """

    # Where training makes other codes than `encode`, the density follows those of one example in so
    # many: to encode all of them once more would take long.
    _FOLLOWED = 8
    _codes_are_of_the_data = True  # And not of a corrupted copy, or of a part.

    def build_networks(self, shape, target_shape):
        super().build_networks(shape, target_shape)
        self.sampler = CodeDensity(self.code_shape, name="sampler")

    def _reconstruction_terms(self, y, z, training, x=None):
        """The reconstruction loss, by its name; while training the density follows the codes.

        Args:
            y: Targets, shape (batch, ...).
            z: Codes of the batch.
            training: Whether weights are being updated.
            x: Inputs, shape (batch, ...), where z may not be what `encode` gives of them. Defaults
                to None: z is.
        """
        if training:
            self._follow_codes(z, x)
        return super()._reconstruction_terms(y, z, training)

    def _follow_codes(self, z, x=None):
        """Let the density follow a batch, of the same z and x."""
        if x is not None and not (self._codes_are_of_the_data and self._encodes_alike()):
            z = self._code(x[:: self._FOLLOWED])
        self.sampler.update(z)

    def _encodes_alike(self):
        """Whether the encoder does in training what it does in `encode`."""
        return not any(_changes_in_training(p) for p in (self.encoder, self.features_to_code))

    def loss_terms(self, x, y, training):
        return self._reconstruction_terms(y, self._code(x, training), training, x)

    def _loss_of_parts(self, y, output):
        """The reconstruction loss of every part of an example, such as a patch or a time step.

        Args:
            y, output: Targets and reconstructions, of shape (batch, parts, values).

        Returns:
            Tensor of shape (batch, parts), float32.
        """
        flat = [ops.reshape(value, (-1, value.shape[-1])) for value in (y, output)]
        return ops.reshape(losses.per_example(self.reconstruction_loss, *flat), (-1, y.shape[1]))


def _changes_in_training(layer):
    """Whether a layer may do something else in training than in inference."""
    if not type(layer).__module__.startswith(("keras.", "keras_ae.")):
        return True  # Somebody's own.
    if isinstance(layer, (keras.layers.GRU, keras.layers.LSTM, keras.layers.SimpleRNN)):
        return bool(layer.dropout or layer.recurrent_dropout)
    if getattr(layer, "layers", ()):
        return any(map(_changes_in_training, layer.layers))
    # A layer that draws has the state of a seed, and one that keeps statistics weights for them.
    return bool(layer.non_trainable_variables)
