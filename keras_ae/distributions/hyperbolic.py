"""The Poincaré ball and two generalizations of the Gaussian on it.

Points of the ball of curvature -c are vectors of norm below 1 / sqrt(c). Formulas follow Ganea et
al., Hyperbolic neural networks, section 2 (arXiv:1805.09112). All of them tend to those of flat
space as c tends to 0, with a metric of 4 times the usual one: distances are twice the usual ones.

Float32 cannot tell points near the rim apart. All maps therefore stay within the distance
`MAX_RADIUS` / sqrt(c) of the origin, measured in the ball. A way is a tangent vector at the origin
whose norm is the distance to go. Ways have no such limit, and distributions draw them as well as
points.
"""

import dataclasses
import math
from typing import Self

from keras import ops

from keras_ae.core.draws import draw_normal
from keras_ae.core.types import Seed, Tensor
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

_RIM = 1e-5  # The gap between the outermost point and the rim, in a ball of radius 1.
MAX_RADIUS = 2.0 * math.atanh(1.0 - _RIM)  # 12.2


def _floats(*tensors):
    return [ops.cast(tensor, "float32") for tensor in tensors]


def _norm(x):
    # The floor keeps quotients by the norm, and their gradients at 0, finite numbers.
    return ops.sqrt(ops.maximum(ops.sum(ops.square(x), axis=-1, keepdims=True), 1e-30))


def _gap(x, c):
    """Compute 1 - c |x|^2, shape (batch, 1)."""
    return ops.maximum(1.0 - c * ops.sum(ops.square(x), axis=-1, keepdims=True), _RIM)


def project(x, curvature):
    """Move x to the nearest point that is far enough from the rim.

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
    """Compute 2 / (1 - c |x|^2): a step's length in the ball divided by its Euclidean length.

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
    """Compute x ⊕ y, the ball's addition, which is neither commutative nor associative.

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
    # The formula is written in terms of x + y, which keeps its digits where y is nearly -x.
    total = x + y
    square = curvature * ops.sum(ops.square(total), axis=-1, keepdims=True)
    gap = _gap(x, curvature)
    return project((gap * total + square * x) / (gap * _gap(y, curvature) + square), curvature)


def distance(x, y, curvature):
    """Compute the length of the shortest path between points.

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
    # This is the inverse hyperbolic sine, written without cancellation.
    arc = ops.log1p(s + ops.square(s) / (1.0 + ops.sqrt(1.0 + ops.square(s))))
    return 2.0 * _norm(x - y) * spread * (arc / s)


def _step(x, v, c):
    """Move from x along v, whose norm is the distance to go."""
    length = _norm(0.5 * math.sqrt(c) * v)
    return mobius_add(x, 0.5 * ops.tanh(length) / length * v, c)


def _way(x, y, c):
    """Compute the v with which `_step` leads from x to y."""
    w = mobius_add(-x, y, c)
    return distance(x, y, c) / _norm(w) * w


def _way_there(x, v, c):
    """Compute the way from the origin to the point that lies |v| away from x in direction v.

    Nothing overflows and nothing is cut off at the rim, so that the result is exact even where the
    point has no float32 coordinates.
    """
    root = math.sqrt(c)
    to_x = distance(ops.zeros_like(x), x, c)
    length = _norm(v)
    u, e = x / _norm(x), v / length
    # y = along * u + aside * e is the point in the hyperboloid's coordinates, divided by
    # exp(root * (to_x + length)) / 4. The length of the way is the inverse hyperbolic sine of the
    # norm of those coordinates.
    fallen_x, fallen = _fall(2.0 * to_x, root), _fall(2.0 * length, root)
    shrunk, half = ops.exp(-root * to_x), _fall(to_x, root)
    cosine = ops.sum(u * e, axis=-1, keepdims=True)
    aside = 2.0 * shrunk * fallen
    along = (2.0 - root * fallen) * fallen_x + root**2 * fallen * ops.square(half) * cosine
    # Where v leads back towards the origin, the two terms nearly cancel. Their difference and u + e
    # keep the digits there.
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
    """Compute (1 - exp(-root * t)) / root, which is t for a root of 0."""
    x = ops.maximum(root * t, 1e-12)
    return t * (-ops.expm1(-x) / x)


