"""Autoregressive priors over codes: the probability of every code given the codes before it."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from keras_ae.core import arguments, memory
from keras_ae.core.types import Array, Seed, Tensor
from keras_ae.layers.scalar_quantizers import (
    check_num_codes,
    codes_of_digits,
    digits_of_codes,
)

_CONFIG = ("num_codes", "code_shape", "units", "num_layers")


class CodePrior(memory.GuardedLayer):
    """p(codes): the product over all positions, in order, of p(code | codes before it).

    Called with codes of shape (batch, *code_shape), a prior returns the logits of every position,
    (batch, *code_shape, num_codes). They depend only on the codes before that position. The prior
    computes in float32.

    The codes of a product codebook have digits. For them, num_codes is a tuple: the number of
    values of each digit, the lowest digit first. The last axis of the logits then concatenates the
    logits of the digits, sum(num_codes) in all, and each digit is conditioned on the lower digits
    of the same code. This is as exact as logits of whole codes, of which there are
    prod(num_codes). Such a prior also accepts the digits themselves, (batch, *code_shape, digits).
    """

    def __init__(
        self,
        num_codes: int | Sequence[int],
        code_shape: tuple[int, ...],
        units: int,
        num_layers: int,
        **kwargs: Any,
    ):
        super().__init__(**{**kwargs, "dtype": "float32"})
        if isinstance(num_codes, (list, tuple)):
            example = "(8, 6, 5)"
            levels = arguments.sizes(self, "num_codes", num_codes, example)
            check_num_codes(self, levels)
            self.levels = levels
        else:
            self.levels = (arguments.integer(self, "num_codes", num_codes),)
        self.num_codes = math.prod(self.levels)
        self.code_shape = tuple(code_shape)
        self.units = arguments.integer(self, "units", units)
        self.num_layers = arguments.layers(self, "num_layers", num_layers)

    def build(self, codes_shape=None):
        with memory.checked_weights(type(self).__name__, "Take fewer codes or units."):
            self._make_weights()
        self.built = True

    @memory.explains("Pass fewer examples.")
    def log_prob(self, codes: Tensor) -> Tensor:
        """Compute the log-probability of every example's codes, in nats.

        Args:
            codes: Integer tensor of shape (batch, *code_shape).

        Returns:
            Float32 tensor of shape (batch,).
        """
        return -self.nats(codes, self(codes))

    @memory.explains("Pass fewer examples.")
    def nats(self, codes: Tensor, logits: Tensor) -> Tensor:
        """Compute the negative log-likelihood of every example, in nats, from a prior's logits.

        Args:
            codes: Tensor of shape (batch, *code_shape), or of their digits.
            logits: What the prior returned when it was called with these codes.

        Returns:
            Float32 tensor of shape (batch,).
        """
        digits = self._split_digits(codes)
        if len(self.levels) == 1:
            pairs = [(digits, logits)]
        elif len(set(self.levels)) == 1:  # Digits with equally many values fit in one tensor.
            pairs = [(digits, ops.reshape(logits, (*ops.shape(digits), self.levels[0])))]
        else:
            ends = np.cumsum(self.levels)[:-1].tolist()
            pairs = zip(
                (digits[..., i] for i in range(len(self.levels))),
                ops.split(logits, ends, axis=-1),
                strict=True,
            )
        surprises = sum(
            keras.losses.sparse_categorical_crossentropy(*pair, from_logits=True) for pair in pairs
        )
        return ops.sum(surprises, axis=tuple(range(1, len(surprises.shape))))

    def numbers_of_example(self) -> int:
        """Estimate how many numbers training holds in memory for each example."""
        places = math.prod(self.code_shape)
        outputs = self.num_layers * self.units * 4 + len(self.levels) * self.units
        return places * (3 * sum(self.levels) + outputs)

    @property
    def draws_shape(self) -> tuple[int, ...]:
        """The shape of the uniform draws that make an example's codes, without the batch axis."""
        return self.code_shape if len(self.levels) == 1 else (*self.code_shape, len(self.levels))

    @memory.explains(memory.FEWER_DRAWS)
    def sample(self, num_samples: int, seed: Seed) -> Tensor:
        """Draw codes.

        Args:
            num_samples: Number of examples, a positive integer.
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Int32 tensor of shape (num_samples, *code_shape).
        """
        shape = (num_samples, *self.draws_shape)
        memory.refuse_beyond(
            4.0 * num_samples * max(2 * math.prod(self.draws_shape), self.numbers_of_example()),
            f"{type(self).__name__}.sample: num_samples={num_samples} of shape {self.code_shape}",
            memory.FEWER_DRAWS,
        )
        return self.generate(keras.random.uniform(shape, dtype="float32", seed=seed))

    def generate(self, uniforms: Tensor) -> Tensor:
        """Turn draws from the uniform distribution on [0, 1) into codes.

        Each code, or digit of a code, is the value at which its cumulative distribution function,
        given the codes before it, first exceeds the draw of its position.

        Args:
            uniforms: Tensor of shape (batch, *draws_shape).

        Returns:
            Int32 tensor of shape (batch, *code_shape).
        """
        raise NotImplementedError

    def digits(self, codes: Array) -> np.ndarray:
        """Turn an array of codes into the array on which the prior is trained.

        Batches of arrays are float32, which represents integers up to 2 ** 24 exactly. A digit is
        therefore exact, but a code of several digits need not be.

        Args:
            codes: Array of shape (examples, *code_shape).

        Returns:
            Int32 array of shape (examples, *draws_shape).
        """
        if len(self.levels) == 1:
            return codes
        return ops.convert_to_numpy(digits_of_codes(ops.convert_to_tensor(codes), self.levels))

    def _make_ends(self, extra_rows=0):
        """Make the first layer, which embeds codes, and the last, which returns logits."""
        # The digits of a code share one table, in which each digit has rows of its own.
        self.embedding = layers.Embedding(
            sum(self.levels) + extra_rows, self.units, dtype="float32", name="embedding"
        )
        if len(self.levels) == 1:
            self.logits = layers.Dense(self.num_codes, dtype="float32", name="logits")
        else:
            self.logits = _DigitLogits(self.levels, self.units, dtype="float32", name="logits")

    def _split_digits(self, codes):
        """Return int32 digits: given digits, or codes of a single digit, as they are."""
        codes = ops.cast(codes, "int32")
        if len(self.levels) == 1 or len(codes.shape) == 2 + len(self.code_shape):
            return codes
        return digits_of_codes(codes, self.levels)

    def _find_rows(self, codes):
        """Return the rows of the embedding table that belong to codes."""
        digits = self._split_digits(codes)
        if len(self.levels) == 1:
            return digits
        return digits + ops.convert_to_tensor(_first_rows(self.levels))

    def _embed(self, rows):
        """Return the vectors of codes. A code of several digits has the sum of their vectors."""
        vectors = self.embedding(rows)
        return vectors if len(self.levels) == 1 else ops.sum(vectors, axis=-2)

    def _compute_logits(self, features, rows):
        """Compute the logits of codes. Those of a digit also depend on the code's lower digits."""
        if len(self.levels) == 1:
            return self.logits(features)
        return self.logits(features, rows)

    def _draw(self, features, uniforms):
        """Turn draws into codes (batch,), given features (batch, units). Also return the logits."""
        if len(self.levels) > 1:
            return self.logits.draw(features, uniforms)
        logits = self.logits(features)
        return _invert_distribution(logits, uniforms), logits

    def get_config(self):
        own = {name: getattr(self, name) for name in _CONFIG}
        if len(self.levels) > 1:
            own["num_codes"] = list(self.levels)
        return {**super().get_config(), **own}


