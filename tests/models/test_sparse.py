"""Sparse dictionaries, compared with closed forms, sums by NumPy, and each other."""

import keras
import numpy as np
import pytest
import zoo
from keras import layers, ops
from scipy import optimize, stats

import keras_ae
from keras_ae import sparsity
from keras_ae.core.seeds import RunSeed
from keras_ae.layers.dictionary import DataScale
from keras_ae.samplers import FeatureDensity

pytestmark = pytest.mark.formula

WIDTH, FEATURES = 6, 12
QUIET = {"verbose": 0, "return_dict": True}
dictionaries = pytest.mark.parametrize(
    "name", zoo.asked(lambda cls: hasattr(cls, "dictionary_metrics"))
)


def numpy(tensor):
    return np.array(ops.convert_to_numpy(ops.convert_to_tensor(tensor)))


def data(num_examples=64, seed=0):
    """Return correlated numbers with means far from 0 and variances far from 1."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(num_examples, 3)) @ rng.normal(size=(3, WIDTH))
    return (5.0 + 3.0 * x + 0.3 * rng.normal(size=x.shape)).astype("float32")


SMALL = {
    "TopKSAE": {"k": 3},
    "BatchTopKSAE": {"k": 3},
    "MatryoshkaSAE": {"k": 3, "prefixes": (4, 7, FEATURES)},
    "JumpReLUSAE": {"initial_threshold": 0.3},
}


def compiled(name, optimizer, **given):
    model = getattr(keras_ae, name)(FEATURES, seed=0, **SMALL.get(name, {}) | given)
    model.compile(optimizer, **zoo.OP_BY_OP)
    model.build((None, WIDTH))
    return model


def made(name, **given):
    """Return a model with random weights that has seen the data's scale."""
    model = compiled(name, keras.optimizers.SGD(0.01), **given)
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign(variable.numpy() + rng.normal(0.0, 0.2, variable.shape))
    model.data_scale.update(ops.convert_to_tensor(data()))
    return model


def maps(model):
    """Return the encoder, its bias, the rows with length 1, and the bias, as float64."""
    d = model.dictionary
    rows = numpy(d.decoder_kernel).astype("float64")
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    encoder, encoder_bias, bias = (
        numpy(v).astype("float64") for v in (d.encoder_kernel, d.encoder_bias, d.bias)
    )
    return encoder, encoder_bias, rows, bias


def scaled(model, x):
    return (x - numpy(model.data_scale.center)) / numpy(model.data_scale.scale())


def terms(model, x, training=False):
    """Return the losses of a batch, one number per example, computed in one program."""
    return zoo.compute(lambda x: model.loss_terms(x, x, training), x)


# ------------------------------------------------------------------ pure functions


def test_top_k_keeps_the_largest_of_a_row_and_passes_their_gradient():
    z = np.random.default_rng(0).normal(size=(20, 9)).astype("float32")
    kept = zoo.compute(lambda z: sparsity.top_k(z, 4), z)
    largest = np.argsort(-z, axis=1)[:, :4]
    mask = np.zeros_like(z)
    np.put_along_axis(mask, largest, 1.0, axis=1)
    np.testing.assert_array_equal(kept, z * mask)
    gradient = zoo.gradient(lambda z: ops.sum(ops.square(sparsity.top_k(z, 4))), z)
    np.testing.assert_allclose(gradient, 2 * z * mask, rtol=1e-6)
    np.testing.assert_array_equal(zoo.compute(lambda z: sparsity.top_k(z, 9), z), z)


def test_batch_top_k_keeps_the_largest_of_all():
    z = np.random.default_rng(0).normal(size=(20, 9)).astype("float32")
    kept = zoo.compute(lambda z: sparsity.batch_top_k(z, 4), z)
    mask = z >= np.sort(z, axis=None)[-80]
    assert mask.sum() == 80 and np.ptp(mask.sum(axis=1)) > 0
    np.testing.assert_array_equal(kept, z * mask)
    gradient = zoo.gradient(lambda z: ops.sum(sparsity.batch_top_k(z, 4)), z)
    np.testing.assert_array_equal(gradient, mask)


def test_the_pseudo_derivatives_are_the_paper_s():
    """Derivatives by the threshold use the rectangular kernel; those by z are the true ones."""
    rng = np.random.default_rng(0)
    z, weights = rng.normal(size=(2, 50, 4)).astype("float32")
    threshold = np.array([0.2, 0.5, 1.0, 0.1], "float32")
    width = 0.4
    window = (np.abs((z - threshold) / width) <= 0.5) / width
    open_ = z > threshold
    assert window.any(axis=0).all()
    functions = {
        sparsity.heaviside: (open_, 0.0 * z, -window),
        sparsity.jump_relu: (z * open_, open_, -threshold * window),
    }
    ways = ops.convert_to_tensor(weights)
    for function, (value, by_z, by_threshold) in functions.items():
        found = zoo.compute(lambda z, t, f=function: f(z, t, width), z, threshold)
        np.testing.assert_array_equal(found, value)
        gradient = zoo.gradient(lambda z, f=function: ways * f(z, threshold, width) + 0.0 * z, z)
        np.testing.assert_allclose(gradient, weights * by_z, atol=1e-6)
        gradient = zoo.gradient(lambda t, f=function: ways * f(z, t, width), threshold)
        np.testing.assert_allclose(gradient, (weights * by_threshold).sum(axis=0), atol=1e-4)


