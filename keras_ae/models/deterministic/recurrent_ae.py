"""Recurrent autoencoders: Cho et al. 2014, arXiv:1406.1078; Srivastava et al., arXiv:1502.04681."""

import keras
from keras import ops

from keras_ae import losses, networks
from keras_ae.core import arguments
from keras_ae.core.batching import batched
from keras_ae.core.configuration import refuse_unused
from keras_ae.distributions import counted
from keras_ae.models.deterministic.ae import AE
from keras_ae.networks.sequences import steps_shape


class RecurrentAE(AE):
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

    def __init__(
        self,
        latent_dim=16,
        cell="gru",
        reverse=False,
        teacher_forcing=False,
        mask_value=None,
        **kwargs,
    ):
        super().__init__(latent_dim, **kwargs)
        self.cell = arguments.choice(self, "cell", cell, ("gru", "lstm"))
        self.reverse = arguments.flag(self, "reverse", reverse)
        self.teacher_forcing = arguments.flag(self, "teacher_forcing", teacher_forcing)
        if mask_value is not None:
            self._mask_value = mask_value
        for name in ("encoder", "decoder"):
            kind = getattr(self, name)
            if isinstance(kind, str) and kind != "recurrent":
                raise ValueError(
                    f"RecurrentAE: {name}={kind!r} is not recurrent. Pass 'recurrent' or a Keras "
                    "model, or use keras_ae.AE, which takes networks of every kind."
                )
        for name in {"cell", "mask_value"} & set(self.network_options):
            raise ValueError(
                f"RecurrentAE: network_options={{{name!r}: {self.network_options[name]!r}}} is not "
                f"possible, because the model needs {name}, too. Pass {name} as an argument of the "
                "model."
            )
        if teacher_forcing and self.decoder not in (None, "recurrent"):
            raise ValueError(
                "RecurrentAE: teacher_forcing=True needs the default decoder, which reads the "
                f"previous step, but got decoder={self.decoder!r}. Leave one of the two out."
            )

    def _build_networks(self, shape, target_shape):
        dtype = self.dtype_policy
        options = {"cell": self.cell, "mask_value": self._mask_value, **self.network_options}
        self._steps = steps_shape(self, target_shape)  # (steps, features)
        if self.encoder is None or isinstance(self.encoder, str):
            steps = steps_shape(self, shape)
            self.encoder = networks.encoder(steps, "recurrent", dtype=dtype, **options)
            if len(shape) == 1:
                x = keras.Input(shape, name="encoder_series", dtype="float32")
                reshape = keras.layers.Reshape(steps, dtype="float32", name="encoder_steps")
                self.encoder = keras.Model(x, self.encoder(reshape(x)), name="encoder_of_series")
        if self.decoder is None or isinstance(self.decoder, str):
            make = networks.decoder
            if self.teacher_forcing:
                make = networks.feedback_decoder
                options["output_activation"] = self._decoder_activation
            self.decoder = make(self.latent_dim, self._steps, "recurrent", dtype=dtype, **options)
            self._written_shape = self._steps
        else:
            self._written_shape = tuple(target_shape)
        super()._build_networks(shape, target_shape)

    def _decoder_shape(self, target_shape):
        return self._written_shape

    def _check_given(self):
        super()._check_given()
        given = [self.arguments[name] for name in ("encoder", "decoder")]
        if all(isinstance(network, keras.layers.Layer) for network in given):
            refuse_unused(self, "cell", "both networks were given")

    def _vector_width(self):
        return self._steps[-1]

    def _to_sequences(self, array):
        return array.reshape(-1, *steps_shape(self, array.shape[1:]))

    def _reorder_steps(self, steps):
        """Reverse (batch, steps, features) if the decoder writes the last step first.

        This puts steps in time order into the decoder's order, and the decoder's into time order.
        """
        return ops.flip(steps, axis=1) if self.reverse else steps

    def _output_to_data(self, output):
        """Turn the decoder's output into data of shape (batch, ...)."""
        steps = ops.reshape(ops.cast(output, "float32"), (-1, *self._steps))
        data = ops.reshape(self._reorder_steps(steps), (-1, *self._target_shape))
        return keras.activations.get(self._decoder_activation)(data)

    @batched("code")
    def decode(self, z, training=False):
        return self._output_to_data(self.decoder(z, training=training))

    def _mask_padding(self, steps):
        """Return 1 for every step that is not padding, else 0: shape (batch, steps, 1)."""
        if self._mask_value is None:
            return ops.ones_like(steps[:, :, :1])
        return ops.cast(counted(steps, self._mask_value)[:, :, None], "float32")

    def _reconstruction_terms(self, y, z, training, x=None):
        steps = ops.reshape(y, (-1, *self._steps))
        if training:
            self._update_density(z, x)
        if training and self.teacher_forcing:
            mask = self._reorder_steps(self._mask_padding(steps))
            output = self.decoder(z, self._reorder_steps(steps), mask, training=True)
            output = self._output_to_data(output)
        else:
            output = self.decode(z, training=training)
        output = ops.reshape(output, (-1, *self._steps))
        loss = losses.per_example(self.reconstruction_loss, steps, output, self._mask_value)
        return {"reconstruction_loss": loss}
