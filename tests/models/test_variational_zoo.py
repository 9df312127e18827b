"""What the variational models minimize: closed forms, NumPy sums, and their VAE as a limit."""

import json

import keras
import numpy as np
import pytest
import zoo
from keras import ops
from scipy.special import expit, logsumexp
from scipy.stats import norm

import keras_ae
from keras_ae.core import examples

pytestmark = pytest.mark.formula

WIDTH = 6
QUIET = {"verbose": 0, "return_dict": True}


def built(name, **given):
    model = zoo.eager(name, keras.optimizers.SGD(0.0), **given)
    model.build((None, WIDTH))
    return model


def with_weights_of(model, other):
    """Copy the weights of another model's networks, and return the model."""
    for part in ("encoder", "features_to_code", "decoder"):
        pairs = zip(getattr(model, part).variables, getattr(other, part).variables, strict=True)
        for variable, value in pairs:
            # If a posterior has more parameters, the Gaussian's come first.
            value = value.numpy()
            missing = variable.shape[-1] - value.shape[-1]
            variable.assign(np.pad(value, [(0, 0)] * (value.ndim - 1) + [(0, missing)]))
    return model


def evaluated(model, x, batch_size=16):
    return model.evaluate(x, batch_size=batch_size, **QUIET)


class Fixed(keras.random.SeedGenerator):
    """Gives the same seed to every step of every model."""

    def __init__(self):
        super().__init__(0)

    def next(self, ordered=True):
        return np.array([3, 5]).astype(keras_ae.core.backend.SEED_DTYPE)


def one_draw(model, x):
    """Return posterior, code and log-densities of a step's draw under `Fixed`, by NumPy."""
    q = model.posterior(ops.convert_to_tensor(x))
    z = ops.convert_to_numpy(q.sample(Fixed()))
    mean, log_variance = (ops.convert_to_numpy(v) for v in (q.mean, q.log_variance))
    logits = ops.convert_to_numpy(model.decoder(z))
    log_likelihood = np.sum(x * np.log(expit(logits)) + (1 - x) * np.log(expit(-logits)), axis=1)
    log_posterior = norm.logpdf(z, mean, np.exp(0.5 * log_variance))  # (batch, latent_dim)
    return mean, log_variance, z, log_likelihood, log_posterior, norm.logpdf(z)


def terms_of(model, x, training=False):
    """Return the model's loss terms of one batch under `Fixed`, as arrays."""
    object.__setattr__(model, "step_seed", lambda training: Fixed())
    x = ops.convert_to_tensor(x)
    return {k: ops.convert_to_numpy(v) for k, v in model.loss_terms(x, x, training).items()}


# ------------------------------------------------------------------ with the novelty switched off

# Name -> (arguments with which the model is a VAE, whether its divergence is then the closed form
# or the estimate from the draw).
SWITCHED_OFF = {
    "BetaVAE": ({"beta": 1.0}, "closed"),
    "FactorVAE": ({"gamma": 0.0}, "closed"),
    "AnnealedVAE": ({"gamma": 1.0, "capacity": 0.0}, "closed"),
    "BetaTCVAE": ({"alpha": 1.0, "beta": 1.0, "gamma": 1.0}, "closed"),
    "DIPVAE": ({"off_diagonal_weight": 0.0}, "closed"),
    "InfoVAE": ({"alpha": 0.0, "scale": 1.0}, "closed"),
    "IWAE": ({"num_samples": 1}, "drawn"),
    "MIWAE": ({"num_samples": 1, "num_bounds": 1}, "drawn"),
    "PIWAE": ({"num_samples": 1, "num_bounds": 1}, "drawn"),
    "CIWAE": ({"num_samples": 1, "beta": 0.3}, "drawn"),
    "VampVAE": ({"num_components": 1}, "drawn"),
    "FlowVAE": ({"num_flows": 0}, "closed"),
    "IAFVAE": ({"num_flows": 0}, "closed"),
    "HamiltonianVAE": ({"num_steps": 0}, "closed"),
    "RiemannianHamiltonianVAE": ({"num_steps": 0}, "closed"),
}