def test_the_pseudo_derivative_estimates_that_of_the_expected_loss():
    """d E[H(z - t)] / dt is minus the density at t, which a normal has in closed form."""
    z = np.random.default_rng(0).normal(size=(400_000, 1)).astype("float32")
    threshold = np.array([0.7], "float32")
    found = zoo.gradient(lambda t: ops.mean(sparsity.heaviside(z, t, 0.2)), threshold)
    assert found[0] == pytest.approx(-stats.norm.pdf(0.7), rel=0.02)


def test_metrics_of_perfect_codes_and_of_none():
    x = data()
    perfect = sparsity.dictionary_metrics(x, np.ones((64, 4)), x)
    density = perfect.pop("feature_density")
    np.testing.assert_array_equal(density, 1.0)
    expected = {"l0": 4.0, "unexplained_variance": 0.0, "dead_fraction": 0.0, "shrinkage": 1.0}
    assert perfect == pytest.approx(expected, abs=1e-12)
    nothing = sparsity.dictionary_metrics(
        x, np.zeros((64, 4)), np.tile(x.mean(axis=0, dtype="float64"), (64, 1))
    )
    np.testing.assert_array_equal(nothing.pop("feature_density"), 0.0)
    expected = {"l0": 0.0, "unexplained_variance": 1.0, "dead_fraction": 1.0, "shrinkage": 0.0}
    assert nothing == pytest.approx(expected, abs=1e-12)


def test_shrinkage_is_the_factor_that_brings_reconstructions_closest():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5))
    x -= x.mean(axis=0)
    output = 0.6 * x + 0.2 * rng.normal(size=x.shape)
    found = sparsity.dictionary_metrics(x, np.ones((200, 1)), output)["shrinkage"]
    error = optimize.minimize_scalar(lambda factor: np.sum((x - output / factor) ** 2), (0.5, 1.0))
    assert found == pytest.approx(error.x, rel=1e-5)


# ------------------------------------------------------------------ the data's scale


def test_the_center_is_the_geometric_median_and_the_norm_the_dimension():
    # The data is skewed, so that mean and median differ.
    x = np.concatenate([data(200), data(40, seed=3) * 4 - 60])
    scale = DataScale(WIDTH)

    scale.update(ops.convert_to_tensor(x))
    mean, exact = x.mean(axis=0, dtype="float64"), x.astype("float64")
    median = optimize.minimize(lambda m: np.linalg.norm(exact - m, axis=1).sum(), mean).x
    assert np.linalg.norm(median - mean) > 1.0
    np.testing.assert_allclose(numpy(scale.center), median, atol=0.15)
    normalized = numpy(scale.normalize(ops.convert_to_tensor(x)))
    assert np.mean(np.sum(normalized**2, axis=1)) == pytest.approx(WIDTH, rel=1e-4)
    np.testing.assert_allclose(
        numpy(scale.restore(ops.convert_to_tensor(normalized))), x, rtol=1e-4, atol=1e-4
    )
    assert numpy(scale.total_variance()) == pytest.approx(normalized.var(axis=0).sum(), rel=1e-3)


def test_the_scale_is_the_mean_over_batches_and_then_stays_fixed():
    """While batches have equal shares, the variance is that of all examples together."""
    x = data(640).reshape(10, 64, WIDTH)
    scale = DataScale(WIDTH)
    for batch in x:
        scale.update(ops.convert_to_tensor(batch))
    whole = x.reshape(-1, WIDTH).astype("float64")
    np.testing.assert_allclose(numpy(scale.mean), whole.mean(axis=0), rtol=1e-4)
    assert numpy(scale.variance) == pytest.approx(whole.var(axis=0).sum(), rel=1e-4)
    scale.num_updates.assign(100.0)
    held = scale.center, scale.mean, scale.variance
    before = [numpy(v) for v in held]
    scale.update(ops.convert_to_tensor(x[0] * 7 + 3))
    for old, variable in zip(before, held, strict=True):
        np.testing.assert_array_equal(old, numpy(variable))


