"""Robust autoencoders: the split of data into what is explained and a sparse rest."""

import keras
import numpy as np
import pytest
import zoo
from keras import ops

import keras_ae
from keras_ae import evaluation

NETWORKS = {"network_options": {"units": (8,), "activation": "tanh"}, "seed": 0}
WIDE = {"network_options": {"units": (32,)}, "seed": 0}
PENALTIES = ["l1", "l21"]


def made(penalty="l1", shape=(6,), **given):
    model = keras_ae.RobustAE(2, penalty=penalty, **{**NETWORKS, "threshold": 0.3, **given})
    model.compile(keras.optimizers.SGD(0.1), **zoo.OP_BY_OP)
    model.build((None, *shape))
    return model


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def shrink(residual, penalty, threshold):
    """Return the proximal operator of threshold times the norm, as its closed form reads."""
    if penalty == "l1":
        return np.sign(residual) * np.maximum(np.abs(residual) - threshold, 0.0)
    norm = np.linalg.norm(residual, axis=1, keepdims=True)
    return residual * (1.0 - threshold / np.maximum(norm, threshold))


def explain(model, x):
    """Return D(E(x)), without any split of x."""
    code = model.features_to_code(model.encoder(x))
    return ops.convert_to_numpy(model.decoder(code))


def split(model, x, penalty, threshold, num_steps):
    """Return S by the paper's step, repeated."""
    s = np.zeros_like(x)
    for _ in range(num_steps):
        s = shrink(x - explain(model, x - s), penalty, threshold)
    return s


# ------------------------------------------------------------------ formulas


@pytest.mark.parametrize("penalty", PENALTIES)
def test_the_proximal_operator_is_its_closed_form_and_the_minimum(penalty):
    model, residual = made(penalty, threshold=0.8), noise(50, 6) * 0.6
    residual[0] = 0.0
    found = zoo.compute(model._shrink, residual)
    np.testing.assert_allclose(found, shrink(residual, penalty, 0.8), atol=1e-6)
    assert 0 < np.mean(np.all(found == 0, axis=1) if penalty == "l21" else found == 0) < 1

    def objective(s):
        norm = np.abs(s).sum(1) if penalty == "l1" else np.linalg.norm(s, axis=1)
        return 0.5 * np.sum((residual - s) ** 2, axis=1) + 0.8 * norm

    for seed in range(20):
        others = found + 0.1 * noise(50, 6, seed=seed)
        assert np.all(objective(found) <= objective(others) + 1e-6)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("num_steps", [1, 3])
def test_losses_codes_and_scores_are_those_of_the_split(penalty, num_steps):
    model, x = made(penalty, num_steps=num_steps), noise(7, 6)
    s = split(model, x, penalty, 0.3, num_steps)
    assert np.any(s != 0)
    copies = explain(model, x - s)
    terms = zoo.compute(lambda x: model.loss_terms(x, x, False), x)
    norm = np.abs(s).sum(1) if penalty == "l1" else np.linalg.norm(s, axis=1)
    wanted = {"reconstruction_loss": np.sum((x - s - copies) ** 2, 1), "sparse_loss": norm}
    assert terms.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(terms[name], value, rtol=1e-4, atol=1e-6)
    assert model.loss_weights() == {"sparse_loss": pytest.approx(0.6)}
    np.testing.assert_allclose(model.reconstruct(x), copies, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model.anomaly_score(x), np.sum((x - copies) ** 2, 1), rtol=1e-4)


def test_a_step_trains_the_autoencoder_on_what_is_explained():
    """The weights move as those of an AE on L, so that no gradient flows through S."""
    model, x = made(num_steps=2), noise(9, 6)
    plain = keras_ae.AE(2, **NETWORKS)
    plain.compile(keras.optimizers.SGD(0.1), **zoo.OP_BY_OP)
    plain.build((None, 6))
    for ours, theirs in zip(model.trainable_variables, plain.trainable_variables, strict=True):
        theirs.assign(ours.numpy())
    explained = x - split(model, x, "l1", 0.3, 2)
    for each, data in ((model, x), (plain, explained)):
        each.fit(data, batch_size=9, verbose=0)
    for ours, theirs in zip(model.trainable_variables, plain.trainable_variables, strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-5)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_many_steps_end_in_a_fixed_point_of_the_paper(penalty):
    x, distances = noise(7, 6), []
    for num_steps in (1, 40):
        model = made(penalty, num_steps=num_steps)
        s = zoo.compute(model._find_rest, x)
        again = shrink(x - explain(model, x - s), penalty, 0.3)
        distances.append(np.abs(again - s).max())
    assert distances[1] < min(0.02 * distances[0], 1e-3), distances


