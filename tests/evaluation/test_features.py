"""Features of samples: the classifier of digits, Inception, principal components."""

import hashlib
import pathlib
import urllib.error

import keras
import numpy as np
import pytest

from benchmarks.digit_classifier import make_network
from keras_ae import datasets, evaluation


@pytest.fixture(scope="module")
def digits():
    return datasets.as_array("small_mnist", "test", labels=True)


@pytest.mark.backend_free
def test_the_classifier_knows_digits_and_is_named_by_its_file(digits):
    features = evaluation.DigitFeatures()
    path = pathlib.Path(evaluation.__file__).with_name("digit_classifier.npz")
    content = path.read_bytes()
    assert len(content) <= 300_000
    assert features.name == f"digits-{hashlib.sha256(content).hexdigest()[:12]}"
    x, labels = digits
    assert np.mean(features.classify(x) == labels) >= 0.988
    assert features(x[:3]).shape == (3, features.width) and features(x[:3]).dtype == "float32"
    np.testing.assert_array_equal(features(x[:3, ..., 0]), features(x[:3]))
    # Almost every feature says something: a dead one would be a dimension less.
    assert np.sum(np.std(features(x), axis=0) > 0.01) >= 63


@pytest.mark.backend_free
def test_digits_of_another_range_are_refused(digits):
    features, x = evaluation.DigitFeatures(), digits[0][:20]
    features(x - 0.1)  # A model may leave the range a little.
    for wrong, words in ((2.0 * x - 1.0, r"Pass \(x \+ 1\) / 2"), (255.0 * x, "Pass x / 255")):
        with pytest.raises(ValueError, match=words):
            features(wrong)


def test_keras_computes_the_same_features(digits):
    """NumPy's convolutions are those of the network that the script trained."""
    network = make_network()
    path = pathlib.Path(evaluation.__file__).with_name("digit_classifier.npz")
    with np.load(path) as file:
        network.set_weights([file[name].astype("float32") for name in file.files])
    x = digits[0][:8]
    inner = keras.Model(network.inputs, network.layers[-3].output)
    wanted = keras.ops.convert_to_numpy(inner(keras.ops.convert_to_tensor(x)))
    np.testing.assert_allclose(evaluation.DigitFeatures()(x), wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.backend_free
def test_blocks_of_digits_change_nothing(digits, monkeypatch):
    features = evaluation.DigitFeatures()
    whole = features(digits[0][:50])
    monkeypatch.setattr("keras_ae.evaluation.features._AT_ONCE", 7)
    np.testing.assert_allclose(features(digits[0][:50]), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.backend_free
def test_samples_are_scored_next_to_data(digits):
    x = digits[0]
    noise = np.random.default_rng(0).normal(size=(200, 28, 28, 1))
    features = evaluation.DigitFeatures()
    found = evaluation.score_samples(x[:200] + 0.3 * noise, x[200:400], x[400:580], features)
    assert found["features"] == features.name and found["examples"] == 180
    rows = 200 + np.arange(180) * 200 // 180
    same = evaluation.frechet_distance(features(x[400:580]), features(x[rows]))
    assert found["frechet_distance_of_real"] == pytest.approx(same)
    assert found["frechet_distance"] > 2 * same
    assert found["kernel_distance"] > found["kernel_distance_of_real"]
    assert abs(found["kernel_distance_of_real"]) < found["kernel_distance"]
    assert set(found) >= {"precision", "recall", "density", "coverage"}
    with pytest.raises(ValueError, match="x has 30 examples of 64 features"):
        evaluation.score_samples(x[:30], x[200:400], x[400:580], features)
    with pytest.raises(TypeError, match="features='inception' must be a function"):
        evaluation.score_samples(x, x, x, "inception")


def test_pictures_of_any_size_have_features_of_inception(monkeypatch):
    """A network without convolutions stands for Inception, which takes seconds to make."""
    given = {}

    def make(**options):
        given.update(options)
        inputs = keras.Input(options["input_shape"])
        return keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))

    monkeypatch.setattr(keras.applications, "InceptionV3", make)
    features = evaluation.InceptionFeatures(weights=None)
    assert given["weights"] is None and given["pooling"] == "avg" and not given["include_top"]
    assert features.name.startswith("inception-") and len(features.name) == 22
    x = np.random.default_rng(0).random((5, 16, 12, 3))
    # Inception takes pictures in [-1, 1].
    found = features(x, batch_size=2)
    np.testing.assert_allclose(found, 2.0 * x.mean(axis=(1, 2)) - 1.0, atol=0.02)
    gray = features(x[..., :1])
    np.testing.assert_allclose(gray, np.repeat(found[:, :1], 3, axis=1), atol=1e-5)
    for wrong, words in (
        (x[..., 0], r"x has the shape \(5, 16, 12\)"),
        (x[..., :2], "1 or 3 channels"),
        (255.0 * x, "Pass x / 255"),
    ):
        with pytest.raises(ValueError, match=words):
            features(wrong)


@pytest.mark.backend_free
def test_weights_that_cannot_be_had(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise urllib.error.URLError("no route")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(FileNotFoundError, match="weights='imagenet' are not in .* no route.* Copy"):
        evaluation.InceptionFeatures()


@pytest.mark.backend_free
def test_data_of_any_kind_has_features():
    x = np.random.default_rng(0).normal(size=(100, 4, 5))
    features = evaluation.DataFeatures(x, dimensions=3)
    assert features.name == "pca-3" and features(x[:7]).shape == (7, features.width)
    whole = evaluation.DataFeatures(x)
    assert whole.name == "identity" and whole.width == 20
    np.testing.assert_array_equal(whole(x), x.reshape(100, 20))
    for each in (features, whole):
        with pytest.raises(ValueError, match="x has 5 numbers .* made from 20"):
            each(x[:, 0])
    with pytest.raises(ValueError, match="dimensions=8 must be an integer from 1 to 5"):
        evaluation.DataFeatures(x[:5], dimensions=8)


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.zeros((2, 32, 32, 1)), r"x has the shape \(2, 32, 32, 1\)"),
        (np.full((2, 28, 28, 1), 255, "uint8"), "Pass x / 255"),
        (np.full((2, 28, 28, 1), np.nan), "NaN"),
        (np.zeros((0, 28, 28, 1)), "must hold examples"),
    ],
)
def test_what_is_no_digit(x, words):
    with pytest.raises(ValueError, match=words):
        evaluation.DigitFeatures()(x)
