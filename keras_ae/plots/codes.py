"""Plots of what the codes of a model mean: what changes in the data if a code changes."""

import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from keras_ae import samplers
from keras_ae.core import arguments, examples, memory, seeds
from keras_ae.core.codes import describe_codes
from keras_ae.core.inputs import require_built, take_apart
from keras_ae.core.interpolation import Sphere
from keras_ae.core.types import Data, Path
from keras_ae.plots.drawing import FEWER, Style, check_drawable, check_labels, draw_examples, finish

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DRAWS = 10_000  # So many draws tell the quantiles of a prior that is not Gaussian.


@memory.explains(FEWER, converts=False)
def traversal(
    model: keras.Model,
    x: Data,
    number: int = 10,
    steps: int = 9,
    path: Path | None = None,
    *,
    example: int = 0,
    extent: float = 2.0,
    ax: "Axes | None" = None,
    size: tuple[float, float] | None = None,
    colormap: str | None = None,
    labels: Sequence[Any] | None = None,
    **inputs: Any,
) -> "Figure":
    """Decode the code of an example with one dimension changed, in one row for each dimension.

    The dimensions with the largest divergence between posterior and prior come first. If the model
    has no such divergence for each dimension, those in which codes vary most come first. A
    dimension is moved around its mean over the codes of x, and in a curved space of codes the moved
    code is the nearest one that there is.

    Args:
        model: A model whose codes are vectors of real numbers.
        x: Examples of data, some hundred of which are enough, as `encode` takes them.
        number: Number of dimensions, a positive integer. Defaults to 10.
        steps: Number of values of a dimension, an integer of at least 2. Defaults to 9.
        path: File to write, such as "traversal.png". Defaults to None, no file.
        example: Index of the example in x whose code is changed. Defaults to 0.
        extent: Largest distance from the mean in standard deviations of draws from the posteriors
            of all examples, a positive number. Defaults to 2.
        ax, size, colormap: See `keras_ae.plots`. Default to None.
        labels: One text for each dimension of the code. Defaults to None: its number.
        **inputs: The model's named inputs, one row for each example.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        TypeError: If the codes are integers, or a named input is missing.
        ValueError: If an argument is out of range, or the data cannot be drawn.

    Example:

    >>> import numpy as np
    >>> from keras_ae import VAE, plots
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8, 8, 1)).astype("float32")
    >>> model = VAE(latent_dim=3, network_options={"filters": (4,)}, seed=0)
    >>> figure = plots.traversal(model, x, number=2)
    >>> len(figure.axes[0].get_yticklabels())
    2
    """
    style = Style("traversal", ax, size, colormap)
    number = arguments.integer("traversal", "number", number)
    steps = arguments.integer("traversal", "steps", steps, least=2)
    extent = arguments.number("traversal", "extent", extent, positive=True)
    _refuse_integers("traversal", model)
    x, found = take_apart(model, x, "x")
    inputs = {**found, **inputs}
    codes = describe_codes(model, x, inputs)
    if codes.means.ndim != 2:
        raise ValueError(
            f"traversal: the codes of {type(model).__name__} have the shape {model.code_shape}, "
            "but only single vectors can be traversed. Use plots.interpolation."
        )
    count, width = codes.means.shape
    example = arguments.integer("traversal", "example", example, least=0, most=count - 1)
    labels = check_labels("traversal", labels, width)
    chosen = codes.rank()[:number]
    shifts = np.linspace(-extent, extent, steps)
    z = np.tile(codes.means[example], (len(chosen), steps, 1))
    for row, dimension in enumerate(chosen):
        z[row, :, dimension] = codes.means[:, dimension].mean() + codes.spread()[dimension] * shifts
    z = _project(model, z.reshape(-1, width))
    given = examples.select(model, model.decode, inputs)
    given = {k: np.repeat(np.asarray(v)[[example]], len(z), axis=0) for k, v in given.items()}
    data = check_drawable(model.decode(z, verbose=0, **given), "what the model decodes")
    names = [f"dimension {n}" if labels is None else labels[n] for n in chosen]
    axes = draw_examples(
        [data], steps, style, row_names=names, column_names=[f"{shift:+.3g}" for shift in shifts]
    )
    axes.set_xlabel("standard deviations from the mean", size="small")
    return finish(axes, path)


