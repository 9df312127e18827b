"""What a linear classifier reads from codes of 64 dimensions.

TFDS_DATA_DIR=... python -m benchmarks.reproduce codes --models AE VAE
"""

import time

import keras
import numpy as np
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import keras_ae
from benchmarks.reproduce.common import CROSS_ENTROPY
from keras_ae import corruptions, datasets

AFFINE = corruptions.Affine(shift=1 / 7, rotation=0.5, scale=0.3, shear=0.3)
CODED_MODELS = {
    "AE": CROSS_ENTROPY,
    "DenoisingAE": CROSS_ENTROPY | {"corruption": corruptions.Masking(0.5)},
    "DenoisingAE-affine": CROSS_ENTROPY | {"corruption": AFFINE},
    "ContractiveAE": CROSS_ENTROPY | {"weight": 1.0, "num_probes": 1},
    "SparseAE": CROSS_ENTROPY | {"target": 0.1, "weight": 10.0},
    "VAE": {},
    "MaskedAE": {"network_options": {"width": 128, "blocks": 3}},
}
DRAWS_OF_LABELS = 10


def accuracies(train, labels, test, test_labels, seed):
    """Return accuracies of logistic regressions with all labels, and with ten of each digit.

    The features are standardized.
    """
    everything = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    few = []
    for draw in range(DRAWS_OF_LABELS):
        rng = np.random.default_rng((seed, draw))
        chosen = [rng.choice(np.flatnonzero(labels == d), 10, replace=False) for d in range(10)]
        chosen = np.concatenate(chosen)
        regression = LogisticRegressionCV(Cs=[1e-3, 1e-2, 0.1, 1.0], cv=5, max_iter=1000)
        model = make_pipeline(StandardScaler(), regression).fit(train[chosen], labels[chosen])
        few.append(model.score(test, test_labels))
    return {
        "accuracy": everything.fit(train, labels).score(test, test_labels),
        "accuracy_with_100_labels": float(np.mean(few)),
        "standard_deviation_with_100_labels": float(np.std(few)),
    }


def codes(epochs=10, seed=0, models=("pixels", "PCA", *CODED_MODELS)):
    """Logistic regressions on codes of MNIST, on its pixels and on 64 principal components.

    The code of MaskedAE has a token for each patch; the regression sees the mean of the tokens.
    """
    train, labels = datasets.as_array("mnist", "train", labels=True)
    test, test_labels = datasets.as_array("mnist", "test", labels=True)
    for name in models:
        start = time.perf_counter()
        if name in CODED_MODELS:
            class_name = name.partition("-")[0]
            model = getattr(keras_ae, class_name)(64, seed=seed, **CODED_MODELS[name])
            model.compile(keras.optimizers.Adam(1e-3))
            model.fit(train, batch_size=128, epochs=epochs, verbose=0)
            features = [model.encode(x, verbose=0) for x in (train, test)]
            features = [np.mean(z, axis=1) if z.ndim == 3 else z for z in features]
        else:
            features = [x.reshape(len(x), -1) for x in (train, test)]
            if name == "PCA":
                components = PCA(64, random_state=seed).fit(features[0])
                features = [components.transform(x) for x in features]
        seconds = round(time.perf_counter() - start, 1)
        found = accuracies(features[0], labels, features[1], test_labels, seed)
        yield {"model": name, **found, "training_seconds": seconds}
