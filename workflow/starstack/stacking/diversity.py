"""How differently base models err: what a stack can gain from combining them.

All statistics compare two models on the same out-of-fold rows. With the four shares of rows that
both models get right (a), only the first (b), only the second (c), or neither (d):

- ``q_statistic``: Yule's Q = (ad - bc) / (ad + bc); 0 for independent errors, 1 if both always
  err on the same rows, -1 if never. One empty cell alone makes it ±1; where ad = bc = 0 it is
  0/0 and stays undefined (NaN), which happens when a model makes no error.
- ``disagreement``: b + c, the share of rows that exactly one of the two gets right.
- ``error_correlation``: Pearson correlation of the errors themselves; the residual in regression,
  one minus the probability of the true class in classification. NaN if an error is constant.

Source: Kuncheva & Whitaker (2003), *Machine Learning* 51, 181, eqs. 6 and 8 (with Yule 1900 and
Skalak 1996 as origins). Krogh & Vedelsby (1995) relate the correlation to an ensemble's error.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from starstack.errors import InputError

COLUMNS = ("statistic", "model_a", "model_b", "value", "n")


def prediction_errors(task: str, y: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Errors of one model on rows that it was not trained on.

    Parameters
    ----------
    task : {"classification", "regression"}
        What the predictions are.
    y : ndarray of shape (n,) or (n, k)
        Class codes, or observed values of one or k targets.
    predicted : ndarray of shape (n, C), (n,) or (n, k)
        Probabilities of the C classes, or predicted values.

    Returns
    -------
    ndarray of shape (n, k)
        ``y - predicted`` per target, or ``1 - probability of the true class`` (k = 1).

    Raises
    ------
    InputError
        If the shapes do not fit each other or a number is missing.
    """
    y, predicted = np.asarray(y), np.asarray(predicted, dtype=float)
    if task == "classification":
        fits = predicted.ndim == 2 and predicted.shape[0] == len(y) and y.ndim == 1
    else:
        fits = predicted.shape == y.shape and y.ndim in (1, 2)
    if not fits or len(y) == 0:
        raise InputError(
            f"diversity: expected {task} predictions for observed values of shape {y.shape}, "
            f"got shape {predicted.shape}"
        )
    if not (np.all(np.isfinite(y)) and np.all(np.isfinite(predicted))):
        raise InputError(
            "diversity: expected finite observed values and predictions, got missing ones; "
            "leave out the rows that have no out-of-fold prediction"
        )
    if task == "classification":
        return 1 - predicted[np.arange(len(y)), y.astype(int)][:, None]
    return (y - predicted).reshape(len(y), -1)


def error_correlation(errors: np.ndarray) -> np.ndarray:
    """Pearson correlation of the errors of each pair of models.

    Several targets have different units, so the correlation is computed per target and the
    plain mean over targets is returned.

    Parameters
    ----------
    errors : ndarray of shape (m, n) or (m, n, k)
        Errors of m models on n rows and k targets.

    Returns
    -------
    ndarray of shape (m, m)
        Symmetric, in [-1, 1]; NaN where a model's error has no spread.

    Examples
    --------
    >>> error = np.array([1.0, -1.0, 2.0])
    >>> error_correlation(np.stack([error, 2 * error, -error])).round(6)
    array([[ 1.,  1., -1.],
           [ 1.,  1., -1.],
           [-1., -1.,  1.]])
    """
    errors = np.asarray(errors, dtype=float)
    errors = errors.reshape(*errors.shape[:2], -1)
    centred = errors - errors.mean(axis=1, keepdims=True)
    # Residues of rounding in an error that is constant would correlate with anything.
    constant = np.ptp(errors, axis=1) <= 1e-12 * np.abs(errors).max(axis=1)
    norm = np.where(constant, np.nan, np.linalg.norm(centred, axis=1))
    unit = centred / norm[:, None, :]
    return np.clip(np.einsum("ank,bnk->abk", unit, unit), -1, 1).mean(axis=2)


def _joint_shares(correct: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Shares (m, m) of rows: both right, only the first, only the second, neither."""
    right = np.asarray(correct, dtype=float)
    wrong, n = 1 - right, right.shape[1]
    return right @ right.T / n, right @ wrong.T / n, wrong @ right.T / n, wrong @ wrong.T / n


def q_statistic(correct: np.ndarray) -> np.ndarray:
    """Yule's Q of being right, for each pair of classifiers.

    Parameters
    ----------
    correct : ndarray of bool, shape (m, n)
        Whether each of m classifiers is right on each of n rows.

    Returns
    -------
    ndarray of shape (m, m)
        Symmetric, in [-1, 1]; NaN where ad = bc = 0.

    Examples
    --------
    Of 8 rows, both are right on 4, one alone on 1 each, neither on 2: Q = (4·2 - 1) / (4·2 + 1).

    >>> a = np.array([1, 1, 1, 1, 1, 0, 0, 0], dtype=bool)
    >>> b = np.array([1, 1, 1, 1, 0, 1, 0, 0], dtype=bool)
    >>> bool(np.isclose(q_statistic(np.stack([a, b]))[0, 1], 7 / 9))
    True
    """
    both, first, second, neither = _joint_shares(correct)
    same, different = both * neither, first * second
    total = same + different
    return np.divide(same - different, total, out=np.full_like(total, np.nan), where=total > 0)


def disagreement(correct: np.ndarray) -> np.ndarray:
    """Share of rows that exactly one of two classifiers gets right, for each pair.

    Parameters
    ----------
    correct : ndarray of bool, shape (m, n)
        Whether each of m classifiers is right on each of n rows.

    Returns
    -------
    ndarray of shape (m, m)
        Symmetric, in [0, 1], zero on the diagonal.

    Examples
    --------
    >>> float(disagreement(np.array([[True, True, False], [True, False, True]]))[0, 1].round(6))
    0.666667
    """
    _, first, second, _ = _joint_shares(correct)
    return first + second


CLASSIFIER_STATISTICS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "q_statistic": q_statistic,
    "disagreement": disagreement,
}


def diversity_table(
    task: str, y: np.ndarray, predictions: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    """All statistics of all pairs of models, one row each.

    Parameters
    ----------
    task : {"classification", "regression"}
        Regression has the correlation of errors only.
    y : ndarray of shape (n,) or (n, k)
        Observed class codes or values of the rows that have out-of-fold predictions.
    predictions : mapping of str to ndarray
        Out-of-fold predictions by model name, in the same row order: probabilities (n, C) or
        values (n,) or (n, k). The predicted class is the first of the most probable ones.

    Returns
    -------
    DataFrame
        Columns statistic, model_a, model_b, value, n; each pair once, in the mapping's order.

    Raises
    ------
    InputError
        For fewer than two models, shapes that do not fit, or missing predictions.
    """
    models = list(predictions)
    if len(models) < 2:
        raise InputError(
            f"diversity: expected at least two models, got {len(models)}; add a base model"
        )
    errors = np.stack([prediction_errors(task, y, predictions[model]) for model in models])
    matrices = {"error_correlation": error_correlation(errors)}
    if task == "classification":
        correct = np.stack([np.argmax(predictions[model], axis=1) == y for model in models])
        matrices |= {name: compute(correct) for name, compute in CLASSIFIER_STATISTICS.items()}
    rows = [
        (statistic, models[a], models[b], float(matrix[a, b]), len(y))
        for statistic, matrix in matrices.items()
        for a in range(len(models))
        for b in range(a + 1, len(models))
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))
