"""Models of data given labels, vectors and pictures; and of labels that are mostly unknown."""

import itertools
from unittest import mock

import keras
import numpy as np
import pytest
import zoo
from keras import ops
from scipy import special, stats

import keras_ae
from keras_ae import testing
from keras_ae.distributions import LabeledGaussians

PATTERNS = np.array(list(itertools.product([0, 1], repeat=6)), "float32")
QUIET = {"verbose": 0, "return_dict": True}
BATCH = {"batch_size": 16, "verbose": 0}
BOTH = ["ConditionalVAE", "SemiSupervisedVAE"]


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def built(name="ConditionalVAE", shape=(None, 6), scale=3.0, **given):
    """Return a compiled model whose distributions differ from each other and between labels."""
    model = zoo.eager(name, **given)
    model.build(shape)
    for variable in model.trainable_variables:
        variable.assign(scale * numpy(variable))
    return model


def without_noise():
    """Draw the mean of every Gaussian."""

    def normal(shape, mean=0.0, stddev=1.0, dtype=None, seed=None):
        return ops.zeros(shape, "float32")

    return mock.patch.object(keras.random, "normal", normal)


def divergence(q, p=None):
    """Return KL(q || p) for every dimension, by NumPy; p is the standard normal by default."""
    (q_mean, q_log), zero = (numpy(v) for v in (q.mean, q.log_variance)), np.zeros(1)
    p_mean, p_log = (zero, zero) if p is None else (numpy(p.mean), numpy(p.log_variance))
    ratio = (np.exp(q_log) + (q_mean - p_mean) ** 2) / np.exp(p_log)
    return 0.5 * (ratio - 1.0 + p_log - q_log)


def log_bernoulli(x, logits):
    return np.sum(x * special.log_expit(logits) + (1 - x) * special.log_expit(-logits), axis=-1)


# ------------------------------------------------------------------ ConditionalVAE


def terms_of(model, x, **inputs):
    inputs = {k: ops.convert_to_tensor(np.asarray(v)) for k, v in inputs.items()}
    x = ops.convert_to_tensor(x)
    return {k: numpy(v) for k, v in model.loss_terms(x, x, False, **inputs).items()}


@pytest.mark.parametrize("prior", ["learned", "standard"])
def test_the_bound_is_that_of_the_paper(prior):
    model, x, label = built(prior=prior), zoo.data(12), np.arange(12, dtype="int32") % 3
    with without_noise():
        terms = terms_of(model, x, label=label)
    one_hot = np.eye(3, dtype="float32")[label]
    parameters = numpy(model.features_to_code(model.encoder(np.concatenate([x, one_hot], axis=1))))
    mean, log_variance = np.split(parameters, 2, axis=1)
    q = model.posterior(x, label=label)
    np.testing.assert_allclose(numpy(q.mean), mean, atol=1e-6)
    p = None
    if prior == "learned":
        p = model.prior(mean, label=label)
        parameters = np.split(numpy(model.prior_network(one_hot)), 2, axis=1)
        np.testing.assert_allclose(numpy(p.mean), parameters[0], atol=1e-6)
        assert np.ptp(parameters[0], axis=0).min() > 1e-3  # The labels' priors differ.
    np.testing.assert_allclose(terms["kl_loss"], divergence(q, p).sum(axis=1), rtol=1e-4, atol=1e-5)
    logits = numpy(model.decoder(np.concatenate([mean, one_hot], axis=1)))
    np.testing.assert_allclose(terms["reconstruction_loss"], -log_bernoulli(x, logits), rtol=1e-4)


def test_the_divergence_of_two_gaussians_is_the_integral():
    model, x = built(latent_dim=1), zoo.data(3)
    label = np.arange(3, dtype="int32")
    q, p = model.posterior(x, label=label), model.prior(np.zeros((3, 1)), label=label)
    found = terms_of(model, x, label=label)["kl_loss"]
    for row in range(3):
        first, second = (
            stats.norm(
                float(numpy(d.mean)[row, 0]), np.exp(0.5 * float(numpy(d.log_variance)[row, 0]))
            )
            for d in (q, p)
        )
        expected = first.expect(lambda z: first.logpdf(z) - second.logpdf(z))  # noqa: B023
        assert found[row] == pytest.approx(expected, rel=1e-5, abs=1e-4)


