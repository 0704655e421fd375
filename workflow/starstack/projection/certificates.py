r"""What can be proved of the point at which a fit ended: its gradient, its curvature, its freedom.

**The gauge.** For every invertible A the factors W A and A⁻¹ V have the product W V and predict the
same. The tangents of this orbit are (W Ξ, −Ξ V) for any L×L matrix Ξ without a penalty; with equal
penalties only rotations leave the loss unchanged, so that Ξ is skew. Along them the Hessian of a
stationary point is zero. Their number, with r_W and r_V the ranks of W and V and r that of both
at a penalised optimum, where WᵀW = V Vᵀ, is

======================  ==============================
without a penalty       L² − (L − r_W)(L − r_V)
with equal penalties    r(2L − r − 1)/2
======================  ==============================

since Ξ that map to zero on both sides are no motion. The softmax adds directions that shift all
outputs of a row alike: one for its intercept, and without a penalty r_W for the columns of
W c 1ᵀ.

**Null directions beyond the gauge.** Where there is no penalty and the loss is stationary in the
product itself, the Hessian is JᵀHJ with J: (δW, δV) → δW V + W δV, and all of J's null space
counts, of dimension FL + LC − FC + (F − r_W)(C − r_V): many more than the gauge for two classes
and L > 1. Features that are linearly dependent add L for each one too many, and the softmax then
adds F instead of r_W if the vector 1 lies in the row space of V. In all of this F is the rank of
the features (centred, if there is an intercept).
"""

from typing import Any

import numpy as np
from scipy.linalg import null_space, orth

from starstack.projection.duality import duality_gap
from starstack.projection.equivalence import matching_c
from starstack.projection.newton import DENSE_LIMIT, unit_diagonal
from starstack.projection.objective import JointObjective, Layout
from starstack.projection.saddle import Curvature
from starstack.projection.separation import is_separable
from starstack.projection.solvers import REFINED

# Eigenvalues of the Hessian, scaled to a diagonal of ones, count as zero below this share of the
# largest one, and below ten times the norm of the scaled gradient, see `Curvature.is_negative`.
# Without the scaling those of small features counted beside large ones.
NULL_TOLERANCE = 1e-9
# Curvature goes with the square of what W, V and X hold in a direction, so their singular values
# count as zero below the root of it. At 10⁻⁶ a column that the penalty drives to zero counted.
RANK_TOLERANCE = NULL_TOLERANCE**0.5
# A loss without a penalty is the lowest if no other can be lower by more than this share of it.
_LOWEST = 1e-9


