"""How well rankings find the items that users chose."""

import numpy as np

from keras_ae.core import arguments
from keras_ae.core.sparse_rows import is_sparse
from keras_ae.core.types import Array, Matrix


def recall_at_k(ranked: Array, held_out: Matrix, k: int) -> np.ndarray:
    """Compute for each user which share of the held-out items the first k of a ranking have.

    The share is hits / min(k, number of held-out items), so that a perfect ranking has 1 for each
    user (Liang et al., section 4.2, arXiv:1802.05814). Some programs divide by the number of
    held-out items alone, which gives less if this is more than k.

    Args:
        ranked: Integer array of shape (users, at least k): items, best first, such as those of
            `model.recommend(fold_in, k)`. No item occurs twice in a row.
        held_out: `scipy.sparse` matrix or array of shape (users, items), positive where an item is
            one to be found. Each user has at least one.
        k: Number of ranked items that count, a positive integer.

    Returns:
        Float64 array of shape (users,), from 0 to 1. Rankings of the same users can be compared
        pair by pair.

    Raises:
        ValueError: If the arrays do not fit each other, or a user has no held-out item.

    Example:

    >>> from keras_ae import evaluation
    >>> evaluation.recall_at_k([[2, 0, 1]], [[1, 1, 0, 1]], k=2).tolist()
    [0.5]
    """
    hits, number = _find_hits("recall_at_k", ranked, held_out, k)
    return hits.sum(axis=1) / np.minimum(number, k)


def ndcg_at_k(ranked: Array, held_out: Matrix, k: int) -> np.ndarray:
    """Compute the normalized discounted cumulative gain of each user's first k ranked items.

    A hit at rank r, counted from 1, has the gain 1 / log2(r + 1). The sum of gains is divided by
    that of the best possible ranking, which has min(k, number of held-out items) hits in front
    (Liang et al., section 4.2, arXiv:1802.05814).

    Args:
        ranked, held_out, k: See `recall_at_k`.

    Returns:
        Float64 array of shape (users,), from 0 to 1.

    Raises:
        ValueError: See `recall_at_k`.

    Example:

    >>> from keras_ae import evaluation
    >>> evaluation.ndcg_at_k([[2, 0, 1]], [[1, 0, 0, 0]], k=3).round(4).tolist()
    [0.6309]
    """
    hits, number = _find_hits("ndcg_at_k", ranked, held_out, k)
    gains = 1.0 / np.log2(np.arange(2, hits.shape[1] + 2))
    best = np.concatenate([[0.0], np.cumsum(gains)])[np.minimum(number, k)]
    return hits @ gains / best


def _find_hits(owner, ranked, held_out, k):
    """Return which of the first k items are held out, (users, k), and how many are in all."""
    k = arguments.integer(owner, "k", k)
    ranked = np.asarray(ranked)
    if ranked.ndim != 2 or ranked.dtype.kind not in "iu" or ranked.shape[1] < k:
        raise ValueError(
            f"{owner}: ranked is an array of {ranked.dtype} of shape {ranked.shape}, and must hold "
            f"integers of shape (users, at least k={k})."
        )
    from scipy import sparse

    held_out = held_out.tocsr() if is_sparse(held_out) else np.asarray(held_out)
    held_out = sparse.csr_matrix(held_out)
    if np.isnan(held_out.data.astype("float64")).any():
        raise ValueError(f"{owner}: held_out holds NaN. Replace it by 0 or 1.")
    held_out = held_out > 0
    users, items = held_out.shape
    if not users:
        raise ValueError(f"{owner}: ranked and held_out have no users. Pass some.")
    if len(ranked) != users:
        raise ValueError(f"{owner}: ranked has {len(ranked)} users, and held_out has {users}.")
    ranked = ranked[:, :k]
    if ranked.size and (ranked.min() < 0 or ranked.max() >= items):
        raise ValueError(
            f"{owner}: ranked has items from {ranked.min()} to {ranked.max()}, and held_out has "
            f"the items from 0 to {items - 1}."
        )
    ordered = np.sort(ranked, axis=1)
    if np.any(ordered[:, 1:] == ordered[:, :-1]):
        raise ValueError(f"{owner}: ranked has a row in which an item occurs twice.")
    number = np.diff(held_out.indptr)
    if np.any(number == 0):
        raise ValueError(
            f"{owner}: user {np.argmin(number)} has no held-out item, so that there is nothing to "
            "find. Leave such users out of both arrays."
        )
    rows = np.repeat(np.arange(users), k)
    hits = np.asarray(held_out[rows, ranked.ravel()]).reshape(users, k)
    return hits.astype("float64"), number
