"""Models without a posterior, compared with closed forms, PCA and each other."""

import keras
import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import scipy.stats
import zoo
from keras import ops

import keras_ae
from keras_ae import divergences, samplers

pytestmark = pytest.mark.formula

# Class -> arguments that switch off what the paper adds to an autoencoder.
SWITCHED_OFF = {
    "SparseAE": {"penalty": "l1", "target": 0.05, "weight": 0.0},
    "ContractiveAE": {"weight": 0.0},
    "RegularizedAE": {"code_weight": 0.0, "weight": 0.0},
    "WAE": {"weight": 0.0},
    "SlicedWAE": {"weight": 0.0},
    "AdversarialAE": {"weight": 0.0},
}


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


def tensor(value):
    return ops.convert_to_tensor(np.asarray(value, "float32"))


@pytest.mark.parametrize("name", SWITCHED_OFF)
def test_with_its_novelty_switched_off_it_is_the_autoencoder(name):
    """Losses and weights are the same after training from the same weights on the same batches."""
    model = zoo.eager(name, keras.optimizers.SGD(0.01), **SWITCHED_OFF[name])

    class Plain(keras_ae.AE):
        _code_activation = model._code_activation

    plain = Plain(2, **zoo.OPTIONS)
    plain.compile(keras.optimizers.SGD(0.01), **zoo.OP_BY_OP)
    for each in (model, plain):
        each.build((None, 6))
    ours, theirs = ([m.encoder, m.features_to_code, m.decoder] for m in (model, plain))
    for one, other in zip(ours, theirs, strict=True):
        other.set_weights(one.get_weights())
    logs = [m.fit(zoo.data(), batch_size=16, verbose=0).history for m in (model, plain)]
    for key in ("loss", "reconstruction_loss"):
        np.testing.assert_allclose(logs[0][key], logs[1][key], rtol=1e-5)
    for one, other in zip(ours, theirs, strict=True):
        for a, b in zip(one.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


# ------------------------------------------------------------------ the linear autoencoder


def test_a_linear_autoencoder_finds_the_principal_components():
    rng = np.random.default_rng(0)
    scales = [3.0, 2.0, 0.5, 0.4, 0.3, 0.2, 0.2, 0.1]
    mixing = scipy.stats.ortho_group.rvs(8, random_state=0) * scales
    x = (rng.normal(size=(256, 8)) @ mixing.T).astype("float32")
    x -= x.mean(axis=0)
    model = keras_ae.AE(2, network_options={"units": ()}, seed=0)
    rate = keras.optimizers.schedules.CosineDecay(0.05, 600)
    model.compile(keras.optimizers.Adam(rate))
    model.fit(np.tile(x, (600, 1)), batch_size=256, shuffle=False, verbose=0)
    _, values, rows = np.linalg.svd(x, full_matrices=False)
    decoder = model.decoder.get_layer("decoder_output").kernel
    angles = scipy.linalg.subspace_angles(numpy(decoder).T, rows[:2].T)
    assert angles.max() < 1e-2
    error = model.evaluate(x, batch_size=256, verbose=0, return_dict=True)["loss"]
    assert error == pytest.approx((values[2:] ** 2).sum() / len(x), rel=5e-3)


# ------------------------------------------------------------------ sparse


def test_the_sparsity_penalty_is_the_divergence_of_bernoulli_variables():
    p, q = np.meshgrid([0.01, 0.05, 0.5, 0.9], [0.02, 0.05, 0.4, 0.99])
    expected = scipy.stats.entropy([p, 1 - p], [q, 1 - q])
    np.testing.assert_allclose(numpy(divergences.bernoulli_kl(p, q)), expected, atol=1e-6)
    assert np.all(np.isfinite(numpy(divergences.bernoulli_kl([0.0, 1.0], [1.0, 0.0]))))


def test_the_target_activation_is_reached():
    x = np.random.default_rng(0).random((512, 12), "float32")
    model = keras_ae.SparseAE(6, target=0.1, weight=5.0, network_options={"units": (16,)}, seed=0)
    model.compile(keras.optimizers.Adam(0.01))
    model.fit(np.tile(x, (50, 1)), batch_size=128, verbose=0)
    each = model.encode(x).mean(axis=0)
    np.testing.assert_allclose(each, 0.1, rtol=0.1)


def test_the_l1_penalty_is_the_sum_of_the_code():
    model = zoo.make("SparseAE", penalty="l1", target=0.05)
    model.build((None, 6))
    model.features_to_code.layers[-1].bias.assign([0.0, 0.0])
    x = zoo.data(5)
    code = model.encode(x)
    assert code.min() == 0.0 < code.max()
    terms = model.loss_terms(tensor(x), tensor(x), False)
    np.testing.assert_allclose(numpy(terms["sparsity_loss"]), code.sum(axis=1), rtol=1e-6)


@pytest.mark.every_backend
def test_each_penalty_has_a_weight_of_its_own():
    assert zoo.make("SparseAE").loss_weights() == {"sparsity_loss": 10.0}
    l1 = {"penalty": "l1", "target": 0.05}
    model = zoo.make("SparseAE", **l1)
    assert model.loss_weights() == {"sparsity_loss": 0.15}
    model.weight = 2.0
    assert zoo.make("SparseAE", weight=2.0, **l1).loss_weights() == model.loss_weights()


@pytest.mark.every_backend
def test_the_units_of_l1_begin_above_0():
    model = zoo.make("SparseAE", penalty="l1", target=0.05)
    assert np.all(model.encode(np.zeros((1, 6), "float32")) == 1.0)
    sigmoid = zoo.make("SparseAE")
    assert np.all(sigmoid.encode(np.zeros((1, 6), "float32")) == 0.5)


# ------------------------------------------------------------------ contractive


def contractive(**given):
    model = keras_ae.ContractiveAE(3, **zoo.OPTIONS | given)
    model.build((None, 6))
    return model


def jacobians(model, x):
    """Return the code's Jacobians (batch, latent_dim, 6), by central differences."""
    steps = 1e-2 * np.eye(6, dtype="float32")
    columns = [(model.encode(x + s) - model.encode(x - s)) / 2e-2 for s in steps]
    return np.stack(columns, axis=-1)


@pytest.mark.parametrize("units", [(), (8,)])
def test_the_penalty_is_the_norm_of_the_jacobian(units):
    options = {"units": units, "activation": "tanh"}
    model, x = contractive(network_options=options), zoo.data(4)
    found = zoo.compute(lambda x: model._squared_jacobian(x), x)
    np.testing.assert_allclose(found, (jacobians(model, x) ** 2).sum(axis=(1, 2)), rtol=1e-3)


def test_the_closed_form_of_one_layer_is_what_products_give(monkeypatch):
    model, x = contractive(network_options={"units": ()}), zoo.data(4)
    closed = zoo.compute(lambda x: model._squared_jacobian(x), x)
    monkeypatch.setattr(type(model), "_has_one_layer", lambda self: False)
    products = zoo.compute(lambda x: model._squared_jacobian(x), x)
    np.testing.assert_allclose(products, closed, rtol=1e-5)


def test_the_mean_of_random_probes_is_the_norm():
    x = zoo.data(2)
    exact, probed = contractive(), contractive(num_probes=1)
    probed.set_weights(exact.get_weights())
    # Each example is repeated, and each copy has its own probe, so that one call computes all.
    estimate = zoo.compute(
        lambda x: contractive_mean(probed, x), np.repeat(x, 2000, axis=0)
    ).reshape(2, 2000)
    expected = zoo.compute(lambda x: exact._squared_jacobian(x), x)
    error = estimate.std(axis=1) / np.sqrt(2000)
    assert np.all(np.abs(estimate.mean(axis=1) - expected) < 5 * error)
    assert np.all(error > 0)


def contractive_mean(model, x):
    return model._squared_jacobian(x, keras.random.SeedGenerator(0))


def test_layers_without_weights_count_in_the_jacobian():
    """`Rescaling` has no weights, but a slope."""
    encoder = keras.Sequential([keras.Input((6,)), keras.layers.Rescaling(3.0)])
    model, x = contractive(encoder=encoder), zoo.data(4)
    found = zoo.compute(lambda x: model._squared_jacobian(x), x)
    np.testing.assert_allclose(found, (jacobians(model, x) ** 2).sum(axis=(1, 2)), rtol=5e-3)


# ------------------------------------------------------------------ regularized


def test_the_mean_gradient_penalty_is_the_norm_of_the_decoder_s_jacobian():
    model = zoo.make("RegularizedAE", regularization="gradient_penalty")
    model.build((None, 6))
    z = np.array([[0.3, -0.7]], "float32")
    steps = 1e-2 * np.eye(2, dtype="float32")
    columns = [(model.decode(z + s) - model.decode(z - s)) / 2e-2 for s in steps]
    expected = (np.stack(columns) ** 2).sum()
    many = zoo.compute(
        lambda z: model._decoder_penalty(z, keras.random.SeedGenerator(0)), np.repeat(z, 4000, 0)
    )
    assert abs(many.mean() - expected) < 5 * many.std() / np.sqrt(4000)
    assert many.std() > 0


def test_the_l2_penalty_is_the_sum_of_the_decoder_s_squares():
    model = zoo.make("RegularizedAE", regularization="l2")
    model.build((None, 6))
    expected = sum((v.numpy() ** 2).sum() for v in model.decoder.trainable_variables)
    found = model._decoder_penalty(tensor(np.zeros((3, 2))))
    assert float(numpy(found)) == pytest.approx(expected, rel=1e-5)


def test_spectral_normalization_bounds_the_decoder_s_slope():
    """A decoder of ReLUs is no steeper than the product of its layers' norms, which are 1."""
    options = {"units": (8,), "activation": "relu"}
    model = zoo.eager(
        "RegularizedAE",
        regularization="spectral_normalization",
        code_weight=0.0,
        network_options=options,
    )
    x = 20.0 * zoo.data()  # Such data needs a steep decoder.
    model.fit(np.tile(x, (4, 1)), batch_size=16, verbose=0)
    z = np.random.default_rng(0).normal(size=(2, 200, 2)).astype("float32")
    rise = np.linalg.norm(model.decode(z[0]) - model.decode(z[1]), axis=1)
    slopes = rise / np.linalg.norm(z[0] - z[1], axis=1)
    assert 0.3 < slopes.max() < 1.05
    with pytest.raises(ValueError, match="Wrap its layers"):
        zoo.make(
            "RegularizedAE",
            regularization="spectral_normalization",
            **zoo.own_networks("RegularizedAE"),
        ).build((None, 6))


# ------------------------------------------------------------------ codes that follow a prior


def test_in_one_dimension_the_distance_is_that_of_sorted_samples():
    x, y = np.random.default_rng(0).normal(size=(2, 40, 1))
    cost = (x - y.T) ** 2
    rows, columns = scipy.optimize.linear_sum_assignment(cost)
    found = float(divergences.sliced_wasserstein(x, y, 3, seed=0))
    assert found == pytest.approx(cost[rows, columns].mean(), rel=1e-5)


def test_the_distance_between_normals_of_one_dimension():
    """It is (difference of the means)^2 + (difference of the standard deviations)^2."""
    quantiles = scipy.stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)[:, None]
    found = divergences.sliced_wasserstein(1.5 + 2.0 * quantiles, -0.5 + 0.7 * quantiles, 2, seed=0)
    assert float(found) == pytest.approx(2.0**2 + 1.3**2, rel=1e-3)


