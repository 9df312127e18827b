"""Sparse matrices as data, of which only the rows of a batch are ever dense."""

import numpy as np


def is_sparse(data):
    """Tell whether the data is a matrix or an array of `scipy.sparse`."""
    # SciPy is not imported for this. What does not come from it is no such matrix.
    return type(data).__module__.startswith("scipy.sparse") and hasattr(data, "tocsr")


class SparseRows:
    """A `scipy.sparse` matrix of which rows are read as dense arrays of float32.

    Args:
        matrix: Matrix or array of `scipy.sparse` of shape (examples, features), in any format. It
            is not changed, and not copied if it has the format CSR.

    Example:
        >>> from scipy import sparse
        >>> from keras_ae.core.sparse_rows import SparseRows
        >>> rows = SparseRows(sparse.eye(4, 3))
        >>> rows.shape, rows[1:3].tolist()
        ((4, 3), [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    """

    ndim, dtype = 2, np.dtype("float32")

    def __init__(self, matrix):
        matrix = matrix.tocsr()
        if not matrix.has_canonical_format:  # An element may be stored in parts.
            matrix = matrix.copy()
            matrix.sum_duplicates()
        self.matrix, self.shape = matrix, tuple(matrix.shape)

    size = property(lambda self: self.shape[0] * self.shape[1])

    def map_values(self, function):
        """Return rows with other values in the places that hold any, such as other dtypes."""
        parts = (function(self.matrix.data), self.matrix.indices, self.matrix.indptr)
        return SparseRows(type(self.matrix)(parts, shape=self.shape, copy=False))

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, rows):
        return self.matrix[rows].astype("float32").toarray()

    def __array__(self, dtype=None, copy=None):
        raise TypeError(f"a sparse matrix of shape {self.shape} is never made dense as a whole")


def to_dense(batch):
    """Return a batch as an array if it is sparse, or else as it is."""
    if isinstance(batch, SparseRows):
        return batch[:]
    return batch.toarray() if is_sparse(batch) else batch