def test_free_bits_count_every_dimension():
    model, x, label = built(free_bits=0.3), zoo.data(12), np.arange(12, dtype="int32") % 3
    parts = divergence(model.posterior(x, label=label), model.prior(np.zeros((12, 2)), label=label))
    expected = np.maximum(parts.mean(axis=0), 0.3).sum()
    found = terms_of(model, x, label=label)["free_bits_loss"]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_prior_and_posterior_are_trained():
    model = zoo.eager("ConditionalVAE", keras.optimizers.SGD(0.1))
    model.build((None, 6))
    before = [numpy(v) for v in model.trainable_variables]
    model.fit(zoo.data_for("ConditionalVAE"), **BATCH)
    for variable, old in zip(model.trainable_variables, before, strict=True):
        assert np.any(numpy(variable) != old), variable.path


def learned(name, **given):
    """Return a model that was trained on data whose first number is the label."""
    label = np.tile([0, 1, 2], 20)
    x = np.random.default_rng(0).integers(0, 2, (60, 6)).astype("float32")
    x[:, :3] = np.eye(3)[label]
    model = zoo.compiled(name, keras.optimizers.Adam(0.05), **given)
    known = np.where(np.arange(60) < 30, label, -1) if name == "SemiSupervisedVAE" else label
    model.fit(np.tile(x, (5, 1)), label=np.tile(known, 5), epochs=10, batch_size=60, verbose=0)
    return model, x, label


@pytest.mark.parametrize("name", BOTH)
def test_samples_are_of_their_label(name):
    model, _, _ = learned(name)
    for label in range(3):
        found = model.sample(20, seed=0, label=label)[:, :3]
        assert np.all(found.argmax(axis=1) == label)
    label = np.tile([2, 0, 1], 5)
    found = model.sample(15, seed=0, label=label)
    assert np.array_equal(found[:, :3].argmax(axis=1), label)
    assert np.array_equal(found, model.sample(15, seed=0, label=label.tolist()))


def test_samples_are_drawn_from_the_learned_prior():
    model = built(likelihood="gaussian")
    codes = model.sampler.draw(4000, keras.random.SeedGenerator(0), label=np.full(4000, 2, "int32"))
    p = model.prior(np.zeros((1, 2)), label=np.array([2]))
    np.testing.assert_allclose(codes.mean(axis=0), numpy(p.mean)[0], atol=0.1)
    np.testing.assert_allclose(codes.var(axis=0), np.exp(numpy(p.log_variance)[0]), rtol=0.1)


@pytest.mark.parametrize("label", [0, 2])
def test_the_probabilities_of_all_data_given_a_label_add_up_to_one(label):
    model = built(scale=0.5)
    inputs = {"label": np.full(64, label)}
    totals = [
        np.exp(model.log_likelihood(PATTERNS, num_samples=400, seed=seed, **inputs)).sum()
        for seed in range(16)
    ]
    error = np.std(totals, ddof=1) / 4
    assert error < 0.05
    assert np.mean(totals) == pytest.approx(1.0, abs=4 * error + 2e-3)


# ------------------------------------------------------------------ what a condition may be


