"""SentenceVAE: probabilities of tokens, padding, word dropout, decoding, and a tiny grammar."""

import itertools

import keras
import numpy as np
import pytest
import zoo
from keras import ops

import keras_ae
from keras_ae import schedules
from keras_ae.core import seeds

SMALL = {"embedding_dim": 4, "hidden_units": 6, "seed": 0}


def build(steps=4, **options):
    model = keras_ae.SentenceVAE(2, **SMALL | {"vocabulary_size": 4} | options)
    model.compile(keras.optimizers.Adam(0.01), **zoo.OP_BY_OP)
    model.build((None, steps))
    for number, weight in enumerate(model.trainable_weights):
        weight.assign(np.random.default_rng(number).normal(scale=0.8, size=weight.shape))
    return model


def sentences(examples=12, steps=4, size=4):
    return np.random.default_rng(0).integers(1, size, (examples, steps))


def code(copies=1, seed=0):
    z = np.random.default_rng(seed).normal(size=(1, 2)).astype("float32")
    return z.repeat(copies, axis=0)


def array(tensor):
    return ops.convert_to_numpy(tensor)


def log_prob(model, z, x, training=False):
    p = model.conditional(ops.convert_to_tensor(z), training)
    return array(p.log_prob(ops.convert_to_tensor(x)))


def every_sentence(steps, tokens=(1, 2, 3)):
    return np.array(list(itertools.product(tokens, repeat=steps)))


# ------------------------------------------------------------------ probabilities


def test_the_probabilities_of_all_sentences_given_a_code_sum_to_one():
    """With padding there are three tokens, and without it four."""
    for given, tokens in (({}, (1, 2, 3)), ({"mask_token": None}, (0, 1, 2, 3))):
        model, x = build(2, **given), every_sentence(2, tokens)
        densities = log_prob(model, code(len(x)), x)
        assert np.exp(densities).sum() == pytest.approx(1.0, abs=1e-5)
        assert np.ptp(densities) > 0.1


def test_the_probabilities_of_sentences_that_end_sum_to_one():
    """A sentence ends with token 3, or has the full length."""
    model, x = build(3, end_token=3), []
    for sentence in every_sentence(3):
        (ends,) = np.nonzero(sentence == 3)
        sentence[ends[0] + 1 if len(ends) else 3 :] = 0
        x.append(sentence)
    x = np.unique(x, axis=0)
    assert np.exp(log_prob(model, code(len(x)), x)).sum() == pytest.approx(1.0, abs=1e-5)


def test_padding_changes_nothing():
    model, same = build(5), build(3)
    x = sentences(steps=5)
    x[:, 3:] = 0
    np.testing.assert_allclose(model.encode(x), same.encode(x[:, :3]), rtol=1e-5, atol=1e-6)
    found, wanted = (
        m.evaluate(v, verbose=0, return_dict=True) for m, v in ((model, x), (same, x[:, :3]))
    )
    assert found == pytest.approx(wanted, rel=1e-4)
    assert found["num_steps"] == 3.0
    bound = found["reconstruction_loss"] + found["kl_loss"]
    assert found["nats_per_step"] == pytest.approx(bound / 3.0, rel=1e-5)
    densities = [m.log_likelihood(v, seed=0) for m, v in ((model, x), (same, x[:, :3]))]
    np.testing.assert_allclose(*densities, rtol=1e-4)


def test_perplexity_is_that_of_the_likelihood():
    model, x = build(), sentences()
    x[:6, 2:] = 0
    nats = -model.log_likelihood(x, num_samples=50, seed=0).sum() / (x > 0).sum()
    assert model.perplexity(x, num_samples=50, seed=0) == pytest.approx(np.exp(nats), rel=1e-5)
    for weight in model.trainable_weights:
        weight.assign(np.zeros(weight.shape))
    assert model.perplexity(x, seed=0) == pytest.approx(3.0, rel=1e-4)


def test_the_bound_is_below_the_likelihood():
    model, x = build(), sentences()
    losses = model.evaluate(np.tile(x, (50, 1)), verbose=0, return_dict=True)
    # The weight of the divergence is below 1 in the warm-up.
    assert losses["loss"] < losses["reconstruction_loss"] + losses["kl_loss"]
    bound = -losses["reconstruction_loss"] - losses["kl_loss"]
    assert bound < model.log_likelihood(x, num_samples=2000, seed=0).mean() + 0.02


def test_words_drop_out_in_training_alone():
    model, x = build(word_dropout=0.9), sentences()
    x[:, 1:] = x[:, :1]
    z = code(len(x))
    known = log_prob(model, z, x)
    np.testing.assert_array_equal(log_prob(model, z, x), known)
    dropped = log_prob(model, z, x, training=True)
    assert np.abs(dropped - known).max() > 1e-3
    other = log_prob(model, z, x, training=True)
    assert np.abs(dropped - other).max() > 1e-3  # Each step drops others.
    plain = build(word_dropout=0.0)
    np.testing.assert_allclose(log_prob(plain, z, x, training=True), known, rtol=1e-5)


