"""Models of sequences: state space models whose filters are known, padding, and forecasts."""

import keras
import numpy as np
import pytest
import scipy.special
import scipy.stats

import keras_ae
from keras_ae import layers, likelihoods

A, OFFSET, STATE_NOISE, C, NOISE = 0.9, 0.2, 0.5, 1.5, 0.7  # A linear model of one dimension.
STEPS = 4
MODELS = ["VRNN", "DeepMarkovModel"]
SMALL = {"hidden_units": 8, "network_options": {"units": (8,), "activation": "tanh"}, "seed": 0}


def assign(layer, kernel, bias):
    """Set a dense layer to a constant times the identity, and a bias."""
    layer.kernel.assign(kernel * np.eye(*layer.kernel.shape))
    layer.bias.assign(np.full(layer.bias.shape, bias))


@pytest.fixture(scope="module")
def linear():
    """A deep Markov model with the weights of a linear Gaussian model."""
    options = {"units": (1,), "activation": "linear"}
    model = keras_ae.DeepMarkovModel(
        latent_dim=1,
        hidden_units=4,
        mask_value=-99.0,
        likelihood=likelihoods.Gaussian(NOISE),
        network_options=options,
        seed=0,
    )
    model.compile()
    model.build((None, STEPS, 1))
    transition = model.transition
    assign(transition.gate[1], 0.0, -60.0)
    assign(transition.linear, A, OFFSET)
    assign(transition.log_variance, 0.0, 2.0 * np.log(STATE_NOISE))
    hidden, output = (layer for layer in model.decoder.layers if layer.weights)
    assign(hidden, 1.0, 0.0)
    assign(output, C, 0.0)
    # The posterior is the same on every backend, and wide.
    assign(model.combiner.statistics, 0.0, 0.3)
    return model


@pytest.fixture(scope="module")
def series():
    """Four sequences, of which one has a missing step and one is short."""
    x = np.random.default_rng(0).normal(0.5, 1.5, (4, STEPS, 1)).astype("float32")
    x[1, 1] = x[2, 2:] = -99.0
    return x


def joint_gaussian():
    """Return the mean of all states, and their covariance."""
    mean, covariance = np.zeros(STEPS), np.zeros((STEPS, STEPS))
    last_mean, last_variance = 0.0, 0.0
    for step in range(STEPS):
        mean[step] = last_mean = A * last_mean + OFFSET
        last_variance = A**2 * last_variance + STATE_NOISE**2
        for later in range(step, STEPS):
            covariance[step, later] = covariance[later, step] = A ** (later - step) * last_variance
    return mean, covariance


def condition(x, seen):
    """Return mean and covariance of all states given the seen steps of x, and log p(x)."""
    mean, covariance = joint_gaussian()
    known = C * mean[seen], C**2 * covariance[np.ix_(seen, seen)] + NOISE**2 * np.eye(len(seen))
    gain = C * covariance[:, seen] @ np.linalg.inv(known[1])
    after = covariance - C * gain @ covariance[seen]
    density = scipy.stats.multivariate_normal(*known).logpdf(x[seen]) if len(seen) else 0.0
    return mean + gain @ (x[seen] - known[0]), after, density


def given(x):
    return np.flatnonzero(x[:, 0] != -99.0)


def test_the_filter_is_that_of_kalman(linear, series):
    found = linear.filter(series, num_particles=20_000, seed=0)
    for x, means in zip(series, found[..., 0], strict=True):
        seen = given(x)
        wanted = [condition(x[:, 0], seen[seen <= step])[0][step] for step in range(STEPS)]
        np.testing.assert_allclose(means, wanted, atol=0.05)


def test_smoothed_means_and_the_likelihood_are_exact(linear, series):
    smoothed = linear.smooth(series, num_samples=100_000, seed=0)[..., 0]
    likelihood = linear.log_likelihood(series, num_samples=100_000, seed=0)
    for x, means, density in zip(series, smoothed, likelihood, strict=True):
        seen = given(x)
        wanted, _, exact = condition(x[:, 0], seen)
        last = seen[-1] + 1  # Nothing is said of the states of padding.
        np.testing.assert_allclose(means[:last], wanted[:last], atol=0.1)
        assert density == pytest.approx(exact, abs=0.1)


