"""Nats per step of piano rolls, with and without latent variables.

python -m benchmarks.reproduce piano_rolls --data series/ --epochs 200
"""

import pathlib
import time

import keras
import numpy as np
import scipy.io

import keras_ae
from keras_ae import schedules

FILES = ("JSB_Chorales", "Nottingham")
KEYS, MASK, LONGEST, BATCH_SIZE = 88, -1.0, 200, 20
MODELS = {
    "GRU": {},
    "VRNN": {"latent_dim": 16, "hidden_units": 128},
    "DeepMarkovModel": {"latent_dim": 32, "hidden_units": 128},
}
SAMPLES = 100  # Importance samples of a sequence.


def read(folder, name):
    """Return the three splits as padded arrays (sequences, steps, 88).

    Sequences of more than 200 steps are cut into pieces of 200 and a rest.
    """
    found = scipy.io.loadmat(pathlib.Path(folder) / f"{name}.mat")
    splits = []
    for split in ("traindata", "validdata", "testdata"):
        pieces = [
            tune[start : start + LONGEST]
            for tune in found[split][0]
            for start in range(0, len(tune), LONGEST)
        ]
        splits.append(pieces)
    steps = max(len(piece) for pieces in splits for piece in pieces)
    for pieces in splits:
        x = np.full((len(pieces), steps, KEYS), MASK, "float32")
        for row, piece in zip(x, pieces, strict=True):
            row[: len(piece)] = piece
        yield x


def count_steps(x):
    return int((x[:, :, 0] != MASK).sum())


def make_recurrent(seed, units=128):
    """Return a GRU that predicts each step from those before it."""
    keras.utils.set_random_seed(seed)

    def loss(x, logits):
        given = keras.ops.cast(x[..., :1] != MASK, "float32")
        nats = keras.ops.softplus(logits) - keras.ops.maximum(x, 0.0) * logits
        return keras.ops.sum(given * nats, axis=(1, 2))

    model = keras.Sequential(
        [keras.Input((None, KEYS)), keras.layers.GRU(units, return_sequences=True)]
        + [keras.layers.Dense(KEYS)]
    )
    model.compile(keras.optimizers.Adam(3e-3, clipnorm=10.0), loss)
    return model


def before(x):
    """Shift sequences by a step, so that each step stands where the next one is predicted."""
    return np.concatenate([np.zeros_like(x[:, :1]), np.maximum(x[:, :-1], 0.0)], axis=1)


def train_recurrent(seed, splits, epochs):
    model = make_recurrent(seed)
    train, valid, test = ((before(x), x) for x in splits)
    stop = keras.callbacks.EarlyStopping(patience=20, restore_best_weights=True)
    options = {"batch_size": BATCH_SIZE, "verbose": 0}
    logs = model.fit(
        *train, epochs=epochs, validation_data=valid, callbacks=[stop], **options
    ).history
    total = model.evaluate(*test, **options) * len(splits[2])
    return {"nats_per_step": total / count_steps(splits[2]), "epochs": len(logs["loss"])}


def train_latent(name, seed, splits, epochs):
    steps = epochs * -(-len(splits[0]) // BATCH_SIZE)
    model = getattr(keras_ae, name)(
        mask_value=MASK, kl_weight=schedules.LinearWarmUp(steps // 10), seed=seed, **MODELS[name]
    )
    rate = keras.optimizers.schedules.CosineDecay(3e-3, steps)
    model.compile(keras.optimizers.Adam(rate, clipnorm=10.0))
    train, valid, test = splits
    best = keras.callbacks.EarlyStopping(
        patience=epochs, restore_best_weights=True, start_from_epoch=epochs // 5
    )
    model.fit(
        train,
        epochs=epochs,
        batch_size=BATCH_SIZE,
        validation_data=valid,
        callbacks=[best],
        verbose=0,
    )
    logs = model.evaluate(test, batch_size=BATCH_SIZE, verbose=0, return_dict=True)
    likelihood = model.log_likelihood(test, num_samples=SAMPLES, seed=seed, verbose=0)
    number = count_steps(test)
    return {
        "negative_bound_per_step": logs["loss"] * len(test) / number,
        "kl_per_step": logs["kl_loss"] * len(test) / number,
        "nats_per_step": -float(likelihood.sum()) / number,
        "epochs": epochs,
    }


def piano_rolls(epochs=200, seed=0, models=tuple(MODELS), data=None):
    """Negative bound and importance-weighted likelihood per step, and a GRU without latents."""
    if data is None:
        raise SystemExit("piano_rolls needs --data FOLDER, with the .mat files of piano rolls.")
    for name in FILES:
        splits = list(read(data, name))
        for model in models:
            start = time.perf_counter()
            train = train_recurrent if model == "GRU" else lambda *a, m=model: train_latent(m, *a)
            found = train(seed, splits, epochs)
            seconds = round(time.perf_counter() - start, 1)
            yield {"data": name, "model": model, **MODELS[model], **found, "seconds": seconds}
