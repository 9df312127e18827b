"""A denoiser with a code and a U-Net: Ronneberger et al. 2015, arXiv:1505.04597."""

from typing import Any

import keras
from keras import ops

from keras_ae import losses, networks
from keras_ae.core import arguments, memory
from keras_ae.core.batching import batched
from keras_ae.core.types import ArrayOrTensor, Data, Tensor
from keras_ae.models.deterministic.denoising_ae import DenoisingAE


class UNetAE(DenoisingAE):
    """A denoising autoencoder that reconstructs from the data as well as from its code.

    A U-Net reads the corrupted data together with what is decoded from its code. Its skip
    connections carry details that a code of few numbers cannot hold. The model minimizes the sum of
    two losses: `reconstruction_loss` of the U-Net's output, which `reconstruct` returns, and
    `code_loss` of what `decode` returns for the code alone. `encode`, `decode` and `sample` are
    those of a `keras_ae.DenoisingAE`. But `reconstruct` is not `decode` of `encode`, because it
    keeps details that are not in the code.

    If reconstructions are not limited to a range and data and targets have the same shape, the
    U-Net computes what is added to the data, as in arXiv:1608.03981. What is undamaged then needs
    no learning.

    Args:
        latent_dim: Dimensions of the code. Defaults to 16.
        unet_options: Dictionary of options of `keras_ae.networks.unet`, such as
            `{"filters": (16, 32)}`. Defaults to None.
        corruption, encoder, decoder, reconstruction_loss, network_options, seed: See
            `keras_ae.DenoisingAE`. The U-Net reads data of shape (width,) or (steps, features) as a
            picture with one column.

    Raises:
        ValueError: If an argument is out of range, or targets have another height or width.

    Example:

    >>> import numpy as np
    >>> from keras_ae import UNetAE
    >>> model = UNetAE(latent_dim=2, unet_options={"filters": (4, 8)}, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).random((8, 8, 8, 1), "float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> sorted(history.history), model.reconstruct(x).shape
    (['code_loss', 'loss', 'reconstruction_loss'], (8, 8, 8, 1))
    """

    objective = (*DenoisingAE.objective, "code_loss")
    _may_compare_examples = False
    _adds_data = True  # It is False in older files, whose U-Net computed the whole picture.
    _kept = {"adds_data": False}

    def __init__(
        self, latent_dim: int = 16, unet_options: dict[str, Any] | None = None, **kwargs: Any
    ):
        super().__init__(latent_dim, **kwargs)
        example = "{'filters': (16, 32)}"
        self.unet_options = arguments.dictionary(self, "unet_options", unet_options, example)
        for name in ("shape", "channels", "name", "dtype"):
            if name in self.unet_options:
                raise ValueError(
                    f"UNetAE: unet_options has {name!r}, which follows from the model and its "
                    "data. Leave it out."
                )

    def _build_networks(self, shape, target_shape):
        super()._build_networks(shape, target_shape)
        given, wanted = _picture(shape), _picture(target_shape)
        if given[:2] != wanted[:2]:
            raise ValueError(
                f"UNetAE: inputs of shape {shape} and targets of shape {target_shape} differ in "
                "height or width. Resize them, or use keras_ae.DenoisingAE."
            )
        both = (*given[:2], given[2] + wanted[2])
        self.unet = networks.unet(both, wanted[2], dtype=self.dtype_policy, **self.unet_options)

    def _step_numbers(self, batch_size):
        # The U-Net's outputs are large, and as many gradients exist at the same time.
        return super()._step_numbers(batch_size) + batch_size * memory.numbers_of_layers(self)[1]

    def _check_given(self):
        super()._check_given()
        if self._mask_value is not None and len(self._target_shape) > 1:
            raise ValueError(
                f"UNetAE: mask_value={self._mask_value!r} is not possible, because the U-Net's "
                "convolutions would read padding like data. Train on sequences of one length "
                "without mask_value, or use keras_ae.DenoisingAE."
            )
        if self._decoder_activation == "linear":  # The U-Net ends in the same activation.
            wanted = losses.wanted_output(self.reconstruction_loss)
            networks.refuse_linear(self, wanted, self._loss_name())

    def _loss_per_example(self, y, output):
        return losses.per_example(self.reconstruction_loss, y, output, self._mask_value)

    def _refine(self, x, decoded, training):
        """Apply the U-Net to data (batch, ...) and to what was decoded from its code."""
        shapes = self._data_shape, self._target_shape
        pictures = [
            ops.reshape(values, (-1, *_picture(shape)))
            for values, shape in zip((x, decoded), shapes, strict=True)
        ]
        output = self.unet(ops.concatenate(pictures, axis=-1), training=training)
        output = ops.reshape(ops.cast(output, "float32"), (-1, *self._target_shape))
        if self._adds_data and shapes[0] == shapes[1] and self._decoder_activation == "linear":
            return output + ops.cast(x, "float32")
        return keras.activations.get(self._decoder_activation)(output)

    @batched("data", returns_data=True)
    def reconstruct(self, x: Data, training: bool = False) -> ArrayOrTensor:
        return self._refine(x, self.decode(self._code(x, training), training=training), training)

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        noisy = self._corrupt(x, training)
        z = self._code(noisy, training)
        if training:
            self._update_density(z, x)
        decoded = self.decode(z, training=training)
        refined = self._refine(noisy, decoded, training)
        return {
            "reconstruction_loss": self._loss_per_example(y, refined),
            "code_loss": self._loss_per_example(y, decoded),
        }


def _picture(shape):
    """Return the shape as (height, width, channels)."""
    if len(shape) > 3:
        raise ValueError(
            f"UNetAE: x has examples of shape {tuple(shape)}, which are no pictures. Reshape them "
            "to (height, width, channels), or use keras_ae.DenoisingAE."
        )
    return {1: (*shape, 1, 1), 2: (shape[0], 1, shape[-1]), 3: tuple(shape)}[len(shape)]
