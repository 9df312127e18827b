"""What the estimators learn, and how they work within scikit-learn."""

import io
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.decomposition import PCA
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import keras_ae
from keras_ae.estimators import (
    AutoencoderClassifier,
    AutoencoderClusterer,
    AutoencoderImputer,
    AutoencoderTransformer,
    trainers,
)

pytestmark = pytest.mark.xdist_group("estimators")

SMALL = {"network_options": {"units": (64,)}}
TINY = {
    "model_options": {"latent_dim": 2, "network_options": {"units": ()}},
    "epochs": 2,
    "random_state": 0,
}


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    return train_test_split(x, y, random_state=0)


def table(rows=40, columns=4):
    return np.random.default_rng(0).normal(size=(rows, columns)).astype("float32")


# ------------------------------------------------------------------ what they learn


def test_a_classifier_of_codes_is_as_good_as_one_of_principal_components(digits):
    x, test_x, y, test_y = digits
    options = {"latent_dim": 8, **SMALL}
    codes = AutoencoderTransformer("AE", model_options=options, epochs=20, random_state=0)
    components = make_pipeline(StandardScaler(), PCA(8, random_state=0))
    ours, theirs = (
        make_pipeline(step, StandardScaler(), LogisticRegression(max_iter=1000)).fit(x, y)
        for step in (codes, components)
    )
    assert ours.score(test_x, test_y) > theirs.score(test_x, test_y) - 0.05
    assert ours.score(test_x, test_y) > 0.7
    z = components.inverse_transform(components.transform(test_x))
    deviation = x.std(axis=0)
    deviation[deviation == 0.0] = 1.0
    of_components = -np.mean(np.square((z - test_x) / deviation))
    assert ours[0].score(test_x) > of_components


@pytest.mark.costly
def test_the_imputer_is_better_than_means():
    x = load_breast_cancer().data
    missing = np.random.default_rng(0).random(x.shape) < 0.2
    given = np.where(missing, np.nan, x)

    def error(imputer):
        return np.mean(np.square((imputer.fit_transform(given) - x) / x.std(axis=0))[missing])

    ours = AutoencoderImputer(model_options=SMALL, num_samples=50, epochs=30, random_state=0)
    assert error(ours) < 0.5 * error(SimpleImputer())


@pytest.mark.costly
def test_the_classifier_learns_from_few_labels(digits):
    x, test_x, y, test_y = digits
    first = np.concatenate([np.flatnonzero(y == k)[:5] for k in range(10)])
    some = np.full(len(y), -1)
    some[first] = y[first]
    ours = AutoencoderClassifier(model_options=SMALL, epochs=20, random_state=0).fit(x, some)
    assert ours.score(test_x, test_y) > 0.7  # Chance is 0.1.
    assert list(ours.classes_) == list(range(10))
    np.testing.assert_allclose(ours.predict_proba(test_x).sum(axis=1), 1.0, rtol=1e-5)


@pytest.mark.parametrize("method", ["k_means", "gaussian_mixture"])
def test_clusters_of_codes_are_those_of_the_digits(digits, method):
    x, _, y, _ = digits
    options = {"latent_dim": 8, **SMALL}
    ours = AutoencoderClusterer(
        "AE", 10, method=method, model_options=options, epochs=20, random_state=0
    ).fit(x)
    assert adjusted_rand_score(y, ours.labels_) > 0.35  # It is 0 for random labels.
    np.testing.assert_array_equal(ours.predict(x), ours.labels_)


# ------------------------------------------------------------------ training


def test_the_weights_are_those_of_the_least_loss():
    x = table(200)
    fitted = AutoencoderTransformer(
        "AE", model_options=TINY["model_options"], epochs=60, learning_rate=0.1, random_state=0
    )
    held_out = []
    choose = fitted._choose_held_out
    fitted._choose_held_out = lambda *given: held_out.append(choose(*given)) or held_out[-1]
    fitted.fit(x)
    assert held_out[0].sum() == 20
    fitted.model_.compile()
    loss = fitted.model_.evaluate(x[held_out[0]], verbose=0, return_dict=True)["loss"]
    np.testing.assert_allclose(loss, min(fitted.history_["val_loss"]), rtol=1e-4)
    assert loss < fitted.history_["val_loss"][-1]


def test_patience_ends_the_training():
    options = TINY | {"epochs": 1000, "patience": 3, "learning_rate": 0.05}
    fitted = AutoencoderTransformer("AE", batch_size=16, **options).fit(table(100))
    losses = fitted.history_["val_loss"]  # Each comes after 8 epochs of 6 steps.
    assert len(losses) < 100 and len(losses) == np.argmin(losses) + 2


