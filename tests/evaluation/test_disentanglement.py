"""Scores of disentanglement: what they must be for codes that are known."""

import functools

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from keras_ae import evaluation

pytestmark = pytest.mark.backend_free

SIZES = (3, 4, 5)


def factors(number=3000, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, size, number) for size in SIZES], axis=1)


def part(measure, name):
    return lambda codes, factors: measure(codes, factors)[name]


SCORES = {
    "mig": evaluation.mutual_information_gap,
    "disentanglement": part(evaluation.disentanglement_completeness, "disentanglement"),
    "completeness": part(evaluation.disentanglement_completeness, "completeness"),
    "dci accuracy": part(evaluation.disentanglement_completeness, "accuracy"),
    "sap": evaluation.separated_attribute_predictability,
    "modularity": part(evaluation.modularity_explicitness, "modularity"),
    "explicitness": part(evaluation.modularity_explicitness, "explicitness"),
    "irs": evaluation.interventional_robustness,
}
GUESSED = np.mean([1 / size for size in SIZES])
# Score -> its value for codes that are the factors, and for a constant code.
KNOWN = {
    "mig": (1.0, 0.0),
    "disentanglement": (1.0, 0.0),
    "completeness": (1.0, 0.0),
    "dci accuracy": (1.0, GUESSED),
    "sap": (1.0 - GUESSED, 0.0),
    "modularity": (1.0, 0.0),
    "explicitness": (1.0, 0.0),
    "irs": (1.0, 0.0),
}


@pytest.mark.parametrize("name", SCORES)
def test_the_factors_themselves_and_a_constant_code(name):
    table = factors()
    best, worst = KNOWN[name]
    assert SCORES[name](table, table) == pytest.approx(best, abs=0.15 if name == "sap" else 0.06)
    assert SCORES[name](np.zeros((len(table), 4)), table) == pytest.approx(worst, abs=0.04)


@pytest.mark.parametrize("name", ["disentanglement", "completeness"])
def test_ten_factors_themselves(name):
    """Every split of a tree chooses among all dimensions, and so none of the wrong ones."""
    rng = np.random.default_rng(1)
    table = np.stack([rng.integers(0, size, 1000) for size in range(2, 12)], axis=1)
    assert SCORES[name](table, table) > 0.97


@pytest.mark.parametrize("name", SCORES)
def test_neither_scale_nor_place_of_a_code_matters(name):
    table = factors(1000)
    # The last factor depends on the distance from the middle of the last dimension.
    codes = table + 0.1 * np.random.default_rng(1).normal(size=table.shape)
    table[:, 2] = abs(table[:, 2] - 2)
    wanted = SCORES[name](codes, table)
    assert SCORES[name](1e-4 * codes, table) == pytest.approx(wanted, abs=1e-6)
    assert SCORES[name](codes + 1e4, table) == pytest.approx(wanted, abs=1e-3)


def test_scale_does_not_matter_to_scores_of_chosen_factors_and_total_correlation():
    table = factors(1000)
    wanted = evaluation.gaussian_total_correlation(table)
    assert (
        evaluation.gaussian_total_correlation(1e-5 * table) == pytest.approx(wanted) and wanted > 0
    )
    for score in SCORE_BY_DRAWS.values():
        assert score(lambda x: 1e-5 * x, lambda f: f.astype(float), (8, 9, 10)) == 1.0


def test_a_constant_that_is_rounded_is_constant():
    """Codes in float32 that are equal up to rounding have no score."""
    noise = np.random.default_rng(0).normal(size=(1000, 3))
    codes = (1e4 + 1e-3 * noise).astype("float32")
    assert np.var(codes.astype(float)) > 1e-8
    assert SCORES["modularity"](codes, factors(1000)) == SCORES["irs"](codes, factors(1000)) == 0.0


def test_discrete_factors_with_many_values_are_not_divided_into_bins():
    table = np.random.default_rng(0).integers(0, 40, (4000, 2))
    assert max(evaluation.predict_factors(0.0 * table, table)) < 0.04  # Guessing has 1 / 40.
    # Within a bin of two values, the code would move.
    assert SCORES["irs"](table, table) == 1.0


def test_a_value_that_is_too_rare_to_learn():
    codes, table = np.random.default_rng(0).normal(size=(40, 2)), np.zeros((40, 1), int)
    table[np.argmax([_is_held_out(row) for row in range(40)])] = 1
    for name in ("sap", "explicitness", "dci accuracy"):
        with pytest.raises(ValueError, match="only one value in the 30 examples"):
            SCORES[name](codes, table)


def _is_held_out(row):
    return row in train_test_split(np.arange(40), test_size=0.25, random_state=0)[1]


def test_a_duplicated_code_has_no_gap():
    table = factors()
    assert evaluation.mutual_information_gap(np.tile(table, 2), table) == 0.0
    assert evaluation.separated_attribute_predictability(np.tile(table, 2), table) == 0.0


def test_a_rotation_is_entangled():
    table = factors()
    scaled = (table - table.mean(axis=0)) / table.std(axis=0)
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    for name in ("mig", "disentanglement", "completeness", "sap", "modularity", "irs"):
        assert SCORES[name](scaled @ rotation, table) < SCORES[name](scaled, table) - 0.1, name


