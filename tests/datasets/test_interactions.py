"""Matrices of users and items, and their splits."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from keras_ae import datasets

pytestmark = pytest.mark.backend_free

TABLE = pd.DataFrame(
    {
        "user": ["u", "v", "u", "w", "w", "u", "w"],
        "item": [30, 10, 10, 20, 30, 10, 40],
        "rating": [5.0, 4.0, 4.5, 5.0, 3.5, 1.0, 4.0],
    }
)


def interactions(users=50, items=40, seed=0):
    matrix = np.random.default_rng(seed).random((users, items)) < 0.3
    matrix[:, :2] = True
    return sparse.csr_matrix(matrix.astype("float32"))


def test_a_table_becomes_a_matrix_of_ones():
    found = datasets.gather_interactions(TABLE["user"], TABLE["item"])
    assert found.users.tolist() == ["u", "v", "w"] and found.items.tolist() == [10, 20, 30, 40]
    wanted = [[1, 0, 1, 0], [1, 0, 0, 0], [0, 1, 1, 1]]
    assert sparse.issparse(found.matrix) and found.matrix.dtype == "float32"
    np.testing.assert_array_equal(found.matrix.toarray(), wanted)


def test_low_ratings_and_users_of_few_items_are_left_out():
    found = datasets.gather_interactions(*(TABLE[c] for c in TABLE), least_rating=4, least_items=2)
    assert found.users.tolist() == ["u", "w"] and found.items.tolist() == [10, 20, 30, 40]
    np.testing.assert_array_equal(found.matrix.toarray(), [[1, 0, 1, 0], [0, 1, 0, 1]])
    found = datasets.gather_interactions(TABLE["user"], TABLE["item"], least_items=3)
    assert found.users.tolist() == ["w"] and found.items.tolist() == [20, 30, 40]


def test_users_are_in_one_group_each():
    groups = datasets.split_users(interactions(), shares=(0.7, 0.2, 0.1), seed=1)
    assert list(map(len, groups)) == [35, 10, 5]
    assert sorted(np.concatenate(groups).tolist()) == list(range(50))
    again, other = (datasets.split_users(interactions(), (0.7, 0.2, 0.1), seed=s) for s in (1, 2))
    np.testing.assert_array_equal(groups[0], again[0])
    assert not np.array_equal(groups[0], other[0])


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.coo_array, sparse.csr_matrix.toarray])
def test_hidden_items_and_the_others_are_all_items(kind):
    whole = interactions()
    before = whole.data.copy()
    seen, hidden = datasets.hide_interactions(kind(whole), share=0.25, seed=0)
    np.testing.assert_array_equal(whole.data, before)
    np.testing.assert_array_equal((seen + hidden).toarray(), whole.toarray())
    assert seen.multiply(hidden).nnz == 0
    counts, number = whole.getnnz(axis=1), hidden.getnnz(axis=1)
    np.testing.assert_array_equal(number, np.clip(np.round(0.25 * counts), 1, counts - 1))
    again, other = (datasets.hide_interactions(whole, 0.25, seed=s)[1] for s in (0, 1))
    assert (again != hidden).nnz == 0 and (other != hidden).nnz > 0


def test_one_item_is_hidden_and_one_is_left_at_least():
    two = sparse.csr_matrix(np.ones((4, 2)))
    for share in (0.01, 0.99):
        seen, hidden = datasets.hide_interactions(two, share)
        assert seen.getnnz(axis=1).tolist() == hidden.getnnz(axis=1).tolist() == [1] * 4


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: datasets.gather_interactions([1, 2], [1]), r"shapes.*\(2,\).*\(1,\)"),
        (lambda: datasets.gather_interactions([1], [1], [3.0]), "both ratings and least_rating"),
        (lambda: datasets.gather_interactions([1], [1], [3.0], 4), "no user has 1 items with"),
        (lambda: datasets.gather_interactions([1], [1], least_items=0), "least_items=0"),
        (lambda: datasets.gather_interactions(["a", None], [1, 2]), "users has 1 missing"),
        (lambda: datasets.gather_interactions([1, 2], [np.nan, 2]), "items has 1 missing"),
        (lambda: datasets.split_users(interactions(), (0.5, 0.4)), "add up to 1"),
        (lambda: datasets.split_users(interactions(3), (0.9, 0.1)), "a group of 3 users is empty"),
        (lambda: datasets.hide_interactions(interactions(), 1.0), "share=1.0"),
        (lambda: datasets.hide_interactions(np.eye(3) + np.eye(3)[::-1]), "user 1 has 1 of the"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_ratings_that_are_missing_or_text_are_refused():
    with pytest.raises(ValueError, match="ratings has 1 missing values"):
        datasets.gather_interactions(["a", "b"], [1, 2], [5, np.nan], least_rating=4)
    with pytest.raises(ValueError, match="ratings must be numbers"):
        datasets.gather_interactions(["a", "b"], [1, 2], ["five", "x"], least_rating=4)
