"""What the models minimize, compared with probabilistic PCA and sums by NumPy."""

import keras
import numpy as np
import pytest
import zoo
from keras import ops
from scipy.special import expit, log_softmax, logit, softmax
from scipy.stats import multivariate_normal

import keras_ae
from keras_ae import corruptions, likelihoods, losses, schedules
from keras_ae.core import seeds
from keras_ae.samplers import CodeDensity

BACKEND = keras.config.backend()
WIDTH, LATENT = 5, 2
QUIET = {"verbose": 0, "return_dict": True}


def linear_vae(scale, latent_dim=LATENT, width=WIDTH, cls=keras_ae.VAE, **given):
    """Return a VAE whose encoder and decoder are one dense layer each, without an activation."""
    model = cls(
        latent_dim,
        network_options={"units": ()},
        likelihood=likelihoods.Gaussian(scale),
        seed=0,
        **given,
    )
    model.compile(keras.optimizers.SGD(0.0))
    model.build((None, width))
    return model


def set_decoder(model, weights, bias):
    """Let p(x | z) have the mean weights @ z + bias; weights has shape (width, latent_dim)."""
    kernel, offset = model.decoder.trainable_variables
    kernel.assign(weights.T)
    offset.assign(bias)


def set_posterior(model, matrix, offset, variances):
    """Let q(z | x) have the mean matrix @ x + offset, and the same variances for every x."""
    kernel, bias = model.features_to_code.trainable_variables
    kernel.assign(np.concatenate([matrix.T, np.zeros_like(matrix.T)], axis=1))
    bias.assign(np.concatenate([offset, np.log(variances)]))


class PPCA:
    """x = weights @ z + bias + scale * noise: Tipping and Bishop 1999, doi:10.1111/1467-9868.00196.

    The columns of the weights are orthogonal, so that the dimensions of the posterior of z are
    independent, as a VAE assumes.
    """

    def __init__(self, seed=0, scale=0.5):
        rng = np.random.default_rng(seed)
        columns = np.linalg.qr(rng.normal(size=(WIDTH, LATENT)))[0]
        self.weights = columns * np.array([1.5, 0.7])
        self.bias, self.scale = rng.normal(size=WIDTH), scale
        z = rng.normal(size=(400, LATENT))
        noise = rng.normal(size=(400, WIDTH))
        self.x = (z @ self.weights.T + self.bias + scale * noise).astype("float32")

    def posterior(self):
        """Return the matrix, offset and variances of p(z | x)."""
        precisions = np.sum(self.weights**2, axis=0) + self.scale**2
        matrix = self.weights.T / precisions[:, None]
        return matrix, -matrix @ self.bias, self.scale**2 / precisions

    def log_likelihood(self):
        covariance = self.weights @ self.weights.T + self.scale**2 * np.eye(WIDTH)
        return multivariate_normal(self.bias, covariance).logpdf(self.x)

    def bound(self, matrix, offset, variances):
        """Return the exact evidence lower bound of every example for that posterior."""
        means = self.x @ matrix.T + offset
        residual = self.x - means @ self.weights.T - self.bias
        squares = np.sum(residual**2, axis=1) + np.sum(self.weights**2, axis=0) @ variances
        log_density = -0.5 * squares / self.scale**2
        log_density -= 0.5 * WIDTH * np.log(2 * np.pi * self.scale**2)
        divergence = 0.5 * np.sum(means**2 + variances - 1 - np.log(variances), axis=1)
        return log_density - divergence

    def model(self, posterior, **given):
        model = linear_vae(self.scale, **given)
        set_decoder(model, self.weights, self.bias)
        set_posterior(model, *posterior)
        return model


# ------------------------------------------------------------------ probabilistic PCA


@pytest.mark.parametrize("num_samples", [1, 7, 1000])
def test_the_true_posterior_gives_the_exact_likelihood(num_samples):
    """Every importance weight is p(x), so one sample is as good as a thousand."""
    ppca = PPCA()
    model = ppca.model(ppca.posterior())
    estimate = model.log_likelihood(ppca.x, num_samples=num_samples, seed=0)
    np.testing.assert_allclose(estimate, ppca.log_likelihood(), atol=1e-3)


def test_with_the_true_posterior_the_bound_is_tight():
    ppca = PPCA()
    np.testing.assert_allclose(ppca.bound(*ppca.posterior()), ppca.log_likelihood(), atol=1e-9)
    model = ppca.model(ppca.posterior())
    loss = evaluated(model, np.tile(ppca.x, (20, 1)))["loss"]
    assert -loss == pytest.approx(ppca.log_likelihood().mean(), abs=0.04)


