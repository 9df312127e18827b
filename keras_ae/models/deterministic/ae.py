"""The autoencoder: Hinton and Salakhutdinov 2006, doi:10.1126/science.1127647."""

from typing import Any

import keras
from keras import ops

from keras_ae import losses
from keras_ae.core.examples import call, takes_inputs_of
from keras_ae.core.types import Tensor
from keras_ae.models.deterministic.base import DeterministicAE
from keras_ae.samplers import CodeDensity


class AE(DeterministicAE):
    """An autoencoder: it reconstructs the data from a code of latent_dim numbers.

    The model minimizes the reconstruction loss, summed over an example's elements and averaged over
    the batch. During training it estimates the mean and covariance of its codes. `sample` draws
    codes from the Gaussian with these moments, which is the ex-post density estimation of
    arXiv:1903.12436, section 5, with one Gaussian.

    Args:
        latent_dim: Dimensions of the code. Defaults to None: 16, and more for large pictures, see
            `keras_ae.Autoencoder`.
        encoder, decoder, network_options, seed: See `keras_ae.Autoencoder`. A decoder of your own
            returns the reconstruction itself: for a cross-entropy it ends in a sigmoid or softmax,
            unless the loss has `from_logits=True`. With the option `mask_value`, or with an encoder
            of your own that begins with a `keras.layers.Masking`, sequences may be padded. The
            steps whose features all equal that number are padding: they change neither the code nor
            the loss, and what is decoded at these steps has no meaning.
        reconstruction_loss: Name of a Keras loss, a `keras.losses.Loss`, or a function of
            (y_true, y_pred). A default decoder ends in the activation that the loss expects: a
            sigmoid for the binary cross-entropy, a softmax for the categorical one. With
            "contrastive", reconstructions are told apart within their batch, so that the loss, in
            `evaluate`, too, depends on batch_size: see `keras_ae.losses.Contrastive`. Defaults to
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

    # If the codes in training differ from those of `encode`, the density is estimated from the
    # codes of one example in so many, because encoding all of them once more would take long.
    _DENSITY_STRIDE = 8
    # This is True if a model encodes corrupted data, or only a part of the data, in training.
    _encodes_corrupted = False

    def _build_networks(self, shape, target_shape):
        super()._build_networks(shape, target_shape)
        self.sampler = CodeDensity(self.code_shape, name="sampler")

    def _reconstruction_terms(self, y, z, training, x=None, **inputs):
        """Compute the reconstruction loss. In training, also update the density of the codes.

        Args:
            y: Targets, shape (batch, ...).
            z: Codes of the batch.
            training: Whether weights are being updated.
            x: Inputs, shape (batch, ...), if `encode` may return other codes for them than z.
                Defaults to None, which says that z are the codes of `encode`.

        Returns:
            Dictionary with the term "reconstruction_loss".
        """
        if training:
            self._update_density(z, x, **inputs)
        return super()._reconstruction_terms(y, z, training, **inputs)

    def _update_density(self, z, x=None, **inputs):
        """Update the density of the codes: see `_reconstruction_terms` for z and x."""
        if x is not None and (self._encodes_corrupted or self._encoder_changes_in_training()):
            inputs = {name: value[:: self._DENSITY_STRIDE] for name, value in inputs.items()}
            z = call(self, self._code, x[:: self._DENSITY_STRIDE], inputs=inputs)
        self.sampler.update(z)

    def _encoder_changes_in_training(self):
        """Tell whether the encoder may compute other codes in training than in `encode`."""
        return any(map(_changes_in_training, (self.encoder, self.features_to_code)))

    @takes_inputs_of("_code", "decode")
    def loss_terms(self, x: Tensor, y: Tensor, training: bool, **inputs: Any) -> dict[str, Tensor]:
        z = call(self, self._code, x, training, inputs=inputs)
        return self._reconstruction_terms(y, z, training, x, **inputs)

    def _loss_per_part(self, y, output):
        """Compute the loss of every part of an example, such as a patch or a time step.

        Args:
            y, output: Targets and reconstructions, of shape (batch, parts, values).

        Returns:
            Tensor of shape (batch, parts), float32.
        """
        flat = [ops.reshape(value, (-1, value.shape[-1])) for value in (y, output)]
        return ops.reshape(losses.per_example(self.reconstruction_loss, *flat), (-1, y.shape[1]))


def _changes_in_training(layer):
    """Tell whether a layer may compute something else in training than in inference."""
    if not type(layer).__module__.startswith(("keras.", "keras_ae.")):
        return True  # Nothing is known of a user's own layer.
    if isinstance(layer, (keras.layers.GRU, keras.layers.LSTM, keras.layers.SimpleRNN)):
        return bool(layer.dropout or layer.recurrent_dropout)
    if getattr(layer, "layers", ()):
        return any(map(_changes_in_training, layer.layers))
    # A layer that draws has the state of a seed, and a layer that keeps statistics has weights for
    # them.
    return bool(layer.non_trainable_variables)
