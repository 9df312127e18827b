"""Recommendations of papers and films, with EASE, popularity and a reference in torch.

python -m benchmarks.reproduce recommendation --data recommender/  # needs torch and pandas
"""

import pathlib
import time

import keras
import numpy as np

import keras_ae
from keras_ae import datasets, evaluation

FOLDS = 3
RATE = 1e-3
# Data set -> epochs of training, batch size, EASE's penalty, and how many of the folds are judged.
DATA = {"movielens_small": (80, 50, 200.0, 3), "citeulike_a": (10, 100, 50.0, 1)}
UNITS, LATENT_DIM, DROPOUT, BETA = 200, 100, 0.5, 0.2
OPTIONS = {"latent_dim": LATENT_DIM, "dropout": DROPOUT}
# The weight of the divergence rises to BETA within half of the training.
WARM_UP = 0.5


def recommendation(epochs=None, seed=0, models=None, data=None):
    """NDCG@100 and Recall@20 of held-out users, of whose items a fifth is hidden.

    The users are cut into three folds. Each fold is judged by models that were trained on the other
    two, and figures are means over all users; of citeulike-a, only one fold is judged. Differences
    from the torch reference are means of pairs of the same user.
    """
    if data is None:
        raise SystemExit("recommendation needs --data PATH, the folder of both data sets.")
    for name, (number, batch_size, penalty, judged) in DATA.items():
        x = _read(name, pathlib.Path(data))
        found = {key: [] for key in (models or METHODS)}
        seconds = dict.fromkeys(found, 0.0)
        folds = datasets.split_users(x, shares=(1 / FOLDS,) * FOLDS, seed=seed)
        for fold, rows in enumerate(folds[:judged]):
            others = np.setdiff1d(np.arange(x.shape[0]), rows)
            seen, hidden = datasets.hide_interactions(x[rows], seed=seed)
            for key in found:
                given = {
                    "epochs": epochs or number,
                    "batch_size": batch_size,
                    "penalty": penalty,
                    "seed": seed + fold,
                }
                start = time.perf_counter()
                ranked = METHODS[key](x[others], seen, given)
                seconds[key] += time.perf_counter() - start
                ndcg = evaluation.ndcg_at_k(ranked, hidden, 100)
                recall = evaluation.recall_at_k(ranked, hidden, 20)
                found[key].append(np.stack([ndcg, recall]))
        figures = {key: np.concatenate(parts, axis=1) for key, parts in found.items()}
        for key, values in figures.items():
            row = {"data": name, "items": x.shape[1], "users_judged": values.shape[1]}
            row |= {"model": key, "epochs_of_training": epochs or number}
            for metric, each in zip(("ndcg_100", "recall_20"), values, strict=True):
                row |= {metric: each.mean(), f"{metric}_error": each.std() / np.sqrt(each.size)}
            if "torch" in figures:
                for metric, pairs in zip(
                    ("ndcg_100", "recall_20"), values - figures["torch"], strict=True
                ):
                    row[f"{metric}_minus_torch"] = pairs.mean()
                    row[f"{metric}_minus_torch_error"] = pairs.std() / np.sqrt(pairs.size)
            yield {k: float(v) if isinstance(v, np.floating) else v for k, v in row.items()} | {
                "seconds": round(seconds[key], 1)
            }


def _read(name, folder):
    """Return a matrix of users and items, of users with at least five items."""
    if name == "citeulike_a":
        from scipy import sparse

        found = sparse.load_npz(folder / "citeulike_a.npz").tocoo()
        return datasets.gather_interactions(found.row, found.col, least_items=5).matrix
    import pandas as pd

    table = pd.read_csv(folder / "ratings.csv.gz")
    table.columns = [column.lower() for column in table.columns]
    columns = (table[column] for column in ("userid", "movieid", "rating"))
    return datasets.gather_interactions(*columns, least_rating=4, least_items=5).matrix


def _rank(scores, seen):
    """Return the 100 items of the highest scores that users have not seen."""
    scores = np.where(seen.toarray() > 0, -np.inf, scores)
    return np.argsort(-scores, axis=1, kind="stable")[:, :100]