def evaluated(model, x, batch_size=100):
    return model.evaluate(x, batch_size=batch_size, **QUIET)


@pytest.mark.parametrize("seed", [None, 3, "generator"])
def test_the_likelihood_of_a_tensor_takes_any_seed(seed):
    ppca = PPCA()
    model = ppca.model(ppca.posterior())
    x = ops.convert_to_tensor(ppca.x[:5])
    seed = keras.random.SeedGenerator(0) if seed == "generator" else seed
    estimate = model.log_likelihood(x, num_samples=4, seed=seed)
    exact = ppca.log_likelihood()[:5]
    np.testing.assert_allclose(ops.convert_to_numpy(estimate), exact, atol=1e-3)


def wrong_posterior(ppca):
    matrix, offset, variances = ppca.posterior()
    return 0.8 * matrix, offset + 0.3, 2.5 * variances


def test_the_bound_rises_to_the_likelihood_with_its_samples():
    ppca = PPCA()
    model = ppca.model(wrong_posterior(ppca))
    exact = ppca.log_likelihood().mean()
    bounds = {}
    for num_samples in (1, 5, 50, 500):
        draws = [
            model.log_likelihood(ppca.x, num_samples=num_samples, seed=seed).mean()
            for seed in range(max(1, 20 // num_samples))
        ]
        bounds[num_samples] = np.mean(draws)
    assert bounds[1] + 0.3 < bounds[5] and bounds[5] + 0.05 < bounds[50] < bounds[500], bounds
    assert bounds[500] == pytest.approx(exact, abs=0.02)
    assert bounds[1] == pytest.approx(ppca.bound(*wrong_posterior(ppca)).mean(), abs=0.1)


def test_the_loss_is_the_negative_bound():
    ppca = PPCA()
    model = ppca.model(wrong_posterior(ppca))
    exact = ppca.bound(*wrong_posterior(ppca)).mean()
    x = np.tile(ppca.x, (100, 1))
    logs = evaluated(model, x)
    assert -logs["loss"] == pytest.approx(exact, abs=0.1)
    assert logs["loss"] == pytest.approx(logs["reconstruction_loss"] + logs["kl_loss"], rel=1e-5)
    assert logs["loss"] == pytest.approx(
        -model.log_likelihood(x, num_samples=1, seed=0).mean(), abs=0.1
    )


def test_training_reaches_the_maximum_likelihood():
    """A linear VAE has only the local maxima of PPCA: arXiv:1911.02469, theorem 1."""
    x = PPCA(seed=3).x
    covariance = np.cov(x.T, bias=True)
    eigenvalues = np.linalg.eigvalsh(covariance)
    noise = eigenvalues[:-LATENT].mean()
    log_determinant = np.log(eigenvalues[-LATENT:]).sum() + (WIDTH - LATENT) * np.log(noise)
    best = -0.5 * (WIDTH * np.log(2 * np.pi) + log_determinant + WIDTH)

    model = linear_vae("learned")
    num_steps = 600
    rate = keras.optimizers.schedules.CosineDecay(0.05, num_steps)
    model.compile(keras.optimizers.Adam(rate))
    batches = keras_ae.core.array_batches.ArrayBatches((x,), len(x), steps_per_epoch=num_steps)
    model.fit(batches, verbose=0)

    weights, bias = (v.numpy() for v in model.decoder.trainable_variables)
    variance = float(ops.convert_to_numpy(model.likelihood.noise_scale())) ** 2
    fitted = multivariate_normal(bias, weights.T @ weights + variance * np.eye(WIDTH))
    reached = fitted.logpdf(x).mean()
    assert best - 0.01 < reached < best + 1e-4
    assert variance == pytest.approx(noise, rel=0.05)
    estimate = model.log_likelihood(x, num_samples=50, seed=0).mean()
    assert estimate == pytest.approx(reached, abs=0.02)


# ------------------------------------------------------------------ losses of variational models


def without_noise(model):
    """Make the posterior so narrow that a draw is its mean."""
    kernel, bias = model.features_to_code.trainable_variables
    kernel.assign(ops.concatenate([kernel[:, :LATENT], 0 * kernel[:, LATENT:]], axis=1))
    bias.assign(ops.concatenate([bias[:LATENT], ops.full((LATENT,), -40.0)]))
    return model


def parts_by_numpy(model, x):
    """Return every example's reconstruction loss, and its KL per dimension."""
    q = model.posterior(ops.convert_to_tensor(x))
    mean, log_variance = (ops.convert_to_numpy(v) for v in (q.mean, q.log_variance))
    logits = ops.convert_to_numpy(model.decoder(mean))
    cross_entropy = -x * np.log(expit(logits)) - (1 - x) * np.log(expit(-logits))
    divergence = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance)
    return cross_entropy.sum(axis=1), divergence


def built(name, **given):
    model = zoo.eager(name, **given)
    model.build((None, 6))
    return model


@pytest.mark.parametrize("name", ["VAE", "BetaVAE", "FactorVAE"])
def test_the_two_parts_by_hand(name):
    model = without_noise(built(name))
    x = zoo.data()
    logs = evaluated(model, x, 16)
    reconstruction, divergence = parts_by_numpy(model, x)
    assert logs["reconstruction_loss"] == pytest.approx(reconstruction.mean(), rel=1e-4)
    assert logs["kl_loss"] == pytest.approx(divergence.sum(axis=1).mean(), rel=1e-4)
    total = reconstruction.mean() + getattr(model, "beta", 1.0) * divergence.sum(axis=1).mean()
    total += getattr(model, "gamma", 0.0) * logs.get("tc_loss", 0.0)
    assert logs["loss"] == pytest.approx(total, rel=1e-4)


def test_factor_vae_by_hand():
    """Eq. 2 and the discriminator's loss; a batch of one example is not changed by the shuffle."""
    model = without_noise(built("FactorVAE"))
    x = zoo.data(6)
    logs = model.evaluate(x, batch_size=1, **QUIET)
    logits = ops.convert_to_numpy(model.discriminator(model.encode(x)))
    assert logs["tc_loss"] == pytest.approx(np.mean(logits[:, 0] - logits[:, 1]), rel=1e-3)
    both = -0.5 * log_softmax(logits, axis=1).sum(axis=1)
    assert logs["discriminator_loss"] == pytest.approx(both.mean(), rel=1e-4)


@pytest.mark.parametrize("free_bits", [0.01, 0.5, 3.0])
def test_free_bits(free_bits):
    model = built("VAE", free_bits=free_bits)
    x = zoo.data()
    logs = evaluated(model, x, len(x))
    _, divergence = parts_by_numpy(model, x)
    floor = np.maximum(divergence.mean(axis=0), free_bits).sum()
    assert logs["free_bits_loss"] == pytest.approx(floor, rel=1e-4)
    assert logs["loss"] == pytest.approx(logs["reconstruction_loss"] + floor, rel=1e-4)
    assert logs["kl_loss"] == pytest.approx(divergence.sum(axis=1).mean(), rel=1e-4)


def test_free_bits_stop_the_gradient_of_a_cheap_dimension():
    """Below the floor the divergence has no gradient, so only the reconstruction trains."""
    x = zoo.data()
    runs = []
    for options in ({"free_bits": 50.0}, {"kl_weight": 0.0}):
        keras.utils.set_random_seed(0)
        model = zoo.compiled("VAE", **options)
        model.fit(x, batch_size=16, verbose=0)
        runs.append([v.numpy() for v in model.trainable_variables])
    for free, unweighted in zip(*runs, strict=True):
        np.testing.assert_allclose(free, unweighted, atol=1e-6)


def test_beta_of_one_is_a_vae():
    runs = []
    for make in (lambda: built("VAE"), lambda: beta_vae(1.0), lambda: beta_vae(4.0)):
        keras.utils.set_random_seed(0)
        model = make()
        model.fit(zoo.data(), batch_size=16, verbose=0)
        runs.append(zoo.weights(model))
    plain, one, four = runs
    assert all(map(np.array_equal, plain, one))
    assert not all(map(np.array_equal, plain, four))


def beta_vae(beta, **options):
    model = keras_ae.BetaVAE(2, beta=beta, **zoo.OPTIONS, **options)
    model.compile(keras.optimizers.Adam(0.01), **zoo.OP_BY_OP)
    return model


def test_gamma_of_zero_is_a_vae():
    factor, plain = built("FactorVAE", gamma=0.0), built("VAE")
    for part in ("encoder", "features_to_code", "decoder"):
        getattr(plain, part).set_weights(getattr(factor, part).get_weights())
    ours, theirs = (evaluated(model, zoo.data(), 16) for model in (factor, plain))
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, rel=1e-6)


