"""The Poincaré ball, and the two Gaussians that live on it.

Points of the ball of curvature -c are vectors of norm below 1 / sqrt(c). Formulas follow Ganea et
al., Hyperbolic neural networks, section 2 (arXiv:1805.09112); c = 0 is flat space, to which all of
them tend, with a metric of 4 times the usual one: the distance is twice the usual one.

Float32 cannot tell points near the rim apart. All maps keep to `MAX_RADIUS` / sqrt(c) around the
origin, in the ball's own distance. Ways, tangent vectors at the origin whose norm is the distance
to go, have no such rim: distributions draw them as well as points.
"""

import dataclasses
import math

import keras
from keras import ops

from keras_ae.distributions.elementary import (
    LOG_TWO_PI,
    Distribution,
    _log_sinhc,
    event_sum,
)
from keras_ae.distributions.von_mises_fisher import (
    PROPOSALS,
    first_accepted,
    log_sphere_area,
    nodes_between,
)

_RIM = 1e-5  # Between the outermost point and the rim, for a ball of radius 1.
MAX_RADIUS = 2.0 * math.atanh(1.0 - _RIM)  # 12.2


def _floats(*tensors):
    return [ops.cast(tensor, "float32") for tensor in tensors]


def _norm(x):
    # The floor keeps quotients by the norm, and their gradients at 0, finite numbers.
    return ops.sqrt(ops.maximum(ops.sum(ops.square(x), axis=-1, keepdims=True), 1e-30))


def _gap(x, c):
    """1 - c |x|^2, shape (batch, 1)."""
    return ops.maximum(1.0 - c * ops.sum(ops.square(x), axis=-1, keepdims=True), _RIM)


def project(x, curvature):
    """The nearest point that is far enough from the rim.

    Args:
        x: Tensor of shape (batch, d).
        curvature: Float of at least 0, the c of a curvature of -c.

    Returns:
        Tensor of shape (batch, d).

    Example:
        >>> import numpy as np
        >>> float(project(np.array([[3.0, 0.0]], "float32"), 1.0)[0, 0]) < 1
        True
    """
    (x,) = _floats(x)
    if not curvature:
        return x
    length, longest = _norm(x), (1.0 - _RIM) / math.sqrt(curvature)
    return ops.where(length > longest, x * (longest / length), x)


def conformal_factor(x, curvature):
    """How much longer steps at a point are than they look: 2 / (1 - c |x|^2).

    Args:
        x: Tensor of shape (batch, d), points of the ball.
        curvature: Float of at least 0, the c of a curvature of -c.

    Returns:
        Tensor of shape (batch, 1).

    Example:
        >>> import numpy as np
        >>> float(conformal_factor(np.zeros((1, 2), "float32"), 1.0)[0, 0])
        2.0
    """
    (x,) = _floats(x)
    return 2.0 / _gap(x, curvature)


def mobius_add(x, y, curvature):
    """x ⊕ y, the ball's addition, which neither commutes nor associates.

    Args:
        x, y: Tensors of shape (batch, d), points of the ball.
        curvature: Float of at least 0, the c of a curvature of -c.

    Returns:
        Tensor of shape (batch, d).

    Example:
        >>> import numpy as np
        >>> x = np.array([[0.5]], "float32")
        >>> round(float(mobius_add(x, x, 1.0)[0, 0]), 4)
        0.8
    """
    x, y = _floats(x, y)
    # Written in x + y, whose digits survive where y is nearly -x.
    total = x + y
    square = curvature * ops.sum(ops.square(total), axis=-1, keepdims=True)
    gap = _gap(x, curvature)
    return project((gap * total + square * x) / (gap * _gap(y, curvature) + square), curvature)


