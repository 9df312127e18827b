"""Samplers that are fitted to codes: their densities, their draws, and how a model takes them."""

import keras
import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import zoo
from keras import ops
from sklearn.mixture import GaussianMixture as Mixture
from sklearn.neighbors import KernelDensity as Density

import keras_ae
from keras_ae import samplers
from keras_ae.core.seeds import SeedGenerator
from keras_ae.distributions import hyperbolic
from keras_ae.samplers.fitted import BY_NAME
from keras_ae.samplers.kernel_density import find_bandwidth

# The networks of samplers that train some are tiny.
TINY = {
    "masked_flow": {"flows": 2, "units": 8, "epochs": 1},
    "inverse_flow": {"flows": 2, "units": 8, "epochs": 1},
    "two_stage": {"units": 8, "epochs": 1},
    "flow_matching": {"units": 8, "epochs": 1, "steps": 3},
}
CLASSES = {name: getattr(samplers, cls) for name, (_, cls) in BY_NAME.items()}


def make(name, **given):
    return CLASSES[name](**{**TINY.get(name, {}), **given})


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def draw(sampler, number=20_000, **given):
    return sampler.draw(number, SeedGenerator(0), **given)


def two_clusters():
    """Codes of two Gaussians with a weight of 1/4 and 3/4."""
    x = normal(4000, 2)
    x[:1000] = x[:1000] @ np.array([[0.5, 0.4], [0.0, 0.1]], "float32") + [6.0, 1.0]
    return x


# ------------------------------------------------------------------ each kind


@pytest.mark.formula
def test_a_mixture_has_the_moments_of_scikit_learn():
    x = two_clusters()
    drawn = draw(samplers.GaussianMixture(2, regularization=1e-6).fit(x))
    fitted = Mixture(2, random_state=0).fit(x)
    far, far_of_draws = x[:, 0] > 4.0, drawn[:, 0] > 4.0
    assert np.mean(far_of_draws) == pytest.approx(fitted.weights_.min(), abs=0.01)
    for part, part_of_draws in ((far, far_of_draws), (~far, ~far_of_draws)):
        np.testing.assert_allclose(drawn[part_of_draws].mean(0), x[part].mean(0), atol=0.06)
        np.testing.assert_allclose(np.cov(drawn[part_of_draws].T), np.cov(x[part].T), atol=0.06)


@pytest.mark.formula
def test_a_mixture_draws_by_label():
    x, labels = two_clusters(), np.repeat([1, 0], [1000, 3000])
    mixture = samplers.GaussianMixture(2).fit(x, labels)
    drawn = draw(mixture, label=np.repeat([1, 0], 10_000).astype("int32"))
    assert drawn[:10_000, 0].min() > 3.0 and drawn[10_000:, 0].max() < 5.5


@pytest.mark.formula
def test_few_codes_get_few_components():
    drawn = draw(samplers.GaussianMixture(10).fit(normal(25, 2)))
    assert np.all(np.isfinite(drawn)) and drawn.std() > 0.5


@pytest.mark.formula
def test_the_bandwidth_maximizes_the_likelihood_without_the_code_itself():
    x = normal(60, 2)

    def likelihood(width):
        scores = [
            Density(bandwidth=width).fit(np.delete(x, i, axis=0)).score(x[i : i + 1])
            for i in range(len(x))
        ]
        return np.sum(scores)

    best = find_bandwidth(x)
    assert likelihood(best) > max(likelihood(best * 1.2), likelihood(best / 1.2))


@pytest.mark.formula
def test_a_kernel_density_is_as_wide_as_the_codes_and_the_kernel():
    x = normal(5000, 2) * [1.0, 3.0] + 5.0
    drawn = draw(samplers.KernelDensity(bandwidth=0.5, num_codes=5000).fit(x))
    np.testing.assert_allclose(drawn.mean(0), x.mean(0), atol=0.1)
    np.testing.assert_allclose(drawn.std(0), x.std(0) * np.sqrt(1.25), rtol=0.03)


