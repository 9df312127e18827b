"""The models of anomalies: formulas against NumPy and SciPy, scores, files, and what is refused."""

import keras
import numpy as np
import pytest
import zoo
from keras import ops
from scipy import stats
from sklearn.mixture import GaussianMixture

import keras_ae
from keras_ae import DAGMM, DeepSVDD, MemAE
from keras_ae.models.anomaly import dagmm

pytestmark = pytest.mark.formula

BATCH = {"batch_size": 16, "verbose": 0}
MODELS = {"DeepSVDD": DeepSVDD, "MemAE": MemAE, "DAGMM": DAGMM}
every_model = pytest.mark.parametrize("name", MODELS)


def made(cls, rate=0.01, **given):
    model = cls(**{"latent_dim": 3, "network_options": {"units": (8,)}, "seed": 0} | given)
    model.compile(keras.optimizers.Adam(rate), **zoo.OP_BY_OP)
    return model


def line(number=256, seed=0):
    """Return vectors of five numbers that lie close to a plane."""
    rng = np.random.default_rng(seed)
    places = rng.normal(size=(number, 2)) @ np.random.default_rng(9).normal(size=(2, 5))
    return (places + 0.05 * rng.normal(size=(number, 5))).astype("float32")


def area_under_curve(normal, odd):
    """Return the share of pairs in which the anomaly has the higher score."""
    return np.mean(odd[:, None] > normal)


# ---------------------------------------------------------------------- all of them


@every_model
def test_obvious_anomalies_have_higher_scores(name):
    model, x = made(MODELS[name], rate=0.02), line(256)
    model.fit(x, epochs=20, batch_size=64, verbose=0)
    normal = model.anomaly_score(line(200, seed=1))
    odd = line(200, seed=1) + 6.0 * np.random.default_rng(2).normal(size=(200, 5))
    assert area_under_curve(normal, model.anomaly_score(odd)) > 0.95
    assert len(np.unique(normal)) == 200


@every_model
def test_scores_tell_digits_from_their_negatives(name):
    x = keras_ae.datasets.as_array("small_mnist")[:1200].reshape(-1, 784)
    model = MODELS[name](network_options={"units": (64,)}, seed=0)
    model.compile(keras.optimizers.Adam(0.002))
    model.fit(x[:1000], epochs=10, batch_size=50, verbose=0)
    normal = model.anomaly_score(x[1000:])
    assert area_under_curve(normal, model.anomaly_score(1.0 - x[1000:])) > 0.95
    assert len(np.unique(normal)) == 200


@every_model
def test_files_and_served_functions_give_the_same_scores(name, tmp_path):
    model, x = made(MODELS[name]), line(64)
    model.fit(x, epochs=2, **BATCH)
    scores = model.anomaly_score(x)
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras_ae.load(tmp_path / "model.keras").anomaly_score(x), scores)
    if keras.config.backend() != "torch":
        import tensorflow as tf

        model.export(tmp_path / "model")
        served = tf.saved_model.load(str(tmp_path / "model"))
        found = served.signatures["anomaly_score"](x=tf.constant(x))["anomaly_score"]
        np.testing.assert_allclose(found.numpy(), scores, rtol=1e-3, atol=1e-5)


@every_model
def test_scores_of_standardized_data_do_not_depend_on_its_units(name):
    scores = []
    for scale in (1.0, 64.0):
        model, x = made(MODELS[name], rate=0.0, standardize=True), scale * (line(64) + 1.0)
        model.fit(x, **BATCH)
        scores.append(model.anomaly_score(x))
    np.testing.assert_allclose(*scores, rtol=1e-3, atol=1e-4)


@every_model
@pytest.mark.parametrize("value", [0.0, 0.5])
def test_equal_examples_are_no_error(name, value):
    model = made(MODELS[name])
    history = model.fit(np.full((64, 5), value, "float32"), epochs=5, **BATCH).history
    assert all(np.all(np.isfinite(values)) for values in history.values()), history
    assert np.all(np.isfinite(model.anomaly_score(np.zeros((2, 5), "float32"))))


# ---------------------------------------------------------------------- DeepSVDD


