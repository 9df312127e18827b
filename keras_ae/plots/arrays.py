"""Plots of arrays."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps

from keras_ae.core import arguments, memory
from keras_ae.core.types import Array, Path
from keras_ae.plots.drawing import (
    FEWER,
    Style,
    add_legend,
    check_drawable,
    check_labels,
    draw_examples,
    find_limits,
    finish,
    make_figure,
    refuse_points,
)
from keras_ae.plots.drawing import can_draw as can_draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@memory.explains(FEWER, converts=False)
def image_grid(
    examples: Array,
    path: Path | None = None,
    columns: int | None = None,
    *,
    ax: "Axes | None" = None,
    size: tuple[float, float] | None = None,
    colormap: str | None = None,
    labels: Sequence[Any] | None = None,
) -> "Figure":
    """Draw examples in a grid: pictures, or curves if an example is a vector.

    Args:
        examples: Array of shape (examples, height, width, 1, 3 or 4), (examples, height, width) or
            (examples, features). Black is 0 and white is 1 if all values lie in [0, 1]. Otherwise
            black is the smallest value and white the largest.
        path: File to write, such as "samples.png". Defaults to None, no file.
        columns: Number of examples in a row. Defaults to a number that makes the grid square.
        ax, size, colormap: See `keras_ae.plots`. Default to None.
        labels: One text for each example, which is drawn above it. Defaults to None.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: If the examples have another shape, or an argument has no effect on them.

    Example:

    >>> import numpy as np
    >>> from keras_ae import plots
    >>> figure = plots.image_grid(np.random.default_rng(0).random((16, 8, 8, 1)))
    >>> len(figure.axes)
    1
    """
    style = Style("image_grid", ax, size, colormap)
    examples = check_drawable(examples, "examples")
    columns = _check_columns("image_grid", columns or math.ceil(math.sqrt(len(examples))))
    labels = check_labels("image_grid", labels, len(examples))
    return finish(draw_examples([examples], columns, style, labels=labels), path)


@memory.explains(FEWER, converts=False)
def reconstructions(
    originals: Array,
    outputs: Array,
    path: Path | None = None,
    columns: int = 10,
    *,
    ax: "Axes | None" = None,
    size: tuple[float, float] | None = None,
    colormap: str | None = None,
    labels: Sequence[Any] | None = None,
) -> "Figure":
    """Draw originals above their reconstructions, in pairs of rows.

    Examples that are vectors are drawn as curves.

    Args:
        originals: Array of shape (examples, height, width, 1, 3 or 4), (examples, height, width)
            or (examples, features).
        outputs: Array of the reconstructions, one for each original.
        path: File to write. Defaults to None, no file.
        columns: Number of examples in a row, at most 5 if they are vectors. Defaults to 10.
        ax, size, colormap: See `keras_ae.plots`. Default to None.
        labels: One text for each original, which is drawn above it. Defaults to None.

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
    style = Style("reconstructions", ax, size, colormap)
    originals = check_drawable(originals, "originals")
    outputs = check_drawable(outputs, "outputs")
    if len(originals) != len(outputs) or originals.ndim != outputs.ndim:
        raise ValueError(
            f"reconstructions: originals has shape {originals.shape} and outputs {outputs.shape}. "
            "Pass one output for each original."
        )
    columns = _check_columns("reconstructions", columns)
    columns = min(columns, 5) if originals.ndim == 2 else columns
    labels = check_labels("reconstructions", labels, len(originals))
    names = ("original", "reconstruction")
    axes = draw_examples([originals, outputs], columns, style, names=names, labels=labels)
    return finish(axes, path)


