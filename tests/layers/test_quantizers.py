"""Quantizers compared with their papers' formulas: gradients, EMA, bijections, rotations."""

import itertools
import math

import keras
import numpy as np
import pytest
import zoo
from keras import ops

from keras_ae import layers

pytestmark = pytest.mark.formula

RNG = np.random.default_rng
Z = RNG(0).normal(size=(6, 5, 3)).astype("float32")
FLAT = Z.reshape(-1, 3)


def arrays(tensors):
    return keras.tree.map_structure(ops.convert_to_numpy, tensors)


def built(layer, dim=3):
    layer.build((None, None, dim))
    return layer


def placed(codebook, **options):
    """Return a vector quantizer with this codebook."""
    options = {"k_means_start": False, "restart_below": 0.0, "seed": 0} | options
    layer = built(layers.VectorQuantizer(len(codebook), **options), codebook.shape[1])
    layer.placed_embeddings.assign(codebook)
    return layer


CODEBOOK = RNG(1).normal(size=(4, 3)).astype("float32")


def nearest(z, codebook):
    return ((z[..., None, :] - codebook) ** 2).sum(axis=-1).argmin(axis=-1)


# ------------------------------------------------------------------ vectors and codes


@pytest.mark.parametrize("learning", ["ema", "gradient"])
def test_codes_are_those_of_the_nearest_vectors(learning):
    layer = placed(CODEBOOK, learning=learning)
    found = zoo.compute(layer, Z)
    codes = nearest(Z, CODEBOOK)
    assert found.codes.dtype == np.int32
    np.testing.assert_array_equal(found.codes, codes)
    np.testing.assert_array_equal(found.vectors, CODEBOOK[codes])
    np.testing.assert_array_equal(arrays(layer.vectors(found.codes)), CODEBOOK[codes])
    np.testing.assert_array_equal(arrays(layer.codes(found.vectors)), codes)
    distances = ((Z - CODEBOOK[codes]) ** 2).sum(axis=-1).mean(axis=1)
    for name, loss in found.losses.items():
        np.testing.assert_allclose(loss, distances, rtol=1e-5, err_msg=name)
    assert set(found.losses) == {"commitment_loss"} | (
        {"codebook_loss"} if learning == "gradient" else set()
    )


def test_cosine_codes_are_those_of_the_smallest_angle():
    layer = placed(CODEBOOK, cosine=True)
    units = [v / np.linalg.norm(v, axis=-1, keepdims=True) for v in (Z, CODEBOOK)]
    found = zoo.compute(layer, Z)
    np.testing.assert_array_equal(found.codes, (units[0] @ units[1].T).argmax(axis=-1))
    np.testing.assert_allclose(found.vectors, units[1][found.codes], atol=1e-5)


def test_a_vector_without_positions_is_an_example():
    found = zoo.compute(placed(CODEBOOK), FLAT)
    assert found.codes.shape == (30,) and found.losses["commitment_loss"].shape == (30,)


# ------------------------------------------------------------------ gradients

WEIGHTS = RNG(2).normal(size=Z.shape).astype("float32")


def test_the_straight_through_gradient_is_that_of_the_identity():
    layer = placed(CODEBOOK)
    found = zoo.gradient(lambda z: ops.sum(ops.convert_to_tensor(WEIGHTS) * layer(z).vectors), Z)
    np.testing.assert_allclose(found, WEIGHTS, rtol=1e-6)


@pytest.mark.parametrize("learning", ["ema", "gradient"])
def test_the_gradients_of_eq_3(learning):
    """The commitment moves z by 2 (z - e) / positions, and the codebook's loss moves e."""
    layer = placed(CODEBOOK, learning=learning)
    quantized = CODEBOOK[nearest(Z, CODEBOOK)]
    found = zoo.gradient(lambda z: sum(ops.sum(loss) for loss in layer(z).losses.values()), Z)
    np.testing.assert_allclose(found, 2 * (Z - quantized) / 5, atol=1e-6)
    if learning == "ema":
        assert layer.trainable_variables == []
        return
    assert len(layer.trainable_variables) == 1

    def loss_of(moves):
        with keras.StatelessScope([(layer.embedding_offsets, ops.convert_to_tensor(moves))]):
            return sum(ops.sum(loss) for loss in layer(Z).losses.values())

    expected = np.zeros_like(CODEBOOK)
    np.add.at(expected, nearest(FLAT, CODEBOOK), 2 * (quantized - Z).reshape(-1, 3) / 5)
    np.testing.assert_allclose(zoo.gradient(loss_of, np.zeros((4, 3))), expected, atol=1e-5)