@pytest.mark.parametrize(
    ("shape", "condition", "encoder"),
    [
        ((6,), (4,), None),
        ((6,), (4,), "mlp"),
        ((6,), (4, 4, 1), None),
        ((4, 4, 1), (3,), None),
        ((4, 4, 1), (4, 4, 2), None),
        ((4, 4, 1), (6, 6, 1), "mlp"),
        ((5, 2), (3,), None),
        ((5, 2), (5, 3), "recurrent"),
    ],
    ids=str,
)
def test_vectors_pictures_and_sequences_are_conditions(shape, condition, encoder):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, (12, *shape)).astype("float32")
    c = rng.normal(size=(12, *condition)).astype("float32")
    options = {"units": (8,)}
    model = zoo.eager(
        "ConditionalVAE", num_classes=None, condition_encoder=encoder, network_options=options
    )
    assert model.extra_inputs == ("condition",)
    model.fit(x, condition=c, epochs=1, **BATCH)
    channels = model.encoder.input_shape[-1] - shape[-1]
    if condition[:-1] == shape[:-1]:
        assert channels == condition[-1]
    else:
        assert channels == model.decoder.input_shape[-1] - 2
    z = model.encode(x, condition=c)
    assert model.decode(z, condition=c).shape == x.shape
    assert np.abs(model.decode(z, condition=c) - model.decode(z, condition=-c)).max() > 0
    assert np.abs(model.encode(x, condition=c) - model.encode(x, condition=-c)).max() > 0
    assert model.sample(3, seed=0, condition=c[0]).shape == (3, *shape)
    assert np.all(np.isfinite(model.log_likelihood(x, condition=c, num_samples=4, seed=0)))


def test_a_network_of_your_own_reads_the_condition(tmp_path):
    network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(5, "tanh")])
    model = zoo.eager("ConditionalVAE", condition_encoder=network)
    data = zoo.data_for("ConditionalVAE")
    before = numpy(network.trainable_variables[0])
    model.fit(data, **BATCH)
    assert model.condition_encoder is network
    assert model.decoder.input_shape[-1] == 2 + 5
    assert np.any(numpy(network.trainable_variables[0]) != before)
    model.save(tmp_path / "model.keras")
    loaded = keras_ae.load(tmp_path / "model.keras")
    assert np.array_equal(loaded.encode(data), model.encode(data))


def test_padded_steps_stay_padding():
    x = np.random.default_rng(0).integers(0, 2, (6, 5, 2)).astype("float32")
    real = np.arange(5) < np.array([5, 3, 1, 4, 2, 5])[:, None]
    label, found = np.arange(6) % 3, []
    for value in (-1.0, 7.0):
        options = {"units": (8,), "mask_value": value}
        model = zoo.eager("ConditionalVAE", network_options=options)
        padded = np.where(real[..., None], x, value)
        logs = model.evaluate(padded, label=label, batch_size=6, **QUIET)
        found.append((model.encode(padded, label=label), logs["loss"]))
    np.testing.assert_allclose(found[0][0], found[1][0], atol=1e-6)
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-5)


def test_what_is_no_condition_is_refused():
    model, x = zoo.eager("ConditionalVAE", num_classes=None), zoo.data()
    with pytest.raises(ValueError, match=r"rows of shape \(\).*condition=c\[:, None\]"):
        model.fit(x, condition=x[:, 0], verbose=0)
    with pytest.raises(ValueError, match='keys "x" and "condition"'):
        zoo.make("ConditionalVAE", num_classes=None).build((None, 6))
    model.build({"x": (None, 6), "condition": (None, 2)})
    with pytest.raises(ValueError, match=r"rows of shape \(3,\).*built for \(2,\)"):
        model.encode(x, condition=x[:, :3])
    with pytest.raises(TypeError, match="unknown input 'label'. It takes condition"):
        model.encode(x, label=x[:, 0])
    with pytest.raises(ValueError, match='prior=\'normal\' must be "learned" or "standard"'):
        keras_ae.ConditionalVAE(prior="normal")
    with pytest.raises(ValueError, match="num_classes=0 must be a positive integer"):
        keras_ae.ConditionalVAE(num_classes=0)
    with pytest.raises(ValueError, match="num_classes=None must be a positive integer"):
        keras_ae.SemiSupervisedVAE(num_classes=None)