def test_an_empty_batch_and_data_that_never_vary_harm_nothing():
    scale, density = DataScale(3), FeatureDensity(2)
    scale.update(ops.zeros((0, 3)))
    density.update(ops.zeros((0, 2)))
    assert all(np.all(np.isfinite(w)) for w in zoo.weights(scale) + zoo.weights(density))
    scale = DataScale(3)
    scale.update(ops.full((8, 3), 1 / 3))
    np.testing.assert_allclose(numpy(scale.normalize(ops.full((1, 3), 1 / 3))), 0.0, atol=1e-6)
    assert numpy(scale.scale()) == numpy(scale.total_variance()) == 1.0


@dictionaries
def test_data_in_another_unit_gives_the_same_codes(name):
    """The model scales its input and scales the output back, so data has its own unit."""
    x = data()
    one, other = made(name), made(name)
    other.data_scale.num_updates.assign(0.0)
    other.data_scale.update(ops.convert_to_tensor(100.0 * x - 30.0))
    codes = one.encode(x)
    np.testing.assert_allclose(other.encode(100.0 * x - 30.0), codes, atol=2e-3)
    np.testing.assert_allclose(
        other.decode(codes), 100.0 * one.decode(codes) - 30.0, rtol=1e-4, atol=0.2
    )
    _, _, rows, bias = maps(one)
    center, scale = numpy(one.data_scale.center), numpy(one.data_scale.scale())
    expected = codes @ (scale * rows) + scale * bias + center
    np.testing.assert_allclose(one.decode(codes), expected, rtol=1e-4, atol=1e-4)


def test_data_of_any_shape_is_flattened():
    x = np.random.default_rng(0).normal(size=(8, 2, 3)).astype("float32")
    model = keras_ae.TopKSAE(FEATURES, k=2, seed=0)
    model.build(x.shape)
    flat = keras_ae.TopKSAE(FEATURES, k=2, seed=0)
    flat.build((None, 6))
    np.testing.assert_allclose(model.encode(x), flat.encode(x.reshape(8, 6)), atol=1e-6)
    reconstructions = flat.reconstruct(x.reshape(8, 6)).reshape(x.shape)
    np.testing.assert_allclose(model.reconstruct(x), reconstructions, atol=1e-6)
    assert model.directions.shape == (FEATURES, 2, 3)


# ------------------------------------------------------------------ what all models share


@dictionaries
def test_directions_keep_length_one_and_the_encoder_starts_as_their_transpose(name):
    model = compiled(name, keras.optimizers.Adam(0.05))
    encoder, _, rows, _ = maps(model)
    np.testing.assert_allclose(encoder, rows.T, atol=1e-6)
    before = model.directions
    model.fit(data(), batch_size=16, epochs=2, verbose=0)
    assert np.abs(model.directions - before).max() > 0.01
    np.testing.assert_allclose(np.linalg.norm(model.directions, axis=1), 1.0, atol=1e-5)


def gradients_of(model, x):
    """Return name -> gradient, from a step of SGD at rate 1."""
    model.compile(keras.optimizers.SGD(1.0), **zoo.OP_BY_OP)
    before = [v.numpy() for v in model.trainable_variables]
    model.fit(x, batch_size=len(x), verbose=0, shuffle=False)
    return {
        v.path.split("/")[-1]: old - v.numpy()
        for v, old in zip(model.trainable_variables, before, strict=True)
    }


@dictionaries
def test_no_gradient_points_along_a_direction(name):
    model = made(name)
    model.data_scale.num_updates.assign(100.0)
    kernel = numpy(model.dictionary.decoder_kernel)
    moved = gradients_of(model, data())["decoder_kernel"]
    along = np.sum(moved * kernel, axis=1) / np.linalg.norm(kernel, axis=1)
    assert np.abs(moved).max() > 1e-2
    np.testing.assert_allclose(along, 0.0, atol=1e-4)


def test_top_k_of_all_features_is_a_linear_autoencoder():
    """Loss and gradients have closed forms; a row's gradient has no part along the row."""
    model, x = made("TopKSAE", k=FEATURES), data()
    model.data_scale.num_updates.assign(100.0)
    encoder, encoder_bias, rows, bias = maps(model)
    lengths = np.linalg.norm(numpy(model.dictionary.decoder_kernel), axis=1, keepdims=True)
    u = scaled(model, x)
    z = (u - bias) @ encoder + encoder_bias
    error = z @ rows + bias - u
    found = terms(model, x)
    np.testing.assert_allclose(found["reconstruction_loss"], np.sum(error**2, axis=1), rtol=1e-3)
    np.testing.assert_allclose(model.encode(x), z, atol=1e-4)
    by_output = 2 * error / len(x)
    by_code, by_rows = by_output @ rows.T, z.T @ by_output
    by_rows -= rows * np.sum(rows * by_rows, axis=1, keepdims=True)
    expected = {
        "encoder_kernel": (u - bias).T @ by_code,
        "encoder_bias": by_code.sum(axis=0),
        "decoder_kernel": by_rows / lengths,
        "bias": by_output.sum(axis=0) - encoder @ by_code.sum(axis=0),
    }
    moved = gradients_of(model, x)
    assert moved.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(moved[name], value, rtol=1e-3, atol=1e-4, err_msg=name)


