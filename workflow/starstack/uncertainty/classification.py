"""Probabilities of classes that take the uncertainty of the weights into account.

The logits of a row, what goes into a softmax, have a mean and, from a posterior of the weights, a
covariance. Expected probabilities are those of the probit approximation, of which
`starstack.curvature.probit` has the formula and its limits; to any accuracy they are found by
drawing logits.
"""

import numpy as np
from scipy.special import softmax

from starstack.curvature.probit import probit_logits
from starstack.errors import InputError
from starstack.seeds import derive_seed

# What tables call the ways to probabilities: at the trained weights, and the two below.
PLAIN, PROBIT, MONTE_CARLO = "plain", "probit", "Monte Carlo"


def both_logits(logit: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits of both classes from that of the second, the first one's being 0.

    Parameters
    ----------
    logit : ndarray of shape (n, 1)
        What goes into a sigmoid.
    covariance : ndarray of shape (n, 1, 1)

    Returns
    -------
    logits : ndarray of shape (n, 2)
    covariance : ndarray of shape (n, 2, 2)

    Examples
    --------
    >>> logits, covariance = both_logits(np.array([[1.5]]), np.array([[[4.0]]]))
    >>> logits.tolist(), covariance.tolist()
    ([[0.0, 1.5]], [[[0.0, 0.0], [0.0, 4.0]]])
    """
    return np.pad(logit, ((0, 0), (1, 0))), np.pad(covariance, ((0, 0), (1, 0), (1, 0)))


def probit_predictive(logits: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return expected softmax probabilities by the probit approximation.

    Parameters
    ----------
    logits : ndarray of shape (n, c)
    covariance : ndarray of shape (n, c, c)

    Returns
    -------
    ndarray of shape (n, c)
        Rows sum to one.

    Examples
    --------
    >>> certain, uncertain = np.zeros((2, 2)), np.diag([0.0, 10.0])
    >>> logits = np.array([[0.0, 2.0], [0.0, 2.0]])
    >>> probit_predictive(logits, np.stack([certain, uncertain]))[:, 1].round(3).tolist()
    [0.881, 0.711]
    """
    logits, covariance = _checked(logits, covariance)
    return softmax(probit_logits("categorical", logits, covariance), axis=1)


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
        Of every row, half of them mirrored about the mean (antithetic); at least 4, since a
        standard error takes two pairs.
    seed : int
        Of the draws.

    Returns
    -------
    probabilities, standard_errors : ndarray of shape (n, c)
        Rows of probabilities sum to one. The errors are those of so many independent pairs.

    Raises
    ------
    InputError
        If there are too few draws, a number is not finite, or the covariance does not fit or has a
        negative variance.
    """
    if n_draws < 4:
        raise InputError(f"Monte Carlo: n_draws is {n_draws}; expected 4 or more, two pairs")
    logits, covariance = _checked(logits, covariance)
    n, c = logits.shape
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0))[:, np.newaxis, :]
    rng = np.random.default_rng(derive_seed(seed, "logits"))
    total, squares, pairs = np.zeros((n, c)), np.zeros((n, c)), n_draws // 2
    for _ in range(pairs):
        off = np.einsum("nij,nj->ni", root, rng.standard_normal((n, c)))
        mean = (softmax(logits + off, axis=1) + softmax(logits - off, axis=1)) / 2
        total += mean
        squares += mean**2
    probabilities = total / pairs
    variance = np.maximum(squares / pairs - probabilities**2, 0) / (pairs - 1)
    return probabilities / probabilities.sum(axis=1, keepdims=True), np.sqrt(variance)


def _checked(logits: np.ndarray, covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    logits, covariance = np.asarray(logits, float), np.asarray(covariance, float)
    if logits.ndim != 2 or not np.isfinite(logits).all():
        raise InputError(
            "logits: expected finite numbers of shape (n, c), rows by classes, got shape "
            f"{logits.shape}{' with NaN or infinity' if logits.ndim == 2 else ''}; correct them"
        )
    n, c = logits.shape
    if covariance.shape != (n, c, c):
        raise InputError(
            f"covariance of logits: has shape {covariance.shape}; expected {(n, c, c)}"
        )
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    if not (np.isfinite(covariance).all() and (variance >= 0).all()):
        raise InputError(
            "variance of logits: holds a number that is negative or not finite; expected 0 or more"
        )
    return logits, covariance
