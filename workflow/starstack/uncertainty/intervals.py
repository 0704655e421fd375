"""Coverage and width of prediction intervals that come without a distribution."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from starstack.metrics.reliability import wilson_standard_error
from starstack.uncertainty.calibration import ALL_ROWS, COLUMNS, LEVELS, snr_groups
from starstack.uncertainty.conformal import cv_plus_intervals, split_conformal_intervals

Intervals = dict[float, tuple[np.ndarray, np.ndarray]]


def interval_table(
    observed: np.ndarray,
    intervals: Mapping[float, tuple[np.ndarray, np.ndarray]],
    names: Sequence[str],
    *,
    snr: np.ndarray | None = None,
    snr_bins: Sequence[float] = (),
    guarantee: Mapping[float, float] | None = None,
) -> pd.DataFrame:
    """Tabulate how many observed values intervals hold, and how wide they are.

    Parameters
    ----------
    observed : ndarray of shape (n, k)
    intervals : mapping of float to (lower, upper), each of shape (n, k)
        By their probability.
    names : sequence of str, length k
        Labels.
    snr, snr_bins
        As for `starstack.uncertainty.calibration.calibration_table`.
    guarantee : mapping of float to float, optional
        The least coverage of each probability that was proved, on average over rows.

    Returns
    -------
    DataFrame
        The columns of `calibration_table`: ``coverage_<percent>``, and ``sharpness``, the root
        mean square of half the interval of 68 % (the standard deviation, were errors Gaussian);
        and ``guarantee``, beside the coverage of all rows, NaN elsewhere.

    Examples
    --------
    >>> wide = (np.zeros((4, 1)), np.full((4, 1), 2.0))
    >>> table = interval_table(np.array([[1.0], [1.0], [1.0], [3.0]]), {0.68: wide}, ["teff"])
    >>> table[["statistic", "value"]].values.tolist()
    [['coverage_68', 0.75], ['sharpness', 1.0]]
    """
    rows: list[tuple] = []
    for group, chosen in snr_groups(len(observed), snr, snr_bins).items():
        n = len(chosen)
        for column, label in enumerate(names):
            values = observed[chosen, column]
            for level, (lower, upper) in intervals.items():
                low, high = lower[chosen, column], upper[chosen, column]
                share = float(np.mean((values >= low) & (values <= high)))
                error = float(wilson_standard_error(np.array([share]), np.array([n]))[0])
                least = (guarantee or {}).get(level, np.nan) if group == ALL_ROWS else np.nan
                rows.append((label, group, f"coverage_{100 * level:g}", share, error, n, least))
                if level == 0.68:
                    width = float(np.sqrt(np.mean(((high - low) / 2) ** 2)))
                    rows.append((label, group, "sharpness", width, float("nan"), n, np.nan))
    return pd.DataFrame(rows, columns=[*COLUMNS, "guarantee"])


def split_conformal(
    errors: np.ndarray,
    sigma: np.ndarray,
    predicted: np.ndarray,
    sigma_of_predicted: np.ndarray,
    levels: Sequence[float] = LEVELS,
) -> Intervals:
    """Make intervals from calibration rows, label by label.

    Parameters
    ----------
    errors, sigma : ndarray of shape (m, k)
        Of calibration rows: predicted minus observed, and the predicted standard deviation.
    predicted, sigma_of_predicted : ndarray of shape (n, k)
        Of the rows that get intervals.
    levels : sequence of float
    """
    scores = np.abs(errors) / sigma
    return {
        level: _stacked(
            [
                split_conformal_intervals(
                    scores[:, c], predicted[:, c], sigma_of_predicted[:, c], alpha=1 - level
                )
                for c in range(predicted.shape[1])
            ]
        )
        for level in levels
    }


def cv_plus(
    residuals: np.ndarray,
    fold_of_row: np.ndarray,
    predicted_by_fold: np.ndarray,
    sigma_of_row: np.ndarray,
    sigma_by_fold: np.ndarray,
    levels: Sequence[float] = LEVELS,
) -> Intervals:
    """Make intervals from out-of-fold residuals, label by label.

    Parameters
    ----------
    residuals, sigma_of_row : ndarray of shape (m, k)
        Of training rows: observed minus predicted out of fold, and what they are divided by.
    fold_of_row : ndarray of int, shape (m,)
    predicted_by_fold : ndarray of shape (K, n, k)
    sigma_by_fold : ndarray of shape (K, n, k)
        What the intervals are multiplied by.
    levels : sequence of float
    """
    return {
        level: _stacked(
            [
                cv_plus_intervals(
                    residuals[:, c],
                    fold_of_row,
                    predicted_by_fold[:, :, c],
                    alpha=1 - level,
                    sigma_of_row=sigma_of_row[:, c],
                    sigma_by_fold=sigma_by_fold[:, :, c],
                )
                for c in range(residuals.shape[1])
            ]
        )
        for level in levels
    }


def _stacked(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    lower, upper = zip(*pairs, strict=True)
    return np.stack(lower, axis=1), np.stack(upper, axis=1)
