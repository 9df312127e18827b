"""What codes are good for: probes, clusters, codebooks. Of all figures, more is better."""

from collections.abc import Iterable

import numpy as np
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from keras_ae.core import arguments
from keras_ae.core.types import Array
from keras_ae.evaluation.arrays import check_pair, check_rows, check_same_length


def linear_probe(codes: Array, labels: Array, test_codes: Array, test_labels: Array) -> float:
    """Compute the test accuracy of a logistic regression on standardized codes.

    Args:
        codes: Array of shape (examples, ...), codes of the training data.
        labels: Array of shape (examples,).
        test_codes, test_labels: The same for the test data.

    Returns:
        A float between 0 and 1. `probe_baselines` says what pixels have.

    Raises:
        ValueError: If the arrays do not fit each other.

    Example:

    >>> import numpy as np
    >>> from keras_ae import evaluation
    >>> z, label = np.arange(10.0)[:, None], np.arange(10) > 4
    >>> evaluation.linear_probe(z, label, z, label)
    1.0
    """
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    return _score("linear_probe", probe, codes, labels, test_codes, test_labels)


def nearest_neighbor_probe(
    codes: Array, labels: Array, test_codes: Array, test_labels: Array, k: int = 10
) -> float:
    """Compute the test accuracy of the vote of the k nearest standardized training codes.

    Args:
        codes, labels, test_codes, test_labels: See `linear_probe`.
        k: Number of neighbors, a positive integer. Defaults to 10.

    Returns:
        A float between 0 and 1.

    Raises:
        ValueError: If the arrays do not fit each other, or there are fewer than k examples.

    Example:

    >>> import numpy as np
    >>> from keras_ae import evaluation
    >>> z, label = np.arange(10.0)[:, None], np.arange(10) > 4
    >>> evaluation.nearest_neighbor_probe(z, label, z, label, k=1)
    1.0
    """
    k = arguments.integer("nearest_neighbor_probe", "k", k, most=len(codes))
    probe = make_pipeline(StandardScaler(), KNeighborsClassifier(k))
    return _score("nearest_neighbor_probe", probe, codes, labels, test_codes, test_labels)


