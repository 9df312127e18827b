"""Quantizers with a learned codebook, which replace every vector by the nearest embedding."""

import collections

import keras
from keras import ops

from keras_ae.core import arguments, memory
from keras_ae.core.old_names import accept_old_argument
from keras_ae.core.running_means import decay_rate, num_examples
from keras_ae.core.seeds import SeedGenerator
from keras_ae.layers.gradient_estimators import ESTIMATORS, TINY, squared_norms

Quantized = collections.namedtuple("Quantized", ("vectors", "codes", "losses"))
Quantized.__doc__ = """What a quantizer returns.

Args:
    vectors: Tensor of shape (batch, ..., dim): the quantized vectors. Their gradient reaches the
        vectors that were quantized.
    codes: Int32 tensor of code indices, of shape (batch, ...). With several codebooks, it has one
        more axis.
    losses: Dictionary of name -> tensor of shape (batch,). Each loss is summed over the dimensions
        of a vector and averaged over an example's positions.
"""

_COUNTED = 2**16  # Up to this size of the codebook, counting every code is faster than sorting.


@memory.explains("Pass fewer examples.")
def code_statistics(codes, num_codes):
    """Compute how many codes of a codebook are used, and how evenly.

    Args:
        codes: Int32 tensor of any shape: code indices of one codebook.
        num_codes: Size of the codebook.

    Returns:
        Dictionary of scalars: "usage", the share of the codebook that occurs, and "perplexity",
        the exponential of the entropy of the codes' frequencies, between 1 and num_codes.

    Example:
        >>> import numpy as np
        >>> found = code_statistics(np.array([[0, 1], [0, 1]]), 4)
        >>> float(found["usage"]), round(float(found["perplexity"]), 4)
        (0.5, 2.0)
    """
    if num_codes > _COUNTED:
        return _statistics_by_sorting(codes, num_codes)
    counts = count(codes, num_codes)
    shares = counts / ops.maximum(ops.sum(counts), 1.0)
    entropy = -ops.sum(shares * ops.log(ops.maximum(shares, TINY)))
    return {
        "usage": ops.mean(ops.cast(counts > 0, "float32")),
        "perplexity": ops.exp(entropy),
    }


def _statistics_by_sorting(codes, num_codes):
    """Compute `code_statistics` in memory that does not depend on the codebook's size."""
    ordered = ops.sort(ops.reshape(ops.cast(codes, "int32"), (-1,)))
    counts = ops.searchsorted(ordered, ordered, side="right")
    counts = ops.cast(counts - ops.searchsorted(ordered, ordered, side="left"), "float32")
    size = ops.maximum(ops.cast(ops.shape(ordered)[0], "float32"), 1.0)
    # Each of n occurrences of a code contributes 1 / n, so that the sum counts the codes in use.
    return {
        "usage": ops.sum(1.0 / counts) / num_codes,
        "perplexity": ops.exp(-ops.sum(ops.log(counts / size)) / size),
    }


def count(codes, num_codes):
    """Count how often every code occurs: a float32 tensor of shape (num_codes,)."""
    codes = ops.reshape(codes, (-1,))
    return ops.segment_sum(ops.ones_like(codes, "float32"), codes, num_codes)


def nearest(z, codebook):
    """Find the nearest embedding of every vector: an int32 tensor without z's last axis."""
    distances = squared_norms(codebook)[:, 0] - 2.0 * ops.matmul(z, ops.transpose(codebook))
    return ops.cast(ops.argmin(distances, axis=-1), "int32")