def test_the_center_is_the_mean_of_untrained_codes_away_from_zero():
    model, x = made(DeepSVDD, latent_dim=16), line(100)
    model.build((None, 5))
    z = model.encode(x)
    model.adapt(x)
    mean = z.mean(axis=0)
    wanted = np.where(np.abs(mean) < 0.1, np.where(mean < 0, -0.1, 0.1), mean)
    assert np.any(np.abs(mean) < 0.1) and np.any(np.abs(mean) >= 0.1)
    np.testing.assert_allclose(model.center, wanted, rtol=1e-4)
    untrained = np.sqrt(z.var(axis=0).sum())
    assert float(ops.convert_to_numpy(model._untrained_spread)) == pytest.approx(untrained, 1e-4)
    np.testing.assert_allclose(model.anomaly_score(x), np.square(z - wanted).sum(axis=1), rtol=1e-4)
    model.fit(x, **BATCH)
    np.testing.assert_allclose(model.center, wanted, rtol=1e-4)


def test_the_loss_is_equation_4():
    model, x = made(DeepSVDD, rate=0.0, weight_decay=0.5), line(48)
    model.fit(x, **BATCH)
    logs = model.evaluate(x, return_dict=True, **BATCH)
    kernels = [
        ops.convert_to_numpy(v) for v in (*model.encoder.weights, model.features_to_code.weights[0])
    ]
    decay = 0.5 * sum(np.square(kernel).sum() for kernel in kernels)
    assert len(kernels) == 2
    distance = np.square(model.encode(x) - model.center).sum(axis=1).mean()
    assert logs["one_class_loss"] == pytest.approx(distance, rel=1e-4)
    assert logs["weight_decay_loss"] == pytest.approx(decay, rel=1e-4)
    assert logs["loss"] == pytest.approx(distance + 0.5 * decay, rel=1e-4)


def test_the_soft_boundary_is_equation_3():
    model, x = made(DeepSVDD, rate=0.0, nu=0.2), line(160)
    model.fit(x, epochs=1, shuffle=False, batch_size=160, verbose=0)
    distance = np.square(model.encode(x) - model.center).sum(axis=1)
    radius = np.quantile(distance, 0.8, method="inverted_cdf")
    assert model.radius**2 == pytest.approx(radius, rel=1e-4)
    wanted = radius + np.maximum(distance - radius, 0.0).mean() / 0.2
    logs = model.evaluate(x, return_dict=True, **BATCH)
    assert logs["one_class_loss"] == pytest.approx(wanted, rel=1e-4)
    np.testing.assert_allclose(model.anomaly_score(x), distance - radius, atol=1e-5)
    assert np.mean(model.anomaly_score(x) > 1e-6) == pytest.approx(0.2, abs=0.01)


def test_about_nu_of_the_examples_lie_outside_after_training():
    model, x = made(DeepSVDD, rate=0.003, nu=0.1), line(512)
    model.fit(x, epochs=8, batch_size=64, verbose=0)
    assert 0.03 < np.mean(model.anomaly_score(x) > 0) < 0.25


def test_the_encoder_does_not_follow_the_reconstruction_loss():
    codes, x = [], line(64)
    for loss in ("mean_squared_error", "mean_absolute_error"):
        model = made(DeepSVDD, reconstruction_loss=loss)
        model.fit(x, epochs=1, **BATCH)
        codes.append(model.encode(x))
    np.testing.assert_array_equal(*codes)
    assert not any(v.name == "bias" for v in model.encoder.weights + model.features_to_code.weights)


@pytest.mark.parametrize("kind", ["mlp", "conv", "resnet", "unet"])
def test_networks_by_name_have_no_constants(kind):
    options = {"units": (8,), "batch_normalization": kind == "mlp"}
    options |= {} if kind == "mlp" else {"filters": (4, 4)}
    model = DeepSVDD(3, encoder=kind, network_options=options, seed=0)
    model.build((None, 8, 8, 1))
    z = model.encode(np.zeros((2, 8, 8, 1), "float32"))
    np.testing.assert_allclose(z, 0.0, atol=1e-6)
    for variable in model.trainable_variables:
        variable.assign(variable + 0.1)
    z = model.encode(np.zeros((2, 8, 8, 1), "float32"))
    np.testing.assert_allclose(z, 0.0, atol=1e-6)


