"""Videos of moving digits: their paths in closed form, their digits, seeds and errors."""

import numpy as np
import pytest

from keras_ae import datasets

pytestmark = pytest.mark.backend_free


def middles(videos):
    """Return the center of brightness (x, y) of every frame, in pixels: (number, frames, 2)."""
    pictures = videos[..., 0].astype("float64")
    total = pictures.sum(axis=(2, 3))
    place = np.arange(pictures.shape[-1])
    x, y = (np.sum(pictures.sum(axis=axis) * place, axis=-1) / total for axis in (2, 3))
    return np.stack([x, y], axis=-1)


def fold(path):
    """Reflect positions at walls at 0 and 1, one after another, as a ball would move."""
    path = path.copy()
    while np.any((path < 0) | (path > 1)):
        path = np.where(path < 0, -path, path)
        path = np.where(path > 1, 2 - path, path)
    return path


@pytest.mark.parametrize("side", [32, 64])
def test_a_digit_moves_in_a_straight_line_that_walls_reflect(side):
    room, speed = side - side * 28 // 64, 0.17
    videos = datasets.moving_digits(40, frames=25, side=side, digits=1, speed=speed)
    standing = datasets.moving_digits(40, frames=1, side=side, digits=1, speed=0.0)
    # Places between pixels do not change how bright a digit is, nor which shape it has.
    brightness = videos.sum(axis=(2, 3, 4))
    expected = np.broadcast_to(standing.sum(axis=(2, 3, 4)), brightness.shape)
    np.testing.assert_allclose(brightness, expected, rtol=1e-3)
    # The draws of the videos: which digit, its place, and its direction.
    _, x, y, direction = np.random.RandomState([0, 0]).random_sample((40, 1, 4))[:, 0].T
    time = np.arange(25)
    angle = 2 * np.pi * direction[:, None]
    path = [fold(x[:, None] + speed * np.cos(angle) * time)]
    path.append(fold(y[:, None] + speed * np.sin(angle) * time))
    path = room * np.stack(path, axis=-1)
    found = middles(videos)
    np.testing.assert_allclose(found - found[:, :1], path - path[:, :1], atol=2e-2)


def test_the_speed_is_constant_between_walls():
    videos = datasets.moving_digits(60, frames=8, side=32, digits=1, speed=0.05)
    steps = np.diff(middles(videos), axis=1)
    straight = np.abs(np.diff(steps, axis=1)).max(axis=(1, 2)) < 1e-2
    assert 20 < straight.sum() < 60  # Others meet a wall.
    pixels = 0.05 * (32 - 14)
    np.testing.assert_allclose(np.linalg.norm(steps[straight], axis=-1), pixels, atol=2e-2)


def test_digits_stay_inside_the_frame_and_reach_every_wall():
    videos = datasets.moving_digits(100, frames=30, side=32, digits=1, speed=0.3)
    brightness = videos.sum(axis=(2, 3, 4))
    np.testing.assert_allclose(brightness, brightness.mean(1, keepdims=True) + 0 * brightness, 1e-3)
    found = middles(videos)
    assert found.min() < 8.5 and found.max() > 22.5


def test_where_digits_overlap_the_brighter_one_is_seen():
    """Two digits of a video have the same draws as two videos of one digit each."""
    both = datasets.moving_digits(30, side=32, digits=2)
    alone = datasets.moving_digits(60, side=32, digits=1)
    np.testing.assert_array_equal(both, np.maximum(alone[::2], alone[1::2]))
    assert both.max() <= 1.0
    assert np.any((alone[::2] > 0.3) & (alone[1::2] > 0.3))


def test_still_digits_of_the_whole_size_are_those_of_small_mnist():
    videos, labels = datasets.moving_digits(
        20, "test", frames=2, side=64, digits=1, speed=0.0, labels=True
    )
    x, y = datasets.as_array("small_mnist", "test", labels=True)
    totals = x.sum(axis=(1, 2, 3))
    for video, label in zip(videos, labels, strict=True):
        np.testing.assert_array_equal(video[0], video[1])
        near = np.flatnonzero(np.abs(totals - video[0].sum()) < 1e-2)
        assert label[0] in y[near]
    assert labels.shape == (20, 1) and labels.dtype == np.int64


def test_seeds_splits_and_numbers():
    videos = datasets.moving_digits(6, side=16, seed=3)
    np.testing.assert_array_equal(datasets.moving_digits(6, side=16, seed=3), videos)
    np.testing.assert_array_equal(datasets.moving_digits(4, side=16, seed=3), videos[:4])
    np.testing.assert_array_equal(
        datasets.moving_digits(6, side=16, seed=None), datasets.moving_digits(6, side=16)
    )
    assert not np.allclose(datasets.moving_digits(6, side=16, seed=4), videos)
    assert not np.allclose(datasets.moving_digits(6, "test", side=16, seed=3), videos)
    longer = datasets.moving_digits(6, side=16, seed=3, frames=12)
    np.testing.assert_allclose(longer[:, :10], videos, atol=1e-6)
    assert videos.shape == (6, 10, 16, 16, 1) and videos.dtype == np.float32


@pytest.mark.parametrize("side", [16, 33, 64, 100])
def test_any_size_of_frames_has_digits_of_the_same_brightness(side):
    mean = datasets.moving_digits(50, frames=1, side=side, digits=1).mean()
    size = round(side * 28 / 64) / side
    expected = datasets.moving_digits(50, frames=1, digits=1).mean() * (size * 64 / 28) ** 2
    np.testing.assert_allclose(mean, expected, rtol=1e-3)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"number": 0}, "number=0 must be a positive integer"),
        ({"split": "tests"}, "split='tests' must be .*Did you mean 'test'"),
        ({"frames": 2.5}, "frames=2.5 must be a positive integer"),
        ({"side": 15}, "side=15 must be an integer of at least 16"),
        ({"digits": 0}, "digits=0 must be a positive integer"),
        ({"speed": -0.1}, "speed=-0.1 must be a number of at least 0"),
        ({"labels": 1}, "labels=1 must be True or False"),
        ({"seed": -1}, "seed=-1 must be an integer from 0"),
    ],
)
def test_errors_of_moving_digits(arguments, message):
    with pytest.raises(ValueError, match=f"^moving_digits: {message}"):
        datasets.moving_digits(**{"number": 2, **arguments})
