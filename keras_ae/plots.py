"""Pictures of arrays. Every function returns a Matplotlib figure, and saves it if given a path.

Figures are made without `pyplot`: no window, no state, no backend to choose. A notebook shows one
that is the last value of a cell.
"""

import io
import math

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from keras_ae.core import memory

_DPI = 120
_INCHES = 0.7  # Height of one example in a grid.
_FEWER = "Pass fewer examples."


@memory.explains(_FEWER)
def image_grid(examples, path=None, columns=None):
    """Examples in a grid: pictures, or curves where an example is a vector.

    Args:
        examples: Array of shape (examples, height, width, 1, 3 or 4), (examples, height, width) or
            (examples, features). Values in [0, 1] are shown from black to white, others from the
            smallest to the largest.
        path: File to write, such as "samples.png". Defaults to None, no file.
        columns: Examples in a row. Defaults to as many as make the grid a square.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: If the examples have no such shape.

    Example:

    >>> import numpy as np
    >>> from keras_ae import plots
    >>> figure = plots.image_grid(np.random.default_rng(0).random((16, 8, 8, 1)))
    >>> len(figure.axes)
    1
    """
    examples = _drawable(examples, "examples")
    columns = columns or math.ceil(math.sqrt(len(examples)))
    if examples.ndim == 2:
        return _saved(_curves([examples], columns), path)
    return _saved(_pictures([examples], columns)[0], path)


