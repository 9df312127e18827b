"""Generated videos of handwritten digits that move in a straight line and bounce off the walls.

The videos are those of Srivastava, Mansimov and Salakhutdinov 2015, arXiv:1502.04681, section 3.2,
but for any size of frames, and digits move by parts of a pixel. The digits are those of
`"small_mnist"`, so that nothing is downloaded.
"""

from typing import Any

import numpy as np

from keras_ae.core import arguments, memory
from keras_ae.datasets.embedded import SMALL_MNIST_PARTS, read_small_mnist

# In the paper, digits of 28 pixels move in frames of 64.
_DIGIT, _FRAME = 28, 64
_LEAST_SIDE = 16


def moving_digits(
    number: int,
    split: str = "train",
    *,
    frames: int = 10,
    side: int = 64,
    digits: int = 2,
    speed: float = 0.1,
    labels: bool = False,
    seed: int | None = 0,
) -> np.ndarray | Any:
    """Generate videos of digits that move at a constant speed and bounce off the walls.

    Every digit begins at a random place inside the frame, in a random direction. It is always
    completely visible. Where digits overlap, the brighter pixel is seen. A digit is 28/64 as large
    as a frame, as in the paper: 28 pixels in frames of 64, and 14 pixels, each the mean of four,
    in frames of 32.

    Args:
        number: Number of videos, a positive integer. With the same other arguments, the first
            videos are the same for any number.
        split: Which digits of `"small_mnist"` are seen: "train", "test" or "all". Other splits have
            other movements, too. Defaults to "train".
        frames: Number of frames of a video, a positive integer. Defaults to 10.
        side: Height and width of a frame in pixels, an integer of at least 16. Defaults to 64.
        digits: Number of digits in a video, a positive integer. Defaults to 2.
        speed: Distance that a digit moves from one frame to the next, as a fraction of the way from
            wall to wall, a number of at least 0. Defaults to 0.1, which is 3.6 pixels in frames
            of 64.
        labels: Whether to return the digits' classes, too. Defaults to False.
        seed: Integer from 0 to 2**31 - 1, or None for 0. Defaults to 0.

    Returns:
        Float32 array of shape (number, frames, side, side, 1), with values in [0, 1]; or a pair of
        this array and the classes, an int64 array of shape (number, digits).

    Raises:
        ValueError: If an argument is out of range, or the videos do not fit in memory.

    Example:

        >>> from keras_ae import datasets
        >>> x, label = datasets.moving_digits(3, frames=5, side=32, labels=True)
        >>> x.shape, label.shape
        ((3, 5, 32, 32, 1), (3, 2))
    """
    where = "moving_digits"
    number = arguments.integer(where, "number", number)
    arguments.choice(where, "split", split, SMALL_MNIST_PARTS)
    frames = arguments.integer(where, "frames", frames)
    side = arguments.integer(where, "side", side, least=_LEAST_SIDE)
    digits = arguments.integer(where, "digits", digits)
    speed = arguments.number(where, "speed", speed)
    arguments.flag(where, "labels", labels)
    seed = 0 if seed is None else seed
    seed = arguments.integer(where, "seed", seed, least=0, most=2**31 - 1)
    # A digit's share of the pixels and its product with the columns exist beside the videos.
    memory.refuse_beyond(
        4.0 * number * frames * (3 * side**2 + 3 * side * _DIGIT) + 40.0 * number * digits * frames,
        f"moving_digits: {number} videos of {frames} frames of {side}x{side} pixels",
        "Generate fewer videos at a time.",
    )
    pictures, classes = read_small_mnist(split)
    # NumPy promises that the stream of RandomState never changes.
    random = np.random.RandomState([seed, list(SMALL_MNIST_PARTS).index(split)])
    which, *start, direction = np.moveaxis(random.random_sample((number, digits, 4)), -1, 0)
    which = (which * len(pictures)).astype("int64")
    angle = 2 * np.pi * direction
    size = round(side * _DIGIT / _FRAME)
    x, y = (
        _bounce(begin, speed * heading, frames) * (side - size)
        for begin, heading in zip(start, (np.cos(angle), np.sin(angle)), strict=True)
    )
    shrink = _average(size)
    videos = np.zeros((number, frames, side, side), "float32")
    for digit in range(digits):
        shown = shrink @ (pictures[which[:, digit]] / np.float32(255)) @ shrink.T
        rows, columns = (_place(at[:, digit], size, side) for at in (y, x))
        drawn = rows @ shown[:, None] @ np.swapaxes(columns, -1, -2)
        np.maximum(videos, drawn, out=videos)
    videos = np.minimum(videos, 1.0, out=videos)[..., None]
    return (videos, classes[which]) if labels else videos


def _bounce(start, step, frames):
    """Compute where points between walls at 0 and 1 are in each frame.

    A reflected path is a straight path in a world of mirror images, folded back.

    Args:
        start, step: Arrays of shape (...,).
        frames: Number of frames.

    Returns:
        Array of shape (..., frames).
    """
    straight = start[..., None] + step[..., None] * np.arange(frames)
    return 1.0 - np.abs(straight % 2.0 - 1.0)


def _average(size):
    """Return the matrix (size, 28) that shrinks or enlarges a digit by averaging areas."""
    edges = np.arange(size + 1) * (_DIGIT / size)
    pixels = np.arange(_DIGIT)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (np.maximum(overlap, 0.0) * (size / _DIGIT)).astype("float32")


def _place(at, size, side):
    """Return the matrices that move pixels to places between pixels, by linear interpolation.

    Args:
        at: Array of shape (number, frames), where the first pixel comes to lie.
        size, side: Numbers of pixels before and after.

    Returns:
        Float32 array of shape (number, frames, side, size).
    """
    distance = np.arange(side)[:, None] - np.arange(size) - at[..., None, None].astype("float32")
    return np.maximum(1.0 - np.abs(distance), 0.0, dtype="float32")