SCHEDULES = {
    "LinearWarmUp": (schedules.LinearWarmUp(10), lambda t: min(t / 10, 1.0)),
    "Cyclical": (schedules.Cyclical(6, ramp=0.5), lambda t: min((t % 6) / 3, 1.0)),
}


@pytest.mark.parametrize(
    ("name", "steps_per_execution"), [("LinearWarmUp", 1), ("LinearWarmUp", 4), ("Cyclical", 4)]
)
def test_a_scheduled_weight_is_exact_at_every_step(name, steps_per_execution, tmp_path):
    """The network does not change, so the loss of an epoch shows the weight of its step."""
    if steps_per_execution > 1 and BACKEND == "torch":
        pytest.skip("Keras has no steps_per_execution on torch")
    schedule, expected = SCHEDULES[name]
    x = zoo.data(16)
    batches = np.tile(x, (8, 1))
    model = zoo.MODELS["VAE"](kl_weight=schedule)
    model.compile(keras.optimizers.SGD(0.0), steps_per_execution=steps_per_execution)
    model.build((None, 6))
    without_noise(model)
    reconstruction, divergence = parts_by_numpy(model, x)

    def loss(steps):
        weight = np.mean([expected(step) for step in steps])
        return reconstruction.mean() + weight * divergence.sum(axis=1).mean()

    options = {"batch_size": 16, "shuffle": False, "verbose": 0}
    history = model.fit(batches, epochs=2, **options).history["loss"]
    assert history == pytest.approx([loss(range(8)), loss(range(8, 16))], rel=1e-5)
    assert int(model._step) == 16
    assert evaluated(model, x)["loss"] == pytest.approx(loss([16]), rel=1e-5)

    model.save(tmp_path / "model.keras")
    loaded = keras_ae.load(tmp_path / "model.keras")
    history = loaded.fit(batches, epochs=3, initial_epoch=2, **options).history["loss"]
    assert history == pytest.approx([loss(range(16, 24))], rel=1e-5)