@pytest.mark.parametrize(("epochs", "rounds"), [(12, 1), (100, 2), (97, 97)])
def test_all_epochs_are_trained(epochs, rounds):
    fitted = AutoencoderTransformer(**TINY | {"epochs": epochs, "validation_fraction": 0})
    steps = []
    train, trainers.train = trainers.train, None
    try:
        trainers.train = lambda model, make, compilation, fit: train(
            model, make, compilation, lambda m: (fit(m), steps.append(int(m._step)))[0]
        )
        fitted.fit(table(20))
    finally:
        trainers.train = train
    assert steps == [epochs] and len(fitted.history_["loss"]) == rounds


def test_a_second_fit_compiles_nothing_and_equals_the_first():
    x = table()
    trainers._stand_ins.clear()
    first = AutoencoderTransformer(**TINY).fit(x)
    ((stand_in, _),) = trainers._stand_ins.values()
    function = stand_in.train_function
    other = AutoencoderTransformer(**TINY | {"random_state": 1}).fit(x)
    again = AutoencoderTransformer(**TINY).fit(x)
    ((after, _),) = trainers._stand_ins.values()
    assert after is stand_in and after.train_function is function
    np.testing.assert_array_equal(first.transform(x), again.transform(x))
    assert np.abs(first.transform(x) - other.transform(x)).max() > 0.01
    assert first.history_ == again.history_ != other.history_


def test_models_that_train_otherwise_share_no_stand_in():
    trainers._stand_ins.clear()
    AutoencoderTransformer(**TINY).fit(table())
    AutoencoderTransformer(**TINY, learning_rate=0.01).fit(table())
    AutoencoderTransformer(**TINY).fit(table(40, 5))
    assert len(trainers._stand_ins) == 3


def test_a_stand_in_is_dropped_after_an_error(monkeypatch):
    trainers._stand_ins.clear()
    AutoencoderTransformer(**TINY).fit(table())
    monkeypatch.setattr(keras_ae.VAE, "fit", lambda *given, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        AutoencoderTransformer(**TINY).fit(table())
    assert not trainers._stand_ins


def test_numpy_decides_where_no_seed_is_given():
    options = TINY | {"random_state": None}
    np.random.seed(3)
    first, second = (AutoencoderTransformer(**options).fit(table()) for _ in range(2))
    np.random.seed(3)
    again = AutoencoderTransformer(**options).fit(table())
    assert first.history_ == again.history_ != second.history_


# ------------------------------------------------------------------ models and data


def test_a_given_model_is_never_changed():
    given = keras_ae.VAE(2, likelihood="gaussian", network_options={"units": ()}, seed=5)
    estimator = clone(AutoencoderTransformer(given, epochs=1, random_state=0))
    fitted = estimator.fit(table())
    assert not given.built and not given.standardize
    assert fitted.model_ is not estimator.model and fitted.model_.standardize
    assert fitted.model_.latent_dim == 2 and fitted.transform(table()).shape == (40, 2)


def test_pictures_and_integer_codes():
    x = np.random.default_rng(0).random((30, 8, 8, 1)).astype("float32")
    options = {"network_options": {"filters": (2,)}, "num_codes": 4}
    fitted = AutoencoderTransformer("VQVAE", model_options=options, epochs=1, random_state=0)
    z = fitted.fit_transform(x)
    assert z.dtype == "int32" and z.shape == (30, len(fitted.get_feature_names_out()))
    np.testing.assert_allclose(
        fitted.inverse_transform(z), fitted.model_.reconstruct(x), rtol=1e-4, atol=1e-5
    )


def test_codes_are_decoded_in_the_units_of_the_data():
    x = table() * 1000 + 5000
    fitted = AutoencoderTransformer("AE", **TINY).fit(x)
    copies = fitted.inverse_transform(fitted.transform(x))
    np.testing.assert_allclose(copies, fitted.model_.reconstruct(x), rtol=1e-5)
    wanted = -np.mean(np.square((x - copies) / x.std(axis=0)))
    np.testing.assert_allclose(fitted.score(x), wanted, rtol=1e-4)
    with pytest.raises(ValueError, match="Z has 3 columns, and codes have 2"):
        fitted.inverse_transform(np.zeros((4, 3)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "VEA"}, "Did you mean 'VAE'"),
        ({"model": 3}, "model=3 must be the name"),
        ({"model_options": {"seed": 1}}, "Pass random_state instead"),
        ({"model_options": {"standardize": True}}, "Pass standardize to AutoencoderTransformer"),
        ({"model_options": {"likelihood": "bernoulli"}}, "takes values between 0 and 1"),
        ({"model": "TopKSAE"}, "TopKSAE does not scale its data"),
        ({"model": "ConditionalVAE"}, "reads label, and X is one array"),
        ({"epochs": 0}, "epochs=0 must be a positive integer"),
        ({"patience": 0, "epochs": 2}, "patience=0 must be a positive integer"),
        ({"batch_size": 1.5}, "batch_size=1.5 must be a positive integer"),
        ({"learning_rate": 0}, "learning_rate=0 must be a positive number"),
        ({"validation_fraction": 1}, "validation_fraction=1 must be"),
        ({"standardize": 1}, "standardize=1 must be True or False"),
        ({"verbose": 3}, "verbose=3 must be an integer from 0 to 2"),
    ],
)
def test_wrong_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        AutoencoderTransformer(**options).fit(table())


