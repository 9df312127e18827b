"""The models of clusters: formulas against NumPy, SciPy and scikit-learn, phases, and refusals."""

import itertools

import keras
import numpy as np
import pytest
import zoo
from keras import ops
from scipy import special, stats
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture

import keras_ae
from keras_ae import DEC, IDEC, VaDE, evaluation
from keras_ae.distributions import DiagonalGaussian, WeightedGaussians

pytestmark = pytest.mark.formula

BATCH = {"batch_size": 16, "verbose": 0}
MODELS = {"DEC": DEC, "IDEC": IDEC, "VaDE": VaDE}
every_model = pytest.mark.parametrize("name", MODELS)
both = pytest.mark.parametrize("cls", [DEC, IDEC])


def made(cls, rate=0.01, **given):
    small = {"latent_dim": 2, "num_clusters": 3, "network_options": {"units": (8,)}, "seed": 0}
    if cls is VaDE:
        small["likelihood"] = "gaussian"
    model = cls(**small | given)
    model.compile(keras.optimizers.Adam(rate), **zoo.OP_BY_OP)
    return model


def blobs(number=96, seed=0):
    """Return vectors of six numbers in three groups, and the groups."""
    rng = np.random.default_rng(seed)
    group = np.arange(number) % 3
    centers = 3.0 * np.random.default_rng(9).normal(size=(3, 6))
    return (centers[group] + rng.normal(size=(number, 6))).astype("float32"), group


def memberships(model, x):
    """Compute q, eq. 1 of arXiv:1511.06335."""
    z = model.encode(x).astype("float64")
    q = 1.0 / (1.0 + np.square(z[:, None] - model.centers).sum(axis=-1))
    return q / q.sum(axis=1, keepdims=True)


def sharpen(q):
    """Compute p, eq. 3."""
    p = q**2 / q.sum(axis=0)
    return p / p.sum(axis=1, keepdims=True)


def targets(model, x):
    return np.exp(zoo.compute(model._log_targets, x))


# ---------------------------------------------------------------------- all of them


@pytest.mark.costly
@every_model
def test_groups_are_found(name):
    x, group = blobs(192)
    model = made(MODELS[name], pretraining_steps=150)
    model.fit(x, epochs=20, **BATCH)
    assert evaluation.clustering_accuracy(model.cluster(x), group) > 0.95
    probabilities = model.cluster_probabilities(x)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), model.cluster(x))
    assert probabilities.shape == (192, 3) and model.cluster(x).dtype == "int32"


@every_model
def test_clusters_start_before_the_step_after_the_pretraining(name, monkeypatch):
    model, (x, _), steps = made(MODELS[name], pretraining_steps=9), blobs(), []
    start = model._start_clusters

    def note(passes):
        steps.append(int(ops.convert_to_numpy(model._step.value)))
        start(passes)

    monkeypatch.setattr(model, "_start_clusters", note)
    model.fit(x, epochs=1, **BATCH)  # Six steps, at whose end there are preliminary clusters.
    assert steps == [6] and not bool(model._is_clustering())
    model.fit(x, epochs=1, **BATCH)
    assert steps == [6, 9] and bool(model._is_clustering())
    model.fit(x, epochs=1, **BATCH)
    assert steps == [6, 9]


@pytest.mark.costly
@every_model
def test_several_calls_of_fit_train_like_one(name):
    found = []
    for parts in ([(0, 5)], [(0, 1), (1, 3), (3, 5)]):
        model, (x, _) = made(MODELS[name], pretraining_steps=15), blobs()
        for first, last in parts:
            model.fit(x, initial_epoch=first, epochs=last, **BATCH)
        found.append(zoo.weights(model))
    assert all(map(np.array_equal, *found))