def exponential_map(x, v, curvature):
    """Compute the end of the geodesic that leaves x with velocity v and takes unit time.

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
    """Compute the velocity at x of the geodesic from x to y: the inverse of `exponential_map`.

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
    """Compute `exponential_map` at the origin: tanh(sqrt(c) |v|) v / (sqrt(c) |v|).

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
    """Compute `logarithmic_map` at the origin: artanh(sqrt(c) |y|) y / (sqrt(c) |y|).

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
class _BallDistribution(Distribution):
    mean: Tensor
    scale: Tensor
    curvature: float = 1.0

    def __post_init__(self):
        curvature = float(self.curvature)
        super().__post_init__()
        object.__setattr__(self, "curvature", curvature)

    def repeat(self, num_copies: int) -> Self:
        """Repeat the distribution of every example num_copies times in a row.

        Args:
            num_copies: Positive integer.

        Returns:
            Distribution of the same class over a batch that is num_copies times as long.
        """
        mean, scale = (ops.repeat(v, num_copies, axis=0) for v in (self.mean, self.scale))
        return type(self)(mean, scale, self.curvature)

    def sample(self, seed: Seed) -> Tensor:
        """Draw samples that are differentiable with respect to the mean and the scale.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensor of the mean's shape, points of the ball.
        """
        return self.sample_with_log_prob(seed)[0]

    def sample_with_log_prob(self, seed: Seed) -> tuple[Tensor, Tensor]:
        """Draw samples and compute their log-densities, which are exact however small the scale.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensors: the draws, (batch, d), and their log-densities, (batch,). Float32 has
            no coordinates for a draw beyond `MAX_RADIUS` / sqrt(c). Such a draw is replaced by the
            nearest point within the limit, and its density by that point's. `sample_ways` draws
            without this limit.
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

    def sample_ways(self, seed: Seed) -> tuple[Tensor, Tensor]:
        """Draw ways: tangent vectors at the origin whose norm is the draw's distance from it.

        A point beyond `MAX_RADIUS` / sqrt(c) has no float32 coordinates, but its way does.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensors: the ways, (batch, d), and the log-densities of the draws, (batch,).
        """
        way, log_density = self._draw(seed)
        return _way_there(self.mean, way, self.curvature), log_density

    def log_prob_of_ways(self, way: Tensor) -> Tensor:
        """Compute `log_prob` at the end of a way that begins at the mean.

        Args:
            way: Tensor of the mean's shape: tangent vectors at the mean, whose norm is the
                distance from it.

        Returns:
            Float32 tensor of shape (batch,).

        Raises:
            ValueError: the shapes of way and the mean differ beyond the batch axis.
        """
        return self._log_prob(self._event(way, self.mean))

    def log_prob(self, x: Tensor) -> Tensor:
        """Compute the log-density, in nats, with respect to the ball's own volume.

        The ball's volume element is conformal_factor ** d times the Euclidean one.

        Args:
            x: Tensor of the mean's shape, points of the ball.

        Returns:
            Float32 tensor of shape (batch,).

        Raises:
            ValueError: the shapes of x and the mean differ beyond the batch axis.
        """
        return self._log_prob(_way(self.mean, self._event(x, self.mean), self.curvature))


@dataclasses.dataclass(frozen=True, eq=False)
class WrappedNormal(_BallDistribution):
    """A Gaussian of tangent vectors at the mean, mapped to the ball.

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
        noise = draw_normal(ops.shape(self.mean), seed)
        way = self.scale * noise
        return way, self._density(way, noise)

    def _log_prob(self, way):
        return self._density(way, way / self.scale)

    def _density(self, way, standardized):
        d = self.mean.shape[-1]
        # The map stretches a sphere of radius r by sinh(sqrt(c) r) / (sqrt(c) r) in each of its
        # d - 1 dimensions.
        stretch = _log_sinhc(math.sqrt(self.curvature) * _norm(way)[:, 0])
        gaussian = 0.5 * ops.square(standardized) + ops.log(self.scale) + 0.5 * LOG_TWO_PI
        return -event_sum(gaussian) - (d - 1) * stretch


