"""A test for every variational model: the probabilities of all data sum to 1.

The mean importance weight is an unbiased estimate of p(x). Its sum over all patterns of a few bits,
or its integral over data of one dimension, is 1 within the standard error, which the weights also
give. The test fails if a density is not that of the draws, or if a map does not preserve the volume
that it claims to preserve.
"""

import itertools

import keras
import numpy as np
import pytest
import zoo
from keras import ops

import keras_ae
from keras_ae.core import backend, examples
from keras_ae.core.seeds import RunSeed

PATTERNS = np.array(list(itertools.product([0, 1], repeat=6)), "float32")
PARTS = 4


def weights(model, x):
    """Return the importance weights of every row of x, of shape (rows, draws)."""
    # With a learned metric, weights take much longer and vary less, so fewer are enough.
    draws = 1000 if hasattr(model, "anchors") else 2000

    # A condition is the same for all data.
    names = examples.taken_by(model, model.log_likelihood)

    def logarithms(x, pair):
        inputs = {name: ops.ones_like(x[:, 0], dtype="int32") for name in names}
        q = model.posterior(x, **inputs)
        parts = model._importance_terms(q, x, draws // PARTS, RunSeed(pair), **inputs)
        return parts[0] - parts[1]

    seeds = [np.array([7919 * part, 0]).astype(backend.SEED_DTYPE) for part in range(PARTS)]
    found = [zoo.compute(logarithms, x, seed) for seed in seeds]
    return np.exp(np.concatenate(found, axis=1).astype("float64"))


def assert_one(totals):
    """Check that the mean is 1 within four standard errors, and that these are small."""
    error = totals.std() / np.sqrt(len(totals))
    assert error < 0.1
    assert totals.mean() == pytest.approx(1.0, abs=4 * error + 2e-3)


def overlap(model):
    """Move the posteriors near the prior; otherwise the weights' variance may be infinite."""
    blocks = [block.statistics.kernel for block in getattr(model, "blocks", [])]
    for variable in (*model.encoder.trainable_variables, *blocks):
        variable.assign(0.1 * variable.numpy())
    if model.features_to_code is None:  # The code of a step comes from the last one's.
        steps = model.transition if hasattr(model, "transition") else model.cell
        for variable in steps.trainable_variables:
            variable.assign(0.1 * variable.numpy())
        return
    head = model.features_to_code.layers[-1]
    if isinstance(model, keras_ae.HypersphericalVAE):  # The smallest concentration is 1.
        head.bias.assign(np.append(np.zeros(model.latent_dim), -5.0))
    if hasattr(model, "upper_statistics"):  # Below the top, the data's evidence is made weak.
        for layer in (head, *model.upper_statistics)[:-1]:
            size = layer.bias.shape[0] // 2
            layer.bias.assign(np.repeat([0.0, 4.0], size))


def made(name, latent_dim=2, **given):
    model = zoo.make(name, latent_dim=latent_dim, **given)
    model.compile(keras.optimizers.Adam(0.1), **zoo.OP_BY_OP)
    model.build((None, 6))
    overlap(model)
    if hasattr(model, "anchors"):
        model.anchors.assign(zoo.data(model.num_anchors, seed=3))
    return model


@pytest.mark.costly
@pytest.mark.parametrize("name", zoo.WITH_LIKELIHOOD)
def test_all_patterns_together(name):
    model = made(name)
    assert_one(weights(model, PATTERNS).sum(axis=0))
    for variable in model.decoder.trainable_variables:
        variable.assign(10.0 * variable.numpy())
    assert_one(weights(model, PATTERNS).sum(axis=0))


@pytest.mark.costly
@pytest.mark.parametrize("name", zoo.WITH_LIKELIHOOD)
def test_all_patterns_together_after_leaps(name):
    """The rate is too high on purpose. The divergence's weight keeps the posteriors wide."""
    # A pre-training has no divergence, and after it, posteriors widen only gradually.
    has_phases = "pretraining_steps" in zoo.parameters_of(name)
    model = made(name, kl_weight=20.0, **({"pretraining_steps": 0} if has_phases else {}))
    # Several layers of codes would move so far apart that the weights' variance is infinite.
    if hasattr(model, "upper_statistics"):
        model.optimizer.learning_rate = 0.02
    model.fit(zoo.data_for(name), epochs=20 if has_phases else 4, batch_size=16, verbose=0)
    assert_one(weights(model, PATTERNS).sum(axis=0))


def ball(latent_dim, **given):
    return "PoincareVAE", {"latent_dim": latent_dim, **given}


def manifold(**given):
    return "RiemannianHamiltonianVAE", given


EXTREMES = [
    ("VAE", {"latent_dim": 1}),
    ("VAE", {"latent_dim": 32}),
    ("VampVAE", {"num_components": 1}),
    ("VampVAE", {"num_components": 50}),
    ("LadderVAE", {"upper_dims": ()}),
    ("LadderVAE", {"latent_dim": 32, "upper_dims": (1, 1, 8)}),
    ("TopDownVAE", {"latent_dim": 32, "num_blocks": 8, "layer_weights": None}),
    ("TopDownVAE", {"num_blocks": 1, "layer_weights": None}),
    ("HypersphericalVAE", {"latent_dim": 32}),
    ("IWAE", {"latent_dim": 32}),
    ball(1, prior_scale=12.0),
    ball(1, prior_scale=12e4, curvature=1e-8),
    ball(2, prior_scale=4.0),
    ball(2, prior_scale=8.6),
    ball(2, prior_scale=0.86, curvature=100.0),
    ball(2, prior_scale=50.0, curvature=0.0),
    ball(2, prior_scale=0.1),
    ball(32, prior_scale=2.1),
    ball(32),
    ball(1, prior_scale=3.4, posterior="riemannian"),
    ball(2, prior_scale=2.4, posterior="riemannian"),
    ball(2, prior_scale=0.24, curvature=100.0, posterior="riemannian"),
    ball(32, prior_scale=0.6, posterior="riemannian"),
    ("HamiltonianVAE", {"num_steps": 0}),
    ("HamiltonianVAE", {"num_steps": 20, "step_size": 0.49}),
    ("HamiltonianVAE", {"num_steps": 3, "step_size": 1.5, "max_step_size": 2.0}),
    ("HamiltonianVAE", {"num_steps": 3, "step_size": 900.0, "max_step_size": 1e3}),
    ("HamiltonianVAE", {"num_steps": 5, "tempering": 0.3}),
    ("HamiltonianVAE", {"latent_dim": 32, "num_steps": 2}),
    manifold(num_steps=0),
    manifold(num_steps=4),
    manifold(num_steps=2, step_size=0.49, temperature=0.5),
    manifold(num_steps=2, step_size=90.0, max_step_size=100.0),
    manifold(num_steps=2, temperature=0.1, step_size=0.2),
    manifold(num_steps=2, temperature=20.0, step_size=0.2),
    manifold(num_steps=2, regularization=1e-4, step_size=0.2),
    manifold(num_steps=2, regularization=10.0, step_size=0.2),
    manifold(num_steps=2, num_anchors=1, step_size=0.2),
]


@pytest.mark.parametrize(("kind", "given"), EXTREMES, ids=str)
def test_all_patterns_together_at_extreme_arguments(kind, given):
    model = made(kind, **given)
    assert_one(weights(model, PATTERNS).sum(axis=0))


def assert_one_number(name, likelihood, low, high):
    """Check the integral over data of one number."""
    model = zoo.eager(name, likelihood=likelihood)
    model.build((None, 1))
    overlap(model)
    x = np.linspace(low, high, 101, dtype="float32")[:, None]
    width = np.full(len(x), (high - low) / 100)
    width[[0, -1]] *= 0.5
    assert_one(width @ weights(model, x))


@pytest.mark.parametrize("name", zoo.WITH_LIKELIHOOD)
def test_all_numbers_together(name):
    assert_one_number(name, "gaussian", -20.0, 20.0)


@pytest.mark.parametrize(
    ("likelihood", "low", "high"), [("laplace", -20.0, 20.0), ("continuous_bernoulli", 0.0, 1.0)]
)
def test_all_numbers_of_other_likelihoods_together(likelihood, low, high):
    assert_one_number("VAE", likelihood, low, high)
