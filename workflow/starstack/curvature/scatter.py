"""A constant scatter beside covariances that are known for each row, by largest likelihood.

The residual of row n is e_n ~ N(0, C_n + diag(s²)) with C_n known. The log-likelihood has the
derivatives, with P_n = (C_n + diag(s²))⁻¹,

    ∂L/∂s_c² = ½ Σ_n [(P_n e_n)_c² − (P_n)_cc],      expected −∂²L/∂s_c²∂s_d² = ½ Σ_n (P_n)_cd²

(Fisher scoring; McCullagh & Nelder 1989, *Generalized Linear Models*, §2.5). A step that would go
below zero stops there, and one that would lower the likelihood is halved.
"""

import numpy as np

MAX_STEPS, TOLERANCE = 100, 1e-7
SHORTEST = 1e-4


def normal_log_density(residuals: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return the log-density of residuals (n, k) under N(0, covariance), (n, k, k): shape (n,).

    Examples
    --------
    >>> normal_log_density(np.array([[0.0, 0.0]]), np.eye(2)[None])
    array([-1.83787707])
    """
    lower = np.linalg.cholesky(covariance)
    scaled = np.linalg.solve(lower, residuals[:, :, None])[:, :, 0]
    log_root = np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
    constant = 0.5 * residuals.shape[1] * np.log(2 * np.pi)
    return -0.5 * (scaled**2).sum(axis=1) - log_root - constant


def fit_scatter(
    residuals: np.ndarray, known: np.ndarray, weight: np.ndarray | None = None
) -> np.ndarray:
    """Find the variances of a scatter that all rows share.

    Parameters
    ----------
    residuals : ndarray of shape (n, k)
        With mean zero: a bias counts as scatter.
    known : ndarray of shape (n, k, k)
        C, positive definite.
    weight : ndarray of shape (n,), optional
        How often each row counts.

    Returns
    -------
    ndarray of float64, shape (k,)
        s², 0 or more: 0 where the known covariances explain all, or more than there is.

    Examples
    --------
    >>> residuals = np.random.default_rng(0).normal(size=(4000, 1)) * 5.0
    >>> fit_scatter(residuals, np.full((4000, 1, 1), 9.0)).round(0)
    array([16.])
    """
    weight = np.ones(len(residuals)) if weight is None else weight
    k = residuals.shape[1]
    mean_square = weight @ residuals**2 / weight.sum()

    def likelihood(variances: np.ndarray) -> float:
        return float(weight @ normal_log_density(residuals, known + np.diag(variances)))

    found = mean_square
    best = likelihood(found)
    for _ in range(MAX_STEPS):
        inverse = np.linalg.inv(known + np.diag(found))
        solved = np.einsum("nij,nj->ni", inverse, residuals)
        slope = 0.5 * weight @ (solved**2 - np.diagonal(inverse, axis1=1, axis2=2))
        information = 0.5 * np.einsum("n,nij->ij", weight, inverse**2)
        free = (found > 0) | (slope > 0)
        step = np.zeros(k)
        step[free] = np.linalg.solve(information[np.ix_(free, free)], slope[free])
        length = 1.0
        while True:
            trial = np.maximum(found + length * step, 0.0)
            reached = likelihood(trial)
            if reached > best or length < SHORTEST:
                break
            length /= 2
        if reached <= best:
            break
        change, found, best = np.abs(trial - found), trial, reached
        if (change <= TOLERANCE * mean_square).all():
            break
    return found