@pytest.mark.every_backend
@pytest.mark.parametrize("name", SWITCHED_OFF)
def test_switched_off_it_is_a_vae(name):
    given, divergence = SWITCHED_OFF[name]
    plain = built("VAE")
    model = with_weights_of(built(name, **given), plain)
    if name == "VampVAE":  # This makes the prior, one posterior, a standard normal.
        model.pseudo_inputs.assign(np.zeros((1, WIDTH)))
        for part in (plain, model):
            kernel, _ = part.features_to_code.trainable_variables
            np.testing.assert_array_equal(part.encode(np.zeros((1, WIDTH), "float32")), 0.0)
    x = zoo.data(16)
    terms, expected = terms_of(model, x), terms_of(plain, x)
    if divergence == "drawn":
        *_, log_posterior, log_prior = one_draw(plain, x)
        expected["kl_loss"] = np.sum(log_posterior - log_prior, axis=1)
    weights = {k: float(v) for k, v in model.loss_weights().items()}
    total = sum(weights.get(term, 1.0) * np.mean(terms[term]) for term in model.objective)
    assert total == pytest.approx(sum(np.mean(v) for v in expected.values()), abs=1e-5)


# ------------------------------------------------------------------ bounds


def bound_of(model, logs):
    """Return the tightest lower bound in the logs, in nats."""
    bounds = [logs[name] for name in ("iwae_loss", "miwae_loss", "ciwae_loss") if name in logs]
    elbo = logs["reconstruction_loss"] + logs["kl_loss"] + logs.get("label_loss", 0.0)
    return -min([elbo, *bounds])


@pytest.mark.parametrize("name", zoo.VARIATIONAL)
def test_every_reported_bound_lies_below_the_likelihood(name):
    model, copies = zoo.trained(name), zoo.data_for(name)
    x = examples.map_leaves(lambda v: np.concatenate([v] * 10), copies)
    logs = model.evaluate(x, batch_size=48, **QUIET)
    likelihood = model.log_likelihood(copies, num_samples=1000, seed=0).mean()
    # The bound is an average of 480 draws, with a standard error of up to 0.03 nats.
    assert bound_of(model, logs) < likelihood + 0.08
    assert bound_of(model, logs) > likelihood - 5.0


# ------------------------------------------------------------------ importance-weighted bounds


def log_weights(model, x, num_samples):
    """Return the log-weights (batch, num_samples) of a step's draws under `Fixed`, by NumPy."""
    q = model.posterior(ops.convert_to_tensor(x))
    z = ops.convert_to_numpy(q.repeat(num_samples).sample(Fixed()))
    mean, log_variance = (ops.convert_to_numpy(v) for v in (q.mean, q.log_variance))
    mean, log_variance = (np.repeat(v, num_samples, axis=0) for v in (mean, log_variance))
    logits = ops.convert_to_numpy(model.decoder(z))
    x = np.repeat(x, num_samples, axis=0)
    values = np.sum(x * np.log(expit(logits)) + (1 - x) * np.log(expit(-logits)), axis=1)
    values += np.sum(norm.logpdf(z) - norm.logpdf(z, mean, np.exp(0.5 * log_variance)), axis=1)
    return values.reshape(-1, num_samples)


def log_mean_exp(values):
    return logsumexp(values, axis=-1) - np.log(values.shape[-1])


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("estimator", ["iwae", "stl", "dreg"])
def test_the_loss_is_the_bound_whatever_the_estimator(estimator, training):
    model = built("IWAE", num_samples=4, estimator=estimator)
    x = zoo.data(16)
    terms, weights = terms_of(model, x, training), log_weights(model, x, 4)
    np.testing.assert_allclose(terms["iwae_loss"], -log_mean_exp(weights), rtol=1e-4)
    if estimator == "dreg":
        np.testing.assert_allclose(terms["dreg_loss"], terms["iwae_loss"], rtol=1e-5)
    one_sample = terms["reconstruction_loss"] + terms["kl_loss"]
    np.testing.assert_allclose(one_sample, -weights.mean(axis=1), rtol=1e-4)
    assert set(terms) == set(model._trackers)