@pytest.mark.formula
def test_noise_is_as_long_as_the_way_to_the_nearest_code():
    x = normal(300, 4)
    sampler = samplers.NearestCodes(k=2, num_codes=300, temperature=1.0).fit(x)
    standard = (x - x.mean(0)) / x.std(0)
    stored, widths = ops.convert_to_numpy(sampler.codes), ops.convert_to_numpy(sampler.widths)
    ways = np.sort(np.linalg.norm(stored[:, None] - standard[None], axis=-1), axis=1)
    np.testing.assert_allclose(widths * np.sqrt(4), ways[:, 2], rtol=1e-3)


@pytest.mark.formula
def test_the_aggregated_posterior_draws_codes_of_the_data():
    x = normal(50, 3)
    drawn = draw(samplers.AggregatedPosterior().fit(x), 200)
    nearest = np.linalg.norm(drawn[:, None] - x[None], axis=-1).min(axis=1)
    assert nearest.max() < 1e-5 and len(np.unique(drawn.round(4), axis=0)) > 40


@pytest.mark.formula
@pytest.mark.parametrize("name", ["masked_flow", "inverse_flow"])
def test_a_flow_has_a_density_and_draws_from_it(name):
    """The mean of log q over draws is minus the entropy of q, which an integral gives as well."""
    flow = make(name, epochs=2, units=16).fit(two_clusters())
    line = np.linspace(-8.0, 8.0, 161)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2).astype("float32")
    log_density = log_prob(flow, grid)
    density, cell = np.exp(log_density), (line[1] - line[0]) ** 2
    assert np.sum(density) * cell == pytest.approx(1.0, abs=0.02)
    drawn = (draw(flow) - numpy(flow.center)) / numpy(flow.spread)
    expected = np.sum(density * log_density) * cell
    assert log_prob(flow, drawn).mean() == pytest.approx(expected, abs=0.05)


def numpy(weight):
    return ops.convert_to_numpy(weight)


def log_prob(flow, codes):
    return numpy(flow.log_prob(ops.convert_to_tensor(codes)))


@pytest.mark.formula
def test_a_masked_flow_learns_a_density():
    """Two narrow clusters have a density that no Gaussian comes near."""
    x = two_clusters()
    flow = make("masked_flow", epochs=20, flows=4, units=32, learning_rate=5e-3).fit(x)
    standard = (x - numpy(flow.center)) / numpy(flow.spread)
    gaussian = scipy.stats.multivariate_normal(np.zeros(2), np.cov(standard.T))
    assert log_prob(flow, standard).mean() > gaussian.logpdf(standard).mean() + 0.2


@pytest.mark.formula
def test_flow_matching_learns_the_velocity_between_two_gaussians():
    """For codes from N(0, 1) the mean velocity at z and t is (2t - 1) z / ((1 - t)^2 + t^2)."""
    sampler = make("flow_matching", units=32, epochs=30, steps=20).fit(normal(4000, 2))
    z, t = normal(500, 2, seed=1), np.random.default_rng(2).random((500, 1)).astype("float32")
    variance = (1.0 - t) ** 2 + t**2
    z = z * np.sqrt(variance)
    expected = (2.0 * t - 1.0) * z / variance
    found = ops.convert_to_numpy(sampler.velocity(*map(ops.convert_to_tensor, (z, t))))
    assert np.mean((found - expected) ** 2) < 0.05 * np.mean(expected**2)


@pytest.mark.formula
def test_flow_matching_draws_two_clusters():
    x = two_clusters()
    drawn = draw(
        make("flow_matching", units=32, epochs=40, steps=20, learning_rate=5e-3).fit(x), 5000
    )
    assert np.mean(drawn[:, 0] > 4.0) == pytest.approx(0.25, abs=0.04)
    between = (drawn[:, 0] > 3.5) & (drawn[:, 0] < 4.5)
    assert between.mean() < 0.05  # One Gaussian has 0.096 there.


