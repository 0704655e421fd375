r"""Inverse-Hessian products by conjugate gradients, for a matrix known by its products only.

The solver is SciPy's (``scipy.sparse.linalg.cg``; Hestenes & Stiefel 1952, *Journal of Research of
the National Bureau of Standards* 49, 409). It assumes a positive definite matrix and says nothing
where it is not: on an indefinite one it returns some numbers. Here each product is watched, and a
direction p with pᵀ A p ≤ 0 ends the solution with an error: the direction is the proof.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.sparse.linalg import LinearOperator, cg

from starstack.curvature.options import check_options
from starstack.errors import InputError

logger = logging.getLogger(__name__)

Product = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class Solution:
    """Solutions x of (A + shift) x = b.

    Attributes
    ----------
    x : ndarray of shape (n,) or (n, m)
        One column per right-hand side.
    n_iterations : tuple of int
        Of each right-hand side.
    residuals : tuple of float
        ‖b − (A + shift) x‖ / ‖b‖ by a last product, not by the recurrence.
    """

    x: np.ndarray
    n_iterations: tuple[int, ...]
    residuals: tuple[float, ...]


def solve(
    operator: LinearOperator,
    b: np.ndarray,
    *,
    shift: float | np.ndarray = 0.0,
    preconditioner: Product | None = None,
    tolerance: float = 1e-8,
    max_iterations: int | None = None,
) -> Solution:
    """Solve (A + shift) x = b for one or several right-hand sides.

    Parameters
    ----------
    operator : LinearOperator of shape (n, n)
        A, symmetric; A + shift positive definite.
    b : ndarray of shape (n,) or (n, m)
        Right-hand sides.
    shift : float or ndarray of shape (n,)
        Added to the diagonal: a prior precision.
    preconditioner : callable, optional
        v ↦ M v of shape (n,) with M ≈ (A + shift)⁻¹ positive definite, such as
        ``posterior.inverse_hessian_product`` of KFAC with the same prior precision.
    tolerance : float
        Of the residual relative to ‖b‖; below about ``1e-6`` the products must be in float64.
    max_iterations : int, optional
        Per right-hand side; ``10 n`` by default.

    Returns
    -------
    Solution
        With iterations and residuals.

    Raises
    ------
    InputError
        If shapes do not agree, an option is no such number, A + shift has a direction of negative
        curvature, the preconditioner is not positive definite, or the residual stays above the
        tolerance.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy.sparse.linalg import aslinearoperator
    >>> solution = solve(aslinearoperator(np.diag([1.0, 3.0])), np.ones(2), shift=1.0)
    >>> np.allclose(solution.x, [0.5, 0.25]), solution.n_iterations
    (True, (2,))
    >>> solve(aslinearoperator(np.diag([1.0, -3.0])), np.ones(2))
    Traceback (most recent call last):
    ...
    starstack.errors.InputError: conjugate gradients: the matrix is indefinite...
    """
    b = np.asarray(b, dtype=np.float64)
    n = operator.shape[0]
    if b.ndim not in (1, 2) or len(b) != n:
        raise InputError(
            f"conjugate gradients: b has shape {b.shape}, the matrix {operator.shape}; expected "
            f"({n},) or ({n}, m)"
        )
    given = np.asarray(shift)
    if given.dtype.kind not in "biuf" or given.shape not in ((), (n,)):
        shown = " ".join(repr(shift).split())
        raise InputError(
            f"conjugate gradients: shift: expected one number or {n}, one for each row of the "
            f"matrix, got {shown}; correct it"
        )
    options = {"tolerance": tolerance, "max_iterations": max_iterations}
    options = check_options(solve, options, "conjugate gradients")
    product = _watched(operator, given)
    watched = LinearOperator((n, n), matvec=product, dtype=np.float64)
    inner = None
    if preconditioner is not None:
        inner = LinearOperator((n, n), matvec=_checked(preconditioner), dtype=np.float64)
    columns, counts, residuals = [], [], []
    for column in b.reshape(n, -1).T:
        x, count, residual = _solve_one(watched, column, inner, **options)
        columns.append(x)
        counts.append(count)
        residuals.append(residual)
        logger.debug(
            "conjugate gradients: right-hand side %d of %d, %d iterations, residual %.1e",
            len(columns),
            b.reshape(n, -1).shape[1],
            count,
            residual,
        )
    x = np.stack(columns, axis=1).reshape(b.shape)
    return Solution(x, tuple(counts), tuple(residuals))


def _solve_one(
    operator: LinearOperator,
    b: np.ndarray,
    preconditioner: LinearOperator | None,
    tolerance: float,
    max_iterations: int | None,
) -> tuple[np.ndarray, int, float]:
    length = np.linalg.norm(b)
    if length == 0:
        return np.zeros_like(b), 0, 0.0
    iterations: list[None] = []
    x, _ = cg(
        operator,
        b,
        rtol=tolerance / 2,
        maxiter=max_iterations,
        M=preconditioner,
        callback=lambda _: iterations.append(None),
    )
    # The residual of the recurrence drifts from the true one: at a condition of 1e10 it fell to
    # 1e-12 where the true one stayed at 1e-7.
    count, residual = len(iterations), np.linalg.norm(b - operator.matvec(x)) / length
    if not residual <= tolerance:
        raise InputError(
            f"conjugate gradients: after {count} iterations the residual is {residual:.1e} of the "
            f"right-hand side (tolerance {tolerance:.1e}); allow more iterations, give a "
            "preconditioner, a larger prior precision, or products in float64"
        )
    return x, count, float(residual)


def _watched(operator: LinearOperator, shift: float | np.ndarray) -> Product:
    """Multiply by A + shift, and stop at the first direction without positive curvature."""

    def product(p: np.ndarray) -> np.ndarray:
        q = np.asarray(operator.matvec(p), np.float64).reshape(p.shape) + shift * p
        square = p @ p
        curvature = p @ q
        if not np.isfinite(curvature):
            raise InputError("conjugate gradients: a product holds NaN or infinity; scale the data")
        if square > 0 and curvature <= 0:
            raise InputError(
                "conjugate gradients: the matrix is indefinite or singular, its curvature along a "
                f"direction met is {curvature / square:.3g}; take the Gauss–Newton matrix, a "
                "larger prior precision, or a shift beyond the smallest eigenvalue "
                "(starstack.curvature.lanczos.extreme_eigenvalues)"
            )
        return q

    return product


def _checked(preconditioner: Product) -> Product:
    def product(r: np.ndarray) -> np.ndarray:
        z = np.asarray(preconditioner(r), np.float64).reshape(r.shape)
        if r.any() and not r @ z > 0:
            raise InputError(
                "conjugate gradients: the preconditioner is not positive definite along a residual "
                f"(rᵀ M r = {r @ z:.3g}); give one that is, or none"
            )
        return z

    return product
