"""Scores of predictions, each with the standard error of its value.

Conventions
-----------
Every metric is a smooth function of averages over n rows. Its *influence function* ψ says how
much each row moves the value θ; with weights w scaled to mean one::

    θ_estimated - θ = (1/n) Σ_i ψ_i + o(1/sqrt(n)),    Σ_i ψ_i = 0

Rows of one group are not independent, so their influences are added before they are squared::

    standard error = (1/n) sqrt( Σ_groups (Σ_{i in group} ψ_i)² )

A row without a group is its own group. Without groups and weights the standard error of an
accuracy is the familiar sqrt(p (1 - p) / n).

Limits: a first-order approximation. It is zero for perfect predictions (accuracy 1), and too
small when the number of groups is small (below about 20). With fewer than two groups it is NaN,
because one group says nothing about the spread between groups.

Sources: Huber & Ronchetti (2009), *Robust Statistics*, §1.5 and §2.3; Liang & Zeger (1986),
*Biometrika* 73, 13 (sums within groups); DeLong, DeLong & Clarke-Pearson (1988), *Biometrics* 44,
837 (area under the ROC curve).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from starstack.errors import InputError

Influence = tuple[float, np.ndarray]


@dataclass(frozen=True)
class Score:
    """A metric's value, its standard error, and the number of rows behind it."""

    value: float
    standard_error: float
    n: int


@dataclass(frozen=True)
class Metric:
    """What a metric is, what it eats, and how an axis names it.

    Attributes
    ----------
    name : str
        The key in :data:`METRICS`.
    function : callable
        ``(y_true, y_pred, weight) -> (value, influence (n,))``, the weights having mean one.
    greater_is_better : bool
        Whether a larger value is a better one.
    needs : {"labels", "probabilities", "values"}
        What ``y_pred`` holds: class codes (n,), probabilities (n, C), or values (n,).
    task : {"classification", "regression"}
        The task that the metric scores.
    label, unit : str
        Words for axes and tables. The unit is "" where there is none, and "target" where it is
        the unit of the target.
    """

    name: str
    function: Callable[[np.ndarray, np.ndarray, np.ndarray], Influence]
    greater_is_better: bool
    needs: str
    task: str
    label: str
    unit: str


def _weighted_mean(loss: np.ndarray, weight: np.ndarray) -> Influence:
    """Mean of w·loss and its influence w·(loss - mean); the weights have mean one."""
    value = float(np.mean(weight * loss))
    return value, weight * (loss - value)


def _accuracy(y: np.ndarray, codes: np.ndarray, weight: np.ndarray) -> Influence:
    """Weighted share of right rows."""
    return _weighted_mean((y == codes).astype(float), weight)


def _balanced_accuracy(y: np.ndarray, codes: np.ndarray, weight: np.ndarray) -> Influence:
    """Mean recall over the classes that occur, by the delta method for a mean of ratios."""
    recalls, influence = [], np.zeros(len(y))
    for code in np.unique(y[weight > 0]):
        member = weight * (y == code)
        share = member.mean()
        correct = (codes == code).astype(float)
        recall = float(np.mean(member * correct) / share)
        recalls.append(recall)
        influence += member * (correct - recall) / share
    return float(np.mean(recalls)), influence / len(recalls)


def _log_loss(y: np.ndarray, probabilities: np.ndarray, weight: np.ndarray) -> Influence:
    """Negative log of the true class's probability, clipped as scikit-learn clips it."""
    # The clip is the precision of the array's own type, so float32 probabilities meet the same
    # bound (16 nats instead of 36) here as in sklearn.metrics.log_loss.
    smallest = np.finfo(probabilities.dtype).eps
    true_class = probabilities[np.arange(len(y)), y]
    return _weighted_mean(-np.log(np.clip(true_class, smallest, 1 - smallest)), weight)