@accept_old_argument("centres", "centers")
@memory.explains("Pass fewer examples.")
def k_means(z, centers, num_steps=10):
    """Run Lloyd's algorithm: move each center repeatedly to the mean of its nearest vectors.

    Args:
        z: Tensor of shape (vectors, dim).
        centers: Tensor of shape (num_codes, dim). A center that is nearest to no vector stays.
        num_steps: Positive integer. Defaults to 10.

    Returns:
        Tensor of the centers' shape.

    Example:
        >>> import numpy as np
        >>> from keras import ops
        >>> z = np.array([[0.0], [1.0], [8.0]], "float32")
        >>> ops.convert_to_numpy(k_means(z, z[1:])).tolist()
        [[0.5], [8.0]]
    """
    num_codes = centers.shape[0]

    def turn(_, centers):
        codes = nearest(z, centers)
        counts = count(codes, num_codes)[:, None]
        sums = ops.segment_sum(z, codes, num_codes)
        return ops.where(counts > 0, sums / ops.maximum(counts, 1.0), centers)

    return ops.fori_loop(0, num_steps, turn, ops.convert_to_tensor(centers))


def per_example(squares):
    """Sum squares of shape (batch, ..., dim) over dim, and average over an example's positions."""
    totals = ops.sum(squares, axis=-1)
    return ops.mean(totals, axis=tuple(range(1, len(totals.shape))))


class Quantizer(memory.GuardedLayer):
    """Base class of quantizers: vectors (batch, ..., dim) -> `Quantized`, and codes -> vectors.

    Quantizers compute in float32. A subclass has `quantized(z, training)`, `look_up(codes)` and
    `num_codes`. If its codes have digits, `levels` holds the number of values of each digit.
    """

    codebooks = 1  # The number of codes that each vector has.
    levels = None

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})

    def call(self, inputs, training=False, look_up=False):
        """Quantize vectors.

        Args:
            inputs: Tensor of shape (batch, ..., dim).
            training: Whether the codebook learns from the vectors. Defaults to False.
            look_up: Whether the inputs are codes, whose vectors are returned. Defaults to False.

        Returns:
            `Quantized`, or with look_up a tensor (batch, ..., dim).
        """
        # Looking up is a call of the layer, too, because a graph of symbolic tensors then reads the
        # current codebook whenever it runs.
        if look_up:
            return self.look_up(ops.cast(inputs, "int32"))
        return self.quantized(ops.cast(inputs, "float32"), training)

    def vectors(self, codes):
        """Look up the vectors of codes: a tensor (batch, ..., dim)."""
        return self(codes, look_up=True)

    def codes(self, vectors):
        """Find the codes of vectors of shape (batch, ..., dim)."""
        return self(vectors).codes

    def statistics(self, codes):
        """Compute `code_statistics` of codes, averaged over the codebooks."""
        return code_statistics(codes, self.num_codes)


