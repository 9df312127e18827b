"""Autoregressive priors over codes: the probability of every code given those before it."""

import math

import keras
import numpy as np
from keras import layers, ops

from keras_ae.core import arguments, memory
from keras_ae.layers.scalar_quantizers import (
    check_num_codes,
    codes_of_digits,
    digits_of_codes,
)

_CONFIG = ("num_codes", "code_shape", "units", "num_layers")


class CodePrior(memory.GuardedLayer):
    """p(codes), the product over all positions of p(code | codes before it), in their order.

    Called with codes of shape (batch, *code_shape) a prior gives the logits of every position,
    (batch, *code_shape, num_codes), which depend on the codes before it alone. It computes in
    float32.

    Where a code has digits, as those of product codebooks have, num_codes is the tuple of how many
    values each digit takes, the lowest digit first. A position then has the logits of its digits
    side by side, sum(num_codes) of them, each digit's given the lower digits of the same code: as
    exact as logits of whole codes, whose number is the product. Such a prior also takes the digits
    themselves, (batch, *code_shape, digits).
    """

    def __init__(self, num_codes, code_shape, units, num_layers, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        if isinstance(num_codes, (list, tuple)):
            arguments.sizes(self, "num_codes", num_codes, "(8, 6, 5)")
            if not num_codes:
                raise ValueError(f"{type(self).__name__}: num_codes={num_codes!r} holds no digit.")
            check_num_codes(self, num_codes)
            self.levels = tuple(num_codes)
        else:
            self.levels = (arguments.integer(self, "num_codes", num_codes),)
        self.num_codes = math.prod(self.levels)
        self.code_shape = tuple(code_shape)
        self.units = arguments.integer(self, "units", units)
        self.num_layers = arguments.layers(self, "num_layers", num_layers)

    def build(self, codes_shape=None):
        with memory.checked_weights(type(self).__name__, "Take fewer codes, or less units."):
            self._make_weights()
        self.built = True

    @memory.explains("Pass fewer examples.")
    def log_prob(self, codes):
        """The log-probability of every example's codes in nats.

        Args:
            codes: Integer tensor of shape (batch, *code_shape).

        Returns:
            Float32 tensor of shape (batch,).
        """
        return -self.nats(codes, self(codes))

    @memory.explains("Pass fewer examples.")
    def nats(self, codes, logits):
        """The negative log-likelihood of every example, a tensor (batch,), by a prior's logits.

        Args:
            codes: Tensor of shape (batch, *code_shape), or of their digits.
            logits: What the prior, called with them, gave.
        """
        digits = self._digits(codes)
        if len(self.levels) == 1:
            pairs = [(digits, logits)]
        elif len(set(self.levels)) == 1:  # All digits at once.
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

    def numbers_of_example(self):
        """About how many numbers training holds of each example."""
        places = math.prod(self.code_shape)
        outputs = self.num_layers * self.units * 4 + len(self.levels) * self.units
        return places * (3 * sum(self.levels) + outputs)

    @property
    def draws_shape(self):
        """The shape of the uniform draws that an example's codes take, without the batch axis."""
        return self.code_shape if len(self.levels) == 1 else (*self.code_shape, len(self.levels))

    @memory.explains(memory.FEWER_DRAWS)
    def sample(self, num_samples, seed):
        """Draw codes.

        Args:
            num_samples: How many.
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

    def generate(self, uniforms):
        """The codes that draws of a uniform distribution on [0, 1) stand for.

        Each code, or digit of a code, is the one at which the distribution function, given what
        comes before it, passes the draw of its position.

        Args:
            uniforms: Tensor of shape (batch, *draws_shape).

        Returns:
            Int32 tensor of shape (batch, *code_shape).
        """
        raise NotImplementedError

    def digits(self, codes):
        """An array of codes as the prior is trained on it, (examples, *draws_shape), int32.

        Batches of arrays are float32, which counts to 2 ** 24: a digit is exact in it, and a code
        of several need not be.

        Args:
            codes: Array of shape (examples, *code_shape).
        """
        if len(self.levels) == 1:
            return codes
        return ops.convert_to_numpy(digits_of_codes(ops.convert_to_tensor(codes), self.levels))

    def _make_ends(self, extra_rows=0):
        """The layers by which codes come in, and by which logits go out."""
        # The digits of a code share a table, in which each has rows of its own.
        self.embedding = layers.Embedding(
            sum(self.levels) + extra_rows, self.units, dtype="float32", name="embedding"
        )
        if len(self.levels) == 1:
            self.logits = layers.Dense(self.num_codes, dtype="float32", name="logits")
        else:
            self.logits = _DigitLogits(self.levels, self.units, dtype="float32", name="logits")

    def _digits(self, codes):
        """Codes of one digit as they are, int32, else the digits of codes, or the digits given."""
        codes = ops.cast(codes, "int32")
        if len(self.levels) == 1 or len(codes.shape) == 2 + len(self.code_shape):
            return codes
        return digits_of_codes(codes, self.levels)

    def _rows(self, codes):
        """The rows of the embedding that codes stand for."""
        digits = self._digits(codes)
        if len(self.levels) == 1:
            return digits
        return digits + ops.convert_to_tensor(_first_rows(self.levels))

    def _embedded(self, rows):
        """The vectors of codes: of several digits the sum."""
        vectors = self.embedding(rows)
        return vectors if len(self.levels) == 1 else ops.sum(vectors, axis=-2)

    def _logits_of(self, features, rows):
        """The logits of codes, whose own lower digits, of several, are given as well."""
        if len(self.levels) == 1:
            return self.logits(features)
        return self.logits(features, rows)

    def _draw(self, features, uniforms):
        """The codes (batch,) that draws stand for, by features (batch, units), and the logits."""
        if len(self.levels) > 1:
            return self.logits.draw(features, uniforms)
        logits = self.logits(features)
        return _drawn(logits, uniforms), logits

    def get_config(self):
        own = {name: getattr(self, name) for name in _CONFIG}
        if len(self.levels) > 1:
            own["num_codes"] = list(self.levels)
        return {**super().get_config(), **own}


class _DigitLogits(layers.Layer):
    """The logits of a code's digits, each given the features of its place and the lower digits.

    Called with features (..., units) and rows (..., digits), the numbers that digits have when
    the values of all are counted through. Returns (..., sum(levels)), every digit's side by side.
    A digit adds a vector to the features, from which two layers that all digits share, and a map of
    its own, lead to the next one's logits.

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
        if len(set(self.levels)) == 1:  # All digits at once.
            kernel = ops.reshape(self.kernel, (self.units, len(self.levels), self.levels[0]))
            logits = ops.einsum("...du,udl->...dl", h, kernel)
            return ops.reshape(logits, (*ops.shape(h)[:-2], sum(self.levels))) + self.bias
        parts = [self._part(h[..., i, :], i) for i in range(len(self.levels))]
        return ops.concatenate(parts, axis=-1)

    def draw(self, features, uniforms):
        """Codes (batch,) from features (batch, units) and draws (batch, digits), and the logits."""
        digits, parts = [], []
        for i, first in enumerate(_first_rows(self.levels)):
            h = self.hidden(ops.relu(features + self.places[i]))
            parts.append(self._part(h, i))
            digits.append(_drawn(parts[-1], uniforms[:, i]))
            features = features + ops.take(self.table, digits[-1] + int(first), axis=0)
        codes = codes_of_digits(ops.stack(digits, axis=-1), self.levels)
        return codes, ops.concatenate(parts, axis=-1)

    def _part(self, h, i):
        """The logits of digit i, (..., levels[i])."""
        first = int(_first_rows(self.levels)[i])
        own = slice(first, first + self.levels[i])
        return ops.matmul(h, self.kernel[:, own]) + self.bias[own]


def _first_rows(levels):
    """The number of each digit's first value, when the values of all are counted through."""
    return np.cumsum((0, *levels[:-1])).astype("int32")


def _drawn(logits, uniforms):
    """The code of every distribution, (batch, num_codes), at which it passes the draw, (batch,)."""
    passed = ops.cumsum(ops.softmax(logits), axis=-1) <= uniforms[:, None]
    codes = ops.sum(ops.cast(passed, "int32"), axis=-1)
    return ops.minimum(codes, logits.shape[-1] - 1)  # The last sum may be rounded to below 1.


def _blank_codes(uniforms, code_shape):
    """Zeros of the shape of the codes that draws stand for."""
    several = len(uniforms.shape) > 1 + len(code_shape)
    return ops.zeros_like(uniforms[..., 0] if several else uniforms, "int32")


def _written(values, index, value):
    """values with what is at index along axis 1 replaced by value, which lacks that axis."""
    # A slice's update would lose the shape that TensorFlow's loops insist on.
    here = ops.arange(values.shape[1]) == index
    here = ops.reshape(here, (1, -1, *[1] * (len(values.shape) - 2)))
    return ops.where(here, ops.expand_dims(value, 1), values)


@keras.saving.register_keras_serializable("keras_ae")
class SequencePrior(CodePrior):
    """A causal transformer over a sequence of codes.

    Generation keeps the keys and values of every layer, so that each code costs one position.

    Source: Vaswani et al., Attention Is All You Need, arXiv:1706.03762; its layers normalise their
    input, as in arXiv:2002.04745, and positions are learned.

    Args:
        num_codes: How many codes there are, or a tuple of how many values each digit of a code has,
            the lowest first.
        code_shape: Tuple of one integer, the length of the sequence.
        units: Width of the layers, a multiple of num_heads. Defaults to 64.
        num_layers: Positive integer. Defaults to 3.
        num_heads: Heads of the attention. Defaults to 4.
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

    def __init__(self, num_codes, code_shape, units=64, num_layers=3, num_heads=4, **kwargs):
        super().__init__(num_codes, code_shape, units, num_layers, **kwargs)
        self.num_heads = arguments.integer(self, "num_heads", num_heads)
        if self.units % self.num_heads:
            raise ValueError(
                f"SequencePrior: units={units} must be a multiple of num_heads={num_heads}."
            )
        self._make_ends(extra_rows=1)  # The last embedding is that of the start.
        self.blocks = [
            _CausalBlock(units, self.num_heads, dtype="float32", name=f"block_{i + 1}")
            for i in range(self.num_layers)
        ]
        self.normalization = layers.LayerNormalization(dtype="float32", name="normalization")

    def numbers_of_example(self):
        pairs = self.code_shape[0] ** 2  # Each head has scores and weights of them.
        return super().numbers_of_example() + 2 * self.num_layers * self.num_heads * pairs

    def _make_weights(self):
        shape = (None, self.code_shape[0], self.units)
        self.positions = self.add_weight(
            shape=shape[1:],
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            name="positions",
        )
        for layer in (self.embedding, *self.blocks, self.normalization, self.logits):
            layer.build(shape)

    def call(self, codes):
        rows = self._rows(codes)
        start = ops.full_like(rows[:, :1], sum(self.levels))
        before = ops.concatenate([start, rows[:, :-1]], axis=1)
        h = self._embedded(before) + self.positions
        for block in self.blocks:
            h = block(h)
        return self._logits_of(self.normalization(h), rows)

    def generate(self, uniforms):
        if not self.built:
            self.build()
        codes = _blank_codes(uniforms, self.code_shape)
        empty = ops.zeros_like(codes, "float32")[:, :, None] + ops.zeros((self.units,))
        cache = tuple((empty, empty) for _ in self.blocks)
        return ops.fori_loop(
            0,
            self.code_shape[0],
            lambda index, state: self._turn(index, state, uniforms)[0],
            (codes, cache),
        )[0]

    def _turn(self, index, state, uniforms):
        """The state with one more code, and that code's logits (batch, sum(levels))."""
        codes, cache = state
        before = self._rows(ops.take(codes, ops.maximum(index - 1, 0), axis=1))
        before = ops.where(index > 0, before, sum(self.levels))
        h = self._embedded(before) + ops.take(self.positions, index, axis=0)  # (batch, units)
        kept = []
        for block, (keys, values) in zip(self.blocks, cache, strict=True):
            h, keys, values = block.step(h, keys, values, index)
            kept.append((keys, values))
        code, logits = self._draw(self.normalization(h), ops.take(uniforms, index, axis=1))
        return (_written(codes, index, code), tuple(kept)), logits

    def get_config(self):
        return {**super().get_config(), "num_heads": self.num_heads}


class _CausalBlock(layers.Layer):
    """Attention to what came before, then two dense layers, each added to its input."""

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
        queries, keys, values = self._parts(h)
        places = ops.arange(h.shape[1])
        h = h + self._attended(queries, keys, values, places[None] <= places[:, None])
        return h + self._dense(h)

    def step(self, h, keys, values, index):
        """One position, h of shape (batch, units), of a sequence whose keys and values are kept."""
        query, key, value = self._parts(h)
        keys, values = _written(keys, index, key), _written(values, index, value)
        seen = ops.arange(keys.shape[1])[None] <= index
        h = h + self._attended(query[:, None], keys, values, seen)[:, 0]
        return h + self._dense(h), keys, values

    def _parts(self, h):
        return ops.split(self.queries_keys_values(self.first_norm(h)), 3, axis=-1)

    def _dense(self, h):
        return self.last(self.hidden(self.second_norm(h)))

    def _attended(self, queries, keys, values, seen):
        """The mean of the values that each query may see, (batch, queries, units)."""
        queries, keys, values = (self._heads(v) for v in (queries, keys, values))
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

    def _heads(self, v):
        return ops.reshape(v, (-1, v.shape[1], self.num_heads, self.units // self.num_heads))


@keras.saving.register_keras_serializable("keras_ae")
class GridPrior(CodePrior):
    """A gated masked convolution over a grid of codes, row after row.

    A vertical stack sees the rows above, a horizontal one what is to the left in the row and, at
    every layer, the vertical stack. Positions are learned. Generation computes the vertical stack
    once a row, and the horizontal one for the row alone.

    Source: van den Oord et al., Conditional Image Generation with PixelCNN Decoders,
    arXiv:1606.05328; the order of the codes is that of arXiv:1601.06759.

    Args:
        num_codes: How many codes there are, or a tuple of how many values each digit of a code has,
            the lowest first.
        code_shape: Tuple of two integers, rows and columns.
        units: Channels of the convolutions. Defaults to 64.
        num_layers: Positive integer: as many rows above and columns to each side are seen.
            Defaults to 6.
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

    def __init__(self, num_codes, code_shape, units=64, num_layers=6, **kwargs):
        super().__init__(num_codes, code_shape, units, num_layers, **kwargs)
        self._make_ends()
        self.vertical = self._convolutions("vertical", (2, 3))
        self.across = self._convolutions("across", 1)
        self.horizontal = self._convolutions("horizontal", (1, 2))
        self.residual = self._convolutions("residual", 1, units)
        self.hidden = layers.Dense(units, "relu", dtype="float32", name="hidden")

    def _convolutions(self, name, size, channels=None):
        options = {"data_format": "channels_last", "dtype": "float32"}
        channels = channels or 2 * self.units  # A value and its gate.
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
        rows = self._rows(codes)
        features = self._features(rows, self._contexts(rows), self.positions)
        return self._logits_of(features, rows)

    def _contexts(self, rows):
        """What the rows above say to every layer of the horizontal stack, (batch, ..., 2 units)."""
        h, contexts = self._embedded(rows), []
        for vertical, across in zip(self.vertical, self.across, strict=True):
            # One row above and one column to each side: a feature sees its own row as well,
            values = vertical(_padded(h, above=1, left=1, right=1))
            # so that a row is told what the one above it has seen.
            contexts.append(across(_padded(values, above=1)[:, :-1]))
            h = h + _gated(values)
        return contexts

    def _features(self, rows, contexts, positions):
        """Of whole grids, or of one row of each with its contexts and positions."""
        h = self._embedded(rows)
        h = _padded(h, left=1)[:, :, :-1] + positions  # What is to the left, without the code.
        layers_of_stack = zip(self.horizontal, self.residual, contexts, strict=True)
        for horizontal, residual, context in layers_of_stack:
            h = h + residual(_gated(horizontal(_padded(h, left=1)) + context))
        return self.hidden(ops.relu(h))

    def generate(self, uniforms):
        if not self.built:
            self.build()

        def row_turn(index, codes):
            contexts = self._contexts(self._rows(codes))
            contexts = [ops.take(c, index, axis=1)[:, None] for c in contexts]
            positions = ops.take(self.positions, index, axis=0)
            draws = ops.take(uniforms, index, axis=1)  # (batch, columns), or (..., digits)

            def column_turn(column, row):
                features = self._features(self._rows(row[:, None]), contexts, positions)[:, 0]
                here = ops.take(features, column, axis=1)
                code, _ = self._draw(here, ops.take(draws, column, axis=1))
                return _written(row, column, code)

            row = _blank_codes(draws, self.code_shape[1:])
            row = ops.fori_loop(0, self.code_shape[1], column_turn, row)
            return _written(codes, index, row)

        codes = _blank_codes(uniforms, self.code_shape)
        return ops.fori_loop(0, self.code_shape[0], row_turn, codes)


def _padded(h, above=0, left=0, right=0):
    """h of shape (batch, rows, columns, channels) with zeros around it."""
    return ops.pad(h, ((0, 0), (above, 0), (left, right), (0, 0)))


def _gated(values):
    value, gate = ops.split(values, 2, axis=-1)
    return ops.tanh(value) * ops.sigmoid(gate)
