"""The von Mises-Fisher distribution on the sphere, and the Bessel functions behind it."""

import dataclasses
import math

import numpy as np
from keras import ops

from keras_ae.core import backend
from keras_ae.core.draws import draw_normal
from keras_ae.core.types import Seed, Tensor
from keras_ae.distributions.elementary import Distribution, event_sum

NODES, WEIGHTS = (a.astype("float32") for a in np.polynomial.legendre.leggauss(32))
# A sampler that accepts two proposals in three rejects all of these once in 3e7 draws. It then
# returns its first proposal.
PROPOSALS = 16

# These are the coefficients of D_1 to D_4, by power of p, in log I_n(x) = ... + sum of
# D_j(p) / n^j.
_DEBYE = (
    {1: 3 / 24, 3: -5 / 24},
    {2: 1 / 16, 4: -6 / 16, 6: 5 / 16},
    {3: 25 / 384, 5: -531 / 640, 7: 221 / 128, 9: -1105 / 1152},
    {4: 13 / 128, 6: -71 / 32, 8: 531 / 64, 10: -339 / 32, 12: 565 / 128},
)
_DEBYE_ORDER = 12  # The four terms reach float32's precision at this order and above.


def log_sphere_area(dimensions):
    """Compute the logarithm of the area of the unit sphere in a space of `dimensions` dimensions.

    Args:
        dimensions: Positive integer.

    Returns:
        Float.

    Example:
        >>> round(math.exp(log_sphere_area(3)) / math.pi, 6)
        4.0
    """
    half = 0.5 * dimensions
    return math.log(2.0) + half * math.log(math.pi) - math.lgamma(half)


def log_bessel(order, x):
    """Compute the modified Bessel function of the first kind without the factors that overflow.

    Debye's uniform expansion (NIST DLMF 10.41.3) gives the function at an order of at least 12. The
    recurrence of ratios, all of whose terms are positive, then leads down to a smaller order.

    Args:
        order: Float of at least 0.
        x: Tensor of non-negative numbers.

    Returns:
        Two float32 tensors of x's shape: log(I_v(x) exp(-x) Gamma(v + 1) (2 / x)^v), which is 0
        at 0, and 1 - I_{v+1}(x) / I_v(x).

    Example:
        >>> value, rest = log_bessel(0.5, np.array([0.0, 3.0], "float32"))
        >>> exact = math.log(math.sinh(3.0) / 3.0) - 3.0
        >>> abs(float(value[1]) - exact) < 1e-6, float(rest[0])
        (True, 1.0)
    """
    x = ops.cast(x, "float32")
    steps = max(0, math.ceil(_DEBYE_ORDER - order))
    value, rest = _debye(order + steps, x)
    for step in reversed(range(steps)):
        twice = 2.0 * (order + step + 1.0)
        ratio = x * (1.0 - rest)
        value = value + ops.log1p(ratio / twice)
        rest = (twice - x * rest) / (twice + ratio)
    return value, rest


def _debye(n, x):
    # Differences such as root - n are written as quotients, which do not lose digits.
    root = ops.hypot(x, n * ops.ones_like(x))
    p = n / root
    above = x * (x / (root + n))  # root - n
    value = (
        -n * (x / (root + x)) * ((n + root + x) / (root + n))
        - n * ops.log1p(above / (2.0 * n))
        - 0.5 * ops.log1p(above / n)
    )
    rest = (n + n * (n / (root + x))) / (root + n) + 0.5 * (x / root) / root
    slope = 0.0
    for j, terms in enumerate(_DEBYE, start=1):
        polynomial = sum(c * p**power for power, c in terms.items())
        value = value + (polynomial - sum(terms.values())) / n**j
        slope = slope + sum(c * power * p ** (power - 1) for power, c in terms.items()) / n**j
    return value, rest + slope * p**2 * (x / root) / n


def first_accepted(proposals, accepted):
    """Pick the first accepted proposal of every row, or the first proposal if none is accepted.

    Args:
        proposals: Tensor of shape (batch, proposals).
        accepted: Boolean tensor of the same shape.

    Returns:
        Tensor of shape (batch, 1).

    Example:
        >>> first_accepted(np.array([[1.0, 2.0]]), np.array([[False, True]])).shape == (1, 1)
        True
    """
    index = backend.argmax(ops.cast(accepted, "float32"))[..., None]
    return ops.take_along_axis(proposals, index, axis=-1)