def kill(model, dead):
    idle = np.zeros(FEATURES, "float32")
    idle[dead] = model.dead_after
    model.sampler.idle.assign(idle)


def test_the_auxiliary_loss_reconstructs_the_residual_with_dead_features():
    model, x, dead = made("TopKSAE", auxiliary_k=2), data(), [1, 4, 7, 8, 10]
    assert not np.any(terms(model, x)["auxiliary_loss"])  # No feature is dead yet.
    kill(model, dead)
    encoder, encoder_bias, rows, bias = maps(model)
    u = scaled(model, x)
    a = (u - bias) @ encoder + encoder_bias
    z = np.where(a >= np.sort(a, axis=1)[:, [-3]], a, 0.0)
    left_over = u - z @ rows - bias
    strongest = np.where(a >= np.sort(a[:, dead], axis=1)[:, [-2]], a, 0.0)
    strongest[:, np.setdiff1d(np.arange(FEATURES), dead)] = 0.0
    expected = np.sum((left_over - strongest @ rows) ** 2, axis=1)
    found = terms(model, x)
    np.testing.assert_allclose(found["auxiliary_loss"], expected, rtol=1e-3)
    assert found["dead_fraction"] == pytest.approx(5 / 12)
    # If fewer features are dead than auxiliary_k, all dead ones are used.
    kill(model, [4])
    only = np.where(np.arange(FEATURES) == 4, a, 0.0)
    expected = np.sum((left_over - only @ rows) ** 2, axis=1)
    np.testing.assert_allclose(terms(model, x)["auxiliary_loss"], expected, rtol=1e-3)


def test_the_auxiliary_loss_moves_only_dead_features():
    class Auxiliary(keras_ae.TopKSAE):
        objective = ("auxiliary_loss",)
        diagnostics = ("reconstruction_loss", *keras_ae.TopKSAE.diagnostics)

    model = Auxiliary(FEATURES, k=3, auxiliary_weight=1.0, seed=0)
    model.build((None, WIDTH))
    dead = [1, 4, 7]
    kill(model, dead)
    living = np.setdiff1d(np.arange(FEATURES), dead)
    # These biases keep the dead features out of the three strongest in this step, too.
    model.dictionary.encoder_bias.assign(np.where(np.isin(np.arange(FEATURES), dead), -9.0, 9.0))
    moved = gradients_of(model, data())
    for name, axis in (("encoder_kernel", 1), ("encoder_bias", 0), ("decoder_kernel", 0)):
        assert np.abs(np.take(moved[name], dead, axis=axis)).max() > 1e-3, name
        assert not np.any(np.take(moved[name], living, axis=axis)), name


# ------------------------------------------------------------------ the papers


def test_the_threshold_reproduces_the_sparsity_of_training():
    x = np.random.default_rng(0).normal(size=(2048, 16)).astype("float32")
    model = keras_ae.BatchTopKSAE(64, k=4, seed=0)
    model.compile(keras.optimizers.Adam(1e-2))
    history = model.fit(x, batch_size=256, epochs=20, verbose=0).history
    assert history["l0"][-1] == pytest.approx(4.0, abs=0.01)
    found = model.evaluate(x, batch_size=256, **QUIET)
    assert found["l0"] == pytest.approx(4.0, rel=0.05)
    assert found["reconstruction_loss"] == pytest.approx(
        history["reconstruction_loss"][-1], rel=0.05
    )
    one_by_one = np.concatenate([model.encode(x[n : n + 1]) for n in range(5)])
    np.testing.assert_allclose(one_by_one, model.encode(x[:5]), atol=1e-5)


def test_the_threshold_is_the_mean_of_the_batches_smallest_active_numbers():
    model = made("BatchTopKSAE")
    least = []
    for seed in range(4):
        u = scaled(model, data(seed=seed))
        encoder, encoder_bias, _, bias = maps(model)
        a = np.maximum((u - bias) @ encoder + encoder_bias, 0.0)
        least.append(np.sort(a, axis=None)[-3 * len(u)])
        z = model._select(ops.convert_to_tensor(a.astype("float32")), training=True)
        model.threshold.update(z)
    assert min(least) > 0
    assert numpy(model.threshold.mean) == pytest.approx(np.mean(least), rel=1e-4)