def test_the_weight_scales_beta_and_the_floor_alike():
    x = zoo.data()
    for free_bits, penalized in ((0.0, "kl_loss"), (0.5, "free_bits_loss")):
        logs = beta_vae(3.0, kl_weight=0.25, free_bits=free_bits).test_on_batch(x, return_dict=True)
        penalty = logs[penalized]
        total = logs["reconstruction_loss"] + 0.75 * penalty
        assert logs["loss"] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize(
    "name", ["gaussian", "laplace", "bernoulli", "continuous_bernoulli", "categorical"]
)
def test_the_reconstruction_loss_is_the_likelihood_s(name):
    x = np.eye(3, dtype="float32")[np.random.default_rng(0).integers(0, 3, (8, 4))]  # (8, 4, 3)
    model = keras_ae.VAE(
        2, encoder="mlp", decoder="mlp", likelihood=name, network_options={"units": ()}, seed=0
    )
    model.compile("adam", **zoo.OP_BY_OP)
    model.build((None, 4, 3))
    without_noise(model)
    output = ops.convert_to_numpy(model.decoder(model.encode(x)))
    by_hand = {
        "gaussian": lambda: 0.5 * (x - output) ** 2 + 0.5 * np.log(2 * np.pi),
        "laplace": lambda: np.abs(x - output) + np.log(2.0),
        "bernoulli": lambda: -np.log(expit(np.where(x == 1, output, -output))),
        "continuous_bernoulli": lambda: (
            -np.log(expit(np.where(x == 1, output, -output))) - np.log(output / np.tanh(output / 2))
        ),
        "categorical": lambda: -x * log_softmax(output, axis=-1),
    }[name]()
    logs = model.test_on_batch(x, return_dict=True)
    assert logs["reconstruction_loss"] == pytest.approx(by_hand.sum() / 8, rel=1e-4)
    means = {"bernoulli": expit, "categorical": lambda v: softmax(v, axis=-1)}
    if name != "continuous_bernoulli":
        expected = means.get(name, lambda v: v)(output)
        np.testing.assert_allclose(model.reconstruct(x), expected, atol=1e-5)


# ------------------------------------------------------------------ plain models


def clipped(p):
    return np.clip(p, 1e-7, 1 - 1e-7)


def focal(x, p):
    p = clipped(p)
    right = x * p + (1 - x) * (1 - p)
    return (1 - right) ** 2 * -(x * np.log(p) + (1 - x) * np.log(1 - p))