def test_averaged_and_combined_bounds_by_hand():
    x = zoo.data(16)
    miwae = built("MIWAE", num_bounds=2, num_samples=3)
    weights = log_weights(miwae, x, 6)
    averaged = log_mean_exp(weights.reshape(16, 2, 3)).mean(axis=1)
    np.testing.assert_allclose(terms_of(miwae, x)["miwae_loss"], -averaged, rtol=1e-4)

    piwae = with_weights_of(built("PIWAE", num_bounds=2, num_samples=3), miwae)
    terms = terms_of(piwae, x)
    np.testing.assert_allclose(terms["miwae_loss"], -averaged, rtol=1e-4)
    np.testing.assert_allclose(terms["iwae_loss"], -log_mean_exp(weights), rtol=1e-4)

    ciwae = with_weights_of(built("CIWAE", num_samples=6, beta=0.3), miwae)
    mixed = 0.3 * weights.mean(axis=1) + 0.7 * log_mean_exp(weights)
    np.testing.assert_allclose(terms_of(ciwae, x)["ciwae_loss"], -mixed, rtol=1e-4)


def gradients(model, x):
    """Return every weight's mean gradient over many draws, and its standard error."""
    batch = np.repeat(x, 1000, axis=0)
    before = [v.numpy() for v in model.trainable_variables]
    rows = []
    for _ in range(12):
        model.train_on_batch(batch)
        moves = [b - v.numpy() for b, v in zip(before, model.trainable_variables, strict=True)]
        rows.append(np.concatenate([move.ravel() for move in moves]))
        for variable, value in zip(model.trainable_variables, before, strict=True):
            variable.assign(value)
    return np.mean(rows, axis=0), np.std(rows, axis=0) / np.sqrt(len(rows))


@pytest.mark.parametrize(
    ("num_samples", "estimator"), [(4, "dreg"), (1, "dreg"), (1, "stl")], ids=str
)
def test_the_estimators_agree_in_expectation(num_samples, estimator):
    """With one sample this also holds without the score, whose expectation is 0."""
    found = {}
    for kind in ("iwae", estimator):
        model = zoo.compiled(
            "IWAE", keras.optimizers.SGD(1.0), num_samples=num_samples, estimator=kind
        )
        model.build((None, WIDTH))
        found[kind] = gradients(model, zoo.data(4))
    (reference, width), (mean, error) = found.values()
    assert np.abs(reference).max() > 0.02
    assert not np.array_equal(reference, mean)
    tolerance = 5 * np.sqrt(error**2 + width**2) + 1e-4
    assert np.mean(np.abs(mean - reference) < tolerance) > 0.99


def encoder_gradient(model, x):
    """Return the gradient of what the encoder minimizes, from its weights after one step."""
    model.build((None, WIDTH))
    parts = (model.encoder, model.features_to_code)
    before = [v.numpy() for part in parts for v in part.trainable_variables]
    model.train_on_batch(x)
    after = [v.numpy() for part in parts for v in part.trainable_variables]
    return np.concatenate([(b - a).ravel() for b, a in zip(before, after, strict=True)])


@pytest.mark.parametrize("weight", [0.0, 0.1, 2.0, keras_ae.schedules.LinearWarmUp(10, 0.1, 0.1)])
@pytest.mark.parametrize("changed", [False, True], ids=["given", "assigned"])
def test_a_weighted_bound_has_the_same_gradient_by_every_estimator(weight, changed):
    """One estimate is projected on the other, with 40,000 examples in one batch."""
    x, found = np.repeat(zoo.data(4), 10_000, axis=0), []
    for estimator in ("iwae", "dreg"):
        given = {} if changed else {"kl_weight": weight}
        optimizer = keras.optimizers.SGD(1.0)
        model = zoo.compiled("IWAE", optimizer, num_samples=4, estimator=estimator, **given)
        model.kl_weight = weight
        model.build((None, WIDTH))
        rng = np.random.default_rng(3)  # At the initial weights, codes say almost nothing.
        for variable in model.trainable_variables:
            variable.assign(0.7 * rng.normal(size=variable.shape))
        found.append(encoder_gradient(model, x))
    plain, twice = found
    assert np.linalg.norm(plain) > 0.5
    assert twice @ plain / (plain @ plain) == pytest.approx(1.0, abs=0.03)
    assert np.linalg.norm(twice - plain) < 0.05 * np.linalg.norm(plain)


