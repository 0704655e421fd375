"""Second moments of the rows' gradients in given bases: the diagonals of EKFAC and of Gauss–Newton.

For a row with factors a_t and g_t, rotated to ã = Q_Aᵀa and g̃ = Q_Gᵀg, the squared entries of its
Jacobian in these bases are (Σ_t ã_ti g̃_tj)². Their sum over rows needs one product of matrices per
batch where there is one position, since then

    Σ_n (ã_ni g̃_nj)² = Σ_n ã_ni² g̃_nj²,

and no Jacobian of single rows.
"""

from collections.abc import Callable

import numpy as np

from starstack.curvature.factor_pass import RowFactors
from starstack.curvature.gram import PART_ROWS

# Entries of the Jacobians that are formed at once where there are several positions.
JACOBIAN_ENTRIES = 10_000_000


def sum_of_squares(rows: RowFactors, a: np.ndarray, g: np.ndarray) -> np.ndarray:
    """Return Σ_n (Σ_t a_nti g_ntj)², float64 of shape (width of a, width of g).

    Parameters
    ----------
    rows : RowFactors
        Where `a` and `g` come from.
    a, g : ndarray of shape (n, …, width)
        Activations, and one of the back-propagated vectors, in the bases that are wanted.
    """
    total = np.zeros((a.shape[-1], g.shape[-1]))
    if a.ndim == 2:
        # As in `starstack.curvature.gram.gram_matrix`.
        step = max(PART_ROWS, *total.shape)
        for start in range(0, len(a), step):
            block = slice(start, start + step)
            total += np.matmul(np.square(a[block]).T, np.square(g[block]))
        return total
    step = max(1, JACOBIAN_ENTRIES // total.size)
    for start in range(0, len(a), step):
        block = slice(start, start + step)
        total += np.square(rows.per_row(a[block], g[block])).sum(axis=0, dtype=np.float64)
    return total


class SquareSums:
    """Adds up the squares of one layer over batches, for each output or for all at once.

    Parameters
    ----------
    apart : bool
        Whether the back-propagated vectors are kept apart, as for squared error, where each is
        to be divided by its σ².
    rotate_inputs, rotate_outputs : callable, optional
        Q_Aᵀ and Q_Gᵀ, applied to the last axis; the identity by default.
    """

    def __init__(
        self,
        apart: bool,
        rotate_inputs: Callable[[np.ndarray], np.ndarray] = lambda a: a,
        rotate_outputs: Callable[[np.ndarray], np.ndarray] = lambda g: g,
    ) -> None:
        self._apart = apart
        self._rotate_inputs, self._rotate_outputs = rotate_inputs, rotate_outputs
        self.total: np.ndarray | None = None

    def add(self, rows: RowFactors) -> None:
        """Add a batch."""
        a, g = self._rotate_inputs(rows.a), self._rotate_outputs(rows.g)
        if self.total is None:
            n_sums = len(g) if self._apart else 1
            self.total = np.zeros((n_sums, a.shape[-1], g.shape[-1]))
        for m, one in enumerate(g):
            self.total[m if self._apart else 0] += sum_of_squares(rows, a, one)
