"""The linear autoencoder against scikit-learn's PCA and the closed form of its weight decay."""

import keras
import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import zoo
from keras import ops
from sklearn.decomposition import PCA

import keras_ae

pytestmark = pytest.mark.formula

DEVIATIONS = [3.0, 2.0, 1.2, 0.5, 0.4, 0.3]
# How data is moved and scaled -> a function of data of deviations `DEVIATIONS`.
DATA = {
    "as it is": lambda x: x,
    "far from zero": lambda x: x + np.arange(6) * 100.0,
    "large": lambda x: 1e4 * x + 7.0,
    "small": lambda x: 1e-4 * x,
}


def data(count=256, deviations=DEVIATIONS):
    rng = np.random.default_rng(0)
    axes = scipy.stats.ortho_group.rvs(len(deviations), random_state=0)
    return (rng.normal(size=(count, len(deviations))) * deviations) @ axes.T


def trained(x, latent_dim=3, epochs=300, rate=0.03, **given):
    model = keras_ae.LinearAE(latent_dim, seed=0, **given)
    rate = keras.optimizers.schedules.CosineDecay(rate, epochs)
    model.compile(keras.optimizers.Adam(rate))
    # An epoch of many steps is faster than many epochs of one. The last one, at the rate 0, has the
    # variances of x.
    many = np.concatenate([x] * epochs)
    model.fit(many, batch_size=len(x), epochs=1, shuffle=False, verbose=0)
    model.fit(x, batch_size=len(x), epochs=1, verbose=0)
    return model


def kernels(model):
    return [ops.convert_to_numpy(part.kernel.value) for part in (model.encoder, model.decoder)]


@pytest.mark.parametrize("name", DATA)
def test_it_is_pca(name):
    x = DATA[name](data()).astype("float32")
    model, pca = trained(x), PCA(3).fit(x.astype("float64"))
    angles = scipy.linalg.subspace_angles(kernels(model)[1].T, pca.components_.T)
    assert angles.max() < 0.01
    np.testing.assert_allclose(np.abs(np.sum(model.components * pca.components_, 1)), 1, atol=1e-4)
    np.testing.assert_allclose(model.explained_variance, pca.explained_variance_, rtol=1e-3)
    wanted = pca.inverse_transform(pca.transform(x))
    errors = [np.mean((x - y.astype("float64")) ** 2) for y in (model.reconstruct(x), wanted)]
    assert errors[0] == pytest.approx(errors[1], rel=0.01)


def test_of_whitened_data_it_keeps_as_much_as_pca():
    """All directions have the same variance, so that PCA is as good as any projection."""
    x = data()
    x = np.linalg.qr(x - x.mean(axis=0))[0] * np.sqrt(len(x)) + 5.0
    model = trained(x.astype("float32"))
    loss = np.mean(np.sum((x - model.reconstruct(x)) ** 2, axis=1))
    assert loss == pytest.approx(3.0, rel=0.01)
    np.testing.assert_allclose(model.explained_variance, 256 / 255, rtol=0.01)


def test_components_are_orthonormal_and_ordered_before_training_ends():
    x = (data() + 3.0).astype("float32").reshape(-1, 2, 3)
    model = trained(x, epochs=3)
    assert model.components.shape == (3, 2, 3)
    rows = model.components.reshape(3, 6).astype("float64")
    np.testing.assert_allclose(rows @ rows.T, np.eye(3), atol=1e-5)
    scores = x.reshape(-1, 6).astype("float64") @ rows.T
    np.testing.assert_allclose(np.cov(scores.T), np.diag(model.explained_variance), atol=1e-3)
    assert np.all(np.diff(model.explained_variance) < 0)


def test_weight_decay_shrinks_the_components_as_in_theory():
    """The map is the projection with factors 1 - lambda / variance, and one layer the other's."""
    x, decay = data().astype("float32"), 0.1
    model = trained(x, weight_decay=decay, epochs=1500)
    encoder, decoder = (k.astype("float64") for k in kernels(model))
    np.testing.assert_allclose(encoder, decoder.T, atol=5e-3)
    values, axes = np.linalg.eigh(np.cov(x.T.astype("float64"), bias=True))
    values, axes = values[::-1][:3] / np.mean(values), axes[:, ::-1][:, :3]
    wanted = (axes * (1.0 - decay / values)) @ axes.T
    np.testing.assert_allclose(encoder @ decoder, wanted, atol=5e-3)
    found = np.linalg.svd(decoder.T)[0][:, :3]
    np.testing.assert_allclose(np.abs(np.sum(found * axes, axis=0)), 1.0, atol=0.01)


def test_components_are_saved_and_not_those_of_older_weights(tmp_path):
    x = data().astype("float32")
    model = keras_ae.LinearAE(2, seed=0)
    model.compile("adam", **zoo.OP_BY_OP)
    with pytest.raises(ValueError, match="components needs the data's shape"):
        model.components  # noqa: B018
    model.build((None, 6))
    words = r"LinearAE.explained_variance: .* at the end of fit\(x\)"
    with pytest.raises(RuntimeError, match=words):
        model.explained_variance  # noqa: B018
    model.fit(x, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras_ae.load(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.components, model.components)
    model.train_on_batch(x)
    with pytest.raises(RuntimeError, match=words):
        model.explained_variance  # noqa: B018
    model.fit((x for _ in range(2)), steps_per_epoch=2, verbose=0)
    with pytest.raises(RuntimeError, match=words):
        model.explained_variance  # noqa: B018


def test_there_are_at_most_as_many_components_as_elements():
    x = data().astype("float32")
    model = trained(x, latent_dim=9)
    assert model.components.shape == (6, 6) and model.encode(x).shape == (256, 9)
    np.testing.assert_allclose(model.reconstruct(x), x, atol=0.02)
    with pytest.raises(ValueError, match="LinearAE: targets have shape"):
        zoo.make("LinearAE").build((None, 6), (None, 7))


def test_constant_data_is_no_error():
    x = np.full((8, 6), 3.0, "float32")
    model = trained(x, epochs=2)
    np.testing.assert_allclose(model.reconstruct(x), x, atol=1e-3)
    np.testing.assert_allclose(model.explained_variance, 0.0, atol=1e-6)