@pytest.mark.formula
def test_the_second_stage_minimizes_its_negative_bound():
    sampler = make("two_stage").fit(normal(64, 3))
    codes = ops.convert_to_tensor(normal(7, 3, seed=1))
    found = ops.convert_to_numpy(sampler._losses_of(codes, SeedGenerator(5)))
    mean, log_variance = np.split(ops.convert_to_numpy(sampler.encoder(codes)), 2, axis=1)
    noise = keras.random.normal((7, 3), seed=SeedGenerator(5))
    u = mean + np.exp(0.5 * log_variance) * ops.convert_to_numpy(noise)
    decoded = ops.convert_to_numpy(sampler.decoder(ops.convert_to_tensor(u.astype("float32"))))
    scale = float(np.exp(ops.convert_to_numpy(ops.convert_to_tensor(sampler.log_scale))))
    log_p = scipy.stats.norm(decoded, scale).logpdf(normal(7, 3, seed=1)).sum(axis=1)
    kl = 0.5 * np.sum(np.exp(log_variance) + mean**2 - 1.0 - log_variance, axis=1)
    np.testing.assert_allclose(found, kl - log_p, rtol=1e-4)


@pytest.mark.formula
def test_the_noise_of_the_second_stage_has_a_floor():
    sampler = make("two_stage", floor=0.1).fit(normal(64, 3))
    sampler.log_scale.assign(-20.0)
    assert float(ops.convert_to_numpy(sampler._noise_scale())) == pytest.approx(0.1)


@pytest.mark.formula
def test_directions_are_uniform_and_lengths_those_of_codes():
    x = normal(3000, 3)
    sphere = x / np.linalg.norm(x, axis=1, keepdims=True)
    drawn = draw(samplers.SphericalUniform().fit(sphere))
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1.0, atol=1e-4)
    np.testing.assert_allclose(np.cov(drawn.T), np.eye(3) / 3.0, atol=0.02)
    lengths = np.linalg.norm(draw(samplers.SphericalUniform().fit(x)), axis=1)
    np.testing.assert_allclose(
        np.quantile(lengths, [0.1, 0.5, 0.9]),
        np.quantile(np.linalg.norm(x, axis=1), [0.1, 0.5, 0.9]),
        rtol=0.03,
    )


@pytest.mark.formula
@pytest.mark.parametrize("curvature", [0.5, 1.0])
def test_codes_are_uniform_by_hyperbolic_area(curvature):
    """A disk of radius r has the area 2 pi (cosh(sqrt(c) r) - 1) / c."""
    tangents = normal(5000, 2)
    sampler = samplers.HyperbolicUniform(curvature).fit(tangents)
    drawn = ops.convert_to_tensor(draw(sampler, 10_000))
    codes = hyperbolic.exponential_map_at_origin(drawn, curvature)
    origin = ops.zeros_like(codes)
    distances = ops.convert_to_numpy(hyperbolic.distance(origin, codes, curvature)).ravel()
    radius = np.quantile(2.0 * np.linalg.norm(tangents, axis=1), 0.99)
    assert distances.max() <= radius * 1.001
    for part in (0.5, 0.7, 0.9):
        areas = np.cosh(np.sqrt(curvature) * radius * np.array([part, 1.0])) - 1.0
        share = areas[0] / areas[1]
        assert np.mean(distances < part * radius) == pytest.approx(share, abs=0.02)


def test_a_hyperbolic_sampler_has_the_curvature_of_the_model():
    model = keras_ae.PoincareVAE(2, curvature=0.5, seed=0, network_options={"units": (8,)})
    model.compile("adam")
    model.fit(DATA, verbose=0)
    assert model.fit_sampler(DATA, "hyperbolic_uniform", verbose=0).curvature == 0.5
    with pytest.raises(ValueError, match="curvature=1.0, but the codes of PoincareVAE have .*=0.5"):
        model.fit_sampler(DATA, samplers.HyperbolicUniform(), verbose=0)
    assert np.all(draw(samplers.HyperbolicUniform().fit(np.zeros((9, 3)))) == 0.0)


