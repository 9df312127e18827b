"""A step whose loss or gradient is not finite changes nothing, and ends training."""

import keras
import numpy as np
import pytest
import zoo
from keras import ops

import keras_ae

BATCH, GOOD_STEPS = 16, 5
X = np.random.default_rng(0).random((BATCH * 12, 6), "float32")
OPTIONS = {"batch_size": BATCH, "shuffle": False, "verbose": 0}


def in_step(model, number, bad):
    """Return the value in one training step, and 0 in all others."""
    return ops.where(ops.equal(ops.convert_to_tensor(model._step), number), bad, 0.0)


class LossFails(keras_ae.VAE):
    """Its divergence is NaN in the sixth step."""

    def loss_terms(self, x, y, training):
        terms = super().loss_terms(x, y, training)
        terms["kl_loss"] = terms["kl_loss"] + in_step(self, GOOD_STEPS, np.nan)
        return terms


class LossOverflows(keras_ae.VQVAE):
    """Its reconstruction loss is infinite in the sixth step. Its codebook follows the codes."""

    def loss_terms(self, x, y, training):
        terms = super().loss_terms(x, y, training)
        name = self.objective[0]
        terms[name] = terms[name] + in_step(self, GOOD_STEPS, np.inf)
        return terms


class GradientFails(keras_ae.AE):
    """Its loss is finite in the sixth step, but the root of 0 has no derivative."""

    def loss_terms(self, x, y, training):
        terms = super().loss_terms(x, y, training)
        factor = ops.where(ops.equal(ops.convert_to_tensor(self._step), GOOD_STEPS), 0.0, 1.0)
        name = self.objective[0]
        squares = ops.sum(ops.square(factor * self.encoder(x, training=training)), axis=-1)
        terms[name] = terms[name] + 1e-6 * ops.sqrt(squares)
        return terms


class PlayerFails(keras_ae.AdversarialAE):
    """The loss of its discriminator is NaN in the sixth step."""

    def loss_terms(self, x, y, training):
        terms = super().loss_terms(x, y, training)
        name = "discriminator_loss"
        terms[name] = terms[name] + in_step(self, GOOD_STEPS, np.nan)
        return terms


CASES = {
    "kl_loss": (LossFails, "VAE"),
    "reconstruction_loss": (LossOverflows, "VQVAE"),
    "a gradient": (GradientFails, "AE"),
    "discriminator_loss": (PlayerFails, "AdversarialAE"),
}


def make(cls, name, **compiled):
    keras.utils.set_random_seed(0)
    model = cls(**zoo.settings(name))
    model.compile(**{"optimizer": keras.optimizers.Adam(1e-2), **compiled})
    return model


def state(model):
    return [ops.convert_to_numpy(v) for v in (*model.variables, *model.optimizer.variables)]


