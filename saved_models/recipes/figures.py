"""What is measured of a pretrained model: functions of the model and its data.

Names of figures say what they are, and of how many examples if these are not the whole test split.
"""

import functools

import numpy as np
from sklearn.metrics import mean_squared_error, normalized_mutual_info_score

from keras_ae import corruptions, evaluation

SAMPLES = 5000


def losses(model, data, inputs=()):
    """Return the mean of every loss on the test split, in nats if the loss is a likelihood."""
    test = data["test"]
    given = {name: test[name] for name in inputs}
    return model.evaluate(test["x"], **given, batch_size=500, return_dict=True, verbose=0)


losses_with_label = functools.partial(losses, inputs=("label",))


def likelihood(model, data, examples=2000, inputs=()):
    """Return the log-likelihood of the first test examples, of 100 importance samples each."""
    given = {name: data["test"][name][:examples] for name in inputs}
    x = data["test"]["x"][:examples]
    found = model.log_likelihood(x, num_samples=100, seed=0, verbose=0, **given)
    return {
        "log_likelihood": found.mean(),
        "log_likelihood_standard_error": found.std() / np.sqrt(len(found)),
    }


few_likelihoods = functools.partial(likelihood, examples=200)
likelihood_with_label = functools.partial(likelihood, inputs=("label",))


def samples(model, data, **given):
    """Return the Fréchet distance of 5,000 samples from test digits, in features of a classifier.

    The distance of as many training digits is the least that a perfect model would have.
    """
    drawn = model.sample(SAMPLES, seed=0, verbose=0, **given).reshape(-1, 28, 28, 1)
    features = evaluation.DigitFeatures()
    real, other = (
        features(data[part]["x"][:SAMPLES].reshape(-1, 28, 28, 1)) for part in ("test", "train")
    )
    return {
        "frechet_distance_of_samples": evaluation.frechet_distance(features(drawn), real),
        "frechet_distance_of_training_digits": evaluation.frechet_distance(other, real),
    }


def samples_of_labels(model, data):
    """Return the same for samples of given digits."""
    return samples(model, data, label=np.arange(SAMPLES) % 10)


def reconstructions(model, data):
    """Return the mean squared error of reconstructions, and that of the mean training example."""
    x, mean = data["test"]["x"], data["train"]["x"].mean(axis=0)
    copies = model.reconstruct(x, batch_size=500, verbose=0)
    error, worst = np.mean(np.square(copies - x)), np.mean(np.square(mean - x))
    return {"mean_squared_error": error, "share_of_the_mean_example": error / worst}


def active_units(model, data):
    return {"active_units": evaluation.active_units(model.encode(data["test"]["x"], verbose=0))}


def codebook(model, data):
    """Return the share of codes in use, and their perplexity."""
    codes = model.encode(data["test"]["x"], verbose=0)
    return evaluation.codebook_usage(codes, model.num_codes)


def code_likelihood(model, data):
    """Return the mean log-probability of the test examples' codes under the fitted prior."""
    found = model.prior_log_likelihood(data["test"]["x"][:2000], verbose=0)
    return {"prior_log_likelihood": found.mean()}


def neighbors(model, data):
    """Return the share of test examples whose nearest training codes tell the label."""
    train, test = data["train"], data["test"]
    codes = [model.encode(part["x"], verbose=0) for part in (train, test)]
    codes = [c.mean(axis=1) if c.ndim == 3 else c.reshape(len(c), -1) for c in codes]
    found = evaluation.nearest_neighbor_probe(
        codes[0][:10_000], train["label"][:10_000], codes[1], test["label"]
    )
    return {"nearest_neighbor_accuracy": found}


def clusters(model, data):
    """Return how well clusters match the classes of the test split."""
    label = data["test"]["label"]
    found = model.cluster(data["test"]["x"], verbose=0)
    return {
        "clustering_accuracy": evaluation.clustering_accuracy(found, label),
        "normalized_mutual_information": normalized_mutual_info_score(label, found),
    }


def classes(model, data):
    """Return the accuracy of the model's own classifier."""
    found = model.classify(data["test"]["x"], verbose=0)
    return {"accuracy": np.mean(found == data["test"]["label"])}


def repair(damage):
    """Return a figure: the error of pictures that were damaged, and of the damaged pictures."""

    def repaired(model, data):
        x = data["test"]["x"]
        damaged, _ = corruptions.pairs(x, damage, seed=1)
        copies = model.reconstruct(damaged, batch_size=500, verbose=0)
        ratio = evaluation.peak_signal_to_noise_ratio
        return {
            # The ratio of a picture that is not damaged at all, which is infinite, counts as 60.
            "psnr_of_damaged": np.minimum(ratio(x, damaged), 60.0).mean(),
            "psnr_of_repaired": np.minimum(ratio(x, copies), 60.0).mean(),
            "ssim_of_damaged": evaluation.structural_similarity(x, damaged).mean(),
            "ssim_of_repaired": evaluation.structural_similarity(x, copies).mean(),
        }

    return repaired