def dense(activation=None, use_bias=False):
    return keras.Sequential(
        [keras.Input((5,)), keras.layers.Dense(4, activation, use_bias=use_bias, name="inner")]
    )


def test_encoders_with_constants_are_refused_by_name():
    with pytest.raises(ValueError, match=r"inner/bias.*use_bias=False"):
        made(DeepSVDD, encoder=dense("relu", True), decoder=None).build((None, 5))
    normalized = keras.Sequential([dense(), keras.layers.BatchNormalization(name="norm")])
    with pytest.raises(ValueError, match=r"norm/beta.*center=False"):
        made(DeepSVDD, encoder=normalized).build((None, 5))
    with pytest.raises(ValueError, match="encoder='transformer' adds a learned vector"):
        DeepSVDD(3, encoder="transformer").build((None, 6, 4))


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "elu", "relu6", "softplus", "softmax"])
def test_bounded_activations_are_refused_by_name(activation):
    with pytest.raises(ValueError, match=r"layer 'inner' is bounded .*leaky_relu"):
        made(DeepSVDD, encoder=dense(activation)).build((None, 5))
    with pytest.raises(ValueError, match=r"is bounded .*leaky_relu"):
        made(DeepSVDD, network_options={"activation": activation}).build((None, 5))


@pytest.mark.parametrize("activation", [None, "relu", "leaky_relu", "silu", "gelu", "mish"])
def test_unbounded_activations_are_taken(activation):
    made(DeepSVDD, encoder=dense(activation)).build((None, 5))


def test_layers_that_are_bounded_activations_are_refused():
    for layer in (keras.layers.ReLU(6.0, name="six"), keras.layers.ELU(name="six")):
        with pytest.raises(ValueError, match="layer 'six' is bounded"):
            made(DeepSVDD, encoder=keras.Sequential([dense(), layer])).build((None, 5))
    made(DeepSVDD, encoder=keras.Sequential([dense(), keras.layers.ReLU()])).build((None, 5))


def test_a_collapse_is_an_error():
    """A constant feature does what a bias does: the encoder learns to ignore all others."""
    model, x = made(DeepSVDD), line(64)
    model.fit(x, **BATCH)
    last = model.features_to_code.layers[-1].kernel
    last.assign(0.0 * last)
    model.optimizer.learning_rate = 0.0
    with pytest.raises(RuntimeError, match=r"DeepSVDD: the codes of all .* have become equal"):
        model.fit(x, **BATCH)


# ---------------------------------------------------------------------- MemAE


def attention(z, items, threshold):
    """Compute equations 4 to 7 with NumPy, with 1 / N as the threshold that nothing exceeds."""
    cosines = (z @ items.T) / np.linalg.norm(z, axis=1)[:, None] / np.linalg.norm(items, axis=1)
    weights = np.exp(cosines) / np.exp(cosines).sum(axis=1, keepdims=True)
    largest = weights.max(axis=1, keepdims=True)
    threshold = np.where(largest > threshold, threshold, 1.0 / len(items))
    kept = np.where(weights > threshold, weights, 0.0)
    return kept / kept.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("share", [1.0, 1.5])
def test_the_memory_is_addressed_by_equations_4_to_7(share):
    model, x = made(MemAE, num_items=10, threshold=share / 10), line(64)
    model.fit(x, **BATCH)
    z = model.encode(x)
    wanted = attention(z.astype("float64"), model.memory.astype("float64"), share / 10)
    found = model.address(z)
    assert 0 < np.mean(wanted == 0) < 1
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    decoded = model.decoder(ops.convert_to_tensor(found @ model.memory))
    np.testing.assert_allclose(model.decode(z), ops.convert_to_numpy(decoded), atol=1e-4)


def test_the_loss_is_equations_9_and_10():
    model, x = made(MemAE, num_items=10, entropy_weight=0.3), line(64)
    model.fit(x, **BATCH)
    logs = model.evaluate(x, return_dict=True, **BATCH)
    error = np.square(model.reconstruct(x) - x).sum(axis=1)
    entropy = stats.entropy(model.address(model.encode(x)).astype("float64"), axis=1).mean()
    assert logs["reconstruction_loss"] == pytest.approx(error.mean(), rel=1e-4)
    assert logs["entropy_loss"] == pytest.approx(entropy, rel=1e-4)
    assert logs["loss"] == pytest.approx(error.mean() + 0.3 * entropy, rel=1e-4)
    np.testing.assert_allclose(model.anomaly_score(x), error, rtol=1e-4, atol=1e-5)


