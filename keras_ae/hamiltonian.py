"""Spaces that codes move in under Hamiltonian dynamics: flat, or with a metric examples span.

Each says how momenta are drawn, and how one step of its leapfrog goes. A step begins with what the
last one knew of the place where it ended, so that no gradient is taken twice.

A step that would not be the leapfrog's is not taken: its momentum is turned around instead, and the
next one goes back. Both are decided alike from either end of a step, so that each step, taken or
not, is reversible and preserves volume, as the bounds that are built on it need.
"""

import dataclasses
import math

import keras
import numpy as np
from keras import ops

from keras_ae.core import memory

_WALK_LEAPS = 5
_WALK_STEP = 1.0 / 15.0  # In temperatures.
_WALK_REACH = 3.0  # In temperatures.
# A step is not taken if its error in energy is larger, in nats, or if it leads further out.
_LARGEST_ERROR, _FURTHEST = 10.0, 1e4
_MOST_TURNS, _LAST_TURNS, _TOLERANCE = 30, 4, 1e-5


class FlatMetric:
    """The identity for a metric: standard normal momenta, and Hamiltonian Monte Carlo's leapfrog.

    Source: Neal, MCMC using Hamiltonian dynamics, eq. 2.28 to 2.30, arXiv:1206.1901.

    Example:
        >>> from keras import ops
        >>> flat, z = FlatMetric(), ops.ones((1, 1))
        >>> density = lambda z: (-0.5 * z[:, 0] ** 2, -z)  # A standard normal's, and its slope.
        >>> here = flat.surroundings(z, density)
        >>> z, momentum, _ = flat.leapfrog(z, 0.0 * z, here, density, 0.2)
        >>> round(float(z[0, 0]), 3), round(float(momentum[0, 0]), 3)
        (0.98, -0.198)
    """

    def momentum(self, z, noise):
        """A momentum at every code, from standard normal noise of the codes' shape."""
        return noise

    def momentum_log_prob(self, z, momentum):
        """The log-density of such momenta, shape (batch,)."""
        return -0.5 * ops.sum(ops.square(momentum) + math.log(2.0 * math.pi), axis=-1)

    def surroundings(self, z, density):
        """What a step needs to know of the place where it begins: the density there."""
        return density(z)

    def leapfrog(self, z, momentum, here, density, step):
        """One step of the dynamics whose energy is the kinetic one less a log-density.

        Args:
            z: Tensor of shape (batch, dimensions).
            momentum: Of z's shape.
            here: What `surroundings` says of z.
            density: Callable of codes that gives the log-density, shape (batch,), and its
                gradient, of z's shape.
            step: The step's size, a number or a tensor of shape (dimensions,).

        Returns:
            z and the momentum at the end, and the surroundings there. Where the step's error in
            energy exceeds 10 nats, these are z, the momentum turned around and `here`.
        """
        half = momentum + 0.5 * step * here[1]
        end = z + step * half
        taken = ops.logical_and(_within(z, half), _within(end, half))
        there = density(ops.where(taken[:, None], end, z))
        last = half + 0.5 * step * there[1]
        error = there[0] - here[0] + 0.5 * ops.sum(ops.square(momentum) - ops.square(last), axis=-1)
        taken = ops.logical_and(taken, ops.abs(error) < _LARGEST_ERROR)
        return _choose(taken, (end, last, there), (z, -momentum, here))


