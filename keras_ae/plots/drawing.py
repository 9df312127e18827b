"""Draw many examples into one pair of axes, with names of rows, columns and examples."""

import dataclasses
import io
import math
import numbers
import typing

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from keras_ae.core import arguments, memory
from keras_ae.core.types import Array

FEWER = "Pass fewer examples."
_DPI = 120
_INCHES = 0.7  # The height of one example in a grid.
_FONT = 7  # The size of labels if examples have this height.


@dataclasses.dataclass(frozen=True)
class Style:
    """Where and how to draw.

    Args:
        owner: Name of the function in errors.
        ax: Axes to draw in, or None for a new figure.
        size: Width and height of the figure in inches, or None.
        colormap: Name of a colormap for pictures with one channel, or None for gray.
    """

    owner: str
    ax: object = None
    size: object = None
    colormap: object = None

    def __post_init__(self):
        if self.size is not None:
            if self.ax is not None:
                raise ValueError(
                    f"{self.owner}: size={self.size!r} has no effect on axes that exist. Leave out "
                    "size or ax."
                )
            pair = self.size if isinstance(self.size, (tuple, list)) else ()
            is_number = [isinstance(v, numbers.Real) and 0 < v < math.inf for v in pair]
            if len(pair) != 2 or not all(is_number):
                wanted = "a width and a height in inches, such as (6, 4)"
                raise arguments.refusal(self.owner, "size", self.size, wanted)
        if self.colormap is not None and self.colormap not in colormaps:
            hint = arguments.did_you_mean(self.colormap, colormaps)
            wanted = "the name of a colormap of Matplotlib, such as 'viridis'"
            raise arguments.refusal(self.owner, "colormap", self.colormap, wanted, hint.lstrip())

    def make_axes(self, width, height, **options):
        """Return the axes to draw in: those of the user, or those of a new figure."""
        if self.ax is not None:
            self.ax.set(**options)
            return self.ax
        return make_figure(*(self.size or (width, height))).add_subplot(**options)

    def scale(self, width, height):
        """Return how much larger the figure is than one of this width and height."""
        return 1.0 if self.size is None else min(self.size[0] / width, self.size[1] / height)

    def refuse_colormap(self, what):
        """Raise an error if a colormap was given for something without one."""
        if self.colormap is not None:
            raise ValueError(
                f"{self.owner}: colormap={self.colormap!r} has no effect on {what}. Leave it out."
            )


def finish(axes, path):
    """Return the figure of some axes, and save it if there is a path."""
    figure = axes.get_figure(root=True)
    if path is not None:
        figure.savefig(path)
    return figure


class _ShownFigure(Figure):
    """A figure that a notebook shows whether or not `%matplotlib inline` was called."""

    def _repr_png_(self):
        buffer = io.BytesIO()
        self.savefig(buffer, format="png")
        return buffer.getvalue()


# Matplotlib cannot draw a figure with a side of this many pixels or more.
_MOST_PIXELS = 2**16


