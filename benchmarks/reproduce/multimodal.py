"""Pictures and labels of MNIST, each from the other, by a MultimodalVAE.

TFDS_DATA_DIR=... python -m benchmarks.reproduce multimodal
"""

import time

import keras
import numpy as np

import keras_ae
from benchmarks.reproduce.common import BATCH_SIZE
from benchmarks.reproduce.samples import classifier_features
from keras_ae import datasets

# The label's weight and the dimensions of the code are those of the code of arXiv:1802.05335.
GIVEN = {
    "latent_dim": 64,
    "modalities": {"image": "bernoulli", "label": "categorical"},
    "modality_weights": {"label": 10.0},
    "network_options": {"units": (512, 256)},
}
# Name -> what differs: the bound of both modalities alone, or also those of each one.
MODELS = {"MultimodalVAE": {}, "without subsets": {"num_subsets": None}}


def multimodal(epochs=30, seed=0, models=tuple(MODELS)):
    """MNIST with labels: each modality from the other, with and without the bounds of subsets.

    A label is right if it is the picture's. A picture of a label is right if a classifier, which is
    trained here and sees no other model, finds this label. Codes of labels are drawn from their
    posterior. The bound is that of pictures, binarized once, with their labels.
    """
    (train, labels), (test, test_labels) = (
        datasets.as_array("mnist", split, labels=True) for split in ("train", "test")
    )
    judge = classifier_features(train, labels, seed, ["logits"])
    x, y = (
        {"image": binarized(pictures, seed).reshape(-1, 784), "label": np.eye(10)[numbers]}
        for pictures, numbers in ((train, labels), (test, test_labels))
    )
    wanted = np.repeat(np.arange(10), 100)
    for name in models:
        model = keras_ae.MultimodalVAE(seed=seed, **GIVEN | MODELS[name])
        steps = epochs * -(-len(train) // BATCH_SIZE)
        model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, steps)))
        start = time.perf_counter()
        model.fit(x, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
        seconds = round(time.perf_counter() - start, 1)
        logs = model.evaluate(y, batch_size=500, verbose=0, return_dict=True)
        found = np.argmax(model.reconstruct({"image": y["image"]}, to="label"), axis=1)
        z = model.encode({"label": np.eye(10)[wanted]}, sample=True, seed=seed)
        pictures = model.decode(z)["image"].reshape(-1, 28, 28, 1)
        judged = np.argmax(judge.predict(pictures, verbose=0), axis=1)
        right = np.argmax(judge.predict(test, verbose=0), axis=1) == test_labels
        yield {
            "model": name,
            "label_of_picture_percent": 100.0 * float(np.mean(found == test_labels)),
            "picture_of_label_percent": 100.0 * float(np.mean(judged == wanted)),
            "limits": (95.0, 90.0),
            "negative_elbo": logs["reconstruction_loss"] + logs["kl_loss"],
            "kl": logs["kl_loss"],
            "judge_percent": 100.0 * float(np.mean(right)),
            "training_seconds": seconds,
        }


def binarized(x, seed):
    return (np.random.default_rng(seed).random(x.shape, "float32") < x).astype("float32")