@pytest.mark.costly
@every_model
@pytest.mark.parametrize("last", [8, 15, 23])
def test_a_training_that_was_killed_resumes_in_its_phase(name, last, tmp_path):
    class Kill(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if int(ops.convert_to_numpy(self.model.optimizer.iterations)) == last:
                raise KeyboardInterrupt

    x, found = blobs()[0], []
    given = {"pretraining_steps": 9} | ({} if name == "VaDE" else {"update_interval": 5})
    for is_killed in (False, True):
        backup = keras_ae.callbacks.BackupAndRestore(tmp_path / str(is_killed), save_freq=4)
        if is_killed:
            model = made(MODELS[name], **given)
            model.build(x.shape)
            with pytest.raises(KeyboardInterrupt):
                model.fit(x, epochs=5, callbacks=[Kill(), backup], **BATCH)
            backup.release()
        model = made(MODELS[name], **given)
        model.build(x.shape)
        model.fit(x, epochs=5, callbacks=[backup], **BATCH)
        found.append(zoo.weights(model))
    assert all(map(np.array_equal, *found))


@every_model
def test_files_and_served_functions_give_the_same_probabilities(name, tmp_path):
    model, (x, _) = made(MODELS[name], pretraining_steps=6), blobs()
    model.fit(x, epochs=2, **BATCH)
    wanted = model.cluster_probabilities(x)
    model.save(tmp_path / "model.keras")
    loaded = keras_ae.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.cluster_probabilities(x), wanted)
    if keras.config.backend() != "torch":
        import tensorflow as tf

        model.export(tmp_path / "model")
        served = tf.saved_model.load(str(tmp_path / "model"))
        np.testing.assert_allclose(served.cluster_probabilities(x).numpy(), wanted, atol=1e-4)


@every_model
def test_what_cannot_work_is_refused(name):
    model, (x, _) = made(MODELS[name], pretraining_steps=0, num_clusters=20), blobs()
    for call in (model.cluster, model.cluster_probabilities):
        with pytest.raises(RuntimeError, match=r"there are no clusters yet. Call fit"):
            call(x)
    with pytest.raises(ValueError, match="num_clusters=20, but x has only 16 examples"):
        model.fit(x[:16], **BATCH)
    with pytest.raises(
        ValueError, match="x is a generator, which can be read only once.*Pass an array"
    ):
        model.fit((x for _ in range(3)), steps_per_epoch=3, verbose=0)
    for argument in ("num_clusters", "pretraining_steps"):
        with pytest.raises(ValueError, match=f"{argument}=-1"):
            MODELS[name](**{argument: -1})


@every_model
def test_equal_examples_are_no_error(name):
    model = made(MODELS[name], pretraining_steps=4)
    x = np.full((64, 6), 0.5, "float32")
    history = model.fit(x, epochs=5, **BATCH).history
    assert all(np.all(np.isfinite(values)) for values in history.values()), history
    assert np.all(np.isfinite(model.cluster_probabilities(x)))


# ---------------------------------------------------------------------- DEC and IDEC


@both
def test_the_loss_is_equations_1_to_3_over_all_data(cls):
    model, (x, group) = made(cls, rate=0.0, pretraining_steps=0), blobs()
    x = x[np.argsort(group)]  # The batches have different shares of the clusters.
    model.fit(x, shuffle=False, **BATCH)
    q = memberships(model, x)
    np.testing.assert_allclose(model.cluster_probabilities(x), q, rtol=1e-4, atol=1e-6)
    # The targets of a batch are those of the whole set, which those of the batch alone are not.
    np.testing.assert_allclose(targets(model, x)[:16], sharpen(q)[:16], rtol=1e-3, atol=1e-6)
    assert np.abs(sharpen(q[:16]) - sharpen(q)[:16]).max() > 0.1
    loss = model.evaluate(x, return_dict=True, **BATCH)["cluster_loss"]
    wanted = special.rel_entr(sharpen(q), q).sum(axis=1).mean()
    assert loss == pytest.approx(wanted, rel=1e-3)


