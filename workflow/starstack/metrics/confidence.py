"""How often the most probable class is right, against its probability: the confidence.

The expected calibration error of so many bins (Guo, Pleiss, Sun & Weinberger 2017, ICML, eq. 3) is

    ECE = Σ_b n_b/n |right_b − confidence_b|.

It is a mean of absolute values, so that of few rows it is above zero for perfect probabilities
too. What these would give of as many rows stands beside it (`calibrated_error`).
"""

import numpy as np
import pandas as pd
from scipy.stats import beta

from starstack.errors import InputError
from starstack.metrics.scores import Score, cluster_standard_error

COLUMNS = ("bin", "low", "high", "mean_confidence", "right", "interval_low", "interval_high", "n")
LEVEL = 0.68
N_BINS = 10


def binomial_interval(
    successes: np.ndarray, n: np.ndarray, level: float = LEVEL
) -> tuple[np.ndarray, np.ndarray]:
    """Return the exact interval of a probability, of so many successes in n trials.

    From Clopper & Pearson (1934, *Biometrika* 26, 404): it holds the truth at least as often as
    `level` says.

    Parameters
    ----------
    successes, n : ndarray
        Counts.
    level : float
        Such as 0.68.

    Returns
    -------
    low, high : ndarray

    Examples
    --------
    No success in ten trials; (1 − p)^10 is 0.16 at the upper end:

    >>> low, high = binomial_interval(0, 10)
    >>> float(low), round(float(high), 4), round((1 - float(high)) ** 10, 2)
    (0.0, 0.1674, 0.16)
    """
    successes, n = np.asarray(successes, dtype=float), np.asarray(n, dtype=float)
    tail = (1 - level) / 2
    # Where there is no failure, or no success, the beta distribution has no second parameter.
    low = beta.ppf(tail, np.maximum(successes, 1e-300), n - successes + 1)
    high = beta.ppf(1 - tail, successes + 1, np.maximum(n - successes, 1e-300))
    return np.where(successes > 0, low, 0.0), np.where(successes < n, high, 1.0)


def confidence_table(
    codes: np.ndarray, probabilities: np.ndarray, n_bins: int = N_BINS, level: float = LEVEL
) -> pd.DataFrame:
    """Compare confidence with the share of rows that are right, in bins of equal width.

    Parameters
    ----------
    codes : ndarray of int, shape (n,)
        Observed classes.
    probabilities : ndarray of shape (n, c)
        Predicted, columns in the order of the codes.
    n_bins : int
        Of the range from 0 to 1.
    level : float
        Of the interval of each share (`binomial_interval`).

    Returns
    -------
    DataFrame
        `COLUMNS`, a row for each bin that is not empty.

    Raises
    ------
    InputError
        If the arrays do not fit each other.

    Examples
    --------
    >>> p = np.array([0.95, 0.95, 0.55, 0.95])
    >>> table = confidence_table(np.array([1, 1, 0, 0]), np.column_stack([1 - p, p]))
    >>> table[["bin", "mean_confidence", "right", "n"]].round(3).values.tolist()
    [[6.0, 0.55, 0.0, 1.0], [10.0, 0.95, 0.667, 3.0]]
    """
    confidence, right = _confidence(codes, probabilities)
    number = _bins(confidence, n_bins)
    rows = []
    for found in np.unique(number):
        inside = number == found
        n, successes = int(inside.sum()), int(right[inside].sum())
        low, high = binomial_interval(successes, n, level)
        edges = found / n_bins, (found + 1) / n_bins
        rows.append(
            (
                int(found) + 1,
                *edges,
                float(confidence[inside].mean()),
                successes / n,
                float(low),
                float(high),
                n,
            )
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def expected_calibration_error(
    codes: np.ndarray,
    probabilities: np.ndarray,
    *,
    n_bins: int = N_BINS,
    group: np.ndarray | None = None,
) -> Score:
    """Return the expected calibration error, with its standard error to first order.

    The influence of a row is ±(right − confidence), with the sign of its bin's difference.

    Parameters
    ----------
    codes, probabilities, n_bins
        See `confidence_table`.
    group : ndarray of shape (n,), optional
        Rows of one group are dependent.

    Examples
    --------
    >>> p = np.full(10, 0.9)
    >>> found = expected_calibration_error(np.arange(10) < 7, np.column_stack([1 - p, p]))
    >>> round(found.value, 3), found.n
    (0.2, 10)
    """
    confidence, right = _confidence(codes, probabilities)
    number = _bins(confidence, n_bins)
    sums = np.bincount(number, weights=right - confidence, minlength=n_bins)
    value = float(np.abs(sums).sum() / len(right))
    influence = np.sign(sums)[number] * (right - confidence) - value
    return Score(value, cluster_standard_error(influence, group), len(right))


def calibrated_error(
    probabilities: np.ndarray, *, n_bins: int = N_BINS, n_draws: int = 1000, seed: int = 0
) -> Score:
    """Return the error that rows would show whose probabilities are the true ones.

    Parameters
    ----------
    probabilities : ndarray of shape (n, c)
        Taken to be true: classes are drawn from them.
    n_bins : int
        See `confidence_table`.
    n_draws, seed : int
        How often classes are drawn, and the seed.

    Returns
    -------
    Score
        The mean of `expected_calibration_error`, and the standard deviation from draw to draw in
        the place of its standard error.
    """
    confidence = np.asarray(probabilities, dtype=float).max(axis=1)
    number = _bins(confidence, n_bins)
    order = np.argsort(number, kind="stable")
    starts = np.searchsorted(number[order], np.unique(number))
    confidence = confidence[order]
    rng = np.random.default_rng(seed)
    found = np.empty(n_draws)
    for draw in range(n_draws):
        off = (rng.random(len(confidence)) < confidence) - confidence
        found[draw] = np.abs(np.add.reduceat(off, starts)).sum() / len(off)
    return Score(float(found.mean()), float(found.std()), len(confidence))


def _confidence(codes: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    codes, p = np.asarray(codes), np.asarray(probabilities, dtype=float)
    if p.ndim != 2 or p.shape[1] < 2 or p.shape[0] != len(codes) or not len(codes):
        raise InputError(
            f"confidence: expected probabilities of at least two classes for {len(codes)} rows, "
            f"at least one, got shape {p.shape}"
        )
    return p.max(axis=1), (p.argmax(axis=1) == codes).astype(float)


def _bins(confidence: np.ndarray, n_bins: int) -> np.ndarray:
    return np.clip(np.floor(confidence * n_bins).astype(int), 0, n_bins - 1)