@pytest.mark.parametrize("name", BOTH)
def test_what_is_no_label_is_refused(name):
    model, x = zoo.trained(name), zoo.data()
    label = np.arange(48) % 3
    least = 0 if name == "ConditionalVAE" else -1
    calls = {
        "fit": lambda label: model.fit(x, label=label, verbose=0),
        "evaluate": lambda label: model.evaluate({"x": x, "label": label}, verbose=0),
        "encode": lambda label: model.encode(x, label=label),
        "decode": lambda label: model.decode(zoo.code_of(name, 48), label=label),
        "sample": lambda label: model.sample(48, label=label),
    }
    for call in calls.values():
        for wrong in (label + 1, np.where(label == 0, least - 1, label)):
            with pytest.raises(ValueError, match="takes integers from .* to 2"):
                call(wrong)
        with pytest.raises(TypeError, match="'label' has dtype .*, but must contain numbers"):
            call(label.astype(str))
        with pytest.raises(ValueError, match=r"\(48, 3\) must be a vector.*np.argmax"):
            call(np.eye(3)[label])
        with pytest.raises(ValueError, match="there are 48 examples"):
            call(label[:-1])
    for call in ("fit", "decode"):
        with pytest.raises(TypeError, match=f"{name}.{call}: the input 'label' is missing"):
            calls[call](None)


class Columns(keras.utils.PyDataset):
    """Batches of 16 examples, whose labels have the shape (16, 1)."""

    def __init__(self, x, label):
        super().__init__()
        self.x, self.label = x, label[:, None]

    def __len__(self):
        return len(self.x) // 16

    def __getitem__(self, number):
        rows = slice(16 * number, 16 * number + 16)
        return {"x": self.x[rows], "label": self.label[rows]}


@pytest.mark.parametrize("name", BOTH)
def test_labels_in_a_column_are_those_of_a_vector(name):
    model, x, label = built(name), zoo.data(), np.arange(48) % 3
    expected = model.evaluate(x, label=label, **BATCH)
    assert model.evaluate(Columns(x, label), verbose=0) == pytest.approx(expected)
    model.fit(Columns(x, label), verbose=0)
    tensor, expected = ops.convert_to_tensor(x), model.encode(x, label=label)
    for column in (label[:, None], ops.convert_to_tensor(label[:, None])):
        np.testing.assert_allclose(numpy(model.encode(tensor, label=column)), expected, atol=1e-6)


@pytest.mark.parametrize("name", BOTH)
def test_labels_beside_tensors_are_checked(name):
    model, x, label = zoo.trained(name), ops.convert_to_tensor(zoo.data()), np.arange(48) % 3
    z = ops.convert_to_tensor(zoo.code_of(name, 48))
    for call, first in ((model.encode, x), (model.reconstruct, x), (model.decode, z)):
        with pytest.raises(ValueError, match="label holds values from 1 to 3"):
            call(first, label=label + 1)
        with pytest.raises(ValueError, match="there are 48 examples"):
            call(first, label=label[:-1])
        assert call(first, label=label.tolist()).shape[0] == 48


def test_one_label_for_all_examples_is_refused():
    model, x = zoo.trained("ConditionalVAE"), zoo.data()
    for split in (0.0, 0.25):
        with pytest.raises(ValueError, match=r"'label' has shape \(\).*one row for each example"):
            model.fit(x, label=1, validation_split=split, verbose=0)


def test_class_weight_is_of_no_use_with_labels_either():
    model, x = zoo.trained("ConditionalVAE"), zoo.data()
    with pytest.raises(ValueError, match="targets of an autoencoder are data. Pass sample_weight"):
        model.fit(x, label=np.arange(48) % 3, class_weight={0: 2.0}, verbose=0)


# ------------------------------------------------------------------ SemiSupervisedVAE


def test_a_classifier_is_a_part_of_a_keras_model():
    model = built("SemiSupervisedVAE")
    x = keras.Input((6,))
    classifier = keras.Model(x, model.classify(x))
    np.testing.assert_array_equal(classifier.predict(PATTERNS, verbose=0), model.classify(PATTERNS))


def test_a_scale_that_is_fitted_to_all_labels_is_refused():
    with pytest.raises(ValueError, match="every label, wrong ones included. Choose .*learned"):
        zoo.make("SemiSupervisedVAE", likelihood="gaussian_optimal_scale").build((None, 6))


