"""Priors over codes: they are causal and normalized, and generation follows their logits."""

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
    """Return a prior far from uniform. With its initial weights, all codes are about as likely."""
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
    """Logits have a gradient only with respect to the embeddings of earlier codes."""
    prior = made(kind)
    length = int(np.prod(prior.code_shape))
    codes = codes_of(prior, 6)
    table = prior.embedding.embeddings.numpy()
    vectors = table[codes]  # (6, *code_shape, units)

    class Given(keras.layers.Layer):
        """Replaces the embedding, and gives this test's vectors, after those of the start."""

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
    """Every code is the first at which the uncached distribution function exceeds its draw."""
    prior = made(kind)
    uniforms = np.random.default_rng(2).random((40, *prior.code_shape)).astype("float32")
    codes = zoo.compute(prior.generate, uniforms)
    assert codes.dtype == np.int32
    cumulated = np.exp(log_softmax(zoo.compute(prior, codes))).cumsum(axis=-1)
    np.testing.assert_array_equal(codes, (cumulated <= uniforms[..., None]).sum(axis=-1))


@pytest.mark.parametrize("levels", [3, (2, 3)])
def test_the_codes_of_a_volume_are_a_sequence_in_order(levels):
    volume, sequence = made("sequence", levels, (2, 1, 3)), made("sequence", levels, (6,))
    codes = codes_of(volume, 7)
    in_order = codes.reshape(7, 6)
    found, expected = zoo.compute(volume, codes), zoo.compute(sequence, in_order)
    assert found.shape == (7, 2, 1, 3, np.sum(levels))
    np.testing.assert_allclose(found.reshape(expected.shape), expected, atol=1e-5)
    found = zoo.compute(volume.log_prob, codes)
    np.testing.assert_allclose(found, zoo.compute(sequence.log_prob, in_order), rtol=1e-5)
    digits = volume.digits(codes)
    np.testing.assert_allclose(zoo.compute(volume.log_prob, digits), found, rtol=1e-5)
    uniforms = np.random.default_rng(2).random((9, *volume.draws_shape)).astype("float32")
    found = zoo.compute(volume.generate, uniforms)
    expected = zoo.compute(sequence.generate, uniforms.reshape(9, *sequence.draws_shape))
    assert found.shape == (9, 2, 1, 3)
    np.testing.assert_array_equal(found.reshape(9, 6), expected)


def test_cached_logits_equal_those_of_the_whole():
    prior = made("sequence")
    uniforms = np.random.default_rng(3).random((6, 5)).astype("float32")

    def all_turns(uniforms):
        empty = ops.zeros((6, 5, 8))
        state, found = (ops.zeros((6, 5), "int32"), ((empty, empty),) * 2), []
        for index in range(5):
            state, logits = prior._draw_code(index, *state, uniforms)
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
    # The tolerance is four standard deviations of a share of 4,000 draws.
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


# ------------------------------------------------------------------ codes of several digits

LEVELS = (3, 2, 4)  # These levels have 24 codes.
DIGIT_MAKERS = {
    "grid": lambda shape=(2, 3), levels=LEVELS: layers.GridPrior(
        levels, shape, units=4, num_layers=3
    ),
    "sequence": lambda shape=(5,), levels=LEVELS: layers.SequencePrior(
        levels, shape, units=8, num_layers=2, num_heads=2
    ),
}
every_prior_of_digits = pytest.mark.parametrize("kind", DIGIT_MAKERS)


