r"""Intervals with a guarantee that needs no model of the errors, only rows that are exchangeable.

Scores are errors in units of a predicted σ, |y - ŷ| / σ, so that intervals are wide where the error
budget says so (normalised scores: Papadopoulos, Gammerman & Vovk 2008). For miscoverage α:

* split conformal (Vovk, Gammerman & Shafer 2005): calibration rows that were not trained on. An
  interval ŷ ± q σ with q the ⌈(1 - α)(n + 1)⌉-th smallest of n scores covers with probability at
  least 1 - α, and at most 1 - α + 1/(n + 1) if scores are distinct.
* CV+ (Barber, Candès, Ramdas & Tibshirani 2021, Ann. Stat. 49, 486): no calibration rows, but the
  out-of-fold residuals of all training rows, and the predictions of the models of all folds for
  the new row. Covers with probability at least 1 - 2α - √(2/n) (their Theorem 4 and what follows
  it), with one row per fold (jackknife+) at least 1 - 2α, and typically 1 - α. Their proof counts
  which of two rows has the larger score under the model that saw neither; it holds for scores in
  units of a σ that is fitted together with that model.

Of the public libraries, MAPIE and crepes do the same. It is the forty lines below that are needed
of them, without an estimator to wrap: the folds are fitted by other jobs.
"""

import math

import numpy as np

from starstack.errors import InputError


def conformal_quantile(scores: np.ndarray, alpha: float) -> float:
    """Return the ⌈(1 - α)(n + 1)⌉-th smallest score; infinite where there is none.

    Raises
    ------
    InputError
        If α is not between 0 and 1, or a score is NaN or negative.

    Examples
    --------
    >>> conformal_quantile(np.arange(1.0, 20.0), 0.1), conformal_quantile(np.ones(5), 0.1)
    (18.0, inf)
    """
    alpha, scores = _checked_alpha(alpha), _numbers("scores", scores, 1)
    _check_scores(scores)
    rank = _rank(len(scores), 1 - alpha)
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else math.inf