def test_a_shift_is_as_far_as_its_mean_square_along_directions():
    x = np.random.default_rng(0).normal(size=(50, 4))
    shift = np.array([1.0, -2.0, 0.5, 3.0])
    found = float(divergences.sliced_wasserstein(x, x + shift, 4000, seed=0))
    assert found == pytest.approx((shift**2).sum() / 4, rel=0.06)
    assert float(divergences.sliced_wasserstein(x, x[::-1], 5, seed=0)) == pytest.approx(
        0, abs=1e-9
    )


@pytest.mark.parametrize("name", ["AE", "WAE", "SlicedWAE", "AdversarialAE"])
def test_training_makes_the_codes_follow_the_prior(name):
    """The codes of a plain autoencoder do not follow it."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(512, 4)) * 0.1 + rng.uniform(1, 5, (512, 1))
    options = {"units": (32,), "activation": "tanh"}
    given, passes = {"weight": 20.0} if name != "AE" else {}, 100
    if name == "WAE":
        given = {"weight": 140.0}
    if name == "AdversarialAE":  # Two players need more epochs, and the penalty slows them further.
        judge = keras_ae.networks.discriminator(1, units=(32, 32))
        given, passes = {"discriminator": judge, "gradient_penalty": 0.0}, 200
    model = getattr(keras_ae, name)(1, network_options=options, seed=0, **given)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.005, 2 * passes)))
    model.fit(np.tile(x, (passes, 1)), batch_size=256, verbose=0)
    distance = scipy.stats.kstest(model.encode(x)[:, 0], "norm").statistic
    assert distance > 0.5 if name == "AE" else distance < 0.15


def small_judge():
    network = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(5, "tanh", name="judge_hidden"),
            keras.layers.Dense(1, name="judge_logit"),
        ]
    )
    rng = np.random.default_rng(0)
    network.set_weights([rng.normal(size=w.shape) for w in network.get_weights()])
    return network


def penalty_by_hand(weights, z):
    """Return half the squared norm of the gradient of `small_judge` at every row of z."""
    kernel, bias, last, _ = weights
    hidden = np.tanh(z @ kernel + bias)
    return 0.5 * ((((1 - hidden**2) * last[:, 0]) @ kernel.T) ** 2).sum(axis=1)


def adversary(**given):
    model = zoo.eager("AdversarialAE", keras.optimizers.SGD(0.1), **given)
    model.build((None, 6))
    model.step_seed = lambda training: 7  # All steps draw the same from the prior.
    return model, numpy(model._draw_prior(16, 7))


@pytest.mark.every_backend
def test_the_gradient_penalty_by_hand():
    model, draws = adversary(discriminator=small_judge(), gradient_penalty=3.0)
    terms = zoo.compute(lambda x: model.loss_terms(x, x, False), zoo.data(16))
    expected = penalty_by_hand(model.discriminator.get_weights(), draws)
    np.testing.assert_allclose(terms["penalty_loss"], expected, rtol=1e-4)
    assert model.loss_weights()["penalty_loss"] == 3.0
    plain, _ = adversary(discriminator=small_judge(), gradient_penalty=0.0)
    without = zoo.compute(lambda x: plain.loss_terms(x, x, False), zoo.data(16))
    assert terms.keys() - without.keys() == {"penalty_loss"}
    for name, values in without.items():
        np.testing.assert_allclose(values, terms[name], rtol=1e-5)


@pytest.mark.every_backend
def test_the_gradient_penalty_moves_the_discriminator_alone():
    """One step differs from one without the penalty by the penalty's own gradient."""
    trained, factor = [], 0.5
    for number in (factor, 0.0):
        model, draws = adversary(discriminator=small_judge(), gradient_penalty=number)
        start = [np.asarray(w, "float64") for w in model.discriminator.get_weights()]
        model.fit(zoo.data(16), batch_size=16, verbose=0)
        trained.append(model)
    for part in ("encoder", "features_to_code", "decoder"):
        one, other = (getattr(model, part).get_weights() for model in trained)
        assert all(map(np.array_equal, one, other))
    one, other = (model.discriminator.get_weights() for model in trained)
    for place, weight in enumerate(start):
        slope = np.zeros_like(weight)
        for index in np.ndindex(weight.shape):
            values = []
            for step in (1e-5, -1e-5):
                moved = [w.copy() for w in start]
                moved[place][index] += step
                values.append(penalty_by_hand(moved, draws).mean())
            slope[index] = (values[0] - values[1]) / 2e-5
        np.testing.assert_allclose(
            one[place] - other[place], -0.1 * factor * slope, rtol=1e-3, atol=1e-5
        )
        assert np.any(slope) or place == 3  # The last bias does not change the gradient.