def test_models_that_cannot_be_copied_are_refused():
    built = keras_ae.AE(2)
    built.build((None, 4))
    with pytest.raises(ValueError, match="its weights would be ignored"):
        AutoencoderTransformer(built).fit(table())
    with pytest.raises(ValueError, match="has no effect, because model is no name"):
        AutoencoderTransformer(keras_ae.AE(2), model_options={"latent_dim": 3}).fit(table())
    with pytest.raises(ValueError, match="must be the name of a MissingDataIWAE"):
        AutoencoderImputer("VAE").fit(table())
    with pytest.raises(ValueError, match="num_classes.*Leave it out"):
        AutoencoderClassifier(model_options={"num_classes": 2}).fit(table(), np.arange(40) % 2)


# ------------------------------------------------------------------ within scikit-learn


def test_data_frames_and_their_names():
    frame = pd.DataFrame(table(), columns=list("abcd"))
    codes = AutoencoderTransformer(**TINY).set_output(transform="pandas").fit(frame)
    found = codes.transform(frame)
    assert list(found.columns) == ["autoencodertransformer0", "autoencodertransformer1"]
    assert list(codes.feature_names_in_) == list("abcd")
    with pytest.raises(ValueError, match="feature names"):
        codes.transform(frame[list("dcba")])


def test_pipelines_columns_and_searches():
    frame = pd.DataFrame(table(60), columns=list("abcd"))
    y = np.arange(60) % 2
    columns = make_column_transformer(
        (AutoencoderTransformer(**TINY), ["a", "b", "c"]), remainder="passthrough"
    )
    assert columns.fit_transform(frame).shape == (60, 3)
    pipeline = make_pipeline(AutoencoderTransformer(**TINY), LogisticRegression())
    assert cross_val_score(pipeline, frame, y, cv=3).shape == (3,)
    options = [{"latent_dim": n, "network_options": {"units": ()}} for n in (1, 3)]
    search = GridSearchCV(pipeline, {"autoencodertransformer__model_options": options}, cv=2)
    assert search.fit(frame, y).best_estimator_[0].model_.latent_dim in (1, 3)
    search = GridSearchCV(AutoencoderTransformer(**TINY), {"model_options": options}, cv=2)
    assert search.fit(frame).best_score_ <= 0.0


@pytest.mark.parametrize("kind", [AutoencoderTransformer, AutoencoderImputer])
def test_fitted_estimators_are_pickled(kind):
    x = table()
    fitted = kind(**TINY).fit(x)
    stream = io.BytesIO()
    joblib.dump(fitted, stream)
    stream.seek(0)
    x[::2, 0] = np.nan if kind is AutoencoderImputer else 0.0
    for copy in (pickle.loads(pickle.dumps(fitted)), joblib.load(stream)):
        np.testing.assert_array_equal(copy.transform(x), fitted.transform(x))


# ------------------------------------------------------------------ the imputer


def with_missing(dtype="float64"):
    x = table().astype(dtype) + 1 / 3
    x[::2, 0] = x[1::3, 3] = x[5] = np.nan
    return x


def test_observed_entries_stay_as_they_are():
    x = with_missing()
    fitted = AutoencoderImputer(**TINY, num_samples=10)
    before = x.copy()
    found = fitted.fit_transform(x)
    np.testing.assert_array_equal(x, before)
    assert found.dtype == "float64" and not np.isnan(found).any()
    np.testing.assert_array_equal(found[~np.isnan(x)], x[~np.isnan(x)])
    np.testing.assert_array_equal(found, fitted.transform(x))