@both
def test_the_first_centers_are_those_of_k_means_of_all_codes(cls):
    model, (x, _) = made(cls, rate=0.0, pretraining_steps=0), blobs()
    model.fit(x, **BATCH)
    codes = model.encode(x).astype("float64")
    wanted = KMeans(3, n_init=20, random_state=1).fit(codes).cluster_centers_
    found = min(
        np.abs(model.centers[list(order)] - wanted).max()
        for order in itertools.permutations(range(3))
    )
    assert found < 1e-3


@both
def test_targets_are_renewed_after_each_interval_and_fixed_between(cls, monkeypatch):
    model, (x, _) = made(cls, pretraining_steps=2, update_interval=4), blobs()
    update, steps, wanted = model._update_targets, [], []

    def note(passes):
        steps.append(int(ops.convert_to_numpy(model._step.value)))
        wanted.append(sharpen(memberships(model, x)))
        update(passes)

    monkeypatch.setattr(model, "_update_targets", note)
    model.fit(x, epochs=2, **BATCH)
    assert steps == [2, 6, 10]
    np.testing.assert_allclose(targets(model, x), wanted[-1], rtol=1e-3, atol=1e-6)
    assert not np.allclose(sharpen(memberships(model, x)), wanted[-1], atol=1e-3)


def test_only_idec_goes_on_learning_to_reconstruct_with_the_encoder():
    for cls, is_moved in ((DEC, False), (IDEC, True)):
        model, (x, _) = made(cls, pretraining_steps=0), blobs()
        model.compile(keras.optimizers.SGD(0.01), **zoo.OP_BY_OP)
        model.fit(x[:16], **BATCH)
        model._starts.assign(np.zeros((3, 2)))  # Equal centers have no gradient.
        model._moves.assign(np.zeros((3, 2)))
        before = [[w.numpy() for w in net.weights] for net in (model.encoder, model.decoder)]
        model.fit(x[:16], **BATCH)
        after = [[w.numpy() for w in net.weights] for net in (model.encoder, model.decoder)]
        moved = [not all(map(np.allclose, *pair)) for pair in zip(before, after, strict=True)]
        assert moved == [is_moved, True]


def test_the_factor_of_idec_is_that_of_the_mean_squared_error():
    for given, wanted in (({}, 0.6), ({"cluster_weight": 3.0}, 3.0)):
        model, (x, _) = made(IDEC, pretraining_steps=6, **given), blobs()
        model.fit(x, **BATCH)
        assert float(model.loss_weights()["cluster_loss"]) == 0.0
        model.fit(x, **BATCH)
        assert float(model.loss_weights()["cluster_loss"]) == pytest.approx(wanted)


def test_clusters_of_standardized_data_do_not_depend_on_its_units():
    found = []
    for scale in (1.0, 64.0):
        model = made(DEC, rate=0.0, pretraining_steps=0, standardize=True)
        x = scale * (blobs()[0] + 1.0)
        model.fit(x, **BATCH)
        found.append(model.cluster_probabilities(x))
    np.testing.assert_allclose(*found, rtol=1e-3, atol=1e-4)


# ---------------------------------------------------------------------- VaDE


def mixture(seed=0):
    rng = np.random.default_rng(seed)
    logits, mean, log_variance = (
        rng.normal(size=3),
        rng.normal(size=(3, 2)),
        rng.normal(size=(3, 2)),
    )
    return WeightedGaussians(logits, 2.0 * mean, 0.5 * log_variance)


def as_scikit_learn(p):
    """Return the mixture as scikit-learn has it."""
    weights, mean, variance = (
        ops.convert_to_numpy(v).astype("float64")
        for v in (ops.exp(p.log_weights), p.mean, ops.exp(p.log_variance))
    )
    found = GaussianMixture(3, covariance_type="diag")
    found.weights_, found.means_, found.covariances_ = weights / weights.sum(), mean, variance
    found.precisions_cholesky_ = 1.0 / np.sqrt(variance)
    return found