@dataclasses.dataclass(frozen=True, eq=False)
class LearnedMetric:
    """The inverse metric sum_i M_i exp(-|z - c_i|^2 / T^2), and a multiple of the identity.

    Source: Chadebec, Thibeau-Sutre, Burgos and Allassonnière, eq. 7, arXiv:2105.00026.

    Args:
        codes: The points c_i, a tensor of shape (points, dimensions).
        matrices: The positive semi-definite M_i, of shape (points, dimensions, dimensions).
        temperature: The paper's T, a positive number.
        regularisation: The multiple of the identity, a positive number.

    Example:
        >>> import numpy as np
        >>> metric = LearnedMetric(np.zeros((1, 2)), np.eye(2)[None], 1.0, 0.5)
        >>> ops.convert_to_numpy(metric.inverse(np.zeros((1, 2), "float32"))).tolist()
        [[[1.5, 0.0], [0.0, 1.5]]]
    """

    codes: object
    matrices: object
    temperature: float
    regularisation: float

    def __post_init__(self):
        for name in ("codes", "matrices"):
            object.__setattr__(self, name, ops.cast(getattr(self, name), "float32"))

    def inverse(self, z):
        """The inverse metric at every code.

        Args:
            z: Tensor of shape (batch, dimensions).

        Returns:
            Float32 tensor of shape (batch, dimensions, dimensions), positive definite.
        """
        return self._inverse(self._nearness(z))

    def _inverse(self, nearness):
        size = self.codes.shape[1]
        flat = ops.matmul(nearness, self._flat())
        identity = self.regularisation * ops.eye(size, dtype="float32")
        return ops.reshape(flat, (-1, size, size)) + identity

    def slope(self, z, squares, nearness):
        """The gradient in z of tr(S G^-1(z)), for matrices S that do not depend on z.

        Args:
            z: Tensor of shape (batch, dimensions).
            squares: The symmetric S, of shape (batch, dimensions, dimensions).
            nearness: What `_nearness` gives of z.

        Returns:
            Float32 tensor of z's shape.
        """
        flat = ops.reshape(squares, (-1, self.codes.shape[1] ** 2))
        shares = ops.matmul(flat, ops.transpose(self._flat())) * nearness
        away = z * ops.sum(shares, axis=-1, keepdims=True) - ops.matmul(shares, self.codes)
        return -2.0 / self.temperature**2 * away

    def momentum(self, z, noise):
        """A momentum at every code, of the metric's covariance, from standard normal noise."""
        root = inverse_root(self.inverse(z))
        return ops.sum(root * noise[:, :, None], axis=1)

    def momentum_log_prob(self, z, momentum):
        """The log-density of such momenta, shape (batch,)."""
        inverse = self.inverse(z)
        square = ops.sum(momentum * times(inverse, momentum), axis=-1)
        constant = 0.5 * self.codes.shape[1] * math.log(2.0 * math.pi)
        return -0.5 * square - log_root_determinant(inverse_root(inverse)) - constant

    def surroundings(self, z, density):
        """The density at z, the inverse metric, the metric, the log-volume, and the nearness."""
        nearness = self._nearness(z)  # Once for all turns: it takes the most time.
        inverse = self._inverse(nearness)
        root = inverse_root(inverse)
        return *density(z), inverse, squared(root), -log_root_determinant(root), nearness

    def leapfrog(self, z, momentum, here, density, step):
        """One step of the generalised leapfrog, eq. 5, as `FlatMetric.leapfrog` has it.

        Its two implicit equations are iterated until a turn changes nothing but the last digits.
        A step is not taken either if the equations are not solved in 30 turns, or if the way back
        does not end where the step began.
        """
        frozen = self._frozen()
        start, first, known, size = keras.tree.map_structure(
            ops.stop_gradient, (z, momentum, here, ops.convert_to_tensor(step, "float32"))
        )
        half, end, taken = frozen._solve(start, first, known, size)
        taken = ops.logical_and(taken, ops.logical_and(_within(z, half), _within(end, half)))
        # A step that is not taken gets no length, so that all its numbers are finite.
        half, end = _choose(taken, (half, end), (first, start))
        step = step * ops.cast(taken, "float32")[:, None]
        # Gradients go through these turns: each multiplies their error by what one turn leaves.
        for _ in range(_LAST_TURNS):
            half = momentum - 0.5 * step * self._force(z, half, here)
        speed = times(here[2], half)
        for _ in range(_LAST_TURNS):
            end = z + 0.5 * step * (speed + times(self.inverse(end), half))
        there = self.surroundings(end, density)
        last = half - 0.5 * step * self._force(end, half, there)

        error = self._energy(last, there) - self._energy(momentum, here)
        taken = ops.logical_and(taken, ops.abs(error) < _LARGEST_ERROR)
        reached = keras.tree.map_structure(ops.stop_gradient, (end, last, half, there))
        returns = frozen._returns(start, *reached, size)
        taken = ops.logical_and(taken, returns)
        return _choose(taken, (end, last, there), (z, -momentum, here))

    def _frozen(self):
        codes, matrices = ops.stop_gradient(self.codes), ops.stop_gradient(self.matrices)
        return dataclasses.replace(self, codes=codes, matrices=matrices)

    def _solve(self, z, momentum, here, step):
        """The momentum after half a step, the code after all of it, and whether they were found."""

        def half_step(half):
            return momentum - 0.5 * step * self._force(z, half, here)

        def length(v):
            return ops.sqrt(ops.maximum(ops.sum(v * times(here[2], v), axis=-1), 0.0))

        half, found = _fixed_point(half_step, momentum, length)
        speed = times(here[2], half)

        def whole_step(end):
            return z + 0.5 * step * (speed + times(self.inverse(end), half))

        end, arrived = _fixed_point(whole_step, z, self._distance)
        return half, end, ops.logical_and(found, arrived)

    def _returns(self, start, end, last, half, there, step):
        """Whether a step from the end, with the momentum turned around, leads to the start."""
        turned, back, found = self._solve(end, -last, there, step)
        change = half + turned
        size = ops.sqrt(ops.maximum(ops.sum(change * times(there[2], change), axis=-1), 0.0))
        near = ops.logical_and(size < 1e-2, self._distance(back - start) < 1e-2)
        return ops.logical_and(found, near)

    def _distance(self, way):
        """The length of a way in what the metric changes over."""
        return ops.sqrt(ops.sum(ops.square(way), axis=-1)) / ops.minimum(self.temperature, 1.0)

    def _force(self, z, momentum, here):
        """The energy's gradient: of r' G^-1 r / 2 + log det G / 2 - log p."""
        squares = momentum[:, :, None] * momentum[:, None, :] - here[3]
        return 0.5 * self.slope(z, squares, here[5]) - here[1]

    def _energy(self, momentum, here):
        kinetic = 0.5 * ops.sum(momentum * times(here[2], momentum), axis=-1)
        return kinetic - here[4] - here[0]

    def walk(self, start, num_steps, seed):
        """Hamiltonian Monte Carlo on the density that the manifold's volume is, section 4.

        The volume tends to a constant far from the points, and its integral over all codes is
        infinite. The paper's density is that on a compact set: here, the codes within three
        temperatures of a point, beyond which that point adds less than e^-9 of its matrix. A path
        that ends outside is rejected.

        Args:
            start: The codes where the walks begin, a tensor of shape (batch, dimensions), within
                that set.
            num_steps: Steps of each walk, every one a path of five leaps and its acceptance.
            seed: A `keras_ae.core.seeds.RunSeed`.

        Returns:
            The codes where the walks end, a float32 tensor of start's shape.
        """
        step = _WALK_STEP * self.temperature

        def turn(number, z):
            draws, flat = seed.at(number), FlatMetric()
            momentum = keras.random.normal(ops.shape(z), dtype="float32", seed=draws)
            here = self.log_volume_and_slope(z)
            end, last, there = z, momentum, here
            for _ in range(_WALK_LEAPS):
                end, last, there = flat.leapfrog(end, last, there, self.log_volume_and_slope, step)
            kinetic = 0.5 * ops.sum(ops.square(momentum) - ops.square(last), axis=-1)
            uniform = keras.random.uniform(ops.shape(kinetic), dtype="float32", seed=draws)
            accepted = ops.log(uniform + 1e-20) < there[0] - here[0] + kinetic
            within = ops.max(self._nearness(end), axis=-1) > math.exp(-(_WALK_REACH**2))
            return ops.where(ops.logical_and(accepted, within)[:, None], end, z)

        return ops.fori_loop(0, num_steps, turn, start)

    def log_volume_and_slope(self, z):
        """The logarithm of the root of the inverse metric's determinant, and its gradient.

        Args:
            z: Tensor of shape (batch, dimensions).

        Returns:
            Float32 tensors of shape (batch,) and of z's shape.
        """
        nearness = self._nearness(z)
        root = inverse_root(self._inverse(nearness))
        return -log_root_determinant(root), 0.5 * self.slope(z, squared(root), nearness)

    def _nearness(self, z):
        """exp(-|z - c_i|^2 / T^2) of every code and point, shape (batch, points)."""
        z = ops.cast(z, "float32")
        distances = ops.sum(ops.square(z[:, None] - self.codes[None]), axis=-1)
        return ops.exp(-distances / self.temperature**2)

    def _flat(self):
        return ops.reshape(self.matrices, (-1, self.codes.shape[1] ** 2))


