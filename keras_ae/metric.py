"""Spaces that codes move in under Hamiltonian dynamics: flat, or with a metric examples span.

Each says how momenta are drawn, and how one step of its leapfrog goes. A step begins with what the
last one knew of the place where it ended, so that no gradient is taken twice.
"""

import dataclasses
import math

import keras
import numpy as np
from keras import ops

_WALK_LEAPS, _WALK_STEP = 5, 0.1


class FlatMetric:
    """The identity for a metric: standard normal momenta, and Hamiltonian Monte Carlo's leapfrog.

    Source: Neal, MCMC using Hamiltonian dynamics, eq. 2.28 to 2.30, arXiv:1206.1901.

    Example:
        >>> import numpy as np
        >>> flat, z = FlatMetric(), np.ones((1, 1), "float32")
        >>> slope = lambda z: -z  # Of a standard normal's log-density.
        >>> z, momentum, _ = flat.leapfrog(z, 0.0 * z, flat.surroundings(z, slope), slope, 0.2)
        >>> round(float(z[0, 0]), 3), round(float(momentum[0, 0]), 3)
        (0.98, -0.198)
    """

    def momentum(self, z, noise):
        """A momentum at every code, from standard normal noise of the codes' shape."""
        return noise

    def momentum_log_prob(self, z, momentum):
        """The log-density of such momenta, shape (batch,)."""
        return -0.5 * ops.sum(ops.square(momentum) + math.log(2.0 * math.pi), axis=-1)

    def surroundings(self, z, slope):
        """What a step needs to know of the place where it begins."""
        return slope(z)

    def leapfrog(self, z, momentum, here, slope, step):
        """One step of the dynamics whose energy is the kinetic one less a log-density.

        Args:
            z: Tensor of shape (batch, dimensions).
            momentum: Of z's shape.
            here: What `surroundings` says of z.
            slope: Callable of codes that gives the log-density's gradient, of z's shape.
            step: The step's size, a number or a tensor of shape (dimensions,).

        Returns:
            z and the momentum at the end, and the surroundings there.
        """
        momentum = momentum + 0.5 * step * here
        z = z + step * momentum
        here = slope(z)
        return z, momentum + 0.5 * step * here, here


@dataclasses.dataclass(frozen=True, eq=False)
class LearnedMetric:
    """The inverse metric sum_i M_i exp(-|z - c_i|^2 / T^2), and a multiple of the identity.

    Source: Chadebec, Thibeau-Sutre, Burgos and Allassonnière, eq. 7, arXiv:2105.00026.

    Args:
        codes: The points c_i, a tensor of shape (points, dimensions).
        matrices: The positive semi-definite M_i, of shape (points, dimensions, dimensions).
        temperature: The paper's T, a positive number.
        regularisation: The multiple of the identity, a positive number.
        fixed_point_turns: How often the leapfrog's two implicit equations are iterated, a positive
            integer. Defaults to 3.

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
    fixed_point_turns: int = 3

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
        size = self.codes.shape[1]
        flat = ops.matmul(self._nearness(z), self._flat())
        identity = self.regularisation * ops.eye(size, dtype="float32")
        return ops.reshape(flat, (-1, size, size)) + identity

    def slope(self, z, squares):
        """The gradient in z of tr(S G^-1(z)), for matrices S that do not depend on z.

        Args:
            z: Tensor of shape (batch, dimensions).
            squares: The symmetric S, of shape (batch, dimensions, dimensions).

        Returns:
            Float32 tensor of z's shape.
        """
        flat = ops.reshape(squares, (-1, self.codes.shape[1] ** 2))
        shares = ops.matmul(flat, ops.transpose(self._flat())) * self._nearness(z)
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

    def surroundings(self, z, slope):
        """The inverse metric at z, the metric, and the gradient, which is not cheap."""
        inverse = self.inverse(z)
        return inverse, squared(inverse_root(inverse)), slope(z)

    def leapfrog(self, z, momentum, here, slope, step):
        """One step of the generalised leapfrog, eq. 5, as `FlatMetric.leapfrog` has it."""
        inverse, _, _ = here
        half = momentum
        for _ in range(self.fixed_point_turns):
            half = momentum - 0.5 * step * self._force(z, half, here)
        speed, end = times(inverse, half), z
        for _ in range(self.fixed_point_turns):
            end = z + 0.5 * step * (speed + times(self.inverse(end), half))
        there = self.surroundings(end, slope)
        return end, half - 0.5 * step * self._force(end, half, there), there

    def _force(self, z, momentum, here):
        """The energy's gradient: of r' G^-1 r / 2 + log det G / 2 - log p."""
        _, metric, slope = here
        squares = momentum[:, :, None] * momentum[:, None, :] - metric
        return 0.5 * self.slope(z, squares) - slope

    def walk(self, start, num_steps, seed):
        """Hamiltonian Monte Carlo on the density that the manifold's volume is, section 4.

        Args:
            start: The codes where the walks begin, a tensor of shape (batch, dimensions).
            num_steps: Steps of each walk, every one a path of five leaps and its acceptance.
            seed: A `keras_ae.seeds.RunSeed`.

        Returns:
            The codes where the walks end, a float32 tensor of start's shape.
        """

        def slope(z):
            return self.log_volume_and_slope(z)[1]

        def turn(number, z):
            draws, flat = seed.at(number), FlatMetric()
            momentum = keras.random.normal(ops.shape(z), dtype="float32", seed=draws)
            density, here = self.log_volume_and_slope(z)
            end, last = z, momentum
            for _ in range(_WALK_LEAPS):
                end, last, here = flat.leapfrog(end, last, here, slope, _WALK_STEP)
            arrived, _ = self.log_volume_and_slope(end)
            kinetic = 0.5 * ops.sum(ops.square(momentum) - ops.square(last), axis=-1)
            uniform = keras.random.uniform(ops.shape(density), dtype="float32", seed=draws)
            accepted = ops.log(uniform + 1e-20) < arrived - density + kinetic
            return ops.where(accepted[:, None], end, z)

        return ops.fori_loop(0, num_steps, turn, start)

    def log_volume_and_slope(self, z):
        """The logarithm of the root of the inverse metric's determinant, and its gradient.

        Args:
            z: Tensor of shape (batch, dimensions).

        Returns:
            Float32 tensors of shape (batch,) and of z's shape.
        """
        root = inverse_root(self.inverse(z))
        return -log_root_determinant(root), 0.5 * self.slope(z, squared(root))

    def _nearness(self, z):
        """exp(-|z - c_i|^2 / T^2) of every code and point, shape (batch, points)."""
        z = ops.cast(z, "float32")
        distances = ops.sum(ops.square(z[:, None] - self.codes[None]), axis=-1)
        return ops.exp(-distances / self.temperature**2)

    def _flat(self):
        return ops.reshape(self.matrices, (-1, self.codes.shape[1] ** 2))


# LAPACK's factorisation does not travel in a program that JAX exports, and codes are short.


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


def log_root_determinant(root):
    """log of the root of det R R', that of the metric's if R is the root of the inverse metric."""
    return ops.sum(ops.log(ops.diagonal(root, axis1=1, axis2=2)), axis=-1)


def squared(root):
    """R' R: the inverse of M."""
    return ops.matmul(ops.transpose(root, (0, 2, 1)), root)


def times(matrices, vectors):
    """Every matrix times its vector."""
    return ops.sum(matrices * vectors[:, None, :], axis=-1)
