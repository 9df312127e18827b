"""Priors over codes: causal, normalised, and generation equal to what they say of its codes."""

import itertools

import keras
import numpy as np
import pytest
import zoo
from keras import ops

from keras_ae import layers

pytestmark = pytest.mark.formula

GRID, SEQUENCE = (3, 4), (5,)
MAKERS = {
    "grid": lambda num_codes=3, shape=GRID: layers.GridPrior(
        num_codes, shape, units=4, num_layers=4
    ),
    "sequence": lambda num_codes=3, shape=SEQUENCE: layers.SequencePrior(
        num_codes, shape, units=8, num_layers=2, num_heads=2
    ),
}
every_prior = pytest.mark.parametrize("kind", MAKERS)


def made(kind, *arguments):
    """A prior far from uniform: its first weights are small, so that all codes are as likely."""
    keras.utils.set_random_seed(0)
    prior = MAKERS[kind](*arguments)
    prior.build()
    rng = np.random.default_rng(1)
    for v in prior.trainable_variables:
        v.assign(v.numpy() + rng.normal(0.0, 0.5, v.shape))
    return prior


def codes_of(prior, num_examples, seed=0):
    shape = (num_examples, *prior.code_shape)
    return np.random.default_rng(seed).integers(0, prior.num_codes, shape).astype("int32")


@every_prior
def test_no_logit_depends_on_its_own_code_or_a_later_one(kind):
    prior = made(kind)
    length = int(np.prod(prior.code_shape))
    codes = codes_of(prior, 6).reshape(1, 6, length)
    changed = np.repeat(codes, length, axis=0)  # (places, examples, places)
    changed[np.arange(length), :, np.arange(length)] += 1
    both = np.concatenate([codes, changed % 3]).reshape(-1, *prior.code_shape)
    logits = zoo.compute(prior, both).reshape(1 + length, 6, length, 3)
    for place in range(length):
        moved = np.abs(logits[1 + place] - logits[0]).max(axis=(0, 2))
        assert np.all(moved[: place + 1] < 1e-4), place
        assert np.all(moved[place + 1 :] > 1e-3), place


@every_prior
def test_no_gradient_flows_back_in_time(kind):
    """From the logits to the embeddings of the codes."""
    prior = made(kind)
    length = int(np.prod(prior.code_shape))
    codes = codes_of(prior, 6)
    table = prior.embedding.embeddings.numpy()
    vectors = table[codes]  # (6, *code_shape, units)

    class Given(keras.layers.Layer):
        """In place of the embedding: the vectors of this test, those of the start before them."""

        def call(self, asked):
            if kind == "grid":
                return self.vectors
            start = ops.convert_to_tensor(np.broadcast_to(table[-1:], (6, 1, 8)))
            return ops.concatenate([start, self.vectors[:, :-1]], axis=1)

    object.__setattr__(prior, "embedding", Given())
    for place in (0, length // 2, length - 1):

        def total(values, place=place):
            object.__setattr__(prior.embedding, "vectors", values)
            logits = ops.reshape(prior(codes), (6, length, 3))
            return ops.sum(ops.square(logits[:, place]))

        found = np.abs(zoo.gradient(total, vectors)).reshape(6, length, -1).max(axis=(0, 2))
        assert np.all(found[place:] == 0.0)
        assert np.all(found[:place] > 0.0)


@pytest.mark.parametrize(("kind", "shape"), [("grid", (2, 3)), ("sequence", (6,))])
def test_the_probabilities_of_all_sequences_sum_to_one(kind, shape):
    prior = made(kind, 2, shape)
    every = np.array(list(itertools.product(range(2), repeat=6)), "int32").reshape(-1, *shape)
    log_prob = zoo.compute(prior.log_prob, every)
    assert log_prob.shape == (64,) and np.ptp(log_prob) > 1.0
    assert np.exp(log_prob).sum() == pytest.approx(1.0, abs=1e-5)


def log_softmax(logits):
    logits = logits - logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


@every_prior
def test_the_log_likelihood_is_the_sum_of_its_logits(kind):
    prior, codes = made(kind), codes_of(made(kind), 7)
    each = np.take_along_axis(log_softmax(zoo.compute(prior, codes)), codes[..., None], axis=-1)
    found = zoo.compute(prior.log_prob, codes)
    np.testing.assert_allclose(found, each.reshape(7, -1).sum(axis=1), rtol=1e-5)


@every_prior
def test_generation_draws_by_the_logits_of_the_whole(kind):
    """Every code is where the uncached distribution function passes its uniform draw."""
    prior = made(kind)
    uniforms = np.random.default_rng(2).random((40, *prior.code_shape)).astype("float32")
    codes = zoo.compute(prior.generate, uniforms)
    assert codes.dtype == np.int32
    cumulated = np.exp(log_softmax(zoo.compute(prior, codes))).cumsum(axis=-1)
    np.testing.assert_array_equal(codes, (cumulated <= uniforms[..., None]).sum(axis=-1))


def test_cached_logits_equal_those_of_the_whole():
    prior = made("sequence")
    uniforms = np.random.default_rng(3).random((6, 5)).astype("float32")

    def all_turns(uniforms):
        empty = ops.zeros((6, 5, 8))
        state, found = (ops.zeros((6, 5), "int32"), ((empty, empty),) * 2), []
        for index in range(5):
            state, logits = prior._turn(index, state, uniforms)
            found.append(logits)
        return state[0], ops.stack(found, axis=1)

    codes, logits = zoo.compute(all_turns, uniforms)
    np.testing.assert_allclose(logits, zoo.compute(prior, codes), atol=1e-5)


@every_prior
def test_samples_follow_their_seed_and_the_probabilities(kind):
    prior = made(kind, 2, (1, 2) if kind == "grid" else (2,))
    first, again, other = (ops.convert_to_numpy(prior.sample(4000, seed=s)) for s in (3, 3, 4))
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    every = np.array(list(itertools.product(range(2), repeat=2)), "int32")
    probabilities = np.exp(zoo.compute(prior.log_prob, every.reshape(-1, *prior.code_shape)))
    counts = (first.reshape(-1, 1, 2) == every).all(axis=-1).mean(axis=0)
    # Four standard deviations of a share of 4,000 draws.
    np.testing.assert_allclose(counts, probabilities, atol=4 * 0.5 / 4000**0.5)


@every_prior
def test_a_prior_comes_back_from_its_configuration(kind):
    prior = made(kind)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(prior))
    if not again.built:
        again.build()
    again.set_weights(prior.get_weights())
    codes = codes_of(prior, 3)
    np.testing.assert_array_equal(zoo.compute(again, codes), zoo.compute(prior, codes))


def test_heads_divide_the_units():
    with pytest.raises(ValueError, match="units=6 must be a multiple of num_heads=4"):
        layers.SequencePrior(3, (5,), units=6)