def _within(z, momentum):
    """Whether all numbers are small enough for float32 to square, shape (batch,)."""
    largest = ops.maximum(ops.max(ops.abs(z), axis=-1), ops.max(ops.abs(momentum), axis=-1))
    return largest < _FURTHEST


def _choose(taken, first, second):
    """Of tensors (batch, ...) the first ones' rows where `taken`, and else the second ones'."""

    def chosen(a, b):
        return ops.where(ops.reshape(taken, (-1, *[1] * (len(a.shape) - 1))), a, b)

    return keras.tree.map_structure(chosen, first, second)


def _fixed_point(function, start, length):
    """What a function of rows leaves where it is, and whether it was found: shape (batch,)."""

    def unsolved(change):
        # Neither NaN nor what has run away is worth another turn.
        return ops.logical_and(change >= _TOLERANCE, change < 1e6)

    def turn(number, value, change):
        moved = ops.where(unsolved(change)[:, None], function(value), value)
        change = ops.where(unsolved(change), length(moved - value), change)
        return number + 1, moved, change

    def more(number, value, change):
        return ops.logical_and(number < _MOST_TURNS, ops.any(unsolved(change)))

    zero = ops.sum(ops.zeros_like(start), axis=-1)
    _, value, change = ops.while_loop(more, turn, (0, start, zero + 1.0))
    return value, change < _TOLERANCE


