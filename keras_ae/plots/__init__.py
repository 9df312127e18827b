"""Plots. Every function returns a Matplotlib figure, and saves it if it gets a path.

- Of arrays: `image_grid`, `reconstructions`, `heat_maps`, `latent_plane`, `loss_curves`, and
  `features` of a dictionary.
- Of a model's codes: `traversal`, `interpolation`, `manifold`.

Examples are pictures with 1, 3 or 4 channels, or vectors, which are drawn as curves. Most functions
take these arguments, too:

- `ax`: Matplotlib axes to draw in, such as those of a figure with several plots.
- `size`: Width and height of the figure in inches.
- `colormap`: Name of a Matplotlib colormap for pictures with one channel. Gray by default.
- `labels`: One text for each object, such as the class of an example.

Figures are made without `pyplot`, so that there is no window, no global state and no backend to
choose. A notebook shows a figure that is the last value of a cell.
"""

from keras_ae.plots.arrays import (
    can_draw,
    features,
    heat_maps,
    image_grid,
    latent_plane,
    loss_curves,
    reconstructions,
)
from keras_ae.plots.codes import interpolation, manifold, traversal

__all__ = [
    "can_draw",
    "features",
    "heat_maps",
    "image_grid",
    "interpolation",
    "latent_plane",
    "loss_curves",
    "manifold",
    "reconstructions",
    "traversal",
]
