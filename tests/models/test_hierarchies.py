"""Hierarchies of latent variables, compared with closed forms and sums by NumPy."""

import keras
import numpy as np
import pytest
import zoo
from keras import ops
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm

import keras_ae
from keras_ae import layers, likelihoods, schedules
from keras_ae.core import seeds
from keras_ae.core.seeds import RunSeed
from keras_ae.distributions import DiagonalGaussian

pytestmark = pytest.mark.formula

WIDTH, LATENT = 5, 2
QUIET = {"verbose": 0, "return_dict": True}
hierarchical = pytest.mark.parametrize("name", ["LadderVAE", "TopDownVAE"])


def arrays(*tensors):
    return [ops.convert_to_numpy(tensor) for tensor in tensors]


def gaussians(shape=(6, 3), seed=0):
    rng = np.random.default_rng(seed)
    return [DiagonalGaussian(*rng.normal(size=(2, *shape))) for _ in range(2)]


def kl_by_numpy(q_mean, q_log_variance, p_mean, p_log_variance):
    squares = (q_mean - p_mean) ** 2 / np.exp(p_log_variance)
    gain = q_log_variance - p_log_variance
    return 0.5 * (np.exp(gain) + squares - 1 - gain)


def product_by_numpy(m1, v1, m2, v2):
    precision = np.exp(-v1) + np.exp(-v2)
    return (m1 * np.exp(-v1) + m2 * np.exp(-v2)) / precision, -np.log(precision)


def statistics(tensor):
    return np.split(ops.convert_to_numpy(tensor).astype("float64"), 2, axis=-1)


# ------------------------------------------------------------------ the layers