def nodes_between(low, high):
    """Compute the points and weights of Gauss-Legendre quadrature between two limits.

    Args:
        low, high: Limits of the integral: tensors of shape (batch, 1), or numbers.

    Returns:
        Two tensors of shape (batch, 32).

    Example:
        >>> points, weights = nodes_between(0.0, np.full((1, 1), 2.0, "float32"))
        >>> round(float(ops.sum(weights * points**2)), 4)
        2.6667
    """
    low = ops.convert_to_tensor(low, "float32")
    half = 0.5 * (ops.convert_to_tensor(high, "float32") - low)
    nodes, weights = ops.convert_to_tensor(NODES), ops.convert_to_tensor(WEIGHTS)
    return low + half * (1.0 + nodes), half * weights


@dataclasses.dataclass(frozen=True, eq=False)
class UniformSphere(Distribution):
    """The uniform distribution on the unit sphere.

    Args:
        like: Tensor of shape (batch, m); only its shape is used.

    Example:
        >>> import numpy as np
        >>> density = UniformSphere(np.ones((3, 3))).log_prob(np.eye(3))
        >>> abs(float(density[0]) + math.log(4 * math.pi)) < 1e-6
        True
    """

    like: Tensor

    def sample(self, seed: Seed) -> Tensor:
        """Draw samples.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensor of shape (batch, m), rows of norm 1.
        """
        return _unit(draw_normal(ops.shape(self.like), seed))

    def log_prob(self, x: Tensor) -> Tensor:
        """Compute the log-density, in nats, with respect to the sphere's area.

        Args:
            x: Tensor of shape (batch, m), rows of norm 1.

        Returns:
            Float32 tensor of shape (batch,).

        Raises:
            ValueError: the shapes of x and `like` differ beyond the batch axis.
        """
        x = self._event(x, self.like)
        return ops.zeros_like(x[:, 0]) - log_sphere_area(x.shape[-1])