def certify(
    objective: JointObjective, flat: np.ndarray, curvature: Curvature, *, gtol: float
) -> dict[str, Any]:
    """State what is known of the point at which a fit ended.

    Parameters
    ----------
    objective : JointObjective
        The loss.
    flat : ndarray of shape (P,)
        The point.
    curvature : Curvature
        The ends of the Hessian's spectrum there.
    gtol : float
        The norm of the gradient at which a point counts as stationary.

    Returns
    -------
    dict
        Numbers and words, and one None:

        ``status``
            "saddle" (stationary, with negative curvature), "no minimum" (separable classes
            without a penalty: the loss falls for ever), "not converged" (a gradient above `gtol`;
            or, without a penalty and where the rank is no constraint, a loss that may exceed the
            lowest by more than `gtol`), or "minimum". With fewer columns than the unlimited
            optimum has, there may be lower ones.
        ``has_minimum``
            False if there is no penalty and the classes are separable: by their features, if the
            rank is no constraint (two classes, or L ≥ min(F, C − 1)), else by the projection found.
            None if the rank is a constraint and the features separate, but the projection found
            does not: it may still turn, and the loss fall for ever. A "minimum" then is no more
            than a stationary point.
        ``loss``, ``gradient_norm``, ``smallest_eigenvalue``, ``largest_eigenvalue``,
        ``eigenvalue_error``
            Of the loss, its gradient and its Hessian; the error is the residual of the smallest
            eigenvalue.
        ``gauge_directions``, ``gauge_residual``
            Their number by the formulas above, and the largest ‖H q‖ over unit vectors q among
            them, in units of the largest eigenvalue.
        ``null_directions_derived``, ``null_directions_found``
            The dimension of the Hessian's null space, from ranks and from eigenvalues; found is −1
            for more than `starstack.projection.newton.DENSE_LIMIT` parameters. They agree at a
            minimum that `minimise` has refined, unless an eigenvalue or a singular value is zero
            by chance: as they are where a singular value of ∂f/∂(W V) beyond those of the product
            equals α. A saddle may have further ones, and where the loss falls for ever all of them
            fade.
        ``product_rank``, ``nuclear_norm``, ``matching_c``
            Of W V; the C of an ordinary logistic regression with the same coefficients (two
            classes), or NaN.
        ``dual_norm``, ``is_global``
            The largest singular value of ∂f/∂(W V); whether it is proved that no product of any
            rank has a smaller penalised loss: by that value, or without a penalty by
            `starstack.projection.duality`, to 10⁻⁹ of the loss.
    """
    layout, alpha = objective.layout, objective.alpha
    loss, gradient = objective.value_and_gradient(flat)
    norm = float(np.linalg.norm(gradient))
    W, V, _ = layout.unpack(flat)
    singular = np.linalg.svd(W @ V, compute_uv=False)
    resolved = _without_negligible_columns(objective, flat)
    dual = float(np.linalg.norm(objective.product_gradient(flat), 2))
    # A gradient g and singular vectors (u, v) of W V = u s vᵀ give G v = g/√s − α u.
    uncertainty = 10 * max(norm, REFINED * gtol) / objective.factor_length
    stationary = norm <= gtol
    has_minimum = alpha > 0 or _has_minimum(objective, flat)
    # Where the loss falls for ever, gradient and curvature fade, and a sign of either says nothing.
    fading = has_minimum is False and objective.separates(flat)
    is_global = dual <= alpha + uncertainty
    if stationary and curvature.is_negative(norm) and not fading:
        status = "saddle"
    elif has_minimum is False:
        status = "no minimum"
    else:
        if stationary and alpha == 0:
            gap = duality_gap(objective, flat)
            is_global = gap <= _LOWEST * loss
            stationary = is_global or gap <= gtol or _rank_is_a_constraint(layout)
        status = "minimum" if stationary else "not converged"
    directions = gauge_directions(resolved, layout, penalised=alpha > 0)
    residuals = [objective.hessian_vector_product(flat, q) for q in directions.T]
    scale = max(curvature.scale, np.finfo(float).tiny)
    return {
        "status": status,
        "has_minimum": has_minimum,
        "loss": float(loss),
        "gradient_norm": norm,
        "smallest_eigenvalue": curvature.smallest,
        "largest_eigenvalue": curvature.largest,
        "eigenvalue_error": curvature.error,
        "gauge_directions": gauge_count(resolved, layout, penalised=alpha > 0),
        "gauge_residual": float(np.linalg.norm(residuals, axis=1).max() / scale)
        if residuals
        else 0.0,
        "null_directions_derived": null_count(objective, resolved, gtol=gtol),
        "null_directions_found": _count_null(objective, flat, gradient),
        "product_rank": _product_rank(objective, singular),
        "nuclear_norm": float(singular.sum()),
        "matching_c": matching_c(W @ V, alpha) if layout.n_outputs == 1 else float("nan"),
        "dual_norm": dual,
        "is_global": bool(status == "minimum" and is_global),
    }


def gauge_directions(flat: np.ndarray, layout: Layout, *, penalised: bool) -> np.ndarray:
    """Build an orthonormal basis of the directions along which the loss cannot change.

    Returns
    -------
    ndarray of shape (P, count)
        The count is that of `gauge_count` at a balanced point.
    """
    W, V, _ = layout.unpack(flat)
    zero = np.zeros(layout.n_outputs)
    tangents = [
        layout.pack(W @ generator, -generator @ V, zero)
        for generator in _generators(layout.rank, skew=penalised)
    ]
    if layout.n_outputs > 1:
        ones = np.ones(layout.n_outputs)
        if layout.fit_intercept:
            tangents.append(layout.pack(np.zeros_like(W), np.zeros_like(V), ones))
        if not penalised:
            right = orth(W.T, rcond=RANK_TOLERANCE)  # others move V where W does not look
            shifts = [np.outer(c, ones) for c in right.T]
            tangents += [layout.pack(np.zeros_like(W), shift, zero) for shift in shifts]
    if not tangents:
        return np.empty((layout.size, 0))
    return orth(np.transpose(tangents), rcond=RANK_TOLERANCE)


def _generators(rank: int, *, skew: bool) -> list[np.ndarray]:
    """List a basis of all L×L matrices, or of the skew ones."""
    unit = np.eye(rank)
    pairs = [(i, j) for i in range(rank) for j in range(rank)]
    if not skew:
        return [np.outer(unit[i], unit[j]) for i, j in pairs]
    return [np.outer(unit[i], unit[j]) - np.outer(unit[j], unit[i]) for i, j in pairs if i < j]


