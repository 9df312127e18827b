"""Generating sentences from a continuous space: Bowman et al. 2015, arXiv:1511.06349."""

import dataclasses
import functools
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae import samplers, schedules
from keras_ae.core import arguments, backend, inputs, memory, ranges, seeds
from keras_ae.core.batching import batched
from keras_ae.core.draws import GivenNumbers, decode_draws, draw_uniform
from keras_ae.core.types import Array, ArrayOrTensor, Data, Tensor, Verbose, Weight
from keras_ae.models.series.base import ShortenedSteps, cut, scan_steps
from keras_ae.models.variational.vae import VAE
from keras_ae.networks.sequences import steps_shape

_IMPOSSIBLE = -1e9  # A log-probability that stays finite when it is added up over a sentence.
_MOST_TOKENS = 2**24  # Data is float32, which holds all integers up to this one.


class SentenceVAE(ShortenedSteps, VAE):
    """A VAE of sentences, which are integer tokens, with one continuous code for each.

    A recurrent encoder reads the embeddings of the tokens and skips padding. The decoder reads, at
    each step, the code and the embedding of the token before, so that p(x | z) is the product of
    p(x_t | z, x_1, ..., x_(t-1)), with a softmax over the vocabulary. Padding comes after the last
    token and leaves the bound, so that the number of tokens is no part of the model, unless each
    sentence ends with the same token, the `end_token`. The logs also have `nats_per_step`, the
    negative bound of each sentence divided by its number of tokens, and `num_steps`, this number.

    A decoder that predicts well from the tokens before may ignore the code. Against this, the
    weight of the divergence rises from 0 at first, and word dropout replaces some of the tokens
    that the decoder reads (section 3.1). It does so in training alone. `free_bits` also helps.

    `decode` and `reconstruct` return the tokens that are the most probable ones at each step,
    `beam_search` the most probable sentences, and `sample` draws. Tokens are whole numbers in
    arrays of float32 here, as all data. `keras.layers.TextVectorization` makes them of texts, and
    its `get_vocabulary` makes words of them.

    Args:
        latent_dim: Dimensions of the code. Defaults to 16.
        vocabulary_size: Number of tokens, padding included, an integer from 2 to 2**24. The data
            consists of the integers from 0 to vocabulary_size - 1. Defaults to 10,000.
        embedding_dim: Dimensions of the embeddings of tokens. Defaults to 64.
        hidden_units: Units of the two LSTMs. Defaults to 128.
        word_dropout: Share of the tokens that the decoder does not see in training, from 0 to below
            1. An embedding of its own takes their place. Defaults to 0.25.
        mask_token: The token of padding, which is never generated before the end. Defaults to 0, as
            `TextVectorization` has it. With None, there is no padding.
        end_token: The token after which a generated sentence is filled with padding. Your data must
            contain it, such as by an "[end]" after each text, with nothing but padding after it.
            Defaults to None: generated sentences have as many tokens as the data has steps.
        encoder_steps: Number of training steps in which the encoder moves alone between two in
            which both networks move (arXiv:1901.05534, algorithm 1, which then moves the decoder
            alone). The posteriors then follow the decoder, which otherwise learns to do without the
            code before they do. Defaults to 0, both at every step.
        encoder_steps_until: Training step from which on both move at every step. The paper waits
            until the code tells no more of the data than before. Defaults to 5,000.
        kl_weight: See `keras_ae.VAE`. Defaults to None, `keras_ae.schedules.LinearWarmUp(5000)`.
        free_bits, seed: See `keras_ae.VAE`.

    Raises:
        ValueError: If an argument is out of range, or the data holds anything but tokens.

    Example:

    >>> import numpy as np
    >>> from keras_ae import SentenceVAE
    >>> model = SentenceVAE(latent_dim=2, vocabulary_size=6, hidden_units=8, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).integers(1, 6, (16, 4))
    >>> x[:8, 2:] = 0  # These sentences have two tokens.
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> z = model.encode(x)
    >>> model.decode(z).shape, model.sample(3, seed=0).shape, model.beam_search(z, 2)[0].shape
    ((16, 4), (3, 4), (16, 2, 4))
    """

    _without = ("encoder", "decoder", "likelihood", "network_options", "standardize")
    _draws_data = True
    _scales_data = True  # Tokens are numbers of things, of any size.

    def __init__(
        self,
        latent_dim: int = 16,
        vocabulary_size: int = 10_000,
        embedding_dim: int = 64,
        hidden_units: int = 128,
        word_dropout: float = 0.25,
        mask_token: int | None = 0,
        end_token: int | None = None,
        encoder_steps: int = 0,
        encoder_steps_until: int = 5000,
        kl_weight: Weight | None = None,
        **kwargs: Any,
    ):
        kl_weight = schedules.LinearWarmUp(5000) if kl_weight is None else kl_weight
        super().__init__(latent_dim, likelihood="categorical", kl_weight=kl_weight, **kwargs)
        options = {"least": 2, "most": _MOST_TOKENS}
        size = arguments.integer(self, "vocabulary_size", vocabulary_size, **options)
        # The likelihood is that of tokens, and not of vectors that are one-hot.
        self._support = ranges.Support(0.0, size - 1.0, step=1.0)
        self._takes_classes, self._outputs_are_data = False, True
        self.vocabulary_size = size
        self.embedding_dim = arguments.integer(self, "embedding_dim", embedding_dim)
        self.hidden_units = arguments.integer(self, "hidden_units", hidden_units)
        self.word_dropout = arguments.number(self, "word_dropout", word_dropout, below=1)
        self.encoder_steps = arguments.integer(self, "encoder_steps", encoder_steps, least=0)
        self.encoder_steps_until = arguments.integer(
            self, "encoder_steps_until", encoder_steps_until, least=0
        )
        self._held = ("decoder",) if encoder_steps else ()
        self.mask_token, self.end_token = mask_token, end_token
        for name in ("mask_token", "end_token"):
            if getattr(self, name) is not None:
                arguments.integer(self, name, getattr(self, name), least=0, most=size - 1)
        arguments.fix(self, "mask_token", "end_token")
        if end_token is not None and mask_token in (None, end_token):
            raise ValueError(
                f"SentenceVAE: end_token={end_token!r} needs another mask_token than "
                f"{mask_token!r}, with which the steps after it are filled. Pass both."
            )

    def _check_given(self):
        """Accept the likelihood, which is no argument."""

    def _check_values(self, name, values, call):
        low, high = (values.min(), values.max()) if values.size else (0, 0)
        if low < 0 or high >= self.vocabulary_size or np.any(values != np.floor(values)):
            found = f"values from {low:g} to {high:g}"
            if 0 <= low and high < self.vocabulary_size:
                found += " that are no integers"
            raise ValueError(
                f"SentenceVAE: {name} of shape {values.shape} holds {found}, and tokens are the "
                f"integers from 0 to {self.vocabulary_size - 1}, because vocabulary_size="
                f"{self.vocabulary_size}. Pass the tokens of keras.layers.TextVectorization, and "
                "its vocabulary_size()."
            )
        if self.mask_token is not None and values.ndim == 2:
            given = values != self.mask_token
            if np.any(given[:, 1:] & ~given[:, :-1]):
                raise ValueError(
                    f"SentenceVAE: {name} holds padding, the token {self.mask_token}, before other "
                    "tokens. Pad sentences at their end, such as by keras.utils.pad_sequences(x, "
                    "padding='post'), or pass mask_token=None if it is a token like others."
                )
        if self.end_token is not None and values.ndim == 2:
            ends = values == self.end_token
            if np.any(ends[:, :-1] & (values[:, 1:] != self.mask_token)):
                raise ValueError(
                    f"SentenceVAE: {name} holds tokens after end_token={self.end_token}, but "
                    "generated sentences end there. Pad what comes after it with "
                    f"mask_token={self.mask_token}, or leave out end_token."
                )
        return values

    def _build_networks(self, shape, target_shape):
        for each in (shape, target_shape):
            if len(each) != 1:
                raise ValueError(
                    f"SentenceVAE: x has examples of shape {tuple(each)}, which are no sentences. "
                    "Pass tokens of shape (batch, steps), which are integers and not one-hot."
                )
        self._steps = steps_shape(self, target_shape)[0]
        self.encoder, self.decoder = _Reader(self), _Writer(self)
        dense = keras.layers.Dense(self._code_width(), dtype=self.dtype_policy, name="code")
        self.features_to_code = keras.Sequential([dense], name="features_to_code")
        self.encoder.build((None, *shape))
        self.features_to_code.build((None, self.hidden_units))
        self.decoder.build((None, self.latent_dim))
        self._build_likelihood(target_shape)

    # ------------------------------------------------------------------ probabilities

    def _as_tokens(self, x):
        """Return data as integers within the vocabulary, of which tensors are not checked."""
        tokens = ops.cast(ops.round(ops.cast(x, "float32")), "int32")
        return ops.clip(tokens, 0, self.vocabulary_size - 1)

    def _mark_tokens(self, tokens):
        """Return 1.0 for each token that is not padding, else 0.0: shape (batch, steps)."""
        if self.mask_token is None:
            return ops.ones_like(tokens, dtype="float32")
        return ops.cast(ops.not_equal(tokens, self.mask_token), "float32")

    def conditional(self, z: Tensor, training: bool = False) -> Any:
        """Make p(x | z), a distribution of sentences (batch, steps).

        Args:
            z: Tensor of shape (batch, latent_dim).
            training: Whether word dropout is active. Defaults to False.
        """
        return _Sentences(self, z, training)

    def _holds(self, step):
        """Tell whether the decoder stands still at a training step, and the encoder moves alone."""
        is_alone = ops.mod(step, self.encoder_steps + 1) < self.encoder_steps
        return ops.logical_and(is_alone, step < self.encoder_steps_until)

    def _padding(self):
        return self.mask_token

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        counts = [self._mark_tokens(self._as_tokens(values)) for values in (x, y)]
        compute = functools.partial(super().loss_terms, training=training)
        terms = self._leave_out_padding(compute, (x, y), counts, training)
        return self._with_nats_per_step(terms, ops.sum(counts[1], axis=1))

    def perplexity(
        self,
        x: Data,
        num_samples: int = 100,
        seed: int | None = None,
        *,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
    ) -> float:
        """Compute exp(-log p(x) per token), which is how many tokens a fair choice would be among.

        Args:
            x: Array of tokens, shape (batch, steps).
            num_samples, seed, batch_size, verbose: See `log_likelihood`, which estimates log p(x)
                by importance sampling, from below on average. Defaults to 100 samples.

        Returns:
            A number for all tokens that are no padding together. Apart from the error of the
            estimate, it is at least 1.

        Raises:
            ValueError: If there is no token but padding.
        """
        x = inputs.check_data(self, x)
        number = x.size if self.mask_token is None else np.sum(x != self.mask_token)
        if number == 0:
            raise ValueError(
                f"perplexity: x of shape {x.shape} holds padding alone, the token "
                f"{self.mask_token}. Pass sentences with at least one token."
            )
        options = {"batch_size": batch_size, "verbose": verbose}
        nats = -self.log_likelihood(x, num_samples=num_samples, seed=seed, **options)
        return float(np.exp(nats.sum(dtype="float64") / number))

    # ------------------------------------------------------------------ sentences

    def _write(self, z, noise=None, temperature=1.0):
        """Write sentences token by token: a float32 tensor of shape (batch, steps).

        Args:
            z: Tensor of shape (batch, latent_dim).
            noise: Uniform numbers with which tokens are drawn, (batch, steps). Defaults to None:
                each token is the most probable one.
            temperature: Number by which logits are divided before a token is drawn.
        """
        widths = [self.hidden_units, self.hidden_units, 1, 1, self.latent_dim]
        z = ops.cast(z, "float32")
        blank = ops.zeros_like(z[:, :1])
        hidden = ops.repeat(blank, 2 * self.hidden_units, axis=1)
        before = blank + float(self.decoder.start)
        state = ops.concatenate([hidden, before, blank, z], axis=1)
        values = ops.repeat(blank, self._steps, axis=1) if noise is None else noise

        def take_step(state, uniform):
            h, c, before, is_over, z = cut(state, widths)
            ids = ops.cast(before[:, 0], "int32")
            logits, (h, c) = self.decoder.step(ids, z, [h, c])
            if noise is None:
                token = backend.argmax(logits)[:, None]
            else:
                # The largest one is 0, so that low temperatures make none infinite. Padding stays
                # impossible at high ones.
                logits = logits - ops.max(logits, axis=-1, keepdims=True)
                logits = self.decoder.block(logits / temperature)
                shares = ops.cumsum(ops.softmax(logits, axis=-1), axis=-1)
                # The last sum takes the place of 1, from which it may differ by rounding errors.
                token = ops.sum(ops.cast(shares <= uniform * shares[:, -1:], "int32"), axis=-1)
                token = ops.minimum(token, self.vocabulary_size - 1)[:, None]
            token = ops.cast(token, "float32")
            if self.end_token is not None:
                token = ops.where(is_over > 0.0, float(self.mask_token), token)
                ends = ops.cast(ops.equal(token, float(self.end_token)), "float32")
                is_over = ops.maximum(is_over, ends)
            return ops.concatenate([h, c, token, is_over, z], axis=1), (token,)

        (tokens,) = scan_steps(take_step, state, [values[..., None]], [1])
        return tokens[..., 0]

    def sample(
        self,
        num_samples: int,
        seed: int | None = None,
        temperature: float = 1.0,
        *,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
    ) -> np.ndarray:
        """Draw codes from the prior, and a sentence from p(x | z) for each of them.

        Args:
            num_samples: Number of sentences, a positive integer.
            seed: Integer that makes the draw repeatable. Defaults to None, a new draw in each call.
            temperature: Number of at least 0 by which the logits of tokens are divided. With 0,
                each token is the most probable one. Defaults to 1.
            batch_size: Number of sentences drawn at once. Defaults to a number that fits in memory.
            verbose: 0, 1 or "auto" (a progress bar after two seconds). Defaults to "auto".

        Returns:
            Array of tokens, shape (num_samples, steps), float32.

        Raises:
            ValueError: If num_samples is not a positive integer, or temperature is negative.
        """
        remedy = "1 draws from the model's own probabilities."
        temperature = float(arguments.number("sample", "temperature", temperature, remedy=remedy))
        with memory.explained("SentenceVAE.sample", lambda: {}, memory.FEWER_DRAWS):
            seed = seeds.draw(self, seed)
            codes, _ = samplers.draw(self, num_samples, seed, verbose)
            options = {"batch_size": batch_size, "verbose": verbose}
            return decode_draws(self, codes, seed, temperature=temperature, **options)

    def _decode_draws(self, draws, temperature=1.0, **options):
        if draws.shape[-1] == self.latent_dim:  # Codes without random numbers.
            return self.decode(draws, **options)
        return self._draw_data(draws, temperature, **options)

    @batched("draws", "sample")
    def _draw_data(self, draws, temperature=1.0):
        z, noise = draws[:, : self.latent_dim], draws[:, self.latent_dim :]
        numbers = {"uniform_noise": noise}
        seed = GivenNumbers(ops.shape(draws)[0], numbers)
        return self.conditional(z).sample(seed, temperature)

    def beam_search(
        self,
        z: Array | Tensor,
        width: int = 4,
        *,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
    ) -> tuple[ArrayOrTensor, ArrayOrTensor]:
        """Find the most probable sentences of each code among those that begin probably.

        After each step, the `width` most probable beginnings are kept. If width is at least the
        number of all possible sentences, none is missed.

        Args:
            z: Array or tensor of codes, shape (batch, latent_dim).
            width: Number of beginnings, and of the sentences that are returned. Defaults to 4.
            batch_size: Number of codes in a batch. Defaults to a number that fits in memory.
            verbose: 0, 1 or "auto" (a progress bar after two seconds). Defaults to "auto".

        Returns:
            Tokens, an integer array or tensor of shape (batch, width, steps), and log p(x | z) in
            nats, of shape (batch, width), the most probable sentence first. If there are fewer than
            `width` sentences, the log-probability of the others is below -1e8.

        Raises:
            ValueError: If width is not a positive integer, or the beginnings do not fit in memory.
        """
        width = arguments.integer("beam_search", "width", width)
        # The probabilities of the next token exist for every beginning, in several copies.
        memory.refuse_beyond(
            16.0 * width * (self.vocabulary_size + self.hidden_units),
            f"beam_search: width={width} for vocabulary_size={self.vocabulary_size}",
            "Take a smaller width.",
        )
        batch_size = max(1, 256 // width) if batch_size is None else batch_size
        found = self._search(z, width, batch_size=batch_size, verbose=verbose)
        tokens, log_prob = found[..., :-1], found[..., -1]
        is_array = isinstance(tokens, np.ndarray)
        return tokens.astype("int32") if is_array else ops.cast(tokens, "int32"), log_prob

    @batched("code", "beam_search", returns_data=False)
    def _search(self, z, width):
        size, units = self.vocabulary_size, self.hidden_units
        places = ops.arange(self._steps)
        # After the end, padding is certain.
        padding = np.full(size, _IMPOSSIBLE, "float32")
        padding[self.mask_token or 0] = 0.0
        padding = ops.convert_to_tensor(padding)
        z = ops.repeat(ops.cast(z, "float32"), width, axis=0)  # (batch * width, latent_dim)
        hidden = ops.repeat(ops.zeros_like(z[:, :1]), units, axis=1)
        grid = ops.zeros_like(ops.reshape(z[:, 0], (-1, width)))  # (batch, width)
        start = ops.cast(ops.reshape(hidden[:, 0], (-1, width)), "int32") + self.decoder.start
        # All beginnings are the same before the first token, so that only the first one counts.
        scores = grid + ops.where(ops.arange(width) == 0, 0.0, _IMPOSSIBLE)
        tokens = ops.repeat(ops.cast(grid, "int32")[..., None], self._steps, axis=2)

        def take(values, beams):
            """Take the beginnings of these numbers from a tensor (batch * width, ...)."""
            values = ops.reshape(values, (-1, width, *values.shape[1:]))
            index = ops.reshape(beams, (-1, width, *(1,) * (len(values.shape) - 2)))
            found = ops.take_along_axis(values, index, axis=1)
            return ops.reshape(found, (-1, *values.shape[2:]))

        def turn(step, state):
            scores, tokens, last, is_over, h, c = state
            logits, (h, c) = self.decoder.step(ops.reshape(last, (-1,)), z, [h, c])
            log_prob = ops.reshape(ops.log_softmax(logits, axis=-1), (-1, width, size))
            log_prob = ops.where(is_over[..., None], padding, log_prob)
            totals = ops.reshape(scores[..., None] + log_prob, (-1, width * size))
            scores, index = ops.top_k(totals, width)
            index = ops.cast(index, "int32")
            beams, last = index // size, index % size
            h, c = take(h, beams), take(c, beams)
            is_over = ops.take_along_axis(is_over, beams, axis=1)
            tokens = ops.take_along_axis(tokens, beams[..., None], axis=1)
            tokens = ops.where(places == step, last[..., None], tokens)
            if self.end_token is not None:
                is_over = ops.logical_or(is_over, ops.equal(last, self.end_token))
            return scores, tokens, last, is_over, h, c

        state = (scores, tokens, start, ops.cast(grid, "bool"), hidden, hidden)
        scores, tokens, *_ = ops.fori_loop(0, self._steps, turn, state)
        return ops.concatenate([ops.cast(tokens, "float32"), scores[..., None]], axis=-1)


@dataclasses.dataclass(frozen=True, eq=False)
class _Sentences:
    """p(x | z), the product of the probabilities of each token given those before it."""

    model: SentenceVAE
    z: object
    training: bool

    @property
    def mean(self):
        """The sentence whose tokens are the most probable ones, each given those before it."""
        return self.model._write(self.z)

    def sample(self, seed, temperature=1.0):
        """Draw sentences, or take the most probable tokens if the temperature is 0."""
        noise = draw_uniform((ops.shape(self.z)[0], self.model._steps), seed)
        if temperature == 0:
            return self.mean
        return self.model._write(self.z, noise, temperature)

    def log_prob(self, x):
        """Compute log p(x | z) in nats without the padding of x, shape (batch,)."""
        model = self.model
        tokens = model._as_tokens(x)
        seed = model.step_seed(True) if self.training else None
        logits = model.decoder(self.z, model.decoder.shift(tokens, model.word_dropout, seed))
        chosen = ops.take_along_axis(logits, tokens[..., None], axis=-1)[..., 0]
        log_prob = chosen - ops.logsumexp(logits, axis=-1)
        return ops.sum(log_prob * model._mark_tokens(tokens), axis=1)


class _Reader(memory.GuardedLayer):
    """The encoder: an LSTM over the embeddings of tokens that are not padding."""

    def __init__(self, model):
        super().__init__(name="encoder", dtype=model.dtype_policy)
        size, width, units = model.vocabulary_size, model.embedding_dim, model.hidden_units
        self.width, self.mask_token, self.as_tokens = width, model.mask_token, model._as_tokens
        self.embedding = keras.layers.Embedding(size, width, dtype=self.dtype_policy)
        # cuDNN raises an error for a sentence that is all padding.
        options = {} if model.mask_token is None else {"use_cudnn": False}
        self.rnn = keras.layers.LSTM(units, dtype=self.dtype_policy, **options)

    def build(self, shape):
        # The largest weights come first, so that no others are made if they do not fit in memory.
        self.rnn.build((None, shape[1], self.width))
        self.embedding.build(shape)
        self.built = True

    def call(self, x, training=False):
        tokens = self.as_tokens(x)
        if self.mask_token is None:
            return self.rnn(self.embedding(tokens))
        return self.rnn(self.embedding(tokens), mask=ops.not_equal(tokens, self.mask_token))


class _Writer(memory.GuardedLayer):
    """The decoder: an LSTM that reads the code and the token before, and a softmax's logits."""

    def __init__(self, model):
        super().__init__(name="decoder", dtype=model.dtype_policy)
        size, self.width = model.vocabulary_size, model.embedding_dim + model.latent_dim
        # Two tokens beyond the vocabulary: the one before the first, and a dropped one.
        self.start, self.unknown = size, size + 1
        options = {"dtype": self.dtype_policy}
        self.embedding = keras.layers.Embedding(size + 2, model.embedding_dim, **options)
        self.rnn = keras.layers.LSTM(model.hidden_units, return_sequences=True, **options)
        self.logits = keras.layers.Dense(size, name="logits", **options)
        self.blocked = np.zeros(size, "float32")
        if model.mask_token is not None:
            self.blocked[model.mask_token] = _IMPOSSIBLE

    def build(self, z_shape):
        self.rnn.build((None, None, self.width))
        self.embedding.build((None, None))
        self.logits.build((None, None, self.rnn.units))
        self.built = True

    def shift(self, tokens, dropout=0.0, seed=None):
        """Return the tokens that each step reads: those before it.

        Args:
            tokens: Integer tensor of shape (batch, steps).
            dropout: Share of the tokens that are replaced by the unknown one. Defaults to 0.
            seed: `keras.random.SeedGenerator`. Defaults to None: no token is replaced.
        """
        start = ops.full_like(tokens[:, :1], self.start)
        if seed is not None:
            drops = draw_uniform(ops.shape(tokens), seed) < dropout
            tokens = ops.where(drops, self.unknown, tokens)
        return ops.concatenate([start, tokens[:, :-1]], axis=1)

    def call(self, z, before, training=False):
        """Compute logits (batch, steps, vocabulary) from codes and the tokens before each step."""
        embedded = self.embedding(before)
        codes = ops.repeat(ops.cast(z, embedded.dtype)[:, None], before.shape[1], axis=1)
        h = self.rnn(ops.concatenate([embedded, codes], axis=-1))
        return self.block(self.logits(h))

    def block(self, logits):
        """Make padding impossible."""
        return ops.cast(logits, "float32") + ops.convert_to_tensor(self.blocked)

    def step(self, before, z, state):
        """Compute the logits of one step, (batch, vocabulary), and the next state of the LSTM."""
        embedded = self.embedding(before)
        joined = ops.concatenate([embedded, ops.cast(z, embedded.dtype)], axis=-1)
        h, state = self.rnn.cell(joined, [ops.cast(each, embedded.dtype) for each in state])
        return self.block(self.logits(h)), [ops.cast(each, "float32") for each in state]