def _popularity(train, seen, given):
    counts = np.asarray(train.sum(axis=0))
    return _rank(np.repeat(counts, seen.shape[0], axis=0), seen)


def _ease(train, seen, given):
    """EASE (arXiv:1905.03375), whose matrix of items is never made.

    With the Gram matrix G = X'X of items, EASE is B = I - P / diag(P), where P is the inverse of
    G + penalty I. By Woodbury's identity, P = (I - X' M X) / penalty, where M is the inverse of
    XX' + penalty I.
    """
    penalty = given["penalty"]
    gram = (train @ train.T).toarray().astype("float64")
    inverse = np.linalg.inv(gram + penalty * np.eye(len(gram)))
    product = train.T @ inverse.T  # (items, users): X' M, because M is symmetric.
    diagonal = (1.0 - np.asarray(train.T.multiply(product).sum(axis=1)).ravel()) / penalty
    part = np.asarray((seen @ train.T) @ product.T)  # (test users, items)
    return _rank(-(seen.toarray() - part) / penalty / diagonal, seen)


def _model(name, **options):
    def rank(train, seen, given):
        steps = given["epochs"] * -(-train.shape[0] // given["batch_size"])
        more = options
        if name == "MultinomialVAE":
            schedule = keras_ae.schedules.LinearWarmUp(int(WARM_UP * steps), end=BETA)
            more = {"kl_weight": schedule, **options}
        model = getattr(keras_ae, name)(seed=given["seed"], **OPTIONS, **more)
        model.compile(keras.optimizers.Adam(RATE))
        model.fit(train, batch_size=given["batch_size"], epochs=given["epochs"], verbose=0)
        return model.recommend(seen, k=100, verbose=0)

    return rank


def _torch(train, seen, given):
    """A plain program of the paper's model in torch, with the sizes and the schedule of the row."""
    import torch

    torch.manual_seed(given["seed"])
    items = train.shape[1]

    def linear(inputs, outputs):
        layer = torch.nn.Linear(inputs, outputs)
        torch.nn.init.xavier_uniform_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
        return layer

    encoder = torch.nn.Sequential(
        linear(items, UNITS), torch.nn.Tanh(), linear(UNITS, 2 * LATENT_DIM)
    )
    decoder = torch.nn.Sequential(linear(LATENT_DIM, UNITS), torch.nn.Tanh(), linear(UNITS, items))
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, RATE, eps=1e-7)
    order, step = np.random.default_rng(given["seed"]), 0
    steps = given["epochs"] * -(-train.shape[0] // given["batch_size"])
    for _ in range(given["epochs"]):
        rows = order.permutation(train.shape[0])
        for start in range(0, len(rows), given["batch_size"]):
            x = torch.from_numpy(train[rows[start : start + given["batch_size"]]].toarray())
            read = torch.nn.functional.dropout(torch.nn.functional.normalize(x), DROPOUT)
            mean, log_variance = encoder(read).chunk(2, dim=1)
            z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
            loss = -(torch.log_softmax(decoder(z), dim=1) * x).sum(dim=1)
            kl = 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).sum(dim=1)
            beta = BETA * min(step / int(WARM_UP * steps), 1.0)
            optimizer.zero_grad()
            (loss + beta * kl).mean().backward()
            optimizer.step()
            step += 1
    with torch.no_grad():
        x = torch.from_numpy(seen.toarray())
        logits = decoder(encoder(torch.nn.functional.normalize(x))[:, :LATENT_DIM])
    return _rank(logits.numpy(), seen)


_NETWORKS = {"network_options": {"units": (UNITS,), "activation": "tanh"}}
METHODS = {
    "popularity": _popularity,
    "EASE": _ease,
    "torch": _torch,
    "MultinomialVAE": _model("MultinomialVAE", **_NETWORKS),
    "MultinomialDAE": _model("MultinomialDAE"),
    "RecVAE": _model("RecVAE", network_options={"units": (UNITS,) * 3}),
}
