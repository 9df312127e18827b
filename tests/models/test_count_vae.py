"""CountVAE: its bound, what it recovers of simulated counts, batches, libraries and bad input."""

import functools

import keras
import numpy as np
import pytest
import zoo
from keras import ops
from scipy import special, stats

import keras_ae

QUIET = {"verbose": 0}
GENES = 12


def simulated(count=1500, seed=0, theta=2.0, zeros=0.0):
    """Return counts of cells on a line between two types, in two batches, and what made them.

    The shares of genes are a softmax of a linear function of the place on the line, and the second
    batch has more of the last gene.
    """
    rng = np.random.default_rng(seed)
    slopes, place = rng.normal(size=GENES), rng.normal(size=(count, 1))
    batch = rng.integers(0, 2, count)
    logits = place * slopes
    logits[:, -1] += 1.5 * batch
    shares = special.softmax(logits, axis=1)
    library = np.exp(rng.normal(np.log(150.0), 0.5, size=(count, 1)))
    mean = library * shares
    if theta is not None:
        mean = mean * rng.gamma(theta, 1.0 / theta, size=mean.shape)
    x = rng.poisson(mean)
    x[rng.random(x.shape) < zeros] = 0
    return x, batch, shares, place[:, 0]


def trained(x, batch=None, epochs=20, **given):
    options = {"network_options": {"units": (32,)}, "latent_dim": 2, "seed": 0}
    inputs = {} if batch is None else {"batch": batch}
    given = {"num_batches": None if batch is None else 2} | given
    model = keras_ae.CountVAE(**options, **given)
    model.compile(keras.optimizers.Adam(0.01))
    model.fit(x, **inputs, batch_size=75, epochs=epochs, verbose=0)
    return model


@functools.cache
def of_two_batches():
    """Return a model of simulated counts that was trained once for several tests."""
    x, batch, _, _ = simulated()
    return trained(x, batch, likelihood="negative_binomial")


def built(**given):
    model = zoo.make("CountVAE", **given)
    model.compile("adam", **zoo.OP_BY_OP)
    return model


def numpy(tensor):
    return ops.convert_to_numpy(tensor)


# ------------------------------------------------------------------ the formulas


@pytest.mark.parametrize("given", [False, True])
def test_the_bound_is_that_of_counts_given_their_library(given):
    model = built(likelihood="negative_binomial")
    rng = np.random.default_rng(0)
    x, batch = rng.poisson(3.0, (8, 6)).astype("float32"), rng.integers(0, 3, 8)
    library = 10.0 + np.arange(8.0) if given else x.sum(axis=1)
    model.fit(x, batch=batch, **QUIET)
    one_hot = np.eye(3, dtype="float32")[batch]
    parameters = numpy(model.features_to_code(model.encoder(np.hstack([np.log1p(x), one_hot]))))
    q = model.posterior(ops.convert_to_tensor(x), batch=ops.convert_to_tensor(batch))
    np.testing.assert_allclose(numpy(q.mean), parameters[:, :2], atol=1e-5)
    z = numpy(q.mean)
    shares = special.softmax(numpy(model.decoder(np.hstack([z, one_hot]))), axis=1)
    inputs = {"library": ops.convert_to_tensor(library.astype("float32"))} if given else {}
    model.posterior = lambda *_, **__: _Certain(ops.convert_to_tensor(z))
    terms = model.loss_terms(ops.convert_to_tensor(x), ops.convert_to_tensor(x), False,
                             batch=ops.convert_to_tensor(batch), **inputs)  # fmt: skip
    theta, mean = numpy(model.likelihood.inverse_dispersion), library[:, None] * shares
    exact = -stats.nbinom.logpmf(x, theta, theta / (theta + mean)).sum(axis=1)
    np.testing.assert_allclose(numpy(terms["reconstruction_loss"]), exact, rtol=1e-4)


class _Certain(keras_ae.distributions.DiagonalGaussian):
    """A posterior without noise."""

    def __init__(self, mean):
        super().__init__(mean, ops.zeros_like(mean))

    def sample(self, seed):
        return self.mean


