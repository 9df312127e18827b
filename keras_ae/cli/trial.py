"""One run of a comparison: trains a model, and computes all figures that apply to it."""

import importlib
import json
import math
import sys
import time

import keras
import numpy as np

from keras_ae import datasets, evaluation, models
from keras_ae.cli import runs
from keras_ae.cli.settings import find_artifact
from keras_ae.core import adaptation
from keras_ae.core import examples as batch
from keras_ae.core.storage import whole_file
from keras_ae.evaluation.arrays import scatter
from keras_ae.saving.load import load

FIGURES = "evaluation.json"  # Its presence marks a run of a comparison as complete.
SAMPLES = 10_000  # At most this many samples are compared with as many test examples.
_NUMBERS = 2**27  # Fewer, but no fewer than 1,000, if they would have more numbers than this.
PROBED = 5000  # Probes are trained on at most this many codes, and tested on runs.TEST_EXAMPLES.
NEIGHBORS = 10
_FEATURES = 64  # Features of samples: those of the classifier of digits, or principal components.
_COMPONENTS = 16  # Probes of principal components take so many.
FACTORED = 3000  # Scores of disentanglement take at most this many test examples.
_DIMENSIONS = 64  # They train predictors for each dimension, so that longer codes have none.
_CLUSTER_SEEDS = range(3)


def run(settings, folder):
    """Train a model, or take the trained one, and write its figures to `FIGURES` in the folder.

    Args:
        settings: `keras_ae.cli.runs.Settings`.
        folder: `pathlib.Path` of the run. A run that was begun there is resumed.
    """
    resume = (folder / "run.json").exists()
    start = time.perf_counter()
    runs.train(settings, folder, resume, verbose=2)
    seconds = time.perf_counter() - start
    trained = load(find_artifact(folder))
    figures = evaluate(trained, settings, runs.read_figures(folder))
    # Nobody knows how long a run took in the processes before this one.
    figures["training_seconds"] = None if resume else seconds
    figures["versions"] = describe_versions()
    with whole_file(folder / FIGURES) as partial:
        partial.write_text(json.dumps(figures, indent=2) + "\n")


def describe_versions():
    """Say which programs computed figures. Runs of one report may differ in them."""
    version = importlib.import_module("keras_ae").__version__
    return (
        f"keras_ae {version}, Keras {keras.__version__} with {keras.config.backend()}, "
        f"Python {sys.version.split()[0]}"
    )


