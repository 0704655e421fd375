r"""Least squares with non-negative weights, with and without the sum-to-one constraint.

The convex problem

.. math:: \min_w \|y - F w\|^2 \quad\text{subject to}\quad w \ge 0,\; \sum_m w_m = 1

is a quadratic programme. Since :math:`\sum_m w_m = 1`, the residual is :math:`D w` with the
columns :math:`d_m = y - f_m`: the problem asks for the point of smallest norm in the convex hull
of the :math:`d_m` (Wolfe 1976, Math. Programming 11, 128). It is solved exactly by one
non-negative least-squares problem (Lawson & Hanson 1974, ch. 23)

.. math:: \min_{u \ge 0} \|D u\|^2 + (1 - \sum_m u_m)^2,\qquad w = u / \sum_m u_m .

Write :math:`u = s w` with :math:`w` on the simplex and :math:`q = \|D w\|^2`: the best :math:`s`
is :math:`1/(1+q)` and leaves :math:`q/(1+q)`, which grows with :math:`q`; so the two problems
have the same :math:`w`. Dividing by the sum is exact here, unlike after plain non-negative least
squares, where it is a heuristic.
"""

import numpy as np
from scipy.linalg import qr
from scipy.optimize import nnls


def _reduce(A: np.ndarray) -> np.ndarray:
    """Triangular factor R of A = QR: ‖A w‖ = ‖R w‖ with as few rows as columns."""
    return qr(A, mode="r", check_finite=False)[0][: A.shape[1]] if A.shape[0] > A.shape[1] else A


def non_negative_least_squares(
    F: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None
) -> np.ndarray:
    """Minimise ‖y − F w‖² over w ≥ 0.

    Parameters
    ----------
    F : ndarray of shape (n, m)
        Members' predictions.
    y : ndarray of shape (n,)
        Observed values.
    sample_weight : ndarray of shape (n,), optional
        Weights of the squared residuals.

    Returns
    -------
    ndarray of shape (m,)
        The weights; all zero if no member is positively related to ``y``.

    Examples
    --------
    >>> non_negative_least_squares(np.eye(3), np.array([2.0, -1.0, 0.5])).tolist()
    [2.0, 0.0, 0.5]
    """
    root = 1.0 if sample_weight is None else np.sqrt(sample_weight)
    system = _reduce(np.column_stack([(F.T * root).T, y * root]))
    scale = np.linalg.norm(system, axis=0)
    # Columns of unit length: the solver's tolerance is absolute in the gradient.
    scale[scale == 0] = 1.0
    return nnls(system[:, :-1] / scale[:-1], system[:, -1] / scale[-1])[0] * scale[-1] / scale[:-1]


def convex_weights(
    F: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None = None
) -> np.ndarray:
    """Minimise ‖y − F w‖² over w ≥ 0 with Σ w = 1, exactly (see the module's text).

    Parameters
    ----------
    F : ndarray of shape (n, m)
        Members' predictions.
    y : ndarray of shape (n,)
        Observed values.
    sample_weight : ndarray of shape (n,), optional
        Weights of the squared residuals.

    Returns
    -------
    ndarray of shape (m,)
        Weights whose floating-point sum is exactly 1. Of identical members only the first gets
        weight.

    Examples
    --------
    >>> F = np.array([[0.0, 1.0], [0.0, 1.0]])
    >>> convex_weights(F, np.array([0.25, 0.25])).tolist()
    [0.75, 0.25]
    """
    root = 1.0 if sample_weight is None else np.sqrt(sample_weight)
    weights = np.zeros(F.shape[1])
    # Rounding in the triangular factor would choose between identical members.
    first = np.sort(np.unique(F, axis=1, return_index=True)[1])
    D = _reduce(((y[:, None] - F[:, first]).T * root).T)
    norms = np.linalg.norm(D, axis=0)
    if norms.min() == 0.0:  # a member without error: the minimum is zero, and it is reached there
        weights[first[np.argmin(norms)]] = 1.0
        return weights
    # Any positive scale of D leaves the solution as it is; the best member's residual as unit
    # keeps q near one, where q / (1 + q) is well resolved.
    system = np.vstack([D / norms.min(), np.ones(D.shape[1])])
    # Columns of unit length: with errors of the members 12 orders of magnitude apart the solver
    # otherwise went in circles and gave up.
    length = np.linalg.norm(system, axis=0)
    target = np.zeros(len(system))
    target[-1] = 1.0
    u = nnls(system / length, target)[0] / length
    weights[first] = _sum_to_one(u / u.sum())
    return weights


def _sum_to_one(weights: np.ndarray) -> np.ndarray:
    """Round to multiples of 2⁻⁵³ that sum to one.

    Every partial sum of such numbers is exact, so the sum is 1.0 in whatever order it is taken.
    """
    units = np.rint(weights * 2.0**53).astype(np.int64)
    units[np.argmax(units)] += 2**53 - units.sum()
    return units / 2.0**53