def test_continuous_factors():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(2000, 2))
    codes = np.exp(table)[:, ::-1]  # A code may be any function of its factor.
    assert evaluation.mutual_information_gap(codes, table) > 0.95
    found = evaluation.disentanglement_completeness(codes, table)
    assert min(found.values()) > 0.95
    assert evaluation.separated_attribute_predictability(table, table) > 0.95


def test_an_outlier_moves_no_bins():
    table = factors()
    codes = table.astype(float) + 0.1 * np.random.default_rng(1).normal(size=table.shape)
    before = evaluation.mutual_information_gap(codes, table)
    codes[0] = 1e6
    assert evaluation.mutual_information_gap(codes, table) == pytest.approx(before, abs=0.01)


def test_the_gaussian_total_correlation():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(100_000, 2))
    z[:, 1] = 0.6 * z[:, 0] + 0.8 * z[:, 1]
    wanted = -0.5 * np.log(1 - 0.6**2)
    assert evaluation.gaussian_total_correlation(z) == pytest.approx(wanted, abs=0.01)
    assert evaluation.gaussian_total_correlation(z * [1.0, 0.0]) == 0.0
    assert evaluation.gaussian_total_correlation(z @ np.eye(2, 3)) >= 0.0
    for dependent in ([[1, 0, 1], [0, 1, 1]], [[1, 2], [0, 0]], [[1, 0, 3], [0, 1, -0.1]]):
        assert evaluation.gaussian_total_correlation(z @ np.array(dependent)) == np.inf
    with pytest.raises(ValueError, match="singular"):
        evaluation.gaussian_total_correlation(z[:2])


def test_the_ranking_prefers_models_that_agree():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(3000, 3))
    alike = [z[:, [1, 0, 2]] * [1, -1, 2], z, -z]
    rotated = z @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    ranks = evaluation.unsupervised_disentanglement_ranking([*alike, rotated])
    assert np.all(ranks[:3] > 0.85) and ranks[3] < 0.7
    constant = np.zeros_like(z)
    assert evaluation.unsupervised_disentanglement_ranking([constant, z])[0] == 0.0
    with pytest.raises(ValueError, match="1 model"):
        evaluation.unsupervised_disentanglement_ranking([z])


def test_predicted_factors():
    table = factors()
    found = evaluation.predict_factors(np.zeros((len(table), 2)), table)
    np.testing.assert_allclose(found, [1 / size for size in SIZES], atol=0.06)
    onehot = np.concatenate([np.eye(s)[f] for s, f in zip(SIZES, table.T, strict=True)], axis=1)
    np.testing.assert_array_equal(evaluation.predict_factors(onehot, table), 1.0)


SCORE_BY_DRAWS = {
    "beta": functools.partial(evaluation.beta_vae_score, num_train=300, num_test=100),
    "factor": functools.partial(evaluation.factor_vae_score, scale_batch=2000),
}


@pytest.mark.parametrize("name", SCORE_BY_DRAWS)
def test_scores_with_chosen_factors(name):
    score, sizes = SCORE_BY_DRAWS[name], (8, 9, 10)
    assert score(lambda x: x, lambda f: f.astype("float32"), sizes) == 1.0
    constant = score(lambda x: np.zeros((len(x), 4)), lambda f: f, sizes)
    assert constant == 0.0 if name == "factor" else constant < 0.5
    rng = np.random.default_rng(0)
    noise = score(lambda x: rng.normal(size=(len(x), 3)), lambda f: f, sizes)
    assert noise < 0.5


def test_dead_dimensions_do_not_vote():
    """A dimension that hardly varies has the least variance whatever factor is fixed."""

    def represent(x):
        return np.concatenate([x, 1e-3 * np.sin(x[:, :1])], axis=1)

    score = evaluation.factor_vae_score(represent, lambda f: f.astype(float), (8, 9, 10))
    assert score == 1.0


@pytest.mark.parametrize("name", SCORES)
def test_what_has_no_score(name):
    table = factors(100)
    with pytest.raises(ValueError, match="codes has 99, factors has 100"):
        SCORES[name](table[:99], table)
    with pytest.raises(ValueError, match="column 1 of factors has one value"):
        SCORES[name](table, table * [1, 0, 1])
    with pytest.raises(ValueError, match="codes holds NaN"):
        SCORES[name](table * np.nan, table)


@pytest.mark.parametrize("name", SCORE_BY_DRAWS)
def test_chosen_factors_that_cannot_be_told_apart(name):
    score = SCORE_BY_DRAWS[name]
    with pytest.raises(ValueError, match="sizes=.3, 1, 8. must"):
        score(lambda x: x, lambda f: f, (3, 1, 8))
    with pytest.raises(ValueError, match="one factor, which needs no telling"):
        score(lambda x: x, lambda f: f, (8,))
    with pytest.raises(ValueError, match="num_test=0 must be a positive integer"):
        score(lambda x: x, lambda f: f, (3, 8), num_test=0)
