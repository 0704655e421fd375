"""Σ a aᵀ over many rows and its eigenbasis, through the smaller of two matrices."""

from dataclasses import dataclass

import numpy as np

# Least number of rows whose products are added in their own precision.
PART_ROWS = 256


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


def gram_matrix(rows: np.ndarray) -> np.ndarray:
    """Return Σ a aᵀ, float64 of shape (…, d, d), for rows of shape (…, n, d).

    Products of `PART_ROWS` rows, or of d where these are more, are taken in the precision of the
    rows and added in float64, so that rounding does not grow with the number of rows.

    Examples
    --------
    >>> gram_matrix(np.array([[1.0, 2.0], [3.0, 0.0]], dtype="float32"))
    array([[10.,  2.],
           [ 2.,  4.]])
    """
    n, width = rows.shape[-2:]
    total = np.zeros((*rows.shape[:-2], width, width))
    step = max(PART_ROWS, width)
    for start in range(0, n, step):
        part = rows[..., start : start + step, :]
        total += np.matmul(part.swapaxes(-1, -2), part)
    return total


class GramSum:
    """Adds up A = Σ a aᵀ over blocks of rows; A = BᵀB, B holding the rows.

    Rows are held until there are as many as A has columns. If there never are, the eigenbasis is
    found through the smaller B Bᵀ = U S Uᵀ: the eigenvectors of A are BᵀU S^(−1/2), and all that
    is orthogonal to them has eigenvalue 0. Otherwise products of the held rows are added in float64
    (`gram_matrix`): a sum of 17 million terms in single precision would lose 1 %.

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
            self._total += gram_matrix(self._take())

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