def evaluate(model, settings, measured):
    """Compute the figures of a trained model, and those of its untrained self.

    Args:
        model: The trained model.
        settings: `keras_ae.cli.runs.Settings` with which it was trained.
        measured: Dictionary that `keras_ae.cli.runs.measure` returned for it.

    Returns:
        Dictionary of JSON values. A figure that does not apply to the model is left out.
    """
    train_split, test_split = runs.splits(settings.data)
    every_train = runs.examples(settings.data, train_split, model)
    every_test = runs.examples(settings.data, test_split, model)
    count = min(SAMPLES, max(1000, _NUMBERS // math.prod(model._data_shape)))
    train, test = _take(every_train, count), _take(every_test, count)
    untrained = _make_untrained(model, settings, train)
    copies = model.reconstruct(test, verbose=0)
    shown, _ = batch.split(model, test)
    figures = {
        "parameters": model.count_params(),
        "code_numbers": int(np.prod(model.code_shape)),
        # What other players learn changes the objective of a model that has some.
        "has_players": bool(model.players),
        "objective": measured["loss"],
        "untrained_objective": _compute_objective(untrained, every_test),
        "mse": _compute_mse(shown, copies),
        "untrained_mse": _compute_mse(shown, untrained.reconstruct(test, verbose=0)),
    }
    if hasattr(model, "log_likelihood"):
        names = ("log_likelihood", "log_likelihood_standard_error", "log_likelihood_samples")
        figures |= {name: measured[name] for name in names}
        figures["likelihood"] = type(model.likelihood).__name__
    if isinstance(model, models.VAE):
        figures["negative_bound"] = measured["reconstruction_loss"] + measured["kl_loss"]
    figures |= _score_pictures(shown, copies)
    figures |= _score_code(model, test)
    # Features and probes have no use for missing values.
    if all(np.all(np.isfinite(batch.split(model, x)[0])) for x in (train, test)):
        figures |= _score_samples(model, settings.seed, train, test, copies)
        figures |= _probe(
            model, settings.data, (train_split, every_train), (test_split, every_test)
        )
        figures |= _score_factors(model, settings.data, test_split, every_test)
    return figures


def _take(x, count):
    """Take examples as arrays: scattered over all, or the first ones of a stream."""
    if not runs.are_arrays(x):
        return runs.take_first(x, count)
    rows = scatter(batch.length(x), count)
    return batch.map_leaves(lambda array: array[rows], x)


def _make_untrained(trained, settings, train):
    """Make the model as it was before its training, but with the weights of losses of the end.

    Schedules depend on the number of training steps, so that the objectives of the two models would
    otherwise be different sums.
    """
    model = runs.make_model(settings)
    runs.inputs.check_batch(model, runs.take_first(train, 1), None, None, fits=True)
    if adaptation.is_needed(model):
        named = dict(train) if isinstance(train, dict) else {"x": train}
        model.adapt(named.pop("x"), **named)
    # A loop on JAX would use up an array that the two models share, so this one is copied.
    model._step.assign(keras.ops.convert_to_numpy(trained._step))
    return model


def _compute_objective(model, x):
    return model.evaluate(x, batch_size=100, return_dict=True, verbose=0)["loss"]


def _compute_mse(x, copies):
    return float(np.nanmean((np.asarray(x, "float64") - copies) ** 2))


def _score_pictures(x, copies):
    if not _are_pictures(x):
        return {}
    # A decoder without bounds may leave the range of the pictures.
    copies = np.clip(copies, 0.0, 1.0)
    ratios = evaluation.peak_signal_to_noise_ratio(x, copies, 1.0)
    # An exact copy has an infinite ratio, beside which those of all others would not count.
    finite = ratios[np.isfinite(ratios)]
    figures = {"psnr": float(finite.mean()) if len(finite) else math.inf}
    if min(x.shape[1:3]) >= 11:  # The side of the window.
        figures["ssim"] = float(evaluation.structural_similarity(x, copies, 1.0).mean())
    if min(x.shape[1:3]) >= 176:  # The coarsest of five scales still has a window.
        similarities = evaluation.multiscale_structural_similarity(x, copies, 1.0)
        figures["multiscale_ssim"] = float(similarities.mean())
    return figures


def _are_pictures(x):
    return x.ndim == 4 and x.shape[-1] in (1, 3, 4) and x.min() >= 0.0 and x.max() <= 1.0


def _score_samples(model, seed, train, test, copies):
    (train, _), (test, given) = (batch.split(model, x) for x in (train, test))
    number = min(len(train), len(test))
    if train[0].shape == (28, 28, 1) and _are_pictures(test) and number > 2 * _FEATURES:
        features = evaluation.DigitFeatures()
    else:
        # With fewer than two examples for each component, a covariance says nothing.
        features = evaluation.DataFeatures(train, max(1, min(_FEATURES, number // 2)))
    if number <= max(features.width, 5):
        return {}
    rows = scatter(len(test), number)
    given = {name: given[name][rows] for name in batch.taken_by_sample(model)}
    samples = model.sample(number, seed=seed, verbose=0, **given)
    distance = evaluation.frechet_distance(features(copies), features(test))
    return {
        **evaluation.score_samples(samples, test, train, features),
        "frechet_distance_of_reconstructions": distance,
    }


def _score_code(model, x):
    """Compute what says whether parts of the code are dead."""
    if model._code_dtype == "int32":
        found = model.codebook_statistics(x, verbose=0)
        return {"codebook_usage": found["usage"], "perplexity": found["perplexity"]}
    if hasattr(model, "posterior"):
        return {"active_units": evaluation.active_units(model.encode(x, verbose=0))}
    return {}


def _probe(model, data, *parts):
    """Compute how well labels follow from codes, from data and from its principal components."""
    probed = []
    for (split, x), count in zip(parts, (PROBED, runs.TEST_EXAMPLES), strict=True):
        labels = runs.take_first_labels(
            data, split, batch.length(x) if runs.are_arrays(x) else count
        )
        if labels is None or labels.dtype.kind not in "iu":
            return {}
        labels = labels[scatter(len(labels), count)]
        x = _take(x, count)
        probed.append((batch.split(model, x)[0], _represent(model, x), labels))
    (x, codes, labels), (test_x, test_codes, test_labels) = probed
    if len(np.unique(labels)) < 2:
        return {}
    k = min(NEIGHBORS, len(labels))
    baselines = evaluation.probe_baselines(
        x, labels, test_x, test_labels, min(_COMPONENTS, len(x), x[0].size), k
    )
    given = (codes, labels, test_codes, test_labels)
    return {
        "linear_probe": evaluation.linear_probe(*given),
        "neighbor_probe": evaluation.nearest_neighbor_probe(*given, k),
        "probe_baselines": baselines,
        **_score_clusters(model, test_x, test_codes, test_labels),
    }


def _score_clusters(model, x, codes, labels):
    """Compare clusters of the codes, and those of the model itself, with the classes."""
    classes = len(np.unique(labels))
    found = evaluation.cluster_codes(codes.reshape(len(codes), -1), labels, classes, _CLUSTER_SEEDS)
    figures = {f"k_means_{name}": mean for name, (mean, _) in found.items()}
    if hasattr(model, "cluster"):
        clusters = np.asarray(model.cluster(x, verbose=0))
        figures["clusters_accuracy"] = evaluation.clustering_accuracy(clusters, labels)
    return figures


def _score_factors(model, data, split, x):
    """Compute how well the dimensions of the code stand for the factors that the labels are."""
    count = batch.length(x) if runs.are_arrays(x) else FACTORED
    factors = runs.take_first_factors(data, split, count)
    if factors is None or math.prod(model.code_shape) > _DIMENSIONS or len(factors) < 100:
        return {}
    factors = factors[scatter(len(factors), FACTORED)]
    # A column with one value, which every code predicts, is no factor.
    factors = factors[:, np.ptp(factors, axis=0) > 0]
    if not factors.shape[1]:
        return {}
    codes = _represent(model, _take(x, FACTORED)).reshape(len(factors), -1)
    figures = {
        "mutual_information_gap": evaluation.mutual_information_gap(codes, factors),
        **{
            f"dci_{name}": value
            for name, value in evaluation.disentanglement_completeness(codes, factors).items()
        },
        "sap": evaluation.separated_attribute_predictability(codes, factors),
        **evaluation.modularity_explicitness(codes, factors),
        "irs": evaluation.interventional_robustness(codes, factors),
        "downstream_accuracy": float(np.mean(evaluation.predict_factors(codes, factors))),
        "gaussian_total_correlation": evaluation.gaussian_total_correlation(codes),
    }
    if data == "sprites":  # Only these can be drawn for any combination of factors.
        figures["factor_vae_score"] = evaluation.factor_vae_score(
            lambda x: _represent(model, x).reshape(len(x), -1),
            lambda factors: datasets.sprites_images(datasets.sprites_index(factors)),
            tuple(datasets.SPRITES_FACTORS.values()),
        )
    return figures


def _represent(model, x):
    """Compute the codes, or the embeddings of integer codes, because an index is no quantity."""
    if model._code_dtype != "int32":
        return model.encode(x, verbose=0)
    vectors = []
    for start in range(0, len(x), 500):
        part = keras.ops.convert_to_tensor(x[start : start + 500])
        vectors.append(keras.ops.convert_to_numpy(model.quantized(part).vectors))
    return np.concatenate(vectors)