def split_conformal_intervals(
    scores: np.ndarray, predicted: np.ndarray, sigma: np.ndarray | None = None, *, alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """Make intervals from the scores of calibration rows.

    Parameters
    ----------
    scores : ndarray of shape (m,)
        |observed - predicted| / σ of rows that were not trained on.
    predicted, sigma : ndarray of shape (n,)
        Of new rows; σ is 1 by default.
    alpha : float
        Miscoverage, 0 < α < 1.

    Returns
    -------
    lower, upper : ndarray of shape (n,)
        Infinite where m < 1/α - 1: so few rows guarantee nothing narrower.

    Raises
    ------
    InputError
        If shapes do not agree, a σ is not above 0, a score is NaN or negative, or α is not between
        0 and 1.
    """
    predicted = _numbers("predicted", predicted, 1)
    sigma = _checked_sigma("sigma", sigma, predicted.shape)
    half = conformal_quantile(scores, alpha) * (1.0 if sigma is None else sigma)
    return predicted - half, predicted + half


def cv_plus_intervals(
    residuals: np.ndarray,
    fold_of_row: np.ndarray,
    predicted_by_fold: np.ndarray,
    *,
    alpha: float,
    sigma_of_row: np.ndarray | None = None,
    sigma_by_fold: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Make intervals from out-of-fold residuals.

    Parameters
    ----------
    residuals : ndarray of shape (m,)
        Observed minus predicted by the model that did not see the row's fold.
    fold_of_row : ndarray of int, shape (m,)
        Number of that fold, 0 … K - 1.
    predicted_by_fold : ndarray of shape (K, n)
        Predictions for new rows by the model that did not see fold k.
    alpha : float
        Miscoverage, 0 < α < 1.
    sigma_of_row, sigma_by_fold : ndarray of shape (m,) and (K, n), optional
        Predicted errors of training rows, by which their residuals are divided, and of new rows by
        the model of each fold, by which they are multiplied. Like the predictions, the errors of
        a fold may depend on the labels of the other folds, and not on its own.

    Returns
    -------
    lower, upper : ndarray of shape (n,)

    Raises
    ------
    InputError
        If shapes do not agree, a number of a fold is no whole one, only one of the two σ is given
        or one is not above 0, a residual is NaN, or α is not between 0 and 1.

    Examples
    --------
    With one fold of training rows, it is split conformal prediction:

    >>> residuals = np.array([-3.0, 1.0, 2.0, -4.0])
    >>> lower, upper = cv_plus_intervals(residuals, np.zeros(4, int), np.zeros((1, 1)), alpha=0.2)
    >>> lower.tolist(), upper.tolist()
    ([-4.0], [4.0])
    """
    alpha, residuals = _checked_alpha(alpha), _numbers("residuals", residuals, 1)
    predicted_by_fold = _numbers("predicted_by_fold", predicted_by_fold, 2)
    if (sigma_of_row is None) != (sigma_by_fold is None):
        raise InputError("CV+: got one of sigma_of_row and sigma_by_fold; give both or neither")
    m, n_folds = len(residuals), len(predicted_by_fold)
    given = _numbers("fold_of_row", fold_of_row, 1)
    wrong = (given < 0) | (given >= n_folds) | (given % 1 != 0)
    if len(given) != m or wrong.any():
        found = f", of which one is {given[wrong][0]:g}" if wrong.any() else ""
        raise InputError(
            f"CV+: {m} residuals have {len(given)} folds{found}; expected one each, a whole number "
            f"from 0 and below the {n_folds} models that made predictions"
        )
    fold_of_row = given.astype(int)
    sigma_of_row = _checked_sigma("sigma_of_row", sigma_of_row, residuals.shape)
    sigma_by_fold = _checked_sigma("sigma_by_fold", sigma_by_fold, predicted_by_fold.shape)
    scores = np.abs(residuals) / (1.0 if sigma_of_row is None else sigma_of_row)
    _check_scores(scores)
    n = predicted_by_fold.shape[1]
    lower, upper = np.full(n, -np.inf), np.full(n, np.inf)
    rank = _rank(m, 1 - alpha)
    if rank > m:
        return lower, upper
    for row in range(n):
        reach = scores if sigma_by_fold is None else scores * sigma_by_fold[fold_of_row, row]
        centre = predicted_by_fold[fold_of_row, row]
        # ⌊α (m + 1)⌋-th smallest from below is the rank-th from above.
        lower[row] = np.partition(centre - reach, m - rank)[m - rank]
        upper[row] = np.partition(centre + reach, rank - 1)[rank - 1]
    return lower, upper


def cv_plus_guarantee(n_rows: int, n_folds: int, alpha: float) -> float:
    """Return the least probability with which a CV+ interval covers a new row.

    1 - 2α - min{2(1 - 1/K) / (n/K + 1), (1 - K/n) / (K + 1)}, of Barber et al. 2021, Theorem 4, for
    K folds of equal size. It is 1 - 2α with as many folds as rows; below zero, nothing is promised.

    Examples
    --------
    >>> round(cv_plus_guarantee(6600, 3, 0.05), 4), cv_plus_guarantee(100, 100, 0.05)
    (0.8994, 0.9)
    """
    n, k = n_rows, n_folds
    if k == n:
        return max(1 - 2 * alpha, 0.0)
    excess = min(2 * (1 - 1 / k) / (n / k + 1), (1 - k / n) / (k + 1))
    return max(1 - 2 * alpha - excess, 0.0)


def _rank(n: int, level: float) -> int:
    # 0.9 · 20 is 18.000000000000004 in floating point, and its ceiling 19.
    return math.ceil(level * (n + 1) - 1e-9)


def _numbers(name: str, values: object, n_axes: int) -> np.ndarray:
    wanted = "(n,)" if n_axes == 1 else "(folds, n)"
    try:
        found = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise InputError(f"{name}: expected numbers of shape {wanted}, got others") from None
    if found.ndim != n_axes:
        raise InputError(
            f"{name}: expected numbers of shape {wanted}, got shape {found.shape}; of several "
            "labels give one at a time"
        )
    return found


def _checked_alpha(alpha: float) -> float:
    try:
        number = float(alpha)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < 1:
        shown = alpha if math.isnan(number) else f"{number:g}"
        raise InputError(f"alpha: is {shown}; expected more than 0 and less than 1")
    return number


def _checked_sigma(
    name: str, sigma: np.ndarray | None, shape: tuple[int, ...]
) -> np.ndarray | None:
    if sigma is None:
        return None
    sigma = _numbers(name, sigma, len(shape))
    if sigma.shape != shape:
        raise InputError(
            f"{name}: has shape {sigma.shape}; expected {shape}, one error for each prediction"
        )
    # A negative one would turn an interval around, and NaN leave it without an end.
    if (wrong := ~(sigma > 0)).any():
        raise InputError(
            f"{name}: {sigma[wrong][0]:g} in {int(wrong.sum())} of {wrong.size} predictions; "
            "expected errors above 0"
        )
    return sigma


def _check_scores(scores: np.ndarray) -> None:
    # NaN sorts as the largest score: it would widen an interval, or not, without a word.
    if count := int(np.isnan(scores).sum()):
        raise InputError(
            f"scores: {count} of {len(scores)} are NaN; leave out rows without a prediction, and "
            "give errors above 0"
        )
    # An interval of a negative one would end before it begins.
    if count := int((scores < 0).sum()):
        raise InputError(
            f"scores: {count} of {len(scores)} are negative, the least {scores.min():g}; expected "
            "sizes of errors, |observed - predicted| / σ"
        )