@dataclasses.dataclass(frozen=True, eq=False)
class VonMisesFisher(Distribution):
    """The Gaussian's counterpart on the unit sphere of m dimensions, m at least 2.

    Source: Davidson et al., Hyperspherical variational auto-encoders (density, sampler,
    divergence), arXiv:1804.00891. The paper corrects the gradient of its sampler by a score term;
    here the sampler is differentiated implicitly (arXiv:1805.08498).

    Args:
        direction: Tensor of shape (batch, m): the mean direction, rows of norm 1.
        concentration: Tensor of shape (batch, 1) or (batch,), non-negative; 0 is uniform.

    Example:
        >>> import numpy as np
        >>> posterior = VonMisesFisher(np.eye(3), np.full((3, 1), 10.0))
        >>> posterior.sample(seed=0).shape == (3, 3)
        True
        >>> round(float(posterior.kl()[0]), 4)
        1.9957
    """

    direction: Tensor
    concentration: Tensor

    def __post_init__(self):
        super().__post_init__()
        column = ops.reshape(self.concentration, (-1, 1))
        object.__setattr__(self, "concentration", column)

    @property
    def mean(self) -> Tensor:
        """The mean direction: float32 tensor of shape (batch, m).

        The expected value itself has the same direction and lies inside the sphere.
        """
        return self.direction

    def sample(self, seed: Seed) -> Tensor:
        """Draw samples that are differentiable with respect to both parameters.

        Args:
            seed: Integer or `keras.random.SeedGenerator`.

        Returns:
            Float32 tensor of the direction's shape, rows of norm 1.
        """
        m = self.direction.shape[-1]
        shape = (ops.shape(self.direction)[0], PROPOSALS * (m + 2) + m - 1)
        # One call draws all the noise, because an integer seed gives every call the same numbers.
        noise = draw_normal(shape, seed)
        angle = self._angle(ops.reshape(noise[:, : 1 - m], (-1, PROPOSALS, m + 2)))
        around = _unit(noise[:, 1 - m :])
        drawn = ops.concatenate([ops.cos(angle), ops.sin(angle) * around], axis=-1)
        # A Householder reflection takes the first axis to the direction or to its opposite,
        # whichever is farther away, so that the axis of the reflection never vanishes.
        sign = ops.where(self.direction[:, :1] < 0.0, -1.0, 1.0)
        axis = ops.concatenate([self.direction[:, :1] + sign, self.direction[:, 1:]], axis=-1)
        length = ops.sum(axis * drawn, axis=-1, keepdims=True)
        square = ops.sum(ops.square(axis), axis=-1, keepdims=True)
        return sign * (2.0 * length / square * axis - drawn)

    def _angle(self, noise):
        """Draw the angle to the mean direction, shape (batch, 1).

        The noise has the shape (batch, proposals, m + 2).
        """
        m = self.direction.shape[-1]
        concentration = ops.stop_gradient(self.concentration)
        # This is the rejection sampler of Wood (1994), written for 1 - cos(angle), which keeps its
        # digits when the angle is small. A coordinate of a uniform direction is a beta variable
        # scaled to [-1, 1], and half the squared norm of two Gaussians is an exponential variable.
        b = (m - 1.0) / (2.0 * concentration + ops.hypot(2.0 * concentration, m - 1.0))
        beta = 0.5 * (1.0 + _unit(noise[..., :m])[..., 0])  # (batch, proposals)
        exponential = 0.5 * ops.sum(ops.square(noise[..., m:]), axis=-1)
        rise = 2.0 * b * beta / (1.0 - beta + b * beta)  # 1 - cos(angle)
        center = 2.0 * b / (1.0 + b)
        bent = ops.log((center + (1.0 - center) * rise) / (center * (2.0 - center)))
        accepted = concentration * (center - rise) + (m - 1.0) * bent >= -exponential
        rise = ops.stop_gradient(first_accepted(rise, accepted))
        angle = _angle_of(ops.clip(rise, 1e-14, 2.0 - 1e-6))
        slope = ops.stop_gradient(self._angle_slope(angle, concentration))
        return angle + slope * (self.concentration - concentration)

    def _angle_slope(self, angle, concentration):
        """Compute d angle / d concentration at a fixed quantile.

        It is minus dF / d concentration divided by the density, where F is the distribution
        function. The density of the angle is proportional to exp(-k (1 - cos)) sin^(m - 2), and
        dF / d concentration is the integral of (cos - E[cos]) times the density. The integral is
        taken over the side of the angle on which the integrand keeps its sign.
        """
        m = self.direction.shape[-1]
        _, mean_rise = log_bessel(0.5 * m - 1.0, concentration)
        # The integral extends over seven standard deviations.
        reach = 7.0 / ops.sqrt(m + concentration * (1.0 - mean_rise))
        towards = angle < _angle_of(mean_rise)
        low = ops.where(towards, ops.maximum(angle - reach, 0.0), angle)
        high = ops.where(towards, angle, ops.minimum(angle + reach, math.pi))
        points, weights = nodes_between(low, high)
        rise = 2.0 * ops.square(ops.sin(0.5 * points))
        further = 2.0 * ops.sin(0.5 * (points - angle)) * ops.sin(0.5 * (points + angle))
        sines = ops.log(ops.maximum(ops.sin(points), 1e-30)) - ops.log(ops.sin(angle))
        density = ops.exp((m - 2.0) * sines - concentration * further)
        total = weights * ops.abs(rise - mean_rise) * density
        return -ops.sum(total, axis=-1, keepdims=True)

    def log_prob(self, x: Tensor) -> Tensor:
        """Compute the log-density, in nats, with respect to the sphere's area.

        Args:
            x: Tensor of the direction's shape, rows of norm 1.

        Returns:
            Float32 tensor of shape (batch,).

        Raises:
            ValueError: the shapes of x and the direction differ beyond the batch axis.
        """
        x = self._event(x, self.direction)
        value, _ = log_bessel(0.5 * x.shape[-1] - 1.0, self.concentration)
        # 1 - cosine is computed as half the squared chord, because the difference would lose its
        # digits where the cosine is near 1.
        rise = 0.5 * event_sum(ops.square(x - self.direction))
        return -self.concentration[:, 0] * rise - value[:, 0] - log_sphere_area(x.shape[-1])

    def kl(self) -> Tensor:
        """Compute the Kullback-Leibler divergence to the uniform distribution, in nats.

        Returns:
            Float32 tensor of shape (batch,), non-negative up to rounding.
        """
        order = 0.5 * self.direction.shape[-1] - 1.0
        value, rest = log_bessel(order, self.concentration)
        return (-self.concentration * rest - value)[:, 0]


def _angle_of(rise):
    """Compute the angle whose cosine is 1 - rise.

    TensorFlow cannot load an arc sine that JAX exports, so this uses the arc tangent.
    """
    return 2.0 * ops.arctan2(ops.sqrt(rise), ops.sqrt(ops.maximum(2.0 - rise, 0.0)))


def _unit(vectors):
    squares = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    return vectors / ops.sqrt(ops.maximum(squares, 1e-30))