def test_the_sum_of_a_reconstruction_is_the_library():
    model = built(likelihood="poisson")
    x, batch = np.random.default_rng(0).poisson(3.0, (20, 6)), np.arange(20) % 3
    model.fit(x, batch=batch, **QUIET)
    found = model.reconstruct(x, batch=batch)
    np.testing.assert_allclose(found.sum(axis=1), x.sum(axis=1), rtol=1e-5)
    given = model.reconstruct(x, batch=batch, library=np.full(20, 7.0))
    np.testing.assert_allclose(given.sum(axis=1), 7.0, rtol=1e-5)
    z = model.encode(x, batch=batch)
    typical = np.exp(np.mean(np.log(x.sum(axis=1))))
    assert model.typical_library == pytest.approx(typical, rel=1e-5)
    np.testing.assert_allclose(model.decode(z, batch=batch).sum(axis=1), typical, rtol=1e-5)
    drawn = model.sample(5, seed=0, batch=1, library=40)
    np.testing.assert_allclose(drawn.sum(axis=1), 40.0, rtol=1e-5)
    shares = model.normalized_expression(x, batch=batch)
    np.testing.assert_allclose(found / x.sum(axis=1, keepdims=True), shares, rtol=1e-4)
    np.testing.assert_allclose(
        model.normalized_expression(x, total=1e4, batch=batch), 1e4 * shares, rtol=1e-4
    )


def test_the_typical_library_is_saved(tmp_path):
    model = built()
    x, batch = np.random.default_rng(0).poisson(3.0, (20, 6)), np.arange(20) % 3
    model.fit(x, batch=batch, **QUIET)
    model.save(tmp_path / "model.keras")
    loaded = keras_ae.load(tmp_path / "model.keras")
    assert loaded.typical_library == model.typical_library > 1
    found = loaded.log_likelihood(x, batch=batch, num_samples=8, seed=0)
    assert np.array_equal(found, model.log_likelihood(x, batch=batch, num_samples=8, seed=0))


def test_covariates_are_read_by_both_networks():
    x = np.random.default_rng(0).poisson(3.0, (20, 6))
    model = built(num_batches=None, num_covariates=2)
    assert model.extra_inputs == ("covariates", "library")
    first, second = np.zeros((20, 2)), np.ones((20, 2))
    model.fit(x, covariates=first, **QUIET)
    assert np.any(model.encode(x, covariates=first) != model.encode(x, covariates=second))
    z = model.encode(x, covariates=first)
    assert np.any(model.decode(z, covariates=first) != model.decode(z, covariates=second))
    with pytest.raises(ValueError, match=r"covariates has the shape \(20, 3\).*num_covariates=2"):
        model.encode(x, covariates=np.zeros((20, 3)))


def test_a_model_without_inputs_takes_arrays_of_any_rank():
    x = np.random.default_rng(0).poisson(3.0, (20, 4, 4, 2))
    model = built(num_batches=None, encoder="mlp", decoder="mlp")
    model.fit(x, **QUIET)
    found = model.reconstruct(x)
    assert found.shape == x.shape and np.isfinite(found).all()
    model = built(encoder="mlp", decoder="mlp")
    model.fit(x, batch=np.arange(20) % 3, **QUIET)


def test_examples_without_counts_are_taken():
    x = np.random.default_rng(0).poisson(1.0, (20, 6))
    x[::2] = 0
    model = built(num_batches=None)
    history = model.fit(x, **QUIET).history
    assert np.isfinite(history["loss"]).all()
    assert np.isfinite(model.log_likelihood(x, num_samples=4, seed=0)).all()
    np.testing.assert_allclose(model.reconstruct(x)[::2], 0.0, atol=1e-6)


# ------------------------------------------------------------------ what it learns


def test_simulated_counts_are_recovered():
    x, batch, shares, place = simulated()
    model = of_two_batches()
    found = model.normalized_expression(x, batch=batch, verbose=0)
    naive = x / x.sum(axis=1, keepdims=True)
    error, naive_error = (np.mean((each - shares) ** 2) for each in (found, naive))
    assert error < 0.2 * naive_error
    theta = numpy(model.likelihood.inverse_dispersion)
    assert np.all((theta > 1.2) & (theta < 3.5)), theta
    code = model.encode(x, batch=batch, verbose=0)
    design = np.hstack([code, np.ones((len(x), 1))])
    residual = place - design @ np.linalg.lstsq(design, place, rcond=None)[0]
    assert residual.var() < 0.2 * place.var()
    # The code need not tell the batch, which both networks read.
    one = 2.0 * batch - 1.0
    residual = one - design @ np.linalg.lstsq(design, one, rcond=None)[0]
    assert residual.var() > 0.9 * one.var()