def huber(x, y):
    error = np.abs(x - y)
    return np.where(error <= 1, 0.5 * error**2, error - 0.5)


# Name of a loss -> (the same in NumPy per element, the interval of data and reconstructions).
LOSSES = {
    "mean_squared_error": (lambda x, y: (x - y) ** 2, (-3, 3)),
    "mse": (lambda x, y: (x - y) ** 2, (-3, 3)),
    "mean_absolute_error": (lambda x, y: np.abs(x - y), (-3, 3)),
    "mean_absolute_percentage_error": (lambda x, y: 100 * np.abs((x - y) / x), (0.5, 3)),
    "mean_squared_logarithmic_error": (lambda x, y: (np.log1p(x) - np.log1p(y)) ** 2, (0.1, 3)),
    "binary_crossentropy": (lambda x, p: -x * np.log(p) - (1 - x) * np.log(1 - p), (0, 1)),
    "binary_focal_crossentropy": (focal, (0, 1)),
    "huber": (huber, (-3, 3)),
    "log_cosh": (lambda x, y: np.log(np.cosh(x - y)), (-3, 3)),
    "poisson": (lambda x, y: y - x * np.log(y + 1e-7), (0.1, 3)),
    "hinge": (lambda x, y: np.maximum(1 - x * y, 0), (-3, 3)),
    "squared_hinge": (lambda x, y: np.maximum(1 - x * y, 0) ** 2, (-3, 3)),
}
# These losses take the last axis as one vector.
LOSSES_OF_VECTORS = {
    "categorical_crossentropy": lambda x, p: -np.sum(x * np.log(p), axis=-1),
    "kl_divergence": lambda x, p: np.sum(x * np.log(x / p), axis=-1),
    "cosine_similarity": lambda x, y: (
        -np.sum(x * y, axis=-1) / (np.linalg.norm(x, axis=-1) * np.linalg.norm(y, axis=-1))
    ),
}
SHAPE = (2, 3)


# Name of a loss that does not take every number -> (the decoder's last activation, its inverse).
ENDS = {
    "binary_crossentropy": ("sigmoid", logit),
    "binary_focal_crossentropy": ("sigmoid", logit),
    "categorical_crossentropy": ("softmax", np.log),
    "kl_divergence": ("softmax", np.log),
    "poisson": ("exponential", np.log),
}


def plain_model(loss, x, reconstruction):
    """Return an AE that gives the same reconstruction for every input."""
    end, inverse = ENDS.get(loss, ("linear", np.array))
    decoder = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(6, kernel_initializer="zeros", name="constant"),
            keras.layers.Reshape(SHAPE),
            keras.layers.Activation(end),
        ]
    )
    model = keras_ae.AE(
        2, encoder="mlp", decoder=decoder, reconstruction_loss=loss, network_options={"units": ()}
    )
    model.compile("adam", **zoo.OP_BY_OP)
    model.build(x.shape)
    decoder.layers[0].bias.assign(inverse(reconstruction).ravel())
    return model


@pytest.mark.parametrize("name", LOSSES)
def test_a_plain_model_s_loss_is_the_sum_over_an_example(name):
    function, (low, high) = LOSSES[name]
    rng = np.random.default_rng(0)
    x = rng.uniform(low, high, (8, *SHAPE)).astype("float32")
    reconstruction = rng.uniform(max(low, 0.05), min(high, 0.95), SHAPE).astype("float32")
    model = plain_model(name, x, reconstruction)
    logs = model.test_on_batch(x, return_dict=True)
    by_hand = function(x.astype("float64"), reconstruction.astype("float64")).sum(axis=(1, 2))
    assert logs["loss"] == pytest.approx(by_hand.mean(), rel=1e-4)
    assert logs["reconstruction_loss"] == logs["loss"]


@pytest.mark.parametrize("name", LOSSES_OF_VECTORS)
def test_losses_of_vectors_are_summed_over_the_vectors(name):
    rng = np.random.default_rng(0)
    x = rng.dirichlet(np.ones(3), (8, 2)).astype("float32")
    reconstruction = rng.dirichlet(np.ones(3), 2).astype("float32")
    model = plain_model(name, x, reconstruction)
    logs = model.test_on_batch(x, return_dict=True)
    by_hand = LOSSES_OF_VECTORS[name](x, reconstruction).sum(axis=1)
    assert logs["loss"] == pytest.approx(by_hand.mean(), rel=1e-4)


