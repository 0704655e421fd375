"""Covariances of errors: which can be used, which of them can be inverted, and distances by them.

Whether there is an inverse is read from the correlation matrix, which has no units.
"""

import logging

import numpy as np

from starstack.curvature.covariance_faults import covariance_fault, over_deviations
from starstack.errors import InputError

logger = logging.getLogger(__name__)

# An inverse loses as many digits as the condition number has: of sixteen, eight are left.
LEAST_EIGENVALUE = 1e-8


def check_covariance(errors: np.ndarray, covariance: np.ndarray) -> None:
    """Refuse covariances that do not belong to the errors, or that no errors can have.

    Raises
    ------
    InputError
        If shapes do not agree, a number is not finite, a variance is not above 0, or a matrix is
        not symmetric or has a negative eigenvalue.
    """
    if np.ndim(errors) != 2:
        raise InputError(
            f"errors: have shape {np.shape(errors)}; expected (n, k), rows by labels; of one label "
            "give errors[:, None]"
        )
    n, k = errors.shape
    if np.shape(covariance) != (n, k, k):
        raise InputError(
            f"covariance: has shape {np.shape(covariance)}; expected {(n, k, k)}, one matrix for "
            f"each of the {n} rows of errors"
        )
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    usable = (np.isfinite(errors) & np.isfinite(variance) & (variance > 0)).all(axis=1)
    if not usable.all():
        row = int(np.argmin(usable))
        raise InputError(
            f"covariance: row {row} has variances {variance[row].tolist()} and errors "
            f"{errors[row].tolist()}; expected finite numbers, and variances above 0"
        )
    if fault := covariance_fault(covariance):
        row, words = fault
        raise InputError(f"covariance: row {row} {words}")


def standardised(errors: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Divide errors by their predicted standard deviations.

    Parameters
    ----------
    errors : ndarray of shape (n, k)
        Predicted minus observed.
    covariance : ndarray of shape (n, k, k)
        Predicted.

    Returns
    -------
    ndarray of shape (n, k)
    """
    return errors / np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))


def squared_mahalanobis(errors: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Return eᵀ C⁻¹ e of each row, shape (n,).

    Examples
    --------
    >>> squared_mahalanobis(np.array([[1.0, 1.0]]), np.array([[[1.0, 0.5], [0.5, 1.0]]])).round(4)
    array([1.3333])
    """
    solved = np.linalg.solve(covariance, errors[:, :, np.newaxis])[:, :, 0]
    return np.einsum("nk,nk->n", errors, solved)


def least_eigenvalues(covariance: np.ndarray) -> np.ndarray:
    """Return the least eigenvalue of each correlation matrix, shape (n,).

    A covariance, of variances above 0, has an inverse where it is above `LEAST_EIGENVALUE`.
    """
    scale = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    return np.linalg.eigvalsh(over_deviations(covariance, scale))[:, 0]


def have_inverses(covariance: np.ndarray, where: str) -> bool:
    """Say whether every row can be judged by all its labels together, and warn where not.

    Parameters
    ----------
    covariance : ndarray of shape (n, k, k)
        With variances above 0.
    where : str
        What the warning begins with.

    Returns
    -------
    bool
        Whether every correlation matrix has its eigenvalues above `LEAST_EIGENVALUE`. One row
        without an inverse is enough: a mean over the others would be about other rows.
    """
    least = least_eigenvalues(covariance)
    n_singular = int((least <= LEAST_EIGENVALUE).sum())
    if n_singular:
        logger.warning(
            "%s: the covariances of %d of %d rows are singular (the correlation matrix has an "
            "eigenvalue of %.1g; that of m draws has rank m - 1 at most); labels are judged one "
            "by one, not all together",
            where,
            n_singular,
            len(least),
            least.min(),
        )
    return not n_singular