def test_the_default_threshold():
    assert made(threshold=None).loss_weights()["sparse_loss"] == 1.0
    of_rows = made("l21", (4, 4, 1), threshold=None, encoder="mlp", decoder="mlp")
    assert of_rows.loss_weights()["sparse_loss"] == 4.0  # Twice 0.5 times the root of 16.


def test_padding_has_no_rest():
    model = keras_ae.RobustAE(
        2, threshold=0.1, seed=0, network_options={"units": (4,), "mask_value": -9.0}
    )
    x = noise(5, 6, 2)
    x[:, 4:] = -9.0
    model.compile("adam", **zoo.OP_BY_OP)
    model.build((None, 6, 2))
    s = zoo.compute(model._find_rest, x)
    assert np.all(s[:, 4:] == 0)
    assert np.any(s[:, :4] != 0)
    steps = np.sum((x - model.reconstruct(x))[:, :4] ** 2, axis=(1, 2))
    np.testing.assert_allclose(model.anomaly_score(x), steps, rtol=1e-4)


# ------------------------------------------------------------------ what it is for


def contaminated(penalty, number=300, width=12, seed=0):
    """Return points near a plane, some of which are corrupted, and which these are.

    With "l21" a tenth of the examples lie far out on a line through the origin, which an
    autoencoder is tempted to learn. With "l1" a fifth have one wild element.
    """
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.normal(size=(width, 3)))[0].T
    x = rng.normal(size=(number, 2)) @ directions[:2] + 0.05 * rng.normal(size=(number, width))
    is_outlier = np.arange(number) % (10 if penalty == "l21" else 5) == 0
    count = is_outlier.sum()
    if penalty == "l21":
        x[is_outlier] = 4.0 * rng.normal(size=(count, 1)) * directions[2]
    else:
        places = rng.integers(width, size=count)
        x[np.flatnonzero(is_outlier), places] += 4.0 * rng.choice([-1.0, 1.0], count)
    return x.astype("float32"), is_outlier


def trained(model, x):
    model.compile(keras.optimizers.Adam(0.01))
    model.fit(x, epochs=40, batch_size=50, verbose=0)
    return model


def squared_errors(model, x):
    return np.sum((model.reconstruct(x) - x) ** 2, axis=1)


def test_outliers_in_the_training_data_are_found_better_than_by_an_autoencoder():
    x, is_outlier = contaminated("l21")
    plain = trained(keras_ae.AE(2, **WIDE), x)
    robust = trained(keras_ae.RobustAE(2, penalty="l21", threshold=0.3, **WIDE), x)
    before = evaluation.anomaly_scores(is_outlier, squared_errors(plain, x))
    after = evaluation.anomaly_scores(is_outlier, robust.anomaly_score(x))
    assert after["pr_auc"] > before["pr_auc"] + 0.2, (before, after)
    assert after["roc_auc"] > before["roc_auc"], (before, after)


def test_wild_elements_spoil_clean_examples_less_than_in_an_autoencoder():
    x, is_outlier = contaminated("l1")
    plain = trained(keras_ae.AE(2, **WIDE), x)
    robust = trained(keras_ae.RobustAE(2, threshold=0.3, **WIDE), x)
    clean = x[~is_outlier]
    before, after = (squared_errors(model, clean).mean() for model in (plain, robust))
    assert after < 0.7 * before, (before, after)


# ------------------------------------------------------------------ files and refusals


def test_a_saved_model_gives_the_same_scores(tmp_path):
    model, x = made("l21", num_steps=3, threshold=0.4), noise(9, 6)
    model.fit(x, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = keras_ae.load(tmp_path / "model.keras")
    assert (loaded.penalty, loaded.threshold, loaded.num_steps) == ("l21", 0.4, 3)
    np.testing.assert_array_equal(model.anomaly_score(x), loaded.anomaly_score(x))


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="threshold=0 must be a positive number"):
        keras_ae.RobustAE(2, threshold=0)
    with pytest.raises(ValueError, match='penalty=\'l2\' must be "l1" or "l21"'):
        keras_ae.RobustAE(2, penalty="l2")
    with pytest.raises(ValueError, match="num_steps=0 must be a positive integer"):
        keras_ae.RobustAE(2, num_steps=0)
    with pytest.raises(TypeError, match="reconstruction_loss"):
        keras_ae.RobustAE(2, reconstruction_loss="mae")
    with pytest.raises(ValueError, match=r"targets have shape \(5,\)"):
        keras_ae.RobustAE(2).build((None, 6), (None, 5))