@pytest.mark.parametrize("name", ["IWAE", "MIWAE", "PIWAE", "CIWAE"])
def test_a_weight_assigned_later_is_minimized(name):
    x = zoo.data(16)
    given, assigned = built(name, kl_weight=0.3), built(name)
    assigned.set_weights(given.get_weights())
    assigned.kl_weight = 0.3
    assert evaluated(assigned, x) == pytest.approx(evaluated(given, x), rel=1e-5)


def test_a_weighted_bound_has_a_name_of_its_own():
    x = zoo.data(16)
    model = built("PIWAE", num_bounds=2, num_samples=3, kl_weight=0.5)
    assert model.objective == ("weighted_iwae_loss",)
    assert list(model.players.values()) == [("weighted_miwae_loss",)]
    terms = terms_of(model, x)
    np.testing.assert_allclose(
        terms["iwae_loss"], -log_mean_exp(log_weights(model, x, 6)), rtol=1e-4
    )
    q = model.posterior(ops.convert_to_tensor(x))
    parts = model._importance_terms(q, ops.convert_to_tensor(x), 6, Fixed())
    log_likelihood, divergence = (ops.convert_to_numpy(v) for v in parts)
    weighted = -log_mean_exp(log_likelihood - 0.5 * divergence)
    np.testing.assert_allclose(terms["weighted_iwae_loss"], weighted, rtol=1e-4)


@pytest.mark.parametrize("name", ["IWAE", "AnnealedVAE", "BetaTCVAE"])
def test_free_bits_without_effect_are_an_error(name):
    with pytest.raises(ValueError, match="free_bits=0.5 has no effect"):
        zoo.make(name, free_bits=0.5)


# ------------------------------------------------------------------ disentanglement


def test_capacity():
    schedule = keras_ae.schedules.LinearWarmUp(10, end=5.0)
    model = built("AnnealedVAE", gamma=3.0, capacity=schedule)
    model._step.assign(4)
    terms = terms_of(model, zoo.data(16))
    np.testing.assert_allclose(terms["capacity_loss"], np.abs(terms["kl_loss"] - 2.0), rtol=1e-5)
    assert float(model.loss_weights()["capacity_loss"]) == 3.0


@pytest.mark.parametrize("estimator", ["weighted", "stratified"])
@pytest.mark.parametrize("dataset_size", [None, 1000])
def test_the_three_parts_sum_to_the_divergence(estimator, dataset_size):
    model = built("BetaTCVAE", estimator=estimator, dataset_size=dataset_size)
    terms = terms_of(model, zoo.data(16))
    parts = terms["mi_loss"] + terms["tc_loss"] + terms["dimension_kl_loss"]
    np.testing.assert_allclose(parts, terms["kl_loss"], atol=1e-5)


@pytest.mark.parametrize("estimator", ["weighted", "stratified"])
def test_the_reported_estimate_does_not_change_the_gradient(estimator):
    """The gradient is that of the paper's estimate, as difference quotients show."""
    model = built("BetaTCVAE", estimator=estimator, dataset_size=100)
    x = zoo.data(16)
    object.__setattr__(model, "step_seed", lambda training: Fixed())

    def parts(scale, training):
        """Return the sum of the total correlation, with the codes' means times `scale`."""
        q = model.posterior(x)
        scaled = keras_ae.distributions.DiagonalGaussian(scale * q.mean, q.log_variance)
        object.__setattr__(model, "posterior", lambda *given: scaled)
        try:
            if not training:
                z = scaled.sample(Fixed())
                joint, each = keras_ae.divergences.aggregate_log_densities(
                    z, scaled, 100, estimator
                )
                return ops.sum(joint - ops.sum(each, axis=-1))
            return ops.sum(model.loss_terms(x, x, True)["tc_loss"])
        finally:
            object.__delattr__(model, "posterior")

    x = ops.convert_to_tensor(x)
    found = zoo.gradient(lambda scale: parts(scale, True), np.ones((1, 1)))
    expected = zoo.gradient(lambda scale: parts(scale, False), np.ones((1, 1)))
    np.testing.assert_allclose(found, expected, rtol=1e-3)
    assert abs(expected[0, 0]) > 0.1


