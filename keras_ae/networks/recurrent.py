"""`"recurrent"`: GRU or LSTM layers over the steps of a sequence."""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

from keras_ae.core import arguments, memory
from keras_ae.core.types import DType
from keras_ae.networks.maker import SMALLER, LayerMaker
from keras_ae.networks.options import check_kind, check_options

_CELLS = {"gru": layers.GRUCell, "lstm": layers.LSTMCell}


def map_shape(shape, options):
    return shape[:1]


def encoder(make, x, grid):
    options = make.options
    keywords = {}
    if options.mask_value is not None:
        # The masking computes in float32, because small features would be rounded to a mask value
        # of 0 in float16.
        masking = make.layer(layers.Masking, "mask", options.mask_value, dtype=make.full_dtype)
        x = masking(x)
        # cuDNN raises an error for a sequence that is all padding or not padded at its end.
        keywords = {"use_cudnn": False}
    return summarize(make, x, grid, **keywords)


def summarize(make, x, grid, **keywords):
    """Apply recurrent layers to (batch, steps, features), and keep the last state or all states.

    Args:
        make: `LayerMaker`.
        x: The sequences.
        grid: Whether to keep all states.
        **keywords: Arguments of every recurrent layer.
    """
    units = make.options.units
    for number, size in enumerate(units, start=1):
        last = number == len(units) and not grid
        x = make.recurrent_block(
            x, f"recurrent_{number}", size, return_sequences=not last, **keywords
        )
    return x


def decoder(make, z, shape):
    steps, width = shape
    return make.kernel_layer(layers.Dense, "output", width)(unroll(make, z, steps))


def unroll(make, z, steps, **keywords):
    """Turn a code, or one code for each step, into states (batch, steps, units).

    Args:
        make: `LayerMaker`.
        z: The code or codes.
        steps: Number of steps.
        **keywords: Arguments of every recurrent layer.
    """
    units = make.options.units[::-1]
    h = make.block(z, layers.Dense, "dense_1", units[0])
    if len(z.shape) == 2:
        h = make.layer(layers.RepeatVector, "repeat", steps)(h)
    for number, size in enumerate(units, start=1):
        h = make.recurrent_block(h, f"recurrent_{number}", size, return_sequences=True, **keywords)
    return h


class FeedbackDecoder(memory.GuardedLayer):
    """A decoder that reads the code and the previous step: its own output, or a given step."""

    def __init__(self, make, latent_dim, shape, output_activation, output_width):
        super().__init__(name=make.name, dtype=make.dtype)
        self.steps, self.width = shape
        units = make.options.units[::-1]
        z = make.input((latent_dim,))
        self.start = keras.Model(z, make.block(z, layers.Dense, "dense_1", units[0]))
        cells = [
            make.kernel_layer(
                _CELLS[make.options.cell],
                f"recurrent_{number}",
                size,
                activation=make.options.activation,
            )
            for number, size in enumerate(units, start=1)
        ]
        output = make.kernel_layer(layers.Dense, "output", output_width)
        cell = make.layer(_FeedbackCell, "cell", cells, output, output_activation, self.width)
        self.rnn = make.layer(layers.RNN, "steps", cell, return_sequences=True)
        self.rnn.build((None, self.steps, units[0] + self.width + 1))

    def build(self, z_shape):
        self.built = True

    def call(self, z, steps=None, known=None, training=False):
        """Decode the steps of a code.

        Args:
            z: Tensor of shape (batch, latent_dim).
            steps: Tensor of shape (batch, steps, width). Each step reads the one before it from
                this tensor. Defaults to None: each step reads the decoder's own previous output.
            known: Tensor of shape (batch, steps, 1): 1 where the step is given, and 0 where it is
                padding and the decoder's own output is read instead. Defaults to None, all given.
            training: Whether layers such as dropout are active. Defaults to False.

        Returns:
            Tensor of shape (batch, steps, output_width), before the activation.
        """
        h = self.start(z, training=training)
        h = ops.repeat(h[:, None], self.steps, axis=1)
        nothing = ops.zeros_like(h[:, :, :1])
        if steps is None:
            before, known = ops.repeat(nothing, self.width, axis=-1), nothing
        else:
            known = ops.ones_like(nothing) if known is None else known
            steps, known = ops.cast(steps, h.dtype), ops.cast(known, h.dtype)
            before = ops.concatenate([ops.zeros_like(steps[:, :1]), steps[:, :-1]], axis=1)
            known = ops.concatenate([ops.zeros_like(known[:, :1]), known[:, :-1]], axis=1)
        return self.rnn(ops.concatenate([h, before, known], axis=-1), training=training)