@memory.explains(FEWER, converts=False)
def heat_maps(
    pictures: Array,
    shares: Array,
    path: Path | None = None,
    columns: int = 10,
    *,
    ax: "Axes | None" = None,
    size: tuple[float, float] | None = None,
    labels: Sequence[Any] | None = None,
) -> "Figure":
    """Draw pictures above the same pictures with their heat maps in red.

    The share of a pixel is relative to the largest one of its picture.

    Args:
        pictures: Array of shape (examples, height, width, 1 or 3) or (examples, height, width).
        shares: Array of the same shape, of numbers of at least 0, such as what
            `keras_ae.estimators.AnomalyDetector.explain` returns.
        path: File to write. Defaults to None, no file.
        columns: Number of pictures in a row. Defaults to 10.
        ax, size: See `keras_ae.plots`. Default to None.
        labels: One text for each picture, which is drawn above it. Defaults to None.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: If the two arrays differ in shape, or are no pictures.

    Example:

    >>> import numpy as np
    >>> from keras_ae import plots
    >>> x = np.random.default_rng(0).random((5, 8, 8, 1))
    >>> [label.get_text() for label in plots.heat_maps(x, x).axes[0].get_yticklabels()]
    ['picture', 'heat map']
    """
    style = Style("heat_maps", ax, size, None)
    pictures = check_drawable(pictures, "pictures")
    shares = check_drawable(shares, "shares")
    if pictures.shape != shares.shape or pictures.ndim != 4 or pictures.shape[-1] == 4:
        raise ValueError(
            f"heat_maps: pictures has shape {pictures.shape} and shares {shares.shape}. Pass two "
            "arrays of the same shape, (examples, height, width, 1 or 3)."
        )
    low, high = find_limits(pictures)
    scaled = np.clip((pictures - low) / max(high - low, 1e-12), 0.0, 1.0)
    scaled = np.broadcast_to(scaled, (*scaled.shape[:-1], 3))
    heat = np.maximum(shares, 0.0).sum(axis=-1, keepdims=True)
    heat = heat / np.maximum(heat.max(axis=(1, 2), keepdims=True), 1e-12)
    colored = (1.0 - heat) * scaled + heat * np.array([1.0, 0.0, 0.0])
    labels = check_labels("heat_maps", labels, len(pictures))
    columns = _check_columns("heat_maps", columns)
    names = ("picture", "heat map")
    axes = draw_examples([scaled, colored], columns, style, names=names, labels=labels)
    return finish(axes, path)


@memory.explains(FEWER, converts=False)
def features(
    directions: Array,
    activity: Array | None = None,
    most: int = 64,
    path: Path | None = None,
    columns: int | None = None,
    *,
    ax: "Axes | None" = None,
    size: tuple[float, float] | None = None,
    colormap: str | None = None,
    labels: Sequence[Any] | None = None,
) -> "Figure":
    """Draw the features of a dictionary: their directions in the data.

    Each picture has a scale of its own. It is symmetric, so that 0 is drawn in the middle color.

    Args:
        directions: Array of shape (features, ...), such as the attribute `directions` of a sparse
            autoencoder. A feature has the shape of a picture or a vector.
        activity: Array of shape (features,), how often each feature is active, such as
            `feature_density` of `keras_ae.sparsity.dictionary_metrics`. The most active features
            are drawn, the first of them first. Defaults to None: the first features are drawn.
        most: Number of features to draw, a positive integer. Defaults to 64.
        path: File to write. Defaults to None, no file.
        columns: Number of features in a row. Defaults to a number that makes the grid square.
        ax, size: See `keras_ae.plots`. Default to None.
        colormap: Name of a colormap for pictures with one channel. Defaults to None: "RdBu_r", in
            which negative numbers are blue and positive ones red.
        labels: One text for each feature, which is drawn above it. Defaults to None: no labels, or
            with activity the numbers of the features.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        ValueError: If a shape cannot be drawn, or there is not one activity for each feature.

    Example:

    >>> import numpy as np
    >>> from keras_ae import plots
    >>> directions = np.random.default_rng(0).normal(size=(16, 8, 8, 1))
    >>> figure = plots.features(directions, activity=np.arange(16), most=4)
    >>> [text.get_text() for text in figure.axes[0].texts]
    ['15', '14', '13', '12']
    """
    style = Style("features", ax, size, colormap)
    directions = check_drawable(directions, "directions")
    most = min(arguments.integer("features", "most", most), len(directions))
    labels = check_labels("features", labels, len(directions))
    chosen = np.arange(most)
    if activity is not None:
        if np.shape(activity) != (len(directions),):
            raise ValueError(
                f"features: activity has shape {np.shape(activity)}. Pass one number for each of "
                f"the {len(directions)} features."
            )
        chosen = np.argsort(-np.asarray(activity, "float64"), kind="stable")[:most]
        labels = labels or list(map(str, range(len(directions))))
    chosen_labels = labels and [labels[number] for number in chosen]
    shown = np.asarray(directions[chosen], "float32")
    if shown.ndim == 4:
        axes = tuple(range(1, shown.ndim))
        extent = np.maximum(np.abs(shown).max(axis=axes, keepdims=True), 1e-12)
        shown = 0.5 + 0.5 * shown / extent
        if shown.shape[-1] == 1 and colormap is None:
            style = Style("features", ax, size, "RdBu_r")
    columns = _check_columns("features", columns or math.ceil(math.sqrt(most)))
    return finish(draw_examples([shown], columns, style, labels=chosen_labels), path)