def test_codes_that_no_item_resembles_have_memory_all_the_same():
    """All items are equal, so that no weight exceeds the threshold; a code of zero has no angle."""
    model = made(MemAE, num_items=10, threshold=0.3)
    model.build((None, 5))
    z = np.vstack([np.zeros((1, 3)), np.eye(3)]).astype("float32")
    weights = model.address(z)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(weights[0], 0.1, rtol=1e-5)
    assert np.any(weights[1:] == 0)


def test_with_the_defaults_no_memory_item_is_dead():
    x = keras_ae.datasets.as_array("small_mnist")[:1000].reshape(-1, 784)
    model = MemAE(seed=0)
    model.compile("adam")
    model.fit(x, epochs=10, verbose=0)
    used = model.address(model.encode(x)) > 0
    assert np.mean(used.any(axis=0)) == 1.0
    assert used.sum(axis=1).max() < model.num_items


def test_arguments_of_memories():
    for threshold in (0.09, 0.31, -1):
        with pytest.raises(ValueError, match=r"MemAE: threshold=.*num_items=10"):
            MemAE(num_items=10, threshold=threshold)
    for given in ({"num_items": 1}, {"entropy_weight": -1}):
        with pytest.raises(ValueError, match=f"MemAE: {next(iter(given))}="):
            MemAE(**given)


# ---------------------------------------------------------------------- DAGMM


def features(model, x):
    """Compute what the mixture models, section 3.2, with NumPy."""
    z, output = model.encode(x), model.reconstruct(x)
    lengths = [np.linalg.norm(v, axis=1, keepdims=True) for v in (x, output)]
    relative = np.linalg.norm(x - output, axis=1, keepdims=True) / lengths[0]
    cosine = np.sum(x * output, axis=1, keepdims=True) / lengths[0] / lengths[1]
    return np.concatenate([z, relative, cosine], axis=1).astype("float64")


def log_density(vectors, mixture):
    parts = zip(mixture["weights"], mixture["means"], mixture["covariances"], strict=True)
    logs = [np.log(w) + stats.multivariate_normal(m, c).logpdf(vectors) for w, m, c in parts]
    return np.logaddexp.reduce(logs, axis=0)


def test_the_score_is_the_energy_of_scipy_and_scikit_learn():
    model, x = made(DAGMM, num_components=3), line(128)
    model.fit(x, epochs=3, **BATCH)
    mixture, vectors, scores = model.mixture(), features(model, x), model.anomaly_score(x)
    np.testing.assert_allclose(scores, -log_density(vectors, mixture), rtol=1e-3, atol=2e-3)
    other = GaussianMixture(3)
    other.weights_, other.means_ = mixture["weights"], mixture["means"].astype("float64")
    other.covariances_ = mixture["covariances"].astype("float64")
    other.precisions_cholesky_ = np.linalg.inv(np.linalg.cholesky(other.covariances_))
    other.precisions_cholesky_ = other.precisions_cholesky_.transpose(0, 2, 1)
    np.testing.assert_allclose(scores, -other.score_samples(vectors), rtol=1e-3, atol=2e-3)


