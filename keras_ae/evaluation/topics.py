"""Whether the words of topics belong together, and whether topics predict words."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_ae.core import arguments
from keras_ae.core.sparse_rows import is_sparse
from keras_ae.core.types import Array, Matrix


def topic_coherence(topics: Array, counts: Matrix) -> np.ndarray:
    """Compute the mean normalized pointwise mutual information (NPMI) of the words of each topic.

    For two words, NPMI is log(p(a, b) / (p(a) p(b))) / -log p(a, b), from -1 for words that never
    occur together, over 0 for independent ones, to 1 for words that occur only together. Here p is
    the share of the documents in `counts` in which a word, or both words, occur at least once: the
    window is the whole document. A topic's value is the mean over all pairs of its words. Published
    values depend on the corpus, on the window and on the number of words of a topic, mostly 10, so
    compare only values that agree in all three.

    Source: Lau, Newman and Baldwin 2014, doi:10.3115/v1/E14-1056.

    Args:
        topics: Integer array of shape (topics, words of a topic), or a list of lists: the numbers
            of columns of counts, such as `model.topics(range(words), k=10)`. A topic has at least
            two words, which differ.
        counts: Array or `scipy.sparse` matrix of shape (documents, words). A word occurs where it
            is positive.

    Returns:
        Float64 array of shape (topics,), from -1 to 1.

    Raises:
        ValueError: If topics have other shapes, repeat words, or hold words that counts lack.

    Example:

    >>> from keras_ae import evaluation
    >>> counts = [[1, 1, 0], [2, 1, 0], [0, 0, 1], [0, 0, 3]]
    >>> evaluation.topic_coherence([[0, 1], [0, 2]], counts).tolist()
    [1.0, -1.0]
    """
    counts = _to_rows("topic_coherence", "counts", counts)
    if counts.shape[0] == 0:
        raise ValueError("topic_coherence: counts has no documents. Pass at least one.")
    topics = _check_topics("topic_coherence", topics, counts.shape[1])
    used, places = np.unique(topics, return_inverse=True)
    places = places.reshape(topics.shape)
    occurs = (counts[:, used] > 0).astype("float64")
    together = np.asarray((occurs.T @ occurs).todense()) / counts.shape[0]
    alone = np.diag(together)
    first, second = np.triu_indices(topics.shape[1], k=1)
    a, b = places[:, first], places[:, second]
    both = together[a, b]
    # Words that never occur together have the limit -1, and words of every document the limit 1.
    usual = (both > 0) & (both < 1)
    safe = np.where(usual, both, 0.5)
    product = np.where(usual, alone[a] * alone[b], 1.0)
    values = np.where(usual, np.log(safe / product) / -np.log(safe), np.where(both > 0, 1.0, -1.0))
    return values.mean(axis=1)


def topic_diversity(topics: Array | Sequence[Sequence[Any]]) -> float:
    """Compute the share of different words among the words of all topics.

    It is 1 if no two topics share a word, and 1 / topics if all are equal. Dieng, Ruiz and Blei
    take 25 words of each topic (section 6, arXiv:1907.04907); with fewer words the value is higher.

    Args:
        topics: List of a list of words for each topic, such as `model.topics(vocabulary, k=25)`, or
            an array of shape (topics, words of a topic). All topics have the same number of words.

    Returns:
        Float from 0 to 1.

    Raises:
        ValueError: If topics have different numbers of words, or none.

    Example:

    >>> from keras_ae import evaluation
    >>> evaluation.topic_diversity([["ape", "bee"], ["bee", "cat"]])
    0.75
    """
    texts = [row for row in topics if isinstance(row, str)]
    if texts:
        raise ValueError(
            f"topic_diversity: topics holds the text {texts[0][:60]!r} instead of a list of words. "
            "Pass [topic.split() for topic in topics]."
        )
    rows = [list(row) for row in topics]
    lengths = sorted({len(row) for row in rows})
    if len(lengths) != 1 or lengths == [0]:
        raise ValueError(
            f"topic_diversity: the topics have {lengths} words. Pass the same number of words, at "
            "least one, for each of one or more topics."
        )
    return len({word for row in rows for word in row}) / (len(rows) * lengths[0])


def completion_perplexity(
    predict: Callable[..., Any], observed: Matrix, held_out: Matrix, batch_size: int = 1000
) -> float:
    """Compute the perplexity of one part of documents, given the other part.

    It is exp(-sum of n log p / sum of n) over all held-out words, where n is how often a word
    occurs in the held-out part of a document, and p the probability that the model gives to the
    word after it has seen the observed part. The perplexity of a document given itself would be too
    low. A model that knows nothing has the number of words in the vocabulary.

    Source: Wallach et al. 2009, section 5.1, doi:10.1145/1553374.1553515.

    Args:
        predict: Function of rows of `observed`, which returns an array of shape (documents, words)
            of positive numbers in proportion to the probabilities of words, such as
            `model.reconstruct`. It gets rows as they are: of a sparse matrix, a sparse one.
        observed: Array or `scipy.sparse` matrix of counts, shape (documents, words).
        held_out: Array or `scipy.sparse` matrix of counts of the same shape. Documents without
            held-out words have no weight.
        batch_size: Number of documents for which `predict` is called at a time. Defaults to 1,000.

    Returns:
        Float of at least 1. It is infinite if a held-out word has the probability 0.

    Raises:
        ValueError: If the shapes differ, or if `predict` returns another shape, negative numbers or
            NaN.

    Example:

    >>> import numpy as np
    >>> from keras_ae import evaluation
    >>> observed, held_out = np.array([[1, 0, 0], [0, 2, 0]]), np.array([[0, 1, 0], [0, 1, 1]])
    >>> found = evaluation.completion_perplexity(lambda x: np.ones(x.shape), observed, held_out)
    >>> round(found, 6)
    3.0
    """
    where = "completion_perplexity"
    held_out = _to_rows(where, "held_out", held_out)
    observed = observed.tocsr() if is_sparse(observed) else np.asarray(observed)
    if observed.shape != held_out.shape:
        raise ValueError(
            f"{where}: observed has the shape {observed.shape}, and held_out {held_out.shape}. "
            "Pass two parts of the same documents, with the same columns."
        )
    if held_out.nnz == 0:
        raise ValueError(f"{where}: held_out has no words. Pass documents of two parts.")
    batch_size = arguments.integer(where, "batch_size", batch_size)
    total = 0.0
    for start in range(0, held_out.shape[0], batch_size):
        rows = slice(start, start + batch_size)
        part = held_out[rows].tocoo()
        found = np.asarray(predict(observed[rows]), "float64")
        fits = found.shape == part.shape and np.all(found >= 0)
        if not fits or not np.all(found.sum(axis=1)[part.row] > 0):
            raise ValueError(
                f"{where}: predict returned an array of shape {found.shape} with values from "
                f"{found.min()} to {found.max()}, and must return numbers of at least 0 of shape "
                f"{part.shape}, of which no row is all 0."
            )
        with np.errstate(divide="ignore"):
            logs = np.log(found[part.row, part.col]) - np.log(found.sum(axis=1))[part.row]
        total += float(part.data @ logs)
    return float(np.exp(-total / held_out.sum()))


def _to_rows(owner, name, counts):
    """Return counts as a CSR matrix, after checking that they are numbers of at least 0."""
    from scipy import sparse

    counts = counts.tocsr() if is_sparse(counts) else np.asarray(counts)
    if len(counts.shape) != 2 or counts.dtype.kind not in "biuf":
        raise ValueError(
            f"{owner}: {name} has the dtype {counts.dtype} and the shape {counts.shape}, and must "
            "hold numbers of shape (documents, words)."
        )
    matrix = sparse.csr_matrix(counts).astype("float64")
    if not np.all(matrix.data >= 0):
        raise ValueError(f"{owner}: {name} holds negative numbers or NaN. Pass counts.")
    return matrix


def _check_topics(owner, topics, words):
    """Return topics as an integer array of shape (topics, words of a topic)."""
    lengths = {len(row) for row in topics}
    array = np.asarray(topics) if len(lengths) == 1 else np.zeros(0)
    if array.ndim != 2 or array.dtype.kind not in "iu" or array.shape[1] < 2:
        raise ValueError(
            f"{owner}: topics must be lists of two or more integers, equally many for each topic. "
            "Pass model.topics(range(words), k=10), for example."
        )
    if array.min() < 0 or array.max() >= words:
        raise ValueError(
            f"{owner}: topics has words from {array.min()} to {array.max()}, and counts has the "
            f"words from 0 to {words - 1}."
        )
    ordered = np.sort(array, axis=1)
    if np.any(ordered[:, 1:] == ordered[:, :-1]):
        raise ValueError(f"{owner}: a topic has a word twice.")
    return array
