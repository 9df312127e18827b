"""Vector quantization, which replaces each vector with the nearest embedding of a codebook."""

import collections
from typing import Any

import keras
from keras import ops

from keras_ae.core import arguments, backend, memory
from keras_ae.core.old_names import accept_old_argument
from keras_ae.core.running_means import decay_rate, num_examples
from keras_ae.core.seeds import SeedGenerator
from keras_ae.core.types import Tensor
from keras_ae.layers.gradient_estimators import ESTIMATORS, TINY, squared_norms

Quantized = collections.namedtuple("Quantized", ("vectors", "codes", "losses"))
Quantized.__doc__ = """The result of a quantizer.

Args:
    vectors: The quantized vectors, a tensor of shape (batch, ..., dim). Gradients pass through them
        to the vectors that were quantized.
    codes: The code indices, an int32 tensor of shape (batch, ...). If there are several codebooks,
        an additional last axis has one index for each.
    losses: Dictionary from the name of each loss to a tensor of shape (batch,). Each loss is summed
        over the dimensions of a vector and averaged over an example's positions.
"""

# If a codebook is larger than this, sorting the codes is faster than counting every code.
_COUNTED = 2**16


@memory.explains("Pass fewer examples.")
def code_statistics(codes: Tensor, num_codes: int) -> dict[str, Tensor]:
    """Compute how many codes of a codebook are used, and how evenly they are used.

    Args:
        codes: Code indices of one codebook, an int32 tensor of any shape.
        num_codes: Size of the codebook.

    Returns:
        Dictionary of scalars. "usage" is the fraction of the codebook that occurs. "perplexity" is
        the exponential of the entropy of the codes' frequencies, a number from 1 to num_codes.

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
    """Compute `code_statistics` without an array of the codebook's size."""
    ordered = ops.sort(ops.reshape(ops.cast(codes, "int32"), (-1,)))
    counts = ops.searchsorted(ordered, ordered, side="right")
    counts = ops.cast(counts - ops.searchsorted(ordered, ordered, side="left"), "float32")
    size = ops.maximum(ops.cast(ops.shape(ordered)[0], "float32"), 1.0)
    # If a code occurs n times, each occurrence adds 1 / n. The sum is the number of used codes.
    return {
        "usage": ops.sum(1.0 / counts) / num_codes,
        "perplexity": ops.exp(-ops.sum(ops.log(counts / size)) / size),
    }


def count(codes, num_codes):
    """Count how often each code occurs, and return a float32 tensor of shape (num_codes,)."""
    codes = ops.reshape(codes, (-1,))
    return ops.segment_sum(ops.ones_like(codes, "float32"), codes, num_codes)


def nearest(z, codebook):
    """Return the code of the embedding nearest to each vector.

    Args:
        z: Tensor of shape (..., dim).
        codebook: Tensor of shape (num_codes, dim).

    Returns:
        Int32 tensor of shape (...).
    """
    # The squared norm of z is left out, because it does not change which embedding is nearest.
    distances = squared_norms(codebook)[:, 0] - 2.0 * ops.matmul(z, ops.transpose(codebook))
    return backend.argmin(distances)


@accept_old_argument("centres", "centers")
@memory.explains("Pass fewer examples.")
def k_means(z: Tensor, centers: Tensor, num_steps: int = 10) -> Tensor:
    """Run Lloyd's algorithm, which repeatedly moves each center to the mean of its vectors.

    The vectors of a center are those that are nearer to it than to any other center. A center
    without vectors does not move.

    Args:
        z: Tensor of shape (vectors, dim).
        centers: The initial centers, a tensor of shape (num_codes, dim).
        num_steps: Number of iterations, a positive integer. Defaults to 10.

    Returns:
        The final centers, a tensor of the same shape.

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
    """Sum squares over the last axis, and average the sums over each example's positions."""
    totals = ops.sum(squares, axis=-1)
    return ops.mean(totals, axis=tuple(range(1, len(totals.shape))))


