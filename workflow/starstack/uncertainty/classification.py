r"""Probabilities of classes that take the uncertainty of the weights into account.

Logits a of a row have a mean and, from a posterior of the weights, a covariance. Of two classes,
the expected probability is close to the probit approximation (MacKay 1992, Neural Comput. 4, 720)

    E[σ(a)] ≈ σ(a / √(1 + π v / 8)),

which draws probabilities towards 1/2 where the variance v is large. Of more classes, the expected
softmax is found by drawing logits.
"""

import numpy as np
from scipy.special import expit, softmax

from starstack.errors import InputError
from starstack.seeds import derive_seed

TINY = 1e-12


def binary_logit(probability: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn probabilities of the second class and their variances to first order into logits.

    Parameters
    ----------
    probability, variance : ndarray of shape (n,)
        A sigmoid's output, and the variance that a posterior predicts for it.

    Returns
    -------
    logit, variance : ndarray of shape (n,)
        d logit = dp / (p (1 - p)).
    """
    p = np.clip(np.asarray(probability, dtype=float), TINY, 1 - TINY)
    return np.log(p) - np.log1p(-p), variance / (p * (1 - p)) ** 2


def softmax_logits(
    probabilities: np.ndarray, covariance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Turn probabilities and their covariances to first order into logits of mean zero.

    A softmax does not change when a number is added to all logits, so that their mean is free.

    Parameters
    ----------
    probabilities : ndarray of shape (n, c)
    covariance : ndarray of shape (n, c, c)

    Returns
    -------
    logits : ndarray of shape (n, c)
    covariance : ndarray of shape (n, c, c)
        d logit = dp / p, less the mean over the classes.
    """
    p = np.clip(np.asarray(probabilities, dtype=float), TINY, None)
    logits = np.log(p)
    n_classes = p.shape[1]
    centring = np.eye(n_classes) - 1.0 / n_classes
    slope = centring / p[:, np.newaxis, :]
    moved = np.matmul(np.matmul(slope, covariance), slope.swapaxes(1, 2))
    return logits - logits.mean(axis=1, keepdims=True), moved


def probit_predictive(logit: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return expected probabilities of the second class by the probit approximation.

    Parameters
    ----------
    logit, variance : ndarray of shape (n,)

    Returns
    -------
    ndarray of shape (n,)

    Examples
    --------
    >>> probit_predictive(np.array([2.0, 2.0]), np.array([0.0, 10.0])).round(3).tolist()
    [0.881, 0.711]
    """
    _check_variance(variance)
    return expit(np.asarray(logit, float) / np.sqrt(1 + np.pi * np.asarray(variance, float) / 8))


def monte_carlo_predictive(
    logits: np.ndarray, covariance: np.ndarray, *, n_draws: int = 1000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Return expected softmax probabilities under Gaussian logits, with their standard errors.

    Parameters
    ----------
    logits : ndarray of shape (n, c)
    covariance : ndarray of shape (n, c, c)
        Positive semidefinite.
    n_draws : int
        Of every row, half of them mirrored about the mean (antithetic).
    seed : int
        Of the draws.

    Returns
    -------
    probabilities, standard_errors : ndarray of shape (n, c)
        Rows of probabilities sum to one. The errors are those of so many independent pairs.
    """
    logits, covariance = np.asarray(logits, float), np.asarray(covariance, float)
    n, c = logits.shape
    if covariance.shape != (n, c, c):
        raise InputError(
            f"covariance of logits: has shape {covariance.shape}; expected {(n, c, c)}"
        )
    _check_variance(np.diagonal(covariance, axis1=1, axis2=2))
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0))[:, np.newaxis, :]
    rng = np.random.default_rng(derive_seed(seed, "logits"))
    total, squares, pairs = np.zeros((n, c)), np.zeros((n, c)), max(n_draws // 2, 2)
    for _ in range(pairs):
        off = np.einsum("nij,nj->ni", root, rng.standard_normal((n, c)))
        mean = (softmax(logits + off, axis=1) + softmax(logits - off, axis=1)) / 2
        total += mean
        squares += mean**2
    probabilities = total / pairs
    variance = np.maximum(squares / pairs - probabilities**2, 0) / (pairs - 1)
    return probabilities / probabilities.sum(axis=1, keepdims=True), np.sqrt(variance)


def _check_variance(variance: np.ndarray) -> None:
    if not (np.isfinite(variance).all() and (np.asarray(variance) >= 0).all()):
        raise InputError(
            "variance of logits: holds a number that is negative or not finite; expected 0 or more"
        )