def test_a_jump_relu_dictionary_counts_and_learns_as_the_paper_says():
    weight, width = 0.7, 0.5
    model = made("JumpReLUSAE", sparsity_weight=weight, bandwidth=width)
    model.data_scale.num_updates.assign(100.0)
    x = data()
    encoder, encoder_bias, rows, bias = maps(model)
    threshold = np.exp(numpy(model._log_threshold).astype("float64"))
    u = scaled(model, x)
    a = (u - bias) @ encoder + encoder_bias
    z = a * (a > threshold)
    found = terms(model, x)
    error = z @ rows + bias - u
    np.testing.assert_allclose(found["sparsity_loss"], (a > threshold).sum(axis=1))
    np.testing.assert_allclose(found["reconstruction_loss"], np.sum(error**2, axis=1), rtol=1e-3)
    window = (np.abs(a - threshold) <= width / 2) / width
    by_code = 2 * error @ rows.T
    by_threshold = -(window * (by_code * threshold + weight)).mean(axis=0)
    moved = gradients_of(model, x)["log_threshold"]
    np.testing.assert_allclose(moved, by_threshold * threshold, rtol=1e-3, atol=1e-4)


def test_the_defaults_of_a_jump_relu_dictionary_follow_the_width_of_the_data():
    """Squared errors of scaled data are proportional to the width, and codes to its root."""

    def threshold(**given):
        model = compiled("JumpReLUSAE", "sgd", **{"initial_threshold": None} | given)
        start = np.exp(numpy(model._log_threshold))
        assert np.ptp(start) == 0.0
        kill(model, [2])
        model._log_threshold.assign(np.zeros(FEATURES))
        model.resample_dead(data())
        again = np.exp(numpy(model._log_threshold))
        assert again[2] == start[2] and np.all(np.delete(again, 2) == 1.0)
        return start[0], model

    start, model = threshold()
    assert start == pytest.approx(np.sqrt(WIDTH / 200))
    assert model.sparsity_weight is model.initial_threshold is None
    assert model.loss_weights()["sparsity_loss"] == pytest.approx(WIDTH / 200)
    model.sparsity_weight = 0.7
    assert model.loss_weights()["sparsity_loss"] == 0.7
    assert threshold(sparsity_weight=0.49)[0] == pytest.approx(0.7)
    assert threshold(initial_threshold=0.4)[0] == pytest.approx(0.4)
    for weight in (0, keras_ae.schedules.LinearWarmUp(9, end=3.0)):
        start, model = threshold(sparsity_weight=weight)
        assert start == pytest.approx(np.sqrt(WIDTH / 200))
        assert numpy(model.loss_weights()["sparsity_loss"]) == 0.0


def gated_arrays(model, x):
    encoder, encoder_bias, rows, bias = maps(model)
    gain, magnitude_bias = np.exp(numpy(model._log_gain)), numpy(model._magnitude_bias)
    weighted = (scaled(model, x) - bias) @ encoder
    return weighted, encoder_bias, gain, magnitude_bias, rows, bias


def test_the_default_weight_of_a_gated_dictionary_follows_the_width_of_the_data():
    """Squared errors of scaled data are proportional to the width, and gates to its root."""
    model = made("GatedSAE")
    assert model.sparsity_weight is None
    assert model.loss_weights()["sparsity_loss"] == pytest.approx(np.sqrt(WIDTH) / 3)
    x = data()
    found = model.evaluate(x, batch_size=64, **QUIET)
    penalty = np.sqrt(WIDTH) / 3 * found["sparsity_loss"]
    expected = found["reconstruction_loss"] + penalty + found["auxiliary_loss"]
    assert found["loss"] == pytest.approx(expected, rel=1e-5)
    model.sparsity_weight = 0.7
    assert model.loss_weights()["sparsity_loss"] == 0.7


def test_a_gated_dictionary_is_a_jump_relu_dictionary():
    """It has the weights times the gain, and thresholds where the gates open."""
    model, x = made("GatedSAE"), data()
    model._magnitude_bias.assign(np.random.default_rng(2).uniform(0.5, 1.0, FEATURES))
    weighted, gate_bias, gain, magnitude_bias, _, _ = gated_arrays(model, x)
    threshold = magnitude_bias - gain * gate_bias
    assert np.all(threshold > 0)
    a = (gain * weighted + magnitude_bias).astype("float32")
    codes = zoo.compute(lambda a, t: sparsity.jump_relu(a, t, 0.1), a, threshold.astype("float32"))
    assert 0.2 < np.mean(codes > 0) < 0.8
    np.testing.assert_allclose(model.encode(x), codes, atol=1e-4)