class Quantizer(memory.GuardedLayer):
    """Base class of quantizers, which turn vectors into codes and codes into vectors.

    Quantizers compute in float32. A subclass defines `quantized(z, training)`, `look_up(codes)` and
    `num_codes`. If its codes consist of digits, `levels` is a tuple with the number of values of
    each digit.
    """

    codebooks = 1  # The number of codes that each vector has.
    levels = None

    def __init__(self, **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})

    def call(self, inputs, training=False, look_up=False):
        """Quantize vectors, or look up the vectors of codes.

        Args:
            inputs: Vectors, a tensor of shape (batch, ..., dim), or codes.
            training: Whether the codebook learns from the vectors. Defaults to False.
            look_up: Whether the inputs are codes instead of vectors. Defaults to False.

        Returns:
            `Quantized`. If look_up is True, the vectors of the codes, a tensor of shape
            (batch, ..., dim).
        """
        # Codes are looked up in a call of the layer, too. A functional model then reads the current
        # codebook each time it runs, and not a copy from the time when it was made.
        if look_up:
            return self.look_up(ops.cast(inputs, "int32"))
        return self.quantized(ops.cast(inputs, "float32"), training)

    def vectors(self, codes: Tensor) -> Tensor:
        """Look up the vectors of codes, and return a tensor of shape (batch, ..., dim)."""
        return self(codes, look_up=True)

    def codes(self, vectors: Tensor) -> Tensor:
        """Find the codes of vectors of shape (batch, ..., dim)."""
        return self(vectors).codes

    def statistics(self, codes: Tensor) -> dict[str, Tensor]:
        """Compute `code_statistics` of codes. If there are several codebooks, average over them."""
        return code_statistics(codes, self.num_codes)