@memory.explains(FEWER, converts=False)
def interpolation(
    model: keras.Model,
    a: Data,
    b: Data,
    steps: int = 9,
    spherical: bool = False,
    path: Path | None = None,
    *,
    ax: "Axes | None" = None,
    size: tuple[float, float] | None = None,
    colormap: str | None = None,
    labels: Sequence[Any] | None = None,
    **inputs: Any,
) -> "Figure":
    """Draw what codes on the way from one example to another decode to, in one row for each pair.

    Each row begins and ends with the two examples themselves.

    Args:
        model: A model whose codes are real numbers.
        a, b: Two examples, or two batches of as many: see `keras_ae.Autoencoder.interpolate`.
        steps: Number of decoded codes in a row, an integer of at least 2. Defaults to 9.
        spherical: Whether ways go along a great circle. Defaults to False.
        path: File to write. Defaults to None, no file.
        ax, size, colormap: See `keras_ae.plots`. Default to None.
        labels: One text for each pair. Defaults to None.
        **inputs: The named inputs of `interpolate`.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        TypeError: If the codes are integers, or a named input is missing.
        ValueError: If an argument is out of range, or the data cannot be drawn.

    Example:

    >>> import numpy as np
    >>> from keras_ae import VAE, plots
    >>> x = np.random.default_rng(0).integers(0, 2, (64, 8, 8, 1)).astype("float32")
    >>> model = VAE(latent_dim=3, network_options={"filters": (4,)}, seed=0)
    >>> model.build((None, 8, 8, 1))
    >>> figure = plots.interpolation(model, x[:2], x[2:4], labels=["first", "second"])
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['first', 'second']
    """
    style = Style("interpolation", ax, size, colormap)
    ways = model.interpolate(a, b, steps, spherical, verbose=0, **inputs)
    if isinstance(ways, dict):
        check_drawable(ways, "what the model decodes")
    rank = len(model._target_shape)
    ways = np.asarray(ways).reshape(-1, steps, *model._target_shape)
    ends = [np.asarray(take_apart(model, x, "a")[0], "float32") for x in (a, b)]
    names = [f"{share:.2g}" for share in np.linspace(0.0, 1.0, steps)]
    if model._data_shape == model._target_shape:  # The ends can be drawn next to the ways.
        ends = [
            np.broadcast_to(end if end.ndim > rank else end[None], ways[:, 0].shape) for end in ends
        ]
        ways = np.concatenate([ends[0][:, None], ways, ends[1][:, None]], axis=1)
        names = ["from", *names, "to"]
    data = check_drawable(ways.reshape(-1, *model._target_shape), "what the model decodes")
    labels = check_labels("interpolation", labels, len(ways)) or ()
    axes = draw_examples([data], len(names), style, row_names=labels, column_names=names)
    return finish(axes, path)


