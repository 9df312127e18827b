"""Plots of arrays. Every function returns a Matplotlib figure, and saves it if it gets a path.

Figures are made without `pyplot`, so that there is no window, no global state and no backend to
choose. A notebook shows a figure that is the last value of a cell.
"""

import io
import math

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from keras_ae.core import memory

_DPI = 120
_INCHES = 0.7  # The height of one example in a grid.
_FEWER = "Pass fewer examples."


@memory.explains(_FEWER, converts=False)
def image_grid(examples, path=None, columns=None):
    """Draw examples in a grid: pictures, or curves if an example is a vector.

    Args:
        examples: Array of shape (examples, height, width, 1, 3 or 4), (examples, height, width) or
            (examples, features). Black is 0 and white is 1 if all values lie in [0, 1]. Otherwise
            black is the smallest value and white the largest.
        path: File to write, such as "samples.png". Defaults to None, no file.
        columns: Number of examples in a row. Defaults to a number that makes the grid square.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: If the examples have another shape.

    Example:

    >>> import numpy as np
    >>> from keras_ae import plots
    >>> figure = plots.image_grid(np.random.default_rng(0).random((16, 8, 8, 1)))
    >>> len(figure.axes)
    1
    """
    examples = _check_drawable(examples, "examples")
    columns = columns or math.ceil(math.sqrt(len(examples)))
    if examples.ndim == 2:
        return _save(_draw_curves([examples], columns), path)
    return _save(_draw_pictures([examples], columns)[0], path)