@keras.saving.register_keras_serializable("keras_ae")
class VectorQuantizer(Quantizer):
    """Replaces every vector with the nearest embedding of a learned codebook.

    The `"commitment_loss"` of a vector z with embedding e is ||z - sg(e)||^2, where sg stops the
    gradient. This loss pulls vectors to their embeddings. The codebook learns in one of two ways.

    With `learning="gradient"`, the `"codebook_loss"` ||sg(z) - e||^2 pulls embeddings to their
    vectors.

    With `learning="ema"`, each embedding e_i is a quotient of two exponential moving averages
    (EMA). N_i is the EMA of n_i, the number of vectors in a batch that are nearest to e_i. m_i is
    the EMA of the sum of these vectors z_j:

        N_i <- decay N_i + (1 - decay) n_i,
        m_i <- decay m_i + (1 - decay) sum_j z_j,
        e_i = m_i / N_i.

    The weights store the embeddings as offsets from p_i, the point at which initialization, k-means
    or a restart last placed e_i:

    - `placed_embeddings` contains p_i.
    - `ema_cluster_size` contains N_i. The counts n_i are divided by the number of vectors in the
      batch.
    - `ema_embedding_sums` contains the EMA m_i of the differences z_j - p_i, divided in the same
      way. The embedding e_i = p_i + m_i / N_i is the same average as above. A restart sets m_i
      to 0.
    - `embedding_offsets` exists instead of `ema_embedding_sums` if `learning="gradient"`. It
      contains offsets o_i, which the gradient changes, and the embedding is e_i = p_i + o_i.

    Restarts differ from SoundStream's in two ways, because the vectors of an untrained encoder are
    almost the same at most positions, such as those of a plain background. A vector is drawn with a
    probability proportional to its squared distance to the nearest embedding, as the centers of
    k-means++ are, instead of uniformly. N_i of a new embedding is the limit below which a code is
    dead, so that a code that no vector chooses restarts with that batch, instead of after 300
    batches.

    Source: van den Oord et al., Neural Discrete Representation Learning, eq. 3 and appendix A.1,
    arXiv:1711.00937. SoundStream, arXiv:2107.03312, introduced the initialization by k-means and
    the restart of dead codes. Vectors of unit length come from arXiv:2110.04627.

    Args:
        num_codes: Number of embeddings in the codebook, an integer of at least 2. Defaults to 256.
        learning: "ema" for exponential moving averages, or "gradient". Defaults to "ema".
        decay: Decay factor of the EMA, a number in (0, 1). Defaults to 0.99.
        estimator: Estimator of the gradient through the quantizer: "straight_through", or
            "rotation" for the rotation trick. Defaults to "straight_through".
        cosine: Whether vectors and embeddings are scaled to unit length. The nearest embedding is
            then the one at the smallest angle. Defaults to False.
        k_means_start: Whether k-means on the vectors of the first batch sets the initial
            embeddings. Defaults to True.
        restart_below: A code is dead if the EMA of its share of the vectors is below this multiple
            of 1 / num_codes. A dead code restarts at a vector of the batch. 0 turns restarts off.
            Defaults to 0.05.
        seed: Integer that determines which vectors of a batch become the initial centers of k-means
            and the new embeddings of dead codes. Defaults to None, for a random seed.
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

    # `ResidualQuantizer` also takes these options, and passes them to each of its codebooks.
    OPTIONS = ("learning", "decay", "k_means_start", "restart_below")
    # If codes do not restart, an N_i below this does not decay any more. Otherwise m_i / N_i could
    # become 0 / 0.
    _LEAST = 1e-6

    def __init__(
        self,
        num_codes: int = 256,
        learning: str = "ema",
        decay: float = 0.99,
        estimator: str = "straight_through",
        cosine: bool = False,
        k_means_start: bool = True,
        restart_below: float = 0.05,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_codes = arguments.integer(self, "num_codes", num_codes, least=2)
        self.learning = arguments.choice(self, "learning", learning, ("ema", "gradient"))
        self.decay = arguments.number(self, "decay", decay, positive=True, below=1)
        self.estimator = arguments.choice(self, "estimator", estimator, ESTIMATORS)
        self.cosine = arguments.flag(self, "cosine", cosine)
        self.k_means_start = arguments.flag(self, "k_means_start", k_means_start)
        self.restart_below = arguments.number(self, "restart_below", restart_below, below=1)
        self.seed = seed
        self.seed_generator = SeedGenerator(seed, name="seed_generator")

    def build(self, z_shape):
        with memory.checked_weights(type(self).__name__, "Take a smaller num_codes."):
            self._make_weights(z_shape[-1])
        self.built = True

    def _make_weights(self, dim):
        shape = (self.num_codes, dim)
        # Restarts assign to `placed_embeddings`. The offsets are separate weights, because a
        # training step must not assign to a weight that the optimizer changes. Files store the
        # weights in the order of these calls, so the order must not change.
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
        size = keras.initializers.Constant(self._new_size)
        self.ema_cluster_size = self._add_state("ema_cluster_size", (self.num_codes,), size)
        self.started = self._add_state("started", (), "zeros")

    def _add_state(self, name, shape, initializer):
        return self.add_weight(
            shape=shape, initializer=initializer, trainable=False, aggregation="mean", name=name
        )

    @property
    def _new_size(self):
        """The EMA of the share of a new embedding.

        If codes restart, it is the limit below which a code is dead. A code that no vector of a
        batch chooses then restarts with that batch.
        """
        return (self.restart_below or 1.0) / self.num_codes

    def codebook(self) -> Tensor:
        """Compute the embeddings of all codes, a tensor of shape (num_codes, dim)."""
        if self.learning == "gradient":
            offsets = self.embedding_offsets
        else:
            # OpenVINO knows the division of torch's tensors, but not that of Keras' weights.
            sums = ops.convert_to_tensor(self.ema_embedding_sums)
            offsets = sums / ops.convert_to_tensor(self.ema_cluster_size)[:, None]
        return self._scale_to_unit_length(self.placed_embeddings + offsets)

    def _scale_to_unit_length(self, v):
        return v / (ops.sqrt(squared_norms(v) + TINY)) if self.cosine else v

    def look_up(self, codes: Tensor) -> Tensor:
        return ops.take(self.codebook(), codes, axis=0)

    def quantized(self, z: Tensor, training: bool) -> Quantized:
        z = self._scale_to_unit_length(z)
        flat = ops.reshape(ops.stop_gradient(z), (-1, z.shape[-1]))  # (vectors, dim)
        if training:
            places = self._draw_places()
            self._place_embeddings(flat, places)
        codebook = self.codebook()
        codes = nearest(ops.stop_gradient(z), ops.stop_gradient(codebook))
        found = ops.take(codebook, codes, axis=0)
        errors = squared_norms(z - ops.stop_gradient(found))
        losses = {"commitment_loss": per_example(errors)}
        if self.learning == "gradient":
            losses["codebook_loss"] = per_example(ops.square(ops.stop_gradient(z) - found))
        if training:
            self._update_averages(flat, ops.reshape(codes, (-1,)))
            self._restart_dead_codes(flat, ops.reshape(ops.stop_gradient(errors), (-1,)), places)
        return Quantized(ESTIMATORS[self.estimator](z, found), codes, losses)

    def _draw_places(self):
        """Draw a number from 0 to 1 for each code. The numbers are spread evenly."""
        draws = keras.random.uniform((self.num_codes,), dtype="float32", seed=self.seed_generator)
        return (ops.arange(self.num_codes, dtype="float32") + draws) / self.num_codes

    def _choose_vectors(self, z, weights, places):
        """Choose a vector of the batch for each code, in proportion to the vectors' weights."""
        sums = ops.cumsum(weights)
        chosen = ops.searchsorted(sums, places * ops.sum(weights), side="right")
        chosen = ops.minimum(chosen, ops.maximum(ops.shape(z)[0] - 1, 0))
        # In the last batch of an epoch, a replica may have no vectors. An embedding is appended, so
        # that there is always a vector to choose.
        return ops.take(ops.concatenate([z, self.placed_embeddings[:1]], axis=0), chosen, axis=0)

    def _place_embeddings(self, z, places):
        if not self.k_means_start:
            return
        centers = ops.cond(
            self.started > 0,
            lambda: ops.convert_to_tensor(self.placed_embeddings),
            lambda: k_means(z, self._choose_vectors(z, ops.ones_like(z[:, 0]), places)),
        )
        self.placed_embeddings.assign(centers)
        self.started.assign(ops.ones(()))

    def _update_averages(self, z, codes):
        """Update the moving averages with the vectors of a batch and their codes.

        The sums and the counts are divided by the number of vectors, so that `tf.distribute` can
        average the results of its replicas.
        """
        rate, size = decay_rate(self.decay, z), ops.maximum(num_examples(z), 1.0)
        shares = count(codes, self.num_codes) / size
        least = 0.0 if self.restart_below else self._LEAST
        kept = ops.where(self.ema_cluster_size > least, 1.0 - rate, 1.0)
        if self.learning == "ema":
            sums = ops.segment_sum(z, codes, self.num_codes) / size
            sums = sums - shares[:, None] * self.placed_embeddings
            self.ema_embedding_sums.assign(kept[:, None] * self.ema_embedding_sums + rate * sums)
        self.ema_cluster_size.assign(kept * self.ema_cluster_size + rate * shares)

    def _restart_dead_codes(self, z, errors, places):
        if not self.restart_below:
            return
        candidates = self._choose_vectors(z, errors + TINY, places)
        placed = ops.convert_to_tensor(self.placed_embeddings)
        sizes = ops.convert_to_tensor(self.ema_cluster_size)
        dead = sizes < self._new_size
        if self.learning == "gradient":
            candidates = candidates - self.embedding_offsets
        else:
            sums = ops.convert_to_tensor(self.ema_embedding_sums)
            self.ema_embedding_sums.assign(ops.where(dead[:, None], 0.0, sums))
        self.placed_embeddings.assign(ops.where(dead[:, None], candidates, placed))
        self.ema_cluster_size.assign(ops.where(dead, self._new_size, sizes))

    def get_config(self):
        names = ("num_codes", *self.OPTIONS, "estimator", "cosine", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
