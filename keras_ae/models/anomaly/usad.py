"""Adversarially trained autoencoders (USAD): Audibert et al. 2020, doi:10.1145/3394486.3403392."""

from typing import Any

import keras
from keras import ops

from keras_ae import losses, networks
from keras_ae.core import arguments
from keras_ae.core.batching import batched
from keras_ae.core.types import ArrayOrTensor, Data, Tensor, Weight
from keras_ae.distributions import counted
from keras_ae.models.deterministic.ae import AE
from keras_ae.networks.fitting import symbolic_call
from keras_ae.schedules import LinearWarmUp

# The default share of reconstruction. The docstring says why it stays above 1/2.
_SHARE = LinearWarmUp(1000, start=1.0, end=0.6)


class USAD(AE):
    """One encoder E with two decoders, the second of which amplifies the errors of copies.

    The first autoencoder is A(x) = D1(E(x)), and the second one B(x) = D2(E(x)). With a share s,
    which is 1 / n in the paper's epoch n, the networks minimize, by eq. 5 and 6,

    - D1, `decoder_loss`: s ||x - A(x)||^2 + (1 - s) ||x - B(A(x))||^2;
    - D2, `second_decoder_loss`: s ||x - B(x)||^2 - (1 - s) ||x - B(A(x))||^2;
    - E, the sum of both, in which B(A(x)) cancels: s times `reconstruction_loss`, which is
      ||x - A(x)||^2 + ||x - B(x)||^2.

    All three networks move in the same step. The paper moves E and D1 first, and then E and D2 by a
    second optimizer, so that what cancels in E here differs there by one step.

    By default s falls from 1 to 0.6, and not on toward 0 as in the paper. If copies are good, A(x)
    is close to x, and the loss of D2 is close to (2 s - 1) ||x - B(x)||^2. With s below 1/2, D2
    minimizes it by being wrong about all data alike, and the score becomes useless. To have the
    paper's s, pass `keras.optimizers.schedules.InverseTimeDecay(1.0, steps_per_epoch, 1.0,
    staircase=True)`, which is 1 / n, and stop early.

    The data must lie between 0 and 1, as in the paper, which scales each channel by the minimum and
    maximum of the training data. Both decoders end in a sigmoid, because otherwise D2 could lower
    its loss without end. Data to be scored may leave the range. The paper's data are windows of
    series (`keras_ae.datasets.cut_windows`), flattened: `encoder="mlp", decoder="mlp"` does this.

    Args:
        latent_dim: Dimensions of the code. Defaults to 16.
        alpha: Share of ||x - A(x)||^2 in the score, a number from 0 to 1. The share of
            ||x - B(A(x))||^2 is 1 - alpha, which the paper calls beta. A smaller alpha finds more,
            with more false alarms. Defaults to 0.5.
        reconstruction_share: The share s, a number from 0 to 1, or a schedule of the training step
            with such values. Defaults to None, which is
            `keras_ae.schedules.LinearWarmUp(1000, start=1.0, end=0.6)`.
        encoder, decoder, network_options, seed: See `keras_ae.AE`. A decoder of your own returns
            logits. The second decoder has the architecture of the first one.

    Raises:
        ValueError: If an argument is out of range, or targets have another shape than the data.

    Example:

    >>> import numpy as np
    >>> from keras_ae import USAD
    >>> model = USAD(latent_dim=2, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).random((64, 8), "float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> sorted(history.history)
    ['decoder_loss', 'loss', 'reconstruction_loss', 'second_decoder_loss']
    >>> model.anomaly_score(x).shape
    (64,)
    """

    players = {"decoder": ("decoder_loss",), "second_decoder": ("second_decoder_loss",)}
    _without = ("reconstruction_loss", "standardize")
    _support = (0.0, 1.0)

    def __init__(
        self,
        latent_dim: int = 16,
        alpha: float = 0.5,
        reconstruction_share: Weight | None = None,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        self.alpha = arguments.number(self, "alpha", alpha, most=1.0)
        if arguments.is_number(reconstruction_share):
            share = arguments.number(self, "reconstruction_share", reconstruction_share, most=1.0)
        else:
            share = arguments.number_or_schedule(
                self, "reconstruction_share", reconstruction_share, optional=True
            )
        self.reconstruction_share, self.second_decoder = share, None
        # Decoders return logits, and `decode` applies the sigmoid.
        self._decoder_activation, self._outputs_are_data = "sigmoid", False

    def _build_networks(self, shape, target_shape):
        if tuple(target_shape) != tuple(shape):
            raise ValueError(
                f"USAD: targets have shape {target_shape}, but the model encodes its "
                f"reconstructions like data of shape {shape}. Call fit(x) without targets, or pass "
                "targets of x's shape."
            )
        super()._build_networks(shape, target_shape)
        given, (width,) = self.arguments["decoder"], self._decoder_input_shape()
        if isinstance(given, keras.layers.Layer):
            self.second_decoder = keras.models.clone_model(self.decoder)
        else:
            options = {"dtype": self.dtype_policy, **self.network_options}
            self.second_decoder = networks.decoder(
                width, self._decoder_shape(target_shape), given, "second_decoder", **options
            )
        symbolic_call(self, "second_decoder", self.second_decoder, (None, width))

    def _check_given(self):
        super()._check_given()
        if isinstance(self.arguments["decoder"], keras.layers.Layer):
            shape = self._decoder_input_shape()
            networks.check_output(self, self.decoder, shape, "logits", "the sigmoid")

    def _share(self):
        given = self.reconstruction_share
        value = arguments.value_at(_SHARE if given is None else given, self._step)
        return ops.cast(value, "float32")

    def loss_weights(self) -> dict[str, Any]:
        return {"reconstruction_loss": self._share()}

    def _restore(self, z, training=False):
        """Decode codes by the second decoder."""
        return ops.sigmoid(ops.cast(self.second_decoder(z, training=training), "float32"))

    def _restore_copy(self, x, copy, training=False):
        """Compute B(A(x)) from x and the copy A(x), in which padding stays padding."""
        if self._mask_value is not None and len(x.shape) > 2:
            copy = ops.where(counted(x, self._mask_value)[..., None], copy, x)
        return self._restore(self._code(copy, training), training)

    def _squared_error(self, y, output):
        return losses.per_example(self.reconstruction_loss, y, output, self._mask_value)

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        z = self._code(x, training)
        if training:
            self._update_density(z, x)
        copy = self.decode(z, training=training)
        first = self._squared_error(y, copy)
        second = self._squared_error(y, self._restore(z, training))
        twice = self._squared_error(y, self._restore_copy(x, copy, training))
        share = self._share()
        return {
            "reconstruction_loss": first + second,
            "decoder_loss": share * first + (1.0 - share) * twice,
            "second_decoder_loss": share * second - (1.0 - share) * twice,
        }

    @batched("data")
    def anomaly_score(self, x: Data) -> ArrayOrTensor:
        """Compute alpha ||x - A(x)||^2 + (1 - alpha) ||x - B(A(x))||^2. High is anomalous.

        Args:
            x: Array or tensor of shape (batch, ...), or a stream of them as in `fit`.

        Returns:
            Array or tensor of shape (batch,), float32.
        """
        copy = self.decode(self._code(x))
        first = self._squared_error(x, copy)
        twice = self._squared_error(x, self._restore_copy(x, copy))
        return self.alpha * first + (1.0 - self.alpha) * twice
