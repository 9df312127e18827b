"""Missing cells of tables with mixed columns, filled in by HIVAE, and by four other methods.

python -m benchmarks.reproduce missing_cells --data hivae_tabular.tar.gz
"""

import io
import tarfile
import time

import keras
import numpy as np
import pandas as pd
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer

import keras_ae
from keras_ae import datasets

# The tables of arXiv:1807.03653 and their folders in the archive of its authors. Every folder has
# masks of cells to hide, by percentage, of which the first ones are taken.
TABLES = {
    "Adult": "Adult",
    "Breast": "Breast",
    "Wine": "Wine",
    "DefaultCredit": "defaultCredit",
}
PERCENTAGES = (10, 30, 50)
KINDS = {
    "real": "numeric",
    "pos": "positive",
    "count": "count",
    "ordinal": "ordinal",
    "cat": "categorical",
}
STEPS, BATCH_SIZE = 2000, 128


def read_tables(path, tables):
    """Yield the name of a table, its complete cells, kinds, unknown cells, and masks by percentage.

    Cells that nobody knows are neither given to a method nor counted as errors.
    """
    with tarfile.open(path) as archive:

        def read(name):
            text = archive.extractfile(name).read().decode()
            return pd.read_csv(io.StringIO(text), header=None).to_numpy("float64")

        def read_mask(name, shape):
            mask = np.zeros(shape, bool)
            mask[tuple(read(name).astype(int).T - 1)] = True
            return mask

        names = archive.getnames()
        for table in tables:
            folder = TABLES[table]
            x = read(f"{folder}/data.csv")
            unknown = np.isnan(x)
            if f"{folder}/MissingTrue.csv" in names:
                unknown |= read_mask(f"{folder}/MissingTrue.csv", x.shape)
            # Some of these files end their lines with "\r" alone.
            rows = archive.extractfile(f"{folder}/data_types.csv").read().decode().split()
            kinds = [KINDS[row.split(",")[0]] for row in rows[1:]]
            masks = {
                n: read_mask(f"{folder}/Missing{n}_1.csv", x.shape) & ~unknown for n in PERCENTAGES
            }
            yield table, x, kinds, unknown, masks


def measure(filled, x, kinds, hidden):
    """Return the mean normalized error of columns of numbers, of others, and of all columns.

    These are the errors of section 5 of the paper. Of numbers it is the root of the mean square in
    units of the column's range, of ordinal columns the mean distance in units of the number of
    categories, and of categorical ones the share of wrong cells.
    """
    found = {"numbers": [], "categories": []}
    for column, kind in enumerate(kinds):
        rows = hidden[:, column]
        given, truth = filled[rows, column], x[rows, column]
        if kind == "categorical":
            found["categories"].append(np.mean(given != truth))
        elif kind == "ordinal":
            number = len(np.unique(x[:, column]))
            found["categories"].append(np.mean(np.abs(given - truth)) / number)
        else:
            error = np.sqrt(np.mean((given - truth) ** 2)) / np.ptp(x[:, column])
            found["numbers"].append(error)
    means = {f"error_of_{name}": float(np.mean(v)) for name, v in found.items() if v}
    return {"error": float(np.mean(found["numbers"] + found["categories"])), **means}