def test_densities_and_memberships_of_a_mixture_are_those_of_scikit_learn():
    p, x = mixture(), np.random.default_rng(1).normal(size=(20, 2)).astype("float32")
    wanted = as_scikit_learn(p)
    np.testing.assert_allclose(p.log_prob(x), wanted.score_samples(x), rtol=1e-4)
    found = ops.convert_to_numpy(ops.exp(p.log_memberships(x)))
    np.testing.assert_allclose(found, wanted.predict_proba(x), rtol=1e-4, atol=1e-6)


def test_draws_of_a_mixture_have_its_moments():
    p, q = mixture(), as_scikit_learn(mixture())
    z = ops.convert_to_numpy(p.sample(100_000, seed=0))
    mean = q.weights_ @ q.means_
    variance = q.weights_ @ (q.covariances_ + q.means_**2) - mean**2
    np.testing.assert_allclose(z.mean(axis=0), mean, atol=0.02)
    np.testing.assert_allclose(z.var(axis=0), variance, rtol=0.02)
    shares = np.bincount(q.predict(z)) / len(z)
    wanted = np.bincount(q.predict(q.sample(100_000)[0])) / len(z)
    np.testing.assert_allclose(shares, wanted, atol=0.01)
    z = ops.convert_to_numpy(p.sample(100_000, seed=0, component=1))
    np.testing.assert_allclose(z.mean(axis=0), q.means_[1], atol=0.02)
    np.testing.assert_allclose(z.var(axis=0), q.covariances_[1], rtol=0.02)


def test_the_divergence_is_the_expectation_over_codes_and_clusters():
    p, rng = mixture(), np.random.default_rng(2)
    mean, log_variance = rng.normal(size=(1, 2)), rng.normal(size=(1, 2))
    log_g = np.log([[0.2, 0.7, 0.1]])
    found = p.divergence_of(DiagonalGaussian(mean, log_variance), log_g)
    # Gauss-Hermite quadrature is exact, because the logarithms are quadratic.
    nodes, weights = np.polynomial.hermite_e.hermegauss(9)
    weights = np.outer(weights, weights).ravel() / weights.sum() ** 2
    noise = np.stack(np.meshgrid(nodes, nodes, indexing="ij"), -1).reshape(-1, 2)
    deviation = np.exp(0.5 * log_variance)
    z, q, wanted = mean + deviation * noise, as_scikit_learn(p), 0.0
    for c, log_share in enumerate(log_g[0]):
        log_p = stats.norm.logpdf(z, q.means_[c], np.sqrt(q.covariances_[c])).sum(axis=1)
        log_ratio = stats.norm.logpdf(z, mean, deviation).sum(axis=1) - log_p
        log_ratio += log_share - np.log(q.weights_[c])
        wanted += np.exp(log_share) * weights @ log_ratio
    assert float(found[0]) == pytest.approx(wanted, rel=1e-4)


def test_the_bound_of_vade_is_below_the_integral_over_all_codes():
    model, (x, _) = made(VaDE, latent_dim=1, pretraining_steps=100), blobs(48)
    model.fit(x, epochs=60, **BATCH)
    z = np.linspace(-40.0, 40.0, 20_001, dtype="float32")[:, None]
    p, copies = model.prior(), model.decode(z).astype("float64")
    log_prior = ops.convert_to_numpy(p.log_prob(z)).astype("float64")
    assert special.logsumexp(log_prior) + np.log(0.004) == pytest.approx(0.0, abs=1e-3)
    squares = np.square(x[:, None] - copies).sum(axis=-1)
    log_joint = -0.5 * squares - 3.0 * np.log(2.0 * np.pi) + log_prior
    exact = special.logsumexp(log_joint, axis=1) + np.log(0.004)
    estimate = model.log_likelihood(x, num_samples=2000, seed=0)
    assert np.mean(estimate) == pytest.approx(np.mean(exact), abs=0.05)
    many = np.tile(x, (100, 1))  # Each copy has its own noise.
    logs = model.evaluate(many, batch_size=4800, return_dict=True, verbose=0)
    bound = -logs["reconstruction_loss"] - logs["kl_loss"]
    assert np.mean(exact) - 5.0 < bound < np.mean(exact)


