"""Recall@k and NDCG@k against values computed by hand."""

import math

import numpy as np
import pytest
from scipy import sparse

from keras_ae import evaluation

pytestmark = pytest.mark.backend_free

# User 0 has one item, user 1 has four, of which three are to be found among three places.
HELD_OUT = np.array([[1, 0, 0, 0, 0, 0], [1, 1, 0, 1, 1, 0]])
RANKED = np.array([[4, 0, 2], [3, 2, 0]])


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix, sparse.coo_array, list])
def test_the_values_are_those_computed_by_hand(kind):
    recall, ndcg = (f(RANKED, kind(HELD_OUT), k=3) for f in (evaluation.recall_at_k,
                                                             evaluation.ndcg_at_k))  # fmt: skip
    np.testing.assert_allclose(recall, [1.0, 2 / 3])
    best = 1 + 1 / math.log2(3) + 1 / 2
    np.testing.assert_allclose(ndcg, [1 / math.log2(3), (1 + 1 / 2) / best])


def test_only_the_first_k_items_count():
    np.testing.assert_allclose(evaluation.recall_at_k(RANKED, HELD_OUT, k=1), [0.0, 1.0])
    np.testing.assert_allclose(evaluation.recall_at_k(RANKED, HELD_OUT, k=2), [1.0, 0.5])
    np.testing.assert_allclose(evaluation.ndcg_at_k(RANKED, HELD_OUT, k=1), [0.0, 1.0])
    best = 1 + 1 / math.log2(3)
    np.testing.assert_allclose(
        evaluation.ndcg_at_k(RANKED, HELD_OUT, k=2), [1 / math.log2(3), 1 / best]
    )


def test_the_best_ranking_has_one_and_the_worst_has_zero():
    ranked = np.array([[0, 1, 2, 3], [4, 3, 1, 0]])
    for function in (evaluation.recall_at_k, evaluation.ndcg_at_k):
        for k in (1, 2, 4):
            np.testing.assert_allclose(function(ranked, HELD_OUT, k), 1.0)
        assert function([[5, 2], [5, 2]], HELD_OUT, 2).tolist() == [0.0, 0.0]


def test_ndcg_is_that_of_scikit_learn():
    from sklearn.metrics import ndcg_score

    rng = np.random.default_rng(0)
    held_out = (rng.random((20, 30)) < 0.2).astype(float)
    held_out[:, 0] = 1
    scores = rng.permuted(np.tile(np.arange(30.0), (20, 1)), axis=1)
    found = evaluation.ndcg_at_k(np.argsort(-scores, axis=1), held_out, k=10)
    assert found.mean() == pytest.approx(ndcg_score(held_out, scores, k=10))


@pytest.mark.parametrize(
    "ranked, held_out, k, message",
    [
        (RANKED, HELD_OUT, 4, "at least k=4"),
        (RANKED.astype(float), HELD_OUT, 2, "float64"),
        (RANKED[:1], HELD_OUT, 2, "ranked has 1 users, and held_out has 2"),
        (
            [[0, 9], [0, 1]],
            HELD_OUT,
            2,
            "items from 0 to 9, and held_out has the items from",
        ),
        ([[0, 0], [0, 1]], HELD_OUT, 2, "an item occurs twice"),
        (RANKED, 0 * HELD_OUT, 2, "user 0 has no held-out item"),
        (RANKED, HELD_OUT, 0, "k=0"),
    ],
)
def test_wrong_arguments_are_refused(ranked, held_out, k, message):
    for function in (evaluation.recall_at_k, evaluation.ndcg_at_k):
        with pytest.raises(ValueError, match=message):
            function(ranked, held_out, k)
