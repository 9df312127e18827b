"""Autoregressive priors over codes: the probability of every code given those before it."""

import math

import keras
from keras import layers, ops

from keras_ae import arguments

_CONFIG = ("num_codes", "code_shape", "units", "num_layers")


class CodePrior(keras.layers.Layer):
    """p(codes), the product over all positions of p(code | codes before it), in their order.

    Called with codes of shape (batch, *code_shape) a prior gives the logits of every position,
    (batch, *code_shape, num_codes), which depend on the codes before it alone. It computes in
    float32.
    """

    def __init__(self, num_codes, code_shape, units, num_layers, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.num_codes = arguments.integer(self, "num_codes", num_codes)
        self.code_shape = tuple(code_shape)
        self.units = arguments.integer(self, "units", units)
        self.num_layers = arguments.integer(self, "num_layers", num_layers)

    def log_prob(self, codes):
        """The log-probability of every example's codes in nats.

        Args:
            codes: Integer tensor of shape (batch, *code_shape).

        Returns:
            Float32 tensor of shape (batch,).
        """
        codes = ops.cast(codes, "int32")
        surprises = keras.losses.sparse_categorical_crossentropy(
            codes, self(codes), from_logits=True
        )
        return -ops.sum(surprises, axis=tuple(range(1, len(surprises.shape))))

    def sample(self, num_samples, seed):
        """Draw codes.

        Args:
            num_samples: How many.
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Int32 tensor of shape (num_samples, *code_shape).
        """
        shape = (num_samples, *self.code_shape)
        return self.generate(keras.random.uniform(shape, dtype="float32", seed=seed))

    def generate(self, uniforms):
        """The codes that draws of a uniform distribution on [0, 1) stand for.

        Each code is the one at which the distribution function, given the codes before it, passes
        the draw of its position.

        Args:
            uniforms: Tensor of shape (batch, *code_shape).

        Returns:
            Int32 tensor of the same shape.
        """
        raise NotImplementedError

    def get_config(self):
        return {**super().get_config(), **{name: getattr(self, name) for name in _CONFIG}}


def _drawn(logits, uniforms):
    """The code of every distribution, (batch, num_codes), at which it passes the draw, (batch,)."""
    passed = ops.cumsum(ops.softmax(logits), axis=-1) <= uniforms[:, None]
    codes = ops.sum(ops.cast(passed, "int32"), axis=-1)
    return ops.minimum(codes, logits.shape[-1] - 1)  # The last sum may be rounded to below 1.


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
        num_codes: How many codes there are.
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
        # The last embedding is that of the start.
        self.embedding = layers.Embedding(num_codes + 1, units, dtype="float32", name="embedding")
        self.blocks = [
            _CausalBlock(units, self.num_heads, dtype="float32", name=f"block_{i + 1}")
            for i in range(self.num_layers)
        ]
        self.normalization = layers.LayerNormalization(dtype="float32", name="normalization")
        self.logits = layers.Dense(num_codes, dtype="float32", name="logits")

    def build(self, codes_shape=None):
        shape = (None, self.code_shape[0], self.units)
        self.positions = self.add_weight(
            shape=shape[1:],
            initializer=keras.initializers.RandomNormal(stddev=0.02),
            name="positions",
        )
        for layer in (self.embedding, *self.blocks, self.normalization, self.logits):
            layer.build(shape)
        self.built = True

    def call(self, codes):
        codes = ops.cast(codes, "int32")
        start = ops.full_like(codes[:, :1], self.num_codes)
        before = ops.concatenate([start, codes[:, :-1]], axis=1)
        h = self.embedding(before) + self.positions
        for block in self.blocks:
            h = block(h)
        return self.logits(self.normalization(h))

    def generate(self, uniforms):
        if not self.built:
            self.build()
        codes = ops.zeros_like(uniforms, "int32")
        empty = ops.zeros_like(uniforms)[:, :, None] + ops.zeros((self.units,))
        cache = tuple((empty, empty) for _ in self.blocks)
        return ops.fori_loop(
            0,
            self.code_shape[0],
            lambda index, state: self._turn(index, state, uniforms)[0],
            (codes, cache),
        )[0]

    def _turn(self, index, state, uniforms):
        """The state with one more code, and that code's logits (batch, num_codes)."""
        codes, cache = state
        before = ops.take(codes, ops.maximum(index - 1, 0), axis=1)
        before = ops.where(index > 0, before, self.num_codes)
        h = self.embedding(before) + ops.take(self.positions, index, axis=0)  # (batch, units)
        kept = []
        for block, (keys, values) in zip(self.blocks, cache, strict=True):
            h, keys, values = block.step(h, keys, values, index)
            kept.append((keys, values))
        logits = self.logits(self.normalization(h))
        code = _drawn(logits, ops.take(uniforms, index, axis=1))
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
        num_codes: How many codes there are.
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
        self.embedding = layers.Embedding(num_codes, units, dtype="float32", name="embedding")
        self.vertical = self._convolutions("vertical", (2, 3))
        self.across = self._convolutions("across", 1)
        self.horizontal = self._convolutions("horizontal", (1, 2))
        self.residual = self._convolutions("residual", 1, units)
        self.hidden = layers.Dense(units, "relu", dtype="float32", name="hidden")
        self.logits = layers.Dense(num_codes, dtype="float32", name="logits")

    def _convolutions(self, name, size, channels=None):
        options = {"data_format": "channels_last", "dtype": "float32"}
        channels = channels or 2 * self.units  # A value and its gate.
        return [
            layers.Conv2D(channels, size, name=f"{name}_{i + 1}", **options)
            for i in range(self.num_layers)
        ]

    def build(self, codes_shape=None):
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
        self.built = True

    def call(self, codes):
        return self._logits(codes, self._contexts(codes), self.positions)

    def _contexts(self, codes):
        """What the rows above say to every layer of the horizontal stack, (batch, ..., 2 units)."""
        h, contexts = self.embedding(ops.cast(codes, "int32")), []
        for vertical, across in zip(self.vertical, self.across, strict=True):
            # One row above and one column to each side: a feature sees its own row as well,
            values = vertical(_padded(h, above=1, left=1, right=1))
            # so that a row is told what the one above it has seen.
            contexts.append(across(_padded(values, above=1)[:, :-1]))
            h = h + _gated(values)
        return contexts

    def _logits(self, codes, contexts, positions):
        """Of whole grids, or of one row of each with its contexts and positions."""
        h = self.embedding(ops.cast(codes, "int32"))
        h = _padded(h, left=1)[:, :, :-1] + positions  # What is to the left, without the code.
        layers_of_stack = zip(self.horizontal, self.residual, contexts, strict=True)
        for horizontal, residual, context in layers_of_stack:
            h = h + residual(_gated(horizontal(_padded(h, left=1)) + context))
        return self.logits(self.hidden(ops.relu(h)))

    def generate(self, uniforms):
        if not self.built:
            self.build()

        def row_turn(index, codes):
            contexts = [ops.take(c, index, axis=1)[:, None] for c in self._contexts(codes)]
            positions = ops.take(self.positions, index, axis=0)
            draws = ops.take(uniforms, index, axis=1)  # (batch, columns)

            def column_turn(column, row):
                logits = self._logits(row[:, None], contexts, positions)[:, 0]
                code = _drawn(ops.take(logits, column, axis=1), ops.take(draws, column, axis=1))
                return _written(row, column, code)

            row = ops.zeros_like(draws, "int32")
            row = ops.fori_loop(0, self.code_shape[1], column_turn, row)
            return _written(codes, index, row)

        codes = ops.zeros_like(uniforms, "int32")
        return ops.fori_loop(0, self.code_shape[0], row_turn, codes)


def _padded(h, above=0, left=0, right=0):
    """h of shape (batch, rows, columns, channels) with zeros around it."""
    return ops.pad(h, ((0, 0), (above, 0), (left, right), (0, 0)))


def _gated(values):
    value, gate = ops.split(values, 2, axis=-1)
    return ops.tanh(value) * ops.sigmoid(gate)
