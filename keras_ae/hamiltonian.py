"""Metrics for Hamiltonian dynamics of codes: a flat one, and one that is learned from examples.

A metric defines how momenta are drawn and how one leapfrog step is computed. A step returns the
density and the metric at its end, and the next step starts with them, so that they are not computed
twice.

A step that would be inaccurate is not taken. Its momentum is reversed instead, so that the next
step moves back. The decision is the same for the step and for its reversal. Every step, taken or
not, is therefore reversible and preserves volume. The bounds of the models that use these steps are
valid only under this condition.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ae.core import memory
from keras_ae.core.old_names import accept_old_argument
from keras_ae.core.types import Tensor

_FEWER = "Pass fewer codes, or take a metric of fewer points."
_WALK_LEAPS = 5
# These two lengths are multiples of the temperature.
_WALK_STEP = 1.0 / 15.0
_WALK_REACH = 3.0
# A step is taken only if its error in energy is below 10 nats, and if all numbers of its codes and
# momenta are below 1e4.
_LARGEST_ERROR, _FURTHEST = 10.0, 1e4
# Implicit equations are solved in at most 30 iterations without gradients, until an iteration
# changes the solution by less than 1e-5. Four iterations with gradients follow.
_MOST_TURNS, _LAST_TURNS, _TOLERANCE = 30, 4, 1e-5


@memory.explains_methods(_FEWER)
class FlatMetric:
    """The identity metric, with the leapfrog steps of Hamiltonian Monte Carlo.

    Momenta have a standard normal distribution.

    Source: Neal, MCMC using Hamiltonian dynamics, eq. 2.28 to 2.30, arXiv:1206.1901.

    Example:
        >>> from keras import ops
        >>> flat, z = FlatMetric(), ops.ones((1, 1))
        >>> density = lambda z: (-0.5 * z[:, 0] ** 2, -z)  # A standard normal and its gradient.
        >>> here = flat.surroundings(z, density)
        >>> z, momentum, _ = flat.leapfrog(z, 0.0 * z, here, density, 0.2)
        >>> round(float(z[0, 0]), 3), round(float(momentum[0, 0]), 3)
        (0.98, -0.198)
    """

    def momentum(self, z: Tensor, noise: Tensor) -> Tensor:
        """Turn standard normal noise of the codes' shape into a momentum at every code."""
        return noise

    def momentum_log_prob(self, z: Tensor, momentum: Tensor) -> Tensor:
        """Compute the log-densities of momenta at z, a tensor of shape (batch,)."""
        return -0.5 * ops.sum(ops.square(momentum) + math.log(2.0 * math.pi), axis=-1)

    def surroundings(
        self, z: Tensor, density: Callable[..., tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, ...]:
        """Compute what a step that starts at z needs: the log-density and its gradient."""
        return density(z)

    def leapfrog(
        self,
        z: Tensor,
        momentum: Tensor,
        here: tuple[Tensor, ...],
        density: Callable[..., tuple[Tensor, Tensor]],
        step: float | Tensor,
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Compute one step of the dynamics. The energy is the kinetic energy minus the log-density.

        Args:
            z: Codes where the step starts, a tensor of shape (batch, dimensions).
            momentum: Momenta at the start, a tensor of z's shape.
            here: The result of `surroundings` at the start.
            density: Function that takes codes, and returns their log-densities, of shape (batch,),
                and the gradient, of z's shape.
            step: The step size, a number or a tensor of shape (dimensions,).

        Returns:
            The codes and momenta at the end of the step, and the surroundings there. If the error
            in energy exceeds 10 nats, the step is not taken. The result is then z, the reversed
            momentum and `here`.
        """
        half = momentum + 0.5 * step * here[1]
        end = z + step * half
        taken = ops.logical_and(_is_within(z, half), _is_within(end, half))
        there = density(ops.where(taken[:, None], end, z))
        last = half + 0.5 * step * there[1]
        error = there[0] - here[0] + 0.5 * ops.sum(ops.square(momentum) - ops.square(last), axis=-1)
        taken = ops.logical_and(taken, ops.abs(error) < _LARGEST_ERROR)
        return _choose_rows(taken, (end, last, there), (z, -momentum, here))


@memory.explains_methods(_FEWER)
@dataclasses.dataclass(frozen=True, eq=False)
class LearnedMetric:
    """A metric whose inverse is sum_i M_i exp(-|z - c_i|^2 / T^2) + regularization * I.

    Source: Chadebec, Thibeau-Sutre, Burgos and Allassonnière, eq. 7, arXiv:2105.00026.

    Args:
        codes: The points c_i, a tensor of shape (points, dimensions).
        matrices: The positive semi-definite M_i, of shape (points, dimensions, dimensions).
        temperature: The paper's T, a positive number.
        regularization: Factor of the identity matrix I, a positive number.

    Example:
        >>> import numpy as np
        >>> metric = LearnedMetric(np.zeros((1, 2)), np.eye(2)[None], 1.0, 0.5)
        >>> ops.convert_to_numpy(metric.inverse(np.zeros((1, 2), "float32"))).tolist()
        [[[1.5, 0.0], [0.0, 1.5]]]
    """

    codes: Tensor
    matrices: Tensor
    temperature: float
    regularization: float

    @memory.explains("Take fewer points.")
    def __post_init__(self):
        for name in ("codes", "matrices"):
            object.__setattr__(self, name, ops.cast(getattr(self, name), "float32"))

    def inverse(self, z: Tensor) -> Tensor:
        """Compute the inverse metric at every code.

        Args:
            z: Tensor of shape (batch, dimensions).

        Returns:
            Positive definite matrices, a float32 tensor of shape (batch, dimensions, dimensions).
        """
        return self._compute_inverse(self._compute_nearness(z))

    def _compute_inverse(self, nearness):
        size = self.codes.shape[1]
        flat = ops.matmul(nearness, self._flatten_matrices())
        identity = self.regularization * ops.eye(size, dtype="float32")
        return ops.reshape(flat, (-1, size, size)) + identity

    def slope(self, z: Tensor, squares: Tensor, nearness: Tensor) -> Tensor:
        """Compute the gradient of tr(S G^-1(z)) with respect to z, where S does not depend on z.

        Args:
            z: Tensor of shape (batch, dimensions).
            squares: The symmetric matrices S, of shape (batch, dimensions, dimensions).
            nearness: The result of `_compute_nearness` at z.

        Returns:
            Float32 tensor of z's shape.
        """
        flat = ops.reshape(squares, (-1, self.codes.shape[1] ** 2))
        shares = ops.matmul(flat, ops.transpose(self._flatten_matrices())) * nearness
        away = z * ops.sum(shares, axis=-1, keepdims=True) - ops.matmul(shares, self.codes)
        return -2.0 / self.temperature**2 * away

    def momentum(self, z: Tensor, noise: Tensor) -> Tensor:
        """Turn standard normal noise into momenta whose covariance at each code is G(z)."""
        root = inverse_root(self.inverse(z))
        return ops.sum(root * noise[:, :, None], axis=1)

    def momentum_log_prob(self, z: Tensor, momentum: Tensor) -> Tensor:
        """Compute the log-densities of momenta at z, a tensor of shape (batch,)."""
        inverse = self.inverse(z)
        square = ops.sum(momentum * times(inverse, momentum), axis=-1)
        constant = 0.5 * self.codes.shape[1] * math.log(2.0 * math.pi)
        return -0.5 * square - log_root_determinant(inverse_root(inverse)) - constant

    def surroundings(
        self, z: Tensor, density: Callable[..., tuple[Tensor, Tensor]]
    ) -> tuple[Tensor, ...]:
        """Compute what a step that starts at z needs.

        Returns:
            Tuple of the log-density, its gradient, the inverse metric, the metric, the log-volume,
            and the result of `_compute_nearness`.
        """
        # The nearness takes most of the time, so it is not computed again in each iteration.
        nearness = self._compute_nearness(z)
        inverse = self._compute_inverse(nearness)
        root = inverse_root(inverse)
        return *density(z), inverse, squared(root), -log_root_determinant(root), nearness

    def leapfrog(
        self,
        z: Tensor,
        momentum: Tensor,
        here: tuple[Tensor, ...],
        density: Callable[..., tuple[Tensor, Tensor]],
        step: float | Tensor,
    ) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Compute one step of the generalized leapfrog, eq. 5. See `FlatMetric.leapfrog`.

        A step has two implicit equations. They are solved by iteration, until only the last digits
        of the solution change. The step is also not taken if 30 iterations do not solve the
        equations, or if the reversed step does not lead back to the start.
        """
        frozen = self._freeze()
        start, first, known, size = keras.tree.map_structure(
            ops.stop_gradient, (z, momentum, here, ops.convert_to_tensor(step, "float32"))
        )
        half, end, taken = frozen._solve(start, first, known, size)
        taken = ops.logical_and(taken, ops.logical_and(_is_within(z, half), _is_within(end, half)))
        # A step that is not taken gets the step size 0. All its numbers are then finite.
        half, end = _choose_rows(taken, (half, end), (first, start))
        step = step * ops.cast(taken, "float32")[:, None]
        # Gradients pass only through the following iterations, which start at the solution. The
        # gradient converges as fast as the solution did, so a few iterations are enough.
        for _ in range(_LAST_TURNS):
            half = momentum - 0.5 * step * self._compute_force(z, half, here)
        speed = times(here[2], half)
        for _ in range(_LAST_TURNS):
            end = z + 0.5 * step * (speed + times(self.inverse(end), half))
        there = self.surroundings(end, density)
        last = half - 0.5 * step * self._compute_force(end, half, there)

        error = self._compute_energy(last, there) - self._compute_energy(momentum, here)
        taken = ops.logical_and(taken, ops.abs(error) < _LARGEST_ERROR)
        reached = keras.tree.map_structure(ops.stop_gradient, (end, last, half, there))
        returns = frozen._is_reversible(start, *reached, size)
        taken = ops.logical_and(taken, returns)
        return _choose_rows(taken, (end, last, there), (z, -momentum, here))

    def _freeze(self):
        codes, matrices = ops.stop_gradient(self.codes), ops.stop_gradient(self.matrices)
        return dataclasses.replace(self, codes=codes, matrices=matrices)

    def _solve(self, z, momentum, here, step):
        """Solve the two implicit equations of a step.

        Returns:
            The momenta after half a step, the codes after the whole step, and whether both were
            found, a tensor of shape (batch,).
        """

        def half_step(half):
            return momentum - 0.5 * step * self._compute_force(z, half, here)

        def length(v):
            return ops.sqrt(ops.maximum(ops.sum(v * times(here[2], v), axis=-1), 0.0))

        half, found = _find_fixed_point(half_step, momentum, length)
        speed = times(here[2], half)

        def whole_step(end):
            return z + 0.5 * step * (speed + times(self.inverse(end), half))

        end, arrived = _find_fixed_point(whole_step, z, self._measure_length)
        return half, end, ops.logical_and(found, arrived)

    def _is_reversible(self, start, end, last, half, there, step):
        """Tell whether a step from the end, with reversed momentum, leads back to the start."""
        turned, back, found = self._solve(end, -last, there, step)
        change = half + turned
        size = ops.sqrt(ops.maximum(ops.sum(change * times(there[2], change), axis=-1), 0.0))
        near = ops.logical_and(size < 1e-2, self._measure_length(back - start) < 1e-2)
        return ops.logical_and(found, near)

    def _measure_length(self, change):
        """Compute the length of a change of codes as a multiple of min(temperature, 1).

        Over shorter distances, the metric changes little.
        """
        return ops.sqrt(ops.sum(ops.square(change), axis=-1)) / ops.minimum(self.temperature, 1.0)

    def _compute_force(self, z, momentum, here):
        """Compute the gradient of the energy r' G^-1 r / 2 + log det G / 2 - log p(z).

        r is the momentum, and the gradient is taken with respect to z.
        """
        squares = momentum[:, :, None] * momentum[:, None, :] - here[3]
        return 0.5 * self.slope(z, squares, here[5]) - here[1]

    def _compute_energy(self, momentum, here):
        kinetic = 0.5 * ops.sum(momentum * times(here[2], momentum), axis=-1)
        return kinetic - here[4] - here[0]

    def walk(self, start: Tensor, num_steps: int, seed: Any) -> Tensor:
        """Draw codes from a density proportional to the manifold's volume, section 4.

        The codes are drawn by Hamiltonian Monte Carlo. Far from the points c_i, the volume tends to
        a constant, and its integral over all codes is infinite. The paper therefore restricts the
        density to a compact set. Here this set contains the codes whose distance to the nearest
        point is less than three temperatures. A point at a larger distance adds less than e^-9 of
        its matrix to the inverse metric. A path that ends outside the set is rejected.

        Args:
            start: Codes in this set where the walks begin, a tensor of shape (batch, dimensions).
            num_steps: Number of steps of each walk. A step is a path of five leapfrog steps, which
                is then accepted or rejected.
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
            within = ops.max(self._compute_nearness(end), axis=-1) > math.exp(-(_WALK_REACH**2))
            return ops.where(ops.logical_and(accepted, within)[:, None], end, z)

        return ops.fori_loop(0, num_steps, turn, start)

    def log_volume_and_slope(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the log-volume log sqrt(det G^-1(z)) and its gradient with respect to z.

        Args:
            z: Tensor of shape (batch, dimensions).

        Returns:
            The log-volumes, of shape (batch,), and the gradient, of z's shape, in float32.
        """
        nearness = self._compute_nearness(z)
        root = inverse_root(self._compute_inverse(nearness))
        return -log_root_determinant(root), 0.5 * self.slope(z, squared(root), nearness)

    def _compute_nearness(self, z):
        """Compute exp(-|z - c_i|^2 / T^2) for all codes and points, of shape (batch, points)."""
        z = ops.cast(z, "float32")
        distances = ops.sum(ops.square(z[:, None] - self.codes[None]), axis=-1)
        return ops.exp(-distances / self.temperature**2)

    def _flatten_matrices(self):
        return ops.reshape(self.matrices, (-1, self.codes.shape[1] ** 2))


# Before 27 November 2026, the argument was called `regularisation`.
LearnedMetric.__init__ = accept_old_argument("regularisation", "regularization")(
    LearnedMetric.__init__
)


def _is_within(z, momentum):
    """Tell for each row whether float32 can represent the squares of all its numbers."""
    largest = ops.maximum(ops.max(ops.abs(z), axis=-1), ops.max(ops.abs(momentum), axis=-1))
    return largest < _FURTHEST


def _choose_rows(taken, first, second):
    """Choose the rows of `first` where `taken` is true, and the rows of `second` elsewhere.

    Args:
        taken: Boolean tensor of shape (batch,).
        first, second: Tensors of shape (batch, ...), or nested structures of such tensors.
    """

    def choose(a, b):
        return ops.where(ops.reshape(taken, (-1, *[1] * (len(a.shape) - 1))), a, b)

    return keras.tree.map_structure(choose, first, second)


def _find_fixed_point(function, start, length):
    """Find the fixed point of a function by iteration, separately for each row.

    Args:
        function: Function that takes and returns a tensor of shape (batch, dimensions).
        start: Tensor of this shape, where the iteration starts.
        length: Function that measures the change of each row in an iteration.

    Returns:
        The fixed points, and whether they were found, a tensor of shape (batch,).
    """

    def unsolved(change):
        # The iteration ends for rows that diverge or become NaN.
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


# This factorization replaces that of LAPACK, which a function that JAX exports cannot call. It is
# fast enough, because codes have few dimensions.


@memory.explains("Pass fewer matrices.")
def inverse_root(matrices: Tensor) -> Tensor:
    """Compute the inverses R of the Cholesky factors of matrices M, so that R M R' = I.

    Args:
        matrices: Positive definite matrices, a tensor of shape (batch, size, size).

    Returns:
        Lower triangular matrices, a tensor of the same shape.
    """
    size = matrices.shape[-1]
    rows = []
    for k in range(size):
        # Row k of R is orthogonal to the rows before it, if M defines the inner product.
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
def log_root_determinant(root: Tensor) -> Tensor:
    """Compute log sqrt(det R R') of triangular matrices R.

    If R is the `inverse_root` of the inverse metric, the result is log sqrt(det G).
    """
    return ops.sum(ops.log(ops.diagonal(root, axis1=1, axis2=2)), axis=-1)


@memory.explains("Pass fewer matrices.")
def squared(root: Tensor) -> Tensor:
    """Compute R' R. If R is the `inverse_root` of M, the result is the inverse of M."""
    return ops.matmul(ops.transpose(root, (0, 2, 1)), root)


@memory.explains("Pass fewer matrices.")
def times(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Multiply each matrix of a batch by the vector of the same row."""
    return ops.sum(matrices * vectors[:, None, :], axis=-1)
