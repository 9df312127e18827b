"""The line that says that a code has collapsed: it comes if so, and only then."""

import keras
import numpy as np
import pytest
import zoo

import keras_ae
from keras_ae.callbacks import Diagnosis
from keras_ae.callbacks.diagnosis import find_collapse


def diagnose(model, x, epochs, eagerly=True):
    """Train a model, and return the lines that are printed."""
    model.compile(keras.optimizers.Adam(0.02), **zoo.OP_BY_OP if eagerly else {})
    diagnosis = Diagnosis(x)
    model.fit(x, epochs=epochs, batch_size=64, callbacks=[diagnosis], verbose=0)
    return diagnosis.lines


def small(name, **given):
    return zoo.make(name, **{"network_options": {"units": (16,)}, **given})


def bits():
    """Return 512 binary vectors of 16 numbers, which four bits determine."""
    half = np.random.default_rng(0).integers(0, 2, (512, 4))
    return np.repeat(half, 4, axis=1).astype("float32")


def assert_one_line(lines, *words):
    (line,) = lines
    assert "\n" not in line and line.endswith(".") and ". Try " in line
    for word in words:
        assert word in line, line


def test_a_collapsed_posterior_is_told_once(capsys):
    lines = diagnose(small("VAE", latent_dim=4, kl_weight=1000.0), bits(), epochs=10, eagerly=False)
    words = ("VAE, epoch", "the code has collapsed", "kl_weight below 1000", "LinearWarmUp")
    assert_one_line(lines, *words)
    assert capsys.readouterr().out == lines[0] + "\n"


def test_a_healthy_posterior_is_not_mentioned(capsys):
    assert diagnose(small("VAE", latent_dim=4), bits(), epochs=15, eagerly=False) == []
    assert capsys.readouterr().out == ""


def test_other_weights_are_named():
    lines = diagnose(small("BetaVAE", latent_dim=4, beta=500.0), bits(), epochs=10)
    assert_one_line(lines, "BetaVAE", "beta below 500", "sigma of its posteriors is ")


def test_a_codebook_with_one_used_code():
    model, x = small("VQVAE", num_codes=16, code_length=4, restart_below=0.0), bits()
    model.build((None, 16))
    one = np.ones(model.quantizer.placed_embeddings.shape, "float32") * 1e3
    one[0] = 0.0
    model.quantizer.placed_embeddings.assign(one)
    for variable in model.quantizer.weights:
        if "initialized" in variable.name or "started" in variable.name:
            variable.assign(np.ones(variable.shape))
    model.compile("adam")
    line = find_collapse(model, x, {})
    assert "1 of 16 codes occur, with a perplexity of 1. Try restart_below above 0," in line


@pytest.mark.parametrize("name", ["VQVAE", "FSQVAE", "ResidualVQVAE"])
def test_a_healthy_codebook_is_not_mentioned(name):
    given = {"latent_dim": 4, "code_length": 4}
    assert diagnose(small(name, **given), bits(), epochs=3) == []


def test_dead_features(capsys):
    given = {"latent_dim": 64, "k": 1, "dead_after": 5, "auxiliary_weight": 0.0}
    lines = diagnose(keras_ae.TopKSAE(**given, seed=0), bits(), epochs=4)
    words = ("of 64 features are dead", "dead_after=5", "resample_dead(x)", "k above 1")
    assert_one_line(lines, *words, "auxiliary_weight above 0")


def test_healthy_features_are_not_mentioned():
    model = keras_ae.TopKSAE(8, k=4, dead_after=20, seed=0)
    assert diagnose(model, bits(), epochs=5) == []


def test_a_constant_code_of_a_model_without_posterior():
    model, x = small("AE", latent_dim=3), bits()
    model.build((None, 16))
    assert find_collapse(model, x, {}) is None
    head = model.features_to_code.layers[-1]
    head.kernel.assign(np.zeros(head.kernel.shape))
    head.bias.assign(np.ones(head.bias.shape))
    line = find_collapse(model, x, {})
    assert line.startswith("the code has collapsed: 0 of 3 dimensions are active. Try a lower")
    # Equal examples have equal codes.
    assert find_collapse(model, np.ones((8, 16), "float32"), {}) is None


def test_few_dimensions_are_few():
    model = small("VAE", latent_dim=10)
    model.build((None, 16))
    head = model.features_to_code.layers[-1]
    kernel = np.zeros(head.kernel.shape, "float32")
    kernel[:, 0] = 5.0
    head.kernel.assign(kernel)
    line = find_collapse(model, bits(), {"kl_loss": 3.0})
    assert "the code has nearly collapsed: 1 of 10 dimensions are active" in line
    kernel[:, 1] = np.arange(len(kernel))
    head.kernel.assign(kernel)
    assert find_collapse(model, bits(), {"kl_loss": 3.0}) is None


def test_it_waits_and_speaks_again_only_after_a_recovery(monkeypatch):
    states = iter("xx..xxx.x")
    monkeypatch.setattr("keras_ae.callbacks.diagnosis._STEPS", 0)
    monkeypatch.setattr(
        "keras_ae.callbacks.diagnosis.find_collapse",
        lambda *given: "collapsed" if next(states) == "x" else None,
    )
    lines = diagnose(small("AE"), bits(), epochs=9)
    assert lines == [f"AE, epoch {epoch}: collapsed" for epoch in (2, 6, 9)]


def test_a_code_that_recovers_early_is_not_mentioned(monkeypatch):
    states = iter("xxxx.")
    monkeypatch.setattr(
        "keras_ae.callbacks.diagnosis.find_collapse",
        lambda *given: "collapsed" if next(states) == "x" else None,
    )
    assert diagnose(small("AE"), bits(), epochs=5) == []


@pytest.mark.parametrize("name", zoo.MODELS)
def test_every_model_can_be_diagnosed(name):
    model = zoo.MODELS[name]()
    zoo.build(model)
    found = find_collapse(model, zoo.data_for(name, 16), {})
    assert found is None or ". Try " in found


@pytest.mark.parametrize("name", ["MultimodalVAE", "ConditionalVAE"])
def test_parts_of_examples_are_read(name):
    model = zoo.eager(name)
    diagnosis = Diagnosis(zoo.data_for(name, 16))
    model.fit(zoo.data_for(name), epochs=1, callbacks=[diagnosis], verbose=0)


def test_wrong_arguments():
    with pytest.raises(TypeError, match="Diagnosis: x=None must be an array of some examples"):
        Diagnosis(None)
    with pytest.raises(ValueError, match="patience=0 must be a positive integer"):
        Diagnosis(zoo.data(), patience=0)
