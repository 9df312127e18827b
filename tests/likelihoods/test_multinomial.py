"""The multinomial distribution and likelihood, against SciPy and by counting."""

import itertools

import keras
import numpy as np
import pytest
import zoo
from keras import ops
from scipy import stats

import keras_ae
from keras_ae import likelihoods
from keras_ae.distributions import Multinomial

PROBABILITIES = np.array([[0.1, 0.2, 0.3, 0.4], [0.7, 0.1, 0.1, 0.1]])


def counts(number=64, total=20, kinds=6, seed=0):
    rng = np.random.default_rng(seed)
    return np.stack([rng.multinomial(total, p) for p in rng.dirichlet(np.ones(kinds), number)])


def vae(likelihood="multinomial", **given):
    model = keras_ae.VAE(2, likelihood=likelihood, network_options={"units": (8,)}, seed=0, **given)
    model.compile(keras.optimizers.Adam(0.01), **zoo.OP_BY_OP)
    return model


def test_the_log_probability_is_that_of_scipy():
    x = np.array([[1, 0, 2, 5], [200, 30, 0, 1]])
    found = Multinomial(np.log(PROBABILITIES) + 3.0).log_prob(x.astype("float32"))
    pairs = zip(x, PROBABILITIES, strict=True)
    wanted = [stats.multinomial.logpmf(row, row.sum(), p) for row, p in pairs]
    np.testing.assert_allclose(ops.convert_to_numpy(found), wanted, rtol=1e-4)


def test_the_probabilities_of_all_counts_of_a_total_add_up_to_one():
    rows = [c for c in itertools.product(range(6), repeat=3) if sum(c) == 5]
    logits = np.tile([[0.3, -1.0, 0.0]], (len(rows), 1))
    logs = Multinomial(logits).log_prob(np.array(rows, "float32"))
    assert np.exp(ops.convert_to_numpy(logs)).sum() == pytest.approx(1.0, abs=1e-5)


def test_nothing_counted_has_probability_one_and_impossible_kinds_none():
    logits = np.array([[0.0, -np.inf]] * 2, "float32")
    found = ops.convert_to_numpy(Multinomial(logits).log_prob(np.array([[0, 0], [3, 0]])))
    np.testing.assert_allclose(found, [0.0, 0.0], atol=1e-6)
    assert ops.convert_to_numpy(Multinomial(logits).log_prob(np.ones((2, 2))))[0] == -np.inf


def test_draws_have_the_total_and_the_moments():
    total, number = 7, 4000
    p = Multinomial(np.log(np.repeat(PROBABILITIES[:1], number, axis=0)), total)
    drawn = zoo.compute(lambda: p.sample(seed=1))
    assert drawn.shape == (number, 4) and drawn.dtype == "float32"
    np.testing.assert_array_equal(drawn.sum(axis=1), total)
    reference = stats.multinomial(total, PROBABILITIES[0])
    np.testing.assert_allclose(drawn.mean(axis=0), total * PROBABILITIES[0], atol=0.08)
    np.testing.assert_allclose(np.cov(drawn.T), reference.cov(), atol=0.12)
    np.testing.assert_allclose(ops.convert_to_numpy(p.mean)[0], total * PROBABILITIES[0], rtol=1e-5)


def test_a_kind_without_probability_is_never_drawn():
    p = Multinomial(np.tile([[-200.0, 0.0, -200.0, 0.0]], (500, 1)), total=3)
    assert not zoo.compute(lambda: p.sample(seed=0))[:, ::2].any()


def test_seeds_repeat():
    p = Multinomial(np.zeros((50, 5)), 4)
    first, again, other = (zoo.compute(lambda s=s: p.sample(seed=s)) for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    generator = keras.random.SeedGenerator(0)
    drawn = [ops.convert_to_numpy(p.sample(generator)) for _ in range(2)]
    assert not np.array_equal(*drawn)


def test_the_gradient_is_counts_minus_their_expectation():
    logits = np.array([[0.5, -0.2, 1.0]], "float32")
    x = np.array([[4.0, 1.0, 3.0]], "float32")
    found = zoo.gradient(lambda value: Multinomial(value).log_prob(x), logits)
    share = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(found, x - x.sum() * share, atol=1e-5)


# ------------------------------------------------------------------ the likelihood


def test_decoded_examples_have_the_mean_total_of_the_training_data():
    x = np.concatenate([counts(32, 10), counts(32, 31)])
    model = vae()
    model.fit(x, batch_size=16, epochs=3, verbose=0)
    decoded = model.decode(model.encode(x))
    total = float(ops.convert_to_numpy(ops.convert_to_tensor(model.likelihood.mean_total)))
    assert total == pytest.approx(x.sum(axis=1).mean(), abs=1e-3)
    np.testing.assert_allclose(decoded.sum(axis=1), round(total), rtol=1e-5)
    drawn = model.decode(model.encode(x), sample=True, seed=0)
    np.testing.assert_array_equal(drawn.sum(axis=1), round(total))


def test_a_total_of_one_makes_decoded_examples_probabilities():
    model = vae(likelihoods.Multinomial(total=1))
    model.fit(counts(), verbose=0)
    np.testing.assert_allclose(model.reconstruct(counts()).sum(axis=1), 1.0, rtol=1e-5)
    with pytest.raises(ValueError, match="total=0"):
        likelihoods.Multinomial(total=0)


def test_the_likelihood_of_a_constant_decoder_is_exact():
    x = counts()
    model = vae()
    model.build((None, x.shape[1]))
    for variable in model.decoder.variables:
        variable.assign(np.zeros(variable.shape))
    found = model.log_likelihood(x, num_samples=4, seed=0)
    wanted = stats.multinomial.logpmf(x, 20, np.full(6, 1 / 6))
    # Without an influence of the code, importance weights average to 1 only in expectation.
    for variable in model.features_to_code.variables:
        variable.assign(np.zeros(variable.shape))
    found = model.log_likelihood(x, num_samples=4, seed=0)
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


@pytest.mark.parametrize("wrong, words", [(-1.0, "values from 0 on"), (0.5, "such as 0.5.*counts")])
def test_what_is_no_count_is_refused(wrong, words):
    x = counts().astype("float32")
    model = vae()
    model.fit(x, verbose=0)
    x[5, 2] = wrong
    for call in (model.fit, model.encode, model.evaluate, model.log_likelihood):
        with pytest.raises(ValueError, match=words):
            call(x, verbose=0)


def test_other_data_than_vectors_is_refused():
    model = vae()
    with pytest.raises(ValueError, match=r"x has examples of shape \(4, 4, 1\).*\(batch, kinds\)"):
        model.fit(np.ones((8, 4, 4, 1)), verbose=0)
    model.fit(counts(), verbose=0)  # Nothing is left of the data that was refused.
    with pytest.raises(ValueError, match="standardize=True gives the data mean 0"):
        vae(standardize=True).fit(counts(), verbose=0)


def test_a_modality_may_be_counts():
    x = {"words": counts().astype("float32"), "kind": np.eye(3, dtype="float32")[np.arange(64) % 3]}
    x["words"][::5] = np.nan
    modalities = {"words": "multinomial", "kind": "categorical"}
    model = keras_ae.MultimodalVAE(2, modalities, network_options={"units": (4,)}, seed=0)
    model.compile("adam", **zoo.OP_BY_OP)
    model.fit(x, verbose=0)
    assert model.reconstruct(x)["words"].shape == (64, 6)
    x["words"][1, 0] = 0.5
    with pytest.raises(ValueError, match=r"x\['words'\] has values such as 0.5"):
        model.fit(x, verbose=0)