@memory.explains(_FEWER)
def reconstructions(originals, outputs, path=None, columns=10):
    """Originals above their reconstructions, in pairs of rows; curves where examples are vectors.

    Args:
        originals: Array of shape (examples, height, width, 1, 3 or 4), (examples, height, width)
            or (examples, features).
        outputs: Array of the reconstructions, as many as there are originals.
        path: File to write. Defaults to None, no file.
        columns: Examples in a row. Defaults to 10.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: If the two differ in number, or have no such shape.

    Example:

    >>> import numpy as np
    >>> from keras_ae import plots
    >>> x = np.random.default_rng(0).random((20, 8, 8, 1))
    >>> [label.get_text() for label in plots.reconstructions(x, x).axes[0].get_yticklabels()]
    ['original', 'reconstruction', 'original', 'reconstruction']
    """
    originals = _drawable(originals, "originals")
    outputs = _drawable(outputs, "outputs")
    if len(originals) != len(outputs) or originals.ndim != outputs.ndim:
        raise ValueError(
            f"reconstructions: originals has shape {originals.shape} and outputs {outputs.shape}. "
            "Pass one output for each original."
        )
    if originals.ndim == 2:
        figure = _curves([originals, outputs], min(columns, 5), ("original", "reconstruction"))
        return _saved(figure, path)
    figure, centres = _pictures([originals, outputs], columns, extra_width=1.0)
    axes = figure.axes[0]
    axes.set_axis_on()
    axes.tick_params(length=0, labelsize=7)
    axes.set_xticks([])
    axes.set_yticks(centres, ["original", "reconstruction"] * (len(centres) // 2))
    for spine in axes.spines.values():
        spine.set_visible(False)
    return _saved(figure, path)


@memory.explains(_FEWER)
def latent_plane(codes, labels=None, path=None):
    """Codes as points: their two dimensions, or their first two principal components.

    Args:
        codes: Array of shape (examples, latent_dim).
        labels: Array of shape (examples,): classes, each with a colour of its own, or numbers on
            a colour scale. Defaults to None, one colour.
        path: File to write. Defaults to None, no file.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: If codes is not a matrix, or labels is not one value for each of its rows.

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
            f"latent_plane: codes has shape {codes.shape}, and (examples, latent_dim) is needed."
        )
    if labels is not None and np.shape(labels) != (len(codes),):
        raise ValueError(
            f"latent_plane: labels has shape {np.shape(labels)}; one for each of the {len(codes)} "
            f"codes is needed, shape ({len(codes)},)."
        )
    points, names = _plane(codes)
    figure = _figure(6, 5)
    axes = figure.add_subplot(xlabel=names[0], ylabel=names[1])
    style = {"s": 9, "linewidths": 0, "alpha": 0.8}
    classes = _classes(labels)
    if labels is None:
        axes.scatter(*points.T, **style)
    elif classes is None:
        figure.colorbar(axes.scatter(*points.T, c=labels, cmap="viridis", **style), label="label")
    else:
        colours = _colours(len(classes))
        for label, colour in zip(classes, colours, strict=True):
            axes.scatter(*points[labels == label].T, color=colour, label=str(label), **style)
        figure.legend(loc="outside right center", markerscale=2, frameon=False)
    return _saved(figure, path)


@memory.explains(_FEWER)
def loss_curves(history, path=None):
    """Every loss over the epochs, in training and, where there is one, in validation.

    Args:
        history: Dictionary of name -> list of one number per epoch, such as `history` of what
            `fit` returns. The entry `val_loss` is drawn into the panel of `loss`.
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
    names.sort(key=lambda name: name != "loss")  # The sum before its parts.
    if not names or not len(history[names[0]]):
        raise ValueError("loss_curves: history holds no epochs. Call fit first.")
    _refuse_points(sum(map(len, history.values())))
    columns = min(len(names), 3)
    figure = _figure(3.4 * columns, 2.8 * math.ceil(len(names) / columns))
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
    return _saved(figure, path)


def can_draw(examples):
    """Whether `image_grid` and `reconstructions` take such examples.

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


# Pixels of a side above which Matplotlib draws nothing.
_MOST_PIXELS = 2**16


def _figure(width, height):
    pixels = math.ceil(_DPI * width), math.ceil(_DPI * height)
    if max(pixels) >= _MOST_PIXELS:
        raise ValueError(
            f"The figure would have {pixels[0]:,} x {pixels[1]:,} pixels, and at most "
            f"{_MOST_PIXELS:,} a side can be drawn. Pass fewer examples, or choose columns that "
            "make it a square."
        )
    memory.refuse_beyond(
        8.0 * math.prod(pixels), f"A figure of {pixels[0]:,} x {pixels[1]:,} pixels", _FEWER
    )
    figure = _ShownFigure(figsize=(width, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _refuse_points(number):
    """Raise if Matplotlib's copies of so many points do not fit into memory."""
    memory.refuse_beyond(200.0 * number, f"Drawing {number:,} points", _FEWER)


def _saved(figure, path):
    if path is not None:
        figure.savefig(path)
    return figure


def _drawable(examples, name):
    """An array of vectors, (examples, features), or of pictures with their channels last.

    In its own type: what is too much to draw is refused before it is copied.
    """
    examples = np.asarray(examples)
    if not can_draw(examples):
        raise ValueError(
            f"{name} has shape {examples.shape}, which cannot be drawn: pass (examples, height, "
            "width, 1, 3 or 4) or (examples, height, width) for pictures, or (examples, features) "
            "for curves."
        )
    return examples[..., None] if examples.ndim == 3 else examples


def _limits(examples):
    low, high = float(examples.min()), float(examples.max())
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)


def _pictures(series, columns, extra_width=0.0):
    """A figure of pictures, and the height of the middle of each row in pixels.

    Each row of the first of the series is followed by those of the others.
    """
    count, height, width, channels = series[0].shape
    columns = min(columns, count)
    rows = -(-count // columns) * len(series)
    gap = max(1, round(max(height, width) / 16))
    shape = (rows * (height + gap) - gap, columns * (width + gap) - gap, channels)
    inches = _INCHES / height
    figure = _figure(shape[1] * inches + extra_width, shape[0] * inches)
    memory.refuse_beyond(16.0 * math.prod(shape), f"A picture of {shape} numbers", _FEWER)
    canvas = np.full(shape, np.nan, "float32")
    for number, examples in enumerate(series):
        for index, picture in enumerate(examples):
            row, column = divmod(index, columns)
            top, left = (row * len(series) + number) * (height + gap), column * (width + gap)
            canvas[top : top + height, left : left + width] = picture
    # The first series sets the scale: an output outside it is clipped, and shows as such.
    low, high = _limits(series[0])
    canvas = np.clip((canvas - low) / max(high - low, 1e-12), 0, 1)
    canvas = np.where(np.isnan(canvas), 1.0, canvas)  # The gaps are white.
    axes = figure.add_subplot()
    picture = canvas[..., 0] if channels == 1 else canvas
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_axis_off()
    return figure, [row * (height + gap) + (height - 1) / 2 for row in range(rows)]


def _curves(series, columns, names=(None,)):
    """One frame for each example, with a line for each of the series, all on one scale."""
    count, features = series[0].shape
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    figure = _figure(1.6 * columns, 1.1 * rows + 0.3)
    _refuse_points(len(series) * count * features)
    series = [np.asarray(values, "float32") for values in series]
    low, high = _limits(np.concatenate(series))
    # One line runs through all frames, broken between them: a hundred axes take many seconds.
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


def _plane(codes):
    """Two coordinates for each code, and what to call them."""
    dimensions = codes.shape[1]
    if dimensions == 1:
        return np.pad(codes, ((0, 0), (0, 1))), ["code[0]", ""]
    if dimensions == 2 or len(codes) < 2:
        return codes[:, :2], ["code[0]", "code[1]"]
    centred = codes - codes.mean(axis=0)
    _, lengths, directions = np.linalg.svd(centred, full_matrices=False)
    shares = lengths**2 / max(np.sum(lengths**2), 1e-12)
    names = [
        f"principal component {number} ({share:.0%} of the variance)"
        for number, share in enumerate(shares[:2], 1)
    ]
    return centred @ directions[:2].T, names


def _classes(labels):
    """The classes in order, or None where the labels are better shown on a scale."""
    if labels is None:
        return None
    classes = np.unique(labels)
    return classes if np.asarray(labels).dtype.kind in "iubUS" and len(classes) <= 20 else None


def _colours(count):
    return colormaps["tab10" if count <= 10 else "tab20"].colors[:count]
