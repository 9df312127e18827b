"""Models of sequences leave out the steps at the end of a batch that are padding in every row."""

import keras
import numpy as np
import pytest
import zoo
from keras import ops

import keras_ae
from keras_ae.models.series import base

pytestmark = pytest.mark.every_backend

STEPS = 8
SMALL = {
    "VRNN": {"hidden_units": 4, "network_options": {"units": (4,)}, "mask_value": -1.0},
    "DeepMarkovModel": {"hidden_units": 4, "network_options": {"units": (4,)}, "mask_value": -1.0},
    "SentenceVAE": {"vocabulary_size": 4, "embedding_dim": 3, "hidden_units": 4},
}
MODELS = list(SMALL)


def build(name, **options):
    model = getattr(keras_ae, name)(2, **SMALL[name], seed=0, kl_weight=1.0, **options)
    model.compile(keras.optimizers.SGD(0.1), **zoo.OP_BY_OP)
    model.build((None, STEPS) if name == "SentenceVAE" else (None, STEPS, 3))
    return model


def padded(name, lengths):
    rng = np.random.default_rng(0)
    if name == "SentenceVAE":
        x, padding = rng.integers(1, 4, (len(lengths), STEPS)), 0
    else:
        x, padding = rng.integers(0, 2, (len(lengths), STEPS, 3)).astype("float32"), -1.0
    for row, length in zip(x, lengths, strict=True):
        row[length:] = padding
    return x


@pytest.fixture
def buckets(monkeypatch):
    monkeypatch.setattr(base, "_LEAST_STEPS", STEPS)


@pytest.mark.parametrize("name", MODELS)
def test_as_few_steps_as_hold_the_data_are_computed(name, buckets, monkeypatch):
    model, seen = build(name), []
    part = "posterior" if name == "SentenceVAE" else "_evidence"
    method = getattr(model, part)
    monkeypatch.setattr(model, part, lambda x, *args: seen.append(x.shape[1]) or method(x, *args))
    for lengths, steps in (([1, 0], 2), ([1, 2], 2), ([3, 1], 4), ([5, 2], 6), ([7, 8], 8)):
        seen.clear()
        logs = model.test_on_batch(padded(name, lengths), return_dict=True)
        if keras.config.backend() == "jax":  # The first call compiles every branch.
            assert seen in ([2, 4, 6, 8], [])
        else:
            assert seen == [steps]
        assert logs["num_steps"] == pytest.approx(np.mean(lengths))


@pytest.mark.parametrize("free_bits", [0.0, 0.3])
@pytest.mark.parametrize("name", MODELS)
def test_the_loss_and_its_gradient_are_those_of_all_steps(name, free_bits, monkeypatch):
    x = np.repeat(padded(name, [1, 3, 3, 2]), 1000, axis=0)
    found = []
    for least in (STEPS, STEPS + 1):
        monkeypatch.setattr(base, "_LEAST_STEPS", least)
        model = build(name, free_bits=free_bits)
        before = [weight.numpy() for weight in model.trainable_variables]
        logs = model.train_on_batch(x, return_dict=True)
        after = [weight.numpy() for weight in model.trainable_variables]
        moves = [b - a for a, b in zip(before, after, strict=True)]
        found.append((logs, np.concatenate([move.ravel() for move in moves])))
    (ours, move), (theirs, other) = found
    # The noise of the codes differs.
    assert ours == pytest.approx(theirs, rel=3e-2, abs=1e-2)
    assert np.linalg.norm(move - other) < 0.1 * np.linalg.norm(other)


@pytest.mark.parametrize("name", MODELS)
def test_training_goes_on_with_new_noise(name, buckets):
    model, x = build(name), padded(name, [1, 2])
    states = []
    for _ in range(2):
        model.train_on_batch(x)
        states.append(ops.convert_to_numpy(model._seed_generator.state.value).tolist())
    assert states[0] != states[1]


def test_sequences_of_similar_lengths_are_in_one_batch(buckets, monkeypatch):
    model, lengths = build("VRNN"), np.tile([1, 8, 3, 6], 8)
    seen, evidence = [], model._evidence
    monkeypatch.setattr(
        model, "_evidence", lambda x, *a: seen.append(x.shape[1]) or evidence(x, *a)
    )
    model.fit(padded("VRNN", lengths), batch_size=8, epochs=2, verbose=0)
    if keras.config.backend() != "jax":
        assert sorted(seen[:4]) == sorted(seen[4:]) == [2, 4, 6, 8]
    assert model._count_lengths(padded("VRNN", [0, 1, 8])).tolist() == [0, 1, 8]
    assert model._count_lengths(np.zeros((2, STEPS - 1, 3))) is None


def test_targets_may_have_another_number_of_steps(monkeypatch):
    """The parts are a quarter, a half, three quarters and all of each of the two."""
    monkeypatch.setattr(base, "_LEAST_STEPS", STEPS)
    model = keras_ae.SentenceVAE(2, **SMALL["SentenceVAE"], seed=0)
    model.compile(keras.optimizers.SGD(0.1), **zoo.OP_BY_OP)
    model.build((None, STEPS), (None, 12))
    seen = []
    x, y = padded("SentenceVAE", [1, 2]), np.ones((2, 12), "int32")
    monkeypatch.setattr(
        model, "_mark_tokens", lambda t, mark=model._mark_tokens: seen.append(t.shape[1]) or mark(t)
    )
    for tokens, steps in ((3, 3), (4, 6), (12, 12)):
        seen.clear()
        y[:, tokens:] = 0
        y[:, :tokens] = 1
        logs = model.train_on_batch(x, y, return_dict=True)
        assert logs["num_steps"] == tokens
        if keras.config.backend() != "jax":  # It compiles every branch.
            assert seen[-1] == steps
