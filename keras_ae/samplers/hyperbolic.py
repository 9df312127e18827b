"""Uniform codes in a ball of hyperbolic space."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae.core import arguments
from keras_ae.core.draws import draw_normal, draw_uniform
from keras_ae.samplers.fitted import FittedSampler
from keras_ae.samplers.spherical import interpolate

_ENTRIES = 1024


@keras.saving.register_keras_serializable("keras_ae")
class HyperbolicUniform(FittedSampler):
    """Draws codes of a `keras_ae.PoincareVAE` uniformly from the ball that holds those of the data.

    The draws are uniform by hyperbolic volume, which grows exponentially with the radius: the
    density of a distance r from the origin is proportional to sinh(sqrt(c) r)^(width - 1). The
    ball's radius is the 0.99 quantile of the distances of the data's codes.

    Source: the volume of a hyperbolic ball, as in Mathieu et al., arXiv:1901.06033, appendix B.

    Args:
        curvature: The c of the model, a positive number. Defaults to 1, or to that of the model if
            `fit_sampler` gets the name "hyperbolic_uniform".
        **kwargs: `name`.

    Example:
        >>> import numpy as np
        >>> from keras_ae.samplers import HyperbolicUniform
        >>> tangents = np.random.default_rng(0).normal(size=(200, 3))
        >>> HyperbolicUniform().fit(tangents).draw(5, seed=0).shape
        (5, 3)
    """

    _standardizes = _has_noise = False

    def __init__(self, curvature: float = 1.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.curvature = arguments.number(self, "curvature", curvature, positive=True)

    @classmethod
    def defaults_for(cls, model: keras.Model) -> dict[str, Any]:
        curvature = getattr(model._space, "curvature", None)
        return {} if curvature is None else {"curvature": curvature}

    def check_model(self, model: keras.Model) -> None:
        curvature = getattr(model._space, "curvature", self.curvature)
        if curvature != self.curvature:
            raise ValueError(
                f"HyperbolicUniform: curvature={self.curvature}, but the codes of "
                f"{type(model).__name__} have curvature={curvature}. Pass the same to both, or "
                'fit_sampler(x, "hyperbolic_uniform").'
            )

    def _make(self, width):
        self.width = width
        self.distances = self._make_state((_ENTRIES,), "distances")

    def _learn(self, codes, labels, seed, verbose):
        # The codes are tangent vectors at the origin, where lengths are twice the Euclidean ones.
        radius = np.quantile(2.0 * np.linalg.norm(codes, axis=1), 0.99)
        self.distances.assign(find_quantiles(radius, self.width, self.curvature))

    def _draw(self, num_samples, seed, temperature):
        direction = draw_normal((num_samples, self.width), seed)
        chance = draw_uniform((num_samples,), seed, 0.0, _ENTRIES - 1.0)
        length = 0.5 * interpolate(self.distances, chance)[:, None]
        return length * direction / ops.maximum(ops.norm(direction, axis=1, keepdims=True), 1e-12)

    def get_config(self):
        return {**super().get_config(), "curvature": self.curvature}


def find_quantiles(radius, width, curvature):
    """Return evenly spaced quantiles of the distance from the origin, from 0 to the radius.

    Args:
        radius: Radius of the ball, a number of at least 0.
        width: Dimensions of the space.
        curvature: Minus the sectional curvature.
    """
    if radius == 0.0:  # All codes are the origin.
        return np.zeros(_ENTRIES)
    r = np.linspace(0.0, radius, 20_001)[1:]
    scaled = np.sqrt(curvature) * r
    # log sinh(s) = s + log((1 - exp(-2 s)) / 2). Only ratios of densities count.
    log_density = (width - 1) * (scaled + np.log(-np.expm1(-2.0 * scaled)))
    cumulative = np.concatenate([[0.0], np.cumsum(np.exp(log_density - log_density.max()))])
    distances = np.concatenate([[0.0], r])
    return np.interp(np.linspace(0.0, 1.0, _ENTRIES), cumulative / cumulative[-1], distances)
