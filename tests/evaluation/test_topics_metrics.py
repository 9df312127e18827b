"""Coherence, diversity and perplexity of topics against values computed by hand."""

import math

import numpy as np
import pytest
from scipy import sparse

from keras_ae import evaluation

pytestmark = pytest.mark.backend_free

# In eight documents, word 0 occurs in four, word 1 in four, both in three; word 2 in two, once with
# word 0; word 3 never; word 4 always.
COUNTS = np.zeros((8, 6), int)
COUNTS[[0, 1, 2, 3], 0] = [1, 5, 1, 2]
COUNTS[[0, 1, 2, 4], 1] = 1
COUNTS[[3, 5], 2] = 3
COUNTS[:, 4] = 1
COUNTS[:, 5] = 2
PAIR = math.log((3 / 8) / (1 / 2 * 1 / 2)) / -math.log(3 / 8)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix, sparse.coo_array])
def test_the_coherence_is_that_computed_by_hand(kind):
    counts = kind(COUNTS)
    assert evaluation.topic_coherence([[0, 1]], counts) == pytest.approx([PAIR])
    other = math.log((1 / 8) / (1 / 2 * 1 / 4)) / -math.log(1 / 8)
    assert other == 0.0  # Words 0 and 2 are independent.
    found = evaluation.topic_coherence([[0, 1, 2], [1, 2, 3]], counts)
    np.testing.assert_allclose(found, [(PAIR + 0.0 - 1.0) / 3, -1.0], atol=1e-12)


def test_words_of_every_document_have_their_limits():
    assert evaluation.topic_coherence([[4, 5]], COUNTS).tolist() == [1.0]
    assert evaluation.topic_coherence([[0, 4]], COUNTS).tolist() == [0.0]
    assert evaluation.topic_coherence([[3, 4]], COUNTS).tolist() == [-1.0]


def test_independent_words_have_a_coherence_of_zero():
    rng = np.random.default_rng(0)
    found = evaluation.topic_coherence([range(10)], rng.random((20_000, 10)) < 0.3)
    assert abs(found[0]) < 0.01


def test_the_diversity_is_the_share_of_different_words():
    assert evaluation.topic_diversity([["a", "b"], ["c", "d"]]) == 1.0
    assert evaluation.topic_diversity([["a", "b"]] * 4) == 0.25
    assert evaluation.topic_diversity(np.array([[0, 1, 2], [2, 1, 3]])) == 4 / 6


def test_the_perplexity_is_that_computed_by_hand():
    observed, held_out = np.array([[2, 0, 0], [0, 0, 1]]), np.array([[0, 3, 1], [1, 0, 0]])
    p = np.array([[0.2, 0.5, 0.3], [0.25, 0.25, 0.5]])
    calls = []

    def predict(rows):
        calls.append(rows)
        return 7 * p[[0]] if len(calls) == 1 else 2 * p[[1]]  # These need not add up to 1.

    found = evaluation.completion_perplexity(predict, observed, held_out, batch_size=1)
    wanted = math.exp(-(3 * math.log(0.5) + math.log(0.3) + math.log(0.25)) / 5)
    assert found == pytest.approx(wanted)
    np.testing.assert_array_equal(np.concatenate(calls), observed)
    matrix = sparse.csr_matrix(held_out)
    sums = evaluation.completion_perplexity(lambda rows: p, sparse.csr_matrix(observed), matrix)
    assert sums == pytest.approx(wanted)


def test_a_word_without_probability_makes_the_perplexity_infinite():
    rows = np.array([[1, 0], [0, 1]])
    assert evaluation.completion_perplexity(lambda x: x, rows, rows[::-1]) == math.inf
    assert evaluation.completion_perplexity(lambda x: x, rows, rows) == 1.0


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: evaluation.topic_coherence([[0]], COUNTS), "two or more integers"),
        (lambda: evaluation.topic_coherence([[0, 1], [2]], COUNTS), "two or more integers"),
        (lambda: evaluation.topic_coherence([["a", "b"]], COUNTS), "two or more integers"),
        (lambda: evaluation.topic_coherence([[0, 6]], COUNTS), "words from 0 to 6, and counts"),
        (lambda: evaluation.topic_coherence([[1, 1]], COUNTS), "a topic has a word twice"),
        (lambda: evaluation.topic_coherence([[0, 1]], COUNTS[:0]), "has no documents"),
        (lambda: evaluation.topic_coherence([[0, 1]], -COUNTS), "negative numbers"),
        (lambda: evaluation.topic_diversity([[1], [2, 3]]), r"have \[1, 2\] words"),
        (lambda: evaluation.topic_diversity([]), r"have \[\] words"),
        (lambda: perplexity(lambda x: x, COUNTS[:, :2]), "observed has the shape"),
        (lambda: perplexity(lambda x: x[:, :2]), "predict returned an array of shape"),
        (lambda: perplexity(lambda x: x - 3.0), "predict returned .* from -3.0 to"),
        (lambda: perplexity(lambda x: x, 0 * COUNTS), "held_out has no words"),
        (lambda: perplexity(lambda x: 0 * x), "no row is all 0"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def perplexity(predict, held_out=COUNTS):
    return evaluation.completion_perplexity(predict, COUNTS, held_out)