def make_figure(width, height):
    """Make a figure of a width and height in inches, if it fits into memory."""
    pixels = math.ceil(_DPI * width), math.ceil(_DPI * height)
    if max(pixels) >= _MOST_PIXELS:
        raise ValueError(
            f"The figure would have {pixels[0]:,} x {pixels[1]:,} pixels, but each side must have "
            f"fewer than {_MOST_PIXELS:,}. Pass fewer examples, or choose columns that make the "
            "figure square."
        )
    memory.refuse_beyond(
        8.0 * math.prod(pixels), f"A figure of {pixels[0]:,} x {pixels[1]:,} pixels", FEWER
    )
    figure = _ShownFigure(figsize=(width, height), dpi=_DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def refuse_points(number):
    """Raise an error if Matplotlib's copies of this number of points do not fit into memory."""
    memory.refuse_beyond(200.0 * number, f"Drawing {number:,} points", FEWER)


def can_draw(examples: Array) -> bool:
    """Tell whether `image_grid` and `reconstructions` can draw these examples.

    Example:

    >>> import numpy as np
    >>> from keras_ae import plots
    >>> plots.can_draw(np.zeros((3, 8, 8, 1))), plots.can_draw(np.zeros((3, 8, 8, 2)))
    (True, False)
    """
    shape = np.shape(examples)
    return 0 not in shape and (len(shape) in (2, 3) or (len(shape) == 4 and shape[-1] in (1, 3, 4)))


def check_drawable(examples, name):
    """Return an array of vectors, (examples, features), or of pictures with channels last.

    The array keeps its dtype, because it must not be copied before its size has been checked.
    """
    if isinstance(examples, dict):
        first = next(iter(examples), "x")
        raise TypeError(
            f"{name} is a dictionary with the keys {', '.join(map(repr, examples))}. Pass one of "
            f"its arrays, such as {name}[{first!r}]."
        )
    examples = np.asarray(examples)
    if not can_draw(examples):
        raise ValueError(
            f"{name} has shape {examples.shape}, which cannot be drawn. Pass (examples, height, "
            "width, 1, 3 or 4) or (examples, height, width) for pictures, or (examples, features) "
            "for curves."
        )
    return examples[..., None] if examples.ndim == 3 else examples


def check_labels(owner, labels, count):
    """Return the texts of `count` objects as a list of strings, or None if there are none."""
    if labels is None:
        return None
    if isinstance(labels, (str, bytes)) or np.shape(labels)[:1] != (count,):
        raise arguments.refusal(owner, "labels", labels, f"a list of {count} texts or numbers")
    return list(map(str, labels))


def find_limits(examples):
    """Return the values that are drawn as black and as white."""
    low, high = float(examples.min()), float(examples.max())
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)


class _Grid(typing.NamedTuple):
    """Where the examples of a figure are.

    Args:
        axes: Matplotlib axes.
        rows: List of the vertical centers of the rows of each array.
        columns: Horizontal centers of the columns.
        tops: Vertical places of the labels of each row.
        font: Size of the font.
    """

    axes: object
    rows: list
    columns: np.ndarray
    tops: np.ndarray
    font: float


def draw_examples(series, columns, style, *, names=(), row_names=(), column_names=(), labels=None):
    """Draw pictures, or curves if an example is a vector.

    Args:
        series: List of arrays of the same shape. If examples are pictures, each row of the first
            array is followed by rows of the others. Curves of one example share a frame.
        columns: Number of examples in a row.
        style: `Style`.
        names: One name for each array of the series, for rows of pictures and colors of curves.
            Defaults to none.
        row_names, column_names: One name for each row or column of a single array. Default to none.
        labels: One text for each example of the first array, drawn above it. Defaults to None.

    Returns:
        The axes.
    """
    columns, are_curves = min(columns, len(series[0])), series[0].ndim == 2
    draw = _draw_curves if are_curves else _draw_pictures
    below = 0.4 if column_names else 0.0  # The height of what is written below, in inches.
    grid = draw(series, columns, style, names, labels, row_names, below)
    axes, ticks = grid.axes, grid.rows[0] if row_names else []
    if names and not are_curves:
        row_names = list(names) * len(grid.rows[0])
        ticks = np.stack(grid.rows, axis=1).ravel()
    axes.set_axis_off()
    if row_names or column_names:
        axes.set_axis_on()
        axes.tick_params(length=0, labelsize=grid.font)
        axes.set_xticks(grid.columns if column_names else [], column_names or [])
        axes.set_yticks(ticks, row_names or [])
        for spine in axes.spines.values():
            spine.set_visible(False)
    for index, text in enumerate(labels or []):
        row, column = divmod(index, columns)
        place = grid.columns[column], grid.tops[row]
        axes.text(*place, text, ha="center", va="bottom", size=grid.font)
    return axes