class KnownPosterior(keras_ae.BetaTCVAE):
    """The data consists of the mean and the log-variance of its own posterior."""

    def posterior(self, x, training=False):
        return keras_ae.distributions.DiagonalGaussian(*ops.split(x, 2, axis=-1))


def known_posterior(dimensions, **given):
    options = {"network_options": {"units": (4,)}, "likelihood": "gaussian", "seed": 0}
    model = KnownPosterior(dimensions, **options | given)
    model.compile(keras.optimizers.SGD(0.0), **zoo.OP_BY_OP)
    return model


def gaussian_aggregate(number, covariance, variance):
    """Return posteriors of one variance whose Gaussian means have exactly this covariance."""
    means = np.random.default_rng(0).normal(size=(number, len(covariance)))
    means -= means.mean(axis=0)
    factors = (np.linalg.cholesky(c) for c in (np.cov(means.T, bias=True), covariance))
    whitening, wanted = factors
    means = means @ np.linalg.inv(whitening).T @ wanted.T
    return np.concatenate([means, np.full_like(means, np.log(variance))], axis=1)


@pytest.mark.every_backend
@pytest.mark.parametrize("estimator", ["weighted", "stratified"])
@pytest.mark.parametrize("form", ["array", "dataset"])
def test_parts_of_a_gaussian_aggregate_whatever_the_batch_size(estimator, form):
    """They agree with the closed form within 0.03 nats, and with each other within 0.0001."""
    x = gaussian_aggregate(1000, [[1.0, 0.6], [0.6, 0.8]], 0.25).astype("float32")
    whole = np.array([[1.25, 0.6], [0.6, 1.05]])
    entropy = 0.5 * np.log(np.linalg.det(whole))
    expected = {
        "mi_loss": entropy - np.log(0.25),
        "tc_loss": 0.5 * np.sum(np.log(np.diag(whole))) - entropy,
        "dimension_kl_loss": 0.5 * np.sum(np.diag(whole) - 1 - np.log(np.diag(whole))),
    }
    model, found = known_posterior(2, estimator=estimator), []
    for batch_size in (10, 50, 100, 1000):
        if form == "dataset":
            import tensorflow as tf

            data, options = tf.data.Dataset.from_tensor_slices(x).batch(batch_size), {}
        else:
            data, options = x, {"batch_size": batch_size}
        found.append(model.evaluate(data, **options, **QUIET))
    for logs in found:
        for name, value in expected.items():
            assert logs[name] == pytest.approx(value, abs=0.03), (name, logs)
            assert logs[name] == pytest.approx(found[0][name], abs=1e-4)
        assert sum(logs[name] for name in expected) == pytest.approx(logs["kl_loss"], abs=1e-4)
        total = logs["reconstruction_loss"] + logs["mi_loss"] + 6 * logs["tc_loss"]
        assert logs["loss"] == pytest.approx(total + logs["dimension_kl_loss"], abs=1e-3)


def test_a_code_that_says_nothing_has_no_total_correlation():
    """This holds in training for any batch size, and in evaluation."""
    x = np.zeros((1000, 20), "float32")
    for batch_size in (10, 33, 999):  # The last size leaves a batch of one example.
        model = known_posterior(10)
        with pytest.warns(UserWarning, match="Gradients do not exist"):
            logs = model.fit(x, batch_size=batch_size, verbose=0, validation_data=x).history
        for name in ("mi_loss", "tc_loss", "dimension_kl_loss", "kl_loss"):
            assert logs[name] + logs[f"val_{name}"] == pytest.approx([0.0, 0.0], abs=1e-3), name


