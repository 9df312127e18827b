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

GIVEN = {
    "latent_dim": 16,
    "modalities": {"image": "bernoulli", "label": "categorical"},
    "network_options": {"units": (512, 256)},
}
# The label's weight in the two halves of training. With a large weight from the start, labels get
# dimensions of their own, and a picture's code does not tell its label. With a weight of 1 to the
# end, a label's code is hardly more certain than the prior.
LABEL_WEIGHTS = (1.0, 20.0)
# Name -> what differs: the bound of both modalities alone, or also those of each one.
MODELS = {"MultimodalVAE": {}, "without subsets": {"num_subsets": None}}


def multimodal(epochs=30, seed=0, models=tuple(MODELS)):
    """MNIST with labels: each modality from the other, with and without the bounds of subsets.

    A label is right if it is the picture's. A picture of a label is right if a classifier, which is
    trained here and sees no other model, finds this label. Codes of labels are drawn from their
    posterior. The bounds are those of pictures, binarized once, with their labels, and of each
    alone.
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
        for weight, rounds in zip(LABEL_WEIGHTS, (epochs // 2, epochs - epochs // 2), strict=True):
            model.modality_weights["label"] = weight
            model.fit(x, batch_size=BATCH_SIZE, epochs=rounds, verbose=0)
        seconds = round(time.perf_counter() - start, 1)
        both, of_pictures, of_labels = (
            negative_bound(model, part)
            for part in (y, {"image": y["image"]}, {"label": y["label"]})
        )
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
            "negative_elbo": both,
            "negative_elbo_of_pictures": of_pictures,
            "negative_elbo_of_labels": of_labels,
            "judge_percent": 100.0 * float(np.mean(right)),
            "training_seconds": seconds,
        }


def negative_bound(model, x):
    logs = model.evaluate(x, batch_size=500, verbose=0, return_dict=True)
    return logs["reconstruction_loss"] + logs["kl_loss"]


def binarized(x, seed):
    return (np.random.default_rng(seed).random(x.shape, "float32") < x).astype("float32")
