"""Missing entries of tables, filled in by MissingDataIWAE, and a linear model in closed form.

python -m benchmarks.reproduce missing_data --data hivae_tabular.tar.gz  # needs scikit-learn
"""

import io
import tarfile
import time

import keras
import numpy as np

import keras_ae

# The tables and masks of arXiv:1807.03653, from the archive of its authors. The numbers are the
# percentage of entries that are missing.
MASKS = {"Wine": (10, 30, 50), "Breast": (10, 30, 50)}


def read_tables(path):
    """Yield (name, percentage, complete table, mask of what is hidden, mask of what is unknown)."""
    with tarfile.open(path) as archive:

        def read(name):
            text = archive.extractfile(name).read().decode()
            return np.genfromtxt(io.StringIO(text), delimiter=",")

        names = archive.getnames()
        for table, percentages in MASKS.items():
            x = read(f"{table}/data.csv")
            unknown = np.isnan(x)
            if f"{table}/MissingTrue.csv" in names:
                unknown[_indices(read(f"{table}/MissingTrue.csv"))] = True
            for percentage in percentages:
                hidden = np.zeros(x.shape, bool)
                hidden[_indices(read(f"{table}/Missing{percentage}_1.csv"))] = True
                yield table, percentage, x, hidden & ~unknown, unknown


def _indices(pairs):
    """Return rows and columns from pairs that count from 1."""
    return tuple(pairs.astype(int).T - 1)


def impute_with_model(x, epochs, seed):
    """Train on a table with missing entries, and return it with the means of its missing entries.

    The rate falls to 0 as a cosine.
    """
    keras.utils.set_random_seed(seed)
    options = {"network_options": {"units": (128, 128), "activation": "tanh"}, "seed": seed}
    model = keras_ae.MissingDataIWAE(
        10, 20, likelihood="gaussian_learned_scale", standardize=True, **options
    )
    batch_size = 64
    steps = epochs * -(-len(x) // batch_size)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, steps)))
    model.fit(x, batch_size=batch_size, epochs=epochs, verbose=0)
    return model.impute(x, num_samples=1000, seed=seed, verbose=0)


def missing_data(epochs=200, seed=0, data=None):
    """Errors of imputed entries, in units of the deviation of each column's observed entries."""
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    if data is None:
        raise SystemExit("missing_data needs --data PATH, the archive hivae_tabular.tar.gz.")
    for table, percentage, x, hidden, unknown in read_tables(data):
        given = np.where(hidden | unknown, np.nan, x)
        mean, deviation = np.nanmean(given, axis=0), np.nanstd(given, axis=0)

        def error(filled, x=x, hidden=hidden, deviation=deviation):
            return float(np.sqrt(np.mean(np.square((filled - x) / deviation)[hidden])))

        start = time.perf_counter()
        filled = impute_with_model(given, epochs, seed)
        seconds = round(time.perf_counter() - start, 1)
        imputer = IterativeImputer(max_iter=50, random_state=seed)
        standardized = (given - mean) / deviation
        iterative = imputer.fit_transform(standardized) * deviation + mean
        figures = {"MissingDataIWAE": error(filled), "IterativeImputer": error(iterative)}
        yield {
            "table": table,
            "percent_missing": percentage,
            **figures,
            "column_means": error(np.broadcast_to(mean, x.shape)),
            "ratio": figures["MissingDataIWAE"] / figures["IterativeImputer"],
            "limit": 1.05,
            "training_seconds": seconds,
        }
    yield linear(epochs, seed)


def linear(epochs, seed, examples=2000, width=6, latent_dim=2, scale=0.5):
    """A linear decoder with Gaussian noise: probabilistic principal components.

    The likelihood and the imputation are compared with the closed forms of the model's own weights,
    and with those of the weights that made the data.
    """
    rng = np.random.default_rng(seed)
    weights, bias = rng.normal(size=(latent_dim, width)), rng.normal(size=width)
    z = rng.normal(size=(examples, latent_dim))
    complete = z @ weights + bias + scale * rng.normal(size=(examples, width))
    x = np.where(rng.random(complete.shape) < 0.3, np.nan, complete).astype("float32")
    decoder = keras.Sequential([keras.Input((latent_dim,)), keras.layers.Dense(width)])
    model = keras_ae.MissingDataIWAE(
        latent_dim, 20, decoder=decoder, likelihood="gaussian_learned_scale", seed=seed
    )
    steps = epochs * -(-examples // 64)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, steps)))
    model.fit(x, batch_size=64, epochs=epochs, verbose=0)
    own = [*decoder.get_weights(), float(np.exp(model.likelihood.log_scale))]
    likelihood = float(np.mean(model.log_likelihood(x, num_samples=2000, seed=seed, verbose=0)))
    filled, missing = model.impute(x, num_samples=2000, seed=seed, verbose=0), np.isnan(x)
    by_own, of_own = closed_form(x, *own)
    by_truth, of_truth = closed_form(x, weights, bias, scale)

    def error(values):
        return float(np.sqrt(np.mean(np.square(values - complete)[missing])))

    return {
        "table": "linear and Gaussian",
        "percent_missing": 30,
        "log_likelihood": likelihood,
        "closed_form": of_own,
        "closed_form_of_the_truth": of_truth,
        "relative_difference": abs(likelihood / of_own - 1.0),
        "error": error(filled),
        "error_of_the_conditional_mean": error(by_own),
        "error_of_the_truth": error(by_truth),
        "limit": 0.01,
    }


def closed_form(x, weights, bias, scale):
    """Return the conditional means of missing entries, and the mean log-likelihood of the others.

    Args:
        x: Array in which NaN is missing.
        weights: Array of shape (dimensions of the code, features).
        bias: Array of shape (features,).
        scale: Deviation of the noise.
    """
    covariance = weights.T @ weights + scale**2 * np.eye(len(bias))
    filled, total = np.array(x, "float64"), 0.0
    for row in filled:
        o, m = ~np.isnan(row), np.isnan(row)
        inner = covariance[np.ix_(o, o)]
        solved = np.linalg.solve(inner, row[o] - bias[o]) if o.any() else np.zeros(0)
        total -= 0.5 * (row[o] - bias[o]) @ solved + 0.5 * np.linalg.slogdet(inner)[1]
        total -= 0.5 * o.sum() * np.log(2.0 * np.pi)
        row[m] = bias[m] + covariance[np.ix_(m, o)] @ solved
    return filled, total / len(x)
