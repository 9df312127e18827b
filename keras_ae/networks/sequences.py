"""What models of sequences share: the shape of a sequence, and recurrent networks for all of it."""

import math
from typing import Any

import keras
from keras import ops

from keras_ae import networks
from keras_ae.core import arguments, memory
from keras_ae.core.configuration import refuse_unused
from keras_ae.distributions import counted
from keras_ae.networks.options import check_mask_value


def steps_shape(model, shape):
    """Return (steps, features) for examples of this shape, whose features may be one.

    Args:
        model: The model, which the error names.
        shape: Shape of an example, without the batch axis.

    Raises:
        ValueError: If the examples are no sequences, or one of them does not fit in memory.
    """
    if len(shape) not in (1, 2):
        raise ValueError(
            f"{type(model).__name__}: x has examples of shape {tuple(shape)}, which are no "
            "sequences. Reshape them to (steps, features), or use keras_ae.AE or keras_ae.VAE."
        )
    # A decoder may begin by repeating the code at each step.
    what = f"{type(model).__name__}: an example of shape {tuple(shape)}"
    memory.refuse_beyond(4.0 * math.prod(shape), what, "Cut the sequences into shorter ones.")
    return (*shape, 1)[:2]


class RecurrentNetworks:
    """Mixin for models whose encoder and decoder are recurrent, with one code for a sequence.

    The encoder skips padding, and the decoder may read the step before.

    Args:
        latent_dim, cell, reverse, teacher_forcing, mask_value: See `keras_ae.RecurrentAE`.
        **kwargs: Arguments of the model's other base class.
    """

    def __init__(
        self,
        latent_dim: int = 16,
        cell: str = "gru",
        reverse: bool = False,
        teacher_forcing: bool = False,
        mask_value: float | None = None,
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        self.cell = arguments.choice(self, "cell", cell, ("gru", "lstm"))
        self.reverse = arguments.flag(self, "reverse", reverse)
        self.teacher_forcing = arguments.flag(self, "teacher_forcing", teacher_forcing)
        if mask_value is not None:
            self._mask_value = check_mask_value(type(self).__name__, mask_value)
        arguments.fix(self, "cell", "reverse", "teacher_forcing", "mask_value")
        who = type(self).__name__
        for name in ("encoder", "decoder"):
            kind = getattr(self, name)
            if isinstance(kind, str) and kind != "recurrent":
                raise ValueError(
                    f"{who}: {name}={kind!r} is not recurrent. Pass 'recurrent' or a Keras model, "
                    "or use keras_ae.AE or keras_ae.VAE, which take networks of every kind."
                )
        for name in {"cell", "mask_value"} & set(self.network_options):
            raise ValueError(
                f"{who}: network_options={{{name!r}: {self.network_options[name]!r}}} is not "
                f"possible, because the model needs {name}, too. Pass {name} as an argument of the "
                "model."
            )
        if teacher_forcing and self.decoder not in (None, "recurrent"):
            raise ValueError(
                f"{who}: teacher_forcing=True needs the default decoder, which reads the previous "
                f"step, but got decoder={self.decoder!r}. Leave one of the two out."
            )

    def _step_to_read(self):
        """Return the function from an output to the step that the decoder reads next."""
        raise NotImplementedError

    def _build_networks(self, shape, target_shape):
        dtype = self.dtype_policy
        options = {"cell": self.cell, "mask_value": self._mask_value, **self.network_options}
        self._steps = steps_shape(self, target_shape)  # (steps, features)
        self._output_shape = super()._decoder_shape(self._steps)
        if self.encoder is None or isinstance(self.encoder, str):
            steps = steps_shape(self, shape)
            self.encoder = networks.encoder(steps, "recurrent", dtype=dtype, **options)
            if len(shape) == 1:
                x = keras.Input(shape, name="encoder_series", dtype="float32")
                reshape = keras.layers.Reshape(steps, dtype="float32", name="encoder_steps")
                self.encoder = keras.Model(x, self.encoder(reshape(x)), name="encoder_of_series")
        if self.decoder is None or isinstance(self.decoder, str):
            make, shape_of_output = networks.decoder, self._output_shape
            if self.teacher_forcing:
                make, shape_of_output = networks.feedback_decoder, self._steps
                options["output_activation"] = self._step_to_read()
                options["output_width"] = self._output_shape[1]
            self.decoder = make(
                self.latent_dim, shape_of_output, "recurrent", dtype=dtype, **options
            )
            self._written_shape = self._output_shape
        elif self._output_shape == self._steps:
            self._written_shape = tuple(target_shape)
        else:
            self._written_shape = self._output_shape
        super()._build_networks(shape, target_shape)

    def _decoder_shape(self, target_shape):
        return self._written_shape

    def _check_given(self):
        super()._check_given()
        given = [self.arguments[name] for name in ("encoder", "decoder")]
        if all(isinstance(network, keras.layers.Layer) for network in given):
            refuse_unused(self, "cell", "both networks were given")

    def _to_sequences(self, array):
        return array.reshape(-1, *steps_shape(self, array.shape[1:]))

    def _reorder_steps(self, steps):
        """Reverse (batch, steps, features) if the decoder writes the last step first.

        This puts steps in time order into the decoder's order, and the decoder's into time order.
        """
        return ops.flip(steps, axis=1) if self.reverse else steps

    def _output_to_steps(self, output):
        """Turn the decoder's output into float32 of shape (batch, steps, ...), in time order."""
        output = ops.reshape(ops.cast(output, "float32"), (-1, *self._output_shape))
        return self._reorder_steps(output)

    def _decode_taught(self, z, steps, training):
        """Decode codes while each step reads the one before it, where that is given.

        Args:
            z: Tensor of shape (batch, latent_dim).
            steps: Tensor of shape (batch, steps, features), in time order.
            training: Whether layers such as dropout are active.

        Returns:
            The outputs, a float32 tensor of shape (batch, steps, ...), in time order.
        """
        mask = self._reorder_steps(self._mask_padding(steps))
        output = self.decoder(z, self._reorder_steps(steps), mask, training=training)
        return self._output_to_steps(output)

    def _mask_padding(self, steps):
        """Return 1 for every step that is not padding, else 0: shape (batch, steps, 1)."""
        if self._mask_value is None:
            return ops.ones_like(steps[:, :, :1])
        return ops.cast(counted(steps, self._mask_value)[:, :, None], "float32")
