"""Perplexity and active units of sentence VAEs, with and without each cure of collapse.

python -m benchmarks.reproduce sentences --data text/

The folder has names.txt.gz and tinyshakespeare.txt.gz.
"""

import gzip
import pathlib
import time

import keras
import numpy as np

import keras_ae
from keras_ae import evaluation

NUM_TRAIN, NUM_TEST, BATCH_SIZE, RATE = 16_000, 1_000, 128, 3e-3
SAMPLES = 50  # Importance samples of a sentence.
VOCABULARY = 2_000
MODEL = {"latent_dim": 8, "embedding_dim": 32, "hidden_units": 128, "mask_token": 0}
# The defaults are several cures together, and the other entries have one cure each. The weight of
# the divergence is 1 throughout unless its warm-up is among them.
CURES = {
    "none": {"word_dropout": 0.0, "kl_weight": 1.0},
    "warm_up": {"word_dropout": 0.0},
    "word_dropout": {"word_dropout": 0.25, "kl_weight": 1.0},
    "free_bits": {"word_dropout": 0.0, "kl_weight": 1.0, "free_bits": 0.5},
    "aggressive_encoder": {"word_dropout": 0.0, "kl_weight": 1.0, "encoder_steps": 4},
    "defaults": {},
}


def read(folder, name):
    """Return training and test sentences of tokens, which end with a token, and its number."""
    with gzip.open(pathlib.Path(folder) / f"{name}.txt.gz", "rt", encoding="utf-8") as file:
        lines = sorted({line.strip().lower() for line in file if line.strip()})
    if name == "names":
        lines = [" ".join(line) for line in lines]  # The letters are the words.
    else:
        lines = [line for line in lines if not line.endswith(":")]  # These lines name a speaker.
    lines = np.random.default_rng(0).permutation(lines)[: NUM_TRAIN + NUM_TEST]
    make_tokens = keras.layers.TextVectorization(VOCABULARY, output_sequence_length=16)
    make_tokens.adapt([f"{line} endtoken" for line in lines[NUM_TEST:]])
    words = make_tokens.get_vocabulary()
    x = keras.ops.convert_to_numpy(make_tokens([f"{line} endtoken" for line in lines]))
    return x[NUM_TEST:], x[:NUM_TEST], words


def train_recurrent(x, test, size, epochs, seed):
    """Return the perplexity of an LSTM that has no code."""
    keras.utils.set_random_seed(seed)

    def nats(x, logits):
        found = keras.losses.sparse_categorical_crossentropy(x, logits, from_logits=True)
        return keras.ops.sum(found * keras.ops.cast(x > 0, found.dtype), axis=-1)

    model = keras.Sequential(
        [
            keras.layers.Embedding(size + 1, MODEL["embedding_dim"]),
            keras.layers.LSTM(MODEL["hidden_units"], return_sequences=True),
            keras.layers.Dense(size),
        ]
    )
    steps = epochs * -(-len(x) // BATCH_SIZE)
    rate = keras.optimizers.schedules.CosineDecay(RATE, steps)
    model.compile(keras.optimizers.Adam(rate, clipnorm=5.0), nats)

    def before(tokens):
        return np.concatenate([np.full_like(tokens[:, :1], size), tokens[:, :-1]], axis=1)

    options = {"batch_size": BATCH_SIZE, "verbose": 0}
    model.fit(before(x), x, epochs=epochs, **options)
    total = model.evaluate(before(test), test, **options) * len(test)
    return float(np.exp(total / np.sum(test > 0)))


def sentences(epochs=20, seed=0, models=tuple(CURES), data=None):
    """Perplexity by importance sampling, divergence, active units and samples of each cure."""
    if data is None:
        raise SystemExit("sentences needs --data FOLDER with names.txt.gz and tinyshakespeare.")
    for name in ("names", "tinyshakespeare"):
        train, test, words = read(data, name)
        recurrent = train_recurrent(train, test, len(words), epochs, seed)
        yield {"data": name, "model": "LSTM", "vocabulary": len(words), "perplexity": recurrent}
        steps, end = epochs * -(-len(train) // BATCH_SIZE), words.index("endtoken")
        for cure in models:
            options = {"kl_weight": keras_ae.schedules.LinearWarmUp(steps // 2)} | CURES[cure]
            if "encoder_steps" in options:
                options["encoder_steps_until"] = steps // 2
            model = keras_ae.SentenceVAE(
                vocabulary_size=len(words),
                end_token=end,
                seed=seed,
                **MODEL,
                **options,
            )
            rate = keras.optimizers.schedules.CosineDecay(RATE, steps)
            model.compile(keras.optimizers.Adam(rate, clipnorm=5.0))
            start = time.perf_counter()
            model.fit(train, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
            seconds = round(time.perf_counter() - start, 1)
            logs = model.evaluate(test, verbose=0, return_dict=True)
            drawn = model.sample(4, seed=0, verbose=0).astype(int)
            blank = "" if name == "names" else " "
            yield {
                "data": name,
                "model": cure,
                "perplexity": model.perplexity(test, SAMPLES, seed=seed, verbose=0),
                "negative_bound": logs["reconstruction_loss"] + logs["kl_loss"],
                "kl": logs["kl_loss"],
                "active_units": evaluation.active_units(model.encode(test, verbose=0)),
                "samples": [
                    blank.join(words[t] for t in row if t not in (0, end)) for row in drawn
                ],
                "training_seconds": seconds,
            }