@keras.saving.register_keras_serializable("keras_ae")
class VectorQuantizer(Quantizer):
    """Replaces every vector by the nearest embedding of a learned codebook.

    `"commitment_loss"`, ||z - sg(e)||^2, draws vectors to their embeddings. If the codebook learns
    by gradient, `"codebook_loss"`, ||sg(z) - e||^2, draws the embeddings to their vectors.
    Otherwise the codebook follows exponential moving averages (EMA) of n_i, the number of vectors
    z_j of a batch that are nearest to code i, and of the sum of these vectors:

        N_i <- decay N_i + (1 - decay) n_i,
        m_i <- decay m_i + (1 - decay) sum_j z_j,
        e_i = m_i / N_i.

    `ema_cluster_size` is N_i, where n_i is the fraction of the batch's vectors.
    `placed_embeddings` is p_i, the point at which the code was last placed, by k-means or by a
    restart. `ema_embedding_sums` is m_i, where p_i is subtracted from every vector, so that
    e_i = p_i + m_i / N_i. This is the same average, and a code that is placed again starts with
    m_i = 0. With `learning="gradient"`, e_i = p_i + o_i, and the gradient moves
    `embedding_offsets`, o_i.

    Source: van den Oord et al., Neural Discrete Representation Learning, eq. 3 and appendix A.1,
    arXiv:1711.00937. The k-means start and the dead-code restart are those of SoundStream,
    arXiv:2107.03312, and unit vectors those of arXiv:2110.04627.

    Args:
        num_codes: Number of embeddings in the codebook, an integer of at least 2. Defaults to 256.
        learning: "ema" for exponential moving averages, or "gradient". Defaults to "ema".
        decay: Factor of the EMA after each batch, a number in (0, 1). Defaults to 0.99.
        estimator: "straight_through", or "rotation" for the rotation trick: see `rotated`. Defaults
            to "straight_through".
        cosine: Whether vectors and embeddings have unit length, so that the nearest embedding is
            the one at the smallest angle. Defaults to False.
        k_means_start: Whether k-means on the first batch's vectors places the embeddings. Defaults
            to True.
        restart_below: A code is dead if the EMA of its share of the vectors falls below this
            multiple of 1 / num_codes. A dead code restarts at a vector of the batch. 0 restarts no
            code. Defaults to 0.05.
        seed: Integer that decides which vectors of a batch are taken, or None.
        **kwargs: `name`.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> import numpy as np
        >>> layer = VectorQuantizer(4, seed=0)
        >>> z = np.random.default_rng(0).normal(size=(8, 5, 3)).astype("float32")
        >>> found = layer(z, training=True)
        >>> found.vectors.shape == (8, 5, 3), found.codes.shape == (8, 5), list(found.losses)
        (True, True, ['commitment_loss'])
        >>> bool(np.all(np.array(layer.vectors(found.codes)) == np.array(layer(z).vectors)))
        True
    """

    # A `ResidualQuantizer` has these options, too, and passes them to each of its codebooks.
    OPTIONS = ("learning", "decay", "k_means_start", "restart_below")
    _LEAST = 1e-6  # Below this share a moving average fades no further, so that it is never 0 / 0.

    def __init__(
        self,
        num_codes=256,
        learning="ema",
        decay=0.99,
        estimator="straight_through",
        cosine=False,
        k_means_start=True,
        restart_below=0.05,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.num_codes = arguments.integer(self, "num_codes", num_codes, least=2)
        self.learning = arguments.choice(self, "learning", learning, ("ema", "gradient"))
        self.decay = arguments.number(self, "decay", decay, positive=True, below=1)
        self.estimator = arguments.choice(self, "estimator", estimator, ESTIMATORS)
        self.cosine, self.k_means_start = bool(cosine), bool(k_means_start)
        self.restart_below = arguments.number(self, "restart_below", restart_below, below=1)
        self.seed = seed
        self.seed_generator = SeedGenerator(seed, name="seed_generator")

    def build(self, z_shape):
        with memory.checked_weights(type(self).__name__, "Take a smaller num_codes."):
            self._make_weights(z_shape[-1])
        self.built = True

    def _make_weights(self, dim):
        shape = (self.num_codes, dim)
        # Offsets are separate weights, because a step must not assign to a weight that a gradient
        # moves. Files store the weights in the order in which they are made here.
        self.placed_embeddings = self.add_weight(
            shape=shape,
            initializer=keras.initializers.RandomNormal(stddev=dim**-0.5),
            trainable=False,
            aggregation="only_first_replica",
            name="placed_embeddings",
        )
        if self.learning == "gradient":
            self.embedding_offsets = self.add_weight(
                shape=shape, initializer="zeros", name="embedding_offsets"
            )
        else:
            self.ema_embedding_sums = self._add_state("ema_embedding_sums", shape, "zeros")
        equal = keras.initializers.Constant(1.0 / self.num_codes)
        self.ema_cluster_size = self._add_state("ema_cluster_size", (self.num_codes,), equal)
        self.started = self._add_state("started", (), "zeros")

    def _add_state(self, name, shape, initializer):
        return self.add_weight(
            shape=shape, initializer=initializer, trainable=False, aggregation="mean", name=name
        )

    def codebook(self):
        """Compute the embeddings of all codes, a tensor of shape (num_codes, dim)."""
        if self.learning == "gradient":
            offsets = self.embedding_offsets
        else:
            offsets = self.ema_embedding_sums / self.ema_cluster_size[:, None]
        return self._scale_to_unit_length(self.placed_embeddings + offsets)

    def _scale_to_unit_length(self, v):
        return v / (ops.sqrt(squared_norms(v) + TINY)) if self.cosine else v

    def look_up(self, codes):
        return ops.take(self.codebook(), codes, axis=0)

    def quantized(self, z, training):
        z = self._scale_to_unit_length(z)
        flat = ops.reshape(ops.stop_gradient(z), (-1, z.shape[-1]))  # (vectors, dim)
        if training:
            candidates = self._draw_candidates(flat)
            self._place_embeddings(flat, candidates)
        codebook = self.codebook()
        codes = nearest(ops.stop_gradient(z), ops.stop_gradient(codebook))
        found = ops.take(codebook, codes, axis=0)
        losses = {"commitment_loss": per_example(ops.square(z - ops.stop_gradient(found)))}
        if self.learning == "gradient":
            losses["codebook_loss"] = per_example(ops.square(ops.stop_gradient(z) - found))
        if training:
            self._update_averages(flat, ops.reshape(codes, (-1,)))
            self._restart_dead_codes(candidates)
        return Quantized(ESTIMATORS[self.estimator](z, found), codes, losses)

    def _draw_candidates(self, z):
        """Pick a vector of the batch for every code, spread evenly over the batch."""
        draws = keras.random.uniform((self.num_codes,), dtype="float32", seed=self.seed_generator)
        places = (ops.arange(self.num_codes, dtype="float32") + draws) / self.num_codes
        size = ops.shape(z)[0]
        places = ops.cast(ops.floor(places * ops.cast(size, "float32")), "int32")
        places = ops.minimum(places, ops.maximum(size - 1, 0))
        # The last batch of an epoch may leave a replica without a single vector to take.
        return ops.take(ops.concatenate([z, self.placed_embeddings[:1]], axis=0), places, axis=0)

    def _place_embeddings(self, z, candidates):
        if not self.k_means_start:
            return
        centers = ops.cond(
            self.started > 0,
            lambda: ops.convert_to_tensor(self.placed_embeddings),
            lambda: k_means(z, candidates),
        )
        self.placed_embeddings.assign(centers)
        self.started.assign(ops.ones(()))

    def _update_averages(self, z, codes):
        """Update the moving averages by the vectors of a batch and their codes.

        Both are divided by the number of vectors, so that averages over replicas are right.
        """
        rate, size = decay_rate(self.decay, z), ops.maximum(num_examples(z), 1.0)
        shares = count(codes, self.num_codes) / size
        left = ops.where(self.ema_cluster_size > self._LEAST, 1.0 - rate, 1.0)
        if self.learning == "ema":
            sums = ops.segment_sum(z, codes, self.num_codes) / size
            sums = sums - shares[:, None] * self.placed_embeddings
            self.ema_embedding_sums.assign(left[:, None] * self.ema_embedding_sums + rate * sums)
        self.ema_cluster_size.assign(left * self.ema_cluster_size + rate * shares)

    def _restart_dead_codes(self, candidates):
        if not self.restart_below:
            return
        placed = ops.convert_to_tensor(self.placed_embeddings)
        sizes = ops.convert_to_tensor(self.ema_cluster_size)
        dead = sizes < self.restart_below / self.num_codes
        if self.learning == "gradient":
            candidates = candidates - self.embedding_offsets
        else:
            sums = ops.convert_to_tensor(self.ema_embedding_sums)
            self.ema_embedding_sums.assign(ops.where(dead[:, None], 0.0, sums))
        self.placed_embeddings.assign(ops.where(dead[:, None], candidates, placed))
        self.ema_cluster_size.assign(ops.where(dead, 1.0 / self.num_codes, sizes))

    def get_config(self):
        names = ("num_codes", *self.OPTIONS, "estimator", "cosine", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
