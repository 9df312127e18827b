"""A manifold of codes: a metric that examples span, eq. 7 of arXiv:2105.00026."""

import dataclasses

import numpy as np
from keras import ops


@dataclasses.dataclass(frozen=True, eq=False)
class LearnedMetric:
    """The inverse metric sum_i M_i exp(-|z - c_i|^2 / T^2), and a multiple of the identity.

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