def rotation(first, second):
    """Return the rotation from one vector's direction to the other's, and their lengths' ratio.

    It is computed as the exponential of a generator, in another way than in the paper.
    """
    import scipy.linalg

    a, b = (v / np.linalg.norm(v) for v in (first, second))
    across = b - (a @ b) * a
    across /= np.linalg.norm(across)
    angle = np.arccos(np.clip(a @ b, -1, 1))
    generator = np.outer(across, a) - np.outer(a, across)
    return scipy.linalg.expm(angle * generator) * np.linalg.norm(second) / np.linalg.norm(first)


def test_the_rotation_trick_s_gradient_is_its_formula():
    layer = placed(CODEBOOK, estimator="rotation")
    quantized = CODEBOOK[nearest(Z, CODEBOOK)]
    np.testing.assert_array_equal(zoo.compute(layer, Z).vectors, quantized)
    found = zoo.gradient(lambda z: ops.sum(ops.convert_to_tensor(WEIGHTS) * layer(z).vectors), Z)
    pairs = zip(FLAT, quantized.reshape(-1, 3), WEIGHTS.reshape(-1, 3), strict=True)
    expected = [rotation(z, q).T @ weights for z, q, weights in pairs]
    np.testing.assert_allclose(found.reshape(-1, 3), expected, rtol=1e-3, atol=1e-4)


