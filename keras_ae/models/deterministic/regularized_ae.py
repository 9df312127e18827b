"""From variational to deterministic autoencoders: Ghosh et al. 2019, arXiv:1903.12436."""

from typing import Any

import keras
from keras import ops

from keras_ae import networks
from keras_ae.core import arguments, backend
from keras_ae.core.configuration import refuse_unused
from keras_ae.core.types import Tensor
from keras_ae.models.deterministic.ae import AE


class RegularizedAE(AE):
    """A deterministic autoencoder from which one can sample: codes are small, the decoder smooth.

    The model minimizes the reconstruction loss + code_weight |z|^2 / 2 + weight times a penalty of
    the decoder (section 4.1). The penalty is the sum of the decoder's squared weights, or the
    squared Frobenius norm of its Jacobian at the code, estimated without bias from one vector of
    random signs. Spectral normalization replaces the penalty by dividing the decoder's layers by
    their spectral norms. `sample` draws codes from a Gaussian with the moments of the training
    codes, section 5.

    Args:
        latent_dim: Dimensions of the code. Defaults to None, see `keras_ae.Autoencoder`.
        regularization: "l2", "gradient_penalty" or "spectral_normalization". The last needs a
            default decoder. In a decoder of your own, wrap the layers in
            `keras_ae.layers.SpectralNormalization` instead. Defaults to "gradient_penalty".
        code_weight: The paper's beta, a number of at least 0. Defaults to 0.01.
        weight: The paper's lambda, a number of at least 0. Defaults to 0.01.
        encoder, decoder, reconstruction_loss, network_options, seed: See `keras_ae.AE`.

    Example:

    >>> import numpy as np
    >>> from keras_ae import RegularizedAE
    >>> model = RegularizedAE(latent_dim=2, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).random((64, 8), "float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> sorted(history.history)
    ['code_loss', 'decoder_loss', 'loss', 'reconstruction_loss']
    """

    objective = (*AE.objective, "code_loss", "decoder_loss")

    def __init__(
        self,
        latent_dim: int | None = None,
        regularization: str = "gradient_penalty",
        code_weight: float = 0.01,
        weight: float = 0.01,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        choices = ("l2", "gradient_penalty", "spectral_normalization")
        self.regularization = arguments.choice(self, "regularization", regularization, choices)
        self.code_weight = arguments.number(self, "code_weight", code_weight)
        self.weight = arguments.number(self, "weight", weight)

    def _check_given(self):
        super()._check_given()
        if self.regularization == "spectral_normalization":
            refuse_unused(self, "weight", "spectral normalization replaces the penalty")

    def _build_networks(self, shape, target_shape):
        if self.regularization == "spectral_normalization":
            if isinstance(self.decoder, keras.layers.Layer):
                raise ValueError(
                    "RegularizedAE: regularization='spectral_normalization' needs a default "
                    f"decoder, but got decoder={self.decoder.name!r}. Wrap its layers in "
                    "keras_ae.layers.SpectralNormalization and pass regularization='l2', weight=0."
                )
            self.decoder = networks.decoder(
                self.latent_dim,
                self._decoder_shape(target_shape),
                self.decoder,
                dtype=self.dtype_policy,
                **self.network_options,
                spectral_normalization=True,
            )
        super()._build_networks(shape, target_shape)

    def loss_weights(self) -> dict[str, Any]:
        return {"code_loss": self.code_weight, "decoder_loss": self.weight}

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        z = self._code(x, training)
        return {
            **self._reconstruction_terms(y, z, training, x),
            "code_loss": 0.5 * ops.sum(ops.square(z), axis=-1),
            "decoder_loss": self._decoder_penalty(z, self.step_seed(training)),
        }

    def _decoder_penalty(self, z, seed=None):
        """Compute the penalty that keeps the decoder smooth, of shape () or (batch,).

        Args:
            z: Codes, a float32 tensor of shape (batch, latent_dim).
            seed: Seed of the random signs of the gradient penalty.
        """
        if self.regularization == "l2":
            weights = (ops.cast(v, "float32") for v in self.decoder.trainable_variables)
            return sum(ops.sum(ops.square(weight)) for weight in weights)
        if self.regularization == "spectral_normalization":
            return ops.zeros_like(z[:, 0])
        # The Jacobian is that of `decode`, so that layers such as dropout are not active.
        output, pull = backend.pullback(self.decode, z)
        noise = keras.random.uniform(ops.shape(output), -1.0, 1.0, dtype="float32", seed=seed)
        return ops.sum(ops.square(pull(ops.where(noise < 0, -1.0, 1.0))), axis=-1)