def _brier(y: np.ndarray, probabilities: np.ndarray, weight: np.ndarray) -> Influence:
    """Squared distance to the one-hot truth; half of it for two classes, as is usual."""
    distance = np.sum((probabilities - np.eye(probabilities.shape[1])[y]) ** 2, axis=1)
    return _weighted_mean(distance / 2 if probabilities.shape[1] == 2 else distance, weight)


def _placement(scores: np.ndarray, others: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted share of `others` below each score, ties counted by half."""
    order = np.argsort(others, kind="stable")
    below = np.concatenate([[0.0], np.cumsum(weight[order])])
    left = below[np.searchsorted(others[order], scores, side="left")]
    right = below[np.searchsorted(others[order], scores, side="right")]
    return (left + right) / (2 * below[-1])


def _roc_auc(y: np.ndarray, probabilities: np.ndarray, weight: np.ndarray) -> Influence:
    """Area under the ROC curve by placement values (DeLong et al. 1988, eqs. 4-6).

    The variance divides by m² where DeLong divides by m (m - 1), m being the number of rows of a
    class; that keeps one formula for all metrics and for groups that hold both classes.
    """
    if probabilities.shape[1] != 2:
        raise InputError(
            f"metric roc_auc: expected 2 classes, got {probabilities.shape[1]}; "
            "use accuracy, log_loss or brier for more than two classes"
        )
    positive = (y == 1) & (weight > 0)
    negative = (y == 0) & (weight > 0)
    if not positive.any() or not negative.any():
        raise InputError(
            "metric roc_auc: expected rows of both classes, got one class only; "
            "score a larger or a stratified set of rows"
        )
    scores = probabilities[:, 1]
    above = _placement(scores[positive], scores[negative], weight[negative])
    below = 1 - _placement(scores[negative], scores[positive], weight[positive])
    value = float(np.average(above, weights=weight[positive]))
    influence = np.zeros(len(y))
    influence[positive] = weight[positive] * (above - value) / weight[positive].sum()
    influence[negative] = weight[negative] * (below - value) / weight[negative].sum()
    return value, len(y) * influence


def _r2(y: np.ndarray, values: np.ndarray, weight: np.ndarray) -> Influence:
    """1 - A/B, A the mean squared error and B the variance of y, by the delta method.

    The estimated mean inside B has no first-order influence: B is smallest there.
    """
    squared_error = (y - values) ** 2
    squared_spread = (y - np.average(y, weights=weight)) ** 2
    spread = float(np.mean(weight * squared_spread))
    if spread == 0:
        raise InputError(
            "metric r2: expected observed values that differ, got a constant; use rmse or mae"
        )
    ratio = float(np.mean(weight * squared_error)) / spread
    return 1 - ratio, -weight * (squared_error - ratio * squared_spread) / spread


def _rmse(y: np.ndarray, values: np.ndarray, weight: np.ndarray) -> Influence:
    """Square root of the mean squared error; d sqrt(A) = dA / (2 sqrt(A))."""
    mean_square, influence = _weighted_mean((y - values) ** 2, weight)
    value = float(np.sqrt(mean_square))
    return value, influence / (2 * value) if value > 0 else influence


def _mae(y: np.ndarray, values: np.ndarray, weight: np.ndarray) -> Influence:
    """Weighted mean of the absolute errors."""
    return _weighted_mean(np.abs(y - values), weight)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", _accuracy, True, "labels", "classification", "Accuracy", ""),
        Metric(
            "balanced_accuracy",
            _balanced_accuracy,
            True,
            "labels",
            "classification",
            "Balanced accuracy",
            "",
        ),
        Metric("log_loss", _log_loss, False, "probabilities", "classification", "Log loss", "nat"),
        Metric("brier", _brier, False, "probabilities", "classification", "Brier score", ""),
        Metric("roc_auc", _roc_auc, True, "probabilities", "classification", "ROC AUC", ""),
        Metric("r2", _r2, True, "values", "regression", "R²", ""),
        Metric("rmse", _rmse, False, "values", "regression", "RMSE", "target"),
        Metric("mae", _mae, False, "values", "regression", "Mean absolute error", "target"),
    )
}


def _checked_pair(metric: Metric, y_true: object, y_pred: object) -> tuple[np.ndarray, np.ndarray]:
    """Bring both arrays to the shape and type that the metric's function takes."""
    where = f"metric {metric.name}"
    y, predicted = np.asarray(y_true), np.asarray(y_pred)
    wanted = 2 if metric.needs == "probabilities" else 1
    if y.ndim != 1 or predicted.ndim != wanted:
        raise InputError(
            f"{where}: expected observed values of shape (n,) and {metric.needs} of shape "
            f"{'(n, classes)' if wanted == 2 else '(n,)'}, got {y.shape} and {predicted.shape}; "
            "score one output at a time"
        )
    if len(y) != len(predicted) or len(y) == 0:
        raise InputError(
            f"{where}: expected as many predictions as observed rows and at least one, got "
            f"{len(predicted)} and {len(y)}; select the same rows of both by row id"
        )
    for what, array in (("observed values", y), ("predictions", predicted)):
        if array.dtype.kind not in "biuf" or not np.all(np.isfinite(array)):
            raise InputError(
                f"{where}: expected finite numbers as {what}, got missing or other ones; "
                "leave out the rows that have no prediction"
            )
    if metric.needs == "values":
        return y.astype(float), predicted.astype(float)
    return _checked_codes(where, y, predicted)


def _checked_codes(where: str, y: np.ndarray, predicted: np.ndarray) -> tuple:
    """Check class codes, and probabilities that sum to one in each row."""
    codes = y.astype(np.int64)
    if np.any(codes != y) or codes.min() < 0:
        raise InputError(f"{where}: expected class codes 0, 1, …, got {y.min()} to {y.max()}")
    if predicted.ndim == 1:
        return codes, predicted
    if codes.max() >= predicted.shape[1]:
        raise InputError(
            f"{where}: expected a column of probabilities for each class code, got code "
            f"{codes.max()} and {predicted.shape[1]} columns; order the columns by class code"
        )
    # Wide enough for float32 softmax outputs and for convex sums, far below a decision function.
    if predicted.min() < -1e-6 or np.abs(predicted.sum(axis=1) - 1).max() > 1e-4:
        raise InputError(
            f"{where}: expected probabilities that sum to one in each row, got values from "
            f"{predicted.min():.6g} to {predicted.max():.6g} and sums from "
            f"{predicted.sum(axis=1).min():.6g} to {predicted.sum(axis=1).max():.6g}; "
            "normalise them first"
        )
    return codes, predicted if predicted.dtype.kind == "f" else predicted.astype(float)


def _checked_weight(where: str, sample_weight: object, n: int) -> np.ndarray:
    """Scale the weights to mean one; ones if none are given."""
    if sample_weight is None:
        return np.ones(n)
    weight = np.asarray(sample_weight, dtype=float)
    if weight.shape != (n,) or not np.all(np.isfinite(weight)) or np.any(weight < 0):
        raise InputError(
            f"{where}: expected {n} finite sample weights of at least zero, got shape "
            f"{weight.shape}; give one weight per row"
        )
    if weight.sum() == 0:
        raise InputError(f"{where}: expected a positive sample weight, got only zeros")
    return weight * (n / weight.sum())


def cluster_standard_error(influence: np.ndarray, group: np.ndarray | None = None) -> float:
    """Compute the standard error of a value from its influence function, robust to groups.

    Parameters
    ----------
    influence : ndarray of shape (n,)
        How much each row moves the value; sums to zero.
    group : ndarray of shape (n,), optional
        Rows of one group are dependent. None: every row is its own group.

    Returns
    -------
    float
        ``sqrt(sum over groups of (sum of influence)²) / n``; NaN for fewer than two groups.

    Examples
    --------
    The standard error of a mean, and the same rows counted twice, which adds no information:

    >>> deviation = np.array([-1.0, 0.0, 1.0])
    >>> once = cluster_standard_error(deviation)
    >>> twice = cluster_standard_error(np.tile(deviation, 2), np.tile(["a", "b", "c"], 2))
    >>> bool(np.isclose(once, np.sqrt(2) / 3)) and bool(np.isclose(once, twice))
    True
    """
    n = len(influence)
    if group is None:
        sums = np.asarray(influence)
    else:
        _, position = np.unique(np.asarray(group), return_inverse=True)
        sums = np.bincount(position, weights=influence)
    return float(np.sqrt(np.sum(sums**2)) / n) if len(sums) > 1 else float("nan")


def score(
    metric_name: str,
    y_true: np.ndarray,
    y_pred: np.ndarray,
    *,
    group: np.ndarray | None = None,
    sample_weight: np.ndarray | None = None,
) -> Score:
    """Score predictions of one output, with the standard error of the score.

    Parameters
    ----------
    metric_name : str
        A key of :data:`METRICS`.
    y_true : array of shape (n,)
        Class codes 0 … C-1, or observed values.
    y_pred : array of shape (n,) or (n, C)
        Class codes, probabilities or values, as the metric's `needs` says.
    group : array of shape (n,), optional
        Rows of one group are dependent; see the module's conventions.
    sample_weight : array of shape (n,), optional
        Non-negative; only their ratios matter.

    Returns
    -------
    Score
        Value, standard error and number of rows.

    Raises
    ------
    InputError
        For an unknown metric, arrays of other shape, missing or infinite numbers, probabilities
        that do not sum to one, or rows for which the metric is not defined.

    Examples
    --------
    >>> score("accuracy", [0, 1, 1, 0], [0, 1, 0, 0])
    Score(value=0.75, standard_error=0.21650635094610965, n=4)
    """
    value, influence = _value_and_influence(metric_name, y_true, y_pred, group, sample_weight)
    return Score(value, cluster_standard_error(influence, group), len(influence))


def score_difference(
    metric_name: str,
    y_true: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    *,
    group: np.ndarray | None = None,
    sample_weight: np.ndarray | None = None,
) -> Score:
    """Score the first predictions minus the second of the same rows, with its standard error.

    Two models err on many of the same rows, so their scores are correlated and their standard
    errors do not add in quadrature. The influence of a row on a difference is the difference of
    its influences: the paired test's error, for every metric.

    Parameters
    ----------
    metric_name, y_true, group, sample_weight
        As in :func:`score`.
    first, second : array of shape (n,) or (n, C)
        Predictions, as the metric's `needs` says.

    Returns
    -------
    Score
        Difference, standard error and number of rows.

    Examples
    --------
    Models that are right and wrong on the same rows differ by zero, for certain:

    >>> y, predicted = [0, 1, 1, 0], [0, 1, 0, 0]
    >>> score_difference("accuracy", y, predicted, predicted)
    Score(value=0.0, standard_error=0.0, n=4)
    """
    value, influence = _value_and_influence(metric_name, y_true, first, group, sample_weight)
    other, subtracted = _value_and_influence(metric_name, y_true, second, group, sample_weight)
    error = cluster_standard_error(influence - subtracted, group)
    return Score(value - other, error, len(influence))


def _value_and_influence(
    metric_name: str,
    y_true: np.ndarray,
    y_pred: np.ndarray,
    group: np.ndarray | None,
    sample_weight: np.ndarray | None,
) -> Influence:
    if metric_name not in METRICS:
        raise InputError(
            f"metric {metric_name!r} is not known; expected one of {', '.join(METRICS)}"
        )
    metric = METRICS[metric_name]
    y, predicted = _checked_pair(metric, y_true, y_pred)
    weight = _checked_weight(f"metric {metric_name}", sample_weight, len(y))
    if group is not None and len(np.asarray(group)) != len(y):
        raise InputError(
            f"metric {metric_name}: expected one group per row, got {len(np.asarray(group))} "
            f"groups for {len(y)} rows"
        )
    return metric.function(y, predicted, weight)