def test_as_many_words_drop_out_as_stated():
    model, x = build(word_dropout=0.3), sentences(4000)
    seed = keras.random.SeedGenerator(0)
    read = array(model.decoder.shift(ops.convert_to_tensor(x), 0.3, seed))
    assert (read[:, 0] == model.decoder.start).all()
    dropped = read[:, 1:] == model.decoder.unknown
    assert dropped.mean() == pytest.approx(0.3, abs=0.02)
    np.testing.assert_array_equal(read[:, 1:][~dropped], x[:, :-1][~dropped])


# ------------------------------------------------------------------ decoding


def test_decoding_takes_the_most_probable_token_at_each_step():
    model = build()
    found = model.decode(code())[0]
    for step in range(4):
        x = np.tile(found, (3, 1))
        x[:, step] = [1, 2, 3]
        x[:, step + 1 :] = 0
        assert found[step] == 1 + np.argmax(log_prob(model, code(3), x))


def test_a_search_of_full_width_finds_the_most_probable_sentences():
    model, x = build(3), every_sentence(3)
    exact = log_prob(model, code(len(x)), x)
    tokens, found = model.beam_search(code(), width=27)
    order = np.argsort(-exact)
    np.testing.assert_array_equal(tokens[0], x[order])
    np.testing.assert_allclose(found[0], exact[order], rtol=1e-4)
    (best,), _ = model.beam_search(code(), width=1)
    np.testing.assert_array_equal(best, model.decode(code()))


def test_a_search_finds_sentences_that_end():
    model = build(3, end_token=3)
    tokens, found = model.beam_search(code(2), width=20)
    np.testing.assert_array_equal(tokens[0], tokens[1])
    tokens, found = tokens[0][found[0] > -1e8], found[0][found[0] > -1e8]
    assert len(tokens) == len(np.unique(tokens, axis=0)) == 15  # 1 + 2 + 4 that end, 8 that do not.
    np.testing.assert_allclose(found, log_prob(model, code(15), tokens), rtol=1e-4)
    ended = np.cumsum(tokens == 3, axis=1) - (tokens == 3) > 0
    np.testing.assert_array_equal(tokens == 0, ended)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_draws_have_the_probabilities_of_the_sentences(temperature):
    model, x = build(2), every_sentence(2)
    p = model.conditional(ops.convert_to_tensor(code(8000)))
    drawn = array(p.sample(keras.random.SeedGenerator(0), temperature)).astype(int)
    found = np.bincount(drawn @ [4, 1], minlength=16)[x @ [4, 1]] / 8000
    first = np.exp(log_prob(model, code(3), [[1, 0], [2, 0], [3, 0]]) / temperature)
    both = np.exp(log_prob(model, code(9), x) / temperature).reshape(3, 3)
    wanted = (first / first.sum())[:, None] * both / both.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, wanted.ravel(), atol=0.02)


def test_samples_of_temperature_zero_are_decoded_codes():
    model = build()
    cold = model.sample(20, seed=0, temperature=0.0)
    z = array(model._draw_prior(20, seeds.draw(model, 0)))
    np.testing.assert_array_equal(cold, model.decode(z))
    warm = model.sample(2000, seed=0)
    assert warm.min() == 1 and warm.max() == 3
    assert len(np.unique(warm, axis=0)) > len(np.unique(cold, axis=0))
    with pytest.raises(ValueError, match="temperature=-1"):
        model.sample(2, temperature=-1)


def test_no_temperature_makes_padding_possible():
    model = build()
    for temperature in (1e-30, 1e30):
        drawn = model.sample(3000, seed=0, temperature=temperature)
        assert drawn.min() >= 1
    # All logits are 0 then, so that all tokens are equally likely.
    np.testing.assert_allclose(
        np.bincount(drawn.astype(int).ravel()) / 12000, [0, *3 * [1 / 3]], 0.1
    )


# ------------------------------------------------------------------ learning


def grammar(examples, seed):
    """Return sentences "a x b x", "a x b x x" and so on, where x is one of four words."""
    rng = np.random.default_rng(seed)
    word, length = rng.integers(3, 7, (examples, 1)), rng.integers(3, 7, (examples, 1))
    places = np.arange(6)
    x = np.where(places == 0, 1, np.where(places == 2, 2, word))
    return np.where(places < length, x, 0)


@pytest.mark.every_backend
def test_a_tiny_grammar_is_learned():
    """Given its length, the entropy of a sentence is that of one word, log 4 nats."""
    options = {"embedding_dim": 8, "hidden_units": 16, "kl_weight": schedules.LinearWarmUp(200)}
    model = keras_ae.SentenceVAE(2, vocabulary_size=7, word_dropout=0.5, seed=0, **options)
    model.compile(keras.optimizers.Adam(0.02))
    x, held_out = grammar(1024, 0), grammar(128, 1)
    model.fit(x, epochs=25, batch_size=64, verbose=0)
    nats = -model.log_likelihood(held_out, num_samples=200, seed=0).mean()
    assert nats < np.log(4) + 0.3
    steps = (held_out > 0).sum(axis=1).mean()
    assert model.perplexity(held_out, num_samples=200, seed=0) < np.exp(nats / steps) + 0.05
    words = held_out[:, 1]
    found = model.reconstruct(held_out)
    assert (found[:, 0] == 1).all() and (found[:, 2] == 2).all()
    assert (found[:, 1] == words).mean() > 0.9
    drawn = model.sample(200, seed=0)
    assert np.mean(drawn[:, 1] == drawn[:, 3]) > 0.9