def _draw_pictures(series, columns, style, names, labels, row_names, below):
    """Draw pictures, and return their `_Grid`."""
    count, height, width, channels = series[0].shape
    if channels > 1:
        style.refuse_colormap(f"pictures with {channels} channels")
    rows = -(-count // columns)
    gap = max(1, round(max(height, width) / 16))
    band = math.ceil(0.25 * height) if labels else 0  # The space for the labels of a row.
    pitch = len(series) * (height + gap) + band
    shape = (rows * pitch - gap, columns * (width + gap) - gap, channels)
    inches = _INCHES / height
    longest = max(map(len, names or row_names or [""]))
    full = shape[1] * inches + 0.07 * longest, shape[0] * inches + below
    axes = style.make_axes(*full)
    memory.refuse_beyond(16.0 * math.prod(shape), f"A picture of {shape} numbers", FEWER)
    canvas = np.full(shape, np.nan, "float32")
    for number, examples in enumerate(series):
        for index, picture in enumerate(examples):
            row, column = divmod(index, columns)
            top, left = row * pitch + band + number * (height + gap), column * (width + gap)
            canvas[top : top + height, left : left + width] = picture
    # The first array sets the scale, and outputs outside the scale are clipped to black or white.
    low, high = find_limits(series[0])
    canvas = np.clip((canvas - low) / max(high - low, 1e-12), 0, 1)
    gaps = np.isnan(canvas[..., 0])
    picture = canvas[..., 0] if channels == 1 else canvas
    if style.colormap is not None:
        picture = colormaps[style.colormap](np.nan_to_num(picture))[..., :3]
    picture[gaps] = 1.0  # The gaps are white.
    axes.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    tops = np.arange(rows) * pitch + band
    centers = [tops + n * (height + gap) + (height - 1) / 2 for n in range(len(series))]
    middles = np.arange(columns) * (width + gap) + (width - 1) / 2
    return _Grid(axes, centers, middles, tops - 1, _FONT * style.scale(*full))


def _draw_curves(series, columns, style, names, labels, row_names, below):
    """Draw a frame for each example, with a line for each array of the series, on one scale."""
    style.refuse_colormap("curves")
    count, features = series[0].shape
    rows = math.ceil(count / columns)
    full = 1.6 * columns, 1.1 * rows + 0.3 + below
    refuse_points(len(series) * count * features)
    series = [np.asarray(values, "float32") for values in series]
    low, high = find_limits(np.concatenate(series))
    # One line runs through all frames, with gaps between them, because a hundred axes would take
    # many seconds to draw.
    column, row = np.arange(count) % columns, np.arange(count) // columns
    left, bottom = 1.1 * column[:, None], -1.2 * row[:, None]
    x = np.pad(left + np.linspace(0, 1, features), ((0, 0), (0, 1)), constant_values=np.nan)
    axes = style.make_axes(*full, title=f"each frame from {low:.3g} to {high:.3g}")
    axes.title.set_size("small")
    for values, name in zip(series, names or [None] * len(series), strict=True):
        heights = (values - low) / max(high - low, 1e-12)
        y = np.pad(bottom + heights, ((0, 0), (0, 1)), constant_values=np.nan)
        axes.plot(x.ravel(), y.ravel(), linewidth=1, marker="." * (features == 1), label=name)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0], [np.nan, np.nan]])
    frames = np.concatenate([left, bottom], axis=1)[:, None] + corners  # (count, 6, 2)
    axes.plot(*frames.reshape(-1, 2).T, color="0.8", linewidth=0.7, zorder=0)
    if names:
        add_legend(axes, style, "outside lower center", ncols=2)
    bottoms = -1.2 * np.arange(rows)
    middles = 1.1 * np.arange(columns) + 0.5
    return _Grid(axes, [bottoms + 0.5], middles, bottoms + 1.0, _FONT * style.scale(*full))


def add_legend(axes, style, place, **options):
    """Add a legend outside the axes of a new figure, or within the axes of the user."""
    if style.ax is None:
        axes.get_figure(root=True).legend(loc=place, frameon=False, **options)
    else:
        axes.legend(frameon=False, **options)