def cosines(a, b):
    return (a * b).sum(axis=-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def test_the_rotation_trick_preserves_angles():
    quantized = np.broadcast_to(CODEBOOK[0], FLAT.shape)
    weights = WEIGHTS.reshape(-1, 3)
    found = zoo.gradient(
        lambda z: ops.sum(ops.convert_to_tensor(weights) * layers.rotated(z, quantized)), FLAT
    )
    np.testing.assert_allclose(cosines(found, FLAT), cosines(weights, quantized), atol=1e-4)
    lengths = [np.linalg.norm(v, axis=-1) for v in (found, weights, quantized, FLAT)]
    np.testing.assert_allclose(lengths[0] / lengths[1], lengths[2] / lengths[3], rtol=1e-4)


def test_the_rotation_trick_where_there_is_no_direction():
    """Values are right and gradients finite for zero, equal and opposite vectors."""
    z = np.array([[0.0, 0.0], [1.0, 2.0], [1.0, 0.0]], "float32")
    quantized = np.array([[1.0, 1.0], [1.0, 2.0], [-3.0, 0.0]], "float32")
    np.testing.assert_allclose(zoo.compute(layers.rotated, z, quantized), quantized)
    found = zoo.gradient(lambda z: ops.sum(layers.rotated(z, quantized)), z)
    assert np.all(np.isfinite(found))
    np.testing.assert_allclose(found[1], 1.0, rtol=1e-5)


# ------------------------------------------------------------------ codebooks that follow


@pytest.mark.every_backend
def test_a_codebook_learned_by_ema_is_the_running_mean_of_k_means():
    """It is (start / K + faded sums) / (1 / K + faded counts), if the codes are fixed."""
    decay, centers = 0.8, np.array([[5.0, 0.0], [-5.0, 0.0]], "float32")
    layer = placed(centers, decay=decay)
    rng, sums, counts = RNG(3), centers / 2, np.full(2, 0.5)
    for size in (4, 10, 7):
        codes = rng.integers(0, 2, size)
        z = (centers[codes] + rng.normal(size=(size, 2))).astype("float32")
        found = arrays(layer(z, training=True))
        np.testing.assert_array_equal(found.codes, codes)
        members = np.eye(2)[codes]
        sums = decay * sums + (1 - decay) * members.T @ z / size
        counts = decay * counts + (1 - decay) * members.mean(axis=0)
        np.testing.assert_allclose(arrays(layer.codebook()), sums / counts[:, None], rtol=1e-5)
    np.testing.assert_allclose(arrays(layer.ema_cluster_size), counts, rtol=1e-5)


def test_the_codebook_changes_only_in_training():
    layer = placed(CODEBOOK)
    before = arrays(layer.variables)
    layer(Z)
    assert all(np.array_equal(a, b) for a, b in zip(before, arrays(layer.variables), strict=True))


def test_an_unused_mean_stays_where_it_is():
    """The share of an unused code fades to 0, but its vector stays the same."""
    layer = placed(CODEBOOK * 100.0, decay=1e-3)
    z = CODEBOOK[:1] * 100.0
    for _ in range(30):
        layer(z, training=True)
    np.testing.assert_allclose(arrays(layer.codebook()), CODEBOOK * 100.0, rtol=1e-4)
    assert arrays(layer.ema_cluster_size)[1:].max() < 1e-5


def test_a_replica_without_vectors_changes_nothing(on_tensorflow):
    layer = placed(CODEBOOK, restart_below=0.05)
    layer.ema_cluster_size.assign([0.001, 0.3, 0.3, 0.3])
    before = arrays(layer.codebook())
    layer(Z[:0], training=True)
    np.testing.assert_allclose(arrays(layer.codebook())[1:], before[1:])
    assert np.all(np.isfinite(arrays(layer.codebook())))


def test_lloyd_s_algorithm_agrees_with_scikit_learn():
    from sklearn.cluster import KMeans

    z = RNG(4).normal(size=(60, 2)).astype("float32")
    expected = KMeans(5, init=z[:5], n_init=1, max_iter=300, tol=0.0).fit(z).cluster_centers_
    found = zoo.compute(lambda z, c: layers.k_means(z, c, 50), z, z[:5])
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("learning", ["ema", "gradient"])
def test_the_first_batch_places_the_codebook(learning):
    """Each of four codes finds one of four clusters, and later batches move it little."""
    centers = 10.0 * np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]], "float32")
    z = centers[np.arange(40) // 10] + RNG(5).normal(size=(40, 2)).astype("float32")
    layer = built(layers.VectorQuantizer(4, learning=learning, decay=0.999, seed=0), 2)
    found = arrays(layer(z, training=True))
    assert found.losses["commitment_loss"].mean() < 4.0
    means = z.reshape(4, 10, 2).mean(axis=1)
    codebook = arrays(layer.codebook())
    order = [nearest(m, codebook) for m in means]
    assert sorted(order) == [0, 1, 2, 3]
    np.testing.assert_allclose(codebook[order], means, atol=0.05)
    layer(z + 3.0, training=True)
    np.testing.assert_allclose(arrays(layer.codebook())[order], means, atol=0.2)


@pytest.mark.every_backend
@pytest.mark.parametrize("learning", ["ema", "gradient"])
def test_dead_codes_restart_at_vectors_of_the_batch(learning):
    far = np.array([[0.0, 0.0], [100.0, 100.0], [200.0, 0.0]], "float32")
    layer = placed(far, learning=learning, decay=0.5, restart_below=0.05)
    z = RNG(6).normal(size=(30, 2)).astype("float32")
    if learning == "gradient":
        layer.embedding_offsets.assign(np.full((3, 2), 0.25))
    for _ in range(6):
        layer(z, training=True)
    codebook = arrays(layer.codebook())
    for vector in codebook[1:]:  # The first code was always in use.
        assert np.abs(vector).max() < 5.0
        if learning == "gradient":  # Only EMA would have moved it away from its vector.
            assert np.abs(z - vector).sum(axis=1).min() < 1e-5
    # Shares halve per batch, and 0.5 ** 5 < 0.05 < 0.5 ** 4, so the fifth batch restarts the codes.
    again = placed(far, learning=learning, decay=0.5, restart_below=0.05)
    again.ema_cluster_size.assign(np.full(3, 1 / 3))
    alive = []
    for _ in range(5):
        again(z, training=True)
        alive.append(bool(np.abs(arrays(again.codebook())[1:]).max() < 50))
    assert alive == [False] * 4 + [True]
    np.testing.assert_allclose(arrays(again.ema_cluster_size)[1:], 0.05 / 3, rtol=1e-5)


@pytest.mark.every_backend
@pytest.mark.parametrize("learning", ["ema", "gradient"])
def test_a_codebook_spreads_over_few_vectors_among_many_equal_ones(learning):
    """Most patches of pictures with a plain background are equal."""
    rng = RNG(10)
    centers = 3.0 * rng.normal(size=(12, 4))
    z = np.ones((3000, 4))
    z[rng.permutation(3000)[:120]] = np.repeat(centers, 10, axis=0)
    z = z.astype("float32")
    layer = built(layers.VectorQuantizer(32, learning=learning, seed=0), 4)
    for _ in range(4):
        layer(z, training=True)
    codes = arrays(layer(np.concatenate([np.ones((1, 4)), centers]).astype("float32")).codes)
    assert len(np.unique(codes)) == 13


@pytest.mark.parametrize("num_codes", [4, 2**17])
def test_vectors_where_codes_restart_are_drawn_by_their_squared_distances(num_codes):
    """Vectors at distances 1 and 3 get a tenth and nine tenths of the dead codes."""
    layer = built(layers.VectorQuantizer(num_codes, k_means_start=False, decay=0.9, seed=0), 1)
    layer.placed_embeddings.assign(np.linspace(1e6, 2e6, num_codes)[:, None] - 1e6)
    z = np.repeat([[0.0], [-1.0], [-3.0]], [30, 10, 10], axis=0).astype("float32")
    layer(z, training=True)
    placed = arrays(layer.codebook())[1:, 0]
    assert not np.any(placed == 0.0)
    assert np.mean(placed == -3.0) == pytest.approx(0.9, abs=0.3 if num_codes == 4 else 1e-3)
    np.testing.assert_allclose(arrays(layer.ema_cluster_size)[1:], 0.05 / num_codes, rtol=1e-5)


def test_codes_restart_even_if_all_vectors_are_embeddings():
    layer = placed(np.array([[0.0, 0.0], [1.0, 1.0], [9.0, 9.0]], "float32"), restart_below=0.05)
    z = np.array([[0.0, 0.0], [1.0, 1.0]], "float32")
    layer(z, training=True)
    assert arrays(layer.codebook())[2].tolist() in z.tolist()


def test_a_seed_decides_where_codes_restart():
    books = []
    for seed in (0, 0, 1):
        layer = built(layers.VectorQuantizer(4, seed=seed))
        layer(Z, training=True)
        books.append(arrays(layer.codebook()))
    assert np.array_equal(books[0], books[1]) and not np.array_equal(books[0], books[2])


# ------------------------------------------------------------------ residuals


@pytest.mark.parametrize("learning", ["ema", "gradient"])
def test_one_residual_codebook_is_a_vector_quantizer(learning):
    residual = built(layers.ResidualQuantizer(4, depth=1, learning=learning, seed=0))
    plain = built(layers.VectorQuantizer(4, learning=learning, seed=0))
    for _ in range(3):
        ours, theirs = (arrays(layer(Z, training=True)) for layer in (residual, plain))
        np.testing.assert_array_equal(ours.codes[..., 0], theirs.codes)
        np.testing.assert_array_equal(ours.vectors, theirs.vectors)
        assert ours.losses.keys() == theirs.losses.keys()
        for name, loss in theirs.losses.items():
            np.testing.assert_array_equal(ours.losses[name], loss)
    for a, b in zip(residual.variables, plain.variables, strict=True):
        np.testing.assert_array_equal(arrays(a), arrays(b))


def test_every_codebook_quantizes_the_residual_of_the_one_before():
    books = (
        RNG(7).normal(size=(3, 4, 3)).astype("float32") * np.array([1, 0.5, 0.25])[:, None, None]
    )
    layer = built(layers.ResidualQuantizer(4, depth=3, k_means_start=False, seed=0))
    for quantizer, book in zip(layer.quantizers, books, strict=True):
        quantizer.placed_embeddings.assign(book)
    found = zoo.compute(layer, Z)
    left, total, loss = Z, 0.0, 0.0
    for level, book in enumerate(books):
        codes = nearest(left, book)
        np.testing.assert_array_equal(found.codes[..., level], codes)
        loss = loss + ((left - book[codes]) ** 2).sum(axis=-1).mean(axis=1)
        left, total = left - book[codes], total + book[codes]
    np.testing.assert_allclose(found.vectors, total, atol=1e-6)
    np.testing.assert_allclose(found.losses["commitment_loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(arrays(layer.vectors(found.codes)), total, atol=1e-6)
    gradient = zoo.gradient(lambda z: ops.sum(ops.convert_to_tensor(WEIGHTS) * layer(z).vectors), Z)
    np.testing.assert_allclose(gradient, WEIGHTS, rtol=1e-6)


# ------------------------------------------------------------------ fixed grids


def bound(levels):
    """Return width, offset and shift of the paper's bound tanh(z + shift) * width - offset.

    With 2 levels there is no shift. From 1,001 levels on, the width ends half a step beyond the
    outermost values.
    """
    levels = np.array(levels)
    width = (levels - 1) / 2 + np.minimum((levels - 1) * 5e-4, 0.5)
    offset = np.where(levels % 2 == 0, 0.5, 0.0)
    return width, offset, np.where(levels == 2, 0.0, np.arctanh(offset / width))


def middle_of_codes(vectors, levels):
    """Return the vectors that the bound maps to quantized vectors."""
    width, offset, shift = bound(levels)
    scaled = vectors * (np.array(levels) // 2) + offset
    return (np.arctanh(scaled / width) - shift).astype("float32")


@pytest.mark.parametrize("levels", [(2,), (3, 4), (8, 6, 5), (5, 2, 3, 2)])
def test_finite_scalars_and_codes_are_a_bijection(levels):
    layer = built(layers.FiniteScalarQuantizer(levels), len(levels))
    every = np.arange(np.prod(levels))
    vectors = arrays(layer.vectors(every))
    halves = np.array(levels) // 2
    values = [(np.arange(n) - h) / h for n, h in zip(levels, halves, strict=True)]
    # The first dimension is the least significant digit.
    expected = np.array([v[::-1] for v in itertools.product(*values[::-1])])
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    found = zoo.compute(layer, middle_of_codes(vectors, levels))
    np.testing.assert_array_equal(found.codes, every)
    np.testing.assert_allclose(found.vectors, vectors, atol=1e-6)
    assert found.losses == {}


@pytest.mark.every_backend
def test_finite_scalars_of_every_number_of_levels():
    """Codes are those of the formula, all of them occur, and none is out of range."""
    z = np.concatenate([np.linspace(-9, 9, 20001), [-1e30, -50, 50, 1e30]])[:, None]
    for number in (*range(2, 301), 999, 1000, 1001, 1002, 1003):
        width, offset, shift = bound(number)
        scaled = np.tanh(z + shift) * width - offset
        low, high = -(number // 2), number - 1 - number // 2
        expected = np.clip(np.round(scaled), low, high).astype(int) - low
        layer = layers.FiniteScalarQuantizer((number,))
        found = arrays(layer(z.astype("float32")))
        # Rounding errors may decide between two codes in the middle between them.
        sure = np.abs(scaled - np.floor(scaled) - 0.5) > 1e-3
        np.testing.assert_array_equal(found.codes[sure[:, 0]], expected[sure], err_msg=number)
        assert np.array_equal(np.unique(found.codes), np.arange(number)), number
        np.testing.assert_array_equal(arrays(layer.vectors(found.codes)), found.vectors)
        # Vectors near zero, as an untrained encoder returns them, have more than one code.
        counts = np.bincount(found.codes[np.abs(z[:, 0]) < 1])
        assert np.count_nonzero(counts) >= min(3, number), number


@pytest.mark.every_backend
@pytest.mark.parametrize("number", [1001, 4095, 4096, 65535, 65536, 2**20 - 1, 2**20])
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_every_code_of_many_levels_is_reached(number, dtype):
    every = np.arange(number)
    values = (every[:, None] - number // 2) / (number // 2)
    z = np.concatenate([middle_of_codes(values, number), [[-np.inf], [-60], [60], [np.inf]]])
    layer = built(layers.FiniteScalarQuantizer((number,)), 1)
    keras.config.set_dtype_policy(dtype)
    try:
        found = zoo.compute(layer, z.astype("float32"))
    finally:
        keras.config.set_dtype_policy("float32")
    expected = np.concatenate([every, [0, 0, number - 1, number - 1]])
    np.testing.assert_array_equal(found.codes, expected)
    np.testing.assert_allclose(found.vectors, values[expected], rtol=1e-6)
    looked_up = zoo.compute(layer.vectors, found.codes)
    np.testing.assert_array_equal(looked_up, found.vectors)
    assert len(np.unique(looked_up)) == number


@pytest.mark.every_backend
@pytest.mark.parametrize("number", [2, 3, 4, 1001, 65536, 2**20])
def test_gradients_of_any_number_of_levels_are_finite_and_not_zero_near_zero(number):
    layer = built(layers.FiniteScalarQuantizer((number,)), 1)
    z = np.array([[-100.0], [-1.0], [0.0], [1.0], [100.0]], "float32")
    found = zoo.gradient(lambda z: ops.sum(layer(z).vectors), z)[:, 0]
    width, _, shift = bound(number)
    expected = (1 - np.tanh(z[:, 0].astype("float64") + shift) ** 2) * width / (number // 2)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert found[1:4].min() > 0.15


def test_finite_scalars_keep_zero_and_are_bounded():
    layer = built(layers.FiniteScalarQuantizer((8, 5)), 2)
    z = np.array([[0, 0], [1e3, 1e3], [-1e3, -1e3]], "float32")
    vectors = zoo.compute(layer, z).vectors
    np.testing.assert_allclose(vectors, [[0, 0], [0.75, 1], [-1, -1]])


def test_the_gradient_of_finite_scalars_is_that_of_the_bound():
    """round() counts as the identity, and d/dz of tanh(z + shift) * width / half remains."""
    levels = np.array([8, 5, 3])
    layer = built(layers.FiniteScalarQuantizer((8, 5, 3)))
    width, _, shift = bound(levels)
    slope = (1 - np.tanh(Z + shift) ** 2) * width / (levels // 2)
    found = zoo.gradient(lambda z: ops.sum(ops.convert_to_tensor(WEIGHTS) * layer(z).vectors), Z)
    np.testing.assert_allclose(found, WEIGHTS * slope, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("num_bits", [1, 5, 10])
def test_signs_and_codes_are_a_bijection(num_bits):
    layer = built(layers.LookupFreeQuantizer(num_bits), num_bits)
    every = np.arange(2**num_bits)
    vectors = arrays(layer.vectors(every))
    expected = 2.0 * (every[:, None] >> np.arange(num_bits) & 1) - 1
    np.testing.assert_array_equal(vectors, expected)
    scale = RNG(8).uniform(0.1, 3.0, vectors.shape)
    found = zoo.compute(layer, (scale * vectors).astype("float32"))
    np.testing.assert_array_equal(found.codes, every)
    np.testing.assert_array_equal(found.vectors, vectors)


@pytest.mark.parametrize("temperature", [0.7, 3.0])
def test_the_entropy_penalty_is_that_of_a_softmax_over_the_codebook(temperature):
    layer = built(layers.LookupFreeQuantizer(3, temperature=temperature))
    corners = arrays(layer.vectors(np.arange(8)))
    logits = -((Z[..., None, :] - corners) ** 2).sum(axis=-1) / temperature
    q = np.exp(logits - logits.max(axis=-1, keepdims=True))
    q /= q.sum(axis=-1, keepdims=True)

    def entropy(p):
        return -(p * np.log(p)).sum(axis=-1)

    expected = entropy(q).mean(axis=1) - entropy(q.mean(axis=(0, 1)))
    found = zoo.compute(layer, Z).losses
    np.testing.assert_allclose(found["entropy_loss"], expected, rtol=1e-4, atol=1e-5)
    signs = np.where(Z > 0, 1.0, -1.0)
    np.testing.assert_allclose(
        found["commitment_loss"], ((Z - signs) ** 2).sum(axis=-1).mean(axis=1), rtol=1e-5
    )


def test_groups_of_signs_count_as_independent():
    z = RNG(9).normal(size=(7, 4)).astype("float32")
    whole, halves = (layers.LookupFreeQuantizer(4, group=g) for g in (4, 2))
    apart = [layers.LookupFreeQuantizer(2) for _ in range(2)]
    found = zoo.compute(halves, z).losses["entropy_loss"]
    parts = [
        zoo.compute(a, z[:, i : i + 2]).losses["entropy_loss"]
        for a, i in zip(apart, (0, 2), strict=True)
    ]
    np.testing.assert_allclose(found, parts[0] + parts[1], rtol=1e-4)
    assert np.all(found < zoo.compute(whole, z).losses["entropy_loss"])


def test_the_gradient_of_signs_is_that_of_the_identity():
    layer = built(layers.LookupFreeQuantizer(3))
    found = zoo.gradient(lambda z: ops.sum(ops.convert_to_tensor(WEIGHTS) * layer(z).vectors), Z)
    np.testing.assert_allclose(found, WEIGHTS, rtol=1e-6)


# ------------------------------------------------------------------ what they share


def test_usage_and_perplexity():
    codes = np.array([[0, 0, 1], [3, 3, 3]])
    found = arrays(layers.code_statistics(codes, 5))
    p = np.array([2, 1, 3]) / 6
    assert found["usage"] == pytest.approx(3 / 5)
    assert found["perplexity"] == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-5)
    assert arrays(layers.code_statistics(np.arange(5), 5))["perplexity"] == pytest.approx(5)


LAYERS = [
    layers.VectorQuantizer(4, "gradient", cosine=True, decay=0.5, seed=3, name="one"),
    layers.ResidualQuantizer(4, depth=2, estimator="rotation", name="two"),
    layers.FiniteScalarQuantizer((3, 4, 2), name="three"),
    layers.LookupFreeQuantizer(3, temperature=0.5, group=2, name="four"),
]


@pytest.mark.every_backend
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
def test_quantizers_work_from_their_configuration_and_in_graphs(layer):
    again = built(keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer)))
    assert again.get_config() == layer.get_config()
    inputs = keras.Input((5, 3))
    found = again(inputs)
    model = keras.Model(inputs, [found.vectors, found.codes])
    vectors, codes = model.predict(Z, verbose=0)
    expected = zoo.compute(again, Z)
    np.testing.assert_allclose(vectors, expected.vectors, atol=1e-6)
    np.testing.assert_array_equal(codes, expected.codes)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: layers.VectorQuantizer(1), "num_codes=1 must be an integer of at least 2"),
        (lambda: layers.VectorQuantizer(4, "mean"), "learning='mean'"),
        (lambda: layers.VectorQuantizer(4, decay=1.0), "decay=1.0"),
        (lambda: layers.ResidualQuantizer(4, depth=0), "depth=0"),
        (lambda: layers.FiniteScalarQuantizer((5, 1)), "levels="),
        (
            lambda: layers.FiniteScalarQuantizer((5, 2**20 + 1)),
            "float32 cannot tell more than 1048576 values",
        ),
        (lambda: layers.FiniteScalarQuantizer((5, 3))(Z), "vectors of 2 numbers"),
        (lambda: layers.LookupFreeQuantizer(40), "32 bits"),
    ],
)
def test_errors_say_what_to_do(make, words):
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        make()


@pytest.mark.parametrize("levels", [(5,) * 13, (2,) * 30, (2, 2**29)])
def test_digits_and_codes_are_exact_up_to_the_last_code(levels):
    num_codes = math.prod(levels)
    rng = np.random.default_rng(0)
    codes = np.concatenate([rng.integers(0, num_codes, 500), num_codes - 1 - np.arange(20)])
    codes = codes.astype("int32")
    scalar = layers.scalar_quantizers
    digits = zoo.compute(lambda codes: scalar.digits_of_codes(codes, levels), codes)
    expected = np.stack(np.unravel_index(codes, levels[::-1])[::-1], axis=-1)
    np.testing.assert_array_equal(digits, expected)
    back = zoo.compute(lambda digits: scalar.codes_of_digits(digits, levels), digits)
    assert back.dtype == np.int32
    np.testing.assert_array_equal(back, codes)


@pytest.mark.every_backend
def test_statistics_of_a_large_codebook_take_the_memory_of_the_codes(monkeypatch):
    """Arrays of 2 ** 30 counts would take 4 GB each."""
    codes = np.array([[5, 5, 5], [2**30 - 1, 0, 5]], "int32")
    found = zoo.compute(lambda codes: layers.code_statistics(codes, 2**30), codes)
    assert float(found["usage"]) == pytest.approx(3 / 2**30)
    shares = np.array([4, 1, 1]) / 6
    assert float(found["perplexity"]) == pytest.approx(np.exp(-np.sum(shares * np.log(shares))))
    many = np.random.default_rng(0).integers(0, 50, (40, 7)).astype("int32")
    both = []
    for counted in (2**16, 1):
        monkeypatch.setattr(layers.vector_quantizer, "_COUNTED", counted)
        both.append(zoo.compute(lambda codes: layers.code_statistics(codes, 64), many))
    for name, value in both[0].items():
        assert float(both[1][name]) == pytest.approx(float(value), rel=1e-5)
