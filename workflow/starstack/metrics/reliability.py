"""How often what was predicted with probability p came true.

Bins are of equal width, not of equal count. Good classifiers put most rows next to 0 and 1, so
bins of equal count all lie there and the middle, where a wrong calibration shows, is one wide
bin; and tied probabilities (trees, neighbours) leave such bins without edges. Equal widths are
also the same for every estimator and class, so bins may be pooled over classes afterwards.

The standard error is half the Wilson interval at z = 1 (Wilson 1927, *JASA* 22, 209)::

    sqrt(f (1 - f) / n + 1 / (4 n²)) / (1 + 1/n)

with f the observed frequency of n rows. Unlike the binomial sqrt(f (1 - f) / n), to which it
tends, it is not zero where all or none of a few rows came true.
"""

import numpy as np
import pandas as pd

from starstack.errors import InputError

COLUMNS = ("output", "bin", "mean_predicted", "observed_frequency", "standard_error", "n")


def wilson_standard_error(frequency: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Half the Wilson interval at z = 1, for a frequency observed on n rows.

    Parameters
    ----------
    frequency : ndarray
        Observed share, in [0, 1].
    n : ndarray
        Number of rows, at least 1.

    Returns
    -------
    ndarray
        Standard error, larger than zero.

    Examples
    --------
    >>> float(wilson_standard_error(0.0, 1))     # sqrt(1/4) / 2: one row proves little
    0.25
    """
    frequency, n = np.asarray(frequency, dtype=float), np.asarray(n, dtype=float)
    return np.sqrt(frequency * (1 - frequency) / n + 1 / (4 * n**2)) / (1 + 1 / n)


def reliability_table(
    y_codes: np.ndarray,
    probabilities: np.ndarray,
    classes: tuple[str, ...],
    n_bins: int = 10,
) -> pd.DataFrame:
    """Compare predicted probabilities with observed frequencies, class by class.

    Each class is taken against the rest. Of two classes only the second is listed, because the
    first is its mirror image. Bin b of B holds probabilities in [(b - 1)/B, b/B), the last bin
    also 1; empty bins have no row.

    Parameters
    ----------
    y_codes : ndarray of shape (n,)
        Observed class codes 0 … C-1.
    probabilities : ndarray of shape (n, C)
        Predicted probabilities, columns in code order.
    classes : tuple of str
        Names of the C classes, in code order.
    n_bins : int
        Number of bins of equal width.

    Returns
    -------
    DataFrame
        Columns output (class), bin (1 … n_bins), mean_predicted, observed_frequency,
        standard_error (of the observed frequency), n (rows in the bin).

    Raises
    ------
    InputError
        If the arrays do not fit each other, or a probability is missing or outside [0, 1].

    Examples
    --------
    >>> probability = np.array([0.1, 0.1, 0.9, 0.9])
    >>> table = reliability_table(
    ...     np.array([0, 0, 1, 0]), np.column_stack([1 - probability, probability]), ("no", "yes")
    ... )
    >>> table[["output", "bin", "mean_predicted", "observed_frequency", "n"]].values.tolist()
    [['yes', 2, 0.1, 0.0, 2], ['yes', 10, 0.9, 0.5, 2]]
    """
    y, p = np.asarray(y_codes), np.asarray(probabilities, dtype=float)
    if p.shape != (len(y), len(classes)) or len(y) == 0 or len(classes) < 2:
        raise InputError(
            f"reliability: expected probabilities of shape ({len(y)}, {len(classes)}) for "
            f"{len(y)} rows and {len(classes)} classes, got {p.shape}"
        )
    if not np.all((p >= -1e-6) & (p <= 1 + 1e-6)):
        raise InputError(
            "reliability: expected probabilities from 0 to 1, got missing or other numbers; "
            "leave out the rows that have no prediction"
        )
    if n_bins < 1:
        raise InputError(f"reliability: expected at least one bin, got {n_bins}")
    rows = []
    for code in range(len(classes)) if len(classes) > 2 else [1]:
        bin_number = np.clip(np.floor(p[:, code] * n_bins).astype(int), 0, n_bins - 1)
        for bin_index in np.unique(bin_number):
            inside = bin_number == bin_index
            n = int(inside.sum())
            frequency = float(np.mean(y[inside] == code))
            rows.append(
                (
                    classes[code],
                    int(bin_index) + 1,
                    float(p[inside, code].mean()),
                    frequency,
                    float(wilson_standard_error(frequency, n)),
                    n,
                )
            )
    return pd.DataFrame(rows, columns=list(COLUMNS))