class _DigitLogits(layers.Layer):
    """The logits of a code's digits, each given the features of its position and the lower digits.

    The layer takes features (..., units) and rows (..., digits), the rows of the embedding table
    that belong to the digits. It returns the concatenated logits of all digits,
    (..., sum(levels)). Each digit adds a vector to the features. A hidden layer that all digits
    share and an output map for each digit then lead to the logits of the next digit.

    Source: Larochelle and Murray, The Neural Autoregressive Distribution Estimator, AISTATS 2011.
    """

    def __init__(self, levels, units, **kwargs):
        super().__init__(**kwargs)
        self.levels, self.units = levels, units
        self.hidden = layers.Dense(units, "relu", dtype=self.dtype_policy, name="hidden")

    def build(self, features_shape, rows_shape=None):
        total = sum(self.levels)
        small = keras.initializers.RandomNormal(stddev=0.02)
        shape = (len(self.levels), self.units)
        self.table = self.add_weight(shape=(total, self.units), initializer=small, name="table")
        self.places = self.add_weight(shape=shape, initializer=small, name="places")
        scale = keras.initializers.RandomNormal(stddev=self.units**-0.5)
        self.kernel = self.add_weight(shape=(self.units, total), initializer=scale, name="kernel")
        self.bias = self.add_weight(shape=(total,), initializer="zeros", name="bias")
        self.hidden.build((*features_shape[:-1], len(self.levels), self.units))
        self.built = True

    def call(self, features, rows):
        lower = np.tri(len(self.levels), k=-1, dtype="float32")
        before = ops.matmul(lower, ops.take(self.table, rows, axis=0))  # (..., digits, units)
        h = features[..., None, :] + before + self.places
        h = self.hidden(ops.relu(h))
        if len(set(self.levels)) == 1:  # Digits with equally many values fit in one tensor.
            kernel = ops.reshape(self.kernel, (self.units, len(self.levels), self.levels[0]))
            logits = ops.einsum("...du,udl->...dl", h, kernel)
            return ops.reshape(logits, (*ops.shape(h)[:-2], sum(self.levels))) + self.bias
        parts = [self._compute_digit_logits(h[..., i, :], i) for i in range(len(self.levels))]
        return ops.concatenate(parts, axis=-1)

    def draw(self, features, uniforms):
        """Draw one code per example, digit by digit.

        Args:
            features: Tensor of shape (batch, units).
            uniforms: Tensor of shape (batch, digits), draws from [0, 1).

        Returns:
            The codes, (batch,), and their logits, (batch, sum(levels)).
        """
        digits, parts = [], []
        for i, first in enumerate(_first_rows(self.levels)):
            h = self.hidden(ops.relu(features + self.places[i]))
            parts.append(self._compute_digit_logits(h, i))
            digits.append(_invert_distribution(parts[-1], uniforms[:, i]))
            features = features + ops.take(self.table, digits[-1] + int(first), axis=0)
        codes = codes_of_digits(ops.stack(digits, axis=-1), self.levels)
        return codes, ops.concatenate(parts, axis=-1)

    def _compute_digit_logits(self, h, i):
        """Compute the logits of digit i, (..., levels[i])."""
        first = int(_first_rows(self.levels)[i])
        own = slice(first, first + self.levels[i])
        return ops.matmul(h, self.kernel[:, own]) + self.bias[own]


