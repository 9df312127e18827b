"""AnomalyDetector: scores against closed forms, thresholds, explanations, files."""

import json

import keras
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import keras_ae
from keras_ae.estimators import AnomalyDetector, scores, thresholds
from keras_ae.saving import manifest

TINY = {"network_options": {"units": (8,)}}


def made(model="VAE", **given):
    options = {"model_options": TINY, "epochs": 40, "learning_rate": 0.01, "random_state": 0}
    options["trim"] = 0.0
    options |= given
    return AnomalyDetector(model, **options)


@pytest.fixture(scope="module")
def table():
    """300 rows of which the first 15 break the relation between two columns."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4))
    x[:, 1] = x[:, 0] + 0.1 * rng.normal(size=300)
    x[:15, 1] += 5.0
    return x * [1, 1, 10, 100]


@pytest.fixture(scope="module")
def fitted(table):
    return {
        s: made(anomaly_score=s, contamination=0.05).fit(table)
        for s in scores.BY_NAME
        if s != "model"
    }


def test_signs_are_those_of_the_table_in_the_docstring(fitted, table):
    for detector in fitted.values():
        found = detector.score_samples(table)
        np.testing.assert_allclose(found, -detector.decision_scores_, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(detector.decision_function(table), found - detector.offset_)
        assert detector.offset_ == -detector.threshold_
        predicted = detector.predict(table)
        assert set(predicted) == {-1, 1}
        np.testing.assert_array_equal(predicted == -1, detector.labels_ == 1)
        np.testing.assert_array_equal(detector.labels_, found < detector.offset_)
        assert detector.labels_.sum() == 15


def test_the_likelihood_finds_what_breaks_a_relation(fitted, table):
    is_anomaly = np.arange(300) < 15
    assert roc_auc_score(is_anomaly, fitted["likelihood"].decision_scores_) > 0.9
    # Every value of the anomalies alone is usual.
    assert np.all(np.abs(table[:15, 1]) < 8)


def numpy_of(value):
    return keras.ops.convert_to_numpy(value)


def test_the_reconstruction_error_is_that_of_standardized_data(fitted, table):
    detector = made(anomaly_score="reconstruction_error", validation_fraction=0.0).fit(table)
    error = (detector.model_.reconstruct(table) - table) / table.std(axis=0)
    np.testing.assert_allclose(
        detector.decision_scores_, np.sum(error**2, axis=1), rtol=1e-2, atol=1e-3
    )


def test_the_distance_of_codes_is_that_of_mahalanobis(fitted, table):
    detector = fitted["code_distance"]
    codes = detector.model_.encode(table).astype("float64")
    precision = np.linalg.inv(np.cov(codes, rowvar=False))
    centered = codes - codes.mean(axis=0)
    wanted = np.einsum("ni,ij,nj->n", centered, precision, centered)
    np.testing.assert_allclose(detector.decision_scores_, wanted, rtol=1e-2, atol=1e-3)


def integrate(model, x):
    """Return -log p(x) and the mean of -log p(x | z) over the posterior, by a grid of codes."""
    grid = np.linspace(-6, 6, 4001).astype("float32")[:, None]
    p = model.conditional(keras.ops.convert_to_tensor(grid))
    u = keras.ops.convert_to_tensor(np.repeat(x, len(grid), axis=0))
    log_likelihood = numpy_of(p.log_prob(u)).astype("float64")
    width = grid[1, 0] - grid[0, 0]
    joint = log_likelihood + stats.norm.logpdf(grid[:, 0])
    q = model.posterior(keras.ops.convert_to_tensor(x))
    mean, deviation = numpy_of(q.mean)[0, 0], np.exp(0.5 * numpy_of(q.log_variance)[0, 0])
    weights = stats.norm.pdf(grid[:, 0], mean, deviation)
    return -np.log(np.sum(np.exp(joint)) * width), -np.sum(weights * log_likelihood) * width


def test_both_densities_equal_integrals_over_the_code(table, monkeypatch):
    monkeypatch.setattr(scores, "NUM_DRAWS", 2048)
    options = {**TINY, "latent_dim": 1}
    x = table[:, :2].astype("float32")
    detector = made(model_options=options, standardize=False, epochs=5).fit(x)
    probability = scores.ReconstructionProbability()
    probability.learn(detector.model_, x)
    for row in (x[20:21], x[40:41], x[60:61]):
        likelihood, expected = integrate(detector.model_, row)
        np.testing.assert_allclose(-detector.score_samples(row), likelihood, rtol=0.01)
        found = scores.compute(detector.model_, row, probability)
        np.testing.assert_allclose(found, expected, rtol=0.02, atol=0.02)
        parts = numpy_of(probability.parts(detector.model_, keras.ops.convert_to_tensor(row)))
        np.testing.assert_allclose(parts.sum(axis=1), found, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["likelihood", "reconstruction_probability"])
def test_a_score_does_not_depend_on_the_other_examples(fitted, table, name):
    detector = fitted[name]
    whole = detector.score_samples(table)
    np.testing.assert_allclose(
        detector.score_samples(table[::-1])[::-1], whole, rtol=1e-5, atol=1e-5
    )
    np.testing.assert_allclose(detector.score_samples(table[7:9]), whole[7:9], rtol=1e-5, atol=1e-5)


def test_explanations_are_shares_and_find_the_column(fitted, table):
    for name, detector in fitted.items():
        shares = detector.explain(table)
        assert shares.shape == table.shape and np.all(shares >= 0)
        np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-3)
        if name != "code_distance":
            assert np.all(np.isin(np.argmax(shares[:15], axis=1), [0, 1])), name


def test_shares_without_parts_are_gradients(table):
    x = (table / [1, 1, 10, 100]).astype("float32")
    detector = made(anomaly_score="code_distance", standardize=False, epochs=2).fit(x)
    shares = detector.explain(x[:3])
    mean, step = x.mean(axis=0), 0.01 * x.std(axis=0)
    added = np.empty((3, 4))
    for column in range(4):
        moved = np.zeros(4, "float32")
        moved[column] = step[column]
        slope = -(detector.score_samples(x[:3] + moved) - detector.score_samples(x[:3] - moved))
        added[:, column] = np.abs(slope / (2 * step[column]) * (x[:3, column] - mean[column]))
    wanted = added / added.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, wanted, atol=0.05)


def test_features_of_usual_examples_have_equal_shares(fitted):
    detector = fitted["reconstruction_error"]
    score = scores.ReconstructionError({"usual": np.full(4, 1e9, "float32")})
    found = scores.explain(detector.model_, np.zeros((2, 4), "float32"), score)
    np.testing.assert_allclose(found, 0.25)


# ---------------------------------------------------------------------- thresholds


@pytest.mark.backend_free
def test_the_extreme_threshold_is_the_quantile_of_the_distribution():
    """Also for a rate that no example can show."""
    rng = np.random.default_rng(0)
    for draw, quantile in (
        (rng.exponential(size=20_000), stats.expon.isf(1e-5)),
        (rng.normal(size=20_000), stats.norm.isf(1e-5)),
        (rng.uniform(size=20_000), stats.uniform.isf(1e-5)),
    ):
        found = thresholds.find_extreme_threshold(draw, 1e-5)
        np.testing.assert_allclose(found, quantile, rtol=0.15)
        common = thresholds.find_extreme_threshold(draw, 0.1)
        np.testing.assert_allclose(common, np.quantile(draw, 0.9))


def test_a_false_positive_rate_holds_for_new_normal_data():
    rng = np.random.default_rng(0)
    x, new = rng.normal(size=(2, 2000, 3))
    options = {"false_positive_rate": 0.05, "validation_fraction": 0.3, "epochs": 3}
    detector = made(threshold="false_positive_rate", **options).fit(x)
    assert 0.02 < np.mean(detector.predict(new) == -1) < 0.09
    extreme = made(threshold="extreme_values", **options).fit(x)
    assert 0.02 < np.mean(extreme.predict(new) == -1) < 0.09


def test_thresholds_of_normal_data_leave_no_example_out():
    x, new = np.random.default_rng(0).normal(size=(2, 2000, 3))
    detector = made(threshold="false_positive_rate", trim=None, epochs=3, false_positive_rate=0.05)
    detector.fit(x)
    assert 0.02 < np.mean(detector.predict(new) == -1) < 0.09
    for threshold in ("false_positive_rate", "extreme_values"):
        with pytest.raises(ValueError, match="trim=0.2 would leave out the oddest normal"):
            made(threshold=threshold, trim=0.2).fit(x)


def test_the_extreme_threshold_comes_from_held_out_examples():
    """A model that has learned 300 rows by heart has smaller scores on these."""
    x, new = np.random.default_rng(0).normal(size=(2, 300, 10))
    options = {"false_positive_rate": 0.05, "validation_fraction": 0.3, "epochs": 60}
    options |= {"model_options": {"network_options": {"units": (64,)}, "latent_dim": 8}}
    detector = made("AE", threshold="extreme_values", **options).fit(x)
    assert np.mean(detector.predict(new) == -1) < 0.1


@pytest.mark.backend_free
def test_a_rate_that_no_score_can_show_lies_beyond_all_scores():
    draws = np.random.default_rng(0).normal(size=(30, 40))
    most = draws.max(axis=1)
    found = np.array([thresholds.find_extreme_threshold(draw, 1e-5) for draw in draws])
    assert np.all(found >= most) and np.mean(found > 1.01 * most) > 0.8
    two = np.repeat([0.0, 1.0], [90, 10])
    assert thresholds.find_extreme_threshold(two, 0.001) >= 1.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_threshold_must_be_finite(value):
    with pytest.raises(ValueError, match="threshold=.* must be a finite number"):
        made(threshold=value).fit(np.zeros((4, 2)))


def test_a_number_is_a_threshold(table):
    detector = made(threshold=3, epochs=1).fit(table)
    assert detector.threshold_ == 3.0


@pytest.mark.backend_free
def test_probabilities_are_calibrated():
    """Where the assumptions hold, so many of the examples with probability p are anomalies."""
    rng = np.random.default_rng(0)
    is_anomaly = rng.random(50_000) < 0.1
    found = np.exp(0.5 * (rng.normal(size=50_000) + 2.5 * is_anomaly))
    calibration = thresholds.Calibration().fit(found, 0.1)
    probability = calibration(found)
    np.testing.assert_allclose(probability.mean(), 0.1, atol=0.02)
    for low in (0.1, 0.3, 0.5, 0.7):
        here = (probability > low) & (probability <= low + 0.2)
        np.testing.assert_allclose(is_anomaly[here].mean(), low + 0.1, atol=0.12)
    ordered = probability[np.argsort(found)]
    assert np.all(np.diff(ordered) >= 0)


@pytest.mark.backend_free
@pytest.mark.parametrize("family", [stats.norm(), stats.chi2(8), stats.t(3)])
def test_the_mean_probability_is_the_contamination(family):
    found = family.rvs(2000, random_state=0)
    for contamination in (0.01, 0.1, 0.4):
        calibration = thresholds.Calibration().fit(found, contamination)
        assert calibration(found).mean() == pytest.approx(contamination, abs=1e-3)


def test_probabilities_rise_with_the_score(fitted, table):
    for detector in fitted.values():
        probability = detector.predict_proba(table)
        np.testing.assert_allclose(probability.sum(axis=1), 1)
        order = np.argsort(detector.decision_scores_)
        assert np.all(np.diff(probability[order, 1]) >= -1e-6)
        np.testing.assert_allclose(probability[:, 1].mean(), 0.05, atol=0.03)


# ---------------------------------------------------------------------- training


def test_trimming_trains_on_the_rest(table, monkeypatch):
    seen = []
    train = AnomalyDetector._train

    def spy(self, X, *args, **kwargs):
        seen.append(X.copy())
        return train(self, X, *args, **kwargs)

    monkeypatch.setattr(AnomalyDetector, "_train", spy)
    detector = made(trim=0.1, contamination=0.05).fit(table)
    assert [len(x) for x in seen] == [300, 270]
    assert len(detector.decision_scores_) == 300
    # The second leaves out what a first training finds anomalous and what is far from the mean.
    once = made(contamination=0.05).fit(table)
    distances = (((table - table.mean(axis=0)) / table.std(axis=0)) ** 2).sum(axis=1)
    odd = stats.rankdata(once.decision_scores_) + stats.rankdata(distances)
    kept = np.sort(np.argsort(odd, kind="stable")[:270])
    np.testing.assert_array_equal(seen[1], table[kept].astype("float32"))


def test_equal_seeds_give_equal_detectors(table):
    first, second = (made(epochs=2).fit(table) for _ in range(2))
    np.testing.assert_array_equal(first.decision_scores_, second.decision_scores_)
    assert clone(first).get_params()["random_state"] == 0


def test_a_function_is_a_score(table):
    def distance(model, x):
        return np.abs(x - x.mean(axis=0)).max(axis=1)

    detector = made(anomaly_score=distance, epochs=1).fit(table)
    np.testing.assert_allclose(detector.decision_scores_, distance(None, table), rtol=1e-5)
    with pytest.raises(ValueError, match="is a function"):
        detector.explain(table)
    with pytest.raises(ValueError, match="is a function"):
        detector.export("detector")
    with pytest.raises(ValueError, match="one finite number"):
        made(anomaly_score=lambda model, x: x, epochs=1).fit(table)


def test_pictures_and_frames_and_pipelines(table):
    pictures = np.random.default_rng(0).random((40, 8, 8, 1)).astype("float32")
    options = {"latent_dim": 2, "network_options": {"filters": (4,), "units": (4,)}}
    detector = made("AE", model_options=options, epochs=1).fit(pictures)
    assert detector.explain(pictures).shape == pictures.shape
    frame = pd.DataFrame(table, columns=list("abcd"))
    named = made(epochs=1).fit(frame)
    assert named.feature_names_in_.tolist() == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        named.predict(frame[["b", "a", "c", "d"]])
    pipeline = make_pipeline(StandardScaler(), made(epochs=1)).fit(table)
    assert pipeline.predict(table).shape == (300,)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"contamination": 0.6}, "contamination=0.6"),
        ({"contamination": 0}, "contamination=0"),
        ({"threshold": "contaminatio"}, "did you mean 'contamination'"),
        ({"false_positive_rate": 1}, "false_positive_rate=1"),
        ({"trim": 0.7}, "trim=0.7"),
        ({"anomaly_score": "likelihod"}, "did you mean 'likelihood'"),
        ({"anomaly_score": "model"}, "VAE has no method anomaly_score"),
        ({"model": "AE", "anomaly_score": "likelihood"}, "AE has no likelihood"),
    ],
)
def test_what_makes_no_sense_is_refused(table, given, message):
    with pytest.raises(ValueError, match=f"(?i){message}"):
        made(**{"epochs": 1, **given}).fit(table)


SCORES = {
    "DeepSVDD": "model",
    "DAGMM": "model",
    "SparseAE": "reconstruction_error",
    "IWAE": "likelihood",
    "FlowVAE": "likelihood",
    "LadderVAE": "likelihood",
    "SigmaVAE": "likelihood",
    "PerceptualVAE": "likelihood",
    "HamiltonianVAE": "reconstruction_error",  # Its draws are steps from random places.
}


@pytest.mark.costly
@pytest.mark.parametrize("name", SCORES)
def test_every_kind_of_model_has_a_score(table, name):
    detector = made(name, epochs=2, model_options={}).fit(table[:64])
    assert detector.anomaly_score_ == SCORES[name]
    shares = detector.explain(table[:5])
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-3)
    np.testing.assert_allclose(
        detector.score_samples(table[3:5]), detector.score_samples(table[:5])[3:], rtol=1e-3
    )


# ---------------------------------------------------------------------- files


def needs_export():
    if keras.config.backend() == "torch":
        pytest.skip("the torch backend exports no SavedModel")


@pytest.mark.costly
@pytest.mark.parametrize("name", ["reconstruction_error", "likelihood", "code_distance"])
def test_what_is_exported_scores_the_same(fitted, table, name, tmp_path):
    needs_export()
    import tensorflow as tf

    detector, x = fitted[name], table.astype("float32")
    detector.export(tmp_path / "d", card={"data": "a table"})
    score = tf.saved_model.load(str(tmp_path / "d")).signatures["score"]
    found = {k: v.numpy() for k, v in score(x=tf.constant(x)).items()}
    np.testing.assert_allclose(
        found["anomaly_score"], -detector.score_samples(x), rtol=1e-3, atol=1e-3
    )
    near = np.abs(found["anomaly_score"] - detector.threshold_) < 1e-3
    assert np.all((found["is_anomaly"] == (detector.predict(x) == -1)) | near)
    np.testing.assert_allclose(found["contributions"], detector.explain(x), atol=1e-2)
    loaded = AnomalyDetector.load(tmp_path / "d")
    np.testing.assert_allclose(
        loaded.score_samples(x), detector.score_samples(x), rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(loaded.predict_proba(x), detector.predict_proba(x), atol=1e-4)
    np.testing.assert_allclose(loaded.explain(x), detector.explain(x), atol=1e-3)
    assert loaded.threshold_ == detector.threshold_
    np.testing.assert_allclose(
        keras_ae.load(tmp_path / "d").encode(x), detector.model_.encode(x), rtol=1e-4, atol=1e-4
    )
    with pytest.raises(FileExistsError):
        detector.export(tmp_path / "d")


def test_a_folder_without_a_detector_is_refused(fitted, table, tmp_path):
    needs_export()
    fitted["likelihood"].model_.export(tmp_path / "model")
    with pytest.raises(ValueError, match="has no detector"):
        AnomalyDetector.load(tmp_path / "model")
    fitted["code_distance"].export(tmp_path / "d")
    card = json.loads((tmp_path / "d" / "card.json").read_text())
    card["detector"]["score_state"]["mean"] = [0.0, 1.0, 2.0]
    (tmp_path / "d" / "card.json").write_text(json.dumps(card))
    (tmp_path / "d" / "manifest.json").unlink()
    manifest.write(tmp_path / "d")
    with pytest.raises(ValueError, match="detector"):
        AnomalyDetector.load(tmp_path / "d")


# ---------------------------------------------------------------------- padding, kinds of codes


def test_padding_has_no_share_in_the_error():
    """Steps without data neither count in the score nor are they far from the mean."""
    rng = np.random.default_rng(0)
    x = np.sin(np.arange(10) + rng.uniform(0, 6, (64, 1)))[..., None] + 0.0
    x[:8, 6:] = -9.0
    model = keras_ae.RecurrentAE(latent_dim=3, mask_value=-9.0, network_options={"units": (8,)})
    detector = made(model, model_options=None, standardize=False, epochs=3).fit(x)
    assert detector.explain(x)[:8, 6:].max() == 0.0
    assert detector.decision_scores_[:8].max() < 2 * detector.decision_scores_[8:].max()
    distances = detector._measure_distances(x)
    assert distances[:8].mean() < 2 * distances[8:].mean()


def test_integer_codes_have_no_distances():
    x = np.random.default_rng(0).normal(size=(60, 4))
    with pytest.raises(ValueError, match="VQVAE has integer codes, without distances"):
        made("VQVAE", anomaly_score="code_distance", epochs=1).fit(x)


def test_a_loaded_detector_has_the_arguments_of_before(table, tmp_path, exports):
    given = {"threshold": "extreme_values", "false_positive_rate": 0.02, "epochs": 1, "trim": None}
    detector = made(**given).fit(table)
    with pytest.raises(ValueError, match="card has the entry 'detector'"):
        detector.export(tmp_path / "detector", card={"detector": 1})
    detector.export(tmp_path / "detector")
    found = AnomalyDetector.load(tmp_path / "detector").get_params()
    expected = {**detector.get_params(), "anomaly_score": "likelihood"}
    for name in ("model", "model_options"):
        del found[name], expected[name]
    assert found == expected
