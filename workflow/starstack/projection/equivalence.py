r"""What the joint problem says about the product B = W V, and the ordinary problem that matches it.

The loss sees the factors through their product alone. Among all W, V of a given product,

.. math:: \min_{W V = B} \tfrac{1}{2} \left(\|W\|_F^2 + \|V\|_F^2\right) = \|B\|_*,

the sum of the singular values, if there are as many columns as the rank of B (Srebro, Rennie &
Jaakkola 2005, NIPS; Recht, Fazel & Parrilo 2010, SIAM Rev. 52, 471, lemma 5.1). *Proof.* With
B = P Σ Qᵀ, ‖B‖_* = tr(Pᵀ W V Q) ≤ ‖Pᵀ W‖ ‖V Q‖ ≤ ‖W‖ ‖V‖ ≤ (‖W‖² + ‖V‖²)/2, and W = P √Σ,
V = √Σ Qᵀ attain it. So equal penalties α/2 on both factors are the penalty

.. math:: \min_{B, b} \; f(B, b) + \alpha \|B\|_*, \qquad \operatorname{rank} B \le L,

and for two classes, where B is one column β, the penalty α‖β‖₂: the norm itself and not its square.
An optimum of it has ∇f(β) = −αβ/‖β‖. scikit-learn's ridge penalty ‖β‖²/(2C) asks for
∇f(β) = −β/C. Both are the same condition for

.. math:: C = \|β\|_2 / α,

and the problem being convex, the same coefficients solve both: for two classes the projection adds
nothing to what an ordinary logistic regression can say, whatever L; it only sets the penalty in
another way, and the fitted W has rank one. For several classes the nuclear norm drives singular
values to zero: no ordinary ridge penalty does that.

A stationary point is the global minimum over products of *any* rank if, and only if, the largest
singular value of ∇f(B) does not exceed α: then −∇f(B)/α is a subgradient of the nuclear norm.
"""

import numpy as np

from starstack.projection.objective import Layout


def balance(flat: np.ndarray, layout: Layout) -> np.ndarray:
    """Return the factors of the same product that have the smallest penalty.

    They are W = P √Σ, V = √Σ Qᵀ from the singular value decomposition P Σ Qᵀ of the product:
    columns in falling order, the largest entry of each column of W positive. This picks one of
    all the (W A, A⁻¹ V) that predict the same.

    Examples
    --------
    >>> layout = Layout(n_features=2, rank=1, n_outputs=1, fit_intercept=False)
    >>> balance(np.array([0.6, -0.8, -4.0]), layout).round(12)
    array([-1.2,  1.6,  2. ])
    """
    W, V, b = layout.unpack(flat)
    # The QR decompositions bring the problem down to L columns.
    Q_W, R_W = np.linalg.qr(W)
    Q_V, R_V = np.linalg.qr(V.T)
    P, singular, Qt = np.linalg.svd(R_W @ R_V.T, full_matrices=False)
    roots = np.sqrt(singular)
    W, V = (Q_W @ P) * roots, roots[:, None] * (Qt @ Q_V.T)
    largest = W[np.abs(W).argmax(axis=0), np.arange(W.shape[1])]
    signs = np.where(largest < 0, -1.0, 1.0)
    missing = layout.rank - len(singular)
    W = np.pad(W * signs, ((0, 0), (0, missing)))
    V = np.pad(V * signs[:, None], ((0, missing), (0, 0)))
    return layout.pack(W, V, b)


def matching_c(coefficients: np.ndarray, alpha: float) -> float:
    """Compute the C of the ordinary logistic regression of two classes with the same coefficients.

    Parameters
    ----------
    coefficients : ndarray of shape (F,) or (F, 1)
        The product β of a joint fit.
    alpha : float
        Its penalty; without one, C is infinite.

    Examples
    --------
    >>> matching_c(np.array([3.0, 4.0]), 0.5)
    10.0
    """
    return float(np.linalg.norm(coefficients) / alpha) if alpha > 0 else float("inf")