def test_samples_have_the_moments_of_the_prior(linear):
    mean, covariance = joint_gaussian()
    x = linear.sample(20_000, seed=0)[..., 0]  # C times the states
    np.testing.assert_allclose(x.mean(axis=0), C * mean, atol=0.05)
    np.testing.assert_allclose(np.cov(x.T), C**2 * covariance, atol=0.1)


def test_forecasts_follow_the_transition_from_the_last_state(linear, series):
    """Their moments are those of the last state, drawn from the posterior, and the noise since."""
    drawn = linear.forecast(series, num_steps=2, num_samples=20_000, seed=0)[..., 0]
    copies = np.repeat(series, 20_000, axis=0)
    states = linear.encode(copies, sample=True, seed=1)[..., 0].reshape(4, 20_000, STEPS)
    for x, found, z in zip(series, drawn, states, strict=True):
        last = z[:, given(x)[-1]]
        mean, variance = last.mean(), last.var()
        for step in range(2):
            mean, variance = A * mean + OFFSET, A**2 * variance + STATE_NOISE**2
            assert found[:, step].mean() == pytest.approx(C * mean, abs=0.06)
            assert found[:, step].var() == pytest.approx(C**2 * variance + NOISE**2, rel=0.06)


def test_the_transition_is_a_gated_mixture():
    layer = layers.GatedTransition(3, hidden_units=5)
    z = np.random.default_rng(0).normal(size=(7, 3)).astype("float32")
    p = layer.follow(z)
    for weight in layer.weights:
        weight.assign(np.random.default_rng(1).normal(size=weight.shape))
    p = layer.follow(z)

    def dense(of, values):
        return values @ of.kernel.numpy() + of.bias.numpy()

    gate = scipy.special.expit(dense(layer.gate[1], np.maximum(dense(layer.gate[0], z), 0)))
    proposal = dense(layer.proposal[1], np.maximum(dense(layer.proposal[0], z), 0))
    mean = (1 - gate) * dense(layer.linear, z) + gate * proposal
    found = keras.ops.convert_to_numpy(p.mean)
    np.testing.assert_allclose(found, mean, rtol=1e-4, atol=1e-5)
    found = keras.ops.convert_to_numpy(p.log_variance)
    wanted = dense(layer.log_variance, np.maximum(proposal, 0))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


# ------------------------------------------------------------------ both models


def build(name, **options):
    model = getattr(keras_ae, name)(latent_dim=2, **SMALL | options)
    model.compile("adam")
    return model


def copy_weights(model, other):
    for source, target in zip(model.variables, other.variables, strict=True):
        if "seed" not in target.path:
            target.assign(keras.ops.convert_to_numpy(source))


def bits(examples=12, steps=6, features=3):
    return np.random.default_rng(0).integers(0, 2, (examples, steps, features)).astype("float32")