def test_the_classifier_skips_the_padding_of_an_encoder_of_your_own():
    x = np.random.default_rng(0).integers(0, 2, (6, 5, 2)).astype("float32")
    real = np.arange(5) < np.array([5, 3, 1, 4, 2, 5])[:, None]
    found = []
    for value in (-1.0, 7.0):
        layers = [keras.Input((5, 2 + 3)), keras.layers.Masking(value), keras.layers.GRU(4)]
        options = {"encoder": keras.Sequential(layers), "network_options": {"units": (8,)}}
        model = zoo.eager("SemiSupervisedVAE", **options)
        model.build((None, 5, 2))
        found.append(model.class_probabilities(np.where(real[..., None], x, value)))
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


@pytest.mark.parametrize("known", [False, True])
def test_the_bound_sums_over_labels(known):
    """Eq. 6 and 7 by NumPy, label by label."""
    model, x = built("SemiSupervisedVAE"), zoo.data(10)
    label = np.arange(10, dtype="int32") % 3 if known else np.full(10, -1, "int32")
    with without_noise():
        terms = terms_of(model, x, label=label)
    q_y = model.class_probabilities(x).astype("float64")
    np.testing.assert_allclose(q_y.sum(axis=1), 1.0, atol=1e-6)
    assert np.ptp(q_y) > 0.05
    bounds, parts = [], []
    for y in range(3):
        labels = np.full(10, y, "int32")
        q = model.posterior(x, label=labels)
        p = model.conditional(q.mean, label=labels)
        parts.append([-numpy(p.log_prob(x)), divergence(q).sum(axis=1)])
        bounds.append(-sum(parts[-1]) - np.log(3))  # -L(x, y)
    bounds, parts = np.array(bounds), np.array(parts)
    found = terms["reconstruction_loss"] + terms["kl_loss"] + terms["label_loss"]
    if known:
        expected = -bounds[label, np.arange(10)]
        np.testing.assert_allclose(terms["reconstruction_loss"], parts[label, 0, np.arange(10)])
    else:
        expected = -np.sum(q_y.T * bounds, axis=0) - stats.entropy(q_y, axis=1)
        np.testing.assert_allclose(terms["kl_loss"], np.sum(q_y.T * parts[:, 1], axis=0), rtol=1e-4)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    cross_entropy = -np.log(q_y[np.arange(10), label]) if known else np.zeros(10)
    np.testing.assert_allclose(terms["classification_loss"], cross_entropy, rtol=1e-4)


def test_the_weight_of_the_cross_entropy_is_that_of_the_data_set():
    model, x = zoo.eager("SemiSupervisedVAE", classification_weight=0.4), zoo.data(40)
    label = np.where(np.arange(40) < 5, 1, -1)
    for data in ({"x": x, "label": label}, {"x": x[:3], "label": label[:3]}):
        model.fit(data, batch_size=8, verbose=0)  # The second `fit` counts nothing.
        assert float(model.loss_weights()["classification_loss"]) == pytest.approx(0.4 * 40 / 5)
    logs = model.evaluate(x, label=label, batch_size=8, **QUIET)
    classified = np.log(model.class_probabilities(x[:5])[:, 1]).mean()
    bound = sum(logs[name] for name in ("reconstruction_loss", "kl_loss", "label_loss"))
    assert logs["loss"] == pytest.approx(bound - 0.4 * classified, rel=1e-4)  # Eq. 9, divided by N.
    model.adapt(x, label=np.where(np.arange(40) < 20, 1, -1))
    assert float(model.loss_weights()["classification_loss"]) == pytest.approx(0.8)
    with pytest.raises(ValueError, match="label is -1, unknown, for all 40 examples"):
        zoo.eager("SemiSupervisedVAE").fit(x, label=np.full(40, -1), verbose=0)


@pytest.mark.parametrize("known", [False, True])
def test_codes_and_reconstructions_are_expectations(known):
    model, x = built("SemiSupervisedVAE"), zoo.data(10)
    label = np.where(np.arange(10) < 5, 2, -1) if known else None
    weights = model.class_probabilities(x)
    if known:
        weights[:5] = [0, 0, 1]
    codes, data = [], []
    for y in range(3):
        codes.append(model.encode(x, label=np.full(10, y)))
        data.append(model.decode(codes[-1], label=np.full(10, y)))
        np.testing.assert_allclose(model.reconstruct(x, label=np.full(10, y)), data[-1], atol=1e-6)
    expected = np.einsum("by,ybd->bd", weights, codes)
    np.testing.assert_allclose(model.encode(x, label=label), expected, atol=1e-5)
    expected = np.einsum("by,ybd->bd", weights, data)
    np.testing.assert_allclose(model.reconstruct(x, label=label), expected, atol=1e-5)