# The auxiliary loss has no gradient for the decoder, and Keras warns about that.
@pytest.mark.filterwarnings("ignore:Gradients do not exist")
def test_a_gated_dictionary_s_losses_and_that_the_auxiliary_one_leaves_the_decoder():
    model, x = made("GatedSAE", sparsity_weight=0.5), data()
    weighted, gate_bias, gain, magnitude_bias, rows, bias = gated_arrays(model, x)
    u, gates = scaled(model, x), np.maximum(weighted + gate_bias, 0.0)
    z = np.where(gates > 0, np.maximum(gain * weighted + magnitude_bias, 0.0), 0.0)
    found = terms(model, x)
    expected = {
        "reconstruction_loss": np.sum((z @ rows + bias - u) ** 2, axis=1),
        "sparsity_loss": gates.sum(axis=1),
        "auxiliary_loss": np.sum((gates @ rows + bias - u) ** 2, axis=1),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-4, err_msg=name)

    class Auxiliary(keras_ae.GatedSAE):
        objective = ("auxiliary_loss",)
        diagnostics = ("reconstruction_loss", "sparsity_loss", *keras_ae.GatedSAE.diagnostics)

    alone = Auxiliary(FEATURES, seed=0)
    alone.build((None, WIDTH))
    moved = gradients_of(alone, x)
    for spared in ("decoder_kernel", "log_gain", "magnitude_bias"):
        assert not np.any(moved[spared]), spared
    assert np.abs(moved["encoder_kernel"]).max() > 1e-3


def test_a_matryoshka_dictionary_of_one_prefix_is_a_batch_top_k_one():
    plain, nested = made("BatchTopKSAE"), made("MatryoshkaSAE", prefixes=(FEATURES,))
    x = data()
    for model in (plain, nested):
        model.fit(x, batch_size=16, epochs=2, verbose=0)
    for a, b in zip(plain.variables, nested.variables, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)


def test_the_nested_loss_sums_over_the_prefixes():
    model, x = made("MatryoshkaSAE"), data()
    _, _, rows, bias = maps(model)
    u, z = scaled(model, x), model.encode(x)
    errors = [np.sum((u - z[:, :m] @ rows[:m] - bias) ** 2, axis=1) for m in (4, 7, FEATURES)]
    found = terms(model, x)
    np.testing.assert_allclose(found["nested_loss"], np.sum(errors, axis=0), rtol=1e-3)
    np.testing.assert_allclose(found["reconstruction_loss"], errors[-1], rtol=1e-3)
    default = keras_ae.MatryoshkaSAE(20, k=2)
    assert default.prefixes == [2, 3, 5, 10, 20]
    for wrong in ((4, 7), (7, 4, FEATURES), (4, 4, FEATURES)):
        with pytest.raises(ValueError, match="must rise and end in latent_dim=12"):
            keras_ae.MatryoshkaSAE(FEATURES, k=2, prefixes=wrong)


def test_k_is_at_most_all():
    with pytest.raises(ValueError, match="k=13 must be an integer from 1 to 12. There are"):
        keras_ae.TopKSAE(FEATURES, k=13)
    with pytest.raises(ValueError, match="auxiliary_k=13 must be an integer from 1 to 12"):
        keras_ae.TopKSAE(FEATURES, k=2, auxiliary_k=13)
    with pytest.raises(ValueError, match="reconstructs its inputs"):
        model = keras_ae.TopKSAE(FEATURES, k=2)
        model.compile("adam")
        model.fit(data(), data()[:, :3], verbose=0)


@pytest.mark.costly
@pytest.mark.every_backend
@dictionaries
def test_with_default_arguments_codes_are_sparse_and_reconstruct(name):
    """512 features learn pictures of 64 pixels, of which other pictures are encoded."""
    train, test = (
        keras_ae.datasets.as_array("digits", s).reshape(-1, 64) for s in ("train", "test")
    )
    model = getattr(keras_ae, name)(seed=0)
    model.compile(keras.optimizers.Adam(1e-3))
    model.fit(np.resize(train, (300 * 64, 64)), batch_size=64, verbose=0)
    found = model.dictionary_metrics(test)
    assert found["l0"] <= 64 and found["dead_fraction"] <= 0.5, found
    assert found["unexplained_variance"] <= 0.5, found


# ------------------------------------------------------------------ dead features, figures, samples


@pytest.mark.every_backend
@dictionaries
def test_resampling_revives_dead_features(name):
    """The data has few directions, and dead features start at the errors of examples."""
    model, x = made(name, dead_after=1), data()
    dead = [2, 5]
    model.dictionary.encoder_bias.assign(np.where(np.isin(np.arange(FEATURES), dead), -50.0, 0.0))
    model.fit(x, batch_size=64, verbose=0)
    kill(model, dead)
    before = model.directions
    assert not np.any(model.encode(x)[:, dead])
    errors = x - model.reconstruct(x)
    assert model.resample_dead(x, seed=0) == 2
    errors /= np.linalg.norm(errors, axis=1, keepdims=True)
    now = model.directions
    # Each direction is the error of an example.
    assert np.min(np.max(now[dead] @ errors.T, axis=1)) > 0.9999
    np.testing.assert_array_equal(np.delete(now, dead, axis=0), np.delete(before, dead, axis=0))
    assert not np.any(numpy(model.sampler.dead(1)))
    assert model.resample_dead(x, seed=0) == 0
    # In the next batches, the revived features are active and learn.
    encoder = numpy(model.dictionary.encoder_kernel)[:, dead]
    assert np.all(np.any(model.encode(x, training=True)[:, dead] > 0, axis=0))
    model.fit(x, batch_size=64, verbose=0)
    assert np.abs(numpy(model.dictionary.encoder_kernel)[:, dead] - encoder).max() > 1e-4