def test_the_losses_of_a_batch_are_equations_5_to_7():
    """One step with a rate of 0, without dropout, on all of the data."""
    model, x = made(DAGMM, rate=0.0, num_components=2), line(64)
    model.build((None, 5))
    model.estimator.layers[1].rate = 0.0
    model.fit(x, batch_size=64, verbose=0)
    vectors = features(model, x)
    members = ops.convert_to_numpy(model.estimator(vectors.astype("float32")))
    weights, means, covariances = [], [], []
    for part in members.T.astype("float64"):
        weights.append(part.mean())
        means.append(np.average(vectors, axis=0, weights=part))
        covariance = np.cov(vectors.T, aweights=part, bias=True)
        least = 1e-3 + 1e-4 * np.trace(covariance) / 5
        covariances.append(covariance + least * np.eye(5))
    mixture = {"weights": weights, "means": means, "covariances": covariances}
    for name, values in model.mixture().items():  # The first batch is all that the mixture knows.
        np.testing.assert_allclose(values, mixture[name], rtol=1e-3, atol=1e-5)
    energy = -log_density(vectors, mixture).mean()
    penalty = sum((1.0 / np.diag(covariance)).sum() for covariance in covariances)
    logs = {name: values[0] for name, values in model.history.history.items()}
    error = np.square(model.reconstruct(x) - x).sum(axis=1).mean()
    assert logs["energy_loss"] == pytest.approx(energy, rel=1e-3, abs=1e-3)
    assert logs["covariance_loss"] == pytest.approx(penalty, rel=1e-3)
    assert logs["loss"] == pytest.approx(error + 0.1 * energy + 0.005 * penalty, rel=1e-3)


def test_after_training_the_mixture_is_that_of_the_whole_data():
    """A generator cannot be read again, so that the running moments of its batches remain."""
    x, mixtures = line(96), []
    for rate in (0.0, 0.01):
        model = made(DAGMM, rate=rate, num_components=2)
        model.fit(x, epochs=2, **BATCH)
        mixtures.append(model.mixture())
        vectors = features(model, x)
        members = ops.convert_to_numpy(model.estimator(vectors.astype("float32")))
        for number, part in enumerate(members.T):
            covariance = np.cov(vectors.T, aweights=part, bias=True)
            found = model.mixture()["covariances"][number]
            least = 1e-3 + 1e-4 * np.trace(covariance) / 5
            wanted = covariance + least * np.eye(5)
            np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4)
    running = made(DAGMM, rate=0.0, num_components=2)
    running.build((None, 5))
    running.estimator.layers[1].rate = 0.0  # Members are then those of the whole data.
    running.fit((x[i : i + 16] for i in range(0, 96, 16)), steps_per_epoch=6, verbose=0)
    for name, values in mixtures[0].items():
        np.testing.assert_allclose(running.mixture()[name], values, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_covariances_can_be_factorized(scale):
    """Four examples have a singular covariance in 34 dimensions; columns may have any scale."""
    rng = np.random.default_rng(0)
    vectors = (scale * rng.normal(size=(4, 34)) * np.logspace(0, -3, 34)).astype("float32")
    members = rng.dirichlet(np.ones(3), size=4).astype("float32")
    members[:, 0] = 0.0  # Nothing belongs to this component.

    def energies(vectors, members):
        shares, means, covariances = dagmm._find_moments(vectors, members)
        inverse = dagmm._invert_factors(dagmm._regularize(covariances))
        return dagmm._energy(vectors, shares, means, inverse)

    assert np.all(np.isfinite(zoo.compute(energies, vectors, members)))


def test_arguments_of_mixtures():
    for given in ({"num_components": 0}, {"hidden_units": 0}, {"energy_weight": -1}):
        with pytest.raises(ValueError, match=f"DAGMM: {next(iter(given))}="):
            DAGMM(**given)
    with pytest.raises(ValueError, match="DAGMM: covariance_weight=-1"):
        DAGMM(covariance_weight=-1)


def test_arguments_of_one_class():
    for given in ({"nu": 0.0}, {"nu": 1.5}, {"weight_decay": -1}):
        with pytest.raises(ValueError, match=f"DeepSVDD: {next(iter(given))}="):
            DeepSVDD(**given)


def test_other_targets_are_refused():
    for cls in (MemAE, DAGMM):
        with pytest.raises(ValueError, match="targets have shape"):
            made(cls).fit(line(32), line(32)[:, :4], **BATCH)


def test_codes_that_are_not_finite_are_no_error_of_a_factorization():
    """NaN reaches the loss, whose error names the step."""
    encoder = keras.Sequential([keras.layers.Dense(4), keras.layers.Rescaling(float("nan"))])
    model = zoo.eager("DAGMM", encoder=encoder)
    with pytest.raises(FloatingPointError, match="became NaN or infinite in training step 1"):
        model.fit(zoo.data(), verbose=0)