def test_petals_lie_around_a_circle():
    draws = numpy(samplers.gaussian_mixture(20_000, 4, seed=0))
    for pair in (draws[:, :2], draws[:, 2:]):
        angle = np.arctan2(pair[:, 1], pair[:, 0])
        petal = np.round(angle / (2 * np.pi / 10)).astype(int) % 10
        assert scipy.stats.chisquare(np.bincount(petal, minlength=10)).pvalue > 1e-3
        turned = angle - petal * 2 * np.pi / 10
        radius = np.hypot(*pair.T)
        along, across = radius * np.cos(turned), radius * np.sin(turned)
        assert along.mean() == pytest.approx(2.0, abs=0.02)
        assert along.std() == pytest.approx(0.5, abs=0.02)
        assert across.std() == pytest.approx(0.1, abs=0.02)
    assert abs(np.corrcoef(draws.T)[0, 2]) < 0.05


def test_the_roll_is_a_spiral_of_even_density():
    draws = numpy(samplers.swiss_roll(20_000, 2, seed=0))
    radius = np.hypot(*draws.T)
    # arctan2 gives a point's angle on the spiral up to full turns, and the radius gives the turns.
    turns = np.round((radius * 5 - np.arctan2(draws[:, 1], draws[:, 0])) / (2 * np.pi))
    angle = np.arctan2(draws[:, 1], draws[:, 0]) + 2 * np.pi * turns
    assert (radius - angle / 5).std() == pytest.approx(0.05, abs=0.005)
    assert scipy.stats.kstest((angle / np.pi) ** 2, scipy.stats.uniform(1, 24).cdf).pvalue > 1e-3