def test_resampling_between_epochs_reaches_the_training():
    """On JAX, training has a copy of the weights, which is written back after each epoch."""
    model, x = made("TopKSAE", dead_after=1), data()
    revived = []

    def resample(epoch, logs):
        if epoch == 0:
            kill(model, [3])
            revived.append(model.resample_dead(x, seed=0))
            revived.append(model.directions)

    again = keras.callbacks.LambdaCallback(on_epoch_end=resample)
    model.compile(keras.optimizers.SGD(0.0))
    model.fit(x, epochs=2, batch_size=32, callbacks=[again], verbose=0)
    assert revived[0] >= 1
    np.testing.assert_allclose(model.directions, revived[1], atol=1e-6)


def test_a_feature_is_dead_after_so_many_steps_without_being_active():
    density = FeatureDensity(2)
    for step in range(5):
        assert numpy(density.dead(3)).tolist() == [0.0, float(step >= 3)]
        density.update(ops.convert_to_tensor(np.array([[1.0, 0.0]] * 4, "float32")))
    density.update(ops.convert_to_tensor(np.array([[0.0, 0.0], [0.0, -1.0]], "float32")))
    assert numpy(density.dead(1)).tolist() == [1.0, 0.0]


def test_samples_have_the_moments_of_the_codes():
    rng = np.random.default_rng(0)
    z = rng.gamma(2.0, 1.5, (3, 500, 4)) * (rng.random((3, 500, 4)) < [0.02, 0.3, 0.9, 0.0])
    z[..., 1] *= np.where(rng.random((3, 500)) < 0.25, -1.0, 1.0)
    density = FeatureDensity(4)
    assert not density.ready()
    for batch in z.astype("float32"):
        density.update(ops.convert_to_tensor(batch))
    assert density.ready()
    z = z.reshape(-1, 4)
    drawn = numpy(density.sample(400_000, RunSeed(np.array([0, 0]))))
    np.testing.assert_allclose((drawn != 0).mean(axis=0), (z != 0).mean(axis=0), atol=3e-3)
    for power in (1, 2):
        moment, error = (z**power).mean(axis=0), (drawn**power).std(axis=0) / np.sqrt(len(drawn))
        assert np.all(np.abs((drawn**power).mean(axis=0) - moment) <= 5 * error + 1e-6)
    np.testing.assert_allclose(np.abs(drawn).mean(axis=0), np.abs(z).mean(axis=0), rtol=0.05)
    assert not np.any(drawn[:, [0, 2, 3]] < 0) and not np.any(drawn[:, 3])
    assert np.abs(np.corrcoef(drawn[:, :3].T) - np.eye(3)).max() < 0.01


@dictionaries
def test_the_metrics_of_a_model_are_those_of_its_codes(name):
    model, x = made(name), data(100)
    codes = model.encode(x)
    expected = sparsity.dictionary_metrics(x, codes, model.decode(codes))
    found = model.dictionary_metrics(x, batch_size=16)
    for metric, value in expected.items():
        np.testing.assert_allclose(found[metric], value, rtol=1e-4, err_msg=metric)
    logs = model.evaluate(x, batch_size=50, **QUIET)
    assert logs["l0"] == pytest.approx(found["l0"], rel=1e-4)
    # The logs have it as a fraction of the variance of the training data.
    variance = x.var(axis=0, dtype="float64").sum() / numpy(model.data_scale.variance)
    unexplained = found["unexplained_variance"] * variance
    assert logs["unexplained_variance"] == pytest.approx(unexplained, rel=1e-3)


# ------------------------------------------------------------------ inner activations


class Blocks(keras.Model):
    """A model without a graph, with layers in lists and in other layers."""

    def __init__(self):
        super().__init__()
        self.embedding = layers.Embedding(10, 4)
        inner = [keras.Input((5, 4)), layers.Dense(3, "tanh", name="deep"), layers.Dense(4)]
        self.blocks = [keras.Sequential(inner), layers.Dense(2)]

    def call(self, x):
        h = self.embedding(x)
        for block in self.blocks:
            h = block(h)
        return h


def functional():
    x = keras.Input((WIDTH,))
    h = layers.Dropout(0.5, seed=0)(layers.Dense(4, "tanh", name="hidden")(x))
    h = layers.BatchNormalization(name="normal")(h)
    return keras.Model(x, layers.Dense(2, name="last")(h))