def distance(x, y, curvature):
    """Length of the shortest way between points.

    Args:
        x, y: Tensors of shape (batch, d), points of the ball.
        curvature: Float of at least 0, the c of a curvature of -c.

    Returns:
        Tensor of shape (batch, 1).

    Example:
        >>> import numpy as np
        >>> origin, y = np.zeros((1, 2), "float32"), np.array([[0.5, 0.0]], "float32")
        >>> round(float(distance(origin, y, 1.0)[0, 0]), 4), round(float(np.log(3.0)), 4)
        (1.0986, 1.0986)
    """
    x, y = _floats(x, y)
    spread = ops.rsqrt(_gap(x, curvature) * _gap(y, curvature))
    s = _norm(math.sqrt(curvature) * (x - y)) * spread
    # The inverse hyperbolic sine, without cancellation.
    arc = ops.log1p(s + ops.square(s) / (1.0 + ops.sqrt(1.0 + ops.square(s))))
    return 2.0 * _norm(x - y) * spread * (arc / s)


def _step(x, v, c):
    """From x along v, whose norm is the distance to go."""
    length = _norm(0.5 * math.sqrt(c) * v)
    return mobius_add(x, 0.5 * ops.tanh(length) / length * v, c)


def _way(x, y, c):
    """The v of `_step` that leads from x to y."""
    w = mobius_add(-x, y, c)
    return distance(x, y, c) / _norm(w) * w


def _way_there(x, v, c):
    """The way from the origin to where v, whose norm is the distance to go, leads from x.

    Nothing overflows and no rim cuts it off: exact wherever the point would have no coordinates.
    """
    root = math.sqrt(c)
    to_x = distance(ops.zeros_like(x), x, c)
    length = _norm(v)
    u, e = x / _norm(x), v / length
    # In the hyperboloid's coordinates, of which the way's length is the inverse hyperbolic sine,
    # divided by exp(root * (to_x + length)) / 4: y = along * u + aside * e.
    fallen_x, fallen = _fall(2.0 * to_x, root), _fall(2.0 * length, root)
    shrunk, half = ops.exp(-root * to_x), _fall(to_x, root)
    cosine = ops.sum(u * e, axis=-1, keepdims=True)
    aside = 2.0 * shrunk * fallen
    along = (2.0 - root * fallen) * fallen_x + root**2 * fallen * ops.square(half) * cosine
    # Back towards the origin the two nearly cancel: their difference and the sum of u and e keep
    # the digits.
    both = u + e
    excess = 0.5 * ops.sum(ops.square(both), axis=-1, keepdims=True)
    further = to_x - length
    rest = ops.exp(-2.0 * root * ops.minimum(to_x, length)) * _fall(2.0 * ops.abs(further), root)
    over = 2.0 * ops.sign(further) * rest + root**2 * fallen * ops.square(half) * excess
    y = ops.where(cosine < -0.5, over * u + aside * both, along * u + aside * e)
    size = _norm(y)
    log_scale = root * (to_x + length) - math.log(4.0)
    scale = ops.exp(ops.minimum(log_scale, 80.0))
    near = root * size * scale < 1e3
    if not c:
        return scale * y
    sine = ops.where(near, root * size * scale, 1.0)
    arc = ops.log1p(sine + ops.square(sine) / (1.0 + ops.sqrt(1.0 + ops.square(sine))))
    stretch = scale * ops.where(sine > 1e-12, arc / ops.maximum(sine, 1e-12), 1.0)
    far = ops.where(near, 1.0, root * size)
    return ops.where(near, stretch, (math.log(2.0) + ops.log(far) + log_scale) / far) * y


def _fall(t, root):
    """(1 - exp(-root * t)) / root, which is t for a root of 0."""
    x = ops.maximum(root * t, 1e-12)
    return t * (-ops.expm1(-x) / x)


def exponential_map(x, v, curvature):
    """The point at the end of the shortest way that leaves x with velocity v.

    Args:
        x: Tensor of shape (batch, d), points of the ball.
        v: Tensor of shape (batch, d), tangent vectors at x.
        curvature: Float of at least 0, the c of a curvature of -c.

    Returns:
        Tensor of shape (batch, d).

    Example:
        >>> import numpy as np
        >>> x, v = np.array([[0.3, 0.1]], "float32"), np.array([[0.1, -0.2]], "float32")
        >>> back = logarithmic_map(x, exponential_map(x, v, 1.0), 1.0)
        >>> bool(abs(np.asarray(back) - v).max() < 1e-6)
        True
    """
    x, v = _floats(x, v)
    return _step(x, conformal_factor(x, curvature) * v, curvature)