@pytest.mark.parametrize("name", ["KernelDensity", "NearestCodes"])
def test_dimensions_without_variance_make_noise_no_narrower(name):
    """Units that never fire say nothing of how far the codes are apart."""
    x = normal(200, 2)
    padded = np.concatenate([x, np.full((200, 14), 0.1)], axis=1)
    sampler = getattr(samplers, name)
    widths = [ops.convert_to_numpy(sampler().fit(codes).widths) for codes in (x, padded)]
    np.testing.assert_allclose(widths[1], widths[0], rtol=1e-4)
    drawn = draw(sampler().fit(np.ones((9, 3))))
    np.testing.assert_array_equal(drawn, 1.0)


# ------------------------------------------------------------------ all of them


@pytest.mark.parametrize("name", BY_NAME)
def test_a_fit_follows_its_seed_and_its_configuration(name):
    codes = normal(40, 2, 3)  # A code may have any shape.
    first, second = (make(name).fit(codes, seed=1) for _ in range(2))
    drawn = draw(first, 5)
    assert drawn.shape == (5, 2, 3) and np.array_equal(drawn, draw(second, 5))
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(first))
    again.set_weights(first.get_weights())
    assert again.get_config() == first.get_config() and np.array_equal(draw(again, 5), drawn)


@pytest.mark.formula
@pytest.mark.parametrize("name", BY_NAME)
def test_a_lower_temperature_draws_less_far_from_the_middle_or_is_refused(name):
    sampler = make(name)
    if not sampler._has_noise:
        with pytest.raises(ValueError, match="temperature=0.5 has no effect"):
            make(name, temperature=0.5)
        return
    sampler.fit(normal(60, 2))
    drawn = [draw(sampler, 2000, temperature=t) for t in (0.0, 1.0)]
    assert drawn[0].std() < drawn[1].std()


@pytest.mark.formula
def test_a_dimension_without_variance_stays_where_it_is():
    codes = normal(40, 3)
    codes[:, 1] = 7.0
    for name in ("gaussian_mixture", "kernel_density"):
        np.testing.assert_allclose(draw(make(name).fit(codes), 20)[:, 1], 7.0, rtol=1e-6)


@pytest.mark.formula
@pytest.mark.parametrize(
    "codes, labels, message",
    [
        (normal(5), None, r"codes has shape \(5,\)"),
        (normal(1, 3), None, "at least two codes"),
        (np.full((4, 2), np.nan), None, "NaN or infinite"),
        (normal(4, 2), [0, 1, 2], r"labels has shape \(3,\).*vector of 4 integers"),
        (normal(4, 2), [0, 0, -1, -1], "integers of at least 0"),
        (normal(4, 2), [0, 0, 2, 2], "label 1 has 0 codes"),
        (normal(4, 2), [0.0, 0.0, 1.0, 1.0], "dtype float64"),
    ],
)
def test_codes_that_cannot_be_fitted(codes, labels, message):
    with pytest.raises(ValueError, match=message):
        samplers.GaussianMixture(2).fit(codes, labels)


@pytest.mark.formula
def test_only_a_mixture_takes_labels():
    with pytest.raises(TypeError, match="labels were given"):
        samplers.KernelDensity().fit(normal(4, 2), [0, 0, 1, 1])


# ------------------------------------------------------------------ models


@pytest.fixture(scope="module")
def model():
    model = keras_ae.VAE(2, seed=0, network_options={"units": (8,)})
    model.compile("adam")
    model.fit(DATA, verbose=0)
    return model


DATA = np.random.default_rng(0).random((48, 6)).astype("float32")
LABELS = np.arange(48) % 3


def test_a_model_draws_codes_of_its_posteriors(model):
    sampler = model.fit_sampler(DATA, "aggregated_posterior", seed=4, verbose=0)
    assert sampler is model._fitted_sampler
    codes = model.encode(DATA, sample=True, seed=4)
    drawn = model._fitted_sampler.draw(30, SeedGenerator(0))
    assert np.linalg.norm(drawn[:, None] - codes[None], axis=-1).min(axis=1).max() < 1e-5


def test_training_does_not_reach_a_sampler(model):
    model.fit_sampler(DATA, samplers.FlowMatching(8, 2, epochs=1), verbose=0)
    model.trainable = True
    assert not any("fitted_sampler" in weight.path for weight in model.trainable_variables)
    assert len(model.trainable_variables) == len(model.optimizer._trainable_variables)