def test_a_penalty_is_a_number():
    with pytest.raises(ValueError, match="gradient_penalty=.* must be"):
        keras_ae.AdversarialAE(2, gradient_penalty=np.ones(2))


def test_priors_of_pairs_refuse_odd_dimensions():
    for name in ("gaussian_mixture", "swiss_roll"):
        with pytest.raises(ValueError, match="latent_dim=4"):
            keras_ae.AdversarialAE(3, prior=name)
    with pytest.raises(ValueError, match="Did you mean 'swiss_roll'"):
        keras_ae.AdversarialAE(2, prior="swissroll")
    with pytest.raises(ValueError, match="is neither .* nor a function"):
        keras_ae.AdversarialAE(2, prior=keras.layers.Dense)
    with pytest.raises(ValueError, match="is neither .* nor a function"):
        keras_ae.AdversarialAE(2, prior=len)
    with pytest.raises(ValueError, match=r"returns codes of shape \(2, 5\)"):
        keras_ae.AdversarialAE(2, prior=lambda n, latent_dim, seed: np.zeros((n, 5)))


def test_any_sampler_is_a_prior():
    def corners(num_samples, latent_dim, seed):
        noise = keras.random.uniform((num_samples, latent_dim), dtype="float32", seed=seed)
        return ops.sign(noise - 0.5)

    model = zoo.make("AdversarialAE", prior=corners)
    model.build((None, 6))
    drawn = numpy(model.sampler.sample(50, 0))
    assert set(np.unique(drawn)) == {-1.0, 1.0}
    np.testing.assert_allclose(model.sample(50, seed=3).shape, (50, 6))