# LAPACK's factorisation does not travel in a program that JAX exports, and codes are short.


@memory.explains("Pass fewer matrices.")
def inverse_root(matrices):
    """Lower triangular R with R M R' = 1 for positive definite M, shape (batch, size, size)."""
    size = matrices.shape[-1]
    rows = []
    for k in range(size):
        # Row k of the inverse of Cholesky's factor: orthogonal to those before it under M.
        unit = ops.convert_to_tensor((np.arange(size) == k).astype("float32"))
        row = ops.zeros_like(matrices[:, 0]) + unit
        if rows:
            before = ops.stack(rows, axis=1)  # (batch, k, size)
            overlap = times(before, matrices[:, k])  # (batch, k)
            row = row - ops.sum(before * overlap[:, :, None], axis=1)
        length = ops.sum(row * times(matrices, row), axis=-1, keepdims=True)
        rows.append(row * ops.rsqrt(ops.maximum(length, 1e-12)))
    return ops.stack(rows, axis=1)


@memory.explains("Pass fewer matrices.")
def log_root_determinant(root):
    """log of the root of det R R', that of the metric's if R is the root of the inverse metric."""
    return ops.sum(ops.log(ops.diagonal(root, axis1=1, axis2=2)), axis=-1)


@memory.explains("Pass fewer matrices.")
def squared(root):
    """R' R: the inverse of M."""
    return ops.matmul(ops.transpose(root, (0, 2, 1)), root)


@memory.explains("Pass fewer matrices.")
def times(matrices, vectors):
    """Every matrix times its vector."""
    return ops.sum(matrices * vectors[:, None, :], axis=-1)