def test_weights_of_examples_weigh_their_posteriors():
    x = gaussian_aggregate(200, [[1.0, 0.6], [0.6, 0.8]], 0.25).astype("float32")
    model = known_posterior(2)
    kept = model.evaluate(x[:100], batch_size=50, **QUIET)
    weights = np.repeat([2.0, 0.0], 100)
    weighted = model.evaluate(x, sample_weight=weights, batch_size=50, **QUIET)
    for name in ("mi_loss", "tc_loss", "dimension_kl_loss"):
        assert weighted[name] == pytest.approx(kept[name], abs=1e-5)


def test_the_number_of_training_examples_is_known_and_saved(tmp_path):
    import tensorflow as tf

    x = zoo.data(48)

    def batches():
        while True:
            yield x[:16]

    slices = tf.data.Dataset.from_tensor_slices(x)
    for data, options, expected in (
        (x, {"batch_size": 10}, 48),
        (slices.batch(16), {}, 48),
        (slices.batch(16).repeat(), {"steps_per_epoch": 2}, 32),
        (batches(), {"steps_per_epoch": 2}, 0),
    ):
        model = zoo.eager("BetaTCVAE")
        model.fit(data, verbose=0, **options)
        assert float(model.known.num_examples) == expected
    model.fit(x, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras_ae.load(tmp_path / "model.keras")
    assert float(loaded.known.num_examples) == 48
    terms = [terms_of(m, x[:8])["mi_loss"] for m in (model, loaded)]
    np.testing.assert_array_equal(*terms)


def test_a_batch_that_is_the_data_set_gives_the_aggregate_posterior():
    model = built("BetaTCVAE", estimator="stratified", dataset_size=16)
    x = zoo.data(16)
    mean, log_variance, z, *_ = one_draw(model, x)
    pairs = norm.logpdf(z[:, None], mean[None], np.exp(0.5 * log_variance)[None])  # (b, b, d)
    joint = logsumexp(pairs.sum(axis=2), axis=1) - np.log(16)
    product = np.sum(logsumexp(pairs, axis=1) - np.log(16), axis=1)
    terms = terms_of(model, x)
    np.testing.assert_allclose(terms["tc_loss"], joint - product, atol=1e-4)
    expected = product - norm.logpdf(z).sum(axis=1)
    np.testing.assert_allclose(terms["dimension_kl_loss"], expected, atol=1e-4)


@pytest.mark.parametrize("variant", ["i", "ii"])
def test_dip_vae_by_hand(variant):
    model = built("DIPVAE", variant=variant, off_diagonal_weight=3.0)
    x = zoo.data(16)
    mean, log_variance, *_ = one_draw(model, x)
    covariance = np.cov(mean.T, bias=True)
    if variant == "ii":
        covariance += np.diag(np.exp(log_variance).mean(axis=0))
    terms = terms_of(model, x)
    off_diagonal = covariance[0, 1] ** 2 + covariance[1, 0] ** 2
    assert terms["off_diagonal_loss"] == pytest.approx(off_diagonal, rel=1e-3)
    diagonal = np.sum((np.diag(covariance) - 1) ** 2)
    assert terms["diagonal_loss"] == pytest.approx(diagonal, rel=1e-4)
    weight = 30.0 if variant == "i" else 3.0
    assert model.loss_weights()["diagonal_loss"] == weight


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("BetaVAE", {"beta": np.float32(2)}),
        ("BetaTCVAE", {"dataset_size": np.int64(50)}),
        ("DIPVAE", {"off_diagonal_weight": np.float32(2)}),
        ("PerceptualVAE", {"weight": np.float32(2)}),
        ("HamiltonianVAE", {"num_steps": np.int64(1)}),
    ],
)
def test_numbers_of_numpy_are_numbers(name, given):
    config = json.loads(json.dumps(getattr(keras_ae, name)(**given).get_config()))
    ((argument, value),) = given.items()
    assert config[argument] == value


