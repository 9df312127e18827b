"""Topics of 20 Newsgroups by ProdLDA and EmbeddedTopicModel, with scikit-learn's LDA.

python -m benchmarks.reproduce topics --data 20ng/  # needs scikit-learn
"""

import pathlib
import time

import keras
import numpy as np

import keras_ae
from keras_ae import evaluation

TOPICS = 50
BATCH_SIZE = 200
# Name -> epochs and Adam's arguments.
MODELS = {
    "ProdLDA": (60, {"learning_rate": 0.002, "beta_1": 0.99}),
    "EmbeddedTopicModel": (20, {"learning_rate": 0.005}),
    "LDA": (10, None),
}


def topics(epochs=None, seed=0, models=tuple(MODELS), data=None):
    """Coherence and diversity of 50 topics, and the perplexity of second halves of test documents.

    NPMI is that of the ten words of each topic, by documents of the training and the test set as
    windows. Diversity is that of 25 words. The perplexity is that of the words in the second half
    of each test document, given the first half.
    """
    from scipy import sparse

    if data is None:
        raise SystemExit("topics needs --data PATH, the folder of 20 Newsgroups.")

    def read(name):
        return sparse.load_npz(pathlib.Path(data) / f"{name}.npz").tocsr()

    names = ("train", "test", "test_first_half", "test_second_half")
    train, test, first, second = map(read, names)
    corpus, words = sparse.vstack([train, test]), range(train.shape[1])
    frequency = np.asarray(train.sum(axis=0))
    unigram = evaluation.completion_perplexity(
        lambda rows: np.repeat(frequency, rows.shape[0], axis=0), first, second
    )
    for name in models:
        number = epochs or MODELS[name][0]
        start = time.perf_counter()
        fit = _fit_lda if name == "LDA" else _fit_model
        weights, predict = fit(name, train, number, seed)
        seconds = round(time.perf_counter() - start, 1)
        best = np.argsort(-weights, axis=1)
        coherence = evaluation.topic_coherence(best[:, :10], corpus)
        yield {
            "model": name,
            "epochs_of_training": number,
            "npmi": float(coherence.mean()),
            "standard_error": float(coherence.std() / np.sqrt(TOPICS)),
            "diversity": evaluation.topic_diversity(best[:, :25]),
            "completion_perplexity": evaluation.completion_perplexity(predict, first, second),
            "perplexity_of_word_frequencies": unigram,
            "words": len(words),
            "training_seconds": seconds,
        }


def _fit_model(name, train, epochs, seed):
    """Return a model's weights of words in topics, and its function from counts to words."""
    model = getattr(keras_ae, name)(TOPICS, seed=seed)
    model.compile(keras.optimizers.Adam(**MODELS[name][1]))
    model.fit(train, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
    return model.word_weights(), model.reconstruct


def _fit_lda(name, train, epochs, seed):
    """Return the same of a latent Dirichlet allocation, fitted by online variational Bayes."""
    from sklearn.decomposition import LatentDirichletAllocation

    model = LatentDirichletAllocation(
        TOPICS, learning_method="online", batch_size=512, max_iter=epochs, random_state=seed
    )
    model.fit(train)
    of_words = model.components_ / model.components_.sum(axis=1, keepdims=True)
    return of_words, lambda rows: model.transform(rows) @ of_words
