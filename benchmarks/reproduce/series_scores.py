"""How well generated series can be told from real ones, and what can be learned from them.

python -m benchmarks.reproduce series_scores --data series/mnist1d.npz

The two scores are those of Yoon et al., Time-series Generative Adversarial Networks, NeurIPS 2019,
section 5: the accuracy above one half of a recurrent classifier of real and generated series, and
the mean absolute error on real series of a recurrent network that learned from generated ones to
predict the next step.
"""

import time

import keras
import numpy as np

import keras_ae

NUM_SERIES, STEPS, FEATURES = 4_000, 24, 5
BATCH_SIZE = 64
# Five frequencies and five phases determine a series of sines.
MODELS = {name: {"latent_dim": 16} for name in ("TimeVAE", "RecurrentVAE", "RecurrentAE")}


def make_sines(seed):
    """Return sines (series, steps, 5) in [0, 1].

    Frequencies, in radians a step, and phases are uniform from 0 to 0.1. This is what the program
    of Yoon et al. draws, with which others compare, and not what their section 5 says.
    """
    frequency, phase = np.random.default_rng(seed).uniform(0, 0.1, (2, NUM_SERIES, 1, FEATURES))
    steps = np.arange(STEPS)[:, None]
    return (0.5 + 0.5 * np.sin(frequency * steps + phase)).astype("float32")


def read_mnist1d(path):
    """Return the series of MNIST-1D (series, 40, 1), in [0, 1]."""
    archive = np.load(path)
    x = np.concatenate([archive["x"], archive["x_test"]])
    low, high = x.min(), x.max()
    return ((x - low) / (high - low)).astype("float32")[..., None]


def make_recurrent(outputs, activation, loss, sequences, seed):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.layers.GRU(32, return_sequences=True),
            keras.layers.GRU(32, return_sequences=sequences),
            keras.layers.Dense(outputs, activation=activation),
        ]
    )
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    return model


def discriminative_score(real, generated, seed):
    """Return the accuracy above one half on held-out series. It is 0 for perfect series."""
    x = np.concatenate([real, generated])
    y = np.repeat([1.0, 0.0], [len(real), len(generated)])[:, None]
    order = np.random.default_rng(seed).permutation(len(x))
    x, y, cut = x[order], y[order], int(0.8 * len(x))
    model = make_recurrent(1, "sigmoid", "binary_crossentropy", False, seed)
    model.fit(x[:cut], y[:cut], batch_size=BATCH_SIZE, epochs=10, verbose=0)
    accuracy = model.evaluate(x[cut:], y[cut:], verbose=0, return_dict=True)["accuracy"]
    return abs(accuracy - 0.5)


def predictive_score(real, generated, seed):
    """Return the mean absolute error of the next step of real series, learned from generated."""
    model = make_recurrent(real.shape[-1], "linear", "mean_absolute_error", True, seed)
    model.fit(generated[:, :-1], generated[:, 1:], batch_size=BATCH_SIZE, epochs=10, verbose=0)
    found = model.predict(real[:, :-1], verbose=0)
    return float(np.mean(np.abs(found - real[:, 1:])))


def draw_series(model, train, number, seed):
    """Return the means of drawn codes, and what p(x | z) draws for these codes where there is one.

    Series without noise resemble the means, and noisy ones the draws.
    """
    if not hasattr(model, "prior"):
        # An autoencoder has no prior, and draws from a mixture of Gaussians of its codes.
        model.fit_sampler(train, "gaussian_mixture")
        return {"means": np.asarray(model.sample(number, seed=seed, verbose=0))}
    z = np.random.default_rng(seed).standard_normal((number, model.latent_dim), "float32")
    return {
        "means": np.asarray(model.decode(z)),
        "draws": np.asarray(model.decode(z, sample=True, seed=seed)),
    }


def series_scores(epochs=60, seed=0, models=tuple(MODELS), data=None):
    """Discriminative and predictive scores, lower is better, and those of real series."""
    sets = {"sines": make_sines(seed)}
    if data is not None:
        sets["mnist1d"] = read_mnist1d(data)
    for name, x in sets.items():
        x = np.random.default_rng(seed).permutation(x)
        train, test = np.split(x, [len(x) // 2])
        yield {
            "data": name,
            "model": "real series",
            "discriminative_score": discriminative_score(test, train, seed),
            "predictive_score": predictive_score(test, train, seed),
        }
        for kind in models:
            model = getattr(keras_ae, kind)(seed=seed, **MODELS[kind])
            steps = epochs * -(-len(train) // BATCH_SIZE)
            rate = keras.optimizers.schedules.CosineDecay(3e-3, steps)
            model.compile(keras.optimizers.Adam(rate, clipnorm=5.0))
            start = time.perf_counter()
            model.fit(train, batch_size=BATCH_SIZE, epochs=epochs, verbose=0)
            seconds = round(time.perf_counter() - start, 1)
            for series, drawn in draw_series(model, train, len(test), seed).items():
                yield {
                    "data": name,
                    "model": kind,
                    "series": series,
                    "discriminative_score": discriminative_score(test, drawn, seed),
                    "predictive_score": predictive_score(test, drawn, seed),
                    "training_seconds": seconds,
                }
