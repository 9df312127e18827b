"""What the topic models compute, against NumPy, and whether they find topics again."""

import keras
import numpy as np
import pytest
import zoo
from keras import ops
from scipy import optimize, sparse, special

import keras_ae
from keras_ae import evaluation
from keras_ae.distributions import approximate_dirichlet
from keras_ae.layers import TopicMixture

NAMES = ["ProdLDA", "EmbeddedTopicModel"]
every_name = pytest.mark.parametrize("name", NAMES)
WORDS, TOPICS = 60, 5


def documents(number=1500, seed=0):
    """Return documents about topics of 12 words each, the topics, and their shares."""
    rng = np.random.default_rng(seed)
    topics = np.repeat(np.eye(TOPICS), WORDS // TOPICS, axis=1)
    topics = topics * rng.uniform(0.5, 1.5, topics.shape) + 0.02
    topics /= topics.sum(axis=1, keepdims=True)
    shares = rng.dirichlet(np.full(TOPICS, 0.2), number)
    return rng.multinomial(40, shares @ topics).astype("float32"), topics, shares


def made(name, **given):
    more = {"embedding_dim": 8} if name == "EmbeddedTopicModel" else {}
    options = {"units": (32,), "dropout": 0.0}
    model = getattr(keras_ae, name)(
        **{"latent_dim": TOPICS, "network_options": options, "seed": 0, **more, **given}
    )
    model.compile(keras.optimizers.Adam(0.01, beta_1=0.9), **zoo.OP_BY_OP)
    return model


def numpy(value):
    return ops.convert_to_numpy(ops.convert_to_tensor(value))


@every_name
def test_topics_are_found_again(name):
    x, topics, shares = documents()
    model = made(name, latent_dim=8)  # Some topics are found twice, but all are found.
    model.compile(keras.optimizers.Adam(0.01, beta_1=0.9))
    model.fit(sparse.csr_matrix(x), batch_size=100, epochs=20, verbose=0)
    found = model.topics(range(WORDS), k=10)
    groups = np.array([np.bincount(np.array(row) // 12, minlength=TOPICS) for row in found])
    assert groups.max(axis=0).min() >= 9, groups
    # The shares of documents follow those that made them.
    found_shares = model.doc_topics(x) @ np.eye(TOPICS)[groups.argmax(axis=1)]
    assert np.corrcoef(found_shares.ravel(), shares.ravel())[0, 1] > 0.8
    pure = np.array(found)[groups.max(axis=1) == 10]
    mixed = np.arange(50).reshape(10, 5).T  # These words are of different topics.
    coherence = evaluation.topic_coherence(pure, x)
    assert coherence.min() > 0.3 > 0.1 > evaluation.topic_coherence(mixed, x).max()
    first = np.random.default_rng(1).binomial(x.astype(int), 0.5).astype("float32")
    rest, frequency = x - first, x.sum(axis=0, keepdims=True)
    predictors = {
        "model": model.reconstruct,
        "truth": lambda rows: shares @ topics,
        "unigram": lambda rows: np.repeat(frequency, len(rows), axis=0),
    }
    perplexity = {
        key: evaluation.completion_perplexity(predict, first, rest, batch_size=len(x))
        for key, predict in predictors.items()
    }
    assert perplexity["truth"] < perplexity["model"] < 0.7 * perplexity["unigram"], perplexity


@every_name
def test_topics_are_listed_by_weight(name):
    model, x = made(name), documents(50)[0]
    with pytest.raises(ValueError, match="topics needs the data's shape"):
        model.topics(range(WORDS))
    model.fit(x, verbose=0)
    vocabulary = [f"word {n}" for n in range(WORDS)]
    weights = model.word_weights()
    assert weights.shape == (TOPICS, WORDS)
    found = model.topics(vocabulary, k=3)
    best = np.argsort(-weights, axis=1)[:, :3]
    assert found == [[vocabulary[n] for n in row] for row in best]
    with pytest.raises(ValueError, match="vocabulary has 59 words, but the data has 60"):
        model.topics(vocabulary[:-1])
    with pytest.raises(ValueError, match="k=61"):
        model.topics(vocabulary, k=61)


@every_name
def test_the_shares_of_topics_are_the_softmax_of_codes(name):
    model, x = made(name), documents(50)[0]
    model.fit(x, verbose=0)
    wanted = special.softmax(model.encode(x).astype("float64"), axis=1)
    np.testing.assert_allclose(model.doc_topics(x), wanted, atol=1e-5)
    np.testing.assert_allclose(model.doc_topics(sparse.csr_matrix(x)), wanted, atol=1e-5)
    assert np.all(np.isfinite(model.doc_topics(0 * x)))


@every_name
def test_wrong_numbers_of_topics_and_data_are_refused(name):
    with pytest.raises(ValueError, match="latent_dim=1"):
        made(name, latent_dim=1)
    with pytest.raises(ValueError, match=r"Reshape x to \(batch, kinds\)"):
        made(name).fit(np.ones((4, 3, 2)), verbose=0)
    for argument in ("decoder", "likelihood", "standardize"):
        with pytest.raises(TypeError, match=argument):
            made(name, **{argument: None})


# ------------------------------------------------------------------ ProdLDA


def test_vocabularies_without_an_order_are_refused():
    """scikit-learn's `vocabulary_` is a dictionary of words to columns."""
    model = made("ProdLDA")
    model.build((None, 2))
    for vocabulary in ({"a": 0, "b": 1}, {"a", "b"}):
        with pytest.raises(TypeError, match="Pass a list of the words"):
            model.topics(vocabulary, k=1)


@pytest.mark.parametrize("concentration, size", [(0.3, 4), (2.0, 10), (1.0, 50)])
def test_the_prior_is_the_laplace_approximation(concentration, size):
    """Its mode and its curvature are those of the Dirichlet's density in the softmax basis."""

    def energy(z):  # The density of the softmax basis has this part along z of sum 0.
        return -concentration * np.sum(z - special.logsumexp(z))

    mode = optimize.minimize(energy, np.linspace(-0.1, 0.1, size)).x
    np.testing.assert_allclose(mode - mode.mean(), 0.0, atol=1e-3)
    step, hessian = 1e-3, np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            a, b = np.eye(size)[i] * step, np.eye(size)[j] * step
            corners = energy(a + b) - energy(a - b) - energy(b - a) + energy(-a - b)
            hessian[i, j] = corners / (4 * step**2)
    variances = np.diag(np.linalg.pinv(hessian, rcond=1e-4))
    np.testing.assert_allclose(variances, approximate_dirichlet(concentration, size), rtol=1e-3)


def test_the_prior_tends_to_the_moments_of_the_dirichlet():
    size, concentration = 6, 200.0
    trigamma = special.polygamma(1, concentration)
    exact = trigamma * (1 - 1 / size)  # The variance of log p minus its mean over dimensions.
    assert approximate_dirichlet(concentration, size) == pytest.approx(exact, rel=0.01)


def test_the_divergence_is_that_from_the_prior():
    x, model = documents(40)[0], made("ProdLDA", concentration=0.5)
    model.fit(x, verbose=0)
    q = model.posterior(ops.convert_to_tensor(x))
    mean, variance = numpy(q.mean).astype("float64"), np.exp(numpy(q.log_variance))
    prior = (1 - 1 / TOPICS) / 0.5
    wanted = 0.5 * (variance / prior + mean**2 / prior - 1 + np.log(prior / variance)).sum(axis=1)
    found = model.evaluate(x, batch_size=40, verbose=0, return_dict=True)["kl_loss"]
    assert found == pytest.approx(wanted.mean(), rel=1e-4)
    codes = model._draw_prior(4000, keras.random.SeedGenerator(0))
    np.testing.assert_allclose(numpy(codes).var(axis=0), prior, rtol=0.1)


def test_the_words_come_from_a_product_of_experts():
    x, model = documents(40)[0], made("ProdLDA")
    model.fit(x, epochs=2, verbose=0)
    z = model.encode(x)
    normalization = model.decoder.get_layer("words_normalization")
    mean, variance, offset = (numpy(getattr(normalization, name)) for name in
                              ("moving_mean", "moving_variance", "beta"))  # fmt: skip
    experts = special.softmax(z, axis=1) @ model.word_weights()
    logits = (experts - mean) / np.sqrt(variance + normalization.epsilon) + offset
    wanted = special.softmax(logits, axis=1)
    decoded = model.decode(z)
    shares = decoded / decoded.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(shares, wanted, rtol=1e-3)
    assert normalization.gamma is None


# ------------------------------------------------------------------ EmbeddedTopicModel


def test_the_words_come_from_a_mixture_of_topics():
    x, model = documents(40)[0], made("EmbeddedTopicModel")
    model.fit(x, verbose=0)
    layer = model.decoder.get_layer("topics")
    topics = special.softmax(numpy(layer.topics) @ numpy(layer.words).T, axis=1)
    np.testing.assert_allclose(model.word_weights(), topics, rtol=1e-3)
    z = model.encode(x)
    decoded = model.decode(z)
    wanted = special.softmax(z, axis=1) @ topics
    np.testing.assert_allclose(decoded / decoded.sum(axis=1, keepdims=True), wanted, rtol=1e-3)


def test_the_encoder_reads_shares_of_words():
    x, model = documents(40)[0], made("EmbeddedTopicModel")
    model.fit(x, verbose=0)
    np.testing.assert_allclose(model.encode(3 * x), model.encode(x), atol=1e-5)


def test_a_mixture_of_topics_keeps_its_configuration():
    layer = TopicMixture(num_words=7, embedding_dim=4, name="mixture")
    again = TopicMixture.from_config(layer.get_config())
    assert (again.num_words, again.embedding_dim, again.name) == (7, 4, "mixture")
    found = numpy(layer(np.zeros((2, 3), "float32")))
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1.0, rtol=1e-5)