def disentanglement(model, data):
    """Return the mutual information gap, and two other scores, of codes and factors."""
    test = data["test"]
    codes = model.encode(test["x"], verbose=0)
    factors = np.asarray(test["label"])
    scores = evaluation.disentanglement_completeness(codes[:5000], factors[:5000])
    return {
        "mutual_information_gap": evaluation.mutual_information_gap(codes, factors),
        "disentanglement": scores["disentanglement"],
        "completeness": scores["completeness"],
    }


def other_modality(model, data):
    """Return how often the label that is decoded of a picture alone is right."""
    test = data["test"]
    found = model.reconstruct({"image": test["x"]["image"]}, to="label", verbose=0)
    return {"accuracy_of_label_from_image": np.mean(np.argmax(found, axis=1) == test["label"])}


def missing_pixels(share):
    """Return a figure: the error of numbers that are hidden, filled in, in units of deviations."""

    def filled(model, data):
        x = data["test"]["x"]
        hidden = np.random.default_rng(0).random(x.shape) < share
        given = np.where(hidden, np.nan, x).astype("float32")
        found = model.impute(given, seed=0, verbose=0)
        scale = data["train"]["x"].std(axis=0)
        center = data["train"]["x"].mean(axis=0)
        errors, of_mean = (
            np.sqrt(mean_squared_error(np.where(hidden, (x - y) / scale, 0), 0 * x) / share)
            for y in (found, np.broadcast_to(center, x.shape))
        )
        return {"error_of_hidden_cells": errors, "error_of_means": of_mean}

    return filled


def anomalies(detector, data):
    """Return how well a detector's scores tell anomalies from normal rows, and its flags."""
    x, label = data["test"]["x"], data["test"]["label"]
    scores = -detector.score_samples(x)
    flags = scores > detector.threshold_
    found = evaluation.anomaly_scores(label, scores)
    return {
        "roc_auc": found["roc_auc"],
        "pr_auc": found["pr_auc"],
        "flagged_of_normal": np.mean(flags[label == 0]),
        "flagged_of_anomalies": np.mean(flags[label == 1]),
    }


def topics(model, data):
    """Return coherence and diversity of the topics, and the perplexity of second halves."""
    from scipy import sparse

    test = data["test"]
    best = np.argsort(-model.word_weights(), axis=1)
    corpus = sparse.vstack([data["train"]["x"], test["x"]]).tocsr()
    return {
        "npmi": evaluation.topic_coherence(best[:, :10], corpus).mean(),
        "diversity": evaluation.topic_diversity(best[:, :25]),
        "completion_perplexity": evaluation.completion_perplexity(
            model.reconstruct, test["first"], test["second"]
        ),
    }


def dictionary(model, data):
    """Return the share of variance that a sparse dictionary explains, and its active features."""
    x = data["test"]["x"]
    error = np.square(model.reconstruct(x, verbose=0) - x).sum()
    codes = model.encode(x, verbose=0)
    return {
        "explained_variance": 1.0 - error / np.square(x - x.mean(axis=0)).sum(),
        "active_features": np.mean(np.count_nonzero(codes, axis=1)),
        "dead_features": np.mean(~np.any(codes != 0, axis=0)),
    }


def synthetic_rows(model, data):
    """Return the ROC AUC on real rows of a classifier that learned from as many sampled rows."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    train, test = data["train"]["x"], data["test"]["x"]
    target = train.columns[-1]
    categories = {
        name: sorted(train[name].dropna().unique())
        for name in train.columns[:-1]
        if not np.issubdtype(np.asarray(train[name]).dtype, np.number)
    }

    def encode(table):
        columns = []
        for name in train.columns[:-1]:
            if name in categories:
                codes = {value: number for number, value in enumerate(categories[name])}
                columns.append(table[name].map(codes).astype("float64").to_numpy())
            else:
                columns.append(table[name].to_numpy("float64"))
        return np.stack(columns, axis=1)

    def score(table):
        is_text = [name in categories for name in train.columns[:-1]]
        judge = HistGradientBoostingClassifier(categorical_features=is_text, random_state=0)
        judge.fit(encode(table), table[target] == ">50K")
        return roc_auc_score(test[target] == ">50K", judge.predict_proba(encode(test))[:, 1])

    return {
        "roc_auc_of_sampled_rows": score(model.sample(len(train), seed=0, verbose=0)),
        "roc_auc_of_real_rows": score(train),
    }