@memory.explains(FEWER, converts=False)
def manifold(
    model: keras.Model,
    dimensions: tuple[int, int] = (0, 1),
    steps: int = 15,
    path: Path | None = None,
    *,
    ax: "Axes | None" = None,
    size: tuple[float, float] | None = None,
    colormap: str | None = None,
    **inputs: Any,
) -> "Figure":
    """Decode a grid of codes that covers two dimensions of the prior, each part as probable.

    The values of each dimension are quantiles: of the prior by the inverse of its cumulative
    distribution function if it is Gaussian, or else of many draws from the model's sampler. All
    other dimensions have their mean.

    Source: Kingma and Welling, appendix A, arXiv:1312.6114.

    Args:
        model: A model whose codes are vectors of real numbers, and whose `sample` is ready.
        dimensions: The two dimensions of the code, to the right and upwards, integers of at least
            0. Defaults to (0, 1).
        steps: Number of values of each dimension, an integer of at least 2. Defaults to 15.
        path: File to write, such as "manifold.png". Defaults to None, no file.
        ax, size, colormap: See `keras_ae.plots`. Default to None.
        **inputs: The named inputs of `sample`, with one value for all codes.

    Returns:
        `matplotlib.figure.Figure`.

    Raises:
        TypeError: If the codes are integers, or a named input is missing.
        ValueError: If an argument is out of range, codes lie on a sphere, on which there is no such
            grid, or the data cannot be drawn.
        RuntimeError: If the sampler is not ready. The message says what to call.

    Example:

    >>> import numpy as np
    >>> from keras_ae import VAE, plots
    >>> model = VAE(latent_dim=2, network_options={"filters": (4,)}, seed=0)
    >>> model.build((None, 8, 8, 1))
    >>> figure = plots.manifold(model, steps=5)
    >>> figure.axes[0].get_xlabel()
    'code[0]'
    """
    style = Style("manifold", ax, size, colormap)
    steps = arguments.integer("manifold", "steps", steps, least=2)
    _refuse_integers("manifold", model)
    require_built(model, "manifold")
    if isinstance(model._space, Sphere) or len(model.code_shape) != 1:
        raise ValueError(
            f"manifold: the codes of {type(model).__name__} lie on a sphere or are no single "
            "vectors, so that no grid covers them. Use plots.interpolation."
        )
    width = model.code_shape[0]
    pair = tuple(dimensions) if isinstance(dimensions, (tuple, list)) else ()
    if len(set(pair)) != 2 or not all(arguments.is_integer(d) and 0 <= d < width for d in pair):
        wanted = f"two different integers from 0 to {width - 1}"
        raise arguments.refusal("manifold", "dimensions", dimensions, wanted)
    shares = (np.arange(steps) + 0.5) / steps
    center, (right, up), given = _find_quantiles(model, pair, shares, inputs)
    z = np.tile(np.asarray(center, "float32"), (steps, steps, 1))
    z[:, :, pair[0]], z[:, :, pair[1]] = right[None], up[::-1][:, None]
    z = z.reshape(-1, width)
    given = {name: np.repeat(value[:1], len(z), axis=0) for name, value in given.items()}
    data = model._decode_draws(z, verbose=0, **given)
    data = check_drawable(data, "what the model decodes")
    names = [[f"{value:.2g}" for value in values] for values in (right, up[::-1])]
    axes = draw_examples([data], steps, style, column_names=names[0], row_names=names[1])
    axes.set_xlabel(f"code[{pair[0]}]", size="small")
    axes.set_ylabel(f"code[{pair[1]}]", size="small")
    return finish(axes, path)


def _find_quantiles(model, pair, shares, inputs):
    """Find quantiles of two dimensions of the sampler's draws.

    Args:
        model: The model.
        pair: The two dimensions.
        shares: Array of the probabilities of lower values.
        inputs: Dictionary of the named inputs that the user passed.

    Returns:
        The mean of all dimensions, a list of the quantiles of both dimensions, and the named inputs
        that `decode` takes, with some rows.
    """
    prior = None
    if not model.extra_inputs and hasattr(type(model), "prior"):
        try:
            prior = model.prior(ops.zeros((1, *model.code_shape)))
        except NotImplementedError:  # Several layers have a prior each.
            pass
    if hasattr(prior, "kl_per_dimension"):  # Only Gaussians with independent dimensions have it.
        center = ops.convert_to_numpy(prior.mean)[0]
        deviations = np.exp(0.5 * ops.convert_to_numpy(prior.log_variance)[0])
        normals = [statistics.NormalDist(center[d], deviations[d]) for d in pair]
        return center, [np.array([n.inv_cdf(s) for s in shares]) for n in normals], {}
    draws, given = samplers.draw(model, _DRAWS, seeds.draw(model, 0), 0, inputs)
    return draws.mean(axis=0), [np.quantile(draws[:, d], shares) for d in pair], given


def _project(model, z):
    z = ops.convert_to_tensor(z, "float32")
    return ops.convert_to_numpy(model._space.project(z))


def _refuse_integers(owner, model):
    if model._code_dtype != "float32":
        raise TypeError(
            f"{owner}: the codes of {type(model).__name__} are integers, which cannot be changed "
            "little by little. Use a model whose codes are vectors of real numbers, such as VAE."
        )