class _FeedbackCell(layers.Layer):
    """One step of the decoder.

    Its input concatenates the features of the code, the previous step, and whether that step is
    known. Its states are those of the cells and the step that its own previous output stands for.
    """

    def __init__(self, cells, output, output_activation, step_width, **kwargs):
        super().__init__(**kwargs)
        self.cells, self.last = cells, output
        self.output_activation = keras.activations.get(output_activation)
        self.counts = [len(keras.tree.flatten(cell.state_size)) for cell in cells]
        self.output_size, self.step_width = output.units, step_width
        self.state_size = [
            size for cell in cells for size in keras.tree.flatten(cell.state_size)
        ] + [step_width]

    def build(self, shape):
        size = shape[-1] - 1
        for cell in self.cells:
            cell.build((None, size))
            size = cell.units
        self.last.build((None, size))
        self.built = True

    def call(self, inputs, states, training=False):
        *held, own = states
        width = inputs.shape[-1] - self.step_width - 1
        before, known = inputs[:, width:-1], inputs[:, -1:]
        h = ops.concatenate([inputs[:, :width], ops.where(known > 0, before, own)], axis=-1)
        kept = []
        for cell, count in zip(self.cells, self.counts, strict=True):
            now, held = held[:count], held[count:]
            h, now = cell(h, now, training=training)
            kept += now
        output = self.last(h)
        return output, [*kept, ops.cast(self.output_activation(output), output.dtype)]


@memory.explains(SMALLER)
def feedback_decoder(
    latent_dim: int,
    shape: tuple[int, ...],
    kind: str = "recurrent",
    name: str = "decoder",
    dtype: DType | None = None,
    output_activation: str | Callable[..., Any] = "linear",
    output_width: int | None = None,
    **options: Any,
) -> keras.layers.Layer:
    """Make a recurrent decoder whose steps read the code and the previous step.

    This is the decoder of arXiv:1406.1078, section 2.2. Called with codes only, it reads its own
    outputs. Called with steps as well, it reads these, which is known as teacher forcing.

    Args:
        latent_dim: Positive integer, the width of a code.
        shape: (time steps, features) of an output.
        kind: `"recurrent"`.
        name: String, the layer's name and the prefix of its layers' names.
        dtype: A dtype or dtype policy for every layer; None for Keras' global policy.
        output_activation: Keras name or callable, which is applied to an output before the next
            step reads it. Default `"linear"`.
        output_width: Positive integer, how many numbers an output has at each step, from which
            `output_activation` then computes the features of the step. Default None: as many as
            there are features.
        **options: Options of `decoder` for `"recurrent"`. Dropout and batch normalization apply to
            what every step reads of the code.

    Returns:
        A Keras layer from codes (batch, latent_dim) to (batch, *shape), or (batch, time steps,
        output_width), without an activation at the end. Its optional inputs are the steps, (batch,
        *shape), and a tensor (batch, time steps, 1) that is 1 where a step is known, and 0 where
        the layer's own output is read instead. Without it, all given steps are known.

    Raises:
        ValueError: See `decoder`, or if output_width has no such `output_activation`.

    Example:
        >>> import numpy as np
        >>> from keras_ae import networks
        >>> layer, steps = networks.feedback_decoder(2, (5, 3), units=(8,)), np.ones((4, 5, 3))
        >>> layer(np.ones((4, 2))).shape == layer(np.ones((4, 2)), steps, steps[:, :, :1]).shape
        True
    """
    where = "networks.feedback_decoder"
    latent_dim = arguments.integer(where, "latent_dim", latent_dim)
    shape = arguments.sizes(where, "shape", shape, "(10, 3), without the batch axis")
    if check_kind(where, kind, shape) != "recurrent":
        raise ValueError(f"{where}: kind={kind!r} has no step before. Give 'recurrent'.")
    width = shape[1] if output_width is None else output_width
    width = arguments.integer(where, "output_width", width)
    if width != shape[1] and isinstance(output_activation, str):
        raise arguments.refusal(
            where,
            "output_activation",
            output_activation,
            f"a function that computes the {shape[1]} features of a step from output_width={width} "
            "numbers",
        )
    make = LayerMaker(name, dtype, check_options(where, kind, options))
    return FeedbackDecoder(make, latent_dim, shape, output_activation, width)