def logarithmic_map(x, y, curvature):
    """The velocity with which the shortest way to y leaves x: `exponential_map`'s inverse.

    Args:
        x, y: Tensors of shape (batch, d), points of the ball.
        curvature: Float of at least 0, the c of a curvature of -c.

    Returns:
        Tensor of shape (batch, d).

    Example:
        >>> import numpy as np
        >>> origin, y = np.zeros((1, 2), "float32"), np.array([[0.5, 0.0]], "float32")
        >>> v = np.asarray(logarithmic_map(origin, y, 1.0))
        >>> bool(abs(v - [[np.arctanh(0.5), 0.0]]).max() < 1e-6)
        True
    """
    x, y = _floats(x, y)
    return _way(x, y, curvature) / conformal_factor(x, curvature)


def exponential_map_at_origin(v, curvature):
    """`exponential_map` at the origin: tanh(sqrt(c) |v|) v / (sqrt(c) |v|).

    Args:
        v: Tensor of shape (batch, d).
        curvature: Float of at least 0, the c of a curvature of -c.

    Returns:
        Tensor of shape (batch, d).

    Example:
        >>> import numpy as np
        >>> y = np.asarray(exponential_map_at_origin(np.array([[2.0, 0.0]], "float32"), 1.0))
        >>> bool(abs(y - [[np.tanh(2.0), 0.0]]).max() < 1e-6)
        True
    """
    return exponential_map(ops.zeros_like(v), v, curvature)


def logarithmic_map_at_origin(y, curvature):
    """`logarithmic_map` at the origin: artanh(sqrt(c) |y|) y / (sqrt(c) |y|).

    Args:
        y: Tensor of shape (batch, d), points of the ball.
        curvature: Float of at least 0, the c of a curvature of -c.

    Returns:
        Tensor of shape (batch, d).

    Example:
        >>> import numpy as np
        >>> v = np.asarray(logarithmic_map_at_origin(np.array([[0.5, 0.0]], "float32"), 4.0 / 9.0))
        >>> round(float(v[0, 0]), 4)  # artanh(1/3) / (2/3)
        0.5199
    """
    return logarithmic_map(ops.zeros_like(y), y, curvature)


@dataclasses.dataclass(frozen=True, eq=False)
class _OnTheBall(Distribution):
    mean: object
    scale: object
    curvature: float = 1.0

    def __post_init__(self):
        curvature = float(self.curvature)
        super().__post_init__()
        object.__setattr__(self, "curvature", curvature)

    def repeat(self, num_copies):
        """The distribution of every example as many times, one after the other.

        Args:
            num_copies: Positive integer.

        Returns:
            Distribution of the same class over a batch that is so many times as long.
        """
        mean, scale = (ops.repeat(v, num_copies, axis=0) for v in (self.mean, self.scale))
        return type(self)(mean, scale, self.curvature)

    def sample(self, seed):
        """Draws that are differentiable with respect to the mean and the scale.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensor of the mean's shape, points of the ball.
        """
        return self.sample_with_log_prob(seed)[0]

    def sample_with_log_prob(self, seed):
        """Draws, and their log-densities, exact however small the scale.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensors: the draws, (batch, d), and their log-densities, (batch,). A draw
            beyond `MAX_RADIUS` / sqrt(c), for which float32 has no coordinates, is given as the
            nearest point within, and its density is that point's: `sample_ways` draws without
            this limit.
        """
        way, log_density = self._draw(seed)
        if not self.curvature:
            return _step(self.mean, way, 0.0), log_density
        there = _way_there(self.mean, way, self.curvature)
        length, longest = _norm(there), MAX_RADIUS / math.sqrt(self.curvature)
        beyond = length > longest
        there = ops.where(beyond, there * (longest / ops.maximum(length, longest)), there)
        z = _step(ops.zeros_like(there), there, self.curvature)
        return z, ops.where(beyond[:, 0], self.log_prob(z), log_density)

    def sample_ways(self, seed):
        """Draws as tangent vectors at the origin, whose norm is the distance from it.

        Beyond `MAX_RADIUS` / sqrt(c) a point has no float32 coordinates, and a way still has.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensors: the ways, (batch, d), and the log-densities of the draws, (batch,).
        """
        way, log_density = self._draw(seed)
        return _way_there(self.mean, way, self.curvature), log_density

    def log_prob_of_ways(self, way):
        """`log_prob` where a way from the mean leads.

        Args:
            way: Tensor of the mean's shape: tangent vectors at the mean, whose norm is the
                distance from it.

        Returns:
            Float32 tensor of shape (batch,).

        Raises:
            ValueError: way's shape is not the mean's, the batch axis aside.
        """
        return self._log_prob(self._event(way, self.mean))

    def log_prob(self, x):
        """Log-density, in nats, with respect to the ball's own volume.

        That volume is conformal_factor ** d times the usual one.

        Args:
            x: Tensor of the mean's shape, points of the ball.

        Returns:
            Float32 tensor of shape (batch,).

        Raises:
            ValueError: x's shape is not the mean's, the batch axis aside.
        """
        return self._log_prob(_way(self.mean, self._event(x, self.mean), self.curvature))