def test_draws_differ_from_call_to_call_and_not_from_run_to_run():
    x = with_missing()
    options = TINY | {"num_samples": 10, "sample_posterior": True}
    first, again = (AutoencoderImputer(**options).fit(x) for _ in range(2))
    draws = first.transform(x), first.transform(x)
    assert np.abs(draws[0] - draws[1]).max() > 0.1
    np.testing.assert_array_equal(draws[0], again.transform(x))


@pytest.mark.parametrize("keeps", [False, True])
def test_columns_without_an_entry_are_treated_as_by_scikit_learn(keeps):
    frame = pd.DataFrame(with_missing(), columns=list("abcd"))
    frame["b"] = np.nan
    theirs = SimpleImputer(keep_empty_features=keeps).set_output(transform="pandas")
    ours = AutoencoderImputer(**TINY, num_samples=4, keep_empty_features=keeps)
    ours.set_output(transform="pandas")
    if keeps:
        found, wanted = ours.fit_transform(frame), theirs.fit_transform(frame)
        assert (found["b"] == 0.0).all() and (wanted["b"] == 0.0).all()
    else:
        with pytest.warns(UserWarning, match="no entry of b is observed"):
            found = ours.fit_transform(frame)
        with pytest.warns(UserWarning, match="without any observed values"):
            wanted = theirs.fit_transform(frame)
    assert list(found.columns) == list(wanted.columns)
    with pytest.raises(ValueError, match="X has no observed entry"):
        ours.fit(np.full((20, 2), np.nan))


# ------------------------------------------------------------------ the classifier


def test_labels_of_any_kind():
    x = table()
    x[:20] += 4
    names = np.array(["big"] * 20 + ["small"] * 20, object)
    known = np.where(np.arange(40) % 2, names, -1)
    options = TINY | {"epochs": 60, "learning_rate": 0.02}
    fitted = AutoencoderClassifier(**options).fit(x, known)
    assert list(fitted.classes_) == ["big", "small"]
    assert np.mean(fitted.predict(x) == names) > 0.9
    with pytest.raises(ValueError, match="y is -1, unlabeled, for all 40"):
        fitted.fit(x, np.full(40, -1))


def test_no_class_loses_its_only_labels():
    y = np.full(200, -1)
    y[:2] = 0, 1
    fitted = AutoencoderClassifier(**TINY | {"epochs": 1, "validation_fraction": 0.9})
    assert list(fitted.fit(table(200), y).classes_) == [0, 1]
    held_out = fitted._choose_held_out(
        fitted.model_, {"x": table(200), "label": y}, np.random.RandomState(0)
    )
    assert held_out.sum() > 170 and not held_out[:2].any()


# ------------------------------------------------------------------ unknown classes, other codes


def test_text_that_swallowed_unknown_classes_is_refused():
    x, y = np.random.default_rng(0).normal(size=(8, 3)), np.array(["yes", "no"] * 3 + [-1, -1])
    with pytest.raises(ValueError, match="has become the class '-1'. Pass np.array"):
        AutoencoderClassifier(epochs=1).fit(x, y)


def test_the_accuracy_is_that_of_known_classes():
    x = np.random.default_rng(0).normal(size=(60, 4))
    truth = (x[:, 0] > 0).astype(int)
    classifier = AutoencoderClassifier(epochs=2, random_state=0).fit(x, truth)
    some = np.where(np.arange(60) % 3 == 0, truth, -1)
    assert classifier.score(x, some) == np.mean(classifier.predict(x)[::3] == truth[::3])
    with pytest.raises(ValueError, match="y is -1, unlabeled, for all"):
        classifier.score(x, np.full(60, -1))


def test_integer_codes_are_not_clustered():
    x = np.random.default_rng(0).normal(size=(30, 4))
    with pytest.raises(ValueError, match="'VQVAE' has integer codes"):
        AutoencoderClusterer("VQVAE", n_clusters=2, epochs=1).fit(x)


# ------------------------------------------------------------------ numbers that float32 loses


def test_numbers_that_float32_cannot_tell_apart_are_refused():
    x = np.random.default_rng(0).normal(size=(50, 3))
    x[:, 1] = 1.75e9 + np.arange(50)
    with pytest.raises(ValueError, match=r"column 1 of X has numbers about 1.75e\+09 that differ"):
        AutoencoderTransformer(epochs=1).fit(x)
    x[:, 1] = 1.75e9  # A constant loses nothing.
    AutoencoderTransformer(epochs=1).fit(x)
    AutoencoderTransformer(epochs=1).fit(1e6 + x[:, [0, 2]].astype("float32"))