def test_counts_are_moved_to_another_batch():
    x, batch, shares, _ = simulated()
    model = of_two_batches()
    logits = np.log(shares)
    logits[:, -1] += 1.5 * (1 - 2 * batch)
    wanted = special.softmax(logits, axis=1)[:, -1]
    library = x.sum(axis=1)
    moved = model.decode(model.encode(x, batch=batch), batch=1 - batch, library=library)
    moved = moved[:, -1] / library
    kept = model.normalized_expression(x, batch=batch, verbose=0)[:, -1]
    assert np.mean((moved - wanted) ** 2) < 0.2 * np.mean((kept - wanted) ** 2)
    rows = batch == 0
    as_one = model.normalized_expression(x[rows], as_batch=1, batch=batch[rows], verbose=0)
    np.testing.assert_allclose(as_one[:, -1], moved[rows], rtol=1e-4)


def test_dispersed_counts_need_a_negative_binomial_and_others_do_not():
    held_out, dispersions = {}, {}
    for theta in (2.0, None):
        x, _, _, _ = simulated(theta=theta)
        for likelihood in ("negative_binomial", "poisson"):
            model = trained(x[:1200], likelihood=likelihood)
            found = model.log_likelihood(x[1200:], num_samples=50, seed=0, verbose=0)
            held_out[theta, likelihood] = found.mean()
            if likelihood == "negative_binomial":
                dispersions[theta] = np.median(numpy(model.likelihood.inverse_dispersion))
    assert held_out[2.0, "negative_binomial"] > held_out[2.0, "poisson"] + 5.0
    # What is not dispersed leads toward an infinite inverse dispersion.
    assert abs(held_out[None, "negative_binomial"] - held_out[None, "poisson"]) < 4.0
    assert dispersions[None] > 3.0 * dispersions[2.0]


def test_zeros_that_were_added_are_found():
    x, _, shares, _ = simulated(theta=None, zeros=0.3)
    model = trained(x, likelihood="zero_inflated_negative_binomial")
    p = model.conditional(ops.convert_to_tensor(model.encode(x, verbose=0)))
    large = shares > 0.05  # Other counts are often 0 by themselves.
    found = special.expit(numpy(p.zero_logits))[large].mean()
    assert abs(found - 0.3) < 0.06


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"likelihood": "gaussian"}, "likelihood='gaussian'.*a likelihood of counts"),
        ({"num_batches": 0}, "num_batches=0"),
        ({"num_covariates": -1}, "num_covariates=-1"),
    ],
)
def test_arguments_out_of_range(given, match):
    with pytest.raises(ValueError, match=match):
        zoo.make("CountVAE", **given)


def test_inputs_out_of_range():
    x, batch = np.random.default_rng(0).poisson(3.0, (20, 6)), np.arange(20) % 3
    model = built()
    model.fit(x, batch=batch, **QUIET)
    with pytest.raises(ValueError, match="batch holds values from 1 to 3.*num_batches=3"):
        model.fit(x, batch=batch + 1, **QUIET)
    with pytest.raises(TypeError, match="'batch' is missing"):
        model.encode(x)
    with pytest.raises(TypeError, match="unknown input 'label'"):
        model.fit(x, label=batch, **QUIET)
    with pytest.raises(ValueError, match="library of shape .* one positive number"):
        model.reconstruct(x, batch=batch, library=np.zeros(20))
    with pytest.raises(ValueError, match="models counts"):
        model.fit(np.log1p(x), batch=batch, **QUIET)
    with pytest.raises(ValueError, match="as_batch=3"):
        model.normalized_expression(x, as_batch=3, batch=batch)
    with pytest.raises(ValueError, match="total=0"):
        model.normalized_expression(x, total=0, batch=batch)
    plain = built(num_batches=None)
    plain.fit(x, **QUIET)
    with pytest.raises(ValueError, match="as_batch=0 has no effect"):
        plain.normalized_expression(x, as_batch=0)
    with pytest.raises(ValueError, match="targets of shape .* Leave the target out"):
        built(num_batches=None).fit(x, x[:, :3], **QUIET)
    with pytest.raises(ValueError, match="mask_value=-1.0"):
        built(num_batches=None, network_options={"mask_value": -1.0, "units": (4,)},
              encoder="recurrent", decoder="recurrent").build((None, 5, 3))  # fmt: skip
