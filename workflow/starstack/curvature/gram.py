"""Σ a aᵀ over many rows and its eigenbasis, through the smaller of two matrices."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Eigenbasis:
    """Eigenvectors of a positive semidefinite matrix; what they do not span has eigenvalue 0.

    Attributes
    ----------
    vectors : ndarray of float64, shape (d, r)
        Orthonormal columns, r ≤ d.
    values : ndarray of float64, shape (r,)
        Not negative, rising.
    """

    vectors: np.ndarray
    values: np.ndarray

    @property
    def is_complete(self) -> bool:
        """Whether the vectors span everything."""
        return self.vectors.shape[0] == self.vectors.shape[1]


def eigenbasis(matrix: np.ndarray) -> Eigenbasis:
    """Decompose a positive semidefinite matrix in float64, symmetrised and clipped at 0.

    Examples
    --------
    >>> eigenbasis(np.array([[2.0, 0.0], [0.0, 0.0]])).values
    array([0., 2.])
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    # A sum of products in single precision is symmetric to rounding only.
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return Eigenbasis(vectors, np.maximum(values, 0.0))


class GramSum:
    """Adds up A = Σ a aᵀ over blocks of rows; A = BᵀB, B holding the rows.

    Rows are held until there are as many as A has columns. If there never are, the eigenbasis is
    found through the smaller B Bᵀ = U S Uᵀ: the eigenvectors of A are BᵀU S^(−1/2), and all that
    is orthogonal to them has eigenvalue 0. Otherwise products of the held rows, in their own
    precision, are added in float64: a sum of 17 million terms in single precision would lose 1 %.

    Parameters
    ----------
    width : int
        Length d of a row.

    Examples
    --------
    >>> tall, wide = GramSum(2), GramSum(2)
    >>> tall.add(np.array([[3.0, 4.0], [0.0, 0.0], [0.0, 0.0]]))
    >>> wide.add(np.array([[3.0, 4.0]]))
    >>> tall.eigenbasis().values, wide.eigenbasis().values
    (array([ 0., 25.]), array([25.]))
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._held: list[np.ndarray] = []
        self._n_held = 0
        self._total: np.ndarray | None = None

    def add(self, rows: np.ndarray) -> None:
        """Add rows of shape (n, d)."""
        self._held.append(rows)
        self._n_held += len(rows)
        if self._n_held >= self._width:
            self._flush()

    def eigenbasis(self) -> Eigenbasis:
        """Return the eigenbasis of the sum; the rows that are held are let go."""
        if self._total is None:
            return self._through_rows()
        self._flush()
        total, self._total = self._total, None
        return eigenbasis(total)

    def _flush(self) -> None:
        if self._total is None:
            self._total = np.zeros((self._width, self._width))
        if self._held:
            rows = self._take()
            self._total += rows.T @ rows

    def _take(self) -> np.ndarray:
        held, self._held, self._n_held = self._held, [], 0
        return np.concatenate(held)

    def _through_rows(self) -> Eigenbasis:
        if not self._held:
            return Eigenbasis(np.zeros((self._width, 0)), np.zeros(0))
        # In float64 throughout: dividing by the root of a small eigenvalue enlarges rounding.
        rows = self._take().astype(np.float64)
        small = eigenbasis(rows @ rows.T)
        keep = small.values > self._width * np.finfo(np.float64).eps * small.values[-1]
        values = small.values[keep]
        vectors = rows.T @ small.vectors[:, keep]
        vectors /= np.sqrt(values)
        return Eigenbasis(vectors, values)