@pytest.mark.parametrize("kind", ["grid", "sequence"])
def test_digits_of_equal_levels_give_the_same_at_once_as_one_by_one(kind):
    """All at once is faster; generation computes them one by one."""
    prior = made_of_digits(kind, (1, 3) if kind == "grid" else (3,), (4, 4))
    uniforms = np.random.default_rng(2).random((40, *prior.draws_shape)).astype("float32")
    codes = zoo.compute(prior.generate, uniforms)
    logits = zoo.compute(prior, codes).reshape(40, 3, 2, 4)
    digits = np.stack([codes % 4, codes // 4], axis=-1).reshape(40, 3, 2)
    shares = np.exp(log_softmax(logits))
    draws = uniforms.reshape(40, 3, 2, 1)
    np.testing.assert_array_equal(digits, (shares.cumsum(axis=-1) <= draws).sum(axis=-1))
    taken = np.take_along_axis(shares, digits[..., None], axis=-1)
    found = zoo.compute(prior.log_prob, codes)
    np.testing.assert_allclose(found, np.log(taken).sum(axis=(1, 2, 3)), rtol=1e-4)


def made_of_digits(kind, *arguments):
    keras.utils.set_random_seed(0)
    prior = DIGIT_MAKERS[kind](*arguments)
    prior.build()
    rng = np.random.default_rng(1)
    for v in prior.trainable_variables:
        v.assign(v.numpy() + rng.normal(0.0, 0.5, v.shape))
    return prior


@every_prior_of_digits
@pytest.mark.every_backend
def test_the_probabilities_of_all_codes_of_digits_sum_to_one(kind):
    prior = made_of_digits(kind, (1, 2) if kind == "grid" else (2,))
    every = np.array(list(itertools.product(range(24), repeat=2)), "int32")
    log_prob = zoo.compute(prior.log_prob, every.reshape(-1, *prior.code_shape))
    assert log_prob.shape == (576,) and np.ptp(log_prob) > 1.0
    assert np.exp(log_prob).sum() == pytest.approx(1.0, abs=1e-5)


def digit_logits(prior, codes):
    """Return the logits of each digit, of shape (examples, positions, values)."""
    logits = zoo.compute(prior, codes).reshape(len(codes), -1, sum(LEVELS))
    return np.split(logits, np.cumsum(LEVELS)[:-1], axis=-1)


@every_prior_of_digits
def test_a_digits_logits_depend_only_on_what_comes_before(kind):
    prior = made_of_digits(kind)
    length = int(np.prod(prior.code_shape))
    digits = np.random.default_rng(0).integers(0, LEVELS, (6, length, 3))
    weights = np.cumprod([1, *LEVELS[:-1]])
    before = digit_logits(prior, (digits @ weights).reshape(6, *prior.code_shape))
    for place, digit in itertools.product(range(length), range(3)):
        changed = digits.copy()
        changed[:, place, digit] = (changed[:, place, digit] + 1) % LEVELS[digit]
        after = digit_logits(prior, (changed @ weights).reshape(6, *prior.code_shape))
        for other in range(3):
            moved = np.abs(after[other] - before[other]).max(axis=(0, 2))
            first = place + 1 if other <= digit else place
            assert np.all(moved[:first] < 1e-4), (place, digit, other)
            assert np.all(moved[first:] > 1e-4), (place, digit, other)


@every_prior_of_digits
@pytest.mark.every_backend
def test_generation_draws_digit_by_digit(kind):
    prior = made_of_digits(kind)
    assert prior.draws_shape == (*prior.code_shape, 3)
    uniforms = np.random.default_rng(2).random((40, *prior.draws_shape)).astype("float32")
    codes = zoo.compute(prior.generate, uniforms)
    assert codes.dtype == np.int32 and codes.shape == (40, *prior.code_shape)
    digits = zoo.compute(
        lambda codes: layers.scalar_quantizers.digits_of_codes(codes, LEVELS), codes
    )
    each = digits.reshape(40, -1, 3)
    log_prob = np.zeros(40)
    for digit, logits in enumerate(digit_logits(prior, codes)):
        shares = np.exp(log_softmax(logits))
        draws = uniforms.reshape(40, -1, 3)[..., digit, None]
        expected = (shares.cumsum(axis=-1) <= draws).sum(axis=-1)
        np.testing.assert_array_equal(each[..., digit], expected)
        taken = np.take_along_axis(shares, each[..., digit, None], axis=-1)
        log_prob += np.log(taken).sum(axis=(1, 2))
    np.testing.assert_allclose(zoo.compute(prior.log_prob, codes), log_prob, rtol=1e-4)
    # `log_prob` takes digits as well as codes.
    np.testing.assert_allclose(zoo.compute(prior.log_prob, digits), log_prob, rtol=1e-4)


@every_prior_of_digits
def test_a_prior_of_digits_comes_back_from_its_configuration(kind):
    prior = made_of_digits(kind)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(prior))
    if not again.built:
        again.build()
    again.set_weights(prior.get_weights())
    codes = codes_of(prior, 3)
    np.testing.assert_array_equal(zoo.compute(again, codes), zoo.compute(prior, codes))


@every_prior_of_digits
def test_memory_follows_the_sum_of_the_levels(kind):
    """The logits of a billion codes would take 20 GB for the five positions of one example."""
    prior = DIGIT_MAKERS[kind]((1, 5) if kind == "grid" else (5,), (2,) * 20 + (1000,))
    prior.build()
    assert prior.num_codes == 1000 * 2**20
    codes = codes_of(prior, 2)
    assert zoo.compute(prior, codes).shape == (2, *prior.code_shape, 1040)
    assert np.all(np.isfinite(zoo.compute(prior.log_prob, codes)))
    assert prior.count_params() < 50_000


def test_more_codes_than_an_int32_counts_are_refused():
    with pytest.raises(ValueError, match=r"31 numbers of up to 2 levels make about 10\^9.3 codes"):
        layers.SequencePrior((2,) * 31, (5,))
    with pytest.raises(ValueError, match="tuple of positive integers"):
        layers.GridPrior((), (5, 5))


def test_heads_divide_the_units():
    with pytest.raises(ValueError, match="units=6 must be a multiple of num_heads=4"):
        layers.SequencePrior(3, (5,), units=6)
