"""USAD: its losses, which network minimizes which of them, and its score."""

import keras
import numpy as np
import pytest
import zoo
from keras import ops

import keras_ae
from keras_ae import datasets, evaluation

NETWORKS = {"network_options": {"units": (8,), "activation": "tanh"}, "seed": 0}
PAPER = keras.optimizers.schedules.InverseTimeDecay(1.0, 5, 1.0, staircase=True)


def made(shape=(6,), rate=0.1, **given):
    model = keras_ae.USAD(2, **{**NETWORKS, **given})
    model.compile(keras.optimizers.SGD(rate), **zoo.OP_BY_OP)
    model.build((None, *shape))
    return model


def noise(*shape, seed=0):
    return np.random.default_rng(seed).random(shape).astype("float32")


def parts(model, x):
    """Return the squared errors of A(x), B(x) and B(A(x)), computed network by network."""

    def code(x):
        return model.features_to_code(model.encoder(x))

    def error(output):
        return np.sum((x - ops.convert_to_numpy(output)) ** 2, axis=1)

    copy = ops.sigmoid(model.decoder(code(x)))
    first, second = error(copy), error(ops.sigmoid(model.second_decoder(code(x))))
    return first, second, error(ops.sigmoid(model.second_decoder(code(copy))))


@pytest.mark.parametrize("epoch", [1, 2, 4])
def test_losses_are_those_of_the_paper_in_its_epochs(epoch):
    model, x = made(reconstruction_share=PAPER), noise(7, 6)
    model._step.assign(5 * (epoch - 1) + 2)  # An epoch of this schedule has five steps.
    first, second, twice = parts(model, x)
    found = zoo.compute(lambda x: model.loss_terms(x, x, False), x)
    wanted = {
        "reconstruction_loss": first + second,
        "decoder_loss": first / epoch + (1 - 1 / epoch) * twice,
        "second_decoder_loss": second / epoch - (1 - 1 / epoch) * twice,
    }
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-6)
    # The encoder's loss is the sum of both decoders' losses.
    factor = float(ops.convert_to_numpy(model.loss_weights()["reconstruction_loss"]))
    both = found["decoder_loss"] + found["second_decoder_loss"]
    np.testing.assert_allclose(factor * found["reconstruction_loss"], both, rtol=1e-4, atol=1e-6)


def test_the_default_share_falls_from_1_and_stays_above_a_half():
    model = made()
    shares = []
    for step in (0, 500, 1000, 10**6):
        model._step.assign(step)
        shares.append(float(ops.convert_to_numpy(model._share())))
    np.testing.assert_allclose(shares, [1.0, 0.8, 0.6, 0.6], rtol=1e-6)


def test_each_decoder_descends_its_own_loss():
    """A small step of one network alone lowers the loss that it minimizes, as its slope says."""
    x = noise(16, 6)
    for group, name in enumerate(["reconstruction_loss", "decoder_loss", "second_decoder_loss"]):
        model = made(reconstruction_share=0.6, rate=1e-2)
        groups = [
            [*model.encoder.trainable_variables, *model.features_to_code.trainable_variables],
            model.decoder.trainable_variables,
            model.second_decoder.trainable_variables,
        ]
        start = [v.numpy() for v in model.trainable_variables]
        before = model.evaluate(x, verbose=0, return_dict=True)[name]
        model.fit(x, batch_size=16, verbose=0)
        moved = {id(v) for v in groups[group]}
        step = 0.0
        for variable, value in zip(model.trainable_variables, start, strict=True):
            if id(variable) in moved:
                step += float(np.sum((variable.numpy() - value) ** 2))
            else:
                variable.assign(value)
        after = model.evaluate(x, verbose=0, return_dict=True)[name]
        # The step is minus the rate times the slope of the loss with its factor in the sum.
        slope = step / 1e-2 / (0.6 if group == 0 else 1.0)
        assert step > 0
        assert after - before == pytest.approx(-slope, rel=0.1)


def test_scores_mix_the_two_errors():
    x = noise(7, 6)
    for alpha in (0.0, 0.3, 1.0):
        model = made(alpha=alpha)
        first, _, twice = parts(model, x)
        wanted = alpha * first + (1 - alpha) * twice
        np.testing.assert_allclose(model.anomaly_score(x), wanted, rtol=1e-4)
    model.alpha = 0.0  # The share may be chosen after training.
    np.testing.assert_allclose(model.anomaly_score(x), twice, rtol=1e-4)
    # What is scored may lie outside of the range of the training data.
    assert np.all(model.anomaly_score(x + 5) > model.anomaly_score(x))