def test_vade_starts_at_the_mixture_of_scikit_learn():
    model, (x, _) = made(VaDE, rate=0.0, pretraining_steps=0), blobs()
    model.fit(x, **BATCH)
    codes = model.encode(x).astype("float64")
    assert np.mean(ops.convert_to_numpy(model.prior().log_prob(codes))) == pytest.approx(
        GaussianMixture(3, covariance_type="diag", n_init=5, random_state=0)
        .fit(codes)
        .lower_bound_,
        abs=0.05,
    )
    p = as_scikit_learn(model.prior())
    np.testing.assert_allclose(
        np.exp(ops.convert_to_numpy(model.posterior(ops.convert_to_tensor(x)).log_variance))[0],
        0.1 * (p.weights_ @ p.covariances_),
        rtol=1e-3,
    )


def test_the_pretraining_of_vade_decodes_means_and_has_no_divergence():
    model, (x, _) = made(VaDE, rate=0.0, pretraining_steps=100), blobs()
    logs = {k: v[-1] for k, v in model.fit(x, epochs=1, **BATCH).history.items()}
    assert logs["loss"] == pytest.approx(logs["reconstruction_loss"])
    error = np.square(x - model.reconstruct(x)).sum(axis=1).mean()
    wanted = 0.5 * error + 3.0 * np.log(2.0 * np.pi)
    assert logs["reconstruction_loss"] == pytest.approx(wanted, rel=1e-4)


def test_vade_samples_from_one_cluster():
    model, (x, _) = made(VaDE, pretraining_steps=100), blobs()
    model.fit(x, epochs=60, **BATCH)
    for cluster in range(3):
        samples = model.sample(100, seed=0, cluster=cluster)
        assert np.mean(model.cluster(samples) == cluster) > 0.9
    with pytest.raises(ValueError, match="cluster=3 must be an integer from 0 to 2"):
        model.sample(3, cluster=3)
    model.fit_sampler(x, "kernel_density", verbose=0)
    with pytest.raises(ValueError, match=r"cluster=1 needs the model's prior.*Call fit_sampler"):
        model.sample(3, cluster=1)


def test_the_centers_of_vade_are_the_means_of_draws_from_its_clusters():
    model, (x, _) = made(VaDE, pretraining_steps=30), blobs()
    model.fit(x, epochs=10, **BATCH)
    assert model.centers.shape == (3, 2)
    for cluster, center in enumerate(model.centers):
        codes = ops.convert_to_numpy(model._draw_prior(4000, 0, cluster))
        np.testing.assert_array_less(np.abs(codes.mean(axis=0) - center), 0.1 * codes.std(axis=0))


def test_vade_reports_a_bound_within_its_pretraining():
    """Decoded means would have a higher likelihood than the draws of which the bound is made."""
    t = np.random.default_rng(0).normal(size=(128, 2))
    x = (t @ np.random.default_rng(1).normal(size=(2, 12))).astype("float32")
    options = {"likelihood": keras_ae.likelihoods.Gaussian(0.1), "pretraining_steps": 10_000}
    model = keras_ae.VaDE(2, 2, network_options={"units": (16,)}, seed=0, **options)
    model.compile(keras.optimizers.Adam(0.01))
    model.fit(x, epochs=60, batch_size=64, verbose=0)
    logs = model.evaluate(x, return_dict=True, verbose=0)
    bound = -logs["reconstruction_loss"] - logs["kl_loss"]
    likelihood = model.log_likelihood(x, num_samples=2000, seed=0, verbose=0).mean()
    assert bound < likelihood + 0.5
