"""Probes, clusters and codebooks, compared with what is known."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from keras_ae import evaluation

pytestmark = pytest.mark.backend_free


def blobs(number=300, seed=0):
    """Return three classes of points that a plane separates, and their classes."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, number)
    return np.eye(3)[labels] * 4 + 0.3 * rng.normal(size=(number, 3)), labels


@pytest.mark.parametrize("probe", [evaluation.linear_probe, evaluation.nearest_neighbor_probe])
def test_probes(probe):
    (z, labels), (test, test_labels) = blobs(), blobs(seed=1)
    assert probe(z, labels, test, test_labels) == 1.0
    # A code that says nothing is guessed, and the scale of a dimension does not matter.
    noise = np.random.default_rng(2).normal(size=(2, 300, 3))
    assert probe(noise[0], labels, noise[1], test_labels) < 0.5
    scale = [1.0, 1e-3, 1e3]
    assert probe(z * scale, labels, test * scale, test_labels) == 1.0


def test_baselines():
    (x, labels), (test, test_labels) = blobs(), blobs(seed=1)
    noise = 0.01 * np.random.default_rng(2).normal(size=(300, 20))
    wide, wide_test = (np.concatenate([v, noise], axis=1) for v in (x, test))
    found = evaluation.probe_baselines(wide, labels, wide_test, test_labels, dimensions=2)
    assert found["principal_components"] == {"linear": 1.0, "nearest_neighbors": 1.0}


def test_the_accuracy_of_clusters():
    labels = np.array([0, 0, 1, 1, 2, 2])
    assert evaluation.clustering_accuracy((labels + 1) % 3, labels) == 1.0
    assert evaluation.clustering_accuracy(np.zeros(6), labels) == pytest.approx(1 / 3)
    # More clusters than classes: what has no class is wrong. Fewer: classes without one are.
    assert evaluation.clustering_accuracy(np.arange(6), labels) == 0.5
    assert evaluation.clustering_accuracy([0, 0, 0, 0, 1, 1], labels) == pytest.approx(4 / 6)


def test_what_has_no_clusters():
    with pytest.raises(ValueError, match="clusters and labels are empty"):
        evaluation.clustering_accuracy([], [])
    with pytest.raises(ValueError, match="seeds is empty"):
        evaluation.cluster_codes(np.eye(4), [0, 0, 1, 1], 2, seeds=())


def test_clusters_of_codes():
    z, labels = blobs()
    found = evaluation.cluster_codes(z, labels, 3, seeds=range(5))
    assert set(found) == {"accuracy", "normalized_mutual_information", "adjusted_rand_index"}
    assert found["accuracy"][0] > 0.8
    one = evaluation.cluster_codes(z, labels, 3, seeds=[0])
    from sklearn.cluster import KMeans

    clusters = KMeans(3, n_init=1, random_state=0).fit_predict(z)
    assert one["adjusted_rand_index"] == (adjusted_rand_score(labels, clusters), 0.0)
    wanted = normalized_mutual_info_score(labels, clusters)
    assert one["normalized_mutual_information"] == (pytest.approx(wanted), 0.0)


def test_codebooks():
    codes = np.repeat([0, 1, 2, 3], [4, 2, 1, 1])
    shares = np.array([4, 2, 1, 1]) / 8
    wanted = np.exp(-np.sum(shares * np.log(shares)))
    found = evaluation.codebook_usage(codes.reshape(2, 4), 8)
    assert found == {"usage": 0.5, "perplexity": pytest.approx(wanted)}
    for wrong, words in ((codes + 5, "5 to 8"), (codes - 1, "-1 to"), (codes * 0.5, "integers")):
        with pytest.raises(ValueError, match=words):
            evaluation.codebook_usage(wrong, 8)