@pytest.mark.every_backend
@pytest.mark.parametrize("eagerly", [False, True])
def test_the_encoder_moves_alone_between_joint_steps(eagerly):
    """Of the first six steps, both networks move in the third and the sixth; then in each."""
    model, x = build(encoder_steps=2, encoder_steps_until=6), sentences()
    options = {"run_eagerly": eagerly and keras.config.backend() != "jax"}
    model.compile(keras.optimizers.Adam(0.01), **options)
    moved = []

    def changes(network, before):
        pairs = zip(network.trainable_variables, before, strict=True)
        return any(np.any(variable.numpy() != old) for variable, old in pairs)

    for _ in range(8):
        networks = model.encoder, model.decoder
        before = [[v.numpy() for v in each.trainable_variables] for each in networks]
        model.fit(x, batch_size=12, verbose=0)
        moved.append([changes(*pair) for pair in zip(networks, before, strict=True)])
    assert [encoder for encoder, _ in moved] == 8 * [True]
    assert [decoder for _, decoder in moved] == [False, False, True, False, False, True, True, True]


@pytest.mark.every_backend
def test_the_moments_of_a_network_that_stands_still_wait():
    """A step of the decoder is the same, however often the encoder moved alone before it."""
    x, found = sentences(), []
    for number in (0, 3):
        optimizer = keras.optimizers.Adam(0.01)
        model = build(encoder_steps=number, word_dropout=0.0)
        model.compile(optimizer)
        model.fit(np.tile(x, (number, 1)) if number else x, batch_size=12, verbose=0)
        places = [optimizer._get_variable_index(v) for v in model.decoder.trainable_variables]
        found.append([optimizer._momentums[place].numpy() for place in places])
    assert any(np.any(moment != 0) for moment in found[0])
    assert all(np.all(moment == 0) for moment in found[1])


# ------------------------------------------------------------------ data and arguments


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64", "float16", "float64"])
def test_tokens_of_any_dtype_are_taken(dtype):
    model, x = build(), sentences()
    np.testing.assert_array_equal(model.encode(x.astype(dtype)), model.encode(x))
    found = model.fit(x.astype(dtype), verbose=0).history
    assert np.isfinite(found["loss"]).all()


def test_data_that_are_no_tokens_are_explained():
    model = build()
    words = "tokens are the integers from 0 to 3, because vocabulary_size=4"
    for x in (sentences() + 1, sentences() - 3, sentences() + 0.5):
        for call in (model.fit, model.encode, model.evaluate, model.log_likelihood):
            with pytest.raises(ValueError, match=words):
                call(x, verbose=0)
    with pytest.raises(ValueError, match="holds padding, the token 0, before other tokens"):
        model.fit(np.array([[0, 0, 1, 2]]), verbose=0)
    with pytest.raises(ValueError, match="holds tokens after end_token=3"):
        build(end_token=3).fit(np.array([[1, 2, 3, 0], [1, 3, 2, 3]]), verbose=0)
    build(end_token=3).evaluate(np.array([[1, 2, 3, 0], [1, 1, 2, 3], [3, 0, 0, 0]]), verbose=0)
    with pytest.raises(ValueError, match="which are no sentences"):
        keras_ae.SentenceVAE(2, vocabulary_size=4).encode(np.eye(4)[sentences()])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"vocabulary_size": 1}, "vocabulary_size=1"),
        ({"word_dropout": 1.0}, r"word_dropout=1\.0"),
        ({"mask_token": 4}, "mask_token=4"),
        ({"end_token": 0}, "end_token=0 needs another mask_token"),
        ({"end_token": 3, "mask_token": None}, "end_token=3 needs another mask_token"),
        ({"end_token": 0, "mask_token": None}, "end_token=0 needs another mask_token"),
    ],
)
def test_wrong_arguments_are_explained(options, words):
    with pytest.raises(ValueError, match=words):
        build(**options)
    with pytest.raises(ValueError, match="width=0"):
        build().beam_search(code(), width=0)
    with pytest.raises(ValueError, match="width=1000000000000 for vocabulary_size=4"):
        build().beam_search(code(), width=10**12)
    with pytest.raises(ValueError, match=r"learns nothing .* Leave the call out\.$"):
        build().adapt(sentences())
    with pytest.raises(ValueError, match="batch_size=0"):
        build().beam_search(code(), batch_size=0)
    with pytest.raises(ValueError, match="holds padding alone, the token 0"):
        build().perplexity(np.zeros((2, 4)))