def test_precisions_add_and_weigh_the_means():
    first, second = gaussians()
    product = layers.gaussian_product(first, second)
    numbers = arrays(first.mean, first.log_variance, second.mean, second.log_variance)
    mean, log_variance = product_by_numpy(*numbers)
    np.testing.assert_allclose(arrays(product.mean)[0], mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(arrays(product.log_variance)[0], log_variance, atol=1e-6)


def test_the_product_is_that_of_the_densities():
    """Its log-density differs from the sum of the two by the same number everywhere."""
    first, second = gaussians((1, 2))
    product = layers.gaussian_product(first, second)
    rest = []
    for z in np.random.default_rng(1).normal(size=(5, 1, 2)):
        both = first.log_prob(z) + second.log_prob(z)
        rest.append(float(arrays(both - product.log_prob(z))[0][0]))
    assert rest == pytest.approx([rest[0]] * 5, abs=1e-5)


@pytest.mark.parametrize("log_variance", [-80.0, 80.0])
def test_of_two_widths_far_apart_the_narrow_gaussian_wins(log_variance):
    first, _ = gaussians()
    second = DiagonalGaussian(np.ones((6, 3)), np.full((6, 3), log_variance))
    product = layers.gaussian_product(first, second)
    expected = second if log_variance < 0 else first
    np.testing.assert_allclose(*arrays(product.mean, expected.mean), atol=1e-6)
    np.testing.assert_allclose(*arrays(product.log_variance, expected.log_variance), atol=1e-5)


def test_statistics_stay_within_their_bounds_and_keep_a_gradient():
    numbers = np.array([[0.0, 0.0, 0.0, -1e4, 1.5, 1e4]], "float32")
    bounded = arrays(layers.gaussian(numbers).log_variance)[0]
    np.testing.assert_allclose(bounded, [[-60.0, 1.5, 20.0]], atol=1e-5)
    # They are 5 beyond the ends.
    nearer = numbers + np.array([[0, 0, 0, 9935, 0, -9975]], "float32")
    nearer = arrays(layers.gaussian(nearer).log_variance)[0]
    assert bounded[0, 0] < nearer[0, 0] and nearer[0, 2] < bounded[0, 2]


def test_a_layer_gives_the_closed_form_divergence():
    above = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
    given = np.random.default_rng(1).normal(size=(6, 4)).astype("float32")
    for cls in (layers.StochasticLayer, layers.LadderLayer):
        layer = cls(2)
        z, divergence = arrays(*layer(above, given, seed=0))
        kernel, bias = (w.numpy() for w in layer.trainable_variables)
        prior = np.split(above @ kernel + bias, 2, axis=-1)
        q = np.split(given, 2, axis=-1)
        if cls is layers.LadderLayer:
            q = product_by_numpy(*q, *prior)
        np.testing.assert_allclose(divergence, kl_by_numpy(*q, *prior), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(arrays(layer(above, given)[0])[0], q[0], atol=1e-5)
        draws = [arrays(layer(above, given, seed=seed)[0])[0] for seed in range(200)]
        np.testing.assert_allclose(np.std(draws, axis=0), np.exp(0.5 * q[1]), rtol=0.3)
        assert np.array_equal(z, draws[0])


def test_the_estimate_is_the_difference_of_the_densities_and_right_on_average():
    q, p = gaussians()
    exact = arrays(layers.gaussian_kl(q, p))[0]
    for seed in range(3):
        z, estimate = layers.draw_with_divergence(q, p, seed, estimate=True)
        expected = arrays(q.log_prob(z) - p.log_prob(z))[0]
        np.testing.assert_allclose(arrays(estimate)[0].sum(axis=1), expected, rtol=1e-4, atol=1e-4)
    q, p = q.repeat(4000), p.repeat(4000)
    estimates = arrays(layers.draw_with_divergence(q, p, 0, estimate=True)[1])[0]
    means = estimates.reshape(6, 4000, 3).mean(axis=1)
    np.testing.assert_allclose(means, exact, atol=0.25, rtol=0.1)


def test_temperature_scales_the_prior_s_deviation():
    layer, above = layers.StochasticLayer(3), np.ones((5, 2), "float32")
    mean, drawn, wide = (arrays(layer(above, seed=0, temperature=t)[0])[0] for t in (0.0, 1.0, 2.5))
    np.testing.assert_allclose(wide - mean, 2.5 * (drawn - mean), rtol=1e-5, atol=1e-6)
    assert np.array_equal(mean, arrays(layer(above)[0])[0])
    assert np.array_equal(mean, arrays(layer(above, seed=1, temperature=0.0)[0])[0])


@pytest.mark.parametrize("cls", [layers.StochasticLayer, layers.LadderLayer])
def test_layers_come_back_from_their_configuration(cls):
    layer = cls(3, "zeros", name="one")
    again = cls.from_config(layer.get_config())
    again.build((None, 4))
    assert again.width == 3 and again.name == "one"
    assert not np.any(again.trainable_variables[0].numpy())
    with pytest.raises(ValueError, match="width=0 must be a positive"):
        cls(0)


# ------------------------------------------------------------------ a linear hierarchy


class LinearHierarchy:
    """z_2 is normal, z_1 = slope z_2 + shift + noise, x = weights z_1 + bias + noise.

    The columns of the weights are orthogonal, so that the ladder's posterior can be the true one:
    the likelihood of z_1 is a diagonal Gaussian, which the prior of z_1 multiplies.
    """

    def __init__(self, scale=0.5):
        rng = np.random.default_rng(0)
        columns = np.linalg.qr(rng.normal(size=(WIDTH, LATENT)))[0]
        self.weights, self.bias = columns * np.array([1.5, 0.7]), rng.normal(size=WIDTH)
        self.slope, self.shift = np.array([0.8, -1.2]), np.array([0.3, -0.5])
        self.variance, self.scale = np.array([0.4, 0.2]), scale
        z = self.slope * rng.normal(size=(200, LATENT)) + self.shift
        z += np.sqrt(self.variance) * rng.normal(size=z.shape)
        noise = scale * rng.normal(size=(200, WIDTH))
        self.x = (z @ self.weights.T + self.bias + noise).astype("float32")

    def log_likelihood(self):
        spread = np.diag(self.slope**2 + self.variance)
        covariance = self.weights @ spread @ self.weights.T + self.scale**2 * np.eye(WIDTH)
        return multivariate_normal(self.weights @ self.shift + self.bias, covariance).logpdf(self.x)

    def model(self, wrong=0.0):
        """Return a LadderVAE with these numbers, and the true posterior or one wrong by so much."""
        model = keras_ae.LadderVAE(
            LATENT,
            upper_dims=(LATENT,),
            units=(),
            network_options={"units": ()},
            likelihood=likelihoods.Gaussian(self.scale),
            kl_weight=1.0,
            seed=0,
        )
        model.compile(keras.optimizers.SGD(0.0))
        model.build((None, WIDTH))

        def assign(layer, matrix, offset, log_variance=None):
            kernel, bias = layer.trainable_variables
            if log_variance is not None:
                matrix = np.concatenate([matrix, np.zeros_like(matrix)])
                offset = np.concatenate([offset, log_variance])
            kernel.assign(matrix.T)
            bias.assign(offset)

        assign(model.decoder, self.weights, self.bias)
        prior = model.lower_layers[0].prior_statistics
        assign(prior, np.diag(self.slope), self.shift, np.log(self.variance))
        norms = np.sum(self.weights**2, axis=0)
        matrix, variance = self.weights.T / norms[:, None], self.scale**2 / norms
        offset = -matrix @ self.bias
        assign(model.features_to_code, matrix, offset + wrong, np.log(variance) + wrong)
        gain = self.slope / (self.variance + variance)
        precision = 1 + self.slope * gain
        top = (gain / precision)[:, None] * matrix
        top_offset = gain / precision * (offset - self.shift) - wrong
        assign(model.upper_statistics[0], top, top_offset, wrong - np.log(precision))
        return model


@pytest.mark.parametrize("num_samples", [1, 40])
def test_with_the_true_posterior_every_importance_weight_is_the_likelihood(num_samples):
    hierarchy = LinearHierarchy()
    estimate = hierarchy.model().log_likelihood(hierarchy.x, num_samples=num_samples, seed=0)
    np.testing.assert_allclose(estimate, hierarchy.log_likelihood(), atol=1e-3)


def test_the_bound_lies_below_the_likelihood_and_importance_samples_reach_it():
    hierarchy = LinearHierarchy()
    exact = hierarchy.log_likelihood().mean()
    x = np.tile(hierarchy.x, (100, 1))
    tight = hierarchy.model().evaluate(x, batch_size=1000, **QUIET)
    assert -tight["loss"] == pytest.approx(exact, abs=0.05)
    wrong = hierarchy.model(wrong=0.5)
    loss = wrong.evaluate(x, batch_size=1000, **QUIET)["loss"]
    bounds = {n: wrong.log_likelihood(hierarchy.x, num_samples=n, seed=0).mean() for n in (8, 1000)}
    assert -loss + 0.1 < bounds[8] < bounds[1000]
    assert bounds[1000] == pytest.approx(exact, abs=0.02)
    single = wrong.log_likelihood(x, num_samples=1, seed=0).mean()
    assert -loss == pytest.approx(single, abs=0.1)


def test_samples_have_the_hierarchy_s_moments_and_follow_the_temperature():
    hierarchy = LinearHierarchy()
    model = hierarchy.model()

    def codes(temperature, num_samples=20_000):
        drawn = model.sampler.sample(num_samples, seeds.draw(model, 0), temperature=temperature)
        return ops.convert_to_numpy(drawn)

    drawn = codes(1.0)
    variances = hierarchy.slope**2 + hierarchy.variance
    np.testing.assert_allclose(drawn.mean(axis=0), hierarchy.shift, atol=0.03)
    np.testing.assert_allclose(np.cov(drawn.T), np.diag(variances), atol=0.05)
    # Everything is linear, so the code shows the deviations of both layers.
    halved = hierarchy.shift + 0.5 * (drawn - hierarchy.shift)
    np.testing.assert_allclose(codes(0.5), halved, atol=1e-5)
    np.testing.assert_allclose(codes(0.0, 3), np.tile(hierarchy.shift, (3, 1)), atol=1e-6)


# ------------------------------------------------------------------ the models


def heads(model):
    """Return the dense layers that give the posteriors' statistics."""
    if isinstance(model, keras_ae.TopDownVAE):
        return [block.statistics for block in model.blocks]
    return [model.features_to_code.layers[-1], *model.upper_statistics]


def without_noise(model):
    """Make the posteriors so narrow that draws are their means."""
    for head in heads(model):
        kernel, bias = head.trainable_variables
        mean, width = np.split(kernel.numpy(), 2, axis=1)
        kernel.assign(np.concatenate([mean, 0 * width], axis=1))
        bias.assign(np.concatenate([np.split(bias.numpy(), 2)[0], np.full(mean.shape[1], -40.0)]))
    return model


def test_a_ladder_of_one_layer_is_a_vae():
    vae, ladder = zoo.eager("VAE"), zoo.eager("LadderVAE", upper_dims=())
    for model in (vae, ladder):
        model.build((None, 6))
    ladder.set_weights(vae.get_weights())
    x = zoo.data()
    theirs, ours = (m.evaluate(x, batch_size=16, **QUIET) for m in (vae, ladder))
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, rel=1e-5, abs=1e-5), name
    assert ours["kl_loss_1"] == ours["kl_loss"]
    theirs, ours = (m.log_likelihood(x, num_samples=16, seed=0) for m in (vae, ladder))
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_allclose(ladder.sample(9, seed=0), vae.sample(9, seed=0), atol=1e-6)
    for model in (vae, ladder):
        model._seed_generator.state.assign([1, 0])
        model.fit(x, batch_size=16, verbose=0)
    for a, b in zip(vae.trainable_variables, ladder.trainable_variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)


def priors_and_posteriors(model, x):
    """Return each layer's draw, prior and posterior; NumPy computes the latter two."""
    evidence = model._evidence(ops.convert_to_tensor(x), False)
    draws, _, divergence = model._infer(evidence, RunSeed(np.array([3, 0])), False)
    found = []
    if isinstance(model, keras_ae.LadderVAE):
        q = statistics(evidence[1])
        found.append(([np.zeros_like(q[0])] * 2, q))
        layer = model.lower_layers[0]
        p = statistics(layer.prior_statistics(model.downward[0](draws[1])))
        found.insert(0, (p, product_by_numpy(*statistics(evidence[0]), *p)))
    else:
        h = model.start(evidence[0])
        for block, a, z in zip(model.blocks, evidence, draws, strict=True):
            p = statistics(block.layer.prior_statistics(block.prior(h)))
            both = ops.concatenate([h, a], axis=1)
            found.append((p, statistics(block.statistics(block.posterior(both)))))
            h = h + block.project(z)
            h = h + block.residual.last(block.residual.hidden(h))
    return arrays(*draws), found, ops.convert_to_numpy(divergence)


@hierarchical
def test_every_layer_s_divergence_is_the_closed_form(name):
    model = zoo.trained(name)
    draws, layers_found, divergence = priors_and_posteriors(model, zoo.data())
    for number, (p, q) in enumerate(layers_found):
        expected = kl_by_numpy(*q, *p).sum(axis=1)
        assert expected.max() > 1e-4
        np.testing.assert_allclose(divergence[:, number], expected, rtol=1e-3, atol=1e-5)
        assert np.abs((draws[number] - q[0]) / np.exp(0.5 * q[1])).max() < 6


@hierarchical
def test_the_layers_divergences_sum_to_the_whole(name):
    model = zoo.trained(name)
    logs = model.evaluate(zoo.data(), batch_size=16, **QUIET)
    assert logs["kl_loss"] == pytest.approx(logs["kl_loss_1"] + logs["kl_loss_2"], rel=1e-5)
    minimized = logs.get("weighted_kl_loss", logs["kl_loss"])
    assert logs["loss"] == pytest.approx(logs["reconstruction_loss"] + minimized, rel=1e-5)


def test_a_ladder_warms_up_by_default():
    model = keras_ae.LadderVAE(2)
    assert model.kl_weight.get_config() == schedules.LinearWarmUp(1000).get_config()
    again = keras_ae.LadderVAE.from_config(model.get_config())
    assert again.kl_weight.get_config() == model.kl_weight.get_config()
    assert keras_ae.LadderVAE(2, kl_weight=1.0).kl_weight == 1.0


@hierarchical
def test_importance_sampling_meets_the_integral(name):
    """The integral is a trained model's likelihood by quadrature over its two latent numbers."""
    ladder = name == "LadderVAE"
    made = {"upper_dims": (1,)} if ladder else {"width": 8}
    model = getattr(keras_ae, name)(1 if ladder else 2, kl_weight=1.0, **made, **zoo.OPTIONS)
    model.compile(keras.optimizers.Adam(0.01))
    x = zoo.data()
    model.fit(x, epochs=30, batch_size=16, verbose=0)

    grid = np.linspace(-6, 6, 121, dtype="float32")
    noise = [g.reshape(-1, 1) for g in np.meshgrid(grid, grid, indexing="ij")]
    first, second = map(ops.convert_to_tensor, noise)
    if ladder:
        p = model.lower_layers[0].prior(model.downward[0](first))
        codes = p.mean + ops.exp(0.5 * p.log_variance) * second
    else:
        h, codes = model.start(first), []
        for block, values in zip(model.blocks, (first, second), strict=True):
            p = block.layer.prior(block.prior(h))
            codes.append(p.mean + ops.exp(0.5 * p.log_variance) * values)
            h = block.advance(h, codes[-1], False)
        codes = ops.concatenate(codes, axis=1)
    p = np.clip(model.decode(ops.convert_to_numpy(codes)).astype("float64"), 1e-7, 1 - 1e-7)
    log_joint = np.log(p) @ x.T + np.log(1 - p) @ (1 - x).T
    log_joint += sum(map(norm.logpdf, noise)) + 2 * np.log(grid[1] - grid[0])
    exact = logsumexp(log_joint, axis=0)
    estimate = model.log_likelihood(x, num_samples=8000, seed=0)
    np.testing.assert_allclose(estimate, exact, atol=0.15)
    assert estimate.mean() == pytest.approx(exact.mean(), abs=0.02)


@hierarchical
def test_temperature_zero_follows_the_modes(name):
    model = zoo.trained(name)
    cold = model.sample(5, seed=0, temperature=0.0)
    assert np.ptp(cold, axis=0).max() < 1e-6
    np.testing.assert_allclose(model.sample(5, seed=7, temperature=0), cold, atol=1e-6)
    assert np.ptp(model.sample(5, seed=0), axis=0).max() > 1e-3
    assert np.array_equal(model.sample(5, seed=3), model.sample(5, 3, 1.0))
    with pytest.raises(ValueError, match="temperature=-1 must be a number of at least 0"):
        model.sample(5, temperature=-1)


def test_temperature_scales_the_first_block_exactly():
    model = zoo.trained("TopDownVAE")
    mean, drawn, wide = (
        ops.convert_to_numpy(model.sampler.sample(9, seeds.draw(model, 0), temperature=t))[:, 0]
        for t in (0.0, 1.0, 1.5)
    )
    np.testing.assert_allclose(wide - mean, 1.5 * (drawn - mean), rtol=1e-5, atol=1e-6)


WARM_UPS = [schedules.LinearWarmUp(3), schedules.LinearWarmUp(10)]


@hierarchical
@pytest.mark.parametrize("kl_weight", [1.0, 0.5])
def test_every_layer_has_its_own_warm_up(name, kl_weight, tmp_path):
    """The network does not change, so the loss of an epoch shows the weight of its step."""
    x = zoo.data(16)
    model = zoo.MODELS[name](layer_weights=WARM_UPS, kl_weight=kl_weight)
    model.compile(keras.optimizers.SGD(0.0))
    model.build((None, 6))
    without_noise(model)
    options = {"batch_size": 16, "shuffle": False, "verbose": 0}
    history = model.fit(np.tile(x, (6, 1)), epochs=2, **options).history
    first, second = history["kl_loss_1"][0], history["kl_loss_2"][0]
    assert first > 0.1 and second > 0.1
    for epoch, steps in enumerate((range(6), range(6, 12))):
        penalty = np.mean([min(t / 3, 1) * first + min(t / 10, 1) * second for t in steps])
        assert history["weighted_kl_loss"][epoch] == pytest.approx(penalty, rel=1e-5)
        total = history["reconstruction_loss"][epoch] + kl_weight * penalty
        assert history["loss"][epoch] == pytest.approx(total, rel=1e-5)
        assert history["kl_loss"][epoch] == pytest.approx(first + second, rel=1e-5)
    model.save(tmp_path / "model.keras")
    again = keras_ae.load(tmp_path / "model.keras")
    logs = again.evaluate(x, **QUIET)
    assert logs["weighted_kl_loss"] == pytest.approx(first + second, rel=1e-5)


def test_weights_of_one_change_nothing():
    runs = [
        zoo.weights(zoo.fitted("LadderVAE", layer_weights=weights)) for weights in (None, [1, 1.0])
    ]
    trainable = [w for w in runs[0] if w.dtype == np.float32 and w.ndim]
    others = [w for w in runs[1] if w.dtype == np.float32 and w.ndim]
    for a, b in zip(trainable, others, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_layer_weights_may_be_assigned():
    model = zoo.compiled("LadderVAE", keras.optimizers.SGD(0.0), layer_weights=[1.0, 1.0])
    model.fit(zoo.data(), verbose=0)
    model.layer_weights = [0.5, 2.0]
    logs = model.evaluate(zoo.data(), return_dict=True, verbose=0)
    wanted = 0.5 * logs["kl_loss_1"] + 2.0 * logs["kl_loss_2"]
    assert logs["weighted_kl_loss"] == pytest.approx(wanted, rel=1e-4)
    for weights in ([1.0], [1.0, -1.0], 2.0):
        with pytest.raises(ValueError, match="layer_weights"):
            model.layer_weights = weights
    assert list(model.layer_weights) == [0.5, 2.0]
    without = zoo.compiled("LadderVAE")
    with pytest.raises(ValueError, match="no effect"):
        without.layer_weights = [0.5, 2.0]


@hierarchical
@pytest.mark.parametrize("layer_weights", [None, [0.5, 2.0]])
def test_free_bits_are_counted_by_layer(name, layer_weights):
    model = zoo.MODELS[name](free_bits=0.3, layer_weights=layer_weights)
    model.compile(keras.optimizers.SGD(0.0), **zoo.OP_BY_OP)
    x = zoo.data()
    logs = model.evaluate(x, batch_size=len(x), **QUIET)
    floors = np.maximum([logs["kl_loss_1"], logs["kl_loss_2"]], 0.3)
    expected = np.dot(layer_weights or [1, 1], floors)
    assert logs["free_bits_loss"] == pytest.approx(expected, rel=1e-5)
    total = logs["reconstruction_loss"] + logs["free_bits_loss"]
    assert logs["loss"] == pytest.approx(total, rel=1e-5)
    assert logs["kl_loss"] == pytest.approx(logs["kl_loss_1"] + logs["kl_loss_2"], rel=1e-5)


@hierarchical
def test_numbers_stay_finite_at_a_hundred_times_the_learning_rate(name):
    given = {"upper_dims": (2, 1)} if name == "LadderVAE" else {"layer_weights": None}
    model = zoo.compiled(name, keras.optimizers.Adam(0.1), **given)
    zoo.assert_trains_on_blank_pictures(model)
    blank = np.zeros((4, 6), "float32")
    assert np.all(np.isfinite(model.log_likelihood(blank, num_samples=16, seed=0)))
    assert np.all(np.isfinite(model.sample(4, seed=0)))


def test_a_ladder_shows_all_its_layers():
    model = zoo.fitted("LadderVAE", upper_dims=(3, 1))
    x = zoo.data(9)
    whole = model.encode_layers(x)
    assert whole.shape == (9, 2 + 3 + 1)
    np.testing.assert_allclose(whole[:, :2], model.encode(x), atol=1e-6)
    drawn = model.encode_layers(x, sample=True, seed=0)
    assert np.array_equal(drawn, model.encode_layers(x, sample=True, seed=0))
    assert np.abs(drawn - whole).min(axis=0).max() > 1e-4


def test_the_stream_begins_at_standard_normals():
    model = zoo.compiled("TopDownVAE")
    model.build((None, 6))
    codes = ops.convert_to_numpy(model.sampler.sample(20_000, seeds.draw(model, 0)))
    np.testing.assert_allclose(codes.mean(axis=0), 0.0, atol=0.03)
    np.testing.assert_allclose(np.cov(codes.T), np.eye(2), atol=0.03)


def test_a_code_of_uneven_blocks():
    model = keras_ae.TopDownVAE(7, num_blocks=3, width=8, seed=0)
    model.build((None, 6))
    assert model._layer_dims == (3, 2, 2)
    x = zoo.data(5)
    assert model.encode(x).shape == (5, 7)
    np.testing.assert_allclose(model.decode(model.encode(x)), model.reconstruct(x), atol=1e-6)


@pytest.mark.parametrize(
    ("cls", "given", "message"),
    [
        ("LadderVAE", {"upper_dims": (0,)}, r"upper_dims=\(0,\) must be a tuple of positive"),
        ("LadderVAE", {"upper_dims": 3}, "upper_dims=3 must be a tuple"),
        ("LadderVAE", {"layer_weights": [1.0]}, "must be a list of 3 numbers or schedules"),
        ("LadderVAE", {"layer_weights": [1, 1, -1]}, "layer_weights=-1 must be a number of"),
        ("TopDownVAE", {"num_blocks": 0}, "num_blocks=0 must be a positive integer"),
        ("TopDownVAE", {"latent_dim": 2, "num_blocks": 3}, "num_blocks=3 is more than latent_dim"),
        ("TopDownVAE", {"width": 1.5}, "width=1.5 must be a positive integer"),
    ],
)
def test_misuse(cls, given, message):
    with pytest.raises(ValueError, match=message):
        getattr(keras_ae, cls)(**given)


@hierarchical
def test_no_single_prior_is_offered(name):
    with pytest.raises(NotImplementedError, match="Call `sample` to draw"):
        zoo.trained(name).prior(np.zeros((1, 2)))
