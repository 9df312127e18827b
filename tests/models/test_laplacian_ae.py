"""The Laplacian autoencoder's penalty against tr(Z' L Z) of scikit-learn's graph."""

import keras
import numpy as np
import pytest
import scipy.sparse
import zoo
from keras import ops
from sklearn.neighbors import kneighbors_graph

import keras_ae
from keras_ae.models.deterministic.laplacian_ae import _choose_rows, _draw_edges

pytestmark = pytest.mark.formula

COUNT, NEIGHBORS = 60, 4


def rows(count=COUNT, width=6, seed=0):
    return np.random.default_rng(seed).normal(size=(count, width)).astype("float32")


def adapted(x, optimizer=None, **given):
    options = {"num_neighbors": NEIGHBORS, "num_anchors": 100, **given}
    model = zoo.eager("LaplacianAE", optimizer, **options)
    model.adapt(x)
    return model


def graph_of(x, kernel):
    """Return the symmetric weights of the graph of nearest neighbors, a sparse matrix."""
    edges = kneighbors_graph(x.reshape(len(x), -1).astype("float64"), NEIGHBORS, mode="distance")
    squares = np.square(edges.data)
    edges.data = np.exp(-squares / squares.mean()) if kernel == "heat" else np.ones(len(squares))
    return 0.5 * (edges + edges.T)


def penalty_of(model, x):
    return model.evaluate(x, verbose=0, return_dict=True)["laplacian_loss"]


@pytest.mark.parametrize("kernel", ["heat", "binary"])
@pytest.mark.parametrize("offset", [0.0, 30.0])
@pytest.mark.parametrize("standardize", [False, True])
def test_the_penalty_is_the_trace_of_the_laplacian(kernel, offset, standardize):
    x = rows() + np.float32(offset)
    model = adapted(x, kernel=kernel, standardize=standardize)
    own = (x - x.mean(axis=0)) / x.std(axis=0) if standardize else x
    laplacian = scipy.sparse.csgraph.laplacian(graph_of(own, kernel))
    z = model.encode(x).astype("float64")
    wanted = np.trace(z.T @ (laplacian @ z)) / len(x)
    assert wanted > 0
    assert penalty_of(model, x) == pytest.approx(wanted, rel=1e-3)


def test_in_training_one_neighbor_stands_for_all():
    places, weights = np.arange(8).reshape(2, 4), np.array([[0.5, 0.0, 1.5, 2.0], [0, 0, 0, 0.0]])
    many = [np.repeat(v, 20_000, axis=0).astype(d) for v, d in ((places, "int32"), (weights, "f"))]
    drawn, total = (ops.convert_to_numpy(v) for v in _draw_edges(*many, seed=3))
    shares = np.bincount(drawn[:20_000, 0], minlength=4) / 20_000
    np.testing.assert_allclose(shares, weights[0] / 4.0, atol=0.02)
    np.testing.assert_allclose(total[:20_000], 4.0)
    np.testing.assert_allclose(total[20_000:], 0.0)


def test_examples_that_are_no_anchors_have_their_nearest_anchors_as_neighbors():
    anchors, x = rows(), rows(20, seed=1)
    model = adapted(anchors, kernel="binary")
    places, weights = model._find_neighbors(ops.convert_to_tensor(x))
    kept = ops.convert_to_numpy(ops.convert_to_tensor(model._anchors))
    found = kept[ops.convert_to_numpy(places)[:, :NEIGHBORS]]
    distances = np.linalg.norm(x[:, None] - anchors, axis=-1)
    wanted = anchors[np.argsort(distances, axis=1)[:, :NEIGHBORS]]
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(ops.convert_to_numpy(weights), [[1, 1, 1, 1, 0]] * 20)


def test_anchors_are_all_examples_or_a_random_choice():
    x = np.arange(5000, dtype="float32")[:, None]
    parts = np.array_split(x, 37)
    chosen, count = _choose_rows(parts, 500, np.random.default_rng(0))
    assert count == 500 and len(np.unique(chosen)) == 500
    counts = np.histogram(chosen, bins=5, range=(0, 5000))[0]
    assert counts.min() > 70 and counts.max() < 130
    other, _ = _choose_rows([x], 500, np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(chosen, axis=0), np.sort(other, axis=0))
    chosen, count = _choose_rows(parts, 6000, np.random.default_rng(0))
    assert count == 5000
    np.testing.assert_array_equal(chosen[:5000], x)


def test_padded_steps_count_as_zeros():
    x = rows(COUNT, 12).reshape(COUNT, 4, 3)
    real = np.arange(4) < np.random.default_rng(1).integers(1, 5, COUNT)[:, None]
    found = []
    for value in (-9.0, 9.0):
        padded = np.where(real[..., None], x, value).astype("float32")
        model = adapted(
            padded, network_options={"units": (4,), "mask_value": value}, encoder="recurrent"
        )
        laplacian = scipy.sparse.csgraph.laplacian(
            graph_of(np.where(real[..., None], x, 0.0), "heat")
        )
        z = model.encode(padded).astype("float64")
        found.append(penalty_of(model, padded))
        assert found[-1] == pytest.approx(np.trace(z.T @ (laplacian @ z)) / COUNT, rel=1e-3)
    assert found[0] == pytest.approx(found[1], rel=1e-4)


@pytest.mark.costly
@pytest.mark.parametrize("kernel", ["heat", "binary"])
def test_codes_of_neighbors_come_closer(kernel):
    """The distances of neighbors shrink more than those of all pairs."""
    angle = np.random.default_rng(0).uniform(0.0, 6.28, 256)
    x = np.stack([np.cos(n * angle + n) for n in (1, 2, 3, 5, 7, 9)], axis=1).astype("float32")
    edges = kneighbors_graph(x, NEIGHBORS).toarray() > 0
    shares = []
    for weight in (0.0, 3.0):
        model = adapted(x, keras.optimizers.Adam(0.01), weight=weight, kernel=kernel)
        model.fit(x, epochs=40, verbose=0)
        z = model.encode(x)
        distances = np.sum((z[:, None] - z) ** 2, axis=-1)
        shares.append(distances[edges].mean() / distances.mean())
    assert shares[1] < 0.8 * shares[0]


def test_all_forms_of_data_choose_the_same_anchors():
    import tensorflow as tf

    x, found = rows(), []
    for given in (x, tf.data.Dataset.from_tensor_slices(x).batch(7)):
        model = zoo.eager("LaplacianAE", num_anchors=20)
        model.fit(given, verbose=0)
        anchors = ops.convert_to_numpy(ops.convert_to_tensor(model._anchors))
        found.append(anchors[np.lexsort(anchors.T)])
    np.testing.assert_array_equal(*found)
    model = zoo.eager("LaplacianAE")
    with pytest.raises(ValueError, match="a generator can be read only once.*call adapt"):
        model.fit((x for _ in range(2)), steps_per_epoch=2, verbose=0)
    model.adapt(x)
    model.fit((x for _ in range(2)), steps_per_epoch=2, verbose=0)


def test_too_few_examples_or_anchors_are_refused():
    with pytest.raises(ValueError, match="num_neighbors=4, but x has 4 examples"):
        adapted(rows(4))
    assert np.isfinite(penalty_of(adapted(rows(5)), rows(5)))
    with pytest.raises(ValueError, match="num_anchors=5 .* larger than num_neighbors=5"):
        keras_ae.LaplacianAE(num_anchors=5)


def test_equal_examples_have_no_penalty():
    x = np.ones((12, 6), "float32")
    assert penalty_of(adapted(x), x) == 0.0