@memory.explains(FEWER, converts=False)
def latent_plane(
    codes: Array,
    labels: Array | None = None,
    path: Path | None = None,
    *,
    ax: "Axes | None" = None,
    size: tuple[float, float] | None = None,
    colormap: str | None = None,
) -> "Figure":
    """Draw codes as points: their two dimensions, or their first two principal components.

    Args:
        codes: Array of shape (examples, latent_dim).
        labels: Array of shape (examples,): classes, of which each gets its own color, or numbers,
            which get a color scale. Defaults to None, one color for all.
        path: File to write. Defaults to None, no file.
        ax, size: See `keras_ae.plots`. Default to None.
        colormap: Name of a colormap for the labels. Defaults to None: "viridis" for numbers,
            "tab10" for up to ten classes, or else "tab20".

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
    style = Style("latent_plane", ax, size, colormap)
    if labels is None:
        style.refuse_colormap("points without labels")
    refuse_points(np.size(codes))
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
    axes = style.make_axes(6, 5, xlabel=names[0], ylabel=names[1])
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_size(10 * min(1.0, style.scale(6, 5)))
    look = {"s": 9, "linewidths": 0, "alpha": 0.8}
    classes = _find_classes(labels)
    if labels is None:
        axes.scatter(*points.T, **look)
    elif classes is None:
        shown = axes.scatter(*points.T, c=labels, cmap=colormap or "viridis", **look)
        axes.get_figure(root=True).colorbar(shown, ax=axes, label="label")
    else:
        colors = _choose_colors(len(classes), colormap)
        for label, color in zip(classes, colors, strict=True):
            axes.scatter(*points[labels == label].T, color=color, label=str(label), **look)
        add_legend(axes, style, "outside right center", markerscale=2)
    return finish(axes, path)


@memory.explains(FEWER, converts=False)
def loss_curves(history: dict[str, list[float]], path: Path | None = None) -> "Figure":
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
    refuse_points(sum(map(len, history.values())))
    columns = min(len(names), 3)
    figure = make_figure(3.4 * columns, 2.8 * math.ceil(len(names) / columns))
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
    return finish(figure.axes[0], path)


def _check_columns(owner, columns):
    return arguments.integer(owner, "columns", columns)


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


def _choose_colors(count, colormap):
    colormap = colormaps[colormap or ("tab10" if count <= 10 else "tab20")]
    if hasattr(colormap, "colors") and len(colormap.colors) < 64:  # It is a list of colors.
        return [colormap.colors[number % len(colormap.colors)] for number in range(count)]
    return colormap(np.linspace(0, 1, count))
