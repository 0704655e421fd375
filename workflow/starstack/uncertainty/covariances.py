"""What matrices can be covariances, and which of them can be inverted.

Both are read from the correlation matrix, which has no units: labels of 100 K and of 0.01 dex make
any covariance look singular.
"""

import logging

import numpy as np

from starstack.errors import InputError

logger = logging.getLogger(__name__)

# Sums over ten thousand pixels in single precision are good to a tenth of this part of the standard
# deviations, systems solved by iterations to all of it; what is off by more is a mistake.
ROUNDING = 1e-2
# An inverse loses as many digits as the condition number has: of sixteen, eight are left.
LEAST_EIGENVALUE = 1e-8


def covariance_fault(
    matrices: np.ndarray, least: np.ndarray | None = None
) -> tuple[int, str] | None:
    """Find the first matrix that cannot be a covariance.

    Parameters
    ----------
    matrices : ndarray of shape (n, k, k)
    least : ndarray of shape (n, k), optional
        Standard deviations below which a matrix holds nothing but rounding; 0 by default.

    Returns
    -------
    tuple of int and str, or None
        Its row, and what it has in place of what was expected.

    Examples
    --------
    >>> covariance_fault(np.array([[[1.0, 2.0], [2.0, 1.0]]]))
    (0, 'has a correlation matrix with the eigenvalue -1; expected none below 0')
    >>> covariance_fault(np.eye(2)[np.newaxis])
    """
    finite = np.isfinite(matrices).all(axis=(1, 2))
    some = np.where(finite[:, np.newaxis, np.newaxis], matrices, np.eye(matrices.shape[1]))
    variance = np.diagonal(some, axis1=1, axis2=2)
    scale = np.sqrt(np.maximum(variance, 0))
    scale = scale if least is None else np.maximum(scale, least)
    correlation = _over(some, np.where(scale > 0, scale, 1))
    skew = np.abs(correlation - correlation.swapaxes(1, 2)) > ROUNDING
    eigenvalue = np.linalg.eigvalsh((correlation + correlation.swapaxes(1, 2)) / 2)[:, 0]
    faults = (
        (~finite, lambda row: _at(~np.isfinite(matrices[row]), matrices[row])),
        (
            (variance < 0).any(axis=1),
            lambda row: f"has variances {variance[row].tolist()}; expected 0 or more",
        ),
        (
            skew.any(axis=(1, 2)),
            lambda row: _at(skew[row], matrices[row]) + ", and a symmetric matrix",
        ),
        (
            eigenvalue < -ROUNDING,
            lambda row: (
                f"has a correlation matrix with the eigenvalue {eigenvalue[row]:.3g}; expected "
                "none below 0"
            ),
        ),
    )
    wrong = np.any([rows for rows, _ in faults], axis=0)
    if not wrong.any():
        return None
    first = int(np.argmax(wrong))
    return first, next(words(first) for rows, words in faults if rows[first])


def _at(wrong: np.ndarray, matrix: np.ndarray) -> str:
    i, j = np.argwhere(wrong)[0]
    return (
        f"has covariances {matrix[i, j]:g} at [{i}, {j}] and {matrix[j, i]:g} at [{j}, {i}]; "
        "expected finite numbers"
    )


def check_covariance(errors: np.ndarray, covariance: np.ndarray) -> None:
    """Refuse covariances that do not belong to the errors, or that no errors can have.

    Raises
    ------
    InputError
        If shapes do not agree, a number is not finite, a variance is not above 0, or a matrix is
        not symmetric or has a negative eigenvalue.
    """
    n, k = errors.shape
    if covariance.shape != (n, k, k):
        raise InputError(
            f"covariance: has shape {covariance.shape}; expected {(n, k, k)}, one matrix for each "
            f"of the {n} rows of errors"
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
    scale = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    least = np.linalg.eigvalsh(_over(covariance, scale))[:, 0]
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


def _over(matrices: np.ndarray, scale: np.ndarray) -> np.ndarray:
    # One after the other: a product of two small standard deviations would be rounded to zero.
    return matrices / scale[:, :, np.newaxis] / scale[:, np.newaxis, :]
