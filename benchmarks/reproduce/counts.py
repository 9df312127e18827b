"""Cells of a worm's neurons: CountVAE's codes and likelihoods, with principal components beside it.

python -m benchmarks.reproduce counts --data worm_neuron_cell.h5  # needs h5py and scikit-learn
"""

import time

import keras
import numpy as np

import keras_ae

DIMENSIONS, BATCH_SIZE = 10, 128
# A gene counts if at least this share of the training cells have it.
LEAST_SHARE = 0.02
LIKELIHOODS = ("zero_inflated_negative_binomial", "negative_binomial")


def read_cells(path):
    """Return the counts of cells, (cells, genes), and the cells' types as numbers."""
    import h5py

    with h5py.File(path) as file:
        return file["X"][:].astype("float32"), np.unique(file["Y"][:], return_inverse=True)[1]


def cluster_scores(codes, types, seed):
    """Return how well k-means on codes, with as many clusters as types, agrees with the types."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    kinds = len(np.unique(types))
    found = KMeans(kinds, n_init=10, random_state=seed).fit_predict(codes)
    return {
        "nmi": float(normalized_mutual_info_score(types, found)),
        "ari": float(adjusted_rand_score(types, found)),
    }


def counts(epochs=30, seeds=(0, 1, 2), seed=0, models=LIKELIHOODS, data=None):
    """Clusters of codes of all cells, and the held-out likelihood of a tenth of them.

    Each seed has a split of its own. `models` are likelihoods. Principal components are those of
    log(1 + count), as it is and after each cell was scaled to 10,000 counts.
    """
    from sklearn.decomposition import PCA

    if data is None:
        raise SystemExit("counts needs --data PATH, the file worm_neuron_cell.h5.")
    cells, types = read_cells(data)
    found = []
    for each in seeds:
        order = np.random.default_rng(each).permutation(len(cells))
        held_out, fitted = order[: len(cells) // 10], order[len(cells) // 10 :]
        x = cells[:, np.mean(cells[fitted] > 0, axis=0) >= LEAST_SHARE]
        scaled = 1e4 * x / np.maximum(x.sum(axis=1, keepdims=True), 1.0)
        for name, logs in (("PCA", np.log1p(x)), ("PCA, scaled", np.log1p(scaled))):
            codes = PCA(DIMENSIONS, random_state=each).fit_transform(logs)
            figures = {"model": name, "seed": each, **cluster_scores(codes, types, each)}
            found.append(figures)
            yield figures
        for likelihood in models:
            options = {"network_options": {"units": (128,), "dropout": 0.1}, "seed": each}
            model = keras_ae.CountVAE(DIMENSIONS, likelihood=likelihood, **options)
            steps = epochs * -(-len(fitted) // BATCH_SIZE)
            rate = keras.optimizers.schedules.CosineDecay(2e-3, steps)
            model.compile(keras.optimizers.Adam(rate))
            start = time.perf_counter()
            model.fit(x[fitted], batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
            seconds = round(time.perf_counter() - start, 1)
            likelihoods = model.log_likelihood(
                x[held_out], num_samples=100, seed=each, batch_size=16, verbose=0
            )
            figures = {
                "model": likelihood,
                "seed": each,
                "genes": x.shape[1],
                **cluster_scores(model.encode(x, verbose=0), types, each),
                "held_out_log_likelihood": float(np.mean(likelihoods)),
                "training_seconds": seconds,
            }
            found.append(figures)
            yield figures
    for name in dict.fromkeys(figures["model"] for figures in found):
        rows = [figures for figures in found if figures["model"] == name]
        summary = {"model": name, "seeds": len(rows)}
        for figure in ("nmi", "ari", "held_out_log_likelihood"):
            values = [row[figure] for row in rows if figure in row]
            if values:
                summary[figure] = float(np.mean(values))
                summary[f"{figure}_deviation"] = float(np.std(values, ddof=min(1, len(values) - 1)))
        yield summary