@dataclasses.dataclass(frozen=True, eq=False)
class RiemannianNormal(_BallDistribution):
    """The maximum-entropy Gaussian: the normalized density exp(-distance^2 / (2 scale^2)).

    Source: Mathieu et al., Continuous hierarchical representations with Poincaré variational
    auto-encoders, arXiv:1901.06033. The paper's normalizing constant is a sum of error functions
    that alternates in sign and loses all of float32's digits for a small scale. Here the constant
    is an integral over the radius, and so are the implicit gradients of the sampler.

    Args:
        mean: Tensor of shape (batch, d), points of the ball.
        scale: Tensor of shape (batch, 1), positive, in the ball's own distance.
        curvature: Float of at least 0, the c of a curvature of -c. Defaults to 1.

    For a large scale, typical draws lie at the distance (d - 1) sqrt(c) scale^2. This should stay
    below `MAX_RADIUS` / sqrt(c) if the draws are to have coordinates; see `sample_ways`.

    Example:
        >>> import numpy as np
        >>> prior = RiemannianNormal(np.zeros((5, 2)), np.ones((5, 1)), 0.5)
        >>> z = prior.sample(seed=0)
        >>> prior.log_prob(z).shape == (5,)
        True
    """

    def _draw(self, seed):
        d = self.mean.shape[-1]
        # One call draws all the noise, because an integer seed gives every call the same numbers.
        shape = (ops.shape(self.mean)[0], 3 * PROPOSALS + d)
        noise = draw_normal(shape, seed)
        ratio = self._radius(noise[:, :-d])
        scale = ops.stop_gradient(self.scale)
        slope = ops.stop_gradient(self._radius_slope(ratio))
        radius = ratio * scale + slope * (self.scale - scale)
        around = noise[:, -d:] / _norm(noise[:, -d:])
        return radius * around, self._density(radius / self.scale)

    def _log_prob(self, way):
        return self._density(_norm(way) / self.scale)

    def _density(self, ratio):
        log_normalizer, _ = self._radial_integral()
        d = self.mean.shape[-1]
        volume = log_sphere_area(d) + d * ops.log(self.scale) + log_normalizer
        return (-0.5 * ops.square(ratio) - volume)[:, 0]

    # The methods below use r, the radius divided by the scale. Its density is proportional to
    # exp(-r^2 / 2) (sinh(b r) / b)^(d - 1), where b is sqrt(c) times the scale. The logarithm of
    # this density is more concave than a Gaussian's.

    def _log_density(self, ratio):
        bent = _log_sinhc(math.sqrt(self.curvature) * self.scale * ratio)
        d = self.mean.shape[-1]
        return (d - 1) * (ops.log(ratio) + bent) - 0.5 * ops.square(ratio)

    def _center(self):
        """Approximate the mode, r = (d - 1) b coth(b r), by setting coth(x)^2 to 1 + 1 / x^2."""
        d = self.mean.shape[-1]
        bent = self.curvature * ops.square(ops.stop_gradient(self.scale))
        square = ops.square(bent * (d - 1)) + 4.0
        return ops.sqrt(0.5 * (d - 1) * (bent * (d - 1) + ops.sqrt(square)))

    def _radial_integral(self):
        """Compute the log of the density's integral and the mean of r^2: both (batch, 1)."""
        center = self._center()
        low = ops.maximum(center - 7.0, 0.0)
        pairs = [nodes_between(low, center), nodes_between(center, center + 7.0)]
        points, weights = (ops.concatenate(v, axis=-1) for v in zip(*pairs, strict=True))
        points = ops.maximum(points, 1e-30)  # In one dimension the lower interval is empty.
        terms = self._log_density(points) + ops.log(ops.maximum(weights, 1e-30))
        log_normalizer = ops.logsumexp(terms, axis=-1, keepdims=True)
        mean_square = ops.exp(terms - log_normalizer) * ops.square(points)
        return log_normalizer, ops.sum(mean_square, axis=-1, keepdims=True)

    def _radius(self, noise):
        """Turn Gaussian noise of shape (batch, 3 * proposals) into draws of r, (batch, 1)."""
        d = self.mean.shape[-1]
        b = math.sqrt(self.curvature) * ops.stop_gradient(self.scale)
        center = ops.maximum(self._center(), 1e-6)
        # log(sinh(b r)) lies below its tangent at the center. If the tangent replaces it, the
        # density becomes a scaled Gaussian, which lies above the density. Proposals are drawn from
        # this Gaussian.
        slope = b / ops.tanh(b * center) if self.curvature else 1.0 / center
        first, second, third = ops.split(noise, 3, axis=-1)
        # In one dimension the density is half a Gaussian, so that a proposal of the other half is
        # mirrored.
        proposed = (d - 1) * slope + first
        proposed = ops.abs(proposed) if d == 1 else proposed
        inside = ops.maximum(proposed, 1e-6)
        below = (
            ops.log(inside / center)
            + _log_sinhc(b * inside)
            - _log_sinhc(b * center)
            - slope * (inside - center)
        )
        accepted = (d - 1) * below >= -0.5 * (ops.square(second) + ops.square(third))
        accepted = ops.logical_and(accepted, proposed >= inside)
        return ops.stop_gradient(first_accepted(inside, accepted))

    def _radius_slope(self, ratio):
        """Compute d radius / d scale at a fixed quantile: minus dF / d scale over the density.

        F is the distribution function. dF / d scale is the integral of (r^2 - E[r^2]) times the
        density, taken over the side of r on which the integrand keeps its sign.
        """
        _, mean_square = self._radial_integral()
        towards = ops.square(ratio) < mean_square
        low = ops.where(towards, ops.maximum(ratio - 7.0, 0.0), ratio)
        points, weights = nodes_between(low, ops.where(towards, ratio, ratio + 7.0))
        density = ops.exp(self._log_density(points) - self._log_density(ratio))
        total = weights * ops.abs(ops.square(points) - mean_square) * density
        return ops.sum(total, axis=-1, keepdims=True)
