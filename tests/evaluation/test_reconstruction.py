"""Measures of reconstructions, compared with TensorFlow's."""

import numpy as np
import pytest

from keras_ae import evaluation

pytestmark = pytest.mark.backend_free


def pictures(size=40, number=3, seed=0):
    """Return smooth random pictures of two channels, and noisy copies of them."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    x = ndimage.gaussian_filter(rng.random((number, size, size, 2)), (0, 3, 3, 0))
    x = (x - x.min()) / np.ptp(x)
    return x, np.clip(x + 0.1 * rng.normal(size=x.shape), 0, 1)


@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_measures_agree_with_tensorflow(data_range):
    import tensorflow as tf

    for size, mine, theirs in [
        (40, evaluation.peak_signal_to_noise_ratio, tf.image.psnr),
        (40, evaluation.structural_similarity, tf.image.ssim),
        (192, evaluation.multiscale_structural_similarity, tf.image.ssim_multiscale),
    ]:
        x, y = (data_range * v for v in pictures(size))
        wanted = theirs(x.astype("float32"), y.astype("float32"), data_range).numpy()
        np.testing.assert_allclose(mine(x, y, data_range), wanted, rtol=2e-4)


def test_the_mean_squared_error():
    x, y = pictures()
    np.testing.assert_allclose(evaluation.mean_squared_error(x, y)[1], np.mean((x[1] - y[1]) ** 2))


def test_an_exact_reconstruction():
    x, _ = pictures()
    assert np.all(np.isposinf(evaluation.peak_signal_to_noise_ratio(x, x)))
    np.testing.assert_array_equal(evaluation.structural_similarity(x, x), 1.0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: evaluation.mean_squared_error(x, x[:, :-1]), "the same shape"),
        (lambda x: evaluation.peak_signal_to_noise_ratio(255 * x, x), "such as 255 for bytes"),
        (lambda x: evaluation.peak_signal_to_noise_ratio(x, x, 0), "data_range=0"),
        (lambda x: evaluation.structural_similarity(x[:, :9], x[:, :9]), "at least 11 pixels"),
        (lambda x: evaluation.structural_similarity(x[..., 0], x[..., 0]), r"x\[..., None\]"),
        (lambda x: evaluation.multiscale_structural_similarity(x, x), "at least 176"),
        # Pictures from -1 to 1 have means around 0, whose ratio says nothing of brightness.
        (lambda x: evaluation.structural_similarity(2 * x - 1, x, 2.0), "from -1 to 1"),
        (lambda x: evaluation.structural_similarity(x + 9, x + 9), "holds values from 9 to 10"),
    ],
)
def test_what_cannot_be_compared(call, words):
    with pytest.raises(ValueError, match=words):
        call(pictures()[0])