def _first_rows(levels):
    """Return the row of each digit's first value in the table of all digits' values."""
    return np.cumsum((0, *levels[:-1])).astype("int32")


def _invert_distribution(logits, uniforms):
    """Find the code at which each cumulative distribution function exceeds its draw.

    Args:
        logits: Tensor of shape (batch, num_codes).
        uniforms: Tensor of shape (batch,), draws from [0, 1).

    Returns:
        Int32 tensor of shape (batch,).
    """
    passed = ops.cumsum(ops.softmax(logits), axis=-1) <= uniforms[:, None]
    codes = ops.sum(ops.cast(passed, "int32"), axis=-1)
    # Rounding may leave the last cumulative sum below 1, and hence below the draw.
    return ops.minimum(codes, logits.shape[-1] - 1)


def _make_blank_codes(uniforms, code_shape):
    """Make int32 zeros of the shape of the codes that these draws make."""
    several = len(uniforms.shape) > 1 + len(code_shape)
    return ops.zeros_like(uniforms[..., 0] if several else uniforms, "int32")


def _write(values, index, value):
    """Replace the entry at index along axis 1 of values by value, which lacks that axis."""
    # `ops.slice_update` would lose the static shape that TensorFlow's loops require.
    here = ops.arange(0, values.shape[1]) == index
    here = ops.reshape(here, (1, -1, *[1] * (len(values.shape) - 2)))
    return ops.where(here, ops.expand_dims(value, 1), values)