def probe_baselines(
    x: Array,
    labels: Array,
    test_x: Array,
    test_labels: Array,
    dimensions: int = 16,
    k: int = 10,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Compute the accuracies of both probes on the data itself, and on its principal components.

    Args:
        x, labels, test_x, test_labels: Data and labels: see `linear_probe`.
        dimensions: Number of principal components, such as that of the code. Defaults to 16.
        k: See `nearest_neighbor_probe`. Defaults to 10.
        seed: Integer that makes the components repeatable. Defaults to 0.

    Returns:
        Dictionary of "data" and "principal_components", each a dictionary of "linear" and
        "nearest_neighbors".

    Example:

    >>> import numpy as np
    >>> from keras_ae import evaluation
    >>> x, label = np.arange(20.0).reshape(10, 2), np.arange(10) > 4
    >>> found = evaluation.probe_baselines(x, label, x, label, dimensions=1, k=1)
    >>> found["data"]["linear"], found["principal_components"]["nearest_neighbors"]
    (1.0, 1.0)
    """
    x, test_x = check_pair("probe_baselines", x, test_x, names=("x", "test_x"))
    most = min(x.shape)
    dimensions = arguments.integer("probe_baselines", "dimensions", dimensions, most=most)
    components = PCA(dimensions, random_state=seed).fit(x)
    features = {
        "data": (x, test_x),
        "principal_components": (components.transform(x), components.transform(test_x)),
    }
    return {
        name: {
            "linear": linear_probe(z, labels, test_z, test_labels),
            "nearest_neighbors": nearest_neighbor_probe(z, labels, test_z, test_labels, k),
        }
        for name, (z, test_z) in features.items()
    }


def _score(owner, probe, codes, labels, test_codes, test_labels):
    codes, test_codes = check_pair(owner, codes, test_codes, names=("codes", "test_codes"))
    labels, test_labels = np.ravel(labels), np.ravel(test_labels)
    check_same_length(owner, codes=codes, labels=labels)
    check_same_length(owner, test_codes=test_codes, test_labels=test_labels)
    return float(np.mean(probe.fit(codes, labels).predict(test_codes) == test_labels))


def clustering_accuracy(clusters: Array, labels: Array) -> float:
    """Compute the accuracy of clusters under the best assignment of clusters to classes.

    Each cluster stands for at most one class, and each class for at most one cluster. The numbers
    of clusters and classes may differ: examples of a cluster without a class count as wrong.

    Args:
        clusters: Array of shape (examples,), the cluster of every example.
        labels: Array of shape (examples,), its class.

    Returns:
        A float between 0 and 1. Clusters that say nothing have about the share of the largest class
        if one of them holds most examples, and otherwise less.

    Raises:
        ValueError: If the arrays are empty, or do not fit each other.

    Example:

    >>> from keras_ae import evaluation
    >>> evaluation.clustering_accuracy([1, 1, 0, 2], [5, 5, 7, 7])
    0.75
    """
    clusters, labels = np.asarray(clusters), np.asarray(labels)
    for name, each in {"clusters": clusters, "labels": labels}.items():
        if each.size != (len(each) if each.ndim else 0):
            raise ValueError(
                f"clustering_accuracy: {name} has the shape {each.shape}, and needs one number for "
                "each example. Pass np.argmax of one-hot rows."
            )
    clusters, labels = np.ravel(clusters), np.ravel(labels)
    check_same_length("clustering_accuracy", clusters=clusters, labels=labels)
    if not len(labels):
        raise ValueError("clustering_accuracy: clusters and labels are empty. Pass examples.")
    rows, columns = (np.unique(v, return_inverse=True)[1] for v in (clusters, labels))
    table = np.zeros((rows.max() + 1, columns.max() + 1), int)
    np.add.at(table, (rows, columns), 1)
    return float(table[linear_sum_assignment(table, maximize=True)].sum() / len(labels))


def cluster_codes(
    codes: Array, labels: Array, num_clusters: int, seeds: Iterable[int] = range(10)
) -> dict[str, tuple[float, float]]:
    """Cluster codes by k-means with several seeds, and compare the clusters with classes.

    Args:
        codes: Array of shape (examples, ...).
        labels: Array of shape (examples,).
        num_clusters: Number of clusters, a positive integer.
        seeds: Integers, one for each run, at least one. Defaults to the ten from 0 to 9.

    Returns:
        Dictionary of "accuracy" (`clustering_accuracy`), "normalized_mutual_information" (divided
        by the arithmetic mean of the entropies) and "adjusted_rand_index", each a pair of the mean
        and the standard deviation over the seeds.

    Example:

    >>> import numpy as np
    >>> from keras_ae import evaluation
    >>> codes = np.array([[0.0], [0.1], [9.0], [9.1]])
    >>> evaluation.cluster_codes(codes, [0, 0, 1, 1], 2, seeds=(0, 1))["accuracy"]
    (1.0, 0.0)
    """
    codes, labels = check_rows("cluster_codes", "codes", codes), np.ravel(labels)
    check_same_length("cluster_codes", codes=codes, labels=labels)
    number = arguments.integer("cluster_codes", "num_clusters", num_clusters, most=len(codes))
    measures = {
        "accuracy": clustering_accuracy,
        "normalized_mutual_information": normalized_mutual_info_score,
        "adjusted_rand_index": adjusted_rand_score,
    }
    found, seeds = {name: [] for name in measures}, list(seeds)
    if not seeds:
        raise ValueError("cluster_codes: seeds is empty. Pass at least one, such as seeds=(0,).")
    for seed in seeds:
        clusters = KMeans(number, n_init=1, random_state=seed).fit_predict(codes)
        for name, measure in measures.items():
            found[name].append(measure(clusters, labels))
    return {name: (float(np.mean(v)), float(np.std(v))) for name, v in found.items()}


def codebook_usage(codes: Array, num_codes: int) -> dict[str, float]:
    """Compute how much of a codebook is used by the codes of a whole set of data.

    Args:
        codes: Int array of any shape, the indices of codes.
        num_codes: Size of the codebook, a positive integer.

    Returns:
        Dictionary of "usage", the fraction of the codebook that occurs, and "perplexity", the
        exponential of the entropy of the frequencies, a number from 1 to num_codes.

    Raises:
        ValueError: If a code is out of range.

    Example:

    >>> from keras_ae import evaluation
    >>> evaluation.codebook_usage([[0, 1], [0, 1]], 4)
    {'usage': 0.5, 'perplexity': 2.0}
    """
    num_codes = arguments.integer("codebook_usage", "num_codes", num_codes)
    codes = np.ravel(codes)
    if codes.dtype.kind not in "iu" or not codes.size:
        raise ValueError(
            f"codebook_usage: codes has the shape {codes.shape} and the dtype {codes.dtype}, but "
            "must hold integers."
        )
    if codes.min() < 0 or codes.max() >= num_codes:
        raise ValueError(
            f"codebook_usage: codes hold {codes.min()} to {codes.max()}, but num_codes={num_codes} "
            f"is for 0 to {num_codes - 1}."
        )
    counts = np.unique(codes, return_counts=True)[1]
    shares = counts / codes.size
    perplexity = float(np.exp(-np.sum(shares * np.log(shares))))
    return {"usage": len(counts) / num_codes, "perplexity": round(perplexity, 12)}