@dataclasses.dataclass(frozen=True, eq=False)
class WrappedNormal(_OnTheBall):
    """A Gaussian of tangent vectors at a point, mapped to the ball.

    Source: Mathieu et al., Continuous hierarchical representations with Poincaré variational
    auto-encoders, arXiv:1901.06033.

    Args:
        mean: Tensor of shape (batch, d), points of the ball.
        scale: Tensor of the same shape: standard deviations, in the ball's own distance.
        curvature: Float of at least 0, the c of a curvature of -c. Defaults to 1.

    Example:
        >>> import numpy as np
        >>> prior = WrappedNormal(np.zeros((5, 2)), np.ones((5, 2)), 0.5)
        >>> z = prior.sample(seed=0)
        >>> prior.log_prob(z).shape == (5,)
        True
    """

    def _draw(self, seed):
        noise = keras.random.normal(ops.shape(self.mean), dtype="float32", seed=seed)
        way = self.scale * noise
        return way, self._density(way, noise)

    def _log_prob(self, way):
        return self._density(way, way / self.scale)

    def _density(self, way, standardised):
        d = self.mean.shape[-1]
        # The map stretches a sphere of radius r by sinh(sqrt(c) r) / (sqrt(c) r), d - 1 times.
        stretch = _log_sinhc(math.sqrt(self.curvature) * _norm(way)[:, 0])
        gaussian = 0.5 * ops.square(standardised) + ops.log(self.scale) + 0.5 * LOG_TWO_PI
        return -event_sum(gaussian) - (d - 1) * stretch