def test_padding_is_not_scored():
    """Padding stays padding when the copy is encoded, so that steps after the end do not count."""
    options = {"network_options": {"units": (4,), "mask_value": -1.0}, "seed": 0}
    model = keras_ae.USAD(2, alpha=0.0, **options)
    model.compile("adam", **zoo.OP_BY_OP)
    x = noise(5, 6, 2)
    x[:, 4:] = -1.0
    model.fit(x, verbose=0)
    copy = model.reconstruct(x)
    copy[:, 4:] = -1.0
    twice = ops.convert_to_numpy(model._restore(ops.convert_to_tensor(model.encode(copy))))
    wanted = np.sum((x - twice)[:, :4] ** 2, axis=(1, 2))
    np.testing.assert_allclose(model.anomaly_score(x), wanted, rtol=1e-4)


def test_own_decoders_return_logits_and_are_copied():
    decoder = keras.Sequential([keras.Input((2,)), keras.layers.Dense(6)])
    model = made(decoder=decoder)
    assert model.second_decoder is not decoder
    kernels = [network.layers[-1].kernel.numpy() for network in (decoder, model.second_decoder)]
    assert not np.allclose(*kernels)
    bounded = keras.Sequential([keras.Input((2,)), keras.layers.Dense(6, "sigmoid")])
    with pytest.raises(ValueError, match="the sigmoid takes logits"):
        made(decoder=bounded)


# ------------------------------------------------------------------ what it is for


def waves(steps, seed, anomalies=()):
    """Return two waves with noise, scaled to about 0 to 1, that stop at some stretches."""
    rng, time = np.random.default_rng(seed), np.arange(steps)
    both = np.stack([np.sin(2 * np.pi * time / 25), np.cos(2 * np.pi * time / 40)], axis=1)
    labels = np.zeros(steps, int)
    for start, stop in anomalies:
        both[start:stop], labels[start:stop] = both[start], 1
    return (0.5 + 0.4 * both + 0.02 * rng.normal(size=both.shape)).astype("float32"), labels


def test_stretches_at_which_a_series_stops_are_found():
    train, _ = waves(800, 0)
    test, labels = waves(800, 1, [(100, 120), (310, 340), (600, 615)])
    model = keras_ae.USAD(4, encoder="mlp", decoder="mlp", network_options={"units": (32,)}, seed=0)
    model.compile(keras.optimizers.Adam(0.005))
    model.fit(datasets.cut_windows(train, 12), epochs=15, batch_size=50, verbose=0)
    windows = datasets.cut_windows(test, 12)
    scores = datasets.score_steps(model.anomaly_score(windows), 800, 12)
    found = evaluation.anomaly_scores(labels, scores)
    assert found["roc_auc"] > 0.9, found
    assert evaluation.vus_pr(labels, scores, 25) > 0.5
    threshold = np.quantile(model.anomaly_score(datasets.cut_windows(train, 12)), 0.999)
    assert evaluation.event_f1(labels, scores > threshold)["recall"] == 1.0


# ------------------------------------------------------------------ files and refusals


def test_a_saved_model_gives_the_same_scores(tmp_path):
    model, x = made(reconstruction_share=PAPER, alpha=0.2), noise(9, 6)
    model.fit(x, epochs=7, batch_size=9, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras_ae.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(model.anomaly_score(x), loaded.anomaly_score(x))
    shares = [float(ops.convert_to_numpy(each._share())) for each in (model, loaded)]
    assert shares == [0.5, 0.5]


def test_wrong_arguments_are_refused():
    for name in ("alpha", "reconstruction_share"):
        with pytest.raises(ValueError, match=f"{name}=1.5 must be a number from 0 to 1"):
            keras_ae.USAD(2, **{name: 1.5})
    with pytest.raises(ValueError, match="reconstruction_share='1/n' must be a number"):
        keras_ae.USAD(2, reconstruction_share="1/n")
    for name in ("reconstruction_loss", "standardize"):
        with pytest.raises(TypeError, match=name):
            keras_ae.USAD(2, **{name: True})
    with pytest.raises(ValueError, match=r"targets have shape \(5,\)"):
        keras_ae.USAD(2).build((None, 6), (None, 5))
    with pytest.raises(ValueError, match="0 to 1|between 0 and 1"):
        made().fit(3 * noise(8, 6), verbose=0)
