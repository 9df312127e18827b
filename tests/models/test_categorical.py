"""Categorical codes: densities and divergences, and bounds against sums over all codes."""

import itertools
import math

import keras
import numpy as np
import pytest
import zoo
from keras import ops
from scipy import special, stats

from keras_ae import CategoricalVAE, JointVAE
from keras_ae.distributions import Categorical, GumbelSoftmax, MixedCode
from keras_ae.evaluation import clustering_accuracy
from keras_ae.schedules import LinearWarmUp

pytestmark = pytest.mark.formula

BATCH = {"batch_size": 16, "verbose": 0}
LOGITS = np.array([[0.3, -1.0, 0.8]], "float32")


def made(cls, rate=0.01, **given):
    model = cls(**{"network_options": {"units": (8,)}, "seed": 0} | given)
    model.compile(keras.optimizers.Adam(rate), **zoo.OP_BY_OP)
    return model


def numpy(tensor):
    return ops.convert_to_numpy(tensor).astype("float64")


# ---------------------------------------------------------------------- distributions


def test_the_divergence_is_log_k_minus_the_entropy():
    logits = np.random.default_rng(0).normal(size=(5, 2, 4)).astype("float32")
    logits[0, 0] = [0.0, -200.0, -200.0, -np.inf]
    entropy = stats.entropy(special.softmax(logits.astype("float64"), axis=-1), axis=-1)
    q = Categorical(logits)
    wanted = math.log(4) - entropy
    np.testing.assert_allclose(q.kl_per_variable(), wanted, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(q.kl(), wanted.sum(axis=1), rtol=1e-4)
    assert float(q.kl_per_variable()[0, 0]) == pytest.approx(math.log(4))
    assert float(Categorical(np.zeros((1, 2, 4))).kl()[0]) == pytest.approx(0.0, abs=1e-6)


def test_the_gradient_of_the_divergence_is_its_slope():
    found = zoo.gradient(lambda v: Categorical(v).kl(), LOGITS)
    p = special.softmax(LOGITS.astype("float64"))
    wanted = p * (np.log(p) - (p * np.log(p)).sum())
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
    sure = np.array([[0.0, -500.0, -500.0]], "float32")
    assert np.all(np.isfinite(zoo.gradient(lambda v: Categorical(v).kl(), sure)))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_the_density_of_relaxed_draws_integrates_to_one(temperature):
    # With x = softmax(u, v, 0), the volume of du dv is x_1 x_2 x_3 times smaller.
    u, step = np.linspace(-30.0, 30.0, 301, retstep=True)
    u = np.stack([*np.meshgrid(u, u), np.zeros((301, 301))], axis=-1).reshape(-1, 3)
    x = np.maximum(special.softmax(u, axis=1), 1e-36).astype("float32")
    q = GumbelSoftmax(np.repeat(LOGITS, len(x), axis=0), temperature)
    log_density = numpy(q.log_prob(x)) + np.log(x).sum(axis=1)
    assert np.exp(log_density).sum() * step**2 == pytest.approx(1.0, abs=1e-3)


def test_relaxed_draws_have_their_density_and_the_largest_number_that_of_the_choice():
    temperature, number = 0.7, 100_000
    q = GumbelSoftmax(np.repeat(LOGITS[:, :2], number, axis=0), temperature)
    x = numpy(q.sample(seed=0))
    np.testing.assert_allclose(x.sum(axis=1), 1.0, rtol=1e-5)
    # With two classes, the log-odds of a draw are logistic around those of the choice.
    odds = (np.log(x[:, 0]) - np.log(x[:, 1])) * temperature
    wanted = stats.logistic(loc=float(LOGITS[0, 0] - LOGITS[0, 1]))
    assert stats.kstest(odds[:10_000], wanted.cdf).pvalue > 1e-3
    odds = odds[:100]
    jacobian = np.log(x[:100]).sum(axis=1)  # Of the log-odds, by the first number.
    density = wanted.logpdf(odds) + math.log(temperature) - jacobian
    first = GumbelSoftmax(np.repeat(LOGITS[:, :2], 100, axis=0), temperature)
    np.testing.assert_allclose(first.log_prob(x[:100]), density, rtol=1e-3, atol=1e-3)
    q = GumbelSoftmax(np.repeat(LOGITS, number, axis=0), temperature)
    shares = np.bincount(numpy(q.sample(seed=1)).argmax(axis=1)) / number
    np.testing.assert_allclose(shares, special.softmax(LOGITS)[0], atol=0.006)


def test_straight_through_draws_are_one_hot_with_the_relaxed_gradient():
    logits = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
    weights = np.arange(18, dtype="float32").reshape(6, 3)
    x = numpy(GumbelSoftmax(logits, 0.7).sample_straight_through(seed=0))
    np.testing.assert_allclose(x, np.eye(3)[x.argmax(axis=1)], atol=1e-6)

    def gradient(method):
        return zoo.gradient(
            lambda v: ops.sum(
                ops.convert_to_tensor(weights) * getattr(GumbelSoftmax(v, 0.7), method)(0), axis=1
            ),
            logits,
        )

    found = gradient("sample_straight_through")
    assert np.abs(found).max() > 0.1
    np.testing.assert_allclose(found, gradient("sample"), rtol=1e-4, atol=1e-6)


def test_a_mixed_code_joins_its_parts():
    rng = np.random.default_rng(0)
    means, log_variances = rng.normal(size=(2, 5, 2))
    logits = rng.normal(size=(5, 3))
    q = MixedCode(means, log_variances, logits)
    x = numpy(q.sample(seed=0))
    assert np.all(x[:, 2:].sum(axis=1) == 1.0) and np.all(x[:, 2:].max(axis=1) == 1.0)
    wanted = stats.norm.logpdf(x[:, :2], means, np.exp(0.5 * log_variances)).sum(axis=1)
    wanted += (x[:, 2:] * np.log(special.softmax(logits, axis=1))).sum(axis=1)
    np.testing.assert_allclose(q.log_prob(x), wanted, rtol=1e-4)
    np.testing.assert_allclose(q.mean[:, 2:], special.softmax(logits, axis=1), rtol=1e-4)
    repeated = numpy(q.repeat(20_000).sample(seed=1)).reshape(5, 20_000, 5)
    np.testing.assert_allclose(repeated.mean(axis=1), numpy(q.mean), atol=0.06)
    # The choice does not depend on the numbers.
    each = np.array([np.corrcoef(rows[:, 0], rows[:, 2])[0, 1] for rows in repeated])
    assert np.abs(each).max() < 0.03


# ---------------------------------------------------------------------- CategoricalVAE

# All codes of ten choices between two categories.
CODES = np.eye(2, dtype="float32")[list(itertools.product([0, 1], repeat=10))]


def enumerate_codes(model, x, logits):
    """Compute log p(x) and the bound of one example by sums over all codes.

    Args:
        model: A model of ten choices between two categories.
        x: Array of shape (1, 6).
        logits: Tensor of shape (1, 10, 2), those of the posterior.

    Returns:
        log p(x) and the bound, tensors of shape (1,).
    """
    log_likelihood = model.conditional(ops.convert_to_tensor(CODES)).log_prob(
        np.repeat(x, len(CODES), axis=0)
    )
    log_q = ops.sum(ops.convert_to_tensor(CODES) * ops.log_softmax(logits, axis=-1), axis=(1, 2))
    log_joint = log_likelihood - 10 * math.log(2)
    bound = ops.sum(ops.exp(log_q) * (log_joint - log_q))
    return ops.reshape(ops.logsumexp(log_joint), (1,)), ops.reshape(bound, (1,))


@pytest.fixture(scope="module")
def ten_choices():
    model = made(CategoricalVAE, latent_dim=10, num_categories=2, rate=0.02)
    model.fit(zoo.data(), epochs=15, **BATCH)
    return model


def test_bound_and_likelihood_are_those_of_all_1024_codes(ten_choices):
    model, x = ten_choices, zoo.data()[:3]
    logits = model.posterior(ops.convert_to_tensor(x)).logits
    parts = [enumerate_codes(model, x[i : i + 1], logits[i : i + 1]) for i in range(3)]
    exact, bounds = (np.array([numpy(part[k])[0] for part in parts]) for k in (0, 1))
    found = model.log_likelihood(x, num_samples=4000, seed=0)
    np.testing.assert_allclose(found, exact, atol=0.05)
    logs = model.evaluate(np.repeat(x, 2000, axis=0), batch_size=6000, return_dict=True, verbose=0)
    bound = -logs["reconstruction_loss"] - logs["kl_loss"]
    assert bound == pytest.approx(bounds.mean(), abs=0.05)
    assert np.all(bounds < exact)
    divergence = numpy(model.posterior(ops.convert_to_tensor(x)).kl())
    assert logs["kl_loss"] == pytest.approx(divergence.mean(), rel=1e-3)


def test_the_gradient_at_a_low_temperature_is_that_of_all_1024_codes(ten_choices):
    model, x, number = ten_choices, zoo.data()[:1], 20_000
    logits = np.random.default_rng(0).normal(size=(1, 10, 2)).astype("float32")
    exact = zoo.gradient(lambda v: enumerate_codes(model, x, v)[1], logits)

    def estimate(values):
        q = GumbelSoftmax(ops.repeat(values, number, axis=0), 0.1)
        p = model.conditional(q.sample(0))
        divergence = ops.sum(Categorical(values).kl())
        return ops.mean(p.log_prob(np.repeat(x, number, axis=0))) - divergence

    found = zoo.gradient(estimate, logits)
    assert np.linalg.norm(exact) > 0.05
    assert np.linalg.norm(found - exact) < 0.15 * np.linalg.norm(exact)


def test_training_reads_relaxed_draws_and_evaluation_one_hot_ones(monkeypatch):
    for straight_through in (False, True):
        model = made(CategoricalVAE, latent_dim=3, num_categories=4, rate=0.0)
        model.straight_through = straight_through
        model.build((None, 6))
        seen, conditional = [], model.conditional

        def note(z, training=False, seen=seen, conditional=conditional):
            seen.append(z)
            return conditional(z, training)

        monkeypatch.setattr(model, "conditional", note)
        x = ops.convert_to_tensor(zoo.data()[:16])
        for training in (True, False):
            model.loss_terms(x, x, training)
        sure = [numpy(ops.max(z, axis=-1)).min() > 1.0 - 1e-5 for z in seen]
        assert sure == [straight_through, True]
        assert seen[0].shape == (16, 3, 4)


def test_the_temperature_falls_as_the_schedule_says(monkeypatch):
    found = []

    class Note(GumbelSoftmax):
        def __post_init__(self):
            super().__post_init__()
            found.append(float(self.temperature))

    monkeypatch.setattr("keras_ae.models.variational.categorical_vae.GumbelSoftmax", Note)
    x = ops.convert_to_tensor(zoo.data()[:4])
    for given in ({}, {"temperature": 0.3}, {"temperature": LinearWarmUp(10, start=2.0)}):
        model = made(CategoricalVAE, **given)
        model.build((None, 6))
        for step in (0, 5):
            model._step.assign(step)
            model.loss_terms(x, x, True)
    assert found == pytest.approx([1.0, 0.9995, 0.3, 0.3, 2.0, 1.5])


def test_codes_have_one_row_for_each_choice():
    model, x = made(CategoricalVAE, latent_dim=3, num_categories=4), zoo.data()
    model.fit(x, **BATCH)
    z = model.encode(x)
    assert z.shape == (48, 3, 4) and model.code_shape == (3, 4)
    np.testing.assert_allclose(z.sum(axis=-1), 1.0, rtol=1e-5)
    drawn = model.encode(x, sample=True, seed=0)
    assert np.all(drawn.max(axis=-1) == 1.0) and np.all(drawn.sum(axis=-1) == 1.0)


# ---------------------------------------------------------------------- JointVAE


def test_the_loss_is_equation_7():
    given = {"gamma": 3.0, "continuous_capacity": 0.4, "discrete_capacity": 0.9}
    model, x = made(JointVAE, latent_dim=2, num_categories=4, **given), zoo.data()
    model.fit(x, epochs=10, **BATCH)
    logs = model.evaluate(x, return_dict=True, **BATCH)
    q = model.posterior(ops.convert_to_tensor(x))
    mean, variance = numpy(q.means), np.exp(numpy(q.log_variances))
    continuous = 0.5 * (mean**2 + variance - 1.0 - np.log(variance)).sum(axis=1)
    discrete = math.log(4) - stats.entropy(model.cluster_probabilities(x), axis=1)
    wanted = {
        "continuous_kl_loss": continuous.mean(),
        "discrete_kl_loss": discrete.mean(),
        "kl_loss": (continuous + discrete).mean(),
        "capacity_loss": (np.abs(continuous - 0.4) + np.abs(discrete - 0.9)).mean(),
    }
    for name, value in wanted.items():
        assert logs[name] == pytest.approx(value, rel=1e-3), name
    total = logs["reconstruction_loss"] + 3.0 * wanted["capacity_loss"]
    assert logs["loss"] == pytest.approx(total, rel=1e-3)


def test_capacities_rise_and_that_of_the_choice_stops_at_log_k():
    for given in ({}, {"discrete_capacity": LinearWarmUp(1000, end=100.0)}):
        model = made(JointVAE, num_categories=4, **given)
        model.build((None, 6))
        found = []
        for step in (0, 10, 5000):
            model._step.assign(step)
            found.append([float(value) for value in model._capacities()])
        assert found[0] == [0.0, 0.0] and found[1][0] == pytest.approx(0.1)
        assert found[2] == pytest.approx([5.0, math.log(4)])
        assert found[1][1] == pytest.approx(1.0 if given else 0.02 * math.log(4))


def test_a_capacity_that_the_choice_cannot_hold_is_refused():
    assert JointVAE(num_categories=4, discrete_capacity=math.log(4)).discrete_capacity > 1.38
    message = r"discrete_capacity=1.5 must be a number from 0 to 1.38.*A choice among 4 categories"
    with pytest.raises(ValueError, match=message):
        JointVAE(num_categories=4, discrete_capacity=1.5)
    model = made(JointVAE, num_categories=4, discrete_capacity=0.5)
    with pytest.raises(ValueError, match=message):
        model.discrete_capacity = 1.5


def test_arguments_out_of_range_are_refused():
    for cls in (CategoricalVAE, JointVAE):
        with pytest.raises(ValueError, match=r"num_categories=1 must be an integer of at least 2"):
            cls(num_categories=1)
        with pytest.raises(ValueError, match=r"temperature=0 must be a positive number"):
            cls(temperature=0)
    with pytest.raises(ValueError, match="free_bits=0.1 has no effect"):
        JointVAE(free_bits=0.1)


def test_the_bound_of_the_joint_code_is_below_the_sum_over_choices_and_the_integral():
    model, x = made(JointVAE, latent_dim=1, num_categories=3), zoo.data()
    model.fit(x, epochs=4, **BATCH)
    z, step = np.linspace(-8.0, 8.0, 801, retstep=True, dtype="float32")
    parts = []
    for choice in np.eye(3, dtype="float32"):
        codes = np.concatenate([z[:, None], np.tile(choice, (len(z), 1))], axis=1)
        p = np.clip(model.decode(codes).astype("float64"), 1e-9, 1 - 1e-9)
        log_p = x @ np.log(p).T + (1 - x) @ np.log1p(-p).T
        parts.append(log_p + stats.norm.logpdf(z) + np.log(step) - math.log(3))
    exact = special.logsumexp(np.concatenate(parts, axis=1), axis=1)
    found = model.log_likelihood(x, num_samples=2000, seed=0)
    np.testing.assert_allclose(found, exact, atol=0.1)
    logs = model.evaluate(np.tile(x, (100, 1)), batch_size=4800, return_dict=True, verbose=0)
    assert -logs["reconstruction_loss"] - logs["kl_loss"] < exact.mean()


def test_a_choice_finds_the_group():
    group = np.arange(192) % 2
    flips = np.random.default_rng(0).random((192, 8)) < 0.05
    x = (np.repeat(np.eye(2)[group], 4, axis=1).astype(bool) ^ flips).astype("float32")
    rise = LinearWarmUp(200, end=math.log(2))
    given = {"gamma": 2.0, "continuous_capacity": 0.0, "discrete_capacity": rise}
    model = made(JointVAE, latent_dim=1, num_categories=2, **given)
    model.fit(x, epochs=20, **BATCH)
    assert model.cluster(x).dtype == "int32"
    assert clustering_accuracy(model.cluster(x), group) > 0.95
