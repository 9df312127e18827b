"""What all models of recommendations share."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae.core import arguments, conversion
from keras_ae.core.batching import batched
from keras_ae.core.draws import draw_uniform
from keras_ae.core.sparse_rows import is_sparse
from keras_ae.core.types import Matrix, Verbose

_LEAST_SQUARE = 1e-12  # A user without items has a norm of 0.


def fill_options(encoder, decoder, options, **defaults):
    """Return the options of the networks that a model makes, with the model's own defaults.

    Args:
        encoder, decoder, options: The arguments of the model's constructor.
        **defaults: Values of options that the user did not choose.
    """
    makes_none = all(isinstance(each, keras.layers.Layer) for each in (encoder, decoder))
    is_wrong = options is not None and not isinstance(options, dict)
    return options if makes_none or is_wrong else {**defaults, **(options or {})}


class Recommender:
    """Part of a model whose data are the items of users, and whose decoder returns logits.

    The encoder reads rows of unit Euclidean length, of which training drops values.
    """

    def _prepare(self, x, training):
        """Normalize the rows of a batch, and in training drop some of their values."""
        squares = ops.sum(ops.square(x), axis=-1, keepdims=True)
        x = x * ops.rsqrt(ops.maximum(squares, _LEAST_SQUARE))
        if not training:
            return x
        uniform = draw_uniform(ops.shape(x), self.step_seed(training))
        # The others grow, so that sums have the same expectation as without dropout.
        return ops.where(uniform < self.dropout, 0.0, x / (1.0 - self.dropout))

    def recommend(
        self,
        histories: Matrix,
        k: int = 20,
        scores: bool = False,
        *,
        batch_size: int | None = None,
        verbose: Verbose = "auto",
    ) -> np.ndarray | Any:
        """Find the items that users are most likely to choose next.

        Items in the history of a user are never recommended to this user.

        Args:
            histories: Array, tensor or `scipy.sparse` matrix of shape (users, items): what each
                user chose. The users need not be those of training.
            k: Number of items for each user, a positive integer. Defaults to 20.
            scores: Whether to return scores, too. Defaults to False.
            batch_size: Number of users in a batch. Defaults to at most 1,024, and at most a million
                numbers.
            verbose: 0, 1 or "auto" (a progress bar after two seconds). Defaults to "auto".

        Returns:
            Int32 array of shape (users, k): the numbers of the items' columns, best first. With
            scores=True, a pair of it and of a float32 array of the same shape: the logarithm of the
            probability that the decoder gives to each of these items, among all items.

        Raises:
            ValueError: If k is not a positive integer, or a user has fewer than k other items.

        Example:

        >>> import numpy as np
        >>> from keras_ae import MultinomialVAE
        >>> model = MultinomialVAE(latent_dim=2, network_options={"units": (8,)}, seed=0)
        >>> model.compile("adam")
        >>> x = np.random.default_rng(0).integers(0, 2, (64, 30))
        >>> x[:, 0] = 1
        >>> history = model.fit(x, epochs=1, verbose=0)
        >>> items = model.recommend(x[:5], k=1)
        >>> items.shape, bool(np.any(items == 0))
        ((5, 1), False)
        """
        k = arguments.integer("recommend", "k", k)
        if ops.is_tensor(histories):
            histories = ops.convert_to_numpy(histories)
        if not is_sparse(histories):
            histories = conversion.to_numpy(histories, "histories")
            conversion.require_rows(histories, histories, "histories")
        counts, items = _count_items(histories), histories.shape[-1]
        most = int(counts.max())
        if k > items - most:
            fewer = f"Pass a k of at most {items - most}, or leave" if most < items else "Leave"
            raise ValueError(
                f"recommend: k={k}, but the user of row {int(counts.argmax())} has {most} of the "
                f"{items} items, and these are not recommended again. {fewer} this user out."
            )
        found = self._rank_items(histories, k, batch_size=batch_size, verbose=verbose)
        # Float32 holds all integers up to 2**24, and no model has so many items.
        items = found[:, 0].astype("int32")
        return (items, found[:, 1]) if scores else items

    @batched("data", "recommend")
    def _rank_items(self, histories, k):
        """Compute the best new items and their scores: float32, shape (users, 2, k)."""
        logits = ops.cast(self.decoder(self.encode(histories), training=False), "float32")
        logs = ops.log_softmax(logits, axis=-1)
        best, items = ops.top_k(ops.where(histories > 0.0, -np.inf, logs), k)
        return ops.stack([ops.cast(items, "float32"), best], axis=1)


def _count_items(histories):
    """Return how many items each user has."""
    if is_sparse(histories):
        matrix = histories.tocsr(copy=True)
        matrix.sum_duplicates()
        users = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))[matrix.data > 0]
        return np.bincount(users, minlength=1)
    return np.atleast_1d(np.sum(histories > 0, axis=-1))
