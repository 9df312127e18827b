"""What the models of recommendations compute, against closed forms and NumPy."""

import keras
import numpy as np
import pytest
import zoo
from keras import ops
from scipy import sparse, stats

import keras_ae
from keras_ae import evaluation

NAMES = ["MultinomialVAE", "MultinomialDAE", "RecVAE"]
every_name = pytest.mark.parametrize("name", NAMES)
ITEMS = 24


def taste(users=240, seed=0):
    """Return items of users who like one of three groups of items, mostly."""
    rng = np.random.default_rng(seed)
    likes = np.repeat(np.arange(ITEMS) // 8 == rng.integers(0, 3, (users, 1)), 1, axis=1)
    x = rng.random((users, ITEMS)) < np.where(likes, 0.6, 0.05)
    x[:, 0] = True
    return x.astype("float32")


def made(name, units=(16,), **given):
    model = getattr(keras_ae, name)(
        latent_dim=4, network_options={"units": units, "activation": "tanh"}, seed=0, **given
    )
    model.compile(keras.optimizers.Adam(0.02), **zoo.OP_BY_OP)
    return model


def numpy(value):
    return ops.convert_to_numpy(ops.convert_to_tensor(value))


@every_name
def test_recommendations_find_hidden_items(name):
    x = sparse.csr_matrix(taste(600))
    seen, hidden = keras_ae.datasets.hide_interactions(x[400:], share=0.4)
    model = made(name)
    model.compile(keras.optimizers.Adam(0.02))
    model.fit(x[:400], batch_size=50, epochs=25, verbose=0)
    ranked = model.recommend(seen, k=5)
    assert ranked.shape == (200, 5) and ranked.dtype == "int32"
    recall = evaluation.recall_at_k(ranked, hidden, k=5).mean()
    popular = np.argsort(-np.asarray(x[:400].sum(axis=0)).ravel())
    rows = np.array([[i for i in popular if not row[i]][:5] for row in seen.toarray()])
    assert recall > 0.7 > 0.5 > evaluation.recall_at_k(rows, hidden, k=5).mean()


@every_name
def test_recommendations_are_the_best_items_that_are_new(name):
    x, model = taste(), made(name)
    model.fit(x, batch_size=60, verbose=0)
    items, scores = model.recommend(x, k=6, scores=True, batch_size=37)
    logits = numpy(model.decoder(ops.convert_to_tensor(model.encode(x))))
    logs = logits - np.log(np.sum(np.exp(logits), axis=1, keepdims=True))
    logs[x > 0] = -np.inf
    np.testing.assert_array_equal(items, np.argsort(-logs, axis=1)[:, :6])
    np.testing.assert_allclose(scores, np.take_along_axis(logs, items, 1), rtol=1e-4)
    for form in (sparse.coo_matrix(x), ops.convert_to_tensor(x), x.tolist()):
        np.testing.assert_array_equal(model.recommend(form, k=6), items)
    full, row = int(x.sum(axis=1).max()), int(x.sum(axis=1).argmax())
    for form in (x, sparse.csr_matrix(x)):
        with pytest.raises(ValueError, match=f"k=20, but the user of row {row} has {full} of the"):
            model.recommend(form, k=20)
    with pytest.raises(ValueError, match=r"not recommended again\. Leave this user out"):
        model.recommend(np.ones((1, ITEMS)), k=1)
    with pytest.raises(ValueError, match="k=0"):
        model.recommend(x, k=0)


@every_name
def test_the_encoder_reads_rows_of_unit_length(name):
    x, model = taste(), made(name)
    model.fit(x, verbose=0)
    np.testing.assert_allclose(model.encode(7 * x), model.encode(x), atol=1e-5)
    assert np.all(np.isfinite(model.encode(0 * x)))


@every_name
def test_training_drops_items_and_keeps_sums(name):
    model = made(name, dropout=0.25)
    x = np.ones((2000, ITEMS), "float32")
    model.build((None, ITEMS))
    found = numpy(model._prepare(ops.convert_to_tensor(x), True))
    assert np.mean(found == 0) == pytest.approx(0.25, abs=0.01)
    np.testing.assert_allclose(np.unique(found), [0, 1 / np.sqrt(ITEMS) / 0.75], rtol=1e-5)
    found = numpy(model._prepare(ops.convert_to_tensor(x), False))
    np.testing.assert_allclose(found, 1 / np.sqrt(ITEMS), rtol=1e-5)
    model.dropout = 0.9
    found = numpy(model._prepare(ops.convert_to_tensor(x), True))
    assert np.mean(found == 0) == pytest.approx(0.9, abs=0.01)


def test_the_loss_of_the_dae_is_minus_the_multinomial_likelihood():
    x, model = taste(20), made("MultinomialDAE")
    model.build((None, ITEMS))
    logits = numpy(model.decoder(ops.convert_to_tensor(model.encode(x))))
    p = np.exp(logits.astype("float64"))
    p /= p.sum(axis=1, keepdims=True)
    wanted = [-stats.multinomial.logpmf(row, row.sum(), q) for row, q in zip(x, p, strict=True)]
    found = model.evaluate(x, batch_size=20, verbose=0, return_dict=True)["loss"]
    assert found == pytest.approx(np.mean(wanted), rel=1e-4)
    assert np.abs(model.encode(100 * x)).max() < 1.0


def test_the_weight_of_the_divergence_rises_to_a_fifth():
    model = keras_ae.MultinomialVAE(latent_dim=2)
    assert model.arguments["kl_weight"] is None
    weights = [float(numpy(model.kl_weight(step))) for step in (0, 20_000, 40_000, 10**6)]
    np.testing.assert_allclose(weights, [0.0, 0.1, 0.2, 0.2], rtol=1e-6)
    for name, units in {"MultinomialVAE": [600], "MultinomialDAE": []}.items():
        model = getattr(keras_ae, name)()
        model.build((None, 30))
        dense = [v.shape[1] for v in model.encoder.trainable_variables if v.name == "kernel"]
        assert dense == units and model.code_shape == (200,)


# ------------------------------------------------------------------ RecVAE


def test_the_divergence_of_rec_vae_is_that_from_the_mixture():
    x, model = taste(12), made("RecVAE", units=(8, 8), dropout=0.0)
    model.fit(x, batch_size=12, epochs=1, shuffle=False, verbose=0)
    # The former posterior is that of before the only step of the epoch.
    former = numpy(model._former_posterior(ops.convert_to_tensor(x)).mean)
    assert np.abs(former - model.encode(x)).max() > 1e-3
    q = model.posterior(ops.convert_to_tensor(x))
    mean, deviation = numpy(q.mean), np.exp(0.5 * numpy(q.log_variance))
    z = mean + deviation * np.random.default_rng(0).normal(size=mean.shape)
    old = model._former_posterior(ops.convert_to_tensor(x))
    parts = [
        3 / 20 * stats.norm.pdf(z),
        3 / 4 * stats.norm.pdf(z, numpy(old.mean), np.exp(0.5 * numpy(old.log_variance))),
        1 / 10 * stats.norm.pdf(z, 0, np.exp(5.0)),
    ]
    tensors = [ops.convert_to_tensor(v.astype("float32")) for v in (x, z)]
    found = numpy(model._log_composite_prior(*tensors))
    np.testing.assert_allclose(found, np.log(sum(parts)).sum(axis=1), rtol=1e-4)


def test_the_former_posterior_is_that_of_the_beginning_of_the_epoch():
    x, model = taste(40), made("RecVAE", units=(8,), dropout=0.0)
    codes, formers = [], []

    class Watch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            codes.append(numpy(model.posterior(ops.convert_to_tensor(x)).mean))

        def on_epoch_end(self, epoch, logs=None):
            formers.append(numpy(model._former_posterior(ops.convert_to_tensor(x)).mean))

    model.fit(x, batch_size=10, epochs=3, verbose=0, callbacks=[Watch()])
    for code, former in zip(codes, formers, strict=True):
        np.testing.assert_allclose(former, code, atol=1e-5)
    assert np.abs(codes[1] - codes[0]).max() > 1e-3


def test_the_former_posterior_is_renewed_when_another_fit_begins():
    x, model = taste(40), made("RecVAE", units=(8,), dropout=0.0)
    model.fit(x, batch_size=10, epochs=1, verbose=0)  # The epoch has 4 steps, and the next one 10.
    codes = model.encode(x)
    model.fit(x, batch_size=4, epochs=1, verbose=0)
    former = numpy(model._former_posterior(ops.convert_to_tensor(x)).mean)
    np.testing.assert_allclose(former, codes, atol=1e-5)


def test_the_divergence_of_rec_vae_counts_once_for_each_item():
    x = np.zeros((32, ITEMS), "float32")
    x[:, :3] = 1
    losses = []
    for y in (x, 2 * x):  # Both rows have the same posterior.
        model = made("RecVAE", units=(8,))
        model.build((None, ITEMS))
        losses.append(model.evaluate(y, batch_size=32, verbose=0, return_dict=True))
    assert losses[1]["kl_loss"] == pytest.approx(2 * losses[0]["kl_loss"], rel=1e-4)
    assert float(numpy(model.loss_weights()["kl_loss"])) == pytest.approx(0.005)
    assert losses[0]["decoder_loss"] == pytest.approx(losses[0]["reconstruction_loss"], rel=1e-5)


def test_the_encoder_of_rec_vae_is_dense_with_normalization():
    x, model = taste(5), made("RecVAE", units=(8, 8, 8))
    model.build((None, ITEMS))
    for variable in model.encoder.variables:
        variable.assign(np.random.default_rng(0).normal(size=variable.shape))
    weights = [numpy(v) for v in model.encoder.variables]
    rows = x / np.linalg.norm(x, axis=1, keepdims=True)
    h, before = rows, []
    for number in range(3):
        kernel, bias, gain, offset = weights[4 * number : 4 * number + 4]
        h = np.tanh(h @ kernel + bias + sum(before))
        h = (h - h.mean(axis=1, keepdims=True)) / np.sqrt(h.var(axis=1, keepdims=True) + 0.1)
        h = h * gain + offset
        before.append(h)
    found = numpy(model.encoder(ops.convert_to_tensor(rows)))
    np.testing.assert_allclose(found, h, rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match=r"units=\(8, 4\) must be one or more equal sizes"):
        made("RecVAE", units=(8, 4)).build((None, ITEMS))
