"""The base class of models without a posterior: one code for every example, and a Keras loss."""

from typing import Any

import keras
from keras import ops

from keras_ae import losses, networks
from keras_ae.autoencoder import Autoencoder
from keras_ae.core.batching import batched
from keras_ae.core.examples import call, takes_inputs_of
from keras_ae.core.objective import skip_single_example
from keras_ae.core.types import Array, ArrayOrTensor, Data, Loss, Network, Tensor


class DeterministicAE(Autoencoder):
    """Base class of autoencoders whose encoder returns the code itself.

    Args:
        latent_dim: Dimensions of the code. Defaults to None, see `keras_ae.Autoencoder`.
        encoder, decoder, network_options, seed: See `keras_ae.Autoencoder`. A decoder of your own
            returns the reconstruction itself.
        reconstruction_loss: Name of a Keras loss, a `keras.losses.Loss`, or a function of
            (y_true, y_pred). A default decoder ends in the activation that the loss expects: a
            sigmoid for the binary cross-entropy, a softmax for the categorical one. Defaults to
            "mean_squared_error".
    """

    _code_activation = "linear"
    # It is False if a model compares each example, or each part of it, on its own.
    _may_compare_examples = True

    def __init__(
        self,
        latent_dim: int | None = None,
        encoder: Network | None = None,
        decoder: Network | None = None,
        reconstruction_loss: Loss = "mean_squared_error",
        network_options: dict[str, Any] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, encoder, decoder, network_options, seed, **kwargs)
        self.reconstruction_loss = losses.get(reconstruction_loss)
        if self._compares_examples and not self._may_compare_examples:
            raise ValueError(
                f"{type(self).__name__}: {self._loss_name()} tells an example from the others of "
                "its batch, but the model compares each one with its own reconstruction alone. "
                "Choose another loss, or keras_ae.AE."
            )
        self._decoder_activation = (
            losses.output_activation(self.reconstruction_loss)
            if decoder is None or isinstance(decoder, str)
            else "linear"
        )
        if losses.takes_shares(self.reconstruction_loss):
            self._support = (0.0, 1.0)
        self._takes_classes = losses.takes_classes(self.reconstruction_loss)
        self._outputs_are_data = losses.wanted_output(self.reconstruction_loss) is None

    def _check_given(self):
        super()._check_given()
        given, wanted = (
            self.arguments.get("decoder"),
            losses.wanted_output(self.reconstruction_loss),
        )
        name = self._loss_name()
        if self._vector_width() == 1 and losses.is_constant_for_one(self.reconstruction_loss):
            raise ValueError(
                f"{type(self).__name__}: {name} reads the last axis of data of shape "
                f"{self._target_shape} as one vector, but learns nothing from one number. Make "
                "labels one-hot with keras.utils.to_categorical, or choose 'binary_crossentropy' "
                "for a binary value."
            )
        if isinstance(given, keras.layers.Layer):
            shape = self._decoder_input_shape()
            networks.check_output(self, self.decoder, shape, wanted, name)
        elif self._decoder_activation == "linear":
            networks.refuse_linear(self, wanted, name)

    @property
    def _compares_examples(self):
        """Whether the reconstruction loss of an example depends on the others of its batch."""
        return losses.compares_examples(self.reconstruction_loss)

    def _step_numbers(self, batch_size):
        numbers = super()._step_numbers(batch_size)
        return numbers + (4 * batch_size**2 if self._compares_examples else 0)

    def _loss_name(self):
        given = self.arguments.get("reconstruction_loss")  # Some models have a fixed loss.
        named = given if isinstance(given, str) else getattr(given, "name", None)
        return f"reconstruction_loss={named!r}" if named else "reconstruction_loss"

    def _vector_width(self):
        """Return the length of the last axis that the loss compares. The model must be built."""
        return self._target_shape[-1]

    def _code(self, x, training=False):
        """Compute the code of a batch, a float32 tensor.

        Args:
            x: Tensor of shape (batch, ...).
            training: Whether layers such as dropout are active. Defaults to False.
        """
        features = self.encoder(x, training=training)
        z = ops.cast(self.features_to_code(features, training=training), "float32")
        return keras.activations.get(self._code_activation)(z)

    @batched("data")
    @takes_inputs_of("_code")
    def encode(self, x: Data, training: bool = False, **inputs: Any) -> ArrayOrTensor:
        return self._code(x, training, **inputs)

    @batched("code")
    def decode(self, z: Array | Tensor, training: bool = False) -> ArrayOrTensor:
        output = ops.cast(self.decoder(z, training=training), "float32")
        return keras.activations.get(self._decoder_activation)(output)

    def _reconstruction_terms(self, y, z, training, **inputs):
        """Compute the reconstruction loss.

        Args:
            y: Targets, shape (batch, ...).
            z: Codes of the batch.
            training: Whether weights are being updated.
            **inputs: Tensors of the named inputs, for classes that have any.

        Returns:
            Dictionary with the term "reconstruction_loss".
        """
        output = call(self, self.decode, z, training=training, inputs=inputs)
        loss = losses.per_example(self.reconstruction_loss, y, output, self._mask_value)
        if self._compares_examples:
            loss = skip_single_example(self, "reconstruction_loss", loss, y)
        return {"reconstruction_loss": loss}

    @takes_inputs_of("_code", "decode")
    def loss_terms(self, x: Tensor, y: Tensor, training: bool, **inputs: Any) -> dict[str, Tensor]:
        z = call(self, self._code, x, training, inputs=inputs)
        return self._reconstruction_terms(y, z, training, **inputs)