@keras.saving.register_keras_serializable("keras_ae")
class SequencePrior(CodePrior):
    """A causal transformer over a sequence of codes, or over the codes of a volume in order.

    Generation caches the keys and values of every layer, so that each new code costs the
    computation of one position.

    Source: Vaswani et al., Attention Is All You Need, arXiv:1706.03762. Unlike there, layers
    normalize their input, as in arXiv:2002.04745, and the embeddings of positions are learned.

    Args:
        num_codes: Number of codes, or a tuple of the numbers of values of a code's digits, the
            lowest digit first.
        code_shape: Tuple of integers: the length of the sequence, or the sides of an array of
            codes, whose last axis is the first to be read to its end.
        units: Width of the layers, a multiple of num_heads. Defaults to 64.
        num_layers: Positive integer. Defaults to 3.
        num_heads: Number of attention heads. Defaults to 4.
        **kwargs: `name`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> from keras import ops
        >>> prior = SequencePrior(3, (5,), units=8, num_layers=1)
        >>> codes = ops.convert_to_numpy(prior.sample(2, seed=0))
        >>> codes.shape, tuple(prior(codes).shape), tuple(prior.log_prob(codes).shape)
        ((2, 5), (2, 5, 3), (2,))
    """

    def __init__(
        self,
        num_codes: int | Sequence[int],
        code_shape: tuple[int, ...],
        units: int = 64,
        num_layers: int = 3,
        num_heads: int = 4,
        **kwargs: Any,
    ):
        super().__init__(num_codes, code_shape, units, num_layers, **kwargs)
        self._length = math.prod(self.code_shape)
        self.num_heads = arguments.integer(self, "num_heads", num_heads)
        if self.units % self.num_heads:
            raise ValueError(
                f"SequencePrior: units={units} must be a multiple of num_heads={num_heads}."
            )
        self._make_ends(extra_rows=1)  # The last row of the table embeds the start of a sequence.
        self.blocks = [
            _CausalBlock(units, self.num_heads, dtype="float32", name=f"block_{i + 1}")
            for i in range(self.num_layers)
        ]
        self.normalization = layers.LayerNormalization(dtype="float32", name="normalization")

    def numbers_of_example(self) -> int:
        pairs = self._length**2  # Each head has a score and a weight for every pair.
        return super().numbers_of_example() + 2 * self.num_layers * self.num_heads * pairs

    def _make_weights(self):
        shape = (None, self._length, self.units)
        self.positions = self.add_weight(
            shape=shape[1:],
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            name="positions",
        )
        for layer in (self.embedding, *self.blocks, self.normalization, self.logits):
            layer.build(shape)

    def call(self, codes):
        rows = self._find_rows(codes)
        rows = self._reshape(rows, self.code_shape, (self._length,))
        start = ops.full_like(rows[:, :1], sum(self.levels))
        before = ops.concatenate([start, rows[:, :-1]], axis=1)
        h = self._embed(before) + self.positions
        for block in self.blocks:
            h = block(h)
        logits = self._compute_logits(self.normalization(h), rows)
        return self._reshape(logits, (self._length,), self.code_shape)

    def _reshape(self, values, given, wanted):
        """Reshape values of shape (batch, *given, ...) to (batch, *wanted, ...)."""
        if given == wanted:
            return values
        return ops.reshape(values, (-1, *wanted, *values.shape[1 + len(given) :]))

    def generate(self, uniforms: Tensor) -> Tensor:
        if not self.built:
            self.build()
        uniforms = self._reshape(uniforms, self.code_shape, (self._length,))
        codes = _make_blank_codes(uniforms, (self._length,))
        empty = ops.zeros_like(codes, "float32")[:, :, None] + ops.zeros((self.units,))
        cache = tuple((empty, empty) for _ in self.blocks)
        # The converter from JAX to ONNX takes no loop that reads a tensor besides its state.
        codes, _, _ = ops.fori_loop(
            0,
            self._length,
            lambda index, state: (*self._draw_code(index, *state)[0], state[2]),
            (codes, cache, uniforms),
        )
        return self._reshape(codes, (self._length,), self.code_shape)

    def _draw_code(self, index, codes, cache, uniforms):
        """Draw the code at `index`.

        Returns:
            The new codes and cache, and the logits (batch, sum(levels)).
        """
        before = self._find_rows(ops.take(codes, ops.maximum(index - 1, 0), axis=1))
        before = ops.where(index > 0, before, sum(self.levels))
        h = self._embed(before) + ops.take(self.positions, index, axis=0)  # (batch, units)
        kept = []
        for block, (keys, values) in zip(self.blocks, cache, strict=True):
            h, keys, values = block.step(h, keys, values, index)
            kept.append((keys, values))
        code, logits = self._draw(self.normalization(h), ops.take(uniforms, index, axis=1))
        return (_write(codes, index, code), tuple(kept)), logits

    def get_config(self):
        return {**super().get_config(), "num_heads": self.num_heads}


