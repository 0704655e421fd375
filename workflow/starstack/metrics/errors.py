"""Bias and scatter of predictions, predicted minus observed, by target and signal-to-noise ratio.

Three statistics of the errors x of n rows, as tables of stellar labels give them: the median
(bias), the scatter from the median absolute deviation, 1.4826 · median|x - median(x)|, which a few
outliers do not move, and the standard deviation, which they do. For Gaussian errors the two
scatters agree.

Each has an influence function ψ (see `starstack.metrics.scores`), and a standard error over groups
of rows from it::

    median               ψ_i = sign(x_i - m) · h √G
    standard deviation   ψ_i = ((x_i - mean)² - s²) / (2 s)

where h is half the distance between the order statistics n/2 ± n/(2√G), with G groups (G = n
without): the distribution-free interval of one standard error about the median (David & Nagaraja
2003, *Order Statistics*, §7.1).
The scatter from the median absolute deviation is 1.4826 times a median, of |x - m|; that m itself
is uncertain adds nothing to first order where errors are symmetric (Huber & Ronchetti 2009,
*Robust Statistics*, §5.1).
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pandas as pd

from starstack.metrics.scores import cluster_standard_error

# 1/Φ⁻¹(3/4): the median absolute deviation of a Gaussian times this is its standard deviation.
GAUSSIAN_MAD = 1.482602218505602
ALL_ROWS = "all"
COLUMNS = ("estimator", "role", "output", "snr", "statistic", "value", "standard_error", "n")


def _median(errors: np.ndarray, n_groups: int) -> tuple[float, np.ndarray]:
    n, median = len(errors), float(np.median(errors))
    ordered = np.sort(errors)
    reach = n / np.sqrt(n_groups) / 2
    low, high = int(np.floor(n / 2 - reach)), int(np.ceil(n / 2 + reach)) - 1
    half = (ordered[min(high, n - 1)] - ordered[max(low, 0)]) / 2
    return median, np.sign(errors - median) * half * np.sqrt(n_groups)


def _mad_scatter(errors: np.ndarray, n_groups: int) -> tuple[float, np.ndarray]:
    value, influence = _median(np.abs(errors - np.median(errors)), n_groups)
    return GAUSSIAN_MAD * value, GAUSSIAN_MAD * influence


def _standard_deviation(errors: np.ndarray, n_groups: int) -> tuple[float, np.ndarray]:
    deviation = errors - errors.mean()
    value = float(np.sqrt(np.sum(deviation**2) / max(len(errors) - 1, 1)))
    if value == 0:
        return value, np.zeros_like(errors)
    return value, (deviation**2 - np.mean(deviation**2)) / (2 * value)


STATISTICS: dict[str, Callable[[np.ndarray, int], tuple[float, np.ndarray]]] = {
    "median": _median,
    "mad_scatter": _mad_scatter,
    "standard_deviation": _standard_deviation,
}


def error_statistics(
    errors: np.ndarray, group: np.ndarray | None = None
) -> dict[str, tuple[float, float]]:
    """Give bias and scatter of errors, each with its standard error.

    Parameters
    ----------
    errors : ndarray of shape (n,)
        Predicted minus observed.
    group : ndarray of shape (n,), optional
        Rows of one group are dependent.

    Returns
    -------
    dict of str to (float, float)
        By a key of :data:`STATISTICS`: value and standard error, in the unit of the errors. The
        standard error of fewer than five rows is NaN.

    Examples
    --------
    >>> found = error_statistics(np.arange(-50.0, 51.0))
    >>> found["median"][0], round(found["mad_scatter"][0], 3)
    (0.0, 37.065)
    """
    errors = np.asarray(errors, dtype=float)
    n_groups = len(errors) if group is None else len(np.unique(group))
    found = {}
    for name, statistic in STATISTICS.items():
        value, influence = statistic(errors, n_groups)
        error = cluster_standard_error(influence, group) if len(errors) >= 5 else float("nan")
        found[name] = (value, error)
    return found


def error_table(
    predictions: pd.DataFrame,
    snr: Mapping[str, float],
    snr_bins: Sequence[float],
    group: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Tabulate bias and scatter of every estimator and target, over all rows and by S/N.

    Parameters
    ----------
    predictions : DataFrame
        Columns ``study``, ``estimator``, ``role``, ``row_id``, ``output``, ``observed``,
        ``predicted``: one line per row and target.
    snr : mapping of str to float
        Signal-to-noise ratio by row id; rows that are not in it count under "all" only.
    snr_bins : sequence of float
        Edges in rising order; a bin holds its lower edge, the last one both.
    group : mapping of str to str, optional
        Group by row id, such as the star of a visit.

    Returns
    -------
    DataFrame
        ``study`` and :data:`COLUMNS`. The column ``snr`` is "all" or the edges, "20-30"; bins
        without a row are left out.
    """
    names = [ALL_ROWS, *(f"{a:g}-{b:g}" for a, b in pairwise(snr_bins))]
    rows = []
    keys = ["study", "estimator", "role", "output"]
    for key, part in predictions.groupby(keys, sort=False):
        errors = (part["predicted"] - part["observed"]).to_numpy()
        groups = None if group is None else part["row_id"].map(group).to_numpy()
        bins = _bin(part["row_id"].map(snr).to_numpy(dtype=float), snr_bins)
        for number, name in enumerate(names):
            inside = np.ones(len(errors), bool) if name == ALL_ROWS else bins == number
            if not inside.any():
                continue
            found = error_statistics(errors[inside], None if groups is None else groups[inside])
            n = int(inside.sum())
            rows += [(*key, name, what, *values, n) for what, values in found.items()]
    return pd.DataFrame(rows, columns=["study", *COLUMNS])


def _bin(values: np.ndarray, edges: Sequence[float]) -> np.ndarray:
    """Find the number of each value's bin, from 1; 0 where there is none."""
    number = np.digitize(values, edges)
    number[values == edges[-1]] = len(edges) - 1
    number[~np.isfinite(values) | (number == len(edges))] = 0
    return number