class Encoding:
    """A table as numbers of unit scale for methods that know no categories, and the way back.

    Categorical columns become one column for each category, or for each but the first, which a
    regression does not need: it would only learn that all of them add up to 1. All other columns
    are standardized.
    """

    def __init__(self, given, kinds, leave_out=0):
        self.kinds, self.leave_out = kinds, leave_out
        self.categories = [np.unique(c[~np.isnan(c)]) for c in given.T]
        self.means, self.scales = np.nanmean(given, axis=0), np.nanstd(given, axis=0)

    def encode(self, given):
        parts = []
        for column, kind in enumerate(self.kinds):
            cells = given[:, column, None]
            if kind == "categorical":
                known = self.categories[column][self.leave_out :]
                part = np.where(np.isnan(cells), np.nan, cells == known)
            else:
                part = (cells - self.means[column]) / self.scales[column]
            parts.append(part)
        return np.concatenate(parts, axis=1)

    def decode(self, encoded):
        columns = []
        for column, kind in enumerate(self.kinds):
            known = self.categories[column]
            width = len(known) - self.leave_out if kind == "categorical" else 1
            part, encoded = encoded[:, :width], encoded[:, width:]
            if kind == "categorical":
                if self.leave_out:
                    part = np.concatenate([1.0 - part.sum(axis=1, keepdims=True), part], axis=1)
                columns.append(known[np.argmax(part, axis=1)])
                continue
            cells = part[:, 0] * self.scales[column] + self.means[column]
            if kind == "ordinal":
                cells = known[np.argmin(np.abs(cells[:, None] - known), axis=1)]
            columns.append(cells)
        return np.stack(columns, axis=1)


def fill_with_means(given, kinds, seed):
    """Fill in the mean of numbers, the median of ordinal cells, and the most frequent category."""
    filled = given.copy()
    for column, kind in enumerate(kinds):
        cells = given[~np.isnan(given[:, column]), column]
        values, counts = np.unique(cells, return_counts=True)
        by_kind = {"categorical": values[np.argmax(counts)], "ordinal": np.median(cells)}
        filled[np.isnan(given[:, column]), column] = by_kind.get(kind, cells.mean())
    return filled


def fill_with_regressions(given, kinds, seed):
    encoding = Encoding(given, kinds, leave_out=1)
    imputer = IterativeImputer(max_iter=10, random_state=seed)
    return encoding.decode(imputer.fit_transform(encoding.encode(given)))


def compile_for(model, rows):
    epochs = -(-STEPS // -(-rows // BATCH_SIZE))
    steps = epochs * -(-rows // BATCH_SIZE)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, steps)))
    return {"epochs": epochs, "batch_size": BATCH_SIZE, "verbose": 0}


def fill_with_iwae(given, kinds, seed):
    encoding = Encoding(given, kinds)
    x = encoding.encode(given)
    model = keras_ae.MissingDataIWAE(
        10,
        20,
        likelihood="gaussian_learned_scale",
        network_options={"units": (128, 128), "activation": "tanh"},
        seed=seed,
    )
    model.fit(x, **compile_for(model, len(x)))
    return encoding.decode(model.impute(x, num_samples=200, seed=seed, verbose=0))


def fill_with_hivae(given, kinds, seed):
    table = pd.DataFrame(given, columns=[f"column {n}" for n in range(given.shape[1])])
    columns = datasets.describe_columns(table, dict(zip(table.columns, kinds, strict=True)))
    model = keras_ae.HIVAE(columns=columns, seed=seed)
    model.fit(table, **compile_for(model, len(table)))
    return model.impute(table, verbose=0).to_numpy("float64")


METHODS = {
    "mean or mode": fill_with_means,
    "IterativeImputer": fill_with_regressions,
    "MissingDataIWAE": fill_with_iwae,
    "HIVAE": fill_with_hivae,
}


def missing_cells(seed=0, data=None, models=tuple(METHODS), tables=tuple(TABLES)):
    """Normalized errors of hidden cells: each method on each table and each share of missing cells.

    Every method learns from the table with the missing cells, and fills them in.
    """
    if data is None:
        raise SystemExit("missing_cells needs --data PATH, the archive hivae_tabular.tar.gz.")
    for table, x, kinds, unknown, masks in read_tables(data, tables):
        for percentage, hidden in masks.items():
            given = np.where(hidden | unknown, np.nan, x)
            for name in models:
                start = time.perf_counter()
                filled = METHODS[name](given, kinds, seed)
                yield {
                    "table": table,
                    "percent_missing": percentage,
                    "method": name,
                    **measure(filled, x, kinds, hidden),
                    "seconds": round(time.perf_counter() - start, 1),
                }
