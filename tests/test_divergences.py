"""Shuffled codes and the discriminator's loss, against what they must equal."""

import doctest

import keras
import numpy as np
import pytest
from scipy import special, stats

from keras_ae import divergences
from keras_ae.divergences import permute_dims, softmax_loss


def numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def test_permuting_keeps_every_column_and_shuffles_each_in_its_own_way():
    z = np.arange(600, dtype="float32").reshape(200, 3)
    permuted = numpy(permute_dims(z, seed=0))
    assert np.array_equal(np.sort(permuted, axis=0), z)
    orders = [permuted[:, column] // 3 for column in range(3)]
    for order in orders:
        assert not np.array_equal(order, np.arange(200))
    assert not np.array_equal(orders[0], orders[1])
    assert not np.array_equal(orders[1], orders[2])


def test_permuting_makes_dependent_columns_independent():
    column = np.random.default_rng(0).normal(size=(5000, 1)).astype("float32")
    z = np.concatenate([column, column], axis=1)
    permuted = numpy(permute_dims(z, seed=0))
    assert stats.pearsonr(permuted[:, 0], permuted[:, 1]).pvalue > 1e-3


def test_every_place_is_equally_likely():
    # Where the first of 4 examples goes, in 4,000 independent columns.
    z = np.repeat(np.arange(4.0)[:, None], 4000, axis=1)
    places = np.argmin(numpy(permute_dims(z, seed=0)), axis=0)
    assert stats.chisquare(np.bincount(places, minlength=4)).pvalue > 1e-3


def test_permuting_follows_its_seed():
    z = np.arange(100, dtype="float32").reshape(50, 2)
    assert np.array_equal(numpy(permute_dims(z, seed=1)), numpy(permute_dims(z, seed=1)))
    assert not np.array_equal(numpy(permute_dims(z, seed=1)), numpy(permute_dims(z, seed=2)))
    generator = keras.random.SeedGenerator(1)
    first, second = numpy(permute_dims(z, generator)), numpy(permute_dims(z, generator))
    assert not np.array_equal(first, second)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_permuting_keeps_the_dtype(dtype):
    permuted = permute_dims(np.zeros((4, 2), dtype), seed=0)
    assert keras.backend.standardize_dtype(permuted.dtype) == dtype


def test_permuting_works_in_a_graph_with_a_free_batch_size():
    z = keras.ops.convert_to_tensor(np.arange(20, dtype="float32").reshape(10, 2))
    permute = permute_dims
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        permute = tf.function(
            lambda z: permute_dims(z, 0), input_signature=[tf.TensorSpec((None, 2))]
        )
    elif keras.backend.backend() == "jax":
        import jax

        permute = jax.jit(lambda z: permute_dims(z, 0))
    else:
        pytest.skip("torch runs without a graph")
    assert np.array_equal(numpy(permute(z)), numpy(permute_dims(z, 0)))


@pytest.mark.parametrize("label", [0, 1])
def test_softmax_loss_equals_scipy(label):
    logits = np.random.default_rng(0).normal(scale=5, size=(20, 2)).astype("float32")
    expected = -special.log_softmax(logits.astype("float64"), axis=1)[:, label]
    assert np.allclose(numpy(softmax_loss(logits, label)), expected, rtol=1e-5, atol=1e-6)


def test_softmax_loss_is_finite_and_float32_for_extreme_half_precision_logits():
    loss = softmax_loss(np.array([[60_000.0, -60_000.0]], "float16"), 1)
    assert np.allclose(numpy(loss), 120_000, rtol=1e-3)
    assert keras.backend.standardize_dtype(loss.dtype) == "float32"


def test_examples_run():
    assert doctest.testmod(divergences).failed == 0