@pytest.mark.parametrize("name", ["mse", "MSE", "bce", "kld", "kl_divergence", "CosineSimilarity"])
def test_losses_have_the_names_that_compile_takes(name):
    rng = np.random.default_rng(0)
    x, y = rng.dirichlet(np.ones(3), (2, 4)).astype("float32")  # (4, 3) each
    ours = losses.per_example(losses.get(name), x, y)
    function = keras.losses.get(name)
    function = function.call if isinstance(function, keras.losses.Loss) else function
    theirs = ops.convert_to_numpy(function(x, y))
    per_vector = name in ("kld", "kl_divergence", "CosineSimilarity")
    np.testing.assert_allclose(
        ops.convert_to_numpy(ours), theirs * (1 if per_vector else 3), rtol=1e-5
    )


@pytest.mark.parametrize("name", ["binary_crossentropy", "categorical_crossentropy"])
def test_a_default_decoder_ends_in_what_the_loss_expects(name):
    x = np.eye(4, dtype="float32")
    model = keras_ae.AE(2, reconstruction_loss=name, network_options={"units": ()}, seed=0)
    model.build((None, 4))
    output = ops.convert_to_numpy(model.decoder(model.encode(x)))
    expected = expit(output) if name == "binary_crossentropy" else softmax(output, axis=-1)
    np.testing.assert_allclose(model.reconstruct(x), expected, atol=1e-6)


def test_a_denoiser_is_scored_against_the_clean_data():
    x = zoo.data()
    model = zoo.fitted("DenoisingAE", corruption=corruptions.Masking(rate=0.99))
    everything_hidden = model.reconstruct(np.zeros((1, 6), "float32"))
    expected = np.sum((x - everything_hidden) ** 2, axis=1).mean()
    assert evaluated(model, x)["loss"] == pytest.approx(expected, rel=0.1)


# ------------------------------------------------------------------ the density of the codes


def test_the_codes_moments_are_kept():
    """With equal batches and a frozen encoder, they are exactly the moments of all codes."""
    x = np.random.default_rng(0).normal(size=(96, 6)).astype("float32")
    model = zoo.compiled("AE", keras.optimizers.SGD(0.0))
    model.fit(x, epochs=2, batch_size=16, verbose=0)
    codes = model.encode(x)
    density = model.sampler
    np.testing.assert_allclose(density.mean.numpy(), codes.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(density.covariance.numpy(), np.cov(codes.T, bias=True), atol=1e-5)
    assert int(density.num_updates) == 12

    density.prepare()
    drawn = ops.convert_to_numpy(model.sampler.sample(20_000, seeds.draw(model, 0)))
    np.testing.assert_allclose(drawn.mean(axis=0), codes.mean(axis=0), atol=0.05)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(codes.T), rtol=0.1, atol=0.02)
    codes = ops.convert_to_numpy(model.sampler.sample(20, seeds.draw(model, 0)))
    np.testing.assert_allclose(model.sample(20, seed=0), model.decode(codes), atol=1e-6)


def test_old_codes_fade():
    """After 100 batches of one kind and 150 of another, the mixture has known weights."""
    rng = np.random.default_rng(0)
    old, new = rng.normal(size=(2, 10, 2)).astype("float32") + np.array([[[0.0]], [[3.0]]], "f")
    density = CodeDensity(2)
    for batch, times in ((old, 100), (new, 150)):
        batch = ops.convert_to_tensor(batch)
        for _ in range(times):
            density.update(batch)
    share = 0.99**150
    mean = share * old.mean(axis=0) + (1 - share) * new.mean(axis=0)
    within = share * np.cov(old.T, bias=True) + (1 - share) * np.cov(new.T, bias=True)
    shift = new.mean(axis=0) - old.mean(axis=0)
    covariance = within + share * (1 - share) * np.outer(shift, shift)
    np.testing.assert_allclose(density.mean.numpy(), mean, rtol=1e-4)
    np.testing.assert_allclose(density.covariance.numpy(), covariance, rtol=1e-3)


def test_codes_on_a_line_can_be_sampled():
    density = CodeDensity(2)
    codes = np.arange(8, dtype="float32")[:, None] * np.array([1.0, 2.0], "float32")
    density.update(ops.convert_to_tensor(codes))
    density.prepare()
    drawn = ops.convert_to_numpy(density.sample(100, keras.random.SeedGenerator(0)))
    assert np.all(np.isfinite(drawn))
    np.testing.assert_allclose(drawn[:, 1], 2 * drawn[:, 0], atol=0.1)