class _CausalBlock(layers.Layer):
    """Attention to earlier positions, then two dense layers, each part added to its input."""

    def __init__(self, units, num_heads, **kwargs):
        super().__init__(**kwargs)
        self.units, self.num_heads = units, num_heads
        options = {"dtype": self.dtype_policy}
        self.first_norm = layers.LayerNormalization(name="first_norm", **options)
        self.queries_keys_values = layers.Dense(3 * units, name="queries_keys_values", **options)
        self.mixed = layers.Dense(units, name="mixed", **options)
        self.second_norm = layers.LayerNormalization(name="second_norm", **options)
        self.hidden = layers.Dense(4 * units, "gelu", name="hidden", **options)
        self.last = layers.Dense(units, name="last", **options)

    def build(self, h_shape):
        for layer in (self.first_norm, self.queries_keys_values, self.mixed, self.second_norm):
            layer.build(h_shape)
        self.hidden.build(h_shape)
        self.last.build((*h_shape[:-1], 4 * self.units))
        self.built = True

    def call(self, h):
        queries, keys, values = self._project_inputs(h)
        places = ops.arange(0, h.shape[1])
        h = h + self._attend(queries, keys, values, places[None] <= places[:, None])
        return h + self._apply_dense(h)

    def step(self, h, keys, values, index):
        """Compute one position of a sequence whose earlier keys and values are cached.

        h, the position's features, has the shape (batch, units).
        """
        query, key, value = self._project_inputs(h)
        keys, values = _write(keys, index, key), _write(values, index, value)
        seen = ops.arange(0, keys.shape[1])[None] <= index
        h = h + self._attend(query[:, None], keys, values, seen)[:, 0]
        return h + self._apply_dense(h), keys, values

    def _project_inputs(self, h):
        return ops.split(self.queries_keys_values(self.first_norm(h)), 3, axis=-1)

    def _apply_dense(self, h):
        return self.last(self.hidden(self.second_norm(h)))

    def _attend(self, queries, keys, values, seen):
        """Average the values that each query may see: a tensor (batch, queries, units)."""
        queries, keys, values = (self._split_heads(v) for v in (queries, keys, values))
        batch, length = (n or 1 for n in queries.shape[:2])
        memory.refuse_beyond(
            8.0 * batch * length * keys.shape[1] * self.num_heads,
            f"SequencePrior: attention of {length} codes to {keys.shape[1]}, {batch} times,",
            "Take a shorter code_shape, or pass fewer examples.",
        )
        scores = ops.einsum("bqhd,bkhd->bhqk", queries, keys) / math.sqrt(keys.shape[-1])
        weights = ops.softmax(ops.where(seen, scores, -1e9))
        mixed = ops.einsum("bhqk,bkhd->bqhd", weights, values)
        return self.mixed(ops.reshape(mixed, (-1, mixed.shape[1], self.units)))

    def _split_heads(self, v):
        return ops.reshape(v, (-1, v.shape[1], self.num_heads, self.units // self.num_heads))


@keras.saving.register_keras_serializable("keras_ae")
class GridPrior(CodePrior):
    """A gated masked convolution over a grid of codes, row after row.

    A vertical stack of convolutions sees the rows above. A horizontal stack sees what is to the
    left in the row and, at every layer, the vertical stack. The embeddings of positions are
    learned. Generation computes the vertical stack once for each row, and the horizontal stack for
    the current row only.

    Source: van den Oord et al., Conditional Image Generation with PixelCNN Decoders,
    arXiv:1606.05328. The order of the codes is that of arXiv:1601.06759.

    Args:
        num_codes: Number of codes, or a tuple of the numbers of values of a code's digits, the
            lowest digit first.
        code_shape: Tuple of two integers, rows and columns.
        units: Channels of the convolutions. Defaults to 64.
        num_layers: Positive integer. A code depends on this many rows above its own and columns to
            each side. Defaults to 6.
        **kwargs: `name`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> from keras import ops
        >>> prior = GridPrior(3, (4, 5), units=8, num_layers=2)
        >>> codes = ops.convert_to_numpy(prior.sample(2, seed=0))
        >>> codes.shape, tuple(prior(codes).shape), tuple(prior.log_prob(codes).shape)
        ((2, 4, 5), (2, 4, 5, 3), (2,))
    """

    def __init__(
        self,
        num_codes: int | Sequence[int],
        code_shape: tuple[int, ...],
        units: int = 64,
        num_layers: int = 6,
        **kwargs: Any,
    ):
        super().__init__(num_codes, code_shape, units, num_layers, **kwargs)
        self._make_ends()
        self.vertical = self._make_convolutions("vertical", (2, 3))
        self.across = self._make_convolutions("across", 1)
        self.horizontal = self._make_convolutions("horizontal", (1, 2))
        self.residual = self._make_convolutions("residual", 1, units)
        self.hidden = layers.Dense(units, "relu", dtype="float32", name="hidden")

    def _make_convolutions(self, name, size, channels=None):
        options = {"data_format": "channels_last", "dtype": "float32"}
        channels = channels or 2 * self.units  # Half are values, and half are their gates.
        return [
            layers.Conv2D(channels, size, name=f"{name}_{i + 1}", **options)
            for i in range(self.num_layers)
        ]

    def _make_weights(self):
        shape = (None, *self.code_shape, self.units)
        self.positions = self.add_weight(
            shape=shape[1:],
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            name="positions",
        )
        for layer in (self.embedding, self.hidden, self.logits):
            layer.build(shape)
        for layer in (*self.vertical, *self.horizontal, *self.residual):
            layer.build((None, None, None, self.units))
        for layer in self.across:
            layer.build((None, None, None, 2 * self.units))

    def call(self, codes):
        rows = self._find_rows(codes)
        features = self._compute_features(rows, self._compute_contexts(rows), self.positions)
        return self._compute_logits(features, rows)

    def _compute_contexts(self, rows):
        """Compute what the rows above add to each layer of the horizontal stack.

        Returns:
            A list with a tensor (batch, rows, columns, 2 * units) for each layer.
        """
        h, contexts = self._embed(rows), []
        for vertical, across in zip(self.vertical, self.across, strict=True):
            # The kernel covers one row above and one column to each side. A feature sees its own
            # row, too, so that the features are shifted down by one row for the horizontal stack.
            values = vertical(_pad(h, above=1, left=1, right=1))
            contexts.append(across(_pad(values, above=1)[:, :-1]))
            h = h + _apply_gate(values)
        return contexts

    def _compute_features(self, rows, contexts, positions):
        """Compute the features of whole grids, or of one row with its contexts and positions."""
        h = self._embed(rows)
        # The shift by one column hides a code from its own position.
        h = _pad(h, left=1)[:, :, :-1] + positions
        layers_of_stack = zip(self.horizontal, self.residual, contexts, strict=True)
        for horizontal, residual, context in layers_of_stack:
            h = h + residual(_apply_gate(horizontal(_pad(h, left=1)) + context))
        return self.hidden(ops.relu(h))

    def generate(self, uniforms: Tensor) -> Tensor:
        if not self.built:
            self.build()

        # The loops' states hold all tensors that they read, as in `SequencePrior`.
        def row_turn(index, state):
            codes, uniforms = state
            contexts = self._compute_contexts(self._find_rows(codes))
            contexts = tuple(ops.take(c, index, axis=1)[:, None] for c in contexts)
            positions = ops.take(self.positions, index, axis=0)
            draws = ops.take(uniforms, index, axis=1)  # (batch, columns), or (..., digits)

            def column_turn(column, state):
                row, draws, contexts, positions = state
                features = self._compute_features(
                    self._find_rows(row[:, None]), contexts, positions
                )[:, 0]
                here = ops.take(features, column, axis=1)
                code, _ = self._draw(here, ops.take(draws, column, axis=1))
                return _write(row, column, code), draws, contexts, positions

            row = _make_blank_codes(draws, self.code_shape[1:])
            start = (row, draws, contexts, positions)
            row, *_ = ops.fori_loop(0, self.code_shape[1], column_turn, start)
            return _write(codes, index, row), uniforms

        codes = _make_blank_codes(uniforms, self.code_shape)
        return ops.fori_loop(0, self.code_shape[0], row_turn, (codes, uniforms))[0]


def _pad(h, above=0, left=0, right=0):
    """Pad h of shape (batch, rows, columns, channels) with zeros."""
    return ops.pad(h, ((0, 0), (above, 0), (left, right), (0, 0)))


def _apply_gate(values):
    value, gate = ops.split(values, 2, axis=-1)
    return ops.tanh(value) * ops.sigmoid(gate)