# ------------------------------------------------------------------ the density of the codes

WITH_DENSITY = [n for n in zoo.MODELS if issubclass(getattr(keras_ae, n), keras_ae.AE)]


@pytest.mark.every_backend
@pytest.mark.parametrize("dropout", [0.0, 0.5])
@pytest.mark.parametrize("name", WITH_DENSITY)
def test_the_density_is_that_of_the_codes_of_encode(name, dropout):
    """With fixed weights the two agree, though training uses dropout and corrupted data."""
    options = {**zoo.settings(name).get("network_options", {}), "dropout": dropout}
    model = zoo.eager(name, keras.optimizers.SGD(0.0), network_options=options)
    x = zoo.data(512)
    model.fit(x, epochs=4, batch_size=64, verbose=0)
    codes = model.encode(x).reshape(len(x), -1)
    density = model.sampler
    spread = codes.std(axis=0)
    mean, covariance = numpy(density.mean), numpy(density.covariance)
    # The density follows only some of the examples, whose mean is near that of all.
    assert np.all(np.abs(mean - codes.mean(axis=0)) < 0.25 * spread)
    whitened = (covariance - np.cov(codes.T, bias=True)) / np.outer(spread, spread)
    assert np.abs(whitened).max() < 0.3
    if not dropout and not model._encodes_corrupted:  # Then it follows all of them.
        np.testing.assert_allclose(mean, codes.mean(axis=0), atol=1e-4)
        np.testing.assert_allclose(covariance, np.cov(codes.T, bias=True), atol=1e-4)


