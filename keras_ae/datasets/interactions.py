"""Who chose what, as sparse matrices, and splits of it for models of recommendations."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_ae.core import arguments
from keras_ae.core.sparse_rows import is_sparse
from keras_ae.core.types import Array, Matrix


class Interactions(NamedTuple):
    """What `gather_interactions` returns.

    Attributes:
        matrix: `scipy.sparse.csr_matrix` of shape (users, items), float32, 1 where a user has an
            item.
        users: Array of shape (users,): the name of each row's user, sorted.
        items: Array of shape (items,): the name of each column's item, sorted.
    """

    matrix: Matrix
    users: np.ndarray
    items: np.ndarray


def gather_interactions(
    users: Array,
    items: Array,
    ratings: Array | None = None,
    least_rating: float | None = None,
    least_items: int = 1,
) -> Interactions:
    """Make a sparse matrix of users and items from a table of what users chose or rated.

    A user has an item if the table has a row of both. How often, and with which rating, does not
    count. Users with fewer than `least_items` items are left out, and so are items that no user is
    left of.

    Source: Liang et al., section 4.1, arXiv:1802.05814, with ratings of at least 4 and at least
    five items.

    Args:
        users, items: Columns of the table: arrays or `pandas.Series` of equal length, of numbers or
            strings.
        ratings: Column of numbers. Defaults to None.
        least_rating: Rows with lower ratings are left out. Defaults to None: no row is.
        least_items: Least number of items of a user, a positive integer. Defaults to 1.

    Returns:
        `Interactions`, a tuple (matrix, users, items).

    Raises:
        ValueError: If the columns have different lengths, a user or an item is missing, or nothing
            is left.

    Example:

        >>> from keras_ae import datasets
        >>> found = datasets.gather_interactions(["b", "a", "b"], [7, 7, 9], [5, 4, 1], 4)
        >>> found.matrix.toarray().tolist(), found.users.tolist(), found.items.tolist()
        ([[1.0], [1.0]], ['a', 'b'], [7])
    """
    import pandas as pd
    from scipy import sparse

    columns = [np.asarray(each) for each in (users, items)]
    lengths = {"users": columns[0].shape, "items": columns[1].shape}
    if (ratings is None) != (least_rating is None):
        raise ValueError(
            "gather_interactions: pass both ratings and least_rating, or none of them, because "
            "only ratings that are too low are left out."
        )
    if ratings is not None:
        try:
            ratings = np.asarray(ratings, "float64")
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"gather_interactions: ratings must be numbers ({error}). Convert them."
            ) from None
        lengths["ratings"] = ratings.shape
        least_rating = arguments.number(
            "gather_interactions", "least_rating", least_rating, least=None
        )
    if len(set(lengths.values())) > 1 or columns[0].ndim != 1:
        raise ValueError(
            f"gather_interactions: the columns have the shapes {lengths}. Pass vectors with one "
            "value for each row of the table."
        )
    given = {"users": columns[0], "items": columns[1]}
    for name, each in (given if ratings is None else {**given, "ratings": ratings}).items():
        missing = int(pd.isna(each).sum())
        if missing:
            raise ValueError(
                f"gather_interactions: {name} has {missing} missing values. Drop these rows of the "
                "table, such as by table.dropna()."
            )
    least_items = arguments.integer("gather_interactions", "least_items", least_items)
    if ratings is not None:
        columns = [each[ratings >= least_rating] for each in columns]
    (user_names, rows), (item_names, places) = (
        np.unique(each, return_inverse=True) for each in columns
    )
    matrix = sparse.coo_matrix(
        (np.ones(len(rows), "float32"), (rows, places)), shape=(len(user_names), len(item_names))
    ).tocsr()
    matrix.data[:] = 1.0
    kept = np.diff(matrix.indptr) >= least_items
    if not kept.any():
        raise ValueError(
            f"gather_interactions: no user has {least_items} items"
            + (f" with a rating of {least_rating:g} or more" if ratings is not None else "")
            + ". Pass lower limits."
        )
    matrix, user_names = matrix[kept], user_names[kept]
    occurs = np.bincount(matrix.indices, minlength=matrix.shape[1]) > 0
    return Interactions(matrix[:, occurs], user_names, item_names[occurs])


def split_users(
    interactions: Matrix, shares: Sequence[float] = (0.8, 0.1, 0.1), seed: int = 0
) -> tuple[np.ndarray, ...]:
    """Split users at random into several groups, such as for training, validation and test.

    All items of a user are in one group. A model that was trained on one group is then judged by
    users that it has not seen, which is called strong generalization.

    Args:
        interactions: `scipy.sparse` matrix or array of shape (users, items).
        shares: Tuple of positive numbers, the groups' shares of the users, whose sum is 1. Defaults
            to (0.8, 0.1, 0.1).
        seed: Integer that makes the split repeatable. Defaults to 0.

    Returns:
        Tuple of sorted arrays of the numbers of each group's rows, so that
        `interactions[rows]` is a group.

    Raises:
        ValueError: If the shares are not positive or do not add up to 1, or a group gets no user.

    Example:

        >>> from scipy import sparse
        >>> from keras_ae import datasets
        >>> train, test = datasets.split_users(sparse.eye(10), shares=(0.8, 0.2))
        >>> len(train), len(test), sorted([*train.tolist(), *test.tolist()]) == list(range(10))
        (8, 2, True)
    """
    number = np.shape(interactions)[0]
    shares = np.asarray(shares, "float64")
    if shares.ndim != 1 or not np.all(shares > 0) or abs(shares.sum() - 1.0) > 1e-6:
        raise ValueError(
            f"split_users: shares={shares.tolist()} must be positive numbers that add up to 1, "
            "such as (0.8, 0.1, 0.1)."
        )
    ends = np.round(np.cumsum(shares) * number).astype(int)
    if np.any(np.diff([0, *ends]) < 1):
        raise ValueError(
            f"split_users: with shares={shares.tolist()}, a group of {number} users is empty. Pass "
            "larger shares, or fewer of them."
        )
    order = np.random.default_rng(seed).permutation(number)
    return tuple(np.sort(part) for part in np.split(order, ends[:-1]))


def hide_interactions(
    interactions: Matrix, share: float = 0.2, seed: int = 0
) -> tuple[Matrix, Matrix]:
    """Hide a share of each user's items, which a model must find again from the others.

    Args:
        interactions: `scipy.sparse` matrix or array of shape (users, items). Each user has at least
            two items.
        share: Share of a user's items that is hidden, a number between 0 and 1, rounded to at least
            one item, and so that at least one is left. Defaults to 0.2, as in section 4.2 of
            arXiv:1802.05814.
        seed: Integer that makes the choice repeatable. Defaults to 0.

    Returns:
        Tuple of two `scipy.sparse.csr_matrix` of the shape of interactions: the fold-in part, which
        a model reads, and the held-out part, by which its ranking is judged. Their sum is
        interactions.

    Raises:
        ValueError: If share is out of range, or a user has fewer than two items.

    Example:

        >>> import numpy as np
        >>> from keras_ae import datasets
        >>> seen, hidden = datasets.hide_interactions(np.ones((3, 10)), share=0.3)
        >>> seen.sum(axis=1).ravel().tolist(), hidden.sum(axis=1).ravel().tolist()
        ([[7.0, 7.0, 7.0]], [[3.0, 3.0, 3.0]])
    """
    from scipy import sparse

    share = arguments.number("hide_interactions", "share", share, positive=True, below=1)
    matrix = interactions.tocsr() if is_sparse(interactions) else np.asarray(interactions)
    matrix = sparse.csr_matrix(matrix).copy()
    matrix.eliminate_zeros()
    counts = np.diff(matrix.indptr)
    if counts.size and counts.min() < 2:
        user = int(np.argmin(counts))
        raise ValueError(
            f"hide_interactions: user {user} has {counts[user]} of the items, and needs two, one "
            "to read and one to find. Leave such users out: interactions[counts > 1]."
        )
    generator = np.random.default_rng(seed)
    is_hidden = np.zeros(matrix.nnz, bool)
    for start, count in zip(matrix.indptr, counts, strict=False):
        number = int(np.clip(round(share * count), 1, count - 1))
        is_hidden[start + generator.choice(count, number, replace=False)] = True
    parts = []
    for chosen in (~is_hidden, is_hidden):
        part = matrix.copy()
        part.data = np.where(chosen, matrix.data, 0)
        part.eliminate_zeros()
        parts.append(part)
    return tuple(parts)