def gauge_count(flat: np.ndarray, layout: Layout, *, penalised: bool) -> int:
    """Count the directions of the gauge, and the softmax's, by the formulas above."""
    W, V, _ = layout.unpack(flat)
    L, r_W, r_V = layout.rank, _matrix_rank(W), _matrix_rank(V)
    softmax = layout.n_outputs > 1
    intercept = int(softmax and layout.fit_intercept)
    if penalised:
        return r_W * (2 * L - r_W - 1) // 2 + intercept
    # A shift W c 1ᵀ is one of the gauge already where it can be made by both factors, which takes
    # a c with c 1ᵀ = −Ξ V and W Ξ = 0; that happens for r_V < L or r_W < L only through null(W).
    return L**2 - (L - r_W) * (L - r_V) + (r_W if softmax else 0) + intercept


def null_count(objective: JointObjective, flat: np.ndarray, *, gtol: float) -> int:
    """Derive the dimension of the Hessian's null space at a stationary point from ranks."""
    layout, penalised = objective.layout, objective.alpha > 0
    if penalised:
        return gauge_count(flat, layout, penalised=True)
    W, V, _ = layout.unpack(flat)
    used = objective.X[objective.sample_weight > 0]
    if layout.fit_intercept:
        used = used - used.mean(axis=0)
    F, L, C = _matrix_rank(used), layout.rank, layout.n_outputs
    r_W, r_V = _matrix_rank(used @ W), _matrix_rank(V)
    softmax = C > 1
    shifts = int(softmax and layout.fit_intercept)
    if np.linalg.norm(objective.product_gradient(flat)) <= 100 * gtol:
        fibre = F * L + L * C - F * C + (F - r_W) * (C - r_V)
        if softmax:
            ones = np.ones(C)
            inside = np.linalg.norm(null_space(V, rcond=RANK_TOLERANCE).T @ ones) < 1e-6
            shifts += F if inside else r_W
    else:
        fibre = L**2 - (L - r_W) * (L - r_V)
        shifts += r_W if softmax else 0
    return fibre + shifts + L * (layout.n_features - F)


def _rank_is_a_constraint(layout: Layout) -> bool:
    """Tell whether some coefficients have a higher rank, even after a shift of all outputs."""
    return layout.n_outputs > 1 and layout.rank < min(layout.n_features, layout.n_outputs - 1)


def _has_minimum(objective: JointObjective, flat: np.ndarray) -> bool | None:
    """Tell whether the loss without a penalty has a minimum; None if that is not known.

    Where the rank is a constraint and the features separate, another projection than the one found
    may do so too.
    """
    if objective.separates(flat):  # a linear programme of many rows and classes takes long
        return False
    layout = objective.layout

    def separable(features: np.ndarray) -> bool:
        return is_separable(
            features, objective.Y, objective.sample_weight, fit_intercept=layout.fit_intercept
        )

    if not separable(objective.X):
        return True
    if not _rank_is_a_constraint(layout):
        return False
    return False if separable(objective.X @ layout.unpack(flat)[0]) else None


def _without_negligible_columns(objective: JointObjective, flat: np.ndarray) -> np.ndarray:
    """Set singular values of W and V to zero that stand for none, so that ranks can be read."""
    W, V, b = objective.layout.unpack(flat)
    kept = []
    for factor in (W, V):
        left, singular, right = np.linalg.svd(factor, full_matrices=False)
        least = RANK_TOLERANCE * max(objective.factor_length, singular.max(initial=0.0))
        kept.append((left * np.where(singular > least, singular, 0.0)) @ right)
    return objective.layout.pack(*kept, b)


def _product_rank(objective: JointObjective, singular: np.ndarray) -> int:
    """Count singular values of W V; in balanced factors each is the square of theirs."""
    least = NULL_TOLERANCE * max(objective.factor_length**2, singular.max(initial=0.0))
    return int(np.count_nonzero(singular > least))


def _count_null(objective: JointObjective, flat: np.ndarray, gradient: np.ndarray) -> int:
    """Count eigenvalues of zero of D H D, as many as H has for any scales D (Sylvester)."""
    if objective.size > DENSE_LIMIT:
        return -1
    H = objective.hessian(flat)
    scales = unit_diagonal(H)
    sizes = np.abs(np.linalg.eigvalsh(H * scales * scales[:, None]))
    tolerance = NULL_TOLERANCE * sizes.max() + 10 * np.linalg.norm(scales * gradient)
    return int(np.count_nonzero(sizes <= tolerance))


def _matrix_rank(matrix: np.ndarray) -> int:
    singular = np.linalg.svd(matrix, compute_uv=False)
    largest = singular.max(initial=0.0)
    return int(np.count_nonzero(singular > RANK_TOLERANCE * largest)) if largest > 0 else 0