@pytest.mark.every_backend
@pytest.mark.parametrize("layer", ["hidden", "normal", "last"])
def test_activations_are_those_of_the_model_cut_there(layer):
    model, x = functional(), data(50)
    cut = keras.Model(model.inputs, model.get_layer(layer).output)
    expected = cut.predict(x, verbose=0)
    inner = keras_ae.activations(model, layer, x, batch_size=16)
    assert len(inner) == 4 and inner[0][0].shape == (16, expected.shape[1])
    np.testing.assert_allclose(inner.array(), expected, atol=1e-5)
    same = keras_ae.activations(model, model.get_layer(layer), x)
    np.testing.assert_allclose(same.array(), expected, atol=1e-5)
    before = model.predict(x, verbose=0)
    # The model computes the same as before.
    np.testing.assert_allclose(model.predict(x, verbose=0), before)


def test_activations_from_every_form_of_data():
    import tensorflow as tf

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return x[index * 16 : (index + 1) * 16], np.zeros(16)

    model, x = functional(), data(50)
    slices = tf.data.Dataset.from_tensor_slices
    forms = [x, x.tolist(), ops.convert_to_tensor(x), Batches()]
    forms += [slices(x).batch(16), slices((x, np.zeros(50))).batch(16)]
    whole = [keras_ae.activations(model, "hidden", form, batch_size=16) for form in forms]
    for inner in whole:
        for _ in range(2):  # Every epoch reads them again.
            np.testing.assert_allclose(inner.array(), whole[0].array(), atol=1e-6)


def test_tokens_become_examples_in_models_of_any_kind():
    model, tokens = Blocks(), np.random.default_rng(0).integers(0, 10, (7, 5))
    model(tokens)
    embedded = numpy(model.embedding.embeddings)[tokens]
    kernel, bias = model.blocks[0].layers[0].get_weights()
    expected = np.tanh(embedded @ kernel + bias).reshape(35, 3)
    for layer in ("deep", model.blocks[0].layers[0]):
        inner = keras_ae.activations(model, layer, tokens, batch_size=3)
        np.testing.assert_allclose(inner.array(), expected, atol=1e-5)
        assert [len(batch) for (batch,) in inner] == [15, 15, 5]


def test_a_model_of_several_inputs():
    inputs = {"a": keras.Input((3,), name="a"), "b": keras.Input((2,), name="b")}
    joined = layers.Concatenate(name="joined")([inputs["a"], inputs["b"]])
    model = keras.Model(inputs, layers.Dense(1)(joined))
    rng = np.random.default_rng(0)
    x = {"a": rng.random((10, 3), "float32"), "b": rng.random((10, 2), "float32")}
    inner = keras_ae.activations(model, "joined", x, batch_size=4)
    np.testing.assert_allclose(inner.array(), np.hstack([x["a"], x["b"]]), atol=1e-6)


@pytest.mark.every_backend
def test_a_dictionary_trains_on_inner_activations_as_on_their_array():
    model, x = functional(), data(64)
    inner = keras_ae.activations(model, "hidden", x, batch_size=16)
    losses = []
    for given, options in (
        (inner, {"validation_data": inner}),
        (inner.array(), {"batch_size": 16}),
    ):
        dictionary = keras_ae.TopKSAE(8, k=2, seed=0)
        dictionary.compile(keras.optimizers.Adam(0.01), **zoo.OP_BY_OP)
        history = dictionary.fit(given, epochs=2, shuffle=False, verbose=0, **options).history
        losses.append(history["loss"])
        found = dictionary.evaluate(inner.array(), **QUIET)["loss"]
        assert history.get("val_loss", [found])[-1] == pytest.approx(found, rel=1e-4)
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_what_activations_cannot_read():
    import tensorflow as tf

    model, x = functional(), data(8)
    shared = layers.Dense(WIDTH, name="shared")
    twice = keras.Sequential([keras.Input((WIDTH,)), shared, shared])
    endless = tf.data.Dataset.from_tensor_slices(x).batch(4)
    cases = [
        (lambda: keras_ae.activations(model, "hiden", x), ValueError, "no layers of .*'hiden'"),
        (lambda: keras_ae.activations(model, 3, x), TypeError, "layer=3"),
        (lambda: keras_ae.activations("vgg", "last", x), TypeError, "model='vgg'"),
        (lambda: keras_ae.activations(model, "last", x, 0), ValueError, "batch_size=0"),
        (lambda: keras_ae.activations(model, "last", x[:0]), ValueError, "at least one"),
        (lambda: keras_ae.activations(model, "last", iter(x)), TypeError, "Pass an array"),
        (lambda: keras_ae.activations(model, "last", endless.repeat()), ValueError, "take"),
        (lambda: keras_ae.activations(twice, shared, x).array(), ValueError, "2 times"),
        (lambda: keras_ae.activations(model, layers.Dense(2), x)[0], ValueError, "0 times"),
        (lambda: keras_ae.activations(model, "last", endless)[1], IndexError, "in order"),
    ]
    for action, error, words in cases:
        with pytest.raises(error, match=words):
            action()
