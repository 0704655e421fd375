r"""By how much a loss without a penalty can exceed the lowest one, for products of any rank.

Give every row i a distribution q_i over the classes. By Gibbs' inequality the outputs z_i have

.. math:: \log \sum_k e^{z_{ik}} - y_i \cdot z_i \ge (q_i - y_i) \cdot z_i + H(q_i)

with the entropy H. If Σ_i s_i x_i (q_i − y_i)ᵀ = 0, with a one among the features where there is an
intercept, the first term vanishes in the sum over rows, whatever the coefficients are: no loss is
below Σ_i s_i H(q_i). The probabilities p_i of a minimum are such q_i. Next to one, so are p_i
plus their change along a Newton step in the coefficients, as long as none becomes negative.

The gradient alone proves nothing: on a small feature it is small far from the minimum. So the step
is taken in orthonormal combinations of features that are centred and scaled.
"""

import numpy as np
from scipy.sparse.linalg import LinearOperator, cg
from scipy.special import logsumexp, softmax, xlogy

from starstack.projection.objective import JointObjective

_MOST_PRODUCTS = 1000


def duality_gap(objective: JointObjective, flat: np.ndarray) -> float:
    """Bound by how much the loss exceeds the lowest one of any coefficients; infinite if it cannot.

    Parameters
    ----------
    objective : JointObjective
        A loss without a penalty.
    flat : ndarray of shape (P,)
        The point.
    """
    W, V, b = objective.layout.unpack(flat)
    used = objective.sample_weight > 0
    X, Y, weight = objective.X[used], objective.Y[used], objective.sample_weight[used]
    logits = X @ W @ V + b
    if Y.shape[1] == 1:  # the softmax of (0, z) is the sigmoid of z
        Y, logits = np.hstack([1 - Y, Y]), np.hstack([np.zeros_like(logits), logits])
    roots = np.sqrt(weight)[:, None]
    basis = _orthonormal(roots, X, centred=objective.layout.fit_intercept)
    P = softmax(logits, axis=1)

    def change(step: np.ndarray) -> np.ndarray:
        z = basis @ step.reshape(-1, P.shape[1]) / roots
        return P * (z - (P * z).sum(axis=1, keepdims=True))

    gradient = basis.T @ (roots * (P - Y))
    # A shift of all outputs is a null direction, along which rounding would grow.
    gradient -= gradient.mean(axis=1, keepdims=True)
    hessian = LinearOperator(
        (gradient.size,) * 2, matvec=lambda step: (basis.T @ (roots * change(step))).ravel()
    )
    rounding = 10 * np.finfo(float).eps * np.linalg.norm(roots)
    step, _ = cg(hessian, -gradient.ravel(), rtol=1e-12, atol=rounding, maxiter=_MOST_PRODUCTS)
    Q = P + change(step)
    if not Q.min(initial=0.0) >= 0:
        return float("inf")
    # What is left of the first term, for coefficients as large as those found.
    left = np.abs(basis.T @ (roots * (Q - Y))) * np.abs(basis.T @ (roots * logits))
    loss = weight @ (logsumexp(logits, axis=1) - (Y * logits).sum(axis=1))
    return float(loss + weight @ xlogy(Q, Q).sum(axis=1) + left.sum())


def _orthonormal(roots: np.ndarray, X: np.ndarray, *, centred: bool) -> np.ndarray:
    """Return orthonormal columns that span √s X, and √s if an intercept centres the features."""
    if centred:
        X = X - np.average(X, axis=0, weights=roots[:, 0] ** 2)
    columns = roots * (np.column_stack([X, np.ones(len(X))]) if centred else X)
    lengths = np.linalg.norm(columns, axis=0)
    left, singular, _ = np.linalg.svd(
        columns / np.where(lengths > 0, lengths, 1.0), full_matrices=False
    )
    least = max(columns.shape) * np.finfo(float).eps * singular.max(initial=0.0)
    return left[:, singular > least]
