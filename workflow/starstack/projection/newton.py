"""Newton steps that refine a stationary point where rounding hides the fall of the loss."""

from collections.abc import Iterator

import numpy as np
from scipy.sparse.linalg import LinearOperator, minres

from starstack.projection.objective import JointObjective

# Up to this many parameters the whole Hessian is computed.
DENSE_LIMIT = 300
# A fall of the loss by less than this share of it is rounding.
STALL = 1e-15
# Eigenvalues of the scaled Hessian below such a share of the largest one are left out of a step: it
# depends on penalty and data which of them are curvature and which are rounding of zero.
_CUTOFFS = (1e-14, 1e-12, 1e-10, 1e-8)
_STEPS = 5
_MOST_PRODUCTS = 1000  # of one step

Point = tuple[np.ndarray, float, np.ndarray]


def unit_diagonal(H: np.ndarray) -> np.ndarray:
    """Return the scales d that give D H D a diagonal of ones, however unlike features are.

    Examples
    --------
    >>> unit_diagonal(np.diag([1e-4, 0.25, 4.0]))
    array([100. ,   2. ,   0.5])
    """
    diagonal = np.diag(H)
    largest = diagonal.max(initial=np.finfo(float).tiny)
    # A diagonal of nothing but rounding is not scaled up.
    return np.where(diagonal > 1e-12 * largest, diagonal, largest) ** -0.5


def newton_steps(
    objective: JointObjective, flat: np.ndarray, gtol: float, max_iter: int
) -> list[Point]:
    """Take up to five Newton steps, to the smallest gradient met.

    Where features are large the norm of the gradient can grow in the first step, while the loss
    falls.

    Parameters
    ----------
    objective : JointObjective
        The loss.
    flat : ndarray of shape (P,)
        Where to start.
    gtol : float
        The norm of the gradient at which to stop.
    max_iter : int
        The most steps.

    Returns
    -------
    list of (flat, loss, gradient)
        The points on the way, the start first.
    """
    met = [(flat, *objective.value_and_gradient(flat))]
    for _ in range(min(_STEPS, max_iter)):
        flat, loss, gradient = met[-1]
        if np.linalg.norm(gradient) <= gtol:
            break
        rounding = 100 * STALL * max(abs(loss), 1.0)
        found = []
        for step in _steps(objective, flat, gradient):
            new_loss, new_gradient = objective.value_and_gradient(flat + step)
            lower = new_loss < loss - rounding
            flatter = np.linalg.norm(new_gradient) < np.linalg.norm(gradient)
            if lower or (flatter and new_loss <= loss + rounding):
                found.append((flat + step, new_loss, new_gradient))
        if not found:
            break
        met.append(min(found, key=_slope))
    best = min(range(len(met)), key=lambda i: _slope(met[i]))
    return met[: best + 1]


def _slope(point: Point) -> float:
    return float(np.linalg.norm(point[2]))


def _steps(
    objective: JointObjective, flat: np.ndarray, gradient: np.ndarray
) -> Iterator[np.ndarray]:
    """Yield solutions of H step = −gradient; along the gauge H is singular."""
    if objective.size > DENSE_LIMIT:
        hessian = LinearOperator(
            (objective.size, objective.size),
            matvec=lambda v: objective.hessian_vector_product(flat, np.ravel(v)),
            dtype=np.float64,
        )
        steps = min(2 * objective.size, _MOST_PRODUCTS)
        yield minres(hessian, -gradient, rtol=1e-8, maxiter=steps)[0]
        return
    H = objective.hessian(flat)
    scales = unit_diagonal(H)
    values, vectors = np.linalg.eigh(H * scales * scales[:, None])
    slopes, sizes = vectors.T @ (scales * gradient), np.abs(values)
    for n_kept in sorted({int((sizes > cutoff * sizes.max()).sum()) for cutoff in _CUTOFFS}):
        kept = np.argsort(sizes)[len(sizes) - n_kept :]
        yield -scales * (vectors[:, kept] @ (slopes[kept] / values[kept]))