@pytest.mark.parametrize("name", MODELS)
def test_padding_changes_nothing(name):
    model, x = build(name, mask_value=-1.0), bits()
    short = x.copy()
    short[:, 4:] = -1.0
    model.build(x.shape)
    same = build(name)
    same.build((None, 4, 3))
    copy_weights(model, same)
    np.testing.assert_allclose(
        model.encode(short)[:, :4], same.encode(x[:, :4]), rtol=1e-5, atol=1e-6
    )
    ours, theirs = (
        m._infer(m._evidence(keras.ops.convert_to_tensor(v), False), None, False)
        for m, v in ((same, x[:, :4]), (model, short))
    )
    divergences = [keras.ops.convert_to_numpy(v[2]) for v in (ours, theirs)]
    np.testing.assert_allclose(divergences[1][:, :4], divergences[0], rtol=1e-4, atol=1e-6)
    assert (divergences[1][:, 4:] == 0).all()
    found = keras.ops.convert_to_numpy(model._condition_on(theirs[1]).log_prob(short))
    wanted = keras.ops.convert_to_numpy(same._condition_on(ours[1]).log_prob(x[:, :4]))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    logs = model.evaluate(short, verbose=0, return_dict=True)
    assert logs["num_steps"] == 4.0
    assert logs["nats_per_step"] == pytest.approx(logs["loss"] / 4.0, rel=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_a_missing_step_between_others_is_inferred(name):
    model, x = build(name, mask_value=-1.0), bits()
    gap = x.copy()
    gap[:, 2] = -1.0
    model.build(x.shape)
    logs = model.evaluate(gap, verbose=0, return_dict=True)
    assert logs["num_steps"] == 6.0  # The state of the missing step counts, its data does not.
    other = gap.copy()
    other[:, 3] = 1.0 - other[:, 3]
    changed = np.abs(model.encode(other) - model.encode(gap)).max(axis=(0, 2))
    assert changed[2 if name == "DeepMarkovModel" else 3] > 0


@pytest.mark.parametrize("name", MODELS)
def test_the_bound_is_below_the_likelihood(name):
    model, x = build(name), bits()
    model.fit(x, epochs=1, verbose=0)
    bounds = [-model.evaluate(x, verbose=0, return_dict=True)["loss"] for _ in range(20)]
    likelihood = model.log_likelihood(x, num_samples=2000, seed=0).mean()
    assert np.mean(bounds) < likelihood + 0.02


@pytest.mark.parametrize("name", MODELS)
def test_a_code_decodes_to_the_sample_that_it_was_drawn_with(name):
    model = build(name)
    model.build((None, 6, 3))
    z = model._draw_prior(4, keras.random.SeedGenerator(0))
    x = model._decode_draws(keras.ops.convert_to_numpy(z), verbose=0)
    assert x.shape == (4, 6, 3) and 0.0 < x.min() and x.max() < 1.0
    np.testing.assert_allclose(x, keras.ops.convert_to_numpy(model.conditional(z).mean), rtol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_forecasts_start_after_the_last_step(name):
    """What padding follows a sequence is the same, and one step of a constant series is known."""
    model, x = build(name, mask_value=-1.0), bits()
    short = x.copy()
    short[:, 3:] = -1.0
    model.build(x.shape)
    same = build(name)
    same.build((None, 3, 3))
    copy_weights(model, same)
    found = model.forecast(short, 2, num_samples=4000, seed=0).mean(axis=1)
    wanted = same.forecast(x[:, :3], 2, num_samples=4000, seed=1).mean(axis=1)
    np.testing.assert_allclose(found, wanted, atol=0.06)


@pytest.mark.parametrize("name", MODELS)
def test_wrong_arguments_are_explained(name):
    with pytest.raises(ValueError, match="network_options has 'dropout'"):
        build(name, network_options={"dropout": 0.1})
    with pytest.raises(ValueError, match="no sequences"):
        build(name).fit(np.zeros((8, 4, 4, 1)), verbose=0)
    with pytest.raises(ValueError, match="Multinomial"):
        build(name, likelihood="multinomial").fit(np.zeros((8, 4, 4)), verbose=0)
    model = build(name)
    model.build((None, 6, 3))
    with pytest.raises(ValueError, match="num_steps=0"):
        model.forecast(bits(), 0)


@pytest.mark.parametrize("features", [1, 6])
def test_targets_may_have_other_features(features):
    """The number of steps is that of the targets, in which half of the sequences are padded."""
    x = bits()
    y = np.random.default_rng(0).normal(size=(len(x), 6, features)).astype("float32")
    y[: len(x) // 2, 4:] = -9.0
    options = {"hidden_units": 4, "mask_value": -9.0, "likelihood": "gaussian", "seed": 0}
    model = keras_ae.DeepMarkovModel(2, **options)
    model.compile("adam")
    assert model.fit(x, y, verbose=0).history["num_steps"] == [5.0]
    assert model.forecast(x, 2, num_samples=3).shape == (len(x), 3, 2, features)
    other = keras_ae.VRNN(2, **options)
    other.compile("adam")
    with pytest.raises(ValueError, match="VRNN: the targets have shape .* Pass targets of"):
        other.fit(x, y, verbose=0)


def test_forecasts_that_do_not_fit_in_memory_are_refused(linear, series):
    with pytest.raises(ValueError, match=r"num_samples=100 of num_steps=10000000000 would take"):
        linear.forecast(series, 10**10)


@pytest.mark.parametrize("name", MODELS)
def test_a_dataset_may_not_know_the_number_of_steps(name):
    """`padded_batch` makes such datasets."""
    tf = pytest.importorskip("tensorflow")
    short = [np.ones((steps, 3), "float32") for steps in (2, 4, 1, 4)]
    dataset = tf.data.Dataset.from_generator(
        lambda: iter(short), output_signature=tf.TensorSpec((None, 3), "float32")
    )
    dataset = dataset.padded_batch(2, padding_values=-1.0)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(2))
    assert dataset.element_spec.shape[1] is None
    model = build(name, mask_value=-1.0)
    assert model.fit(dataset, verbose=0).history["num_steps"] == [2.75]
