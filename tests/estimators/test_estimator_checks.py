"""scikit-learn's own checks of estimators, which every estimator passes on every backend."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from keras_ae import estimators
from keras_ae.estimators import trainers

TINY = {
    "model_options": {"latent_dim": 2, "network_options": {"units": ()}},
    "epochs": 4,
    "batch_size": 10,
    "learning_rate": 0.02,
    "validation_fraction": 0.0,
    "random_state": 0,
}
ESTIMATORS = [
    estimators.AutoencoderTransformer("AE", **TINY),
    estimators.AutoencoderClusterer("AE", **TINY),
    estimators.AutoencoderImputer(num_samples=4, **TINY),
    estimators.AutoencoderClassifier(**TINY),
    estimators.AnomalyDetector(trim=0.0, **TINY),
]
EXPECTED = {
    "AutoencoderClassifier": {
        "check_classifiers_classes": "it trains on the classes -1 and 1, and -1 is unlabeled",
    }
}


@pytest.fixture(autouse=True, scope="module")
def many_stand_ins():
    """Keep the programs for all shapes of the data in these checks."""
    before, trainers._MOST_STAND_INS = trainers._MOST_STAND_INS, 100
    yield
    trainers._MOST_STAND_INS = before
    trainers._stand_ins.clear()


def expected_failures(estimator):
    return EXPECTED.get(type(estimator).__name__, {})


def name_of(check):
    return getattr(check, "func", check).__name__


@pytest.mark.costly
@pytest.mark.xdist_group("estimator checks")
@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failures, xfail_strict=True)
def test_the_checks_of_scikit_learn(estimator, check):
    check(estimator)