def test_draws_without_a_label_are_of_the_mixture():
    model = built("SemiSupervisedVAE", scale=1.0)
    x = np.tile(zoo.data(1), (4000, 1))
    codes, weights = model.encode(x, sample=True, seed=0), model.class_probabilities(x[:1])[0]
    q = [model.posterior(x[:1], label=np.array([y])) for y in range(3)]
    means, variances = (
        np.array([numpy(f(each))[0] for each in q])
        for f in (lambda g: g.mean, lambda g: ops.exp(g.log_variance))
    )
    mean = weights @ means
    variance = weights @ (variances + means**2) - mean**2
    np.testing.assert_allclose(codes.mean(axis=0), mean, atol=0.1)
    np.testing.assert_allclose(codes.var(axis=0), variance, rtol=0.15)


def test_the_density_of_labeled_gaussians():
    probabilities = np.array([[0.2, 0.8], [1.0, 1e-30]])
    rng = np.random.default_rng(0)
    means, logs = rng.normal(size=(2, 2, 2, 3))
    q = LabeledGaussians(np.log(probabilities), means, logs).repeat(50)
    label, z, found = (numpy(v) for v in q.sample_with_label(seed=0))
    row = np.repeat([0, 1], 50)
    assert {*label[:50]} == {0, 1} and np.all(label[50:] == 0)
    scale = np.exp(0.5 * logs[row, label])
    expected = stats.norm.logpdf(z, means[row, label], scale).sum(axis=1)
    expected += np.log(probabilities[row, label])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_the_marginal_probabilities_of_all_data_add_up_to_one():
    model = built("SemiSupervisedVAE", scale=0.5)
    totals = [
        np.exp(model.log_likelihood(PATTERNS, num_samples=400, seed=seed)).sum()
        for seed in range(16)
    ]
    error = np.std(totals, ddof=1) / 4
    assert error < 0.05
    assert np.mean(totals) == pytest.approx(1.0, abs=4 * error + 2e-3)


def test_the_marginal_likelihood_is_the_sum_over_labels():
    """The code has one dimension, over which NumPy integrates."""
    model, x = built("SemiSupervisedVAE", latent_dim=1, scale=0.5), zoo.data(6)
    z = np.linspace(-8.0, 8.0, 401, dtype="float32")
    density = np.zeros(6)
    for y in range(3):
        p = model.decode(z[:, None], label=np.full(401, y)).astype("float64")
        likelihood = np.exp(x @ np.log(p.T) + (1 - x) @ np.log(1 - p.T))
        density += likelihood @ stats.norm.pdf(z) * (z[1] - z[0]) / 3
    found = model.log_likelihood(x, num_samples=4000, seed=0)
    np.testing.assert_allclose(found, np.log(density), atol=0.05)
    logs = terms_of(model, x, label=np.full(6, -1, "int32"))
    bound = -(logs["reconstruction_loss"] + logs["kl_loss"] + logs["label_loss"])
    assert np.mean(bound) < np.mean(found)


def test_it_learns_to_classify_from_some_labels():
    model, x, label = learned("SemiSupervisedVAE")
    assert np.mean(model.classify(x) == label) > 0.95
    assert model.classify(x).dtype == "int32"
    probabilities = model.class_probabilities(x)
    assert np.array_equal(probabilities.argmax(axis=1), model.classify(x))
    found = model.sample(300, seed=0)[:, :3].argmax(axis=1)
    assert np.all(np.bincount(found, minlength=3) > 60)  # Without a label all are as probable.
    assert np.array_equal(model.sample(300, seed=0)[:, :3].argmax(axis=1), found)


def test_unknown_labels_make_no_data():
    model, z = zoo.trained("SemiSupervisedVAE"), zoo.code_of("SemiSupervisedVAE", 2)
    for call in (lambda: model.decode(z, label=[-1, 0]), lambda: model.sample(2, label=-1)):
        with pytest.raises(ValueError, match="from -1 to .* takes integers from 0 to 2"):
            call()