def assert_state(model, wanted):
    assert len(model.variables) > 2
    for one, other in zip(state(model), wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("term", CASES)
def test_the_step_changes_nothing_and_the_error_names_the_term(term):
    wanted = make(*CASES[term])
    wanted.fit(X[: BATCH * GOOD_STEPS], **OPTIONS)
    model = make(*CASES[term])
    with pytest.raises(FloatingPointError, match=f": {term} became .* training step 6"):
        model.fit(X, epochs=3, **OPTIONS)
    assert_state(model, state(wanted))


@pytest.mark.skipif(keras.backend.backend() == "torch", reason="torch runs each step by itself")
def test_a_few_steps_in_one_call_change_nothing_either():
    wanted = make(*CASES["kl_loss"])
    wanted.fit(X[: BATCH * GOOD_STEPS], **OPTIONS)
    model = make(*CASES["kl_loss"], steps_per_execution=4)
    with pytest.raises(FloatingPointError, match="kl_loss"):
        model.fit(X, **OPTIONS)
    assert_state(model, state(wanted))


def test_training_ends_long_before_the_epoch_does():
    class Stream(keras.utils.PyDataset):
        read = 0

        def __len__(self):
            return 10_000

        def __getitem__(self, number):
            Stream.read = max(Stream.read, number)
            return X[:BATCH]

    model = make(*CASES["kl_loss"], run_eagerly=False)
    with pytest.raises(FloatingPointError, match="kl_loss"):
        model.fit(Stream(), verbose=0)
    assert Stream.read < 5000


@pytest.mark.parametrize("term", ["kl_loss", "a gradient"])
def test_a_single_batch_changes_nothing_either(term):
    model = make(*CASES[term])
    for _ in range(GOOD_STEPS):
        model.train_on_batch(X[:BATCH])
    before = state(model)
    for _ in range(2):
        with pytest.raises(FloatingPointError, match=f": {term} became .* training step 6"):
            model.train_on_batch(X[:BATCH])
        assert_state(model, before)


def test_the_model_can_be_trained_on_after_the_error():
    model = make(*CASES["kl_loss"])
    with pytest.raises(FloatingPointError):
        model.fit(X, **OPTIONS)
    model._step.assign(100)
    before = state(model)
    history = model.fit(X, **OPTIONS).history
    assert np.isfinite(history["loss"]).all()
    assert any(np.any(one != other) for one, other in zip(state(model), before, strict=True))


def test_no_callback_sees_the_loss_at_the_end_of_an_epoch():
    seen = []
    callback = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: seen.append(1))
    with pytest.raises(FloatingPointError):
        make(*CASES["kl_loss"]).fit(X, callbacks=[callback], **OPTIONS)
    assert not seen


def test_a_scaled_loss_may_overflow():
    """This optimizer, which is for float16, finds a scale at which gradients are finite."""
    adam = keras.optimizers.Adam(1e-2)
    optimizer = keras.optimizers.LossScaleOptimizer(adam, initial_scale=2.0**127)
    model = make(keras_ae.AE, "AE", optimizer=optimizer)
    losses = model.fit(X, epochs=20, **OPTIONS).history["loss"]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


# ------------------------------------------------------------------ data far from unit scale

REAL = {"VAE": 100.0, "FlowVAE": 100.0, "IAFVAE": 100.0, "MissingDataIWAE": 1e4, "IWAE": 1e4}


@pytest.mark.filterwarnings("ignore:.* has values from")
@pytest.mark.parametrize("name", REAL)
def test_large_numbers_give_finite_losses(name):
    x = (np.random.default_rng(0).normal(size=(128, 20)) * REAL[name]).astype("float32")
    wide = {"network_options": {"units": (64,)}, "likelihood": "gaussian"}
    model = zoo.make(name, **wide)
    model.compile(keras.optimizers.Adam(1e-3))
    losses = model.fit(x, epochs=10, batch_size=32, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    assert np.isfinite(model.reconstruct(x)).all()


@pytest.mark.parametrize("factor", [1e3, 1e-5])
@pytest.mark.parametrize("kind", ["array", "stream"])
def test_one_warning_says_how_to_scale_the_data(kind, factor):
    x = (np.random.default_rng(0).normal(size=(64, 6)) * factor).astype("float32")

    def stream():
        while True:
            yield x[:32]

    def fit(model):
        model.compile(keras.optimizers.Adam(1e-3))
        data = x if kind == "array" else stream()
        for _ in range(2):
            model.fit(data, epochs=1, steps_per_epoch=2, verbose=0)
        return model

    with pytest.warns(UserWarning, match="x has values from .* standardize=True") as warned:
        fit(keras_ae.VAE(2, likelihood="gaussian", seed=0))
    assert sum("has values from" in str(warning.message) for warning in warned) == 1
    if kind == "array":
        fit(keras_ae.VAE(2, likelihood="gaussian", standardize=True, seed=0))  # This does not warn.


def test_usual_data_warns_of_nothing():
    x = np.random.default_rng(0).normal(size=(64, 6)).astype("float32") * 10.0
    for data, given in ((x, {"likelihood": "gaussian"}), (X[:64], {}), (np.zeros((64, 6)), {})):
        model = keras_ae.VAE(2, seed=0, **given)
        model.compile("adam")
        model.fit(data, verbose=0)
