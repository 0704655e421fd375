"""What matrices can be no covariances.

It is read from the correlation matrix, which has no units: labels of 100 K and of 0.01 dex make any
covariance look singular.
"""

import numpy as np

# Sums over ten thousand pixels in single precision are good to a tenth of this part of the standard
# deviations, systems solved by iterations to all of it; what is off by more is a mistake.
ROUNDING = 1e-2


def covariance_fault(
    matrices: np.ndarray, least: np.ndarray | None = None
) -> tuple[int, str] | None:
    """Find the first matrix that cannot be a covariance.

    Parameters
    ----------
    matrices : ndarray of shape (n, k, k)
    least : ndarray of shape (n, k) or (k,), optional
        Standard deviations below which a matrix holds nothing but rounding, of variances too; 0 by
        default.

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
    least = np.zeros(variance.shape) if least is None else np.broadcast_to(least, variance.shape)
    scale = np.maximum(np.sqrt(np.maximum(variance, 0)), least)
    correlation = over_deviations(some, np.where(scale > 0, scale, 1))
    skew = np.abs(correlation - correlation.swapaxes(1, 2)) > ROUNDING
    eigenvalue = np.linalg.eigvalsh((correlation + correlation.swapaxes(1, 2)) / 2)[:, 0]
    faults = (
        (~finite, lambda row: _at(~np.isfinite(matrices[row]), matrices[row])),
        (
            (variance < -ROUNDING * least**2).any(axis=1),
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


def over_deviations(matrices: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Divide covariances (n, k, k) by standard deviations (n, k) on both sides."""
    # One after the other: a product of two small standard deviations would be rounded to zero.
    return matrices / scale[:, :, np.newaxis] / scale[:, np.newaxis, :]