def test_the_contract_with_unknown_labels():
    """Every third label of the held-out data is unknown."""
    data = zoo.data_for("SemiSupervisedVAE", 64)
    data["label"][48::3] = -1
    subject = testing.Subject(zoo.MODELS["SemiSupervisedVAE"], data)
    subject.trained  # noqa: B018
    for check in ("history", "training", "evaluation"):
        subject.run(check)


# ------------------------------------------------------------------ files


@pytest.mark.parametrize("name", BOTH)
def test_a_loaded_model_goes_on(name, tmp_path):
    model, data = zoo.fitted(name), zoo.data_for(name)
    if name == "SemiSupervisedVAE":
        model = zoo.eager(name)
        data["label"][::2] = -1
        model.fit(data, **BATCH)
    model.save(tmp_path / "model.keras")
    loaded = keras_ae.load(tmp_path / "model.keras")
    figures = [m.fit(data, epochs=2, **BATCH).history for m in (model, loaded)]
    assert figures[0] == figures[1]
    one = {k: v[:5] for k, v in data.items()}
    assert np.array_equal(loaded.encode(one), model.encode(one))
    if name == "SemiSupervisedVAE":
        assert float(loaded._examples_per_label) == 2.0
        assert np.array_equal(loaded.classify(one), model.classify(one))


@pytest.mark.parametrize("name", BOTH)
def test_served_endpoints_take_labels_by_name(name, tmp_path):
    if keras.config.backend() == "torch":
        pytest.skip("torch writes no SavedModel")
    import tensorflow as tf

    model, x = zoo.trained(name), zoo.data(5)
    label = np.array([0, 1, 2, 0, 1], "int32")
    model.export(tmp_path / "model")
    served = tf.saved_model.load(str(tmp_path / "model"))
    # A served function takes only the inputs that the method requires.
    named = {"label": label} if name == "ConditionalVAE" else {}
    found = served.signatures["encode"](x=tf.constant(x), **named)
    np.testing.assert_allclose(next(iter(found.values())), model.encode(x, **named), atol=1e-5)
    z = np.zeros((5, 2), "float32")
    np.testing.assert_allclose(served.decode(z, label), model.decode(z, label=label), atol=1e-5)
    found = served.sample(3, label)
    np.testing.assert_allclose(found, model.sample(5, seed=3, label=label), atol=1e-5)
    if name == "SemiSupervisedVAE":
        found = served.class_probabilities(x)
        np.testing.assert_allclose(found, model.class_probabilities(x), atol=1e-5)


class ShiftedVAE(keras_ae.VAE):
    """A VAE whose label moves the prior: the class overrides `prior` alone."""

    extra_inputs = ("label",)
    _input_dtypes = {"label": "int32"}
    kind = staticmethod(keras_ae.distributions.DiagonalGaussian)

    def prior(self, like, *, label):
        shift = 1.5 * ops.cast(label, "float32")[:, None] - 1.0
        return self.kind(0.0 * like + shift, 0.0 * like - 0.7)


class HeavyVAE(ShiftedVAE):
    kind = staticmethod(
        lambda mean, log_scale: keras_ae.distributions.Laplace(mean, ops.exp(log_scale))
    )


@pytest.mark.parametrize("cls", [ShiftedVAE, HeavyVAE])
def test_a_prior_of_a_subclass_is_that_of_training(cls):
    x = np.random.default_rng(0).integers(0, 2, (400, 6)).astype("float32")
    label = x[:, 0].astype("int32")
    model = cls(2, network_options={"units": (8,)}, seed=0)
    model.compile("adam")
    loss = model.evaluate(x, label=label, verbose=0, return_dict=True)
    draws = [model.log_likelihood(x, num_samples=1, seed=s, label=label) for s in range(20)]
    # One draw estimates the bound without bias.
    error = np.std(np.mean(draws, axis=1)) + 0.02
    np.testing.assert_allclose(-np.mean(draws), loss["loss"], atol=5 * error)