@memory.explains(_FEWER, converts=False)
def reconstructions(originals, outputs, path=None, columns=10):
    """Draw originals above their reconstructions, in pairs of rows.

    Examples that are vectors are drawn as curves.

    Args:
        originals: Array of shape (examples, height, width, 1, 3 or 4), (examples, height, width)
            or (examples, features).
        outputs: Array of the reconstructions, one for each original.
        path: File to write. Defaults to None, no file.
        columns: Number of examples in a row. Defaults to 10.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: If the two arrays differ in number, or have another shape.

    Example:

    >>> import numpy as np
    >>> from keras_ae import plots
    >>> x = np.random.default_rng(0).random((20, 8, 8, 1))
    >>> [label.get_text() for label in plots.reconstructions(x, x).axes[0].get_yticklabels()]
    ['original', 'reconstruction', 'original', 'reconstruction']
    """
    originals = _check_drawable(originals, "originals")
    outputs = _check_drawable(outputs, "outputs")
    if len(originals) != len(outputs) or originals.ndim != outputs.ndim:
        raise ValueError(
            f"reconstructions: originals has shape {originals.shape} and outputs {outputs.shape}. "
            "Pass one output for each original."
        )
    if originals.ndim == 2:
        figure = _draw_curves([originals, outputs], min(columns, 5), ("original", "reconstruction"))
        return _save(figure, path)
    figure, centers = _draw_pictures([originals, outputs], columns, extra_width=1.0)
    axes = figure.axes[0]
    axes.set_axis_on()
    axes.tick_params(length=0, labelsize=7)
    axes.set_xticks([])
    axes.set_yticks(centers, ["original", "reconstruction"] * (len(centers) // 2))
    for spine in axes.spines.values():
        spine.set_visible(False)
    return _save(figure, path)


@memory.explains(_FEWER, converts=False)
def latent_plane(codes, labels=None, path=None):
    """Draw codes as points: their two dimensions, or their first two principal components.

    Args:
        codes: Array of shape (examples, latent_dim).
        labels: Array of shape (examples,): classes, of which each gets its own color, or numbers,
            which get a color scale. Defaults to None, one color for all.
        path: File to write. Defaults to None, no file.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: If codes is not a matrix, or labels does not have one value for each code.

    Example:

    >>> import numpy as np
    >>> from keras_ae import plots
    >>> codes = np.random.default_rng(0).normal(size=(50, 16))
    >>> figure = plots.latent_plane(codes, np.arange(50) % 5)
    >>> [text.get_text() for text in figure.legends[0].get_texts()]
    ['0', '1', '2', '3', '4']
    """
    _refuse_points(np.size(codes))
    codes = np.asarray(codes, "float64")
    if codes.ndim != 2 or len(codes) == 0:
        raise ValueError(
            f"latent_plane: codes has shape {codes.shape}. Pass an array of shape (examples, "
            "latent_dim)."
        )
    if labels is not None and np.shape(labels) != (len(codes),):
        raise ValueError(
            f"latent_plane: labels has shape {np.shape(labels)}. Pass one value for each of the "
            f"{len(codes)} codes, shape ({len(codes)},)."
        )
    points, names = _project(codes)
    figure = _make_figure(6, 5)
    axes = figure.add_subplot(xlabel=names[0], ylabel=names[1])
    style = {"s": 9, "linewidths": 0, "alpha": 0.8}
    classes = _find_classes(labels)
    if labels is None:
        axes.scatter(*points.T, **style)
    elif classes is None:
        figure.colorbar(axes.scatter(*points.T, c=labels, cmap="viridis", **style), label="label")
    else:
        colors = _choose_colors(len(classes))
        for label, color in zip(classes, colors, strict=True):
            axes.scatter(*points[labels == label].T, color=color, label=str(label), **style)
        figure.legend(loc="outside right center", markerscale=2, frameon=False)
    return _save(figure, path)


@memory.explains(_FEWER, converts=False)
def loss_curves(history, path=None):
    """Draw every loss over the epochs, in training and, if there is any, in validation.

    Args:
        history: Dictionary of name -> list of one number per epoch, such as the attribute `history`
            of what `fit` returns. The entry `val_loss` is drawn into the panel of `loss`.
        path: File to write. Defaults to None, no file.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: If the history is empty.

    Example:

    >>> from keras_ae import plots
    >>> figure = plots.loss_curves({"loss": [3.0, 2.0], "val_loss": [3.1, 2.4], "kl_loss": [0, 1]})
    >>> [axes.get_title() for axes in figure.axes]
    ['loss', 'kl_loss']
    """
    names = [name for name in history if not name.startswith("val_")]
    names.sort(key=lambda name: name != "loss")  # The total comes before its parts.
    if not names or not len(history[names[0]]):
        raise ValueError("loss_curves: history has no epochs. Call fit first.")
    _refuse_points(sum(map(len, history.values())))
    columns = min(len(names), 3)
    figure = _make_figure(3.4 * columns, 2.8 * math.ceil(len(names) / columns))
    for number, name in enumerate(names, 1):
        axes = figure.add_subplot(math.ceil(len(names) / columns), columns, number, title=name)
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            if key in history:
                epochs = range(1, len(history[key]) + 1)
                axes.plot(epochs, history[key], label=label, marker="." * (len(epochs) == 1))
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
    figure.axes[0].legend(frameon=False)
    return _save(figure, path)


def can_draw(examples):
    """Tell whether `image_grid` and `reconstructions` can draw these examples.

    Example:

    >>> import numpy as np
    >>> from keras_ae import plots
    >>> plots.can_draw(np.zeros((3, 8, 8, 1))), plots.can_draw(np.zeros((3, 8, 8, 2)))
    (True, False)
    """
    shape = np.shape(examples)
    return 0 not in shape and (len(shape) in (2, 3) or (len(shape) == 4 and shape[-1] in (1, 3, 4)))


class _ShownFigure(Figure):
    """A figure that a notebook shows whether or not `%matplotlib inline` was called."""

    def _repr_png_(self):
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


# Matplotlib cannot draw a figure with a side of this many pixels or more.
_MOST_PIXELS = 2**16


def _make_figure(width, height):
    pixels = math.ceil(_DPI * width), math.ceil(_DPI * height)
    if max(pixels) >= _MOST_PIXELS:
        raise ValueError(
            f"The figure would have {pixels[0]:,} x {pixels[1]:,} pixels, but each side must have "
            f"fewer than {_MOST_PIXELS:,}. Pass fewer examples, or choose columns that make the "
            "figure square."
        )
    memory.refuse_beyond(
        8.0 * math.prod(pixels), f"A figure of {pixels[0]:,} x {pixels[1]:,} pixels", _FEWER
    )
    figure = _ShownFigure(figsize=(width, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _refuse_points(number):
    """Raise an error if Matplotlib's copies of this number of points do not fit into memory."""
    memory.refuse_beyond(200.0 * number, f"Drawing {number:,} points", _FEWER)


def _save(figure, path):
    if path is not None:
        figure.savefig(path)
    return figure


def _check_drawable(examples, name):
    """Return an array of vectors, (examples, features), or of pictures with channels last.

    The array keeps its dtype, because it must not be copied before its size has been checked.
    """
    examples = np.asarray(examples)
    if not can_draw(examples):
        raise ValueError(
            f"{name} has shape {examples.shape}, which cannot be drawn. Pass (examples, height, "
            "width, 1, 3 or 4) or (examples, height, width) for pictures, or (examples, features) "
            "for curves."
        )
    return examples[..., None] if examples.ndim == 3 else examples


def _find_limits(examples):
    low, high = float(examples.min()), float(examples.max())
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)


def _draw_pictures(series, columns, extra_width=0.0):
    """Draw a figure of pictures, and return it with the vertical center of each row in pixels.

    Each row of the first array of the series is followed by the rows of the other arrays.
    """
    count, height, width, channels = series[0].shape
    columns = min(columns, count)
    rows = -(-count // columns) * len(series)
    gap = max(1, round(max(height, width) / 16))
    shape = (rows * (height + gap) - gap, columns * (width + gap) - gap, channels)
    inches = _INCHES / height
    figure = _make_figure(shape[1] * inches + extra_width, shape[0] * inches)
    memory.refuse_beyond(16.0 * math.prod(shape), f"A picture of {shape} numbers", _FEWER)
    canvas = np.full(shape, np.nan, "float32")
    for number, examples in enumerate(series):
        for index, picture in enumerate(examples):
            row, column = divmod(index, columns)
            top, left = (row * len(series) + number) * (height + gap), column * (width + gap)
            canvas[top : top + height, left : left + width] = picture
    # The first array sets the scale, and outputs outside the scale are clipped to black or white.
    low, high = _find_limits(series[0])
    canvas = np.clip((canvas - low) / max(high - low, 1e-12), 0, 1)
    canvas = np.where(np.isnan(canvas), 1.0, canvas)  # The gaps are white.
    axes = figure.add_subplot()
    picture = canvas[..., 0] if channels == 1 else canvas
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()
    return figure, [row * (height + gap) + (height - 1) / 2 for row in range(rows)]


def _draw_curves(series, columns, names=(None,)):
    """Draw a frame for each example, with a line for each array of the series, on one scale."""
    count, features = series[0].shape
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    figure = _make_figure(1.6 * columns, 1.1 * rows + 0.3)
    _refuse_points(len(series) * count * features)
    series = [np.asarray(values, "float32") for values in series]
    low, high = _find_limits(np.concatenate(series))
    # One line runs through all frames, with gaps between them, because a hundred axes would take
    # many seconds to draw.
    column, row = np.arange(count) % columns, np.arange(count) // columns
    left, bottom = 1.1 * column[:, None], -1.2 * row[:, None]
    x = np.pad(left + np.linspace(0, 1, features), ((0, 0), (0, 1)), constant_values=np.nan)
    axes = figure.add_subplot(title=f"each frame from {low:.3g} to {high:.3g}")
    axes.title.set_size("small")
    axes.set_axis_off()
    for values, name in zip(series, names, strict=True):
        heights = (values - low) / max(high - low, 1e-12)
        y = np.pad(bottom + heights, ((0, 0), (0, 1)), constant_values=np.nan)
        axes.plot(x.ravel(), y.ravel(), linewidth=1, marker="." * (features == 1), label=name)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0], [np.nan, np.nan]])
    frames = np.concatenate([left, bottom], axis=1)[:, None] + corners  # (count, 6, 2)
    axes.plot(*frames.reshape(-1, 2).T, color="0.8", linewidth=0.7, zorder=0)
    if names != (None,):
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def _project(codes):
    """Compute two coordinates for each code, and their names."""
    dimensions = codes.shape[1]
    if dimensions == 1:
        return np.pad(codes, ((0, 0), (0, 1))), ["code[0]", ""]
    if dimensions == 2 or len(codes) < 2:
        return codes[:, :2], ["code[0]", "code[1]"]
    centered = codes - codes.mean(axis=0)
    _, lengths, directions = np.linalg.svd(centered, full_matrices=False)
    shares = lengths**2 / max(np.sum(lengths**2), 1e-12)
    names = [
        f"principal component {number} ({share:.0%} of the variance)"
        for number, share in enumerate(shares[:2], 1)
    ]
    return centered @ directions[:2].T, names


def _find_classes(labels):
    """List the classes in order, or return None if the labels are better shown on a scale."""
    if labels is None:
        return None
    classes = np.unique(labels)
    return classes if np.asarray(labels).dtype.kind in "iubUS" and len(classes) <= 20 else None


def _choose_colors(count):
    return colormaps["tab10" if count <= 10 else "tab20"].colors[:count]