def test_a_sampler_by_label_is_saved_and_served(model, tmp_path):
    model.fit_sampler(DATA, samplers.GaussianMixture(2), label=LABELS, verbose=0)
    drawn = model.sample(4, label=2, seed=0)
    assert np.array_equal(model.sample(4, label=np.full(4, 2), seed=0), drawn)
    model.save(tmp_path / "model.keras")
    loaded = keras_ae.load(tmp_path / "model.keras")
    assert np.array_equal(loaded.sample(4, label=2, seed=0), drawn)
    with pytest.raises(TypeError, match="'label' is missing"):
        model.sample(4)
    for label in (3, -1, 0.5, [0, 1]):
        with pytest.raises(ValueError, match="must be an integer from 0 to 2, or 4 of them"):
            model.sample(4, label=label)
    if keras.config.backend() == "torch":
        return
    import tensorflow as tf

    model.export(tmp_path / "folder")
    assert keras_ae.saving.read_card(tmp_path / "folder")["sampler"] == "GaussianMixture"
    served = tf.saved_model.load(tmp_path / "folder")
    found = served.sample(seed=0, label=tf.constant([2, 2, 2, 2])).numpy()
    np.testing.assert_allclose(found, drawn, atol=1e-6)
    with pytest.raises(tf.errors.InvalidArgumentError, match="label"):
        served.sample(seed=0, label=tf.constant([3]))


def test_the_own_sampler_comes_back(model):
    own = model.fit_sampler(sampler="own")
    assert own is model.sampler and model._fitted_sampler is None
    before = model.sample(3, seed=0)
    model.fit_sampler(DATA, verbose=0)
    assert not np.array_equal(model.sample(3, seed=0), before)
    model.fit_sampler(sampler="own")
    assert np.array_equal(model.sample(3, seed=0), before)


@pytest.mark.parametrize(
    "sampler, message",
    [
        ("flow_machting", "Did you mean 'flow_matching'"),
        (None, "sampler=None must be"),
        (samplers.CodeDensity(2), "must be"),
        (samplers.GaussianMixture, "must be"),
    ],
)
def test_an_unknown_sampler(model, sampler, message):
    with pytest.raises(ValueError, match=message):
        model.fit_sampler(DATA, sampler)


def test_data_is_needed(model):
    with pytest.raises(TypeError, match="x is missing"):
        model.fit_sampler()


def test_integer_codes_have_a_prior_of_their_own():
    model = keras_ae.VQVAE(2, num_codes=4, seed=0, prior_options={"units": 4, "num_layers": 1})
    model.compile("adam")
    model.fit(DATA, verbose=0)
    model.fit_sampler(DATA, "autoregressive", verbose=0)
    assert model.sample(2, seed=0).shape == (2, 6)
    with pytest.raises(ValueError, match="draws real vectors, and the codes of VQVAE are integers"):
        model.fit_sampler(DATA, "kernel_density")


def test_codes_stay_on_the_sphere_and_in_the_ball():
    """Wide noise leads off the sphere and out of the ball, where no model can decode."""
    for name in ("HypersphericalVAE", "PoincareVAE"):
        model = getattr(keras_ae, name)(2, seed=0, network_options={"units": (8,)})
        model.compile("adam")
        model.fit(DATA, verbose=0)
        model.fit_sampler(DATA, samplers.KernelDensity(bandwidth=20.0), verbose=0)
        drawn = model.sample(100, seed=0)
        assert np.all(np.isfinite(drawn))
        if name == "HypersphericalVAE":
            angles = np.linspace(0.0, 2.0 * np.pi, 720)
            sphere = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype("float32")
            every = model.decode(sphere)
            assert np.all(drawn > every.min(axis=0) - 0.01)
            assert np.all(drawn < every.max(axis=0) + 0.01)


def test_a_symbol_has_no_codes():
    with pytest.raises(TypeError, match="x is a KerasTensor. It is symbolic"):
        zoo.trained("AE").fit_sampler(keras.KerasTensor((None, 6)))