def test_the_second_variant_counts_the_codes_own_variance():
    """The covariance of many draws is that of the means, plus the mean of the variances."""
    model = built("DIPVAE", variant="ii")
    x = zoo.data(16)
    q = model.posterior(ops.convert_to_tensor(x)).repeat(4000)
    variances = np.var(ops.convert_to_numpy(q.sample(0)), axis=0)
    assert terms_of(model, x)["diagonal_loss"] == pytest.approx(
        np.sum((variances - 1) ** 2), rel=0.05
    )


def test_info_vae_weighs_as_eq_6():
    model = built("InfoVAE", alpha=0.25, scale=3.0)
    weights = model.loss_weights()
    assert weights["kl_loss"] == 0.75 and weights["mmd_loss"] == 2.25
    x = zoo.data(16)
    *_, z, _, _, _ = one_draw(model, x)
    seed = Fixed()
    prior = ops.convert_to_numpy(keras.random.normal(z.shape, seed=seed))
    expected = float(keras_ae.divergences.mmd(z, prior))
    assert terms_of(model, x)["mmd_loss"] == pytest.approx(expected, abs=1e-5)


def test_no_discrepancy_is_maximized():
    with pytest.raises(ValueError, match="the discrepancy the factor -0.5"):
        zoo.make("InfoVAE", alpha=0.25, scale=0.25)
    with pytest.raises(ValueError, match="alpha=1.5"):
        zoo.make("InfoVAE", alpha=1.5, scale=1.0)


# ------------------------------------------------------------------ a learned prior


def test_the_mixture_prior_is_the_mean_of_the_posteriors():
    model = built("VampVAE", num_components=3)
    points = zoo.data(3)
    model.set_pseudo_inputs(points)
    z = np.random.default_rng(0).normal(size=(20, 2)).astype("float32")
    q = model.posterior(ops.convert_to_tensor(points))
    mean, log_variance = (ops.convert_to_numpy(v) for v in (q.mean, q.log_variance))
    densities = norm.logpdf(z[:, None], mean, np.exp(0.5 * log_variance)).sum(axis=2)
    expected = log_mean_exp(densities)
    np.testing.assert_allclose(
        ops.convert_to_numpy(model.prior(z).log_prob(z)), expected, rtol=1e-4
    )


def test_codes_come_from_every_component():
    mixture = keras_ae.distributions.GaussianMixture(
        np.array([[-4.0], [0.0], [4.0]]), np.log([[0.25], [0.04], [0.01]])
    )
    z = ops.convert_to_numpy(mixture.sample(6000, 0))[:, 0]
    for center, scale in ((-4.0, 0.5), (0.0, 0.2), (4.0, 0.1)):
        near = z[np.abs(z - center) < 2]
        assert len(near) == pytest.approx(2000, abs=200)
        assert near.std() == pytest.approx(scale, rel=0.1)
    grid = np.linspace(-9, 9, 4001, dtype="float32")[:, None]
    density = np.exp(ops.convert_to_numpy(mixture.log_prob(grid)))
    assert np.trapezoid(density, grid[:, 0]) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.every_backend
def test_pseudo_inputs_are_learned_and_stay_in_range():
    model = zoo.compiled("VampVAE", keras.optimizers.Adam(0.3))
    model.set_pseudo_inputs(zoo.data(4))
    before = model.pseudo_inputs.numpy().copy()
    model.fit(zoo.data(), epochs=3, batch_size=16, verbose=0)
    assert np.all(model.pseudo_inputs.numpy() != before)
    assert np.all(np.isfinite(model.sample(20, seed=0)))
    with pytest.raises(ValueError, match="x has 5 examples, but num_components is 4"):
        model.set_pseudo_inputs(zoo.data(5))


# ------------------------------------------------------------------ robustness


@pytest.mark.every_backend
@pytest.mark.parametrize(
    "name", [n for n in zoo.VARIATIONAL if "modalities" not in zoo.parameters_of(n)]
)
def test_no_loss_leaves_the_numbers(name):
    """Losses stay finite in 200 steps at ten times the usual rate, on equal pictures."""
    zoo.assert_trains_on_blank_pictures(zoo.compiled(name, keras.optimizers.Adam(0.01)))