@dataclasses.dataclass(frozen=True, eq=False)
class RiemannianNormal(_OnTheBall):
    """The density exp(-distance^2 / (2 scale^2)), normalised: of the least information.

    Source: Mathieu et al., Continuous hierarchical representations with Poincaré variational
    auto-encoders, arXiv:1901.06033. The paper's sum of error
    functions for the normaliser alternates in sign and loses all of float32's digits for a small
    scale; here it is an integral over the radius, as are the implicit gradients of the sampler.

    Args:
        mean: Tensor of shape (batch, d), points of the ball.
        scale: Tensor of shape (batch, 1), positive, in the ball's own distance.
        curvature: Float of at least 0, the c of a curvature of -c. Defaults to 1.

    Typical draws lie at the distance (d - 1) sqrt(c) scale^2 where that is large, which should
    stay below `MAX_RADIUS` / sqrt(c) if they are to have coordinates: see `sample_ways`.

    Example:
        >>> import numpy as np
        >>> prior = RiemannianNormal(np.zeros((5, 2)), np.ones((5, 1)), 0.5)
        >>> z = prior.sample(seed=0)
        >>> prior.log_prob(z).shape == (5,)
        True
    """

    def _draw(self, seed):
        d = self.mean.shape[-1]
        # One call: an integer for a seed gives every call the same numbers.
        shape = (ops.shape(self.mean)[0], 3 * PROPOSALS + d)
        noise = keras.random.normal(shape, dtype="float32", seed=seed)
        ratio = self._radius(noise[:, :-d])
        scale = ops.stop_gradient(self.scale)
        slope = ops.stop_gradient(self._radius_slope(ratio))
        radius = ratio * scale + slope * (self.scale - scale)
        around = noise[:, -d:] / _norm(noise[:, -d:])
        return radius * around, self._density(radius / self.scale)

    def _log_prob(self, way):
        return self._density(_norm(way) / self.scale)

    def _density(self, ratio):
        log_normaliser, _ = self._radial_integral()
        d = self.mean.shape[-1]
        volume = log_sphere_area(d) + d * ops.log(self.scale) + log_normaliser
        return (-0.5 * ops.square(ratio) - volume)[:, 0]

    # Of the radius over the scale, the density is exp(-r^2 / 2) (sinh(b r) / b)^(d - 1), where b
    # is sqrt(c) times the scale. Its logarithm is more concave than a Gaussian's.

    def _log_density(self, ratio):
        bent = _log_sinhc(math.sqrt(self.curvature) * self.scale * ratio)
        d = self.mean.shape[-1]
        return (d - 1) * (ops.log(ratio) + bent) - 0.5 * ops.square(ratio)

    def _centre(self):
        """Nearly the mode: where r = (d - 1) b coth(b r), with coth(x)^2 as 1 + 1 / x^2."""
        d = self.mean.shape[-1]
        bent = self.curvature * ops.square(ops.stop_gradient(self.scale))
        square = ops.square(bent * (d - 1)) + 4.0
        return ops.sqrt(0.5 * (d - 1) * (bent * (d - 1) + ops.sqrt(square)))

    def _radial_integral(self):
        """Logarithm of the density's integral, and the mean square: both of shape (batch, 1)."""
        centre = self._centre()
        low = ops.maximum(centre - 7.0, 0.0)
        pairs = [nodes_between(low, centre), nodes_between(centre, centre + 7.0)]
        points, weights = (ops.concatenate(v, axis=-1) for v in zip(*pairs, strict=True))
        points = ops.maximum(points, 1e-30)  # In one dimension the lower half is empty.
        terms = self._log_density(points) + ops.log(ops.maximum(weights, 1e-30))
        log_normaliser = ops.logsumexp(terms, axis=-1, keepdims=True)
        mean_square = ops.exp(terms - log_normaliser) * ops.square(points)
        return log_normaliser, ops.sum(mean_square, axis=-1, keepdims=True)

    def _radius(self, noise):
        """A radius over the scale, (batch, 1), from Gaussians of shape (batch, 3 * proposals)."""
        d = self.mean.shape[-1]
        b = math.sqrt(self.curvature) * ops.stop_gradient(self.scale)
        centre = ops.maximum(self._centre(), 1e-6)
        # log(sinh(b r)) lies below its tangent at the centre, so that a Gaussian around the
        # tangent's maximum, scaled, lies above the density: it proposes.
        slope = b / ops.tanh(b * centre) if self.curvature else 1.0 / centre
        first, second, third = ops.split(noise, 3, axis=-1)
        # In one dimension the density is half a Gaussian, and the other half its mirror image.
        proposed = (d - 1) * slope + first
        proposed = ops.abs(proposed) if d == 1 else proposed
        inside = ops.maximum(proposed, 1e-6)
        below = (
            ops.log(inside / centre)
            + _log_sinhc(b * inside)
            - _log_sinhc(b * centre)
            - slope * (inside - centre)
        )
        accepted = (d - 1) * below >= -0.5 * (ops.square(second) + ops.square(third))
        accepted = ops.logical_and(accepted, proposed >= inside)
        return ops.stop_gradient(first_accepted(inside, accepted))

    def _radius_slope(self, ratio):
        """d radius / d scale at a fixed quantile: minus dF / d scale over the density.

        That derivative is the integral of (r^2 - E[r^2]) times the density, taken on the side
        where it keeps its sign.
        """
        _, mean_square = self._radial_integral()
        towards = ops.square(ratio) < mean_square
        low = ops.where(towards, ops.maximum(ratio - 7.0, 0.0), ratio)
        points, weights = nodes_between(low, ops.where(towards, ratio, ratio + 7.0))
        density = ops.exp(self._log_density(points) - self._log_density(ratio))
        total = weights * ops.abs(ops.square(points) - mean_square) * density
        return ops.sum(total, axis=-1, keepdims=True)
