"""Laplacian autoencoders: Jia et al. 2015, Neurocomputing 160:250-260.

The penalty is that of Laplacian eigenmaps: Belkin and Niyogi 2003, doi:10.1162/089976603321780317.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae.core import adaptation, arguments, memory, seeds
from keras_ae.core.types import Tensor
from keras_ae.distributions import counted
from keras_ae.models.deterministic.ae import AE

# An example whose nearest anchor is so much nearer than neighbors are, in squared distances, is
# this anchor itself. The two may differ by rounding.
_SAME = 1e-6


class LaplacianAE(AE):
    """An autoencoder that gives neighbors in the data neighboring codes.

    The model minimizes the reconstruction loss plus weight times `laplacian_loss`, which is
    sum_j W_ij |z_i - z_j|^2 / 2 over the nearest neighbors j of example i. Its sum over all
    examples is tr(Z' L Z), where L is the Laplacian of their graph, whose edges have the weights
    (W_ij + W_ji) / 2. This is the penalty of Laplacian eigenmaps (Belkin and Niyogi 2003,
    doi:10.1162/089976603321780317) and of graph-regularized factorization (Cai et al. 2011,
    doi:10.1109/TPAMI.2010.231).

    Two neighbors rarely meet in one batch. The first `fit` therefore chooses examples at random,
    the anchors, and keeps them with the weights. An example's neighbors are its nearest anchors.
    The graph is that of all data if there are at least as many anchors as examples, and else that
    of a sample. Until `fit` or `adapt` has chosen them, the penalty is 0. Memory and time grow with
    the number of anchors, and not with the data. `evaluate` sums over all neighbors. In training,
    one neighbor of each example is drawn with a probability proportional to W_ij, and stands for
    the sum, whose expectation stays the same.

    The penalty depends on the scale of the codes. A large weight makes all codes small, too.

    Args:
        latent_dim: Dimensions of the code. Defaults to 16.
        weight: Factor of the penalty, a number of at least 0. Defaults to 1.
        num_neighbors: Number of neighbors of an example, a positive integer. Defaults to 5, as in
            Cai et al.
        num_anchors: Largest number of anchors, an integer above num_neighbors. Defaults to 1,000.
        kernel: "heat", W_ij = exp(-|x_i - x_j|^2 / t), where t is the mean squared distance between
            anchors and their neighbors; or "binary", W_ij = 1. Defaults to "heat".
        encoder, decoder, reconstruction_loss, network_options, seed, standardize: See
            `keras_ae.AE`. Distances are Euclidean, over all elements of an example. Padded steps
            count as zeros.

    Raises:
        ValueError: If an argument is out of range, or if `fit` gets too few examples.

    Example:

    >>> import numpy as np
    >>> from keras_ae import LaplacianAE
    >>> model = LaplacianAE(latent_dim=2, num_anchors=50, seed=0)
    >>> model.compile("adam")
    >>> x = np.random.default_rng(0).random((64, 8), "float32")
    >>> history = model.fit(x, epochs=1, verbose=0)
    >>> sorted(history.history)
    ['laplacian_loss', 'loss', 'reconstruction_loss']
    """

    objective = (*AE.objective, "laplacian_loss")
    _needs_data = True

    def __init__(
        self,
        latent_dim: int = 16,
        weight: float = 1.0,
        num_neighbors: int = 5,
        num_anchors: int = 1000,
        kernel: str = "heat",
        **kwargs: Any,
    ):
        super().__init__(latent_dim, **kwargs)
        self.weight = arguments.number(self, "weight", weight)
        self.num_neighbors = arguments.integer(self, "num_neighbors", num_neighbors)
        remedy = f"It must be larger than num_neighbors={self.num_neighbors}."
        self.num_anchors = arguments.integer(
            self, "num_anchors", num_anchors, least=self.num_neighbors + 1, remedy=remedy
        )
        self.kernel = arguments.choice(self, "kernel", kernel, ("heat", "binary"))

    def _build_networks(self, shape, target_shape):
        super()._build_networks(shape, target_shape)
        self._anchors = self._make_state("anchors", (self.num_anchors, *shape), "float32")
        self._count = self._make_state("count", (), "int32")
        self._bandwidth = self._make_state("bandwidth", (), "float32")

    def _make_state(self, name, shape, dtype):
        return self.add_weight(
            shape=shape,
            initializer="zeros",
            dtype=dtype,
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
            name=name,
        )

    def _step_numbers(self, batch_size):
        numbers = math.prod(self._data_shape)
        _, outputs = memory.numbers_of_layers(self.encoder)
        neighbors = batch_size * (self.num_neighbors + 1) * (3 * numbers + outputs)
        distances = self.num_anchors * (2 * batch_size + numbers)
        return super()._step_numbers(batch_size) + neighbors + distances

    # ------------------------------------------------------------------ the graph

    def _adapt(self, passes):
        """Choose the anchors, and find the mean squared distance between neighbors."""
        from sklearn.neighbors import kneighbors_graph

        rng = np.random.default_rng(seeds.order_seed(self) % 2**32)
        anchors, count = _choose_rows((x for x, _ in passes), self.num_anchors, rng)
        if count <= self.num_neighbors:
            raise ValueError(
                f"LaplacianAE: num_neighbors={self.num_neighbors}, but x has {count} examples. "
                "Take fewer neighbors, or pass more examples."
            )
        found = adaptation.standardize(self, ops.convert_to_tensor(anchors))
        rows = ops.convert_to_numpy(self._to_rows(found))[:count].astype("float64")
        graph = kneighbors_graph(rows, self.num_neighbors, mode="distance")
        self._anchors.assign(found)
        self._count.assign(count)
        self._bandwidth.assign(np.mean(np.square(graph.data)))

    def _to_rows(self, x):
        """Flatten data (batch, ...) to vectors (batch, numbers), in which padding is zero."""
        if self._mask_value is not None and len(x.shape) > 2:
            x = ops.where(counted(x, self._mask_value)[..., None], x, 0.0)
        return ops.reshape(x, (-1, math.prod(self._data_shape)))

    def _find_neighbors(self, x):
        """Find the nearest anchors of data (batch, ...).

        Returns:
            Their places, (batch, num_neighbors + 1), and the weights W of the edges to them, of the
            same shape. One of them has the weight 0: the example itself if it is an anchor, or else
            the last.
        """
        rows, anchors = self._to_rows(x), self._to_rows(ops.convert_to_tensor(self._anchors))
        # Around a point of the data, less of the distances is lost to rounding.
        origin = anchors[:1]
        centered = anchors - origin
        products = ops.matmul(rows - origin, ops.transpose(centered))
        closeness = 2.0 * products - ops.sum(ops.square(centered), axis=-1)
        is_anchor = ops.arange(self.num_anchors) < ops.convert_to_tensor(self._count)
        closeness = ops.where(is_anchor, closeness, -np.inf)
        places = ops.top_k(closeness, self.num_neighbors + 1)[1]
        difference = rows[:, None] - ops.take(anchors, places, axis=0)
        squares = ops.sum(ops.square(difference), axis=-1)
        bandwidth = ops.convert_to_tensor(self._bandwidth)
        is_same = squares <= _SAME * bandwidth
        is_last = ops.arange(self.num_neighbors + 1) == self.num_neighbors
        surplus = ops.logical_and(is_last, ops.logical_not(ops.any(is_same, -1, keepdims=True)))
        weights = ops.ones_like(squares)
        if self.kernel == "heat":
            weights = ops.exp(-squares / ops.where(bandwidth > 0.0, bandwidth, 1.0))
        is_edge = ops.logical_not(ops.logical_or(surplus, is_same))
        is_edge = ops.logical_and(is_edge, ops.take(is_anchor, places))
        return places, ops.where(is_edge, weights, 0.0)

    # ------------------------------------------------------------------ training

    def loss_weights(self) -> dict[str, Any]:
        return {"laplacian_loss": self.weight}

    def _laplacian_loss(self, x, z, training):
        """Compute half the weighted sum of squared distances to the neighbors' codes, (batch,)."""
        places, weights = self._find_neighbors(x)
        if training:
            places, weights = _draw_edges(places, weights, self.step_seed(training))
        anchors = ops.take(ops.convert_to_tensor(self._anchors), ops.reshape(places, (-1,)), axis=0)
        codes = self._code(anchors, training)
        codes = ops.reshape(codes, (-1, places.shape[1], self.latent_dim))
        squares = ops.sum(ops.square(z[:, None] - codes), axis=-1)
        return 0.5 * ops.sum(weights * squares, axis=-1)

    def loss_terms(self, x: Tensor, y: Tensor, training: bool) -> dict[str, Tensor]:
        z = self._code(x, training)
        return {
            **self._reconstruction_terms(y, z, training, x),
            "laplacian_loss": self._laplacian_loss(x, z, training),
        }


def _draw_edges(places, weights, seed):
    """Draw one edge of each example in proportion to the weights, with the weight of all of them.

    Args:
        places, weights: Ends and weights of the edges, tensors (batch, edges).
        seed: Seed of the draw.

    Returns:
        Place and weight of one edge, of shape (batch, 1).
    """
    logits = ops.log(ops.maximum(weights, 1e-30))
    drawn = keras.random.categorical(logits, 1, seed=seed)
    return ops.take_along_axis(places, drawn, axis=1), ops.sum(weights, axis=1, keepdims=True)


def _choose_rows(batches, number, rng):
    """Choose so many rows of all batches, each with the same probability.

    Args:
        batches: Iterable of arrays (batch, ...).
        number: Number of rows.
        rng: NumPy generator.

    Returns:
        Array of shape (number, ...), which ends in zeros if there are fewer rows; and how many are
        chosen.
    """
    chosen, keys = None, np.full(number, np.inf)
    for batch in batches:
        if chosen is None:
            chosen = np.zeros((number, *batch.shape[1:]), "float32")
        # The rows with the least random keys stay, whatever the length of the batches.
        for row, key in zip(batch, rng.random(len(batch)), strict=True):
            place = np.argmax(keys)
            if key < keys[place]:
                chosen[place], keys[place] = row, key
    return chosen, int(np.isfinite(keys).sum())