@pytest.mark.every_backend
def test_codes_of_low_rank_have_a_density(exports, tmp_path):
    """The codes of 64 dimensions lie on a plane, up to the rounding of float32."""
    rng = np.random.default_rng(0)
    x = (rng.random((512, 2)) @ rng.normal(size=(2, 20))).astype("float32")
    model = keras_ae.AE(64, network_options={"units": ()}, seed=0)
    model.compile("adam")
    model.fit(x, epochs=2, verbose=0)
    assert np.all(np.isfinite(model.sample(5, seed=0)))
    model.export(tmp_path / "exported")
    draws = numpy(model.sampler.sample(20_000, 0))
    codes = model.encode(x)
    np.testing.assert_allclose(np.cov(draws.T), np.cov(codes.T), atol=0.15)


def test_an_indefinite_covariance_becomes_the_nearest_definite_one():
    density = keras_ae.samplers.CodeDensity(3)
    vectors = scipy.stats.ortho_group.rvs(3, random_state=0)
    density.covariance.assign((vectors * [2.0, 1.0, -1e-3]) @ vectors.T)
    density.prepare()
    factor = numpy(density.factor)
    np.testing.assert_allclose(
        factor @ factor.T, (vectors * [2.0, 1.0, 0.0]) @ vectors.T, atol=1e-5
    )
    density.covariance.assign(np.zeros((3, 3)))
    density.prepare()
    assert np.abs(numpy(density.factor)).max() < 1e-5


@pytest.mark.parametrize("sizes", [(32, 1), (1, 32), (7, 32, 32, 3)])
def test_a_short_batch_weighs_less(sizes):
    """Mean and covariance are those of all examples, however these were batched."""
    codes = np.random.default_rng(0).normal(size=(sum(sizes), 2)).astype("float32")
    density = keras_ae.samplers.CodeDensity(2)
    for part in np.split(codes, np.cumsum(sizes)[:-1]):
        density.update(tensor(part))
    np.testing.assert_allclose(numpy(density.mean), codes.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(numpy(density.covariance), np.cov(codes.T, bias=True), atol=1e-5)


def test_an_untrained_model_serves_no_samples(tmp_path):
    """The artifact has no endpoint `sample`, and the model's `sample` raises an error."""
    model = keras_ae.AE(2, network_options={"units": (4,)})
    model.build((None, 6))
    with pytest.raises(RuntimeError, match=r"Call fit\(x\) first"):
        model.sample(3)
    if keras.config.backend() != "torch":
        model.export(tmp_path / "ae")
        assert "sample" not in keras_ae.saving.read_card(tmp_path / "ae")["endpoints"]
